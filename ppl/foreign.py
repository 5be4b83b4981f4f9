"""Models that were written in the words of NumPyro or Pyro, taken as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .errors import ModelError, explain
from .model import Model


def from_numpyro(
    fn: Callable[..., Any],
    dims: Mapping[str, Sequence[str]] | None = None,
    coords: Mapping[str, Sequence] | None = None,
) -> Model:
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

    Raises
    ------
    ModelError
        If it is a model of elboroom already.

    Examples
    --------
    >>> import elboroom as er
    >>> import numpyro, numpyro.distributions as dist
    >>> def level(y):
    ...     mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
    ...     with numpyro.plate("row", len(y)):
    ...         numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)
    >>> er.from_numpyro(level)([0.5, 1.5])
    <elboroom program level: 1 latent (1 dimension), 1 observed>
    """
    return _foreign(fn, "numpyro", dims, coords)


def from_pyro(
    fn: Callable[..., Any],
    dims: Mapping[str, Sequence[str]] | None = None,
    coords: Mapping[str, Sequence] | None = None,
) -> Model:
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

    Raises
    ------
    ModelError
        If it is a model of elboroom already.

    Examples
    --------
    >>> import elboroom as er
    >>> def level(y):
    ...     import pyro, pyro.distributions as dist
    ...     mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
    ...     with pyro.plate("row", len(y)):
    ...         pyro.sample("y", dist.Normal(mu, 1.0), obs=y)
    >>> er.from_pyro(level)
    <elboroom model level(y)>
    """
    return _foreign(fn, "pyro", dims, coords)


def _foreign(fn: Any, language: str, dims: Any, coords: Any) -> Model:
    """The model of a function, kept with it so that what has been compiled for it is found again."""
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
