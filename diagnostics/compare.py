"""Several models of the same data, compared by how they predict rows that they have not seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ppl.errors import DataError, explain
from ..ppl.turns import without_warnings
from .checks.loo import INFLUENTIAL, leave_one_out

NEGLIGIBLE = 4.0  # of a difference in expected log density (Sivula, Magnusson, Matamoros & Vehtari 2020)


@dataclass(frozen=True, repr=False)
class Comparison:
    """Several models of the same rows, side by side. Made by `elboroom.compare`.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per model, the best first: ``elpd`` and ``se``; ``elpd_diff`` and ``diff_se`` against the best; the
        stacking ``weight``; ``influential``, how many rows have a k̂ above 0.7, where the estimate does not hold; and
        the posterior's ``verdict``.
    estimates : pandas.DataFrame
        What arviz-stats gives, for its plots.
    posteriors : dict of str to Posterior
        The best first.
    """

    table: Any
    estimates: Any
    posteriors: dict

    @property
    def sentence(self) -> str:
        """The answer in words."""
        best, second = self.table.index[:2]
        difference, error = abs(self.table["elpd_diff"].iloc[1]), self.table["diff_se"].iloc[1]
        if difference < NEGLIGIBLE or difference < 2 * error:
            words = f"'{best}' and '{second}' predict new rows about equally well."
        else:
            words = f"'{best}' predicts new rows better than '{second}'."
        words = (
            f"{words} Their expected log densities differ by {difference:.1f} (standard error {error:.1f})."
        )
        odd = [name for name, count in self.table["influential"].items() if count]
        if odd:
            names = ", ".join(f"'{name}'" for name in odd)
            words += f" The estimate leans on rows that importance sampling cannot leave out ({names})."
        doubted = [name for name, verdict in self.table["verdict"].items() if verdict == "untrusted"]
        if doubted:
            names = ", ".join(f"'{name}'" for name in doubted)
            words += f" Draws that are not established say little of a model's predictions ({names})."
        return words

    def report(self, path):
        """Write ``comparison.html``, one self-contained file, and the same as ``.json`` and ``.md`` beside it.

        Parameters
        ----------
        path : path-like
            A folder, or the name of the HTML file.

        Returns
        -------
        pathlib.Path
            The HTML file.

        Raises
        ------
        InferenceError
            If the place cannot be written.
        """
        from .report.side_by_side import write

        return write(self, path)

    def __repr__(self) -> str:
        return f"{self.table.to_string(float_format=lambda v: f'{v:.2f}')}\n{self.sentence}"

    def _repr_html_(self) -> str:
        from html import escape

        return f"{self.table.to_html(float_format=lambda v: f'{v:.2f}')}<p>{escape(self.sentence)}</p>"


def compare(posteriors: Mapping[str, Any]) -> Comparison:
    """Compare models by leave-one-out prediction.

    Parameters
    ----------
    posteriors : mapping of str to Posterior
        At least two, of the same outcome.

    Returns
    -------
    Comparison
        Its ``table`` has a row per model, the best first; ``report(path)`` writes them side by side.

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
                    "load it with er.load(path, program=model(data)), the data being those that were fitted"
                    if posterior._target is None
                    else "give the model one outcome of at most 5,000 rows, each with a density of its own",
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
    with without_warnings():
        table = arviz_stats.compare({name: loo.estimate for name, (_, loo) in loos.items()})
    names = list(table.index)
    made = pd.DataFrame(
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
    return Comparison(made, table, {name: posteriors[name] for name in names})
