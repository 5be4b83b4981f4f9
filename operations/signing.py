"""Ed25519 signatures over the manifest of a folder, with keys that are kept offline, and whom to trust.

References
----------
Bernstein et al. (2012), High-speed high-security signatures, Journal of Cryptographic Engineering 2; RFC 8032.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..ppl import files
from ..ppl.errors import DataError, SignatureError, explain, in_short
from .extras import library
from .ledger import now
from .manifest import MANIFEST, SIGNATURES, check_folder, copied, manifest_of, plain_bytes, refused
from .naming import checked_text
from .thresholds import ID_DIGITS

ALGORITHM = "Ed25519"
CONTEXT = b"elboroom-manifest/1 "
"""Before what is signed: a signature of a manifest is none of anything else."""
TRUST = "elboroom-trust/1"
TRUSTED, RETIRED, REVOKED = "trusted", "retired", "revoked"
SIGN_IT = "sign it with er.sign and a trusted key, if you know where it comes from; else do not use it"


class Key:
    """A private Ed25519 key, with which folders are signed.

    Keep it where what it signs is not kept: on the machine that trains, or offline, never where models are served.

    Examples
    --------
    >>> import elboroom as er
    >>> key = er.Key.new()
    >>> trust = er.Trust.of(key)
    >>> [known.state for known in trust.keys] == ["trusted"] and trust.keys[0].id == key.id
    True
    """

    def __init__(self, private: Any):
        if not isinstance(private, _ed25519().Ed25519PrivateKey):
            got, remedy = type(private).__name__, "read it with er.Key.load, or make one with er.Key.new()"
            raise SignatureError(explain("key", "an Ed25519 private key", got, remedy))
        self._private = private

    @classmethod
    def new(cls) -> Key:
        """A key of fresh random bytes of the operating system."""
        return cls(_ed25519().Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Any, password: str | None = None) -> Key:
        """Read what `save` wrote, or another tool's PKCS 8 file in PEM.

        Raises
        ------
        SignatureError
            Where it is no such file, or its password is another.
        """
        path = files.place(path, "key")
        _ed25519()
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        expected = "an Ed25519 private key in PEM" + ("" if password is None else " that this password opens")
        try:
            found = load_pem_private_key(path.read_bytes(), _bytes(password))
        except (OSError, ValueError, TypeError, _unsupported()) as error:
            got = (getattr(error, "strerror", None) or in_short(error)).lower()
            raise SignatureError(
                explain(f"key '{path}'", expected, got, "check the path and the password")
            ) from None
        return cls(found)

    def save(self, path: Any, password: str | None = None) -> Path:
        """Write the private key, readable for its owner alone.

        Parameters
        ----------
        path : str or path
            A file that is not there yet.
        password : str, optional
            With it the file is encrypted.

        Raises
        ------
        SignatureError
            If the file is there, or cannot be written.
        """
        path = files.place(path, "key")
        from cryptography.hazmat.primitives import serialization as form

        lock = (
            form.NoEncryption() if password is None else form.BestAvailableEncryption(_bytes(password) or b"")
        )
        content = self._private.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, lock)
        if path.exists():
            got, remedy = "one that is there", "name another: a key that is lost cannot be made again"
            raise SignatureError(explain(f"key '{path}'", "a new file", got, remedy))
        try:
            files.put(path, content, 0o600)
        except OSError as error:
            raise files.unwritable(f"key '{path}'", error, SignatureError) from error
        return path

    @property
    def public(self) -> str:
        """The public key in PEM: what others need to check a signature."""
        from cryptography.hazmat.primitives import serialization as form

        public = self._private.public_key()
        return public.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo).decode()

    @property
    def id(self) -> str:
        """The first 16 hexadecimal digits of the public key's SHA-256."""
        return _id_of(self.public)

    def signature(self, content: bytes) -> bytes:
        """The signature file of a manifest, as JSON."""
        signed = self._private.sign(CONTEXT + content)
        record = {"algorithm": ALGORITHM, "key": self.id, "signature": base64.b64encode(signed).decode()}
        return json.dumps(record, indent=1).encode()

    def __repr__(self) -> str:
        return f"Key({self.id})"


