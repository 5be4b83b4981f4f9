"""What is shown of encoded rows, as arrays: units, bounds, rows beside what the model makes of them, rows that it makes up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..inference.posterior.posterior import record_of
from ..ppl.errors import DataError, InferenceError, ShapeError, explain
from .thresholds import IMAGE_PIXELS, MAPPED_ROWS, NEAREST_ROWS


class Paired(NamedTuple):
    """Rows of an outcome and others beside them, ``(rows, *shape)``; positions among the fitted rows, or those given."""

    rows: np.ndarray
    others: np.ndarray
    positions: np.ndarray


class MadeUp(NamedTuple):
    """Simulated rows and the fitted row nearest to each, ``(rows, *shape)``, with the position of that and how far it is.

    `usual` is how far these fitted rows are from the nearest other one; distances are root mean squares over columns.
    """

    rows: np.ndarray
    others: np.ndarray
    positions: np.ndarray
    apart: np.ndarray
    usual: np.ndarray


class Strips(NamedTuple):
    """Means ``(units, values, *shape)`` of an outcome along units, by label, at values of a coordinate."""

    units: list[str]
    values: np.ndarray
    means: np.ndarray


def bounds_of(posterior) -> pd.DataFrame:
    """Looks at the bounds during training: ``steps``; ``training``, ``held_out`` and ``divergence`` in nats a row; and units that are
    ``active``.

    Raises
    ------
    InferenceError
        For a posterior without an encoder.
    """
    record = record_of(posterior)
    if not record.settings.get("encoder"):
        raise InferenceError(
            explain("posterior", "one with an encoder for its rows", "one without",
                    "fit with guide=er.Amortized(...)")
        )  # fmt: skip
    seen = np.asarray(record.fit_record["bounds"], float).reshape(-1, 5)
    return pd.DataFrame(seen, columns=["steps", "training", "held_out", "divergence", "active"])


def places(posterior, most: int = MAPPED_ROWS):
    """The encoder's means and sds of fitted rows, the most active unit first, as a dataset by ``row`` and ``unit``."""
    latent = posterior.latent
    rows = latent.setup.rows
    found = latent.encode(rows.host(spread(rows.total, most)), weigh=False)
    order = np.argsort(-found["mean"].to_numpy().var(0), kind="stable")
    return found.isel(unit=order)


def spread(total: int, most: int) -> np.ndarray:
    """Positions of at most so many rows, evenly among all."""
    return np.unique(np.linspace(0, total - 1, min(most, total)).astype(int))


def outcome_names(posterior) -> dict[str, str]:
    """Argument of each outcome of the encoded rows."""
    rows = posterior.latent.setup.rows
    sites = rows.small.trace.by_role("observed")
    return {s.name: s.argument for s in sites if rows.plate in s.plates and s.argument in rows.along}


def chosen(posterior, name: str | None, found) -> str:
    """The outcome of that name, or the first one, among those of a dataset.

    Raises
    ------
    DataError
        If there is none.
    """
    known = [one for one in outcome_names(posterior) if one in found]
    if name is None and known:
        return known[0]
    if name not in known:
        want = f"one of {known or 'the observed sites whose law knows its mean, of which there is none'}"
        raise DataError(
            explain("outcome", want, "none given" if name is None else f"'{name}'", "name another")
        )
    return name


def beside(posterior, x: Any, num: int, name: str | None = None) -> Paired:
    """Rows, evenly among the fitted ones where none are given, and their reconstructions."""
    latent, argument = posterior.latent, outcome_names(posterior)
    rows, index = latent.setup.rows, None
    if x is None:
        index = spread(rows.total, num)
        x = rows.host(index)
    elif not isinstance(x, Mapping):
        x = {next(iter(rows.along)): x} if len(rows.along) == 1 else x
    if isinstance(x, Mapping):
        x = {k: np.take(np.asarray(v), np.arange(num), rows.along[k], mode="clip") if index is None and k in rows.along
             and np.ndim(v) > rows.along[k] and np.shape(v)[rows.along[k]] > num else v for k, v in x.items()}  # fmt: skip
    found = latent.reconstruct(x)
    name = chosen(posterior, name, found)
    inputs = np.moveaxis(np.asarray(x[argument[name]], float), rows.along[argument[name]], 0)
    positions = np.arange(len(inputs)) if index is None else index
    return Paired(inputs, found[name].to_numpy(), positions)


