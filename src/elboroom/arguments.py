"""Arguments of a model from a file and from ``key=value`` words."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from .ppl.errors import DataError, explain
from .ppl.model import Model, Program


def read_table(path: str | Path, **layout: str) -> dict[str, Any]:
    """Columns of a CSV or Parquet file, keys of a JSON object, arrays of an NPZ file, or variables of a netCDF file.

    Parameters
    ----------
    path : str or path
        The file, of kind .csv, .json, .nc, .npz or .parquet.
    **layout
        Of a CSV file: ``separator``, ``decimal`` and ``encoding``; by default ``","``, ``"."`` and UTF-8.

    Returns
    -------
    dict
        Name to column, array, scalar or string.

    Raises
    ------
    DataError
        If the file is missing, empty, of another kind or cannot be read.
    """
    path = Path(path).expanduser()
    readers = {
        ".csv": _read_csv,
        ".json": _read_json,
        ".nc": _read_netcdf,
        ".npz": _read_npz,
        ".parquet": _read_parquet,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            explain(
                f"file '{path}'",
                "a .csv, .json, .nc, .npz or .parquet file",
                f"'{path.suffix}'",
                "convert it to one of these",
            )
        )
    if layout and reader is not _read_csv:
        got = f"{sorted(layout)} for {path.suffix}"
        raise DataError(explain(f"file '{path}'", "a layout for .csv files only", got, "leave it out"))
    if not path.is_file():
        raise DataError(explain(f"file '{path}'", "a file", "none", "check the path"))
    try:
        return reader(path, **layout)
    except (OSError, ValueError, KeyError, LookupError, BadZipFile, ImportError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            explain(
                f"file '{path}'", f"readable {path.suffix[1:].upper()}", f"'{reason}'", "correct the file"
            )
        ) from None


def _read_csv(path: Path, separator=",", decimal=".", encoding="utf-8-sig") -> dict[str, Any]:
    import pandas as pd

    table = pd.read_csv(path, sep=separator.replace("\\t", "\t"), decimal=decimal, encoding=encoding)
    return {str(name): column for name, column in table.items()}


def _read_json(path: Path) -> dict[str, Any]:
    import numpy as np
    import pandas as pd

    content = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(content, list) and content and all(isinstance(row, dict) for row in content):
        return {str(name): column for name, column in pd.DataFrame(content).items()}
    if not isinstance(content, dict):
        raise ValueError("the top level is neither an object nor a list of objects")
    return {
        name: np.asarray([np.nan if item is None else item for item in value])
        if isinstance(value, list) and not any(isinstance(item, (list, dict, str)) for item in value)
        else value
        for name, value in content.items()
    }


def _read_netcdf(path: Path) -> dict[str, Any]:
    import xarray as xr

    with xr.open_dataset(path, engine="h5netcdf") as dataset:
        loaded = dataset.load()
    return {
        str(name): array.item() if array.ndim == 0 else array
        for name, array in {**loaded.coords, **loaded.data_vars}.items()
    }


def _read_npz(path: Path) -> dict[str, Any]:
    import numpy as np

    with np.load(path, allow_pickle=False) as found:
        return {name: array.item() if array.ndim == 0 else array for name, array in found.items()}


def _read_parquet(path: Path) -> dict[str, Any]:
    import numpy as np
    import pandas as pd

    table = pd.read_parquet(path)
    rows = {
        name: len(column) > 0 and all(isinstance(cell, np.ndarray) for cell in column)
        for name, column in table.items()
    }
    return {str(k): np.stack(column.to_numpy()) if rows[k] else column for k, column in table.items()}


def parse_settings(words: Iterable[str]) -> dict[str, Any]:
    """``key=value`` words, the value read as int, float, bool or else text.

    Raises
    ------
    DataError
        For a word without a key or an equals sign.

    Examples
    --------
    >>> parse_settings(["J=3", "scale=2.5", "centered=false", "link=logit"])
    {'J': 3, 'scale': 2.5, 'centered': False, 'link': 'logit'}
    """
    settings: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise DataError(explain("--set", "key=value", repr(word), "write for example --set J=3"))
        settings[key] = _parse(text)
    return settings


def _parse(text: str) -> Any:
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def bind(model: Model, table: Mapping[str, Any], settings: Mapping[str, Any]) -> Program:
    """The program of a model with the columns of a table and the settings of the same names.

    Parameters
    ----------
    model : Model
        What is bound.
    table : mapping
        Name to column; those that the model does not name are left out.
    settings : mapping
        Name to value; all of them are arguments of the model.

    Returns
    -------
    Program

    Raises
    ------
    DataError
        If a setting is unknown or an argument is missing.
    """
    parameters = model.signature.parameters
    named = [
        name
        for name, parameter in parameters.items()
        if parameter.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    ]
    unknown = sorted(set(settings) - set(named))
    if unknown:
        raise DataError(
            explain("--set", f"arguments of model '{model.name}' ({named})", f"{unknown}", "check the names")
        )
    given = {**{name: table[name] for name in named if name in table}, **settings}
    missing = [
        name for name in named if name not in given and parameters[name].default is inspect.Parameter.empty
    ]
    if missing:
        raise DataError(
            explain(
                f"model '{model.name}'",
                f"data for {missing}",
                f"a file with {sorted(table)}",
                "name the columns as the model's arguments, or pass numbers with --set",
            )
        )
    return model(**given)
