"""Draws of what the groups share, by adaptive importance sampling.

The first law is the guide's own for θ. Each later one is of kernels around the weighted draws so far, in coordinates in
which each of them is normal, shrunk so that they have the draws' covariance: with few draws, or in many dimensions, the
kernels are as wide as the posterior, and with many they follow its shape. All draws are weighted against all laws that any
of them came from, so that a later law mends the weights of earlier draws.

References
----------
West (1993), Approximating posterior distributions by mixtures, JRSS B 55. Cornuet, Marin, Mira & Robert (2012), Adaptive
multiple importance sampling, Scandinavian J. Statistics 39. Owen & Zhou (2000), Safe and effective importance sampling, JASA
95. Khan & Nielsen (2018), Fast yet simple natural-gradient descent for variational inference in complex models, ISITA. Koblents
& Míguez (2015), A population Monte Carlo scheme with transformed weights, Statistics and Computing 25.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.special import logsumexp, ndtr, softmax, stdtr

from ...guides.transport import standard_normal, student_t
from ..evidence.pool import framed
from ..evidence.psis import Weighted, effective_size
from ..thresholds import (
    APPROACH_DRAWS,
    APPROACH_GAIN,
    APPROACHES,
    CONTROLS,
    CONTROLS_SHARE,
    DRAWS_FOR_EACH,
    FARTHEST_FUNNEL,
    FARTHEST_SCORE,
    FUNNEL_SEEN,
    HEAVY_WEIGHT,
    HELD_BACK,
    KERNELS,
    KERNELS_HELP,
    KNOTS,
    LARGEST_APPROACH,
    LARGEST_CHANGE,
    LARGEST_PULL,
    LEAST_HELD,
    LEAST_LOG,
    MISSED_MASS,
    MOMENTS,
    NEGLIGIBLE_SHARE,
    REGRESSED,
    TAIL_DF,
    TAIL_SCALE,
    TAIL_SHARE,
    TEMPERINGS,
    TOLD,
    WIDTHS,
    WILD,
)
from .inner import Inner, Integrals
from .warp import Warp


@dataclass(frozen=True, eq=False)
class Kernels:
    """A mixture of equal normal kernels and of one wide Student t, whose scales may follow a few of its coordinates.

    In coordinates of the warp a draw is ``mean + root b``. The first P coordinates are of bounded quantities; of the
    others ``b_j = a_j exp(Σ_i funnel_ij a_i)``, so that what a shared sd scales is wider where the sd is larger. `a` is of the
    mixture.

    Attributes
    ----------
    warp : Warp
    mean : numpy.ndarray, shape (D,)
        Of all, in coordinates of the warp.
    root : numpy.ndarray, shape (D, D)
        Root of the covariance of all: no row of the first P has any of the other columns.
    funnel : numpy.ndarray, shape (P, D)
        How log scales follow the first coordinates; 0 for these themselves.
    centres : numpy.ndarray, shape (J, D), optional
        Of the kernels; one at 0 by default.
    width : float
        Of a kernel, as a share of all.
    positive : int, optional
        How many of the first P coordinates, the first of them, are logs of quantities with one bound; all by default. The
        others are logits.
    """

    warp: Warp
    mean: np.ndarray
    root: np.ndarray
    funnel: np.ndarray
    centres: np.ndarray | None = None
    width: float = 1.0
    positive: int | None = None

    @property
    def _blocks(self) -> list[tuple[slice, float, float]]:
        """Where the heavy part has a t of its own, its degrees of freedom and its scale.

        In many dimensions its radius would miss the mass; what scales the others has the heaviest tails.
        """
        few, dim = len(self.funnel), len(self.mean)
        parts = [slice(0, few), slice(few, dim)] if 0 < few < dim else [slice(0, dim)]
        sizes = [part.stop - part.start for part in parts]
        return [
            (part, max(TAIL_DF, 0.5 * size), 1 + (TAIL_SCALE - 1) * min(1.0, TAIL_DF / size))
            for part, size in zip(parts, sizes, strict=True)
        ]

    def sample(self, num_draws: int, rng: np.random.Generator) -> np.ndarray:
        """Independent draws, shape ``(num_draws, D)``, of what double precision holds of the law.

        Raises
        ------
        ArithmeticError
            Where that is less than all but the heavy part: the density would not be that of the draws.
        """
        eps = rng.standard_normal((num_draws, len(self.mean)))
        heavy, own = eps.copy(), self.width * eps
        for part, df, scale in self._blocks:
            heavy[:, part] *= scale / np.sqrt(rng.chisquare(df, (num_draws, 1)) / df)
        if self.centres is not None:
            own = own + self.centres[rng.integers(len(self.centres), size=num_draws)]
        a = np.where((rng.random(num_draws) < TAIL_SHARE)[:, None], heavy, own)
        with np.errstate(all="ignore"):
            b = a * np.exp(self._log_scale(a))
            theta = self.warp.values(self.mean + b @ self.root.T)
        there = np.isfinite(theta).all(1)
        if there.mean() < 1 - 2 * TAIL_SHARE:  # twice, for chance among few
            raise ArithmeticError("a law of what groups share has too few finite draws")
        theta[~there] = theta[rng.choice(np.flatnonzero(there), (~there).sum())]
        return theta

    def _log_scale(self, a: np.ndarray) -> np.ndarray:
        return np.clip(a[:, : len(self.funnel)], -FARTHEST_FUNNEL, FARTHEST_FUNNEL) @ self.funnel

    def standard(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates `a` ``(B, D)`` of scores, and the log Jacobian of the map to them, shape ``(B,)``."""
        b = np.linalg.solve(self.root, (scores - self.mean).T).T
        log_scale = self._log_scale(b)
        return b * np.exp(-log_scale), -log_scale.sum(1) - np.linalg.slogdet(self.root)[1]

    def log_prob(self, theta: np.ndarray) -> np.ndarray:
        """Log density, shape ``(B,)``."""
        scores, log_jacobian = self.warp.scores(theta)
        a, inner_jacobian = self.standard(scores)
        dim = a.shape[1]
        wide = sum(
            student_t(a[:, part] / scale, df) - (part.stop - part.start) * np.log(scale)
            for part, df, scale in self._blocks
        )
        if self.centres is None:
            own = standard_normal(a)
        else:
            square = (a**2).sum(1)[:, None] - 2 * a @ self.centres.T + (self.centres**2).sum(1)
            own = logsumexp(-0.5 * np.maximum(square, 0.0) / self.width**2, axis=1) - np.log(
                len(self.centres)
            )
            own = own - dim * (np.log(self.width) + 0.5 * np.log(2 * np.pi))
        found = np.logaddexp(own + np.log1p(-TAIL_SHARE), wide + np.log(TAIL_SHARE)) + inner_jacobian
        return np.where(np.isfinite(scores).all(1), found + log_jacobian, -np.inf)

    def controls(self, theta: np.ndarray) -> np.ndarray:
        """Functions of draws of this law whose means under it are 0, shape ``(B, len(CONTROLS) * D)``.

        They say whether a coordinate lies below some level, less the probability of that given the first P coordinates.
        """
        scores = self.warp.scores(theta)[0]
        a, few, dim = self.standard(scores)[0], len(self.funnel), len(self.mean)
        heavy = {part.start: (df, scale) for part, df, scale in self._blocks}
        centres = np.zeros((1, dim)) if self.centres is None else self.centres
        prior = np.r_[np.full(len(centres), (1 - TAIL_SHARE) / len(centres)), TAIL_SHARE]
        chance = np.broadcast_to(
            prior, (len(theta), len(prior))
        )  # of each part of the mixture, given the first
        if 0 < few < dim:
            first, (df, scale) = a[:, :few], heavy[0]
            square = ((first[:, None] - centres[:, :few]) ** 2).sum(-1) / self.width**2
            own = -0.5 * square - few * (np.log(self.width) + 0.5 * np.log(2 * np.pi))
            wide = student_t(first / scale, df) - few * np.log(scale)
            chance = softmax(np.c_[own, wide] + np.log(prior), axis=1)
        stretch, found = np.exp(self._log_scale(a)), np.empty((len(CONTROLS), len(theta), dim))
        for j, row in enumerate(self.root):
            part = slice(0, few) if j < few else slice(few, dim)
            df, scale = heavy[part.start]
            weight = prior if j < few else chance
            known = self.mean[j] + (0.0 if j < few else a[:, :few] @ row[:few])
            along = stretch[:, part] * row[part]
            middle = np.reshape(known, (-1, 1)) + along @ centres[:, part].T
            sd = np.sqrt((along**2).sum(1))
            for k, level in enumerate(CONTROLS):
                edge = self.mean[j] + level * np.linalg.norm(row)
                below = ndtr((edge - middle) / (self.width * sd[:, None]))
                far = stdtr(df, (edge - known) / (scale * sd))
                mean = (weight[..., :-1] * below).sum(-1) + weight[..., -1] * far
                found[k, :, j] = (scores[:, j] < edge) - mean
        return np.moveaxis(found, 0, 1).reshape(len(theta), -1)

    def following(
        self, theta: np.ndarray, weights: np.ndarray, gradient: np.ndarray, rng: np.random.Generator
    ) -> Kernels:
        """A law of weighted draws ``(S, D)`` with gradients there, or this one where none is better.

        How wide the kernels are, and how far the draws' moments are held back to those of this law, is what fits one half
        of the draws best where it is made of the other. In many dimensions a Gaussian whose gradients are those of the
        draws is better than one of their moments: see `_by_gradients`.
        """
        logs = len(self.funnel) if self.positive is None else self.positive
        warp = Warp.of(theta, weights, logs, len(self.funnel) - logs)
        scores = warp.scores(theta)[0]
        pulled = warp.pulled(theta, scores, gradient)
        before = warp.scores(self.sample(MOMENTS, rng))[0]
        before = before[np.isfinite(before).all(1)]
        plain, few = Warp.none(theta.shape[1]), rng.permutation(len(theta))[:MOMENTS]
        x, w, g = scores[few], weights[few], pulled[few]
        w = np.maximum(w, 1e-12 / len(w))
        half = np.argsort(np.argsort(-w)) % 2 == 0  # each has its share of the large ones
        parts = [w * part / (w @ part) for part in (half, ~half)]

        def made(x, own, g, held: float, width: float) -> Kernels:
            mean = own @ x
            centred = x - mean
            last = np.atleast_2d(np.cov(before.T, ddof=0))
            covariance = (1 - held) * (own[:, None] * centred).T @ centred + (held + LEAST_HELD) * last
            centre = (1 - held) * mean + held * before.mean(0)
            root = np.linalg.cholesky(covariance)
            law = Kernels(plain, centre, root, np.zeros_like(self.funnel)).funnelled(x, own, g)
            if width == 1:
                return law
            place = (rng.random() + np.arange(KERNELS)) / KERNELS
            chosen = np.minimum(np.searchsorted(np.cumsum(own), place), len(own) - 1)
            a = law.standard(x)[0]
            return replace(law, centres=np.sqrt(1 - width**2) * (a - own @ a)[chosen], width=width)

        def fit(law: Kernels, own: np.ndarray) -> float:
            return float(own @ np.maximum(law.log_prob(x), LEAST_LOG))

        def held_out(held: float, width: float) -> float:
            return 0.5 * sum(fit(made(x, one, g, held, width), other) for one, other in (parts, parts[::-1]))

        held = max(HELD_BACK, key=lambda share: held_out(share, 1.0))
        widths = WIDTHS if theta.shape[1] <= KERNELS_HELP else WIDTHS[:1]
        width = max(widths, key=lambda width: held_out(held, width))
        best, whole = held_out(held, width), w / w.sum()
        smooth = self._by_gradients(scores, weights, pulled)
        # what is bent has the safer tails
        own = fit(self, whole) if warp.straight and self.warp.straight else -np.inf
        if smooth is not None and fit(smooth, whole) > max(best, own):
            return replace(smooth, warp=warp, positive=self.positive)
        law = made(scores, weights, pulled, held, width)
        return self if own > best else replace(law, warp=warp, positive=self.positive)

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
        law = Kernels(
            Warp.none(dim),
            mean + covariance @ found[0],
            np.linalg.cholesky(covariance),
            np.zeros_like(self.funnel),
        )
        return law.funnelled(scores, weights, gradient)

    def funnelled(self, scores, weights, gradient) -> Kernels:
        """With scales that follow the first coordinates as gradients of weighted draws tell.

        Where ``b_j`` has the scale ``exp(γ a_i)``, its gradient is ``-b_j exp(-2 γ a_i)``: its product with ``b_j`` falls by
        ``2 γ`` a unit. What is within two standard errors of nothing is nothing.
        """
        few = len(self.funnel)
        if not few:
            return self
        good = np.isfinite(gradient).all(1)
        own = np.where(good, np.minimum(weights, 4 / len(weights)), 0.0)
        gradient = np.where(good[:, None], gradient, 0.0)
        turned, seen = self._turned(scores, own, gradient)
        b, g = turned.standard(scores)[0], gradient @ turned.root
        parts = own * seen / (own @ seen)
        funnel = np.zeros_like(self.funnel)
        for j in range(few, b.shape[1]):
            design = np.c_[np.ones(len(b)), b[:, :few]] * b[:, j, None]
            inverse = np.linalg.pinv((parts[:, None] * design).T @ design)
            residual = g[:, j] + b[:, j]
            slope = inverse @ (design.T @ (parts * residual))
            influence = inverse @ (design * (parts * (residual - design @ slope))[:, None]).T
            se = np.sqrt((influence**2).sum(1))
            found, noise = 0.5 * slope[1:], 0.5 * se[1:]
            funnel[:, j] = np.where(np.abs(found) > FUNNEL_SEEN * noise, found, 0.0)
        law = replace(turned, funnel=funnel)
        a = law.standard(scores)[0][:, few:]
        root = turned.root.copy()
        root[:, few:] *= np.sqrt(own @ a**2 / (own @ b[:, few:] ** 2))
        return replace(law, root=root)

    def _turned(self, scores, weights, gradient) -> tuple[Kernels, np.ndarray]:
        """In the coordinates whose scales follow one of the first most differently, and which draws have not said so.

        Where the precision of `b` is ``1 - 2 γ M`` at a first coordinate of γ, gradients tell M, and it is diagonal in its
        eigenvectors: what an sd scales may be some directions in a space that others of the data hold. Half of the draws say
        which they are, so that the other half can tell noise from slopes.
        """
        few, dim = len(self.funnel), len(self.mean)
        half = np.arange(len(scores)) % 2 == 0
        if dim - few < 2 or half.sum() < DRAWS_FOR_EACH * 2 * (dim - few):
            return self, np.ones(len(scores))
        b, root = self.standard(scores[half])[0], np.sqrt(weights[half])[:, None]
        rest, residual = b[:, few:], (gradient[half] @ self.root + b)[:, few:]
        found = []
        for i in range(few):
            design = np.c_[rest, b[:, i, None] * rest]
            slope = np.linalg.lstsq(root * design, root * residual, rcond=None)[0][dim - few :]
            found.append(slope + slope.T)
        turn = np.linalg.eigh(max(found, key=np.linalg.norm))[1]
        return replace(self, root=np.c_[self.root[:, :few], self.root[:, few:] @ turn]), ~half * 1.0


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
    controls : numpy.ndarray, shape (S, C)
        Functions of each draw whose means are 0 under the law that it came from.
    """

    theta: np.ndarray
    found: Integrals
    laws: tuple[tuple[Kernels, int], ...]
    log_laws: np.ndarray
    controls: np.ndarray

    @classmethod
    def drawn(cls, integrals: Callable[..., Integrals], law: Kernels, count: int, rng) -> Sample:
        """From one law."""
        theta = law.sample(count, rng)
        found = integrals(theta, rng)
        return cls(theta, found, ((law, count),), law.log_prob(theta)[None], law.controls(theta))

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
            self,
            theta=np.concatenate([self.theta, theta]),
            found=both,
            laws=laws,
            log_laws=log_laws,
            controls=np.concatenate([self.controls, law.controls(theta)]),
        )

    @cached_property
    def basis(self) -> np.ndarray:
        """Orthonormal basis of the controls, of as many as the draws tell, shape ``(S, C)``."""
        laws = np.exp(self.log_laws[1:] - self._mixture(self.log_laws)).T - 1.0
        controls = np.c_[laws, self.controls]
        used = controls[:, : min(controls.shape[1], int(CONTROLS_SHARE * len(self)))]
        left, size, _ = np.linalg.svd(used, full_matrices=False)
        return left[:, size > 1e-6 * size[0]] if used.size else used

    @cached_property
    def calibrated(self) -> np.ndarray:
        """The weights under which the controls have the means that are known, shape ``(S,)``.

        A posterior mean is then the mean of a regression on the controls, whose noise alone is left (Owen & Zhou 2000).
        """
        ones = np.ones(len(self))
        found = self.weights * np.maximum(ones - self.basis @ (self.basis.T @ ones), 0.0)
        return found / found.sum()

    def followed(self, rng: np.random.Generator) -> Kernels:
        """The next law, of kernels around the weighted draws; the last again where none is better."""
        least = min(TOLD * (self.theta.shape[1] + 1), len(self) // 2)
        weights = self.weights if self.size > least else tempered(self.log_weights, least)
        found = gradients(self.theta, self.found, weights)
        return self.laws[-1][0].following(self.theta, weights, found, rng)

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
        hundredth of their number. Every group has to lie where its integral looks, besides.
        """
        theta = z[inner.groups.shared][None]
        log_weight = inner.integrals(theta, rng).log_prob - self._mixture(
            np.stack([q.log_prob(theta) for q, _ in self.laws])
        )
        return bool(
            log_weight[0] < self.log_evidence + max(HEAVY_WEIGHT, np.log(MISSED_MASS * len(self)))
            and inner.resolved(theta, inner.groups.of(z[None])).all()
        )


