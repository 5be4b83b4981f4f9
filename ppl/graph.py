"""``ModelGraph``: who depends on whom, found from the computation and not from names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from .draw import svg

_COUPLING_WORDS = ("simplex", "ordered", "cholesky", "corr", "definite", "sphere", "zero sum")


class AxisAccess(NamedTuple):
    """How a value sees one axis of a source.

    Attributes
    ----------
    how : {"aligned", "gathered", "selected", "summed", "mixed"}
        ``"aligned"``: position i of `axis` sees element i only. ``"gathered"``: each position sees one
        element, through the data argument `label`. ``"selected"``: each position sees one element by
        another fixed map (a slice, a reshape, several indices). ``"summed"``: a sum of terms that see one
        element each. ``"mixed"``: anything else.
    axis : int or None
        Axis of the value along which the element changes; None where it is fixed or changes along several.
    label : str or None
        Data argument that a gather goes through.
    """

    how: str
    axis: int | None = None
    label: str | None = None


@dataclass(frozen=True)
class Access:
    """How a source reaches a value.

    Attributes
    ----------
    kind : {"latent", "data", "learned"}
    axes : tuple of AxisAccess
        One per axis of the source; empty for a scalar.
    time : bool
        Whether some of it comes from an earlier step of a loop, through the carry.
    index : tuple of str
        All data arguments that the source is indexed by.
    modules : tuple of str
        Networks that some of it comes through.
    """

    kind: str
    axes: tuple[AxisAccess, ...] = ()
    time: bool = False
    index: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()


@dataclass(frozen=True)
class IndexProblem:
    """An index array that reaches outside the axis that it indexes.

    Attributes
    ----------
    label : str
        The data argument that the index comes from; empty for a constant of the model.
    size : int
        Size of the axis.
    rows, values : tuple of int
        Positions along the first axis of the index array, and the indices there.
    one_based : bool
        Whether the indices look counted from one: none below one, and the largest equal to `size`.
    """

    label: str
    size: int
    rows: tuple[int, ...]
    values: tuple[int, ...]
    one_based: bool


AccessTable = Mapping[str, Mapping[str, Mapping[str, Access]]]
"""Node to part (``"log_prob"``, a parameter, ``"value"``) to source to access."""


class ModelGraph:
    """Graph of a model, over a ``networkx.DiGraph``; draws itself in Jupyter.

    Attributes
    ----------
    nodes : dict
        Site name, in program order, to ``role, distribution, support, shape, event_dim, plates, dims,
        likelihood, independent``.
    links : dict
        ``(parent, child)`` to ``params`` (which parameters the parent enters), ``index`` (through which
        data arguments), ``modules`` (through which networks) and ``time`` (whether through the carry of a loop). Parents are latent sites:
        deterministic sites are leaves, and what uses their value depends on the sites behind it. A link of
        a site to itself is its own earlier step.
    data : dict
        ``(argument, child)`` to the same, for data arguments.
    learned : dict
        ``(name, child)`` to the same, for arrays of `elboroom.param` and networks of `elboroom.module`, with their ``role``:
        ``"learned"`` or ``"module"``.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def groups(county, y):
    ...     mu = er.sample("mu", er.Normal(0, 1))
    ...     with er.plate("county", er.levels(county)):
    ...         alpha = er.sample("alpha", er.Normal(mu, 1.0))
    ...     with er.plate("row", len(y)):
    ...         er.observe("y", er.Normal(alpha[county], 1.0), y)
    >>> graph = groups(["b", "a", "b"], [1.0, 2.0, 3.0]).graph()
    >>> graph
    mu ~ Normal [latent]
    alpha ~ Normal [latent] ← mu
    y ~ Normal [observed] ← alpha[county]
    >>> graph.globals, graph.locals
    (('mu',), ('alpha',))

    Networks are named where a parent reaches a site through them.

    >>> @er.model
    ... def decoder(x):
    ...     decode = er.module("decode", er.nn.MLP(2, [8], x.shape[1]))
    ...     noise = er.param("log_noise", 0.0)
    ...     with er.plate("row", len(x)):
    ...         z = er.sample("z", er.Normal([0.0, 0.0], 1.0).to_event(1))
    ...         er.observe("x", er.Normal(decode(z), er.math.exp(noise)).to_event(1), x)
    >>> import numpy as np
    >>> decoder(np.zeros((4, 3))).graph()
    decode [module]
    log_noise [learned]
    z ~ Normal [latent]
    x ~ Normal [observed] ← z (decode), log_noise
    """

    def __init__(self, nodes: dict, links: dict, data: dict | None = None, learned: dict | None = None):
        self.nodes, self.links, self.data, self.learned = nodes, links, data or {}, learned or {}

    @classmethod
    def of(
        cls,
        sites: Iterable[Any],
        access: AccessTable,
        independent: Mapping[str, tuple[int, ...]] | None = None,
        learned: AccessTable | None = None,
        modules: Iterable[str] = (),
    ) -> ModelGraph:
        """Build from sites and from what reaches each of their parts.

        Parameters
        ----------
        sites : iterable of Site
            In program order.
        access : mapping
            Node to part to source to `Access`.
        independent : mapping of str to tuple of int, optional
            Independent axes per latent site; found by `independent_axes` where not given.
        learned : mapping, optional
            Node to part to learned array to `Access`.
        modules : iterable of str
            Names of the networks, whose arrays are ``"name.array"``.

        Returns
        -------
        ModelGraph

        Examples
        --------
        >>> from elboroom.ppl.sites import Site
        >>> sites = [Site("mu", "latent", "Normal"), Site("theta", "latent", "Normal", shape=(8,))]
        >>> mu, each = Access("latent"), Access("latent", (AxisAccess("aligned", 0),))
        >>> parts = {"loc": {"mu": mu}, "log_prob": {"mu": mu, "theta": each}}
        >>> graph = ModelGraph.of(sites, {"theta": parts})
        >>> graph.parents("theta"), graph.locals, graph.globals
        (('mu',), ('theta',), ('mu',))
        """
        nodes: dict = {}
        links: dict = {}
        data: dict = {}
        taught: dict = {}
        modules = set(modules)
        sites = tuple(sites)
        discrete = {site.name for site in sites if site.role == "discrete"}
        for site in sites:
            parts = access.get(site.name, {})
            if independent is not None:
                axes = tuple(independent.get(site.name, ()))
            else:
                axes = independent_axes(site, access, discrete) if site.role == "latent" else ()
            nodes[site.name] = dict(
                role=site.role,
                distribution=site.distribution,
                support=site.support,
                shape=site.shape,
                event_dim=site.event_dim,
                plates=site.plates,
                dims=site.dims,
                likelihood=_is_likelihood(site, parts),
                independent=axes,
            )
            links |= {(source, site.name): link for source, link in _links(site, parts, "latent").items()}
            data |= {(source, site.name): link for source, link in _links(site, parts, "data").items()}
            through = _through(parts, (learned or {}).get(site.name, {}), modules)
            taught |= {(source, site.name): link for source, link in through.items()}
        return cls(nodes, links, data, taught)

    @property
    def network(self) -> Any:
        """The graph as a ``networkx.DiGraph``."""
        return self._network()

    def _network(self, show_data: bool = False, show_learned: bool = False):
        import networkx as nx

        network, links = nx.DiGraph(), self.links
        if show_data:
            network.add_nodes_from(dict.fromkeys(label for label, _ in self.data), role="data")
            links = {**self.data, **links}
        if show_learned:
            shown = {(_apart(name, self.nodes), child): link for (name, child), link in self.learned.items()}
            for (name, _), link in shown.items():
                network.add_node(name, role=link["role"])
            links = {**shown, **links}
        for name, attributes in self.nodes.items():
            network.add_node(name, **attributes)
        for (parent, child), attributes in links.items():
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
        """Latent sites that a site depends on, in program order."""
        return tuple(parent for parent in self.nodes if (parent, name) in self.links)

    @property
    def uninformed(self) -> tuple[str, ...]:
        """Latent sites that no data reach: neither they nor any site above them have an outcome below."""
        informing = self._above(name for name, node in self.nodes.items() if node["likelihood"])
        return tuple(
            name
            for name, node in self.nodes.items()
            if node["role"] == "latent" and informing.isdisjoint(self._above([name]))
        )

    def _above(self, names: Iterable[str]) -> set[str]:
        """These sites and all that they depend on, at any remove."""
        parents: dict[str, set[str]] = defaultdict(set)
        for parent, child in self.links:
            parents[child].add(parent)
        found: set[str] = set()
        left = set(names)
        while left:
            found |= left
            left = set().union(*(parents[name] for name in left)) - found
        return found

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
        lines = [f"{name} [{role}]" for name, role in self._taught().items()]
        for name, a in self.nodes.items():
            found = [_words(p, self.links[p, name]) for p in self.parents(name)]
            said = {module for p in self.parents(name) for module in self.links[p, name]["modules"]}
            alone = [other for other, child in self.learned if child == name and other not in said]
            parents = ", ".join(found + alone)
            law = f" ~ {a['distribution']}" if a["distribution"] else ""
            lines.append(f"{name}{law} [{a['role']}]" + (f" ← {parents}" if parents else ""))
        return "\n".join(lines)

    def _taught(self) -> dict[str, str]:
        """Networks and learned arrays, with which of the two they are."""
        roles = {name: link["role"] for (name, _), link in self.learned.items()}
        return dict(sorted(roles.items(), key=lambda one: one[1] != "module"))

    def svg(self, show_data: bool = False) -> str:
        """A self-contained drawing.

        Parameters
        ----------
        show_data : bool
            Whether data arguments are drawn too, as small nodes.

        Returns
        -------
        str
            One ``<svg>`` element; colours follow the text of the page.
        """
        return svg(self._network(show_data, show_learned=True))

    def _repr_svg_(self) -> str:
        return self.svg()

    def _repr_html_(self) -> str:
        return self.svg()


def independent_axes(site: Any, access: AccessTable, discrete: Iterable[str] = ()) -> tuple[int, ...]:
    """Axes of a latent site over whose elements the joint density factorises, given the other sites.

    An axis qualifies where every density is a product of factors that see one element of it each. An axis
    of size one never does, nor one that the support itself couples (a simplex, an ordered vector), nor one of
    a site that meets a `discrete` site in a density: summing that out may couple its elements.

    Parameters
    ----------
    site : Site
        The latent site.
    access : mapping
        Node to part to source to `Access`.
    discrete : iterable of str
        Names of sites that are summed out.

    Returns
    -------
    tuple of int

    Notes
    -----
    The statement is about this site given *all* others: two sites whose elements are coupled with each
    other across positions can both qualify.
    """
    free = len(site.shape) - _coupled_axes(site)
    good = {i for i, size in enumerate(site.shape) if size > 1 and i < free}
    for parts in access.values():
        density = parts.get("log_prob", {})
        how = density.get(site.name)
        if how is not None and not density.keys().isdisjoint(discrete):
            return ()
        if how is not None and how.kind == "latent":
            good &= {i for i, axis in enumerate(how.axes) if axis[0] != "mixed"}
    return tuple(sorted(good))


def _coupled_axes(site) -> int:
    """Number of trailing axes that the support makes one event."""
    constraint = getattr(site, "constraint", None)
    if constraint is None:
        words = site.support.replace("_", " ")
        return site.event_dim if any(word in words for word in _COUPLING_WORDS) else 0
    while hasattr(constraint, "base"):
        constraint = constraint.base
    return 0 if constraint.name == "real_vector" else constraint.event_dim


def _is_likelihood(site, parts) -> bool:
    if site.role != "factor":
        return site.role == "observed"
    return any(a.kind == "data" for part in parts.values() for a in part.values())


def _links(site, parts, kind: str) -> dict[str, dict[str, Any]]:
    """Sources of a kind that reach a site, with the attributes of their links."""
    found: dict[str, dict[str, Any]] = {}
    for part, sources in parts.items():
        for source, how in sources.items():
            # A site's own value is in its density; only its earlier steps are a parent.
            own = kind == "latent" and source == site.name and (part == "log_prob" or not how.time)
            if how.kind != kind or own:
                continue
            _add(found.setdefault(source, _nothing()), part, how)
    return found


def _apart(name: str, nodes: Mapping[str, Any]) -> str:
    """The name of a network, told from that of a site."""
    return f"{name} ()" if name in nodes else name


def _nothing() -> dict[str, Any]:
    return {"params": (), "index": (), "modules": (), "time": False}


def _add(link: dict[str, Any], part: str, how: Access) -> None:
    """Count one more way in which a source reaches a site."""
    if part not in {"log_prob", "value"}:
        link["params"] = tuple(sorted({*link["params"], part}))
    link["index"] = tuple(sorted({*link["index"], *how.index}))
    link["modules"] = tuple(sorted({*link["modules"], *how.modules}))
    link["time"] = link["time"] or how.time


def _through(parts, learned, modules: set[str]) -> dict[str, dict[str, Any]]:
    """Networks and learned arrays that reach a site, with the attributes of their links."""
    found: dict[str, dict[str, Any]] = {}
    for part in parts:
        for name, how in [*parts[part].items(), *learned.get(part, {}).items()]:
            home, sources = (
                name.partition(".")[0],
                {module: Access(how.kind, time=how.time) for module in how.modules},
            )
            if how.kind == "learned":
                sources |= {home: Access("learned", time=how.time)} if home in modules else {name: how}
            for source, access in sources.items():
                role = "module" if source in how.modules or source in modules else "learned"
                _add(found.setdefault(source, {"role": role, **_nothing()}), part, access)
    return found


def _words(parent: str, link) -> str:
    """A parent as it stands in the text of a graph: ``alpha[county]``, ``sigma (earlier)``, ``z (decode)``."""
    index = f"[{', '.join(link['index'])}]" if link["index"] else ""
    words = [module for module in link["modules"] if not parent.startswith(f"{module}.")]
    words += ["earlier"] if link["time"] else []
    return f"{parent}{index}" + (f" ({', '.join(words)})" if words else "")
