"""A service as a process of its own: under load, attacked, killed, told to end, and looked at in a browser."""

import http.client
import json
import os
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from elboroom.operations import registry as registries
from elboroom.operations.ledger import now
from elboroom.ppl import files

import elboroom as er

pytestmark = pytest.mark.external

MODEL = """
import numpy as np
import elboroom as er

RNG = np.random.default_rng(0)
PLACE = RNG.choice(["north", "south"], 60)
X = np.round(RNG.normal(size=60), 3)
Y = np.where(PLACE == "north", 1.0, -1.0) + X + RNG.normal(size=60)

@er.model
def lines(place, x, y=None):
    slope = er.sample("slope", er.Normal(0, 2))
    with er.plate("place", er.levels(place)):
        level = er.sample("level", er.Normal(0, 2))
    with er.plate("row", len(x)):
        er.observe("y", er.Normal(level[place] + slope * x, 1.0), y)
"""
ROW = {"place": "north", "x": 0.25}
BODY = json.dumps({"rows": [ROW]}).encode()
KIND = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model and a registry of three versions, of which the first is live, and the last is wrong."""
    folder = tmp_path_factory.mktemp("process")
    (folder / "served_lines.py").write_text(MODEL)
    sys.path.insert(0, str(folder))
    import served_lines as own

    saved, wrong = (
        er.fit(own.lines(own.PLACE, own.X, y), progress=False).save(folder / name)
        for name, y in (("saved", own.Y), ("wrong", own.Y - 6 * own.X))
    )

    def filled(draft, posterior, data, attached):
        (draft / "posterior").mkdir()
        for path in (wrong if data else saved).iterdir():
            files.put(draft / "posterior" / path.name, path.read_bytes())
        return {"verdict": "trusted", "fits_data": True, "data_fingerprint": "d", "created": now()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registries, "filled", filled)
        made = er.Registry(folder / "models")
        made.promote("lines", made.add(saved, "lines"))
        made.add(saved, "lines")
        made.add(saved, "lines", data=["slope"])
        yield folder
    sys.path.remove(str(folder))


class Process:
    """``elboroom serve`` in a folder."""

    def __init__(self, place, port, health, *more):
        self.port, self.health = port, health
        command = [sys.executable, "-m", "elboroom", "serve", "lines@live", "--model", "served_lines:lines"]
        command += ["--port", str(port), "--health-port", str(health), "--set", "most_batched=16", *more]
        self.log = open(place / f"{port}.log", "w+")
        self.process = subprocess.Popen(command, cwd=place, stderr=self.log, stdout=self.log)

    def text(self):
        self.log.flush()
        return Path(self.log.name).read_text()

    def until_ready(self, seconds=120):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if fetch(self.health, "/healthz/ready")[0] == 200:
                    return self
            except OSError:
                pass
            time.sleep(0.1)
        raise AssertionError(self.text())

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self.log.close()


def fetch(port, path, body=None, headers=(), method=None, timeout=30):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(
            method or ("GET" if body is None else "POST"),
            path,
            body,
            {**(KIND if body else {}), **dict(headers)},
        )
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def raw(port, content, timeout=30):
    """What comes back for bytes as they are."""
    with socket.create_connection(("127.0.0.1", port), timeout) as one:
        try:
            one.sendall(content)
            out = b""
            while piece := one.recv(65536):
                out += piece
        except (ConnectionResetError, BrokenPipeError):
            return b""
        return out


@pytest.fixture(scope="module")
def served(place, free_port):
    made = Process(place, free_port(), free_port(), "--set", "head_seconds=2", "--set", "connections=500",
                   "--set", "seconds=3")  # fmt: skip
    yield made.until_ready()
    made.end()


def test_requests_are_answered_under_load_and_so_is_health(served):
    """Ten times as many clients as there are cores; health answers within 50 ms all the while."""
    waits, stop = [], threading.Event()

    def watch():
        while not stop.is_set():
            begin = time.perf_counter()
            assert fetch(served.health, "/healthz/live")[0] == 200
            waits.append(time.perf_counter() - begin)
            time.sleep(0.01)

    def client(number):
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
        for i in range(100):
            body = json.dumps({"rows": [{"place": "north", "x": (number * 100 + i) / 4000}]})
            connection.request("POST", "/v1/predict", body, KIND)
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            answer.read()
        return 100

    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(client, range(20))) == 2000
    stop.set()
    watcher.join()
    assert np.median(waits) < 0.05


ATTACKS = {
    "no http": b"\x00\x01\x02\x03" * 100 + b"\r\n\r\n",
    "two lengths": b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 40\r\n\r\n{}",
    "length and chunks": b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n",
    "odd chunks": b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "bad chunk": b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "space before colon": b"POST /v1/predict HTTP/1.1\r\nContent-Length : 2\r\n\r\n{}",
    "folded": b"GET /v1/model HTTP/1.1\r\nA: b\r\n c\r\nHost: \x00\r\n\r\n",
    "long line": b"GET /" + b"a" * 300_000 + b" HTTP/1.1\r\n\r\n",
    "many headers": b"GET /healthz/live HTTP/1.1\r\n" + b"".join(b"x%d: y\r\n" % i for i in range(5000)) + b"\r\n",
    "gigabyte": b"POST /v1/predict HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 1073741824\r\n\r\n" + b"[" * 100_000,
    "up and away": b"GET /v1/../../../../etc/passwd HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "encoded": b"GET /%2e%2e/%2e%2e/etc/passwd%00 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_are_refused_and_the_service_lives(served, name):
    answer = raw(served.port, ATTACKS[name], timeout=20)
    assert answer == b"" or answer.split()[1] in {b"400", b"404", b"413", b"431"}, answer[:200]
    assert answer.count(b"HTTP/1.1") <= 1 and b"root:" not in answer
    assert fetch(served.port, "/v1/predict", BODY)[0] == 200


def test_bytes_at_random_are_refused(served):
    rng = np.random.default_rng(0)
    head = b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    for _ in range(200):
        body = bytearray(BODY)
        for _ in range(rng.integers(1, 4)):
            body[rng.integers(len(body))] = rng.integers(256)
        answer = raw(served.port, head % len(body) + bytes(body))
        assert answer.split()[1] in {b"200", b"400", b"422"}, bytes(body)
    for _ in range(50):
        raw(served.port, rng.bytes(300) + b"\r\n\r\n", timeout=10)
    assert fetch(served.port, "/v1/predict", BODY)[0] == 200


def test_a_body_without_end_is_cut_off(served):
    """A gigabyte in chunks: refused once it is too long, and its connection closed."""
    with socket.create_connection(("127.0.0.1", served.port), 20) as one:
        one.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")  # fmt: skip
        piece, sent = b"10000\r\n" + b" " * 65536 + b"\r\n", 0
        with pytest.raises(OSError):
            for _ in range(16384):
                one.sendall(piece)
                sent += 65536
    assert sent < 64 * 2**20
    assert fetch(served.port, "/v1/predict", BODY)[0] == 200


def test_slow_clients_are_closed(served):
    """A head that does not come, and a body that does not."""
    begin = time.monotonic()
    assert raw(served.port, b"POST /v1/predict HTTP/1.1\r\nHost:") == b""
    assert time.monotonic() - begin < 4
    begin = time.monotonic()
    head = b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
    assert raw(served.port, head).split()[1] == b"408"
    assert time.monotonic() - begin < 6


def test_ten_thousand_open_connections_leave_room_for_others(served):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count, held = min(10_000, hard - 500), []
    try:
        for i in range(count):
            held.append(socket.create_connection(("127.0.0.1", served.port), 10))
            if i % 1000 == 999:
                assert fetch(served.port, "/v1/predict", BODY)[0] == 200
                assert fetch(served.health, "/healthz/live")[0] == 200
    finally:
        for one in held:
            one.close()
    assert fetch(served.port, "/v1/predict", BODY)[0] == 200
    assert "more than 500 connections" in served.text()


def test_the_page_works_in_a_browser(served, tmp_path):
    """It loads its description, asks for the example, and shows the verdict; with nothing from elsewhere."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("there is no Chromium")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}",
               "--virtual-time-budget=8000", "--dump-dom", f"http://127.0.0.1:{served.port}/#predict"]  # fmt: skip
    page = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout
    assert "lines, version 1" in page and "The posterior is trusted." in page
    assert '<td class="trusted">trusted</td><td>yes</td>' in page, page


