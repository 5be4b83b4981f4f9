"""Log densities of outcomes of rows by each draw of the posterior."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...inference.posterior.classes import bound, target_of
from ...inference.posterior.posterior import Posterior, record_of
from ...ppl.errors import UnsupportedError, explain
from .columns import Rows, Wanted
from .rowwise import complete, first_row, lacking_nothing, some_rows
from .settings import Settings
from .thresholds import ALONE_DRAWS, ALONE_OFF, ALONE_ROWS, CLASS_DRAWS


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
        made = cls(target, z, outcomes, arguments)
        made.check_alone(record, columns)
        return made

    def check_alone(self, record: Any, columns: tuple[Wanted, ...]) -> None:
        """Refuse models whose rows see each other: of some of those that were fitted, together and one by one.

        Raises
        ------
        UnsupportedError
        """
        leaves, outcomes = (
            record.program.leaves,
            [k for k in self.outcomes if k not in {c.name for c in columns}],
        )
        names = [*(column.name for column in columns), *outcomes]
        rows = np.flatnonzero(np.broadcast_to(lacking_nothing(record, names), len(leaves[names[0]].value)))
        at = rows[np.unique(np.linspace(0, len(rows) - 1, min(ALONE_ROWS, len(rows))).astype(int))]
        if len(at) < 2:
            return
        values = {k: np.asarray(leaves[k].value)[at] for k in names}
        named = {
            k: _named(record, k, values[k]) if k in record.program.labels else values[k] for k in outcomes
        }
        whole = target_of(
            record, bound(record, {**some_rows(record, columns, at), **named}), "density of rows"
        )
        z = self.z[:ALONE_DRAWS]
        alone = replace(self, z=z).at(Rows(values, np.ones(len(at), bool), len(at)))
        for name, found in whole.per_row(z, data=whole.data).items():
            together = np.asarray(found, float).reshape(len(z), len(at), -1).sum(-1)
            if name in alone and not np.allclose(
                together, alone[name], rtol=ALONE_OFF, atol=ALONE_OFF, equal_nan=True
            ):
                want, got = (
                    "rows that do not see each other",
                    "another density of them together than one by one",
                )
                remedy = "compute what they share beforehand and pass it as an argument"
                raise UnsupportedError(explain(f"outcome '{name}'", want, got, remedy))

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
