"""Two sets of rows, one series at a time: is the law another, by how much, and could it be chance?

All tests are of ranks, counts or permutations: their level is right whatever the law of a column is. Equal numbers are ranked at
random, so that ranks are those of numbers that all differ; rows are taken as independent.

References
----------
Klotz (1962), Nonparametric tests for scale, Annals of Mathematical Statistics 33, on normal scores. Good (1953), The population frequencies of species, Biometrika 40, on what was never seen.
Cohen (1988), Statistical power analysis for the behavioral sciences, on the effect size w.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats
from scipy.special import ndtri

from ...diagnostics.reliability import reliability
from ...diagnostics.thresholds import ECE_EXCESS
from ..thresholds import (
    EXPECTED_COUNT,
    FRECHET_PERMUTATIONS,
    FRECHET_RESAMPLES,
    GROUP_EFFECT,
    KS_EFFECT,
    LEAST_COMPARED,
    LEAST_IN_LEVEL,
    LEVELS_EFFECT,
    MOST_JOINT,
    MOST_NAMES,
    NORM_TAIL,
    PERMUTATIONS,
    SCORE_EFFECT,
    SHARE_EFFECT,
    SPREAD_EFFECT,
    TAIL,
    TAIL_LEVEL,
    UNIT_MEAN,
)
from .distances import frechet_test, joint_test
from .series import (
    CLASSES,
    DATA,
    ERROR,
    FLAG,
    JOINT,
    LATENT,
    LEVEL,
    NORM,
    NUMBER,
    PIT,
    SURPRISE,
    UNIT,
    UNLIKELY,
    Series,
    gone,
)
from .shift import Shift

COVARIATES = (
    "See what changed in how these rows are made or selected; where it is to stay, fit again with such rows."
)
MISSING = "missing values"
OUTCOMES = "What is predicted no longer comes true as often as it did: do not rely on predictions, and fit again with new rows."


@dataclass(frozen=True, eq=False)
class Pair:
    """A series of the reference beside that of new rows."""

    before: Series
    after: Series
    rng: np.random.Generator
    permutations: int = PERMUTATIONS

    def told(
        self, test: str, effect: float, limit: float | None, matters: bool, p: float, words: str, **more
    ) -> Shift:
        """A shift of this series."""
        count = len(self.after.values)
        return Shift(self.before.stream, self.before.name, test, float(effect), limit, bool(matters), float(p), words,
                     num_rows=count, **more)  # fmt: skip


Test = Callable[[Pair], Iterator[Shift]]


def compared(
    before: Series, after: Series, rng: np.random.Generator, permutations: int = PERMUTATIONS
) -> Iterator[Shift]:
    """All tests of a series."""
    for test in TESTS[before.kind]:
        yield from test(Pair(before, after, rng, permutations))


# -- statistics ------------------------------------------------------------------------------------------


def ks(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Kolmogorov and Smirnov's distance of two sets of numbers, and its p-value; with ties that is too large, never too small.

    Notes
    -----
    Of N(0, 1) and N(δ, 1) the distance is 2 Φ(δ/2) - 1. The p-value is exact up to 10,000 numbers.

    Examples
    --------
    >>> distance, p = ks(np.arange(100.0), np.arange(50.0, 150.0))
    >>> distance, p < 1e-10
    (0.5, True)
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "ks_2samp: Exact calculation unsuccessful")
        found = stats.ks_2samp(one, other)
    return float(found.statistic), float(found.pvalue)


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Kolmogorov and Smirnov's distance alone."""
    one, other = np.sort(one), np.sort(other)
    at = np.concatenate([one, other])
    shares = [np.searchsorted(some, at, side="right") / len(some) for some in (one, other)]
    return float(np.abs(shares[0] - shares[1]).max())


