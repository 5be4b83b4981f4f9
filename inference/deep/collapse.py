"""Collapse: laws of rows that say nothing of them, and starts that keep them apart for a while.

Where the laws of all rows are their prior, nothing was learned of any. That may be right, of data without structure, or because the
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

from ...guides.laws import Law, log_prob, placed
from ..thresholds import HELD_APART, INFORMED_DRAWS, INFORMED_ROWS, LAGGING
from .objectives import Cyclical, Elbo


@dataclass(frozen=True)
class Apart(Elbo):
    """The evidence lower bound, which for some epochs keeps the laws of rows apart.

    Attributes
    ----------
    epochs : float
        Until it is the bound itself.
    lag : float
        Share of the rate that the model's own arrays have meanwhile.
    words : str
        What it does.
    """

    epochs: float = 1.0
    lag: float = 1.0
    words: str = ""

    @property
    def plain(self) -> bool:
        """It ends as the evidence lower bound."""
        return True

    @property
    def length(self) -> float:
        """Epochs until it no longer changes."""
        return self.epochs

    def at(self, epoch: float) -> dict[str, float]:
        """Its factors after so many epochs."""
        found = super().at(epoch)
        over = epoch >= self.epochs
        return {**found, "free_bits": 0.0, "lag": 1.0} if over else {**found, "lag": self.lag}


def remedies(epochs: float) -> list[Apart]:
    """Starts that are tried after a collapse, over so many epochs."""
    cycles = Cyclical(4, 0.5, epochs=epochs / 4)
    return [
        Apart(epochs=epochs, free_bits=HELD_APART, words=f"{HELD_APART} nats of each unit are free at first"),
        Apart(epochs=epochs, beta=cycles, words="the divergence costs nothing at first, in four cycles"),
        Apart(epochs=epochs, lag=LAGGING, words="the model's own networks lag behind the encoder at first"),
    ]


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
    law = law.rows(slice(0, INFORMED_ROWS))
    z = placed(law, np.random.default_rng([seed, 72]).standard_normal((INFORMED_DRAWS, *law.mean.shape)))
    each = np.stack([log_prob(law, one[:, None]) for one in z])  # by draw, row that it is of, and row
    own = np.diagonal(each, axis1=1, axis2=2) - (logsumexp(each, axis=2) - np.log(each.shape[2]))
    return float(own.mean()), float(own.std() / np.sqrt(own.size))
