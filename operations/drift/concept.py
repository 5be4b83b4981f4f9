"""Series of outcomes that came: log scores beside what the model promises, places among predictions, probabilities of classes.

A model loses log score where its rows are harder, by its own account, and where it is wrong. Only the second is drift of what was
learned: each row's log score is taken from its expectation under the row's own predictive law.

References
----------
Dawid (1984), Statistical theory: the prequential approach, JRSS A 147. Vehtari, Gelman & Gabry (2017), Statistics & Computing 27, on
rows that were fitted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import logsumexp

from ...diagnostics.checks.loo import leave_one_out
from ...inference.posterior.classes import MEASURES, along_rows, bound, log_mean, num_classes, target_of
from ...inference.posterior.posterior import record_of
from ...ppl.data import convert
from ...ppl.errors import DataError, InferenceError, explain
from ...ppl.simulate import block_size, in_blocks, seeds
from ..columns import LABELS, NUMBERS, Frame, Kind
from ..thresholds import PROMISED_DRAWS, SCORED_DRAWS, SCORED_ROWS
from .series import CALIBRATION, CLASSES, CONCEPT, PIT, SURPRISE, Series

WHERE = "outcomes of new rows"


@dataclass(frozen=True, eq=False)
class Scores:
    """What a model says of the outcomes of rows, a number for each.

    Attributes
    ----------
    log_prob, promised : numpy.ndarray, shape (N,)
        Log predictive density of what came, and its expectation under the same law.
    place : numpy.ndarray, shape (N,), or None
        Probability integral transform, randomised over ties.
    classes : numpy.ndarray, shape (N, K), or None
        Probabilities of the classes.
    seen : numpy.ndarray or None
        Which one came.
    """

    log_prob: np.ndarray
    promised: np.ndarray
    place: np.ndarray | None = None
    classes: np.ndarray | None = None
    seen: np.ndarray | None = None


class Scorer:
    """A posterior's predictive densities of rows, compiled once for `SCORED_ROWS` of them.

    Parameters
    ----------
    posterior : Posterior
        With its program, and without encoded rows.
    """

    def __init__(self, posterior: Any):
        record = record_of(posterior)
        record.needs_program(WHERE)
        self.record, self.posterior = record, posterior
        self.target: Any = None
        count = len(record.z)
        self.chosen = np.unique(np.linspace(0, count - 1, min(SCORED_DRAWS, count)).astype(int))

    @property
    def outcomes(self) -> dict[str, Any]:
        """Observed sites that have an argument, by name."""
        return {s.name: s for s in self.record.observed.values() if s.argument is not None}

    def needed(self, frame: Frame) -> list[str]:
        """Columns of a frame that the model takes.

        Raises
        ------
        DataError
            Where one is lacking that runs along the rows: in its place would be values of other rows.
        """
        arguments = self.record.program.arguments
        found = [name for name in frame.columns if name.partition("[")[0] in arguments]
        outcomes = {site.argument for site in self.outcomes.values()}
        lacking = along_rows(self.record) - outcomes - {name.partition("[")[0] for name in found}
        if lacking:
            want, remedy = f"all that runs along the rows, {sorted(lacking)} too", "give these columns"
            raise DataError(explain(WHERE, want, f"{sorted(frame.columns)[:8]}", remedy))
        return found

    def usable(self, frame: Frame) -> np.ndarray:
        """Rows that lack nothing that the model takes, and have no level that it does not know."""
        labels = self.record.labels or self.record.program.labels
        fine = np.ones(frame.num_rows, bool)
        for name in self.needed(frame):
            column = frame.columns[name]
            fine &= ~column.missing
            if column.kind == NUMBERS:
                fine &= np.isfinite(column.values)
            if name in labels:
                fine &= np.isin(column.as_labels().astype(str), list(map(str, labels[name])))
        return np.flatnonzero(fine)

    def scores(self, frame: Frame) -> dict[str, Scores]:
        """Of each outcome of rows that lack nothing."""
        values = frame.only(self.needed(frame)).arguments()
        parts: defaultdict[str, list[Scores]] = defaultdict(list)
        for start in range(0, frame.num_rows, SCORED_ROWS):
            rows = np.arange(start, min(start + SCORED_ROWS, frame.num_rows))
            data = {name: value[np.resize(rows, SCORED_ROWS)] for name, value in values.items()}
            for name, found in self._block(data, len(rows), start).items():
                parts[name].append(found)
        return {name: _together(some) for name, some in parts.items()}

    def _block(self, data: Mapping[str, np.ndarray], count: int, start: int) -> dict[str, Scores]:
        target, leaves = self._target(data), self._leaves(data)
        placed = {**target.data, **{k: target.to_device(v) for k, v in leaves.items() if k in target.data}}
        values = {s.name: np.asarray(self.record.values[s.name])[self.chosen] for s in target.sites}
        z = target.unconstrain(values, data=placed)
        there = {name: site for name, site in self.outcomes.items() if site.argument in data}
        each = target.per_row(z, data=placed)
        classed = {name: site for name, site in there.items() if site.measure in MEASURES}
        drawn = self._drawn(values, placed, start) if len(classed) < len(there) else {}
        out = {}
        for name, site in there.items():
            seen = np.asarray(leaves[site.argument])
            if name in classed and seen.ndim == 1:
                out[name] = self._of_classes(placed, z, site, seen, count)
            elif name in drawn:
                out[name] = self._of_numbers(placed, z, site, seen, each[name], drawn[name], count)
        return out

    def _target(self, data: Mapping[str, np.ndarray]) -> Any:
        if self.target is None:
            self.target = target_of(self.record, bound(self.record, data), WHERE)
        return self.target

    def _leaves(self, data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Values as the model has them, coded as those were that it was fitted to."""
        labels = self.target.program.labels
        return {
            name: np.asarray(convert(value, name, labels.get(name)).value) for name, value in data.items()
        }

    def _drawn(self, values, placed, start: int) -> dict[str, np.ndarray]:
        """Outcomes as the model predicts them for these rows."""
        target = self.target
        names = [name for name in self.outcomes]
        cast = {k: np.asarray(v, target.dtype) if v.dtype.kind == "f" else v for k, v in values.items()}

        def draw(block):
            found = target.density.predict_values(*block, placed, target.weights)
            return {name: found[name] for name in names if name in found}

        key = seeds(self.record.seed + start, len(self.chosen), 51)
        return in_blocks(draw, (cast, key), len(self.chosen), block_size(target))

    def _of_classes(self, placed, z, site, seen: np.ndarray, count: int) -> Scores:
        target = _Placed(self.target, placed)
        log_prob = np.stack(
            [log_mean(target, z, site, np.full_like(seen, k)) for k in range(num_classes(site))], -1
        )[:count]
        chances = np.exp(log_prob)
        own = log_prob[np.arange(count), seen[:count].astype(int)]
        promised = np.where(chances > 0, chances * log_prob, 0.0).sum(1)
        return Scores(own, promised, None, chances, seen[:count].astype(int))

    def _of_numbers(self, placed, z, site, seen, each, drawn, count: int) -> Scores:
        density = _whole_rows(each)
        some = drawn[np.unique(np.linspace(0, len(drawn) - 1, PROMISED_DRAWS).astype(int))]
        promised = [
            _mean_density(
                self.target.per_row(z, data={**placed, site.argument: self.target.to_device(value)})[
                    site.name
                ]
            )
            for value in some.astype(seen.dtype)
        ]
        place = _place(drawn, seen, count) if seen.ndim == 1 else None
        return Scores(_log_mean(density)[:count], np.mean(promised, axis=0)[:count], place)


