"""Find a model's sites, shapes and supports by one run at a point inside the supports."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import torch

from ...running import Record
from ...sites import ModelTrace
from ..sites import Looks
from .arrays import Attached, randomness, to_device
from .execute import Run, execute, probe
from .indices import Held
from .lowering import constraint_of
from .masks import masks
from .missing import imputed
from .static import demote, on_host
from .transforms import transform_to


def trace(program) -> ModelTrace:
    """Sites of a program."""
    demoted = demote(program, partial(_run, program))
    found = replace(_trace(program), demoted=demoted)
    if found.missing and program.imputed is None:
        program.imputed = imputed(partial(_run, program))
        found = replace(_trace(program), demoted=demoted)
    if program.model.language == "pyro":
        look = partial(masks, run_model=partial(_run, program, None))
        found = _LOOKS.with_masks(program, found, look, partial(_trace, program))
    return _LOOKS.with_tied(program, found)


def leaves_of(program) -> dict:
    """Every argument as the model gets it, in double precision."""
    return {
        label: to_device(leaf.value, np.float64) if leaf.traced else on_host(leaf.value)
        for label, leaf in program.leaves.items()
    }


def _trace(program) -> ModelTrace:
    leaves = leaves_of(program)
    run = Run(_LOOKS.latent, Record(), program.fixed, program.intervened)
    with torch.enable_grad(), randomness(0), Held(), Attached():
        record = execute(program, leaves, run)
        found = _LOOKS.model_trace(record, leaves, program)
    return replace(found, weights={k: _numbers(v) for k, v in record.weights.items()})


def _numbers(value) -> np.ndarray:
    return np.asarray(value.detach() if isinstance(value, torch.Tensor) else value)


def _run(program, stand_in=None, latent=None) -> Record:
    run = Run(latent or _LOOKS.latent, Record(), program.fixed, program.intervened, stand_in=stand_in)
    return _executed(program, run)


def _executed(program, run) -> Record:
    with randomness(0), Held():
        return execute(program, leaves_of(program), run)


def _probe(fn) -> torch.Tensor:
    """A value inside the support that cannot leave for NumPy: what is computed from it is known to depend on it."""
    value = probe(fn).detach()
    return value.requires_grad_() if value.dtype.is_floating_point else value


_LOOKS = Looks(
    Run,
    _executed,
    _probe,
    constraint_of,
    lambda fn, shape: transform_to(fn.support).inverse_shape(torch.Size(shape)),
    lambda scale: scale.requires_grad,
)
