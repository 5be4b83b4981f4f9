"""Trackers: what they keep, that they change nothing, and that their troubles cost a finding alone."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import random
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from elboroom.inference.thresholds import GRADIENT_AT_REST
from elboroom.operations import logs
from elboroom.operations.trackers import MIRRORS
from elboroom.operations.trackers.delivery import Delivery
from elboroom.operations.trackers.tracker import Tracker, due

import elboroom as er


@er.model
def schools(error, effect):
    """Eight schools, whose groups give the ladder something to do."""
    mu = er.sample("mu", er.Normal(0, 5))
    tau = er.sample("tau", er.HalfNormal(5))
    with er.plate("school", len(error)):
        theta = er.sample("theta", er.Normal(mu, tau))
        er.observe("effect", er.Normal(theta, error), effect)


@er.model
def level(y):
    mu = er.sample("mu", er.Normal(0, 10))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(mu, 1), y)


ERROR, EFFECT = np.array([15.0, 10, 16, 11, 9, 11, 10, 18]), np.array([28.0, 8, -3, 7, -1, 1, 18, 12])
Y = [1.0, 2.0, 3.0]


class Broken:
    """A place that raises, or never answers."""

    scheme, needs, extra = "broken", "", ""

    def __init__(self, how):
        self.how, self.calls = how, 0

    def write(self, events):
        self.calls += 1
        self.how(self.calls)
        return len(events)


class Listed:
    scheme, needs, extra = "listed", "", ""

    def __init__(self):
        self.events = []

    def write(self, events):
        self.events.append(events[0])
        return 1


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A fit that all places of this machine are told of, and one that nobody is."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    kept, folder = InMemorySpanExporter(), tmp_path_factory.mktemp("runs")
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    trace.set_tracer_provider(provider)
    tracker = Tracker(folder / "own", f"tensorboard:{folder / 'board'}", "tracing:")
    with trace.get_tracer("caller").start_as_current_span("job"):
        posterior = er.fit(schools(ERROR, EFFECT), seed=3, progress=False, track=tracker)
    alone = er.fit(schools(ERROR, EFFECT), seed=3, progress=False)
    return {"posterior": posterior, "alone": alone, "folder": folder, "spans": kept.get_finished_spans()}


def lines_of(folder: Path) -> list[dict]:
    (file,) = folder.glob("*/events.jsonl")
    return [json.loads(one, parse_constant=pytest.fail) for one in file.read_text().splitlines()]


def test_same_seed_same_result_with_and_without(told):
    posterior, alone = told["posterior"], told["alone"]
    np.testing.assert_array_equal(posterior.z, alone.z)
    assert posterior.verdict == alone.verdict
    assert [str(f) for f in posterior.findings] == [str(f) for f in alone.findings]


def test_nobodys_generators_are_used(tmp_path):
    before = random.getstate(), np.random.get_state()[1].tolist()
    er.fit(level(Y), progress=False, track=er.Tracker(tmp_path / "own", f"tensorboard:{tmp_path / 'board'}"))
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before


def test_lines_of_a_fit(told):
    events, posterior = lines_of(told["folder"] / "own"), told["posterior"]
    assert [event["event"] for event in (events[0], events[-1])] == ["begin", "end"]
    assert events[0]["settings"]["seed"] == 3
    assert events[0]["settings"]["data_fingerprint"] == posterior.data_fingerprint
    steps = [
        event["values"]["bound"]
        for event in events
        if event["event"] == "step" and "bound" in event["values"]
    ]
    assert len(steps) > 3 and steps == posterior.draws["fit"]["elbo"].to_numpy().tolist()
    rungs = [event["rung"] for event in events if event["event"] == "line"]
    assert [r["name"] for r in rungs] == [r.name for r in posterior.trail if "not run" not in r.reason]
    assert sum(r["num_gradients"] for r in rungs) <= posterior.cost.num_gradients
    end = events[-1]
    assert end["verdict"] == posterior.verdict and end["counts"] == posterior.counts
    assert end["cost"]["num_gradients"] == posterior.cost.num_gradients
    assert {f["name"] for f in end["findings"]} == {f.name for f in posterior.findings}
    assert all(set(event) <= logs.NAMES for event in events)


def test_files_of_a_fit(tmp_path):
    posterior = er.fit(level(Y), progress=False, track=er.Tracker(tmp_path, report=True))
    (folder,) = tmp_path.iterdir()
    files = {"events.jsonl", "report.html", "report.json", "report.md", "summary.csv", "trail.csv"}
    assert {path.name for path in folder.iterdir()} == files
    norms = [e["values"]["gradient_norm"] for e in lines_of(tmp_path) if e["event"] == "step"]
    assert 0 < norms[-1] < GRADIENT_AT_REST
    rows = {row[0]: row for row in csv.reader(io.StringIO((folder / "summary.csv").read_text()))}
    assert float(rows["mu"][1]) == posterior.summary().loc["mu", "mean"]
    assert json.loads((folder / "report.json").read_text())["verdict"] == posterior.verdict


def records(content: bytes):
    """Records of a file of TensorBoard's, each with its length and masked checksums."""
    from tensorboardX.crc32c import crc32c

    def masked(data: bytes) -> int:
        crc = crc32c(data)
        return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF

    place = 0
    while place < len(content):
        length, crc = struct.unpack_from("<QI", content, place)
        assert crc == masked(content[place : place + 8])
        data = content[place + 12 : place + 12 + length]
        assert struct.unpack_from("<I", content, place + 12 + length)[0] == masked(data)
        yield data
        place += 16 + length


