"""Connections that keep within limits: heads that come in time and are short, and no more of them than there may be."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .thresholds import MOST_HEADER_BYTES, MOST_PIECE

LOG = logging.getLogger("elboroom.serving")


class Connection(HttpToolsProtocol):
    """One that is closed where no whole head comes in time, or it is too long; where there are too many, the one that has waited
    longest for a head is closed. The application says how many there may be: its attribute `listening`."""

    _clock: asyncio.TimerHandle | None = None
    _head = 0

    @property
    def _limits(self) -> Any:
        return self.app.listening  # type: ignore[attr-defined, union-attr]

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a head."""
        super().connection_made(transport)
        waiting = self.app.waiting  # type: ignore[attr-defined, union-attr]
        if len(self.connections) > self._limits.connections:
            oldest = next(iter(waiting), self)
            LOG.warning("more than %d connections: one is closed", self._limits.connections)
            oldest.transport.abort()
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._rest()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what comes before a head is whole."""
        if self._idle and self._clock is None:
            self._wait()
        self._head += len(data)
        super().data_received(data)
        if self._clock is not None and self._head > MOST_HEADER_BYTES + MOST_PIECE:
            LOG.warning("a head of more than %d bytes", MOST_HEADER_BYTES)
            self.transport.abort()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._rest()
        super().on_headers_complete()

    @property
    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait(self) -> None:
        self.app.waiting[self] = None  # type: ignore[attr-defined, union-attr]
        self._head = 0
        self._clock = self.loop.call_later(self._limits.head_seconds, self._late)

    def _rest(self) -> None:
        self.app.waiting.pop(self, None)  # type: ignore[attr-defined, union-attr]
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _late(self) -> None:
        LOG.info("a head did not come within %g s", self._limits.head_seconds)
        self.transport.abort()
