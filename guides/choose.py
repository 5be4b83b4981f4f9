"""Which family a target asks for, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..ppl.errors import GuideError, explain
from . import catalogue
from .mean_field import MeanField
from .structure import UnreadLinks
from .structured import Structured, blocks
from .thresholds import FULL_RANK_LIMIT, LOW_RANK_LIMIT, SAVED, SPARSE
from .transport import Gaussian


@dataclass(frozen=True)
class Plan:
    """A family and the reason for it, in words; `next` is tried where its fit finds no rest,
    `guide` is the family bound already, and `unread` says why the posterior's links are not known."""

    family: Any
    reason: str
    next: Any = None
    guide: Any = None
    auto: bool = False
    unread: str = ""

    def refined(self, target, start: Gaussian) -> Plan:
        """The plan once a start has shown where and how wide the posterior is: sparse where its links allow.

        Parameters
        ----------
        target : Target
            What is to be fitted.
        start : Gaussian
            Where, and on what scale, the links are tested.
        """
        if not self.auto:
            return self
        try:
            guide = Structured().bind_near(target, start)
        except GuideError:
            return self
        except UnreadLinks as error:
            return replace(self, unread=str(error))
        numbers, dense = guide.num_parameters, target.dim + target.dim * (target.dim + 1) // 2
        if numbers > SPARSE * dense or dense - numbers < SAVED:
            return self
        words = f"{target.dim} dimensions, few of them linked: {numbers} numbers in place of {dense}"
        return Plan(Structured(), words, next=self.family, guide=guide)

    @property
    def recentres(self) -> bool:
        """Whether the fit may choose other coordinates of hierarchical sites: a mode depends on them."""
        return getattr(self.family, "recentres", True)


def choose(guide: Any, target) -> Plan:
    """Turn the user's `guide` into a plan.

    Parameters
    ----------
    guide : str, Family, or mapping of str to str
        ``"auto"``, a family's name, a family object, or the names of sites with a family's name each.
    target : Target
        What is to be fitted.

    Raises
    ------
    GuideError
        For an unknown name, or a family that cannot stand where it is asked for.
    """
    if isinstance(guide, Mapping):
        return _by_site(guide, target)

    families = {family.name: family for family in catalogue.FAMILIES}
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
                    "a name, a family object such as er.FullRank(), or a mapping from sites to names",
                    f"{guide!r}",
                    "pass an instance",
                )
            )
        return Plan(guide, "given by the user")
    if target.dim <= FULL_RANK_LIMIT:
        words = f"{target.dim} dimensions: a dense covariance is affordable"
        return Plan(families["full-rank"](), words, auto=True)
    words = f"{target.dim} dimensions: a dense covariance is out of reach"
    if target.dim <= LOW_RANK_LIMIT:
        return Plan(families["low-rank"](), words, next=families["mean-field"](), auto=True)
    return Plan(families["mean-field"](), words, auto=True)


def _by_site(guide: Mapping[str, Any], target: Any) -> Plan:
    """The plan for sites with a family each."""
    for whole in guide.values():  # of a family that holds all other sites too
        if callable(getattr(whole, "over", None)):
            return _over(whole, guide)
    own = blocks(target, guide)  # before anything is computed
    words = ", ".join(f"{name} {getattr(family, 'name', family)}" for name, family in guide.items())
    apart = len(np.unique(own)) == target.dim
    family: Any = MeanField() if apart else Structured(sites=dict(guide))
    return Plan(family, f"given by the user: {words}")


def _over(family: Any, guide: Mapping[str, Any]) -> Plan:
    """The plan of a family of some networks that leaves all other sites independent.

    Raises
    ------
    GuideError
        Where another family is asked for beside it.
    """
    own = [name for name, other in guide.items() if other == family]
    left = sorted(set(guide) - set(own))
    if left:
        want = f"nothing beside '{family.name}', which leaves all other sites independent"
        raise GuideError(explain("guide", want, f"{guide[left[0]]!r} for '{left[0]}'"[:80], "leave it out"))
    return Plan(family.over(own), f"given by the user: {', '.join(own)} {family.name}")
