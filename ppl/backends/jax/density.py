"""Compiled functions of a program: density with gradient, parts, rows, transforms, prediction.

Every function takes data and weights as arguments; none bakes them in. All are batched over the leading
axis of ``z``.
"""

from __future__ import annotations

import jax
import numpy as np

from ...fingerprints import shared, verify
from ...model import structure_key
from ...thresholds import LARGEST_COMPILED
from ..functions import Functions
from . import library
from .arrays import Function, precision, to_device
from .identity import Unidentified, traced
from .summands import unsummed


class Density:
    """Functions of one program structure, compiled once per shape and shared by programs of equal shapes.

    Parameters
    ----------
    program : Program
        Supplies the model, its static arguments and fixed sites; its data are never captured.
    trace : ModelTrace
        Sites of the program, whose order is that of the coordinates.
    dtype : numpy.dtype
        Precision in which everything is computed.
    """

    large_batch = np.inf  # each size of a batch is compiled once: only one is used
    largest_drawn = LARGEST_COMPILED
    looped = False  # whatever JAX can trace it can map

    def __init__(self, program, trace, dtype):
        self._trace, self.dtype = trace, np.dtype(dtype)
        self._functions = fns = Functions(library, program, _static(program), trace, dtype)
        self._program = program
        self.clock = {"compile": 0.0, "count": 0}
        self.ascents: dict = {}  # compiled loops of steps, by what else they depend on
        one, two, scaled = (0, None, None), (0, 0, None, None), (0, None, None, None)
        drawn = (*two, None)
        self.value_and_grad = self._mapped(jax.value_and_grad(fns.total), one)
        self.scaled_value_and_grad = self._mapped(jax.value_and_grad(fns.scaled_total), scaled)
        self.value = self._mapped(fns.total, one)
        self.parts = self._mapped(fns.parts, scaled)
        self.terms = self._mapped(unsummed(fns.terms), one)
        self.site_priors = self._mapped(fns.site_priors, one)
        self.constrain = self._mapped(fns.constrain, one)
        self.unconstrain = self._mapped(fns.unconstrain, one)
        self.joint = self._function(fns.joint)
        self.score = self._mapped(fns.score, scaled)
        self.per_row = self._mapped(fns.per_row, one)
        self.expected = self._mapped(fns.means, one)
        self.observed = self._mapped(fns.observed, one)
        self.predict = self._mapped(fns.predict, two)
        self.predict_values = self._mapped(fns.predict_values, two)
        self.predict_each = self._mapped(fns.predict_each, drawn)
        self.expected_each = self._mapped(fns.means_each, scaled)
        self.per_row_each = self._mapped(fns.per_row_each, scaled)
        self.complete = self._mapped(fns.complete, two)
        self.simulate = self._mapped(fns.simulate, two)
        self.prior = self._mapped(fns.prior, one)
        self.responsibilities = self._mapped(fns.responsibilities, one)
        self.moved = self._mapped(fns.moved, two)
        self.hessian_vector = self._mapped(fns.hessian_vector, two)
        self.fingerprint: str | None = None
        self.captured = 0  # numbers that the model holds itself, beside its data

    def _mapped(self, fn, axes) -> Function:
        return self._function(jax.vmap(fn, axes))

    def _function(self, fn) -> Function:
        return Function(fn, self.dtype, self.clock, check=self.verify)

    def rebind(self, program) -> None:
        """Take what is not traced from a program with the same trace."""
        self._program = program
        self._functions.rebind(program, _static(program))

    def verify(self) -> None:
        """Refuse to trace more where the model has changed since the first trace."""
        verify(self, self._program.name)

    def identity(self) -> str | None:
        """Digest of the traced program with its constants; None where something in it cannot be identified."""
        z, seed = jax.ShapeDtypeStruct((self._trace.dim,), self.dtype), jax.ShapeDtypeStruct((), np.int64)
        data = {k: _abstract(v.value, self.dtype) for k, v in self._program.leaves.items() if v.traced}
        weights = {k: _abstract(v, self.dtype) for k, v in self._trace.weights.items()}
        fns = self._functions
        ways = (
            ((jax.value_and_grad(fns.total), z), (fns.total, z)),
            ((fns.prior, seed), (fns.predict, z, seed), (fns.constrain, z)),
        )
        with precision(self.dtype):
            found = [_first_traced(tries, data, weights) for tries in ways]
        known = [part for part in found if part is not None]
        if len(known) < len(found):
            return None
        self.captured = known[0][1]
        return "-".join(digest[:24] for digest, _ in known)

    def device(self, program) -> dict:
        """The traced leaves of a program as device arrays."""
        return {k: to_device(leaf.value, self.dtype) for k, leaf in program.leaves.items() if leaf.traced}

    def views(self, program) -> dict:
        """The traced leaves of a program as they are: what a compiled function does not read is not copied."""
        leaves = {k: np.asarray(leaf.value) for k, leaf in program.leaves.items() if leaf.traced}
        return {k: v.astype(self.dtype, copy=False) if v.dtype.kind == "f" else v for k, v in leaves.items()}

    def scaled_total(self, z, data, weights, scale):
        """Log density of one draw with the densities in some plates scaled."""
        return self._functions.scaled_total(z, data, weights, scale)

    def total_without(self, z, data, weights, names):
        """See the protocol."""
        return self._functions.total_without(z, data, weights, names)

    def by_row(self, z, data, weights, plate) -> dict:
        """Log density of one draw by the elements of a plate, see `Functions.by_row`."""
        return self._functions.by_row(z, data, weights, plate)

    def means(self, z, data, weights, known=False) -> dict:
        """Means of outcomes at one draw, see `Functions.means`."""
        return self._functions.means(z, data, weights, known)

    def variances(self, z, data, weights) -> dict:
        """Variances of outcomes at one draw, see `Functions.variances`."""
        return self._functions.variances(z, data, weights)

    def carried(self, values, noise, data, weights, wanted) -> dict:
        """What one draw makes of data with given noise, see `Functions.carried`."""
        return self._functions.carried(values, noise, data, weights, wanted)


def _static(program) -> dict:
    """Arguments that are not traced."""
    return {k: leaf.value for k, leaf in program.leaves.items() if not leaf.traced}


def _abstract(value, dtype) -> jax.ShapeDtypeStruct:
    """Shape and type of an array as `to_device` hands it over."""
    kind = np.asarray(value).dtype
    if kind.kind == "f":
        kind = np.dtype(dtype)
    elif kind.kind in "iu" and np.dtype(dtype) == np.float32:
        kind = np.dtype(np.int32)
    return jax.ShapeDtypeStruct(np.shape(value), kind)


def _first_traced(tries, data, weights) -> tuple[str, int] | None:
    """Digest of the first of several functions that this model has, and the numbers that it captures."""
    for fn, *given in tries:
        try:
            return traced(fn, *given, data, weights)
        except Unidentified:
            return None
        except Exception:  # no gradient, say, or a law without draws: said where it is asked for
            continue
    return "nothing", 0


def density_of(program, trace, dtype) -> Density:
    """The compiled functions of a program, shared with programs that are traced to the same."""
    with precision(dtype):
        made = Density(program, trace, dtype)
    made.fingerprint = made.identity()
    return shared(program.model.compiled, ("jax", *structure_key(program, trace, dtype)), made, program)
