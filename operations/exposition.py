"""Metrics as Prometheus reads them: kept, served, pushed.

Processes that share a folder named by ``PROMETHEUS_MULTIPROC_DIR`` before they start add up.
"""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any
from urllib.error import URLError

from ..ppl.errors import DataError, InferenceError, explain, in_short
from ..ppl.names import printable
from ..ppl.thresholds import QUOTED
from .asked import is_number
from .extras import library
from .metrics.table import BY_NAME, COUNTER, GAUGE, HISTOGRAM, Metric
from .thresholds import MOST_LABEL, MOST_SERIES, PUSH_SECONDS

NOT_FINITE = "not_finite_total"


class Exposition:
    """Metrics of one program.

    Parameters
    ----------
    model, version : str
        Labels of all of them.
    most : int
        Series that a metric may have: of each combination of labels one.

    Examples
    --------
    >>> shown = Exposition("risk", "7")
    >>> shown.set("elbo", -1.5, data="live")
    >>> print(shown.text().splitlines()[-1])
    elboroom_elbo{data="live",model="risk",version="7"} -1.5
    """

    def __init__(self, model: str, version: str = "", most: int = MOST_SERIES):
        self._common = {"model": _label("model", model), "version": _label("version", version)}
        self._client = library("prometheus_client", "monitor", "metrics")
        self.registry = self._client.CollectorRegistry()
        self._most = most
        self._made: dict[str, Any] = {}
        self._series: dict[str, set[tuple[str, ...]]] = defaultdict(set)

    # -- what is told -------------------------------------------------------------------------------

    def set(self, name: str, value: float, **labels: str) -> None:
        """The value of a gauge; one that is not finite is counted, and no longer shown.

        Raises
        ------
        DataError
            For what the table does not have, and more series than there may be.
        """
        self._tell("set", GAUGE, name, value, labels)

    def add(self, name: str, value: float = 1.0, **labels: str) -> None:
        """So many more of a counter.

        Raises
        ------
        DataError
            As of `set`, and for less than none.
        """
        self._tell("inc", COUNTER, name, value, labels)

    def observe(self, name: str, value: float, **labels: str) -> None:
        """One more observation of a histogram.

        Raises
        ------
        DataError
            As of `set`.
        """
        self._tell("observe", HISTOGRAM, name, value, labels)

    def tell(self, samples: Iterable[tuple[str, Mapping[str, str], float]]) -> Exposition:
        """Samples as `elboroom.metrics` gives them: counts are added, all else is set; names of columns and units that are too long for
        a label are shortened. Returns this."""
        for name, labels, value in samples:
            own = {k: _short(v) for k, v in labels.items() if k not in self._common}
            counts = name in BY_NAME and BY_NAME[name].kind == COUNTER
            (self.add if counts else self.set)(name, value, **own)
        return self

    # -- what is shown ------------------------------------------------------------------------------

    def text(self) -> str:
        """The exposition, of all processes where several share a folder."""
        return self._client.generate_latest(self._whole()).decode()

    def serve(self, port: int, host: str = "127.0.0.1") -> Any:
        """Answer ``GET /metrics`` in a thread; ``[0].shutdown()`` of what is returned ends it.

        Raises
        ------
        InferenceError
            For a place that nobody can listen at.
        """
        try:
            return self._client.start_http_server(port, host, self._whole())
        except (OSError, OverflowError, TypeError) as error:
            where, remedy = f"port {port!r} of '{host}'", "choose another one, or 0 for any"
            raise InferenceError(explain(where, "a port that is free", in_short(error), remedy)) from error

    def push(self, url: str, job: str = "elboroom") -> None:
        """Send all to a Pushgateway, in place of what this model and version sent before.

        Raises
        ------
        InferenceError
            Where the gateway does not take them.
        """
        grouping = {key: value for key, value in self._common.items() if value}
        try:
            self._client.push_to_gateway(url, job, self._whole(), grouping, timeout=PUSH_SECONDS)
        except (URLError, OSError, ValueError, AttributeError) as error:
            raise InferenceError(
                explain(f"push to '{url}'", "a Pushgateway that takes metrics", in_short(error), "check the address, or scrape instead")
            ) from error  # fmt: skip

    def _whole(self) -> Any:
        folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        if not folder:
            return self.registry
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = self._client.CollectorRegistry()
        try:
            MultiProcessCollector(registry, folder)
        except ValueError:
            where, remedy = "PROMETHEUS_MULTIPROC_DIR", "make it before any process starts"
            raise InferenceError(explain(where, "a folder", f"'{folder}'", remedy)) from None
        return registry

    # -- within -------------------------------------------------------------------------------------

    def _tell(self, verb: str, kind: str, name: str, value: float, labels: Mapping[str, str]) -> None:
        metric, own = self._of(name, kind, labels)
        if not is_number(value) or (kind == COUNTER and value < 0):
            want = "a number" + (" of zero or more" if kind == COUNTER else "")
            raise DataError(explain(f"{kind} '{name}'", want, repr(value)[:QUOTED], "tell what is new alone"))
        if math.isfinite(value):
            getattr(self._series_of(metric, own), verb)(float(value))
        else:
            self._lost(metric, own)

    def _of(self, name: str, kind: str, labels: Mapping[str, str]) -> tuple[Metric, dict[str, str]]:
        metric = BY_NAME.get(name)
        if metric is None or metric.kind != kind:
            known = sorted(m.name for m in BY_NAME.values() if m.kind == kind)
            got = f"'{name}'"[:QUOTED] + ("" if metric is None else f", a {metric.kind}")
            raise DataError(explain(f"metric, a {kind}", f"one of {known}", got, "add a line to the table"))
        if set(labels) != set(metric.labels):
            raise DataError(
                explain(
                    f"labels of '{name}'", f"{sorted(metric.labels)}", f"{sorted(labels)}", "give just these"
                )
            )
        return metric, {key: _label(key, value) for key, value in labels.items()}

    def _series_of(self, metric: Metric, own: Mapping[str, str]) -> Any:
        labels = {**self._common, **own}
        key, known = tuple(labels[name] for name in metric.all_labels), self._series[metric.name]
        if key not in known:
            if len(known) >= self._most:
                raise DataError(
                    explain(f"labels of '{metric.name}'", f"at most {self._most} different ones", f"{dict(own)!r}"[:QUOTED],
                            "label by what there are few of; no row, user or request is one")
                )  # fmt: skip
            known.add(key)
        return self._made_of(metric).labels(**labels)

    def _made_of(self, metric: Metric) -> Any:
        if metric.name not in self._made:
            kinds = {
                GAUGE: self._client.Gauge,
                COUNTER: self._client.Counter,
                HISTOGRAM: self._client.Histogram,
            }
            more: dict[str, Any] = {
                GAUGE: {"multiprocess_mode": "mostrecent"},
                HISTOGRAM: {"buckets": metric.buckets},
            }
            self._made[metric.name] = kinds[metric.kind](
                metric.full,
                metric.help,
                metric.all_labels,
                registry=self.registry,
                **more.get(metric.kind, {}),
            )
        return self._made[metric.name]

    def _lost(self, metric: Metric, own: Mapping[str, str]) -> None:
        """What is not finite is counted; what it was before is no longer true."""
        labels = {**self._common, **own}
        key = tuple(labels[name] for name in metric.all_labels)
        if metric.kind == GAUGE and key in self._series[metric.name]:
            if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
                self._made_of(metric).labels(**labels).set(math.nan)
            else:
                self._made_of(metric).remove(*key)
        self.add(NOT_FINITE, what=metric.name)


def _short(value: str) -> str:
    """A name in one line, its end a digest of it where it is too long."""
    text = printable(" ".join(str(value).split()))
    if len(text) <= MOST_LABEL:
        return text
    mark = blake2b(text.encode(), digest_size=4).hexdigest()
    return f"{text[: MOST_LABEL - len(mark) - 1]}…{mark}"


def _label(name: str, value: Any) -> str:
    """A label's value: short, and nothing that a terminal takes as a command."""
    text = printable(str(value))
    if len(text) > MOST_LABEL or "\n" in text:
        raise DataError(explain(f"label '{name}'", f"up to {MOST_LABEL} letters in one line", f"{text[:QUOTED]!r}, {len(text)}", "shorten it"))  # fmt: skip
    return text
