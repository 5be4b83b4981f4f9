"""`Formula`: a declaration whose density is written here, once for every backend.

The density is written in the words of ``er.math``, which follow their operands: the same lines compute with
NumPy, JAX and PyTorch. A backend needs one wrapper for all of these laws: it takes a declaration apart with
`flatten`, makes arrays of its own of the leaves, and puts it together again with `rebuild`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol

import numpy as np

from .. import constraints
from ..constraints import Constraint
from ..errors import UnsupportedError
from ..thresholds import LARGEST_SUM
from .base import Distribution, concrete_constraint


class CannotSampleError(UnsupportedError, NotImplementedError):
    """A law without a sampler; also what the libraries' own strategies expect from such a law."""


class Random(Protocol):
    """A backend's source of randomness: arrays of its own, successive calls independent."""

    def uniform(self, shape: tuple[int, ...]) -> Any:
        """Numbers strictly between 0 and 1."""

    def normal(self, shape: tuple[int, ...]) -> Any:
        """Standard normal numbers."""

    def exponential(self, shape: tuple[int, ...]) -> Any:
        """Exponential numbers of mean one."""

    def gamma(self, concentration: Any, shape: tuple[int, ...]) -> Any:
        """Gamma numbers of rate one; `concentration` broadcasts to `shape`."""

    def poisson(self, rate: Any, shape: tuple[int, ...]) -> Any:
        """Counts, as floating-point numbers; `rate` broadcasts to `shape`."""

    def binomial(self, total_count: Any, probs: Any, shape: tuple[int, ...]) -> Any:
        """Counts, as floating-point numbers; both parameters broadcast to `shape`."""

    def categorical(self, logits: Any, shape: tuple[int, ...]) -> Any:
        """Positions on the last axis of `logits`, shape (..., K); the other axes broadcast to `shape`."""

    def parts(self, count: int) -> tuple[Random, ...]:
        """As many sources, for one call each."""


class Law(Protocol):
    """What a formula may ask of a law inside it: a `Formula`, or a backend's law in the same words."""

    batch_shape: tuple[int, ...]
    event_shape: tuple[int, ...]

    def log_density(self, value: Any) -> Any: ...

    def draw(self, random: Random, shape: tuple[int, ...]) -> Any: ...


@dataclass(frozen=True, eq=False, repr=False)
class Formula(Distribution):
    """A law whose density and draws are written in ``er.math``.

    Attributes
    ----------
    batch_shape, event_shape : tuple of int
        Shape of independent copies, and of one value.
    bounds : tuple or None
        Lower and upper end of the support where it depends on parameters, either of which may be None; a
        backend builds the support of a running law from them. None where `support` says it all.
    keeps_bases : bool
        Whether laws inside this one stay declarations. Otherwise a backend hands in a `Law` for each.
    counts : bool
        Whether `bounds` are those of whole numbers.
    indices : tuple of str
        Parameters that are positions in an array, and so stay whole numbers.

    Notes
    -----
    A subclass is a dataclass with `arg_constraints` and a `support` (or `bounds`), and the two methods below. One that knows its
    mean has it as ``mean``, by which rows are decoded and reconstructed.
    Parameters arrive as floating-point arrays of one backend, values too; see `whole_numbers`.
    """

    keeps_bases: ClassVar[bool] = False
    indices: ClassVar[tuple[str, ...]] = ()

    @property
    def counts(self) -> bool:
        return False

    @property
    def reduced(self) -> Distribution:
        """The law as it is, or a simpler one that it is where parameters were left out."""
        return self

    @property
    def bounds(self) -> tuple[Any, Any] | None:
        return None

    @property
    def support(self) -> Constraint:
        return constraints.real if self.bounds is None else between(*self.bounds, self.counts)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return batch_shape(self)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return ()

    def log_density(self, value: Any) -> Any:
        """Log density of each value.

        Parameters
        ----------
        value : array, shape (..., *batch, *event)
            Values inside the support or outside it.

        Returns
        -------
        array, shape (..., *batch)
            Minus infinity outside the support, where gradients are zero and never NaN.
        """
        raise NotImplementedError

    def draw(self, random: Random, shape: tuple[int, ...]) -> Any:
        """Independent values.

        Parameters
        ----------
        random : Random
            The backend's source of randomness.
        shape : tuple of int
            Sample and batch axes, without those of one event.

        Returns
        -------
        array, shape (*shape, *event)
        """
        raise NotImplementedError


def between(low: Any, high: Any, is_discrete: bool = False) -> Constraint:
    """The numbers from `low` to `high`, either of which may be None; dependent where a bound is traced."""
    if is_discrete:
        return concrete_constraint(constraints.integer_interval, low, high, is_discrete=True)
    if low is None and high is None:
        return constraints.real
    if high is None:
        return concrete_constraint(lambda low: constraints.greater_than(low, closed=True), low)
    if low is None:
        return concrete_constraint(lambda high: constraints.less_than(high, closed=True), high)
    return concrete_constraint(constraints.interval, low, high)


def finite_values(declared: Distribution) -> range | None:
    """The values of a law of one count whose bounds are known, all rows together; None for other laws.

    Examples
    --------
    >>> from elboroom.ppl.distributions import Poisson, Truncated
    >>> finite_values(Truncated(Poisson(3.0), high=50))
    range(0, 51)
    """
    support = declared.support
    if not isinstance(support, constraints.IntegerInterval) or support.upper is None:
        return None
    low, high = int(np.min(support.lower)), int(np.max(support.upper))
    return range(low, high + 1) if high - low < LARGEST_SUM else None


