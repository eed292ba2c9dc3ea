"""2.5D Visual Sound: the code of sum and difference, network, mask, windows, baselines, occlusion, separation, loaders,
predicates that can fail."""
import io
import math

import numpy as np
import pytest
import torch

from paper_kit.kit import audio
from paper_kit.kit.datasets import Source
from paper_kit.kit.files import PaperKitError
from paper_kit.kit.nn import parameter_count
from paper_kit.video import visual_sound_25d as paper
from paper_kit.video.visual_sound_25d import (Mono2Binaural, SEGMENT, TRANSFORM, mix_and_difference, predicates, slide,
                                              two_ears, windows)
from paper_kit.video.worlds import (STREET, Ambisonics360, AudioWorld, FairPlay, azimuth_at, clip, draw_scene, hear,
                                    make_pool, see)
from helpers import varied

SMALL = {"width": 4, "trunk": "small", "frame": (32, 64)}


def noise(*shape, seed=0): return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# sum and difference (C10)

def test_sum_and_difference_lose_nothing():
    x = noise(3, 2, 5000)
    mix, difference = mix_and_difference(x)
    assert torch.equal(mix, x[:, 0] + x[:, 1]) and (two_ears(mix, difference) - x).abs().max() < 1e-6


def test_mono_copy_has_the_closed_form_error():
    x = noise(2, 6000).double()
    mix, difference = mix_and_difference(x)
    wrong = TRANSFORM(two_ears(mix, 0*mix) - x).abs().square().sum()
    assert abs(wrong/(TRANSFORM(difference).abs().square().sum()/2) - 1) < 1e-10


# the network

@pytest.fixture(scope="module")
def full(): return Mono2Binaural()


def test_counts_of_the_full_size_network(full):
    network = full
    trunk = parameter_count(network.visual.trunk)
    assert trunk == 11_176_512 and parameter_count(network) - trunk == 23_086_234
    assert network.visual.length == 784 and network.audio.up[0][0].in_channels == 1296


def test_shapes_of_the_full_size_network(full):
    shapes = paper.live_shapes(full)
    assert shapes["trunk"] == [512, 7, 14] and shapes["reduced"] == [8, 7, 14] and shapes["vector"] == [784]
    assert [shapes[f"down {i}"] for i in range(1, 6)] == [[64, 128, 32], [128, 64, 16], [256, 32, 8], [512, 16, 4],
                                                          [512, 8, 2]] and shapes["mask"] == [2, 256, 64]


def test_complex_channels_and_product_by_hand():
    X = torch.tensor([[[[1 + 2j]], [[3 - 1j]]]])
    channels = paper.as_channels(X)
    assert channels.flatten().tolist() == [1, 2, 3, -1] and torch.equal(paper.as_complex(channels), X)
    m, x = torch.complex(noise(5), noise(5, seed=1)), torch.complex(noise(5, seed=2), noise(5, seed=3))
    product = m*x
    assert (torch.allclose(product.real, x.real*m.real - x.imag*m.imag, atol=1e-6)
            and torch.allclose(product.imag, x.real*m.imag + x.imag*m.real, atol=1e-6))


def test_masks_are_bounded_and_reach_both_ends():
    network = paper.make_network("difference", SMALL).eval()
    mix, frame = TRANSFORM(noise(2, SEGMENT)), noise(2, 3, 32, 64)
    m = network.masks(mix, frame)
    assert m.shape == (2, 1, 256, 64) and torch.view_as_real(m).abs().max() <= 1
    for big, end in ((50.0, 1.0), (-50.0, -1.0)):
        torch.nn.init.constant_(network.audio.last.bias, big)
        assert torch.allclose(torch.view_as_real(network.masks(mix, frame)), torch.tensor(end), atol=1e-4)


def test_the_vector_keeps_its_places():
    torch.manual_seed(0)
    vision = paper.VisualVector("small", (32, 64)).eval()
    empty, stripe = torch.zeros(1, 3, 32, 64), torch.zeros(1, 3, 32, 64)
    stripe[..., :6] = 5
    changed = lambda frame: (vision(frame) - vision(empty)).abs().unflatten(1, (8, 2, 4)).sum((0, 1, 2))
    with torch.no_grad(): left, right = changed(stripe), changed(stripe.flip(-1))
    assert left[:2].sum() > 2*left[2:].sum() and right[2:].sum() > 2*right[:2].sum()


def test_audio_only_never_looks():
    network = paper.make_network("audio only", SMALL).eval()
    mix = TRANSFORM(noise(1, SEGMENT))
    assert network.visual is None and torch.equal(network(mix, None), network(mix, noise(1, 3, 32, 64)))


