"""What the functions of a draw ask of a backend's library; `jax.library` and `torch.library` are modules of these names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ..running import Record


class Draws(Protocol):
    """Random numbers of one draw."""

    def sample(self, fn: Any, at: Any = None) -> Any:
        """A value of a law, the next of this draw; `at` is the step of a loop that takes one at a time."""
        ...

    def choose(self, shares: Any, site: int, step: Any = None) -> Any:
        """Positions on the first axis with these probabilities, for a site by number, and a step of a chain."""
        ...

    def afresh(self, step: Any) -> Draws:
        """Others, for one of several runs of the same model."""
        ...


class Library(Protocol):
    """What the functions of a draw ask of a backend.

    Attributes
    ----------
    name : str
        The backend's.
    """

    name: str

    @property
    def run(self) -> Callable[..., Any]:
        """``run(latent, record, fixed, intervened, **settings)``: what decides the value of every site of one run."""
        ...

    def execute(self, program: Any, leaves: Any, run: Any, draws: Any = None) -> Record:
        """Run the model once; a model that asks for random numbers itself gets those of `draws`."""
        ...

    def draws(self, seed: Any, dtype: Any, /) -> Draws:
        """Random numbers that a seed fixes."""
        ...

    def asarray(self, value: Any, /) -> Any:
        """A value of the model as an array of the library."""
        ...

    def zeros(self, shape: tuple[int, ...], dtype: Any, /) -> Any:
        """Zeros of a precision by its NumPy name."""
        ...

    def cast(self, value: Any, like: Any, /) -> Any:
        """An array with the type of another."""
        ...

    def total(self, value: Any, /) -> Any:
        """Sum of all elements."""
        ...

    def grad(self, fn: Callable, /) -> Callable:
        """Gradient in the first argument, a tree of arrays."""
        ...

    def vmap(self, fn: Callable, /) -> Callable:
        """A function of one argument, a tree of arrays, mapped over the first axis of each."""
        ...

    def jvp(self, fn: Callable, at: Any, along: Any, /) -> Any:
        """Derivative of a function at a point along a direction."""
        ...

    def is_real(self, support: Any, /) -> bool:
        """Whether a support of the library is the whole space."""
        ...

    def transform(self, fn: Any, /) -> Any:
        """Bijection from the unconstrained space to a law's support."""
        ...

    def scan(self, step: Callable, init: Any, xs: Any, length: int | None = None) -> Any:
        """A recursion over the first axis."""
        ...
