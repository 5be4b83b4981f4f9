"""A fit with an encoder: train, weigh the rows, and make the posterior."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...guides.amortized import Amortized
from ...guides.laws import HEADS
from ...guides.mean_field import MeanField
from ...ppl.codebook import VECTORS
from ...ppl.errors import GuideError, InferenceError, explain
from ...ppl.rows import sizes_of
from ..evidence.data import data_findings
from ..evidence.degenerate import shrunk_scales
from ..evidence.finding import UNSETTLED, Finding
from ..evidence.law import Law
from ..evidence.outcome import Outcome
from ..posterior.make import conclude
from ..posterior.record import Cost, Record
from ..run.checkpoint import Checkpoint
from ..run.trail import Rung
from ..run.watch import Watch
from ..thresholds import (
    ASCENT_DRAWS,
    ASCENT_STEPS,
    ASCENT_WORTH,
    EXCESS,
    EXCESS_SHARE,
    HEARD,
    HELD_BYTES,
    HELD_SHARE,
    LARGEST_DENSE,
    MOST_ASCENTS,
    MOST_BATCH,
    MOST_DENSE_UNITS,
    MOST_KEPT_DRAWS,
    MOST_WEIGHED,
    ROW_DRAWS,
)
from .adversarial import adversary
from .apart import check_apart
from .compiled import Compiled
from .discrete import check_smooth, discrete_of
from .evidence import far_of
from .judged import RowJudge, RowsSeen, seen
from .kept import KEPT, Kept, chosen, of_rows
from .latent import recorded
from .objectives import Elbo
from .quantized import Quantizing, codes_of, perplexity, with_prior
from .rows import Rows
from .setup import Setup, bits, codebook, default_plate, family_of, set_up
from .smoothness import smoothness_findings
from .trained import ENDED, STEP_LIMIT, Trained
from .training import Training

STAGE = "training"


Train = Callable[..., tuple["Deep", Setup, Compiled, Trained]]


@dataclass(frozen=True, eq=False)
class Deep:
    """What `fit` was asked for, of a model with encoded rows.

    Attributes
    ----------
    program : Program
    target : Target
    family : Amortized
    plate : str
    seed, num_draws : int
    minibatch : Minibatch or None
    objective : Elbo, ImportanceWeighted or None
    validation : float or None
        Share of rows that are held out.
    chosen : bool
        Whether nobody named the family.
    """

    program: Any
    target: Any
    family: Any
    plate: str
    seed: int
    num_draws: int
    minibatch: Any
    objective: Any
    validation: Any
    chosen: bool = False

    def identity(self) -> dict[str, Any]:
        """What makes two fits the same, for a checkpoint."""
        target = self.target
        return {
            "model": target.density.fingerprint or self.program.model.code_hash,
            "data": self.program.data_fingerprint,
            "seed": self.seed,
            "guide": self.family,
            "backend": f"{target.backend} {target.dtype} {target.device}",
            "minibatch": None if self.minibatch is None else (self.minibatch.plate, self.minibatch.size),
            "objective": self.objective,
            "validation": self.validation,
            "num_draws": self.num_draws,
        }

    @property
    def share(self) -> float:
        """Of the rows that are held out."""
        return HELD_SHARE if self.validation is None else float(self.validation)

    def size(self, total: int) -> int:
        """Rows of a batch.

        Raises
        ------
        InferenceError
            For batches of another plate, or larger than what is trained on.
        """
        own = total - round(self.share * total)
        if self.minibatch is None:
            return int(np.clip(2 ** int(np.log2(max(own / 7, 1))), min(own, 32), MOST_BATCH))
        if self.minibatch.plate != self.plate:
            raise InferenceError(
                explain("minibatch", f"rows of '{self.plate}', which the encoder is for", repr(self.minibatch.plate),
                        "name that plate")
            )  # fmt: skip
        if self.minibatch.size > own:
            raise InferenceError(
                explain("minibatch", f"up to {own} rows, those that are trained on", f"{self.minibatch.size}",
                        "use smaller batches")
            )  # fmt: skip
        return int(self.minibatch.size)


def check_deep(objective: Any, validation: Any) -> None:
    """Refuse what is no objective, or no share of rows.

    Raises
    ------
    InferenceError
    """
    if objective is not None and not hasattr(objective, "num_particles"):
        raise InferenceError(
            explain(
                "objective",
                "one of er.objectives, such as er.objectives.Elbo()",
                f"{objective!r}"[:80],
                "pass one",
            )
        )
    number = isinstance(validation, (int, float)) and not isinstance(validation, bool)
    if validation is not None and not (number and 0 <= validation < 1):
        raise InferenceError(
            explain(
                "validation", "a share of rows, from 0 to below 1", f"{validation!r}"[:80], "pass 0.1, say"
            )
        )


def encoded_of(
    guide: Any, target: Any, start: Any, refine: Any, training: Mapping[str, Any]
) -> tuple[Any, str] | None:
    """Encoder and plate of a fit; None where rows are not encoded.

    Raises
    ------
    InferenceError
        For what only a fit with an encoder can be asked, or one with an encoder cannot.
    """
    found = family_of(guide, target)
    if found is None and (name := codebook(target)):
        words = f"er.Quantized for the codebook '{name}', whose entries are no matter of density"
        raise GuideError(
            explain("guide", words, f"{guide!r}"[:80], "pass guide=er.Quantized(), or leave it out")
        )
    if found is None and (names := bits(target)):
        words = f"er.Amortized for {names}, whose values are too many to be summed out"
        raise GuideError(
            explain("guide", words, f"{guide!r}"[:80], "pass guide=er.Amortized(), or leave it out")
        )
    if found is None and guide == "auto" and (plate := default_plate(target)) is not None:
        found = Amortized(within=_within(target, plate, training["objective"])), plate
    if found is None:
        asked = [name for name, value in training.items() if value is not None]
        if asked:
            raise InferenceError(
                explain(asked[0], "a fit with an encoder, whose networks are trained", f"guide={guide!r}"[:80],
                        "pass guide=er.Amortized(), or leave it out")
            )  # fmt: skip
        return None
    _check_objective(found[0], training["objective"])
    if start is not None or refine in ("always", True):
        name = "start" if start is not None else "refine"
        raise InferenceError(
            explain(
                name, "a fit without an encoder", "one with an encoder", "leave it out, or name another guide"
            )
        )
    return found


def suits(within: str, objective: Any) -> bool:
    """Whether an objective can be had of a law of rows: none takes units apart that are not independent."""
    return HEADS[within].independent or not getattr(objective, "total_correlation", 0)


def _check_objective(family: Amortized, objective: Any) -> None:
    """Refuse to take units apart that are not, and what a family without densities is trained on."""
    if family.point and objective is not None:
        raise InferenceError(explain("objective", f"none beside er.{type(family).__name__}, which has its own", f"{objective!r}"[:80],
                                     "leave it out"))  # fmt: skip
    if not suits(family.within, objective):
        kinds = [name for name, head in HEADS.items() if head.independent]
        raise InferenceError(
            explain("total_correlation of er.objectives.Elbo", f"laws of rows whose units are independent, within one of {kinds}",
                    f"within={family.within!r}", "leave one of them out")
        )  # fmt: skip


def _within(target: Any, plate: str, objective: Any) -> str:
    """The law of a row where none is named: dense of few coordinates, but for objectives of one's own, which take units apart."""
    if objective is not None:
        return "mean-field"
    size = sum(site.size for site in target.sites if plate in site.plates) // sizes_of(target.trace)[plate]
    return "full-rank" if size <= MOST_DENSE_UNITS else "mean-field"


