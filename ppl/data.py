"""Data arguments: what is traced, what is static, and which labels belong to which codes.

A model's arguments are flattened into labelled leaves. Numeric arrays and floats become traced arrays;
``int``, ``bool``, ``str``, ``None``, dates and anything else stay static. Strings and categories become
zero-based integer codes with their labels kept as coordinates; so do identifiers of groups, where the model asks
for their levels.
"""

from __future__ import annotations

import hashlib
import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from .columns import LARGEST, Column, array_column, as_label, column_of, is_instance, native, rows_of
from .errors import DataError, ShapeError, explain
from .host import check_file, check_values, holes, pieces
from .records import parts, rebuild, replaced
from .thresholds import FINGERPRINT_DIGITS, LABELS_SHOWN

__all__ = [
    "Argument",
    "Levels",
    "as_groups",
    "as_static",
    "check_file",
    "check_values",
    "contents",
    "convert",
    "encode",
    "fingerprint",
    "flatten",
    "holes",
    "pieces",
    "rebuild",
    "replaced",
]


@dataclass(frozen=True)
class Argument:
    """One leaf of a model's arguments.

    Attributes
    ----------
    value : numpy.ndarray or object
        Array of the data, or the static object.
    traced : bool
        Whether the leaf is an argument of compiled functions.
    labels : tuple or None
        Names of the codes, where the data were strings, categories or identifiers of groups.
    ordered : bool
        Whether the order of the labels was stated, and not found by sorting them.
    dims : dict
        Named axes that the container brought: dimension name to coordinate labels.
    index : pandas.Index or None
        Labels of the rows of a pandas container.
    float32 : bool
        Whether the data arrived in single precision.
    """

    value: Any
    traced: bool
    labels: tuple | None = None
    ordered: bool = False
    dims: Mapping[str, tuple] = field(default_factory=dict)
    index: Any = None
    float32: bool = False

    @cached_property
    def holes(self) -> np.ndarray | None:
        """Where numbers are missing, of the shape of the data; None where none is."""
        return holes(self.value)


def encode(
    column: Column, where: str, known: tuple | None = None, given: bool = False
) -> tuple[np.ndarray, tuple]:
    """Labels as codes: the one place where that happens.

    Parameters
    ----------
    column : Column
        Labels; with `known` also numbers, which are then the names of groups.
    where : str
        What messages call it.
    known : tuple of str, optional
        Labels that have codes already; new ones are appended after them.
    given : bool
        Whether numbers are names of groups without `known` too.

    Returns
    -------
    tuple
        Codes, int64, of the column's shape; and the labels, the code of each its place.

    Raises
    ------
    DataError
        Where a label is missing, or where strings are numbers that nobody called labels.

    Examples
    --------
    >>> encode(Column(np.array(["b", "a", "b"], object), "labels"), "argument 'group'")
    (array([1, 0, 1]), ('a', 'b'))
    >>> encode(Column(np.array([1000, 3000]), "numbers"), "argument 'id'", ("3000", "1000"))[0]
    array([1, 0])
    """
    flat = column.values.reshape(-1)
    missing = np.array([v is None or v != v for v in flat], dtype=bool)
    if missing.any():
        raise DataError(
            explain(
                where,
                "a label in every row",
                f"missing labels in rows {rows_of(missing.reshape(column.values.shape))}",
                "drop those rows or give the missing group a name of its own",
            )
        )
    names = [as_label(v) for v in flat.tolist()]
    stated = known is not None or given or column.categories is not None
    if not stated and all(_is_number(name) for name in names):
        raise DataError(
            explain(
                where,
                "numbers, or labels that are no numbers",
                f"strings that are all numbers, such as {names[:LABELS_SHOWN]}",
                "convert them with .astype(float), or to names of groups with .astype('category')",
            )
        )
    levels = list(known) if known is not None else list(column.categories or ())
    if len(set(levels)) < len(levels):
        twice = sorted({v for v in levels if levels.count(v) > 1})
        raise DataError(explain(where, "categories of different names", f"{twice} twice", "rename one"))
    new = set(names) - set(levels)
    levels += sorted(new, key=float) if given and column.kind == "numbers" else sorted(new)
    code = {level: i for i, level in enumerate(levels)}
    codes = np.array([code[name] for name in names], dtype=np.int64).reshape(column.values.shape)
    return codes, tuple(levels)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def as_groups(argument: Argument, label: str, known: tuple | None = None) -> Argument:
    """The same leaf, its whole numbers taken as names of groups.

    Parameters
    ----------
    argument : Argument
        Of whole numbers.
    label : str
        Its name, for messages.
    known : tuple of str, optional
        Labels that have codes already.
    """
    values = np.asarray(argument.value)
    codes, labels = encode(Column(values, "numbers"), f"argument '{label}'", known, given=True)
    return replace(argument, value=codes, labels=labels)


