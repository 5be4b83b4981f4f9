"""What a service is told: checked once, when it is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ...ppl.errors import InferenceError, explain
from ..asked import check_seed, is_number
from .columns import GATES, REFUSE
from .thresholds import (
    CACHED_ROWS,
    DRAIN_SECONDS,
    ENCODED_DRAWS,
    HEAD_SECONDS,
    IDLE_SECONDS,
    LONGEST_WAIT,
    LOOK_SECONDS,
    MOST_BATCHED,
    MOST_BYTES,
    MOST_CONNECTIONS,
    MOST_PORT,
    MOST_ROWS,
    MOST_WAITING,
    REQUEST_SECONDS,
    SERVED_DRAWS,
)


@dataclass(frozen=True)
class Settings:
    """How a service answers.

    Attributes
    ----------
    draws : int
        Draws of the posterior that a prediction is made of.
    encoded_draws : int
        Weighted draws of an encoded row: more of them are trusted more often, and take longer.
    anomalies : bool
        Whether scores of encoded rows come with their rank among the rows that training held out, which takes longer.
    seed : int
        Same seed, same answers.
    new_groups : bool
        Whether rows of groups that were not fitted are answered, from the prior of groups; else they are refused.
    gate : {"refuse", "flag"}
        What becomes of numbers that are farther outside of the training data than their range.
    batching : bool
        Whether requests share calls.
    most_batched : int
        Rows of one call.
    wait : float
        Seconds that a request waits for others.
    most_waiting : int
        Rows that wait, before others are refused (429).
    most_rows, most_bytes : int
        Of a request.
    seconds : float
        Within which a request is answered.
    cached : int
        Answers of rows that are kept; none with 0.
    look : float
        Seconds between two looks at the registry.
    """

    draws: int = SERVED_DRAWS
    encoded_draws: int = ENCODED_DRAWS
    anomalies: bool = True
    seed: int = 0
    new_groups: bool = False
    gate: str = REFUSE
    batching: bool = True
    most_batched: int = MOST_BATCHED
    wait: float = LONGEST_WAIT
    most_waiting: int = MOST_WAITING
    most_rows: int = MOST_ROWS
    most_bytes: int = MOST_BYTES
    seconds: float = REQUEST_SECONDS
    cached: int = CACHED_ROWS
    look: float = LOOK_SECONDS

    def __post_init__(self):
        for name in ("draws", "encoded_draws", "most_batched", "most_waiting", "most_rows", "most_bytes"):
            _check(name, getattr(self, name), "an integer above 0", lambda v: isinstance(v, int) and v > 0)
        for name in ("seconds", "look"):
            _check(name, getattr(self, name), "a number above 0", lambda v: is_number(v) and v > 0)
        _check("wait", self.wait, "seconds, or 0", lambda v: is_number(v) and v >= 0)
        _check("cached", self.cached, "an integer, or 0", lambda v: isinstance(v, int) and v >= 0)
        _check("gate", self.gate, f"one of {list(GATES)}", lambda v: v in GATES)
        check_seed(self.seed)


@dataclass(frozen=True)
class Listening:
    """Where and how a server listens.

    Attributes
    ----------
    host : str
    port : int
        0 for any that is free.
    health_port : int, optional
        Where a thread of its own answers whether the process lives and is ready; -1 for any that is free.
    cert, key : str, optional
        Files in PEM, for TLS; of at least version 1.2.
    key_password : str, optional
    workers : int
        Processes; one that dies is started again where there are several.
    connections : int
        At once; more are closed.
    head_seconds, idle_seconds : float
        Within which the head of a request has to come, and how long a connection is kept between two.
    drain : float
        Seconds that requests have to end in once the process is told to.
    linger : float
        Seconds for which it goes on to answer once it is told to end, not ready any more, so that others see it.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    health_port: int | None = None
    cert: str | None = None
    key: str | None = None
    key_password: str | None = None
    workers: int = 1
    connections: int = MOST_CONNECTIONS
    head_seconds: float = HEAD_SECONDS
    idle_seconds: float = IDLE_SECONDS
    drain: float = DRAIN_SECONDS
    linger: float = 0.0

    def __post_init__(self):
        _check("port", self.port, f"0 to {MOST_PORT}", lambda v: isinstance(v, int) and 0 <= v <= MOST_PORT)
        for name in ("workers", "connections"):
            _check(name, getattr(self, name), "an integer above 0", lambda v: isinstance(v, int) and v > 0)
        for name in ("cert", "key"):
            path = getattr(self, name)
            _check(name, path, "a file in PEM", lambda v: v is None or Path(v).is_file())
        if (self.cert is None) != (self.key is None):
            raise InferenceError(explain("cert and key", "both, or neither", "one of them", "give the other"))


def _check(name: str, value: Any, expected: str, holds: Callable[[Any], bool]) -> None:
    if isinstance(value, bool) or not holds(value):
        raise InferenceError(explain(name, expected, repr(value)[:80], "correct it"))


def parted(given: dict[str, Any], *kinds: type) -> list[Any]:
    """Keyword arguments as several kinds of settings.

    Raises
    ------
    InferenceError
        For what none of them has.
    """
    names = {field.name for kind in kinds for field in fields(kind)}
    if strange := sorted(set(given) - names):
        raise InferenceError(
            explain("settings", f"some of {sorted(names)}", f"{strange}", "correct the names")
        )
    return [kind(**{k: v for k, v in given.items() if k in {f.name for f in fields(kind)}}) for kind in kinds]
