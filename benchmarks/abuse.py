"""Kills, changed files, full disks and interrupts: what is lost, what loads as something else, what is left behind.

    python benchmarks/abuse.py [--kills 200] [--changes 10000] [--sizes 5] [--interrupts 40] [--backend jax]

Every count in capitals has to be 0; the exit status is 1 where one is not.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from elboroom.ppl import cache, files

import elboroom as er

SLOWEST = 0.04  # seconds after which a writer is killed at the latest


@er.model
def groups(group, y):
    mu = er.sample("mu", er.Normal(0, 5))
    tau = er.sample("tau", er.HalfNormal(2))
    with er.plate("group", 8):
        a = er.sample("a", er.Normal(mu, tau))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(a[group], 1.0), y)


def program(seed: int):
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 8, 200)
    return groups(group=group, y=1 + rng.normal(size=8)[group] + rng.normal(size=200))


def fitted(seed: int, backend: str = "jax", **options):
    return er.fit(program(seed), seed=seed, backend=backend, progress=False, **options)


def same(first, second) -> bool:
    """Whether two posteriors say the same, to the last bit and the last word."""
    tables = first.summary().equals(second.summary())
    draws = all(np.array_equal(first.values[name], second.values[name]) for name in first.values)
    words = [f.as_dict() for f in first.findings] == [f.as_dict() for f in second.findings]
    return tables and draws and words and first.verdict == second.verdict


# -- kills -----------------------------------------------------------------------------------------------


def kills(count: int, seed: int = 0) -> Counter:
    """Writers killed at random moments, each of which replaces one of two states by the other all the time."""
    found: Counter = Counter()
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        originals = [er.load(fitted(one).save(root / f"original{one}")) for one in (0, 1)]
        for kind, (write, read) in WRITERS.items():
            for exchange in (True, False) if kind == "save" else (True,):
                folder = root / f"{kind}{exchange}"
                folder.mkdir()
                write(originals[0], folder)
                for _ in range(-(-count // (len(WRITERS) + 1))):
                    found["kills"] += 1
                    _killed(write, originals, folder, rng.uniform(0, SLOWEST), exchange)
                    state = read(folder)
                    found["LOST"] += state is None
                    if state is not None:
                        states = [state(one) for one in originals]
                        found["other state"] += states[1]
                        found["DIFFERENT"] += not any(states)
                try:
                    write(originals[0], folder)
                except Exception as error:  # whatever it is, the next call was blocked
                    found["BLOCKED"] += 1
                    print(f"{kind}: {error!r}")
                found["LEFT BEHIND"] += sum(files.is_left(one.name) for one in folder.rglob("*"))
    return found


def _killed(write, originals, folder: Path, seconds: float, exchange: bool) -> None:
    with warnings.catch_warnings():  # of JAX, which the child does not use
        warnings.simplefilter("ignore", RuntimeWarning)
        child = os.fork()
    if not child:
        if not exchange:
            files._exchange = lambda first, second: False  # noqa: SLF001  as on a system that cannot
        try:
            while True:
                for posterior in (originals[1], originals[0]):
                    write(posterior, folder)
        finally:
            os._exit(1)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    if os.waitpid(child, 0)[1] != signal.SIGKILL:
        raise RuntimeError("the writer ended by itself")


def _loaded(folder: Path):
    try:
        found = er.load(folder)
    except er.InferenceError as error:
        print(error)
        return None
    return lambda original: same(found, original)


def _content(path: Path):
    try:
        content = path.read_bytes()
    except OSError:
        return None
    return lambda original: content == _bytes_of(original)


def _bytes_of(posterior) -> bytes:
    return posterior.summary().to_json().encode() * 200


def _staged(posterior, folder: Path) -> None:
    from elboroom.folder import staged

    with staged(folder / "out") as stage:
        posterior.save(stage / "posterior")


def _cached(posterior, folder: Path) -> None:
    os.environ["ELBOROOM_CACHE"] = str(folder)
    cache.write("code", "0" * 64, _bytes_of(posterior))
    cache.prune(10**9)


def _from_cache(folder: Path):
    os.environ["ELBOROOM_CACHE"] = str(folder)
    content = cache.read("code", "0" * 64)
    return content and (lambda original: content == _bytes_of(original))


def _checkpointed(posterior, folder: Path) -> None:
    from elboroom.inference.run.checkpoint import Checkpoint

    kept = Checkpoint(folder / "kept", {"model": "one"})
    kept.finish("fit", {"name": posterior.name}, {"z": posterior.z})
    if kept.findings:
        raise RuntimeError(kept.findings[0].advice)


def _from_checkpoint(folder: Path):
    from elboroom.inference.run.checkpoint import Checkpoint

    kept = Checkpoint(folder / "kept", {"model": "one"})
    if kept.stage != "fit":
        return None
    z = kept.state[1]["z"]
    return lambda original: np.array_equal(z, original.z)


WRITERS = {
    "save": (lambda one, place: one.save(place / "posterior"), lambda place: _loaded(place / "posterior")),
    "checkpoint": (_checkpointed, _from_checkpoint),
    "report": (
        lambda one, place: files.write(place / "report.html", _bytes_of(one)),
        lambda place: _content(place / "report.html"),
    ),
    "command": (_staged, lambda place: _loaded(place / "out" / "posterior")),
    "cache": (_cached, _from_cache),
}


# -- changed files ---------------------------------------------------------------------------------------


def changes(count: int, seed: int = 0) -> Counter:
    """Bits flipped, files cut, removed and exchanged: refused in words, or read as they were."""
    found: Counter = Counter()
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        own = fitted(0).save(root / "own")
        other = fitted(1).save(root / "other")
        original, names = er.load(own), sorted(one.name for one in own.iterdir())
        whole = {name: (own / name).read_bytes() for name in names}
        report = _reported(own)
        for _ in range(count):
            found["changes"] += 1
            kind, name = rng.choice(list(CHANGES)), rng.choice([*names, "report.json"])
            folder = own if name in names else own.parent / "report"
            before = whole.get(name, report)
            CHANGES[kind](folder / name, before, (other / name) if name in names else None, rng)
            try:
                if name in names:
                    found["identical" if same(er.load(own), original) else "DIFFERENT"] += 1
                else:
                    found["identical" if _again(folder) == _record(report) else "DIFFERENT"] += 1
            except er.ElboroomError as error:
                found["refused" if "expected" in str(error) else "UNCLEAR"] += 1
            except Exception as error:  # the count that this is about
                found["RAW ERRORS"] += 1
                print(f"{kind} {name}: {error!r}")
            (folder / name).write_bytes(before)
    return found


def _reported(own: Path) -> bytes:
    folder = own.parent / "report"
    folder.mkdir()
    er.load(own).report(folder)
    return (folder / "report.json").read_bytes()


def _again(folder: Path):
    from elboroom.folder import read_report

    return read_report(folder)


def _record(content: bytes):
    return files.unsealed_json(content)[0]


def _flip(file: Path, content: bytes, other, rng) -> None:
    changed = bytearray(content)
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    file.write_bytes(changed)


def _cut(file: Path, content: bytes, other, rng) -> None:
    file.write_bytes(content[: rng.randrange(len(content))])


def _filled(file: Path, content: bytes, other, rng) -> None:
    start = rng.randrange(len(content))
    width = rng.randrange(1, 4096)
    file.write_bytes(content[:start] + bytes(len(content[start : start + width])) + content[start + width :])


def _digits(file: Path, content: bytes, other, rng) -> None:
    """One digit of a number in a text, or byte elsewhere, becomes another."""
    digits = [i for i, byte in enumerate(content) if 48 <= byte < 58]
    changed, place = bytearray(content), rng.choice(digits)
    changed[place] = 48 + (changed[place] - 48 + rng.randrange(1, 10)) % 10
    file.write_bytes(changed)


def _removed(file: Path, content: bytes, other, rng) -> None:
    file.unlink()


def _exchanged(file: Path, content: bytes, other, rng) -> None:
    if other is not None:
        shutil.copy(other, file)


CHANGES = {
    "flip": _flip, "flip ": _flip, "cut": _cut, "zeros": _filled, "digit": _digits, "removal": _removed,
    "exchange": _exchanged,
}  # fmt: skip


# -- full disks ------------------------------------------------------------------------------------------

FULL = """
import resource, signal, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
import elboroom as er
from abuse import fitted, same
kind, place, size = sys.argv[2], sys.argv[3], int(sys.argv[4])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
if kind == "save":
    posterior = er.load(sys.argv[5])
    before = er.load(posterior.save(place))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    try:
        posterior.save(place)
        print("written")
    except er.InferenceError as error:
        print("said" if "expected a place that can be written" in str(error) else error)
    assert same(er.load(place), before)
else:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    posterior = fitted(0, checkpoint=place, refine="always")
    assert posterior.verdict == "trusted", posterior.verdict
    print("said" if any(f.name == "no checkpoint" for f in posterior.findings) else "written")
"""


def full(count: int) -> Counter:
    """Files that may grow to some sizes and no further, under `save` and under checkpoints."""
    found: Counter = Counter()
    with tempfile.TemporaryDirectory() as place:
        original = fitted(0).save(Path(place) / "original")
        for kind in ("save", "checkpoint"):
            for number, size in enumerate(np.geomspace(1, 300_000, count).astype(int)):
                given = [
                    str(Path(__file__).parent),
                    kind,
                    f"{place}/{kind}{number}",
                    str(size),
                    str(original),
                ]
                done = subprocess.run(
                    [sys.executable, "-c", FULL, *given],
                    capture_output=True,
                    text=True,
                    env={**os.environ, "ELBOROOM_CACHE": f"{place}/cache"},
                )
                words = done.stdout.strip()
                found["full disks"] += 1
                found["SIGNALS"] += done.returncode < 0
                found[words if words in {"said", "written"} and not done.returncode else "RAW ERRORS"] += 1
                if done.returncode or words not in {"said", "written"}:
                    print(kind, size, words, done.stderr[-2000:])
        found["LEFT BEHIND"] = sum(files.is_left(one.name) for one in Path(place).rglob("*"))
    return found


# -- interrupts ------------------------------------------------------------------------------------------

INTERRUPTED = """
import os, signal, sys, threading, time
sys.path.insert(0, sys.argv[1])
import elboroom as er
from abuse import fitted, program
number, seconds, backend = signal.Signals[sys.argv[2]], float(sys.argv[3]), sys.argv[4]
signal.signal(number, signal.default_int_handler)  # SIGINT too: a shell's background ignores it
own, timer = program(0), threading.Timer(seconds, lambda: os.kill(os.getpid(), number))
timer.daemon = True
begin = time.perf_counter()
timer.start()
try:
    er.fit(own, backend=backend, progress=False, refine="always")
    said = "result"
