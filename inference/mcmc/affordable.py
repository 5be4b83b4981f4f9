"""Refinement that begins by itself: where trust is missing, chains could mend that, and it is affordable."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..evidence.estimates import estimate
from ..evidence.mixture import LocalStein
from ..evidence.quantities import free_of, quantity_values
from ..evidence.verdicts import EARLIER, HEAVY, NOISE, ORDER, SITES
from ..posterior.make import with_line
from ..posterior.record import Record
from ..run.trail import Trail
from ..thresholds import AFFORDABLE, FEW_SHORT, KHAT_TRUSTED, LEAST_MENDED, MEAN, SD, TIMES
from .refine import refine


def refine_where_it_pays(
    record: Record, progress: bool = True, max_seconds: float | None = None, checkpoint=None, track=None
) -> Record:
    """Refine where a judged quantity is short of *trusted*, chains could mend that, and a pilot projects an
    affordable cost."""
    if record.judgement == "trusted":
        return record
    hopeless = _hopeless(record)
    if hopeless:
        return with_line(record, "refine", hopeless)
    limit = max(AFFORDABLE, TIMES * record.cost.run_seconds)
    seconds = 2 * limit if max_seconds is None else min(2 * limit, max_seconds)
    own = {"progress": progress, "max_seconds": seconds, "checkpoint": checkpoint, "track": track}
    after = refine(record, affordable=limit, **own)
    if after.law != "mcmc" or _trust(after) >= _trust(record):
        return after
    last = replace(after.trail[-1], reason=f"{after.trail[-1].reason}; no better, left aside")
    trail = Trail([*record.trail, last])
    return replace(record, table=_disputed(record, after), trail=trail, cost=after.cost)


def _disputed(before: Record, after: Record) -> dict:
    """The posterior's table, where chains that are left aside still tell against a quantity that was trusted."""
    assert after.outcome is not None  # chains have just run
    law = after.outcome.law
    values, _ = quantity_values(after.target, law.z)
    found = estimate(values, None, law.inefficiency(values))
    with np.errstate(all="ignore"):
        apart = (np.abs(before.table["mean"] - found.mean) - 4 * found.mean_se) / found.sd
        spread = np.abs(before.table["sd"] / found.sd - 1) - 4 * found.sd_se / found.sd
    table = {
        **before.table,
        "verdict": list(before.table["verdict"]),
        "reason": list(before.table["reason"]),
    }
    for i in np.flatnonzero((apart > MEAN) | (spread > SD)):
        if table["verdict"][i] == "trusted":
            table["verdict"][i] = "caution"
            table["reason"][i] = "chains, themselves not established, say otherwise"
    return table


def _hopeless(record: Record) -> str | None:
    """Why chains that start at the fit could not mend what is short of trusted; None where they could."""
    outcome, table = record.outcome, record.table
    assert outcome is not None  # the fit has just ended
    if outcome.objection is not None:
        return f"not run: {outcome.objection}"
    if isinstance(outcome.stein, LocalStein) and outcome.law.kind == "psis":
        return "not run: chains would stay in the mode where they start"
    free = free_of(record.target, quantity_values(record.target, outcome.law.z[:1])[1])
    short = [table["reason"][i] for i in record.judged if table["verdict"][i] in ORDER[1:] and free[i]]
    noise = all(reason.startswith(NOISE) for reason in short)
    slight = noise or all(table["verdict"][i] != "untrusted" for i in record.judged)
    if slight and len(short) <= FEW_SHORT * len(record.judged):
        return (
            f"not run: {len(short)} of {len(record.judged)} quantities fall short, but for what others tell"
        )
    vain, pool = {"symmetric under": "chains would show one of the equal modes"}, outcome.pool
    vain[EARLIER] = "chains would see what earlier rows are carried on as, not these rows"
    vain[SITES] = "chains would see what sites have told, not their rows"
    weighed = outcome.law.kind == "psis" and outcome.khat < KHAT_TRUSTED
    if weighed:
        vain[HEAVY] = "tails that are too heavy for moments are so for chains too"
    for words, why in vain.items():
        if all(reason.startswith(words) for reason in short):
            return f"not run: {why}"
    if pool is not None and weighed and noise and pool.size > LEAST_MENDED:
        return "not run: the weights have more effective draws than chains would"
    return None


def _trust(record: Record) -> tuple:
    verdicts = [record.table["verdict"][i] for i in record.judged]
    return -ORDER.index(record.judgement), sum(v == "trusted" for v in verdicts)