def prepared(asked: Deep, chosen: bool) -> tuple[Setup, Compiled] | None:
    """Rows with their encoder, and their functions; None where nobody asked for an encoder and these rows can have none.

    Raises
    ------
    GuideError
        See `set_up` and `check_apart`, where the encoder was not `chosen` for the user.
    """
    total = sizes_of(asked.target.trace)[asked.plate]
    try:
        setup = set_up(asked.family, asked.plate, asked.target, asked.size(total), asked.seed)
        compiled = Compiled(setup.rows, setup.encoder, _held(setup), asked.family.dropout)
        check_apart(setup, compiled)
    except GuideError:
        if chosen:
            return None
        raise
    return setup, compiled


def fit_rows(
    asked: Deep,
    ready: tuple[Setup, Compiled],
    kept: Checkpoint,
    watch: Watch,
    settings: Mapping[str, Any],
    begin: float,
    before: Sequence[Rung] = (),
    train: Train | None = None,
) -> Record:
    """The record of a fit with an encoder.

    Parameters
    ----------
    asked : Deep
        What is to be fitted.
    ready : tuple
        See `prepared`.
    kept : Checkpoint
        Where training goes on from, and is kept.
    watch : Watch
        When to end.
    settings : mapping
        See `conclude`.
    begin : float
        When the fit began.
    before : sequence of Rung
        What was tried before.
    train : callable, optional
        ``train(asked, training)`` in place of training on these rows: what was asked for, rows with their functions, and what was reached.
    """
    target, compiled_before = asked.target, asked.target.density.clock["compile"]
    setup, compiled = ready
    total = setup.rows.total
    objective = _objective(asked, setup)
    training = Training(setup, compiled, objective, asked.share, asked.seed, watch, kept.keep)
    start = time.perf_counter()
    with watch.showing("training networks"):
        if train is not None:
            asked, setup, compiled, trained = train(asked, training)
            target, total = asked.target, setup.rows.total
        else:
            trained = _trained(training, kept)
    rungs = [*before, *(Rung(STAGE, "amortized", reason=line) for line in trained.told)]
    rungs.append(_line(setup, trained, time.perf_counter() - start))
    watch.noted(rungs[-1])
    setup = replace(setup, unsettled=trained.reason not in ENDED)
    to_device = setup.rows.small.to_device
    params = {group: {k: to_device(v) for k, v in part.items()} for group, part in trained.params.items()}
    few = chosen(setup.rows, trained.held, asked.seed)
    if few is not None:
        asked, setup, compiled, trained = _of_kept(asked, setup, trained, few.positions)
        target, settings = asked.target, {**settings, "num_draws": asked.num_draws}
    with watch.showing("weighing rows"):
        stepping = asked.chosen and _may_step(setup, total)
        setup, weighing, rows, lines = _weighed(asked, setup, compiled, trained, params, stepping)
    shrunk = _shrunk(setup, rows, params)
    judge = RowJudge(setup, rows, shrunk)
    rungs += lines
    for line in lines:
        watch.noted(line)
    learned = target.at({k: v for k, v in trained.params["weights"].items() if k in target.trace.weights})
    outcome = _outcome(learned, rows, rungs, trained, judge)
    findings = [*data_findings(asked.program, target.trace, learned), *kept.findings, *shrunk]
    findings += _code_findings(setup, trained, rows) if setup.encoder.codebook else []
    findings += smoothness_findings(weighing, params, rows.raw[0]) if setup.encoder.smooth else []
    num_gradients = int(np.ceil(trained.num_steps * setup.rows.size / total))
    clock = target.density.clock["compile"] - compiled_before + setup.rows.small.density.clock["compile"]
    cost = Cost(num_gradients + ROW_DRAWS, num_gradients, clock, time.perf_counter() - begin)
    own = {k: v for k, v in trained.params["weights"].items() if k not in target.trace.weights}
    settings = {
        **settings,
        "rows": {
            "plate": asked.plate,
            "verdict": judge.plate[0],
            "reason": judge.plate[1],
            "trusted": judge.share_trusted,
        },
    }
    if few is not None:
        findings.append(few.finding(asked.plate))
    record = conclude(asked.program, learned, outcome, findings, cost, settings, judge.judged)
    return with_encoder(record, setup, asked.family, trained, own, rows, few)


