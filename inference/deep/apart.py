"""Do rows stand alone? Evidence by row holds where the density of a row depends on no other row, and its encoder on none either."""

from __future__ import annotations

import numpy as np

from ...ppl.ancestral import check_order
from ...ppl.errors import GuideError, explain
from ..thresholds import ROWS_ALIKE
from .compiled import Compiled
from .setup import Setup


def check_apart(setup: Setup, compiled: Compiled) -> None:
    """Refuse rows that see each other: each half of a batch, at the same coordinates beside others at others, must be what it was.

    Parameters
    ----------
    setup : Setup
        Rows with their encoder.
    compiled : Compiled
        Their functions.

    Raises
    ------
    GuideError
    ModelError
        See `check_order`.
    """
    rows = setup.rows
    check_order(rows.small)
    rng, to_device = np.random.default_rng(76), rows.small.to_device
    order = rng.permutation(rows.total)
    first, others = order[: rows.size], np.resize(order[::-1], rows.size)  # the same, where there are no more
    z = rng.standard_normal((2, rows.size, rows.num_units)).astype(rows.small.dtype)
    early = np.arange(rows.size) < rows.size // 2
    mine = np.stack([np.ones(rows.size, bool), early, ~early])  # of three batches
    guide = {name: to_device(np.zeros(rows.num_shared)) for name in ("mean", "log_sd")}
    params = {"weights": {k: to_device(v) for k, v in setup.begin.items()}, "guide": guide}
    given = {"seed": np.zeros(3, np.int64), "z": np.where(mine[:, :, None], *z)[:, None]}
    with rows.small.room():
        batches = compiled.batches(np.where(mine, first, others))
        _, found = compiled.at({}, {**given, **batches}, {**compiled.constants, "params": params})
    for name, what in (("joint", "the density of a row"), ("log_q", "the encoder's answer for a row")):
        value = np.asarray(found[name], np.float64)[:, 0]
        off = np.abs(value[1:] - value[0]) > ROWS_ALIKE * (1 + np.abs(value[0]))
        if (off & mine[1:] & np.isfinite(value[1:]) & np.isfinite(value[0])).any():
            got = f"another value of {what} beside other rows, as z - z.mean(0) or a normalisation over rows makes"
            remedy = (
                "take it out, or pass what is computed from many rows as an argument of its own; guide='auto' fits rows that "
                "belong together"
            )
            where = f"encoder of the rows of '{rows.plate}'"
            raise GuideError(explain(where, "rows that do not see each other", got, remedy))
