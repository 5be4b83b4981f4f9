"""What a change of one argument does to expected outcomes, by the model: average predictive comparisons.

They are contrasts of predictions, all else as it was in each row. They are effects of an action only where the model is a causal one.

References
----------
Gelman & Pardoe (2007), Average predictive comparisons for models with nonlinearity, interactions, and variance components,
Sociological Methodology 37.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ..inference.evidence.finding import Finding
from ..inference.posterior.classes import MEASURES, bound, log_probs, num_classes, target_of
from ..inference.posterior.posterior import record_of, requested
from ..ppl.errors import DataError, InferenceError, explain
from .thresholds import EFFECT_DRAWS, EFFECT_VALUES, EXTRAPOLATED, OUTER_INTERVAL, SLIGHTLY_MORE

COLUMN = re.compile(r"(.+)\[(\d+)\]")


@dataclass(frozen=True, eq=False)
class Effects:
    """Contrasts of expected outcomes. Made by `elboroom.effects`.

    Attributes
    ----------
    name, outcome : str
        The argument that is changed, and what is expected.
    draws : pandas.DataFrame
        A column for each contrast, a row for each draw of the posterior.
    rows : pandas.DataFrame
        The mean of each row's own contrast over the posterior, in the same columns.
    outside : dict of str to float
        Share of rows that a contrast asks at values more than an sd beyond those of the data.
    """

    name: str
    outcome: str
    draws: pd.DataFrame = field(repr=False)
    rows: pd.DataFrame = field(repr=False)
    outside: dict[str, float] = field(default_factory=dict, repr=False)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """*caution* where a contrast is far outside of the data: the model's form says it, and no row."""
        return tuple(
            Finding("outside the data", f"{self.name}: {label}", share, EXTRAPOLATED, "caution",
                    f"{share:.0%} of rows are asked at values of '{self.name}' more than an sd beyond those of the data: what is said there "
                    "is the model's form. Ask for a smaller change.")
            for label, share in self.outside.items() if share > EXTRAPOLATED
        )  # fmt: skip

    def summary(self) -> pd.DataFrame:
        """A row for each contrast: ``mean``, ``sd``, ``q5`` and ``q95`` over the posterior, averaged over rows; and ``least`` and
        ``most``, the ends of 90% of the rows' own."""
        low, high = OUTER_INTERVAL
        return pd.DataFrame(
            {
                "mean": self.draws.mean(),
                "sd": self.draws.std(),
                "q5": self.draws.quantile(low),
                "q95": self.draws.quantile(high),
                "least": self.rows.quantile(low),
                "most": self.rows.quantile(high),
            }
        )

    def __repr__(self) -> str:
        title = f"Change of the expected '{self.outcome}' with '{self.name}', all else as it is"
        table = self.summary().to_string(float_format=lambda v: f"{v:.4g}")
        return "\n".join([title, table, *map(str, self.findings)])

    def _repr_html_(self) -> str:
        return self.summary().to_html(float_format=lambda v: f"{v:.4g}")


