"""``what="predict"``: expected outcomes, deterministic sites and, with noise, outcomes of new rows, draw by draw."""

from __future__ import annotations

from functools import partial

from ...ppl.errors import UnsupportedError, explain
from . import source
from .asked import Asked
from .encode import predict as predict_encoded
from .encode import score as score_encoded
from .graph import NOISE, Graph
from .predicting import NAMES, Predicting
from .rows import Rows, plate_of

MISSING = "Rows that lack a number, or name a group that there is not, are answered by NaN."


def predict(asked: Asked) -> Graph:
    """The graph of predictions.

    Raises
    ------
    UnsupportedError
        For models whose outcomes do not follow from draws and noise, row by row.
    """
    _refuse_mended(asked)
    if asked.record.settings.get("encoder") and not asked.new_groups:
        return predict_encoded(asked)
    return graph_of(asked, ("value", "mean", *(("draw",) if asked.noise else ())))


def score(asked: Asked) -> Graph:
    """The graph of log densities of outcomes: of encoded rows by their weights, else under each draw."""
    if asked.record.settings.get("encoder"):
        return score_encoded(asked)
    return graph_of(asked, ("log_prob",))


def graph_of(asked: Asked, wanted: tuple[str, ...]) -> Graph:
    """The graph of what is wanted of rows under draws."""
    target = asked.target
    _refuse_mended(asked)
    discrete = [s.name for s in target.trace.by_role("discrete")]
    if discrete:
        remedy = "predict where elboroom is"
        raise UnsupportedError(
            explain(f"site '{discrete[0]}'", "continuous latent quantities", "a discrete one", remedy)
        )
    drawn = asked.picked
    rows = Rows.of(target, plate_of(target.trace, asked.rows), asked.new_groups)
    made = Predicting(asked.record, rows, drawn, asked.dtype, wanted)
    if not made.inputs:
        raise UnsupportedError(
            explain(
                f"what='{asked.what}'", "arguments that run along the rows", "none", "export another model"
            )
        )
    return Graph(
        made.made,
        made.constants,
        made.inputs,
        _words(made),
        partial(source.outputs, made),
        partial(source.examples, made),
        made.arguments,
        {k: v for k, v in target.program.labels.items() if k in made.arguments},
        frozenset(NAMES["draw"].format(s.name) for s in made.outcomes if s.is_discrete and "draw" in wanted),
        len(drawn),
        len(next(iter(rows.data.values()))),
        _limits(made),
    )


def _refuse_mended(asked: Asked) -> None:
    """Refuse outcomes whose predictions a map mends, which no file does."""
    for name, kept in asked.record.maps.items():
        got = f"'{name}', which {kept['kind']} mends"
        want, remedy = "outcomes as the model has them", "export the posterior as it was before calibrated(...), and mend what its file gives"  # fmt: skip
        raise UnsupportedError(explain(f"what='{asked.what}'", want, got, remedy))


def _words(made: Predicting) -> dict[str, str]:
    """What each input and output is."""
    words = {}
    for label in made.arguments:
        plate = made.rows.places.get(label, ("",))[0]
        new = "; any other is a new group" if plate in made.rows.fresh else ""
        words[label] = (
            f"codes of '{plate}' from 0 to {made.rows.sizes[plate] - 1}{new}"
            if plate
            else f"argument '{label}' of the model"
        )
    for name in made.noises:
        whose = "the outcome" if name not in made.drawn else "a new element, the same in rows that share it"
        words[f"{NOISE}{name}"] = f"standard normal numbers for '{name}': {whose}"
    told = {
        "mean": "expected '{}' under each draw, rows × draws",
        "draw": "'{}' drawn under each draw, rows × draws",
        "log_prob": "log density of '{}' under each draw, rows × draws",
    }
    for part in (p for p in made.wanted if p != "value"):
        words |= {NAMES[part].format(s.name): told[part].format(s.name) for s in made.outcomes}
    return words | {name: f"'{name}' under each draw, rows × draws" for name in made.deterministic}


def _limits(made: Predicting) -> tuple[str, ...]:
    fresh = [
        f"New elements of '{plate}' are drawn from their prior given each draw."
        for plate in sorted(made.rows.fresh)
    ]
    return (MISSING, *fresh)
