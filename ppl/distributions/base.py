"""`Distribution`: the declaration that every law shares, and the wrappers that reshape one.

A declaration holds whatever the user gave (numbers, NumPy, pandas, xarray or a backend's arrays) and computes
no density: a backend lowers it to a distribution of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from .. import constraints
from ..constraints import Constraint
from ..errors import DataError, ModelError, ShapeError, SupportError, explain
from ..interpreter import origin_of
from ..thresholds import TRIED, TRIED_BETWEEN


def constrained(**parameters: Constraint) -> Mapping[str, Constraint]:
    """The allowed values of each parameter of a law, as nobody can change them.

    Examples
    --------
    >>> constrained(loc=constraints.real)["loc"].words
    'a finite number'
    """
    return MappingProxyType(parameters)


def concrete(value: Any) -> np.ndarray | None:
    """`value` as a NumPy array, or None where only a running backend knows it.

    A backend's tracer refuses to become an array; that refusal is the test.
    """
    try:
        return np.asarray(value)
    except (TypeError, RuntimeError):
        return None
    except ValueError:
        return np.asarray(value, dtype=object)


def concrete_constraint(
    make: Callable[..., Constraint], *bounds: Any, event_dim: int = 0, is_discrete: bool = False
) -> Constraint:
    """``make(*bounds)`` where the bounds are known, else `constraints.dependent`."""
    known = [None if b is None else concrete(b) for b in bounds]
    missing = any(k is None and b is not None for k, b in zip(known, bounds, strict=True))
    return constraints.Dependent(event_dim, is_discrete) if missing else make(*known)


@dataclass(frozen=True)
class Origin:
    """Where a value of a running model comes from: an argument, whose numbers are known, or a latent quantity."""

    words: str
    value: np.ndarray | None = None
    support: Constraint | None = None

    def outside(self, allowed: Constraint) -> str | None:
        """A value of the latent quantity that `allowed` excludes, in words, or None where none was found."""
        support = self.support
        if support is None:
            return None
        if any(isinstance(c, constraints.Dependent) or c.is_discrete for c in (support, allowed)):
            return None
        if allowed.event_dim > support.event_dim == 0 and isinstance(allowed, constraints.Simplex):
            return "any vector, whose sum is not one"
        if support.event_dim or allowed.event_dim:
            return None
        low, high = getattr(support, "lower", None), getattr(support, "upper", None)
        tried = np.array(TRIED)
        if low is not None and high is not None and np.ndim(low) == np.ndim(high) == 0:
            tried = float(low) + (float(high) - float(low)) * np.array(TRIED_BETWEEN)
        try:
            bad = np.asarray(support.check(tried)) & ~np.asarray(allowed.check(tried))
        except ValueError:  # bounds of each element
            return None
        return f"{tried[bad][np.abs(tried[bad]).argmin()]:g}" if bad.any() else None


def _positions(bad: np.ndarray) -> str:
    """Where the offending events stand, at most five of them."""
    if bad.ndim == 0:
        return ""
    where = np.argwhere(bad)
    shown = [int(i[0]) if len(i) == 1 else tuple(int(k) for k in i) for i in where[:5]]
    more = f" and {len(where) - 5} more" if len(where) > 5 else ""
    return f" at position{'s' if len(where) > 1 else ''} {', '.join(map(str, shown))}{more}"


def check_parameter(site: str, law: str, name: str, value: Any, constraint: Constraint) -> None:
    """Refuse a concrete parameter outside its constraint.

    Raises
    ------
    SupportError
        Naming site, parameter, constraint, the offending values and where they stand.
    """
    array, where = concrete(value), f"site '{site}', parameter '{name}' of {law}"
    if array is None:
        origin = origin_of(value)
        if origin is None:
            return
        where = f"{where}, {origin.words}"
        array = origin.value
        if array is None:
            example = origin.outside(constraint)
            if example is not None:
                got = f"a quantity that may be {example}"
                remedy = (
                    "give it a prior on that support, or map it there, as er.math.exp and er.math.sigmoid do"
                )
                raise SupportError(explain(where, constraint.words, got, remedy))
            return
    if array.dtype.kind not in "biuf":
        raise SupportError(
            explain(where, constraint.words, f"{value!r}"[:80], "give numbers of regular shape")
        )
    if array.ndim < constraint.event_dim:
        raise SupportError(
            explain(
                where, constraint.words, f"an array of shape {array.shape}", "give the full vector or matrix"
            )
        )
    good = constraint.check(array)
    if np.all(good):
        return
    bad = ~np.asarray(good)
    culprits = array[bad] if bad.ndim else array
    if constraint.event_dim == 0:
        values = ", ".join(f"{v:g}" for v in np.atleast_1d(culprits)[:5])
    else:
        values = np.array2string(culprits[0] if bad.ndim else culprits, precision=4, threshold=12)
        values = " ".join(values.split())
    remedy = (
        "correct the value" if np.isfinite(culprits).all() else "remove NaN and infinity from the parameter"
    )
    raise SupportError(explain(where, constraint.words, values + _positions(bad), remedy))


def exactly_one(law: str, **given: Any) -> None:
    """Refuse unless exactly one of alternative parameters is given.

    Raises
    ------
    ModelError
    """
    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1:
        got = " and ".join(named) if named else "none of them"
        raise ModelError(explain(law, f"exactly one of {', '.join(given)}", got, "give one of them"))


@dataclass(frozen=True, eq=False, repr=False)
class Distribution:
    """A law, declared and not yet computed.

    Attributes
    ----------
    arg_constraints : mapping of str to Constraint
        The allowed values of each parameter.
    support : Constraint
        Where values lie.
    is_discrete : bool
        Whether values are counts, codes or labels.
    event_dim : int
        Number of trailing axes that one value takes.
    measure : str
        What values are: ``"nominal"`` and ``"ordinal"`` codes, ``"binary"``; empty for amounts and counts.
    censored : bool
        Whether values at an end of the support may stand for others beyond it.

    Notes
    -----
    Parameters broadcast against each other; their common shape, less event axes, is the batch shape.

    Examples
    --------
    >>> from elboroom.ppl.distributions import Normal
    >>> law = Normal(0.0, 1.0).expand([3]).to_event(1)
    >>> law.event_dim, law.support.words  # one value is a vector
    (1, 'a vector of finite numbers')
    """

    arg_constraints: ClassVar[Mapping[str, Constraint]] = constrained()
    measure: ClassVar[str] = ""
    censored: ClassVar[bool] = False

    @property
    def support(self) -> Constraint:
        return constraints.real

    @property
    def is_discrete(self) -> bool:
        return self.support.is_discrete

    @property
    def event_dim(self) -> int:
        return self.support.event_dim

    @property
    def params(self) -> dict[str, Any]:
        """Parameters as they were given, without those left out."""
        return {f.name: v for f in fields(self) if (v := getattr(self, f.name)) is not None}

    def to_event(self, num_axes: int) -> Independent:
        """Count the last `num_axes` batch axes as part of one value.

        Examples
        --------
        >>> from elboroom.ppl.distributions import Normal
        >>> Normal(0, 1).expand([3]).to_event(1).event_dim
        1
        """
        return Independent(self, num_axes)

    def expand(self, shape: Any) -> Expanded:
        """The same law, repeated independently to the batch shape `shape`."""
        return Expanded(self, shape)

    def mask(self, mask: Any) -> Masked:
        """The same law, with log density zero where `mask` is false."""
        return Masked(self, mask)

    def validate(self, site: str) -> None:
        """Check every parameter whose value is known outside a compiled function.

        Parameters
        ----------
        site : str
            Name of the site, for messages.

        Raises
        ------
        SupportError
            For a value outside its constraint, NaN or infinity.
        DataError
            For None where the parameter is not optional.
        """
        self._check_given(site)
        for name, value in self._checked():
            constraint = self.arg_constraints.get(name)
            if constraint is not None:
                check_parameter(site, type(self).__name__, name, value, constraint)

    def _check_given(self, site: str | None = None) -> None:
        """Refuse None where a parameter is not optional: it would become a default without a word."""
        for known in fields(self):
            if getattr(self, known.name) is None and known.default is not None:
                rest = "" if known.default is MISSING else ", or leave it out for its default"
                where = (
                    f"{f'site {site!r}, ' if site else ''}parameter '{known.name}' of {type(self).__name__}"
                )
                want = "a number, an array, a law or another quantity"
                raise DataError(explain(where, want, "None", f"pass its value{rest}"))

    def _checked(self) -> Iterator[tuple[str, Any]]:
        return iter(self.params.items())

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={_brief(value)}" for name, value in self.params.items())
        return f"{type(self).__name__}({inside})"


def _brief(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return f"<array {tuple(shape)}>" if shape else repr(value)


@dataclass(frozen=True, eq=False, repr=False)
class Independent(Distribution):
    """`base` with its last `num_axes` batch axes counted as part of one value."""

    base: Distribution
    num_axes: int

    @property
    def support(self) -> Constraint:
        return constraints.independent(self.base.support, self.num_axes)

    def validate(self, site: str) -> None:
        self.base.validate(site)


@dataclass(frozen=True, eq=False, repr=False)
class Expanded(Distribution):
    """`base` repeated independently to the batch shape `shape`."""

    base: Distribution
    shape: tuple[int, ...]

    def __post_init__(self):
        shape = self.shape if isinstance(self.shape, (tuple, list)) else (self.shape,)
        try:
            if any(isinstance(n, (str, float, bool)) for n in shape):
                raise TypeError
            shape = tuple(int(n) for n in shape)
        except (TypeError, ValueError) as error:
            raise ShapeError(
                explain(
                    "expand",
                    "a shape of whole numbers known before the model is compiled",
                    repr(self.shape)[:80],
                    "take sizes from er.levels or len, not from traced arrays",
                )
            ) from error
        object.__setattr__(self, "shape", shape)

    @property
    def support(self) -> Constraint:
        return self.base.support

    def validate(self, site: str) -> None:
        self.base.validate(site)


@dataclass(frozen=True, eq=False, repr=False)
class Masked(Distribution):
    """`base` with log density zero where `mask` is false."""

    base: Distribution
    mask_values: Any

    @property
    def support(self) -> Constraint:
        return self.base.support

    def validate(self, site: str) -> None:
        self.base.validate(site)
        check_parameter(site, "mask", "mask", self.mask_values, constraints.boolean)
