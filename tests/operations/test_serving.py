"""Answers over HTTP are those of the posterior, whatever else is asked at the time; what is malformed is refused."""

import asyncio
import gc
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from elboroom.inference.posterior.posterior import Posterior, record_of
from elboroom.operations import registry as registries
from elboroom.operations.ledger import Ledger, now
from elboroom.operations.serving.columns import Wanted, read_rows
from elboroom.operations.serving.ranges import Ranges
from elboroom.operations.serving.refusals import Refused
from elboroom.operations.serving.served import Kept
from elboroom.operations.serving.trail import Trail
from elboroom.operations.serving.verdicts import RowVerdicts

import elboroom as er

GROUPS = ("north", "south", "west")
RNG = np.random.default_rng(0)
PLACE = RNG.choice(GROUPS, 60)
X = np.round(RNG.normal(size=60), 3)
Y = np.array([{"north": 1.0, "south": -1.0, "west": 0.0}[place] for place in PLACE]) + X + RNG.normal(size=60)
ROW = {"place": "north", "x": 0.25}


@er.model
def lines(place, x, y=None):
    """A slope, and a level of each place."""
    slope = er.sample("slope", er.Normal(0, 2))
    with er.plate("place", er.levels(place)):
        level = er.sample("level", er.Normal(0, 2))
    with er.plate("row", len(x)):
        er.observe("y", er.Normal(level[place] + slope * x, 1.0), y)


@pytest.fixture(scope="module")
def posterior():
    return er.fit(lines(PLACE, X, Y), progress=False)


@pytest.mark.parametrize("verdict", ["caution", "untrusted"])
def test_a_row_is_not_trusted_beyond_any_quantity_that_it_depends_on(posterior, verdict):
    record = record_of(posterior)
    for label, rows in (("slope", [0, 1]), ("level[south]", [1])):
        verdicts = [verdict if one == label else "trusted" for one in record.table["label"]]
        table, settings = (
            {**record.table, "verdict": verdicts},
            {**record.settings, "quantities": ("level[west]",)},
        )
        wrong = Posterior(replace(record, table=table, settings=settings))
        assert wrong.verdict == "trusted"  # of what was asked for
        found, _ = RowVerdicts.of(wrong).at(
            SimpleNamespace(count=2, arrays={"place": np.array([0, 1])}, inside=np.ones(2, bool))
        )
        assert [i for i in range(2) if found[i] != "trusted"] == rows, (label, found)


@er.model
def chances(x, y=None):
    """A logistic regression."""
    level = er.sample("level", er.Normal(0, 2))
    slope = er.sample("slope", er.Normal(0, 2))
    with er.plate("row", len(x)):
        er.observe("y", er.Bernoulli(logits=level + slope * x), y)


@er.model
def lengths(x):
    """Rows of three numbers that one latent quantity tells."""
    slope = er.param("slope", np.ones(3))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1))
        er.observe("x", er.Normal(z[:, None] * slope, 0.5).to_event(1), x)


@pytest.fixture(scope="module")
def registry(posterior, tmp_path_factory):
    """A registry whose versions have no report: that takes its time."""
    place = tmp_path_factory.mktemp("served")

    def filled(draft, posterior, data, attached):
        posterior.save(draft / "posterior")
        return {"verdict": "trusted", "fits_data": True, "data_fingerprint": "d", "created": now()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registries, "filled", filled)
        made = er.Registry(place / "models")
        made.promote("lines", made.add(posterior, "lines"))
        yield made


def started(registry, name="lines@live", model=lines, **settings):
    """An application that is ready."""
    settings = {"most_batched": 4, "look": 0.05, **settings}
    made = er.app(registry, name, model, **settings)
    deadline = time.monotonic() + 120
    while not made.state.ready()[0] and time.monotonic() < deadline and not made.live.problem:
        time.sleep(0.02)
    return made


@pytest.fixture(scope="module")
def service(registry):
    made = started(registry)
    yield made
    made.close()


async def answer(service, path, body=None, headers=(), method=None, parts=None):
    """Status, headers and content of an answer, by ASGI."""
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    pieces = [content] if parts is None else parts
    sent = [
        {"type": "http.request", "body": piece, "more_body": i + 1 < len(pieces)}
        for i, piece in enumerate(pieces)
    ]
    got = []

    async def receive():
        return sent.pop(0) if sent else await asyncio.sleep(60)

    async def send(event):
        got.append(event)

    given = body is not None or parts is not None
    usual = [(b"content-type", b"application/json")] if given else []
    scope = {"type": "http", "method": method or ("GET" if not usual else "POST"), "path": path,
             "raw_path": path.encode(), "query_string": b"", "headers": [*usual, *headers]}  # fmt: skip
    await service(scope, receive, send)
    kind = dict(got[0]["headers"])[b"content-type"]
    content = got[1]["body"]
    return (
        got[0]["status"],
        dict(got[0]["headers"]),
        json.loads(content) if b"json" in kind else content.decode(),
    )


def ask(service, path, body=None, **how):
    return asyncio.run(answer(service, path, body, **how))


def predicted(service, *rows):
    status, _, found = ask(service, "/v1/predict", {"rows": list(rows)})
    assert status == 200, found
    return found["rows"]


def test_answers_are_those_of_the_posterior(posterior, service):
    drawn = posterior.predict(place=["north"], x=[0.25], num_draws=2000, seed=0)["posterior_predictive"]["y"]
    own = predicted(service, ROW)[0]["y"]
    assert own["mean"] == pytest.approx(float(drawn.mean()), rel=1e-8)
    assert own["sd"] == pytest.approx(float(drawn.std()), rel=1e-8)
    for name, level in (("q5", 0.05), ("median", 0.5), ("q95", 0.95)):
        assert own[name] == pytest.approx(float(np.quantile(drawn, level)), rel=1e-8)


