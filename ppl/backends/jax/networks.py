"""Modules of equinox and flax as networks of the language."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..networks import ALLOWED_WHEN_STILL, impure, made_inside, unknown

STATEFUL = ("BatchNorm", "SpectralNorm", "StateIndex")
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
    for kind in type(net).__mro__:
        match kind.__module__.split(".")[:2]:
            case ["flax", "nnx"]:
                return _flax(name, net)
            case ["equinox", *_]:
                return _equinox(name, net)
    other = "give one, or an object with arrays(rng) and apply(arrays, x)"
    remedies = {
        "torch": "fit with backend='torch', or write the network with er.nn, which both backends take",
        "flax": "write it with flax.nnx, whose modules hold their weights",
        "": other,
    }
    raise unknown(name, net, "a network of er.nn, equinox or flax.nnx", remedies)


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
        lead = np.broadcast_shapes(*(np.shape(x)[:-1] for x in inputs))
        rows = [jnp.broadcast_to(x, (*lead, *np.shape(x)[-1:])) for x in inputs]
        for _ in lead:
            net = jax.vmap(net)
        return net(*rows)


def _equinox(name, net):
    import equinox as eqx

    _check(name, [net, *_below(_parts(net, eqx.Module), eqx.Module)])
    params, static = eqx.partition(net, eqx.is_inexact_array)
    leaves, tree = jax.tree_util.tree_flatten_with_path(params)
    initial = _numbers(
        name, {jax.tree_util.keystr(path, simple=True, separator="."): value for path, value in leaves}
    )
    return Equinox(initial, static, tree)


def _below(parts, kind):
    """Modules, and those within them."""
    for part in parts:
        if isinstance(part, kind):
            yield part
            within = _parts(part, kind)
            yield from _below([x for x in within if x is not part], kind)


def _parts(net, kind) -> list[Any]:
    """The modules that a module holds itself, and its other leaves."""
    return jax.tree_util.tree_leaves(net, is_leaf=lambda x: isinstance(x, kind) and x is not net)


@dataclass(frozen=True, eq=False)
class Flax:
    """A flax ``nnx`` module; its layers take rows on leading axes, and what it holds beside its weights is constant."""

    name: str
    initial: dict[str, np.ndarray]
    graph: Any
    params: Any
    rest: Any
    paths: tuple

    def arrays(self, _rng):
        """Those that the module came with."""
        return dict(self.initial)

    def apply(self, arrays, *inputs):
        """See `elboroom.ppl.modules.Network.apply`.

        Raises
        ------
        UnsupportedError
            If the module changes what it holds, as random numbers do.
        """
        from flax import nnx

        flat = {path: arrays[key] for path, key in zip(self.paths, self.initial, strict=True)}
        known = dict(nnx.to_flat_state(self.params))
        params = nnx.from_flat_state({path: value.replace(flat[path]) for path, value in known.items()})
        net = nnx.merge(self.graph, params, self.rest, copy=True)
        before = _leaves(nnx.state(net, nnx.Not(nnx.Param)))
        out = net(*map(jnp.asarray, inputs))
        after = _leaves(nnx.state(net, nnx.Not(nnx.Param)))
        changed = [key for key in after if key not in before or after[key] is not before[key]]
        if changed:
            raise impure(self.name, f"one that changes its state '{changed[0]}'", ALLOWED_WHEN_STILL)
        return out


def _leaves(state) -> dict[str, Any]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    return {jax.tree_util.keystr(path, simple=True, separator="."): value for path, value in leaves}


def _flax(name, net):
    from flax import nnx

    _check(name, [part for _, part in nnx.iter_graph(net)])
    graph, *states = nnx.split(net, nnx.Param, ...)
    params, rest = states
    flat = dict(nnx.to_flat_state(params))
    initial = _numbers(name, {".".join(map(str, path)): value.get_value() for path, value in flat.items()})
    return Flax(name, initial, graph, params, rest, tuple(flat))


def _numbers(name: str, weights: dict[str, Any]) -> dict[str, np.ndarray]:
    """Weights on the host.

    Raises
    ------
    ModelError
        If there are none yet, as the model makes them.
    """
    if any(isinstance(value, jax.core.Tracer) for value in weights.values()):
        raise made_inside(name)
    return {key: np.asarray(value) for key, value in weights.items()}


def _check(name: str, parts: list[Any]) -> None:
    """Refuse layers that are no functions of one row."""
    for part in parts:
        kinds = {kind.__name__ for kind in type(part).__mro__}
        if kinds & set(STATEFUL):
            raise impure(name, f"{type(part).__name__}, through which rows see each other or a state is kept")
        if kinds & set(RANDOM) and _rate(part) > 0:
            raise impure(name, f"{type(part).__name__}, which draws at random", ALLOWED_WHEN_STILL)


def _rate(part) -> float:
    """How much of its input a layer drops; nothing where it is switched off."""
    off = getattr(part, "inference", False) or getattr(part, "deterministic", False)
    return 0.0 if off else float(getattr(part, "p", getattr(part, "rate", 1.0)))
