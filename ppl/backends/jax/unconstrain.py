"""From constrained to unconstrained values by stored supports alone, without the model."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import biject_to

from .arrays import precision
from .lowering import to_numpyro_constraint


def unconstrain_sites(sites, batch) -> tuple[np.ndarray, np.ndarray]:
    """Unconstrained coordinates of constrained values, in float64.

    Parameters
    ----------
    sites : sequence of Site
        Latent sites in program order, with constraints whose bounds are known.
    batch : mapping
        Site name to array of shape ``(B, *shape)``.

    Returns
    -------
    tuple of numpy.ndarray
        ``z`` of shape ``(B, dim)``, and of shape ``(B,)`` the log absolute determinant of the Jacobian of
        the map from ``z`` to the values.

    Raises
    ------
    UnsupportedError
        Where a support depends on other values, so that only the model knows it.
    """
    with precision(np.float64):
        transforms = [biject_to(to_numpyro_constraint(site.constraint)) for site in sites]

        def flatten(values):
            parts, log_jacobian = [], jnp.zeros(())
            for site, transform in zip(sites, transforms, strict=True):
                value = values[site.name]
                u = transform.inv(value)
                log_jacobian = log_jacobian + jnp.sum(transform.log_abs_det_jacobian(u, value))
                parts.append(jnp.ravel(u))
            return jnp.concatenate(parts), log_jacobian

        values = {site.name: np.asarray(batch[site.name], np.float64) for site in sites}
        z, log_jacobian = jax.jit(jax.vmap(flatten))(values)
        return np.asarray(z), np.asarray(log_jacobian)
