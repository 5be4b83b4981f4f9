"""Kills, changed files, full disks and interrupts in small numbers; `benchmarks/abuse.py` does the same in large ones."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "abuse.py"
NONE = {"kills": 0, "changes": 0, "sizes": 0, "interrupts": 0}


@pytest.mark.slow
@pytest.mark.parametrize("kind, count", [("kills", 48), ("changes", 500), ("sizes", 2), ("interrupts", 4)])
def test_nothing_is_lost_changed_or_left_behind(kind, count):
    asked = [word for name, number in {**NONE, kind: count}.items() for word in (f"--{name}", str(number))]
    done = subprocess.run([sys.executable, str(SCRIPT), *asked], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert str(count) in done.stdout or kind == "sizes"


@pytest.mark.slow
def test_interrupts_on_pytorch():
    asked = [word for name in ("kills", "changes", "sizes") for word in (f"--{name}", "0")]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *asked, "--interrupts", "2", "--backend", "torch"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
