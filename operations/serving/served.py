"""A version of a model that answers: loaded, and compiled for each number of rows before it is asked."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from ...inference.posterior.posterior import Posterior, record_of
from ...ppl.errors import ElboroomError, in_short
from ..exposition import Exposition
from ..schema.schema import Schema, schema
from ..version import Version
from .columns import Rows, Wanted
from .programs import program_of
from .rowwise import complete
from .settings import Settings
from .sizes import size_of, sizes
from .thresholds import CACHED_NUMBERS, PATIENCE
from .uses import USES, Use

LOG = logging.getLogger("elboroom.serving")


class Kept:
    """Answers of rows, the last ones that were asked for: so many at the most, and of all so many numbers. Safe for threads."""

    def __init__(self, most: int, numbers: int = CACHED_NUMBERS):
        self._most, self._left, self._lock = most, numbers, threading.Lock()
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
                if (use, key) not in self._answers:
                    self._answers[use, key] = answer
                    self._left -= _numbers(answer) + len(key) // 8
            while self._answers and (len(self._answers) > self._most or self._left < 0):
                (_, key), answer = self._answers.popitem(last=False)
                self._left += _numbers(answer) + len(key) // 8


def _numbers(answer: Any) -> int:
    """How many values an answer has, its own lists and objects counted with them."""
    inner = answer.values() if isinstance(answer, dict) else answer if isinstance(answer, list) else ()
    return 1 + sum(map(_numbers, inner))


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
    calls: dict[str, Call] = field(default_factory=dict)

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
        shown = Exposition(version.model, str(version.number))
        made = cls(version, posterior, uses, absent, known, settings, shown, Kept(settings.cached))
        for name, use in uses.items():
            made.calls[name] = Call.of(use, _firsts(posterior, use.wanted), settings)
        return made


@dataclass(frozen=True, eq=False)
class Call:
    """What answers rows of any number, compiled for each that there will be.

    Attributes
    ----------
    use : Use
    most : int
        Rows of one call; those of others are filled up to a power of two.
    most_alone : float
        Rows that there is time for, where each is computed by itself; more of them are answered without their evidence.
    plain : Call or None
        Answers with less evidence, for where there is no time for more, or this fails.
    """

    use: Use
    most: int
    most_alone: float = math.inf
    plain: Plain | None = None

    @classmethod
    def of(cls, use: Use, firsts: Sequence[Rows], settings: Settings) -> Call:
        """Of a use, which is tried with each number of rows of each kind."""
        every, first = list(sizes(settings.most_batched)), firsts[0]
        for one in firsts:
            for count in every[:1] if use.alone else every:
                use.run(one.some(np.zeros(count, int)))
        if use.run_plain is None:
            return cls(use, settings.most_batched)
        plain = Plain(use.run_plain, every[-1])
        for one in firsts:
            plain(one)
        if not use.alone:
            return cls(use, settings.most_batched, plain=plain)
        begin = time.perf_counter()
        use.run(first)
        each = time.perf_counter() - begin
        return cls(use, settings.most_batched, PATIENCE * settings.seconds / each, plain)

    def __call__(self, rows: Rows) -> list[dict[str, Any]]:
        if self.plain is not None and rows.count > self.most_alone:
            return self.plain(rows)
        return list(self.use.run(rows)) if self.use.alone else filled(self.use.run, rows, self.most)


@dataclass(frozen=True, eq=False)
class Plain:
    """What answers rows of any number with less evidence.

    Attributes
    ----------
    run : callable
    size : int
        Rows of one call, all of which are of as many: one compilation is enough for what is asked for now and then.
    """

    run: Callable[[Rows], Sequence[Any]]
    size: int

    def __call__(self, rows: Rows) -> list[dict[str, Any]]:
        return filled(self.run, rows, self.size, self.size)


def filled(
    run: Callable[[Rows], Sequence[Any]], rows: Rows, most: int, least: int = 1
) -> list[dict[str, Any]]:
    """Answers of rows, so many at a time, filled up to a power of two."""
    answers: list[dict[str, Any]] = []
    for start in range(0, rows.count, most):
        count = min(most, rows.count - start)
        chosen = np.resize(np.arange(start, start + count), max(size_of(count), least))
        answers += list(run(rows.some(chosen)))[:count]
    return answers


def _firsts(posterior: Posterior, wanted: Sequence[Wanted]) -> list[Rows]:
    """A row that was fitted, and the same with each set of gaps that there may be."""
    record = record_of(posterior)
    at, gaps = (
        complete(record, (column.name for column in wanted)),
        [column.name for column in wanted if column.gap],
    )
    arrays = {
        column.name: np.asarray(record.program.leaves[column.name].value)[at : at + 1] for column in wanted
    }
    found = []
    for lost in (some for size in range(len(gaps) + 1) for some in combinations(gaps, size)):
        without = {name: np.full(arrays[name].shape, np.nan) for name in lost}
        found.append(Rows({**arrays, **without}, np.ones(1, bool), 1))
    return found


def _schema(version: Version, posterior: Posterior) -> Schema | None:
    """What the training data held; of the version, or of the data that the posterior holds."""
    for source in (version.schema, lambda: schema(posterior)):
        try:
            return source()
        except ElboroomError as error:
            LOG.info("version %s: %s", version, in_short(error))
    return None
