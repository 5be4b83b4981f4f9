"""Why this interval: how much of what is known of a quantity the prior tells, and how much each row and each group.

For a posterior near normal the precision along a quantity is a sum: of the prior's curvature and of each row's. Its parts are
shares of one; of a mean with a normal prior they are the prior's and each row's precision, exactly.

References
----------
Giordano & Broderick (2024), The Bayesian infinitesimal jackknife for variance; Kallioinen, Paananen, Bürkner & Vehtari (2024),
Detecting and diagnosing prior and likelihood sensitivity with power-scaling, Statistics & Computing 34 (the pull is the
derivative of a mean with respect to the power of a row).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from ..inference.evidence.finding import Finding
from ..inference.posterior.posterior import record_of, requested
from ..ppl.backends.functions import JACOBIAN
from ..ppl.errors import InferenceError, explain
from .thresholds import FAR_FROM_NORMAL, LEANS, LONE_ROW, WHY_DRAWS, WHY_STEP, WHY_VALUES


@dataclass(frozen=True, eq=False)
class Why:
    """What informs a quantity. Made by `elboroom.why`.

    Attributes
    ----------
    quantity : str
    prior : float
        Share of the priors that depend on nothing that is learned, and of what `elboroom.factor` adds.
    pooling : float
        Share of the laws of groups, those of latent sites that depend on others: what groups tell of each other, and of what they
        have in common.
    sites : pandas.Series
        Share of the law of each latent site; empty where a discrete one is summed out, and `prior` has all of it then.
    rows : pandas.DataFrame
        A row for each observed row: ``outcome``, ``row``; ``share`` of what is known; ``pull``, the standard deviations by which the
        quantity's mean moves per unit of weight that the row gains, so that without it the mean moves by about as much the
        other way; and its Monte Carlo standard error ``pull_se``.
    total : float
        What the shares were of before they were made to sum to one: one for a normal posterior.
    """

    quantity: str
    prior: float
    pooling: float
    sites: pd.Series
    rows: pd.DataFrame
    total: float
    labels: dict[str, tuple[Any, np.ndarray]] = field(repr=False)

    @property
    def groupings(self) -> tuple[str, ...]:
        """Arguments of the model that put rows into groups."""
        return tuple(self.labels)

    def groups(self, name: str) -> pd.DataFrame:
        """Shares and pulls of groups of rows.

        Parameters
        ----------
        name : str
            One of `groupings`.

        Returns
        -------
        pandas.DataFrame
            Indexed by the group, the largest share first: ``rows``, ``share``, ``pull``.

        Raises
        ------
        InferenceError
            For another name.
        """
        if name not in self.labels:
            known = (
                f"one of {sorted(self.labels)}"
                if self.labels
                else "an argument with labels, of which there is none"
            )
            raise InferenceError(explain("groups", known, repr(name)[:80], "name another"))
        levels, codes = self.labels[name]
        own = self.rows[self.rows["row"].to_numpy() < len(codes)]
        keys = [levels[code] for code in codes[own["row"].to_numpy()]]
        found = own.groupby(keys, sort=False).agg(
            rows=("row", "size"), share=("share", "sum"), pull=("pull", "sum")
        )
        return found.rename_axis(name).sort_values("share", ascending=False)

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """Where it leans on the prior, hangs on a row, or shares are rough."""
        found, worst = [], self.rows.loc[self.rows["share"].idxmax()]
        low, high = FAR_FROM_NORMAL
        if not low < self.total < high:
            words = "The posterior is far from normal along it: shares are rough, pulls hold for small changes of weight."
            found.append(Finding("shares", self.quantity, self.total, high, "caution", words))
        if self.prior > LEANS:
            words = f"{self.prior:.0%} of what is known of it is the prior's, not the data's: say where the prior comes from."
            found.append(Finding("share of the prior", self.quantity, self.prior, LEANS, "caution", words))
        if worst["share"] > LONE_ROW and len(self.rows) > 1 / LONE_ROW:
            words = f"Row {worst['row']} of '{worst['outcome']}' alone is {worst['share']:.0%} of what is known of it: look at it."
            found.append(
                Finding("share of a row", self.quantity, float(worst["share"]), LONE_ROW, "caution", words)
            )
        return tuple(found)

    def __repr__(self) -> str:
        top = self.rows.reindex(self.rows["share"].abs().sort_values(ascending=False).index)[:5]
        lines = [
            f"What is known of {self.quantity}: {self.prior:.1%} by priors, {self.pooling:.1%} by laws of groups, "
            f"{self.rows['share'].sum():.1%} by {len(self.rows)} rows"
        ]
        lines += [f"  law of {name:<20}{share:7.1%}" for name, share in self.sites.items()]
        lines += [top.round(4).to_string(index=False), *map(str, self.findings)]
        return "\n".join(lines)


def why(posterior: Any, quantity: str) -> Why:
    """Which rows, groups and priors inform a quantity. The posterior's report shows it.

    Parameters
    ----------
    posterior : Posterior
        With its program and the data that were fitted.
    quantity : str
        As in `Posterior.summary`: ``"tau"``, ``"theta[3]"``.

    Returns
    -------
    Why

    Raises
    ------
    InferenceError
        For another name, a posterior without its data, or one whose rows have an encoder.

    Notes
    -----
    With u the covariance of coordinates and quantity over its sd, and l one term of the log density, the share of the term is
    −E[uᵀ ∇²l u], by mixed differences along two estimates of u, each of half of the draws, so that their noise cancels on average.
    The pull is Cov(quantity, l) over its sd.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def level(y):
    ...     mu = er.sample("mu", er.Normal(0, 1))
    ...     with er.plate("row", len(y)):
    ...         er.observe("y", er.Normal(mu, 1), y)
    >>> found = er.why(er.fit(level([1.0, 2.0, 3.0]), progress=False), "mu")
    >>> round(found.prior, 3), found.rows["share"].round(3).tolist()
    (0.25, [0.25, 0.25, 0.25])
    """
    record = record_of(posterior)
    _check(record)
    target = record.target
    values = _values(posterior, record, quantity)
    z = np.asarray(record.z, float)
    one, other = (_direction(z[half::2], values[half::2]) for half in (0, 1))
    some = z[np.unique(np.linspace(0, len(z) - 1, WHY_DRAWS).astype(int))]
    mixed = _Mixed(target, some, WHY_STEP * one, WHY_STEP * other)
    total, rows = mixed.total(), mixed.rows()
    table = _table(rows, total)
    many = z[np.unique(np.linspace(0, len(z) - 1, _most(len(table), len(z))).astype(int))]
    chosen = values[np.unique(np.linspace(0, len(z) - 1, len(many)).astype(int))]
    table["pull"], table["pull_se"] = _pulls(target, many, chosen, list(rows))
    sites = mixed.sites(total)
    pooling = float(sites[[name for name in sites.index if _below(posterior, record, name)]].sum())
    prior = float(1 - table["share"].sum()) - pooling
    made = Why(quantity, prior, pooling, sites, table, float(total), _labels(record, len(table)))
    requested(posterior).setdefault("why", {})[quantity] = made
    return made


def _check(record: Any) -> None:
    if record.target is None:
        remedy = "load it with er.load(path, program=model(data)), the data being those that were fitted"
        raise InferenceError(explain("why", "a posterior with its program and data", "one without", remedy))
    if record.settings.get("encoder"):
        remedy = "ask posterior.latent.score of rows"
        raise InferenceError(explain("why", "a model without an encoder", "one whose rows have one", remedy))
    if not record.observed_data:
        raise InferenceError(explain("why", "a model with outcomes", "none", "observe something"))


def _values(posterior: Any, record: Any, quantity: str) -> np.ndarray:
    """Draws of a quantity, in the order of the unconstrained ones."""
    names = posterior.summary().index
    if not isinstance(quantity, str) or quantity not in names:
        known = ", ".join(map(str, names[:5]))
        raise InferenceError(
            explain(
                "quantity", f"one of the summary's, such as {known}", repr(quantity)[:80], "correct the name"
            )
        )
    columns = np.concatenate(
        [np.asarray(record.values[name], float).reshape(len(record.z), -1) for name in record.values], axis=1
    )
    if columns.shape[1] != len(names):
        got = "one that was saved without the draws of some sites"
        raise InferenceError(explain("why", "a posterior with all of its draws", got, "save it with them"))
    found = columns[:, names.get_loc(quantity)]
    if not found.std() > 0:
        raise InferenceError(
            explain(f"quantity '{quantity}'", "one that varies", "a constant", "name another")
        )
    return found


def _below(posterior: Any, record: Any, name: str) -> bool:
    """Whether the law of a latent site depends on another."""
    latent = {s.name for s in record.sites if s.role == "latent"}
    return bool(set(posterior.program.graph(record.backend).parents(name)) & latent)


def _direction(z: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Covariance of the coordinates with a quantity, over its sd, shape ``(dim,)``."""
    apart = values - values.mean()
    return apart @ (z - z.mean(0)) / len(z) / values.std()


