"""From what a climb or chains found to a `Posterior`: draws to keep, verdicts, findings."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..evidence.coordinates import Coordinates
from ..evidence.finding import Finding, Findings
from ..evidence.judging import verdicts_of
from ..evidence.outcome import Outcome
from ..evidence.quantities import quantity_values
from ..run.trail import Rung, Trail
from ..thresholds import KHAT_TRUSTED, LARGEST_BLOCK, LARGEST_DENSE, MIRRORED, MOST_SYMMETRIES
from .posterior import Posterior


@dataclass(frozen=True)
class Cost:
    """What a fit cost.

    Attributes
    ----------
    num_densities, num_gradients : int
        Rows of every batched call: starts, fit and evidence; padding not included.
    compile_seconds, run_seconds : float
    """

    num_densities: int
    num_gradients: int
    compile_seconds: float
    run_seconds: float


def conclude(program, target, outcome: Outcome, findings, cost: Cost, settings: dict) -> Posterior:
    """The posterior of an outcome.

    Parameters
    ----------
    program : Program
    target : Target
    outcome : Outcome
    findings : iterable of Finding
        About the data; those of the outcome follow.
    cost : Cost
    settings : dict
        What `fit` was asked for: ``seed``, ``backend``, ``num_draws``, ``quantities``; and the ``local`` sites.
    """
    findings, law = [*findings, *outcome.findings], outcome.law
    rng = np.random.default_rng([settings["seed"], 9])
    values, layout = quantity_values(target, law.z)
    at_divergences = at_pool = known = None
    if law.divergent_z is not None and len(law.divergent_z):
        at_divergences, _ = quantity_values(target, law.divergent_z)
    if law.kind == "mcmc" and outcome.khat < KHAT_TRUSTED and outcome.pool is not None:
        at_pool, _ = quantity_values(target, outcome.pool.z)
    mirrored = outcome.mirrored(lambda z: quantity_values(target, z)[0], values)
    if outcome.frame is not None and target.dim > LARGEST_DENSE and law.kind != "mcmc":
        known = Coordinates.of(target, layout, outcome.frame.mean, outcome.sd)
    estimates, verdicts = verdicts_of(outcome, values, rng, at_divergences, at_pool, mirrored, known)
    findings += _symmetries(outcome, mirrored)
    most = max(LARGEST_BLOCK // max(values.shape[1], target.dim), 100)
    num_draws = settings["num_draws"]
    chosen, chains = law.shown(min(num_draws, most), rng)
    if most < num_draws:
        findings.append(
            Finding(
                "fewer draws",
                "fit",
                float(most),
                float(num_draws),
                "ok",
                f"{values.shape[1]} quantities: {most} draws are kept in place of {num_draws}. Summaries use all that were "
                "made, and where they can the guide's exact moments.",
            )
        )
    return Posterior.of(
        program,
        target,
        outcome,
        estimates,
        verdicts,
        values[chosen],
        layout,
        law.z[chosen],
        Trail(outcome.rungs),
        Findings(findings),
        cost,
        settings
        | {
            "num_chains": chains,
            "short": chains > 1 and not law.long,
            "condemned": outcome.condemned,
        },
        law.rhat_shown(values),
    )


def _symmetries(outcome, mirrored):
    """A finding for each symmetry that moves the law of a quantity."""
    moving = [(s, gaps.max()) for s, gaps in zip(outcome.symmetries, mirrored, strict=True)]
    for symmetry, gap in [one for one in moving if one[1] > MIRRORED][:MOST_SYMMETRIES]:
        yield Finding(
            "symmetry",
            "fit",
            float(gap),
            MIRRORED,
            "untrusted",
            f"The posterior is symmetric under {symmetry.words}, and the draws show one of its equal "
            "modes. Order or anchor these parameters; quantities that do not change stay valid.",
        )


def with_line(posterior: Posterior, name: str, reason: str, **spent) -> Posterior:
    """The same posterior with one more line in its trail, and what is computed on request computed anew."""
    rung = Rung(name, "nuts", reason=reason, **spent)
    return replace(posterior, trail=Trail([*posterior.trail, rung]), _groups={})
