"""Answers over HTTP: how long they take with 1, 8 and 64 clients, with batches and without, beside other servers with the same function.

    python benchmarks/serve.py [--seconds 2] [--repeats 5] [--peer litserve] [--peer bentoml] [--requests 0]

A posterior of radon in 919 homes is served on 127.0.0.1; each client sends one row, waits for the answer and sends the next. All
servers parse, check and predict by the same code, of 2,000 draws, without a cache; rows differ. Peers need ``pip install litserve`` or
``bentoml``, each with batches of up to 64 rows and with none. Servers take turns, in another order in each round; told are medians
over the rounds, and of the ratios within each round the median, the least and the greatest. Bounded: a round takes the seconds times three
times the servers. ``--requests 1000000`` sends so many to ours by 64 clients and tells of its memory on the way.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np

CLIENTS = (1, 8, 64)
OURS, PEERS = "elboroom", ("litserve", "bentoml")
SETTINGS = {"cached": 0, "most_waiting": 100_000}


def kept(folder: Path):
    """A registry with the posterior of radon."""
    import elboroom as er
    from elboroom.demo import fit_radon

    registry = er.Registry(folder / "models")
    registry.promote("radon", registry.add(fit_radon(), "radon"), because="a benchmark")
    return registry.place


# -- servers ---------------------------------------------------------------------------------------------


def run_ours(place: str, port: int, batching: bool) -> None:
    """Our service."""
    import elboroom as er
    from elboroom.demo import radon

    er.serve(place, "radon@live", model=radon, port=port, batching=batching, **SETTINGS)


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Server:
    """A server as a process, once it answers."""

    def __init__(self, kind: str, place: Path, batching: bool):
        self.port = free_port()
        own = [__file__, "--run"] if kind == OURS else [str(Path(__file__).with_name(f"serve_{kind}.py"))]
        command = [sys.executable, *own, "--place", str(place), "--port", str(self.port)]
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [*command, "--batching", str(int(batching))],
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        deadline = time.monotonic() + 180
        while not self._answers():
            if time.monotonic() > deadline or self.process.poll() is not None:
                self.log.seek(0)
                raise SystemExit(self.log.read().decode()[-3000:])
            time.sleep(0.2)

    def _answers(self) -> bool:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/v1/predict", body(0), {"Content-Type": "application/json"}
        )
        try:
            return urllib.request.urlopen(request, timeout=5).status == 200
        except OSError:
            return False

    def memory(self) -> float:
        """MiB that it has in memory."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.split("VmRSS:")[1].split()[0]) / 1024

    def end(self) -> None:
        """End it, and what it has started."""
        os.killpg(self.process.pid, 15)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, 9)
            self.process.wait()


# -- clients ---------------------------------------------------------------------------------------------


def body(number: int) -> bytes:
    """A row of its own."""
    row = {"county": "Aitkin", "floor": number % 2, "log_uranium": round(0.3 + number % 7919 / 16_000, 6)}
    return json.dumps({"rows": [row]}).encode()


class Client(asyncio.Protocol):
    """Sends a request, waits for the answer, and sends the next."""

    def __init__(self, until: float, first: int, step: int, most: float, waits: list[float]):
        self.until, self.number, self.step, self.left, self.waits = until, first, step, most, waits
        self.done = asyncio.get_running_loop().create_future()
        self.buffer = b""

    def connection_made(self, transport):
        self.transport = transport
        self._ask()

    def _ask(self):
        if time.perf_counter() >= self.until or self.left <= 0:
            self.transport.close()
            self.done.set_result(None)
            return
        content = body(self.number)
        self.number += self.step
        self.left -= 1
        self.begin = time.perf_counter()
        self.transport.write(
            b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            % len(content) + content
        )  # fmt: skip

    def data_received(self, data):
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        if len(rest) < length:
            return
        assert b" 200 " in head.split(b"\r\n")[0], self.buffer[:500]
        self.waits.append(time.perf_counter() - self.begin)
        self.buffer = b""
        self._ask()

    def connection_lost(self, exc):
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("closed"))


