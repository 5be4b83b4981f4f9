"""Fit of a low-rank Gaussian where a dense one is out of reach.

The optimal Gaussian has precision ``H = E_q[-∇² log p]``. With H held, the bound of a covariance
``Σ = S² + V K Vᵀ`` needs no more of H than its diagonal and its products with V, and is concave in ``(S², K)``: given
a subspace, the best Gaussian follows without another gradient, and with no draws to overfit. The subspace is grown in
the frame of the present guide, where H would be the identity if the guide were right: directions of smallest and of
largest curvature come out of a block Krylov space first, and every one of them raises the bound by
``(θ - 1 - log θ) / 2``.

References
----------
Khan & Rue (2023), The Bayesian learning rule, JMLR 24. Saad (2011), Numerical methods for large eigenvalue problems,
chapter 6. Meyer et al. (2021), Hutch++, SOSA.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from ..guides.low_rank import LowRankFactor
from .bound import entropy
from .designs import antithetic
from .lbfgs import minimise
from .response import Curvature

LARGEST_RANK = 64
BLOCK, ROUNDS, LARGEST_SPAN = 4, 6, 96  # columns a round, rounds between two diagonals, columns of one search
GROWTH = 10.0  # of an sd at once
LEAST = 0.05  # share of a guide's own precision that a diagonal keeps, whatever the probes say
WORTHLESS = 0.01  # nats below which a direction is not kept
DAMPED = (1.0, 0.4, 0.15)
ENOUGH, SHARE = 0.5, 0.02  # a step that gains fewer nats, or less of what all have gained, is the last


@dataclass
class LowRankFit:
    """A low-rank Gaussian and how it was reached.

    Attributes
    ----------
    elbo, elbo_se : float
        On fresh draws.
    curvature : tuple of float
        Smallest and largest curvature that the last search met, in the frame of the guide before it; 1 where that
        guide was exact.
    dropped : float
        Nats that directions beyond the rank would have brought.
    """

    mean: np.ndarray
    factor: LowRankFactor
    elbo: float
    elbo_se: float
    converged: bool
    trace: list
    reason: str
    curvature: tuple[float, float]
    dropped: float
    num_gradients: int

    @property
    def complete(self) -> bool:
        """Whether the family seems to hold the best Gaussian: nothing dropped, and no curvature left over."""
        low, high = self.curvature
        return self.converged and self.dropped < 1.0 and low > 0.5 and high < 2.0


def low_rank(
    density,
    mean,
    sd,
    rng,
    rank=None,
    num_draws=32,
    num_hessian=8,
    num_probes=64,
    max_steps=12,
    callback=None,
    keep=None,
) -> LowRankFit:
    """Fit from independent Gaussians.

    Parameters
    ----------
    density : callable
        ``density(z) -> (log density (B,), gradient (B, dim))``.
    mean, sd : numpy.ndarray, shape (dim,)
        Start, as mean-field left it.
    rank : int, optional
        Most directions; `LARGEST_RANK` by default.
    num_draws, num_hessian : int
        Draws for the mean and the bound, and for the mean Hessian; even.
    num_probes : int
        Random vectors for the diagonal of the Hessian.
    callback : callable, optional
        Says whether to stop; asked between gradients.
    keep : callable, optional
        ``keep(mean, factor)`` takes every better state.
    """
    rank = LARGEST_RANK if rank is None else rank
    spent, trace, reason, converged, curvature, dropped = 0, [], "step limit", False, (1.0, 1.0), 0.0

    def counted(z):
        nonlocal spent
        spent += len(z)
        with np.errstate(all="ignore"):
            return density(z)

    mean, factor = np.array(mean, float), LowRankFactor.diagonal(sd)
    for _ in range(max_steps):
        if callback is not None and callback():
            reason = "stopped"
            break
        centre = _centre(counted, mean, factor, rng, num_draws)
        product = Curvature.of(counted, centre, factor, rng, num_hessian)
        try:
            surrogate = _Surrogate(product, factor, rng, num_probes)
            surrogate.solve(callback)
            curvature = surrogate.curvature
            eps = antithetic(rng, 2 * num_draws, len(mean), unit=True)
            before = _bound(counted, mean, factor, eps)[0]
            for damping in DAMPED:
                trial, lost = surrogate.damped(damping, rank)
                bound = _bound(counted, centre, trial, eps)[0]
                if bound > before:
                    break
        except np.linalg.LinAlgError:
            reason = "the curvature is not finite"
            break
        if not bound > before:
            reason, converged = "no step raises the bound", bool(trace)
            break
        mean, factor, dropped = centre, trial, lost
        trace.append(bound)
        if keep is not None:
            keep(mean, factor)
        if bound - before < max(ENOUGH, SHARE * (bound - trace[0])):
            reason, converged = "the bound no longer rises", True
            break
    eps = antithetic(rng, 8 * num_draws, len(mean), unit=True)
    if reason != "stopped":
        centre = _centre(counted, mean, factor, rng, 8 * num_draws)
        if _bound(counted, centre, factor, eps)[0] > _bound(counted, mean, factor, eps)[0]:
            mean = centre
            if keep is not None:
                keep(mean, factor)
    elbo, error = _bound(counted, mean, factor, eps)
    return LowRankFit(mean, factor, elbo, error, converged, trace, reason, curvature, dropped, spent)


def _inner(basis, image):
    inner = basis.T @ image
    return 0.5 * (inner + inner.T)


def _centre(density, mean, factor, rng, num_draws):
    """The mean that maximises the bound on fixed draws, by quasi-Newton in the frame."""
    eps = antithetic(rng, num_draws, len(mean), unit=True)

    def objective(x, which):
        value, grad = density(mean + factor.root(x + eps))
        return -value.mean(keepdims=True), -factor.whiten(grad.mean(0))[None]

    found = minimise(objective, np.zeros((1, len(mean))), 40, 0.05, 3, max_step=2.0)
    return mean + factor.root(found.x)[0]


def _bound(density, mean, factor, eps):
    """ELBO at given base draws, with its standard error."""
    value, _ = density(mean + factor.root(eps))
    ratio = value + 0.5 * (eps**2).sum(1)
    if not np.isfinite(ratio).all():
        return -np.inf, np.inf
    bound = ratio.mean() - 0.5 * len(mean) + entropy(-factor.log_det, len(mean))
    return float(bound), float(ratio.std() / np.sqrt(len(ratio)))


class _Surrogate:
    """The bound with the mean Hessian H held, as a function of the covariance ``S² + V K Vᵀ``.

    Attributes
    ----------
    span, image : numpy.ndarray, shape (dim, m)
        The subspace V, and H V.
    diagonal : numpy.ndarray, shape (dim,)
        Of H.
    """

    def __init__(self, product, factor, rng, num_probes):
        self.product, self.factor, self.rng, self.num_probes = product, factor, rng, num_probes
        first = np.concatenate([factor.basis, rng.standard_normal((len(factor.scale), BLOCK))], 1)
        self.span = factor.scale[:, None] * np.linalg.qr(first)[0]
        self.image = product(self.span.T).T
        self.diagonal, self.weight = np.zeros(len(factor.scale)), np.zeros(len(factor.scale))
        self.scale = factor.scale  # the best one

    def solve(self, callback=None) -> None:
        """Grow the subspace, and estimate the diagonal, until the bound does not rise any more."""
        most = min(len(self.scale), LARGEST_SPAN + len(self.factor.width))
        bounds: list[float] = []
        guide = self.factor
        while True:
            for _ in range(ROUNDS):
                if self.span.shape[1] + BLOCK <= most:
                    self._grow()
            self._diagonal(guide)
            guide, bound = self._guide(self.diagonal, self.span, self.inner)
            self.scale = guide.scale
            bounds.append(bound)
            full = self.span.shape[1] + BLOCK > most
            if len(bounds) > 1:
                gain = bounds[-1] - bounds[-2]
                if full or gain < max(ENOUGH, SHARE * (bounds[-1] - bounds[0])) or (callback and callback()):
                    return

    @property
    def inner(self) -> np.ndarray:
        """``Vᵀ H V``, positive definite."""
        value, vector = np.linalg.eigh(_inner(self.span, self.image))
        return (vector * np.maximum(value, 1e-8 * max(value[-1], 1e-8))) @ vector.T

    @property
    def curvature(self) -> tuple[float, float]:
        """Smallest and largest that the subspace shows in the frame of the present guide."""
        there = _inner(self.span, self.factor.precision(self.span.T).T)
        value = scipy.linalg.eigh(_inner(self.span, self.image), there, eigvals_only=True)
        return float(value[0]), float(value[-1])

    def _guide(self, diagonal, span, inner):
        scale, bound = _best_scale(diagonal, span, inner, self.scale)
        scale = np.minimum(scale, GROWTH * self.factor.scale)
        value, basis, _ = _eigen(scale, span, inner)
        return LowRankFactor(scale, basis, value**-0.5), bound

    def _grow(self):
        """Add the residuals of the Ritz vectors that promise most."""
        value, basis, back = _eigen(self.scale, self.span, self.inner)
        residual = self.scale[:, None] * (self.image @ back) - basis * value
        promise = np.abs(1 - 1 / np.maximum(value, GROWTH**-2)) * (residual**2).sum(0)
        new = residual[:, np.argsort(-promise)[:BLOCK]]
        for _ in range(2):  # once is not enough in floating point
            new, _ = np.linalg.qr(new - basis @ (basis.T @ new))
        new = self.scale[:, None] * new
        self.span = np.concatenate([self.span, new], 1)
        self.image = np.concatenate([self.image, self.product(new.T).T], 1)

    def damped(self, damping: float, rank: int) -> tuple[LowRankFactor, float]:
        """The best guide with H mixed with the present guide's precision, and the nats that the rank drops."""
        own = self.factor
        there = _inner(self.span, own.precision(self.span.T).T)
        diagonal = (1 - damping) * own.precision_diagonal + damping * self.diagonal
        value, vector = scipy.linalg.eigh((1 - damping) * there + damping * self.inner, there)
        vector = there @ vector
        inner = (vector * np.maximum(value, GROWTH**-2)) @ vector.T
        guide, _ = self._guide(diagonal, self.span, inner)
        value = guide.width**-2
        gain = 0.5 * (value - 1 - np.log(value))
        chosen = np.argsort(-gain)[: min(rank, int((gain > WORTHLESS).sum()))]
        kept = (guide.basis * guide.scale[:, None])[:, chosen]
        guide, _ = self._guide(diagonal, kept, np.diag(value[chosen]))
        return guide, float(gain.sum() - gain[chosen].sum())

    def _diagonal(self, guide):
        """Estimate the diagonal of H again: exact on V, elsewhere its difference from a guide's precision is probed."""
        span = self.span
        there = guide.precision(span.T).T
        dual = np.linalg.solve(_inner(span, there), there.T).T  # dualᵀ span = I
        known = ((2 * self.image - dual @ _inner(span, self.image)) * dual).sum(1)
        rest = guide.precision_diagonal - (there * dual).sum(1)
        sign = self.rng.choice([-1.0, 1.0], (self.num_probes, len(guide.scale))) * guide.scale
        beside = sign - (sign @ dual) @ span.T
        outside = self.product(beside, single=True) - guide.precision(beside)
        outside = outside - (outside @ span) @ dual.T
        probed = sign * outside / guide.scale**2
        weight = self.num_probes / (probed.var(0) + 1e-6 / guide.scale**4)
        found = known + np.maximum(rest + probed.mean(0), LEAST * rest)
        self.weight += weight
        self.diagonal += (found - self.diagonal) * weight / self.weight


def _best_scale(diagonal, span, inner, scale):
    """The best S when K is at its best for every S: no gradient of the density is needed."""

    def objective(x, which):
        squared = scale**2 * np.exp(2 * x[0])
        root = span / np.sqrt(squared)[:, None]
        gram = root.T @ root
        inverse = np.linalg.inv(gram)
        both = inverse @ inner @ inverse
        value = -diagonal @ squared + 2 * x[0].sum() + np.sum(inner * inverse) + np.linalg.slogdet(gram)[1]
        lever = ((root @ (both - inverse)) * root).sum(1)
        return np.array([-0.5 * value]), (diagonal * squared - 1.0 - lever)[None]

    found = minimise(objective, np.zeros((1, len(scale))), 60, 0.02, 3, max_step=1.0)
    return scale * np.exp(found.x[0]), -float(found.value[0]) + np.log(scale).sum()


def _eigen(scale, span, inner):
    """Curvatures in the span and their directions, orthonormal in units of `scale`."""
    q, r = np.linalg.qr(span / scale[:, None])
    inverse = np.linalg.inv(r)
    value, vector = np.linalg.eigh(inverse.T @ inner @ inverse)
    return np.maximum(value, 1e-12), q @ vector, inverse @ vector
