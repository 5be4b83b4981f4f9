"""Replies that cannot be what a site's rows say, and sites that speak against all others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...ppl.thresholds import QUOTED_LONG
from ..evidence.verdicts import ORDER
from ..stream.told import Frame, Told, placed
from ..thresholds import CONFLICT, LEAST_COMPARED, LEAST_TOLD, MOST_EFFECT, MOST_INFORMATION, NEGATIVE
from .combine import onto
from .hushed import Declared
from .messages import PARTS, Evidence, Met, Reply
from .tally import Tally


def refusal(reply: Reply, name: str, tally: Tally, declared: Declared) -> str | None:
    """Why a reply is not taken, or None.

    Parameters
    ----------
    reply : Reply
        As it was read.
    name : str
        Of the site that sent it.
    tally : Tally
        What was asked of it.
    declared : Declared
        The server's own prior.
    """
    checks = (_addressed, _of_the_model, _shaped, _possible)
    try:
        return next((why for check in checks if (why := check(reply, name, tally, declared))), None)
    except (TypeError, ValueError, AttributeError, KeyError):  # fields of kinds that no reply has
        return "a reply whose parts are of other kinds than they should be"


def _addressed(reply: Reply, name: str, tally: Tally, _declared: Any) -> str | None:
    if reply.site != name:
        return f"a reply in the name of '{str(reply.site)[:QUOTED_LONG]}'"
    asked = tally.flying.get(name)
    if asked is None or reply.number != asked[0]:
        return f"a reply to task {int(reply.number)}, which is not what it was asked: an old one again"
    rows = tally.met[name].rows
    return f"{reply.rows} rows, after it had said {rows}" if reply.rows != rows else None


def _of_the_model(reply: Reply, _name: str, _tally: Any, declared: Declared) -> str | None:
    other = declared.differs(reply.sites, np.asarray(reply.probe, float))
    return None if other is None else f"another model: {other}"


def _shaped(reply: Reply, _name: str, tally: Tally, _declared: Any) -> str | None:
    for part in PARTS:
        value, shape = reply.factor.get(part), getattr(tally.nothing, part).shape
        if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
            return f"a factor without numbers for its '{part}'"
        if value.shape != shape:
            return f"a factor whose '{part}' has shape {value.shape}, not {shape}"
        if not np.isfinite(value).all():
            return f"a factor whose '{part}' is not finite"
    return None


def _possible(reply: Reply, _name: str, _tally: Any, _declared: Any) -> str | None:
    if not (reply.factor["scale"] > 0).all():
        return "a factor in units that are none"
    quadratic = reply.factor["quadratic"]
    size = max(float(np.abs(quadratic).max(initial=0.0)), 1e-300)
    if np.abs(quadratic - quadratic.T).max(initial=0.0) > NEGATIVE * size:
        return "a precision that is not symmetric"
    if len(quadratic) and np.linalg.eigvalsh(quadratic).min() < -NEGATIVE * size:
        return "a precision that is negative in some direction"
    return None if _sound(reply.evidence) else "what cannot be as evidence"


def _sound(e: Evidence) -> bool:
    numbers = (e.left, e.moved)
    plain = isinstance(e.exact, bool) and isinstance(e.modes, bool) and e.verdict in ORDER
    return plain and all(isinstance(v, float) and math.isfinite(v) and v >= 0 for v in numbers)


def introduction(met: Met, claimed: Mapping[str, Any]) -> str | None:
    """Why an introduction is not taken, or None."""
    if not isinstance(met.site, str) or not met.site:
        return "no name"
    if met.site in claimed:
        return "a name that another site has"
    if isinstance(met.rows, bool) or not isinstance(met.rows, int) or met.rows < 1:
        return f"{met.rows!r} rows"[:QUOTED_LONG]
    sound = all(isinstance(v, list) for v in met.labels.values())
    sound &= all(isinstance(v, int) and v > 0 for v in met.counts.values())
    return None if sound else "labels or numbers of groups that are none"


def absurd(tally: Tally) -> dict[str, str]:
    """Sites whose factor no rows of that number could have led to, beside what a row tells at the others, and why."""
    if len(tally.held) < 2:
        return {}
    names = sorted(tally.held)
    centre = np.median([tally.held[n].factor.centre for n in names], 0)
    scale = np.median([tally.held[n].factor.scale for n in names], 0)
    moved = [onto(tally.held[n].factor, centre, scale) for n in names]
    rows = np.array([tally.met[n].rows for n in names], float)
    told = np.array([np.r_[np.diag(f.quadratic), np.abs(f.natural)] for f in moved])
    tells, told = told > LEAST_COMPARED, told / rows[:, None]
    found = {}
    for i, name in enumerate(names):
        ratio = _times_the_others(told, tells, i)
        if ratio > MOST_INFORMATION:
            found[name] = (
                f"a factor that says {ratio:.0e} times as much with each row as those of the others: no rows of that "
                "number could, unless its data are in another unit"
            )
            continue
        precision = np.diag(moved[i].quadratic)
        some = precision > 0
        effect = (moved[i].linear[some] ** 2 / precision[some]).max(initial=0.0) / rows[i]
        if effect > MOST_EFFECT:
            words = (
                f"a factor whose middle is {math.sqrt(effect):.0e} sds of a row away from that of the others"
            )
            found[name] = f"{words}: garbage, or data in another unit"
    return found


def _times_the_others(told: np.ndarray, tells: np.ndarray, own: int) -> float:
    """Largest ratio of what a row tells at one site to the median of the others that tell anything of a coordinate."""
    largest = 0.0
    for value, rest, some in zip(told[own], told.T, tells.T, strict=True):
        others = np.delete(rest, own)[np.delete(some, own)]
        if len(others):
            largest = max(largest, float(value / np.median(others)))
    return largest


def conflicts(tally: Tally, values: Mapping[str, np.ndarray], level: float = CONFLICT) -> dict[str, float]:
    """How probable a factor as far from what all others say, or farther, would be: of each site, to second order.

    The farthest site stays out of what is compared with the next ones where it is beyond chance: it would draw them all
    along. Of two sites none is the one that is wrong.

    Parameters
    ----------
    tally : Tally
        With what each site has said.
    values : mapping of numpy.ndarray
        Draws of the posterior.
    level : float
        Probability of calling some site one where there is none.
    """
    told = {name: _in_frame(held.factor, values) for name, held in sorted(tally.held.items())}
    dim = len(next(iter(told.values()))[0]) if told else 0
    slope, precision = np.zeros(dim), np.eye(dim)
    found: dict[str, float] = {}
    left, few = sorted(told), level / max(len(told), 1)
    while len(left) > 1:
        now = {name: _tail(told[name], slope, precision) for name in left}
        found |= now
        farthest = min(left, key=lambda name: now[name])
        if now[farthest] >= few or len(left) == 2:  # a pair
            break
        left.remove(farthest)
        slope, precision = slope - told[farthest][0], precision - told[farthest][1]
    return found


def _in_frame(factor: Told, values: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Slope at the middle of the draws and precision of a factor, where the draws have unit covariance."""
    x = (placed(factor.sites, values, 1)[0] - factor.centre) / factor.scale
    frame = Frame.of(x)
    linear, quadratic = frame.nearest(x, factor.of(values))
    back = np.linalg.pinv(frame.across)
    return back @ (linear - quadratic @ frame.mean), back @ quadratic @ back.T


def _tail(own: tuple[np.ndarray, np.ndarray], slope: np.ndarray, precision: np.ndarray) -> float:
    """Of the score of a factor at the middle of all others, which has mean zero where all say the same."""
    from scipy.stats import chi2

    rest = np.linalg.pinv(precision - own[1], hermitian=True)
    score = own[0] - own[1] @ rest @ (slope - own[0])
    values, vectors = np.linalg.eigh(own[1] + own[1] @ rest @ own[1])
    some = values > LEAST_TOLD
    far = ((vectors.T @ score)[some] ** 2 / values[some]).sum()
    return float(chi2.sf(far, max(int(some.sum()), 1)))
