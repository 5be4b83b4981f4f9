"""What can be wrong where a model meets its data, and in whose words it is said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

import numpy as np

from .columns import rows_of
from .data import Argument, as_groups, check_values
from .errors import DataError, ModelError, explain
from .rows import alignment, sizes_of
from .sites import ModelTrace
from .thresholds import GAPS_SHOWN, LABELS_SHOWN, MOSTLY_LABELS, ROWS_SHOWN

# -- rows that belong together -------------------------------------------------------------------------


def check_order(leaves: Mapping[str, Argument]) -> None:
    """Refuse two containers whose rows have the same labels in another order: they would be paired by position.

    Parameters
    ----------
    leaves : mapping of str to Argument
        The arguments by label.

    Raises
    ------
    DataError
        Naming the first row that differs.
    """
    for first, other, one, two in _labelled_axes(leaves):
        if len(one) == len(two) and list(one) != list(two) and _sorted(one) == _sorted(two):
            row = next(i for i, (a, b) in enumerate(zip(one, two, strict=True)) if a != b)
            raise DataError(
                explain(
                    f"arguments '{first}' and '{other}'",
                    "rows in one order",
                    f"the same row labels in another order, first in row {row}: {one[row]} and {two[row]}",
                    "align them (y = y.loc[x.index]), or pass arrays where the order is right",
                )
            )


def unlike_rows(leaves: Mapping[str, Argument]) -> list[tuple[str, str]]:
    """Pairs of pandas arguments of one length whose rows have other labels."""
    pairs = combinations([(k, v.index) for k, v in leaves.items() if v.index is not None], 2)
    return [(a, b) for (a, one), (b, two) in pairs if len(one) == len(two) and not one.equals(two)]


def _labelled_axes(leaves) -> Iterator[tuple]:
    pandas = [(label, leaf.index) for label, leaf in leaves.items() if leaf.index is not None]
    for (first, one), (other, two) in combinations(pandas, 2):
        if len(one) == len(two) and not one.equals(two):
            yield first, other, one.tolist(), two.tolist()
    named = [(label, leaf.dims) for label, leaf in leaves.items() if leaf.dims and leaf.index is None]
    for (first, left), (other, right) in combinations(named, 2):
        for dim in left.keys() & right.keys():
            yield first, other, left[dim], right[dim]


def _sorted(labels) -> list:
    return sorted(labels, key=lambda v: (type(v).__name__, str(v)))


# -- identifiers of groups -----------------------------------------------------------------------------


def groups_by_coords(program, trace, access) -> Mapping[str, Argument]:
    """Arguments whose whole numbers are labels of the plate that they index, as codes.

    Parameters
    ----------
    program : Program
        Whose arguments are looked at.
    trace : ModelTrace
        Its sites, with the labels of plates.
    access : mapping
        What reaches each part of each site, see `Access`.

    Returns
    -------
    mapping of str to Argument
        Those that change.

    Raises
    ------
    DataError
        Where they could be labels and positions both.
    """
    found: dict[str, Argument] = {}
    sizes = sizes_of(trace)
    for label, plate in alignment(trace, access, sizes)[1].items():
        leaf, names = program.leaves[label], trace.coords.get(plate, ())
        whole = all(isinstance(v, (int, np.integer)) and not isinstance(v, bool) for v in names)
        if leaf.labels is not None or label in program.level_counts or not whole or not len(names):
            continue
        values = np.unique(np.asarray(leaf.value))
        if list(names) == list(range(len(names))) or values.dtype.kind not in "iu":
            continue
        if not np.isin(values, np.asarray(names)).all():
            continue
        if values.min() >= 0 and values.max() < len(names):
            raise DataError(
                explain(
                    f"argument '{label}'",
                    f"positions in plate '{plate}', or its labels",
                    f"{values[:ROWS_SHOWN].tolist()}, which can be both ({plate} has the labels {list(names)[:ROWS_SHOWN]})",
                    f"give labels as strings or a category, with er.levels({label}) as the plate's size",
                )
            )
        found[label] = as_groups(leaf, label, tuple(str(v) for v in names))
    return found


# -- labels in arithmetic ------------------------------------------------------------------------------

_OPERATIONS = {
    "mul": "multiplication",
    "add": "addition",
    "add_any": "addition",
    "sub": "subtraction",
    "rsub": "subtraction",
    "div": "division",
    "dot_general": "matrix product",
    "mm": "matrix product",
    "mv": "matrix product",
    "bmm": "matrix product",
    "dot": "matrix product",
    "pow": "power",
    "integer_pow": "power",
    "exp": "exponential",
    "log": "logarithm",
    "lt": "comparison",
    "le": "comparison",
    "gt": "comparison",
    "ge": "comparison",
    "reduce_sum": "sum",
    "sum": "sum",
    "mean": "mean",
}
"""What the backends' operations are called in messages."""


