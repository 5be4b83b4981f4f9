"""A candidate beside what is live, behind one address: dealt by key, judged by what comes back, settled while it is asked."""

from __future__ import annotations

import asyncio
import json
import threading
import time

import numpy as np
import pytest
from elboroom.operations import registry as registries
from elboroom.operations.ledger import now
from elboroom.operations.serving.outstanding import Outstanding
from elboroom.operations.serving.thresholds import LEAST_LOG

import elboroom as er

RNG = np.random.default_rng(5)
X = np.round(RNG.normal(size=80), 3)
Y = 2 * X + RNG.normal(size=80)


@er.model
def slopes(x, y=None):
    """A line through nought."""
    slope = er.sample("slope", er.Normal(0, 2))
    with er.plate("row", len(x)):
        er.observe("y", er.Normal(slope * x, 1.0), y)


@pytest.fixture(scope="module")
def fits():
    """A posterior of the rows, and one of others, which is wrong of these."""
    return [er.fit(slopes(X, y), progress=False) for y in (Y, Y - 6 * X)]


@pytest.fixture
def registry(fits, tmp_path, monkeypatch):
    """Version 1 is live, 2 is the same, 3 is wrong. They have no reports: these take their time."""

    def filled(draft, posterior, data, attached):
        posterior.save(draft / "posterior")
        return {"verdict": "trusted", "fits_data": True, "data_fingerprint": "d", "created": now()}

    monkeypatch.setattr(registries, "filled", filled)
    made = er.Registry(tmp_path / "models")
    for one in (fits[0], fits[0], fits[1]):
        made.add(one, "slopes")
    made.promote("slopes", 1)
    return made


def started(registry, canary, **settings):
    """A service whose candidate is ready."""
    made = er.app(registry, "slopes@live", slopes, canary=canary, most_batched=4, look=0.02, **settings)
    until(lambda: made.trial.candidate is not None or made.trial.problem)
    return made


def until(holds, seconds=60):
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert holds()


async def asked(service, path, body=None, headers=()):
    """Status and content of an answer, by ASGI."""
    sent, got = [{"type": "http.request", "body": json.dumps(body).encode()}], []

    async def receive():
        return sent.pop(0) if sent else await asyncio.sleep(60)

    async def send(event):
        got.append(event)

    kind = [] if body is None else [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "GET" if body is None else "POST", "path": path, "raw_path": path.encode(),
             "query_string": b"", "headers": [*kind, *headers]}  # fmt: skip
    await service(scope, receive, send)
    content = got[1]["body"]
    return got[0]["status"], json.loads(content) if content[:1] == b"{" else content.decode()


def ask(service, path, body=None, headers=()):
    return asyncio.run(asked(service, path, body, headers))


def run(service, count, by="rows", seed=0, first=0):
    """So many requests, each with its outcome told at once; the numbers of the versions that answered."""
    rng = np.random.default_rng(seed)

    async def all_of_them():
        versions = []
        for i in range(first, first + count):
            x = round(float(rng.normal()), 3)
            y = 2 * x + float(rng.normal())
            status, found = await asked(service, "/v1/predict", {"rows": [{"x": x}], "key": f"user {i}"})
            assert status == 200, found
            versions.append(found["version"])
            told = (
                {"rows": [{"x": x, "y": y}]}
                if by == "rows"
                else {"loss": (found["rows"][0]["y"]["mean"] - y) ** 2}
            )
            await asyncio.sleep(0)
            status, found = await asked(service, "/v1/outcomes", {"outcomes": [{"key": f"user {i}", **told}]})
            assert status == 200, found
        return versions

    return asyncio.run(all_of_them())


@pytest.mark.parametrize("by", ["loss", "rows"])
def test_a_worse_candidate_is_rolled_back_and_no_request_is_lost(registry, by):
    canary = er.Canary(registry, "slopes", 3, share=0.4)
    made = started(registry, canary)
    try:
        versions = run(made, 600, by)
        dealt = [canary.live if not canary.mine(f"user {i}") else 3 for i in range(len(versions))]
        until(lambda: canary.closed is not None)
        end = versions.index(1, len(versions) - versions[::-1].index(3))  # all are live's from then on
        assert versions[:end] == dealt[:end] and set(versions[end:]) == {1} and 3 in versions
        assert canary.closed.what == "roll back" and "its loss is" in canary.closed.why
        assert "rolled back" in registry.get("slopes", 3).tags["canary"] and registry.aliases("slopes") == {
            "live": 1
        }
        assert (
            made.trial.candidate is None
            and ask(made, "/v1/predict", {"rows": [{"x": 1.0}]})[1]["version"] == 1
        )
    finally:
        made.close()


