"""Functions whose trace is kept on disk: a sampler costs a second of Python to trace, and 0.02 s to read."""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
from pathlib import Path

import jax
import jaxlib
import numpyro
from jax import export

from .arrays import Function, cache_folder

_SWITCHES = ("jax_default_prng_impl", "jax_threefry_partitionable", "jax_default_matmul_precision")
_TROUBLE = (ValueError, NotImplementedError, TypeError, KeyError, ImportError, OSError)


class Kept(Function):
    """A `Function` of arrays in tuples, lists and mappings whose trace is kept beside the compiled code.

    Parameters
    ----------
    identity : callable
        ``identity(*args) -> bytes``: everything that decides what `fn` computes, but for the shapes of the arguments
        and the versions of the libraries.
    """

    def __init__(self, fn, dtype, clock, identity):
        super().__init__(fn, dtype, clock)
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
        known = [jax.__version__, jaxlib.__version__, numpyro.__version__, device.platform, *switches]
        found = hashlib.sha256("\n".join([*known, str(self._dtype), str(tree)]).encode())
        found.update(self._identity(*args))
        return Path(folder) / "traced" / found.hexdigest()


def fingerprint(fn, *args) -> bytes:
    """What identifies a function of arrays as it is lowered, constants included; not where its source stands."""
    if getattr(jax.config, "jax_use_simplified_jaxpr_constants", False):
        raise NotImplementedError("constants would be arguments, and their values unseen")
    return jax.jit(fn, keep_unused=True).lower(*args).as_text().encode()


@functools.cache
def source(path: str) -> bytes:
    """Digest of a file of this library."""
    return hashlib.sha256(Path(path).read_bytes()).digest()


def _read(path: Path):
    try:
        return export.deserialize(bytearray(path.read_bytes()))
    except Exception:  # absent, or of a process that was killed: whatever is wrong with it, it is traced anew
        return None


def _write(path: Path, kept) -> None:
    content = kept.serialize()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    os.replace(name, path)
