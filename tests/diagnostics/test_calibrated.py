"""Predicted classes against what came, of rows that were not fitted; temperatures; the reliability diagram."""

from __future__ import annotations

import numpy as np
import pytest
from elboroom.diagnostics.calibrated import Calibration, Temperature
from elboroom.diagnostics.reliability import errors, reliability
from elboroom.diagnostics.report.calibration import calibration_section

import elboroom as er


def confident(count, seed):
    """Probabilities of the likelier of two classes, evenly from a half to one."""
    return np.random.default_rng(seed).uniform(0.5, 1.0, count)


def both(p):
    return np.stack([1 - p, p], 1)


@pytest.mark.parametrize("count, usual", [(200, 0.062), (1000, 0.029)])
def test_right_probabilities_have_an_error_that_is_not_zero(count, usual):
    p = confident(count, 1)
    came = (np.random.default_rng(2).uniform(size=(400, count)) < p) * 1.0
    own = errors(p, came)
    assert own.mean() == pytest.approx(usual, abs=0.004)
    found = reliability(both(p), came[0].astype(int))
    assert found.usual == pytest.approx(own.mean(), abs=4 * own.std() / 20)
    assert (own > found.null).mean() == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 400))


def test_the_error_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.88, 0.12], [0.3, 0.7], [0.05, 0.95]])
    observed = np.array([0, 1, 1, 1])
    # bins of width 1/15: {0.9, 0.88} in the 14th, 0.7 in the 11th, 0.95 in the 15th
    gaps = 2 * abs(0.5 - 0.89) + abs(1 - 0.7) + abs(1 - 0.95)
    found = reliability(probabilities, observed)
    assert found.ece == pytest.approx(gaps / 4)
    assert found.table()["rows"].tolist() == [1, 2, 1]


def test_its_standard_error_is_that_of_other_rows():
    rng = np.random.default_rng(3)
    own, said = [], []
    for _ in range(80):
        p = rng.uniform(0.6, 1.0, 500)
        found = reliability(both(p), (rng.uniform(size=500) < p - 0.15) * 1)
        own.append(found.ece)
        said.append(found.se)
    assert np.mean(said) == pytest.approx(np.std(own), rel=4 / np.sqrt(2 * 80))


def test_the_point_of_a_right_model_is_that_of_right_models():
    """Sets of rows whose model is right pass it one time in twenty, also where few fitted rows leave an error that all rows share."""
    rng, passed, naive = np.random.default_rng(4), [], []
    for _ in range(60):
        x = 2 + rng.normal(size=400)
        p = 1 / (1 + np.exp(-(x + rng.normal(size=(200, 1)))))
        came = (rng.uniform(size=400) < 1 / (1 + np.exp(-(x + rng.normal())))) * 1
        mean = p.mean(0)
        draws = np.where(mean > 0.5, p, 1 - p)
        passed.append(reliability(both(mean), came, "mass", draws).excess > 0)
        naive.append(reliability(both(mean), came, "mass").excess > 0)
    assert abs(np.mean(passed) - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 60) and np.mean(naive) > 0.4


@er.model
def softmax(x, y):
    """Three classes."""
    w = er.sample("w", er.Normal(0, 3).expand([3, 3]).to_event(2))
    with er.plate("row", len(x)):
        er.observe("y", er.Categorical(logits=x @ w), y)


def rows(count, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 3))
    logits = x @ np.array([[1.0, -0.5, 0.3], [-1.0, 0.8, 0.2], [0.2, 0.1, -0.6]])
    y = (logits + rng.gumbel(size=(count, 3))).argmax(1)
    return {"x": x, "y": y}


@pytest.fixture(scope="module")
def posterior():
    return er.fit(softmax(**rows(60, 0)), guide="laplace", refine=False, progress=False)


def test_probabilities_are_means_of_the_law_s_own(posterior):
    new = rows(40, 1)
    found = er.calibration(posterior, new)
    w = posterior.draws["posterior"]["w"].to_numpy()[0]
    logits = np.einsum("ni,sik->snk", new["x"], w)
    each = np.exp(logits - logits.max(-1, keepdims=True))
    each /= each.sum(-1, keepdims=True)
    np.testing.assert_allclose(found.probabilities, each.mean(0), atol=4 * each.std(0).max() / np.sqrt(1000))
    np.testing.assert_allclose(found.probabilities.sum(1), 1.0, atol=1e-12)
    np.testing.assert_allclose(
        found.draws.mean(0), found.probabilities.max(1), atol=4 * each.std(0).max() / np.sqrt(200)
    )


