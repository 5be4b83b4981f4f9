"""Functions whose trace is kept on disk: a sampler costs a second of Python to trace, and 0.02 s to read."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import tempfile
from pathlib import Path

import jax
from jax import export

from ...fingerprints import libraries
from .arrays import Function, cache_folder

_SWITCHES = ("jax_default_prng_impl", "jax_threefry_partitionable", "jax_default_matmul_precision")
_TROUBLE = (ValueError, NotImplementedError, TypeError, KeyError, ImportError, OSError)

SHA256 = 32  # bytes of a checksum


class Kept(Function):
    """A `Function` of arrays in tuples, lists and mappings whose trace is kept beside the compiled code.

    Parameters
    ----------
    identity : callable
        ``identity(*args) -> bytes``: everything that decides what `fn` computes, but for the shapes of the arguments
        and the versions of the libraries.
    """

    def __init__(self, fn, dtype, clock, identity, check=None):
        super().__init__(fn, dtype, clock, check=check)
        self._identity = identity

    def _lowered(self, args):
        """The trace of an earlier process, or a new one that is kept for the next."""
        try:
            path = self._path(args)
            if path is None:
                return super()._lowered(args)
            kept = _read(path)
            if kept is None:
                kept = export.export(self._jit)(*args)
                _write(path, kept)
            return jax.jit(kept.call).lower(*args)
        except _TROUBLE:  # callbacks, say, cannot be kept
            return super()._lowered(args)

    def _path(self, args) -> Path | None:
        folder = cache_folder()
        if folder is None:
            return None
        device, tree = jax.devices()[0], self._key(args)
        switches = [str(getattr(jax.config, name)) for name in _SWITCHES]
        known = "\n".join([device.platform, *switches, str(self._dtype), str(tree), _versions()])
        found = hashlib.sha256(known.encode() + self._identity(*args))
        return Path(folder) / "traced" / found.hexdigest()


@functools.cache
def _versions() -> str:
    """Versions of the libraries that have a part in a trace."""
    return json.dumps(libraries())


@functools.cache
def source(path: str) -> bytes:
    """Digest of a file of this library."""
    return hashlib.sha256(Path(path).read_bytes()).digest()


def _read(path: Path):
    """What `_write` wrote, where not one of its bytes is another: a changed trace can end the process."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, rest = content[:SHA256], content[SHA256:]
    stamp = _versions().encode() + b"\n"
    if hashlib.sha256(rest).digest() != digest or not rest.startswith(stamp):
        path.unlink(missing_ok=True)
        return None
    try:
        return export.deserialize(bytearray(rest[len(stamp) :]))
    except Exception:  # whatever is wrong with it, it is traced anew
        return None


def _write(path: Path, kept) -> None:
    rest = _versions().encode() + b"\n" + bytes(kept.serialize())
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(hashlib.sha256(rest).digest() + rest)
    os.replace(name, path)
