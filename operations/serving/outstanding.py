"""Requests that were dealt and of which no outcome is known yet."""

from __future__ import annotations

import threading
from collections import OrderedDict
from hashlib import blake2b
from pathlib import Path
from typing import Any

from ..kept import read_record, write_record
from .thresholds import MOST_OUTSTANDING

WHAT, ENDING = "outstanding requests", ".outstanding"


class Outstanding:
    """Digests of keys, each with how many of its requests there are; the oldest are let go. Safe for threads.

    Examples
    --------
    >>> some = Outstanding()
    >>> some.add("anna")
    >>> some.has("anna"), some.taken("anna"), some.taken("anna")
    (True, True, False)
    """

    def __init__(self, known: dict[str, int] | None = None):
        self._lock = threading.Lock()
        self._known: OrderedDict[str, int] = OrderedDict(known or {})

    def __len__(self) -> int:
        return sum(self._known.copy().values())

    def add(self, key: str) -> None:
        """One more request of a key."""
        mark = _mark(key)
        with self._lock:
            self._known[mark] = self._known.get(mark, 0) + 1
            self._known.move_to_end(mark)
            while len(self._known) > MOST_OUTSTANDING:
                self._known.popitem(last=False)

    def has(self, key: str) -> bool:
        """Whether there is one of a key."""
        return _mark(key) in self._known

    def taken(self, key: str) -> bool:
        """Take one of a key out; False where there is none."""
        mark = _mark(key)
        with self._lock:
            often = self._known.get(mark, 0)
            if often > 1:
                self._known[mark] = often - 1
            elif often:
                del self._known[mark]
        return often > 0

    def save(self, path: Path) -> None:
        """Write them beside the file of a canary."""
        with self._lock:
            known = dict(self._known)
        write_record(path.with_name(path.name + ENDING), WHAT, {"known": known})

    @classmethod
    def of(cls, path: Path) -> Outstanding:
        """Those beside the file of a canary; none where there is no such file.

        Raises
        ------
        InferenceError
            Where it was changed.
        """
        place = path.with_name(path.name + ENDING)
        return (
            read_record(place, WHAT, _made, "remove it: outcomes of requests before are not taken then")
            if place.exists()
            else cls()
        )


def _made(record: dict[str, Any]) -> Outstanding:
    return Outstanding({str(mark): int(often) for mark, often in record["known"].items()})


def _mark(key: str) -> str:
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
