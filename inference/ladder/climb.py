"""The ladder: a loop over its stages."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from ...guides.sparse import NotPositiveDefinite
from ...ppl.interrupts import came, deferred, interruptible
from ..run.trail import Rung
from .run import Run
from .snapshot import restored, snapshot
from .state import State

FAILURES = (MemoryError, ArithmeticError, ValueError, NotPositiveDefinite, RuntimeError)
"""What a stage may fail with: it is a line of the trail then, and the climb goes on with what it has. What a user has to mend is
no `ValueError` here, but one of the project's own; those are of numbers that a routine refuses."""


@dataclass(frozen=True)
class Line:
    """What a stage says of itself in the trail; None of it where it has nothing to say.

    Attributes
    ----------
    guide, reason : str
    measured : mapping of float
        ``elbo``, ``elbo_se`` and ``khat``, where they were measured.
    """

    guide: str
    reason: str
    measured: dict[str, float] = field(default_factory=dict)


class Stage(Protocol):
    """A step of the ladder.

    Attributes
    ----------
    name : str
        Its name in the trail.
    words : str
        What a progress line says meanwhile; empty for what takes no time.
    always : bool
        Whether it runs also when time or patience has ended.
    guarded : bool
        Whether an interrupt waits for it, but for the parts that say otherwise.
    kept : str
        Name under which a checkpoint has what the ladder has led to after it; empty where none is written.
    """

    name: str
    words: str
    always: bool
    guarded: bool
    kept: str

    def wants(self, state: State) -> str | None:
        """Why it is due; None where it is not."""
        ...

    def guide(self, state: State) -> str:
        """What its line calls the guide."""
        ...

    def price(self, state: State) -> float:
        """Gradients that it will take, projected; NaN where nothing is known."""
        ...

    def run(self, state: State, run: Run) -> tuple[State, Line | None]:
        """The state after it, and its line."""
        ...

    def failed(self, state: State) -> State:
        """The state where it failed, from what it had reached."""
        ...


def climb(stages: tuple[Any, ...], state: State, run: Run) -> State:
    """Run the stages that want it, and keep what was reached when time or patience ends.

    Raises
    ------
    KeyboardInterrupt
        Where nothing has been reached yet.
    """
    first = 0
    if run.checkpoint.stage is not None:
        first = 1 + [stage.kept for stage in stages].index(run.checkpoint.stage)
        state = restored(state, *run.checkpoint.state)
    run.keep(state)
    with deferred(answered=True):
        for stage in stages[first:]:
            if stage.wants(run.reached) is not None and (stage.always or not run.stop()):
                with deferred(answered=True):  # what waited is answered by `stop`, and hits no stage after it
                    _ran(stage, run)
            if stage.kept and not run.stop() and run.checkpoint.folder is not None:
                run.checkpoint.finish(stage.kept, *snapshot(run.reached))
        if came():
            _interrupted(run)
    return run.reached


def _ran(stage: Any, run: Run) -> None:
    """Run a stage; what it fails with is a line of the trail, and an interrupt leaves what it had reached."""
    state, counter, begin = run.reached, run.reached.target.counter, time.perf_counter()
    before, price = counter.num_gradients, stage.price(state) * run.pace
    earlier = run.unreported
    line, failed = None, False
    try:
        with (
            nullcontext() if stage.guarded else interruptible(),
            run.watch.showing(stage.words) if stage.words else nullcontext(),
        ):
            state, line = stage.run(state, run)
            run.keep(state)
    except FAILURES as error:
        line, failed = Line(stage.guide(state), failure(error)), True
    except KeyboardInterrupt:
        if run.reached.best is None:
            raise
        _interrupted(run)
        failed = stage.always  # what must not be left out was not done
    if failed:
        run.keep(stage.failed(run.reached))
    run.unreported = count, seconds = (
        earlier[0] + counter.num_gradients - before,
        earlier[1] + time.perf_counter() - begin,
    )
    if line is not None:
        run.unreported = 0, 0.0
        rung = Rung(
            stage.name, line.guide, num_gradients=count, seconds=seconds, projected=price,
            reason=line.reason, **line.measured,
        )  # fmt: skip
        run.keep(replace(run.reached, rungs=(*run.reached.rungs, rung)))
        run.watch.noted(rung)


def failure(error: BaseException) -> str:
    """What a line says of what a stage, or a part of it, failed with."""
    words = (str(error).splitlines() or [""])[0][:200]
    return f"failed: {type(error).__name__}: {words}"


def _interrupted(run: Run) -> None:
    run.watch.interrupted = True
    if not any(rung.name == "interrupt" for rung in run.reached.rungs):
        rung = Rung("interrupt", "", reason="interrupted: the best state so far is returned")
        run.keep(replace(run.reached, rungs=(*run.reached.rungs, rung)))
