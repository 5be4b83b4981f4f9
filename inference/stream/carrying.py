"""A model beside whose prior stands what earlier data have said: the same sites, one term more."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import nullcontext
from functools import update_wrapper
from typing import Any, Protocol

import numpy as np

from ...ppl.errors import UnsupportedError, explain
from ...ppl.interpreter import interpreting
from ...ppl.model import CARRIED, Model, Program
from ...ppl.primitives import factor, interpreter_of, plate


class Listening:
    """An interpreter that passes every word on, and keeps the values of sampled sites."""

    def __init__(self, inner: Any):
        self._inner = inner
        self.values: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def sample(self, name: str, distribution: Any) -> Any:
        """The value of a site, kept under its name."""
        self.values[name] = value = self._inner.sample(name, distribution)
        return value


class Carrying:
    """The declaration of a model with a carried log likelihood, whose numbers are an argument: one compiled function serves
    all batches of a size.

    Attributes
    ----------
    model : Model
        The user's own.
    form : Form
        How the log likelihood is read from the numbers.
    """

    def __init__(self, model: Model, form: Form):
        update_wrapper(self, model.fn)
        self.model, self.form = model, form
        parameters = list(model.signature.parameters.values())
        last = [p for p in parameters if p.kind is inspect.Parameter.VAR_KEYWORD]
        own = inspect.Parameter(CARRIED, inspect.Parameter.KEYWORD_ONLY)
        rest = [p for p in parameters if p not in last]
        self.__signature__ = inspect.Signature([*rest, own, *last])

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        packed = kwargs.pop(CARRIED)
        listening = Listening(interpreter_of("sample"))
        with interpreting(listening):
            self.model.fn(*args, **kwargs)
        value, groups = self.form.said(listening.values, packed), self.form.rows
        with nullcontext() if groups is None else plate(groups, int(np.shape(value)[0])):
            factor(CARRIED, value)


class Form(Protocol):
    """How a carried log likelihood is read from its numbers.

    Attributes
    ----------
    rows : str or None
        Plate whose elements it has a term for each of.
    """

    @property
    def rows(self) -> str | None: ...

    def said(self, values: Mapping[str, Any], packed: Any) -> Any:
        """In nats, at values of the sites within a model."""


def carrying(model: Model, form: Form) -> Model:
    """A model with a carried log likelihood.

    Raises
    ------
    UnsupportedError
        For models in the words of NumPyro or Pyro, and where an argument has the name already.
    """
    if model.language != "elboroom":
        want = "a model in the words of elboroom"
        raise UnsupportedError(
            explain(f"model '{model.name}'", want, f"one of {model.language}", "declare it with @er.model")
        )
    if CARRIED in model.signature.parameters:
        want = f"a model without an argument '{CARRIED}', the name of what is carried on"
        raise UnsupportedError(explain(f"model '{model.name}'", want, "one with it", "rename it"))
    return Model(Carrying(model, form), dims=model.dims, coords=model.coords)


def plain(program: Program) -> Program:
    """A program without what is carried on beside it: the user's own model with the same data."""
    fn = program.model.fn
    if not isinstance(fn, Carrying):
        return program
    arguments = {k: v for k, v in program.arguments.items() if k != CARRIED}
    return Program(
        fn.model, arguments, program.fixed, program.intervened, program.labels, program.level_counts
    )


def beside(model: Model, program: Program, packed: np.ndarray, labels: Any, counts: Any) -> Program:
    """A program of a model that carries, with the data of another program and the numbers that are carried."""
    arguments = {**plain(program).arguments, CARRIED: packed}
    return Program(model, arguments, program.fixed, program.intervened, labels, counts)
