"""Groups summed out: importance weights of what they share, where joint weights leave something to establish."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import scipy.sparse as sp

from ...guides.structure import Structure, UnreadLinks, structure
from ..evidence.coordinates import coordinates_named, index_of
from ..evidence.finding import Finding
from ..evidence.law import Law
from ..evidence.pool import Pool
from ..evidence.quantities import free_of, quantity_values
from ..evidence.stein import SharedStein, stein
from ..evidence.verdicts import noise_of, tail_shapes
from ..marginal.groups import Groups, Terms, linear
from ..marginal.inner import Inner
from ..marginal.outer import Kernels, Sample, approached, whitened
from ..marginal.warp import Warp
from ..thresholds import (
    BY_CHANCE,
    CHAIN_NUMBERS,
    EASY_SHARED,
    EDGES_HELD,
    ENOUGH_NOISE,
    EXPECTED_STEPS,
    EXPECTED_WORTH,
    FEW_QUANTITIES,
    FEW_SHARED,
    FEWEST_SHARED,
    FIRST_SHARED,
    HARD_SHARED,
    INNER_DRAWS,
    INNER_NOISE,
    INNER_POINTS,
    KHAT_LIMIT,
    KHAT_TRUSTED,
    LARGEST_AGAIN,
    LARGEST_ALONE,
    LARGEST_BLOCK,
    LARGEST_SUMMED,
    LEAST_SHARED,
    LEAST_TRIED,
    LINK_PROBES,
    LINKED,
    LOST,
    MOST_SHARED_DRAWS,
    MOST_SHARED_LOST,
    MOST_SHARED_TRIED,
    NEGLIGIBLE_SHARE,
    NOISY,
    REPEATS,
    ROUGH_NOISE,
    ROUGH_WORTH,
    SAME_DENSITY,
    SHARED_PER_KEPT,
    SLACK,
    STRATA,
    TAIL,
    TRIED_COORDINATES,
    TRIED_SHARED,
    UNHEARD,
    VAIN_DRAWS,
    WORTH,
)
from .climb import FAILURES, Line, failure
from .run import Run
from .short_chains import chains_price
from .state import State
from .weigh import measured, short

NOT_SEPARATE = Finding(
    "groups",
    "fit",
    None,
    None,
    "ok",
    "The groups of the model are not as independent as its links say; they were not summed out.",
)


ONE_BOUND = ("positive", "nonnegative", "greater_than", "less_than")
"""Constraints of single elements with one bound: their coordinates are logs."""
BOUNDED = (*ONE_BOUND, "unit_interval", "interval")
"""Those with any: the others' are logits."""


@dataclass(frozen=True)
class SummedOut:
    """Draws of what the groups of a hierarchy share, weighted by the integrals over the groups' own coordinates."""

    name = "groups summed out"
    words = "summing groups out"
    always = False
    guarded = False
    kept = ""

    def wants(self, state: State) -> str | None:
        """See `Stage.wants`."""
        open_ = (
            state.extensible
            and state.pool is not None
            and state.rows.at_once
            and _most(state) >= _least(state)
        )
        open_ = open_ and short(state)
        return "the joint weights leave something to establish" if open_ else None

    def guide(self, state: State) -> str:
        """See `Stage.guide`."""
        return "marginal + psis"

    def price(self, state: State) -> float:
        """See `Stage.price`: for each draw the gradients of two coordinates, and values at the points of an integral."""
        return _least(state) * (4 + INNER_DRAWS[0] / 2)

    def failed(self, state: State) -> State:
        """See `Stage.failed`."""
        return state

    def run(self, state: State, run: Run) -> tuple[State, Line | None]:
        """See `Stage.run`."""
        best, why = _best(state, run, run.stream(11))
        if best is None:
            return state, None if why is None else Line(self.guide(state), why)
        sample, inner = best
        words = (
            f"{len(inner.groups)} groups of {inner.groups.size} summed out, {len(inner.theta)} shared: "
            f"{len(sample)} draws, effective {sample.size:.0f}"
        )
        if not sample.usable:
            return state, Line(self.guide(state), words, {"khat": sample.khat})
        if (sample.weights @ sample.found.edges).max() > 4 * EDGES_HELD:
            return state, Line(
                self.guide(state), f"{words}; groups have tails that the integrals do not reach"
            )
        state = _established(state, run, inner, sample)
        return state, Line(self.guide(state), words, measured(state.pool))


