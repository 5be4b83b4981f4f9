"""Run a model once and record its sites.

Declared models run on a light interpreter of their words; Pyro models under a single Pyro handler. Both leave
every decision about values to the same `Run`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyro.distributions as dist
import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.subsample_messenger import SubsampleMessenger

from ...data import rebuild
from ...errors import ModelError, explain
from ...primitives import interpreting
from ...running import Deciding, Node, Plates, Record, evident, is_discrete
from ..wrappers import base_of, elements, mask_of
from .arrays import Mixed, unvalidated
from .laws import Unit, feasible
from .lowering import lower
from .masks import Part, visible
from .missing import Missing, filled
from .namespace import asarray
from .provenance import scan
from .transforms import transform_to


@dataclass
class Run(Deciding):
    """What decides the value of every site; see the JAX backend's handler for the parameters."""

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
    stand_in: Callable | None = None
    kept: Mapping = field(default_factory=dict)
    whole: Callable | None = None

    def constant(self, value, at=None):
        return asarray(value)

    def codes(self, value):
        return asarray(value).long()

    def probe(self, fn):
        return probe(fn)

    def add(self, node: Node) -> None:
        """Record a site."""
        self.record.add(node, self.scale)

    def sample(self, name, fn, frames, scale=None, evidence=None):
        """A site without data; of a discrete one `evidence` may say which elements are missing, and the others."""
        value, role = self.value_of(name, fn)
        term = self.term(name, fn) if role == "discrete" else None
        if term is not None and evidence is not None:
            term = evident(term, value, *evidence)
        self.add(Node(name, role, fn, value, scale, frames, term=term))
        return value

    def observe(self, name, fn, value, frames, scale=None, source=None, missing=None):
        """A site with data; what was drawn in its place where outcomes are predicted."""
        made = value if self.predict is None else self.predict(name, fn)
        self.add(Node(name, "observed", fn, made, scale, frames, source=source, holes=missing))
        return made


def shape_of(fn) -> tuple[int, ...]:
    """Batch and event axes of one value."""
    return tuple(fn.batch_shape) + tuple(fn.event_shape)


def probe(fn):
    """A value inside the support, without sampling."""
    support, shape = fn.support, shape_of(fn)
    if is_discrete(fn):
        low = getattr(support, "lower_bound", 0)
        return torch.zeros(shape, dtype=torch.int64) + (
            low.long() if isinstance(low, torch.Tensor) else int(low)
        )
    transform = transform_to(support)
    if len(shape) == 0 and support.event_dim == 0 and hasattr(support, "upper_bound"):
        return feasible(support, torch.zeros((), dtype=torch.float64))
    return transform(torch.zeros(tuple(transform.inverse_shape(torch.Size(shape))), dtype=torch.float64))


