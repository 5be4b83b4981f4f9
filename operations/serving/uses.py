"""What a version can be asked. A use is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from .columns import Rows, Wanted
from .encoding import Encoding
from .predicting import Predicting
from .scoring import Scoring
from .verdicts import RowVerdicts


class Use(Protocol):
    """Answers rows, each as if it came alone.

    Attributes
    ----------
    name : str
    wanted : tuple of Wanted
        Columns of a row.
    alone : bool
        Whether rows are computed one by one: then nothing is gained by filling up their number.
    run_plain : callable, or None
        Answers without their evidence, for where there is no time.
    verdicts : RowVerdicts
        What may be trusted of a row, whatever is asked of it.
    """

    name: str
    wanted: tuple[Wanted, ...]
    alone: bool
    run_plain: Callable[[Rows], Sequence[dict[str, Any]]] | None
    verdicts: RowVerdicts

    def run(self, rows: Rows) -> Sequence[dict[str, Any]]:
        """Answers of rows, in order; where they have a verdict of their own it counts too."""
        ...


USES: tuple[Any, ...] = (Predicting, Encoding, Scoring)
"""All uses, in the order of the documentation."""
