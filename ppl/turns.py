"""One thread at a time where libraries keep state for the whole process."""

from __future__ import annotations

import os
import threading
import warnings
from contextlib import contextmanager

from .errors import UnsupportedError, explain
from .interrupts import deferred

# A model under the handlers of NumPyro or Pyro, and what else these and PyTorch keep for the process: the stack of handlers,
# the switch of validation, the stream of random numbers, functions replaced while operations are recorded.
_lock = threading.RLock()


@contextmanager
def running():
    """One thread at a time; an interrupt waits, since it could fall between a handler's entry and its block."""
    with deferred(), _lock:
        yield


@contextmanager
def without_warnings(message: str = ""):
    """No warnings within the block that begin with some words.

    Parameters
    ----------
    message : str
        A regular expression of the words; by default all warnings.

    Notes
    -----
    The filters, which all threads share, are those of before afterwards.
    """
    with running(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=message)
        yield


class _Process:
    """Whether a backend has run here, and whether this process is a copy of one in which it had."""

    begun = copied = False


def check_process() -> None:
    """A backend is about to run.

    Raises
    ------
    UnsupportedError
        In a process forked from one in which a backend had run: its threads were not copied, and it would wait for
        them for ever.
    """
    if _Process.copied:
        raise UnsupportedError(
            explain(
                "fit",
                "a process of its own",
                "one that was forked after a fit: the threads of JAX and PyTorch are not in it",
                "start processes with multiprocessing.get_context('spawn'), or fork before the first fit",
            )
        )
    _Process.begun = True


def _forked() -> None:
    _Process.copied = _Process.begun


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
