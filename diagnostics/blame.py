"""Model wrong, or approximation wrong? The same checks under the guide's own draws, the corrected ones, and chains."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np

from ..inference.evidence.finding import Finding
from ..inference.evidence.quantities import quantity_values
from ..inference.evidence.verdicts import POINT_ESTIMATE
from ..inference.mcmc.refine import refine
from ..inference.posterior.posterior import Posterior, record_of, requested
from ..inference.posterior.record import split
from ..ppl.errors import ElboroomError
from .checks.replicates import only_own
from .thresholds import AFFORDABLE, OVERRUN

WORDS = {
    "fits": "The model fits the data, as far as the checks see.",
    "model": "The model misfits: the data are not what it predicts, under draws that can be trusted.",
    "arrays": "The model misfits at its fitted arrays: it, or the training of these, is to blame.",
    "approximation": "The approximation is to blame: what looks like a misfit is gone under draws that can be trusted.",
    "cannot tell": "Cannot tell: the data and the draws disagree, and no draws that can be trusted were to be had.",
    "unsettled": "Cannot tell: the draws are not established, so that a fit of the model to the data says little.",
    "not assessable": "Not assessable: there are no rows of outcomes that a check could use.",
}


@dataclass(frozen=True)
class Blame:
    """Whose fault a misfit is.

    Attributes
    ----------
    verdict : {"fits", "model", "arrays", "approximation", "cannot tell", "unsettled", "not assessable"}
    misfits : dict of str to tuple of str
        By law of the draws (``"guide"``, ``"psis"``, ``"mcmc"``, ``"refined"``) the checks that see a misfit.
    """

    verdict: str
    misfits: dict[str, tuple[str, ...]]

    @property
    def fits_data(self) -> bool | None:
        """Whether the model fits the data; None where that is not known."""
        return {"fits": True, "approximation": True, "model": False, "arrays": False}.get(self.verdict)

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        return WORDS[self.verdict]


def blame(posterior, affordable: float = AFFORDABLE) -> Blame:
    """Is a misfit the model's fault, or the approximation's?

    The checks of the model are compared under the laws of draws that there are: the guide's own, the corrected ones, and
    those of chains.

    Parameters
    ----------
    posterior : Posterior
        The fit whose checks are compared.
    affordable : float
        Seconds that refinement may take where the posterior is not trusted; 0 for none.

    Returns
    -------
    Blame

    Raises
    ------
    DataError
        If the checks cannot read the data, see `Posterior.check`.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def level(y):
    ...     mu = er.sample("mu", er.Normal(0, 10))
    ...     with er.plate("row", len(y)):
    ...         er.observe("y", er.Normal(mu, 1.0), y)
    >>> y = np.random.default_rng(0).normal(2.0, 1.0, size=30)
    >>> found = blame(er.fit(level(y), refine=False, progress=False))
    >>> found.verdict, found.fits_data
    ('fits', True)
    """
    if affordable != AFFORDABLE:
        return _compared(posterior, affordable)
    known = requested(posterior)
    if "blame" not in known:  # what is saved with the posterior, and no other's
        known["blame"] = record_of(posterior).blame or asdict(_compared(posterior, affordable))
    kept = known["blame"]
    return Blame(kept["verdict"], {law: tuple(names) for law, names in kept["misfits"].items()})


def _compared(posterior, affordable: float) -> Blame:
    own = posterior.check()
    if {f.verdict for f in own} == {"not assessable"}:
        return Blame("not assessable", {})
    found = {posterior.law: misfits(own)}
    wrong = "arrays" if _trained(posterior) else "model"
    # where rows share nothing but fitted arrays, replicates are exact draws of the model, however well rows are encoded
    if posterior.verdict == "trusted" or only_own(posterior):
        return Blame(wrong if found[posterior.law] else "fits", found)
    raw = under_guide(posterior)
    if raw is not None and posterior.law != "guide":
        found["guide"] = misfits(raw.check())
    settled = _refined(posterior, affordable)
    if settled is not None:
        found["refined"] = misfits(settled.check())
    if settled is None or settled.verdict != "trusted":
        return Blame("cannot tell" if any(found.values()) else "unsettled", found)
    if found["refined"]:
        return Blame(wrong, found)
    return Blame("approximation" if any(found.values()) else "fits", found)


def _trained(posterior) -> bool:
    """Whether arrays of the model were trained beside an encoder: by a bound, and no longer than held-out rows gain."""
    record = record_of(posterior)
    return bool(record.settings.get("encoder")) and bool(record.weights)


def _refined(posterior, affordable: float) -> Posterior | None:
    """Chains from where the fit ended; None where they would take too long, or establish nothing."""
    outcome = record_of(posterior).outcome
    if affordable <= 0 or outcome is None or outcome.objection not in {None, POINT_ESTIMATE}:
        return None
    try:
        seconds = OVERRUN * affordable
        made = Posterior(
            refine(record_of(posterior), progress=False, max_seconds=seconds, affordable=affordable)
        )
    except ElboroomError:
        return None
    return made if made.law == "mcmc" and made.verdict != "untrusted" else None


def misfits(findings: tuple[Finding, ...]) -> tuple[str, ...]:
    """The checks that see a misfit, each as ``"check of outcome"``."""
    return tuple(f"{f.name} of {f.quantity}" for f in findings if f.verdict == "misfit")


def under_guide(posterior):
    """The same posterior with the guide's own draws, checked afresh; None where there are none."""
    record = record_of(posterior)
    pool = None if record.outcome is None else record.outcome.pool
    if pool is None:
        return None
    z = pool.z[np.flatnonzero(pool.from_guide)[: len(record.z)]]
    values = split(*quantity_values(record.target, z))
    settings = {**record.settings, "num_chains": 1}
    return Posterior(replace(record, z=z, values=values, law="guide", settings=settings))
