"""What a set of rows gives away that no row does by itself: another unit, columns exchanged, images turned.

Each suspicion is a way to make new rows what the training data were: it is told where rows as they are could not be of the training's law,
and rows made so could.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations, permutations

import numpy as np
from scipy.stats import chi2

from ..columns import BLOCKS, LABELS, NUMBERS, Column, flat
from ..drift.tests import distance
from ..thresholds import (
    AS_GOOD,
    CHANCE,
    FAR_APART,
    LEAST_SUSPECTED,
    LIKE_PICTURE,
    LIKE_TRAINING,
    MOST_PAIRED,
    PICTURE_RATIO,
    SLIGHT_FACTOR,
    STANDARD,
    STANDARD_RATIO,
    STUCK_ROWS,
    SURELY,
    SURELY_APART,
    UNIT_FACTORS,
    UNLIKE_TRAINING,
)
from .fields import Field


@dataclass(frozen=True)
class Suspicion:
    """What may have been done to a column.

    Attributes
    ----------
    column, what : str
        Where; ``"unit"``, ``"columns"``, ``"image"``, ``"spelling"``, ``"stuck"`` or ``"names"``.
    distance, limit : float
        From the training data as the rows are, and from where on that is suspect.
    words : str
        What it looks like.
    remedy : str
        What to do.
    """

    column: str
    what: str
    distance: float
    limit: float
    words: str
    remedy: str


def suspicions(
    fields: Mapping[str, Field], columns: Mapping[str, Column], together: np.ndarray, order: tuple[str, ...]
) -> Iterator[Suspicion]:
    """All that is suspected of a set of rows.

    Parameters
    ----------
    fields : mapping of Field
        Of the training data.
    columns : mapping of Column
        Of the rows.
    together : numpy.ndarray
        Correlations of the training's columns of numbers.
    order : tuple of str
        Their names.
    """
    both = {name: column for name, column in columns.items() if name in fields}
    numbers = {
        name: values
        for name, column in both.items()
        if fields[name].kind == NUMBERS
        and len(fields[name].quantiles)
        and len(values := _finite(column)) >= LEAST_SUSPECTED
    }
    exchanged = list(_exchanged(fields, numbers))
    yield from exchanged
    told = {one.column for one in exchanged}
    for name, values in numbers.items():
        if name not in told:
            yield from _units(fields[name], values)
            yield from _stuck(fields[name], values)
    yield from _paired(both, together, order, told)
    for name, column in both.items():
        if fields[name].kind == BLOCKS:
            yield from _images(fields[name], column)
        yield from _spelling(fields[name], column)
    yield from _names(fields, columns)


def _finite(column: Column) -> np.ndarray:
    if column.kind == BLOCKS or column.values.dtype.kind == "M":
        return np.zeros(0)
    values, _ = column.as_numbers()
    return values[np.isfinite(values)]


# -- units -----------------------------------------------------------------------------------------------

Change = Callable[[np.ndarray, Field], np.ndarray]
_SHIFTS: dict[str, Change] = {
    "degrees Fahrenheit where Celsius were": lambda v, _: (v - 32) / 1.8,
    "degrees Celsius where Fahrenheit were": lambda v, _: v * 1.8 + 32,
    "kelvins where degrees Celsius were": lambda v, _: v - 273.15,
    "degrees Celsius where kelvins were": lambda v, _: v + 273.15,
    "the other sign": lambda v, _: -v,
    "logarithms where numbers themselves were": lambda v, _: np.exp(v),
    "numbers where their logarithms were": lambda v, _: np.log(v),
    "numbers where their logarithms to base ten were": lambda v, _: np.log10(v),
    "standardised numbers": lambda v, f: f.mean + f.sd * v,
    "numbers that are yet to be standardised": lambda v, f: _standardised(v, f),
}


def _standardised(values: np.ndarray, known: Field) -> np.ndarray:
    """In sds from their mean, where the training's were and these are none by far; nothing else is undone so."""
    were = abs(known.mean) < STANDARD and abs(known.sd - 1) < STANDARD
    far = not STANDARD_RATIO[0] < values.std() < STANDARD_RATIO[1]
    return (values - values.mean()) / (values.std() or 1.0) if were and far else np.full(len(values), np.nan)


