"""What a posterior is made of: everything that was found, frozen, and what follows from it without computing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from ...guides.family import Guide
from ...ppl.errors import InferenceError, explain
from ...ppl.sites import Site
from ..evidence.estimates import Estimates
from ..evidence.finding import Finding
from ..evidence.outcome import Outcome
from ..evidence.verdicts import ORDER, Verdicts, worst
from ..run.trail import Trail
from ..thresholds import MOST_UNTRUSTED

SE = "learned_se:"
"""What the names of the errors of learned arrays begin with among the parameters of a guide."""
KEPT = (SE, "encoder:", "encoder/", "shared:")
"""What the names of parameters begin with that stay when other draws are made, and `ROWS` are what is known of rows."""
ROWS = (
    "row_khat",
    "row_size",
    "row_evidence",
    "row_bound",
    "row_elsewhere",
    "bounds",
    "held_out",
    "far",
    "kept_rows",
)
COLUMNS = ("mean", "sd", "q5", "median", "q95", "verdict", "reason")


@dataclass(frozen=True)
class Cost:
    """What a fit cost.

    Attributes
    ----------
    num_densities, num_gradients : int
        Rows of every batched call: starts, fit and evidence; padding not included.
    compile_seconds, run_seconds : float

    Examples
    --------
    >>> Cost(num_densities=10, num_gradients=10, compile_seconds=0.5, run_seconds=0.1).num_gradients
    10
    """

    num_densities: int
    num_gradients: int
    compile_seconds: float
    run_seconds: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Record:
    """What a posterior is made of.

    Attributes
    ----------
    name, question : str
        Of the model, and the first paragraph of its docstring.
    sites : tuple of Site
    coords : mapping
        Labels of the named dimensions.
    guide : Guide
    params : mapping of numpy.ndarray
    law : {"guide", "psis", "mcmc"}
        Where the draws come from.
    khat : float
    values : mapping of numpy.ndarray
        Draws of latent and deterministic sites, ``(num_draws, *shape)``.
    z : numpy.ndarray, shape (num_draws, dim)
        The same draws, unconstrained.
    table : mapping
        Columns of the summary, by name: a value for each scalar quantity.
    trail : Trail
    findings : tuple of Finding
    cost : Cost
    settings : mapping
        What the fit was asked for, and how its draws are shown.
    fit_record : mapping of numpy.ndarray
        Traces of the fit, weights of its pool, statistics of its chains.
    observed_data, constant_data : mapping of numpy.ndarray
    data_fingerprint : str
    model : mapping
        Module, name, fingerprint and code of the model.
    weights : mapping of numpy.ndarray
        Learned arrays of the model.
    centring : mapping of numpy.ndarray
        Coordinates of hierarchical sites.
    program : Program or None
        None where it was loaded without one.
    target : Target or None
        Of the data that were fitted; None where the program has others, or there is none.
    outcome : Outcome or None
        What was found, while it is in memory.
    network : Network or None
        The encoder of its rows, where that is neither a module of the model nor of `elboroom.nn`, while it is in memory.
    labels : mapping of tuple or None
        Labels of the codes of each argument when the model was fitted; None where the program knows them.
    all_shapes : mapping of tuple
        Shapes of all quantities, where the draws of some were left out when it was saved.
    saved : mapping
        Groups of the draws that were computed before it was saved.
    blame : mapping or None
        What was told of model and approximation before it was saved.
    reported : mapping
        What a report had found before it was saved: ``checks``, the findings about the model, and ``latent``, of encoded rows.
    maps : mapping of mapping
        What mends predicted probabilities, by outcome, as plain values.
    stream : Stream or None
        Where the stream stands that it is the last posterior of; None where it is of none, or was loaded.
    """

    name: str
    question: str
    sites: tuple[Site, ...]
    coords: Mapping[str, tuple]
    guide: Guide
    params: Mapping[str, np.ndarray]
    law: str
    khat: float
    values: Mapping[str, np.ndarray]
    z: np.ndarray
    table: Mapping[str, Any]
    trail: Trail
    findings: tuple[Finding, ...]
    cost: Cost
    settings: Mapping[str, Any]
    fit_record: Mapping[str, np.ndarray] = field(default_factory=dict)
    observed_data: Mapping[str, np.ndarray] = field(default_factory=dict)
    constant_data: Mapping[str, np.ndarray] = field(default_factory=dict)
    data_fingerprint: str = ""
    model: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, np.ndarray] = field(default_factory=dict)
    centring: Mapping[str, np.ndarray] = field(default_factory=dict)
    program: Any = None
    target: Any = None
    outcome: Outcome | None = None
    network: Any = None
    labels: Mapping[str, tuple] | None = None
    all_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    saved: Mapping[str, Any] = field(default_factory=dict)
    blame: Mapping[str, Any] | None = None
    reported: Mapping[str, Any] = field(default_factory=dict)
    maps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    stream: Any = None

    @property
    def seed(self) -> int:
        """Seed of the fit."""
        return self.settings["seed"]

    @property
    def backend(self) -> str:
        """Backend of the fit."""
        return self.settings["backend"]

    @property
    def num_chains(self) -> int:
        """Chains that the draws are shown as: those of a refinement, superchains of short ones, one of independent draws."""
        return self.settings.get("num_chains", 1)

    @property
    def shown_law(self) -> str:
        """`law`, and ``"long"`` where the draws are a few long chains."""
        long = self.num_chains > 1 and not self.settings.get("short")
        return "long" if long else self.law

    @property
    def observed(self) -> dict[str, Site]:
        """Observed sites by name."""
        return {s.name: s for s in self.sites if s.role == "observed"}

    @property
    def latents(self) -> list[Site]:
        """Latent sites."""
        return [s for s in self.sites if s.role == "latent"]

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of each quantity, in the table's order, whether or not its draws were kept."""
        return self.all_shapes or {name: value.shape[1:] for name, value in self.values.items()}

    @cached_property
    def judged(self) -> list[int]:
        """Rows of the table that the verdict is over."""
        asked = self.settings.get("quantities")
        local = set(self.settings.get("local", ()))
        owner = [name for name, shape in self.shapes.items() for _ in range(int(np.prod(shape, dtype=int)))]
        out = []
        for i, (label, name) in enumerate(zip(self.table["label"], owner, strict=True)):
            if (label in asked or name in asked) if asked is not None else name not in local:
                out.append(i)
        return out if out or self.settings.get("rows") else list(range(len(owner)))

    @property
    def judgement(self) -> str:
        """The worst verdict over the judged quantities alone, of encoded rows that of their plate as a whole."""
        verdicts = [self.table["verdict"][i] for i in self.judged]
        if self.settings.get("rows") and self.settings.get("quantities") is None:
            verdicts.append(self.settings["rows"]["verdict"])
        return worst(verdicts)

    @property
    def counts(self) -> dict[str, int]:
        """How many scalar quantities have which verdict, and how many are constant."""
        verdicts = list(self.table["verdict"])
        return {**{v: verdicts.count(v) for v in ORDER}, "constant": verdicts.count(None)}

    @property
    def doubts(self) -> str | None:
        """How many of all quantities are untrusted, and the main reason, where that is more than 5%."""
        counts = self.counts
        total = sum(counts.values()) - counts["constant"]
        if (
            self.settings.get("rows")
            or self.settings.get("quantities") is not None
            or counts["untrusted"] <= MOST_UNTRUSTED * total
        ):
            return None
        reasons = Counter(
            re.sub(r"\d+(\.\d+)?", "…", reason)
            for verdict, reason in zip(self.table["verdict"], self.table["reason"], strict=True)
            if verdict == "untrusted"
        )
        reason, often = reasons.most_common(1)[0]
        share = "" if often == counts["untrusted"] else f" {often} of them"
        return f"{counts['untrusted']} of {total} quantities are untrusted;{share or ' all'}: {reason}."

    @property
    def verdict(self) -> str:
        """The worst verdict over the judged quantities, at most *caution* where there are `doubts`."""
        return worst([self.judgement, "caution" if self.doubts else "trusted"])

    def known(self, what: str, names: Sequence[str]) -> None:
        """Refuse names of no quantity.

        Raises
        ------
        InferenceError
        """
        unknown = [n for n in names if n not in self.shapes and n not in self.table["label"]]
        if unknown:
            raise InferenceError(
                explain(what, f"names among {sorted(self.shapes)}", f"{unknown}", "correct the names")
            )

    def needs_program(self, what: str) -> None:
        """Refuse what only a posterior with its program can do.

        Raises
        ------
        InferenceError
        """
        if self.program is None:
            got, remedy = "a posterior loaded without it", "load it with er.load(path, program=model(data))"
            if "privacy" in self.settings:
                got = "a private fit, which keeps no rows"
                remedy = "fit with er.Private(public=…), or save it and load it with er.load(path, program=model(public rows))"
            raise InferenceError(explain(what, "the program that was fitted", got, remedy))