except KeyboardInterrupt as error:
    said = "nothing yet" if "elboroom was interrupted" in str(error) else "BARE"
waited = time.perf_counter() - begin - seconds
came = timer.finished.is_set()
timer.cancel()
again = er.fit(own, backend=backend, progress=False)
print(said if came else "too late", f"{waited:.3f}", repr(float(again.summary()["mean"].sum())), again.verdict)
"""


def interrupts(count: int, backend: str = "jax", longest: float = 2.2, seed: int = 0) -> Counter:
    """Cold fits interrupted at random moments: the best so far or words, and the next fit as if nothing had been."""
    found: Counter = Counter()
    rng, right, waited = random.Random(seed), fitted(0, backend), []
    expected = [repr(float(right.summary()["mean"].sum())), right.verdict]
    for number in range(count):
        name = ("SIGINT", "SIGTERM")[number % 2]
        done = subprocess.run(
            [
                *(sys.executable, "-c", INTERRUPTED, str(Path(__file__).parent), name),
                *(str(rng.uniform(0, longest)), backend),
            ],
            capture_output=True,
            text=True,
        )
        words = done.stdout.split()
        found["interrupts"] += 1
        if done.returncode or words[-2:] != expected:
            found["POISONED"] += 1
            print(name, done.stdout, done.stderr[-2000:])
            continue
        found[" ".join(words[:-3])] += 1
        if words[0] != "too":
            waited.append(float(words[-3]))
    if waited:
        middle, most = np.median(waited), max(waited)
        print(f"  seconds from an interrupt to its answer: median {middle:.2f}, most {most:.2f}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, count in (("kills", 200), ("changes", 10_000), ("sizes", 5), ("interrupts", 40)):
        parser.add_argument(f"--{name}", type=int, default=count)
    parser.add_argument("--backend", default="jax")
    given = parser.parse_args()
    wrong = 0
    for name, run, count in (
        ("kills", kills, given.kills),
        ("changes", changes, given.changes),
        ("full disks", full, given.sizes),
        ("interrupts", lambda n: interrupts(n, given.backend), given.interrupts),
    ):
        if not count:
            continue
        begin = time.perf_counter()
        found = run(count)
        wrong += sum(number for word, number in found.items() if word.isupper())
        words = ", ".join(f"{number} {word}" for word, number in found.items())
        print(f"{name}: {words} ({time.perf_counter() - begin:.0f} s)", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
