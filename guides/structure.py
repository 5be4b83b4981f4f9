"""Which coordinates of a posterior are linked, read from the computation and tested on the gradient.

Sites with few elements are linked with everything that they meet. Elements of large sites are linked where some
density sees both: the same position of an axis, a group and its rows, neighbours in time. What the analysis of
the model cannot say, how wide a band is or which of two summed axes go together, is supposed and then tested:
the Hessian recovered under the supposition has to agree with the gradient along random directions.

References
----------
Curtis, Powell & Reid (1974), On the estimation of sparse Jacobian matrices. Coleman & Moré (1984), Estimation of
sparse Hessian matrices and graph coloring problems.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
import scipy.sparse as sp

from ..ppl.errors import in_short
from .sparse import highest
from .thresholds import (
    DENSE,
    HESSIAN_STEP,
    HESSIAN_STEP_SINGLE,
    LARGEST_LINKS,
    MOST_COLOURS,
    RESOLVED,
    RESOLVED_SINGLE,
    SUPPOSED,
    TOGETHER,
)


class UnreadLinks(RuntimeError):
    """The analysis of a model's links failed: a fault of ours, not of the model."""


@dataclass(frozen=True, eq=False)
class Structure:
    """Pattern of a Hessian, and directions from which it can be recovered.

    Attributes
    ----------
    pattern : scipy.sparse.csr_array, shape (dim, dim)
        Ones where two coordinates are linked, and on the diagonal.
    colour : numpy.ndarray of int, shape (dim,)
        Coordinates of one colour are perturbed together.
    hub : numpy.ndarray of bool, shape (dim,)
        Coordinates with a colour of their own, from whose column their links are read.
    block : numpy.ndarray of int, shape (dim,), optional
        Links between coordinates of different blocks are left out of the guide.
    """

    pattern: sp.csr_array
    colour: np.ndarray
    hub: np.ndarray
    block: np.ndarray | None = None

    @classmethod
    def dense(cls, dim: int) -> Structure:
        """Every coordinate linked with every other."""
        return cls(sp.csr_array(np.ones((dim, dim))), np.arange(dim), np.zeros(dim, bool))

    @property
    def links(self) -> sp.csr_array:
        """The pattern of the guide's precision."""
        return self._within(self.pattern)

    def _within(self, matrix):
        if self.block is None:
            return matrix
        found = matrix.tocoo()
        kept = self.block[found.row] == self.block[found.col]
        rows, cols = found.row[kept], found.col[kept]
        return sp.csr_array((found.data[kept], (rows, cols)), shape=matrix.shape)

    @property
    def num_colours(self) -> int:
        """Differences of gradients that one Hessian takes."""
        return int(self.colour.max()) + 1

    def hessian(self, density, z: np.ndarray, unit: np.ndarray, step: float = HESSIAN_STEP) -> sp.csr_array:
        """Mean Hessian of the log density over points within the blocks, by differences of gradients.

        Parameters
        ----------
        density : callable
            ``density(z) -> (log density, gradient)``.
        z : numpy.ndarray, shape (B, dim)
            Points over which the mean is taken.
        unit : numpy.ndarray, shape (dim,)
            Scale of each coordinate: the difference is taken over ``step`` of it.
        step : float
            Share of that scale.
        """
        dim, count = len(unit), self.num_colours
        unit = np.maximum(unit, 1e-9 / step * np.abs(z).mean(0))  # a difference above rounding
        products = np.empty((count, dim))
        for c in range(count):
            v = np.where(self.colour == c, unit, 0.0)
            both = density(np.concatenate([z + step * v, z - step * v]))[1]
            products[c] = (both[: len(z)] - both[len(z) :]).mean(0) / (2 * step)
        rows, cols = self._coordinates
        # a link is read from the column of a hub where it has one, from the coloured column otherwise
        flip = self.hub[rows] & ~self.hub[cols]
        one, other = np.where(flip, cols, rows), np.where(flip, rows, cols)
        values = products[self.colour[other], one] / unit[other]
        matrix = sp.csr_array((values, (rows, cols)), shape=(dim, dim))
        return self._within(sp.csr_array(0.5 * (matrix + matrix.T)))

    @property
    def _coordinates(self):
        found = self.pattern.tocoo()
        return found.row, found.col


