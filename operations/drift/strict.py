"""The rules as the sources state them, without correction: ``strict=True``.

On healthy rows an error above the validation's 99% quantile in more than 1% of rows alarms in 26%, 42% and 47% of windows of 100, 1,000
and 10,000, one of 32 units at p < 0.01 in 27%, a norm beyond 5 in nearly every window with 32 units, a calibration error of 0.05 in most
of those with 200 rows (benchmarks/drift.py). They are here for who has to comply with them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...diagnostics.reliability import reliability
from ..thresholds import (
    FRECHET_PERMUTATIONS,
    FRECHET_RESAMPLES,
    LEAST_COMPARED,
    SOURCE_BLANK,
    SOURCE_ECE,
    SOURCE_FRECHET,
    SOURCE_FRECHET_ROWS,
    SOURCE_KS,
    SOURCE_MEAN,
    SOURCE_NORM,
    SOURCE_NORM_SHARE,
    SOURCE_SIGMAS,
    SOURCE_TAIL,
    SOURCE_VARIANCE,
    TAIL,
)
from .distances import frechet_test
from .series import CLASSES, ERROR, FLAG, JOINT, LATENT, NORM, NUMBER, SURPRISE, UNIT, UNLIKELY, Seen, Series
from .shift import Shift
from .tests import ks

ADVICE = "This is the rule of the sources, without a correction: see the same without strict=True."


def source_rules(reference: Seen, new: Seen, rng: np.random.Generator) -> Iterator[Shift]:
    """Each rule of the sources that has something to say of these rows."""
    for key, before in reference.items():
        after = new.get(key)
        if after is not None and len(after.values) and before.kind in RULES:
            yield from RULES[before.kind](before, after, rng)


def _shift(
    one: Series,
    test: str,
    effect: float,
    limit: float,
    moved: bool,
    words: str,
    count: int,
    p: float = float("nan"),
) -> Shift:
    return Shift(
        one.stream,
        one.name,
        test,
        float(effect),
        limit,
        bool(moved),
        p,
        words,
        ADVICE,
        moved=bool(moved),
        num_rows=count,
    )


def _distribution(before: Series, after: Series, _rng) -> Iterator[Shift]:
    one, other = (s.values[~np.isnan(s.values)] for s in (before, after))
    if min(len(one), len(other)):
        distance, p = ks(one, other)
        yield _shift(before, "shape", distance, SOURCE_KS, p < SOURCE_KS, f"p < {SOURCE_KS}", len(other), p)


def _unit(before: Series, after: Series, rng) -> Iterator[Shift]:
    yield from _distribution(before, after, rng)
    mean, variance, count = after.values.mean(), after.values.var(), len(after.values)
    yield _shift(before, "mean", mean, SOURCE_MEAN, abs(mean) > SOURCE_MEAN, f"mean {mean:.3g}", count)
    yield _shift(
        before,
        "spread",
        variance,
        SOURCE_VARIANCE,
        variance < SOURCE_VARIANCE,
        f"variance {variance:.3g}",
        count,
    )


def _norm(before: Series, after: Series, _rng) -> Iterator[Shift]:
    share = (after.values > SOURCE_NORM).mean()
    words = f"{share:.2%} of rows with a norm beyond {SOURCE_NORM:g}"
    yield _shift(
        before, "far rows", share, SOURCE_NORM_SHARE, share > SOURCE_NORM_SHARE, words, len(after.values)
    )


def _error(before: Series, after: Series, _rng) -> Iterator[Shift]:
    limit = np.nanquantile(before.values, 1 - TAIL)
    share = (after.values > limit).mean()
    words = f"{share:.2%} of rows above the reference's 99% quantile"
    yield _shift(before, "great values", share, SOURCE_TAIL, share > SOURCE_TAIL, words, len(after.values))
    yield from _average(before, after, _rng)


def _average(before: Series, after: Series, _rng) -> Iterator[Shift]:
    known = after.values[~np.isnan(after.values)]
    sd = np.nanstd(before.values) / np.sqrt(max(len(known), 1))
    if len(known) and sd > 0:
        sigmas = (known.mean() - np.nanmean(before.values)) / sd
        words = f"the average is {sigmas:+.1f} standard errors from where it was"
        yield _shift(before, "average", sigmas, SOURCE_SIGMAS, abs(sigmas) > SOURCE_SIGMAS, words, len(known))


def _classes(before: Series, after: Series, _rng) -> Iterator[Shift]:
    found = reliability(after.values, np.asarray(after.seen, int))
    words = f"expected calibration error {found.ece:.3f}"
    yield _shift(
        before, "probabilities", found.ece, SOURCE_ECE, found.ece >= SOURCE_ECE, words, len(after.values)
    )


def _blank(before: Series, after: Series, _rng) -> Iterator[Shift]:
    many = int(after.values.sum())
    words = f"{many} rows with a variance below {SOURCE_BLANK:g}"
    yield _shift(before, "blank rows", after.values.mean(), 0.0, many > 0, words, len(after.values))


def _frechet(before: Series, after: Series, rng) -> Iterator[Shift]:
    one, other = (s.values[np.isfinite(s.values).all(1)] for s in (before, after))
    if before.stream != LATENT or min(len(one), len(other)) < LEAST_COMPARED:
        return
    found = frechet_test(one, other, rng, FRECHET_PERMUTATIONS, FRECHET_RESAMPLES)
    more, count = found.value - found.usual, min(len(one), len(other))
    told = (
        f" ± {found.se:.3g}; {SOURCE_FRECHET_ROWS:,} rows are asked for"
        if count < SOURCE_FRECHET_ROWS
        else f" ± {found.se:.3g}"
    )
    words = f"Fréchet distance of the encoder's units {found.value:.3g}{told}"
    yield _shift(
        before, "Fréchet distance", more, SOURCE_FRECHET, more > SOURCE_FRECHET, words, count, found.p_value
    )


RULES = {
    NUMBER: _distribution,
    UNIT: _unit,
    NORM: _norm,
    ERROR: _error,
    SURPRISE: _average,
    UNLIKELY: _average,
    CLASSES: _classes,
    FLAG: _blank,
    JOINT: _frechet,
}
"""What the sources say of each kind of series."""
