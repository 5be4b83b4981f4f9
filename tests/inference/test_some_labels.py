"""Labels that some rows lack, beside encoded rows: summed out with the gaps of each row, drawn given all that is known of it."""

import numpy as np
import pytest
from scipy import stats

import elboroom as er

NOISE = 0.7
MEANS = np.array([[0.0, 0.0, 0.0], [2.0, -1.0, 1.0]])
LOAD = np.array([1.0, 0.5, -0.5])
COVARIANCE = np.outer(LOAD, LOAD) + NOISE**2 * np.eye(3)


@er.model
def labelled(x, y):
    """Two classes whose rows have one factor; 70% of the rows lack their label."""
    means, load = er.param("means", np.zeros((2, 3))), er.param("load", np.ones(3))
    with er.plate("row", len(x)):
        c = er.observe("y", er.Categorical(probs=np.array([0.5, 0.5])), y)
        z = er.sample("z", er.Normal(0, 1).expand([1]).to_event(1))
        er.observe("x", er.Normal(means[c] + z * load, NOISE).to_event(1), x)


def rows(count, rng):
    label = rng.integers(0, 2, count)
    x = MEANS[label] + rng.multivariate_normal(np.zeros(3), COVARIANCE, count)
    return x, np.where(rng.random(count) < 0.7, np.nan, label)


@pytest.fixture(scope="module", params=["jax", "torch"])
def fitted(request):
    x, y = rows(1200, np.random.default_rng(0))
    guide = {"z": er.Amortized(sees=["x"])}
    return er.fit(labelled(x, y), guide=guide, progress=False, num_draws=200, backend=request.param)


class Exact:
    """Rows at the learned numbers."""

    def __init__(self, posterior):
        self.means, load = (
            np.asarray(posterior.learned["means"], float),
            np.asarray(posterior.learned["load"]),
        )
        self.covariance = np.outer(load, load) + NOISE**2 * np.eye(3)

    def log_joint(self, x, y):
        """Of row by class, those that a label excludes at minus infinity."""
        seen = ~np.isnan(x)
        out = np.full((len(x), 2), np.log(0.5))
        for i, row in enumerate(x):
            for k in range(2) if seen[i].any() else ():
                part = self.covariance[np.ix_(seen[i], seen[i])]
                out[i, k] += stats.multivariate_normal(self.means[k][seen[i]], part).logpdf(row[seen[i]])
        other = ~np.isnan(y)[:, None] & (np.arange(2) != np.nan_to_num(y)[:, None])
        return np.where(other, -np.inf, out)


def test_labels_of_new_rows_in_any_pattern_of_gaps(fitted):
    x, y = rows(40, np.random.default_rng(1))
    x[:10, 0] = np.nan
    x[10] = np.nan
    known = Exact(fitted).log_joint(x, y)
    total = np.logaddexp.reduce(known, 1)
    score = fitted.latent.score({"x": x, "y": y})
    assert (np.abs(score["log_prob"].values - total) < 4 * score["se"].values + 1e-3).all()
    found = fitted.latent.impute({"x": x, "y": y}, num_draws=2000)
    share = np.exp(known - total[:, None])
    assert np.abs(found["y_probs"].values - share).max() < 0.05
    assert (found["y"].values[~np.isnan(y)] == y[~np.isnan(y)]).all()
    exact = Exact(fitted)
    for i in range(10):  # the missing number of a row follows the class that the rest of the row speaks for
        part = np.linalg.solve(exact.covariance[1:, 1:], (x[i, 1:] - exact.means[:, 1:]).T)
        mean = share[i] @ (exact.means[:, 0] + exact.covariance[0, 1:] @ part)
        assert abs(found["x"].values[i, 0] - mean) < 5 * found["x_sd"].values[i, 0] / np.sqrt(2000) + 0.02
    assert set(fitted.latent.reconstruct({"x": x, "y": y}).data_vars) == {"x"}


def test_the_fit_is_that_of_the_declared_model(fitted):
    assert fitted.verdict == "trusted"
    np.testing.assert_allclose(Exact(fitted).means, MEANS, atol=0.2)
    np.testing.assert_allclose(Exact(fitted).covariance, COVARIANCE, atol=0.25)


