"""Files and folders that are written whole or not at all, and content that tells when it was changed.

A writer that is killed leaves at most a hidden draft beside the place it wrote to. The next call for that place finds it,
puts back what was taken away, and removes the rest.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import hashlib
import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import ElboroomError, InferenceError, explain
from .thresholds import ATTEMPTS, DRAFT_LETTERS, LOCK_PAUSE, LOCK_SECONDS, MARK_DIGITS, QUOTED_LONG, STALE

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # a module elsewhere

DRAFT, OLD = "draft", "old"
SHA256 = 32  # bytes of a checksum
_EXCHANGE = 2  # RENAME_EXCHANGE of Linux's <fcntl.h>, RENAME_SWAP of macOS's <sys/stdio.h>
_HERE = -100  # AT_FDCWD of <fcntl.h>


def place(path: Any, what: str) -> Path:
    """A path as the user gave it, absolute.

    Parameters
    ----------
    path : str or path-like
        As a person writes it, `~` for the home folder.
    what : str
        What it is for: the subject of the error.

    Raises
    ------
    InferenceError
        For what is no path.
    """
    try:
        return Path(os.fsdecode(path)).expanduser().resolve() if path else _no_path(path)
    except (TypeError, ValueError, RuntimeError, OSError) as error:
        words = str(error) if isinstance(path, (str, os.PathLike)) else repr(path)[:QUOTED_LONG]
        raise InferenceError(explain(what, "a path", words, "pass the path of a file or folder")) from None


def _no_path(path: Any) -> Path:
    raise ValueError("an empty one" if isinstance(path, str) else repr(path))


def unwritable(
    what: str, error: OSError, kind: type[ElboroomError] = InferenceError, remedy: str = ""
) -> ElboroomError:
    """The error for a place that cannot be written: a full disk, a quota, a folder that is gone or of others.

    Parameters
    ----------
    what : str
        What was to be written: the subject of the message.
    error : OSError
        What the system said.
    kind : type
        Class of the error that is made.
    remedy : str
        What to do; by default to make room or name another place.
    """
    words = (error.strerror or str(error)).lower()
    remedy = remedy or "make room or name another place; what was there before is as it was"
    return kind(explain(what, "a place that can be written", words, remedy))


# -- writing ---------------------------------------------------------------------------------------------


def write(path: Path, content: bytes | str) -> None:
    """Write a file: afterwards it has this content or, after an error or a kill, the one that it had.

    Parameters
    ----------
    path : Path
        The file, in a folder that is there.
    content : bytes or str
        A string is written in UTF-8.

    Raises
    ------
    OSError
        Where it cannot be written; what was there is as it was.
    """
    tidy(path)
    put(path, content)
    _settle(path.parent)


def put(path: Path, content: bytes | str, mode: int = 0o666) -> None:
    """Write as `write` does, without a look for what others left.

    Parameters
    ----------
    path : Path
        The file, in a folder that is there.
    content : bytes or str
        A string is written in UTF-8.
    mode : int
        Permissions, which the umask narrows.

    Raises
    ------
    OSError
        Where it cannot be written; what was there is as it was.
    """
    data = content.encode("utf-8", "replace") if isinstance(content, str) else content
    with _draft(path, functools.partial(_new_file, mode)) as (draft, handle):
        with os.fdopen(os.dup(handle), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(handle)
        os.replace(draft, path)


@contextmanager
def folder(path: Path) -> Iterator[Path]:
    """An empty folder to fill with `write`, which takes the place of `path` when the block ends without an error.

    Parameters
    ----------
    path : Path
        What is replaced; its parents are made.

    Yields
    ------
    pathlib.Path
        The empty folder.

    Raises
    ------
    OSError
        Where it cannot be written; what was there is as it was.
    """
    tidy(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _draft(path, _new_folder) as (draft, _):
        yield draft
        _swap(draft, path)
        _settle(path.parent)


def _new_file(mode: int, draft: Path) -> int:
    return os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)


def _new_folder(draft: Path) -> int | None:
    draft.mkdir()
    return _opened(draft)


@contextmanager
def _draft(path: Path, new) -> Iterator[tuple[Path, Any]]:
    """A hidden file or folder beside `path` that lives for a block, locked so that nobody takes it for a dead writer's."""
    for attempt in range(ATTEMPTS):
        draft, handle = _beside(path, DRAFT), None
        try:
            try:
                handle = new(draft)
            except FileNotFoundError:  # taken away before it could be opened, or there is no parent
                if attempt == ATTEMPTS - 1:
                    raise
                continue
            if handle is None or (_lock(handle) is not False and draft.exists()):
                yield draft, handle
                return
        finally:
            if handle is not None:
                os.close(handle)
            remove(draft)
    raise FileNotFoundError(errno.ENOENT, "drafts are taken away as they are made", str(path))


