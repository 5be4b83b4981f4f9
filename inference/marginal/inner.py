"""The integrals of the groups, given what they share: importance sampling around the mode of each.

All groups are treated at once by gradients of the ordinary log density: given the rest, the gradient in one group's
coordinates depends on that group alone, so that moving one coordinate of every group gives a column of every block of
the Hessian. The draws are randomised quasi-Monte Carlo, so that ``p(y | θ)`` is estimated without bias however few there
are, and one of them, drawn by its weight, is a draw of the group given θ.

References
----------
Tran, Scharth, Pitt & Kohn (2013), Importance sampling squared for Bayesian inference in latent variable models.
Cranley & Patterson (1976), Randomization of number theoretic methods for multiple integration, SIAM J. Numer. Anal. 13.
McKay, Beckman & Conover (1979), A comparison of three methods for selecting values of input variables, Technometrics 21.
Lindvall (1992), Lectures on the coupling method. Opper & Archambeau (2009), The variational Gaussian approximation revisited,
Neural Computation 21. Hoaglin (1985), Summarizing shape numerically: the g-and-h distributions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import logsumexp, ndtri

from ..evidence.psis import smooth
from ..thresholds import (
    BENT,
    DEAR_MOVES,
    EXACT_GROUP,
    EXACT_NATS,
    EXACT_NEAR,
    FAR_STARTS,
    FLATTEST,
    HALVINGS,
    HERMITE_NODE,
    HERMITE_WEIGHT,
    INNER_POINTS,
    INNER_STEP,
    INNER_STEP_SINGLE,
    INNER_STRIDE,
    INNER_TAIL,
    LAPLACE_NATS,
    LARGEST_INNER,
    LATTICE,
    LATTICE_REACH,
    LEVEL,
    MODE_FOUND,
    MOST_EIGEN,
    MOST_INNER_STEPS,
    MOST_NEWTON,
    NEAR_MODE,
    NEGLIGIBLE_MODE,
    OWN_MODE,
    OWN_PLACE,
    SAME_DENSITY,
    SHIFTS,
    STANDING,
    STRATA,
    WATCHED,
)
from .groups import Groups, Terms
from .roots import Dense, Normals, Sparse

Density = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Integrals:
    """What was found at some θ.

    Attributes
    ----------
    log_prob : numpy.ndarray, shape (B,)
        Log of an estimate of the density of θ, all groups integrated out.
    u : numpy.ndarray, shape (B, R, G, k)
        Draws of every group given θ.
    value : numpy.ndarray, shape (B,)
        Log density of θ and the first of these.
    edges : numpy.ndarray, shape (B, G)
        Share of each integral that the outermost points of its lattice hold; 0 where there is none.
    profile : numpy.ndarray, shape (B,)
        Log density of θ and the centres of the draws, near the modes.
    slope : numpy.ndarray, shape (B, D)
        Its gradient in θ.
    parts : numpy.ndarray of numpy.uint8, shape (B, R, G, k)
        In which of `STRATA` parts of equal chance each draw lies, of its law given θ and the coordinates of its group before
        it; `STRATA` for one of which that is not known.
    """

    log_prob: np.ndarray
    u: np.ndarray
    value: np.ndarray
    edges: np.ndarray
    profile: np.ndarray
    slope: np.ndarray
    parts: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[Integrals]) -> Integrals:
        """Those at several sets of θ as one."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


@dataclass(frozen=True, eq=False)
class Base:
    """Points of the integrals, in sds from the modes.

    Attributes
    ----------
    x : numpy.ndarray, shape (B, K, G, k)
        Half of them where the others are their mirror images.
    log_prob : numpy.ndarray, shape (B, K, G)
        Log density of the law that each alone is of.
    first : numpy.ndarray of int, shape (B, G)
        Which of them is one draw of a law near the posterior's.
    share : numpy.ndarray, broadcastable to (B, K, G)
        How probable each was to be that one.
    """

    x: np.ndarray
    log_prob: np.ndarray
    first: np.ndarray
    share: np.ndarray


