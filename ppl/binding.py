"""What can be wrong where a model meets its data, and in whose words it is said."""

from __future__ import annotations

import linecache
import re
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from itertools import combinations

import numpy as np

from .columns import is_instance, no_dates, rows_of
from .data import Argument, as_groups
from .errors import DataError, ElboroomError, ModelError, UnsupportedError, explain
from .rows import alignment, sizes_of

# -- rows that belong together -------------------------------------------------------------------------


def check_order(leaves: Mapping[str, Argument]) -> None:
    """Refuse two containers whose rows have the same labels in another order: they would be paired by position.

    Raises
    ------
    DataError
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
                    f"{values[:5].tolist()}, which can be both ({plate} has the labels {list(names)[:5]})",
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
    """Codes of the arguments that came as labels, but for outcomes."""
    leaves = program.leaves.items()
    return {k: v.value for k, v in leaves if v.labels is not None and k not in outcomes}


def check_codes(program, problems) -> None:
    """Refuse labels that a model computes with: their codes are positions, not numbers.

    Parameters
    ----------
    problems : iterable of (str, str)
        Argument, and the backend's name of the operation.

    Raises
    ------
    DataError
    """
    for label, operation in problems:
        leaf = program.leaves[label]
        names = [leaf.labels[code] for code in np.asarray(leaf.value).reshape(-1)]
        odd = np.array([not _parses(name) for name in names]).reshape(np.shape(leaf.value))
        word = _OPERATIONS.get(operation, operation.replace("_", " "))
        if odd.mean() < 0.5:
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
                f"labels such as {list(leaf.labels)[:3]} in a {word}",
                remedy,
            )
        )


def _parses(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# -- errors of others ----------------------------------------------------------------------------------

_FOREIGN = (
    (r"(\w+)\(\).*must be Tensor, not .*Tracer", "PyTorch"),
    (r"<function (\w+) at .*torch\.Tensor", "JAX"),
    (r"torch\.Tensor.* not a valid JAX type()", "JAX"),
    (r"unsupported operand type.*numpy\.ndarray.*Tensor()", "NumPy"),
    (r"not supported between instances of 'numpy\.ndarray' and 'Tensor'()", "NumPy"),
    (r"Can't call numpy\(\) on Tensor()", "NumPy"),
    (r"__array__\(\) was called on traced array()", "NumPy"),
    (r"took numbers out of a latent tensor()", "Python or NumPy"),
)
"""What libraries say of a function of one that meets an array of another: pattern of its name, library."""
_OWN = {"numpyro": ("jax.numpy", "jax.numpy.asarray"), "pyro": ("PyTorch", "torch.as_tensor")}
"""What a model of another language computes with, and makes its constants with."""
_NO_INDEX = r"Indexer must have integer|arrays used as indices must be|boolean indices must be|tensors used as indices must be"
_COLUMN = (
    r"string index|invalid data type 'str'|only integers, slices|has no attribute|indices must be integers"
)
_DATES = r"datetime64|timedelta64|as an abstract array|Can't call numpy\(\) on Tensor|out of a latent tensor"
_NUMBER = r"Abstract tracer value encountered|integer scalar arrays can be converted|only integer tensors of a single"
_DECIDES = r"boolean conversion of traced array|truth value of an array|boolean value of Tensor"


_CARRY = r"carry|branch|must have (equal|identical) types|mismatching dtypes"


def mixes_precisions(error: Exception) -> bool:
    """Whether a loop's types disagree, as those of 32 and 64 bits do that were written for a default of 32."""
    text = str(error)
    return isinstance(error, TypeError) and "32" in text and "64" in text and bool(re.search(_CARRY, text))


def translated(program, backend: str, engine, error: Exception) -> ElboroomError | None:
    """The error of a model's own code in four parts, or None where it is the model's own affair."""
    text = str(error)
    where = f"model '{program.name}' on {backend}{_line(program, error)}"
    own, make = _OWN.get(program.model.language, ("er.math", "er.math.asarray"))
    mistyped = isinstance(error, TypeError)
    return (
        _arguments_of_words(where, text)
        or (_decision(where, own) if mistyped and re.search(_DECIDES, text) else None)
        or (_python_number(where, own) if mistyped and re.search(_NUMBER, text) else None)
        or (_no_index(program, engine) if re.search(_NO_INDEX, text) else None)
        or (_dates(program, engine) if re.search(_DATES, text) else None)
        or (_no_numbers(program, text) if mistyped else None)
        or (_table_column(program, where) if re.search(_COLUMN, text) else None)
        or _foreign_operation(where, text, own, make)
    )


def _decision(where: str, own: str) -> UnsupportedError:
    """The error of a model whose course depends on a latent quantity."""
    return UnsupportedError(
        explain(
            where,
            "a model whose course does not depend on a latent quantity",
            "a Python 'if', 'while' or 'and' on one",
            f"use {'torch' if own == 'PyTorch' else own}.where(condition, a, b)",
        )
    )


def _python_number(where: str, own: str) -> UnsupportedError:
    """The error of a model that takes a number out of a latent quantity."""
    return UnsupportedError(
        explain(
            where,
            "a model that takes no Python number out of a latent quantity",
            "int(), float(), range(), an index of a list or a function of math on one",
            f"compute with the functions of {own}",
        )
    )