def test_a_better_candidate_takes_over_at_once_and_no_request_is_lost(registry):
    registry.promote("slopes", 3, because="a bad day")
    canary = er.Canary(registry, "slopes", 1, share=0.4)
    made = started(registry, canary)
    try:
        ready = made.trial.candidate
        run(made, 600, "loss")
        until(lambda: canary.closed is not None and made.live.current.version.number == 1)
        assert canary.closed.what == "promote" and registry.aliases("slopes") == {"live": 1}
        assert made.live.current is ready  # it was compiled already
    finally:
        made.close()


def test_an_equal_candidate_goes_on_after_a_restart_and_outcomes_count_once(registry, tmp_path):
    path = er.Canary(registry, "slopes", 2, share=0.4).save(tmp_path / "canary.json")
    made = started(registry, path)
    try:
        run(made, 300, "loss")
        for i in (1000, 1001):
            assert ask(made, "/v1/predict", {"rows": [{"x": 0.1}], "key": i})[0] == 200
        until(lambda: not made.trial._seen)
    finally:
        made.close()
    text = path.read_text() + path.with_name("canary.json.outstanding").read_text()
    assert "user" not in text  # keys are people's
    made = started(registry, path)
    try:
        where = ask(made, "/v1/canary")[1]
        known = where["known"]["losses"]
        assert where["decision"] == "go on" and known["candidate"] + known["live"] == 300
        assert where["outstanding"] == 2 and min(known.values()) > 80
        told = {
            "outcomes": [{"key": 1000, "loss": 0.5}, {"key": "1000", "loss": 0.5}, {"key": 9, "loss": 0.5}]
        }
        found = ask(made, "/v1/outcomes", told)[1]
        assert (found["taken"], found["unknown"], found["decision"]) == (1, 2, "go on")
        until(lambda: sum(ask(made, "/v1/canary")[1]["known"]["losses"].values()) == 301)
    finally:
        made.close()


def test_a_shadow_answers_all_and_is_heard_by_none(registry, tmp_path):
    canary = er.Canary(registry, "slopes", 3, shadow=True)
    made = started(registry, canary)
    call, go_on = made.trial.candidate.calls["predict"], threading.Event()

    def held_up(rows):
        assert go_on.wait(60)
        return call(rows)

    made.trial.candidate.calls["predict"] = held_up
    try:

        async def some(count):
            for i in range(count):
                status, found = await asked(made, "/v1/predict", {"rows": [{"x": i / 1000}], "key": i})
                assert (status, found["version"]) == (200, 1)
            assert not made.trial.outstanding  # all were answered before the candidate was
            go_on.set()
            while made.trial._tasks:
                await asyncio.sleep(0.01)

        asyncio.run(some(30))
        refused = ask(made, "/v1/outcomes", {"outcomes": [{"key": 1, "loss": 0.5}]})
        assert refused[0] == 422 and "one version alone" in refused[1]["error"]["words"]
        assert len(made.trial.outstanding) == 30
        for i in range(30):
            rows = [{"x": i / 1000, "y": 2 * i / 1000}]
            assert ask(made, "/v1/outcomes", {"outcomes": [{"key": i, "rows": rows}]})[1]["taken"] == 1
        until(lambda: canary.arms["losses"].first == 30)
        arms = canary.arms["losses"]
        draws = [fit.draws["posterior"]["slope"].to_numpy().ravel() for fit in _both(registry)]
        some = np.unique(np.linspace(0, len(draws[0]) - 1, 500).astype(int))
        x, y = np.arange(30) / 1000, 2 * np.arange(30) / 1000
        for total, slope in zip(arms.means, draws[::-1], strict=True):  # the candidate's first
            each = np.exp(-0.5 * (y - slope[some][:, None] * x) ** 2) / np.sqrt(2 * np.pi)
            assert total == pytest.approx(-np.log(each.mean(0)).sum(), rel=1e-6)
        assert canary.arms["seconds"].first == 30
    finally:
        made.close()


def _both(registry):
    return [registry.get("slopes", number).load() for number in (1, 3)]


def test_where_a_candidate_fails_what_is_live_answers_and_it_is_rolled_back(registry):
    canary = er.Canary(registry, "slopes", 2, share=0.5)
    made = started(registry, canary, seconds=1.0)

    def broken(rows):
        raise FloatingPointError("broken")

    made.trial.candidate.calls["predict"] = broken
    try:
        shown = made.trial.candidate.shown
        for i in range(400):
            status, found = ask(made, "/v1/predict", {"rows": [{"x": i / 1000}], "key": i})
            assert (status, found["version"]) == (200, 1)
        assert (
            ask(made, "/v1/predict", {"rows": [{"z": 1}]})[0] == 422
        )  # what is no request is nobody's fault
        until(lambda: canary.closed is not None)
        assert canary.closed.what == "roll back" and "untrusted" in canary.closed.why
        assert 'code="failed"' in shown.text()
    finally:
        made.close()