class Words(Plates):
    """Interpreter of the declared language."""

    @staticmethod
    def asarray(value):
        """A constant of the model as a tensor: NumPy arrays do not stand beside tensors in operators."""
        return asarray(value)

    @property
    def frames(self):
        return tuple((name, -1 - i, size) for i, (name, size) in enumerate(self.plates))

    def sample(self, name, distribution):
        return self.run.sample(name, self._in_plates(self.lowered(name, distribution, lower)), self.frames)

    def observe(self, name, distribution, value):
        declared = self.lowered(name, distribution, lower)
        fn = self._in_plates(declared)
        if value is None:
            made = self.run.predict(name, fn) if self.run.predict else probe(fn)
            self.run.add(Node(name, "predicted", fn, made, None, self.frames))
            return made
        self.check_plates(name, np.shape(value), len(fn.event_shape))
        self.check_outcome(name, value, declared.batch_shape, fn.event_shape)
        source, value = value, asarray(value)
        if not is_discrete(fn) and not value.dtype.is_floating_point:
            value = value.to(torch.float64)
        events = len(fn.event_shape)
        where, imputed = self.missing(name, source)
        rows = None
        if imputed and is_discrete(fn):
            return self._summed(name, fn, value, source, torch.from_numpy(np.array(where)))
        if where is not None:
            own = self.run.own_shape(fn)
            shape = np.broadcast_shapes(where.shape, (*own, *fn.event_shape))
            where, value = np.broadcast_to(where, shape), value.broadcast_to(shape)
            absent = torch.from_numpy(np.array(where)) if imputed else torch.isnan(value)
            flat = absent.flatten(-events) if events else absent[..., None]
            each = None if imputed else elements(fn)
            rows = flat.any(-1) if each is None else flat.all(-1)
            if imputed:
                value = filled(value, where, self._impute(name, fn, where))
            else:
                first = (0,) * (
                    len(fn.batch_shape) - len(own)
                )  # of each discrete site that the law depends on
                rest = probe(fn)[first].broadcast_to(shape)
                value = torch.where(absent, rest.to(value.dtype), value).to(rest.dtype)
                fn = fn.mask(~rows) if each is None else each.mask(~absent).to_event(events)
        made = self.run.observe(name, fn, value, self.frames, source=source, missing=rows)
        if where is not None and not imputed and self.run.stand_in is not None:
            return self.run.stand_in(name, made, where)
        return made if self.run.joint else value

    def _summed(self, name, fn, value, source, where):
        """A discrete site whose missing elements take all of their values, and whose others take theirs."""
        known = torch.where(where, 0.0, value).long()
        site = self.record.name_for_missing(name)
        codes = self.run.sample(site, fn, self.frames, evidence=(where, known))
        # its density is that of the site of missing elements
        made = self.run.observe(name, fn.mask(False), known, self.frames, source=source, missing=where)
        return made if self.run.joint else torch.where(where, codes.long(), known)

    def _impute(self, name, fn, where):
        """Values of a latent site for the missing elements; plates do not apply to it."""
        return self.run.sample(self.record.name_for_missing(name), Missing(fn, where), ())

    def deterministic(self, name, value):
        self.run.add(Node(name, "deterministic", value=asarray(value), plates=self.frames))
        return value

    def factor(self, name, value, rows):
        value = asarray(value)
        self.check_plates(name, np.shape(value), 0, "a term")
        whole = rows is None and not self.plates and not self.record.discrete
        value = value.sum() if whole else value
        if self.plates:
            value = value.broadcast_to(torch.broadcast_shapes(value.shape, self.plate_shape))
        self.run.add(Node(name, "factor", Unit(value), None, None, self.frames, rows))

    def scan(self, step, init, xs, length):
        return scan(step, init, xs, length)

    def _in_plates(self, fn):
        """The law expanded to the plates around it."""
        shape = torch.broadcast_shapes(fn.batch_shape, self.plate_shape) if self.plates else fn.batch_shape
        return fn if shape == fn.batch_shape else fn.expand(shape)


