"""Noise of a known kind on the entries of an outcome: what is likely after it, and what was there before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ppl import math as m
from ...ppl.errors import DataError, InferenceError, ShapeError, UnsupportedError, explain
from ..thresholds import PROBABILITIES, ROWS_ALIKE

WHERE = "latent.denoise"


@dataclass(frozen=True, eq=False)
class Noise:
    """What happened to the entries of an outcome.

    Attributes
    ----------
    argument : str
        Which holds the outcome.
    flips : bool
        Whether entries are binary and were flipped with some probability; otherwise normal noise was added.
    level : numpy.ndarray
        That probability, or the noise's sd, of each entry, rows first.
    """

    argument: str
    flips: bool
    level: np.ndarray

    def log_clean(self, x: Any, mean: Any, variance: Any) -> Any:
        """Log probability of an entry under the model."""
        return self.log_noisy(x, mean, variance, 0.0 * mean)

    def log_noisy(self, x: Any, mean: Any, variance: Any, level: Any) -> Any:
        """Log probability of an entry after the noise."""
        if self.flips:
            shown = level + (1 - 2 * level) * mean
            return m.log(m.where(x > 0.5, shown, 1 - shown))
        whole = variance + level**2
        return -0.5 * (m.square(x - mean) / whole + m.log(2 * np.pi * whole))

    def moved(self, mean: Any, variance: Any, off: Any) -> Any:
        """An entry that is likely under the model: its mode where `off` is 0, elsewhere another."""
        if self.flips:
            likely = m.where(mean > 0.5, 1.0, 0.0)
            return m.where((off != 0) & (m.abs(mean - 0.5) < 0.5 - ROWS_ALIKE), 1.0 - likely, likely)
        return mean + off * m.sqrt(variance)

    def before(self, noisy: np.ndarray, level: np.ndarray, mean: np.ndarray, variance: np.ndarray):
        """Mean and variance of entries before the noise, given those after it and a row's coordinates; of lost ones, given these."""
        known = np.isfinite(noisy)
        if self.flips:
            kept = np.where(noisy > 0.5, 1 - level, level)
            share = np.where(known, kept * mean / (kept * mean + (1 - kept) * (1 - mean)), mean)
            return share, share * (1 - share)
        pull = np.where(known, variance / (variance + level**2), 0.0)
        return mean + pull * (np.where(known, noisy, 0.0) - mean), (1 - pull) * variance

    def summary(
        self, mean: np.ndarray, variance: np.ndarray, rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Of entries, from their means and variances at draws of the coordinates ``(R, S, ...)``, by suffix."""
        out = {"": mean.mean(1), "_sd": np.sqrt(variance.mean(1) + mean.var(1))}
        if not self.flips:
            drawn = mean + np.sqrt(variance) * rng.standard_normal(mean.shape)
            out["_q5"], _, out["_q95"] = np.quantile(drawn, PROBABILITIES, axis=1)
        return out


def noise_of(
    outcomes: Mapping[str, Any], plate: str, along: Mapping[str, int], data, sd, flipped
) -> dict[str, Noise]:
    """What a user says of the noise, by outcome.

    Raises
    ------
    InferenceError, DataError, ShapeError, UnsupportedError
        See `Latent.denoise`.
    """
    if (sd is None) == (flipped is None):
        got = "neither" if sd is None else "both"
        raise InferenceError(explain(WHERE, "one of sd= and flipped=", got, "say what noise the rows have"))
    given, word = (sd, "sd") if flipped is None else (flipped, "flipped")
    if not isinstance(given, Mapping):
        if len(outcomes) != 1:
            got = f"one value for {sorted(outcomes)}"
            raise InferenceError(
                explain(f"{word} of {WHERE}", "a mapping from outcome to value", got, "name each of them")
            )
        given = {next(iter(outcomes)): given}
    if not given or not set(given) <= set(outcomes):
        raise InferenceError(
            explain(
                f"{word} of {WHERE}",
                f"outcomes among {sorted(outcomes)}",
                f"{sorted(given)}",
                "correct the names",
            )
        )
    return {name: _noise(outcomes[name], plate, along, data, value, word) for name, value in given.items()}


def _noise(
    site: Any, plate: str, along: Mapping[str, int], data: Mapping[str, np.ndarray], value: Any, word: str
) -> Noise:
    flips = word == "flipped"
    right = site.measure == "binary" if flips else site.distribution == "Normal"
    if not right or site.argument not in along or along[site.argument] != 0 or site.dims[0] != plate:
        want = f"a {'binary' if flips else 'normal'} outcome that is an argument, its rows first"
        got = f"{site.distribution} with {f'argument {site.argument!r}' if site.argument else 'no argument'} and axes {list(site.dims)}"
        remedy = "name another outcome, or use latent.impute with NaN where entries are lost"
        raise UnsupportedError(explain(f"{WHERE} of '{site.name}'", want, got, remedy))
    shape = data[site.argument].shape
    try:
        level = np.broadcast_to(np.asarray(value, np.float64), shape)
    except ValueError:
        got = f"shape {np.shape(value)}"
        raise ShapeError(
            explain(
                f"{word} of {WHERE}",
                f"a number, or an array that broadcasts against {shape}",
                got,
                "reshape it",
            )
        ) from None
    if not ((level > 0) & (level < (0.5 if flips else np.inf))).all():
        want = "probabilities above 0 and below 1/2" if flips else "positive, finite standard deviations"
        wrong = level[~((level > 0) & (level < (0.5 if flips else np.inf)))]
        raise DataError(
            explain(
                f"{word} of {WHERE}",
                want,
                f"{wrong.flat[0]}",
                "give the noise that there is, or use latent.reconstruct",
            )
        )
    return Noise(site.argument, flips, level)