def _of_kept(
    asked: Deep, setup: Setup, trained: Trained, positions: np.ndarray
) -> tuple[Deep, Setup, Compiled, Trained]:
    """What was asked for and reached, of the rows that are kept alone."""
    before = setup.rows
    target = of_rows(asked.target, asked.plate, positions)
    rows = Rows.of(target, asked.plate, min(before.size, MOST_WEIGHED))
    setup = replace(setup, rows=rows)
    held = np.flatnonzero(np.isin(positions, trained.held))
    trained = replace(trained, held=held, trace=trained.trace * (rows.total / before.total))
    num_draws = min(asked.num_draws, MOST_KEPT_DRAWS)
    asked = replace(asked, program=target.program, target=target, num_draws=num_draws)
    return asked, setup, Compiled(rows, setup.encoder, _held(setup)), trained


def _objective(asked: Deep, setup: Setup) -> Any:
    """What is trained on.

    Raises
    ------
    InferenceError
        See `discrete_of` and `check_smooth`.
    """
    if setup.encoder.bits:
        return discrete_of(asked.objective)
    check_smooth(asked.objective)
    if setup.encoder.codebook:
        return Quantizing(setup.encoder.codebook, asked.family.decay, asked.family.commitment)
    if setup.encoder.point:
        return adversary(setup, asked.family.critic, asked.seed)
    return Elbo() if asked.objective is None else asked.objective


