"""The log densities of the reference posteriors, written out with NumPy and SciPy.

``FORMULAS[name](d, v)``: log joint density of the declared model at constrained values ``v``, without Jacobian
terms, for reference data ``d``.
"""

from __future__ import annotations

import itertools

import numpy as np
from scipy import stats
from scipy.special import logsumexp

normal = stats.norm.logpdf


def _columns(*columns):
    return np.stack([np.asarray(c, float) for c in columns], 1)


def _regression(design, outcome, sigma_prior=lambda sigma: 0.0):
    def formula(d, v):
        X = design({k: np.asarray(x) for k, x in d.items()})
        X = np.c_[np.ones(len(X)), X]
        y = outcome({k: np.asarray(x) for k, x in d.items()})
        return normal(y, X @ v["beta"], v["sigma"]).sum() + sigma_prior(v["sigma"])

    return formula


def _half_cauchy(scale):
    return lambda sigma: stats.halfcauchy.logpdf(sigma, scale=scale)


def _mesquite(log):
    names = ("diam1", "diam2", "canopy_height", "total_height", "density")
    return _regression(
        lambda d: _columns(*(log(d[k]) for k in names), d["group"]), lambda d: log(d["weight"])
    )


def _nes(d):
    ages = [d["age_discrete"] == k for k in (2, 3, 4)]
    return _columns(d["real_ideo"], d["race_adj"], *ages, d["educ1"], d["gender"], d["income"])


def kilpisjarvi(d, v):
    prior = normal(v["alpha"], d["pmualpha"], d["psalpha"]) + normal(v["beta"], d["pmubeta"], d["psbeta"])
    return prior + normal(d["y"], v["alpha"] + v["beta"] * np.asarray(d["x"]), v["sigma"]).sum()


def blr(d, v):
    prior = normal(v["beta"], 0, 10).sum() + stats.halfnorm.logpdf(v["sigma"], scale=10)
    return prior + normal(d["y"], np.asarray(d["X"]) @ v["beta"], v["sigma"]).sum()


def diamonds(d, v):
    X = np.asarray(d["X"])[:, 1:]
    prior = normal(v["b"]).sum() + stats.t.logpdf(v["Intercept"], 3, 8, 10)
    prior += np.log(2) + stats.t.logpdf(v["sigma"], 3, 0, 10)
    return prior + normal(d["Y"], v["Intercept"] + (X - X.mean(0)) @ v["b"], v["sigma"]).sum()


def _schools_globals(v):
    return normal(v["mu"], 0, 5) + stats.halfcauchy.logpdf(v["tau"], scale=5)


def schools_centered(d, v):
    prior = _schools_globals(v) + normal(v["theta"], v["mu"], v["tau"]).sum()
    return prior + normal(d["y"], v["theta"], d["sigma"]).sum()


def schools_noncentered(d, v):
    prior = _schools_globals(v) + normal(v["theta_trans"]).sum()
    return prior + normal(d["y"], v["mu"] + v["tau"] * v["theta_trans"], d["sigma"]).sum()


def autoregression(d, v):
    y, K = np.asarray(d["y"]), d["K"]
    total = normal(v["alpha"], 0, 10) + normal(v["beta"], 0, 10).sum()
    total += stats.halfcauchy.logpdf(v["sigma"], scale=2.5)
    for t in range(K, len(y)):
        mean = v["alpha"] + sum(v["beta"][k] * y[t - 1 - k] for k in range(K))
        total += normal(y[t], mean, v["sigma"])
    return total


def garch(d, v):
    variance, total = d["sigma1"] ** 2, 0.0
    for y in d["y"]:
        total += normal(y, v["mu"], np.sqrt(variance))
        variance = v["alpha0"] + v["alpha1"] * (y - v["mu"]) ** 2 + v["beta1"] * variance
    return total


def gaussian_process(d, v):
    x = np.asarray(d["x"])
    covariance = v["alpha"] ** 2 * np.exp(-0.5 * ((x[:, None] - x) / v["rho"]) ** 2) + 1e-10 * np.eye(len(x))
    f = np.linalg.cholesky(covariance) @ v["f_tilde"]
    prior = stats.gamma.logpdf(v["rho"], 25, scale=1 / 4) + stats.halfnorm.logpdf(v["alpha"], scale=2)
    return prior + normal(v["f_tilde"]).sum() + stats.poisson.logpmf(d["k"], np.exp(f)).sum()


def mixture(d, v):
    prior = np.log(2) + normal(v["mu"], 0, 2).sum() + stats.halfnorm.logpdf(v["sigma"], scale=2).sum()
    prior += stats.beta.logpdf(v["theta"], 5, 5)
    weights = np.array([v["theta"], 1 - v["theta"]])
    rows = np.log(weights) + normal(np.asarray(d["y"])[:, None], v["mu"], v["sigma"])
    return prior + logsumexp(rows, axis=1).sum()


