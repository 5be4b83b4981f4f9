"""What steps cost of privacy, and the noise that a budget asks for: by privacy loss distributions.

References
----------
Koskela, Jälkö & Honkela (2020), Computing tight differential privacy guarantees using FFT, AISTATS. Doroshenko et al. (2022),
Connect the dots: tighter discrete approximations of privacy loss distributions, PoPETs.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np

from ...ppl.errors import MissingBackendError, explain
from ..thresholds import FINEST_LOSS, NOISE_PACE, NOISE_TOLERANCE, TRUNCATED_SHARE


@dataclass(frozen=True)
class Budget:
    """What a private fit spends, and of whom.

    Attributes
    ----------
    epsilon, delta : float
        Of all steps together.
    clip : float
        Largest norm of the gradient of a unit.
    noise_multiplier : float
        Sd of the noise in the sum of a batch, in units of `clip`.
    steps : int
    sampling_rate : float
        Probability that a unit is in a batch.
    unit : str
        What is protected.
    num_units : int
        How many there are, which is public.
    accountant : str
    public : tuple of str
        What is taken to be public.
    seeded : bool
        Whether the noise is that of a seed that somebody has.
    most : int
        Units of a batch at the most: what is beyond is left out, which `delta` counts.
    """

    epsilon: float
    delta: float
    clip: float
    noise_multiplier: float
    steps: int
    sampling_rate: float
    unit: str
    num_units: int
    accountant: str
    public: tuple[str, ...] = ()
    seeded: bool = False
    most: int = 0

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {**asdict(self), "public": list(self.public)}

    def __str__(self) -> str:
        return (
            f"({self.epsilon:g}, {self.delta:g})-differential privacy of {self.unit}, of which there are {self.num_units}: "
            f"gradients clipped to {self.clip:g}, noise of {self.noise_multiplier:.4g} times that in each of {self.steps} "
            f"batches, in which each is with probability {self.sampling_rate:.4g}; by {self.accountant}"
        )


def accounting() -> Any:
    """The library dp-accounting.

    Raises
    ------
    MissingBackendError
    """
    try:
        importlib.import_module("dp_accounting.pld")
        return importlib.import_module("dp_accounting")
    except ModuleNotFoundError as error:
        remedy = "pip install 'elboroom[private]'"
        raise MissingBackendError(
            explain("er.Private", "the library 'dp_accounting'", "none", remedy)
        ) from error


def epsilon_of(
    noise_multiplier: float, delta: float, steps: int, rate: float, interval: float = FINEST_LOSS
) -> float:
    """Epsilon that steps cost at a delta, from above.

    Parameters
    ----------
    noise_multiplier : float
        Sd of the noise, in units of the largest norm.
    delta : float
        Probability with which no bound is kept.
    steps : int
        How many.
    rate : float
        Probability that a unit is in the batch of a step.
    interval : float
        To whose multiples privacy losses are rounded, upwards.

    Examples
    --------
    >>> round(epsilon_of(4.0, 1e-5, 10_000, 0.01), 3)
    0.947
    """
    accountant = accounting().pld.PLDAccountant(value_discretization_interval=interval)
    accountant.compose(_event(noise_multiplier, steps, rate))
    return float(accountant.get_epsilon(delta))


@lru_cache(maxsize=64)
def noise_for(epsilon: float, delta: float, steps: int, rate: float) -> float:
    """Least noise multiplier that keeps steps within a budget, to a thousandth of it."""
    from scipy.optimize import brentq  # slow to import

    interval = FINEST_LOSS * float(np.clip(epsilon, 1.0, 10.0))

    @cache
    def over(log_sigma: float) -> float:
        return epsilon_of(float(np.exp(log_sigma)), delta, steps, rate, interval) - epsilon

    # noise of a Gaussian mechanism, as far as sampling is as good as its rate
    high = low = np.log(rate * np.sqrt(2 * steps * np.log(1.25 / delta)) / epsilon + 0.3)
    while over(high) > 0:
        low, high = high, high + NOISE_PACE
    while high == low or over(low) <= 0:
        high, low = low, low - NOISE_PACE
    found = brentq(over, low, high, xtol=NOISE_TOLERANCE / 2)
    while over(found) > 0:
        found += NOISE_TOLERANCE / 4
    return float(np.exp(found))


def most_of(epsilon: float, delta: float, steps: int, rate: float, num_units: int) -> int:
    """Units of a batch, beyond which so few batches would go that a small share of `delta` counts them.

    Left out units change what comes of some steps, with the chance that they are left out: both sides of the
    definition move by that, the other one times ``exp(epsilon)``.
    """
    from scipy.stats import binom  # slow to import

    chance = TRUNCATED_SHARE * delta / (steps * (1.0 + np.exp(min(epsilon, 500.0))))
    return int(min(num_units, binom.isf(max(chance, 1e-300), num_units + 1, rate) + 1))


def accountant_name() -> str:
    """Accountant and version."""
    accounting()
    return f"privacy loss distributions (dp-accounting {importlib.metadata.version('dp-accounting')})"


def _event(noise_multiplier: float, steps: int, rate: float) -> Any:
    library = accounting()
    event = library.GaussianDpEvent(noise_multiplier)
    if rate < 1:
        event = library.PoissonSampledDpEvent(rate, event)
    return library.SelfComposedDpEvent(event, steps)
