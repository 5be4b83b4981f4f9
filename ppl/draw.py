"""A model graph as a self-contained SVG."""

from __future__ import annotations

from html import escape

_WIDTH, _HEIGHT, _GAP = 118, 50, 36


def svg(network) -> str:
    """Draw in layers: parents above children; latent white, observed shaded, deterministic dashed.

    Examples
    --------
    >>> import networkx as nx
    >>> g = nx.DiGraph()
    >>> g.add_node("mu", role="latent", distribution="Normal", plates=(), shape=())
    >>> svg(g).startswith("<svg")
    True
    """
    import networkx as nx

    layers = [sorted(layer) for layer in nx.topological_generations(network)]
    place = {}
    widest = max((len(layer) for layer in layers), default=1)
    for row, layer in enumerate(layers):
        shift = (widest - len(layer)) / 2
        for column, name in enumerate(layer):
            x = (column + shift) * (_WIDTH + _GAP) + _WIDTH / 2 + 10
            place[name] = (x, row * (_HEIGHT + 2 * _GAP) + _HEIGHT / 2 + 10)
    width = widest * (_WIDTH + _GAP) - _GAP + 20
    height = len(layers) * (_HEIGHT + 2 * _GAP) - 2 * _GAP + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'style="max-width:{width:.0f}px;width:100%;color:inherit" role="img" aria-label="Model graph" '
        'font-family="system-ui, sans-serif" text-anchor="middle">',
        '<defs><marker id="elboroom-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="currentColor"/></marker></defs>',
    ]
    for parent, child in network.edges:
        (x1, y1), (x2, y2) = place[parent], place[child]
        parts.append(
            f'<line x1="{x1:.0f}" y1="{y1 + _HEIGHT / 2:.0f}" x2="{x2:.0f}" y2="{y2 - _HEIGHT / 2:.0f}" '
            'stroke="currentColor" stroke-opacity=".55" marker-end="url(#elboroom-arrow)"/>'
        )
    for name, attrs in network.nodes(data=True):
        parts.append(_node(str(name), attrs, *place[name]))
    return "".join([*parts, "</svg>"])


def _node(name, attrs, x, y) -> str:
    role = attrs["role"]
    shade = ".22" if role == "observed" else "0"
    dash = ' stroke-dasharray="5 4"' if role == "deterministic" else ""
    look = f'fill="currentColor" fill-opacity="{shade}" stroke="currentColor"{dash}'
    if role == "factor":
        shape = f'<rect x="{x - 9:.0f}" y="{y - 22:.0f}" width="18" height="18" fill="currentColor"/>'
        text_y = y + 14
    else:
        shape = f'<ellipse cx="{x:.0f}" cy="{y:.0f}" rx="{_WIDTH / 2:.0f}" ry="{_HEIGHT / 2:.0f}" {look}/>'
        text_y = y - 2
    size = " × ".join(str(n) for n in attrs.get("shape", ()))
    law = attrs.get("distribution") or role
    below = f"{law} [{size}]" if size else law
    title = f"{name} ({role})" + (f", plates {', '.join(attrs['plates'])}" if attrs.get("plates") else "")
    return (
        f"<g><title>{escape(title)}</title>{shape}"
        f'<text x="{x:.0f}" y="{text_y:.0f}" font-size="13" font-weight="600" fill="currentColor">'
        f"{escape(name)}</text>"
        f'<text x="{x:.0f}" y="{text_y + 15:.0f}" font-size="10" fill="currentColor">{escape(below)}</text></g>'
    )
