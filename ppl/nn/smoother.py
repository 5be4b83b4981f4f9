"""What a whole sequence says of each of its times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import math as m
from .layers import Arrays, check_last, linear, prefixed, size_of, within
from .recurrent import GRU


@dataclass(frozen=True)
class Smoother:
    """An encoder of series whose latent states have a time too: it sees each state's past and future.

    Parameters
    ----------
    num_times : int
        Of a sequence.
    num_seen : int
        Numbers that come in at each time.
    num_hidden : int
        Numbers of the states of the network, of which one goes forwards in time and one backwards.
    num_units : int
        Coordinates at each time.
    num_each : int, default 2
        Numbers for each coordinate: a mean and a log sd; 10 for ``er.Amortized(within="chain")``.
    gaps : bool, default False
        Whether numbers of the sequences may be missing: after them come as many ones and zeros, ones where they are.

    Raises
    ------
    ModelError
        For sizes that are no positive whole numbers, or fewer than two numbers each.

    Notes
    -----
    Two `GRU`, of which what they make of a time is added up, with a linear map of what comes in then. Means of all times come out first,
    then log sds, then what else there is of each coordinate: as `elboroom.Amortized` wants them of a site of shape
    ``(num_times, num_units)``, or of a site for each time.

    Examples
    --------
    >>> import numpy as np
    >>> net = Smoother(num_times=7, num_seen=3, num_hidden=16, num_units=2)
    >>> weights = net.arrays(np.random.default_rng(0))
    >>> net.apply(weights, np.zeros((5, 21))).shape
    (5, 28)
    """

    num_times: int
    num_seen: int
    num_hidden: int
    num_units: int
    num_each: int = 2
    gaps: bool = False

    def __post_init__(self):
        for argument in ("num_times", "num_seen", "num_hidden", "num_units"):
            object.__setattr__(self, argument, size_of("er.nn.Smoother", argument, getattr(self, argument)))
        object.__setattr__(self, "num_each", size_of("er.nn.Smoother", "num_each", self.num_each, 2))

    @property
    def num_in(self) -> int:
        """Numbers of a row that comes in."""
        return self.num_times * self._width

    @property
    def _width(self) -> int:
        return self.num_seen * (2 if self.gaps else 1)

    @property
    def _inner(self) -> GRU:
        return GRU(self._width, self.num_hidden, self.num_units * self.num_each)

    def arrays(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Initial weights: those of two `GRU`, with laws of all sequences that are nearly alike but for their means, and a map that begins
        at nothing."""
        num_out = self._inner.num_out
        both: dict[str, np.ndarray] = {}
        for name in ("forwards", "backwards"):
            own = self._inner.arrays(rng)
            own["out.weight"][self.num_units :] *= 0.1
            both |= prefixed(name, own)
        return both | {"now.weight": np.zeros((num_out, self._width)), "now.bias": np.zeros(num_out)}

    def apply(self, arrays: Arrays, x: Any) -> Any:
        """The numbers of each sequence in a row, ``(..., num_in)``, to ``(..., num_times num_units num_each)``.

        Raises
        ------
        ShapeError
            For sequences of another shape.
        """
        check_last("er.nn.Smoother", x, self.num_in)
        parts = m.reshape(x, (*np.shape(x)[:-1], -1, self.num_times, self.num_seen))
        x = m.concat([parts[..., i, :, :] for i in range(2 if self.gaps else 1)], axis=-1)
        behind = m.flip(self._inner.apply(within("backwards", arrays), m.flip(x, axis=-2)), axis=-2)
        found = self._inner.apply(within("forwards", arrays), x) + behind + linear(arrays, "now", x)
        lead, size = tuple(np.shape(x))[:-2], self.num_units
        parts = (found[..., :size], found[..., size : 2 * size], found[..., 2 * size :])
        return m.concat([m.reshape(part, (*lead, -1)) for part in parts if np.shape(part)[-1]], axis=-1)
