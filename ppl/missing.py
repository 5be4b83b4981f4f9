"""Outcomes with missing values: which are masked, imputed, or summed out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .columns import rows_of
from .errors import UnsupportedError, explain
from .laws import is_discrete
from .thresholds import GAPS_SHOWN


def how_missing(node, imputed) -> str:
    """What becomes of the missing values of an observed site: ``"masked"``, ``"imputed"`` or ``"summed"``, see `ModelTrace.missing`.

    Parameters
    ----------
    node : Node
        The site as it was recorded.
    imputed : set of str or None
        Sites whose missing values something else depends on.
    """
    if node.name not in (imputed or ()):
        return "masked"
    return "summed" if is_discrete(node.fn) else "imputed"


def sites_to_impute(
    wheres: Mapping[str, np.ndarray], laws: Mapping[str, Any], used: set[str], missing, elements
) -> set[str]:
    """Sites whose missing values something else depends on, or only part of whose event is missing.

    Those of a discrete site of a few single values are summed out.

    Parameters
    ----------
    wheres : mapping
        Where the data of each site are missing.
    laws : mapping
        The backend's law of each of these sites.
    used : set of str
        Sites whose missing values reach something else.
    missing : type
        The backend's law of missing elements.
    elements : callable
        Law of the elements of one event that are independent, or None.

    Returns
    -------
    set of str

    Raises
    ------
    UnsupportedError
        If such a site cannot be imputed.
    """
    needed = set()
    for name, where in wheres.items():
        fn = laws[name]
        events = where.reshape(-1, int(np.prod(fn.event_shape, dtype=int)))
        partial = bool((events.any(1) & ~events.all(1)).any()) and elements(fn) is None
        if name not in used and not partial:
            continue
        needed.add(name)
        if (
            is_discrete(fn)
            and not partial
            and getattr(fn, "has_enumerate_support", False)
            and not fn.event_shape
        ):
            continue  # summed out
        try:
            ok = not is_discrete(fn) and missing(fn, where).support is not None
        except NotImplementedError:
            ok = False
        if ok:
            continue
        why = "a part of a joint value is missing" if partial else "the model uses the value elsewhere"
        raise UnsupportedError(
            explain(
                f"site '{name}'",
                "a continuous outcome with elementwise support, or a discrete one of a few single values, where missing "
                "values are imputed or summed out",
                f"a {'discrete' if is_discrete(fn) else 'constrained'} one with missing rows "
                f"{rows_of(where, GAPS_SHOWN)}; {why}",
                "drop those rows, or leave the outcome out of the rest of the model",
            )
        )
    return needed
