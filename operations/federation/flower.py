"""Tasks and replies over Flower: sites behind nodes of a Flower federation, which call out and are never called.

What goes over the wire are the bytes of `elboroom.inference.federate.messages`: numbers and plain values, read without running
anything. Who may join, and that nobody else reads along, is Flower's: its TLS and the keys of its nodes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...inference.federate.messages import Lost, Met, read
from ...inference.federate.site import Site
from ...inference.federate.transport import answered
from ...ppl.errors import DataError
from ..extras import library
from ..thresholds import FLOWER_PAUSE, FLOWER_SECONDS, LONGEST_WHY

EXTRA, WHAT = "federated", "sites over Flower"
RECORD, FIELD, WHY = "elboroom", "message", "why"


def _flower() -> Any:
    return library("flwr.app", EXTRA, WHAT)


@dataclass(eq=False)
class Flower:
    """The way from a Flower server app to its sites, for `elboroom.federate`.

    Parameters
    ----------
    grid : flwr.serverapp.Grid
        What the server app is given.
    num_sites : int
        Nodes that are waited for at first.
    seconds : float
        How long for that and their introductions, and for other replies where `elboroom.federate` is given no ``seconds``: a site
        that was killed never replies.

    Examples
    --------
    >>> from flwr.serverapp import ServerApp                               # doctest: +SKIP
    >>> app = ServerApp()                                                  # doctest: +SKIP
    >>> @app.main()                                                        # doctest: +SKIP
    ... def main(grid, context):
    ...     posterior = er.federate(Flower(grid, num_sites=5), program=model(x=[0.0], y=[0]))
    """

    grid: Any
    num_sites: int
    seconds: float = FLOWER_SECONDS
    nodes: dict[str, int] = field(default_factory=dict)
    flying: dict[str, str] = field(default_factory=dict)

    def ask(
        self, tasks: Mapping[str, bytes], least: int, seconds: float | None
    ) -> Iterable[tuple[str, bytes | Lost]]:
        """See `elboroom.inference.federate.transport.Transport.ask`."""
        if "" in tasks:
            return self._introduced(tasks[""], time.monotonic() + self.seconds)
        end = time.monotonic() + (self.seconds if seconds is None else seconds)
        messages = [self._message(task, self.nodes[name]) for name, task in tasks.items()]
        ids = list(self.grid.push_messages(messages)) if messages else []
        self.flying |= {i: name for i, name in zip(ids, tasks, strict=True) if i}
        return self._come(least, end)

    def _introduced(self, task: bytes, end: float) -> list[tuple[str, bytes | Lost]]:
        """Every node is asked who it is, as soon as it is there."""
        asked: dict[int, str] = {}
        found: list[tuple[str, bytes | Lost]] = []
        while len(found) < self.num_sites and time.monotonic() < end:
            new = [node for node in self.grid.get_node_ids() if node not in asked]
            if new:
                ids = self.grid.push_messages([self._message(task, node) for node in new])
                asked |= dict(zip(new, ids, strict=True))
                self.flying |= {i: str(node) for node, i in asked.items() if node in new}
            for node, reply in self._come(1, min(end, time.monotonic() + FLOWER_PAUSE)):
                name = _name(reply) or f"node {node}"
                self.nodes.setdefault(name, int(node))
                found.append((name, reply))
        self.flying.clear()  # who comes later was not met
        return found

    def _come(self, least: int, end: float) -> list[tuple[str, bytes | Lost]]:
        found: list[tuple[str, bytes | Lost]] = []
        while True:
            for reply in self.grid.pull_messages(list(self.flying)) if self.flying else ():
                name = self.flying.pop(reply.metadata.reply_to_message_id, None)
                if name is not None:
                    found.append((name, _content(reply)))
            found += self._left()
            if len(found) >= least or not self.flying or time.monotonic() >= end:
                return found
            time.sleep(FLOWER_PAUSE)

    def _left(self) -> list[tuple[str, bytes | Lost]]:
        """Sites at work whose nodes are there no more."""
        there = set(self.grid.get_node_ids()) if self.nodes else set()
        gone = {i: n for i, n in self.flying.items() if n in self.nodes and self.nodes[n] not in there}
        for i in gone:
            del self.flying[i]
        return [(name, Lost("its node has left")) for name in gone.values()]

    def _message(self, task: bytes, node: int) -> Any:
        flwr = _flower()
        content = flwr.RecordDict({RECORD: flwr.ConfigRecord({FIELD: task})})
        return flwr.Message(content=content, message_type=flwr.MessageType.QUERY, dst_node_id=node)


def _content(reply: Any) -> bytes | Lost:
    """The bytes of a reply; of an error no more than that there was one, whose words may quote rows."""
    if reply.has_error():
        return Lost("no reply: its program failed, or it has left")
    found = reply.content.get(RECORD)
    value, why = (None, None) if found is None else (found.get(FIELD), found.get(WHY))
    if isinstance(value, bytes) and value:
        return value
    return Lost(why[:LONGEST_WHY] if isinstance(why, str) else "a reply without a message of elboroom")


def _name(reply: bytes | Lost) -> str | None:
    """By which a site introduces itself."""
    try:
        name = None if isinstance(reply, Lost) else read(reply, Met).site
    except DataError:
        return None
    return name if isinstance(name, str) else None


def site_app(site: Callable[[Any], Site]) -> Any:
    """A Flower client app that answers for a site.

    Parameters
    ----------
    site : callable
        ``site(context)``, with Flower's context of the node: an `elboroom.inference.federate.site.Site`. It is called for every
        task, as Flower may answer each in a process of its own.

    Returns
    -------
    flwr.clientapp.ClientApp

    Examples
    --------
    >>> def here(context):
    ...     rows = pd.read_csv(context.node_config["rows"])
    ...     return Site(context.node_config["name"], model(rows.x, rows.y))
    >>> app = site_app(here)                                               # doctest: +SKIP
    """
    app, flwr = library("flwr.clientapp", EXTRA, WHAT).ClientApp(), _flower()

    @app.query()
    def query(message: Any, context: Any) -> Any:
        reply = answered(site(context), message.content[RECORD][FIELD])
        own = {WHY: reply.why} if isinstance(reply, Lost) else {FIELD: reply}
        return flwr.Message(content=flwr.RecordDict({RECORD: flwr.ConfigRecord(own)}), reply_to=message)

    return app
