"""What may be trusted of a row that is predicted: the worst of what all rows share, and of the groups that it is in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...inference.evidence.verdicts import ORDER
from ...inference.posterior.posterior import Posterior, record_of
from ...ppl.errors import ElboroomError
from ...ppl.rows import alignment, sizes_of
from .columns import Rows

NEW_GROUP = "a group that was not fitted: its own quantities come from their prior"
OUTSIDE = "outside of what the training data held"
MISFIT = "the model does not fit its data"


@dataclass(frozen=True, eq=False)
class RowVerdicts:
    """Verdicts of rows.

    Attributes
    ----------
    shared, reason : str
        Of what all rows share.
    groups : mapping of (numpy.ndarray, sequence of str)
        Of each argument that names groups: the place in `ORDER` of the worst of each group's quantities, and why.
    """

    shared: str
    reason: str
    groups: Mapping[str, tuple[np.ndarray, list[str]]] = field(default_factory=dict)

    @classmethod
    def of(cls, posterior: Posterior, fits: bool | None = None) -> RowVerdicts:
        """Of a posterior with its program, and whether its model fits the data."""
        record = record_of(posterior)
        verdicts, reasons = record.table["verdict"], record.table["reason"]
        ranks = np.array([0 if verdict is None else ORDER.index(verdict) for verdict in verdicts], int)
        groups, alone = {}, np.ones(len(ranks), bool)
        for argument, plate in _named_groups(record).items():
            several = _by_group(record, plate)
            worst_of = [int(some[np.argmax(ranks[some])]) for some in several if len(some)]
            if len(worst_of) == len(several) and several:
                alone[np.concatenate(several)] = False
                groups[argument] = (ranks[worst_of], [str(reasons[i]) for i in worst_of])
        shared, reason = posterior.verdict, f"the posterior is {posterior.verdict}"
        if shared == "trusted" and ranks[alone].any():
            shared, reason = "caution", "some quantities that rows may depend on are not trusted"
        if shared == "trusted" and fits is False:
            shared, reason = "caution", MISFIT
        return cls(shared, reason, groups)

    @classmethod
    def of_encoded(cls, fits: bool | None) -> RowVerdicts:
        """Of rows that each have evidence of their own."""
        return cls("caution", MISFIT) if fits is False else cls("trusted", "")

    def at(self, rows: Rows) -> tuple[list[str], list[str]]:
        """Verdict and reason of each row."""
        base = ORDER.index(self.shared)
        verdicts, reasons = [self.shared] * rows.count, [self.reason] * rows.count
        for argument, (ranks, why) in self.groups.items():
            for row, code in enumerate(rows.arrays[argument].tolist()):
                known = code < len(ranks)
                rank, words = (int(ranks[code]), why[code]) if known else (1, NEW_GROUP)
                if rank > max(base, ORDER.index(verdicts[row])):
                    verdicts[row], reasons[row] = ORDER[rank], words
        for row in np.flatnonzero(~rows.inside).tolist():
            if verdicts[row] == "trusted":
                verdicts[row], reasons[row] = "caution", OUTSIDE
        return verdicts, reasons


def with_few(answers: Sequence[dict[str, Any]], draws: int) -> list[dict[str, Any]]:
    """Answers of few draws, which are no better than *caution*, and say so."""
    words = f"of {draws} draws, as there was no time for more"
    lesser = {"degraded": True, "verdict": "caution", "reason": words}
    return [{**answer, **lesser, **_untrusted(answer)} for answer in answers]


def _untrusted(answer: dict[str, Any]) -> dict[str, Any]:
    return {k: answer[k] for k in ("verdict", "reason")} if answer.get("verdict") == ORDER[-1] else {}


def told(answer: dict[str, Any], verdict: str, reason: str, inside: bool) -> dict[str, Any]:
    """An answer with the worse of its own verdict and that of its row."""
    own = answer.get("verdict", verdict)
    if own is None or ORDER.index(own) >= ORDER.index(verdict):
        verdict, reason = own, answer.get("reason", reason)
    return {**answer, "verdict": verdict, "reason": reason, "in_range": inside}


def _named_groups(record: Any) -> dict[str, str]:
    """Arguments whose codes point into a plate."""
    try:
        program = record.program
        trace = program.trace(record.backend)
        _, into = alignment(trace, program.accesses(record.backend), sizes_of(trace))
    except (ElboroomError, NotImplementedError):
        return {}
    return {argument: plate for argument, plate in into.items() if argument in program.leaves}


def _by_group(record: Any, plate: str) -> list[np.ndarray]:
    """Positions in the table of the quantities of each element of a plate."""
    dims = {site.name: site.dims for site in record.sites}
    out: list[np.ndarray] = []
    start = 0
    for name, shape in record.shapes.items():
        positions = start + np.arange(int(np.prod(shape, dtype=int))).reshape(shape)
        start += positions.size
        own = dims.get(name, ())
        if plate in own and own.index(plate) < positions.ndim:
            parts = [part.ravel() for part in np.moveaxis(positions, own.index(plate), 0)]
            same = len(out) == len(parts)
            out = [np.concatenate(both) for both in zip(out, parts, strict=True)] if same else out or parts
    return out
