"""``er.drift``: are new rows of the law of the reference, and if not, what has moved?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...inference.evidence.finding import Finding, Findings
from ..asked import check_level, check_seed
from ..columns import frame_of
from ..thresholds import MOST_WINDOW, WINDOW_LEVEL
from .compare import not_compared, shifts_of
from .look import Look, some_rows
from .series import Seen
from .shift import Shift

ORDER = ("misfit", "untrusted", "caution", "not assessable", "ok")


class Drift(Findings):
    """Findings about new rows, the worst first. Made by `drift` and `Monitor.findings`.

    Attributes
    ----------
    shifts : tuple of Shift
        Each test with its effect, p-value and whether it speaks.
    reference, new : mapping
        What was compared, for pictures.
    name : str
        Of the model, or ``"data"``.
    strict : bool
        Whether these are the rules of the sources.
    """

    shifts: tuple[Shift, ...]
    reference: Seen
    new: Seen
    name: str
    strict: bool

    def __new__(
        cls,
        shifts: Sequence[Shift] = (),
        notes: Iterable[Finding] = (),
        reference: Seen | None = None,
        new: Seen | None = None,
        name: str = "data",
        strict: bool = False,
    ):
        found = sorted([*notes, *(shift.finding for shift in shifts)], key=lambda f: ORDER.index(f.verdict))
        made = super().__new__(cls, found)
        made.shifts, made.reference, made.new = tuple(shifts), reference or {}, new or {}
        made.name, made.strict = name, bool(strict)
        return made

    @property
    def drifted(self) -> bool:
        """Whether anything speaks; early warnings of a monitor do not count."""
        return bool(self.moved)

    @property
    def moved(self) -> list[str]:
        """Columns, groups, latent units and outcomes that have moved."""
        early = {shift.finding for shift in self.shifts if shift.early}
        told = [finding for finding in self if finding.verdict in ("caution", "misfit")]
        return list(dict.fromkeys(finding.quantity for finding in told if finding not in early))

    def table(self):
        """Each test as a row of a ``pandas.DataFrame``: stream, name, test, effect, limit, p-value, adjusted p-value, whether it speaks."""
        import pandas as pd

        names = [
            "stream",
            "name",
            "test",
            "effect",
            "limit",
            "p_value",
            "adjusted",
            "moved",
            "num_rows",
            "words",
        ]
        return pd.DataFrame(
            [{name: getattr(shift, name) for name in names} for shift in self.shifts], columns=names
        )

    def figure(self, name: str | None = None):
        """A picture of a series, before and now: of one that has moved most by default.

        Parameters
        ----------
        name : str, optional
            A column, unit or outcome.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from .pictures import figure

        return figure(self, name)

    def report(self, path: str | Path) -> Path:
        """Write ``drift.html``, one self-contained page, with the same as JSON and Markdown beside it.

        Parameters
        ----------
        path : str or path
            A folder, or the name of the HTML file.

        Returns
        -------
        pathlib.Path
            The page.
        """
        from .page import write

        return write(self, path)

    def __repr__(self) -> str:
        told = [finding for finding in self if finding.verdict != "ok"]
        fine = len(self) - len(told)
        last = f"{fine} tests see no drift." if fine else ""
        return "\n".join([*map(str, told), *([last] if last else [])]) or "(none)"


def drift(
    reference: Any,
    new: Any,
    posterior: Any = None,
    strict: bool = False,
    level: float = WINDOW_LEVEL,
    seed: int = 0,
) -> Drift:
    """Compare new rows with a reference: column by column, and by what a posterior makes of them.

    Parameters
    ----------
    reference : table, mapping, array, Program or Posterior
        Rows that a model was validated on. Of a posterior those that training held out, or those that were fitted, of which each
        is then predicted by the others.
    new : table, mapping or array
        Rows of which is asked.
    posterior : Posterior, optional
        With its program: rows of an encoder are looked at in latent units and as they are made again, outcomes that the rows have in
        log scores, places among predictions, probabilities of classes, and by group. It is `reference` where that is one.
    strict : bool
        The rules of the sources as they stand, without corrections: they alarm often where nothing has moved.
    level : float
        Probability that anything speaks of rows that have not moved, over all columns, units, outcomes and groups together.
    seed : int
        Of permutations, and of rows that are drawn where there are many.

    Returns
    -------
    Drift
        Findings: *caution* where rows have moved, *misfit* where model and outcomes no longer agree. Each has its effect as value, what
        matters as threshold, and its p-value in its words.

    Raises
    ------
    DataError, ShapeError
        For what is no data set.
    InferenceError
        For a level that is no probability, a seed that is none, or what is no posterior.

    Notes
    -----
    Numbers by Kolmogorov–Smirnov distance and by their spread, levels by χ², missing cells, levels that were never seen and blank images by
    counts; columns, and latent units, together by MMD² with 500 permutations. Each has to be significant (Holm's procedure over all
    but the joint tests, which have a fifth of the level each) and large enough to matter.

    References
    ----------
    Holm (1979), Scandinavian Journal of Statistics 6. Gretton et al. (2012), A kernel two-sample test, JMLR 13.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> before = {"age": rng.normal(40, 10, 2000), "city": rng.choice(["Oslo", "Bergen"], 2000)}
    >>> today = {"age": rng.normal(45, 10, 500), "city": rng.choice(["Oslo", "Bergen"], 500)}
    >>> drift(before, today).moved
    ['age']
    """
    check_level(level)
    check_seed(seed)
    look, known, doubts = Look.of(reference, posterior, seed)
    rng = np.random.default_rng([seed, 90])
    frame = frame_of(new, "new rows")
    seen, notes = look.rows(some_rows(frame, MOST_WINDOW, seed))
    if frame.num_rows > MOST_WINDOW:
        words = f"{MOST_WINDOW:,} of {frame.num_rows:,} new rows, drawn at random, were compared."
        notes.append(Finding("data: rows", "fit", None, None, "ok", words))
    shifts = shifts_of(known, seen, rng, strict, level)
    notes += () if strict else not_compared(known, seen, shifts)
    return Drift(shifts, list(dict.fromkeys([*doubts, *notes])), known, seen, look.name, strict)
