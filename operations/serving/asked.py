"""A request, while it is answered, and the key by which it is dealt to a version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .refusals import Refused
from .thresholds import LONGEST_KEY
from .tokens import Token

KEY, HEADER = "key", b"x-request-key"


@dataclass(eq=False)
class Asked:
    """A request, while it is answered.

    Attributes
    ----------
    id, route, method : str
    headers : mapping of bytes to bytes
    receive : callable
    token : Token or None
    rows : int
    verdicts : mapping of str to int
        How many rows were given which.
    served : Served or None
        The version that answered.
    """

    id: str
    route: str
    method: str
    headers: Mapping[bytes, bytes]
    receive: Any
    token: Token | None = None
    rows: int = 0
    verdicts: Mapping[str, int] | None = None
    served: Any = None

    @property
    def version(self) -> int | None:
        """Number of the version that answered."""
        return None if self.served is None else self.served.version.number


def key_of(asked: Asked, body: Any) -> str:
    """The key of a request: of its header, of its body, which is without it then, or its id.

    Raises
    ------
    Refused
        For what is neither text nor a whole number; 422.
    """
    inner = body.pop(KEY, None) if isinstance(body, dict) else None
    given = asked.headers.get(HEADER)
    if given is not None:
        return checked_key(given.decode("latin-1"))
    return asked.id if inner is None else checked_key(inner)


def checked_key(given: Any) -> str:
    """A key as text.

    Raises
    ------
    Refused
        For what is none; 422.
    """
    if type(given) not in (str, int) or not 0 < len(str(given)) <= LONGEST_KEY:
        words = f"key: expected text, at most {LONGEST_KEY} letters, or a whole number."
        raise Refused(422, "key", words)
    return str(given)
