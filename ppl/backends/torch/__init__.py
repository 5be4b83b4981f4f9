"""The PyTorch backend, on Pyro's distributions and handlers."""

from __future__ import annotations

import numpy as np

from . import flows, loops
from .arrays import out_of_memory, to_device
from .density import density_of
from .dependencies import analysis
from .trace import trace
from .transforms import unconstrain_sites

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
    "loops",
    "local_sites",
    "memory",
    "out_of_memory",
    "resolve_device",
    "sampler",
    "to_device",
    "trace",
    "unconstrain_sites",
    "unread",
]

LOCKSTEP = False  # chains of NUTS advance one after the other


def resolve_device(device: str) -> str:
    """The device that ``device`` means here.

    Raises
    ------
    BackendError
        If another one than the CPU is asked for.
    """
    from ...errors import BackendError, explain

    if device not in {"auto", "cpu", "gpu"}:
        raise BackendError(explain("device", "'auto', 'cpu' or 'gpu'", repr(device), "choose one of them"))
    if device == "gpu":
        raise BackendError(
            explain("device", "'cpu' on the torch backend", "'gpu'", "use backend='jax' for a GPU")
        )
    return "cpu"


def memory(device: str) -> float | None:
    """Bytes that the device lets a program have; None where it is the machine's own memory."""
    return None


def sampler(density, num_warmup: int, metric: str | None, flow=None):
    """NUTS on a density, in the base coordinates of a flow where one is given."""
    from .nuts import Sampler

    return Sampler(density, num_warmup, metric, flow)


def default_dtype(device: str) -> np.dtype:
    """Float64 on the CPU, float32 on a GPU."""
    return np.dtype(np.float64 if device == "cpu" else np.float32)


def index_problems(program) -> list:
    """Index arrays among the data that reach outside the axis they index."""
    return analysis(program).problems


def code_problems(program) -> list:
    """Arguments of labels that the model computes with, and the operation."""
    return analysis(program).codes


def accesses(program):
    """What reaches each part of each site, by axis."""
    return analysis(program).access


def known(program) -> dict:
    """Parameters of latent sites that depend on no other latent site, as numbers."""
    return analysis(program).known


def unread(program) -> tuple[str, ...]:
    """Operations of the model that the analysis could not follow."""
    return analysis(program).unread


def graph(program):
    """The program's `ModelGraph`."""
    from ...graph import ModelGraph

    return ModelGraph.of(program.trace("torch").sites, accesses(program))


def local_sites(program) -> set[str]:
    """Latent sites with one element per member of an independent axis."""
    local = {site.name for site in program.trace("torch").latents if site.plates}
    return local | set(program.graph("torch").locals)
