"""Guarded natural-gradient fit of a Gaussian with a sparse precision.

The optimal Gaussian's precision is the mean of the negative Hessian under it, which has the posterior's own
links; so the step ``P ← (1 - ρ) P + ρ E[-H]``, ``m ← m + P⁻¹ E[∇ log p]`` stays within the family. The expectations
are taken over a few antithetic draws, and averaged over steps once the fit stands still.

References
----------
Khan & Rue (2023), The Bayesian learning rule, JMLR 24. Tan & Nott (2018), Statistics and Computing 28.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from ..guides.sparse import Factor, NotPositiveDefinite
from .bound import entropy
from .designs import antithetic

LARGEST_STEP = 0.75  # then no variance grows more than fourfold at once


@dataclass
class SparseFit:
    """A sparse Gaussian and how it was reached."""

    mean: np.ndarray
    factor: Factor
    elbo: float
    converged: bool
    trace: list
    reason: str


def sparse_newton(
    density,
    guide,
    mean,
    sd,
    rng,
    num_draws=32,
    num_hessian=8,
    max_steps=60,
    num_average=8,
    callback=None,
    keep=None,
) -> SparseFit:
    """Fit by guarded natural gradients.

    Parameters
    ----------
    density : callable
        ``density(z) -> (log density (B,), gradient (B, dim))``.
    guide : StructuredGuide
    mean, sd : numpy.ndarray, shape (dim,)
        Start: independent Gaussians.
    num_draws, num_hessian : int
        Draws for the mean gradient and, of these, for the mean Hessian; even.
    num_average : int
        Steps that are averaged at the end.
    """
    dim, layout = len(mean), guide.order
    held = -guide.structure.hessian(density, np.array(mean, float)[None], sd).diagonal()
    precision = sp.csr_array(sp.diags_array(np.where(held > 0, held, 1.0 / sd**2)))
    trial = (np.array(mean, float), precision, layout.factor(precision))
    damping, kept, best, stale, last = LARGEST_STEP, None, None, 0, None
    trace: list = []
    reason, converged, averaged, widened = "step limit", False, 0, 0
    for _ in range(max_steps):
        if callback is not None and callback():
            reason = "stopped"
            break
        mean, precision, factor = trial
        eps = antithetic(rng, num_draws, dim, unit=True)
        z = mean + factor.root(eps)
        value, grad = density(z)
        finite = np.isfinite(value).all() and np.isfinite(grad).all()
        if finite:
            rest = value + 0.5 * (eps**2).sum(1)
            rest = 0.5 * (rest[: num_draws // 2] + rest[num_draws // 2 :])
            elbo = rest.mean() - 0.5 * dim + entropy(-factor.log_det, dim)
            se = rest.std() / np.sqrt(len(rest))
        if not finite or (kept is not None and elbo < kept[4] - 3 * np.hypot(se, kept[5]) - 1e-6 * abs(elbo)):
            if kept is None:
                precision = 4.0 * precision
                if precision.diagonal().max() > 1e24:
                    return SparseFit(mean, factor, -np.inf, False, trace, "no finite draw")
                trial = (mean, precision, layout.factor(precision))
                continue
            damping *= 0.4
            if damping < 1e-4:
                reason = "no step raises the bound"
                break
            trial = _step(layout, *kept[:4], damping)
            continue
        trace.append(float(elbo))
        unit = 1.0 / np.sqrt(precision.diagonal())
        half = num_draws // 2
        chosen = np.concatenate([np.arange(num_hessian // 2), half + np.arange(num_hessian // 2)])
        curvature = -guide.structure.hessian(density, z[chosen], unit)
        gradient = grad.mean(0)
        state = (mean, precision, gradient, curvature, elbo, se)
        if best is None or elbo - se > best[0] + 1e-3:
            best, stale = (elbo - se, mean, factor), 0
            if keep is not None:
                keep(mean, factor)
        else:
            stale += 1
        if kept is not None:
            damping = min(LARGEST_STEP, 1.6 * damping)
        kept = state
        a = factor.whiten(gradient[None])[0]
        common = abs((curvature.diagonal() / precision.diagonal() - 1).sum())
        still = np.abs(a).max() < 0.1 and _change(curvature, precision) < 0.15 and common < max(1, 0.01 * dim)
        if stale >= 3 and not averaged and not still and widened < 3:
            num_draws, num_hessian, stale, widened = 2 * num_draws, 2 * num_hessian, 0, widened + 1
        elif averaged or still or stale >= 3:
            converged = converged or still
            averaged += 1
            if averaged > num_average:
                reason = "converged" if converged else "no better bound with more draws"
                break
        # a Hessian that is the same everywhere is taken whole
        steady = last is not None and _change(curvature, last) < 0.02
        rate, last = min(1.0 if steady and averaged else damping, 1.0 / max(averaged, 1)), curvature
        trial = _step(layout, mean, precision, gradient, curvature, rate)
    if averaged:
        return SparseFit(mean, factor, trace[-1], converged, trace, reason)
    if best is None:
        return SparseFit(trial[0], trial[2], -np.inf, False, trace, "no finite draw")
    return SparseFit(best[1], best[2], best[0], False, trace, reason)


def _change(new, old) -> float:
    """Largest difference of two precisions' entries, relative to the diagonal."""
    unit = sp.diags_array(1.0 / np.sqrt(np.abs(old.diagonal())))
    return float(np.abs((unit @ (new - old) @ unit).data).max(initial=0.0))


def _step(layout, mean, precision, gradient, curvature, damping):
    """Newton's step, damped until the precision is one."""
    for _ in range(30):
        new = sp.csr_array((1 - damping) * precision + damping * curvature)
        try:
            factor = layout.factor(new)
            break
        except NotPositiveDefinite:
            damping *= 0.5
    else:
        new, factor = precision, layout.factor(precision)
    move = damping * factor.root(factor.whiten(gradient[None]))
    size = np.sqrt((factor.unroot(move) ** 2).mean())
    if size > 1.5:
        move *= 1.5 / size
    return mean + move[0], new, factor