def structure(target, density, centre, unit, rng) -> Structure | None:
    """The links of a target's posterior, tested; None where nothing sparse passes the test.

    Parameters
    ----------
    target : Target
        Whose posterior it is.
    density : callable
        ``density(z) -> (log density, gradient)``.
    centre, unit : numpy.ndarray, shape (dim,)
        Where, and on what scale, the supposition is tested.
    rng : numpy.random.Generator
        Where the tests lie.

    Raises
    ------
    UnreadLinks
        If the analysis fails.
    """
    dim = target.dim
    step = HESSIAN_STEP if target.dtype == np.float64 else HESSIAN_STEP_SINGLE
    points = centre + unit * rng.standard_normal((2, dim))
    tests = rng.standard_normal((2, dim)) * unit
    truth = density(np.concatenate([points + step * tests, points - step * tests]))[1]
    truth = (truth[:2] - truth[2:]) / (2 * step) * unit
    before = None
    for small, width in SUPPOSED:
        try:
            pattern = links(target, width, small)
        except Exception as error:
            raise UnreadLinks(in_short(error)) from error
        if pattern is None or pattern.nnz > DENSE * dim**2:
            continue
        if before is not None and pattern.nnz == before:  # nothing new
            continue
        before = pattern.nnz
        hub, colour = colours(pattern)
        found = Structure(pattern, colour, hub)
        if found.num_colours > MOST_COLOURS * dim + 8:
            continue
        gap = 0.0
        for point, test, exact in zip(points, tests, truth, strict=True):
            guess = (found.hessian(density, point[None], unit, step) @ test) * unit
            gap = max(gap, np.abs(guess - exact).max() / max(np.abs(exact).max(), 1e-300))
        if gap < (RESOLVED if target.dtype == np.float64 else RESOLVED_SINGLE):
            return found
    return None


def links(target, width: int, small: int) -> sp.csr_array | None:
    """Links that the analysis of the model gives, with bands of `width` where it cannot tell.

    Sites of at most `small` elements are linked as a whole. None where the pattern is too large.
    """
    program, dim, offsets = target.program, target.dim, target.offsets
    sites = {site.name: site for site in target.sites}
    accesses = program.accesses(target.backend)
    pairs, total = [(np.arange(dim), np.arange(dim))], 0
    for parts in accesses.values():
        whole: dict = {}
        large: list = []

        def add(name, axes, indices, whole=whole, large=large):
            site, start = sites[name], offsets[name].start
            if site.size <= small or axes is None:
                whole[name] = np.arange(start, start + site.size)
            else:
                large.append((axes, start + indices, name))
            if name in target.centring:  # its value lies where its location and scale say
                for parent, behind in _behind(program, sites, accesses.get(name, {}), sites[name]).items():
                    known = behind is not None and axes is not None
                    add(parent, axes if known else None, behind[indices] if known else None)

        for name, how in parts.get("log_prob", {}).items():
            if name in sites:
                add(name, *_positions(program, sites[name], how, width))
        made = _seen_together(whole, large, offsets)
        if made is None:
            return None
        pairs += made
        total += sum(len(one[0]) for one in made)
        if total > LARGEST_LINKS:
            return None
    rows, cols = (np.concatenate([p[k] for p in pairs]) for k in (0, 1))
    pattern = sp.coo_array((np.ones(2 * len(rows)), (np.r_[rows, cols], np.r_[cols, rows])), shape=(dim, dim))
    pattern = pattern.tocsr()
    pattern.data[:] = 1.0
    return pattern


def _seen_together(whole: dict, large: list, offsets) -> list | None:
    """Pairs of coordinates that one density sees: all of the small sites, and what it has of the large ones."""
    every = np.concatenate([np.zeros(0, int), *whole.values()])
    made = [_every(every, every)]
    for i, (axes, indices, name) in enumerate(large):
        made.append(_every(every, np.arange(offsets[name].start, offsets[name].stop)))
        made.append(_joint(axes, indices, axes, indices))
        for others, more, _ in large[:i]:
            orders = product(_pairings(axes), _pairings(others))
            made += [_joint(a, indices, b, more) for a, b in orders]
    return None if any(one is None for one in made) else made


def _behind(program, sites, parts, site) -> dict:
    """Sites behind location and scale: the element that each element of `site` sees, None where it sees many."""
    out: dict = {}
    for part in ("loc", "scale"):
        for parent, how in parts.get(part, {}).items():
            if parent not in sites or parent == site.name:
                continue
            axes, indices = _positions(program, sites[parent], how, 1)
            same = indices.shape[-1] == 1 and all(name[0] == "value" for name in axes)
            if parent in out or not same or not axes:
                out[parent] = None
                continue
            view = [1] * len(site.shape)
            for (_, axis), size in zip(axes, indices.shape[:-1], strict=True):
                view[axis] = size
            order = np.argsort([axis for _, axis in axes])
            element = np.transpose(indices[..., 0], order).reshape(view)
            out[parent] = np.broadcast_to(element, site.shape).ravel()
    return out


def _every(a, b):
    return np.repeat(a, len(b)), np.tile(b, len(a))


