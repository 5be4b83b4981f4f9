"""Interrupts (Ctrl-C and signals that are handled alike): none is lost, and none falls where it would leave half a state.

Python raises them between any two instructions of the main thread: within an import, whose half is kept by libraries that
register themselves; between the entry of a handler and the block it is for; or in a callback, where they are printed and
forgotten.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM") if hasattr(signal, name))


class _State:
    """Of the main thread: what came, what waits for the end of a held block, and how many of those it is in."""

    listening = False
    came = 0
    waiting: list = []
    depth = 0


@contextmanager
def listening() -> Iterator[None]:
    """Note the interrupts that come within the block, beside what they do by themselves."""
    if _State.listening or not _is_main():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def note(number, frame):
        _State.came += 1
        if _State.depth and not _State.waiting:
            _State.waiting.append((before[number], number, frame))
        else:
            before[number](number, frame)

    ours = [number for number, handler in before.items() if callable(handler)]
    try:
        _State.listening, _State.came = True, 0
        _State.waiting.clear()
        for number in ours:
            signal.signal(number, note)
        yield
    finally:
        for number in ours:
            if signal.getsignal(number) is note:
                signal.signal(number, before[number])
        _State.listening = False


@contextmanager
def held(answered: bool = False) -> Iterator[None]:
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
        _State.depth += 1
        try:
            yield
        finally:
            _State.depth -= 1
            if answered:
                _State.waiting.clear()
            elif not _State.depth:
                _release()


@contextmanager
def interruptible() -> Iterator[None]:
    """A part of a held block in which interrupts are raised as they come."""
    if not _is_main():
        yield
        return
    depth = _State.depth
    try:
        _State.depth = 0
        _release()
        yield
    finally:
        _State.depth = depth


def came() -> bool:
    """Whether an interrupt came since the outermost `listening` began, and that it did is to be answered."""
    return _State.listening and _State.came > 0 and _is_main()


@contextmanager
def in_words(words: str) -> Iterator[None]:
    """Interrupts that end the block say in words what there is."""
    with listening():
        try:
            yield
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"elboroom was interrupted {words}") from None


def _release() -> None:
    if _State.waiting:
        handler, number, frame = _State.waiting.pop()
        handler(number, frame)


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()
