"""A Gaussian whose precision has the posterior's own links."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..ppl.errors import GuideError, explain
from .family import Params, standard_normal
from .sparse import Factor, Layout, TooDense
from .structure import Structure, structure

LARGEST_COVARIANCE = 4096
LARGEST_DENSE = 400  # dimensions up to which a Hessian without structure is differenced column by column
JOINT = ("mean-field", "structured", "full-rank")


@dataclass(frozen=True)
class Structured:
    """Gaussian family that follows the graph of the posterior.

    Coordinates are linked where some density of the model sees both, so that elements of an independent axis are
    independent given what they share. Each is then Gaussian given those eliminated after it: cost and number of
    parameters are linear in the length of such an axis, or of a chain.

    Parameters
    ----------
    sites : mapping of str to str, optional
        A family for some sites by name: elements of ``"mean-field"`` sites are independent of everything, sites
        under ``"full-rank"`` are linked with each other only, and so are all the others, ``"structured"``.

    References
    ----------
    Tan & Nott (2018), Gaussian variational approximation with sparse precision matrices, Statistics and
    Computing 28.
    """

    name: str = "structured"
    sites: Mapping[str, str] | None = None

    def bind(self, target, centre=None, unit=None) -> StructuredGuide:
        """Find the links of a target.

        Parameters
        ----------
        target : Target
        centre, unit : numpy.ndarray, shape (dim,), optional
            Where, and on what scale, they are tested; the origin and one by default.

        Raises
        ------
        GuideError
            If the posterior has no sparse structure that passes the test.
        UnreadLinks
            If the analysis of the model fails.
        """
        if not hasattr(target, "program"):  # saved before, or of nothing but a size
            layout = getattr(target, "layout", None)
            order = Layout(target.dim, **layout) if layout else Layout.dense(target.dim)
            return StructuredGuide(self, target.dim, order, None)
        centre = np.zeros(target.dim) if centre is None else centre
        unit = np.ones(target.dim) if unit is None else unit
        found = structure(target, target.value_and_grad, centre, unit, np.random.default_rng(0))
        if self.sites is not None:
            if found is None and target.dim <= LARGEST_DENSE:
                found = Structure.dense(target.dim)
            found = found and replace(found, block=blocks(target, self.sites))
        try:
            layout = None if found is None else Layout.of(found.links)
        except TooDense:
            layout = None
        if layout is None:
            raise GuideError(
                explain(
                    "guide 'structured'",
                    "a posterior with independent axes or a chain",
                    f"{target.dim} quantities linked with each other throughout",
                    "use guide='full-rank', or 'mean-field' where there are many",
                )
            )
        return StructuredGuide(self, target.dim, layout, found)


def blocks(target, sites: Mapping[str, str]) -> np.ndarray:
    """A number per coordinate: those of different numbers are independent under the guide.

    Raises
    ------
    GuideError
        For a site that the model does not have, or a family that holds no site on its own.
    """
    known = {site.name for site in target.sites}
    block = np.zeros(target.dim, int)
    for name, family in sites.items():
        if name not in known:
            raise GuideError(
                explain("guide", f"latent sites among {sorted(known)}", repr(name), "correct the name")
            )
        spelled = str(getattr(family, "name", family)).lower().replace("_", "-")
        if spelled not in JOINT:
            raise GuideError(
                explain(
                    f"guide for site '{name}'",
                    f"one of {list(JOINT)}",
                    repr(family),
                    "give one of them; every other family speaks of all sites at once, as guide='...'",
                )
            )
        own = np.arange(target.offsets[name].start, target.offsets[name].stop)
        block[own] = {"structured": 0, "full-rank": 1}.get(spelled, own + 2)
    return block


@dataclass(frozen=True, eq=False)
class StructuredGuide:
    """``z = mean + L⁻ᵀ eps`` with a sparse Cholesky factor L of the precision.

    ``params = {mean: (dim,), diagonal: (dim,), links: (num_links,), lower: (tail, tail)}``, see `Layout`.
    """

    family: Structured
    dim: int
    order: Layout
    structure: Structure | None

    @property
    def layout(self) -> dict[str, np.ndarray]:
        """What `Structured.bind` takes in place of a target's links."""
        return {"level": self.order.level, "rows": self.order.rows, "cols": self.order.cols}

    @property
    def num_parameters(self) -> int:
        """Free numbers in ``params``."""
        return self.dim + self.order.num_parameters

    def factor(self, params: Params) -> Factor:
        """The Cholesky factor of the precision."""
        return Factor(self.order, params["diagonal"], params["links"], params["lower"])

    def init(self, start) -> Params:
        factor = start.get("factor")
        if factor is None:
            precision = 1.0 / np.asarray(start["sd"], float)
            tail = self.order.tail
            factor = Factor(self.order, precision, np.zeros(len(self.order.rows)), np.diag(precision[tail]))
        return {
            "mean": np.asarray(start["mean"], float),
            "diagonal": factor.diagonal,
            "links": factor.links,
            "lower": factor.lower,
        }

    def forward(self, params, eps, data=None, weights=None, rows={}):  # noqa: B006
        factor = self.factor(params)
        return params["mean"] + factor.root(eps), -factor.log_det + 0.0 * eps[..., 0]

    def inverse(self, params, z, data=None, weights=None, rows={}):  # noqa: B006
        factor = self.factor(params)
        return factor.unroot(z - params["mean"]), factor.log_det + 0.0 * z[..., 0]

    def base(self, eps):
        return standard_normal(eps)

    def marginals(self, params: Params) -> tuple[np.ndarray, np.ndarray]:
        """Exact mean and sd of every coordinate, at any dimension."""
        return params["mean"], np.sqrt(self.factor(params).variances())

    def moments(self, params):
        if self.dim > LARGEST_COVARIANCE:
            raise GuideError(
                explain(
                    "moments",
                    f"at most {LARGEST_COVARIANCE} dimensions for a dense covariance",
                    f"{self.dim}",
                    "use marginals(params)",
                )
            )
        root = self.factor(params).root(np.eye(self.dim))
        return params["mean"], root.T @ root
