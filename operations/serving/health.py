"""Whether the process lives and is ready, and a thread that says so however busy the others are."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ...ppl.errors import InferenceError, explain, in_short
from .thresholds import HEALTH_TIMEOUT, STUCK_SECONDS


class State:
    """What health is asked of.

    Attributes
    ----------
    ending : bool
        Whether the process was told to end.
    """

    def __init__(self, live: Any, batcher: Any):
        self._live, self._batcher = live, batcher
        self.ending = False

    def alive(self) -> tuple[bool, str]:
        """Whether the process does its work, and words: one that is not has to be started again."""
        since = self._batcher.busy_since
        stuck = since is not None and time.monotonic() - since > STUCK_SECONDS
        return (False, "a call does not end") if stuck else (True, "alive")

    def ready(self) -> tuple[bool, str]:
        """Whether requests are answered, and words for anybody."""
        if self.ending:
            return False, "ending"
        served = self._live.current
        if served is None:
            return False, "not loaded: the log says why" if self._live.problem else "loading"
        words = f"version {served.version.number}"
        return True, f"{words}; another is wanted: the log says why not" if self._live.problem else words


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_port = True  # of several processes any answers

    def handle_error(self, request, client_address):
        """Nothing: whoever asks may go away."""


def serve_health(state: State, host: str, port: int) -> ThreadingHTTPServer:
    """Answer ``/healthz/live`` and ``/healthz/ready`` in a thread.

    Raises
    ------
    InferenceError
        For a place that nobody can listen at.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = HEALTH_TIMEOUT

        def do_GET(self):
            known = {"/healthz/live": state.alive, "/healthz/ready": state.ready}.get(self.path)
            well, words = known() if known is not None else (False, "no such path")
            content = json.dumps({"status": words}).encode()
            self.send_response(200 if well else 404 if known is None else 503)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format, *args):
            """Nothing: it is asked every few seconds."""

    try:
        server = _Server((host, max(port, 0)), Handler)
    except (OSError, OverflowError) as error:
        where, remedy = f"health port {port} of '{host}'", "choose another one, or -1 for any"
        raise InferenceError(explain(where, "a port that is free", in_short(error), remedy)) from error
    threading.Thread(target=server.serve_forever, name="elboroom-health", daemon=True).start()
    return server