def _over(factor: float) -> Change:
    return lambda values, _: values / factor


def _changes() -> dict[str, Change]:
    """Ways to undo what may have been done, and what each is called."""
    found: dict[str, Change] = {}
    for name, factor in UNIT_FACTORS.items():
        found[f"{name} times what they were"] = _over(factor)
        found[f"what they were over {name}"] = _over(1 / factor)
    return found | _SHIFTS


CHANGES = _changes()
SLIGHT = {
    *_SHIFTS,
    *(
        name
        for one, factor in UNIT_FACTORS.items()
        if SLIGHT_FACTOR[0] < factor < SLIGHT_FACTOR[1]
        for name in (f"{one} times what they were", f"what they were over {one}")
    ),
}
"""Changes that another law of the rows themselves may come near to: told where hardly any row is as the training's were."""


def _limits(count: int) -> tuple[float, float]:
    """Distances from where on rows are not of the training's law, and up to where they are."""
    root = np.sqrt(count)
    return max(UNLIKE_TRAINING, FAR_APART / root), min(LIKE_TRAINING, CHANCE / root + AS_GOOD)


def _units(known: Field, values: np.ndarray) -> Iterator[Suspicion]:
    """Another unit, a logarithm, a sign: of all numbers, or, as zero is zero in any unit, of those that are not."""
    others = replace(known, quantiles=known.quantiles[known.quantiles != 0])
    found = list(_changed(known, values))
    yield from found or _changed(others, values[values != 0])


def _changed(known: Field, values: np.ndarray) -> Iterator[Suspicion]:
    if len(values) < LEAST_SUSPECTED or len(known.quantiles) < STUCK_ROWS or known.sd == 0:
        return
    unlike, like = _limits(len(values))
    now = distance(values, known.quantiles)
    if now < unlike:
        return
    found = [(_undone(change, values, known), name) for name, change in CHANGES.items()]
    found = [
        (apart, name)
        for apart, name in found
        if apart <= like and (name not in SLIGHT or now >= SURELY_APART)
    ]
    if found:
        best = min(found)[0]
        words = next(name for apart, name in found if apart <= best + AS_GOOD)  # the simplest comes first
        yield Suspicion(known.name, "unit", now, unlike, f"numbers look as if they were in another unit: {words}",
                        f"convert column '{known.name}' to the training data's unit")  # fmt: skip


def _undone(change: Change, values: np.ndarray, known: Field) -> float:
    """How far values are from the training's once a change is undone."""
    with np.errstate(all="ignore"):
        made = change(values, known)
    return distance(_plain(made), _plain(known.quantiles)) if np.isfinite(made).all() else 1.0


def _plain(values: np.ndarray) -> np.ndarray:
    """To nine digits: 0.3 / 0.1 is three, as whole numbers are that it is compared with."""
    size = 10.0 ** (8 - np.floor(np.log10(np.where(values == 0, 1.0, np.abs(values)))))
    return np.round(values * size) / size


def _stuck(known: Field, values: np.ndarray) -> Iterator[Suspicion]:
    if len(values) >= STUCK_ROWS and known.sd > 0 and np.ptp(values) == 0 and known.levels is None:
        most = np.searchsorted(known.quantiles, values[0], "right") - np.searchsorted(
            known.quantiles, values[0], "left"
        )
        if most < 0.5 * len(known.quantiles):
            words = f"all {len(values)} rows hold {values[0]:.4g}, where the training data varied"
            yield Suspicion(known.name, "stuck", 1.0, 0.0, words, "see whether what measures it still does")


# -- columns ---------------------------------------------------------------------------------------------