def test_answers_are_near_the_exact_ones(service):
    found = predicted(service, *({"place": group, "x": 0.5} for group in GROUPS))
    own = {group: answers["y"] for group, answers in zip(GROUPS, found, strict=True)}
    design = np.column_stack([X, *(PLACE == g for g in GROUPS)]).astype(float)
    cov = np.linalg.inv(design.T @ design + np.eye(4) / 4)
    mean = cov @ design.T @ Y
    for i, group in enumerate(GROUPS):
        row = np.array([0.5, *np.eye(3)[i]])
        sd = np.sqrt(row @ cov @ row + 1)
        assert own[group]["mean"] == pytest.approx(row @ mean, abs=4 * sd / np.sqrt(2000))
        assert own[group]["q95"] == pytest.approx(row @ mean + 1.645 * sd, abs=4 * sd * 2.1 / np.sqrt(2000))


def test_a_row_is_answered_alike_whatever_comes_with_it(registry):
    """Alone, within others, in a batch that is cut in parts, and without a cache."""
    plain = started(registry, cached=0)
    try:
        alone = predicted(plain, ROW)[0]
        others = [{"place": GROUPS[i % 3], "x": i / 10} for i in range(6)]
        for rows in ([ROW, *others[:2]], [*others, ROW, *others]):
            assert predicted(plain, *rows)[rows.index(ROW)] == alone
    finally:
        plain.close()


def test_requests_that_come_together_share_calls(registry):
    made = started(registry, cached=0, most_batched=8, wait=0.05)
    served, sizes = made.live.current, []
    call = served.calls["predict"]

    def counted(rows):
        sizes.append(rows.count)
        time.sleep(0.02)
        return call(rows)

    served.calls["predict"] = counted
    rows = [{"place": GROUPS[i % 3], "x": i / 100} for i in range(24)]

    async def all_at_once():
        return await asyncio.gather(*(answer(made, "/v1/predict", {"rows": [row]}) for row in rows))

    try:
        found = asyncio.run(all_at_once())
        together = [answers["rows"][0] for _, _, answers in found]
        assert sum(sizes) == 24 and max(sizes) == 8 and len(sizes) <= 6
        served.calls["predict"] = call
        assert together == predicted(made, *rows)
    finally:
        made.close()


def test_rows_out_of_range_are_told_and_far_ones_refused(service):
    inside, outside = predicted(service, ROW, {"place": "north", "x": float(X.max()) + 0.1})
    assert (inside["in_range"], inside["verdict"]) == (True, "trusted")
    assert (outside["in_range"], outside["verdict"]) == (False, "caution")
    status, _, found = ask(service, "/v1/predict", {"rows": [ROW, {"place": "north", "x": 100.0}]})
    assert (status, found["error"]["column"], found["error"]["row"]) == (422, "x", 1)


@pytest.mark.parametrize(
    "body, status, what",
    [
        (b"{", 400, "json"),
        (b'{"rows": [{"place": "north", "x": NaN}]}', 400, "json"),
        (b'{"rows": [{"place": "north", "x": 1e999}]}', 422, "not finite"),
        (b'{"rows": [{"place": "north", "x": ' + b"1" * 5000 + b"}]}", 400, "json"),
        ('{"rows": [{"place": "north", "x": 1}]}'.encode("utf-16"), 400, "encoding"),
        (b"[" * 100_000, 400, "too deep"),
        (b"[" * 20 + b"]" * 20, 400, "too deep"),
        (b'{"rows": [{"place": "north", "x": 1.0, "x": 2.0}]}', 400, "json"),
        ({"rows": []}, 422, "body"),
        ({"rows": [ROW], "more": 1}, 422, "body"),
        ({"rows": [{"x": 1.0}]}, 422, "columns"),
        ({"rows": [{**ROW, "y": 1.0}]}, 422, "columns"),
        ({"rows": [{"place": "nowhere", "x": 1.0}]}, 422, "unseen level"),
        ({"rows": [{"place": None, "x": 1.0}]}, 422, "type"),
        ({"rows": [{"place": "north", "x": "1"}]}, 422, "type"),
        ({"rows": [{"place": "north", "x": True}]}, 422, "type"),
        ({"rows": [{"place": "north", "x": None}]}, 422, "type"),
        ({"rows": [{"place": "north", "x": [1.0]}]}, 422, "type"),
        ({"columns": {"place": ["north"], "x": [1.0, 2.0]}}, 422, "body"),
        ({"rows": [ROW] * 1025}, 413, "too many rows"),
        (b" " * (2**20 + 1), 413, "too large"),
    ],
)
def test_what_is_no_row_is_refused(service, body, status, what):
    found = ask(service, "/v1/predict", body)
    assert (found[0], found[2]["error"]["what"]) == (status, what)
    assert len(found[2]["error"]["words"]) < 1000


@pytest.mark.parametrize(
    "path, how, status",
    [
        ("/v1/../../etc/passwd", {}, 404),
        ("/v1/predict", {}, 405),
        ("/metrics", {"body": {}}, 405),
        ("/v1/predict", {"body": b"{}", "headers": [(b"content-encoding", b"gzip")]}, 415),
        ("/v1/predict", {"body": b"{}", "headers": [(b"content-type", b"text/plain")]}, 400),
        ("/v1/predict", {"body": b"{}", "headers": [(b"content-length", b"1073741824")]}, 413),
        ("/v1/predict", {"body": b"{}", "headers": [(b"content-length", b"-1")]}, 400),
        ("/v1/predict", {"body": b"{}", "headers": [(b"x", b"y" * 20_000)]}, 431),
        ("/v1/predict", {"body": b"{}", "headers": [(b"x%d" % i, b"") for i in range(100)]}, 431),
        ("/v1/encode", {"body": {"rows": [ROW]}}, 501),
    ],
)
def test_tricks_are_refused(service, path, how, status):
    assert ask(service, path, **how)[0] == status


