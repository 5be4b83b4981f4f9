"""What a traced model consists of: its sites, their shapes and axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .constraints import Constraint, Independent
from .errors import DataError, ModelError, ShapeError, SupportError, explain
from .host import pieces
from .thresholds import BYTE, LABELS_SHOWN, QUOTED, ROWS_SHOWN


@dataclass(frozen=True)
class Site:
    """One named quantity of a model.

    Attributes
    ----------
    name : str
    role : {"latent", "discrete", "observed", "predicted", "deterministic", "factor", "fixed"}
    distribution : str
        Name of the distribution; empty for deterministics and factors.
    support : str
        Support in words.
    shape : tuple of int
        Shape of the value, plates and batch axes first, event axes last.
    event_dim : int
    unconstrained_shape : tuple of int
        Shape on the unconstrained scale; empty unless latent.
    plates : tuple of str
        Plates around the site, in the order of its axes.
    dims : tuple of str
        Names of all axes of the value.
    is_discrete : bool
    argument : str or None
        Data argument that holds the value of an observed site.
    constraint : object
        The support as a declaration of ``ppl.constraints``; None where it depends on other values.
    joint : int or None
        Trailing axes whose elements one law draws together: those before them can be more or fewer.
    measure : str
        What the values are: ``"nominal"``, ``"ordinal"``, ``"binary"``, or empty for amounts and counts.
    censored : bool
        Whether values at an end of the support may stand for others beyond it.
    location_scale : bool
        Whether it is a latent site of a location–scale law whose scale the model computes, see `centring`.
    """

    name: str
    role: str
    distribution: str = ""
    support: str = ""
    shape: tuple[int, ...] = ()
    event_dim: int = 0
    unconstrained_shape: tuple[int, ...] = ()
    plates: tuple[str, ...] = ()
    dims: tuple[str, ...] = ()
    is_discrete: bool = False
    argument: str | None = None
    constraint: Any = None
    location_scale: bool = False
    joint: int | None = None
    measure: str = ""
    censored: bool = False

    @property
    def size(self) -> int:
        """Number of unconstrained coordinates."""
        return int(np.prod(self.unconstrained_shape, dtype=int)) if self.role == "latent" else 0


@dataclass(frozen=True)
class ModelTrace:
    """Sites of a model in program order, found without running it on numbers.

    Attributes
    ----------
    sites : tuple of Site
    coords : mapping
        Labels of each named axis.
    weights : mapping
        Initial values of learnable arrays.
    modules : mapping
        Networks, by name: see `elboroom.ppl.modules.Network`.
    demoted : tuple of str
        Data arguments that the model needs as concrete values.
    missing : mapping
        Observed sites with missing values: ``"imputed"``, as the latent site ``"<name>_missing"``, ``"summed"``
        out, as a discrete site of that name, or ``"masked"``, where nothing else depends on them.
    counts : mapping
        Number of values of each discrete latent site, all of which are summed out.
    tied : tuple of str
        Latent sites whose law depends on a discrete one.
    masked : bool
        Whether a law of a NumPyro or Pyro model has a mask by element.
    hidden : mapping
        Which elements of an observed site such a mask takes out of the density.
    repeated : tuple of str
        Observed sites of a NumPyro or Pyro model whose values are repeated to the shape of their law.
    """

    sites: tuple[Site, ...]
    coords: Mapping[str, tuple] = field(default_factory=dict)
    weights: Mapping[str, np.ndarray] = field(default_factory=dict)
    modules: Mapping[str, Any] = field(default_factory=dict)
    demoted: tuple[str, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    tied: tuple[str, ...] = ()
    masked: bool = False
    hidden: Mapping[str, np.ndarray] = field(default_factory=dict)
    repeated: tuple[str, ...] = ()

    def with_tied(self, names) -> ModelTrace:
        """The same trace, knowing which sites are tied: these have no location and scale of their own.

        Parameters
        ----------
        names : iterable of str
            Sites whose law depends on a discrete one.
        """
        sites = tuple(replace(s, location_scale=False) if s.name in names else s for s in self.sites)
        return replace(self, sites=sites, tied=tuple(names))

    def by_role(self, *roles: str) -> tuple[Site, ...]:
        """Sites of the given roles."""
        return tuple(site for site in self.sites if site.role in roles)

    @property
    def latents(self) -> tuple[Site, ...]:
        """Sites with a posterior."""
        return self.by_role("latent")

    def __getitem__(self, name: str) -> Site:
        for site in self.sites:
            if site.name == name:
                return site
        raise KeyError(name)

    @property
    def dim(self) -> int:
        """Number of unconstrained coordinates."""
        return sum(site.size for site in self.latents)


def element_labels(name: str, shape: tuple[int, ...], dims=(), coords=None) -> list[str]:
    """Labels of the scalar elements of a quantity.

    Parameters
    ----------
    name : str
        The quantity.
    shape : tuple of int
        Of its value.
    dims : sequence of str
        Names of its axes.
    coords : mapping, optional
        Axis to labels; axes without are numbered from 0.

    Returns
    -------
    list of str
        In row-major order.

    Examples
    --------
    >>> element_labels("theta", (2,))
    ['theta[0]', 'theta[1]']
    >>> element_labels("mu", ())
    ['mu']
    """
    if not shape:
        return [name]
    axes = []
    for i, size in enumerate(shape):
        labels = (coords or {}).get(dims[i]) if i < len(dims) else None
        axes.append([str(v) for v in labels] if labels is not None and len(labels) == size else range(size))
    return [
        f"{name}[{', '.join(str(axes[i][k]) for i, k in enumerate(index))}]" for index in np.ndindex(*shape)
    ]


def axes(node, shape, event_dim, program):
    """Plates of a recorded site in the order of its axes, and the names of all axes.

    Parameters
    ----------
    node : Node
        The site as it was recorded.
    shape : tuple of int
        Of its value.
    event_dim : int
        Number of trailing axes that are one event.
    program : Program
        Which may name axes itself.

    Returns
    -------
    tuple
        Names of the plates, and of all axes: ``site_dim_i`` where there is no other.
    """
    batch = len(shape) - event_dim
    names = {}
    for plate, dim, size in node.plates:
        axis = batch + dim
        if 0 <= axis < batch and shape[axis] == size:
            names[axis] = plate
    if node.rows and shape:
        names[len(shape) - 1] = node.rows
    given = program.dims.get(node.name)
    dims = tuple(
        given[i] if given is not None and i < len(given) else names.get(i, f"{node.name}_dim_{i}")
        for i in range(len(shape))
    )
    return tuple(names[i] for i in sorted(names)), dims


def check_shape(name, expected, shape, argument):
    """Refuse data whose shape is not that of their distribution.

    Parameters
    ----------
    name : str
        The site.
    expected, shape : tuple of int
        Of its law, and of its data.
    argument : str or None
        Which holds them.

    Raises
    ------
    ShapeError
    """
    where = f"site '{name}'" + (f" (argument '{argument}')" if argument else "")
    try:
        both = np.broadcast_shapes(expected, shape)
    except ValueError:
        both = None
    if both is None or (both != shape and both != expected):
        raise ShapeError(
            explain(
                where,
                f"data of the shape of its distribution, {expected}",
                f"data of shape {shape}",
                "check the plate's size and the rows of the data",
            )
        )


def check_latents(trace: ModelTrace, values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Values for latent sites as arrays of the sites' shapes.

    Parameters
    ----------
    trace : ModelTrace
        The sites of the model.
    values : mapping
        Site name to value, broadcast to the site's shape.

    Returns
    -------
    dict of numpy.ndarray

    Raises
    ------
    ModelError
        If a name is that of no latent site.
    DataError
        If a value is no number.
    ShapeError, SupportError
        If it has another shape than its site, or lies outside its support.
    """
    known = {site.name: site for site in trace.latents}
    found = {}
    for name, value in values.items():
        if name not in known:
            raise ModelError(
                explain(f"site '{name}'", f"one of {sorted(known)}", "an unknown name", "check it")
            )
        site = known[name]
        array = _of_shape(name, value, site.shape)
        check = getattr(site.constraint, "check", None)
        if check is not None and not np.all(check(array)):
            want = f"a value in its support ({site.support})"
            raise SupportError(explain(f"site '{name}'", want, f"{array}", "correct it"))
        found[name] = np.array(array)
    return found


