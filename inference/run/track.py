"""Who follows a fit: is told what goes on, and changes nothing of it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from ...ppl import interrupts
from ...ppl.errors import InferenceError, explain
from ...ppl.thresholds import QUOTED
from ..evidence.finding import Finding, Findings
from .trail import Rung


class Track(Protocol):
    """Who is told of fits. Nothing that it is told may raise, or take time."""

    def begun(self, kind: str, name: str, settings: Mapping[str, Any]) -> Track:
        """Who is told of this fit: of ``"fit"``, ``"refine"`` or ``"svi"`` of a model, with its settings."""
        ...

    def step(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """What was seen after some steps of a stage, by name."""
        ...

    def line(self, rung: Rung) -> None:
        """A line of the trail."""
        ...

    def rested(self) -> tuple[Finding, ...]:
        """Wait a little until what was told is kept; findings of the tracker's own troubles."""
        ...

    def ended(self, record: Any) -> tuple[Finding, ...]:
        """What came of it; findings as of `rested`."""
        ...

    def failed(self, error: BaseException) -> None:
        """It came to nothing."""
        ...


F = TypeVar("F", bound=Callable[..., Any])


def followed(
    kind: str, record_of: Callable[[Any], Any] = lambda x: x, made: Callable[[Any], Any] = lambda x: x
) -> Callable[[F], F]:
    """A decorator of what has an argument ``track``, by keyword, and returns a record, or what `record_of` and `made` take apart and join.

    Within it, ``track`` is who is told of this very call; its findings join those of the record.
    """

    def decorate(function: F) -> F:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if kwargs.get("track") is None:
                return function(*args, **kwargs)
            given = signature.bind(*args, **kwargs)
            given.apply_defaults()
            (_, what), *settings = given.arguments.items()
            told = told_of(given.arguments["track"], kind, what, dict(settings))
            given.arguments["track"] = told
            try:
                record = record_of(function(*given.args, **given.kwargs))
            except BaseException as error:
                told.failed(error)
                raise
            with interrupts.deferred(answered=True):  # it is there, and the wait is short
                found = told.ended(record)
            return made(replace(record, findings=Findings([*record.findings, *found])) if found else record)

        return call  # type: ignore[return-value]  # of the same signature

    return decorate


def told_of(track: Any, kind: str, what: Any, settings: Mapping[str, Any]) -> Any:
    """Who is told of the fit of a program, or of what goes on from a record; None where nobody is.

    Raises
    ------
    InferenceError
        For what cannot be told anything.
    """
    if track is None:
        return None
    if not callable(getattr(track, "begun", None)):
        raise InferenceError(
            explain("track", "an er.Tracker", f"{track!r}"[:QUOTED], "pass track=er.Tracker('runs')")
        )
    own = {
        name: value if isinstance(value, (bool, int, float, str)) else f"{value!r}"[:QUOTED]
        for name, value in settings.items()
        if value is not None and name != "track"
    }
    if settings.get("private") is not None:  # not even a digest of rows that are
        own["data_fingerprint"] = ""
    name = what.model.name if hasattr(what, "leaves") else getattr(what, "name", type(what).__name__)
    return track.begun(kind, name, {"data_fingerprint": getattr(what, "data_fingerprint", ""), **own})
