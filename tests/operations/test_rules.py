"""Alert rules: checked by promtool, each replayed once firing and once silent."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from string import Template

import pytest
from elboroom.operations.dashboards import write_dashboards
from elboroom.operations.metrics.table import BY_NAME, PREFIX
from elboroom.operations.rules import PAGE, RULES, TICKET, Objectives, runbook_texts, write_rules

import elboroom as er

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not installed: it comes with Prometheus"
)

COMMON = 'model="risk", version="7"'
RETRAINING = f"elboroom_retraining{{{COMMON}}}"


def series(name: str, values: str, **labels: str) -> dict:
    more = "".join(f', {key}="{value}"' for key, value in labels.items())
    return {"series": f"{PREFIX}{name}{{{COMMON}{more}}}", "values": values}


def errors(bad: float, good: float, minutes: int = 800) -> list[dict]:
    """Answers a minute, for hours."""
    return [series("requests_total", f"0+{bad}x{minutes}", route="encode", code="500"),
            series("requests_total", f"0+{good}x{minutes}", route="encode", code="200")]  # fmt: skip


def bound(reference: float, new: float) -> list[dict]:
    return [series("elbo", f"{reference}x200", data="reference"), series("elbo", f"{new}x200", data="live"),
            series("elbo_se", "0.1x200", data="live")]  # fmt: skip


# what fires and what does not: the second of each is as near to the limit as healthy traffic comes, or a spike that is over soon
REPLAYS = {
    "Down": ([{"series": 'up{job="elboroom", instance="a"}', "values": "1x10 0x20"}],
             [{"series": 'up{job="elboroom", instance="a"}', "values": "1x17 0 1x30"}], "20m"),
    "NotFinite": ([series("not_finite_total", "_x10 1x20", what="elbo")], [series("not_finite_total", "3x60", what="elbo")], "20m"),
    "Latency": ([series("request_seconds_bucket", v, le=le, route="encode") for le, v in (("0.1", "0+95x60"), ("0.25", "0+100x60"), ("+Inf", "0+100x60"))],
                [series("request_seconds_bucket", v, le=le, route="encode") for le, v in (("0.1", "0+995x60"), ("0.25", "0+1000x60"), ("+Inf", "0+1000x60"))], "30m"),
    "Errors": (errors(2, 98), errors(0.5, 99.5), "30m"),
    "Burn": (errors(0.5, 99.5), errors(0.3, 99.7), "90m"),
    "Budget": (errors(70, 930, 80), errors(50, 950, 80), "400m"),
    "Calibration": ([series("ece_excess", "0.06x120", data="live")], [series("ece_excess", "0.01x60 0.06x30", data="live")], "88m"),
    "Bound": (bound(-100, -103), bound(-100, -101.9), "90m"),
    "Drift": ([series("drifted", "1x60", kind="data")], [series("drifted", "0x40 1x5 0x40", kind="data")], "50m"),
    "Weights": ([series("khat_share", "0.2x120", data="live")], [series("khat_share", "0.05x120", data="live")], "90m"),
    "Untrusted": ([series("verdict_total", "0+10x120", verdict="untrusted"), series("verdict_total", "0+90x120", verdict="trusted")],
                  [series("verdict_total", "0+3x120", verdict="untrusted"), series("verdict_total", "0+97x120", verdict="trusted")], "90m"),
    "Verdict": ([series("quantities", "1x120", verdict="untrusted"), series("quantities", "9x120", verdict="trusted")],
                [series("quantities", "1x120", verdict="untrusted"), series("quantities", "30x120", verdict="trusted")], "90m"),
    "MadeUp": ([series("frechet_ratio", "4x120")], [series("frechet_ratio", "2x120")], "90m"),
    "Collapse": ([series("active_units", "0x120", data="live")], [series("active_units", "1x120", data="live")], "90m"),
    "FarOut": ([series("norm_exceed_total", "0+5x120", data="live"), series("rows_total", "0+100x120", data="live")],
               [series("norm_exceed_total", "0+0.5x120", data="live"), series("rows_total", "0+100x120", data="live")], "100m"),
    "Degraded": ([series("degraded", "1x60")], [series("degraded", "0x20 1x5 0x35")], "30m"),
    "Canary": ([series("canary_ratio", "1.1x60")], [series("canary_ratio", "1.01x60")], "50m"),
    "Retrain": ([series("retrain_failed_total", "_x150 1x60")], [series("retrain_failed_total", "2x300")], "2000m"),
    "Cost": ([series("compute_seconds_total", "0+1000x150")], [series("compute_seconds_total", "0+500x150")], "1470m"),
}  # fmt: skip


LONG = {"Budget", "Retrain", "Cost"}
"""Replayed every ten minutes: they look back for hours."""


def cases(long: bool) -> list[dict]:
    """Tests as promtool takes them: each rule firing, silent, and in a window of retraining."""
    out = []
    for rule in (rule for rule in RULES if (rule.name in LONG) is long):
        firing, silent, when = REPLAYS[rule.name]
        window = [*firing, {"series": RETRAINING, "values": "1x2000"}]
        out += [case(rule, "fires", firing, when, True), case(rule, "silent", silent, when, False),
                case(rule, "retraining", window, when, not rule.silenced)]  # fmt: skip
    return out


def case(rule, name: str, inputs: list[dict], when: str, fires: bool) -> dict:
    expr = f'count by (alertname, severity) (ALERTS{{alertname="{rule.alert}", alertstate="firing"}})'
    found = [{"labels": f'{{alertname="{rule.alert}", severity="{rule.severity}"}}', "value": 1}]
    if rule.name != "Down":  # else the endpoint is there
        inputs = [*inputs, {"series": 'up{job="elboroom"}', "values": "1x3000"}]
    return {"interval": "10m" if rule.name in LONG else "1m", "name": f"{rule.name} {name}", "input_series": inputs,
            "promql_expr_test": [{"expr": expr, "eval_time": when, "exp_samples": found if fires else []}]}  # fmt: skip


@needs_promtool
def test_promtool_takes_the_rules(tmp_path):
    path = write_rules(tmp_path / "rules.yaml")
    made = subprocess.run([PROMTOOL, "check", "rules", path], capture_output=True, text=True, timeout=60)
    assert made.returncode == 0, made.stdout + made.stderr
    assert f"SUCCESS: {len(RULES)} rules found" in made.stdout


def replayed(folder, path, tests: list[dict], every: str = "1m") -> tuple[int, str]:
    """What promtool says of some tests of the rules."""
    replay = folder / "replay.yaml"
    replay.write_text(json.dumps({"rule_files": [path.name], "evaluation_interval": every, "tests": tests}))
    made = subprocess.run([PROMTOOL, "test", "rules", replay], capture_output=True, text=True, timeout=120)
    return made.returncode, (made.stdout + made.stderr)[-3000:]


@needs_promtool
@pytest.mark.external
@pytest.mark.parametrize("long, every", [(False, "1m"), (True, "10m")])
def test_each_rule_fires_and_is_silent(long, every, tmp_path):
    assert set(REPLAYS) == {rule.name for rule in RULES}
    code, words = replayed(tmp_path, write_rules(tmp_path / "rules.yaml"), cases(long), every)
    assert code == 0, words


@needs_promtool
def test_a_replay_that_should_fire_and_does_not_is_seen(tmp_path):
    """The test above would fail if a rule were wrong."""
    path = write_rules(tmp_path / "rules.yaml", Objectives(seconds=100.0))
    rule = next(rule for rule in RULES if rule.name == "Latency")
    code, words = replayed(tmp_path, path, [case(rule, "fires", REPLAYS["Latency"][0], "30m", True)])
    assert code != 0 and "FAILED" in words


@needs_promtool
def test_groups_of_versions_and_regions_are_apart(tmp_path):
    """A version, or a region, that is well does not hide one that is not."""
    path = write_rules(tmp_path / "rules.yaml")
    inputs = [
        {"series": f'elboroom_requests_total{{model="risk", version="{v}", region="{r}", route="x", code="{c}"}}', "values": f"0+{n}x60"}
        for v, r, c, n in (("7", "eu", "500", 5), ("7", "eu", "200", 95), ("8", "eu", "200", 9000), ("7", "us", "200", 9000))
    ]  # fmt: skip
    expr = 'ALERTS{alertname="ElboroomErrors", alertstate="firing"}'
    labels = '{__name__="ALERTS", alertname="ElboroomErrors", alertstate="firing", model="risk", version="7", region="eu", severity="page"}'
    tests = [{"interval": "1m", "input_series": inputs,
              "promql_expr_test": [{"expr": expr, "eval_time": "30m", "exp_samples": [{"labels": labels, "value": 1}]}]}]  # fmt: skip
    code, words = replayed(tmp_path, path, tests)
    assert code == 0, words


def test_rules_are_made_of_the_table():
    for rule in RULES:
        names = Template(rule.expr).get_identifiers()
        query = rule.query(Objectives())
        used = set(re.findall(rf"{PREFIX}(\w+?)(?:_bucket)?\b", query))
        assert (
            set(rule.metrics) | ({"retraining"} if rule.silenced else set()) == used & set(BY_NAME) == used
        ), rule.name
        assert "$" not in query and names and rule.severity in (PAGE, TICKET)


def test_each_rule_has_a_runbook_and_each_runbook_a_rule(tmp_path):
    path = write_rules(tmp_path / "out" / "rules.yaml")
    texts = runbook_texts()
    assert set(texts) == {rule.runbook for rule in RULES}
    for rule in RULES:
        text = texts[rule.runbook]
        assert text.startswith(f"# {rule.alert}\n") and all(
            f"\n## {part}\n" in text for part in ("What it means", "Look at", "Do")
        )
        assert set(re.findall(rf"`{PREFIX}(\w+)`", text)) <= set(BY_NAME), rule.name
    linked = re.findall(r'runbook_url: "(.*)"', path.read_text())
    assert len(linked) == len(RULES) and all((path.parent / one).is_file() for one in linked)


def test_what_pages_and_what_is_a_ticket():
    pages = {rule.name for rule in RULES if rule.severity == PAGE}
    assert pages == {"Down", "NotFinite", "Latency", "Errors", "Burn", "Budget", "Calibration"}
    assert {rule.name for rule in RULES if not rule.silenced} == {"Down", "NotFinite"}


@pytest.mark.parametrize(
    "given, words",
    [
        ({"seconds": 0}, "seconds of an objective: expected a positive number"),
        ({"availability": 1.0}, "a share between 0 and 1"),
        ({"availability": "0.99"}, "a share between 0 and 1"),
        ({"compute": float("nan")}, "a positive number"),
        ({"job": 'a"b'}, "without quotes"),
        ({"job": 3}, "without quotes"),
    ],
)
def test_objectives_that_cannot_be_meant(given, words):
    with pytest.raises(er.DataError, match=words):
        Objectives(**given)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for write in (write_rules, write_dashboards):
        with pytest.raises(er.InferenceError, match="expected a place that can be written"):
            write(tmp_path / "file" / "rules.yaml")


def test_objectives_reach_the_rules(tmp_path):
    text = write_rules(
        tmp_path / "r.yaml", Objectives(seconds=0.05, availability=0.99, job="risk"), runbooks="https://x/y"
    ).read_text()
    assert "> 0.05" in text and 'job=\\"risk\\"' in text and "https://x/y/latency.md" in text
    assert f"> {4 * 0.01:.6g}" in text and f"> {0.5 * 120 * 0.01:.6g}" in text
    assert not (tmp_path / "runbooks").exists()
