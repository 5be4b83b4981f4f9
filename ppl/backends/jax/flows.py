"""Normalising flows on flowjax, and the ascent of their bound.

Making a layer is many small operations, each of which JAX would compile by itself. Here layers are made while a
function is traced, and what they bring is replaced by the given weights before anything is computed.
"""

from __future__ import annotations

import re
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from ...thresholds import AVERAGED, CLIPPED, SPLINE_BOUND, SPLINE_SLOPE, SPLINE_WIDTHS
from ..flows import STEEPEST, Layers
from .arrays import Function, precision

__all__ = ["flow"]


@cache
def flow(kind: str, dim: int, num_layers: int, width: int, knots: int, dtype: str, rest: int = 0) -> Flow:
    """The flow of these settings, compiled once for all fits."""
    return Flow(kind, dim, num_layers, width, knots, dtype, rest)


class Flow(Layers):
    """Equal layers, one after the other; their weights, and the order of coordinates before each, are arguments."""

    last = "layers.2"

    def __init__(self, kind, dim, num_layers, width, knots, dtype, rest=0):
        super().__init__(kind, dim, num_layers, width, knots, dtype, rest)
        self.forward = Function(self.pushed, dtype)
        self.inverse = Function(self.pulled, dtype)
        self.pullback = Function(jax.grad(self._weighed), dtype)

    def through(self, eps, params, order):
        """`forward` within a function that is compiled: points and log Jacobian."""
        return self.pushed(eps, params, order)

    def layer_shapes(self):
        with precision(self.dtype):
            found = jax.eval_shape(lambda: dict(_weights(self._layer())))
        return {name: array.shape for name, array in found.items()}

    def _layer(self):
        """One layer with weights of its own; to be called while a function is traced."""
        import equinox as eqx
        from flowjax.bijections import Affine, Chain, Coupling, MaskedAutoregressive, RationalQuadraticSpline
        from paramax import Parameterize

        def slopes(shape, steepest):
            return Parameterize(lambda s: jnp.exp(s / (1 + jnp.abs(s) / steepest)), jnp.zeros(shape))

        transformer = eqx.tree_at(lambda a: a.scale, Affine(), slopes((), STEEPEST))
        if self.kind == "spline":
            spline = RationalQuadraticSpline(knots=self.knots, interval=SPLINE_BOUND, min_width=SPLINE_WIDTHS)
            spline = eqx.tree_at(
                lambda s: s.derivatives, spline, slopes(self.knots + 2, -np.log(SPLINE_SLOPE))
            )
            transformer = Chain([spline, transformer])
        settings = {"transformer": transformer, "dim": self.dim, "nn_width": self.width, "nn_depth": 2}
        settings["nn_activation"] = jax.nn.silu
        if self.kind == "iaf":
            return MaskedAutoregressive(jax.random.key(0), **settings)
        return Coupling(jax.random.key(0), untransformed_dim=self.dim // 2, **settings)

    def _filled(self, params):
        """A layer with the given weights."""
        layer = self._layer()
        own = dict(_weights(layer))
        leaves, tree = jax.tree_util.tree_flatten(layer)
        given = {id(leaf): params[name] for name, leaf in own.items()}
        return jax.tree_util.tree_unflatten(tree, [given.get(id(leaf), leaf) for leaf in leaves])

    def bent(self, x, params, order):
        def through(carry, one):
            weights, places = one
            x, change = jax.vmap(self._filled(weights).transform_and_log_det)(carry[0][:, places])
            return (x, carry[1] + change), None

        begin = x, jnp.zeros(len(x), x.dtype)
        return jax.lax.scan(through, begin, (_layers(params), order))[0]

    def straight(self, x, params, order):
        def back(carry, one):
            weights, places = one
            x, change = jax.vmap(self._filled(weights).inverse_and_log_det)(carry[0])
            return (x[:, jnp.argsort(places)], carry[1] + change), None

        begin = x, jnp.zeros(len(x), x.dtype)
        return jax.lax.scan(back, begin, (_layers(params), order), reverse=True)[0]

    def begin(self, params):
        """State of an ascent."""
        import optax

        zeros = {name: np.zeros_like(value) for name, value in params.items()}
        adam = optax.ScaleByAdamState(np.zeros((), np.int32), dict(zeros), dict(zeros))
        return {"params": dict(params), "average": dict(params), "adam": adam}

    def ascent(self, density, num_draws: int):
        """``fn(state, inputs, constants) -> (state, bounds)``: many steps of Adam in one compiled call.

        Parameters
        ----------
        density : Density
            Whose bound it is; its data and weights come with the constants.
        num_draws : int
            Draws per step, half of them the negatives of the others.
        """
        import optax

        adam, clip = optax.scale_by_adam(), optax.clip_by_global_norm(CLIPPED)
        gradient = jax.vmap(jax.value_and_grad(density.scaled_total), (0, None, None, None))
        fixed = jax.lax.stop_gradient

        def loss(params, eps, constants):
            order, scale = constants["order"], constants["scale_tril"]
            x, log_det = self.pushed(eps, params, order)
            z = constants["mean"] + fixed(x) @ scale.T
            value, grad = gradient(z, constants["data"], constants["weights"], {})
            good = jnp.isfinite(value) & jnp.isfinite(grad).all(1)
            path = (x * (jnp.where(good[:, None], grad, 0.0) @ scale)).sum(1)
            if self.kind == "iaf":  # its inverse takes as many passes as there are coordinates
                path = path + log_det
            else:
                back, change = self.pulled(x, fixed(params), order)
                path = path + 0.5 * (back * back).sum(1) - change
            bound = value + log_det + 0.5 * (eps * eps).sum(1)
            count = jnp.maximum(good.sum(), 1)
            return -jnp.where(good, path, 0.0).sum() / count, (
                jnp.where(good, bound, 0.0).sum() / count,
                good.mean(),
            )

        def step(state, given, constants):
            half = jax.random.normal(
                jax.random.key(given["seed"]), (num_draws // 2, self.dim + self.rest), self.dtype
            )
            eps = jnp.concatenate([half, -half])
            grad, (bound, good) = jax.grad(loss, has_aux=True)(state["params"], eps, constants)
            sound = jnp.isfinite(optax.tree.norm(grad))
            grad = jax.tree_util.tree_map(lambda g: jnp.where(sound, g, 0.0), grad)
            move, inner = adam.update(clip.update(grad, optax.EmptyState())[0], state["adam"])
            params = {k: p - given["rate"] * move[k] for k, p in state["params"].items()}
            average = {k: AVERAGED * a + (1 - AVERAGED) * params[k] for k, a in state["average"].items()}
            return {"params": params, "average": average, "adam": inner}, (bound, good)

        def run(state, inputs, constants):
            return jax.lax.scan(lambda carry, one: step(carry, one, constants), state, inputs)

        return Function(run, self.dtype, density.clock)


def _layers(params):
    return {name: value for name, value in params.items() if not name.startswith("given.")}


def _weights(layer):
    """Name and array of each weight of a layer."""
    import equinox as eqx

    for path, leaf in jax.tree_util.tree_flatten_with_path(layer)[0]:
        if eqx.is_inexact_array(leaf):
            yield re.sub(r"[\[\]'.]+", ".", jax.tree_util.keystr(path)).strip("."), leaf
