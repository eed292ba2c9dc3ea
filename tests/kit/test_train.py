import io
import math
import os
import random
import signal
import socket
import subprocess
import sys
import textwrap
import time

import pytest
import torch
from torch import nn

from paper_kit.kit.files import PaperKitError, write_atomic
from paper_kit.kit.nn import seeded
from paper_kit.kit.stages import Runner, load_result, save_result
from paper_kit.kit.train import (EMA, Batches, Parts, Place, ProgressBar, clock, constant, cosine, halve, place,
                                 portion, stairs, step_seed, train,
                                 warmup)

from helpers import ROOT

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def network(seed=0, dropout=0.0, dtype=torch.float32):
    with seeded(seed):
        return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(dropout),
                             nn.Linear(8, 1)).to(dtype)


def noise(step, generator):
    return torch.randn(16, 3, generator=generator)


def square(net):
    return lambda x: (net(x) - x.sum(1, keepdim=True)).square().mean()


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


# --- schedules

def test_schedules_against_their_formulas():
    for step in range(100):
        assert constant()(step, 100) == 1
        assert cosine(0.2)(step, 100) == pytest.approx(0.2 + 0.8 * (1 + math.cos(math.pi * step / 100)) / 2)
        assert halve(30)(step, 100) == halve(0.3)(step, 100) == 0.5 ** (step // 30)
        assert stairs([50, 0.8], 0.1)(step, 100) == pytest.approx(1 if step < 50 else 0.1 if step < 80 else 0.01)
        assert warmup(10, halve(45))(step, 100) == pytest.approx((step + 1) / 10 if step < 10
                                                                 else 0.5 ** ((step - 10) // 45))
    assert warmup(0.5)(7, 10) == 1 and warmup(10, cosine())(10, 10) == 1


@pytest.mark.parametrize("ours, theirs", [(cosine(), lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 40)),
                                          (halve(7, 0.3), lambda o: torch.optim.lr_scheduler.StepLR(o, 7, 0.3)),
                                          (stairs([10, 25]),
                                           lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [10, 25], 0.1)),
                                          (warmup(8), lambda o: torch.optim.lr_scheduler.LinearLR(o, 1 / 8, 1.0, 7))])
def test_schedules_against_torch(ours, theirs):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    scheduler = theirs(optimizer)
    for step in range(40):
        assert 0.5 * ours(step, 40) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step(), scheduler.step()


# --- batches

def test_every_item_once_a_pass_across_the_seams():
    batches = Batches(torch.arange(10), 4, seed=3)
    drawn = torch.cat([batches(step) for step in range(5)])
    assert (sorted(drawn[:10].tolist()) == sorted(drawn[10:].tolist()) == list(range(10))
            and drawn[:10].tolist() != drawn[10:].tolist())
    assert torch.equal(Batches(torch.arange(10), 4, seed=3)(3), batches(3)) and torch.equal(batches(0), drawn[:4])
    assert not torch.equal(Batches(torch.arange(10), 10, seed=4)(0), drawn[:10])


def test_a_batch_larger_than_the_data_and_independent_draws():
    assert torch.bincount(Batches(torch.arange(3), 9)(1)).tolist() == [3, 3, 3]
    batches = Batches(torch.arange(3), 3000, replace=True)
    counts = torch.bincount(batches(0, torch.Generator().manual_seed(0)))
    assert counts.sum() == 3000 and counts.min() > 900 and counts.tolist() != [1000, 1000, 1000]
    assert torch.equal(batches(0, torch.Generator().manual_seed(1)), batches(5, torch.Generator().manual_seed(1)))


def test_batches_keep_the_structure_and_refuse_what_does_not_match():
    batch = Batches({"a": torch.arange(6), "b": (torch.arange(12).view(6, 2), [torch.arange(6) * 10])}, 4)(0)
    assert torch.equal(batch["a"] * 10, batch["b"][1][0]) and torch.equal(batch["a"] * 2, batch["b"][0][:, 0])
    for bad, size in ((({"a": torch.zeros(3), "b": torch.zeros(4)}), 2), (torch.zeros(0, 3), 2), (torch.tensor(1.0), 1),
                      (torch.zeros(3), 0)):
        with pytest.raises(PaperKitError, match="no batches"):
            Batches(bad, size)


def test_step_seeds_are_distinct():
    seeds = {step_seed(a, b, c) for a in range(10) for b in range(20) for c in range(5)}
    assert len(seeds) == 1000 and all(0 <= s < 2**63 for s in seeds)
    assert step_seed(-1, 0) == step_seed(2**64 - 1, 0)


# --- the loop, against one written out

@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize("name, kind, options", [("adam", torch.optim.Adam, {"betas": (0.5, 0.9)}),
                                                 ("adamw", torch.optim.AdamW, {"weight_decay": 0.1}),
                                                 ("sgd", torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
                                                 (torch.optim.Adagrad, torch.optim.Adagrad, {})])
def test_the_loop_is_the_loop_written_out(name, kind, options, clip):
    data = [torch.randn(16, 3, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    ours, theirs = network(), network()
    ours_codes, theirs_codes = (torch.ones(1, 3, requires_grad=True) for _ in range(2))
    loss = lambda net, code: lambda x: {"fit": square(net)(x + code), "prior": 0.1 * code.square().sum()}
    history = train({"net": ours, "codes": ours_codes}, loss(ours, ours_codes), 25, data,
                    rate={"net": 1e-2, "codes": 1e-1}, optimizer=name, options=options,
                    schedule={"net": cosine(), "codes": halve(10)}, clip=clip, log_every=5)
    optimizer = kind([{"params": theirs.parameters()}, {"params": [theirs_codes]}], lr=1e-2, **options)
    totals, norms = [], []
    for i in range(25):
        optimizer.param_groups[0]["lr"], optimizer.param_groups[1]["lr"] = (1e-2 * cosine()(i, 25),
                                                                            1e-1 * halve(10)(i, 25))
        optimizer.zero_grad()
        terms = loss(theirs, theirs_codes)(data[i % 4])
        (terms["fit"] + terms["prior"]).backward()
        everything = [*theirs.parameters(), theirs_codes]
        norms.append(torch.cat([p.grad.flatten() for p in everything]).norm().item())
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(everything, clip)
        optimizer.step()
        totals.append(terms["fit"].item() + terms["prior"].item())
    assert same(ours.state_dict(), theirs.state_dict()) and torch.equal(ours_codes, theirs_codes)
    assert history["step"] == [5, 10, 15, 20, 25] and list(history["losses"]) == ["fit", "prior"]
    assert history["loss"] == pytest.approx([sum(totals[i:i + 5]) / 5 for i in range(0, 25, 5)])
    assert history["gradient"] == pytest.approx([sum(norms[i:i + 5]) / 5 for i in range(0, 25, 5)], rel=1e-5)
    assert history["rate"]["codes"] == pytest.approx([1e-1, 1e-1, 5e-2, 5e-2, 2.5e-2])


def test_clipping_bounds_the_move():
    for length, clip in ((100.0, 1.0), (0.5, 1.0)):
        w = torch.tensor([0.0, 0.0], requires_grad=True)
        train(w, lambda: length * (0.6 * w[0] + 0.8 * w[1]), 1, rate=1.0, optimizer="sgd", clip=clip)
        assert (w.detach().norm().item() == pytest.approx(min(length, clip), rel=1e-5)
                and (w[1] / w[0]).item() == pytest.approx(0.8 / 0.6))


@pytest.mark.parametrize("make", [lambda w: w, lambda w: [w], lambda w: {"w": w},
                                  lambda w: {"w": nn.ParameterList([w])}])
def test_what_a_model_may_be(make):
    w = nn.Parameter(torch.zeros(2))
    history = train(make(w), lambda: (w - 3).square().sum(), 300, rate=0.1)
    torch.testing.assert_close(w.detach(), torch.full((2,), 3.0), atol=1e-3, rtol=0)
    assert history["step"][-1] == 300 and len(history["step"]) == 300


def test_the_loss_is_told_the_step_and_given_a_generator():
    told, w = [], torch.zeros(1, requires_grad=True)
    def loss(batch, step, generator):
        told.append((step, batch.item(), torch.rand(1, generator=generator).item()))
        return w.square().sum()
    train(w, loss, 3, lambda step, generator: torch.rand(1, generator=generator), seed=1)
    again, told = told, []
    train(w, loss, 3, lambda step, generator: torch.rand(1, generator=generator), seed=1)
    assert told == again and [t[0] for t in told] == [0, 1, 2] and len({x for t in told for x in t[1:]}) == 6


def test_the_seed_decides_and_nothing_outside_is_touched():
    torch.manual_seed(11)
    expected = torch.rand(1)
    runs = []
    for seed in (0, 0, 1):
        torch.manual_seed(11)
        net = network(dropout=0.5)
        train(net, square(net), 10, noise, seed=seed)
        assert torch.equal(torch.rand(1), expected)
        runs.append(net.state_dict())
        torch.rand(seed + 5)
    assert same(runs[0], runs[1]) and not torch.equal(runs[0]["0.weight"], runs[2]["0.weight"])


def test_modules_train_and_are_afterwards_as_they_were():
    net, frozen, seen = network(dropout=0.5).eval(), nn.Dropout(0.5).eval(), []
    net[3].train()
    def loss(x):
        seen.append((net[1].training, frozen.training))
        return square(net)(x)
    train({"net": net, "frozen": frozen}, loss, 2, noise)
    assert seen[0] == (True, False) and not net.training and not net[1].training and net[3].training


def test_frozen_parameters_do_not_move_and_shared_ones_move_once():
    net = network()
    net[0].requires_grad_(False)
    before = net[0].weight.clone()
    twin = nn.Linear(8, 1)
    twin.weight = net[4].weight
    train({"net": net, "twin": twin}, lambda x: square(net)(x) + twin.bias.square().sum(), 3, noise,
          rate={"net": 1e-2, "twin": 1e-2})
    assert (torch.equal(before, net[0].weight)
            and list(Parts({"net": net, "twin": twin}).trainable["twin"]) == ["twin.bias"])


def test_doubles_stay_doubles_and_bf16_computes_in_bf16():
    net, kinds = network(dtype=torch.float64), []
    train(net, square(net), 2, lambda step, g: noise(step, g).double())
    assert net[0].weight.dtype == torch.float64
    net = network()
    def loss(x):
        y = net(x)
        kinds.append(y.dtype)
        return (y.float() - x.sum(1, keepdim=True)).square().mean()
    history = train(net, loss, 60, noise, rate=1e-2, precision="bf16")
    assert (kinds[0] == torch.bfloat16 and net[0].weight.dtype == torch.float32
            and history["loss"][-1] < 0.5 * history["loss"][0])


# --- what is refused

def test_settings_that_do_not_match_are_named():
    net, w = network(), torch.zeros(2, requires_grad=True)
    for options, said in (({"rate": {"net": 1.0}}, "rate"), ({"schedule": {"codes": cosine()}}, "schedule"),
                          ({"optimizer": "adamm"}, "optimizer"),
                          ({"precision": "fp16"}, "precision")):
        with pytest.raises(PaperKitError, match=said):
            train({"model": net, "w": w}, lambda x: w.sum(), 1, noise, **options)
    for model, said in (({"a": 3}, "part 'a'"), ({"a": w * 2}, "part 'a'"), (torch.zeros(2), "nothing to train"),
                        (nn.ReLU(), "nothing to train"), ({}, "nothing to train")):
        with pytest.raises(PaperKitError, match=said):
            train(model, lambda x: w.sum(), 1, noise)


@pytest.mark.parametrize("loss, said", [(lambda w: w, r"\[2\]"), (lambda w: 3.0, "float"),
                                        (lambda w: torch.zeros(()), "no gradient"),
                                        (lambda w: {}, "cannot be minimised"),
                                        (lambda w: {"a": w.sum(), "b": 1.0}, "'b': 'float'")])
def test_losses_that_cannot_be_minimised(loss, said):
    w = torch.zeros(2, requires_grad=True)
    with pytest.raises(PaperKitError, match=said):
        train(w, lambda: loss(w), 1)


def test_components_may_not_change():
    w = torch.zeros(2, requires_grad=True)
    with pytest.raises(PaperKitError, match="step 2 has other components"):
        train(w, lambda step: {"a": w.sum()} | ({"b": w.sum()} if step > 1 else {}), 5)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_with_step_and_component(value):
    net = network()
    kept = {}
    def loss(x, step):
        if step == 7:
            kept.update({n: t.clone() for n, t in net.state_dict().items() if "running" not in n
                         and "tracked" not in n})
        return {"fit": square(net)(x), "prior": net[0].weight.sum() * (value if step == 7 else 0.0)}
    with pytest.raises(PaperKitError, match=r"step 7 of 20(.|\n)*the loss 'prior' is (nan|-?inf)") as error:
        train(net, loss, 20, noise)
    assert "fit" not in str(error.value)
    assert all(torch.equal(t, net.state_dict()[n]) for n, t in kept.items())


def test_a_gradient_that_is_not_finite_stops_with_the_parameter():
    net, codes = network(), torch.zeros(4, 3, requires_grad=True)
    def loss(x, step):
        return square(net)(x) + (codes[step].square().sum().sqrt() if step == 3 else codes.sum() * 0 + 1)
    with pytest.raises(PaperKitError,
                       match=r"step 3 of 9(.|\n)*the gradient of codes is not finite in 3 of 12 places\n") as error:
        train({"net": net, "codes": codes}, loss, 9, noise, clip=1.0)
    assert "net.0" not in str(error.value)


def test_a_gradient_too_large_for_its_norm_is_named():
    w = torch.zeros(2, requires_grad=True)
    with pytest.raises(PaperKitError, match="too large"):
        train(w, lambda: 1e30 * w.sum(), 1)


# --- the average

def test_ema_by_hand():
    net = network()
    ema, hand = EMA(net, 0.8), {n: t.clone() for n, t in net.named_parameters()}
    def loss(x, step):
        if step:
            hand.update({n: 0.8 * hand[n] + 0.2 * t.detach() for n, t in net.named_parameters()})
        return square(net)(x)
    train(net, loss, 10, noise, rate=0.1, ema=ema)
    hand.update({n: 0.8 * hand[n] + 0.2 * t.detach() for n, t in net.named_parameters()})
    now = {n: t.clone() for n, t in net.state_dict().items()}
    for n, t in hand.items():
        torch.testing.assert_close(ema.values[f"model.{n}"], t)
    with pytest.raises(RuntimeError), ema.applied():
        torch.testing.assert_close(net[0].weight.detach(), hand["0.weight"])
        assert torch.equal(net[1].running_mean, now["1.running_mean"]) and net[1].num_batches_tracked == 10
        raise RuntimeError
    assert same(net.state_dict(), now)


def test_ema_forgets_its_beginning_with_warmup():
    w = torch.tensor([100.0], requires_grad=True)
    ema = EMA({"w": w}, 0.999, warmup=True)
    value = 100.0
    for step in range(50):
        w.data.fill_(float(step))
        decay = min(0.999, (1 + step) / (10 + step))
        value = decay * value + (1 - decay) * step
        ema.update()
    assert ema.values["w"].item() == pytest.approx(value, rel=1e-5)


# --- checkpoints

def interrupted(at):
    def sampler(step, generator):
        if step == at:
            raise KeyboardInterrupt
        return noise(step, generator)
    return sampler


def undisturbed_and_resumed(tmp_path, stops, **options):
    results = []
    for path, places in ((None, []), (tmp_path/"a.partial", stops)):
        for at in [*places, None]:
            net, codes = network(dropout=0.3), torch.ones(1, 3, requires_grad=True)
            ema = EMA({"net": net, "codes": codes}, 0.9, warmup=True)
            def loss(x, generator):
                return {"fit": square(net)(x + codes + 0.1 * torch.randn(16, 3, generator=generator)),
                        "prior": codes.square().sum()}
            try:
                history = train({"net": net, "codes": codes}, loss, 40, interrupted(at),
                                rate={"net": 1e-2, "codes": 1e-3}, schedule=warmup(5, cosine()), ema=ema,
                                clip=1.0, log_every=7, checkpoint=path, **options)
            except KeyboardInterrupt:
                assert at is not None
        results.append((net.state_dict() | {"codes": codes.detach()}, ema.values, history))
    return results


@pytest.mark.parametrize("optimizer, options", [("adam", {}), ("adamw", {"amsgrad": True}), ("sgd", {"momentum": 0.9}),
                                                ("sgd", {}), ("rmsprop", {"centered": True})])
def test_going_on_gives_the_same_bits(tmp_path, optimizer, options):
    (a, a_mean, a_history), (b, b_mean, b_history) = undisturbed_and_resumed(tmp_path, [3, 17, 18, 39],
                                                                             optimizer=optimizer,
                                                                             options=options, save_steps=4)
    assert same(a, b) and same(a_mean, b_mean) and b_history["resumed"] == 36
    assert all(a_history[k] == b_history[k] for k in ("step", "loss", "losses", "rate", "gradient"))


def test_saving_by_time(tmp_path):
    (a, _, _), (b, _, history) = undisturbed_and_resumed(tmp_path, [17], save_seconds=0.0)
    assert same(a, b) and history["resumed"] == 17
    (_, _, _), (_, _, history) = undisturbed_and_resumed(tmp_path/"other", [17], save_seconds=1000.0)
    assert history["resumed"] == 0


def test_a_finished_training_is_not_repeated(tmp_path):
    net, w = network(), []
    for _ in range(2):
        fresh = network()
        history = train(fresh, lambda x: w.append(1) or square(fresh)(x), 5, noise, checkpoint=tmp_path/"x")
    assert (len(w) == 5 and history["resumed"] == 5 and len(history["loss"]) == 5
            and not same(net.state_dict(), fresh.state_dict()))


def test_a_stop_leaves_the_last_good_checkpoint(tmp_path):
    net = network()
    loss = lambda bad: lambda x, step: square(net)(x) * (math.nan if step == bad else 1.0)
    with pytest.raises(PaperKitError, match="step 8"):
        train(net, loss(8), 10, noise, checkpoint=tmp_path/"x", save_steps=5)
    assert train(net, loss(None), 10, noise, checkpoint=tmp_path/"x")["resumed"] == 5


@pytest.mark.parametrize("change, said", [({"rate": 2e-3}, "rate"), ({"seed": 3}, "seed"),
                                          ({"schedule": cosine()}, "schedule"), ({"optimizer": "sgd"}, "optimizer"),
                                          ({"options": {"eps": 1e-3}}, "options"), ({"clip": 1.0}, "clip"),
                                          ({"steps": 30}, "steps"), ({"precision": "bf16"}, "precision")])
def test_a_checkpoint_of_another_training_is_refused(tmp_path, change, said):
    net = network()
    train(net, square(net), **{"steps": 4, "batches": noise, "checkpoint": tmp_path/"x"})
    with pytest.raises(PaperKitError, match=f"another training: .*{said}"):
        train(net, square(net), **{"steps": 4, "batches": noise, "checkpoint": tmp_path/"x"} | change)


def test_a_checkpoint_of_another_network_or_a_damaged_one_is_refused(tmp_path):
    net, path = network(), tmp_path/"x"
    train(net, square(net), 4, noise, checkpoint=path)
    other = nn.Linear(3, 1)
    with pytest.raises(PaperKitError, match="tensors"):
        train(other, square(other), 4, noise, checkpoint=path)
    content = path.read_bytes()
    save_result(tmp_path/"stage", {"a": 1}, {})
    for bad in (content[:len(content) // 2], b"", b"\x00" * 100, (tmp_path/"stage").read_bytes()):
        write_atomic(path, bad)
        with pytest.raises(PaperKitError, match="delete it"):
            train(net, square(net), 4, noise, checkpoint=path)


def test_checkpoints_hold_no_pickle(tmp_path):
    net = network()
    train(net, square(net), 4, noise, checkpoint=tmp_path/"x", ema=EMA(net))
    from safetensors import safe_open
    with safe_open(tmp_path/"x", "pt") as file:
        assert ({n.split("/")[0] for n in file.keys()} == {"model", "ema", "optimizer"}
                and list(file.metadata()) == ["training"])


KILLED = """
    import sys, torch
    from torch import nn
    from paper_kit.kit.train import EMA, Batches, cosine, train
    from paper_kit.kit.nn import seeded

    def run(path=None):
        with seeded(0):
            net, codes = nn.Sequential(nn.Linear(3, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 1)), torch.randn(1, 3, requires_grad=True)
        def loss(x, generator):
            if path: print("step", flush=True)
            return {"fit": (net(x + codes * torch.rand(8, 1, generator=generator)) - x.sum(1, keepdim=True)).square().mean(), "prior": codes.square().sum()}
        model = {"net": net, "codes": codes}
        ema = EMA(model, 0.95)
        history = train(model, loss, 400, Batches(torch.linspace(-1, 1, 90).view(30, 3), 8), schedule=cosine(), clip=1.0, ema=ema, checkpoint=path, save_steps=1)
        return {**net.state_dict(), "codes": codes.detach(), **{"mean " + n: t for n, t in ema.values.items()}}, history

    if __name__ == "__main__":
        from paper_kit.kit.stages import save_result
        state, history = run(sys.argv[1])
        save_result(sys.argv[2], {"state": state, "history": history}, {})
"""


def test_killed_at_random_moments_and_bitwise_the_same(tmp_path):
    script = tmp_path/"killed.py"
    script.write_text(textwrap.dedent(KILLED))
    scope = {"__name__": "killed"}
    exec(compile(script.read_text(), script, "exec"), scope)
    state, history = scope["run"]()
    dice, kills = random.Random(), 0
    for _ in range(12):
        child = subprocess.Popen([sys.executable, str(script), str(tmp_path/"x.partial"), str(tmp_path/"result")],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT)
        if kills < 3 and child.stdout.readline():
            time.sleep(dice.uniform(0.0, 0.25))
            child.send_signal(signal.SIGKILL)
        child.stdout.read()
        if child.wait() == 0:
            break
        assert child.returncode == -signal.SIGKILL, child.stderr.read().decode()[-2000:]
        kills += 1
    result, _ = load_result(tmp_path/"result")
    assert kills >= 1 and result["history"]["resumed"] > 0
    assert same(result["state"], state) and result["history"]["losses"] == history["losses"]


# --- progress

def test_progress_rises_to_one_and_says_rate_and_time_left():
    said, w = [], torch.zeros(1, requires_grad=True)
    train(w, lambda: time.sleep(0.06) or w.square().sum(), 20, progress=lambda fraction,
          text: said.append((fraction, text)))
    assert ([f for f, _ in said] == sorted(f for f, _ in said) and said[0][0] == 0.05 and said[-1][0] == 1.0
            and 3 <= len(said) <= 6)
    assert ("1/20, loss 0, " in said[0][1] and "steps/s" in said[0][1] and "left" in said[0][1]
            and "in all" in said[-1][1])


def test_times_as_people_say_them():
    assert [clock(s) for s in (0.2, 59.4, 60, 200, 3599.6, 3900)] == ["0 s", "59 s", "1 min 00 s", "3 min 20 s",
                                                                      "1 h 00 min", "1 h 05 min"]


def test_portions_of_progress():
    said = []
    half = portion(lambda f, t: said.append((f, t)), 0.5, 1.0)
    half(0.0), half(0.5, "x")
    assert said == [(0.5, ""), (0.75, "x")] and portion(None, 0, 1) is None


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_is_one_line_in_a_terminal_and_few_in_a_log():
    screen, log = Terminal(), io.StringIO()
    for bar in (ProgressBar("net", screen), ProgressBar("net", log)):
        for i in range(101):
            bar(i / 100, f"{i}/100")
    assert (screen.getvalue().count("\n") == 1 and screen.getvalue().endswith("\n")
            and screen.getvalue().count("\r") == 101)
    assert log.getvalue().splitlines() == ["net   0% |                    | 0/100",
                                           "net 100% |████████████████████| 100/100"]


# --- places

def test_by_default_nothing_is_asked_of_accelerate(monkeypatch):
    for name in ("ACCELERATE_MIXED_PRECISION", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "accelerate", None)
    assert place() == Place(torch.device("cpu"), "float32", 0, 1) and place("cpu", "bf16").precision == "bf16"
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert place().precision == "bf16"
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    with pytest.raises(PaperKitError, match="fp16"):
        place()


def test_a_share_of_a_batch():
    batch = {"x": torch.arange(6), "camera": torch.tensor(1.0), "name": "a"}
    parts = [Place(torch.device("cpu"), process=i, processes=3).share(batch) for i in range(3)]
    assert (torch.equal(torch.cat([p["x"] for p in parts]), batch["x"]) and parts[1]["name"] == "a"
            and parts[2]["camera"] == 1)
    with pytest.raises(PaperKitError, match="shared out"):
        Place(torch.device("cpu"), process=0, processes=4).share(batch)


def test_training_inside_a_stage_goes_on_and_its_history_is_stored(tmp_path, monkeypatch):
    net = network()
    def fit(steps, seed, device, progress, checkpoint):
        history = train(net, square(net), steps, sampler[0], seed=seed, device=device, progress=progress,
                        checkpoint=checkpoint, save_steps=2)
        return {"weights": net.state_dict(), "history": history}
    run = Runner("demo", root=tmp_path)
    monkeypatch.setattr("paper_kit.kit.stages.stage_key", lambda *a: "k" * 40)
    sampler = [interrupted(5)]
    with pytest.raises(KeyboardInterrupt):
        run.stage(fit, steps=8)
    sampler[0] = noise
    result = run.stage(fit, steps=8)
    assert (result["history"]["resumed"] == 4 and len(result["history"]["loss"]) == 8
            and not list(tmp_path.rglob("*.partial")))


TOGETHER = """
    import sys, torch
    from torch import nn
    from paper_kit.kit.files import PaperKitError
    from paper_kit.kit.stages import save_result
    from paper_kit.kit.train import EMA, Batches, place, train
    from paper_kit.kit.nn import seeded

    def run(path=None, bad=None):
        process = place().process
        with seeded(0 if path is None else process):
            net, unused, codes = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 1)), nn.Linear(2, 2), torch.full((1, 3), 0.5 + process, requires_grad=True)
        def loss(x, step):
            assert path is None or len(x) == 4
            return {"fit": (net(x + codes) - x.sum(1, keepdim=True)).square().mean() * (float("nan") if step == bad and process == 1 else 1.0)}
        ema = EMA({"net": net, "codes": codes}, 0.9)
        fit = lambda: train({"net": net, "unused": unused, "codes": codes}, loss, 60, Batches(torch.linspace(-1, 1, 90).view(30, 3), 8), rate=1e-2, clip=1.0,
                            ema=ema, checkpoint=path, save_steps=20)
        history = fit()
        result = {"state": {**net.state_dict(), "codes": codes.detach().clone()}, "mean": {n: t for n, t in ema.values.items() if "unused" not in n}, "history": history}
        if path: result["again"] = fit()["resumed"]
        return result, process

    if __name__ == "__main__":
        result, process = run(sys.argv[1])
        save_result(f"{sys.argv[2]}.{process}", result, {})
        try: run(sys.argv[1] + ".bad", bad=3)
        except PaperKitError as error: save_result(f"{sys.argv[2]}.{process}.bad", {"text": str(error)}, {})
"""


@pytest.mark.slow
def test_two_processes_are_one(tmp_path):
    "accelerate launch with two processes: the same losses and weights as one, the same stop."
    pytest.importorskip("accelerate")
    script = tmp_path/"together.py"
    script.write_text(textwrap.dedent(TOGETHER))
    scope = {"__name__": "together"}
    exec(compile(script.read_text(), script, "exec"), scope)
    alone, _ = scope["run"]()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = subprocess.run([sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
                           "--num_machines", "1", "--mixed_precision", "no",
                           "--dynamo_backend", "no", "--main_process_port", str(port), str(script), str(tmp_path/"x"),
                           str(tmp_path/"result")],
                          env={**ENVIRONMENT, "ACCELERATE_USE_CPU": "true"}, capture_output=True,
                          text=True, timeout=100)
    assert done.returncode == 0, done.stderr[-3000:]
    for process in range(2):
        result, _ = load_result(tmp_path/f"result.{process}")
        for kind in ("state", "mean"):
            for n, t in alone[kind].items():
                torch.testing.assert_close(result[kind][n], t, atol=1e-5, rtol=1e-4)
        assert (result["history"]["losses"]["fit"] == pytest.approx(alone["history"]["losses"]["fit"], rel=1e-4)
                and result["history"]["resumed"] == 0 and result["again"] == 60)
        assert "step 3 of 60" in load_result(tmp_path/f"result.{process}.bad")[0]["text"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_on_a_gpu(tmp_path, precision):
    states = []
    for at in (None, 23, None):
        net, codes = network(dropout=0.1), torch.ones(1, 3, requires_grad=True)
        ema = EMA({"net": net, "codes": codes}, 0.9)
        try:
            train({"net": net, "codes": codes}, lambda x: square(net)(x + codes), 40, interrupted(at), ema=ema,
                  device="cuda", precision=precision,
                  checkpoint=tmp_path/"x" if states else None, save_steps=10)
        except KeyboardInterrupt:
            continue
        states.append({n: t.cpu() for n, t in (net.state_dict() | {"codes": codes.detach()} | ema.values).items()})
        assert net[0].weight.is_cuda and codes.is_cuda and codes.is_leaf
    for n, t in states[0].items():
        torch.testing.assert_close(states[1][n], t, atol=1e-4, rtol=1e-3)


def test_steps_are_counted_against_hand_made_sums():
    "A linear layer of 64 rows: the product forwards, and backwards for the weight alone, since no input asks for one."
    import importlib.util
    spec = importlib.util.spec_from_file_location("step_speed", ROOT/"scripts"/"step_speed.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found, x = {}, torch.rand(64, 30)
    with module.counted(found), pytest.raises(module.Enough):
        layer = nn.Linear(30, 20, bias=False)
        train(layer, lambda: layer(x).square().mean(), 1000)
    assert found["operations"] == 2*(2*64*30*20) and len(found["took"]) == module.STEPS
    assert module.product_speed(64, 3) > 1e6