def made_up(posterior, num: int, name: str | None = None, seed: int = 0) -> MadeUp:
    """Simulated rows, given what fitted ones are given, and the fitted row that is nearest to each in the outcome itself."""
    latent, argument = posterior.latent, outcome_names(posterior)
    rows = latent.setup.rows
    found = latent.simulate(num, given=_given(posterior, np.resize(spread(rows.total, num), num)), seed=seed)
    name = chosen(posterior, name, found)
    label, some = argument[name], spread(rows.total, NEAREST_ROWS)
    fitted = np.moveaxis(np.asarray(rows.host(some)[label], float), rows.along[label], 0)
    made = np.asarray(found[name], float)
    flat, own = fitted.reshape(len(fitted), -1), made.reshape(num, -1)
    apart = np.stack([_distances(flat, row) for row in own])
    nearest = apart.argmin(1)
    others = np.stack([_distances(flat, flat[place]) for place in nearest])
    others[np.arange(num), nearest] = np.inf
    return MadeUp(made, fitted[nearest], some[nearest], apart.min(1), others.min(1))


def _distances(flat: np.ndarray, row: np.ndarray) -> np.ndarray:
    """How far a row is from others ``(N, columns)``, over the columns that both have; infinite where there are none."""
    seen = np.isfinite(flat) & np.isfinite(row)
    total = np.where(seen, (flat - row) ** 2, 0.0).sum(1)
    return np.where(seen.any(1), np.sqrt(total / np.maximum(seen.sum(1), 1)), np.inf)


def strips(posterior, most: int, name: str | None = None, given: Mapping[str, Any] | None = None) -> Strips:
    """Means of an outcome along the most active units, the others at zero, given what the first fitted row is given."""
    latent, values = posterior.latent, np.linspace(-3, 3, 7)
    own = _given(posterior, np.zeros(len(values), int)) if given is None else given
    units = [str(unit) for unit in places(posterior)["unit"].to_numpy()[:most]]
    found = [latent.traverse(unit, values, given=own) for unit in units]
    name = chosen(posterior, name, found[0])
    return Strips(units, values, np.stack([one[name].to_numpy() for one in found]))


def _given(posterior, index: np.ndarray) -> dict[str, np.ndarray]:
    """What fitted rows are given: their arguments that are no outcomes."""
    rows = posterior.latent.setup.rows
    sites = rows.small.trace.by_role("observed", "predicted")
    outcomes = {s.argument for s in sites if rows.plate in s.plates}
    data = rows.host(index)
    return {label: data[label] for label in set(rows.along) - outcomes}


def image_shape(asked: tuple[int, ...] | None, own: tuple[int, ...]) -> tuple[int, int] | None:
    """Height and width of a row as an image; None where it is shown as numbers.

    Parameters
    ----------
    asked : tuple of int, optional
        Height and width, or one number or none for a row that is no image; by default images are rows of two axes, and
        rows of as many columns as a square of at least eight pixels a side has.
    own : tuple of int
        Shape of a row.

    Raises
    ------
    ShapeError
        For an image of another number of pixels.
    """
    count = int(np.prod(own, dtype=int))
    if asked is None:
        side = int(np.sqrt(count))
        if len(own) == 2:
            return own[0], own[1]
        return (side, side) if len(own) == 1 and side * side == count and count >= IMAGE_PIXELS else None
    asked = tuple(int(n) for n in np.atleast_1d(np.asarray(asked, int)))
    if len(asked) < 2:
        return None
    if len(asked) > 2 or asked[0] * asked[1] != count:
        want = f"height and width with {count} pixels in all, or () for numbers"
        raise ShapeError(explain("shape", want, f"{asked}", "correct it, or leave it out"))
    return asked[0], asked[1]
