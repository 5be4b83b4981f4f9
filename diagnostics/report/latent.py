"""Encoded rows: their verdict, units, bounds, and rows beside what the model makes of them."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from ..thresholds import EARLY_SHARE, ROWS_AS_LINES, TABLE_ROWS
from .canvas import DATA, INK, PALE, blank, labelled, svg
from .digits import number, plain
from .latent_values import latent_values


def latent_section(posterior) -> str:
    """HTML of the encoded rows; empty for a posterior without an encoder."""
    values = latent_values(posterior)
    if values is None:
        return ""
    parts = [
        f"<h2 id=\"encoded\">Encoded rows of '{escape(values['plate'])}'</h2>",
        f"<p>{escape(values['given'])}</p>",
        _verdict(values),
        _bounds(values["bounds"]),
    ]
    if "absent" in values:
        return "".join([*parts, f'<p class="soft">No pictures: {escape(values["absent"])}</p>'])
    return "".join(
        [*parts, _units(values), *(_outcome(some) for some in values["outcomes"]), _leak(values.get("leak"))]
    )


def _verdict(values: Mapping[str, Any]) -> str:
    """The plate's verdict, and what the encoder alone costs, in words."""
    verdict, reason = escape(values["verdict"]), values["reason"]
    out = f'<p>All rows together: <strong class="{verdict}">{verdict}</strong>, since {escape(reason)}.'
    if values["gap"] is None:
        return out + "</p>"
    weighed, rows = values["num_weighed"], values["num_rows"]
    whose = "all rows" if weighed == rows else f"{weighed:,} of {rows:,} rows"
    out += (
        f" By the weights of {whose}, log p(x) of a row is {values['log_evidence']:.2f} nats on average, and the bound by the "
        f"encoder alone lies {values['gap']:.3f} below: that is what its own law costs. Numbers of weighed rows do not "
        "pay it"
    )
    return out + ("." if weighed == rows else "; those of the others, and the encoder's means, do.") + "</p>"


def _leak(found: Mapping[str, Any] | None) -> str:
    """Whether simulated rows give away those trained on, in words; empty where it was not asked."""
    if found is None:
        return ""
    verdict, advice = escape(found["verdict"]), escape(found["advice"])
    return f'<h3>Do simulated rows give away those trained on?</h3><p><strong class="{verdict}">{verdict}</strong>: {advice}</p>'


