"""The words of a model: ``sample``, ``observe``, ``deterministic``, ``factor``, ``plate``, ``levels``, ``scan``.

Each word speaks to the interpreter that is running the model. A backend supplies the interpreter; the
declaration itself knows none.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from .data import Levels
from .errors import DataError, ModelError, explain
from .interpreter import Interpreter, interpreting, origin_of, running_array, running_interpreter
from .names import check_name
from .recursion import scan_in_python, without_sites

__all__ = [
    "deterministic",
    "factor",
    "interpreter_of",
    "interpreting",
    "levels",
    "observe",
    "origin_of",
    "plate",
    "running_array",
    "sample",
    "scan",
    "scan_in_python",
]


def interpreter_of(word: str) -> Interpreter:
    """What runs the model in which a word is said.

    Raises
    ------
    ModelError
        Outside of one.
    """
    interpreter = running_interpreter()
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
    ModelError
        If the name or the law is none, or a parameter of the law lies outside what it may be.
    ShapeError
        If the law's parameters have another shape than the plates around it.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def coin():
    ...     p = er.sample("p", er.Beta(2, 2))
    ...     return p
    >>> [site.support for site in coin().trace().latents]
    ['unit_interval']
    """
    check_name("sample", name)
    _check_law("sample", name, distribution)
    interpreter = interpreter_of("sample")
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

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def counts(y):
    ...     rate = er.sample("rate", er.Gamma(2, 1))
    ...     with er.plate("row", len(y)):
    ...         er.observe("y", er.Poisson(rate), y)
    >>> counts(y=[3, 0, 2])
    <elboroom program counts: 1 latent (1 dimension), 1 observed>
    """
    check_name("observe", name)
    _check_law("observe", name, distribution)
    _check_numbers("observe", name, value, optional=True)
    return interpreter_of("observe").observe(name, distribution, value)


def deterministic(name: str, value: Any) -> Any:
    """Name a function of other quantities, so that it is kept and reported.

    Parameters
    ----------
    name : str
        Name of the site, unique in the model.
    value : array
        Any shape; its last axes are named by the plates around it.

    Returns
    -------
    array
        `value`, unchanged.

    Raises
    ------
    DuplicateSiteError
        If the name is taken.
    DataError
        If the value is no array, number or sequence of numbers.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def size():
    ...     log_size = er.sample("log_size", er.Normal(0, 1))
    ...     er.deterministic("size", er.math.exp(log_size))
    >>> draw = size().simulate(seed=0)
    >>> bool(abs(er.math.log(draw["size"]) - draw["log_size"]) < 1e-6)
    True
    """
    check_name("deterministic", name)
    _check_numbers("deterministic", name, value)
    return interpreter_of("deterministic").deterministic(name, value)


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

    Raises
    ------
    DuplicateSiteError
        If the name is taken.
    DataError
        If the value is no array, number or sequence of numbers.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def soft(x):
    ...     mu = er.sample("mu", er.Normal(0, 1))
    ...     er.factor("near", -er.math.abs(x - mu))
    >>> soft(1.0).log_density({"mu": 1.0}) == soft(3.0).log_density({"mu": 1.0}) + 2
    True
    """
    check_name("factor", name)
    _check_numbers("factor", name, value)
    interpreter_of("factor").factor(name, value, rows)


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
    DuplicateSiteError
        If the plate is opened inside itself.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def schools(y):
    ...     with er.plate("school", len(y), coords=["north", "south"]):
    ...         effect = er.sample("effect", er.Normal(0, 1))
    ...         er.observe("y", er.Normal(effect, 1.0), y)
    >>> schools([0.5, -1.0]).trace().coords
    {'school': ('north', 'south')}
    """
    check_name("plate", name)
    return interpreter_of("plate").plate(name, size, coords)


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

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def groups(county, y):
    ...     with er.plate("county", er.levels(county)):
    ...         effect = er.sample("effect", er.Normal(0, 1))
    ...     with er.plate("row", len(y)):
    ...         er.observe("y", er.Normal(effect[county], 1.0), y)
    >>> groups(["b", "a", "b"], [1.0, 2.0, 3.0]).trace().coords
    {'county': ('a', 'b')}
    """
    return interpreter_of("levels").levels(codes)


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
    interpreter = running_interpreter()
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
