"""Models that were written in the words of NumPyro or Pyro, taken as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from .errors import ModelError, explain
from .model import Model


def from_numpyro(fn: Callable, dims: Mapping[str, Sequence[str]] | None = None, coords=None) -> Model:
    """Take a NumPyro model as it is.

    Parameters
    ----------
    fn : callable
        The NumPyro model function.
    dims : mapping, optional
        Site name to the names of its axes.
    coords : mapping, optional
        Axis name to labels.

    Returns
    -------
    Model
        Call it with the model's arguments to get a `Program`.
    """
    return _foreign(fn, "numpyro", dims, coords)


def from_pyro(fn: Callable, dims: Mapping[str, Sequence[str]] | None = None, coords=None) -> Model:
    """Take a Pyro model as it is; it runs on the torch backend.

    Parameters
    ----------
    fn : callable
        The Pyro model function. Plates see all of their elements, whatever their subsample size.
    dims : mapping, optional
        Site name to the names of its axes.
    coords : mapping, optional
        Axis name to labels.

    Returns
    -------
    Model
        Call it with the model's arguments to get a `Program`.
    """
    return _foreign(fn, "pyro", dims, coords)


def _foreign(fn, language, dims, coords):
    if isinstance(fn, Model):
        raise ModelError(
            explain(
                f"from_{language}",
                f"a function of {'Pyro' if language == 'pyro' else 'NumPyro'}",
                "an elboroom model",
                "call the model itself with data",
            )
        )
    if dims or coords:
        return Model(fn, language, dims, coords)
    try:
        known = fn.__dict__.get("__elboroom_model__")
        if known is None or known.language != language:
            known = fn.__elboroom_model__ = Model(fn, language)
        return known
    except (AttributeError, TypeError):
        return Model(fn, language)