def _line(program, error) -> str:
    """The line of the model that an error comes from, in words."""
    code = getattr(program.model.fn, "__code__", None)
    for frame, number in reversed(list(traceback.walk_tb(error.__traceback__))):
        if frame.f_code is code:
            text = linecache.getline(code.co_filename, number).strip()
            return f", line {number}" + (f" ({text})" if text else "")
    return ""


def _arguments_of_words(where, text) -> ModelError | None:
    """A wrong argument of a distribution or of a word."""
    from . import distributions

    found = re.search(r"(\w+)(\.__init__)?\(\) (got an unexpected keyword argument '(\w+)'|missing .*)", text)
    if found is None:
        return None
    name, _, problem, argument = found.groups()
    law = getattr(distributions, name, None)
    if law is not None and hasattr(law, "__dataclass_fields__"):
        known = [f.name for f in fields(law) if f.init]
        got = f"'{argument}'" if argument else problem
        return ModelError(explain(where, f"er.{name}({', '.join(known)})", got, "correct the arguments"))
    if name in {"sample", "observe"} and argument in {"obs", "observed", "data"}:
        got, remedy = f"er.{name}(…, {argument}=…)", "declare data with er.observe(name, law, data)"
        return ModelError(explain(where, "er.sample for latent quantities", got, remedy))
    return None


def _no_index(program, engine) -> DataError:
    """Which argument of floats or booleans is used as an index: the one that would do as whole numbers."""
    for label, leaf in program.leaves.items():
        value = leaf.value
        candidate = isinstance(value, np.ndarray) and value.dtype.kind in "fb" and value.ndim
        if candidate and _would_do(program, engine, label, leaf):
            return DataError(_groups_expected(f"index argument '{label}'", value))
    return DataError(_groups_expected("an index", np.zeros(0)))


def _groups_expected(where: str, value: np.ndarray) -> str:
    missing = np.isnan(value)
    broken = value != np.round(value) if value.dtype.kind == "f" else missing
    got = (
        f"missing values in rows {rows_of(missing)}"
        if missing.any()
        else f"{value[broken][:3].tolist()} in rows {rows_of(broken)}"
        if broken.any()
        else f"values of type {value.dtype}"
    )
    remedy = "drop or name rows without a group, then convert with .astype(int) or .astype('category')"
    return explain(where, "groups: strings, a category or zero-based whole numbers", got, remedy)


def _would_do(program, engine, label, leaf) -> bool:
    trial = program._copy()
    whole = replace(leaf, value=np.zeros(leaf.value.shape, dtype=np.int64), traced=True)
    trial.leaves = {**program.leaves, label: whole}
    try:
        engine.trace(trial)
    except Exception:  # noqa: BLE001  whatever else is wrong comes again
        return False
    return True


def _dates(program, engine) -> DataError | None:
    """The error of dates that a model computes with."""
    for label, leaf in program.leaves.items():
        if isinstance(leaf.value, np.ndarray) and leaf.value.dtype.kind == "M":
            if _would_do(program, engine, label, leaf):
                return DataError(no_dates(f"argument '{label}'", label))
    return None


def _no_numbers(program, text) -> DataError | None:
    """The error of an argument that holds no numbers, where a model computes with it."""
    held = {label: leaf.value for label, leaf in program.leaves.items() if not leaf.traced}
    held |= {label: value for label, value in program.arguments.items() if isinstance(value, Mapping)}
    for label, value in held.items():
        kind = type(value).__name__
        if value is not None and re.search(rf"\b{re.escape(kind)}\b", text):
            want = "numbers where a model computes with them"
            return DataError(
                explain(f"argument '{label}'", want, f"a {kind}", "pass an array, a list or a column")
            )
    return None


def _table_column(program, where) -> ModelError | None:
    tables = [
        k
        for k, v in program.arguments.items()
        if is_instance(v, "pandas", "DataFrame")
        or is_instance(v, "polars", "DataFrame")
        or is_instance(v, "pyarrow", "Table")
    ]
    if not tables:
        return None
    name = tables[0]
    return ModelError(
        explain(
            f"argument '{name}'",
            "a table that the model uses as one matrix of numbers",
            f"a column taken out of it in {where}",
            f"pass the columns as arguments of their own, or {name}=dict({name}) for a mapping of columns",
        )
    )


def _foreign_operation(where: str, text: str, own: str, make: str) -> UnsupportedError | None:
    """The error of an operation that belongs to another library."""
    from . import math

    for pattern, library in _FOREIGN:
        found = re.search(pattern, text, re.DOTALL)
        if found is None:
            continue
        name = found[1]
        known = own == "er.math" and name and hasattr(math, name)
        word = f"er.math.{name}" if known else f"the words of {own}"
        got = (
            f"{library}'s {name}" if name else f"a function or an array of {library} beside a latent quantity"
        )
        remedy = f"use {word}" + (f"; {make} for constants" if "NumPy" in library else "")
        return UnsupportedError(explain(where, f"operations of {own}", got, remedy))
    return None
