"""The JAX backend, on NumPyro's distributions, transforms and handlers."""

from __future__ import annotations

import numpy as np

from . import flows, loops
from .arrays import to_device
from .density import Density, density_of
from .trace import trace
from .transforms import unconstrain_sites

__all__ = [
    "LOCKSTEP",
    "code_problems",
    "default_dtype",
    "density_of",
    "flows",
    "graph",
    "index_problems",
    "known",
    "loops",
    "memory",
    "out_of_memory",
    "resolve_device",
    "sampler",
    "to_device",
    "trace",
    "unconstrain_sites",
    "unread",
]

LOCKSTEP = True  # chains of NUTS advance together, in one compiled call


def resolve_device(device: str) -> str:
    """The device that ``device`` means here.

    Raises
    ------
    BackendError
        If a GPU is asked for and there is none.
    """
    import jax

    from ...errors import BackendError, explain

    if device not in {"auto", "cpu", "gpu"}:
        raise BackendError(explain("device", "'auto', 'cpu' or 'gpu'", repr(device), "choose one of them"))
    available = jax.default_backend()
    if device == "gpu" and available != "gpu":
        raise BackendError(explain("device", "a GPU that JAX sees", f"only {available}", "use device='cpu'"))
    return available if device == "auto" else device


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device, or the machine, has no memory left."""
    import jax

    words = ("RESOURCE_EXHAUSTED", "Out of memory", "out of memory")
    told = isinstance(error, jax.errors.JaxRuntimeError) and any(word in str(error) for word in words)
    return isinstance(error, MemoryError) or told


def memory(device: str) -> float | None:
    """Bytes that the device lets a program have; None where it is the machine's own memory."""
    import jax

    found = jax.local_devices()[0].memory_stats() if device != "cpu" else None
    return float(found["bytes_limit"]) if found and "bytes_limit" in found else None


def sampler(density, num_warmup: int, metric: str | None, flow=None):
    """NUTS on a density, in the base coordinates of a flow where one is given."""
    from .nuts import Sampler

    return Sampler(density, num_warmup, metric, flow)


def default_dtype(device: str) -> np.dtype:
    """Float64 on the CPU, float32 on a GPU."""
    return np.dtype(np.float64 if device == "cpu" else np.float32)


def _dependencies(program):
    import jax

    dtype, found = program.precision, trace(program)
    density = Density(program, found, dtype)
    kinds = {"latent": np.dtype(dtype), "discrete": np.dtype(int)}
    values = {s.name: jax.ShapeDtypeStruct(s.shape, kinds[s.role]) for s in found.by_role(*kinds)}
    data = {k: leaf.value for k, leaf in program.leaves.items() if leaf.traced}
    return found, density.dependency_function(), values, data


def _analysis(program):
    from ...binding import labelled
    from .arrays import precision
    from .provenance import analyse

    found, fn, values, data = _dependencies(program)
    with precision(program.precision):
        codes = labelled(program, {site.argument for site in found.sites})
        return found, analyse(fn, values, data, codes)


def index_problems(program) -> list:
    """Index arrays among the data that reach outside the axis they index."""
    return _cached_analysis(program)[1].problems


def code_problems(program) -> list:
    """Arguments of labels that the model computes with, and the operation."""
    return _cached_analysis(program)[1].codes


def _cached_analysis(program):
    key = ("analysis", "jax")
    if key not in program._traces:
        program._traces[key] = _analysis(program)
    return program._traces[key]


def accesses(program):
    """What reaches each part of each site, by axis."""
    return _cached_analysis(program)[1].access


def known(program) -> dict:
    """Parameters of latent sites that depend on no other latent site, as numbers."""
    return _cached_analysis(program)[1].known


def unread(program) -> tuple[str, ...]:
    """Operations of the model that the analysis could not follow."""
    return _cached_analysis(program)[1].unread


def graph(program):
    """The program's `ModelGraph`."""
    from ...graph import ModelGraph

    found, analysis = _cached_analysis(program)
    return ModelGraph.of(found.sites, analysis.access)


def local_sites(program) -> set[str]:
    """Latent sites with one element per member of an independent axis."""
    found = trace(program)
    local = {site.name for site in found.latents if site.plates}
    return local | set(program.graph("jax").locals)
