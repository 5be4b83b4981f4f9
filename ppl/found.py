"""A model by its name."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from .errors import ModelError, explain
from .model import Model


def find_model(spec: str) -> Model:
    """The model that ``MODULE:MODEL`` names; the current folder is searched first.

    Parameters
    ----------
    spec : str
        As on the command line: ``radon:model``.

    Returns
    -------
    Model

    Raises
    ------
    ModelError
        If there is no such module or model. What the module itself raises comes through as it is.
    """
    module_name, _, name = spec.partition(":")
    if not module_name or not name:
        raise ModelError(explain("model", "MODULE:MODEL", repr(spec), "write for example radon:model"))
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ModelError(
            explain(
                f"model '{spec}'",
                "a module in the current folder or on the Python path",
                f"no module named '{error.name}'",
                "check the name, without .py",
            )
        ) from None
    found = getattr(module, name, None)
    if isinstance(found, Model):
        return found
    models = sorted(key for key, value in vars(module).items() if isinstance(value, Model))
    got = "nothing of that name" if found is None else f"a {type(found).__name__}"
    raise ModelError(
        explain(
            f"model '{spec}'",
            f"one of {models}" if models else "a function decorated with @er.model",
            got,
            "check the name, decorate it with @er.model, or wrap it with er.from_numpyro",
        )
    )