def _swap(draft: Path, path: Path) -> None:
    """Put `draft` where `path` is; what was there is at `draft` then, or gone."""
    if not path.exists():
        os.rename(draft, path)
    elif not _exchange(draft, path):
        aside = _beside(path, OLD)
        with _locked(path):  # nobody takes it for a killed writer's while it has no place
            os.rename(path, aside)
            try:
                os.rename(draft, path)
            except BaseException:
                os.rename(aside, path)
                raise
        shutil.rmtree(aside, ignore_errors=True)


@functools.cache
def _exchanger():
    """The system's exchange of two names in one step, or None."""
    name = {"linux": "renameat2", "darwin": "renamex_np"}.get(sys.platform)
    try:
        found = getattr(ctypes.CDLL(None), name) if name else None
    except (OSError, AttributeError):
        return None
    if found is not None and sys.platform == "linux":
        return lambda a, b: found(_HERE, a, _HERE, b, _EXCHANGE)
    return found and (lambda a, b: found(a, b, _EXCHANGE))


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two names in one step; False where the system or its file system cannot."""
    call = _exchanger()
    return call is not None and call(os.fsencode(first), os.fsencode(second)) == 0


def _settle(folder: Path) -> None:
    """Have the names in a folder on the disk too, where folders can be opened."""
    handle = _opened(folder)
    if handle is not None:
        try:
            os.fsync(handle)
        except OSError:
            pass
        finally:
            os.close(handle)


# -- one writer at a time --------------------------------------------------------------------------------


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the lock of a file for a block: one thread of one process at a time. A process that is killed gives it back.

    Parameters
    ----------
    path : Path
        The lock, in a folder that is there; it stays when the block ends.

    Raises
    ------
    OSError
        Where it cannot be written, has no locks, or another process has held it for half a minute.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while not (found := _claim(handle)):
            if found is None:
                raise OSError(errno.ENOLCK, "a file system without locks", str(path))
            if time.monotonic() > deadline:
                raise TimeoutError(errno.ETIMEDOUT, "another process holds its lock", str(path))
            time.sleep(LOCK_PAUSE)
        yield
    finally:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_UN)  # a process that was forked meanwhile holds the handle too
        os.close(handle)


def _claim(handle: int) -> bool | None:
    """Take a lock that also Windows has, of the first byte."""
    if fcntl is not None or sys.platform != "win32":
        return _lock(handle)
    import msvcrt

    try:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    except OSError:
        return False
    return True


# -- what a killed writer left ---------------------------------------------------------------------------


def tidy(path: Path) -> None:
    """Put back or remove what writers that were killed left beside `path`."""
    mark = _mark(path)
    try:
        with os.scandir(path.parent) as entries:
            left = [Path(entry.path) for entry in entries if entry.name.startswith(mark)]
    except OSError:
        return
    for one in sorted(left, key=lambda one: one.suffix == f".{DRAFT}"):  # first what is to be put back
        reclaim(one, path)


def reclaim(left: Path, path: Path | None = None) -> None:
    """Remove a draft that nobody writes; where it is the old content of a `path` that is missing, put it back.

    Parameters
    ----------
    left : Path
        The draft, or the old content.
    path : Path, optional
        Where it belongs.
    """
    with _locked(left) as locked:
        if locked is False or (locked is None and not _is_stale(left)):
            return
        try:
            if path is not None and left.suffix == f".{OLD}" and not path.exists():
                os.rename(left, path)
            else:
                remove(left)
        except OSError:  # another process was faster, or may and we may not
            pass


def is_left(name: str) -> bool:
    """Whether a name is that of a draft.

    Examples
    --------
    >>> is_left(".report.html.0a1b2c3d.4e5f6a7b.draft"), is_left("report.html")
    (True, False)
    """
    return name.startswith(".") and name.endswith((f".{DRAFT}", f".{OLD}"))


def _mark(path: Path) -> str:
    return f".{path.name[:DRAFT_LETTERS]}.{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:MARK_DIGITS]}."


def _beside(path: Path, kind: str) -> Path:
    return path.with_name(f"{_mark(path)}{secrets.token_hex(4)}.{kind}")


def _lock(handle: int) -> bool | None:
    """Take the lock that a living writer holds: False where another has it, None where there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def remove(draft: Path) -> None:
    """Remove a file, or a folder with all that it holds; what cannot be removed stays."""
    if draft.is_dir() and not draft.is_symlink():
        shutil.rmtree(draft, ignore_errors=True)
    else:
        with suppress(OSError):
            draft.unlink()


