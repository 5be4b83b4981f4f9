"""Dependencies of a program: the jaxpr of its log density terms and parameters, followed abstractly."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ...binding import labelled
from ...running import Record
from ..reach import Analysis
from ..wrappers import parts_of
from .arrays import precision
from .execute import Run, execute
from .provenance import analyse, named
from .trace import trace


class Single(Run):
    """A run in which a discrete site takes one value, given like a latent one: plain shapes."""

    def enumerate(self, name, fn):
        return self.latent(name, fn)

    def through(self, name, fn, values, inputs):
        leaves, tree = jax.tree_util.tree_flatten(inputs)
        at = [i for i, leaf in enumerate(leaves) if isinstance(leaf, jax.Array)]

        def call(values, arrays):
            given = dict(zip(at, arrays, strict=True))
            return fn(
                values,
                *jax.tree_util.tree_unflatten(tree, [given.get(i, leaf) for i, leaf in enumerate(leaves)]),
            )

        return named(name, call)(values, [leaves[i] for i in at])


def analyse_program(program) -> Analysis:
    """What reaches each part of each site, and index arrays that reach outside their axis."""
    found, kinds = trace(program), {"latent": np.dtype(program.precision), "discrete": np.dtype(int)}
    values = {s.name: jax.ShapeDtypeStruct(s.shape, kinds[s.role]) for s in found.by_role(*kinds)}
    data = {k: leaf.value for k, leaf in program.leaves.items() if leaf.traced}
    weights = {k: jax.ShapeDtypeStruct(v.shape, kinds["latent"]) for k, v in found.weights.items()}
    with precision(program.precision):
        codes = labelled(program, {site.argument for site in found.sites})
        return analyse(parts_function(program), values, data, codes, weights)


def parts_function(program) -> Callable:
    """``fn(values, data, weights) -> {node: {part: array}}``: terms of the density of a program, and parameters of laws."""
    static = {k: leaf.value for k, leaf in program.leaves.items() if not leaf.traced}

    def parts(values, data, weights=None):
        def given(name, _fn, at=None):
            return values[name] if at is None else values[name][at]

        run = Single(given, Record(), program.fixed, program.intervened, weights)
        return parts_of(execute(program, {**static, **data}, run), jnp.asarray)

    return parts
