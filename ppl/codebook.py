"""``er.Codebook``: latent vectors that are entries of a learned table.

References
----------
van den Oord, Vinyals & Kavukcuoglu (2017), Neural discrete representation learning, NeurIPS.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from . import constraints
from . import math as m
from .distributions.base import constrained
from .distributions.formula import Formula
from .modules import own_rng
from .names import check_name
from .nn import Causal
from .nn.layers import size_of
from .primitives import interpreter_of
from .thresholds import CODE_STATE

VECTORS, PRIOR = ":vectors", ":prior"
"""What the name of a codebook is followed by in those of its learned arrays: the codes, and how they follow each other."""


def Codebook(name: str, num_codes: int = 512, num_units: int = 64, num_places: int = 1) -> Codes:
    """A latent vector that is one of a table of learned ones, or a sequence of such.

    Parameters
    ----------
    name : str
        Of its learned arrays, unique in the model.
    num_codes : int, default 512
        Entries of the table.
    num_units : int, default 64
        Numbers of an entry.
    num_places : int, default 1
        Entries of a row, one after the other.

    Returns
    -------
    Distribution
        Of vectors of shape ``(num_units,)``, or of shape ``(num_places, num_units)`` where there are several places. While networks
        are trained all entries have the same probability; then those of a single place get the shares that they have in the data,
        and of several places each the probability that a gated recurrent network gives it after those before, so that new rows can
        be simulated.

    Raises
    ------
    ModelError
        For a name that is none or sizes that are no positive whole numbers.

    See Also
    --------
    elboroom.Quantized : its guide.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def quantized(x):
    ...     decode = er.module("decode", er.nn.MLP(4, [16], 5))
    ...     with er.plate("row", len(x)):
    ...         z = er.sample("z", er.Codebook("codes", 32, 4))
    ...         er.observe("x", er.Normal(decode(z), 0.5).to_event(1), x)
    >>> quantized(np.zeros((20, 5))).trace().weights["codes:vectors"].shape
    (32, 4)
    """
    what = "er.Codebook"
    check_name(what, name)
    num, units = size_of(what, "num_codes", num_codes, 2), size_of(what, "num_units", num_units)
    places, interpreter = size_of(what, "num_places", num_places), interpreter_of(what)
    rng = own_rng(name, 0)
    vectors = interpreter.param(f"{name}{VECTORS}", rng.normal(size=(num, units)))
    prior = interpreter.param(f"{name}{PRIOR}", even(num, units, places, rng))
    return Codes(vectors, prior, places)


@dataclass(frozen=True, eq=False, repr=False)
class Codes(Formula):
    """Entries of a table.

    Parameters
    ----------
    vectors : array_like, shape (K, D)
        The table.
    prior : array_like
        Log probabilities of the entries up to a constant, ``(K,)``; of several places the weights of a network, see `even`.
    num_places : int

    Notes
    -----
    The density of a vector is the probability of the entry that is nearest to it.

    Examples
    --------
    >>> law = Codes(np.eye(4), np.zeros(4), 1)
    >>> law.log_density(np.array([0.9, 0.1, 0.0, 0.0])).round(4)
    np.float64(-1.3863)
    """

    arg_constraints = constrained(
        vectors=constraints.independent(constraints.real, 2), prior=constraints.real_vector
    )
    vectors: Any
    prior: Any
    num_places: int

    @property
    def support(self):
        return constraints.independent(constraints.real, len(self.event_shape))

    @property
    def event_shape(self):
        own = (int(np.shape(self.vectors)[1]),)
        return own if self.num_places == 1 else (self.num_places, *own)

    def log_density(self, value):
        code = nearest(self.vectors, value)
        chosen = m.like(m.expand_dims(code, -1) == np.arange(np.shape(self.vectors)[0]), value)
        if self.num_places == 1:
            return m.sum(chosen * m.log_softmax(self.prior), axis=-1)
        return m.sum(chosen * self._after(m.matmul(chosen, self.vectors)), axis=(-2, -1))

    def draw(self, random, shape):
        if self.num_places == 1:
            return m.take(self.vectors, random.categorical(self.prior, shape), axis=0)
        sources = random.parts(self.num_places)
        value = m.like(np.zeros((*shape, *self.event_shape)), self.vectors)
        for place, source in enumerate(sources):
            code = source.categorical(self._after(value)[..., place, :], shape)
            here = m.like(np.arange(self.num_places) == place, value)[:, None]
            value = value + here * m.expand_dims(m.take(self.vectors, code, axis=0), -2)
        return value

    def _after(self, value):
        """Log probabilities of each place's entries, after those before it, shape ``(..., places, K)``."""
        num, units = np.shape(self.vectors)
        return m.log_softmax(_network(num, units).apply(_unpacked(self.prior, num, units), value))


def nearest(vectors: Any, value: Any) -> Any:
    """Positions ``(...)`` of the entries ``(K, D)`` that are nearest to vectors ``(..., D)``."""
    apart = m.sum(vectors * vectors, axis=-1) - 2.0 * m.matmul(value, m.matrix_transpose(vectors))
    return m.argmin(apart, axis=-1)


def even(num_codes: int, num_units: int, num_places: int, rng: np.random.Generator) -> np.ndarray:
    """Arrays of a prior where it begins: all entries alike."""
    if num_places == 1:
        return np.zeros(num_codes)
    made = _network(num_codes, num_units).arrays(rng)
    return np.concatenate(
        [(0.0 if k.startswith("out.") else 1.0) * v.ravel() for k, v in sorted(made.items())]
    )


def _network(num_codes: int, num_units: int) -> Causal:
    return Causal(num_units, CODE_STATE, num_codes)


def _unpacked(arrays: Any, num_codes: int, num_units: int) -> dict[str, Any]:
    """Weights of the network from one array."""
    like = _network(num_codes, num_units).arrays(np.random.default_rng(0))
    out, start = {}, 0
    for key, value in sorted(like.items()):
        out[key] = m.reshape(arrays[start : start + value.size], value.shape)
        start += value.size
    return out
