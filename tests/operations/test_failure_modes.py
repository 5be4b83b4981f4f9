"""How models in use fail: each provoked, and told by a finding with advice, by a metric, and by an alert that reads it."""

from __future__ import annotations

from functools import cache
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
from elboroom.inference.deep import kept
from elboroom.operations.failures import FAILURES, documented
from elboroom.operations.metrics.of_drift import of_drift
from elboroom.operations.metrics.of_rows import of_codes, of_made_up
from elboroom.operations.metrics.watched import Watched
from elboroom.operations.rules import RULES, runbook_texts
from elboroom.operations.thresholds import (
    ALERT_COLLAPSED,
    ALERT_ECE,
    ALERT_FALL,
    ALERT_MADE_UP,
    ALERT_UNTRUSTED,
    SLO_SECONDS,
)
from prometheus_client.parser import text_string_to_metric_families

import elboroom as er

ROOT = Path(__file__).resolve().parent.parent.parent


def quick(program, **options):
    return er.fit(program, **{"refine": False, "progress": False, **options})


def encoded(program, **options):
    return er.fit(program, **{"guide": er.Amortized(), "validation": 0.3, "progress": False, **options})


def untrusted(posterior) -> bool:
    """Whether the share of untrusted quantities passes the limit of its alert."""
    found = {s.labels["verdict"]: s.value for s in er.metrics(posterior).samples if s.name == "quantities"}
    return found["untrusted"] / sum(found.values()) > ALERT_UNTRUSTED


def measured(posterior, group, data=None) -> dict[str, float]:
    """What one group of metrics says."""
    return {name: float(value) for name, value, *_ in group(Watched.of(posterior, data, None, None))}


def words(findings, name: str) -> str:
    """The advice of the findings of a name, the worst of them."""
    found = max((f for f in findings if f.name == name), key=lambda f: f.verdict != "ok")
    return f"{found.quantity}: {found.advice}"


@er.model
def level(y):
    mu = er.sample("mu", er.Normal(0, 10))
    s = er.sample("s", er.HalfNormal(5))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(mu, s), y)


@er.model
def regression(x, y):
    w = er.sample("w", er.Normal(0, 10).expand([x.shape[1]]).to_event(1))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(x @ w, 1.0), y)


@er.model
def logistic(x, y):
    w = er.sample("w", er.Normal(0, 10).expand([8]).to_event(1))
    with er.plate("row", len(x)):
        er.observe("y", er.Bernoulli(logits=x @ w), y)


def classified(count, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 8))
    return {"x": x, "y": (rng.uniform(size=count) < 1 / (1 + np.exp(-x[:, 0]))) * 1}


# -- of variational inference ----------------------------------------------------------------------------


def collapse_to_a_point():
    posterior = quick(level(np.full(50, 3.0)), guide="mean-field")
    return words(posterior.findings, "constant outcome"), untrusted(posterior)


def a_bound_that_is_no_number():
    posterior = quick(level(np.random.default_rng(0).normal(size=40)))
    found = er.metrics(posterior, {"y": np.array([0.1, 1e200, 0.3])})
    lost = sum(s.value for s in found.samples if s.name == "not_finite_total")
    return words(found.findings, "not finite"), lost > 0 and "nll" not in found


def dropped_modes():
    @er.model
    def square(y):
        mu = er.sample("mu", er.Normal(0, 10))
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(mu**2, 1), y)

    posterior = quick(square(4 + np.random.default_rng(0).normal(size=30)), guide="mean-field")
    return words(posterior.findings, "symmetry"), untrusted(posterior)


def overconfidence():
    posterior = quick(logistic(**classified(30, 1)), guide="delta")
    new = classified(1000, 2)
    return words(er.calibration(posterior, new).findings, "calibration of predictions"), (
        posterior.verdict == "untrusted" and er.metrics(posterior, new)["ece_excess"] > ALERT_ECE
    )


def memory(room_for):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(600, 3))
    room_for(200, MemoryError())
    posterior = quick(regression(x, x.sum(1) + rng.normal(size=600)))
    return words(posterior.findings, "out of memory"), er.metrics(posterior)["resident_bytes"] > 2**26


def slow_convergence():
    posterior = quick(logistic(**classified(2000, 3)), max_seconds=0.01)
    assert any("0 iterations" in rung.reason for rung in posterior.trail)
    return posterior.doubts, untrusted(posterior)


def weights_that_underflow():
    @er.model
    def schools(sigma, y):
        mu, tau = er.sample("mu", er.Normal(0, 5)), er.sample("tau", er.HalfCauchy(5))
        with er.plate("school", 8):
            theta = er.sample("theta", er.Normal(mu, tau))
            er.observe("y", er.Normal(theta, sigma), y)

    sigma, y = np.array([15, 10, 16, 11, 9, 11, 10, 18.0]), np.array([28, 8, -3, 7, -1, 1, 18, 12.0])
    posterior = quick(schools(sigma, y), guide="structured")
    return posterior.doubts, er.metrics(posterior)["khat"] > 0.7 and untrusted(posterior)


def drift_that_nobody_sees():
    rng = np.random.default_rng(4)
    monitor = er.Monitor(quick(level(rng.normal(size=100))), reference={"y": rng.normal(size=2000)})
    monitor.see({"y": np.append(rng.normal(0.6, 1, 500), np.inf)})
    found = monitor.findings()
    text = monitor.exposition("7").text()
    shown = 'elboroom_drifted{kind="data",model="level",version="7"} 1.0' in text and 'what="rows"' in text
    return words(found, "data: shape"), shown and 'data="live",model="level",version="7"} 501.0' in text


