"""Several models of the same data, compared by how they predict rows that they have not seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..inference.posterior.posterior import record_of
from ..ppl.errors import DataError, explain
from ..ppl.turns import without_warnings
from .checks.loo import Loo, leave_one_out
from .held_out import encodes, held_out
from .report import side_by_side
from .thresholds import CLEAR_DIFFERENCE, INFLUENTIAL, LOO_ROWS, NEGLIGIBLE_DIFFERENCE


@dataclass(frozen=True, repr=False)
class Comparison:
    """Several models of the same rows, side by side. Made by `elboroom.compare`.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per model, the best first: ``elpd`` and ``se``, the expected log density of new rows in nats with its
        standard error; ``elpd_diff`` and ``diff_se`` against the best; the stacking ``weight``; ``influential``, how
        many rows have a k̂ above 0.7, where the estimate does not hold, or a density that is not trusted where they were held
        out; and the posterior's ``verdict``.
    estimates : pandas.DataFrame
        What arviz-stats gives, for its plots.
    posteriors : dict of str to Posterior
        The best first.
    held_out : int
        Number of the rows that training held out by which models with encoders are compared; 0 where each row is left out.
    """

    table: Any
    estimates: Any
    posteriors: dict
    held_out: int = 0

    @property
    def sentence(self) -> str:
        """The answer in words.

        References
        ----------
        Sivula, Magnusson, Matamoros & Vehtari (2020), Uncertainty in Bayesian leave-one-out cross-validation based model
        comparison (when a difference says little).
        """
        best, second = self.table.index[:2]
        difference, error = abs(self.table["elpd_diff"].iloc[1]), self.table["diff_se"].iloc[1]
        if difference < NEGLIGIBLE_DIFFERENCE or difference < CLEAR_DIFFERENCE * error:
            words = f"'{best}' and '{second}' predict new rows about equally well."
        else:
            words = f"'{best}' predicts new rows better than '{second}'."
        what = (
            f"log densities of {self.held_out} rows held out" if self.held_out else "expected log densities"
        )
        words = f"{words} Their {what} differ by {difference:.1f} (standard error {error:.1f})."
        odd = [name for name, count in self.table["influential"].items() if count]
        if odd:
            names = ", ".join(f"'{name}'" for name in odd)
            cannot = (
                "whose density is not established"
                if self.held_out
                else "that importance sampling cannot leave out"
            )
            words += f" The estimate leans on rows {cannot} ({names})."
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
        return side_by_side.write(self, path)

    def __repr__(self) -> str:
        return f"{self.table.to_string(float_format=lambda v: f'{v:.2f}')}\n{self.sentence}"

    def _repr_html_(self) -> str:
        from html import escape

        return f"{self.table.to_html(float_format=lambda v: f'{v:.2f}')}<p>{escape(self.sentence)}</p>"


def compare(posteriors: Mapping[str, Any]) -> Comparison:
    """Compare models by how they predict rows: each row left out or, of models with encoders, those that training held out.

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
        If there are fewer than two, they do not predict the same rows, only some have encoders, or held out other rows.
    InferenceError
        If one with an encoder was loaded without its program and data.

    Notes
    -----
    Where rows have an encoder, networks and arrays were fitted to all but those that training held out: by these, log p(x) by
    `Posterior.latent` ``.score``, at most 1,000 of them, models are compared (fitted with the same seed). Their bound said when
    training ends, which favours every model a little. Monte Carlo errors are part of ``se`` and ``diff_se``.

    References
    ----------
    Vehtari, Gelman & Gabry (2017), Statistics & Computing 27. Yao, Vehtari, Simpson & Gelman (2018), Using stacking to
    average Bayesian predictive distributions, Bayesian Analysis 13.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def level(y, spread):
    ...     mu = er.sample("mu", er.Normal(0, 10))
    ...     with er.plate("row", len(y)):
    ...         er.observe("y", er.Normal(mu, spread), y)
    >>> y = np.random.default_rng(0).normal(2.0, 1.0, size=30)
    >>> models = {"right": level(y, 1.0), "too wide": level(y, 9.0)}
    >>> comparison = compare({k: er.fit(v, refine=False, progress=False) for k, v in models.items()})
    >>> list(comparison.table.index)
    ['right', 'too wide']
    >>> comparison.sentence.partition(".")[0]
    "'right' predicts new rows better than 'too wide'"
    """
    import arviz_stats

    if len(posteriors) < 2:
        raise DataError(
            explain("compare", "two posteriors or more", str(len(posteriors)), "add another model")
        )
    if any(encodes(posterior) for posterior in posteriors.values()):
        return _by_held_out(posteriors)
    found = {name: _one_outcome(name, posterior) for name, posterior in posteriors.items()}
    _check_rows(posteriors, {name: outcome for name, (outcome, _) in found.items()})
    loos = {name: loo for name, (_, loo) in found.items()}
    with without_warnings():
        estimates = arviz_stats.compare({name: loo.estimate for name, loo in loos.items()})
    names = list(estimates.index)
    influential = {name: int((loo.khat > INFLUENTIAL).sum()) for name, loo in loos.items()}
    table = _table(estimates, influential, [posteriors[name].verdict for name in names])
    return Comparison(table, estimates, {name: posteriors[name] for name in names})


def _by_held_out(posteriors: Mapping[str, Any]) -> Comparison:
    """By the rows that training held out."""
    import arviz_stats

    scores = held_out(posteriors)
    with without_warnings():
        estimates = arviz_stats.compare({name: score.estimate for name, score in scores.items()})
    names = list(estimates.index)
    doubtful = {name: score.doubtful for name, score in scores.items()}
    table = _table(estimates, doubtful, [posteriors[name].verdict for name in names])
    noise = np.array([np.sqrt((scores[name].se ** 2).sum()) for name in names])
    table["se"] = np.hypot(table["se"], noise)
    table["diff_se"] = np.sqrt(
        table["diff_se"] ** 2 + np.where(np.arange(len(names)) > 0, noise**2 + noise[0] ** 2, 0.0)
    )
    kept = {name: posteriors[name] for name in names}
    return Comparison(table, estimates, kept, len(scores[names[0]].log_prob))


def _one_outcome(name: str, posterior: Any) -> tuple[str, Loo]:
    """The one outcome of a model, by name, with the leave-one-out densities of its rows."""
    found = leave_one_out(posterior)
    if len(found) != 1:
        raise DataError(
            explain(
                f"posterior '{name}'",
                "one outcome with a log likelihood by row",
                f"{sorted(found) or 'none'}",
                "load it with er.load(path, program=model(data)), the data being those that were fitted"
                if record_of(posterior).target is None
                else f"give the model one outcome of at most {LOO_ROWS:,} rows, each with a density of its own",
            )
        )
    return next(iter(found.items()))


def _check_rows(posteriors: Mapping[str, Any], outcomes: Mapping[str, str]) -> None:
    """Refuse models of other rows than those of the first."""
    first = next(iter(posteriors))
    rows = np.asarray(record_of(posteriors[first]).observed_data[outcomes[first]])
    for name, posterior in posteriors.items():
        other = np.asarray(record_of(posterior).observed_data[outcomes[name]])
        if other.shape != rows.shape or not np.array_equal(other, rows, equal_nan=rows.dtype.kind == "f"):
            raise DataError(
                explain(
                    f"posterior '{name}'", f"the outcomes of '{first}'", "others", "fit both to the same rows"
                )
            )


def _table(estimates, influential: Mapping[str, int], verdicts: list[str]):
    """The table of a `Comparison`."""
    import pandas as pd

    names = list(estimates.index)
    columns = {"elpd": "elpd", "se": "se", "elpd_diff": "elpd_diff", "diff_se": "dse", "weight": "weight"}
    numbers = {ours: estimates[theirs].to_numpy(float) for ours, theirs in columns.items()}
    rows = [influential[name] for name in names]
    return pd.DataFrame(
        {**numbers, "influential": rows, "verdict": verdicts}, index=pd.Index(names, name="model")
    )
