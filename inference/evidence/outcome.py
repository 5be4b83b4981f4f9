"""What a climb finds, and how its quantities are judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .chains import inefficiency
from .estimates import estimate
from .finding import Finding
from .mixing import BFMI, effective_sizes, energy_information, nested_rhat, split_rhat
from .pool import Pool
from .stein import MarginalStein, Stein, directions
from .symmetry import Symmetry
from .verdicts import KHAT_TRUSTED, POINT_ESTIMATE, Evidence, judge, tail_shapes
from .frame import Dense, Sparse
from .mixture import LocalStein
from ..run.trail import Rung

DIVERGENT = 0.002  # share of transitions from which on the chains are not trusted
FEW = 32  # chains below which each is long
FEWEST_SHOWN, MOST_SHOWN = 4, 16  # superchains that many short chains are shown as
SEARCHED = 5  # dimensions up to which, where there are several modes, none much narrower is missed


@dataclass
class Law:
    """Where draws come from: weighted independent draws, or chains.

    Attributes
    ----------
    kind : {"guide", "psis", "mcmc"}
    z : numpy.ndarray, shape (S, dim)
    weights : numpy.ndarray or None
    num_chains : int
        Chains in `z`, chain-major; 0 for independent draws.
    held : float
        Autocorrelation times that the chains have moved along the direction that holds them most.
    stats : dict of numpy.ndarray, shape (num_chains, T)
        What NUTS says of each transition.
    superchains : int
        Groups of many chains, next to each other, that began at one point each; 0 for chains without groups.
    """

    kind: str
    z: np.ndarray
    weights: np.ndarray | None = None
    num_chains: int = 0
    divergent: float = 0.0
    divergent_z: np.ndarray | None = None
    held: float = np.inf
    stats: dict[str, np.ndarray] | None = None
    superchains: int = 0

    @property
    def long(self) -> bool:
        """Whether the chains are few and long."""
        return 0 < self.num_chains < FEW

    def inflation(self, values: np.ndarray):
        """Draws per effective draw of each column."""
        if not self.num_chains:
            return 1.0
        chains = values.reshape(self.num_chains, -1, values.shape[1])
        if self.long:
            return len(values) / np.minimum(*effective_sizes(chains))
        return inefficiency(chains)

    def rhat(self, values: np.ndarray) -> np.ndarray:
        """R̂ of each column, nested for superchains; 1 where the spread of many short chains is in `inflation` already."""
        chains = values.reshape(self.num_chains or 1, -1, values.shape[1])
        if self.superchains:
            return nested_rhat(chains, self.superchains)
        return split_rhat(chains) if self.long else np.ones(values.shape[1])

    def drift(self, values: np.ndarray, inflation) -> np.ndarray:
        """Change of mean, spread and 5% tails between the halves of the chains, beyond its noise, in sds."""
        if not self.num_chains:
            return np.zeros(values.shape[1])
        half = len(values) // self.num_chains // 2
        chains = values.reshape(self.num_chains, -1, values.shape[1])
        sd = np.where(values.std(0) > 0, values.std(0), 1.0)
        first, second = (
            chains[:, part].reshape(-1, values.shape[1]) for part in (slice(half), slice(half, None))
        )
        noise = 4.0 * np.sqrt(inflation / len(values))  # two standard errors of a difference
        shift = np.abs(first.mean(0) - second.mean(0)) / sd - noise
        spread = 0.5 * np.abs(first.std(0) - second.std(0)) / sd - noise
        edges = np.quantile(first, [0.05, 0.95], axis=0) - np.quantile(second, [0.05, 0.95], axis=0)
        tails = 0.6 * np.abs(edges).max(0) / sd - 2.0 * noise
        return np.maximum.reduce([shift, spread, tails, np.zeros_like(shift)])

    def resample(self, num_draws: int, rng) -> np.ndarray:
        """Indices of draws that have this law, each of equal weight, in random order; of NUTS's chains in theirs."""
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


