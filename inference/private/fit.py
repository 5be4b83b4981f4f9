"""A private fit of a model whose rows have no encoder: so many steps of a mean-field guide, and what they reach."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from ...guides import Affine, MeanField, choose
from ...guides.family import draw
from ...ppl.errors import GuideError, InferenceError, explain
from ...ppl.thresholds import QUOTED_LONG
from ..batches.minibatch import Minibatch
from ..engines.ascent import Ascent
from ..evidence.estimates import Estimates, estimate
from ..evidence.finding import Finding
from ..evidence.law import Law
from ..evidence.outcome import Outcome
from ..evidence.verdicts import Verdicts
from ..posterior.make import conclude
from ..posterior.record import Cost, Record
from ..run.trail import Rung
from ..run.watch import Watch
from ..thresholds import (
    CLIPPED_CAUTION,
    LOCATION_CAUTION,
    MEAN,
    MOST_CLIPPED,
    PRIVATE_BLOCKS,
    PRIVATE_DRAWS,
    PRIVATE_FLOOR,
    PRIVATE_PARTICLES,
    PRIVATE_RATE,
    PRIVATE_REST,
    PRIVATE_SD,
    SCALE_CAUTION,
    SD,
)
from .accounting import Budget
from .ascent import begun, compiled, constants_of, drawn_for
from .asked import Private, check_private
from .clipped import COUNTED
from .shown import Shown
from .units import Drawn

STAGE = "private ascent"
UNKNOWN = "nothing establishes it: its rows are private, and no public ones tell how they are curved"
ALIKE = "as far as private rows are like public ones"


def check_alone(private: Any, **given: Any) -> None:
    """Refuse what is no `Private`, and beside it what reads rows without noise, or would keep them.

    Raises
    ------
    InferenceError
    """
    check_private(private)
    for name, value in given.items():
        if value not in (None, False, "auto"):
            words = "a fit that is not private: it reads rows, or keeps what was seen of them"
            raise InferenceError(explain(name, words, "private=", "leave one of the two out"))


def fit_privately(
    target: Any,
    guide: Any,
    private: Private,
    minibatch: Minibatch | None,
    start: np.ndarray | None,
    settings: Mapping[str, Any],
    watch: Watch,
) -> Record:
    """The record of a private fit.

    Parameters
    ----------
    target : Target
        Of all rows.
    guide : str or Family
        A mean-field one.
    private : Private
        The budget.
    minibatch : Minibatch, optional
        The plate of the rows, and their number in a batch on average.
    start : numpy.ndarray, shape (1, dim), optional
        Where it begins, unconstrained; by default at zero.
    settings : mapping
        See `conclude`.
    watch : Watch
        Who is told.

    Raises
    ------
    DataError, GuideError, InferenceError
    """
    begin = time.perf_counter()
    if guide != "auto" and choose(guide, target).family != MeanField():
        words = "'mean-field', the one whose noise is known"
        raise GuideError(explain("guide of a private fit", words, f"{guide!r}"[:QUOTED_LONG], "leave it out"))
    if target.trace.weights:
        names = ", ".join(target.trace.weights)[:QUOTED_LONG]
        remedy = "give them priors, or the rows an encoder: guide=er.Amortized()"
        raise InferenceError(explain("private fit", "a model without learned arrays", f"'{names}'", remedy))
    drawn = drawn_for(private, target, minibatch)
    shown = Shown.of(private, drawn.units)
    origin = np.zeros(target.dim) if start is None else start[0]
    ascent = Ascent(
        target, drawn, (origin, np.full(target.dim, PRIVATE_SD)), PRIVATE_PARTICLES, seed=settings["seed"]
    )
    ascent.along(compiled(drawn.units, PRIVATE_PARTICLES), constants_of(drawn))
    with watch.showing(STAGE):
        reached = _reached(ascent, drawn, private.rate or PRIVATE_RATE)
    seconds = time.perf_counter() - begin
    known = shown.covariance(reached.mean, np.exp(reached.log_sd), drawn.units)
    reached = replace(reached, covariance=known)
    place = Affine(reached.mean, np.exp(reached.log_sd))
    passes = int(np.ceil(drawn.budget.steps * drawn.budget.sampling_rate))
    rung = Rung(STAGE, "mean-field", num_gradients=passes, seconds=seconds, reason=str(drawn.budget))
    watch.noted(rung)
    guided = MeanField().bind(target)
    z = draw(
        guided.at(place.to_arrays()),
        max(PRIVATE_DRAWS, settings["num_draws"]),
        np.random.default_rng([settings["seed"], 88]),
    )
    outcome = Outcome(
        guided, place, Law("guide", z), rungs=(rung,), steps={"gradient_norm": reached.norms}, findings=tuple(reached.findings()),
    )  # fmt: skip
    cost = Cost(passes, passes, drawn.target.density.clock["compile"], seconds)
    record = conclude(shown.target.program, shown.target, outcome, [], cost, settings, reached.judged)
    return shown.kept(record, drawn.budget, target.program.labels)


@dataclass(frozen=True, eq=False)
class Reached:
    """Where all steps lead, as averages over the last ones, whose rate is small.

    Attributes
    ----------
    mean, log_sd : numpy.ndarray, shape (dim,)
    norms : numpy.ndarray
        Of the gradient at each step, with its noise.
    clipped : float
        Share of units whose gradients were clipped.
    slope : numpy.ndarray, shape (2, dim)
        Gradient in mean and log sd.
    budget : Budget
    covariance : numpy.ndarray or None, shape (dim, dim)
        Of the posterior there, as public rows tell it.
    """

    mean: np.ndarray
    log_sd: np.ndarray
    norms: np.ndarray
    clipped: float
    slope: np.ndarray
    budget: Budget
    covariance: np.ndarray | None = None

    @property
    def spread(self) -> np.ndarray:
        """The covariance, else as the guide has it."""
        return np.diag(np.exp(2 * self.log_sd)) if self.covariance is None else self.covariance

    @property
    def noise(self) -> float:
        """How far noise, and the chance of batches, move a mean in 19 of 20 fits at the most, in sds: that of a sum, over its
        curvature, averaged over steps. Squares of the rows' gradients add up to the curvature where the model is right."""
        budget, spread = self.budget, self.spread
        each, rate = budget.noise_multiplier * budget.clip / budget.sampling_rate, budget.sampling_rate
        far = np.sqrt((each**2 * (spread**2).sum(1) / np.diag(spread)).max() + (1 - rate) / rate)
        return float(2 * far / np.sqrt(max(1.0, PRIVATE_REST * budget.steps)))

    @property
    def left(self) -> float:
        """How far a mean still has to go, beyond the noise, in sds, or a guide's sd as a share of itself."""
        far = np.abs(self.spread @ self.slope[0]) / np.sqrt(np.diag(self.spread)) - self.noise
        return float(max(far.max(), np.abs(self.slope[1]).max() / 2, 0.0))

    @property
    def narrow(self) -> float:
        """By what share the guide's sds are off at the most."""
        return float(np.abs(np.exp(self.log_sd) / np.sqrt(np.diag(self.spread)) - 1).max())

    def findings(self) -> Iterator[Finding]:
        """What can be said without looking at a row."""
        noise, clipped, left = self.noise, self.clipped, self.left
        words = f"The noise that keeps rows private, and chance in batches, move a mean by up to {noise:.2g} of its sds, which no "
        words += "interval shows."
        more = " More rows, more steps, a larger epsilon or a smaller clip make it less."
        yield Finding(
            "noise of privacy", "fit", noise, MEAN, _graded(noise, MEAN, LOCATION_CAUTION), words + more
        )
        yield clipped_finding(clipped, self.budget)
        words = f"By the gradient where steps end a mean, or an sd, has up to {left:.2g} of its sds to go."
        graded = _graded(left, MEAN, LOCATION_CAUTION)
        yield Finding(
            "rest of a private ascent",
            "fit",
            left,
            MEAN,
            graded,
            f"{words} More steps, or another rate, lead on.",
        )

        if self.covariance is not None:
            words = (
                f"As public rows are curved, sds are off by up to {self.narrow:.0%}: a guide of independent coordinates leaves out what "
                "they share."
            )
            graded = _graded(self.narrow, SD, SCALE_CAUTION / 2)
            yield Finding("sds of a private guide", "fit", self.narrow, SD, graded, words)

    def judged(self, _target: Any, values: np.ndarray, _layout: Any) -> tuple[Estimates, Verdicts]:
        """Estimates, and verdicts that say what is not known."""
        bad = [finding.name for finding in self.findings() if finding.verdict == "untrusted"]
        if self.noise + self.left > LOCATION_CAUTION:
            bad.append("noise of privacy, and what is left to go")
        verdict, reason = ("untrusted", bad[0]) if bad else ("caution", ALIKE)
        if self.covariance is None and not bad:
            verdict, reason = "untrusted", UNKNOWN
        moving = values.std(0) > 1e-12 * np.abs(values.mean(0))
        told = [(verdict, reason) if some else (None, "constant") for some in moving]
        return estimate(values), Verdicts([v for v, _ in told], [r for _, r in told])