def labelled(program, outcomes) -> dict[str, np.ndarray]:
    """Codes of the arguments that came as labels, but for outcomes.

    Parameters
    ----------
    program : Program
        Whose arguments are looked at.
    outcomes : set of str
        Arguments that hold values of observed sites.
    """
    leaves = program.leaves.items()
    return {k: v.value for k, v in leaves if v.labels is not None and k not in outcomes}


def check_codes(program, problems) -> None:
    """Refuse labels that a model computes with: their codes are positions, not numbers.

    Parameters
    ----------
    program : Program
        Whose arguments they are.
    problems : iterable of (str, str)
        Argument, and the backend's name of the operation.

    Raises
    ------
    DataError
        Naming the argument, the operation and what to do.
    """
    for label, operation in problems:
        leaf = program.leaves[label]
        names = [leaf.labels[code] for code in np.asarray(leaf.value).reshape(-1)]
        odd = np.array([not _parses(name) for name in names]).reshape(np.shape(leaf.value))
        word = _OPERATIONS.get(operation, operation.replace("_", " "))
        if odd.mean() < MOSTLY_LABELS:
            culprit = names[int(np.flatnonzero(odd)[0])] if odd.any() else ""
            remedy = (
                f"'{culprit}' in rows {rows_of(odd)} is no number: correct or drop it, then .astype(float)"
                if odd.any()
                else "convert it with .astype(float), or drop the category"
            )
        else:
            remedy = (
                f"index effects with it (effect[{label}]), or pass a number such as {label} == {names[0]!r}"
            )
        raise DataError(
            explain(
                f"argument '{label}'",
                "numbers where a model computes with them",
                f"labels such as {list(leaf.labels)[:LABELS_SHOWN]} in a {word}",
                remedy,
            )
        )


def _parses(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# -- names, gaps and indices ----------------------------------------------------------------------------


def check_names(program, trace: ModelTrace) -> None:
    """Refuse names of axes for sites that the model does not have.

    Raises
    ------
    ModelError
    """
    names = {site.name for site in trace.sites}
    for given in program.dims:
        if given not in names:
            raise ModelError(
                explain("dims", f"names of sites ({sorted(names)})", f"'{given}'", "correct the name")
            )


def check_gaps(program, label: str, values: np.ndarray) -> None:
    """Refuse missing values that the model does not deal with.

    Raises
    ------
    DataError
        Naming the rows.
    """
    if program.masks is None:
        check_values(label, values)
    elif not program.masks.sound:
        raise DataError(
            explain(
                f"argument '{label}'",
                "a log density that is finite with its derivatives",
                f"missing values in rows {rows_of(np.isnan(values), GAPS_SHOWN)}, which make it NaN",
                "drop those rows, or take them out of the density with handlers.mask or obs_mask",
            )
        )


def check_indices(problems) -> None:
    """Refuse index arrays that reach outside the axis that they index.

    Parameters
    ----------
    problems : iterable of IndexProblem
        What the backend has found.

    Raises
    ------
    DataError
        Naming the argument, its values and their rows.
    """
    for problem in problems:
        hint = (
            "the codes look one-based: subtract 1"
            if problem.one_based
            else "use zero-based codes below the size of the axis"
        )
        raise DataError(
            explain(
                f"index argument '{problem.label}'",
                f"codes from 0 to {problem.size - 1}",
                f"{list(problem.values)[:ROWS_SHOWN]} in rows {list(problem.rows)[:ROWS_SHOWN]}",
                hint,
            )
        )
