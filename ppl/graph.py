"""``ModelGraph``: who depends on whom, found from the computation and not from names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .sites import Site


@dataclass(frozen=True)
class Access:
    """How a value reaches a node.

    Attributes
    ----------
    kind : {"latent", "data"}
    axes : tuple of (state, axis, index)
        Per axis of the source: ``"aligned"`` with an axis of the node, ``"gathered"`` into one through an
        index argument, ``"summed"`` over in terms of one element each, or ``"mixed"``.
    """

    kind: str
    axes: tuple[tuple[str, int | None, str | None], ...]


class ModelGraph:
    """Graph of a model, over a ``networkx.DiGraph``.

    Attributes
    ----------
    nodes : dict
        Site name to ``role, distribution, support, shape, event_dim, plates, dims, likelihood,
        independent``.
    links : dict
        ``(parent, child)`` to ``params`` (which parameters the parent enters) and ``index`` (through which
        argument).
    """

    def __init__(self, nodes: dict, links: dict):
        self.nodes, self.links = nodes, links

    @classmethod
    def of(
        cls, sites: Sequence[Site], access: Mapping[str, Mapping[str, Mapping[str, Access]]]
    ) -> ModelGraph:
        """Build from sites and from what reaches each of their parts."""
        nodes, links = {}, {}
        for site in sites:
            parts = access.get(site.name, {})
            data = any(a.kind == "data" for part in parts.values() for a in part.values())
            nodes[site.name] = dict(
                role=site.role,
                distribution=site.distribution,
                support=site.support,
                shape=site.shape,
                event_dim=site.event_dim,
                plates=site.plates,
                dims=site.dims,
                likelihood=site.role == "observed" or (site.role == "factor" and data),
                independent=independent_axes(site, access) if site.role == "latent" else (),
            )
            found: dict[str, tuple[set, set]] = {}
            for part, sources in parts.items():
                for source, how in sources.items():
                    if how.kind != "latent" or source == site.name:
                        continue
                    params, index = found.setdefault(source, (set(), set()))
                    if part != "log_prob":
                        params.add(part)
                    index.update(label for _, _, label in how.axes if label)
            for source, (params, index) in found.items():
                links[source, site.name] = dict(params=tuple(sorted(params)), index=tuple(sorted(index)))
        return cls(nodes, links)

    @property
    def network(self) -> Any:
        """The graph as a ``networkx.DiGraph``."""
        import networkx as nx

        network = nx.DiGraph()
        for name, attributes in self.nodes.items():
            network.add_node(name, **attributes)
        for (parent, child), attributes in self.links.items():
            network.add_edge(parent, child, **attributes)
        return network

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of all sites in program order."""
        return tuple(self.nodes)

    @property
    def edges(self) -> set[tuple[str, str]]:
        """Pairs of parent and child."""
        return set(self.links)

    def parents(self, name: str) -> tuple[str, ...]:
        """Sites that `name` depends on."""
        return tuple(parent for parent, child in self.links if child == name)

    @property
    def locals(self) -> tuple[str, ...]:
        """Latent sites in a plate, or with an axis of elements independent given the rest."""
        return tuple(
            n for n, a in self.nodes.items() if a["role"] == "latent" and (a["plates"] or a["independent"])
        )

    @property
    def globals(self) -> tuple[str, ...]:
        """Latent sites that are not local."""
        local = set(self.locals)
        return tuple(n for n, a in self.nodes.items() if a["role"] == "latent" and n not in local)

    def __repr__(self) -> str:
        lines = []
        for name, a in self.nodes.items():
            parents = ", ".join(self.parents(name))
            law = f" ~ {a['distribution']}" if a["distribution"] else ""
            lines.append(f"{name}{law} [{a['role']}]" + (f" ← {parents}" if parents else ""))
        return "\n".join(lines)

    def _repr_svg_(self) -> str:
        from .draw import svg

        return svg(self.network)

    def _repr_html_(self) -> str:
        return self._repr_svg_()


def independent_axes(site: Site, access) -> tuple[int, ...]:
    """Axes of a latent site over whose elements the joint density factorises, given the other sites."""
    good = set(range(len(site.shape)))
    for parts in access.values():
        how = parts.get("log_prob", {}).get(site.name)
        if how is not None:
            good &= {i for i, axis in enumerate(how.axes) if axis[0] != "mixed"}
    return tuple(sorted(i for i in good if site.shape[i] > 1))
