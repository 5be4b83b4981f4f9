"""The metrics of a service as Prometheus reads them: those of the version that answers, of a candidate, and of the one before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from ..extras import library
from .batches import Batcher
from .live import Live


class _Together:
    """Metrics of several registries, each name once."""

    def __init__(self, *registries: Any):
        self._registries = registries

    def collect(self) -> Iterator[Any]:
        metrics: dict[str, Any] = {}
        for registry in self._registries:
            for metric in registry.collect():
                if metric.name in metrics:
                    metrics[metric.name].samples += metric.samples
                else:
                    metrics[metric.name] = metric
        yield from metrics.values()


def text_of(live: Live, batcher: Batcher, degraded: bool) -> str:
    """The exposition; `degraded` says whether an answer was without its evidence of late."""
    served = live.current
    if served is None:
        return ""
    served.shown.set("queue_rows", float(batcher.waiting))
    served.shown.set("degraded", float(degraded or bool(live.problem)))
    others = [
        one.shown.registry for one in (live.beside, live.before) if one is not None and one is not served
    ]
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR") or not others:
        return served.shown.text()
    client = library("prometheus_client", "serve", "metrics")
    return client.generate_latest(_Together(served.shown.registry, *others)).decode()
