"""`Private`: what a private fit is asked for."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np

from ...ppl.errors import InferenceError, explain
from ...ppl.thresholds import QUOTED


@dataclass(frozen=True, eq=False)
class Private:
    """Differential privacy of a fit: what is released of it hardly depends on any one row, or group of rows.

    Whatever is released could have come of a fit without some row: no event is more than ``exp(epsilon)`` times as probable,
    up to `delta`. The gradient of each row is clipped to the norm `clip`, and the sum over a batch, whose rows are each
    there by chance, gets Gaussian noise; nothing else looks at the rows.

    Parameters
    ----------
    epsilon, delta : float
        The budget, which all steps together spend. Delta is below one over the number of rows.
    clip : float, default 1
        Largest norm of the gradient of a row. For a guide without networks, of its log likelihood in the means and the standard
        deviations of the unconstrained coordinates; with an encoder, of its bound in all learned arrays.
    steps : int, default 1000
        Steps that the budget is for: their number may not depend on the rows.
    by : array_like, optional
        A label for each row: what is protected are all rows of a label together, those of a person, say. By default each row
        by itself.
    rate : float, optional
        Adam's learning rate: by default 0.2, in units of the guide's first standard deviations, and 0.002 for networks.
    public : mapping, optional
        Data arguments of rows of the same kind that need no protection: what is looked at, for evidence and pictures, in place of
        those that do.
    seed : int, optional
        For noise and batches that come again. Who knows it can take the noise away: keep it as secret as the rows. By default
        the operating system gives one that nobody keeps.

    Raises
    ------
    InferenceError
        For what cannot be meant.

    Notes
    -----
    Two data sets are neighbours where one has a row, or a label, that the other has not. Public, and not protected, are the
    number of rows (or labels), all arguments that do not run along the rows, constants of the model, and levels of labels.

    References
    ----------
    Dwork & Roth (2014), The algorithmic foundations of differential privacy. Abadi et al. (2016), Deep learning with
    differential privacy, CCS. Jälkö, Dikmen & Honkela (2017), Differentially private variational inference for
    non-conjugate models, UAI.

    Examples
    --------
    >>> Private(epsilon=3, delta=1e-5).clip
    1.0
    """

    epsilon: float
    delta: float
    clip: float = 1.0
    steps: int = 1000
    by: Sequence[Any] | np.ndarray | None = None
    rate: float | None = None
    public: Mapping[str, Any] | None = None
    seed: int | None = None

    def __post_init__(self):
        rate = 1.0 if self.rate is None else self.rate
        for name, value in (("epsilon", self.epsilon), ("clip", self.clip), ("rate", rate)):
            if not _number(value) or not 0 < value < np.inf:
                raise _refused(name, "a positive number", value)
        if not _number(self.delta) or not 0 < self.delta < 1:
            raise _refused("delta", "a probability, well below one over the number of rows", self.delta)
        seed = 0 if self.seed is None else self.seed
        for name, value, least in (("steps", self.steps, 1), ("seed", seed, 0)):
            if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
                raise _refused(name, f"a whole number of at least {least}", value)
        if self.public is not None and not isinstance(self.public, Mapping):
            raise _refused("public", "a mapping from data arguments to their public rows", self.public)

    def generator(self) -> np.random.Generator:
        """Where noise and batches come from."""
        return np.random.Generator(
            np.random.Philox(key=secrets.randbits(128))
            if self.seed is None
            else np.random.Philox(np.random.SeedSequence([self.seed, 87]))
        )


def check_private(private: Any) -> None:
    """Refuse what is no `Private`.

    Raises
    ------
    InferenceError
    """
    if not isinstance(private, Private):
        raise InferenceError(
            explain(
                "private", "an er.Private", f"{private!r}"[:QUOTED], "pass er.Private(epsilon=3, delta=1e-6)"
            )
        )


def _number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _refused(name: str, want: str, got: Any) -> InferenceError:
    return InferenceError(explain(f"{name} of er.Private", want, f"{got!r}"[:QUOTED], "correct it"))
