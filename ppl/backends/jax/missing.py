"""Missing values of observed sites: which of them have to be imputed, and the latent site that they become."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.interpreters import partial_eval
from numpyro.distributions import constraints

from ...running import is_discrete, sites_to_impute
from ..wrappers import elements


class Missing(dist.Distribution):
    """Law of the missing elements of an observed array.

    Its log density is zero: the observed site, completed by these values, has the whole density.
    """

    def __init__(self, fn, where):
        self.fn, self.where = fn, where
        super().__init__((int(where.sum()),), validate_args=False)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self):
        support = self.fn.support
        while isinstance(support, type(constraints.independent(constraints.real, 1))):
            support = support.base_constraint
        if support is constraints.real_vector:
            return constraints.real
        if support.event_dim or support.is_discrete:
            raise NotImplementedError
        ends = (getattr(support, name, None) for name in ("lower_bound", "upper_bound"))
        bounds = [b for b in ends if b is not None]
        if not any(jnp.ndim(b) for b in bounds):
            return support
        return type(support)(*(jnp.broadcast_to(b, self.where.shape)[self.where] for b in bounds))

    def log_prob(self, value, intermediates=None):
        return jnp.zeros(jnp.shape(value))

    def sample(self, key, sample_shape=()):
        shape = (*sample_shape, *self.where.shape)
        return jnp.broadcast_to(self.fn.sample(key, sample_shape), shape)[..., self.where]


def imputed(program, run_model) -> set[str]:
    """Observed sites whose missing values something else depends on, or only part of whose event is missing.

    Parameters
    ----------
    program : Program
        Traced with every missing value masked.
    run_model : callable
        ``run_model(data, stand_in) -> Record``.

    Raises
    ------
    UnsupportedError
        If such a site cannot be imputed.
    """
    data = {k: leaf.value for k, leaf in program.leaves.items() if leaf.traced}
    laws: dict[str, Any] = {}
    wheres: dict[str, np.ndarray] = {}

    def collect(data):
        def note(name, made, where):
            wheres[name] = where
            return made

        nodes = run_model(data, note).nodes
        laws.update((name, nodes[name].fn) for name in wheres)
        return 0

    jax.eval_shape(collect, data)

    def outputs(stand_ins, data):
        found = run_model(data, lambda name, made, where: jnp.where(where, stand_ins[name], made))
        return [
            node.value if node.role == "deterministic" else node.log_prob for node in found.nodes.values()
        ]

    stand_ins = {k: np.zeros(w.shape, int if is_discrete(laws[k]) else float) for k, w in wheres.items()}
    closed = jax.make_jaxpr(outputs)(stand_ins, data)
    _, used = partial_eval.dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars))
    reached = {name for name, is_used in zip(sorted(wheres), used, strict=False) if is_used}
    return sites_to_impute(wheres, laws, reached, Missing, elements)
