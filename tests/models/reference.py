"""What ties a declared model to a reference posterior."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


def columns(reference: Mapping[str, Any], model: Any) -> dict[str, Any]:
    """The entries of the reference data that the model takes, lists as arrays."""
    taken = {k: v for k, v in reference.items() if k in inspect.signature(model.fn).parameters}
    return {k: np.asarray(v) if isinstance(v, list) else v for k, v in taken.items()}


@dataclass(frozen=True)
class Reference:
    """A declared model of a reference posterior.

    Attributes
    ----------
    model : Model
    prepare : callable or None
        From the reference data to the model's arguments, where these are not columns of the former.
    constant : float
        Log density of the declared model less that of the reference: what one of them leaves out.
    renamed : mapping
        Name of a site here to its name in the reference, where they differ.
    """

    model: Any
    prepare: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None
    constant: float = 0.0
    renamed: Mapping[str, str] = field(default_factory=dict)

    def data(self, reference: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments of the model."""
        return columns(reference, self.model) if self.prepare is None else self.prepare(reference)
