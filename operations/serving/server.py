"""``er.serve``: the application of a registry's version, run by uvicorn with its limits."""

from __future__ import annotations

import logging
import ssl
from typing import Any

from ...ppl.errors import InferenceError, explain
from ..extras import library
from .app import Service, app
from .health import serve_health
from .settings import Listening, Settings, parted

LOG = logging.getLogger("elboroom.serving")
LOCAL = ("127.0.0.1", "::1", "localhost")


def serve(
    registry: Any, name: str, model: Any = None, tokens: Any = None, trust: Any = None, **settings: Any
) -> None:
    """Answer over HTTP for what an alias of a registry names, until the process is told to end.

    Parameters
    ----------
    registry : path
        Where the versions are.
    name : str
        ``"risk@live"``: another version takes over once the alias names it and it is ready. ``"risk/7"`` stays.
    model : Model, Program or str
        What was fitted, or ``"module:name"`` of it: a registry holds no code.
    tokens : Tokens or path, optional
        Who may ask for what. Without, the service listens to this machine alone.
    trust : Trust, optional
        With it, versions that none of its keys has signed are refused.
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
    listening, own = parted(settings, Listening, Settings)
    if tokens is None and listening.host not in LOCAL:
        want, remedy = (
            f"this machine's own, {LOCAL[0]}, where there are no tokens",
            "pass tokens=er.Tokens('tokens.json')",
        )
        raise InferenceError(explain("host", want, repr(listening.host), remedy))
    uvicorn = library("uvicorn", "serve", "er.serve")
    service = app(registry, name, model, tokens, trust, **vars(own))
    health = None
    if listening.health_port is not None:
        health = serve_health(service.state, listening.host, listening.health_port)
        LOG.info("health at port %d", health.server_address[1])
    try:
        uvicorn.Server(_config(uvicorn, service, listening)).run()
    finally:
        service.close()
        if health is not None:
            health.shutdown()


def _config(uvicorn: Any, service: Service, listening: Listening) -> Any:
    return uvicorn.Config(
        service,
        host=listening.host,
        port=listening.port,
        access_log=False,
        server_header=False,
        ws="none",
        timeout_keep_alive=listening.idle_seconds,
        timeout_graceful_shutdown=int(listening.drain),
        backlog=listening.connections,
        ssl_certfile=listening.cert,
        ssl_keyfile=listening.key,
        ssl_keyfile_password=listening.key_password,
        ssl_version=ssl.PROTOCOL_TLS_SERVER,
    )
