"""Log densities of outcomes of rows by each draw of the posterior."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...inference.posterior.classes import bound, target_of
from ...inference.posterior.posterior import Posterior, record_of
from .columns import Rows, Wanted
from .rowwise import complete, first_row
from .settings import Settings
from .thresholds import CLASS_DRAWS


@dataclass(frozen=True, eq=False)
class Densities:
    """Log densities of outcomes of one row, for each of several.

    Attributes
    ----------
    target : Target
        Of one row.
    z : numpy.ndarray, shape (S, dim)
    outcomes : mapping of str to numpy.ndarray
        A fitted row of each outcome's argument, which lacks nothing.
    arguments : mapping of str to str
        Of each outcome.
    """

    target: Any
    z: np.ndarray
    outcomes: dict[str, np.ndarray]
    arguments: dict[str, str]

    @classmethod
    def of(cls, posterior: Posterior, columns: tuple[Wanted, ...], settings: Settings) -> Densities:
        """Of a posterior with its program.

        Raises
        ------
        ElboroomError
            Where rows have latent quantities of their own.
        """
        record = record_of(posterior)
        leaves = record.program.leaves
        arguments = {k: str(site.argument) for k, site in record.observed.items() if site.argument in leaves}
        at = complete(record, {column.name for column in columns} | set(arguments.values()))
        outcomes = {k: np.asarray(leaves[k].value)[at : at + 1] for k in arguments.values()}
        named = {
            k: v if k not in record.program.labels else _named(record, k, v) for k, v in outcomes.items()
        }
        program = bound(record, {**first_row(record, columns), **named})
        target = target_of(record, program, "density of rows")
        chosen = np.unique(
            np.linspace(0, len(record.z) - 1, min(settings.draws, CLASS_DRAWS, len(record.z))).astype(int)
        )
        z = target.unconstrain({s.name: np.asarray(record.values[s.name])[chosen] for s in target.sites})
        return cls(target, z, outcomes, arguments)

    def fewer(self, count: int) -> Densities:
        """The same by some of the draws, evenly among all."""
        some = np.linspace(0, len(self.z) - 1, min(count, len(self.z))).astype(int)
        return replace(self, z=self.z[some])

    def at(self, rows: Rows) -> dict[str, np.ndarray]:
        """Log density of each outcome of rows, whose outcomes are among their columns, ``(S, N)``."""
        arrays = {name: value[:, None] for name, value in rows.arrays.items()}
        target = self.target
        found = target.density.per_row_each(self.z, arrays, target.data, target.weights)
        return {
            k: np.asarray(v, float).reshape(len(self.z), rows.count, -1).sum(-1) for k, v in found.items()
        }

    def of_classes(self, name: str, rows: Rows, count: int) -> np.ndarray:
        """Probabilities of the classes of an outcome, ``(S, N, K)``."""
        argument = self.arguments[name]
        others = {k: np.repeat(v, rows.count, 0) for k, v in self.outcomes.items() if k != argument}
        kind, out = self.outcomes[argument].dtype, []
        for k in range(count):
            given = {**others, **rows.arrays, argument: np.full(rows.count, k, kind)}
            out.append(np.exp(self.at(Rows(given, rows.inside, rows.count))[name]))
        return np.stack(out, -1)


def _named(record: Any, argument: str, codes: np.ndarray) -> np.ndarray:
    return np.asarray(record.program.labels[argument], object)[codes]
