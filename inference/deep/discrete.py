"""Training of encoders of bits and one-hot vectors, through which no gradient goes: by scores with the other draws as a baseline, by relaxed bits whose
gradients are taken for theirs, or on a bound by several weights.

References
----------
Kool, van Hoof & Welling (2019), Buy 4 REINFORCE samples, get a baseline for free! Maddison, Mnih & Teh (2017), The concrete
distribution, and Jang, Gu & Poole (2017), Categorical reparameterization with Gumbel-softmax, ICLR. Bengio, Léonard & Courville (2013),
Estimating or propagating gradients through stochastic neurons. Mnih & Rezende (2016), Variational inference for Monte Carlo
objectives, ICML.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...guides.laws import log_prob, perturbed, placed
from ...ppl import math as m
from ...ppl.errors import InferenceError, explain
from ..thresholds import SCORE_DRAWS, TEMPERATURE
from .objectives import Alone


@dataclass(frozen=True)
class Discrete(Alone):
    """A bound of rows of bits.

    Parameters
    ----------
    estimator : {"score", "concrete", "straight-through", "vimco"}
        Of the gradient of the encoder.
    num_particles : int
        Draws of a row.
    """

    estimator: str = "score"
    num_particles: int = SCORE_DRAWS

    def value(self, compiled, live, frozen, data, seen, given, constants):
        """What is trained on, per row, and what is shown of it: of hard bits."""
        eps, shared, log_shared, noise = compiled.draws(live, given)
        law, still = (compiled.law(params, seen, constants) for params in (live, frozen))
        hard = placed(still, eps)

        def joint(z, params):
            terms = compiled.terms(z, shared, data, params, noise)
            outside = m.mean(terms["outside"] - log_shared) / compiled.rows.total
            prior = sum(m.sum(value, axis=-1) for value in terms["prior"].values())
            return terms["likelihood"] + terms["other"] + prior, outside, m.mean(log_prob(still, z) - prior)

        known, outside, kl = joint(hard, frozen)
        ratio = known - log_prob(still, hard)
        weigh = self.estimator == "vimco"
        shown = {"bound": m.mean(_tight(ratio) if weigh else ratio) + outside, "kl": kl}
        if self.estimator in RELAXED:
            soft, near = (_relaxed(one, eps) for one in (law, still))
            z = soft if RELAXED[self.estimator] else hard + (soft - near)
            found, outside, _ = joint(z, live)
            return m.mean(found - log_prob(law, z)) + outside, shown
        found, outside, _ = joint(hard, live)
        share = m.exp(ratio - m.logsumexp(ratio, axis=0)) if weigh else 1.0 / self.num_particles
        worth = _worth(ratio) if weigh else _apart(ratio)
        own = share * found + (worth - (share if weigh else 0.0)) * log_prob(law, hard)
        return m.mean(m.sum(own, axis=0)) + outside, shown


RELAXED = {"concrete": True, "straight-through": False}
"""Estimators by relaxed bits, and whether the model sees these."""
ESTIMATORS = ("score", *RELAXED)
"""Of a bound by one draw."""


def _relaxed(law: Any, eps: Any) -> Any:
    """Bits that are between nought and one, by the draws that make hard ones."""
    if law.choice is not None:
        return m.reshape(m.softmax(perturbed(law.choice, eps) / TEMPERATURE), tuple(np.shape(eps)))
    own = m.log_ndtr(law.height) - m.log_ndtr(-law.height)
    noise = m.log_ndtr(eps) - m.log_ndtr(-eps)
    return m.expit((own + noise) / TEMPERATURE)


def _tight(ratio: Any) -> Any:
    """Bound of rows by the mean of their weights ``(K, n)``."""
    return m.logsumexp(ratio, axis=0) - np.log(np.shape(ratio)[0])


def _apart(ratio: Any) -> Any:
    """By how much each draw is better than the others of its row are on average, over their number."""
    num = np.shape(ratio)[0]
    others = (m.sum(ratio, axis=0) - ratio) / (num - 1)
    return (ratio - others) / num


def _worth(ratio: Any) -> Any:
    """By how much each draw raises the bound of its row over that in which it was worth what the others are, in the geometric mean."""
    num = np.shape(ratio)[0]
    others = (m.sum(ratio, axis=0) - ratio) / (num - 1)
    own = m.like(np.eye(num)[:, :, None], ratio)  # draw that is left out, draw
    without = own * m.expand_dims(others, 1) + (1.0 - own) * m.expand_dims(ratio, 0)
    return _tight(ratio) - (m.logsumexp(without, axis=1) - np.log(num))


def discrete_of(objective: Any) -> Discrete:
    """What rows of bits are trained on, by what was asked for.

    Raises
    ------
    InferenceError
        For an objective that asks for gradients through draws, or takes them apart.
    """
    if objective is None:
        return Discrete()
    if objective.weighted:
        if objective.estimator != "vimco" or objective.num_particles < 2:
            raise InferenceError(
                explain("objective of rows of bits", "estimator='vimco' with two draws or more, as no gradient goes through bits",
                        f"{objective!r}"[:80], "write er.objectives.ImportanceWeighted(8, estimator='vimco')")
            )  # fmt: skip
        return Discrete("vimco", int(objective.num_particles))
    if not objective.plain or objective.length:
        raise InferenceError(
            explain("objective of rows of bits", "the evidence lower bound itself", f"{objective!r}"[:80],
                    f"write er.objectives.Elbo(estimator=...), one of {list(ESTIMATORS)}")
        )  # fmt: skip
    name = objective.estimator or "score"
    return Discrete(name, SCORE_DRAWS if name == "score" else 1)


def check_smooth(objective: Any) -> None:
    """Refuse an estimator for bits where rows have none.

    Raises
    ------
    InferenceError
    """
    if getattr(objective, "estimator", None) in (*ESTIMATORS, "vimco"):
        raise InferenceError(
            explain("estimator of the objective", "rows of bits, such as er.Bernoulli(0.5).expand([20]).to_event(1)",
                    "rows whose draws have gradients", "leave it out")
        )  # fmt: skip
