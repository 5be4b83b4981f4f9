"""Do units stand for factors that are known? And are they the same units from another start?

Of means of rows under the encoder, and what is known of these rows. Nothing here is a verdict: that a unit goes with a factor is seen,
not shown to be so for other rows, and units that no start agrees on are not identified by the model.

References
----------
Chen, Li, Grosse & Duvenaud (2018), Isolating sources of disentanglement in variational autoencoders, NeurIPS, on the mutual information
gap. Kumar, Sattigeri & Balakrishnan (2018), Variational inference of disentangled latent concepts, ICLR, on separated attribute
predictability. Eastwood & Williams (2018), A framework for the quantitative evaluation of disentangled representations, ICLR. Locatello
et al. (2019), Challenging common assumptions in the unsupervised learning of disentangled representations, ICML: no objective finds
factors without assumptions. Miller (1955), Note on the bias of information estimates. Khemakhem et al. (2020), Variational autoencoders
and nonlinear ICA, AISTATS, on the mean correlation coefficient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import xlogy

from ...ppl.errors import DataError, ShapeError, explain
from ..evidence.finding import Finding
from ..thresholds import (
    ACTIVE_VARIANCE,
    FACTOR_BINS,
    FACTOR_FOLDS,
    FACTOR_RIDGE,
    INTERVAL_95,
    MOST_FACTOR_VALUES,
    SAME_UNITS,
)


@dataclass(frozen=True, eq=False)
class Factor:
    """What is known of rows.

    Attributes
    ----------
    name : str
    codes : numpy.ndarray of int, shape (rows,)
        Which of its values each row has.
    columns : numpy.ndarray, shape (rows, k)
        The numbers themselves, or of what is no number one column for each value.
    """

    name: str
    codes: np.ndarray
    columns: np.ndarray


def factors_of(values: Any, count: int) -> list[Factor]:
    """Factors of a mapping or table from name to one value for each row.

    Raises
    ------
    DataError
        If there is none, one has a single value, numbers are not finite, or it is continuous.
    ShapeError
        For other than one value for each row.
    """
    named = {str(name): np.asarray(values[name]) for name in values}
    if not named:
        raise DataError(explain("latent.factors", "factors by name", "none", "pass {'size': sizes}, say"))
    return [_factor(name, value, count) for name, value in named.items()]


def _factor(name: str, value: np.ndarray, count: int) -> Factor:
    what = f"factor '{name}' of latent.factors"
    if value.shape != (count,):
        raise ShapeError(
            explain(what, f"one value for each of {count} rows", f"shape {value.shape}", "reshape it")
        )
    numbers = value.dtype.kind in "biuf"
    if numbers and not np.isfinite(value.astype(float)).all():
        raise DataError(
            explain(what, "finite numbers, or labels", "some that are not", "leave these rows out")
        )
    known, codes = np.unique(value, return_inverse=True)
    if not 1 < len(known) <= MOST_FACTOR_VALUES:
        want = f"between two and {MOST_FACTOR_VALUES} different values"
        raise DataError(explain(what, want, f"{len(known)}", "leave it out, or put its values into groups"))
    columns = value.astype(float)[:, None] if numbers else np.eye(len(known))[codes]
    return Factor(name, codes, columns)


def factor_table(means: np.ndarray, factors: Sequence[Factor], units: Sequence[str]) -> pd.DataFrame:
    """Scores by factor, and their means in the row ``"all"``; see `Latent.factors`.

    Parameters
    ----------
    means : numpy.ndarray, shape (rows, units)
        Of rows under the encoder.
    factors : sequence of Factor
        What is known of these rows.
    units : sequence of str
        Labels of the units.

    Returns
    -------
    pandas.DataFrame
    """
    codes = binned(means)
    shared = np.stack([[information(codes[:, j], f.codes) for j in range(means.shape[1])] for f in factors])
    entropies = np.array([entropy(f.codes) for f in factors])
    gap, gap_se = _gaps(codes, factors)
    relevance = importance(means, factors)
    order = np.argsort(-shared, axis=1, kind="stable")
    table = pd.DataFrame(
        {
            "unit": [units[j] for j in order[:, 0]],
            "information": shared.max(1),
            "entropy": entropies,
            "mig": gap[:-1],
            "mig_se": gap_se[:-1],
            "sap": [separated(means, f) for f in factors],
            "completeness": _concentration(relevance.T),
            "informativeness": [explained(means, f.columns) for f in factors],
        },
        index=pd.Index([f.name for f in factors], name="factor"),
    )
    whole = table.mean(numeric_only=True)
    weights = relevance.sum(1) / relevance.sum()
    whole["mig"], whole["mig_se"] = gap[-1], gap_se[-1]
    whole["disentanglement"] = float(weights @ _concentration(relevance))
    table.loc["all"] = whole
    table["disentanglement"] = [*[np.nan] * len(factors), whole["disentanglement"]]
    table["mig_low"], table["mig_high"] = (table["mig"] + s * INTERVAL_95 * table["mig_se"] for s in (-1, 1))
    table.attrs["bins"] = FACTOR_BINS
    return table


# -- mutual information ---------------------------------------------------------------------------------------


def binned(means: np.ndarray) -> np.ndarray:
    """Each unit's means in bins of equal width between its least and its largest."""
    low, high = means.min(0), means.max(0)
    share = (means - low) / np.where(high > low, high - low, 1.0)
    return np.minimum((share * FACTOR_BINS).astype(int), FACTOR_BINS - 1)


def entropy(codes: np.ndarray) -> float:
    """Entropy of codes in nats, with Miller's correction for few rows."""
    share = np.bincount(codes) / len(codes)
    return float(-xlogy(share, share).sum() + ((share > 0).sum() - 1) / (2 * len(codes)))