def test_gradients_reach_every_parameter_and_agree_with_differences():
    network = paper.make_network("difference", SMALL).double()
    mix, frame, truth = (TRANSFORM(noise(2, SEGMENT).double()), noise(2, 3, 32, 64).double(),
                         TRANSFORM(noise(2, SEGMENT, seed=1).double())[:, None, :-1])
    network.eval()
    loss = lambda: torch.view_as_real(network(mix, frame) - truth).square().mean()
    loss().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    p, step = network.audio.last.bias, 1e-3
    grad = p.grad[0].item()
    with torch.no_grad():
        p[0] += step; up = loss(); p[0] -= 2*step; down = loss(); p[0] += step
    assert abs((up - down).item()/(2*step) - grad) < 2e-3*max(1, abs(grad))


@pytest.mark.parametrize("method", list(paper.METHODS))
def test_one_step_of_the_gpu_configuration(method):
    size = paper.SIZES["gpu"]["size"]
    network = paper.make_network(method, size)
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    mono, targets = paper.mono_and_targets(noise(1, 6, SEGMENT).expand(2, -1, -1), method)
    before = network.audio.last.bias.detach().clone()
    frame = noise(2, 3, *size["frame"]) if network.visual is not None else None
    loss = torch.view_as_real(network(TRANSFORM(mono), frame) - TRANSFORM(targets)[..., :-1, :]).square().mean()
    loss.backward(); optimiser.step()
    assert loss.isfinite() and not torch.equal(before, network.audio.last.bias)


def test_one_step_of_the_full_size_separator():
    network = paper.Separator(2)
    mask = network(noise(2, 2, 257, 64).abs(), noise(2, 3, 224, 448))
    assert mask.shape == (2, 2, 256, 64)
    mask.mean().backward()
    assert network.visual.trunk.body.conv1.weight.grad.abs().sum() > 0


# frames and segments

def test_frames_are_never_mirrored():
    frame = torch.zeros(1, 3, 36, 72, dtype=torch.uint8)
    frame[..., :20] = 255
    for s in range(20):
        x = paper.prepare_frame(frame, (32, 64), torch.Generator().manual_seed(s))
        assert x[..., :10].mean() > x[..., -10:].mean()


def test_augmentation_stays_within_its_factors():
    frame = torch.full((400, 3, 32, 64), 128, dtype=torch.uint8)
    x = paper.prepare_frame(frame, (32, 64), torch.Generator().manual_seed(0))*paper.STD + paper.MEAN
    bright = x[:, 0, 0, 0]/(128/255)
    assert bright.min() >= 0.7 - 1e-3 and bright.max() <= 1.3 + 1e-3 and bright.min() < 0.75 and bright.max() > 1.25


def test_targets_share_the_level_of_the_mix():
    sound = 3*noise(2, 6, SEGMENT)
    mono, target = paper.mono_and_targets(sound, "difference")
    assert torch.allclose(audio.rms(mono), torch.tensor(0.2), atol=1e-4)
    assert torch.allclose(target[:, 0]/mono, (sound[:, 0] - sound[:, 1])/(sound[:, 0] + sound[:, 1]),
                          rtol=1e-3, atol=1e-2)
    mono, target = paper.mono_and_targets(sound, "ambisonics")
    assert target.shape == (2, 3, SEGMENT) and torch.allclose(target[:, 0]*sound[:, 2], mono*sound[:, 3], atol=1e-3)
    assert paper.mono_and_targets(torch.zeros(1, 2, SEGMENT), "direct")[1].isfinite().all()


# sliding windows

@pytest.mark.parametrize("samples", [SEGMENT, SEGMENT + 1, 16_000, 40_000])
def test_windows_cover_every_sample(samples):
    starts = windows(samples)
    cover = torch.zeros(samples)
    for s in starts.tolist(): cover[s:s + SEGMENT] += 1
    assert cover.min() >= 1 and starts[-1] == samples - SEGMENT and starts.unique().numel() == len(starts)
    with pytest.raises(PaperKitError, match="shorter than one window"): windows(SEGMENT - 1)


class Known(torch.nn.Module):
    "A 'network' whose mask is a constant: the difference is that multiple of the mix."
    visual = None
    def __init__(self, mask): super().__init__(); self.mask = mask
    def forward(self, mix, frame): return self.mask*mix[:, None, :-1]


def test_a_constant_mask_comes_out_of_the_windows_unchanged():
    t = torch.arange(30_000)/16_000
    mono = torch.sin(2*math.pi*440*t)*(0.2 + t)
    found = slide(Known(0.5), mono, lambda s: None)
    assert found.shape == (1, 30_000) and (found[0] - 0.5*mono).abs().max() < 2e-3
    louder = slide(Known(0.5), 7*mono, lambda s: None)
    assert torch.allclose(louder, 7*found, atol=1e-2)


