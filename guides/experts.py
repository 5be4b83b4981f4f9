"""Several views of a row, an encoder for each: the law of the row is the product of theirs.

References
----------
Wu & Goodman (2018), Multimodal generative models for scalable weakly-supervised learning, NeurIPS. Hinton (2002), Training
products of experts by minimizing contrastive divergence, Neural Computation 14.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..ppl import math as m
from ..ppl.thresholds import LOG_SDS
from .amortized import Encoder
from .laws import Law

PRIOR = ":prior."
"""What stands between the name of the encoders and those of the law of a row of which nothing is seen."""


@dataclass(frozen=True, eq=False)
class Experts:
    """Encoders of views, in place of one `Encoder`.

    The laws of Gaussian views multiply exactly, and so do those of linear ones (tests/inference/test_views.py).

    Attributes
    ----------
    encoders : tuple of Encoder
        Of each view.
    prefix : str
        What the names of the arrays of all begin with.
    """

    encoders: tuple[Encoder, ...]
    prefix: str

    @property
    def inputs(self) -> dict[str, tuple[Any, Any, int]]:
        """Of all views, see `Encoder`."""
        return {label: value for one in self.encoders for label, value in one.inputs.items()}

    point = bits = False
    smooth = True
    codebook = objection = ""
    num_states = 0

    @property
    def gaps(self) -> frozenset[str]:
        """Arguments in which numbers may be missing."""
        return frozenset().union(*(one.gaps for one in self.encoders))

    @property
    def iterations(self) -> int:
        """See `elboroom.guides.amortized.Amortized`."""
        return self.encoders[0].iterations

    @property
    def network(self) -> dict[str, Any]:
        """The network of each view by the name of its encoder."""
        return {one.prefix: one.network for one in self.encoders}

    def arrays(self) -> dict[str, np.ndarray]:
        """Where the law of a row of which nothing is seen begins: a standard normal one."""
        units = self.encoders[0].num_units
        return {f"{self.prefix}{PRIOR}{name}": np.zeros(units) for name in ("mean", "log_sd")}

    def owns(self, name: str) -> bool:
        """Whether a learned array is the encoders'."""
        return name.startswith(f"{self.prefix}{PRIOR}") or any(one.owns(name) for one in self.encoders)

    def bending(self, weights: Mapping[str, Any]) -> None:
        """None: Gaussian laws have no arrays."""

    def with_inputs(self, inputs: Mapping[str, tuple[Any, Any, int]]) -> Experts:
        """See `Encoder.with_inputs`."""
        return replace(self, encoders=tuple(one.with_inputs(inputs) for one in self.encoders))

    def with_gaps(self, gaps: frozenset[str]) -> Experts:
        """See `Encoder.with_gaps`."""
        return replace(self, encoders=tuple(one.with_gaps(gaps) for one in self.encoders))

    def stepping(self, iterations: int) -> Experts:
        """See `Encoder.stepping`."""
        return replace(self, encoders=tuple(one.stepping(iterations) for one in self.encoders))

    def law(self, weights: Mapping[str, Any], data: Mapping[str, Any]) -> Law:
        """Laws of rows: precisions add up, and so do means in units of variances.

        Raises
        ------
        ShapeError
            See `Encoder.law`.
        """
        laws = [one.law(weights, data) for one in self.encoders]
        said = [one.present(data) for one in self.encoders]
        mean, log_sd = (weights[f"{self.prefix}{PRIOR}{name}"] for name in ("mean", "log_sd"))
        precision = m.exp(-2 * m.clip(log_sd, *LOG_SDS))
        if laws[0].lower is None:
            return _independent(laws, said, mean, precision)
        return _dense(laws, said, mean, precision)


def _independent(laws: list[Law], said: list[Any], mean: Any, precision: Any) -> Law:
    total, moved = precision, precision * mean
    for law, present in zip(laws, said, strict=True):
        own = m.exp(-law.log_sd)
        own = own if present is None else own * present[:, None]
        total, moved = total + own * own, moved + own * law.mean
    return Law(moved / total, -0.5 * m.log(total))


def _dense(laws: list[Law], said: list[Any], mean: Any, precision: Any) -> Law:
    eye = m.like(np.eye(np.shape(mean)[0]), mean)
    total, moved = eye * precision, precision * mean
    for law, present in zip(laws, said, strict=True):
        root = m.exp(-law.log_sd)[:, :, None] * law.lower
        root = root if present is None else root * present[:, None, None]
        total = total + m.matmul(root, m.matrix_transpose(root))
        moved = moved + m.sum(root * law.mean[:, None, :], axis=-1)
    inverse = m.linalg.solve_triangular(m.linalg.cholesky(total), eye + 0.0 * total)
    covariance = m.matmul(m.matrix_transpose(inverse), inverse)
    root = m.linalg.cholesky(covariance)
    sd = m.sum(root * eye, axis=-1)
    return Law(m.sum(covariance * moved[:, None, :], axis=-1), m.log(sd), root / sd[:, :, None])
