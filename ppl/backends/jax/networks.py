"""Modules of equinox and flax as networks of the language."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ...errors import ModelError, UnsupportedError, explain

STATEFUL = ("BatchNorm", "SpectralNorm", "StatefulLayer", "StateIndex")
RANDOM = ("Dropout",)
"""Layers, by the names of their classes, that let rows see each other or keep a state, and that draw at random."""


def network(name: str, net: Any) -> Any:
    """A module as a network of the language.

    Raises
    ------
    ModelError
        If it is of no library that JAX knows.
    UnsupportedError
        If it keeps a state, draws at random or lets rows see each other.
    """
    libraries = {kind.__module__.partition(".")[0] for kind in type(net).__mro__}
    if "torch" in libraries:
        raise ModelError(
            explain(f"er.module '{name}'", "a network of JAX", "a PyTorch module", "fit with backend='torch'")
        )
    if "flax" in libraries and hasattr(sys.modules.get("flax"), "nnx"):
        return _flax(name, net)
    if "equinox" in libraries:
        return _equinox(name, net)
    raise ModelError(
        explain(
            f"er.module '{name}'",
            "a network of er.nn, equinox or flax.nnx",
            f"{type(net).__module__}.{type(net).__qualname__}",
            "give one, or an object with arrays(rng) and apply(arrays, x)",
        )
    )


@dataclass(frozen=True, eq=False)
class Equinox:
    """An equinox module, mapped over all axes of its inputs but the last."""

    initial: dict[str, np.ndarray]
    static: Any
    tree: Any

    def arrays(self, _rng):
        """Those that the module came with."""
        return dict(self.initial)

    def apply(self, arrays, *inputs):
        """See `elboroom.ppl.modules.Network.apply`."""
        import equinox as eqx

        net = eqx.combine(
            jax.tree_util.tree_unflatten(self.tree, [arrays[key] for key in self.initial]), self.static
        )
        for _ in range(max(np.ndim(x) for x in inputs) - 1):
            net = jax.vmap(net)
        return net(*inputs)


def _equinox(name, net):
    import equinox as eqx

    parts = jax.tree_util.tree_leaves(net, is_leaf=lambda x: isinstance(x, eqx.Module) and x is not net)
    _check(name, [net, *_below(parts, eqx.Module)])
    params, static = eqx.partition(net, eqx.is_inexact_array)
    leaves, tree = jax.tree_util.tree_flatten_with_path(params)
    initial = {jax.tree_util.keystr(path).strip("."): np.asarray(value) for path, value in leaves}
    return Equinox(initial, static, tree)


def _below(parts, kind):
    """Modules, and those within them."""
    for part in parts:
        if isinstance(part, kind):
            yield part
            within = jax.tree_util.tree_leaves(
                part, is_leaf=lambda x, own=part: isinstance(x, kind) and x is not own
            )
            yield from _below([x for x in within if x is not part], kind)


@dataclass(frozen=True, eq=False)
class Flax:
    """A flax ``nnx`` module; its layers take rows on leading axes."""

    initial: dict[str, np.ndarray]
    graph: Any
    state: Any
    paths: tuple

    def arrays(self, _rng):
        """Those that the module came with."""
        return dict(self.initial)

    def apply(self, arrays, *inputs):
        """See `elboroom.ppl.modules.Network.apply`."""
        from flax import nnx

        flat = {path: arrays[key] for path, key in zip(self.paths, self.initial, strict=True)}
        state = nnx.State.from_flat_path(
            {path: value.replace(flat[path]) for path, value in dict(nnx.to_flat_state(self.state)).items()}
        )
        return nnx.merge(self.graph, state)(*inputs)


def _flax(name, net):
    from flax import nnx

    _check(name, [part for _, part in nnx.iter_graph(net)])
    graph, params, rest = nnx.split(net, nnx.Param, ...)
    if jax.tree_util.tree_leaves(rest):
        raise _impure(name, "a state beside its weights")
    flat = dict(nnx.to_flat_state(params))
    initial = {".".join(map(str, path)): np.asarray(value.get_value()) for path, value in flat.items()}
    return Flax(initial, graph, params, tuple(flat))


def _check(name: str, parts: list[Any]) -> None:
    """Refuse layers that are no functions of one row."""
    for part in parts:
        kinds = {kind.__name__ for kind in type(part).__mro__}
        if kinds & set(STATEFUL):
            raise _impure(
                name, f"{type(part).__name__}, through which rows see each other or a state is kept"
            )
        if kinds & set(RANDOM) and _rate(part) > 0:
            raise _impure(name, f"{type(part).__name__}, which draws at random")


def _rate(part) -> float:
    return 0.0 if getattr(part, "inference", False) else float(getattr(part, "p", getattr(part, "rate", 1.0)))


def _impure(name: str, got: str) -> UnsupportedError:
    remedy = "take the layer out; LayerNorm and GroupNorm normalise within a row"
    return UnsupportedError(
        explain(f"er.module '{name}'", "a pure function of one row and its weights", got, remedy)
    )
