"""From what a fit or chains found to the record of a `Posterior`: draws to keep, verdicts, findings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ...ppl.centring import KEY
from ...ppl.masks import hide
from ...ppl.model import Program
from ...ppl.sites import element_labels
from ..evidence.coordinates import Coordinates, index_of
from ..evidence.estimates import Estimates
from ..evidence.finding import DEGENERATE, UNSETTLED, Finding, Findings
from ..evidence.judging import verdicts_of
from ..evidence.law import Law
from ..evidence.outcome import Outcome
from ..evidence.quantities import quantity_values
from ..evidence.stein import SharedStein
from ..evidence.symmetry import exchangeable
from ..evidence.verdicts import Verdicts
from ..run.trail import Rung, Trail
from ..thresholds import (
    FEWEST_KEPT,
    KHAT_TRUSTED,
    LARGEST_BLOCK,
    LARGEST_DENSE,
    MIRRORED,
    MOST_SYMMETRIES,
)
from .record import Cost, Record, columns, split


def conclude(
    program: Program,
    target: Any,
    outcome: Outcome,
    findings: Iterable[Finding],
    cost: Cost,
    settings: Mapping[str, Any],
    judged: Any = None,
) -> Record:
    """The record of an outcome's posterior.

    Parameters
    ----------
    program : Program
        The model with its data.
    target : Target
        Its density, in the coordinates of the fit.
    outcome : Outcome
        What was found.
    findings : iterable of Finding
        About the data; those of the outcome follow.
    cost : Cost
        What it cost.
    settings : mapping
        What `fit` was asked for: ``seed``, ``backend``, ``num_draws``, ``quantities``; and the ``local`` sites.
    judged : callable, optional
        ``judged(target, values, layout)``: estimates and verdicts, where the outcome's own evidence is not what speaks.

    Raises
    ------
    InferenceError
        For quantities that the model does not have.
    """
    law, rng, findings = outcome.law, np.random.default_rng([settings["seed"], 9]), list(findings)
    values, layout = quantity_values(target, law.z)
    if judged is None:
        estimates, verdicts, mirrored = _judged(target, outcome, values, layout, rng)
        verdicts = _exchanged(target, layout, verdicts)
        verdicts = _given(target, [*findings, *outcome.findings], verdicts)
    else:
        (estimates, verdicts), mirrored = judged(target, values, layout), np.zeros((0, 1))
    verdicts = carried(program, verdicts, split(values, layout), law.weights)
    most = max(LARGEST_BLOCK // max(values.shape[1], target.dim), FEWEST_KEPT)
    chosen, chains = law.shown(min(settings["num_draws"], most), rng)
    seen = [*findings, *outcome.findings, *_symmetries(outcome, mirrored)]
    if most < settings["num_draws"]:
        seen.append(_fewer(values.shape[1], most, settings["num_draws"]))
    z = law.z[chosen]
    made = Record(
        **_of_program(program, target, z),
        guide=outcome.guide,
        params=outcome.fitted.to_arrays(),
        law=law.kind,
        khat=float(outcome.khat),
        values=split(values[chosen], layout),
        z=z,
        table={"label": _labels(target.trace, layout), **columns(estimates, verdicts)},
        trail=Trail(outcome.rungs),
        findings=Findings(seen),
        cost=cost,
        settings={
            **settings,
            "num_chains": chains,
            "short": chains > 1 and not law.long,
            # draws that no guide has the law of: beside groups that were summed out, or with sds of linear response
            "resampled": judged is not None
            or isinstance(outcome.stein, SharedStein)
            or outcome.response is not None,
            "condemned": outcome.objection,  # as files have it since 0.1
        },
        fit_record=_fit_record(outcome, len(chosen), law.rhat_shown(values)),
        target=target,
        outcome=outcome,
    )
    made.known("quantities", settings.get("quantities") or ())
    return replace(made, trail=_with_verdict(made))


def _judged(
    target: Any, outcome: Outcome, values: np.ndarray, layout, rng: np.random.Generator
) -> tuple[Estimates, Verdicts, np.ndarray]:
    """Estimates and verdicts of all quantities, and how far their laws move under the posterior's symmetries."""
    law = outcome.law
    at_divergences = at_pool = known = None
    if law.divergent_z is not None and len(law.divergent_z):
        at_divergences, _ = quantity_values(target, law.divergent_z)
    if law.kind == "mcmc" and outcome.khat < KHAT_TRUSTED and outcome.pool is not None:
        at_pool, _ = quantity_values(target, outcome.pool.z)
    mirrored = outcome.mirrored(lambda z: quantity_values(target, z)[0], values)
    if outcome.frame is not None and target.dim > LARGEST_DENSE and law.kind != "mcmc":
        known = Coordinates.of(target, layout, outcome.frame.mean, outcome.sd)
    behind = index_of(target, layout)
    return *verdicts_of(outcome, values, rng, at_divergences, at_pool, mirrored, known, behind), mirrored


def _exchanged(target: Any, layout, verdicts: Verdicts) -> Verdicts:
    """Verdicts where no weight is trusted that exchanges of hidden units move; what a network predicts keeps its own."""
    moved = exchangeable(target)
    names = [name for name, shape in layout for _ in range(int(np.prod(shape, dtype=int)))]
    for words in set(moved.values()):
        verdicts = verdicts.at_most("untrusted", words, np.array([moved.get(n) == words for n in names]))
    return verdicts


