"""Learned arrays and networks in a model: ``param`` and ``module``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from zlib import crc32

import numpy as np

from .errors import DataError, ModelError, explain
from .names import check_name
from .primitives import interpreter_of


class Network(Protocol):
    """A pure function of named arrays, as the language takes one: those of `elboroom.nn`, or a library's, adapted."""

    def arrays(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Initial weights, by name; a network that comes with weights gives those."""
        ...

    def apply(self, arrays: Mapping[str, Any], *inputs: Any) -> Any:
        """What comes out for inputs of a backend, rows on their leading axes."""
        ...


@dataclass(frozen=True, eq=False)
class Module:
    """A network in a running model: call it on arrays of the model.

    Attributes
    ----------
    name : str
    network : Network
    values : mapping
        Its weights in this run.
    """

    name: str
    network: Network
    values: Mapping[str, Any]

    def __call__(self, *inputs: Any) -> Any:
        """What comes out."""
        return self.network.apply(self.values, *inputs)


def param(name: str, init: Any) -> Any:
    """Declare an array that is fitted: a point, with no prior and no verdict.

    It is chosen to make the evidence lower bound as large as it will be, together with the guide. Verdicts of all other
    quantities are then given its value. A scale is written as ``er.math.exp(er.param("log_scale", 0.0))``.

    Parameters
    ----------
    name : str
        Unique among the learned arrays of the model.
    init : array
        Where it begins; its shape is that of the array.

    Returns
    -------
    array
        Its value.

    Raises
    ------
    DataError
        If it is no array of finite numbers.
    DuplicateSiteError
        If the name is taken.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def shifted(y):
    ...     shift = er.param("shift", 0.0)
    ...     with er.plate("row", len(y)):
    ...         z = er.sample("z", er.Normal(shift, 1.0))
    ...         er.observe("y", er.Normal(z, 1.0), y)
    >>> {name: value.shape for name, value in shifted([0.5, 1.0]).trace().weights.items()}
    {'shift': ()}
    """
    check_name("param", name)
    interpreter = interpreter_of("param")
    _check_init(f"er.param '{name}'", init)
    return interpreter.param(name, init)


def module(name: str, net: Any, prior: Any = None) -> Any:
    """Declare a network in a model.

    Parameters
    ----------
    name : str
        Unique among the networks of the model.
    net : network
        One of `elboroom.nn`; on JAX an equinox or flax ``nnx`` module, on PyTorch a ``torch.nn.Module``. An equinox module is
        mapped over all axes of its inputs but the last, as its own layers see one row.
    prior : Distribution, optional
        Law of each weight: they are latent sites then, ``"name.weight"``, with verdicts of their own. Without, they are
        fitted: points that verdicts are given.

    Returns
    -------
    Module
        To be called on arrays of the model; leading axes are rows.

    Raises
    ------
    ModelError
        If `net` is no network, or is declared inside a plate.
    UnsupportedError
        If it keeps a state, draws at random, or lets rows see each other, as batch normalisation does.
    DataError
        If its weights are not finite.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def curve(x, y):
    ...     f = er.module("f", er.nn.MLP(1, [8], 1, activation="tanh"))
    ...     s = er.sample("s", er.HalfNormal(1))
    ...     with er.plate("row", len(y)):
    ...         er.observe("y", er.Normal(f(x)[:, 0], s), y)
    >>> sorted(curve(np.zeros((3, 1)), np.zeros(3)).trace().weights)
    ['f.layers.0.bias', 'f.layers.0.weight', 'f.layers.1.bias', 'f.layers.1.weight']
    """
    check_name("module", name)
    interpreter = interpreter_of("module")
    if isinstance(net, type) or net is None:
        got = "None" if net is None else f"the class {net.__name__}"
        raise ModelError(
            explain(f"er.module '{name}'", "a network", got, "make one, such as er.nn.MLP(8, [64], 1)")
        )
    network = net if _is_network(net) else interpreter.network(name, net)
    initial = network.arrays(own_rng(name, 0))
    _check_weights(name, initial)
    interpreter.declare(name, network)
    if prior is not None:
        if interpreter.plates:
            open_ = ", ".join(name for name, _ in interpreter.plates)
            raise ModelError(explain(f"er.module '{name}'", "weights with a prior outside of plates",
                                     f"plate '{open_}' around it", "declare it before the plate"))  # fmt: skip
        values = {
            key: _latent(interpreter, f"{name}.{key}", prior, np.shape(value))
            for key, value in initial.items()
        }
    else:
        values = {key: interpreter.param(f"{name}.{key}", value) for key, value in initial.items()}
    return Module(name, network, values)


def own_rng(name: str, seed: int) -> np.random.Generator:
    """Random numbers of a network's initial weights."""
    return np.random.default_rng([seed, crc32(name.encode())])


def _is_network(net: Any) -> bool:
    return callable(getattr(net, "arrays", None)) and callable(getattr(net, "apply", None))


def _latent(interpreter, name, prior, shape):
    law = prior.expand(shape).to_event(len(shape)) if shape else prior
    return interpreter.sample(name, law)


def _check_init(what: str, init: Any) -> None:
    """Refuse what is no array of finite numbers; what the model computed is looked at where its numbers are."""
    if hasattr(init, "aval") or hasattr(init, "requires_grad"):
        return
    try:
        value = np.asarray(init, np.float64)
    except (TypeError, ValueError):
        raise DataError(
            explain(what, "an initial value: a number or an array", type(init).__name__, "pass the numbers")
        ) from None
    if not np.isfinite(value).all():
        raise DataError(
            explain(
                what,
                "finite numbers",
                f"{int((~np.isfinite(value)).sum())} that are not",
                "correct the initial value",
            )
        )


def _check_weights(name: str, initial: Mapping[str, np.ndarray]) -> None:
    """Refuse a network whose weights are not finite.

    Raises
    ------
    DataError
    """
    for key, value in initial.items():
        lost = int((~np.isfinite(value)).sum())
        if lost:
            raise DataError(explain(f"er.module '{name}'", "finite weights", f"{lost} of '{key}' that are not",
                                    "load or make the network anew"))  # fmt: skip
