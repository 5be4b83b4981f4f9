"""Run a model once under a single NumPyro handler and record its sites.

Latent values, observed values and plates are decided by the handler; the model itself is never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.distributions import biject_to, constraints
from numpyro.primitives import Messenger

from ...data import Levels, holes, rebuild
from ...distributions.chain import MarkovChain
from ...enumeration import Discrete
from ...errors import DuplicateSiteError, ModelError, ShapeError, UnsupportedError, explain
from ...primitives import interpreting
from .lowering import lower
from .missing import Missing


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


class Run(Messenger):
    """The handler.

    Parameters
    ----------
    latent : callable
        ``latent(name, fn) -> value`` for each latent site.
    record : Record
    fixed, intervened : mapping
        Values of conditioned and of intervened sites.
    weights : mapping
        Values of learnable arrays, or None for their initial values.
    predict : callable or None
        ``predict(name, fn) -> value`` replaces observed values by new outcomes.
    scale : mapping
        Extra scale per plate.
    joint : bool
        Whether what depends on an outcome sees the predicted one and not the data.
    num_batch : int or None
        Number of batch axes, left of which discrete sites take all of their values.
    tilts : mapping
        Terms added to the log density of each value of a discrete site.
    """

    def __init__(
        self,
        latent,
        record,
        fixed=None,
        intervened=None,
        weights=None,
        predict=None,
        scale=None,
        sizes=None,
        joint=False,
        num_batch=None,
        tilts=None,
    ):
        super().__init__()
        self.latent, self.record, self.predict = latent, record, predict
        self.fixed, self.intervened = fixed or {}, intervened or {}
        self.weights, self.scale, self.sizes = weights, scale or {}, sizes or {}
        self.stand_in, self.joint = None, joint
        self.num_batch, self.tilts = num_batch, tilts or {}

    def process_message(self, msg):
        kind, name = msg["type"], msg.get("name")
        if kind == "plate" and msg["value"] is None:
            size = self.sizes.get(name, msg["args"][0])
            msg["args"] = (size, size)
            msg["value"] = np.arange(size)
        elif kind == "param":
            if self.weights is not None and name in self.weights:
                msg["value"] = self.weights[name]
        elif kind == "sample" and msg["value"] is None and not isinstance(msg["fn"], dist.Unit):
            if msg["infer"].get("role") == "predicted":
                msg["value"] = self.predict(name, msg["fn"]) if self.predict else probe(msg["fn"])
                return
            msg["value"], role = self.value_of(name, msg["fn"])
            if role != "latent":
                msg["infer"] = {**msg["infer"], "role": role}
        elif kind == "sample" and msg["is_observed"] and not isinstance(msg["fn"], dist.Unit):
            if self.predict is not None:
                msg["infer"] = {**msg["infer"], "data": msg["value"]}
                msg["value"] = self.predict(name, msg["fn"])

    def value_of(self, name, fn):
        """Value and role of a site without data."""
        if name in self.intervened:
            return self.intervened[name], "intervened"
        if name in self.fixed:
            return self.fixed[name], "fixed"
        if fn.is_discrete:
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
        values = jnp.arange(chain.num_values) if chain else fn.enumerate_support(expand=False).ravel()
        position, count = len(self.record.discrete), len(values)
        batch = tuple(fn.batch_shape) + ((chain.num_steps,) if chain else ())
        batch = batch[len(batch) - min(self.num_batch, len(batch)) :]
        move = jnp.log(chain.transition_probs) if chain else None
        self.record.discrete.append(Discrete(name, position, count, batch, move))
        return values.reshape((count,) + (1,) * (position + self.num_batch))

    def _term(self, name, fn):
        """Log density of every value of a discrete site that is being summed out."""
        site = next((d for d in self.record.discrete if d.name == name), None)
        if site is None:
            return None
        lead = (site.count,) + (1,) * site.position
        pad = (1,) * (self.num_batch - len(site.batch_shape))
        if site.transition is not None:
            first = jnp.log(is_chain(fn).initial_probs)
            steps = jnp.arange(site.batch_shape[-1]) == 0
            first = first.reshape(lead + (1,) * self.num_batch)
            term = jnp.broadcast_to(jnp.where(steps, first, 0.0), lead + pad + site.batch_shape)
        else:
            values = jnp.reshape(jnp.arange(site.count), lead + (1,) * self.num_batch)
            values = fn.enumerate_support(expand=False).ravel()[values]
            term = fn.log_prob(values)
        tilt = self.tilts.get(name)
        return term if tilt is None else term + tilt.reshape(lead + pad + site.batch_shape)

    def postprocess_message(self, msg):
        kind, name = msg["type"], msg.get("name")
        if kind == "param":
            self.record.weights[name] = msg["value"]
            return
        if kind not in {"sample", "deterministic"}:
            return
        if name in self.record.nodes:
            raise DuplicateSiteError(
                explain(
                    f"site '{name}'",
                    "a name used once",
                    "a second site of the same name",
                    "rename one of the two",
                )
            )
        frames = tuple((f.name, f.dim, f.size) for f in msg.get("cond_indep_stack", ()))
        if kind == "deterministic":
            self.record.nodes[name] = Node(name, "deterministic", value=msg["value"], plates=frames)
            return
        scale = msg["scale"]
        for plate, _, _ in frames:
            if plate in self.scale:
                scale = self.scale[plate] if scale is None else scale * self.scale[plate]
        if isinstance(msg["fn"], dist.Unit):
            role = "factor"
        else:
            role = msg["infer"].get("role") or ("observed" if msg["is_observed"] else "latent")
        rows = msg["infer"].get("rows")
        term = self._term(name, msg["fn"]) if role == "discrete" else None
        source = msg["infer"].get("source", msg["value"]) if role == "observed" else None
        missing = msg["infer"].get("holes")
        self.record.nodes[name] = Node(
            name, role, msg["fn"], msg["value"], scale, frames, rows, source, missing, term
        )


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
    if is_chain(fn) is None and not (fn.has_enumerate_support and fn.event_dim == 0):
        raise ModelError(
            explain(
                f"site '{name}'",
                "a continuous latent quantity, or a discrete one with a few single values",
                f"a discrete one ({type(fn).__name__}) that cannot be summed out",
                "use Categorical, Bernoulli or MarkovChain, or write the sum with er.math.logsumexp in er.factor",
            )
        )


def transform_of(fn):
    """Bijection from the unconstrained space to the support of `fn`."""
    return biject_to(fn.support)


def probe(fn):
    """A value inside the support, without sampling."""
    support = fn.support
    if getattr(support, "is_discrete", False) or getattr(fn, "is_discrete", False):
        return jnp.zeros(fn.shape(), dtype=jnp.result_type(int)) + jnp.asarray(
            getattr(support, "lower_bound", 0), dtype=jnp.result_type(int)
        )
    if support is constraints.real:
        return jnp.zeros(fn.shape())
    transform = transform_of(fn)
    return transform(jnp.zeros(transform.inverse_shape(fn.shape())))


class Words:
    """Interpreter of the declared language on NumPyro."""

    def __init__(self, run: Run, levels: Callable[[Any], Levels], axes: Mapping[str, tuple], missing):
        self.run, self.record, self._levels, self.axes, self.sizes = run, run.record, levels, axes, run.sizes
        self.missing = missing
        self.plates: list[tuple[str, int]] = []

    def sample(self, name, distribution):
        return numpyro.sample(name, self._lower(name, distribution))

    def observe(self, name, distribution, value):
        fn = self._lower(name, distribution)
        if value is None:
            return numpyro.sample(name, fn, infer={"role": "predicted"})
        source, value = value, jnp.asarray(value)
        if not fn.is_discrete and jnp.issubdtype(value.dtype, jnp.integer):
            value = value.astype(jnp.result_type(float))
        self._check_plates(name, value, fn.event_dim)
        infer = {"source": source}
        where, imputed = self.missing(name, source)
        if where is not None:
            shape = np.broadcast_shapes(where.shape, fn.shape())
            where, value = np.broadcast_to(where, shape), jnp.broadcast_to(value, shape)
            absent = where if imputed else jnp.isnan(value)  # not a constant: other gaps, same compiled code
            infer["holes"] = absent.any(tuple(range(len(shape) - fn.event_dim, len(shape))))
            if imputed:
                value = value.at[where].set(self._impute(name, fn, where))
            else:
                rest = jnp.broadcast_to(probe(fn), shape)
                value = jnp.where(absent, rest, value).astype(rest.dtype)
                fn = fn.mask(~infer["holes"])
        made = numpyro.sample(name, fn, obs=value, infer=infer)
        if where is not None and not imputed and self.run.stand_in is not None:
            return self.run.stand_in(name, made, where)
        return made if self.run.joint else value

    def _impute(self, name, fn, where):
        """Values of a latent site for the missing elements; plates do not apply to it."""
        site = f"{name}_missing"
        part = Missing(fn, where)
        value, role = self.run.value_of(site, part)
        if site in self.record.nodes:
            raise DuplicateSiteError(
                explain(
                    f"site '{site}'", "a name left to the missing values", "a site of that name", "rename it"
                )
            )
        self.record.nodes[site] = Node(site, role, part, value)
        return value

    def deterministic(self, name, value):
        return numpyro.deterministic(name, value)

    def factor(self, name, value, rows):
        whole = rows is None and not self.plates and not self.record.discrete
        unit = dist.Unit(jnp.sum(jnp.asarray(value)) if whole else jnp.asarray(value))
        numpyro.sample(name, unit, obs=unit.sample(None), infer={"rows": rows})

    def levels(self, codes):
        return self._levels(codes)

    def scan(self, step, init, xs, length):
        return scan(step, init, xs, length)

    @contextmanager
    def plate(self, name, size, coords):
        labels = tuple(coords) if coords is not None else getattr(size, "labels", None) or self.axes.get(name)
        try:
            count = self.sizes.get(name, int(size))
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
        with numpyro.plate(name, count):
            self.plates.append((name, count))
            try:
                yield np.arange(count)
            finally:
                self.plates.pop()

    def _check_plates(self, name, value, event_dim, what="data"):
        shape = jnp.shape(value)
        for depth, (plate, size) in enumerate(self.plates, start=1):
            axis = len(shape) - event_dim - depth
            if axis >= 0 and shape[axis] not in (1, size):
                raise ShapeError(
                    explain(
                        f"site '{name}' in plate '{plate}'",
                        f"{what} of size {size} on that axis",
                        f"shape {tuple(shape)}",
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
        batch = tuple(fn.batch_shape)
        self._check_plates(name, np.empty(batch, dtype=bool), 0, "parameters")
        return fn


def scan(step, init, xs, length=None):
    """`elboroom.scan`: the first carry takes the shape and type that the steps give it."""
    xs = jax.tree_util.tree_map(jnp.asarray, xs)
    first = jax.tree_util.tree_map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), xs)
    carry = jax.eval_shape(lambda c, x: step(c, x)[0], init, first)
    init = jax.tree_util.tree_map(
        lambda value, like: jnp.broadcast_to(jnp.asarray(value, like.dtype), like.shape), init, carry
    )
    return jax.lax.scan(step, init, xs, length)


def execute(program, leaves: Mapping[str, Any], run: Run, key=None) -> Record:
    """Run the model of `program` with `leaves` as its data under `run`.

    Parameters
    ----------
    program : Program
    leaves : mapping
        Label to array (traced) or object (static) for every argument.
    run : Run
    key : jax key, optional
        Randomness for models that ask for it themselves.
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

    seed = numpyro.handlers.seed(rng_seed=jax.random.key(0) if key is None else key)
    with seed, run:
        if program.model.language == "numpyro":
            program.model.fn(*positional, **keywords)
        else:
            axes = {d: v for leaf in program.leaves.values() for d, v in leaf.dims.items() if v}
            with interpreting(Words(run, levels, axes, missing)):
                program.model.fn(*positional, **keywords)
    return record