def test_each_window_gets_the_frame_of_its_own_time():
    asked = []
    class Looking(Known):
        visual = True
    slide(Looking(0.0), noise(30_000), lambda s: asked.append(s))
    assert torch.allclose(asked[0], (windows(30_000) + SEGMENT/2)/16_000)
    made = clip(STREET, 1, 0, (36, 72))
    frames = paper.frames_of(make_pool([made], STREET), 0, (32, 64))(torch.tensor([0.1, 2.4]))
    assert not torch.equal(frames[0], frames[1])


def test_flipping_swaps_the_picture_only():
    pool = make_pool([clip(AudioWorld(seconds=1.0), 1, 0, (32, 64))], AudioWorld(seconds=1.0))
    at = torch.tensor([0.5])
    assert torch.equal(paper.frames_of(pool, 0, (32, 64), flip=True)(at),
                       paper.frames_of(pool, 0, (32, 64))(at).flip(-1))


def test_perfect_predictions_score_zero_and_mono_scores_its_closed_form():
    pool = make_pool([clip(AudioWorld(seconds=1.0), 2, 0, (32, 64))], AudioWorld(seconds=1.0))
    truth = pool.waveform(0)[:2]
    perfect, mono = paper.measure(truth, truth), paper.measure(paper.mono_mono(pool, 0), truth)
    assert (perfect["stft"] == 0 and perfect["env"] == 0 and abs(perfect["difference"] - 1) < 1e-6
            and mono["difference"] < 1e-9)
    D = TRANSFORM(mix_and_difference(truth/truth.abs().max())[1])
    assert abs(mono["stft"]/(D.abs().square().mean().item()/4) - 1) < 1e-3
    assert abs(mono["ild"]) < 1e-3 and abs(mono["itd"]) < 1


def test_half_a_prediction_finds_half_of_both_parts():
    truth = noise(2, 8000)
    mix, difference = mix_and_difference(truth)
    for share in (0.0, 0.5, 1.0, -1.0):
        found = paper.mask_found(two_ears(mix, share*difference), truth)
        assert abs(found["real"] - share) < 1e-4 and abs(found["imaginary"] - share) < 1e-4


@pytest.mark.parametrize("delay, gain", [(4, 1.0), (-4, 1.0), (0, 0.4), (0, 2.0), (3, 0.7)])
def test_the_steady_mask_is_the_closed_form(delay, gain):
    """A right ear that is later and stronger: (1 - g e^{-iwt})/(1 + g e^{-iwt}); for a delay alone i tan(wt/2), for a
    level alone real."""
    x = noise(32_000)
    sound = torch.stack([x, gain*torch.roll(x, delay)])
    m = paper.steady_mask(sound)[:, 0]
    f = np.fft.rfftfreq(512, 1/16_000)
    turn = gain*np.exp(-2j*np.pi*f*delay/16_000)
    wanted = (1 - turn)/(1 + turn)
    low, bounded = (f > 100) & (f < 1200), wanted.real.clip(-1, 1) + 1j*wanted.imag.clip(-1, 1)
    assert np.abs(m.numpy() - bounded)[low].max() < 0.06
    if gain == 1.0: assert np.allclose(wanted[low], 1j*np.tan(np.pi*f*delay/16_000)[low])
    assert torch.view_as_real(m).abs().max() <= 1


def test_reach_of_masks_on_a_level_and_on_a_delay():
    x = noise(32_000)
    level = paper.mask_reach(torch.stack([x, 0.4*x]))
    assert abs(level["ild"] - 20*math.log10(0.4)) < 0.1 and abs(level["itd"]) < 2
    later, earlier = (paper.mask_reach(torch.stack([x, torch.roll(x, 4)])),
                      paper.mask_reach(torch.stack([torch.roll(x, 4), x])))
    assert abs(later["itd"]) > 150 and later["itd"]*earlier["itd"] < 0 and abs(later["ild"]) < 0.2


def test_what_it_is_worth_to_know_the_side():
    """A level explains itself with the side alone, by its real part; delays of several lengths need their azimuth, and
    the imaginary part."""
    x = [noise(16_000, seed=k) for k in range(4)]
    levels = [torch.stack([x[0], 2*x[0]]), torch.stack([2*x[1], x[1]])]
    worth = paper.worth_of_knowing(levels, np.array([30.0, -30.0]), np.zeros(2))
    assert worth["real part"] > 99.9 and worth["both"] > 99.9 and abs(worth["imaginary part"]) < 0.1
    delays = [torch.stack([torch.roll(y, d), y]) for y, d in zip(x, (2, 3, 8, 13))]
    azimuths = np.array([10.0, 20.0, 40.0, 55.0])
    side, each = (paper.worth_of_knowing(delays, azimuths, k) for k in (np.zeros(4), azimuths))
    assert (each["imaginary part"] > side["imaginary part"] + 5 and each["both"] >= side["both"]
            and abs(each["real part"]) < 10)


