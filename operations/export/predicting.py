"""What one draw makes of new rows, without random numbers of its own: expected outcomes, deterministic sites, drawn outcomes, scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...inference.posterior.classes import conditions
from ...inference.posterior.record import Record
from ...ppl import math as m
from ...ppl.backends.portable import Input
from ...ppl.errors import UnsupportedError, explain
from .graph import NOISE
from .rows import Rows

NAMES = {"value": "{}", "mean": "{}_mean", "draw": "{}", "log_prob": "{}_log_prob"}
"""How outputs are called, by what is computed of a site."""


@dataclass(frozen=True, eq=False)
class Predicting:
    """Rows under draws of a posterior.

    Attributes
    ----------
    record : Record
    rows : Rows
    picked : numpy.ndarray of int
        Draws that go into the file.
    dtype : numpy.dtype
        Precision of the file.
    wanted : tuple of str
        What is computed, see `Functions.carried`.
    """

    record: Record
    rows: Rows
    picked: np.ndarray
    dtype: np.dtype
    wanted: tuple[str, ...]

    def __post_init__(self):
        self.small.data  # noqa: B018  what is looked at within a trace would be no numbers

    @cached_property
    def small(self) -> Any:
        """The target of one row."""
        return self.rows.alone(self.dtype)

    # -- sites -------------------------------------------------------------------------------------------

    @cached_property
    def outcomes(self) -> tuple[Any, ...]:
        """Outcomes of the rows that are predicted, or scored: where others depend on one, it is given."""
        found = self.small.trace.by_role("observed", "predicted")
        given = set() if "log_prob" in self.wanted else conditions(self.record)
        return tuple(site for site in found if self.rows.plate in site.plates and site.argument not in given)

    @cached_property
    def groups(self) -> dict[str, tuple[str, int]]:
        """Latent sites of groups that rows name, with the plate and its axis."""
        plates, found = {plate for plate, _ in self.rows.places.values()}, {}
        for site in self.small.trace.latents:
            own = [plate for plate in site.plates if plate in plates]
            if len(own) > 1:
                remedy = "give the model one code for each pair of groups"
                got = f"of {' and '.join(own)}"
                raise UnsupportedError(
                    explain(f"site '{site.name}'", "quantities of one plate of groups", got, remedy)
                )
            if own:
                found[site.name] = own[0], site.dims.index(own[0])
        return found

    @cached_property
    def own(self) -> frozenset[str]:
        """Latent sites with an element for each row, which new rows draw anew."""
        plate = self.rows.plate
        found = sorted(s.name for s in self.small.trace.latents if plate in s.plates)
        if found and plate not in self.rows.fresh:
            got, remedy = (
                f"one for each '{plate}'",
                f"draw those of new rows from their prior: new_groups='{plate}'",
            )
            raise UnsupportedError(explain(f"site '{found[0]}'", "a quantity that rows share", got, remedy))
        return frozenset(found)

    @cached_property
    def drawn(self) -> frozenset[str]:
        """Latent sites that new groups, or rows, draw from their prior."""
        return self.own | {name for name, (plate, _) in self.groups.items() if plate in self.rows.fresh}

    @property
    def deterministic(self) -> list[str]:
        """Deterministic sites of the rows."""
        sites = self.small.trace.by_role("deterministic") if "value" in self.wanted else ()
        return [s.name for s in sites if self.rows.plate in s.plates]

    @property
    def owners(self) -> dict[str, str]:
        """Output to the site that it is of."""
        parts = [part for part in self.wanted if part != "value"]
        found = {NAMES[part].format(s.name): s.name for part in parts for s in self.outcomes}
        return found | {name: name for name in self.deterministic}

    # -- inputs and constants ------------------------------------------------------------------------------

    @cached_property
    def arguments(self) -> dict[str, np.ndarray]:
        """Arguments of rows that go in, as they were fitted; outcomes only where they are scored, or others depend on them."""
        held = set() if "log_prob" in self.wanted else {site.argument for site in self.outcomes}
        return {k: v for k, v in self.rows.data.items() if k not in held}

    @cached_property
    def noises(self) -> dict[str, tuple[int, ...]]:
        """Shape of the noise of one row and one draw, by site."""
        drawn = [s for s in self.small.trace.latents if s.name in self.drawn]
        drawn += self.outcomes if "draw" in self.wanted else ()
        return {
            s.name: tuple(n for n, d in zip(s.shape, s.dims, strict=True) if d != self.rows.plate)
            for s in drawn
        }

    @property
    def inputs(self) -> tuple[Input, ...]:
        """Arguments of the model, then noise."""
        count = len(self.picked)
        noise = [Input(f"{NOISE}{k}", (count, *shape), self.dtype.name) for k, shape in self.noises.items()]
        return (*(Input(k, v.shape[1:], type_of(v, self.dtype)) for k, v in self.arguments.items()), *noise)

    @cached_property
    def constants(self) -> dict[str, np.ndarray]:
        """Draws by site and data of groups, groups in front; and learned arrays."""
        found = {}
        for site in self.small.trace.latents:
            if site.name not in self.own:
                value = self._drawn_of(site.name)
                own = self.groups.get(site.name)
                if own is None:
                    found[f"site:{site.name}"] = value
                else:
                    found[f"group:{site.name}"] = np.moveaxis(value, 1 + own[1], 0)
        found |= {f"data:{label}": self.rows.table(label) for label in self.rows.beside}
        return found | {
            f"weight:{k}": np.asarray(v)
            for k, v in self.record.weights.items()
            if k in self.small.trace.weights
        }

    def _drawn_of(self, name: str) -> np.ndarray:
        """Draws of a site that go into the file.

        Raises
        ------
        UnsupportedError
            Where there are none, or the model has another site for such rows.
        """
        if name not in self.record.values:
            remedy = "save the posterior with them, and load it with the program and the fitted data"
            raise UnsupportedError(explain("export", f"draws of '{name}'", "none", remedy))
        return np.asarray(self.record.values[name])[self.picked]

    # -- what the file computes ----------------------------------------------------------------------------

    def made(self, constants: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs of rows; those of rows that lack a number, or name a group that there is not, are no numbers."""
        bad, new, codes = self._looked_at(inputs)
        parts: dict[str, dict[str, Any]] = {"site": {}, "group": {}, "data": {}, "weight": {}}
        for key, value in constants.items():
            kind, _, name = key.partition(":")
            parts[kind][name] = value
        each = {
            "given": {k: inputs[k] for k in self.arguments if k not in self.rows.places},
            "noise": {k: inputs[f"{NOISE}{k}"] for k in self.noises},
            "new": new,
            "groups": {
                k: self._looked_up(parts["group"][k], plate, codes) for k, (plate, _) in self.groups.items()
            },
            "tables": {
                k: self._looked_up(parts["data"][k], plate, codes)
                for k, (_, plate) in self.rows.beside.items()
            },
        }
        weights = {**self.small.weights, **parts["weight"]}
        found = self.small.loops.mapped(lambda one: self._row(one, parts["site"], weights))(each)
        return {
            k: m.where(m.reshape(bad, (-1, *[1] * (np.ndim(v) - 1))), np.nan, 1.0 * v)
            for k, v in found.items()
        }

    def _looked_at(self, inputs: Mapping[str, Any]) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        """Which rows cannot be answered; by argument which groups are new, and codes that are all in range."""
        bad = (
            m.reshape(next(iter(inputs.values())), (np.shape(next(iter(inputs.values())))[0], -1))[:, 0] != 0
        )
        bad = bad & ~bad
        new: dict[str, Any] = {}
        codes: dict[str, Any] = {}
        for label, known in self.arguments.items():
            value = inputs[label]
            if label in self.rows.places:
                plate = self.rows.places[label][0]
                out = (value < 0) | (value >= self.rows.sizes[plate])
                codes[label] = m.where(out, 0, value)
                if plate in self.rows.fresh:
                    new[label] = out
                else:
                    bad = bad | out
            elif known.dtype.kind == "f":
                lost = ~m.isfinite(value)
                bad = bad | (lost if known.ndim == 1 else m.any(m.reshape(lost, (-1, known[0].size)), axis=1))
        return bad, new, codes

    def _looked_up(self, table: Any, plate: str, codes: Mapping[str, Any]) -> Any:
        """Entries of a table at the groups of each row, ``(rows, places, …)``."""
        return m.stack([m.take(table, codes[label], axis=0) for label in self.rows.naming(plate)], axis=1)

    def _row(
        self, one: Mapping[str, Any], shared: Mapping[str, Any], weights: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Outputs of one row."""
        data = {**self.small.data}
        data |= {k: m.expand_dims(v, self.rows.along[k]) for k, v in one["given"].items()}
        data |= {k: m.moveaxis(v, 0, self.rows.beside[k][0]) for k, v in one["tables"].items()}
        groups = {k: m.moveaxis(v, 0, 1 + self.groups[k][1]) for k, v in one["groups"].items()}
        sites = {name: self.small.trace[name] for name in self.noises}
        noise = {k: m.reshape(v, (len(self.picked), *sites[k].shape)) for k, v in one["noise"].items()}

        def draw(given):
            values = {k: self._known(k, v, one["new"]) for k, v in given["values"].items()}
            return self.named(
                self.small.density.carried(values, given["noise"], data, weights, self.wanted), 0
            )

        return self.small.loops.mapped(draw)({"values": {**shared, **groups}, "noise": noise})

    def _known(self, name: str, value: Any, new: Mapping[str, Any]) -> Any:
        """A value, or with it which of its elements are known."""
        if name not in self.drawn:
            return value
        plate, axis = self.groups[name]
        labels, shape = self.rows.naming(plate), [1] * np.ndim(value)
        shape[axis] = len(labels)
        return value, m.reshape(m.stack([~new[label] for label in labels]), tuple(shape))

    def named(self, found: Mapping[str, Mapping[str, Any]], row: int | None) -> dict[str, Any]:
        """What `Functions.carried` has found, as outputs: of the one row, or of all."""
        out = {}
        for part, sites in found.items():
            for site in self.small.trace.sites:
                own = site.name in (
                    self.deterministic if part == "value" else [s.name for s in self.outcomes]
                )
                if own and site.name in sites:
                    value, axis = sites[site.name], site.dims.index(self.rows.plate)
                    out[NAMES[part].format(site.name)] = (
                        value if row is None else m.take(value, row, axis=axis)
                    )
        return out


def type_of(value: np.ndarray, dtype: Any) -> str:
    """Name of the type of an input: whole numbers have as many bytes as the others."""
    if value.dtype.kind == "f":
        return np.dtype(dtype).name
    return "bool" if value.dtype.kind == "b" else f"int{8 * np.dtype(dtype).itemsize}"
