"""Who runs a model: the interpreter of a backend, and what the rest of the language asks it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from .data import Levels


class Interpreter(Protocol):
    """What a backend does with each word of a running model.

    Attributes
    ----------
    plates : sequence
        Name and size of the open plates.
    """

    plates: Any

    def sample(self, name: str, distribution: Any) -> Any:
        """Value of a latent quantity, see `elboroom.sample`."""

    def observe(self, name: str, distribution: Any, value: Any) -> Any:
        """Data, or a predicted outcome, see `elboroom.observe`."""

    def deterministic(self, name: str, value: Any) -> Any:
        """`value`, recorded, see `elboroom.deterministic`."""

    def factor(self, name: str, value: Any, rows: str | None) -> None:
        """Add a term, see `elboroom.factor`."""

    def plate(self, name: str, size: int, coords: Any) -> AbstractContextManager:
        """Open a plate for a block, see `elboroom.plate`."""

    def levels(self, codes: Any) -> Levels:
        """Number of groups, see `elboroom.levels`."""

    def scan(self, step: Any, init: Any, xs: Any, length: int | None) -> tuple[Any, Any]:
        """Last carry and stacked outputs of a recursion, see `elboroom.scan`."""

    def param(self, name: str, init: Any) -> Any:
        """Value of a learned array, see `elboroom.param`."""

    def given(self, name: str) -> Any:
        """Values of the weights of a module in this run, by their names within it; None for its initial ones."""

    def network(self, name: str, net: Any) -> Any:
        """A library's module as a `elboroom.ppl.modules.Network`, see `elboroom.module`."""

    def through(self, name: str, fn: Any, values: Any, inputs: tuple) -> Any:
        """``fn(values, *inputs)``, what comes out of a module."""

    def declare(self, name: str, network: Any) -> None:
        """Keep a network under its name."""

    def declared(self, name: str) -> Any:
        """A network that was declared with fitted weights, and their values in this run; None where there is none."""

    def odeint(
        self,
        field: Any,
        y0: Any,
        times: Any,
        args: tuple,
        each: tuple[bool, ...],
        tolerance: Any,
        stiff: bool,
    ) -> Any:
        """Solutions of shape (*systems, T, n), see `elboroom.odeint`; `each` says which arrays have an axis of systems."""


_running: ContextVar[Interpreter | None] = ContextVar("elboroom_interpreter", default=None)


def running_interpreter() -> Interpreter | None:
    """What runs the model now; None outside of one."""
    return _running.get()


@contextmanager
def interpreting(interpreter: Interpreter) -> Iterator[None]:
    """Run the words inside the block with an interpreter."""
    token = _running.set(interpreter)
    try:
        yield
    finally:
        _running.reset(token)


def origin_of(value: Any) -> Any:
    """What the running model knows of an array that has no numbers yet: an argument or a latent quantity, or None."""
    known = getattr(_running.get(), "origin", None)
    return None if known is None else known(value)


def running_array(array: Any) -> Any:
    """A NumPy array as the library that runs the model wants its constants."""
    convert = getattr(_running.get(), "asarray", None)
    return array if convert is None else convert(array)


def running_constant(array: Any) -> Any:
    """A NumPy array as an array of the library that runs the model: also one that NumPy's own would stand for but as to indices."""
    running = _running.get()
    convert = getattr(running, "asarray", getattr(running, "array", None))
    return array if convert is None else convert(array)
