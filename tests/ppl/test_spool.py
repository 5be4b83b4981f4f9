"""Rows from other places than arrays: equal to the source, in bounded memory, whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import tracemalloc
from dataclasses import make_dataclass
from itertools import repeat

import h5py
import numpy as np
import pandas as pd
import pytest
from elboroom.ppl import sources

import elboroom as er

RNG = np.random.default_rng(0)
X = RNG.normal(size=(1000, 3)).astype(np.float32)
Y = RNG.integers(0, 5, 1000)
PARTS = [slice(start, start + 64) for start in range(0, 1000, 64)]  # the last is ragged
Pair = make_dataclass("Pair", ["x", "y"])


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(sources, "SPOOL_BLOCK", 4096)


def pyarrow():
    pytest.importorskip("pyarrow", reason="pyarrow is not installed: Parquet files are not read")
    import pyarrow as pa

    return pa


def parquet(path, columns, rows=100):
    pa = pyarrow()
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path, row_group_size=rows)
    return path


def zarr_array(path, **chunks):
    zarr = pytest.importorskip("zarr", reason="zarr is not installed: its arrays are not read")
    array = zarr.create_array(str(path), shape=X.shape, dtype=X.dtype, chunks=(70, 2))
    array[:] = X
    return array


def hdf5(path):
    with h5py.File(path, "w") as file:
        file["x"], file["y"] = X, Y
        file.create_group("more")
    return path


def loader(shuffle=False):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: its loaders are not read")
    rows = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))
    return torch.utils.data.DataLoader(rows, batch_size=64, shuffle=shuffle)


ALONE = {
    "array": lambda path: X,
    "big-endian": lambda path: X.astype(">f4"),
    "generator": lambda path: (X[part] for part in PARTS),
    "with empty batches": lambda path: [X[:0], X[:10], X[10:10], X[10:]],
    "zarr array": lambda path: zarr_array(path / "x.zarr"),
    "zarr folder": lambda path: zarr_array(path / "x.zarr") and path / "x.zarr",
    "npy": lambda path: np.save(path / "x.npy", X) or str(path / "x.npy"),
    "file object": lambda path: h5py.File(hdf5(path / "x.h5"))["x"],
    "tensors": lambda path: (batch[0] for batch in loader()),
}


@pytest.mark.parametrize("kind", ALONE)
@pytest.mark.parametrize("folder", [None, "kept"])
def test_rows_of_an_array_are_those_of_the_source(tmp_path, kind, folder):
    found = er.spool(ALONE[kind](tmp_path), folder and tmp_path / folder)
    assert type(found) is np.memmap and found.dtype == X.dtype and not found.flags.writeable
    np.testing.assert_array_equal(found, X)


NAMED = {
    "mapping of arrays": lambda path: {"x": X, "y": Y},
    "batches of mappings": lambda path: ({"x": X[part], "y": Y[part]} for part in PARTS),
    "batches of records": lambda path: (Pair(X[part], Y[part]) for part in PARTS),
    "hdf5": lambda path: hdf5(path / "rows.h5"),
    "open hdf5": lambda path: h5py.File(hdf5(path / "rows.h5")),
    "parquet": lambda path: parquet(path / "rows.parquet", {"x": list(X), "y": Y}),
}


@pytest.mark.parametrize("kind", NAMED)
@pytest.mark.parametrize("folder", [None, "kept"])
def test_named_rows_come_from_one_pass(tmp_path, kind, folder):
    found = er.spool(NAMED[kind](tmp_path), folder and tmp_path / folder)
    assert list(found) == ["x", "y"]
    assert found["x"].dtype == X.dtype and found["y"].dtype == np.int64
    np.testing.assert_array_equal(found["x"], X)
    np.testing.assert_array_equal(found["y"], Y)


def test_tuples_get_names_and_a_shuffled_loader_keeps_rows_together():
    found = er.spool(loader(shuffle=True), columns=["x", "y"])
    assert not np.array_equal(found["x"], X)
    order = np.array([np.flatnonzero((X == row).all(1))[0] for row in found["x"]])
    np.testing.assert_array_equal(found["y"], Y[order])
    np.testing.assert_array_equal(np.sort(order), np.arange(1000))


def test_parquet_with_gaps_lists_and_chosen_columns(tmp_path):
    pa = pyarrow()
    late = pa.array([None if i == 777 else i for i in range(1000)])
    gap = pa.array([None if i == 5 else float(i) for i in range(1000)])
    square = pa.FixedSizeListArray.from_arrays(pa.FixedSizeListArray.from_arrays(np.arange(4000), 2), 2)
    words = pa.array(["a", "b"] * 500)
    path = parquet(tmp_path / "rows.parquet", {"n": late, "g": gap, "s": square, "w": words, "y": Y})
    found = er.spool(path, columns=["n", "g", "s", "y"])
    assert found["n"].dtype == np.float64  # from the first row group on, which has no gap
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(found["n"])), [777])
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(found["g"])), [5])
    np.testing.assert_array_equal(found["s"], np.arange(4000).reshape(1000, 2, 2))
    beside = er.spool(path, columns={"both": ["g", "n"], "y": "y"}, num_rows=300)
    assert beside["both"].shape == (300, 2)
    np.testing.assert_array_equal(beside["y"], Y[:300])
    np.testing.assert_array_equal(er.spool(path, columns="y"), Y)
    with pytest.raises(er.DataError, match="column 'w' of er.spool: expected numbers, got labels such as"):
        er.spool(path)


def test_a_folder_of_parquet_files_is_read_in_the_order_of_their_names(tmp_path):
    (tmp_path / "rows.parquet").mkdir()
    for i in (1, 0):
        parquet(tmp_path / "rows.parquet" / f"part-{i}.parquet", {"y": Y[500 * i : 500 * (i + 1)]})
    np.testing.assert_array_equal(er.spool(tmp_path / "rows.parquet")["y"], Y)


def test_tables_and_batches_of_them(tmp_path):
    table = pd.DataFrame({"a": X[:, 0], "b": Y})
    table.to_csv(tmp_path / "rows.csv", index=False)
    made = [table, pd.read_csv(tmp_path / "rows.csv", chunksize=77, dtype={"a": np.float32})]
    pa = pyarrow()
    made += [pa.table({"a": X[:, 0], "b": Y}), pa.table({"a": X[:, 0], "b": Y}).to_batches(50)]
    for source in made:
        found = er.spool(source)
        np.testing.assert_array_equal(found["a"], X[:, 0])
        np.testing.assert_array_equal(found["b"], Y)


def test_a_source_without_an_end_is_cut():
    assert er.spool(repeat(X[:64]), num_rows=100).shape == (100, 3)
    assert er.spool(X, num_rows=5000).shape == (1000, 3)

    class Endless:
        def __len__(self):
            return sys.maxsize

        def __getitem__(self, at):
            return X

    with pytest.raises(er.DataError, match="a source that ends"):
        er.spool(Endless())


REFUSED = [
    (lambda: 3, {}, "an array that can be sliced"),
    (lambda: [], {}, "expected rows, got none"),
    (lambda: X[:0], {}, "expected rows, got none"),
    (lambda: [(X, Y)], {}, "arrays or mappings, got a tuple of 2"),
    (lambda: [(X, Y)], {"columns": ["x"]}, "got a tuple of 2 for \\['x'\\]"),
    (lambda: [X, X[:, :2]], {}, "float32 of shape \\(3,\\) a row.*float32 of shape \\(2,\\) a row.*row 1000"),
    (lambda: [{"x": X}, {"x": X.astype(int)}], {}, "column 'x' of er.spool: expected float32 .*int64"),
    (lambda: [{"x": X}, {"y": X}], {}, "the same names in each batch"),
    (lambda: [{"x": X, "y": Y[:3]}], {}, "as many rows of each column"),
    (lambda: {"x": X, "y": Y[:3]}, {}, "as many rows of each column"),
    (lambda: [{"x": X, "y": 1.0}], {}, "column 'y' of er.spool: .*got a float"),
    (lambda: [{"x": ["a", "b"]}], {}, "numbers, got labels such as \\['a', 'b'\\]"),
    (lambda: [{"x": np.array(["2020-01-01"], "M8[D]")}], {}, "numbers, got dates"),
    (lambda: [{"x": X + 1j}], {}, "complex numbers"),
    (lambda: [{"x": {"deep": X}}], {}, "got a dict"),
    (lambda: X, {"columns": ["x"]}, "no names for what has none"),
    (lambda: {"x": X}, {"columns": ["z"]}, "names among \\['x'\\], got \\['z'\\]"),
    (lambda: [{"x": X}], {"columns": "z"}, "names among \\['x'\\], got \\['z'\\]"),
    (lambda: {"x": X}, {"columns": [3]}, "a name, several"),
    (lambda: {"x": X, "y": Y}, {"columns": {"m": ["x", "y"]}}, "columns of one shape"),
    (lambda: X, {"num_rows": 0}, "a number of rows"),
    (lambda: "rows.txt", {}, "one of .h5, .hdf5, .npy, .parquet, .zarr, got '.txt'"),
    (lambda: "nowhere.parquet", {}, "a file or folder, got none"),
    (lambda: X, {"path": 7}, "expected a path, got 7"),
]  # fmt: skip


@pytest.mark.parametrize("source, options, words", REFUSED, ids=[words[:40] for *_, words in REFUSED])
def test_what_cannot_be_meant_is_refused_by_name(source, options, words):
    with pytest.raises(er.ElboroomError, match=words) as caught:
        er.spool(source(), **options)
    assert "expected" in str(caught.value) and "got" in str(caught.value)


def test_a_library_that_is_missing_is_named(tmp_path, monkeypatch):
    (tmp_path / "rows.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(er.DataError, match=r"pyarrow, which reads it.*pip install 'elboroom\[data\]'"):
        er.spool(tmp_path / "rows.parquet")


def test_a_broken_file_is_named(tmp_path):
    pyarrow()
    for name in ("rows.parquet", "rows.h5", "rows.npy"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(er.DataError, match=f"file '.*{name}'"):
            er.spool(tmp_path / name)


# -- memory and the disk ---------------------------------------------------------------------------------


class Ones:
    """An array that is larger than what is read of it."""

    shape, dtype, chunks = (2**20, 4), np.dtype(np.float64), (1000, 4)

    def __getitem__(self, some):
        assert (some.start % 1000, some.step) == (0, None)  # whole chunks
        return np.ones((some.stop - some.start, 4))


def test_memory_is_that_of_a_block(monkeypatch):
    monkeypatch.setattr(sources, "SPOOL_BLOCK", 2**20)
    er.spool(X)  # what is imported for the first time
    tracemalloc.start()
    try:
        found = er.spool(Ones())
        assert tracemalloc.get_traced_memory()[1] < 2**22 < found.nbytes / 4
    finally:
        tracemalloc.stop()
    assert found.shape == Ones.shape and found[-1].tolist() == [1, 1, 1, 1]


def test_memory_of_parquet_is_that_of_a_block(tmp_path, monkeypatch):
    pa = pyarrow()
    import pyarrow.parquet as pq

    path, rows = tmp_path / "rows.parquet", 2**16
    schema = pa.schema([("a", pa.float64()), ("b", pa.int64())])
    with pq.ParquetWriter(path, schema) as file:
        for start in range(0, 2**21, rows):
            some = np.arange(start, start + rows)
            file.write_table(pa.table({"a": np.sqrt(some), "b": some}, schema))
    monkeypatch.setattr(sources, "SPOOL_BLOCK", 2**18)
    code = (
        "import sys, pyarrow as pa, elboroom as er; from elboroom.ppl import sources; sources.SPOOL_BLOCK = 2**18; "
        "found = er.spool(sys.argv[1]); assert found['b'][-1] == 2**21 - 1; print(pa.default_memory_pool().max_memory())"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 2**23 < 2**25  # of 32 MB


def test_temporary_files_have_no_name(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = er.spool({"x": X, "y": Y})
    assert os.listdir(tmp_path) == [] and found["x"][999, 2] == X[999, 2]


def interrupted():
    yield X
    raise KeyboardInterrupt


def broken():
    yield X
    raise FileNotFoundError("a fault of the source's own")


@pytest.mark.parametrize("source, error", [(interrupted, KeyboardInterrupt), (broken, FileNotFoundError)])
def test_nothing_is_left_half_written(tmp_path, source, error):
    er.spool(Y, tmp_path / "rows")
    with pytest.raises(error):
        er.spool(source(), tmp_path / "rows")
    assert os.listdir(tmp_path) == ["rows"]
    np.testing.assert_array_equal(np.load(tmp_path / "rows" / "rows.npy"), Y)
    held = er.spool(X, tmp_path / "rows")  # an earlier one is replaced
    np.testing.assert_array_equal(held, X)


def test_folders_of_others_are_left_alone(tmp_path):
    (tmp_path / "thesis.npy").write_text("mine")
    with pytest.raises(er.DataError, match="a new or empty folder"):
        er.spool(X, tmp_path)
    assert os.listdir(tmp_path) == ["thesis.npy"]


FULL = """
import resource, sys, numpy as np, elboroom as er
resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
try:
    er.spool((np.zeros((1000, 100)) for _ in range(10)), sys.argv[1] if sys.argv[1] else None)
