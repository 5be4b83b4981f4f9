"""Write ``report.html`` and ``report.json``, each whole or not at all."""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from ...ppl.errors import InferenceError, explain

SCHEMA = "elboroom-report/1"
MOST_ROWS = 200


def write(posterior, path) -> Path:
    """Write ``report.html`` and ``report.json``.

    Parameters
    ----------
    posterior : Posterior
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
    path = Path(path)
    page = path if path.suffix.lower() in {".html", ".htm"} else path / "report.html"
    content = as_json(posterior)
    text = _html(posterior, content)
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        _replace(page, text)
        _replace(page.with_suffix(".json"), json.dumps(content, indent=1, allow_nan=False))
    except OSError as error:
        raise InferenceError(
            explain(f"report '{page}'", "a place that can be written", str(error), "choose another folder")
        ) from error
    return page


def _replace(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".report-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def plain(value):
    """The value with NumPy scalars unwrapped and NaN and infinity as None."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if hasattr(value, "item") and not isinstance(value, str):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def as_json(posterior) -> dict:
    """Content of ``report.json``; its schema is ``schema.json`` beside this file."""
    from .. import check, fits_data

    table = posterior.summary()
    columns = ["mean", "sd", "q5", "median", "q95", "verdict", "reason"]
    findings = [*posterior.findings, *check(posterior)]
    return plain(
        {
            "schema": SCHEMA,
            "elboroom": _version(),
            "name": posterior.name,
            "question": posterior.question,
            "verdict": posterior.verdict,
            "fits_data": fits_data(posterior),
            "quantities": [
                {"name": name, **{c: row[c] for c in columns}}
                for name, row in zip(table.index, table.to_dict("records"), strict=True)
            ],
            "findings": [finding.as_dict() for finding in findings],
            "trail": [asdict(rung) for rung in posterior.trail],
            "cost": asdict(posterior.cost),
            "seed": posterior.seed,
            "backend": posterior.backend,
            "data_fingerprint": posterior.data_fingerprint,
        }
    )


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("elboroom")
    except PackageNotFoundError:
        return "unknown"


TRUST = {
    "trusted": (
        "Yes.",
        "The evidence says that every judged mean is within 0.15 posterior standard deviations and every "
        "interval end within 0.25 of the exact answer to this model.",
    ),
    "caution": (
        "With caution.",
        "At least one judged quantity is established only roughly (within half a standard deviation). The "
        "table names it and says why.",
    ),
    "untrusted": (
        "No.",
        "For at least one judged quantity nothing reliable is established. The table names it and says why.",
    ),
}
FIT = {
    True: ("Yes, as far as the checks see.", "New data drawn from the model look like the data observed."),
    False: ("No.", "The data are not what the model predicts; the findings below say in which respect."),
    None: ("Not assessable.", "The model has no rows of outcomes that a check could use."),
}


def _next_step(content) -> str:
    if content["verdict"] == "untrusted":
        return "Do not use the numbers marked untrusted. Follow the advice in the findings, then fit again."
    if content["fits_data"] is False:
        return (
            "Change the model before relying on it: the numbers answer the question that this model asks, "
            "and the data disagree with the model."
        )
    if content["verdict"] == "caution":
        return (
            "Use the trusted rows; treat the others as rough. More data or another parametrisation may help."
        )
    return (
        "Use the results. Trust is conditional on there being no mode beyond the reach of dispersed starts."
    )


def _html(posterior, content) -> str:
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup

    from . import SECTIONS, figures

    rank = {"untrusted": 0, "caution": 1, "trusted": 2, None: 3}
    judged = {posterior.table["label"][i] for i in posterior._judged()}
    rows = sorted(content["quantities"], key=lambda q: rank[q["verdict"]])
    headline = [q for q in content["quantities"] if q["name"] in judged and q["verdict"] is not None]
    counts = {v: sum(q["verdict"] == v for q in content["quantities"]) for v in TRUST}
    try:
        graph = Markup(posterior.program.graph()._repr_svg_()) if posterior.program is not None else ""
    except ImportError:
        graph = ""
    observed = posterior.observed_data
    environment = Environment(loader=PackageLoader("elboroom.diagnostics.report", "."), autoescape=True)
    environment.filters["number"] = _number
    return environment.get_template("report.html").render(
        content=content,
        trust=TRUST[content["verdict"]],
        fit=FIT[content["fits_data"]],
        next_step=_next_step(content),
        headline=headline[:8],
        more_headline=max(0, len(headline) - 8),
        rows=rows[:MOST_ROWS],
        omitted=max(0, len(rows) - MOST_ROWS),
        counts=counts,
        graph=graph,
        predictive=[(name, Markup(picture)) for name, picture in figures.predictive(posterior)],
        elbo=Markup(figures.elbo(posterior)),
        sizes={name: int(getattr(value, "size", 0)) for name, value in observed.items()},
        law=LAWS["long" if posterior.settings.get("num_chains", 1) > 1 else posterior.law],
        sections=[Markup(section(posterior)) for section in SECTIONS],
        python=sys.version.split()[0],
        trail_columns=["name", "guide", "elbo", "khat", "num_gradients", "seconds", "verdict", "reason"],
    )


LAWS = {
    "guide": "draws of the fitted guide",
    "psis": "importance-corrected draws of the fitted guide",
    "mcmc": "short Markov chains started at the fitted guide",
    "long": "a few long Markov chains",
}


def _number(value) -> str:
    """Three or four significant digits; nothing for None."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
