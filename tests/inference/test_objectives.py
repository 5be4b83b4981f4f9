"""``er.objectives``: gradients and bounds against enumeration by many draws and closed forms."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from elboroom.guides.laws import Law
from elboroom.inference.deep.compiled import Compiled
from elboroom.inference.deep.setup import set_up
from scipy.stats import multivariate_normal

import elboroom as er

objectives = er.objectives


@er.model
def line(x):
    weight = er.param("weight", np.array([[1.0, -0.5, 2.0], [0.3, 1.0, 0.2]]))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([2]).to_event(1))
        er.observe("x", er.Normal(z @ weight, 0.7).to_event(1), x)


def rows(num=16):
    return np.random.default_rng(3).normal(size=(num, 3)) * 1.5


@cache
def setup():
    target = line(rows()).target("jax", np.float64)
    made = set_up(er.Amortized(), "row", target, 16, 0)
    held = {"x": target.to_device(rows())}
    return target, made, Compiled(made.rows, made.encoder, held)


def gradients(objective, num=400, seed=0, **factors):
    """Gradients of so many steps at the same arrays, by array ``(num, size)``, and what they saw."""
    target, made, compiled = setup()
    device = target.to_device
    train = compiled.trained(objective)
    found, seen = {}, []
    given = {**objective.at(0), "stuck": 0.0, "rate": 0.0, "decay": 0.0, **factors}
    inputs = {k: np.full(num, v) for k, v in given.items()}
    inputs |= {
        "seed": np.random.default_rng(seed).integers(0, 2**31, num),
        "rows": np.tile(np.arange(16), (num, 1)),
    }
    params = {"weights": {k: device(v) for k, v in made.begin.items()}, "guide": {}}

    def zeros():
        return {g: {k: device(np.zeros(np.shape(v))) for k, v in part.items()} for g, part in params.items()}

    one = {k: v[:1] for k, v in inputs.items()}
    for i in range(num):
        state = {"params": target.loops.copy(params), "first": zeros(), "second": zeros(), "mean": target.loops.copy(params),
                 "norm": {"usual": device(np.asarray(1e9)), "count": device(np.zeros(()))}}  # fmt: skip
        one = {k: v[i : i + 1] for k, v in inputs.items()}
        state, out = train(state, one, compiled.constants)
        seen.append(float(np.asarray(out["bound"])[0]))
        for key, value in state["first"]["weights"].items():
            found.setdefault(key, []).append(
                np.asarray(value).ravel() / 0.1
            )  # Adam's first moment after one step
    return {k: np.array(v) for k, v in found.items()}, np.array(seen)


def same(one, other, sigmas=4.5):
    """Whether two gradients agree on average within their noise."""
    for key in one:
        se = np.sqrt(one[key].var(0) / len(one[key]) + other[key].var(0) / len(other[key])) + 1e-9
        assert (np.abs(one[key].mean(0) - other[key].mean(0)) < sigmas * se).mean() > 0.995, key


def test_sticking_to_the_landing_changes_the_noise_and_not_the_gradient():
    same(gradients(objectives.Elbo())[0], gradients(objectives.Elbo(), stuck=1.0, seed=1)[0])


def test_the_doubly_reparameterised_gradient_is_that_of_the_bound():
    doubly, bound = gradients(objectives.ImportanceWeighted(6))
    plain, again = gradients(objectives.ImportanceWeighted(6, "plain"), seed=1)
    same(doubly, plain)
    assert bound.mean() == pytest.approx(again.mean(), abs=5 * np.sqrt(2 * bound.var() / len(bound)))
    assert doubly["encoder.linear"].var(0).mean() < plain["encoder.linear"].var(0).mean()


def test_more_draws_bring_the_bound_nearer_to_the_evidence():
    _, made, _ = setup()
    weight = made.begin["weight"]
    exact = multivariate_normal(np.zeros(3), weight.T @ weight + 0.49 * np.eye(3)).logpdf(rows()).mean()
    found = [gradients(objectives.ImportanceWeighted(k), num=100)[1].mean() for k in (1, 4, 32)]
    assert found[0] < found[1] < found[2] < exact
    elbo = gradients(objectives.Elbo(), num=100)[1].mean()
    assert elbo == pytest.approx(found[0], abs=0.5)


def test_beta_is_heard():
    one, _ = gradients(objectives.Elbo(), num=50)
    other, _ = gradients(objectives.Elbo(), num=50, beta=4.0)
    assert np.abs(one["encoder.linear"].mean(0) - other["encoder.linear"].mean(0)).max() > 0.1


def test_free_bits_cost_nothing_below_them():
    held, _ = gradients(objectives.Elbo(free_bits=1000.0), num=100)
    none, _ = gradients(objectives.Elbo(), num=100, beta=0.0)
    same(held, none)


def test_capacity_turns_the_divergence_towards_it():
    towards, _ = gradients(objectives.Elbo(capacity=1.0), num=100, capacity=1e4)
    away, _ = gradients(objectives.Elbo(), num=100, beta=-1.0)
    same(towards, away)


def test_the_total_correlation_of_independent_units_is_none():
    _, made, compiled = setup()
    rng = np.random.default_rng(0)
    size = made.rows.size
    mean = rng.normal(size=(size, 2))
    law = Law(mean, np.full((size, 2), -1.0))

    def gauss(values):  # total correlation of an equal mixture, by brute force on many draws of it
        draws = np.repeat(mean, 4000, 0) + np.exp(-1.0) * rng.normal(size=(4000 * size, 2))
        each = [
            np.log(np.exp(-0.5 * ((draws[:, None, j] - mean[None, :, j]) / np.exp(-1.0)) ** 2).mean(1))
            for j in range(2)
        ]
        joint = np.log(np.exp(-0.5 * (((draws[:, None] - mean[None]) / np.exp(-1.0)) ** 2).sum(2)).mean(1))
        return (joint - sum(each)).mean()

    tc = []
    for _ in range(4000):
        z = mean + np.exp(-1.0) * rng.normal(size=(size, 2))
        tc.append(float(compiled._total_correlation(law, z[None])))
    assert np.mean(tc) == pytest.approx(gauss(None), abs=5 * np.std(tc) / np.sqrt(len(tc)) + 0.01)


def test_schedules_end_before_a_plateau_is_looked_for():
    annealed = objectives.Elbo(beta=objectives.Linear(epochs=300))
    posterior = er.fit(
        line(rows(200)), guide=er.Amortized(), objective=annealed, validation=0, progress=False
    )
    bounds = posterior.draws["fit"].to_dataset()["bounds"].to_numpy()
    assert bounds[-1, 0] >= 300 * (200 // 32)
    assert "settled" in posterior.trail[0].reason


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: objectives.Elbo(beta=0), "beta of er.objectives.Elbo"),
        (lambda: objectives.Elbo(free_bits=-1), "free_bits"),
        (lambda: objectives.Linear(epochs=0), "epochs"),
        (lambda: objectives.Cyclical(share=2.0), "a share up to 1"),
        (lambda: objectives.ImportanceWeighted(0), "a positive number of draws"),
        (lambda: objectives.ImportanceWeighted(5, "score"), "estimator"),
    ],
)
def test_what_is_no_objective_is_refused(make, words):
    with pytest.raises(er.InferenceError, match=words):
        make()


@pytest.mark.parametrize("within", ["full-rank", "flow"])
def test_units_that_are_not_independent_are_not_taken_apart(within):
    objective = objectives.Elbo(beta=4.0, total_correlation=6.0)
    with pytest.raises(er.InferenceError, match="units are independent") as caught:
        er.fit(line(rows()), guide=er.Amortized(within=within), objective=objective, progress=False)
    assert within in str(caught.value)
