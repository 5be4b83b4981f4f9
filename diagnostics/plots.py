"""Plots: each a function of a posterior that returns an arviz-plots ``PlotCollection``.

What arviz-plots has is arviz-plots'; further arguments go to it as they are (``backend="plotly"``, ``figure_kwargs``).

References
----------
Säilynoja, Johnson, Martin & Vehtari (2025), Recommendations for visual predictive checks in Bayesian workflow.

Examples
--------
>>> import elboroom as er
>>> @er.model
... def level(y):
...     mu = er.sample("mu", er.Normal(0, 10))
...     with er.plate("row", len(y)):
...         er.observe("y", er.Normal(mu, 1.0), y)
>>> posterior = er.fit(level(np.linspace(0, 4, 20)), refine=False, progress=False)
>>> type(er.plots.forest(posterior)).__name__
'PlotCollection'
"""

from __future__ import annotations

import numpy as np

from ..inference.posterior.posterior import record_of
from ..ppl.errors import DataError, explain
from ..ppl.sites import element_labels
from .checks.outcome import Outcome
from .checks.predictions import outcomes
from .checks.replicates import group_of
from .checks.residuals import time_of
from .checks.survival import kaplan_meier
from .latent_plots import bounds, latent, reconstructions, traversals
from .thresholds import CURVE_POINTS, CURVES_DRAWN

_BOUNDED = ("unit", "interval", "between", "0 to 1", "[0, 1]")  # words of supports with two ends

__all__ = [
    "bounds",
    "calibration",
    "compare",
    "course",
    "forest",
    "intervals",
    "latent",
    "loo_pit",
    "pair",
    "pit",
    "ppc",
    "reconstructions",
    "rootogram",
    "survival",
    "traversals",
]


def ppc(posterior, name: str | None = None, **settings):
    """The plot of predictions against the data that suits an outcome's type.

    Parameters
    ----------
    posterior : Posterior
        The fit, or draws made elsewhere.
    name : str, optional
        An outcome; may be left out where there is one.
    **settings
        For the plot it comes to: densities of continuous outcomes, ECDFs where these have bounds on both sides, a
        `rootogram` of counts, `calibration` of binary, categorical and ordered ones, `survival` of censored ones.

    Returns
    -------
    arviz_plots.PlotCollection

    Raises
    ------
    DataError
        If there is no such outcome, or no rows to plot.
    """
    import arviz_plots

    outcome = _outcome(posterior, name)
    if outcome.censored is not None:
        return survival(posterior, outcome.name, **settings)
    if outcome.kind == "count":
        return rootogram(posterior, outcome.name, **settings)
    if outcome.kind in {"binary", "categorical"}:
        return calibration(posterior, outcome.name, **settings)
    settings.setdefault("kind", "ecdf" if _bounded(posterior, outcome.name) else "kde")
    return arviz_plots.plot_ppc_dist(_tree(posterior, outcome), var_names=outcome.name, **settings)


def pit(posterior, name: str | None = None, **settings):
    """The PIT-ECDF with its simultaneous band; ``coverage=True`` for that of central intervals.

    Parameters
    ----------
    posterior : Posterior
        The fit, or draws made elsewhere.
    name : str, optional
        An outcome; may be left out where there is one.
    **settings
        For ``arviz_plots.plot_ppc_pit``.

    Returns
    -------
    arviz_plots.PlotCollection

    Raises
    ------
    DataError
        If there is no such outcome, or no rows to plot.

    References
    ----------
    Säilynoja, Bürkner & Vehtari (2022), Graphical test for discrete uniformity, Statistics & Computing 32.
    """
    import arviz_plots

    outcome = _outcome(posterior, name)
    return arviz_plots.plot_ppc_pit(_tree(posterior, outcome), var_names=outcome.name, **settings)


def loo_pit(posterior, name: str | None = None, **settings):
    """The PIT-ECDF of rows each left out, by Pareto-smoothed importance sampling.

    Parameters
    ----------
    posterior : Posterior
        The fit, or draws made elsewhere.
    name : str, optional
        An outcome; may be left out where there is one.
    **settings
        For ``arviz_plots.plot_loo_pit``.

    Returns
    -------
    arviz_plots.PlotCollection

    Raises
    ------
    DataError
        If there is no such outcome, or no rows to plot.

    References
    ----------
    Vehtari, Gelman & Gabry (2017), Statistics & Computing 27.
    """
    import arviz_plots

    outcome = _outcome(posterior, name)
    posterior.draws["log_likelihood"]
    tree = _tree(posterior, outcome, "posterior_predictive")
    return arviz_plots.plot_loo_pit(tree, var_names=outcome.name, **settings)


def rootogram(posterior, name: str | None = None, **settings):
    """Square roots of how many rows have each count, with predictive intervals.

    Parameters
    ----------
    posterior : Posterior
        The fit, or draws made elsewhere.
    name : str, optional
        An outcome; may be left out where there is one.
    **settings
        For ``arviz_plots.plot_ppc_rootogram``.

    Returns
    -------
    arviz_plots.PlotCollection

    Raises
    ------
    DataError
        If there is no such outcome, or no rows to plot.

    References
    ----------
    Kleiber & Zeileis (2016), Visualizing count data regressions using rootograms, The American Statistician 70.
    """
    import arviz_plots

    outcome = _outcome(posterior, name)
    return arviz_plots.plot_ppc_rootogram(_tree(posterior, outcome), var_names=outcome.name, **settings)


