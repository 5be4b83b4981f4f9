"""Several models of the same data, compared by how they predict rows that they have not seen."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np

from ..ppl.errors import DataError, explain
from .checks.loo import INFLUENTIAL, leave_one_out


def compare(posteriors: Mapping[str, object]):
    """Compare models by leave-one-out prediction.

    Parameters
    ----------
    posteriors : mapping of str to Posterior
        At least two, of the same outcome.

    Returns
    -------
    pandas.DataFrame
        One row per model, the best first: ``elpd`` and ``se``; ``elpd_diff`` and ``diff_se`` against the best; the
        stacking ``weight``; ``influential``, how many rows have a k̂ above 0.7, where the estimate does not hold; and
        the posterior's ``verdict``.

    Raises
    ------
    DataError
        If there are fewer than two, or they do not predict the same rows.

    References
    ----------
    Vehtari, Gelman & Gabry (2017), Statistics & Computing 27. Yao, Vehtari, Simpson & Gelman (2018), Using stacking to
    average Bayesian predictive distributions, Bayesian Analysis 13.
    """
    import arviz_stats
    import pandas as pd

    if len(posteriors) < 2:
        raise DataError(
            explain("compare", "two posteriors or more", str(len(posteriors)), "add another model")
        )
    loos = {}
    for name, posterior in posteriors.items():
        found = leave_one_out(posterior)
        if len(found) != 1:
            raise DataError(
                explain(
                    f"posterior '{name}'",
                    "one outcome with a log likelihood by row",
                    f"{sorted(found) or 'none'}",
                    "keep the program and the data, and outcomes of at most 5,000 rows",
                )
            )
        loos[name] = next(iter(found.items()))
    first, (outcome, _) = next(iter(loos.items()))
    rows = np.asarray(posteriors[first].observed_data[outcome])
    for name, (own, _) in loos.items():
        other = np.asarray(posteriors[name].observed_data[own])
        if other.shape != rows.shape or not np.array_equal(other, rows, equal_nan=rows.dtype.kind == "f"):
            raise DataError(
                explain(
                    f"posterior '{name}'", f"the outcomes of '{first}'", "others", "fit both to the same rows"
                )
            )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = arviz_stats.compare({name: loo.estimate for name, (_, loo) in loos.items()})
    names = list(table.index)
    return pd.DataFrame(
        {
            "elpd": table["elpd"].to_numpy(float),
            "se": table["se"].to_numpy(float),
            "elpd_diff": table["elpd_diff"].to_numpy(float),
            "diff_se": table["dse"].to_numpy(float),
            "weight": table["weight"].to_numpy(float),
            "influential": [int((loos[name][1].khat > INFLUENTIAL).sum()) for name in names],
            "verdict": [posteriors[name].verdict for name in names],
        },
        index=pd.Index(names, name="model"),
    )
