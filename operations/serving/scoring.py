"""Log predictive densities of rows that come with their outcomes; of encoded rows log p(x), with what is unlike the held-out ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import logsumexp

from ...inference.posterior.classes import num_classes
from ...inference.posterior.posterior import Posterior, record_of
from ...ppl.errors import ElboroomError, UnsupportedError, explain, in_short
from ..schema.schema import Schema
from .columns import Rows, Wanted
from .densities import Densities
from .encoding import columns_of, given
from .mended import Levels, Map, log_prob_of, maps_of
from .numbers import by_row
from .rowwise import checked, first_row, inputs_of, outcomes_of
from .settings import Settings
from .thresholds import SCORE_CAUTION, SCORE_TRUSTED
from .verdicts import RowVerdicts


@dataclass(frozen=True, eq=False)
class Scoring:
    """Scores rows.

    Attributes
    ----------
    wanted : tuple of Wanted
        Inputs and outcomes.
    run : callable
        See `Use`, `alone` too.
    verdicts : RowVerdicts
    """

    wanted: tuple[Wanted, ...]
    run: Any
    verdicts: RowVerdicts
    alone: bool = False

    name = "score"
    run_plain = None

    @classmethod
    def of(cls, posterior: Posterior, known: Schema | None, settings: Settings, fits: bool | None) -> Scoring:
        """Of a posterior with its program.

        Raises
        ------
        UnsupportedError
            Where its rows cannot be scored one by one.
        """
        record = record_of(posterior)
        if record.settings.get("encoder"):
            columns = columns_of(posterior, known)
            return cls(
                columns, _Encoded(posterior.latent, settings.anomalies), RowVerdicts.of_encoded(fits), True
            )
        inputs, outcomes = inputs_of(posterior, known), outcomes_of(posterior, known)
        try:
            densities = Densities.of(posterior, inputs, settings)
            inputs = tuple(checked(record, column, first_row(record, inputs)) for column in inputs)
        except ElboroomError as error:
            what, want = f"score of '{posterior.name}'", "a model whose rows can be scored one by one"
            raise UnsupportedError(explain(what, want, in_short(error), "score all rows at once")) from error
        run: Any = _Plain(densities)
        for name, map in maps_of(record).items():
            if isinstance(map, Levels) or len(densities.arguments) > 1:
                what, want = f"score of '{posterior.name}'", "densities as the model has them"
                got = f"'{name}', whose predictions a map mends"
                raise UnsupportedError(explain(what, want, got, "ask for predict, which applies it"))
            run = _Mended(densities, map, num_classes(record.observed[name]))
        return cls((*inputs, *outcomes), run, RowVerdicts.of(posterior, fits))


@dataclass(frozen=True, eq=False)
class _Plain:
    """Log predictive density: the log of a mean over draws, with its Monte Carlo error."""

    densities: Densities

    def __call__(self, rows: Rows) -> list[dict[str, Any]]:
        each = np.sum(list(self.densities.at(rows).values()), axis=0)
        value = logsumexp(each, axis=0) - np.log(len(each))
        ratio = np.exp(each - value)
        return _judged(by_row({"log_prob": value, "se": ratio.std(0, ddof=1) / np.sqrt(len(each))}))


def _judged(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Scores, no better than their Monte Carlo error allows."""
    for answer in answers:
        se = answer["se"]
        if "verdict" not in answer and se is not None and se > SCORE_TRUSTED:
            verdict = "caution" if se <= SCORE_CAUTION else "untrusted"
            answer |= {"verdict": verdict, "reason": "a few draws of the posterior give most of it"}
    return answers


@dataclass(frozen=True, eq=False)
class _Mended:
    """Log predictive probability of the class that came, by a map, with its Monte Carlo error."""

    densities: Densities
    map: Map
    count: int

    def __call__(self, rows: Rows) -> list[dict[str, Any]]:
        ((name, argument),) = self.densities.arguments.items()
        codes = np.asarray(rows.arrays[argument]).astype(int)
        return _judged(
            by_row(log_prob_of(self.map, self.densities.of_classes(name, rows, self.count), codes))
        )


@dataclass(frozen=True, eq=False)
class _Encoded:
    """Log p(x) by importance weights, row by row, so that none depends on the others."""

    latent: Any
    anomalies: bool

    def __call__(self, rows: Rows) -> list[dict[str, Any]]:
        return [self._one(rows.some(np.array([row]))) for row in range(rows.count)]

    def _one(self, row: Rows) -> dict[str, Any]:
        x = given(row)
        found = self.latent.anomalies(x) if self.anomalies else self.latent.score(x)
        names = [n for n in ("log_prob", "se", "bound", "khat", "p_value") if n in found]
        (answer,) = by_row({name: found[name].to_numpy() for name in names})
        verdict = str(found["verdict"].to_numpy()[0])
        return {"verdict": verdict, "reason": f"by importance weights {verdict}", **answer}
