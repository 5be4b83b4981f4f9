"""Are predicted probabilities those that come true, of rows that were not fitted? And what makes them so.

What is found is a matter of the model's fit, never of a verdict: a posterior that is trusted may be one of a wrong model.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from math import gcd
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from ..inference.evidence.finding import Finding
from ..inference.posterior.classes import MEASURES, bound, classes
from ..inference.posterior.posterior import record_of, requested
from ..ppl.errors import DataError, explain
from .maps import Isotonic, Levels, Map, Temperature, from_dict
from .places import PlaceCalibration, places_of
from .reliability import Reliability, reliability
from .rolling import windows
from .seen import UNKNOWN, check_unseen, few_rows, fitted_rows, rows_given
from .thresholds import ECE_DRAWS, ECE_EXCESS, ROLLING_ROWS, SEEN_BEFORE, TELLING_COUNT, TELLING_ROWS


@dataclass(frozen=True, eq=False)
class Calibration:
    """Predicted probabilities of classes beside what came. Made by `elboroom.calibration`, for outcomes that are one of a few classes.

    Attributes
    ----------
    name : str
        The outcome.
    probabilities : numpy.ndarray, shape (N, K)
        As the map mends them, where there is one.
    observed : numpy.ndarray of int, shape (N,)
        The class that came.
    used : Temperature, Isotonic or None
    rows : tuple of bytes
        A digest of each row.
    seen : float
        Share of them that were fitted.
    draws : numpy.ndarray, shape (S, N), or None
        Probability of each row's likeliest class by draws of the posterior, mended alike.
    """

    name: str
    probabilities: np.ndarray
    observed: np.ndarray
    used: Temperature | Isotonic | None
    rows: tuple[bytes, ...] = field(repr=False)
    seen: float = 0.0
    draws: np.ndarray | None = field(default=None, repr=False)

    @cached_property
    def reliability(self) -> Reliability:
        """Confidence in the likeliest class against the share of rows where it came, see `Reliability`."""
        return reliability(self.probabilities, self.observed, "mass", self.draws)

    @property
    def ece(self) -> float:
        """Expected calibration error, of 15 bins of equally many rows."""
        return self.reliability.ece

    @property
    def se(self) -> float:
        """Standard error of `ece`."""
        return self.reliability.se

    @property
    def excess(self) -> float:
        """`ece` less the 95% point of what it would be were the probabilities right."""
        return self.reliability.excess

    @property
    def accuracy(self) -> float:
        """Share of rows whose likeliest class came."""
        return float(self.reliability.came.mean())

    @property
    def log_score(self) -> float:
        """Mean log probability of what came, in nats."""
        own = self.probabilities[np.arange(len(self.observed)), self.observed]
        with np.errstate(divide="ignore"):
            return float(np.log(own).mean())

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What is to be said of it: *misfit* where the error exceeds that of right probabilities by more than 0.05."""
        found, own = self.reliability, [*fitted_rows(self.name, self.seen), *few_rows(self.name, self.used)]
        words = f"ECE {found.ece:.3f} ± {found.se:.3f}; {found.null:.3f} is the 95% point were the probabilities right"
        if found.excess > ECE_EXCESS:
            sure = found.confidence.mean() > found.came.mean()
            advice = (f"Predictions of '{self.name}' are {'too sure' if sure else 'not sure enough'}: {words}. Fit a temperature "
                      "on rows that are neither these nor the fitted ones, or change the model.")  # fmt: skip
            verdict = "misfit"
        elif found.excess > 0:
            advice, verdict = f"Probabilities of '{self.name}' are off by a little: {words}.", "caution"
        elif len(self.observed) < TELLING_COUNT:
            advice, verdict = (
                f"{len(self.observed)} rows say nothing of probabilities of '{self.name}': {words}.",
                UNKNOWN,
            )
        else:
            advice, verdict = f"Probabilities of '{self.name}' are what comes true: {words}.", "ok"
        own.append(Finding("calibration of predictions", self.name, found.ece, found.null, verdict, advice))
        return tuple(own)

    def temperature(self) -> Temperature:
        """The temperature at which these rows are likeliest. Judge it on others: ``er.calibration(posterior, others, temperature=it)``.

        Raises
        ------
        DataError
            If these are the rows that were fitted, or already at a temperature.
        """
        return Temperature.fitted(self.name, *self._raw("a temperature"))

    def isotonic(self) -> Isotonic:
        """Steps that never fall, of each class: for shapes that no temperature mends, from about a thousand rows on.

        Raises
        ------
        DataError
            As `temperature` does.
        """
        return Isotonic.fitted(self.name, *self._raw("isotonic steps"))

    def rolling(self, size: int = ROLLING_ROWS, step: int | None = None) -> pd.DataFrame:
        """The same of windows of rows in their order: whether probabilities still come true.

        Parameters
        ----------
        size, step : int
            Rows of a window, and from the end of one to that of the next: by default they do not overlap.

        Returns
        -------
        pandas.DataFrame
            Indexed by the last row of each: ``ece``, ``se``, ``null`` and ``excess`` as of all rows, ``accuracy`` and ``log_score``.
        """

        def told(rows: slice) -> dict[str, float]:
            draws = None if self.draws is None else self.draws[:, rows]
            own = Calibration(self.name, self.probabilities[rows], self.observed[rows], None, (), 0.0, draws)
            names = ("ece", "se", "excess", "accuracy", "log_score")
            return {"null": own.reliability.null, **{name: getattr(own, name) for name in names}}

        return windows(len(self.observed), size, step, told)

    def _raw(self, what: str) -> tuple[np.ndarray, np.ndarray, frozenset[bytes]]:
        """Probabilities as the model has them, what came, and digests of the rows, if a map may be fitted to them."""
        check_unseen(what, self.seen, self.used)
        return self.probabilities, self.observed, frozenset(self.rows)

    def __repr__(self) -> str:
        at = "" if self.used is None else f", {self.used.words}"
        return f"Calibration of {len(self.observed)} rows of '{self.name}'{at}\n" + "\n".join(
            map(str, self.findings)
        )