def clipped_finding(clipped: float, budget: Budget) -> Finding:
    """How many gradients were clipped."""
    words = (
        f"Gradients of {max(clipped, 0):.1%} of {budget.unit} are clipped, give or take a little: what is fitted are rows that pull less "
        "than they would. A larger clip lets them, with more noise."
    )
    graded = _graded(clipped, CLIPPED_CAUTION, MOST_CLIPPED)
    return Finding("clipped gradients", "fit", clipped, CLIPPED_CAUTION, graded, words)


def _graded(value: float, ok: float, caution: float) -> str:
    return "ok" if value <= ok else "caution" if value <= caution else "untrusted"


def _reached(ascent: Ascent, drawn: Drawn, rate: float) -> Reached:
    """Where all steps of a budget lead."""
    budget, still = drawn.budget, 1 - PRIVATE_REST
    ends = np.linspace(0, budget.steps, min(budget.steps, PRIVATE_BLOCKS) + 1).astype(int)
    norms: list[np.ndarray] = []
    clipped: list[np.ndarray] = []
    places: list[np.ndarray] = []
    for first, last in pairwise(ends):
        share = last / budget.steps
        if not places:
            ascent.state = {**ascent.state, **begun(drawn)}
            clipped, began = [], first
        ascent.rate = float(rate * (np.clip(2 * (1 - share / still), 0.0, 1.0) ** 2 + PRIVATE_FLOOR))
        seen = ascent.advance(int(last - first))
        norms.append(seen["gradient_norm"])
        clipped.append(seen[COUNTED])
        if share > still:
            places.append(np.stack([ascent.params["mean"], ascent.params["log_sd"]]))
    mean, log_sd = np.mean(places, axis=0)
    host = ascent.target.loops.to_host(ascent.copied({"total": ascent.state["total"]}))["total"]
    slope = np.asarray(host, np.float64) / (budget.steps - began)
    slope[0] /= PRIVATE_SD  # in which steps are
    share = float(np.concatenate(clipped).mean()) / budget.num_units
    return Reached(mean, log_sd, np.concatenate(norms), share, slope, budget)
