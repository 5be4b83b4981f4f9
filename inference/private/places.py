"""Data of a unit, its rows in front, as a model takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...ppl import math as m


def placed(data: Mapping[str, Any], along: Mapping[str, int]) -> dict[str, Any]:
    """Each argument with the axis of rows where the model has it."""
    return {k: m.moveaxis(v, 0, along[k]) if along[k] else v for k, v in data.items()}
