"""Guides: the families q(z), and the rule that picks one.

Examples
--------
>>> import elboroom as er
>>> [family.name for family in er.guides.FAMILIES]  # names that ``er.fit(..., guide=...)`` takes
['mean-field', 'low-rank', 'structured', 'full-rank', 'flow', 'laplace', 'delta', 'variational-dropout']
"""

from .amortized import Adversarial, Amortized, Quantized
from .catalogue import FAMILIES, TRANSPORTS
from .choose import choose
from .delta import Delta
from .family import Family, Guide, log_prob, sample
from .flow import Flow, Spline
from .full_rank import FullRank
from .laplace import Laplace
from .low_rank import LowRank
from .mean_field import MeanField
from .mixture import Mixture
from .structured import Structured
from .transport import Affine, Rooted, Transport
from .variational_dropout import VariationalDropout

__all__ = [
    "FAMILIES",
    "TRANSPORTS",
    "Adversarial",
    "Affine",
    "Amortized",
    "Delta",
    "Family",
    "Flow",
    "FullRank",
    "Guide",
    "Laplace",
    "LowRank",
    "MeanField",
    "Mixture",
    "Quantized",
    "Rooted",
    "Spline",
    "Structured",
    "Transport",
    "VariationalDropout",
    "choose",
    "log_prob",
    "sample",
]
