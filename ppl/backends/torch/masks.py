"""Masks of a Pyro model: where they are, and the latent site that is left where one hides elements of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ...masks import Masks, masks_of
from ..wrappers import mask_of
from .missing import Missing, filled
from .transforms import transform_to


class Part(Missing):
    """The elements of a masked site that are quantities of the model; the others are anything inside the support."""

    def __init__(self, fn, where, rest):
        self.rest, self.host = rest, np.asarray(where)
        super().__init__(fn, where)

    def filled(self, value):
        """The whole array, with these elements."""
        return filled(self.rest.to(value.dtype), self.host, value)

    def log_prob(self, value):
        return self.fn.log_prob(self.filled(value))


def visible(fn, value, rest):
    """A value with `rest` where the law's mask hides it: what is missing there spoils no derivative."""
    mask = mask_of(fn)
    if mask is None:
        return value
    return torch.where(mask.reshape(mask.shape + (1,) * len(fn.event_shape)), value, rest.to(value.dtype))


def masks(found, run_model) -> Masks:
    """Masks of a program.

    Parameters
    ----------
    found : ModelTrace
        Sites of the program; masks hide elements of its latent ones.
    run_model : callable
        ``run_model(latent) -> Record``.
    """
    laws: dict = {}

    def look(z):
        z = {k: torch.tensor(v, dtype=torch.float64, requires_grad=True) for k, v in z.items()}
        with torch.enable_grad():
            nodes = run_model(lambda name, fn: transform_to(fn.support)(z[name])).nodes
            roles = {"latent", "fixed", "observed", "factor"}
            terms = [n.log_prob.double().sum() for n in nodes.values() if n.role in roles]
            total = sum(terms, torch.zeros((), dtype=torch.float64))
            found: Sequence[Any]
            if total.requires_grad:
                found = torch.autograd.grad(total, list(z.values()), allow_unused=True)
            else:
                found = [None] * len(z)
        gradients = {
            k: np.zeros(v.shape) if g is None else g.numpy()
            for (k, v), g in zip(z.items(), found, strict=True)
        }
        seen = {}
        for name, node in nodes.items():
            mask = mask_of(node.fn) if node.role in {"latent", "observed"} else None
            if mask is not None:
                events = tuple(node.fn.event_shape) if node.role == "latent" else ()
                whole = mask.reshape(mask.shape + (1,) * len(events)).broadcast_to(tuple(mask.shape) + events)
                seen[name], laws[name] = whole.numpy(), node.fn
        return float(total.detach()), gradients, seen

    def partial(name):
        fn = laws[name]
        try:
            return Missing(fn, np.ones(tuple(fn.batch_shape + fn.event_shape), bool)).support is not None
        except NotImplementedError:
            return False

    return masks_of(found.latents, look, partial)
