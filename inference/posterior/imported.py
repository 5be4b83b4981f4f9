"""``er.from_datatree``: draws made elsewhere, with the same summaries, checks and report."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from ...guides import MeanField
from ...guides.transport import Affine
from ...ppl.backends import load
from ...ppl.errors import DataError, explain
from ...ppl.sites import Site, element_labels
from ...ppl.tree import variable_name
from ..evidence.chains import slowest
from ..evidence.finding import Findings
from ..evidence.judging import verdicts_of
from ..evidence.law import Law
from ..evidence.outcome import Outcome
from ..run.trail import Rung, Trail
from ..thresholds import LARGEST_DENSE, SHORTEST_CHAIN
from .make import conclude
from .posterior import Posterior
from .record import Cost, Record, columns

STATS = ("diverging", "energy")


def from_datatree(tree, program=None) -> Posterior:
    """A posterior of draws made by another library, judged by how their chains have mixed.

    Parameters
    ----------
    tree : xarray.DataTree
        With a group ``posterior`` of dims ``chain`` and ``draw``; ``diverging`` and ``energy`` of ``sample_stats`` are
        used where they are there.
    program : Program, optional
        The model with its data: then predictions, checks, reports and `Posterior.refine` work. Its latent sites are
        taken by name and its deterministic ones computed again.

    Returns
    -------
    Posterior

    Raises
    ------
    DataError
        If the group, a latent site or an axis is missing, a chain has fewer than four draws, or draws are not finite
        or outside their support.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> import elboroom as er
    >>> mu = np.random.default_rng(0).normal(2.0, 1.0, size=(4, 1000))
    >>> group = xr.Dataset({"mu": (("chain", "draw"), mu)})
    >>> er.from_datatree(xr.DataTree.from_dict({"posterior": group})).verdict
    'trusted'

    References
    ----------
    Vehtari et al. (2021), Rank-normalization, folding, and localization: an improved R̂, Bayesian Analysis 16.
    """
    group = _group(tree)
    num_chains = group.sizes["chain"]
    stats = _statistics(tree)
    total = num_chains * group.sizes["draw"]
    if program is None:
        return _alone(group, num_chains, stats, total)
    target = program.target(program.backend)
    z = target.unconstrain({site.name: _values(group, site, total) for site in target.sites})
    if not np.isfinite(z).all():
        bad = {
            label for label, column in zip(target.labels, z.T, strict=True) if not np.isfinite(column).all()
        }
        raise DataError(
            explain("draws", "values inside the supports", f"some outside or on the edge of {sorted(bad)[:3]}",
                    "check that they belong to this model")
        )  # fmt: skip
    outcome = _outcome(target, z, num_chains, stats)
    settings = dict(
        seed=0,
        backend=program.backend,
        num_draws=total,
        quantities=None,
        local=sorted(load(program.backend, program.model.language).local_sites(program)),
    )
    return Posterior(conclude(program, target, outcome, (), Cost(0, 0, 0.0, 0.0), settings))


def _group(tree):
    found = getattr(tree, "children", {}).get("posterior")
    if found is None:
        raise DataError(
            explain(
                "tree",
                "an xarray.DataTree with the group 'posterior'",
                f"{type(tree).__name__} with {sorted(getattr(tree, 'children', {}))}",
                "convert the draws with arviz_base.from_dict or the like",
            )
        )
    group = found.to_dataset()
    for dim in ("chain", "draw"):
        if dim not in group.dims:
            raise DataError(
                explain(
                    "group 'posterior'", "the dims 'chain' and 'draw'", f"{tuple(group.dims)}", "name them so"
                )
            )
    if group.sizes["draw"] < SHORTEST_CHAIN:
        drawn = f"{group.sizes['draw']}"
        raise DataError(
            explain("dim 'draw'", f"{SHORTEST_CHAIN} draws of each chain or more", drawn, "draw more")
        )
    return group.transpose("chain", "draw", ...)


def _statistics(tree) -> dict[str, np.ndarray]:
    node = tree.children.get("sample_stats")
    if node is None:
        return {}
    found = node.to_dataset()
    return {name: found[name].transpose("chain", "draw").values for name in STATS if name in found}


def _values(group, site, total) -> np.ndarray:
    name = variable_name(site.name)
    if name not in group:
        raise DataError(
            explain(f"site '{site.name}'", "its draws in the group 'posterior'", f"{sorted(group.data_vars)}",
                    "keep every latent site")
        )  # fmt: skip
    value = np.asarray(group[name].values, float)
    if value.shape[2:] != site.shape:
        raise DataError(
            explain(
                f"draws of site '{site.name}'",
                f"shape (chain, draw, *{site.shape})",
                f"{value.shape}",
                "reorder its axes",
            )
        )
    return value.reshape(total, *site.shape)


def _outcome(target, z, num_chains, stats) -> Outcome:
    mean, sd = z.mean(0), np.maximum(z.std(0), 1e-300)
    diverging = stats.get("diverging", np.zeros(1, bool)).ravel().astype(bool)
    moved = slowest(((z - mean) / sd).reshape(num_chains, -1, z.shape[1]))
    where = z[diverging] if len(diverging) == len(z) else None
    law = Law("mcmc", z, None, num_chains, float(diverging.mean()), where, moved, stats or None)
    made = Rung("draws", "mcmc", reason=f"{num_chains} chains × {len(z) // num_chains} draws made elsewhere")
    fitted = Affine(mean, sd)
    frame = fitted if len(mean) <= LARGEST_DENSE else None
    return Outcome(MeanField().bind(target), fitted, law, frame=frame, rungs=(made,))


def _alone(group, num_chains, stats, total) -> Posterior:
    """Draws without a model: summaries and verdicts, nothing that needs a density."""
    values = {str(name): np.asarray(group[name].values) for name in group.data_vars}
    values = {name: v.reshape(total, *v.shape[2:]) for name, v in values.items() if v.dtype.kind in "fiub"}
    flat = np.concatenate([v.reshape(total, -1).astype(float) for v in values.values()], 1)
    if not np.isfinite(flat).all():
        raise DataError(
            explain("draws", "finite numbers", "some NaN or infinite", "leave those variables out")
        )
    outcome = _outcome(SimpleNamespace(dim=flat.shape[1]), flat, num_chains, stats)
    estimates, verdicts = verdicts_of(outcome, flat, np.random.default_rng(0))
    dims = {name: tuple(map(str, group[name].dims[2:])) for name in values}
    coords = {
        str(d): tuple(group[d].values.tolist())
        for d in group.dims
        if d in group.coords and d not in ("chain", "draw")
    }
    sites = tuple(
        Site(n, "latent", shape=v.shape[1:], unconstrained_shape=v.shape[1:], dims=dims[n])
        for n, v in values.items()
    )
    labels = [one for s in sites for one in element_labels(s.name, s.shape, s.dims, coords)]
    settings = {
        "seed": 0,
        "backend": "jax",
        "num_draws": total,
        "quantities": None,
        "local": [],
        "num_chains": num_chains,
    }
    record = Record(
        name="draws made elsewhere",
        question="draws made elsewhere",
        sites=sites,
        coords=coords,
        guide=outcome.guide,
        params=outcome.fitted.to_arrays(),
        law="mcmc",
        khat=np.nan,
        values=values,
        z=flat,
        table={"label": labels, **columns(estimates, verdicts)},
        trail=Trail(outcome.rungs),
        findings=Findings(),
        cost=Cost(0, 0, 0.0, 0.0),
        settings=settings,
        fit_record={f"stats/{name}": value.ravel() for name, value in stats.items()},
    )
    return Posterior(record)
