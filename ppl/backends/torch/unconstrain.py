"""From constrained to unconstrained values by stored supports alone, without the model."""

from __future__ import annotations

import numpy as np
import torch

from ...errors import UnsupportedError, explain
from .lowering import to_torch_constraint
from .transforms import transform_to


def unconstrain_sites(sites, batch) -> tuple[np.ndarray, np.ndarray]:
    """Unconstrained coordinates of constrained values, in float64; see the JAX backend's function.

    Parameters
    ----------
    sites : sequence of Site
        Latent sites in program order, with constraints whose bounds are known.
    batch : mapping
        Site name to array of shape ``(B, *shape)``.

    Returns
    -------
    tuple of numpy.ndarray
        ``z`` of shape ``(B, dim)``, and of shape ``(B,)`` the log absolute determinant of the Jacobian.
    """
    parts, log_jacobian = [], 0.0
    for site in sites:
        value = torch.from_numpy(np.array(batch[site.name], np.float64))
        try:
            transform = transform_to(to_torch_constraint(site.constraint))
        except NotImplementedError as error:
            raise UnsupportedError(
                explain(f"site '{site.name}'", "a support with a bijection", site.support, "pass the program")
            ) from error
        u = transform.inv(value)
        jacobian = transform.log_abs_det_jacobian(u, value).reshape(len(value), -1)
        log_jacobian = log_jacobian + jacobian.sum(1)
        parts.append(u.reshape(len(value), -1))
    return torch.cat(parts, 1).numpy(), np.asarray(log_jacobian)
