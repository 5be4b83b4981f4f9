"""Numbers that flows have in common on every backend.

The base law of a flow is a normal one whose tails were made heavier, coordinate by coordinate, by
``spread · sinh(arcsinh(eps) / tail)``: importance weights then stay bounded in tails that few draws of the fit see.

References
----------
Jones & Pewsey (2009), Sinh-arcsinh distributions, Biometrika 96. Jaini et al. (2020), Tails of Lipschitz triangular
flows, ICML.
"""

import numpy as np

STEEPEST = np.log(1e3)  # bound of the log scales
BOUND, LEAST, WIDTHS = 8.0, 0.1, 0.4  # splines: where they end, their least slope and bins
CLIP, KEEP = 1.0, 0.99  # norm of a step's gradient; what an average keeps at each step


def given_shapes(dim: int, rest: int, width: int, last: str) -> dict[str, tuple[int, ...]]:
    """Shapes of the network that says where `rest` coordinates lie, and how wide, given the `dim` that are bent.

    Names with `last` belong to weights whose zeros leave the others as they are.
    """
    if not rest:
        return {}
    return {
        "given.weight": (1, width, dim),
        "given.bias": (1, width),
        f"given.{last}.weight": (1, 2 * rest, width),
        f"given.{last}.bias": (1, 2 * rest),
        f"given.{last}.straight": (1, 2 * rest, dim),
    }


def tails(dim: int) -> tuple[float, float]:
    """``tail`` and ``spread`` of the base law, its variance one.

    What heavier tails cost adds up over coordinates: the more there are, the closer each stays to the normal law.
    """
    tail = 1.0 - min(0.35, 1.0 / np.sqrt(dim))
    eps = np.linspace(-12.0, 12.0, 4801)
    weight = np.exp(-0.5 * eps**2)
    return tail, float(np.sqrt(weight.sum() / (weight @ np.sinh(np.arcsinh(eps) / tail) ** 2)))
