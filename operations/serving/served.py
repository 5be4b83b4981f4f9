"""A version of a model that answers: loaded, and compiled for each number of rows before it is asked."""

from __future__ import annotations

import logging
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...inference.posterior.posterior import Posterior
from ...ppl.errors import ElboroomError, in_short
from ..exposition import Exposition
from ..schema.schema import Schema, schema
from ..version import Version
from .columns import Rows, Wanted
from .programs import program_of
from .settings import Settings
from .uses import USES, Use

LOG = logging.getLogger("elboroom.serving")


class Kept:
    """Answers of rows, the last ones that were asked for. Safe for threads."""

    def __init__(self, most: int):
        self._most, self._lock = most, threading.Lock()
        self._answers: OrderedDict[tuple[str, bytes], Any] = OrderedDict()

    def found(self, use: str, keys: Sequence[bytes]) -> list[Any] | None:
        """Answers of all rows, or None where one is not known."""
        with self._lock:
            out = [self._answers.get((use, key)) for key in keys]
            if any(answer is None for answer in out):
                return None
            for key in keys:
                self._answers.move_to_end((use, key))
            return out

    def keep(self, use: str, keys: Sequence[bytes], answers: Sequence[Any]) -> None:
        """Note answers; the ones that were not asked for longest are let go."""
        with self._lock:
            for key, answer in zip(keys, answers, strict=True):
                self._answers[use, key] = answer
            while len(self._answers) > self._most:
                self._answers.popitem(last=False)


@dataclass(frozen=True, eq=False)
class Served:
    """A version that answers.

    Attributes
    ----------
    version : Version
    posterior : Posterior
        With its program.
    uses : mapping of str to Use
        What it can be asked.
    absent : mapping of str to str
        What it cannot, and why.
    shown : Exposition
        Its metrics.
    """

    version: Version
    posterior: Posterior
    uses: dict[str, Use]
    absent: dict[str, str]
    known: Schema | None
    settings: Settings
    shown: Exposition
    kept: Kept
    calls: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, version: Version, model: Any, settings: Settings) -> Served:
        """Load a version and compile what it is asked for.

        Raises
        ------
        ElboroomError
            Where it cannot be loaded, or nothing can be asked of it.
        """
        posterior = version.load(program_of(version.load(), model))
        known = _schema(version, posterior)
        uses, absent = {}, {}
        for use in USES:
            try:
                uses[use.name] = use.of(posterior, known, settings, version.fits_data)
            except ElboroomError as error:
                absent[use.name] = in_short(error)
        made = cls(version, posterior, uses, absent, known, settings,
                   Exposition(version.model, str(version.number)), Kept(settings.cached))  # fmt: skip
        made.calls.update({name: _call_of(use, settings.most_batched) for name, use in uses.items()})
        made.warm()
        return made

    def warm(self) -> None:
        """Compute one batch of each size that there will be."""
        for use in self.uses.values():
            for size in sizes(self.settings.most_batched):
                use.run(_blank(use.wanted, size))


def _call_of(use: Use, most: int) -> Callable[[Rows], list[dict[str, Any]]]:
    """What answers rows of any number: filled up to a size that is compiled, some at a time."""

    def call(rows: Rows) -> list[dict[str, Any]]:
        answers: list[dict[str, Any]] = []
        for start in range(0, rows.count, most):
            count = min(most, rows.count - start)
            chosen = np.resize(np.arange(start, start + count), size_of(count))
            answers += list(use.run(rows.some(chosen)))[:count]
        return answers

    return call


def size_of(count: int) -> int:
    """The next power of two."""
    return 1 << max(count - 1, 0).bit_length()


def sizes(most: int) -> Iterator[int]:
    """1, 2, 4 … up to the first that holds `most`."""
    yield from (2**power for power in range(int(math.log2(size_of(most))) + 1))


def _blank(wanted: Sequence[Wanted], count: int) -> Rows:
    arrays = {column.name: np.zeros((count, *column.shape), column.dtype) for column in wanted}
    for column in wanted:
        if column.codes is not None:
            arrays[column.name] = np.zeros(count, np.int64)
    return Rows(arrays, np.ones(count, bool), count)


def _schema(version: Version, posterior: Posterior) -> Schema | None:
    """What the training data held; of the version, or of the data that the posterior holds."""
    for source in (version.schema, lambda: schema(posterior)):
        try:
            return source()
        except ElboroomError as error:
            LOG.info("version %s: %s", version, in_short(error))
    return None