def _positions(program, site, how, width):
    """Elements of a site that each position of a density sees.

    Returns
    -------
    tuple
        Names of the position axes, each once, and element numbers along them; one more axis, last, for those seen
        together.
    """
    shape = site.unconstrained_shape
    named: list = []  # of each axis of the site
    for i, size in enumerate(shape):
        own = (
            site.shape == shape or i < len(shape) - site.event_dim
        )  # what is one event is transformed as a whole
        access = how.axes[i] if own and i < len(how.axes) else None
        name, positions = _axis(program, size, access)
        if name[0] in {"sum", "near"}:  # axes of one length are others all the same
            name = (*name, sum(other[:2] == name for other, _ in named))
        elif name[0] == "all":
            name = ("all", i)
        named.append((name, positions))
    names = list(dict.fromkeys(name for name, _ in named))
    flat, stride = np.zeros((1,) * len(names), int), 1
    for (name, positions), size in zip(reversed(named), reversed(shape), strict=True):
        view = [1] * len(names)
        view[names.index(name)] = -1  # two axes with one name: the diagonal
        flat = flat + stride * np.clip(positions, 0, size - 1).reshape(view)
        stride *= size
    for axis, name in enumerate(names):
        if name[0] == "near":
            last = flat.shape[axis] - 1
            seen = [np.take(flat, np.clip(np.arange(last + 1) + d, 0, last), axis) for d in range(width + 1)]
            flat = np.stack(seen, -1)
    apart = [axis for axis, name in enumerate(names) if name[0] != "all"]
    order = apart + [axis for axis in range(flat.ndim) if axis not in apart]
    sizes = [flat.shape[axis] for axis in apart]
    return [names[axis] for axis in apart], flat.transpose(order).reshape(*sizes, -1)


def _axis(program, size, access):
    """What an axis of a site runs along, and the element at each position there."""
    every, kind = np.arange(size), "mixed" if access is None else access.how
    given = None if access is None or not access.label else np.asarray(program.leaves[access.label].value)
    if given is not None and (given.ndim != 1 or given.dtype.kind not in "iu"):
        given = None
    if kind == "aligned" and access.axis is not None:
        return ("value", access.axis), every
    if kind == "gathered" and given is not None and access.axis is not None:
        return ("value", access.axis), given
    if kind == "summed":
        return (("sum", size), every) if given is None else (("rows", len(given)), given)
    return ("all",) if size <= TOGETHER else ("near", size), every


def _joint(axes, indices, others, more):
    """Pairs of elements that one position sees."""
    names = list(dict.fromkeys([*axes, *others]))

    def spread(own, values):
        order = [own.index(name) for name in names if name in own]
        sizes = iter([values.shape[axis] for axis in order])
        values = values.transpose([*order, values.ndim - 1])
        return values.reshape(*[next(sizes) if name in own else 1 for name in names], -1)

    a, b = spread(axes, indices)[..., :, None], spread(others, more)[..., None, :]
    shape = np.broadcast_shapes(a.shape, b.shape)
    if np.prod(shape, dtype=float) > LARGEST_LINKS:
        return None
    a, b = np.broadcast_to(a, shape).ravel(), np.broadcast_to(b, shape).ravel()
    return a, b


def _pairings(axes) -> list[list]:
    """The names of position axes, with summed axes of one length in every order: which of them go together is open."""
    sums = [name for name in axes if name[0] == "sum"]
    orders = [p for p in permutations(sums) if all(a[:2] == b[:2] for a, b in zip(p, sums, strict=True))]
    return [[dict(zip(sums, order, strict=True)).get(name, name) for name in axes] for order in orders]


def colours(pattern) -> tuple[np.ndarray, np.ndarray]:
    """Which coordinates are hubs, and colours such that no row meets one twice among the others."""
    dim = pattern.shape[0]
    pattern = sp.csr_array((np.ones(pattern.nnz), pattern.indices, pattern.indptr), shape=pattern.shape)
    degree = np.diff(pattern.indptr)
    best: tuple[int, np.ndarray, np.ndarray] | None = None
    for limit in sorted({int(q) for q in np.quantile(degree, [0.5, 0.75, 0.9, 1.0])}):
        hub = degree > 2 * limit if limit < degree.max() else np.zeros(dim, bool)
        rest = np.flatnonzero(~hub)
        colour, among = np.full(dim, -1), pattern[rest][:, rest]
        least = np.diff(among.indptr).max(initial=0)  # the neighbours of one all differ
        if best is not None and hub.sum() + least >= best[0]:
            continue
        colour[rest] = _distance_two(among)
        used = colour.max() + 1 if len(rest) else 0
        colour[hub] = used + np.arange(hub.sum())
        if best is None or used + hub.sum() < best[0]:
            best = used + hub.sum(), hub, colour
    assert best is not None  # with the largest degree no coordinate is a hub
    return best[1], best[2]


def _distance_two(pattern) -> np.ndarray:
    """Greedy colours of a graph in which no two coordinates with a common neighbour share one."""
    near = sp.csr_array(pattern @ pattern)
    colour = np.full(pattern.shape[0], -1)
    rng = np.random.default_rng(0)
    left = np.arange(len(colour))
    step = 0
    while len(left):  # one independent set of the square after the other
        graph = near[left][:, left]
        open_, chosen = np.ones(len(left), bool), np.zeros(len(left), bool)
        while open_.any():
            rank = np.where(open_, rng.permutation(len(left)) + 1, 0)
            new = open_ & (rank >= highest(graph, rank))
            chosen |= new
            open_ &= ~(graph @ new.astype(float) > 0)
        colour[left[chosen]] = step
        left, step = left[~chosen], step + 1
    return colour
