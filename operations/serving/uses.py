"""What a version can be asked. A use is one file and one line here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from .columns import Rows, Wanted
from .predicting import Predicting
from .verdicts import RowVerdicts


class Use(Protocol):
    """Answers rows, each as if it came alone."""

    name: str
    wanted: tuple[Wanted, ...]
    verdicts: RowVerdicts

    def run(self, rows: Rows) -> Sequence[dict[str, Any]]:
        """Answers of rows, in order; of any number up to the largest batch, which are compiled one by one."""
        ...


USES: tuple[Any, ...] = (Predicting,)
"""All uses, in the order of the documentation."""