def calibration(posterior, name: str | None = None, **settings):
    """Shares that came true against predicted probabilities, by isotonic regression.

    Parameters
    ----------
    posterior : Posterior
        The fit, or draws made elsewhere.
    name : str, optional
        An outcome; may be left out where there is one.
    **settings
        For ``arviz_plots.plot_ppc_pava``.

    Returns
    -------
    arviz_plots.PlotCollection

    Raises
    ------
    DataError
        If there is no such outcome, or no rows to plot.

    References
    ----------
    Dimitriadis, Gneiting & Jordan (2021), Stable reliability diagrams for probabilistic classifiers, PNAS 118.
    """
    import arviz_plots

    outcome = _outcome(posterior, name)
    ordered = "ordinal" if outcome.ordered else "categorical"
    settings.setdefault("data_type", "binary" if outcome.kind == "binary" else ordered)
    return arviz_plots.plot_ppc_pava(_tree(posterior, outcome), var_names=outcome.name, **settings)


def survival(posterior, name: str | None = None, num_samples: int = CURVES_DRAWN, **settings):
    """The Kaplan–Meier curve of a censored outcome over those of replicated data that lose as many rows.

    Where not every row's censoring time is known, those of rows that were seen to their end are drawn from the law of
    the others.

    Parameters
    ----------
    posterior : Posterior
        The fit, or draws made elsewhere.
    name : str, optional
        An outcome; may be left out where there is one.
    num_samples : int
        Replicates whose curves are drawn.
    **settings
        For ``arviz_plots.PlotCollection.wrap``.

    Returns
    -------
    arviz_plots.PlotCollection

    Raises
    ------
    DataError
        If there is no such outcome, or none of its rows is censored.

    References
    ----------
    Kaplan & Meier (1958), JASA 53.
    """
    import arviz_plots
    import xarray as xr
    from arviz_plots.visuals import ecdf_line, labelled_x, labelled_y

    outcome = _outcome(posterior, name)
    if outcome.censored is None:
        raise DataError(
            explain(f"outcome '{outcome.name}'", "a censored one with censored rows", "none", "use ppc")
        )
    some = outcome.replicated[np.unique(np.linspace(0, len(outcome.replicated) - 1, num_samples).astype(int))]
    times = np.linspace(0, outcome.observed.max(), CURVE_POINTS)
    curves = kaplan_meier(some, outcome.censored.ended(some), times)
    observed = kaplan_meier(outcome.observed[None], outcome.censored.seen[None], times)

    def made(curves, dims):
        points = np.stack([np.broadcast_to(times, curves.shape), curves])
        return xr.Dataset({outcome.name: (("plot_axis", *dims), points)}, coords={"plot_axis": ["x", "y"]})

    predicted = made(curves, ("sample", "quantile")).assign_coords(sample=np.arange(len(some)))
    settings.setdefault("aes", {"overlay_ppc": ["sample"]})
    settings.setdefault("cols", "__variable__")
    plots = arviz_plots.PlotCollection.wrap(predicted, **settings)
    plots.map(ecdf_line, "predictive", data=predicted, color="C0", alpha=0.3)
    plots.map(
        ecdf_line, "observed_km", data=made(observed[0], ("quantile",)), ignore_aes=plots.aes_set, color="B1"
    )
    plots.map(labelled_x, "xlabel", data=predicted, ignore_aes=plots.aes_set, text=outcome.name)
    plots.map(labelled_y, "ylabel", ignore_aes=plots.aes_set, text="share that outlasts it")
    return plots


def intervals(posterior, name: str | None = None, **settings):
    """Predictive intervals of each row, in the order of the rows, with the data.

    Parameters
    ----------
    posterior : Posterior
        The fit, or draws made elsewhere.
    name : str, optional
        An outcome; may be left out where there is one.
    **settings
        For ``arviz_plots.plot_ppc_interval``.

    Returns
    -------
    arviz_plots.PlotCollection

    Raises
    ------
    DataError
        If there is no such outcome, or no rows to plot.
    """
    import arviz_plots

    outcome = _outcome(posterior, name)
    return arviz_plots.plot_ppc_interval(_tree(posterior, outcome), var_names=outcome.name, **settings)


