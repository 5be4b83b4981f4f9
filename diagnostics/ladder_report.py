"""Every family of guides on one model, side by side: what each costs, and how far it is from the best."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..guides import FAMILIES, VariationalDropout
from ..inference.evidence.verdicts import ORDER
from ..inference.fit import fit
from ..inference.posterior.posterior import requested
from ..ppl.errors import ElboroomError, GuideError, InferenceError, explain, in_short
from .thresholds import FAMILY_SECONDS, MEMORY_PAUSE

AUTO, CHAINS = "auto", "chains"
COLUMNS = (
    "guide",
    "bound",
    "bound_se",
    "khat",
    "worst_mean",
    "worst_sd",
    "seconds",
    "memory_mib",
    "verdict",
    "reason",
)


@dataclass(frozen=True, eq=False)
class LadderReport:
    """Families side by side. Made by `elboroom.ladder_report`.

    Attributes
    ----------
    table : pandas.DataFrame
        A row for each family that was asked for, indexed by its name: the ``guide`` that came of it; its evidence lower ``bound`` in
        nats with its Monte Carlo error; ``khat``; ``worst_mean``, the largest distance of a mean from the best's, in the best's sds, and
        ``worst_sd``, the largest ratio of two sds, less one; ``seconds`` of wall time, compilation included; ``memory_mib``, by
        how much the process grew meanwhile; the ``verdict``; and the ``reason`` where there is no fit.
    best : str
        The family that the others are compared with.
    posteriors : dict of str to Posterior
    """

    table: pd.DataFrame
    best: str
    posteriors: dict[str, Any] = field(repr=False)

    @property
    def frontier(self) -> tuple[str, ...]:
        """Families than which no other is both faster and nearer to the best, the fastest first."""
        known = self.table.dropna(subset=["worst_mean"]).sort_values(["seconds", "worst_mean"])
        error = known["worst_mean"].to_numpy()
        least = np.minimum.accumulate(error)
        before = np.concatenate([[np.inf], least[:-1]])
        return tuple(known.index[error < before])

    def plot(self) -> str:
        """Worst error against seconds, a point for each family, as an inline ``<svg>``."""
        from .report.ladder import picture

        return picture(self)

    def __repr__(self) -> str:
        shown = self.table.drop(columns="reason").to_string(float_format=lambda v: f"{v:.3g}", na_rep="")
        failed = [f"{name}: {reason}" for name, reason in self.table["reason"].items() if reason]
        return "\n".join([f"Families against '{self.best}'", shown, *failed])

    def _repr_html_(self) -> str:
        return self.table.to_html(float_format=lambda v: f"{v:.3g}", na_rep="") + self.plot()


def ladder_report(
    program: Any,
    families: Sequence[str] | None = None,
    chains: bool = False,
    max_seconds: float = FAMILY_SECONDS,
    seed: int = 0,
    backend: str | None = None,
    progress: bool = True,
) -> LadderReport:
    """Fit every family of guides that a model can have, and compare what each costs and says.

    The report of the best posterior shows it.

    Parameters
    ----------
    program : Program
        A model bound to data.
    families : sequence of str, optional
        Names of families; by default all of one law for the whole model, and ``"auto"``, what `fit` chooses.
    chains : bool
        Add chains from a plain start, ``"chains"``, and compare with these.
    max_seconds : float
        For each: what is reached by then is compared, and told.
    seed : int
        Same seed, same result.
    backend : {"jax", "torch"}, optional
        As `fit` takes it.
    progress : bool
        Show a line on a terminal or in Jupyter.

    Returns
    -------
    LadderReport

    Raises
    ------
    GuideError
        For a family that does not exist.
    InferenceError
        Where no family can be fitted.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def level(y):
    ...     mu = er.sample("mu", er.Normal(0, 10))
    ...     with er.plate("row", len(y)):
    ...         er.observe("y", er.Normal(mu, 1), y)
    >>> found = er.ladder_report(level([1.0, 2.0, 3.0]), families=["mean-field", "delta"], progress=False)
    >>> found.best, bool(found.table.loc["delta", "worst_sd"] > 0.9)
    ('mean-field', True)
    """
    known = [family.name for family in FAMILIES if family is not VariationalDropout]
    names = (
        [AUTO, *known] if families is None else list(families) if isinstance(families, (list, tuple)) else []
    )
    if not names or any(name not in (*known, AUTO) for name in names):
        want = f"a list with some of {[AUTO, *known]}"
        raise GuideError(explain("families", want, repr(families)[:80], "correct the names"))
    made, rows = {}, {}
    for name in [*names, *([CHAINS] if chains else [])]:
        guide = None if name == CHAINS else name
        options: dict[str, Any] = {
            "guide": guide,
            "seed": seed,
            "backend": backend,
            "progress": progress,
            "max_seconds": max_seconds,
        }
        begin, refine = time.perf_counter(), "auto" if name in (AUTO, CHAINS) else False
        with _growth() as grown:
            try:
                made[name] = fit(program, refine=refine, **options)
                rows[name] = _told(made[name])
            except ElboroomError as error:
                rows[name] = {"reason": in_short(error)}
        rows[name] |= {"seconds": time.perf_counter() - begin, "memory_mib": grown[0] / 2**20}
    if not made:
        reasons = "; ".join(f"{name}: {row['reason']}" for name, row in rows.items())
        raise InferenceError(explain("families", "one that can be fitted", reasons[:300], "name others"))
    best = CHAINS if CHAINS in made else min(made, key=lambda name: _rank(made[name]))
    for name, posterior in made.items():
        rows[name] |= _against(posterior, made[best])
    table = pd.DataFrame.from_dict(rows, orient="index").reindex(columns=list(COLUMNS))
    found = LadderReport(table.fillna({"reason": ""}), best, made)
    requested(made[best])["ladder"] = found
    return found


def _told(posterior: Any) -> dict[str, Any]:
    """What a fit says of itself."""
    bounds = [rung for rung in posterior.trail if np.isfinite(rung.elbo) and np.isfinite(rung.khat)]
    last = bounds[-1] if bounds else None
    return {
        "guide": posterior.guide.family.name if posterior.law != "mcmc" else posterior.trail[-1].guide,
        "bound": np.nan if last is None else last.elbo,
        "bound_se": np.nan if last is None else last.elbo_se,
        "khat": posterior.khat,
        "verdict": posterior.verdict,
        "reason": "",
    }


def _rank(posterior: Any) -> tuple[int, bool, float]:
    """The less the better: by verdict, then chains, then k̂, of which none below zero is better than another."""
    khat = max(posterior.khat, 0.0) if np.isfinite(posterior.khat) else np.inf
    return ORDER.index(posterior.verdict), posterior.law != "mcmc", khat


def _against(posterior: Any, best: Any) -> dict[str, float]:
    """Largest distances of means and sds from the best's, of the quantities that the best trusts more than not at all."""
    own, other = posterior.summary(), best.summary()
    shared = [name for name in other.index if name in own.index and other.loc[name, "verdict"] != "untrusted"]
    own, other = own.loc[shared], other.loc[shared]
    some = other["sd"] > 0
    if not some.any():
        return {"worst_mean": np.nan, "worst_sd": np.nan}
    own, other = own[some], other[some]
    ratio = np.maximum(own["sd"], 1e-300) / other["sd"]
    return {
        "worst_mean": float((np.abs(own["mean"] - other["mean"]) / other["sd"]).max()),
        "worst_sd": float(np.abs(np.where(ratio < 1, 1 - ratio, ratio - 1)).max()),
    }


@contextmanager
def _growth() -> Iterator[list[float]]:
    """Bytes by which this process grows at most within a block; NaN where the system does not tell."""
    found, over, begin = [np.nan], threading.Event(), _resident()

    def watch() -> None:
        while not over.wait(MEMORY_PAUSE):
            found[0] = np.fmax(found[0], _resident() - begin)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()
        found[0] = float(np.fmax(np.fmax(found[0], _resident() - begin), 0.0))


def _resident() -> float:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return np.nan