class Handler(Messenger):
    """The one handler of Pyro models."""

    def __init__(self, run: Run):
        super().__init__()
        self.run = run

    def _pyro_sample(self, msg):
        if isinstance(msg["fn"], dist.Unit):
            return
        fn = msg["fn"]
        point = _point(fn)
        if point is not None:
            given = msg["infer"].get("_deterministic", False) or msg["is_observed"]
            msg["infer"] = {**msg["infer"], "_deterministic": True, "weight": None if given else point}
            msg["value"], msg["done"] = point.v if msg["value"] is None else msg["value"], True
            return
        if msg["is_observed"]:
            msg["infer"] = {**msg["infer"], "data": msg["value"]}
            msg["fn"] = fn = _for_each(fn, msg["value"])
            if self.run.predict is not None:
                msg["value"] = self.run.predict(msg["name"], fn)
        elif msg["value"] is not None:  # given by a handler of the model, with its density
            msg["infer"] = {**msg["infer"], "role": "fixed"}
        elif msg["name"] in self.run.kept:
            part = Part(_masked(fn, msg["mask"]), self.run.kept[msg["name"]], probe(fn))
            value, role = self.run.value_of(msg["name"], part)
            msg["value"], msg["infer"] = (
                part.filled(value),
                {**msg["infer"], "role": role, "part": (part, value)},
            )
        else:
            msg["value"], role = self.run.value_of(msg["name"], fn)
            msg["infer"] = {**msg["infer"], "role": role}
        msg["done"] = True

    def _pyro_post_sample(self, msg):
        name, fn, value = msg["name"], msg["fn"], msg["value"]
        frames = tuple((f.name, f.dim, f.size) for f in msg["cond_indep_stack"] if f.vectorized)
        scale = msg["scale"]
        scale = None if isinstance(scale, (int, float)) and scale == 1 else scale
        if msg["infer"].get("_deterministic", False):
            self.run.add(Node(name, "deterministic", value=value, plates=frames))
            if msg["infer"].get("weight") is not None:
                term = Unit(msg["infer"]["weight"].log_density)
                self.run.add(Node(f"{name}_log_density", "factor", term, None, scale, frames))
        elif isinstance(fn, dist.Unit):
            self.run.add(Node(name, "factor", Unit(fn.log_factor), None, scale, frames))
        elif "part" in msg["infer"]:
            part, value = msg["infer"]["part"]
            self.run.add(Node(name, msg["infer"]["role"], part, value, scale))
        else:
            fn = _masked(fn, msg["mask"])
            if msg["is_observed"]:
                source = msg["infer"].get("data", value)
                value = value if value.dtype.is_floating_point else value.to(torch.float64)
                value = value if mask_of(fn) is None else visible(fn, value, probe(fn))
                self.run.add(Node(name, "observed", fn, value, scale, frames, source=source))
            else:
                role = msg["infer"]["role"]
                term = self.run.term(name, fn) if role == "discrete" else None
                self.run.add(Node(name, role, fn, value, scale, frames, term=term))

    def _pyro_param(self, msg):
        name = msg["name"]
        if self.run.weights is not None and name in self.run.weights:
            msg["value"] = asarray(self.run.weights[name])
        else:
            initial = msg["args"][1] if len(msg["args"]) > 1 else None
            if initial is None:
                raise ModelError(
                    explain(f"param '{name}'", "an initial value", "none", "give it in pyro.param")
                )
            msg["value"] = asarray(initial() if callable(initial) else initial).detach()
        msg["done"] = True

    def _pyro_post_param(self, msg):
        self.run.record.weights[msg["name"]] = msg["value"]


def _masked(fn, mask):
    return fn if mask is None else fn.mask(mask)


def _for_each(fn, value):
    """The law of several values where one is declared for all."""
    shape = tuple(value.shape[: max(value.ndim - len(fn.event_shape), 0)])
    try:
        both = np.broadcast_shapes(tuple(fn.batch_shape), shape)
    except ValueError:
        return fn
    return fn.expand(shape) if both == shape != tuple(fn.batch_shape) else fn


def _point(fn):
    """The `pyro.distributions.Delta` under a law's wrappers, or None."""
    fn = base_of(fn)
    return fn if isinstance(fn, dist.Delta) else None


@contextmanager
def _whole_plates():
    """Let every plate see all of its elements: Pyro fixes a subsample before any handler can."""
    choose = SubsampleMessenger._subsample

    def whole(name, size=None, subsample_size=None, subsample=None, *args, **kwargs):
        if size is None:
            return choose(name, size, subsample_size, subsample, *args, **kwargs)
        return size, size, torch.arange(size)

    SubsampleMessenger._subsample = staticmethod(whole)
    try:
        yield
    finally:
        SubsampleMessenger._subsample = staticmethod(choose)


def execute(program, leaves: Mapping[str, Any], run: Run, draws=None) -> Record:
    """Run the model of `program` with `leaves` as its data under `run`.

    Parameters
    ----------
    program : Program
    leaves : mapping
        Label to tensor (traced) or object (static) for every argument.
    run : Run
    draws : optional
        Random numbers for models that ask for them themselves: these come from PyTorch's stream.
    """
    run.sizes = program.sizes
    run.kept = {} if program.masks is None else program.masks.kept
    arguments = rebuild(program.arguments, leaves)
    positional, keywords = program.model.call_arguments(arguments)
    floats = [x.dtype for x in leaves.values() if isinstance(x, torch.Tensor) and x.dtype.is_floating_point]
    precision = floats[0] if floats else torch.float64
    if program.model.language == "pyro":
        with unvalidated(), Mixed(precision), _whole_plates(), Handler(run):
            program.model.fn(*positional, **keywords)
    else:
        with Mixed(precision), interpreting(Words(run, program, leaves)):
            program.model.fn(*positional, **keywords)
    return run.record