def with_rows(found: Record, before: Record) -> Record:
    """A record of other draws, with what one before it knows of the encoder of its rows and of learned arrays."""
    kept = {k: v for k, v in before.params.items() if k.startswith(KEPT)}
    rows = {k: v for k, v in before.fit_record.items() if k in ROWS}
    settings = {**found.settings, "encoder": before.settings.get("encoder")}
    params, fit_record = {**found.params, **kept}, {**found.fit_record, **rows}
    return replace(found, params=params, fit_record=fit_record, settings=settings, network=before.network)


def split(values: np.ndarray, layout) -> dict[str, np.ndarray]:
    """Columns of quantities ``(S, Q)`` as arrays by site, in the order of `layout`."""
    out, start = {}, 0
    for name, shape in layout:
        size = int(np.prod(shape, dtype=int))
        out[name] = values[:, start : start + size].reshape(len(values), *shape)
        start += size
    return out


def framed(table: Mapping[str, Any]) -> Any:
    """The summary of all quantities as a ``pandas.DataFrame``."""
    import pandas as pd

    return pd.DataFrame({c: table[c] for c in COLUMNS}, index=pd.Index(table["label"]))


def columns(estimates: Estimates, verdicts: Verdicts) -> dict[str, Any]:
    """Columns of a summary."""
    return {
        "mean": estimates.mean,
        "sd": estimates.sd,
        "q5": estimates.quantiles[0],
        "median": estimates.quantiles[1],
        "q95": estimates.quantiles[2],
        "verdict": list(verdicts.verdict),
        "reason": list(verdicts.reason),
    }