def _best(state: State, run: Run, rng) -> tuple[tuple[Sample, Inner] | None, str | None]:
    """Draws by the first split whose weights hold, or by that whose weights are the best; what stands in the way, or None."""
    best, why = None, None
    repeats = int(np.clip(LARGEST_SUMMED // (MOST_SHARED_DRAWS * state.target.dim), 1, REPEATS))
    for inner in _inners(state, run, rng):
        if isinstance(inner, str):
            why = why or inner
            continue
        if best is not None and LEAST_SHARED * _price(inner) > chains_price(state):
            break
        try:
            sample, own = _sampled(state, run, replace(inner, repeats=repeats), rng)
        except FAILURES as error:  # another split may do, and one before is not lost
            why = failure(error)
            continue
        if sample is None:
            why = "the integrals over the groups are too noisy, or their tails too heavy"
            continue
        if best is None or sample.khat < best[0].khat:
            best = sample, own
        if sample.khat < KHAT_TRUSTED or run.stop():
            break
    return best, why


def _price(inner: Inner) -> float:
    """Gradients of a draw of what is shared: the curvature of the groups, twice where they are not Gaussian, and values."""
    return len(inner.groups.columns.moved) * (1 if inner.exact else 2) + inner.num_draws / 2


def _inners(state: State, run: Run, rng) -> Iterator[Inner | str]:
    """Groups of a target with their modes, those first that are likely to do; or why not, where something stands in the way."""
    target, density = state.target, run.density(state)
    z, unit = state.best.mean, state.best.marginals()[1]
    links = getattr(state.guide.structure, "links", None)
    if links is None:
        try:
            own = np.random.default_rng(0)
            links = structure(target, target.value_and_grad, z, 1 / np.sqrt(state.best.precision), own)
        except UnreadLinks:
            return
    if links is None and target.dim <= LARGEST_ALONE:
        links = Structure.dense(target.dim)
    if links is None:
        return
    fewest = np.inf
    for groups in _groups(state, links, density, z, unit, rng):
        if len(groups.shared) >= fewest:
            continue
        terms = Terms.tested(target, groups, z, unit, rng)
        if terms is None:
            yield "some terms of the density see several groups"
            continue
        fewest = len(groups.shared)
        yield Inner.around(target, density, groups, terms, z, unit, rng)


def _groups(state: State, links, density, z, unit, rng) -> Iterator[Groups]:
    """Splits by the links, and by those alone that a Hessian shows; the last are large groups, and what is Gaussian given the
    rest. These are the first where they are affordable, and what the links leave shared is too much for a law to be found soon.

    In what is shared quantities with one bound come first, then those with two.
    """
    target = state.target
    last = 2 - _bounded(target).astype(int) - _positive(target)
    found = Groups.splits(target, links.pattern)
    hidden = all(groups.large for groups in found)
    if hidden:
        found += Groups.splits(target, _tight(links, density, z, unit, rng))
    first: list[Groups] = []
    large: list[Groups] = []
    shared = min((len(groups.shared) for groups in found if not groups.large), default=np.inf)
    own = linear(target, density, z, unit, np.random.default_rng(0))
    gaussian = Groups.leaving(target, links.pattern, ~own, gaussian=True) if own.any() else None
    if gaussian is not None:
        cheap = LEAST_SHARED * gaussian.size * target.work <= CHAIN_NUMBERS
        easy = any(len(groups.shared) <= EASY_SHARED for groups in found)
        (first if cheap and not easy else large).append(gaussian)
    for groups in found:
        affordable = 2 * LEAST_SHARED * len(groups.columns.moved) <= chains_price(state)
        if groups.large and HARD_SHARED < shared < np.inf and affordable:
            first.append(groups)

    def ordered(groups):
        shared = groups.shared
        return replace(groups, shared=shared[np.argsort(last[shared], kind="stable")])

    yield from map(ordered, first)
    yield from (ordered(groups) for groups in found if not groups.large)
    if not hidden:  # and their terms proved not to be their own
        seen = Groups.splits(target, _tight(links, density, z, unit, rng))
        yield from (ordered(groups) for groups in seen if not groups.large)
        found += seen
    yield from map(ordered, [groups for groups in found if groups.large] + large)


def _tight(links, density, z, unit, rng):
    """The pattern of those links that a Hessian shows: where the analysis cannot tell, it supposes too many.

    A covariate that is centred within the groups can hide one that is there.
    """
    if links.block is not None:
        return links.pattern
    points = z + unit * rng.standard_normal((LINK_PROBES, len(z)))
    found = links.hessian(density, points, unit).tocoo()
    seen = np.abs(found.data) * unit[found.row] * unit[found.col] > LINKED
    one, other = found.row[seen], found.col[seen]
    own = np.arange(len(z))
    rows, cols = np.concatenate([one, other, own]), np.concatenate([other, one, own])
    return sp.csr_array((np.ones(len(rows)), (rows, cols)), shape=found.shape)


def _first(state: State, inner: Inner) -> Kernels:
    """The guide's own law of what is shared."""
    shared, best = inner.groups.shared, state.best
    unit = np.zeros((len(shared), best.dim))
    unit[np.arange(len(shared)), shared] = 1.0
    covariance = best.linear(best.whiten(unit))[:, shared]
    root = np.linalg.cholesky(0.5 * (covariance + covariance.T))
    bounded, positive = _bounded(state.target)[shared].sum(), int(_positive(state.target)[shared].sum())
    funnel = np.zeros((bounded, len(shared)))
    return Kernels(Warp.none(len(shared)), best.mean[shared], root, funnel, positive=positive)


def _positive(target) -> np.ndarray:
    """Which coordinates are logs of quantities with one bound, shape ``(dim,)``."""
    return coordinates_named(target, ONE_BOUND)


def _bounded(target) -> np.ndarray:
    """Which coordinates are of quantities with a bound, shape ``(dim,)``: what they scale follows them."""
    return coordinates_named(target, BOUNDED)


def _quiet(inner: Inner, law: Kernels, noise: float, rng) -> Inner | None:
    """With as many draws for each integral as give its log no more than such a variance, and as reach its tails."""
    if inner.exact:
        return inner
    theta = law.sample(int(np.clip(TRIED_COORDINATES // inner.groups.dim, LEAST_TRIED, TRIED_SHARED)), rng)
    for draws in INNER_POINTS if inner.groups.size == 1 else INNER_DRAWS:
        if draws < inner.num_draws:
            continue
        inner = replace(inner, num_draws=draws)
        seen = _apart(inner, law, theta, rng)
        if inner.mirrored and not inner.expected:
            nearer = replace(inner, expected=EXPECTED_STEPS)
            less = _apart(nearer, law, theta, rng)
            if less[0] < EXPECTED_WORTH * seen[0]:
                inner, seen = nearer, less
        found, heard, edges = seen
        if found < noise and edges < EDGES_HELD and inner.heaviest(theta[heard], rng) < KHAT_LIMIT:
            return inner
    return None


def _apart(inner: Inner, law: Kernels, theta: np.ndarray, rng) -> tuple[float, np.ndarray, float]:
    """Variance of the log of the integrals, at which θ they are heard, and what the edges of lattices hold.

    The first is infinite where most of them are not known.
    """
    one, two = inner.integrals(theta, rng), inner.integrals(theta, rng)
    apart, level = one.log_prob - two.log_prob, one.log_prob - law.log_prob(theta)
    known = np.isfinite(apart)
    if known.sum() <= len(theta) // 2:
        return np.inf, known, np.inf
    heard = known & (level > np.median(level[known]) - UNHEARD)
    return (apart[heard] ** 2).mean() / 2, heard, one.edges.mean(0).max()


def _sampled(state: State, run: Run, inner: Inner, rng) -> tuple[Sample | None, Inner]:
    """Draws from a law that follows the weights, as many as the Monte Carlo errors ask for; None where integrals are noise.

    The first rounds only look for a law: their integrals may be noisy, and then those draws go.
    """
    law = _first(state, inner)
    rough = _quiet(inner, law, ROUGH_NOISE, rng)
    if rough is None:
        return None, inner
    sample = Sample.drawn(rough.integrals, law, FIRST_SHARED, rng)
    if sample.size < LOST:
        law = approached(rough.integrals, law, rng)
        sample = Sample.drawn(rough.integrals, law, FIRST_SHARED, rng)
    while len(sample) == FIRST_SHARED or not _holds(sample, KHAT_LIMIT, ROUGH_WORTH):
        if len(sample) >= MOST_SHARED_TRIED or run.stop():
            return sample, rough
        if sample.size < LOST and len(sample) >= MOST_SHARED_LOST:
            return sample, rough
        if sample.size < LOST and len(sample) >= 4 * FIRST_SHARED and _by_chance(rough, sample, rng):
            return None, inner
        count = max(FIRST_SHARED, len(sample) // 3)
        sample = sample.more(rough.integrals, sample.followed(rng), count, rng)
    law = sample.followed(rng)
    fine = _quiet(rough, law, INNER_NOISE, rng)
    if fine is None:
        return None, inner
    if fine.num_draws > rough.num_draws or (_noisy(rough) and len(sample) > LEAST_SHARED):
        sample = Sample.drawn(fine.integrals, law, FIRST_SHARED, rng)
    return _grown(state, run, fine, sample, law, rng)


def _grown(state: State, run: Run, inner: Inner, sample: Sample, law: Kernels, rng) -> tuple[Sample, Inner]:
    """With more draws, of a law that follows the weights where those are not even enough."""
    most, known = _most(state), len(sample)
    kept = min(state.num_draws, LARGEST_BLOCK // state.target.dim)
    least = max(_least(state), int(SHARED_PER_KEPT * kept))
    while len(sample) < most and not run.stop():
        held, count = _holds(sample, KHAT_TRUSTED, WORTH), len(sample) / 3
        if sample.khat < KHAT_TRUSTED and len(sample) >= least:
            more = (_noise(state, inner, sample) / ENOUGH_NOISE) ** 2
            if more < 1:
                break
            count = len(sample) * min(SLACK * more - 1, 1.0)
        if not held or len(sample) >= 2 * known:
            law, known = sample.followed(rng), len(sample)
        if not held:
            heavy = len(sample) >= LEAST_SHARED and sample.khat > KHAT_TRUSTED
            if heavy and not inner.exact and _by_chance(inner, sample, rng):
                if not _noisy(inner):
                    break
                inner = replace(inner, num_draws=INNER_DRAWS[INNER_DRAWS.index(inner.num_draws) + 2])
                sample = Sample.drawn(inner.integrals, law, FIRST_SHARED, rng)
                continue
            hopeless = sample.size < ROUGH_WORTH * len(sample)
            if len(sample) >= MOST_SHARED_TRIED / (2 if hopeless else 1) and not _holds(
                sample, KHAT_LIMIT, WORTH
            ):
                if hopeless or (most - len(sample)) * _price(inner) > chains_price(state):
                    break
        count = int(min(max(FIRST_SHARED, count), most - len(sample)))
        sample = sample.more(inner.integrals, law, count, rng)
    return sample, inner


def _holds(sample: Sample, khat: float, worth: float) -> bool:
    """Whether weights are even enough."""
    return sample.khat < khat and sample.size > worth * len(sample)


def _noisy(inner: Inner) -> bool:
    """Whether more draws of groups could make the integrals better."""
    return not inner.exact and inner.groups.size > 1 and inner.num_draws in INNER_DRAWS[:2]


def _by_chance(inner: Inner, sample: Sample, rng) -> bool:
    """Whether the largest weights are of integrals that came out too large: a few of these have the tails of bad laws."""
    top = np.argsort(-sample.weights)[:LARGEST_AGAIN]
    again = inner.integrals(sample.theta[top], rng).log_prob
    return bool(np.median(sample.found.log_prob[top] - again) > BY_CHANCE)


def _most(state: State) -> int:
    """Draws that fit into memory, with the coordinates of all groups."""
    return min(MOST_SHARED_DRAWS, LARGEST_SUMMED // state.target.dim)


def _least(state: State) -> int:
    """Draws at the least, fewer of very many coordinates."""
    return int(np.clip(FEW_SHARED // state.target.dim, FEWEST_SHARED, LEAST_SHARED))


def _noise(state: State, inner: Inner, sample: Sample) -> float:
    """Largest Monte Carlo error of a quantity; that of some, where it is too large already.

    Of a thousand others one may have a larger one: of so many estimates of errors the largest says little. Nor is it asked of
    those whose tails are so heavy that no number of draws tells an sd, or whose error the most draws would leave too large.
    """
    law = _law(inner, sample)
    values, layout = quantity_values(state.target, law.z)
    free, behind = np.flatnonzero(free_of(state.target, layout)), index_of(state.target, layout)

    def largest(some, left_out=0):
        blocks = (some[i : i + NOISY] for i in range(0, len(some), NOISY))
        noise = np.concatenate([noise_of(law, values[:, own], behind[own]) for own in blocks])
        order = np.argsort(-noise)[left_out:]
        vain = ENOUGH_NOISE * np.sqrt(VAIN_DRAWS * _most(state) / len(sample))
        for worst in order[noise[order] < vain][:FEW_QUANTITIES]:
            if noise[worst] < ENOUGH_NOISE or _shape(law, values[:, [some[worst]]]) < TAIL:
                return noise[worst]
        return 0.0

    few = np.union1d(
        free[:: max(1, len(free) // FEW_QUANTITIES)], free[np.isin(behind[free], inner.groups.shared)]
    )
    noise = largest(few)
    if noise > ENOUGH_NOISE or len(few) == len(free):
        return noise
    return max(noise, largest(free, len(free) // 1000))


def _shape(law: Law, values: np.ndarray) -> float:
    """Tail index of a quantity ``(S, 1)``."""
    return float(tail_shapes(values, law.weights, np.random.default_rng(0))[0])


def _law(inner: Inner, sample: Sample) -> Law:
    """The joint draws: θ by its weights, and of every group draws given θ."""
    good = sample.calibrated > 0
    u = sample.found.u[good]
    repeats = u.shape[1]
    z = inner.groups.joined(np.repeat(sample.theta[good], repeats, 0), u.reshape(-1, *u.shape[2:]))
    weights = np.repeat(sample.calibrated[good] / repeats, repeats)
    parts = inner.groups.joined(STRATA, sample.found.parts[good].reshape(-1, *u.shape[2:]))
    return Law("psis", z, weights, repeats=repeats, basis=sample.basis[good], parts=parts)


def _established(state: State, run: Run, inner: Inner, sample: Sample) -> State:
    """The state with the joint draws; as it is where the terms prove not to be what the density is made of."""
    good, law = sample.calibrated > 0, _law(inner, sample)
    z, log_weights = law.z[:: law.repeats], sample.log_weights[good]
    value, grad = run.density(state)(z)
    apart = ~np.isclose(value, sample.found.value[good], rtol=SAME_DENSITY, atol=SAME_DENSITY)
    if sample.weights[good][apart].sum() > NEGLIGIBLE_SHARE:
        return state.found(NOT_SEPARATE)
    pool = Pool(z, state.best.inverse(z)[0], value, grad, log_weights, log_weights, np.ones(len(z), bool))
    x, h = whitened(sample)
    residual = None if h is None else stein(x[good], h[good], sample.calibrated[good])
    shared = SharedStein(residual, np.repeat(x[good], law.repeats, 0), np.asarray(law.weights))
    covers = partial(sample.covers, inner, rng=run.rng(12))
    return replace(state, pool=pool, law=law, stein=shared, covers=covers)
