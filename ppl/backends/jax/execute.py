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
from ...interpreter import interpreting
from ...running import Node, Record
from ...turns import running
from .. import interpreter
from .control import enter
from .logits import vectorised
from .lowering import lower
from .masks import Part
from .missing import Missing
from .networks import network
from .odes import odeint, replacing
from .transforms import transform_of


class Run(interpreter.Run):
    """What decides the value of every site, on JAX."""

    def constant(self, value, at=None):
        return value if at is None else jnp.asarray(value)[at]

    def codes(self, value):
        return jnp.asarray(value).astype(jnp.result_type(int))

    def probe(self, fn):
        return probe(fn)


class Handler(Messenger):
    """The one handler of NumPyro models."""

    def __init__(self, run: Run):
        super().__init__()
        self.run = run

    def process_message(self, msg):
        kind, name = msg["type"], msg.get("name")
        if kind == "plate" and msg["value"] is None:
            size = self.run.sizes.get(name, msg["args"][0])
            msg["args"] = (size, size)
            msg["value"] = jnp.arange(size)
        elif kind == "param":
            if self.run.weights is not None and name in self.run.weights:
                msg["value"] = self.run.weights[name]
        elif kind == "control_flow":
            enter(self, msg)
        elif kind == "sample" and not isinstance(msg["fn"], dist.Unit):
            self._decide(msg, name)

    def _decide(self, msg, name):
        self.expand(msg)
        msg["fn"] = vectorised(msg["fn"])
        if msg.get("_control_flow_done"):
            self._come_out(msg, name)
        elif msg["value"] is None and name in self.run.kept:
            part = Part(msg["fn"], self.run.kept[name], probe(msg["fn"]))
            value, role = self.run.value_of(name, part)
            msg["value"], msg["infer"] = (
                part.filled(value),
                {**msg["infer"], "role": role, "part": (part, value)},
            )
        elif msg["value"] is None:
            msg["value"], role = self.run.value_of(name, msg["fn"])
            if role != "latent":
                msg["infer"] = {**msg["infer"], "role": role}
        elif not msg["is_observed"]:  # substituted: a value that is given, with its density
            msg["infer"] = {**msg["infer"], "role": "fixed"}
        else:
            msg["infer"] = {**msg["infer"], "data": msg["value"]}
            msg["fn"] = _for_each(msg["fn"], msg["value"])
            if self.run.predict is not None:
                msg["value"] = self.run.predict(name, msg["fn"])

    def _come_out(self, msg, name):
        """A site of a loop or a branch, which has its values: of all steps, with the laws of all."""
        role = self.run.inside.get(name, "observed" if msg["is_observed"] else "fixed")
        if role == "latent" and self.run.whole is not None:
            self.run.whole(name, msg["fn"])
        if role != "observed":
            msg["infer"] = {**msg["infer"], "role": role}

    @staticmethod
    def expand(msg):
        """Give a law the axes that ``sample_shape`` asks for, as a plate does."""
        shape = msg["kwargs"].get("sample_shape", ())
        if shape and msg["value"] is None:
            msg["fn"] = msg["fn"].expand((*shape, *msg["fn"].batch_shape))
            msg["kwargs"] = {**msg["kwargs"], "sample_shape": ()}

    def postprocess_message(self, msg):
        kind, name, run = msg["type"], msg.get("name"), self.run
        if kind == "param":
            run.record.weights[name] = msg["value"]
            return
        if kind not in {"sample", "deterministic"}:
            return
        infer, fn, value, scale = msg.get("infer", {}), msg.get("fn"), msg["value"], msg.get("scale")
        frames = tuple((f.name, f.dim, f.size) for f in msg.get("cond_indep_stack", ()))
        if "part" in infer:
            part, value = infer["part"]
            run.add(Node(name, infer["role"], part, value, scale))
        elif kind == "deterministic":
            run.add(Node(name, "deterministic", value=value, plates=frames))
        elif isinstance(fn, dist.Unit):
            run.add(Node(name, "factor", fn, value, scale, frames))
        else:
            role = infer.get("role") or ("observed" if msg["is_observed"] else "latent")
            term = run.term(name, fn) if role == "discrete" else None
            source = infer.get("data", value) if role == "observed" else None
            run.add(Node(name, role, fn, value, scale, frames, source=source, term=term))


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


class Words(interpreter.Words):
    """Interpreter of the declared language on JAX."""

    def opened(self, name, size):
        return numpyro.plate(name, size)

    def moved_from(self, value):
        made = getattr(value, "parent", None)  # of a tracer: the operation that made it, where JAX keeps it
        if getattr(getattr(made, "primitive", None), "name", None) not in _MOVING:
            return None
        return next(iter(getattr(made, "in_tracers", ())), None)

    def lower(self, distribution):
        return lower(distribution)

    def array(self, value):
        return jnp.asarray(value)

    def outcome(self, value, whole):
        value = jnp.asarray(value)
        real = whole or not jnp.issubdtype(value.dtype, jnp.integer)
        return value if real else value.astype(jnp.result_type(float))

    def cast(self, value, like):
        return value.astype(like.dtype)

    def filled(self, value, where, part):
        return value.at[where].set(part)

    def missing_law(self, fn, where):
        return Missing(fn, where)

    def unit(self, value):
        unit = dist.Unit(value)
        return unit, unit.sample(None)

    def scan(self, step, init, xs, length):
        return scan(step, init, xs, length)

    def odeint(self, *equation):
        return odeint(*equation)

    def network(self, name, net):
        return network(name, net)


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
        Supplies the model, how it is called, and the sizes of plates.
    leaves : mapping
        Label to array (traced) or object (static) for every argument.
    run : Run
        Decides the value of every site, and keeps what is recorded.
    draws : optional
        Random numbers for models that ask for them themselves.
    """
    run.sizes = program.sizes
    run.kept = {} if program.masks is None else program.masks.kept
    arguments = rebuild(program.arguments, leaves)
    positional, keywords = program.model.call_arguments(arguments)
    seed = numpyro.handlers.seed(rng_seed=jax.random.key(0) if draws is None else draws.key)
    with running(), seed, Handler(run):
        if program.model.language == "numpyro":
            with replacing():
                program.model.fn(*positional, **keywords)
        else:
            with interpreting(Words(run, program, leaves)):
                program.model.fn(*positional, **keywords)
    return run.record