def test_a_body_that_never_ends_is_cut_off(service):
    status, headers, found = ask(service, "/v1/predict", parts=[b" " * 2**19] * 8)
    assert (status, found["error"]["what"], headers[b"connection"]) == (413, "too large", b"close")


def test_ids_come_back_and_tricks_in_them_do_not(service):
    body = {"rows": [ROW]}
    assert (
        ask(service, "/v1/predict", body, headers=[(b"x-request-id", b"a-1")])[1][b"x-request-id"] == b"a-1"
    )
    odd = ask(service, "/v1/predict", body, headers=[(b"x-request-id", b"a\r\nset-cookie: b")])
    assert b"\r" not in odd[1][b"x-request-id"] and len(odd[1][b"x-request-id"]) == 16


def test_tokens_have_scopes_and_end(registry, tmp_path):
    tokens = er.Tokens(tmp_path / "tokens.json")
    predict, metrics = tokens.new("a", ["predict"]), tokens.new("b", ["metrics"])
    made = started(registry, tokens=tokens.path)

    def status(secret, path="/v1/predict", body=None):
        body = {"rows": [ROW]} if path == "/v1/predict" else body
        return ask(made, path, body, headers=[(b"authorization", f"Bearer {secret}".encode())])[0]

    try:
        assert predict not in tokens.path.read_text()
        assert ask(made, "/v1/predict", {"rows": [ROW]})[0] == 401
        assert ask(made, "/healthz/ready")[0] == 200
        assert [status(predict), status(metrics), status(metrics, "/metrics")] == [200, 403, 200]
        assert [status(s) for s in ("", predict[:-1], predict + "a", "er_x_y", "x" * 100_000)] == [
            401
        ] * 4 + [431]
        new = tokens.rotate(tokens.all()[0].id, hours=1)
        assert [status(predict), status(new)] == [200, 200]
        tokens.revoke(tokens.all()[0].id, "lost")
        assert [status(predict), status(new)] == [401, 200]
        tokens.rotate(tokens.all()[2].id, hours=0)
        assert status(new) == 401
    finally:
        made.close()


def test_another_version_takes_over_and_no_request_is_lost(posterior, registry):
    made = started(registry, cached=0)
    try:
        first = made.live.current.version.number
        other = registry.add(posterior, "lines").number
        seen, stop = [], time.monotonic() + 60

        def client():
            while time.monotonic() < stop and (not seen or seen[-1][1] == first):
                status, _, found = ask(made, "/v1/predict", {"rows": [ROW]})
                seen.append((status, found.get("version")))

        with ThreadPoolExecutor(2) as pool:
            running = [pool.submit(client) for _ in range(2)]
            registry.promote("lines", other, because="a test")
            for one in running:
                one.result()
        assert {status for status, _ in seen} == {200}
        assert {version for _, version in seen} == {first, other}
    finally:
        made.close()
        registry.rollback("lines")


def test_what_is_loaded_is_not_looked_through_for_garbage_in_a_process_of_its_own(registry, service):
    version = registry.get("lines", "live")
    before = gc.get_freeze_count()
    service.live.loaded(version)
    assert gc.get_freeze_count() == before  # this process does other things too
    service.live.alone = True
    try:
        service.live.loaded(version)
        assert gc.get_freeze_count() > 10_000
        first = gc.get_freeze_count()
        service.live.loaded(version)
        assert gc.get_freeze_count() < 1.5 * first  # what an earlier version left behind is let go
    finally:
        service.live.alone = False
        gc.unfreeze()


def test_what_waits_too_long_a_line_is_told_to_come_again(registry):
    made = started(registry, cached=0, most_batched=2, most_waiting=2, seconds=0.2)
    served = made.live.current
    served.calls["predict"] = lambda rows: [time.sleep(0.5)] * rows.count

    async def many():
        return await asyncio.gather(*(answer(made, "/v1/predict", {"rows": [ROW]}) for _ in range(8)))

    try:
        found = asyncio.run(many())
        statuses = [status for status, _, _ in found]
        assert set(statuses) == {429, 504} and statuses.count(429) >= 4
        assert all(int(headers[b"retry-after"]) >= 1 for _, headers, _ in found)
    finally:
        made.close()


def broken(rows):
    raise FloatingPointError("broken")


def test_answers_are_of_few_draws_where_a_call_fails_or_too_much_waits(registry):
    """No better than caution, marked, counted and not kept; as usual once all is well."""
    made = started(registry)
    try:
        served, usual = made.live.current, predicted(made, ROW)[0]
        call = served.calls["predict"]
        row = {"place": "north", "x": 0.5}
        served.calls["predict"] = replace(call, use=SimpleNamespace(alone=True, run=broken))
        (found,) = predicted(made, row)
        assert (found["verdict"], found["degraded"]) == ("caution", True) and "100 draws" in found["reason"]
        served.calls["predict"] = call
        (whole,) = predicted(made, row)
        assert whole["verdict"] == "trusted" and "degraded" not in whole  # it was not kept
        assert found["y"]["mean"] == pytest.approx(whole["y"]["mean"], abs=5 * whole["y"]["sd"] / 10)
        assert found["y"]["mean"] != whole["y"]["mean"]
        made.batcher.late = lambda seconds: True
        found = predicted(made, {"place": "north", "x": 0.75}, {"place": "north", "x": 0.5})
        assert [one["degraded"] for one in found] == [True, True]
        assert predicted(made, ROW)[0] == usual  # what is kept costs nothing
        text = ask(made, "/metrics")[2]
        values = {line.partition("{")[0]: line.split()[-1] for line in text.splitlines()}
        assert (values["elboroom_degraded"], values["elboroom_degraded_rows_total"]) == ("1.0", "3.0")
    finally:
        made.close()