except er.DataError as error:
    print(error)
"""


@pytest.mark.parametrize("named", [True, False])
def test_a_full_disk_is_told_and_nothing_stays(tmp_path, named):
    pytest.importorskip("resource", reason="no limits for files on this system")
    place = str(tmp_path / "rows") if named else ""
    done = subprocess.run([sys.executable, "-c", FULL, place], capture_output=True, text=True)
    assert "expected a place that can be written, got file too large" in done.stdout, done.stderr
    assert os.listdir(tmp_path) == []


def test_a_disk_is_not_filled_to_its_brim(tmp_path, monkeypatch):
    from elboroom.ppl import spool as spooling

    monkeypatch.setattr(spooling, "DISK_RESERVE", 2**60)
    monkeypatch.setattr(spooling, "DISK_SHARE", 1.0)
    with pytest.raises(er.DataError, match="a disk with room for the rows, got .* GiB after 0 rows"):
        er.spool(X, tmp_path / "rows")
    assert os.listdir(tmp_path) == []


KILLED = """
import sys, time, numpy as np, elboroom as er
def rows():
    yield np.zeros((1000, 3))
    print("under way", flush=True)
    time.sleep(60)
er.spool(rows(), sys.argv[1])
"""


def test_what_a_killed_process_leaves_is_removed_by_the_next(tmp_path):
    place = tmp_path / "rows"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, place], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "under way\n"
        process.send_signal(signal.SIGKILL)
    assert not place.exists()
    np.testing.assert_array_equal(er.spool(X, place), X)
    assert os.listdir(tmp_path) == ["rows"]
