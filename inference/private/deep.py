"""A private fit of a model whose rows an encoder gives: trained on private rows, shown on public or on made-up ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...ppl.errors import DataError, GuideError, explain
from ...ppl.rows import shrunk
from ..deep.compiled import Compiled
from ..deep.fit import Deep, fit_rows, prepared
from ..deep.rows import Rows
from ..deep.setup import Setup
from ..deep.trained import Trained
from ..deep.training import Training
from ..evidence.finding import Finding, Findings
from ..evidence.verdicts import Verdicts
from ..posterior.record import Record
from ..run.checkpoint import Checkpoint
from ..run.trail import Rung
from ..run.watch import Watch
from ..thresholds import MADE_UP_ROWS, PRIVATE_DEEP_RATE
from .accounting import Budget
from .asked import Private
from .fit import clipped_finding
from .shown import PRIVACY, Shown, nobodys, told
from .training import PrivateTraining, shapes_of
from .units import Drawn, Units, budget_of, private_plate

MADE_UP = "its rows are made up by the fitted model"


@dataclass(eq=False)
class Learning:
    """In place of training on the rows that are shown: training on those that are not.

    Attributes
    ----------
    private : Private
    drawn : Drawn
    units : Units
    shown : Shown
    clipped : float
        Share of units that were clipped, once it has run.
    """

    private: Private
    drawn: Drawn
    units: Units
    shown: Shown
    clipped: float = field(init=False, default=np.nan)

    def __call__(self, asked: Deep, training: Training) -> tuple[Deep, Setup, Compiled, Trained]:
        """Train, and show what was reached."""
        setup = training.setup
        most = self.units.members.shape[1]
        rows = Rows.of(nobodys(self.units, max(most, 2)), asked.plate, most)
        unit = Compiled(rows, setup.encoder, {})
        rate = PRIVATE_DEEP_RATE if self.private.rate is None else self.private.rate
        trained, self.clipped = PrivateTraining(unit, self.drawn, rate).run(training)
        if self.shown.public:
            return asked, setup, training.compiled, trained
        asked = replace(asked, target=_made_up(asked, setup, trained))
        asked = replace(asked, program=asked.target.program)
        setup = replace(setup, rows=Rows.of(asked.target, asked.plate, setup.rows.size))
        return asked, setup, Compiled(setup.rows, setup.encoder, {}), trained


def fit_rows_privately(
    asked: Deep, private: Private, settings: Mapping[str, Any], watch: Watch, begin: float
) -> Record:
    """The record of a private fit with an encoder.

    Raises
    ------
    DataError, GuideError, InferenceError
    """
    if (plate := private_plate(asked.target, asked.minibatch)) != asked.plate:
        got, remedy = f"those of '{plate}'", f"pass minibatch=er.Minibatch('{asked.plate}', …)"
        raise GuideError(
            explain("private", f"rows of '{asked.plate}', which the encoder is for", got, remedy)
        )
    units = Units.of(asked.target, asked.plate, private.by, encoded=True)
    budget = budget_of(private, units, asked.minibatch)
    shown = Shown.of(private, units, MADE_UP_ROWS)
    _check(asked, units, shown)
    own = replace(asked, program=shown.target.program, target=shown.target, minibatch=None, validation=0.0)
    ready = prepared(own, False)
    assert ready is not None  # it was not chosen for the user
    shapes = shapes_of(ready[0].begin, ready[0].rows.num_shared)
    train = Learning(private, Drawn(units, budget, private.generator(), shapes), units, shown)
    before = [Rung("private training", "amortized", reason=str(budget))]
    watch.noted(before[0])
    record = fit_rows(own, ready, Checkpoint(None, {}), watch, settings, begin, before, train)
    return _kept(record, budget, train)


def _check(asked: Deep, units: Units, shown: Shown) -> None:
    """Refuse encoders whose training looks at several rows at once, and rows that nothing can be shown of.

    Raises
    ------
    DataError, GuideError
    """
    family = asked.family
    if family.coded or family.point or family.dropout:
        got = type(family).__name__ if family.coded or family.point else "dropout="
        words = "er.Amortized, trained on a bound that is a sum over rows"
        raise GuideError(explain("guide of a private fit", words, got, "use er.Amortized() as it is"))
    outcomes = {s.argument for s in units.small.trace.by_role("observed")}
    if not shown.public and (others := sorted(set(units.along) - outcomes)):
        got = f"none, and {others}, which the model does not make up"
        remedy = "pass public={…}, some rows that need no protection, or such as you make up"
        raise DataError(explain("public of er.Private", "rows to show the fit on", got, remedy))


def _made_up(asked: Deep, setup: Setup, trained: Trained) -> Any:
    """The target of rows that the fitted model makes up."""
    target, rows = asked.target, setup.rows
    known = {k: v for k, v in trained.params["weights"].items() if k in target.trace.weights}
    fitted = target.at(known)
    shared = trained.params["guide"].get("mean", np.zeros(0))
    z = rows.joined(np.zeros((1, rows.total, rows.num_units)), shared[None])
    found = fitted.constrain(np.asarray(z, float))
    given = {
        s.name: found[s.name].astype(target.dtype)
        for s in target.trace.latents
        if asked.plate not in s.plates
    }
    values = fitted.density.simulate(given, np.array([asked.seed]), fitted.data, fitted.weights)
    program, data = target.program, {}
    for site in target.trace.by_role("observed"):
        if site.argument not in rows.along:
            continue
        made, leaf = np.asarray(values[site.name])[0], program.leaves[site.argument]
        data[site.argument] = (
            made if leaf.labels is None else np.asarray(leaf.labels, object)[made.astype(int)]
        )
    return shrunk(target, data, {asked.plate: rows.total}, {}, program.labels)


def _kept(record: Record, budget: Budget, train: Learning) -> Record:
    """A record with what it has spent, and verdicts that are those of the rows it is shown on."""
    shown, plate = train.shown, train.units.plate
    verdicts = Verdicts(list(record.table["verdict"]), list(record.table["reason"]))
    local = {site.name for site in record.sites if plate in site.plates}
    owner = [name for name, shape in record.shapes.items() for _ in range(int(np.prod(shape, dtype=int)))]
    common = np.array([name not in local for name in owner], bool)
    verdicts = verdicts.at_most("untrusted", "it is shared by rows that are private", common)
    findings, rows = (
        [told(budget), replace(clipped_finding(train.clipped, budget), verdict="ok")],
        record.settings["rows"],
    )
    if not shown.public:
        verdicts = verdicts.at_most("caution", MADE_UP)
        if rows["verdict"] == "trusted":
            rows = {**rows, "verdict": "caution", "reason": MADE_UP}
        words = (
            f"The rows of this posterior are {train.shown.size} that the fitted model made up, as those that were fitted are private: what "
            "is said of rows is said of such. posterior.latent takes others; er.Private(public=…) shows some that need no protection."
        )
        findings.append(Finding("no public rows", plate, None, None, "caution", words))
    table = {**record.table, "verdict": verdicts.verdict, "reason": verdicts.reason}
    settings = {**record.settings, "rows": rows, PRIVACY: budget.as_dict()}
    return replace(record, table=table, settings=settings, findings=Findings([*findings, *record.findings]))
