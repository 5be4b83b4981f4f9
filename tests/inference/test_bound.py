"""One definition of the bound: on a Gaussian posterior it is the log evidence, whatever computed it."""

import numpy as np
import pytest
from elboroom.guides import Affine, choose
from elboroom.inference.engines.designs import antithetic
from elboroom.inference.engines.fixed_draws import MeanFieldDraws, Mode
from elboroom.inference.engines.loop import fit as run_fit
from elboroom.inference.engines.natural import NaturalGradient
from elboroom.inference.engines.polish import Polish
from elboroom.inference.engines.starts import loose_fits
from elboroom.inference.ladder import Run, State, climb
from elboroom.inference.ladder.fitting import GuideFit
from elboroom.inference.ladder.starts import DispersedStarts
from elboroom.inference.run.watch import Watch
from scipy.stats import multivariate_normal

import elboroom as er

RNG = np.random.default_rng(2)
DIM = 12
Y = RNG.normal(size=(3, DIM))


@er.model
def means(y):
    """Conjugate, the elements independent of each other."""
    z = er.sample("z", er.Normal(1.0, 2.0).expand([DIM]).to_event(1))
    with er.plate("n", len(y)):
        er.observe("y", er.Normal(z, 0.5).to_event(1), y)


def evidence():
    covariance = 0.25 * np.eye(3) + 4.0
    return sum(multivariate_normal.logpdf(Y[:, k], np.ones(3), covariance) for k in range(DIM))


@pytest.mark.parametrize("guide", ["full-rank", "structured", "low-rank", "mean-field", "flow"])
def test_every_fit_ends_at_the_evidence(guide):
    target = means(Y).target()
    run = Run(Watch(None, False))
    state = climb((DispersedStarts(),), State(target, choose(guide, target)), run)
    assert abs(state.rungs[-1].elbo - evidence()) < 4 * state.rungs[-1].elbo_se + 0.5  # loose
    state = climb((GuideFit(),), state, run)
    noise = 0.5 if guide == "flow" else 0.01  # a flow's steps tell the mean of their own draws
    if guide != "mean-field":
        assert abs(state.elbo_trace[-1] - evidence()) < noise
    plotted = er.fit(means(Y), guide, refine=False, progress=False).draws["fit"]
    assert plotted.elbo.dims == ("step",)
    assert abs(float(plotted.elbo[-1]) - evidence()) < noise


def test_polish_and_starts():
    target, mean, sd = means(Y).target(), np.zeros(DIM), np.full(DIM, 0.1)
    density = target.value_and_grad
    starts = loose_fits(density, np.zeros((1, DIM)), RNG, tolerance=1e-4)
    assert abs(starts.elbo[0] - evidence()) < 4 * starts.elbo_se[0]
    found = run_fit(NaturalGradient(density, RNG), Affine(mean, np.diag(sd)))
    better = run_fit(Polish(density, RNG), found.transport)
    assert abs(found.elbo - evidence()) < 0.01 and abs(better.elbo - evidence()) < 0.01
    assert found.elbo == found.trace[-1] and better.elbo == better.trace[-1]


def test_the_norm_of_the_gradient_is_of_the_bound_in_sds():
    """Of a standard normal law, where the mean is m and the sds are s: −s m, and of the logs of the sds 1 − s²."""

    def density(z):
        return -0.5 * (z**2).sum(1), -z

    m, s = np.array([2.0, -1.0]), np.array([0.5, 0.5])
    start, of_mean, of_sds = Affine(m, s), np.sum((s * m) ** 2), np.sum((1 - s**2) ** 2)
    natural = NaturalGradient(density, np.random.default_rng(0))
    mean_field = MeanFieldDraws(density, start, antithetic(np.random.default_rng(0), 40, 2, unit=True))
    mode = Mode(density, None, start)
    dense = Affine(m, np.diag(s))
    assert natural.fit(natural.init(dense), "").gradient_norm is None
    found = natural.fit(natural.step(natural.init(dense)), "").gradient_norm
    assert found == pytest.approx(np.sqrt(of_mean))
    assert mode.lines.fit(mode.init(start), "").slope == pytest.approx(np.sqrt(of_mean))
    found = mean_field.fit(mean_field.init(start), "").gradient_norm
    assert found == pytest.approx(np.sqrt(of_mean + of_sds))
    assert run_fit(mean_field, start).gradient_norm < 0.05


def test_a_fit_that_begins_anew_is_another_line():
    group = np.arange(60) % 12
    y = RNG.normal(size=12)[group] + 0.1 * RNG.normal(size=60)

    @er.model
    def groups(group, y):
        tau = er.sample("tau", er.HalfNormal(2))
        with er.plate("g", 12):
            e = er.sample("e", er.Normal(0, tau))
        with er.plate("n", 60):
            er.observe("y", er.Normal(e[group], 1.0), y)

    program = groups(group, y)
    fit = er.fit(program, "full-rank", refine=False, progress=False).draws["fit"]
    assert fit.restart.dims == ("step",) and (np.diff(fit.restart) >= 0).all()
    target = program.target()
    state = State(target, choose("full-rank", target)).followed([1.0, 2.0]).followed([1.5])
    assert state.restarts == (0, 0, 1) and state.elbo_trace == (1.0, 2.0, 1.5)
