"""Constraints in both directions between declarations and a backend's library: one table for all.

NumPyro and PyTorch name their constraints alike. A backend hands in a namespace of these names, with its own classes
where its library has none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import constraints
from ..constraints import Constraint
from ..distributions.base import concrete
from ..errors import UnsupportedError, explain

FIXED: tuple[tuple[str, Constraint], ...] = (
    ("real", constraints.real),
    ("positive", constraints.positive),
    ("nonnegative", constraints.nonnegative),
    ("unit_interval", constraints.unit_interval),
    ("circular", constraints.circular),
    ("boolean", constraints.boolean),
    ("nonnegative_integer", constraints.nonnegative_integer),
    ("positive_integer", constraints.integer_interval(1, None)),
    ("real_vector", constraints.real_vector),
    ("simplex", constraints.simplex),
    ("ordered_vector", constraints.ordered_vector),
    ("positive_ordered_vector", constraints.positive_ordered_vector),
    ("lower_cholesky", constraints.lower_cholesky),
    ("corr_cholesky", constraints.corr_cholesky),
    ("corr_matrix", constraints.corr_matrix),
    ("positive_definite", constraints.positive_definite),
    # Last, so that the plain name wins on the way back.
    ("softplus_positive", constraints.positive),
    ("softplus_lower_cholesky", constraints.lower_cholesky),
    ("real_matrix", constraints.independent(constraints.real, 2)),
    ("positive_ordered_elements", constraints.positive_ordered_vector),
)
"""Constraints without parameters: a library's name, which it may lack, and ours."""

BOUNDED: tuple[tuple[str, Callable[..., Constraint]], ...] = (
    ("interval", constraints.interval),
    ("open_interval", constraints.interval),
    ("half_open_interval", constraints.interval),
    ("greater_than", constraints.greater_than),
    ("greater_than_eq", lambda low: constraints.greater_than(low, closed=True)),
    ("less_than", constraints.less_than),
    ("less_than_eq", lambda high: constraints.less_than(high, closed=True)),
    ("multinomial", constraints.counts),
    ("integer_interval", constraints.integer_interval),
    ("integer_greater_than", lambda low: constraints.integer_interval(low, None)),
)
"""Classes of constraints with bounds, and what makes ours of these."""


class Supports:
    """Translations for one library.

    Parameters
    ----------
    names : object
        A namespace of the library's constraints, see `FIXED` and `BOUNDED`; besides ``independent``, ``zero_sum`` and
        the base class ``Constraint``.
    asarray : callable
        Makes a bound of each element, nested tuples here, an array of the library.
    where : str
        The backend in words, for messages.
    """

    def __init__(self, names: Any, asarray: Callable[[Any], Any], where: str):
        self._names, self._asarray, self._where = names, asarray, where
        self._fixed = [(getattr(names, name), ours) for name, ours in FIXED if hasattr(names, name)]
        self._bounded = {getattr(names, name): make for name, make in BOUNDED if hasattr(names, name)}

    def ours(self, support: Any) -> Constraint:
        """Our constraint of one of the library.

        Returns
        -------
        Constraint
            `constraints.dependent` where bounds are not known yet, or the set has no name here.
        """
        for theirs, found in self._fixed:
            if support is theirs or (type(support) is type(theirs) and support == theirs):
                return found
        if isinstance(support, self._names.independent):
            return constraints.independent(
                self.ours(support.base_constraint), support.reinterpreted_batch_ndims
            )
        if isinstance(support, self._names.zero_sum):
            return constraints.zero_sum(support.event_dim)
        make = self._bounded.get(type(support))
        if make is not None:
            names = [name for name in ("lower_bound", "upper_bound") if hasattr(support, name)]
            bounds = [concrete(getattr(support, name)) for name in names]
            if all(bound is not None for bound in bounds):
                return make(*bounds)
        for theirs, found in self._fixed:
            if type(support) is type(theirs) and not hasattr(support, "lower_bound"):
                return found
        return constraints.Dependent(
            _attribute(support, "event_dim", 0), bool(_attribute(support, "is_discrete", False))
        )

    def theirs(self, constraint: Any) -> Any:
        """The library's constraint of ours; one of the library itself is returned as it is.

        Raises
        ------
        UnsupportedError
            For `constraints.dependent`, whose bounds are unknown.
        """
        if isinstance(constraint, self._names.Constraint):
            return constraint
        for theirs, ours in self._fixed:
            if constraint == ours:
                return theirs
        made = self._made(constraint)
        if made is None:
            raise UnsupportedError(
                explain(
                    self._where,
                    "a constraint with known bounds",
                    getattr(constraint, "words", repr(constraint)),
                    "give the bounds as numbers, as in constraints.interval(0, 1)",
                )
            )
        return made

    def _made(self, constraint: Any) -> Any:  # noqa: PLR0911  one for each class
        """The library's constraint of one of ours with parameters; None of another."""
        names, bound = self._names, self._bound
        match constraint:
            case constraints.Independent(base, num_axes):
                return names.independent(self.theirs(base), num_axes)
            case constraints.Interval(low, high):
                return names.interval(bound(low), bound(high))
            case constraints.GreaterThan(low, closed):
                return (names.greater_than_eq if closed else names.greater_than)(bound(low))
            case constraints.LessThan(high, closed):
                return (names.less_than_eq if closed else names.less_than)(bound(high))
            case constraints.ZeroSum(num_axes):
                return names.zero_sum(num_axes)
            case constraints.Counts(total):
                return names.multinomial(bound(total))
            case constraints.IntegerInterval(low, None):
                return names.integer_greater_than(bound(low))
            case constraints.IntegerInterval(low, high):
                return names.integer_interval(bound(low), bound(high))
        return None

    def running(self, declared: Any) -> Any:
        """The library's support of a formula that holds the library's arrays, whose bounds may not be numbers yet."""
        names = self._names
        if declared.bounds is None:
            return self.theirs(declared.support)
        low, high = declared.bounds
        if declared.event_shape:
            return names.multinomial(high)
        if declared.counts:
            return names.integer_greater_than(low) if high is None else names.integer_interval(low, high)
        if low is None and high is None:
            return names.real
        if high is None:
            return names.greater_than_eq(low)
        return names.less_than_eq(high) if low is None else names.interval(low, high)

    def _bound(self, value: Any) -> Any:
        return self._asarray(value) if isinstance(value, tuple) else value


def _attribute(support: Any, name: str, default: Any) -> Any:
    """A property that dependent constraints may refuse to give."""
    try:
        return getattr(support, name, default)
    except NotImplementedError:
        return default
