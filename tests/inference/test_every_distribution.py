"""Every public distribution through the whole way: simulate, fit, predict, check, likelihood by row, save, load."""

import jax
import numpy as np
import pytest
from elboroom.ppl import distributions

import elboroom as er

ROWS = 8
exp = er.math.exp
CUTS = np.array([-1.0, 0.5])
MOVES = np.array([[0.8, 0.2], [0.3, 0.7]])


def each(t, count=3):
    """A number as a vector of equal ones."""
    return er.math.stack([t] * count, axis=-1)


def times_eye(t):
    return t * er.math.asarray(np.eye(2))


LAWS = {  # by name: the law of outcomes given a latent t near zero
    "on the line": {
        "AsymmetricLaplace": lambda t: er.AsymmetricLaplace(t, 1.0, 1.5),
        "Cauchy": lambda t: er.Cauchy(t, 1.0),
        "ExGaussian": lambda t: er.ExGaussian(t, 1.0, 0.8),
        "Gumbel": lambda t: er.Gumbel(t, 1.0),
        "Laplace": lambda t: er.Laplace(t, 1.0),
        "Logistic": lambda t: er.Logistic(t, 1.0),
        "Mixture": lambda t: er.Mixture([er.Normal(t, 1.0), er.Laplace(2.0, 1.0)], weights=[0.3, 0.7]),
        "MixtureSameFamily": lambda t: er.MixtureSameFamily(
            er.Categorical([0.3, 0.7]), er.Normal(er.math.stack([t - 1.0, t + 2.0], axis=-1), 1.0)
        ),
        "Normal": lambda t: er.Normal(t, 1.0),
        "SkewNormal": lambda t: er.SkewNormal(t, 1.0, 3.0),
        "StudentT": lambda t: er.StudentT(4.0, t, 1.0),
    },
    "on the half line": {
        "Censored": lambda t: er.Censored(er.Weibull(exp(t), 1.5), upper=2.0),
        "ChiSquare": lambda t: er.ChiSquare(3.0 * exp(t)),
        "Exponential": lambda t: er.Exponential(exp(t)),
        "Gamma": lambda t: er.Gamma(2.0, exp(t)),
        "GeneralizedPareto": lambda t: er.GeneralizedPareto(0.0, exp(t), 0.2),
        "HalfCauchy": lambda t: er.HalfCauchy(exp(t)),
        "HalfNormal": lambda t: er.HalfNormal(exp(t)),
        "HalfStudentT": lambda t: er.HalfStudentT(4.0, exp(t)),
        "InverseGamma": lambda t: er.InverseGamma(3.0, exp(t)),
        "LogNormal": lambda t: er.LogNormal(t, 1.0),
        "Pareto": lambda t: er.Pareto(1.0, 2.0 * exp(t)),
        "Rice": lambda t: er.Rice(exp(t), 1.0),
        "Wald": lambda t: er.Wald(exp(t), 2.0),
        "Weibull": lambda t: er.Weibull(exp(t), 1.5),
    },
    "on an interval": {
        "Beta": lambda t: er.Beta(2.0 * exp(t), 2.0),
        "ContinuousBernoulli": lambda t: er.ContinuousBernoulli(logits=t),
        "Interpolated": lambda t: er.Interpolated(
            np.array([-2.0, 0.0, 3.0]), er.math.stack([exp(t), 2.0 + 0.0 * t, 1.0 + 0.0 * t], axis=-1)
        ),
        "Kumaraswamy": lambda t: er.Kumaraswamy(2.0 * exp(t), 2.0),
        "Truncated": lambda t: er.Truncated(er.Normal(t, 1.0), low=-1.0, high=2.0),
        "TruncatedNormal": lambda t: er.TruncatedNormal(t, 1.0, low=-1.0),
        "Uniform": lambda t: er.Uniform(-3.0, 3.0 + 0.0 * t),
        "VonMises": lambda t: er.VonMises(t, 2.0),
    },
    "counts": {
        "BetaBinomial": lambda t: er.BetaBinomial(2.0 * exp(t), 2.0, 6),
        "Binomial": lambda t: er.Binomial(6, logits=t),
        "DiscreteUniform": lambda t: er.DiscreteUniform(0.0 * t, 9),
        "Geometric": lambda t: er.Geometric(logits=t),
        "HurdleNegativeBinomial": lambda t: er.HurdleNegativeBinomial(2.0 * exp(t), 3.0, 0.3),
        "HurdlePoisson": lambda t: er.HurdlePoisson(0.3, 2.0 * exp(t)),
        "NegativeBinomial": lambda t: er.NegativeBinomial(2.0 * exp(t), 3.0),
        "Poisson": lambda t: er.Poisson(2.0 * exp(t)),
        "Skellam": lambda t: er.Skellam(2.0 * exp(t), 1.5),
        "ZeroInflatedNegativeBinomial": lambda t: er.ZeroInflatedNegativeBinomial(2.0 * exp(t), 3.0, 0.3),
        "ZeroInflatedPoisson": lambda t: er.ZeroInflatedPoisson(0.3, 2.0 * exp(t)),
    },
    "codes": {
        "Bernoulli": lambda t: er.Bernoulli(logits=t),
        "Categorical": lambda t: er.Categorical(logits=er.math.stack([t, 0.0 * t, -t], axis=-1)),
        "IntervalCensored": lambda t: er.IntervalCensored(er.Normal(t, 1.0), edges=CUTS),
        "OrderedLogistic": lambda t: er.OrderedLogistic(t, CUTS),
        "OrderedProbit": lambda t: er.OrderedProbit(t, CUTS),
    },
    "vectors": {
        "Dirichlet": lambda t: er.Dirichlet(each(exp(t))),
        "CAR": lambda t: er.CAR(each(t), 0.5, 2.0, np.ones((3, 3)) - np.eye(3)),
        "DirichletMultinomial": lambda t: er.DirichletMultinomial(each(exp(t)), 6),
        "LowRankMultivariateNormal": lambda t: er.LowRankMultivariateNormal(
            each(t), np.ones((3, 1)), np.ones(3)
        ),
        "Multinomial": lambda t: er.Multinomial(6, logits=er.math.stack([0.0 * t, t, 2.0 * t], axis=-1)),
        "MultivariateNormal": lambda t: er.MultivariateNormal(each(t), np.eye(3)),
        "MultivariateStudentT": lambda t: er.MultivariateStudentT(4.0, each(t), np.eye(3)),
        "StickBreaking": lambda t: er.StickBreaking(2.0 * exp(t), 2),
        "ZeroSumNormal": lambda t: er.ZeroSumNormal(exp(t), 3),
    },
    "series": {
        "AR": lambda t: er.AR(er.math.stack([0.5 * er.math.tanh(t)]), 1.0, ROWS),
        "GaussianRandomWalk": lambda t: er.GaussianRandomWalk(exp(t), ROWS),
        "MarkovChain": lambda t: er.MarkovChain(np.array([0.5, 0.5]), 0.0 * t + er.math.asarray(MOVES), ROWS),
    },
    "matrices": {
        "InverseWishart": lambda t: er.InverseWishart(6.0, times_eye(exp(t))),
        "LKJ": lambda t: er.LKJ(3, 2.0 * exp(t)),
        "LKJCholesky": lambda t: er.LKJCholesky(3, 2.0 * exp(t)),
        "MatrixNormal": lambda t: er.MatrixNormal(times_eye(t), np.eye(2), np.eye(2)),
        "Wishart": lambda t: er.Wishart(5.0, times_eye(exp(t))),
    },
}
NOT_OUTCOMES = {  # laws without a sampler, or made of others that stand above
    "CustomDist", "Distribution", "Hurdle", "ICAR", "ImproperUniform", "Ordered", "ZeroInflated",
}  # fmt: skip
SERIES = set(LAWS["series"])
CHECKED = {"Dirichlet", "MultivariateNormal", "Multinomial"}  # of the vectors: checks go by element


