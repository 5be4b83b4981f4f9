"""A program traced: identifiers become codes, loops find their precision, and what is found is checked against the data."""

from __future__ import annotations

from typing import Any

import numpy as np

from .backends import load
from .binding import check_codes, check_gaps, check_indices, check_names, groups_by_coords
from .data import as_groups
from .enumeration import dependents
from .errors import ElboroomError
from .plates import GroupsFound
from .sites import ModelTrace
from .slips import mixes_precisions, translated


def traced(program: Any, backend: str) -> ModelTrace:
    """Sites, shapes and supports of a program, found abstractly.

    Parameters
    ----------
    program : Program
        Arguments of it that turn out to be identifiers of groups become codes, and its precision that of its loops.
    backend : {"jax", "torch"}
        Where it is traced.

    Returns
    -------
    ModelTrace

    Raises
    ------
    ModelError, UnsupportedError
        See `Program.trace`.
    """
    engine = load(backend, program.model.language)
    while True:
        found = _found(program, engine, backend)
        if not program.checked:
            return found
        check_names(program, found)
        known = {site.argument for site in found.by_role("observed") if site.name in found.missing}
        for label, leaf in program.leaves.items():
            if leaf.holes is not None and label not in known:
                check_gaps(program, label, leaf.value)
        groups = groups_by_coords(program, found, engine.accesses(program))
        if not groups:
            break
        program.leaves.update(groups)
        program.analyses.clear()
    check_indices(engine.index_problems(program))
    check_codes(program, engine.code_problems(program))
    if found.counts:
        dependents(found, engine.accesses(program))
    return found


def _found(program, engine, backend: str) -> ModelTrace:
    """The trace, once the whole numbers that are identifiers of groups have become codes."""
    while True:
        try:
            return engine.trace(program)
        except GroupsFound as ids:
            program.leaves[ids.label] = as_groups(program.leaves[ids.label], ids.label)
        except ElboroomError:
            raise
        except (TypeError, RuntimeError, IndexError, AttributeError, ValueError) as error:
            found = _in_single_precision(program, engine, error)
            if found is not None:
                return found
            named = translated(program, backend, engine, error)
            if named is None:
                raise
            raise named from error


def _in_single_precision(program, engine, error: Exception) -> ModelTrace | None:
    """The trace of a model whose carry has a type that only single precision keeps."""
    if not mixes_precisions(error) or program.precision != np.float64:
        return None
    program.precision = np.dtype(np.float32)
    try:
        return engine.trace(program)
    except Exception:  # the first error says what is wrong
        program.precision = np.dtype(np.float64)
        return None
