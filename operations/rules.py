"""Alert rules for Prometheus, from the table of metrics: what pages somebody, and what is a ticket.

References
----------
Beyer et al. (2018), The Site Reliability Workbook, chapter 5, on burn rates in two windows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from importlib import resources
from pathlib import Path
from string import Template

from ..ppl import files
from ..ppl.errors import DataError, explain
from .asked import is_number
from .kept import write_content
from .metrics.table import BY_NAME, COMMON
from .thresholds import (
    ALERT_BUDGET,
    ALERT_BURN,
    ALERT_CANARY,
    ALERT_COLLAPSED,
    ALERT_COMPUTE,
    ALERT_ECE,
    ALERT_ERRORS,
    ALERT_FALL,
    ALERT_FAR,
    ALERT_KHAT,
    ALERT_MADE_UP,
    ALERT_UNTRUSTED,
    SLO_AVAILABILITY,
    SLO_DAYS,
    SLO_SECONDS,
)

PAGE, TICKET = "page", "ticket"
BY = ", ".join((*COMMON, "region"))
"""What alerts are grouped by; a label that a series lacks is empty."""


@dataclass(frozen=True)
class Objectives:
    """What is promised.

    Attributes
    ----------
    seconds : float
        Within which 99% of answers come.
    availability : float
        Share of answers that are no errors of the server, over thirty days.
    compute : float
        Seconds of computing a day.
    job : str
        What Prometheus calls the endpoints.
    """

    seconds: float = SLO_SECONDS
    availability: float = SLO_AVAILABILITY
    compute: float = ALERT_COMPUTE
    job: str = "elboroom"

    def __post_init__(self) -> None:
        for name, value, good in (
            ("seconds", self.seconds, is_number(self.seconds) and self.seconds > 0),
            ("availability", self.availability, is_number(self.availability) and 0 < self.availability < 1),
            ("compute", self.compute, is_number(self.compute) and self.compute > 0),
        ):
            if not good:
                want = "a share between 0 and 1" if name == "availability" else "a positive number"
                raise DataError(explain(f"{name} of an objective", want, repr(value), "correct it"))
        if not isinstance(self.job, str) or not self.job or set(self.job) & set('"\\\n'):
            raise DataError(explain("job of an objective", "a name without quotes", repr(self.job), "name it as Prometheus does"))  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """One alert.

    Attributes
    ----------
    name : str
        Also that of its runbook, in small letters.
    severity : {"page", "ticket"}
    expr : str
        PromQL; ``${elbo}`` stands for the full name of a metric, ``${slo}`` and the like for numbers.
    hold : str
        How long it has to hold before it fires: a spike is none.
    summary : str
        What a person reads first.
    silenced : bool
        Whether it is silent while the model is fitted again.
    """

    name: str
    severity: str
    expr: str
    hold: str
    summary: str
    silenced: bool = True

    @property
    def alert(self) -> str:
        """Its name in Prometheus."""
        return f"Elboroom{self.name}"

    @property
    def runbook(self) -> str:
        """Name of the file that says what to do."""
        return f"{self.name.lower()}.md"

    @property
    def metrics(self) -> list[str]:
        """Metrics that it reads."""
        return [name for name in Template(self.expr).get_identifiers() if name in BY_NAME]

    def query(self, objectives: Objectives) -> str:
        """Its PromQL, silenced in windows of retraining where it is to be."""
        found = " ".join(Template(self.expr).substitute(_words(objectives)).split())
        if not self.silenced:
            return found
        return f"({found}) unless on (model) ({BY_NAME['retraining'].full} == 1)"


def _ratio(window: str) -> str:
    """Share of answers that are errors of the server."""
    every = f"sum by ({BY}) (rate(${{requests_total}}[{window}]))"
    return f'sum by ({BY}) (rate(${{requests_total}}{{code=~"5.."}}[{window}])) / {every}'


def _new(metric: str, window: str, more: str = "") -> str:
    """Whether a counter has grown, or is there for the first time."""
    by = f"{BY}{more}"
    return (
        f"sum by ({by}) (increase(${{{metric}}}[{window}])) > 0 "
        f"or sum by ({by}) (${{{metric}}} unless ${{{metric}}} offset {window}) > 0"
    )


RULES: tuple[Rule, ...] = (
    Rule("Down", PAGE, 'up{job="${job}"} == 0 or absent(up{job="${job}"})', "2m",
         "No answer of an endpoint of the model", silenced=False),
    Rule("NotFinite", PAGE, _new("not_finite_total", "15m", ", what"), "0m",
         "Numbers that are none: {{ $labels.what }}", silenced=False),
    Rule("Latency", PAGE, f"histogram_quantile(0.99, sum by (le, {BY}) (rate(${{request_seconds}}_bucket[5m]))) > ${{slo}}", "5m",
         "One answer in a hundred takes longer than is promised"),
    Rule("Errors", PAGE, f"{_ratio('5m')} > ${{errors}}", "5m", "More than 1% of the answers are errors of the server"),
    Rule("Burn", PAGE, f"({_ratio('1h')} > ${{burn}}) and ({_ratio('5m')} > ${{burn}})", "2m",
         "The error budget goes more than four times too fast"),
    Rule("Budget", PAGE, f"{_ratio('6h')} > ${{budget}}", "2m", "More than half of a month's error budget went in six hours"),
    Rule("Calibration", PAGE, " or ".join(f"(${{{one}}} > ${{ece_limit}}) and (${{{one}}} offset 1h > ${{ece_limit}})"
                                          for one in ("ece_excess", "place_excess")), "5m",
         "Predicted probabilities, or intervals, are not what comes true, on two windows"),
    Rule("Bound", TICKET, '(${elbo}{data!~"reference|fitted"} + 3 * ${elbo_se}{data!~"reference|fitted"}) < on (model, version) '
         'group_left () (${elbo}{data="reference"} - ${fall} * abs(${elbo}{data="reference"}))', "1h",
         "The bound has fallen below that of the same version's reference"),
    Rule("Drift", TICKET, f"max by ({BY}, kind) (${{drifted}}) == 1", "15m", "Drift of {{ $labels.kind }}"),
    Rule("Weights", TICKET, "${khat_share} > ${khat_limit}", "1h", "Importance weights of many rows do not hold"),
    Rule("Untrusted", TICKET, f'sum by ({BY}) (rate(${{verdict_total}}{{verdict="untrusted"}}[1h])) / sum by ({BY}) '
         "(rate(${verdict_total}[1h])) > ${untrusted}", "15m", "Many answers are untrusted"),
    Rule("Verdict", TICKET, f'sum by ({BY}) (${{quantities}}{{verdict="untrusted"}}) / sum by ({BY}) (${{quantities}}) > ${{untrusted}}', "1h",
         "Quantities of the posterior are untrusted"),
    Rule("MadeUp", TICKET, "${frechet_ratio} > ${made_up}", "1h", "Made-up rows are unlike real ones"),
    Rule("Collapse", TICKET, "${active_units} < ${collapsed}", "1h", "Latent units tell nothing of the rows"),
    Rule("FarOut", TICKET, f"sum by ({BY}, data) (rate(${{norm_exceed_total}}[1h])) / sum by ({BY}, data) (rate(${{rows_total}}[1h])) "
         "> ${far}", "30m", "Many codes are far from all that was fitted"),
    Rule("Degraded", TICKET, "${degraded} == 1", "10m", "Answers come without their evidence"),
    Rule("Canary", TICKET, "${canary_ratio} > ${canary}", "30m", "A candidate loses more than what is live"),
    Rule("Retrain", TICKET, _new("retrain_failed_total", "1d"), "0m", "A fit by schedule came to nothing"),
    Rule("Cost", TICKET, f"sum by ({BY}) (increase(${{compute_seconds_total}}[1d])) > ${{compute}}", "15m",
         "More computing in a day than is meant to be"),
)  # fmt: skip
"""All alerts. A new one is a line here and a runbook of its name."""


def _words(objectives: Objectives) -> dict[str, str]:
    """What stands for the names in a template."""
    error = 1 - objectives.availability
    numbers = {
        "slo": objectives.seconds,
        "errors": ALERT_ERRORS,
        "burn": ALERT_BURN * error,
        "budget": ALERT_BUDGET * 4 * SLO_DAYS * error,  # of a month that has so many times six hours
        "ece_limit": ALERT_ECE,
        "fall": ALERT_FALL,
        "khat_limit": ALERT_KHAT,
        "untrusted": ALERT_UNTRUSTED,
        "made_up": ALERT_MADE_UP,
        "collapsed": ALERT_COLLAPSED,
        "far": ALERT_FAR,
        "canary": ALERT_CANARY,
        "compute": objectives.compute,
    }
    names = {name: metric.full for name, metric in BY_NAME.items()}
    return {**names, **{key: f"{value:.6g}" for key, value in numbers.items()}, "job": objectives.job}


def write_rules(path, objectives: Objectives | None = None, runbooks: str | None = None) -> Path:
    """Write the rules as a file for Prometheus, and the runbooks in a folder beside it.

    Parameters
    ----------
    path : str or path
        A ``.yaml`` file.
    objectives : Objectives, optional
        What is promised.
    runbooks : str, optional
        Address below which the runbooks are; by default they are written beside the rules, and linked there.

    Returns
    -------
    pathlib.Path
    """
    place = files.place(path, "rules")
    if runbooks is None:
        runbooks = "runbooks"
        write_runbooks(place.parent / runbooks)
    return write_content(place, "rules", "".join(_yaml(objectives or Objectives(), runbooks)).encode())


def write_runbooks(folder) -> Path:
    """Write the runbooks into a folder: what an alert means, where to look and what to do."""
    place = files.place(folder, "runbooks")
    for name, text in runbook_texts().items():
        write_content(place / name, "runbook", text.encode())
    return place


def runbook_texts() -> dict[str, str]:
    """The runbooks by file name."""
    found = resources.files(f"{__package__}.runbooks")
    return {one.name: one.read_text(encoding="utf-8") for one in found.iterdir() if one.name.endswith(".md")}


def _yaml(objectives: Objectives, runbooks: str) -> Iterator[str]:
    """Lines; texts are quoted as JSON quotes them, which YAML takes."""
    told = ", ".join(
        f"{field.name} {value}"
        for field, value in zip(fields(objectives), asdict(objectives).values(), strict=True)
    )
    yield f"# Made by elboroom from its table of metrics; objectives: {told}.\ngroups:\n"
    for severity in (PAGE, TICKET):
        yield f"  - name: elboroom-{severity}\n    rules:\n"
        for rule in RULES:
            if rule.severity == severity:
                yield f"      - alert: {rule.alert}\n        expr: {json.dumps(rule.query(objectives))}\n"
                yield f"        for: {rule.hold}\n        labels:\n          severity: {severity}\n        annotations:\n"
                words = f"{rule.summary} (model {{{{ $labels.model }}}}, version {{{{ $labels.version }}}})"
                yield f"          summary: {json.dumps(words)}\n"
                yield f"          runbook_url: {json.dumps(f'{runbooks}/{rule.runbook}')}\n"
