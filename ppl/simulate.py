"""Draws from the prior, and of the data that it implies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .ancestral import check_order
from .errors import InferenceError, explain
from .thresholds import LARGEST_BLOCK, PRIOR_DRAWS, PRIOR_STREAM
from .tree import dataset, tree

LATENT = ("latent", "deterministic")
OUTCOME = ("observed", "predicted")


def in_blocks(fn: Callable, batched: Any, num_rows: int, block: int) -> dict[str, np.ndarray]:
    """Call a function on blocks of rows, all of one size so that one compiled function serves them.

    Parameters
    ----------
    fn : callable
        Takes what `batched` is, with `block` rows, and returns a mapping of arrays with `block` rows.
    batched : array, or nested tuples and dicts of arrays
        Each of `num_rows` on its first axis.
    num_rows : int
        Rows in all.
    block : int
        Rows of one call.

    Returns
    -------
    dict of numpy.ndarray
        Arrays of `num_rows` on their first axis.

    Examples
    --------
    >>> in_blocks(lambda x: {"twice": 2 * x}, np.arange(5), 5, 2)["twice"]
    array([0, 2, 4, 6, 8])
    """
    block = min(block, num_rows)
    pieces = []
    for start in range(0, num_rows, block):
        # the last block reaches back instead of being padded: its first rows are dropped again
        begin = min(start, num_rows - block)
        found = fn(_take(batched, slice(begin, begin + block)))
        pieces.append({k: np.asarray(v)[start - begin :] for k, v in found.items()})
    return {k: np.concatenate([p[k] for p in pieces]) for k in pieces[0]}


def _take(batched, rows):
    if isinstance(batched, dict):
        return {k: _take(v, rows) for k, v in batched.items()}
    if isinstance(batched, tuple):
        return tuple(_take(v, rows) for v in batched)
    return batched[rows]


def block_size(target) -> int:
    """Rows per call such that one call's output stays within `LARGEST_BLOCK` numbers."""
    size = sum(int(np.prod(s.shape, dtype=int)) for s in target.trace.by_role(*LATENT, *OUTCOME))
    return int(np.clip(LARGEST_BLOCK // max(size, 1), 1, target.density.largest_drawn))


def seeds(seed: int, num_draws: int, stream: int = 0) -> np.ndarray:
    """Integer seeds of `num_draws` independent draws, shape ``(num_draws,)``.

    Parameters
    ----------
    seed : int
        Same seed, same draws.
    num_draws : int
        Number of draws.
    stream : int
        Others draw from other streams.

    Returns
    -------
    numpy.ndarray of uint32, shape (num_draws,)
    """
    rng = np.random.default_rng([seed, stream])
    return rng.integers(0, 2**32, size=num_draws, dtype=np.uint32)


def prior_values(
    program, num_draws: int, seed: int = 0, backend: str | None = None, keep: Callable[[dict], dict] = dict
) -> dict[str, np.ndarray]:
    """Prior draws of latents, deterministics and outcomes.

    Parameters
    ----------
    program : Program
        Its outcomes may be None.
    num_draws : int
        Number of draws, 1 or more.
    seed : int
        Same seed, same draws.
    backend : {"jax", "torch"}, optional
        Where they are drawn.
    keep : callable, optional
        What is kept of some draws, where all of all would be too much: takes and returns what this returns.

    Returns
    -------
    dict of numpy.ndarray
        Site name to shape ``(num_draws, *shape)``.

    Raises
    ------
    UnsupportedError
        If a prior is improper, so that nothing can be drawn from it.
    ModelError
        See `check_order`.
    InferenceError
        If `num_draws` is not a positive number.
    """
    if isinstance(num_draws, bool) or not isinstance(num_draws, (int, np.integer)) or num_draws < 1:
        raise InferenceError(
            explain("num_draws", "an integer of at least 1", repr(num_draws), "correct the argument")
        )
    target = program.target(backend)
    check_order(target)

    def draw(block):
        return keep(target.density.prior(block, target.data, target.weights))

    return in_blocks(draw, seeds(seed, num_draws, PRIOR_STREAM), num_draws, block_size(target))


def prior_groups(program, num_draws: int, seed: int = 0, backend: str | None = None) -> dict:
    """Groups ``prior`` and ``prior_predictive`` as ``xarray.Dataset``; the parameters are those of `prior_values`."""
    values = prior_values(program, num_draws, seed, backend)
    trace = program.trace(backend)
    dims = {s.name: s.dims for s in trace.sites}
    groups = {}
    for name, roles in (("prior", LATENT), ("prior_predictive", OUTCOME)):
        kept = {s.name: values[s.name][None] for s in trace.by_role(*roles) if s.name in values}
        groups[name] = dataset(kept, dims, trace.coords)
    return groups


def prior_predictive(program, num_draws: int = PRIOR_DRAWS, seed: int = 0):
    """Draws from the prior and of the data that it implies.

    Parameters
    ----------
    program : Program
        Its outcomes may be None.
    num_draws : int
        Number of draws, each from its own seed.
    seed : int
        Same seed, same draws.

    Returns
    -------
    xarray.DataTree
        Groups ``prior`` (latents, deterministics) and ``prior_predictive`` (outcomes), dims
        ``chain, draw, …``.

    Raises
    ------
    UnsupportedError
        If a prior is improper.

    References
    ----------
    Gabry et al. (2019), Visualization in Bayesian workflow, JRSS A 182.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def coin(flips=None):
    ...     p = er.sample("p", er.Beta(1, 1))
    ...     with er.plate("flip", 4):
    ...         er.observe("flips", er.Bernoulli(probs=p), flips)
    >>> prior_predictive(coin(), num_draws=10)["prior_predictive"]["flips"].shape
    (1, 10, 4)
    """
    return tree(prior_groups(program, num_draws, seed), {"law": "prior", "seed": int(seed)})


def simulate(program, seed: int = 0) -> dict[str, np.ndarray]:
    """One fake data set with the values behind it.

    Parameters
    ----------
    program : Program
        Its outcomes may be None.
    seed : int
        Same seed, same data.

    Returns
    -------
    dict of numpy.ndarray
        Site name to value: latents, deterministics and outcomes.

    Raises
    ------
    UnsupportedError
        If a prior is improper.
    """
    return {name: value[0] for name, value in prior_values(program, 1, seed).items()}