def test_what_is_told_to_end_answers_what_has_come(place, free_port):
    """SIGTERM under load: every request that was accepted is answered, and the process ends with 0."""
    made = Process(place, free_port(), free_port(), "--set", "linger=0.5").until_ready()
    statuses, closed = [], []

    def client():
        connection = http.client.HTTPConnection("127.0.0.1", made.port, timeout=30)
        while True:
            try:
                connection.request("POST", "/v1/predict", BODY, KIND)
                answer = connection.getresponse()
            except (http.client.RemoteDisconnected, ConnectionError):
                closed.append(time.monotonic())  # between two requests
                return
            answer.read()
            statuses.append(answer.status)
            if answer.getheader("Connection") == "close":
                return

    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(client) for _ in range(8)]
        time.sleep(1)
        made.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        assert fetch(made.health, "/healthz/ready")[0] == 503
        assert fetch(made.port, "/v1/predict", BODY)[0] == 200
        for one in running:
            one.result()
    assert made.process.wait(30) in (0, -signal.SIGTERM)
    assert len(statuses) > 50 and set(statuses) == {200} and not closed
    made.log.close()


def told(port, name, count):
    """So many requests with their outcomes; the versions that answered."""
    rng, connection, versions = (
        np.random.default_rng(len(name)),
        http.client.HTTPConnection("127.0.0.1", port, timeout=30),
        [],
    )

    def post(path, body):
        connection.request("POST", path, json.dumps(body), KIND)
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status == 200, content
        return json.loads(content)

    for i in range(count):
        x = round(float(rng.normal()), 3)
        found = post("/v1/predict", {"rows": [{"place": "north", "x": x}], "key": f"{name} {i}"})
        loss = (found["rows"][0]["y"]["mean"] - 1 - x - rng.normal()) ** 2
        post("/v1/outcomes", {"outcomes": [{"key": f"{name} {i}", "loss": loss}]})
        versions.append(found["version"])
    return versions


