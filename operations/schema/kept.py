"""A schema as JSON has it, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields as fields_of
from typing import Any

import numpy as np

from ..drift.kept import packed, unpacked
from .fields import Field

FORMAT = "elboroom-schema/1"
ARRAYS = "quantiles", "picture", "spread"


def as_record(schema: Any) -> dict[str, Any]:
    """A schema for JSON."""
    return {
        "format": FORMAT,
        "name": schema.name,
        "num_rows": schema.num_rows,
        "order": list(schema.order),
        "together": packed(schema.together),
        "fields": [_field(one) for one in schema.fields.values()],
    }


def _field(one: Field) -> dict[str, Any]:
    values = {f.name: getattr(one, f.name) for f in fields_of(one)}
    return {
        k: packed(v) if k in ARRAYS else list(v) if isinstance(v, tuple) else v for k, v in values.items()
    }


def from_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a schema.

    Raises
    ------
    ValueError
        For another format.
    """
    if record.get("format") != FORMAT:
        raise ValueError(f"the format {record.get('format')!r}")
    made = {}
    for one in record["fields"]:
        own: dict[str, Any] = {k: unpacked(v) if k in ARRAYS else v for k, v in one.items()}
        own["shape"] = tuple(own["shape"])
        own["levels"] = None if own["levels"] is None else tuple(own["levels"])
        made[own["name"]] = Field(**own)
    together = np.asarray(unpacked(record["together"]))
    return {
        "name": record["name"],
        "fields": made,
        "num_rows": record["num_rows"],
        "order": tuple(record["order"]),
        "together": together,
    }
