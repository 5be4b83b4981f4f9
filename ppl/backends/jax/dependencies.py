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
from .provenance import analyse
from .trace import trace


class Single(Run):
    """A run in which a discrete site takes one value, given like a latent one: plain shapes."""

    def enumerate(self, name, fn):
        return self.latent(name, fn)


def analyse_program(program) -> Analysis:
    """What reaches each part of each site, and index arrays that reach outside their axis."""
    found, kinds = trace(program), {"latent": np.dtype(program.precision), "discrete": np.dtype(int)}
    values = {s.name: jax.ShapeDtypeStruct(s.shape, kinds[s.role]) for s in found.by_role(*kinds)}
    data = {k: leaf.value for k, leaf in program.leaves.items() if leaf.traced}
    with precision(program.precision):
        codes = labelled(program, {site.argument for site in found.sites})
        return analyse(parts_function(program), values, data, codes)


def parts_function(program) -> Callable:
    """``fn(values, data) -> {node: {part: array}}`` of a program: terms of the density, and parameters of laws."""
    static = {k: leaf.value for k, leaf in program.leaves.items() if not leaf.traced}

    def parts(values, data):
        def given(name, _fn, at=None):
            return values[name] if at is None else values[name][at]

        run = Single(given, Record(), program.fixed, program.intervened)
        return parts_of(execute(program, {**static, **data}, run), jnp.asarray)

    return parts