@dataclass(frozen=True, eq=False)
class _Placed:
    """A target with other data."""

    target: Any
    data: Mapping[str, Any]

    def to_device(self, value: np.ndarray) -> Any:
        return self.target.to_device(value)

    def per_row(self, z: np.ndarray, data: Mapping[str, Any]) -> dict[str, np.ndarray]:
        return self.target.per_row(z, data=data)


def _whole_rows(each: np.ndarray) -> np.ndarray:
    """Log densities ``(S, N)`` of rows, of several elements together."""
    return each.reshape(*each.shape[:2], -1).sum(-1)


def _log_mean(density: np.ndarray) -> np.ndarray:
    return logsumexp(density, axis=0) - np.log(len(density))


def _mean_density(each: np.ndarray) -> np.ndarray:
    return _log_mean(_whole_rows(each))


def _place(drawn: np.ndarray, seen: np.ndarray, count: int) -> np.ndarray:
    """Where outcomes fall among draws of their predictions, which they are one more of."""
    below, equal = (drawn < seen).sum(0)[:count], (drawn == seen).sum(0)[:count]
    noise = np.random.default_rng(count).uniform(size=count)
    return (below + noise * (equal + 1)) / (len(drawn) + 1)


def _together(parts: list[Scores]) -> Scores:
    def of(name: str) -> Any:
        some = [getattr(part, name) for part in parts]
        return None if some[0] is None else np.concatenate(some)

    return Scores(*(of(name) for name in ("log_prob", "promised", "place", "classes", "seen")))


# -- series ----------------------------------------------------------------------------------------------


def outcome_series(
    scorer: Scorer, frame: Frame, like: Mapping[str, Kind], fitted: bool = False
) -> Iterator[Series]:
    """Series of the outcomes of rows.

    Parameters
    ----------
    scorer : Scorer
        Of the posterior.
    frame : Frame
        Rows, outcomes among the columns.
    like : mapping of Kind
        What the columns of the reference are.
    fitted : bool
        Whether these are the rows that were fitted: each is then predicted by the others.

    Raises
    ------
    InferenceError, DataError
        Where the model cannot say anything of such rows.
    """
    arguments = {site.argument for site in scorer.outcomes.values()}
    if not arguments & {name.partition("[")[0] for name in frame.columns}:
        raise InferenceError(
            explain(WHERE, f"outcomes among {sorted(arguments)}", "rows without", "give them when they come")
        )
    rows = scorer.usable(frame)
    if not len(rows):
        want, remedy = "rows that lack nothing that the model takes", "see which column is missing"
        raise InferenceError(explain(WHERE, want, "none", remedy))
    frame = frame.take(rows)
    levels = _levels(frame, like, arguments)
    left_out = leave_one_out(scorer.posterior) if fitted else {}
    for name, found in scorer.scores(frame).items():
        loo = left_out.get(name)
        log_prob, place = found.log_prob, found.place
        if loo is not None and len(loo.elpd) == frame.num_rows:
            log_prob, place = loo.elpd, loo.places
        yield Series(CONCEPT, name, SURPRISE, found.promised - log_prob)
        if found.classes is not None:
            yield Series(CALIBRATION, name, CLASSES, found.classes, seen=found.seen)
        elif place is not None:
            yield Series(CALIBRATION, name, PIT, np.clip(place, 1e-12, 1 - 1e-12), groups=levels)


def _levels(frame: Frame, like: Mapping[str, Kind], outcomes: set[str]) -> dict[str, np.ndarray]:
    """Columns of the reference that put rows into groups; nothing in each row where these rows lack one."""
    return {
        name: frame.columns[name].as_labels() if name in frame.columns else np.full(frame.num_rows, None)
        for name, usual in like.items()
        if name.partition("[")[0] not in outcomes and (usual.kind == LABELS or usual.few)
    }
