"""``er.odeint``: solutions of ordinary differential equations inside a model, and outside of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import math as m
from .arrays import as_array, namespace
from .distributions.base import concrete
from .errors import DataError, ModelError, ShapeError, explain
from .interpreter import interpreting, origin_of, running_interpreter
from .recursion import NoSites
from .steps import Tolerance
from .thresholds import ATOL, MAX_STEPS, QUOTED, RTOL


def odeint(
    field: Callable,
    y0: Any,
    times: Any,
    *args: Any,
    rtol: float = RTOL,
    atol: float = ATOL,
    stiff: bool = False,
    max_steps: int = MAX_STEPS,
) -> Any:
    """Solve an ordinary differential equation ``dy/dt = field(t, y, *args)``.

    Parameters
    ----------
    field : callable
        ``field(t, y, *args)``: derivatives of the n numbers of the state at one time, as an array of shape (n,) or a list
        of n numbers, written with ``er.math`` and operators; free of sites. Latent quantities that it uses are passed in
        `args`: PyTorch refuses others.
    y0 : array, shape (n,) or (*systems, n)
        State at the first time, or a list of its n numbers; its units are those of the result. Leading axes are systems of
        their own, each with its own steps.
    times : array, shape (T,) or (T, *systems)
        Times of the result, which do not decrease; **the first is that of `y0`**. Further axes give each system its own.
    *args : array
        Passed on to `field`. Beside several systems, a number is common to all, and the first axes of an array are those of
        the systems (or of length one, where it is common): the field sees the rest.
    rtol, atol : float, default 1e-6 and 1e-8
        A step may be wrong by ``atol + rtol * abs(y)``, `atol` in units of the state.
    stiff : bool, default False
        Whether fast and slow changes are mixed, so that an explicit method would need many small steps: an implicit one
        then takes fewer, each of which costs a matrix of derivatives.
    max_steps : int, default 2000
        Steps of one solution at most.

    Returns
    -------
    array, shape (T, *systems, n)
        The state at each time, that of `y0` first. NaN from where a solution cannot be found: more than `max_steps` steps,
        or no end at all. A density that sees it is minus infinity, so that a fit goes on elsewhere.

    Raises
    ------
    ModelError
        If `field` is no function or declares a site, or a setting has a value that it cannot have.
    ShapeError
        If `field` returns another shape than the state has, or the axes of `times` or `args` are not those of the systems.
    DataError
        If times decrease or are missing.

    Notes
    -----
    Steps are those of Dormand and Prince's explicit pair of order 5, or of the Rosenbrock method RODAS of order 4, with
    dense output. Sensitivities to those numbers in `y0`, `times` and `args` that have a derivative run along with the
    solution, which takes the same steps without them: the gradient is that of the solution as it was computed. Their cost
    grows with how many numbers these are.

    References
    ----------
    Dormand and Prince (1980), A family of embedded Runge-Kutta formulae, Journal of Computational and Applied Mathematics 6.
    Hairer and Wanner (1996), Solving Ordinary Differential Equations II, section IV.7.

    Examples
    --------
    >>> import elboroom as er
    >>> path = er.odeint(lambda t, y, rate: -rate * y, [2.0], [0.0, 1.0, 2.0], 0.5)
    >>> path[:, 0].round(4).tolist()
    [2.0, 1.2131, 0.7358]

    In a model, rates are quantities:

    >>> @er.model
    ... def decay(times, y):
    ...     rate = er.sample("rate", er.LogNormal(0, 1))
    ...     path = er.odeint(lambda t, y, rate: -rate * y, [2.0], times, rate)
    ...     er.observe("y", er.Normal(path[:, 0], 0.1), y)
    >>> program = decay([0.0, 1.0, 2.0], [2.1, 1.2, 0.7])
    >>> bool(program.log_density({"rate": 0.5}) > program.log_density({"rate": 0.9}))
    True
    """
    check_settings(field, rtol, atol, max_steps)
    interpreter, tolerance = running_interpreter(), Tolerance(float(rtol), float(atol), int(max_steps))
    _check_times(times)
    convert = getattr(interpreter, "array", np.asarray)
    y0, times, *given = (convert(as_array(a, namespace(a))) for a in (y0, times, *args))
    y0, times = m.like(y0, y0), m.like(times, y0)
    systems = _systems(np.shape(y0), np.shape(times), [np.shape(a) for a in given])
    count = int(np.prod(systems))

    def rows(array):
        """The systems on one first axis."""
        shape = np.shape(array)[len(systems) :]
        return m.reshape(m.broadcast_to(array, (*systems, *shape)), (count, *shape))

    each = tuple(
        bool(systems) and np.ndim(a) > least for a, least in ((y0, 0), (times, 1), *((a, 0) for a in given))
    )
    begin, when, *given = (
        rows(a) if own else a for a, own in zip((y0, _last(times, each[1]), *given), each, strict=True)
    )
    solve = _on_the_host if interpreter is None else interpreter.odeint
    path = solve(_checked(field, interpreter), begin, when, tuple(given), each, tolerance, bool(stiff))
    if not systems:
        return path
    return m.reshape(m.moveaxis(path, 0, 1), (np.shape(path)[1], *systems, np.shape(path)[2]))


def _last(times, own):
    """Times behind the axes of the systems."""
    return m.moveaxis(times, 0, -1) if own else times


def check_settings(field: Any, rtol: Any, atol: Any, max_steps: Any) -> None:
    """Refuse what is no function, and tolerances and numbers that are none.

    Raises
    ------
    ModelError
    """
    if not callable(field):
        want, remedy = "a function field(t, y, *args)", "write the derivatives as a function"
        raise ModelError(explain("er.odeint, 'field'", want, f"{type(field).__name__}", remedy))
    for name, value in (("rtol", rtol), ("atol", atol)):
        if not isinstance(value, (int, float)) or not 0 < value < np.inf:
            want = "a positive number, known before the model runs"
            raise ModelError(explain(f"er.odeint, '{name}'", want, f"{value!r}"[:QUOTED], "1e-6 is usual"))
    if not isinstance(max_steps, int) or isinstance(max_steps, bool) or max_steps < 1:
        want = "a positive whole number"
        raise ModelError(
            explain("er.odeint, 'max_steps'", want, f"{max_steps!r}"[:QUOTED], f"the default is {MAX_STEPS}")
        )


def _check_times(times: Any) -> None:
    """Refuse times that are none, or decrease; those of a running model are looked at where they came from."""
    array, where = concrete(times), "er.odeint, 'times'"
    if array is None:
        origin = origin_of(times)
        array = None if origin is None else origin.value
        where = where if origin is None else f"{where}, {origin.words}"
    if array is None:
        return
    array = np.asarray(array)
    if array.dtype.kind not in "biuf":
        raise DataError(
            explain(where, "numbers", f"{array.dtype}", "say them in a unit: days since the first, say")
        )
    if array.ndim and np.isnan(array).any():
        raise DataError(explain(where, "a number for each time", "missing values", "leave these times out"))
    if array.ndim and (np.diff(array, axis=0) < 0).any():
        row = int(np.argmax((np.diff(array, axis=0) < 0).reshape(len(array) - 1, -1).any(1)))
        got = f"{array[row + 1].min():g} after {array[row].max():g}, at position {row + 1}"
        raise DataError(explain(where, "times that do not decrease, the first that of y0", got, "sort them"))


def _systems(y0: tuple, times: tuple, args: list[tuple]) -> tuple[int, ...]:
    """Axes of the systems; refuses shapes that do not fit each other.

    Raises
    ------
    ShapeError
    """
    if not y0:
        want = "an array whose last axis is the state"
        raise ShapeError(explain("er.odeint, 'y0'", want, "a single number", "put it in a list: [y0]"))
    systems = y0[:-1]
    if not times or times[0] == 0 or (len(times) > 1 and (not systems or times[1:] != systems)):
        want = (
            f"shape (T,) or (T, {', '.join(map(str, systems))})"
            if systems
            else "shape (T,), with one time at least"
        )
        raise ShapeError(
            explain(
                "er.odeint, 'times'", want, f"shape {times}", "give the time of y0 first, then the others"
            )
        )
    for i, shape in enumerate(args):
        fits = len(shape) >= len(systems) and all(n in (1, k) for n, k in zip(shape, systems, strict=False))
        if shape and not fits:
            want = f"a single number, or first axes {systems} (or 1): those of the systems in y0"
            remedy = "give an array that all systems share a first axis of length one: x[None]"
            raise ShapeError(
                explain(f"er.odeint, argument {i + 1} of the field", want, f"shape {shape}", remedy)
            )
    return systems


def _checked(field: Callable, interpreter: Any) -> Callable:
    """The field with every word refused inside, whose result has the shape of the state."""

    def slopes(t, y, *args):
        with interpreting(
            NoSites("er.odeint, 'field'", "declare it before, and pass it in args", interpreter)
        ):
            made = field(t, y, *args)
        if isinstance(made, (list, tuple)):
            made = m.stack([m.like(item, y) for item in made])
        if not hasattr(made, "shape") or tuple(made.shape) != tuple(y.shape):
            got = f"shape {tuple(made.shape)}" if hasattr(made, "shape") else type(made).__name__
            want = f"the derivatives of the state, shape {tuple(y.shape)}: as many numbers as y0 has on its last axis"
            raise ShapeError(
                explain("er.odeint, what the field returns", want, got, "return one derivative for each")
            )
        return m.like(made, y)

    return slopes


def _on_the_host(field, y0, times, args, each, tolerance, stiff):
    """Solutions outside of a model, by SciPy."""
    from scipy.integrate import solve_ivp

    def one(y0, times, *args):
        if times[-1] == times[0]:
            return np.repeat(y0[None], len(times), 0)
        found = solve_ivp(
            lambda t, y: field(t, y, *args),
            (times[0], times[-1]),
            y0,
            "Radau" if stiff else "DOP853",
            times,
            rtol=tolerance.rtol,
            atol=tolerance.atol,
        )
        path = np.full((len(times), len(y0)), np.nan)
        path[: len(found.t)] = found.y.T
        return path

    arrays = (y0, times, *args)
    if not each[0]:
        return one(*arrays)
    return np.stack(
        [one(*(a[i] if own else a for a, own in zip(arrays, each, strict=True))) for i in range(len(y0))]
    )
