"""Find a model's sites, shapes and supports by one run at a point inside the supports."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import torch

from ...centring import can_be_centred
from ...data import holes
from ...distributions import is_censored, measure_of
from ...enumeration import num_batch
from ...errors import ModelError, explain
from ...masks import Masks
from ...running import Record, count_values, how_missing, is_discrete
from ...sites import ModelTrace, Site, axes, check_shape, check_support
from ..wrappers import base_name, base_of, mask_of
from .arrays import Attached, randomness, to_device
from .execute import Run, execute, probe, shape_of
from .indices import Held
from .lowering import constraint_of
from .masks import masks
from .missing import imputed
from .static import demote, on_host
from .transforms import transform_to


def trace(program) -> ModelTrace:
    """Sites of a program."""
    demoted = demote(program, partial(_run, program))
    found = replace(_trace(program), demoted=demoted)
    if found.missing and program.imputed is None:
        program.imputed = imputed(program, partial(_run, program))
        found = replace(_trace(program), demoted=demoted)
    if program.model.language == "pyro":
        found = _masked(program, found)
    return found.with_tied(_tied(program, found)) if found.counts else found


def _tied(program, found) -> list[str]:
    """Latent sites whose law has the axis of a discrete site."""
    shapes, names = {s.name: s.shape for s in found.sites}, []

    def latent(name, fn):
        extra = len(fn.batch_shape) - run.num_batch
        if extra <= 0:
            return _probe_latent(name, fn)
        names.append(name)
        return _probe_latent(name, fn)[(0,) * extra].reshape(shapes[name])

    run = Run(latent, Record(), program.fixed, program.intervened, num_batch=num_batch(found))
    with randomness(0), Held():
        execute(program, leaves_of(program), run)
    return names


def _masked(program, found) -> ModelTrace:
    """The trace of a Pyro model with what its masks hide."""
    if program.masks is None:
        program.masks = Masks()
        gaps = any(holes(leaf.value) is not None for leaf in program.leaves.values())
        if gaps or found.masked:
            program.masks = masks(found, partial(_run, program, None))
    if program.masks.kept:
        found = _trace(program)
    return replace(found, hidden=program.masks.hidden)


def _run(program, stand_in=None, latent=None) -> Record:
    run = Run(latent or _probe_latent, Record(), program.fixed, program.intervened, stand_in=stand_in)
    with randomness(0), Held():
        return execute(program, leaves_of(program), run)


def leaves_of(program) -> dict:
    """Every argument as the model gets it."""
    return {
        label: to_device(leaf.value, np.float64) if leaf.traced else on_host(leaf.value)
        for label, leaf in program.leaves.items()
    }


def _trace(program) -> ModelTrace:
    record = Record()
    leaves = leaves_of(program)
    run = Run(_probe_latent, record, program.fixed, program.intervened)
    with torch.enable_grad(), randomness(0), Held(), Attached():
        execute(program, leaves, run)
        labels = {id(leaf): label for label, leaf in leaves.items() if leaf is not None}
        sites = tuple(_site(node, labels, program) for node in record.nodes.values())
    nodes = record.nodes.items()
    missing = {name: how_missing(node, program.imputed) for name, node in nodes if node.holes is not None}
    weights = {k: np.asarray(v.detach()) for k, v in record.weights.items()}
    counts = {name: count_values(node.fn) for name, node in nodes if node.role == "discrete"}
    return ModelTrace(
        sites,
        {**record.coords, **program.coords},
        weights,
        missing=missing,
        counts=counts,
        masked=any(mask_of(node.fn) is not None for _, node in nodes),
        repeated=tuple(name for name, node in nodes if _repeated(node)),
    )


def _repeated(node) -> bool:
    """Whether observed values are fewer than those that their law is of."""
    return node.role == "observed" and node.value.numel() < np.prod(shape_of(node.fn), dtype=int)


def _probe_latent(name, fn):
    try:
        value = probe(fn).detach()
        return value.requires_grad_() if value.dtype.is_floating_point else value  # no way out to NumPy
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
    if node.role in {"deterministic", "factor"}:
        shape = tuple(node.fn.log_factor.shape if node.role == "factor" else np.shape(node.value))
        plates, dims = axes(node, shape, 0, program)
        return Site(node.name, node.role, shape=shape, plates=plates, dims=dims)
    fn = node.fn
    event_dim = len(fn.event_shape)
    argument = labels.get(id(node.source)) if node.source is not None else None
    shape = tuple(np.shape(node.value)) if node.role == "observed" else shape_of(fn)
    if node.role == "observed":
        check_shape(node.name, shape_of(fn), shape, argument)
    plates, dims = axes(node, shape, event_dim, program)
    unconstrained = ()
    if node.role == "latent":
        unconstrained = tuple(transform_to(fn.support).inverse_shape(torch.Size(shape)))
    constraint = constraint_of(fn.support)
    if node.role == "observed" and argument is not None:
        check_support(node.name, argument, constraint, program.leaves[argument], base_name(fn))
    return Site(
        node.name,
        node.role,
        base_name(fn),
        str(getattr(constraint, "name", "") or type(fn.support).__name__),
        shape,
        event_dim,
        unconstrained,
        plates,
        dims,
        is_discrete(fn),
        argument,
        constraint,
        node.role == "latent" and can_be_centred(fn, lambda scale: scale.requires_grad),
        joint=len(base_of(fn).event_shape),
        measure=measure_of(base_name(fn), is_discrete(fn)),
        censored=is_censored(base_name(fn)),
    )