def course(posterior, name: str | None = None, along: str | None = None, **settings):
    """An outcome over time, or along another column of the data, with its predictive intervals.

    Parameters
    ----------
    posterior : Posterior
        The fit, or draws made elsewhere.
    name : str, optional
        An outcome; may be left out where there is one.
    along : str, optional
        A data argument with a number per row; by default the column of time, else the order of the rows.
    **settings
        For ``arviz_plots.plot_lm``.

    Returns
    -------
    arviz_plots.PlotCollection

    Raises
    ------
    DataError
        If there is no such outcome or column, or no rows to plot.
    """
    import arviz_base
    import arviz_plots

    outcome = _outcome(posterior, name)
    along = along or time_of(outcome)
    if along is not None and along not in outcome.columns:
        raise DataError(
            explain(
                "along", f"one of the columns {sorted(outcome.columns)}", f"'{along}'", "correct the name"
            )
        )
    x = np.arange(len(outcome.observed), dtype=float) if along is None else outcome.columns[along]
    order = np.argsort(x, kind="stable")
    tree = arviz_base.from_dict(
        {
            "posterior_predictive": {outcome.name: outcome.replicated[None][..., order]},
            "observed_data": {outcome.name: outcome.observed[order]},
            "constant_data": {along or "order": x[order]},
        },
        dims={outcome.name: ["row"], along or "order": ["row"]},
    )
    return arviz_plots.plot_lm(tree, x=along or "order", y=outcome.name, plot_dim="row", **settings)


def forest(posterior, var_names=None, **settings):
    """Means and intervals of the quantities.

    Parameters
    ----------
    posterior : Posterior or dict of str to Posterior
        Several share one picture.
    var_names : str or sequence of str, optional
        Sites; by default all.
    **settings
        For ``arviz_plots.plot_forest``.

    Returns
    -------
    arviz_plots.PlotCollection
    """
    import arviz_plots

    if isinstance(posterior, dict):
        trees = {name: one.draws for name, one in posterior.items()}
        return arviz_plots.plot_forest(trees, var_names=var_names, **settings)
    return arviz_plots.plot_forest(posterior.draws, var_names=var_names, **settings)


def pair(posterior, var_names=None, coords=None, **settings):
    """Scatter plots of quantities against each other, each element of a site by itself.

    Parameters
    ----------
    posterior : Posterior
        The fit, or draws made elsewhere.
    var_names : str or sequence of str, optional
        Sites; by default all.
    coords : mapping, optional
        Which elements: name of an axis to its labels.
    **settings
        For ``arviz_plots.plot_pair``.

    Returns
    -------
    arviz_plots.PlotCollection

    Notes
    -----
    ``plot_pair`` of arviz-plots before version 1 fails on draws that have axes besides chain and draw.
    """
    import arviz_plots
    import xarray as xr

    draws = posterior.draws
    names = [var_names] if isinstance(var_names, str) else var_names
    group = draws["posterior"].to_dataset()
    group = (group if names is None else group[list(names)]).sel(coords or {})
    single: dict[str, tuple] = {}
    for name, values in group.items():
        labels = {dim: values.coords[dim].values for dim in values.dims[2:]}
        elements = element_labels(name, values.shape[2:], values.dims[2:], labels)
        flat = values.values.reshape(*values.shape[:2], -1)
        single |= {label: (("chain", "draw"), flat[..., i]) for i, label in enumerate(elements)}
    groups = {"posterior": xr.Dataset(single, {k: group.coords[k] for k in ("chain", "draw")})}
    if "sample_stats" in draws.children:
        groups["sample_stats"] = draws["sample_stats"].to_dataset()
    return arviz_plots.plot_pair(xr.DataTree.from_dict(groups), **settings)


def compare(comparison, **settings):
    """Differences of expected log predictive density from the best model.

    Parameters
    ----------
    comparison : Comparison
        Made by `elboroom.compare`.
    **settings
        For ``arviz_plots.plot_compare``.

    Returns
    -------
    arviz_plots.PlotCollection
    """
    import arviz_plots

    return arviz_plots.plot_compare(comparison.estimates, **settings)


def _outcome(posterior, name: str | None) -> Outcome:
    """The outcome of that name, or the only one."""
    found = {outcome.name: outcome for outcome in outcomes(posterior)}
    if name is None and len(found) == 1:
        return next(iter(found.values()))
    if name not in found:
        got = "none given" if name is None else f"'{name}'"
        raise DataError(
            explain(
                "outcome",
                f"one of {sorted(found) or 'the observed sites, of which none has rows'}",
                got,
                "name it",
            )
        )
    return found[name]


def _tree(posterior, outcome, group: str | None = None):
    """The draws, with the groups that predictions are plotted from; whole numbers where outcomes are counted.

    Predictions are those of `group`, by default the replicates that the checks use.
    """
    tree, group = posterior.draws, group or group_of(posterior)
    predicted = tree[group]
    whole = outcome.kind == "continuous" or tree["observed_data"][outcome.name].dtype.kind in "iu"
    if whole and group == "posterior_predictive":
        return tree
    import xarray as xr

    groups = {"posterior_predictive": predicted, "observed_data": tree["observed_data"]}
    if "log_likelihood" in tree.children:
        groups["log_likelihood"] = tree["log_likelihood"]
    found = {name: group.to_dataset() for name, group in groups.items()}
    for name in () if whole else ("posterior_predictive", "observed_data"):
        found[name] = found[name].assign({outcome.name: found[name][outcome.name].astype(int)})
    return xr.DataTree.from_dict(found)


def _bounded(posterior, name) -> bool:
    support = record_of(posterior).observed[name].support.lower()
    return any(word in support for word in _BOUNDED)
