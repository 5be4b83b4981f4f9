"""Every function of arviz-plots takes our draws, or needs what they cannot hold."""

from __future__ import annotations

import warnings

import arviz_plots
import matplotlib
import numpy as np
import pytest

import elboroom as er

matplotlib.use("agg")
PLOTS = sorted(
    name
    for name in dir(arviz_plots)
    if name.startswith("plot_") and callable(getattr(arviz_plots, name)) and name != "plot_compare"
)
SETTINGS = {
    "plot_bf": {"var_names": "mu"},
    "plot_pair": {"var_names": ["mu", "tau"]},
    "plot_pair_focus": {"var_names": ["mu"], "focus_var": "tau"},
    "plot_dgof_dist": {"var_names": ["mu"]},
    "plot_rank_dist": {"var_names": ["theta"], "coords": {"school": ["A", "F"]}},
    "plot_trace_dist": {"var_names": ["theta"], "coords": {"school": ["A", "F"]}},
}
OTHER = {
    "plot_ecdf_pit": "draws of simulation-based calibration",
    "plot_khat": "what er.compare gives",
    "plot_lm": "a covariate: er.plots.regression",
    "plot_loo_pava": "binary or ordered outcomes",
    "plot_ppc_pava": "binary or ordered outcomes",
    "plot_ppc_pava_residuals": "binary or ordered outcomes",
    "plot_loo_interval": "few outcomes",
}
"""Plots of something else than draws, and what of."""


@er.model
def schools(exposure, y=None):
    mu = er.sample("mu", er.Normal(0, 2))
    tau = er.sample("tau", er.HalfNormal(1))
    with er.plate("school", len(exposure), coords=list("ABCDEF")):
        theta = er.sample("theta", er.Normal(mu, tau))
        er.observe("y", er.Poisson(er.math.exp(theta) * exposure), y)


@pytest.fixture(scope="module")
def draws():
    program = schools(np.ones(6), np.array([3, 1, 4, 1, 5, 9]))
    found = er.fit(program, guide=None, num_draws=100, progress=False).draws
    for group in ("log_likelihood", "posterior_predictive", "prior", "prior_predictive", "log_prior"):
        found[group]
    return found


@pytest.mark.parametrize("name", [name for name in PLOTS if name not in OTHER])
def test_arviz_plots_take_the_draws(draws, name):
    import matplotlib.pyplot as plt

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plots = getattr(arviz_plots, name)(draws, **SETTINGS.get(name, {}))
    assert len(plots.viz.children) + len(plots.viz.data_vars) > 0
    plt.close("all")


def test_pairs_of_quantities_with_axes():
    import matplotlib.pyplot as plt

    posterior = er.fit(
        schools(np.ones(6), np.array([3, 1, 4, 1, 5, 9])), num_draws=400, refine=False, progress=False
    )
    plots = er.plots.pair(posterior, var_names=["tau", "theta"], coords={"school": ["A", "F"]})
    assert plots.viz["var_name_x"].values.tolist() == ["tau", "theta[A]", "theta[F]"]
    plt.close("all")
