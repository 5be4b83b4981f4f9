"""Maps that mend predicted probabilities: a temperature, or isotonic steps; fitted on rows that were kept apart.

References
----------
Guo, Pleiss, Sun & Weinberger (2017), On calibration of modern neural networks, ICML. Zadrozny & Elkan (2002), Transforming
classifier scores into accurate multiclass probability estimates, KDD. Kuleshov, Fenner & Ermon (2018), Accurate uncertainties for
deep learning using calibrated regression, ICML.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression, minimize_scalar
from scipy.special import log_softmax

from ..ppl.errors import DataError, explain
from .thresholds import CURVED, TEMPERATURES


@dataclass(frozen=True, eq=False)
class Temperature:
    """A temperature T by which log probabilities are divided: above one, the model was too sure.

    Attributes
    ----------
    value, se : float
        T and its standard error.
    rows : frozenset of bytes
        Digests of the rows that it was fitted to.
    name : str
        The outcome.
    """

    value: float
    se: float
    rows: frozenset[bytes] = field(repr=False)
    name: str = ""

    kind = "temperature"

    def __call__(self, probabilities: Any) -> np.ndarray:
        """Probabilities ``(…, K)`` of classes at this temperature.

        Examples
        --------
        >>> Temperature(2.0, 0.1, frozenset())([0.9, 0.1]).round(3).tolist()
        [0.75, 0.25]
        """
        with np.errstate(divide="ignore"):
            return np.exp(log_softmax(np.log(np.asarray(probabilities, float)) / self.value, axis=-1))

    def as_dict(self) -> dict[str, Any]:
        """As a posterior keeps it."""
        return {"kind": self.kind, "value": self.value, "se": self.se, "rows": _hex(self.rows)}

    @property
    def words(self) -> str:
        """How it is shown."""
        return f"temperature {self.value:.2f} ± {self.se:.2f}"

    @classmethod
    def fitted(
        cls, name: str, probabilities: np.ndarray, observed: np.ndarray, rows: frozenset[bytes]
    ) -> Temperature:
        """The temperature at which what came is likeliest, and one is likely: its logarithm is normal with an sd of one, which few rows
        heed."""
        with np.errstate(divide="ignore"):
            log_prob = np.maximum(np.log(probabilities), np.log(np.finfo(float).tiny))
        own = np.arange(len(observed))

        def loss(u: float) -> float:
            return 0.5 * u**2 - float(log_softmax(log_prob / np.exp(u), axis=1)[own, observed].sum())

        bounds = np.log(TEMPERATURES)
        best = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": CURVED**2}).x
        curvature = (loss(best + CURVED) - 2 * loss(best) + loss(best - CURVED)) / CURVED**2
        se = np.exp(best) / np.sqrt(curvature) if curvature > 0 else np.inf
        return cls(float(np.exp(best)), float(se), rows, name)


@dataclass(frozen=True, eq=False)
class Isotonic:
    """Steps that never fall, of each class against all others, brought to a sum of one.

    They follow any shape that keeps the order, and want more rows than a temperature: about a thousand (Niculescu-Mizil & Caruana
    2005, Predicting good probabilities with supervised learning, ICML).

    Attributes
    ----------
    knots : tuple of numpy.ndarray, each of shape (2, M)
        Of each class: probabilities as the model has them, and what they become. Between them, straight lines.
    rows : frozenset of bytes
        Digests of the rows that it was fitted to.
    name : str
        The outcome.
    """

    knots: tuple[np.ndarray, ...]
    rows: frozenset[bytes] = field(repr=False)
    name: str = ""

    kind = "isotonic"

    def __call__(self, probabilities: Any) -> np.ndarray:
        """Probabilities ``(…, K)`` of classes, mended.

        Examples
        --------
        >>> steps = np.array([[0.0, 0.5, 1.0], [0.0, 0.8, 1.0]])
        >>> Isotonic((1 - steps[:, ::-1], steps), frozenset())([0.5, 0.5]).round(3).tolist()
        [0.2, 0.8]
        """
        given = np.asarray(probabilities, float)
        found = np.stack([np.interp(given[..., k], *steps) for k, steps in enumerate(self.knots)], -1)
        total = found.sum(-1, keepdims=True)
        return np.where(total > 0, found / np.where(total > 0, total, 1), given)

    def as_dict(self) -> dict[str, Any]:
        """As a posterior keeps it."""
        return {"kind": self.kind, "knots": [k.tolist() for k in self.knots], "rows": _hex(self.rows)}

    @property
    def words(self) -> str:
        """How it is shown."""
        return "isotonic steps"

    @classmethod
    def fitted(
        cls, name: str, probabilities: np.ndarray, observed: np.ndarray, rows: frozenset[bytes]
    ) -> Isotonic:
        """Least squares under the order; of two classes one is the other's complement."""
        if probabilities.shape[1] == 2:
            steps = _steps(probabilities[:, 1], (observed == 1) * 1.0)
            return cls((1 - steps[:, ::-1], steps), rows, name)
        knots = tuple(_steps(p, (observed == k) * 1.0) for k, p in enumerate(probabilities.T))
        return cls(knots, rows, name)


