"""From evidence to a verdict per quantity.

*trusted* promises that the mean is off by less than 0.15 posterior sd, the sd by less than 15%, and the 5%
and 95% quantiles by less than 0.25 sd, with the Monte Carlo error of each at most a quarter of that;
*caution* promises 0.5 sd and 50%.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..thresholds import (
    CAUTION,
    CHAIN_DRIFT,
    DRIFT_CAUTION,
    KHAT_LIMIT,
    KHAT_TRUSTED,
    LOCATION,
    LOCATION_CAUTION,
    MEAN,
    MIRRORED,
    MISSED_AT_DIVERGENCES,
    MONTE_CARLO_SHARE,
    MOVED,
    NO_SD,
    QUANTILE,
    RHAT,
    RHAT_CAUTION,
    SCALE,
    SCALE_CAUTION,
    SD,
    SHAPED,
    SHARED_TAILS,
    STRICTNESS,
    TAIL,
)
from .estimates import Estimates, estimate
from .law import Law
from .psis import tail_indices

ORDER = ("trusted", "caution", "untrusted")
POINT_ESTIMATE = "a point estimate has no spread"


@dataclass(frozen=True, eq=False)
class Verdicts:
    """Verdict and reason of Q quantities; None for constants.

    ``score`` is the largest piece of evidence against each, in units of what *trusted* allows; infinite where
    something condemns it.
    """

    verdict: list
    reason: list
    score: np.ndarray | None = None

    def at_most(self, limit: str, why: str, some: np.ndarray | None = None) -> Verdicts:
        """None, or none of `some`, better than a `limit`, and the reason of those that would be; constants stay."""
        some = np.ones(len(self.verdict), bool) if some is None else some
        better = [
            bool(own) and v is not None and ORDER.index(v) < ORDER.index(limit)
            for own, v in zip(some, self.verdict, strict=True)
        ]
        verdict = [limit if one else v for one, v in zip(better, self.verdict, strict=True)]
        reason = [why if one else words for one, words in zip(better, self.reason, strict=True)]
        return Verdicts(verdict, reason, self.score)


def worst(verdicts) -> str:
    """The worst of several verdicts; *untrusted* when there is none."""
    known = [v for v in verdicts if v is not None]
    return max(known, key=ORDER.index) if known else "untrusted"


NOISE, HEAVY = "Monte Carlo error", "its tails are too heavy for moments"
"""How a reason begins that more draws would mend, and one that no draws would."""
EARLIER = "of earlier rows"
"""How a reason begins that lies in what is carried on of earlier rows."""
SITES = "of the sites"
"""How a reason begins that lies in what sites have told of their rows."""


def monte_carlo(estimates: Estimates) -> np.ndarray:
    """Largest Monte Carlo error of each quantity, as a multiple of a quarter of its promise."""
    with np.errstate(divide="ignore", invalid="ignore"):
        sd = estimates.sd
        ratios = np.stack(
            [
                estimates.mean_se / sd / (MEAN / MONTE_CARLO_SHARE),
                estimates.sd_se / sd / (SD / MONTE_CARLO_SHARE),
                *(estimates.quantile_se[[0, 2]] / sd / (QUANTILE / MONTE_CARLO_SHARE)),
            ]
        )
    return np.nan_to_num(ratios.max(0), nan=np.inf, posinf=np.inf)


def largest_noise(values: np.ndarray, estimates: Estimates) -> float:
    """Largest of `monte_carlo` among the quantities with `values` ``(S, Q)`` that are no constants; 0 where all are."""
    return float(_moving(values, estimates).max(initial=0.0))


def noise_of(law: Law, values: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """`monte_carlo` of a law's quantities with `values` ``(S, Q)``, 0 for constants; see `Law.inefficiencies`."""
    return _moving(values, estimate(values, law.weights, law.inefficiencies(values, behind)))


