"""Files that are written whole, and records in one JSON file with a digest, read back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..ppl import files
from ..ppl.errors import InferenceError, explain


def write_record(path: Any, what: str, record: dict[str, Any]) -> Path:
    """Write a record, see `write_content`."""
    return write_content(path, what, files.sealed_json(record))


def write_content(path: Any, what: str, content: bytes) -> Path:
    """Write a file, its folder too where there is none.

    Raises
    ------
    InferenceError
        If it cannot be written.
    """
    place = files.place(path, what)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        files.write(place, content)
    except OSError as error:
        raise files.unwritable(f"{what} '{place}'", error) from error
    return place


def read_record(path: Any, what: str, made: Callable[[dict[str, Any]], Any], remedy: str) -> Any:
    """What is made of a record, which may refuse it by a `ValueError`.

    Raises
    ------
    InferenceError
        If there is no file, or none that was written here, or it was changed.
    """
    place = files.place(path, what)
    try:
        record, sealed = files.unsealed_json(place.read_bytes())
        if not sealed:
            raise ValueError("JSON without a digest")
        return made(record)
    except OSError as error:
        got = (error.strerror or str(error)).lower()
        raise InferenceError(explain(f"{what} '{place}'", "a file", got, remedy)) from None
    except (ValueError, KeyError, TypeError) as error:
        raise InferenceError(explain(f"{what} '{place}'", "what save wrote", str(error), remedy)) from None
