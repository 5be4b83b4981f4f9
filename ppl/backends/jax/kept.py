"""Functions whose trace is kept on disk: a sampler costs a second of Python to trace, and 0.02 s to read."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import jax
from jax import export

from ... import cache
from .arrays import Function
from .executables import versions

TRACE = "trace"
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

    def __init__(self, fn, dtype, clock, identity, check=None):
        super().__init__(fn, dtype, clock, check=check)
        self._identity = identity

    def _lowered(self, args):
        """The trace of an earlier process, or a new one that is kept for the next."""
        if cache.folder() is None:
            return super()._lowered(args)
        try:
            key = self._kept_key(args)
            kept = _read(key)
            if kept is None:
                kept = export.export(self._jit)(*args)
                cache.write(TRACE, key, bytes(kept.serialize()))
            return jax.jit(kept.call, keep_unused=True).lower(*args)
        except _TROUBLE:  # callbacks, say, cannot be kept
            return super()._lowered(args)

    def _kept_key(self, args) -> str:
        switches = [str(getattr(jax.config, name)) for name in _SWITCHES]
        tree = self._key(args)
        known = "\n".join([jax.devices()[0].platform, *switches, str(self._dtype), str(tree), versions()])
        return hashlib.sha256(known.encode() + self._identity(*args)).hexdigest()


def _read(key: str):
    content = cache.read(TRACE, key)
    try:
        return None if content is None else export.deserialize(bytearray(content))
    except Exception:  # whatever is wrong with it, it is traced anew
        return None


@functools.cache
def source(path: str) -> bytes:
    """Digest of a file of this library."""
    return hashlib.sha256(Path(path).read_bytes()).digest()
