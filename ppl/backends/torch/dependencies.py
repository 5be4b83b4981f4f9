"""Which source reaches which node, and along which axes: by the sparsity of derivatives.

Derivatives are taken at a point inside the supports with random directions added, so that none vanishes by
accident. Integer data are followed through the indexing that they are used for.
"""

from __future__ import annotations

import numpy as np
import pyro.distributions as dist
import torch

from ...graph import Access, AxisAccess
from .arrays import randomness
from .execute import Record, Run, execute, shape_of
from .indices import indices_checked
from .namespace import asarray
from .trace import leaves_of
from .transforms import transform_to

LARGEST = 2**22  # entries of a table of derivatives; beyond it axes count as mixed


def accesses(program) -> dict:
    """Node to part to source to `Access`."""
    key = ("analysis", "torch")
    if key not in program._traces:
        program._traces[key] = _analyse(program)
    return program._traces[key]


def _analyse(program) -> dict:
    trace = program.trace("torch")
    leaves = leaves_of(program, np.float64)
    with randomness(1), torch.enable_grad():
        values: dict = {}

        def latent(name, fn):
            transform, shape = transform_to(fn.support), torch.Size(shape_of(fn))
            u = 0.3 * torch.randn(tuple(transform.inverse_shape(shape)), dtype=torch.float64)
            with torch.no_grad():
                value = transform(u)
            values[name] = value.detach().requires_grad_()
            return values[name]

        data = {}
        for label, leaf in leaves.items():
            if isinstance(leaf, torch.Tensor) and leaf.dtype.is_floating_point:
                data[label] = leaf.requires_grad_()
        run = Run(latent, Record(), program.fixed, program.intervened)
        with indices_checked(leaves) as watch:
            record = execute(program, leaves, run)
            parts = {node.name: _parts(node) for node in record.nodes.values()}
        sources = [("latent", n, v) for n, v in values.items()] + [("data", n, v) for n, v in data.items()]
        labels = {id(v): name for _, name, v in sources}
        indexed: dict = {}
        for gather in watch.gathers:
            name = labels.get(id(gather.source))
            if name is not None:
                indexed.setdefault(name, {})[gather.axis] = gather.label
        found: dict = {}
        for node, own in parts.items():
            for part, output in own.items():
                found.setdefault(node, {})[part] = _reached(output, sources, indexed, leaves)
        for site in trace.by_role("discrete"):
            moved = _with_other_values(program, leaves, values, site.name)
            for node, own in parts.items():
                for part, output in own.items():
                    other = moved[node].get(part)
                    if other is None or other.shape != output.shape or not torch.equal(other, output):
                        axes = (AxisAccess("mixed"),) * len(site.shape)
                        found[node][part][site.name] = Access("latent", axes)
    return found


def _with_other_values(program, leaves, values, name) -> dict:
    """Parts of every node once a discrete site takes its second value everywhere, and not its first."""

    def enumerate_(other, fn):
        return torch.full(shape_of(fn), int(other == name), dtype=torch.int64)

    run = Run(lambda other, fn: values[other], Record(), program.fixed, program.intervened)
    run.enumerate = enumerate_
    record = execute(program, leaves, run)
    return {node.name: _parts(node) for node in record.nodes.values()}


def _parts(node) -> dict:
    if node.role == "deterministic":
        return {"value": asarray(node.value)}
    if node.role == "factor":
        return {"log_prob": node.fn.log_factor}
    return {"log_prob": node.log_prob, **_parameters(node.fn)}


def _parameters(fn) -> dict:
    while isinstance(fn, (dist.Independent, dist.ExpandedDistribution, dist.MaskedDistribution)):
        fn = fn.base_dist
    leaves = getattr(fn, "leaves", None)
    if leaves is not None:
        return {k: v for k, v in leaves.items() if isinstance(v, torch.Tensor)}
    return {
        name: fn.__dict__[name]
        for name in getattr(fn, "arg_constraints", {})
        if isinstance(fn.__dict__.get(name), torch.Tensor)
    }


def _reached(output, sources, indexed, leaves) -> dict:
    output = output if output.dtype.is_floating_point else output.double()
    if not output.requires_grad:
        return {}
    tensors = [v for _, _, v in sources]
    direction = torch.rand(output.shape, dtype=output.dtype) + 0.5
    sums = torch.autograd.grad(
        output, tensors, direction, retain_graph=True, allow_unused=True, materialize_grads=False
    )
    out = {}
    for (kind, name, value), total in zip(sources, sums, strict=True):
        if total is None:
            continue
        labels = tuple(dict.fromkeys(indexed.get(name, {}).values()))
        axes = _axes(output, value, indexed.get(name, {}), leaves) if value.ndim else ()
        out[name] = Access(kind, axes, False, labels)
    for labels in [indexed.get(n, {}) for n in list(out)]:
        for label in labels.values():
            out.setdefault(label, Access("data", (AxisAccess("mixed"),) * leaves[label].ndim))
    return out


def _axes(output, value, indexed, leaves) -> tuple[AxisAccess, ...]:
    mixed = (AxisAccess("mixed"),) * value.ndim
    if output.numel() * value.numel() > LARGEST:
        return mixed
    if output.ndim == 0:
        return mixed
    rows = torch.eye(output.numel(), dtype=output.dtype).reshape(-1, *output.shape)
    try:
        (table,) = torch.autograd.grad(
            output, value, rows, retain_graph=True, is_grads_batched=True, allow_unused=True
        )
    except RuntimeError:
        return mixed
    if table is None:
        return mixed
    hit = (table != 0).reshape(*output.shape, *value.shape).numpy()
    return tuple(
        _axis(hit, output.ndim, axis, value.shape[axis], indexed, leaves) for axis in range(value.ndim)
    )


def _axis(hit, count, axis, size, indexed, leaves) -> AxisAccess:
    others = tuple(count + i for i in range(hit.ndim - count) if i != axis)
    seen = hit.any(others)  # (*output, size)
    if seen.reshape(-1, size).sum(1).max(initial=0) > 1:
        return AxisAccess("mixed")
    which, there = seen.argmax(-1), seen.any(-1)
    along = [
        i
        for i in range(count)
        if any((np.take(which, [k], i) != np.take(which, [0], i)).any() for k in range(which.shape[i]))
    ]
    if len(along) > 1:
        return AxisAccess("selected")
    if not along:
        return AxisAccess("selected")
    place = along[0]
    profile = np.moveaxis(which, place, 0).reshape(which.shape[place], -1)[:, 0]
    if there.all() and len(profile) == size and (profile == np.arange(size)).all():
        return AxisAccess("aligned", place)
    label = indexed.get(axis)
    if label is not None:
        return AxisAccess("gathered", place, label)
    return AxisAccess("selected", place)
