"""``Registry``: versions of models in a folder, with who may be served, where each comes from, and a log of it all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..inference.evidence.finding import Finding, Findings
from ..ppl import files
from ..ppl.errors import InferenceError, RegistryError, explain
from .audit import of_log, strangers
from .keys import Key, checked_key
from .ledger import Ledger
from .lineage import user
from .mirror import Mirror
from .naming import LIVE, check_alias, check_name, checked_tags, checked_text, split
from .signing import put_signature
from .staging import draft_in, filled, posterior_of, settled
from .trust import Trust
from .version import FORMAT, VERSIONS, State, Version, Versions, added_up, worded

LOG, INCOMING = "log.jsonl", ".incoming"


class Registry:
    """Versions of models in a folder.

    Parameters
    ----------
    place : str or path
        A folder, which the first `add` makes.
    key : Key, optional
        What is added is signed with it.
    trust : Trust, optional
        With it, nothing is given out or promoted that no trusted key has signed.
    mirror : str, optional
        ``"mlflow:URL"``: an MLflow server is told of every version, with its files, tags and aliases.

    Attributes
    ----------
    place : pathlib.Path
    findings : tuple of Finding
        What the mirror did not take of the last change; a mirror that is down costs no more than that.

    Notes
    -----
    A version is a folder that never changes: ``posterior/``, the report, ``schema.json``, ``version.json``, ``lock.txt``, ``runbooks/``, ``manifest.json`` with
    the digest of each file, and signatures. What names it, and what happened when, stands in the model's ``log.jsonl``, a chain
    of lines, each with the digest of the one before: a version exists once its line is there, and whoever reads sees the state
    before a change or the one after it.

    Examples
    --------
    >>> import tempfile
    >>> import elboroom as er
    >>> @er.model
    ... def level(y):
    ...     mu = er.sample("mu", er.Normal(0, 10))
    ...     with er.plate("row", len(y)):
    ...         er.observe("y", er.Normal(mu, 1), y)
    >>> registry = er.Registry(tempfile.mkdtemp())
    >>> version = registry.add(er.fit(level([1.0, 2.0, 3.0]), progress=False), "level", because="the first")
    >>> registry.promote("level", version).aliases
    ('live',)
    >>> registry.get("level@live").load().verdict
    'trusted'
    """

    def __init__(
        self, place: Any, key: Key | None = None, trust: Trust | None = None, mirror: str | None = None
    ):
        self.place = files.place(place, "registry")
        self.key, self.trust = key, trust
        self.findings: tuple[Finding, ...] = ()
        if key is not None:
            checked_key(key)
        if trust is not None and not isinstance(trust, Trust):
            got, remedy = type(trust).__name__, "pass er.Trust('trust.json')"
            raise RegistryError(explain("trust", "an er.Trust, or None", got, remedy))
        self._mirror = None if mirror is None else Mirror(mirror)

    # -- what there is ---------------------------------------------------------------------------------------

    def models(self) -> tuple[str, ...]:
        """Names of the models, sorted."""
        return tuple(sorted(path.parent.name for path in self.place.glob(f"*/{LOG}")))

    def versions(self, name: str) -> Versions:
        """All versions of a model, the oldest first; read from the log alone.

        Raises
        ------
        RegistryError
            For a model that is none of this registry's, or a log that was changed.
        """
        return self._state(name)[1].whole()

    def aliases(self, name: str) -> dict[str, int]:
        """Which version each alias of a model names."""
        return self._state(name)[1].aliases()

    def get(self, name: str, version: Any = None) -> Version:
        """A version, once its files are found to be what they were.

        Parameters
        ----------
        name : str
            ``"risk@live"`` and ``"risk/7"`` say which version too.
        version : int or str
            Its number, an alias, or ``"latest"``.

        Raises
        ------
        RegistryError
            Where there is no such version, or its files or the log were changed.
        SignatureError
            Where this registry has a `trust` and no key of it has signed the version.
        """
        name, version = split(name, version)
        found = self._state(name)[1].found(version)
        found.check()
        return found

    def lineage(self, name: str, version: Any = None) -> Versions:
        """A version, the one that it came from, and so on."""
        name, version = split(name, version)
        state = self._state(name)[1]
        line, older = [state.found(version)], {v.number: v for v in state.whole()}
        older.pop(line[0].number)
        while (parent := older.pop(line[-1].parent, None)) is not None:
            line.append(parent)
        return Versions(line)

    def log(self, name: str):
        """What happened to a model, as a ``pandas.DataFrame``: a row for each line of its log, with the words of it in ``because``: those
        that were given, of tags what changed."""
        import pandas as pd

        return pd.DataFrame(worded(self._ledger(name).lines()))

    def head(self, name: str) -> str:
        """Digest that stands for the whole log of a model: kept elsewhere, it tells `audit` of lines that were cut off."""
        return self._ledger(name).head

    # -- what changes ----------------------------------------------------------------------------------------

    def add(
        self,
        posterior: Any,
        name: str,
        data: Any = None,
        parent: Any = None,
        because: str = "",
        tags: Mapping[str, Any] | None = None,
        attached: Mapping[str, Any] | None = None,
    ) -> Version:
        """Keep a posterior as the next version of a model.

        Parameters
        ----------
        posterior : Posterior or path
            Or the folder of a saved one, or of a fit.
        name : str
            Of the model: letters, digits, ``.``, ``_`` and ``-``.
        data : data frame, mapping or path, optional
            What the model's data were made of: its digest is kept, not the data.
        parent : int, str or Version, optional
            The version that this one replaces or was updated from.
        because : str
            Why it was made.
        tags : mapping of str to str, optional
            See `tag`.
        attached : mapping of str to path, bytes or JSON, optional
            More files to keep and sign with it: how data are prepared, a schema, notes. Open formats: nothing that is
            run when it is read.

        Returns
        -------
        Version

        Raises
        ------
        RegistryError
            If the place cannot be written; nothing is there then that was not there before.
        """
        self._check_new(name)
        tags, because = checked_tags(tags or {}), checked_text("because", because)
        if self.trust is not None and self.key is not None:
            self.trust.may_sign(self.key)
        posterior, home = posterior_of(posterior), self.place / name
        try:
            with draft_in(home / INCOMING) as draft:
                record = filled(draft, posterior, data, attached or {})
                with self._turn(home) as (ledger, state):
                    if parent is not None:
                        parent = state.found(parent).number
                    record |= {"who": user(), "because": because, "tags": tags, "parent": parent}
                    number = settled(draft, state, ledger, record, self.key)
        except (OSError, InferenceError) as found:
            error = found if isinstance(found, OSError) else found.__cause__
            if not isinstance(error, OSError):
                raise
            raise files.unwritable(f"model '{name}'", error, RegistryError) from error
        return self._told(name, number)

    def promote(self, name: str, version: Any = None, alias: str = LIVE, because: str = "") -> Version:
        """Let an alias name a version.

        Parameters
        ----------
        name, version
            As `get` takes them.
        alias : str
            By default ``"live"``: what is served.
        because : str
            Why. Needed where the posterior is *untrusted*, or the model does not fit the data.

        Returns
        -------
        Version

        Raises
        ------
        RegistryError
            For an untrusted posterior or a misfit without a reason; the alias names what it did.
        """
        name, version = split(name, version)
        check_alias(alias)
        checked_text("because", because)

        def change(ledger: Ledger, state: State) -> int:
            found = state.found(version)
            found.check()
            if found.doubt and not because.strip():
                expected, got = f"one that may be {alias}", f"one that is {found.doubt}"
                remedy = f"read its report, '{found.folder / 'report.html'}'; to promote it all the same say why: because='…'"
                raise RegistryError(explain(f"version '{found}'", expected, got, remedy))
            before = state.aliases().get(alias)
            ledger.append(
                what="promote", who=user(), alias=alias, version=found.number, was=before, because=because
            )
            return found.number

        return self._changed(name, change)

    def rollback(self, name: str, alias: str = LIVE, because: str = "") -> Version:
        """Let an alias name again what it named before; once more, and it names the one before that.

        Returns
        -------
        Version

        Raises
        ------
        RegistryError
            Where there is nothing to go back to.
        """
        check_alias(alias)
        checked_text("because", because)

        def change(ledger: Ledger, state: State) -> int:
            past = state.history.get(alias, [])
            if len(past) < 2:  # the one that is named, and one before
                got = f"{len(past)} that it has named"
                raise RegistryError(
                    explain(
                        f"alias '{name}@{alias}'", "one that named another version before", got, "promote one"
                    )
                )
            state.found(past[-2]).check()
            ledger.append(
                what="rollback", who=user(), alias=alias, version=past[-2], was=past[-1], because=because
            )
            return past[-2]

        return self._changed(name, change)

    def tag(self, name: str, version: Any = None, **tags: Any) -> Version:
        """Note words beside a version, such as ``stage="shadow"``; None takes a tag away."""
        name, version = split(name, version)

        def change(ledger: Ledger, state: State) -> int:
            found = state.found(version)
            kept = checked_tags({**found.tags, **tags})
            ledger.append(what="tag", who=user(), version=found.number, tags=kept)
            return found.number

        return self._changed(name, change)

    def withdraw(self, name: str, version: Any = None, because: str = "") -> None:
        """Remove the files of a version that no alias names; the log keeps what it was.

        Raises
        ------
        RegistryError
            For a version that an alias names, or without a reason.
        """
        name, version = split(name, version)
        if not checked_text("because", because).strip():
            raise RegistryError(
                explain("because", "a reason", "none", "say why it goes: its files cannot be had again")
            )
        with self._writing(name) as (ledger, state):
            found = state.found(version)
            if found.aliases:
                got = f"one that {list(found.aliases)} name"
                raise RegistryError(
                    explain(f"version '{found}'", "one that nothing names", got, "promote another first")
                )
            ledger.append(what="withdraw", who=user(), version=found.number, because=because)
            files.remove(found.folder)
        self.mirrored(name)
        if found.folder.exists():
            got, remedy = f"'{found.folder}', which could not be removed", "remove it by hand"
            raise RegistryError(explain(f"version '{found}'", "its files to be gone", got, remedy))

    def mirrored(self, name: str) -> tuple[Finding, ...]:
        """Bring the mirror, if there is one, to what this registry has of a model; what it did not take, as `findings`."""
        if self._mirror is not None:
            self.findings = self._mirror.told(name, self.versions(name))
        return self.findings

    def sign(self, name: str, version: Any = None, key: Key | None = None) -> Version:
        """Sign a version once more: with a new key, before the old one is revoked.

        Parameters
        ----------
        name, version
            As `get` takes them.
        key : Key, optional
            By default the registry's own.
        """
        name, version = split(name, version)
        own = checked_key(self.key if key is None else key)
        if self.trust is not None:
            self.trust.may_sign(own)

        def change(ledger: Ledger, state: State) -> int:
            found = replace(state.found(version), trust=None)  # that nobody may have signed yet
            put_signature(found.folder, found.check(), own)
            ledger.append(what="sign", who=user(), version=found.number, key=own.id)
            return found.number

        return self._changed(name, change)

    # -- whether it is as it was -----------------------------------------------------------------------------

    def audit(self, name: str, head: str | None = None) -> Findings:
        """Whether a model's log and all of its versions are as they were written.

        Parameters
        ----------
        name : str
            Of the model.
        head : str, optional
            What `head` gave earlier: with it, lines that were cut off since are found too.

        Returns
        -------
        Findings
            One *ok*, or an *untrusted* for each thing that was changed, and a *caution* for a clock that went back.
        """
        # looked for before the log is read: a folder comes before its line
        there = sorted((self.place / str(name) / VERSIONS).glob("*"))
        try:
            ledger, state = self._state(name)
            lines, heads = ledger.lines(), ledger.heads()
        except RegistryError as error:
            return Findings([Finding("log", str(name), None, None, "untrusted", str(error))])
        found = list(of_log(name, lines, heads, head))
        for version in state.whole():
            try:
                version.check()
            except RegistryError as error:
                found.append(Finding("version", str(version), None, None, "untrusted", str(error)))
        found += strangers(there, state)
        if not found:
            words = f"{len(state.versions)} versions and {len(heads) - 1} lines of the log are as they were written."
            found = [Finding("registry", name, float(len(state.versions)), None, "ok", words)]
        return Findings(found)

    # -- within ----------------------------------------------------------------------------------------------

    def _check_new(self, name: Any) -> None:
        """Refuse what is no name, or on some systems the same as another model's."""
        check_name("name", name)
        same = [other for other in self.models() if other != name and other.casefold() == name.casefold()]
        if same:
            got, remedy = f"'{name}' beside '{same[0]}'", "take that one, or another name"
            raise RegistryError(
                explain("name", "one that differs from others by more than case", got, remedy)
            )

    def _ledger(self, name: str) -> Ledger:
        check_name("name", name)
        ledger = Ledger(self.place / name / LOG)
        if not ledger.path.exists():
            known = ", ".join(self.models()[:10])
            remedy = "add a version of it first: " + (f"it has {known}" if known else "it has no models yet")
            raise RegistryError(
                explain(f"model '{name}'", "one of this registry's", "a name that is none of them", remedy)
            )
        return ledger

    def _state(self, name: str) -> tuple[Ledger, State]:
        ledger = self._ledger(name)
        return ledger, added_up(self.place / name, ledger.lines(), self.trust)

    @contextmanager
    def _turn(self, home: Path) -> Iterator[tuple[Ledger, State]]:
        """The log, which nobody else writes meanwhile, and what it adds up to."""
        ledger = Ledger(home / LOG)
        with ledger.turn():
            if not ledger.path.exists():
                ledger.append(what="begin", format=FORMAT, model=home.name)
            yield ledger, added_up(home, ledger.lines(), self.trust)

    @contextmanager
    def _writing(self, name: str) -> Iterator[tuple[Ledger, State]]:
        self._ledger(name)
        try:
            with self._turn(self.place / name) as turn:
                yield turn
        except OSError as error:
            raise files.unwritable(f"model '{name}'", error, RegistryError) from error

    def _changed(self, name: str, change: Any) -> Version:
        """The version that a change gives the number of, as it is afterwards."""
        with self._writing(name) as (ledger, state):
            number = change(ledger, state)
        return self._told(name, number)

    def _told(self, name: str, number: int) -> Version:
        """A version as it is now, once the mirror knows."""
        self.mirrored(name)
        return self._state(name)[1].found(number)
