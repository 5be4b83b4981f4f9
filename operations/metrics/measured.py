"""``er.metrics``: all numbers of the table that apply to a posterior, in one call."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ...inference.evidence.finding import Finding, Findings
from ...ppl.errors import DataError, ElboroomError, explain, in_short
from ..exposition import Exposition
from .of_fit import of_cost, of_fit, of_spoilt
from .of_predictions import of_classes, of_density, of_places
from .of_rows import of_anomalies, of_codes, of_encoder, of_made_up, of_scores
from .table import BY_NAME
from .watched import Watched


class Sample(NamedTuple):
    """One value of a metric."""

    name: str
    labels: dict[str, str]
    value: float


GROUPS: tuple[Callable[[Watched], Iterator[tuple]], ...] = (
    of_fit,
    of_spoilt,
    of_cost,
    of_density,
    of_classes,
    of_places,
    of_scores,
    of_codes,
    of_encoder,
    of_made_up,
    of_anomalies,
)
"""What measures; each yields ``name, value`` or ``name, value, labels`` of what applies."""


@dataclass(frozen=True, eq=False)
class Metrics:
    """Metrics of a posterior. Made by `elboroom.metrics`.

    Attributes
    ----------
    model, version : str
    samples : tuple of Sample
        Finite values alone.
    absent : mapping of str to str
        Metrics that could not be measured, and why. What does not apply to such a model is not even here.
    findings : tuple of Finding
        Of values that are not finite, and of rows that were left out.
    """

    model: str
    version: str
    samples: tuple[Sample, ...]
    absent: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def __getitem__(self, name: str) -> float:
        """The value of a metric that has one alone."""
        found = [sample.value for sample in self.samples if sample.name == name]
        if len(found) != 1:
            got = f"{len(found)} values of '{name}'" + (
                f": {self.absent[name]}" if name in self.absent else ""
            )
            known = sorted({s.name for s in self.samples})
            raise DataError(explain("metrics", f"one value, of one of {known}", got, "look at to_frame()"))
        return found[0]

    def __contains__(self, name: str) -> bool:
        return any(sample.name == name for sample in self.samples)

    def to_frame(self):
        """As a ``pandas.DataFrame``: ``metric``, ``labels``, ``value``, ``unit`` and ``help``."""
        import pandas as pd

        rows = [
            (s.name, ", ".join(f"{k}={v}" for k, v in s.labels.items()), s.value, BY_NAME[s.name].unit, BY_NAME[s.name].help)
            for s in self.samples
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=["metric", "labels", "value", "unit", "help"])

    def exposition(self) -> Exposition:
        """The same for Prometheus: its ``text()``, ``serve(port)`` and ``push(url)``."""
        return Exposition(self.model, self.version).tell(self.samples)

    def __repr__(self) -> str:
        return self.to_frame()[["metric", "labels", "value"]].to_string(index=False)

    def _repr_html_(self) -> str:
        return self.to_frame().to_html(index=False)


@np.errstate(all="ignore")  # what is not finite is counted
def metrics(
    posterior: Any, data: Any = None, version: str = "", name: str | None = None, anomalous: Any = None
) -> Metrics:
    """Measure what a deployed posterior is watched by.

    Parameters
    ----------
    posterior : Posterior
        What is measured.
    data : mapping or table, optional
        Rows: arguments of the model by name, outcomes among them; the fitted ones by default. Columns that the model does not take
        are left out, and so are rows that it cannot take: they are counted, and the others measured.
    version : str
        A label of all metrics.
    name : str, optional
        Of these rows, the label ``data``: ``"fitted"`` or ``"new"`` by default.
    anomalous : array of bool, optional
        Which of the rows are anomalies, where that is known.

    Returns
    -------
    Metrics
        What applies to the model: one without an encoder has no latent units. See `elboroom.operations.metrics.table.TABLE` for
        names, units and what they are.

    Raises
    ------
    DataError, ShapeError
        For what are no rows, rows that lack an argument, or labels of another number of rows.
    InferenceError
        For what is no posterior.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def level(y):
    ...     mu = er.sample("mu", er.Normal(0, 10))
    ...     with er.plate("row", len(y)):
    ...         er.observe("y", er.Normal(mu, 1), y)
    >>> posterior = er.fit(level([1.0, 2.0, 3.0]), progress=False)
    >>> found = er.metrics(posterior, {"y": [1.5, 2.5]})
    >>> "active_units" in found, round(found["nll"], 1)
    (False, 1.2)
    """
    watched = Watched.of(posterior, data, name, anomalous)
    samples: list[Sample] = []
    absent: dict[str, str] = {}
    findings: list[Finding] = list(_left_out(watched))
    for group in GROUPS:
        try:
            for one, value, *labels in group(watched):
                own = dict(labels[0]) if labels else {}
                _take(Sample(one, own, float(value)), watched, samples, findings)
        except ElboroomError as error:
            absent[group.__name__.removeprefix("of_")] = in_short(error)
    return Metrics(posterior.name, version, tuple(samples), absent, Findings(findings))


def _left_out(watched: Watched) -> Iterator[Finding]:
    if watched.left_out:
        share = watched.left_out / watched.given
        advice = (f"{watched.left_out:,} of {watched.given:,} rows cannot be measured, and are left out: {watched.spoilt:,} have a number that "
                  "is infinite or missing, others no outcome, or a level that was not fitted. See er.schema.")  # fmt: skip
        yield Finding("rows left out", "fit", share, 0.0, "caution", advice)


def _take(sample: Sample, watched: Watched, samples: list[Sample], findings: list[Finding]) -> None:
    """A sample with its label of rows, or the count of one that is not finite."""
    metric = BY_NAME[sample.name]
    if math.isfinite(sample.value):
        more = {"data": watched.name} if "data" in metric.labels else {}
        samples.append(sample._replace(labels={**more, **sample.labels}))
        return
    samples.append(Sample("not_finite_total", {"what": sample.name}, 1.0))
    advice = (
        f"{metric.help}: {sample.value}, no finite number. Look at the posterior's findings and at the rows."
    )
    findings.append(Finding("not finite", sample.name, None, None, "caution", advice))