async def loop(port: int, clients: int, seconds: float, requests: float) -> tuple[list[float], float]:
    """Seconds that each answer took, and those of all."""
    waits: list[float] = []
    begin = time.perf_counter()
    each = requests / clients
    made = [
        await asyncio.get_running_loop().create_connection(
            lambda i=i: Client(begin + seconds, i, clients, each, waits), "127.0.0.1", port
        )
        for i in range(clients)
    ]
    await asyncio.gather(*(client.done for _, client in made))
    return waits, time.perf_counter() - begin


def measured(port: int, clients: int, seconds: float = 1e9, requests: float = 1e18) -> dict[str, float]:
    """Milliseconds of quantiles of answers, and answers a second; by a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        waits, spent = pool.apply(_run, (port, clients, seconds, requests))
    p50, p95, p99 = np.quantile(waits, (0.5, 0.95, 0.99)) * 1000
    return {"p50": p50, "p95": p95, "p99": p99, "rate": len(waits) / spent}


def _run(port, clients, seconds, requests):
    return asyncio.run(loop(port, clients, seconds, requests))


# -- tables ----------------------------------------------------------------------------------------------


def compare(place: Path, seconds: float, repeats: int, peers: list[str]) -> None:
    """All servers side by side, rounds in turns."""
    kinds = [(name, batching) for name in (OURS, *peers) for batching in (True, False)]
    servers: dict = {}
    found: dict = {(clients, kind): [] for clients in CLIENTS for kind in kinds}
    try:
        for kind in kinds:
            servers[kind] = Server(kind[0], place, kind[1])
            measured(servers[kind].port, 8, 1.0)
        for number in range(repeats):
            turn = kinds[number % len(kinds) :] + kinds[: number % len(kinds)]
            for clients in CLIENTS:
                for kind in turn:
                    found[clients, kind].append(measured(servers[kind].port, clients, seconds))
    finally:
        for server in servers.values():
            server.end()
    print("| clients | server | P50 ms | P95 ms | P99 ms | answers/s |\n|---|---|---|---|---|---|")
    for (clients, (name, batching)), rounds in found.items():
        own = {n: float(np.median([r[n] for r in rounds])) for n in rounds[0]}
        how = "batches" if batching else "one by one"
        print(
            f"| {clients} | {name}, {how} | {own['p50']:.1f} | {own['p95']:.1f} | {own['p99']:.1f} | {own['rate']:,.0f} |"
        )
    for peer in peers:
        for clients in CLIENTS:
            print(
                f"{clients} clients, elboroom with batches to the better of {peer}'s two: {ratios(found, clients, peer)}"
            )


def ratios(found: dict, clients: int, peer: str) -> str:
    """Of each round, ours with batches to the better of a peer's two."""
    ours, others = found[clients, (OURS, True)], [found[clients, (peer, b)] for b in (True, False)]
    slower = [own["p95"] / min(a["p95"], b["p95"]) for own, a, b in zip(ours, *others, strict=True)]
    more = [own["rate"] / max(a["rate"], b["rate"]) for own, a, b in zip(ours, *others, strict=True)]
    return ", ".join(
        f"{words} {np.median(each):.2f} × ({min(each):.2f} to {max(each):.2f})"
        for words, each in (("P95", slower), ("answers", more))
    )


def endure(place: Path, requests: int) -> None:
    """Many requests to ours, and its memory on the way."""
    server = Server(OURS, place, True)
    try:
        measured(server.port, 64, requests=min(20_000, requests))
        before = server.memory()
        print(f"{before:.0f} MiB after 20,000 requests")
        for part in range(10):
            own = measured(server.port, 64, requests=requests / 10)
            print(f"{(part + 1) * requests // 10:,} more: {server.memory():.0f} MiB, {own['rate']:,.0f}/s, P99 {own['p99']:.1f} ms", flush=True)  # fmt: skip
    finally:
        server.end()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peer", action="append", choices=PEERS, default=[])
    parser.add_argument("--requests", type=int, default=0)
    parser.add_argument("--place", type=Path)
    parser.add_argument("--run", action="store_true", help="be the server")
    parser.add_argument("--port", type=int)
    parser.add_argument("--batching", type=int)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the servers that it has started end with it
    if args.run:
        run_ours(str(args.place), args.port, bool(args.batching))
    else:
        with tempfile.TemporaryDirectory() as folder:
            where = args.place or kept(Path(folder))
            compare(where, args.seconds, args.repeats, args.peer)
            if args.requests:
                endure(where, args.requests)