def information(left: np.ndarray, right: np.ndarray) -> float:
    """Mutual information of two codes in nats, with Miller's correction of the three entropies that it is of; not below zero.

    Examples
    --------
    >>> one, two = np.repeat([0, 1], 50), np.tile([0, 1], 50)
    >>> bool(np.isclose(information(one, one), entropy(one))), information(one, two)
    (True, 0.0)
    """
    both = left * (int(right.max()) + 1) + right
    return max(entropy(left) + entropy(right) - entropy(both), 0.0)


def gaps(codes: np.ndarray, factors: Sequence[Factor]) -> np.ndarray:
    """Mutual information gap of each factor, and their mean."""
    out = []
    for factor in factors:
        shared = sorted((information(codes[:, j], factor.codes) for j in range(codes.shape[1])), reverse=True)
        out.append((shared[0] - (shared[1] if len(shared) > 1 else 0.0)) / entropy(factor.codes))
    return np.array([*out, np.mean(out)])


def _gaps(codes: np.ndarray, factors: Sequence[Factor]) -> tuple[np.ndarray, np.ndarray]:
    """Gaps, and their standard errors by leaving out folds of rows."""
    fold = np.random.default_rng(80).permutation(len(codes)) % FACTOR_FOLDS
    without = np.stack(
        [
            gaps(
                codes[fold != i], [Factor(f.name, f.codes[fold != i], f.columns[fold != i]) for f in factors]
            )
            for i in range(FACTOR_FOLDS)
        ]
    )
    spread = (FACTOR_FOLDS - 1) / FACTOR_FOLDS * ((without - without.mean(0)) ** 2).sum(0)
    return gaps(codes, factors), np.sqrt(spread)


# -- regressions ----------------------------------------------------------------------------------------------


def _standardised(x: np.ndarray) -> np.ndarray:
    sd = x.std(0)
    return (x - x.mean(0)) / np.where(sd > 0, sd, 1.0)


def _ridge(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.linalg.solve(x.T @ x + FACTOR_RIDGE * len(x) * np.eye(x.shape[1]), x.T @ y)


def explained(x: np.ndarray, y: np.ndarray) -> float:
    """Share of the variance of `y` that a ridge regression explains of rows that it has not seen, in two folds; not below zero."""
    x, y = _standardised(x), y - y.mean(0)
    fold, left = np.random.default_rng(81).permutation(len(x)) % 2, 0.0
    for i in range(2):
        own = fold != i
        left += ((y[~own] - x[~own] @ _ridge(x[own], y[own])) ** 2).sum()
    return float(max(1 - left / (y**2).sum(), 0.0))


def separated(means: np.ndarray, factor: Factor) -> float:
    """By how much the unit that explains a factor best is better than the next one, each by a line of its own."""
    scores = sorted((explained(means[:, [j]], factor.columns) for j in range(means.shape[1])), reverse=True)
    return scores[0] - (scores[1] if len(scores) > 1 else 0.0)


def importance(means: np.ndarray, factors: Sequence[Factor]) -> np.ndarray:
    """Size of each unit's coefficient in the ridge regression of each factor on all, all standardised; shape ``(units, factors)``."""
    x = _standardised(means)
    return np.stack([np.abs(_ridge(x, _standardised(f.columns))).sum(1) for f in factors], axis=1)


def _concentration(relevance: np.ndarray) -> np.ndarray:
    """One minus the entropy of each row's shares over that of equal ones."""
    share = relevance / np.maximum(relevance.sum(1, keepdims=True), np.finfo(float).tiny)
    return 1 + xlogy(share, share).sum(1) / np.log(max(relevance.shape[1], 2))


# -- other starts ---------------------------------------------------------------------------------------------


def matched(own: np.ndarray, others: Sequence[np.ndarray], units: Sequence[str]) -> pd.DataFrame:
    """Absolute correlation of each active unit's means with those of the unit of another start that it is matched to.

    Parameters
    ----------
    own : numpy.ndarray, shape (rows, units)
        Means of rows.
    others : sequence of numpy.ndarray
        The same of other starts.
    units : sequence of str
        Labels of the units.

    Returns
    -------
    pandas.DataFrame
        By active unit, a column for each start.
    """
    from scipy.optimize import linear_sum_assignment  # slow to import

    active = np.flatnonzero(own.var(0) > ACTIVE_VARIANCE)
    columns = {}
    for i, other in enumerate(others):
        alike = np.abs(_standardised(own[:, active]).T @ _standardised(other)) / len(own)
        mine, theirs = linear_sum_assignment(-alike)
        found = np.zeros(len(active))
        found[mine] = alike[mine, theirs]
        columns[f"start {i + 1}"] = found
    return pd.DataFrame(columns, index=pd.Index([units[int(j)] for j in active], name="unit"))


def identified(table: Mapping[str, Any], plate: str) -> Finding:
    """What the matches say: a finding, never a verdict."""
    alike = np.asarray(pd.DataFrame(table), float)
    value = float(alike.mean()) if alike.size else 0.0
    if value < SAME_UNITS:
        words = (
            f"Units are not identified: from other starts their means go with this one's by a correlation of {value:.2f}, after matching. "
            "What the coordinates say together may be the same; do not read a unit for itself."
        )
        return Finding("not identified", plate, value, SAME_UNITS, "caution", words)
    words = (
        f"Other starts have the same units, by a correlation of {value:.2f} after matching. That they are factors of the data's making is "
        "not shown by it."
    )
    return Finding("not identified", plate, value, SAME_UNITS, "ok", words)
