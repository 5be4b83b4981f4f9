"""``er.priors``: laws of latent quantities that are learned with the model.

Beside them a mixture is written as `elboroom.MixtureSameFamily` over arrays of `elboroom.param`.

Examples
--------
>>> import numpy as np
>>> import elboroom as er
>>> @er.model
... def two(y):
...     with er.plate("row", len(y)):
...         z = er.sample("z", er.priors.Flow("affine", 2))
...         er.observe("y", er.Normal(z, 0.5).to_event(1), y)
>>> list(two(np.zeros((20, 2))).trace().weights)
['flow']

References
----------
Tomczak & Welling (2018), VAE with a VampPrior, AISTATS. Dinh, Sohl-Dickstein & Bengio (2017), Density estimation using Real NVP,
ICLR. Chen et al. (2017), Variational lossy autoencoder, ICLR, on flows as priors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from . import constraints
from . import math as m
from .distributions import Categorical, MixtureSameFamily, Normal
from .distributions.base import constrained
from .distributions.formula import Formula
from .errors import ModelError, explain
from .modules import own_rng
from .names import check_name
from .nn import MLP
from .nn.layers import size_of
from .primitives import interpreter_of
from .thresholds import FLOW_COUPLINGS, FLOW_REACH, FLOW_UNITS, LOG_SDS, QUOTED

PSEUDO = ":pseudo"
"""What the name of a module is followed by in that of its pseudo-inputs among the learned arrays."""
KINDS = ("affine",)
"""Of couplings."""


def VampPrior(module: str, num_components: int = 500) -> MixtureSameFamily:
    """The laws that an encoder gives to learned pseudo-inputs, mixed in equal parts.

    A row's coordinates are then, a priori, as the encoder has them of typical rows: the best prior of a model for its encoder is
    the average of the laws of all rows, of which this is an approximation that does not overfit.

    Parameters
    ----------
    module : str
        Name of an `elboroom.module` of the model, declared before, which is also the encoder: ``guide=er.Amortized("encode")``.
        Of a row it makes means, then log sds.
    num_components : int, default 500
        Pseudo-inputs. Where the module is the encoder of a fit they begin at rows of the data, drawn by the seed.

    Returns
    -------
    MixtureSameFamily
        Of vectors with half as many numbers as the module makes.

    Raises
    ------
    ModelError
        If there is no such module, its number of inputs is not known, or it makes an odd number of numbers.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def vae(x):
    ...     decode = er.module("decode", er.nn.MLP(2, [16], 5))
    ...     er.module("encode", er.nn.MLP(5, [16], 4))
    ...     with er.plate("row", len(x)):
    ...         z = er.sample("z", er.priors.VampPrior("encode", 10))
    ...         er.observe("x", er.Normal(decode(z), 0.5).to_event(1), x)
    >>> vae(np.zeros((20, 5))).trace().weights["encode:pseudo"].shape
    (10, 5)
    """
    what = "er.priors.VampPrior"
    interpreter = interpreter_of(what)
    num = size_of(what, "num_components", num_components)
    found = interpreter.declared(module) if isinstance(module, str) else None
    if found is None:
        got = f"{module!r}"[:QUOTED]
        remedy = "declare it before: er.module('encode', er.nn.MLP(64, [256], 16))"
        raise ModelError(explain(f"module of {what}", "the name of a module of the model", got, remedy))
    network, weights = found
    size = getattr(network, "num_in", None) or int(np.prod(getattr(network, "shape", (0,))))
    if not size:
        remedy = "use one of er.nn"
        raise ModelError(explain(f"module of {what}", "a network that says what comes in", type(network).__name__, remedy))  # fmt: skip
    start = own_rng(module, 0).uniform(size=(num, size))
    pseudo = interpreter.param(f"{module}{PSEUDO}", start)
    laws = interpreter.through(module, network.apply, weights, (pseudo,))
    units, odd = divmod(int(np.shape(laws)[-1]), 2)
    if odd:
        raise ModelError(explain(f"module of {what}", "an even number of numbers of a row: means, then log sds",
                                 f"{2 * units + 1}", "let its last layer make twice as many as there are units"))  # fmt: skip
    scale = m.exp(m.clip(laws[:, units:], *LOG_SDS))
    return MixtureSameFamily(Categorical(logits=np.zeros(num)), Normal(laws[:, :units], scale).to_event(1))


def Flow(kind: str = "affine", num_units: int = 0, name: str = "flow") -> Coupled:
    """A law of vectors: independent standard normals that learned couplings have moved.

    Parameters
    ----------
    kind : {"affine"}
        Of couplings: half of the coordinates shift and scale the others (Dinh et al. 2017).
    num_units : int
        Coordinates, two or more.
    name : str, default "flow"
        Of its learned array, unique in the model.

    Returns
    -------
    Distribution
        Of vectors.

    Raises
    ------
    ModelError
        For another kind, fewer coordinates, or a name that is none.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def vae(x):
    ...     decode = er.module("decode", er.nn.MLP(2, [16], 5))
    ...     with er.plate("row", len(x)):
    ...         z = er.sample("z", er.priors.Flow("affine", 2))
    ...         er.observe("x", er.Normal(decode(z), 0.5).to_event(1), x)
    >>> sorted(vae(np.zeros((20, 5))).trace().weights)[-1]
    'flow'
    """
    what = "er.priors.Flow"
    if kind not in KINDS:
        raise ModelError(
            explain(f"kind of {what}", f"one of {list(KINDS)}", f"{kind!r}"[:QUOTED], "write 'affine'")
        )
    units = size_of(what, "num_units", num_units, 2)
    check_name(what, name)
    start = packed(units, own_rng(name, 0))
    return Coupled(interpreter_of(what).param(name, start), units)


@dataclass(frozen=True, eq=False, repr=False)
class Coupled(Formula):
    """Vectors of standard normals that couplings have moved, one after the other.

    Parameters
    ----------
    arrays : array_like, shape (P,)
        Weights of all couplings' networks, one after the other, see `packed`.
    num_units : int
        Coordinates.

    Examples
    --------
    >>> law = Coupled(packed(2, np.random.default_rng(0)), 2)  # begins as standard normals
    >>> law.log_density(np.zeros((1, 2))).round(4)
    array([-1.8379])
    """

    arg_constraints = constrained(arrays=constraints.real_vector)
    arrays: Any
    num_units: int

    @property
    def support(self):
        return constraints.real_vector

    @property
    def event_shape(self):
        return (self.num_units,)

    def log_density(self, value):
        logs = 0.0
        for number in reversed(range(FLOW_COUPLINGS)):
            shift, log_scale = self._coupled(value, number)
            value = (value - shift) * m.exp(-log_scale)
            logs = logs - m.sum(log_scale, axis=-1)
        return logs - m.sum(0.5 * value * value + 0.5 * np.log(2 * np.pi), axis=-1)

    def draw(self, random, shape):
        value = random.normal((*shape, self.num_units))
        for number in range(FLOW_COUPLINGS):
            shift, log_scale = self._coupled(value, number)
            value = value * m.exp(log_scale) + shift
        return value

    def _coupled(self, value, number):
        """Shifts and log scales of a coupling; none of the coordinates that it sees."""
        stay = m.like(_seen(self.num_units, number), value)
        found = _network(self.num_units).apply(_unpacked(self.arrays, self.num_units, number), value * stay)
        moves = 1.0 - stay
        units = self.num_units
        return moves * found[..., :units], moves * FLOW_REACH * m.tanh(found[..., units:])


def _network(num_units: int) -> MLP:
    return MLP(num_units, [FLOW_UNITS, FLOW_UNITS], 2 * num_units)


def _seen(num_units: int, number: int) -> np.ndarray:
    """Which coordinates stay and decide how the others go: every other one, then the others; then by pairs, and so on."""
    stride = 1 + (number // 2) % max(1, num_units // 2)
    return ((np.arange(num_units) // stride + number) % 2 == 0).astype(float)


def packed(num_units: int, rng: np.random.Generator) -> np.ndarray:
    """Weights of all couplings where they begin: none of them moves anything."""
    parts = []
    for _ in range(FLOW_COUPLINGS):
        made = _network(num_units).arrays(rng)
        last = max(made)
        parts += [(0.0 if key == last else 1.0) * value.ravel() for key, value in sorted(made.items())]
    return np.concatenate(parts)


def _unpacked(arrays: Any, num_units: int, number: int) -> dict[str, Any]:
    """The weights of one coupling's network."""
    shapes = {
        key: value.shape
        for key, value in sorted(_network(num_units).arrays(np.random.default_rng(0)).items())
    }
    start = number * sum(int(np.prod(shape)) for shape in shapes.values())
    out = {}
    for key, shape in shapes.items():
        stop = start + int(np.prod(shape))
        out[key], start = m.reshape(arrays[start:stop], shape), stop
    return out
