"""Names of sites and plates, which become variables and dimensions of every output, and text that is safe to show."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from .errors import ModelError, explain
from .thresholds import QUOTED

# what a terminal takes as commands (C0 but for newline and tab, DEL, C1), and what reorders the text around it
_CONTROL = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff]"
)
RESERVED = {"chain", "draw", "sample"}  # dimensions of the draws in ArviZ's groups
_REFUSED = {"Cc", "Cs", "Zl", "Zp"}  # Unicode's controls, lone surrogates, ends of lines and of paragraphs


def check_name(word: str, name: Any) -> None:
    """Refuse what cannot name a site or a plate.

    Parameters
    ----------
    word : str
        The word that declares it: ``sample``, ``plate``.
    name : Any
        What was given.

    Raises
    ------
    ModelError
    """
    what = f"the name of an er.{word}"
    if not isinstance(name, str):
        got = f"{name!r}"[:QUOTED] + f", of type {type(name).__name__}"
        raise ModelError(explain(what, "text", got, f"write er.{word}('name', …)"))
    if not name.strip() or not name.strip("."):
        raise ModelError(explain(what, "a name with a letter or digit in it", repr(name), "name it"))
    if name in RESERVED:
        got = f"{name!r}, which is a dimension of every set of draws"
        raise ModelError(explain(what, "a name of its own", got, f"call it '{name}_' or otherwise"))
    odd = sorted({one for one in name if unicodedata.category(one) in _REFUSED})
    if odd:
        left = ascii("".join(odd))
        raise ModelError(explain(what, "printable characters", ascii(name)[:QUOTED], f"leave {left} out"))


def printable(text: str) -> str:
    """Text whose control characters are shown, not obeyed.

    Examples
    --------
    >>> printable("plain \\x1b[31mred")
    'plain \\\\x1b[31mred'
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
