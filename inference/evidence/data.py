"""What is said of the data and of how the model takes them, whatever the fit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...ppl.backends import load
from ...ppl.binding import unlike_rows
from .finding import Finding


def data_findings(program, trace, target) -> Iterator[Finding]:
    """Findings about the data.

    Parameters
    ----------
    program : Program
        The model with its data.
    trace : ModelTrace
        Its sites.
    target : Target
        Its density.
    """
    for look in (_precision, _rows, _running, _missing, _links, _informed):
        yield from look(program, trace, target)


def unread_links(why: str) -> Finding:
    """What is said where the analysis of a model's links failed."""
    advice = (
        f"Which quantities are linked could not be read from the model ({why}), so that the guide may not follow its "
        "groups: slower, and poorer where there are many. Please report it with the model."
    )
    return Finding("links", "fit", None, None, "ok", advice)


def _precision(program, trace, target) -> Iterator[Finding]:
    single = [label for label, leaf in program.leaves.items() if leaf.float32]
    if single and target.dtype == np.float64:
        yield Finding(
            "single precision data",
            ", ".join(single),
            None,
            None,
            "ok",
            f"Data arrived as float32 ({', '.join(single)}): pass float64 arrays to keep all digits.",
        )
    if program.precision == np.float32:
        yield Finding(
            "single precision model",
            program.name,
            None,
            None,
            "ok",
            "The model's loops hold whole numbers of 32 bits, so it runs in single precision as a whole.",
        )


def _rows(program, trace, target) -> Iterator[Finding]:
    for first, other in unlike_rows(program.leaves):
        yield Finding(
            "rows of other names",
            f"{first}, {other}",
            None,
            None,
            "caution",
            f"The rows of '{first}' and '{other}' have different index labels and were paired by their position: "
            "align them, or reset_index where the order is right.",
        )
    for name in trace.repeated:
        yield Finding(
            "repeated data",
            name,
            None,
            None,
            "caution",
            f"The values of '{name}' are fewer than its law has elements, so each counts several times: give it data of "
            "the law's shape, or take the law out of the plate.",
        )


def _running(program, trace, target) -> Iterator[Finding]:
    for label in trace.demoted:
        yield Finding(
            "static argument",
            label,
            None,
            None,
            "ok",
            f"The model needs the values of '{label}' to know a shape: it became a static argument, so new "
            "values compile anew.",
        )
    if getattr(target.density, "looped", False):
        yield Finding(
            "draw by draw",
            program.name,
            None,
            None,
            "ok",
            "The model decides by the value of a quantity, so it runs once per draw: slow. Use er.math.where in "
            "place of if, and keep single numbers as arrays.",
        )


def _missing(program, trace, target) -> Iterator[Finding]:
    for name, how in trace.missing.items():
        count = int(np.sum(program.leaves[trace[name].argument].holes))
        words = {
            "imputed": f"imputed as the latent site '{name}_missing'",
            "summed": f"summed out as the discrete site '{name}_missing'",
            "masked": "left out of the likelihood, and predicted",
        }[how]
        yield Finding(
            "missing values", name, float(count), None, "ok", f"{count} values of '{name}' are {words}."
        )


def _links(program, trace, target) -> Iterator[Finding]:
    if operations := load(target.backend, program.model.language).unread(program):
        yield unread_links(f"operations {', '.join(operations)}")


def _informed(program, trace, target) -> Iterator[Finding]:
    for name in program.graph(target.backend).uninformed:
        yield Finding(
            "no data",
            name,
            None,
            None,
            "ok",
            f"No outcome depends on '{name}' or on what it depends on: its posterior is its prior.",
        )
    if trace.weights and target.fitted:
        words = f"{len(trace.weights)} arrays of the model are fitted: points without a verdict, which all verdicts are given."
        yield Finding(
            "fitted arrays", ", ".join(trace.weights)[:200], float(len(trace.weights)), None, "ok", words
        )
    elif trace.weights:
        yield Finding(
            "learnable arrays",
            ", ".join(trace.weights),
            None,
            None,
            "caution",
            "The model's learned arrays are where they began: nothing that depends on them is trusted. Fit the model by er.fit, "
            "with a guide.",
        )
