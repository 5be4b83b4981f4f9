"""What every engine is, and the one loop that runs them.

An engine is a frozen object of settings around a log density. Its state is frozen too: ``step`` makes another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ...guides.transport import Gaussian, Transport

Density = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""``density(z) -> (log density (B,), gradient (B, dim))`` at rows of ``z``; −∞ and 0 where they are not finite."""
STOPPED = "stopped"


class Optimiser(Protocol):
    """One shape for whatever improves step by step: ``init`` makes a state, ``step`` the next, ``done`` ends it."""

    def init(self, start: Any) -> Any:
        """The state at `start`: a transport, or the points of an optimiser of numbers."""
        ...

    def step(self, state: Any) -> Any:
        """The state after one step."""
        ...

    def done(self, state: Any) -> str | None:
        """Why there is no other step; None where there is."""
        ...

    def fit(self, state: Any, reason: str) -> Any:
        """What was reached: a `Fit` where laws are fitted."""
        ...


class Engine(Optimiser, Protocol):
    """An optimiser that fits a law, for the ladder. Its class has ``of(problem)``, which makes one or, where nothing is
    to be done, none.

    Attributes
    ----------
    name : str
        By which a family names it.
    loose : bool
        Whether it may begin from a loose start.
    rounds : int
        How often it runs at most.
    again : bool
        Whether another round follows only where other coordinates of hierarchical sites suit what it found.
    centred : bool
        Whether it needs every site centred.
    improves : bool
        Whether what it reaches is taken only where it is no worse than what was there.
    must_rest : bool
        Whether a poorer family is fitted where it finds no rest.
    """

    name: str
    loose: bool
    rounds: int
    again: bool
    centred: bool
    improves: bool
    must_rest: bool


@dataclass(frozen=True)
class Fit:
    """What an engine has reached.

    Attributes
    ----------
    transport : Transport
        The fitted member of a family.
    gaussian : Gaussian or None
        The Gaussian that stands for it where a fit goes on; None where the one before still does.
    elbo : float
        Its bound in nats; NaN where the engine knows none.
    converged : bool
    trace : tuple of float
        The bound after each step.
    words : str
        What was done, for the trail.
    reason : str
        Why it ended.
    steps : mapping of numpy.ndarray
        What else was seen at each step, by name.
    findings : tuple of Finding
    num_gradients : int
        Passes over all rows that the target has not counted.
    gradient_norm : float or None
        Of the bound's gradient at the last step, in the coordinates that the engine moves in; None where it has none.
    """

    transport: Transport
    gaussian: Gaussian | None
    elbo: float = np.nan
    converged: bool = True
    trace: tuple[float, ...] = ()
    words: str = ""
    reason: str = ""
    steps: Any = None
    findings: tuple = ()
    num_gradients: int = 0
    gradient_norm: float | None = None


def run(
    engine: Optimiser,
    start: Any,
    stop: Callable[[], bool] | None = None,
    seen: Callable[[Any], None] | None = None,
) -> tuple[Any, str]:
    """Run an engine until it is done, or until `stop` says so, which is asked before every step.

    Parameters
    ----------
    engine : Optimiser
        What is run.
    start
        See `Optimiser.init`.
    stop : callable, optional
        Whether to end.
    seen : callable, optional
        ``seen(state)`` after every step.

    Returns
    -------
    tuple
        The last state, and why it is the last.
    """
    state = engine.init(start)
    while (reason := engine.done(state)) is None:
        if stop is not None and stop():
            return state, STOPPED
        state = engine.step(state)
        if seen is not None:
            seen(state)
    return state, reason


def fit(
    engine: Optimiser,
    start: Any,
    stop: Callable[[], bool] | None = None,
    keep: Callable[[Fit], None] | None = None,
) -> Any:
    """Run an engine as `run` does, and give what it reached.

    Parameters
    ----------
    engine : Optimiser
        What is run.
    start
        See `Optimiser.init`.
    stop : callable, optional
        Whether to end.
    keep : callable, optional
        Takes what has been reached after every step: it is there still where the loop is interrupted.
    """
    seen = None if keep is None else lambda state: keep(engine.fit(state, "under way"))
    return engine.fit(*run(engine, start, stop, seen))
