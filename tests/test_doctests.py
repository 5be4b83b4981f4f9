"""The examples in the docstrings run."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import elboroom as er

ROOT = Path(__file__).resolve().parent.parent
LANGUAGE_AND_CHECKS = (
    "ppl.model",
    "ppl.foreign",
    "ppl.primitives",
    "ppl.graph",
    "ppl.target",
    "ppl.errors",
    "diagnostics",
)
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


@pytest.mark.parametrize("name", er.__all__)
def test_public_names_of_the_language_and_the_checks_have_examples(name):
    value = getattr(er, name)
    home = getattr(value, "__module__", "").removeprefix("elboroom.")
    if home.startswith(LANGUAGE_AND_CHECKS):
        assert ">>> " in value.__doc__
