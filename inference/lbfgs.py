"""L-BFGS for several independent problems in lockstep.

Every iteration makes one batched call for all problems that are still running, so that several starts cost
as many calls as one.

References
----------
Nocedal & Wright (2006), Numerical Optimization, chapter 7.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass
class Minimum:
    """Where the problems ended: points ``(K, P)``, values ``(K,)``, gradients, and iterations made."""

    x: np.ndarray
    value: np.ndarray
    grad: np.ndarray
    num_iterations: int
    converged: np.ndarray


def minimise(
    fn: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    x: np.ndarray,
    max_iterations: int = 300,
    tolerance: float = 1e-2,
    patience: int = 4,
    memory: int = 12,
    max_step: float = np.inf,
    callback=None,
) -> Minimum:
    """Minimise K functions at once.

    Parameters
    ----------
    fn : callable
        ``fn(x, which) -> (values, gradients)`` for the problems ``which``; non-finite values are refused.
    x : numpy.ndarray, shape (K, P)
    tolerance : float
        A problem stops when `patience` iterations together gain less than this.
    max_step : float
        Largest change of any coordinate in one step.
    """
    x = np.array(x, dtype=float)
    count, size = x.shape
    value, grad = fn(x, np.arange(count))
    value = np.where(np.isfinite(value), value, np.inf)
    grad = np.nan_to_num(grad, nan=0.0, posinf=0.0, neginf=0.0)
    steps: list[list[np.ndarray]] = [[] for _ in range(count)]
    changes: list[list[np.ndarray]] = [[] for _ in range(count)]
    history = [[v] for v in value]
    active = np.isfinite(value)
    converged = np.zeros(count, bool)
    direction = np.zeros_like(x)
    length = np.ones(count)
    fresh = np.ones(count, bool)
    tries = np.zeros(count, int)
    iteration = 0
    while active.any() and iteration < max_iterations:
        iteration += 1
        if callback is not None and callback():
            break
        which = np.flatnonzero(active)
        for k in which[fresh[which]]:
            direction[k] = -_two_loop(grad[k], steps[k], changes[k])
            slope = direction[k] @ grad[k]
            if not slope < 0:
                steps[k].clear(), changes[k].clear()
                direction[k] = -grad[k]
            if not steps[k]:
                norm = np.linalg.norm(grad[k])
                length[k] = min(1.0, 1.0 / norm) if norm > 0 else 1.0
            else:
                length[k] = 1.0
            largest = np.abs(direction[k]).max() * length[k]
            if largest > max_step:
                length[k] *= max_step / largest
            tries[k] = 0
        fresh[which] = False
        trial = x[which] + length[which, None] * direction[which]
        new_value, new_grad = fn(trial, which)
        for i, k in enumerate(which):
            slope = direction[k] @ grad[k]
            ok = np.isfinite(new_value[i]) and np.isfinite(new_grad[i]).all()
            if ok and new_value[i] <= value[k] + 1e-4 * length[k] * slope:
                step, change = trial[i] - x[k], new_grad[i] - grad[k]
                if step @ change > 1e-10 * (np.linalg.norm(step) * np.linalg.norm(change) + 1e-300):
                    steps[k].append(step), changes[k].append(change)
                    if len(steps[k]) > memory:
                        steps[k].pop(0), changes[k].pop(0)
                x[k], value[k], grad[k] = trial[i], new_value[i], new_grad[i]
                history[k].append(value[k])
                fresh[k] = True
                past = history[k][-1 - patience :]
                if len(past) > patience and past[0] - past[-1] < tolerance:
                    active[k], converged[k] = False, True
            else:
                tries[k] += 1
                if ok:
                    gap = new_value[i] - value[k] - length[k] * slope
                    best = -slope * length[k] ** 2 / (2 * gap) if gap > 0 else 0.5 * length[k]
                    length[k] = np.clip(best, 0.05 * length[k], 0.5 * length[k])
                else:
                    length[k] *= 0.1
                if tries[k] > 20:
                    if steps[k]:
                        steps[k].clear(), changes[k].clear()
                        fresh[k] = True
                    else:
                        active[k] = False
                        converged[k] = ok and abs(slope) * length[k] < tolerance
    return Minimum(x, value, grad, iteration, converged)


def _two_loop(grad, steps, changes):
    q = grad.copy()
    alphas = []
    for s, y in zip(reversed(steps), reversed(changes), strict=True):
        a = (s @ q) / (y @ s)
        alphas.append(a)
        q -= a * y
    if steps:
        s, y = steps[-1], changes[-1]
        q *= (s @ y) / (y @ y)
    for (s, y), a in zip(zip(steps, changes, strict=True), reversed(alphas), strict=True):
        q += s * (a - (y @ q) / (y @ s))
    return q