def sign(folder: Any, key: Key) -> Path:
    """Sign a folder: a saved posterior, a report, a version of a registry.

    Parameters
    ----------
    folder : str or path
        With files alone; the manifest and the signature are added to it. One with a manifest gets one more signature.
    key : Key
        A private one.

    Returns
    -------
    pathlib.Path
        The signature.

    Raises
    ------
    SignatureError
        If the folder is none, cannot be written, or is not what its manifest says.

    Examples
    --------
    >>> import tempfile
    >>> import elboroom as er
    >>> folder, key = Path(tempfile.mkdtemp()), er.Key.new()
    >>> _ = (folder / "notes.txt").write_text("hello")
    >>> er.sign(folder, key).name == f"{key.id}.json"
    True
    >>> er.Trust.of(key).verify(folder).id == key.id
    True
    """
    folder = files.place(folder, "sign")
    checked_key(key)
    if not folder.is_dir():
        raise SignatureError(explain(f"sign '{folder}'", "a folder", "none", "correct the path"))
    path = folder / MANIFEST
    try:
        if path.exists():
            content = plain_bytes(path)
            check_folder(folder, content)
        else:
            content = manifest_of(folder)
            files.put(path, content)
        return put_signature(folder, content, key)
    except OSError as error:
        raise files.unwritable(f"sign '{folder}'", error, SignatureError) from error


def put_signature(folder: Path, content: bytes, key: Key) -> Path:
    """Write the signature of a manifest into its folder."""
    (folder / SIGNATURES).mkdir(exist_ok=True)
    path = folder / SIGNATURES / f"{key.id}.json"
    files.put(path, key.signature(content))
    return path


def checked_key(key: Any) -> Key:
    """A private key.

    Raises
    ------
    SignatureError
    """
    if not isinstance(key, Key):
        got, remedy = type(key).__name__, "read it with er.Key.load, or make one with er.Key.new()"
        raise SignatureError(explain("key", "an er.Key", got, remedy))
    return key


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
        made = Known(_id_of(public), checked_text("name", name), public, TRUSTED, now())

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
        if ids != [_id_of(known.public) for known in keys] or len(set(ids)) < len(ids):
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
    _ed25519()
    from cryptography.exceptions import InvalidSignature

    try:
        record = json.loads(plain_bytes(path))
        signed, own = base64.b64decode(record["signature"], validate=True), record["key"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None, "no signature"
    known = next((known for known in keys if known.id == own), None)
    if known is None:
        return None, "unknown"
    try:
        _public(known.public).verify(signed, CONTEXT + content)
    except InvalidSignature:
        return None, "of another content"
    return known, known.state


def _ed25519() -> Any:
    return library("cryptography.hazmat.primitives.asymmetric.ed25519", "sign", "signing")


def _unsupported() -> type[Exception]:
    from cryptography.exceptions import UnsupportedAlgorithm

    return UnsupportedAlgorithm


def _public(pem: str) -> Any:
    ed25519 = _ed25519()
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        found = load_pem_public_key(pem.encode())
    except (ValueError, AttributeError, _unsupported()):
        found = None
    if not isinstance(found, ed25519.Ed25519PublicKey):
        expected, got = "an er.Key, or an Ed25519 public key in PEM", repr(pem)[:80]
        raise SignatureError(explain("key", expected, got, "pass what key.public gives"))
    return found


def _id_of(pem: str) -> str:
    from cryptography.hazmat.primitives import serialization as form

    raw = _public(pem).public_bytes(form.Encoding.Raw, form.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:ID_DIGITS]


def _bytes(password: str | None) -> bytes | None:
    if password is not None and (not isinstance(password, str) or not password):
        raise DataError(explain("password", "some text, or None", repr(password)[:20], "correct it"))
    return None if password is None else password.encode()
