"""Guides: the families q(z), and the rule that picks one."""

from .choose import choose
from .delta import Delta
from .family import Family, Guide, log_prob, sample
from .flow import Flow
from .full_rank import FullRank
from .laplace import Laplace
from .low_rank import LowRank
from .mean_field import MeanField
from .mixture import Mixture
from .structured import Structured

FAMILIES = (MeanField, LowRank, Structured, FullRank, Flow, Laplace, Delta)

__all__ = [
    "FAMILIES",
    "Delta",
    "Family",
    "Flow",
    "FullRank",
    "Guide",
    "Laplace",
    "LowRank",
    "MeanField",
    "Mixture",
    "Structured",
    "choose",
    "log_prob",
    "sample",
]
