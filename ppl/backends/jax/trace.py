"""Find a model's sites, shapes and supports abstractly: nothing of the model runs on numbers."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ...errors import ElboroomError
from ...running import GroupsFound, Record
from ...sites import ModelTrace
from ..sites import Looks
from .arrays import concrete, precision
from .execute import Run, execute, probe
from .lowering import constraint_of
from .masks import masks
from .missing import imputed
from .transforms import transform_of

_NEEDS_VALUES = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.NonConcreteBooleanIndexError,
    TypeError,
)


def trace(program) -> ModelTrace:
    """Sites of a program.

    Where the model needs the value of an array (a size computed from data, say), that argument becomes
    static; the trace names it in ``demoted``.
    """
    with precision(program.precision):
        try:
            found = _trace(program)
        except _NEEDS_VALUES as error:
            if isinstance(error, ElboroomError):
                raise
            found = _trace_with_static(program, error)
        if found.missing and program.imputed is None:
            program.imputed = imputed(program, lambda data, stand_in: _run(program, stand_in, data))
            found = replace(_trace(program), demoted=found.demoted)
        if program.model.language == "numpyro":
            look = partial(masks, program, run_model=partial(_run, program, None))
            found = _LOOKS.with_masks(program, found, look, partial(_trace, program))
        return _LOOKS.with_tied(program, found)


def _trace_with_static(program, error) -> ModelTrace:
    traced = [label for label, leaf in program.leaves.items() if leaf.traced and leaf.value.ndim]
    program.make_static(traced)
    try:
        _trace(program)
    except GroupsFound:
        program.make_traced(traced)
        raise
    except Exception:  # the model has another fault: the first error names it
        program.make_traced(traced)
        raise error from None
    for label in traced:
        program.make_traced([label])
        try:
            _trace(program)
        except _NEEDS_VALUES:
            program.make_static([label])
    found = _trace(program)
    return replace(found, demoted=tuple(label for label in traced if not program.leaves[label].traced))


def _leaves(program) -> tuple[dict, dict]:
    """Arguments that are traced, and those that are not."""
    traced = {label: leaf.value for label, leaf in program.leaves.items() if leaf.traced}
    return traced, {label: leaf.value for label, leaf in program.leaves.items() if not leaf.traced}


def _trace(program) -> ModelTrace:
    traced, static = _leaves(program)
    made: list[ModelTrace] = []
    learned: dict = {}

    def abstract(data):
        leaves = {**static, **data}
        run = Run(_LOOKS.latent, Record(), program.fixed, program.intervened)
        record = execute(program, leaves, run)
        made.append(_LOOKS.model_trace(record, leaves, program))
        learned.update(record.weights)
        return {name: jnp.asarray(value) for name, value in record.weights.items()}

    jax.eval_shape(abstract, traced)
    if not all(concrete(value) for value in learned.values()):  # some are computed from data
        learned = jax.jit(abstract)(traced)
    return replace(made[0], weights={name: np.asarray(value) for name, value in learned.items()})


def _run(program, stand_in, data, latent=None) -> Record:
    """One run with every missing value masked, and what others see of it decided by `stand_in`."""
    run = Run(latent or _LOOKS.latent, Record(), program.fixed, program.intervened, stand_in=stand_in)
    return execute(program, {**_leaves(program)[1], **data}, run)


def _abstract(program, run) -> Record:
    traced, static = _leaves(program)
    records: list[Record] = []

    def abstract(data):
        records.append(execute(program, {**static, **data}, run))
        return 0

    jax.eval_shape(abstract, traced)
    return records[0]


_LOOKS = Looks(
    Run,
    _abstract,
    probe,
    constraint_of,
    lambda fn, shape: transform_of(fn).inverse_shape(shape),
    lambda scale: not concrete(scale),
)
