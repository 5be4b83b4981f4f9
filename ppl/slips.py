"""Errors of other libraries in a model's code, told as the slips that they are: where, what was meant, what to do."""

from __future__ import annotations

import linecache
import re
import traceback
from collections.abc import Mapping
from dataclasses import fields, replace

import numpy as np

from . import distributions, math
from .columns import is_instance, no_dates, rows_of
from .errors import DataError, ElboroomError, ModelError, UnsupportedError, explain
from .thresholds import LABELS_SHOWN

_FOREIGN = (
    (r"(\w+)\(\).*must be Tensor, not .*Tracer", "PyTorch"),
    (r"<function (\w+) at .*torch\.Tensor", "JAX"),
    (r"torch\.Tensor.* not a valid JAX type()", "JAX"),
    (r"unsupported operand type.*numpy\.ndarray.*Tensor()", "NumPy"),
    (r"not supported between instances of 'numpy\.ndarray' and 'Tensor'()", "NumPy"),
    (r"Can't call numpy\(\) on Tensor()", "NumPy"),
    (r"__array__\(\) was called on traced array()", "NumPy"),
    (r"took numbers out of a latent tensor()", "Python or NumPy"),
)
"""What libraries say of a function of one that meets an array of another: pattern of its name, library."""
_OWN = {"numpyro": ("jax.numpy", "jax.numpy.asarray"), "pyro": ("PyTorch", "torch.as_tensor")}
"""What a model of another language computes with, and makes its constants with."""
_NO_INDEX = r"Indexer must have integer|arrays used as indices must be|boolean indices must be|tensors used as indices must be"
_COLUMN = (
    r"string index|invalid data type 'str'|only integers, slices|has no attribute|indices must be integers"
)
_DATES = r"datetime64|timedelta64|as an abstract array|Can't call numpy\(\) on Tensor|out of a latent tensor"
_NUMBER = r"Abstract tracer value encountered|integer scalar arrays can be converted|only integer tensors of a single"
_DECIDES = r"boolean conversion of traced array|truth value of an array|boolean value of Tensor"


_CARRY = r"carry|branch|must have (equal|identical) types|mismatching dtypes"


def mixes_precisions(error: Exception) -> bool:
    """Whether a loop's types disagree, as those of 32 and 64 bits do that were written for a default of 32."""
    text = str(error)
    return isinstance(error, TypeError) and "32" in text and "64" in text and bool(re.search(_CARRY, text))


def translated(program, backend: str, engine, error: Exception) -> ElboroomError | None:
    """The error of a model's own code in four parts, or None where it is the model's own affair.

    Parameters
    ----------
    program : Program
        Whose model was running.
    backend : str
        Where.
    engine : module
        The backend, to run the model again with something else in an argument's place.
    error : Exception
        What was raised.
    """
    text = str(error)
    where = f"model '{program.name}' on {backend}{_line(program, error)}"
    own, make = _OWN.get(program.model.language, ("er.math", "er.math.asarray"))
    mistyped = isinstance(error, TypeError)
    return (
        _arguments_of_words(where, text)
        or (_decision(where, own) if mistyped and re.search(_DECIDES, text) else None)
        or (_python_number(where, own) if mistyped and re.search(_NUMBER, text) else None)
        or (_no_index(program, engine) if re.search(_NO_INDEX, text) else None)
        or (_dates(program, engine) if re.search(_DATES, text) else None)
        or (_no_numbers(program, text) if mistyped else None)
        or (_table_column(program, where) if re.search(_COLUMN, text) else None)
        or _foreign_operation(where, text, own, make)
    )


def _decision(where: str, own: str) -> UnsupportedError:
    """The error of a model whose course depends on a latent quantity."""
    return UnsupportedError(
        explain(
            where,
            "a model whose course does not depend on a latent quantity",
            "a Python 'if', 'while' or 'and' on one",
            f"use {'torch' if own == 'PyTorch' else own}.where(condition, a, b)",
        )
    )


def _python_number(where: str, own: str) -> UnsupportedError:
    """The error of a model that takes a number out of a latent quantity."""
    return UnsupportedError(
        explain(
            where,
            "a model that takes no Python number out of a latent quantity",
            "int(), float(), range(), an index of a list or a function of math on one",
            f"compute with the functions of {own}",
        )
    )


def _line(program, error) -> str:
    """The line of the model that an error comes from, in words."""
    code = getattr(program.model.fn, "__code__", None)
    for frame, number in reversed(list(traceback.walk_tb(error.__traceback__))):
        if frame.f_code is code:
            text = linecache.getline(code.co_filename, number).strip()
            return f", line {number}" + (f" ({text})" if text else "")
    return ""


