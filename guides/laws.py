"""Laws of rows that an encoder leads to: independent normals, a dense Gaussian, a chain, or a law that is bent.

References
----------
Maddison, Tarlow & Minka (2014), A* sampling, NeurIPS, on Gumbel's noise. Dinh, Sohl-Dickstein & Bengio (2017), Density estimation using Real NVP, ICLR. Jones & Pewsey (2009), Sinh-arcsinh
distributions, Biometrika 96.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..ppl import math as m
from ..ppl.codebook import VECTORS, nearest
from ..ppl.nn import MLP
from ..ppl.thresholds import LOG_SDS
from .thresholds import (
    COUPLING_REACH,
    COUPLING_UNITS,
    COUPLINGS,
    LAGS,
    MOMENT_BLOCK,
    MOMENT_DRAWS,
    MOST_CHOSEN,
    MOST_SURE,
    SKEW_REACH,
    TAIL_REACH,
)


class Law(NamedTuple):
    """The law of the coordinates of each of some rows, on a backend or the host.

    Attributes
    ----------
    mean, log_sd : array, shape (n, u)
        Of independent normals; of what is bent, where the bent lies and how wide. Without ``log_sd`` all of it is at the mean.
    lower : array, shape (n, u, u), or None
        Unit lower triangles by which draws are mixed first.
    bend : array, shape (n, 2 u), or None
        How a row is bent, by `bent`.
    arrays : mapping or None
        Weights of the networks that bend, the same for all rows.
    height : array, shape (n, u), or None
        Of bits: they are ones where a standard normal draw is above minus this.
    lags : array, shape (n, u, k), or None
        Of a chain: how draws lean on each of the k before them, the nearest first.
    choice : array, shape (n, p, c), or None
        Of p one-hot vectors, one after the other: log probabilities of their classes.
    """

    mean: Any
    log_sd: Any = None
    lower: Any = None
    bend: Any = None
    arrays: Mapping[str, Any] | None = None
    height: Any = None
    lags: Any = None
    choice: Any = None

    @property
    def point(self) -> bool:
        """Whether a row is at one place."""
        return self.log_sd is None and self.height is None and self.choice is None

    @property
    def independent(self) -> bool:
        """Whether the coordinates of a row are independent."""
        return self.lower is None and self.bend is None and self.lags is None

    @property
    def marginals(self) -> Law:
        """The laws of each coordinate alone, where they are normal; else the law itself."""
        root = self.root
        if root is None or self.bend is not None:
            return self
        return Law(self.mean, self.log_sd + 0.5 * m.log(m.sum(root * root, axis=-1)))

    @property
    def root(self) -> Any:
        """Unit lower triangles by which draws are mixed, ``(n, u, u)``; None where they are not."""
        if self.lags is None:
            return self.lower
        each = m.like(np.eye(np.shape(self.mean)[-1]), self.mean)[:, None]
        return m.moveaxis(chained(self.lags, each + 0.0 * self.mean), 0, -1)

    @property
    def by_row(self) -> dict[str, Any]:
        """What differs from row to row, by name."""
        return {k: v for k, v in self._asdict().items() if k != "arrays" and v is not None}

    def rows(self, some: Any) -> Law:
        """Of some rows."""
        return self._replace(**{k: v[some] for k, v in self.by_row.items()})

    def moved(self, by: Mapping[str, Any]) -> Law:
        """From where it began: its mean by so many sds, all else as it stands, its triangle below the diagonal."""
        found = {k: v + by[k] for k, v in self.by_row.items()}
        found["mean"] = self.mean + m.exp(self.log_sd) * by["mean"]
        found["log_sd"] = m.clip(found["log_sd"], *LOG_SDS)
        if self.lower is not None:
            below = np.tril(np.ones(np.shape(self.lower)[-2:]), -1)
            found["lower"] = self.lower + by["lower"] * m.like(below, self.lower)
        return self._replace(**found)

    def between(self, still: Law, share: Any) -> Law:
        """One whose parameters have a share of their gradients only, of what stands `still` the rest."""

        def mixed(one, other):
            return one + share * (other - one)

        found = {k: mixed(v, getattr(still, k)) for k, v in self.by_row.items()}
        if self.arrays is not None and still.arrays is not None:
            found["arrays"] = {k: mixed(v, still.arrays[k]) for k, v in self.arrays.items()}
        return self._replace(**found)


def joined(laws: Sequence[Law]) -> Law:
    """The laws of rows, one part after the other."""
    parts = [law.by_row for law in laws]
    whole: dict[str, Any] = {k: np.concatenate([part[k] for part in parts]) for k in parts[0]}
    return laws[0]._replace(**whole)


def placed(law: Law, eps: Any, far: Any = 1.0) -> Any:
    """Coordinates ``(..., n, u)`` of standard normal draws under the laws of rows, or so many times as far out."""
    if law.choice is not None:
        return chosen(law.choice, eps, far)
    eps = far * eps
    if law.point:
        return law.mean + 0.0 * eps
    if law.height is not None:
        return m.like(m.where(eps > -law.height, 1.0, 0.0), eps)
    if law.lower is not None:
        eps = m.sum(law.lower * eps[..., None, :], axis=-1)
    if law.lags is not None:
        eps = chained(law.lags, eps)
    if law.bend is not None:
        eps = bent(law, eps)
    return law.mean + m.exp(law.log_sd) * eps


def standardised(law: Law, z: Any) -> tuple[Any, Any]:
    """The draws that coordinates ``(..., n, u)`` come of, and the log of their density over a standard normal one's, ``(..., n)``."""
    eps = (z - law.mean) * m.exp(-law.log_sd)
    density = -m.sum(law.log_sd, axis=-1)
    if law.bend is not None:
        eps, more = unbent(law, eps)
        density = density + more
    if law.lower is not None:
        eps = _solved(law.lower, eps)
    if law.lags is not None:
        eps = unchained(law.lags, eps)
    return eps, density


