"""Rows that were corrupted after they were made, by noise of a known kind: what they were before.

The coordinates z of such a row have the likelihood p(noisy | z) = prod_j E[noise(noisy_j | x_j) | z], which normal and binary
outcomes have in closed form; the entry before the noise has a known law given z and what came of it.

References
----------
Vincent et al. (2008), Extracting and composing robust features with denoising autoencoders, ICML, on the task. Cappé et al. (2004),
Population Monte Carlo, Journal of Computational and Graphical Statistics 13, on the draws.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import logsumexp

from ...guides.laws import gaussian, moments
from ...ppl import math as m
from ...ppl.errors import UnsupportedError, explain
from ..thresholds import (
    DENOISING_APART,
    DENOISING_ROUNDS,
    GAP_ROWS,
    LEAST_EFFECTIVE,
    ROW_DRAWS,
    ROW_EACH,
    ROW_KEPT,
)
from .compiled import Compiled
from .evidence import Gaussians, Proposals, Weighed, by_row, laws_of, tempered
from .judged import verdicts_of_rows
from .noise import WHERE, Noise
from .rows import gathered


@dataclass(frozen=True, eq=False)
class Denoising:
    """Noisy rows of a posterior with an encoder.

    Attributes
    ----------
    compiled : Compiled
        Functions of the rows.
    params : mapping
        The learned arrays.
    data : mapping
        Of the noisy rows.
    noise : mapping
        `Noise` by outcome.
    seed : int
    best : str
        The best verdict that a row can have.
    """

    compiled: Compiled
    params: Mapping[str, Any]
    data: Mapping[str, np.ndarray]
    noise: Mapping[str, Noise]
    seed: int
    best: str

    def cleaned(self, count: int, num_draws: int) -> tuple[np.ndarray, dict[tuple[str, str], np.ndarray]]:
        """Verdicts of rows, and what their entries were, by outcome and suffix, from `num_draws` draws of each row.

        Raises
        ------
        UnsupportedError
            If entries of an outcome depend on each other given the coordinates.
        """
        rng, verdicts = np.random.default_rng([self.seed, 78]), []
        parts: defaultdict[tuple[str, str], list] = defaultdict(list)
        for some in self.weighed(count):
            verdicts.append(verdicts_of_rows(some.estimates(some.z), some.khat, self.best))
            found = self._found("moments", some.rows, some.resampled(num_draws, rng))
            for name, noise in self.noise.items():
                noisy, level = self.data[noise.argument][some.rows, None], noise.level[some.rows, None]
                mean, variance = noise.before(
                    noisy, level, found[f"mean of {name}"], found[f"variance of {name}"]
                )
                for suffix, value in noise.summary(mean, variance, rng).items():
                    parts[name, suffix].append(value)
        return np.concatenate(verdicts), {key: np.concatenate(values) for key, values in parts.items()}

    # -- coordinates ------------------------------------------------------------------------------------

    def weighed(self, count: int) -> Iterator[Weighed]:
        """Weighted draws of the coordinates of rows given what is left of them, some rows at a time: from the encoder's law, from
        one over the laws of all fitted rows, as the encoder may never have seen such noise, and then by moments."""
        size, wide = self.compiled.rows.size, self._wide
        for start in range(0, count, size):
            rows = np.arange(start, min(start + size, count))
            rng = np.random.default_rng([self.seed, 77, start])
            law = laws_of(self.compiled, self.params, rows, self.seed, self.data)
            own = Gaussians(*gaussian(law))
            if not start:
                self._check_apart(rows, own, rng)
            over = Gaussians(*(np.broadcast_to(value, (len(rows), *value.shape)) for value in wide))
            some = self._drawn(rows, (own, over), (0.5, 0.5), Proposals(law, 1.0), rng)
            for _ in range(DENOISING_ROUNDS):
                short = some.short(ROW_DRAWS / 2)
                if not short.any():
                    break
                some = self._nearer(some, np.flatnonzero(short), (own, over), rng)
            yield some

    @cached_property
    def _wide(self) -> tuple[np.ndarray, np.ndarray]:
        """The Gaussian over the laws of the fitted rows, or of some of them."""
        total = self.compiled.rows.total
        rows = np.unique(np.linspace(0, total - 1, min(GAP_ROWS, total)).astype(int))
        mean, sd = moments(laws_of(self.compiled, self.params, rows, self.seed, self.compiled.rows.data))
        return mean.mean(0), np.diag(np.sqrt(mean.var(0) + (sd**2).mean(0)))

    def _drawn(
        self,
        rows: np.ndarray,
        laws: tuple[Gaussians, ...],
        shares: tuple[float, ...],
        begun: Proposals,
        rng: np.random.Generator,
    ) -> Weighed:
        """Weighted draws of rows, a share of them from each of some laws."""
        z = np.concatenate(
            [law.sample(round(share * ROW_DRAWS), rng) for law, share in zip(laws, shares, strict=True)], 1
        )
        log_q = logsumexp(
            [np.log(share) + law.log_prob(z) for law, share in zip(laws, shares, strict=True)], axis=0
        )
        joint = self._found("log_prob", rows, z)["noisy"]
        log_weights = np.where(np.isfinite(joint), joint - log_q, -np.inf)
        return Weighed(rows, z, log_weights, log_q, log_weights, np.ones(z.shape[1], bool), begun)

    def _nearer(
        self, some: Weighed, at: np.ndarray, first: tuple[Gaussians, ...], rng: np.random.Generator
    ) -> Weighed:
        """With draws by the moments of the weighted ones for some of the rows, where these are better; a share is of the first laws
        still, so that a mode that those met is not lost."""
        weights = tempered(some.log_weights[at], max(LEAST_EFFECTIVE, 8 * some.z.shape[2]))
        laws = (
            Gaussians.matched(some.z[at], weights),
            *(Gaussians(one.mean[at], one.root[at]) for one in first),
        )
        shares = (1 - ROW_KEPT, ROW_KEPT / 2, ROW_KEPT / 2)
        new = self._drawn(some.rows[at], laws, shares, some.proposals, rng)
        made, _ = some.bettered(at, new)
        return replace(made, log_ratio=made.log_weights)

    def _check_apart(self, rows: np.ndarray, law: Gaussians, rng: np.random.Generator) -> None:
        """Refuse outcomes whose density is not that of their entries, one by one."""
        z = law.sample(ROW_EACH, rng)
        one, other = (self._found("log_prob", rows, z, off)["rest"] for off in (0.0, 1.0))
        wrong = np.abs(one - other) > DENOISING_APART * (1 + np.abs(one))
        if (wrong & np.isfinite(one) & np.isfinite(other)).any():
            got = "a density that is not the product of those of its entries, as of a decoder that sees them or a scaled one"
            where = f"{WHERE} of {sorted(self.noise)}"
            remedy = (
                "name an outcome of independent entries, or use latent.impute with NaN where entries are lost"
            )
            raise UnsupportedError(
                explain(where, "entries that are independent given a row's coordinates", got, remedy)
            )

    # -- what the target computes -----------------------------------------------------------------------

    def _found(self, name: str, rows: np.ndarray, z: np.ndarray, off: float = 0.0) -> dict[str, np.ndarray]:
        """What a compiled function finds at draws ``(R, K, u)`` of rows, shapes ``(R, K, ...)``."""
        own = self.compiled.rows
        size, calls = own.size, -(-z.shape[1] // ROW_EACH)
        whole, parts = np.resize(np.arange(z.shape[1]), calls * ROW_EACH), []
        for start in range(0, len(rows), size):
            places = np.arange(start, min(start + size, len(rows)))
            padded = np.resize(places, size)
            at = np.moveaxis(z[padded][:, whole], 0, 1).reshape(calls, ROW_EACH, size, -1)
            brought, given = self.compiled.repeated(rows[padded], calls, self.data)
            level = {k: own.small.to_device(n.level[rows[padded]]) for k, n in self.noise.items()}
            held = {**self.compiled.constants, **brought, "params": self.params, "level": level}
            held["off"] = own.small.to_device(np.asarray(off))
            inputs = {"seed": np.zeros(calls, np.int64), "z": at.astype(own.small.dtype), **given}
            with own.small.room():
                _, found = self._functions[name]({}, inputs, held)
            parts.append(
                {k: by_row(np.asarray(v, np.float64), len(places))[:, : z.shape[1]] for k, v in found.items()}
            )
        return {key: np.concatenate([one[key] for one in parts]) for key in parts[0]}

    @cached_property
    def _functions(self) -> dict[str, Any]:
        """``fn({}, inputs, constants)`` of draws ``(K, n, u)`` a block."""
        rows = self.compiled.rows

        def looped(of):
            def step(state, given, constants):
                data = {**constants["fixed"], **gathered(constants["held"], rows.along, given["rows"])}
                shared = m.zeros((np.shape(given["z"])[0], rows.num_shared))
                if rows.num_shared:
                    shared = shared + constants["params"]["guide"]["mean"]
                whole = rows.joined(given["z"], shared)
                return state, rows.small.loops.mapped(lambda one: of(one, data, constants))(whole)

            return rows.small.loops.loop(step, rows.small.dtype, rows.small.density.clock, (1,))

        return {"moments": looped(self._moments), "log_prob": looped(self._log_prob)}

    def _moments(self, z: Any, data: Mapping[str, Any], constants: Mapping[str, Any]) -> dict[str, Any]:
        """Mean and variance of each entry at one draw."""
        density, weights, out = self.compiled.rows.small.density, constants["params"]["weights"], {}
        for which, found in (
            ("mean", density.means(z, data, weights)),
            ("variance", density.variances(z, data, weights)),
        ):
            for name, noise in self.noise.items():
                out[f"{which} of {name}"] = m.broadcast_to(found[name], np.shape(data[noise.argument]))
        return out

    def _log_prob(self, z: Any, data: Mapping[str, Any], constants: Mapping[str, Any]) -> dict[str, Any]:
        """At one draw, ``noisy``, the log density of coordinates and noisy rows, and ``rest``, all of it but the corrupted entries.

        The latter is taken where each entry is likely, so that nothing is the difference of two large numbers.
        """
        rows, weights = self.compiled.rows, constants["params"]["weights"]
        found, other, clean, noisy = self._moments(z, data, constants), dict(data), 0.0, 0.0
        for name, noise in self.noise.items():
            x, mean, variance = data[noise.argument], found[f"mean of {name}"], found[f"variance of {name}"]
            lost, x = m.isnan(x), m.like(x, mean)
            likely = noise.moved(mean, variance, constants["off"])
            other[noise.argument] = m.where(lost, x, likely)
            clean = clean + _by_row_of(lost, noise.log_clean(likely, mean, variance))
            noisy = noisy + _by_row_of(
                lost, noise.log_noisy(m.where(lost, mean, x), mean, variance, constants["level"][name])
            )
        terms = rows.small.density.by_row(z, other, weights, rows.plate)
        prior = sum(m.sum(value, axis=-1) for value in terms["prior"].values())
        rest = terms["likelihood"] + terms["other"] + prior - clean
        return {"noisy": rest + noisy, "rest": rest}


def _by_row_of(lost: Any, value: Any) -> Any:
    """Sum of what there is of each row."""
    value = m.where(lost, 0.0, value)
    return m.sum(m.reshape(value, (np.shape(value)[0], -1)), axis=1)