def test_no_request_fails_for_what_came_with_it(registry):
    """One row that the model cannot take, in the same call as others."""
    made = started(registry, cached=0, wait=0.2, most_batched=8)
    served = made.live.current
    call = served.calls["predict"]

    def picky(rows):
        if (rows.arrays["x"] > 1).any():
            raise FloatingPointError("too much")
        return call(rows)

    served.calls["predict"] = picky

    async def all_at_once():
        bodies = [{"rows": [{"place": "north", "x": x}]} for x in (0.1, 1.5, 0.2, 0.3)]
        return await asyncio.gather(*(answer(made, "/v1/predict", body) for body in bodies))

    try:
        assert [status for status, _, _ in asyncio.run(all_at_once())] == [200, 500, 200, 200]
    finally:
        made.close()


def test_what_is_kept_is_bounded_by_rows_and_by_numbers():
    for kept in (Kept(2), Kept(100, 2 * (2 + 3))):
        for key in (b"a", b"b", b"c", b"c"):
            kept.keep("predict", [key], [{"mean": [1.0, 2.0]}])
        assert [kept.found("predict", [key]) is None for key in (b"a", b"b", b"c")] == [True, False, False]
    one = Kept(100, 3)
    one.keep("predict", [b"a"], [{"mean": [1.0] * 1000}])
    assert one.found("predict", [b"a"]) is None
    one.keep("predict", [b"b"], [{}])
    assert one.found("predict", [b"b"]) == [{}] and one.found("score", [b"b"]) is None


def test_scores_that_a_few_draws_decide_are_not_trusted(service):
    """An outcome far from what is expected: its density is the mean of very unequal ones."""
    rows = [{**ROW, "y": y} for y in (1.2, float(np.round(Y.max() + 8, 2)))]
    made = service.live.current.uses["score"]
    near, far = made.run(read_rows({"rows": rows}, made.wanted, "flag", 10))
    assert near["se"] < 0.05 and "verdict" not in near
    assert far["se"] > 0.1 and far["verdict"] in ("caution", "untrusted")


def test_health_says_nothing_of_its_files_to_anybody(registry):
    made = started(registry, model=None)
    try:
        assert made.live.problem
        words = ask(made, "/healthz/ready")[2]["error"]["words"]
        assert words == "not loaded: the log says why"
    finally:
        made.close()


def test_metrics_count_what_was_answered(registry):
    made = started(registry)
    try:
        predicted(made, ROW, ROW)
        ask(made, "/v1/predict", b"{")
        text = ask(made, "/metrics")[2]
        number = made.live.current.version.number
        labels = f'model="lines",route="/v1/predict",version="{number}"'
        assert f'elboroom_requests_total{{code="200",{labels}}} 1.0' in text
        assert f'elboroom_requests_total{{code="400",{labels}}} 1.0' in text
        assert "elboroom_verdict_total{" in text and 'verdict="trusted"' in text
    finally:
        made.close()


def test_probabilities_are_means_of_probabilities(registry):
    """A logistic regression: by the formula, over the draws that are taken."""
    y = (X + RNG.logistic(size=60) > 0).astype(int)
    fitted = er.fit(chances(X, y), progress=False)
    registry.promote("chances", registry.add(fitted, "chances"))
    made = started(registry, "chances@live", chances)
    try:
        own = predicted(made, {"x": 0.5}, {"x": -1.0})
        draws = fitted.draws["posterior"]
        level, slope = (draws[name].to_numpy().ravel() for name in ("level", "slope"))
        some = np.unique(np.linspace(0, len(level) - 1, 500).astype(int))
        for row, x in zip(own, (0.5, -1.0), strict=True):
            each = 1 / (1 + np.exp(-(level[some] + slope[some] * x)))
            assert row["y"]["probabilities"]["1"] == pytest.approx(each.mean(), rel=1e-7)
            assert row["y"]["probabilities"]["0"] == pytest.approx(1 - each.mean(), rel=1e-7)
            assert row["y"]["q95"]["1"] == pytest.approx(np.quantile(each, 0.95), rel=1e-7)
        status, _, scored = ask(made, "/v1/score", {"rows": [{"x": 0.5, "y": 1}, {"x": 0.5, "y": 0}]})
        assert status == 200
        each = 1 / (1 + np.exp(-(level[some] + slope[some] * 0.5)))
        assert scored["rows"][0]["log_prob"] == pytest.approx(np.log(each.mean()), rel=1e-7)
        assert scored["rows"][1]["log_prob"] == pytest.approx(np.log(1 - each.mean()), rel=1e-7)
        assert ask(made, "/v1/score", {"rows": [{"x": 0.5, "y": 2}]})[0] == 422
    finally:
        made.close()


