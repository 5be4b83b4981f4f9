"""What flows have in common on every backend.

The base law of a flow is a normal one whose tails were made heavier, coordinate by coordinate, by
``spread · sinh(arcsinh(eps) / tail)``: importance weights then stay bounded in tails that few draws of the fit see.

References
----------
Jones & Pewsey (2009), Sinh-arcsinh distributions, Biometrika 96. Jaini et al. (2020), Tails of Lipschitz triangular
flows, ICML.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import math
from ..thresholds import STRETCH

STEEPEST = np.log(STRETCH)  # bound of the log scales


def tails(dim: int) -> tuple[float, float]:
    """``tail`` and ``spread`` of the base law, its variance one.

    What heavier tails cost adds up over coordinates: the more there are, the closer each stays to the normal law.
    """
    tail = 1.0 - min(0.35, 1.0 / np.sqrt(dim))
    eps = np.linspace(-12.0, 12.0, 4801)
    weight = np.exp(-0.5 * eps**2)
    return tail, float(np.sqrt(weight.sum() / (weight @ np.sinh(np.arcsinh(eps) / tail) ** 2)))


class Layers:
    """A heavier-tailed base law, equal layers, and more coordinates that are Gaussian given those. A backend bends.

    Parameters
    ----------
    kind : {"spline", "affine", "iaf"}
        What a layer does: to half of the coordinates, given the other half, a rational quadratic spline and an affine
        map, or an affine map alone; or to each coordinate an affine map, given those before it.
    dim : int
        Coordinates that the layers bend.
    num_layers, width, knots : int
        Number of layers, hidden units of each one's network, and knots of a spline.
    dtype : str
        Precision of weights and points.
    rest : int
        More coordinates, Gaussian given the first `dim`: a network of these puts out their means and log scales.
    """

    last = ""  # the layer of weights whose zeros make a layer the identity

    def __init__(self, kind, dim, num_layers, width, knots, dtype, rest=0):
        self.kind, self.dim, self.num_layers, self.rest = kind, dim, num_layers, rest
        self.width, self.knots, self.dtype = width, knots, np.dtype(dtype)
        self._tail, self._spread = tails(dim)

    def layer_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each array of weights of one layer."""
        raise NotImplementedError

    def bent(self, x: Any, params: Any, order: Any) -> tuple[Any, Any]:
        """Points through all layers, and log Jacobians."""
        raise NotImplementedError

    def straight(self, x: Any, params: Any, order: Any) -> tuple[Any, Any]:
        """Points back through all layers, and log Jacobians."""
        raise NotImplementedError

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each array of weights, the layers along its first axis.

        Names with `last` belong to weights whose zeros leave the coordinates as they are.
        """
        layers = {name: (self.num_layers, *shape) for name, shape in self.layer_shapes().items()}
        if not self.rest:
            return layers
        return layers | {
            "given.weight": (1, self.width, self.dim),
            "given.bias": (1, self.width),
            f"given.{self.last}.weight": (1, 2 * self.rest, self.width),
            f"given.{self.last}.bias": (1, 2 * self.rest),
            f"given.{self.last}.straight": (1, 2 * self.rest, self.dim),
        }

    def _heavier(self, eps):
        """Draws with heavier tails than the normal's, and the log Jacobian."""
        a = math.asinh(eps) / self._tail
        each = np.log(self._spread / self._tail) + math.log(math.cosh(a)) - 0.5 * math.log1p(eps * eps)
        return self._spread * math.sinh(a), each.sum(1)

    def _given(self, x, params):
        """Shift and log scale of the coordinates that are not bent."""
        inner = x @ params["given.weight"][0].T + params["given.bias"][0]
        names = (f"given.{self.last}.{name}" for name in ("weight", "bias", "straight"))
        weight, bias, straight = (params[name][0] for name in names)
        out = (inner * math.expit(inner)) @ weight.T + bias + x @ straight.T
        shift, size = out[:, : self.rest], out[:, self.rest :]
        return shift, size / (1 + math.abs(size) / STEEPEST)

    def pushed(self, eps: Any, params: Any, order: Any) -> tuple[Any, Any]:
        """Points that draws of the base law's coordinates become, and log Jacobians."""
        x, wide = self._heavier(eps[:, : self.dim])
        bent, change = self.bent(x, params, order)
        if not self.rest:
            return bent, wide + change
        shift, size = self._given(bent, params)
        rest = shift + math.exp(size) * eps[:, self.dim :]
        return math.concat([bent, rest], axis=1), wide + change + size.sum(1)

    def pulled(self, x: Any, params: Any, order: Any) -> tuple[Any, Any]:
        """Draws that become these points, and log Jacobians."""
        straight, log_det = self.straight(x[:, : self.dim], params, order)
        eps = math.sinh(self._tail * math.asinh(straight / self._spread))
        log_det = log_det - self._heavier(eps)[1]
        if not self.rest:
            return eps, log_det
        shift, size = self._given(x[:, : self.dim], params)
        rest = (x[:, self.dim :] - shift) * math.exp(-size)
        return math.concat([eps, rest], axis=1), log_det - size.sum(1)

    def _weighed(self, eps, params, order, grad):
        """A number whose gradient in `eps` is that of a log density with the gradients `grad` at the points."""
        x, log_det = self.pushed(eps, params, order)
        return (x * grad).sum() + log_det.sum()
