"""Guarded natural-gradient fit of a full-rank Gaussian.

In the whitened frame of the current Gaussian the mean gradient and, by Stein's identity, the mean Hessian
of the log density follow from one batch of gradients at whitened draws; the step is Newton's, and a step
that lowers the ELBO beyond its standard error is taken back and damped.

References
----------
Khan & Rue (2023), The Bayesian learning rule, JMLR 24. Lin, Schmidt & Khan (2020), Handling the
positive-definite constraint in the Bayesian learning rule, ICML.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from .bound import entropy
from .designs import whitened


@dataclass
class Fitted:
    """A Gaussian and how it was reached."""

    mean: np.ndarray
    scale_tril: np.ndarray
    elbo: float
    converged: bool
    trace: list
    reason: str


@dataclass(frozen=True)
class State:
    """A Gaussian with what its draws say of the target.

    Attributes
    ----------
    mean, scale : numpy.ndarray, shapes (dim,) and (dim, dim)
    gradient, curvature : numpy.ndarray, shapes (dim,) and (dim, dim)
        Mean gradient and mean negative Hessian, whitened; see `whitened_moments`.
    eps, grad : numpy.ndarray, shape (B, dim)
        The whitened draws, and the target's gradient at ``mean + scale eps``.
    elbo, elbo_se : float
    """

    mean: np.ndarray
    scale: np.ndarray
    gradient: np.ndarray
    curvature: np.ndarray
    eps: np.ndarray
    grad: np.ndarray
    elbo: float = np.nan
    elbo_se: float = np.nan


def natural_gradient(
    density,
    mean,
    scale_tril,
    rng,
    max_steps=100,
    callback=None,
    keep=None,
    gradient_tol=0.1,
    hessian_tol=0.15,
    advance=None,
) -> Fitted:
    """Fit by guarded natural gradients.

    Parameters
    ----------
    density : callable
        ``density(z) -> (log density (B,), gradient (B, dim))``.
    mean, scale_tril : numpy.ndarray
        Start, shapes ``(dim,)`` and ``(dim, dim)``.
    rng : numpy.random.Generator
    advance : callable, optional
        ``advance(state, damping) -> (mean, scale)``: where a step leads from a `State`; by default `step`.

    Notes
    -----
    Stops when the worst direction has whitened gradient below 0.1 and whitened curvature within 0.15 of 1, and the
    curvatures sum to the dimension within 1.
    """
    dim, advance = len(mean), advance or step
    base = max(32, 2 * dim + dim % 2)
    batch = base
    damping, trace = 1.0, []
    kept: State | None = None  # the last that was accepted
    best = None
    stale = 0
    narrow = np.abs(np.diag(scale_tril)).max()
    widest = max(1.0, narrow)
    reason = "step limit"
    trial = (np.array(mean), np.array(scale_tril))
    for _ in range(max_steps):
        if callback is not None and callback():
            reason = "stopped"
            break
        mu, scale = trial
        z = whitened(rng, batch, dim)
        value, grad = density(mu + z @ scale.T)
        finite = np.isfinite(value).all() and np.isfinite(grad).all()
        if finite:
            a, hessian = whitened_moments(grad @ scale, z)
            elbo = value.mean() + entropy(np.log(np.abs(np.diag(scale))).sum(), dim)
            se = _residual_sd(value, z, a, hessian) / np.sqrt(batch)
        if not finite or (kept is not None and elbo < kept.elbo - 3 * np.hypot(se, kept.elbo_se)):
            if kept is None:
                scale = 0.5 * scale
                if np.abs(np.diag(scale)).max() < 1e-12 * narrow:
                    return Fitted(mu, scale, -np.inf, False, trace, "no finite draw")
                trial = (mu, scale)
                continue
            damping *= 0.4
            if damping < 1e-4:
                reason = "no step raises the bound"
                break
            trial = advance(kept, damping)
            continue
        trace.append(elbo)
        eig = np.linalg.eigvalsh(hessian)
        state = State(mu, scale, a, hessian, z, grad, elbo, se)
        lower = elbo - se
        if best is None or lower > best[0] + 1e-3:
            best, stale = (lower, state), 0
            if keep is not None:
                keep(mu, scale)
        else:
            stale += 1
        # small in every direction, and in all together: heavy tails in many dimensions hide a common scale
        small = np.abs(eig - 1).max() < hessian_tol and abs(eig.sum() - dim) < 1.0
        if np.abs(a).max() < gradient_tol and small:
            best, reason = (lower, state), "converged"
            # One more undamped step is free and lands closer still.
            mu, scale = step(state, 1.0)
            return Fitted(mu, scale, elbo, True, trace, reason)
        if eig.min() < 1e-3 and np.abs(np.diag(scale)).max() > 1e6 * widest:
            reason = "flat direction"
            break
        if kept is not None:
            damping = min(1.0, 1.6 * damping)
        kept = state
        if stale >= 3:
            if batch >= 2 * base:
                reason = "no better bound at the largest batch"
                break
            batch, stale = 2 * batch, 0
        trial = advance(state, damping)
    if best is None:
        return Fitted(trial[0], trial[1], -np.inf, False, trace, "no finite draw")
    state = best[1]
    return Fitted(state.mean, state.scale, state.elbo, False, trace, reason)


def whitened_moments(h, z):
    """Mean gradient, and by Stein's identity mean negative Hessian, from whitened gradients `h` at draws `z`."""
    a = h.mean(0)
    moment = h.T @ z / len(z)
    return a, -0.5 * (moment + moment.T)


