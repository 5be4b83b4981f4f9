"""Networks whose weights have laws, against closed forms and long chains."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from elboroom.guides.variational_dropout import divergence_slope, minus_divergence
from scipy import stats

import elboroom as er

RNG = np.random.default_rng(0)
X = np.sort(RNG.uniform(-2, 2, 30))[:, None]
Y = np.tanh(2 * X[:, 0]) + 0.2 * RNG.normal(size=30)


@er.model
def last_layer(x, y):
    """A network whose last layer alone has a prior."""
    f = er.module("f", er.nn.MLP(1, [2], 1, "tanh"), prior={"layers.1": er.Normal(0, 1)})
    mean = er.deterministic("mean", f(x)[:, 0])
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(mean, 0.2), y)


def test_a_last_layer_is_linear_regression_on_the_fitted_ones():
    posterior = er.fit(last_layer(X, Y), progress=False)
    weight, bias = (np.asarray(posterior.learned[f"f.layers.0.{part}"]) for part in ("weight", "bias"))
    assert (posterior.learned.keys()) == {"f.layers.0.weight", "f.layers.0.bias"}
    features = np.column_stack([np.tanh(X @ weight.T + bias), np.ones(len(X))])
    covariance = np.linalg.inv(features.T @ features / 0.2**2 + np.eye(3))
    place = covariance @ features.T @ Y / 0.2**2
    table, sd = posterior.summary(), np.sqrt(np.diag(covariance))
    own = table.loc[["f.layers.1.weight[0, 0]", "f.layers.1.weight[0, 1]", "f.layers.1.bias[0]"]]
    np.testing.assert_allclose((own["mean"] - place) / sd, 0, atol=0.1)
    np.testing.assert_allclose(own["sd"], sd, rtol=0.06)
    curve = table.loc[[f"mean[{i}]" for i in range(30)]]
    exact = np.sqrt(np.einsum("ij,jk,ik->i", features, covariance, features))
    np.testing.assert_allclose((curve["mean"] - features @ place) / exact, 0, atol=0.1)
    np.testing.assert_allclose(curve["sd"], exact, rtol=0.06)
    assert posterior.verdict == "trusted"
    assert own["reason"].str.endswith("given the fitted arrays").all()


def test_the_name_of_a_network_stands_for_its_weights():
    program = last_layer(X, Y)
    target = program.target()
    plan = er.guides.choose({"f": "mean-field"}, target)
    assert plan.family.name == "mean-field" and "f mean-field" in plan.reason
    some = er.guides.choose({"f": "structured"}, target)
    assert some.family.sites == {"f": "structured"}
    with pytest.raises(er.GuideError, match=r"latent sites among \['f', 'f.layers.1.bias', .*got 'g'"):
        er.fit(program, guide={"g": "mean-field"}, progress=False)


def test_weights_around_hidden_units_are_never_trusted_and_predictions_are():
    """Draws that cross between the equal modes as chains would that mix perfectly."""

    @er.model
    def net(x, y):
        f = er.module("f", er.nn.MLP(1, [3], 1, "tanh"), prior=er.Normal(0, 1))
        mean = er.deterministic("mean", f(x)[:, 0])
        with er.plate("row", len(x)):
            er.observe("y", er.Normal(mean, 0.2), y)

    def draws(*shape):
        return rng.normal(size=(4, 1000, *shape))

    rng = np.random.default_rng(0)
    first, bias, second, last = draws(3, 1), draws(3), draws(1, 3), draws(1)
    names = {
        "layers.0.weight": first,
        "layers.0.bias": bias,
        "layers.1.weight": second,
        "layers.1.bias": last,
    }
    group = xr.Dataset(
        {
            f"f.{name}": (("chain", "draw", *(f"{name}_{i}" for i in range(value.ndim - 2))), value)
            for name, value in names.items()
        }
    )
    table = er.from_datatree(xr.DataTree.from_dict({"posterior": group}), net(X, Y)).summary()
    weights = table[table.index.str.startswith(("f.layers.0", "f.layers.1.weight"))]
    assert len(weights) == 9 and set(weights["verdict"]) == {"untrusted"}
    assert weights["reason"].str.startswith("symmetric under exchanging hidden units of 'f'").all()
    assert table.loc["f.layers.1.bias[0]", "verdict"] == "trusted"
    assert set(table.loc[[f"mean[{i}]" for i in range(30)], "verdict"]) == {"trusted"}


# -- variational dropout -------------------------------------------------------------------------------------


def test_the_divergence_is_that_of_a_log_uniform_prior():
    """−KL is ½ log α − E log|1 + √α ε|, up to a constant; its fit is good to a hundredth."""
    eps = np.linspace(-9, 9, 400_001)
    share = np.exp(-0.5 * eps**2) / np.exp(-0.5 * eps**2).sum()

    def exact(log_alpha):
        return 0.5 * log_alpha - (share * np.log(np.abs(1 + np.exp(log_alpha / 2) * eps))).sum()

    at = np.array([-4.0, -2.0, 0.0, 2.0, 4.0])
    own = minus_divergence(at)
    np.testing.assert_allclose(own[1:4], [-1.5405, -0.4312, -0.0684], atol=5e-5)
    np.testing.assert_allclose(np.diff(own), np.diff([exact(a) for a in at]), atol=0.015)
    step = 1e-5
    slope = (minus_divergence(at + step) - minus_divergence(at - step)) / (2 * step)
    np.testing.assert_allclose(divergence_slope(at), slope, rtol=1e-6)


@er.model
def sparse(x, y):
    """A line in six columns, of which two matter."""
    f = er.module("f", er.nn.MLP(6, [], 1), prior=er.Normal(0, 1))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(f(x)[:, 0], 0.3), y)


def columns():
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, (80, 6))
    return x, 1.5 * x[:, 0] - x[:, 1] + 0.3 * rng.normal(size=80)


def test_weights_that_do_not_matter_drop_out_and_nothing_is_trusted(tmp_path):
    x, y = columns()
    posterior = er.fit(sparse(x, y), guide={"f": er.VariationalDropout()}, progress=False)
    table, rates = posterior.summary(), posterior.guide.at(posterior.params).rates
    assert (rates[:2] < -3).all() and (rates[2:6] > 0).sum() >= 3 and np.isnan(rates[6])
    # the weights that stay are those of least squares on their columns, but for what the noise of the others takes
    design = np.column_stack([x[:, :2], np.ones(80)])
    covariance = 0.3**2 * np.linalg.inv(design.T @ design)
    place, sd = covariance @ design.T @ y / 0.3**2, np.sqrt(np.diag(covariance))
    own = table.iloc[[0, 1, 6]]
    assert (np.abs(own["mean"] - place) / sd < 0.5).all()
    np.testing.assert_allclose(own["sd"], 1 / np.sqrt(np.diag(np.linalg.inv(covariance))), rtol=0.1)
    assert set(table["verdict"]) == {"untrusted"} and posterior.verdict == "untrusted"
    assert table["reason"].str.contains("log-uniform prior of variational dropout").all()
    posterior.save(tmp_path / "it")
    loaded = er.load(tmp_path / "it", program=sparse(x, y))
    np.testing.assert_array_equal(loaded.guide.at(loaded.params).rates, rates)
    assert loaded.verdict == "untrusted"


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_its_density_has_no_prior_of_the_weights_that_drop_out(backend):
    target = sparse(*columns()).target(backend)
    z = np.linspace(-1, 1, 7)
    names = ("f.layers.0.weight",)
    own = target.density.total_without(target.to_device(z), target.data, target.weights, names)
    whole = target.value_and_grad(z[None])[0][0]
    assert float(own) == pytest.approx(whole - stats.norm.logpdf(z[:6]).sum(), rel=1e-5)


def test_variational_dropout_where_it_cannot_be():
    @er.model
    def level(y):
        mu = er.sample("mu", er.Normal(0, 1))
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(mu, 1.0), y)

    with pytest.raises(er.GuideError, match="expected a network whose weights have a prior, got none"):
        er.fit(level(Y), guide="variational-dropout", progress=False)
    with pytest.raises(er.GuideError, match="expected nothing beside 'variational-dropout'"):
        sites = {"f": er.VariationalDropout(), "f.layers.0.bias": "full-rank"}
        er.guides.choose(sites, sparse(*columns()).target())
