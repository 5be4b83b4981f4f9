"""OpenTelemetry: a span of each fit, and below it one of each line of its trail."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any


class Spans:
    """``tracing:``, the program's own tracer provider; a child of the span in which the fit was called.

    Parameters
    ----------
    rest : str
        Nothing; a provider is set by ``opentelemetry.trace.set_tracer_provider``.
    run : str
        Name of the run.
    """

    scheme, needs, extra = "tracing", "opentelemetry.sdk", "tracing"

    def __init__(self, rest: str, run: str):
        from opentelemetry import context, trace

        self.run, self._around = run, context.get_current()
        self._trace, self._tracer = trace, trace.get_tracer("elboroom")
        self._root: Any = None
        self._own: dict[str, Any] = {}

    def write(self, events: Sequence[dict[str, Any]]) -> int:
        """Make spans of the first event."""
        event, time = events[0], _nanoseconds(events[0]["time"])
        if event["event"] == "begin":
            self._own = {"run": self.run, "kind": event["kind"], "model": event["model"], **event["settings"]}
        if self._root is None:  # after a rest a fit may go on, in another span
            self._root = self._tracer.start_span(
                f"elboroom.{self._own['kind']}", self._around, start_time=time, attributes=_named(self._own)
            )
        match event["event"]:
            case "line":
                self._line(event["rung"], time)
            case "end":
                told = {name: event[name] for name in ("verdict", "khat", "seconds")}
                self._root.set_attributes(_named({**told, **event["cost"]}))
            case "fail":
                self._root.set_status(self._trace.Status(self._trace.StatusCode.ERROR, event["error"]))
        if event["event"] in {"end", "fail", "rest"}:
            self._root.end(time)
            self._root = None
        return 1

    def _line(self, rung: Mapping[str, Any], time: int) -> None:
        """A span that ended now and began as many seconds ago as its line says."""
        around = self._trace.set_span_in_context(self._root, self._around)
        begin = time - int(1e9 * rung["seconds"])
        span = self._tracer.start_span(
            f"elboroom.{rung['name']}", around, start_time=begin, attributes=_named(rung)
        )
        if rung["reason"].startswith("failed"):
            span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, rung["reason"]))
        span.end(time)


def _named(values: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes: numbers and words, without those that are none."""
    return {
        f"elboroom.{name}": value
        for name, value in values.items()
        if value is not None and not (isinstance(value, float) and math.isnan(value))
    }


def _nanoseconds(time: str) -> int:
    return int(datetime.fromisoformat(time).timestamp() * 1e6) * 1000
