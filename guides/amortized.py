"""Encoders: a network from the data of a row to the law of its latent quantities.

References
----------
Kingma & Welling (2014), Auto-encoding variational Bayes, ICLR. Rezende, Mohamed & Wierstra (2014), Stochastic
backpropagation and approximate inference in deep generative models, ICML. Kim, Wiseman, Miller, Sontag & Rush (2018),
Semi-amortized variational autoencoders, ICML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..ppl import math as m
from ..ppl.errors import GuideError, ShapeError, explain
from ..ppl.modules import fitting
from ..ppl.nn import MLP
from .thresholds import ENCODER_UNITS, FARTHEST, LEAST_ENCODER, LOG_SDS, MOST_ENCODER

DENSE = {"mean-field": False, "full-rank": True}
"""Laws of a row that an encoder can lead to, and whether they have a covariance."""


@dataclass(frozen=True)
class Amortized:
    """A family for the latent quantities of rows: an encoder gives the law of each from its data.

    Parameters
    ----------
    module : str or network, optional
        Name of an `elboroom.module` of the model, or a network: of `elboroom.nn`, or a module of equinox, flax ``nnx`` or
        PyTorch (which a file cannot describe: a loaded posterior has no `latent` unless the model names it); sized from the model where it is left out. Of a row's data,
        flattened and one after the other, it makes twice as many numbers as the row has unconstrained coordinates: means, then
        log sds; with ``within="full-rank"`` the entries below the diagonal of a Cholesky factor follow, in units of its rows' sds.
    within : {"mean-field", "full-rank"}
        Law of the coordinates of a row.
    sees : sequence of str, optional
        Arguments of the model that run along the plate and that the encoder sees; by default all of them.
    iterations : int, default 0
        Steps that the law of each row takes after training, from the encoder's answer up its own bound (Kim et al. 2018): some
        hundreds make it the best law of its kind for that row.

    Raises
    ------
    GuideError
        For another law, or a number of steps that is none.

    Examples
    --------
    >>> Amortized(within="full-rank").within
    'full-rank'
    """

    module: Any = None
    within: str = "mean-field"
    sees: Sequence[str] | None = None
    iterations: int = 0

    name = "amortized"
    encodes = True

    def __post_init__(self):
        if self.within not in DENSE:
            raise GuideError(
                explain(
                    "within of er.Amortized", f"one of {list(DENSE)}", f"{self.within!r}"[:80], "choose one"
                )
            )
        if self.sees is not None:
            if isinstance(self.sees, str) or not all(isinstance(label, str) for label in self.sees):
                raise GuideError(explain("sees of er.Amortized", "a list of names of arguments",
                                         f"{self.sees!r}"[:80], "write sees=['x']"))  # fmt: skip
            object.__setattr__(self, "sees", tuple(self.sees))

        whole = isinstance(self.iterations, (int, np.integer)) and not isinstance(self.iterations, bool)
        if not whole or self.iterations < 0:
            raise GuideError(explain("iterations of er.Amortized", "a number of steps, 0 or more",
                                     f"{self.iterations!r}"[:80], "write iterations=300, say"))  # fmt: skip

    def bind(self, target) -> Any:
        """Refused: rows are needed, which `elboroom.fit` finds."""
        raise GuideError(
            explain("er.Amortized", "the guide of er.fit, or of a site in its mapping", "a family on its own",
                    "pass guide=er.Amortized(...) to er.fit")
        )  # fmt: skip


@dataclass(frozen=True)
class Sized:
    """A network sized from the model: a linear map, and beside it layers with an activation between them.

    Where a linear encoder is right, as it is for linear models, nothing has to be unlearned.
    """

    num_in: int
    num_out: int

    @property
    def deep(self) -> MLP:
        """The layers."""
        return MLP(self.num_in, [self.width, self.width], self.num_out)

    @property
    def width(self) -> int:
        """Units of a layer: a power of two by the larger of its ends."""
        wanted = max(self.num_in, ENCODER_UNITS * self.num_out)
        return int(np.clip(2 ** np.ceil(np.log2(wanted)), LEAST_ENCODER, MOST_ENCODER))

    def arrays(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Initial weights; the layers begin at nothing."""
        out = {f"deep.{key}": value for key, value in self.deep.arrays(rng).items()}
        last = max(key for key in out if key.endswith("weight"))
        out[last] = 0.1 * out[last]
        edge = np.sqrt(6.0 / (self.num_in + self.num_out))
        linear = rng.uniform(-edge, edge, (self.num_out, self.num_in))
        linear[self.num_out // 2 :] *= 0.1  # sds of all rows begin alike
        return {**out, "linear": linear}

    def apply(self, arrays: Mapping[str, Any], x: Any) -> Any:
        """Rows ``(..., num_in)`` to ``(..., num_out)``."""
        inner = {key.removeprefix("deep."): value for key, value in arrays.items() if key != "linear"}
        return self.deep.apply(inner, x) + m.matmul(x, m.matrix_transpose(arrays["linear"]))


@dataclass(frozen=True, eq=False)
class Encoder:
    """An encoder with its layout fixed: from rows of data to the law of their coordinates.

    Attributes
    ----------
    network : Network
    prefix : str
        What the names of its weights begin with among the learned arrays.
    keys : tuple of str
        Of its weights.
    inputs : mapping
        Argument to ``(centre, scale, codes)``: what its numbers are taken from and divided by, and how many values it has
        where it holds codes, 0 elsewhere.
    num_units : int
        Coordinates of a row.
    within : str
        See `Amortized`.
    masks : bool
        Whether it sees which numbers are missing, beside zeros in their place.
    gaps : frozenset of str
        Arguments in which numbers may be missing.
    scaled : bool
        Whether inputs are scaled, and no farther out than the network was made for.
    iterations : int
        See `Amortized`.
    """

    network: Any
    prefix: str
    keys: tuple[str, ...]
    inputs: Mapping[str, tuple[Any, Any, int]]
    num_units: int
    within: str = "mean-field"
    masks: bool = False
    gaps: frozenset[str] = field(default_factory=frozenset)
    scaled: bool = False
    iterations: int = 0

    def law(self, weights: Mapping[str, Any], data: Mapping[str, Any]) -> tuple[Any, Any, Any]:
        """Means ``(n, u)``, log sds ``(n, u)`` and unit lower triangles ``(n, u, u)`` or None, of rows.

        Raises
        ------
        ShapeError
            If the network makes another number of numbers.
        """
        own = {key: weights[f"{self.prefix}.{key}"] for key in self.keys}
        inputs, units = self.seen(data), self.num_units
        with fitting(f"encoder '{self.prefix}'", inputs):
            found = self.network.apply(own, inputs)
        wanted = num_outputs(units, self.within)
        if tuple(np.shape(found)) != (np.shape(inputs)[0], wanted):
            words = f"{wanted} numbers for each row: {units} means, {units} log sds" + (
                f" and {wanted - 2 * units} below a diagonal" if DENSE[self.within] else ""
            )
            raise ShapeError(explain(f"encoder '{self.prefix}'", words, f"shape {tuple(np.shape(found))}",
                                     f"let its last layer make {wanted}"))  # fmt: skip
        mean, log_sd = found[:, :units], m.clip(found[:, units : 2 * units], *LOG_SDS)
        if not DENSE[self.within]:
            return mean, log_sd, None
        rows, columns = np.tril_indices(units, -1)
        place = np.zeros((wanted - 2 * units, units * units))
        place[np.arange(len(rows)), rows * units + columns] = 1.0
        below = m.matmul(found[:, 2 * units :], m.like(place, found))
        return mean, log_sd, m.reshape(below, (-1, units, units)) + m.like(np.eye(units), found)

    def seen(self, data: Mapping[str, Any]) -> Any:
        """What goes into the network, shape ``(n, num_inputs)``."""
        parts, absent = [], []
        scaled = self.scaled  # of a network of one's own nothing is changed
        for label, (centre, scale, codes) in self.inputs.items():
            x = data[label]
            if codes:
                parts.append(m.like(x[:, None] == np.arange(codes), centre))
                continue
            flat = m.reshape(x, (np.shape(x)[0], -1))
            lost = m.isnan(flat) if label in self.gaps else None
            flat = (
                m.clip((m.like(flat, centre) - centre) / scale, -FARTHEST, FARTHEST)
                if scaled
                else m.like(flat, centre)
            )
            if lost is not None:
                flat = m.where(lost, 0.0, flat)
                absent.append(m.like(m.where(lost, 1.0, 0.0), flat))
            parts.append(flat)
        return m.concat([*parts, *(absent if self.masks else [])], axis=1)


def num_outputs(num_units: int, within: str) -> int:
    """Numbers that an encoder makes of a row."""
    return 2 * num_units + (num_units * (num_units - 1) // 2 if DENSE[within] else 0)


def placed(law: tuple[Any, Any, Any], eps: Any) -> Any:
    """Coordinates ``(..., n, u)`` of standard normal draws under the laws of rows."""
    mean, log_sd, lower = law
    if lower is not None:
        eps = m.sum(lower * eps[..., None, :], axis=-1)
    return mean + m.exp(log_sd) * eps


def log_prob(law: tuple[Any, Any, Any], z: Any) -> Any:
    """Log density of coordinates ``(..., n, u)`` under the laws of rows, shape ``(..., n)``."""
    mean, log_sd, lower = law
    eps = (z - mean) * m.exp(-log_sd)
    if lower is not None:
        eps = _solved(lower, eps)
    return -m.sum(log_sd + 0.5 * eps * eps + 0.5 * np.log(2 * np.pi), axis=-1)


def _solved(lower: Any, y: Any) -> Any:
    """``L⁻¹ y`` of unit lower triangles, by columns."""
    out: list[Any] = []
    for i in range(np.shape(y)[-1]):
        left = sum((lower[..., i, j] * out[j] for j in range(i)), 0.0)
        out.append(y[..., i] - left)
    return m.stack(out, axis=-1)
