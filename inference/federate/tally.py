"""What a server knows of its sites: who is there, what each has said, and who is out and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..stream.told import Told
from ..thresholds import MOST_STRIKES
from .combine import combined, damped
from .messages import Evidence, Met


@dataclass(frozen=True, eq=False)
class Held:
    """What a site has said.

    Attributes
    ----------
    factor : Told
    evidence : Evidence
    sweep : int
        In which it was said.
    alone : Evidence
        What its first reply told: of its own rows alone, or with what others had said by then.
    """

    factor: Told
    evidence: Evidence
    sweep: int
    alone: Evidence


@dataclass(frozen=True, eq=False)
class Tally:
    """Where a federation stands.

    Attributes
    ----------
    nothing : Told
        Nothing said.
    met : mapping of str to Met
        Sites that have introduced themselves.
    held : mapping of str to Held
    out : mapping of str to str
        Sites that are asked no more, and why.
    strikes : mapping of str to int
        Tasks in a row to which there was no reply that could be used.
    flying : mapping of str to tuple
        Tasks that are not answered yet: number, and the sweep in which it was sent.
    number, sweep : int
        Of the last task and of the sweep.
    notes : tuple of (str, str)
        Replies that were refused: site and reason.
    rate : float
        Length of a step.
    """

    nothing: Told
    met: Mapping[str, Met]
    held: Mapping[str, Held] = field(default_factory=dict)
    out: Mapping[str, str] = field(default_factory=dict)
    strikes: Mapping[str, int] = field(default_factory=dict)
    flying: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    number: int = 0
    sweep: int = 0
    notes: tuple[tuple[str, str], ...] = ()
    rate: float = 1.0

    @property
    def live(self) -> list[str]:
        """Sites that are asked, in the order of their names."""
        return sorted(set(self.met) - set(self.out))

    @property
    def idle(self) -> list[str]:
        """Those that are not at work."""
        return [name for name in self.live if name not in self.flying]

    @property
    def rows(self) -> int:
        """Of all sites whose factors are held."""
        return sum(self.met[name].rows for name in self.held)

    @property
    def exact(self) -> bool:
        """Whether every factor is its site's likelihood."""
        return all(held.evidence.exact for held in self.held.values())

    @property
    def whole(self) -> bool:
        """Whether every site has said what it was asked last."""
        return not self.flying and all(name in self.held and not self.strikes.get(name) for name in self.live)

    def others(self, name: str) -> Told:
        """What all but one have said."""
        return combined([h.factor for k, h in sorted(self.held.items()) if k != name], self.nothing)

    @property
    def total(self) -> Told:
        """What all have said."""
        return self.others("")

    def sent(self, name: str) -> Tally:
        """With one more task on its way."""
        number = self.number + 1
        return replace(self, number=number, flying={**self.flying, name: (number, self.sweep)})

    def told(self, name: str, factor: Told, evidence: Evidence) -> Tally:
        """With a site's reply."""
        before = self.held.get(name)
        if before is not None and not evidence.exact:
            factor = damped(before.factor, factor, self.rate)
        alone = evidence if before is None else before.alone
        held = {**self.held, name: Held(factor, evidence, self.sweep, alone)}
        return replace(self.landed(name), held=held, strikes={**self.strikes, name: 0})

    def landed(self, name: str) -> Tally:
        """With no task of a site on its way."""
        return replace(self, flying={k: v for k, v in self.flying.items() if k != name})

    def struck(self, name: str, why: str) -> Tally:
        """With a reply that cannot be used; after several in a row the site is out."""
        if name not in self.live:
            return replace(self, notes=(*self.notes, (name, why)))
        count = self.strikes.get(name, 0) + 1
        found = replace(
            self.landed(name), notes=(*self.notes, (name, why)), strikes={**self.strikes, name: count}
        )
        return found.without(name, why) if count >= MOST_STRIKES else found

    def without(self, name: str, why: str) -> Tally:
        """Without a site: what remains is the posterior without its rows."""
        held = {k: v for k, v in self.held.items() if k != name}
        return replace(self.landed(name), held=held, out={**self.out, name: why})
