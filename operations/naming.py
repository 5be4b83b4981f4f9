"""How models, versions, aliases, tags and files are called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..ppl.errors import RegistryError, explain
from .thresholds import LONGEST_NAME, LONGEST_TAG, MOST_TAGS

LIVE, LATEST = "live", "latest"
NAMES = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
PORTABLE = re.compile(
    r"(?!(con|prn|aux|nul|com\d|lpt\d)(\.|$))[^\x00-\x1f\ud800-\udfff<>:\"|?*\\/]+(?<![. ])", re.IGNORECASE
)

HALVES = re.compile(r"[\ud800-\udfff]")  # of letters: bytes of another encoding, which no file can keep


def is_portable(name: str) -> bool:
    """Whether every system takes a name for that of a file: no device of Windows, no path, no letters that are none.

    Examples
    --------
    >>> is_portable("posterior.nc"), is_portable(".."), is_portable("aux.txt"), is_portable("C:secret")
    (True, False, False, False)
    """
    return PORTABLE.fullmatch(name) is not None


def bare(words: str) -> str:
    """Words without the passwords of addresses among them.

    Examples
    --------
    >>> bare("no answer from http://ann:secret@host:5000/api")
    'no answer from http://host:5000/api'
    """
    return re.sub(r"//[^/\s]*@", "//", words)


def split(name: Any, version: Any) -> tuple[str, Any]:
    """Model and version of ``"risk@live"`` or ``"risk/7"``, or of two arguments.

    Raises
    ------
    RegistryError
        Where no version is named, or two are.
    """
    base, mark, given = str(name).partition("@") if "@" in str(name) else str(name).partition("/")
    if bool(mark and given) == (version is not None):
        got = f"'{name}' and {version!r}"
        remedy = f"say which: '{base}@{LIVE}', '{base}/7', or a number, an alias or '{LATEST}' as version"
        raise RegistryError(explain("version", "one", "none" if version is None else got, remedy))
    return base, given if mark else version


def check_name(what: str, name: Any) -> None:
    sound = isinstance(name, str) and len(name) <= LONGEST_NAME and NAMES.fullmatch(name)
    if not sound or not is_portable(name):
        expected = (
            f"at most {LONGEST_NAME} letters, digits, '.', '_' and '-', the first a letter or digit, the last no '.', "
            "and no name that Windows keeps for itself"
        )
        raise RegistryError(explain(what, expected, repr(name)[:80], "take another name"))


def check_alias(alias: Any) -> None:
    check_name("alias", alias)
    if alias == LATEST or alias.isdecimal():
        got = f"'{alias}', which always is a version itself"
        raise RegistryError(explain("alias", "a name", got, "take another"))


def checked_text(what: str, value: Any) -> str:
    """Words, as they can be kept."""
    if not isinstance(value, str) or HALVES.search(value):
        raise RegistryError(explain(what, "some text", ascii(value)[:80], "pass a string of whole letters"))
    return value


def checked_tags(tags: Mapping[str, Any]) -> dict[str, str]:
    """Tags as text; those that are None are left out."""
    if not isinstance(tags, Mapping):
        remedy = "pass tags={'stage': 'shadow'}"
        raise RegistryError(explain("tags", "a mapping of names to words", type(tags).__name__, remedy))
    found = {name: checked_text(f"tag '{name}'", str(v)) for name, v in tags.items() if v is not None}
    for name, value in found.items():
        check_name("tag", name)
        if len(value) > LONGEST_TAG:
            got, remedy = f"{len(value)} characters", "attach a file instead"
            raise RegistryError(explain(f"tag '{name}'", f"at most {LONGEST_TAG} characters", got, remedy))
    if len(found) > MOST_TAGS:
        raise RegistryError(explain("tags", f"at most {MOST_TAGS}", str(len(found)), "attach a file instead"))
    return found
