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

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg

from ...guides.low_rank import LowRankFactor
from ...guides.mean_field import independent
from ...guides.transport import Gaussian, Rooted
from ..thresholds import (
    COMPLETE,
    DAMPED_MIXES,
    ENOUGH_GAINED,
    GROWTH_OF_SDS,
    KRYLOV_BLOCK,
    KRYLOV_ROUNDS,
    LARGEST_RANK,
    LARGEST_SPAN,
    LEAST_PRECISION,
    LOW_RANK_DRAWS,
    LOW_RANK_STEPS,
    MOST_DROPPED,
    PROBES,
    SHARE_GAINED,
    SPARSE_HESSIANS,
    WORTHLESS,
)
from .bound import entropy
from .designs import antithetic
from .lbfgs import minimise
from .loop import Density, Fit
from .problem import Problem
from .response import Curvature


@dataclass(frozen=True, eq=False)
class State:
    """Where the fit is.

    Attributes
    ----------
    curvature : tuple of float
        Smallest and largest curvature that the last search met, in the frame of the guide before it; 1 where that
        guide was exact.
    dropped : float
        Nats that directions beyond the rank would have brought.
    ended : str or None
        Why no direction is looked for any more; what is left is the mean.
    """

    mean: np.ndarray
    factor: LowRankFactor
    elbo: float = np.nan
    elbo_se: float = np.nan
    converged: bool = False
    trace: tuple[float, ...] = ()
    curvature: tuple[float, float] = (1.0, 1.0)
    dropped: float = 0.0
    num_steps: int = 0
    ended: str | None = None
    reason: str | None = None

    @property
    def complete(self) -> bool:
        """Whether the family seems to hold the best Gaussian: nothing dropped, and no curvature left over."""
        low, high = self.curvature
        return self.converged and self.dropped < MOST_DROPPED and low > COMPLETE[0] and high < COMPLETE[1]


@dataclass(frozen=True, eq=False)
class LowRankSearch:
    """The engine.

    Parameters
    ----------
    density : callable
        See `Density`.
    rng : numpy.random.Generator
    rank : int
        Most directions.
    num_draws, num_hessian : int
        Draws for the mean and the bound, and for the mean Hessian; even.
    num_probes : int
        Random vectors for the diagonal of the Hessian.
    stop : callable, optional
        Asked between gradients.
    """

    density: Density
    rng: np.random.Generator
    rank: int = LARGEST_RANK
    num_draws: int = LOW_RANK_DRAWS
    num_hessian: int = SPARSE_HESSIANS
    num_probes: int = PROBES
    max_steps: int = LOW_RANK_STEPS
    stop: Callable[[], bool] | None = None

    name = "low-rank"
    loose = False
    rounds = 1
    again = True
    centred = False
    improves = False
    must_rest = False

    @classmethod
    def of(cls, problem: Problem) -> LowRankSearch:
        """Of the rank that the family says."""
        rank = problem.guide.family.rank
        rank = LARGEST_RANK if rank is None else rank
        return cls(problem.density, problem.rng, rank, stop=problem.stop)

    def init(self, start: Gaussian) -> State:
        """At independent Gaussians."""
        return State(np.array(start.mean, float), LowRankFactor.diagonal(independent(start).scale))

    def done(self, state: State) -> str | None:
        """See `Engine.done`."""
        return state.reason

    def step(self, state: State) -> State:
        """New directions and scales; where these are found, the mean on many draws."""
        if state.ended is None and state.num_steps < self.max_steps:
            return self._searched(replace(state, num_steps=state.num_steps + 1))
        return self._centred(replace(state, reason=state.ended or "step limit"))

    def _searched(self, state: State) -> State:
        mean, factor, rng = state.mean, state.factor, self.rng
        centre = _centre(self._density, mean, factor, rng, self.num_draws)
        product = Curvature.of(self._density, Rooted(centre, factor), rng, self.num_hessian)
        try:
            surrogate = _Surrogate(product, factor, rng, self.num_probes)
            surrogate.solve(self.stop)
            state = replace(state, curvature=surrogate.curvature)
            eps = antithetic(rng, 2 * self.num_draws, len(mean), unit=True)
            before = _bound(self._density, mean, factor, eps)[0]
            for damping in DAMPED_MIXES:
                trial, lost = surrogate.damped(damping, self.rank)
                bound = _bound(self._density, centre, trial, eps)[0]
                if bound > before:
                    break
        except np.linalg.LinAlgError:
            return replace(state, ended="the curvature is not finite")
        if not bound > before:
            return replace(state, ended="no step raises the bound", converged=bool(state.trace))
        trace = (*state.trace, bound)
        state = replace(state, mean=centre, factor=trial, dropped=lost, trace=trace, elbo=bound)
        if bound - before < max(ENOUGH_GAINED, SHARE_GAINED * (bound - trace[0])):
            return replace(state, ended="the bound no longer rises", converged=True)
        return state

    def _centred(self, state: State) -> State:
        mean, factor = state.mean, state.factor
        eps = antithetic(self.rng, 8 * self.num_draws, len(mean), unit=True)
        centre = _centre(self._density, mean, factor, self.rng, 8 * self.num_draws)
        found, here = (_bound(self._density, place, factor, eps) for place in (centre, mean))
        (elbo, error), mean = (found, centre) if found[0] > here[0] else (here, mean)
        return replace(state, mean=mean, elbo=elbo, elbo_se=error)

    def _density(self, z):
        with np.errstate(all="ignore"):
            return self.density(z)

    def fit(self, state: State, reason: str) -> Fit:
        """What was reached."""
        words = f"{len(state.factor.width)} directions; {reason} after {len(state.trace)} steps"
        if not state.complete:
            words += "; other directions are left out, the sds may be too small"
        place = Rooted(state.mean, state.factor)
        return Fit(place, place, state.elbo, state.converged, state.trace, words, reason)


