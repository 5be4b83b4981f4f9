"""Collapse: laws of rows that say nothing of them, and starts that keep them apart for a while.

Where the laws of all rows are their prior, nothing was learned of any: at the end of a training, or for a hundred of its steps, which
cut it short. That may be right, of data without structure, or because the
networks of the model got there before the encoder did. Which of the two is asked by training again from starts that keep the laws
apart for a while, and by the importance-weighted bound of the held-out rows: never by how much a row's law says.

References
----------
Bowman et al. (2016), Generating sentences from a continuous space, CoNLL. Kingma et al. (2016), Improving variational inference with
inverse autoregressive flow, NeurIPS. Fu et al. (2019), Cyclical annealing schedule, NAACL. He et al. (2019), Lagging inference
networks and posterior collapse in variational autoencoders, ICLR. Hoffman & Johnson (2016), ELBO surgery. Burda, Grosse &
Salakhutdinov (2016), Importance weighted autoencoders, ICLR. Lucas et al. (2019), Don't blame the ELBO!, NeurIPS.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from ...guides.laws import Law, log_prob, moments, placed
from ..thresholds import (
    ACTIVE_NATS,
    ACTIVE_VARIANCE,
    HEARD,
    HELD_APART,
    INFORMED_DRAWS,
    INFORMED_ROWS,
    LAGGING,
)
from .objectives import Cyclical, Elbo


@dataclass(frozen=True)
class Apart(Elbo):
    """The evidence lower bound, which for a while keeps the laws of rows apart.

    Attributes
    ----------
    epochs : float
        Until it is the bound itself; or at the least, where it `rests`.
    rests : bool
        Whether it becomes the bound itself no sooner than that one has come to rest under it.
    lag : float
        Share of the rate that the model's own arrays have meanwhile.
    words : str
        What it does.
    """

    epochs: float = 1.0
    rests: bool = False
    lag: float = 1.0
    words: str = ""

    @property
    def plain(self) -> bool:
        """It ends as the evidence lower bound."""
        return True

    @property
    def sticks(self) -> bool:
        """The bound itself does."""
        return True

    @property
    def length(self) -> float:
        """Epochs until it no longer changes by itself."""
        return self.epochs

    def at(self, epoch: float) -> dict[str, float]:
        """Its factors after so many epochs."""
        over = epoch >= self.epochs and not self.rests
        return Elbo().at(epoch) if over else {**super().at(epoch), "lag": self.lag}


def remedies(shortest: float, epochs: float) -> list[Apart]:
    """Starts that are tried after a collapse: until the bound is at rest, over so many epochs at the least; and over so many.

    Free bits come first: of the three they alone hold laws apart until a model has found what to do with them.
    """
    cycles = Cyclical(4, 0.5, epochs=epochs / 4)
    free = f"{HELD_APART} nats of each unit are free at first, until the bound is at rest"
    return [
        Apart(epochs=shortest, rests=True, free_bits=HELD_APART, words=free),
        Apart(epochs=epochs, beta=cycles, words="the divergence costs nothing at first, in four cycles"),
        Apart(epochs=epochs, lag=LAGGING, words="the model's own networks lag behind the encoder at first"),
    ]


def num_active(law: Law) -> int:
    """Coordinates whose means have a variance above 0.01 over rows (Burda et al. 2016)."""
    return int((law.mean.var(0) > ACTIVE_VARIANCE).sum())


def by_unit(law: Law) -> np.ndarray:
    """Nats that each coordinate tells of the rows by itself, about: what a normal channel of its signal and its noise carries."""
    mean, sd = moments(law)
    return 0.5 * np.log1p(mean.var(0) / np.maximum((sd**2).mean(0), np.finfo(float).tiny))


def silent(total: float, each: np.ndarray) -> bool:
    """Whether laws of rows that tell `total` nats of them, `each` coordinate by itself, tell nothing.

    What moves at a rate is never quite at its prior: eight units that are used for nothing tell a tenth of a nat together.
    """
    return bool(total < ACTIVE_NATS or np.max(each) < HEARD)


def told(law: Law, seed: int) -> tuple[float, float]:
    """What the laws of rows tell of them.

    Parameters
    ----------
    law : Law
        Of rows, on the host.
    seed : int
        Of the draws of each row.

    Returns
    -------
    float, float
        Mutual information of a row and its coordinates under the encoder, in nats, among some of the rows (Hoffman & Johnson 2016);
        and its standard error.
    """
    if law.point:  # the entropy of where rows are
        share = np.unique(law.mean, axis=0, return_counts=True)[1] / len(law.mean)
        return float(-(share * np.log(share)).sum()), 0.0
    law = law.rows(slice(0, INFORMED_ROWS))
    z = placed(law, np.random.default_rng([seed, 72]).standard_normal((INFORMED_DRAWS, *law.mean.shape)))
    each = np.stack([log_prob(law, one[:, None]) for one in z])  # by draw, row that it is of, and row
    own = np.diagonal(each, axis1=1, axis2=2) - (logsumexp(each, axis=2) - np.log(each.shape[2]))
    return float(own.mean()), float(own.std() / np.sqrt(own.size))
