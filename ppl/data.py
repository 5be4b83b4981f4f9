"""Data arguments: what is traced, what is static, and which labels belong to which codes.

A model's arguments are flattened into labelled leaves. Numeric arrays and floats become traced arrays;
``int``, ``bool``, ``str``, ``None`` and anything else stay static. Strings and pandas categories become
zero-based integer codes with their labels kept as coordinates.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .errors import DataError, ShapeError, explain

BLOCK = 2**22  # values of a memory map that are read at once


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
        Names of the codes, where the data were strings or categories.
    dims : dict
        Named axes that the container brought: dimension name to coordinate labels.
    float32 : bool
        Whether the data arrived in single precision.
    """

    value: Any
    traced: bool
    labels: tuple | None = None
    dims: Mapping[str, tuple] = field(default_factory=dict)
    float32: bool = False


def _is_instance(value, module: str, name: str) -> bool:
    """Whether `value` is of a class of a library that may not even be imported."""
    library = sys.modules.get(module)
    return library is not None and isinstance(value, getattr(library, name))


def _encode(values: np.ndarray, label: str, known: tuple | None) -> tuple[np.ndarray, tuple]:
    import pandas as pd

    missing = pd.isna(values)
    if missing.any():
        rows = np.flatnonzero(missing)
        raise DataError(
            explain(
                f"argument '{label}'",
                "a label in every row",
                f"missing labels in rows {rows[:5].tolist()}{'…' if rows.size > 5 else ''}",
                "drop those rows or give the missing group a name of its own",
            )
        )
    levels = list(known) if known is not None else []
    seen = set(levels)
    for value in sorted({str(v) for v in values.ravel()} - {str(v) for v in seen}):
        levels.append(value)
    lookup = {str(level): code for code, level in enumerate(levels)}
    codes = np.array([lookup[str(v)] for v in values.ravel()], dtype=np.int64).reshape(values.shape)
    return codes, tuple(levels)


def _numbers(table):
    """A pandas column or table as an array, its own missing values as NaN."""
    kinds = table.dtypes if hasattr(table, "columns") else [table.dtype]
    nullable = any(type(kind).__module__.startswith("pandas.core.arrays") for kind in kinds)
    numeric = all(getattr(kind, "kind", "O") in "iufb" for kind in kinds)
    if nullable and numeric and np.any(table.isna()):
        return table.to_numpy(dtype=float, na_value=np.nan)
    return table.to_numpy()


def convert(value: Any, label: str, known: tuple | None = None) -> Argument:
    """Turn one argument into a leaf.

    Parameters
    ----------
    value : object
        Scalar, list, NumPy, pandas, xarray or backend array, or any other object (kept static).
    label : str
        Name of the argument, for messages.
    known : tuple, optional
        Labels seen before; new ones are appended after them.

    Returns
    -------
    Argument

    Raises
    ------
    DataError
        If a table or list cannot be read as numbers or as labels.

    Examples
    --------
    >>> convert(["b", "a", "b"], "group").value
    array([1, 0, 1])
    >>> convert(3, "J").traced
    False
    """
    if value is None or isinstance(value, (bool, int, str, bytes, np.bool_, np.integer)):
        return Argument(value, traced=False)
    if isinstance(value, (float, np.floating)):
        return Argument(np.asarray(value, dtype=np.float64), traced=True)
    dims: dict[str, tuple] = {}
    if _is_instance(value, "torch", "Tensor"):
        value = value.detach().cpu().numpy()
    if _is_instance(value, "xarray", "DataArray"):
        dims = {
            str(d): tuple(value.coords[d].values.tolist()) if d in value.coords else () for d in value.dims
        }
        value = value.values
    elif _is_instance(value, "pandas", "Series") or _is_instance(value, "pandas", "DataFrame"):
        if value.index.name is not None:
            dims = {str(value.index.name): tuple(value.index.tolist())}
        if _is_instance(value, "pandas", "Series") and hasattr(value, "cat") and known is None:
            known = tuple(value.cat.categories.tolist())
            if all(isinstance(k, (int, np.integer)) for k in known):
                known = tuple(str(k) for k in known)
            codes, labels = _encode(np.asarray(value.astype(object)), label, tuple(known))
            return Argument(codes, traced=True, labels=labels, dims=dims)
        value = _numbers(value)
    elif isinstance(value, np.ma.MaskedArray):
        value = value.astype(float).filled(np.nan) if np.ma.is_masked(value) else value.data
    elif _is_instance(value, "pandas", "Categorical") or _is_instance(value, "pandas", "Index"):
        value = np.asarray(value)
    elif isinstance(value, (list, tuple)):
        try:
            value = np.asarray(value)
        except ValueError as error:
            raise ShapeError(
                explain(f"argument '{label}'", "rows of equal length", "a ragged list", "pad or split it")
            ) from error
        if value.dtype == object and not all(isinstance(v, str) for v in value.ravel()):
            try:
                value = value.astype(np.float64)
            except (TypeError, ValueError):
                return Argument(value.tolist(), traced=False)
    elif not hasattr(value, "__array__"):
        return Argument(value, traced=False)
    single = "float32" in str(getattr(value, "dtype", ""))
    if isinstance(value, np.memmap) and value.dtype.kind in "fiub":
        check_file(label, value)
        return Argument(value, traced=True, dims=dims, float32=single)
    if _settled(value):
        return Argument(value, traced=True, dims=dims, float32=single)
    array = np.array(value)
    if array.dtype.kind in "US" or (
        array.dtype == object and all(isinstance(v, str) or v is None for v in array.ravel())
    ):
        codes, labels = _encode(array.astype(object), label, known)
        return Argument(codes, traced=True, labels=labels, dims=dims)
    if array.dtype == object or array.dtype.kind in "mM":
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(
                explain(
                    f"argument '{label}'",
                    "numbers or labels",
                    f"values such as {array.ravel()[:2].tolist()!r}",
                    "convert the column to numbers or strings",
                )
            ) from error
    if array.dtype.kind in "iu":
        array = array.astype(np.int64, copy=False)
    elif array.dtype.kind == "f":
        array = array.astype(np.float64, copy=False)
    return Argument(array, traced=array.dtype.kind in "fiubc", dims=dims, float32=single)


