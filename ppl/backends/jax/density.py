"""Compiled functions of a program: density with gradient, parts, rows, transforms, prediction.

Every function takes data and weights as arguments; none bakes them in. All are batched over the leading
axis of ``z``.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import constraints

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
from ...running import Record, check_value, is_chain, weighed
from .arrays import Function, precision, to_device
from .execute import Run, execute, scan, transform_of
from .identity import Unidentified, traced


class Density:
    """Functions of one program structure, compiled once per shape and shared by programs of equal shapes.

    Parameters
    ----------
    program : Program
        Supplies the model, its static arguments and fixed sites; its data are never captured.
    trace : ModelTrace
    dtype : numpy.dtype
    """

    large_batch = np.inf  # each size of a batch is compiled once: only one is used
    looped = False  # whatever JAX can trace it can map

    def __init__(self, program, trace, dtype):
        self._trace, self.dtype = trace, np.dtype(dtype)
        self.rebind(program)
        self.clock = {"compile": 0.0, "count": 0}
        self.ascents: dict = {}  # compiled loops of steps, by what else they depend on
        offsets, start = {}, 0
        for site in trace.latents:
            offsets[site.name] = (start, start + site.size, site.unconstrained_shape)
            start += site.size
        self._offsets = offsets
        self._num_batch = num_batch(trace)
        self._kept = {site.name for site in trace.sites}
        self.value_and_grad = self._function(jax.vmap(jax.value_and_grad(self._total), (0, None, None)))
        scaled = jax.value_and_grad(self.scaled_total)
        self.scaled_value_and_grad = self._function(jax.vmap(scaled, (0, None, None, None)))
        self.value = self._function(jax.vmap(self._total, (0, None, None)))
        self.parts = self._function(jax.vmap(self._parts, (0, None, None, None)))
        self.site_priors = self._function(jax.vmap(self._site_priors, (0, None, None)))
        self.constrain = self._function(jax.vmap(self._constrain, (0, None, None)))
        self.unconstrain = self._function(jax.vmap(self._unconstrain, (0, None, None)))
        self.joint = self._function(self._joint)
        self.score = self._function(jax.vmap(self._score, (0, None, None, None)))
        self.per_row = self._function(jax.vmap(self._per_row, (0, None, None)))
        self.observed = self._function(jax.vmap(self._observed, (0, None, None)))
        self.predict = self._function(jax.vmap(self._predict, (0, 0, None, None)))
        self.predict_values = self._function(jax.vmap(self._predict_values, (0, 0, None, None)))
        self.prior = self._function(jax.vmap(self._prior, (0, None, None)))
        self.responsibilities = self._function(jax.vmap(self._responsibilities, (0, None, None)))
        self.hessian_vector = self._function(jax.vmap(self._hvp, (0, 0, None, None)))
        self.fingerprint: str | None = None

    def _function(self, fn) -> Function:
        return Function(fn, self.dtype, self.clock, check=self.verify)

    def rebind(self, program) -> None:
        """Take what is not traced from a program with the same trace."""
        self._program = program
        self._static = {k: leaf.value for k, leaf in program.leaves.items() if not leaf.traced}

    def verify(self) -> None:
        """Refuse to trace more where the model has changed since the first trace."""
        if self.fingerprint is not None:
            refuse_changed(self._program.name, self.fingerprint, self.identity())

    def identity(self) -> str | None:
        """Digest of the traced program with its constants; None where something in it cannot be identified."""
        z, seed = jax.ShapeDtypeStruct((self._trace.dim,), self.dtype), jax.ShapeDtypeStruct((), np.int64)
        data = {k: _abstract(v.value, self.dtype) for k, v in self._program.leaves.items() if v.traced}
        weights = {k: _abstract(v, self.dtype) for k, v in self._trace.weights.items()}
        total = jax.value_and_grad(self._total)
        ways = (
            ((total, z), (self._total, z)),
            ((self._prior, seed), (self._predict, z, seed), (self._constrain, z)),
        )
        with precision(self.dtype):
            found = [_first_traced(tries, data, weights) for tries in ways]
        known = [part for part in found if part is not None]
        return "-".join(part[:24] for part in known) if len(known) == len(found) else None

    def device(self, program) -> dict:
        """The traced leaves of a program as device arrays."""
        return {k: to_device(leaf.value, self.dtype) for k, leaf in program.leaves.items() if leaf.traced}

    def lent(self, program) -> dict:
        """The traced leaves of a program as they are: what a compiled function does not read is not copied."""
        leaves = {k: np.asarray(leaf.value) for k, leaf in program.leaves.items() if leaf.traced}
        return {k: v.astype(self.dtype, copy=False) if v.dtype.kind == "f" else v for k, v in leaves.items()}

    def _execute(self, data, run, key=None) -> Record:
        return execute(self._program, {**self._static, **data}, run, key)

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

    def _factors(self, record, roles=DENSITIES, without=()) -> list[Factor]:
        """Log density terms, discrete sites summed out."""
        terms = {
            n.name: n.log_prob for n in record.nodes.values() if n.role in roles and n.name not in without
        }
        if not record.discrete:
            return [Factor(value, frozenset({name})) for name, value in terms.items()]
        check_terms(terms, record.discrete, self._num_batch, self._program.links("jax"))
        return eliminate(terms, record.discrete, self._num_batch, scan)

    def _latent_from(self, z, weights, jacobian=None, scale=None):
        jacobian, centring = ([] if jacobian is None else jacobian), weights.get(KEY, {})

        def latent(name, fn, at=None):
            start, stop, shape = self._offsets[name]
            u = _element(z[start:stop].reshape(shape), at)
            if name in centring:
                x, log_jacobian = place(fn, _element(centring[name], at), u)
                if at is None:
                    jacobian.append(log_jacobian)
                return x
            if _is_real(fn.support):
                return u
            transform = transform_of(fn)
            x = transform(u)
            if at is None:
                check_value(self._trace[name], x)
                change = transform.log_abs_det_jacobian(u, x)
                jacobian.append(jnp.sum(weighed(self._trace[name], change, scale)))
            return x

        return latent

    def _parts(self, z, data, weights, scale):
        jacobian: list = []
        latent = self._latent_from(z, weights, jacobian, scale)
        record = self._execute(data, self._run(latent, weights, scale=scale, whole=latent))
        prior = likelihood = factors = jnp.zeros(())
        if record.discrete and scale:
            raise UnsupportedError(
                explain("rows", "a model without discrete latent sites", "one with some", "use all rows")
            )
        for factor in self._factors(record):
            kinds, value = {record.nodes[name].role for name in factor.names}, jnp.sum(factor.value)
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
            "log_jacobian": sum(jacobian, jnp.zeros(())),
        }

    def scaled_total(self, z, data, weights, scale):
        """Log density with the densities in some plates scaled, as a minibatch needs it."""
        return sum(self._parts(z, data, weights, scale).values())

    def _total(self, z, data, weights):
        return self.scaled_total(z, data, weights, {})

    def _score(self, values, z, data, weights):
        """Gradient at one point with other values of some data."""
        return {"score": jax.grad(self._total)(z, {**data, **values}, weights)}

    def _hvp(self, z, v, data, weights):
        return jax.jvp(lambda x: jax.grad(self._total)(x, data, weights), (z,), (v,))[1]

    def _joint(self, values, data, weights):
        run = self._run(_among(values), weights)
        record = self._execute(data, run)
        return {" × ".join(sorted(f.names)): jnp.sum(f.value) for f in self._factors(record)}

    def _site_priors(self, z, data, weights):
        record = self._execute(data, self._run(self._latent_from(z, weights), weights))
        return {
            name: jnp.sum(factor.value)
            for factor in self._factors(record)
            for name in factor.names
            if factor.names == {name} and record.nodes[name].role == "latent"
        }

    def _constrain(self, z, data, weights):
        record = self._execute(data, self._run(self._latent_from(z, weights), weights))
        return {
            n.name: jnp.asarray(n.value)
            for n in record.nodes.values()
            if n.role in {"latent", "deterministic"} and n.name in self._kept
        }

    def _unconstrain(self, values, data, weights):
        parts: dict = {}

        def latent(name, fn, at=None):
            value = values[name]
            if at is not None:
                return value[at]
            if name in weights.get(KEY, {}):
                parts[name] = coordinates(fn, weights[KEY][name], value)
                return value
            parts[name] = value if _is_real(fn.support) else transform_of(fn).inv(value)
            return value

        self._execute(data, self._run(latent, weights, whole=latent))
        return jnp.concatenate([jnp.ravel(parts[site.name]) for site in self._trace.latents])

    def _per_row(self, z, data, weights):
        record = self._execute(data, self._run(self._latent_from(z, weights), weights))
        out = {}
        for factor in self._factors(record):
            seen = [n for n in map(record.nodes.get, sorted(factor.names)) if n.role == "observed" or n.rows]
            if len(seen) != 1:  # no rows of its own: a discrete site is shared
                continue
            (node,) = seen
            shape = jnp.shape(node.value)[: jnp.ndim(node.value) - node.fn.event_dim]
            if jnp.size(factor.value) != np.prod(shape, dtype=int):
                continue
            value = factor.value.reshape(shape) if len(factor.names) > 1 else factor.value
            if not factor.names.isdisjoint(self._trace.tied):
                value = value - self._apart(record, factor, node).reshape(value.shape)
            if node.holes is not None:  # what is missing is no observation
                value = jnp.where(node.holes, 0.0, value)
            out[node.name] = value
        return out

    def _apart(self, record, factor, node):
        """Log density of a factor without an outcome: of continuous sites whose law depends on the same discrete one."""
        rest = self._factors(record, without={node.name})
        return sum(f.value for f in rest if f.names <= factor.names)

    def _responsibilities(self, z, data, weights):
        """Posterior probability of each value of each discrete site, on the site's first axis."""
        sites = {s.name: s for s in self._trace.by_role("discrete")}

        def total(tilts):
            run = self._run(self._latent_from(z, weights), weights, tilts=tilts)
            record = self._execute(data, run)
            return sum(jnp.sum(f.value) for f in self._factors(record)), None

        counts = self._trace.counts
        tilts = {name: jnp.zeros((counts[name], *site.shape)) for name, site in sites.items()}
        return jax.grad(total, has_aux=True)(tilts)[0]

    def _agreeing(self, latent, known, draw, key, data, weights):
        """Like `draw`, but discrete sites follow from the continuous ones whose laws depend on them.

        One site is drawn after the other, each from its probabilities given the values before it.
        """
        sites, counts = self._trace.by_role("discrete"), self._trace.counts
        tilts = {s.name: jnp.zeros((counts[s.name], *s.shape), self.dtype) for s in sites}
        key, codes = jax.random.fold_in(key, 1), {}

        def total(tilts):
            record = self._execute(data, self._run(latent, weights, tilts=tilts))
            return sum(jnp.sum(f.value) for f in self._factors(record, BEFORE_DATA))

        def chosen(tilts, name, key):
            code = jax.random.categorical(key, jnp.log(jax.grad(total)(tilts)[name]), axis=0)
            each = jnp.arange(counts[name]).reshape(-1, *[1] * code.ndim)
            return jnp.where(each == code, 0.0, IMPOSSIBLE).astype(self.dtype)

        for site in sites:
            name, own = site.name, jax.random.fold_in(key, len(codes))
            if site.distribution == "MarkovChain":

                def step(t, tilts, name=name, own=own):
                    found = chosen(tilts, name, jax.random.fold_in(own, t))
                    return {**tilts, name: tilts[name].at[..., t].set(found[..., t])}

                tilts = jax.lax.fori_loop(0, site.shape[-1], step, tilts)
            else:
                tilts = {**tilts, name: chosen(tilts, name, own)}
            codes[name] = jnp.argmax(tilts[name], axis=0)

        def outcome(name, fn):
            if name not in codes:
                return draw(name, fn)
            value = values_of(fn, is_chain(fn), codes[name])
            return value if known[name] is True else jnp.where(known[name], value, draw(name, fn))

        return outcome

    def _sampling(self, key):
        counter = iter(range(1 << 30))

        def draw(name, fn, at=None):
            own = jax.random.fold_in(key, next(counter))
            try:
                return fn.sample(own if at is None or at is ... else jax.random.fold_in(own, at))
            except NotImplementedError:
                raise UnsupportedError(
                    explain(
                        f"site '{name}'",
                        "a distribution that can be sampled",
                        f"{type(fn).__name__}",
                        "give it a proper prior",
                    )
                ) from None

        return draw

    def _outcomes(self, record):
        out = {}
        for node in record.nodes.values():
            if node.role in {"observed", "predicted"}:
                value = jnp.asarray(node.value)
                out[node.name] = value
        return out

    def _observed(self, z, data, weights):
        """Values of observed sites that are computed from the data."""
        record = self._execute(data, self._run(self._latent_from(z, weights), weights))
        names = {site.name for site in self._trace.by_role("observed") if site.argument is None}
        return {name: jnp.asarray(record.nodes[name].value) for name in sorted(names)}

    def _predict(self, z, seed, data, weights):
        key = jax.random.key(seed)
        latent, draw = self._latent_from(z, weights), self._sampling(key)
        if self._trace.tied:
            draw = self._agreeing(
                latent, {name: True for name in self._trace.counts}, draw, key, data, weights
            )
        run = self._run(latent, weights, predict=draw)
        record = self._execute(data, run, key)
        values = {n.name: jnp.asarray(n.value) for n in record.nodes.values() if n.role == "deterministic"}
        return {**values, **self._outcomes(record)}

    def _predict_values(self, values, seed, data, weights):
        """Outcomes given constrained values.

        A site without a value is drawn from its prior; so are the elements of a pair ``(value, known)``
        that are not known.
        """
        key = jax.random.key(seed)
        draw = self._sampling(key)

        def latent(name, fn, at=None):
            given = values.get(name)
            if given is None:
                return draw(name, fn, at)
            if isinstance(given, tuple):
                return jnp.where(_element(given[1], at), _element(given[0], at), draw(name, fn, at))
            return _element(given, at)

        outcome = draw
        if self._trace.tied:
            known = known_elements(self._trace, values)

            def whole(name, fn):
                given = values.get(name)
                return given[0] if isinstance(given, tuple) else latent(name, fn)

            if any(part is not False for part in known.values()):
                outcome = self._agreeing(whole, known, draw, key, data, weights)
        record = self._execute(data, self._run(latent, weights, predict=outcome), key)
        roles = {"latent", "deterministic"}
        kept = {n.name: jnp.asarray(n.value) for n in record.nodes.values() if n.role in roles}
        return {**kept, **self._outcomes(record)}

    def _prior(self, seed, data, weights):
        key = jax.random.key(seed)
        draw = self._sampling(key)
        record = self._execute(data, self._run(draw, weights, predict=draw, joint=True), key)
        roles = {"latent", "deterministic"}
        values = {n.name: jnp.asarray(n.value) for n in record.nodes.values() if n.role in roles}
        return {**values, **self._outcomes(record)}


