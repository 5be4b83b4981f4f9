"""Figures with nothing of the process's settings in them, as inline SVG that suits light and dark pages."""

from __future__ import annotations

import functools
import hashlib
import io
import re
from html import escape

from ..thresholds import PICTURE_HEIGHT, PICTURE_WIDTH, SVG_DPI

INK, DATA, GREY, PALE = "#5b7fa6", "#c4552d", "#777", "#999"
"""Colours of predictions, of data, of text and of lines."""


def blank(columns: int = 1):
    """A transparent figure with so many axes beside each other, and the axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(PICTURE_WIDTH * columns, PICTURE_HEIGHT), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_facecolor("none")
        axis.tick_params(colors=GREY, labelsize=8)
        for spine in axis.spines.values():
            spine.set_color(PALE)
    figure.patch.set_alpha(0)
    return figure, axes


def labelled(axis, **labels) -> None:
    """Set the labels and limits of an axis, with a legend of what has a name."""
    axis.set(**labels)
    if axis.get_legend_handles_labels()[1]:
        axis.legend(frameon=False, fontsize=8, labelcolor=GREY)
    axis.xaxis.label.set_color(GREY)
    axis.yaxis.label.set_color(GREY)


def svg(figure, description: str) -> str:
    """A figure as an inline ``<svg>``, the same each time, with a description for readers who cannot see it.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Made by `blank`.
    description : str
        For readers who cannot see it.
    """
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)  # a name with $ is a name
        text.set_usetex(False)
    out = io.StringIO()
    figure.set_dpi(SVG_DPI)
    renderer = _renderer()(*(SVG_DPI * figure.get_size_inches()), out, metadata={"Date": None})
    figure.draw(renderer)
    renderer.finalize()
    drawn = out.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn, flags=re.S)
    drawn = re.sub(
        r"<svg ", f'<svg role="img" aria-label="{escape(description, quote=True)}" ', drawn, count=1
    )
    return re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"', r"\1", drawn, count=1)


@functools.cache
def _renderer():
    """matplotlib's renderer with text as text and the same ids each time, whatever the process's settings are."""
    from matplotlib.backends.backend_svg import RendererSVG

    class Renderer(RendererSVG):
        def draw_text(self, gc, x, y, s, prop, angle, ismath=False, mtext=None):
            self._draw_text_as_text(gc, x, y, s, prop, angle, ismath, mtext)

        def _make_id(self, type, content):
            return type + hashlib.sha256(str(content).encode("utf-8", "replace")).hexdigest()[:10]

    return Renderer