def tempered(log_weights: np.ndarray, least: float) -> np.ndarray:
    """Normalised weights, to the power below one that leaves so many effective draws where there are fewer.

    One draw says nothing of a law (Koblents & Míguez 2015).
    """

    finite, low, high = np.isfinite(log_weights), 0.0, 1.0

    def at(power: float) -> np.ndarray:
        return softmax(np.where(finite, power * np.where(finite, log_weights, 0.0), -np.inf))

    for _ in range(TEMPERINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if effective_size(at(middle)) >= least else (low, middle)
    return at(low)


def gradients(theta: np.ndarray, found: Integrals, weights: np.ndarray) -> np.ndarray:
    """Gradients of the log density of θ, shape ``(S, D)``: those at the modes, and the slope of what the integrals add."""
    added = found.log_prob - found.profile
    own = np.where(np.isfinite(added), weights, 0.0)
    design = np.c_[np.ones(len(theta)), theta - own @ theta]
    root = np.sqrt(own)[:, None]
    slope = np.linalg.lstsq(root * design, root[:, 0] * np.where(own > 0, added, 0.0), rcond=None)[0]
    return found.slope + slope[1:]


def approached(integrals: Callable[..., Integrals], law: Kernels, rng: np.random.Generator) -> Kernels:
    """A Gaussian where the mass is, from a Gaussian law that may be far from it.

    Weights tell nothing there; mean and slope of the gradients at draws lead to the Gaussian of least divergence, and are
    followed while that falls (Khan & Nielsen 2018).
    """
    dim, best, bound = len(law.mean), law, -np.inf
    for _ in range(APPROACHES):
        x = rng.standard_normal((max(APPROACH_DRAWS, 2 * dim), dim))
        x = np.concatenate([x, -x])
        theta = law.mean + x @ law.root.T
        found = integrals(theta, rng)
        pull = gradients(theta, found, np.full(len(x), 1 / len(x))) @ law.root
        good = np.isfinite(pull).all(1) & np.isfinite(found.log_prob)
        reached = found.log_prob[good].mean() + np.linalg.slogdet(law.root)[1]
        if good.sum() < len(x) / 2 or reached < bound + APPROACH_GAIN:
            break
        best, bound, x, pull = law, reached, x[good], pull[good]
        size = np.linalg.norm(pull, axis=1)
        pull *= np.minimum(1.0, LARGEST_PULL * np.median(size) / np.maximum(size, 1e-300))[:, None]
        mean, *slope = np.linalg.lstsq(np.c_[np.ones(len(x)), x], pull, rcond=None)[0]
        eig, vec = np.linalg.eigh(-0.5 * (np.array(slope) + np.transpose(slope)))
        eig = np.clip(eig, *LARGEST_CHANGE)
        step = vec @ ((vec.T @ mean) / eig)
        step *= np.minimum(1.0, LARGEST_APPROACH / np.maximum(np.linalg.norm(step), 1e-300))
        turned = law.root @ vec
        law = replace(
            law, mean=law.mean + law.root @ step, root=np.linalg.cholesky((turned / eig) @ turned.T)
        )
    return best


def whitened(sample: Sample) -> tuple[np.ndarray, np.ndarray | None]:
    """Coordinates in which the weighted draws are nearly standard normal, and the gradients in them, shapes ``(S, D)``.

    The gradients are those at the modes of the groups, and beside them that of a regression of what the integrals add to the
    densities there; None where no regression tells it. (The mean of the gradients at draws of the groups would be exact, but
    has no variance where an sd that is shared comes near zero.)
    """
    warp, weights, theta = sample.laws[-1][0].warp.unguarded, sample.weights, sample.theta
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
    from scipy.interpolate import BSpline  # slow to import

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
