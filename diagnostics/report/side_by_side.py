"""Several models of the same rows in one report."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...ppl import files
from ..thresholds import CLEAR_DIFFERENCE, COMPARED_PICTURES, PICTURE_WIDTH, SHARED_ROWS
from . import figures
from .canvas import INK, PALE, blank, labelled, svg
from .content import as_json, installed_version
from .digits import measured, number, plain
from .write import publish

SCHEMA = "elboroom-comparison/1"
COLUMNS = {
    "elpd": "Log density",
    "se": "± (se)",
    "elpd_diff": "Behind the best",
    "diff_se": "± (se)",
    "weight": "Weight",
    "influential": "Influential",
}


def write(comparison, path) -> Path:
    """Write the page, JSON and Markdown of a comparison; the parameters are those of `Comparison.report`."""
    path = files.place(path, "report")
    page = path if path.suffix.lower() in {".html", ".htm"} else path / "comparison.html"
    content = _content(comparison)
    return publish(page, content, _html(comparison, content), _markdown(content))


def _content(comparison) -> dict:
    models = []
    for name, posterior in comparison.posteriors.items():
        loo = {column: comparison.table.loc[name, column] for column in COLUMNS}
        models.append(as_json(posterior) | {"name": name, "loo": plain(loo)})
    return {
        "schema": SCHEMA,
        "elboroom": installed_version(),
        "best": next(iter(comparison.posteriors)),
        "sentence": comparison.sentence,
        "held_out": comparison.held_out,
        "models": models,
    }


def _cells(content) -> list[tuple[str, list[str]]]:
    """Judged quantities that models share, or have alone, with the mean and 90% interval in each."""
    found: dict[str, list[str]] = {}
    for place, model in enumerate(content["models"]):
        for q in model["quantities"]:
            if q["verdict"] is None:
                continue
            mean, low, high = (measured(q[key], q["sd"]) for key in ("mean", "q5", "q95"))
            doubt = "" if q["verdict"] == "trusted" else f" ({q['verdict']})"
            row = found.setdefault(q["name"], ["–"] * len(content["models"]))
            row[place] = f"{mean} [{low} to {high}]{doubt}"
    rows = sorted(found.items(), key=lambda row: sum(cell == "–" for cell in row[1]))
    return rows


def _fits(model) -> str:
    seen = dict.fromkeys(f["name"] for f in model["findings"] if f["verdict"] == "misfit")
    words = {True: "yes", False: "no", None: "not known"}[model["fits_data"]]
    return f"{words}: {', '.join(seen)}" if seen else words


def _markdown(content) -> str:
    def cell(value) -> str:
        return number(value).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")

    heads = ["model", *COLUMNS.values(), "verdict", "fits the data"]
    lines = [
        f"### {cell(content['best'])} first",
        "",
        cell(content["sentence"]),
        "",
        f"| {' | '.join(heads)} |",
    ]
    lines.append("|" + "---|" * len(heads))
    for model in content["models"]:
        values = [model["name"], *model["loo"].values(), model["verdict"], _fits(model)]
        lines.append(f"| {' | '.join(map(cell, values))} |")
    return "\n".join(lines) + "\n"


def _html(comparison, content) -> str:
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup

    environment = Environment(loader=PackageLoader("elboroom.diagnostics.report", "."), autoescape=True)
    environment.filters.update(number=number)
    rows = _cells(content)
    pictures = [
        (name, [Markup(one) for _, some in figures.predictive(posterior) for one in some[:COMPARED_PICTURES]])
        for name, posterior in comparison.posteriors.items()
    ]
    return environment.get_template("comparison.html").render(
        content=content,
        columns=COLUMNS,
        fits=[_fits(model) for model in content["models"]],
        rows=rows[:SHARED_ROWS],
        omitted=max(0, len(rows) - SHARED_ROWS),
        pictures=pictures,
        differences=Markup(_differences(comparison.table)),
    )


def _differences(table) -> str:
    """Each model's distance from the best, with two standard errors, as SVG."""
    figure, (axis,) = blank()
    figure.set_size_inches(PICTURE_WIDTH, 0.9 + 0.35 * len(table))
    place = np.arange(len(table))[::-1]
    behind = -np.abs(table["elpd_diff"].to_numpy(float))
    error = CLEAR_DIFFERENCE * table["diff_se"].to_numpy(float)
    axis.errorbar(behind, place, xerr=error, fmt="o", color=INK, ms=4)
    axis.axvline(0, color=PALE, lw=0.8)
    axis.set(yticks=place, yticklabels=list(table.index), ylim=(-0.5, len(table) - 0.5))
    labelled(axis, xlabel="log density of new rows, against the best")
    return svg(figure, "Difference in expected log predictive density from the best model")
