"""What every backend does alike while it runs a model: what is recorded, and how discrete sites are decided.

A backend adds the arrays: how a site is announced to its library, and what a value is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import math
from .distributions.chain import log_probs
from .enumeration import Discrete
from .errors import DuplicateSiteError, ModelError, ShapeError, UnsupportedError, explain
from .laws import count_values, is_chain, is_discrete
from .missing import how_missing, sites_to_impute
from .plates import GroupsFound, Plates
from .thresholds import IMPOSSIBLE

__all__ = [
    "Deciding",
    "GroupsFound",
    "Node",
    "Plates",
    "Record",
    "check_value",
    "count_values",
    "evident",
    "how_missing",
    "is_chain",
    "is_discrete",
    "sites_to_impute",
    "weighed",
]


@dataclass
class Node:
    """A recorded site.

    Attributes
    ----------
    name, role : str
        See `Site`.
    fn : object
        The backend's law; None for deterministics.
    value : array
        What the site is in this run.
    scale : array, optional
        What its log density is multiplied by.
    plates : tuple of (str, int, int)
        Name, axis (negative, from the right of the batch) and size of each plate around it.
    rows : str, optional
        Plate whose elements the last axis of a factor runs over.
    source : object, optional
        The argument that an observed value came from.
    holes : numpy.ndarray of bool, optional
        Where it is missing.
    term : array, optional
        Its log density where that is not `fn`'s at `value`: of every value of a discrete site.
    """

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
        """Log density per batch element, scaled: an array of the batch shape."""
        value = self.fn.log_prob(self.value) if self.term is None else self.term
        return value if self.scale is None else self.scale * value


def _check_new(what: str, name: str, known: Mapping[str, Any], other: str = "") -> None:
    if name in known:
        raise DuplicateSiteError(
            explain(
                f"{what} '{name}'",
                "a name used once",
                f"{other or f'a second {what}'} of the same name",
                "rename one of the two" if other else "rename one, or use the first again",
            )
        )


@dataclass
class Record:
    """Sites of one run, in program order.

    Attributes
    ----------
    nodes : dict of str to Node
    coords : dict of str to tuple
        Labels of each plate that has any.
    weights : dict
        Learnable arrays.
    discrete : list of Discrete
        Sites that are being summed out.
    modules : dict
        Networks, by name.
    """

    nodes: dict[str, Node] = field(default_factory=dict)
    coords: dict[str, tuple] = field(default_factory=dict)
    weights: dict[str, Any] = field(default_factory=dict)
    discrete: list[Discrete] = field(default_factory=list)
    modules: dict[str, Any] = field(default_factory=dict)

    def learn(self, name: str, value: Any) -> None:
        """Record a learned array.

        Raises
        ------
        DuplicateSiteError
            If the name is taken.
        """
        _check_new("learned array", name, self.weights)
        _check_new("learned array", name, self.nodes, "a site")
        self.weights[name] = value

    def declare(self, name: str, network: Any) -> None:
        """Record a network.

        Raises
        ------
        DuplicateSiteError
            If the name is taken.
        """
        _check_new("module", name, self.modules)
        self.modules[name] = network

    def add(self, node: Node, extra: Mapping[str, Any]) -> None:
        """Record a site.

        Parameters
        ----------
        node : Node
            The site.
        extra : mapping
            Plate to what densities in it are multiplied by beside, a number or one per element.

        Raises
        ------
        DuplicateSiteError
            If the name is taken.
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
        _check_new("site", node.name, self.weights, "a learned array")
        for plate, dim, _ in node.plates:
            if plate in extra:
                own = extra[plate]
                if getattr(own, "ndim", 0):  # one per element of the plate, along its axis
                    own = own.reshape(-1, *[1] * (-dim - 1))
                node.scale = own if node.scale is None else node.scale * own
        self.nodes[node.name] = node

    def name_for_missing(self, name: str) -> str:
        """Name of the latent site that holds the missing values of an observed one.

        Raises
        ------
        DuplicateSiteError
            If a site of the model has it.
        """
        site = f"{name}_missing"
        if site in self.nodes:
            raise DuplicateSiteError(
                explain(
                    f"site '{site}'", "a name left to the missing values", "a site of that name", "rename it"
                )
            )
        return site