def test_training_goes_downhill_and_resumes(tmp_path):
    world = AudioWorld(seconds=0.8, silent=0.0, counts=(1,))
    pool = make_pool([clip(world, i, 0, (36, 72)) for i in range(4)], world)
    run = lambda **k: paper.fit("difference", pool, torch.arange(4), torch.arange(2), 16, 4, SMALL, 0, **k)
    a, b = run(), run(checkpoint=tmp_path/"c")
    assert np.mean(a["loss"][-4:]) < np.mean(a["loss"][:4])
    assert len(a["validation"]) == 16 and a["validation"][-1] < a["validation"][0]
    assert a["validation"] == b["validation"], "the same segments every time"
    assert all(torch.equal(a["state"][k], b["state"][k]) for k in a["state"]) and (tmp_path/"c").is_file()


# occlusion

def test_occlusion_finds_the_only_place_that_matters():
    network = paper.make_network("difference", SMALL).eval()
    class Corner(torch.nn.Module):
        length = network.visual.length
        def forward(self, frame): return frame[:, :, 4:10, 40:46].abs().mean((1, 2, 3))[:, None].expand(-1, self.length)
    network.visual = Corner()
    torch.nn.init.normal_(network.audio.up[0][0].weight, 0, 0.5, generator=torch.Generator().manual_seed(0))
    heat, ys, xs = paper.occlusion_map(network, noise(2, SEGMENT), torch.ones(3, 32, 64), 7, 3)
    base = heat[0, 0]
    changed = (heat - base).abs() > 1e-7
    rows, columns = torch.nonzero(changed, as_tuple=True)
    assert len(rows) and (ys[rows] - 7).abs().max() < 7 and (xs[columns] - 43).abs().max() < 7


def test_pointing_counts_boxes_once():
    heat = torch.zeros(3, 4); heat[1, 2] = 1
    ys, xs = torch.tensor([4.0, 12, 20]), torch.tensor([4.0, 12, 20, 28])
    scene = [{"sounding": True}, {"sounding": True}, {"sounding": False}]
    found = paper.point(heat, ys, xs, np.array([[16, 8, 24, 16], [16, 8, 24, 16], [0, 0, 8, 8]]), scene, (24, 32))
    assert found == {"sounding": 1.0, "sounding chance": 64/768, "silent": 0.0, "silent chance": 64/768}


# separation

def test_ratio_mask_by_hand():
    m = paper.ratio_mask(torch.tensor([3.0, 0, 0, 1]), torch.tensor([1.0, 0, 5, 0]))
    assert torch.allclose(m, torch.tensor([0.75, 0.5, 0, 1]), atol=1e-5)


