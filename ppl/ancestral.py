"""Outcomes that are given to a network of their own law, as in an autoregressive decoder: drawn one element after the other.

Where the law of ``x`` comes out of a network that is given ``x``, the density of the data is that of each element given those before
it. What is drawn in place of data must not come from laws that have seen these: each element is drawn from its law given the drawn
ones, in the order in which they lie in the array.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import math as m
from .errors import ModelError, explain
from .graph import AccessTable
from .thresholds import ALIKE, LOOKED_AT


@dataclass(frozen=True)
class Ancestral:
    """An observed site whose law comes out of a network that is given its data.

    Attributes
    ----------
    site, argument : str
        The outcome, and the argument that holds it.
    order : numpy.ndarray of int
        Of the shape of the data: which element is drawn when, those of rows that see nothing of each other at the same time.
    """

    site: str
    argument: str
    order: np.ndarray

    @property
    def num_steps(self) -> int:
        """Elements that are drawn one after the other."""
        return int(self.order.max(initial=0)) + 1


def ancestral_sites(trace: Any, accesses: Callable[[], AccessTable]) -> tuple[Ancestral, ...]:
    """Observed sites whose laws come out of networks that are given their data.

    Parameters
    ----------
    trace : ModelTrace
        Of a program.
    accesses : callable
        What reaches each part of each site; asked for only where the model has networks.

    Returns
    -------
    tuple of Ancestral
    """
    if not trace.modules:
        return ()
    access, found = accesses(), []
    for site in trace.by_role("observed"):
        parts = access.get(site.name, {})
        seen = [
            how
            for part, sources in parts.items()
            for label, how in sources.items()
            if part != "log_prob" and label == site.argument and how.kind == "data" and how.modules
        ]
        if seen:
            alone = [
                all(tuple(how.axes[axis][:2]) == ("aligned", axis) for how in seen)
                for axis in range(len(site.shape))
            ]
            found.append(Ancestral(site.name, site.argument, _order(site.shape, alone)))
    return tuple(found)


def _order(shape: tuple[int, ...], alone: list[bool]) -> np.ndarray:
    """Positions in the array, but for axes whose elements see nothing of each other."""
    inner = tuple(1 if apart else size for size, apart in zip(shape, alone, strict=True))
    return np.broadcast_to(np.arange(int(np.prod(inner, dtype=int))).reshape(inner), shape)


def drawn_in_order(
    sites: tuple[Ancestral, ...],
    run: Callable[[Any, Mapping[str, Any], Mapping[str, Any]], Any],
    draws: Any,
    data: Mapping[str, Any],
    cast: Callable[[Any, Any], Any],
) -> Any:
    """The last run of a model, at outcomes that were drawn one element after the other.

    Parameters
    ----------
    sites : tuple of Ancestral
        Whose elements are drawn one after the other; without any the model runs once.
    run : callable
        ``run(draws, data, known) -> Record``; sites that are `known` are not drawn.
    draws : Draws
        Random numbers.
    data : mapping
        The arguments of the model.
    cast : callable
        ``cast(value, like)``: an array with the type of another.

    Returns
    -------
    Record
    """
    record = run(draws, data, {})
    if not sites:
        return record
    known = {n.name: n.value for n in record.nodes.values() if n.role in {"latent", "discrete"}}

    def accept(step, values):
        found = run(draws.afresh(step), {**data, **values}, known)
        return step + 1, {
            site.argument: m.where(
                site.order == step,
                cast(found.nodes[site.site].value, values[site.argument]),
                values[site.argument],
            )
            for site in sites
        }

    num_steps = max(site.num_steps for site in sites)
    begin = {site.argument: data[site.argument] for site in sites}
    _, values = m.iterate(accept, (0, begin), num_steps)
    made = {site.site: values[site.argument] for site in sites}
    return run(draws.afresh(num_steps), {**data, **values}, {**known, **made})


def check_order(target: Any) -> None:
    """Refuse a network that is given the data of its own law and shows an element to itself, or to one before it.

    Elements of an array are changed, one of each row at a time, and so must be no mean of that row up to there. Where laws do not know
    their means nothing is looked at.

    Parameters
    ----------
    target : Target
        With the weights at which it is asked.

    Raises
    ------
    ModelError
    """
    sites = ancestral_sites(target.trace, lambda: target.program.accesses(target.backend))
    if not sites:
        return
    rng, to_device = np.random.default_rng(79), target.to_device
    constants = {
        "data": dict(target.data),
        "weights": dict(target.weights),
        "z": to_device(rng.standard_normal(target.dim).astype(target.dtype)),
    }

    def step(state, given, constants):
        data = {**constants["data"], **{k: v for k, v in given.items() if k in constants["data"]}}
        return state, target.density.means(constants["z"], data, constants["weights"])

    loop = target.loops.loop(step, target.dtype, target.density.clock, (1,))
    for site in sites:
        value = np.asarray(target.program.leaves[site.argument].value)
        at, changed = _changed(value, site, rng)
        with target.room():
            _, found = loop({}, {"seed": np.zeros(len(changed), np.int64), site.argument: changed}, constants)
        if site.site not in found:
            continue
        mean = np.asarray(found[site.site], np.float64)
        off = np.abs(mean[1:] - mean[:1]) > ALIKE * (1 + np.abs(mean[:1]))
        if (off & (site.order <= at) & np.isfinite(mean[1:])).any():
            remedy = (
                "shift what goes in by one, as er.nn.Causal and er.nn.Masked do, with the elements in the order in which they lie; or "
                "give the network another argument"
            )
            got = "a law that depends on an element itself, or on one after it"
            want = "a network that shows each element those before it alone, of an outcome that it is given itself"
            raise ModelError(explain(f"site '{site.site}'", want, got, remedy))


def _changed(value: np.ndarray, site: Ancestral, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Which element of each row is another, shape ``(L, *shape)``; the array as it is, and those, ``(1 + L, *shape)``."""
    alone = site.num_steps < site.order.size and (site.order == site.order[:1]).all()
    count = len(value) if alone else 1
    looks = int(np.clip(-(-site.num_steps // count), 1, LOOKED_AT))
    which = np.resize(rng.permutation(site.num_steps), (looks, count))
    at = (
        which.reshape(looks, count, *[1] * (value.ndim - 1))
        if alone
        else which.reshape(looks, *[1] * value.ndim)
    )
    known = np.unique(value[np.isfinite(value)] if value.dtype.kind == "f" else value)
    if value.dtype.kind == "f" and len(known) > 2:  # more than two values are numbers
        other = value + np.nanstd(value)
    else:
        place = np.searchsorted(known, value)
        other = known[(place + 1) % len(known)] if len(known) > 1 else np.where(value == 0, 1, 0)
    changed = np.where(site.order == at, other, value).astype(value.dtype)
    return at, np.concatenate([value[None], changed])
