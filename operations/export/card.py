"""The model card beside a file: what it computes, how far its numbers can be trusted, of which data, and where that ends."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...inference.posterior.groups import version
from ...inference.posterior.record import Record
from ..ledger import now
from ..thresholds import CARD_LABELS, CARD_QUANTITIES, CARD_SHOWN, EXPORT_RELATIVE, EXPORT_ROWS
from .graph import Graph

SCHEMA = "elboroom-export/1"
COLUMNS = ("mean", "sd", "q5", "median", "q95", "verdict", "reason")


def card_of(
    record: Record, graph: Graph, content: bytes, settings: Mapping[str, Any], judged: Mapping[str, Any]
) -> dict[str, Any]:
    """The card as plain values.

    Parameters
    ----------
    record : Record
        Of the posterior.
    graph : Graph
        What the file computes.
    content : bytes
        Of the file.
    settings : mapping
        What was asked for: ``file``, ``what``, ``runs``, ``backend``, ``dtype``, ``quantize``.
    judged : mapping
        ``outputs`` by name, ``verdict`` of the file and ``reasons`` for it, ``loss`` by output, ``findings`` of the export.
    """
    privacy = record.settings.get("privacy")
    return {
        "schema": SCHEMA,
        "elboroom": version(),
        "created": now(),
        "model": record.name,
        "question": record.question,
        **settings,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "draws": graph.num_draws,
        "law": record.law,
        "khat": _number(record.khat),
        "seed": record.seed,
        "inputs": [_input(graph, one, privacy is None) for one in graph.inputs],
        "outputs": [{"name": name, "is": graph.words[name]} for name in judged["outputs"]],
        "agreement": {
            "rows": list(EXPORT_ROWS),
            "relative": EXPORT_RELATIVE,
            "with": "the posterior itself in float64",
        },
        "posterior_verdict": record.verdict,
        **{k: v for k, v in judged.items() if k != "outputs"},
        "quantities": _quantities(record),
        "posterior_findings": [finding.as_dict() for finding in record.findings],
        "data": {
            "fingerprint": record.data_fingerprint,
            "rows": graph.num_rows if privacy is None else privacy["num_units"],
        },
        "privacy": privacy,
        "limits": [*graph.limits, *LIMITS],
    }


LIMITS = (
    "The verdict speaks of the model as it was declared and of the data that it was fitted to, not of whether the model is a good one.",
    "The ranges of inputs are those of the data that were fitted: beyond them the file extrapolates and does not say so.",
)


def _number(value: Any) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def _input(graph: Graph, one: Any, ranged: bool = True) -> dict[str, Any]:
    """An input: its shape with the rows in front, what it is, and what was fitted; no range of private rows."""
    found: dict[str, Any] = {
        "name": one.name,
        "shape": ["batch", *one.shape],
        "dtype": one.dtype,
        "is": graph.words[one.name],
    }
    labels = graph.labels.get(one.name)
    if labels is not None:
        found["labels"] = list(labels[:CARD_LABELS])
        found["num_labels"] = len(labels)
    fitted = graph.fitted.get(one.name)
    if ranged and fitted is not None and labels is None and np.isfinite(fitted).any():
        found["range"] = [float(np.nanmin(fitted)), float(np.nanmax(fitted))]
    return found


def _quantities(record: Record) -> list[dict[str, Any]]:
    """The summary of the quantities that the verdict is over, so many at most."""
    table, rows = record.table, record.judged[:CARD_QUANTITIES]
    return [
        {
            "name": table["label"][i],
            **{c: v if isinstance(v := table[c][i], str) or v is None else _number(v) for c in COLUMNS},
        }
        for i in rows
    ]


def as_markdown(card: Mapping[str, Any]) -> str:
    """The card for a person."""
    size = card["bytes"] / 1024
    lines = [
        f"# {card['file']}",
        "",
        *([card["question"], ""] if card["question"] else []),
        f"**Verdict: {card['verdict']}.** " + " ".join(card["reasons"]),
        "",
        f"`{card['what']}` of the model *{card['model']}*, for {card['runs']}; {size:,.0f} KiB, {card['dtype']}"
        + (f", numbers kept in {card['quantize']}" if card["quantize"] else "")
        + (f", {card['draws']} draws of the posterior" if card["draws"] else "")
        + f". Made by elboroom {card['elboroom']} on {card['created']}.",
        "",
        "## Inputs",
        "",
        *_table(
            ("name", "shape", "type", "what it is", "fitted"), [_described(one) for one in card["inputs"]]
        ),
        "",
        "## Outputs",
        "",
        *_table(("name", "what it is"), [(f"`{one['name']}`", one["is"]) for one in card["outputs"]]),
        "",
        "## Quantities",
        "",
        *_table(
            ("quantity", "mean", "sd", "5%", "95%", "verdict", "reason"),
            [_quantity(one) for one in card["quantities"][:CARD_SHOWN]],
        ),
        "",
        *_loss(card["loss"]),
        "## Data",
        "",
        f"{card['data']['rows']:,} rows, fingerprint `{card['data']['fingerprint']}`.",
        *_privacy(card.get("privacy")),
        "",
        "## Limits",
        "",
        *[f"- {limit}" for limit in card["limits"]],
        *[f"- {finding['advice']}" for finding in card["findings"]],
        f"- Checked before it was written: the same numbers as the posterior to {card['agreement']['relative']:g} relative, in batches of "
        f"{', '.join(map(str, card['agreement']['rows']))} rows"
        + (", before its numbers were rounded." if card["quantize"] else "."),
        "",
        f"`{card['sha256']}` (SHA-256)",
        "",
    ]
    return "\n".join(lines)


def _privacy(spent: Mapping[str, Any] | None) -> list[str]:
    """What a private fit has spent."""
    if spent is None:
        return []
    return [
        "",
        f"Private: epsilon {spent['epsilon']:g}, delta {spent['delta']:g}, of {spent['unit']}; gradients clipped to {spent['clip']:g}, noise "
        f"{spent['noise_multiplier']:.4g} times that, {spent['steps']} steps at a sampling rate of {spent['sampling_rate']:.4g}; by "
        f"{spent['accountant']}. Public: {', '.join(spent['public'])}.",
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *(
            "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in row) + " |"
            for row in rows
        ),
    ]


def _described(one: Mapping[str, Any]) -> tuple[str, ...]:
    fitted = ""
    if "labels" in one:
        names = ", ".join(f"{i} {label}" for i, label in enumerate(one["labels"]))
        fitted = names + (" …" if one["num_labels"] > len(one["labels"]) else "")
    elif "range" in one:
        fitted = "{:.4g} to {:.4g}".format(*one["range"])
    return f"`{one['name']}`", " × ".join(map(str, one["shape"])), one["dtype"], one["is"], fitted


def _quantity(one: Mapping[str, Any]) -> tuple[str, ...]:
    numbers = ("" if one[c] is None else f"{one[c]:.4g}" for c in ("mean", "sd", "q5", "q95"))
    return (one["name"], *numbers, one["verdict"] or "", one["reason"] or "")


def _loss(loss: Mapping[str, Mapping[str, float]]) -> list[str]:
    if not loss:
        return []
    rows = [
        (f"`{name}`", *(f"{one[k]:.3g}" for k in ("largest", "mean_shift", "sd_ratio")))
        for name, one in loss.items()
    ]
    head = ("output", "largest difference", "means off by, in sds", "sds off by")
    return ["## What rounding costs", "", *_table(head, rows), ""]


def as_json(card: Mapping[str, Any]) -> str:
    """The card for a program."""
    return json.dumps(card, indent=1, ensure_ascii=False, allow_nan=False)
