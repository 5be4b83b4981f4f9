"""Which rows a fit reads: a view of its target. Evidence, verdicts and predictions are always those of all rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from ...guides import FullRank, MeanField
from ...guides.choose import Plan, choose
from ...guides.thresholds import FULL_RANK_LIMIT
from ...ppl.errors import GuideError, explain
from ..engines.anchored import stages
from ..engines.loop import Density
from ..evidence.finding import Finding
from ..thresholds import BATCH_SHARE, LARGEST_DENSE, MOST_BATCHES
from .blocks import Blocks, whole
from .minibatch import Batches


class View(Protocol):
    """What the ladder asks of the rows that are read.

    Attributes
    ----------
    rich : bool
        Whether any guide can be fitted, rather than independent coordinates alone.
    at_once : bool
        Whether one call reads all rows.
    """

    @property
    def rich(self) -> bool: ...

    @property
    def at_once(self) -> bool: ...

    def value_and_grad(
        self, target, z: np.ndarray, batch: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Log density of all rows and its gradient, counted on the target."""
        ...

    def engines(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The engines that fit on these rows in place of those that a family names."""
        ...

    def first(self, rng: np.random.Generator) -> View:
        """The rows on which starts are made."""
        ...


@dataclass(frozen=True)
class AllRows:
    """All rows at once."""

    rich = at_once = True

    def value_and_grad(self, target, z, batch=None):
        """See `View.value_and_grad`."""
        return target.value_and_grad(z, batch=batch)

    def engines(self, names):
        """See `View.engines`."""
        return names

    def first(self, rng):
        """See `View.first`."""
        return self


@dataclass(frozen=True, eq=False)
class BatchRows:
    """Batches of rows.

    Attributes
    ----------
    batches : Batches
    rich : bool
        Whether a guide richer than a mean-field one is fitted, so that every batch holds all coordinates.
    all : Blocks or None
        All rows in blocks that suit the cache; None where a batch holds some coordinates only.
    sizes : tuple of int
        Numbers of rows whose posteriors lead to that of all.
    """

    batches: Batches
    rich: bool
    all: Blocks | None
    sizes: tuple[int, ...] = ()

    at_once: ClassVar[bool] = False

    @classmethod
    def of(cls, batches: Batches, plan: Plan) -> BatchRows:
        """For a plan made by `planned`."""
        rich = plan.auto or plan.family.batches != MeanField.batches
        sizes = tuple(stages(batches.total, batches.size)) if rich else ()
        return cls(batches, rich, Blocks.of(batches) if whole(batches) else None, sizes)

    @property
    def num_batches(self) -> int:
        """Batches between two passes over all rows."""
        return min(self.batches.total // (BATCH_SHARE * self.batches.size), MOST_BATCHES)

    def value_and_grad(self, target, z, batch=None):
        """See `View.value_and_grad`: block by block, or a batch at a time where memory is short."""
        if self.all is not None:
            return self.counted(self.all, target, z)
        if self.batches.tight or self.batches.mapped:
            target.counter.num_gradients += len(z)
            target.counter.num_densities += len(z)
            return self.batches.value_and_grad(z)
        return target.value_and_grad(z, batch=batch)

    def engines(self, names):
        """See `View.engines`."""
        if not self.rich or names == MeanField.engines:
            return ("stochastic ascent",)
        if names[0] != "natural gradient":
            return names
        return ("tempered natural gradient", "anchored natural gradient", *names[1:])

    def first(self, rng):
        """See `View.first`: a few rows, where their posterior leads to that of all."""
        return SomeRows(self._few(self.sizes[0], rng), self) if self.sizes else self

    def few(self, target, size: int, rng: np.random.Generator) -> Density:
        """The density of some rows, one from each of as many stretches of equal length."""
        rows = self._few(size, rng)
        return lambda z: self.counted(rows, target, z)

    def _few(self, size: int, rng: np.random.Generator) -> Blocks:
        ends = np.arange(size + 1) * self.batches.total // size
        return Blocks(self.batches, rng.integers(ends[:-1], ends[1:]))

    def batch(self, target, rng: np.random.Generator) -> Density:
        """The density of a fresh batch that stands for all rows."""
        chosen = self.batches.sample(rng)[: self.batches.size]
        rows = Blocks(self.batches, chosen, self.batches.total / self.batches.size)
        return lambda z: self.counted(rows, target, z)

    def counted(self, rows: Blocks, target, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log density and gradient on some rows, counted as the share of all that they are."""
        target.counter.num_gradients += -(-len(z) * rows.num_rows // self.batches.total)
        return rows(z, target.weights)

    def findings(self) -> tuple[Finding, ...]:
        """What batches never reach."""
        if self.rich:
            return ()
        idle = {name: int((chance == 0).sum()) for name, (_, _, chance) in self.batches.groups.items()}
        return tuple(
            Finding(
                "no rows",
                name,
                float(count),
                0.0,
                "untrusted",
                f"{count} elements of plate '{name}' have no rows: batches never reach them, and they stay "
                "where they started. Leave them out of the levels, or fit on all rows.",
            )
            for name, count in idle.items()
            if count
        )


@dataclass(frozen=True, eq=False)
class SomeRows:
    """Some rows in place of all.

    Attributes
    ----------
    rows : Blocks
    whole : BatchRows
        Where they come from.
    """

    rows: Blocks
    whole: BatchRows

    rich, at_once = True, False

    def value_and_grad(self, target, z, batch=None):
        """See `View.value_and_grad`."""
        return self.whole.counted(self.rows, target, z)

    def engines(self, names):
        """See `View.engines`."""
        return names

    def first(self, rng):
        """See `View.first`."""
        return self


def planned(guide, batches: Batches) -> Plan:
    """The plan of a fit on minibatches.

    Raises
    ------
    GuideError
        For a guide that batches cannot reach.
    """
    dim, all_in_each = batches.full.dim, whole(batches)
    words = f"batches of {batches.size} rows of '{batches.rows}'"
    dense = dim <= LARGEST_DENSE
    if guide == "auto":
        if not all_in_each:
            return Plan(MeanField(), f"{words}, each with some of {dim} coordinates")
        if dim <= FULL_RANK_LIMIT:
            why = f"all {dim} coordinates in each: a dense covariance is affordable"
            return Plan(FullRank(), f"{words}, {why}")
        why = "a dense covariance is dear" if dense else "too many for a dense covariance"
        # a structured guide where the links allow it
        return Plan(FullRank() if dense else MeanField(), f"{words}, {dim} coordinates: {why}", auto=True)
    family = choose(guide, batches.full).family
    holds = {"any": True, "whole": all_in_each, "dense": all_in_each and dense}
    if holds.get(getattr(family, "batches", ""), False):
        return Plan(family, words)
    raise GuideError(
        explain(
            "guide",
            "'mean-field' with minibatches, or where each holds all coordinates 'structured', or up to "
            f"{LARGEST_DENSE} of them 'full-rank'",
            repr(guide),
            "use larger batches, fit on all rows for a richer guide, or leave it at its default",
        )
    )
