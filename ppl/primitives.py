"""The words of a model: ``sample``, ``observe``, ``deterministic``, ``factor``, ``plate``, ``levels``.

Each word speaks to the interpreter that is running the model. A backend supplies the interpreter; the
declaration itself knows none.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from .data import Levels
from .errors import ModelError, explain


class Interpreter(Protocol):
    """What a backend does with each word of a running model."""

    def sample(self, name: str, distribution: Any) -> Any: ...

    def observe(self, name: str, distribution: Any, value: Any) -> Any: ...

    def deterministic(self, name: str, value: Any) -> Any: ...

    def factor(self, name: str, value: Any, rows: str | None) -> None: ...

    def plate(self, name: str, size: int, coords: Any) -> AbstractContextManager: ...

    def levels(self, codes: Any) -> Levels: ...


_running: ContextVar[Interpreter | None] = ContextVar("elboroom_interpreter", default=None)


@contextmanager
def interpreting(interpreter: Interpreter):
    """Run the words inside the block with `interpreter`."""
    token = _running.set(interpreter)
    try:
        yield
    finally:
        _running.reset(token)


def _interpreter(word: str) -> Interpreter:
    interpreter = _running.get()
    if interpreter is None:
        raise ModelError(
            explain(
                f"'{word}'",
                "to be called while a model runs",
                "a call outside of one",
                "put it in a function decorated with @er.model, and call fit or prior_predictive on it",
            )
        )
    return interpreter


def sample(name: str, distribution: Any) -> Any:
    """Declare a latent quantity with its prior.

    Parameters
    ----------
    name : str
        Name of the site, unique in the model.
    distribution : Distribution
        The prior; its batch shape is broadcast to the plates around it.

    Returns
    -------
    array
        The value, of shape ``plates + batch_shape + event_shape``.

    Raises
    ------
    DuplicateSiteError
        If the name is taken.
    """
    return _interpreter("sample").sample(name, distribution)


def observe(name: str, distribution: Any, value: Any) -> Any:
    """Declare a likelihood.

    Parameters
    ----------
    name : str
        Name of the site, unique in the model.
    distribution : Distribution
        The law of the data given the latent quantities.
    value : array or None
        The data. With None the outcome is predicted and adds nothing to the density.

    Returns
    -------
    array
        The data, or a predicted outcome.
    """
    return _interpreter("observe").observe(name, distribution, value)


def deterministic(name: str, value: Any) -> Any:
    """Name a function of other quantities, so that it is kept and reported.

    Returns
    -------
    array
        `value`, unchanged.
    """
    return _interpreter("deterministic").deterministic(name, value)


def factor(name: str, value: Any, rows: str | None = None) -> None:
    """Add a term to the log density.

    A factor that depends on data is likelihood, otherwise prior.

    Parameters
    ----------
    name : str
        Name of the site, unique in the model.
    value : array
        Log density term; an array is summed.
    rows : str, optional
        Name of the plate whose elements the last axis of `value` runs over: makes it pointwise.
    """
    _interpreter("factor").factor(name, value, rows)


def plate(name: str, size: int, coords: Any = None) -> AbstractContextManager:
    """Declare conditionally independent elements.

    As in NumPyro and Pyro, the outermost plate is the rightmost axis.

    Parameters
    ----------
    name : str
        Name of the axis: a dimension of every output.
    size : int
        Number of elements; ``er.levels(codes)`` brings its labels along.
    coords : sequence, optional
        Labels of the elements.

    Raises
    ------
    ShapeError
        If size, labels and data disagree.
    """
    return _interpreter("plate").plate(name, size, coords)


def levels(codes: Any) -> Levels:
    """Number of groups that an argument's codes run over, known before the model is compiled.

    Parameters
    ----------
    codes : array
        A data argument of the model, as it came: strings, a pandas category, or zero-based integers.

    Returns
    -------
    int
        The number of labels; for plain integers the largest code plus one.
    """
    return _interpreter("levels").levels(codes)
