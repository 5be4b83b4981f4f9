"""What a version holds, written into a draft of its folder."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from ..diagnostics.model_checks import fits_data
from ..inference.posterior.load import load
from ..inference.posterior.posterior import Posterior, record_of
from ..ppl import files
from ..ppl.errors import DataError, RegistryError, UnsupportedError, explain, in_short
from .ledger import now
from .lineage import commit, data_record, lock
from .manifest import is_inside
from .rules import write_runbooks
from .schema.schema import schema

SCHEMA = "schema.json"
OWN = (
    "posterior",
    "report.html",
    "report.json",
    "report.md",
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
    for name, content in attached.items():
        _attach(draft, name, content)
    posterior.report(draft)
    posterior.save(draft / "posterior")
    if posterior.program is not None:
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
    """Write what the training data looked like; why there is nothing to write, else None."""
    try:
        schema(posterior).save(draft / SCHEMA)
    except (DataError, UnsupportedError) as error:
        return str(error)
    return None


def _attach(draft: Path, name: Any, content: Any) -> None:
    """A file of the user's, within the draft and under no name of ours."""
    what, parts = f"attached {name!r}", PurePosixPath(str(name)).parts
    if not is_inside(str(name)) or parts[0] in OWN:
        remedy = f"name a file within the version, and none of {', '.join(OWN)}"
        raise RegistryError(explain(what, "a relative path", "another, or a name that is taken", remedy))
    try:
        if isinstance(content, Path):
            content = content.read_bytes()
        elif not isinstance(content, bytes):
            content = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    except (OSError, TypeError, ValueError) as error:
        expected, got = "a pathlib.Path of a file, bytes, or what JSON takes", in_short(error)
        raise RegistryError(explain(what, expected, got, "pass one of these")) from None
    path = draft.joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.put(path, content)
