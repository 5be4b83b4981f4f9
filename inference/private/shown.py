"""What is shown of a private fit: nothing that knows a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...ppl.errors import DataError, explain
from ...ppl.rows import shrunk, sizes_of
from ..evidence.finding import Finding, Findings
from ..posterior.record import Record
from ..thresholds import FEWEST_PUBLIC, LARGEST_DENSE, NEARBY
from .accounting import Budget
from .asked import Private
from .units import Units

PRIVACY = "privacy"
"""Name of the finding that tells the budget, and of the setting that holds it."""


@dataclass(frozen=True, eq=False)
class Shown:
    """What stands in for the rows of a private fit.

    Attributes
    ----------
    target : Target
        Of public rows, or of made-up ones of which nothing is kept.
    public : bool
    left_out : frozenset of str
        Deterministic sites that would be those of made-up rows.
    """

    target: Any
    public: bool
    left_out: frozenset[str]

    @classmethod
    def of(cls, private: Private, units: Units, count: int | None = None) -> Shown:
        """Public rows where there are any, else as many that are nobody's, by default those of a unit.

        Raises
        ------
        DataError
            For public rows of another model, or without some argument.
        """
        full = units.full
        if private.public is None:
            return cls(nobodys(units, count or units.members.shape[1]), False, _by_rows(units))
        program = full.program.bind(**private.public)
        absent = {label.split(".")[0] for label in units.along} - set(private.public)
        if absent:
            got, remedy = f"none for {sorted(absent)}", "pass all that runs along the rows"
            raise DataError(explain("public of er.Private", f"data for {sorted(units.along)}", got, remedy))
        target = program.target(full.backend, full.dtype, full.device)
        if not same_latents(target, full, units.plate):
            got, remedy = "those of another number of groups", "give rows of the same groups"
            raise DataError(explain("public of er.Private", "rows of the same model", got, remedy))
        return cls(target, True, frozenset())

    def covariance(self, at: np.ndarray, sd: np.ndarray, units: Units) -> np.ndarray | None:
        """Covariance of the posterior near a point, were private rows like public ones; None where that is not known."""
        target, total = self.target, sizes_of(units.full.trace)[units.plate]
        count = sizes_of(target.trace).get(units.plate, 0)
        if not self.public or count < FEWEST_PUBLIC or target.dim > LARGEST_DENSE or target.trace.counts:
            return None
        around = np.diag(NEARBY * sd)
        slopes = target.value_and_grad(
            np.concatenate([at + around, at - around]), scale={units.plate: total / count}
        )[1]
        half = (slopes[target.dim :] - slopes[: target.dim]) / (2 * NEARBY * sd[:, None])
        precision = 0.5 * (half + half.T)
        if not np.isfinite(precision).all() or np.linalg.eigvalsh(precision).min() <= 0:
            return None
        return np.linalg.inv(precision)

    @property
    def size(self) -> int:
        """Rows of the longest plate."""
        return max(sizes_of(self.target.trace).values())

    def kept(self, record: Record, budget: Budget, labels: Mapping[str, tuple]) -> Record:
        """A record without what knows a row."""
        settings = {**record.settings, PRIVACY: budget.as_dict()}
        findings = Findings([told(budget), *([] if self.public else [unseen()]), *record.findings])
        record = replace(_without(record, self.left_out), settings=settings, findings=findings, outcome=None)
        blank: dict[str, Any] = {
            "data_fingerprint": "",
            "target": None,
            "observed_data": {},
            "constant_data": {},
        }
        if not self.public:
            blank |= {"program": None, "labels": dict(labels)}
        return replace(record, **blank)


def told(budget: Budget) -> Finding:
    """The budget, in words."""
    words = f"{budget}. Taken to be public: {', '.join(budget.public)}."
    if budget.seeded:
        words += " The noise is that of a seed: who has it can take the noise away."
    return Finding(PRIVACY, "fit", budget.epsilon, None, "ok", words)


def unseen() -> Finding:
    """That nothing could be checked."""
    words = (
        "Evidence, checks and pictures would show rows that are private: no quantity is trusted, and whether the model fits is "
        "not known. er.Private(public=…) takes rows of the same kind that need no protection."
    )
    return Finding("no public rows", "fit", None, None, "caution", words)


def same_latents(one: Any, other: Any, plate: str) -> bool:
    """Whether two targets have the same latent sites, but for the elements of a plate."""

    def layout(target: Any) -> dict[str, tuple]:
        return {
            s.name: tuple(None if dim == plate else n for dim, n in zip(s.dims, s.shape, strict=False))
            for s in target.trace.latents
        }

    return layout(one) == layout(other)


def nobodys(units: Units, count: int) -> Any:
    """The target of so many rows, its data those of nobody."""
    program, data = units.full.program, {}
    for label, value in units.nobody().items():
        data[label] = np.repeat(np.take(value, [0], units.along[label]), count, units.along[label])
        if (labels := program.leaves[label].labels) is not None:
            data[label] = np.asarray(labels, object)[data[label]]
    return shrunk(units.full, data, {units.plate: count}, {}, program.labels)


def _by_rows(units: Units) -> frozenset[str]:
    """Deterministic sites of rows, or that see some."""
    target = units.full
    access = target.program.accesses(target.backend)
    return frozenset(
        site.name
        for site in target.trace.by_role("deterministic")
        if units.plate in site.plates
        or any(s in units.along for part in access.get(site.name, {}).values() for s in part)
    )


def _without(record: Record, names: frozenset[str]) -> Record:
    """A record without some quantities."""
    if not names & set(record.values):
        return record
    owner = [name for name, shape in record.shapes.items() for _ in range(int(np.prod(shape, dtype=int)))]
    keep = [i for i, name in enumerate(owner) if name not in names]
    table = {
        k: [v[i] for i in keep] if isinstance(v, list) else np.asarray(v)[keep]
        for k, v in record.table.items()
    }
    values = {k: v for k, v in record.values.items() if k not in names}
    return replace(record, table=table, values=values)
