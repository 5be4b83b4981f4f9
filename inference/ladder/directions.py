"""What the data do not hold apart, or do not hold at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...guides.transport import triangular
from ..evidence.finding import Finding
from ..thresholds import COLLINEAR, FAR, HARDLY_MOVED
from .run import Run
from .state import State


@dataclass(frozen=True)
class Directions:
    """Findings on flat and on collinear directions."""

    name = "directions"
    words = ""
    always = True
    guarded = False
    kept = ""

    def wants(self, state: State) -> str | None:
        """See `Stage.wants`."""
        return "draws show what holds them" if state.pool is not None else None

    def guide(self, state: State) -> str:
        """See `Stage.guide`."""
        return ""

    def price(self, state: State) -> float:
        """See `Stage.price`."""
        return 0.0

    def failed(self, state: State) -> State:
        """See `Stage.failed`."""
        return state

    def run(self, state: State, run: Run) -> tuple[State, None]:
        """See `Stage.run`."""
        return state.found(*_flat(state), *_collinear(state)), None


def _flat(state: State) -> Iterator[Finding]:
    far = state.law.z.std(0) / state.reach()
    known = any(f.name == "flat direction" for f in state.findings)
    if state.law.slowest < HARDLY_MOVED and far.max() > FAR and not known:
        names = [state.target.labels[i] for i in np.argsort(-far)[:3] if far[i] > FAR]
        yield Finding(
            "flat direction",
            names[0],
            float(far.max()),
            FAR,
            "untrusted",
            f"The posterior may be improper: {', '.join(names)} can grow without bound. Where a predictor "
            "separates the outcomes, or a site has no proper prior, give it one.",
        )


def _collinear(state: State) -> Iterator[Finding]:
    if state.wide or state.target.dim < 2:
        return
    scale = triangular(state.frame).scale
    covariance = scale @ scale.T
    unit = 1 / np.sqrt(np.diag(covariance))
    eig, vec = np.linalg.eigh(covariance * unit[:, None] * unit)
    if eig[0] < COLLINEAR:
        order = np.argsort(-np.abs(vec[:, 0]))
        names = [state.target.labels[i] for i in order[:4] if abs(vec[i, 0]) > 0.1]
        yield Finding(
            "collinear",
            names[0],
            float(eig[0]),
            COLLINEAR,
            "ok",
            f"The data hardly tell {', '.join(names)} apart: a combination of them is known a thousand "
            "times better than each. Look for predictors that are sums or copies of others.",
        )