def _weighed(
    asked: Deep, setup: Setup, compiled: Compiled, trained: Trained, params: Any, stepping: bool
) -> tuple[Setup, Compiled, RowsSeen, list[Rung]]:
    """What the weights say of the rows; again after steps of each, where nobody chose a family and the encoder alone does not do."""
    lines: list[Rung] = []
    weighing, pilot = _weighing(setup, compiled), stepping
    while True:
        start = time.perf_counter()
        rows = seen(setup, weighing, trained, params, asked.seed, asked.num_draws, pilot)
        judge = RowJudge(setup, rows)
        steps = stepping and not setup.encoder.iterations and _steps_ask(rows, judge)
        if steps or not pilot or rows.whole:
            lines.append(_evidence(judge, rows, time.perf_counter() - start))
        if steps:
            weighing = weighing.stepping(ASCENT_STEPS)
            setup = replace(setup, encoder=weighing.encoder)
        elif not pilot or rows.whole:
            return setup, weighing, rows, lines
        pilot = False


def _shrunk(setup: Setup, seen: RowsSeen, params: Any) -> list[Finding]:
    """Learned scales of outcomes that went to nothing, at the laws' means of some rows."""
    own = setup.rows
    some = np.linspace(0, own.total - 1, own.size).astype(int)
    z = own.joined(seen.raw[0][None, some], own.shared_mean(params)[None])
    data = {**own.fixed(), **{k: own.small.to_device(v) for k, v in own.host(some).items()}}
    given = {"data": data, "weights": params["weights"]}
    return shrunk_scales(own.small, own.full, np.asarray(z), given, own.plate)


def _may_step(setup: Setup, total: int) -> bool:
    """Whether each row can take steps for itself, and does not yet; each of all that were fitted, should one encode them."""
    work = total * ASCENT_STEPS * ASCENT_DRAWS
    return work <= MOST_ASCENTS and not setup.encoder.iterations and setup.encoder.smooth


def _steps_ask(rows: RowsSeen, judge: RowJudge) -> bool:
    """Whether most rows that were audited can be trusted, but not all by the encoder alone."""
    return not rows.whole and not judge.standing[0].all() and judge.share_trusted > ASCENT_WORTH


def goes_on(record: Record, target: Any) -> bool:
    """Whether the ladder follows at the learned arrays: where rows leave something open, and are few enough for it."""
    return record.verdict != "trusted" and target.dim <= LARGEST_DENSE


