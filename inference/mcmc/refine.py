"""Refinement: chains that start where the fit ended, until every judged quantity is known well enough.

Where the evidence speaks for the fit, its covariance becomes the metric and the warm-up only sets the step size, or
chains run in the base coordinates of its flow; an unsettled fit gives starting points and nothing else, since a wrong
metric that is kept costs more than none.

References
----------
Hoffman & Gelman (2014), The No-U-Turn Sampler, JMLR 15. Hoffman et al. (2019), NeuTra-lizing bad geometry in
Hamiltonian Monte Carlo using neural transport. Zhang et al. (2022), Pathfinder, JMLR 23. Vehtari et al.
(2021), Rank-normalization, folding, and localization: an improved R̂, Bayesian Analysis 16.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ...guides import MeanField
from ...guides.transport import Affine
from ...ppl.errors import InferenceError, UnsupportedError, explain
from ...ppl.interrupts import deferred, in_words, interruptible
from ..arguments import check_densities
from ..engines.problem import marked
from ..evidence.finding import Finding, Findings
from ..evidence.law import Law
from ..evidence.mixing import energy_information
from ..evidence.outcome import Outcome, twins
from ..evidence.quantities import quantity_values
from ..evidence.verdicts import POINT_ESTIMATE
from ..ladder.starts import scattered
from ..posterior.groups import STEPS
from ..posterior.make import conclude, with_line
from ..posterior.record import Cost, Record, with_rows
from ..posterior.save import save
from ..run.checkpoint import Checkpoint
from ..run.track import Track, followed
from ..run.trail import Rung
from ..run.watch import Watch, check_seconds
from ..thresholds import (
    BFMI,
    DIVERGENT,
    FEW_CHAINS,
    LOCKSTEP_CHAINS,
    LONG_CHAINS,
    MOST_CHAINS,
    PILOT,
    RHAT,
    RHAT_CAUTION,
    SHORTEST_CHAIN,
    SUPERCHAINS,
)
from .drawing import Drawing
from .nuts import begun, least_seconds, starts

KERNELS = ("auto", "nuts", "hmc")
NOT_RUN = "no chain was run"
FORGOTTEN = (
    "its posterior is symmetric, and what is loaded cannot tell which quantities that moves: fit it again"
)
SHORT_CHAINS = {"divergences", "short chains", "symmetry", "fewer draws", "energy", "chains disagree"}


@followed("refine")
@in_words("before chains had draws: the posterior is as it was")
@deferred(answered=True)
def refine(  # noqa: PLR0913, PLR0917  as `Posterior.refine`, and what a fit adds
    record: Record,
    num_chains: int | None = None,
    num_draws: int | None = None,
    max_seconds: float | None = None,
    seed: int | None = None,
    progress: bool = True,
    checkpoint=None,
    kernel: str = "auto",
    affordable: float | None = None,
    outcome: Outcome | None = None,
    *,
    track: Track | None = None,
) -> Record:
    """Chains from where a fit ended, see `Posterior.refine`.

    Parameters
    ----------
    record : Record
        Of a posterior with its program and the fitted data.
    num_chains, num_draws, max_seconds, seed, progress, checkpoint, kernel
        See `Posterior.refine`.
    affordable : float, optional
        Seconds beyond which nothing is begun: the posterior comes back as it was, with a line in its trail.
    outcome : Outcome, optional
        What is known of the fit, in place of what the posterior holds.
    track : Track, optional
        See `Posterior.refine`.
    """
    if record.target is not None:
        check_densities("refine", record.target)
    kernel = _kernel(record, kernel)
    if num_chains is None:
        num_chains = LONG_CHAINS if kernel == "nuts" else LOCKSTEP_CHAINS
    _check(record, kernel, num_chains, num_draws, max_seconds, seed)
    begin, watch = time.perf_counter(), Watch(max_seconds, progress, track)
    outcome = outcome or record.outcome or _remembered(record)
    if record.settings.get("rows"):  # each quantity speaks for itself from here on
        record = replace(record, settings={**record.settings, "rows": None, "condemned": None})
        outcome = replace(outcome, objection=None)
    rng = np.random.default_rng([record.seed if seed is None else seed, 31])
    chains = begun(record.target, outcome, kernel)
    chains.superchains = SUPERCHAINS if num_chains >= FEW_CHAINS else 0
    made = _Refining(record, outcome, rng, begin)
    start = starts(record.target, outcome, chains.superchains or num_chains, rng)
    if start is None:
        return _without_start(record, seconds=made.seconds)
    if chains.superchains:
        start = np.repeat(start, num_chains // SUPERCHAINS, axis=0)
    if not isinstance(checkpoint, Checkpoint):
        checkpoint = Checkpoint(checkpoint, {})  # a fit's own may lie beside the draws

    def keep() -> None:
        checkpoint.posterior(lambda path: save(made.drawn(drawing.chains, "under way"), {}, path))

    drawing: Drawing = Drawing(
        chains, outcome.law, start, record.judged, rng, watch, num_draws, affordable, keep
    )
    checkpoint.posterior(lambda path: save(record, {}, path), now=affordable is None)
    words = _run(drawing, watch, chains, start, affordable, max_seconds)
    if not drawing.chains.z or words.startswith("not affordable"):
        reason = words if drawing.chains.z or words.startswith("not") else "ended before the first draws"
        return with_line(record, "refine", reason, chains.kernel, made.num_gradients, made.seconds)
    found = made.drawn(drawing.chains, words, checkpoint.findings)
    checkpoint.posterior(lambda path: save(found, {}, path), now=True)
    watch.noted(found.trail[-1])
    return found


def _run(drawing: Drawing, watch: Watch, chains, start, affordable, max_seconds) -> str:
    """Draw, where a pilot says that it is affordable; why it ended."""
    try:
        with watch.showing(f"refining with {chains.kernel.upper()}"):
            least = least_seconds(chains, start)
            limit = min(np.inf if one is None else one for one in (affordable, max_seconds))
            if least > max(2 * limit, PILOT):  # twice, since chains in lockstep may be that much faster
                return f"not affordable: a pilot projects {least:.0f} s or more, {limit:.0f} s are allowed"
            with interruptible():
                return drawing.run()
    except KeyboardInterrupt:
        watch.interrupted = True
        return "interrupted: the draws so far"
    finally:
        watch.close()


class _Refining:
    """What chains add to a posterior.

    Parameters
    ----------
    record : Record
        Of the posterior.
    outcome : Outcome
        Of its fit.
    rng : numpy.random.Generator
    begin : float
        When they began.
    """

    def __init__(self, record: Record, outcome: Outcome, rng: np.random.Generator, begin: float):
        self.record, self.outcome, self.rng, self.begin = record, outcome, rng, begin
        counter, clock = record.target.counter, record.target.density.clock
        self.before = counter.num_gradients, counter.num_densities, clock["compile"]

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return time.perf_counter() - self.begin

    @property
    def num_gradients(self) -> int:
        """Gradients so far."""
        return self.record.target.counter.num_gradients - self.before[0]

    def drawn(self, chains, words: str, findings=()) -> Record:
        """The record of the draws so far."""
        record, outcome, target, law = self.record, self.outcome, chains.target, chains.law()
        values, _ = quantity_values(target, law.z)
        errors = _guide_errors(target, outcome, values, record)
        off = "" if errors is None else f"; {errors[2]}"
        reason = f"{law.num_chains} chains × {len(law.z) // law.num_chains} draws after {chains.num_warmup}, "
        reason += f"{chains.why}: {words}{off}"
        rung = Rung(
            "refine", chains.kernel, num_gradients=self.num_gradients, seconds=self.seconds, reason=reason
        )
        own = [f for f in record.findings if f.name not in SHORT_CHAINS]
        moved = replace(
            outcome,
            law=law,
            rungs=(*record.trail, rung),
            findings=(*own, *_findings(law, values, record), *(f for f in findings if f not in own)),
            twins=twins(outcome.symmetries, law, self.rng),
            guide_errors=None if errors is None else errors[:2],
            objection=None if outcome.objection == POINT_ESTIMATE else outcome.objection,
        )
        if outcome.without:
            moved = replace(moved, fitted=Affine(law.z.mean(0), np.maximum(law.z.std(0), 1e-300)))
        found = conclude(record.program, target, moved, (), self._cost(), record.settings)
        return with_rows(found, record)

    def _cost(self) -> Cost:
        cost, target = self.record.cost, self.record.target
        return Cost(
            cost.num_densities + target.counter.num_densities - self.before[1],
            cost.num_gradients + self.num_gradients,
            cost.compile_seconds + target.density.clock["compile"] - self.before[2],
            cost.run_seconds + self.seconds,
        )


def sampled(program, target, seed: int, settings: dict, findings=(), start_z=None, **options) -> Record:
    """The posterior by chains alone, from dispersed points.

    Parameters
    ----------
    program : Program
        The model with its data.
    target : Target
        Its density.
    seed : int
        For the points where chains begin.
    settings : mapping
        See `conclude`.
    findings : iterable of Finding
        About the data.
    start_z : numpy.ndarray, shape (1, dim), optional
        Where all chains begin.
    **options
        As `refine` takes them.
    """
    begin, rng = time.perf_counter(), np.random.default_rng([seed, 0])
    density = marked(target.value_and_grad)
    points = scattered(density, target, 16, rng) if start_z is None else start_z
    frame = Affine(*target.units)
    outcome = Outcome(
        MeanField().bind(target), frame, Law("guide", points), frame=frame, objection=NOT_RUN, without=True
    )
    cost = Cost(target.counter.num_densities, target.counter.num_gradients, 0.0, time.perf_counter() - begin)
    none = conclude(program, target, outcome, findings, cost, settings)
    return refine(none, outcome=replace(outcome, objection=None), **options)


def _kernel(record: Record, kernel: str) -> str:
    """The kernel that is asked for: by itself HMC in lockstep."""
    record.needs_program("refine")
    if record.target is None:
        raise InferenceError(
            explain(
                "refine", "the program bound to the data that were fitted", "other data", "fit these data"
            )
        )
    if kernel not in KERNELS:
        raise UnsupportedError(explain("kernel", f"one of {KERNELS}", repr(kernel)[:80], "choose one"))
    return "hmc" if kernel == "auto" else kernel


def _check(record: Record, kernel: str, num_chains, num_draws, max_seconds, seed) -> None:
    for name, value, least in (("num_chains", num_chains, 1), ("num_draws", num_draws, SHORTEST_CHAIN)):
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if value is not None and (not whole or value < least):
            raise InferenceError(explain(name, f"an integer of at least {least}", repr(value), "correct it"))
    if num_chains >= FEW_CHAINS and (num_chains % SUPERCHAINS or num_chains > MOST_CHAINS):
        few = f"fewer than {FEW_CHAINS}, or a multiple of {SUPERCHAINS} up to {MOST_CHAINS}"
        raise InferenceError(explain("num_chains", few, repr(num_chains), "choose another number"))
    if num_chains >= FEW_CHAINS and kernel == "nuts" and not record.target.lockstep:
        raise UnsupportedError(
            explain(
                "num_chains",
                f"fewer than {FEW_CHAINS} of NUTS on this backend, where they run one after the other",
                repr(num_chains),
                "use fewer chains, or kernel='hmc'",
            )
        )
    natural = isinstance(seed, (int, np.integer)) and not isinstance(seed, bool) and seed >= 0
    if seed is not None and not natural:
        raise InferenceError(explain("seed", "an integer of at least 0", repr(seed)[:80], "correct it"))
    check_seconds(max_seconds, positive=False)


def _without_start(record: Record, seconds: float) -> Record:
    """The posterior as it was, with what stood in the way."""
    reason = "no draw of the fit has a finite density"
    finding = Finding(
        "no start", "fit", None, None, "untrusted", f"Not refined: {reason}. Fit again with another seed."
    )
    noted = with_line(record, "refine", f"not run: {reason}", seconds=seconds)
    return replace(noted, findings=Findings([*noted.findings, finding]))


def _guide_errors(target, outcome: Outcome, exact: np.ndarray, record: Record):
    """How far the guide's own mean and sd were off, per quantity: in sds and as a factor; and the worst in words."""
    if outcome.pool is None:
        return None
    own = outcome.pool.z[outcome.pool.from_guide]
    guess, _ = quantity_values(target, own)
    sd = exact.std(0)
    moving = sd > 1e-12 * np.abs(exact.mean(0))
    with np.errstate(all="ignore"):
        shift = np.where(moving, (guess.mean(0) - exact.mean(0)) / sd, 0.0)
        ratio = np.where(moving, guess.std(0) / sd, 1.0)
    labels = record.table["label"]
    k, j = int(np.abs(shift).argmax()), int(np.abs(np.log(np.maximum(ratio, 1e-300))).argmax())
    words = (
        f"the guide's means were off by up to {abs(shift[k]):.2f} sd ({labels[k]}), its sds by a factor of up to "
        f"{ratio[j]:.2f} ({labels[j]})"
    )
    return shift, ratio, words