def convert(value: Any, label: str, known: tuple | None = None) -> Argument:
    """Turn one argument into a leaf.

    Parameters
    ----------
    value : object
        Scalar, list, array, column or table of NumPy, pandas, polars, Arrow, xarray or a backend, or any other
        object (kept static).
    label : str
        Name of the argument, for messages.
    known : tuple of str, optional
        Labels that have codes already: values are looked up among them, numbers too; new ones are appended.

    Returns
    -------
    Argument

    Raises
    ------
    DataError
        If the values are neither numbers, nor labels, nor dates; see `columns`.
    ShapeError
        For a ragged list.

    Examples
    --------
    >>> convert(["b", "a", "b"], "group").value
    array([1, 0, 1])
    >>> convert(3, "J").traced
    False
    """
    if known is not None and isinstance(value, (str, int, np.integer)) and not isinstance(value, bool):
        value = np.asarray(value, dtype=object)
    single = _single(value)
    if single is not None:
        return single
    value = native(np.asarray(value) if isinstance(value, (complex, np.complexfloating)) else value)
    if isinstance(value, np.memmap) and value.dtype.kind in "fiub":
        check_file(label, value)
        return Argument(value, True, float32=value.dtype == np.float32)
    if known is None and _settled(value):
        return Argument(value, True)
    return _contained(value, f"argument '{label}'", known)


def _single(value: Any) -> Argument | None:
    """The leaf of a single number, a string or nothing; None for anything else."""
    if value is None or isinstance(value, (bool, int, str, bytes, np.bool_, np.integer)):
        return Argument(value, traced=False)
    if isinstance(value, (float, np.floating)):
        return Argument(np.asarray(value, dtype=np.float64), traced=True)
    return None


def _contained(value: Any, where: str, known: tuple | None) -> Argument:
    """The leaf of a container; of any other object a static one."""
    column = contents(value, where)
    if column is None:
        return Argument(value, traced=False)
    dims, index = _axes_of(value)
    facts: dict[str, Any] = {
        "dims": dims,
        "index": index,
        "float32": "float32" in str(getattr(value, "dtype", "")),
    }
    if column.kind == "dates":
        return Argument(column.values, traced=False, **facts)
    if column.kind == "labels" or (known is not None and column.values.dtype.kind in "iuf"):
        codes, labels = encode(column, where, known)
        return Argument(codes, True, labels, column.ordered or known is not None, **facts)
    array = np.array(column.values)
    wide = {"i": np.int64, "u": np.int64, "f": np.float64}.get(array.dtype.kind)
    return Argument(array if wide is None else array.astype(wide, copy=False), traced=True, **facts)


def _axes_of(value) -> tuple[dict, Any]:
    """Named axes that a container brings, and the labels of its rows."""
    if is_instance(value, "xarray", "DataArray"):
        named = {str(d): value.coords[d].values.tolist() if d in value.coords else () for d in value.dims}
        return {d: tuple(labels) for d, labels in named.items()}, None
    if is_instance(value, "pandas", "Series", "DataFrame"):
        name = value.index.name
        return {} if name is None else {str(name): tuple(value.index.tolist())}, value.index
    return {}, None


def contents(value: Any, where: str) -> Column | None:
    """What a container holds, whatever library it comes from; None for an object that is none.

    Raises
    ------
    DataError, ShapeError
        See `convert`.
    """
    if is_instance(value, "torch", "Tensor"):
        value = value.detach().cpu()
        value = (value.float() if "bfloat16" in str(value.dtype) else value).numpy()
    if is_instance(value, "xarray", "DataArray"):
        value = value.values
    if is_instance(value, "pandas", "DataFrame") or is_instance(value, "narwhals", "DataFrame"):
        return _table(value, where)
    if isinstance(value, np.ma.MaskedArray):
        value = np.ma.filled(value.astype(float), np.nan) if np.ma.is_masked(value) else value.data
    if isinstance(value, (list, tuple)):
        return _list(value, where)
    if not hasattr(value, "__array__") and not is_instance(value, "narwhals", "Series"):
        return None
    return column_of(value, where)


