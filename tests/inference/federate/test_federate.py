"""Posteriors of rows that stay at their sites: those of all rows together, and what is said of sites that fail."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from elboroom.inference.federate.hushed import Declared
from elboroom.inference.federate.messages import Evidence, Lost, Met, Reply, Task, read, to_bytes
from elboroom.inference.federate.server import Asked, begun

import elboroom as er


@er.model
def line(x, y):
    b = er.sample("b", er.Normal(np.zeros(2), 2.0))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(x @ b, 0.7), y)


@er.model
def logistic(x, y):
    b = er.sample("b", er.Normal(np.zeros(2), 2.0))
    with er.plate("row", len(y)):
        er.observe("y", er.Bernoulli(logits=x @ b), y)


RNG = np.random.default_rng(0)
X = np.c_[np.ones(60), RNG.standard_normal(60)]
Y = X @ [1.0, -2.0] + 0.7 * RNG.standard_normal(60)
NAMES = "bergen", "oslo", "paris", "rome", "turin"
PARTS = dict(zip(NAMES, np.split(np.arange(60), [12, 24, 36, 48]), strict=True))
QUICK = {"guide": "full-rank", "num_draws": 500, "refine": False}


def programs(names=NAMES, model=line, y=Y):
    return {name: model(X[PARTS[name]], y[PARTS[name]]) for name in names}


def precisely(told):
    """Mean and covariance by what sites have told and the prior N(0, 2²)."""
    precision = told.quadratic / np.outer(told.scale, told.scale)
    mean = np.linalg.solve(precision + np.eye(2) / 4, told.linear / told.scale + precision @ told.centre)
    return mean, np.linalg.inv(precision + np.eye(2) / 4)


def exactly(names):
    """The same by the normal equations on the rows of some sites."""
    rows = np.concatenate([PARTS[name] for name in names])
    covariance = np.linalg.inv(X[rows].T @ X[rows] / 0.49 + np.eye(2) / 4)
    return covariance @ X[rows].T @ Y[rows] / 0.49, covariance


def same(tally, names):
    for found, want in zip(precisely(tally.total), exactly(names), strict=True):
        np.testing.assert_allclose(found, want, rtol=0, atol=1e-8)


@dataclass
class Told:
    """Sites that know the normal equations, whose replies `does` may change: a function of the site, the task and the reply."""

    names: tuple[str, ...] = NAMES
    does: Any = lambda _name, _task, reply: reply
    asked: list = field(default_factory=list)

    def ask(self, tasks, least, seconds):
        for name in self.names:
            if {name, ""} & set(tasks):
                task = read(tasks.get(name) or tasks[""], Task)
                self.asked.append((name, task.number))
                reply = self.does(name, task, reply_of(name, task.number))
                if reply is not None:
                    yield name, reply if isinstance(reply, (bytes, Lost)) else to_bytes(reply)


DECLARED = Declared.of(line(X[:1], Y[:1]), "jax")


def reply_of(name, number, own=None):
    """What a site would say, in units of its own."""
    rows = PARTS[name] if own is None else own
    if not number:
        return Met(name, len(rows))
    quadratic = X[rows].T @ X[rows] / 0.49
    scale = np.array([0.1, 0.3])
    centre = np.linalg.solve(quadratic, X[rows].T @ Y[rows] / 0.49) + 0.1
    factor = {
        "centre": centre,
        "scale": scale,
        "linear": scale * (X[rows].T @ Y[rows] / 0.49 - quadratic @ centre),
        "quadratic": scale[:, None] * quadratic * scale,
        "natural": np.zeros(0),
    }
    evidence = Evidence(True, 0.0, 0.0, 0.0, "trusted", False)
    return Reply(name, number, len(rows), list(DECLARED.sites), DECLARED.probe, factor, evidence)


PROGRAM = line(np.zeros((1, 2)), np.zeros(1))


def swept(schedule="together", **settings):
    """What has been said after as many sweeps as a federation would take."""
    server, tally = begun(Asked(PROGRAM, "jax", schedule, 2, None, {}), Told(**settings))
    while not (tally.held and tally.whole):
        tally = server.sweep(tally, None)
    return tally


def only(name, does):
    """Another reply of one site, to a task that is no introduction."""
    return lambda site, task, reply: does(task, reply) if site == name and task.number else reply


def factor(**parts):
    """A reply with parts of its factor replaced, each by a function of what it was."""

    def does(_task, reply):
        return replace(reply, factor={k: parts.get(k, lambda v: v)(v) for k, v in reply.factor.items()})

    return does


def test_sites_are_all_rows_to_rounding():
    names = NAMES[:3]
    posterior = er.federate(programs(names), **QUICK)
    tally = posterior.program.carried.tally
    same(tally, names)
    assert posterior.verdict == "trusted"
    assert tally.sweep == 1
    assert [f.verdict for f in posterior.findings if f.name == "partition"] == ["ok"]
    mean, covariance = exactly(names)
    frame, error = posterior.summary(), 4 * np.sqrt(np.diag(covariance) / 500)
    assert (np.abs(frame["mean"] - mean) < error).all()


def test_order_of_sites_and_schedules_are_nothing():
    five = swept()
    same(five, NAMES)
    for names, schedule in ((NAMES[::-1], "together"), (NAMES, "in turn"), (NAMES, "as they come")):
        found = swept(schedule, names=names)
        np.testing.assert_allclose(precisely(found.total)[0], precisely(five.total)[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "does, words",
    [
        (lambda _task, _reply: Lost("DataError at the site"), "DataError at the site"),
        (lambda _task, _reply: None, "no reply within"),
        (lambda _task, _reply: b"garbage", "bytes that are none"),
        (factor(linear=lambda v: v * np.nan), "'linear' is not finite"),
        (factor(linear=lambda v: v[:1]), "'linear' has shape"),
        (factor(quadratic=lambda v: -v), "negative in some direction"),
        (factor(quadratic=lambda v: v + [[0, 1], [0, 0]]), "not symmetric"),
        (factor(scale=lambda v: -v), "units that are none"),
        (factor(linear=lambda v: v + 1e9), "sds of a row away"),
        (factor(quadratic=lambda v: v * 1e6), "times as much with each row"),
        (lambda _task, reply: replace(reply, number=reply.number - 1), "an old one again"),
        (lambda _task, reply: replace(reply, site="oslo"), "in the name of 'oslo'"),
        (lambda _task, reply: replace(reply, rows=1000), "1000 rows, after it had said 12"),
        (lambda _task, reply: replace(reply, probe=reply.probe + 1), "another prior"),
        (lambda _task, reply: replace(reply, sites=[["c", "real", [2]]]), "other names"),
        (lambda _task, reply: replace(reply, evidence=replace(reply.evidence, left=-1.0)), "evidence"),
    ],
)
def test_a_site_that_cannot_be_believed_is_left_out_by_name(does, words):
    tally = swept(does=only("paris", does))
    same(tally, [name for name in NAMES if name != "paris"])
    assert list(tally.out) == ["paris"]
    assert words in tally.out["paris"]


def test_a_reply_that_comes_again_is_not_counted_again():
    def replayed(task, reply):
        return replace(reply, number=1) if task.number > len(NAMES) else reply

    server, tally = begun(Asked(PROGRAM, "jax", "together", 2, None, {}), Told(does=only("rome", replayed)))
    first = server.sweep(tally, None)
    again = server.sweep(first, None)
    assert "an old one again" in dict(again.notes)["rome"]
    same(again, NAMES)
    last = server.sweep(again, None)
    same(last, [name for name in NAMES if name != "rome"])


def test_a_late_site_is_waited_for_and_one_that_comes_back_is_taken():
    def late(task, reply):
        return reply if task.number > 2 * len(NAMES) else Lost("timeout")

    tally = swept(
        does=only("oslo", lambda task, reply: Lost("timeout") if task.number <= len(NAMES) else reply)
    )
    same(tally, NAMES)
    assert tally.notes == (("oslo", "timeout"),)
    assert not tally.out
    assert list(swept(does=only("oslo", late)).out) == ["oslo"]


def test_findings_name_the_sites_that_are_not_in_it():
    lost = only("paris", lambda _task, _reply: Lost("DataError at the site"))
    posterior = er.federate(Told(does=lost), PROGRAM, **QUICK)
    same(posterior.program.carried.tally, [name for name in NAMES if name != "paris"])
    (finding,) = [f for f in posterior.findings if f.name == "site"]
    assert (finding.quantity, finding.verdict, finding.value) == ("paris", "caution", 12)
    assert finding.advice == "DataError at the site. The posterior is without its 12 rows."


def test_too_few_sites_are_an_error_that_names_them():
    lost = lambda _name, task, reply: Lost("MemoryError at the site") if task.number else reply  # noqa: E731
    with pytest.raises(er.InferenceError, match=r"0 of 5 \('bergen': MemoryError at the site"):
        swept(does=lost)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"schedule": "both"}, "schedule: expected one of"),
        ({"least": 0}, "least: expected a number of 1 or more, got 0"),
        ({"least": True}, "least: expected a number"),
        ({"seconds": -1.0}, "seconds: expected a positive number, got -1.0"),
        ({"seconds": float("nan")}, "seconds: expected a positive number, got nan"),
        ({"seconds": "ten"}, "seconds: expected a positive number, got 'ten'"),
        ({"dtype": np.float32}, "options among"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_a_site_is_asked(wrong, words):
    with pytest.raises(er.InferenceError, match=re.escape(words)):
        er.federate({"oslo": PROGRAM, "rome": PROGRAM}, **wrong)
