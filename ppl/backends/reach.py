"""What a value sees of each source: the states of the dependency analysis and how they combine.

For every source (a latent site or a data argument) and every axis of it, a value is in one of three states,
from most to least precise:

- `One`: each element of the value sees a single element of the source axis, found from the positions on the
  named axes of the value by a fixed map (the identity, an index array, a slice, …);
- ``SUM``: the value is a sum of terms that see one element each;
- ``MIX``: anything else.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..graph import Access, AxisAccess, IndexProblem


@dataclass(frozen=True)
class Analysis:
    """What reaches what in a model.

    Attributes
    ----------
    access : dict
        Node to part to source to `Access`.
    problems : list of IndexProblem
        Index arrays that reach outside the axis that they index.
    unread : tuple of str
        Operations whose rule failed: of what they give only the sources are known.
    codes : list of (str, str)
        Arguments of labels that are used as numbers, and the operation.
    known : dict
        Node to those of its parts among `units.PARTS` that no latent and no learned array reaches, as arrays.
    learned : dict
        Node to part to learned array to `Access`.
    """

    access: dict[str, dict[str, dict[str, Access]]]
    problems: list[IndexProblem] = field(default_factory=list)
    unread: tuple[str, ...] = ()
    codes: list[tuple[str, str]] = field(default_factory=list)
    known: dict[str, dict[str, Any]] = field(default_factory=dict)
    learned: dict[str, dict[str, dict[str, Access]]] = field(default_factory=dict)


SUM, MIX, LEARNED = "summed", "mixed", "learned"

Source = tuple[str, Hashable]


class Mark(NamedTuple):
    """Identity of the map from positions to an element; `labels` are the data arguments it goes through."""

    key: Hashable
    labels: tuple[str, ...] = ()


IDENTITY = Mark(())


class One(NamedTuple):
    """One element per position on `axes`.

    An axis is None where it was dropped with size one, and negative where it is the step of a surrounding
    loop. Two states are equal only if they see the same element everywhere.
    """

    axes: tuple[int | None, ...]
    mark: Mark = IDENTITY


class Reach(NamedTuple):
    """States per source axis; `carried` where some of it came through the carry of a loop, `via` through which modules."""

    axes: tuple
    carried: bool = False
    via: frozenset[str] = frozenset()


class Via(NamedTuple):
    """Where an axis goes when its position is found from positions on other axes, by the map `key`."""

    axes: tuple[int | None, ...]
    key: Hashable
    labels: tuple[str, ...] = ()


State = Mapping[Source, Reach]


def source_state(ndim: int) -> Reach:
    """A source as it sees itself."""
    return Reach(tuple(One((i,)) for i in range(ndim)))


def route(state: State, where: Mapping[int, int | Via | None], lost: str = MIX) -> dict:
    """Follow axes of a value to where an operation puts them; axes that are not named are `lost`."""
    return {key: r._replace(axes=tuple(_routed(a, where, lost) for a in r.axes)) for key, r in state.items()}


def _routed(state, where, lost):
    if not isinstance(state, One):
        return state
    back = _back(state, where)
    if back is not None:
        return back
    axes: list[int | None] = []
    steps: list[Hashable] = []
    labels = state.mark.labels
    for position, axis in enumerate(state.axes):
        target = where.get(axis, axis if axis is None or axis < 0 else False)
        if target is False:
            return lost
        if isinstance(target, Via):
            axes.extend(target.axes)
            steps.append((position, len(target.axes), target.key))
            labels = labels + tuple(label for label in target.labels if label not in labels)
        else:
            axes.append(target)
    mark = Mark((state.mark.key, tuple(steps)), labels) if steps else state.mark
    return One(tuple(axes), mark)


def _back(state: One, where: Mapping[int, int | Via | None]) -> One | None:
    """What axes that were made one see where that one is parted into them again."""
    target = where.get(state.axes[0]) if len(state.axes) == 1 and state.axes[0] is not None else None
    match state.mark.key:
        case (before, ((_, 1, ("reshape", apart, together, int(k))),)) if isinstance(target, Via):
            if isinstance(target.key, tuple) and target.key[:3] == ("reshape", together, apart):
                return One((target.axes[k],), Mark(before, state.mark.labels))
    return None


def combined(states: Iterable[State]) -> dict:
    """Any function of several values, element by element."""
    out: dict = {}
    for state in states:
        for key, r in state.items():
            if key not in out:
                out[key] = r._replace(axes=tuple(MIX if a == SUM else a for a in r.axes))
            else:
                out[key] = _pairwise(out[key], r, _same_or_mixed)
    return out


def joined(states: Iterable[State]) -> dict:
    """A sum of several values, or one of them."""
    out: dict = {}
    for state in states:
        for key, r in state.items():
            out[key] = _pairwise(out[key], r, _same_or_summed) if key in out else r
    return out


def product(left: State, right: State) -> dict:
    """A product: linear in what only one side sees."""
    out = {k: r for side in (left, right) for k, r in side.items()}
    for key in left.keys() & right.keys():
        out[key] = _pairwise(left[key], right[key], _same_or_mixed)
    return out


def chosen(predicate: State, cases: Iterable[State]) -> dict:
    """One of several values, as the predicate says."""
    out, condition = joined(cases), combined([predicate])
    for key, r in condition.items():
        out[key] = _pairwise(out[key], r, _same_or_mixed) if key in out else r
    return out


def mixed(states: Iterable[State]) -> dict:
    """A value of which only its sources are known."""
    out: dict = {}
    for state in states:
        for key, r in state.items():
            lost = r._replace(axes=(MIX,) * len(r.axes))
            out[key] = _pairwise(out[key], lost, _same_or_mixed) if key in out else lost
    return out


def through(state: State, module: str, entered: Iterable[State] | None = None) -> dict:
    """What comes out of a module; of what `entered`, its own loops are not the model's."""
    carried = {key: r.carried for key, r in (state if entered is None else joined(entered)).items()}
    return {
        key: r._replace(via=r.via | {module}, carried=carried.get(key, False)) for key, r in state.items()
    }


def _pairwise(a: Reach, b: Reach, rule) -> Reach:
    return Reach(tuple(map(rule, a.axes, b.axes)), a.carried or b.carried, a.via | b.via)


def _same_or_mixed(a, b):
    return a if a == b and a != SUM else MIX


def _same_or_summed(a, b):
    if a == b:
        return a
    return MIX if MIX in (a, b) else SUM


def access_of(kind: str, reach: Reach) -> Access:
    """A state in the words of the graph."""
    labels = [label for a in reach.axes if isinstance(a, One) for label in a.mark.labels]
    index, axes = tuple(dict.fromkeys(labels)), tuple(map(_axis_access, reach.axes))
    return Access(kind, axes, reach.carried, index, tuple(sorted(reach.via)))


def accesses(state: State) -> tuple[dict[str, Access], dict[str, Access]]:
    """A state in the words of the graph, of latent sites and data, and of learned arrays."""
    apart: tuple[dict, dict] = {}, {}
    for (kind, name), reach in state.items():
        apart[kind == LEARNED][name] = access_of(kind, reach)
    return apart


def _axis_access(state) -> AxisAccess:
    if not isinstance(state, One):
        return AxisAccess(state)
    axes = {axis for axis in state.axes if axis is not None}
    axis = axes.pop() if len(axes) == 1 else None
    if state.mark == IDENTITY and axis is not None:
        return AxisAccess("aligned", axis)
    if len(state.mark.labels) == 1:
        return AxisAccess("gathered", axis, state.mark.labels[0])
    return AxisAccess("selected", axis)
