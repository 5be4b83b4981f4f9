"""Normalising flows: laws that are bent, and whose tails are as long as the posterior's.

Of all coordinates, or of those that groups share; then the others are Gaussian given them.

References
----------
Kingma et al. (2016), Improved variational inference with inverse autoregressive flow, NeurIPS. Dinh, Sohl-Dickstein &
Bengio (2017), Density estimation using real NVP, ICLR. Durkan et al. (2019), Neural spline flows, NeurIPS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.linalg import qr, solve_triangular

from ..ppl.backends import load
from ..ppl.errors import GuideError, explain
from .family import Guide, Params
from .thresholds import FLOW_BLOCK, LARGEST_FLOW, LARGEST_FLOW_WHOLE, WHOLE_FLOW
from .transport import Gaussian, triangular

KINDS = ("iaf", "affine", "spline")
OVER = ("all", "globals")
FRAME = ("mean", "scale_tril")


@dataclass(frozen=True)
class Flow:
    """A normalising flow in the frame of a Gaussian.

    Parameters
    ----------
    kind : {"iaf", "affine", "spline"}
        Inverse autoregressive layers, the quickest to fit; affine couplings, whose density is quicker; or couplings by
        rational-quadratic splines, the most flexible and the slowest.
    num_layers : int
    width : int
        Of the two hidden layers of each network.
    knots : int
        Of each spline.
    over : {None, "all", "globals"}
        What the layers bend: all coordinates, or those of the global sites. Then those of the local sites are
        independent Gaussians, in the frame of a Gaussian of all, given the globals: a network puts out the mean and
        the log scale of each. None takes the globals where there are more than 30 coordinates and some are local.

    Notes
    -----
    Flows come from flowjax on JAX and from zuko on PyTorch. The base law is standard normal; its tails are made
    heavier before the first layer. Over the globals g alone, ``q(g, l) = flow(g) ∏ N(x_i | a_i(g), b_i(g)²)`` with x
    the whitened coordinates of the locals l: cost and number of parameters are linear in the number of groups.

    Examples
    --------
    >>> import elboroom as er
    >>> er.Flow("affine", over="globals").settings["over"]
    'globals'
    """

    kind: str = "iaf"
    num_layers: int = 4
    width: int = 32
    knots: int = 8
    name: str = "flow"
    over: str | None = None
    engines = ("natural gradient", "polish", "flow")

    @property
    def settings(self) -> dict[str, Any]:
        """What makes an equal family."""
        names = ("kind", "num_layers", "width", "knots", "over")
        return {name: getattr(self, name) for name in names}

    def bind(self, target) -> Guide:
        """The flow of a target.

        Raises
        ------
        GuideError
            For settings that make no flow, or a number of dimensions that none is made for.
        MissingBackendError
            Where the backend's library of flows is not installed.
        """
        bent = self.bends(target)
        dtype = str(np.dtype(getattr(target, "dtype", np.float64)))
        engine = load(getattr(target, "backend", "jax")).flows
        rest = target.dim - len(bent)
        flow = engine.flow(self.kind, len(bent), self.num_layers, self.width, self.knots, dtype, rest)
        layout = getattr(target, "layout", None)
        order = layout["order"] if layout else orders(len(bent), self.num_layers)
        fixed = Layout(target.dim, flow, order, bent)
        arrays = {"order": order, "bent": bent}
        return Guide(self, target.dim, fixed.near, fixed.from_arrays, arrays, fixed)

    def bends(self, target) -> np.ndarray:
        """Coordinates that the layers bend.

        Raises
        ------
        GuideError
            As `bind`.
        """
        self._check()
        layout, every = getattr(target, "layout", None), np.arange(target.dim)
        if layout and "bent" in layout:
            return np.asarray(layout["bent"])
        chosen = every
        if hasattr(target, "program") and (
            self.over == "globals" or (self.over is None and target.dim > WHOLE_FLOW)
        ):
            local = load(target.backend, target.program.model.language).local_sites(target.program)
            shared = [every[target.offsets[s.name]] for s in target.sites if s.name not in local]
            found = np.concatenate([every[:0], *shared])
            if len(found) >= 2:
                chosen = found
            elif self.over == "globals":
                raise GuideError(
                    explain(
                        "over of a flow",
                        "at least two global coordinates",
                        f"{len(found)} of {target.dim}, the sites {sorted(local)} being local",
                        "use over='all'",
                    )
                )
        most = LARGEST_FLOW if len(chosen) == target.dim else LARGEST_FLOW_WHOLE
        if not (2 <= target.dim <= most and len(chosen) <= LARGEST_FLOW):
            remedy = "'full-rank'" if target.dim < 2 else "'structured' or 'low-rank'"
            raise GuideError(
                explain("guide 'flow'", f"2 to {most} dimensions", f"{target.dim}", f"use guide={remedy}")
            )
        return chosen

    def _check(self) -> None:
        if self.over is not None and self.over not in OVER:
            raise GuideError(
                explain("over of a flow", f"None or one of {OVER}", repr(self.over), "choose one of them")
            )
        if self.kind not in KINDS:
            raise GuideError(
                explain("kind of a flow", f"one of {KINDS}", repr(self.kind), "choose one of them")
            )
        for name, least in (("num_layers", 1), ("width", 1), ("knots", 2)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
                raise GuideError(
                    explain(f"{name} of a flow", f"an integer of at least {least}", repr(value), "correct it")
                )


def orders(dim: int, num_layers: int) -> np.ndarray:
    """Order of the coordinates before each layer, shape ``(num_layers, dim)``."""
    if dim == 2:
        return np.tile(np.arange(2)[::-1], (num_layers, 1))
    rng = np.random.default_rng(0)
    return np.stack([rng.permutation(dim) for _ in range(num_layers)])


@dataclass(frozen=True, eq=False)
class Layout:
    """What is fixed of a flow before its weights are.

    Attributes
    ----------
    dim : int
    layers : Flow
        The backend's.
    order : numpy.ndarray of int, shape (num_layers, number of bent coordinates)
        Order of the bent coordinates before each layer.
    bent : numpy.ndarray of int
        Which coordinates the layers bend.
    """

    dim: int
    layers: Any
    order: np.ndarray
    bent: np.ndarray

    @cached_property
    def place(self) -> np.ndarray:
        """The coordinates that are bent, then the others."""
        return np.concatenate([self.bent, np.setdiff1d(np.arange(self.dim), self.bent)])

    def near(self, start: Gaussian) -> Spline:
        """Layers that change nothing yet, in the frame of a Gaussian."""
        scale, rng = np.array(triangular(start).scale, float), np.random.default_rng(0)
        if len(self.bent) < self.dim:  # of the same covariance, triangular in another order
            scale[self.place] = qr(scale[self.place].T, mode="r")[0].T
            scale *= np.sign(np.diag(scale[self.place]))
        weights = {}
        for name, shape in self.layers.shapes().items():
            plain = len(shape) == 2 or self.layers.last in name  # biases, and what a network puts out
            weights[name] = np.zeros(shape) if plain else rng.normal(size=shape) / np.sqrt(shape[-1])
        return Spline(self, np.asarray(start.mean, float), scale, weights)

    def from_arrays(self, arrays: Params) -> Spline:
        """From ``mean``, ``scale_tril`` and the weights of the layers."""
        weights = {name: value for name, value in arrays.items() if name not in FRAME}
        return Spline(self, np.asarray(arrays["mean"]), np.asarray(arrays["scale_tril"]), weights)


@dataclass(frozen=True, eq=False)
class Spline:
    """``z = mean + scale_tril T(eps)`` with the layers T of a backend's flow.

    The coordinates of ``eps`` begin with those that the layers bend; with its rows in that order `scale_tril` is lower
    triangular.

    Attributes
    ----------
    layout : Layout
    mean : numpy.ndarray, shape (dim,)
    scale_tril : numpy.ndarray, shape (dim, dim)
    weights : mapping of numpy.ndarray
        Of the layers, by the backend's names.
    """

    layout: Layout
    mean: np.ndarray
    scale_tril: np.ndarray
    weights: Mapping[str, np.ndarray]

    def to_arrays(self) -> dict[str, np.ndarray]:
        """``mean``, ``scale_tril`` and the weights of the layers."""
        return {"mean": self.mean, "scale_tril": self.scale_tril, **self.weights}

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return self.layout.dim

    @property
    def layers(self) -> Any:
        """The backend's layers."""
        return self.layout.layers

    @property
    def frame(self) -> tuple:
        """What a backend's sampler takes."""
        return self.mean, self.scale_tril, self.weights, self.layout.order

    @cached_property
    def log_det(self) -> float:
        """Log absolute determinant of the scale."""
        return float(np.log(np.abs(np.diag(self.scale_tril[self.layout.place]))).sum())

    def forward(self, eps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Transport`."""
        x, log_jacobian = self._mapped(self.layers.forward, eps)
        return self.mean + x @ self.scale_tril.T, log_jacobian + self.log_det

    def inverse(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Transport`."""
        place = self.layout.place
        moved = (np.asarray(z) - self.mean)[:, place]
        x = solve_triangular(self.scale_tril[place], moved.T, lower=True).T
        eps, log_jacobian = self._mapped(self.layers.inverse, x)
        return eps, log_jacobian - self.log_det

    def pullback(self, eps: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """See `Transport`."""
        return self._mapped(self.layers.pullback, eps, gradient @ self.scale_tril)[0]

    def moments(self) -> None:
        """See `Transport`: not known."""
        return None

    def _mapped(self, fn, x, *more) -> list[np.ndarray]:
        """A function of the layers, called on blocks of rows."""
        dtype, parts = self.layers.dtype, []
        for begin in range(0, len(x), FLOW_BLOCK):
            rows = [np.asarray(a[begin : begin + FLOW_BLOCK], dtype) for a in (x, *more)]
            count = len(rows[0])
            first, *rest = (np.pad(a, ((0, FLOW_BLOCK - count), (0, 0))) for a in rows)
            found = fn(first, dict(self.weights), self.layout.order, *rest)
            found = found if isinstance(found, tuple) else (found,)
            parts.append([np.asarray(a, np.float64)[:count] for a in found])
        return [np.concatenate(one) for one in zip(*parts, strict=True)]
