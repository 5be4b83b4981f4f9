"""What a fit has found, and how the laws of its quantities move under the posterior's symmetries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...guides.family import Guide
from ...guides.transport import Gaussian
from ..run.trail import Rung
from ..thresholds import NUM_TWINS
from .finding import Finding
from .law import Law
from .pool import Pool
from .psis import khat_threshold
from .symmetry import Symmetry


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a fit has found.

    Attributes
    ----------
    guide : Guide
        Its law is `fitted`.
    fitted : Transport or Law
    law : Law
        Where the draws come from.
    khat : float
    elbo : tuple of float
        The bound in nats and its standard error.
    stein : Stein, SharedStein, MarginalStein, LocalStein or None
        Residuals of the draws.
    frame : Gaussian or None
        The coordinates that they are of.
    pool : Pool or None
        Draws of the guide with importance weights.
    objection : str or None
        A reason not to trust any quantity.
    elbo_trace : tuple of float
    rungs, findings : tuple
    symmetries : tuple of Symmetry
    twins : tuple
        Rows of `law`, and for each symmetry their images.
    response : tuple of numpy.ndarray or None
        Coordinates, and their sds by linear response.
    steps : mapping of numpy.ndarray
        What else was seen at each step of a fit, by name.
    guide_errors : tuple of numpy.ndarray or None
        How far the guide's means and sds were off, once chains have shown it.
    without : bool
        Whether there was no fit: draws from anywhere.
    """

    guide: Guide
    fitted: Any
    law: Law
    khat: float = np.nan
    elbo: tuple[float, float] = (np.nan, np.nan)
    stein: Any = None
    frame: Gaussian | None = None
    pool: Pool | None = None
    objection: str | None = None
    elbo_trace: tuple[float, ...] = ()
    rungs: tuple[Rung, ...] = ()
    findings: tuple[Finding, ...] = ()
    symmetries: tuple[Symmetry, ...] = ()
    twins: tuple[np.ndarray, list[np.ndarray]] = field(default_factory=lambda: (np.zeros(0, int), []))
    response: tuple[np.ndarray, np.ndarray] | None = None
    steps: Mapping[str, np.ndarray] = field(default_factory=dict)
    guide_errors: tuple[np.ndarray, np.ndarray] | None = None
    without: bool = False

    @property
    def usable(self) -> bool:
        """Whether the weights of the guide's draws are reliable."""
        return self.khat < khat_threshold(len(self.law.z if self.pool is None else self.pool.z))

    @property
    def sd(self) -> np.ndarray:
        """Sd of each coordinate: the guide's, or linear response's where it was asked for."""
        assert self.frame is not None
        out = np.array(self.frame.marginals()[1])
        if self.response is not None:
            out[self.response[0]] = self.response[1]
        return out

    def mirrored(self, quantities: Callable[[np.ndarray], np.ndarray], values: np.ndarray) -> np.ndarray:
        """How far each quantity's law moves under the symmetries, beyond its noise: ``(symmetry, quantity)``.

        Parameters
        ----------
        quantities : callable
            ``quantities(z) -> values`` of shapes ``(S, dim)`` and ``(S, Q)``.
        values : numpy.ndarray
            ``quantities(law.z)``.
        """
        rows, images = self.twins
        if not images:
            return np.zeros((0, 1))
        inefficiency = self.law.inefficiency(values)
        return np.stack([moved(values[rows], quantities(image), inefficiency) for image in images])


def twins(symmetries, law: Law, rng: np.random.Generator) -> tuple[np.ndarray, list[np.ndarray]]:
    """Rows of a law and, for each symmetry, their images."""
    rows = law.resample(min(NUM_TWINS, len(law.z)), rng)
    return rows, [symmetry.apply(law.z[rows])[0] for symmetry in symmetries]


def moved(before: np.ndarray, after: np.ndarray, inefficiency) -> np.ndarray:
    """Change of mean, spread and 5% tails of each column, beyond its noise, in sds."""
    sd = before.std(0)
    sd = np.where(sd > 0, sd, 1.0)
    noise = 5.0 * np.sqrt(np.asarray(inefficiency) / len(before))
    shift = np.abs(after.mean(0) - before.mean(0)) / sd - noise
    kurtosis = np.maximum(*((((x - x.mean(0)) / sd) ** 4).mean(0) for x in (before, after)))
    spread = np.abs(after.std(0) - before.std(0)) / sd - noise * np.sqrt(np.maximum(kurtosis - 1, 2) / 2)
    edges = np.quantile(before, [0.05, 0.95], axis=0) - np.quantile(after, [0.05, 0.95], axis=0)
    return np.maximum(0.0, np.maximum.reduce([shift, spread, 0.6 * np.abs(edges).max(0) / sd - 2 * noise]))
