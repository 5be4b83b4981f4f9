"""Compiled programs kept between processes: a folder of bounded size, the longest unused of which go first.

``ELBOROOM_CACHE`` names the folder, or is ``off``; ``ELBOROOM_CACHE_GIB`` is its largest size. An entry's name holds
everything that decides its content, versions of libraries among it. Entries carry a checksum, since a changed one
could end the process, and only those of this user or of root are read, since they are run.
"""

from __future__ import annotations

import logging
import math
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from . import files
from .errors import BackendError, explain
from .thresholds import CACHE_GIB, FILLED, LOOKS

logger = logging.getLogger("elboroom")

OFF = {"off", "0", "no", "false"}
VERSION = "1"  # of the entries' layout
_ENTRY = re.compile(r"[a-z]+-[0-9a-f]{64}")


@dataclass(frozen=True)
class Entry:
    """A file of the cache.

    Attributes
    ----------
    path : pathlib.Path
    size : int
        Bytes.
    used : float
        When it was used last, in seconds since 1970.
    """

    path: Path
    size: int
    used: float

    @property
    def kind(self) -> str:
        """What it holds, as it was given to `write`."""
        return self.path.name.partition("-")[0]


class _Written:
    """Bytes that this process has written since it last looked how full the folder is; None before the first."""

    since: int | None = None


def folder() -> Path | None:
    """Where entries are kept; None where ``ELBOROOM_CACHE`` is ``off``."""
    choice = os.environ.get("ELBOROOM_CACHE", "")
    if choice.lower() in OFF:
        return None
    if not choice:
        import platformdirs

        choice = platformdirs.user_cache_dir("elboroom")
    return Path(choice).expanduser().absolute() / f"compiled-{VERSION}"


def largest() -> int:
    """Bytes that the entries may take together.

    Raises
    ------
    BackendError
        Where ``ELBOROOM_CACHE_GIB`` is no size.
    """
    choice = os.environ.get("ELBOROOM_CACHE_GIB") or CACHE_GIB
    try:
        size = float(choice)
    except ValueError:
        size = math.nan
    if not 0 <= size < math.inf:
        raise BackendError(
            explain("ELBOROOM_CACHE_GIB", "a size in GiB, such as 2", repr(choice), "correct it or unset it")
        )
    return int(size * 2**30)


def read(kind: str, key: str) -> bytes | None:
    """What `write` was given for a kind and a key, or None; a changed entry is removed."""
    path = _path(kind, key)
    if path is None:
        return None
    try:
        with open(path, "rb") as file:
            if not _ours(os.fstat(file.fileno())):
                return None
            content = file.read()
        found = files.unsealed(content)
        os.utime(path)
    except ValueError:
        path.unlink(missing_ok=True)
        return None
    except OSError:
        return None
    return found


def write(kind: str, key: str, content: bytes) -> None:
    """Keep an entry where there is room: it is worth no error.

    Parameters
    ----------
    kind : str
        Lower-case letters: what it holds.
    key : str
        64 hexadecimal digits of all that decides its content.
    content : bytes
        The entry.

    Raises
    ------
    BackendError
        Where ``ELBOROOM_CACHE_GIB`` is no size.
    """
    path, limit = _path(kind, key), largest()
    if path is None or len(content) > limit:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        files.put(path, files.sealed(content), mode=0o600)
    except OSError as error:
        logger.info("cache '%s': not written (%s)", path.parent, error)
        return
    before = _Written.since
    _Written.since = (before or 0) + len(content)
    if before is None or _Written.since > limit / LOOKS:
        _Written.since = 0
        prune(limit)


def entries() -> list[Entry]:
    """Every entry, the longest unused first."""
    found = []
    for path in _listed():
        try:
            known = path.lstat()
        except OSError:  # removed by another process
            continue
        if _ENTRY.fullmatch(path.name) and stat.S_ISREG(known.st_mode):
            found.append(Entry(path, known.st_size, known.st_mtime))
    return sorted(found, key=lambda entry: entry.used)


def prune(limit: int) -> int:
    """Remove drafts of killed writers and, where all entries are larger than a limit, the longest unused.

    Parameters
    ----------
    limit : int
        Bytes; what is left is smaller by a margin. -1 removes all.

    Returns
    -------
    int
        Bytes removed.
    """
    for path in _listed():
        if files.is_left(path.name):
            files.reclaim(path)
    found = entries()
    total, removed = sum(entry.size for entry in found), 0
    if total <= limit:
        return 0
    for entry in found:
        if total - removed <= FILLED * limit:
            break
        try:
            entry.path.unlink()
        except FileNotFoundError:  # by another process
            pass
        except OSError:
            continue
        removed += entry.size
    return removed


def _listed() -> list[Path]:
    place = folder()
    try:
        return [] if place is None else list(place.iterdir())
    except OSError:
        return []


def _path(kind: str, key: str) -> Path | None:
    place = folder()
    return None if place is None else place / f"{kind}-{key}"


def _ours(known: os.stat_result) -> bool:
    """Whether nobody but this user and root can have written a file."""
    if not hasattr(os, "getuid"):
        return True
    return known.st_uid in (os.getuid(), 0) and not known.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