def _table(table, where) -> Column:
    """A table as a matrix: all of it numbers, or all of it labels."""
    columns = {str(name): column_of(table[name], f"{where}, column '{name}'") for name in table.columns}
    kinds = {column.kind for column in columns.values()}
    if len(kinds) != 1 or any(column.categories for column in columns.values()) or "dates" in kinds:
        held = ", ".join(f"'{name}' of {column.kind}" for name, column in columns.items())
        raise DataError(
            explain(
                where,
                "a table that is one matrix of numbers",
                f"columns {held}",
                "pass the columns as arguments of their own, or as a dict of columns",
            )
        )
    return Column(np.column_stack([column.values for column in columns.values()]), kinds.pop())


def _list(value, where) -> Column | None:
    """A list of cells, or of lists of cells."""
    try:
        array = np.asarray(value)
        rounded = array.dtype.kind == "f" and array.size > 0 and (np.abs(array) >= LARGEST).any()
        if array.dtype.kind in "USO" or rounded:  # as they were: NumPy makes strings, or floats, of all
            array = np.asarray(value, dtype=object)
    except (ValueError, OverflowError) as error:
        raise ShapeError(
            explain(where, "rows of equal length", "a ragged list", "pad or split it")
        ) from error
    try:
        return array_column(array, where)
    except DataError:
        foreign = [v for v in array.reshape(-1) if not isinstance(v, (str, numbers.Number)) and v is not None]
        if foreign and all(hasattr(v, "__dict__") or isinstance(v, dict) or callable(v) for v in foreign):
            return None  # settings of the model, not data
        raise


def _settled(value) -> bool:
    """Whether an array can be written to from nowhere, and is as a model takes it: then it needs no private copy."""
    if type(value) is not np.ndarray or value.dtype not in (np.float64, np.int64, np.bool_):
        return False
    base: np.ndarray | None = value
    while type(base) is np.ndarray and not base.flags.writeable:
        base = base.base
    return base is None and value.flags.c_contiguous


def flatten(arguments: Mapping[str, Any], known: Mapping[str, tuple] | None = None) -> dict[str, Argument]:
    """Labelled leaves of a mapping of arguments; records are opened, see `parts`.

    Parameters
    ----------
    arguments : mapping
        Name to value.
    known : mapping of str to tuple, optional
        Labels of arguments that have codes already.

    Returns
    -------
    dict of str to Argument
        Items of records are called ``record.item``.

    Raises
    ------
    DataError, ShapeError
        See `convert`.
    """
    known = known or {}
    leaves: dict[str, Argument] = {}
    for name, value in arguments.items():
        opened = parts(value)
        if opened is not None:
            leaves.update(flatten({f"{name}.{key}": item for key, item in opened.items()}, known))
        else:
            leaves[name] = convert(value, name, known.get(name))
    return leaves


def as_static(argument: Argument) -> Argument:
    """The same leaf, handed to the model as a concrete array."""
    return replace(argument, traced=False)


def fingerprint(leaves: Mapping[str, Argument]) -> str:
    """Short hash of the data, the same for equal arrays and settings."""
    digest = hashlib.sha256()
    for label in sorted(leaves):
        leaf = leaves[label]
        digest.update(label.encode())
        if isinstance(leaf.value, np.ndarray):
            digest.update(str((leaf.value.dtype, leaf.value.shape)).encode())
            for piece in pieces(leaf.value):
                digest.update(np.ascontiguousarray(piece).tobytes())
        else:  # an object's address is none of its data: what a model reads of it is in the traced program
            words = repr(leaf.value)
            digest.update((type(leaf.value).__name__ if " at 0x" in words else words).encode())
    return digest.hexdigest()[:FINGERPRINT_DIGITS]


class Levels(int):
    """A number of groups that remembers their labels (see `elboroom.levels`).

    Attributes
    ----------
    labels : tuple or None
        Names of the groups, the code of each its place.

    Examples
    --------
    >>> Levels(2, ("a", "b")) + 1
    3
    """

    labels: tuple | None

    def __new__(cls, count: int, labels: tuple | None = None) -> Levels:
        self = super().__new__(cls, count)
        self.labels = labels
        return self
