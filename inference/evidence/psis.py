"""Pareto-smoothed importance sampling, through one wrapper.

References
----------
Vehtari et al. (2024), Pareto smoothed importance sampling, JMLR 25.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import sys
import threading
from functools import cache, cached_property
from importlib.machinery import SourceFileLoader
from operator import attrgetter
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from scipy.special import logsumexp, softmax

from ...ppl.interrupts import deferred
from ..thresholds import EVEN_WEIGHT, FEWEST_POSITIVE, KHAT_LIMIT, KHAT_TRUSTED, PARETO_BLOCK, UNSEEN

SLOW = ("scipy.stats", "scipy.optimize", "scipy.signal", "scipy.interpolate", "scipy.fftpack")
"""Modules of which the array layer calls next to nothing here, and which take longer to import than many a fit."""

_lock = threading.RLock()


def array_stats():
    """The array layer of arviz-stats, which needs NumPy and SciPy only.

    Its package imports the xarray layer too, which takes longer than many a fit. Until somebody else has imported the
    package, the files of the array layer are therefore run as modules of nobody's but ours: ``sys.modules`` has none
    of them, and an ``import arviz_stats`` in any thread finds its own.
    """
    with deferred(), _lock:
        return _array_stats()


@cache
def _array_stats():
    spec = importlib.util.find_spec("arviz_stats") if "arviz_stats" not in sys.modules else None
    if spec is None or spec.origin is None:
        return importlib.import_module("arviz_stats.base").array_stats
    return _Apart(Path(spec.origin).parent).module("arviz_stats.base.array").array_stats


class _Apart:
    """Modules of a package that only find each other."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.modules: dict[str, ModuleType] = {}

    def module(self, name: str) -> ModuleType:
        if name not in self.modules:
            path = self.folder.joinpath(*name.split(".")[1:]).with_suffix(".py")
            self.modules[name] = made = ModuleType(name)
            made.__dict__["__builtins__"] = {**vars(builtins), "__import__": self._imported}
            code = SourceFileLoader(name, str(path)).get_code(name)
            assert code is not None
            exec(code, made.__dict__)
        return self.modules[name]

    def _imported(self, name, globals=None, locals=None, fromlist=(), level=0):
        if name.startswith(f"{self.folder.name}."):
            return self.module(name)
        if fromlist and name.startswith(SLOW):
            return _Later(name)
        if name == "scipy" and {f"scipy.{one}" for one in fromlist or ()} <= set(SLOW):
            return SimpleNamespace(**{one: _Later(f"scipy.{one}") for one in fromlist})
        return builtins.__import__(name, globals, locals, fromlist, level)


class _Later:
    """A module, or a part of it, that is imported when something in it is called."""

    def __init__(self, name: str, *path: str):
        self._name, self._path = name, path

    def __getattr__(self, part: str) -> _Later:
        if part.startswith("__"):
            raise AttributeError(part)
        return _Later(self._name, *self._path, part)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return attrgetter(".".join(self._path))(importlib.import_module(self._name))(*args, **kwargs)


def khat_threshold(num_draws: int) -> float:
    """Sample-size-aware limit of k̂: ``min(1 − 1/log10 S, 0.7)`` (Vehtari et al. 2024).

    Examples
    --------
    >>> round(khat_threshold(100), 2), khat_threshold(10_000)
    (0.5, 0.7)
    """
    return float(min(1 - 1 / np.log10(num_draws), KHAT_LIMIT))


