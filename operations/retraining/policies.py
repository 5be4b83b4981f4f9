"""How a model is fitted again: with new rows alone, with all rows, or with the latest ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...inference.fit import fit
from ...inference.posterior.posterior import Posterior
from ...inference.stream.begun import begun
from ...ppl.errors import RegistryError, UnsupportedError, explain
from ...ppl.model import Program
from ..columns import frame_of
from ..thresholds import LATEST_ROWS

INCREMENTAL, FULL, EMERGENCY = "incremental", "full", "emergency"


@dataclass(frozen=True)
class Asked:
    """What a policy is given.

    Attributes
    ----------
    live : Posterior or None
        What is served, with a program; None where nothing is.
    made : callable
        Makes a program of rows.
    rows : table or mapping
        Those that the gate lets through.
    keys : numpy.ndarray or None
        What names them.
    options : mapping
        Of `elboroom.fit`.
    """

    live: Posterior | None
    made: Callable[[Any], Program]
    rows: Any
    keys: Any
    options: Mapping[str, Any]


def incremental(asked: Asked) -> Posterior:
    """What is live, updated with new rows: it forgets nothing, and costs what the new rows cost.

    Raises
    ------
    RegistryError
        Where nothing is live, or it does not know what its rows have said.
    """
    remedy = "run policy='full' on all rows first"
    if asked.live is None:
        raise RegistryError(explain("policy", "a live version to update", "none", remedy))
    try:
        return asked.live.update(asked.made(asked.rows), keys=asked.keys, **asked.options)
    except UnsupportedError as error:
        words = str(error).splitlines()[0]
        raise RegistryError(explain("policy", "a model that can be updated", words, remedy)) from error


def full(asked: Asked) -> Posterior:
    """All rows, fitted anew."""
    return begun(fit(asked.made(asked.rows), **{"progress": False, **asked.options}), asked.keys)


def emergency(asked: Asked) -> Posterior:
    """The latest rows alone, fitted anew: what was learned before is left behind, and the benchmark says what that costs."""
    count = frame_of(asked.rows, "rows").num_rows
    if count > LATEST_ROWS:
        keys = None if asked.keys is None else asked.keys[-LATEST_ROWS:]
        asked = Asked(asked.live, asked.made, _latest(asked.rows), keys, asked.options)
    return full(asked)


def _latest(rows: Any) -> Any:
    if hasattr(rows, "iloc"):
        return rows.iloc[-LATEST_ROWS:]
    return {name: value[-LATEST_ROWS:] for name, value in rows.items()}


POLICIES: tuple[tuple[str, Callable[[Asked], Posterior]], ...] = (
    (INCREMENTAL, incremental),
    (FULL, full),
    (EMERGENCY, emergency),
)
"""By name; each makes a posterior of what it is given."""
NAMES = tuple(name for name, _ in POLICIES)
