"""Linear response: covariances of a few sites where a guide of many dimensions is drawn from as it is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..engines.response import linear_response
from ..evidence.coordinates import few_of
from ..evidence.law import Law
from ..evidence.stein import MarginalStein
from ..thresholds import MOST_RESPONSE_GRADIENTS, MOST_RESPONSES, RESPONSE_DRAWS, TYPICAL_STEPS
from .climb import Line
from .run import Run
from .state import State


@dataclass(frozen=True)
class LinearResponse:
    """The covariance of the sites with few elements, corrected in the guide's draws."""

    name = "linear response"
    words = "correcting covariances"
    always = False
    guarded = False
    kept = ""

    def wants(self, state: State) -> str | None:
        """See `Stage.wants`: not of a guide whose precision has the posterior's links, which is right already."""
        drawn = state.law is not None and state.law.kind == "guide" and isinstance(state.stein, MarginalStein)
        if not drawn or hasattr(state.guide.structure, "links"):
            return None
        few = len(few_of(state.target))
        return "independent coordinates have too small sds" if 0 < few <= MOST_RESPONSES else None

    def guide(self, state: State) -> str:
        """See `Stage.guide`."""
        return state.family.name

    def price(self, state: State) -> float:
        """See `Stage.price`: some steps of conjugate gradients for every coordinate, and for one to measure the error."""
        steps = TYPICAL_STEPS * (len(few_of(state.target)) + 1)
        return float(min(2 * RESPONSE_DRAWS * steps, MOST_RESPONSE_GRADIENTS))

    def failed(self, state: State) -> State:
        """See `Stage.failed`."""
        return state

    def run(self, state: State, run: Run) -> tuple[State, Line]:
        """See `Stage.run`."""
        few, frame = few_of(state.target), state.frame
        found = linear_response(run.density(state), frame, few, run.rng(10), callback=run.stop)
        if not (np.isfinite(found.error).all() and found.converged.all()):
            words = "no answer: the mean curvature is not positive, or too many steps"
            return state, Line(state.family.name, words)
        ratio = found.sd / frame.marginals()[1][few]
        words = f"sds of {len(few)} quantities times {ratio.min():.2f} to {ratio.max():.2f}"
        z, mean = state.law.z.copy(), frame.mean[few]
        x = z[:, few] - mean
        own = np.linalg.cholesky(np.cov(x.T).reshape(len(few), -1))
        z[:, few] = mean + np.linalg.solve(own, x.T).T @ np.linalg.cholesky(found.covariance).T
        state = replace(state, law=Law("guide", z), response=(few, found.sd))
        return state, Line(state.family.name, words)