@dataclass(frozen=True, eq=False)
class Inner:
    """The groups of a target, given what they share.

    Attributes
    ----------
    target : Target
        With `Target.terms`.
    density : callable
        ``density(z) -> (log density, gradient)``.
    groups : Groups
    terms : Terms
    theta : numpy.ndarray, shape (D,)
        Where the modes are known.
    modes : Normals
        There, of one row.
    slope : numpy.ndarray, shape (G, k, D)
        How they move with θ.
    exact : bool
        Whether every group is Gaussian given θ: then one draw gives its integral.
    num_draws : int
        Draws for each integral.
    repeats : int
        Draws of every group that are kept for each θ.
    expected : int
        Steps from the Gaussians around the modes to those that draws are from: see `_proposal`.
    """

    target: Any
    density: Density
    groups: Groups
    terms: Terms
    theta: np.ndarray
    modes: Normals
    slope: np.ndarray
    exact: bool = False
    num_draws: int = INNER_POINTS[0]
    repeats: int = 1
    expected: int = 0

    # -- modes ----------------------------------------------------------------------------------------------

    def _gradient(self, theta: np.ndarray, u: np.ndarray) -> np.ndarray:
        return self.groups.of(self.density(self.groups.joined(theta, u))[1])

    def _beside(self, theta: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Gradients at many u ``(M, B, G, k)`` beside every θ: what depends on θ alone is computed once."""
        groups, target = self.groups, self.target
        rest = np.sort(groups.members[groups.there])
        names = [site.name for site in target.sites if np.isin(target.offsets[site.name].start, rest)]
        where = np.concatenate([np.arange(groups.dim)[target.offsets[name]] for name in names])
        z = groups.joined(np.tile(theta, (len(u), 1)), u.reshape(-1, *u.shape[2:])).reshape(*u.shape[:2], -1)
        found = np.zeros((*u.shape[:2], groups.dim))
        found[..., where] = target.moved_gradients(z[0], names, z[..., where].swapaxes(0, 1)).swapaxes(0, 1)
        return groups.of(found.reshape(-1, groups.dim)).reshape(u.shape)

    @property
    def step(self) -> float:
        """Step of a difference of gradients, in sds."""
        return INNER_STEP if self.target.dtype == np.float64 else INNER_STEP_SINGLE

    def _moved(self, theta, u, unit) -> np.ndarray:
        """Gradients after each of the moves by which Hessians are read, in units ``(G, k)``; shape ``(C, B, G, k)``."""
        moved = u + unit * self.groups.columns.moved[:, None]
        if len(moved) >= DEAR_MOVES:
            return self._beside(theta, moved)
        rows = np.broadcast_to(theta, (len(moved), *theta.shape)).reshape(-1, theta.shape[1])
        return self._gradient(rows, moved.reshape(-1, *u.shape[1:])).reshape(moved.shape)

    def _root(self, theta, u, gradient, unit) -> Dense | Sparse:
        """Roots of the covariances by minus the Hessians, each coordinate in a unit ``(G, k)`` for the differences."""
        return self._rooted((self._moved(theta, u, self.step * unit) - gradient) / -self.step, unit)

    def _rooted(self, change, unit) -> Dense | Sparse:
        """The same by minus the changes of gradients ``(C, B, G, k)`` for each unit of the moves."""
        columns, there = self.groups.columns, self.groups.there
        group, one, other = columns.group, columns.one, columns.other
        found = (change * unit)[columns.move, :, group, columns.row]  # (P, B)
        # in units of each θ's own, which may be of other orders
        count = change.shape[1]
        own = np.ones((*there.shape, count))
        same = one == other
        own[group[same], one[same]] = 1 / np.sqrt(np.maximum(np.abs(found[same]), FLATTEST))
        found *= own[group, one] * own[group, other]
        size = there.shape[1]
        own = np.moveaxis(own, -1, 0) * unit
        how = columns.elimination
        if how is not None:
            at = np.argsort(how.order, 1)
            first, second = at[group, one], at[group, other]
            diagonal = np.ones((size, count, len(there)))
            lower = np.zeros((how.start[-1], count, len(there)))
            diagonal[first[same], :, group[same]] = found[same]
            lower[how.place[first[~same], second[~same]], :, group[~same]] = found[~same]
            return Sparse.of(how, diagonal, lower).scaled(own)
        curvature = np.zeros((count, len(there), size, size))
        curvature[:, :, np.arange(size), np.arange(size)] = 1.0
        curvature[:, group, one, other] = curvature[:, group, other, one] = found.T
        return Dense.of(curvature, there, columns.order).scaled(own)

    def _stepped(self, theta, u, unit) -> tuple[np.ndarray, np.ndarray, Dense | Sparse]:
        """After a Newton step of every group: where, the step's length in sds, and the root of the covariance there."""
        gradient = self._gradient(theta, u)
        root = self._root(theta, u, gradient, unit)
        return *self._moved_by(u, gradient, root, unit), root

    def _moved_by(self, u, gradient, root: Dense | Sparse, unit) -> tuple[np.ndarray, np.ndarray]:
        """After a Newton step by a gradient and a root: where, and the step's length in sds."""
        share = root.share(gradient[:, None])
        length, step = np.sqrt((share[:, 0] ** 2).sum(-1)), root.spread(share)[:, 0]
        if not self.exact:
            size = np.sqrt(((step / unit) ** 2).sum(-1, keepdims=True))
            step *= np.minimum(1.0, self.stride / np.maximum(size, 1e-300))
        return u + np.where(self.groups.there, step, 0.0), length

    @property
    def stride(self) -> float:
        """Longest step of a group, in sds."""
        return INNER_STRIDE * max(1.0, np.sqrt(self.groups.size / MOST_EIGEN))

    def at(self, theta: np.ndarray) -> Normals:
        """Gaussians around the modes at some θ ``(B, D)``: near the mode is near enough, the draws have weights."""
        u = self.modes.centre + np.einsum("gkd,bd->bgk", self.slope, theta - self.theta)
        u, length, root = self._stepped(theta, u, self.unit)
        dear = len(self.groups.columns.moved) >= DEAR_MOVES
        for _ in range(MOST_INNER_STEPS):
            far = length.max(1) > (EXACT_NEAR if self.exact else NEAR_MODE)
            if not far.any():
                break
            near = far & dear & (length.max(1) < INNER_STRIDE)  # where the curvature is hardly another
            far &= ~near
            if near.any():
                gradient = self._gradient(theta[near], u[near])
                u[near], length[near] = self._moved_by(u[near], gradient, root.taken(near), self.unit)
            if far.any():
                u[far], length[far], better = self._stepped(theta[far], u[far], self.unit)
                root = root.replaced(far, better)
        return Normals(u, root)

    def _proposal(self, theta: np.ndarray, normals: Normals) -> Normals:
        """Gaussians nearer to the groups' laws than those around the modes are, where that is wanted.

        A Newton step by gradients and curvatures as they are expected under a Gaussian, along each coordinate, leads towards
        the one with the least divergence from a law (Opper & Archambeau 2009): third and fourth derivatives move and scale it,
        and only what is left of them is noise. Where a gradient is not finite that far out, those around the modes stay.
        """
        columns, there = self.groups.columns, self.groups.there
        same = columns.one == columns.other
        group, own = columns.group[same], columns.one[same]
        at = columns.move[same], slice(None), group, columns.row[same]
        for _ in range(self.expected):
            unit = normals.root.marginal_sds
            above, below = (
                self._moved(theta, normals.centre, side * HERMITE_NODE * unit) for side in (1, -1)
            )
            gradient = self._gradient(theta, normals.centre)
            gradient[:, group, own] *= 1 - 2 * HERMITE_WEIGHT
            gradient[:, group, own] += HERMITE_WEIGHT * (above[at] + below[at]).T
            change = (below - above) / (2 * HERMITE_NODE)
            good = np.isfinite(change).all((0, 2, 3)) & np.isfinite(gradient).all((1, 2))
            root = normals.root.replaced(good, self._rooted(change[:, good], unit[good]))
            step = root.spread(root.share(gradient[:, None]))[:, 0]
            size = np.sqrt(((step / unit) ** 2).sum(-1, keepdims=True))
            step *= np.minimum(1.0, self.stride / np.maximum(size, 1e-300))
            step = np.where(good[:, None, None] & there, step, 0.0)
            normals = Normals(normals.centre + step, root)
        return normals

    @cached_property
    def unit(self) -> np.ndarray:
        """Sd of every coordinate given θ where the modes are known, shape ``(G, k)``."""
        return self.modes.root.sds[0]

    # -- integrals ------------------------------------------------------------------------------------------

    @cached_property
    def _points(self) -> np.ndarray:
        from scipy.stats import qmc  # slow to import

        return qmc.Sobol(self.groups.size, scramble=True, seed=0).random(self.num_draws)

    def _base(self, chance: np.ndarray, rng) -> Base:
        """Base draws at a lattice of a random shift.

        In one dimension the lattice is one of equal steps, whose sum is the integral of a smooth peak to many digits, in a
        coordinate whose hyperbolic sine reaches far into tails; in several it is one of equal chances, in tails as heavy as
        is affordable. Its shift is the one that has the point of these chances ``(B, G, k)``. In many dimensions draws are
        independent, and half as many: see `mirrored`.
        """
        size, draws, there, count = self.groups.size, self.num_draws, self.groups.there, len(chance)
        first, share = np.zeros((count, len(self.groups)), int), np.full(1, 1 / draws)
        if size == 1:
            step, (below, of_cell) = self._spacing, self._shares
            place = np.interp(chance[..., 0], below, np.linspace(0, draws, len(below)))
            first = np.minimum(place.astype(int), draws - 1)
            shift = place - first
            t = step * (np.arange(draws)[:, None] - 0.5 * draws + shift[:, None])
            cell = np.minimum((shift * SHIFTS).astype(int), SHIFTS - 1)
            base, log_q = np.sinh(BENT * t) / BENT, -np.log(step * draws * np.cosh(BENT * t))
            return Base(base[..., None], log_q, first, of_cell[cell].swapaxes(1, 2))
        if self.mirrored:
            draws //= 2
            x = rng.standard_normal((count, draws, there.sum()))
        else:
            first = rng.integers(0, draws, first.shape)
            shift = (chance - self._points[first])[:, None]
            x = ndtri(np.clip(((self._points[:, None] + shift) % 1.0)[..., there], 1e-12, 1 - 1e-12))
        tail = INNER_TAIL / np.sqrt(size / 2)
        square = tail * x * x
        own = -0.5 * square * (1 + 1 / tail) - np.log(1 + square) - 0.5 * np.log(2 * np.pi)
        base = np.zeros((count, draws, *there.shape))
        base[..., there] = x * np.exp(0.5 * square)
        log_q = np.add.reduceat(own, np.cumsum(there.sum(1)) - there.sum(1), axis=-1)
        if self.mirrored:
            log_q = np.concatenate([log_q, log_q], 1)
        return Base(base, log_q, first, share)

    @property
    def _spacing(self) -> float:
        """Step of the lattice in one dimension."""
        return max(LATTICE, LATTICE_REACH / self.num_draws)

    @cached_property
    def _shares(self) -> tuple[np.ndarray, np.ndarray]:
        """Chances below the ends of `SHIFTS` cells of each step of the lattice, one step after the other, and of each step in a
        cell.

        They are a normal law's, divided by those of all points of one shift: every shift is as probable.
        """
        t = self._spacing * ((np.arange(self.num_draws * SHIFTS) + 0.5) / SHIFTS - 0.5 * self.num_draws)
        density = np.cosh(BENT * t) * np.exp(-0.5 * (np.sinh(BENT * t) / BENT) ** 2)
        share = density.reshape(self.num_draws, SHIFTS)
        share = share / share.sum(0)
        return np.concatenate([[0.0], np.cumsum(share.ravel()) / SHIFTS]), share.T.copy()

    def resolved(self, theta: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Which groups lie where their integrals look, for one θ and u ``(1, G, k)``; shape ``(G,)``.

        Near the mode, or where a search leads to it, or where the lattice reaches and has neighbours of about the same density: a
        peak of its own would not.
        """
        normals = self.at(theta)
        near = normals.apart(u)[0] < OWN_PLACE
        if near.all():
            return near
        if self.groups.size > 1:  # draws of many coordinates lie as far from the mode as that
            end, length = self._searched(theta, u)
            return near | ((normals.apart(end) < OWN_MODE) & (length < MODE_FOUND))[0]
        if self.exact:
            return near
        centre, sd = normals.centre, normals.root.sds
        t = np.arcsinh(BENT * (u - centre) / sd) / BENT
        step = 0.5 * self._spacing * np.array([-1.0, 0.0, 1.0])[:, None, None]
        places = centre + np.sinh(BENT * (t + step)) / BENT * sd
        below, here, above = self.terms.of(self.target, self.groups.joined(np.repeat(theta, 3, 0), places))[
            :, :-1
        ]
        inside = np.abs(t[0, :, 0]) < self._spacing * (0.5 * self.num_draws - 1)
        level = np.maximum(np.abs(below - here), np.abs(above - here)) < LEVEL
        return near | (inside & level)

    @property
    def _tied(self) -> bool:
        """Whether the lattice is laid through the draw: several are even among themselves, which its shift must not know of."""
        return self.repeats == 1 and not self.mirrored

    @property
    def mirrored(self) -> bool:
        """Whether every draw has its mirror image: where a draw's weight is odd around the mode, the other makes up for it."""
        return self.groups.size > MOST_EIGEN

    def integrals(self, theta: np.ndarray, rng: np.random.Generator) -> Integrals:
        """Integrals of all groups at some θ.

        Parameters
        ----------
        theta : numpy.ndarray, shape (B, D)
            Where.
        rng : numpy.random.Generator
            For the draws: every group at every θ has its own.
        """
        draws = self.repeats if self.exact else self.num_draws
        each = LARGEST_INNER // max(draws * self.groups.dim, self.groups.columns.numbers)
        each = max(1, each if each < self.target.batch else each - each % self.target.batch)
        cells = self._cells(len(theta), rng)
        found = [
            self._integrals(theta[i : i + each], cells[i : i + each], rng) for i in range(0, len(theta), each)
        ]
        return Integrals.joined(found)

    def _cells(self, count: int, rng) -> np.ndarray:
        """Which share ``1 / (R STRATA)`` of its law the draw of a coordinate comes from, shape ``(count, R, G, k)``.

        The R of the same θ are each of another R-th, and those of `STRATA` θ in a row each of another part of that (McKay,
        Beckman & Conover 1979): of what θ says little of there is little noise. The orders are each coordinate's own, so that
        the groups of one draw are independent.
        """
        shape = (self.repeats, len(self.groups), self.groups.size if self.exact or self._tied else 1)
        order = np.arange(STRATA, dtype=np.uint8)[:, None, None, None]
        order = np.broadcast_to(order, (STRATA, *shape))
        fine = np.concatenate([rng.permuted(order, axis=0) for _ in range(0, count, STRATA)])[:count]
        first = rng.integers(0, self.repeats, (count, 1, *shape[1:]), dtype=np.uint8)
        coarse = (first + np.arange(self.repeats, dtype=np.uint8)[:, None, None]) % self.repeats
        return coarse * np.uint8(STRATA) + np.take_along_axis(fine, coarse.astype(int), 1)

    def _within(self, cells: np.ndarray, rng) -> np.ndarray:
        """Chances in such shares, each uniform in its own."""
        return (cells + rng.random(cells.shape)) / (self.repeats * STRATA)

    def _weighed(self, theta, normals: Normals, base: Base) -> tuple[np.ndarray, ...]:
        """Draws ``(B, K, G, k)``, log densities of groups and of what is shared there, and log weights ``(B, K, G)``."""
        groups, count = self.groups, self.num_draws
        u = normals.root.spread(base.x)
        if self.mirrored:
            u = np.concatenate([u, -u], 1)
        u += normals.centre[:, None]
        if not groups.there.all():
            u = np.where(groups.there, u, 0.0)
        flat = groups.joined(np.repeat(theta, count, 0), u.reshape(-1, len(groups), groups.size))
        parts = self.terms.of(self.target, flat).reshape(len(theta), count, -1)
        own, rest = parts[:, :, :-1], parts[:, :, -1]
        return u, own, rest, own - base.log_prob + normals.root.log_det[:, None]

    def _integrals(self, theta, cells, rng) -> Integrals:
        groups, count = self.groups, self.num_draws
        normals = self.at(theta)
        profile, slope = self.density(groups.joined(theta, normals.centre))
        slope = slope[:, groups.shared]
        volume = normals.root.log_det.sum(1) + 0.5 * groups.there.sum() * np.log(2 * np.pi)
        none = np.zeros((len(theta), len(groups)))
        if self.exact:  # the density is known from its peak
            x = ndtri(self._within(cells, rng))
            drawn = normals.centre[:, None] + normals.root.spread(x)
            drawn = np.where(groups.there, drawn, 0.0)
            value = self.terms.of(self.target, groups.joined(theta, drawn[:, 0])).sum(1)
            off = value - profile + 0.5 * np.where(groups.there, x[:, 0] ** 2, 0.0).sum((1, 2))
            # double precision does not hold a peak everywhere, as at an sd of e^-90
            log_prob = np.where(np.abs(off) < EXACT_NATS, profile + volume, -np.inf)
            return Integrals(log_prob, drawn, value, none, profile, slope, cells // np.uint8(self.repeats))
        chance = self._within(cells, rng)
        normals = self._proposal(theta, normals)
        base = self._base(chance[:, 0] if self._tied else rng.random(normals.centre.shape), rng)
        u, own, rest, log_w = self._weighed(theta, normals, base)
        with np.errstate(all="ignore"):
            largest = log_w.max(1)
            weight = np.exp(log_w - largest[:, None])
            total = weight.sum(1)
            weight /= total[:, None]
            log_sum = np.where(np.isneginf(largest), -np.inf, largest + np.log(total))
        weight[np.broadcast_to(~np.isfinite(log_sum)[:, None], weight.shape)] = 1 / count
        chosen = self._coupled(weight, base, rng) if self._tied else self._below(weight, chance[..., 0])
        drawn = np.take_along_axis(u, chosen[..., None], 1)
        value = np.take_along_axis(own, chosen[:, :1], 1)[:, 0].sum(1) + rest[:, 0]
        log_prob = rest[:, 0] + (log_sum - np.log(count)).sum(1)
        # Laplace's approximation is near, unless double precision does not hold a density there
        held = log_prob - profile - volume < LAPLACE_NATS * max(len(groups), groups.there.sum() / MOST_EIGEN)
        same = np.ptp(rest, 1) <= SAME_DENSITY * (1 + np.abs(rest[:, 0]))
        edges = weight[:, 0] + weight[:, -1] if groups.size == 1 else none
        parts = cells // np.uint8(self.repeats)
        if parts.shape != drawn.shape:  # the points of several dimensions are in no order
            parts = np.full(drawn.shape, STRATA, np.uint8)
        log_prob = np.where(held & same, log_prob, -np.inf)
        return Integrals(log_prob, drawn, value, edges, profile, slope, parts)

    def heaviest(self, theta: np.ndarray, rng: np.random.Generator) -> float:
        """Largest k̂ of the weights of a group's draws, of the groups whose draws are worth least."""
        if self.exact or self.groups.size == 1:
            return -np.inf
        normals = self._proposal(theta, self.at(theta))
        log_w = self._weighed(theta, normals, self._base(rng.random(normals.centre.shape), rng))[-1]
        log_w = log_w - logsumexp(log_w, axis=1, keepdims=True)
        worth = 1 / np.exp(logsumexp(2 * log_w, axis=1)).mean(0)
        return max(smooth(log_w[:, :, g].ravel())[1] for g in np.argsort(worth)[:WATCHED])

    def _below(self, weight: np.ndarray, chance: np.ndarray) -> np.ndarray:
        """Which of the draws ``(B, K, G)`` are kept, shape ``(B, R, G)``: where the weights below come to the chances."""
        below = np.cumsum(weight, 1)
        found = np.stack([(below < at[:, None]).sum(1) for at in chance.swapaxes(0, 1)], 1)
        return np.minimum(found, weight.shape[1] - 1)

    def _coupled(self, weight: np.ndarray, base: Base, rng) -> np.ndarray:
        """Which of the draws ``(B, K, G)`` is kept, by their weights, shape ``(B, 1, G)``.

        It is the point that the lattice was laid through, as often as its weight allows, and otherwise one of those that have
        more weight than their share: a maximal coupling (Lindvall 1992), so that where the posterior is near normal draws lie
        where their chances say.
        """
        share, chosen = np.broadcast_to(base.share, weight.shape), base.first.copy()
        own, fair = (np.take_along_axis(of, chosen[:, None], 1)[:, 0] for of in (weight, share))
        row, group = np.nonzero(rng.random(chosen.shape) * fair > own)
        more = np.cumsum(np.maximum(weight[row, :, group] - share[row, :, group], 0.0), 1)
        found = (more < rng.random((len(row), 1)) * more[:, -1:]).sum(1)
        chosen[row, group] = np.minimum(found, weight.shape[1] - 1)
        return chosen[:, None]

    # -- how it is made --------------------------------------------------------------------------------------

    @classmethod
    def around(cls, target, density, groups, terms, z, unit, rng) -> Inner | str:
        """With the modes at one point, how they move, and whether the groups are Gaussian.

        Parameters
        ----------
        target, density, groups, terms
            As the attributes.
        z, unit : numpy.ndarray, shape (dim,)
            The point, and the scale of each coordinate.
        rng : numpy.random.Generator
            For starts of searches, and the test for Gaussians.

        Returns
        -------
        Inner or str
            What stands in the way, in words.
        """
        theta, size = z[groups.shared], groups.size
        scale = groups.of(unit[None])[0]
        root = Dense.diagonal(np.where(groups.there, scale, 1.0)[None])
        none = np.zeros((len(groups), size, len(theta)))
        made = cls(target, density, groups, terms, theta, Normals(groups.of(z[None]), root), none)
        found = made.moded(theta, made.modes.centre)
        if found is None:
            return "a group has no mode that Newton's method finds"
        made = replace(made, modes=found)
        several = made.several(rng)
        if several.any():
            return f"{several.sum()} groups have several modes of their own"
        made = replace(made, slope=made.moving(unit[groups.shared]))
        return replace(made, exact=made.gaussian(rng))

    def moded(self, theta, u) -> Normals | None:
        """The modes at one θ, by Newton steps from ``(1, G, k)`` until nothing moves."""
        unit, length, root = self.unit, np.full((1, 1), np.inf), self.modes.root
        for _ in range(MOST_NEWTON):
            u, length, root = self._stepped(theta[None], u, unit)
            if length.max() < STANDING:
                break
            unit = root.sds[0]
        if not (np.isfinite(u).all() and length.max() < MODE_FOUND):
            return None
        return Normals(u, self._stepped(theta[None], u, unit)[2])

    def _searched(self, theta, u) -> tuple[np.ndarray, np.ndarray]:
        """Where Newton steps from u ``(B, G, k)`` end, and the length of the last, in sds."""
        for _ in range(MOST_NEWTON):
            u, length, _ = self._stepped(theta, u, self.unit)
            if np.nanmax(length) < MODE_FOUND:
                break
        return u, length

    def several(self, rng) -> np.ndarray:
        """Which groups have other modes of any mass, where searches from far away end, shape ``(G,)``."""
        home, far = self.modes, np.repeat(FAR_STARTS, 2)[:, None, None]
        away = rng.standard_normal((len(far), *home.centre.shape[1:]))
        away *= far / np.linalg.norm(np.where(self.groups.there, away, 0.0), axis=2, keepdims=True)
        away[1::2] = -away[::2]
        away = home.root.spread(np.where(self.groups.there, away, 0.0)[None])[0]
        theta = np.broadcast_to(self.theta, (len(far), len(self.theta)))

        def heights(u):
            return self.terms.of(self.target, self.groups.joined(theta, u))[:, :-1]

        for _ in range(HALVINGS):  # one group whose density is 0 in double precision would hide all others
            lost = ~np.isfinite(heights(home.centre + away))
            if not lost.any():
                break
            away[lost] *= 0.5
        u = home.centre + away
        u, length = self._searched(theta, u)
        apart, above = home.apart(u), heights(u) - heights(np.broadcast_to(home.centre, u.shape))
        other = (apart > OWN_MODE) & (length < MODE_FOUND) & (above > -NEGLIGIBLE_MODE)
        return other.any(0)

    def moving(self, unit: np.ndarray) -> np.ndarray:
        """Derivative of the modes with respect to θ."""
        dim, root = len(self.theta), self.modes.root
        theta = np.concatenate(
            [self.theta + np.diag(self.step * unit), self.theta - np.diag(self.step * unit)]
        )
        u = np.broadcast_to(self.modes.centre, (2 * dim, *self.modes.centre.shape[1:]))
        gradient = self._gradient(theta, u)
        change = (gradient[:dim] - gradient[dim:]) / (2 * self.step * unit)[:, None, None]
        return np.moveaxis(root.spread(root.share(change[None]))[0], 0, -1)

    def gaussian(self, rng) -> bool:
        """Whether the gradient of every group is linear in it, here and at another θ."""
        centre, root = self.modes.centre, self.modes.root
        for theta in (self.theta, self.theta + 0.5 * rng.standard_normal(len(self.theta))):
            x = 3.0 * rng.standard_normal((3, *centre.shape[1:]))
            x[2] = 0.5 * (x[0] + x[1])
            step = root.spread(x[None])[0]
            gradient = self._gradient(
                np.broadcast_to(theta, (3, len(theta))), np.where(self.groups.there, centre + step, 0.0)
            )
            along = root.share(gradient[None])[0]
            if not np.abs(along[2] - 0.5 * (along[0] + along[1])).max() < EXACT_GROUP * (
                1 + np.abs(along).max()
            ):
                return False
        return True
