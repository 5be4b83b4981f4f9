"""The functions of one draw of a program, before a backend compiles them and maps them over batches.

Density and its parts, values and coordinates, rows, predictions: written once, over what `Library` asks of a backend.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .. import math
from ..ancestral import ancestral_sites, drawn_in_order
from ..centring import KEY, coordinates, place
from ..enumeration import (
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
from ..errors import UnsupportedError, explain
from ..running import Record, check_value, is_chain, weighed
from .library import Draws, Library
from .placing import placed
from .wrappers import elements

KEPT = frozenset({"latent", "deterministic"})
JACOBIAN = "log Jacobian of "
"""What the name of a site's log Jacobian among the `terms` begins with."""


@dataclass(frozen=True, eq=False)
class _Pieces:
    """Coordinates, those of some sites in arrays of their own, by where they begin."""

    whole: Any
    own: dict

    def __getitem__(self, where: slice):
        found = self.own.get(where.start)
        return self.whole[where] if found is None else found


class Functions:
    """The functions of one draw.

    Parameters
    ----------
    library : Library
        The backend's, which computes.
    program : Program
        Supplies the model, its static arguments and fixed sites; its data are never captured.
    static : mapping
        The arguments that are not traced, as the model gets them.
    trace : ModelTrace
        Sites of the program, whose order is that of the coordinates.
    dtype : numpy.dtype
        Precision of the density.
    """

    def __init__(self, library: Library, program, static, trace, dtype):
        self._library, self._trace, self._dtype = library, trace, np.dtype(dtype)
        self.rebind(program, static)
        self._offsets, start = {}, 0
        for site in trace.latents:
            self._offsets[site.name] = (start, start + site.size, site.unconstrained_shape)
            start += site.size
        self._num_batch = num_batch(trace)
        self._kept = {site.name for site in trace.sites}

    def rebind(self, program, static) -> None:
        """Take what is not traced from another program."""
        self._program, self._static = program, static

    # -- one run of the model ---------------------------------------------------------------------------

    def _record(self, latent, data, weights, draws=None, **settings) -> Record:
        run = self._library.run(
            latent,
            Record(),
            self._program.fixed,
            self._program.intervened,
            weights=weights,
            num_batch=self._num_batch,
            **settings,
        )
        return self._library.execute(self._program, {**self._static, **data}, run, draws)

    def _at(self, z, data, weights, **settings) -> Record:
        return self._record(self._latent_from(z, weights), data, weights, **settings)

    def _factors(self, record, roles=DENSITIES, without=()) -> list[Factor]:
        """Log density terms, discrete sites summed out."""
        nodes = record.nodes.values()
        terms = {n.name: n.log_prob for n in nodes if n.role in roles and n.name not in without}
        if not record.discrete or self._num_batch is None:
            return [Factor(value, frozenset({name})) for name, value in terms.items()]
        check_terms(terms, record.discrete, self._num_batch, self._program.links(self._library.name))
        return eliminate(terms, record.discrete, self._num_batch, self._library.scan)

    def _sum(self, record, roles=DENSITIES):
        return sum(self._library.total(f.value) for f in self._factors(record, roles))

    def _latent_from(self, z, weights, jacobian=None, scale=None):
        """``latent(name, fn)``, the value at coordinates `z`; log Jacobians are put into `jacobian`, by element."""
        jacobian, centring = ({} if jacobian is None else jacobian), weights.get(KEY, {})

        def latent(name, fn, at=None):
            start, stop, shape = self._offsets[name]
            u = _element(z[start:stop].reshape(shape), at)
            if name in centring:
                x, log_jacobian = place(fn, _element(centring[name], at), u)
                if at is None:
                    jacobian[name] = log_jacobian
                return x
            if self._library.is_real(fn.support):
                return u
            transform = self._library.transform(fn)
            x = transform(u)
            if at is None:
                check_value(self._trace[name], x)
                change = transform.log_abs_det_jacobian(u, x)
                jacobian[name] = weighed(self._trace[name], change, scale)
            return x

        return latent

    # -- density ----------------------------------------------------------------------------------------

    def parts(self, z, data, weights, scale) -> dict:
        """Log prior, likelihood, factors and Jacobian, the densities in some plates scaled."""
        jacobian: dict = {}
        latent, total = self._latent_from(z, weights, jacobian, scale), self._library.total
        record = self._record(latent, data, weights, scale=scale, whole=latent)
        prior = likelihood = factors = zero = self._library.zeros((), self._dtype)
        if record.discrete and scale:
            raise UnsupportedError(
                explain("rows", "a model without discrete latent sites", "one with some", "use all rows")
            )
        for factor in self._factors(record):
            kinds, value = {record.nodes[name].role for name in factor.names}, total(factor.value)
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
            "log_jacobian": sum(map(total, jacobian.values()), zero),
        }

    def scaled_total(self, z, data, weights, scale):
        """Log density with the densities in some plates scaled, as a minibatch needs it."""
        return sum(self.parts(z, data, weights, scale).values())

    def total(self, z, data, weights):
        """Log density."""
        return self.scaled_total(z, data, weights, {})

    def total_without(self, z, data, weights, names):
        """Log density without the terms of some latent sites, which stand alone."""
        jacobian: dict = {}
        record = self._record(self._latent_from(z, weights, jacobian), data, weights)
        zero = self._library.zeros((), self._dtype)
        left = (self._library.total(f.value) for f in self._factors(record, without=names))
        return sum(map(self._library.total, jacobian.values()), sum(left, zero))

    def terms(self, z, data, weights) -> dict:
        """The terms that the log density is a sum of, as small as they come: by site, and the log Jacobian of each site."""
        jacobian: dict = {}
        latent = self._latent_from(z, weights, jacobian)
        record = self._record(latent, data, weights, whole=latent)
        if record.discrete:
            out = {" × ".join(sorted(f.names)): f.value for f in self._factors(record)}
        else:
            out = {n.name: _by_element(n) for n in record.nodes.values() if n.role in DENSITIES}
        return {**out, **{f"{JACOBIAN}{name}": value for name, value in jacobian.items()}}

    def score(self, values, z, data, weights) -> dict:
        """Gradient at one point with other values of some data."""
        return {"score": self._library.grad(lambda z: self.total(z, {**data, **values}, weights))(z)}

    def moved(self, z, own, data, weights) -> dict:
        """Gradients in the coordinates of some sites at several values of these, shapes ``(M, n)`` by site.

        What depends on the other sites alone is computed once.
        """
        given = {self._offsets[name][0]: name for name in own}

        def total(own):
            at = _Pieces(z, {start: own[name] for start, name in given.items()})
            return self.total(at, data, weights)

        return self._library.vmap(self._library.grad(total))(own)

    def hessian_vector(self, z, v, data, weights):
        """Hessian of the log density times a vector."""
        return self._library.jvp(self._library.grad(lambda z: self.total(z, data, weights)), z, v)

    def joint(self, values, data, weights) -> dict:
        """Log density of each site, or of sites together where a discrete one is summed out."""
        factors = self._factors(self._record(among(values), data, weights))
        return {" × ".join(sorted(f.names)): self._library.total(f.value) for f in factors}

    def site_priors(self, z, data, weights) -> dict:
        """Log density of each latent site whose term stands alone."""
        record = self._at(z, data, weights)
        return {
            name: self._library.total(factor.value)
            for factor in self._factors(record)
            for name in factor.names
            if factor.names == {name} and record.nodes[name].role == "latent"
        }

    def per_row(self, z, data, weights) -> dict:
        """Log likelihood of each observed row, by site."""
        record, out = self._at(z, data, weights), {}
        for factor in self._factors(record):
            nodes = (record.nodes[name] for name in sorted(factor.names))
            seen = [n for n in nodes if n.role == "observed" or n.rows]
            if len(seen) != 1:  # no rows of its own: a discrete site is shared
                continue
            (node,), value = seen, factor.value
            if node.role == "observed":
                shape = tuple(np.shape(node.value))
                shape = shape[: len(shape) - len(node.fn.event_shape)]
                if np.prod(np.shape(value), dtype=int) != np.prod(shape, dtype=int):
                    continue
                value = value.reshape(shape)
            if not factor.names.isdisjoint(self._trace.tied):
                value = value - self._apart(record, factor, node).reshape(value.shape)
            if node.holes is not None:  # what is missing is no observation
                value = math.where(node.holes, 0.0, value)
            out[node.name] = value
        return out

    def by_row(self, z, data, weights, plate: str) -> dict:
        """The log density as a sum over the elements of a plate.

        Parameters
        ----------
        z : array, shape (dim,)
            Coordinates.
        data, weights : mapping
            As all functions of a draw take them.
        plate : str
            Its elements are the rows.

        Returns
        -------
        dict
            ``likelihood`` and ``other``, shapes ``(rows,)``: of outcomes, and of discrete sites and factors; ``prior``, by latent
            site of the plate, shape ``(rows, k)``, by element where these are independent, log Jacobians included (of sites whose law
            depends on a discrete one, that of all of them on average over it, at the first); and ``outside``, what is in no row.
        """
        jacobian: dict = {}
        latent, total = self._latent_from(z, weights, jacobian), self._library.total
        record = self._record(latent, data, weights, whole=latent)
        sizes = (s.shape[s.dims.index(plate)] for s in self._trace.sites if plate in s.dims)
        outside = self._library.zeros((), self._dtype)
        likelihood = other = self._library.zeros((next(sizes),), self._dtype)
        prior: dict = {}
        early = (
            ({"discrete", "latent"}, {"discrete"}) if record.discrete else ()
        )  # what is known before outcomes
        before = [self._factors(record, roles) for roles in early]
        for factor in self._factors(record):
            nodes = [record.nodes[name] for name in sorted(factor.names)]
            axis = next((a for node in nodes if (a := _axis_of(node, plate)) is not None), None)
            if axis is None:
                outside = outside + total(factor.value)
                continue
            kinds = {node.role for node in nodes}
            if kinds == {"latent"} and len(nodes) == 1:
                value = _by_element(nodes[0])
                prior[nodes[0].name] = _rows(value, axis - (np.ndim(value) - np.ndim(factor.value)))
                continue
            value = _summed(_rows(factor.value, axis))
            latents = [node.name for node in nodes if node.role == "latent"]
            if latents:
                joint, known = (_within(factors, factor, axis) for factors in before)
                own = joint - known
                value, other = value - joint, other + known
                prior |= {name: (own if name == latents[0] else 0.0 * own)[:, None] for name in latents}
            if "observed" in kinds:
                likelihood = likelihood + value
            else:
                other = other + value
        for name, value in jacobian.items():
            site = self._trace[name]
            if plate not in site.plates:
                outside = outside + total(value)
                continue
            change = _rows(value, site.dims.index(plate))
            own = prior[name]
            same = np.shape(own) == np.shape(change)
            prior[name] = own + change if same else (_summed(own) + _summed(change))[:, None]
        return {"likelihood": likelihood, "other": other, "prior": prior, "outside": outside}

    def means(self, z, data, weights, known: bool = False) -> dict:
        """Mean of each outcome given everything else, of the laws that know theirs; on average over a discrete site that was summed
        out, given the outcomes where they are `known`."""
        roles = DENSITIES if known else BEFORE_DATA
        found = _moments("mean", self._at(z, data, weights))
        return {name: self._averaged(value, name, z, data, weights, roles) for name, value in found.items()}

    def variances(self, z, data, weights) -> dict:
        """Variance of each outcome, element by element, given everything else, of the laws that know theirs."""
        return _moments("variance", self._at(z, data, weights))

    def _averaged(self, value, name: str, z, data, weights, roles):
        """An array of an outcome at each value of a discrete site, on average over these.

        Raises
        ------
        UnsupportedError
            Below several discrete sites.
        """
        own = len(self._trace[name].shape)
        if np.ndim(value) <= own:
            return value
        above = sorted(self._program.links(self._library.name)[name])
        if len(above) != 1:
            words = "an outcome below one discrete site that is summed out"
            raise UnsupportedError(
                explain(f"mean of '{name}'", words, f"{above}", "draw outcomes in place of means")
            )

        def total(tilts):
            return self._sum(self._at(z, data, weights, tilts=tilts), roles)

        found = self._library.grad(total)(self._tilts())[above[0]]
        lead, *shape = np.shape(found)
        found = math.reshape(found, (lead, *shape, *[1] * (own - len(shape))))
        return math.sum(found * math.reshape(value, (lead, *np.shape(value)[-own:])), axis=0)

    def _apart(self, record, factor, node):
        """Log density of a factor without an outcome: of continuous sites whose law depends on the same discrete one."""
        rest = self._factors(record, without={node.name})
        return sum(f.value for f in rest if f.names <= factor.names)

    # -- values -----------------------------------------------------------------------------------------

    def constrain(self, z, data, weights) -> dict:
        """Values of latent and deterministic sites."""
        values = self._values(self._at(z, data, weights), KEPT)
        return {name: value for name, value in values.items() if name in self._kept}

    def unconstrain(self, values, data, weights):
        """Coordinates of constrained values."""
        parts: dict = {}

        def latent(name, fn, at=None):
            value = values[name]
            if at is not None:
                return value[at]
            if name in weights.get(KEY, {}):
                parts[name] = coordinates(fn, weights[KEY][name], value)
            else:
                real = self._library.is_real(fn.support)
                parts[name] = value if real else self._library.transform(fn).inv(value)
            return value

        self._record(latent, data, weights, whole=latent)
        return math.concat([parts[site.name].reshape(-1) for site in self._trace.latents])

    def observed(self, z, data, weights) -> dict:
        """Values of observed sites that are computed from the data."""
        record = self._at(z, data, weights)
        names = {site.name for site in self._trace.by_role("observed") if site.argument is None}
        return {name: self._library.asarray(record.nodes[name].value) for name in sorted(names)}

    def _values(self, record, roles) -> dict:
        return {n.name: self._library.asarray(n.value) for n in record.nodes.values() if n.role in roles}

    # -- draws ------------------------------------------------------------------------------------------

    @cached_property
    def _ancestral(self):
        """Outcomes that are given to a network of their own law."""
        program, backend = self._program, self._library.name
        return ancestral_sites(self._trace, lambda: program.accesses(backend))

    def _made(self, run, seed, data) -> Record:
        """``run(draws, data, known)``, so that no outcome is drawn from a law that has seen the data in its place."""
        draws = self._library.draws(seed, self._dtype)
        return drawn_in_order(self._ancestral, run, draws, data, self._library.cast)

    def predict(self, z, seed, data, weights) -> dict:
        """Outcomes and deterministic sites."""
        latent, counts = self._latent_from(z, weights), dict.fromkeys(self._trace.counts, True)

        def run(draws, data, known):
            outcome = drawing = _drawing(draws)
            if self._trace.tied:
                outcome = self._agreeing(latent, counts, drawing, draws, data, weights)
            return self._record(latent, data, weights, draws, predict=_unless(known, outcome))

        record = self._made(run, seed, data)
        return {**self._values(record, {"deterministic"}), **self._values(record, {"observed", "predicted"})}

    def predict_values(self, values, seed, data, weights) -> dict:
        """Outcomes given constrained values.

        A site without a value is drawn from its prior; so are the elements of a pair ``(value, known)`` that are not
        known.
        """

        def whole(latent):
            def value(name, fn):
                given = values.get(name)
                return given[0] if isinstance(given, tuple) else latent(name, fn)

            return value

        tied = known_elements(self._trace, values) if self._trace.tied else {}

        def run(draws, data, known):
            outcome = drawing = _drawing(draws)
            latent = _unless(known, _given(values, drawing, self._library.cast))
            if any(part is not False for part in tied.values()):
                outcome = self._agreeing(whole(latent), tied, drawing, draws, data, weights)
            return self._record(latent, data, weights, draws, predict=_unless(known, outcome))

        record = self._made(run, seed, data)
        return {**self._values(record, KEPT), **self._values(record, {"observed", "predicted"})}

    def predict_each(self, values, seed, rows, data, weights) -> dict:
        """Outcomes and deterministic sites by `predict_values` of a program of one row, for each of several rows, with the same random
        numbers: what a row gets is the same whatever others there are."""
        latents = {site.name for site in self._trace.latents}

        def one(row):
            found = self.predict_values(values, seed, {**data, **row}, weights)
            return {name: value for name, value in found.items() if name not in latents}

        return self._library.vmap(one)(rows)

    def means_each(self, z, rows, data, weights) -> dict:
        """`means` of a program of one row, for each of several rows."""
        return self._library.vmap(lambda row: self.means(z, {**data, **row}, weights))(rows)

    def per_row_each(self, z, rows, data, weights) -> dict:
        """`per_row` of a program of one row, for each of several rows."""
        return self._library.vmap(lambda row: self.per_row(z, {**data, **row}, weights))(rows)

    def complete(self, z, seed, data, weights) -> dict:
        """Outcomes, and values of discrete sites, which are drawn given all that is known: for what is missing among the data."""
        latent, counts = self._latent_from(z, weights), dict.fromkeys(self._trace.counts, True)

        def run(draws, data, known):
            outcome = drawing = _drawing(draws)
            if counts:
                outcome = self._agreeing(latent, counts, drawing, draws, data, weights, DENSITIES)
            return self._record(latent, data, weights, draws, predict=_unless(known, outcome))

        record = self._made(run, seed, data)
        found = self._values(record, {"discrete", "observed"})
        summed = {name for name, how in self._trace.missing.items() if how == "summed"}
        return {name: found[f"{name}_missing"] if name in summed else value for name, value in found.items()}

    def simulate(self, values, seed, data, weights) -> dict:
        """All sites, drawn from the model; what depends on an outcome sees the one that was drawn.

        Sites with a value have it, and those with a pair ``(value, known)`` at the elements that are known.
        """

        def run(draws, data, known):
            drawing = _unless(known, _given(values, _drawing(draws), self._library.cast))
            return self._record(drawing, data, weights, draws, predict=drawing, joint=True)

        record = self._made(run, seed, data)
        return {**self._values(record, KEPT), **self._values(record, {"observed", "predicted"})}

    def prior(self, seed, data, weights) -> dict:
        """All sites, drawn from the prior."""
        return self.simulate({}, seed, data, weights)

    def carried(self, values, noise, data, weights, wanted) -> dict:
        """What one draw makes of data with no random numbers but those that are given.

        Parameters
        ----------
        values : mapping
            Constrained values by site, or pairs as `predict_values` takes them.
        noise : mapping
            Standard normal numbers by site, of its shape: for what has no value, and for outcomes that are drawn.
        data, weights : mapping
            As all functions of a draw take them.
        wanted : collection of str
            Any of the keys below: what is left out is not computed.

        Returns
        -------
        dict of dict
            By site, ``value`` of what is no outcome; ``mean`` of outcomes whose laws know theirs; ``draw``, what the noise makes
            of an outcome; ``log_prob`` of outcomes, by row.
        """

        def drawing(name, fn, at=None):
            return placed(name, fn, _element(noise[name], at))

        record = self._record(_given(values, drawing, self._library.cast), data, weights)
        outcomes = [n for n in record.nodes.values() if n.role in {"observed", "predicted"}]
        found: dict = {}
        if "value" in wanted:
            found["value"] = self._values(record, KEPT)
        if "mean" in wanted:
            found["mean"] = _moments("mean", record)
        if "draw" in wanted:
            found["draw"] = {n.name: placed(n.name, n.fn, noise[n.name]) for n in outcomes if n.name in noise}
        if "log_prob" in wanted:
            found["log_prob"] = {n.name: n.log_prob for n in outcomes}
        return found

    # -- discrete sites ---------------------------------------------------------------------------------

    def _tilts(self) -> dict:
        """Zeros to add to the log density of each value of each discrete site: derivatives there are probabilities."""
        counts, sites = self._trace.counts, self._trace.by_role("discrete")
        return {s.name: self._library.zeros((counts[s.name], *s.shape), self._dtype) for s in sites}

    def responsibilities(self, z, data, weights) -> dict:
        """Posterior probability of each value of each discrete site, on the site's first axis."""
        return self._library.grad(lambda tilts: self._sum(self._at(z, data, weights, tilts=tilts)))(
            self._tilts()
        )

    def _agreeing(self, latent, known, drawing, draws, data, weights, roles=BEFORE_DATA):
        """Like `drawing`, but discrete sites follow from the continuous ones whose laws depend on them, and all else in these `roles`.

        One site is drawn after the other, each from its probabilities given the values before it.
        """
        counts, tilts = self._trace.counts, self._tilts()
        codes: dict[str, Any] = {}

        def total(tilts):
            return self._sum(self._record(latent, data, weights, tilts=tilts), roles)

        def chosen(tilts, name, step=None):
            """Zero at the value that is drawn, next to minus infinity at the others."""
            code = draws.choose(self._library.grad(total)(tilts)[name], len(codes), step)
            each = np.arange(counts[name]).reshape(-1, *[1] * code.ndim)
            return math.like(math.where(each == code, 0.0, IMPOSSIBLE), tilts[name])

        for site in self._trace.by_role("discrete"):
            name = site.name
            if site.distribution == "MarkovChain":

                def step(t, own, name=name, tilts=tilts):
                    found = chosen({**tilts, name: own}, name, t)
                    return t + 1, math.where(np.arange(np.shape(own)[-1]) == t, found, own)

                tilts = {**tilts, name: math.iterate(step, (0, tilts[name]), site.shape[-1])[1]}
            else:
                tilts = {**tilts, name: chosen(tilts, name)}
            codes[name] = math.argmax(tilts[name], axis=0)

        def outcome(name, fn):
            if name not in codes:
                return drawing(name, fn)
            value = values_of(fn, is_chain(fn), codes[name])
            return value if known[name] is True else math.where(known[name], value, drawing(name, fn))

        return outcome