def calibration(
    posterior: Any,
    data: Any = None,
    name: str | None = None,
    temperature: Temperature | None = None,
    map: Any = "kept",
) -> Calibration | PlaceCalibration:
    """Compare predictions with what came, of rows that were not fitted.

    The posterior's report shows the last one.

    Parameters
    ----------
    posterior : Posterior
        Of a model with an outcome that is an argument of it.
    data : mapping or table, optional
        Rows: arguments of the model, the outcome among them; of a table other columns are left out. Without, those that were fitted,
        which says little.
    name : str, optional
        The outcome; may be left out where there is one alone, or one alone has classes.
    temperature : Temperature, optional
        From `Calibration.temperature` of other rows: the same as ``map``.
    map : Temperature, Isotonic, Levels or None, optional
        What mends the predictions, from a calibration by other rows; by default what `Posterior.calibrated` keeps. None for
        predictions as the model has them.

    Returns
    -------
    Calibration or PlaceCalibration
        Of a binary, categorical or ordinal outcome the first; of a continuous one or a count the second.

    Raises
    ------
    DataError
        If the map was fitted to some of these rows, or they lack an argument or an outcome.
    InferenceError
        For a posterior without its program, or rows with latent quantities of their own.

    Notes
    -----
    Probabilities of classes are means over draws of the posterior of the law's own, not frequencies of drawn outcomes. The
    expected calibration error is Σ_b n_b/n |accuracy_b − confidence_b| over 15 bins, of equally many rows, of confidence in the
    likeliest class. It is biased upwards, so that it is compared with simulations: a whole set of outcomes by each draw of the
    posterior, so that what rows share is no misfit.

    A continuous outcome's place is its value of the predictive distribution function, ranked among draws of its prediction, ties
    broken at random: were the predictions right, places would be uniform. How far they would be, and the intervals' shares of
    rows, is told by outcomes drawn from the posterior, a whole set of rows by each draw: what rows share is no misfit.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def logistic(x, y):
    ...     slope = er.sample("slope", er.Normal(0, 2))
    ...     with er.plate("row", len(x)):
    ...         er.observe("y", er.Bernoulli(logits=slope * x), y)
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=600)
    >>> y = (rng.uniform(size=600) < 1 / (1 + np.exp(-1.5 * x))) * 1
    >>> posterior = er.fit(logistic(x[:300], y[:300]), progress=False)
    >>> found = er.calibration(posterior, {"x": x[300:], "y": y[300:]})
    >>> [finding.verdict for finding in found.findings]
    ['ok']
    """
    record = record_of(posterior)
    record.needs_program("calibration")
    data = rows_given(data, record.program, "data of a calibration")
    classed = any(s.measure in MEASURES for s in record.observed.values() if name in (None, s.name))
    used: Any = temperature if temperature is not None else map
    if classed:
        found = classes(record, name, data, ECE_DRAWS)
        program, outcome, count = found.program, found.name, len(found.observed)
    else:
        outcome, observed, drawn = places_of(posterior, data, name)
        program, count = bound(record, data) if data else record.program, len(observed)
    used = _kept(record, outcome) if isinstance(used, str) and used == "kept" else used
    _check_map(used, outcome, (Temperature, Isotonic) if classed else (Levels,))
    rows = _digests(program, count)
    seen = _seen(record, outcome, rows, bool(data))
    if used is not None and (shared := _share(rows, used.rows)) > SEEN_BEFORE:
        got, remedy = f"{shared:.0%} that it was", "keep some rows apart for it"
        raise DataError(explain("calibration", f"rows that the {used.kind} was not fitted to", got, remedy))
    made: Calibration | PlaceCalibration
    if classed:
        probabilities = np.exp(found.log_prob)
        mended = probabilities if used is None else used(probabilities)
        draws = _mended(found.draws, probabilities.max(1), mended.max(1))
        made = Calibration(outcome, mended, found.observed, used, rows, seen, draws)
    else:
        made = PlaceCalibration.of(outcome, observed, drawn, used, rows, seen)
    requested(posterior)["calibration"] = made
    return made


