"""Made-up rows beside those that a model was trained on and those that training held out, in their outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ppl.data import convert
from ...ppl.errors import DataError, InferenceError, explain
from ..thresholds import COMPARED_ROWS
from .distances import tables
from .rows import check_rows


@dataclass(frozen=True, eq=False)
class Samples:
    """Three sets of rows: values of outcomes by name, rows first.

    Attributes
    ----------
    made, trained, held : mapping
    measures : mapping
        What the values of each outcome are, see `Site`.
    """

    made: Mapping[str, np.ndarray]
    trained: Mapping[str, np.ndarray]
    held: Mapping[str, np.ndarray]
    measures: Mapping[str, str]

    @property
    def tables(self) -> list[np.ndarray]:
        """Made-up, trained and held-out rows as columns in which distances mean something."""
        return tables([self.made, self.trained, self.held], self.measures)


def beside(latent: Any, synthetic: Any, holdout: Any, what: str, seed: int) -> Samples:
    """Made-up rows, or those that the model makes up, and real ones; of each as many as are compared at the most.

    Parameters
    ----------
    latent : Latent
        Of the posterior.
    synthetic : xarray.Dataset, mapping, array or int, optional
        As `Latent.simulate` gives them, or as data of the model's arguments are; or how many are to be made: as many as were trained on.
    holdout : mapping or array, optional
        Data of rows that training has not seen; those that it held out where they are left out.
    what : str
        Who asks.
    seed : int
        Which rows are taken where there are too many, and those that are made.

    Raises
    ------
    InferenceError
        If no rows were held out, or no outcome has its values among the model's arguments.
    DataError
        For other outcomes than the model's.
    """
    rows, rng = latent.setup.rows, np.random.default_rng([seed, 82])
    known = {
        n: s
        for n, s in latent.outcomes.items()
        if s.argument in rows.along and s.argument not in latent.labels
    }
    if not known:
        got = "none"
        raise InferenceError(
            explain(what, "an outcome of the rows that is an argument of the model", got, "observe one")
        )
    if holdout is None and not len(latent.held_out):
        want = "rows that training held out"
        raise InferenceError(explain(what, want, "none", "fit with validation=0.1, or pass holdout="))
    trained = rows.host(_some(np.setdiff1d(np.arange(rows.total), latent.held_out), rng))
    held, count = (
        (rows.host(latent.held_out), len(latent.held_out))
        if holdout is None
        else latent.data_of(holdout, what)
    )
    held = rows.taken(held, _some(np.arange(count), rng))
    measures = {name: site.measure for name, site in known.items()}
    own, others = (_outcomes(known, rows.along, some) for some in (trained, held))
    if synthetic is None or isinstance(synthetic, (int, np.integer)):
        number = len(next(iter(own.values()))) if synthetic is None else int(synthetic)
        synthetic = latent.simulate(number, _context(latent, trained, held, number, rng), seed)
    made = _given(latent, known, synthetic, what)
    kept = _some(np.arange(len(next(iter(made.values())))), rng)
    return Samples({name: value[kept] for name, value in made.items()}, own, others, measures)


def _some(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """All of them, or so many that were drawn."""
    return rows if len(rows) <= COMPARED_ROWS else np.sort(rng.choice(rows, COMPARED_ROWS, replace=False))


def _outcomes(known: Mapping[str, Any], along: Mapping[str, int], data: Mapping[str, np.ndarray]) -> dict:
    """Outcomes of data of the model's arguments."""
    return {name: np.moveaxis(data[s.argument], along[s.argument], 0) for name, s in known.items()}


def _context(latent: Any, trained: Mapping, held: Mapping, count: int, rng: np.random.Generator) -> dict:
    """What made-up rows are given, but for outcomes, which are made up too: what rows trained on and held out are, drawn from both
    alike."""
    along, out = latent.setup.rows.along, {}
    place = None
    for label in sorted(latent.given - latent.setup.rows.conditions):
        axis = along[label]
        whole = np.concatenate([trained[label], held[label]], axis)
        if place is None:
            place = rng.integers(0, whole.shape[axis], count)
        out[label] = np.take(whole, place, axis)
    return out


def _given(latent: Any, known: Mapping[str, Any], synthetic: Any, what: str) -> dict[str, np.ndarray]:
    """Outcomes of rows that someone made up."""
    if hasattr(synthetic, "data_vars"):
        lacking = sorted(set(known) - set(synthetic.data_vars))
        if lacking:
            got = f"{sorted(map(str, synthetic.data_vars))}"
            raise DataError(
                explain(f"synthetic of {what}", f"outcomes {sorted(known)}", got, "give them all")
            )
        return {name: synthetic[name].to_numpy() for name in known}
    along, program = latent.setup.rows.along, latent.setup.rows.full.program
    own = {s.argument: along[s.argument] for s in known.values()}
    if not isinstance(synthetic, Mapping):
        synthetic = {next(iter(own)): synthetic} if len(own) == 1 else {}
    some = {label: convert(value, label, program.labels.get(label)).value for label, value in synthetic.items()
            if label in own or label not in latent.given}  # fmt: skip
    check_rows(program, own, some, f"synthetic of {what}")
    return _outcomes(known, along, some)
