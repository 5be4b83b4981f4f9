"""A fit's folder: ``report.html``, ``report.json`` and ``posterior/``, written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .ppl.errors import DataError, explain

REPORT = ("report.html", "report.json", "report.md")
CONTENT = (*REPORT, "posterior")
UNTRUSTED, MISFIT, CAUTION = 4, 5, 3


@contextmanager
def staged(out: str | Path) -> Iterator[Path]:
    """A folder to fill, which becomes `out` when the block ends without an error.

    Parameters
    ----------
    out : path
        A folder that does not exist, is empty, or holds an earlier fit and nothing else.

    Raises
    ------
    DataError
        At once, if `out` cannot be written or holds something else.
    """
    out = Path(out).expanduser().resolve()
    _refuse(out)
    stage = out.parent / f".{out.name}.{os.getpid()}"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        stage.mkdir()
    except OSError as error:
        raise _unwritable(out, error) from None
    try:
        yield stage
        _exchange(stage, out)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _refuse(out: Path) -> None:
    try:
        if not out.exists():
            return
        held = sorted(entry.name for entry in out.iterdir())
    except OSError as error:
        raise _unwritable(out, error) from None
    strange = [name for name in held if name not in CONTENT]
    if strange:
        raise DataError(
            explain(
                f"output folder '{out}'",
                "a new or empty folder, or one that an earlier fit wrote",
                f"one that holds {strange[:3]}",
                "name another folder",
            )
        )
    if not os.access(out, os.W_OK):
        raise _unwritable(out, PermissionError("permission denied"))


def _unwritable(out: Path, error: OSError) -> DataError:
    reason = (error.strerror or str(error)).lower()
    return DataError(
        explain(f"output folder '{out}'", "a folder that can be written", reason, "name another folder")
    )


def _exchange(stage: Path, out: Path) -> None:
    if not out.exists():
        stage.rename(out)
        return
    aside = stage.with_name(f"{stage.name}.old")
    out.rename(aside)
    try:
        stage.rename(out)
    except OSError:
        aside.rename(out)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def write(posterior: Any, folder: Path) -> dict[str, Any]:
    """Write the report and the posterior into `folder`; returns the report's JSON."""
    try:
        posterior.report(folder)  # first: the predictions that it computes are saved too
        posterior.save(folder / "posterior", dtype="float32")
    except OSError as error:
        raise _unwritable(folder, error) from error
    return read_report(folder)


def rewrite_report(folder: str | Path) -> dict[str, Any]:
    """Render the report of a fit's folder again from ``posterior/``; returns its JSON.

    Raises
    ------
    DataError
        If there is no posterior to read, or the folder cannot be written.
    """
    folder = Path(folder).expanduser().resolve()
    posterior = read_posterior(folder)
    stage = folder / f".report.{os.getpid()}"
    try:
        stage.mkdir()
        posterior.report(stage)
        for name in REPORT:
            os.replace(stage / name, folder / name)
    except OSError as error:
        raise _unwritable(folder, error) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return read_report(folder)


def read_posterior(folder: str | Path) -> Any:
    """The posterior of a fit's folder.

    Raises
    ------
    DataError
        If there is none.
    """
    from .inference.posterior.save import load

    kept = Path(folder).expanduser().resolve() / "posterior"
    if not kept.exists():
        raise DataError(
            explain(f"folder '{folder}'", "a fit's folder with posterior/ in it", "none", "check the path")
        )
    return load(kept)


def read_report(folder: str | Path) -> dict[str, Any]:
    """The JSON report of a fit's folder.

    Raises
    ------
    DataError
        If there is none, or it is not one of ours.
    """
    path = Path(folder).expanduser() / "report.json"
    remedy = "check the path, or write the report again with: elboroom report DIR"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        got = (error.strerror or str(error)).lower()
        raise DataError(explain(f"file '{path}'", "a fit's report", got, remedy)) from None
    except ValueError:
        raise DataError(explain(f"file '{path}'", "JSON", "something else", remedy)) from None
    if not isinstance(record, dict) or "verdict" not in record or "fits_data" not in record:
        raise DataError(explain(f"file '{path}'", "a fit's report", "other JSON", remedy))
    return record


def exit_status(record: dict[str, Any], fail_on: Iterable[str]) -> int:
    """Status of a finished command.

    Parameters
    ----------
    record : dict
        The JSON report.
    fail_on : iterable of {"caution", "untrusted", "misfit"}
        ``"caution"`` holds for an untrusted verdict too; ``"misfit"`` does not where the fit to the data
        could not be assessed.

    Returns
    -------
    int
        4 untrusted, else 5 misfit, else 3 caution, else 0.

    Examples
    --------
    >>> exit_status({"verdict": "caution", "fits_data": False}, ["caution", "misfit"])
    5
    >>> exit_status({"verdict": "caution", "fits_data": False}, ["untrusted"])
    0
    """
    named = set(fail_on)
    if record["verdict"] == "untrusted" and named & {"untrusted", "caution"}:
        return UNTRUSTED
    if record["fits_data"] is False and "misfit" in named:
        return MISFIT
    if record["verdict"] == "caution" and "caution" in named:
        return CAUTION
    return 0
