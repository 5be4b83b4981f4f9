"""Compilation for functions that run once: the same numbers to rounding, in half the time."""

from functools import partial

import jax

quickly = partial(jax.jit, compiler_options={"xla_cpu_use_fusion_emitters": False})
