"""Structured logs: one line of JSON an event, with documented fields."""

from __future__ import annotations

import json
import logging
import math
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, TextIO

from ..ppl.errors import DataError, explain
from ..ppl.names import printable


class Field(NamedTuple):
    """A key of a line, and what its value is."""

    name: str
    meaning: str


FIELDS: tuple[Field, ...] = (
    Field("time", "when, in UTC, as ISO 8601 has it"),
    Field("event", "what: begin, step, line, rest, end, fail or log"),
    Field("run", "the name of the run, which its folder has too"),
    Field("kind", "of begin: fit, refine or svi"),
    Field("model", "the name of the model"),
    Field("settings", "of begin: what was asked for, and the fingerprint of the data"),
    Field("version", "of begin: that of elboroom"),
    Field("stage", "of step: what was being done, in words"),
    Field("step", "of step: how many were done"),
    Field("values", "of step: numbers by name; null where one is not finite"),
    Field("not_finite", "names of the values that are not finite"),
    Field("rung", "of line: a line of the trail, as Posterior.trail has it"),
    Field("verdict", "of end: the verdict of the posterior"),
    Field("khat", "of end: k̂ of the importance weights"),
    Field("counts", "of end: how many quantities have which verdict"),
    Field("findings", "of end: all findings, as Finding.as_dict has them"),
    Field("cost", "of end: densities, gradients, and seconds to compile and to run"),
    Field("seconds", "of end and fail: since the beginning"),
    Field("files", "of end: names of the files beside the line"),
    Field("error", "of fail: kind and first line of the error"),
    Field("level", "of log: INFO, WARNING or another level of Python's logging"),
    Field("logger", "of log: the name of the logger"),
    Field("message", "of log: the words"),
)
NAMES = frozenset(field.name for field in FIELDS)


def line(event: Mapping[str, Any]) -> str:
    """An event as one line of strict JSON, without its end; numbers that are not finite are null, and named.

    Parameters
    ----------
    event : mapping
        Values of some of `FIELDS`, by name.

    Raises
    ------
    DataError
        For a field that nothing documents.

    Examples
    --------
    >>> line({"event": "step", "step": 3, "values": {"bound": float("nan"), "active_units": 2}})
    '{"event": "step", "step": 3, "values": {"bound": null, "active_units": 2}, "not_finite": ["bound"]}'
    """
    unknown = sorted(set(event) - NAMES)
    if unknown:
        raise DataError(explain("log line", f"fields among {sorted(NAMES)}", f"{unknown}", "document them in FIELDS"))  # fmt: skip
    lost = sorted(name for name, value in event.get("values", {}).items() if not _finite(value))
    return json.dumps(plain({**event, **({"not_finite": lost} if lost else {})}), ensure_ascii=False)


def plain(value: Any) -> Any:
    """What JSON takes: no numbers that are not finite, no arrays."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(one) for one in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, (str, int, bool)) or value is None else str(value)


def _finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


class JsonFormatter(logging.Formatter):
    """Records of Python's logging as lines of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        event = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "event": "log",
            "level": record.levelname,
            "logger": record.name,
            "message": printable(record.getMessage()),
        }
        if record.exc_info and record.exc_info[1] is not None:
            event["error"] = f"{type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
        return line(event)


def json_logs(stream: TextIO | None = None, level: str | int = "INFO") -> logging.Handler:
    """Write what elboroom logs as lines of JSON.

    Parameters
    ----------
    stream : file, optional
        The standard error by default.
    level : str or int
        ``"INFO"``: the stages of fits. ``"DEBUG"``: how far they are.

    Raises
    ------
    DataError
        For what cannot be written to, or is no level.

    Returns
    -------
    logging.Handler
        ``logging.getLogger("elboroom").removeHandler`` ends it.

    Examples
    --------
    >>> import io, json
    >>> lines = io.StringIO()
    >>> handler = json_logs(lines)
    >>> logging.getLogger("elboroom").info("fitting the guide")
    >>> json.loads(lines.getvalue())["message"]
    'fitting the guide'
    >>> logging.getLogger("elboroom").removeHandler(handler)
    """
    if stream is not None and not hasattr(stream, "write"):
        got, remedy = type(stream).__name__, "pass an open file, or leave it out"
        raise DataError(explain("stream", "a file that is open for text", got, remedy))
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(JsonFormatter())
    try:
        handler.setLevel(level)
    except (ValueError, TypeError):
        raise DataError(
            explain("level", "a level of logging", repr(level)[:80], "pass 'INFO' or 'DEBUG'")
        ) from None
    logger = logging.getLogger("elboroom")
    logger.addHandler(handler)
    if not logger.isEnabledFor(handler.level):
        logger.setLevel(handler.level)
    return handler
