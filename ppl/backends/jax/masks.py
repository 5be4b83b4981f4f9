"""Masks of a NumPyro model: where they are, and the latent site that is left where one hides elements of it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ...masks import Masks, masks_of
from ..wrappers import mask_of
from .missing import Missing
from .transforms import transform_of


class Part(Missing):
    """The elements of a masked site that are quantities of the model; the others are anything inside the support."""

    def __init__(self, fn, where, rest):
        self.rest = rest
        super().__init__(fn, where)

    def filled(self, value):
        """The whole array, with these elements."""
        return jnp.asarray(self.rest).at[self.where].set(value)

    def log_prob(self, value, intermediates=None):
        return self.fn.log_prob(self.filled(value))


def masks(program, found, run_model) -> Masks:
    """Masks of a program.

    Parameters
    ----------
    program : Program
        Supplies the data, which the model gets as arguments.
    found : ModelTrace
        Sites of the program; masks hide elements of its latent ones.
    run_model : callable
        ``run_model(data, latent) -> Record``.
    """
    laws: dict = {}

    def outputs(z, data):
        def latent(name, fn, at=None):
            u = z[name] if at is None else z[name][at]
            return transform_of(fn)(u)

        nodes = run_model(data, latent).nodes
        terms = [
            jnp.sum(n.log_prob) for n in nodes.values() if n.role in {"latent", "fixed", "observed", "factor"}
        ]
        found = {}
        for name, node in nodes.items():
            mask = mask_of(node.fn) if node.role in {"latent", "observed"} else None
            if mask is not None:
                events = node.fn.event_shape if node.role == "latent" else ()
                found[name] = jnp.broadcast_to(
                    jnp.reshape(mask, mask.shape + (1,) * len(events)), mask.shape + events
                )
                laws[name] = node.fn
        return sum(terms, jnp.zeros(())), found

    data = {k: leaf.value for k, leaf in program.leaves.items() if leaf.traced}
    derivative = jax.jit(jax.value_and_grad(outputs, has_aux=True))

    def look(z):
        (total, seen), gradients = derivative(z, data)
        return float(total), *({k: np.asarray(v) for k, v in some.items()} for some in (gradients, seen))

    def partial(name):
        try:
            return Missing(laws[name], np.ones(laws[name].shape(), bool)).support is not None
        except NotImplementedError:
            return False

    return masks_of(found.latents, look, partial)