def test_metrics_are_those_of_either_version(registry):
    canary = er.Canary(registry, "slopes", 2, share=0.5)
    made = started(registry, canary)
    try:
        run(made, 40, "loss")
        text = ask(made, "/metrics")[1]
        counted = {}
        for line in text.splitlines():
            if line.startswith("elboroom_requests_total{") and 'route="/v1/predict"' in line:
                counted[line.split('version="')[1][0]] = float(line.split()[-1])
        mine = sum(canary.mine(f"user {i}") for i in range(40))
        assert counted == {"1": 40.0 - mine, "2": float(mine)}
    finally:
        made.close()


def test_tokens_for_outcomes_have_to_be_named(registry, tmp_path):
    tokens = er.Tokens(tmp_path / "tokens.json")
    usual, telling = tokens.new("a"), tokens.new("b", ["outcome"])
    made = started(registry, er.Canary(registry, "slopes", 2), tokens=tokens)
    body = {"outcomes": [{"key": "a", "loss": 1.0}]}
    try:
        found = [
            ask(made, "/v1/outcomes", body, [(b"authorization", f"Bearer {t}".encode())])[0]
            for t in (usual, telling)
        ]
        assert found == [403, 200]
    finally:
        made.close()


@pytest.mark.parametrize(
    "body, words",
    [
        ({"outcomes": 1}, "expected"),
        ({"outcomes": [{"key": "a"}]}, "outcome: expected"),
        ({"outcomes": [{"key": "a", "loss": None}]}, "finite number"),
        ({"outcomes": [{"key": "a", "loss": True}]}, "finite number"),
        ({"outcomes": [{"key": "a", "loss": 10**400}]}, "finite number"),
        ({"outcomes": [{"key": None, "loss": 1.0}]}, "key: expected"),
        ({"outcomes": [{"key": "x" * 300, "loss": 1.0}]}, "key: expected"),
    ],
)
def test_what_is_no_outcome_is_refused(service, body, words):
    status, found = ask(service, "/v1/outcomes", body)
    assert status == 422 and words in found["error"]["words"]


@pytest.fixture(scope="module")
def service(fits, tmp_path_factory):
    """One whose candidate is asked nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registries, "filled", _filled)
        made = er.Registry(tmp_path_factory.mktemp("quiet") / "models")
        made.add(fits[0], "slopes")
        made.add(fits[0], "slopes")
        made.promote("slopes", 1)
        out = started(made, er.Canary(made, "slopes", 2))
        yield out
        out.close()


def _filled(draft, posterior, data, attached):
    posterior.save(draft / "posterior")
    return {"verdict": "trusted", "fits_data": True, "data_fingerprint": "d", "created": now()}


def test_a_canary_that_cannot_go_on_leaves_the_service_whole(registry, tmp_path):
    """Another version was promoted while the service was down; and while it runs."""
    path = er.Canary(registry, "slopes", 2).save(tmp_path / "canary.json")
    registry.promote("slopes", 3, because="by hand")
    made = started(registry, path)
    try:
        until(lambda: made.state.ready()[0])
        assert ask(made, "/v1/predict", {"rows": [{"x": 1.0}]})[1]["version"] == 3
        assert "Begin another canary" in ask(made, "/v1/canary")[1]["problem"]
    finally:
        made.close()
    canary = er.Canary(registry, "slopes", 2, share=0.9)
    made = started(registry, canary)
    try:
        registry.promote("slopes", 1, because="by hand")
        until(lambda: made.live.current.version.number == 1 and made.trial.problem)
        assert {
            ask(made, "/v1/predict", {"rows": [{"x": 1.0}], "key": i})[1]["version"] for i in range(20)
        } == {1}
    finally:
        made.close()


def test_canaries_of_something_else_are_refused(registry, tmp_path):
    with pytest.raises(er.InferenceError, match="canary: expected one of 'slopes@latest'"):
        er.app(registry, "slopes@latest", slopes, canary=er.Canary(registry, "slopes", 2))
    with pytest.raises(er.InferenceError, match="workers: expected 1, beside a canary"):
        er.serve(registry, "slopes@live", "a:b", canary=tmp_path / "c.json", workers=2)


def test_outcomes_that_are_waited_for_are_bounded_and_bounded_losses_are_the_same_for_all(monkeypatch):
    monkeypatch.setattr("elboroom.operations.serving.outstanding.MOST_OUTSTANDING", 3)
    some = Outstanding()
    for key in "abcad":
        some.add(key)
    assert [some.has(key) for key in "abcd"] == [True, False, True, True] and len(some) == 4
    assert [some.taken("a") for _ in range(3)] == [True, True, False]
    assert np.exp(LEAST_LOG) > 0
