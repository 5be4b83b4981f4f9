"""Steps of ordinary differential equations, and a path made of them: what `elboroom.odeint` computes, on any library.

A method is a start and a step. A step takes a state whose first array is the solution at the step's beginning; it gives
the state at its end, the coefficients of a polynomial that runs between the two, and its error in units of the
tolerance. Arrays may have any number of leading axes, of as many paths, each of which keeps its own times.

References
----------
Dormand and Prince (1980), A family of embedded Runge-Kutta formulae, Journal of Computational and Applied Mathematics 6.
Hairer, Nørsett and Wanner (1993), Solving Ordinary Differential Equations I, section II.4 on the size of steps. Hairer
and Wanner (1996), Solving Ordinary Differential Equations II, section IV.7 on Rosenbrock methods and RODAS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from . import math as m
from .thresholds import CAUTION, FIRST_STEP, GROWN, SHRUNK, SLIGHT, STEP_GUESSED

Field = Callable[[Any, Any, Any], Any]
"""``field(t, y, args)``: the derivative of y, of its shape."""


@dataclass(frozen=True)
class Tolerance:
    """What a step may be wrong by, ``atol + rtol * |y|`` for each element, and how many steps there may be."""

    rtol: float
    atol: float
    max_steps: int

    def ratio(self, error: Any, *values: Any) -> Any:
        """Root of the mean square of an error in units of what is allowed beside these values."""
        size = m.abs(values[0])
        for value in values[1:]:
            size = m.maximum(size, m.abs(value))
        return m.sqrt(m.mean(m.square(error / (self.atol + self.rtol * size)), -1))


@dataclass(frozen=True)
class Method:
    """A start and a step.

    Attributes
    ----------
    start : callable
        ``start(t, y, args)``: the state at the first time.
    step : callable
        ``step(t, h, state, args)``: state at ``t + h``, coefficients of the path between in powers of the share of the
        step, and the error.
    order : int
        Power of the size of a step with which its error falls.
    num_terms : int
        Number of coefficients of the path.
    """

    start: Callable
    step: Callable
    order: int
    num_terms: int


def explicit(field: Field, tolerance: Tolerance) -> Method:
    """The Runge-Kutta pair of Dormand and Prince, of order 5."""
    from scipy.integrate import RK45 as table

    def start(t, y, args):
        return y, field(t, y, args)

    def step(t, h, state, args):
        y, slope = state
        wide, slopes = m.expand_dims(h, -1), [slope]
        for share, row in zip(table.C[1:], table.A[1:], strict=True):
            slopes.append(field(t + share * h, y + wide * _weighted(row, slopes), args))
        end = y + wide * _weighted(table.B, slopes)
        slopes.append(field(t + h, end, args))
        path = [y, *(wide * _weighted(column, slopes) for column in table.P.T)]
        error = tolerance.ratio(wide * _weighted(table.E, slopes), y, end)
        return (end, slopes[-1]), tuple(path), error

    return Method(start, step, 5, 5)


def implicit(field: Field, slopes_of: Callable, tolerance: Tolerance) -> Method:
    """The Rosenbrock method RODAS, of order 4 and L-stable.

    Parameters
    ----------
    field : callable
        Derivative of the state.
    slopes_of : callable
        ``slopes_of(t, y, args)``: derivatives of the field in y, a matrix, and in t.
    tolerance : Tolerance
        What a step may be wrong by.
    """

    def start(_t, y, _args):
        return (y,)

    def step(t, h, state, args):
        (y,) = state
        wide = m.expand_dims(h, -1)
        matrix, drift = slopes_of(t, y, args)
        unit = m.like(np.eye(np.shape(y)[-1]), y)
        system = unit / (_GAMMA * m.expand_dims(wide, -1)) - matrix
        finite = m.isfinite(
            m.sum(m.sum(system, -1), -1)
        )  # no inverse elsewhere, where the step then has no error
        inverse = m.linalg.inv(m.where(_wide(finite, system), system, unit))
        stages: list[Any] = []
        at = y
        for share, pull, row, mix in zip(_SHARES, _PULLS, _STAGES, _MIXES, strict=True):
            at = y + _weighted(row, stages) if stages else y
            slope = field(t + share * h, at, args) + pull * wide * drift
            slope = slope + _weighted(mix, stages) / wide if stages else slope
            stages.append(m.matmul(inverse, m.expand_dims(slope, -1))[..., 0])
        end = at + stages[-1]
        first, second = (_weighted(row, stages) for row in _PATH)
        path = y, end - y + first, second - first, -second
        error = tolerance.ratio(m.where(_wide(finite, end), stages[-1], np.nan), y, end)
        return (end,), path, error

    return Method(start, step, 4, 4)


_GAMMA = 0.25
_SHARES = (0.0, 0.386, 0.21, 0.63, 1.0, 1.0)
_PULLS = (0.25, -0.1043, 0.1035, -0.0362, 0.0, 0.0)
_LAST = (1.221224509226641, 6.019134481288629, 12.53708332932087, -0.6878860361058950)
_STAGES = (
    (),
    (1.544,),
    (0.9466785280815826, 0.2557011698983284),
    (3.314825187068521, 2.896124015972201, 0.9986419139977817),
    _LAST,
    (*_LAST, 1.0),
)
_MIXES = (
    (),
    (-5.6688,),
    (-2.430093356833875, -0.2063599157091915),
    (-0.1073529058151375, -9.594562251023355, -20.47028614809616),
    (7.496443313967647, -10.24680431464352, -33.99990352819905, 11.70890893206160),
    (8.083246795921522, -7.981132988064893, -31.52159432874371, 16.31930543123136, -6.058818238834054),
)
_PATH = (
    (10.12623508344586, -7.487995877610167, -34.80091861555747, -7.992771707568823, 1.025137723295662),
    (-0.6762803392801253, 6.087714651680015, 16.43084320892478, 24.76722511418386, -6.594389125716872),
)


def _weighted(weights: Any, arrays: list) -> Any:
    """Sum of arrays with weights, those of weight zero left out."""
    terms = [float(w) * a for w, a in zip(weights, arrays, strict=False) if w != 0]
    return sum(terms[1:], terms[0])


def reached(slopes: Any, y0: Any, tolerance: Tolerance, stiff: bool) -> Any:
    """An array of a solution's shape that depends on what the solution does: for looks at a model that need no numbers.

    Parameters
    ----------
    slopes : array, shape (T, n)
        The field at the first value, at each time.
    y0 : array, shape (n,)
        The first value.
    tolerance, stiff
        How the equation is solved: what is made differs where these do.
    """
    made = m.expand_dims(y0, 0) + slopes * (tolerance.rtol + tolerance.max_steps) + tolerance.atol
    return m.sort(-made if stiff else made, -1)  # each number of the state may depend on all others


def first_step(field: Field, tolerance: Tolerance, order: int, t: Any, y: Any, args: Any) -> Any:
    """Size of a first step, as Hairer, Nørsett and Wanner guess it."""
    slope = field(t, y, args)
    size, speed = tolerance.ratio(y, y), tolerance.ratio(slope, y)
    still = (size < SLIGHT) | (speed < SLIGHT)
    guess = m.where(still, FIRST_STEP, STEP_GUESSED * size / m.where(still, 1.0, speed))
    wide = m.expand_dims(guess, -1)
    change = field(t + guess, y + wide * slope, args) - slope
    bend = m.maximum(speed, tolerance.ratio(change, y) / guess)
    bound = m.where(bend > 0, (STEP_GUESSED / m.where(bend > 0, bend, 1.0)) ** (1 / order), np.inf)
    return m.minimum(guess / STEP_GUESSED, bound)


def follow(
    method: Method,
    size: Any,
    state: Any,
    times: Any,
    args: Any,
    max_steps: int,
    scan: Callable,
    until: Callable,
) -> Any:
    """The path at each time after the first; NaN where more than `max_steps` steps are needed.

    Parameters
    ----------
    method : Method
        Which takes the steps.
    size : array
        Of the first step to try; one for each path.
    state : tuple
        What the method starts with.
    times : array, shape (T, ...)
        In order, the first that of the state.
    args : tuple
        What the method's step takes.
    max_steps : int
        Steps of a path at most, taken or not.
    scan : callable
        ``scan(step, state, inputs)``, as `elboroom.scan`.
    until : callable
        ``until(going, step, state)``: steps from a state, for each path while its ``going(state)`` holds.

    Returns
    -------
    array or tuple of such, shape (T - 1, ...)
    """
    end, begin = times[-1], times[0] + 0 * size
    flat = map_arrays(lambda y: 0 * y, state[0])
    known = (state[0], *[flat] * (method.num_terms - 1))
    where = begin, size, state, (begin, 1 + 0 * size, known), 0 * size

    def reach(now, target):
        def going(now):
            return (now[0] < target) & (now[-1] < max_steps)

        now = until(going, partial(attempt, method, end, max_steps, args), now)
        begin, size, path = now[3]
        share = (target - begin) / size
        out = map_arrays(lambda *c: _polynomial(share, c), *path)
        return now, map_arrays(lambda y: m.where(_wide(now[0] >= target, y), y, np.nan), out)

    return scan(reach, where, times[1:])[1]


def attempt(method: Method, end: Any, max_steps: int, args: Any, now: tuple) -> tuple:
    """One step of `follow`, taken or not: time, size of the next step, state, path of the last one, and their number."""
    t, size, state, between, count = now
    last = size >= end - t
    tried = m.where(last, end - t, size)
    later, path, error = method.step(t, tried, state, args)
    good = error <= 1
    factor = m.clip(CAUTION * error ** (-1 / method.order), SHRUNK, GROWN)
    factor = m.where(m.isfinite(factor), factor, SHRUNK)

    def taken(new, old):
        return m.where(_wide(good, new), new, old)

    return (
        taken(m.where(last, end, t + tried), t),
        tried * factor,
        map_arrays(taken, later, state),
        (taken(t, between[0]), taken(tried, between[1]), map_arrays(taken, path, between[2])),
        m.where(t + tried > t, count + 1, max_steps),  # too small a step ends the path
    )


def _polynomial(share, coefficients):
    out = coefficients[-1]
    for c in coefficients[-2::-1]:
        out = c + _wide(share, c) * out
    return out


def _wide(x, like):
    """One number per path beside the arrays of the paths, whose leading axes may be fewer than others have."""
    return m.reshape(x, (*np.shape(x), *[1] * (len(np.shape(like)) - len(np.shape(x)))))


def map_arrays(fn: Callable, *trees: Any) -> Any:
    """A function of the arrays at each place of nested tuples of one structure."""
    if isinstance(trees[0], tuple):
        return tuple(map_arrays(fn, *items) for items in zip(*trees, strict=True))
    return fn(*trees)


def pushed(method: Method, push: Callable, bound: Callable, basis: Any) -> Method:
    """A method whose arrays are pairs: themselves, and how they change along directions of some of the arguments.

    Parameters
    ----------
    method : Method
        Of the arrays alone.
    push : callable
        ``push(fn, given, tangents)``: values of a function, and their derivatives along each of several tangents.
    bound : callable
        ``bound(moving)``: first value and arguments, given those arguments that move.
    basis : tree of arrays
        Directions in which they move.
    """

    def start(t, _y, moving):
        return _paired(*push(lambda given: method.start(t, *bound(given)), (moving,), (basis,)))

    def step(t, h, state, moving):
        def one(state, given):
            return method.step(t, h, state, bound(given)[1])

        (later, path, error), (change, bend, _) = push(
            one, (parted(state, 0), moving), (parted(state, 1), basis)
        )
        return _paired(later, change), _paired(path, bend), error

    return Method(start, step, method.order, method.num_terms)


def _paired(values: tuple, changes: tuple) -> tuple:
    return tuple(zip(values, changes, strict=True))


def parted(pairs: tuple, which: int) -> tuple:
    """The first or the second of each pair."""
    return tuple(pair[which] for pair in pairs)
