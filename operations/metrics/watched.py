"""A posterior and the rows that it is measured at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...inference.posterior.posterior import record_of
from ...ppl.errors import DataError, explain
from ..thresholds import METRIC_ROWS


@dataclass(frozen=True, eq=False)
class Watched:
    """What is measured.

    Attributes
    ----------
    posterior : Posterior
    data : dict or None
        Arguments by name; None for the fitted rows.
    name : str
        Of the rows.
    anomalous : numpy.ndarray or None
    """

    posterior: Any
    data: dict[str, Any] | None
    name: str
    anomalous: np.ndarray | None = None

    @classmethod
    def of(cls, posterior: Any, data: Any, name: str | None, anomalous: Any) -> Watched:
        """From what a user gave."""
        if data is not None and not isinstance(data, Mapping):
            if not hasattr(data, "columns"):
                got = type(data).__name__
                raise DataError(
                    explain("data of er.metrics", "a mapping or a table", got, "name its columns")
                )
            data = {str(column): np.asarray(data[column]) for column in data.columns}
        if name is None:
            name = "fitted" if data is None else "new"
        known = None if anomalous is None else np.asarray(anomalous, bool).ravel()
        return cls(posterior, None if data is None else dict(data), name, known)

    @property
    def record(self) -> Any:
        """What the posterior is made of."""
        return record_of(self.posterior)

    @property
    def encodes(self) -> bool:
        """Whether its rows have an encoder."""
        return bool(self.record.settings.get("encoder"))

    @cached_property
    def rows(self) -> dict[str, np.ndarray]:
        """Data of encoded rows, some of them, evenly, where they are many."""
        latent = self.posterior.latent
        along = latent.setup.rows.along
        given = latent.setup.rows.data if self.data is None else self.data
        whole, count = latent.data_of(None if self.data is None else given, "er.metrics")
        some = np.unique(np.linspace(0, count - 1, min(METRIC_ROWS, count)).astype(int))
        return {
            label: np.take(np.asarray(value), some, along[label])
            for label, value in whole.items()
            if label in along
        }

    @property
    def num_rows(self) -> int:
        """Of encoded rows that are looked at."""
        label, axis = next(iter(self.posterior.latent.setup.rows.along.items()))
        return self.rows[label].shape[axis]

    def some(self, most: int) -> dict[str, np.ndarray]:
        """The data of fewer of them."""
        along = self.posterior.latent.setup.rows.along
        index = np.unique(np.linspace(0, self.num_rows - 1, min(most, self.num_rows)).astype(int))
        return {label: np.take(value, index, along[label]) for label, value in self.rows.items()}
