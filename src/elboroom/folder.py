"""A fit's folder: ``report.html``, ``report.json`` and ``posterior/``, written whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .ppl import files
from .ppl.errors import DataError, InferenceError, explain
from .words import FITS, VERDICTS

SCHEMA = "elboroom-report/1"
REPORT = ("report.html", "report.json", "report.md")
CONTENT = (*REPORT, "posterior", "drift.html", "drift.json", "drift.md")
UNTRUSTED, MISFIT, CAUTION, DRIFT = 4, 5, 3, 6
"""Exit statuses of a command that was told to fail on these."""


@contextmanager
def staged(out: str | Path) -> Iterator[Path]:
    """A folder to fill, which becomes `out` when the block ends without an error.

    Parameters
    ----------
    out : path
        A folder that does not exist, is empty, or holds an earlier fit and nothing else.

    Yields
    ------
    pathlib.Path
        The folder to fill, beside `out`.

    Raises
    ------
    DataError
        At once, if `out` cannot be written or holds something else.
    """
    out = files.place(out, "output folder")
    try:
        _refuse(out)
        with files.folder(out) as stage:
            yield stage
    except OSError as error:
        raise files.unwritable(f"output folder '{out}'", error, DataError) from error


def _refuse(out: Path) -> None:
    if not out.exists():
        return
    held = sorted(entry.name for entry in out.iterdir() if not files.is_left(entry.name))
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
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def write(posterior: Any, folder: Path) -> dict[str, Any] | Exception:
    """Write the report and the posterior into a folder.

    Parameters
    ----------
    posterior : Posterior
        What is written.
    folder : Path
        An empty folder.

    Returns
    -------
    dict or Exception
        The report's JSON, or why there is no report: the posterior is there all the same.

    Raises
    ------
    DataError
        Where the posterior cannot be written there; it says in which folder it was put instead.
    """
    failure = None
    try:
        posterior.report(folder)  # first: the predictions that it computes are saved too
    except Exception as error:  # whatever fails in a report, the fit is kept
        failure = error
    try:
        posterior.save(folder / "posterior", dtype="float32")
    except (OSError, InferenceError) as error:
        raise DataError(f"{error} {_rescued(posterior)}") from error
    return read_report(folder) if failure is None else failure


def _rescued(posterior: Any) -> str:
    """Where the posterior was saved that could not be saved where it was asked for."""
    try:
        place = Path(tempfile.mkdtemp(prefix="elboroom-")) / "posterior"
        posterior.save(place, dtype="float32")
    except (OSError, InferenceError):
        return "It could not be saved among the temporary files either."
    return f"The fit is kept in '{place}', to be read with elboroom.load."


def rewrite_report(folder: str | Path) -> dict[str, Any]:
    """Render the report of a fit's folder again from ``posterior/``; returns its JSON.

    Raises
    ------
    DataError
        If there is no posterior to read, or the folder cannot be written.
    """
    folder = files.place(folder, "folder")
    read_posterior(folder).report(folder)
    return read_report(folder)


def read_posterior(folder: str | Path) -> Any:
    """The posterior of a fit's folder.

    Raises
    ------
    DataError
        If there is none.
    """
    from .inference.posterior.load import load

    folder = files.place(folder, "folder")
    files.tidy(folder)
    if not (folder / "posterior").exists():
        raise DataError(
            explain(f"folder '{folder}'", "a fit's folder with posterior/ in it", "none", "check the path")
        )
    return load(folder / "posterior")


def read_report(folder: str | Path) -> dict[str, Any]:
    """The JSON report of a fit's folder.

    Raises
    ------
    DataError
        If there is none, or it is not one of ours.
    """
    folder = files.place(folder, "folder")
    files.tidy(folder)
    path = folder / "report.json"
    what, remedy = f"file '{path}'", "check the path, or write the report again with: elboroom report DIR"
    try:
        record, sealed = files.unsealed_json(path.read_bytes())
    except OSError as error:
        got = (error.strerror or str(error)).lower()
        raise DataError(explain(what, "a fit's report", got, remedy)) from None
    except ValueError as error:
        raise DataError(explain(what, "a fit's report", str(error), remedy)) from None
    if record.get("schema") != SCHEMA:
        raise DataError(explain(what, f"a fit's report, {SCHEMA}", "other JSON", remedy))
    if not sealed:
        raise DataError(explain(what, "a report with its digest", "one without", remedy))
    if record.get("verdict") not in list(VERDICTS) or record.get("fits_data", "") not in list(FITS):
        raise DataError(explain(what, "a verdict that is one of ours", "another, or none", remedy))
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
