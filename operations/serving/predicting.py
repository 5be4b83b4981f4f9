"""Predictions of rows: what the model expects of outcomes, with intervals, each row as if it came alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

from ...inference.posterior.classes import MEASURES, num_classes
from ...inference.posterior.posterior import Posterior, record_of
from ...inference.posterior.predict import Prepared, fitted_labels, prepared
from ...ppl.errors import ElboroomError, UnsupportedError, explain, in_short
from ..schema.schema import Schema
from .columns import Rows, Wanted
from .densities import Densities
from .mended import Map, maps_of, mended
from .numbers import by_row
from .reconstructing import Reconstructing
from .rowwise import checked, first_row, inputs_of
from .settings import Settings
from .sizes import size_of
from .summaries import quantiles, summaries
from .thresholds import FEW_DRAWS
from .verdicts import RowVerdicts, with_few

NEW = "elboroom: a group that was not fitted"
"""The label that stands for all that were not fitted."""


@dataclass(frozen=True, eq=False)
class Predicting:
    """Predicts rows.

    Attributes
    ----------
    wanted : tuple of Wanted
    ready : mapping of Prepared
        Of one row, by which of its columns are missing.
    classes : mapping of str to tuple of str
        Names of the classes of outcomes that are one of a few.
    densities : Densities or None
        By which these have probabilities; without, they are shares of draws.
    verdicts : RowVerdicts
    maps : mapping
        What mends predictions, by outcome.
    arguments : mapping
        Of each outcome its argument: of a row that has it it is not predicted.
    """

    wanted: tuple[Wanted, ...]
    ready: Mapping[frozenset[str], Prepared]
    classes: Mapping[str, tuple[str, ...]]
    densities: Densities | None
    verdicts: RowVerdicts
    maps: Mapping[str, Map]
    arguments: Mapping[str, str]

    name = "predict"
    alone = False

    @classmethod
    def of(
        cls, posterior: Posterior, known: Schema | None, settings: Settings, fits: bool | None
    ) -> Predicting | Reconstructing:
        """Of a posterior with its program.

        Raises
        ------
        UnsupportedError
            Where its rows cannot be predicted one by one.
        """
        record = record_of(posterior)
        what = f"predict of '{posterior.name}'"
        if record.settings.get("encoder"):
            return Reconstructing.of(posterior, known, settings, fits)
        columns = inputs_of(posterior, known, settings.new_groups)
        if not columns:
            got, remedy = "one whose rows have no columns", "ask for its verdict"
            raise UnsupportedError(explain(what, "a model of rows", got, remedy))
        first = first_row(record, columns)
        unseen = {c.name: np.array([NEW], object) for c in columns if c.unseen is not None}
        try:
            gaps = [column.name for column in columns if column.gap]
            ready = {}
            for lost in (
                frozenset(some) for size in range(len(gaps) + 1) for some in combinations(gaps, size)
            ):
                given = {**first, **unseen, **{name: np.full_like(first[name], np.nan) for name in lost}}
                new = bool(unseen) or None
                ready[lost] = _on_device(
                    prepared(record, new, None, settings.draws, None, settings.seed, given)
                )
            columns = tuple(checked(record, column, first) for column in columns)
        except ElboroomError as error:
            want, remedy = "a model whose rows can be predicted one by one", "predict all rows at once"
            raise UnsupportedError(explain(what, want, in_short(error), remedy)) from error
        classes = _classes(record)
        densities = _densities(posterior, columns, settings)
        densities = densities if classes and not unseen else None
        verdicts = RowVerdicts.of(posterior, fits)
        arguments = {name: site.argument for name, site in record.observed.items() if site.argument}
        return cls(columns, ready, classes, densities, verdicts, maps_of(record), arguments)

    def run(self, rows: Rows) -> list[dict[str, Any]]:
        """Answers of rows, in order; those that lack the same columns together."""
        gaps = [column.name for column in self.wanted if column.gap]
        lost = (
            np.stack([np.isnan(rows.arrays[name]).reshape(rows.count, -1).any(1) for name in gaps], 1)
            if gaps
            else None
        )
        if lost is None or not lost.any():
            return self._alike(rows, frozenset())
        answers: list[dict[str, Any]] = [{} for _ in range(rows.count)]
        for pattern in np.unique(lost, axis=0):
            chosen = np.flatnonzero((lost == pattern).all(1))
            filled = rows.some(np.resize(chosen, size_of(len(chosen))))
            without = frozenset(name for name, gone in zip(gaps, pattern, strict=True) if gone)
            for row, one in zip(chosen.tolist(), self._alike(filled, without), strict=False):
                answers[row] = one
        return answers

    @cached_property
    def _few(self) -> Predicting:
        """The same with few draws, evenly among all: those of a chain lie one after the other."""

        def cut(ready: Prepared) -> Prepared:
            count = len(ready.seeds)
            some = np.linspace(0, count - 1, min(FEW_DRAWS, count)).astype(int)
            values = {
                k: tuple(one[some] for one in v) if isinstance(v, tuple) else v[some]
                for k, v in ready.values.items()
            }
            return replace(ready, values=values, seeds=ready.seeds[some])

        densities = None if self.densities is None else self.densities.fewer(FEW_DRAWS)
        return replace(self, ready={k: cut(v) for k, v in self.ready.items()}, densities=densities)

    def run_plain(self, rows: Rows) -> list[dict[str, Any]]:
        """Answers by few draws: where there is no time for more."""
        return with_few(self._few.run(rows), FEW_DRAWS)

    def _alike(self, rows: Rows, lost: frozenset[str]) -> list[dict[str, Any]]:
        """Answers of rows that all lack the same columns."""
        ready = self.ready[lost]
        target = ready.target
        arrays = {name: value[:, None] for name, value in rows.arrays.items()}
        found = target.density.predict_each(ready.values, ready.seeds, arrays, target.data, ready.weights)
        given = {name for name, argument in self.arguments.items() if argument in set(arrays) - lost}
        answers: list[dict[str, Any]] = [{} for _ in range(rows.count)]
        for name in (name for name in ready.names if name not in given):
            drawn = np.asarray(found[name])
            if name in self.classes:
                own = self._of_classes(name, drawn, rows, lost)
            else:
                own = summaries(drawn, self.maps.get(name))
            for answer, one in zip(answers, own, strict=True):
                answer[name] = {k: v for k, v in one.items() if k not in ("verdict", "reason")}
                answer.update({k: v for k, v in one.items() if k in ("verdict", "reason")})
        return answers

    def _of_classes(
        self, name: str, drawn: np.ndarray, rows: Rows, lost: frozenset[str]
    ) -> list[dict[str, Any]]:
        """Probabilities of classes, means of probabilities where there are densities, with the interval that what is not known of the
        model leaves them."""
        labels, map = self.classes[name], self.maps.get(name)
        if self.densities is None or lost:
            shares = np.stack(
                [(drawn.reshape(*drawn.shape[:2]) == k).mean(0) for k in range(len(labels))], -1
            )
            shares = mended(map, shares)
            return [{"probabilities": dict(zip(labels, row, strict=True))} for row in shares.tolist()]
        each = self.densities.of_classes(name, rows, len(labels))
        parts = {"mean": mended(map, each.mean(0)), **quantiles(np.sort(mended(map, each), 0))}
        return [
            {
                "probabilities": dict(zip(labels, row["mean"], strict=True)),
                **{q: dict(zip(labels, row[q], strict=True)) for q in ("q5", "q95")},
                **{k: row[k] for k in ("verdict", "reason") if k in row},
            }
            for row in by_row(parts)
        ]


def _densities(posterior: Posterior, columns: tuple[Wanted, ...], settings: Settings) -> Densities | None:
    """By which is seen that rows do not see each other too; None where rows have latent quantities of their own."""
    try:
        return Densities.of(posterior, columns, settings)
    except UnsupportedError:
        raise
    except ElboroomError:
        return None


def _classes(record: Any) -> dict[str, tuple[str, ...]]:
    labels = fitted_labels(record)
    out = {}
    for name, site in record.observed.items():
        if site.measure in MEASURES and site.constraint is not None and site.argument is not None:
            count = num_classes(site)
            named = labels.get(site.argument, ())
            out[name] = tuple(map(str, named)) if len(named) == count else tuple(map(str, range(count)))
    return out


def _on_device(ready: Prepared) -> Prepared:
    """The same with draws where they are computed with."""
    move = ready.target.to_device
    values = {k: tuple(map(move, v)) if isinstance(v, tuple) else move(v) for k, v in ready.values.items()}
    return replace(ready, values=values)