def _arguments_of_words(where, text) -> ModelError | None:
    """A wrong argument of a distribution or of a word."""
    found = re.search(r"(\w+)(\.__init__)?\(\) (got an unexpected keyword argument '(\w+)'|missing .*)", text)
    if found is None:
        return None
    name, _, problem, argument = found.groups()
    law = getattr(distributions, name, None)
    if law is not None and hasattr(law, "__dataclass_fields__"):
        known = [f.name for f in fields(law) if f.init]
        got = f"'{argument}'" if argument else problem
        return ModelError(explain(where, f"er.{name}({', '.join(known)})", got, "correct the arguments"))
    if name in {"sample", "observe"} and argument in {"obs", "observed", "data"}:
        got, remedy = f"er.{name}(…, {argument}=…)", "declare data with er.observe(name, law, data)"
        return ModelError(explain(where, "er.sample for latent quantities", got, remedy))
    return None


def _no_index(program, engine) -> DataError:
    """Which argument of floats or booleans is used as an index: the one that would do as whole numbers."""
    for label, leaf in program.leaves.items():
        value = leaf.value
        candidate = isinstance(value, np.ndarray) and value.dtype.kind in "fb" and value.ndim
        if candidate and _would_do(program, engine, label, leaf):
            return DataError(_groups_expected(f"index argument '{label}'", value))
    return DataError(_groups_expected("an index", np.zeros(0)))


def _groups_expected(where: str, value: np.ndarray) -> str:
    missing = np.isnan(value)
    broken = value != np.round(value) if value.dtype.kind == "f" else missing
    got = (
        f"missing values in rows {rows_of(missing)}"
        if missing.any()
        else f"{value[broken][:LABELS_SHOWN].tolist()} in rows {rows_of(broken)}"
        if broken.any()
        else f"values of type {value.dtype}"
    )
    remedy = "drop or name rows without a group, then convert with .astype(int) or .astype('category')"
    return explain(where, "groups: strings, a category or zero-based whole numbers", got, remedy)


def _would_do(program, engine, label, leaf) -> bool:
    """Whether the model runs with whole numbers in place of one argument."""
    whole = replace(leaf, value=np.zeros(leaf.value.shape, dtype=np.int64), traced=True)
    trial = program.altered()
    trial.leaves = {**program.leaves, label: whole}
    try:
        engine.trace(trial)
    except Exception:  # whatever else is wrong comes again
        return False
    return True


def _dates(program, engine) -> DataError | None:
    """The error of dates that a model computes with."""
    for label, leaf in program.leaves.items():
        if isinstance(leaf.value, np.ndarray) and leaf.value.dtype.kind == "M":
            if _would_do(program, engine, label, leaf):
                return DataError(no_dates(f"argument '{label}'", label))
    return None


def _no_numbers(program, text) -> DataError | None:
    """The error of an argument that holds no numbers, where a model computes with it."""
    held = {label: leaf.value for label, leaf in program.leaves.items() if not leaf.traced}
    held |= {label: value for label, value in program.arguments.items() if isinstance(value, Mapping)}
    for label, value in held.items():
        kind = type(value).__name__
        if value is not None and re.search(rf"\b{re.escape(kind)}\b", text):
            want = "numbers where a model computes with them"
            return DataError(
                explain(f"argument '{label}'", want, f"a {kind}", "pass an array, a list or a column")
            )
    return None


def _table_column(program, where) -> ModelError | None:
    tables = [
        k
        for k, v in program.arguments.items()
        if is_instance(v, "pandas", "DataFrame")
        or is_instance(v, "polars", "DataFrame")
        or is_instance(v, "pyarrow", "Table")
    ]
    if not tables:
        return None
    name = tables[0]
    return ModelError(
        explain(
            f"argument '{name}'",
            "a table that the model uses as one matrix of numbers",
            f"a column taken out of it in {where}",
            f"pass the columns as arguments of their own, or {name}=dict({name}) for a mapping of columns",
        )
    )


def _foreign_operation(where: str, text: str, own: str, make: str) -> UnsupportedError | None:
    """The error of an operation that belongs to another library."""
    for pattern, library in _FOREIGN:
        found = re.search(pattern, text, re.DOTALL)
        if found is None:
            continue
        name = found[1]
        known = own == "er.math" and name and hasattr(math, name)
        word = f"er.math.{name}" if known else f"the words of {own}"
        got = (
            f"{library}'s {name}" if name else f"a function or an array of {library} beside a latent quantity"
        )
        remedy = f"use {word}" + (f"; {make} for constants" if "NumPy" in library else "")
        return UnsupportedError(explain(where, f"operations of {own}", got, remedy))
    return None
