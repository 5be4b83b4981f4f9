"""``er.ab``: which of two versions loses less, as a posterior of the difference.

References
----------
Rubin (1981), The Bayesian bootstrap, Annals of Statistics 9.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...inference.evidence.finding import Finding
from ...ppl.errors import InferenceError, explain
from ..asked import check_seed
from ..thresholds import AB_BLOCK, AB_DRAWS, AB_FEWEST, AB_SURE

NAME = "difference of versions"


@dataclass(frozen=True)
class Compared:
    """The posterior of two mean losses.

    Attributes
    ----------
    first, second : numpy.ndarray, shape (draws,)
        Draws of the mean loss of either.
    num : tuple of int
        Requests of either.
    """

    first: np.ndarray
    second: np.ndarray
    num: tuple[int, int]

    @property
    def difference(self) -> np.ndarray:
        """Draws of what the second loses more, shape ``(draws,)``."""
        return self.second - self.first

    @property
    def probability(self) -> float:
        """That the second loses less."""
        return float((self.difference < 0).mean())

    @property
    def regret(self) -> tuple[float, float]:
        """What is lost on average by keeping the first, and by taking the second, where the other is the better one."""
        return float(np.maximum(-self.difference, 0).mean()), float(np.maximum(self.difference, 0).mean())

    def interval(self, prob: float = 0.9) -> tuple[float, float]:
        """Central interval of the difference."""
        low, high = np.quantile(self.difference, [(1 - prob) / 2, (1 + prob) / 2])
        return float(low), float(high)

    @property
    def finding(self) -> Finding:
        """What it says, in words."""
        sure = max(self.probability, 1 - self.probability)
        low, high = self.interval()
        words = (
            f"The second loses {self.difference.mean():.4g} more than the first, 90% interval {low:.4g} to {high:.4g}, by {self.num[0]} and "
            f"{self.num[1]} requests: less with probability {self.probability:.3g}. On average taking it costs {self.regret[1]:.3g}, keeping the first {self.regret[0]:.3g}."
        )  # fmt: skip
        verdict = "not assessable" if min(self.num) < AB_FEWEST else "ok" if sure >= AB_SURE else "caution"
        return Finding(NAME, "loss", self.probability, AB_SURE, verdict, words)

    def __str__(self) -> str:
        return str(self.finding)


def ab(first: Any, second: Any, paired: bool = False, seed: int = 0) -> Compared:
    """Compare what two versions lost.

    Parameters
    ----------
    first, second : array, shape (n,) and (m,)
        Losses of requests, of which less is better; requests are independent of each other.
    paired : bool
        Whether both answered the same requests, one after the other.
    seed : int
        Of the draws.

    Returns
    -------
    Compared
        Its posterior needs no law of losses: each request's share in the mean is unknown, uniformly on all shares (Rubin 1981).
        It is for one look; to look again and again and act on it, use `Canary`.

    Raises
    ------
    InferenceError
        For losses that are not finite, none at all, or pairs of different lengths.

    Examples
    --------
    >>> import elboroom as er
    >>> rng = np.random.default_rng(0)
    >>> found = er.ab(rng.exponential(1.0, 2000), rng.exponential(0.9, 500))
    >>> found.probability > 0.9
    True
    """
    check_seed(seed)
    one, other = (_checked(name, value) for name, value in (("first", first), ("second", second)))
    rng = np.random.default_rng([seed, 91])
    if not paired:
        return Compared(_means(one[None], rng)[0], _means(other[None], rng)[0], (len(one), len(other)))
    if len(one) != len(other):
        raise InferenceError(explain("second", f"{len(one)} losses, one for each of the first", f"{len(other)}", "give those of the same requests"))  # fmt: skip
    means = _means(np.stack([one, other]), rng)
    return Compared(means[0], means[1], (len(one), len(other)))


def _checked(name: str, value: Any) -> np.ndarray:
    array = np.asarray(value, float)
    if array.ndim != 1 or not len(array) or not np.isfinite(array).all():
        raise InferenceError(
            explain(name, "finite numbers in one row", f"shape {array.shape}, {(~np.isfinite(array)).sum()} not finite", "leave out requests whose loss is not known")
        )  # fmt: skip
    return array


def _means(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws of means of sets of values ``(sets, n)`` with the same shares, shape ``(sets, draws)``."""
    total, count = np.zeros((len(values), AB_DRAWS)), np.zeros(AB_DRAWS)
    for start in range(0, values.shape[1], AB_BLOCK):
        some = values[:, start : start + AB_BLOCK]
        share = rng.standard_exponential((AB_DRAWS, some.shape[1]))
        total += some @ share.T
        count += share.sum(1)
    return total / count
