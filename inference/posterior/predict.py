"""Posterior prediction for new rows and new groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ppl.ancestral import check_order
from ...ppl.columns import rows_of
from ...ppl.data import replaced
from ...ppl.errors import DataError, InferenceError, ShapeError, explain
from ...ppl.simulate import OUTCOME, block_size, in_blocks, seeds
from ...ppl.tree import dataset, tree
from .groups import kept
from .record import Record


@dataclass(frozen=True, eq=False)
class Prepared:
    """What predictions of some rows are drawn of.

    Attributes
    ----------
    target : Target
        Of the new rows.
    names : list of str
        Sites to predict.
    values : mapping
        Draws of latent sites on the new axes, see `Density.predict_values`.
    seeds : numpy.ndarray of int, shape (S,)
    weights : mapping
        Fitted arrays of the model.
    """

    target: Any
    names: list[str]
    values: Mapping[str, Any]
    seeds: np.ndarray
    weights: Mapping[str, np.ndarray]


def predict(record: Record, new_groups, var_names, num_draws, do, seed, new_data):
    """See `Posterior.predict`."""
    ready = prepared(record, new_groups, var_names, num_draws, do, seed, new_data)
    target = ready.target

    def draw(block):
        found = target.density.predict_values(*block, target.data, ready.weights)
        return {name: found[name] for name in ready.names}

    made = in_blocks(draw, (ready.values, ready.seeds), len(ready.seeds), block_size(target))
    dims = {s.name: s.dims for s in target.trace.sites}
    group = dataset({k: v[None] for k, v in made.items()}, dims, target.trace.coords)
    attrs = {"law": record.law, "seed": int(seed), "backend": record.backend}
    return tree({"posterior_predictive": group}, attrs)


def prepared(record: Record, new_groups, var_names, num_draws, do, seed, new_data) -> Prepared:
    """What `predict` draws of: the model with new rows, and draws of what is known of its latent sites."""
    if record.target is not None:
        record.target.density.verify()
    program = _rebind(record, new_data)
    if do:
        program = program.do(**do)
    trace = program.trace(record.backend)
    new = NewGroups(record, program, trace, new_groups)
    filled = {f"{name}_missing" for name in trace.missing} | set(program.masks.kept if program.masks else ())
    sources = {
        s.name: [np.full(n, -1) for n in s.shape] if s.name in filled else new.sources(s)
        for s in trace.latents
    }
    unknown_sites = [s.name for s in trace.latents if sources[s.name] is None]
    if unknown_sites:
        raise InferenceError(
            explain(
                "predict",
                f"the latent sites that were fitted ({sorted(record.values)})",
                f"other ones with the new data: {unknown_sites}",
                "give data that leave the model's sites as they were",
            )
        )
    new.refuse_coupled(sources)
    left_out = [s.name for s in trace.latents if s.name not in filled and s.name not in record.values]
    if left_out:
        raise InferenceError(
            explain(
                "predict",
                "draws of the latent sites",
                f"none of {left_out}, which were left out when the posterior was saved",
                "save it with them, or load it with the program and the fitted data",
            )
        )
    names = _chosen(trace, var_names)
    rows = _draws(record, trace, names, num_draws, seed)
    values = {
        s.name: _extended(record.values[s.name][rows], sources[s.name])
        for s in trace.latents
        if s.name not in filled
    }
    values = {k: v for k, v in values.items() if v is not None}
    dtype = None if record.target is None else record.target.dtype
    target = program.target(record.backend, dtype)
    weights = {**target.weights, **{k: np.asarray(v, target.dtype) for k, v in record.weights.items()}}
    check_order(target)
    return Prepared(target, names, _cast(values, target.dtype), seeds(seed, len(rows), 51), weights)


def _cast(values, dtype):
    def cast(v):
        return np.asarray(v, dtype) if np.asarray(v).dtype.kind == "f" else np.asarray(v)

    return {k: (cast(v[0]), v[1]) if isinstance(v, tuple) else cast(v) for k, v in values.items()}


def _chosen(trace, var_names) -> list[str]:
    known = [s.name for s in trace.by_role("latent", "deterministic", *OUTCOME)]
    if var_names is None:
        return [s.name for s in trace.by_role("deterministic", *OUTCOME)]
    names = [var_names] if isinstance(var_names, str) else list(var_names)
    unknown = [n for n in names if n not in known]
    if unknown:
        raise InferenceError(
            explain("var_names", f"names among {sorted(known)}", f"{unknown}", "correct the names")
        )
    return names


def _draws(record: Record, trace, names, num_draws, seed) -> np.ndarray:
    count = len(record.z)
    if num_draws is None:
        return kept(record, sum(int(np.prod(trace[name].shape, dtype=int)) for name in names))
    if isinstance(num_draws, bool) or not isinstance(num_draws, (int, np.integer)) or num_draws < 1:
        raise InferenceError(
            explain("num_draws", "an integer of at least 1", repr(num_draws), "correct the argument")
        )
    return np.random.default_rng([seed, 50]).choice(count, num_draws, replace=bool(num_draws > count))


def _extended(value: np.ndarray, sources):
    """Values on the new axes: the array itself, a pair ``(value, known)``, or None where nothing is known."""
    if all(index is None for index in sources):
        return value
    known = np.ones(value.shape, dtype=bool)
    for axis, index in enumerate(sources, start=1):
        if index is None:
            continue
        value = np.take(value, np.maximum(index, 0), axis)
        known = np.take(known, np.maximum(index, 0), axis)
        shape = [1] * value.ndim
        shape[axis] = len(index)
        known = known & (index >= 0).reshape(shape)
    if known.all():
        return value
    return (value, known) if known.any() else None


# -- binding ---------------------------------------------------------------------------------------------


def fitted_labels(record: Record) -> dict[str, tuple]:
    """Labels of the codes of each argument, as they were when the model was fitted."""
    return dict(record.program.labels if record.labels is None else record.labels)


def fitted_counts(record: Record) -> dict[str, int]:
    """Number of levels that each integer argument without labels had when the model was fitted."""
    labels = fitted_labels(record)
    return {
        k: int(v.max()) + 1
        for k, v in record.constant_data.items()
        if v.dtype.kind in "iu" and v.size and k not in labels and v.min() >= 0
    }


def _rebind(record: Record, new_data):
    program = record.program
    bound = program.rebound(new_data, check=False)
    outcomes = {s.argument: s.name for s in record.observed.values() if s.argument is not None}
    absent = {
        label: name
        for label, name in outcomes.items()
        if label not in new_data and label.split(".")[0] not in new_data
    }

    def variant(values: Mapping):
        arguments = dict(bound.arguments)
        for label, value in values.items():
            arguments = replaced(arguments, label, value)
        made = bound.altered(
            arguments=arguments,
            labels=fitted_labels(record),
            level_counts={**program.level_counts, **fitted_counts(record)},
            resized=True,
        )
        made.trace(record.backend)
        return made

    labels = fitted_labels(record)
    standins = {label: _standin(record, name, bound, new_data) for label, name in absent.items()}
    standins |= {k: np.asarray(labels[k], dtype=object)[v] for k, v in standins.items() if k in labels}
    if program.model.language == "elboroom":
        try:
            return variant(dict.fromkeys(absent))
        except Exception:
            return variant(standins)
    return variant(standins)


def _standin(record: Record, name, bound, new_data):
    """An array of the outcome's new shape, inside its support; its values are never handed back."""
    old = np.asarray(record.observed_data[name])
    leaf = record.program.leaves.get(record.observed[name].argument)
    if leaf is not None and np.shape(leaf.value) == old.shape:  # whole also where a mask hides a part of it
        old = np.asarray(leaf.value)
    if old.ndim == 0:
        return old
    count = len(old)
    outcomes = {
        s.argument: np.asarray(record.observed_data[n])
        for n, s in record.observed.items()
        if s.argument is not None
    }
    for label, leaf in bound.leaves.items():
        if label.split(".")[0] not in new_data:
            continue
        before = record.constant_data.get(label, outcomes.get(label))
        static = record.model.get("static", {}).get(label)
        if before is not None and before.ndim and len(before) == count and np.ndim(leaf.value):
            count = len(leaf.value)
            break
        if static == repr(count) and isinstance(leaf.value, (int, np.integer)):
            count = int(leaf.value)
            break
    return np.take(old, np.arange(count) % len(old), axis=0)


