"""Write ``report.html``, ``report.json`` and ``report.md``, each whole or not at all."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import asdict
from pathlib import Path

from ...ppl import files
from ...ppl.names import printable

SCHEMA = "elboroom-report/1"
MARKED = re.compile(r"[\\`*\[\]!|]")  # what Markdown makes emphasis, code, links, images and cells of
MOST_ROWS, MOST_LINES = 200, 20


def write(posterior, path) -> Path:
    """Write ``report.html``, ``report.json`` and ``report.md``.

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
    path = files.place(path, "report")
    page = path if path.suffix.lower() in {".html", ".htm"} else path / "report.html"
    content = as_json(posterior)
    return publish(page, content, _html(posterior, content), markdown(content))


def publish(page: Path, content: dict, html: str, summary: str) -> Path:
    """Write a page with the same as JSON and Markdown beside it."""
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        files.write(page, html)
        files.write(page.with_suffix(".json"), files.sealed_json(content))
        files.write(page.with_suffix(".md"), summary)
    except OSError as error:
        raise files.unwritable(f"report '{page}'", error) from error
    return page


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
    from .. import check
    from ..blame import blame

    table = posterior.summary()
    columns = ["mean", "sd", "q5", "median", "q95", "verdict", "reason"]
    findings = [*posterior.findings, *check(posterior)]
    found = blame(posterior)
    return plain(
        {
            "schema": SCHEMA,
            "elboroom": _version(),
            "name": posterior.name,
            "question": posterior.question,
            "verdict": posterior.verdict,
            "judgement": posterior.judgement,
            "counts": posterior.counts,
            "doubts": posterior.doubts,
            "fits_data": found.fits_data,
            "blame": {"verdict": found.verdict, "sentence": found.sentence, "misfits": found.misfits},
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
DOUBTED = (
    "With caution.",
    "The evidence holds for the judged quantities, and for too few of the others. The table names them and says why.",
)
FIT = {True: "Yes, as far as the checks see.", False: "No.", None: "Not known."}


def _trust(content) -> tuple[str, str]:
    """Whether the answer can be trusted, and why."""
    answer, why = DOUBTED if content["judgement"] != content["verdict"] else TRUST[content["verdict"]]
    return answer, f"{why} {content['doubts']}" if content["doubts"] else why


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
    if content["fits_data"] is None and content["blame"]["verdict"] != "not assessable":
        return (
            "Get draws that can be trusted first (posterior.refine()); then ask again whether the model fits."
        )
    return (
        "Use the results. Trust is conditional on there being no mode beyond the reach of dispersed starts."
    )


def markdown(content: dict) -> str:
    """A summary for a pull request: verdicts, the judged quantities that are not trusted first, and findings."""

    def cell(value) -> str:
        return MARKED.sub(r"\\\g<0>", printable(_number(value)).replace("\n", " ")).replace("<", "&lt;")

    lines = [
        f"### {cell(content['name'])}: {content['verdict']}",
        "",
        f"{_trust(content)[1]} {cell(content['blame']['sentence'])} {_next_step(content)}",
        "",
        "| quantity | mean | 90% interval | verdict |",
        "|---|---|---|---|",
    ]
    rank = {"untrusted": 0, "caution": 1, "trusted": 2}
    rows = sorted((q for q in content["quantities"] if q["verdict"]), key=lambda q: rank[q["verdict"]])
    for q in rows[:MOST_LINES]:
        mean, low, high = (_measured(q[key], q["sd"]) for key in ("mean", "q5", "q95"))
        lines.append(f"| {cell(q['name'])} | {mean} | {low} to {high} | {q['verdict']} |")
    if len(rows) > MOST_LINES:
        lines += ["", f"and {len(rows) - MOST_LINES} more, none worse."]
    odd = [f for f in content["findings"] if f["verdict"] not in {"ok", "not assessable"}]
    if odd:
        lines += [
            "",
            *(
                f"- **{f['verdict']}** {cell(f['name'])}, {cell(f['quantity'])}: {cell(f['advice'])}"
                for f in odd
            ),
        ]
    return "\n".join(lines) + "\n"


def _html(posterior, content) -> str:
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup

    from . import SECTIONS, figures

    rank = {"untrusted": 0, "caution": 1, "trusted": 2, None: 3}
    judged = {posterior.table["label"][i] for i in posterior._judged()}
    rows = sorted(content["quantities"], key=lambda q: rank[q["verdict"]])
    headline = [q for q in content["quantities"] if q["name"] in judged and q["verdict"] is not None]
    try:
        graph = Markup(posterior.program.graph()._repr_svg_()) if posterior.program is not None else ""
    except ImportError:
        graph = ""
    observed = posterior.observed_data
    environment = Environment(loader=PackageLoader("elboroom.diagnostics.report", "."), autoescape=True)
    environment.filters.update(number=_number, measured=_measured)
    return environment.get_template("report.html").render(
        content=content,
        trust=_trust(content),
        fit=(FIT[content["fits_data"]], content["blame"]["sentence"] + _which(content)),
        findings=_parted(content["findings"], len(posterior.findings)),
        next_step=_next_step(content),
        headline=headline[:8],
        more_headline=max(0, len(headline) - 8),
        rows=rows[:MOST_ROWS],
        omitted=max(0, len(rows) - MOST_ROWS),
        counts=content["counts"],
        graph=graph,
        predictive=[(name, [Markup(one) for one in some]) for name, some in figures.predictive(posterior)],
        elbo=Markup(figures.elbo(posterior)),
        sizes={name: int(getattr(value, "size", 0)) for name, value in observed.items()},
        law=LAWS[
            "long"
            if posterior.settings.get("num_chains", 1) > 1 and not posterior.settings.get("short")
            else posterior.law
        ],
        laws=LAWS | {"refined": "chains of NUTS run for this report"},
        sections=[Markup(section(posterior)) for section in SECTIONS],
        python=sys.version.split()[0],
        trail_columns=["name", "guide", "elbo", "khat", "num_gradients", "seconds", "verdict", "reason"],
    )


def _which(content) -> str:
    """The checks that see a misfit, in words."""
    names = dict.fromkeys(f["name"] for f in content["findings"] if f["verdict"] == "misfit")
    return f" What stands out: {', '.join(names)}." if names else ""


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


LAWS = {
    "guide": "draws of the fitted guide",
    "psis": "importance-corrected draws of the fitted guide",
    "mcmc": "short Markov chains started at the fitted guide",
    "long": "a few long Markov chains",
}


def _measured(value, sd) -> str:
    """As many digits as an sd has two of."""
    if value is None or not sd or sd <= 0:
        return _number(value)
    decimals = 1 - math.floor(math.log10(sd))
    return (
        f"{value:.{decimals}f}" if 0 <= decimals <= 6 else f"{value:,.0f}" if decimals < 0 else f"{value:.4g}"
    )


def _number(value) -> str:
    """Three or four significant digits; nothing for None."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
