"""``er.fit``: from a program to a posterior with its evidence."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ..guides import choose
from ..ppl import interrupts
from ..ppl.backends import load
from ..ppl.binding import unlike_rows
from ..ppl.errors import InferenceError, ModelError, OutOfMemoryError, ShapeError, explain, in_short
from ..ppl.model import Model, Program
from .mcmc.affordable import refine_where_it_pays
from .run.checkpoint import Checkpoint
from .posterior.conclude import Cost, conclude
from .evidence.degenerate import degenerate
from .evidence import psis
from .evidence.finding import Finding
from .ladder.fitting import unread_links
from .ladder.climb import Climb
from .batches.memory import at_first, fewer, said
from .batches.minibatch import Minibatch
from .evidence.outcome import Outcome
from .posterior import Posterior
from .mcmc.refine import refine as run_refine
from .mcmc.refine import sampled
from .batches.subsampled import Subsampled, subsampled
from .run.trail import Rung, Trail
from .run.watch import Watch, check_seconds


@np.errstate(over="ignore", invalid="ignore", divide="ignore")  # what is not finite is evidence, and said
@interrupts.in_words(
    "before the fit had anything to return: call it again, with checkpoint= to go on from the last stage"
)
def fit(
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
) -> Posterior:
    """Approximate the posterior of a program and measure how far the approximation can be trusted.

    Parameters
    ----------
    program : Program
        A model bound to data.
    guide : str, Family, or mapping of str to str
        ``"auto"``, ``"structured"``, ``"full-rank"``, ``"low-rank"``, ``"mean-field"``, ``"flow"``, ``"laplace"``,
        ``"delta"``, a family object, or a mapping from sites to ``"mean-field"``, ``"full-rank"`` or ``"structured"``: sites of
        different families are independent. With a guide named by the user nothing richer is tried. None for
        chains of NUTS alone.
    backend : {"jax", "torch"}, optional
        JAX by default, and PyTorch for a Pyro model.
    device : {"auto", "cpu", "gpu"}
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
        Whether chains of NUTS follow, see `Posterior.refine`: ``"auto"`` where a quantity that is judged is not
        *trusted* and a pilot projects less than a minute or ten times the fit's time.
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

    Returns
    -------
    Posterior

    Raises
    ------
    ModelError, GuideError, BackendError, InferenceError
        For bad input. Statistical trouble is a `Finding` of the posterior.

    References
    ----------
    Kucukelbir et al. (2017), JMLR 18; Giordano, Ingram & Broderick (2024), JMLR 25; Vehtari et al. (2024),
    JMLR 25.
    """
    _check_arguments(program, seed, num_draws, refine, minibatch, max_seconds, checkpoint, quantities, start)
    if guide is None and refine is False:
        raise InferenceError(explain("guide", "a guide where refine=False", "None", "leave one of them out"))
    if guide is None and minibatch is not None:
        words = "a guide to fit on batches: chains see all rows"
        raise InferenceError(explain("minibatch", words, "guide=None", "leave one of them out"))
    begin = time.perf_counter()
    backend = program.backend if backend is None else backend
    engine = load(backend, program.model.language)
    target = _target(program, backend, dtype, device)
    if guide is None:
        settings = _settings(program, engine, backend, seed, num_draws, quantities)
        data = list(_data_findings(program, target.trace, target))
        options = {"max_seconds": max_seconds, "progress": progress, "checkpoint": checkpoint}
        return sampled(program, target, seed, settings, data, _start(target, start), **options)
    trace, compile_before = target.trace, target.density.clock["compile"]
    start_z = _start(target, start)
    kept = Checkpoint(
        checkpoint,
        {
            "model": target.density.fingerprint or program.model.code_hash,
            "data": program.data_fingerprint,
            "seed": seed,
            "guide": guide,
            "backend": f"{backend} {target.dtype} {target.device}",
            "minibatch": None if minibatch is None else (minibatch.plate, minibatch.size),
            "num_draws": num_draws,
            "start": None if start_z is None else start_z.tolist(),
        },
    )
    watch, poor = Watch(max_seconds, progress), degenerate(program, trace, backend)
    make = partial(_climb, target, guide, seed=seed, watch=watch, start=start_z, num_draws=num_draws)
    with interrupts.held(answered=True):  # but for the parts that say otherwise, and keep what they reached
        try:
            with interrupts.interruptible():
                batches = at_first(target, guide, minibatch, kept)
            climb: Any = None
            outcome: Outcome | None = None
            while outcome is None:
                try:
                    with interrupts.interruptible():
                        climb = make(batches)
                    climb.checkpoint, climb.lean = kept, refine in ("always", True)
                    climb.plain = not poor
                    if (memory := said(kept)) is not None:
                        climb.rungs.append(memory[1])
                    outcome = climb.run()
                except OutOfMemoryError as error:
                    told = in_short(error.__cause__ or error)
                if outcome is None:  # what the error and the climb held is let go first
                    climb = None
                    batches = fewer(target, guide, minibatch, kept, told)
            target = climb.target
        finally:
            watch.close()
        settings = _settings(program, engine, backend, seed, num_draws, quantities)
        cost = Cost(
            target.counter.num_densities,
            target.counter.num_gradients,
            target.density.clock["compile"] - compile_before,
            time.perf_counter() - begin,
        )
        findings = [*poor, *_data_findings(program, trace, target), *kept.findings]
        if memory is not None:
            findings.append(memory[0])
        elif batches is not None and minibatch is None:
            words = f"fitted on {batches.size} of {batches.total} rows at a time; the evidence is that of all rows."
            advice = f"A gradient over all rows would take too much of this machine's memory: {words}"
            findings.append(Finding("batches", batches.rows, float(batches.size), None, "ok", advice))
        found = conclude(program, target, outcome, findings, cost, settings)
        left = None if max_seconds is None else max(0.0, max_seconds - watch.elapsed)
        if refine is False or watch.stop():
            return found
        try:
            if refine == "auto":
                return refine_where_it_pays(found, progress, left, kept) if guide == "auto" else found
            return run_refine(found, progress=progress, max_seconds=left, checkpoint=kept)
        except OutOfMemoryError as error:  # chains see all rows at once
            words = f"failed: {str(error).splitlines()[0][:200]}"
            return replace(
                found, trail=Trail([*found.trail, Rung("refine", "nuts", reason=words)]), _groups={}
            )


def _climb(target, guide, batches, seed, watch, start, num_draws) -> Climb:
    """The climb of a plan, with what it needs first compiled meanwhile."""
    plan = choose(guide, target) if batches is None else subsampled(guide, batches)
    if plan.recentres and batches is None:
        target = target.centred({s.name: 1.0 for s in target.sites if s.location_scale})
    if batches is None:
        target.prepare("value_and_grad")
    z = np.zeros((target.constrain_batch, target.dim), target.dtype)
    target.density.constrain.prepare(z, target.lent, target.weights)
    psis.array_stats()  # slow to import: while XLA compiles
    named = guide != "auto"
    if batches is None:
        return Climb(target, plan, seed, watch, start, named, num_draws)
    return Subsampled(target, plan, seed, watch, start, named, num_draws, batches)


def _settings(program, engine, backend, seed, num_draws, quantities) -> dict:
    return dict(
        seed=seed,
        backend=backend,
        num_draws=num_draws,
        quantities=None if quantities is None else list(quantities),
        local=sorted(engine.local_sites(program)),
    )


def _target(program, backend, dtype, device):
    target = program.target(backend, dtype, device)
    trace = target.trace
    if target.dim == 0:
        raise ModelError(
            explain(f"model '{program.name}'", "a latent site to infer", "none", "declare one with er.sample")
        )
    if not trace.by_role("observed", "factor"):
        raise ModelError(
            explain(
                f"model '{program.name}'",
                "data: an observed site or a factor",
                "a model without any",
                "pass the outcome, or use prior_predictive",
            )
        )
    return target


def _check_arguments(program, seed, num_draws, refine, minibatch, max_seconds, checkpoint, quantities, start):
    if isinstance(program, Model):
        raise ModelError(
            explain(
                "fit",
                "a program: a model called with its data",
                f"the model '{program.name}' itself",
                f"write er.fit({program.name}(...))",
            )
        )
    if not isinstance(program, Program):
        raise ModelError(
            explain(
                "fit",
                "a program",
                type(program).__name__,
                "call an @er.model function with data, or er.from_numpyro(fn)(data)",
            )
        )
    for name, value, least in (("num_draws", num_draws, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise InferenceError(
                explain(name, f"an integer of at least {least}", repr(value), "correct the argument")
            )
    if not isinstance(refine, (str, bool)) or refine not in ("auto", "always", True, False):
        raise InferenceError(explain("refine", "'auto', 'always' or False", repr(refine), "choose one"))
    if minibatch is not None and not isinstance(minibatch, Minibatch):
        raise InferenceError(
            explain(
                "minibatch", "er.Minibatch('plate', size=...)", repr(minibatch), "pass one, or leave it out"
            )
        )
    if checkpoint is not None and not isinstance(checkpoint, (str, os.PathLike)):
        raise InferenceError(explain("checkpoint", "a folder", repr(checkpoint), "pass its path"))
    check_seconds(max_seconds)
    if quantities is not None and (isinstance(quantities, str) or not isinstance(quantities, Sequence)):
        raise InferenceError(
            explain("quantities", "a list of names", repr(quantities)[:80], "write quantities=['name']")
        )
    if start is not None and not isinstance(start, Mapping):
        want = "a mapping of sites to values"
        raise InferenceError(explain("start", want, type(start).__name__, "write start={'name': value}"))


def _start(target, start):
    if start is None:
        return None
    missing = [s.name for s in target.sites if s.name not in start]
    if missing:
        raise InferenceError(
            explain(
                "start", "a value for every latent site", f"none for {missing}", "add them or leave start out"
            )
        )
    values = {}
    for site in target.sites:
        try:
            values[site.name] = np.broadcast_to(np.asarray(start[site.name], float), site.shape)[None]
        except ValueError:
            shape = np.shape(start[site.name])
            raise ShapeError(
                explain(f"start of site '{site.name}'", f"shape {site.shape}", f"{shape}", "reshape it")
            ) from None
    z = target.unconstrain(values)
    if not np.isfinite(z).all():
        raise InferenceError(
            explain("start", "values inside the supports", "a value outside or on the edge", "move it inside")
        )
    return z


def _data_findings(program, trace, target):
    single = [label for label, leaf in program.leaves.items() if leaf.float32]
    if single and target.dtype == np.float64:
        yield Finding(
            "single precision data",
            ", ".join(single),
            None,
            None,
            "ok",
            f"Data arrived as float32 ({', '.join(single)}): pass float64 arrays to keep all digits.",
        )
    if program.precision == np.float32:
        yield Finding(
            "single precision model",
            program.name,
            None,
            None,
            "ok",
            "The model's loops hold whole numbers of 32 bits, so it runs in single precision as a whole.",
        )
    for first, other in unlike_rows(program.leaves):
        yield Finding(
            "rows of other names",
            f"{first}, {other}",
            None,
            None,
            "caution",
            f"The rows of '{first}' and '{other}' have different index labels and were paired by their position: "
            "align them, or reset_index where the order is right.",
        )
    for label in trace.demoted:
        yield Finding(
            "static argument",
            label,
            None,
            None,
            "ok",
            f"The model needs the values of '{label}' to know a shape: it became a static argument, so new "
            "values compile anew.",
        )
    if getattr(target.density, "looped", False):
        yield Finding(
            "draw by draw",
            program.name,
            None,
            None,
            "ok",
            "The model decides by the value of a quantity, so it runs once per draw: slow. Use er.math.where in "
            "place of if, and keep single numbers as arrays.",
        )
    for name, how in trace.missing.items():
        count = int(np.isnan(program.leaves[trace[name].argument].value).sum())
        words = {
            "imputed": f"imputed as the latent site '{name}_missing'",
            "summed": f"summed out as the discrete site '{name}_missing'",
            "masked": "left out of the likelihood, and predicted",
        }[how]
        yield Finding(
            "missing values", name, float(count), None, "ok", f"{count} values of '{name}' are {words}."
        )
    if operations := load(target.backend, program.model.language).unread(program):
        yield unread_links(f"operations {', '.join(operations)}")
    for name in trace.repeated:
        yield Finding(
            "repeated data",
            name,
            None,
            None,
            "caution",
            f"The values of '{name}' are fewer than its law has elements, so each counts several times: give it data of "
            "the law's shape, or take the law out of the plate.",
        )
    for name in program.graph(target.backend).uninformed:
        yield Finding(
            "no data",
            name,
            None,
            None,
            "ok",
            f"No outcome depends on '{name}' or on what it depends on: its posterior is its prior.",
        )
    if trace.weights:
        yield Finding(
            "learnable arrays",
            ", ".join(trace.weights),
            None,
            None,
            "caution",
            "The model's learnable arrays were kept at their initial values; every verdict is conditional on "
            "them.",
        )
