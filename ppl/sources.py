"""Where rows come from: arrays that are sliced, files of several kinds, and batches; all as blocks of named arrays."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from .columns import is_instance, native
from .data import contents
from .errors import DataError, explain
from .records import parts
from .thresholds import ENDLESS, LABELS_SHOWN, PROBED, QUOTED, SPOOL_BLOCK

Block = Mapping[str, Any]
ALONE = ""
"""Name of the column of a source that has one, without a name."""
WHAT = "source of er.spool"


@dataclass(frozen=True)
class Wanted:
    """Which arrays are made of which columns.

    Attributes
    ----------
    made : mapping of str to str or tuple of str, or None
        Name to the column that it is, or to those that are its numbers side by side; all columns where it is None.
    alone : bool
        Whether it is one array, asked for by its name alone.
    """

    made: Mapping[str, str | tuple[str, ...]] | None
    alone: bool = False

    @classmethod
    def of(cls, columns: Any) -> Wanted:
        """What `columns` of `elboroom.spool` asks for.

        Raises
        ------
        DataError
        """
        if columns is None:
            return cls(None)
        if isinstance(columns, str):
            return cls({columns: columns}, True)
        made: dict[Any, Any] = {}
        if isinstance(columns, Mapping):
            made = {k: tuple(v) if isinstance(v, (list, tuple)) else v for k, v in columns.items()}
        elif isinstance(columns, Iterable):
            made = {name: name for name in columns}
        flat = [*made, *_flat(made)]
        if not made or not all(isinstance(name, str) and name for name in flat) or () in made.values():
            want = "a name, several, or a mapping from name to column or columns"
            raise DataError(
                explain("columns of er.spool", want, f"{columns!r}"[:QUOTED], "pass columns=['x', 'y'], say")
            )
        return cls(made)

    @property
    def columns(self) -> list[str] | None:
        """Names of what is read; None for all."""
        if self.made is None:
            return None
        return list(dict.fromkeys(_flat(self.made)))

    def arrays(self, block: Block) -> dict[str, np.ndarray]:
        """The arrays of a block of columns."""
        if self.made is None:
            return {name: _numbers(value, _where(name)) for name, value in block.items()}
        read = {name: _numbers(block[name], _where(name)) for name in self.columns or ()}
        out = {}
        for name, of in self.made.items():
            out[name] = read[of] if isinstance(of, str) else _beside([read[c] for c in of], _where(name))
        return out


def _flat(made: Mapping[str, Any]) -> list:
    return [column for of in made.values() for column in (of if isinstance(of, tuple) else (of,))]


def blocks(source: Any, wanted: Wanted) -> Iterator[Block]:
    """The rows of a source, in its order, some at a time: columns by name, or one of the name `ALONE`.

    Parameters
    ----------
    source : object
        See `elboroom.spool`.
    wanted : Wanted
        Which columns are read.

    Raises
    ------
    DataError
        For what is no source.
    """
    if isinstance(source, (str, os.PathLike)):
        return _file(Path(source).expanduser(), wanted)
    if _is_array(source):
        _check_unnamed(wanted)
        return _sliced({ALONE: source})
    if _table(source) is not None:
        return _batches([source], wanted)
    if hasattr(source, "keys") and hasattr(source, "__getitem__"):
        return _sliced(_chosen(source, wanted.columns))
    if not isinstance(source, Iterable) and not (
        hasattr(source, "__getitem__") and hasattr(source, "__len__")
    ):
        got = f"{type(source).__module__}.{type(source).__qualname__}"
        remedy = "pass a Zarr array, an HDF5 dataset, a path, or an iterable of batches"
        raise _refused("an array that can be sliced, a file, or batches", got, remedy)
    return _batches(source, wanted)


def is_endless(source: Any) -> bool:
    """Whether a source says of itself that it never ends."""
    try:
        return not _is_array(source) and len(source) >= ENDLESS
    except (TypeError, OverflowError):
        return False


# -- arrays ----------------------------------------------------------------------------------------------


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype") and hasattr(value, "__getitem__")


def _chosen(group: Any, names: Sequence[str] | None) -> dict[str, Any]:
    """The columns of a mapping, or of a group of Zarr or HDF5."""
    if names is None:
        found = {str(name): group[name] for name in group.keys()}
        kept = {name: value for name, value in found.items() if _is_array(value) and np.shape(value)}
        if not kept:
            raise _refused("arrays by name", f"{sorted(found)[:LABELS_SHOWN]} without any", "pass the arrays")
        return kept
    known = [name for name in names if name in group]
    _check_known(names, known, [str(name) for name in group.keys()])
    return {name: group[name] for name in names}


def _sliced(columns: Mapping[str, Any]) -> Iterator[Block]:
    """Slices of arrays of one length, as many rows at a time as memory is for; whole chunks where the arrays have any."""
    for name, array in columns.items():
        if not _is_array(array) or not len(array.shape):
            got = f"a {type(array).__name__}" if not _is_array(array) else "a single number"
            raise DataError(
                explain(_where(name), "an array with a row for each element", got, "leave it out")
            )
    lengths = {name: int(array.shape[0]) for name, array in columns.items()}
    _check_lengths(lengths)
    row = sum(_row_bytes(array) for array in columns.values())
    size = max(1, SPOOL_BLOCK // max(row, 1))
    for array in columns.values():
        chunk = (getattr(array, "chunks", None) or (1,))[0]
        chunk = max(chunk) if isinstance(chunk, tuple) else int(chunk)
        size -= size % chunk if chunk <= size else 0
    total = next(iter(lengths.values()))
    for start in range(0, total, size):
        yield {name: array[start : min(start + size, total)] for name, array in columns.items()}


def _row_bytes(array: Any) -> int:
    return int(getattr(array.dtype, "itemsize", 8)) * prod(int(n) for n in array.shape[1:])


# -- files -----------------------------------------------------------------------------------------------


def _file(path: Path, wanted: Wanted) -> Iterator[Block]:
    """The rows of a file, by the end of its name."""
    kinds: dict[str, Callable[[Path, Wanted], Iterator[Block]]] = {
        ".parquet": _parquet,
        ".zarr": _opened_by("zarr", lambda zarr, name: zarr.open(name, mode="r")),
        ".h5": _opened_by("h5py", lambda h5py, name: h5py.File(name, "r")),
        ".hdf5": _opened_by("h5py", lambda h5py, name: h5py.File(name, "r")),
        ".npy": _opened_by("numpy", lambda numpy, name: numpy.load(name, mmap_mode="r")),
    }
    read = kinds.get(path.suffix.lower())
    what = f"file '{path}'"
    if read is None:
        got = f"'{path.suffix}'"
        remedy = "convert it, or read it yourself and pass an iterable of batches"
        raise DataError(explain(what, f"one of {', '.join(sorted(kinds))}", got, remedy))
    if not path.exists():
        raise DataError(explain(what, "a file or folder", "none", "check the path"))
    return read(path, wanted)


def _library(module: str, install: str, what: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        remedy = "install it: pip install 'elboroom[data]'"
        raise DataError(explain(what, f"{install}, which reads it", "no such library", remedy)) from None


def _opened_by(module: str, opened: Callable[[Any, str], Any]) -> Callable[[Path, Wanted], Iterator[Block]]:
    """What reads the array or the group of arrays in a file that a library opens."""

    def read(path: Path, wanted: Wanted) -> Iterator[Block]:
        what = f"file '{path}'"
        library = _library(module, module, what)
        try:
            held = opened(library, str(path))
        except (OSError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())[:QUOTED] or type(error).__name__
            raise DataError(explain(what, f"one that {module} reads", f"'{reason}'", "correct it")) from None
        try:
            yield from blocks(held, wanted)
        finally:
            if hasattr(held, "close"):
                held.close()

    return read


def _parquet(path: Path, wanted: Wanted) -> Iterator[Block]:
    """The rows of a Parquet file, or of all in a folder in the order of their names."""
    what = f"file '{path}'"
    pq = _library("pyarrow.parquet", "pyarrow", what)
    paths = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    try:
        files = [pq.ParquetFile(one, pre_buffer=False, buffer_size=SPOOL_BLOCK) for one in paths]
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:QUOTED]
        raise DataError(explain(what, "a Parquet file", f"'{reason}'", "correct it")) from None
    if not files:
        raise DataError(explain(what, "Parquet files in it", "none", "check the path"))
    known = files[0].schema_arrow.names
    names = known if wanted.columns is None else wanted.columns
    for file in files:
        _check_known(names, [name for name in names if name in file.schema_arrow.names], known)
    floats = {name for name in names if any(_lacks_whole_numbers(file, name) for file in files)}
    for file in files:
        first = next(file.iter_batches(PROBED, columns=names), None)
        if first is not None and len(first):
            size = max(1, SPOOL_BLOCK // max(1, first.nbytes // len(first)))
            for batch in file.iter_batches(size, columns=names):
                columns = {name: batch.column(name) for name in names}
                yield {k: v.cast("float64") if k in floats else v for k, v in columns.items()}


def _lacks_whole_numbers(file: Any, name: str) -> bool:
    """Whether a column of whole numbers or booleans has gaps somewhere, and is one of floats and NaN therefore."""
    kind = str(file.schema_arrow.field(name).type)
    if not kind.startswith(("int", "uint", "bool")):
        return False
    at = next(i for i in range(len(file.schema)) if file.schema.column(i).path == name)
    known = [file.metadata.row_group(i).column(at).statistics for i in range(file.num_row_groups)]
    if all(one is not None and one.has_null_count for one in known):
        return any(one.null_count for one in known)
    return any(batch.column(0).null_count for batch in file.iter_batches(columns=[name]))


# -- batches ---------------------------------------------------------------------------------------------


def _batches(source: Any, wanted: Wanted) -> Iterator[Block]:
    """Batches of an iterable: arrays, or mappings and records of them."""
    for batch in source:
        block = _named(batch, wanted)
        if ALONE in block:
            _check_unnamed(wanted)
        elif wanted.columns is not None:
            _check_known(wanted.columns, [name for name in wanted.columns if name in block], list(block))
        yield block


def _named(batch: Any, wanted: Wanted) -> Block:
    """A batch by name."""
    if isinstance(batch, (tuple, list)) and not hasattr(batch, "_fields"):
        names = (
            None if wanted.made is None or wanted.made != {n: n for n in wanted.made} else list(wanted.made)
        )
        if names is None or len(names) != len(batch):
            got = f"a {type(batch).__name__} of {len(batch)}" + (f" for {names}" if names else "")
            remedy = "name what is in it: columns=['x', 'y'], or columns='x' for one alone; or yield mappings"
            raise _refused("batches that are arrays or mappings", got, remedy)
        return dict(zip(names, batch, strict=True))
    table = _table(batch)
    opened = parts(batch) if table is None else table
    return {ALONE: batch} if opened is None else opened


def _table(value: Any) -> dict[str, Any] | None:
    """The columns of a table in memory, of Arrow, pandas or polars; None for anything else."""
    if is_instance(value, "pyarrow", "Table", "RecordBatch"):
        return {name: value.column(name) for name in value.column_names}
    table = native(value)
    if is_instance(table, "pandas", "DataFrame") or is_instance(table, "narwhals", "DataFrame"):
        return {str(name): table[name] for name in table.columns}
    return None


# -- what a column holds ---------------------------------------------------------------------------------


def _numbers(value: Any, where: str) -> np.ndarray:
    """The numbers of some rows.

    Raises
    ------
    DataError
        For anything else.
    """
    if is_instance(value, "pyarrow", "Array", "ChunkedArray"):
        value = _of_arrow(value, where)
    column = None if isinstance(value, (str, bytes, Mapping)) else contents(value, where)
    if column is None or not column.values.ndim:
        got = f"a {type(value).__name__}" if column is None else "a single number"
        remedy = "pass batches, rows on the first axis"
        raise DataError(explain(where, "arrays with a row for each element", got, remedy))
    if column.kind != "numbers":
        shown = [str(v) for v in column.values.reshape(-1)[:LABELS_SHOWN]]
        remedy = "read that column into memory, where it stays in this order, or leave it out: columns=[...]"
        raise DataError(explain(where, "numbers", f"{column.kind} such as {shown}", remedy))
    return np.ascontiguousarray(column.values, column.values.dtype.newbyteorder("="))


def _of_arrow(value: Any, where: str) -> Any:
    """A column of Arrow as one of pandas; lists of one length, and tensors, as arrays of a row each."""
    if is_instance(value, "pyarrow", "ChunkedArray"):
        value = value.combine_chunks()
    if hasattr(value, "to_numpy_ndarray"):
        return value.to_numpy_ndarray()
    if "list" not in str(value.type).split("<")[0]:
        return value.to_pandas()
    lengths = set(value.value_lengths().to_pylist()) if hasattr(value, "value_lengths") else {None}
    width = getattr(value.type, "list_size", None) or (lengths.pop() if len(lengths) == 1 else None)
    if value.null_count or width is None:
        got = "missing ones" if value.null_count else f"{len(lengths)} lengths"
        raise DataError(explain(where, "lists of one length", got, "pad or drop those rows"))
    inner = _numbers(value.flatten(), where)
    return inner.reshape(len(value), width, *inner.shape[1:])


def _beside(columns: Sequence[np.ndarray], where: str) -> np.ndarray:
    if len({column.shape for column in columns}) > 1:
        got = f"shapes {sorted({column.shape[1:] for column in columns})}"
        raise DataError(explain(where, "columns of one shape to stand side by side", got, "take them apart"))
    return np.stack(columns, -1)


# -- checks ----------------------------------------------------------------------------------------------


def _where(name: str) -> str:
    return f"column '{name}' of er.spool" if name else WHAT


def _refused(*words: str) -> DataError:
    return DataError(explain(WHAT, *words))


def _check_known(names: Iterable[str], known: Sequence[str], there: Sequence[str]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        shown = f"names among {list(there)[:QUOTED]}"
        raise DataError(explain("columns of er.spool", shown, f"{unknown}", "correct the names"))


def _check_unnamed(wanted: Wanted) -> None:
    if wanted.made is not None:
        got = f"columns={list(wanted.made)} for one array"
        raise DataError(explain("columns of er.spool", "no names for what has none", got, "leave them out"))


def _check_lengths(lengths: Mapping[str, int]) -> None:
    if len(set(lengths.values())) > 1:
        raise _refused("as many rows of each column", f"{dict(lengths)}", "give the same rows of all")
