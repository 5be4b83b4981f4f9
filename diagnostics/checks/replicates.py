"""Replicated data that the checks compare the outcomes with, made in one place.

Latent quantities that belong to a row alone are drawn anew from their prior, given what rows share and what each is given;
what rows share comes from the posterior. Elsewhere replicates are the posterior's predictions.

References
----------
Gelman, Meng & Stern (1996), Statistica Sinica 6. Marshall & Spiegelhalter (2003), Statistics in Medicine 22.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ...inference.evidence.finding import Finding
from ...inference.posterior import mixed
from ...inference.posterior.groups import draws_of, predictions
from ...inference.posterior.posterior import record_of, requested
from ...ppl.errors import InferenceError
from ...ppl.simulate import seeds
from ..thresholds import (
    CHECK_STREAM,
    LEAST_DRAWS,
    LEVERAGE_DRAWS,
    MOST_DRAWS,
    MOST_HELD,
    MOST_ROWS,
    MOST_SHARED,
    MOST_VALUES,
)


@dataclass(frozen=True, eq=False)
class Replicates:
    """Replicates of all observed sites.

    Attributes
    ----------
    values : dict of numpy.ndarray
        Observed site to ``(S, *shape)``, or to ``(S, n)`` of the elements that are looked at.
    draws : numpy.ndarray of int, shape (S,)
        The draws that they come from.
    whole : bool
        Whether all elements are there.
    """

    values: Mapping[str, np.ndarray]
    draws: np.ndarray
    whole: bool = True

    def of(self, name: str, some: np.ndarray, there: np.ndarray) -> np.ndarray:
        """Those of a site of `some` replicates at the elements `there`: ``(S, n)``."""
        flat = self.values[name].reshape(len(self.draws), -1)
        return (flat[some[:, None], there] if self.whole else flat[some]).astype(float)


def drawn_anew(posterior) -> mixed.Homes:
    """Latent sites that belong to a row alone, with the plates that say so."""
    known = requested(posterior)
    if "own sites" not in known:
        known["own sites"] = mixed.own_sites(record_of(posterior))
    return known["own sites"]


def only_own(posterior) -> bool:
    """Whether rows share nothing but what has been fitted: replicates then need no draws of the posterior."""
    anew = drawn_anew(posterior)
    return bool(anew) and all(site.name in anew for site in record_of(posterior).latents)


def group_of(posterior) -> str:
    """The group of the draws with the replicates: one of its own where rows may have latent quantities of their own."""
    return "mixed_predictive" if mixed.homes(record_of(posterior)) else "posterior_predictive"


def own_names(posterior, name: str) -> list[str]:
    """Latent sites that belong to a row of an outcome alone."""
    plates = set(record_of(posterior).observed[name].plates)
    return [site for site, home in drawn_anew(posterior).items() if home <= plates]


def told(posterior, names: Iterable[str]) -> Iterator[Finding]:
    """For each outcome whose rows have latent quantities of their own: which replicates it is compared with."""
    for name in names:
        own = own_names(posterior, name)
        if own:
            latent = ", ".join(f"'{site}'" for site in own)
            words = (
                f"Rows of '{name}' have latent quantities of their own ({latent}): data are replicated with these drawn anew from "
                "their prior, given what rows share and what each is given, so that no row is compared with what it has "
                "told itself. Leaving rows out by weights does not apply to them."
            )
            yield Finding("replicated data", name, None, None, "ok", words)


def elements(observed: np.ndarray) -> np.ndarray:
    """Positions of the elements of an outcome that are looked at, ``(n,)``: those with a value, of many some."""
    there = np.flatnonzero(~np.isnan(observed))
    if len(there) <= MOST_ROWS:
        return there
    return np.sort(np.random.default_rng(0).choice(there, MOST_ROWS, replace=False))


def num_draws(num_rows: int) -> int:
    """Replicates that the checks use of an outcome of so many rows.

    Examples
    --------
    >>> num_draws(100), num_draws(10**6)
    (3000, 300)
    """
    return min(MOST_DRAWS, max(LEAST_DRAWS, MOST_VALUES // min(num_rows, MOST_ROWS)))


def spread(count: int, some: int) -> np.ndarray:
    """About so many of `count` draws, evenly spread."""
    return np.unique(np.linspace(0, count - 1, some).astype(int))


def replicates(posterior) -> Replicates | None:
    """Replicates of the outcomes, as many as the checks use where those of all draws are not there yet.

    None where the posterior was loaded without its program, and saved without predictions.
    """
    known = requested(posterior)
    if "replicates" not in known:
        known["replicates"] = _made(posterior)
    return known["replicates"]


def _made(posterior) -> Replicates | None:
    record = record_of(posterior)
    group = group_of(posterior)
    data = [np.asarray(value, float) for value in posterior.draws["observed_data"].data_vars.values()]
    needed = num_draws(max(value.size for value in data))
    ready = group in getattr(posterior.draws, "children", {})
    if not ready and record.target is not None:
        large = needed * sum(value.size for value in data) > MOST_HELD
        if large or needed < len(record.z) / 2:
            return _some(posterior, needed, large)
    try:
        predicted = posterior.draws[group]
    except InferenceError:
        return None
    found = {
        key: np.asarray(predicted[key].values).reshape(-1, *predicted[key].shape[2:])
        for key in record.observed
        if key in predicted
    }
    return Replicates(found, draws_of(record)[: max(map(len, found.values()), default=0)])


def _some(posterior, needed: int, large: bool) -> Replicates:
    """Replicates of some draws; of large data at the elements alone that are looked at."""
    record, anew, data = record_of(posterior), drawn_anew(posterior), posterior.draws["observed_data"]
    if anew and len(record.z) < needed:  # a draw serves several replicates
        draws = np.linspace(0, len(record.z) - 1, needed).astype(int)
    else:
        draws = spread(len(record.z), needed)
    some = (
        {name: elements(np.asarray(data[name].values, float)) for name in data.data_vars} if large else None
    )
    return Replicates(predictions(record, draws, anew, some), draws, whole=not large)


def leverage(posterior, name: str, replicated: np.ndarray, draws: np.ndarray, there: np.ndarray) -> float:
    """Variance of the expectation over the noise's, from what two replicates of the same draw share.

    Parameters
    ----------
    posterior : Posterior
        The fit, or draws made elsewhere.
    name : str
        The observed site.
    replicated : numpy.ndarray, shape (S, N)
        Replicates of the rows that are there.
    draws : numpy.ndarray of int, shape (S,)
        Those that the replicates come from.
    there : numpy.ndarray of int, shape (N,)
        The rows, among all elements of the site.

    Returns
    -------
    float
        0 where nothing can be predicted again, or rows share nothing but what has been fitted.
    """
    record, anew = record_of(posterior), drawn_anew(posterior)
    if record.target is None or only_own(posterior):
        return 0.0
    some = spread(len(draws), LEVERAGE_DRAWS)
    key = seeds(record.seed, len(some), CHECK_STREAM)
    other = mixed.replicates(record, draws[some], key, anew, {name: there})[name]
    one, two = replicated[some], other.astype(float)
    one, two = one - one.mean(0), two - two.mean(0)
    shared, whole = (one * two).mean(), 0.5 * ((one**2).mean() + (two**2).mean())
    share = np.clip(shared / whole if whole > 0 else 0.0, 0.0, MOST_SHARED)
    return float(share / (1 - share))