def _mended(draws: np.ndarray, raw: np.ndarray, mended: np.ndarray) -> np.ndarray:
    """Probabilities by draws, moved as their mean was, on the scale of log odds."""
    if np.array_equal(raw, mended):
        return draws
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = expit(logit(draws) + logit(mended) - logit(raw))
    return np.where(np.isfinite(moved), moved, mended)


def _kept(record: Any, outcome: str) -> Map | None:
    """The map that a posterior keeps for an outcome."""
    return from_dict(outcome, record.maps[outcome]) if outcome in record.maps else None


def _check_map(used: Any, outcome: str, kinds: tuple[type, ...]) -> None:
    if used is None or isinstance(used, kinds):
        return
    expected = " or ".join(f"er.calibration(…).{kind.kind}()" for kind in kinds)  # type: ignore[attr-defined]  # all have one
    raise DataError(
        explain("map", f"for '{outcome}' one of {expected}, or None", repr(used)[:80], "pass such a one")
    )


def _seen(record: Any, outcome: str, rows: tuple[bytes, ...], new: bool) -> float:
    """Share of rows that were fitted."""
    fitted = _digests(record.program, int(np.size(record.observed_data[outcome]))) if new else rows
    return 1.0 if rows == fitted else _share(rows, frozenset(fitted))


def _digests(program: Any, count: int) -> tuple[bytes, ...]:
    """A digest of each row, by all arguments that run along the rows."""
    values = [np.asarray(leaf.value) for leaf in program.data_leaves.values()]
    along = [value.reshape(count, -1) for value in values if value.ndim and len(value) == count]
    with np.errstate(over="ignore"):  # a number is the same in single precision
        table = [np.ascontiguousarray(v, np.float32 if v.dtype.kind in "fiub" else None) for v in along]
    return tuple(
        blake2b(b"".join(part[i].tobytes() for part in table), digest_size=12).digest() for i in range(count)
    )


def _share(rows: tuple[bytes, ...], others: frozenset[bytes]) -> float:
    """Share of the rows that are among others; of those alone that occur once, or as often as all, as equal rows of few values are no
    sign."""
    counts = Counter(rows)
    least = gcd(*counts.values())
    single = [row for row, often in counts.items() if often == least]
    if least * len(single) < TELLING_ROWS * len(rows):
        return 0.0
    return float(np.mean([row in others for row in single]))
