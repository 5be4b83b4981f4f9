"""Run a model once under a single NumPyro handler and record its sites.

Latent values, observed values and plates are decided by the handler; the model itself is never changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.primitives import Messenger

from ...data import rebuild
from ...primitives import interpreting
from ...running import Deciding, Node, Plates, Record, evident
from ...turns import running
from ..wrappers import elements
from .control import enter
from .lowering import lower
from .masks import Part
from .missing import Missing
from .transforms import transform_of


class Run(Deciding, Messenger):
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
    whole : callable, optional
        ``whole(name, fn)`` for each latent site whose values were asked for step by step (with a third argument of
        `latent`), once its law of all steps is known.
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
        whole=None,
    ):
        super().__init__()
        self.latent, self.record, self.predict = latent, record, predict
        self.fixed, self.intervened = fixed or {}, intervened or {}
        self.weights, self.scale, self.sizes = weights, scale or {}, sizes or {}
        self.stand_in, self.joint = None, joint
        self.num_batch, self.tilts = num_batch, tilts or {}
        self.whole = whole
        self.kept: dict = {}  # which elements of masked latent sites are quantities
        self.inside: dict = {}  # roles of the sites in NumPyro's loops and branches

    def process_message(self, msg):
        kind, name = msg["type"], msg.get("name")
        if kind == "plate" and msg["value"] is None:
            size = self.sizes.get(name, msg["args"][0])
            msg["args"] = (size, size)
            msg["value"] = jnp.arange(size)
        elif kind == "param":
            if self.weights is not None and name in self.weights:
                msg["value"] = self.weights[name]
        elif kind == "control_flow":
            enter(self, msg)
        elif kind == "sample" and not isinstance(msg["fn"], dist.Unit):
            self._decide(msg, name)

    def _decide(self, msg, name):
        self.expand(msg)
        if msg.get("_control_flow_done"):
            self._come_out(msg, name)
        elif msg["value"] is None and name in self.kept:
            part = Part(msg["fn"], self.kept[name], probe(msg["fn"]))
            value, role = self.value_of(name, part)
            msg["value"], msg["infer"] = (
                part.filled(value),
                {**msg["infer"], "role": role, "part": (part, value)},
            )
        elif msg["value"] is None:
            if msg["infer"].get("role") == "predicted":
                msg["value"] = self.predict(name, msg["fn"]) if self.predict else probe(msg["fn"])
                return
            msg["value"], role = self.value_of(name, msg["fn"])
            if role != "latent":
                msg["infer"] = {**msg["infer"], "role": role}
        elif not msg["is_observed"]:  # substituted: a value that is given, with its density
            msg["infer"] = {**msg["infer"], "role": "fixed"}
        else:
            if "source" not in msg["infer"]:  # NumPyro's own word
                msg["fn"] = _for_each(msg["fn"], msg["value"])
            if self.predict is not None:
                msg["value"] = self.predict(name, msg["fn"])

    def _come_out(self, msg, name):
        """A site of a loop or a branch, which has its values: of all steps, with the laws of all."""
        role = self.inside.get(name, "observed" if msg["is_observed"] else "fixed")
        if role == "latent" and self.whole is not None:
            self.whole(name, msg["fn"])
        if role != "observed":
            msg["infer"] = {**msg["infer"], "role": role}

    @staticmethod
    def expand(msg):
        """Give a law the axes that ``sample_shape`` asks for, as a plate does."""
        shape = msg["kwargs"].get("sample_shape", ())
        if shape and msg["value"] is None:
            msg["fn"] = msg["fn"].expand((*shape, *msg["fn"].batch_shape))
            msg["kwargs"] = {**msg["kwargs"], "sample_shape": ()}

    def constant(self, value, at=None):
        return value if at is None else jnp.asarray(value)[at]

    def codes(self, value):
        return jnp.asarray(value)

    def probe(self, fn):
        return probe(fn)

    def postprocess_message(self, msg):
        kind, name = msg["type"], msg.get("name")
        if kind == "param":
            self.record.weights[name] = msg["value"]
            return
        if kind not in {"sample", "deterministic"}:
            return
        if "part" in msg.get("infer", ()):
            part, value = msg["infer"]["part"]
            self.record.add(Node(name, msg["infer"]["role"], part, value, msg["scale"]), self.scale)
            return
        frames = tuple((f.name, f.dim, f.size) for f in msg.get("cond_indep_stack", ()))
        if kind == "deterministic":
            self.record.add(Node(name, "deterministic", value=msg["value"], plates=frames), self.scale)
            return
        if isinstance(msg["fn"], dist.Unit):
            role = "factor"
        else:
            role = msg["infer"].get("role") or ("observed" if msg["is_observed"] else "latent")
        rows = msg["infer"].get("rows")
        term = self.term(name, msg["fn"]) if role == "discrete" else None
        if term is not None and "evidence" in msg["infer"]:
            term = evident(term, msg["value"], *msg["infer"]["evidence"])
        source = msg["infer"].get("source", msg["value"]) if role == "observed" else None
        missing = msg["infer"].get("holes")
        node = Node(name, role, msg["fn"], msg["value"], msg["scale"], frames, rows, source, missing, term)
        self.record.add(node, self.scale)


def _for_each(fn, value):
    """The law of several values where one is declared for all."""
    shape = jnp.shape(value)[: max(jnp.ndim(value) - fn.event_dim, 0)]
    try:
        both = np.broadcast_shapes(fn.batch_shape, shape)
    except ValueError:
        return fn
    return fn.expand(shape) if both == shape != tuple(fn.batch_shape) else fn


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


_MOVING = {
    "gather",
    "slice",
    "squeeze",
    "reshape",
    "broadcast_in_dim",
    "transpose",
    "rev",
    "copy",
    "convert_element_type",
}
"""Operations whose results are elements of their first argument."""


class Words(Plates):
    """Interpreter of the declared language on NumPyro."""

    def opened(self, name, size):
        return numpyro.plate(name, size)

    def moved_from(self, value):
        made = getattr(value, "parent", None)  # of a tracer: the operation that made it, where JAX keeps it
        if getattr(getattr(made, "primitive", None), "name", None) not in _MOVING:
            return None
        return next(iter(getattr(made, "in_tracers", ())), None)

    def sample(self, name, distribution):
        return numpyro.sample(name, self.lowered(name, distribution, lower))

    def observe(self, name, distribution, value):
        fn = self.lowered(name, distribution, lower)
        if value is None:
            return numpyro.sample(name, fn, infer={"role": "predicted"})
        self.check_plates(name, jnp.shape(value), fn.event_dim)
        self.check_outcome(name, value, fn.batch_shape, fn.event_shape)
        source, value = value, jnp.asarray(value)
        if not fn.is_discrete and jnp.issubdtype(value.dtype, jnp.integer):
            value = value.astype(jnp.result_type(float))
        infer = {"source": source}
        where, imputed = self.missing(name, source)
        if imputed and fn.is_discrete:
            return self._summed(name, fn, source, where)
        if where is not None:
            own = self.run.own_shape(fn)
            shape = np.broadcast_shapes(where.shape, (*own, *fn.event_shape))
            where, value = np.broadcast_to(where, shape), jnp.broadcast_to(value, shape)
            absent = where if imputed else jnp.isnan(value)  # not a constant: other gaps, same compiled code
            events = tuple(range(len(shape) - fn.event_dim, len(shape)))
            each = None if imputed else elements(fn)
            infer["holes"] = absent.any(events) if each is None else absent.all(events)
            if imputed:
                value = value.at[where].set(self._impute(name, fn, where))
            else:
                first = (0,) * (
                    len(fn.batch_shape) - len(own)
                )  # of each discrete site that the law depends on
                rest = jnp.broadcast_to(probe(fn)[first], shape)
                value = jnp.where(absent, rest, value).astype(rest.dtype)
                fn = fn.mask(~infer["holes"]) if each is None else each.mask(~absent).to_event(fn.event_dim)
        made = numpyro.sample(name, fn, obs=value, infer=infer)
        if where is not None and not imputed and self.run.stand_in is not None:
            return self.run.stand_in(name, made, where)
        return made if self.run.joint else value

    def _summed(self, name, fn, source, where):
        """A discrete site whose missing elements take all of their values, and whose others take theirs."""
        known = jnp.where(where, 0, jnp.asarray(source)).astype(jnp.result_type(int))
        site = self.record.name_for_missing(name)
        codes = numpyro.sample(site, fn, infer={"evidence": (where, known)})
        infer = {"source": source, "holes": where}  # its density is that of the site of missing elements
        made = numpyro.sample(name, fn.mask(False), obs=known, infer=infer)
        return made if self.run.joint else jnp.where(where, codes, known)

    def _impute(self, name, fn, where):
        """Values of a latent site for the missing elements; plates do not apply to it."""
        site = self.record.name_for_missing(name)
        part = Missing(fn, where)
        value, role = self.run.value_of(site, part)
        self.record.add(Node(site, role, part, value), {})
        return value

    def deterministic(self, name, value):
        return numpyro.deterministic(name, value)

    def factor(self, name, value, rows):
        self.check_plates(name, jnp.shape(value), 0, "a term")
        whole = rows is None and not self.plates and not self.record.discrete
        unit = dist.Unit(jnp.sum(jnp.asarray(value)) if whole else jnp.asarray(value))
        numpyro.sample(name, unit, obs=unit.sample(None), infer={"rows": rows})

    def scan(self, step, init, xs, length):
        return scan(step, init, xs, length)


def scan(step, init, xs, length=None):
    """`elboroom.scan`: the first carry takes the shape and type that the steps give it."""
    xs = jax.tree_util.tree_map(jnp.asarray, xs)
    first = jax.tree_util.tree_map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), xs)
    carry = jax.eval_shape(lambda c, x: step(c, x)[0], init, first)
    init = jax.tree_util.tree_map(
        lambda value, like: jnp.broadcast_to(jnp.asarray(value, like.dtype), like.shape), init, carry
    )
    return jax.lax.scan(step, init, xs, length)


def execute(program, leaves: Mapping[str, Any], run: Run, draws=None) -> Record:
    """Run the model of `program` with `leaves` as its data under `run`.

    Parameters
    ----------
    program : Program
    leaves : mapping
        Label to array (traced) or object (static) for every argument.
    run : Run
    draws : optional
        Random numbers for models that ask for them themselves.
    """
    run.sizes = program.sizes
    run.kept = {} if program.masks is None else program.masks.kept
    arguments = rebuild(program.arguments, leaves)
    positional, keywords = program.model.call_arguments(arguments)
    seed = numpyro.handlers.seed(rng_seed=jax.random.key(0) if draws is None else draws.key)
    with running(), seed, run:
        if program.model.language == "numpyro":
            program.model.fn(*positional, **keywords)
        else:
            with interpreting(Words(run, program, leaves)):
                program.model.fn(*positional, **keywords)
    return run.record