def test_tensorboards_file_read_back(told):
    from tensorboardX.proto.event_pb2 import Event

    (file,) = (told["folder"] / "board").glob("*/events.out.*")
    found = [Event.FromString(data) for data in records(file.read_bytes())]
    bounds = {
        (value.tag, event.step): value.simple_value
        for event in found
        for value in event.summary.value
        if value.tag.endswith("/bound")
    }
    own = {
        (f"{e['stage'].replace(' ', '_')}/bound", e["step"]): e["values"]["bound"]
        for e in lines_of(told["folder"] / "own")
        if e["event"] == "step" and "bound" in e["values"]
    }
    assert bounds == pytest.approx(own, rel=1e-6) and len(own) > 3
    words = b"".join(
        value.tensor.string_val[0] for e in found for value in e.summary.value if value.tensor.string_val
    )
    assert f"**{told['posterior'].verdict}**".encode() in words


def test_spans_of_a_fit(told):
    spans = {span.name: span for span in told["spans"]}
    fit, posterior = spans["elboroom.fit"], told["posterior"]
    assert fit.parent.span_id == spans["job"].context.span_id
    assert fit.attributes["elboroom.verdict"] == posterior.verdict
    assert fit.attributes["elboroom.khat"] == pytest.approx(posterior.khat, nan_ok=True)
    stages = [span for span in told["spans"] if span.parent and span.parent.span_id == fit.context.span_id]
    assert {span.name for span in stages} == {
        f"elboroom.{r.name}" for r in posterior.trail if "not run" not in r.reason
    }
    for span in stages:
        seconds = (span.end_time - span.start_time) / 1e9
        assert seconds == pytest.approx(span.attributes["elboroom.seconds"], abs=2e-3)
        assert span.end_time <= fit.end_time
    assert any("elboroom.khat" in span.attributes for span in stages)
    assert sum(span.attributes["elboroom.seconds"] for span in stages) <= fit.attributes["elboroom.seconds"]


