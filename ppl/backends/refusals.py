"""What a law says that cannot be made, drawn from or evaluated as it is."""

from __future__ import annotations

from typing import Any

from ..distributions.formula import CannotSampleError
from ..errors import ShapeError, explain


def check_vector(base: Any) -> None:
    """Refuse a base of `Ordered` that has no axis to be the vector.

    Raises
    ------
    ShapeError
    """
    if not base.batch_shape or base.event_shape:
        raise ShapeError(
            explain(
                "Ordered",
                "a base whose last batch axis is the vector",
                f"batch shape {tuple(base.batch_shape)} and event shape {tuple(base.event_shape)}",
                "expand the base, as in Ordered(Normal(0, 5).expand([4]))",
            )
        )


def check_shape(what: str, expected: tuple, got: tuple) -> None:
    """Refuse what a user's function gave in another shape.

    Parameters
    ----------
    what : {"log_prob", "sample"}
        The function, by the name of its argument.
    expected, got : tuple of int
        The shape that its result should have, and the one that it has.

    Raises
    ------
    ShapeError
    """
    if tuple(got) == tuple(expected):
        return
    density = what == "log_prob"
    raise ShapeError(
        explain(
            f"CustomDist, result of '{what}'",
            f"{'one log density per value, ' if density else ''}shape {tuple(expected)}",
            f"shape {tuple(got)}",
            "sum over the event axes only, and say how many there are with event_dim"
            if density
            else "return an array of the shape it is asked for",
        )
    )


def not_exchangeable() -> CannotSampleError:
    """Of an `Ordered` law whose elements differ."""
    return CannotSampleError(
        explain(
            "Ordered",
            "elements of one law, where draws are needed",
            "elements with parameters of their own",
            "give every element the same law, as in Ordered(Normal(0, 5).expand([4]))",
        )
    )


def improper() -> CannotSampleError:
    """Of a density that does not integrate."""
    return CannotSampleError(
        explain(
            "ImproperUniform",
            "a proper law, where draws of the prior are needed",
            "a density that does not integrate",
            "give it a proper prior",
        )
    )


def without_sampler() -> CannotSampleError:
    """Of a user's own density without a function that draws."""
    return CannotSampleError(
        explain(
            "CustomDist",
            "a function that draws values, where prior or predictions are drawn",
            "a density alone",
            "give sample=, a function of (rng, *params, shape)",
        )
    )