def with_encoder(
    record: Record,
    setup: Setup,
    family: Amortized,
    trained: Trained,
    own: Mapping[str, Any],
    rows: RowsSeen,
    few: Kept | None = None,
) -> Record:
    """The record with what the encoder of its rows needs again."""
    settings, arrays = recorded(setup, family)
    shared = {f"shared:{k}": v for k, v in trained.params["guide"].items()}
    params = {**record.params, **arrays, **shared, **{f"encoder:{k}": v for k, v in own.items()}}
    fit_record = {
        **record.fit_record,
        "bounds": trained.bounds,
        "row_khat": rows.khat,
        "row_size": rows.size,
        "row_evidence": rows.evidence,
        "row_bound": rows.bound,
        "row_elsewhere": rows.elsewhere,
        "held_out": trained.held,
        "far": far_of(*rows.raw),
    }
    if few is not None:
        fit_record[KEPT], settings = few.positions, {**settings, "total": few.total}
    made = {**record.settings, "encoder": settings}
    return replace(record, params=params, fit_record=fit_record, settings=made, network=setup.encoder.network)


def _trained(training: Training, kept: Checkpoint) -> Trained:
    """What training reaches, from where a checkpoint left it."""
    trained, name = _ended(training, kept), training.setup.encoder.codebook
    return with_prior(training, trained, name) if name else trained


def _ended(training: Training, kept: Checkpoint) -> Trained:
    """What training on the bound reaches."""
    if kept.stage == STAGE:
        return Trained.joined(*kept.state)
    trained = training.run(kept.under_way)
    if trained.reason != "stopped":
        kept.finish(STAGE, *trained.split())
    return trained


def _line(setup: Setup, trained: Trained, seconds: float) -> Rung:
    total = setup.rows.total
    bound = float(np.nanmax(trained.bounds[:, 2])) if np.isfinite(trained.bounds[:, 2]).any() else np.nan
    whose = f"held-out row ({len(trained.held)} of {total})" if len(trained.held) else "row"
    shrinking = f"decay of networks' matrices {trained.decay:.2g} at last; " if trained.decay else ""
    words = (
        f"{setup.words}; {trained.num_steps} steps at rate {trained.rate:g}, {trained.epochs:.1f} times over the "
        f"rows: {trained.reason}; {shrinking}bound of a {whose} {bound:.3f} nats"
    )
    return Rung(STAGE, "amortized", elbo=bound * total, num_gradients=int(np.ceil(trained.epochs)),
                seconds=seconds, reason=words)  # fmt: skip


def _evidence(judge: RowJudge, rows: RowsSeen, seconds: float) -> Rung:
    total = len(rows.khat)
    bound = float(np.nanmean(rows.bound)) * total
    khat = float(np.nanquantile(rows.khat, 0.99))
    return Rung("evidence by row", "amortized + psis", elbo=bound, khat=khat, num_gradients=ROW_DRAWS // 2,
                seconds=seconds, reason=judge.plate[1])  # fmt: skip


def _outcome(target: Any, rows: RowsSeen, rungs: list[Rung], trained: Trained, judge: RowJudge) -> Outcome:
    findings = [*judge.findings(), *training_findings(trained)]
    verdict, reason = judge.plate
    return Outcome(
        guide=MeanField().bind(target),
        fitted=rows.law,
        law=Law("psis", rows.z),
        khat=float(np.nanquantile(rows.khat, 0.99)),
        elbo=(float(np.nanmean(rows.bound)) * len(rows.khat), float(np.nan)),
        frame=rows.law,
        objection=None if verdict == "trusted" else reason,
        elbo_trace=tuple(_thinned(trained.trace).tolist()),
        steps={"gradient_norm": _thinned(trained.norms)} if len(trained.norms) == len(trained.trace) else {},
        rungs=tuple(rungs),
        findings=tuple(findings),
    )


