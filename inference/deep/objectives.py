"""``er.objectives``: what the networks of a model and its encoders are trained on.

Examples
--------
>>> import elboroom as er
>>> er.objectives.Elbo(beta=er.objectives.Linear(epochs=4)).at(2)["beta"]
0.5

References
----------
Bowman et al. (2016), Generating sentences from a continuous space, CoNLL. Fu et al. (2019), Cyclical annealing schedule,
NAACL. Higgins et al. (2017), β-VAE, ICLR. Kingma et al. (2016), Improving variational inference with inverse autoregressive
flow, NeurIPS. Burgess et al. (2018), Understanding disentangling in β-VAE. Chen et al. (2018), Isolating sources of
disentanglement in variational autoencoders, NeurIPS. Burda, Grosse & Salakhutdinov (2016), Importance weighted autoencoders,
ICLR. Tucker, Lawson, Gu & Maddison (2019), Doubly reparameterized gradient estimators for Monte Carlo objectives, ICLR.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from ...ppl.errors import InferenceError, explain


@dataclass(frozen=True)
class Linear:
    """A factor that rises from 0 to `end` over the first epochs, and stays there.

    Parameters
    ----------
    epochs : float, default 10
        Passes over the rows.
    end : float, default 1
        What it rises to.

    Examples
    --------
    >>> [Linear(epochs=4).at(epoch) for epoch in (0, 2, 8)]
    [0.0, 0.5, 1.0]
    """

    epochs: float = 10.0
    end: float = 1.0

    def __post_init__(self):
        _positive("er.objectives.Linear", epochs=self.epochs, end=self.end)

    @property
    def length(self) -> float:
        """Epochs until it no longer changes."""
        return self.epochs

    def at(self, epoch: float) -> float:
        """The factor after so many epochs."""
        return float(self.end * min(1.0, epoch / self.epochs))


@dataclass(frozen=True)
class Cyclical:
    """A factor that rises from 0 to `end` again and again, and stays there after the last cycle.

    Parameters
    ----------
    cycles : int, default 4
        How often.
    share : float, default 0.5
        Of a cycle in which it rises.
    epochs : float, default 10
        Passes over the rows of a cycle.
    end : float, default 1
        What it rises to.

    Examples
    --------
    >>> [Cyclical(2, 0.5, epochs=4).at(epoch) for epoch in (1, 3, 5, 9)]
    [0.5, 1.0, 0.5, 1.0]
    """

    cycles: int = 4
    share: float = 0.5
    epochs: float = 10.0
    end: float = 1.0

    def __post_init__(self):
        what = "er.objectives.Cyclical"
        _positive(what, cycles=self.cycles, share=self.share, epochs=self.epochs, end=self.end)
        if self.share > 1 or self.cycles != int(self.cycles):
            raise InferenceError(explain(what, "a whole number of cycles, and a share up to 1",
                                         f"cycles={self.cycles}, share={self.share}", "correct them"))  # fmt: skip

    @property
    def length(self) -> float:
        """Epochs until it no longer changes."""
        return self.cycles * self.epochs

    def at(self, epoch: float) -> float:
        """The factor after so many epochs."""
        if epoch >= self.length:
            return float(self.end)
        return float(self.end * min(1.0, (epoch % self.epochs) / self.epochs / self.share))


@dataclass(frozen=True)
class Elbo:
    """The evidence lower bound, and what is made of it.

    Parameters
    ----------
    beta : float, Linear or Cyclical, default 1
        Factor of the divergence of a row's law from its prior. What a schedule rises to is what the result is of.
    free_bits : float, default 0
        Nats of divergence, of each coordinate on average over a batch, that cost nothing.
    capacity : float, Linear or None
        Nats of a row's divergence that it is drawn to, ``beta |KL - capacity|``, in place of as few as possible.
    total_correlation : float, default 0
        Factor, beyond that of `beta`, of the total correlation of the coordinates of all rows, estimated on each batch by
        weighting its rows as a stratified sample of all. None of what is reported is changed by it.
    estimator : {"score", "concrete", "straight-through"}, optional
        Of rows of bits or one-hot vectors alone, through which no gradient goes: scores, with the other draws of a row as a baseline, which are right on
        average and are used where nothing is said; relaxed bits in place of hard ones; or their gradients with hard ones.

    Notes
    -----
    Whatever is trained on, the bound that is reported is the evidence lower bound itself. Only ``Elbo()`` and
    `ImportanceWeighted` are bounds of it.

    Examples
    --------
    >>> Elbo(beta=Linear(epochs=10)).plain, Elbo(beta=4.0).plain
    (True, False)
    """

    beta: Any = 1.0
    free_bits: float = 0.0
    capacity: Any = None
    total_correlation: float = 0.0
    estimator: str | None = None

    num_particles = 1
    weighted = alone = rests = False

    def __post_init__(self):
        what = "er.objectives.Elbo"
        for name, value in (("beta", self.beta), ("capacity", self.capacity)):
            if value is not None and not isinstance(value, (Linear, Cyclical)):
                _positive(what, **{name: value})
        for name, value in (("free_bits", self.free_bits), ("total_correlation", self.total_correlation)):
            if value != 0:
                _positive(what, **{name: value})
        if self.estimator not in (None, "score", "concrete", "straight-through"):
            raise InferenceError(
                explain(f"estimator of {what}", "'score', 'concrete' or 'straight-through'",
                        repr(self.estimator)[:80], "choose one, or leave it out")
            )  # fmt: skip

    @property
    def plain(self) -> bool:
        """Whether it ends as the evidence lower bound."""
        ends = getattr(self.beta, "end", self.beta) == 1
        return bool(ends and not self.free_bits and self.capacity is None and not self.total_correlation)

    @property
    def sticks(self) -> bool:
        """Whether its gradient is right on average without the score of a row's law: not of what bends the divergence."""
        return not self.free_bits and self.capacity is None

    @property
    def length(self) -> float:
        """Epochs until it no longer changes."""
        return max(getattr(self.beta, "length", 0.0), getattr(self.capacity, "length", 0.0))

    def at(self, epoch: float) -> dict[str, float]:
        """Its factors after so many epochs."""
        beta = self.beta.at(epoch) if hasattr(self.beta, "at") else float(self.beta)
        capacity = self.capacity.at(epoch) if hasattr(self.capacity, "at") else float(self.capacity or 0.0)
        return {"beta": beta, "capacity": capacity, "free_bits": float(self.free_bits), "lag": 1.0}


