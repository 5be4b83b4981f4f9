"""Whether a log and the folders beside it are what was written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..inference.evidence.finding import Finding
from ..ppl import files
from .version import State, place_of


def of_log(name: str, lines: list[dict[str, Any]], heads: list[str], head: str | None) -> Iterator[Finding]:
    """What a log lacks, and where its clock went back."""
    if head is not None and head not in heads:
        words = "The log does not lead to the head that was kept: lines were cut off or written anew. Put back a copy."
        yield Finding("log", name, None, None, "untrusted", words)
    back = [late["at"] for early, late in pairwise(lines) if late["time"] < early["time"]]
    if back:
        words = (
            f"The clock went back before line {back[0]}: the order of lines is right, their times may not be."
        )
        yield Finding("clock", name, float(len(back)), 0.0, "caution", words)


def strangers(there: Iterable[Path], state: State) -> Iterator[Finding]:
    """Folders among the versions that the log does not know, or no more."""
    known = {version.folder.name for version in state.versions.values()}
    gone = {place_of(state.home, number).name for number in state.withdrawn}
    for path in there:
        if path.name not in known and not files.is_left(path.name):
            why = (
                "it was withdrawn, remove it"
                if path.name in gone
                else "an add that was killed left it, or the log was cut"
            )
            words = f"'{path}' is no version: {why}. It is never given out."
            yield Finding("version", f"{state.home.name}/{path.name}", None, None, "caution", words)
