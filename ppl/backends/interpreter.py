"""The words of a declared model, run once: how every site gets its value, and what is recorded of it.

A backend fills in how its library lowers a law, makes arrays and loops. Models in a library's own language come to the
same `Run` by a handler of that library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import math
from ..distributions.bits import as_bits
from ..distributions.one_hot import as_one_hots
from ..running import Deciding, Node, Plates, Record, evident, is_discrete
from .wrappers import elements


@dataclass
class Run(Deciding):
    """What decides the value of every site.

    Parameters
    ----------
    latent : callable
        ``latent(name, fn) -> value`` for each latent site; with a third argument for one step of a loop of the model.
    record : Record
        Where the sites of this run are kept.
    fixed, intervened : mapping
        Values of conditioned and of intervened sites.
    weights : mapping or None
        Values of learnable arrays; None for their initial values.
    predict : callable or None
        ``predict(name, fn) -> value`` replaces observed values by new outcomes.
    scale : mapping
        Extra scale per plate.
    sizes : mapping
        Sizes of plates other than those that the model states.
    joint : bool
        Whether what depends on an outcome sees the predicted one and not the data.
    num_batch : int or None
        Number of batch axes, left of which discrete sites take all of their values.
    tilts : mapping
        Terms added to the log density of each value of a discrete site.
    whole : callable, optional
        ``whole(name, fn)`` for each latent site whose values were asked for step by step, once its law of all steps is
        known.
    stand_in : callable, optional
        ``stand_in(name, made, where)``: what the rest of the model sees of an outcome with masked missing values.
    kept : mapping
        Which elements of masked latent sites are quantities.
    inside : dict
        Roles of the sites in a library's own loops and branches.
    """

    latent: Callable
    record: Record
    fixed: Mapping = field(default_factory=dict)
    intervened: Mapping = field(default_factory=dict)
    weights: Mapping | None = None
    predict: Callable | None = None
    scale: Mapping = field(default_factory=dict)
    sizes: Mapping = field(default_factory=dict)
    joint: bool = False
    num_batch: int | None = None
    tilts: Mapping = field(default_factory=dict)
    whole: Callable | None = None
    stand_in: Callable | None = None
    kept: Mapping = field(default_factory=dict)
    inside: dict = field(default_factory=dict)

    def add(self, node: Node) -> None:
        """Record a site."""
        self.record.add(node, self.scale)

    def sample(self, name, fn, frames, evidence=None):
        """A site without data; of a discrete one `evidence` may say which elements are missing, and the others."""
        value, role = self.value_of(name, fn)
        term = self.term(name, fn) if role == "discrete" else None
        if term is not None and evidence is not None:
            term = evident(term, value, *evidence)
        self.add(Node(name, role, fn, value, None, frames, term=term))
        return value

    def param(self, name: str, init: Any) -> Any:
        """A learned array: what is given for it, or its initial value."""
        value = init if self.weights is None or name not in self.weights else self.weights[name]
        self.record.learn(name, value)
        return value

    def through(self, name: str, fn: Callable, values: Mapping[str, Any], inputs: tuple) -> Any:
        """What comes out of a module; a run that follows dependencies notes that it came through there."""
        return fn(values, *inputs)

    def observe(self, name, fn, value, frames, source=None, missing=None):
        """A site with data; what was drawn in its place where outcomes are predicted."""
        made = value if self.predict is None else self.predict(name, fn)
        self.add(Node(name, "observed", fn, made, None, frames, source=source, holes=missing))
        return made


class Words(Plates):
    """Interpreter of the declared language. A subclass fills in the methods of a library."""

    def lower(self, distribution: Any) -> Any:
        """The library's law of a declaration."""
        raise NotImplementedError

    def array(self, value: Any) -> Any:
        """An array of the library."""
        raise NotImplementedError

    def outcome(self, value: Any, whole: bool) -> Any:
        """Data as an array of the library; floating-point unless they may be `whole` numbers."""
        raise NotImplementedError

    def cast(self, value: Any, like: Any) -> Any:
        """An array with the type of another."""
        raise NotImplementedError

    def filled(self, value: Any, where: np.ndarray, part: Any) -> Any:
        """An array with other elements where it is missing."""
        raise NotImplementedError

    def missing_law(self, fn: Any, where: np.ndarray) -> Any:
        """The law of the missing elements of an observed array."""
        raise NotImplementedError

    def unit(self, value: Any) -> tuple[Any, Any]:
        """A term of the log density as a law, and the value that it is of."""
        raise NotImplementedError

    def network(self, name: str, net: Any) -> Any:
        """A module of the library as a network of the language."""
        raise NotImplementedError

    def param(self, name, init):
        return self.array(self.run.param(name, init))

    def through(self, name, fn, values, inputs):
        return self.run.through(name, fn, values, inputs)

    def given(self, name):
        known, size = self.run.weights or {}, len(name) + 1
        return {key[size:]: value for key, value in known.items() if key.startswith(f"{name}.")} or None

    def declare(self, name, network):
        self.run.record.declare(name, network)

    def declared(self, name):
        record, start = self.run.record, f"{name}."
        values = {
            k.removeprefix(start): self.array(v) for k, v in record.weights.items() if k.startswith(start)
        }
        return (record.modules[name], values) if name in record.modules and values else None

    @property
    def frames(self) -> tuple:
        """Name, axis from the right and size of the open plates."""
        return tuple((name, -1 - i, size) for i, (name, size) in enumerate(self.plates))

    def sample(self, name, distribution):
        made = self.lowered(name, as_bits(name, as_one_hots(distribution)), self.lower)
        return self.run.sample(name, self._in_plates(made), self.frames)

    def observe(self, name, distribution, value):
        declared = self.lowered(name, distribution, self.lower)
        fn = self._in_plates(declared)
        if value is None:
            made = self.run.predict(name, fn) if self.run.predict else self.run.probe(fn)
            self.run.add(Node(name, "predicted", fn, made, None, self.frames))
            return made
        self.check_plates(name, np.shape(value), len(fn.event_shape))
        self.check_outcome(name, value, declared.batch_shape, fn.event_shape)
        source, value = value, self.outcome(value, is_discrete(fn))
        where, imputed = self.missing(name, source)
        if where is None:
            made = self.run.observe(name, fn, value, self.frames, source=source)
            return made if self.run.joint else value
        if imputed and is_discrete(fn):
            return self._summed(name, fn, value, source)
        fn, value, where, rows = self._completed(name, fn, value, where, imputed)
        made = self.run.observe(name, fn, value, self.frames, source=source, missing=rows)
        if not imputed and self.run.stand_in is not None:
            return self.run.stand_in(name, made, where)
        return made if self.run.joint else value

    def _completed(self, name, fn, value, where, imputed):
        """Data without gaps, and their law: imputed, or masked; where they were, by element and by row."""
        own, num_axes = self.run.own_shape(fn), len(fn.event_shape)
        shape = np.broadcast_shapes(where.shape, (*own, *fn.event_shape))
        where, value = np.broadcast_to(where, shape), math.broadcast_to(value, shape)
        absent = self.array(where) if imputed else math.isnan(value)  # no constant: other gaps, same code
        each = None if imputed else elements(fn)
        rows = absent
        if num_axes:
            over = math.any if each is None else math.all
            rows = over(absent, axis=tuple(range(-num_axes, 0)))
        if imputed:
            return fn, self.filled(value, where, self._impute(name, fn, where)), where, rows
        first = (0,) * (len(fn.batch_shape) - len(own))  # of each discrete site that the law depends on
        rest = math.broadcast_to(self.run.probe(fn)[first], shape)
        value = self.cast(math.where(absent, self.cast(rest, value), value), rest)
        fn = fn.mask(~rows) if each is None else each.mask(~absent).to_event(num_axes)
        return fn, value, where, rows

    def _summed(self, name, fn, value, source):
        """A discrete site whose missing elements take all of their values, and whose others take theirs."""
        where = math.isnan(value)  # no constant: other gaps, same code
        known = self.run.codes(math.where(where, 0.0, value))
        site = self.record.name_for_missing(name)
        codes = self.run.sample(site, fn, self.frames, evidence=(where, known))
        # its density is that of the site of missing elements
        made = self.run.observe(name, fn.mask(False), known, self.frames, source=source, missing=where)
        return made if self.run.joint else math.where(where, self.run.codes(codes), known)

    def _impute(self, name, fn, where):
        """Values of a latent site for the missing elements; plates do not apply to it."""
        return self.run.sample(self.record.name_for_missing(name), self.missing_law(fn, where), ())

    def deterministic(self, name, value):
        self.run.add(Node(name, "deterministic", value=self.array(value), plates=self.frames))
        return value

    def factor(self, name, value, rows):
        value = self.array(value)
        self.check_plates(name, np.shape(value), 0, "a term")
        if self.plates:
            value = math.broadcast_to(value, np.broadcast_shapes(tuple(value.shape), self.plate_shape))
        elif rows is None and not self.record.discrete:
            value = value.sum()
        self.run.add(Node(name, "factor", *self.unit(value), None, self.frames, rows))

    def _in_plates(self, fn):
        """The law expanded to the plates around it."""
        batch = tuple(fn.batch_shape)
        shape = np.broadcast_shapes(batch, self.plate_shape) if self.plates else batch
        return fn if shape == batch else fn.expand(shape)
