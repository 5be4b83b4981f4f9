"""Variational dropout: noise in proportion to each weight, with a rate of its own.

References
----------
Molchanov, Ashukha & Vetrov (2017), Variational dropout sparsifies deep neural networks, ICML. Kingma, Salimans & Welling (2015),
Variational dropout and the local reparameterization trick, NeurIPS. Hron, Matthews & Ghahramani (2018), Variational Bayesian
dropout: pitfalls and fixes, ICML.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from ..ppl import math as m
from ..ppl.errors import GuideError, explain
from .family import Guide, Params
from .mean_field import independent
from .structured import named
from .thresholds import RATE_FIT, RATE_FLOOR
from .transport import Affine, Gaussian

IMPROPER = "no posterior is approximated: with the log-uniform prior of variational dropout it is improper (Hron et al. 2018)"


@dataclass(frozen=True)
class VariationalDropout:
    """Independent normals of networks' weights with sds in proportion, N(θ, α θ²), and learned rates α.

    The matrices of networks have a log-uniform prior in place of the one that the model declares, biases and all else the
    declared one. Weights whose log α passes 3 may be set to zero. Under that prior there is no proper posterior, so that every
    verdict is *untrusted*: judge its predictions on other rows, by `elboroom.calibration` for classes.

    Parameters
    ----------
    sites : sequence of str, optional
        Networks whose matrices drop out, or sites; by default all networks whose weights have a prior. ``guide={"f":
        er.VariationalDropout()}`` says it of the network ``f``.

    Notes
    -----
    The bound is E log p(data | w) − KL, where −KL is 0.63576 σ(1.87320 + 1.48695 log α) − ½ log(1 + 1/α) − 0.63576 for each
    weight, an approximation (Molchanov et al. 2017, equation 14) that depends on α alone.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def curve(x, y):
    ...     f = er.module("f", er.nn.MLP(1, [3], 1, activation="tanh"), prior=er.Normal(0, 1))
    ...     with er.plate("row", len(y)):
    ...         er.observe("y", er.Normal(f(x)[:, 0], 0.5), y)
    >>> target = curve(np.zeros((4, 1)), np.zeros(4)).target()
    >>> guide = er.VariationalDropout().bind(target)
    >>> law = guide.at({"mean": np.full(10, 2.0), "log_sd": np.zeros(10)})
    >>> int(np.isfinite(law.rates).sum()), float(np.round(law.rates[0], 3))  # log α of the six weights of two matrices
    (6, -1.386)
    """

    name: str = "variational-dropout"
    sites: Sequence[str] | None = None
    engines = ("variational dropout",)
    recentres = False

    def bind(self, target: Any) -> Guide:
        """The guide of a target.

        Raises
        ------
        GuideError
            If it has no such network, or none whose weights have a prior.
        """
        dropped = _dropped(target, self.sites)
        layout = {"dropped": dropped.astype(np.uint8)}
        return Guide(self, target.dim, partial(_near, dropped), partial(_read, dropped), layout, dropped)

    def over(self, names: Sequence[str]) -> VariationalDropout:
        """The same of the networks, or sites, of these names."""
        return VariationalDropout(sites=tuple(names))


@dataclass(frozen=True, eq=False)
class Dropped:
    """Independent normals, some of which are weights that drop out.

    Attributes
    ----------
    place : Affine
        Means and sds.
    dropped : numpy.ndarray of bool, shape (dim,)
    """

    place: Affine
    dropped: np.ndarray

    layers: ClassVar[None] = None
    objection: ClassVar[str] = IMPROPER

    @property
    def rates(self) -> np.ndarray:
        """log α of each coordinate, NaN where it is no weight that drops out, shape ``(dim,)``."""
        return np.where(self.dropped, log_rate(self.place.mean, np.log(self.place.scale)), np.nan)

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return self.place.dim

    def to_arrays(self) -> dict[str, np.ndarray]:
        """``mean`` and ``log_sd``."""
        return self.place.to_arrays()

    def forward(self, eps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Transport`."""
        return self.place.forward(eps)

    def inverse(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Transport`."""
        return self.place.inverse(z)

    def pullback(self, eps: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """See `Transport`."""
        return self.place.pullback(eps, gradient)

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """See `Transport`."""
        return self.place.moments()

    def marginals(self) -> tuple[np.ndarray, np.ndarray]:
        """See `Gaussian`."""
        return self.place.marginals()


def log_rate(mean: Any, log_sd: Any) -> Any:
    """log α = log(σ² / θ²)."""
    return 2 * log_sd - m.log(mean * mean + RATE_FLOOR)


def minus_divergence(log_alpha: Any) -> Any:
    """−KL of N(θ, α θ²) from the log-uniform prior, by the fit of Molchanov et al.; zero where the weight is noise.

    Examples
    --------
    >>> minus_divergence(np.array([-2.0, 0.0, 2.0])).round(4).tolist()
    [-1.5405, -0.4312, -0.0684]
    """
    height, place, steepness = RATE_FIT
    return height * (m.expit(place + steepness * log_alpha) - 1) - 0.5 * m.log1p(m.exp(-log_alpha))


def divergence_slope(log_alpha: Any) -> Any:
    """Derivative of `minus_divergence`."""
    height, place, steepness = RATE_FIT
    share = m.expit(place + steepness * log_alpha)
    return height * steepness * share * (1 - share) + 0.5 * m.expit(-log_alpha)


def _near(dropped: np.ndarray, start: Gaussian) -> Dropped:
    return Dropped(independent(start), dropped)


def _read(dropped: np.ndarray, arrays: Params) -> Dropped:
    return Dropped(Affine.from_arrays(arrays), dropped)


def _dropped(target: Any, names: Sequence[str] | None) -> np.ndarray:
    """Which coordinates drop out."""
    layout = getattr(target, "layout", None)
    if layout:
        return np.asarray(layout["dropped"]).astype(bool)
    if not hasattr(target, "trace"):  # of nothing but a size
        return np.ones(target.dim, bool)
    known = {site.name: site for site in target.sites}
    modules = [name for name in target.trace.modules if any(site.startswith(f"{name}.") for site in known)]
    dropped = np.zeros(target.dim, bool)
    for name in modules if names is None else names:
        for site in named(target, name):
            if site == name or len(known[site].shape) > 1:
                dropped[target.offsets[site]] = True
    if not dropped.any():
        want = "a network whose weights have a prior"
        remedy = "write er.module('f', net, prior=er.Normal(0, 1))"
        raise GuideError(explain("er.VariationalDropout", want, "none", remedy))
    return dropped
