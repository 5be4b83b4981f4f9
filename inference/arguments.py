"""What `fit` is given: refused by name where it cannot be meant, and taken to where a fit begins."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..ppl.codebook import Codes
from ..ppl.distributions.bits import Bits
from ..ppl.distributions.one_hot import OneHots
from ..ppl.errors import InferenceError, ModelError, ShapeError, explain
from ..ppl.model import Model, Program
from .batches.minibatch import Minibatch
from .run.watch import check_seconds


def check_arguments(  # noqa: PLR0913, PLR0917  those of `fit`
    program: Any,
    guide: Any,
    seed: Any,
    num_draws: Any,
    start: Any,
    quantities: Any,
    refine: Any,
    minibatch: Any,
    max_seconds: Any,
    checkpoint: Any,
) -> None:
    """Refuse what `fit` cannot take.

    Raises
    ------
    ModelError, InferenceError
    """
    _check_program(program)
    for name, value, least in (("num_draws", num_draws, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise InferenceError(
                explain(name, f"an integer of at least {least}", repr(value), "correct the argument")
            )
    if not isinstance(refine, (str, bool)) or refine not in ("auto", "always", True, False):
        raise InferenceError(explain("refine", "'auto', 'always' or False", repr(refine), "choose one"))
    if minibatch is not None and not isinstance(minibatch, Minibatch):
        want, remedy = "er.Minibatch('plate', size=...)", "pass one, or leave it out"
        raise InferenceError(explain("minibatch", want, repr(minibatch), remedy))
    if checkpoint is not None and not isinstance(checkpoint, (str, os.PathLike)):
        raise InferenceError(explain("checkpoint", "a folder", repr(checkpoint), "pass its path"))
    check_seconds(max_seconds)
    if quantities is not None and (isinstance(quantities, str) or not isinstance(quantities, Sequence)):
        raise InferenceError(
            explain("quantities", "a list of names", repr(quantities)[:80], "write quantities=['name']")
        )
    if start is not None and not isinstance(start, Mapping):
        want = "a mapping of sites to values"
        raise InferenceError(explain("start", want, type(start).__name__, "write start={'name': value}"))
    if guide is None and refine is False:
        raise InferenceError(explain("guide", "a guide where refine=False", "None", "leave one of them out"))
    if guide is None and minibatch is not None:
        words = "a guide to fit on batches: chains see all rows"
        raise InferenceError(explain("minibatch", words, "guide=None", "leave one of them out"))


def _check_program(program: Any) -> None:
    if isinstance(program, Model):
        raise ModelError(
            explain(
                "fit",
                "a program: a model called with its data",
                f"the model '{program.name}' itself",
                f"write er.fit({program.name}(...))",
            )
        )
    if not isinstance(program, Program):
        raise ModelError(
            explain(
                "fit",
                "a program",
                type(program).__name__,
                "call an @er.model function with data, or er.from_numpyro(fn)(data)",
            )
        )


def target_of(program: Program, backend: str, dtype: Any, device: str) -> Any:
    """The target of a program that has something to infer and something to infer it from.

    Raises
    ------
    ModelError
    """
    target = program.target(backend, dtype, device)
    trace = target.trace
    if target.dim == 0:
        raise ModelError(
            explain(f"model '{program.name}'", "a latent site to infer", "none", "declare one with er.sample")
        )
    if not trace.by_role("observed", "factor"):
        raise ModelError(
            explain(
                f"model '{program.name}'",
                "data: an observed site or a factor",
                "a model without any",
                "pass the outcome, or use prior_predictive",
            )
        )
    return target


def start_of(target: Any, start: Mapping[str, Any] | None) -> np.ndarray | None:
    """Unconstrained coordinates of a starting point, shape ``(1, dim)``; None where none is given.

    Raises
    ------
    InferenceError, ShapeError
    """
    if start is None:
        return None
    missing = [s.name for s in target.sites if s.name not in start]
    if missing:
        raise InferenceError(
            explain(
                "start", "a value for every latent site", f"none for {missing}", "add them or leave start out"
            )
        )
    values = {}
    for site in target.sites:
        try:
            values[site.name] = np.broadcast_to(np.asarray(start[site.name], float), site.shape)[None]
        except ValueError:
            shape = np.shape(start[site.name])
            raise ShapeError(
                explain(f"start of site '{site.name}'", f"shape {site.shape}", f"{shape}", "reshape it")
            ) from None
    z = target.unconstrain(values)
    if not np.isfinite(z).all():
        raise InferenceError(
            explain("start", "values inside the supports", "a value outside or on the edge", "move it inside")
        )
    return z


NO_DENSITIES = frozenset({Bits.__name__, OneHots.__name__, Codes.__name__})
"""Laws of latent quantities that have none."""


def check_densities(what: str, target: Any) -> None:
    """Refuse latent quantities that have no density: bits, and entries of a codebook.

    Raises
    ------
    InferenceError
    """
    found = [site.name for site in target.sites if site.distribution in NO_DENSITIES]
    if found:
        got = f"{found}, whose values are zeros and ones or entries of a codebook"
        raise InferenceError(
            explain(what, "latent quantities that have densities", got, "use er.fit, with its encoder")
        )
