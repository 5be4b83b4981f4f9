"""Leave-one-out prediction: which rows does the model not expect, and on which does the answer hang?

References
----------
Vehtari, Gelman & Gabry (2017), Practical Bayesian model evaluation using leave-one-out cross-validation and WAIC,
Statistics & Computing 27.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...inference.evidence.finding import Finding
from ...ppl.errors import ElboroomError

MOST_ROWS = 5_000  # one by one
INFLUENTIAL = 0.7  # k̂ of a row
NAMED = 5  # rows


@dataclass(frozen=True)
class Loo:
    """Leave-one-out log densities of the rows of one outcome.

    Attributes
    ----------
    elpd, khat : numpy.ndarray, shape (N,)
    labels : list of str
        What the rows are called.
    estimate : object
        What arviz-stats gives.
    """

    elpd: np.ndarray
    khat: np.ndarray
    labels: list[str]
    estimate: object


def leave_one_out(posterior) -> dict[str, Loo]:
    """By observed site; those with too many rows, or without a density per row, are left out."""
    if "loo" in posterior._groups:
        return posterior._groups["loo"]
    found: dict[str, Loo] = {}
    if posterior.program is not None or "log_likelihood" in posterior._groups.get("saved", {}):
        import arviz_stats

        small = [n for n, v in posterior.observed_data.items() if 1 < np.size(v) <= MOST_ROWS]
        for name in small:
            try:
                rows = posterior.draws["log_likelihood"][name]
                if not rows.size or not np.isfinite(rows.values).all():
                    continue
                with np.errstate(all="ignore"), warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # what they say is a finding here
                    estimate = arviz_stats.loo(posterior.draws, pointwise=True, var_name=name)
            except (ElboroomError, KeyError, ValueError):  # draws that are all the same have no tail
                continue
            dims = rows.dims[2:]
            elpd = estimate.elpd_i.stack(_row=dims) if dims else estimate.elpd_i
            labels = [_label(name, dims, row) for row in elpd.coords["_row"].values] if dims else [name]
            found[name] = Loo(elpd.values.ravel(), np.ravel(estimate.pareto_k.values), labels, estimate)
    posterior._groups["loo"] = found
    return found


def _label(name, dims, row) -> str:
    row = row if isinstance(row, tuple) else (row,)
    return f"{name}[{', '.join(str(one) for one in row)}]"


def check(posterior) -> Iterator[Finding]:
    """Rows that the posterior hangs on, by name; they are no misfit, but LOO and LOO-PIT do not hold for them."""
    for name, loo in leave_one_out(posterior).items():
        order = np.argsort(-loo.khat)
        many = int((loo.khat > INFLUENTIAL).sum())
        labels = ", ".join(loo.labels[i] for i in order[: min(many, NAMED)])
        yield Finding(
            "influential rows",
            name,
            float(loo.khat[order[0]]),
            INFLUENTIAL,
            "ok" if not many else "caution",
            f"No single row of '{name}' decides the answer."
            if not many
            else f"{many} rows move the posterior more than importance sampling can tell ({labels}): look at them, fit "
            "again without them, or take a likelihood with heavier tails.",
        )
