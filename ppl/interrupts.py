"""Interrupts (Ctrl-C and signals that are handled alike): none is lost, and none falls where it would leave half a state.

Python raises them between any two instructions of the main thread: within an import, whose half is kept by libraries that
register themselves; between the entry of a handler and the block it is for; or in a callback, where they are printed and
forgotten.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM") if hasattr(signal, name))


class _State:
    """Of the main thread: what came, what waits for the end of a deferred block, and how many of those it is in."""

    def __init__(self) -> None:
        self.listening = False
        self.came = 0
        self.waiting: list[Callable[[], Any]] = []
        self.depth = 0


_state = _State()


@contextmanager
def listening() -> Iterator[None]:
    """Note the interrupts that come within the block, beside what they do by themselves."""
    if _state.listening or not _is_main():
        yield
        return
    found = {number: signal.getsignal(number) for number in SIGNALS}
    before = {number: handler for number, handler in found.items() if callable(handler)}

    def note(number: int, frame: FrameType | None) -> None:
        _state.came += 1
        answer = partial(before[number], number, frame)
        if _state.depth and not _state.waiting:
            _state.waiting.append(answer)
        else:
            answer()

    try:
        _state.listening, _state.came = True, 0
        _state.waiting.clear()
        for number in before:
            signal.signal(number, note)
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is note:
                signal.signal(number, handler)
        _state.listening = False


@contextmanager
def deferred(answered: bool = False) -> Iterator[None]:
    """The first interrupt within the block waits for its end, a second one is raised at once.

    Parameters
    ----------
    answered : bool
        The block looks at `came` and ends in its own way: nothing is raised after it.
    """
    if not _is_main():
        yield
        return
    with listening():
        _state.depth += 1
        try:
            yield
        finally:
            _state.depth -= 1
            if answered:
                _state.waiting.clear()
            elif not _state.depth:
                _release()


@contextmanager
def interruptible() -> Iterator[None]:
    """A part of a deferred block in which interrupts are raised as they come."""
    if not _is_main():
        yield
        return
    depth = _state.depth
    try:
        _state.depth = 0
        _release()
        yield
    finally:
        _state.depth = depth


def came() -> bool:
    """Whether an interrupt came since the outermost `listening` began, and that it did is to be answered."""
    return _state.listening and _state.came > 0 and _is_main()


@contextmanager
def in_words(words: str) -> Iterator[None]:
    """Interrupts that end the block say in words what there is.

    Parameters
    ----------
    words : str
        What goes on with "elboroom was interrupted".

    Raises
    ------
    KeyboardInterrupt
        With these words.
    """
    with listening():
        try:
            yield
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"elboroom was interrupted {words}") from None


def _release() -> None:
    if _state.waiting:
        _state.waiting.pop()()


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()