@pytest.mark.slow
def test_encoded_rows_have_their_exact_law_and_evidence_where_there_is_time(registry):
    """z given x is normal; with too many rows for the time, the encoder's own law, without a verdict, is what comes."""
    rng = np.random.default_rng(3)
    x = np.round(rng.normal(size=(200, 1)) * np.array([1.0, -1.0, 2.0]) + 0.5 * rng.normal(size=(200, 3)), 3)
    fitted = er.fit(lengths(x), guide=er.Amortized(), progress=False)
    registry.promote("lengths", registry.add(fitted, "lengths"))
    made = started(registry, "lengths@live", lengths, encoded_draws=4000, seconds=30.0, cached=0)
    try:
        slope = np.asarray(fitted.learned["slope"], float)
        precision = 1 + (slope**2).sum() / 0.25
        mean = x[:3] @ slope / 0.25 / precision
        status, _, found = ask(made, "/v1/encode", {"columns": {"x": x[:3].tolist()}})
        assert status == 200
        for row, exact in zip(found["rows"], mean, strict=True):
            assert row["verdict"] == "trusted"
            assert row["mean"][0] == pytest.approx(exact, abs=5 * precision**-0.5 / np.sqrt(2000))
            assert row["sd"][0] == pytest.approx(precision**-0.5, rel=0.1)
        assert ask(made, "/v1/encode", {"columns": {"x": x[1:2].tolist()}})[2]["rows"] == found["rows"][1:2]
        cov = np.outer(slope, slope) + 0.25 * np.eye(3)
        exact = -0.5 * (x[0] @ np.linalg.solve(cov, x[0]) + np.linalg.slogdet(2 * np.pi * cov)[1])
        scored = ask(made, "/v1/score", {"columns": {"x": x[:1].tolist()}})[2]["rows"][0]
        assert scored["log_prob"] == pytest.approx(exact, abs=5 * scored["se"] + 1e-6)
        served = made.live.current
        served.calls["encode"] = replace(served.calls["encode"], most_alone=2)
        hurried = ask(made, "/v1/encode", {"columns": {"x": x[:3].tolist()}})[2]["rows"][0]
        assert (hurried["verdict"], hurried["degraded"]) == (None, True)
        assert hurried["mean"][0] == pytest.approx(mean[0], abs=0.5 * precision**-0.5)
    finally:
        made.close()


@pytest.mark.slow
def test_encoded_rows_are_reconstructed_and_completed(registry):
    """By the exact law of z given what is known of a row: a signal for all entries, and draws of the one that is missing."""
    rng = np.random.default_rng(3)
    x = np.round(rng.normal(size=(200, 1)) * np.array([1.0, -1.0, 2.0]) + 0.5 * rng.normal(size=(200, 3)), 3)
    x[::6, 1] = np.nan
    fitted = er.fit(lengths(x), guide=er.Amortized(), progress=False)
    registry.promote("gaps", registry.add(fitted, "gaps"))
    made = started(registry, "gaps@live", lengths, encoded_draws=4000, seconds=30.0, cached=0)
    try:
        slope = np.asarray(fitted.learned["slope"], float)
        cells = [[1.0, -1.0, 2.0], [1.0, None, 2.0]]
        status, _, found = ask(made, "/v1/predict", {"columns": {"x": cells}})
        assert status == 200
        for row, cell in zip(found["rows"], cells, strict=True):
            known = np.array([value is not None for value in cell])
            precision = 1 + (slope[known] ** 2).sum() / 0.25
            mean = (np.array(cell, float)[known] * slope[known]).sum() / 0.25 / precision
            error = 5 * np.abs(slope) * precision**-0.5 / np.sqrt(2000)
            assert (np.abs(np.array(row["x"]["reconstruction"]) - slope * mean) < error).all()
            assert (row["verdict"], row["in_range"]) == ("trusted", True)
            if known.all():
                assert set(row["x"]) == {"reconstruction"}
                continue
            sd = np.sqrt(slope[1] ** 2 / precision + 0.25)
            assert row["x"]["mean"][0] == 1.0 and row["x"]["sd"] == pytest.approx([0.0, sd, 0.0], rel=0.07)
            assert row["x"]["q95"][1] == pytest.approx(
                slope[1] * mean + 1.645 * sd, abs=5 * sd * 2.1 / np.sqrt(2000)
            )
        assert ask(made, "/v1/predict", {"columns": {"x": cells[1:]}})[2]["rows"] == found["rows"][1:]
        scored = ask(made, "/v1/score", {"columns": {"x": cells[1:]}})[2]["rows"][0]
        cov = np.outer(slope, slope)[::2, ::2] + 0.25 * np.eye(2)
        seen = np.array([1.0, 2.0])
        exact = -0.5 * (seen @ np.linalg.solve(cov, seen) + np.linalg.slogdet(2 * np.pi * cov)[1])
        assert scored["log_prob"] == pytest.approx(exact, abs=5 * scored["se"] + 1e-6)
        served = made.live.current
        served.calls["predict"] = replace(served.calls["predict"], most_alone=1)
        hurried = ask(made, "/v1/predict", {"columns": {"x": cells}})[2]["rows"]
        assert all((row["verdict"], row["degraded"]) == (None, True) for row in hurried)
        assert hurried[0]["x"]["reconstruction"] == pytest.approx(
            found["rows"][0]["x"]["reconstruction"], abs=0.1
        )
    finally:
        made.close()


def test_a_trail_has_a_line_for_each_request_and_no_data(registry, tmp_path):
    made = started(registry, audit=tmp_path / "audit")
    predicted(made, {"place": "south", "x": 0.123456})
    ask(made, "/v1/predict", b'{"secret": 1}', headers=[(b"x-request-id", b"mine")])
    ask(made, "/secret/path")
    made.close()
    (path,) = (tmp_path / "audit").iterdir()
    lines = Ledger(path).lines()[1:]
    assert [(line["route"], line["status"], line["rows"]) for line in lines] == [
        ("/v1/predict", 200, 1), ("/v1/predict", 422, 0), ("other", 404, 0)
    ]  # fmt: skip
    assert (lines[0]["verdicts"], lines[1]["id"]) == ({"trusted": 1}, "mine")
    text = path.read_text()
    assert not [word for word in ("0.123456", "south", "secret") if word in text]
    path.write_text(text.replace('"status":422', '"status":200'))
    with pytest.raises(er.RegistryError, match="follows another line"):
        Ledger(path).lines()