def training_findings(trained: Trained) -> list[Finding]:
    """What was seen of the training."""
    found = []
    if trained.reason == STEP_LIMIT or trained.reason not in ENDED:
        words = (
            f"Training ended after {trained.num_steps} steps, before its bound had come to rest: {trained.reason}. What is said is "
            "of networks that would still change. Give the fit more time."
        )
        verdict = "caution" if trained.reason in ENDED else "untrusted"
        found.append(Finding(UNSETTLED, "fit", None, None, verdict, words))
    if trained.num_bad:
        words = f"The gradient was not finite at {trained.num_bad} of {trained.num_steps} steps."
        found.append(Finding("not finite", "fit", float(trained.num_bad), 0.0, "caution", words))
    found += _collapse_findings(trained)
    looked = trained.bounds[np.isfinite(trained.bounds[:, 2]), 2]
    least = max(EXCESS, EXCESS_SHARE * abs(looked.max())) if len(looked) else np.inf
    if trained.excess - 2 * trained.excess_se > least:
        words = (
            f"The bound of a row that was trained on is {trained.excess:.2f} nats greater than that of one held out: the networks "
            "know their rows by heart, and what is conditional on them holds of these rows more than of others. More rows, "
            "smaller networks or prior= on their weights help."
        )
        found.append(Finding("learned by heart", "fit", trained.excess, least, "caution", words))
    return found


def _collapse_findings(trained: Trained) -> list[Finding]:
    """That laws of rows tell nothing of them; or that they do, after a start of which they told nothing."""
    loudest, others = float(trained.each.max()), len(trained.told) - 1
    if trained.told and trained.telling:
        words = (
            f"Of a start the laws of rows told nothing; those of another, whose bound is no worse, tell {trained.information:.2f} nats of "
            f"them by {trained.active} of {len(trained.each)} units. `trail` has what was tried. The same networks collapse again where they "
            "are trained on the bound alone: er.objectives.Elbo(free_bits=0.5) keeps units apart."
        )
        return [Finding("start after a collapse", "fit", loudest, HEARD, "ok", words)]
    if not trained.told and not trained.collapsed:
        return []
    words = (
        f"The laws of rows tell {trained.information:.4f} nats of them, no coordinate more than {loudest:.4f}: the latent quantities are not used. "
        + (f"{others} other starts have no greater bound: " if others > 0 else "")
        + "the data have no such structure, or the networks of the model explain them without. Leave these quantities out, or give the "
        "networks less that does without them: a smaller state, or a share of dropout= where what came before goes in."
    )
    return [Finding("collapse", "fit", loudest, HEARD, "caution", words)]


def _code_findings(setup: Setup, trained: Trained, rows: RowsSeen) -> list[Finding]:
    """How many codes are in use, over all rows."""
    vectors = np.asarray(trained.params["weights"][f"{setup.encoder.codebook}{VECTORS}"])
    found = perplexity(codes_of(vectors, rows.raw[0]))
    words = f"Codes are as many as {found:.1f} that are used alike, of {len(vectors)} in the codebook."
    return [Finding("perplexity of codes", setup.encoder.codebook, found, None, "ok", words)]


def _thinned(values: np.ndarray, most: int = 1000) -> np.ndarray:
    return values[:: max(1, len(values) // most)]


def _weighing(setup: Setup, compiled: Compiled) -> Compiled:
    """Functions of fewer rows at once, of each of which there are many draws."""
    if setup.rows.size <= MOST_WEIGHED:
        return compiled
    own = Rows.of(setup.rows.full, setup.rows.plate, MOST_WEIGHED)
    return Compiled(own, setup.encoder, compiled.held)


def _held(setup: Setup) -> dict[str, Any]:
    """All rows where the target computes, where they fit and are no memory maps."""
    rows = setup.rows
    leaves = {label: rows.full.program.leaves[label].value for label in rows.along}
    if sum(v.nbytes for v in leaves.values()) > HELD_BYTES or any(
        isinstance(v, np.memmap) for v in leaves.values()
    ):
        return {}
    return {label: rows.small.to_device(np.asarray(value)) for label, value in leaves.items()}