@dataclass
class Outcome:
    """What the climb found."""

    guide: object
    params: dict
    law: Law
    khat: float
    elbo: tuple[float, float]
    stein: Stein | MarginalStein | LocalStein | None
    frame: Dense | Sparse
    pool: Pool | None
    condemned: str | None
    elbo_trace: list
    rungs: list[Rung] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    symmetries: list[Symmetry] = field(default_factory=list)
    twins: tuple[np.ndarray, list[np.ndarray]] = (np.zeros(0, int), [])
    response: tuple[np.ndarray, np.ndarray] | None = None
    steps: dict[str, np.ndarray] = field(default_factory=dict)
    guide_errors: tuple[np.ndarray, np.ndarray] | None = None
    without: bool = False

    @property
    def sd(self) -> np.ndarray:
        """Sd of each coordinate: the guide's, or linear response's where it was asked for."""
        out = np.sqrt(self.frame.factor.variances())
        if self.response is not None:
            out[self.response[0]] = self.response[1]
        return out

    def mirrored(self, quantities: Callable[[np.ndarray], np.ndarray], values: np.ndarray) -> np.ndarray:
        """How far each quantity's law moves under the symmetries, beyond its noise: ``(symmetry, quantity)``.

        Parameters
        ----------
        quantities : callable
            ``quantities(z) -> values`` of shapes ``(S, dim)`` and ``(S, Q)``.
        values : numpy.ndarray
            ``quantities(law.z)``.
        """
        rows, images = self.twins
        if not images:
            return np.zeros((0, 1))
        inflation = self.law.inflation(values)
        return np.stack([moved(values[rows], quantities(image), inflation) for image in images])


def moved(before: np.ndarray, after: np.ndarray, inflation) -> np.ndarray:
    """Change of mean, spread and 5% tails of each column, beyond its noise, in sds."""
    sd = before.std(0)
    sd = np.where(sd > 0, sd, 1.0)
    noise = 5.0 * np.sqrt(np.asarray(inflation) / len(before))
    shift = np.abs(after.mean(0) - before.mean(0)) / sd - noise
    kurtosis = np.maximum(*((((x - x.mean(0)) / sd) ** 4).mean(0) for x in (before, after)))
    spread = np.abs(after.std(0) - before.std(0)) / sd - noise * np.sqrt(np.maximum(kurtosis - 1, 2) / 2)
    edges = np.quantile(before, [0.05, 0.95], axis=0) - np.quantile(after, [0.05, 0.95], axis=0)
    return np.maximum(0.0, np.maximum.reduce([shift, spread, 0.6 * np.abs(edges).max(0) / sd - 2 * noise]))


def quantity_values(target, z) -> tuple[np.ndarray, list]:
    """Values of every scalar quantity at unconstrained draws.

    Returns
    -------
    tuple
        Array ``(S, Q)`` and a list of ``(site name, shape)`` in column order.
    """
    constrained = target.constrain(z)
    layout, columns = [], []
    for site in target.trace.by_role("latent", "deterministic"):
        value = constrained[site.name]
        if value.dtype.kind not in "fiub":
            continue
        layout.append((site.name, value.shape[1:]))
        columns.append(value.reshape(len(z), -1).astype(np.float64))
    return np.concatenate(columns, 1) if columns else np.zeros((len(z), 0)), layout


