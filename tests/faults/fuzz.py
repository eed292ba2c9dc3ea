"""Every reader against damaged files: `python tests/faults/fuzz.py --inputs 5000`. An input is read, or refused with
our error; prints the counts as JSON.

What counts as a fault: another exception, a number that is not finite in what was accepted, more than five seconds,
more than a gibibyte, anything written, started or sent from inside a reader outside its own folder."""
import argparse
import copy
import faulthandler
import json
import math
import os
import random
import re
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from dataclasses import fields, is_dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]
import numpy as np
import torch
from miniatures import all_readers
from paper_kit.kit.files import PaperKitError

ODD = [b"nan", b"inf", b"-inf", b"1e308", b"-1", b"0", b"", b"\xff\xfe", b"99999999999999999999", b"null", b"[]",
       b"{}", b"true", b'"x"', b"../../../../etc/passwd", b"\0", b"1e-320", b"2147483648", b"\xe2\x80\xa8", b"a:b",
       b"'", b"%s", b"1e3", b"0x10", b"-0", b"[[[[[[[[[[[[", b"\r\n", b"n"*300]
VALUES = [None, True, False, -1, 0, 1, 2**31, 2**63, 10**30, 1e308, float("nan"), float("inf"), "", "x",
          "1e3", "../../x", "/etc/passwd", "\0", "\ud800", [], [[]], {}, {"a": 1}, [None], ["x"]*5, [1, "2"],
          "9"*5000, "n"*300]


def damaged_text(data, dice):
    tokens = re.split(rb"([\s,:;|{}\[\]\"]+)", data)
    for _ in range(dice.randint(1, 3)):
        at = dice.randrange(len(tokens))
        kind = dice.random()
        if kind < 0.6: tokens[at] = dice.choice(ODD)
        elif kind < 0.8: del tokens[at:at + dice.randint(1, 4)]
        else: tokens[at:at] = tokens[at:at + dice.randint(1, 6)]*dice.choice([1, 2, 50])
        if not tokens: return b""
    return b"".join(tokens)


def damaged_json(data, dice):
    try: document = json.loads(data)
    except ValueError: return damaged_text(data, dice)
    def places(value, found):
        if isinstance(value, dict): keys = list(value)
        elif isinstance(value, list): keys = range(len(value))
        else: return found
        for key in keys:
            found.append((value, key))
            places(value[key], found)
        return found
    for _ in range(dice.randint(1, 2)):
        spots = places(document, [])
        if not spots or dice.random() < 0.05:
            document = copy.deepcopy(dice.choice(VALUES))
            continue
        holder, key = dice.choice(spots)
        if dice.random() < 0.25: holder.pop(key)
        elif isinstance(holder, dict) and dice.random() < 0.15:
            holder[dice.choice(["", "x", "nan", "-1"])] = holder.pop(key)
        else: holder[key] = copy.deepcopy(dice.choice(VALUES))
    return json.dumps(document, ensure_ascii=dice.random() < 0.5).encode("utf-8", "surrogatepass")


def damaged_bytes(data, dice):
    data = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        at, kind = dice.randrange(len(data) + 1), dice.random()
        if kind < 0.2: del data[at:]
        elif kind < 0.35: del data[at:at + dice.randint(1, 12)]
        elif kind < 0.6:
            data[at:at + 4] = dice.choice([b"\xff"*4, b"\0"*4, b"\x7f\xff\xff\xff", b"\x80\0\0\0",
                                           b"\1\0\0\0"])[:dice.randint(1, 4)]
        elif kind < 0.8 and at < len(data): data[at] ^= 1 << dice.randrange(8)
        elif kind < 0.95: data[at:at] = dice.randbytes(dice.randint(1, 12))
        else: data[at:at] = data[:dice.randint(0, len(data))]
    return bytes(data)


def place(path, data, dice):
    "Write a damaged file, or now and then something that is no file; returns what was done."
    kind = dice.random()
    path.unlink()
    if kind < 0.01: os.mkfifo(path)
    elif kind < 0.015: path.symlink_to("/dev/zero")
    elif kind < 0.02: path.mkdir()
    elif kind < 0.03: pass
    else:
        text = (path.suffix in (".json", ".txt", ".log", ".lst", ".csv", ".yaml", ".obj", ".pcd", ".ply",
                                ".ini", ".ipynb"))
        how = (damaged_bytes if not text or kind < 0.3 else damaged_json if path.suffix in (".json", ".ipynb")
               else damaged_text)
        path.write_bytes(how(data, dice))


def restore(path, data):
    if path.is_dir() and not path.is_symlink(): shutil.rmtree(path)
    else: path.unlink(missing_ok=True)
    path.write_bytes(data)


