"""Outcomes of encoded rows: what the model takes for their signal, and what they lack, given all that is known of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...inference.deep.distances import NOMINAL
from ...inference.posterior.classes import MEASURES, num_classes
from ...inference.posterior.posterior import Posterior, record_of
from ..schema.schema import Schema
from .columns import Rows, Wanted
from .encoding import UNWEIGHED, columns_of, given, one_by_one, verdict_of
from .mended import Map, maps_of, mended
from .numbers import by_row
from .settings import Settings
from .summaries import summaries
from .verdicts import RowVerdicts

SIGNAL = "reconstruction"


@dataclass(frozen=True, eq=False)
class Reconstructing:
    """Predicts encoded rows, as `Latent.reconstruct` and `Latent.impute` do.

    Attributes
    ----------
    wanted : tuple of Wanted
    latent : Latent
    draws : int
        Weighted draws of a row.
    maps : mapping
        What mends predictions, by outcome.
    verdicts : RowVerdicts
    """

    wanted: tuple[Wanted, ...]
    latent: Any
    draws: int
    maps: dict[str, Map]
    verdicts: RowVerdicts

    name = "predict"
    alone = True

    @classmethod
    def of(
        cls, posterior: Posterior, known: Schema | None, settings: Settings, fits: bool | None
    ) -> Reconstructing:
        """Of a posterior with its program, whose rows have an encoder."""
        columns, verdicts = columns_of(posterior, known), RowVerdicts.of_encoded(fits)
        maps = maps_of(record_of(posterior))
        return cls(columns, one_by_one(posterior), settings.encoded_draws, maps, verdicts)

    def run(self, rows: Rows) -> list[dict[str, Any]]:
        """Answers of rows, each weighed alone, so that none depends on the others."""
        return [self._one(rows.some(np.array([row]))) for row in range(rows.count)]

    def _one(self, row: Rows) -> dict[str, Any]:
        latent = self.latent
        data, count = latent.data_of(given(row), "predict")
        own = latent.seeing(data)
        (some,) = own.weighed(data, count, self.draws)
        rng = np.random.default_rng([latent.seed, 67])
        z = some.resampled(self.draws, rng)
        (answer,) = self._signals(own.means(z, data, known=True))
        verdict = verdict_of(own, some, self.draws)
        holed = {k: value for k, value in data.items() if value.dtype.kind == "f" and np.isnan(value).any()}
        made = own.completed(np.moveaxis(z, 1, 0), data, count, latent.seed) if holed else {}
        for name, site in own.outcomes.items():
            if site.argument in holed and name in made:
                known = holed[site.argument]
                drawn = np.where(np.isnan(known), made[name], known)
                answer[name] = {**answer.get(name, {}), **self._completed(name, site, drawn)}
        return {**verdict, **answer}

    def _completed(self, name: str, site: Any, drawn: np.ndarray) -> dict[str, Any]:
        """What is said of an outcome ``(S, 1, …)`` by draws of it given all that is known of its row."""
        map = self.maps.get(name)
        if site.measure not in MEASURES or site.constraint is None:
            (one,) = summaries(drawn, map)
            return one
        shares = np.stack([(drawn[:, 0] == k).mean(0) for k in range(num_classes(site))], -1)
        (one,) = by_row({"probabilities": mended(map, shares)[None]})
        return (
            one
            if shares.ndim > 1
            else {"probabilities": dict(zip(self._labels(site), one["probabilities"], strict=True))}
        )

    def _labels(self, site: Any) -> list[str]:
        named = self.latent.setup.rows.full.program.labels.get(site.argument, ())
        count = num_classes(site)
        return [str(label) for label in named] if len(named) == count else [str(k) for k in range(count)]

    def _signals(self, means: Any) -> list[dict[str, Any]]:
        """Expected outcomes of rows, of those whose laws know them."""
        outcomes = self.latent.outcomes
        parts = {
            name: np.asarray(means[name].to_numpy(), float)
            for name in means.data_vars
            if name in outcomes and outcomes[name].measure != NOMINAL
        }
        if not parts:
            return [{}]
        told = by_row(parts)
        extra = ("verdict", "reason")
        return [
            {
                **{k: {SIGNAL: v} for k, v in row.items() if k not in extra},
                **{k: row[k] for k in extra if k in row},
            }
            for row in told
        ]

    def run_plain(self, rows: Rows) -> list[dict[str, Any]]:
        """Expected outcomes at the means of the encoder's own laws: where there is no time for more."""
        latent = self.latent
        data, count = latent.data_of(given(rows), "predict")
        own = latent.seeing(data)
        mean, _ = own.moments(data, count)
        signals = self._signals(own.means(mean[:, None], data, known=True))
        return [{**UNWEIGHED, **row} for row in (signals * count if signals == [{}] else signals)]
