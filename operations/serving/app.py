"""``er.app``: an ASGI application that answers for a version of a registry. uvicorn runs it, and other frameworks mount it."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import re
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from copy import copy
from dataclasses import dataclass
from importlib import resources
from typing import Any

from ...ppl.errors import InferenceError, RegistryError, explain
from ...ppl.found import find_model
from ..registry import Registry
from . import bodies
from .answering import Answered, answered
from .asked import HEADER, Asked, key_of
from .batches import Batcher
from .described import described
from .health import State
from .live import Live
from .outcomes import taken
from .refusals import Refused
from .served import Served
from .settings import Listening, Settings, parted
from .shown import text_of
from .thresholds import DEGRADED_SECONDS, LONGEST_ID, MOST_HEADER_BYTES, MOST_HEADERS
from .tokens import Tokens
from .trail import Trail, trail_of
from .trial import Trial, trial_of

LOG = logging.getLogger("elboroom.serving")
ID = re.compile(rb"[A-Za-z0-9._-]{1,%d}" % LONGEST_ID)
ONCE = (
    b"authorization",
    b"content-length",
    b"content-type",
    b"host",
    b"transfer-encoding",
    b"x-request-id",
    HEADER,
)
JSON, TEXT = b"application/json", b"text/plain; version=0.0.4; charset=utf-8"
PREFIX, ANY = "/v1/", "any"
"""Of paths that rows are sent to, and the scope of what any token is good for."""
POLICY = b"default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'"
PAGES = {
    "/": ("page.html", b"text/html; charset=utf-8"),
    "/page.js": ("page.js", b"text/javascript; charset=utf-8"),
}


@dataclass(frozen=True)
class Route:
    """What answers a path.

    Attributes
    ----------
    method : str
    scope : str
        That a token needs; empty where none is needed.
    answer : callable
        Takes an `Asked`; gives the type of the content and the content.
    """

    method: str
    scope: str
    answer: Callable[[Asked], Awaitable[tuple[bytes, bytes]]]


class Service:
    """An ASGI application. Made by `app`."""

    def __init__(
        self,
        live: Live,
        settings: Settings,
        tokens: Tokens | None,
        listening: Listening,
        trail: Trail | None,
        trial: Trial | None = None,
    ):
        self.live, self.settings, self.tokens, self.listening = live, settings, tokens, listening
        self.trail, self.trial = trail, trial
        self._closed = False
        self.degraded = -math.inf  # when an answer was without its evidence
        self.loop: asyncio.AbstractEventLoop | None = None
        self.waiting: dict[Any, None] = {}  # connections without a head
        self.batcher = Batcher(settings.most_batched, settings.wait, settings.most_waiting, settings.batching)
        self.state = State(live, self.batcher)
        self.routes: dict[str, Route] = {
            "/": Route("GET", "", self._page),
            "/page.js": Route("GET", "", self._page),
            "/openapi.json": Route("GET", ANY, self._described),
            "/healthz/live": Route("GET", "", self._alive),
            "/healthz/ready": Route("GET", "", self._ready),
            "/metrics": Route("GET", "metrics", self._metrics),
            "/v1/model": Route("GET", "verdict", self._model),
            "/v1/verdict": Route("GET", "verdict", self._verdict),
            "/v1/canary": Route("GET", "verdict", self._canary),
            "/v1/outcomes": Route("POST", "outcome", self._outcomes),
            **{f"{PREFIX}{use}": Route("POST", use, self._use) for use in ("predict", "encode", "score")},
        }
        live.start()
        if trial is not None:
            trial.start()

    def close(self) -> None:
        """Answer what has come, and end."""
        self.state.ending = True
        self.live.close()
        self.batcher.close(self.settings.seconds)
        if self.trial is not None:
            self.trial.close(self.settings.seconds)
        if self.trail is not None and not self._closed:
            self.trail.close()
        self._closed = True

    # -- ASGI --------------------------------------------------------------------------------------

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1003})

    async def _lifespan(self, receive: Any, send: Any) -> None:
        while True:
            event = await receive()
            self.loop = asyncio.get_running_loop()
            if event["type"] == "lifespan.shutdown":
                await asyncio.to_thread(self.close)
            await send({"type": f"{event['type']}.complete"})
            if event["type"] == "lifespan.shutdown":
                return

    async def _http(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        begin = time.perf_counter()
        path = scope["path"][len(scope.get("root_path", "")) :] or "/"
        route = path if path in self.routes else "other"
        asked = Asked(secrets.token_hex(8), route, scope["method"], dict(scope["headers"]), receive)
        more: Mapping[str, str] = {}
        try:
            self._check_head(asked, scope)
            status, (kind, content) = 200, await self._answered(asked, path)
        except Refused as refused:
            status, more = refused.status, refused.headers
            kind, content = JSON, _dumped({"error": refused.as_dict(), "id": asked.id})
        except Exception:
            LOG.exception("request %s failed", asked.id)
            status, kind = 500, JSON
            words = "the service failed: its log says why, under the id of this request."
            content = _dumped({"error": Refused(500, "internal", words).as_dict(), "id": asked.id})
        self._note(asked, status, time.perf_counter() - begin)
        if self.state.ending:
            more = {**more, **bodies.CLOSE}
        headers = [
            (b"content-type", kind),
            (b"content-length", str(len(content)).encode()),
            (b"x-request-id", asked.id.encode()),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            (b"content-security-policy", POLICY),
            *((name.lower().encode(), value.encode()) for name, value in more.items()),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if asked.method == "HEAD" else content})

    def _check_head(self, asked: Asked, scope: Mapping[str, Any]) -> None:
        headers = scope["headers"]
        size = sum(len(name) + len(value) for name, value in headers) + len(scope.get("raw_path") or b"")
        if len(headers) > MOST_HEADERS or size + len(scope["query_string"]) > MOST_HEADER_BYTES:
            raise Refused(
                431,
                "headers",
                f"expected at most {MOST_HEADERS} headers, {MOST_HEADER_BYTES} bytes.",
                bodies.CLOSE,
            )
        if len(asked.headers) < len(headers):
            twice = [
                n for n, often in Counter(name for name, _ in headers).items() if often > 1 and n in ONCE
            ]
            if twice:
                raise Refused(400, "headers", f"'{twice[0].decode()}' came more than once.", bodies.CLOSE)
        given = asked.headers.get(b"x-request-id")
        if given is not None and ID.fullmatch(given):
            asked.id = given.decode()

    async def _answered(self, asked: Asked, path: str) -> tuple[bytes, bytes]:
        route = self.routes.get(path)
        if route is None:
            raise Refused(404, "path", f"expected one of {sorted(self.routes)}.")
        if asked.method != route.method and not (asked.method == "HEAD" and route.method == "GET"):
            raise Refused(405, "method", f"expected {route.method}.", {"Allow": route.method})
        self._admit(asked, route.scope)
        return await route.answer(asked)

    def _admit(self, asked: Asked, scope: str) -> None:
        """Refuse who has no token for a scope."""
        if scope and self.trail is not None:
            self.trail.check()
        if self.tokens is None or not scope:
            return
        kind, _, secret = asked.headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        asked.token = self.tokens.found(secret.strip() if kind.lower() == "bearer" else "")
        if asked.token is None:
            words = "expected 'Authorization: Bearer TOKEN' with a token that holds."
            raise Refused(401, "token", words, {"WWW-Authenticate": "Bearer"})
        if scope != ANY and scope not in asked.token.scopes:
            raise Refused(403, "scope", f"this token is not for '{scope}'.")

    def _note(self, asked: Asked, status: int, seconds: float) -> None:
        """Count an answer, and have its line written."""
        if status >= 400:
            LOG.info("%s %s: %d", asked.method, asked.route, status)
        if self.trail is not None and not asked.route.startswith("/healthz"):
            self.trail.tell(
                {"id": asked.id, "token": asked.token.id if asked.token is not None else None, "route": asked.route,
                 "status": status, "rows": asked.rows, "verdicts": dict(asked.verdicts or {}), "version": asked.version,
                 "seconds": round(seconds, 6)}
            )  # fmt: skip
        served = asked.served or self.live.current
        if served is not None:
            served.shown.add("requests_total", route=asked.route, code=str(status))
            served.shown.observe("request_seconds", seconds, route=asked.route)
            for verdict, count in (asked.verdicts or {}).items():
                served.shown.add("verdict_total", count, verdict=verdict)

    # -- what is answered --------------------------------------------------------------------------

    def _served(self) -> Served:
        served = self.live.current
        if served is None:
            words = f"no version answers yet. {self.live.problem}".strip()
            raise Refused(503, "not ready", words, {"Retry-After": "1"})
        return served

    async def _body(self, asked: Asked) -> Any:
        """What a body says."""
        settings = self.settings
        kind = asked.headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        if kind != JSON or asked.headers.get(b"content-encoding", b"identity") != b"identity":
            raise Refused(415, "content type", "expected application/json, not encoded.", bodies.CLOSE)
        return bodies.parsed(
            await bodies.read(asked.receive, asked.headers, settings.most_bytes, settings.seconds)
        )

    async def _use(self, asked: Asked) -> tuple[bytes, bytes]:
        """Predict, encode or score the rows of a body."""
        name, given = asked.route.removeprefix(PREFIX), await self._body(asked)
        key, served = key_of(asked, given), self._served()

        def ask(served: Served, batcher: Batcher, heard: bool = True) -> Awaitable[Answered]:
            return answered(asked if heard else copy(asked), served, name, given, batcher, self.settings)

        if self.trial is None:
            found = await ask(served, self.batcher)
        else:
            found = await self.trial.answered(key, served, self.batcher, ask)
        if found.degraded:
            self.degraded = time.monotonic()
            found.served.shown.add("degraded_rows_total", found.degraded)
        asked.verdicts = Counter(one["verdict"] or "none" for one in found.rows)
        version = found.served.version
        return JSON, _dumped(
            {"id": asked.id, "model": version.model, "version": version.number, "rows": found.rows}
        )

    def _tried(self) -> Trial:
        if self.trial is None:
            raise Refused(501, "canary", "no candidate is tried: serve with canary=.")
        return self.trial

    async def _outcomes(self, asked: Asked) -> tuple[bytes, bytes]:
        """Take in what became of requests."""
        trial, served = self._tried(), self._served()
        found = await taken(asked, await self._body(asked), trial, served, self.batcher, self.settings)
        return JSON, _dumped({"id": asked.id, **found})

    async def _canary(self, asked: Asked) -> tuple[bytes, bytes]:
        return JSON, _dumped({"id": asked.id, **self._tried().as_dict()})

    async def _model(self, asked: Asked) -> tuple[bytes, bytes]:
        served = self._served()
        version = served.version
        uses = {
            name: [
                {"name": c.name, "shape": list(c.shape), "labels": c.codes is not None} for c in use.wanted
            ]
            for name, use in served.uses.items()
        }
        return JSON, _dumped(
            {"id": asked.id, "model": version.model, "version": version.number, "created": version.created,
             "verdict": served.posterior.verdict, "fits_data": version.fits_data, "uses": uses,
             "absent": served.absent, "problem": self.live.problem}
        )  # fmt: skip

    async def _verdict(self, asked: Asked) -> tuple[bytes, bytes]:
        served = self._served()
        posterior = served.posterior
        quantities = [
            {"name": name, "verdict": verdict, "reason": reason}
            for name, verdict, reason in posterior.summary()[["verdict", "reason"]].itertuples()
        ]
        return JSON, _dumped(
            {"id": asked.id, "model": served.version.model, "version": served.version.number,
             "verdict": posterior.verdict, "fits_data": served.version.fits_data, "quantities": quantities,
             "findings": [finding.as_dict() for finding in posterior.findings]}
        )  # fmt: skip

    async def _metrics(self, _: Asked) -> tuple[bytes, bytes]:
        lately = time.monotonic() - self.degraded < DEGRADED_SECONDS
        return TEXT, text_of(self.live, self.batcher, lately).encode()

    async def _described(self, _: Asked) -> tuple[bytes, bytes]:
        return JSON, _dumped(described(self._served(), self.tokens is not None, self.trial is not None))

    async def _page(self, asked: Asked) -> tuple[bytes, bytes]:
        name, kind = PAGES[asked.route]
        return kind, resources.files(__package__).joinpath(name).read_bytes()

    async def _alive(self, _: Asked) -> tuple[bytes, bytes]:
        return _health(*self.state.alive())

    async def _ready(self, _: Asked) -> tuple[bytes, bytes]:
        return _health(*self.state.ready())


def _health(well: bool, words: str) -> tuple[bytes, bytes]:
    if not well:
        raise Refused(503, "health", words, {"Retry-After": "1"})
    return JSON, _dumped({"status": words})


def _dumped(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def app(
    registry: Any,
    name: str,
    model: Any = None,
    tokens: Any = None,
    trust: Any = None,
    audit: Any = None,
    canary: Any = None,
    **settings: Any,
) -> Service:
    """An ASGI application that answers for what an alias of a registry names.

    Parameters
    ----------
    registry : Registry or path
        Where the versions are.
    name : str
        ``"risk@live"``: another version takes over once the alias names it and it is ready. ``"risk/7"`` stays.
    model : Model, Program or str
        What was fitted, or ``"module:name"`` of it: a registry holds no code.
    tokens : Tokens or path, optional
        Who may ask for what. Without, everybody may.
    trust : Trust, optional
        With it, versions that none of its keys has signed are refused.
    audit : path, optional
        A folder for a trail of all requests, without their data.
    canary : Canary or path, optional
        A candidate beside what is live, or the file that `Canary.save` wrote of it, in which it is kept: requests are dealt to both by
        their keys, and what the evidence says is done.
    **settings
        See `elboroom.operations.serving.settings.Settings`.

    Returns
    -------
    Service
        For uvicorn, or to mount in another application; it begins to load at once. `close` ends it.

    Raises
    ------
    InferenceError, RegistryError
        For settings that are none, or a model that the registry does not have.

    Examples
    --------
    >>> import elboroom as er
    >>> er.app("models", "risk@live", wait=-1)
    Traceback (most recent call last):
    ...
    elboroom.ppl.errors.InferenceError: wait: expected seconds, or 0, got -1. Correct it.
    """
    own, listening = parted(settings, Settings, Listening)
    if not isinstance(registry, Registry):
        registry = Registry(registry, trust=trust)
    elif trust is not None:
        remedy = "give the trust to the registry: er.Registry(place, trust=trust)"
        raise InferenceError(explain("trust", "none beside an er.Registry", "one", remedy))
    live = Live(registry, name, find_model(model) if isinstance(model, str) else model, own)
    if live.name not in registry.models():
        raise RegistryError(explain(f"model '{live.name}'", f"one of {list(registry.models())[:10]}", "none of these", "add a version of it first"))  # fmt: skip
    known = tokens if tokens is None or isinstance(tokens, Tokens) else Tokens(tokens)
    trial = trial_of(canary, live, own)
    return Service(live, own, known, listening, trail_of(audit), trial)