# -- of encoded rows -------------------------------------------------------------------------------------


def posterior_collapse():
    @er.model
    def loose(x):
        weight = er.param("weight", 0.3 * np.random.default_rng(1).normal(size=(2, 6)))
        with er.plate("row", len(x)):
            z = er.sample("z", er.Normal(0, 1).expand([2]).to_event(1))
            er.observe("x", er.Normal(z @ weight, 1.5).to_event(1), x)

    posterior = encoded(loose(np.random.default_rng(0).normal(size=(300, 6))))
    return words(posterior.findings, "collapse"), measured(posterior, of_codes)[
        "active_units"
    ] < ALERT_COLLAPSED


LOADING = np.array([1.5, -1.0, 0.5, 2.0])


def on_a_line(count, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 1)) * LOADING + 0.3 * rng.normal(size=(count, 4))


@er.model
def factor(x, noise=0.3):
    weight = er.param("weight", LOADING)
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1))
        er.observe("x", er.Normal(z[:, None] * weight, noise).to_event(1), x)


@cache
def line(noise=0.3):
    return encoded(factor(on_a_line(300, 5), noise))


def averaged_modes():
    posterior = line(noise=1.5)  # so that what it makes up is a blur
    blurred, right = (measured(one, of_made_up)["frechet_ratio"] for one in (posterior, line()))
    return words(posterior.latent.quality().findings, "made-up rows"), blurred > ALERT_MADE_UP > right


def overfit():
    @er.model
    def bent(x):
        decode = er.module("decode", er.nn.MLP(4, [64, 64], 20))
        with er.plate("row", len(x)):
            z = er.sample("z", er.Normal(0, 1).expand([4]).to_event(1))
            er.observe("x", er.Normal(decode(z), 0.2).to_event(1), x)

    rng = np.random.default_rng(0)
    posterior = encoded(bent(rng.normal(size=(60, 20))))
    fitted, new = (
        er.metrics(posterior)["elbo"],
        er.metrics(posterior, {"x": rng.normal(size=(60, 20))})["elbo"],
    )
    return words(posterior.findings, "learned by heart"), new < fitted - ALERT_FALL * abs(fitted)


def latent_drift():
    posterior = line()
    moved = on_a_line(400, 7) + LOADING
    found = er.drift(posterior, {"x": moved})
    told = {s.labels["kind"]: s.value for s in of_drift(found) if s.name == "drifted"}
    return words(found, "latent: shape"), told["latent"] == 1.0


def memory_of_rows(monkeypatch):
    monkeypatch.setattr(kept, "LARGEST_BLOCK", 2**14)
    monkeypatch.setattr(kept, "AUDITED", 40)
    posterior = encoded(factor(on_a_line(300, 5)))
    return words(posterior.findings, "rows that are kept"), len(posterior.latent.positions) < 300


def slow_inference():
    shown = er.metrics(quick(level(np.random.default_rng(0).normal(size=40)), guide="laplace")).exposition()
    for seconds in np.linspace(0.05, 2.0, 200):
        shown.observe("request_seconds", seconds, route="encode")
    samples = [s for family in text_string_to_metric_families(shown.text()) for s in family.samples]
    counts = {s.labels["le"]: s.value for s in samples if s.name.endswith("request_seconds_bucket")}
    within = max(value for end, value in counts.items() if float(end) <= SLO_SECONDS)
    return runbook_texts()["latency.md"], within < 0.99 * counts["+Inf"]


PROVOKED = {
    "VI 1": (collapse_to_a_point, "grows without bound"),
    "VI 2": (a_bound_that_is_no_number, "no finite number"),
    "VI 3": (dropped_modes, "sign"),
    "VI 4": (overconfidence, "too sure"),
    "VI 5": (memory, "minibatch="),
    "VI 6": (slow_convergence, "k̂"),
    "VI 7": (weights_that_underflow, "k̂"),
    "VI 8": (drift_that_nobody_sees, "y: mean"),
    "VAE 1": (posterior_collapse, "other starts"),
    "VAE 2": (averaged_modes, "other rows than there are"),
    "VAE 3": (overfit, "by heart"),
    "VAE 4": (latent_drift, "fit again"),
    "VAE 5": (memory_of_rows, "latent.encode"),
    "VAE 6": (slow_inference, "replicas"),
}


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.id)
def test_it_is_told(failure, request):
    provoke, phrase = PROVOKED[failure.id]
    advice, shown = provoke(*map(request.getfixturevalue, signature(provoke).parameters))
    print(failure.id, advice)
    assert phrase in advice and len(advice) > 20
    assert shown
    rule = next(rule for rule in RULES if rule.name == failure.alert)
    assert rule.runbook in runbook_texts()


def test_alerts_read_the_metric_and_the_page_is_the_table():
    indirect = {
        "resident_bytes",
        "khat",
        "encode_seconds",
    }  # a process that is gone, a verdict, an answer that takes long
    rules = {rule.name: rule for rule in RULES}
    for failure in FAILURES:
        assert failure.metric in rules[failure.alert].metrics or failure.metric in indirect, failure
    assert documented() in (ROOT / "docs" / "failures.md").read_text()
    assert [f.id for f in FAILURES] == list(PROVOKED)
