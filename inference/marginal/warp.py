"""Coordinates of θ in which skewed and heavy- or exponential-tailed marginals are normal.

A log standard deviation that may be near zero has an exponential left tail, and beside it a peak of its own: it is the log
of a normal that is cut off at zero. One that few groups tell has an exponential right tail: it is the log of the root of an
inverse gamma. A logit of a probability near its bound has exponential tails too: the log of a gamma
ratio (the exponential generalised beta of the second kind) has tails of any rates. The normal scores of the law that fits
best are the coordinate. Where draws show neither skew nor tails a coordinate is left as it is.

References
----------
McDonald & Xu (1995), A generalization of the beta distribution with applications, J. Econometrics 66.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.special import (
    betainc,
    betaincinv,
    betaln,
    expit,
    gammainc,
    gammaincc,
    gammainccinv,
    gammaincinv,
    gammaln,
    log_ndtr,
    logit,
    ndtr,
    ndtri_exp,
)

from ..thresholds import (
    BEND_GAIN,
    BEND_SEEN,
    BENT_MOST,
    BINS,
    CUT_NEAR,
    DEEP,
    FARTHEST_SCORE,
    GUARD,
    GUARDED,
    HALVINGS,
    MAPPED,
    OUTERMOST,
    SAME_SCORE,
)


class Bend(Protocol):
    """A law of one coordinate, as a map to a standard normal; all over arrays of any shape."""

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Log density."""
        ...

    def slope(self, x: np.ndarray) -> np.ndarray:
        """Derivative of the log density."""
        ...

    def score(self, x: np.ndarray) -> np.ndarray:
        """Normal scores."""
        ...

    def value(self, score: np.ndarray) -> np.ndarray:
        """Inverse of `score`."""
        ...