def _settled(value) -> bool:
    """Whether an array can be written to from nowhere, and is as a model takes it: then it needs no private copy."""
    if type(value) is not np.ndarray or value.dtype not in (np.float64, np.int64, np.bool_):
        return False
    base = value
    while type(base) is np.ndarray and not base.flags.writeable:
        base = base.base
    return base is None and value.flags.c_contiguous


def check_file(label: str, array: np.memmap) -> None:
    """Refuse a memory map whose file has become shorter than it: to read it would end the process.

    Raises
    ------
    DataError
    """
    base = array
    while isinstance(base.base, np.memmap):  # the map that others are parts of
        base = base.base
    if base.filename is None or not os.path.exists(base.filename):
        return
    expected, found = base.offset + base.nbytes, os.path.getsize(base.filename)
    if found < expected:
        raise DataError(
            explain(
                f"argument '{label}'",
                f"a memory map of {expected} bytes",
                f"a file of {found} bytes",
                "write the file anew, or map what is there",
            )
        )


def pieces(array: np.ndarray) -> Iterator[np.ndarray]:
    """An array in blocks of rows: of a memory map no more than one is in memory."""
    rows = max(1, BLOCK // max(1, array[:1].size)) if array.ndim else 1
    return (
        (array[begin : begin + rows] for begin in range(0, len(array), rows)) if array.ndim else iter([array])
    )


def holes(value: Any) -> np.ndarray | None:
    """Where values of a float array are missing (NaN); None where none is, as in every memory map."""
    if not isinstance(value, np.ndarray) or isinstance(value, np.memmap) or value.dtype.kind != "f":
        return None
    missing = np.isnan(value)
    return missing if missing.any() else None


def check_values(label: str, array: np.ndarray, missing: bool = False) -> None:
    """Refuse empty and non-finite data; NaN passes where `missing` values are allowed.

    Raises
    ------
    DataError
        Naming the rows.
    """
    if array.ndim and array.size == 0:
        raise DataError(
            explain(
                f"argument '{label}'", "at least one row", f"an array of shape {array.shape}", "give data"
            )
        )
    if isinstance(array, np.memmap):
        for piece in pieces(array):
            check_values(label, np.asarray(piece))
        return
    wrong = np.isinf(array) if missing else ~np.isfinite(array) if array.dtype.kind == "f" else np.zeros(0)
    if wrong.any():
        bad = np.argwhere(wrong)
        rows = sorted({int(b[0]) if len(b) else 0 for b in bad})
        values = array[tuple(bad[:3].T)] if array.ndim else array
        raise DataError(
            explain(
                f"argument '{label}'",
                "finite numbers",
                f"{np.asarray(values).tolist()} in rows {rows[:8]}{'…' if len(rows) > 8 else ''} "
                f"({len(bad)} values in all)",
                "drop or fill those rows, or declare what they are with er.observe: what is missing there is "
                "imputed or predicted",
            )
        )


def flatten(arguments: Mapping[str, Any], known: Mapping[str, tuple] | None = None) -> dict[str, Argument]:
    """Labelled leaves of a mapping of arguments; nested mappings and tables of columns are opened."""
    known = known or {}
    leaves: dict[str, Argument] = {}
    for name, value in arguments.items():
        if isinstance(value, Mapping):
            inner = {f"{name}.{key}": item for key, item in value.items()}
            leaves.update(flatten(inner, known))
        else:
            leaves[name] = convert(value, name, known.get(name))
    return leaves


def rebuild(arguments: Mapping[str, Any], leaves: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The nested arguments again, with each leaf's value taken from `leaves`."""
    return {
        name: rebuild(value, leaves, f"{prefix}{name}.")
        if isinstance(value, Mapping)
        else leaves[f"{prefix}{name}"]
        for name, value in arguments.items()
    }


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
        else:
            digest.update(repr(leaf.value).encode())
    return digest.hexdigest()[:16]


class Levels(int):
    """A number of groups that remembers their labels (see `elboroom.levels`)."""

    labels: tuple | None

    def __new__(cls, count: int, labels: tuple | None = None) -> Levels:
        self = super().__new__(cls, count)
        self.labels = labels
        return self
