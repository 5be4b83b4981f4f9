"""Independent normals on the unconstrained space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .family import Guide
from .transport import Affine, Gaussian


@dataclass(frozen=True)
class MeanField:
    """Mean-field Gaussian family: ``params = {mean: (dim,), log_sd: (dim,)}``.

    References
    ----------
    Kucukelbir et al. (2017), Automatic differentiation variational inference, JMLR 18.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> guide = MeanField().bind(SimpleNamespace(dim=2))
    >>> guide.num_parameters
    4
    """

    name: str = "mean-field"
    engines = ("mean-field",)
    batches = "any"

    def bind(self, target) -> Guide:
        """The guide of a target."""
        return Guide(self, target.dim, independent, Affine.from_arrays)


def independent(start: Gaussian) -> Affine:
    """Independent coordinates, each as it is given the others."""
    return Affine(start.mean, 1 / np.sqrt(start.precision))