def test_without_a_trail_nothing_is_answered(registry, tmp_path):
    made = started(registry, audit=tmp_path / "audit")
    try:
        made.trail.failed = "No space left on device"
        assert ask(made, "/v1/predict", {"rows": [ROW]})[0] == 503
        assert ask(made, "/healthz/live")[0] == 200
    finally:
        made.close()


def test_the_trail_goes_on_in_another_file(tmp_path):
    trail = Trail(tmp_path, each=2000)
    for part in range(3):
        for i in range(20):
            trail.tell({"id": f"{part}-{i}"})
        time.sleep(0.8)
    trail.close()
    paths = sorted(tmp_path.iterdir())
    heads = [Ledger(path).head for path in paths]
    assert len(paths) >= 3
    assert [Ledger(path).lines()[0]["follows"] for path in paths[1:]] == heads[:-1]
    assert sum(len(Ledger(path).lines()) - 1 for path in paths) == 60


def test_the_description_is_of_what_is_answered(service):
    jsonschema = pytest.importorskip("jsonschema")
    known = ask(service, "/openapi.json")[2]
    asked = known["paths"]["/v1/predict"]["post"]["requestBody"]["content"]["application/json"]
    body = asked["example"]
    for good in (body, {"rows": [ROW, ROW]}, {"columns": {"place": ["north"], "x": [1.0]}}):
        jsonschema.validate(good, asked["schema"])
        assert ask(service, "/v1/predict", good)[0] == 200
    for bad in ({"rows": []}, {"rows": [{**ROW, "more": 1}]}, {"rows": [{"place": "nowhere", "x": 1}]}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, asked["schema"])
        assert ask(service, "/v1/predict", bad)[0] == 422
    assert set(known["paths"]) == {"/v1/predict", "/v1/score", "/v1/model", "/v1/verdict", "/metrics", "/healthz/live", "/healthz/ready"}  # fmt: skip
    assert "<script src=" in ask(service, "/")[2]


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"draws": 0}, "draws: expected an integer above 0"),
        ({"wait": -1}, "wait: expected"),
        ({"gate": "open"}, "gate: expected"),
        ({"nothing": 1}, "settings: expected some of"),
        ({"port": 70_000}, "port: expected"),
        ({"cert": "none.pem", "key": "none.pem"}, "cert: expected a file"),
        ({"audit": __file__}, "audit: expected a folder"),
    ],
)
def test_settings_that_are_none_are_refused(registry, settings, words):
    with pytest.raises(er.ElboroomError, match=words):
        er.app(registry, "lines@live", lines, **settings)


def test_without_its_model_a_version_says_what_it_needs(registry):
    made = started(registry, model=None)
    try:
        assert "model='" in made.live.problem and ":lines'" in made.live.problem
        assert ask(made, "/healthz/ready")[0] == 503
        assert ask(made, "/v1/predict", {"rows": [ROW]})[0] == 503
    finally:
        made.close()


def test_a_version_that_cannot_be_had_leaves_the_one_before(posterior, registry):
    """One whose files were changed once the alias named it; told, and forgotten when the alias goes back."""
    made = started(registry, look=1000.0, cached=0)
    try:
        first = made.live.current.version.number
        other = registry.add(posterior, "lines")
        registry.promote("lines", other)
        path = next((other.folder / "posterior").glob("*.nc"))
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(bytes(content))
        made.live.look()
        status, _, found = ask(made, "/v1/predict", {"rows": [ROW]})
        assert (status, found["version"]) == (200, first)
        assert f"version {other.number}" in made.live.problem and made.state.ready()[0]
        assert "elboroom_degraded{" in (text := ask(made, "/metrics")[2])
        assert [line.split()[-1] for line in text.splitlines() if line.startswith("elboroom_degraded{")] == [
            "1.0"
        ]
        registry.rollback("lines")
        made.live.look()
        assert made.live.problem == ""
    finally:
        made.close()


def test_unsigned_versions_are_refused_where_trust_is_given(registry):
    pytest.importorskip("cryptography")
    trusting = er.Registry(registry.place, trust=er.Trust.of(er.Key.new()))
    made = started(trusting)
    try:
        assert "signature" in made.live.problem and made.live.current is None
        assert ask(made, "/v1/predict", {"rows": [ROW]})[0] == 503
    finally:
        made.close()


def test_ranges_of_matrices_are_those_of_each_column():
    fields = er.schema(
        {"x": np.array([[0.0, 10.0], [1.0, 20.0], [0.5, 15.0]] * 20), "flag": [0, 1, 1] * 20}
    ).fields
    known = Ranges.of("x", (2,), fields)
    assert known.inside(np.array([[0.5, 12.0], [0.5, 0.5], [12.0, 12.0]])).tolist() == [True, False, False]
    assert known.far(np.array([[0.5, 12.0], [0.5, 45.0], [1.5, 12.0]])).tolist() == [False, True, False]
    flag = Ranges.of("flag", (), fields)
    assert flag.far(np.array([0.0, 1.0, 0.5])).tolist() == [False, False, True]
    assert Ranges.of("other", (), fields) is None


def test_new_groups_are_answered_from_their_prior_where_that_is_asked_for(posterior, registry):
    """As `predict` does it; with caution, and whatever else is in the batch."""
    made = started(registry, new_groups=True, cached=0)
    try:
        rows = predicted(made, {"place": "moon", "x": 0.5}, ROW)
        kept = posterior.predict(place=["moon"], x=[0.5], new_groups="place", num_draws=2000, seed=0)
        drawn = kept["posterior_predictive"]["y"].to_numpy().ravel()
        error = drawn.std() / np.sqrt(2000)
        assert rows[0]["y"]["mean"] == pytest.approx(drawn.mean(), abs=6 * error)
        assert rows[0]["y"]["sd"] == pytest.approx(drawn.std(), rel=0.1) and rows[0]["y"]["sd"] > 2
        assert (rows[0]["verdict"], rows[0]["in_range"], rows[1]["verdict"]) == ("caution", False, "trusted")
        assert rows[1]["y"]["sd"] < 1.2
        assert predicted(made, ROW, {"place": "mars", "x": 0.5})[1]["y"] == rows[0]["y"]
    finally:
        made.close()


