"""Arrays as they lie on the host: read in pieces, looked at for gaps, refused where no model can compute with them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from .columns import rows_of
from .errors import DataError, explain
from .thresholds import GAPS_SHOWN, READ_BLOCK


def check_file(label: str, array: np.memmap) -> None:
    """Refuse a memory map whose file has become shorter than it: to read it would end the process.

    Parameters
    ----------
    label : str
        Name of the argument.
    array : numpy.memmap
        The map, or a part of one.

    Raises
    ------
    DataError
        With the sizes of both, in bytes.
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
    """An array in blocks of at most `READ_BLOCK` numbers: of a memory map no more than one is in memory."""
    rows = max(1, READ_BLOCK // max(1, array[:1].size)) if array.ndim else 1
    return (
        (array[begin : begin + rows] for begin in range(0, len(array), rows)) if array.ndim else iter([array])
    )


def holes(value: Any) -> np.ndarray | None:
    """Where values of a float array are missing (NaN); None where none is, as in every memory map.

    Parameters
    ----------
    value : object
        What an argument holds.

    Returns
    -------
    numpy.ndarray of bool or None
        Of the shape of the data.
    """
    if not isinstance(value, np.ndarray) or isinstance(value, np.memmap) or value.dtype.kind != "f":
        return None
    missing = np.isnan(value)
    return missing if missing.any() else None


def check_values(label: str, array: np.ndarray, missing: bool = False) -> None:
    """Refuse empty and non-finite data.

    Parameters
    ----------
    label : str
        Name of the argument.
    array : numpy.ndarray
        Its values.
    missing : bool
        Whether NaN may pass, of which the model says what becomes.

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
        values = array[tuple(bad[:3].T)] if array.ndim else array
        raise DataError(
            explain(
                f"argument '{label}'",
                "finite numbers",
                f"{np.asarray(values).tolist()} in rows {rows_of(wrong, GAPS_SHOWN)} ({len(bad)} values in all)",
                "drop or fill those rows, or declare what they are with er.observe: what is missing there is "
                "imputed or predicted",
            )
        )
