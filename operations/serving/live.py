"""The version that an alias names, always loaded: another one takes its place once it is ready."""

from __future__ import annotations

import gc
import logging
import threading
from typing import Any

from ...ppl.errors import ElboroomError, RegistryError, in_short
from ..naming import LATEST, split
from ..registry import LOG as LOG_FILE
from ..registry import Registry
from ..version import Version
from .served import Served
from .settings import Settings

LOG = logging.getLogger("elboroom.serving")


class Live:
    """A thread that loads what an alias names, and looks whether it names another version.

    Parameters
    ----------
    registry : Registry
        With a `trust` it gives out signed versions alone.
    name : str
        ``"risk@live"``, or ``"risk/7"``, which stays.
    model : Model or Program
        Of all versions.
    settings : Settings

    Attributes
    ----------
    current : Served or None
        None until the first one is ready.
    before : Served or None
        That answered before it.
    beside : Served or None
        Another version that is loaded already, and takes over at once where the alias comes to name it.
    alone : bool
        Whether the process does nothing but serve, so that what is loaded may be set apart from what Python looks through for garbage:
        a look through all of it stops every answer for seconds, every few thousand answers.
    problem : str
        Why the version that the alias names is not the one that answers, or answers are not to be had; empty where all is well.
    """

    def __init__(self, registry: Registry, name: str, model: Any, settings: Settings):
        self.registry, self.model, self.settings = registry, model, settings
        self.name, self.wanted = split(name, None)
        self.current: Served | None = None
        self.before: Served | None = None
        self.beside: Served | None = None
        self.alone = False
        self.problem = ""
        self._refused: int | None = None
        self._mark: Any = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="elboroom-versions", daemon=True)

    def start(self) -> None:
        """Begin to load, in a thread."""
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.is_set():
            try:
                self.look()
            except Exception as error:  # whatever a model's own code raises
                self._told(in_short(error))
            self._ended.wait(self.settings.look)

    def look(self) -> None:
        """Load the version that is named now, if it is another than the one that answers."""
        state = (self.registry.place / self.name / LOG_FILE).stat()
        mark = state.st_mtime_ns, state.st_size, state.st_ino
        if mark == self._mark and self.current is not None:
            return
        number = self._number()
        if self.current is not None and number == self.current.version.number:
            self.problem, self._refused, self._mark = "", None, mark
            return
        if number != self._refused or self.current is None:
            self._take(number)
        self._mark = mark

    def _number(self) -> int:
        versions = self.registry.versions(self.name)
        if self.wanted == LATEST:
            return max(version.number for version in versions)
        for version in versions:
            if self.wanted in version.aliases or str(self.wanted) == str(version.number):
                return version.number
        raise RegistryError(f"'{self.name}' has no version '{self.wanted}'.")

    def _take(self, number: int) -> None:
        beside = self.beside
        try:
            version = self.registry.get(self.name, number)
            if beside is not None and beside.version.number == number:
                made = beside
            else:
                made = self.loaded(version)
        except ElboroomError as error:
            self._refused = number
            self._told(f"version {number}: {error}")
            return
        self.before, self.current, self.beside = self.current, made, None
        self.problem, self._refused = "", None
        LOG.info("%s answers", made.version)

    def loaded(self, version: Version) -> Served:
        """A version, ready to answer."""
        made = Served.of(version, self.model, self.settings)
        if self.alone:
            gc.unfreeze()
            gc.collect()
            gc.freeze()
        return made

    def _told(self, words: str) -> None:
        if words != self.problem:
            LOG.warning("%s@%s: %s", self.name, self.wanted, words)
        self.problem = words