def _exchanged(fields: Mapping[str, Field], numbers: Mapping[str, np.ndarray]) -> Iterator[Suspicion]:
    """Columns that are none of their own law, and each of that of the other."""
    odd = {
        name
        for name, values in numbers.items()
        if distance(values, fields[name].quantiles) >= _limits(len(values))[0]
    }
    for one, other in combinations(sorted(odd), 2):
        close = [
            distance(numbers[a], fields[b].quantiles) <= _limits(len(numbers[a]))[1]
            for a, b in ((one, other), (other, one))
        ]
        if all(close):
            now = distance(numbers[one], fields[one].quantiles)
            unlike = _limits(len(numbers[one]))[0]
            words = f"'{one}' holds what '{other}' held, and '{other}' what '{one}' did: they look exchanged"
            for name in (one, other):
                yield Suspicion(name, "columns", now, unlike, words, f"exchange '{one}' and '{other}'")


def _paired(
    columns: Mapping[str, Column], together: np.ndarray, order: tuple[str, ...], told: set[str]
) -> Iterator[Suspicion]:
    """Columns of one law each, which go together with the others as another column did, or with the other sign."""
    names = [
        name for name in order if name in columns and columns[name].kind == NUMBERS and name not in told
    ][:MOST_PAIRED]
    if len(names) < 2:
        return
    values = np.column_stack([columns[name].values for name in names])
    values = values[np.isfinite(values).all(1)]
    if len(values) < STUCK_ROWS or (values.std(0) == 0).any():
        return
    chosen = [order.index(name) for name in names]
    before, now = together[np.ix_(chosen, chosen)], np.corrcoef(values.T)
    if not np.isfinite(before).all():
        return
    upper = np.triu_indices(len(names), 1)
    apart = _apart(before, now, upper, len(values))
    limit = float(chi2.isf(SURELY, len(upper[0])))
    if apart <= limit:
        return
    candidates = [
        (_apart(before, _moved(now, i, j), upper, len(values)), i, j)
        for i in range(len(names))
        for j in range(i, len(names))
    ]
    best, i, j = min(candidates)
    if best < chi2.isf(0.01, len(upper[0])):
        what = (
            f"'{names[i]}' has the other sign" if i == j else f"'{names[i]}' and '{names[j]}' are exchanged"
        )
        words = f"columns go together as if {what}"
        for name in dict.fromkeys((names[i], names[j])):
            yield Suspicion(name, "columns", apart, limit, words, "see how the columns were put together")


def _apart(before: np.ndarray, now: np.ndarray, upper: tuple, count: int) -> float:
    """Squared distance of correlations in standard errors (Fisher's z)."""
    z = [np.arctanh(np.clip(some[upper], -0.999999, 0.999999)) for some in (before, now)]
    return float(((z[0] - z[1]) ** 2).sum() * (count - 3))


def _moved(now: np.ndarray, i: int, j: int) -> np.ndarray:
    """Correlations with two columns exchanged, or one of the other sign."""
    order, sign = np.arange(len(now)), np.ones(len(now))
    if i == j:
        sign[i] = -1
    order[i], order[j] = j, i
    return (sign[:, None] * now * sign)[np.ix_(order, order)]


# -- images ----------------------------------------------------------------------------------------------

TURNS: dict[str, Callable[[np.ndarray, Field], np.ndarray]] = {
    "transposed": lambda v, _: np.swapaxes(v, 1, 2),
    "mirrored left to right": lambda v, _: v[:, :, ::-1],
    "upside down": lambda v, _: v[:, ::-1],
    "turned by a quarter": lambda v, _: np.swapaxes(v, 1, 2)[:, ::-1],
    "turned by three quarters": lambda v, _: np.swapaxes(v, 1, 2)[:, :, ::-1],
    "turned by a half": lambda v, _: v[:, ::-1, ::-1],
    "inverted": lambda v, f: f.low + f.high - v,
    "255 times as bright": lambda v, _: v / 255.0,
    "a 255th as bright": lambda v, _: v * 255.0,
    "standardised": lambda v, f: f.mean + f.sd * v,
}
"""What may have been done to images, and how it is undone."""


