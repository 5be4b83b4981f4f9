"""`MarkovChain`: a discrete path, the hidden states of a hidden Markov model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import constraints
from .. import math as m
from .formula import Formula


@dataclass(frozen=True, eq=False, repr=False)
class MarkovChain(Formula):
    """Law of a path of zero-based states.

    As a latent site it is summed out by the forward algorithm; what follows in a plate over the steps sees
    the state of its own step.

    Parameters
    ----------
    initial_probs : array_like, shape (K,)
        Probability of each state at the first step.
    transition_probs : array_like, shape (K, K)
        Probability of the column's state after the row's.
    num_steps : int
        Length of the path.

    References
    ----------
    Rabiner (1989), A tutorial on hidden Markov models, Proceedings of the IEEE 77.

    Examples
    --------
    >>> chain = MarkovChain([0.5, 0.5], [[0.9, 0.1], [0.2, 0.8]], num_steps=3)
    >>> round(float(np.exp(chain.log_density([0, 0, 1]))), 3)
    0.045
    """

    arg_constraints = {
        "initial_probs": constraints.simplex,
        "transition_probs": constraints.independent(constraints.simplex, 1),
    }
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
    def event_shape(self):
        return (self.num_steps,)

    def log_density(self, value):
        is_state = m.expand_dims(m.reshape(value, np.shape(value)), -1) == np.arange(self.num_values)
        first = m.sum(m.where(is_state[..., 0, :], m.log(self.initial_probs), 0.0), axis=-1)
        moved = m.expand_dims(is_state[..., :-1, :], -1) & m.expand_dims(is_state[..., 1:, :], -2)
        return first + m.sum(m.where(moved, m.log(self.transition_probs), 0.0), axis=(-3, -2, -1))

    def draw(self, random, shape):
        uniform = random.uniform((*shape, self.num_steps))
        first, moves = m.cumulative_sum(self.initial_probs, -1), m.cumulative_sum(self.transition_probs, -1)
        last = self.num_values - 1
        state = m.minimum(m.sum(uniform[..., :1] > first, axis=-1), last)
        path = [state]
        for i in range(1, self.num_steps):
            state = m.minimum(m.sum(uniform[..., i : i + 1] > m.take(moves, state, axis=0), axis=-1), last)
            path.append(state)
        return 1.0 * m.stack(path, axis=-1)
