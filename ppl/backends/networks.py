"""Refusals of modules, in the same words on every backend."""

from __future__ import annotations

from typing import Any

from ..errors import ModelError, UnsupportedError, explain

LAYERS = "take the layer out; LayerNorm and GroupNorm normalise within a row"
ALLOWED_WHEN_STILL = "take the layer out, or switch it off, as for predictions"


def unknown(name: str, net: Any, expected: str, remedies: dict[str, str]) -> ModelError:
    """What is said of an object that is no network of a backend.

    Parameters
    ----------
    name : str
        The module's.
    net : object
        What was given for it.
    expected : str
        What the backend takes.
    remedies : dict of str to str
        By the library that made it, and ``""`` for any other.
    """
    kinds = type(net).__mro__
    library = next((k for k in remedies for kind in kinds if kind.__module__.partition(".")[0] == k), "")
    got = "a function" if callable(net) and hasattr(net, "__code__") else _class(kinds[0])
    return ModelError(explain(f"er.module '{name}'", expected, got, remedies[library]))


def impure(name: str, got: str, remedy: str = LAYERS) -> UnsupportedError:
    """What is said of a module that is no function of a row and its weights."""
    want = "a pure function of each row and its weights"
    return UnsupportedError(explain(f"er.module '{name}'", want, got, remedy))


def made_inside(name: str) -> ModelError:
    """What is said of a library's module that each run of the model makes anew."""
    want, got = "a module that is there before the model runs", "one that each run makes anew"
    remedy = "make it outside of the model's function; networks of er.nn may be made inside"
    return ModelError(explain(f"er.module '{name}'", want, got, remedy))


def _class(kind: type) -> str:
    home = kind.__module__.partition(".")[0]
    return f"a {kind.__name__}" + ("" if home in ("builtins", "__main__") else f" of {home}")
