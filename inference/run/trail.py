"""``Trail``: the rungs that a fit tried, in order."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

import numpy as np


@dataclass(frozen=True)
class Rung:
    """One attempt.

    Attributes
    ----------
    name, guide : str
    elbo, elbo_se, khat : float
        NaN where they do not apply.
    num_gradients : int
    seconds : float
    projected : float
        Seconds that it was to take, as far as they could be told before: gradients times what one had cost.
    verdict : str or None
    reason : str
    """

    name: str
    guide: str
    elbo: float = np.nan
    elbo_se: float = np.nan
    khat: float = np.nan
    num_gradients: int = 0
    seconds: float = 0.0
    verdict: str | None = None
    reason: str = ""
    projected: float = np.nan


class Trail(tuple):
    """A tuple of `Rung` that prints as a table."""

    def to_frame(self):
        """As a ``pandas.DataFrame``."""
        import pandas as pd

        return pd.DataFrame([asdict(r) for r in self], columns=[f.name for f in fields(Rung)])

    def __repr__(self) -> str:
        return self.to_frame().to_string(index=False, float_format=lambda v: f"{v:.2f}") if self else "(none)"

    def _repr_html_(self) -> str:
        return self.to_frame().to_html(index=False, float_format=lambda v: f"{v:.2f}", na_rep="")
