"""Which family a target asks for, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..ppl.errors import GuideError, explain

FULL_RANK_LIMIT = 400


@dataclass(frozen=True)
class Plan:
    """A family and the reason for it, in words."""

    family: Any
    reason: str

    @property
    def recentres(self) -> bool:
        """Whether the fit may choose other coordinates of hierarchical sites: a mode depends on them."""
        return self.family.name not in {"laplace", "delta"}


def choose(guide: Any, target) -> Plan:
    """Turn the user's `guide` into a plan.

    Parameters
    ----------
    guide : str or Family
        ``"auto"``, a family's name, or a family object.
    target : Target

    Raises
    ------
    GuideError
        For an unknown name.
    """
    from . import FAMILIES

    families = {family.name: family for family in FAMILIES}
    spelled = {name.replace("-", ""): name for name in families} | {"map": "delta"}
    if isinstance(guide, str) and guide != "auto":
        name = spelled.get(guide.lower().replace("-", "").replace("_", ""))
        if name is None:
            raise GuideError(
                explain("guide", f"'auto' or one of {sorted(families)}", repr(guide), "choose one of them")
            )
        return Plan(families[name](), "named by the user")
    if guide != "auto":
        if not hasattr(guide, "bind") or isinstance(guide, type):
            raise GuideError(
                explain(
                    "guide",
                    "a name or a family object such as er.FullRank()",
                    f"{guide!r}",
                    "pass an instance",
                )
            )
        return Plan(guide, "given by the user")
    if target.dim <= FULL_RANK_LIMIT:
        return Plan(families["full-rank"](), f"{target.dim} dimensions: a dense covariance is affordable")
    return Plan(families["mean-field"](), f"{target.dim} dimensions: a dense covariance is out of reach")