def test_a_worse_candidate_is_rolled_back_an_equal_one_goes_on_and_no_request_is_lost(place, free_port):
    """Each behind the same address as what is live, with clients at once; the equal one in two processes, one after the other."""
    ports, found = [free_port(), free_port()], {}
    for number in (2, 3):
        command = [
            sys.executable,
            "-m",
            "elboroom",
            "canary",
            "lines",
            str(number),
            "--out",
            f"{number}.json",
            "--share",
            "0.4",
        ]
        subprocess.run(command, cwd=place, check=True, capture_output=True)
    for number in (2, 2, 3):
        made = Process(place, *ports, "--canary", f"{number}.json", "--set", "look=0.1").until_ready()
        try:
            deadline = time.monotonic() + 60
            while not json.loads(fetch(ports[0], "/v1/canary")[1])["tried"]:
                assert time.monotonic() < deadline, made.text()
                time.sleep(0.05)
            with ThreadPoolExecutor(3) as pool:
                every = pool.map(lambda name: told(ports[0], name, 200), ("a", "bb", "ccc"))
                versions = {version for some in every for version in some}
            time.sleep(0.5)
            found[number] = json.loads(fetch(ports[0], "/v1/canary")[1])
            assert versions == {1, number}
        finally:
            made.end()
    assert found[2]["decision"] in ("go on", "promote") and sum(found[2]["known"]["losses"].values()) == 1200
    assert found[3]["decision"] == "roll back" and not found[3]["tried"]
    assert "rolled back" in er.Registry(place / "models").get("lines", 3).tags["canary"]


def test_workers_that_are_killed_start_again(place, free_port):
    made = Process(place, free_port(), free_port(), "--workers", "2").until_ready()
    try:
        children = _children(made.process.pid)
        assert len(children) == 2
        os.kill(children[0], signal.SIGKILL)
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            now_there = _children(made.process.pid)
            if len(now_there) == 2 and children[0] not in now_there:
                break
            time.sleep(0.2)
        assert len(_children(made.process.pid)) == 2 and children[0] not in _children(made.process.pid)
        made.until_ready()
        assert fetch(made.port, "/v1/predict", BODY)[0] == 200
        assert b'elboroom_requests_total{code="200"' in fetch(made.port, "/metrics")[1]
    finally:
        made.end()


def _children(pid):
    """Workers of a process: those that listen, without the one that counts shared things."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = path.read_text().rsplit(")", 1)[1].split()
            line = (path.parent / "cmdline").read_bytes()
        except (OSError, IndexError):
            continue
        if int(words[1]) == pid and b"spawn_main" in line and words[0] != "Z":
            found.append(int(path.parent.name))
    return sorted(found)


def test_tls_and_tokens(place, free_port):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", place / "key.pem", "-out", place / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    secret = er.Tokens(place / "tokens.json").new("a test", ["predict"])
    made = Process(
        place, free_port(), free_port(), "--cert", "cert.pem", "--key", "key.pem", "--tokens", "tokens.json"
    )
    try:
        made.until_ready()
        context = ssl.create_default_context(cafile=str(place / "cert.pem"))

        def status(token):
            connection = http.client.HTTPSConnection("localhost", made.port, timeout=30, context=context)
            connection.request("POST", "/v1/predict", BODY, {**KIND, "Authorization": f"Bearer {token}"})
            return connection.getresponse().status

        assert [status(secret), status(secret[:-1] + "x")] == [200, 401]
        assert raw(made.port, b"GET /healthz/live HTTP/1.1\r\nHost: a\r\n\r\n") == b""
        old = ssl.create_default_context(cafile=str(place / "cert.pem"))
        with pytest.warns(DeprecationWarning):
            old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        with pytest.raises(OSError), socket.create_connection(("localhost", made.port)) as one:
            old.wrap_socket(one, server_hostname="localhost")
    finally:
        made.end()