@dataclass(frozen=True)
class ImportanceWeighted:
    """A bound by the mean of several importance weights of each row.

    Parameters
    ----------
    num_particles : int
        Draws of a row.
    estimator : {"dreg", "plain", "vimco"}
        Gradient of the encoder: doubly reparameterised, whose signal does not vanish with many draws, or that of the bound; of rows of
        bits by scores, each draw beside the bound without it (Mnih & Rezende 2016).

    Examples
    --------
    >>> ImportanceWeighted(50).estimator
    'dreg'
    """

    num_particles: int
    estimator: str = "dreg"

    weighted = True
    alone = sticks = rests = False
    free_bits = total_correlation = 0.0
    capacity = None
    plain = True
    length = 0.0

    def __post_init__(self):
        what = "er.objectives.ImportanceWeighted"
        whole = isinstance(self.num_particles, (int, np.integer)) and not isinstance(self.num_particles, bool)
        if not whole or self.num_particles < 1:
            raise InferenceError(
                explain(what, "a positive number of draws", repr(self.num_particles)[:80], "pass 50, say")
            )
        if self.estimator not in ("dreg", "plain", "vimco"):
            raise InferenceError(
                explain(
                    f"estimator of {what}",
                    "'dreg', 'plain' or 'vimco'",
                    repr(self.estimator)[:80],
                    "choose one",
                )
            )

    def at(self, _epoch: float) -> dict[str, float]:
        """Its factors after so many epochs."""
        return {"beta": 1.0, "capacity": 0.0, "free_bits": 0.0, "lag": 1.0}


class Alone:
    """An objective that is no bound, with a value of its own: that of a family whose laws are no densities.

    A subclass has ``value(compiled, live, frozen, data, seen, given, constants)``: what is trained on, a row, at arrays that are `live`
    and others, equal, of which no gradient is taken; and what is shown of it. Its `rates` are those that pilots try, if any are named.
    """

    rates: tuple[float, ...] = ()

    num_particles = 1
    weighted = rests = False
    alone = sticks = True
    plain = False
    estimator = ""
    free_bits = total_correlation = length = 0.0
    capacity = None

    def at(self, _epoch: float) -> dict[str, float]:
        """Its factors after so many epochs."""
        return {"beta": 1.0, "capacity": 0.0, "free_bits": 0.0, "lag": 1.0}

    def begun(self, _weights: Any) -> dict[str, Any]:
        """What training remembers beside its arrays, where it begins."""
        return {}

    def divergence(self, _z: np.ndarray, own: np.ndarray) -> np.ndarray:
        """What is taken from what rows tell, shape ``(S, n)``, of places ``(n, u)`` of rows and their `own` divergences."""
        return own

    def pace(self, _key: str) -> float:
        """How fast an array goes beside the others."""
        return 1.0

    def moved(self, _state: Any, _found: dict, _given: Any) -> tuple[dict, dict]:
        """Arrays that follow by themselves after a step, by group and name, and what is remembered beside them."""
        return {}, {}


def _positive(what: str, **values: Any) -> None:
    for name, value in values.items():
        if not isinstance(value, Real) or isinstance(value, bool) or not 0 < float(value) < np.inf:
            raise InferenceError(
                explain(f"{name} of {what}", "a positive number", repr(value)[:80], "correct it")
            )
