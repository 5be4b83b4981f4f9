"""``Version``: one of a model's, and what a log's lines add up to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..inference.posterior.load import load
from ..inference.posterior.posterior import Posterior
from ..ppl.errors import RegistryError, explain
from .schema.schema import Schema, schema
from .thresholds import VERSION_DIGITS

FORMAT = "elboroom-registry/1"
VERSIONS = "versions"


@dataclass(frozen=True)
class Version:
    """A version of a model: its files never change.

    Attributes
    ----------
    model : str
    number : int
    created, who, because : str
        When, by whom and why it was added.
    parent : int or None
        The version that it replaces or was updated from.
    verdict : {"trusted", "caution", "untrusted"}
        Of the posterior.
    fits_data : bool or None
        Whether the model fits the data; None where no check applies.
    data_fingerprint : str
        Of the data that reached the model.
    tags : mapping
    aliases : tuple of str
        Those that name it now.
    folder : pathlib.Path
    manifest : str
        SHA-256 of its manifest, which stands for all of its files.
    """

    model: str
    number: int
    created: str
    who: str
    because: str
    parent: int | None
    verdict: str
    fits_data: bool | None
    data_fingerprint: str
    folder: Path
    manifest: str
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()

    def load(self, program: Any = None) -> Posterior:
        """The posterior, as `elboroom.load` reads it."""
        return load(self.folder / "posterior", program)

    @property
    def record(self) -> dict[str, Any]:
        """What was noted when it was added: data, commit, versions of libraries, and all above."""
        return json.loads((self.folder / "version.json").read_bytes())

    def schema(self) -> Schema:
        """What its training data looked like: the gate of rows that are to be predicted, see `elboroom.schema`.

        Raises
        ------
        RegistryError
            Where the version has none: it was added without its program.
        """
        path = self.folder / "schema.json"
        if not path.exists():
            remedy = "add the posterior with its program, as er.fit gives it"
            raise RegistryError(explain(f"version '{self}'", "one with a schema", "one without", remedy))
        return schema(path)

    @property
    def doubt(self) -> str:
        """Why nobody should be served by it: an untrusted verdict, or a misfit; else empty."""
        doubts = ["untrusted"] * (self.verdict == "untrusted") + ["a misfit"] * (self.fits_data is False)
        return " and ".join(doubts)

    def __str__(self) -> str:
        return f"{self.model}/{self.number}"


class Versions(tuple):
    """A tuple of `Version` that prints as a table."""

    def to_frame(self):
        """As a ``pandas.DataFrame``, a row for each."""
        import pandas as pd

        shown = ("number", "created", "who", "verdict", "fits_data", "parent", "aliases", "because")
        rows = [
            [", ".join(v.aliases) if name == "aliases" else getattr(v, name) for name in shown] for v in self
        ]
        return pd.DataFrame(rows, columns=list(shown)).astype({"parent": "Int64"}).set_index("number")

    def __repr__(self) -> str:
        return self.to_frame().to_string(na_rep="") if self else "(none)"

    def _repr_html_(self) -> str:
        return self.to_frame().to_html(na_rep="")


@dataclass
class State:
    """What a log's lines add up to."""

    versions: dict[int, Version] = field(default_factory=dict)
    withdrawn: set[int] = field(default_factory=set)
    history: dict[str, list[int]] = field(
        default_factory=dict
    )  # of each alias: what it named, the last one now

    def named(self, alias: str) -> int | None:
        past = self.history.get(alias)
        return past[-1] if past else None

    def whole(self) -> Versions:
        """All versions, each with the aliases that name it now."""
        names: dict[int, list[str]] = {}
        for alias in sorted(self.history):
            if (number := self.named(alias)) is not None:
                names.setdefault(number, []).append(alias)
        return Versions(replace(v, aliases=tuple(names.get(n, ()))) for n, v in sorted(self.versions.items()))


def place_of(home: Path, number: int) -> Path:
    """The folder of a version."""
    return home / VERSIONS / f"{number:0{VERSION_DIGITS}d}"


def added_up(home: Path, lines: list[dict[str, Any]]) -> State:
    """What the lines of a model's log add up to.

    Parameters
    ----------
    home : Path
        Folder of the model, which is called like it.
    lines : list of dict
        In order.

    Raises
    ------
    RegistryError
        For the log of something else.
    """
    first = lines[0] if lines else {}
    if (first.get("format"), first.get("model")) != (FORMAT, home.name):
        expected, got = f"the log of '{home.name}', {FORMAT}", f"that of {str(first.get('model'))[:80]!r}"
        raise RegistryError(
            explain(f"folder '{home}'", expected, got, "put back the log of this model, or upgrade elboroom")
        )
    state = State()
    for line in lines[1:]:
        LINES.get(line["what"], _other)(state, line, home)
    return state


def _add(state: State, line: dict[str, Any], home: Path) -> None:
    given = {
        k: line[k]
        for k in ("who", "because", "parent", "verdict", "fits_data", "data_fingerprint", "manifest", "tags")
    }
    number = line["version"]
    state.versions[number] = Version(home.name, number, line["time"], folder=place_of(home, number), **given)


def _promote(state: State, line: dict[str, Any], _home: Path) -> None:
    past = state.history.setdefault(line["alias"], [])
    if past[-1:] != [line["version"]]:
        past.append(line["version"])


def _rollback(state: State, line: dict[str, Any], _home: Path) -> None:
    state.history[line["alias"]].pop()


def _tag(state: State, line: dict[str, Any], _home: Path) -> None:
    state.versions[line["version"]] = replace(state.versions[line["version"]], tags=line["tags"])


def _withdraw(state: State, line: dict[str, Any], _home: Path) -> None:
    del state.versions[line["version"]]
    state.withdrawn.add(line["version"])
    for alias, past in state.history.items():  # nothing goes back to it
        state.history[alias] = [number for number in past if number != line["version"]]


def _other(_state: State, _line: dict[str, Any], _home: Path) -> None:
    """A line that changes neither versions nor aliases."""


LINES = {"add": _add, "promote": _promote, "rollback": _rollback, "tag": _tag, "withdraw": _withdraw}
