"""``Trust``: whose signatures count."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..ppl import files
from ..ppl.errors import SignatureError, explain
from .keys import Key, has_signed, id_of
from .ledger import now
from .manifest import MANIFEST, SIGNATURES, check_folder, copied, plain_bytes, refused
from .naming import checked_text

TRUST = "elboroom-trust/1"
TRUSTED, RETIRED, REVOKED = "trusted", "retired", "revoked"
SIGN_IT = "sign it with er.sign and a trusted key, if you know where it comes from; else do not use it"


@dataclass(frozen=True)
class Known:
    """A public key of which something is known.

    Attributes
    ----------
    id, name : str
    public : str
        In PEM.
    state : {"trusted", "retired", "revoked"}
        What a retired key has signed is still trusted; of a revoked one nothing is, whenever it was signed.
    since : str
        When it became so.
    because : str
    """

    id: str
    name: str
    public: str
    state: str = TRUSTED
    since: str = ""
    because: str = ""


class Trust:
    """The public keys whose signatures are trusted.

    Parameters
    ----------
    path : str or path
        A JSON file, which is made by the first `add` and read whenever something is checked: what another program has revoked
        is revoked at once. Whoever can write it decides what is trusted.

    Attributes
    ----------
    keys : tuple of Known

    Notes
    -----
    To rotate: `add` the new key, `retire` the old one, sign with the new one what is still used, then `revoke` the old one.

    Examples
    --------
    >>> import elboroom as er
    >>> key = er.Key.new()
    >>> trust = er.Trust.of(key)
    >>> trust.revoke(key, "lost")
    >>> trust.keys[0].state
    'revoked'
    """

    _kept: tuple[Known, ...] = ()  # where there is no file

    def __init__(self, path: Any):
        self.path: Path | None = files.place(path, "trust")
        _read(self.path)  # a file that is none of ours is told of now

    @classmethod
    def of(cls, *keys: Key | str) -> Trust:
        """Trust in some keys, or public keys in PEM, in memory alone."""
        made = cls.__new__(cls)
        made.path = None
        for key in keys:
            made.add(key)
        return made

    @property
    def keys(self) -> tuple[Known, ...]:
        """All that are known, the first one first.

        Raises
        ------
        SignatureError
            For a file that is none of ours, or was changed.
        """
        return self._kept if self.path is None else _read(self.path)

    def add(self, key: Key | str, name: str = "") -> Known:
        """Trust a key from now on.

        Parameters
        ----------
        key : Key or str
            A public key in PEM will do.
        name : str
            Whose it is.

        Raises
        ------
        SignatureError
            If it is no key, or is known already: one that was revoked is never trusted again.
        """
        public = key.public if isinstance(key, Key) else key
        made = Known(id_of(public), checked_text("name", name), public, TRUSTED, now())

        def change(keys: tuple[Known, ...]) -> tuple[Known, ...]:
            if any(known.id == made.id for known in keys):
                got, remedy = "one that is known", "make another key"
                raise SignatureError(explain(f"key '{made.id}'", "a new one", got, remedy))
            return (*keys, made)

        self._change(change)
        return made

    def retire(self, key: Key | str, because: str) -> None:
        """Trust what a key, or the key of an id, has signed, and sign nothing more with it."""
        self._set(key, RETIRED, because)

    def revoke(self, key: Key | str, because: str) -> None:
        """Trust nothing that a key, or the key of an id, has signed: it is lost, or in other hands."""
        self._set(key, REVOKED, because)

    def verify(self, folder: Any) -> Known:
        """Whose trusted signature a folder carries, that is as it was signed.

        Parameters
        ----------
        folder : str or path
            One that was signed.

        Returns
        -------
        Known

        Raises
        ------
        SignatureError
            Where there is none, or any file was changed, added or taken away.
        """
        folder = files.place(folder, "verify")
        content = self._signed(folder)
        signer = self.signer(folder, content)
        check_folder(folder, content)
        return signer

    def opened(self, folder: Any) -> AbstractContextManager[Path]:
        """A private copy of a verified folder, for a block: nobody can change it between the look and the use.

        Raises
        ------
        SignatureError
            As `verify` does.
        """
        folder = files.place(folder, "verify")
        content = self._signed(folder)
        self.signer(folder, content)
        return copied(folder, content)

    def may_sign(self, key: Key) -> None:
        """Refuse a key that is not trusted now.

        Raises
        ------
        SignatureError
        """
        found = next((known for known in self.keys if known.id == key.id), None)
        if found is None or found.state != TRUSTED:
            got = "an unknown one" if found is None else f"a {found.state} one"
            raise SignatureError(
                explain(f"key '{key.id}'", "a trusted one", got, "sign with another, or add it to the trust")
            )

    def signer(self, folder: Path, content: bytes) -> Known:
        """Whose trusted signature of a manifest stands in its folder; the files are not looked at.

        Raises
        ------
        SignatureError
            Where there is none.
        """
        signatures, keys, states = sorted((folder / SIGNATURES).glob("*.json")), self.keys, []
        for path in signatures:
            known, state = _checked(path, content, keys)
            if known is not None and state in (TRUSTED, RETIRED):
                return known
            states.append(f"{path.stem} ({state})")
        expected = "the signature of a trusted key" if states else "a signed folder"
        got = f"that of {', '.join(states[:3])}" if states else "one without a signature"
        raise refused(folder, expected, got, SIGN_IT)

    @staticmethod
    def _signed(folder: Path) -> bytes:
        """The manifest that is to be signed."""
        try:
            return plain_bytes(folder / MANIFEST)
        except OSError:
            raise refused(folder, "a signed folder", "one without a signature", SIGN_IT) from None

    def _set(self, key: Key | str, state: str, because: str) -> None:
        own = key.id if isinstance(key, Key) else key
        checked_text("because", because)

        def change(keys: tuple[Known, ...]) -> tuple[Known, ...]:
            found = next((known for known in keys if known.id == own), None)
            if found is None:
                expected = f"one of {[known.id for known in keys]}"
                raise SignatureError(explain("key", expected, repr(own)[:80], "correct the id"))
            if found.state == REVOKED:
                expected = "one that is not revoked"
                raise SignatureError(explain(f"key '{own}'", expected, "a revoked one", "make another key"))
            made = replace(found, state=state, since=now(), because=because)
            return tuple(made if known is found else known for known in keys)

        self._change(change)

    def _change(self, change: Callable[[tuple[Known, ...]], tuple[Known, ...]]) -> None:
        """Change the keys as they are now: nothing that others write meanwhile is lost."""
        if self.path is None:
            self._kept = change(self._kept)
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with files.alone(self.path.with_name(f"{self.path.name}.lock")):
                record = {"format": TRUST, "keys": [asdict(known) for known in change(self.keys)]}
                files.write(self.path, files.sealed_json(record))
        except OSError as error:
            raise files.unwritable(f"trust '{self.path}'", error, SignatureError) from error


def _read(path: Path) -> tuple[Known, ...]:
    """The keys of a file, none where there is no file."""
    what, expected = f"trust '{path}'", f"a file of trusted keys, {TRUST}"
    try:
        record, sealed = files.unsealed_json(path.read_bytes())
        if record.get("format") != TRUST or not sealed:
            raise ValueError("other JSON")
        keys = tuple(Known(**entry) for entry in record["keys"])
        states, ids = {known.state for known in keys}, [known.id for known in keys]
        if ids != [id_of(known.public) for known in keys] or len(set(ids)) < len(ids):
            raise ValueError("keys that are not what they are called, or twice the same")
        if states - {TRUSTED, RETIRED, REVOKED}:
            raise ValueError("a state that is none")
        return keys
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError) as error:
        got = str(getattr(error, "strerror", None) or error).lower()
        raise SignatureError(
            explain(what, expected, got, "put back a copy: nothing is trusted by it")
        ) from None


def _checked(path: Path, content: bytes, keys: tuple[Known, ...]) -> tuple[Known | None, str]:
    """The key of a signature, and its state; or what is wrong with it."""
    try:
        record = json.loads(plain_bytes(path))
        signed, own = base64.b64decode(record["signature"], validate=True), record["key"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None, "no signature"
    known = next((known for known in keys if known.id == own), None)
    if known is None:
        return None, "unknown"
    if not has_signed(known.public, content, signed):
        return None, "of another content"
    return known, known.state