def log_prob(law: Law, z: Any, known: Callable[[Any], Any] = lambda eps: eps) -> Any:
    """Log density of coordinates ``(..., n, u)`` under the laws of rows, shape ``(..., n)``; of points the log of their mass, nought.

    `known` gives the draws that the coordinates were made of, where these are at hand, for what they seem to have been made of: a
    triangle with great entries magnifies the rounding of coordinates in single precision until a density has no digit left.
    """
    if law.point:
        return 0.0 * m.sum(z, axis=-1)
    if law.height is not None:
        return of_bits(law.height, z)
    if law.choice is not None:
        return of_choices(law.choice, z)
    eps, density = standardised(law, z)
    return density + log_normal(known(eps))


def log_prob_wider(
    law: Law, z: Any, wide: float, known: Callable[[Any], Any] = lambda eps: eps
) -> tuple[Any, Any]:
    """`log_prob`, and that of half such draws and half of standard normal ones `wide` times as far out."""
    if law.point:
        return log_prob(law, z), log_prob(law, z)
    if law.height is not None:
        own = of_bits(law.height, z)
        return own, own if wide == 1 else m.logaddexp(own, of_bits(law.height / wide, z)) - np.log(2.0)
    if law.choice is not None:
        own = of_choices(law.choice, z)
        far_out = m.log_softmax(law.choice / wide)
        return own, own if wide == 1 else m.logaddexp(own, of_choices(far_out, z)) - np.log(2.0)
    eps, density = standardised(law, z)
    eps = known(eps)
    own = density + log_normal(eps)
    if wide == 1:
        return own, own
    far = density + log_normal(eps / wide) - np.shape(eps)[-1] * np.log(wide)
    return own, m.logaddexp(own, far) - np.log(2.0)


def of_bits(height: Any, z: Any) -> Any:
    """Log probability of bits ``(..., n, u)``, shape ``(..., n)``; linear in each."""
    return m.sum(z * m.log_ndtr(height) + (1.0 - z) * m.log_ndtr(-height), axis=-1)


def of_choices(choice: Any, z: Any) -> Any:
    """Log probability of one-hot vectors, one after the other, ``(..., n, u)``, shape ``(..., n)``; linear in each."""
    return m.sum(z * m.reshape(choice, (-1, np.shape(z)[-1])), axis=-1)


def perturbed(choice: Any, eps: Any, far: Any = 1.0) -> Any:
    """Log probabilities, or those of laws so many times as wide, with Gumbel's noise of standard normal draws ``(..., n, u)``, shape
    ``(..., n, p, c)``: the class where it is greatest is a draw (Maddison, Tarlow & Minka 2014)."""
    far = far if np.ndim(far) == 0 else m.expand_dims(far, -1)
    noise = -m.log(-m.log_ndtr(eps))
    return choice / far + m.reshape(noise, (*np.shape(eps)[:-1], *np.shape(choice)[-2:]))


