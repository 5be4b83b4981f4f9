"""The ladder as data: `STAGES`, in order. Adding evidence is one file and one line here."""

from .climb import Line, Stage, climb
from .directions import Directions
from .fitting import GuideFit, PoorerFit
from .flow import FlowForChains, FlowForModes
from .marginal import SummedOut
from .modes import Modes
from .other_modes import OtherModes, Symmetries
from .response import LinearResponse
from .run import Run
from .short_chains import ShortChains
from .starts import BatchStart, DispersedStarts
from .state import State
from .weigh import PointEstimate, Weigh, WeighOn

STAGES = (
    DispersedStarts(),
    BatchStart(),
    GuideFit(),
    PoorerFit(),
    PointEstimate(),
    Weigh(),
    SummedOut(),
    WeighOn(),
    ShortChains(),
    Directions(),
    Symmetries(),
    OtherModes(),
    FlowForChains(),
    Modes(),
    FlowForModes(),
    LinearResponse(),
)

__all__ = ["STAGES", "Line", "Run", "Stage", "State", "climb"]
