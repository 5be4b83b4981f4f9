"""``drift.html``: one self-contained page, with the same as JSON and Markdown beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...diagnostics.report.canvas import svg
from ...diagnostics.report.content import installed_version
from ...diagnostics.report.digits import number, plain
from ...diagnostics.report.write import publish
from ...ppl import files
from .pictures import course, pictures
from .series import DATA, LATENT

SCHEMA = "elboroom-drift/1"
PROMISE = (
    "Of rows that have not moved one window in a hundred at most has any finding, over all columns, units, outcomes and groups "
    "together. A finding has to be significant and large enough to matter; effects are distances, ratios or shares, as each test says."
)
STRICT = "These are the rules of the sources, without corrections: they alarm often where nothing has moved."
NEXT = {
    (False, False): "Nothing: keep looking.",
    (
        True,
        False,
    ): "See what changed in how rows are made or selected. Predictions for rows unlike those that were fitted are "
    "extrapolations: get outcomes for some, and fit again if the change is to stay.",
    (False, True): "Do not rely on predictions: what they say no longer comes true. Fit again with new rows.",
    (
        True,
        True,
    ): "Do not rely on predictions. Find out first whether the rows themselves are in order, then fit again with new rows.",
}


def write(found: Any, path: str | Path, history: Sequence[Any] = ()) -> Path:
    """Write the page of a `Drift`.

    Parameters
    ----------
    found : Drift
        What the page shows.
    path : str or path
        A folder, or the name of the HTML file.
    history : sequence of dict
        Windows of a monitor, for a picture of their course.

    Returns
    -------
    pathlib.Path
        The page.

    Raises
    ------
    InferenceError
        If the place cannot be written.
    """
    place = files.place(path, "report of a drift")
    page = place if place.suffix.lower() in {".html", ".htm"} else place / "drift.html"
    content = as_json(found)
    return publish(page, content, _html(found, content, history), _markdown(content))


def as_json(found: Any) -> dict[str, Any]:
    """What a page shows, for programs."""

    def rows(seen):
        return max((len(one.values) for one in seen.values()), default=0)

    return plain({
        "schema": SCHEMA,
        "elboroom": installed_version(),
        "name": found.name,
        "drifted": found.drifted,
        "moved": found.moved,
        "reference_rows": rows(found.reference),
        "new_rows": rows(found.new),
        "tests": len(found.shifts),
        "findings": [finding.as_dict() for finding in found],
        "shifts": found.table().to_dict("records"),
    })  # fmt: skip


def _html(found: Any, content: dict[str, Any], history: Sequence[Any]) -> str:
    from jinja2 import ChoiceLoader, Environment, PackageLoader
    from markupsafe import Markup

    loaders = [
        PackageLoader(package, ".")
        for package in ("elboroom.operations.drift", "elboroom.diagnostics.report")
    ]
    environment = Environment(loader=ChoiceLoader(loaders), autoescape=True)
    environment.filters.update(number=number)
    told = content["findings"]
    rows, model = _answers(content)
    return environment.get_template("drift.html").render(
        content=content,
        rows=rows,
        model=model,
        next_step=NEXT[rows[1] == "Yes.", model[0] == "misfit"],
        odd=[f for f in told if f["verdict"] != "ok"],
        fine=[f for f in told if f["verdict"] == "ok"],
        pictures=[(title, Markup(drawn)) for title, drawn in pictures(found)],
        course=Markup(svg(course(history), "p-values over windows")) if len(history) > 1 else "",
        promise=STRICT if found.strict else PROMISE,
    )


def _answers(content: dict[str, Any]) -> tuple[tuple[str, str, str], tuple[str, str, str]]:
    """Whether rows have moved, and whether the model holds: a class, an answer, and which."""

    def which(verdict: str) -> str:
        found = [f["quantity"] for f in content["findings"] if f["verdict"] == verdict]
        return ", ".join(dict.fromkeys(name for name in found if name in content["moved"]))

    moved, broken = which("caution"), which("misfit")
    asked = [s for s in content["shifts"] if s["stream"] not in (DATA, LATENT)]
    if moved:
        rows = ("caution", "Yes.", f"What moved: {moved}.")
    elif len(asked) < len(content["shifts"]):
        rows = ("trusted", "No.", "No test sees a change that matters.")
    else:
        rows = ("caution", "Not known.", "There were too few rows to compare.")
    if broken:
        return rows, ("misfit", "No.", f"What no longer agrees: {broken}.")
    if not asked:
        return rows, (
            "caution",
            "Not known.",
            "It takes outcomes of the new rows, and a model that says what it predicts for them.",
        )
    return rows, (
        "trusted",
        "Yes, as far as the tests see.",
        "Outcomes fall where the model predicts them, as often as they did.",
    )


def _markdown(content: dict[str, Any]) -> str:
    def cell(value: Any) -> str:
        return number(value).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")

    lines = [f"### Drift: {'yes' if content['drifted'] else 'none seen'}", "", "| test | of | effect | matters from | verdict | seen |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    told = [f for f in content["findings"] if f["verdict"] != "ok"]
    keys = ("name", "quantity", "value", "threshold", "verdict", "advice")
    lines += [f"| {' | '.join(cell(f[key]) for key in keys)} |" for f in told]
    return "\n".join(lines) + "\n"
