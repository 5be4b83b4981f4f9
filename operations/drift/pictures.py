"""Pictures of what has moved: each series before and now, latent units side by side, and images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...diagnostics.report.canvas import DATA as RED
from ...diagnostics.report.canvas import INK, PALE, blank, labelled, svg
from ...ppl.errors import InferenceError, explain
from ..thresholds import KS_EFFECT, MOST_DRAWN, MOST_LINES, PICTURE_BINS, PICTURE_POINTS, UPRIGHT
from .series import CLASSES, FLAG, JOINT, LEVEL, UNIT, Series
from .shift import Shift
from .tests import distance

BEFORE, NOW = "reference", "new rows"


def figure(found: Any, name: str | None = None):
    """See `Drift.figure`."""
    keys = _drawn(found)
    chosen = [key for key in keys if key[1] == name] if name is not None else _moved(found) or keys
    if not chosen:
        want = f"one of {sorted({key[1] for key in keys})}"
        raise InferenceError(explain("figure of a drift", want, repr(name)[:80], "name one of them"))
    made, (axis,) = blank()
    draw_series(axis, found.reference[chosen[0]], found.new[chosen[0]])
    return made


def _drawn(found: Any) -> list[tuple[str, str, str]]:
    """Series that both have, vectors left out."""
    return [key for key in found.reference if key in found.new and key[2] != JOINT]


def _moved(found: Any) -> list[tuple[str, str, str]]:
    """Those that have moved, the clearest first."""
    keys = _drawn(found)
    names = [(shift.stream, _series_name(shift, keys)) for shift in _worst(found)]
    return list(dict.fromkeys(key for name in names for key in keys if key[:2] == name))


def _worst(found: Any) -> list[Shift]:
    return sorted(
        (s for s in found.shifts if s.moved), key=lambda s: s.p_value if s.p_value == s.p_value else 1.0
    )


def _series_name(shift: Shift, keys: list) -> str:
    """The series that a shift is of: that of a group is its outcome's."""
    names = {key[1] for key in keys}
    return shift.name if shift.name in names else shift.name.split(", ")[0]


def pictures(found: Any) -> list[tuple[str, str]]:
    """Titles and pictures as SVG: one of all latent units, and one of each series that has moved, the clearest first."""
    out = []
    units = {key: one for key, one in found.reference.items() if key[2] == UNIT and key in found.new}
    if len(units) > 1:
        out += units_pictures(found, units)
    for key in _moved(found)[:MOST_DRAWN]:
        words = f"{key[1]}, before and now"
        made, (axis,) = blank()
        draw_series(axis, found.reference[key], found.new[key])
        out.append((f"{key[0]}: {key[1]}", svg(made, words)))
    return out


def draw_series(axis: Any, before: Series, after: Series) -> None:
    """A series on an axis, before and now."""
    DRAWN.get(before.kind, _numbers)(axis, before, after)


def _numbers(axis: Any, before: Series, after: Series) -> None:
    one, other = (s.values[np.isfinite(s.values)] for s in (before, after))
    if not min(len(one), len(other)):
        return
    low, high = np.quantile(np.concatenate([one, other]), [0.005, 0.995])
    bins = np.linspace(low, high if high > low else low + 1, PICTURE_BINS)
    for values, colour, name in ((one, INK, BEFORE), (other, RED, NOW)):
        weights = np.full(len(values), 1 / len(values))
        axis.hist(values, bins, weights=weights, color=colour, alpha=0.25)
        axis.hist(values, bins, weights=weights, color=colour, histtype="step", lw=1.3, label=name)
    labelled(axis, xlabel=before.name, ylabel="share of rows")


def _levels(axis: Any, before: Series, after: Series) -> None:
    one, other = ({str(k): v for k, v in zip(*np.unique([str(x) for x in s.values if x is not None], return_counts=True), strict=True)}
                  for s in (before, after))  # fmt: skip
    totals = [max(sum(some.values()), 1) for some in (one, other)]
    names = sorted(
        {*one, *other}, key=lambda k: -abs(one.get(k, 0) / totals[0] - other.get(k, 0) / totals[1])
    )[:PICTURE_POINTS]
    place = np.arange(len(names))
    for some, total, colour, step, word in (
        (one, totals[0], INK, -0.2, BEFORE),
        (other, totals[1], RED, 0.2, NOW),
    ):
        axis.barh(
            place + step, [some.get(k, 0) / total for k in names], 0.36, color=colour, alpha=0.8, label=word
        )
    axis.set(yticks=place, yticklabels=names)
    axis.invert_yaxis()
    labelled(axis, xlabel=f"share of rows, {before.name}")