def _moving(values: np.ndarray, estimates: Estimates) -> np.ndarray:
    moving = values.std(0) > 1e-12 * np.abs(values.mean(0))
    return np.where(moving, monte_carlo(estimates), 0.0)


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of Q quantities beside their estimates.

    Attributes
    ----------
    khat : float, numpy.ndarray of shape (Q,), or None
        k̂ of the weights, of all or of each quantity's own; None where the draws are a chain's.
    location, scale : numpy.ndarray, shape (Q,)
        Stein residuals along each quantity.
    drift : numpy.ndarray, shape (Q,)
        Change between the halves of the chains beyond its noise, in sds.
    moved : numpy.ndarray, shape (Q,)
        Autocorrelation times that every chain has moved; ``inf`` for independent draws.
    missed : numpy.ndarray, shape (Q,)
        How extreme the quantity is where transitions diverged, in sds.
    obstructed : numpy.ndarray, shape (Q,)
        One where something stands in the way of trust that no number measures, and `words` what.
    shape : numpy.ndarray, shape (Q,)
        Tail index: from `TAIL` on, moments are not established.
    squares : numpy.ndarray, shape (Q,)
        That of weights times squared deviations: from `KHAT_TRUSTED` on, the error of an sd is not known.
    objection : str or None
        A reason that holds for all.
    unequal : numpy.ndarray, shape (Q,)
        How far its law moves under a symmetry of the posterior, in sds; zero for the exact posterior.
    symmetry : list of str
        Which symmetry that is.
    rhat : numpy.ndarray, shape (Q,)
        R̂ of few long chains, or nested R̂ of many short ones, less one.
    """

    khat: float | np.ndarray | None
    location: np.ndarray
    scale: np.ndarray
    drift: np.ndarray
    moved: np.ndarray
    missed: np.ndarray
    obstructed: np.ndarray
    shape: np.ndarray
    squares: np.ndarray
    objection: str | None
    unequal: np.ndarray
    symmetry: list[str]
    rhat: np.ndarray
    words: str = ""


def judge(estimates: Estimates, evidence: Evidence) -> Verdicts:
    """Verdict and reason of each quantity."""
    noise = monte_carlo(estimates)
    count = len(estimates.mean)
    verdict: list[str | None] = []
    reason, score = [], np.full(count, np.inf)
    for j in range(count):
        sd, mean = estimates.sd[j], estimates.mean[j]
        if not np.isfinite(sd) or not np.isfinite(mean):
            v, r = "untrusted", "its draws are not finite"
        elif sd <= 1e-12 * max(abs(mean), 1e-300) and evidence.objection != POINT_ESTIMATE:
            v, r, score[j] = None, "constant", np.nan
        elif evidence.objection is not None:
            v, r = "untrusted", evidence.objection
        elif evidence.unequal[j] > MIRRORED:
            v, r = (
                "untrusted",
                f"symmetric under {evidence.symmetry[j]}: the draws show one of the equal modes",
            )
        else:
            v, r, score[j] = _grade(_pieces(evidence, noise, j))
        verdict.append(v)
        reason.append(r)
    return Verdicts(verdict, reason, score)


def _pieces(evidence: Evidence, noise: np.ndarray, j: int) -> list[tuple]:
    """Each piece of evidence on a quantity: its value, what *trusted* and *caution* allow of it, and what it says."""
    e = evidence
    return [
        (
            e.khat[j] if isinstance(e.khat, np.ndarray) else e.khat,
            KHAT_TRUSTED,
            KHAT_LIMIT,
            "importance weights are heavy-tailed (k̂ {:.2f})",
        ),
        (e.location[j], LOCATION, LOCATION_CAUTION, "a shift of {:.2f} sd is not excluded (Stein residual)"),
        (
            e.scale[j],
            SCALE,
            SCALE_CAUTION,
            "an error of {:.2f} in its variance is not excluded (Stein residual)",
        ),
        (e.shape[j], TAIL, NO_SD, f"{HEAVY} (tail k̂ {{:.2f}})"),
        (
            e.squares[j],
            KHAT_TRUSTED,
            KHAT_LIMIT,
            "the weights do not reach its tails (k̂ of weighted squares {:.2f})",
        ),
        (
            e.drift[j],
            CHAIN_DRIFT,
            DRIFT_CAUTION,
            "the chains drift or disagree with the importance weights, by {:.2f} sd",
        ),
        (
            1 / max(e.moved[j], 1e-9),
            1 / MOVED,
            CAUTION,
            "the chains have not moved enough ({:.2f} of their length)",
        ),
        (e.rhat[j], RHAT - 1, RHAT_CAUTION, "the chains disagree (R̂ − 1 is {:.3f})"),
        (e.missed[j], MISSED_AT_DIVERGENCES, np.inf, "chains diverged where it is {:.1f} sds away"),
        (e.obstructed[j], 0.5, np.inf, e.words),
        (noise[j], 1.0, MONTE_CARLO_SHARE, f"{NOISE} is {{:.1f}} times what the promise allows"),
    ]


def _grade(tests) -> tuple[str, str, float]:
    found, score = ("trusted", "all evidence within its limits"), 0.0
    for value, trusted, caution, words in tests:
        if value is None:
            continue
        score = max(score, value / trusted)
        if value < trusted * STRICTNESS:
            continue
        v = "caution" if value < caution else "untrusted"
        if ORDER.index(v) > ORDER.index(found[0]):
            found = (v, words.format(value))
    return (*found, score)


def tail_shapes(values: np.ndarray, weights: np.ndarray | None = None, rng=None) -> np.ndarray:
    """Tail index of each quantity from (weighted) draws, the worse of its two tails."""
    chosen: Any = slice(None)
    if weights is not None:
        chosen = np.unique(rng.choice(len(values), min(len(values), 20_000), p=weights))
    found = []
    for start in range(0, values.shape[1], SHAPED):
        own = np.ascontiguousarray(values[chosen, start : start + SHAPED].T)
        deviation = own - np.median(own, axis=1, keepdims=True)
        found.append(np.maximum(tail_indices(deviation), tail_indices(-deviation)))
    return np.concatenate([np.zeros(0), *found])


def weighted_squares(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Tail index of the weights times the squared deviations of each quantity, at most the median of the quantities.

    Weights may be even over all that a guide draws, where its tails end before the posterior's do. Their products with
    what an sd averages then have no finite variance (Vehtari et al. 2024, section 2.4), for most quantities alike; a
    single one among others is judged by `tail_shapes`.
    """

    def index(some):
        return tail_indices(weights * (values[:, some] - weights @ values[:, some]).T ** 2)

    count = values.shape[1]
    found = index(np.unique(np.linspace(0, count - 1, min(count, SHARED_TAILS)).astype(int)))
    shared = float(np.median(found[np.isfinite(found)])) if np.isfinite(found).any() else 0.0
    if shared < KHAT_TRUSTED:
        return np.full(count, shared)
    return np.minimum(shared, index(slice(None)))
