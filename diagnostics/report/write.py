"""Write ``report.html``, ``report.json`` and ``report.md``, each whole or not at all."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ...inference.posterior.posterior import record_of
from ...ppl import files
from ..thresholds import HEADLINES, TABLE_ROWS
from . import figures
from .content import as_json
from .digits import measured, number
from .sections import SECTIONS
from .summary import markdown
from .words import FIT, LAWS, next_step, trust, which

__all__ = ["as_json", "publish", "write"]


def write(posterior, path) -> Path:
    """Write ``report.html``, ``report.json`` and ``report.md``.

    Parameters
    ----------
    posterior : Posterior
        The fit, or draws made elsewhere.
    path : path-like
        A folder, or the name of the HTML file.

    Returns
    -------
    pathlib.Path
        The HTML file.

    Raises
    ------
    InferenceError
        If the place cannot be written.
    """
    path = files.place(path, "report")
    page = path if path.suffix.lower() in {".html", ".htm"} else path / "report.html"
    content = as_json(posterior)
    return publish(page, content, _html(posterior, content), markdown(content))


def publish(page: Path, content: dict[str, Any], html: str, summary: str) -> Path:
    """Write a page with the same as JSON and Markdown beside it.

    Parameters
    ----------
    page : Path
        The HTML file; the others have its name.
    content : dict
        For the JSON, which gets a digest.
    html, summary : str
        For the page, and for the Markdown.

    Returns
    -------
    pathlib.Path
        The HTML file.

    Raises
    ------
    InferenceError
        If the place cannot be written.
    """
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        files.write(page, html)
        files.write(page.with_suffix(".json"), files.sealed_json(content))
        files.write(page.with_suffix(".md"), summary)
    except OSError as error:
        raise files.unwritable(f"report '{page}'", error) from error
    return page


def _html(posterior, content) -> str:
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup

    record = record_of(posterior)
    rank = {"untrusted": 0, "caution": 1, "trusted": 2, None: 3}
    judged = {record.table["label"][i] for i in record.judged}
    rows = sorted(content["quantities"], key=lambda q: rank[q["verdict"]])
    headline = [q for q in content["quantities"] if q["name"] in judged and q["verdict"] is not None]
    environment = Environment(loader=PackageLoader("elboroom.diagnostics.report", "."), autoescape=True)
    environment.filters.update(number=number, measured=measured)
    return environment.get_template("report.html").render(
        content=content,
        trust=trust(content),
        fit=(FIT[content["fits_data"]], content["blame"]["sentence"] + which(content)),
        findings=_parted(content["findings"], len(posterior.findings)),
        next_step=next_step(content),
        headline=headline[:HEADLINES],
        more_headline=max(0, len(headline) - HEADLINES),
        rows=rows[:TABLE_ROWS],
        omitted=max(0, len(rows) - TABLE_ROWS),
        counts=content["counts"],
        graph=Markup(_graph(posterior)),
        predictive=[(name, [Markup(one) for one in some]) for name, some in figures.predictive(posterior)],
        # bounds of encoded rows are drawn in a section of their own
        elbo=Markup("" if "latent" in content else figures.elbo(posterior)),
        shapes={name: _times(value) for name, value in record.observed_data.items()},
        law=LAWS[record.shown_law],
        laws=LAWS | {"refined": "chains run for this report"},
        sections=[Markup(shown) for section in SECTIONS if (shown := section(posterior))],
        python=sys.version.split()[0],
        trail_columns=[
            "name",
            "guide",
            "elbo",
            "khat",
            "num_gradients",
            "seconds",
            "projected",
            "verdict",
            "reason",
        ],
    )


def _times(value) -> str:
    """How many observations there are: ``"300"``, or ``"300 × 4"`` of several columns."""
    return " × ".join(f"{n:,}" for n in getattr(value, "shape", ())) or "1"


def _graph(posterior) -> str:
    """The model's graph as SVG, empty without the program."""
    try:
        return "" if posterior.program is None else posterior.program.graph().svg()
    except ImportError:
        return ""


def _parted(findings, own: int) -> list[tuple[str, list, list]]:
    """Findings on the model and on the approximation: those that speak, the worst first, and those in order."""
    rank = {"untrusted": 0, "misfit": 0, "caution": 1, "not assessable": 2, "ok": 3}
    parts = ("Is the model right?", findings[own:]), ("Is the approximation right?", findings[:own])
    return [
        (
            title,
            sorted((f for f in some if f["verdict"] != "ok"), key=lambda f: rank[f["verdict"]]),
            [f for f in some if f["verdict"] == "ok"],
        )
        for title, some in parts
        if some
    ]
