"""Data arguments that a model needs as concrete arrays: sizes, tables, whatever it takes to the host."""

from __future__ import annotations

from collections.abc import Callable

from .arrays import Inside, Leaving


def demote(program, run_model: Callable[[], None]) -> tuple[str, ...]:
    """Hand to the model as NumPy arrays what it takes numbers out of; gives the labels of these arguments.

    Parameters
    ----------
    program : Program
    run_model : callable
        Runs the model once.

    Notes
    -----
    A model of Pyro keeps its tensors: there such a function is called draw by draw.
    """
    if program.model.language == "pyro" or _runs_inside(run_model):
        return ()
    traced = [label for label, leaf in program.leaves.items() if leaf.traced and leaf.value.ndim]
    program.make_static(traced)
    if not _runs_inside(run_model):  # it is a latent quantity that leaves
        program.make_traced(traced)
        return ()
    for label in traced:
        program.make_traced([label])
        if not _runs_inside(run_model):
            program.make_static([label])
    return tuple(label for label in traced if not program.leaves[label].traced)


def _runs_inside(run_model) -> bool:
    """Whether a model runs without taking numbers out of its tensors."""
    try:
        with Inside(strict=True):
            run_model()
    except Leaving:
        return False
    except (AttributeError, TypeError, ValueError, RuntimeError):
        return False
    return True