def _units(values: Mapping[str, Any]) -> str:
    units = sorted(values["units"], key=lambda unit: -unit["kl"])
    active, count = values["num_active"], len(units)
    words = (
        f"{active} of {count} units {'is' if active == 1 else 'are'} active: the mean moves from row to row, with a variance "
        "above 0.01. Units are axes of this fit: another start may turn or exchange them. Where the largest step along one is many "
        "times the usual, a traversal passes through places that the decoder was never trained at."
    )
    rows = "".join(
        f'<tr><td>{escape(str(u["unit"]))}</td><td class="n">{number(float(u["kl"]))}</td>'
        f'<td class="n">{number(float(u["variance"]))}</td><td>{"active" if u["active"] else "idle"}</td>'
        f'<td class="n">{escape(number(plain(u["jump"])))}</td></tr>'
        for u in units[:TABLE_ROWS]
    )
    head = (
        '<th scope="col">Unit</th><th scope="col" class="n">Divergence from its prior, nats a row</th>'
        '<th scope="col" class="n">Variance of its means</th><th scope="col">Use</th>'
        '<th scope="col" class="n">Largest step along it, over the usual one</th>'
    )
    return (
        f"<h3>Units</h3><p>{words}</p>"
        f'<div class="scroll" tabindex="0" role="region" aria-label="Units"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _bounds(looks: list[Mapping[str, Any]]) -> str:
    """Bounds over the steps; empty where there are fewer than two looks."""
    if len(looks) < 2:
        return ""
    figure, (axis,) = blank()
    steps = [look["steps"] for look in looks]
    drawn = []
    for name, colour, words in (("training", INK, "trained on"), ("held_out", DATA, "held out")):
        own = np.array([look[name] for look in looks], float)
        if np.isfinite(own).any():
            axis.plot(steps, own, color=colour, lw=1.5, label=words)
            drawn.append(own[np.isfinite(own)])
    known = np.concatenate(drawn)
    low, high = np.quantile(known, EARLY_SHARE), known.max()
    margin = 0.05 * (high - low) or 1.0
    labelled(axis, xlabel="step", ylabel="bound of a row, nats", ylim=(low - margin, high + margin))
    picture = svg(figure, "Bounds of a row over the steps of training, of rows trained on and held out")
    return f'<div class="picture" style="max-width:26rem">{picture}</div>'


def _outcome(values: Mapping[str, Any]) -> str:
    name, made = values["name"], values["simulated"]
    draw = _mosaic if values["image"] else _lines
    out = []
    if "reconstructed" in values:
        pair = values["reconstructed"]
        out += [
            f"<h3>{escape(name)}: rows and their reconstructions</h3>",
            f'<p class="soft">Fitted rows {_listed(pair["index"])}, and the means that the model has of them.</p>',
            draw(values["image"], [pair["rows"], pair["means"]], ("row", "reconstruction"), pair["index"]),
        ]
    out += [
        f"<h3>{escape(name)}: simulated rows</h3>",
        f"<p class=\"soft\">Rows that the model makes up, and the fitted row nearest to each: {_listed(made['nearest_index'])}; "
        f"apart by {_listed([number(one) for one in made['apart']])} (root mean square over columns). These fitted rows are "
        f"{number(float(made['usual']))} from the nearest other one, in the middle: simulated rows far nearer would be rows learned by "
        "heart.</p>",
        draw(values["image"], [made["rows"], made["nearest"]], ("simulated", "nearest fitted"), made["nearest_index"]),
    ]  # fmt: skip
    if "traversed" in values:
        out += [
            f"<h3>{escape(name)}: along units</h3>",
            '<p class="soft">Means from −3 to 3 of one unit, the others at zero, the most active first: '
            f"{_listed(values['traversed']['units'])}.</p>",
            _strips(values["image"], values["traversed"]),
        ]
    return "".join(out)


def _listed(words) -> str:
    return ", ".join(escape(str(word)) for word in words)


def _strips(image, along: Mapping[str, Any]) -> str:
    if image:
        return _mosaic(image, along["means"], ("along a unit",), along["units"])
    shade = np.linspace(-1, 1, len(along["values"]))
    pictures = []
    for unit, means in zip(along["units"][:ROWS_AS_LINES], along["means"], strict=False):
        figure, (axis,) = blank()
        for value, share, mean in zip(along["values"], shade, means, strict=True):
            named = f"{value:g}" if share in (-1, 0, 1) else None
            axis.plot(
                mean, color=DATA if share > 0 else INK if share < 0 else PALE, alpha=0.3 + 0.7 * abs(share),
                marker=".", lw=1.2, label=named,
            )  # fmt: skip
        labelled(axis, xlabel="column", title=None, ylabel=f"mean along {unit}")
        pictures.append(svg(figure, f"Means of the columns along {unit}"))
    return _pictures(pictures)


def _lines(_image, pair, words: tuple[str, str], index) -> str:
    """A picture of each row, with the other over its columns."""
    pictures = []
    for one, other, place in list(zip(*pair, index, strict=True))[:ROWS_AS_LINES]:
        figure, (axis,) = blank()
        for values, colour, label in ((one, DATA, words[0]), (other, INK, words[1])):
            axis.plot(np.array(values, float), color=colour, marker=".", lw=1.2, label=label)
        labelled(axis, xlabel="column", ylabel=f"row {place}")
        pictures.append(svg(figure, f"{words[0]} and {words[1]}, {place}"))
    return _pictures(pictures)


def _pictures(pictures: list[str]) -> str:
    return f'<div class="pictures">{"".join(f"<div>{one}</div>" for one in pictures)}</div>'


def _mosaic(image, rows, words: tuple[str, ...], _index) -> str:
    """Rows of images as one picture, black where numbers are largest."""
    from matplotlib.image import imsave

    height, width = image
    pixels = np.array(rows, float)
    pixels = pixels.reshape(*pixels.shape[:2], height, width)
    low, high = np.nanmin(pixels), np.nanmax(pixels)
    ink = np.nan_to_num((pixels - low) / ((high - low) or 1.0))
    gap = max(1, width // 8)
    down, across = pixels.shape[:2]
    whole = np.zeros((down * (height + gap) - gap, across * (width + gap) - gap, 4))
    for i in range(down):
        for j in range(across):
            place = (
                slice(i * (height + gap), i * (height + gap) + height),
                slice(j * (width + gap), j * (width + gap) + width),
            )
            whole[place] = np.dstack([np.repeat(1 - ink[i, j][..., None], 3, 2), np.ones((height, width))])  # fmt: skip
    out = io.BytesIO()
    named: dict[str, Any] = {"Software": None}  # the same bytes with every version of Matplotlib
    imsave(out, whole, format="png", metadata=named)
    code = base64.b64encode(out.getvalue()).decode()
    return (
        f'<p><img alt="{escape(" above ".join(words), quote=True)}" src="data:image/png;base64,{code}" '
        f'style="width:100%;max-width:{min(60, 4 * across)}rem;image-rendering:pixelated"></p>'
    )
