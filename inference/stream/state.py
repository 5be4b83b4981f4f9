"""Where a stream stands after its last batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..evidence.verdicts import worst
from ..thresholds import AUDIT_EVERY, CAUTION, MEAN, MORE_ROWS
from .grouped import Grouped
from .rows import Kept, Seen
from .told import Told


@dataclass(frozen=True, eq=False)
class Stream:
    """What a posterior hands on to the next batch.

    Attributes
    ----------
    told : Told or Grouped
        What all rows so far have said.
    model : Model
        Which carries it.
    kept : Kept
    seen : Seen
    num_updates : int
        Batches after the first.
    since : int
        Batches whose likelihood has been carried since all rows were last fitted together.
    drift : float
        Bound, to first order, on how far what was left over since then may have moved any mean, in posterior sds.
    fitted : int
        Rows that were last fitted together.
    agreed : bool
        Whether the last fit of all rows agreed with the chain of updates.
    faded : bool
        Whether some rows count less than others.
    when : float or None
        Time of the last batch, where times are given.
    worst : str
        The worst verdict of a fit that the chain rests on.
    """

    told: Told | Grouped
    model: Any
    kept: Kept
    seen: Seen
    num_updates: int = 0
    since: int = 0
    drift: float = 0.0
    fitted: int = 0
    agreed: bool = False
    faded: bool = False
    when: float | None = None
    worst: str = "trusted"

    @property
    def exact(self) -> bool:
        """Whether every likelihood so far was carried exactly."""
        return self.drift == 0.0

    @property
    def allowed(self) -> str:
        """The best verdict that a quantity may have."""
        if self.drift > CAUTION:
            return "untrusted"
        good = self.exact or (self.agreed and self.drift <= MEAN)
        return worst(["trusted" if good else "caution", self.worst])

    def due(self, count: int) -> bool:
        """Whether all rows, as many as that with the next batch, are to be fitted together."""
        doubtful = self.drift > MEAN or not self.agreed
        grown = doubtful and count >= MORE_ROWS * self.fitted
        return not self.exact and (grown or self.since >= AUDIT_EVERY)

    @property
    def words(self) -> str:
        """What the chain of updates has cost."""
        if self.exact:
            return f"the likelihoods of {self.since} batches are carried exactly"
        cost = f"what was left over of {self.since} batches may have moved means by up to {self.drift:.2f} sd"
        if self.worst != "trusted" and self.drift <= MEAN and self.agreed:
            return f"it rests on a fit that was {self.worst}"
        checked = "all rows, fitted together, last agreed" if self.agreed else "no fit of all rows has agreed"
        return f"{cost}, and {checked}"

    def faded_by(self, forget: float) -> Stream:
        """With less weight on all rows so far, each as much as `forget` of one."""
        if forget == 1.0:
            return self
        return replace(self, told=self.told.faded(forget), drift=forget * self.drift, faded=True)

    def heard(self, told: Told | Grouped, drift: float, verdict: str) -> Stream:
        """With one more batch's likelihood carried, on the draws of a fit of that verdict."""
        return replace(
            self,
            told=told,
            since=self.since + 1,
            drift=self.drift + drift,
            worst=worst([self.worst, verdict]),
        )
