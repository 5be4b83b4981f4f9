"""``er.federate``: one posterior of data that stay where they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...ppl import interrupts
from ...ppl.errors import InferenceError, explain
from ...ppl.model import Program
from ...ppl.thresholds import QUOTED_LONG
from ..posterior.posterior import Posterior
from ..run.watch import check_seconds
from .hushed import made_up, shared
from .server import SCHEDULES, TOGETHER, Asked, joined
from .site import Site
from .transport import Here, Transport

OPTIONS = ("guide", "num_draws", "seed", "refine", "max_seconds")


@interrupts.in_words("before the sites had told enough: their rows are as they were; call it again")
def federate(
    sites: Mapping[str, Program] | Transport,
    program: Program | None = None,
    *,
    schedule: str = TOGETHER,
    least: int = 2,
    seconds: float | None = None,
    backend: str | None = None,
    **options: Any,
) -> Posterior:
    """The posterior of rows that stay at their sites.

    Each site fits its own rows beside what all others have told, and tells a function of the shared parameters that stands
    for them: rows go nowhere. Where a likelihood is of that form, the posterior is that of all rows to rounding; elsewhere
    sites are asked again until a sweep over all of them moves no mean by more than 0.02 sd.

    Parameters
    ----------
    sites : mapping of str to Program, or Transport
        The model with the rows of each site, by its name: a simulation in this process, in which the server sees no more than
        it would of sites elsewhere. Or what reaches sites elsewhere, such as `elboroom.operations.federation.Flower`.
    program : Program, optional
        The model with rows that are made up, from which the server knows what is shared; needed where sites are elsewhere.
    schedule : {"together", "in turn", "as they come"}
        Whether all sites are asked at once, one after the other, each with what the one before has said, or again as soon as
        any replies, so that none waits for a slow one.
    least : int
        Number of sites without which there is no posterior.
    seconds : float, optional
        How long a sweep waits for replies. A reply that comes later is taken then; after three sweeps its site is out.
    backend : {"jax", "torch"}, optional
        Where the server computes.
    **options
        ``guide``, ``num_draws``, ``seed``, ``refine`` and ``max_seconds`` of `elboroom.fit`, at the server and at every site.

    Returns
    -------
    Posterior
        Of what rows share. Its findings name sites that are not in it and why, and say what the partition may have cost; no
        quantity has a better verdict than that allows.

    Raises
    ------
    InferenceError
        For bad input, and where there are too few sites.
    UnsupportedError
        For models with parameters of single rows, learned arrays or missing outcomes.

    Notes
    -----
    With the prior p and likelihoods :math:`L_k` the posterior is :math:`p \\prod_k t_k`; a site's factor :math:`t_k` is the
    quadratic function nearest to :math:`\\log L_k` on draws of :math:`p\\, L_k \\prod_{j \\neq k} t_j`.

    References
    ----------
    Bui, Nguyen, Swaroop & Turner (2018), Partitioned variational inference, arXiv 1811.11206. Ashman et al. (2022), Partitioned
    variational inference: a framework for probabilistic federated learning, arXiv 2202.12275.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def level(y):
    ...     mu = er.sample("mu", er.Normal(0, 10))
    ...     with er.plate("row", len(y)):
    ...         er.observe("y", er.Normal(mu, 1), y)
    >>> posterior = er.federate({"oslo": level([1.0, 2.0, 3.0]), "rome": level([4.0, 5.0])})
    >>> bool(abs(posterior.summary().loc["mu", "mean"] - 15 / 5.01) < 0.02), posterior.verdict
    (True, 'trusted')
    """
    if schedule not in SCHEDULES:
        raise InferenceError(
            explain("schedule", f"one of {SCHEDULES}", repr(schedule)[:QUOTED_LONG], "choose one")
        )
    _check_number("least", least)
    check_seconds(seconds, name="seconds")
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        raise InferenceError(
            explain("er.federate", f"options among {OPTIONS}", f"{unknown}", "leave them out")
        )
    transport, own = _reached(sites, program, backend)
    where = backend or own.backend
    shared(own, where)  # which refuses what no message tells
    asked = Asked(made_up(own, where), where, schedule, int(least), seconds, options)
    return joined(asked, transport)


def _check_number(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InferenceError(
            explain(name, "a number of 1 or more", repr(value)[:QUOTED_LONG], "correct the argument")
        )


def _reached(sites: Any, program: Any, backend: str | None) -> tuple[Transport, Program]:
    """The way to the sites, and the server's program."""
    if program is not None and not isinstance(program, Program):
        want, got = "the model with rows that are made up", type(program).__name__
        raise InferenceError(explain("program", want, got, "call the model: model(rows)"))
    if hasattr(sites, "ask"):
        if program is None:
            want = "the model with rows that are made up, where sites are elsewhere"
            raise InferenceError(explain("program", want, "none", "write program=model(made_up_rows)"))
        return sites, program
    if not isinstance(sites, Mapping) or not sites:
        got = "none" if isinstance(sites, Mapping) else type(sites).__name__
        raise InferenceError(
            explain(
                "sites", "a mapping of names to programs, or a transport", got, "pass {'name': model(rows)}"
            )
        )
    for name, own in sites.items():
        if not isinstance(name, str) or not name or not isinstance(own, Program):
            got = f"{name!r}: {type(own).__name__}"[:QUOTED_LONG]
            raise InferenceError(explain("sites", "names and programs", got, "pass {'name': model(rows)}"))
    first = sites[min(sites)]
    where = backend or first.backend
    models: dict = {}
    return Here({k: Site(k, own, where, models) for k, own in sites.items()}), program or first