def chosen(choice: Any, eps: Any, far: Any = 1.0) -> Any:
    """One-hot vectors, one after the other, of standard normal draws ``(..., n, u)``."""
    code = m.argmax(perturbed(choice, eps, far), axis=-1)
    return m.reshape(
        m.like(m.expand_dims(code, -1) == np.arange(np.shape(choice)[-1]), eps), tuple(np.shape(eps))
    )


def log_normal(eps: Any) -> Any:
    """Log density of independent standard normals ``(..., u)``, shape ``(...)``."""
    return -m.sum(0.5 * eps * eps + 0.5 * np.log(2 * np.pi), axis=-1)


def moments(law: Law) -> tuple[np.ndarray, np.ndarray]:
    """Means and sds ``(n, u)`` of rows on the host; of bent ones by draws that are the same for each row, always."""
    if law.point:
        return law.mean, np.zeros_like(law.mean)
    if law.height is not None or law.choice is not None:
        return law.mean, np.sqrt(law.mean * (1 - law.mean))
    if law.bend is None:
        return law.mean, np.exp(law.marginals.log_sd)
    rows, units = law.mean.shape
    half = np.random.default_rng(0).standard_normal((MOMENT_DRAWS // 2, 1, units))
    eps = np.concatenate([half, -half])
    at_once, parts = max(1, MOMENT_BLOCK // (MOMENT_DRAWS * units)), []
    for start in range(0, rows, at_once):
        some = law.rows(slice(start, start + at_once))
        z = placed(some, np.broadcast_to(eps, (MOMENT_DRAWS, len(some.mean), units)))
        parts.append((z.mean(0), z.std(0)))
    mean, sd = (np.concatenate([part[i] for part in parts]) for i in range(2))
    return mean, sd


def gaussian(law: Law) -> tuple[np.ndarray, np.ndarray]:
    """Means ``(n, u)`` and lower triangular roots of covariances ``(n, u, u)`` of rows on the host; of bent ones of their sds alone."""
    mean, sd = moments(law)
    root = law.root
    if law.bend is None and root is not None:
        return mean, np.exp(law.log_sd)[:, :, None] * root
    return mean, sd[:, :, None] * np.eye(sd.shape[1])


def chained(lags: Any, eps: Any) -> Any:
    """Standard normal draws ``(..., n, u)``, each leaning on some before it."""

    def step(before, given):
        link, own = given
        new = own + m.sum(link * before, axis=-1)
        return m.concat([m.expand_dims(new, -1), before[..., :-1]], axis=-1), new

    begin = m.like(np.zeros((*np.shape(eps)[:-1], np.shape(lags)[-1])), eps)
    _, y = m.scan(step, begin, (m.moveaxis(lags, -2, 0), m.moveaxis(eps, -1, 0)))
    return m.moveaxis(y, 0, -1)


def unchained(lags: Any, y: Any) -> Any:
    """What `chained` made ``y`` of."""
    eps, units = y, np.shape(y)[-1]
    for lag in range(1, min(np.shape(lags)[-1], units - 1) + 1):
        before = m.concat([0.0 * y[..., :lag], y[..., : units - lag]], axis=-1)
        eps = eps - lags[..., lag - 1] * before
    return eps


def bent(law: Law, eps: Any) -> Any:
    """Standard normal draws ``(..., n, u)``, each given the skewness and the tails of its row, and then some by the others."""
    skew, log_tail = _margins(law)
    y = m.sinh((m.asinh(eps) + skew) * m.exp(-log_tail))
    for number, seen in enumerate(_seen(np.shape(eps)[-1])):
        shift, log_scale = _coupled(law, y, number, seen)
        y = y * m.exp(log_scale) + shift
    return y


def unbent(law: Law, y: Any) -> tuple[Any, Any]:
    """What `bent` made ``y`` of, and the log of the density of ``y`` over that one's, shape ``(..., n)``."""
    seen = _seen(np.shape(y)[-1])
    density = 0.0
    for number in reversed(range(len(seen))):
        shift, log_scale = _coupled(law, y, number, seen[number])
        y = (y - shift) * m.exp(-log_scale)
        density = density - m.sum(log_scale, axis=-1)
    skew, log_tail = _margins(law)
    inner = m.asinh(y)
    outer = inner * m.exp(log_tail) - skew
    # of y = sinh(x), x = (asinh(eps) + skew) / tail: the derivative of eps in y
    slope = log_tail + m.log(m.cosh(outer)) - 0.5 * m.log1p(y * y)
    return m.sinh(outer), density + m.sum(slope, axis=-1)


def _margins(law: Law) -> tuple[Any, Any]:
    units = np.shape(law.mean)[-1]
    return SKEW_REACH * m.tanh(law.bend[..., :units]), TAIL_REACH * m.tanh(law.bend[..., units:])


def _seen(units: int) -> list[np.ndarray]:
    """For each coupling which coordinates stay and decide how the others go; none of a single coordinate."""
    place = np.arange(units)
    strides = [2 ** (number // 2) for number in range(COUPLINGS if units > 1 else 0)]
    seen = [(place // stride + number) % 2 == 0 for number, stride in enumerate(strides)]
    return [one if 0 < one.sum() < units else (place + number) % 2 == 0 for number, one in enumerate(seen)]


def _coupled(law: Law, y: Any, number: int, seen: np.ndarray) -> tuple[Any, Any]:
    """Shifts and log scales of a coupling; none of the coordinates that it sees."""
    units = np.shape(y)[-1]
    stay = m.like(seen.astype(float), y)
    prefix = f"{number}."
    arrays = {k.removeprefix(prefix): v for k, v in (law.arrays or {}).items() if k.startswith(prefix)}
    inputs = m.concat([y * stay, m.tanh(law.bend) + 0.0 * y[..., :1]], axis=-1)
    found = _network(units).apply(arrays, inputs)
    moves = 1.0 - stay
    scale = COUPLING_REACH * m.tanh(found[..., units:])
    return moves * found[..., :units], moves * scale


def _network(units: int) -> MLP:
    return MLP(3 * units, [COUPLING_UNITS], 2 * units)


def _solved(lower: Any, y: Any) -> Any:
    """``L⁻¹ y`` of unit lower triangles, by columns."""
    out: list[Any] = []
    for i in range(np.shape(y)[-1]):
        left = sum((lower[..., i, j] * out[j] for j in range(i)), 0.0)
        out.append(y[..., i] - left)
    return m.stack(out, axis=-1)


@dataclass(frozen=True)
class MeanField:
    """Independent normals."""

    name = "mean-field"
    family = "amortized"
    objection = ""
    multiplies = True
    independent = True
    point = bits = False

    def num_outputs(self, num_units: int) -> int:
        """Numbers that a network makes of a row."""
        return 2 * num_units

    def words(self, num_units: int) -> str:
        """What they are."""
        return f"{num_units} means, {num_units} log sds"

    def arrays(self, num_units: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Initial weights beside the network's."""
        return {}

    def law(self, found: Any, num_units: int, arrays: Mapping[str, Any]) -> Law:
        """From what the network made, ``(n, num_outputs)``."""
        return Law(found[:, :num_units], m.clip(found[:, num_units : 2 * num_units], *LOG_SDS))


@dataclass(frozen=True)
class FullRank(MeanField):
    """A dense Gaussian."""

    name = "full-rank"
    independent = False

    def num_outputs(self, num_units: int) -> int:
        return 2 * num_units + num_units * (num_units - 1) // 2

    def words(self, num_units: int) -> str:
        return f"{super().words(num_units)} and {num_units * (num_units - 1) // 2} below a diagonal"

    def law(self, found: Any, num_units: int, arrays: Mapping[str, Any]) -> Law:
        law = super().law(found, num_units, arrays)
        rows, columns = np.tril_indices(num_units, -1)
        place = np.zeros((len(rows), num_units**2))
        place[np.arange(len(rows)), rows * num_units + columns] = 1.0
        below = m.matmul(found[:, 2 * num_units : 2 * num_units + len(rows)], m.like(place, found))
        lower = m.reshape(below, (-1, num_units, num_units)) + m.like(np.eye(num_units), found)
        return law._replace(lower=lower)


@dataclass(frozen=True)
class Chain(MeanField):
    """A Gaussian of which each coordinate is linear in some before it: what a series of states has given linear observations."""

    name = "chain"
    multiplies = False
    independent = False

    def num_outputs(self, num_units: int) -> int:
        return (2 + LAGS) * num_units

    def words(self, num_units: int) -> str:
        return f"{super().words(num_units)} and {LAGS} weights of those before it for each"

    def law(self, found: Any, num_units: int, arrays: Mapping[str, Any]) -> Law:
        law = super().law(found, num_units, arrays)
        return law._replace(lags=m.reshape(found[:, 2 * num_units :], (-1, num_units, LAGS)))


@dataclass(frozen=True)
class Flow(FullRank):
    """A dense Gaussian with a skewness and tails for each row and coordinate, and couplings that bend some coordinates by the others."""

    name = "flow"
    multiplies = False

    def num_outputs(self, num_units: int) -> int:
        return super().num_outputs(num_units) + 2 * num_units

    def words(self, num_units: int) -> str:
        return f"{super().words(num_units)} and {2 * num_units} that bend"

    def arrays(self, num_units: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        out: dict[str, np.ndarray] = {}
        for number in range(len(_seen(num_units))):
            made = _network(num_units).arrays(rng)
            last = max(key for key in made if key.endswith("weight"))
            made[last] = 0.0 * made[last]  # it begins without a bend
            out |= {f"{number}.{key}": value for key, value in made.items()}
        return out

    def law(self, found: Any, num_units: int, arrays: Mapping[str, Any]) -> Law:
        law = super().law(found, num_units, arrays)
        return law._replace(bend=found[:, -2 * num_units :], arrays=dict(arrays))


@dataclass(frozen=True)
class Quantised(MeanField):
    """The entries of a codebook that are nearest to what the network makes."""

    name = "quantized"
    family = "quantized"
    objection = (
        "no posterior is approximated: each row is at the code nearest to what the encoder makes of it"
    )
    multiplies = False
    point = True

    def num_outputs(self, num_units: int) -> int:
        return num_units

    def words(self, num_units: int) -> str:
        return f"{num_units} of which the nearest codes are taken"

    def law(self, found: Any, num_units: int, arrays: Mapping[str, Any]) -> Law:
        vectors = arrays[VECTORS]
        places = m.reshape(found, (-1, np.shape(vectors)[1]))
        chosen = m.take(vectors, nearest(vectors, places), axis=0)
        return Law(m.reshape(chosen, np.shape(found)))


@dataclass(frozen=True)
class Point(MeanField):
    """What the network makes."""

    name = "point"
    family = "adversarial"
    objection = "no posterior is approximated: each row is where the encoder puts it"
    multiplies = False
    point = True

    def num_outputs(self, num_units: int) -> int:
        return num_units

    def words(self, num_units: int) -> str:
        return f"{num_units} coordinates"

    def law(self, found: Any, num_units: int, arrays: Mapping[str, Any]) -> Law:
        return Law(found)


@dataclass(frozen=True)
class OfBits(MeanField):
    """Independent bits."""

    name = "bits"
    multiplies = False
    independent = False  # of densities that are taken apart
    bits = True

    def num_outputs(self, num_units: int) -> int:
        return num_units

    def words(self, num_units: int) -> str:
        return f"{num_units} normal quantiles of the probabilities of ones"

    def law(self, found: Any, num_units: int, arrays: Mapping[str, Any]) -> Law:
        height = m.clip(found, -MOST_SURE, MOST_SURE)
        return Law(m.ndtr(height), height=height)


CLASSES = ":classes"
"""Under what name a law of one-hot vectors is told how many classes there are: an array of as many numbers."""


@dataclass(frozen=True)
class OneHot(OfBits):
    """Independent one-hot vectors."""

    name = "one-hot"

    def words(self, num_units: int) -> str:
        return f"{num_units} log probabilities of classes, up to a constant"

    def law(self, found: Any, num_units: int, arrays: Mapping[str, Any]) -> Law:
        logits = m.clip(found, -MOST_CHOSEN, MOST_CHOSEN)
        choice = m.log_softmax(
            m.reshape(logits, (-1, num_units // len(arrays[CLASSES]), len(arrays[CLASSES])))
        )
        return Law(m.reshape(m.exp(choice), (-1, num_units)), choice=choice)


HEADS = {
    head.name: head
    for head in (MeanField(), FullRank(), Chain(), Flow(), Quantised(), Point(), OfBits(), OneHot())
}
"""Laws of a row that an encoder can lead to, by name."""
