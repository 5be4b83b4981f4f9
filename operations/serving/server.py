"""``er.serve``: the application of a registry's version, run by uvicorn with its limits."""

from __future__ import annotations

import json
import logging
import os
import ssl
import tempfile
from contextlib import contextmanager
from functools import partial
from typing import Any

from ...ppl.errors import InferenceError, explain
from ..extras import library
from ..registry import Registry
from ..trust import Trust
from .app import Service, app
from .health import serve_health
from .settings import Listening, Settings, parted
from .thresholds import HEALTHCHECK_SECONDS
from .tokens import Tokens

LOG = logging.getLogger("elboroom.serving")
LOCAL = ("127.0.0.1", "::1", "localhost")
TOLD = "ELBOROOM_SERVE"
"""The environment variable by which workers are told what they serve."""
SHARED = "PROMETHEUS_MULTIPROC_DIR"


def serve(
    registry: Any,
    name: str,
    model: Any = None,
    tokens: Any = None,
    trust: Any = None,
    audit: Any = None,
    canary: Any = None,
    **settings: Any,
) -> None:
    """Answer over HTTP for what an alias of a registry names, until the process is told to end.

    Parameters
    ----------
    registry : Registry or path
        Where the versions are.
    name : str
        ``"risk@live"``: another version takes over once the alias names it and it is ready. ``"risk/7"`` stays.
    model : Model, Program or str
        What was fitted, or ``"module:name"`` of it: a registry holds no code. Several workers need its name.
    tokens : Tokens or path, optional
        Who may ask for what. Without, the service listens to this machine alone.
    trust : Trust, optional
        With it, versions that none of its keys has signed are refused.
    audit : path, optional
        A folder for a trail of all requests, without their data.
    canary : Canary or path, optional
        A candidate beside what is live, see `elboroom.app`; of one process.
    **settings
        See `elboroom.operations.serving.settings.Settings` and `Listening`: ``port=``, ``cert=`` and others.

    Raises
    ------
    InferenceError, RegistryError
        For settings that are none, or a model that the registry does not have.

    Examples
    --------
    >>> import elboroom as er
    >>> er.serve("models", "risk@live", host="0.0.0.0")
    Traceback (most recent call last):
    ...
    elboroom.ppl.errors.InferenceError: host: expected this machine's own, 127.0.0.1, where there are no tokens, got '0.0.0.0'. Pass tokens=er.Tokens('tokens.json').
    """
    listening, _ = parted(settings, Listening, Settings)
    if tokens is None and listening.host not in LOCAL:
        want = f"this machine's own, {LOCAL[0]}, where there are no tokens"
        remedy = "pass tokens=er.Tokens('tokens.json')"
        raise InferenceError(explain("host", want, repr(listening.host), remedy))
    uvicorn = library("uvicorn", "serve", "er.serve")
    if listening.workers == 1:
        with _with_health(app(registry, name, model, tokens, trust, audit, canary, **settings)) as service:
            _server(uvicorn, service, listening).run()
        return
    if canary is not None:
        remedy = "serve with workers=1, or try it in the shadow of one replica"
        got = f"{listening.workers}, of which each would see a part of the outcomes"
        raise InferenceError(explain("workers", "1, beside a canary", got, remedy))
    told = _plain(registry, name, model, tokens, trust, settings) | {"audit": audit and str(audit)}
    with tempfile.TemporaryDirectory() as shared:
        os.environ[TOLD] = json.dumps(told)
        os.environ.setdefault(SHARED, shared)  # metrics of all workers add up
        uvicorn.run(f"{__name__}:worker", factory=True, workers=listening.workers, **_options(listening))


def worker() -> Service:
    """The application of one of several processes, as `serve` has told it."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    told = json.loads(os.environ[TOLD])
    trust = Trust(told["trust"]) if told["trust"] else None
    made = app(
        told["registry"],
        told["name"],
        told["model"],
        told["tokens"],
        trust,
        told["audit"],
        **told["settings"],
    )
    _begin(made)
    return made


@contextmanager
def _with_health(service: Service):
    """A service with the thread that tells of its health, for a block."""
    health = _begin(service)
    try:
        yield service
    finally:
        service.close()
        if health is not None:
            health.shutdown()


def _begin(service: Service) -> Any:
    """What is so in a process that does nothing but serve; the thread that tells of its health, if there is one."""
    service.live.alone = True
    listening = service.listening
    if listening.health_port is None:
        return None
    health = serve_health(service.state, listening.host, listening.health_port)
    LOG.info("health at port %d", health.server_address[1])
    return health


def _plain(registry: Any, name: str, model: Any, tokens: Any, trust: Any, settings: dict) -> dict[str, Any]:
    """What workers are told, as plain values.

    Raises
    ------
    InferenceError
        For what other processes cannot be told.
    """
    if not isinstance(model, str):
        remedy = "pass model='module:name'"
        raise InferenceError(explain("model", "its name, for several workers", type(model).__name__, remedy))
    if isinstance(registry, Registry):
        registry, trust = registry.place, registry.trust if trust is None else trust
    if trust is not None and trust.path is None:
        remedy = "pass er.Trust('trust.json')"
        raise InferenceError(explain("trust", "one in a file, for several workers", "one in memory", remedy))
    tokens = tokens.path if isinstance(tokens, Tokens) else tokens
    return {
        "registry": str(registry),
        "name": name,
        "model": model,
        "tokens": None if tokens is None else str(tokens),
        "trust": None if trust is None else str(trust.path),
        "settings": settings,
    }


def _server(uvicorn: Any, service: Service, listening: Listening) -> Any:
    """uvicorn's server, which tells that it is not ready any more before it ends."""

    class Server(uvicorn.Server):
        def handle_exit(self, sig, frame):
            first, service.state.ending = not service.state.ending, True
            if first and listening.linger and service.loop is not None:
                end = partial(super().handle_exit, sig, frame)
                service.loop.call_soon_threadsafe(service.loop.call_later, listening.linger, end)
            else:
                super().handle_exit(sig, frame)

    return Server(uvicorn.Config(service, **_options(listening)))


def _options(listening: Listening) -> dict[str, Any]:
    """What uvicorn is told."""
    return {
        "host": listening.host,
        "port": listening.port,
        "http": f"{__package__}.connections:Connection",
        "ws": "none",
        "interface": "asgi3",
        "lifespan": "on",
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "log_config": None,
        "timeout_keep_alive": listening.idle_seconds,
        "timeout_graceful_shutdown": int(listening.drain),
        "timeout_worker_healthcheck": HEALTHCHECK_SECONDS,
        "backlog": listening.connections,
        "ssl_certfile": listening.cert,
        "ssl_keyfile": listening.key,
        "ssl_keyfile_password": listening.key_password,
        "ssl_version": ssl.PROTOCOL_TLS_SERVER,
    }