@dataclass(frozen=True, eq=False)
class LogCut:
    """The log of a normal cut off at zero."""

    loc: float
    scale: float

    @classmethod
    def free_of(cls, p: np.ndarray) -> LogCut:
        """By two free numbers."""
        return cls(p[0], np.exp(p[1]))

    @classmethod
    def starts(cls, x: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Free numbers to begin a search from."""
        s = np.exp(x)
        mean = weights @ s
        return np.array([mean, np.log(np.sqrt(weights @ (s - mean) ** 2) + 1e-300)])

    @property
    def _edge(self) -> float:
        return -self.loc / self.scale

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """See `Bend`."""
        b = np.exp(x) / self.scale + self._edge
        return -0.5 * b * b - 0.5 * np.log(2 * np.pi) - np.log(self.scale) + x - log_ndtr(-self._edge)

    def slope(self, x: np.ndarray) -> np.ndarray:
        """See `Bend`."""
        above = np.exp(x) / self.scale
        return 1 - (above + self._edge) * above

    def score(self, x: np.ndarray) -> np.ndarray:
        """See `Bend`."""
        a, log_above = self._edge, x - np.log(self.scale)
        b = np.exp(log_above) + a
        near = (
            -0.5 * a * a - 0.5 * np.log(2 * np.pi) + log_above
        )  # of the first term, where the difference vanishes
        with np.errstate(divide="ignore", invalid="ignore"):
            far = log_ndtr(b) + np.log(-np.expm1(log_ndtr(a) - log_ndtr(b)))
        below = np.where(np.exp(np.minimum(log_above, 0.0)) < CUT_NEAR, near, far) - log_ndtr(-a)
        beyond = log_ndtr(-b) - log_ndtr(-a)
        return np.where(below < np.log(0.5), ndtri_exp(below), -ndtri_exp(np.minimum(beyond, 0.0)))

    def value(self, score: np.ndarray) -> np.ndarray:
        """See `Bend`."""
        a, log_mass = self._edge, log_ndtr(-self._edge)
        near = log_ndtr(score) + log_mass + 0.5 * a * a + 0.5 * np.log(2 * np.pi)
        low = ndtri_exp(np.minimum(np.logaddexp(log_ndtr(a), log_ndtr(score) + log_mass), 0.0))
        high = -ndtri_exp(log_ndtr(-np.asarray(score)) + log_mass)
        with np.errstate(divide="ignore", invalid="ignore"):
            far = np.log(np.where(score < 0, low, high) - a)
        return np.log(self.scale) + np.where(np.exp(np.minimum(near, 0.0)) < CUT_NEAR, near, far)


@dataclass(frozen=True, eq=False)
class LogInverse:
    """``x = loc - log(Ga(a) / a) / 2``: the log of an sd that `a` times two independent values tell."""

    loc: float
    a: float

    @classmethod
    def free_of(cls, p: np.ndarray) -> LogInverse:
        """By two free numbers."""
        return cls(p[0], np.exp(p[1]))

    @classmethod
    def starts(cls, x: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Free numbers to begin a search from."""
        mean = weights @ x
        return np.array([mean, -np.log(4 * (weights @ (x - mean) ** 2) + 1e-300)])

    def _log_gamma(self, x: np.ndarray) -> np.ndarray:
        return np.log(self.a) - 2 * (x - self.loc)

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """See `Bend`."""
        y = self._log_gamma(x)
        return self.a * y - np.exp(y) - gammaln(self.a) + np.log(2)

    def slope(self, x: np.ndarray) -> np.ndarray:
        """See `Bend`."""
        return 2 * (np.exp(self._log_gamma(x)) - self.a)

    def score(self, x: np.ndarray) -> np.ndarray:
        """See `Bend`."""
        y = self._log_gamma(x)
        g = np.exp(y)
        with np.errstate(divide="ignore"):
            beyond = np.log(gammainc(self.a, g))
            below = np.log(gammaincc(self.a, g))
        # by its series' first term where it is tiny
        beyond = np.where(beyond > DEEP, beyond, self.a * y - gammaln(self.a + 1))
        return np.where(beyond < np.log(0.5), -ndtri_exp(beyond), ndtri_exp(below))

    def value(self, score: np.ndarray) -> np.ndarray:
        """See `Bend`."""
        score = np.asarray(score, float)
        with np.errstate(divide="ignore"):
            high = np.log(gammaincinv(self.a, ndtr(-score)))
            low = np.log(gammainccinv(self.a, ndtr(score)))
        tail = (log_ndtr(-score) + gammaln(self.a + 1)) / self.a
        y = np.where(score < 0, low, np.where(high > DEEP, high, tail))
        return self.loc - 0.5 * (y - np.log(self.a))


@dataclass(frozen=True, eq=False)
class GammaRatio:
    """``x = loc + scale log(Ga(a) / Ga(b))``."""

    loc: float
    scale: float
    a: float
    b: float

    @classmethod
    def free_of(cls, p: np.ndarray) -> GammaRatio:
        """By four free numbers."""
        return cls(p[0], np.exp(p[1]), np.exp(p[2]), np.exp(p[3]))

    @classmethod
    def starts(cls, x: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Free numbers to begin a search from."""
        mean = weights @ x
        sd = np.sqrt(weights @ (x - mean) ** 2)
        tilt = np.clip(weights @ ((x - mean) / sd) ** 3, -1.5, 1.5)
        return np.array([mean, np.log(sd), tilt, -tilt])

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """See `Bend`."""
        t = (x - self.loc) / self.scale
        return (
            self.a * -np.logaddexp(0, -t)
            - self.b * np.logaddexp(0, t)
            - betaln(self.a, self.b)
            - np.log(self.scale)
        )

    def slope(self, x: np.ndarray) -> np.ndarray:
        """See `Bend`."""
        t = (x - self.loc) / self.scale
        return (self.a - (self.a + self.b) * expit(t)) / self.scale

    def _log_below(self, t: np.ndarray, a: float, b: float) -> np.ndarray:
        """Log probability of values below `t`, which is in the lower half: by its series' first term where it is tiny."""
        with np.errstate(divide="ignore"):
            found = np.log(betainc(a, b, expit(t)))
        return np.where(found > DEEP, found, a * np.minimum(t, 0.0) - np.log(a) - betaln(a, b))

    def score(self, x: np.ndarray) -> np.ndarray:
        """See `Bend`."""
        t = (x - self.loc) / self.scale
        # below 0 the lower tail has the digits, and may be more than half
        upper = betainc(self.a, self.b, expit(t)) > np.where(t < 0, 0.9, 0.5)
        low, high = (
            ndtri_exp(self._log_below(t, self.a, self.b)),
            -ndtri_exp(self._log_below(-t, self.b, self.a)),
        )
        return np.where(upper, high, low)

    def value(self, score: np.ndarray) -> np.ndarray:
        """See `Bend`."""
        score = np.asarray(score, float)
        low = _quantile(-np.abs(score), self.a, self.b)
        high = -_quantile(-np.abs(score), self.b, self.a)
        return self.loc + self.scale * np.where(score < 0, low, high)


def _quantile(score: np.ndarray, a: float, b: float) -> np.ndarray:
    """Logit of the lower quantile at a score of at most 0: where it is near 1, by the upper tail, whose digits there are."""
    found = _tail(score, a, b)
    near = ~(found < 0)
    found[near] = -_tail(-score[near], b, a)
    return found


def _tail(score: np.ndarray, a: float, b: float) -> np.ndarray:
    """Logit of the quantile at a score; of the first term of the series where it is below what double precision holds."""
    with np.errstate(divide="ignore", invalid="ignore"):
        x = betaincinv(a, b, ndtr(score))
        found = logit(x)
    return np.where(x > 1e-290, found, (log_ndtr(score) + np.log(a) + betaln(a, b)) / a)


@dataclass(frozen=True, eq=False)
class Guarded:
    """A law of the log of a positive quantity, beside a share of one whose tail towards zero is that of a flat density.

    Attributes
    ----------
    law : Bend
    edge : float
        Below it the second has the density ``exp(x - edge)``.
    """

    law: Bend
    edge: float

    @classmethod
    def around(cls, law: Bend) -> Guarded:
        """With the edge an sd below the middle."""
        return cls(law, float(law.value(np.array(-1.0))))

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """See `Bend`."""
        guard = np.where(x < self.edge, np.log(GUARD) + x - self.edge, -np.inf)
        return np.logaddexp(np.log1p(-GUARD) + self.law.log_prob(x), guard)

    def slope(self, x: np.ndarray) -> np.ndarray:
        """See `Bend`."""
        own = np.exp(np.log1p(-GUARD) + self.law.log_prob(x) - self.log_prob(x))
        return own * self.law.slope(x) + (1 - own)

    def _log_below(self, x: np.ndarray) -> np.ndarray:
        own = np.log1p(-GUARD) + log_ndtr(self.law.score(x))
        return np.logaddexp(own, np.log(GUARD) + np.minimum(x - self.edge, 0.0))

    def score(self, x: np.ndarray) -> np.ndarray:
        """See `Bend`."""
        beyond = np.log1p(-GUARD) + log_ndtr(-self.law.score(x))
        return np.where(x < self.edge, ndtri_exp(self._log_below(x)), -ndtri_exp(beyond))

    def value(self, score: np.ndarray) -> np.ndarray:
        """See `Bend`."""
        score = np.asarray(score, float)
        below = log_ndtr(score)
        far = below < self._log_below(np.asarray(self.edge))
        beyond = np.where(far, np.log(0.5), log_ndtr(-score) - np.log1p(-GUARD))
        found = self.law.value(-ndtri_exp(beyond))

        def least(log_share):  # where one of the two alone has this probability below
            own = self.law.value(ndtri_exp(np.minimum(log_share - np.log1p(-GUARD), -1e-300)))
            return np.minimum(own, self.edge + np.minimum(log_share - np.log(GUARD), 0.0))

        if not far.any():
            return found
        low, high = least(below[far] - np.log(2)), least(below[far])
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            above = self._log_below(middle) > below[far]
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        found[far] = high
        return found


@dataclass(frozen=True, eq=False)
class Mirrored:
    """The law of minus what another is of."""

    law: Bend

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """See `Bend`."""
        return self.law.log_prob(-x)

    def slope(self, x: np.ndarray) -> np.ndarray:
        """See `Bend`."""
        return -self.law.slope(-x)

    def score(self, x: np.ndarray) -> np.ndarray:
        """See `Bend`."""
        return -self.law.score(-x)

    def value(self, score: np.ndarray) -> np.ndarray:
        """See `Bend`."""
        return -self.law.value(-np.asarray(score, float))


def _guarded(bend: Bend | None) -> bool:
    """Whether somewhere in a law there is an edge."""
    while isinstance(bend, Mirrored):
        bend = bend.law
    return isinstance(bend, Guarded)


@dataclass(frozen=True, eq=False)
class Warp:
    """A monotone map of each coordinate; None where it is left as it is."""

    bends: tuple[Bend | None, ...]

    @property
    def straight(self) -> bool:
        """Whether nothing is bent."""
        return all(bend is None for bend in self.bends)

    @property
    def unguarded(self) -> Warp:
        """The map of which coordinates with a guard are left as they are: there is an edge in theirs."""
        return Warp(tuple(None if _guarded(bend) else bend for bend in self.bends))

    def _each(self, x: np.ndarray, apply: Callable[[Bend, np.ndarray], np.ndarray]) -> np.ndarray:
        out = np.array(x, float)
        for j, bend in enumerate(self.bends):
            if bend is not None:
                out[:, j] = apply(bend, out[:, j])
        return out

    def scores(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates ``(B, D)``, and the log Jacobian of the map to them, shape ``(B,)``."""
        with np.errstate(all="ignore"):
            s = self._each(
                theta, lambda bend, x: np.nan_to_num(np.clip(bend.score(x), -FARTHEST_SCORE, FARTHEST_SCORE))
            )
        log_jacobian = np.zeros(len(theta))
        for j, bend in enumerate(self.bends):
            if bend is not None:
                log_jacobian += bend.log_prob(theta[:, j]) + 0.5 * (s[:, j] ** 2 + np.log(2 * np.pi))
        return s, log_jacobian

    def pulled(self, theta: np.ndarray, scores: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Gradients ``(B, D)`` of a log density as those of the density of the scores."""
        out = np.array(gradient)  # where the score is the farthest it is no map, and the draws have no weight
        for j, bend in enumerate(self.bends):
            if bend is not None:
                x, s = theta[:, j], scores[:, j]
                with np.errstate(over="ignore", invalid="ignore"):
                    stretch = np.exp(-0.5 * (s**2 + np.log(2 * np.pi)) - bend.log_prob(x))  # dx/ds
                    slope = (out[:, j] - bend.slope(x)) * stretch - s
                out[:, j] = np.where(np.abs(s) < FARTHEST_SCORE, slope, 0.0)
        return out

    def values(self, scores: np.ndarray) -> np.ndarray:
        """Inverse of `scores`."""
        return self._each(scores, lambda bend, s: bend.value(s))

    @classmethod
    def none(cls, dim: int) -> Warp:
        """Nothing is bent."""
        return cls((None,) * dim)

    @classmethod
    def of(cls, theta: np.ndarray, weights: np.ndarray, logs: int, logits: int) -> Warp:
        """By weighted draws ``(S, D)``; the first coordinates are logs of positive quantities, the next ones logits."""
        kinds = ["log"] * logs + ["logit"] * logits + [""] * (theta.shape[1] - logs - logits)
        return cls(tuple(_bend(x, weights, kind) for x, kind in zip(theta.T, kinds, strict=True)))


def _bend(x: np.ndarray, weights: np.ndarray, kind: str) -> Bend | None:
    """By maximum likelihood, where skew or tails are seen and the likelihood gains by it.

    The log of a positive quantity is bent in any case, as is a logit near a bound: its tail towards it is exponential, and
    few draws show it.
    """
    size = 1 / np.sum(weights**2)
    mean = weights @ x
    sd = np.sqrt(weights @ (x - mean) ** 2)
    if not sd > 0:
        return None
    x, weights = _binned(x, weights)
    if kind == "log":
        return _bent_log(x, weights, size, _near(np.exp(x), weights))
    low, high = (kind == "logit" and _near(expit(side * x), weights) for side in (1, -1))
    if low and high:
        best = _fitted(GammaRatio, x, weights, size)[1]
        return None if best is None else Mirrored(Guarded.around(Mirrored(Guarded.around(best))))
    if low or high:
        best = _bent_log(x if low else -x, weights, size, True)
        return best if low or best is None else Mirrored(best)
    z = (x - mean) / sd
    skew, kurtosis = weights @ z**3, weights @ z**4 - 3
    if abs(skew) < BEND_SEEN * np.sqrt(6 / size) and kurtosis < BEND_SEEN * np.sqrt(24 / size):
        return None
    gained, bend = _fitted(GammaRatio, x, weights, size)
    plain = -0.5 * np.log(2 * np.pi) - 0.5 - np.log(sd) - np.log(size) / size
    return bend if size * (gained - plain) > BEND_GAIN else None


def _near(value: np.ndarray, weights: np.ndarray) -> bool:
    """Whether a quantity is near zero, by its sds."""
    middle = weights @ value
    return bool(middle < GUARDED * np.sqrt(weights @ (value - middle) ** 2))


def _bent_log(x: np.ndarray, weights: np.ndarray, size: float, near: bool) -> Bend | None:
    """The law of the log of a quantity, with a guard where that is near zero."""
    fits = (_fitted(kind, x, weights, size) for kind in (LogCut, LogInverse, GammaRatio))
    best = max(fits, key=lambda pair: pair[0])[1]
    return Guarded.around(best) if best is not None and near else best


def _binned(x: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours put together to their mean, but for the outermost: as good for a fit, and cheaper."""
    if len(x) < 2 * BINS:
        return x, weights
    order, last = np.argsort(x), len(x) - OUTERMOST
    x, weights = x[order], weights[order]
    inner = np.linspace(OUTERMOST, last, BINS, dtype=int)
    starts = np.concatenate([np.arange(OUTERMOST), inner[:-1], np.arange(last, len(x))])
    total, moment = np.add.reduceat(weights, starts), np.add.reduceat(weights * x, starts)
    there = total > 0
    return moment[there] / total[there], total[there]


def _fitted(kind, x: np.ndarray, weights: np.ndarray, size: float) -> tuple[float, Bend | None]:
    """Mean log density of the best law of a kind, and the law."""
    from scipy.optimize import minimize  # slow to import

    start = kind.starts(x, weights)

    def loss(p):  # free numbers far from the first say little
        value = -weights @ np.maximum(kind.free_of(p).log_prob(x), -1e6) + 0.01 / size * np.sum(p[2:] ** 2)
        return value if np.isfinite(value) else 1e6

    with np.errstate(all="ignore"):
        found = minimize(loss, start, method="BFGS", options={"maxiter": 200})
    if (
        not (np.isfinite(found.x).all() and np.isfinite(found.fun))
        or np.abs(found.x[2:]).max(initial=0) > BENT_MOST
    ):
        return -np.inf, None
    bend, scores = kind.free_of(found.x), np.linspace(-MAPPED, MAPPED, 41)
    with np.errstate(all="ignore"):  # a map that double precision does not hold is not that of the density
        apart = np.abs(bend.score(bend.value(scores)) - scores)
    if not (apart < SAME_SCORE).all():
        return -np.inf, None
    # Schwarz's price of free numbers
    return -float(found.fun) - 0.5 * len(start) * np.log(size) / size, bend