def _of_shape(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        got = f"{value!r}"[:QUOTED]
        raise DataError(explain(f"site '{name}'", "numbers", got, "pass its value")) from None
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise ShapeError(
            explain(f"site '{name}'", f"shape {shape}", f"{array.shape}", "reshape it")
        ) from None


NOMINAL = frozenset({"Categorical", "MarkovChain"})  # the order of their values means nothing
ORDINAL = frozenset({"OrderedLogistic", "OrderedProbit", "Bernoulli"})


def check_labels(where, leaf, distribution):
    """Refuse labels for a law of numbers, and labels without a stated order for one of ordered values.

    Parameters
    ----------
    where : str
        What messages call them.
    leaf : Argument
        The labels.
    distribution : str
        Name of the law.

    Raises
    ------
    DataError
        Saying what to pass.
    """
    shown = list(leaf.labels[:LABELS_SHOWN])
    if distribution in NOMINAL or (distribution in ORDINAL and leaf.ordered):
        return
    if distribution in ORDINAL:
        remedy = "pass pd.Categorical(y, categories=[lowest, …, highest], ordered=True)"
        if distribution == "Bernoulli":
            remedy = f"pass 0 and 1: y == {leaf.labels[-1]!r}"
        got = f"labels {shown}, whose order nobody stated"
        raise DataError(explain(where, f"ordered values for {distribution}", got, remedy))
    raise DataError(explain(where, f"numbers for {distribution}", f"labels {shown}", "pass numeric data"))


def check_support(name, argument, constraint, leaf, distribution):
    """Refuse data outside the support; missing values pass.

    Parameters
    ----------
    name, argument : str
        The observed site, and the argument that holds its value.
    constraint : object
        The support, as a declaration or as the backend has it.
    leaf : Argument
        The data.
    distribution : str
        Name of the law.

    Raises
    ------
    SupportError
        Naming values and rows.
    DataError
        For labels, see `check_labels`.
    """
    where = f"site '{name}' (argument '{argument}')"
    if leaf.labels is not None:
        check_labels(where, leaf, distribution)
    if getattr(constraint, "check", None) is None:
        return
    try:
        rows, values, count = _outside(constraint, leaf.value)
    except (NotImplementedError, TypeError):
        return
    if not count:
        return
    raise SupportError(
        explain(
            where,
            f"values in the support of {distribution} ({getattr(constraint, 'name', constraint)})",
            f"{values} in rows {rows}{'…' if count > ROWS_SHOWN else ''} ({count} in all)",
            _remedy(distribution, argument, leaf.value),
        )
    )


def _remedy(distribution: str, argument: str, value: np.ndarray) -> str:
    """What to do about values outside of a support: of grey values under a law of 0 and 1 what they are."""
    if distribution == "Bernoulli" and np.fmin.reduce(value, axis=None) >= 0:
        largest = np.fmax.reduce(value, axis=None)
        if largest <= 1:
            return f"grey values have er.ContinuousBernoulli; or make them 0 and 1: {argument} > 0.5"
        if largest <= BYTE:
            scaled = f"{argument} / {BYTE}"
            return f"scale grey values to shares ({scaled}) for er.ContinuousBernoulli, or make them 0 and 1: {scaled} > 0.5"
    return "correct those rows or choose another likelihood"


def _outside(constraint: Any, value: np.ndarray) -> tuple[list[int], list, int]:
    """The first rows outside of a constraint with their values, and how many values are in all; missing ones pass."""
    if isinstance(constraint, Independent):  # element by element
        constraint = constraint.base
    rows: list[int] = []
    values: list = []
    start = count = 0
    for piece in pieces(value) if mapped_by_rows(constraint, value) else [value]:
        host = np.asarray(piece)
        ok = np.asarray(constraint.check(host), dtype=bool)
        missing = host != host  # dealt with elsewhere
        ok |= missing.any(tuple(range(ok.ndim, host.ndim)))
        bad = np.argwhere(~ok)
        for b in bad[: ROWS_SHOWN - len(values)]:
            values.append(host[tuple(b)].tolist())
            rows += [start + int(b[0])] if len(b) else []
        start, count = start + (len(host) if host.ndim else 0), count + int((~ok).sum())
    return rows, values, count


def mapped_by_rows(constraint: Any, value: np.ndarray) -> bool:
    """Whether a value is a memory map whose rows can be looked at some at a time: no bounds of their own, no part of an event."""
    if not isinstance(value, np.memmap):
        return False
    bounds = vars(constraint).values() if isinstance(constraint, Constraint) else [()]
    return value.ndim > constraint.event_dim and not any(isinstance(bound, tuple) for bound in bounds)
