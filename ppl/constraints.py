"""Where a value may lie: small declarations that check NumPy values and travel as JSON.

A constraint knows its name, how many trailing axes one event takes, and whether its values are discrete.
Backends translate it to a support of their own; this module knows none of them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from .errors import ModelError, explain
from .thresholds import TOLERANCE

Bound = float | int | tuple
"""A number, or nested tuples of numbers where elements have bounds of their own."""


@dataclass(frozen=True)
class Constraint:
    """A set of allowed values.

    Attributes
    ----------
    name : str
        Name, as it stands in saved files.
    words : str
        The set in words, for messages.
    event_dim : int
        Number of trailing axes that one event takes.
    is_discrete : bool
        Whether the allowed values are countable.
    """

    name: ClassVar[str] = ""

    @property
    def event_dim(self) -> int:
        return 0

    @property
    def is_discrete(self) -> bool:
        return False

    @property
    def words(self) -> str:
        return self.name

    def check(self, value: Any) -> np.ndarray:
        """Whether each event of `value` is allowed.

        Parameters
        ----------
        value : array_like, shape (..., *event)
            Values on the host; ``event`` has `event_dim` axes.

        Returns
        -------
        numpy.ndarray of bool, shape (...)
            NaN is never allowed; infinity only in `extended_real`.
        """
        array = np.asarray(value)
        axes = tuple(range(-self.event_dim, 0))
        if array.ndim < self.event_dim:
            return np.zeros((), dtype=bool)
        with np.errstate(invalid="ignore"):
            return np.isfinite(array).all(axis=axes) & self._holds(array)

    def _holds(self, array: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def as_dict(self) -> dict[str, Any]:
        """The declaration as JSON-ready data (see `from_dict`)."""
        return {"name": self.name} | {f.name: getattr(self, f.name) for f in fields(self)}


def _bound(value: Any, kind: type = float) -> Bound:
    """A hashable, JSON-ready form of a scalar or array bound."""
    if isinstance(value, tuple):
        value = np.asarray(value)
    array = np.asarray(value)
    if array.ndim == 0:
        return kind(array)
    convert = array.astype(np.int64 if kind is int else np.float64).tolist()
    return _as_tuple(convert)


def _as_tuple(nested: Any) -> Any:
    return tuple(_as_tuple(item) for item in nested) if isinstance(nested, list) else nested


def _say(bound: Bound) -> str:
    if isinstance(bound, tuple):
        flat = np.asarray(bound)
        return f"bounds between {flat.min():g} and {flat.max():g}"
    return f"{bound:g}"


@dataclass(frozen=True)
class Real(Constraint):
    """Finite numbers."""

    name: ClassVar[str] = "real"
    words = "a finite number"

    def _holds(self, array):
        return np.ones(array.shape, dtype=bool)


@dataclass(frozen=True)
class ExtendedReal(Constraint):
    """Numbers that may be infinite."""

    name: ClassVar[str] = "extended_real"
    words = "a number, which may be infinite"

    def check(self, value):
        return ~np.isnan(np.asarray(value, dtype=float))


@dataclass(frozen=True)
class Positive(Constraint):
    """Numbers above zero."""

    name: ClassVar[str] = "positive"
    words = "a positive number"

    def _holds(self, array):
        return array > 0


@dataclass(frozen=True)
class Nonnegative(Constraint):
    """Numbers of zero or more."""

    name: ClassVar[str] = "nonnegative"
    words = "a number that is zero or more"

    def _holds(self, array):
        return array >= 0


@dataclass(frozen=True)
class UnitInterval(Constraint):
    """Numbers from 0 to 1, both included."""

    name: ClassVar[str] = "unit_interval"
    words = "a number between 0 and 1"

    def _holds(self, array):
        return (array >= 0) & (array <= 1)


@dataclass(frozen=True)
class Circular(Constraint):
    """Angles in radians from -pi to pi."""

    name: ClassVar[str] = "circular"
    words = "an angle between -pi and pi"

    def _holds(self, array):
        return np.abs(array) <= np.pi


@dataclass(frozen=True)
class Interval(Constraint):
    """Numbers from `lower` to `upper`, both included."""

    name: ClassVar[str] = "interval"
    lower: Bound
    upper: Bound

    def __post_init__(self):
        object.__setattr__(self, "lower", _bound(self.lower))
        object.__setattr__(self, "upper", _bound(self.upper))

    @property
    def words(self):
        if isinstance(self.lower, tuple) or isinstance(self.upper, tuple):
            return "a number within the bounds of its row"
        return f"a number between {_say(self.lower)} and {_say(self.upper)}"

    def _holds(self, array):
        return (array >= np.asarray(self.lower)) & (array <= np.asarray(self.upper))


@dataclass(frozen=True)
class GreaterThan(Constraint):
    """Numbers above `lower`; `closed` includes it."""

    name: ClassVar[str] = "greater_than"
    lower: Bound
    closed: bool = False

    def __post_init__(self):
        object.__setattr__(self, "lower", _bound(self.lower))

    @property
    def words(self):
        return f"a number {'of at least' if self.closed else 'above'} {_say(self.lower)}"

    def _holds(self, array):
        lower = np.asarray(self.lower)
        return array >= lower if self.closed else array > lower


@dataclass(frozen=True)
class LessThan(Constraint):
    """Numbers below `upper`; `closed` includes it."""

    name: ClassVar[str] = "less_than"
    upper: Bound
    closed: bool = False

    def __post_init__(self):
        object.__setattr__(self, "upper", _bound(self.upper))

    @property
    def words(self):
        return f"a number {'of at most' if self.closed else 'below'} {_say(self.upper)}"

    def _holds(self, array):
        upper = np.asarray(self.upper)
        return array <= upper if self.closed else array < upper


@dataclass(frozen=True)
class Boolean(Constraint):
    """0 and 1."""

    name: ClassVar[str] = "boolean"
    words = "0 or 1"
    is_discrete = True

    def _holds(self, array):
        return (array == 0) | (array == 1)


@dataclass(frozen=True)
class IntegerInterval(Constraint):
    """Whole numbers from `lower` to `upper`, both included; no upper end where `upper` is None."""

    name: ClassVar[str] = "integer_interval"
    is_discrete = True
    lower: Bound
    upper: Bound | None

    def __post_init__(self):
        object.__setattr__(self, "lower", _bound(self.lower, int))
        if self.upper is not None:
            object.__setattr__(self, "upper", _bound(self.upper, int))

    @property
    def words(self):
        if isinstance(self.lower, tuple) or isinstance(self.upper, tuple):
            return "a whole number within the bounds of its row"
        if self.upper is None:
            return f"a whole number of at least {_say(self.lower)}"
        return f"a whole number from {_say(self.lower)} to {_say(self.upper)}"

    def _holds(self, array):
        inside = (array >= np.asarray(self.lower)) & (np.mod(array, 1) == 0)
        return inside if self.upper is None else inside & (array <= np.asarray(self.upper))


@dataclass(frozen=True)
class NonnegativeInteger(Constraint):
    """Whole numbers of zero or more."""

    name: ClassVar[str] = "nonnegative_integer"
    words = "a count (a whole number of zero or more)"
    is_discrete = True

    def _holds(self, array):
        return (array >= 0) & (np.mod(array, 1) == 0)


@dataclass(frozen=True)
class Counts(Constraint):
    """Vectors of counts that sum to `total`."""

    name: ClassVar[str] = "counts"
    event_dim = 1
    is_discrete = True
    total: Bound

    def __post_init__(self):
        object.__setattr__(self, "total", _bound(self.total, int))

    @property
    def words(self):
        if isinstance(self.total, tuple):
            return "counts that sum to the total of their row"
        return f"counts that sum to {_say(self.total)}"

    def _holds(self, array):
        whole = ((array >= 0) & (np.mod(array, 1) == 0)).all(axis=-1)
        return whole & (array.sum(axis=-1) == np.asarray(self.total))


@dataclass(frozen=True)
class ZeroSum(Constraint):
    """Arrays that sum to zero along each of their last `num_axes` axes."""

    name: ClassVar[str] = "zero_sum"
    num_axes: int = 1

    @property
    def event_dim(self):
        return self.num_axes

    @property
    def words(self):
        return "numbers that sum to zero" + (" along each axis" if self.num_axes > 1 else "")

    def _holds(self, array):
        axes = tuple(range(-self.num_axes, 0))
        size = np.abs(array).max(axis=axes, initial=1.0)
        sums = [np.abs(array.sum(axis=axis, keepdims=True)).max(axis=axes) for axis in axes]
        return np.max(sums, axis=0) <= TOLERANCE * size


@dataclass(frozen=True)
class RealVector(Constraint):
    """Vectors of finite numbers."""

    name: ClassVar[str] = "real_vector"
    words = "a vector of finite numbers"
    event_dim = 1

    def _holds(self, array):
        return np.ones(array.shape[:-1], dtype=bool)


@dataclass(frozen=True)
class Simplex(Constraint):
    """Vectors of probabilities that sum to one."""

    name: ClassVar[str] = "simplex"
    words = "probabilities that sum to one"
    event_dim = 1

    def _holds(self, array):
        return (array >= 0).all(axis=-1) & (np.abs(array.sum(axis=-1) - 1) <= TOLERANCE)


@dataclass(frozen=True)
class OrderedVector(Constraint):
    """Vectors in increasing order."""

    name: ClassVar[str] = "ordered_vector"
    words = "a vector in increasing order"
    event_dim = 1

    def _holds(self, array):
        return (np.diff(array, axis=-1) > 0).all(axis=-1)


@dataclass(frozen=True)
class PositiveOrderedVector(Constraint):
    """Vectors of positive numbers in increasing order."""

    name: ClassVar[str] = "positive_ordered_vector"
    words = "a vector of positive numbers in increasing order"
    event_dim = 1

    def _holds(self, array):
        return (array > 0).all(axis=-1) & (np.diff(array, axis=-1) > 0).all(axis=-1)


def _is_lower(array: np.ndarray) -> np.ndarray:
    square = array.shape[-1] == array.shape[-2]
    above = np.triu(array, 1) == 0 if square else np.zeros(array.shape, dtype=bool)
    diagonal = np.diagonal(array, axis1=-2, axis2=-1) > 0
    return np.asarray(above.all(axis=(-2, -1)) & diagonal.all(axis=-1))


@dataclass(frozen=True)
class LowerCholesky(Constraint):
    """Lower triangular matrices with a positive diagonal."""

    name: ClassVar[str] = "lower_cholesky"
    words = "a lower triangular matrix with a positive diagonal"
    event_dim = 2

    def _holds(self, array):
        return _is_lower(array)


@dataclass(frozen=True)
class CorrCholesky(Constraint):
    """Cholesky factors of correlation matrices."""

    name: ClassVar[str] = "corr_cholesky"
    words = "a lower triangular matrix with a positive diagonal and rows of length one"
    event_dim = 2

    def _holds(self, array):
        unit = np.abs((array**2).sum(axis=-1) - 1) <= TOLERANCE
        return _is_lower(array) & unit.all(axis=-1)


@dataclass(frozen=True)
class PositiveDefinite(Constraint):
    """Symmetric positive definite matrices."""

    name: ClassVar[str] = "positive_definite"
    words = "a symmetric positive definite matrix"
    event_dim = 2

    def _holds(self, array):
        if array.shape[-1] != array.shape[-2]:
            return np.zeros(array.shape[:-2], dtype=bool)
        clean = np.where(np.isfinite(array), array, 0.0)
        flipped = np.swapaxes(clean, -1, -2)
        scale = np.abs(clean).max(axis=(-2, -1), initial=0.0)[..., None, None]
        symmetric = (np.abs(clean - flipped) <= TOLERANCE * scale).all(axis=(-2, -1))
        return symmetric & (np.linalg.eigvalsh((clean + flipped) / 2)[..., 0] > 0)


@dataclass(frozen=True)
class CorrMatrix(Constraint):
    """Symmetric positive definite matrices with a diagonal of ones."""

    name: ClassVar[str] = "corr_matrix"
    words = "a correlation matrix"
    event_dim = 2

    def _holds(self, array):
        unit = np.abs(np.diagonal(array, axis1=-2, axis2=-1) - 1) <= TOLERANCE
        return positive_definite.check(array) & unit.all(axis=-1)


@dataclass(frozen=True)
class Independent(Constraint):
    """Arrays whose every element lies in `base`: `num_axes` axes more per event."""

    name: ClassVar[str] = "independent"
    base: Constraint
    num_axes: int

    @property
    def event_dim(self):
        return self.base.event_dim + self.num_axes

    @property
    def is_discrete(self):
        return self.base.is_discrete

    @property
    def words(self):
        return f"in each element {self.base.words}"

    def check(self, value):
        array = np.asarray(value)
        if array.ndim < self.event_dim:
            return np.zeros((), dtype=bool)
        return self.base.check(array).all(axis=tuple(range(-self.num_axes, 0)))

    def as_dict(self):
        return {"name": self.name, "base": self.base.as_dict(), "num_axes": self.num_axes}


@dataclass(frozen=True)
class Dependent(Constraint):
    """Bounds that only a running model knows, because they depend on its parameters."""

    name: ClassVar[str] = "dependent"
    words = "a value within bounds that depend on parameters"
    event_dim: int = 0
    is_discrete: bool = False

    def _holds(self, array):
        return np.ones(array.shape[: array.ndim - self.event_dim], dtype=bool)


real = Real()
extended_real = ExtendedReal()
positive = Positive()
nonnegative = Nonnegative()
unit_interval = UnitInterval()
circular = Circular()
interval = Interval
greater_than = GreaterThan
less_than = LessThan
boolean = Boolean()
integer_interval = IntegerInterval
nonnegative_integer = NonnegativeInteger()
counts = Counts
zero_sum = ZeroSum
real_vector = RealVector()
simplex = Simplex()
ordered_vector = OrderedVector()
positive_ordered_vector = PositiveOrderedVector()
lower_cholesky = LowerCholesky()
corr_cholesky = CorrCholesky()
corr_matrix = CorrMatrix()
positive_definite = PositiveDefinite()
dependent = Dependent()

_CLASSES = (
    *(Real, ExtendedReal, Positive, Nonnegative, UnitInterval, Circular, Interval, GreaterThan, LessThan),
    *(Boolean, IntegerInterval, NonnegativeInteger, Counts, ZeroSum, RealVector, Simplex, OrderedVector),
    *(PositiveOrderedVector, LowerCholesky, CorrCholesky, PositiveDefinite, CorrMatrix),
    *(Independent, Dependent),
)


def independent(base: Constraint, num_axes: int) -> Constraint:
    """`base` in every element of `num_axes` further axes.

    Examples
    --------
    >>> independent(positive, 1).check([[1.0, 2.0], [1.0, -2.0]])
    array([ True, False])
    >>> independent(real, 1) == real_vector
    True
    """
    if isinstance(base, Independent):
        return independent(base.base, base.num_axes + num_axes)
    if isinstance(base, RealVector):
        base, num_axes = real, num_axes + 1
    if isinstance(base, Dependent):
        return Dependent(base.event_dim + num_axes, base.is_discrete)
    if num_axes == 0:
        return base
    return real_vector if (base == real and num_axes == 1) else Independent(base, num_axes)


def from_dict(data: dict[str, Any]) -> Constraint:
    """The constraint that `Constraint.as_dict` described.

    Raises
    ------
    ModelError
        If the name is unknown.

    Examples
    --------
    >>> from_dict({"name": "interval", "lower": 0, "upper": [1, 2]})
    Interval(lower=0.0, upper=(1.0, 2.0))
    """
    data = dict(data)
    name = data.pop("name", None)
    for cls in _CLASSES:
        if cls.name == name:
            if cls is Independent:
                return Independent(from_dict(data["base"]), data["num_axes"])
            return cls(**data)
    known = ", ".join(cls.name for cls in _CLASSES)
    raise ModelError(explain("constraint", f"one of {known}", repr(name), "check the file's version"))
