"""How tasks reach sites and replies come back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from ...ppl.errors import ElboroomError
from .messages import Lost
from .site import Site


class Transport(Protocol):
    """What a federation needs of one; see `Here`."""

    def ask(
        self, tasks: Mapping[str, bytes], least: int, seconds: float | None
    ) -> Iterable[tuple[str, bytes | Lost]]:
        """Send tasks, and wait.

        Parameters
        ----------
        tasks : mapping of str to bytes
            By site. Under an empty name, one for all sites that there are.
        least : int
            Replies to wait for, of these tasks and of earlier ones.
        seconds : float or None
            No longer than that.

        Returns
        -------
        iterable of (str, bytes or Lost)
            What has come: the site, and its reply or why there is none.
        """


@dataclass(frozen=True)
class Here:
    """Sites in this process: a simulation, in which they are told apart by what they may see alone.

    Attributes
    ----------
    sites : mapping of str to Site
    """

    sites: Mapping[str, Site]

    def ask(
        self, tasks: Mapping[str, bytes], least: int, seconds: float | None
    ) -> list[tuple[str, bytes | Lost]]:
        """See `Transport.ask`: all reply at once, one after the other."""
        del least, seconds
        asked = [(n, tasks[""]) for n in sorted(self.sites)] if "" in tasks else sorted(tasks.items())
        return [(name, answered(self.sites[name], task)) for name, task in asked]


def answered(site: Site, task: bytes) -> bytes | Lost:
    """A site's reply; of an error no more than its kind, whose words may quote rows."""
    try:
        return site.answer(task)
    except (ElboroomError, ArithmeticError, ValueError, MemoryError) as error:
        return Lost(f"{type(error).__name__} at the site")
