"""Coordinates of a site's values in which log likelihoods are carried, and functions in which some of them are exact.

Written with the words of the language, so that the same lines run on draws and within a model. They need not be the
coordinates of a fit: any smooth ones on the whole line will do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...ppl import math as m
from ...ppl.errors import UnsupportedError, explain


def base_of(constraint: Any) -> Any:
    """A constraint without the axes that make one event of many values."""
    while hasattr(constraint, "base"):
        constraint = constraint.base
    return constraint


def _line(x, _c):
    return x


def _above(x, c):
    return m.log(x - _bound(c, "lower", x))


def _below(x, c):
    return m.log(_bound(c, "upper", x) - x)


def _between(x, c):
    low, high = _bound(c, "lower", x), _bound(c, "upper", x, 1.0)
    return m.log(x - low) - m.log(high - x)


def _shares(x, _c):
    return m.log(x[..., :-1]) - m.log(x[..., -1:])


def _ordered(x, _c):
    return m.concat([x[..., :1], m.log(x[..., 1:] - x[..., :-1])], axis=-1)


def _positive_ordered(x, _c):
    return m.concat([m.log(x[..., :1]), m.log(x[..., 1:] - x[..., :-1])], axis=-1)


def _correlations(x, _c):
    """Partial correlations on Fisher's scale, of the rows of a Cholesky factor."""
    columns = []
    for i in range(1, x.shape[-1]):
        left = 1.0
        for j in range(i):
            own = x[..., i, j]
            columns.append(m.log(m.sqrt(left) + own) - m.log(m.sqrt(left) - own))
            left = left - own * own
    return 0.5 * m.stack(columns, axis=-1)


def _turned(x, _c):
    return m.concat([m.expand_dims(m.cos(x), -1), m.expand_dims(m.sin(x), -1)], axis=-1)


COORDINATES: dict[str, tuple[Callable[..., Any], int]] = {
    "real": (_line, 0),
    "real_vector": (_line, 1),
    "zero_sum": (_line, 1),
    "positive": (_above, 0),
    "nonnegative": (_above, 0),
    "greater_than": (_above, 0),
    "less_than": (_below, 0),
    "unit_interval": (_between, 0),
    "interval": (_between, 0),
    "simplex": (_shares, 1),
    "ordered_vector": (_ordered, 1),
    "positive_ordered_vector": (_positive_ordered, 1),
    "corr_cholesky": (_correlations, 2),
    "circular": (_turned, 0),
}
"""By the name of a constraint: the map, and how many trailing axes one event of it takes."""


def _bound(constraint: Any, name: str, like: Any, default: float = 0.0) -> Any:
    bound = getattr(constraint, name, default)
    return m.like(np.asarray(bound), like) if isinstance(bound, tuple) else bound


def coordinates(constraint: Any, value: Any) -> Any:
    """Coordinates of values, which lie on the whole line; their trailing axis is another where an event has several.

    Parameters
    ----------
    constraint : Constraint
        Where the values lie.
    value : array
        Values of any batch shape, NumPy's or a backend's.

    Raises
    ------
    UnsupportedError
        For supports that are not carried on.

    Examples
    --------
    >>> from elboroom.ppl import constraints
    >>> coordinates(constraints.positive, np.array([1.0, np.e])).tolist()
    [0.0, 1.0]
    """
    base = base_of(constraint)
    return _known(base)[0](value, base)


def carried(constraint: Any) -> bool:
    """Whether a support has coordinates here."""
    return getattr(base_of(constraint), "name", "") in COORDINATES


def _known(base: Any) -> tuple[Callable[..., Any], int]:
    name = getattr(base, "name", "")
    if name not in COORDINATES:
        want = f"a latent quantity whose support is one of {sorted(COORDINATES)}"
        raise UnsupportedError(
            explain("as_prior", want, name or "an unknown support", "fit all rows at once")
        )
    return COORDINATES[name]


# -- functions in which likelihoods of one-parameter families are linear ---------------------------------


def _of_half_line(x, c):
    x = x - _bound(c, "lower", x)
    return m.log(x), x, 1.0 / x, 1.0 / (x * x)


def _of_interval(x, c):
    return m.log(x - _bound(c, "lower", x)), m.log(_bound(c, "upper", x, 1.0) - x)


def _of_shares(x, _c):
    return (m.log(x),)


NATURAL: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
    "positive": (_of_half_line, ((0, 1), (0, 2), (0, 3))),
    "nonnegative": (_of_half_line, ((0, 1), (0, 2), (0, 3))),
    "greater_than": (_of_half_line, ((0, 1), (0, 2), (0, 3))),
    "unit_interval": (_of_interval, ((0, 1),)),
    "interval": (_of_interval, ((0, 1),)),
    "simplex": (_of_shares, ((0,),)),
}
"""By the name of a constraint: functions of each value, and which of them belong together: those of Poisson rates and
precisions; of scales of exponential laws; of standard deviations; of probabilities."""


def natural(constraint: Any, value: Any) -> tuple[Any, ...]:
    """Functions of values in which log likelihoods of one-parameter families are linear, each of the shape of `value`.

    Examples
    --------
    >>> from elboroom.ppl import constraints
    >>> [f.tolist() for f in natural(constraints.unit_interval, np.array([0.5]))]
    [[-0.6931471805599453], [-0.6931471805599453]]
    """
    base = base_of(constraint)
    found = NATURAL.get(getattr(base, "name", ""))
    return () if found is None else found[0](value, base)


def together(constraint: Any) -> tuple[tuple[int, ...], ...]:
    """Which of the functions of `natural` belong together."""
    found = NATURAL.get(getattr(base_of(constraint), "name", ""))
    return () if found is None else found[1]
