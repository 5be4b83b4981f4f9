"""Do made-up rows give away those that a model was trained on?

Of rows trained on and rows held out neither is nearer to rows that a generator makes up if it has learned their law and not
themselves: then which of them were trained on is a coin that was thrown independently of what it makes. Both tests below rest on that
alone, and are exact whatever the law, the distance and the generator.

References
----------
Fisher (1934), Statistical methods for research workers, on the hypergeometric test. Mann & Whitney (1947), On a test of whether one of
two random variables is stochastically larger than the other. Yale et al. (2020), Generation and evaluation of privacy preserving
synthetic health data, Neurocomputing 416, on nearest neighbours. Hilprecht et al. (2019), Monte Carlo and reconstruction membership
inference attacks against generative models, on membership by distances.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..evidence.finding import Finding
from ..thresholds import LEAKED, LEAKED_SHARE, NEARLY_EQUAL
from .distances import blocks

NAME = "rows learned by heart"


@dataclass(frozen=True)
class Leak:
    """What made-up rows give away of those trained on.

    Attributes
    ----------
    share, expected : float
        Of the made-up rows, those whose nearest real row was trained on, ties split at random; and what that is on average where
        nothing is given away, the share of rows trained on among the real ones.
    p_value : float
        That as many of the real rows which are nearest to some made-up row, or more, were trained on: each counts once, as made-up rows
        with the same nearest one are no independent witnesses. Equally many are split at random, so that it is uniform where nothing
        is given away.
    auc, auc_p_value : float
        Of telling rows trained on from those held out by how near the nearest made-up row is: one half where nothing is given
        away; and Mann and Whitney's.
    copied, copied_held : float
        Share of the rows trained on, and of those held out, to which a made-up row is equal.
    detectable : float
        A generator that copies about this share of its rows would have been found; infinite where none would have been.
    num_synthetic, num_trained, num_held : int
        Rows that were compared.
    """

    share: float
    expected: float
    p_value: float
    auc: float
    auc_p_value: float
    copied: float
    copied_held: float
    detectable: float
    num_synthetic: int
    num_trained: int
    num_held: int

    @property
    def as_if(self) -> float:
        """Share of copies among made-up rows with which as many would be nearest to a row trained on."""
        return max(0.0, 1 - (1 - self.share) / (1 - self.expected))

    @property
    def verdict(self) -> str:
        """``"untrusted"``, or ``"caution"`` where little is given away, if a test says so; ``"not assessable"`` where a generator that
        copied all would not be found; else ``"ok"``."""
        if 2 * min(self.p_value, self.auc_p_value) < LEAKED:
            return (
                "untrusted" if max(self.as_if, self.copied - self.copied_held) >= LEAKED_SHARE else "caution"
            )
        return "ok" if self.detectable <= 1 else "not assessable"

    @property
    def finding(self) -> Finding:
        """The verdict, with what it means."""
        p = min(1.0, 2 * min(self.p_value, self.auc_p_value))
        seen = (
            f"{self.share:.0%} of {self.num_synthetic} made-up rows are nearest to a row trained on, {self.expected:.0%} expected; rows "
            f"trained on are told from those held out with an area of {self.auc:.2f} under the curve (p = {p:.2g})."
        )
        return Finding(NAME, "fit", p, LEAKED, self.verdict, f"{seen} {self._advice}")

    @property
    def _advice(self) -> str:
        if self.verdict in ("caution", "untrusted"):
            seen = f"They give away rows trained on, as if {self.as_if:.0%} of them were copies: "
            if self.verdict == "untrusted":
                seen += "do not take them for rows that nobody has seen, nor hand them out as such; "
            return seen + "fit more rows, a smaller decoder, or fewer latent numbers."
        if self.verdict == "ok":
            return f"A generator that copies {self.detectable:.0%} of its rows or more would be found; what fewer give away is not known."
        return (
            "So few rows could not tell a generator that copies all of them: hold out more, or make up more."
        )

    def __str__(self) -> str:
        return str(self.finding)


def leak(synthetic: np.ndarray, trained: np.ndarray, held: np.ndarray, seed: int = 0) -> Leak:
    """Compare made-up rows with those trained on and held out.

    Parameters
    ----------
    synthetic, trained, held : numpy.ndarray, shape (rows, columns)
        In columns in which distances mean something, see `distances.tables`.
    seed : int
        Splits ties.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> trained, held = rng.normal(size=(2, 200, 5))
    >>> leak(rng.normal(size=(200, 5)), trained, held).verdict
    'ok'
    >>> found = leak(trained, trained, held)
    >>> found.verdict, found.share, found.copied
    ('untrusted', 1.0, 1.0)
    """
    from scipy.stats import hypergeom, mannwhitneyu

    rng, real = np.random.default_rng([seed, 81]), np.concatenate([trained, held])
    index, near = np.empty(len(synthetic), int), np.full(len(real), np.inf)
    for some, apart in blocks(synthetic, real):
        index[some] = apart.argmin(1)
        tied = apart <= (1 + NEARLY_EQUAL) * apart.min(1, keepdims=True)
        for i in np.flatnonzero(tied.sum(1) > 1):
            index[some[i]] = rng.choice(np.flatnonzero(tied[i]))
        near = np.minimum(near, apart.min(0))
    count, total = len(trained), len(real)
    hit = np.unique(index)
    met = int((hit < count).sum())
    chance = hypergeom(total, count, len(hit))
    found = mannwhitneyu(-near[:count], -near[count:], alternative="greater")
    # the most held-out rows among those met with which it would have been found
    few = np.arange(len(held) + 1)
    caught = few[(few <= len(hit)) & (2 * chance.sf(len(hit) - few - 1) < LEAKED)]
    expected = len(hit) * len(held) / total
    return Leak(
        share=float((index < count).mean()),
        expected=count / total,
        p_value=float(chance.sf(met) + rng.uniform() * chance.pmf(met)),
        auc=float(found.statistic / (count * len(held))),
        auc_p_value=float(found.pvalue),
        copied=float((near[:count] == 0).mean()),
        copied_held=float((near[count:] == 0).mean()),
        detectable=float(np.clip(1 - caught.max() / expected, 0, 1)) if len(caught) else np.inf,
        num_synthetic=len(synthetic),
        num_trained=count,
        num_held=len(held),
    )
