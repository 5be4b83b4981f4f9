"""``er.retrain``: fit a model again on rows that the gate lets through, and serve it where nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...inference.evidence.finding import Finding, Findings
from ...inference.evidence.verdicts import ORDER
from ...ppl.errors import DataError, InferenceError, RegistryError, explain
from ...ppl.model import Model, Program
from ..asked import is_number
from ..columns import Frame, frame_of
from ..naming import LIVE
from ..registry import Registry
from ..schema.schema import Schema
from ..thresholds import MOST_FORGOTTEN, MOST_REFUSED
from ..version import Version
from .benchmark import Benchmark, Forgetting, hashed
from .policies import NAMES, POLICIES, Asked

NOTES = "retraining.json"
OF_STREAMS = ("stream", "rows seen before")
"""Findings of an update that are told here too."""


@dataclass(frozen=True)
class Terms:
    """On which terms a model is fitted again.

    Parameters
    ----------
    benchmark : table, mapping or None
        Rows with their outcomes that no fit ever sees.
    by : str, optional
        A column of it whose levels are looked at one by one: what is forgotten of one kind of row is not made good by another.
    margin : float
        Share of a row's predictive density that may be lost.
    gate : Schema, optional
        What says which rows are such as were fitted; by default the schema of what is live.
    alias : str
        What names the version that is served.
    keys : str, optional
        A column that names the rows.
    options : mapping
        Of `elboroom.fit`.

    Examples
    --------
    >>> Terms(margin=0.02).alias
    'live'
    """

    benchmark: Any = None
    by: str | None = None
    margin: float = MOST_FORGOTTEN
    gate: Schema | None = None
    alias: str = LIVE
    keys: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        if not is_number(self.margin) or not 0 < self.margin < 1:
            want, got = "a share between 0 and 1", repr(self.margin)[:80]
            raise InferenceError(explain("margin", want, got, "0.02 is two in a hundred"))
        if self.gate is not None and not isinstance(self.gate, Schema):
            want, got = "what er.schema gives", type(self.gate).__name__
            raise InferenceError(explain("gate", want, got, "pass er.schema(program)"))


@dataclass(frozen=True, eq=False)
class Retrained:
    """What came of fitting a model again.

    Attributes
    ----------
    policy : str
    version : Version or None
        None where nothing was fitted.
    promoted : bool
        Whether it is served now.
    reasons : tuple of str
        Why it is not.
    forgetting : tuple of Forgetting
        Beside what was live before.
    num_rows, num_refused : int
        Rows that were fitted, and that the gate left out.
    findings : Findings
    """

    policy: str
    version: Version | None
    promoted: bool
    reasons: tuple[str, ...]
    forgetting: tuple[Forgetting, ...]
    num_rows: int
    num_refused: int
    findings: Findings

    def __repr__(self) -> str:
        what = "nothing was fitted" if self.version is None else f"version {self.version}"
        ends = "promoted" if self.promoted else f"not promoted: {'; '.join(self.reasons)}"
        return f"<{self.policy}, {self.num_rows:,} rows ({self.num_refused:,} refused): {what}, {ends}>"


def retrain(
    registry: Registry,
    name: str,
    rows: Any,
    model: Any,
    policy: str = "incremental",
    terms: Terms | None = None,
    because: str = "",
) -> Retrained:
    """Fit a model again, keep it as a version, and promote it where its verdict is no worse and nothing is forgotten.

    Parameters
    ----------
    registry : Registry
        Where its versions are.
    name : str
        Of the model there.
    rows : table or mapping
        New rows for an update; all rows, or the latest, for the other policies.
    model : Model or callable
        A model whose arguments are columns of the rows, or what makes a program of rows.
    policy : {"incremental", "full", "emergency"}
        New rows alone, see `Posterior.update`; all rows; or the latest 100,000.
    terms : Terms, optional
        On which terms: benchmark, gate, margin, alias.
    because : str
        Why, for the log: what `Triggers.due` said.

    Returns
    -------
    Retrained
        A version that is not promoted is kept, with the reasons.

    Raises
    ------
    RegistryError, DataError, InferenceError
        For what cannot be meant; rows that are no such as were fitted are left out, and told.

    Notes
    -----
    Never fitted are rows that the gate refuses, a set that looks altered, one of which more than 5% are refused, and rows of the
    benchmark. Promoted is what has a verdict no worse than what is live, fits the data where that does, and on the benchmark
    loses at most 2% of a row's predictive density (the geometric mean, its upper 95% end, each part of `by` too), as long as no
    other version has become live meanwhile.

    Examples
    --------
    >>> import tempfile
    >>> import elboroom as er
    >>> @er.model
    ... def level(y):
    ...     mu = er.sample("mu", er.Normal(0, 10))
    ...     with er.plate("row", len(y)):
    ...         er.observe("y", er.Normal(mu, 1), y)
    >>> rng, registry = np.random.default_rng(0), er.Registry(tempfile.mkdtemp())
    >>> terms = er.Terms(benchmark={"y": rng.normal(size=200)})
    >>> er.retrain(registry, "level", {"y": rng.normal(size=100)}, level, "full", terms).promoted
    True
    >>> er.retrain(registry, "level", {"y": rng.normal(size=100)}, level, "incremental", terms)
    <incremental, 100 rows (0 refused): version level/2, promoted>
    """
    terms = Terms() if terms is None else terms
    _check(registry, policy)
    before = _live(registry, name, terms.alias)
    benchmark = None if terms.benchmark is None else Benchmark.of(terms.benchmark, terms.by)
    rows, findings, refused = gated(rows, terms, before, benchmark)
    count = frame_of(rows, "rows").num_rows
    stop = [f for f in findings if f.verdict == "untrusted"]
    if stop or not count:
        words = tuple(f.advice for f in stop) or ("no rows are left",)
        return Retrained(policy, None, False, words, (), 0, refused, Findings(findings))
    made = _maker(model)
    live = None if before is None else before.load(made(rows))
    keys = None if terms.keys is None else np.asarray(frame_of(rows, "rows").columns[terms.keys].values)
    posterior = dict(POLICIES)[policy](Asked(live, made, rows, keys, terms.options))
    lost = () if benchmark is None or live is None else tuple(benchmark.compared(posterior, live))
    findings += [one.finding(terms.margin) for one in lost]
    findings += [f for f in posterior.findings if f.name in OF_STREAMS]
    notes = {
        "policy": policy,
        "rows": count,
        "refused": refused,
        "benchmark": None if benchmark is None else benchmark.digest,
        "forgetting": {one.part: [_plain(one.share), _plain(one.most)] for one in lost},
    }
    version = registry.add(
        posterior,
        name,
        parent=None if before is None else before.number,
        because=f"{policy}: {because or 'asked for'}",
        attached={NOTES: notes},
    )
    reasons = tuple(objections(version, before, benchmark, lost, terms))
    meanwhile = _live(registry, name, terms.alias)
    if (meanwhile and meanwhile.number) != (before and before.number):
        reasons += (
            f"version {meanwhile and meanwhile.number} is {terms.alias} by now, which it was not compared with",
        )
    if reasons:
        registry.tag(name, version.number, retraining="not promoted")
    else:
        version = registry.promote(name, version.number, terms.alias, because=f"{policy}: nothing is lost")
    return Retrained(policy, version, not reasons, reasons, lost, count, refused, Findings(findings))


def gated(
    rows: Any, terms: Terms, before: Version | None, benchmark: Benchmark | None
) -> tuple[Any, list[Finding], int]:
    """Rows that may be fitted, what is to be said of the others, and how many these are; *untrusted* where none may be."""
    gate = terms.gate if terms.gate is not None or before is None else before.schema()
    findings: list[Finding] = []
    refused = 0
    if gate is not None:
        rows, checked = gate.gate(rows)
        refused = int(checked.refused.sum())
        findings += checked.findings
        if refused > MOST_REFUSED * checked.num_rows:
            share = refused / checked.num_rows
            words = (
                f"{share:.0%} of the rows are refused: their source has changed, and none of them is fitted."
            )
            findings.append(Finding("gate", "rows", share, MOST_REFUSED, "untrusted", words))
        lacking = _without_outcomes(gate, frame_of(rows, "rows"))
        if lacking.any():
            rows, refused = _without(rows, lacking), refused + int(lacking.sum())
            words = f"{int(lacking.sum())} rows have no outcome, and are left out."
            findings.append(Finding("gate", "outcomes", float(lacking.mean()), 0.0, "caution", words))
    frame = frame_of(rows, "rows")
    if benchmark is not None and frame.num_rows:
        own = [name for name in benchmark.frame.columns if name in frame.columns]
        held = hashed(benchmark.frame.only(own))
        among = np.isin(hashed(frame.only(own)), held) & (len(np.unique(held)) == len(held))
        if among.any():
            rows, refused = _without(rows, among), refused + int(among.sum())
            words = f"{int(among.sum())} rows are those of the benchmark, and are left out."
            findings.append(Finding("benchmark", "rows", float(among.mean()), 0.0, "caution", words))
    return rows, findings, refused


def _without_outcomes(gate: Schema, frame: Frame) -> np.ndarray:
    """Rows that lack an outcome, shape ``(N,)``."""
    outcomes = [name for name, one in gate.fields.items() if one.outcome and name in frame.columns]
    return np.any(
        [frame.columns[name].missing for name in outcomes] or [np.zeros(frame.num_rows, bool)], axis=0
    )


def objections(
    version: Version,
    before: Version | None,
    benchmark: Benchmark | None,
    lost: tuple[Forgetting, ...],
    terms: Terms,
) -> list[str]:
    """Why a version is not to be served in the place of what is live."""
    if before is None:
        return [f"it is {version.doubt}"] if version.doubt else []
    found = []
    if ORDER.index(version.verdict) > ORDER.index(before.verdict):
        found.append(f"its verdict is {version.verdict}, and that of what is live {before.verdict}")
    if version.fits_data is False and before.fits_data is not False:
        found.append("it does not fit the data, and what is live does")
    if version.doubt and not before.doubt:
        found.append(f"it is {version.doubt}")
    if benchmark is None:
        return [*found, "there is no benchmark that says whether anything is forgotten"]
    earlier = _benchmark_of(before)
    if earlier not in (None, benchmark.digest):
        found.append("the benchmark is another than that of what is live")
    found += [one.finding(terms.margin).advice for one in lost if not one.most <= terms.margin]
    return list(dict.fromkeys(found))


def _benchmark_of(version: Version) -> str | None:
    """Digest of the benchmark that a version was judged on."""
    import json

    path = version.folder / NOTES
    return json.loads(path.read_bytes()).get("benchmark") if path.exists() else None


def _live(registry: Registry, name: str, alias: str) -> Version | None:
    known = name in registry.models() and alias in registry.aliases(name)
    return registry.get(name, alias) if known else None


def _maker(model: Any) -> Callable[[Any], Program]:
    """What makes a program of rows.

    Raises
    ------
    DataError
        Where rows lack an argument of the model.
    """
    if not isinstance(model, Model):
        return model

    def made(rows: Any) -> Program:
        names = set(rows.columns) if hasattr(rows, "columns") else set(rows)
        wanted = [n for n, p in model.signature.parameters.items() if p.default is p.empty or n in names]
        lacking = [n for n in wanted if n not in names]
        if lacking:
            remedy = "name columns as the model's arguments, or pass what makes a program of rows"
            raise DataError(explain("rows", f"columns {wanted}", f"none called {lacking}", remedy))
        return model(**{name: rows[name] for name in wanted})

    return made


def _without(rows: Any, which: np.ndarray) -> Any:
    if hasattr(rows, "iloc"):
        return rows[~which]
    return {name: np.asarray(value)[~which] for name, value in rows.items()}


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _check(registry: Any, policy: Any) -> None:
    if not isinstance(registry, Registry):
        want, got = "an er.Registry", type(registry).__name__
        raise RegistryError(explain("registry", want, got, "pass er.Registry('models')"))
    if policy not in NAMES:
        raise InferenceError(explain("policy", f"one of {NAMES}", repr(policy)[:80], "choose one"))
