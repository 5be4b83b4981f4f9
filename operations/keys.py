"""Ed25519 keys, which are kept offline, and what they sign.

References
----------
Bernstein et al. (2012), High-speed high-security signatures, Journal of Cryptographic Engineering 2; RFC 8032.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from ..ppl import files
from ..ppl.errors import DataError, SignatureError, explain, in_short
from .extras import library
from .thresholds import ID_DIGITS

ALGORITHM = "Ed25519"
CONTEXT = b"elboroom-manifest/1 "
"""Before what is signed: a signature of a manifest is none of anything else."""


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
        return id_of(self.public)

    def signature(self, content: bytes) -> bytes:
        """The signature file of a manifest, as JSON."""
        signed = self._private.sign(CONTEXT + content)
        record = {"algorithm": ALGORITHM, "key": self.id, "signature": base64.b64encode(signed).decode()}
        return json.dumps(record, indent=1).encode()

    def __repr__(self) -> str:
        return f"Key({self.id})"


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


def has_signed(public: str, content: bytes, signed: bytes) -> bool:
    """Whether the key of a public one, in PEM, has signed a manifest."""
    key = _public(public)
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(signed, CONTEXT + content)
    except InvalidSignature:
        return False
    return True


def id_of(pem: str) -> str:
    """The first digits of the SHA-256 of a public key.

    Raises
    ------
    SignatureError
        For what is none.
    """
    from cryptography.hazmat.primitives import serialization as form

    raw = _public(pem).public_bytes(form.Encoding.Raw, form.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:ID_DIGITS]


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


def _ed25519() -> Any:
    return library("cryptography.hazmat.primitives.asymmetric.ed25519", "sign", "signing")


def _unsupported() -> type[Exception]:
    from cryptography.exceptions import UnsupportedAlgorithm

    return UnsupportedAlgorithm


def _bytes(password: str | None) -> bytes | None:
    if password is not None and (not isinstance(password, str) or not password):
        raise DataError(explain("password", "some text, or None", repr(password)[:20], "correct it"))
    return None if password is None else password.encode()
