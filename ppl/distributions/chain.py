"""`MarkovChain`: a discrete path, the hidden states of a hidden Markov model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import constraints
from .. import math as m
from ..errors import ShapeError, explain
from .base import constrained
from .formula import Formula


@dataclass(frozen=True, eq=False, repr=False)
class MarkovChain(Formula):
    """Law of a path of zero-based states.

    As a latent site it is summed out by the forward algorithm; what follows in a plate over the steps sees
    the state of its own step.

    Parameters
    ----------
    initial_probs : array_like, shape (*batch, K)
        Probability of each state at the first step.
    transition_probs : array_like, shape (K, K), (num_steps - 1, K, K) or (*batch, num_steps - 1 or 1, K, K)
        Probability of the column's state after the row's; one matrix, or one for each move, as where
        covariates drive the switching; or these for each chain, as where individuals differ. Zeros are moves that
        never happen.
    num_steps : int
        Length of the path.

    Raises
    ------
    ShapeError
        For other shapes, once the site is declared.

    References
    ----------
    Rabiner (1989), A tutorial on hidden Markov models, Proceedings of the IEEE 77.

    Examples
    --------
    >>> chain = MarkovChain([0.5, 0.5], [[0.9, 0.1], [0.2, 0.8]], num_steps=3)
    >>> round(float(np.exp(chain.log_density([0, 0, 1]))), 3)
    0.045
    >>> moves = np.array([[[0.9, 0.1], [0.2, 0.8]], [[0.5, 0.5], [0.5, 0.5]]])
    >>> round(float(np.exp(MarkovChain([0.5, 0.5], moves, num_steps=3).log_density([0, 0, 1]))), 3)
    0.225
    >>> each = np.stack([moves, moves[::-1]])  # two chains
    >>> MarkovChain([0.5, 0.5], each, num_steps=3).batch_shape
    (2,)
    """

    measure = "nominal"
    arg_constraints = constrained(
        initial_probs=constraints.simplex,
        transition_probs=constraints.independent(constraints.simplex, 1),
    )
    initial_probs: Any
    transition_probs: Any
    num_steps: int

    @property
    def num_values(self) -> int:
        """Number of states."""
        return int(np.shape(self.initial_probs)[-1])

    @property
    def support(self):
        return constraints.independent(constraints.integer_interval(0, self.num_values - 1), 1)

    @property
    def batch_shape(self):
        return np.broadcast_shapes(np.shape(self.initial_probs)[:-1], np.shape(self.transition_probs)[:-3])

    @property
    def event_shape(self):
        return (self.num_steps,)

    def validate(self, site):
        self._check_given(site)
        count = self.num_values if np.ndim(self.initial_probs) else 0
        one, moves = (count, count), self.num_steps - 1
        shape = tuple(np.shape(self.initial_probs))
        self._check(
            site,
            "initial_probs",
            shape and shape[-1:] == (count,),
            "one probability for each state",
            (count,),
        )
        shape = tuple(np.shape(self.transition_probs))
        each = len(shape) > 3 and shape[-2:] == one and shape[-3] in (1, moves)
        known = shape in (one, (moves, *one)) or each
        self._check(site, "transition_probs", known, "one matrix, or one for each move", one, (moves, *one))
        super().validate(site)

    def _check(self, site, name, good, what, *shapes):
        if not good:
            raise ShapeError(
                explain(
                    f"site '{site}', parameter '{name}' of MarkovChain",
                    f"{what}, shape {' or '.join(map(str, shapes))}, axes of plates in front",
                    f"shape {tuple(np.shape(getattr(self, name)))}",
                    "declare a chain for each individual in a plate, with transition_probs of shape "
                    f"(N, {self.num_steps - 1} or 1, K, K)",
                )
            )

    def log_density(self, value):
        is_state = m.expand_dims(m.reshape(value, np.shape(value)), -1) == np.arange(self.num_values)
        first = m.sum(m.where(is_state[..., 0, :], log_probs(self.initial_probs), 0.0), axis=-1)
        moved = m.expand_dims(is_state[..., :-1, :], -1) & m.expand_dims(is_state[..., 1:, :], -2)
        return first + m.sum(m.where(moved, log_probs(self.transition_probs), 0.0), axis=(-3, -2, -1))

    def draw(self, random, shape):
        uniform = random.uniform((self.num_steps, *shape))
        states = np.arange(self.num_values)
        first, moves = m.cumulative_sum(self.initial_probs, -1), m.cumulative_sum(self.transition_probs, -1)
        if np.ndim(moves) == 2:
            moves = m.expand_dims(moves, 0)
        moves = m.moveaxis(moves, -3, 0)
        moves = m.broadcast_to(moves, (self.num_steps - 1, *np.shape(moves)[1:]))

        def reached(bounds, u):
            return m.minimum(m.sum(m.expand_dims(u, -1) > bounds, axis=-1), self.num_values - 1)

        def step(state, inputs):
            bounds, u = inputs
            row = m.expand_dims(m.expand_dims(state, -1) == states, -1)
            state = reached(m.sum(m.where(row, bounds, 0.0), axis=-2), u)
            return state, state

        start = reached(first, uniform[0])
        path = m.expand_dims(start, 0)
        if self.num_steps > 1:
            path = m.concat([path, m.scan(step, start, (moves, uniform[1:]))[1]], 0)
        return 1.0 * m.moveaxis(path, 0, -1)


def log_probs(probs: Any) -> Any:
    """Logarithms of probabilities, whose gradient is zero where a probability is zero."""
    possible = m.asarray(probs) > 0
    return m.where(possible, m.log(m.where(possible, probs, 1.0)), -np.inf)