def _residual_sd(value, z, a, hessian):
    fitted = z @ a - 0.5 * ((z @ hessian) * z).sum(1)
    rest = value - fitted
    return rest.std()


def step(state: State, damping: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale after a step, damped by a factor in (0, 1]."""
    mean, scale, a = state.mean, state.scale, state.gradient
    eig, vec = np.linalg.eigh(state.curvature)
    # The mean takes Newton's step in full: a ceiling on the curvature would make it overshoot.
    move = damping * vec @ ((vec.T @ a) / np.maximum(eig, 0.25))
    eig = np.clip(eig, 0.25, 4.0)
    with np.errstate(over="ignore"):
        size = np.sqrt((move**2).mean())
    if size > 1.5:
        move *= 1.5 / size
    spread = (vec / np.sqrt(1 + damping * (eig - 1))) @ vec.T
    factor = scale @ spread
    return mean + scale @ move, _lower(factor)


def _lower(factor):
    """Lower-triangular factor with the same outer product."""
    r = np.linalg.qr(factor.T, mode="r")
    return r.T * np.sign(np.diag(r))


def polish(density, mean, scale_tril, rng, max_doublings=2, callback=None, tolerance=0.01) -> Fitted:
    """Quasi-Newton on the fixed-draw ELBO, in the frame of a Gaussian that is already near.

    Draws are doubled until the ELBO on the fitting draws and on fresh ones agree within 0.1 nat.
    """
    from .lbfgs import minimise

    dim = len(mean)
    rows, cols = np.tril_indices(dim)
    diagonal = rows == cols
    num = max(32, 4 * dim)
    log_scale = np.log(np.abs(np.diag(scale_tril))).sum()
    x = np.zeros((1, dim + len(rows)))
    trace: list = []

    def build(x):
        c = np.zeros((dim, dim))
        c[rows, cols] = np.where(diagonal, np.exp(np.clip(x[dim:], -20, 20)), x[dim:])
        return x[:dim], c

    for _ in range(max_doublings + 1):
        z = whitened(rng, num, dim)

        def objective(x, which, z=z):
            m, c = build(x[0])
            value, grad = density(mean + (m + z @ c.T) @ scale_tril.T)
            h = grad @ scale_tril
            inner = h.T @ z / len(z)
            g = inner[rows, cols]
            g = np.where(diagonal, g * np.diag(c)[rows] + 1.0, g)
            elbo = value.mean() + entropy(log_scale + x[0, dim:][diagonal].sum(), dim)
            return np.array([-elbo]), -np.concatenate([h.mean(0), g])[None]

        found = minimise(objective, x, 60, tolerance, 3, callback=callback, max_step=1.0)
        x = found.x
        m, c = build(x[0])
        fresh = whitened(rng, num, dim)
        value, _ = density(mean + (m + fresh @ c.T) @ scale_tril.T)
        elbo = value.mean() + entropy(log_scale + x[0, dim:][diagonal].sum(), dim)
        trace.append(elbo)
        if not np.isfinite(elbo):
            break
        if -found.value[0] - elbo < 0.1:
            break
        num *= 2
    return Fitted(mean + scale_tril @ m, scale_tril @ c, elbo, True, trace, "polished")


def whiten(mean, scale_tril, z):
    """Coordinates of `z` in the frame of the Gaussian."""
    return solve_triangular(scale_tril, (z - mean).T, lower=True).T
