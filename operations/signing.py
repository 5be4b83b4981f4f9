"""``sign``: an Ed25519 signature over the manifest of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..ppl import files
from ..ppl.errors import SignatureError, explain
from .keys import Key, checked_key
from .manifest import MANIFEST, SIGNATURES, check_folder, manifest_of, plain_bytes


def sign(folder: Any, key: Key) -> Path:
    """Sign a folder: a saved posterior, a report, a version of a registry.

    Parameters
    ----------
    folder : str or path
        With files alone; the manifest and the signature are added to it. One with a manifest gets one more signature.
    key : Key
        A private one.

    Returns
    -------
    pathlib.Path
        The signature.

    Raises
    ------
    SignatureError
        If the folder is none, cannot be written, or is not what its manifest says.

    Examples
    --------
    >>> import tempfile
    >>> import elboroom as er
    >>> folder, key = Path(tempfile.mkdtemp()), er.Key.new()
    >>> _ = (folder / "notes.txt").write_text("hello")
    >>> er.sign(folder, key).name == f"{key.id}.json"
    True
    >>> er.Trust.of(key).verify(folder).id == key.id
    True
    """
    folder = files.place(folder, "sign")
    checked_key(key)
    if not folder.is_dir():
        raise SignatureError(explain(f"sign '{folder}'", "a folder", "none", "correct the path"))
    path = folder / MANIFEST
    try:
        if path.exists():
            content = plain_bytes(path)
            check_folder(folder, content)
        else:
            content = manifest_of(folder)
            files.put(path, content)
        return put_signature(folder, content, key)
    except OSError as error:
        raise files.unwritable(f"sign '{folder}'", error, SignatureError) from error


def put_signature(folder: Path, content: bytes, key: Key) -> Path:
    """Write the signature of a manifest into its folder."""
    (folder / SIGNATURES).mkdir(exist_ok=True)
    path = folder / SIGNATURES / f"{key.id}.json"
    files.put(path, key.signature(content))
    return path
