"""What a folder holds, file by file: names, sizes and digests, against which it is read again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from ..ppl.errors import SignatureError, explain

MANIFEST, SIGNATURES = "manifest.json", "signatures"
FORMAT = "elboroom-manifest/1"


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
    """
    listed = {name: digest_of(folder / name) for name in sorted(_files(folder))}
    record = {"format": FORMAT, **subject, "files": listed}
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


def read_manifest(folder: Path, content: bytes) -> dict[str, Any]:
    """What a manifest says, once its names are those of files within a folder.

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
    return record


def check_names(folder: Path, record: dict[str, Any]) -> None:
    """Refuse a folder with other files than its manifest names.

    Raises
    ------
    SignatureError
    """
    found, listed = set(_files(folder)), set(record["files"])
    for what, names in (("without", listed - found), ("with, beside them,", found - listed)):
        if names:
            raise refused(folder, "the files of its manifest", f"a folder {what} {sorted(names)[:3]}")


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
    if digest_of(content_of) != record["files"][name]:
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
        For a link, or what is neither file nor folder.
    """
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(place, name)
            plain = path.is_dir() if name in folders else path.is_file()
            if path.is_symlink() or not plain:
                got = "a link" if path.is_symlink() else "something else"
                raise refused(folder, "files and folders alone", f"{got}, '{path.relative_to(folder)}'")
        for name in names:
            inside = Path(place, name).relative_to(folder).as_posix()
            if inside != MANIFEST and not inside.startswith(f"{SIGNATURES}/"):
                yield inside


def is_inside(name: str) -> bool:
    """Whether a name is that of a file within a folder, on any system.

    Examples
    --------
    >>> is_inside("posterior/posterior.nc"), is_inside("../secret"), is_inside("C:secret")
    (True, False, False)
    """
    path = PurePosixPath(name)
    return (
        not path.is_absolute()
        and ".." not in path.parts
        and "\\" not in name
        and ":" not in name
        and bool(path.parts)
    )
