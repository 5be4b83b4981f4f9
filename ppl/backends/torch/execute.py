"""Run a model once and record its sites.

Declared models run on a light interpreter of their words; Pyro models under a single Pyro handler. Both leave
every decision about values to the same `Run`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.subsample_messenger import SubsampleMessenger

from ...data import Levels, holes, rebuild
from ...distributions.chain import MarkovChain
from ...enumeration import Discrete
from ...errors import DuplicateSiteError, ModelError, ShapeError, UnsupportedError, explain
from ...primitives import interpreting
from .arrays import Mixed
from .laws import Unit, feasible
from .lowering import lower
from .missing import Missing
from .namespace import asarray
from .provenance import scan
from .transforms import transform_to


@dataclass
class Node:
    """A recorded site."""

    name: str
    role: str
    fn: Any = None
    value: Any = None
    scale: Any = None
    plates: tuple = ()
    rows: str | None = None
    source: Any = None
    holes: Any = None
    term: Any = None

    @property
    def log_prob(self):
        """Log density per batch element, scaled."""
        value = self.fn.log_prob(self.value) if self.term is None else self.term
        return value if self.scale is None else self.scale * value


@dataclass
class Record:
    """Sites of one run, in program order."""

    nodes: dict[str, Node] = field(default_factory=dict)
    coords: dict[str, tuple] = field(default_factory=dict)
    weights: dict[str, Any] = field(default_factory=dict)
    discrete: list[Discrete] = field(default_factory=list)


@dataclass
class Run:
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

    def value_of(self, name, fn):
        """Value and role of a site without data."""
        if name in self.intervened:
            return asarray(self.intervened[name]), "intervened"
        if name in self.fixed:
            return asarray(self.fixed[name]), "fixed"
        if is_discrete(fn):
            return self.predict(name, fn) if self.predict else self.enumerate(name, fn), "discrete"
        if self.num_batch is not None and len(fn.batch_shape) > self.num_batch:
            raise UnsupportedError(
                explain(
                    f"site '{name}'",
                    "a continuous site whose law does not depend on a discrete one",
                    "one that does, so that it has a different law for each value",
                    "declare one continuous site per value, and choose between them by indexing",
                )
            )
        return self.latent(name, fn), "latent"

    def enumerate(self, name, fn):
        """All values of a discrete site, on an axis of their own."""
        check_finite(name, fn)
        if self.num_batch is None:
            return probe(fn)
        chain = is_chain(fn)
        values = torch.arange(chain.num_values) if chain else fn.enumerate_support(expand=False).reshape(-1)
        position, count = len(self.record.discrete), len(values)
        batch = tuple(fn.batch_shape) + ((chain.num_steps,) if chain else ())
        batch = batch[len(batch) - min(self.num_batch, len(batch)) :]
        move = torch.log(chain.transition_probs) if chain else None
        self.record.discrete.append(Discrete(name, position, count, batch, move))
        return values.reshape((count,) + (1,) * (position + self.num_batch)).long()

    def term(self, name, fn):
        """Log density of every value of a discrete site that is being summed out."""
        site = next((d for d in self.record.discrete if d.name == name), None)
        if site is None:
            return None
        lead = (site.count,) + (1,) * site.position
        pad = (1,) * (self.num_batch - len(site.batch_shape))
        if site.transition is not None:
            first = torch.log(is_chain(fn).initial_probs).reshape(lead + (1,) * self.num_batch)
            steps = torch.arange(site.batch_shape[-1]) == 0
            term = torch.where(steps, first, 0.0).broadcast_to(lead + pad + tuple(site.batch_shape))
        else:
            values = fn.enumerate_support(expand=False).reshape(lead + (1,) * self.num_batch)
            term = fn.log_prob(values)
        tilt = self.tilts.get(name)
        return term if tilt is None else term + tilt.reshape(lead + pad + tuple(site.batch_shape))

    def add(self, node: Node) -> None:
        """Record a site."""
        if node.name in self.record.nodes:
            raise DuplicateSiteError(
                explain(
                    f"site '{node.name}'",
                    "a name used once",
                    "a second site of the same name",
                    "rename one of the two",
                )
            )
        for plate, _, _ in node.plates:
            if plate in self.scale:
                extra = self.scale[plate]
                node.scale = extra if node.scale is None else node.scale * extra
        self.record.nodes[node.name] = node

    def sample(self, name, fn, frames, scale=None):
        """A site without data."""
        value, role = self.value_of(name, fn)
        term = self.term(name, fn) if role == "discrete" else None
        self.add(Node(name, role, fn, value, scale, frames, term=term))
        return value

    def observe(self, name, fn, value, frames, scale=None, source=None, missing=None):
        """A site with data; what was drawn in its place where outcomes are predicted."""
        made = value if self.predict is None else self.predict(name, fn)
        self.add(Node(name, "observed", fn, made, scale, frames, source=source, holes=missing))
        return made


def is_discrete(fn) -> bool:
    """Whether values are counts or codes."""
    return bool(getattr(fn.support, "is_discrete", False))


def is_chain(fn):
    """The declaration of a Markov chain, or None."""
    while isinstance(fn, (dist.ExpandedDistribution, dist.MaskedDistribution)):
        fn = fn.base_dist
    declared = getattr(fn, "declared", None)
    return declared if isinstance(declared, MarkovChain) else None


def count_values(fn) -> int:
    """Number of values of a discrete law."""
    chain = is_chain(fn)
    return chain.num_values if chain else len(fn.enumerate_support(expand=False))


def check_finite(name, fn):
    """Refuse a discrete latent site that cannot be summed out."""
    if is_chain(fn) is None and not (fn.has_enumerate_support and len(fn.event_shape) == 0):
        raise ModelError(
            explain(
                f"site '{name}'",
                "a continuous latent quantity, or a discrete one with a few single values",
                f"a discrete one ({type(fn).__name__}) that cannot be summed out",
                "use Categorical, Bernoulli or MarkovChain, or write the sum with er.math.logsumexp in er.factor",
            )
        )


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


class Words:
    """Interpreter of the declared language."""

    def __init__(self, run: Run, levels, axes: Mapping[str, tuple], missing):
        self.run, self.record, self._levels, self.axes = run, run.record, levels, axes
        self.missing = missing
        self.plates: list[tuple[str, int]] = []

    @staticmethod
    def asarray(value):
        """A constant of the model as a tensor: NumPy arrays do not stand beside tensors in operators."""
        return asarray(value)

    @property
    def frames(self):
        return tuple((name, -1 - i, size) for i, (name, size) in enumerate(self.plates))

    def sample(self, name, distribution):
        return self.run.sample(name, self._lower(name, distribution), self.frames)

    def observe(self, name, distribution, value):
        fn = self._lower(name, distribution)
        if value is None:
            made = self.run.predict(name, fn) if self.run.predict else probe(fn)
            self.run.add(Node(name, "predicted", fn, made, None, self.frames))
            return made
        source, value = value, asarray(value)
        if not is_discrete(fn) and not value.dtype.is_floating_point:
            value = value.to(torch.float64)
        events = len(fn.event_shape)
        self._check_plates(name, value, events)
        where, imputed = self.missing(name, source)
        rows = None
        if where is not None:
            shape = np.broadcast_shapes(where.shape, shape_of(fn))
            where, value = np.broadcast_to(where, shape), value.broadcast_to(shape)
            absent = torch.from_numpy(np.array(where)) if imputed else torch.isnan(value)
            rows = absent.any(-1) if events == 1 else absent.flatten(-events).any(-1) if events else absent
            if imputed:
                value = _filled(value, where, self._impute(name, fn, where))
            else:
                rest = probe(fn).broadcast_to(shape)
                value = torch.where(absent, rest.to(value.dtype), value).to(rest.dtype)
                fn = fn.mask(~rows)
        made = self.run.observe(name, fn, value, self.frames, source=source, missing=rows)
        if where is not None and not imputed and self.run.stand_in is not None:
            return self.run.stand_in(name, made, where)
        return made if self.run.joint else value

    def _impute(self, name, fn, where):
        """Values of a latent site for the missing elements; plates do not apply to it."""
        return self.run.sample(f"{name}_missing", Missing(fn, where), ())

    def deterministic(self, name, value):
        self.run.add(Node(name, "deterministic", value=asarray(value), plates=self.frames))
        return value

    def factor(self, name, value, rows):
        value = asarray(value)
        whole = rows is None and not self.plates and not self.record.discrete
        value = value.sum() if whole else value
        if self.plates:
            value = value.broadcast_to(torch.broadcast_shapes(value.shape, self._plate_shape()))
        self.run.add(Node(name, "factor", Unit(value), None, None, self.frames, rows))

    def levels(self, codes):
        return self._levels(codes)

    def scan(self, step, init, xs, length):
        return scan(step, init, xs, length)

    @contextmanager
    def plate(self, name, size, coords):
        labels = tuple(coords) if coords is not None else getattr(size, "labels", None) or self.axes.get(name)
        try:
            count = self.run.sizes.get(name, int(size))
        except Exception as error:
            raise ShapeError(
                explain(
                    f"plate '{name}'",
                    "a size known before compilation",
                    f"{type(size).__name__}",
                    "use len(column), er.levels(codes) or an integer argument",
                )
            ) from error
        if count < 1:
            raise ShapeError(
                explain(f"plate '{name}'", "at least one element", f"size {count}", "give it data")
            )
        if labels is not None and len(labels) != count:
            if coords is not None:
                raise ShapeError(
                    explain(
                        f"plate '{name}'",
                        f"{count} labels",
                        f"{len(labels)} in coords",
                        "give as many labels as elements",
                    )
                )
            labels = None
        if labels:
            self.record.coords[name] = tuple(labels)
        if any(name == open_name for open_name, _ in self.plates):
            raise DuplicateSiteError(
                explain(f"plate '{name}'", "a plate opened once", "itself inside itself", "rename one")
            )
        self.plates.append((name, count))
        try:
            yield np.arange(count)
        finally:
            self.plates.pop()

    def _plate_shape(self):
        return tuple(size for _, size in reversed(self.plates))

    def _check_plates(self, name, value, event_dim, what="data"):
        shape = tuple(np.shape(value))
        for depth, (plate, size) in enumerate(self.plates, start=1):
            axis = len(shape) - event_dim - depth
            if axis >= 0 and shape[axis] not in (1, size):
                raise ShapeError(
                    explain(
                        f"site '{name}' in plate '{plate}'",
                        f"{what} of size {size} on that axis",
                        f"shape {shape}",
                        "make the plate's size and the rows agree",
                    )
                )

    def _lower(self, name, distribution):
        validate = getattr(distribution, "validate", None)
        if validate is not None:
            validate(name)
        if not hasattr(distribution, "log_prob") and not hasattr(distribution, "params"):
            raise ModelError(
                explain(
                    f"site '{name}'",
                    "a distribution such as er.Normal(0, 1)",
                    f"{type(distribution).__name__}",
                    "pass the distribution itself",
                )
            )
        fn = lower(distribution)
        self._check_plates(name, np.empty(tuple(fn.batch_shape), dtype=bool), 0, "parameters")
        if self.plates:
            shape = torch.broadcast_shapes(fn.batch_shape, self._plate_shape())
            fn = fn if shape == fn.batch_shape else fn.expand(shape)
        return fn


def _filled(value, where, part):
    """`value` with `part` where it is missing; no data-dependent shapes."""
    place = np.zeros(where.shape, np.int64)
    place[where] = np.arange(int(where.sum()))
    return torch.where(torch.from_numpy(np.array(where)), part[torch.from_numpy(place)], value)


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
            if self.run.predict is not None:
                msg["value"] = self.run.predict(msg["name"], fn)
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
        else:
            mask = msg["mask"]
            if mask is not None:
                fn = fn.mask(mask)
            if msg["is_observed"]:
                source = msg["infer"].get("data", value)
                value = value if value.dtype.is_floating_point else value.to(torch.float64)
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


def _point(fn):
    """The `pyro.distributions.Delta` under a law's wrappers, or None."""
    while isinstance(fn, (dist.Independent, dist.ExpandedDistribution, dist.MaskedDistribution)):
        fn = fn.base_dist
    return fn if isinstance(fn, dist.Delta) else None


