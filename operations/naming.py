"""How models, versions, aliases and tags are called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..ppl import files
from ..ppl.errors import RegistryError, explain
from .thresholds import LONGEST_NAME, LONGEST_TAG, MOST_TAGS

LIVE, LATEST = "live", "latest"
NAMES = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


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
    if (
        not isinstance(name, str)
        or not NAMES.fullmatch(name)
        or len(name) > LONGEST_NAME
        or files.is_left(name)
    ):
        expected = f"at most {LONGEST_NAME} letters, digits, '.', '_' and '-', the first a letter or digit"
        raise RegistryError(explain(what, expected, repr(name)[:80], "take another name"))


def checked_tags(tags: Mapping[str, Any]) -> dict[str, str]:
    found = {str(name): str(value) for name, value in tags.items()}
    for name, value in found.items():
        check_name("tag", name)
        if len(value) > LONGEST_TAG:
            got, remedy = f"{len(value)} characters", "attach a file instead"
            raise RegistryError(explain(f"tag '{name}'", f"at most {LONGEST_TAG} characters", got, remedy))
    if len(found) > MOST_TAGS:
        raise RegistryError(explain("tags", f"at most {MOST_TAGS}", str(len(found)), "attach a file instead"))
    return found
