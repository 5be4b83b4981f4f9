"""A schema in formats that other programs read: JSON Schema, and pandera."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..columns import BLOCKS, DATES, LABELS, NUMBERS
from ..extras import library
from .fields import Field

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(name: str, fields: Mapping[str, Field]) -> dict[str, Any]:
    """See `Schema.json_schema`."""
    properties: dict[str, Any] = {}
    parts: dict[str, list[Any]] = {}
    for field in fields.values():
        base, _, rest = field.name.partition("[")
        if rest[:-1].isdigit():
            parts.setdefault(base, []).append(_property(field))
        else:
            properties[field.name] = _property(field)
    for base, some in parts.items():
        properties[base] = {"type": "array", "prefixItems": some, "items": False, "minItems": len(some)}
    outcomes = {field.name.partition("[")[0] for field in fields.values() if field.outcome}
    required = [one for one in properties if one not in outcomes]
    return {"$schema": DRAFT, "title": name, "type": "object", "properties": properties, "required": required}


def _property(field: Field) -> dict[str, Any]:
    gaps = field.missing > 0 or field.outcome
    if field.kind == LABELS:
        if field.levels is None or field.open:
            return {"type": ["string", "null"] if gaps else "string"}
        return {"enum": [*field.levels, *([None] if gaps else [])]}
    if field.kind == DATES:
        return {"type": "string"}
    ends = dict(zip(("minimum", "maximum"), field.limits, strict=True)) if field.count else {}
    number = {"type": ["number", "null"] if gaps else "number", **ends}
    if field.kind == BLOCKS:
        return _nested(number, field.shape)
    if field.levels is not None and not field.open:
        return {"enum": [*map(float, field.levels), *([None] if gaps else [])]}
    return number


def _nested(item: dict[str, Any], shape: tuple[int, ...]) -> dict[str, Any]:
    for size in reversed(shape):
        item = {"type": "array", "items": item, "minItems": size, "maxItems": size}
    return item


def as_pandera(name: str, fields: Mapping[str, Field]) -> Any:
    """See `Schema.pandera`."""
    pa = library("pandera.pandas", "pandera", "schema.pandera")
    columns = {}
    for field in fields.values():
        gaps = field.missing > 0 or field.outcome
        if field.kind == NUMBERS:
            known = field.levels is not None and not field.open
            rule = (
                pa.Check.isin(list(map(float, field.levels or ())))
                if known
                else pa.Check.in_range(*field.limits)
            )
            columns[field.name] = pa.Column(
                float, rule, nullable=gaps, coerce=True, required=not field.outcome
            )
        elif field.kind == LABELS:
            rules = [] if field.levels is None or field.open else [pa.Check.isin(list(field.levels))]
            columns[field.name] = pa.Column(
                str, rules, nullable=gaps, coerce=not gaps, required=not field.outcome
            )
        elif field.kind == DATES:
            columns[field.name] = pa.Column(
                "datetime64[ns]", coerce=True, nullable=gaps, required=not field.outcome
            )
    return pa.DataFrameSchema(columns, name=name)
