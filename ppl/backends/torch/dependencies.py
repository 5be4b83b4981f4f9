"""Dependencies of a program: its model, run once at a point inside the supports."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyro.distributions as dist
import torch

from ...binding import labelled
from ...running import Record
from ..reach import Analysis, lacking
from .arrays import randomness, unvalidated
from .execute import Run, execute, probe
from .indices import Held
from .namespace import asarray
from .provenance import analyse
from .trace import leaves_of


def analyse_program(program) -> Analysis:
    """What reaches each part of each site, and index arrays that reach outside their axis."""
    leaves = leaves_of(program)
    data = {k: v for k, v in leaves.items() if program.leaves[k].traced}
    settings = (program.fixed, program.intervened)
    with torch.no_grad(), randomness(0), unvalidated():
        values: dict = {}

        def note(name, fn):
            values[name] = probe(fn).detach()
            return values[name]

        def run(latent, data):
            made = Run(latent, Record(), *settings)
            made.enumerate = latent  # one value each: plain shapes
            return execute(program, {**leaves, **data}, made)

        def parts(values, data):
            record = run(lambda name, fn: values[name], data)
            return {node.name: _parts(node) for node in record.nodes.values() if node.role in _SEEN}

        with Held():
            record = run(note, data)
        sources = [node.source for node in record.nodes.values()]
        outcomes = {label for label, leaf in leaves.items() if any(leaf is source for source in sources)}
        return analyse(parts, values, data, labelled(program, outcomes))


_SEEN = {"latent", "discrete", "fixed", "observed", "deterministic", "factor"}


def _parts(node) -> dict:
    if node.role == "deterministic":
        return {"value": asarray(node.value)}
    if node.role == "factor":
        return {"log_prob": node.fn.log_factor}
    if node.role == "discrete":  # a code; Pyro's Bernoulli takes real numbers only
        node = replace(node, value=node.value.to(torch.float64))
    return {"log_prob": node.log_prob, **_parameters(node.fn, np.ndim(node.value))}


def _parameters(fn, ndim) -> dict:
    """Parameters of a law, with as many axes as a value of `ndim` axes asks for."""
    while isinstance(fn, (dist.Independent, dist.ExpandedDistribution, dist.MaskedDistribution)):
        fn = fn.base_dist
    leaves, known = getattr(fn, "leaves", None), getattr(fn, "arg_constraints", {})
    if leaves is None:
        leaves = {name: fn.__dict__.get(name) for name in known}
        for name in {"loc", "scale", "rate"} & known.keys():  # of a law made of another, which holds it
            leaves[name] = getattr(fn, name, None)
    leaves = {k: asarray(v) if isinstance(v, (int, float)) else v for k, v in leaves.items()}
    found = {k: v for k, v in leaves.items() if isinstance(v, torch.Tensor)}
    for name, value in found.items():
        more = lacking(value.ndim, ndim, len(fn.event_shape), known.get(name))
        found[name] = value.reshape((1,) * more + tuple(value.shape)) if more else value
    return found
