"""What a partition may have cost, and the findings of a federation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..evidence.finding import Finding
from ..evidence.verdicts import SITES, worst
from ..thresholds import CAUTION, CONFLICT, KHAT_TRUSTED, MEAN, MOVED_LAST
from .tally import Tally


@dataclass(frozen=True, eq=False)
class Cost:
    """What stands between a federated posterior and that of all rows.

    Attributes
    ----------
    tally : Tally
    last : float
        How far the last sweep moved a mean, in sds, or a log sd.
    conflicts : mapping of str to float
        See `suspicion.conflicts`.
    """

    tally: Tally
    last: float
    conflicts: Mapping[str, float]

    @property
    def left(self) -> float:
        """Bound on the sd of what all sites' factors leave over: no mean moves by more sds, to first order."""
        return float(sum(h.evidence.left for h in self.tally.held.values()))

    @property
    def against(self) -> list[str]:
        """Sites that speak against the others."""
        few = CONFLICT / max(len(self.conflicts), 1)
        return sorted(name for name, p in self.conflicts.items() if p < few)

    def reasons(self) -> Iterator[tuple[str, str]]:
        """A verdict that no quantity exceeds, and why: as many as there are."""
        held = self.tally.held
        if self.last > MOVED_LAST:
            verdict = "caution" if self.last <= MEAN else "untrusted"
            yield verdict, f"the last sweep still moved it by {self.last:.2f} sd"
        if self.left > MEAN:
            verdict = "caution" if self.left <= CAUTION else "untrusted"
            yield verdict, f"what the factors of sites leave over may have moved means by {self.left:.2f} sd"
        for name, own in sorted(held.items()):
            e = own.evidence
            if e.verdict != "trusted":
                yield e.verdict, f"at site '{name}' the fit with its own rows is {e.verdict}"
            if not e.exact and not e.khat < KHAT_TRUSTED:
                yield (
                    "caution",
                    f"the factor of site '{name}' does not reach where its rows do (k̂ {e.khat:.2f})",
                )
            if e.modes or own.alone.modes:
                yield "untrusted", f"at site '{name}' there is more than one mode, and its factor is of one"
        for name in self.against:
            yield "caution", f"site '{name}' speaks against all others"

    def limit(self, _values: Any = None, _weights: np.ndarray | None = None) -> tuple[str, str]:
        """The best verdict that a quantity may have, and why."""
        found = list(self.reasons())
        verdict = worst(["trusted", *(v for v, _ in found)])
        why = next(
            (words for v, words in found if v == verdict), "the factors of all sites stand for their rows"
        )
        return verdict, f"{SITES}: {why}"

    def findings(self) -> list[Finding]:
        """What was seen of the sites and of their sum."""
        tally = self.tally
        verdict, why = self.limit()
        count = len(tally.held)
        words = (
            f"{count} sites with {tally.rows:,} rows, {tally.sweep} sweeps: {why.removeprefix(f'{SITES}: ')}."
        )
        if verdict != "trusted":
            words += " Fit all rows together where that can be, or a model in which sites differ."
        out = [Finding("partition", "fit", self.left, MEAN, "ok" if verdict == "trusted" else verdict, words)]
        for name, reason in sorted(tally.out.items()):
            rows = tally.met[name].rows if name in tally.met else None
            some = "its rows" if rows is None else f"its {rows:,} rows"
            words = f"{reason}. The posterior is without {some}."
            out.append(Finding("site", name, rows, None, "caution", words[0].upper() + words[1:]))
        for name, reason in tally.notes:
            if name not in tally.out:
                words = f"A reply was refused: {reason}. Later ones were taken."
                out.append(Finding("site", name, None, None, "ok", words))
        for name in self.against:
            words = (
                "What it says is not what all others say, by more than chance: its data may be in another unit or coded "
                "otherwise, or the sites differ in what the model takes for shared. Look there, or give sites effects of "
                "their own."
            )
            out.append(
                Finding("site conflict", name, self.conflicts[name], CONFLICT / count, "caution", words)
            )
        return out
