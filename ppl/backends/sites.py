"""From what one run of a model recorded to its trace: sites with shapes, supports and plates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..centring import can_be_centred
from ..distributions import is_censored, measure_of
from ..enumeration import num_batch
from ..errors import ModelError, explain
from ..masks import Masks
from ..running import Node, Record, count_values, how_missing, is_discrete
from ..sites import ModelTrace, Site, axes, check_shape, check_support
from .wrappers import base_name, base_of, mask_of


@dataclass(frozen=True)
class Looks:
    """What tracing asks of a backend.

    Parameters
    ----------
    run : type
        Of `interpreter.Run`.
    execute : callable
        ``execute(program, run) -> Record``: one run without numbers, or at a point inside the supports.
    probe : callable
        ``probe(fn)``: a value inside the support of a law.
    constraint_of : callable
        ``constraint_of(support) -> Constraint``.
    unconstrained : callable
        ``unconstrained(fn, shape)``: shape of the coordinates of a value.
    computed : callable
        ``computed(scale)``: whether a parameter depends on a latent quantity.
    """

    run: Callable[..., Any]
    execute: Callable[[Any, Any], Record]
    probe: Callable[[Any], Any]
    constraint_of: Callable[[Any], Any]
    unconstrained: Callable[[Any, tuple], tuple]
    computed: Callable[[Any], bool]

    def latent(self, name, fn, at=None) -> Any:
        """A value inside the support of a latent site.

        Raises
        ------
        ModelError
            Where the support has no bijection to the reals.
        """
        try:
            return self.probe(fn)
        except NotImplementedError as error:
            raise ModelError(
                explain(
                    f"site '{name}'",
                    "a support with a bijection to the reals",
                    f"{fn.support}",
                    "choose another parametrisation",
                )
            ) from error

    def model_trace(self, record: Record, leaves: Mapping[str, Any], program) -> ModelTrace:
        """The trace, but for initial values of learnable arrays."""
        labels = {id(leaf): label for label, leaf in leaves.items() if leaf is not None}
        nodes = record.nodes
        return ModelTrace(
            tuple(self._site(node, labels, program) for node in nodes.values()),
            {**record.coords, **program.coords},
            missing={k: how_missing(n, program.imputed) for k, n in nodes.items() if n.holes is not None},
            counts={k: count_values(n.fn) for k, n in nodes.items() if n.role == "discrete"},
            masked=any(mask_of(n.fn) is not None for n in nodes.values()),
            repeated=tuple(k for k, n in nodes.items() if _repeated(n)),
            modules=dict(record.modules),
        )

    def _site(self, node: Node, labels, program) -> Site:
        fn = node.fn
        if node.role in {"deterministic", "factor"}:
            shape = tuple(np.shape(fn.log_factor if node.role == "factor" else node.value))
            plates, dims = axes(node, shape, 0, program)
            return Site(node.name, node.role, shape=shape, plates=plates, dims=dims)
        whole, event_dim = tuple(fn.batch_shape) + tuple(fn.event_shape), len(fn.event_shape)
        argument = labels.get(id(node.source)) if node.source is not None else None
        shape = tuple(np.shape(node.value)) if node.role == "observed" else whole
        if node.role == "observed":
            check_shape(node.name, whole, shape, argument)
        plates, dims = axes(node, shape, event_dim, program)
        constraint, name = self.constraint_of(fn.support), base_name(fn)
        if node.role == "observed" and argument is not None:
            check_support(node.name, argument, constraint, program.leaves[argument], name)
        latent = node.role == "latent"
        return Site(
            node.name,
            node.role,
            name,
            constraint.name,
            shape,
            event_dim,
            tuple(self.unconstrained(fn, shape)) if latent else (),
            plates,
            dims,
            is_discrete(fn),
            argument,
            constraint,
            latent and can_be_centred(fn, self.computed),
            joint=len(base_of(fn).event_shape),
            measure=measure_of(name, is_discrete(fn)),
            censored=is_censored(name),
        )

    def with_masks(self, program, found: ModelTrace, masks, again) -> ModelTrace:
        """The trace of a model of the library's own language, with what its masks hide.

        Parameters
        ----------
        program : Program
            Keeps what was found of its masks.
        found : ModelTrace
            Its sites, traced as if nothing were masked.
        masks : callable
            ``masks(found) -> Masks``, called where data or laws have any.
        again : callable
            Traces the model once more, elements that are no quantities left out.
        """
        if program.masks is None:
            program.masks = Masks()
            gaps = any(leaf.holes is not None for leaf in program.leaves.values())
            if gaps or found.masked:
                program.masks = masks(found)
        if program.masks.kept:
            found = replace(again(), demoted=found.demoted)
        return replace(found, hidden=program.masks.hidden)

    def with_tied(self, program, found: ModelTrace) -> ModelTrace:
        """The trace with the latent sites whose law has the axis of a discrete site."""
        if not found.counts:
            return found
        shapes = {s.name: s.shape for s in found.sites}
        names: list[str] = []

        def latent(name, fn, _at=None):
            extra = len(fn.batch_shape) - run.num_batch
            if extra <= 0:
                return self.latent(name, fn)
            names.append(name)
            return self.latent(name, fn)[(0,) * extra].reshape(shapes[name])

        run = self.run(latent, Record(), program.fixed, program.intervened, num_batch=num_batch(found))
        self.execute(program, run)
        return found.with_tied(names)


def _repeated(node: Node) -> bool:
    """Whether observed values are fewer than those that their law is of."""
    if node.role != "observed":
        return False
    whole = tuple(node.fn.batch_shape) + tuple(node.fn.event_shape)
    return np.prod(np.shape(node.value), dtype=int) < np.prod(whole, dtype=int)