def _element(value, at):
    return value if at is None else value[at]


def _moments(which: str, record: Record) -> dict:
    """Means or variances of outcomes, of the laws that know theirs."""
    out = {}
    for node in record.nodes.values():
        if node.role in {"observed", "predicted"}:
            try:
                out[node.name] = getattr(node.fn, which)
            except (NotImplementedError, AttributeError):
                continue
    return out


def _axis_of(node, plate: str) -> int | None:
    """Axis of a plate among those of a site's log density, from the right; None outside of it."""
    if node.rows == plate:
        return -1
    return next((axis for name, axis, _ in node.plates if name == plate), None)


def _rows(value, axis: int):
    """An array with one axis first and all others in one."""
    value = math.moveaxis(value, axis, 0)
    return math.reshape(value, (np.shape(value)[0], -1))


def _within(factors, whole, axis: int):
    """By row, the sum of those factors whose sites are among those of another."""
    parts = [math.broadcast_to(f.value, np.shape(whole.value)) for f in factors if f.names <= whole.names]
    return sum(_summed(_rows(part, axis)) for part in parts)


def _summed(value):
    """Sum of each row."""
    return math.sum(value, axis=1)


def _by_element(node):
    """Log density of a site, of each element of an event whose elements are independent."""
    law = elements(node.fn) if node.term is None and node.scale is None else None
    return node.log_prob if law is None else law.log_prob(node.value)


def among(values) -> Callable:
    """``latent(name, fn)`` for values that are all given."""
    return lambda name, _fn, at=None: _element(values[name], at)


def _unless(known, drawing) -> Callable:
    """``latent(name, fn)``: what is known, or what `drawing` gives."""

    def latent(name, fn, at=None):
        return (
            _element(known[name], at) if name in known else drawing(name, fn, *(() if at is None else (at,)))
        )

    return latent if known else drawing


def _given(values, drawing, cast) -> Callable:
    """``latent(name, fn)``: the values that are given, and draws of the others and of elements that are not known."""

    def latent(name, fn, at=None):
        given = values.get(name)
        if given is None:
            return drawing(name, fn, at)
        if isinstance(given, tuple):
            value, known = (_element(part, at) for part in given)
            drawn = drawing(name, fn, at)
            return math.where(known, cast(value, drawn), drawn)
        return _element(given, at)

    return latent


def _drawing(draws: Draws) -> Callable:
    """``latent(name, fn)`` that draws, or says that a law cannot be drawn from."""

    def draw(name, fn, at=None):
        try:
            return draws.sample(fn, at)
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
