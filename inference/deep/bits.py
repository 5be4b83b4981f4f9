"""What rows cost to send to somebody who has the same model.

References
----------
Hinton & van Camp (1993), Keeping neural networks simple by minimizing the description length of the weights, and Townsend, Bird & Barber
(2019), Practical lossless compression with latent variables using bits back coding, ICLR, on the cost by a bound. Theis, van den Oord &
Bethge (2016), A note on the evaluation of generative models, ICLR, on continuous densities of rounded numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...ppl.errors import DataError, explain

WHERE = "latent.bits"


def bits(latent: Any, x: Any, step: Any):
    """See `Latent.bits`."""
    import xarray as xr

    rows = latent.setup.rows
    data, count = latent.data_of(x, WHERE)
    known = {name: s for name, s in latent.outcomes.items() if s.argument in rows.along}
    steps = _steps(known, step)
    rng, moved, fixed = np.random.default_rng([latent.seed, 84]), dict(data), np.zeros(count)
    numbers = np.zeros(count)
    for name, site in known.items():
        axis = rows.along[site.argument]
        value = np.asarray(data[site.argument], np.float64)
        there = (~np.isnan(np.moveaxis(value, axis, 0))).reshape(count, -1).sum(1)
        numbers += there
        if name in steps:
            moved[site.argument] = value + steps[name] * rng.uniform(-0.5, 0.5, value.shape)
            fixed -= there * np.log2(steps[name])
    found = latent.score(moved)
    exact, bound = (fixed - found[name].to_numpy() / np.log(2) for name in ("log_prob", "bound"))
    each = np.maximum(numbers, 1)
    columns = {
        "bits": exact, "bits_back": bound, "per_number": exact / each, "bits_back_per_number": bound / each,
        "se": found["se"].to_numpy() / np.log(2), "verdict": found["verdict"].to_numpy(),
    }  # fmt: skip
    return xr.Dataset({name: ("row", value) for name, value in columns.items()})


def _steps(known: Mapping[str, Any], step: Any) -> dict[str, float]:
    """Step of the numbers of each continuous outcome.

    Raises
    ------
    DataError
        If one has none, or it is no positive number.
    """
    wanted = [name for name, site in known.items() if not site.is_discrete]
    given = dict(step) if isinstance(step, Mapping) else {} if step is None else dict.fromkeys(wanted, step)
    what = f"step of {WHERE}"
    if set(given) != set(wanted):
        want = (
            f"a step for {wanted}, to which their numbers are rounded"
            if wanted
            else "none, as all outcomes are counts or categories"
        )
        raise DataError(
            explain(what, want, f"{sorted(given) or None}", "say it: step=1/16, say, of sixteen shades")
        )
    for name, value in given.items():
        if not np.ndim(value) == 0 or not np.isfinite(value) or value <= 0:
            raise DataError(explain(f"{what} for '{name}'", "a positive number", repr(value), "correct it"))
    return {name: float(value) for name, value in given.items()}
