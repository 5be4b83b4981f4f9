"""The families and the transports: a line each."""

from .delta import Delta
from .flow import Flow, Spline
from .full_rank import FullRank
from .laplace import Laplace
from .low_rank import LowRank
from .mean_field import MeanField
from .mixture import Mixture
from .structured import Structured
from .transport import Affine, Rooted
from .variational_dropout import Dropped, VariationalDropout

FAMILIES = (MeanField, LowRank, Structured, FullRank, Flow, Laplace, Delta, VariationalDropout)
"""Those that a user may name."""
MADE = (Mixture,)
"""Those that only a fit makes."""
TRANSPORTS = (Affine, Rooted, Spline, Dropped)


def known() -> dict[str, type]:
    """Every family by its name."""
    return {family.name: family for family in (*FAMILIES, *MADE)}
