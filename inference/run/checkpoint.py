"""Checkpoints: what a fit has reached, in one file, to go on from after it was killed.

A stage that has ended is never run again; a long one is written every minute. Random numbers follow from the seed and
the stage, so a fit that goes on ends where an unbroken one does.
"""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...ppl import files
from ...ppl.errors import InferenceError, explain
from ..evidence.finding import Finding
from ..thresholds import CHECKPOINT_SECONDS

FORMAT, FILE, POSTERIOR = "elboroom-checkpoint/3", "checkpoint.npz", "posterior"


class Checkpoint:
    """The checkpoint of one fit.

    Parameters
    ----------
    folder : str, path or None
        None keeps nothing.
    identity : mapping
        What makes two fits the same: model, data, seed, settings; JSON-ready.

    Raises
    ------
    InferenceError
        If the folder holds the checkpoint of another fit, a damaged one, or cannot be one.
    """

    def __init__(self, folder, identity: Mapping[str, Any]):
        self.folder = None if folder is None else files.place(folder, "checkpoint")
        self.identity = {key: str(value) for key, value in identity.items()}
        self.findings: list[Finding] = []
        self.rows: dict | None = (
            None  # how many are taken at a time: part of the checkpoint, not of what is asked
        )
        self._record: dict[str, Any] = {}
        self._arrays: dict[str, np.ndarray] = {}
        self._written = time.monotonic()
        if self.folder is not None:
            self._read()

    def _read(self) -> None:
        assert self.folder is not None
        if self.folder.exists() and not self.folder.is_dir():
            raise InferenceError(
                explain(f"checkpoint '{self.folder}'", "a folder", "a file", "choose another path")
            )
        file = self.folder / FILE
        files.tidy(file)
        if not file.exists():
            return
        try:
            content = io.BytesIO(files.unsealed(file.read_bytes()))
            with zipfile.ZipFile(content) as members:
                if any(member.compress_type != zipfile.ZIP_STORED for member in members.infolist()):
                    raise ValueError("compressed arrays")  # whose size would be unknown
            with np.load(content, allow_pickle=False) as found:
                arrays = {name: found[name] for name in found.files}
            record = json.loads(str(arrays.pop("record")))
            known = record["format"] == FORMAT
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            EOFError,
            RecursionError,
            zipfile.BadZipFile,
        ) as error:
            raise InferenceError(
                explain(f"checkpoint '{file}'", "one that a fit wrote", f"a damaged file ({error})",
                        "delete it, or name another folder")
            ) from None  # fmt: skip
        if not known:
            raise InferenceError(
                explain(f"checkpoint '{file}'", FORMAT, repr(record["format"]),
                        "go on with the version of elboroom that wrote it")
            )  # fmt: skip
        other = [key for key, value in self.identity.items() if record["identity"].get(key) != value]
        if other:
            raise InferenceError(
                explain(
                    f"checkpoint '{file}'",
                    "one of this fit",
                    f"one of another {', another '.join(other)}",
                    "name another folder, or delete it to start anew",
                )
            )
        self._record, self._arrays, self.rows = record["state"], arrays, record.get("rows")

    def again(self, rows: dict) -> None:
        """Begin anew with other rows at a time."""
        self._record, self._arrays, self.rows = {}, {}, rows

    @property
    def stage(self) -> str | None:
        """The last stage that has ended."""
        return self._record.get("stage")

    @property
    def state(self) -> tuple[dict, dict[str, np.ndarray]]:
        """What `finish` was given: JSON-ready values, and arrays."""
        return self._record["values"], _under(self._arrays, "state/")

    def finish(self, stage: str, values: dict, arrays: Mapping[str, np.ndarray]) -> None:
        """A stage has ended."""
        if self.folder is None:
            return
        self._record = {"stage": stage, "values": values}
        self._arrays = {f"state/{name}": np.asarray(value) for name, value in arrays.items()}
        self._write()

    @property
    def under_way(self) -> dict[str, np.ndarray] | None:
        """What `keep` was given last within the stage that has not ended."""
        return _under(self._arrays, "under_way/") or None

    def keep(self, make: Callable[[], Mapping[str, np.ndarray]]) -> None:
        """The state of a stage under way, once a minute."""
        if self.folder is None or time.monotonic() - self._written < CHECKPOINT_SECONDS:
            return
        self._arrays = {k: v for k, v in self._arrays.items() if not k.startswith("under_way/")}
        self._arrays |= {f"under_way/{name}": np.asarray(value) for name, value in make().items()}
        self._write()

    def posterior(self, write: Callable[[Path], Any], now: bool = False) -> None:
        """A posterior to load, once a minute or `now`; ``write(folder)`` writes it."""
        folder = self.folder
        if folder is not None and (now or time.monotonic() - self._written >= CHECKPOINT_SECONDS):
            self._guarded(lambda: write(folder / POSTERIOR))

    def _write(self) -> None:
        folder = self.folder
        assert folder is not None
        record = {"format": FORMAT, "identity": self.identity, "rows": self.rows, "state": self._record}

        def write():
            folder.mkdir(parents=True, exist_ok=True)
            content = io.BytesIO()
            np.savez(content, **{"record": np.array(json.dumps(record)), **self._arrays})  # type: ignore[arg-type]  # its flags
            files.write(folder / FILE, files.sealed(content.getvalue()))

        self._guarded(write)

    def _guarded(self, write) -> None:
        """Write; where that fails the fit goes on, and says so."""
        try:
            write()
        except (OSError, InferenceError) as error:
            if not self.findings:
                self.findings.append(
                    Finding(
                        "no checkpoint",
                        str(self.folder),
                        None,
                        None,
                        "ok",
                        f"A checkpoint could not be written ({error}): the fit went on without. Make room, or name "
                        "another folder.",
                    )
                )
        self._written = time.monotonic()


def _under(arrays, prefix):
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