def _findings(law: Law, values: np.ndarray, record: Record) -> Iterator[Finding]:
    stats = law.stats or {}
    if law.divergent > DIVERGENT:
        yield Finding(
            "divergences",
            "fit",
            law.divergent,
            DIVERGENT,
            "caution",
            f"{law.divergent:.1%} of the chains' transitions diverged: a region of high curvature is not explored. A "
            "non-centred parametrisation often mends it.",
        )
    known = energy_information(stats["energy"])
    if known < BFMI:
        yield Finding(
            "energy",
            "fit",
            known,
            BFMI,
            "caution",
            f"E-BFMI is {known:.2f}: the chains move slowly between levels of energy. Heavy tails or a hierarchy's "
            "scale are the usual causes: reparametrise.",
        )
    judged = record.judged
    apart = law.rhat(values[:, judged])
    worst = int(apart.argmax())
    if apart[worst] > RHAT:
        label = record.table["label"][judged[worst]]
        yield Finding(
            "chains disagree",
            label,
            float(apart[worst]),
            RHAT,
            "caution" if apart[worst] < 1 + RHAT_CAUTION else "untrusted",
            f"R̂ of {label} is {apart[worst]:.3f}: the chains have not come together. Give them more time, or look for "
            "several modes.",
        )


def _remembered(record: Record) -> Outcome:
    """What a posterior that was loaded still knows of its fit."""
    mixed = record.law != "mcmc" or record.judgement != "untrusted"
    law = Law(record.law, record.z, slowest=np.inf if mixed else 0.0)
    objection = record.settings.get("condemned")
    if objection is None and any(f.name == "symmetry" for f in record.findings):
        objection = FORGOTTEN
    return Outcome(
        record.guide,
        record.guide.at(record.params),
        law,
        record.khat,
        frame=Affine(record.z.mean(0), np.maximum(record.z.std(0), 1e-300)),
        objection=objection,
        elbo_trace=tuple(record.fit_record.get("elbo", ())),
        steps={k: record.fit_record[k] for k in STEPS[1:] if k in record.fit_record},
    )
