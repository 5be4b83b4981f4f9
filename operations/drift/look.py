"""All series of a set of rows, and what could not be said of them and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...inference.evidence.finding import Finding
from ...inference.posterior.posterior import Posterior, record_of
from ...ppl.errors import ElboroomError, InferenceError, explain, in_short
from ..columns import BLOCKS, NUMBERS, Frame, Kind, flat, frame_of
from ..thresholds import MOST_REFERENCE
from .concept import Scorer, outcome_series
from .data import data_series
from .latent import latent_series
from .series import CONCEPT, LATENT, Seen, Series, seen_of, some_of
from .shift import UNKNOWN


@dataclass(frozen=True, eq=False)
class Look:
    """How rows are looked at: the reference's columns, and the posterior where there is one.

    Attributes
    ----------
    like : mapping of Kind
        What the columns of the reference are.
    posterior : Posterior or None
    fitted : bool
        Whether the rows of the reference are those that were fitted.
    seed : int
    """

    like: Mapping[str, Kind]
    posterior: Any = None
    fitted: bool = False
    seed: int = 0

    @classmethod
    def of(cls, reference: Any, posterior: Any = None, seed: int = 0) -> tuple[Look, Seen, list[Finding]]:
        """By a reference, with its series and what is not known of it.

        Of a posterior the rows are its own: columns are those of all, and what an encoder makes of them of those that training held out.
        """
        if isinstance(reference, Posterior) and posterior is None:
            posterior = reference
        own, frame = isinstance(reference, Posterior), frame_of(reference, "reference")
        look = cls(frame.kinds, posterior, own, seed)
        held = (
            np.asarray(posterior.latent.held_out, int) if own and can_encode(posterior) else np.zeros(0, int)
        )
        if not own:  # rows that were fitted are each predicted by all others
            frame = some_rows(frame, MOST_REFERENCE, seed)
        seen, notes = look.rows(frame, own, held if len(held) else None)
        return look, some_of(seen, MOST_REFERENCE, np.random.default_rng([seed, 92])), notes

    def rows(
        self, frame: Frame, fitted: bool = False, some: np.ndarray | None = None
    ) -> tuple[Seen, list[Finding]]:
        """Series of rows, those of the model of `some` of them, and findings about what is not known of them."""
        found, notes = list(data_series(frame, self.like)), list(self._absent(frame))
        for stream, made in self._streams(frame if some is None else frame.take(some), fitted):
            try:
                found += list(made())
            except Exception as error:  # whatever a model does of such rows, the others are told
                words = str(error) if isinstance(error, ElboroomError) else in_short(error)
                notes.append(Finding(f"{stream}: not known", "fit", None, None, UNKNOWN, words))
        return seen_of(found), notes

    def _streams(self, frame: Frame, fitted: bool) -> Iterator[tuple[str, Callable[[], Iterator[Series]]]]:
        if self.posterior is None or record_of(self.posterior).program is None:
            return
        if can_encode(self.posterior):
            yield LATENT, lambda: latent_series(self.posterior.latent, self._encoded(frame), self.seed)
        else:
            yield CONCEPT, lambda: outcome_series(self.scorer, frame, self.like, fitted)

    @property
    def name(self) -> str:
        """Of the model, or ``"data"``."""
        return "data" if self.posterior is None else record_of(self.posterior).name

    @cached_property
    def scorer(self) -> Scorer:
        """Predictive densities of new rows."""
        return Scorer(self.posterior)

    def _encoded(self, frame: Frame) -> Mapping[str, np.ndarray]:
        """Arguments that run along encoded rows, of rows that have all that the reference always has."""
        along = self.posterior.latent.setup.rows.along
        fine = np.ones(frame.num_rows, bool)
        for name, usual in self.like.items():
            if name in frame.columns and usual.kind in (NUMBERS, BLOCKS) and not usual.gaps:
                fine &= flat(np.isfinite(frame.columns[name].values)).all(1)
        if not fine.any():
            want, remedy = "rows with all that the reference always has", "see which column is missing"
            raise InferenceError(explain("encoded rows", want, "none", remedy))
        found = frame.take(fine).arguments()
        return {k: np.moveaxis(v, 0, along[k]) for k, v in found.items() if k in along}

    def _absent(self, frame: Frame) -> Iterator[Finding]:
        outcomes = set()
        if self.posterior is not None:
            outcomes = {site.argument for site in record_of(self.posterior).observed.values()}
        came = {name.partition("[")[0] for name in frame.columns}
        for name in self.like:
            base = name.partition("[")[0]
            if name not in frame.columns and (base not in outcomes or base in came):
                words = f"The rows have no column '{name}', which the reference has: nothing is known of it."
                yield Finding("data: column absent", name, None, None, "caution", words)


def some_rows(frame: Frame, most: int, seed: int) -> Frame:
    """At most so many rows, drawn at random."""
    if frame.num_rows <= most:
        return frame
    return frame.take(np.sort(np.random.default_rng([seed, 95]).choice(frame.num_rows, most, replace=False)))


def can_encode(posterior: Any) -> bool:
    """Whether rows of a posterior have an encoder, and its program is there."""
    record = record_of(posterior)
    return bool(record.settings.get("encoder")) and record.program is not None
