"""Recursions over time as a loop of Python, and with no word of a model inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .arrays import stack
from .errors import ModelError, explain
from .interpreter import interpreting, running_interpreter


def without_sites(step: Callable) -> Callable:
    """A step of `elboroom.scan` with every word refused inside.

    Raises
    ------
    ModelError
        When the step that is returned says a word.
    """
    outer = running_interpreter()

    def run(carry, x):
        with interpreting(NoSites("er.scan", _SCANNED, outer)):
            return step(carry, x)

    return run


class NoSites:
    """An interpreter that refuses every word; its arrays are those of the one around it.

    Parameters
    ----------
    where, remedy : str
        Which word's function it is, and what to do instead, for the message.
    outer : Interpreter or None
        The one around it.
    """

    def __init__(self, where: str, remedy: str, outer: Any):
        self._where, self._remedy = where, remedy
        self.asarray = getattr(outer, "asarray", None)

    def __getattr__(self, word: str) -> Any:
        if word in _LEARNED:
            remedy = "declare it before, and use its value inside"
            raise ModelError(
                explain(
                    self._where, "a function free of declarations", f"'{_LEARNED[word]}' inside it", remedy
                )
            )
        raise ModelError(
            explain(self._where, "a function free of sites", f"'{word}' inside it", self._remedy)
        )


_LEARNED = {"param": "param", "given": "module", "network": "module"}
"""What words of learned arrays first ask of an interpreter, and the words."""
_SCANNED = "declare the innovations before the scan, in a plate, and pass them as xs"


def scan_in_python(step: Callable, init: Any, xs: Any, length: int | None = None) -> tuple[Any, Any]:
    """`elboroom.scan` as a loop, for libraries that run eagerly; its parameters are described there.

    Raises
    ------
    ModelError
        Without inputs and without a length.
    """
    num_steps = length if xs is None else len(_first(xs))
    if num_steps is None:
        raise ModelError(
            explain("er.scan", "inputs xs, or a length", "neither", "say how many steps there are")
        )
    carry, out = init, []
    for i in range(num_steps):
        carry, y = step(carry, None if xs is None else _element(xs, i))
        out.append(y)
    return carry, _stacked(out)


def _first(tree: Any) -> Any:
    """The first array of nested tuples and dicts."""
    while isinstance(tree, (dict, tuple)):
        tree = next(iter(tree.values() if isinstance(tree, dict) else tree))
    return tree


def _element(tree: Any, i: int) -> Any:
    """Nested tuples and dicts of one element of the first axis of each array."""
    if isinstance(tree, dict):
        return {k: _element(v, i) for k, v in tree.items()}
    return tuple(_element(v, i) for v in tree) if isinstance(tree, tuple) else tree[i]


def _stacked(trees: list) -> Any:
    """Nested tuples and dicts of arrays, those of all steps on a new first axis."""
    if isinstance(trees[0], dict):
        return {k: _stacked([t[k] for t in trees]) for k in trees[0]}
    if isinstance(trees[0], tuple):
        return tuple(_stacked(list(items)) for items in zip(*trees, strict=True))
    return None if trees[0] is None else stack(trees)