def _shares(axis: Any, before: Series, after: Series) -> None:
    axis.barh([0, 1], [before.values.mean(), after.values.mean()], 0.5, color=[INK, RED])
    axis.set(yticks=[0, 1], yticklabels=[BEFORE, NOW])
    labelled(axis, xlabel=f"share of blank rows, {before.name}")


def _classes(axis: Any, before: Series, after: Series) -> None:
    from ...diagnostics.reliability import reliability

    axis.plot([0, 1], [0, 1], color=PALE, lw=0.8)
    for one, colour, name in ((before, INK, BEFORE), (after, RED, NOW)):
        if one.seen is not None and len(one.values):
            table = reliability(one.values, one.seen.astype(int)).table()
            axis.plot(table["confidence"], table["share"], "o-", color=colour, ms=4, label=name)
    labelled(axis, xlabel="confidence in the likeliest class", ylabel="share that came")


def units_pictures(found: Any, units: dict) -> list[tuple[str, str]]:
    """All latent units: Kolmogorov–Smirnov distances from the reference, and means with sds."""
    keys = list(units)[:PICTURE_POINTS]
    place, names = np.arange(len(keys)), [key[1] for key in keys]
    moved = {shift.name for shift in found.shifts if shift.moved}
    made, (axis,) = blank()
    distances = [distance(units[key].values, found.new[key].values) for key in keys]
    axis.bar(place, distances, 0.7, color=[RED if name in moved else INK for name in names])
    axis.axhline(KS_EFFECT, color=PALE, lw=0.8, ls="--")
    _units_below(axis, names)
    labelled(axis, ylabel="distance from the reference")
    apart = svg(made, "Distance of each latent unit from the reference")
    made, (axis,) = blank()
    for some, colour, step, name in ((units, INK, -0.15, BEFORE), (found.new, RED, 0.15, NOW)):
        values = [some[key].values for key in keys]
        axis.errorbar(
            place + step,
            [v.mean() for v in values],
            [v.std() for v in values],
            fmt="o",
            ms=3,
            color=colour,
            label=name,
        )
    _units_below(axis, names)
    labelled(axis, ylabel="mean ± sd")
    return [
        ("Latent units", apart),
        ("Latent units, mean ± sd", svg(made, "Mean and sd of each latent unit, before and now")),
    ]


def _units_below(axis: Any, names: list[str]) -> None:
    axis.set_xticks(np.arange(len(names)), names, rotation=90 if len(names) > UPRIGHT else 0)


def course(history: Any):
    """p-values of the clearest tests over windows: a ``matplotlib.figure.Figure``."""
    made, (axis,) = blank()
    made.set_size_inches(2 * made.get_size_inches()[0], made.get_size_inches()[1])
    number = [one["number"] for one in history]
    names = dict.fromkeys(name for one in history for name in one["effects"])

    def p_value(one: Any, name: str) -> float:
        found = one["effects"].get(name, (None, None))[1]
        return np.nan if found is None else max(float(found), 1e-16)

    table = np.array([[p_value(one, name) for name in names] for one in history]).reshape(
        len(history), len(names)
    )
    least = np.nanmin(np.where(np.isnan(table), 1.0, table), axis=0) if len(history) else np.zeros(0)
    for j in np.argsort(least, kind="stable")[:MOST_LINES]:
        axis.plot(number, table[:, j], "o-", ms=3, lw=1, label=list(names)[j])
    for one in history:
        if one["drifted"]:
            axis.axvline(one["number"], color=RED, lw=5, alpha=0.15)
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter("{x:g}")
    labelled(axis, xlabel="window", ylabel="p-value")
    if len(names):
        axis.get_legend().set_loc("upper left")
        axis.get_legend().set_bbox_to_anchor((1.0, 1.0))
    return made


Draw = Callable[[Any, Series, Series], None]
DRAWN: dict[str, Draw] = {LEVEL: _levels, FLAG: _shares, CLASSES: _classes}
"""How kinds of series are drawn that are no numbers."""
