"""Engines: what fits a law. Each is ``init``, ``step``, ``done`` and ``fit``, run by one loop; see `loop`.

A family names those that fit it, one after the other; without, it is fitted by its transport alone.
"""

from .dropout import DropoutAscent
from .fixed_draws import Curvature, FixedDraws, MeanFieldDraws, Mode
from .flow import FlowAscent
from .loop import Engine, Fit, fit, run
from .low_rank import LowRankSearch
from .natural import NaturalGradient
from .on_rows import AnchoredNatural, StochasticAscent, Tempered
from .polish import Polish
from .problem import Problem
from .sparse_newton import SparseNewton

ENGINES = (
    NaturalGradient,
    Polish,
    SparseNewton,
    LowRankSearch,
    MeanFieldDraws,
    FixedDraws,
    FlowAscent,
    Mode,
    Curvature,
    Tempered,
    AnchoredNatural,
    StochasticAscent,
    DropoutAscent,
)

__all__ = ["ENGINES", "Engine", "Fit", "Problem", "engines_of", "fit", "run"]


def engines_of(family, rows) -> tuple:
    """The engines that fit a family on some rows, in order.

    Parameters
    ----------
    family : Family
        What is fitted.
    rows : View
        Which rows are read.
    """
    known = {engine.name: engine for engine in ENGINES}
    names = getattr(family, "engines", (FixedDraws.name,))
    return tuple(known[name] for name in rows.engines(names))
