"""Exact symmetries of a posterior: labels that can be exchanged, signs that can be flipped.

A transformation that leaves the density unchanged wherever it is tried maps the posterior to itself, so that
a quantity has the same law before and after it. Draws in which it has not show one of several equal modes.

References
----------
Stephens (2000), Dealing with label switching in mixture models, JRSS B 62.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from ..thresholds import LARGEST_AXIS, LARGEST_COUNT, LARGEST_SET


@dataclass(frozen=True)
class Symmetry:
    """A map of the unconstrained space that leaves the posterior as it is.

    Attributes
    ----------
    words : str
        What it does, for a sentence that begins "symmetric under".
    apply : callable
        ``apply(z) -> (z, change of the log Jacobian)``, rows at once.
    """

    words: str
    apply: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def find(target, density, z: np.ndarray) -> list[Symmetry]:
    """Symmetries among exchanges of elements and flips of signs, tried at a few points.

    Parameters
    ----------
    target : Target
        Whose posterior it is.
    density : callable
        ``density(z) -> (log density, gradient)``.
    z : numpy.ndarray, shape (K, dim)
        Generic points, such as draws.
    """
    candidates = list(_candidates(target))[:LARGEST_COUNT]
    if not candidates:
        return []
    before = density(z)[0]
    moved = [candidate.apply(z) for candidate in candidates]
    after = density(np.concatenate([m[0] for m in moved]))[0].reshape(len(candidates), len(z))
    change = after - np.stack([m[1] for m in moved]) - before
    precision = 1e4 * np.finfo(target.dtype).eps
    with np.errstate(invalid="ignore"):
        holds = (np.abs(change) < precision * (1 + np.abs(before))).all(1)
    return [candidate for candidate, good in zip(candidates, holds, strict=True) if good]


def exchangeable(target) -> dict[str, str]:
    """Weights of networks that exchanges of hidden units move, with what is said of each.

    Told by how a network is laid out, and not by trying: where a layer and the matrix of the next one have laws, alike for all of
    their weights, units between them can be exchanged. Chains that cross between the equal modes look well mixed.
    """
    latent, out = {site.name for site in target.sites}, dict[str, str]()
    for name, network in target.trace.modules.items():
        if not any(site.startswith(f"{name}.") for site in latent):
            continue
        layers: dict[str, dict[str, tuple[int, ...]]] = {}
        for key, value in network.arrays(np.random.default_rng(0)).items():
            layers.setdefault(key.rpartition(".")[0], {})[f"{name}.{key}"] = np.shape(value)
        whole = [own for own in layers.values() if any(len(shape) > 1 for shape in own.values())]
        for own, after in pairwise(whole):
            matrices = {key for key, shape in after.items() if len(shape) > 1}
            units = next(shape[0] for shape in own.values() if len(shape) > 1)
            if units > 1 and set(own) | matrices <= latent:
                words = f"symmetric under exchanging hidden units of '{name}': no weight of it has a meaning of its own"
                out |= dict.fromkeys([*own, *matrices], words)
    return out


def _candidates(target) -> Iterator[Symmetry]:
    sites = [s for s in target.sites if _kind(s) is not None]
    offsets = target.offsets
    shares = [s for s in sites if s.shape == () and getattr(_base(s), "name", "") == "unit_interval"]
    axes: dict[int, list] = {}
    for site in sites:
        for axis, size in enumerate(site.shape):
            if 2 <= size <= LARGEST_AXIS:
                axes.setdefault(size, []).append((site, axis))
    for size, members in axes.items():
        pairs = sorted({(i, i + 1) for i in range(size - 1)} | {(0, size - 1)})
        for chosen in _subsets(members):
            names = " and ".join(site.name for site, _ in chosen)
            for i, j in pairs:
                exchange = Symmetry(
                    f"exchanging elements {i} and {j} of {names}", _exchange(chosen, i, j, offsets)
                )
                yield from _with_shares(exchange, shares if size == 2 else (), offsets)
        real = [(s, a) for s, a in members if _kind(s) == "real"]
        for chosen in _subsets(real):
            names = " and ".join(site.name for site, _ in chosen)
            for i in range(size):
                yield Symmetry(f"flipping the sign of element {i} of {names}", _flip(chosen, i, offsets))
    for chosen in _subsets([(s, None) for s in sites if _kind(s) == "real"]):
        names = " and ".join(site.name for site, _ in chosen)
        yield Symmetry(f"flipping the sign of {names}", _flip(chosen, None, offsets))
    yield from _numbered(sites, shares, offsets)


def _subsets(members) -> Iterator[tuple]:
    """Subsets of at most five members, the largest first."""
    members = members[:LARGEST_SET]
    for count in range(len(members), 0, -1):
        yield from combinations(members, count)


def _with_shares(exchange, shares, offsets) -> Iterator[Symmetry]:
    """An exchange of two, and the same where the share of one becomes that of the other."""
    yield exchange
    for site in shares:

        def apply(z, where=offsets[site.name]):
            z, jacobian = exchange.apply(z)
            z[:, where] *= -1  # on the scale of log odds
            return z, jacobian

        yield Symmetry(f"{exchange.words}, with 1 - {site.name} for {site.name}", apply)


def _base(site):
    constraint = site.constraint
    while hasattr(constraint, "base"):
        constraint = constraint.base
    return constraint


def _kind(site) -> str | None:
    """How a site's elements lie in the unconstrained space: ``"real"``, ``"elementwise"``, ``"simplex"``."""
    constraint = _base(site)
    name = getattr(constraint, "name", "")
    if name == "simplex" and len(site.shape) == 1:
        return "simplex"
    if name in {"real", "real_vector"}:
        return "real"
    if getattr(constraint, "event_dim", 1) == 0 and site.unconstrained_shape == site.shape:
        bounds = [getattr(constraint, b, None) for b in ("lower", "upper")]
        if all(np.ndim(b) == 0 for b in bounds if b is not None) and name != "dependent":
            return "elementwise"
    return None


