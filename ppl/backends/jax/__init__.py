"""The JAX backend, on NumPyro's distributions, transforms and handlers: `protocol.Backend`."""

from __future__ import annotations

from ..dependencies import Dependencies
from ..devices import default_dtype
from . import flows, loops, portable
from .arrays import memory, out_of_memory, resolve_device, to_device
from .density import density_of
from .dependencies import analyse_program
from .networks import network
from .nuts import sampler
from .trace import trace
from .unconstrain import unconstrain_sites

__all__ = [
    "LOCKSTEP",
    "accesses",
    "code_problems",
    "default_dtype",
    "density_of",
    "flows",
    "graph",
    "index_problems",
    "known",
    "local_sites",
    "loops",
    "memory",
    "network",
    "out_of_memory",
    "portable",
    "resolve_device",
    "sampler",
    "to_device",
    "trace",
    "unconstrain_sites",
    "unread",
]

LOCKSTEP = True

_asked = Dependencies("jax", analyse_program)
accesses, known, unread = _asked.accesses, _asked.known, _asked.unread
index_problems, code_problems = _asked.index_problems, _asked.code_problems
graph, local_sites = _asked.graph, _asked.local_sites