def test_rows_are_made_with_their_labels_or_given_them(fitted):
    exact, error = Exact(fitted), np.sqrt(1.5 / 1000)
    both = fitted.latent.simulate(2000)
    for k in range(2):
        own = both["x"].values[both["y"].values == k]
        assert np.abs(own.mean(0) - exact.means[k]).max() < 5 * error
    some = fitted.latent.simulate(2000, given={"y": np.repeat([1.0, np.nan], 1000)})
    assert np.abs(some["x"].values[:1000].mean(0) - exact.means[1]).max() < 5 * error
    assert np.abs(some["x"].values[1000:].mean(0) - exact.means.mean(0)).max() < 8 * error
    assert (some["y"].values[:1000] == 1).all() and 400 < (some["y"].values[1000:] == 1).sum() < 600
    average = fitted.latent.decode(np.zeros((1, 1)))["x"].values
    np.testing.assert_allclose(average[0], exact.means.mean(0), atol=1e-4)
    own = fitted.latent.decode(np.zeros((1, 1)), given={"y": np.ones(1)})["x"].values
    np.testing.assert_allclose(own[0], exact.means[1], atol=1e-4)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_coordinates_whose_law_depends_on_a_label(backend):
    @er.model
    def mixed(x, y):
        loc, sd, noise = (er.math.asarray(np.array(a)) for a in ([-1.0, 2.0], [1.0, 0.5], [0.4, 0.6]))
        with er.plate("row", len(x)):
            c = er.observe("y", er.Categorical(probs=np.array([0.3, 0.7])), y)
            z = er.sample("z", er.Normal(loc[c], sd[c]))
            er.observe("x", er.Normal(z, noise[c]), x)

    rng = np.random.default_rng(3)
    x, y, z = rng.normal(size=6), np.array([np.nan, 0, 1, np.nan, np.nan, 1]), rng.normal(size=6)
    target = mixed(x, y).target(backend)
    with target.room():
        found = target.density.by_row(target.to_device(z), target.data, target.weights, "row")
    shares = np.where(np.isnan(y)[:, None] | (y[:, None] == [0, 1]), np.array([0.3, 0.7]), 0.0)
    prior = shares * stats.norm.pdf(z[:, None], [-1, 2], [1, 0.5])
    joint = prior * stats.norm.pdf(x[:, None], z[:, None], [0.4, 0.6])
    np.testing.assert_allclose(np.asarray(found["other"]), np.log(shares.sum(1)), rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(
        np.asarray(found["prior"]["z"])[:, 0], np.log(prior.sum(1) / shares.sum(1)), rtol=1e-5
    )
    np.testing.assert_allclose(
        np.asarray(found["likelihood"]), np.log(joint.sum(1) / prior.sum(1)), rtol=1e-5, atol=1e-8
    )


def test_numbers_that_new_rows_lack_and_others_depend_on_are_refused():
    @er.model
    def two(x, y):
        with er.plate("row", len(x)):
            z = er.sample("z", er.Normal(0, 1))
            first = er.observe("y", er.Normal(z, 0.5), y)
            er.observe("x", er.Normal(first + z, 0.4), x)

    rng = np.random.default_rng(4)
    z = rng.normal(size=200)
    y = z + 0.5 * rng.normal(size=200)
    data = {"x": y + z + 0.4 * rng.normal(size=200), "y": y}
    posterior = er.fit(two(**data), guide={"z": er.Amortized()}, progress=False, num_draws=200, max_seconds=3)
    with pytest.raises(er.UnsupportedError, match="some of 'y', on which other outcomes depend"):
        posterior.latent.encode({"x": data["x"][:2], "y": np.array([0.1, np.nan])})


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_an_outcome_of_the_name_of_missing_values_is_its_own(backend):
    @er.model
    def lost(y, gone):
        with er.plate("row", len(y)):
            z = er.sample("z", er.Normal(0, 1))
            er.observe("y", er.Normal(50 + z, 0.1), y)
            er.observe("y_missing", er.Bernoulli(0.5), gone)

    y, gone = np.array([50.0, np.nan, 51.0]), np.array([0, 1, 0])
    target = lost(y, gone).target(backend)
    found = target.density.complete(np.zeros((2, 3)), np.arange(2), target.data, target.weights)
    assert (np.abs(np.asarray(found["y"]) - 50) < 1).all()
    assert set(np.unique(np.asarray(found["y_missing"]))) <= {0, 1}


def test_rows_with_a_place_for_each_label_are_not_trusted_where_one_is_missed():
    @er.model
    def folded(x, y):
        loc = er.math.asarray(np.array([-3.0, 3.0]))
        with er.plate("row", len(x)):
            c = er.observe("y", er.Categorical(probs=np.array([0.5, 0.5])), y)
            z = er.sample("z", er.Normal(loc[c], 1.0))
            er.observe("x", er.Normal(z**2 / 3, 0.5), x)

    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 300)
    x = (np.where(label == 1, 3.0, -3.0) + rng.normal(size=300)) ** 2 / 3 + 0.5 * rng.normal(size=300)
    y = np.where(rng.random(300) < 0.5, np.nan, label)
    posterior = er.fit(folded(x, y), guide={"z": er.Amortized(sees=["x"])}, progress=False, num_draws=200)
    grid = np.linspace(-9, 9, 4001)
    mass = stats.norm.pdf(x[:, None], grid**2 / 3, 0.5)[:, None] * stats.norm.pdf(grid, [[-3], [3]], 1)
    mass = np.where((np.isnan(y)[:, None] | (y[:, None] == [0, 1]))[:, :, None], mass, 0)
    share = mass.sum((1, 2))
    mean = (mass.sum(1) @ grid) / share
    sd = np.sqrt((mass.sum(1) @ grid**2) / share - mean**2)
    found = posterior.latent.encode({"x": x, "y": y})
    trusted, error = found["verdict"].values == "trusted", np.abs(found["mean"].values[:, 0] - mean) / sd
    assert posterior.verdict != "trusted" and not trusted.all()  # one normal law cannot be at two places
    assert trusted[np.isnan(y)].any() and error[trusted].max() < 0.15
    drawn = posterior.latent.impute({"x": x, "y": y}, num_draws=2000)["y_probs"].values
    assert np.abs(drawn - mass.sum(2) / share[:, None])[trusted].max() < 0.1