def _exchange(members, i, j, offsets):
    def apply(z):
        z, jacobian = np.array(z), np.zeros(len(z))
        for site, axis in members:
            where = offsets[site.name]
            if _kind(site) == "simplex":
                value, before = simplex(z[:, where])
                value[:, [i, j]] = value[:, [j, i]]
                z[:, where], after = simplex_inverse(value)
                jacobian += after - before
                continue
            block = z[:, where].reshape(len(z), *site.shape)
            order = np.arange(site.shape[axis])
            order[[i, j]] = j, i
            z[:, where] = np.take(block, order, axis + 1).reshape(len(z), -1)
        return z, jacobian

    return apply


def _flip(members, i, offsets):
    def apply(z):
        z = np.array(z)
        for site, axis in members:
            block = z[:, offsets[site.name]].reshape(len(z), *site.shape)
            if i is None:
                block = -block
            else:
                block[(slice(None),) * (axis + 1) + (i,)] *= -1
            z[:, offsets[site.name]] = block.reshape(len(z), -1)
        return z, np.zeros(len(z))

    return apply


def _numbered(sites, shares, offsets) -> Iterator[Symmetry]:
    """Exchanges of scalar sites that differ in their number only: mu1 with mu2, sigma1 with sigma2."""
    stems: dict[str, dict[str, object]] = {}
    for site in sites:
        found = re.fullmatch(r"(.*?)_?(\d+)", site.name)
        if found and _kind(site) in {"real", "elementwise"}:
            stems.setdefault(found[1], {})[found[2]] = site
    numbers = sorted({n for members in stems.values() for n in members})[:LARGEST_AXIS]
    for a, b in combinations(numbers, 2):
        both = [m for m in stems.values() if a in m and b in m and _alike(m[a], m[b])]
        for chosen in _subsets(both):
            pairs = [(offsets[m[a].name], offsets[m[b].name]) for m in chosen]
            names = ", ".join(f"{m[a].name} and {m[b].name}" for m in chosen)
            yield from _with_shares(Symmetry(f"exchanging {names}", _swap(pairs)), shares, offsets)


def _alike(one, other) -> bool:
    return one.shape == other.shape and one.constraint == other.constraint


def _swap(pairs):
    def apply(z):
        out = np.array(z)
        for one, other in pairs:
            out[:, one], out[:, other] = z[:, other], z[:, one]
        return out, np.zeros(len(z))

    return apply


def simplex(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Stick breaking: simplex values ``(B, K)`` of ``u`` ``(B, K - 1)``, and the log Jacobian."""
    count = u.shape[1]
    share = 1 / (1 + np.exp(-(u - np.log(np.arange(count, 0, -1)))))
    rest = np.cumprod(np.concatenate([np.ones((len(u), 1)), 1 - share], 1), axis=1)
    value = rest * np.concatenate([share, np.ones((len(u), 1))], 1)
    return value, (np.log(value[:, :-1]) + np.log1p(-share)).sum(1)


def simplex_inverse(value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The inverse of `simplex`, with the log Jacobian of the forward map."""
    rest = np.cumsum(value[:, ::-1], axis=1)[:, ::-1]
    share = value[:, :-1] / rest[:, :-1]
    left = rest[:, 1:] / rest[:, :-1]
    u = np.log(share) - np.log(left) + np.log(np.arange(share.shape[1], 0, -1))
    return u, (np.log(value[:, :-1]) + np.log(left)).sum(1)
