"""Families of guides side by side, where `elboroom.ladder_report` has fitted them."""

from __future__ import annotations

from html import escape

import numpy as np

from ...inference.posterior.posterior import requested
from ..thresholds import LEAST_ERROR
from .canvas import DATA, GREY, INK, blank, labelled, svg


def ladder_section(posterior) -> str:
    """Table and picture; empty where it was not asked for."""
    found = requested(posterior).get("ladder")
    if found is None:
        return ""
    table = found.table.drop(columns="reason").to_html(float_format=lambda v: f"{v:.3g}", na_rep="", border=0)
    failed = "".join(
        f"<li>{escape(name)}: {escape(why)}</li>" for name, why in found.table["reason"].items() if why
    )
    words = f"Means and sds are compared with those of '{escape(found.best)}', in its sds. None is both faster and nearer than {escape(', '.join(found.frontier))}."
    return f'<h2 id="ladder">Families of guides side by side</h2><p>{words}</p>{table}<ul>{failed}</ul><div class="pictures"><div>{picture(found)}</div></div>'


def picture(found) -> str:
    """Worst error of a mean against seconds, as SVG."""
    from matplotlib.ticker import LogLocator

    figure, (axis,) = blank()
    table = found.table.dropna(subset=["worst_mean"])
    error = np.maximum(table["worst_mean"], LEAST_ERROR)
    for name, seconds, value in zip(table.index, table["seconds"], error, strict=True):
        axis.plot(seconds, value, "o", color=DATA if name in found.frontier else INK, ms=5)
        axis.annotate(name, (seconds, value), (4, 3), textcoords="offset points", fontsize=8, color=GREY)
    axis.set(xscale="log", yscale="log")
    for way, marks in ((axis.xaxis, (1, 2, 5)), (axis.yaxis, (1,))):
        way.set_major_locator(LogLocator(subs=marks))
        way.set_major_formatter(lambda value, _: f"{value:g}")
    axis.minorticks_off()
    labelled(axis, xlabel="seconds", ylabel=f"worst mean, in sds of '{found.best}'")
    return svg(figure, f"Worst error of a mean against seconds, by family; compared with {found.best}")
