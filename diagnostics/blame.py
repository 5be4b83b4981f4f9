"""Model wrong, or approximation wrong? The same checks under the guide's own draws, the corrected ones, and chains."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np

from ..inference.evidence.finding import Finding
from ..inference.evidence.verdicts import POINT_ESTIMATE
from ..inference.evidence.outcome import quantity_values
from ..inference.posterior.posterior import split
from ..inference.mcmc.refine import refine
from ..ppl.errors import ElboroomError

AFFORDABLE = 60.0  # seconds that chains may take here
WORDS = {
    "fits": "The model fits the data, as far as the checks see.",
    "model": "The model misfits: the data are not what it predicts, under draws that can be trusted.",
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
    verdict : {"fits", "model", "approximation", "cannot tell", "unsettled", "not assessable"}
    misfits : dict of str to tuple of str
        By law of the draws (``"guide"``, ``"psis"``, ``"mcmc"``, ``"refined"``) the checks that see a misfit.
    """

    verdict: str
    misfits: dict[str, tuple[str, ...]]

    @property
    def fits_data(self) -> bool | None:
        """Whether the model fits the data; None where that is not known."""
        return {"fits": True, "approximation": True, "model": False}.get(self.verdict)

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        return WORDS[self.verdict]


def blame(posterior, affordable: float = AFFORDABLE) -> Blame:
    """Compare the checks of the model under the laws of draws that there are.

    Parameters
    ----------
    posterior : Posterior
    affordable : float
        Seconds that refinement may take where the posterior is not trusted; 0 for none.
    """
    if affordable != AFFORDABLE:
        return _compared(posterior, affordable)
    if "blame" not in posterior._groups:  # what is saved with the posterior, and no other's
        posterior._groups["blame"] = asdict(_compared(posterior, affordable))
    kept = posterior._groups["blame"]
    return Blame(kept["verdict"], {law: tuple(names) for law, names in kept["misfits"].items()})


def _compared(posterior, affordable) -> Blame:
    own = posterior.check()
    if {f.verdict for f in own} == {"not assessable"}:
        return Blame("not assessable", {})
    found = {posterior.law: misfits(own)}
    if posterior.verdict == "trusted":
        return Blame("model" if found[posterior.law] else "fits", found)
    raw = under_guide(posterior)
    if raw is not None and posterior.law != "guide":
        found["guide"] = misfits(raw.check())
    settled = None
    outcome = posterior._outcome
    if affordable > 0 and outcome is not None and outcome.condemned in {None, POINT_ESTIMATE}:
        try:
            settled = refine(posterior, progress=False, max_seconds=2 * affordable, affordable=affordable)
        except ElboroomError:
            settled = None
    if settled is not None and settled.law == "mcmc" and settled.verdict != "untrusted":
        found["refined"] = misfits(settled.check())
    if "refined" not in found or settled.verdict != "trusted":
        return Blame("cannot tell" if any(found.values()) else "unsettled", found)
    if found["refined"]:
        return Blame("model", found)
    return Blame("approximation" if any(found.values()) else "fits", found)


def misfits(findings: tuple[Finding, ...]) -> tuple[str, ...]:
    """Names of the checks that see one, and of what."""
    return tuple(f"{f.name} of {f.quantity}" for f in findings if f.verdict == "misfit")


def under_guide(posterior):
    """The same posterior with the guide's own draws; None where there are none."""
    pool = None if posterior._outcome is None else posterior._outcome.pool
    if pool is None:
        return None
    z = pool.z[np.flatnonzero(pool.from_guide)[: len(posterior.z)]]
    values = split(*quantity_values(posterior._target, z))
    settings = posterior.settings | {"num_chains": 1}
    return replace(posterior, z=z, values=values, law="guide", settings=settings, _groups={})