@dataclass(frozen=True, eq=False)
class Levels:
    """What probabilities of a continuous outcome's intervals become.

    Attributes
    ----------
    knots : numpy.ndarray, shape (2, M)
        Values of the predictive distribution function, and shares of rows at or below them.
    rows : frozenset of bytes
        Digests of the rows that it was fitted to.
    name : str
        The outcome.
    """

    knots: np.ndarray
    rows: frozenset[bytes] = field(repr=False)
    name: str = ""

    kind = "levels"

    def __call__(self, places: Any) -> np.ndarray:
        """Values of the predictive distribution function, mended: even where the model's were not.

        Examples
        --------
        >>> Levels(np.array([[0.0, 0.2, 1.0], [0.0, 0.5, 1.0]]), frozenset())([0.2, 0.6]).tolist()
        [0.5, 0.75]
        """
        return np.interp(places, *self.knots)

    def quantiles(self, levels: Any) -> np.ndarray:
        """Levels of the model's own quantiles that are those of these levels: of ``[0.05, 0.95]``, where to cut predictions for 90%.

        Raises
        ------
        DataError
            For what are no shares.
        """
        try:
            asked = np.asarray(levels, float)
        except (TypeError, ValueError):
            asked = np.array(np.nan)
        if not ((asked >= 0) & (asked <= 1)).all():
            raise DataError(explain("levels", "shares between 0 and 1", repr(levels)[:80], "correct them"))
        return np.interp(asked, *self.knots[::-1])

    def as_dict(self) -> dict[str, Any]:
        """As a posterior keeps it."""
        return {"kind": self.kind, "knots": self.knots.tolist(), "rows": _hex(self.rows)}

    @property
    def words(self) -> str:
        """How it is shown."""
        return "mended levels"

    @classmethod
    def fitted(cls, name: str, places: np.ndarray, rows: frozenset[bytes]) -> Levels:
        """The shares of rows at or below each place, and none at zero, all at one."""
        at = np.unique(places)
        share = np.searchsorted(np.sort(places), at, side="right") / (len(places) + 1)
        return cls(np.array([[0.0, *at, 1.0], [0.0, *share, 1.0]]), rows, name)


Map = Temperature | Isotonic | Levels


def from_dict(name: str, kept: Mapping[str, Any]) -> Map:
    """A map as a posterior has kept it."""
    rows = frozenset(map(bytes.fromhex, kept["rows"]))
    if kept["kind"] == Temperature.kind:
        return Temperature(kept["value"], kept["se"], rows, name)
    if kept["kind"] == Isotonic.kind:
        return Isotonic(tuple(np.array(k) for k in kept["knots"]), rows, name)
    return Levels(np.array(kept["knots"]), rows, name)


def _hex(rows: frozenset[bytes]) -> list[str]:
    return sorted(row.hex() for row in rows)


def _steps(given: np.ndarray, came: np.ndarray) -> np.ndarray:
    """Knots ``(2, M)`` of the isotonic regression of what came on what was given.

    Beyond them, and where none or all rows of a step came, it says what half a row more of either kind would: nothing is impossible that
    has not come in a few rows.
    """
    at, group = np.unique(given, return_inverse=True)
    often = np.bincount(group)
    found = isotonic_regression(np.bincount(group, came) / often, weights=often).x
    low, high = (0.5 / (often[found == end].sum() + 1) for end in (found[0], found[-1]))
    return np.array([at, np.clip(found, min(low, 0.5), max(1 - high, 0.5))])
