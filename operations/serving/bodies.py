"""Bodies of requests: read within limits of size and time, and parsed strictly."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from .refusals import Refused
from .thresholds import MOST_DEPTH

CLOSE = {"Connection": "close"}


async def read(receive: Any, headers: Mapping[bytes, bytes], most: int, seconds: float) -> bytes:
    """The body of a request.

    Raises
    ------
    Refused
        413 for one that is too large, as soon as that is known; 408 for one that is slow; 400 for one that ends early.
    """
    stated = headers.get(b"content-length", b"0")
    if not stated.isdigit():
        raise Refused(400, "content-length", "Content-Length: expected one number.", CLOSE)
    if int(stated) > most:
        raise _too_large(most)
    try:
        async with asyncio.timeout(seconds):
            return await _received(receive, most)
    except TimeoutError:
        words = f"the body did not come within {seconds:g} s."
        raise Refused(408, "slow body", words, CLOSE) from None


async def _received(receive: Any, most: int) -> bytes:
    parts, length = [], 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise Refused(400, "disconnected", "the connection ended before the body did.", CLOSE)
        part = event.get("body", b"")
        length += len(part)
        if length > most:
            raise _too_large(most)
        parts.append(part)
        if not event.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(most: int) -> Refused:
    words = f"expected a body of at most {most:,} bytes. Send the rows in parts."
    return Refused(413, "too large", words, CLOSE)


def parsed(body: bytes) -> Any:
    """What a body of JSON in UTF-8 says.

    Raises
    ------
    Refused
        400 for what is none, has names twice, is deeper than it may be, or holds NaN or infinite numbers.
    """
    try:
        found = json.loads(body.decode("utf-8"), parse_constant=_no_number, object_pairs_hook=_once)
    except RecursionError:
        raise _too_deep() from None
    except UnicodeDecodeError:
        raise Refused(400, "encoding", "expected JSON in UTF-8.") from None
    except json.JSONDecodeError as error:
        words = (
            f"expected JSON, got something else at line {error.lineno}, column {error.colno}: {error.msg}."
        )
        raise Refused(400, "json", words) from None
    except ValueError as error:
        raise Refused(
            400, "json", f"expected JSON with finite numbers and each name once: {error}."
        ) from None
    _check_depth(found)
    return found


def _check_depth(found: Any) -> None:
    """Refuse lists and objects that are too deep within each other; a level of all is looked at at once."""
    level = [found] if type(found) in (list, dict) else []
    for _ in range(MOST_DEPTH):
        level = [
            inner
            for one in level
            for inner in (one.values() if type(one) is dict else one)
            if type(inner) is list or type(inner) is dict
        ]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> Refused:
    return Refused(400, "too deep", f"expected lists and objects at most {MOST_DEPTH} deep.")


def _no_number(word: str) -> Any:
    raise ValueError(f"got {word}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, of which no name came twice: whoever looked at it before may have seen the other value."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("got a name twice in one object")
    return found