def not_finite(value, depth=0):
    "Whether there is a NaN or an infinity in what a reader returned."
    if depth > 6: return False
    if isinstance(value, torch.Tensor): return value.is_floating_point() and not bool(torch.isfinite(value).all())
    if isinstance(value, np.ndarray): return value.dtype.kind == "f" and not np.isfinite(value).all()
    if isinstance(value, float): return not math.isfinite(value)
    if isinstance(value, dict): return any(not_finite(v, depth + 1) for v in value.values())
    if isinstance(value, (list, tuple)): return any(not_finite(v, depth + 1) for v in value)
    return is_dataclass(value) and any(not_finite(getattr(value, f.name), depth + 1) for f in fields(value))


class Watch:
    "Sees what is written, started or sent while it is armed."
    def __init__(self):
        self.folder, self.seen = None, []
        sys.addaudithook(self)

    def __call__(self, event, arguments):
        if self.folder is None: return
        if event == "open":
            path, mode, flags = arguments
            writes = (mode and set(str(mode)) & set("wax+") or isinstance(flags, int)
                      and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            if writes and not str(path).startswith((self.folder, "/dev/null")) and not isinstance(path, int):
                self.seen.append(f"writes {path}")
        elif event == "subprocess.Popen":
            if "paper_kit.kit.readers" not in str(arguments[1]): self.seen.append(f"starts {arguments[1]}")
        elif event in ("os.system", "os.exec", "socket.connect", "urllib.Request"): self.seen.append(event)
        elif event in ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink",
                       "shutil.rmtree", "os.truncate"):
            if not str(arguments[0]).startswith(self.folder): self.seen.append(f"{event} {arguments[0]}")


# hold any numbers
LOOSE = {"manifest", "record", "mapping", "pickle", "stage", "weights", "checkpoint", "expected", "manifest of a page"}


def attempt(reader, folder, watch):
    "(outcome, what is wrong or '') of one reading."
    begun = time.perf_counter()
    watch.folder, watch.seen = str(folder), []
    faulthandler.dump_traceback_later(90, exit=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found, outcome = reader.read(folder), "read"
    except PaperKitError as error:
        outcome, found = "refused", None
        if error.found is None or not error.next_step: return outcome, f"an error without found or next step: {error}"
    except BaseException as error:
        watch.folder = None
        return "fault", "".join(traceback.format_exception(error)[-3:])[-700:]
    finally:
        watch.folder = None
        faulthandler.cancel_dump_traceback_later()
    took = time.perf_counter() - begun
    if watch.seen: return outcome, "; ".join(watch.seen[:3])
    if took > 5: return outcome, f"{took:.1f} s"
    if outcome == "read" and reader.name not in LOOSE and not_finite(found):
        return outcome, "accepted what is not finite"
    return outcome, ""


def fuzz(inputs, seed, seconds, only=""):
    dice, watch, counts, faults = random.Random(seed), Watch(), Counter(), []
    readers = [r for r in all_readers() if only in r.name]
    total, end = sum(r.weight for r in readers), time.monotonic() + seconds
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as where:
        for reader in readers:
            folder = Path(where)/re.sub(r"\W", "-", reader.name)
            for name, data in reader.files.items():
                (folder/name).parent.mkdir(parents=True, exist_ok=True)
                (folder/name).write_bytes(data)
            outcome, wrong = attempt(reader, folder, watch)
            if outcome != "read" or wrong:
                faults.append({"reader": reader.name, "wrong": f"the undamaged one: {outcome} {wrong}"})
            for _ in range(max(1, round(inputs*reader.weight/total))):
                if time.monotonic() > end: break
                name = dice.choice(reader.vary or list(reader.files))
                state = dice.getstate()
                place(folder/name, reader.files[name], dice)
                outcome, wrong = attempt(reader, folder, watch)
                counts[outcome] += 1
                if wrong:
                    kept = Path(where)/name if not (folder/name).is_file() else folder/name
                    faults.append({"reader": reader.name, "file": name, "wrong": wrong,
                                   "input": kept.read_bytes()[:400].decode("latin1") if kept.is_file()
                                   and not kept.is_symlink() else "no file"})
                restore(folder/name, reader.files[name])
        outside = sorted(p.name for p in Path(where).iterdir()) != sorted({re.sub(r"\W", "-", r.name) for r in readers})
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if outside: faults.append({"reader": "", "wrong": "something was written beside the folders"})
    if grown > 2**20: faults.append({"reader": "", "wrong": f"{grown/2**20:.1f} GiB of memory"})
    return {"inputs": sum(counts.values()), "readers": len(readers), **counts, "faults": faults, "mib": grown//1024}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--inputs", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    print(json.dumps(fuzz(options.inputs, options.seed, options.seconds, options.only)))