def _images(known: Field, column: Column) -> Iterator[Suspicion]:
    """Images that are turned, inverted or in other units; rows of another shape."""
    if column.kind != BLOCKS:
        return
    shape = column.values.shape[1:]
    if shape != known.shape:
        if sorted(shape) == sorted(known.shape):
            axes = next(
                p for p in permutations(range(len(shape))) if tuple(shape[i] for i in p) == known.shape
            )
            remedy = f"use numpy.transpose({known.name}, {(0, *(i + 1 for i in axes))})"
            yield Suspicion(
                known.name,
                "image",
                1.0,
                0.0,
                f"rows of shape {shape} look transposed: {known.shape} was",
                remedy,
            )
        elif len(known.shape) == len(shape) == 1 and len(column.values) == known.shape[0]:
            yield Suspicion(
                known.name, "image", 1.0, 0.0, "rows and columns look exchanged", f"pass {known.name}.T"
            )
        return
    values = column.values[flat(np.isfinite(column.values)).all(1)]
    if len(values) < LEAST_SUSPECTED:
        return
    now = _unlike(values, known)
    turns = {
        name: undo
        for name, undo in TURNS.items()
        if len(shape) >= 2 or name in ("inverted", "255 times as bright", "a 255th as bright", "standardised")
    }
    found = [
        (_unlike(made, known), i, name)
        for i, (name, undo) in enumerate(turns.items())
        if (made := undo(values, known)).shape == values.shape
    ]
    best, _, name = min(found)
    if now > PICTURE_RATIO * max(best, 1.0) and best < LIKE_PICTURE * len(values):
        yield Suspicion(known.name, "image", now, PICTURE_RATIO, f"images look {name}", "undo it")


def _unlike(values: np.ndarray, known: Field) -> float:
    """Mean squared distance of the mean image from the training's, in standard errors."""
    error = np.maximum(known.spread, 0.05 * (known.high - known.low)) / np.sqrt(len(values))
    return float((((values.mean(0) - known.picture) / error) ** 2).mean())


# -- words -----------------------------------------------------------------------------------------------


def _spelling(known: Field, column: Column) -> Iterator[Suspicion]:
    """Labels that differ in case or spaces, numbers with a decimal comma."""
    if column.kind in (BLOCKS, NUMBERS) or column.values.dtype.kind == "M":
        return
    if known.kind == NUMBERS:
        _, text = column.as_numbers()
        comma = [
            str(cell)
            for cell in column.values[text]
            if _is_number(str(cell).replace(".", "").replace(",", "."))
        ]
        if comma:
            yield Suspicion(
                known.name,
                "spelling",
                1.0,
                0.0,
                f"{comma[:3]} look like numbers with a decimal comma",
                "read the file with decimal=','",
            )
    elif known.kind == LABELS and known.levels is not None:
        plain = {level.strip().casefold(): level for level in known.levels}
        if len(plain) < len(known.levels):  # the training data spelt as it pleased
            return
        unseen = [
            label
            for label in dict.fromkeys(column.as_labels())
            if label is not None and label not in known.levels
        ]
        meant = {
            label: plain[label.strip().casefold()] for label in unseen if label.strip().casefold() in plain
        }
        if meant:
            pairs = ", ".join(f"'{a}' for '{b}'" for a, b in list(meant.items())[:3])
            yield Suspicion(
                known.name,
                "spelling",
                1.0,
                0.0,
                f"labels differ in case or spaces: {pairs}",
                "spell them as the training data did",
            )


def _names(fields: Mapping[str, Field], columns: Mapping[str, Column]) -> Iterator[Suspicion]:
    """Columns whose names differ in case or spaces from those that are absent."""
    plain = {name.strip().casefold(): name for name in fields if name not in columns}
    for name in columns:
        meant = plain.get(name.strip().casefold())
        if name not in fields and meant is not None:
            yield Suspicion(
                meant, "names", 1.0, 0.0, f"column '{name}' looks like '{meant}'", f"call it '{meant}'"
            )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