def _given(target: Any, findings: Iterable[Finding], verdicts: Verdicts) -> Verdicts:
    """Verdicts of quantities that are given learned arrays: none better than how these were learned allows."""
    if not target.trace.weights:
        return verdicts
    if not target.fitted:
        return verdicts.at_most("untrusted", "the model's learned arrays are where they began")
    verdicts = replace(verdicts, reason=[f"{words}, given the fitted arrays" for words in verdicts.reason])
    if any(finding.name == DEGENERATE for finding in findings):
        return verdicts.at_most("untrusted", "the density grows without bound as a learned scale shrinks")
    if any(finding.name == UNSETTLED and finding.verdict == "untrusted" for finding in findings):
        return verdicts.at_most("caution", "learning of the arrays it is given was broken off")
    return verdicts


def carried(
    program: Program | None,
    verdicts: Verdicts,
    values: Mapping[str, np.ndarray],
    weights: np.ndarray | None = None,
) -> Verdicts:
    """Verdicts of quantities whose prior is what earlier rows have said: none better than that allows where these draws are."""
    if program is None or program.carried is None:
        return verdicts
    return verdicts.at_most(*program.carried.limit(values, weights))


def _of_program(program: Program, target: Any, z: np.ndarray) -> dict[str, Any]:
    """What a record has of the model and its data."""
    trace = target.trace
    observed = {
        s.name: np.asarray(program.leaves[s.argument].value)
        for s in trace.by_role("observed")
        if s.argument is not None
    }
    observed |= _computed(target, z)
    used = {s.argument for s in trace.by_role("observed")}
    doc = (program.model.__doc__ or "").strip().split("\n\n")[0]
    return {
        "name": program.name,
        "question": " ".join(doc.split()) or program.name,
        "sites": trace.sites,
        "coords": dict(trace.coords),
        "observed_data": {name: hide(value, trace.hidden.get(name)) for name, value in observed.items()},
        "constant_data": {
            label: np.asarray(leaf.value)
            for label, leaf in program.data_leaves.items()
            if isinstance(leaf.value, np.ndarray) and label not in used
        },
        "data_fingerprint": program.data_fingerprint,
        "weights": {k: np.asarray(v) for k, v in target.weights.items() if k != KEY},
        "centring": dict(target.centring),
        "program": program,
        "model": {
            "module": program.model.__module__,
            "name": program.model.name,
            "fingerprint": target.density.fingerprint,
            "code": program.model.code_hash,
            "dtype": str(target.dtype),
            "static": {k: repr(leaf.value) for k, leaf in program.leaves.items() if not leaf.traced},
        },
    }


def _labels(trace, layout) -> list[str]:
    """Labels of the scalar quantities, in the order of `layout`."""
    return [
        label
        for name, shape in layout
        for label in element_labels(name, shape, trace[name].dims, trace.coords)
    ]


def _fit_record(outcome: Outcome, num_draws: int, rhat: np.ndarray | None) -> dict[str, np.ndarray]:
    """Traces, weights and statistics that are kept of a fit."""
    record = {
        "elbo": np.asarray(outcome.elbo_trace, float),
        "khat": np.asarray(outcome.khat, float),
        "log_weights": np.zeros(0) if outcome.pool is None else outcome.pool.log_weights,
        **outcome.steps,
    }
    if outcome.guide_errors is not None:
        record["guide_mean"], record["guide_sd"] = outcome.guide_errors
    if rhat is not None:
        record["rhat"] = rhat
    if outcome.law.stats is not None:
        record |= _thinned(outcome.law, num_draws)
    return record


def _computed(target, z) -> dict[str, np.ndarray]:
    """Values of observed sites that the model computes from its data; not of those in which latent values take part."""
    if all(site.argument is not None for site in target.trace.by_role("observed")):
        return {}
    ends = z[[0, -1]].astype(target.dtype)
    found = target.density.observed(ends, target.data, target.weights)
    values = {name: np.asarray(value) for name, value in found.items()}
    return {
        name: value[0] for name, value in values.items() if np.array_equal(value[0], value[1], equal_nan=True)
    }


def _thinned(law: Law, count: int) -> dict[str, np.ndarray]:
    """The sampler's statistics of the draws that are kept, chain by chain."""
    rows = law.resample(count, None)
    return {f"stats/{name}": value.ravel()[rows] for name, value in (law.stats or {}).items()}


def _with_verdict(record: Record) -> Trail:
    """The trail, its last fit with the verdict."""
    last = max((i for i, rung in enumerate(record.trail) if rung.guide), default=None)
    if last is None:
        return record.trail
    rungs = list(record.trail)
    rungs[last] = replace(rungs[last], verdict=record.verdict)
    return Trail(rungs)


def _fewer(num_quantities: int, most: int, asked: int) -> Finding:
    return Finding(
        "fewer draws",
        "fit",
        float(most),
        float(asked),
        "ok",
        f"{num_quantities} quantities: {most} draws are kept in place of {asked}. Summaries use all that were "
        "made, and where they can the guide's exact moments.",
    )


def _symmetries(outcome: Outcome, mirrored: np.ndarray) -> Iterator[Finding]:
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


def with_line(
    record: Record, name: str, reason: str, guide: str = "hmc", num_gradients: int = 0, seconds: float = 0.0
) -> Record:
    """The same record with one more line in its trail."""
    rung = Rung(name, guide, num_gradients=num_gradients, seconds=seconds, reason=reason)
    return replace(record, trail=Trail([*record.trail, rung]))