def _element(value, at):
    return value if at is None else value[at]


def _among(values):
    """Latent values that are all given."""
    return lambda name, fn, at=None: _element(values[name], at)


_Independent = type(constraints.independent(constraints.real, 1))


def _is_real(support) -> bool:
    while isinstance(support, _Independent):
        support = support.base_constraint
    return support is constraints.real or support is constraints.real_vector


def _abstract(value, dtype) -> jax.ShapeDtypeStruct:
    """Shape and type of an array as `to_device` hands it over."""
    kind = np.asarray(value).dtype
    if kind.kind == "f":
        kind = np.dtype(dtype)
    elif kind.kind in "iu" and np.dtype(dtype) == np.float32:
        kind = np.dtype(np.int32)
    return jax.ShapeDtypeStruct(np.shape(value), kind)


def _first_traced(tries, data, weights) -> str | None:
    """Digest of the first of several functions that this model has."""
    for fn, *given in tries:
        try:
            return traced(fn, *given, data, weights)
        except Unidentified:
            return None
        except Exception:  # noqa: BLE001  no gradient, say, or a law without draws: said where it is asked for
            continue
    return "nothing"


def density_of(program, trace, dtype) -> Density:
    """The compiled functions of a program, shared with programs that are traced to the same."""
    with precision(dtype):
        made = Density(program, trace, dtype)
    made.fingerprint = made.identity()
    return shared(program.model.compiled, ("jax", *structure_key(program, trace, dtype)), made, program)
