"""The OpenAPI description of a service, made of what its version can be asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .columns import Wanted
from .numbers import rounded
from .served import Served

NUMBER: dict[str, Any] = {"type": "number"}
KEY: dict[str, Any] = {"type": ["string", "integer"]}
VERDICT = {"type": ["string", "null"], "enum": ["trusted", "caution", "untrusted", None]}
SAID = {
    "predict": "Each outcome's mean, sd and quantiles, or the probabilities of its classes; of encoded rows their reconstruction, and what they lack.",
    "encode": "Mean, sd and quantiles of the latent units of rows.",
    "score": "Log densities of rows.",
}
STATUSES = {
    "400": "no JSON, or none that is taken",
    "401": "no token that holds",
    "403": "a token for something else",
    "413": "too large, or too many rows",
    "415": "another type of content",
    "422": "no row of this model: column and row are named",
    "429": "too many rows wait: come again after Retry-After",
    "503": "not ready",
    "504": "no answer in time",
}


def described(served: Served, with_tokens: bool, with_canary: bool = False) -> dict[str, Any]:
    """OpenAPI 3.1, as plain values."""
    security: list[dict[str, list]] = [{"token": []}] if with_tokens else []
    paths: dict[str, Any] = {
        f"/v1/{name}": {"post": _posted(name, use.wanted, served, security)}
        for name, use in served.uses.items()
    }
    for path, words in (
        ("/v1/model", "What is served, and what it can be asked."),
        ("/v1/verdict", "What may be trusted."),
    ):
        paths[path] = {
            "get": {"summary": words, "security": security, "responses": _responses({"type": "object"})}
        }
    if with_canary:
        paths["/v1/outcomes"] = {"post": _outcomes(security)}
        paths["/v1/canary"] = {
            "get": {
                "summary": "Where the canary stands.",
                "security": security,
                "responses": _responses({"type": "object"}),
            }
        }
    paths["/metrics"] = {"get": {"summary": "For Prometheus.", "security": security, "responses": {"200": {"description": "text"}}}}  # fmt: skip
    for name in ("live", "ready"):
        paths[f"/healthz/{name}"] = {"get": {"summary": f"Whether it is {name}.", "responses": {"200": {"description": "yes"}, "503": {"description": "no"}}}}  # fmt: skip
    return {
        "openapi": "3.1.0",
        "info": {
            "title": served.version.model,
            "version": str(served.version.number),
            "description": f"The posterior is {served.posterior.verdict}. Answers say what may be trusted of each row.",
        },
        "paths": paths,
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def example_of(wanted: Sequence[Wanted]) -> dict[str, Any]:
    """A row as it may be asked for: labels and numbers from the middle of what the training data held, which are no row of theirs."""
    out: dict[str, Any] = {}
    for column in wanted:
        if column.codes is not None:
            out[column.name] = next(iter(column.codes))
            continue
        ranges = column.ranges
        if ranges is None:
            middle = np.zeros(column.shape)
        elif ranges.levels is not None:
            middle = np.full(column.shape, ranges.levels[0])
        else:
            middle = np.broadcast_to((ranges.low + ranges.high) / 2, column.shape)
        if column.dtype.kind in "iu" or (ranges is not None and ranges.whole.all()):
            middle = np.round(middle).astype(int)
        out[column.name] = rounded(middle).tolist() if middle.dtype.kind == "f" else middle.tolist()
    return out


def _posted(name: str, wanted: Sequence[Wanted], served: Served, security: list) -> dict[str, Any]:
    row = {
        "type": "object",
        "additionalProperties": False,
        "required": [column.name for column in wanted],
        "properties": {column.name: _cell(column) for column in wanted},
    }
    rows = {
        "type": "object",
        "additionalProperties": False,
        "required": ["rows"],
        "properties": {
            "rows": {"type": "array", "minItems": 1, "maxItems": served.settings.most_rows, "items": row},
            "key": KEY,
        },
    }
    columns = {
        "type": "object",
        "additionalProperties": False,
        "required": ["columns"],
        "properties": {
            "columns": {
                "type": "object",
                "properties": {c.name: {"type": "array", "items": _cell(c)} for c in wanted},
            },
            "key": KEY,
        },
    }
    example = {"rows": [example_of(wanted)]}
    answer = {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "model": {"type": "string"},
            "version": {"type": "integer"},
            "rows": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["verdict", "reason", "in_range"],
                    "properties": {
                        "verdict": VERDICT,
                        "reason": {"type": "string"},
                        "in_range": {"type": "boolean"},
                    },
                },
            },
        },
    }
    content = {"application/json": {"schema": {"oneOf": [rows, columns]}, "example": example}}
    return {
        "summary": SAID.get(name, name),
        "operationId": name,
        "security": security,
        "requestBody": {"required": True, "content": content},
        "responses": _responses(answer),
    }


def _outcomes(security: list) -> dict[str, Any]:
    """Of what became of requests."""
    loss = {"key": KEY, "loss": NUMBER}
    rows = {"key": KEY, "rows": {"type": "array", "minItems": 1, "items": {"type": "object"}}}
    one = {
        "oneOf": [
            {"type": "object", "additionalProperties": False, "required": list(each), "properties": each}
            for each in (loss, rows)
        ]
    }
    body = {
        "type": "object",
        "additionalProperties": False,
        "required": ["outcomes"],
        "properties": {"outcomes": {"type": "array", "minItems": 1, "items": one}},
    }
    return {
        "summary": "What requests lost, by their keys: a number, or rows with their outcomes, as score takes them.",
        "operationId": "outcomes",
        "security": security,
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": _responses({"type": "object"}),
    }


def _cell(column: Wanted) -> dict[str, Any]:
    if column.codes is not None:
        return (
            {"type": "string"}
            if column.unseen is not None
            else {"type": "string", "enum": list(column.codes)}
        )
    kind = "integer" if column.dtype.kind in "iu" else "number"
    schema: dict[str, Any] = {"type": [kind, "null"] if column.gap else kind}
    for size in reversed(column.shape):
        schema = {"type": "array", "minItems": size, "maxItems": size, "items": schema}
    return schema


def _responses(answer: dict[str, Any]) -> dict[str, Any]:
    ok = {"description": "the answer", "content": {"application/json": {"schema": answer}}}
    return {"200": ok, **{status: {"description": words} for status, words in STATUSES.items()}}
