"""Rows from other places than arrays, in memory maps: read once, in bounded memory, written whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import numpy as np

from . import files
from .errors import DataError, ShapeError, explain
from .sources import ALONE, WHAT, Wanted, blocks, is_endless
from .thresholds import DISK_RESERVE, DISK_SHARE, QUOTED

RECORD = "spool.json"
KEPT_ALONE = "rows"
"""Name of the file of an array without a name."""


def spool(
    source: Any, path: Any = None, columns: Any = None, num_rows: int | None = None
) -> np.memmap | dict[str, np.memmap]:
    """Rows from other places than arrays, as memory maps that models take like arrays.

    The source is read once, in its order and some 32 MB at a time, or by its own batches; what is larger than memory stays on
    disk, and a fit reads the rows of its batches.

    Parameters
    ----------
    source : array, mapping, path or iterable
        Anything with ``shape``, ``dtype`` and slices, such as a Zarr array or an HDF5 dataset; a mapping or a group of such,
        rows on their first axes; the path of a ``.parquet``, ``.zarr``, ``.h5`` or ``.npy`` file or folder; or an iterable of
        batches, such as a generator, a PyTorch ``DataLoader`` or a grain data set. Batches are arrays or tensors with rows on
        their first axis, or mappings and tables of them; arguments that belong together come from one pass, in one mapping.
    path : str or path, optional
        A folder for the ``.npy`` files, new or of an earlier call. By default files without a name in the folder of temporary
        files (``TMPDIR``), which are gone when the maps are, or the process is, however it ends.
    columns : str, sequence of str, or mapping, optional
        Which columns: one as an array, several by name, or a mapping from a name to a column or to columns that stand side by
        side in one matrix, as in ``{"x": ["height", "weight"]}``. For batches that are tuples it names their items. All by
        default.
    num_rows : int, optional
        The first so many rows, or all where there are fewer: for sources that never end.

    Returns
    -------
    numpy.memmap, or dict of str to numpy.memmap
        Not to be written to; of the types of the source. A dict where what is read has names, unless `columns` is a single one.

    Raises
    ------
    DataError
        For what is no source, holds other than numbers, or has no rows; where a library is missing or the disk is full. A
        folder at `path` is as it was then.
    ShapeError
        Where batches differ in more than their number of rows.

    Notes
    -----
    Missing numbers (NaN, null) stay what they are; a column of whole numbers with gaps becomes one of floats. A fit of maps in which
    some are missing holds a byte for each number of theirs. PyTorch runs a model once on all rows: those that do not fit into memory
    are for JAX.

    Examples
    --------
    >>> import numpy as np
    >>> import elboroom as er
    >>> batches = ({"x": np.full((2, 3), i), "y": np.zeros(2)} for i in range(4))
    >>> {name: rows.shape for name, rows in er.spool(batches).items()}
    {'x': (8, 3), 'y': (8,)}
    """
    _check_count(num_rows)
    wanted = Wanted.of(columns)
    if num_rows is None and is_endless(source):
        remedy = "pass num_rows=, or leave out its repetition"
        raise DataError(explain(WHAT, "a source that ends", f"one of {len(source)} batches", remedy))
    read = _first(blocks(source, wanted), wanted, num_rows)
    maps = _unnamed(read) if path is None else _in_folder(files.place(path, "path of er.spool"), read)
    alone = wanted.alone or ALONE in maps
    return next(iter(maps.values())) if alone else maps


def _check_count(num_rows: Any) -> None:
    whole = isinstance(num_rows, (int, np.integer)) and not isinstance(num_rows, bool)
    if num_rows is not None and (not whole or num_rows < 1):
        got = f"{num_rows!r}"[:QUOTED]
        raise DataError(explain("num_rows of er.spool", "a number of rows, or None", got, "pass 10_000, say"))


def _first(read: Iterator[Mapping[str, Any]], wanted: Wanted, left: int | None) -> Iterator[dict]:
    """The arrays of blocks that have rows, up to so many of them."""
    for block in read:
        arrays = wanted.arrays(block)
        counts = {name: len(array) for name, array in arrays.items()}
        if len(set(counts.values())) > 1:
            raise ShapeError(explain(WHAT, "as many rows of each column", f"{counts}", "give the same rows"))
        count = next(iter(counts.values()), 0)
        if count:
            yield {name: array[:left] for name, array in arrays.items()}
        left = None if left is None else left - count
        if left is not None and left <= 0:
            return


# -- where they go ---------------------------------------------------------------------------------------


def _unnamed(read: Iterator[dict]) -> dict[str, np.memmap]:
    """Maps of files that have no name: they end with the process, however that ends."""
    folder = Path(tempfile.gettempdir())
    with ExitStack() as stack:

        def new(_name):
            return stack.enter_context(tempfile.TemporaryFile())

        columns = _written(read, new, folder)
        return {name: column.mapped() for name, column in columns.items()}


def _in_folder(path: Path, read: Iterator[dict]) -> dict[str, np.memmap]:
    """Maps of files in a folder, which is there when all are written."""
    what = f"path of er.spool '{path}'"
    if path.exists() and not (path.is_dir() and (not any(path.iterdir()) or (path / RECORD).is_file())):
        got = "a folder with other files" if path.is_dir() else "a file"
        want = "a new or empty folder, or one of an earlier er.spool"
        raise DataError(explain(what, want, got, "choose another path"))
    with ExitStack() as whole:
        with _told(path):
            stage = whole.enter_context(files.folder(path))
        with ExitStack() as stack:
            columns = _written(
                read, lambda name: stack.enter_context(open(stage / _file_name(name), "wb+")), stage
            )
        shapes = {name: list(column.shape) for name, column in columns.items()}
        with _told(path):
            files.write(stage / RECORD, files.sealed_json({"arrays": shapes}))
            whole.close()
    return {name: np.load(path / _file_name(name), mmap_mode="r") for name in columns}


def _file_name(name: str) -> str:
    return f"{quote(name or KEPT_ALONE, safe=' ')}.npy"


@contextmanager
def _told(place: Path) -> Iterator[None]:
    """Where the disk is full, or not ours, the error says so."""
    try:
        yield
    except OSError as error:
        remedy = "make room or name another place with path=; for a source without an end pass num_rows="
        raise files.unwritable(f"er.spool to '{place}'", error, DataError, remedy) from error


class _Column:
    """An array under way into a file, in the format of ``.npy``."""

    def __init__(self, file: BinaryIO, first: np.ndarray):
        self.file, self.dtype, self.shape = file, first.dtype, (0, *first.shape[1:])
        self.start = self._head()

    def _head(self) -> int:
        """Write the header, which leaves room for any number of rows; where the numbers begin."""
        self.file.seek(0)
        fields = {"descr": self.dtype.str, "fortran_order": False, "shape": self.shape}
        np.lib.format.write_array_header_1_0(self.file, fields)
        return self.file.tell()

    def add(self, rows: np.ndarray) -> None:
        self.file.write(np.ascontiguousarray(rows).data)
        self.shape = (self.shape[0] + len(rows), *self.shape[1:])

    def close(self) -> None:
        self._head()
        self.file.flush()

    def mapped(self) -> np.memmap:
        return np.memmap(self.file, self.dtype, "r", self.start, self.shape)


def _written(read: Iterator[dict], new: Any, folder: Path) -> dict[str, _Column]:
    """The columns of blocks, each written to a file that ``new(name)`` opens."""
    columns: dict[str, _Column] = {}
    for block in read:
        with _told(folder):
            if not columns:
                columns = {name: _Column(new(name), rows) for name, rows in block.items()}
            _check_alike(columns, block)
            _check_room(folder, sum(rows.nbytes for rows in block.values()), columns)
            for name, column in columns.items():
                column.add(block[name])
    if not columns or 0 in next(iter(columns.values())).shape:
        remedy = "pass one that has rows; an iterator gives its batches once"
        raise DataError(explain(WHAT, "rows", "none", remedy))
    with _told(folder):
        for column in columns.values():
            column.close()
    return columns


def _check_alike(columns: Mapping[str, _Column], block: Mapping[str, np.ndarray]) -> None:
    """Refuse a block that differs from those before it in more than its number of rows."""
    if set(columns) != set(block):
        got = f"{sorted(columns)} first and {sorted(block)} later"
        raise ShapeError(explain(WHAT, "the same names in each batch", got, "give each batch all of them"))
    for name, column in columns.items():
        rows = block[name]
        first, later = (
            f"{dtype}" + (f" of shape {shape}" if shape else "") + " a row"
            for dtype, shape in ((column.dtype, column.shape[1:]), (rows.dtype, rows.shape[1:]))
        )
        if first != later:
            where = f"column '{name}' of er.spool" if name else WHAT
            remedy = f"convert every batch to one type and shape (after row {column.shape[0]})"
            raise ShapeError(explain(where, f"{first}, as in the first batch", later, remedy))


def _check_room(folder: Path, size: int, columns: Mapping[str, _Column]) -> None:
    """Refuse to fill a disk to its brim."""
    disk = shutil.disk_usage(folder)
    if disk.free - size >= min(DISK_RESERVE, DISK_SHARE * disk.total):
        return
    count = next(iter(columns.values())).shape[0]
    got = f"{disk.free / 2**30:.1f} GiB after {count} rows"
    remedy = "name another place with path=, or take fewer rows with num_rows=, as of a source without an end"
    raise DataError(explain(f"er.spool to '{folder}'", "a disk with room for the rows", got, remedy))
