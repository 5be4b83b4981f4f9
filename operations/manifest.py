"""What a folder holds, file by file: names, sizes and digests, against which it is read again."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..ppl import files
from ..ppl.errors import SignatureError, explain
from .naming import is_portable
from .thresholds import ID_DIGITS

MANIFEST, SIGNATURES = "manifest.json", "signatures"
FORMAT = "elboroom-manifest/1"
NO_ROOM = "make room for it where TMPDIR says, and its files readable"
UNLISTED = re.compile(rf"{MANIFEST}|{SIGNATURES}/[0-9a-f]{{{ID_DIGITS}}}\.json")


def manifest_of(folder: Path, **subject: Any) -> bytes:
    """The manifest of a folder, as the bytes that are signed.

    Parameters
    ----------
    folder : Path
        With files alone, and folders of them.
    **subject
        What the folder is: names and numbers that JSON takes.

    Returns
    -------
    bytes
        JSON, the same for the same content.

    Raises
    ------
    SignatureError
        For a folder with links, or with names that some system has no files of.
    """
    names = sorted(_files(folder))
    odd = [name for name in names if not is_inside(name)]
    if odd:
        raise refused(folder, "names that every system has files of", ascii(odd[:3]), "rename them")
    record = {"format": FORMAT, **subject, "files": {name: digest_of(folder / name) for name in names}}
    return json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False).encode()


def digest_of(path: Path) -> dict[str, Any]:
    """SHA-256 of a file, and its bytes.

    Examples
    --------
    >>> digest_of(Path(os.devnull))
    {'sha256': 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', 'bytes': 0}
    """
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": file.tell()}


def plain_bytes(path: Path) -> bytes:
    """What a file holds that is no link, no pipe and no device.

    Raises
    ------
    OSError
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise OSError("no plain file")
    return path.read_bytes()


def read_manifest(folder: Path, content: bytes) -> dict[str, Any]:
    """What a manifest says of a folder that has the files that it names, and no others.

    Raises
    ------
    SignatureError
    """
    try:
        record = json.loads(content)
        listed = record["files"]
        sound = record["format"] == FORMAT and all(map(is_inside, listed))
        sound = sound and all({"sha256", "bytes"} == set(entry) for entry in listed.values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        sound = False
    if not sound:
        raise refused(folder, f"a manifest, {FORMAT}", "something else, or names that lead out of the folder")
    found = set(_files(folder))
    for what, names in (("without", listed.keys() - found), ("with, beside them,", found - listed.keys())):
        if names:
            raise refused(folder, "the files of its manifest", f"a folder {what} {sorted(names)[:3]!a}")
    return record


def check_folder(folder: Path, content: bytes) -> dict[str, Any]:
    """What a manifest says of a folder that is as it says.

    Raises
    ------
    SignatureError
    """
    record = read_manifest(folder, content)
    for name in record["files"]:
        check_bytes(folder, name, folder / name, record)
    return record


@contextmanager
def copied(folder: Path, content: bytes, part: str = "") -> Iterator[Path]:
    """A private copy of a folder, or of a part, that is as its manifest says: nobody changes it between the look and the use.

    Raises
    ------
    SignatureError
    """
    record = read_manifest(folder, content)
    try:
        room = tempfile.TemporaryDirectory(prefix="elboroom-")
    except OSError as error:
        raise files.unwritable("a private copy", error, SignatureError, NO_ROOM) from error
    with room as place:
        for name in record["files"]:
            if name != part and not name.startswith(part and f"{part}/"):
                continue
            copy = Path(place, name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copyfile(folder / name, copy)
            except OSError as error:
                raise files.unwritable(
                    f"a private copy of '{name}'", error, SignatureError, NO_ROOM
                ) from error
            check_bytes(folder, name, copy, record)
        yield Path(place)


def check_bytes(folder: Path, name: str, content_of: Path, record: dict[str, Any]) -> None:
    """Refuse a file whose bytes are not those of the manifest.

    Parameters
    ----------
    folder : Path
        What the error speaks of.
    name : str
        Of the file in the manifest.
    content_of : Path
        The file, or a copy of it.
    record : dict
        The manifest.

    Raises
    ------
    SignatureError
    """
    try:
        same = digest_of(content_of) == record["files"][name]
    except OSError as error:
        raise refused(folder, f"'{name}' as it was", error.strerror or str(error)) from error
    if not same:
        raise refused(folder, f"'{name}' as it was", "another content")


def refused(folder: Path, expected: str, got: str, remedy: str = "") -> SignatureError:
    """The error for a folder that is not what was signed or registered."""
    remedy = remedy or "do not use it: put back a copy, and find out who or what changed it"
    return SignatureError(explain(f"folder '{folder}'", expected, got, remedy))


def _files(folder: Path) -> Iterator[str]:
    """Names of all files below a folder but the manifest and its signatures.

    Raises
    ------
    SignatureError
        For a link, what is neither file nor folder, and a folder that cannot be read.
    """

    def unread(error: OSError) -> None:
        raise refused(folder, "folders that can be read", f"{error.strerror}, '{error.filename}'") from error

    for place, folders, names in os.walk(folder, onerror=unread):
        for name in (*folders, *names):
            path = Path(place, name)
            plain = path.is_dir() if name in folders else path.is_file()
            if path.is_symlink() or not plain:
                got = "a link" if path.is_symlink() else "something else"
                raise refused(folder, "files and folders alone", f"{got}, '{path.relative_to(folder)}'")
        for name in names:
            inside = Path(place, name).relative_to(folder).as_posix()
            if not UNLISTED.fullmatch(inside):
                yield inside


def is_inside(name: str) -> bool:
    """Whether a name is that of a file within a folder, on any system.

    Examples
    --------
    >>> is_inside("posterior/posterior.nc"), is_inside("../secret"), is_inside("/secret"), is_inside("a//b")
    (True, False, False, False)
    """
    return all(map(is_portable, name.split("/")))