def _opened(path: Path) -> int | None:
    """A handle for reading, None where there is none to be had (folders on Windows)."""
    try:
        return os.open(path, os.O_RDONLY)
    except OSError:
        return None


@contextmanager
def _locked(path: Path) -> Iterator[bool | None]:
    """What `_lock` says of a file or folder, for the length of a block."""
    handle = _opened(path)
    try:
        yield None if handle is None else _lock(handle)
    finally:
        if handle is not None:
            os.close(handle)


def _is_stale(left: Path) -> bool:
    try:
        return time.time() - left.stat().st_mtime > STALE
    except OSError:
        return False


# -- content that tells when it was changed --------------------------------------------------------------


def sealed(content: bytes) -> bytes:
    """Bytes with their checksum behind them.

    Examples
    --------
    >>> unsealed(sealed(b"content"))
    b'content'
    """
    return content + hashlib.sha256(content).digest()


def unsealed(content: bytes) -> bytes:
    """What `sealed` was given.

    Raises
    ------
    ValueError
        Where a byte is another, or missing.
    """
    found = content[:-SHA256]
    if hashlib.sha256(found).digest() != content[-SHA256:]:
        raise ValueError("changed or cut content")
    return found


def sealed_json(record: dict) -> bytes:
    """A record as JSON with a digest of its content."""
    whole = {**record, "digest": digest_of(record)}
    return json.dumps(whole, indent=1, allow_nan=False, ensure_ascii=False).encode("utf-8", "surrogatepass")


def unsealed_json(content: bytes) -> tuple[dict, bool]:
    """A record without its digest, and whether it had one.

    Raises
    ------
    ValueError
        For what is no JSON object, or has been changed.

    Examples
    --------
    >>> unsealed_json(sealed_json({"mean": 1.5}))
    ({'mean': 1.5}, True)
    """
    try:
        record = json.loads(content, parse_constant=_no_number)
        if not isinstance(record, dict):
            raise ValueError("no JSON object")
        digest = record.pop("digest", None)
        if digest is not None and digest != digest_of(record):
            raise ValueError("changed content")
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None
    return record, digest is not None


def _no_number(word: str):
    raise ValueError(f"{word}, which JSON lacks")


def digest_of(record: dict) -> str:
    """Digest of a record's content, whatever the spaces and the order of its text.

    Examples
    --------
    >>> digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    True
    """
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
