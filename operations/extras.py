"""Libraries that an extra brings."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from ..ppl.errors import MissingBackendError, explain


def library(module: str, extra: str, what: str) -> Any:
    """A library, imported now.

    Parameters
    ----------
    module : str
        Its import name.
    extra : str
        Of elboroom, that installs it.
    what : str
        What it is for: the subject of the error.

    Raises
    ------
    MissingBackendError
        Where it is not installed.
    """
    require(module, extra, what)
    return importlib.import_module(module)


def require(module: str, extra: str, what: str) -> None:
    """Refuse what needs a library that is not installed, without importing it.

    Raises
    ------
    MissingBackendError
    """
    try:
        there = importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it is in
        there = False
    if not there:
        remedy = f"pip install 'elboroom[{extra}]'"
        raise MissingBackendError(explain(what, f"the library '{module.split('.')[0]}'", "none", remedy))
