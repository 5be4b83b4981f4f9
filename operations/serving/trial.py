"""A candidate beside what is live: requests are dealt to both by a canary, whose decision is carried out while they are answered."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...ppl.errors import ElboroomError, InferenceError, RegistryError, explain, in_short
from ..canary.canary import ENDS, ROLL_BACK, Canary, Decision
from ..naming import LIVE
from .answering import Answered
from .batches import Batcher
from .live import Live
from .outstanding import Outstanding
from .refusals import Refused
from .served import Served
from .settings import Settings
from .thresholds import CANDIDATE_SHARE, KEPT_SECONDS

LOG = logging.getLogger("elboroom.serving")


class Ask(Protocol):
    """A request, which a version can be asked to answer by a thread of its own; `heard` is whether that is what is told."""

    def __call__(self, served: Served, batcher: Batcher, heard: bool = True) -> Awaitable[Answered]:
        """The answer."""
        ...


@dataclass(frozen=True)
class Seen:
    """What became of a request; numbers of the version that answered it, of a shadow of both, what is live first.

    Attributes
    ----------
    key : str
    losses, seconds, untrusted : tuple of float
        NaN where it is not known.
    """

    key: str
    losses: tuple[float, ...] = (math.nan, math.nan)
    seconds: tuple[float, ...] = (math.nan, math.nan)
    untrusted: tuple[float, ...] = (math.nan, math.nan)


@dataclass(eq=False)
class Trial:
    """A canary that is served. A thread loads its candidate, takes in what became of requests and settles it.

    Attributes
    ----------
    canary : Canary or None
        None where it could not go on.
    path : Path or None
        Where it is kept.
    live : Live
    settings : Settings
    candidate : Served or None
        None until it is ready, and once it is settled.
    problem : str
        Why it is not tried, or not settled; empty where all is well.
    outstanding : Outstanding
        Requests of which no outcome is known yet.
    """

    canary: Canary | None
    path: Path | None
    live: Live
    settings: Settings
    problem: str = ""
    candidate: Served | None = None
    outstanding: Outstanding = field(default_factory=Outstanding)
    _seen: deque[Seen] = field(default_factory=deque)
    _tasks: set[Any] = field(default_factory=set)
    _refused: bool = False

    def __post_init__(self):
        settings = self.settings
        self.batcher = Batcher(settings.most_batched, settings.wait, settings.most_waiting, settings.batching)
        self.decision: Decision | None = None if self.canary is None else self.canary.decision
        self._changed, self._saved = False, -math.inf
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="elboroom-canary", daemon=True)
        if self.path is not None:
            self.outstanding = Outstanding.of(self.path)

    def start(self) -> None:
        """Begin to load the candidate, in a thread."""
        self._thread.start()

    def close(self, seconds: float) -> None:
        """Compute what waits, keep where it stands, and end."""
        self._ended.set()
        self.batcher.close(seconds)
        if self._thread.is_alive():
            self._thread.join(seconds)

    @property
    def shadow(self) -> bool:
        """Whether the candidate is heard by none."""
        return self.canary is not None and self.canary.shadow

    # -- requests ----------------------------------------------------------------------------------

    def against(self, live: Served) -> Served | None:
        """The candidate, where it is tried beside the version that is live."""
        candidate, canary = self.candidate, self.canary
        if candidate is None or canary is None or canary.closed is not None:
            return None
        return candidate if live.version.number == canary.live else None

    async def answered(self, key: str, live: Served, batcher: Batcher, ask: Ask) -> Answered:
        """A request as the version answers it that it is dealt to; where the candidate fails, as what is live does."""
        candidate = self.against(live)
        if candidate is None or self.canary is None:
            return await ask(live, batcher)
        if self.shadow or not self.canary.mine(key):
            found = await ask(live, batcher)
            if self.shadow:
                self._in_the_shadow(key, found, candidate, ask)
            else:
                self._tell(key, found)
            return found
        begin = time.monotonic()
        try:
            async with asyncio.timeout(CANDIDATE_SHARE * self.settings.seconds):
                found = await ask(candidate, self.batcher)
        except Exception as error:
            took = time.monotonic() - begin
            found = await ask(live, batcher)  # which refuses what is no request
            self._failed(candidate, error)
            if not _full(error):
                self._seen.append(Seen(key, seconds=(took,), untrusted=(1.0,)))
            return found
        self._tell(key, found)
        return found

    def _tell(self, key: str, found: Answered) -> None:
        self._seen.append(Seen(key, seconds=(found.seconds,), untrusted=(found.untrusted,)))
        self.outstanding.add(key)

    def _failed(self, candidate: Served, error: Exception) -> None:
        LOG.warning("%s failed, the version that is live answers: %s", candidate.version, in_short(error))
        candidate.shown.add("requests_total", route="canary", code="failed")

    def _in_the_shadow(self, key: str, live: Answered, candidate: Served, ask: Ask) -> None:
        """Have the candidate answer too, once the answer is on its way."""

        async def also() -> None:
            begin = time.monotonic()
            try:
                found = await ask(candidate, self.batcher, heard=False)
                own = found.seconds, found.untrusted
            except Exception as error:
                if _full(error):
                    return
                self._failed(candidate, error)
                own = time.monotonic() - begin, 1.0
            seconds, untrusted = zip((live.seconds, live.untrusted), own, strict=True)
            self._seen.append(Seen(key, seconds=seconds, untrusted=untrusted))
            self.outstanding.add(key)

        task = asyncio.get_running_loop().create_task(also())
        self._tasks.add(task)  # of a task that nothing refers to nothing may be left
        task.add_done_callback(self._tasks.discard)

    # -- outcomes ----------------------------------------------------------------------------------

    def judges(self, key: str, live: Served) -> tuple[Served, ...]:
        """The versions whose losses a request tells of, what is live first; none where it is none that was dealt."""
        candidate = self.against(live)
        if candidate is None or self.canary is None or not self.outstanding.has(key):
            return ()
        if self.shadow:
            return live, candidate
        return (candidate,) if self.canary.mine(key) else (live,)

    def lost(self, key: str, losses: Sequence[float]) -> bool:
        """Take in what a request lost, of each of its judges; False where that was told before."""
        if not self.outstanding.taken(key):
            return False
        self._seen.append(Seen(key, losses=tuple(losses)))
        return True

    def as_dict(self) -> dict[str, Any]:
        """Where it stands, for JSON."""
        canary, decision = self.canary, self.decision
        if canary is None or decision is None:
            return {"candidate": None, "problem": self.problem}
        arms = {
            name: {"candidate": int(one.first), "live": int(one.second)} for name, one in canary.arms.items()
        }
        return {
            "live": canary.live,
            "candidate": canary.candidate,
            "share": canary.share,
            "shadow": canary.shadow,
            "decision": decision.what,
            "why": decision.why,
            "ratio": decision.ratio if np.isfinite(decision.ratio) else None,
            "tried": self.candidate is not None,
            "known": arms,
            "outstanding": len(self.outstanding),
            "problem": self.problem,
        }

    # -- the thread --------------------------------------------------------------------------------

    def _watch(self) -> None:
        while not self._ended.is_set():
            try:
                self.look()
            except Exception as error:  # whatever a model's own code raises
                self._told(in_short(error))
            self._ended.wait(self.settings.look)
        try:
            self._take_in()
            self._keep()
        except ElboroomError as error:
            self._told(in_short(error))

    def look(self) -> None:
        """Load the candidate, if it is not there; take in what became of requests, and do what follows."""
        canary = self.canary
        if canary is None or canary.closed is not None:
            return
        self._take_in()
        decision = self.decision = canary.decision
        if decision.what == ROLL_BACK:
            self.candidate = self.live.beside = None  # whatever the registry says to it
        live = self.live.current
        if live is None:
            return
        if live.version.number != canary.live:
            self.candidate = self.live.beside = None
            self._told(
                f"version {live.version.number} is live, the candidate is compared with version {canary.live}."
            )
            return
        if decision.what in ENDS:
            self.decision = canary.settle()
            self.problem, self._changed, self._saved = "", True, -math.inf
            LOG.info("version %d: %s", canary.candidate, decision)
        elif self.candidate is None and not self._refused:
            self._load(canary)
        if self.candidate is not None and np.isfinite(decision.ratio):
            self.candidate.shown.set("canary_ratio", decision.ratio)
        if self._changed and time.monotonic() - self._saved > KEPT_SECONDS:
            self._keep()

    def _load(self, canary: Canary) -> None:
        """Have the candidate ready; one that cannot be is not tried again."""
        self._refused = True
        version = self.live.registry.get(canary.name, canary.candidate)
        self.live.beside = self.live.loaded(version)
        self.candidate, self.problem, self._refused = self.live.beside, "", False
        LOG.info("%s is tried beside version %d", version, canary.live)

    def _take_in(self) -> None:
        """Give the canary what came since."""
        if self.canary is None or self.canary.closed is not None:
            return
        some = [self._seen.popleft() for _ in range(len(self._seen))]
        if not some:
            return
        self._changed = True
        width = 2 if self.shadow else 1
        names = "losses", "seconds", "untrusted"
        parts = {name: np.array([getattr(one, name)[:width] for one in some]).T for name in names}
        if self.shadow:
            live, candidate = parts.pop("losses")
            self.canary.see_both(live, candidate, **parts)
        else:
            self.canary.see([one.key for one in some], **{name: value[0] for name, value in parts.items()})

    def _keep(self) -> None:
        """Write where it stands: first which outcomes are not known, so that none counts twice after a crash between the two."""
        if self.canary is not None and self.path is not None and self._changed:
            self.outstanding.save(self.path)
            self.canary.save(self.path)
        self._changed, self._saved = False, time.monotonic()

    def _told(self, words: str) -> None:
        if words != self.problem:
            LOG.warning("canary: %s", words)
        self.problem = words


def _full(error: Exception) -> bool:
    """Whether it was not tried at all: too much waits, or it ends."""
    return isinstance(error, Refused) and error.status in (429, 503)


def trial_of(given: Any, live: Live, settings: Settings) -> Trial | None:
    """A canary, or the file that one is kept in, as a service tries it.

    Raises
    ------
    InferenceError
        For what is none, or one of another model.
    """
    if given is None:
        return None
    path = None
    try:
        if isinstance(given, Canary):
            canary = given
        else:
            path = Path(given)
            canary = Canary.load(path, live.registry)
    except RegistryError as error:  # another version is live by now: that is answered all the same
        LOG.warning("canary: %s", error)
        return Trial(None, None, live, settings, str(error))
    if (canary.name, LIVE) != (live.name, live.wanted) or canary.registry.place != live.registry.place:
        got = f"one of '{canary.name}@{LIVE}' in '{canary.registry.place}'"
        want = f"one of '{live.name}@{live.wanted}' in '{live.registry.place}'"
        raise InferenceError(
            explain("canary", want, got, f"serve '{canary.name}@{LIVE}', or begin another one")
        )
    return Trial(canary, path, live, settings)