_lock = threading.RLock()


@contextmanager
def _whole_plates():
    """Let every plate see all of its elements: Pyro fixes a subsample before any handler can."""
    choose = SubsampleMessenger._subsample

    def whole(name, size=None, subsample_size=None, subsample=None, *args, **kwargs):
        if size is None:
            return choose(name, size, subsample_size, subsample, *args, **kwargs)
        return size, size, torch.arange(size)

    with _lock:
        SubsampleMessenger._subsample = staticmethod(whole)
        try:
            yield
        finally:
            SubsampleMessenger._subsample = staticmethod(choose)


def execute(program, leaves: Mapping[str, Any], run: Run) -> Record:
    """Run the model of `program` with `leaves` as its data under `run`.

    Parameters
    ----------
    program : Program
    leaves : mapping
        Label to tensor (traced) or object (static) for every argument.
    run : Run
    """
    record = run.record
    run.sizes = program.sizes
    arguments = rebuild(program.arguments, leaves)
    positional, keywords = program.model.call_arguments(arguments)

    def levels(codes):
        for label, leaf in leaves.items():
            if leaf is codes:
                known = program.leaves[label]
                if known.labels is not None:
                    return Levels(program.level_counts.get(label, len(known.labels)), known.labels)
                host = np.asarray(known.value)
                if host.dtype.kind in "iu":
                    return Levels(max(int(host.max()) + 1, program.level_counts.get(label, 0)))
        raise ModelError(
            explain(
                "er.levels",
                "a data argument of the model (strings, a category or zero-based codes)",
                f"{type(codes).__name__}",
                "call it on the argument itself, before computing with it",
            )
        )

    def missing(name, source):
        for label, leaf in leaves.items():
            if leaf is source:
                return holes(program.leaves[label].value), name in (program.imputed or ())
        return None, False

    floats = [x.dtype for x in leaves.values() if isinstance(x, torch.Tensor) and x.dtype.is_floating_point]
    precision = floats[0] if floats else torch.float64
    if program.model.language == "pyro":
        with Mixed(precision), _whole_plates(), Handler(run), pyro.validation_enabled(False):
            program.model.fn(*positional, **keywords)
    else:
        axes = {d: v for leaf in program.leaves.values() for d, v in leaf.dims.items() if v}
        with Mixed(precision), interpreting(Words(run, levels, axes, missing)):
            program.model.fn(*positional, **keywords)
    return record