def test_a_temperature_is_the_one_that_spoilt_them(posterior):
    held, test = rows(3000, 2), rows(3000, 3)
    program = softmax(**rows(60, 0))
    point = er.fit(program, guide="delta", refine=False, progress=False)  # a point is too sure of few rows
    before = er.calibration(point, held)
    temperature = before.temperature()
    assert temperature.value > 1.05 + 2 * temperature.se
    after = er.calibration(point, test, temperature=temperature)
    assert after.ece < 0.05 and after.log_score > er.calibration(point, test).log_score
    assert after.accuracy == er.calibration(point, test).accuracy
    # probabilities spoilt by a known power are mended by its inverse
    p = both(confident(4000, 5))
    came = (np.random.default_rng(6).uniform(size=4000) < p[:, 1]) * 1
    spoilt = Calibration("y", Temperature(0.5, 0.0, frozenset())(p), came, None, ())
    found = spoilt.temperature()
    assert abs(found.value - 2.0) < 4 * found.se and 0.02 < found.se < 0.2


def test_rows_that_were_seen_are_told(posterior):
    fitted = er.calibration(posterior)
    assert [f.name for f in fitted.findings][:1] == ["fitted rows"]
    with pytest.raises(
        er.DataError, match="rows of a temperature: expected rows that were not fitted, got 100%"
    ):
        fitted.temperature()
    old = rows(60, 0)
    mixed = {k: np.concatenate([v, old[k][::-1]]) for k, v in rows(60, 4).items()}
    assert er.calibration(posterior, mixed).findings[0].value == pytest.approx(0.5)
    held = rows(100, 5)
    temperature = er.calibration(posterior, held).temperature()
    with pytest.raises(
        er.DataError, match="rows that the temperature was not fitted to, got 100% that it was"
    ):
        er.calibration(posterior, {k: v[::-1] for k, v in held.items()}, temperature=temperature)
    with pytest.raises(er.DataError, match="expected rows with their outcome, argument 'y', got"):
        er.calibration(posterior, {"x": held["x"]})
    with pytest.raises(er.DataError, match="outcome of a calibration: expected one of"):
        er.calibration(posterior, held, name="z")


def test_a_class_that_is_missing_is_none(posterior):
    new = rows(30, 4)
    with pytest.raises(
        er.DataError, match="outcome 'y': expected a class for each row, got 1 that are missing"
    ):
        er.calibration(posterior, {"x": new["x"], "y": np.where(np.arange(30) == 7, np.nan, new["y"])})


def test_a_model_that_is_too_sure_is_a_misfit_and_keeps_its_verdict(posterior):
    rng = np.random.default_rng(8)
    new = rows(400, 7)
    noise = {"x": 8 * new["x"], "y": rng.integers(0, 3, 400)}
    found = er.calibration(posterior, noise)
    assert [f.verdict for f in found.findings] == ["misfit"] and "too sure" in found.findings[0].advice
    shown = calibration_section(posterior)
    assert "Reliability diagram of y" in shown and "too sure" in shown and f"{found.ece:.3f}" in shown


@pytest.mark.slow
def test_the_other_backend_says_the_same(posterior):
    new = rows(50, 9)
    other = er.fit(softmax(**rows(60, 0)), guide="laplace", backend="torch", refine=False, progress=False)
    one, same = er.calibration(posterior, new), er.calibration(other, new)
    np.testing.assert_allclose(one.log_score, same.log_score, atol=1e-4)


@pytest.mark.slow
def test_written_digits_are_calibrated_after_a_temperature():
    """A point of weights knows few digits by heart, and is too sure of others."""
    from sklearn.datasets import load_digits

    pixels, digit = load_digits(return_X_y=True)
    order = np.random.default_rng(4).permutation(len(pixels))
    x = pixels[order].reshape(-1, 4, 2, 4, 2).mean((2, 4)).reshape(-1, 16) / 16
    y = digit[order]

    @er.model
    def network(x, y):
        decide = er.module("decide", er.nn.MLP(16, [], 10), prior=er.Normal(0, 30))
        with er.plate("row", len(x)):
            er.observe("y", er.Categorical(logits=decide(x)), y)

    point = er.fit(network(x[:150], y[:150]), guide="delta", refine=False, progress=False, num_draws=100)
    temperature = er.calibration(point, {"x": x[150:500], "y": y[150:500]}).temperature()
    test = {"x": x[500:], "y": y[500:]}
    before, after = er.calibration(point, test), er.calibration(point, test, temperature=temperature)
    assert before.accuracy > 0.75 and before.ece - 2 * before.se > 0.07
    assert after.ece + 2 * after.se < 0.05 and after.excess < 0 and after.log_score > before.log_score
