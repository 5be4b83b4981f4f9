"""A Gaussian whose precision has the posterior's own links."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ..ppl.errors import GuideError, explain
from .family import Guide, Params
from .mean_field import independent
from .sparse import Factor, Layout, TooDense
from .structure import Structure, structure
from .thresholds import LARGEST_DENSE_HESSIAN
from .transport import Affine, Gaussian, Rooted

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
        A family for some sites by name, or for all weights of a network by its name: elements of ``"mean-field"`` sites are
        independent of everything, sites under ``"full-rank"`` are linked with each other only, and so are all the others, ``"structured"``.

    References
    ----------
    Tan & Nott (2018), Gaussian variational approximation with sparse precision matrices, Statistics and
    Computing 28.

    Examples
    --------
    >>> Structured(sites={"tau": "mean-field"}).sites
    {'tau': 'mean-field'}
    """

    name: str = "structured"
    sites: Mapping[str, str] | None = None
    engines = ("sparse natural gradient",)

    @property
    def batches(self) -> str:
        """See `Family`."""
        return "whole" if self.sites is None else ""

    def bind(self, target) -> Guide:
        """Find the links of a target, tested around the origin; see `bind_near`.

        Parameters
        ----------
        target : Target
            Or anything with ``dim`` and a ``layout``, of a guide that was saved.

        Raises
        ------
        GuideError
            If the posterior has no sparse structure that passes the test.
        UnreadLinks
            If the analysis of the model fails.
        """
        return self.bind_near(target, Affine(np.zeros(target.dim), np.ones(target.dim)))

    def bind_near(self, target, start: Gaussian) -> Guide:
        """Find the links of a target.

        Parameters
        ----------
        target : Target
            What is to be fitted.
        start : Gaussian
            Where, and on what scale, they are tested.

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
            return _guide(self, target.dim, order, None)
        unit, rng = 1 / np.sqrt(start.precision), np.random.default_rng(0)
        found = structure(target, target.value_and_grad, start.mean, unit, rng)
        if self.sites is not None:
            if found is None and target.dim <= LARGEST_DENSE_HESSIAN:
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
        return _guide(self, target.dim, layout, found)


def blocks(target, sites: Mapping[str, str]) -> np.ndarray:
    """A number per coordinate: those of different numbers are independent under the guide.

    Raises
    ------
    GuideError
        For a site that the model does not have, or a family that holds no site on its own.
    """
    block = np.zeros(target.dim, int)
    for name, family in sites.items():
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
        for site in named(target, name):
            own = np.arange(target.offsets[site].start, target.offsets[site].stop)
            block[own] = {"structured": 0, "full-rank": 1}.get(spelled, own + 2)
    return block


def named(target, name: str) -> list[str]:
    """The latent site of that name, or those of the weights of the network that has it.

    Raises
    ------
    GuideError
        If there is none.
    """
    known = [site.name for site in target.sites]
    if name in known:
        return [name]
    found = [site for site in known if site.startswith(f"{name}.")]
    if name not in target.trace.modules or not found:
        modules = {
            module for module in target.trace.modules if any(k.startswith(f"{module}.") for k in known)
        }
        want = f"latent sites among {sorted({*known, *modules})}"
        raise GuideError(explain("guide", want, repr(name)[:80], "correct the name"))
    return found


def _guide(family: Structured, dim: int, layout: Layout, found: Structure | None) -> Guide:
    """``params = {mean: (dim,), diagonal: (dim,), links: (num_links,), lower: (tail, tail)}``, see `Layout`."""
    arrays = {"level": layout.level, "rows": layout.rows, "cols": layout.cols}
    return Guide(
        family, dim, partial(near, layout), partial(from_arrays, layout), arrays, Sparsity(layout, found)
    )


@dataclass(frozen=True, eq=False)
class Sparsity:
    """Elimination order of the guide's precision, and the links of the posterior; None for a guide that was read."""

    layout: Layout
    links: Structure | None


def near(layout: Layout, start: Gaussian) -> Rooted:
    """A Gaussian with these links as it is, and any other without its correlations."""
    factor: Any = getattr(start, "factor", None)
    if getattr(factor, "layout", None) is not layout:
        factor = Factor.independent(layout, 1.0 / independent(start).scale)
    return Rooted(np.asarray(start.mean, float), factor)


def from_arrays(layout: Layout, arrays: Params) -> Rooted:
    """From ``mean``, ``diagonal``, ``links`` and ``lower``."""
    factor = Factor(layout, *(np.asarray(arrays[name]) for name in ("diagonal", "links", "lower")))
    return Rooted(np.asarray(arrays["mean"]), factor)
