"""Dashboards for Grafana, from the table of metrics: for those who answer for a model, who are on call, and who look for a cause."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..ppl import files
from ..ppl.errors import DataError, explain
from .kept import write_content
from .metrics.table import BY_NAME, COUNTER, DEBUG, EXECUTIVE, GAUGE, HISTOGRAM, ON_CALL, TABLE, Metric
from .rules import BY, Objectives
from .thresholds import DASHBOARD_COLUMNS, DASHBOARD_SCHEMA, PANEL_HEIGHT, PANEL_WIDTH

BOARDS = (EXECUTIVE, ON_CALL, DEBUG)
CHOSEN = 'model=~"$model", version=~"$version"'
"""What all panels are of: variables of the dashboard."""
UNITS = {"seconds": "s", "bytes": "bytes"}
"""Grafana's names of units."""
Query = tuple[str, str]


def dashboard(board: str, objectives: Objectives | None = None) -> dict[str, Any]:
    """One dashboard, as Grafana imports it.

    Parameters
    ----------
    board : {"executive", "on-call", "debug"}
        For whom.
    objectives : Objectives, optional
        What is promised.

    Examples
    --------
    >>> dashboard("executive")["title"]
    'elboroom: executive'
    """
    if board not in BOARDS:
        raise DataError(explain("board", f"one of {BOARDS}", repr(board)[:80], "choose one"))
    own = objectives or Objectives()
    panels = [*_made(board, own), *(_panel(m.help, m.unit, _queries(m)) for m in TABLE if board in m.boards)]
    return {
        "uid": f"elboroom-{board}",
        "title": f"elboroom: {board}",
        "tags": ["elboroom"],
        "schemaVersion": DASHBOARD_SCHEMA,
        "version": 1,
        "editable": True,
        "refresh": "1m",
        "time": {"from": "now-7d" if board == EXECUTIVE else "now-6h", "to": "now"},
        "timezone": "utc",
        "annotations": {"list": []},
        "templating": {"list": list(_variables())},
        "panels": [_placed(panel, number) for number, panel in enumerate(panels)],
    }


def write_dashboards(path, objectives: Objectives | None = None) -> list[Path]:
    """Write the dashboards into a folder, a file each.

    Parameters
    ----------
    path : str or path
        The folder.
    objectives : Objectives, optional
        What is promised.
    """
    folder = files.place(path, "dashboards")
    texts = {board: json.dumps(dashboard(board, objectives), indent=1) for board in BOARDS}
    return [
        write_content(folder / f"{board}.json", "dashboard", text.encode()) for board, text in texts.items()
    ]


# -- panels ----------------------------------------------------------------------------------------------


def _queries(metric: Metric) -> list[Query]:
    """PromQL and legends of a metric by its kind."""
    return {GAUGE: _gauge, COUNTER: _counter, HISTOGRAM: _histogram}[metric.kind](metric)


def _gauge(metric: Metric) -> list[Query]:
    labels = "".join(f" {{{{{label}}}}}" for label in metric.labels)
    return [(f"{metric.full}{{{CHOSEN}}}", f"{{{{version}}}}{labels}")]


def _counter(metric: Metric) -> list[Query]:
    by = ", ".join((BY, *metric.labels))
    labels = "".join(f" {{{{{label}}}}}" for label in metric.labels)
    return [
        (f"sum by ({by}) (rate({metric.full}{{{CHOSEN}}}[$__rate_interval]))", f"{{{{version}}}}{labels}")
    ]


def _histogram(metric: Metric) -> list[Query]:
    rate = f"sum by (le, {BY}) (rate({metric.full}_bucket{{{CHOSEN}}}[$__rate_interval]))"
    return [
        (f"histogram_quantile({q}, {rate})", f"{{{{version}}}} P{100 * q:.0f}") for q in (0.5, 0.95, 0.99)
    ]


def _made(board: str, objectives: Objectives) -> Iterator[dict[str, Any]]:
    """Panels that join several metrics."""
    requests, error = BY_NAME["requests_total"].full, 1 - objectives.availability
    by = "model, version"
    bad = f'(sum by ({by}) (rate({requests}{{code=~"5..", {CHOSEN}}}[$__rate_interval])) or 0 * sum by ({by}) (rate({requests}{{{CHOSEN}}}[$__rate_interval])))'
    every = f"sum by ({by}) (rate({requests}{{{CHOSEN}}}[$__rate_interval]))"
    share, untrusted = f"{bad} / {every}", BY_NAME["verdict_total"].full
    if board in (EXECUTIVE, ON_CALL):
        yield _panel("Share of answers that are errors of the server", "share", [(share, "{{version}}")])
        yield _panel(
            "Times too fast that the error budget goes", "", [(f"{share} / {error:.6g}", "{{version}}")]
        )
        trusted = f'sum by ({by}) (rate({untrusted}{{verdict="trusted", {CHOSEN}}}[$__rate_interval]))'
        whole = f"sum by ({by}) (rate({untrusted}{{{CHOSEN}}}[$__rate_interval]))"
        yield _panel("Share of answers that are trusted", "share", [(f"{trusted} / {whole}", "{{version}}")])
    if board == ON_CALL:
        yield _panel("Endpoints that answer", "", [(f'up{{job="{objectives.job}"}}', "{{instance}}")])
    if board == DEBUG:
        far, rows = BY_NAME["norm_exceed_total"].full, BY_NAME["rows_total"].full
        parts = [f"sum by ({by}, data) (rate({name}{{{CHOSEN}}}[$__rate_interval]))" for name in (far, rows)]
        yield _panel(
            "Share of codes that are far out", "share", [(" / ".join(parts), "{{version}} {{data}}")]
        )


def _panel(title: str, unit: str, queries: list[Query]) -> dict[str, Any]:
    """A panel, without its place."""
    source = {"type": "prometheus", "uid": "${datasource}"}
    return {
        "type": "timeseries",
        "title": title,
        "datasource": source,
        "fieldConfig": {
            "defaults": {"unit": "percentunit" if unit == "share" else UNITS.get(unit, "short"), "custom": {"spanNulls": False}},
            "overrides": [],
        },
        "options": {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + i), "datasource": source, "expr": expr, "legendFormat": legend, "range": True}
            for i, (expr, legend) in enumerate(queries)
        ],
    }  # fmt: skip


def _placed(panel: dict[str, Any], number: int) -> dict[str, Any]:
    """A panel at its place in rows."""
    row, column = divmod(number, DASHBOARD_COLUMNS)
    place = {"h": PANEL_HEIGHT, "w": PANEL_WIDTH, "x": column * PANEL_WIDTH, "y": row * PANEL_HEIGHT}
    return {"id": number + 1, "gridPos": place, **panel}


def _variables() -> Iterator[dict[str, Any]]:
    """Which Prometheus, model and version."""
    yield {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
    name, before = BY_NAME["quantities"].full, ""
    for label in ("model", "version"):
        yield {
            "name": label,
            "type": "query",
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "query": {"query": f"label_values({name}{before}, {label})", "refId": label},
            "refresh": 2,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        }
        before = '{model=~"$model"}'
