"""Precision, device and compilation: the one place where JAX's configuration is entered.

JAX's switches are process-wide. They are set for the length of a block and put back, so that a user's own
arrays, settings and compiled functions behave after a fit as before it.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from operator import is_

import jax
import numpy as np

from ...errors import BackendError, explain
from ...turns import check_process
from ..devices import check_device
from .executables import compiled


@contextmanager
def precision(dtype):
    """Run a block with float64 switched on where `dtype` asks for it, in this thread only."""
    with jax.enable_x64(np.dtype(dtype) == np.float64):
        yield


def concrete(x) -> bool:
    """Whether `x` is a value and not a tracer."""
    return not isinstance(x, jax.core.Tracer)


class Function:
    """A function compiled once per argument shapes, in the precision of its target.

    Tracing happens in the calling thread, inside the precision context; only XLA's compilation may run in a thread of
    its own (`prepare`).

    Parameters
    ----------
    fn : callable
        Of JAX arrays.
    dtype : numpy.dtype
        Precision in which it is traced and run.
    clock : dict, optional
        Where the seconds of compilation are added up.
    donate : tuple of int, optional
        Arguments whose memory may be written over.
    check : callable, optional
        Called before each trace.
    """

    def __init__(self, fn, dtype, clock=None, donate=(), check=None):
        self._jit = jax.jit(fn, donate_argnums=donate, keep_unused=True)  # `executables` needs it
        self._dtype, self._check = np.dtype(dtype), check
        self._ready: dict = {}
        self._last: tuple = (None, (), None)  # the call before: the same data again need no lookup
        self.clock = clock if clock is not None else {"compile": 0.0, "count": 0}

    @staticmethod
    def _key(args):
        leaves, tree = jax.tree_util.tree_flatten(args)
        return tree, tuple((np.shape(leaf), str(getattr(leaf, "dtype", type(leaf)))) for leaf in leaves)

    def _lowered(self, args):
        return self._jit.lower(*args)

    def prepare(self, *args) -> threading.Thread:
        """Trace now, compile in a thread; the next call with these shapes waits for it."""
        key = self._key(args)
        if key in self._ready:
            return self._ready[key][1]
        begin = time.perf_counter()
        if self._check is not None:
            self._check()
        with precision(self._dtype):
            lowered = self._lowered(args)
        box: list = []

        def work():
            try:
                with precision(self._dtype):
                    box.append(compiled(lowered))
            except BaseException as error:  # handed to the caller by __call__
                box.append(error)
            self.clock["compile"] += time.perf_counter() - begin
            self.clock["count"] += 1

        thread = threading.Thread(target=work, daemon=True)
        self._ready[key] = (box, thread)
        thread.start()
        return thread

    def __call__(self, *args):
        check_process()
        shape, known, compiled = self._last
        if shape != _shape(args[0]) or len(known) != len(args) - 1 or not all(map(is_, known, args[1:])):
            compiled = self._compiled(args)
            self._last = (_shape(args[0]), args[1:], compiled)
        with precision(self._dtype):
            return compiled(*args)

    def _compiled(self, args):
        key = self._key(args)
        if key not in self._ready:
            self.prepare(*args)
        box, thread = self._ready[key]
        if thread.is_alive():
            thread.join()
        if not box:  # an interrupt came before it could start
            del self._ready[key]
            return self._compiled(args)
        if isinstance(box[0], BaseException):
            del self._ready[key]
            raise box[0]
        return box[0]


def _shape(array):
    """Shape and dtype of an array; something unequal to everything for other arguments."""
    return (array.shape, array.dtype) if isinstance(array, np.ndarray) else object()


def to_device(value, dtype):
    """A NumPy array as a private device array; floats take the target's precision."""
    array = np.asarray(value)
    if array.dtype.kind == "f":
        array = array.astype(dtype)
    elif array.dtype.kind in "iu" and np.dtype(dtype) == np.float32:
        array = array.astype(np.int32)
    with precision(dtype):
        return jax.device_put(np.array(array))


def resolve_device(device: str) -> str:
    """The device that ``device`` means here.

    Raises
    ------
    BackendError
        For another word, or if a GPU is asked for and there is none.
    """
    check_device(device)
    available = jax.default_backend()
    if device == "gpu" and available != "gpu":
        raise BackendError(explain("device", "a GPU that JAX sees", f"only {available}", "use device='cpu'"))
    return available if device == "auto" else device


def memory(device: str) -> float | None:
    """Bytes that the device lets a program have; None where it is the machine's own memory."""
    found = jax.local_devices()[0].memory_stats() if device != "cpu" else None
    return float(found["bytes_limit"]) if found and "bytes_limit" in found else None


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device, or the machine, has no memory left."""
    words = ("RESOURCE_EXHAUSTED", "Out of memory", "out of memory")
    device = isinstance(error, jax.errors.JaxRuntimeError) and any(word in str(error) for word in words)
    return isinstance(error, MemoryError) or device
