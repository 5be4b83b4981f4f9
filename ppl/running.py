"""What every backend does alike while it runs a model: what is recorded, how plates and discrete sites work.

A backend adds the arrays: how a site is announced to its library, and what a value is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import math
from .columns import no_dates, rows_of
from .data import Levels, holes
from .distributions.base import Distribution, Origin
from .distributions.chain import MarkovChain, log_probs
from .enumeration import IMPOSSIBLE, Discrete
from .errors import DataError, DuplicateSiteError, ModelError, ShapeError, UnsupportedError, explain

MANY_GROUPS, SPARSE = 1000, 10
"""Codes with a zero among them that leave so many groups, and nine in ten of all, without a row may be identifiers."""


@dataclass
class Node:
    """A recorded site."""

    name: str
    role: str
    fn: Any = None
    value: Any = None
    scale: Any = None
    plates: tuple = ()
    rows: str | None = None
    source: Any = None
    holes: Any = None
    term: Any = None

    @property
    def log_prob(self):
        """Log density per batch element, scaled."""
        value = self.fn.log_prob(self.value) if self.term is None else self.term
        return value if self.scale is None else self.scale * value


@dataclass
class Record:
    """Sites of one run, in program order."""

    nodes: dict[str, Node] = field(default_factory=dict)
    coords: dict[str, tuple] = field(default_factory=dict)
    weights: dict[str, Any] = field(default_factory=dict)
    discrete: list[Discrete] = field(default_factory=list)

    def add(self, node: Node, extra: Mapping[str, Any]) -> None:
        """Record a site, its density times the `extra` scale of the plates around it.

        Raises
        ------
        DuplicateSiteError
        """
        if node.name in self.nodes:
            raise DuplicateSiteError(
                explain(
                    f"site '{node.name}'",
                    "a name used once",
                    "a second site of the same name",
                    "rename one of the two",
                )
            )
        for plate, dim, _ in node.plates:
            if plate in extra:
                own = extra[plate]
                if getattr(own, "ndim", 0):  # one per element of the plate, along its axis
                    own = own.reshape(-1, *[1] * (-dim - 1))
                node.scale = own if node.scale is None else node.scale * own
        self.nodes[node.name] = node

    def name_for_missing(self, name: str) -> str:
        """Name of the latent site that holds the missing values of an observed one."""
        site = f"{name}_missing"
        if site in self.nodes:
            raise DuplicateSiteError(
                explain(
                    f"site '{site}'", "a name left to the missing values", "a site of that name", "rename it"
                )
            )
        return site


def weighed(site, value, scale):
    """A term per element of a site, times the scale of its plates: one number each, or one per element."""
    for plate in site.plates if scale else ():
        if plate in scale and plate in site.dims:
            extra, axis = scale[plate], site.dims.index(plate)
            value = value * (extra.reshape(-1, *[1] * (value.ndim - axis - 1)) if extra.ndim else extra)
    return value


def is_discrete(fn) -> bool:
    """Whether values are counts or codes."""
    return bool(getattr(fn.support, "is_discrete", False))


def is_chain(fn) -> MarkovChain | None:
    """The declaration of a Markov chain, or None."""
    while hasattr(fn, "base_dist"):
        fn = fn.base_dist
    declared = getattr(fn, "declared", None)
    return declared if isinstance(declared, MarkovChain) else None


def count_values(fn) -> int:
    """Number of values of a discrete law."""
    chain = is_chain(fn)
    return chain.num_values if chain else len(fn.enumerate_support(expand=False))


def _check_finite(name, fn):
    if is_chain(fn) is None and not (fn.has_enumerate_support and len(fn.event_shape) == 0):
        raise ModelError(
            explain(
                f"site '{name}'",
                "a continuous latent quantity, or a discrete one with a few single values",
                f"a discrete one ({type(fn).__name__}) that cannot be summed out",
                "state an upper bound, as in er.Truncated(er.Poisson(rate), high=100); or use Categorical, Bernoulli, Binomial, "
                "DiscreteUniform or MarkovChain",
            )
        )


class Deciding:
    """Values of sites without data. A subclass holds the settings and the two conversions below."""

    latent: Callable[..., Any]
    predict: Callable[..., Any] | None
    record: Record
    fixed: Mapping[str, Any]
    intervened: Mapping[str, Any]
    tilts: Mapping[str, Any]
    num_batch: int | None

    def constant(self, value, at=None):
        """A NumPy array as a value of the model, or one element of it."""
        return value

    def codes(self, value):
        """Values of a discrete site as an array of whole numbers."""
        raise NotImplementedError

    def probe(self, fn):
        """A value inside the support, without sampling."""
        raise NotImplementedError

    def value_of(self, name, fn, at=None):
        """Value and role of a site without data; of its element `at` where a loop of the model takes one at a time."""
        for given, role in ((self.intervened, "intervened"), (self.fixed, "fixed")):
            if name in given:
                return self.constant(given[name], at), role
        if is_discrete(fn):
            if at is not None:
                raise UnsupportedError(
                    explain(
                        f"site '{name}' in a scan",
                        "a continuous latent quantity",
                        f"a discrete one ({type(fn).__name__}), which depends on the step before",
                        "write the chain with er.MarkovChain, or sum it out in the step with logsumexp and a factor",
                    )
                )
            return self.predict(name, fn) if self.predict else self.enumerate(name, fn), "discrete"
        try:
            return self.latent(name, fn) if at is None else self.latent(name, fn, at), "latent"
        except KeyError as error:
            if error.args != (name,):
                raise
            words = "a site that every run of the model declares"
            remedy = (
                "names and the course of a model must not be random, nor depend on what changes between runs"
            )
            raise ModelError(
                explain(f"site '{name}'", words, "one that an earlier run had not", remedy)
            ) from None

    def own_shape(self, fn) -> tuple[int, ...]:
        """Batch axes of one value: without those of discrete sites that its law depends on."""
        batch = tuple(fn.batch_shape)
        return batch if self.num_batch is None else batch[max(len(batch) - self.num_batch, 0) :]

    def enumerate(self, name, fn):
        """All values of a discrete site, on an axis of their own."""
        _check_finite(name, fn)
        chain = is_chain(fn)
        if self.num_batch is None:  # the largest value, so that what it bounds may be any
            largest = 0 if chain else self.codes(fn.enumerate_support(expand=False)).reshape(-1)[-1]
            return 0 * self.probe(fn) + largest
        values = np.arange(chain.num_values) if chain else fn.enumerate_support(expand=False)
        values = self.codes(values).reshape(-1)
        position, count = len(self.record.discrete), len(values)
        if chain and len(chain.batch_shape) >= self.num_batch:
            raise ShapeError(
                explain(
                    f"site '{name}', a MarkovChain",
                    "probabilities that depend on no other discrete site",
                    f"chains of shape {tuple(chain.batch_shape)}",
                    "write the states of both as one chain",
                )
            )
        batch = tuple(fn.batch_shape) + ((chain.num_steps,) if chain else ())
        batch = batch[len(batch) - min(self.num_batch, len(batch)) :]
        move = log_probs(chain.transition_probs) if chain else None
        self.record.discrete.append(Discrete(name, position, count, batch, move))
        return values.reshape((count,) + (1,) * (position + self.num_batch))

    def term(self, name, fn):
        """Log density of every value of a discrete site that is being summed out; None for another."""
        site = next((d for d in self.record.discrete if d.name == name), None)
        if site is None:
            return None
        lead = (site.count,) + (1,) * site.position
        shape = lead + (1,) * (self.num_batch - len(site.batch_shape)) + tuple(site.batch_shape)
        if site.transition is not None:
            first = math.moveaxis(log_probs(is_chain(fn).initial_probs), -1, 0)
            own = tuple(np.shape(first))[1:]
            first = math.reshape(first, lead + (1,) * (self.num_batch - 1 - len(own)) + own + (1,))
            term = math.broadcast_to(math.where(np.arange(shape[-1]) == 0, first, 0.0), shape)
        else:
            term = fn.log_prob(fn.enumerate_support(expand=False).reshape(lead + (1,) * self.num_batch))
        tilt = self.tilts.get(name)
        return term if tilt is None else term + tilt.reshape(shape)


def evident(term, codes, where, value):
    """The log densities of every value of a discrete site some of whose elements are known: these have one value."""
    return math.where(where | (codes == value), term, IMPOSSIBLE)


def check_value(site, value) -> None:
    """Refuse a value whose support is another for each value of a discrete site.

    Raises
    ------
    UnsupportedError
    """
    if tuple(np.shape(value)) != site.shape:
        raise UnsupportedError(
            explain(
                f"site '{site.name}'",
                "a support that does not depend on a discrete site",
                "one for each value of it",
                "declare one continuous site per value, and choose between them by indexing",
            )
        )


class GroupsFound(Exception):
    """The whole numbers of an argument are identifiers of groups, whose levels the model asks for."""

    def __init__(self, label: str):
        super().__init__(label)
        self.label = label


def _no_groups(label: str, host: np.ndarray) -> str:
    missing = np.isnan(host) if host.dtype.kind == "f" else np.zeros(host.shape, dtype=bool)
    got = f"missing ones in rows {rows_of(missing)}" if missing.any() else f"values of type {host.dtype}"
    if host.dtype.kind == "M":
        return explain(f"argument '{label}'", "groups", "dates", f"name them: {label}.astype(str)")
    remedy = "drop those rows" if missing.any() else "convert them with .astype(int) or .astype('category')"
    return explain(f"argument '{label}'", "groups: strings, a category or whole numbers", got, remedy)


def _sparse_codes(label: str, host: np.ndarray, count: int) -> str:
    return explain(
        f"argument '{label}'",
        "zero-based codes of groups, or identifiers",
        f"{len(np.unique(host))} different numbers from 0 to {count - 1}, which could be both",
        f"make identifiers labels with .astype(str).astype('category'), or give {count} as the plate's size",
    )


def _reshaping(shape, expected, columns) -> str:
    """What to do about data of one shape where another is expected."""
    if shape[-1:] == (1,) and len(shape) == 2:
        return f"drop the axis of one: {columns}, or df['y'] in place of df[['y']]"
    if len(expected) > len(shape) and expected[-1:] == shape[-1:]:
        return f"drop axes of one from covariates ({columns}), or declare a plate for the other axis"
    return f"make the shapes of covariates, plates and data agree ({columns} drops an axis of one)"


MOVES = 8  # indexing and reshaping between a latent quantity and a parameter that are looked through


class Plates:
    """The words that are the same everywhere: ``plate`` and ``levels``, and the checks of a declaration."""

    def __init__(self, run, program, leaves: Mapping[str, Any]):
        self.run, self.record, self.sizes = run, run.record, run.sizes
        self.program, self.leaves = program, leaves
        self.axes = {d: v for leaf in program.leaves.values() for d, v in leaf.dims.items() if v}
        self.plates: list[tuple[str, int]] = []
        self.latents: list[tuple[Any, Origin]] = []

    def noted(self, name: str, distribution, value) -> None:
        """A latent quantity has been declared."""
        if isinstance(distribution, Distribution):
            words = f"the latent '{name}' ({type(distribution).__name__})"
            self.latents.append((value, Origin(words, support=distribution.support)))

    def origin(self, value) -> Origin | None:
        """Which argument or latent quantity a value is."""
        label = self._argument(value)
        if label is not None:
            return Origin(f"argument '{label}'", value=self.program.leaves[label].value)
        for _ in range(MOVES):
            for known, origin in self.latents:
                if known is value:
                    return origin
            value = self.moved_from(value)
        return None

    def moved_from(self, value):
        """The array whose elements a value has, some of them or in another order or shape; None where that is not known."""
        return None

    def opened(self, name: str, size: int) -> AbstractContextManager:
        """The plate of the backend's library, where it has one."""
        return nullcontext()

    def missing(self, name, source) -> tuple[np.ndarray | None, bool]:
        """Where the data of a site are missing, and whether they are imputed."""
        for label, leaf in self.leaves.items():
            if leaf is source:
                return holes(self.program.leaves[label].value), name in (self.program.imputed or ())
        return None, False

    def levels(self, codes):
        label = self._argument(codes)
        if label is None:
            raise ModelError(
                explain(
                    "er.levels",
                    "a data argument of the model (strings, a category, identifiers or zero-based codes)",
                    f"{type(codes).__name__}",
                    "call it on the argument itself, before computing with it",
                )
            )
        known, least = self.program.leaves[label], self.program.level_counts.get(label)
        if known.labels is not None:
            return Levels(len(known.labels) if least is None else least, known.labels)
        host = np.asarray(known.value)
        if host.dtype.kind not in "iu":
            raise DataError(_no_groups(label, host))
        if least is None and host.size and host.min() != 0:
            raise GroupsFound(label)
        count = max(int(host.max()) + 1, least or 0)
        if least is None and count > max(MANY_GROUPS, SPARSE * len(np.unique(host))):
            raise DataError(_sparse_codes(label, host, count))
        return Levels(count)

    def _argument(self, value) -> str | None:
        """The data argument that a value is."""
        return next((label for label, leaf in self.leaves.items() if leaf is value), None)

    def _labels(self, coords) -> tuple:
        """The labels that `coords` stands for: an argument of the model as the user gave it."""
        label = self._argument(coords)
        if label is None:
            return tuple(coords)
        leaf = self.program.leaves[label]
        values = np.asarray(leaf.value).tolist() if leaf.value.dtype.kind != "M" else list(leaf.value)
        return tuple(values if leaf.labels is None else (leaf.labels[code] for code in values))

    @contextmanager
    def plate(self, name, size, coords):
        labels = getattr(size, "labels", None) or self.axes.get(name)
        labels = labels if coords is None else self._labels(coords)
        try:
            if isinstance(size, (bool, float, np.floating, np.bool_, str)) or size is None:
                raise ValueError(repr(size))
            count = self.sizes.get(name, int(size))
        except Exception as error:
            raise ShapeError(
                explain(
                    f"plate '{name}'",
                    "a whole number known before compilation",
                    f"{size!r}, {type(size).__name__}"[:80],
                    "use len(column), er.levels(codes) or an integer argument",
                )
            ) from error
        if count < 1:
            raise ShapeError(
                explain(f"plate '{name}'", "at least one element", f"size {count}", "give it data")
            )
        if labels is not None and len(labels) != count:
            if coords is not None and not self.program.resized and name not in self.sizes:
                raise ShapeError(
                    explain(
                        f"plate '{name}'",
                        f"{count} labels",
                        f"{len(labels)} in coords",
                        "give as many labels as elements",
                    )
                )
            labels = None
        if labels:
            self.record.coords[name] = tuple(labels)
        if any(name == open_name for open_name, _ in self.plates):
            raise DuplicateSiteError(
                explain(f"plate '{name}'", "a plate opened once", "itself inside itself", "rename one")
            )
        with self.opened(name, count):
            self.plates.append((name, count))
            try:
                yield np.arange(count)
            finally:
                self.plates.pop()

    def check_plates(self, name, shape, event_dim, what="data"):
        """Refuse a shape that disagrees with the plates around a site."""
        batch = tuple(shape)[: len(shape) - event_dim]
        for depth, (plate, size) in enumerate(self.plates, start=1):
            axis = len(batch) - depth
            if axis >= 0 and batch[axis] not in (1, size):
                raise ShapeError(
                    explain(
                        f"site '{name}' in plate '{plate}'",
                        f"{what} of size {size} on that axis",
                        f"shape {tuple(shape)}",
                        "make the plate's size and the rows agree",
                    )
                )
            if axis >= 0 and batch[axis] < size and self.run.num_batch is None and self._beyond(batch):
                raise ShapeError(
                    explain(
                        f"site '{name}' in plate '{plate}'",
                        f"{what} of shape {self.plate_shape}, that of the plates",
                        f"shape {tuple(shape)}, repeated along '{plate}', with an axis that no plate declares",
                        f"drop the axis of one ({self._columns()}), or declare a plate for the other axis",
                    )
                )

    def _columns(self) -> str:
        """How to drop the axis of one from the arguments that have one."""
        columns = [f"{label}[:, 0]" for label, leaf in self.leaves.items() if np.shape(leaf)[1:] == (1,)]
        return ", ".join(columns) or "x[:, 0]"

    @property
    def plate_shape(self) -> tuple[int, ...]:
        """Sizes of the open plates: the outermost is the last."""
        return tuple(size for _, size in reversed(self.plates))

    def _beyond(self, batch) -> bool:
        """Whether axes other than of one stand left of those of the open plates."""
        return any(size > 1 for size in batch[: max(len(batch) - len(self.plates), 0)])

    def check_outcome(self, name, value, batch_shape, event_shape):
        """Refuse data of another shape than their law has in its plates: nothing is repeated without a word.

        Parameters
        ----------
        name : str
            The site.
        value : array
            The data; single numbers have every shape.
        batch_shape, event_shape : tuple of int
            Of the law as it was declared. A single law in no plate has every batch shape.
        """
        if getattr(getattr(value, "dtype", None), "kind", "") == "M":
            label = self._argument(value) or "x"
            raise DataError(no_dates(f"site '{name}' (argument '{label}')", label))
        shape, event = tuple(np.shape(value)), tuple(event_shape)
        batch = tuple(np.broadcast_shapes(batch_shape, self.plate_shape))
        free = not batch and shape[len(shape) - len(event) :] == event
        if shape in ((), batch + event) or free or self.run.num_batch is not None:
            return
        label = self._argument(value)
        plates = ", ".join(f"'{plate}'" for plate, _ in self.plates)
        raise ShapeError(
            explain(
                f"site '{name}'" + (f" (argument '{label}')" if label else ""),
                f"data of the shape of their law, {batch + event}"
                + (f" with plate{'s' * (len(self.plates) > 1)} {plates}" if plates else ""),
                f"data of shape {shape} (the law's parameters have shape {tuple(batch_shape)})",
                _reshaping(shape, batch + event, self._columns()),
            )
        )

    def lowered(self, name, distribution, lower):
        """The backend's law of a declaration, checked."""
        validate = getattr(distribution, "validate", None)
        if validate is not None:
            validate(name)
        if not hasattr(distribution, "log_prob") and not hasattr(distribution, "params"):
            raise ModelError(
                explain(
                    f"site '{name}'",
                    "a distribution such as er.Normal(0, 1)",
                    f"{type(distribution).__name__}",
                    "pass the distribution itself",
                )
            )
        fn = lower(distribution)
        self.check_plates(name, tuple(fn.batch_shape), 0, "parameters")
        return fn


