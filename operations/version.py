"""``Version``: one of a model's, and what a log's lines add up to."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from numbers import Integral
from pathlib import Path
from typing import Any

from ..inference.posterior.load import load
from ..inference.posterior.posterior import Posterior
from ..ppl.errors import RegistryError, explain, in_short
from .manifest import MANIFEST, check_folder, copied, plain_bytes, refused
from .naming import LATEST
from .schema.schema import Schema, schema
from .thresholds import VERSION_DIGITS
from .trust import Trust

FORMAT = "elboroom-registry/1"
VERSIONS, NOTES = "versions", "version.json"
DIGITS = re.compile("[0-9]{1,18}")
NOTED = "who", "because", "parent", "verdict", "fits_data", "data_fingerprint", "log"
"""What its line in the log says of a version, and its own files too."""


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
    log : str
        Digest of the log that it was added to.
    trust : Trust or None
        Of the registry: one of its keys has to have signed what is read.
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
    log: str
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    trust: Trust | None = field(default=None, repr=False, compare=False)

    def load(self, program: Any = None) -> Posterior:
        """The posterior, as `elboroom.load` reads it.

        Raises
        ------
        SignatureError
            Where the files are not what was added, or nobody trusted has signed them. Of `record` and `schema` too.
        """
        with copied(self.folder, self._manifest()) as folder:
            return load(folder / "posterior", program)

    @property
    def record(self) -> dict[str, Any]:
        """What was noted when it was added: data, commit, versions of libraries, and all above."""
        return self._noted(self._manifest())

    def schema(self) -> Schema:
        """What its training data looked like: the gate of rows that are to be predicted, see `elboroom.schema`.

        Raises
        ------
        RegistryError
            Where the version has none: it was added without its program.
        """
        with copied(self.folder, self._manifest(), "schema.json") as folder:
            path = folder / "schema.json"
            if not path.exists():
                remedy = "add the posterior with its program, as er.fit gives it, or attach one"
                raise RegistryError(explain(f"version '{self}'", "one with a schema", "one without", remedy))
            return schema(path)

    def check(self) -> bytes:
        """Its manifest, once all of its files are as they were and the log says the same of it.

        Raises
        ------
        SignatureError
        """
        content = self._manifest()
        subject, record = check_folder(self.folder, content), self._noted(content)
        named = subject.get("model"), subject.get("version"), *(record.get(name) for name in NOTED)
        if named != (self.model, self.number, *(getattr(self, name) for name in NOTED)):
            raise refused(
                self.folder, f"the files of version '{self}', as the log has it", "those of another"
            )
        return content

    def _noted(self, content: bytes) -> dict[str, Any]:
        with copied(self.folder, content, NOTES) as folder:
            try:
                return dict(json.loads((folder / NOTES).read_bytes()))
            except (OSError, ValueError, TypeError, RecursionError):
                raise refused(self.folder, f"a '{NOTES}'", "none, or one that is no record") from None

    def _manifest(self) -> bytes:
        """The manifest that the log names, signed where that is asked for."""
        try:
            content = plain_bytes(self.folder / MANIFEST)
        except OSError:
            got = "none, or none with a manifest"
            raise refused(self.folder, f"the files of version '{self}'", got) from None
        if hashlib.sha256(content).hexdigest() != self.manifest:
            raise refused(self.folder, "the manifest that the log names", "another")
        if self.trust is not None:
            self.trust.signer(self.folder, content)
        return content

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
    """What a log's lines add up to.

    Attributes
    ----------
    home : Path
        Folder of the model, which is called like it.
    trust : Trust or None
        Of the registry.
    history : dict
        Of each alias what it named, the last one now.
    """

    home: Path
    trust: Trust | None = None
    versions: dict[int, Version] = field(default_factory=dict)
    withdrawn: set[int] = field(default_factory=set)
    history: dict[str, list[int]] = field(default_factory=dict)

    def aliases(self) -> dict[str, int]:
        """Which version each alias names."""
        return {alias: past[-1] for alias, past in sorted(self.history.items()) if past}

    def whole(self) -> Versions:
        """All versions, each with the aliases that name it now."""
        names: dict[int, tuple[str, ...]] = {}
        for alias, number in self.aliases().items():
            names[number] = (*names.get(number, ()), alias)
        return Versions(replace(v, aliases=names.get(n, ())) for n, v in sorted(self.versions.items()))

    def found(self, version: Any) -> Version:
        """The version of a number, an alias, or ``"latest"``.

        Raises
        ------
        RegistryError
            Where there is none.
        """
        number = self._number(version)
        if number in self.versions:
            names = tuple(alias for alias, named in self.aliases().items() if named == number)
            return replace(self.versions[number], aliases=names)
        known = [*sorted(self.versions)[-5:], *self.aliases(), LATEST]
        got = "one that was withdrawn" if number in self.withdrawn else ascii(version)[:80]
        raise RegistryError(explain(f"version of '{self.home.name}'", f"one of {known}", got, "name another"))

    def _number(self, version: Any) -> int | None:
        if isinstance(version, Version):
            return version.number if version.model == self.home.name else None
        if version == LATEST:
            return max(self.versions, default=None)
        if isinstance(version, str):
            return int(version) if DIGITS.fullmatch(version) else self.aliases().get(version)
        return int(version) if isinstance(version, Integral) and not isinstance(version, bool) else None


def place_of(home: Path, number: int) -> Path:
    """The folder of a version."""
    return home / VERSIONS / f"{number:0{VERSION_DIGITS}d}"


def added_up(home: Path, lines: list[dict[str, Any]], trust: Trust | None = None) -> State:
    """What the lines of a model's log add up to.

    Raises
    ------
    RegistryError
        For the log of something else, or lines that nobody of ours wrote.
    """
    first = lines[0] if lines else {}
    if (first.get("format"), first.get("model")) != (FORMAT, home.name):
        expected, got = f"the log of '{home.name}', {FORMAT}", f"that of {str(first.get('model'))[:80]!r}"
        raise RegistryError(
            explain(f"folder '{home}'", expected, got, "put back the log of this model, or upgrade elboroom")
        )
    state = State(home, trust)
    for line in lines[1:]:
        try:
            if line["what"] in LINES:  # others change neither versions nor aliases
                LINES[line["what"]](state, line)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            expected, got = f"line {line['at']} of its log as elboroom writes it", in_short(error)
            remedy = "somebody changed it: put back a copy, and find out what else was changed"
            raise RegistryError(explain(f"model '{home.name}'", expected, got, remedy)) from None
    return state


def _add(state: State, line: dict[str, Any]) -> None:
    number, home = line["version"], state.home
    if not isinstance(line["parent"], int | None):
        raise TypeError("a parent that is no number")
    given = {k: line[k] for k in (*NOTED, "manifest", "tags") if k != "log"}
    state.versions[number] = Version(
        home.name,
        number,
        line["time"],
        log=line["before"],
        folder=place_of(home, number),
        trust=state.trust,
        **given,
    )


def _promote(state: State, line: dict[str, Any]) -> None:
    past = state.history.setdefault(line["alias"], [])
    if past[-1:] != [state.versions[line["version"]].number]:
        past.append(line["version"])


def _rollback(state: State, line: dict[str, Any]) -> None:
    state.history[line["alias"]].pop()


def _tag(state: State, line: dict[str, Any]) -> None:
    state.versions[line["version"]] = replace(state.versions[line["version"]], tags=line["tags"])


def _withdraw(state: State, line: dict[str, Any]) -> None:
    del state.versions[line["version"]]
    state.withdrawn.add(line["version"])
    for alias, past in state.history.items():  # nothing goes back to it
        kept = (number for number in past if number != line["version"])
        state.history[alias] = [number for number, _ in groupby(kept)]


LINES: dict[str, Callable[[State, dict[str, Any]], None]] = {
    "add": _add,
    "promote": _promote,
    "rollback": _rollback,
    "tag": _tag,
    "withdraw": _withdraw,
}


def worded(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lines of a log, those of tags with words: what each of them changed.

    Examples
    --------
    >>> added = {"what": "add", "version": 1, "tags": {"stage": "shadow"}, "because": "the first"}
    >>> tagged = {"what": "tag", "version": 1, "tags": {"owner": "Ada"}}
    >>> [line["because"] for line in worded([added, tagged])]
    ['the first', 'owner: Ada; without stage']
    """
    tags: dict[int, Mapping[str, str]] = {}
    return [{**line, "because": _changes(tags, line)} if "tags" in line else line for line in lines]


def _changes(tags: dict[int, Mapping[str, str]], line: Mapping[str, Any]) -> str:
    """The words of a line with tags, which are noted."""
    before, after = tags.get(line["version"], {}), line["tags"]
    tags[line["version"]] = after
    if line["what"] != "tag":
        return str(line["because"])
    changed = [f"{name}: {value}" for name, value in after.items() if before.get(name) != value]
    return "; ".join([*changed, *(f"without {name}" for name in before if name not in after)])
