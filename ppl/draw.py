"""A model graph as a self-contained SVG, legible on light and dark pages."""

from __future__ import annotations

from html import escape

from .thresholds import (
    EDGE,
    LINE_HEIGHT,
    NODE_GAP,
    NODE_HEIGHT,
    NODE_WIDTH,
    PLATE_EDGE,
    SQUARE,
    SQUARE_ABOVE,
)

_STROKE = 'stroke="currentColor"'


def svg(network) -> str:
    """Draw in layers: parents above children; latent white, observed shaded, deterministic dashed, networks squares.

    Parameters
    ----------
    network : networkx.DiGraph
        Nodes with ``role``; ``distribution``, ``shape`` and ``plates`` where they have them. Cycles (through
        time) are allowed.

    Returns
    -------
    str
        One ``<svg>`` element; colours follow the text of the page.

    Examples
    --------
    >>> import networkx as nx
    >>> g = nx.DiGraph()
    >>> g.add_node("mu", role="latent", distribution="Normal", plates=(), shape=())
    >>> svg(g).startswith("<svg")
    True
    """
    rows = _ordered(layers(network), network)
    widest = max((len(row) for row in rows), default=1)
    place: dict = {}
    for depth, row in enumerate(rows):
        shift = (widest - len(row)) / 2
        for column, name in enumerate(row):
            x = (column + shift) * (NODE_WIDTH + NODE_GAP) + NODE_WIDTH / 2 + EDGE
            place[name] = (x, depth * (NODE_HEIGHT + 2 * NODE_GAP) + NODE_HEIGHT / 2 + EDGE)
    width = widest * (NODE_WIDTH + NODE_GAP) - NODE_GAP + 2 * EDGE
    height = max(len(rows), 1) * (NODE_HEIGHT + 2 * NODE_GAP) - 2 * NODE_GAP + 2 * EDGE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'style="max-width:{width:.0f}px;width:100%;color:inherit" role="img" aria-label="Model graph" '
        'font-family="system-ui, sans-serif" text-anchor="middle">',
        '<defs><marker id="elboroom-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="currentColor"/></marker></defs>',
    ]
    level = {name: i for i, row in enumerate(rows) for name in row}
    for parent, child, attributes in network.edges(data=True):
        if parent != child:
            parts.append(_edge(place[parent], place[child], level[child] - level[parent], attributes))
    for name, attributes in network.nodes(data=True):
        parts.append(_node(str(name), attributes, *place[name]))
    return "".join([*parts, "</svg>"])


def layers(network) -> list[list]:
    """Nodes by depth, each below all its parents where edges through time are left out.

    Examples
    --------
    >>> import networkx as nx
    >>> layers(nx.DiGraph([("mu", "theta"), ("theta", "y"), ("mu", "y")]))
    [['mu'], ['theta'], ['y']]
    """
    order = {name: i for i, name in enumerate(network)}
    parents: dict = {name: set() for name in network}
    for parent, child, attributes in network.edges(data=True):
        if parent != child and not (attributes.get("time") and order[parent] > order[child]):
            parents[child].add(parent)
    depth: dict = {}
    waiting = list(network)
    while waiting:
        ready = [n for n in waiting if all(p in depth for p in parents[n])]
        # Within a cycle the earliest site of the program goes first.
        for name in ready or waiting[:1]:
            depth[name] = max((depth[p] + 1 for p in parents[name] if p in depth), default=0)
        waiting = [n for n in waiting if n not in depth]
    return [[n for n in network if depth[n] == level] for level in sorted(set(depth.values()))]


def _ordered(rows, network):
    """Nodes of each layer by the mean position of their parents, so that fewer edges cross."""
    position: dict = {}
    out = []
    for row in rows:
        above = {n: [position[p] for p in network.predecessors(n) if p in position] for n in row}
        keyed = sorted(row, key=lambda n: sum(above[n]) / len(above[n]) if above[n] else 0.5)
        position |= {n: (i + 0.5) / len(keyed) for i, n in enumerate(keyed)}
        out.append(keyed)
    return out


def _edge(start, end, levels, attributes) -> str:
    (x1, y1), (x2, y2) = start, end
    dash = ' stroke-dasharray="2 3"' if attributes.get("time") else ""
    if levels > 0:
        y1, y2 = y1 + NODE_HEIGHT / 2, y2 - NODE_HEIGHT / 2
    # An edge over several layers bends around the nodes between.
    bend = 0 if levels == 1 else (NODE_WIDTH / 2 + NODE_GAP / 2) * (1 if x1 <= x2 else -1)
    middle = f"{(x1 + x2) / 2 + bend:.0f} {(y1 + y2) / 2:.0f}"
    look = f'fill="none" {_STROKE} stroke-opacity=".55"{dash} marker-end="url(#elboroom-arrow)"'
    path = f'<path d="M{x1:.0f} {y1:.0f}Q{middle} {x2:.0f} {y2:.0f}" {look}>'
    words = [*attributes.get("params", ()), *(f"[{label}]" for label in attributes.get("index", ()))]
    words += [f"({module})" for module in attributes.get("modules", ())]
    return f"{path}<title>{escape(' '.join(words))}</title></path>"


def _node(name, attributes, x, y) -> str:
    role = attributes["role"]
    size = " × ".join(str(n) for n in attributes.get("shape", ()))
    law = attributes.get("distribution") or role
    below = f"{law} [{size}]" if size else law
    plates = ", ".join(attributes.get("plates", ()))
    title = f"{name} ({role})" + (f", plates {plates}" if plates else "")
    shape, text_y = _shape(role, bool(plates), x, y)
    return (
        f"<g><title>{escape(title)}</title>{shape}"
        f'<text x="{x:.0f}" y="{text_y:.0f}" font-size="13" font-weight="600" fill="currentColor">'
        f'{escape(name)}</text><text x="{x:.0f}" y="{text_y + LINE_HEIGHT:.0f}" font-size="10" '
        f'fill="currentColor">{escape(below)}</text></g>'
    )


def _shape(role, in_plate, x, y) -> tuple[str, float]:
    """Outline of a node and the height of its name."""
    if role in {"factor", "data", "module", "learned"}:
        fill = "currentColor" if role == "factor" else "none"
        return (
            f'<rect x="{x - SQUARE / 2:.0f}" y="{y - SQUARE_ABOVE:.0f}" width="{SQUARE}" height="{SQUARE}" '
            f'fill="{fill}" {_STROKE}/>',
            y + 14,
        )
    shade = ".22" if role in {"observed", "fixed"} else "0"
    dash = ' stroke-dasharray="5 4"' if role == "deterministic" else ""
    look = f'fill="currentColor" fill-opacity="{shade}" {_STROKE}{dash}'
    rx, ry = NODE_WIDTH / 2, NODE_HEIGHT / 2
    shape = f'<ellipse cx="{x:.0f}" cy="{y:.0f}" rx="{rx:.0f}" ry="{ry:.0f}" {look}/>'
    if in_plate:
        shape = (
            f'<rect x="{x - rx - PLATE_EDGE:.0f}" y="{y - ry - PLATE_EDGE:.0f}" '
            f'width="{NODE_WIDTH + 2 * PLATE_EDGE}" height="{NODE_HEIGHT + 2 * PLATE_EDGE}" '
            f'rx="10" fill="none" {_STROKE} stroke-opacity=".4"/>{shape}'
        )
    return shape, y - 2
