"""The examples in the docstrings run."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PLACES = {
    "ppl": "ppl",
    "guides": "guides",
    "inference": "inference",
    "diagnostics": "diagnostics",
    "": "src/elboroom",
}


def modules_with_examples():
    for package, folder in PLACES.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            if ">>> " in path.read_text():
                parts = path.relative_to(ROOT / folder).with_suffix("").parts
                dotted = ".".join(p for p in ("elboroom", package, *parts) if p and p != "__init__")
                yield dotted


@pytest.mark.parametrize("name", list(modules_with_examples()))
def test_examples(name):
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted > 0
    assert found.failed == 0