# -- groups ----------------------------------------------------------------------------------------------


class NewGroups:
    """Which elements of each latent site are the fitted ones, and which are new."""

    def __init__(self, record, program, trace, new_groups):
        self.record, self.program, self.trace = record, program, trace
        self.fitted = {s.name: s for s in record.sites if s.role == "latent"}
        self.every = new_groups is True
        given = () if new_groups in (None, True, False) else new_groups
        self.named = {given} if isinstance(given, str) else set(given)
        outcomes = {s.argument for s in record.observed.values()}
        self.leaves = {k: v for k, v in program.leaves.items() if k not in outcomes}
        self.labels, self.counts = fitted_labels(record), fitted_counts(record)
        axes = {d for s in self.fitted.values() for d in s.dims}
        unknown = self.named - axes - set(self.fitted)
        if unknown:
            raise InferenceError(
                explain(
                    "new_groups",
                    f"axes or latent sites among {sorted(axes | set(self.fitted))}",
                    f"{sorted(unknown)}",
                    "correct the names",
                )
            )

    def sources(self, site):
        """Per axis None (as fitted) or, for each element, its fitted position or -1; None for a new site."""
        old = self.fitted.get(site.name)
        if old is None or len(old.shape) != len(site.shape):
            return None
        out = []
        for axis, (before, now) in enumerate(zip(old.shape, site.shape, strict=True)):
            index = self._match(site, axis, before, now)
            if index is not None and axis >= len(site.shape) - site.joint:
                self._refuse_joint(site, axis)
            out.append(index)
        return out

    def _refuse_joint(self, site, axis):
        raise InferenceError(
            explain(
                f"site '{site.name}'",
                f"the size it was fitted with on axis '{site.dims[axis]}'",
                f"another one, which its joint distribution ({site.distribution}) cannot be extended to",
                "predict for the fitted elements, or fit with the new ones included",
            )
        )

    def _match(self, site, axis, before, now):
        dim = site.dims[axis]
        old = self._axis_labels(self.record.coords, dim, before)
        new = self._axis_labels(self.trace.coords, dim, now)
        allowed = self.every or dim in self.named or site.name in self.named
        if old is not None and new is not None:
            place = {label: i for i, label in enumerate(old)}
            index = np.array([place.get(label, -1) for label in new])
            if (index < 0).any() and not allowed:
                self._refuse_unseen(dim, [label for label in new if label not in place])
        elif (index := self._by_codes(before, now, allowed)) is not None:
            pass
        elif before == now:
            return np.full(now, -1) if (dim in self.named or site.name in self.named) else None
        elif allowed:
            return np.full(now, -1)
        else:
            raise ShapeError(
                explain(
                    f"site '{site.name}', axis '{dim}'",
                    f"the {before} elements that were fitted",
                    f"{now}",
                    f"say that they are new with new_groups='{dim}', or give data of the fitted groups",
                )
            )
        return None if before == now and (index == np.arange(now)).all() else index

    def _refuse_unseen(self, dim, unseen):
        found = [
            (label, np.isin(np.asarray(leaf.value), [leaf.labels.index(name) for name in unseen]))
            for label, leaf in self.leaves.items()
            if leaf.labels is not None and set(unseen) <= set(leaf.labels)
        ]
        where = f"argument '{found[0][0]}'" if found else f"axis '{dim}'"
        rows = f" in rows {rows_of(found[0][1])}" if found else ""
        raise DataError(
            explain(
                where,
                f"labels of '{dim}' that were fitted",
                f"others: {unseen[:5]}{'…' if len(unseen) > 5 else ''}{rows}",
                f"correct them, or say that they are new groups with new_groups='{dim}'",
            )
        )

    @staticmethod
    def _axis_labels(coords, dim, size):
        labels = coords.get(dim, ())
        return [str(v) for v in labels] if len(labels) == size and len(set(labels)) == size else None

    def _by_codes(self, before, now, allowed):
        """Positions where the axis is counted by the codes of an argument; new levels follow the old."""
        positions = np.where(np.arange(now) < before, np.arange(now), -1)
        for label, leaf in self.leaves.items():
            if label in self.labels and len(self.labels[label]) == before and len(leaf.labels or ()) == now:
                return positions if now != before else None
            values = leaf.value
            if self.counts.get(label) != before or before == now or not np.ndim(values):
                continue
            if values.dtype.kind not in "iu" or int(values.max()) + 1 != now:
                continue
            if now > before and not allowed:
                bad = np.argwhere(values >= before)
                rows = sorted({int(b[0]) for b in bad})
                hint = (
                    "the codes look one-based: subtract 1"
                    if values.min() >= 1 and now == before + 1
                    else "use the codes of the fitted groups, or allow new ones with new_groups=True"
                )
                raise DataError(
                    explain(
                        f"argument '{label}'",
                        f"codes from 0 to {before - 1}, the groups that were fitted",
                        f"{sorted(set(values[values >= before].tolist()))[:5]} in rows {rows[:5]}"
                        f"{'…' if len(rows) > 5 else ''} ({len(rows)} in all)",
                        hint,
                    )
                )
            return positions
        return None

    def refuse_coupled(self, sources):
        """New elements come from priors alone, which is not the model's law where factors add to it."""
        drawn = {k for k, s in sources.items() if any(i is not None and (i < 0).any() for i in s)}
        seen = self.program.accesses(self.record.backend) if drawn else {}
        factors = [
            s.name
            for s in self.trace.by_role("factor")
            if any(drawn & set(part) for part in seen.get(s.name, {}).values())
        ]
        if drawn and factors:
            raise InferenceError(
                explain(
                    f"new elements of {sorted(drawn)}",
                    "a model whose priors are all sampled sites",
                    f"terms added with er.factor ({factors}), which a draw from the prior ignores",
                    "predict for the fitted groups, or fit with the new ones included",
                )
            )
