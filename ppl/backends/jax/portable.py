"""Functions as files: of ``jax.export``, and as ONNX."""

from __future__ import annotations

import importlib
import logging

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jax.extend.core import jaxpr_as_fun

from .arrays import precision

SUFFIXES = (".jax", ".onnx")
PLATFORMS = ("cpu", "cuda")
"""What a ``.jax`` file runs on."""


def written(fn, constants, inputs, dtype, suffix) -> bytes:
    """See `protocol.Portable`."""
    with precision(dtype):
        held = {name: jnp.asarray(value) for name, value in constants.items()}
        batch = export.symbolic_shape("batch")
        specs = {i.name: jax.ShapeDtypeStruct((*batch, *i.shape), np.dtype(i.dtype)) for i in inputs}

        def made(**given):
            return dict(sorted(fn(held, given).items()))

        if suffix == ".jax":
            return bytes(export.export(jax.jit(made), platforms=PLATFORMS)(**specs).serialize())
        return _onnx(made, specs, dtype)


def _onnx(made, specs, dtype) -> bytes:
    """An ONNX model whose inputs and outputs have the names that they have here.

    The function is traced before it is converted: the converter exchanges functions of JAX while it traces.
    """
    convert = importlib.import_module("jax2onnx").to_onnx
    names = list(specs)

    def of_positions(*given):
        return tuple(made(**dict(zip(names, given, strict=True))).values())

    logging.getLogger("onnx_ir").setLevel(logging.ERROR)  # it tells of shapes that it leaves out
    model = convert(
        jaxpr_as_fun(jax.make_jaxpr(of_positions)(*specs.values())),
        inputs=list(specs.values()),
        enable_double_precision=np.dtype(dtype) == np.float64,
        input_names=names,
        output_names=sorted(jax.eval_shape(made, **specs)),
    )
    return model.SerializeToString()


def read(content):
    """A ``.jax`` file as a function of arrays by name."""
    found = export.deserialize(bytearray(content))

    def call(given):
        with jax.enable_x64(any(np.dtype(a.dtype).itemsize == 8 for a in found.in_avals)):
            return {name: np.asarray(value) for name, value in found.call(**given).items()}

    return call
