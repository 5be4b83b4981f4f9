"""``er.Canary``: a candidate beside what is live, on a share of the requests, until the evidence says which of the two is to stay."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from ...inference.evidence.finding import Finding
from ...inference.evidence.verdicts import ORDER
from ...ppl.errors import InferenceError, RegistryError, explain
from ..asked import check_level, is_number
from ..kept import read_record, write_record
from ..naming import LIVE
from ..registry import Registry
from ..thresholds import CANARY_LEVEL, CANARY_SLOWER, CANARY_UNTRUSTED
from .sequence import Arms

WHAT, NAME = "canary", "canary"
GO_ON, PROMOTE, ROLL_BACK, EXTEND = "go on", "promote", "roll back", "extend"
ENDS = PROMOTE, ROLL_BACK


@dataclass(frozen=True)
class Decision:
    """What the evidence says by now.

    Attributes
    ----------
    what : {"go on", "promote", "roll back", "extend"}
        Of which "extend" is "go on" after the planned hours.
    why : str
    ratio : float
        Loss of the candidate over that of what is live; NaN where that one's is not told from nought.
    """

    what: str
    why: str
    ratio: float = np.nan

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


@dataclass(eq=False)
class Canary:
    """A candidate on a share of the requests.

    Parameters
    ----------
    registry : Registry or path
    name : str
        Of a model.
    candidate : int
        A version of it, beside the one that ``live`` names.
    share : float
        Of the requests, by their keys: the same key always goes to the same version.
    hours : float
        Planned; what is not decided by then goes on, and is said to.
    margin : float
        By what share of the loss of what is live a candidate may be worse. One whose loss is above that is rolled back, one whose loss is
        below is promoted.
    shadow : bool
        Each request is answered by both, and only what is live is heard: see `see_both`.
    level : float
        Probability that a candidate which is no worse than the margin, and no slower than twice, is ever rolled back, however often one
        looks; and that one that is worse is promoted.

    Attributes
    ----------
    live : int
        The version that it is compared with: the one that was live at the beginning.

    Notes
    -----
    Losses are numbers of which less is better and whose mean matters: errors, or minus log scores. A request is one unit: of one with
    many rows give the mean. Requests are taken to be independent of each other; where one key asks thousands of times, that is
    not so, and limits are too narrow: give the mean of each key's hour then.

    References
    ----------
    Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (2024), Time-uniform central limit theory and asymptotic confidence sequences, Annals of
    Statistics 52.

    Raises
    ------
    InferenceError, RegistryError
        For what is no share, margin or level, a version that the registry does not have, or one that is live already.

    Examples
    --------
    >>> import elboroom as er
    >>> er.Canary("models", "risk", candidate=8, share=1.5)
    Traceback (most recent call last):
    ...
    elboroom.ppl.errors.InferenceError: share: expected a number above 0 and below 1, got 1.5. Correct it.
    """

    registry: Any
    name: str
    candidate: int
    share: float = 0.05
    hours: float = 24.0
    margin: float = 0.02
    shadow: bool = False
    level: float = CANARY_LEVEL
    clock: Callable[[], float] = field(default=time.time, repr=False)

    def __post_init__(self):
        _within("share", self.share, 1.0)
        _within("margin", self.margin, 1.0)
        _within("hours", self.hours, np.inf)
        check_level(self.level)
        if not isinstance(self.registry, Registry):
            self.registry = Registry(self.registry)
        self.version = self.registry.get(self.name, self.candidate)
        self.against = self.registry.get(f"{self.name}@{LIVE}")
        self.live, self.candidate = self.against.number, self.version.number
        if self.live == self.candidate:
            raise InferenceError(explain("candidate", f"a version of '{self.name}' beside the one that is live", f"{self.live}, which is", "give another"))  # fmt: skip
        self.begun = self.clock()
        share = 0.0 if self.shadow else self.share
        self.arms = {what: Arms(share) for what in ("losses", "seconds", "untrusted")}
        self.closed: Decision | None = None

    # -- requests --------------------------------------------------------------------------------------

    def mine(self, key: Any) -> bool:
        """Whether the candidate answers the request with a key, text or a whole number, while it is compared.

        Raises
        ------
        InferenceError
            For another key: a number that became 7.0 on its way through a table would go to the other version.
        """
        if not isinstance(key, (str, Integral)) or isinstance(key, bool):
            raise InferenceError(explain("key", "text or a whole number", repr(key)[:80], "pass it as route was given it, str(key) say"))  # fmt: skip
        words = f"{self.name}/{self.live}/{self.candidate}/{key}".encode()
        return int.from_bytes(hashlib.sha256(words).digest()[:8], "big") < self.share * 2**64

    def route(self, key: Any) -> int:
        """The version that answers the request with a key."""
        if self.closed is not None:
            return self.candidate if self.closed.what == PROMOTE else self.live
        return self.candidate if not self.shadow and self.mine(key) else self.live

    def see(self, keys: Any, losses: Any = None, seconds: Any = None, untrusted: Any = None) -> None:
        """Take in what became of requests.

        Parameters
        ----------
        keys : sequence
            Of requests, as `route` was given them.
        losses : array, shape (n,), optional
            Of each; NaN where it is not known yet: give it later, once.
        seconds : array, shape (n,), optional
            That each took.
        untrusted : array of bool or of shares, shape (n,), optional
            Whether its answer was *untrusted*, or how much of it.

        Raises
        ------
        InferenceError
            For arrays of another length, infinite losses, negative seconds, or a canary that is a shadow.
        """
        if self.shadow:
            raise InferenceError(
                explain("see", "a canary with a share of the requests", "a shadow", "call see_both")
            )
        mine = np.array([self.mine(key) for key in keys], bool)
        for what, values in _given(len(mine), losses=losses, seconds=seconds, untrusted=untrusted):
            known = ~np.isnan(values)
            self.arms[what] = self.arms[what].added(mine[known], values[known])

    def see_both(self, live: Any, candidate: Any, seconds: Any = None, untrusted: Any = None) -> None:
        """Take in what requests lost that both versions answered.

        Parameters
        ----------
        live, candidate : array, shape (n,)
            Losses of either; NaN where it is not known.
        seconds, untrusted : array, shape (2, n), optional
            What `see` takes of them, of what is live first.

        Raises
        ------
        InferenceError
            For arrays of different lengths, infinite losses, or a canary that is no shadow.
        """
        if not self.shadow:
            raise InferenceError(explain("see_both", "a canary that is a shadow", "one with a share of the requests", "call see, or give shadow=True"))  # fmt: skip
        count = np.size(candidate)
        self._pair("losses", _given(count, live=live, candidate=candidate))
        for what, both in (("seconds", seconds), ("untrusted", untrusted)):
            if both is not None:
                one, other = both
                self._pair(what, [*_given(count, **{what: one}), *_given(count, **{what: other})])

    def _pair(self, what: str, both: Any) -> None:
        """Numbers of the same requests by either, of what is live first, by their names."""
        (_, second), (_, first) = both
        known = ~(np.isnan(first) | np.isnan(second))
        self.arms[what] = self.arms[what].paired(first[known], second[known])

    # -- what follows ----------------------------------------------------------------------------------

    @property
    def decision(self) -> Decision:
        """What the evidence says by now."""
        return self.closed or self._fallen() or self._slower() or self._untrusted() or self._by_loss()

    def settle(self) -> Decision:
        """Do what the evidence says: promote the candidate, or send it no more requests and say so in the registry's log.

        Raises
        ------
        RegistryError
            Where another version is live by now, which it was not compared with; nothing is settled then.
        """
        decision = self.decision
        if self.closed is None and decision.what in ENDS:
            if decision.what == PROMOTE:
                _check_live(self)
                self.registry.promote(self.name, self.candidate, because=f"canary: {decision.why}")
            else:
                self.registry.tag(self.name, self.candidate, canary=f"rolled back: {decision.why}")
            self.closed = decision
        return decision

    @property
    def finding(self) -> Finding:
        """The decision, with what it rests on."""
        decision = self.decision
        verdict = {PROMOTE: "ok", ROLL_BACK: "misfit"}.get(decision.what, "caution")
        return Finding(
            NAME, self.name, decision.ratio, 1 + self.margin, verdict, f"Version {self.candidate}: {decision}"
        )

    def __str__(self) -> str:
        return str(self.finding)

    def _fallen(self) -> Decision | None:
        """Rolled back before any request: its own verdict is worse."""
        one, other = self.version, self.against
        if ORDER.index(one.verdict) > ORDER.index(other.verdict):
            return Decision(ROLL_BACK, f"it is {one.verdict}, version {self.live} is {other.verdict}.")
        if one.fits_data is False and other.fits_data is not False:
            return Decision(ROLL_BACK, f"it does not fit its data, version {self.live} does.")
        return None

    def _slower(self) -> Decision | None:
        arms = self.arms["seconds"]
        if arms.known and arms.limits(CANARY_SLOWER, self._level)[0] > 0:
            first, second = (arms.contrast(0.0)[0], arms.means[1] / arms.count)
            return Decision(
                ROLL_BACK, f"it takes {first * 1e3:.3g} ms a request, version {self.live} {second * 1e3:.3g}."
            )
        return None

    def _untrusted(self) -> Decision | None:
        arms = self.arms["untrusted"]
        if not arms.known:
            return None
        mean, _ = arms.contrast(1.0)
        if arms.limits(1.0, self._level)[0] > CANARY_UNTRUSTED:
            return Decision(
                ROLL_BACK, f"{mean:+.1%} of its answers are untrusted, beside those of version {self.live}."
            )
        return None

    def _by_loss(self) -> Decision:
        """By what either loses."""
        arms, late = self.arms["losses"], self.clock() - self.begun >= 3600 * self.hours
        wait = EXTEND if late else GO_ON
        if not arms.known:
            return Decision(
                wait, f"losses of {arms.first:.0f} requests of its own are known, which is too few."
            )
        usual = arms.means[1] / arms.count
        below, above = self._of_live()
        if below <= 0 <= above:
            return Decision(
                wait,
                f"the loss of version {self.live} ({usual:.3g}) is not told from nought: no margin is a share of it.",
            )
        weight = 1 + self.margin * np.sign(usual)
        mean, _ = arms.contrast(weight)
        ratio = (mean + weight * usual) / usual
        low, high = arms.limits(weight, self._level)
        lost = f"its loss is {(low + weight * usual) / abs(usual):.4g} to {(high + weight * usual) / abs(usual):.4g} of version {self.live}'s"
        lost += f", by {arms.first:.0f} requests of its own"
        if low > 0:
            return Decision(ROLL_BACK, f"{lost}: above the margin of {self.margin:.3g}.", ratio)
        if high < 0:
            return Decision(PROMOTE, f"{lost}: within the margin of {self.margin:.3g}.", ratio)
        more = arms.needed(weight, self._level) / arms.count * arms.first
        return Decision(
            wait, f"{lost}; if it stays as it is, {more:.3g} tell which side of the margin it is on.", ratio
        )

    def _of_live(self) -> tuple[float, float]:
        """What the loss of what is live is above, and below."""
        arms = self.arms["losses"]
        flipped = Arms(arms.share, arms.first, arms.second, arms.sums, arms.means[::-1], arms.squares[::-1])
        return flipped.limits(0.0, self._level)

    @property
    def _level(self) -> float:
        """Of each of the sequences that may roll it back."""
        return self.level / len(self.arms)

    # -- kept ------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write where it stands, as one JSON file.

        Raises
        ------
        InferenceError
            If it cannot be written.
        """
        asked = {
            k: getattr(self, k) for k in ("name", "candidate", "share", "hours", "margin", "shadow", "level")
        }
        record = {
            **asked,
            "live": self.live,
            "begun": self.begun,
            "arms": {k: v.as_record() for k, v in self.arms.items()},
        }
        closed = self.closed and {
            **asdict(self.closed),
            "ratio": self.closed.ratio if np.isfinite(self.closed.ratio) else None,
        }
        return write_record(path, WHAT, {**record, "closed": closed})

    @classmethod
    def load(cls, path: str | Path, registry: Any) -> Canary:
        """Go on where `save` was called; what was live then is what it is compared with.

        Raises
        ------
        InferenceError, RegistryError
            If there is no such file, it was changed, or another version is live by now and nothing is settled.
        """

        def made(record: dict[str, Any]) -> Canary:
            closed, live, begun, arms = (record.pop(k) for k in ("closed", "live", "begun", "arms"))
            out = cls.__new__(cls)
            out.registry = registry if isinstance(registry, Registry) else Registry(registry)
            out.clock, out.live, out.begun = time.time, live, begun
            for name, value in record.items():
                setattr(out, name, value)
            out.version, out.against = (
                out.registry.get(out.name, number) for number in (out.candidate, live)
            )
            out.arms = {name: Arms.of_record(one) for name, one in arms.items()}
            ratio = closed and (np.nan if closed["ratio"] is None else closed["ratio"])
            out.closed = closed and Decision(**{**closed, "ratio": ratio})
            return out

        out = read_record(path, WHAT, made, "give the file that Canary.save wrote")
        _check_live(out)
        return out


