"""Plates and levels of a running model, and the checks of what is declared inside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np

from .columns import no_dates, rows_of
from .data import Levels
from .distributions.base import Distribution, Origin
from .errors import DataError, DuplicateSiteError, ModelError, ShapeError, explain
from .thresholds import MANY_GROUPS, MOVES, QUOTED_LONG, SPARSE


class GroupsFound(Exception):
    """The whole numbers of an argument are identifiers of groups, whose levels the model asks for."""

    def __init__(self, label: str):
        super().__init__(label)
        self.label = label


def _no_groups(label: str, host: np.ndarray) -> str:
    missing = np.isnan(host) if host.dtype.kind == "f" else np.zeros(host.shape, dtype=bool)
    got = f"missing ones in rows {rows_of(missing)}" if missing.any() else f"values of type {host.dtype}"
    if host.dtype.kind == "M":
        return explain(f"argument '{label}'", "groups", "dates", f"name them: {label}.astype(str)")
    remedy = "drop those rows" if missing.any() else "convert them with .astype(int) or .astype('category')"
    return explain(f"argument '{label}'", "groups: strings, a category or whole numbers", got, remedy)


def _sparse_codes(label: str, host: np.ndarray, count: int) -> str:
    return explain(
        f"argument '{label}'",
        "zero-based codes of groups, or identifiers",
        f"{len(np.unique(host))} different numbers from 0 to {count - 1}, which could be both",
        f"make identifiers labels with .astype(str).astype('category'), or give {count} as the plate's size",
    )


def _reshaping(shape, expected, columns) -> str:
    """What to do about data of one shape where another is expected."""
    if shape[-1:] == (1,) and len(shape) == 2:
        return f"drop the axis of one: {columns}, or df['y'] in place of df[['y']]"
    if len(expected) > len(shape) and expected[-1:] == shape[-1:]:
        return f"drop axes of one from covariates ({columns}), or declare a plate for the other axis"
    return f"make the shapes of covariates, plates and data agree ({columns} drops an axis of one)"


class Plates:
    """The words that are the same everywhere: ``plate`` and ``levels``, and the checks of a declaration.

    Parameters
    ----------
    run : object
        What decides values: has `record`, `sizes` of plates that are others than stated, and `num_batch`.
    program : Program
        Whose model runs.
    leaves : mapping
        Its arguments by label, as the backend's arrays.
    """

    def __init__(self, run, program, leaves: Mapping[str, Any]):
        self.run, self.record, self.sizes = run, run.record, run.sizes
        self.program, self.leaves = program, leaves
        self.axes = {d: v for leaf in program.leaves.values() for d, v in leaf.dims.items() if v}
        self.plates: list[tuple[str, int]] = []
        self.latents: list[tuple[Any, Origin]] = []

    def noted(self, name: str, distribution, value) -> None:
        """Remember that an array is a latent quantity, so that messages can name it."""
        if isinstance(distribution, Distribution):
            words = f"the latent '{name}' ({type(distribution).__name__})"
            self.latents.append((value, Origin(words, support=distribution.support)))

    def origin(self, value) -> Origin | None:
        """Which argument or latent quantity a value is."""
        label = self._argument(value)
        if label is not None:
            return Origin(f"argument '{label}'", value=self.program.leaves[label].value)
        for _ in range(MOVES):
            for known, origin in self.latents:
                if known is value:
                    return origin
            value = self.moved_from(value)
        return None

    def moved_from(self, _value: Any) -> Any:
        """The array whose elements a value has, some of them or in another order or shape; None where that is not known."""
        return None

    def opened(self, _name: str, _size: int) -> AbstractContextManager:
        """The plate of the backend's library, where it has one."""
        return nullcontext()

    def missing(self, name, source) -> tuple[np.ndarray | None, bool]:
        """Where the data of a site are missing, and whether they are imputed.

        Parameters
        ----------
        name : str
            The observed site.
        source : object
            The argument that holds its value.

        Returns
        -------
        tuple
            A boolean array of the data's shape, or None; and whether these are imputed.
        """
        for label, leaf in self.leaves.items():
            if leaf is source:
                return self.program.leaves[label].holes, name in (self.program.imputed or ())
        return None, False

    def levels(self, codes: Any) -> Levels:
        """Number of groups of an argument's codes, see `elboroom.levels`.

        Raises
        ------
        ModelError
            For what is no argument of the model.
        DataError
            For an argument without groups, or of numbers that could be codes and identifiers both.
        GroupsFound
            For identifiers, which have no codes yet.
        """
        label = self._argument(codes)
        if label is None:
            raise ModelError(
                explain(
                    "er.levels",
                    "a data argument of the model (strings, a category, identifiers or zero-based codes)",
                    f"{type(codes).__name__}",
                    "call it on the argument itself, before computing with it",
                )
            )
        known, least = self.program.leaves[label], self.program.level_counts.get(label)
        if known.labels is not None:
            return Levels(len(known.labels) if least is None else least, known.labels)
        host = np.asarray(known.value)
        if host.dtype.kind not in "iu":
            raise DataError(_no_groups(label, host))
        if least is None and host.size and host.min() != 0:
            raise GroupsFound(label)
        count = max(int(host.max()) + 1, least or 0)
        if least is None and count > max(MANY_GROUPS, SPARSE * len(np.unique(host))):
            raise DataError(_sparse_codes(label, host, count))
        return Levels(count)

    def _argument(self, value) -> str | None:
        """The data argument that a value is."""
        return next((label for label, leaf in self.leaves.items() if leaf is value), None)

    def _labels(self, coords) -> tuple:
        """The labels that `coords` stands for: an argument of the model as the user gave it."""
        label = self._argument(coords)
        if label is None:
            return tuple(coords)
        leaf = self.program.leaves[label]
        values = np.asarray(leaf.value).tolist() if leaf.value.dtype.kind != "M" else list(leaf.value)
        return tuple(values if leaf.labels is None else (leaf.labels[code] for code in values))

    @contextmanager
    def plate(self, name: str, size: Any, coords: Any) -> Iterator[np.ndarray]:
        """Open a plate for the block, see `elboroom.plate`; gives the positions of its elements."""
        count = self._count(name, size)
        labels = self._labels_of(name, count, size, coords)
        if labels:
            self.record.coords[name] = tuple(labels)
        if any(name == open_name for open_name, _ in self.plates):
            raise DuplicateSiteError(
                explain(f"plate '{name}'", "a plate opened once", "itself inside itself", "rename one")
            )
        with self.opened(name, count):
            self.plates.append((name, count))
            try:
                yield np.arange(count)
            finally:
                self.plates.pop()

    def _count(self, name: str, size: Any) -> int:
        """Number of elements of a plate of a stated size."""
        try:
            if isinstance(size, (bool, float, np.floating, np.bool_, str)) or size is None:
                raise ValueError(repr(size))
            count = self.sizes.get(name, int(size))
        except Exception as error:
            raise ShapeError(
                explain(
                    f"plate '{name}'",
                    "a whole number known before compilation",
                    f"{size!r}, {type(size).__name__}"[:QUOTED_LONG],
                    "use len(column), er.levels(codes) or an integer argument",
                )
            ) from error
        if count < 1:
            raise ShapeError(
                explain(f"plate '{name}'", "at least one element", f"size {count}", "give it data")
            )
        return count

    def _labels_of(self, name: str, count: int, size: Any, coords: Any) -> Any:
        """Labels of the elements: those stated, those of the groups that the size counts, or those of a container's axis."""
        labels = getattr(size, "labels", None) or self.axes.get(name)
        labels = labels if coords is None else self._labels(coords)
        if labels is None or len(labels) == count:
            return labels
        if coords is not None and not self.program.resized and name not in self.sizes:
            raise ShapeError(
                explain(
                    f"plate '{name}'",
                    f"{count} labels",
                    f"{len(labels)} in coords",
                    "give as many labels as elements",
                )
            )
        return None

    def check_plates(self, name, shape, event_dim, what="data"):
        """Refuse a shape that disagrees with the plates around a site.

        Parameters
        ----------
        name : str
            The site.
        shape : tuple of int
            Of its value or its parameters.
        event_dim : int
            Number of trailing axes that are one event.
        what : str
            What has the shape, for messages.

        Raises
        ------
        ShapeError
        """
        batch = tuple(shape)[: len(shape) - event_dim]
        for depth, (plate, size) in enumerate(self.plates, start=1):
            axis = len(batch) - depth
            if axis >= 0 and batch[axis] not in (1, size):
                raise ShapeError(
                    explain(
                        f"site '{name}' in plate '{plate}'",
                        f"{what} of size {size} on that axis",
                        f"shape {tuple(shape)}",
                        "make the plate's size and the rows agree",
                    )
                )
            if axis >= 0 and batch[axis] < size and self.run.num_batch is None and self._beyond(batch):
                raise ShapeError(
                    explain(
                        f"site '{name}' in plate '{plate}'",
                        f"{what} of shape {self.plate_shape}, that of the plates",
                        f"shape {tuple(shape)}, repeated along '{plate}', with an axis that no plate declares",
                        f"drop the axis of one ({self._columns()}), or declare a plate for the other axis",
                    )
                )

    def _columns(self) -> str:
        """How to drop the axis of one from the arguments that have one."""
        columns = [f"{label}[:, 0]" for label, leaf in self.leaves.items() if np.shape(leaf)[1:] == (1,)]
        return ", ".join(columns) or "x[:, 0]"

    @property
    def plate_shape(self) -> tuple[int, ...]:
        """Sizes of the open plates: the outermost is the last."""
        return tuple(size for _, size in reversed(self.plates))

    def _beyond(self, batch) -> bool:
        """Whether axes other than of one stand left of those of the open plates."""
        return any(size > 1 for size in batch[: max(len(batch) - len(self.plates), 0)])

    def check_outcome(self, name, value, batch_shape, event_shape):
        """Refuse data of another shape than their law has in its plates: nothing is repeated without a word.

        Parameters
        ----------
        name : str
            The site.
        value : array
            The data; single numbers have every shape.
        batch_shape, event_shape : tuple of int
            Of the law as it was declared. A single law in no plate has every batch shape.

        Raises
        ------
        ShapeError
        DataError
            For dates.
        """
        if getattr(getattr(value, "dtype", None), "kind", "") == "M":
            label = self._argument(value) or "x"
            raise DataError(no_dates(f"site '{name}' (argument '{label}')", label))
        shape, event = tuple(np.shape(value)), tuple(event_shape)
        batch = tuple(np.broadcast_shapes(batch_shape, self.plate_shape))
        free = not batch and shape[len(shape) - len(event) :] == event
        if shape in ((), batch + event) or free or self.run.num_batch is not None:
            return
        argument = self._argument(value)
        plates = ", ".join(f"'{plate}'" for plate, _ in self.plates)
        raise ShapeError(
            explain(
                f"site '{name}'" + (f" (argument '{argument}')" if argument else ""),
                f"data of the shape of their law, {batch + event}"
                + (f" with plate{'s' * (len(self.plates) > 1)} {plates}" if plates else ""),
                f"data of shape {shape} (the law's parameters have shape {tuple(batch_shape)})",
                _reshaping(shape, batch + event, self._columns()),
            )
        )

    def lowered(self, name, distribution, lower):
        """The backend's law of a declaration, checked.

        Parameters
        ----------
        name : str
            The site.
        distribution : Distribution
            The declaration, or a law of the backend's library.
        lower : callable
            Makes one of the other.

        Raises
        ------
        ModelError
            For what is no distribution, or has parameters that are none.
        ShapeError
            For parameters whose shape disagrees with the plates.
        """
        validate = getattr(distribution, "validate", None)
        if validate is not None:
            validate(name)
        if not hasattr(distribution, "log_prob") and not hasattr(distribution, "params"):
            raise ModelError(
                explain(
                    f"site '{name}'",
                    "a distribution such as er.Normal(0, 1)",
                    f"{type(distribution).__name__}",
                    "pass the distribution itself",
                )
            )
        fn = lower(distribution)
        self.check_plates(name, tuple(fn.batch_shape), 0, "parameters")
        return fn