def verdicts_of(
    outcome: Outcome, values: np.ndarray, rng, at_divergences=None, at_pool=None, mirrored=None, known=None
):
    """Estimates and verdicts of quantities given their values at the law's draws.

    Parameters
    ----------
    outcome : Outcome
    values : numpy.ndarray, shape (S, Q)
    at_divergences : numpy.ndarray, shape (K, Q), optional
        Their values where transitions diverged: a quantity that is extreme there is not established.
    at_pool : numpy.ndarray, shape (S', Q), optional
        Their values at the importance pool: where its weights are usable, chains must agree with them.
    mirrored : numpy.ndarray, shape (symmetries, Q), optional
        How far their laws move under the posterior's symmetries, see `Outcome.mirrored`.
    known : Coordinates, optional
        Which quantities are coordinates of the guide; what a guide of many dimensions is judged by.

    Returns
    -------
    tuple of Estimates and Verdicts
    """
    law = outcome.law
    inflation = law.inflation(values)
    found = estimate(values, law.weights, inflation)
    count = values.shape[1]
    zero = np.zeros(count)
    location, scale, moved, missed, alone = zero, zero, np.full(count, np.inf), zero, zero
    obstacle: dict[str, str] = {}
    khat = outcome.khat if law.kind != "mcmc" else None
    if law.num_chains:
        moved = len(law.z) / law.num_chains / np.broadcast_to(inflation, (count,))
        live = found.sd > 1e-12 * np.abs(found.mean)
        if law.held < 3 or (
            live.any() and moved[live].min() < 3
        ):  # one direction that hardly moves may hold the others
            moved = np.minimum(moved, 9.0)
        if law.held <= 0:
            moved = np.zeros(count)
        if law.stats is not None and "energy" in law.stats and energy_information(law.stats["energy"]) < BFMI:
            alone, obstacle = (
                np.ones(count),
                {"words": "the chains move slowly between levels of energy (E-BFMI)"},
            )
        elif law.num_chains == 1:
            alone, obstacle = np.ones(count), {"words": "one chain cannot show whether others would agree"}
        if law.divergent > DIVERGENT:
            missed = np.ones(count)
            if at_divergences is not None and law.divergent < 10 * DIVERGENT:
                missed = np.abs(at_divergences.mean(0) - found.mean) / np.where(found.sd > 0, found.sd, 1.0)
    elif isinstance(outcome.stein, LocalStein):
        location, scale = outcome.stein.of(values)
        if outcome.guide.dim > SEARCHED:
            alone, obstacle = (
                np.ones(count),
                {"words": "several modes were found, and others may have been missed"},
            )
    elif isinstance(outcome.stein, MarginalStein):
        location, scale = outcome.stein.of(known, count)
        if law.weights is None:
            khat, alone = None, np.ones(count)
            found = found if known is None else known.exactly(found)
    elif outcome.stein is not None:
        bent = outcome.stein.x is not None
        x = outcome.stein.x if bent else outcome.frame.coordinates(law.z)
        weights = law.weights if law.weights is not None else np.full(len(x), 1 / len(x))
        location, scale = outcome.stein.along(directions(x, values, weights))
        if bent:  # no quantity is linear in the coordinates: each may vary with all of them
            location, scale = map(np.maximum, (location, scale), outcome.stein.worst)
    with np.errstate(all="ignore"):
        shape = tail_shapes(values, law.weights, rng)
    condemned = outcome.condemned
    if outcome.guide.family.name == "delta" and law.kind == "guide":
        condemned = POINT_ESTIMATE
    drift = law.drift(values, inflation)
    if at_pool is not None and law.num_chains and outcome.khat < KHAT_TRUSTED:
        weighed = estimate(at_pool, outcome.pool.weights)
        error = np.hypot(weighed.mean_se, found.mean_se)
        with np.errstate(divide="ignore", invalid="ignore"):
            gap = (np.abs(weighed.mean - found.mean) - 4 * error) / found.sd
            noise = np.hypot(weighed.sd_se, found.sd_se)
            spread = 0.5 * (np.abs(weighed.sd - found.sd) - 4 * noise) / found.sd
        drift = np.maximum(drift, np.nan_to_num(np.maximum(gap, spread), nan=0.0))
    unequal, words = zero, [""] * count
    if mirrored is not None and len(mirrored):
        unequal = mirrored.max(0)
        words = [outcome.symmetries[k].words for k in mirrored.argmax(0)]
    evidence = Evidence(
        khat,
        location,
        scale,
        drift,
        moved,
        missed,
        alone,
        shape,
        condemned,
        unequal,
        words,
        law.rhat(values) - 1,
        **obstacle,
    )
    return found, judge(found, evidence)
