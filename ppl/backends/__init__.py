"""Backends: one folder each, with the same files and the same functions (`protocol`)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, cast

from ..errors import BackendError, MissingBackendError, UnsupportedError, explain
from ..interrupts import deferred
from ..turns import check_process, without_warnings

if TYPE_CHECKING:
    from .protocol import Backend

_EXTRAS = {"jax": ("jax", "elboroom"), "torch": ("torch", "elboroom[torch]")}


def load(name: str, language: str = "elboroom") -> Backend:
    """The backend of a name.

    Parameters
    ----------
    name : {"jax", "torch"}
        Which of the two.
    language : {"elboroom", "numpyro", "pyro"}
        Whose words the model speaks.

    Returns
    -------
    Backend
        The package, imported when it is first asked for: its library is slow to import.

    Raises
    ------
    BackendError
        For an unknown name.
    MissingBackendError
        Where its library is not installed; names the command.
    UnsupportedError
        Where the backend cannot run the model's language.
    """
    if not isinstance(name, str) or name not in _EXTRAS:
        raise BackendError(explain("backend", "'jax' or 'torch'", repr(name), "choose one of the two"))
    if language in {"numpyro", "pyro"} and {"numpyro": "jax", "pyro": "torch"}[language] != name:
        raise UnsupportedError(
            explain(
                "backend", f"the backend of a {language} model", repr(name), "leave backend at its default"
            )
        )
    check_process()
    try:
        with deferred(), without_warnings("IProgress not found"):  # of a bar that is never shown
            return cast("Backend", importlib.import_module(f"{__name__}.{name}"))
    except ModuleNotFoundError as error:
        if error.name == f"{__name__}.{name}":
            raise UnsupportedError(
                explain(
                    "backend", "'jax'", f"{name!r}, which this version cannot run yet", "use backend='jax'"
                )
            ) from None
        raise MissingBackendError(
            explain(
                "backend",
                f"{_EXTRAS[name][0]} to be installed",
                f"no module named {error.name!r}",
                f'install it with: pip install "{_EXTRAS[name][1]}"',
            )
        ) from error
