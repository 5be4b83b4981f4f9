"""What a request is refused with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...ppl.names import printable
from ...ppl.thresholds import MESSAGE_QUOTED


class Refused(Exception):
    """A request that is not answered.

    Parameters
    ----------
    status : int
        Of HTTP.
    what : str
        A short name of the reason, which does not change.
    words : str
        What was expected, what came and what to do.
    headers : mapping of str to str
        Of the answer.
    column : str, optional
    row : int, optional
        What is meant.
    """

    def __init__(
        self,
        status: int,
        what: str,
        words: str,
        headers: Mapping[str, str] | None = None,
        column: str | None = None,
        row: int | None = None,
    ):
        super().__init__(words)
        self.status, self.what, self.headers = status, what, dict(headers or {})
        self.where = {k: v for k, v in (("column", column), ("row", row)) if v is not None}

    def as_dict(self) -> dict[str, Any]:
        """Plain mapping, for JSON."""
        words = printable(str(self))[: 4 * MESSAGE_QUOTED]
        return {"status": self.status, "what": self.what, "words": words, **self.where}
