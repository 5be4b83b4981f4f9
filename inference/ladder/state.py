"""What a fit knows: a frozen state that every stage of the ladder makes anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...guides.choose import Plan
from ...guides.family import Guide
from ...guides.transport import Gaussian, packed
from ..batches.view import AllRows, View
from ..evidence.finding import Finding
from ..evidence.law import Law
from ..evidence.modes import Elsewhere
from ..evidence.outcome import Outcome
from ..evidence.pool import Pool
from ..evidence.symmetry import Symmetry
from ..run.trail import Rung
from ..thresholds import LARGEST_DENSE
from .centring import carry


@dataclass(frozen=True, eq=False)
class State:
    """State of one fit.

    Attributes
    ----------
    target : Target
        In the coordinates of the fit; see `entered`.
    plan : Plan
    seed, num_draws : int
    rows : View
        Which rows a density reads.
    named : bool
        Whether the user named the guide: then nothing richer is tried.
    simple : bool
        Whether the outcomes tell so little that flows and mixtures are not worth their while.
    lean : bool
        Whether chains follow anyway: only what they start from is asked of the evidence.
    start : numpy.ndarray or None, shape (1, dim)
        A starting point of the user's.
    best : Gaussian or None
        The best Gaussian so far.
    ends : numpy.ndarray, shape (K, dim)
        Where other starts ended.
    family, guide, fitted
        What is fitted: a family, bound to the target, and the member that was reached.
    settled : bool
        Whether the fit came to rest.
    frame : Gaussian or None
        The coordinates of the evidence.
    pool : Pool or None
    trial : bool
        Whether the pool was left small, since groups may be summed out.
    law : Law or None
        Where draws come from so far.
    stein : Stein, SharedStein, MarginalStein, LocalStein or None
    objection : str or None
        A reason not to trust any quantity.
    covers : callable or None
        ``covers(z) -> bool``: whether a place is one that the draws are of, where more is known than distances tell.
    elsewhere : tuple of Elsewhere
        Places with mass that the draws miss.
    unweighed : str
        Why the masses of several modes are not known.
    symmetries : tuple of Symmetry
    response : tuple of numpy.ndarray or None
        Coordinates, and their sds by linear response.
    elbo_trace, restarts : tuple
        The bound after each step, and which fit the step belongs to.
    steps : mapping of numpy.ndarray
    rungs, findings : tuple
    """

    target: Any
    plan: Plan
    seed: int = 0
    num_draws: int = 4000
    rows: View = field(default_factory=AllRows)
    named: bool = False
    simple: bool = False
    lean: bool = False
    start: np.ndarray | None = None
    best: Gaussian = None  # type: ignore[assignment]  # there from the stage on that makes it
    ends: np.ndarray = None  # type: ignore[assignment]  # there from the stage on that makes it
    family: Any = None
    guide: Guide = None  # type: ignore[assignment]  # there from the stage on that makes it
    fitted: Any = None
    settled: bool = True
    frame: Gaussian = None  # type: ignore[assignment]  # there from the stage on that makes it
    pool: Pool = None  # type: ignore[assignment]  # there from the stage on that makes it
    trial: bool = False
    law: Law = None  # type: ignore[assignment]  # there from the stage on that makes it
    stein: Any = None
    objection: str | None = None
    covers: Callable[[np.ndarray], bool] | None = None
    elsewhere: tuple[Elsewhere, ...] = ()
    unweighed: str = ""
    symmetries: tuple[Symmetry, ...] = ()
    response: tuple[np.ndarray, np.ndarray] | None = None
    elbo_trace: tuple[float, ...] = ()
    restarts: tuple[int, ...] = ()
    steps: Mapping[str, np.ndarray] = field(default_factory=dict)
    rungs: tuple[Rung, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def wide(self) -> bool:
        """Whether there are too many dimensions for dense frames."""
        return self.target.dim > LARGEST_DENSE

    @property
    def nonlinear(self) -> bool:
        """Whether the fitted law is no Gaussian, so that no quantity is linear in its base coordinates."""
        return not hasattr(self.fitted, "linear")

    @property
    def extensible(self) -> bool:
        """Whether anything richer than the fit may follow it."""
        return self.objection is None and not self.named and not self.lean

    def unfitted(self, family: Any) -> State:
        """With a family of which nothing has been fitted yet."""
        nothing: Any = None
        return replace(self, family=family, guide=nothing, fitted=None)

    def found(self, *findings: Finding) -> State:
        """With more findings."""
        return replace(self, findings=(*self.findings, *findings))

    def entered(self, target) -> State:
        """In the coordinates of `target`, the same density; the best Gaussian is not carried."""
        ends = self.ends if self.ends is None else carry(self.target, target, self.ends)
        return replace(self, target=target, ends=ends)

    def followed(self, trace) -> State:
        """With the bounds of the steps of one more fit."""
        number = self.restarts[-1] + 1 if self.restarts else 0
        return replace(
            self,
            elbo_trace=(*self.elbo_trace, *trace),
            restarts=(*self.restarts, *([number] * len(trace))),
        )

    def reach(self) -> np.ndarray:
        """Unit of each coordinate, as its prior declares it, in which it is told whether anything holds it."""
        scale = self.target.units[1]
        return np.maximum(np.where(scale == 1, scale.max(), scale), 1.0)

    def outcome(self) -> Outcome:
        """What was found."""
        trace = self.elbo_trace or tuple(r.elbo for r in self.rungs if np.isfinite(r.elbo))
        steps = dict(self.steps)
        if self.restarts:
            steps["restart"] = np.asarray(self.restarts)
        return Outcome(
            guide=self.guide,
            fitted=self.fitted,
            law=self.law,
            khat=np.nan if self.pool is None else self.pool.khat,
            elbo=(-np.inf, np.nan) if self.pool is None else self.pool.elbo,
            stein=self.stein,
            frame=self.frame,
            pool=self.pool,
            objection=self.objection,
            elbo_trace=trace,
            rungs=self.rungs,
            findings=self.findings,
            symmetries=self.symmetries,
            response=self.response,
            steps=steps,
        )


def dense(gaussian: Gaussian) -> Gaussian:
    """A Gaussian as fits and evidence take it: dense up to a thousand dimensions, as it is beyond."""
    if gaussian.dim > LARGEST_DENSE:
        return gaussian
    return packed(gaussian)
