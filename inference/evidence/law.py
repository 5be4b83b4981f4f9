"""Where draws come from: weighted independent draws, or chains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..thresholds import (
    COLUMNS,
    FEW_CHAINS,
    FEW_OF_DRAWS,
    FEWEST_SHOWN,
    LEAST_INEFFICIENT,
    MOST_SHOWN,
    PROBABILITIES,
    STRATA,
)
from .chains import inefficiency
from .mixing import effective_sizes, nested_rhat, split_rhat


@dataclass(frozen=True, eq=False)
class Law:
    """Where draws come from: weighted independent draws, or chains.

    Attributes
    ----------
    kind : {"guide", "psis", "mcmc"}
    z : numpy.ndarray, shape (S, dim)
    weights : numpy.ndarray or None
    num_chains : int
        Chains in `z`, chain-major; 0 for independent draws.
    slowest : float
        Autocorrelation times that the chains have moved along their slowest direction.
    stats : dict of numpy.ndarray, shape (num_chains, T)
        What the sampler says of each transition.
    superchains : int
        Groups of many chains, next to each other, that began at one point each; 0 for chains without groups.
    repeats : int
        Weighted draws, next to each other, that share what their weight is of.
    basis : numpy.ndarray, shape (S / repeats, C), optional
        Orthonormal functions of what is shared, under which the weights are calibrated: no noise along them is left.
    parts : numpy.ndarray of numpy.uint8, shape (S, dim), optional
        In which of `STRATA` parts of a coordinate's law each draw lies, where the draws are even among them; `STRATA` for none.
    """

    kind: str
    z: np.ndarray
    weights: np.ndarray | None = None
    num_chains: int = 0
    divergent: float = 0.0
    divergent_z: np.ndarray | None = None
    slowest: float = np.inf
    stats: dict[str, np.ndarray] | None = None
    superchains: int = 0
    repeats: int = 1
    basis: np.ndarray | None = None
    parts: np.ndarray | None = None

    @property
    def long(self) -> bool:
        """Whether the chains are few and long."""
        return 0 < self.num_chains < FEW_CHAINS

    def inefficiency(self, values: np.ndarray):
        """Draws per effective draw of each column, beyond what the weights say."""
        if not self.num_chains:
            independent = self.repeats == 1 and self.basis is None
            return 1.0 if independent else self._clustered(values).max(0)
        chains = values.reshape(self.num_chains, -1, values.shape[1])
        if self.long:
            return len(values) / np.minimum(*effective_sizes(chains))
        return inefficiency(chains)

    def inefficiencies(self, values: np.ndarray, behind: np.ndarray | None = None) -> np.ndarray:
        """`inefficiency` for means, sds, and lower and upper quantiles, shape ``(4, Q)``.

        `behind` says which coordinate ``(Q,)`` each quantity is a function of, beside others; -1 where of no one.
        """
        if not self.num_chains and (self.repeats > 1 or self.basis is not None):
            return self._clustered(values, behind)
        return np.broadcast_to(self.inefficiency(values), (4, values.shape[1]))

    def _clustered(self, values: np.ndarray, behind: np.ndarray | None = None) -> np.ndarray:
        """Variance of sums over draws that share something, by that of as many independent ones, shape ``(4, Q)``."""
        assert self.weights is not None
        weights, repeats = self.weights, self.repeats
        some = values[:: max(1, len(values) // FEW_OF_DRAWS)]
        edges = np.quantile(some, [PROBABILITIES[0], PROBABILITIES[-1]], axis=0)[:, :, None]
        found = np.empty((4, values.shape[1]))
        for start in range(0, values.shape[1], COLUMNS):
            block = slice(start, start + COLUMNS)
            x = np.ascontiguousarray(values[:, block].T)
            own = None if behind is None or self.parts is None else _parts(self.parts, behind[block])
            centred = x - (x @ weights)[:, None]
            for i, part in enumerate((centred, centred**2, *(1.0 * (x < edge[block]) for edge in edges))):
                part = part - (part @ weights)[:, None]
                left = weights * part
                if own is not None:
                    left = left - _even(part, weights, own) / len(weights)
                together = left.reshape(-1, repeats) @ np.ones(repeats)
                together = together.reshape(len(x), -1)
                left = (together**2).sum(1)
                if own is not None:
                    left *= np.where((own < STRATA).any(1), len(weights) / (len(weights) - STRATA), 1.0)
                if self.basis is not None:
                    count, controls = self.basis.shape
                    left = (left - ((together @ self.basis) ** 2).sum(1)) * count / (count - controls)
                with np.errstate(divide="ignore", invalid="ignore"):
                    found[i, block] = np.nan_to_num(left / (weights**2 @ part.T**2), nan=1.0)
        return np.maximum(found, 1.0 if self.basis is None else LEAST_INEFFICIENT)

    def rhat(self, values: np.ndarray) -> np.ndarray:
        """R̂ of each column, nested for superchains; 1 where the spread of many short chains is in `inefficiency` already."""
        chains = values.reshape(self.num_chains or 1, -1, values.shape[1])
        if self.superchains:
            return nested_rhat(chains, self.superchains)
        return split_rhat(chains) if self.long else np.ones(values.shape[1])

    def drift(self, values: np.ndarray, inefficiency) -> np.ndarray:
        """Change of mean, spread and 5% tails between the halves of the chains, beyond its noise, in sds."""
        if not self.num_chains:
            return np.zeros(values.shape[1])
        half = len(values) // self.num_chains // 2
        chains = values.reshape(self.num_chains, -1, values.shape[1])
        sd = np.where(values.std(0) > 0, values.std(0), 1.0)
        first, second = (
            chains[:, part].reshape(-1, values.shape[1]) for part in (slice(half), slice(half, None))
        )
        noise = 4.0 * np.sqrt(inefficiency / len(values))  # two standard errors of a difference
        shift = np.abs(first.mean(0) - second.mean(0)) / sd - noise
        spread = 0.5 * np.abs(first.std(0) - second.std(0)) / sd - noise
        edges = np.quantile(first, [0.05, 0.95], axis=0) - np.quantile(second, [0.05, 0.95], axis=0)
        tails = 0.6 * np.abs(edges).max(0) / sd - 2.0 * noise
        return np.maximum.reduce([shift, spread, tails, np.zeros_like(shift)])

    def resample(self, num_draws: int, rng) -> np.ndarray:
        """Indices of draws that have this law, each of equal weight, in random order; of long or grouped chains in theirs."""
        count = len(self.z)
        if self.long or self.superchains:  # chain by chain, in their order
            each = count // self.num_chains
            rows = np.linspace(0, each - 1, min(each, -(-num_draws // self.num_chains))).astype(int)
            return (np.arange(self.num_chains)[:, None] * each + rows).ravel()
        if self.weights is None:
            if num_draws <= count:
                return rng.permutation(np.linspace(0, count - 1, num_draws).astype(int))
            return rng.choice(count, num_draws)
        order = rng.permutation(count)
        position = (rng.uniform() + np.arange(num_draws)) / num_draws
        chosen = order[np.minimum(np.searchsorted(np.cumsum(self.weights[order]), position), count - 1)]
        return rng.permutation(chosen)

    def shown(self, num_draws: int, rng) -> tuple[np.ndarray, int]:
        """Indices of draws to keep, and the chains that they are shown as, chain by chain; 1 where there are none.

        Many short chains are put together in superchains: their R̂ tells of chains that stayed where they began.
        """
        if self.long or self.superchains or not self.num_chains:
            return self.resample(num_draws, rng), self.num_chains or 1
        sizes = [k for k in range(FEWEST_SHOWN, MOST_SHOWN + 1) if self.num_chains % k == 0] or [1]
        chains = max([k for k in sizes if num_draws % k == 0] or sizes)
        each, wanted = len(self.z) // chains, -(-num_draws // chains)
        rows = np.linspace(0, each - 1, wanted).astype(int)
        return (np.arange(chains)[:, None] * each + rows).ravel(), chains

    def rhat_shown(self, values: np.ndarray) -> np.ndarray | None:
        """R̂ of each column over the chains that are there, nested for short ones; None for independent draws."""
        if not self.num_chains:
            return None
        if self.long or self.superchains:
            return self.rhat(values)
        sizes = [k for k in range(2, MOST_SHOWN + 1) if self.num_chains % k == 0 and self.num_chains > k]
        chains = values.reshape(self.num_chains, -1, values.shape[1])
        return nested_rhat(chains, max(sizes)) if sizes else split_rhat(chains)


def _parts(parts: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """Those of some coordinates, shape ``(n, S)``; `STRATA` for -1, which is none."""
    return np.where(behind[:, None] < 0, np.uint8(STRATA), parts.T[behind])


def _even(values: np.ndarray, weights: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """What rows of values ``(n, S)`` are on average where their draws are of the same part, of which all have as many."""
    rows = np.arange(len(values))[:, None]
    cell = (parts + (STRATA + 1) * rows).ravel()
    size = len(values) * (STRATA + 1)
    total = np.bincount(cell, np.broadcast_to(weights, values.shape).ravel(), size)
    mean = np.bincount(cell, (weights * values).ravel(), size) / np.maximum(total, np.finfo(float).tiny)
    return mean[cell].reshape(values.shape)