def weighed(site, value, scale):
    """A term per element of a site, times the scale of its plates: one number each, or one per element.

    Parameters
    ----------
    site : Site
        Which says the axes of its plates.
    value : array, shape (B, *batch)
        The terms.
    scale : mapping
        Plate to a number, or to one per element.
    """
    for plate in site.plates if scale else ():
        if plate in scale and plate in site.dims:
            extra, axis = scale[plate], site.dims.index(plate)
            value = value * (extra.reshape(-1, *[1] * (value.ndim - axis - 1)) if extra.ndim else extra)
    return value


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
    """Values of sites without data. A subclass holds the settings and the two conversions below.

    Attributes
    ----------
    latent : callable
        ``latent(name, fn) -> value`` of a latent site.
    predict : callable or None
        ``predict(name, fn) -> value``: outcomes, and values of discrete sites, are drawn.
    record : Record
        What has been declared so far.
    fixed, intervened : mapping
        Values of conditioned and of intervened sites.
    tilts : mapping
        Terms added to the log density of each value of a discrete site.
    num_batch : int or None
        Number of batch axes, left of which discrete sites take all of their values.
    """

    latent: Callable[..., Any]
    predict: Callable[..., Any] | None
    record: Record
    fixed: Mapping[str, Any]
    intervened: Mapping[str, Any]
    tilts: Mapping[str, Any]
    num_batch: int | None

    def constant(self, value, _at=None):
        """A NumPy array as a value of the model, or one element of it."""
        return value

    def codes(self, value):
        """Values of a discrete site as an array of whole numbers."""
        raise NotImplementedError

    def probe(self, fn):
        """A value inside the support, without sampling."""
        raise NotImplementedError

    def value_of(self, name, fn, at=None):
        """Value and role of a site without data.

        Parameters
        ----------
        name : str
            The site.
        fn : object
            The backend's law.
        at : int, optional
            The element, where a loop of the model takes one at a time.

        Returns
        -------
        tuple
            The value, and ``"latent"``, ``"discrete"``, ``"fixed"`` or ``"intervened"``.

        Raises
        ------
        ModelError
            If another run of the model has not declared it.
        UnsupportedError
            If it is discrete and inside a loop.
        """
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
        """All values of a discrete site, on an axis of their own.

        Raises
        ------
        ModelError
            If it has too many values to be summed out.
        ShapeError
            If it is a chain whose probabilities depend on another discrete site.
        """
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
        if site is None or self.num_batch is None:
            return None
        lead = (site.count,) + (1,) * site.position
        shape = lead + (1,) * (self.num_batch - len(site.batch_shape)) + tuple(site.batch_shape)
        chain = is_chain(fn)
        if chain is not None:
            first = math.moveaxis(log_probs(chain.initial_probs), -1, 0)
            own = tuple(np.shape(first))[1:]
            first = math.reshape(first, lead + (1,) * (self.num_batch - 1 - len(own)) + own + (1,))
            term = math.broadcast_to(math.where(np.arange(shape[-1]) == 0, first, 0.0), shape)
        else:
            term = fn.log_prob(fn.enumerate_support(expand=False).reshape(lead + (1,) * self.num_batch))
        tilt = self.tilts.get(name)
        return term if tilt is None else term + tilt.reshape(shape)


def evident(term, codes, where, value):
    """The log densities of every value of a discrete site some of whose elements are known.

    Parameters
    ----------
    term : array, shape (count, *batch)
        Log densities.
    codes : array, shape (count, …)
        The values.
    where : array of bool
        Elements that are not known.
    value : array
        The others' values.
    """
    return math.where(where | (codes == value), term, IMPOSSIBLE)


def check_value(site, value) -> None:
    """Refuse a value whose support is another for each value of a discrete site.

    Parameters
    ----------
    site : Site
        A continuous one.
    value : array
        Its constrained values in a run in which discrete sites take all of theirs.

    Raises
    ------
    UnsupportedError
        If these have another shape.
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