@pytest.mark.parametrize("kind", ["temperature", "isotonic"])
def test_probabilities_are_mended_by_the_map_that_the_posterior_keeps(registry, kind, tmp_path):
    """Those that `calibration` has of the same rows, with the map and without."""
    y = (X + RNG.logistic(size=60) > 0).astype(int)
    fitted = er.fit(chances(X, y), progress=False)
    other = np.round(RNG.normal(size=400), 3)
    came = (0.3 * other + RNG.logistic(size=400) > 0).astype(int)
    plain, map = fitted, getattr(er.calibration(fitted, {"x": other, "y": came}), kind)()
    fitted = plain.calibrated(map)
    name = f"mended-{kind}"
    registry.promote(name, registry.add(fitted, name))
    made = started(registry, f"{name}@live", chances)
    try:
        rows = {"x": np.array([-2.0, 0.5, 1.0]), "y": np.array([0, 1, 0])}
        want = er.calibration(fitted, rows).probabilities
        found = predicted(made, *({"x": float(x)} for x in rows["x"]))
        own = [[row["y"]["probabilities"][k] for k in "01"] for row in found]
        np.testing.assert_allclose(own, want, atol=0.01)  # by more draws
        draws = plain.draws["posterior"]
        level, slope = (draws[one].to_numpy().ravel() for one in ("level", "slope"))
        some = np.unique(np.linspace(0, len(level) - 1, 500).astype(int))
        each = 1 / (1 + np.exp(-(level[some, None] + slope[some, None] * rows["x"])))
        np.testing.assert_allclose(own, map(np.stack([1 - each, each], -1).mean(0)), rtol=1e-7)
        assert np.abs(want - er.calibration(plain, rows).probabilities).max() > 0.05
        bodies = [{"x": float(x), "y": int(k)} for x, k in zip(rows["x"], rows["y"], strict=True)]
        scored = ask(made, "/v1/score", {"rows": bodies})[2]["rows"]
        for row, probabilities, k in zip(scored, own, rows["y"], strict=True):
            assert row["log_prob"] == pytest.approx(np.log(probabilities[k]), abs=1e-8)
            assert 0 <= row["se"] < 0.02
        with pytest.raises(er.UnsupportedError, match=f"'y', which {kind} mends"):
            er.export(fitted, tmp_path / "risk.jax")
    finally:
        made.close()


def test_intervals_are_cut_where_the_map_says(posterior, registry):
    """Quantiles of `predict` at mended levels; the mean is that of the mended law, here wider by half to either side."""
    rng = np.random.default_rng(8)
    slope = posterior.draws["posterior"]["slope"].mean().item()
    rows = {"place": rng.choice(GROUPS, 500), "x": np.round(rng.normal(size=500), 3)}
    levels = posterior.draws["posterior"]["level"].mean(("chain", "draw"))
    own = dict(zip(levels.coords[levels.dims[0]].to_numpy().tolist(), levels.to_numpy(), strict=True))
    rows["y"] = np.array([own[p] for p in rows["place"]]) + slope * rows["x"] + 2.0 * rng.normal(size=500)
    map = er.calibration(posterior, rows).levels()
    fitted = posterior.calibrated(map)
    registry.promote("wider", registry.add(fitted, "wider"))
    made = started(registry, "wider@live")
    try:
        drawn = (
            fitted.predict(place=["north"], x=[0.25], num_draws=2000, seed=0)["posterior_predictive"]["y"]
            .to_numpy()
            .ravel()
        )
        found = predicted(made, ROW)[0]["y"]
        for name, share in zip(("q5", "median", "q95"), map.quantiles([0.05, 0.5, 0.95]), strict=True):
            assert found[name] == pytest.approx(np.quantile(drawn, share), rel=1e-8)
        assert found["q95"] - found["q5"] > 1.4 * (np.quantile(drawn, 0.95) - np.quantile(drawn, 0.05))
        uniform = rng.uniform(size=200_000)  # mended levels of draws of the mended law are uniform
        law = np.quantile(drawn, map.quantiles(uniform))
        assert found["sd"] == pytest.approx(law.std(), rel=0.02) and found["sd"] > 1.3 * drawn.std()
        assert found["mean"] == pytest.approx(law.mean(), abs=0.03)
        assert (
            "whose predictions a map mends"
            in ask(made, "/v1/score", {"rows": [{**ROW, "y": 1.0}]})[2]["error"]["words"]
        )
    finally:
        made.close()


@er.model
def imputing(w, x, y=None):
    """A covariate with a law of its own, and an outcome that depends on it."""
    a = er.sample("a", er.Normal(0, 1))
    b = er.sample("b", er.Normal(0, 2))
    with er.plate("row", len(w)):
        x = er.observe("x", er.Normal(a * w, 0.5), x)
        er.observe("y", er.Normal(b * x, 0.3), y)


