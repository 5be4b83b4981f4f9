"""Where operations put axes: the movements that every library has, in states of `reach`."""

from __future__ import annotations

from collections.abc import Sequence

from .reach import MIX, SUM, Mark, One, Reach, Via, combined, mixed, product, route


def same(ndim: int, but: Sequence[int] = ()) -> dict:
    """Every axis stays where it is, those of `but` left out."""
    return {i: i for i in range(ndim) if i not in but}


def selected(ndim: int, axis: int, start: int) -> dict:
    """One element of an axis, which is dropped."""
    return {i: i - (i > axis) for i in range(ndim)} | {axis: Via((None,), ("slice", start, 1))}


def sliced(axis: int, start: int, step: int) -> int | Via:
    """Where an axis goes of which every `step`-th element is taken from `start` on."""
    return axis if start == 0 and step == 1 else Via((axis,), ("slice", start, step))


def reduced(state, shape: Sequence[int], axes: Sequence[int], keep: bool, is_sum: bool) -> dict:
    """Axes summed over, or reduced in another way; kept with size one, or dropped."""
    kept = [i for i in range(len(shape)) if i not in axes]
    where: dict = {old: old if keep else new for new, old in enumerate(kept)}
    where |= {i: None for i in axes if shape[i] == 1}
    return route(state, where, SUM) if is_sum else route(combined([state]), where)


def along(states, ndim: int, axes: Sequence[int], is_sum: bool) -> dict:
    """Operations along axes: what stands on the others stays apart."""
    where = same(ndim, axes)
    return route(states[0], where, SUM) if is_sum else route(combined(states), where)


def contracted(states, shapes, contract, batch, ndim: int) -> dict:
    """A product summed over axes.

    Parameters
    ----------
    states, shapes : pair
        Of both operands.
    contract, batch : pair of sequence of int
        Axes of each that are summed over, and those that run along together.
    ndim : int
        Axes of the result: those of the batch, then the free ones of the left, then of the right.
    """
    offset, sides = len(batch[0]), []
    for state, shape, summed, shared in zip(states, shapes, contract, batch, strict=True):
        free = [i for i in range(len(shape)) if i not in summed and i not in shared]
        where: dict = {a: i for i, a in enumerate(shared)} | {a: offset + i for i, a in enumerate(free)}
        # Contracted axes pair up beyond the axes of the output, so that both sides can be compared.
        where |= {a: ndim + k if shape[a] > 1 else None for k, a in enumerate(summed)}
        offset += len(free)
        sides.append(route(state, where))
    return route(product(*sides), same(ndim), SUM)


def matrices(states, ndims: Sequence[int]) -> dict:
    """Operations on the last two axes; the axes before them are a batch."""
    rank = max(ndims)
    moved = [
        route(state, same(max(n - 2, 0))) if n == rank else mixed([state])
        for state, n in zip(states, ndims, strict=True)
    ]
    return combined(moved)


def with_index(state, hidden) -> dict:
    """What is read by an index sees what decides the index too."""
    for source in hidden:
        state = combined([state, source]) if source.keys() & state.keys() else {**state, **source}
    return state


def flipped(shape: Sequence[int], axes: Sequence[int]) -> dict:
    """Axes in reverse order."""
    return {i: Via((i,), ("rev", n)) if i in axes else i for i, n in enumerate(shape)}


def stacked(states, ndim: int, axis: int) -> dict:
    """Operands side by side on a new axis."""
    moved = [route(s, {i: i + (i >= axis) for i in range(ndim)}) for s in states]
    return laid_out(moved, axis, [1] * len(states))


def blocks(before, after) -> dict:
    """Where a reshape puts each axis: axes that it leaves alone, and blocks of axes that it rearranges."""
    where: dict = {i: None for i, n in enumerate(before) if n == 1}
    left = [i for i, n in enumerate(before) if n != 1]
    right = [j for j, n in enumerate(after) if n != 1]
    while left and right:
        a, b = [left.pop(0)], [right.pop(0)]
        size_a, size_b = before[a[0]], after[b[0]]
        while size_a != size_b and (left if size_a < size_b else right):
            if size_a < size_b:
                a.append(left.pop(0))
                size_a *= before[a[-1]]
            else:
                b.append(right.pop(0))
                size_b *= after[b[-1]]
        if size_a != size_b:
            break
        if len(a) == len(b) == 1:
            where[a[0]] = b[0]
            continue
        sizes = tuple(before[i] for i in a), tuple(after[j] for j in b)
        where |= {i: Via(tuple(b), ("reshape", *sizes, k)) for k, i in enumerate(a)}
    return where


def laid_out(states, dim, lengths):
    """Operands side by side along `dim`: every element comes from one of them."""
    starts = [sum(lengths[:k]) for k in range(len(lengths))]
    out: dict = {}
    for key in {k: None for state in states for k in state}:
        found = [(start, state[key]) for start, state in zip(starts, states, strict=True) if key in state]
        axes = tuple(
            _side_by_side([(start, r.axes[i]) for start, r in found], dim)
            for i in range(len(found[0][1].axes))
        )
        via = frozenset().union(*(r.via for _, r in found))
        out[key] = Reach(axes, any(r.carried for _, r in found), via)
    return out


def _side_by_side(pieces, dim):
    states = [a for _, a in pieces]
    if MIX in states:
        return MIX
    if SUM in states:
        return SUM
    if all(a == states[0] for a in states) and dim not in states[0].axes:
        return states[0]
    if len(pieces) == 1 and pieces[0][0] == 0 and dim in states[0].axes:
        return states[0]
    axes = tuple(dict.fromkeys([dim, *(x for a in states for x in a.axes if x is not None)]))
    labels = tuple(dict.fromkeys(label for a in states for label in a.mark.labels))
    places = tuple(
        (start, tuple(axes.index(x) if x is not None else None for x in a.axes), a.mark.key)
        for start, a in pieces
    )
    return One(axes, Mark(("concatenate", places), labels))


def lacking(ndim: int, site_ndim: int, event_dim: int, constraint=None) -> int:
    """How many leading axes of one make the axes of a parameter those of its site, counted from the left.

    Parameters
    ----------
    ndim, site_ndim : int
        Axes of the parameter, and of the site's value.
    event_dim : int
        Axes of one event of the law that has the parameter.
    constraint : object, optional
        The parameter's own; its event axes, where it says how many, are no axes of the site.
    """
    batch = site_ndim - event_dim
    try:
        own = int(constraint.event_dim)
    except (AttributeError, NotImplementedError, TypeError):
        own = 0
    return max(0, batch - (ndim - own))
