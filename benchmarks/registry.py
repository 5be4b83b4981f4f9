"""A registry's seconds: adding, reading, promoting, and listing a thousand versions, as a user waits for them."""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from pathlib import Path

import numpy as np

import elboroom as er


@er.model
def level(y):
    mu = er.sample("mu", er.Normal(0, 10))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(mu, 1), y)


def seconds(call):
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def lengthen(registry, name, count):
    """Chain lines of further versions to a log; their files are not read by what is timed."""
    path = registry.place / name / "log.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    pattern, at = json.loads(lines[1]), len(lines)
    before = hashlib.sha256(lines[-1][:-1]).hexdigest()
    for number in range(at, count + 1):
        line = {**pattern, "at": number + 1, "before": before, "version": number}
        row = json.dumps(line, separators=(",", ":")).encode()
        before = hashlib.sha256(row).hexdigest()
        lines.append(row + b"\n")
    path.write_bytes(b"".join(lines))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--versions", type=int, default=1000)
    count = parser.parse_args().versions
    posterior = er.fit(level(np.random.default_rng(0).normal(size=100)), progress=False)
    posterior.report(tempfile.mkdtemp())  # the pictures' library is slow to load
    key = er.Key.new()
    with tempfile.TemporaryDirectory() as place:
        registry = er.Registry(Path(place), key=key, trust=er.Trust.of(key))
        print(f"add, with its report    {seconds(lambda: registry.add(posterior, 'level')):.2f} s")
        print(f"get, all files checked  {seconds(lambda: registry.get('level', 1)):.4f} s")
        print(f"promote                 {seconds(lambda: registry.promote('level', 1)):.4f} s")
        lengthen(registry, "level", count)
        print(f"list {count} versions      {seconds(lambda: registry.versions('level').to_frame()):.3f} s")
        print(f"promote among them      {seconds(lambda: registry.promote('level', 1)):.3f} s")


if __name__ == "__main__":
    main()
