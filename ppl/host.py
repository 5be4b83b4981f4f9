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
    """Where values of a float array are missing (NaN); None where none is.

    Parameters
    ----------
    value : object
        What an argument holds; a memory map is read in pieces.

    Returns
    -------
    numpy.ndarray of bool or None
        Of the shape of the data.
    """
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
        return None
    if not isinstance(value, np.memmap) or not value.ndim:
        missing = np.isnan(value)
        return missing if missing.any() else None
    found, start = None, 0
    for piece in pieces(value):
        missing = np.isnan(piece)
        if missing.any():
            found = np.zeros(value.shape, bool) if found is None else found
            found[start : start + len(piece)] = missing
        start += len(piece)
    return found


def check_values(label: str, array: np.ndarray, missing: bool = False, start: int = 0) -> None:
    """Refuse empty and non-finite data.

    Parameters
    ----------
    label : str
        Name of the argument.
    array : numpy.ndarray
        Its values.
    missing : bool
        Whether NaN may pass, of which the model says what becomes.
    start : int
        Number of the first row, where these are some of all.

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
        start = 0
        for piece in pieces(array):
            check_values(label, np.asarray(piece), missing, start)
            start += len(piece) if array.ndim else 0
        return
    wrong = np.isinf(array) if missing else ~np.isfinite(array) if array.dtype.kind == "f" else np.zeros(0)
    if wrong.any():
        bad = np.argwhere(wrong)
        values = array[tuple(bad[:3].T)] if array.ndim else array
        raise DataError(
            explain(
                f"argument '{label}'",
                "finite numbers",
                f"{np.asarray(values).tolist()} in rows {rows_of(wrong, GAPS_SHOWN, start)} ({len(bad)} values in all)",
                "drop or fill those rows, or declare what they are with er.observe: what is missing there is "
                "imputed or predicted",
            )
        )
