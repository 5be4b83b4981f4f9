"""Run a model once and record its sites.

Declared models run on a light interpreter of their words; Pyro models under a single Pyro handler. Both leave
every decision about values to the same `Run`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyro.distributions as dist
import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.subsample_messenger import SubsampleMessenger

from ...data import rebuild
from ...errors import ModelError, explain
from ...interpreter import interpreting
from ...running import Node, Record, is_discrete
from .. import interpreter
from ..networks import made_inside
from ..wrappers import base_of, mask_of
from .arrays import Mixed, unvalidated
from .laws import Unit, feasible
from .lowering import lower
from .masks import Part, visible
from .missing import Missing, filled
from .namespace import asarray
from .networks import network
from .odes import odeint
from .provenance import scan
from .transforms import transform_to


class Run(interpreter.Run):
    """What decides the value of every site, on PyTorch."""

    def constant(self, value, at=None):
        return asarray(value)

    def codes(self, value):
        return asarray(value).long()

    def probe(self, fn):
        return probe(fn)


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


class Words(interpreter.Words):
    """Interpreter of the declared language on PyTorch."""

    precision = torch.float64

    def asarray(self, value):
        """A constant of the model as a tensor: NumPy arrays do not stand beside tensors in operators, nor doubles in matrix products
        with singles."""
        made = asarray(value)
        return made.to(self.precision) if made.dtype is torch.float64 else made

    def lower(self, distribution):
        return lower(distribution)

    def array(self, value):
        return asarray(value)

    def outcome(self, value, whole):
        value = asarray(value)
        return value if whole or value.dtype.is_floating_point else value.to(torch.float64)

    def cast(self, value, like):
        return value.to(like.dtype)

    def filled(self, value, where, part):
        return filled(value, where, part)

    def missing_law(self, fn, where):
        return Missing(fn, where)

    def unit(self, value):
        return Unit(value), None

    def scan(self, step, init, xs, length):
        return scan(step, init, xs, length)

    def odeint(self, *equation):
        return odeint(*equation)

    def network(self, name, net):
        known = self.program.analyses.get("torch")
        earlier = None if known is None else known.modules.get(name)
        made = network(name, net)
        if isinstance(earlier, type(made)) and earlier.net is not net:
            raise made_inside(name)
        return made


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
                weight = Unit(msg["infer"]["weight"].log_density)
                self.run.add(Node(f"{name}_log_density", "factor", weight, None, scale, frames))
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
    choose = SubsampleMessenger._subsample  # noqa: SLF001  Pyro has no public name for it

    def whole(name, size=None, subsample_size=None, subsample=None, *args, **kwargs):
        if size is None:
            return choose(name, size, subsample_size, subsample, *args, **kwargs)
        return size, size, torch.arange(size)

    SubsampleMessenger._subsample = staticmethod(whole)  # type: ignore[method-assign]  # noqa: SLF001  as no setting of Pyro does
    try:
        yield
    finally:
        SubsampleMessenger._subsample = staticmethod(choose)  # type: ignore[method-assign]  # noqa: SLF001  as it was before


def execute(program, leaves: Mapping[str, Any], run: Run, draws=None) -> Record:
    """Run the model of `program` with `leaves` as its data under `run`.

    Parameters
    ----------
    program : Program
        Supplies the model, how it is called, and the sizes of plates.
    leaves : mapping
        Label to tensor (traced) or object (static) for every argument.
    run : Run
        Decides the value of every site, and keeps what is recorded.
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
        words = Words(run, program, leaves)
        words.precision = precision
        with Mixed(precision), interpreting(words):
            program.model.fn(*positional, **keywords)
    return run.record