def values_of(name):
    """Eight values that the law may take."""
    i = np.arange(ROWS)
    shares = np.stack([1.0 + i % 3, 2.0 + 0.0 * i, 2.0 + i % 2], 1) / np.stack([5.0 + i % 3 + i % 2] * 3, 1)
    counts, vectors = np.stack([i % 3, 3 - i % 3, 3 + 0 * i], 1), np.sin(np.stack([i, 2 * i, 3 * i], 1))
    matrix = np.array([[1.5, 0.3], [0.3, 0.8]]) * (1.0 + 0.1 * i[:, None, None])
    correlation = np.array([[1.0, 0.3, 0.1], [0.3, 1.0, -0.2], [0.1, -0.2, 1.0]])
    special = {
        "Pareto": 1.1 + 0.3 * i, "Beta": (0.5 + i) / ROWS, "MarkovChain": i // 4,
        "Bernoulli": i % 2, "Categorical": i % 3, "IntervalCensored": i % 3,
        "OrderedLogistic": i % 3, "OrderedProbit": i % 3,
        "Dirichlet": shares, "StickBreaking": shares, "CAR": vectors, "MultivariateStudentT": vectors,
        "Kumaraswamy": (0.5 + i) / ROWS, "ContinuousBernoulli": (0.5 + i) / ROWS, "MatrixNormal": matrix, "Skellam": i % 5 - 2,
        "Multinomial": counts, "DirichletMultinomial": counts,
        "MultivariateNormal": vectors, "LowRankMultivariateNormal": vectors,
        "ZeroSumNormal": vectors - vectors.mean(1, keepdims=True),
        "Wishart": matrix, "InverseWishart": matrix, "LKJ": np.stack([correlation] * ROWS),
        "LKJCholesky": np.linalg.cholesky(np.stack([correlation] * ROWS)),
    }  # fmt: skip
    group = next(group for group, laws in LAWS.items() if name in laws)
    common = {"on the half line": 0.3 + 0.2 * i, "counts": i % 5}.get(group, np.sin(1.0 + i))
    return special.get(name, common)


