"""Dependencies of a program: the jaxpr of its log density terms and parameters, followed abstractly."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from ...binding import labelled
from ...running import Record
from ..reach import Analysis, lacking
from .arrays import precision
from .execute import Run, execute
from .provenance import analyse
from .trace import trace


def analyse_program(program) -> Analysis:
    """What reaches each part of each site, and index arrays that reach outside their axis."""
    found, kinds = trace(program), {"latent": np.dtype(program.precision), "discrete": np.dtype(int)}
    values = {s.name: jax.ShapeDtypeStruct(s.shape, kinds[s.role]) for s in found.by_role(*kinds)}
    data = {k: leaf.value for k, leaf in program.leaves.items() if leaf.traced}
    with precision(program.precision):
        codes = labelled(program, {site.argument for site in found.sites})
        return analyse(parts_of(program), values, data, codes)


def parts_of(program) -> Callable:
    """``fn(values, data) -> {node: {part: array}}`` of a program: terms of the density, and parameters of laws."""
    static = {k: leaf.value for k, leaf in program.leaves.items() if not leaf.traced}

    def parts(values, data):
        def given(name, fn, at=None):
            return values[name] if at is None else values[name][at]

        run = Run(given, Record(), program.fixed, program.intervened)
        run.enumerate = given  # one value each: plain shapes
        record = execute(program, {**static, **data}, run)
        out: dict = {}
        for node in record.nodes.values():
            if node.role == "deterministic":
                out[node.name] = {"value": jnp.asarray(node.value)}
            elif node.role == "factor":
                out[node.name] = {"log_prob": jnp.asarray(node.fn.log_factor)}
            elif node.role in {"latent", "observed", "fixed", "discrete"}:
                out[node.name] = {"log_prob": node.log_prob, **_parameters(node.fn, jnp.ndim(node.value))}
        return out

    return parts


def _parameters(fn, ndim) -> dict:
    """Parameters of a law, with as many axes as a value of `ndim` axes asks for."""
    while isinstance(fn, (dist.Independent, dist.ExpandedDistribution, dist.MaskedDistribution)):
        fn = fn.base_dist
    found = {}
    for name, constraint in getattr(fn, "arg_constraints", {}).items():
        value = fn.__dict__.get(name)
        if hasattr(value, "shape") or isinstance(value, (int, float)):
            value = jnp.asarray(value)
            more = lacking(value.ndim, ndim, fn.event_dim, constraint)
            found[name] = value.reshape((1,) * more + value.shape) if more else value
    return found
