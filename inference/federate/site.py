"""What a site does: the posterior of its own rows beside what the others have said, and its factor of it.

The site's likelihood is replaced by the nearest function of the form that all can add up, see `elboroom.inference.stream.told`,
on draws of the posterior that has its own rows exactly and all others as they have told them. Where all sites' factors are
such, they are those of partitioned variational inference.

References
----------
Bui, Nguyen, Swaroop & Turner (2018), Partitioned variational inference, arXiv 1811.11206. Ashman et al. (2022), Partitioned
variational inference: a framework for probabilistic federated learning, arXiv 2202.12275.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ...ppl.model import Program
from ..evidence import psis
from ..fit import fit
from ..posterior.posterior import record_of
from ..posterior.record import Record
from ..stream.carrying import beside, carrying
from ..stream.prior import latent_values, log_likelihood
from ..stream.rows import along_rows
from ..stream.told import Carried, Shared, Told, placed
from .hushed import Declared, counted, shared
from .messages import Evidence, Met, Reply, Task, parts_of, read, to_bytes, told_of


class Beside:
    """What stands beside the prior of a program whose verdicts it does not limit."""

    def limit(self, _values: Any, _weights: Any = None) -> tuple[str, str]:
        """No limit."""
        return "trusted", ""


@dataclass(eq=False)
class Site:
    """Rows that stay where they are, and what answers for them.

    Parameters
    ----------
    name : str
        By which the others know it.
    program : Program
        The model with the rows of this site.
    backend : str, optional
        Where it computes.
    models : dict, optional
        What has been made of models, and is compiled once: sites of one process share it.

    Examples
    --------
    >>> import elboroom as er
    >>> from elboroom.inference.federate.messages import Met, Task, read, to_bytes
    >>> @er.model
    ... def level(y):
    ...     mu = er.sample("mu", er.Normal(0, 10))
    ...     with er.plate("row", len(y)):
    ...         er.observe("y", er.Normal(mu, 1), y)
    >>> read(Site("oslo", level([1.0, 2.0])).answer(to_bytes(Task(0))), Met)
    Met(site='oslo', rows=2, labels={}, counts={})
    """

    name: str
    program: Program
    backend: str = "jax"
    models: dict[Any, Any] = field(default_factory=dict)

    def answer(self, message: bytes) -> bytes:
        """The reply to a task, both as bytes.

        Raises
        ------
        DataError
            For bytes that are no task.
        """
        task = read(message, Task)
        return to_bytes(self._told(task) if task.number else self._met())

    @cached_property
    def rows(self) -> int:
        """How many it has."""
        _, count = along_rows(self.program, self.backend)
        outcomes = self.program.trace(self.backend).by_role("observed")
        return count or sum(int(np.prod(site.shape, dtype=int)) for site in outcomes)

    def _met(self) -> Met:
        labels = {name: list(known) for name, known in self.program.labels.items()}
        return Met(self.name, self.rows, labels, self._counted)

    @cached_property
    def _counted(self) -> dict[str, int]:
        return counted(self.program, self.backend)

    def _told(self, task: Task) -> Reply:
        program, declared = self._agreed(task.labels, task.counts)
        sites = declared.nothing.sites
        others = told_of(sites, task.others) if task.others else declared.nothing
        model = self._carrying(sites, others.dim)
        bound = beside(model, program, others.packed(), program.labels, program.level_counts)
        bound.carried = Beside()
        start = dict(task.start) or None
        found = record_of(fit(bound, start=start, progress=False, backend=self.backend, **task.options))
        factor, evidence = factored(sites, found)
        return Reply(
            self.name,
            task.number,
            self.rows,
            list(declared.sites),
            declared.probe,
            parts_of(factor),
            evidence,
        )

    def _agreed(self, labels: Mapping, counts: Mapping) -> tuple[Program, Declared]:
        """The program with the groups of all sites, and its prior; found once."""
        known = {name: tuple(own) for name, own in labels.items()}
        key = repr((sorted(known.items()), sorted(counts.items())))
        if key not in self._programs:
            program = self.program
            if known != program.labels or counts != self._counted:
                program = program.altered(labels=known, level_counts={**program.level_counts, **counts})
            shared(program, self.backend)  # which refuses what no message tells
            self._programs[key] = program, Declared.of(program, self.backend, self.models)
        return self._programs[key]

    @cached_property
    def _programs(self) -> dict[str, Any]:
        return {}

    def _carrying(self, sites: tuple[Carried, ...], size: int) -> Any:
        """The model that carries: one, so that it is compiled once."""
        model = self.program.model
        key = model, sites, size
        if key not in self.models:
            self.models[key] = carrying(model, Shared(sites, size))
        return self.models[key]


def factored(sites: tuple[Carried, ...], record: Record) -> tuple[Told, Evidence]:
    """A site's factor from the posterior of its own rows and what others said, and what it leaves over."""
    values = {s.name: np.asarray(latent_values(record)[s.name]) for s in sites}
    factor, left = Told.nothing(sites, values).heard(values, log_likelihood(record))
    exact = not left.any()
    moved, khat = (0.0, 0.0) if exact else replaced_by(placed(sites, values, 1)[0], -left)
    modes = any(f.name in MODES and f.verdict != "ok" for f in record.findings)
    return factor, Evidence(exact, float(left.std()), moved, khat, record.judgement, modes)


MODES = ("symmetry", "modes")
"""Findings that a posterior has more than one place."""


def replaced_by(x: np.ndarray, log_weights: np.ndarray) -> tuple[float, float]:
    """How far moments move where draws ``(S, D)`` are weighted: means in sds or log sds, the largest; and k̂ of the weights."""
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    sd = x.std(0)
    there = sd > 0
    mean = weights @ x
    spread = np.sqrt(weights @ (x - mean) ** 2)
    shift = np.abs(mean - x.mean(0))[there] / sd[there]
    wider = np.abs(np.log(spread[there] / sd[there]))
    return float(max(shift.max(initial=0.0), wider.max(initial=0.0))), float(
        psis.tail_indices(weights[None])[0]
    )
