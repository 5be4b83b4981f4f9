"""How many rows a fit takes at a time: all of them, batches, and smaller batches where memory runs out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...ppl.errors import GuideError, InferenceError, OutOfMemoryError, explain, in_short
from ...ppl.rows import sizes_of
from ..evidence.finding import Finding
from ..run.checkpoint import Checkpoint
from ..run.trail import Rung
from ..thresholds import FEWEST_ROWS, MADE, MEMORY_SHARE, TIGHT_BLOCKS
from .minibatch import Batches, Minibatch, automatic, available, longest, plate_of
from .view import planned


def at_first(target, guide, minibatch: Minibatch | None, kept: Checkpoint) -> Batches | None:
    """Batches as the user, an earlier run of the same fit or the machine's memory says; None for all rows."""
    if kept.rows is not None:  # as it was, on whichever machine it goes on
        plate, size = kept.rows["plate"], kept.rows["size"]
        if plate is None:
            return None
        tight = minibatch is None or bool(kept.rows["tried"])
        return replace(Batches.of(target, Minibatch(plate, size, _args(minibatch))), tight=tight)
    if minibatch is None:
        batches = automatic(target) if guide == "auto" else None
        kept.rows = _entry(None, 0, []) if batches is None else _entry(batches.rows, batches.size, [])
        return batches
    kept.rows = _entry(plate_of(target.trace, minibatch.plate), minibatch.size, [])
    try:
        return Batches.of(target, minibatch)
    except OutOfMemoryError as error:
        reason = in_short(error.__cause__ or error)
    return fewer(target, guide, minibatch, kept, reason)


def fewer(target, guide, minibatch: Minibatch | None, kept: Checkpoint, reason: str) -> Batches:
    """Smaller batches, after memory ran out with those of the checkpoint; what they led to is dropped.

    Raises
    ------
    OutOfMemoryError
        Where none is left to try.
    """
    assert kept.rows is not None
    target.release()
    plate, size, tried = kept.rows["plate"], kept.rows["size"], kept.rows["tried"]
    if plate is None:
        plate, size, smaller = _from_all(target, reason)
    else:
        smaller = size // 2
    while smaller >= FEWEST_ROWS:
        tried = [*tried, int(size)]
        try:
            batches = Batches.of(target, Minibatch(plate, smaller, _args(minibatch)))
            planned(guide, batches)
        except OutOfMemoryError as error:
            reason, size, smaller = in_short(error.__cause__ or error), smaller, smaller // 2
            continue
        except (GuideError, InferenceError) as error:
            where, expected = f"plate '{plate}'", f"room for {size} rows at a time"
            remedy = f"batches of {smaller} may fit, and were refused: {error}".rstrip(".")
            raise OutOfMemoryError(explain(where, expected, reason, remedy)) from None
        kept.again(_entry(plate, smaller, tried))
        return replace(batches, tight=True)
    raise _spent(target, plate, size, reason)


def _from_all(target, reason) -> tuple[str, int, int]:
    """The plate to take some rows of, how many it has, and how many to begin with."""
    plate = longest(target)
    if plate is None:
        raise OutOfMemoryError(
            explain(
                f"model '{target.program.name}'",
                "room for its data, or rows that can be taken some at a time",
                f"no plate with data in it, and {reason}",
                "declare the rows in a plate, so that minibatch=er.Minibatch('plate', size=...) can take some",
            )
        )
    size = sizes_of(target.trace)[plate]
    smaller = int(2 ** np.floor(np.log2(max(min(fitting(target, plate), size // TIGHT_BLOCKS), FEWEST_ROWS))))
    return plate, size, smaller if smaller < size else 0


def memory_finding(kept: Checkpoint) -> tuple[Finding, Rung] | None:
    """A finding and a line of the trail where memory ran out, None elsewhere."""
    if kept.rows is None or not kept.rows["tried"]:
        return None
    plate, size, tried = kept.rows["plate"], kept.rows["size"], kept.rows["tried"]
    words = (
        f"memory ran out with {', then '.join(map(str, tried))} rows of '{plate}' at a time; fitted on {size}"
    )
    advice = f"{words[0].upper()}{words[1:]}; the evidence is that of all rows. To begin there: "
    advice += f"minibatch=er.Minibatch('{plate}', size={size})."
    finding = Finding("out of memory", plate, float(size), float(tried[0]), "ok", advice)
    return finding, Rung("memory", "", reason=words)


def fitting(target, plate: str) -> int:
    """Rows of which a gradient takes a sixteenth of the share of the memory that it may."""
    return int((target.memory or available()) * MEMORY_SHARE / TIGHT_BLOCKS / bytes_per_row(target, plate))


def bytes_per_row(target, plate: str) -> float:
    """What a gradient makes of a row, by what it reads."""
    return target.dtype.itemsize * MADE * max(target.work / sizes_of(target.trace)[plate], 1.0)


def room_for_all(target, names: str) -> None:
    """Refuse to learn arrays, of these `names`, where a gradient over all rows would pass a share of the memory.

    Raises
    ------
    OutOfMemoryError
    """
    numbers = (target.memory or available()) * MEMORY_SHARE / target.dtype.itemsize / MADE
    if target.work > numbers:
        raise needs_all(names, f"{target.work:.3g} numbers, of which a gradient would take too much memory")


def needs_all(names: str, got: str) -> OutOfMemoryError:
    """Arrays, of these `names`, are learned on all rows at once, for which there is no room."""
    return OutOfMemoryError(
        explain(
            f"learned arrays '{names}'",
            "room for all rows at once, on which they are learned",
            got,
            "give them priors (er.sample, or prior= of er.module), which batches can follow; an encoder "
            "(guide=er.Amortized()), which trains them on batches; or fewer rows",
        )
    )


def _spent(target, plate, size, reason) -> OutOfMemoryError:
    one = bytes_per_row(target, plate)
    fits = int(np.clip(fitting(target, plate), 1, max(size // 2, 1)))
    return OutOfMemoryError(
        explain(
            f"plate '{plate}'",
            f"room for {size} rows at a time, about {size * one / 2**20:.3g} MB",
            reason,
            f"free memory that others hold, or fit on fewer: at {one:.3g} bytes a row, "
            f"minibatch=er.Minibatch('{plate}', size={fits}) takes about {fits * one / 2**20:.3g} MB",
        )
    )


def _args(minibatch):
    return () if minibatch is None else minibatch.args


def _entry(plate: str | None, size: int, tried: list) -> dict:
    return {"plate": plate, "size": int(size), "tried": tried}
