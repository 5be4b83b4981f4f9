"""Draws of what the groups share, by adaptive importance sampling.

The first law is the guide's own for θ. Each later one is of kernels around the weighted draws so far, in coordinates in
which each of them is normal, shrunk so that they have the draws' covariance: with few draws, or in many dimensions, the
kernels are as wide as the posterior, and with many they follow its shape. All draws are weighted against all laws that any
of them came from, so that a later law mends the weights of earlier draws.

References
----------
West (1993), Approximating posterior distributions by mixtures, JRSS B 55. Cornuet, Marin, Mira & Robert (2012), Adaptive
multiple importance sampling, Scandinavian J. Statistics 39.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.interpolate import BSpline
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

from ...guides.transport import standard_normal, student_t
from ..evidence.pool import framed
from ..evidence.psis import Weighted
from ..thresholds import (
    FARTHEST_SCORE,
    HEAVY_WEIGHT,
    HELD_BACK,
    KERNELS,
    KERNELS_HELP,
    KNOTS,
    LEAST_HELD,
    LEAST_LOG,
    MISSED_MASS,
    MOMENTS,
    NEGLIGIBLE_SHARE,
    OWN_PLACE,
    REGRESSED,
    TAIL_DF,
    TAIL_SCALE,
    TAIL_SHARE,
    WIDTHS,
    WILD,
)
from .inner import Inner, Integrals
from .warp import Warp


@dataclass(frozen=True, eq=False)
class Kernels:
    """A mixture of equal normal kernels, and a share of one wide Student t, in coordinates of a warp.

    Attributes
    ----------
    warp : Warp
    mean : numpy.ndarray, shape (D,)
        Of all, in coordinates of the warp.
    root : numpy.ndarray, shape (D, D)
        Lower-triangular root of the covariance of all.
    positive : numpy.ndarray of bool, shape (D,)
        Coordinates that are logs of positive quantities.
    centres : numpy.ndarray, shape (J, D), optional
        Of the kernels; one at the mean by default.
    width : float
        Of a kernel, as a share of all.
    """

    warp: Warp
    mean: np.ndarray
    root: np.ndarray
    positive: np.ndarray
    centres: np.ndarray | None = None
    width: float = 1.0

    @property
    def _tail(self) -> tuple[float, float]:
        """Degrees of freedom and scale of the heavy part: in many dimensions its radius would miss the mass."""
        dim = len(self.mean)
        return max(TAIL_DF, 0.5 * dim), 1 + (TAIL_SCALE - 1) * min(1.0, TAIL_DF / dim)

    def sample(self, num_draws: int, rng: np.random.Generator) -> np.ndarray:
        """Independent draws, shape ``(num_draws, D)``, of what double precision holds of the law.

        Raises
        ------
        ArithmeticError
            Where it holds nothing of it.
        """
        eps = rng.standard_normal((num_draws, len(self.mean)))
        df, scale = self._tail
        heavy = scale / np.sqrt(rng.chisquare(df, num_draws) / df)
        centres = self.mean[None] if self.centres is None else self.centres
        own = centres[rng.integers(len(centres), size=num_draws)] + self.width * eps @ self.root.T
        wide = self.mean + (heavy[:, None] * eps) @ self.root.T
        with np.errstate(all="ignore"):
            theta = self.warp.values(np.where((rng.random(num_draws) < TAIL_SHARE)[:, None], wide, own))
        there = np.isfinite(theta).all(1)
        if not there.any():
            raise ArithmeticError("a law of what groups share has no finite draws")
        theta[~there] = theta[rng.choice(np.flatnonzero(there), (~there).sum())]
        return theta

    def log_prob(self, theta: np.ndarray) -> np.ndarray:
        """Log density, shape ``(B,)``."""
        scores, log_jacobian = self.warp.scores(theta)
        a = solve_triangular(self.root, (scores - self.mean).T, lower=True)
        df, scale = self._tail
        wide = student_t(a.T / scale, df) - len(a) * np.log(scale)
        if self.centres is None:
            own = standard_normal(a.T)
        else:
            b = solve_triangular(self.root, (self.centres - self.mean).T, lower=True)
            square = np.maximum((a**2).sum(0)[:, None] - 2 * a.T @ b + (b**2).sum(0), 0.0) / self.width**2
            own = logsumexp(-0.5 * square, axis=1) - np.log(len(self.centres))
            own = own - len(a) * (np.log(self.width) + 0.5 * np.log(2 * np.pi))
        found = np.logaddexp(own + np.log1p(-TAIL_SHARE), wide + np.log(TAIL_SHARE))
        found = found - np.log(np.diag(self.root)).sum()
        return np.where(np.isfinite(scores).all(1), found + log_jacobian, -np.inf)

    def following(
        self, theta: np.ndarray, weights: np.ndarray, gradient: np.ndarray, rng: np.random.Generator
    ) -> Kernels:
        """A law of weighted draws ``(S, D)`` with gradients there, or this one where none is better.

        How wide the kernels are, and how far the draws' moments are held back to those of this law, is what fits one half
        of the draws best where it is made of the other. In many dimensions a Gaussian whose gradients are those of the
        draws is better than one of their moments: see `_by_gradients`.
        """
        warp = Warp.of(theta, weights, self.positive)
        scores = warp.scores(theta)[0]
        before = warp.scores(self.sample(MOMENTS, rng))[0]
        before = before[np.isfinite(before).all(1)]
        plain, few = Warp.none(theta.shape[1]), rng.permutation(len(theta))[:MOMENTS]
        x, w = scores[few], weights[few]
        w = np.maximum(w, 1e-12 / len(w))
        half = np.argsort(np.argsort(-w)) % 2 == 0  # each has its share of the large ones
        parts = [w * part / (w @ part) for part in (half, ~half)]

        def made(x, own, held: float, width: float) -> Kernels:
            mean = own @ x
            centred = x - mean
            last = np.atleast_2d(np.cov(before.T, ddof=0))
            covariance = (1 - held) * (own[:, None] * centred).T @ centred + (held + LEAST_HELD) * last
            centre = (1 - held) * mean + held * before.mean(0)
            root = np.linalg.cholesky(covariance)
            law = Kernels(plain, centre, root, self.positive)
            if width == 1:
                return law
            place = (rng.random() + np.arange(KERNELS)) / KERNELS
            chosen = np.minimum(np.searchsorted(np.cumsum(own), place), len(own) - 1)
            return replace(law, centres=centre + np.sqrt(1 - width**2) * centred[chosen], width=width)

        def fit(law: Kernels, own: np.ndarray) -> float:
            return float(own @ np.maximum(law.log_prob(x), LEAST_LOG))

        def held_out(held: float, width: float) -> float:
            return 0.5 * sum(fit(made(x, one, held, width), other) for one, other in (parts, parts[::-1]))

        held = max(HELD_BACK, key=lambda share: held_out(share, 1.0))
        widths = WIDTHS if theta.shape[1] <= KERNELS_HELP else WIDTHS[:1]
        width = max(widths, key=lambda width: held_out(held, width))
        best, whole = held_out(held, width), w / w.sum()
        smooth = self._by_gradients(scores, weights, warp.pulled(theta, scores, gradient))
        # what is bent has the safer tails
        own = fit(self, whole) if warp.straight and self.warp.straight else -np.inf
        if smooth is not None and fit(smooth, whole) > max(best, own):
            return replace(smooth, warp=warp)
        return self if own > best else replace(made(scores, weights, held, width), warp=warp)

    def _by_gradients(self, scores, weights, gradient) -> Kernels | None:
        """The Gaussian whose gradient is the regression of these on the scores; None where there is none.

        Where the posterior is nearly Gaussian its gradients are nearly linear, so that they tell mean and covariance to the
        extent that they are, without the noise of moments (Cai et al. 2024).
        """
        count, dim = scores.shape
        good = np.isfinite(gradient).all(1)
        if good.sum() < 2 * (dim + 1):
            return None
        own = np.where(good, np.minimum(weights, 4 / count), 0.0)[:, None] ** 0.5
        mean = weights @ scores
        design = np.c_[np.ones(count), scores - mean]
        found = np.linalg.lstsq(own * design, own * np.where(good[:, None], gradient, 0.0), rcond=None)[0]
        precision = -0.5 * (found[1:] + found[1:].T)
        eig, vec = np.linalg.eigh(precision)
        if not eig[0] > 1e-9 * eig[-1]:
            return None
        covariance = (vec / eig) @ vec.T
        return Kernels(
            Warp.none(dim), mean + covariance @ found[0], np.linalg.cholesky(covariance), self.positive
        )


@dataclass(frozen=True, eq=False)
class Sample(Weighted):
    """Draws of θ with what was found at each, and the laws that they came from.

    Attributes
    ----------
    theta : numpy.ndarray, shape (S, D)
    found : Integrals
        With leading axis S.
    laws : tuple of (Kernels, int)
        Each with how many draws came from it.
    log_laws : numpy.ndarray, shape (len(laws), S)
        Log density of each law at each draw.
    """

    theta: np.ndarray
    found: Integrals
    laws: tuple[tuple[Kernels, int], ...]
    log_laws: np.ndarray

    @classmethod
    def drawn(cls, integrals: Callable[..., Integrals], law: Kernels, count: int, rng) -> Sample:
        """From one law."""
        theta = law.sample(count, rng)
        return cls(theta, integrals(theta, rng), ((law, count),), law.log_prob(theta)[None])

    def more(self, integrals: Callable[..., Integrals], law: Kernels, count: int, rng) -> Sample:
        """With draws of one more law, or of the last one again."""
        theta = law.sample(count, rng)
        found = integrals(theta, rng)
        both = Integrals.joined([self.found, found])
        new = np.stack([one.log_prob(theta) for one, _ in self.laws])
        log_laws, laws = np.concatenate([self.log_laws, new], 1), self.laws
        if law is laws[-1][0]:
            laws = (*laws[:-1], (law, laws[-1][1] + count))
        else:
            own = np.concatenate([law.log_prob(self.theta), law.log_prob(theta)])
            log_laws, laws = np.concatenate([log_laws, own[None]]), (*laws, (law, count))
        return replace(
            self, theta=np.concatenate([self.theta, theta]), found=both, laws=laws, log_laws=log_laws
        )

    def followed(self, rng: np.random.Generator) -> Kernels:
        """The next law, of kernels around the weighted draws; the last again where none is better."""
        return self.laws[-1][0].following(self.theta, self.weights, self._gradient, rng)

    @property
    def _gradient(self) -> np.ndarray:
        """Gradients of the log density of θ, shape ``(S, D)``: those at the modes, and the slope of what the integrals add."""
        added = self.found.log_prob - self.found.profile
        own = np.where(np.isfinite(added), self.weights, 0.0)
        design = np.c_[np.ones(len(self)), self.theta - own @ self.theta]
        root = np.sqrt(own)[:, None]
        slope = np.linalg.lstsq(root * design, root[:, 0] * np.where(own > 0, added, 0.0), rcond=None)[0]
        return self.found.slope + slope[1:]

    def __len__(self) -> int:
        return len(self.theta)

    def _mixture(self, log_laws: np.ndarray) -> np.ndarray:
        """Log density of all laws together, from that of each ``(len(laws), B)``."""
        share = np.log([count / len(self) for _, count in self.laws])
        return logsumexp(log_laws + share[:, None], axis=0)

    @cached_property
    def log_weights(self) -> np.ndarray:  # type: ignore[override]  # computed, and never set
        """Against the mixture of all laws, shape ``(S,)``."""
        found = self.found.log_prob - self._mixture(self.log_laws)
        return np.where(np.isfinite(found), found, -np.inf)

    def covers(self, inner: Inner, z: np.ndarray, rng: np.random.Generator) -> bool:
        """Whether a place ``(dim,)`` is one that the draws are of.

        A place that holds a hundredth of the mass, and where fewer than one of the draws lies, has a weight of more than a
        hundredth of their number. Every group has to lie where its draws given θ do, besides.
        """
        theta = z[inner.groups.shared][None]
        log_weight = inner.integrals(theta, rng).log_prob - self._mixture(
            np.stack([q.log_prob(theta) for q, _ in self.laws])
        )
        return bool(
            log_weight[0] < self.log_evidence + max(HEAVY_WEIGHT, np.log(MISSED_MASS * len(self)))
            and inner.at(theta).apart(inner.groups.of(z[None])).max() < OWN_PLACE
        )


def whitened(sample: Sample) -> tuple[np.ndarray, np.ndarray | None]:
    """Coordinates in which the weighted draws are nearly standard normal, and the gradients in them, shapes ``(S, D)``.

    The gradients are those at the modes of the groups, and beside them that of a regression of what the integrals add to the
    densities there; None where no regression tells it. (The mean of the gradients at draws of the groups would be exact, but
    has no variance where an sd that is shared comes near zero.)
    """
    warp, weights, theta = sample.laws[-1][0].warp, sample.weights, sample.theta
    scores = warp.scores(theta)[0]
    frame = framed(scores, weights)
    x = frame.inverse(scores)[0]
    added = sample.found.log_prob - sample.found.profile
    good = np.isfinite(added) & np.isfinite(sample.found.slope).all(1) & (weights > 0)
    gradient = frame.whiten(warp.pulled(theta, scores, np.where(good[:, None], sample.found.slope, 0.0)))
    slopes = _slopes(x, np.where(good, added, 0.0), weights * good)
    if slopes is None:
        return x, None
    gradient = gradient + slopes
    # where an sd is so near zero that rounding is all there is to a gradient
    lost = ~good | (np.abs(gradient) > WILD * (1 + np.abs(x))).any(1)
    return x, np.where(lost[:, None], -x if weights[lost].sum() < NEGLIGIBLE_SHARE else gradient, gradient)


def _slopes(x: np.ndarray, values: np.ndarray, weights: np.ndarray) -> np.ndarray | None:
    """Gradients of an additive regression by splines, with the products of each two coordinates where these are few.

    None where it does not tell the values to `REGRESSED`.
    """
    dim = x.shape[1]
    few = dim <= KERNELS_HELP
    one, other = np.triu_indices(dim, 1) if few else (np.zeros(0, int),) * 2
    inside = np.linspace(-2.5, 2.5, KNOTS if few else 2)
    knots = np.concatenate([np.full(4, -FARTHEST_SCORE), [-6.0], inside, [6.0], np.full(4, FARTHEST_SCORE)])
    at = np.clip(x, -FARTHEST_SCORE, FARTHEST_SCORE * (1 - 1e-9))
    basis = [BSpline.design_matrix(column, knots, 3).toarray() for column in at.T]
    design = np.concatenate([*basis, x[:, one] * x[:, other]], 1)
    root = np.sqrt(weights)
    found = np.linalg.lstsq(root[:, None] * design, root * values, rcond=None)[0]
    if not np.sqrt(weights @ (values - design @ found) ** 2) < REGRESSED:
        return None
    size = basis[0].shape[1]
    own = found[: dim * size].reshape(dim, size)
    slope = np.column_stack([BSpline(knots, c, 3).derivative()(a) for c, a in zip(own, at.T, strict=True)])
    cross = np.zeros((dim, dim))
    cross[one, other] = cross[other, one] = found[dim * size :]
    return slope + x @ cross
