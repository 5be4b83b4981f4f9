"""Signatures in the form of OpenSSF's model signing, for those who check with its tool; our own are `signing`'s.

References
----------
https://github.com/sigstore/model-transparency
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..ppl import files
from ..ppl.errors import SignatureError, explain, in_short
from .extras import require

BUNDLE = "model.sig"


def sign_openssf(folder: Any, private_key: Any, signature: Any = None, password: str | None = None) -> Path:
    """Sign a folder with an elliptic-curve key as ``model_signing sign`` does.

    Parameters
    ----------
    folder : str or path
        Of a saved posterior, or of a version.
    private_key : str or path
        A key on NIST's P-256, P-384 or P-521 in PEM: the format has no Ed25519.
    signature : str or path, optional
        The file to write; by default beside the folder, called like it with ``.model.sig``.
    password : str, optional
        Of the key.

    Returns
    -------
    pathlib.Path
        The signature.

    Raises
    ------
    SignatureError
        Where the key or the folder cannot be read.
    MissingBackendError
        Without the extra ``openssf``.
    """
    require("model_signing", "openssf", "OpenSSF model signing")
    from model_signing import signing

    folder, private_key = files.place(folder, "sign"), files.place(private_key, "key")
    place = _signature_of(folder, signature)
    try:
        signer = signing.Config().use_elliptic_key_signer(private_key=private_key, password=password)
        signer.sign(folder, place)
    except Exception as error:  # of the library, which raises of many kinds
        remedy = "make a key with: openssl ecparam -name prime256v1 -genkey -noout"
        raise SignatureError(
            explain(f"sign '{folder}'", "an elliptic-curve key and a folder", in_short(error), remedy)
        ) from error
    return place


def verify_openssf(folder: Any, public_key: Any, signature: Any = None) -> None:
    """Check a signature of OpenSSF's model signing.

    Parameters
    ----------
    folder : str or path
        What was signed.
    public_key : str or path
        In PEM.
    signature : str or path, optional
        By default where `sign_openssf` writes it.

    Raises
    ------
    SignatureError
        Where it is not what was signed, by this key.
    MissingBackendError
        Without the extra ``openssf``.
    """
    require("model_signing", "openssf", "OpenSSF model signing")
    from model_signing import verifying

    folder, public_key = files.place(folder, "verify"), files.place(public_key, "key")
    place = _signature_of(folder, signature)
    try:
        verifying.Config().use_elliptic_key_verifier(public_key=public_key).verify(folder, place)
    except Exception as error:
        expected, got = "the files that were signed, by this key", in_short(error)
        remedy = "do not use it: put back a copy, and find out who or what changed it"
        raise SignatureError(explain(f"folder '{folder}'", expected, got, remedy)) from error


def _signature_of(folder: Path, given: Any) -> Path:
    return folder.with_name(f"{folder.name}.{BUNDLE}") if given is None else files.place(given, "signature")
