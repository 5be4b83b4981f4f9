"""Latent quantities of rows by their encoder, with the evidence for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...inference.deep.judged import verdicts_of_rows
from ...inference.posterior.classes import MEASURES, num_classes
from ...inference.posterior.posterior import Posterior, record_of
from ...inference.posterior.predict import fitted_labels
from ...ppl.errors import UnsupportedError, explain
from ..schema.schema import Schema
from .columns import Rows, Wanted
from .numbers import by_row
from .ranges import Ranges
from .settings import Settings
from .verdicts import RowVerdicts

UNWEIGHED = {
    "verdict": None,
    "reason": "the encoder's own law, not weighed: there was no time",
    "degraded": True,
}


@dataclass(frozen=True, eq=False)
class Encoding:
    """Encodes rows.

    Attributes
    ----------
    wanted : tuple of Wanted
    latent : Latent
    draws : int
        Weighted draws of a row.
    verdicts : RowVerdicts
    """

    wanted: tuple[Wanted, ...]
    latent: Any
    draws: int
    verdicts: RowVerdicts

    name = "encode"
    alone = True

    @classmethod
    def of(
        cls, posterior: Posterior, known: Schema | None, settings: Settings, fits: bool | None
    ) -> Encoding:
        """Of a posterior with its program.

        Raises
        ------
        UnsupportedError
            Where rows have no encoder.
        """
        if not record_of(posterior).settings.get("encoder"):
            what, remedy = f"encode of '{posterior.name}'", "ask for predict and score"
            raise UnsupportedError(explain(what, "a model with an encoder", "one without", remedy))
        columns = columns_of(posterior, known)
        return cls(columns, one_by_one(posterior), settings.encoded_draws, RowVerdicts.of_encoded(fits))

    def run(self, rows: Rows) -> list[dict[str, Any]]:
        """Answers of rows, each weighed alone, so that none depends on the others."""
        return [self._one(rows.some(np.array([row]))) for row in range(rows.count)]

    def _one(self, row: Rows) -> dict[str, Any]:
        latent = self.latent
        data, count = latent.data_of(given(row), "encode")
        own = latent.seeing(data)
        (some,) = own.weighed(data, count, self.draws)
        found = some.estimates(some.z)
        low, _, high = found.quantiles
        parts = {"mean": found.mean, "sd": found.sd, "q5": low, "q95": high}
        (answer,) = by_row({**{k: v.reshape(1, -1) for k, v in parts.items()}, "khat": some.khat})
        return {**verdict_of(own, some, self.draws), **answer}

    def run_plain(self, rows: Rows) -> list[dict[str, Any]]:
        """Means and sds of the encoder's own laws: where there is no time for more."""
        found = self.latent.encode(given(rows), weigh=False)
        parts = {name: found[name].to_numpy() for name in ("mean", "sd")}
        return [{**UNWEIGHED, **row} for row in by_row(parts)]


def one_by_one(posterior: Posterior) -> Any:
    """`Posterior.latent` with functions of one row: those of a batch would fill it up."""
    record = record_of(posterior)
    encoder = {**record.settings["encoder"], "size": 1}
    return Posterior(replace(record, settings={**record.settings, "encoder": encoder})).latent


def verdict_of(latent: Any, some: Any, draws: int) -> dict[str, str]:
    """Verdict and reason of a row that was weighed."""
    found = some.estimates(some.z)
    verdict = str(verdicts_of_rows(found, some.khat, latent.best, latent.setup.encoder.bits)[0])
    return {"verdict": verdict, "reason": f"by {draws} weighted draws {verdict}"}


def columns_of(posterior: Posterior, known: Schema | None) -> tuple[Wanted, ...]:
    """Columns that run along encoded rows."""
    record = record_of(posterior)
    labels, fields = fitted_labels(record), known.fields if known is not None else {}
    setup, out = posterior.latent.setup, []
    gaps = setup.encoder.gaps & setup.rows.outcomes  # of others the model has no law
    classes = {
        site.argument: num_classes(site)
        for site in record.observed.values()
        if site.measure in MEASURES and site.constraint is not None
    }
    for name in sorted(setup.rows.along):
        value = np.asarray(record.program.leaves[name].value)
        codes = {str(label): i for i, label in enumerate(labels[name])} if name in labels else None
        low, high = (-np.inf, np.inf) if codes is not None else _limits(value, classes.get(name))
        ranges = Ranges.of(name, value.shape[1:], fields)
        made = Wanted(
            name, value.shape[1:], value.dtype, codes, None, low, high, ranges, whole=name in classes
        )
        out.append(replace(made, gap=True, holed=True) if name in gaps and codes is None else made)
    return tuple(out)


def _limits(value: np.ndarray, count: int | None) -> tuple[float, float]:
    """What whole numbers may be: classes, or what was fitted."""
    if count is not None:
        return 0.0, count - 1.0
    return (0.0, float(value.max())) if value.dtype.kind in "iu" else (-np.inf, np.inf)


def given(rows: Rows) -> Mapping[str, np.ndarray]:
    """Rows as `Latent` takes them."""
    return dict(rows.arrays)
