"""Training of rows that are at the entries of a codebook, and of the prior of these, by which rows are simulated.

References
----------
van den Oord, Vinyals & Kavukcuoglu (2017), Neural discrete representation learning, NeurIPS. Razavi, van den Oord & Vinyals (2019),
Generating diverse high-fidelity images with VQ-VAE-2, NeurIPS. Williams et al. (2020), Hierarchical quantized autoencoders, NeurIPS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...ppl import math as m
from ...ppl.codebook import PRIOR, VECTORS, nearest
from ..thresholds import CODE_DEAD, DEEP_TINY
from .evidence import encoded
from .objectives import Alone


@dataclass(frozen=True)
class Quantizing(Alone):
    """What a decoder tells of the codes nearest to what the encoder makes, with the gradient of the code taken for the encoder's.

    Parameters
    ----------
    codebook : str
    decay, commitment : float
        See `elboroom.Quantized`.
    """

    codebook: str
    decay: float
    commitment: float

    def begun(self, weights: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
        """What training remembers beside its arrays: of each code how many places came nearest, and their sum."""
        vectors = weights[f"{self.codebook}{VECTORS}"]
        return {"codes": {"count": np.zeros(len(vectors)), "sum": np.zeros(np.shape(vectors))}}

    def value(self, compiled, live, frozen, data, seen, given, constants):
        """What is trained on, per row, and what is shown of it."""
        _, shared, log_shared, noise = compiled.draws(live, given)
        made, still = (compiled.made(params, seen, constants) for params in (live, frozen))
        code = compiled.law(frozen, seen, constants).mean
        terms = compiled.terms((made + (code - still))[None], shared, data, live, noise)
        likelihood = m.mean(terms["likelihood"] + terms["other"])
        prior = m.mean(sum(m.sum(value, axis=-1) for value in terms["prior"].values()))
        outside = m.mean(terms["outside"] - log_shared) / compiled.rows.total
        cost = self.commitment * m.mean(m.sum((made - code) ** 2, axis=-1))
        return likelihood - cost + outside, {
            "bound": likelihood + prior + outside,
            "kl": -prior,
            "made": still,
        }

    def moved(self, state, found, given):
        """Arrays that follow by themselves, and what is remembered of them: codes go to the moving average of what came nearest to them;
        those to which hardly anything comes begin anew there, while the rate does not fall."""
        name = f"{self.codebook}{VECTORS}"
        vectors, kept = state["params"]["weights"][name], state["codes"]
        num, units = np.shape(vectors)
        places = m.reshape(found.pop("made"), (-1, units))
        each = np.shape(places)[0]
        chosen = m.like(nearest(vectors, places)[:, None] == np.arange(num), places)
        count = self.decay * kept["count"] + (1 - self.decay) * m.sum(chosen, axis=0)
        total = self.decay * kept["sum"] + (1 - self.decay) * m.matmul(m.matrix_transpose(chosen), places)
        usual = (1 - self.decay ** (state["norm"]["count"] + 1.0)) * each / num
        dead = m.where(count < CODE_DEAD * usual, 1.0 - given["stuck"], 0.0)
        turn = m.cumulative_sum(dead) - 1.0
        turn = turn - each * m.floor(turn / each)
        fresh = m.matmul(m.like(turn[:, None] == np.arange(each), places), places)
        alive = m.where(count > DEEP_TINY, 1.0, 0.0)[:, None]
        own = m.where(alive > 0, total / m.maximum(count, DEEP_TINY)[:, None], vectors)
        new = m.where(dead[:, None] > 0, fresh, own)
        new = m.where(m.isfinite(new), new, vectors)
        count = m.where(dead > 0, usual, count)
        total = m.where(dead[:, None] > 0, usual * fresh, total)
        return {("weights", name): new}, {"codes": {"count": count, "sum": total}}


@dataclass(frozen=True)
class CodePrior(Alone):
    """The probability of the codes of rows, all else as it stands."""

    codebook: str

    def value(self, compiled, live, frozen, data, seen, given, constants):
        """What is trained on, per row, and what is shown of it."""
        name = f"{self.codebook}{PRIOR}"
        params = {**frozen, "weights": {**frozen["weights"], name: live["weights"][name]}}
        _, shared, _, _ = compiled.draws(frozen, given)
        terms = compiled.terms(compiled.law(frozen, seen, constants).mean[None], shared, data, params)
        prior = m.mean(sum(m.sum(value, axis=-1) for value in terms["prior"].values()))
        bound = m.mean(terms["likelihood"] + terms["other"] + m.mean(terms["outside"]) / compiled.rows.total)
        return prior, {"bound": bound + prior, "kl": -prior}


def codes_of(vectors: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Which codes rows ``(n, u)`` are at, shape ``(n, places)``."""
    return nearest(vectors, mean.reshape(len(mean), -1, vectors.shape[1]))


def perplexity(codes: np.ndarray) -> float:
    """As how many codes, all alike, those of rows ``(n, places)`` are.

    Examples
    --------
    >>> perplexity(np.array([[0], [1], [2], [3]]))
    4.0
    """
    share = np.unique(codes, return_counts=True)[1] / codes.size
    return float(np.exp(-(share * np.log(share)).sum()).round(9))


def shares(codes: np.ndarray, num_codes: int) -> np.ndarray:
    """Log probabilities of codes by those of rows, of which one more had each."""
    count = 1.0 + np.bincount(codes.ravel(), minlength=num_codes)
    return np.log(count / count.sum())


def with_prior(training: Any, trained: Any, codebook: str) -> Any:
    """What was trained, and then the prior of its codes: by their shares in the rows that were trained on, or where there are several
    of a row by steps on a network, which end as all training does."""
    prior, vectors = (f"{codebook}{what}" for what in (PRIOR, VECTORS))
    weights = trained.params["weights"]
    law = encoded(training.compiled, training.placed(trained.params), training.own)
    codes = codes_of(weights[vectors], law.mean)
    if codes.shape[1] == 1:
        learned = {**weights, prior: shares(codes, len(weights[vectors]))}
        return replace(trained, params={**trained.params, "weights": learned})
    after = training.going_on(CodePrior(codebook), trained.params).run()
    return replace(
        trained, params={**trained.params, "weights": {**weights, prior: after.params["weights"][prior]}}
    )
