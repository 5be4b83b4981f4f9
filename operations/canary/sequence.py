"""What two arms lose, looked at as often as one likes: a confidence sequence of any contrast of their means.

References
----------
Howard, Ramdas, McAuliffe & Sekhon (2021), Time-uniform, nonparametric, nonasymptotic confidence sequences, Annals of Statistics 49.
Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (2024), Time-uniform central limit theory and asymptotic confidence sequences, Annals of
Statistics 52: for means of values that nothing bounds, and for arms to which requests are dealt with known probabilities.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..thresholds import CANARY_FEWEST, CANARY_PLANNED


def radius(count: float, level: float, planned: float) -> float:
    """By how many sds of one value the mean of so many may be off, on one side, at any time with probability `level` at most.

    Notes
    -----
    The boundary of a normal mixture that is as narrow as it can be after the `planned` number.

    Examples
    --------
    >>> round(radius(10_000, 0.01, 10_000) * 100, 2)  # sds of the mean: 2.33 for one look
    3.36
    """
    tail = -2 * np.log(2 * level)
    ratio = (tail + np.log(tail) + 1) / planned
    grown = count * ratio + 1
    return float(np.sqrt(2 * grown / (count**2 * ratio) * np.log1p(np.sqrt(grown) / (2 * level))))


@dataclass(frozen=True)
class Arms:
    """Running sums of what two arms lost, of which the first gets a known share of the requests.

    Each request gives an unbiased value for the mean of either arm: the arm's mean so far and, where the request was its own, how far it
    was off, over the probability that it was. Requests are to be independent.

    Attributes
    ----------
    share : float
        Probability that a request is the first arm's; nought where each is both's.
    first, second : float
        Requests of either.
    sums : tuple of float
        Of what either lost.
    means : tuple of float
        Sums of the values.
    squares : tuple of float
        Sums of the squares of the first's, of products, and of the squares of the second's.
    """

    share: float
    first: float = 0.0
    second: float = 0.0
    sums: tuple[float, float] = (0.0, 0.0)
    means: tuple[float, float] = (0.0, 0.0)
    squares: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def count(self) -> float:
        """Requests."""
        return self.first if not self.share else self.first + self.second

    @property
    def known(self) -> bool:
        """Whether either arm has enough requests for a sequence that holds in the limit."""
        return min(self.first, self.second) >= CANARY_FEWEST

    def added(self, mine: np.ndarray, losses: np.ndarray) -> Arms:
        """With more requests: whether each is the first arm's, shape ``(n,)``, and what it lost."""
        value = [
            _values(losses, own, chance, total, count)
            for own, chance, total, count in (
                (mine, self.share, self.sums[0], self.first),
                (~mine, 1 - self.share, self.sums[1], self.second),
            )
        ]
        return self._with(value, mine.sum(), (~mine).sum(), losses[mine].sum(), losses[~mine].sum())

    def paired(self, first: np.ndarray, second: np.ndarray) -> Arms:
        """With more requests that both arms answered, shapes ``(n,)``."""
        return self._with([first, second], len(first), len(second), first.sum(), second.sum())

    def _with(self, value: Any, first: int, second: int, *sums: float) -> Arms:
        one, other = value
        more = one @ one, one @ other, other @ other
        return Arms(
            self.share,
            self.first + float(first),
            self.second + float(second),
            _plus(self.sums, sums),
            _plus(self.means, (one.sum(), other.sum())),
            _plus(self.squares, more),
        )

    def contrast(self, weight: float) -> tuple[float, float]:
        """Mean of the first less `weight` times that of the second, and the sd of one value of it."""
        one, other = (total / self.count for total in self.means)
        square = (self.squares[0] - 2 * weight * self.squares[1] + weight**2 * self.squares[2]) / self.count
        mean = one - weight * other
        return mean, float(np.sqrt(max(square - mean**2, 0.0)))

    def limits(self, weight: float, level: float) -> tuple[float, float]:
        """What that contrast is above, and below, each at all times with probability ``1 - level``."""
        if not self.known:
            return -np.inf, np.inf
        mean, sd = self.contrast(weight)
        off = sd * radius(self.count, level, self._planned)
        return mean - off, mean + off

    def needed(self, weight: float, level: float) -> float:
        """Requests after which that contrast is told from nought, if it is what it seems by now."""
        mean, sd = self.contrast(weight)
        off, count = abs(mean) / sd if sd > 0 else np.inf, self.count
        if not off:
            return np.inf
        while radius(count, level, self._planned) > off and np.isfinite(count):
            count *= 1.1
        return count

    @property
    def _planned(self) -> float:
        return CANARY_PLANNED / (self.share or 1.0)

    def as_record(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def of_record(cls, record: dict[str, Any]) -> Arms:
        """What `as_record` gave."""
        whole: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}
        return cls(**whole)


def _values(losses: np.ndarray, own: np.ndarray, chance: float, total: float, count: float) -> np.ndarray:
    """An unbiased value of an arm's mean for each request: the mean before it, which it does not decide, and what it adds."""
    lost = np.where(own, losses, 0.0)
    seen = count + np.cumsum(own) - own
    before = np.where(seen > 0, (total + np.cumsum(lost) - lost) / np.maximum(seen, 1), 0.0)
    return before + np.where(own, (losses - before) / chance, 0.0)


def _plus(one: tuple, other: Any) -> Any:
    return tuple(float(a + b) for a, b in zip(one, other, strict=True))
