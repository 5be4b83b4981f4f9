"""The words of a model: ``sample``, ``observe``, ``deterministic``, ``factor``, ``plate``, ``levels``, ``scan``.

Each word speaks to the interpreter that is running the model. A backend supplies the interpreter; the
declaration itself knows none.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from .arrays import stack
from .data import Levels
from .errors import DataError, ModelError, explain
from .names import check_name


class Interpreter(Protocol):
    """What a backend does with each word of a running model."""

    def sample(self, name: str, distribution: Any) -> Any: ...

    def observe(self, name: str, distribution: Any, value: Any) -> Any: ...

    def deterministic(self, name: str, value: Any) -> Any: ...

    def factor(self, name: str, value: Any, rows: str | None) -> None: ...

    def plate(self, name: str, size: int, coords: Any) -> AbstractContextManager: ...

    def levels(self, codes: Any) -> Levels: ...

    def scan(self, step: Any, init: Any, xs: Any, length: int | None) -> tuple[Any, Any]: ...


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
    check_name("sample", name)
    _check_law("sample", name, distribution)
    interpreter = _interpreter("sample")
    value = interpreter.sample(name, distribution)
    noted = getattr(interpreter, "noted", None)
    if noted is not None:
        noted(name, distribution, value)
    return value


def observe(name: str, distribution: Any, value: Any) -> Any:
    """Declare a likelihood.

    Parameters
    ----------
    name : str
        Name of the site, unique in the model.
    distribution : Distribution
        The law of the data given the latent quantities.
    value : array or None
        The data, of the shape ``plates + batch_shape + event_shape`` of their law, exactly: nothing is repeated. A single
        number has every shape, and a single law in no plate is that of each value. With None the outcome is predicted
        and adds nothing to the density.

    Returns
    -------
    array
        The data, or a predicted outcome.

    Raises
    ------
    ShapeError
        If the data have another shape than their law, with both and what to do.
    DataError, SupportError
        If the data are labels or dates where numbers are expected, or outside the support.
    """
    check_name("observe", name)
    _check_law("observe", name, distribution)
    _check_numbers("observe", name, value, optional=True)
    return _interpreter("observe").observe(name, distribution, value)


def deterministic(name: str, value: Any) -> Any:
    """Name a function of other quantities, so that it is kept and reported.

    Returns
    -------
    array
        `value`, unchanged.
    """
    check_name("deterministic", name)
    _check_numbers("deterministic", name, value)
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
    check_name("factor", name)
    _check_numbers("factor", name, value)
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
    check_name("plate", name)
    return _interpreter("plate").plate(name, size, coords)


def levels(codes: Any) -> Levels:
    """Number of groups that an argument's codes run over, known before the model is compiled.

    Parameters
    ----------
    codes : array
        A data argument of the model, as it came: strings, a category, or whole numbers. Whole numbers with a zero among
        them are codes; others are identifiers of groups, and become codes in their order.

    Returns
    -------
    int
        The number of labels, in a plate its labels too; for codes the largest one plus one.

    Raises
    ------
    DataError
        If the argument holds no groups, or numbers that could be codes and identifiers both.
    """
    return _interpreter("levels").levels(codes)


def scan(step: Callable, init: Any, xs: Any = None, length: int | None = None) -> tuple[Any, Any]:
    """Run a recursion over time: a filter, a volatility, a hidden state.

    Parameters
    ----------
    step : callable
        ``step(carry, x) -> (carry, y)``, free of sites: declare innovations before it and pass them in `xs`.
    init : array, or tuple or dict of arrays
        The first carry.
    xs : array, or tuple or dict of arrays, optional
        Inputs, one element of the first axis per step.
    length : int, optional
        Number of steps where there is no `xs`.

    Returns
    -------
    tuple
        The last carry, and the ``y`` of every step stacked on a new first axis.

    Raises
    ------
    ModelError
        If `step` declares a site.

    Examples
    --------
    >>> last, path = scan(lambda level, shock: (0.5 * level + shock, level), 1.0, [0.0, 1.0])
    >>> float(last), path.tolist()
    (1.25, [1.0, 0.5])
    """
    interpreter = _running.get()
    if interpreter is None:
        return scan_in_python(step, init, xs, length)
    return interpreter.scan(without_sites(step), init, xs, length)


def _check_law(word: str, name: str, distribution: Any) -> None:
    """Refuse a class, or nothing, for a law."""
    if distribution is None or isinstance(distribution, type):
        got = "None" if distribution is None else f"the class {distribution.__name__}"
        want = "a law with its parameters, such as er.Normal(0, 1)"
        raise ModelError(explain(f"er.{word} of '{name}'", want, got, "call the class with its parameters"))


def _check_numbers(word: str, name: str, value: Any, optional: bool = False) -> None:
    """Refuse what is no array, number or sequence of numbers."""
    if value is None and optional:
        return
    array_like = hasattr(value, "dtype") or hasattr(value, "__array__") or hasattr(value, "__dataframe__")
    plain = isinstance(value, (bool, int, float, list, tuple)) and not isinstance(value, type)
    if isinstance(value, type) or not (array_like or plain):
        got = "None" if value is None else f"{type(value).__name__}"
        want = "numbers: an array, a list, a column or another quantity"
        raise DataError(explain(f"er.{word} of '{name}'", want, got, "pass the numbers themselves"))


def origin_of(value: Any) -> Any:
    """What the running model knows of an array that has no numbers yet: an argument or a latent quantity, or None."""
    known = getattr(_running.get(), "origin", None)
    return None if known is None else known(value)


def running_array(array: Any) -> Any:
    """A NumPy array as the library that runs the model wants its constants."""
    convert = getattr(_running.get(), "asarray", None)
    return array if convert is None else convert(array)


def without_sites(step: Callable) -> Callable:
    """`step`, with every word refused inside."""

    outer = _running.get()

    def run(carry, x):
        with interpreting(_NoSites(getattr(outer, "asarray", None))):
            return step(carry, x)

    return run


class _NoSites:
    def __init__(self, asarray):
        self.asarray = asarray

    def __getattr__(self, word):
        raise ModelError(
            explain(
                "er.scan",
                "a step free of sites",
                f"'{word}' inside it",
                "declare the innovations before the scan, in a plate, and pass them as xs",
            )
        )


def scan_in_python(step: Callable, init: Any, xs: Any, length: int | None) -> tuple[Any, Any]:
    """`scan` as a loop, for libraries that run eagerly."""

    def element(tree, i):
        if isinstance(tree, dict):
            return {k: element(v, i) for k, v in tree.items()}
        return tuple(element(v, i) for v in tree) if isinstance(tree, tuple) else tree[i]

    def stacked(trees):
        if isinstance(trees[0], dict):
            return {k: stacked([t[k] for t in trees]) for k in trees[0]}
        if isinstance(trees[0], tuple):
            return tuple(map(stacked, zip(*trees, strict=True)))
        return None if trees[0] is None else stack(trees)

    def first(tree):
        while isinstance(tree, (dict, tuple)):
            tree = next(iter(tree.values() if isinstance(tree, dict) else tree))
        return tree

    carry, out = init, []
    for i in range(len(first(xs)) if xs is not None else length):
        carry, y = step(carry, None if xs is None else element(xs, i))
        out.append(y)
    return carry, stacked(out)
