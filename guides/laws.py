"""Laws of rows that an encoder leads to: independent normals, a dense Gaussian, or one that is bent.

References
----------
Dinh, Sohl-Dickstein & Bengio (2017), Density estimation using Real NVP, ICLR. Jones & Pewsey (2009), Sinh-arcsinh
distributions, Biometrika 96.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..ppl import math as m
from ..ppl.nn import MLP
from .thresholds import (
    COUPLING_REACH,
    COUPLING_UNITS,
    COUPLINGS,
    LOG_SDS,
    MOMENT_BLOCK,
    MOMENT_DRAWS,
    SKEW_REACH,
    TAIL_REACH,
)


class Law(NamedTuple):
    """The law of the coordinates of each of some rows, on a backend or the host.

    Attributes
    ----------
    mean, log_sd : array, shape (n, u)
        Of independent normals; of what is bent, where the bent lies and how wide.
    lower : array, shape (n, u, u), or None
        Unit lower triangles by which draws are mixed first.
    bend : array, shape (n, 2 u), or None
        How a row is bent, by `bent`.
    arrays : mapping or None
        Weights of the networks that bend, the same for all rows.
    """

    mean: Any
    log_sd: Any
    lower: Any = None
    bend: Any = None
    arrays: Mapping[str, Any] | None = None

    @property
    def independent(self) -> bool:
        """Whether the coordinates of a row are independent normals."""
        return self.lower is None and self.bend is None

    @property
    def marginals(self) -> Law:
        """The laws of each coordinate alone, where they are normal; else the law itself."""
        if self.lower is None or self.bend is not None:
            return self
        return Law(self.mean, self.log_sd + 0.5 * m.log(m.sum(self.lower * self.lower, axis=-1)))

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


def placed(law: Law, eps: Any) -> Any:
    """Coordinates ``(..., n, u)`` of standard normal draws under the laws of rows."""
    if law.lower is not None:
        eps = m.sum(law.lower * eps[..., None, :], axis=-1)
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
    return eps, density


def log_prob(law: Law, z: Any) -> Any:
    """Log density of coordinates ``(..., n, u)`` under the laws of rows, shape ``(..., n)``."""
    eps, density = standardised(law, z)
    return density + log_normal(eps)


def log_prob_wider(law: Law, z: Any, wide: float) -> tuple[Any, Any]:
    """`log_prob`, and that of half such draws and half of standard normal ones `wide` times as far out."""
    eps, density = standardised(law, z)
    own = density + log_normal(eps)
    if wide == 1:
        return own, own
    far = density + log_normal(eps / wide) - np.shape(eps)[-1] * np.log(wide)
    return own, m.logaddexp(own, far) - np.log(2.0)


def log_normal(eps: Any) -> Any:
    """Log density of independent standard normals ``(..., u)``, shape ``(...)``."""
    return -m.sum(0.5 * eps * eps + 0.5 * np.log(2 * np.pi), axis=-1)


def moments(law: Law) -> tuple[np.ndarray, np.ndarray]:
    """Means and sds ``(n, u)`` of rows on the host; of bent ones by draws that are the same for each row, always."""
    if law.bend is None:
        sd = np.exp(law.log_sd)
        return law.mean, sd if law.lower is None else sd * np.sqrt((law.lower**2).sum(2))
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
    if law.bend is None and law.lower is not None:
        return mean, np.exp(law.log_sd)[:, :, None] * law.lower
    return mean, sd[:, :, None] * np.eye(sd.shape[1])


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
    multiplies = True
    independent = True

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


HEADS = {head.name: head for head in (MeanField(), FullRank(), Flow())}
"""Laws of a row that an encoder can lead to, by name."""