def _inner(basis, image):
    inner = basis.T @ image
    return 0.5 * (inner + inner.T)


def _centre(density, mean, factor, rng, num_draws):
    """The mean that maximises the bound on fixed draws, by quasi-Newton in the frame."""
    eps = antithetic(rng, num_draws, len(mean), unit=True)

    def objective(x, which):
        value, grad = density(mean + factor.root(x + eps))
        return -value.mean(keepdims=True), -factor.whiten(grad.mean(0))[None]

    found = minimise(
        objective, np.zeros((1, len(mean))), max_iterations=40, tolerance=0.05, patience=3, max_step=2.0
    )
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
        first = np.concatenate([factor.basis, rng.standard_normal((len(factor.scale), KRYLOV_BLOCK))], 1)
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
            for _ in range(KRYLOV_ROUNDS):
                if self.span.shape[1] + KRYLOV_BLOCK <= most:
                    self._grow()
            self._diagonal(guide)
            guide, bound = self._guide(self.diagonal, self.span, self.inner)
            self.scale = guide.scale
            bounds.append(bound)
            full = self.span.shape[1] + KRYLOV_BLOCK > most
            if len(bounds) > 1:
                gain = bounds[-1] - bounds[-2]
                if (
                    full
                    or gain < max(ENOUGH_GAINED, SHARE_GAINED * (bounds[-1] - bounds[0]))
                    or (callback and callback())
                ):
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
        scale = np.minimum(scale, GROWTH_OF_SDS * self.factor.scale)
        value, basis, _ = _eigen(scale, span, inner)
        return LowRankFactor(scale, basis, value**-0.5), bound

    def _grow(self):
        """Add the residuals of the Ritz vectors that promise most."""
        value, basis, back = _eigen(self.scale, self.span, self.inner)
        residual = self.scale[:, None] * (self.image @ back) - basis * value
        promise = np.abs(1 - 1 / np.maximum(value, GROWTH_OF_SDS**-2)) * (residual**2).sum(0)
        new = residual[:, np.argsort(-promise)[:KRYLOV_BLOCK]]
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
        inner = (vector * np.maximum(value, GROWTH_OF_SDS**-2)) @ vector.T
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
        found = known + np.maximum(rest + probed.mean(0), LEAST_PRECISION * rest)
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

    found = minimise(
        objective, np.zeros((1, len(scale))), max_iterations=60, tolerance=0.02, patience=3, max_step=1.0
    )
    return scale * np.exp(found.x[0]), -float(found.value[0]) + np.log(scale).sum()


def _eigen(scale, span, inner):
    """Curvatures in the span and their directions, orthonormal in units of `scale`."""
    q, r = np.linalg.qr(span / scale[:, None])
    inverse = np.linalg.inv(r)
    value, vector = np.linalg.eigh(inverse.T @ inner @ inverse)
    return np.maximum(value, 1e-12), q @ vector, inverse @ vector