@pytest.fixture(autouse=True)
def quick_to_compile():
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def model_of(group, names=None):
    """Outcomes of every law of a group, or of some."""

    @er.model
    def outcomes(**data):
        t = er.sample("t", er.Normal(0.0, 0.3))
        for name, law in LAWS[group].items():
            if names is not None and name not in names:
                continue
            if name in SERIES:
                er.observe(name, law(t), data.get(name))
                continue
            with er.plate("row", ROWS):
                er.observe(name, law(t), data.get(name))

    return outcomes


def test_every_law_is_here():
    known = set().union(*LAWS.values())
    assert known | NOT_OUTCOMES == set(distributions.__all__) and not known & NOT_OUTCOMES


@pytest.mark.slow
@pytest.mark.parametrize("group", LAWS)
def test_outcomes(group, tmp_path):
    model, names = model_of(group), set(LAWS[group])
    data = {name: values_of(name) for name in names}
    posterior = er.fit(model(**data), guide="mean-field", num_draws=100, refine=False, progress=False)
    assert np.isfinite(posterior.table["mean"]).all()
    predicted = posterior.predict()["posterior_predictive"]
    likelihood = posterior.draws["log_likelihood"]
    for name in names:
        assert predicted[name].shape == (1, 100, *np.shape(data[name])), name
        assert np.isfinite(likelihood[name]).all() and np.isfinite(predicted[name].astype(float)).all(), name
        assert likelihood[name].shape == ((1, 100) if name in SERIES else (1, 100, ROWS)), name
    if group not in ("vectors", "matrices"):
        assert {f.quantity for f in posterior.check()} >= names - SERIES
    posterior.save(tmp_path / "saved")
    loaded = er.load(tmp_path / "saved", program=model(**data))
    assert loaded.summary().equals(posterior.summary())
    assert not [f for f in loaded.findings if f.name == "foreign program"]


@pytest.mark.slow
def test_checks_of_vectors():
    model = model_of("vectors", CHECKED)
    data = {name: values_of(name) for name in CHECKED}
    posterior = er.fit(model(**data), guide="laplace", num_draws=100, refine=False, progress=False)
    assert {f.quantity for f in posterior.check()} >= CHECKED


@pytest.mark.parametrize("group", LAWS)
def test_traits_are_the_same_on_both_backends(group):
    model = model_of(group)
    one, two = model().trace("jax"), model().trace("torch")
    for name in LAWS[group]:
        a, b = one[name], two[name]
        traits = (a.event_dim, a.joint, a.measure, a.censored, a.is_discrete)
        assert traits == (b.event_dim, b.joint, b.measure, b.censored, b.is_discrete), name


@pytest.mark.slow
def test_elements_of_every_law_of_one_number_can_be_new():
    """Latent vectors whose elements are independent grow; those that one law draws together do not."""
    single = {
        name: law
        for group in ("on the line", "on the half line", "on an interval")
        for name, law in LAWS[group].items()
        if name not in {"Censored", "Mixture", "MixtureSameFamily"}
    }

    @er.model
    def latents(size, y):
        together = er.sample("together", er.GaussianRandomWalk(1.0, size))
        total = together.sum()
        for name, law in single.items():
            total = total + 0.01 * er.sample(name, law(0.0).expand([size]).to_event(1)).sum()
        er.observe("y", er.Normal(total, 1.0), y)

    trace = latents(3, 0.5).trace()
    assert {name for name in single if trace[name].joint} == set() and trace["together"].joint == 1
    posterior = er.fit(latents(3, 0.5), guide="mean-field", num_draws=50, refine=False, progress=False)
    with pytest.raises(er.InferenceError, match="'together'.*GaussianRandomWalk"):
        posterior.predict(size=4, new_groups=True)
    names = {f"{name}_dim_0" for name in single}
    assert names <= {dim for site in trace.sites for dim in site.dims}


@pytest.mark.parametrize("name", sorted(name for laws in LAWS.values() for name in laws))
def test_none_is_no_parameter(name):
    """It became the default, a scale of one among them, without a word."""
    from dataclasses import MISSING, fields, replace

    law = next(laws[name] for laws in LAWS.values() if name in laws)(0.1)
    for known in fields(law):
        if not known.init or known.default is None or known.default_factory is not MISSING:
            continue
        with pytest.raises(er.ElboroomError, match=f"{known.name}|None|base"):
            replace(law, **{known.name: None}).validate("x")
