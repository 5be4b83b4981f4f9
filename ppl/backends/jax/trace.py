"""Find a model's sites, shapes and supports abstractly: nothing of the model runs on numbers."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import constraints

from ...centring import can_be_centred
from ...data import holes
from ...distributions import is_censored, measure_of
from ...enumeration import num_batch
from ...errors import ElboroomError, ModelError, explain
from ...masks import Masks
from ...running import GroupsFound, Record, count_values, how_missing
from ...sites import ModelTrace, Site, axes, check_shape, check_support
from ..wrappers import base_name, base_of, mask_of
from .arrays import concrete, precision
from .execute import Run, execute, probe
from .lowering import constraint_of
from .masks import masks
from .missing import imputed
from .transforms import transform_of

_NEEDS_VALUES = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.NonConcreteBooleanIndexError,
    TypeError,
)


def trace(program) -> ModelTrace:
    """Sites of a program.

    Where the model needs the value of an array (a size computed from data, say), that argument becomes
    static; the trace names it in ``demoted``.
    """
    with precision(program.precision):
        try:
            found = _trace(program)
        except _NEEDS_VALUES as error:
            if isinstance(error, ElboroomError):
                raise
            found = _trace_with_static(program, error)
        if found.missing and program.imputed is None:
            program.imputed = imputed(program, lambda data, stand_in: _run(program, stand_in, data))
            found = replace(_trace(program), demoted=found.demoted)
        if program.model.language == "numpyro":
            found = _masked(program, found)
        return found.with_tied(_tied(program, found)) if found.counts else found


def _tied(program, found) -> list[str]:
    """Latent sites whose law has the axis of a discrete site."""
    data = {label: leaf.value for label, leaf in program.leaves.items() if leaf.traced}
    static = {label: leaf.value for label, leaf in program.leaves.items() if not leaf.traced}
    shapes, names = {s.name: s.shape for s in found.sites}, []

    def abstract(data):
        def latent(name, fn, at=None):
            extra = len(fn.batch_shape) - run.num_batch
            if extra <= 0:
                return _probe_latent(name, fn)
            names.append(name)
            return jnp.reshape(_probe_latent(name, fn)[(0,) * extra], shapes[name])

        run = Run(latent, Record(), program.fixed, program.intervened, num_batch=num_batch(found))
        execute(program, {**static, **data}, run)
        return 0

    jax.eval_shape(abstract, data)
    return names


def _masked(program, found) -> ModelTrace:
    """The trace of a NumPyro model with what its masks hide."""
    if program.masks is None:
        program.masks = Masks()
        gaps = any(holes(leaf.value) is not None for leaf in program.leaves.values())
        if gaps or found.masked:
            program.masks = masks(program, found, partial(_run, program, None))
    if program.masks.kept:
        found = replace(_trace(program), demoted=found.demoted)
    return replace(found, hidden=program.masks.hidden)


def _trace_with_static(program, error) -> ModelTrace:
    traced = [label for label, leaf in program.leaves.items() if leaf.traced and leaf.value.ndim]
    program.make_static(traced)
    try:
        _trace(program)
    except GroupsFound:
        program.make_traced(traced)
        raise
    except Exception:  # noqa: BLE001  the model has another fault: the first error names it
        program.make_traced(traced)
        raise error from None
    for label in traced:
        program.make_traced([label])
        try:
            _trace(program)
        except _NEEDS_VALUES:
            program.make_static([label])
    found = _trace(program)
    return replace(found, demoted=tuple(label for label in traced if not program.leaves[label].traced))


def _trace(program) -> ModelTrace:
    traced = {label: leaf.value for label, leaf in program.leaves.items() if leaf.traced}
    static = {label: leaf.value for label, leaf in program.leaves.items() if not leaf.traced}
    out: dict = {}

    def abstract(data):
        leaves = {**static, **data}
        record = Record()
        run = Run(_probe_latent, record, program.fixed, program.intervened)
        execute(program, leaves, run)
        labels = {id(leaf): label for label, leaf in leaves.items() if leaf is not None}
        out["missing"] = {
            name: how_missing(node, program.imputed)
            for name, node in record.nodes.items()
            if node.holes is not None
        }
        out["counts"] = {
            name: count_values(node.fn) for name, node in record.nodes.items() if node.role == "discrete"
        }
        out["sites"] = tuple(_site(node, labels, program) for node in record.nodes.values())
        out["coords"] = dict(record.coords)
        out["masked"] = any(mask_of(node.fn) is not None for node in record.nodes.values())
        out["repeated"] = tuple(name for name, node in record.nodes.items() if _repeated(node))
        return {name: jnp.asarray(value) for name, value in record.weights.items()}

    weights = jax.eval_shape(abstract, traced)
    initial = {}
    if weights:
        initial = {k: np.asarray(v) for k, v in jax.jit(abstract)(traced).items()}
    return ModelTrace(
        out["sites"],
        {**out["coords"], **program.coords},
        initial,
        missing=out["missing"],
        counts=out["counts"],
        masked=out["masked"],
        repeated=out["repeated"],
    )


def _repeated(node) -> bool:
    """Whether observed values are fewer than those that their law is of."""
    return node.role == "observed" and np.size(node.value) < np.prod(node.fn.shape(), dtype=int)


def _run(program, stand_in, data, latent=None) -> Record:
    """One run with every missing value masked, and what others see of it decided by `stand_in`."""
    static = {label: leaf.value for label, leaf in program.leaves.items() if not leaf.traced}
    run = Run(latent or _probe_latent, Record(), program.fixed, program.intervened)
    run.stand_in = stand_in
    return execute(program, {**static, **data}, run)


def _probe_latent(name, fn, at=None):
    try:
        return probe(fn)
    except NotImplementedError as error:
        raise ModelError(
            explain(
                f"site '{name}'",
                "a support with a bijection to the reals",
                f"{fn.support}",
                "choose another parametrisation",
            )
        ) from error


def _site(node, labels, program) -> Site:
    shape = tuple(jnp.shape(node.value)) if node.value is not None else ()
    if node.role in {"deterministic", "factor"}:
        if node.role == "factor":
            shape = tuple(jnp.shape(node.fn.log_factor))
        plates, dims = axes(node, shape, 0, program)
        return Site(node.name, node.role, shape=shape, plates=plates, dims=dims)
    fn = node.fn
    event_dim = fn.event_dim
    argument = labels.get(id(node.source)) if node.source is not None else None
    if node.role == "observed":
        check_shape(node.name, tuple(fn.shape()), shape, argument)
    if node.role != "observed":
        shape = tuple(fn.shape())
    plates, dims = axes(node, shape, event_dim, program)
    unconstrained = ()
    if node.role == "latent":
        unconstrained = tuple(transform_of(fn).inverse_shape(fn.shape()))
    constraint = constraint_of(fn.support)
    if node.role == "observed" and argument is not None:
        check_support(node.name, argument, constraint, program.leaves[argument], base_name(fn))
    return Site(
        node.name,
        node.role,
        base_name(fn),
        str(getattr(constraint, "name", "") or _support_words(fn.support)),
        shape,
        event_dim,
        unconstrained,
        plates,
        dims,
        bool(fn.is_discrete),
        argument,
        constraint,
        node.role == "latent" and can_be_centred(fn, lambda scale: not concrete(scale)),
        joint=base_of(fn).event_dim,
        measure=measure_of(base_name(fn), bool(fn.is_discrete)),
        censored=is_censored(base_name(fn)),
    )


def _support_words(support) -> str:
    name = type(support).__name__.strip("_").replace("_", " ")
    return "real" if support is constraints.real else name.lower()