def test_separating_with_the_true_mask_is_better_than_not():
    world = AudioWorld(seconds=1.0)
    pool = paper.solo_clips(1.0, (32, 64))
    a, b = pool.waveform(5)[:2], pool.waveform(8)[:2]
    class Oracle(torch.nn.Module):
        def forward(self, magnitude, frame):
            cut = [torch.stack([x[:, s:s + SEGMENT] for s in windows(x.shape[1], SEGMENT//2).tolist()]) for x in (a, b)]
            return paper.ratio_mask(*(TRANSFORM(c).abs() for c in cut))[:, :, :-1]
    mine = paper.separate(Oracle(), a + b, lambda s: None)
    truth = np.stack([a.sum(0).numpy(), b.sum(0).numpy()])
    before = audio.separation_quality(np.stack([(a + b).sum(0).numpy()]*2), truth)["SDR"][0]
    after = audio.separation_quality(np.stack([mine.sum(0).numpy(), (a + b - mine).sum(0).numpy()]), truth)["SDR"][0]
    assert after > before + 3 and world.kind == "room"


def test_the_four_inputs_are_what_their_names_say():
    pool = paper.solo_clips(1.0, (36, 72))
    network = paper.make_network("difference", SMALL).eval()
    sound = {v: paper.separation_sound(v, pool, 0, network, SMALL, 3200) for v in paper.VARIANTS}
    truth = pool.waveform(0)[:2]
    assert sound["Mono"].shape == (1, 16_000) and torch.equal(sound["GT Binaural"], truth)
    assert torch.equal(sound["Mono-Mono"][0], sound["Mono"][0]) and torch.equal(sound["Mono-Mono"][0],
                                                                                sound["Mono-Mono"][1])
    assert ((sound["Predicted Binaural"].sum(0) - truth.sum(0)).abs().max() < 1e-5
            and not torch.allclose(sound["Predicted Binaural"], truth, atol=1e-3))


def test_splits_are_disjoint_and_differ_by_seed():
    parts = paper.split(100, 0)
    together = torch.cat(list(parts.values()))
    assert together.unique().numel() == 100 == len(together) and [len(p) for p in parts.values()] == [40, 40, 10, 10]
    assert not torch.equal(parts["test"], paper.split(100, 1)["test"])


# the world

def test_mirrored_scenes_swap_the_ears():
    world = AudioWorld(seconds=1.0, noise=-200.0)
    scene = draw_scene(world, np.random.default_rng(0), azimuths=[35.0], names=["trumpet"], silent=False)
    other = [scene[0] | {"azimuth": -35.0}]
    from dataclasses import replace
    world = replace(world, room=audio.Room(critical=1e6))
    a, b = hear(world, scene, 0)["binaural"], hear(world, other, 0)["binaural"]
    assert np.abs(a - b[::-1]).max() < 1e-4*np.abs(a).max() + 1e-5


def test_stems_add_up_and_boxes_hold_the_players():
    world = AudioWorld(seconds=1.0, noise=-200.0)
    scene = draw_scene(world, np.random.default_rng(5), azimuths=[-30.0, 30.0])
    heard = hear(world, scene, 1, stems=True)
    assert (np.allclose(heard["stems"].sum(0), heard["binaural"], atol=1e-5)
            and abs(np.sqrt((heard["binaural"]**2).mean()) - 0.1) < 1e-4)
    frames, boxes = see(world, scene, 1, 68, 136)
    focal = 68/math.tan(math.radians(60))
    for box, player in zip(boxes[0], scene):
        x = 68 + focal*math.tan(math.radians(player["azimuth"]))
        assert box[0] - 1 <= x <= box[2] + 1 and frames.shape[1:] == (68, 136, 3)


def test_bias_is_what_the_knob_says():
    rng = np.random.default_rng(0)
    for bias in (0.5, 0.8):
        world = AudioWorld(bias=bias, counts=(1,), silent=0.0)
        players = [draw_scene(world, rng)[0] for _ in range(1500)]
        left = [p["azimuth"] < 0 for p in players if p["name"] in ("piano", "drum", "cello")]
        assert abs(np.mean(left) - bias) < 0.06


def test_a_passing_car_passes():
    player = {"azimuth": 0.0, "distance": 5.0, "speed": 5.0}
    azimuth, distance = azimuth_at(player, np.array([0.0, 1.0, 2.0]), 2.0)
    assert np.allclose(azimuth, [-45, 0, 45]) and np.allclose(distance, [5*math.sqrt(2), 5, 5*math.sqrt(2)])
    scene = [{"name": "car", "sounding": True, "alone": False, "look": 1, "tune": 1, **player}]
    foa = hear(STREET, scene, 0)["foa"]
    assert (foa[0, :4000]*foa[2, :4000]).mean() > 0 > (foa[0, -4000:]*foa[
        2, -4000:]).mean(), "first on the left, then on the right"


def test_there_is_no_such_world():
    with pytest.raises(PaperKitError, match="no world 'moon'"): AudioWorld("moon")


# real sets on miniatures, in the layouts of facebookresearch/FAIR-Play and pedro-morgado/spatialaudiogen

def write(path, sound, rate=16_000):
    soundfile = pytest.importorskip("soundfile")
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.asarray(sound, np.float32).T, rate, subtype="FLOAT")


def picture(path, value=90):
    from PIL import Image
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((24, 48, 3), value, np.uint8)).save(path)


@pytest.fixture
def fairplay(tmp_path):
    h5py = pytest.importorskip("h5py")
    (tmp_path/"splits/split1").mkdir(parents=True)
    names = ["000001", "000002", "000003", "000004"]
    with h5py.File(tmp_path/"splits/split1/train.h5", "w") as file:
        file["audio"] = np.array([f"/their/machine/binaural_audios/{n}.wav".encode() for n in names])
    write(tmp_path/"binaural_audios/000001.wav", noise(2, 48_000).numpy()*0.1, 48_000)
    (tmp_path/"binaural_audios/000002.wav").write_bytes(b"RIFF not a sound")
    bad = noise(2, 4000).numpy(); bad[0, 7] = np.nan
    write(tmp_path/"binaural_audios/000004.wav", bad)
    for k in range(1, 11): picture(tmp_path/f"frames/000001.mp4/{k:06d}.png", 20*k)
    return tmp_path


def test_fairplay_in_its_published_layout(fairplay):
    data = FairPlay(fairplay)
    one = data[0]
    assert len(data) == 4 and one["name"] == "000001" and one["binaural"].shape == (2, 16_000)
    assert int(one["frame_at"](0.45)[0, 0,
                                     0]) == 100, "the frame that the released loader takes: round((t + 0.05) * 10)"
    for i, what in ((1, "cannot be read"), (2, "is missing"), (3, "not finite")):
        with pytest.raises(PaperKitError, match=what): data[i]
    with pytest.raises(PaperKitError, match="frame is missing"): one["frame_at"](9.0)
    with pytest.raises(PaperKitError, match="no such split"): FairPlay(fairplay, split=7)
    (fairplay/"splits/split1/val.h5").write_bytes(b"no hdf5")
    with pytest.raises(PaperKitError, match="split cannot be read"): FairPlay(fairplay, subset="val")


def test_table_1_from_fairplay(fairplay):
    "Its one clip that is whole: as it was recorded, and trained, scored and tabled."
    h5py, folder = pytest.importorskip("h5py"), fairplay/"splits/split1"
    for subset in ("val", "test"): (folder/f"{subset}.h5").write_bytes((folder/"train.h5").read_bytes())
    source, clips = Source("fairplay", fairplay, "0"), {"seconds": 1.0, "store": [36, 72]}
    got = paper.fairplay_clips(source, 1, "test", 4, **clips)
    one = FairPlay(fairplay)[0]["binaural"]
    assert len(got) == 1 and got.frames.shape[2:] == (3, 36, 72) and (got.waveform(0) - one).abs().max() < 1e-3
    assert int(got.frames[0, 0, 0, 0, 0]) == int(FairPlay(fairplay)[0]["frame_at"](0.625)[0, 0, 0])
    with pytest.raises(PaperKitError, match="no clip can be read"):
        paper.fairplay_clips(source, 1, "test", 4, 2.0, (36, 72))
    s = paper.SIZES["smoke"] | {"data": clips}
    class Run:
        seeds = staticmethod(lambda count: [0])
        stage = staticmethod(lambda fn, **given: fn(**given))
    real = paper.real_room(Run(), s, None, source)
    table = paper.table_1({}, real).set_index("method")
    assert np.isfinite(table.loc["Mono2Binaural (ours)", "FAIR-Play STFT"]) and table["YT-MUSIC ENV"].isna().all()
    assert table.loc["Mono-Mono", "FAIR-Play STFT"] == real[0]["Mono-Mono"]["stft"].mean() and h5py


def test_ambisonics_sets_in_their_layout(tmp_path):
    (tmp_path/"meta/subsets").mkdir(parents=True)
    (tmp_path/"meta/subsets/REC-Street.train.1.lst").write_text("aaa\nbbb\n")
    x = noise(16_000).numpy()*0.1
    w, fx, fy, fz = audio.encode(x, 60)
    for k in range(3): write(tmp_path/f"data/frames/aaa/ambix/{k:06d}.wav", np.stack([w, fy, fz, fx]))
    for k in range(25): picture(tmp_path/f"data/frames/aaa/video/{k:06d}.jpg")
    data = Ambisonics360(tmp_path, seconds=2)
    one = data[0]
    assert (len(data) == 1 and one["foa"].shape == (4, 32_000) and np.allclose(one["foa"][1, :16_000], fx, atol=1e-6)
            and np.allclose(one["foa"][2, :16_000], fy, atol=1e-6))
    assert audio.interaural(one["binaural"])["ild"] > 4, "the source was on the right"
    assert one["frame_at"](1.0).shape == (3, 24, 48)
    write(tmp_path/"data/frames/aaa/ambix/000001.wav", np.stack([w, fy]))
    with pytest.raises(PaperKitError, match="another form"): data[0]
    (tmp_path/"data/frames/aaa/ambix/000001.wav").write_bytes(b"")
    with pytest.raises(PaperKitError, match="cannot be read"): data[0]
    with pytest.raises(PaperKitError, match="no such list"): Ambisonics360(tmp_path, "YT-Clean")
    (tmp_path/"meta/subsets/YT-Music.train.1.lst").write_text("zzz\n")
    with pytest.raises(PaperKitError, match="no clip here"): Ambisonics360(tmp_path, "YT-Music")


# predicates that can fail

def three(x): return [x, 1.01*x, 0.99*x]

GOOD = {
    "C1": {f"{n} {s}{m}": three(v) for s in paper.SETS for m in ("", " ENV")
           for n, v in (("ours", 0.8), ("Audio-Only", 1.0), ("best other", 0.9))},
    "C2": {"ours": three(0.8), "Audio-Only": three(1.0), "flipped": three(1.3), "side turned over": [1.0]*95 + [0.0]*5},
    "C3": {"azimuth": [0, 11, 22, 33], "gain": [[0, 0.1, 0.2, 0.3]]*2 + [[0.01, 0.1, 0.2, 0.31]],
           "gain at 0": [0.01, -0.01, 0.0]},
    "C4": {"ours STFT": three(0.8), "direct STFT": three(1.1), "ours difference": three(0.4),
           "direct difference": three(0.1)},
    "C5": {f"{n} {s}": three(v) for s in list(paper.SETS)[1:] for n, v in (("ours", 0.8), ("ambisonics", 1.0))},
    "C6": {"pointing": three(0.5), "chance": three(0.1), "pointing at silent": three(0.05)},
    "C7": {f"{m} {v}": list(np.linspace(0, 5, 45) + shift) for m in ("SDR", "SIR") for v,
           shift in (("mono", 0.0), ("mono-mono", 0.0), ("predicted", 0.5), ("truth", 0.7))},
    "C8": {"truth": three(95), "ours": three(80), "Audio-Only": three(45), "Mono-Mono": [33.0, 34.0, 33.5]},
    "C9": {"same class": three(1.0), "two classes": three(0.8)},
    "C10": {"rebuilding error": [1e-8], "distance from the closed form": [1e-7]}}
BAD = {
    "C1": ("best other YT-CLEAN ENV", three(0.7)), "C2": ("side turned over", [1.0]*50 + [0.0]*50),
       "C3": ("gain", [[0.3, 0.2, 0.1, 0.0]]*3), "C4": ("direct difference", three(0.6)),
    "C5": ("ambisonics YT-MUSIC", three(0.7)), "C6": ("pointing", three(0.15)),
       "C7": ("SIR mono-mono", list(np.linspace(0, 5, 45) + 2)), "C8": ("Mono-Mono", three(60.0)),
    "C9": ("same class", three(0.5)), "C10": ("rebuilding error", [1e-3])}


FLAT, RISING = [[2.0, 1.5, *[1.0]*18]]*3, [[2 - 0.05*k for k in range(20)]]*3


def with_curves(claim, values, curve=FLAT):
    "The numbers of a claim, and a validation curve for each training that its predicate asks for."
    return varied(values) | dict.fromkeys(getattr(predicates[claim], "names", ()), curve)


@pytest.mark.parametrize("claim", list(predicates))
def test_predicates_hold_and_fail(claim):
    "C1, C2, C3, C4, C5, C6, C7, C8, C9, C10"
    assert predicates[claim].evaluate(with_curves(claim, GOOD[claim])).verdict == "holds"
    name, values = BAD[claim]
    assert predicates[claim].evaluate(with_curves(claim, GOOD[claim] | {name: values})).verdict == "fails"


@pytest.mark.parametrize("claim", sorted(set(predicates) - {"C10"}))
def test_trainings_that_still_learn_decide_nothing(claim):
    assert predicates[claim].evaluate(with_curves(claim, GOOD[claim], RISING)).verdict == "undecided"


def test_a_record_from_before_curves_were_kept_is_judged_by_what_it_was_asked_then():
    old = varied({f"{n} {s}": three(v) for s in paper.SETS for n, v in (("ours", 0.8), ("Audio-Only", 1.0),
                                                                       ("Mono-Mono", 1.2))})
    assert predicates["C1"].evaluate(old).verdict == "holds" and predicates["C2"].evaluate(
        varied(GOOD["C2"])).verdict == "holds"
    with pytest.raises(PaperKitError): predicates["C2"].evaluate(varied(GOOD["C2"]) | {"ours: validation": FLAT})


def test_the_spectrogram_is_librosas_with_reflection():
    librosa = pytest.importorskip("librosa")
    x = noise(2, SEGMENT).double()
    theirs = librosa.stft(x.numpy(), n_fft=512, hop_length=160, win_length=400, pad_mode="reflect")
    assert np.abs(TRANSFORM(x).numpy() - theirs).max() < 1e-10
    zeros = audio.Stft()(x) - TRANSFORM(x)
    assert (zeros.abs().amax((0, 1)) > 1e-9).nonzero().ravel().tolist() == [0, 1, 62, 63]
    assert torch.allclose(TRANSFORM.inverse(TRANSFORM(x), SEGMENT), x, atol=1e-10)


# what is played

def test_other_microphone_colours_but_does_not_shift():
    x = noise(16_000)
    y = paper.other_microphone(x)
    assert y.shape == x.shape and int(torch.fft.irfft(torch.fft.rfft(y)*torch.fft.rfft(x).conj()).argmax()) == 0
    X, Y = torch.fft.rfft(x).abs(), torch.fft.rfft(y).abs()
    assert Y[:60].mean() < 0.3*X[:60].mean() and Y[2800:3200].mean() > 1.3*X[2800:3200].mean()


def test_mp3_of_sum_and_difference_keeps_the_side():
    soundfile = pytest.importorskip("soundfile")
    made = paper.staged_clip([{"name": "trumpet", "azimuth": 40.0, "distance": 2.0, "look": 1, "tune": 2}], 1.5,
                             (32, 64), 3)
    mix, difference = mix_and_difference(torch.from_numpy(made["binaural"]))
    back = [torch.from_numpy(soundfile.read(io.BytesIO(audio.mp3(0.5*x.numpy(), compression=0.945)))[0].astype(
        np.float32)) for x in (mix, difference)]
    n = min(map(len, back))
    true, sent = (audio.interaural(torch.from_numpy(made["binaural"])),
                  audio.interaural(two_ears(back[0][:n], back[1][:n])))
    assert abs(true["ild"] - sent["ild"]) < 1.5 and abs(true["itd"] - sent["itd"]) < 80


# checkpoints of the authors' code

def official(width=4, reduced=784):
    """Two files with the names and shapes that the authors' code writes: ResNet-18's children, and the U-Net with the
    1x1."""
    from paper_kit.kit.nn import ResNet
    g, numbers = torch.Generator().manual_seed(0), {"conv1": 0, "bn1": 1, **{f"layer{k}": k + 3 for k in range(1, 5)}}
    eye, ear = {}, {}
    for name, t in ResNet(18, classes=None).state_dict().items():
        first, rest = name.split(".", 1)
        eye[f"feature_extraction.{numbers[first]}.{rest}"] = t

    def layer(name, shape, outputs, normed=True):
        ear[f"{name}.0.weight"] = torch.randn(*shape, generator=g)*math.prod(shape[1:])**-0.5
        ear[f"{name}.0.bias"] = 0.1*torch.randn(outputs, generator=g)
        if not normed: return
        for part, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            ear[f"{name}.1.{part}"] = value + 0.2*torch.rand(outputs, generator=g)
    c = [2, width, 2*width, 4*width, 8*width, 8*width]
    for k in range(5): layer(f"audionet_convlayer{k + 1}", (c[k + 1], c[k], 4, 4), c[k + 1])
    up = [(8*width + reduced, 8*width), (16*width, 4*width), (8*width, 2*width), (4*width, width), (2*width, 2)]
    for k, (a, b) in enumerate(up, 1): layer(f"audionet_upconvlayer{k}", (a, b, 4, 4), b, k < 5)
    layer("conv1x1", (8, 512, 1, 1), 8)
    return eye, ear


def masks_by_the_authors_formulas(ear, spectrum, features):
    F = torch.nn.functional

    def block(name, x, up=False):
        convolve = F.conv_transpose2d if up else F.conv2d
        x = convolve(x, ear[f"{name}.0.weight"], ear[f"{name}.0.bias"], *((2, 1) if "audionet" in name else (1, 0)))
        if f"{name}.1.weight" not in ear: return x
        x = F.batch_norm(x, *(ear[f"{name}.1.{k}"] for k in ("running_mean", "running_var", "weight", "bias")))
        return F.leaky_relu(x, 0.2) if "audionet_conv" in name else F.relu(x)
    levels = [spectrum]
    for k in range(1, 6): levels.append(block(f"audionet_convlayer{k}", levels[-1]))
    seen = block("conv1x1", features).flatten(1)[:, :, None, None].expand(-1, -1, *levels[-1].shape[-2:])
    x = torch.cat([seen, levels[-1]], 1)
    for k in range(1, 5): x = torch.cat([block(f"audionet_upconvlayer{k}", x, True), levels[-1 - k]], 1)
    return 2*torch.sigmoid(block("audionet_upconvlayer5", x, True)) - 1


def test_weights_in_the_authors_layout_give_their_masks(tmp_path):
    eye, ear = official()
    torch.save(eye, tmp_path/"visual_best.pth")
    torch.save(ear, tmp_path/"audio_best.pth")
    network = paper.load_official(tmp_path/"visual_best.pth", tmp_path/"audio_best.pth")
    g = torch.Generator().manual_seed(1)
    mix = torch.complex(torch.randn(1, 257, 64, generator=g), torch.randn(1, 257, 64, generator=g))
    frame = torch.randn(1, 3, 224, 448, generator=g)
    with torch.no_grad():
        wanted = masks_by_the_authors_formulas(ear, torch.stack([mix.real, mix.imag], 1), network.visual.trunk(frame))
        found = torch.view_as_real(network.masks(mix, frame)[:, 0]).permute(0, 3, 1, 2)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    with pytest.raises(PaperKitError, match="visual file first"):
        paper.load_official(tmp_path/"audio_best.pth", tmp_path/"visual_best.pth")


def test_the_shuffled_control_sees_another_clip_and_sides_can_be_independent_of_classes(monkeypatch):
    shown, asked, made = [], [], [clip(AudioWorld(seconds=1.0), i, 0, (36, 72)) for i in range(3)]
    clips = make_pool(made, AudioWorld())
    def told(network, method, clips, index, size, shown_to=shown, **more):
        if "shown" in more: shown_to.append((index, more["shown"]))
        return paper.mono_mono(clips, index)
    monkeypatch.setattr(paper, "predict", told)
    monkeypatch.setattr(paper, "load", lambda *a: None)
    found = paper.scored(clips, [0, 1, 2], {"difference": {}, "audio only": {}}, {"frame": (32, 64)})
    assert shown == [(0, 1), (1, 2), (2, 0)] and set(found) == {"Mono-Mono", "difference", "audio only", "flipped",
                                                               "shuffled"}
    monkeypatch.setattr(paper, "pool", lambda world, count, seed, size: asked.append((world.bias, seed)) or clips)
    paper.balanced_stage({"seconds": 1.0, "store": [36, 72]}, {}, {"frame": (32, 64)}, 3, 1)
    assert asked == [(0.5, 9001)] and paper.SETS["FAIR-Play"].bias == 0.8
