"""Batched functions of a program: density with gradient, parts, rows, transforms, prediction.

Every function takes data and weights as arguments. All are batched over the leading axis of ``z``.
"""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import pyro
import torch

from ...centring import KEY, coordinates, place
from ...enumeration import (
    BEFORE_DATA,
    DENSITIES,
    IMPOSSIBLE,
    Factor,
    check_terms,
    eliminate,
    known_elements,
    num_batch,
    values_of,
)
from ...errors import UnsupportedError, explain
from ...fingerprints import refuse_changed, shared
from ...model import structure_key
from ...primitives import scan_in_python
from ...running import Record, check_value, is_chain, weighed
from ...turns import running
from .arrays import Function, lent, randomness, to_device, unvalidated
from .execute import Run, execute
from .identity import traced
from .laws import LKJCholesky
from .namespace import asarray
from .static import on_host
from .transforms import is_real, transform_to

LARGEST_SLOPE = 2**20  # numbers that one gradient reads above which a model is told by its value alone
CACHED = 2**15  # numbers that fit into a core's nearest cache, with all that is made of them


class Density:
    """Functions of one program structure, shared by programs of equal shapes.

    Parameters
    ----------
    program : Program
    trace : ModelTrace
    dtype : numpy.dtype
    """

    def __init__(self, program, trace, dtype):
        self._trace, self.dtype = trace, np.dtype(dtype)
        self.fingerprint: str | None = None
        self.rebind(program)
        self.clock = {"compile": 0.0, "count": 0}
        self.ascents: dict = {}  # compiled loops of steps, by what else they depend on
        offsets, start = {}, 0
        for site in trace.latents:
            offsets[site.name] = (start, start + site.size, site.unconstrained_shape)
            start += site.size
        self._offsets = offsets
        self._work = work = start + sum(leaf.value.size for leaf in program.leaves.values() if leaf.traced)
        self.large_batch = 1 << int(np.clip(CACHED // work, 32, 1024)).bit_length() - 1
        self._num_batch = num_batch(trace)
        self._kept = {site.name for site in trace.sites}
        one, two = (0, None, None), (0, 0, None, None)

        def value_and_grad(z, data, weights):
            grad, value = torch.func.grad_and_value(lambda z: self._total(z, data, weights))(z)
            return value, grad

        def scaled(z, data, weights, scale):
            grad, value = torch.func.grad_and_value(lambda z: self.scaled_total(z, data, weights, scale))(z)
            return value, grad

        self.value_and_grad = self._function(value_and_grad, one)
        self.scaled_value_and_grad = self._function(scaled, (0, None, None, None))
        self.value = self._function(self._total, one)
        self.parts = self._function(self._parts, (0, None, None, None))
        self.site_priors = self._function(self._site_priors, one)
        self.constrain = self._function(self._constrain, one)
        self.unconstrain = self._function(self._unconstrain, one)
        self.per_row = self._function(self._per_row, one)
        self.observed = self._function(self._observed, one)
        self.predict = self._function(self._predict, two, True)
        self.predict_values = self._function(self._predict_values, two, True)
        self.prior = self._function(self._prior, one, True)
        self.responsibilities = self._function(self._responsibilities, one)
        self.hessian_vector = self._function(self._hvp, two)
        self.score = self._function(self._score, (0, None, None, None))

    def _function(self, fn, in_dims, random=False) -> Function:
        if self._program.model.language == "pyro":  # a user's own distributions check what they are given
            fn = unvalidated()(fn)
        return Function(fn, in_dims, self.dtype, self.clock, random, self.verify)

    def rebind(self, program) -> None:
        """Take what is not traced from a program with the same trace."""
        self._program = program
        self._static = {k: on_host(leaf.value) for k, leaf in program.leaves.items() if not leaf.traced}

    def verify(self) -> None:
        """Refuse to run the model again where it has changed since its density was traced."""
        if self.fingerprint is not None:
            refuse_changed(self._program.name, self.fingerprint, self.identity())

    def identity(self) -> str:
        """Digest of the operations that the model makes, with their constants."""
        z = torch.linspace(-0.3, 0.3, self._trace.dim, dtype=self._zero().dtype)
        data = self.lent(self._program)
        weights = {k: to_device(v, self.dtype) for k, v in self._trace.weights.items()}
        draws = (self._prior, None), (partial(self._predict, z), None), (self._constrain, z)
        total = self._slope if self._work <= LARGEST_SLOPE else self._total
        with unvalidated() if self._program.model.language == "pyro" else running():
            found = [_first_traced(ways, data, weights) for ways in (((total, z), (self._total, z)), draws)]
        self._branches = any(leaving for _, leaving in found)
        return "-".join(digest[:24] for digest, _ in found)

    def _slope(self, z, data, weights):
        """Value and gradient, without a batch."""
        with torch.enable_grad():
            z = z.clone().requires_grad_()
            value = self._total(z, data, weights)
            return value, *torch.autograd.grad(value, z, allow_unused=True)

    @property
    def looped(self) -> bool:
        """Whether some function could not be mapped over a batch and runs draw by draw."""
        return any(f.looped for f in vars(self).values() if isinstance(f, Function))

    def device(self, program) -> dict:
        """The traced leaves of a program as tensors."""
        return {k: to_device(leaf.value, self.dtype) for k, leaf in program.leaves.items() if leaf.traced}

    def lent(self, program) -> dict:
        """The traced leaves of a program as tensors that share their memory, where the precision is theirs."""
        return {k: lent(leaf.value, self.dtype) for k, leaf in program.leaves.items() if leaf.traced}

    def _execute(self, data, run) -> Record:
        return execute(self._program, {**self._static, **data}, run)

    def _run(self, latent, weights, **settings) -> Run:
        return Run(
            latent,
            Record(),
            self._program.fixed,
            self._program.intervened,
            weights=weights,
            num_batch=self._num_batch,
            **settings,
        )

    def _zero(self):
        return torch.zeros((), dtype=torch.float64 if self.dtype == np.float64 else torch.float32)

    def _factors(self, record, roles=DENSITIES, without=()) -> list[Factor]:
        """Log density terms, discrete sites summed out."""
        terms = {
            n.name: n.log_prob for n in record.nodes.values() if n.role in roles and n.name not in without
        }
        if not record.discrete:
            return [Factor(value, frozenset({name})) for name, value in terms.items()]
        check_terms(terms, record.discrete, self._num_batch, self._program.links("torch"))
        return eliminate(terms, record.discrete, self._num_batch, scan_in_python)

    def _latent_from(self, z, weights, jacobian=None, scale=None):
        jacobian, centring = ([] if jacobian is None else jacobian), weights.get(KEY, {})

        def latent(name, fn):
            start, stop, shape = self._offsets[name]
            u = z[start:stop].reshape(shape)
            if name in centring:
                x, log_jacobian = place(fn, centring[name], u)
                jacobian.append(log_jacobian)
                return x
            if is_real(fn.support):
                return u
            transform = transform_to(fn.support)
            x = transform(u)
            check_value(self._trace[name], x)
            jacobian.append(weighed(self._trace[name], transform.log_abs_det_jacobian(u, x), scale).sum())
            return x

        return latent

    def _parts(self, z, data, weights, scale):
        jacobian: list = []
        latent = self._latent_from(z, weights, jacobian, scale)
        record = self._execute(data, self._run(latent, weights, scale=scale))
        prior = likelihood = factors = self._zero()
        if record.discrete and scale:
            raise UnsupportedError(
                explain("rows", "a model without discrete latent sites", "one with some", "use all rows")
            )
        for factor in self._factors(record):
            kinds, value = {record.nodes[name].role for name in factor.names}, factor.value.sum()
            if "observed" in kinds:
                likelihood = likelihood + value
            elif kinds == {"factor"}:
                factors = factors + value
            else:
                prior = prior + value
        return {
            "log_prior": prior,
            "log_likelihood": likelihood,
            "log_factors": factors,
            "log_jacobian": sum(jacobian, self._zero()),
        }

    def scaled_total(self, z, data, weights, scale):
        """Log density with the densities in some plates scaled, as a minibatch needs it."""
        return sum(self._parts(z, data, weights, scale).values())

    def _total(self, z, data, weights):
        return self.scaled_total(z, data, weights, {})

    def _score(self, values, z, data, weights):
        """Gradient at one point with other values of some data."""
        return {"score": torch.func.grad(lambda z: self._total(z, {**data, **values}, weights))(z)}

    def _hvp(self, z, v, data, weights):
        gradient = torch.func.grad(lambda x: self._total(x, data, weights))
        return torch.func.jvp(gradient, (z,), (v,))[1]

    def joint(self, values, data, weights) -> dict:
        """Log density of each site, or of sites together where a discrete one is summed out."""
        values = {k: to_device(v, self.dtype) for k, v in values.items()}
        with torch.no_grad():
            record = self._execute(data, self._run(lambda name, fn: values[name], weights))
            found = {" × ".join(sorted(f.names)): f.value.sum() for f in self._factors(record)}
        return {name: value.numpy() for name, value in found.items()}

    def _site_priors(self, z, data, weights):
        record = self._execute(data, self._run(self._latent_from(z, weights), weights))
        return {
            name: factor.value.sum()
            for factor in self._factors(record)
            for name in factor.names
            if factor.names == {name} and record.nodes[name].role == "latent"
        }

    def _constrain(self, z, data, weights):
        record = self._execute(data, self._run(self._latent_from(z, weights), weights))
        return {
            n.name: asarray(n.value)
            for n in record.nodes.values()
            if n.role in {"latent", "deterministic"} and n.name in self._kept
        }

    def _unconstrain(self, values, data, weights):
        parts: dict = {}

        def latent(name, fn):
            value = values[name]
            if name in weights.get(KEY, {}):
                parts[name] = coordinates(fn, weights[KEY][name], value)
                return value
            parts[name] = value if is_real(fn.support) else transform_to(fn.support).inv(value)
            return value

        self._execute(data, self._run(latent, weights))
        return torch.cat([parts[site.name].reshape(-1) for site in self._trace.latents])

    def _per_row(self, z, data, weights):
        record = self._execute(data, self._run(self._latent_from(z, weights), weights))
        out = {}
        for factor in self._factors(record):
            seen = [n for n in map(record.nodes.get, sorted(factor.names)) if n.role == "observed" or n.rows]
            if len(seen) != 1:  # no rows of its own: a discrete site is shared
                continue
            (node,) = seen
            if node.role == "observed":
                shape = tuple(node.value.shape[: node.value.ndim - len(node.fn.event_shape)])
                if factor.value.numel() != np.prod(shape, dtype=int):
                    continue
                value = factor.value.reshape(shape)
            else:
                value = factor.value
            if not factor.names.isdisjoint(self._trace.tied):
                value = value - self._apart(record, factor, node).reshape(value.shape)
            if node.holes is not None:  # what is missing is no observation
                value = torch.where(node.holes, 0.0, value)
            out[node.name] = value
        return out

    def _apart(self, record, factor, node):
        """Log density of a factor without an outcome: of continuous sites whose law depends on the same discrete one."""
        rest = self._factors(record, without={node.name})
        return sum(f.value for f in rest if f.names <= factor.names)

    def _responsibilities(self, z, data, weights):
        """Posterior probability of each value of each discrete site, on the site's first axis."""
        counts = self._trace.counts
        tilts = {
            s.name: torch.zeros((counts[s.name], *s.shape), dtype=z.dtype)
            for s in self._trace.by_role("discrete")
        }

        def total(tilts):
            record = self._execute(data, self._run(self._latent_from(z, weights), weights, tilts=tilts))
            return sum(f.value.sum() for f in self._factors(record))

        return torch.func.grad(total)(tilts)

    def _agreeing(self, latent, known, data, weights):
        """Like `_draw`, but discrete sites follow from the continuous ones whose laws depend on them.

        One site is drawn after the other, each from its probabilities given the values before it.
        """
        sites, counts, codes = self._trace.by_role("discrete"), self._trace.counts, {}
        real = self._zero().dtype
        tilts = {s.name: torch.zeros((counts[s.name], *s.shape), dtype=real) for s in sites}

        def total(tilts):
            record = self._execute(data, self._run(latent, weights, tilts=tilts))
            return sum(f.value.sum() for f in self._factors(record, BEFORE_DATA))

        def chosen(tilts, name):
            share = torch.func.grad(total)(tilts)[name]
            code = torch.distributions.Categorical(share.movedim(0, -1), validate_args=False).sample()
            each = torch.arange(counts[name]).reshape(-1, *[1] * code.ndim)
            return torch.where(each == code, 0.0, IMPOSSIBLE).to(real)

        for site in sites:
            name = site.name
            if site.distribution == "MarkovChain":
                for t in range(site.shape[-1]):
                    now = torch.arange(site.shape[-1]) == t
                    tilts = {**tilts, name: torch.where(now, chosen(tilts, name), tilts[name])}
            else:
                tilts = {**tilts, name: chosen(tilts, name)}
            codes[name] = torch.argmax(tilts[name], 0)

        def outcome(name, fn):
            if name not in codes:
                return self._draw(name, fn)
            value = values_of(fn, is_chain(fn), codes[name])
            return value if known[name] is True else torch.where(known[name], value, self._draw(name, fn))

        return outcome

    @staticmethod
    def _draw(name, fn):
        try:
            return _drawable(fn).sample()
        except NotImplementedError:
            raise UnsupportedError(
                explain(
                    f"site '{name}'",
                    "a distribution that can be sampled",
                    f"{type(fn).__name__}",
                    "give it a proper prior",
                )
            ) from None

    @staticmethod
    def _outcomes(record):
        return {n.name: n.value for n in record.nodes.values() if n.role in {"observed", "predicted"}}

    def _observed(self, z, data, weights):
        """Values of observed sites that are computed from the data."""
        record = self._execute(data, self._run(self._latent_from(z, weights), weights))
        names = {site.name for site in self._trace.by_role("observed") if site.argument is None}
        return {name: record.nodes[name].value for name in sorted(names)}

    def _predict(self, z, seed, data, weights):
        latent, draw = self._latent_from(z, weights), self._draw
        if self._trace.tied:
            draw = self._agreeing(latent, {name: True for name in self._trace.counts}, data, weights)
        record = self._execute(data, self._run(latent, weights, predict=draw))
        values = {n.name: n.value for n in record.nodes.values() if n.role == "deterministic"}
        return {**values, **self._outcomes(record)}

    def _predict_values(self, values, seed, data, weights):
        """Outcomes given constrained values; what has none, or is not known, is drawn from its prior."""

        def latent(name, fn):
            given = values.get(name)
            if given is None:
                return self._draw(name, fn)
            if isinstance(given, tuple):
                return torch.where(given[1], given[0], self._draw(name, fn))
            return given

        outcome = self._draw
        if self._trace.tied:
            known = known_elements(self._trace, values)

            def whole(name, fn):
                given = values.get(name)
                return given[0] if isinstance(given, tuple) else latent(name, fn)

            if any(part is not False for part in known.values()):
                outcome = self._agreeing(whole, known, data, weights)
        record = self._execute(data, self._run(latent, weights, predict=outcome))
        kept = {n.name: n.value for n in record.nodes.values() if n.role in {"latent", "deterministic"}}
        return {**kept, **self._outcomes(record)}

    def _prior(self, seed, data, weights):
        record = self._execute(data, self._run(self._draw, weights, predict=self._draw, joint=True))
        values = {n.name: n.value for n in record.nodes.values() if n.role in {"latent", "deterministic"}}
        return {**values, **self._outcomes(record)}


def _drawable(fn):
    """A law whose draws have its density: a Pyro model's own LKJ, also under wrappers, is replaced."""
    if type(fn) is pyro.distributions.LKJCholesky:
        return LKJCholesky(fn.dim, fn.concentration, validate_args=False)
    base = getattr(fn, "base_dist", None)
    other = None if base is None else _drawable(base)
    if other is base:
        return fn
    made = copy.copy(fn)
    made.base_dist = other
    return made


def _first_traced(ways, data, weights) -> tuple[str, bool]:
    """Digest of the first of several functions that this model has."""
    for fn, given in ways:
        try:
            with torch.no_grad(), randomness(0):
                return traced(fn, given, data, weights)
        except Exception:  # noqa: BLE001  no gradient, say, or a law without draws: said where it is asked for
            continue
    return "nothing", True


def density_of(program, trace, dtype) -> Density:
    """The functions of a program, shared with programs that make the same of their tensors."""
    made = Density(program, trace, dtype)
    made.fingerprint = made.identity()
    if made._branches:  # it may go other ways elsewhere
        return made
    return shared(program.model.compiled, ("torch", *structure_key(program, trace, dtype)), made, program)