def effects(
    posterior: Any, name: str, change: Any = None, outcome: str | None = None, where: Any = None
) -> Effects:
    """How expected outcomes change with one argument of the model, all else in each row as it is.

    The posterior's report shows them.

    Parameters
    ----------
    posterior : Posterior
        With its program.
    name : str
        An argument with a value for each row; ``"x[2]"`` for a column of a matrix.
    change : float, pair, or sequence of labels, optional
        Of numbers: what is added, by default one sd of the data; a pair for all rows at the first against all at the second, by
        default where there are two values. Of labels: the level that others are compared with, and these; by default the most frequent one, and all others.
    outcome : str, optional
        May be left out where there is one alone.
    where : numpy.ndarray of bool, shape (N,), optional
        Rows that are averaged over; by default all.

    Returns
    -------
    Effects

    Raises
    ------
    DataError
        For an argument that rows have no values of, or a change that means nothing for it.
    InferenceError
        For a posterior without its program, or an outcome whose law knows no mean.

    Notes
    -----
    Of an outcome that is one of a few classes the contrasts are of its probabilities, a column for each class but of a binary one.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def line(x, y):
    ...     slope = er.sample("slope", er.Normal(0, 5))
    ...     with er.plate("row", len(x)):
    ...         er.observe("y", er.Normal(slope * x, 0.1), y)
    >>> posterior = er.fit(line(x=[0.0, 1.0, 2.0], y=[0.0, 2.0, 4.0]), progress=False)
    >>> float(er.effects(posterior, "x", change=10.0).summary()["mean"].iloc[0].round(1))
    20.0
    """
    record = record_of(posterior)
    record.needs_program("effects")
    if record.settings.get("encoder"):
        want, remedy = "a model without an encoder", "compare posterior.latent.decode at two points"
        raise InferenceError(explain("effects", want, "one whose rows have one", remedy))
    site = _outcome(record, outcome)
    draws, rows, outside = {}, {}, {}
    cache: dict[str, dict[str, np.ndarray]] = {}
    for label, before, after, far in _contrasts(record, name, change):
        low, high = (_expected(record, site, argument, values, cache) for argument, values in (before, after))
        count = next(iter(low.values())).shape[1]
        some = np.ones(count, bool) if where is None else _some(where, count)
        outside[label] = float((far[some] if len(far) == count else far).mean())
        for part in low:
            own = (high[part] - low[part])[:, some]
            draws[f"{label}{part}"], rows[f"{label}{part}"] = own.mean(1), own.mean(0)
    made = Effects(name, site.name, pd.DataFrame(draws), pd.DataFrame(rows), outside)
    requested(posterior).setdefault("effects", {})[(name, site.name)] = made
    return made


def _outcome(record: Any, name: str | None) -> Any:
    known = record.observed
    if name is None and len(known) == 1:
        return next(iter(known.values()))
    if name not in known:
        got = "none given" if name is None else repr(name)[:80]
        raise DataError(explain("outcome of effects", f"one of {sorted(known)}", got, "name it"))
    return known[name]


Side = tuple[str, np.ndarray]
Contrast = tuple[str, Side, Side, np.ndarray]


def _contrasts(record: Any, name: str, change: Any) -> Iterator[Contrast]:
    """Words of each contrast, the argument with its values before and after, and which of these are far from all of the data."""
    match = COLUMN.fullmatch(name) if isinstance(name, str) else None
    argument, column = (match[1], int(match[2])) if match else (name, None)
    outcomes = {s.argument for s in record.observed.values()}
    known = [k for k, v in record.program.data_leaves.items() if np.ndim(v.value) and k not in outcomes]
    leaf = record.program.leaves.get(argument)
    if leaf is None or argument not in known:
        raise DataError(
            explain(
                "effects", f"an argument with a value for each row, of {known}", repr(name)[:80], "name one"
            )
        )
    values = np.asarray(leaf.value)
    if column is not None and (values.ndim != 2 or column >= values.shape[1]):
        raise DataError(
            explain(f"column '{name}'", f"one of a matrix {values.shape}", "none there", "correct it")
        )
    if values.ndim == 2 and column is None:
        remedy = f"name one, such as '{name}[0]'"
        raise DataError(explain(f"argument '{name}'", "a column", f"{values.shape[1]} of them", remedy))
    if leaf.labels is not None:
        yield from _of_labels(argument, values, leaf.labels, change)
    else:
        yield from _of_numbers(argument, values, column, change)


def _of_labels(name: str, codes: np.ndarray, labels: tuple, change: Any) -> Iterator[Contrast]:
    often = labels[int(np.bincount(codes[codes >= 0].ravel(), minlength=len(labels)).argmax())]
    chosen = (
        (often, *(label for label in labels if label != often))
        if change is None
        else tuple(np.ravel(change).tolist())
    )
    unknown = [label for label in chosen if label not in labels]
    if unknown or len(set(chosen)) < max(len(chosen), 2):
        remedy = "give the level to compare with, and those that are compared"
        raise DataError(
            explain(
                f"change of '{name}'", f"two or more of {list(labels)[:8]}", f"{list(chosen)[:8]}", remedy
            )
        )
    base = _all(codes, labels.index(chosen[0]))
    for label in chosen[1:]:
        sides = (name, base), (name, _all(codes, labels.index(label)))
        yield f"{label} against {chosen[0]}", *sides, np.zeros(len(codes), bool)


