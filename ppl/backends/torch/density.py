"""Batched functions of a program: density with gradient, parts, rows, transforms, prediction.

Every function takes data and weights as arguments. All are batched over the leading axis of ``z``.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from ...fingerprints import shared, verify
from ...model import structure_key
from ...thresholds import CACHED, LARGEST_DRAWN, LARGEST_SLOPE
from ...turns import running
from ..functions import Functions
from . import library
from .arrays import DTYPES, Function, randomness, to_device, unvalidated, viewed
from .identity import traced
from .static import on_host


class Density:
    """Functions of one program structure, shared by programs of equal shapes.

    Parameters
    ----------
    program : Program
        A model with its data; later ones of equal shapes take its place by `rebind`.
    trace : ModelTrace
        Sites of the program, whose order is that of the coordinates.
    dtype : numpy.dtype
        Precision in which everything is computed.
    """

    largest_drawn = LARGEST_DRAWN

    def __init__(self, program, trace, dtype):
        self._trace, self.dtype, self._program = trace, np.dtype(dtype), program
        self._functions = fns = Functions(library, program, _static(program), trace, dtype)
        self.fingerprint: str | None = None
        self.clock = {"compile": 0.0, "count": 0}
        self.ascents: dict = {}  # compiled loops of steps, by what else they depend on
        read = sum(leaf.value.size for leaf in program.leaves.values() if leaf.traced)
        self._read = trace.dim + read
        self.captured: int = 0  # numbers that the model holds itself, beside its data
        self.large_batch: float = self._most()
        one, two, scaled = (0, None, None), (0, 0, None, None), (0, None, None, None)
        self.value_and_grad = self._function(_with_gradient(fns.total), one)
        self.scaled_value_and_grad = self._function(_with_gradient(fns.scaled_total), scaled)
        self.value = self._function(fns.total, one)
        self.parts = self._function(fns.parts, scaled)
        self.terms = self._function(fns.terms, one)
        self.site_priors = self._function(fns.site_priors, one)
        self.constrain = self._function(fns.constrain, one)
        self.unconstrain = self._function(fns.unconstrain, one)
        self.per_row = self._function(fns.per_row, one)
        self.expected = self._function(fns.means, one)
        self.observed = self._function(fns.observed, one)
        self.predict = self._function(fns.predict, two, True)
        self.predict_values = self._function(fns.predict_values, two, True)
        self.predict_each = self._each
        self.expected_each = self._function(fns.means_each, scaled)
        self.per_row_each = self._function(fns.per_row_each, scaled)
        self.complete = self._function(fns.complete, two, True)
        self.simulate = self._function(fns.simulate, two, True)
        self.prior = self._function(fns.prior, one, True)
        self.responsibilities = self._function(fns.responsibilities, one)
        self.moved = self._function(fns.moved, two)
        self.hessian_vector = self._function(fns.hessian_vector, two)
        self.score = self._function(fns.score, scaled)

    def _function(self, fn, in_dims, random=False) -> Function:
        if self._program.model.language == "pyro":  # a user's own distributions check what they are given
            fn = unvalidated()(fn)
        return Function(fn, in_dims, self.dtype, self.clock, random, self.verify)

    def rebind(self, program) -> None:
        """Take what is not traced from a program with the same trace."""
        self._program = program
        self._functions.rebind(program, _static(program))

    def verify(self) -> None:
        """Refuse to run the model again where it has changed since its density was traced."""
        verify(self, self._program.name)

    def identity(self) -> str:
        """Digest of the operations that the model makes, with their constants."""
        fns, z = self._functions, torch.linspace(-0.3, 0.3, self._trace.dim, dtype=DTYPES[self.dtype])
        data = self.views(self._program)
        weights = {k: to_device(v, self.dtype) for k, v in self._trace.weights.items()}
        draws = (fns.prior, None), (partial(fns.predict, z), None), (fns.constrain, z)
        total = self._slope if self._read <= LARGEST_SLOPE else fns.total
        with unvalidated() if self._program.model.language == "pyro" else running():
            found = [_first_traced(ways, data, weights) for ways in (((total, z), (fns.total, z)), draws)]
        self.captured = found[0][1]
        self.large_batch = self._most()
        self.branches = any(leaving for *_, leaving in found)
        return "-".join(digest[:24] for digest, *_ in found)

    def _slope(self, z, data, weights):
        """Value and gradient, without a batch."""
        with torch.enable_grad():
            z = z.clone().requires_grad_()
            value = self._functions.total(z, data, weights)
            return value, *torch.autograd.grad(value, z, allow_unused=True)

    def _most(self) -> float:
        """Draws of a call at the most."""
        return 1 << int(np.clip(CACHED // (self._read + self.captured), 32, 1024)).bit_length() - 1

    @property
    def looped(self) -> bool:
        """Whether some function could not be mapped over a batch and runs draw by draw."""
        return any(f.looped for f in vars(self).values() if isinstance(f, Function))

    def device(self, program) -> dict:
        """The traced leaves of a program as tensors."""
        return {k: to_device(leaf.value, self.dtype) for k, leaf in program.leaves.items() if leaf.traced}

    def views(self, program) -> dict:
        """The traced leaves of a program as tensors that share their memory, where the precision is theirs."""
        return {k: viewed(leaf.value, self.dtype) for k, leaf in program.leaves.items() if leaf.traced}

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

    def _each(self, values, seeds, rows, data, weights) -> dict:
        """See the protocol. Row by row: PyTorch maps no laws over rows with the same random numbers."""
        latents = {site.name for site in self._trace.latents}
        count = len(next(iter(rows.values())))
        found = [
            self.predict_values(values, seeds, {**data, **{k: v[i] for k, v in rows.items()}}, weights)
            for i in range(count)
        ]
        return {name: np.stack([row[name] for row in found], 1) for name in found[0] if name not in latents}

    def carried(self, values, noise, data, weights, wanted) -> dict:
        """What one draw makes of data with given noise, see `Functions.carried`."""
        return self._functions.carried(values, noise, data, weights, wanted)

    def joint(self, values, data, weights) -> dict:
        """Log density of each site, or of sites together where a discrete one is summed out."""
        with torch.no_grad():
            values = {k: to_device(v, self.dtype) for k, v in values.items()}
            return {name: v.numpy() for name, v in self._functions.joint(values, data, weights).items()}


def _static(program) -> dict:
    """Arguments that are not traced, as the model gets them."""
    return {k: on_host(leaf.value) for k, leaf in program.leaves.items() if not leaf.traced}


def _with_gradient(fn):
    """A function of one draw and its gradient in the first argument."""

    def both(z, *rest):
        grad, value = torch.func.grad_and_value(fn)(z, *rest)
        return value, grad

    return both


def _first_traced(ways, data, weights) -> tuple[str, int, bool]:
    """Digest of the first of several functions that this model has: see `traced`."""
    for fn, given in ways:
        try:
            with torch.no_grad(), randomness(0):
                return traced(fn, given, data, weights)
        except Exception:  # no gradient, say, or a law without draws: said where it is asked for
            continue
    return "nothing", 0, True


def density_of(program, trace, dtype) -> Density:
    """The functions of a program, shared with programs that make the same of their tensors."""
    made = Density(program, trace, dtype)
    made.fingerprint = made.identity()
    if made.branches:  # it may go other ways elsewhere
        return made
    return shared(program.model.compiled, ("torch", *structure_key(program, trace, dtype)), made, program)
