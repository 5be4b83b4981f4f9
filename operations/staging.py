"""What a version holds, written into a draft of its folder."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..diagnostics.model_checks import fits_data
from ..inference.posterior.load import load
from ..inference.posterior.posterior import Posterior, record_of
from ..ppl import files
from ..ppl.errors import DataError, ElboroomError, RegistryError, UnsupportedError, explain, in_short
from .keys import Key
from .ledger import Ledger, now
from .lineage import commit, data_record, lock
from .manifest import MANIFEST, is_inside, manifest_of
from .rules import write_runbooks
from .schema.schema import schema
from .signing import put_signature
from .version import NOTED, NOTES, VERSIONS, State, place_of

SCHEMA = "schema.json"
OWN = (
    "posterior",
    "report.html",
    "report.json",
    "report.md",
    "runbooks",
    "version.json",
    "lock.txt",
    "manifest.json",
    "signatures",
)
FORMAT = "elboroom-version/1"


def posterior_of(given: Any) -> Posterior:
    """A posterior, or the one of a folder: a saved one's own, or a fit's.

    Raises
    ------
    RegistryError
        For anything else.
    """
    if isinstance(given, Posterior):
        return given
    if not isinstance(given, (str, Path)):
        got = type(given).__name__
        raise RegistryError(
            explain("posterior", "a posterior, or the folder of one", got, "pass what er.fit gave")
        )
    folder = files.place(given, "posterior")
    return load(folder / "posterior" if (folder / "posterior").is_dir() else folder)


@contextmanager
def draft_in(place: Path) -> Iterator[Path]:
    """A folder to fill, within one for such folders, that is gone when the block ends.

    Raises
    ------
    OSError
    """
    place.mkdir(parents=True, exist_ok=True)
    for left in list(place.iterdir()):  # of writers that were killed
        (files.reclaim if files.is_left(left.name) else files.remove)(left)
    path = place / secrets.token_hex(8)
    try:
        with files.folder(path) as draft:
            yield draft
    finally:
        files.remove(path)


def filled(draft: Path, posterior: Posterior, data: Any, attached: Mapping[str, Any]) -> dict[str, Any]:
    """Write the posterior, its report, its data's schema, runbooks, versions of libraries and what is attached; what there is to note.

    Raises
    ------
    OSError
        Where it cannot be written.
    """
    notes = {
        "format": FORMAT,
        "created": now(),
        "data": data_record(data),
        "data_fingerprint": record_of(posterior).data_fingerprint,
        "commit": commit(),
    }
    _attach(draft, attached)
    posterior.report(draft)
    posterior.save(draft / "posterior")
    notes["schema"] = _schema(draft, posterior)
    write_runbooks(draft / "runbooks")
    files.put(draft / "lock.txt", lock())
    return {
        **notes,
        "verdict": posterior.verdict,
        "counts": posterior.counts,
        "fits_data": fits_data(posterior),
    }


def _schema(draft: Path, posterior: Posterior) -> str | None:
    """Write what the training data looked like, unless that is attached; why there is nothing to write, else None."""
    path = draft / SCHEMA
    if path.exists():
        try:
            schema(path)
        except ElboroomError as error:
            expected, remedy = "what er.schema(…).save writes", "attach that, or nothing of this name"
            raise RegistryError(explain(f"attached '{SCHEMA}'", expected, in_short(error), remedy)) from None
    elif posterior.program is not None:
        try:
            schema(posterior).save(path)
        except (DataError, UnsupportedError) as error:
            return str(error)
    return None


def _attach(draft: Path, attached: Mapping[str, Any]) -> None:
    """Files of the user's, within the draft and under no name of ours."""
    if not isinstance(attached, Mapping):
        got, remedy = type(attached).__name__, "pass attached={'notes.md': Path('notes.md')}"
        raise RegistryError(explain("attached", "a mapping of names to files", got, remedy))
    taken = set(OWN)
    for name, content in attached.items():
        what, key = f"attached {ascii(name)[:80]}", str(name).casefold()  # some systems have no case
        if not isinstance(name, str) or not is_inside(name) or {key, key.partition("/")[0]} & taken:
            remedy = f"name a file within the version, and none of {', '.join(OWN)}"
            raise RegistryError(explain(what, "a relative path", "another, or a name that is taken", remedy))
        taken.add(key)
        path = draft / name
        path.parent.mkdir(parents=True, exist_ok=True)
        files.put(path, _content(what, content))


def _content(what: str, content: Any) -> bytes | str:
    try:
        if isinstance(content, Path):
            return content.read_bytes()
        return (
            content
            if isinstance(content, bytes)
            else json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        )
    except (OSError, TypeError, ValueError, RecursionError) as error:
        expected, got = "a pathlib.Path of a file, bytes, or what JSON takes", in_short(error)
        raise RegistryError(explain(what, expected, got, "pass one of these")) from None


def settled(draft: Path, state: State, ledger: Ledger, record: dict[str, Any], key: Key | None) -> int:
    """Move a filled draft to its place, and say so in the log: from then on there is one more version, of the number that is given.

    Raises
    ------
    OSError
        Where it cannot be written; nothing is there then.
    """
    home = state.home
    there = [int(path.name) for path in (home / VERSIONS).glob("*") if path.name.isdecimal()]
    number = 1 + max(
        [0, *state.versions, *state.withdrawn, *there]
    )  # a folder that the log does not know keeps its own
    record |= {"model": home.name, "number": number, "log": ledger.head}
    files.put(draft / NOTES, json.dumps(record, indent=1, ensure_ascii=False))
    content = manifest_of(draft, model=home.name, version=number)
    files.put(draft / MANIFEST, content)
    if key is not None:
        put_signature(draft, content, key)
    line = {k: record[k] for k in (*NOTED, "tags") if k != "log"}
    line |= {"version": number, "manifest": hashlib.sha256(content).hexdigest()}
    with files.folder(place_of(home, number)) as place:
        for path in draft.iterdir():
            path.rename(place / path.name)
    try:
        ledger.append(what="add", **line)
    except BaseException:
        files.remove(place_of(home, number))
        raise
    return number
