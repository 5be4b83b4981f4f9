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

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from math import prod
from typing import Any

import numpy as np
from scipy.special import logsumexp
from scipy.stats import beta

from ...guides.amortized import log_prob, placed
from ...guides.transport import standard_normal, student_t
from ..evidence.estimates import Estimates
from ..evidence.psis import tail_indices
from ..thresholds import (
    ASCENT_RATE,
    ASCENT_STEPS,
    GAP_DRAWS,
    KHAT_TRUSTED,
    LEAST_EFFECTIVE,
    LEAST_ROW_SIZE,
    PROBABILITIES,
    ROW_BLOCK,
    ROW_DRAWS,
    ROW_EACH,
    ROW_ROUNDS,
    ROW_WIDE,
    STRETCH,
    TAIL_DF,
    WEIGHED_NUMBERS,
)
from .compiled import Compiled, moved


@dataclass(frozen=True, eq=False)
class Proposals:
    """What the draws of rows are of: a Gaussian each, and beside it as many of a wider one, or of its Student t.

    Attributes
    ----------
    mean : numpy.ndarray, shape (R, u)
    root : numpy.ndarray, shape (R, u, u)
        Lower triangular.
    wide : numpy.ndarray, shape (R,)
        How much wider the others are; 0 for the Student t.
    """

    mean: np.ndarray
    root: np.ndarray
    wide: np.ndarray

    def log_prob(self, z: np.ndarray) -> np.ndarray:
        """Log density of a point of each row ``(R, u)``, shape ``(R,)``."""
        eps = np.linalg.solve(self.root, (z - self.mean)[:, :, None])[:, :, 0]
        wide = np.where(self.wide > 0, self.wide, 1.0)
        far = standard_normal(eps / wide[:, None]) - eps.shape[1] * np.log(wide)
        far = np.where(self.wide > 0, far, student_t(eps, TAIL_DF))
        scale = np.log(np.diagonal(self.root, axis1=1, axis2=2)).sum(1)
        return np.logaddexp(standard_normal(eps), far) - np.log(2.0) - scale

    def replaced(self, at: np.ndarray, others: Proposals) -> Proposals:
        """With those of some rows in place of their own."""
        mean, root, wide = self.mean.copy(), self.root.copy(), self.wide.copy()
        mean[at], root[at], wide[at] = others.mean, others.root, others.wide
        return Proposals(mean, root, wide)

    def of(self, at: np.ndarray) -> Proposals:
        """Those of some rows."""
        return Proposals(self.mean[at], self.root[at], self.wide[at])


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
    log_ratio : numpy.ndarray, shape (R, K')
        Joint density over that of the encoder's own law, at draws of it and of a wider one.
    from_guide : numpy.ndarray of bool, shape (K',)
        Which draws are of that law.
    proposals : Proposals
        What `z` are draws of.
    """

    rows: np.ndarray
    z: np.ndarray
    log_weights: np.ndarray
    log_ratio: np.ndarray
    from_guide: np.ndarray
    proposals: Proposals

    @property
    def short(self) -> np.ndarray:
        """Rows whose weights leave something to be wished."""
        return (self.khat >= KHAT_TRUSTED) | (self.size < LEAST_ROW_SIZE)

    @cached_property
    def weights(self) -> np.ndarray:
        """Normalised, shape ``(R, K)``."""
        return np.exp(self.log_weights - logsumexp(self.log_weights, axis=1, keepdims=True))

    @cached_property
    def khat(self) -> np.ndarray:
        """k̂ of each row, infinite where no weight is finite or a few draws have all of it, shape ``(R,)``."""
        top = self.log_weights.max(1, keepdims=True)
        known = np.isfinite(top[:, 0])
        with np.errstate(invalid="ignore"):
            found = tail_indices(np.where(known[:, None], np.exp(self.log_weights - top), 0.0))
        tied = np.isneginf(found) & (
            self.size < LEAST_EFFECTIVE
        )  # all others have no weight at all: no tail to be seen
        return np.where(known & ~tied, found, np.inf)

    @cached_property
    def size(self) -> np.ndarray:
        """Effective draws of each row, shape ``(R,)``."""
        return 1.0 / (self.weights**2).sum(1)

    @property
    def evidence(self) -> tuple[np.ndarray, np.ndarray]:
        """Log p(x) of each row given the learned arrays, by its weights, and its standard error, shapes ``(R,)``."""
        count = self.log_weights.shape[1]
        return logsumexp(self.log_weights, axis=1) - np.log(count), np.sqrt(1 / self.size - 1 / count)

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
    """
    own, units = compiled.rows, compiled.rows.num_units
    wide = 1.0 + ROW_WIDE / np.sqrt(units)
    constants = {**compiled.constants, "params": params}
    if compiled.encoder.iterations:
        first = partial(_from_own, compiled, params, wide, num_draws, data)
    else:
        first = partial(_from_encoder, compiled, constants, wide, num_draws, data)
    at_once = own.size * max(1, WEIGHED_NUMBERS // (num_draws * units * own.size))
    for start in range(0, len(rows), at_once):
        some = rows[start : start + at_once]
        places = range(start, start + len(some), own.size)
        parts = [first(rows[i : min(i + own.size, start + len(some))], [seed, 64, i]) for i in places]
        yield _drawn_again(compiled, constants, _joined(parts), data, [seed, 71, start])


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
    found = {name: _by_row(np.asarray(value, np.float64), len(rows)) for name, value in found.items()}
    joint = found["likelihood"] + found["prior"]
    log_weights = joint - found["log_q"]
    log_weights = np.where(np.isfinite(log_weights), log_weights, -np.inf)
    from_guide = np.tile(np.arange(each) < each // 2, calls)
    laws = _proposals(encoded(compiled, params, rows, data), wide)
    return Weighed(rows, found["z"], log_weights, joint - found["log_own"], from_guide, laws)


def _from_own(
    compiled: Compiled, params: Any, wide: float, num_draws: int, data, rows: np.ndarray, seed: list[int]
) -> Weighed:
    """Weighted draws of the rows of a batch whose laws have taken steps of their own."""
    rng = np.random.default_rng(seed)
    mean, log_sd, lower = law = laws_of(compiled, params, rows, int(rng.integers(2**31)), data)
    half = num_draws // 2
    far = np.where(np.arange(num_draws) < half, 1.0, wide)[:, None, None]
    z = placed(law, far * rng.standard_normal((num_draws, *mean.shape)))
    log_own = log_prob(law, z)
    log_q = np.logaddexp(log_own, log_prob((mean, log_sd + np.log(wide), lower), z)) - np.log(2.0)
    joint = log_joint(compiled, {**compiled.constants, "params": params}, rows, z, data)
    log_weights = np.where(np.isfinite(joint), joint - log_q, -np.inf).T
    return Weighed(rows, np.moveaxis(z, 1, 0), log_weights, (joint - log_own).T, np.arange(num_draws) < half,
                   _proposals(law, wide))  # fmt: skip


def _drawn_again(
    compiled: Compiled, constants: Mapping[str, Any], some: Weighed, data, seed: list[int]
) -> Weighed:
    """With other draws of rows whose weights fall short, in a few rounds, where there are draws enough to tell."""
    for number in range(ROW_ROUNDS if some.z.shape[1] > LEAST_ROW_SIZE else 0):
        if not some.short.any():
            break
        some = _nearer(compiled, constants, some, data, np.random.default_rng([*seed, number]))
    return some


def _nearer(compiled: Compiled, constants: Mapping[str, Any], some: Weighed, data, rng) -> Weighed:
    """With other draws of the rows whose weights leave something to be wished, where these are better: of a Gaussian with the
    moments of the weighted draws, half of them of its Student t (Cappé et al. 2004)."""
    at = np.flatnonzero(some.short)
    z, count = some.z[at], len(some.z[0]) // ROW_EACH * ROW_EACH
    weights = _tempered(some.log_weights[at], max(LEAST_EFFECTIVE, 8 * z.shape[2]))
    mean = np.einsum("rk,rku->ru", weights, z)
    centred = z - mean[:, None]
    covariance = np.matmul(np.swapaxes(weights[:, :, None] * centred, 1, 2), centred)
    floor = 1e-8 * np.trace(covariance, axis1=1, axis2=2)[:, None, None] + 1e-12
    root = np.linalg.cholesky(covariance + floor * np.eye(z.shape[2]))
    eps = rng.standard_normal((len(at), count, z.shape[2]))
    eps[:, count // 2 :] *= np.sqrt(TAIL_DF / rng.chisquare(TAIL_DF, (len(at), count - count // 2, 1)))
    other = mean[:, None] + np.matmul(eps, np.swapaxes(root, 1, 2))
    log_q = np.logaddexp(standard_normal(eps), student_t(eps, TAIL_DF)) - np.log(2.0)
    log_q = log_q - np.log(np.diagonal(root, axis1=1, axis2=2)).sum(1)[:, None]
    joint = log_joint(compiled, constants, some.rows[at], np.moveaxis(other, 0, 1), data)
    log_weights = joint.T - log_q
    log_weights = np.where(np.isfinite(log_weights), log_weights, -np.inf)
    laws = Proposals(mean, root, np.zeros(len(at)))
    new = Weighed(some.rows[at], other, log_weights, some.log_ratio[at], some.from_guide, laws)
    old = Weighed(some.rows[at], z, some.log_weights[at], some.log_ratio[at], some.from_guide, laws)
    better = (new.khat < np.maximum(old.khat, KHAT_TRUSTED)) & (new.size > old.size)
    z, log_weights = some.z[:, :count].copy(), some.log_weights[:, :count].copy()
    z[at[better]], log_weights[at[better]] = other[better], new.log_weights[better]
    laws = some.proposals.replaced(at[better], laws.of(better))
    return Weighed(some.rows, z, log_weights, some.log_ratio, some.from_guide, laws)


def _proposals(law: Any, wide: float) -> Proposals:
    mean, log_sd, lower = law
    lower = np.eye(mean.shape[1]) if lower is None else lower
    return Proposals(mean, np.exp(log_sd)[:, :, None] * lower, np.full(len(mean), wide))


def laws_of(
    compiled: Compiled, params: Any, rows: np.ndarray, seed: int, data: Mapping[str, np.ndarray] | None = None
):
    """The laws of rows as the guide has them: the encoder's, after the steps that each takes for itself."""
    steps = compiled.encoder.iterations
    return (
        ascended(compiled, params, rows, seed, steps, data)
        if steps
        else encoded(compiled, params, rows, data)
    )


def encoded(compiled: Compiled, params: Any, rows: np.ndarray, data: Mapping[str, np.ndarray] | None = None):
    """Means and log sds ``(R, u)`` of rows, and unit lower triangles ``(R, u, u)`` or None."""
    size = compiled.rows.size
    blocks = np.resize(rows, -(-len(rows) // size) * size).reshape(-1, size)
    constants, found = {**compiled.constants, "params": params}, []
    for block in blocks:  # one at a time: the same compiled function for any number of rows
        given = {"seed": np.zeros(1, np.int64), **compiled.batches(block[None], data)}
        seen = compiled.encoded({}, given, constants)[1]
        found.append({k: np.asarray(v, np.float64)[0] for k, v in seen.items()})  # waits for it
    out = {k: np.concatenate([one[k] for one in found])[: len(rows)] for k in found[0]}
    return out["mean"], out["log_sd"], out.get("lower")


def ascended(
    compiled: Compiled,
    params: Any,
    rows: np.ndarray,
    seed: int,
    num_steps: int = ASCENT_STEPS,
    data: Mapping[str, np.ndarray] | None = None,
):
    """The laws of rows, as `encoded` gives them, each after so many steps from the encoder's answer up its own bound (Kim et al.
    2018); the rate falls to nothing over them."""
    size, to_device = compiled.rows.size, compiled.rows.small.to_device
    rate = ASCENT_RATE * (1 - np.arange(num_steps) / num_steps)
    parts = []
    for start in range(0, len(rows), size):
        some = np.resize(rows[start : start + size], size)
        law = dict(zip(("mean", "log_sd", "lower"), encoded(compiled, params, some, data), strict=True))
        begin = {k: to_device(v) for k, v in law.items() if v is not None}
        batch = {
            name: {k: to_device(v[0]) for k, v in value.items()}
            if isinstance(value, dict)
            else to_device(value[0])
            for name, value in compiled.batches(some[None], data).items()
        }
        state: Any = {
            name: {k: to_device(np.zeros(np.shape(v))) for k, v in begin.items()}
            for name in ("moved", "first", "second")
        }
        state["count"] = to_device(np.zeros(()))
        seeds = np.random.default_rng([seed, 73, start]).integers(0, 2**31, num_steps)
        given = {"seed": seeds, "rate": rate.astype(compiled.rows.small.dtype)}
        constants = {**compiled.constants, "params": params, "law": begin, "batch": batch}
        with compiled.rows.small.room():
            state, _ = compiled.ascent(state, given, constants)
        by = {
            k: np.asarray(v, np.float64) for k, v in compiled.rows.small.loops.to_host(state["moved"]).items()
        }
        parts.append(moved({k: v for k, v in law.items() if v is not None}, by))
    mean, log_sd, lower = ([one[i] for one in parts] for i in range(3))
    return (
        np.concatenate(mean)[: len(rows)],
        np.concatenate(log_sd)[: len(rows)],
        None if lower[0] is None else np.concatenate(lower)[: len(rows)],
    )


def bound_of(compiled: Compiled, params: Any, rows: np.ndarray, law: Any, seed: int, data=None):
    """Evidence lower bound of each row under a law of its own, and its standard error, shapes ``(R,)``."""
    size, bounds = compiled.rows.size, []
    constants = {**compiled.constants, "params": params}
    for start in range(0, len(rows), size):
        some = slice(start, start + size)
        mean, log_sd, lower = law
        own = mean[some], log_sd[some], None if lower is None else lower[some]
        rng = np.random.default_rng([seed, 74, start])
        z = placed(own, rng.standard_normal((GAP_DRAWS, *own[0].shape)))
        joint = log_joint(compiled, constants, rows[some], z, data)
        bounds.append(joint - log_prob(own, z))
    found = np.concatenate(bounds, axis=1)
    return found.mean(0), found.std(0) / np.sqrt(GAP_DRAWS)


def log_joint(
    compiled: Compiled, constants: Mapping[str, Any], rows: np.ndarray, z: np.ndarray, data
) -> np.ndarray:
    """Log joint density of rows at draws ``(K, R, u)`` of their coordinates, shape ``(K, R)``."""
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
        joint = np.asarray(found["joint"], np.float64).reshape(calls * ROW_EACH, size)
        out.append(joint[: len(z), : len(places)])
    return np.concatenate(out, axis=1)


def _joined(parts: list[Weighed]) -> Weighed:
    """Weighted draws of the rows of several batches."""
    if len(parts) == 1:
        return parts[0]
    laws = Proposals(
        *(np.concatenate([getattr(p.proposals, k) for p in parts]) for k in ("mean", "root", "wide"))
    )
    rows, z, log_weights, log_ratio = (
        np.concatenate([getattr(p, k) for p in parts]) for k in ("rows", "z", "log_weights", "log_ratio")
    )
    return Weighed(rows, z, log_weights, log_ratio, parts[0].from_guide, laws)


def _tempered(log_weights: np.ndarray, least: float) -> np.ndarray:
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


def _by_row(value: np.ndarray, count: int) -> np.ndarray:
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
    return float(beta.ppf(0.95, num_wrong + 1, total - num_wrong)) if num_wrong < total else 1.0