def smooth(log_weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Normalised smoothed weights and k̂.

    Parameters
    ----------
    log_weights : numpy.ndarray, shape (S,)
        Log importance ratios ``log p − log q``; ``−inf`` is allowed, NaN counts as ``−inf``.

    Returns
    -------
    tuple
        Weights that sum to one, shape ``(S,)``, and k̂: ``−inf`` for constant weights, no more than 0 where no weight is
        much larger than their mean, below 0.5 where next to nothing is beyond the largest, ``inf`` where no ratio is finite.

    Notes
    -----
    k̂ is the shape of a tail, whatever its scale: that of weights which all lie between 0.9 and 1.2 may be anything, and
    says nothing of an average. What a tail of some k̂ has beyond the largest weight is an average too, and known: see
    `unseen`.
    """
    weights, khat = _fitted(log_weights)
    if _known(weights > 0) and KHAT_TRUSTED <= khat < KHAT_LIMIT and unseen(weights, khat) < UNSEEN:
        khat = float(np.nextafter(KHAT_TRUSTED, 0.0))
    return weights, khat


def _fitted(log_weights: np.ndarray) -> tuple[np.ndarray, float]:
    """`smooth` with the shape of the tail, whatever it holds."""
    log_weights = np.where(np.isnan(log_weights), -np.inf, np.asarray(log_weights, np.float64))
    top = log_weights.max()
    if not np.isfinite(top):
        return np.full(len(log_weights), 1 / len(log_weights)), np.inf
    log_weights = log_weights - top
    finite = np.isfinite(log_weights)
    if np.ptp(log_weights[finite]) < 1e-12:
        return finite / finite.sum(), -np.inf if finite.all() else np.inf
    # arviz-stats takes log ratios of leave-one-out, the negative of these.
    floor = log_weights[finite].min() - 50.0
    try:
        with np.errstate(all="ignore"):
            smoothed, khat = array_stats().psislw(-np.where(finite, log_weights, floor))
    except ValueError:  # a tail of ties has no shape
        weights = np.exp(log_weights)
        return weights / weights.sum(), np.inf
    weights = np.exp(np.asarray(smoothed) - np.max(smoothed)) * finite
    if not np.isfinite(weights).all() or np.isnan(khat):
        weights, khat = np.exp(log_weights), np.inf
    elif _known(finite) and np.exp(log_weights).mean() * EVEN_WEIGHT > 1:
        khat = min(khat, 0.0)
    return weights / weights.sum(), float(khat)


def _known(there: np.ndarray) -> bool:
    """Whether next to none of the draws lie where nothing is known of the density."""
    return bool(there.mean() > 1 - UNSEEN)


def unseen(weights: np.ndarray, khat: float) -> float:
    """Share of the whole that a generalised Pareto tail of the weights holds beyond the largest of them.

    Of S draws one is expected there, whose weight is the largest and the mean excess of the tail at that place.

    Parameters
    ----------
    weights : numpy.ndarray, shape (S,)
        Smoothed and normalised.
    khat : float
        Shape of their tail, below 1.

    Examples
    --------
    >>> even = 1 + 0.5 * np.arange(1000) / 1000
    >>> round(unseen(even / even.sum(), 0.0), 4)
    0.0012
    """
    count = len(weights)
    tail = np.sort(weights)[-int(np.ceil(min(0.2 * count, 3 * np.sqrt(count)))) - 1 :]
    largest, excess = tail[-1], (tail[1:] - tail[0]).mean()
    return float(largest + excess + khat / (1 - khat) * (largest - tail[0]))


class Weighted:
    """What smoothing says of log importance weights.

    Attributes
    ----------
    log_weights : numpy.ndarray, shape (S,)
    """

    log_weights: np.ndarray

    @cached_property
    def _smoothed(self) -> tuple[np.ndarray, float]:
        return smooth(self.log_weights)

    @property
    def weights(self) -> np.ndarray:
        """Pareto-smoothed and normalised, shape ``(S,)``."""
        return self._smoothed[0]

    @property
    def khat(self) -> float:
        """k̂ of the weights."""
        return self._smoothed[1]

    @property
    def usable(self) -> bool:
        """Whether the weights are reliable at this number of draws."""
        return self.khat < khat_threshold(len(self.log_weights))

    @property
    def size(self) -> float:
        """Effective sample size of the weights."""
        return effective_size(self.weights)

    @property
    def log_evidence(self) -> float:
        """Log integral of the density, from the weights."""
        return float(logsumexp(self.log_weights) - np.log(len(self.log_weights)))


def tail_indices(rows: np.ndarray) -> np.ndarray:
    """Generalised-Pareto shape of the upper tail of the positive values of each row ``(Q, S)``, shape ``(Q,)``.

    ``−inf`` where they are few, or a tail of ties has no shape; no more than 0 where none is much larger than their mean.
    """
    rows = np.sort(np.asarray(rows, np.float64), axis=1)
    counts, found = (rows > 0).sum(1), np.full(len(rows), -np.inf)
    for count in np.unique(counts[counts >= FEWEST_POSITIVE]):
        tail = int(min(0.2 * count, 3 * np.sqrt(count)))
        same = np.flatnonzero(counts == count)
        each = max(1, PARETO_BLOCK // (tail * (30 + int(tail**0.5))))
        for own in (same[i : i + each] for i in range(0, len(same), each)):
            x = rows[own]
            with np.errstate(all="ignore"):
                shape = pareto_shapes(x[:, -tail:] - x[:, -tail - 1, None])
                even = x[:, -count:].mean(1) * EVEN_WEIGHT > x[:, -1]
                tied = x[:, -1] - x[:, -tail] < np.finfo(float).tiny
            shape = np.where(even, np.minimum(shape, 0.0), shape)
            found[own] = np.where(np.isfinite(shape) & ~tied, shape, -np.inf)
    return found


def pareto_shapes(excess: np.ndarray) -> np.ndarray:
    """Shape of a generalised Pareto law of each row of sorted excesses ``(n, M)``, held towards 1/2 by ten more of it.

    References
    ----------
    Zhang & Stephens (2009), A new and efficient estimation method for the generalized Pareto distribution, Technometrics 51.
    Vehtari et al. (2024), appendix C.
    """
    size = excess.shape[1]
    count = 30 + int(size**0.5)
    quartile, largest = excess[:, int(size / 4 + 0.5) - 1, None], excess[:, -1, None]
    b = (1 - np.sqrt(count / (np.arange(count) + 0.5))) / (3 * quartile) + 1 / largest
    b = np.where(b == 0, 1e-9 / largest, b)  # an exponential tail
    k = _mean_log(b, excess)
    level = size * (np.log(-b / k) - k - 1)
    weight = softmax(level, axis=1)
    weight = np.where(weight < 10 * np.finfo(float).eps, 0.0, weight)
    b = (b * weight).sum(1, keepdims=True) / weight.sum(1, keepdims=True)
    return (size * _mean_log(b, excess)[:, 0] + 5) / (size + 10)


def _mean_log(b: np.ndarray, excess: np.ndarray) -> np.ndarray:
    """Mean of ``log(1 - b x)`` over each row's excesses, shape as `b`: one logarithm for eight factors."""
    factors = 1 - b[:, :, None] * excess[:, None]
    whole = excess.shape[1] // 8 * 8
    eights = factors[:, :, :whole].reshape(*b.shape, 8, -1).prod(2)
    return (np.log(eights).sum(2) + np.log(factors[:, :, whole:].prod(2))) / excess.shape[1]


def effective_size(weights: np.ndarray) -> float:
    """Importance-sampling effective sample size of normalised weights."""
    return float(1.0 / np.sum(np.square(weights)))
