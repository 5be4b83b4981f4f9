"""Noise that networks are trained with, and only trained with.

A network is a pure function of its arrays and inputs. While a training step runs, and nowhere else, there is a source of noise beside
them: `dropped` asks it, and gives what came in where there is none, so that bounds, weights and draws know of no noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
from scipy.special import ndtri

from .. import math as m

_source: ContextVar[Callable[[tuple[int, ...]], Any] | None] = ContextVar("elboroom_noise", default=None)


@contextmanager
def noisy(source: Callable[[tuple[int, ...]], Any]) -> Iterator[None]:
    """Within, ``source(shape)`` gives standard normal numbers to networks that are trained with noise."""
    token = _source.set(source)
    try:
        yield
    finally:
        _source.reset(token)


def dropped(x: Any, share: float, axes: int = 0) -> Any:
    """An array some of whose numbers are zeros, where there is a source of noise; the last `axes` axes all together."""
    source = _source.get()
    if not share or source is None:
        return x
    shape = tuple(np.shape(x))
    shape = shape[: len(shape) - axes] + (1,) * axes
    return m.where(source(shape) < float(ndtri(share)), 0.0, x)


class Counted:
    """A source of zeros that notes how many numbers it was asked for in a run."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, shape: tuple[int, ...]) -> Any:
        self.count += int(np.prod(shape, dtype=int))
        return m.zeros(shape)


class Pieces:
    """A source that gives what there is in pieces."""

    def __init__(self, whole: Any):
        self.whole, self.start = whole, 0

    def __call__(self, shape: tuple[int, ...]) -> Any:
        stop = self.start + int(np.prod(shape, dtype=int))
        piece, self.start = m.reshape(self.whole[self.start : stop], shape), stop
        return piece