def _all(values: np.ndarray, code: Any) -> np.ndarray:
    return np.full_like(values, code)


def _of_numbers(name: str, values: np.ndarray, column: int | None, change: Any) -> Iterator[Contrast]:
    own = np.asarray(values if column is None else values[:, column], float)
    known, sd = np.unique(own[np.isfinite(own)]), float(np.nanstd(own))
    if change is None:
        change = tuple(known) if len(known) == 2 else sd
    try:
        ends = np.asarray(change, float)
    except (TypeError, ValueError):
        ends = np.empty(3)
    if ends.shape not in ((), (2,)) or not np.isfinite(ends).all():
        want = "a number to add, or a pair to compare"
        raise DataError(explain(f"change of '{name}'", want, repr(change)[:80], "correct it"))
    if ends.ndim:
        sides, words = (
            (np.full_like(own, ends[0]), np.full_like(own, ends[1])),
            f"{ends[1]:g} against {ends[0]:g}",
        )
    else:
        sides, words = (own, own + ends), f"{ends:+.4g}"
    before, after = (_with_column(values, column, side) for side in sides)
    least, most = known[0] - SLIGHTLY_MORE * sd, known[-1] + SLIGHTLY_MORE * sd
    far = np.any([(side < least) | (side > most) for side in sides], axis=0)
    yield words, (name, before), (name, after), far


def _with_column(values: np.ndarray, column: int | None, own: np.ndarray) -> np.ndarray:
    """The argument with other numbers, whole ones where it had whole ones: they may be codes."""
    whole = values.dtype.kind in "iub" and bool((own == np.round(own)).all())
    changed = values.astype(np.int64 if whole else float)
    changed[... if column is None else (slice(None), column)] = own
    return changed


def _expected(
    record: Any, site: Any, argument: str, values: np.ndarray, cache: dict[str, dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Expected outcomes ``(S, N)`` with other values of an argument, by class where there are several."""
    key = values.tobytes().hex()
    if key not in cache:
        leaf = record.program.leaves[argument]
        given = values if leaf.labels is None else np.asarray(leaf.labels, object)[values]
        target = target_of(record, bound(record, {argument: given}), "effects")
        cache[key] = _means(record, target, site)
    return cache[key]


def _means(record: Any, target: Any, site: Any) -> dict[str, np.ndarray]:
    count = max(int(np.prod(site.shape, dtype=int)), 1)
    most = int(np.clip(EFFECT_VALUES // count, min(50, len(record.z)), min(EFFECT_DRAWS, len(record.z))))
    chosen = np.unique(np.linspace(0, len(record.z) - 1, most).astype(int))
    z = target.unconstrain({s.name: np.asarray(record.values[s.name])[chosen] for s in target.sites})
    if site.measure in MEASURES and num_classes(site) > 2:
        return {f", class {k}": _probability(target, z, site, k) for k in range(num_classes(site))}
    found = target.expected(z)
    if site.name not in found:
        remedy = "compare draws of posterior.predict with other values"
        raise InferenceError(
            explain(f"outcome '{site.name}'", "a law that knows its mean", "one that does not", remedy)
        )
    return {"": found[site.name].reshape(len(z), -1)}


def _probability(target: Any, z: np.ndarray, site: Any, k: int) -> np.ndarray:
    return np.exp(log_probs(target, z, site, np.full(site.shape, k)))


def _some(where: Any, count: int) -> np.ndarray:
    rows = np.asarray(where)
    if rows.dtype != bool or rows.shape != (count,) or not rows.any():
        got = f"{rows.dtype} of shape {rows.shape}"
        raise DataError(
            explain("where", f"{count} of True and False, one of them True", got, "pass a mask of the rows")
        )
    return rows
