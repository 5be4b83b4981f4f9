"""From weighed rows to what a posterior holds: draws, estimates and verdicts of all quantities, and of the plate as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from ...guides.laws import Law, moments, placed
from ...guides.transport import Affine
from ...ppl.interrupts import came
from ..evidence.coordinates import named
from ..evidence.estimates import Estimates, estimate
from ..evidence.finding import Finding
from ..evidence.verdicts import ORDER, Evidence, Verdicts, judge, tail_shapes
from ..thresholds import (
    AUDIT_PILOT,
    AUDITED,
    BIT_ERROR,
    ELSEWHERE_ROWS,
    ELSEWHERE_SHARE,
    FEWEST_KEPT,
    KHAT_TRUSTED,
    LARGEST_BIT_SD,
    LARGEST_BLOCK,
    LOCATION_CAUTION,
    MEAN,
    MOST_STATES,
    ROW_DRAWS,
    ROW_WORK,
    ROWS_CAUTION,
    ROWS_TRUSTED,
    SCALE_CAUTION,
    SD,
    WEIGHED_NUMBERS,
)
from .compiled import Compiled
from .elsewhere import unseen
from .evidence import far_of, laws_of, most_wrong, weighed
from .setup import Setup
from .trained import Trained

TRUSTED, CAUTION, UNTRUSTED = ORDER
GIVEN = "given the fitted arrays"
REAL = ("real", "real_vector")
"""Constraints whose values are their coordinates."""
SHARED = "the weights are those with what rows share at its mean"
STATES, WEIGHED = "all states of the row were summed over", "by the weights of draws of the row's bits"
CUT_SHORT = "training of the arrays that it is given was cut short"
UNSOUGHT = f"other places of rows with more than {MOST_STATES:,} states are not looked for"
BOUNDLESS = "the density grows without bound as the learned scale"
ASCENT = f"only stochastic ascent speaks for it, {GIVEN}"


@dataclass(frozen=True, eq=False)
class RowsSeen:
    """What is known of all rows of a plate.

    Attributes
    ----------
    law : Affine
        The encoder's means and sds of all coordinates.
    z : numpy.ndarray, shape (S, dim)
        Draws of equal weight: of rows that were weighed by their weights, of others by the encoder alone.
    khat, size, evidence, bound : numpy.ndarray, shape (rows,)
        Of rows that were weighed; NaN of the others.
    estimates : Estimates
        Of the unconstrained coordinates of the weighed rows, by row.
    good, fair : numpy.ndarray of bool, shape (rows,)
        Whether the encoder's own mean and sd of each coordinate are those of the weights, within what *trusted* promises, and
        within what *caution* does; of rows that were weighed.
    elsewhere : numpy.ndarray, shape (rows,)
        Share of the mass of a row in places that its draws do not know; NaN where it was not looked for.
    """

    law: Affine
    z: np.ndarray
    rows: np.ndarray
    khat: np.ndarray
    size: np.ndarray
    evidence: np.ndarray
    evidence_se: np.ndarray
    bound: np.ndarray
    estimates: Estimates
    good: np.ndarray
    fair: np.ndarray
    elsewhere: np.ndarray
    raw: Any = field(default=None)

    @property
    def whole(self) -> bool:
        """Whether all rows were weighed."""
        return len(self.rows) == len(self.khat)


def seen(
    setup: Setup,
    compiled: Compiled,
    trained: Trained,
    params: Any,
    seed: int,
    num_draws: int,
    pilot: bool = False,
) -> RowsSeen:
    """Encode all rows, weigh them or some of them, and draw.

    Parameters
    ----------
    setup, compiled, trained
        What was fitted.
    params : mapping
        The learned arrays where the target computes.
    seed, num_draws : int
        See `elboroom.fit`.
    pilot : bool
        Audit a few rows only, and look for no other places, where not all are weighed.
    """
    own, rng = setup.rows, np.random.default_rng([seed, 65])
    total, units = own.total, own.num_units
    law = laws_of(compiled, params, np.arange(total), seed)
    mean, sd = moments(law)
    shared = np.zeros(0)
    shared_sd = np.zeros(0)
    if own.num_shared:
        shared, shared_sd = (np.asarray(params["guide"][k], np.float64) for k in ("mean", "log_sd"))
        shared_sd = np.exp(shared_sd)
    work = total * ROW_DRAWS * sum(prod(np.shape(v)) for v in params["weights"].values())
    chosen, audit = np.arange(total), work > ROW_WORK and total > AUDITED
    pilot = pilot and audit  # of whose draws nothing is kept
    kept = int(
        np.clip(LARGEST_BLOCK // max(own.full.dim, 1), FEWEST_KEPT, FEWEST_KEPT if pilot else num_draws)
    )
    z = np.empty((kept, total, units))
    if audit:
        pool = trained.held if len(trained.held) >= AUDITED else chosen
        chosen = np.sort(rng.choice(pool, AUDIT_PILOT if pilot else AUDITED, replace=False))
    looked = rng.permutation(chosen)[: ELSEWHERE_ROWS if setup.encoder.smooth and not pilot else 0]
    chosen = np.concatenate([np.sort(looked), np.setdiff1d(chosen, looked)])
    far = far_of(mean, sd)
    parts: list[Estimates] = []
    columns = {
        name: np.full(total, np.nan)
        for name in ("khat", "size", "evidence", "evidence_se", "bound", "elsewhere")
    }
    good, fair, done = np.zeros(total, bool), np.zeros(total, bool), []
    for some in weighed(compiled, params, chosen, seed, far=far):
        found = some.estimates(some.z)
        parts.append(found)
        done.append(some.rows)
        columns["khat"][some.rows], columns["size"][some.rows] = some.khat, some.size
        columns["evidence"][some.rows], columns["evidence_se"][some.rows] = some.evidence
        columns["bound"][some.rows] = some.bound
        if len(at := np.flatnonzero(np.isin(some.rows, looked))):
            columns["elsewhere"][some.rows[at]] = unseen(compiled, params, some.of(at), far, seed)
        z[:, some.rows] = np.moveaxis(some.resampled(kept, rng), 1, 0)
        with np.errstate(divide="ignore", invalid="ignore"):  # points
            usual = LARGEST_BIT_SD if setup.encoder.bits else found.sd
            off = np.abs(found.mean - mean[some.rows].ravel()) / usual
            ratio = np.abs(sd[some.rows].ravel() / found.sd - 1) * (not setup.encoder.bits)
        for held, location, scale in ((good, MEAN, SD), (fair, LOCATION_CAUTION, SCALE_CAUTION)):
            held[some.rows] = ((off < location) & (ratio < scale)).reshape(-1, units).all(1)
        if came():
            break
    estimates = Estimates(
        *(np.concatenate([getattr(p, f.name) for p in parts], -1) for f in fields(Estimates))
    )
    rest = np.setdiff1d(np.arange(total), np.concatenate(done))
    z[:, rest] = _drawn(law.rows(rest), kept, rng)
    draws = own.joined(z, shared + shared_sd * rng.standard_normal((kept, own.num_shared)))
    whole = Affine(own.joined(mean[None], shared[None])[0], own.joined(sd[None], shared_sd[None])[0])
    return RowsSeen(
        whole,
        draws,
        np.concatenate(done),
        estimates=estimates,
        good=good,
        fair=fair,
        raw=(mean, sd),
        **columns,
    )


def _drawn(law: Law, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draws of rows from their own laws, ``(count, n, u)``, some rows at a time."""
    rows, units = law.mean.shape
    each = max(1, WEIGHED_NUMBERS // (count * units * units))
    parts = [law.rows(slice(start, start + each)) for start in range(0, rows, each)]
    drawn = [placed(part, rng.standard_normal((count, *part.mean.shape))) for part in parts]
    return np.concatenate([np.empty((count, 0, units)), *drawn], axis=1)


@dataclass(frozen=True, eq=False)
class RowJudge:
    """Estimates and verdicts of the quantities of a posterior with encoded rows.

    Parameters
    ----------
    setup : Setup
    seen : RowsSeen
    shrunk : sequence of Finding
        Learned scales that went to nothing: no row is trusted.
    """

    setup: Setup
    seen: RowsSeen
    shrunk: Sequence[Finding] = ()

    def judged(self, target: Any, values: np.ndarray, layout: list) -> tuple[Estimates, Verdicts]:
        """Of quantities with `values` ``(S, Q)`` at the draws, in the order of `layout`."""
        seen = self.seen
        row, unit = self.places(target, layout)
        verdict, reason = self.plate
        weighed_rows = np.zeros(self.setup.rows.total, bool)
        weighed_rows[seen.rows] = True
        size = np.where(weighed_rows, seen.size, np.inf)
        inefficiency = np.where(row >= 0, 1 + len(values) / size[np.maximum(row, 0)], 1.0)
        found = estimate(values, None, np.broadcast_to(inefficiency, (4, len(inefficiency))))
        found = self._by_weights(found, row, unit, weighed_rows)
        with np.errstate(all="ignore"):
            shape = tail_shapes(values)
        khat = np.where(row >= 0, seen.khat[np.maximum(row, 0)], 0.0)
        alone = np.where(row >= 0, ~weighed_rows[np.maximum(row, 0)], True)
        evidence = _evidence(np.where(alone, 0.0, khat), shape)
        made = judge(found, evidence)
        verdicts = [v if v is None else (v if not a else worse(v, verdict if r >= 0 else UNTRUSTED))
                    for v, a, r in zip(made.verdict, alone, row, strict=True)]  # fmt: skip
        reasons = [
            words if v is None else (f"{words}, {GIVEN}" if not a else (reason if r >= 0 else ASCENT))
            for words, v, a, r in zip(made.reason, made.verdict, alone, row, strict=True)
        ]
        if self.setup.encoder.bits:
            known = dict(zip(seen.rows, self._own, strict=True))
            for i in np.flatnonzero((unit >= 0) & ~alone):
                verdicts[i], reasons[i] = (
                    known[row[i]],
                    f"{WEIGHED if doubt_of(self.setup) else STATES}, {GIVEN}",
                )
        if objection := self.setup.encoder.objection:
            verdicts, reasons = [UNTRUSTED] * len(row), [f"{objection}, {GIVEN}"] * len(row)
        limits = capped(seen.elsewhere)
        for i in np.flatnonzero((row >= 0) & (limits[row] != TRUSTED)):
            own, best = verdicts[i], limits[row[i]]
            if own is not None and worse(own, best) != own:
                verdicts[i], reasons[i] = best, f"{places_words(seen.elsewhere)}, {GIVEN}"
        if doubt := doubt_of(self.setup):
            held = [v == TRUSTED and r >= 0 for v, r in zip(verdicts, row, strict=True)]
            verdicts = [CAUTION if one else v for v, one in zip(verdicts, held, strict=True)]
            reasons = [f"{doubt}, {GIVEN}" if one else words
                       for words, one in zip(reasons, held, strict=True)]  # fmt: skip
        whole = Verdicts(verdicts, reasons, made.score)
        return found, whole.at_most(UNTRUSTED, self.plate[1]) if self.shrunk else whole

    def _by_weights(
        self, found: Estimates, row: np.ndarray, unit: np.ndarray, weighed_rows: np.ndarray
    ) -> Estimates:
        """With the weights' own estimates of real coordinates of rows."""
        units = self.setup.rows.num_units
        place = np.full(self.setup.rows.total, -1)
        place[self.seen.rows] = np.arange(len(self.seen.rows))
        some = np.flatnonzero((row >= 0) & (unit >= 0))
        some = some[weighed_rows[row[some]]]
        source = place[row[some]] * units + unit[some]
        out = {}
        for one in fields(Estimates):
            value = getattr(found, one.name).copy()
            value[..., some] = getattr(self.seen.estimates, one.name)[..., source]
            out[one.name] = value
        return Estimates(**out)

    def places(self, target: Any, layout: list) -> tuple[np.ndarray, np.ndarray]:
        """The row that each quantity is of, and which real coordinate of it; -1 for none."""
        own = self.setup.rows
        rows, units = [], []
        for name, shape in layout:
            site, count = target.trace[name], int(np.prod(shape, dtype=int))
            row = unit = np.full(shape, -1)
            if own.plate in site.dims and site.shape[site.dims.index(own.plate)] == own.total:
                axis = site.dims.index(own.plate)
                row = np.indices(shape)[axis]
                real = name in own.parts and site.unconstrained_shape == site.shape and named(site, REAL)
                if real and not target.centring:
                    rest = [n for i, n in enumerate(shape) if i != axis]
                    order = np.arange(int(np.prod(rest, dtype=int))).reshape(rest) + own.parts[name].start
                    unit = np.broadcast_to(np.expand_dims(order, axis), shape)
            rows.append(np.reshape(row, count))
            units.append(np.reshape(unit, count))
        return np.concatenate(rows), np.concatenate(units)

    @cached_property
    def _own(self) -> np.ndarray:
        """Verdicts of the weighed rows by their own weights, none better than what was found elsewhere allows."""
        seen = self.seen
        own = verdicts_of_rows(seen.estimates, seen.khat[seen.rows], bits=self.setup.encoder.bits)
        return np.array([worse(*two) for two in zip(own, capped(seen.elsewhere)[seen.rows], strict=True)])

    @cached_property
    def standing(self) -> tuple[np.ndarray, np.ndarray]:
        """Which of the weighed rows are trusted, and which not *untrusted*; where these are an audit, by the law that all rows have."""
        seen = self.seen
        fine, held = self._own == TRUSTED, self._own != UNTRUSTED
        return (fine, held) if seen.whole else (fine & seen.good[seen.rows], held & seen.fair[seen.rows])

    @cached_property
    def plate(self) -> tuple[str, str]:
        """Verdict of the plate as a whole, and why."""
        if objection := self.setup.encoder.objection:
            return UNTRUSTED, f"{objection}, {GIVEN}"
        if self.shrunk:
            return UNTRUSTED, f"{BOUNDLESS} of {self.shrunk[0].quantity} shrinks"
        seen, num = self.seen, len(self.seen.rows)
        fine, held = self.standing
        if seen.whole:
            share = wrong = 1 - fine.mean()
            words = f"{share:.1%} of {num} rows are not trusted"
            lost = 1 - held.mean()
        else:
            share, lost = (most_wrong(int((~kept).sum()), num) for kept in (fine, held))
            wrong = 1 - fine.mean()
            alone = (
                "the law of a row after steps of its own"
                if self.setup.encoder.iterations
                else "the encoder alone"
            )
            words = f"{alone} is off for {wrong:.0%} of {num} audited rows, by far for {1 - held.mean():.0%}"
        caution = share <= ROWS_CAUTION or lost <= ROWS_TRUSTED
        verdict = TRUSTED if share <= ROWS_TRUSTED else CAUTION if caution else UNTRUSTED
        if doubt := doubt_of(self.setup):
            return worse(verdict, CAUTION), f"{words}; {doubt}, {GIVEN}"
        return verdict, f"{words}, {GIVEN}"

    @property
    def share_trusted(self) -> float:
        """Of the rows that were weighed, by their own weights."""
        return float((self._own == TRUSTED).mean())

    def findings(self) -> list[Finding]:
        """What was seen of the rows."""
        verdict, reason = self.plate
        plate = self.setup.rows.plate
        worst = "ok" if verdict == TRUSTED else verdict
        if self.setup.encoder.objection:
            return [Finding("rows", plate, None, None, worst, f"{reason[0].upper()}{reason[1:]}.")]
        seen = self.seen
        gap = float(np.nanmean(seen.evidence - seen.bound))
        size = float(np.nanmedian(seen.size))
        return [
            Finding("rows", plate, None, None, worst, f"{reason[0].upper()}{reason[1:]}; half of them have at least "
                    f"{size:.0f} effective draws of {ROW_DRAWS}."),
            *([] if seen.whole else [Finding("rows that were not weighed", plate, float(len(seen.khat) - len(seen.rows)), None,
                    "ok", "Their numbers are those of their laws: posterior.latent.encode(x) weighs the rows that it is given.")]),
            *([Finding("other places of rows", plate, float(np.nanmax(seen.elsewhere)), ELSEWHERE_SHARE, worst,
                       f"{places_words(seen.elsewhere)}: what is said of them is of one place. A richer law, "
                       "er.Amortized(within='flow'), may see several.")] if found_elsewhere(seen.elsewhere) else []),
            Finding("gap of the encoder", plate, gap, None, "ok",
                    f"The bound of a row lies {gap:.3f} nats below its log evidence on average, {GIVEN}."),
        ]  # fmt: skip


def doubt_of(setup: Setup) -> str:
    """Why no row can be better than *caution*; empty where one can."""
    if setup.unsettled:
        return CUT_SHORT
    if setup.rows.num_shared:
        return SHARED
    return UNSOUGHT if setup.encoder.bits and setup.encoder.num_states > MOST_STATES else ""


def found_elsewhere(elsewhere: np.ndarray) -> int:
    """Rows that have a place which their draws do not know, of those that were looked at."""
    return int((elsewhere > ELSEWHERE_SHARE).sum())


def capped(elsewhere: np.ndarray) -> np.ndarray:
    """The best verdict that each row can have by its own weights: none is trusted that has a place which its draws do not know."""
    looked = np.isfinite(elsewhere)
    out = np.full(len(elsewhere), others_capped(elsewhere), dtype=object)
    out[looked] = np.where(elsewhere[looked] > ELSEWHERE_SHARE, UNTRUSTED, TRUSTED)
    return out


def others_capped(elsewhere: np.ndarray) -> str:
    """The best verdict of rows that were not looked at: as the share of those with a place that their draws do not know may be."""
    looked, wrong = int(np.isfinite(elsewhere).sum()), found_elsewhere(elsewhere)
    if not wrong:
        return TRUSTED
    return CAUTION if most_wrong(wrong, looked) <= ROWS_CAUTION else UNTRUSTED


def places_words(elsewhere: np.ndarray) -> str:
    """What was found of the rows that were looked at."""
    looked, wrong = int(np.isfinite(elsewhere).sum()), found_elsewhere(elsewhere)
    return f"{wrong} of {looked} rows have other places that their draws do not know, with up to {np.nanmax(elsewhere):.0%} of their mass"


def verdicts_of_rows(
    estimates: Estimates, khat: np.ndarray, best: str = TRUSTED, bits: bool = False
) -> np.ndarray:
    """The worst verdict of the coordinates of each row, shape ``(R,)``, given their estimates in the order of rows; none better than
    `best`. Of bits, whose sds say nothing where a row is sure of them, all states must have been summed over to be trusted."""
    if bits:
        error = estimates.mean_se.reshape(len(khat), -1).max(1)
        order = np.where(khat == 0, 0, np.where((khat < KHAT_TRUSTED) & (error < BIT_ERROR), 1, 2))
        return np.array(ORDER)[np.maximum(order, ORDER.index(best))]
    own = judge(estimates, _evidence(np.repeat(khat, len(estimates.mean) // len(khat)))).verdict
    # no coordinate is a constant: where one looks it, a single draw has all weight
    order = np.array([ORDER.index(UNTRUSTED if v is None else v) for v in own])
    return np.array(ORDER)[np.maximum(order.reshape(len(khat), -1).max(1), ORDER.index(best))]


def _evidence(khat: np.ndarray, shape: np.ndarray | None = None) -> Evidence:
    """What is known of quantities of which weights alone speak."""
    count = len(khat)
    zero = np.zeros(count)
    return Evidence(
        khat=khat, location=zero, scale=zero, drift=zero, moved=np.full(count, np.inf), missed=zero,
        obstructed=zero, shape=zero if shape is None else shape, squares=zero, objection=None, unequal=zero,
        symmetry=[""] * count, rhat=zero,
    )  # fmt: skip


def worse(one: str, other: str) -> str:
    """The worse of two verdicts."""
    return max(one, other, key=ORDER.index)
