"""The audit trail: a line for each request, chained to the one before, without its data."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import queue
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...ppl import files
from ...ppl.errors import InferenceError, explain
from ..ledger import Ledger, now
from .refusals import Refused
from .thresholds import AUDIT_BYTES, AUDIT_SECONDS, AUDIT_WAITING

LOG = logging.getLogger("elboroom.serving")


class Trail:
    """Files of lines in a folder, which `Ledger` reads: a line that was changed, taken out or put in breaks the chain.

    Parameters
    ----------
    folder : str or path
        Of this service; each process has files of its own there.
    each : int
        Bytes of a file, then another one follows, which begins with the digest of the one before.

    Notes
    -----
    A thread writes, twice a second; that is what a power cut may lose. Where the disk takes nothing more, or too many lines wait,
    requests are refused: none is answered that would leave no line.

    Examples
    --------
    >>> import tempfile
    >>> trail = Trail(tempfile.mkdtemp())
    >>> trail.tell({"id": "a", "route": "/v1/predict", "status": 200})
    >>> trail.close()
    >>> [line["what"] for line in Ledger(trail.path).lines()]
    ['begin', 'request']
    """

    def __init__(self, folder: Any, each: int = AUDIT_BYTES):
        self._folder, self._each = files.place(folder, "audit"), each
        self._queue: queue.Queue[Mapping[str, Any] | None] = queue.Queue(AUDIT_WAITING)
        self._number, self._head, self._at, self._size = 0, "", 0, 0
        self.failed = ""
        self._handle = -1
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._begin()
        except OSError as error:
            raise files.unwritable(f"audit '{self._folder}'", error) from error
        self._thread = threading.Thread(target=self._write, name="elboroom-audit", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Refuse a request of which no line would be kept.

        Raises
        ------
        Refused
            503.
        """
        if self.failed or self._queue.full():
            raise Refused(
                503, "audit", "the audit trail cannot be written: nothing is answered.", {"Retry-After": "5"}
            )

    def tell(self, line: Mapping[str, Any]) -> None:
        """Have a line written."""
        try:
            self._queue.put_nowait({"time": now(), "what": "request", **line})
        except queue.Full:
            LOG.error("a line of the audit trail is lost: %s", json.dumps(dict(line)))

    def close(self) -> None:
        """Write what waits, and end."""
        self._queue.put(None)
        self._thread.join(AUDIT_SECONDS * 20)
        os.close(self._handle)

    # -- the thread --------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Begin a file, of which none was there."""
        before, self._number = self._head, self._number + 1
        self.path: Path = (
            self._folder / f"{now()[:19].replace(':', '')}-{os.getpid()}-{self._number:04d}.jsonl"
        )
        if self._number > 1:
            os.close(self._handle)
        self._handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._head, self._at, self._size = Ledger(self.path).head, 0, 0
        self._put([{"time": now(), "what": "begin", "follows": before}])

    def _put(self, lines: list[Mapping[str, Any]]) -> None:
        texts = []
        for line in lines:
            self._at += 1
            whole = {"at": self._at, "time": line["time"], "before": self._head, **line}
            text = json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode()
            self._head = hashlib.sha256(text).hexdigest()
            texts.append(text + b"\n")
        content = b"".join(texts)
        self._size += len(content)
        while content:
            content = content[os.write(self._handle, content) :]
        os.fsync(self._handle)

    def _write(self) -> None:
        ended = False
        while not ended:
            lines = [self._queue.get()]
            threading.Event().wait(0 if lines[0] is None else AUDIT_SECONDS)
            while True:
                try:
                    lines.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            ended = None in lines
            self._kept([line for line in lines if line is not None])

    def _kept(self, lines: list[Mapping[str, Any]]) -> None:
        try:
            if lines:
                self._put(lines)
            if self._size > self._each:
                self._begin()
        except OSError as error:
            self.failed = str(error)
            LOG.error("the audit trail cannot be written: %s", error)


def trail_of(given: Any) -> Trail | None:
    """A trail in a folder, or none.

    Raises
    ------
    InferenceError
        For what is no folder.
    """
    if given is None or isinstance(given, Trail):
        return given
    if Path(str(given)).is_file():
        raise InferenceError(
            explain("audit", "a folder", "a file", "name a folder for the files of the trail")
        )
    return Trail(given)
