"""Short parallel chains that start at the guide: Hamiltonian Monte Carlo in its whitened frame.

All chains move in lockstep, one batched gradient per leapfrog step. What drifts away from where the guide
put it bounds the guide's error from below; a quantity is established only where every chain has moved
several autocorrelation times.

References
----------
Neal (2011), MCMC using Hamiltonian dynamics. Wang, Kasprzak & Huggins (2023), A targeted accuracy
diagnostic for variational approximations, AISTATS. Margossian et al. (2024), Nested R̂, Bayesian Analysis.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from .frame import Dense


@dataclass
class Chains:
    """Draws of N chains, shape ``(N, T, dim)``, and how they moved.

    ``divergent_z`` holds where the diverging transitions began, shape ``(K, dim)``.
    """

    z: np.ndarray
    accept: float
    step_size: float
    num_gradients: int
    divergent: float
    divergent_z: np.ndarray

    def joined(self, other: Chains) -> Chains:
        """These chains, and how they went on."""
        own, more = self.z.shape[1], other.z.shape[1]
        if not more:
            return self
        share = more / (own + more)
        return Chains(
            np.concatenate([self.z, other.z], 1),
            (1 - share) * self.accept + share * other.accept,
            other.step_size,
            self.num_gradients + other.num_gradients,
            (1 - share) * self.divergent + share * other.divergent,
            np.concatenate([self.divergent_z, other.divergent_z]),
        )


def short_chains(
    density,
    start,
    frame,
    rng,
    num_warmup=40,
    num_draws=80,
    callback=None,
    target=0.8,
    step_size=None,
    renew=True,
) -> Chains:
    """Run the chains.

    Parameters
    ----------
    density : callable
        ``density(z) -> (log density, gradient)``.
    start : numpy.ndarray, shape (N, dim)
        Where the chains start, unconstrained.
    frame : Dense or Sparse
        Where momenta are standard normal.
    num_warmup : int
        Iterations that set the step size.
    target : float
        Acceptance that the step size aims at.
    step_size : float, optional
        Where the step size starts, and stays without warm-up.
    renew : bool
        Whether the warm-up renews the frame from where the chains are.
    """
    num_chains, dim = start.shape
    x = frame.coordinates(start)

    def evaluate(x):
        value, grad = density(frame.points(x))
        bad = ~np.isfinite(value) | ~np.isfinite(grad).all(1)
        return np.where(bad, -np.inf, value), np.where(bad[:, None], 0.0, frame.gradients(grad))

    value, grad = evaluate(x)
    log_step = average = np.log(0.5 / dim**0.25 if step_size is None else step_size)
    h_bar, anchor = 0.0, np.log(10.0) + log_step
    total, accepts, divergent, where, count0 = num_chains, [], [], [], 0
    out = np.empty((num_chains, num_draws, dim))
    kept = 0
    for iteration in range(num_warmup + num_draws):
        if callback is not None and callback():
            break
        warm = iteration < num_warmup
        if warm and renew and iteration in (num_warmup // 4, num_warmup // 2) and num_chains >= 2 * dim:
            z = frame.points(x)
            covariance = np.cov(z.T).reshape(dim, dim)
            shrink = dim / (num_chains + dim)
            covariance = (1 - shrink) * covariance + shrink * np.diag(np.diag(covariance))
            with suppress(np.linalg.LinAlgError):
                frame = Dense(z.mean(0), np.linalg.cholesky(covariance))
            x = frame.coordinates(z)
            value, grad = evaluate(x)
            total += num_chains
            h_bar, anchor, average = 0.0, np.log(10.0) + log_step, log_step
            count0 = iteration
        step = np.exp(log_step if warm else average)
        steps = np.clip(np.ceil(rng.uniform(0.4, 1.2) * 1.6 / step), 1, 32).astype(int)
        jitter = step * rng.uniform(0.8, 1.2, (num_chains, 1))
        p = rng.standard_normal((num_chains, dim))
        energy = value - 0.5 * (p**2).sum(1)
        q, new_value, new_grad = x, value, grad
        p = p + 0.5 * jitter * new_grad
        for i in range(steps):
            q = q + jitter * p
            new_value, new_grad = evaluate(q)
            p = p + (1.0 if i < steps - 1 else 0.5) * jitter * new_grad
        total += steps * num_chains
        change = new_value - 0.5 * (p**2).sum(1) - energy
        change = np.where(np.isnan(change), -np.inf, change)
        probability = np.exp(np.minimum(change, 0.0))
        if not warm:
            divergent.append((change < -1000).mean())
            where.append(frame.points(x[change < -1000]))
        accept = np.log(rng.uniform(size=num_chains)) < change
        x = np.where(accept[:, None], q, x)
        value, grad = np.where(accept, new_value, value), np.where(accept[:, None], new_grad, grad)
        if warm:
            t = iteration - count0 + 1
            h_bar += (target - probability.mean() - h_bar) / (t + 3)
            log_step = (
                anchor - np.sqrt(t) / 0.1 * h_bar if t > 2 else log_step + (probability.mean() - target)
            )
            average = t**-0.75 * log_step + (1 - t**-0.75) * average if t > 1 else log_step
        else:
            out[:, kept] = frame.points(x)
            kept += 1
            accepts.append(probability.mean())
    return Chains(
        out[:, :kept],
        float(np.mean(accepts)) if accepts else np.nan,
        float(np.exp(average)),
        total,
        float(np.mean(divergent)) if divergent else np.nan,
        np.concatenate(where) if where else np.zeros((0, dim)),
    )


def slowest(x: np.ndarray) -> float:
    """Autocorrelation times that the chains have moved along the direction in which their means differ most.

    Chains that sit in modes of their own differ along a direction that no single coordinate need show.

    Parameters
    ----------
    x : numpy.ndarray, shape (N, T, dim)
    """
    x = halves(x) if len(x) == 1 else x
    if x.shape[1] < 2:
        return 0.0
    means = x.mean(1)
    _, _, axes = np.linalg.svd(means - means.mean(0), full_matrices=False)
    return float(x.shape[1] / _time(x @ axes[:1].T)[0])


def halves(values: np.ndarray) -> np.ndarray:
    """One chain ``(1, T, Q)`` as two of half its length."""
    half = values.shape[1] // 2
    return values[0, : 2 * half].reshape(2, half, values.shape[2])


def inefficiency(values: np.ndarray) -> np.ndarray:
    """Integrated autocorrelation time of each quantity, the worst of its bulk and its two 5% tails.

    Estimated from the spread of the chains' means, which needs no spectral window with many chains.

    Parameters
    ----------
    values : numpy.ndarray, shape (N, T, Q)

    Returns
    -------
    numpy.ndarray, shape (Q,)
        At least 1; with N independent chains of T draws the effective size is ``N T`` over it.
    """
    low, high = np.quantile(values, [0.05, 0.95], axis=(0, 1))
    return np.maximum.reduce([_time(values), _time(values <= low), _time(values >= high)])


def _time(values):
    between = values.mean(1).var(0, ddof=1)
    total = values.var((0, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.maximum(1.0, np.where(total > 0, values.shape[1] * between / total, 1.0))
