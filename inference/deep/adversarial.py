"""Training of rows that are at one place each, beside a critic that tells their places from draws of the prior.

References
----------
Makhzani, Shlens, Jaitly, Goodfellow & Frey (2016), Adversarial autoencoders, ICLR workshop. Heusel et al. (2017), GANs trained by a two
time-scale update rule converge to a local Nash equilibrium, NeurIPS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ppl import math as m
from ...ppl.errors import GuideError, ShapeError, explain
from ...ppl.modules import fitting, own_rng
from ...ppl.nn import MLP
from ..thresholds import ADVERSARIAL_RATE, CRITIC_PACE, CRITIC_WIDTH, DEEP_TINY, PRIOR_BANK, ROWS_ALIKE
from .objectives import Alone
from .setup import ENCODER, Setup

CRITIC = f"{ENCODER}:critic"


@dataclass(frozen=True, eq=False)
class Adversary(Alone):
    """What a decoder tells of the places of rows, and how far a critic takes these for draws of the prior.

    Attributes
    ----------
    network : Network
        The critic: log odds that places were drawn from the prior.
    begin : mapping
        Its arrays where they begin.
    bank : numpy.ndarray, shape (B, n, u)
        Draws of the prior, in batches.
    """

    network: Any
    begin: Mapping[str, np.ndarray]
    bank: np.ndarray

    rates = (ADVERSARIAL_RATE,)

    def pace(self, key: str) -> float:
        """How fast an array goes beside the others."""
        return CRITIC_PACE if key in self.begin else 1.0

    def divergence(self, z: np.ndarray, own: np.ndarray) -> np.ndarray:
        """That of all rows together from the prior, by their means and covariances."""
        drawn = self.bank.reshape(-1, self.bank.shape[-1])
        off, units = z.mean(0) - drawn.mean(0), z.shape[1]
        inner, outer = (
            np.cov(some.T).reshape(units, units) + DEEP_TINY * np.eye(units) for some in (z, drawn)
        )
        ratio = np.linalg.solve(outer, inner + np.outer(off, off))
        apart = 0.5 * (np.trace(ratio) - units + np.linalg.slogdet(outer)[1] - np.linalg.slogdet(inner)[1])
        return np.full_like(own, apart)

    def odds(self, weights: Mapping[str, Any], z: Any) -> Any:
        """Log odds that places ``(n, u)`` were drawn from the prior, shape ``(n,)``."""
        own = {key.removeprefix(f"{CRITIC}."): weights[key] for key in self.begin}
        with fitting("the critic of er.Adversarial", z):
            return self.network.apply(own, z)[..., 0]

    def value(self, compiled, live, frozen, data, seen, given, constants):
        """What is trained on, per row, and what is shown of it."""
        _, shared, log_shared, noise = compiled.draws(live, given)
        z, still = (compiled.law(params, seen, constants).mean for params in (live, frozen))
        terms = compiled.terms(z[None], shared, data, live, noise)
        likelihood = m.mean(terms["likelihood"] + terms["other"])
        prior = m.mean(sum(m.sum(value, axis=-1) for value in terms["prior"].values()))
        outside = m.mean(terms["outside"] - log_shared) / compiled.rows.total
        place = m.reshape(given["seed"] % len(self.bank), (1,))
        drawn = m.take(m.like(self.bank, still), place, axis=0)[0]
        told = self.told(live["weights"], still, drawn)
        deceived = -m.mean(m.softplus(-self.odds(frozen["weights"], z)))
        return likelihood + deceived + told + outside, {
            "bound": likelihood + prior + outside,
            "kl": -prior,
        }

    def told(self, weights: Mapping[str, Any], z: Any, drawn: Any) -> Any:
        """Log probability that the critic tells places of rows from draws of the prior."""
        return -m.mean(m.softplus(-self.odds(weights, drawn))) - m.mean(m.softplus(self.odds(weights, z)))


def adversary(setup: Setup, critic: Any, seed: int) -> Adversary:
    """The objective of rows, with a critic that is sized where none is given; its arrays begin among those of the rows.

    Raises
    ------
    GuideError
        For a prior that depends on what is learned, or on data.
    ShapeError
        For a critic that makes more than one number, or takes others than coordinates.
    """
    units = setup.rows.num_units
    network = MLP(units, [CRITIC_WIDTH, CRITIC_WIDTH], 1) if critic is None else critic
    made = network.arrays(own_rng(CRITIC, seed))
    begin = {f"{CRITIC}.{key}": np.asarray(value, np.float64) for key, value in made.items()}
    setup.begin.update(begin)
    found = Adversary(network, begin, prior_draws(setup, seed))
    with setup.rows.small.room(), fitting("critic of er.Adversarial", found.bank):
        to_device = setup.rows.small.to_device
        own = {key: to_device(value) for key, value in made.items()}
        shape = tuple(np.shape(network.apply(own, to_device(found.bank[0]))))
    if shape != (setup.rows.size, 1):
        words = f"one number of the {units} coordinates of a row"
        raise ShapeError(
            explain(
                "critic of er.Adversarial",
                words,
                f"shape {shape} of {setup.rows.size} rows",
                "let its last layer make one",
            )
        )
    return found


def prior_draws(setup: Setup, seed: int) -> np.ndarray:
    """Draws of the coordinates of rows from their prior, shape ``(B, n, u)``, with all arrays where they begin.

    Raises
    ------
    GuideError
    """
    size = setup.rows.size
    seeds = np.random.default_rng([seed, 84]).integers(0, 2**31, -(-PRIOR_BANK // size))
    one, other = (_drawn(setup, seeds[:1], moved) for moved in (0.0, 0.3))
    if not np.abs(other - one).max() <= ROWS_ALIKE * (1 + np.abs(one).max()):
        words = "latent quantities of rows whose prior depends on nothing that is learned, and not on data"
        raise GuideError(
            explain(
                "er.Adversarial", words, f"one of {list(setup.rows.names)} that does", "pass er.Amortized()"
            )
        )
    return _drawn(setup, seeds, 0.0)


def _drawn(setup: Setup, seeds: np.ndarray, moved: float) -> np.ndarray:
    """The draws of some seeds, with learned arrays and what rows share `moved` from where they begin, beside other rows."""
    rows = setup.rows
    own = {k: v * (1 + moved) + moved for k, v in setup.begin.items() if k in rows.full.trace.weights}
    small = rows.small.at({k: rows.small.to_device(v) for k, v in own.items()})
    some = np.arange(rows.size) + (rows.total - rows.size if moved else 0)
    data = {**small.data, **{k: small.to_device(v) for k, v in rows.host(some).items()}}
    at = rows.joined(np.zeros((1, rows.size, rows.num_units)), np.full((1, rows.num_shared), moved))
    shared = small.constrain(np.asarray(at), data=data)
    known = {
        s.name: np.repeat(shared[s.name], len(seeds), 0) for s in small.sites if s.name not in rows.names
    }
    found = small.density.simulate(known, seeds, data, small.weights)
    z = small.unconstrain({s.name: np.asarray(found[s.name], float) for s in small.sites}, data=data)
    return rows.apart(z)
