"""``Finding``: what a check saw, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

DEGENERATE = "degenerate"
"""The finding that a density grows without bound: nothing is trusted."""
UNSETTLED = "learning"
"""The finding that learned arrays were not at rest; where it is *untrusted*, nothing that is given them is better than *caution*."""


@dataclass(frozen=True)
class Finding:
    """One statistical observation; never an exception.

    Attributes
    ----------
    name : str
        Which check.
    quantity : str
        What it speaks of: a site, a quantity, an argument or ``"fit"``.
    value, threshold : float or None
    verdict : str
        ``"ok"``, ``"caution"``, ``"untrusted"`` or ``"misfit"``, or ``"not assessable"``.
    advice : str
        What it means and what to do.

    Examples
    --------
    >>> print(Finding("rhat", "tau", 1.02, 1.01, "caution", "The chains disagree."))
    [caution] rhat, tau: The chains disagree.
    """

    name: str
    quantity: str
    value: float | None
    threshold: float | None
    verdict: str
    advice: str

    def as_dict(self) -> dict:
        """Plain mapping, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return f"[{self.verdict}] {self.name}, {self.quantity}: {self.advice}"


class Findings(tuple):
    """A tuple of `Finding` that prints as a list, and as a table in Jupyter."""

    def to_frame(self):
        """As a ``pandas.DataFrame``."""
        import pandas as pd

        return pd.DataFrame([f.as_dict() for f in self], columns=list(Finding.__dataclass_fields__))

    def __repr__(self) -> str:
        return "\n".join(map(str, self)) if self else "(none)"

    def _repr_html_(self) -> str:
        return self.to_frame().to_html(index=False, float_format=lambda v: f"{v:.3g}", na_rep="")