def normal_scores(
    one: np.ndarray, other: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles of the normal law at the ranks of numbers among those of both sets, equal ones in random order: of sets of one law
    they are standard normal, whatever the law."""
    whole = np.concatenate([one, other])
    scores = np.empty(len(whole))
    scores[np.lexsort((rng.uniform(size=len(whole)), whole))] = ndtri(
        np.arange(1, len(whole) + 1) / (len(whole) + 1)
    )
    return scores[: len(one)], scores[len(one) :]


def location(one: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> float:
    """p-value of van der Waerden's test: two sets of numbers lie at the same place."""
    first, second = normal_scores(one, other, rng)
    total, n, m = len(first) + len(second), len(second), len(first)
    variance = n * m / (total * (total - 1)) * ((first**2).sum() + (second**2).sum())
    return float(2 * stats.norm.sf(abs(second.sum()) / np.sqrt(variance)))


def spread(one: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """Ratio of variances of the other set to the one, of normal scores, and its p-value by the F law, wherever they lie."""
    first, second = normal_scores(one, other, rng)
    ratio = second.var(ddof=1) / first.var(ddof=1)
    law = stats.f(len(second) - 1, len(first) - 1)
    return float(ratio), float(2 * min(law.sf(ratio), law.cdf(ratio)))


def exceedances(many: int, count: int, known: int, total: int) -> float:
    """Probability of so `many` rows or more of `count` in a tail that has `known` of `total` others: all rows dealt out at random.

    It is a beta-binomial probability where the tail's share has the posterior Beta(known, total - known + 1), as that of a quantile of
    the others has.

    Examples
    --------
    >>> round(exceedances(1, 100, 10, 1000), 2), exceedances(12, 100, 10, 1000) < 1e-5
    (0.65, True)
    """
    return float(stats.hypergeom.sf(many - 1, count + total, many + known, count))


def shares(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Cohen's w and the p-value of counts of levels, those that are rare taken together."""
    count = one + other
    small, large = sorted((one.sum(), other.sum()))
    rare = count * small / (small + large) < EXPECTED_COUNT
    table = np.stack([np.append(some[~rare], some[rare].sum()) for some in (one, other)])
    table = table[:, table.sum(0) > 0]
    if table.shape[1] < 2:
        return 0.0, 1.0
    before, after = table / table.sum(1, keepdims=True)
    base = np.maximum(before, 0.5 / max(table[0].sum(), 1))
    effect = float(np.sqrt(((after - before) ** 2 / base).sum()))
    if table.shape[1] == 2:
        return effect, float(stats.fisher_exact(table).pvalue)
    return effect, float(stats.chi2_contingency(table, correction=False).pvalue)


# -- columns ---------------------------------------------------------------------------------------------


def _known(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """The numbers that are there; of numbers without an end what lies farthest."""
    found = []
    for one in (pair.before, pair.after):
        values = np.nan_to_num(
            one.values, nan=np.nan, posinf=np.finfo(float).max, neginf=-np.finfo(float).max
        )
        found.append(values[~np.isnan(values)])
    return found[0], found[1]


def _enough(*sets: np.ndarray) -> bool:
    return min(map(len, sets)) >= LEAST_COMPARED


def _moments(one: np.ndarray, other: np.ndarray) -> str:
    with np.errstate(over="ignore", invalid="ignore"):
        words = [
            f"{name} {f(one):.3g} → {f(other):.3g}" for name, f in (("mean", np.mean), ("variance", np.var))
        ]
    return ", ".join(words)


def shape(pair: Pair) -> Iterator[Shift]:
    """Whether numbers are distributed as they were."""
    one, other = _known(pair)
    if _enough(one, other):
        distance, p = ks(one, other)
        yield pair.told(
            "shape", distance, KS_EFFECT, distance > KS_EFFECT, p, _moments(one, other), advice=_advice(pair)
        )


def scale(pair: Pair) -> Iterator[Shift]:
    """Whether numbers vary as they did."""
    one, other = _known(pair)
    if _enough(one, other):
        ratio, p = spread(one, other, pair.rng)
        beyond = ratio < SPREAD_EFFECT or ratio > 1 / SPREAD_EFFECT
        yield pair.told("spread", ratio, SPREAD_EFFECT, beyond, p, _moments(one, other), advice=_advice(pair))


def centre(pair: Pair) -> Iterator[Shift]:
    """Whether the mean of a latent unit is where it was."""
    one, other = _known(pair)
    if _enough(one, other) and one.std() > 0:
        moved = (other.mean() - one.mean()) / one.std()
        p = location(one, other, pair.rng)
        yield pair.told(
            "mean", moved, UNIT_MEAN, abs(moved) > UNIT_MEAN, p, _moments(one, other), advice=_advice(pair)
        )


def _advice(pair: Pair) -> str:
    return OUTCOMES if pair.before.kind in (PIT, SURPRISE, UNLIKELY, ERROR) else COVARIATES


def missing(pair: Pair) -> Iterator[Shift]:
    """Whether as many cells hold nothing."""
    marks = [gone(one.values) for one in (pair.before, pair.after)]
    yield from _more(pair, MISSING, marks, "cells that hold nothing")


def flagged(pair: Pair) -> Iterator[Shift]:
    """Whether as many rows are of a kind, such as blank images."""
    yield from _more(
        pair, "blank rows", [one.values for one in (pair.before, pair.after)], "rows that are blank"
    )


def _more(pair: Pair, test: str, marks: list[np.ndarray], what: str) -> Iterator[Shift]:
    if not _enough(*marks):
        return
    table = np.array([[mark.sum(), (~mark).sum()] for mark in marks], int)
    p = 1.0 if table[:, 0].sum() == 0 else float(stats.fisher_exact(table).pvalue)
    before, after = (float(mark.mean()) for mark in marks)
    moved = after - before
    words = f"{before:.1%} → {after:.1%} {what}"
    yield pair.told(test, moved, SHARE_EFFECT, abs(moved) > SHARE_EFFECT, p, words, advice=COVARIATES)


def level_shares(pair: Pair) -> Iterator[Shift]:
    """Whether levels are as frequent as they were."""
    one, other = (s.values[~gone(s.values)] for s in (pair.before, pair.after))
    names, codes = np.unique(np.concatenate([one, other]).astype(str), return_inverse=True)
    if not _enough(one, other) or len(np.unique(one.astype(str))) > MOST_NAMES * len(one):
        return
    counts = [np.bincount(some, minlength=len(names)) for some in (codes[: len(one)], codes[len(one) :])]
    effect, p = shares(
        *counts
    )  # those that the reference lacks among them: it would have more of the rare ones without
    before, after = (some / max(some.sum(), 1) for some in counts)
    most = np.argsort(-np.abs(after - before), kind="stable")[:3]
    words = ", ".join(f"'{names[i]}' {before[i]:.1%} → {after[i]:.1%}" for i in most)
    yield pair.told(
        "shares of levels", effect, LEVELS_EFFECT, effect > LEVELS_EFFECT, p, words, advice=COVARIATES
    )
    yield from _unseen(pair, names, counts)


def _unseen(pair: Pair, names: np.ndarray, counts: list[np.ndarray]) -> Iterator[Shift]:
    """Whether more rows have levels that were never seen than so many rows would, of which some levels are rare."""
    new = (counts[0] == 0) & (counts[1] > 0)
    many, count = int(counts[1][new].sum()), int(counts[1].sum())
    single = int((counts[0] == 1).sum())  # as often as a row of the reference was the only one of its level
    p = exceedances(many, count, single, int(counts[0].sum())) if many else 1.0
    often = names[new][np.argsort(-counts[1][new], kind="stable")][:5]
    words = f"{many} rows of levels that the reference lacks" + (
        f": {', '.join(map(repr, often.tolist()))}" if many else ""
    )
    yield pair.told("unseen levels", many / max(count, 1), 0.0, many > 0, p, words,
                    advice="A model knows nothing of these: predict for them as new groups, or correct the labels.")  # fmt: skip


# -- vectors, tails, outcomes ----------------------------------------------------------------------------


def joint(pair: Pair) -> Iterator[Shift]:
    """Whether numbers go together as they did, in their reference's sds."""
    one, other = (s.values[np.isfinite(s.values).all(1)] for s in (pair.before, pair.after))
    if not _enough(one, other):
        return
    scale = np.where(one.std(0) > 0, one.std(0), 1.0)
    some = [
        part[pair.rng.choice(len(part), min(len(part), MOST_JOINT), replace=False)] / scale
        for part in (one, other)
    ]
    found = joint_test(some[0], some[1], pair.rng, pair.permutations)
    words = f"squared maximum mean discrepancy {found.value:.3g}, {found.usual:.1g} where rows are of one law"
    yield pair.told(
        "all together",
        found.value,
        None,
        found.value > 0,
        found.p_value,
        words,
        apart=True,
        advice=COVARIATES,
    )


def repeated(pair: Pair) -> Iterator[Shift]:
    """Whether as many rows, of as many, are copies of others: with copies all p-values are too small."""
    if pair.before.stream != DATA:
        return
    sets = [s.values[np.isfinite(s.values).all(1)] for s in (pair.before, pair.after)]
    count, marks = min(map(len, sets)), []
    for rows in sets:
        some = rows[pair.rng.choice(len(rows), count, replace=False)]
        mark = np.ones(count, bool)
        mark[np.unique(some, axis=0, return_index=True)[1]] = False
        marks.append(mark)
    yield from _more(pair, "repeated rows", marks, "rows that repeat another")


def gaussians(pair: Pair) -> Iterator[Shift]:
    """How far the Gaussians of latent units are apart, with equally many rows: told beside its standard error, and decides nothing."""
    one, other = (s.values[np.isfinite(s.values).all(1)] for s in (pair.before, pair.after))
    if pair.before.stream == LATENT and _enough(one, other):
        some = [
            part[pair.rng.choice(len(part), min(len(part), MOST_JOINT), replace=False)]
            for part in (one, other)
        ]
        found = frechet_test(some[0], some[1], pair.rng, FRECHET_PERMUTATIONS, FRECHET_RESAMPLES)
        words = f"Fréchet distance of the encoder's units {found.value:.3g} ± {found.se:.2g}; {found.usual:.2g} of as many rows of one law"
        yield pair.told("Fréchet distance", found.value - found.usual, None, False, np.nan, words)


def far(pair: Pair) -> Iterator[Shift]:
    """Whether more latent vectors are far from the origin."""
    limit = pair.before.limit or np.inf
    yield from _tail(
        pair, "far rows", limit, NORM_TAIL, f"beyond {limit:.1f}, where {NORM_TAIL:.1%} are expected"
    )


def great(pair: Pair) -> Iterator[Shift]:
    """Whether more rows are beyond the reference's upper quantile."""
    one, _ = _known(pair)
    if len(one) >= LEAST_COMPARED:
        limit = float(np.sort(one)[-max(1, int(TAIL * (len(one) + 1)))])
        yield from _tail(
            pair, "great values", limit, TAIL, f"beyond {limit:.3g}, where {TAIL:.0%} of the reference are"
        )


def _tail(pair: Pair, test: str, limit: float, share: float, words: str) -> Iterator[Shift]:
    one, other = _known(pair)
    if not _enough(one, other):
        return
    known, many = int((one > limit).sum()), int((other > limit).sum())
    effect = many / len(other)
    p = exceedances(many, len(other), known, len(one))
    ratio = f", mean ×{other.mean() / one.mean():.2f}" if pair.before.kind == ERROR and one.mean() > 0 else ""
    yield pair.told(test, effect, share, effect > share, p, f"{known / len(one):.1%} → {effect:.1%} of rows {words}{ratio}",
                    advice=_advice(pair), most=TAIL_LEVEL)  # fmt: skip


def worse(pair: Pair) -> Iterator[Shift]:
    """Whether log scores are less than they were: of outcomes, less what the model promises of such rows."""
    one, other = _known(pair)
    if _enough(one, other):
        lost = other.mean() - one.mean()
        beside = " beside what the model promises" if pair.before.kind == SURPRISE else ""
        words = f"log score {-one.mean():+.3f} → {-other.mean():+.3f} nats a row{beside}"
        p = location(one, other, pair.rng)
        yield pair.told("log score", lost, SCORE_EFFECT, lost > SCORE_EFFECT, p, words, advice=OUTCOMES)


def groups(pair: Pair) -> Iterator[Shift]:
    """Whether outcomes of each group lie where they did among their predictions, by group."""
    known, values = pair.before.groups, [ndtri(s.values) for s in (pair.before, pair.after)]
    for column, levels in pair.after.groups.items():
        before = known[column]
        for level in sorted({str(v) for v in levels if v is not None}):
            one, other = (
                v[some.astype(str) == level] for v, some in zip(values, (before, levels), strict=True)
            )
            one, other = one[np.isfinite(one)], other[np.isfinite(other)]
            if min(len(one), len(other)) >= LEAST_IN_LEVEL:
                moved, p = float(other.mean() - one.mean()), location(one, other, pair.rng)
                words = f"outcomes lie {moved:+.2f} predictive sds from where they did"
                shift = pair.told(
                    "group", moved, GROUP_EFFECT, abs(moved) > GROUP_EFFECT, p, words, advice=OUTCOMES
                )
                yield replace(shift, name=f"{pair.before.name}, {column} = {level}", num_rows=len(other))


def calibrated(pair: Pair) -> Iterator[Shift]:
    """Whether predicted probabilities of classes come true as nearly as they did: of few fitted rows they are never right."""
    one, other = pair.before, pair.after
    if one.seen is not None and other.seen is not None and _enough(one.values, other.values):
        before, found = (
            reliability(values, seen.astype(int))
            for values, seen in ((one.values, one.seen), (other.values, other.seen))
        )
        worse = found.ece - found.usual - max(before.ece - before.usual, 0.0)
        p = max(_tail_of(found), float(stats.norm.sf(worse / max(np.hypot(before.se, found.se), 1e-12))))
        words = (f"expected calibration error {before.ece:.3f} → {found.ece:.3f}; {before.usual:.3f} and {found.usual:.3f} are usual were "
                 "probabilities right")  # fmt: skip
        beyond = min(worse, found.excess) > ECE_EXCESS
        yield pair.told("probabilities", worse, ECE_EXCESS, beyond, p, words, advice=OUTCOMES)


def _tail_of(found) -> float:
    """p-value of a calibration error beyond what simulations can say: its normal tail, by mean and 95% point, where it is smaller."""
    sd = (found.null - found.usual) / stats.norm.ppf(0.95)
    far = float(stats.norm.sf((found.ece - found.usual) / sd)) if sd > 0 else 1.0
    return found.p if found.p > 2 / 500 else max(far, np.finfo(float).tiny)


TESTS: dict[str, tuple[Test, ...]] = {
    NUMBER: (shape, scale, missing),
    LEVEL: (level_shares, missing),
    FLAG: (flagged,),
    UNIT: (shape, centre, scale),
    JOINT: (joint, repeated, gaussians),
    NORM: (far,),
    ERROR: (shape, great),
    SURPRISE: (worse, great),
    UNLIKELY: (worse, great),
    PIT: (shape, scale, groups),
    CLASSES: (calibrated,),
}
"""Tests of each kind of series."""
