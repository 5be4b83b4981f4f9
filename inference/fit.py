"""``er.fit``: from a program to a posterior with its evidence."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..guides import choose
from ..guides.amortized import Amortized, Quantized
from ..ppl import interrupts
from ..ppl.backends import load
from ..ppl.errors import OutOfMemoryError, in_short
from ..ppl.fingerprints import looked_at_once
from ..ppl.model import Program
from .arguments import check_arguments, start_of, target_of
from .batches.memory import at_first, fewer, memory_finding, needs_all, room_for_all
from .batches.minibatch import Batches
from .batches.view import AllRows, BatchRows, View, planned
from .deep.fit import Deep, check_deep, encoded_of, fit_rows, goes_on, prepared
from .deep.richer import climbed
from .deep.setup import bits, codebook
from .evidence import psis
from .evidence.data import data_findings
from .evidence.degenerate import degenerate, shrunk_scales
from .evidence.finding import Finding
from .evidence.outcome import Outcome, twins
from .ladder import STAGES, Run, State, climb
from .learning import Learned, learn
from .mcmc.affordable import refine_where_it_pays
from .mcmc.refine import refine as run_refine
from .mcmc.refine import sampled
from .posterior.make import conclude, with_line
from .posterior.posterior import Cost, Posterior, record_of
from .posterior.record import SE, Record, with_rows
from .run.checkpoint import Checkpoint
from .run.track import followed
from .run.trail import Trail
from .run.watch import Watch


@followed("fit", record_of, Posterior)
@looked_at_once()
@np.errstate(over="ignore", invalid="ignore", divide="ignore")  # what is not finite is evidence, and said
@interrupts.in_words(
    "before the fit had anything to return: call it again, with checkpoint= to go on from the last stage"
)
def fit(  # noqa: PLR0913, PLR0917  the front door: one argument for each thing that may be asked
    program: Program,
    guide: Any = "auto",
    backend: str | None = None,
    device: str = "auto",
    dtype: Any = None,
    seed: int = 0,
    num_draws: int = 4000,
    start: Mapping[str, Any] | None = None,
    quantities: Sequence[str] | None = None,
    refine: bool | str = "auto",
    minibatch: Any = None,
    max_seconds: float | None = None,
    checkpoint: Any = None,
    progress: bool = True,
    objective: Any = None,
    validation: float | None = None,
    *,
    track: Any = None,
    private: Any = None,
) -> Posterior:
    """Approximate the posterior of a program and measure how far the approximation can be trusted.

    Parameters
    ----------
    program : Program
        A model bound to data.
    guide : str, Family, or mapping of str to str
        An `elboroom.Amortized`, or a mapping from sites in a plate to one: an encoder for the rows, trained together with the
        networks of the model. Else ``"auto"``, ``"structured"``, ``"full-rank"``, ``"low-rank"``, ``"mean-field"``, ``"flow"``, ``"laplace"``,
        ``"delta"``, a family object, or a mapping from sites to ``"mean-field"``, ``"full-rank"`` or ``"structured"``: sites of
        different families are independent. With a guide named by the user nothing richer is tried. None for
        chains alone.
    backend : {"jax", "torch"}, optional
        JAX by default, and PyTorch for a Pyro model.
    device : {"auto", "cpu", "gpu"}
        Where densities are computed; by default on a GPU where there is one.
    dtype : numpy.dtype, optional
        Float64 on the CPU by default.
    seed : int
        Same seed, same result.
    num_draws : int
        Draws to return.
    start : mapping, optional
        Constrained values of every latent site: one more starting point.
    quantities : sequence of str, optional
        Names of the quantities that ``posterior.verdict`` judges; by default globals and deterministics.
    refine : {"auto", "always", False}
        Whether chains follow, see `Posterior.refine`: ``"auto"`` where more than one in a hundred of the
        quantities that are judged is not *trusted*, or one is *untrusted* by more than its noise, chains could
        mend that, and a pilot projects less than a minute or ten times the fit's time.
    minibatch : Minibatch, optional
        Fit on some rows of a plate at a time: a full-rank or structured guide where every batch holds all coordinates,
        else a mean-field one. Evidence and predictions speak of all rows. By default only where a gradient over all
        rows would pass a quarter of the memory. Where memory runs out, with batches or without, smaller ones are
        tried.
    max_seconds : float, optional
        The climb ends there; what was reached is returned.
    checkpoint : str or path, optional
        A folder that is written when a stage ends and every minute within a long one: the same call goes on from
        there, to the same result. While chains run, ``checkpoint/posterior`` holds what `elboroom.load` takes.
    progress : bool
        Show a line on a terminal or in Jupyter.
    objective : Elbo or ImportanceWeighted, optional
        Of `elboroom.objectives`: what networks and encoders are trained on; the evidence lower bound by default.
    validation : float, optional
        Share of the rows of an encoder's plate that training does not see and that tell when to end it; 0.1 by default. They
        are in the posterior like all others.
    track : Tracker, optional
        Who is told of the course of the fit and of what came of it, see `elboroom.Tracker`.
    private : Private, optional
        Differential privacy of the rows, see `elboroom.Private`: so many steps as it says, and no evidence but that of public rows.

    Returns
    -------
    Posterior

    Raises
    ------
    ModelError, GuideError, BackendError, InferenceError
        For bad input. Statistical trouble is a `Finding` of the posterior.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def level(y):
    ...     mu = er.sample("mu", er.Normal(0, 10))
    ...     with er.plate("row", len(y)):
    ...         er.observe("y", er.Normal(mu, 1), y)
    >>> posterior = er.fit(level([1.0, 2.0, 3.0]), progress=False)
    >>> bool(abs(posterior.summary().loc["mu", "mean"] - 6 / 3.01) < 0.02), posterior.verdict
    (True, 'trusted')

    References
    ----------
    Kucukelbir et al. (2017), JMLR 18; Giordano, Ingram & Broderick (2024), JMLR 25; Vehtari et al. (2024),
    JMLR 25.
    """
    check_arguments(
        program, guide, seed, num_draws, start, quantities, refine, minibatch, max_seconds, checkpoint
    )
    check_deep(objective, validation)
    begin = time.perf_counter()
    backend = program.backend if backend is None else backend
    target = target_of(program, backend, dtype, device)
    if guide == "auto" and (codebook(target) or bits(target)):  # which ask for an encoder themselves
        guide = Quantized() if codebook(target) else Amortized()
    encoded = encoded_of(guide, target, start, refine, {"objective": objective, "validation": validation})
    asked = Asked(program, target, guide, seed, num_draws, start_of(target, start), minibatch)
    settings = {
        "seed": seed,
        "backend": backend,
        "num_draws": num_draws,
        "quantities": None if quantities is None else list(quantities),
        "local": sorted(load(backend, program.model.language).local_sites(program)),
    }
    if guide is None or private is not None:
        given = {"max_seconds": max_seconds, "refine": refine, "checkpoint": checkpoint,
                 "validation": validation, "objective": objective}  # fmt: skip
        of_rows = {"encoded": encoded, "dtype": dtype}
        return Posterior(
            _alone(asked, private, of_rows, settings, given, {"progress": progress, "track": track})
        )
    watch, trained, ready = Watch(max_seconds, progress, track), None, None
    with interrupts.deferred(
        answered=True
    ):  # but for the parts that say otherwise, and keep what they reached
        try:
            if encoded is not None:
                own = target if dtype is not None else _single(target)
                deep = Deep(
                    program, own, *encoded, seed, num_draws, minibatch, objective, validation, guide == "auto"
                )
                ready = prepared(deep, guide == "auto" and objective is None and validation is None)
            if ready is not None:
                kept = Checkpoint(checkpoint, deep.identity())
                trained = fit_rows(deep, ready, kept, watch, settings, begin)
                if guide == "auto" and objective is None and not goes_on(trained, asked.target):
                    trained = climbed(deep, trained, watch, settings, begin)
                if guide != "auto" or not goes_on(trained, asked.target) or watch.stop():
                    return Posterior(trained)
                asked = replace(asked, target=target.at(trained.weights))
            kept = Checkpoint(None if trained else checkpoint, asked.identity())
            found = _laddered(asked, kept, watch, refine, settings, begin, trained)
        finally:
            watch.close()
        left = None if max_seconds is None else max(0.0, max_seconds - watch.elapsed)
        if refine is False or watch.stop() or (refine == "auto" and guide != "auto"):
            return Posterior(found)
        try:
            if refine == "auto":
                return Posterior(refine_where_it_pays(found, progress, left, kept, track))
            own = {"progress": progress, "max_seconds": left, "checkpoint": kept, "track": track}
            return Posterior(run_refine(found, **own))
        except OutOfMemoryError as error:  # chains see all rows at once
            words = f"failed: {str(error).splitlines()[0][:200]}"
            return Posterior(with_line(found, "refine", words))


def _alone(
    asked: Asked, private: Any, of_rows: Mapping[str, Any], settings, given: Mapping[str, Any], options
) -> Record:
    """The record of what no ladder leads to: chains alone, or a private fit, with an encoder of rows or without."""
    if private is None:
        own = {**options, "checkpoint": given["checkpoint"]}
        return _by_chains(asked, settings, given["max_seconds"], own)
    from .private.deep import fit_rows_privately
    from .private.fit import check_alone, fit_privately

    check_alone(private, **given)
    begin, batch, watch = time.perf_counter(), asked.minibatch, Watch(None, **options)
    try:
        if of_rows["encoded"] is None:
            return fit_privately(asked.target, asked.guide, private, batch, asked.start, settings, watch)
        family, plate = of_rows["encoded"]
        own = asked.target if of_rows["dtype"] is not None else _single(asked.target)
        deep = Deep(asked.program, own, family, plate, asked.seed, asked.num_draws, batch, None, None)
        return fit_rows_privately(deep, private, settings, watch, begin)
    finally:
        watch.close()


def _single(target: Any) -> Any:
    """The same in single precision at the most: networks are what takes the time."""
    return target_of(target.program, target.backend, min(target.dtype, np.dtype(np.float32)), target.device)


def _laddered(
    asked: Asked, kept: Checkpoint, watch: Watch, refine, settings, begin, trained: Record | None
) -> Record:
    """The record of what the ladder leads to, at learned arrays where the model has any: those of a training, or its own."""
    target, learned = asked.target, None
    compiled = target.density.clock["compile"]
    poor = degenerate(asked.program, target.trace, target.backend)
    if trained is None:
        asked, learned = _learned(asked, watch)
    target, outcome, batches = _climbed(asked, kept, watch, bool(poor), refine in ("always", True))
    cost = Cost(
        target.counter.num_densities,
        target.counter.num_gradients,
        target.density.clock["compile"] - compiled,
        time.perf_counter() - begin,
    )
    findings = [*poor, *data_findings(asked.program, target.trace, target), *kept.findings]
    findings += _shrunk(target, outcome.law.z)
    findings += _of_memory(kept, batches, asked.minibatch)
    if learned is not None:
        findings += learned.findings
        outcome = replace(outcome, rungs=(learned.rung, *outcome.rungs))
    if trained is not None:
        outcome = replace(outcome, rungs=(*trained.trail, *outcome.rungs))
    found = _with_errors(conclude(asked.program, target, outcome, findings, cost, settings), learned)
    return found if trained is None else with_rows(found, trained)


def _by_chains(asked: Asked, settings, max_seconds: float | None, options: Mapping[str, Any]) -> Record:
    """The record of chains alone, at learned arrays where the model has any: those that a guide leads to."""
    watch = Watch(max_seconds, options["progress"], options["track"])
    try:
        asked, learned = _learned(replace(asked, guide="auto"), watch)
    finally:
        watch.close()
    target, more = asked.target, () if learned is None else learned.findings
    data = [*data_findings(asked.program, target.trace, target), *more]
    if learned is not None:
        data += _shrunk(target, learned.at)
    left = None if max_seconds is None else max(0.0, max_seconds - watch.elapsed)
    own = {**options, "max_seconds": left}
    found = sampled(asked.program, target, asked.seed, settings, data, asked.start, **own)
    if learned is None:
        return found
    return _with_errors(replace(found, trail=Trail([learned.rung, *found.trail])), learned)


def _shrunk(target: Any, z: np.ndarray) -> list[Finding]:
    """Learned scales that went to nothing, at some of the draws."""
    some = z[np.linspace(0, len(z) - 1, min(len(z), 4)).astype(int)]
    return shrunk_scales(target, target, some, {"data": target.data, "weights": target.weights})


def _with_errors(record: Record, learned: Learned | None) -> Record:
    """With the standard errors of learned arrays."""
    errors = {} if learned is None else {f"{SE}{name}": value for name, value in learned.se.items()}
    return replace(record, params={**record.params, **errors}) if errors else record


@dataclass(frozen=True, eq=False)
class Asked:
    """What a fit was asked for."""

    program: Program
    target: Any
    guide: Any
    seed: int
    num_draws: int
    start: np.ndarray | None
    minibatch: Any

    def identity(self) -> dict[str, Any]:
        """What makes two fits the same, for a checkpoint."""
        program, target, batch = self.program, self.target, self.minibatch
        return {
            "model": target.density.fingerprint or program.model.code_hash,
            "data": program.data_fingerprint,
            "seed": self.seed,
            "guide": self.guide,
            "backend": f"{target.backend} {target.dtype} {target.device}",
            "minibatch": None if batch is None else (batch.plate, batch.size),
            "num_draws": self.num_draws,
            "start": None if self.start is None else self.start.tolist(),
        }

    def state(self, batches: Batches | None, simple: bool, lean: bool) -> State:
        """Where the climb begins, with what it needs first compiled meanwhile."""
        target = self.target
        plan = choose(self.guide, target) if batches is None else planned(self.guide, batches)
        rows: View = AllRows() if batches is None else BatchRows.of(batches, plan)
        if plan.recentres and rows.rich:
            target = target.centred({s.name: 1.0 for s in target.sites if s.location_scale})
        if batches is None:
            target.prepare("value_and_grad")
        z = np.zeros((target.constrain_batch, target.dim), target.dtype)
        target.density.constrain.prepare(z, target.views, target.weights)
        psis.array_stats()  # slow to import: while XLA compiles
        return State(
            target,
            plan,
            seed=self.seed,
            num_draws=self.num_draws,
            rows=rows,
            named=self.guide != "auto",
            simple=simple,
            lean=lean,
            start=self.start,
        )


def _learned(asked: Asked, watch: Watch) -> tuple[Asked, Learned | None]:
    """What was asked for at learned arrays of the model, where it has any; those of a guide that has no spread are the default's.

    Raises
    ------
    InferenceError, OutOfMemoryError
        Where arrays are to be learned and the rows do not fit into the memory at once.
    """
    target = asked.target
    if not target.trace.weights:
        return asked, None
    names = ", ".join(target.trace.weights)[:80]
    if asked.minibatch is not None:
        room_for_all(target, names)
    try:
        with interrupts.interruptible(), watch.showing("learning arrays"):
            found = learn(asked.state(None, False, True), watch, asked.seed)
            if found is None:
                found = learn(replace(asked, guide="auto").state(None, False, True), watch, asked.seed)
    except OutOfMemoryError as error:
        raise needs_all(names, in_short(error.__cause__ or error)) from error
    return asked if found is None else replace(asked, target=target.at(found.weights)), found


def _climbed(asked: Asked, kept: Checkpoint, watch: Watch, simple: bool, lean: bool):
    """The target in the coordinates of the fit, what was found, and the batches; smaller ones where memory runs out."""
    with interrupts.interruptible():
        batches = at_first(asked.target, asked.guide, asked.minibatch, kept)
    while True:
        try:
            return *_climb(asked, kept, watch, batches, simple, lean), batches
        except OutOfMemoryError as error:
            reason = in_short(error.__cause__ or error)
        batches = fewer(asked.target, asked.guide, asked.minibatch, kept, reason)


def _climb(
    asked: Asked, kept: Checkpoint, watch: Watch, batches: Batches | None, simple: bool, lean: bool
) -> tuple[Any, Outcome]:
    """The target in the coordinates of the fit, and what was found."""
    with interrupts.interruptible():
        state = asked.state(batches, simple, lean)
    if (memory := memory_finding(kept)) is not None:
        state = replace(state, rungs=(memory[1],))
    run = Run(watch, kept, asked.seed)
    state = climb(STAGES, state, run)
    outcome = state.outcome()
    return state.target, replace(outcome, twins=twins(outcome.symmetries, outcome.law, run.rng(6)))


def _of_memory(kept: Checkpoint, batches: Batches | None, minibatch) -> list[Finding]:
    """Findings where rows were taken some at a time for want of memory."""
    if (memory := memory_finding(kept)) is not None:
        return [memory[0]]
    if batches is None or minibatch is not None:
        return []
    words = f"fitted on {batches.size} of {batches.total} rows at a time; the evidence is that of all rows."
    advice = f"A gradient over all rows would take too much of this machine's memory: {words}"
    return [Finding("batches", batches.rows, float(batches.size), None, "ok", advice)]