def test_spans_of_what_goes_on_after_a_rest():
    """Each part is a span of its own, which has ended."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    kept = InMemorySpanExporter()
    trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(kept))
    told = Tracker("tracing:").begun("svi", "m", {"seed": 1})
    for step in (1, 2):
        told.step("ascent", step, {"bound": 1.0})
        told.rested()
    spans = kept.get_finished_spans()
    assert [span.name for span in spans] == ["elboroom.svi"] * 2
    assert spans[0].end_time <= spans[1].start_time and spans[1].attributes["elboroom.seed"] == 1


def test_course_of_chains(tmp_path):
    posterior = er.fit(level(Y), progress=False)
    refined = posterior.refine(
        num_chains=4, num_draws=50, progress=False, track=er.Tracker(tmp_path / "chains")
    )
    events = lines_of(tmp_path / "chains")
    assert events[0]["kind"] == "refine" and events[-1]["verdict"] == refined.verdict
    assert [e["rung"]["name"] for e in events if e["event"] == "line"] == ["refine"]


def test_course_of_own_loops(tmp_path):
    svi = er.SVI(level(Y), seed=1, track=er.Tracker(tmp_path, f"tensorboard:{tmp_path / 'board'}"))
    elbos = np.concatenate([svi.run(1000, progress=False), svi.run(500, progress=False)])
    events = lines_of(tmp_path)
    steps = [e for e in events if e["event"] == "step"]
    (board,) = (tmp_path / "board").glob("*/events.out.*")
    end = time.monotonic() + 20  # a run does not wait for a place that is slow

    def arrived() -> int:
        return sum(b"ascent/bound" in one for one in records(board.read_bytes()))

    while arrived() < len(steps) and time.monotonic() < end:
        time.sleep(0.05)
    assert arrived() == len(steps)
    assert steps[-1]["step"] == 1500 and svi.findings == ()
    each = steps[0]["step"]
    assert steps[0]["values"]["bound"] == pytest.approx(elbos[:each].mean())
    assert [e["event"] for e in events].count("rest") == 2
    np.testing.assert_array_equal(er.SVI(level(Y), seed=1).run(1000, progress=False), elbos[:1000])


def test_a_fit_within_a_fit_is_one_run(tmp_path):
    er.fit(level(Y), progress=False, refine="always", num_draws=100, track=er.Tracker(tmp_path))
    events = lines_of(tmp_path)
    assert [e["event"] for e in events].count("begin") == 1 == [e["event"] for e in events].count("end")
    assert events[-2]["rung"]["name"] == "refine"


def test_a_fit_that_fails_is_told(tmp_path):
    with pytest.raises(er.GuideError):
        er.fit(level(Y), guide="none of these", track=er.Tracker(tmp_path))
    events = lines_of(tmp_path)
    assert [e["event"] for e in events] == ["begin", "fail"] and events[1]["error"].startswith("GuideError")


# -- troubles --------------------------------------------------------------------------------------------


class Server(BaseHTTPRequestHandler):
    """Answers 500, or never."""

    hang = threading.Event()
    hangs = False

    def do_GET(self):
        if self.hangs:
            self.hang.wait(20)
            return
        self.send_response(500)
        self.end_headers()

    do_POST = do_GET

    def log_message(self, *args):
        pass


def trouble_of(places, patch=None) -> tuple:
    begin = time.perf_counter()
    alone = er.fit(level(Y), seed=2, progress=False)
    usual, begin = time.perf_counter() - begin, time.perf_counter()
    posterior = er.fit(level(Y), seed=2, progress=False, track=Tracker(*places))
    np.testing.assert_array_equal(posterior.z, alone.z)
    assert posterior.verdict == alone.verdict == "trusted"
    assert time.perf_counter() - begin < usual + 10  # three seconds, with room for a busy machine
    (found,) = [f for f in posterior.findings if f.name == "tracker"]
    assert found.verdict == "ok"
    return found


def test_a_full_disk_costs_a_finding(tmp_path, monkeypatch):
    from elboroom.operations.trackers.folder import Folder

    usual = Folder.__init__

    def full(self, rest, run):
        usual(self, rest, run)
        self.folder.mkdir(parents=True)
        (self.folder / "events.jsonl").symlink_to("/dev/full")

    monkeypatch.setattr(Folder, "__init__", full)
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    found = trouble_of([tmp_path / "runs"])
    assert "No space left" in found.advice and found.value > 0


def test_a_folder_that_is_a_file_costs_a_finding(tmp_path):
    (tmp_path / "runs").write_text("mine")
    found = trouble_of([tmp_path / "runs"])
    assert str(tmp_path / "runs") in found.advice and (tmp_path / "runs").read_text() == "mine"


@pytest.mark.parametrize("hangs", [False, True])
def test_a_server_in_trouble_costs_a_finding(hangs, monkeypatch):
    from elboroom.operations.trackers import mlflow, tracker

    monkeypatch.setattr(tracker, "library", lambda *args: None)  # the server is asked before the library
    monkeypatch.setattr(mlflow, "TRACKER_PROBE", 0.3)
    monkeypatch.setattr(tracker, "TRACKER_SECONDS", 1.0)
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), type("Own", (Server,), {"hangs": hangs, "hang": threading.Event()})
    )
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        found = trouble_of([f"mlflow:http://me:secret@127.0.0.1:{server.server_port}"])
    finally:
        server.RequestHandlerClass.hang.set()
        server.shutdown()
    assert "secret" not in found.advice and f"127.0.0.1:{server.server_port}" in found.advice
    assert ("timed out" in found.advice or "no answer" in found.advice) if hangs else "500" in found.advice


def test_a_server_that_is_down_costs_a_finding(monkeypatch):
    from elboroom.operations.trackers import tracker

    monkeypatch.setattr(tracker, "library", lambda *args: None)
    assert "refused" in trouble_of(["mlflow:http://127.0.0.1:9"]).advice


def test_others_are_told_where_one_is_in_trouble(tmp_path):
    (tmp_path / "file").write_text("mine")
    found = trouble_of([tmp_path / "file", tmp_path / "runs"])
    assert str(tmp_path / "file") in found.advice
    assert lines_of(tmp_path / "runs")[-1]["verdict"] == "trusted"


def test_what_fails_once_is_sent_again():
    mirror = Listed()
    usual = mirror.write

    def once(events):
        if len(mirror.events) < 2:
            return usual(events)
        mirror.write = usual
        raise ConnectionError("reset")

    mirror.write = once
    way = Delivery("x", mirror)
    for i in range(5):
        way.tell({"event": "line", "i": i})
    assert way.arrived(5) and [e["i"] for e in mirror.events] == list(range(5))
    assert way.lost == 0 and way.error == ""


def test_a_place_that_never_answers_is_waited_for_in_vain():
    gate = threading.Event()
    way = Delivery("x", Broken(lambda _: gate.wait(20)))
    way.tell({"event": "end"})
    begin = time.perf_counter()
    assert not way.arrived(0.2)
    assert time.perf_counter() - begin < 5
    way.tell({"event": "step"})
    assert not way.arrived(20)  # nothing has moved: one wait in vain is enough
    assert time.perf_counter() - begin < 10
    gate.set()
    deadline = time.monotonic() + 20
    while not (there := way.arrived(0.1)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert there


def test_events_that_nobody_takes_are_counted(monkeypatch):
    from elboroom.operations.trackers import delivery

    monkeypatch.setattr(delivery, "TRACKER_EVENTS", 10)
    gate = threading.Event()
    way = Delivery("x", Broken(lambda _: gate.wait(20)))
    way.tell({"event": "line"})
    time.sleep(0.05)  # the first is under way
    for _ in range(30):
        way.tell({"event": "line"})
    assert 19 <= way.lost <= 21
    gate.set()


def test_half_a_line_is_taken_away_again(tmp_path, monkeypatch):
    mirror, usual = MIRRORS[0](str(tmp_path), "run"), Path.open
    mirror.write([{"event": "rest"}])

    class Full(io.FileIO):
        def write(self, content):
            return super().write(content[:5])

    monkeypatch.setattr(Path, "open", lambda self, *args, **settings: Full(self, "ab"))
    with pytest.raises(OSError, match="No space"):
        mirror.write([{"event": "rest"}])
    monkeypatch.setattr(Path, "open", usual)
    mirror.write([{"event": "rest"}])
    assert (tmp_path / "run" / "events.jsonl").read_text() == '{"event": "rest"}\n' * 2


def test_nothing_stays_open_once_all_is_told(tmp_path):
    """Thousands of fits of one process leave no threads and no files behind."""
    before = threading.active_count(), len(os.listdir("/proc/self/fd")) if os.path.exists("/proc") else 0
    runs = [Tracker(tmp_path, "tracing:").begun("fit", "m", {}) for _ in range(5)]
    for told in runs:
        assert told.rested() == ()
    deadline = time.monotonic() + 5
    while threading.active_count() > before[0] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before[0]
    assert not before[1] or len(os.listdir("/proc/self/fd")) <= before[1]


def test_no_thread_to_be_had_costs_a_finding(tmp_path, monkeypatch):
    def none(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none)
    assert "can't start new thread" in trouble_of([tmp_path]).advice


def test_no_password_is_in_a_finding(monkeypatch):
    def refused(_):
        raise OSError("no route to http://me:secret@host:5000/api")

    way = Delivery("x", Broken(refused))
    way.tell({"event": "end"})
    assert way.arrived(5) and way.lost == 1 and way.error == "OSError: no route to http://host:5000/api"


def test_a_place_that_is_named_twice_is_told_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tracker = Tracker("runs", tmp_path / "runs")
    monkeypatch.chdir("/")
    told = tracker.begun("fit", "m", {})
    told.rested()
    assert [e["event"] for e in lines_of(tmp_path / "runs")] == ["begin", "rest"]


# -- bad input, rates and logs ---------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["abacus:x", "", 3, "tensorboard:"])
def test_places_that_there_are_not(place):
    with pytest.raises(er.ElboroomError, match=r"er.Tracker.*expected"):
        er.Tracker(place)


def test_a_library_that_is_missing_names_its_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(er.MissingBackendError, match=r"elboroom\[mlflow\]"):
        er.Tracker("mlflow:http://localhost")


def test_what_is_no_tracker(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(er.InferenceError, match=r"track: expected an er.Tracker, got 'runs'"):
        er.fit(level(Y), track="runs")
    with pytest.raises(er.ElboroomError, match="program"):
        er.fit(level, track=Tracker("unused"))
    with pytest.raises(er.InferenceError, match="track"):
        er.SVI(level(Y), track=print)


def test_steps_are_told_at_a_falling_rate():
    assert all(due(n) for n in range(1, 200))
    assert sum(due(n) for n in range(200, 400)) == 100 == sum(due(n) for n in range(3200, 6400))


def test_the_last_step_of_a_stage_is_told(tmp_path):
    told = Tracker(tmp_path).begun("fit", "m", {})
    for step in range(1, 400):
        told.step("a", step, {"bound": float(step)})
    told.step("b", 1, {"bound": float("nan")})
    told.rested()
    steps = [e for e in lines_of(tmp_path) if e["event"] == "step"]
    assert (
        steps[-2]["step"] == 399
        and steps[-1]["values"] == {"bound": None}
        and steps[-1]["not_finite"] == ["bound"]
    )


def test_names_of_runs_stay_in_their_folder(tmp_path):
    told = Tracker(tmp_path / "runs").begun("fit", "../../x y\n", {})
    told.rested()
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_logs_as_json():
    stream = io.StringIO()
    handler = er.json_logs(stream, "DEBUG")
    try:
        er.fit(level(Y), progress=False)
        try:
            raise ValueError("no\nroom")
        except ValueError:
            logging.getLogger("elboroom").exception("it failed\x1b[31m")
    finally:
        logging.getLogger("elboroom").removeHandler(handler)
        logging.getLogger("elboroom").setLevel(logging.NOTSET)
    found = [json.loads(one) for one in stream.getvalue().splitlines()]
    assert any(one["message"] == "fitting the guide" for one in found)
    assert found[-1]["error"] == "ValueError: no\nroom" and "\x1b" not in found[-1]["message"]
    assert all(set(one) <= logs.NAMES for one in found)


@pytest.mark.parametrize("wrong", [{"stream": "log.txt"}, {"level": "LOUD"}, {"level": 1.5}])
def test_logs_to_nowhere_are_refused(wrong):
    before = list(logging.getLogger("elboroom").handlers)
    with pytest.raises(er.DataError, match=f"{next(iter(wrong))}: expected"):
        er.json_logs(**wrong)
    assert logging.getLogger("elboroom").handlers == before


def test_a_field_that_nothing_documents():
    with pytest.raises(er.DataError, match="log line"):
        logs.line({"event": "x", "colour": 1})