@dataclass(frozen=True, eq=False)
class _Mixed:
    """Mixed second differences along two directions, of all that a log density is a sum of, on average over draws."""

    target: Any
    z: np.ndarray
    one: np.ndarray
    other: np.ndarray

    def of(self, call: Any) -> Any:
        """Minus the difference of what a call gives at the four corners, over the square of the step."""
        signs = ((1, 1), (1, -1), (-1, 1), (-1, -1))
        corners = [(a * b, call(self.z + a * self.one + b * self.other)) for a, b in signs]
        names = corners[0][1]
        step = 4 * WHY_STEP**2
        return {name: -sum(sign * found[name].mean(0) for sign, found in corners) / step for name in names}

    def total(self) -> float:
        """Of the whole log density."""
        return float(self.of(lambda z: {"": self.target.value_and_grad(z)[0]})[""])

    def rows(self) -> dict[str, np.ndarray]:
        """Of each row, by outcome."""
        return {name: np.ravel(value) for name, value in self.of(self.target.per_row).items()}

    def sites(self, total: float) -> pd.Series:
        """Shares of the priors of latent sites."""
        known = {s.name for s in self.target.sites}
        found = {name: float(np.sum(value)) for name, value in self.of(self.target.terms).items()}
        if any(" × " in name for name in found):
            return pd.Series(dtype=float)
        shares = {name: found[name] + found.get(f"{JACOBIAN}{name}", 0.0) for name in found if name in known}
        return pd.Series({name: value / total for name, value in shares.items()}, dtype=float)


def _table(rows: dict[str, np.ndarray], total: float) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"outcome": name, "row": np.arange(len(share)), "share": share / total})
        for name, share in rows.items()
    ]
    return pd.concat(parts, ignore_index=True)


def _most(num_rows: int, num_draws: int) -> int:
    """Draws at which the density of each row is held at once."""
    return int(np.clip(WHY_VALUES // max(num_rows, 1), min(WHY_DRAWS, num_draws), num_draws))


def _pulls(target: Any, z: np.ndarray, values: np.ndarray, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    each = target.per_row(z)
    found = np.concatenate([each[name].reshape(len(z), -1) for name in names], axis=1)
    apart = (values - values.mean()) / values.std()
    products = apart[:, None] * (found - found.mean(0))
    return products.mean(0), products.std(0) / np.sqrt(len(z))


def _labels(record: Any, num_rows: int) -> dict[str, tuple[Any, np.ndarray]]:
    """Arguments with labels that run along the rows: levels and codes."""
    return {
        name: (leaf.labels, np.asarray(leaf.value))
        for name, leaf in record.program.leaves.items()
        if leaf.labels is not None and np.ndim(leaf.value) == 1 and len(leaf.value) <= num_rows
    }
