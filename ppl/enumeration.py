"""Summing discrete sites out: variable elimination over log densities, plates included.

A discrete site takes all of its values at once, on an axis of its own to the left of the batch axes. What
depends on it broadcasts against that axis; the log densities are then summed over it, last site first.

References
----------
Obermeyer et al. (2019), Tensor variable elimination for plated factor graphs, ICML.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import math
from .errors import UnsupportedError, explain
from .thresholds import IMPOSSIBLE, LARGEST_TABLE

DENSITIES = frozenset({"latent", "fixed", "observed", "factor", "discrete"})  # roles of sites with a density
BEFORE_DATA = DENSITIES - {"observed", "factor"}


@dataclass(frozen=True)
class Discrete:
    """A site to be summed out.

    Attributes
    ----------
    name : str
    position : int
        Its place among the discrete sites: the axis is ``-(num_batch + 1 + position)``.
    count : int
        Number of its values.
    batch_shape : tuple of int
        Elements that are summed over one by one.
    transition : array, optional
        Log transition probabilities of a Markov chain along the last batch axis, ``(count, count)`` or one such
        matrix for each move, axes of the plates in front.
    """

    name: str
    position: int
    count: int
    batch_shape: tuple[int, ...]
    transition: Any = None


@dataclass
class Factor:
    """A log density with the names of the sites whose terms it holds.

    Attributes
    ----------
    value : array
        Batch axes on the right, those of discrete sites left of them.
    names : frozenset of str
        The sites.
    """

    value: Any
    names: frozenset[str]


def num_batch(trace) -> int | None:
    """Number of batch axes of a model with discrete latent sites; None for one without.

    Parameters
    ----------
    trace : ModelTrace
        The sites of the model.
    """
    if not trace.by_role("discrete"):
        return None
    event = {s.name: 0 if s.role == "discrete" else s.event_dim for s in trace.sites}
    return max(len(s.shape) - event[s.name] for s in trace.sites)


def dependents(trace, access) -> dict[str, frozenset[str]]:
    """Which discrete sites each density depends on, element by element.

    Parameters
    ----------
    trace : ModelTrace
        The sites of the model.
    access : mapping
        What reaches each part of each site, see `Access`.

    Raises
    ------
    UnsupportedError
        If a density takes elements of a discrete site together: in a sum, along its own event, or by an index.
    """
    sizes = {site.name: site.shape for site in trace.by_role("discrete")}
    found = {}
    for site in trace.sites:
        reached = access.get(site.name, {}).get("log_prob", {}) if site.role in DENSITIES else {}
        own = {name: how for name, how in reached.items() if name in sizes and name != site.name}
        for name, how in own.items() if site.role != "factor" else ():  # whose terms are summed as a whole
            for size, (state, *_) in zip(sizes[name], how.axes, strict=False):
                if size > 1 and state != "aligned":
                    raise _taken_together(site, name, state)
        found[site.name] = frozenset(own)
    return found


def _taken_together(site, name, state) -> UnsupportedError:
    inside = " inside one event" if site.event_dim else ""
    remedy = (
        "declare a plate along that axis in place of to_event"
        if site.event_dim
        else "write the sum over its values"
    )
    if state == "gathered":
        remedy = f"declare '{name}' in the plate of '{site.name}', or nest the plates"
    return UnsupportedError(
        explain(
            f"site '{site.name}', below discrete site '{name}'",
            f"a density of its own for each element of '{name}'",
            f"elements that are {state} together{inside}",
            remedy,
        )
    )


def check_terms(terms, discrete: list[Discrete], num_batch: int, links) -> None:
    """Refuse a density that has lost the axis of a discrete site that it depends on.

    Parameters
    ----------
    terms : mapping
        Log density of each site.
    discrete : list of Discrete
        In program order.
    num_batch : int
        Number of batch axes.
    links : mapping
        Discrete sites that each density depends on, see `dependents`.

    Raises
    ------
    UnsupportedError
        Naming both sites.
    """
    for site in discrete:
        for name, value in terms.items():
            if site.name in links.get(name, ()) and _size(value, axis_of(site, num_batch)) != site.count:
                raise UnsupportedError(
                    explain(
                        f"site '{name}', below discrete site '{site.name}'",
                        f"operations that keep the axes left of the plates, where '{site.name}' takes all of its values",
                        f"a density of shape {tuple(np.shape(value))} without them",
                        "sum over the last axes by number (er.math.sum(x, axis=-1)), not over all",
                    )
                )


def axis_of(site: Discrete, num_batch: int) -> int:
    """Axis, counted from the right, that the values of a site lie along among so many batch axes."""
    return -(num_batch + 1 + site.position)


def values_of(fn, chain, codes):
    """Values of a discrete law that codes stand for.

    Parameters
    ----------
    fn : object
        The backend's law.
    chain : bool
        Whether it is a Markov chain, whose values are its codes.
    codes : array of int
        Of any shape.
    """
    return codes if chain else fn.enumerate_support(expand=False).reshape(-1)[codes]


def known_elements(trace, given: dict) -> dict[str, Any]:
    """Of each discrete site the elements that given values of continuous sites speak of: all, none, or an array.

    Parameters
    ----------
    trace : ModelTrace
        The sites of the model.
    given : dict
        Continuous site name to its value, or a pair ``(value, known)``.

    Raises
    ------
    UnsupportedError
        If an element of a discrete site stands above known and unknown ones.
    """
    parts, lacking = [], [name for name in trace.tied if name not in given]
    for name in trace.tied:
        if isinstance(given.get(name), tuple):
            known, site = given[name][1], trace[name]
            parts.append(math.all(known, axis=tuple(range(-site.event_dim, 0))) if site.event_dim else known)
    if lacking and len(lacking) == len(trace.tied):
        return {site.name: False for site in trace.by_role("discrete")}
    found: dict[str, Any] = {}
    for site in trace.by_role("discrete"):
        if lacking or any(np.shape(part) != site.shape for part in parts):
            raise UnsupportedError(
                explain(
                    f"discrete site '{site.name}'",
                    f"one element for each of those of {list(trace.tied)}, where some of these are new",
                    "one that is shared by known and new ones",
                    "predict for the groups that were fitted",
                )
            )
        found[site.name] = parts[0] if parts else True
    return found


def _size(value, axis: int) -> int:
    shape = np.shape(value)
    return shape[axis] if len(shape) >= -axis else 1


def eliminate(
    terms: dict[str, Any], discrete: list[Discrete], num_batch: int, scan: Callable
) -> list[Factor]:
    """Sum discrete sites out of a product of densities.

    Parameters
    ----------
    terms : dict
        Log density of each site, its batch axes on the right, the axes of discrete sites left of them.
    discrete : list of Discrete
        In program order.
    num_batch : int
        Number of batch axes.
    scan : callable
        The backend's loop, as `elboroom.scan`.

    Returns
    -------
    list of Factor
        Free of discrete sites; the log density is the sum of all their elements.

    Raises
    ------
    UnsupportedError
        If the sum cannot be taken site by site, or a table would be too large.
    """
    factors = [Factor(value, frozenset({name})) for name, value in terms.items()]
    for site in reversed(discrete):
        axis = axis_of(site, num_batch)
        group = [f for f in factors if _size(f.value, axis) > 1]
        if not group:
            continue
        factors = [f for f in factors if _size(f.value, axis) == 1]
        own = {-1 - k for k, n in enumerate(reversed(site.batch_shape)) if n > 1}
        others = [s for s in discrete if s is not site]
        shape = np.broadcast_shapes(*(_without(f.value, own, num_batch) for f in group))
        _check_size(site, shape)
        joint = sum(_summed(factor.value, own, site, others, num_batch) for factor in group)
        names = frozenset[str]().union(*(factor.names for factor in group))
        if site.transition is None:
            value = math.logsumexp(joint, axis=axis, keepdims=True)
        else:
            value = _forward(joint, site, axis, scan)
        factors.append(Factor(value, names))
    return factors


def _without(value, own, num_batch):
    """Shape of a factor once the batch axes that the site does not have are summed over."""
    shape = list(np.shape(value))
    for axis in range(-min(num_batch, len(shape)), 0):
        if axis not in own:
            shape[axis] = 1
    return tuple(shape)


def _summed(value, own, site, others, num_batch):
    """A factor summed over the batch axes that the site does not have."""
    axes = tuple(a for a in range(-num_batch, 0) if a not in own and _size(value, a) > 1)
    if not axes:
        return value
    for other in others:
        local = {-1 - k for k, n in enumerate(reversed(other.batch_shape)) if n > 1}
        if _size(value, axis_of(other, num_batch)) > 1 and local & set(axes):
            raise UnsupportedError(
                explain(
                    f"discrete sites '{site.name}' and '{other.name}'",
                    "sites that can be summed out one after the other",
                    f"'{site.name}', shared by every element of '{other.name}', declared after it",
                    f"declare '{site.name}' before '{other.name}', or in the same plate",
                )
            )
    return math.sum(value, axis=axes, keepdims=True)


def _check_size(site, shape):
    if np.prod(shape, dtype=float) > LARGEST_TABLE:
        raise UnsupportedError(
            explain(
                f"discrete site '{site.name}'",
                f"a table of at most {LARGEST_TABLE * 8 / 2**30:.0f} GB to sum it out",
                f"one of {np.prod(shape, dtype=float) * 8 / 2**30:.0f} GB, shape {shape}",
                "put it in a plate with what depends on it, or use fewer values",
            )
        )


def _forward(joint, site, axis, scan):
    """Log sum over all paths of a chain: ``joint`` holds one factor per value and step."""
    # steps first, values second: (T, K, *rest)
    ndim = len(np.shape(joint))
    order = (ndim - 1, ndim + axis, *(i for i in range(ndim - 1) if i != ndim + axis))
    steps = math.maximum(math.permute_dims(joint, order), IMPOSSIBLE)
    *plates, count, _ = np.shape(site.transition)  # (K, K) or (…, T - 1 or 1, K, K), from row to column
    moved = math.reshape(site.transition, (*plates[:-1], *(plates[-1:] or [1]), count, count))
    moved = math.permute_dims(moved, (*range(-3, 0), *range(len(plates[:-1]))))  # the plates' axes behind
    ones = [1] * (ndim - 2 - len(plates[:-1]))
    move = math.maximum(math.reshape(moved, (*np.shape(moved)[:3], *ones, *plates[:-1])), IMPOSSIBLE)
    varies = len(move) != 1
    move = move if varies else move[0]

    def step(alpha, inputs):
        term, moved = inputs if varies else (inputs, move)
        return math.logsumexp(math.expand_dims(alpha, 1) + moved, axis=0) + term, None

    last = steps[0]
    if len(steps) > 1:
        last, _ = scan(step, last, (steps[1:], move) if varies else steps[1:], None)
    total = math.logsumexp(last, axis=0)  # (*rest,)
    kept = list(np.shape(joint))
    kept[axis] = kept[-1] = 1
    return math.reshape(math.where(total > 0.5 * IMPOSSIBLE, total, -np.inf), tuple(kept))