def how_missing(node, imputed) -> str:
    """What becomes of the missing values of an observed site, see `ModelTrace.missing`."""
    if node.name not in (imputed or ()):
        return "masked"
    return "summed" if is_discrete(node.fn) else "imputed"


def sites_to_impute(
    wheres: Mapping[str, np.ndarray], laws: Mapping[str, Any], used: set[str], missing, elements
) -> set[str]:
    """Sites whose missing values something else depends on, or only part of whose event is missing.

    Those of a discrete site of a few single values are summed out.

    Parameters
    ----------
    wheres : mapping
        Where the data of each site are missing.
    laws : mapping
        The backend's law of each of these sites.
    used : set of str
        Sites whose missing values reach something else.
    missing : type
        The backend's law of missing elements.
    elements : callable
        Law of the elements of one event that are independent, or None.

    Raises
    ------
    UnsupportedError
        If such a site cannot be imputed.
    """
    needed = set()
    for name, where in wheres.items():
        fn = laws[name]
        events = where.reshape(-1, int(np.prod(fn.event_shape, dtype=int)))
        partial = bool((events.any(1) & ~events.all(1)).any()) and elements(fn) is None
        if name not in used and not partial:
            continue
        needed.add(name)
        if (
            is_discrete(fn)
            and not partial
            and getattr(fn, "has_enumerate_support", False)
            and not fn.event_shape
        ):
            continue  # summed out
        try:
            ok = not is_discrete(fn) and missing(fn, where).support is not None
        except NotImplementedError:
            ok = False
        if ok:
            continue
        rows = sorted({int(r[0]) if len(r) else 0 for r in np.argwhere(where)})
        why = "a part of a joint value is missing" if partial else "the model uses the value elsewhere"
        raise UnsupportedError(
            explain(
                f"site '{name}'",
                "a continuous outcome with elementwise support, or a discrete one of a few single values, where missing "
                "values are imputed or summed out",
                f"a {'discrete' if is_discrete(fn) else 'constrained'} one with missing rows {rows[:8]}"
                f"{'…' if len(rows) > 8 else ''}; {why}",
                "drop those rows, or leave the outcome out of the rest of the model",
            )
        )
    return needed
