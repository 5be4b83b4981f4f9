"""What importance weights say of the rows of an encoder, one row at a time.

The density given the learned arrays is a product over rows, so that a row's draws have weights of their own, which do not die
with the number of rows. A row is *trusted* on the terms of any quantity; a plate by the share of its rows that are not.

References
----------
Vehtari et al. (2024), Pareto smoothed importance sampling, JMLR 25. Clopper & Pearson (1934), The use of confidence or
fiducial limits illustrated in the case of the binomial, Biometrika 26. Cremer, Li & Duvenaud (2018), Inference suboptimality in
variational autoencoders, ICML. Kim et al. (2018), Semi-amortized variational autoencoders, ICML. Cappé et al. (2004), Population Monte Carlo, Journal of Computational and Graphical Statistics 13.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from math import prod
from typing import Any

import numpy as np
from scipy.special import betaincinv, logsumexp, ndtri

from ...guides.laws import Law, joined, log_prob, log_prob_wider, placed
from ...guides.thresholds import MOST_CHOSEN, MOST_SURE
from ...guides.transport import standard_normal, student_t
from ..evidence.estimates import Estimates
from ..evidence.psis import tail_indices
from ..thresholds import (
    ASCENT_RATE,
    ASCENT_STEPS,
    FLIPS,
    GAP_DRAWS,
    KHAT_TRUSTED,
    LEAST_EFFECTIVE,
    LEAST_ROW_SIZE,
    MOST_OVER,
    MOST_POINTS,
    MOST_STATES,
    OVER,
    OVER_WIDE,
    PROBABILITIES,
    ROW_BLOCK,
    ROW_DRAWS,
    ROW_EACH,
    ROW_ENOUGH,
    ROW_KEPT,
    ROW_ROUNDS,
    ROW_WIDE,
    STRETCH,
    TAIL_DF,
    WEIGHED_NUMBERS,
)
from .compiled import Compiled


@dataclass(frozen=True, eq=False)
class Gaussians:
    """A Gaussian for each row, of which half of its draws are, and the others of its Student t.

    Attributes
    ----------
    mean : numpy.ndarray, shape (R, u)
    root : numpy.ndarray, shape (R, u, u)
        Lower triangular.
    """

    mean: np.ndarray
    root: np.ndarray

    def sample(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Draws of rows, shape ``(R, count, u)``."""
        eps = rng.standard_normal((len(self.mean), count, self.mean.shape[1]))
        far = count - count // 2
        eps[:, count // 2 :] *= np.sqrt(TAIL_DF / rng.chisquare(TAIL_DF, (len(eps), far, 1)))
        return self.mean[:, None] + np.matmul(eps, np.swapaxes(self.root, 1, 2))

    def log_prob(self, z: np.ndarray) -> np.ndarray:
        """Log density at points of rows ``(R, K, u)``, shape ``(R, K)``."""
        eps = np.swapaxes(np.linalg.solve(self.root, np.swapaxes(z - self.mean[:, None], 1, 2)), 1, 2)
        scale = np.log(np.diagonal(self.root, axis1=1, axis2=2)).sum(1)[:, None]
        return np.logaddexp(standard_normal(eps), student_t(eps, TAIL_DF)) - np.log(2.0) - scale

    @classmethod
    def matched(cls, z: np.ndarray, weights: np.ndarray) -> Gaussians:
        """By the moments of weighted draws ``(R, K, u)``."""
        mean = np.einsum("rk,rku->ru", weights, z)
        centred = z - mean[:, None]
        covariance = np.matmul(np.swapaxes(weights[:, :, None] * centred, 1, 2), centred)
        floor = 1e-8 * np.trace(covariance, axis1=1, axis2=2)[:, None, None] + 1e-12
        return cls(mean, np.linalg.cholesky(covariance + floor * np.eye(z.shape[2])))


@dataclass(frozen=True, eq=False)
class Proposals:
    """What the draws of rows are of: the guide's law of each, and beside it as many of a wider one; and Gaussians that came after.

    Attributes
    ----------
    law : Law
        Of rows, on the host.
    wide : float
        How much wider the others are.
    later : mapping of int to tuple
        Of some rows shares of the draws and the Gaussian that they are of, one after the other: all others are of what was before.
    """

    law: Law
    wide: float
    later: Mapping[int, tuple[tuple[float, Gaussians], ...]] = field(default_factory=dict)

    def log_prob(self, z: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Log density of points ``(R, K, u)`` of some rows, `at`, shape ``(R, K)``."""
        found = np.array(log_prob_wider(self.law.rows(at), np.moveaxis(z, 1, 0), self.wide)[1]).T
        for i, row in enumerate(at):
            for share, one in self.later.get(int(row), ()):
                found[i] = log_mixed(found[i], one.log_prob(z[[i]])[0], share)
        return found

    def followed(self, at: np.ndarray, share: float, others: Gaussians) -> Proposals:
        """With Gaussians for some rows, which a share of their draws is of."""
        new = {
            int(row): (*self.later.get(int(row), ()), (share, Gaussians(others.mean[[i]], others.root[[i]])))
            for i, row in enumerate(at)
        }
        return replace(self, later={**self.later, **new})


def log_mixed(before: np.ndarray, after: np.ndarray, share: float) -> np.ndarray:
    """Log density of draws of which a share is of what came after."""
    return np.logaddexp(np.log1p(-share) + before, np.log(share) + after)


@dataclass(frozen=True, eq=False)
class Weighed:
    """Weighted draws of some rows.

    Attributes
    ----------
    rows : numpy.ndarray of int, shape (R,)
    z : numpy.ndarray, shape (R, K, u)
        Draws of the rows' unconstrained coordinates.
    log_weights : numpy.ndarray, shape (R, K)
        Of the joint density over that of the draws.
    log_q : numpy.ndarray, shape (R, K)
        Of the latter.
    log_ratio : numpy.ndarray, shape (R, K')
        Joint density over that of the encoder's own law, at draws of it and of a wider one.
    from_guide : numpy.ndarray of bool, shape (K',)
        Which draws are of that law.
    proposals : Proposals
        What `z` are draws of.
    exact : bool
        Whether `z` are all the states that a row can have, each once.
    """

    rows: np.ndarray
    z: np.ndarray
    log_weights: np.ndarray
    log_q: np.ndarray
    log_ratio: np.ndarray
    from_guide: np.ndarray
    proposals: Proposals
    exact: bool = False

    def short(self, least: float = LEAST_ROW_SIZE) -> np.ndarray:
        """Rows whose weights leave something to be wished."""
        return (self.khat >= KHAT_TRUSTED) | (self.size < least)

    def of(self, at: np.ndarray) -> Weighed:
        """Of some of its rows, with the proposals of all."""
        names = ("rows", "z", "log_weights", "log_q", "log_ratio")
        return replace(self, **{name: getattr(self, name)[at] for name in names})

    def bettered(self, at: np.ndarray, new: Weighed) -> tuple[Weighed, np.ndarray]:
        """With other draws of some rows where these are better, and where they are, shape ``(len(at),)``."""
        better = (new.khat < np.maximum(self.khat[at], KHAT_TRUSTED)) & (new.size > self.size[at])
        out = {name: getattr(self, name).copy() for name in ("z", "log_weights", "log_q")}
        for name, value in out.items():
            value[at[better]] = getattr(new, name)[better]
        return replace(self, **out), better

    @cached_property
    def weights(self) -> np.ndarray:
        """Normalised, shape ``(R, K)``."""
        return np.exp(self.log_weights - logsumexp(self.log_weights, axis=1, keepdims=True))

    @cached_property
    def khat(self) -> np.ndarray:
        """k̂ of each row, infinite where no weight is finite or a few draws have all of it, shape ``(R,)``."""
        top = self.log_weights.max(1, keepdims=True)
        known = np.isfinite(top[:, 0])
        if self.exact:
            return np.where(known, 0.0, np.inf)
        with np.errstate(invalid="ignore"):
            found = tail_indices(np.where(known[:, None], np.exp(self.log_weights - top), 0.0))
        tied = np.isneginf(found) & (
            self.size < LEAST_EFFECTIVE
        )  # all others have no weight at all: no tail to be seen
        return np.where(known & ~tied, found, np.inf)

    @cached_property
    def size(self) -> np.ndarray:
        """Effective draws of each row, shape ``(R,)``."""
        if self.exact:
            return np.full(len(self.log_weights), float(self.log_weights.shape[1]))
        return 1.0 / (self.weights**2).sum(1)

    @property
    def evidence(self) -> tuple[np.ndarray, np.ndarray]:
        """Log p(x) of each row given the learned arrays, by its weights, and its standard error, shapes ``(R,)``."""
        count = self.log_weights.shape[1]
        return logsumexp(self.log_weights, axis=1) - np.log(count), np.sqrt(
            np.maximum(1 / self.size - 1 / count, 0.0)
        )

    @property
    def bound(self) -> np.ndarray:
        """Evidence lower bound of each row under the encoder's law, shape ``(R,)``."""
        return self.log_ratio[:, self.from_guide].mean(1)

    def estimates(self, values: np.ndarray) -> Estimates:
        """Of values ``(R, K, q)`` at the draws, with the error of each by its row's weights, in the order of ``(R, q)``."""
        weights = self.weights[:, :, None]
        mean = (weights * values).sum(1)
        square = (values - mean[:, None]) ** 2
        variance = (weights * square).sum(1)
        sd = np.sqrt(variance)
        w2 = weights**2
        mean_se = np.sqrt((w2 * square).sum(1))
        with np.errstate(divide="ignore", invalid="ignore"):
            sd_se = np.sqrt((w2 * (square - variance[:, None]) ** 2).sum(1)) / (2 * sd)
        quantiles, errors = _quantiles(values, self.weights)
        if self.exact:
            mean_se, sd_se, errors = 0.0 * mean, 0.0 * mean, 0.0 * errors
        flat = (mean.ravel(), sd.ravel(), quantiles.reshape(3, -1), mean_se.ravel(), sd_se.ravel())
        return Estimates(*flat, errors.reshape(3, -1))

    def resampled(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Draws of equal weight, each row for itself, shape ``(R, count, u)``."""
        grid = np.cumsum(self.weights, axis=1)
        position = (rng.uniform(size=(len(grid), 1)) + np.arange(count)) / count
        chosen = np.stack([np.searchsorted(g, p * g[-1]) for g, p in zip(grid, position, strict=True)])
        chosen = rng.permuted(np.minimum(chosen, grid.shape[1] - 1), axis=1)
        return np.take_along_axis(self.z, chosen[:, :, None], 1)


def _quantiles(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted quantiles of values ``(R, K, q)`` and their errors, shapes ``(3, R, q)``."""
    count, size = values.shape[1], 1.0 / (weights**2).sum(1)
    order = np.argsort(values, axis=1)
    x = np.take_along_axis(values, order, 1)
    grid = np.cumsum(np.take_along_axis(np.broadcast_to(weights[:, :, None], values.shape), order, 1), axis=1)
    out, errors = np.empty((3, *mean_shape(values))), np.empty((3, *mean_shape(values)))

    def at(p):
        place = np.minimum((grid < np.reshape(p, (-1, 1, 1))).sum(1), count - 1)
        return np.take_along_axis(x, place[:, None], 1)[:, 0]

    for i, p in enumerate(PROBABILITIES):
        out[i] = at(p)
        se = np.sqrt(p * (1 - p) / size)
        reach = np.maximum(se, np.minimum(STRETCH * se, 0.5 * min(p, 1 - p)))
        high, low = at(np.minimum(p + reach, 1.0)), at(np.maximum(p - reach, 0.0))
        errors[i] = 0.5 * (high - low) * (se / reach)[:, None]
    return out, errors


def mean_shape(values: np.ndarray) -> tuple[int, int]:
    """Rows and quantities of values at draws."""
    return values.shape[0], values.shape[2]


def weighed(
    compiled: Compiled,
    params: Mapping[str, Any],
    rows: np.ndarray,
    seed: int,
    num_draws: int = ROW_DRAWS,
    data=None,
    far: np.ndarray | None = None,
) -> Iterator[Weighed]:
    """Weighted draws of rows, some rows at a time.

    Parameters
    ----------
    compiled : Compiled
        Functions of the rows.
    params : mapping
        Where the target computes.
    rows : numpy.ndarray of int
        Which.
    seed : int
        Of the draws.
    num_draws : int
        Of each row.
    data : mapping, optional
        Of the rows in place of those that were fitted, all rows of it: `rows` count these.
    far : numpy.ndarray, shape (u,), optional
        See `far_of`; without, no draws are from afar.
    """
    if compiled.encoder.point:
        yield from _points(compiled, params, rows, data)
        return
    own, units = compiled.rows, compiled.rows.num_units
    if compiled.encoder.bits and compiled.encoder.num_states <= MOST_STATES:
        yield from _states(compiled, params, rows, data)
        return
    wide = 1.0 + ROW_WIDE / np.sqrt(units) if compiled.encoder.smooth else _wide(compiled.encoder)
    constants = {**compiled.constants, "params": params}
    if compiled.encoder.iterations:
        first = partial(_from_own, compiled, params, wide, num_draws, data)
    else:
        first = partial(_from_encoder, compiled, constants, wide, num_draws, data)
    if units > MOST_OVER or num_draws <= LEAST_ROW_SIZE:
        far = None
    at_once = own.size * max(1, WEIGHED_NUMBERS // (num_draws * units * own.size))
    for start in range(0, len(rows), at_once):
        yield _at_once(compiled, constants, rows[start : start + at_once], start, seed, first, far, data)


def _at_once(
    compiled: Compiled,
    constants: Mapping[str, Any],
    some: np.ndarray,
    start: int,
    seed: int,
    first: Callable[[np.ndarray, list[int]], Weighed],
    far: np.ndarray | None,
    data,
) -> Weighed:
    """Weighted draws of some rows, of which `start` come before; nothing of them is held here afterwards."""
    size = compiled.rows.size
    parts = [first(some[i : i + size], [seed, 64, start + i]) for i in range(0, len(some), size)]
    made = _joined(parts)
    if not compiled.encoder.smooth:
        return made  # there are no Gaussians of bits
    del parts
    if far is not None:
        made = _spread(compiled, constants, made, far, data, np.random.default_rng([seed, 79, start]))
    return _drawn_again(compiled, constants, made, data, [seed, 71, start])


def _wide(encoder: Any) -> float:
    """How far out others are drawn of a law that is sure of all bits, so that some of them are the other way."""
    if not encoder.classes:
        return float(-MOST_SURE / ndtri(FLIPS / (2 * encoder.num_units)))
    others = (
        encoder.num_units - encoder.num_units // encoder.classes
    )  # classes that are not the one it is sure of
    return 2 * MOST_CHOSEN / max(np.log(2 * others / FLIPS), 1.0)


def _states(compiled: Compiled, params: Mapping[str, Any], rows: np.ndarray, data) -> Iterator[Weighed]:
    """Rows of few bits at all the states that there are."""
    constants, units, size = (
        {**compiled.constants, "params": params},
        compiled.rows.num_units,
        compiled.rows.size,
    )
    states = compiled.encoder.states()
    for start in range(0, len(rows), size):
        some = rows[start : start + size]
        law = encoded(compiled, params, some, data)
        z = np.broadcast_to(states[:, None], (len(states), len(some), units))
        joint, own = log_joint(compiled, constants, some, z, data), log_prob(law, z)
        bound = (np.exp(own) * (joint - own)).sum(0)[:, None]
        log_q = np.full(joint.T.shape, -np.log(len(states)))
        yield Weighed(
            some,
            np.moveaxis(z, 1, 0),
            joint.T - log_q,
            log_q,
            bound,
            np.ones(1, bool),
            Proposals(law, 1.0),
            exact=True,
        )


def _points(compiled: Compiled, params: Mapping[str, Any], rows: np.ndarray, data) -> Iterator[Weighed]:
    """Rows that are at one place each, which has all weight: of a k̂ that says so."""
    constants, size = {**compiled.constants, "params": params}, compiled.rows.size * MOST_POINTS
    for start in range(0, len(rows), size):
        some = rows[start : start + size]
        law = encoded(compiled, params, some, data)
        joint = np.repeat(log_joint(compiled, constants, some, law.mean[None], data).T, 2, 1)
        z = np.repeat(law.mean[:, None], 2, 1)
        yield Weighed(some, z, joint, 0.0 * joint, joint, np.ones(2, bool), Proposals(law, 1.0))


def _from_encoder(
    compiled: Compiled,
    constants: Mapping[str, Any],
    wide: float,
    num_draws: int,
    data,
    rows: np.ndarray,
    seed: list[int],
) -> Weighed:
    """Weighted draws of the rows of a batch from the encoder's laws."""
    own, params = compiled.rows, constants["params"]
    read = own.small.work + sum(prod(np.shape(value)) for value in params["weights"].values())
    each = int(np.clip(2 ** np.floor(np.log2(max(ROW_BLOCK / read, 2))), 2, 64))
    each = min(each, num_draws)
    calls = -(-num_draws // each)
    brought, given = compiled.repeated(np.resize(rows, own.size), calls, data)
    seeds = np.random.default_rng(seed).integers(0, 2**31, calls)
    with own.small.room():
        _, found = compiled.weighed(each, wide)({}, {"seed": seeds, **given}, {**constants, **brought})
    found = {name: by_row(np.asarray(value, np.float64), len(rows)) for name, value in found.items()}
    joint = found["likelihood"] + found["prior"]
    log_weights = joint - found["log_q"]
    log_weights = np.where(np.isfinite(log_weights), log_weights, -np.inf)
    from_guide = np.tile(np.arange(each) < each // 2, calls)
    laws = Proposals(encoded(compiled, params, rows, data), wide)
    return Weighed(rows, found["z"], log_weights, found["log_q"], joint - found["log_own"], from_guide, laws)


def _from_own(
    compiled: Compiled, params: Any, wide: float, num_draws: int, data, rows: np.ndarray, seed: list[int]
) -> Weighed:
    """Weighted draws of the rows of a batch whose laws have taken steps of their own."""
    rng = np.random.default_rng(seed)
    law = laws_of(compiled, params, rows, int(rng.integers(2**31)), data)
    from_guide = np.arange(num_draws) % 2 == 0
    far = np.where(from_guide, 1.0, wide)[:, None, None]
    z = placed(law, far * rng.standard_normal((num_draws, *law.mean.shape)))
    log_own, log_q = log_prob_wider(law, z, wide)
    joint = log_joint(compiled, {**compiled.constants, "params": params}, rows, z, data)
    log_weights = np.where(np.isfinite(joint), joint - log_q, -np.inf).T
    ratio, laws = (joint - log_own).T, Proposals(law, wide)
    return Weighed(rows, np.moveaxis(z, 1, 0), log_weights, log_q.T, ratio, from_guide, laws)


def _drawn_again(
    compiled: Compiled, constants: Mapping[str, Any], some: Weighed, data, seed: list[int]
) -> Weighed:
    """With other draws of rows whose weights fall short, in a few rounds, where there are draws enough to tell."""
    for number in range(ROW_ROUNDS if some.z.shape[1] > LEAST_ROW_SIZE else 0):
        least = LEAST_ROW_SIZE if number else ROW_ENOUGH * some.z.shape[1]
        at = np.flatnonzero(some.short(least))
        if not len(at):
            break
        some = _nearer(compiled, constants, some, at, data, np.random.default_rng([*seed, number]))
    return some


def far_of(mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """How far out the coordinates of fitted rows lie, by their means and sds ``(rows, u)``, shape ``(u,)``."""
    return np.sqrt((mean**2 + sd**2).mean(0))


def _spread(
    compiled: Compiled, constants: Mapping[str, Any], some: Weighed, far: np.ndarray, data, rng
) -> Weighed:
    """With some draws from `far` about zero: an encoder that sees one of two modes would never meet the other."""
    at, root = np.arange(len(some.rows)), np.diag(OVER_WIDE * far)
    law = Gaussians(np.zeros((len(at), len(far))), np.tile(root, (len(at), 1, 1)))
    new = _beside(compiled, constants, some, partial(some.proposals.log_prob, at=at), law, OVER, data, rng)
    return replace(new, proposals=some.proposals.followed(at, OVER, law))


def _nearer(
    compiled: Compiled, constants: Mapping[str, Any], some: Weighed, at: np.ndarray, data, rng
) -> Weighed:
    """With other draws of the rows whose weights leave something to be wished, `at`, where these are better: of a Gaussian with the
    moments of the weighted draws, half of them of its Student t (Cappé et al. 2004)."""
    old = some.of(at)
    law = Gaussians.matched(old.z, tempered(old.log_weights, max(LEAST_EFFECTIVE, 8 * old.z.shape[2])))
    new = _beside(
        compiled, constants, old, partial(some.proposals.log_prob, at=at), law, 1 - ROW_KEPT, data, rng
    )
    made, better = some.bettered(at, new)
    others = Gaussians(law.mean[better], law.root[better])
    return replace(made, proposals=some.proposals.followed(at[better], 1 - ROW_KEPT, others))


def _beside(
    compiled: Compiled,
    constants: Mapping[str, Any],
    old: Weighed,
    before: Callable[[np.ndarray], np.ndarray],
    law: Gaussians,
    share: float,
    data,
    rng: np.random.Generator,
) -> Weighed:
    """Rows with a share of their draws from other laws than before, whose log density `before` tells.

    The others stay, and what they are of in the density of all: where weights saw one of two modes by chance, a Gaussian alone would
    never meet the other.
    """
    count = old.z.shape[1]
    kept = rng.permutation(count)[: round((1 - share) * count)]
    fresh = law.sample(count - len(kept), rng)
    place = np.argsort(rng.permutation(count))  # mixed, so that some of the draws say what all do

    def mixed(old: np.ndarray, new: np.ndarray) -> np.ndarray:
        out = np.empty((len(new), count, *new.shape[2:]))
        out[:, place[: len(kept)]], out[:, place[len(kept) :]] = old, new
        return out

    joint = log_joint(compiled, constants, old.rows, np.moveaxis(fresh, 0, 1), data).T
    joint = mixed(old.log_weights[:, kept] + old.log_q[:, kept], joint)
    log_q, z = mixed(old.log_q[:, kept], before(fresh)), mixed(old.z[:, kept], fresh)
    log_q = log_mixed(log_q, law.log_prob(z), share)
    log_weights = np.where(np.isfinite(joint), joint - log_q, -np.inf)
    return replace(old, z=z, log_weights=log_weights, log_q=log_q)


def laws_of(
    compiled: Compiled, params: Any, rows: np.ndarray, seed: int, data: Mapping[str, np.ndarray] | None = None
) -> Law:
    """The laws of rows as the guide has them: the encoder's, after the steps that each takes for itself."""
    steps = compiled.encoder.iterations
    return (
        ascended(compiled, params, rows, seed, steps, data)
        if steps
        else encoded(compiled, params, rows, data)
    )


def encoded(
    compiled: Compiled, params: Any, rows: np.ndarray, data: Mapping[str, np.ndarray] | None = None
) -> Law:
    """The laws of rows as the encoder has them, on the host."""
    size = compiled.rows.size
    blocks = np.resize(rows, -(-len(rows) // size) * size).reshape(-1, size)
    constants, found = {**compiled.constants, "params": params}, []
    for block in blocks:  # one at a time: the same compiled function for any number of rows
        given = {"seed": np.zeros(1, np.int64), **compiled.batches(block[None], data)}
        seen = compiled.encoded({}, given, constants)[1]
        found.append({k: np.asarray(v, np.float64)[0] for k, v in seen.items()})  # waits for it
    out = {k: np.concatenate([one[k] for one in found])[: len(rows)] for k in found[0]}
    return Law(**out, arrays=_bending(compiled, params))


def ascended(
    compiled: Compiled,
    params: Any,
    rows: np.ndarray,
    seed: int,
    num_steps: int = ASCENT_STEPS,
    data: Mapping[str, np.ndarray] | None = None,
    begin: Law | None = None,
) -> Law:
    """The laws of rows, as `encoded` gives them or where they are to `begin`, each after so many steps up its own bound (Kim et al.
    2018); the rate falls to nothing over them."""
    size, to_device = compiled.rows.size, compiled.rows.small.to_device
    rate = ASCENT_RATE * (1 - np.arange(num_steps) / num_steps)
    parts = []
    for start in range(0, len(rows), size):
        places = np.resize(np.arange(start, min(start + size, len(rows))), size)
        some = rows[places]
        law = encoded(compiled, params, some, data) if begin is None else begin.rows(places)
        first = {k: to_device(v) for k, v in law.by_row.items()}
        batch = {
            name: {k: to_device(v[0]) for k, v in value.items()}
            if isinstance(value, dict)
            else to_device(value[0])
            for name, value in compiled.batches(some[None], data).items()
        }
        state: Any = {
            name: {k: to_device(np.zeros(np.shape(v))) for k, v in first.items()}
            for name in ("moved", "first", "second")
        }
        state["count"] = to_device(np.zeros(()))
        seeds = np.random.default_rng([seed, 73, start]).integers(0, 2**31, num_steps)
        given = {"seed": seeds, "rate": rate.astype(compiled.rows.small.dtype)}
        constants = {**compiled.constants, "params": params, "law": first, "batch": batch}
        with compiled.rows.small.room():
            state, _ = compiled.ascent(state, given, constants)
        by = {
            k: np.asarray(v, np.float64) for k, v in compiled.rows.small.loops.to_host(state["moved"]).items()
        }
        parts.append(law.moved(by))
    return joined(parts).rows(slice(0, len(rows)))


def _bending(compiled: Compiled, params: Any) -> dict[str, np.ndarray] | None:
    """Arrays of the laws of all rows, on the host."""
    found = compiled.encoder.bending(params["weights"])
    if found is None:
        return None
    return {k: np.asarray(v, np.float64) for k, v in compiled.rows.small.loops.to_host(found).items()}


def bound_of(compiled: Compiled, params: Any, rows: np.ndarray, law: Law, seed: int, data=None):
    """Evidence lower bound of each row under a law of its own, and its standard error, shapes ``(R,)``."""
    size, bounds = compiled.rows.size, []
    constants = {**compiled.constants, "params": params}
    for start in range(0, len(rows), size):
        some = slice(start, start + size)
        own, rng = law.rows(some), np.random.default_rng([seed, 74, start])
        z = placed(own, rng.standard_normal((GAP_DRAWS, *own.mean.shape)))
        joint = log_joint(compiled, constants, rows[some], z, data)
        bounds.append(joint - log_prob(own, z))
    found = np.concatenate(bounds, axis=1)
    return found.mean(0), found.std(0) / np.sqrt(GAP_DRAWS)


def log_joint(
    compiled: Compiled, constants: Mapping[str, Any], rows: np.ndarray, z: np.ndarray, data, of: str = "joint"
) -> np.ndarray:
    """Log joint density of rows at draws ``(K, R, u)`` of their coordinates, or what it is `of`: ``"prior"``; shape ``(K, R)``."""
    size, calls = compiled.rows.size, -(-len(z) // ROW_EACH)
    whole, out = np.resize(np.arange(len(z)), calls * ROW_EACH), []
    for start in range(0, len(rows), size):
        places = np.arange(start, min(start + size, len(rows)))
        padded = np.resize(places, size)
        own = z[whole][:, padded].reshape(calls, ROW_EACH, size, -1).astype(compiled.rows.small.dtype)
        brought, given = compiled.repeated(rows[padded], calls, data)
        inputs = {"seed": np.zeros(calls, np.int64), "z": own, **given}
        with compiled.rows.small.room():
            _, found = compiled.at({}, inputs, {**constants, **brought})
        joint = np.asarray(found[of], np.float64).reshape(calls * ROW_EACH, size)
        out.append(joint[: len(z), : len(places)])
    return np.concatenate(out, axis=1)


def _joined(parts: list[Weighed]) -> Weighed:
    """Weighted draws of the rows of several batches."""
    if len(parts) == 1:
        return parts[0]
    laws = Proposals(joined([p.proposals.law for p in parts]), parts[0].proposals.wide)
    names = ("rows", "z", "log_weights", "log_q", "log_ratio")
    whole: dict[str, Any] = {name: np.concatenate([getattr(p, name) for p in parts]) for name in names}
    return replace(parts[0], proposals=laws, **whole)


def tempered(log_weights: np.ndarray, least: float) -> np.ndarray:
    """Normalised weights of rows, to a power at which each has at least so many effective draws."""
    known = np.where(np.isfinite(log_weights), log_weights, -1e300)
    low, high = np.zeros(len(known)), np.ones(len(known))
    for _ in range(20):
        power = 0.5 * (low + high)
        enough = _size(power, known) >= least
        low, high = np.where(enough, power, low), np.where(enough, high, power)
    power = np.where(_size(np.ones(len(low)), known) >= least, 1.0, low)[:, None]
    return np.exp(power * known - logsumexp(power * known, axis=1, keepdims=True))


def _size(power: np.ndarray, log_weights: np.ndarray) -> np.ndarray:
    scaled = power[:, None] * log_weights
    return np.exp(2 * logsumexp(scaled, axis=1) - logsumexp(2 * scaled, axis=1))


def by_row(value: np.ndarray, count: int) -> np.ndarray:
    """From ``(calls, K, n, ...)`` to ``(n, calls K, ...)``, the first rows of it."""
    value = np.moveaxis(value, 2, 0)[:count]
    return value.reshape(count, -1, *value.shape[3:])


def most_wrong(num_wrong: int, total: int) -> float:
    """Upper limit of a share of which so many of some were seen, at 95% (Clopper & Pearson 1934).

    Examples
    --------
    >>> round(most_wrong(0, 300), 4)
    0.0099
    """
    return float(betaincinv(num_wrong + 1, total - num_wrong, 0.95)) if num_wrong < total else 1.0
