"""Replicated data whose rows draw their own latent quantities anew: mixed predictive replication.

A latent quantity that belongs to one row alone has been told of that row's outcome, and of nothing else: predicted from its
posterior, the row would be checked against itself.

References
----------
Gelman, Meng & Stern (1996), Posterior predictive assessment of model fitness via realized discrepancies, Statistica Sinica 6.
Marshall & Spiegelhalter (2003), Approximate cross-validatory predictive checks in disease mapping models, Statistics in
Medicine 22.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...ppl.simulate import OUTCOME, block_size, in_blocks
from ...ppl.sites import Site
from .record import Record

Homes = Mapping[str, frozenset[str]]
"""Latent site to the plates whose elements are the rows that it is of."""


def homes(record: Record) -> Homes:
    """Latent sites that have an element for each row of an outcome, as plates say it.

    A site is of the rows of an outcome where it lies in all of its plates, or in the plate that an encoder is for.
    """
    encoded = (record.settings.get("encoder") or {}).get("plate")
    filled = {f"{name}_missing" for name in record.observed}
    found: dict[str, frozenset[str]] = {}
    for site in record.latents:
        for plates in (set(outcome.plates) for outcome in record.observed.values()):
            home = {encoded} if encoded in plates else plates
            if home and home <= set(site.plates) and site.name not in filled:
                found[site.name] = frozenset(home)
    return found


def own_sites(record: Record) -> Homes:
    """Those of `homes` that nothing but their own row tells of, and whose law the model can be asked for anew.

    Elsewhere in the model each element is seen at its own row alone; no factor adds to its prior; and a site whose prior it
    enters is such a site itself.
    """
    target, found = record.target, dict(homes(record))
    if target is None or (target.program.masks and target.program.masks.kept):
        return {}  # what a mask leaves of a site cannot be handed over by its values
    seen = target.program.accesses(target.backend) if found else {}
    sites = {site.name: site for site in target.trace.sites}
    while shared := [name for name, home in found.items() if not _apart(sites, seen, found, name, home)]:
        for name in shared:
            del found[name]
    return found


def _apart(sites: Mapping[str, Site], seen, found: Homes, name: str, home: frozenset[str]) -> bool:
    """Whether whatever depends on a site sees each of its rows at that row alone."""
    for child, parts in seen.items():
        access = parts.get("log_prob", {}).get(name)
        if access is None:
            continue
        site = sites[child]
        if site.role == "factor" or (site.role == "latent" and found.get(child) != home):
            return False
        for plate in home:
            how = access.axes[sites[name].dims.index(plate)]
            if how.how != "aligned" or plate not in site.dims or how.axis != site.dims.index(plate):
                return False
    return True


def replicates(
    record: Record,
    rows: np.ndarray,
    key: np.ndarray,
    anew: Homes,
    some: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Outcomes of replicated data.

    Parameters
    ----------
    record : Record
        Of a posterior with its target.
    rows : numpy.ndarray of int, shape (S,)
        The draws that they come from.
    key : numpy.ndarray of int, shape (S,)
        A seed for each.
    anew : mapping
        Sites that are drawn from their prior given the others, see `own_sites`; the others are those of the draws.
    some : mapping of numpy.ndarray of int, optional
        Outcome to the elements to keep, as they lie in it; the other outcomes are left out.

    Returns
    -------
    dict of numpy.ndarray
        Outcome to shape ``(S, *shape)``, or to ``(S, n)`` of some elements.
    """
    target = record.target
    outcomes = {s.name for s in target.trace.by_role(*OUTCOME)} if some is None else set(some)

    def draw(block):
        given, seeds = block
        function = target.density.predict_values if anew else target.density.predict
        found = function(given, seeds, target.data, target.weights)
        kept = {k: np.asarray(v) for k, v in found.items() if k in outcomes}
        return kept if some is None else {k: v.reshape(len(v), -1)[:, some[k]] for k, v in kept.items()}

    given = record.z[rows].astype(target.dtype)
    if anew:
        shared = [site.name for site in record.latents if site.name not in anew]
        given = {name: record.values[name][rows].astype(target.dtype) for name in shared}
    return in_blocks(draw, (given, key), len(rows), block_size(target))
