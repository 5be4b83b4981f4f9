"""Starts of a training: another one follows where the laws of rows have collapsed, and the best of them is what is reached."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..thresholds import APART_STEPS, BOUND_DRAWS
from .collapse import remedies
from .objectives import Elbo
from .trained import ENDED, SUNK, Trained

BEFORE = "before/"
"""What the names of earlier starts' arrays begin with in a checkpoint."""


@dataclass(frozen=True, eq=False)
class Starts:
    """The best of the starts so far, and what was found of each; a second one follows a collapse only.

    A first start that was cut short is trained to its end at last, so that laws which tell of the rows are kept only where the bound is
    no worse for it.

    Attributes
    ----------
    best : Trained or None
    told : tuple of str
    cut : bool
        Whether the first one was cut short.
    last : bool
        Whether that one is to come to its end now.
    over : bool
        Whether none follows.
    """

    best: Trained | None = None
    told: tuple[str, ...] = ()
    cut: bool = False
    last: bool = False
    over: bool = False

    def training(self, first: Any) -> Any:
        """The training of the next start, of which `first` is that of the first one."""
        if self.best is None:
            return first
        if self.last:
            return replace(first, first=False)
        shortest = APART_STEPS / first.each
        own = remedies(shortest, max(self.best.epochs, shortest))[len(self.told) - 1]
        return replace(first, objective=own, first=False)

    def after(self, trained: Trained, training: Any) -> Starts:
        """With one more start: the one with the greater bound, or that still tells of the rows at the same bound."""
        mendable = isinstance(training.objective, Elbo) and training.objective.plain
        ended = trained.reason in ENDED
        if self.best is None and not (trained.collapsed and mendable and ended):
            return Starts(trained, over=True)
        params = training.placed(trained.params)
        trained = replace(trained, tight=training.bounds(params, training.checked, BOUND_DRAWS)[0])
        told, best = (*self.told, self._line(trained, training)), self._better(trained)
        cut = self.cut or (self.best is None and trained.reason == SUNK)
        done = self.last or trained.telling or not ended or len(told) > len(remedies(1.0, 1.0))
        last = done and not self.last and ended and cut and (best.telling or best.reason == SUNK)
        return Starts(best, told, cut, last, done and not last)

    def _line(self, trained: Trained, training: Any) -> str:
        """What is said of one more start."""
        tells = f"{trained.information:.2f} nats" if trained.telling else "nothing"
        if self.best is None:
            cut = f"cut short after {trained.num_steps} steps: " if trained.reason == SUNK else ""
            how = f"{cut}the laws of rows"
        else:
            words = "the first start, not cut short" if self.last else self.training(training).objective.words
            how = f"{words}: they"
        return (
            f"{how} tell {tells} of them, {trained.active} of {len(trained.each)} units active, bound of {BOUND_DRAWS} draws "
            f"{trained.tight.mean():.3f} nats a row"
        )

    def _better(self, trained: Trained) -> Trained:
        """Of the best so far and one more the one with the greater bound; within a standard error, the one that tells of the rows."""
        if self.best is None:
            return trained
        gain = trained.tight - self.best.tight
        noise = gain.std() / np.sqrt(len(gain))
        least = noise * (int(self.best.telling) - int(trained.telling))
        return trained if gain.mean() > least else self.best

    def ended(self) -> Trained:
        """The best, with what was found of all."""
        assert self.best is not None
        return replace(self.best, told=self.told)

    def arrays(self) -> dict[str, np.ndarray]:
        """All that the next start needs to know, by name."""
        if self.best is None:
            return {}
        numbers, arrays = self.best.split()
        own = {"told": self.told, "cut": self.cut, "last": self.last}
        words = {"numbers": np.array(json.dumps(numbers)), "starts": np.array(json.dumps(own))}
        return {f"{BEFORE}{key}": value for key, value in {**arrays, **words}.items()}

    @classmethod
    def of(cls, saved: Mapping[str, np.ndarray] | None) -> Starts:
        """From what `arrays` gave."""
        own = {k.removeprefix(BEFORE): v for k, v in (saved or {}).items() if k.startswith(BEFORE)}
        if not own:
            return cls()
        numbers, starts = (json.loads(str(own.pop(name))) for name in ("numbers", "starts"))
        return cls(Trained.joined(numbers, own), tuple(starts["told"]), starts["cut"], starts["last"])
