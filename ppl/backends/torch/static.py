"""Data arguments that a model needs as concrete arrays: sizes, tables, whatever it takes to the host."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from .arrays import Inside, Leaving

_RENAMED = {"power": "pow", "equal": "eq"}  # NumPy's name of a function, and PyTorch's


class Host(np.ndarray):
    """A NumPy array that becomes a tensor where it meets one."""

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        known = next((x for x in inputs if isinstance(x, torch.Tensor)), None)
        plain = [np.asarray(x) if isinstance(x, np.ndarray) else x for x in inputs]
        if known is None:
            made = getattr(ufunc, method)(*plain, **kwargs)
            return made.view(Host) if isinstance(made, np.ndarray) else made
        function = getattr(torch, _RENAMED.get(ufunc.__name__, ufunc.__name__), None)
        if function is None or method != "__call__" or kwargs:
            return NotImplemented
        return function(*(_beside(known, x) for x in plain))


def _beside(tensor, x):
    if not isinstance(x, np.ndarray):
        return x
    made = torch.as_tensor(np.array(x), device=tensor.device)
    both = tensor.dtype.is_floating_point and made.dtype.is_floating_point
    return made.to(tensor.dtype) if both else made


def on_host(value):
    """A static argument as the model gets it."""
    return value.view(Host) if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" else value


def demote(program, run_model: Callable[[], object]) -> tuple[str, ...]:
    """Hand to the model as NumPy arrays what it takes numbers out of; gives the labels of these arguments.

    Parameters
    ----------
    program : Program
        Whose traced arguments they are; it remembers which it hands over.
    run_model : callable
        Runs the model once.

    Notes
    -----
    A model of Pyro keeps its tensors: there such a function is called draw by draw.
    """
    if program.model.language == "pyro" or _outcome(run_model) is not Leaving:
        return ()
    traced = [label for label, leaf in program.leaves.items() if leaf.traced and leaf.value.ndim]
    program.make_static(traced)
    if _outcome(run_model) is not None:  # it is a latent quantity that leaves
        program.make_traced(traced)
        return ()
    for label in traced:
        program.make_traced([label])
        if _outcome(run_model) is not None:
            program.make_static([label])
    return tuple(label for label in traced if not program.leaves[label].traced)


def _outcome(run_model) -> type | None:
    """The error of a run that may take no numbers out of its tensors, or None."""
    try:
        with Inside(strict=True):
            run_model()
    except Exception as error:  # one of the model's own comes again where it is reported
        return type(error)
    return None