def drives(d, v):
    """The sum over every path of states."""
    alpha, move = np.asarray(d["alpha"]), np.stack([v["theta1"], v["theta2"]])
    prior = sum(stats.dirichlet.logpdf(move[k], alpha[k]) for k in range(2))
    prior += normal(v["phi"], [0, 3], 1).sum() + normal(v["lambda"], [0, 3], 1).sum()
    u, rate_u = np.asarray(d["u"])[:, None], v["phi"]
    seen = stats.expon.logpdf(u, scale=1 / rate_u)
    seen = seen + stats.expon.logpdf(np.asarray(d["v"])[:, None], scale=1 / v["lambda"])
    paths = []
    for path in itertools.product(range(2), repeat=len(u)):
        moves = sum(np.log(move[a, b]) for a, b in itertools.pairwise(path))
        paths.append(np.log(0.5) + moves + sum(seen[t, s] for t, s in enumerate(path)))
    return prior + logsumexp(paths)


def falcons(d, v):
    year = np.asarray(d["year"])
    prior = -np.log(40) - 3 * np.log(20) - np.log(5) + normal(v["eps"], 0, v["sigma"]).sum()
    trend = v["alpha"] + v["beta1"] * year + v["beta2"] * year**2 + v["beta3"] * year**3
    return prior + stats.poisson.logpmf(d["C"], np.exp(trend + v["eps"])).sum()


def wells(d, v):
    dist, arsenic, educ = ((np.asarray(d[k]) - np.mean(d[k])) for k in ("dist", "arsenic", "educ"))
    dist, educ = dist / 100, educ / 4
    X = _columns(dist, arsenic, educ, dist * arsenic, dist * educ, arsenic * educ)
    logits = v["alpha"] + X @ v["beta"]
    return stats.bernoulli.logpmf(d["switched"], 1 / (1 + np.exp(-logits))).sum()


def _radon(d, v, alpha):
    prior = stats.halfnorm.logpdf(v["sigma_alpha"]) + stats.halfnorm.logpdf(v["sigma_y"])
    prior += normal(v["mu_alpha"], 0, 10) + normal(v["beta"], 0, 10).sum()
    x = np.asarray(d["log_uppm"]), np.asarray(d["floor_measure"])
    mean = alpha[np.asarray(d["county_idx"]) - 1] + x[0] * v["beta"][0] + x[1] * v["beta"][1]
    return prior + normal(d["log_radon"], mean, v["sigma_y"]).sum()


def radon_centered(d, v):
    return _radon(d, v, v["alpha"]) + normal(v["alpha"], v["mu_alpha"], v["sigma_alpha"]).sum()


def radon_noncentered(d, v):
    return _radon(d, v, v["mu_alpha"] + v["sigma_alpha"] * v["alpha_raw"]) + normal(v["alpha_raw"]).sum()


def surgery(d, v):
    prior = normal(v["mu"], 0, 1000) + stats.invgamma.logpdf(v["sigmasq"], 1e-3, scale=1e-3)
    prior += normal(v["b"], v["mu"], np.sqrt(v["sigmasq"])).sum()
    return prior + stats.binom.logpmf(d["r"], d["n"], 1 / (1 + np.exp(-v["b"]))).sum()


FORMULAS = {
    "GLMM_Poisson_data-GLMM_Poisson_model": falcons,
    "arK-arK": autoregression,
    "bball_drive_event_0-hmm_drive_0": drives,
    "diamonds-diamonds": diamonds,
    "earnings-earn_height": _regression(lambda d: _columns(d["height"]), lambda d: d["earn"]),
    "earnings-logearn_interaction": _regression(
        lambda d: _columns(d["height"], d["male"], d["height"] * d["male"]), lambda d: np.log(d["earn"])
    ),
    "eight_schools-eight_schools_centered": schools_centered,
    "eight_schools-eight_schools_noncentered": schools_noncentered,
    "garch-garch11": garch,
    "gp_pois_regr-gp_pois_regr": gaussian_process,
    "kidiq-kidscore_interaction": _regression(
        lambda d: _columns(d["mom_hs"], d["mom_iq"], d["mom_hs"] * d["mom_iq"]),
        lambda d: d["kid_score"],
        _half_cauchy(2.5),
    ),
    "kidiq_with_mom_work-kidscore_mom_work": _regression(
        lambda d: _columns(*(d["mom_work"] == k for k in (2, 3, 4))), lambda d: d["kid_score"]
    ),
    "kilpisjarvi_mod-kilpisjarvi": kilpisjarvi,
    "low_dim_gauss_mix-low_dim_gauss_mix": mixture,
    "mesquite-logmesquite": _mesquite(np.log),
    "mesquite-mesquite": _mesquite(np.asarray),
    "nes1980-nes": _regression(_nes, lambda d: d["partyid7"]),
    "nes2000-nes": _regression(_nes, lambda d: d["partyid7"]),
    "radon_mn-radon_hierarchical_intercept_centered": radon_centered,
    "radon_mn-radon_hierarchical_intercept_noncentered": radon_noncentered,
    "sblrc-blr": blr,
    "surgical_data-surgical_model": surgery,
    "wells_data-wells_dae_inter_model": wells,
}
