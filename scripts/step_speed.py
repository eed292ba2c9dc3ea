"""What share of this machine's matrix-product speed the training steps of papers reach:
`python scripts/step_speed.py SLUG ... [--profile cpu]`, one thread, after the papers' stages have run.

Each stage is called with its own arguments (the results of earlier stages come from disk) until its first training has
done a dozen steps. Operations are those that `torch.utils.flop_counter` counts (products and convolutions, forwards and
backwards), divided by processor time; the measure is a product of two 1024 x 1024 float32 matrices in the same run."""
import argparse
import contextlib
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from paper_kit.kit import stages
from paper_kit.kit.files import PaperKitError
from paper_kit.kit.train import Training
from torch.utils.flop_counter import FlopCounterMode

STEPS, SECONDS = 12, 40


class Enough(BaseException):
    "The steps wanted are done, or the time is over."


def product_speed(side: int = 1024, times: int = 9) -> float:
    "Operations a second of one matrix product, the median."
    a, b, took = torch.rand(side, side), torch.rand(side, side), []
    for _ in range(times):
        begun = time.process_time()
        torch.mm(a, b)
        took.append(time.process_time() - begun)
    return 2*side**3/statistics.median(took)


@contextlib.contextmanager
def counted(found: dict):
    "Each training in this block stops after `STEPS` steps; `found` takes operations and seconds of a step."
    plain = Training.step

    def step(self):
        done = found.setdefault("took", [])
        if len(done) == 2 and "operations" not in found:
            with FlopCounterMode(display=False) as counter: plain(self)
            found["operations"] = counter.get_total_flops()
            return
        begun = time.process_time()
        plain(self)
        done.append(time.process_time() - begun)
        if len(done) >= STEPS: raise Enough

    Training.step = step
    try: yield
    finally: Training.step = plain


def late(*_): raise Enough


class Measuring(stages.Runner):
    def stage(self, fn, **arguments):
        seen, known = self.__dict__.setdefault("rows", {}), stages.inspect.signature(fn).parameters
        if fn.__name__ not in seen:
            found, given = {}, dict(arguments)
            if "seed" in known: given.setdefault("seed", self.seed)
            with tempfile.TemporaryDirectory() as folder, counted(found):
                served = {"device": "cpu", "progress": lambda *a: None, "checkpoint": Path(folder)/"x.partial"}
                given |= {k: v for k, v in served.items() if k in known and k not in given}
                signal.signal(signal.SIGALRM, late)
                signal.alarm(SECONDS)
                try: fn(**given)
                except (Enough, Exception): pass  # a library may make an error of its own of it
                finally: signal.alarm(0)
            seen[fn.__name__] = found
        return super().stage(fn, **arguments)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slug", nargs="+")
    parser.add_argument("--profile", default="cpu")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    best = product_speed()
    print(f"matrix product: {best/1e9:.1f} GFLOP/s")
    print(f"{'paper':24}{'stage':26}{'GFLOP a step':>13}{'ms a step':>11}{'share':>8}")
    for slug in asked.slug:
        run = Measuring(slug, asked.profile)
        try: stages.paper_module(slug).stages(run)
        except PaperKitError as error: print(f"{slug}: {error}", file=sys.stderr)
        for name, found in getattr(run, "rows", {}).items():
            if "operations" not in found or len(found["took"]) < 4: continue
            took = statistics.median(found["took"][2:])
            share = found["operations"]/took/best
            print(f"{slug:24}{name:26}{found['operations']/1e9:13.3f}{1e3*took:11.1f}{share:8.0%}", flush=True)
    return 0


if __name__ == "__main__": sys.exit(main())
