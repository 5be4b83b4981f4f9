"""Where a version comes from: its data, the code, and the libraries."""

from __future__ import annotations

import getpass
import hashlib
import subprocess
from collections.abc import Iterable, Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import narwhals.stable.v1 as nw
import numpy as np

from ..ppl.errors import DataError, explain, in_short
from ..ppl.fingerprints import array_bytes
from .thresholds import GIT_SECONDS


def data_record(data: Any) -> dict[str, Any] | None:
    """Digest, rows and columns of a data set; None where there is none.

    Parameters
    ----------
    data : data frame, mapping of str to array, path, or None
        A data frame of any library that narwhals knows, in any order of columns; the order of rows counts.

    Examples
    --------
    >>> data_record({"y": [1.0, 2.0]}) == data_record({"y": np.array([1.0, 2.0])})
    True
    >>> data_record({"y": [1.0, 2.0]})["digest"] == data_record({"y": [2.0, 1.0]})["digest"]
    False
    """
    if data is None:
        return None
    if isinstance(data, (str, Path)):
        return _of_file(Path(data).expanduser())
    try:
        columns = dict(_columns(data))
    except (TypeError, ValueError) as error:  # narwhals' own among them
        expected = "a data frame, a mapping of names to arrays, or the path of a file"
        got = f"{type(data).__name__} ({in_short(error)})"
        raise DataError(explain("data", expected, got, "pass what the model was fitted to")) from None
    digest = hashlib.sha256()
    for name in sorted(columns):
        digest.update(
            f"{name}\n".encode("utf-8", "surrogatepass") + hashlib.sha256(array_bytes(columns[name])).digest()
        )
    rows = max((len(value) for value in columns.values() if np.ndim(value)), default=0)
    return {"digest": digest.hexdigest(), "rows": rows, "columns": sorted(columns)}


def _of_file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return {"digest": hashlib.file_digest(file, "sha256").hexdigest(), "file": path.name}
    except OSError as error:
        got = (error.strerror or str(error)).lower()
        raise DataError(
            explain(f"data '{path}'", "a file that can be read", got, "correct the path")
        ) from None


def _columns(data: Any) -> Iterable[tuple[str, np.ndarray]]:
    if isinstance(data, Mapping):
        return ((str(name), np.asarray(value)) for name, value in data.items())
    frame = nw.from_native(data, eager_only=True)
    return ((name, np.asarray(frame[name].to_numpy())) for name in frame.columns)


def commit() -> dict[str, Any] | None:
    """The commit of the working folder and whether files differ from it; None outside of a checkout."""
    try:
        found = _git("rev-parse", "HEAD")
        return {"commit": found, "changed": bool(_git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], capture_output=True, text=True, timeout=GIT_SECONDS, check=True
    )
    return done.stdout.strip()


def lock() -> str:
    """Versions of all installed packages, a line each, as pip takes them."""
    found = {(d.metadata["Name"] or "").lower(): d.version for d in distributions()}
    return "".join(f"{name}=={version}\n" for name, version in sorted(found.items()) if name)


def user() -> str:
    """Who runs this, by the operating system."""
    try:
        return getpass.getuser().encode("utf-8", "replace").decode()
    except (OSError, KeyError, ImportError):
        return "unknown"