def _check_live(canary: Canary) -> None:
    """Refuse where another version is live than one that is not settled is compared with."""
    live = canary.registry.aliases(canary.name).get(LIVE)
    if canary.closed is None and live != canary.live:
        want, remedy = (
            f"version {canary.live}, which it is compared with",
            "begin another canary beside what is live",
        )
        raise RegistryError(explain(f"'{canary.name}@{LIVE}'", want, f"{live}", remedy))


def _within(what: str, value: Any, top: float) -> None:
    """Refuse what is no number in an open interval from nought."""
    if not is_number(value) or not 0 < value < top:
        want = "a number above 0" + (f" and below {top:g}" if np.isfinite(top) else "")
        raise InferenceError(explain(what, want, repr(value)[:80], "correct it"))


def _given(count: int, **values: Any):
    """What was given, by name, as arrays of a length."""
    for name, value in values.items():
        if value is None:
            continue
        array = np.asarray(value, float)
        if array.shape != (count,):
            raise InferenceError(
                explain(name, f"shape ({count},), a number for each request", f"{array.shape}", "correct it")
            )
        if np.isinf(array).any():
            remedy = "bound what one request may lose, for either version alike; NaN is what is not known yet"
            raise InferenceError(
                explain(name, "finite numbers, or NaN", f"{np.isinf(array).sum()} infinite", remedy)
            )
        if name == "seconds" and (array < 0).any():
            raise InferenceError(explain(name, "none below nought", f"{array.min():.3g}", "correct it"))
        yield name, array
