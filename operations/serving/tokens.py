"""``Tokens``: who may ask for what; only digests of the tokens are kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ...ppl import files
from ...ppl.errors import InferenceError, explain
from ..asked import is_number
from ..naming import checked_text
from .thresholds import GRACE_HOURS, LONGEST_TOKEN, TOKEN_BYTES, TOKEN_DAYS, TOKEN_ID_BYTES

FORMAT = "elboroom-tokens/1"
ASKING = ("predict", "encode", "score", "verdict", "metrics")
SCOPES = (*ASKING, "outcome")
"""What a token can be for: who tells outcomes decides which version stays, so that it has to be named."""
PREFIX = "er"


@dataclass(frozen=True)
class Token:
    """What is known of a token.

    Attributes
    ----------
    id, name : str
        The id is the second part of the token itself.
    digest : str
        SHA-256 of the token, in hexadecimal.
    scopes : tuple of str
        What it may ask for.
    expires : str
        In UTC, ISO 8601.
    because : str
        Why it was revoked; empty where it was not.
    revoked : bool
    """

    id: str
    name: str
    digest: str
    scopes: tuple[str, ...]
    expires: str
    revoked: bool = False
    because: str = ""

    def holds(self, at: datetime) -> bool:
        """Whether it is good at a time."""
        return not self.revoked and at < datetime.fromisoformat(self.expires)


class Tokens:
    """Bearer tokens in a file: their digests, scopes and last days.

    Parameters
    ----------
    path : str or path
        A JSON file, which the first `new` makes. A service reads it again when it changes: what is revoked is revoked at once.

    Examples
    --------
    >>> import tempfile
    >>> import elboroom as er
    >>> tokens = er.Tokens(f"{tempfile.mkdtemp()}/tokens.json")
    >>> secret = tokens.new("the website", ["predict"])
    >>> tokens.found(secret).name, tokens.found(secret[:-1] + "?")
    ('the website', None)
    """

    def __init__(self, path: Any):
        self.path: Path = files.place(path, "tokens")
        self._seen: tuple[Any, dict[str, Token]] = (None, {})
        self._read()

    # -- what there is -----------------------------------------------------------------------------

    def all(self) -> tuple[Token, ...]:
        """All tokens that are known, the first one first.

        Raises
        ------
        InferenceError
            For a file that is none of ours, or was changed.
        """
        return tuple(self._read().values())

    def found(self, secret: str) -> Token | None:
        """The token that a secret is, if it holds now. What it takes does not depend on how much of the secret is right.

        Parameters
        ----------
        secret : str
            What came.
        """
        given = secret if len(secret) <= LONGEST_TOKEN else ""
        parts = given.split("_", 2)
        known = self._read().get(parts[1]) if len(parts) == 3 else None
        digest = hashlib.sha256(given.encode("utf-8", "replace")).hexdigest()
        same = hmac.compare_digest(digest, known.digest if known is not None else "0" * len(digest))
        return known if known is not None and same and known.holds(datetime.now(UTC)) else None

    # -- what changes ------------------------------------------------------------------------------

    def new(self, name: str, scopes: Iterable[str] = ASKING, days: float = TOKEN_DAYS) -> str:
        """A token, which is shown this once.

        Parameters
        ----------
        name : str
            Whose it is.
        scopes : sequence of str
            Some of ``"predict"``, ``"encode"``, ``"score"``, ``"verdict"`` and ``"metrics"``, all by default; and ``"outcome"``.
        days : float
            How long it holds.

        Returns
        -------
        str
            To be sent as ``Authorization: Bearer …``.

        Raises
        ------
        InferenceError
            For other scopes, or no time at all; where the file cannot be written.
        """
        chosen = tuple(scopes) if not isinstance(scopes, str) else (scopes,)
        if not chosen or set(chosen) - set(SCOPES):
            raise InferenceError(
                explain("scopes", f"some of {list(SCOPES)}", f"{list(chosen)}"[:80], "name these")
            )
        if not is_number(days) or not days > 0:
            raise InferenceError(explain("days", "a number above 0", repr(days)[:80], "90 is usual"))
        made, secret = _made(checked_text("name", name), chosen, timedelta(days=float(days)))
        self._change(lambda known: {**known, made.id: made})
        return secret

    def rotate(self, id: str, hours: float = GRACE_HOURS, days: float = TOKEN_DAYS) -> str:
        """Another token in place of one, which holds some hours more.

        Parameters
        ----------
        id : str
            Of the one that is replaced.
        hours : float
            How long both hold.
        days : float
            How long the new one holds.
        """
        old = self._known(id)
        made, secret = _made(old.name, old.scopes, timedelta(days=float(days)))
        last = min(datetime.now(UTC) + timedelta(hours=float(hours)), datetime.fromisoformat(old.expires))
        self._change(lambda known: {**known, id: replace(known[id], expires=last.isoformat()), made.id: made})
        return secret

    def revoke(self, id: str, because: str) -> None:
        """Refuse a token from now on.

        Parameters
        ----------
        id : str
            Its second part.
        because : str
            Why.
        """
        self._known(id)
        why = checked_text("because", because)
        self._change(lambda known: {**known, id: replace(known[id], revoked=True, because=why)})

    # -- within ------------------------------------------------------------------------------------

    def _known(self, id: str) -> Token:
        found = self._read().get(id)
        if found is None:
            got, remedy = repr(id)[:80], "an id is the second part of a token: er_ID_…"
            raise InferenceError(explain("id", f"one of {list(self._read())[:10]}", got, remedy))
        return found

    def _change(self, change: Callable[[dict[str, Token]], dict[str, Token]]) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with files.alone(self.path.with_name(f"{self.path.name}.lock")):
                made = [asdict(token) for token in change(dict(self._read())).values()]
                files.write(self.path, files.sealed_json({"format": FORMAT, "tokens": made}))
        except OSError as error:
            raise files.unwritable(f"tokens '{self.path}'", error) from error

    def _read(self) -> dict[str, Token]:
        """The tokens of the file, read again where it is another than at the last look."""
        try:
            state = self.path.stat()
            mark = (state.st_mtime_ns, state.st_size, state.st_ino)
            if mark != self._seen[0]:
                self._seen = (mark, _tokens(self.path.read_bytes()))
        except FileNotFoundError:
            self._seen = (None, {})
        except (OSError, ValueError, KeyError, TypeError) as error:
            got = str(getattr(error, "strerror", None) or error).lower()
            what, remedy = f"tokens '{self.path}'", "put back a copy: nobody is let in by it"
            raise InferenceError(explain(what, f"a file of tokens, {FORMAT}", got, remedy)) from None
        return self._seen[1]


def _made(name: str, scopes: tuple[str, ...], holds: timedelta) -> tuple[Token, str]:
    id = secrets.token_hex(TOKEN_ID_BYTES)
    secret = f"{PREFIX}_{id}_{secrets.token_urlsafe(TOKEN_BYTES)}"
    last = (datetime.now(UTC) + holds).isoformat()
    return Token(id, name, hashlib.sha256(secret.encode()).hexdigest(), scopes, last), secret


def _tokens(content: bytes) -> dict[str, Token]:
    record, sealed = files.unsealed_json(content)
    if record.get("format") != FORMAT or not sealed:
        raise ValueError("other JSON")
    made = [Token(**{**entry, "scopes": tuple(entry["scopes"])}) for entry in record["tokens"]]
    for token in made:
        datetime.fromisoformat(token.expires)
    return {token.id: token for token in made}
