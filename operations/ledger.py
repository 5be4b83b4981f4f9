"""``Ledger``: lines that are only ever added, each with the digest of the one before.

A line that was changed, taken out or put in elsewhere than at the end breaks the chain. Lines cut off at the end do not: who
must know of that keeps `Ledger.head` elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..ppl import files
from ..ppl.errors import RegistryError, explain
from ..ppl.interrupts import deferred

FIRST = hashlib.sha256(b"elboroom-ledger/1").hexdigest()


def now() -> str:
    """Time in UTC to the microsecond, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


class Ledger:
    """A file of JSON lines that are chained by their digests.

    Parameters
    ----------
    path : Path
        The file; its folder is there once something is appended.

    Examples
    --------
    >>> import tempfile
    >>> ledger = Ledger(Path(tempfile.mkdtemp()) / "log.jsonl")
    >>> _ = ledger.append(what="begin"), ledger.append(what="add", version=1)
    >>> [(line["at"], line["what"]) for line in ledger.lines()]
    [(1, 'begin'), (2, 'add')]
    """

    def __init__(self, path: Path):
        self.path = path

    @contextmanager
    def turn(self) -> Iterator[None]:
        """This process alone for a block; interrupts wait for its end.

        Raises
        ------
        OSError
            Where there is no lock to be had.
        """
        with deferred(), files.alone(self.path.with_suffix(".lock")):
            yield

    def append(self, **content: Any) -> dict[str, Any]:
        """Add a line and have it on the disk; within `turn` where others may write.

        Parameters
        ----------
        **content
            What JSON takes; ``at``, ``time`` and ``before`` are the line's own.

        Returns
        -------
        dict
            The line.

        Raises
        ------
        OSError
            Where it cannot be written: the file is as it was.
        RegistryError
            Where the lines before are not as they were written.
        """
        lines, length = self._read()
        line = {"at": len(lines) + 1, "time": now(), "before": self._head(lines), **content}
        text = json.dumps(line, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        try:
            os.ftruncate(handle, length)  # without what a killed writer left
            os.lseek(handle, length, os.SEEK_SET)
            try:
                _write_all(handle, text)
                os.fsync(handle)
            except BaseException:
                os.ftruncate(handle, length)
                raise
        finally:
            os.close(handle)
        return line

    def lines(self) -> list[dict[str, Any]]:
        """All lines, in order; none where there is no file.

        Raises
        ------
        RegistryError
            Where a line is not as it was written.
        """
        return [line for line, _ in self._read()[0]]

    @property
    def head(self) -> str:
        """Digest of the last line, which stands for all of them."""
        return self._head(self._read()[0])

    def heads(self) -> list[str]:
        """What `head` was before the first line, after it, and after each that followed."""
        return [FIRST, *(digest for _, digest in self._read()[0])]

    @staticmethod
    def _head(lines: list[tuple[dict[str, Any], str]]) -> str:
        return lines[-1][1] if lines else FIRST

    def _read(self) -> tuple[list[tuple[dict[str, Any], str]], int]:
        """Lines with their digests, and the bytes that they take; a last one that was not written to its end is none."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return [], 0
        except OSError as error:
            what, got = f"log '{self.path}'", (error.strerror or str(error)).lower()
            raise RegistryError(explain(what, "a file that can be read", got, "make it readable")) from error
        whole = content[: content.rfind(b"\n") + 1]
        if _has_more(content[len(whole) :]):
            raise self._changed(content.count(b"\n") + 1, "one with another end")
        found: list[tuple[dict[str, Any], str]] = []
        for number, text in enumerate(whole.split(b"\n")[:-1], start=1):
            found.append((self._line(number, text, self._head(found)), hashlib.sha256(text).hexdigest()))
        return found, len(whole)

    def _line(self, number: int, text: bytes, before: str) -> dict[str, Any]:
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            raise self._changed(number, "one that is no JSON") from None
        if not isinstance(line, dict) or line.get("at") != number or not isinstance(line.get("time"), str):
            raise self._changed(number, "another")
        if line.get("before") != before:
            raise self._changed(number, "one that follows another line than the one before it")
        return line

    def _changed(self, number: int, got: str) -> RegistryError:
        what, expected = f"log '{self.path}'", f"line {number} as it was written"
        remedy = "somebody or something changed it: put back a copy, and find out what else was changed"
        return RegistryError(explain(what, expected, got, remedy))


def _has_more(text: bytes) -> bool:
    """Whether something follows a whole JSON object, which no writer that was killed leaves."""
    words = text.decode("utf-8", "replace")
    try:
        return json.JSONDecoder().raw_decode(words)[1] < len(words)
    except (ValueError, RecursionError):
        return False


def _write_all(handle: int, text: bytes) -> None:
    while text:
        text = text[os.write(handle, text) :]