def test_a_predictor_that_has_a_law_is_given_or_null(registry):
    """Answers are those of `predict`, of both kinds of rows in one batch."""
    rng = np.random.default_rng(3)
    w = np.round(rng.normal(size=60), 3)
    x = np.round(0.5 * w + 0.5 * rng.normal(size=60), 3)
    y = 2 * x + 0.3 * rng.normal(size=60)
    x[::5] = np.nan
    fitted = er.fit(imputing(w, x, y), progress=False)
    registry.promote("imputing", registry.add(fitted, "imputing"))
    made = started(registry, "imputing@live", imputing, gate="flag", cached=0)
    try:
        given, lost = {"w": 0.1, "x": 1.2}, {"w": 0.1, "x": None}
        found = predicted(made, given, lost, given)
        assert found[0] == found[2] == predicted(made, given)[0] and found[1] == predicted(made, lost)[0]
        assert "x" not in found[0] and found[1]["x"]["sd"] == pytest.approx(0.5, rel=0.1)
        for row, value in ((found[0], 1.2), (found[1], np.nan)):
            drawn = fitted.predict(w=[0.1], x=[value], num_draws=2000, seed=0)["posterior_predictive"]
            for name, level in (("q5", 0.05), ("q95", 0.95)):
                assert row["y"][name] == pytest.approx(np.quantile(drawn["y"], level), rel=1e-5)
        assert [row["in_range"] for row in found] == [True, True, True]
        assert ask(made, "/v1/predict", {"rows": [{"w": None, "x": 1.0}]})[0] == 422
        assert ask(made, "/v1/predict", {"rows": [{"w": 0.1}]})[0] == 422
    finally:
        made.close()


@er.model
def choosing(x, c=None):
    """Classes that depend on another outcome."""
    b = er.sample("b", er.Normal(0, 2))
    with er.plate("row", len(x)):
        x = er.observe("x", er.Normal(0, 1), x)
        er.observe("c", er.Bernoulli(logits=b * x), c)


def test_classes_are_those_of_the_row_not_of_one_that_was_fitted(registry):
    """Probabilities by the row's own value of what they depend on; of one that lacks it, on average over its law."""
    fitted = er.fit(choosing(X, (X + RNG.logistic(size=60) > 0).astype(int)), progress=False)
    registry.promote("choosing", registry.add(fitted, "choosing"))
    made = started(registry, "choosing@live", choosing, gate="flag", most_batched=2)
    try:
        found = predicted(made, {"x": 1.2}, {"x": None})
        b = fitted.draws["posterior"]["b"].to_numpy().ravel()
        some = b[np.unique(np.linspace(0, len(b) - 1, 500).astype(int))]
        exact = (1 / (1 + np.exp(-some * 1.2))).mean()
        assert found[0]["c"]["probabilities"]["1"] == pytest.approx(exact, rel=1e-6)
        assert found[1]["c"]["probabilities"]["1"] == pytest.approx(0.5, abs=0.05)
        assert [(row["verdict"], row["in_range"]) for row in found] == [("trusted", True), ("caution", False)]
    finally:
        made.close()


def test_scores_do_not_depend_on_what_the_first_row_lacks(registry):
    """Of a fit whose first outcome is missing."""
    y = np.where(np.arange(60) % 7 == 0, np.nan, Y)
    fitted = er.fit(lines(PLACE, X, y), progress=False)
    registry.promote("holes", registry.add(fitted, "holes"))
    made = started(registry, "holes@live")
    try:
        status, _, found = ask(made, "/v1/score", {"rows": [{**ROW, "y": 1.0}]})
        assert status == 200
        draws = fitted.draws["posterior"]
        level = draws["level"].sel({draws["level"].dims[-1]: "north"}).to_numpy().ravel()
        slope = draws["slope"].to_numpy().ravel()
        some = np.unique(np.linspace(0, len(level) - 1, 500).astype(int))
        each = np.exp(-0.5 * (1.0 - level[some] - slope[some] * 0.25) ** 2) / np.sqrt(2 * np.pi)
        assert found["rows"][0]["log_prob"] == pytest.approx(np.log(each.mean()), rel=1e-6)
        assert ask(made, "/v1/score", {"rows": [{**ROW, "y": None}]})[0] == 422
    finally:
        made.close()


@pytest.mark.parametrize(
    "cell",
    [["1", "2", "3"], [True, False, True], [1.0, None, 2.0], [1.0, [2.0], 3.0], [{}, 1, 2], [1.0, 2.0], 1.0],
)
def test_cells_of_arrays_are_numbers_too(cell):
    column = Wanted("x", (3,), np.dtype(float))
    with pytest.raises(Refused):
        column.taken([[1.0, 2.0, 3.0], cell], "flag")
    assert column.taken([[1, 2.5, 2**70]], "flag")[0][0, 2] == 2.0**70


def test_numbers_may_be_missing_where_a_column_says_so():
    fields = er.schema({"x": np.linspace(1.0, 2.0, 50)}).fields
    some = Wanted("x", (), np.dtype(float), ranges=Ranges.of("x", (), fields), gap=True)
    values, inside = some.taken([1.5, None, 5.0], "flag")
    assert np.isnan(values).tolist() == [False, True, False] and inside.tolist() == [True, False, False]
    assert replace(some, holed=True).taken([None], "refuse")[1].tolist() == [True]
    with pytest.raises(Refused, match="finite"):
        some.taken([float("inf")], "flag")


def test_rows_that_see_each_other_are_not_answered_one_by_one(registry):
    """A model that centres its data itself: of a row alone nothing would be left."""

    @er.model
    def centred(x, y=None):
        slope = er.sample("slope", er.Normal(0, 2))
        with er.plate("row", len(x)):
            er.observe("y", er.Normal(slope * (x - er.math.mean(x)), 1.0), y)

    fitted = er.fit(centred(X + 10, Y), progress=False)
    registry.promote("centred", registry.add(fitted, "centred"))
    made = started(registry, "centred@live", centred)
    try:
        for path, row in (("/v1/predict", {"x": 10.5}), ("/v1/score", {"x": 10.5, "y": 1.0})):
            status, _, found = ask(made, path, {"rows": [row]})
            assert status == 501 and "do not see each other" in found["error"]["words"]
    finally:
        made.close()