def batch_shape(declared: Any) -> tuple[int, ...]:
    """Common shape of a declaration's parameters, and of the laws inside it, less their event axes.

    Examples
    --------
    >>> from elboroom.ppl.distributions import Normal
    >>> batch_shape(Normal(np.zeros((4, 1)), np.ones(3)))
    (4, 3)
    """
    shapes = []
    for field in fields(declared):
        value = getattr(declared, field.name)
        constraint = declared.arg_constraints.get(field.name)
        if constraint is not None and value is not None:
            shape = tuple(np.shape(value))
            shapes.append(shape[: len(shape) - constraint.event_dim])
        else:
            shapes.extend(_shape_of(law) for law in (value if isinstance(value, tuple) else (value,)))
    return tuple(np.broadcast_shapes(*shapes))


def _shape_of(law: Any) -> tuple[int, ...]:
    if hasattr(law, "batch_shape"):
        return tuple(law.batch_shape)
    return batch_shape(law) if isinstance(law, Distribution) else ()


_LEAF = "·"
_STATIC = (bool, int, str, bytes, type(None), Constraint)


def flatten(declared: Distribution) -> tuple[tuple, dict[str, Any]]:
    """A declaration taken apart.

    Returns
    -------
    structure : tuple
        Classes and fixed settings, to be compared and hashed.
    leaves : dict
        Parameters, also those of laws inside, by path: ``loc``, ``base.loc``, ``components[0].loc``; and a
        backend's own laws, where the user gave such.

    Examples
    --------
    >>> from elboroom.ppl.distributions import Normal
    >>> flatten(Normal(0.0, 2.0).expand([3]))[1]
    {'base.loc': 0.0, 'base.scale': 2.0}
    """
    leaves: dict[str, Any] = {}
    return _take_apart(declared, "", leaves), leaves


def _take_apart(value: Any, path: str, leaves: dict[str, Any]) -> Any:
    if isinstance(value, Distribution):
        parts = []
        for field in fields(value):
            part, name = getattr(value, field.name), f"{path}.{field.name}" if path else field.name
            if field.name in value.arg_constraints and part is not None:
                leaves[name] = part
                parts.append((field.name, _LEAF))
            else:
                parts.append((field.name, _take_apart(part, name, leaves)))
        return type(value), tuple(parts)
    if isinstance(value, tuple):
        return None, tuple(_take_apart(item, f"{path}[{i}]", leaves) for i, item in enumerate(value))
    if isinstance(value, _STATIC) or (callable(value) and not hasattr(value, "log_prob")):
        return "is", value
    leaves[path] = value
    return _LEAF


def whole_numbers(structure: tuple) -> frozenset[str]:
    """Paths of the leaves that keep their type; a backend makes all others floating-point.

    These are positions in an array, and counts that belong to a law which the backend lowers by itself.

    Examples
    --------
    >>> from elboroom.ppl.distributions import Binomial, ZeroInflated
    >>> whole_numbers(flatten(ZeroInflated(Binomial(10, 0.5), 0.2))[0])
    frozenset({'base.total_count'})
    """
    return frozenset(
        place
        for place, kind, name in _parameters(structure, "")
        if (name in kind.indices if issubclass(kind, Formula) else kind.arg_constraints[name].is_discrete)
    )


def _parameters(structure: Any, path: str) -> Iterator[tuple[str, Any, str]]:
    """Path of each parameter, the class that has it, and its name there."""
    if structure == _LEAF or structure[0] == "is":
        return
    kind, inside = structure
    if kind is None:
        for i, item in enumerate(inside):
            yield from _parameters(item, f"{path}[{i}]")
        return
    for name, part in inside:
        place = f"{path}.{name}" if path else name
        if part != _LEAF:
            yield from _parameters(part, place)
        elif name in kind.arg_constraints:
            yield place, kind, name


def parameter_constraints(structure: tuple) -> dict[str, Constraint]:
    """Constraints of the parameters that `flatten` takes apart, by path.

    Examples
    --------
    >>> from elboroom.ppl.distributions import OrderedLogistic
    >>> parameter_constraints(flatten(OrderedLogistic(0.0, [-1.0, 1.0]))[0])["cutpoints"].event_dim
    1
    """
    return {place: kind.arg_constraints[name] for place, kind, name in _parameters(structure, "")}


def rebuild(structure: tuple, leaves: Mapping[str, Any], law: Callable[[Any], Any] | None = None) -> Any:
    """The declaration that `flatten` took apart, with other leaves.

    Parameters
    ----------
    structure : tuple
        Classes and fixed settings, as `flatten` gave them.
    leaves : mapping of str to array
        Parameters by the paths that `flatten` named.
    law : callable, optional
        Makes a `Law` of each declaration inside a formula that is no formula itself.
    """
    return _put_together(structure, "", leaves, law)


def _put_together(structure: Any, path: str, leaves: Mapping[str, Any], law: Any) -> Any:
    if structure == _LEAF:
        leaf = leaves[path]
        return law(leaf) if law is not None and hasattr(leaf, "log_prob") else leaf
    kind, inside = structure
    if kind == "is":
        return inside
    if kind is None:
        return tuple(_put_together(item, f"{path}[{i}]", leaves, law) for i, item in enumerate(inside))
    formula = issubclass(kind, Formula)
    inner = law if formula and not kind.keeps_bases else None
    given = {
        name: _put_together(part, f"{path}.{name}" if path else name, leaves, inner) for name, part in inside
    }
    made = kind(**given)
    return made if formula or law is None else law(made)
