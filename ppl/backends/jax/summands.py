"""What the scalars that a function returns are sums of, read from its trace: a factor is often handed over as one number."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
from jax.extend import core


def unsummed(fn: Callable) -> Callable:
    """A function that returns, in place of each scalar of the dict that `fn` returns, the array whose sum it is.

    Sums are followed through additions, signs and factors that are numbers; what is no sum stays a scalar.

    Examples
    --------
    >>> unsummed(lambda x: {"y": 1.0 - 0.5 * jnp.sum(x**2)})(jnp.arange(3.0))["y"].tolist()
    [1.0, -0.0, -0.5, -2.0]
    """

    def found(*args):
        closed, shape = jax.make_jaxpr(fn, return_shape=True)(*args)
        jaxpr, names = closed.jaxpr, sorted(shape)  # the order in which a dict is flattened
        makers = {variable: equation for equation in jaxpr.eqns for variable in equation.outvars}
        parts = [
            list(_summands(atom, 1.0, makers)) if atom.aval.ndim == 0 else [(1.0, atom)]
            for atom in jaxpr.outvars
        ]
        atoms = [atom for part in parts for _, atom in part]
        inner = core.ClosedJaxpr(
            jaxpr.replace(outvars=atoms, debug_info=jaxpr.debug_info.with_unknown_names()), closed.consts
        )
        values = iter(core.jaxpr_as_fun(inner)(*jax.tree.leaves(args)))
        out = {}
        for name, part in zip(names, parts, strict=True):
            own = [scale * next(values) for scale, _ in part]
            out[name] = own[0] if len(own) == 1 else jnp.concatenate([jnp.ravel(x) for x in own])
        return out

    return found


def _summands(atom, scale: float, makers: dict) -> Iterator[tuple[float, object]]:
    """Arrays, with a factor of each, whose elements add up to a scalar."""
    equation = makers.get(atom) if isinstance(atom, core.Var) else None
    kind = equation.primitive.name if equation is not None else ""
    given = equation.invars if equation is not None else []
    if kind == "reduce_sum" and given[0].aval.ndim:
        yield scale, given[0]
    elif kind in {"add", "sub"} and all(one.aval.ndim == 0 for one in given):
        yield from _summands(given[0], scale, makers)
        yield from _summands(given[1], -scale if kind == "sub" else scale, makers)
    elif kind == "neg":
        yield from _summands(given[0], -scale, makers)
    elif kind == "mul" and any(isinstance(one, core.Literal) for one in given):
        factor, other = given if isinstance(given[0], core.Literal) else given[::-1]
        yield from _summands(other, scale * float(factor.val), makers)
    elif kind == "reduce_sum" or (
        kind == "convert_element_type" and jnp.issubdtype(given[0].aval.dtype, jnp.floating)
    ):
        yield from _summands(given[0], scale, makers)
    else:
        yield scale, atom
