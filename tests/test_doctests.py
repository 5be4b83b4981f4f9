"""The examples in the docstrings run."""

from __future__ import annotations

import doctest
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
from elboroom.guides.catalogue import MADE

import elboroom as er

ROOT = Path(__file__).resolve().parent.parent
PLACES = {
    "ppl": "ppl",
    "guides": "guides",
    "inference": "inference",
    "diagnostics": "diagnostics",
    "operations": "operations",
    "": "src/elboroom",
}


def modules_with_examples():
    for package, folder in PLACES.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            if ">>> " in path.read_text():
                parts = path.relative_to(ROOT / folder).with_suffix("").parts
                dotted = ".".join(p for p in ("elboroom", package, *parts) if p and p != "__init__")
                yield dotted


WITH_EXAMPLES = tuple(modules_with_examples())


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples(name):
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted > 0
    assert found.failed == 0


def public() -> Iterator[tuple[str, object]]:
    """Public names, with what stands behind each: of the front door, its modules, and of two of these one by one.

    Those of ``er.plots`` have the example of their module, since each would fit once more.
    """
    for name in er.__all__:
        if name != "__version__":
            yield name, getattr(er, name)
    for name in er.gp.__all__:
        yield f"gp.{name}", getattr(er.gp, name)
    for family in (*er.guides.FAMILIES, *MADE):
        yield f"guides.{family.__name__}", family
    for name, value in vars(er.math).items():  # of words that NumPy has too a line says enough
        own = getattr(value, "__module__", "") in {"elboroom.ppl.math", "elboroom.ppl.arrays"}
        if own and not name.startswith("_") and len((value.__doc__ or "").splitlines()) > 1:
            yield f"math.{name}", value


NAMES = dict(public())


@pytest.mark.parametrize("name", NAMES)
def test_public_names_have_examples_that_run(name):
    value = NAMES[name]
    assert ">>> " in (value.__doc__ or ""), f"{name} has no example"
    home = value.__name__ if inspect.ismodule(value) else value.__module__
    assert home in WITH_EXAMPLES, f"nothing runs the examples of {home}"
