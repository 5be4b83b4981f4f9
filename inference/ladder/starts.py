"""Where the posterior lies: loose fits from dispersed points, and where the priors declare."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...guides.mean_field import MeanField
from ...guides.transport import Affine
from ...ppl.errors import ElboroomError, InferenceError, explain
from ...ppl.simulate import prior_values
from ..engines import engines_of
from ..engines.loop import Density
from ..engines.problem import marked
from ..engines.starts import Starts, dispersed, loose_fits
from ..thresholds import LOOSE, MOST_SETTLINGS, PRIOR_DRAWS, RADII, START_SD, START_TOLERANCE
from .centring import carry
from .climb import Line
from .recentring import recentred
from .run import Run
from .state import State


@dataclass(frozen=True)
class DispersedStarts:
    """Mean-field fits from dispersed points, in centred and non-centred coordinates; the best of them is gone on from."""

    name = "starts"
    words = "looking for where the posterior lies"
    always = True
    guarded = False
    kept = "starts"

    def wants(self, state: State) -> str | None:
        """See `Stage.wants`."""
        return "a fit needs a place to begin" if state.rows.rich else None

    def guide(self, state: State) -> str:
        """See `Stage.guide`."""
        return MeanField.name

    def price(self, state: State) -> float:
        """See `Stage.price`: unknown before the first gradient."""
        return np.nan

    def failed(self, state: State) -> State:
        """See `Stage.failed`."""
        return state

    def run(self, state: State, run: Run) -> tuple[State, Line]:
        """See `Stage.run`."""
        view = state.rows.first(run.rng(11))
        plain = replace(state, rows=view, ends=np.zeros((0, state.target.dim)))
        rng = run.rng(0)
        found: list[tuple[Any, Starts]] = []
        engine = engines_of(state.plan.family, state.rows)[0]
        tolerance = LOOSE if engine.loose and not state.target.centring else START_TOLERANCE
        for target, points, unit in _places(plain, run, rng):
            if not found:
                run.keep(
                    replace(state.entered(target), best=Affine(points[0], START_SD * unit), ends=plain.ends)
                )
            density = run.density(replace(plain, target=target))
            found.append((target, _loose(density, points, unit, rng, tolerance, run, _far(state.target))))
        target, fits = max(found, key=lambda one: one[1].elbo[one[1].best])
        ends = np.concatenate([_others(one, other, target, fits) for one, other in found])
        k = fits.best
        state = replace(run.reached.entered(target), ends=ends)
        if np.isfinite(fits.elbo[k]):
            state = replace(state, best=Affine(fits.mean[k], fits.sd[k]))
            state = recentred(state, run) or state
        count = sum(len(one.elbo) for _, one in found)
        words = f"{count} dispersed starts, {fits.num_iterations} iterations"
        measured = {"elbo": float(fits.elbo[k]), "elbo_se": float(fits.elbo_se[k])}
        return state, Line(MeanField.name, words, measured)


def _others(own, fits: Starts, target, best: Starts) -> np.ndarray:
    """Where starts ended that are not the best, in the coordinates of `target`."""
    kept = np.isfinite(fits.elbo) & ((fits is not best) | (np.arange(len(fits.elbo)) != best.best))
    return carry(own, target, fits.mean[kept])


def _far(target) -> bool:
    """Whether priors declare other units than one around 0."""
    loc, scale = target.units
    return bool((loc != 0).any() or (scale != 1).any())


def _places(state: State, run: Run, rng) -> Iterator[tuple[Any, np.ndarray, np.ndarray]]:
    """Coordinates, points to begin at, and a unit of each coordinate there: centred, then non-centred, around 0 and,
    where the priors are far from there, also where they declare."""
    plain, far, nowhere = state.target, _far(state.target), None
    points, ones = dispersed(rng, 3, plain.dim), np.ones(plain.dim)
    if state.start is not None:
        points = np.concatenate([np.atleast_2d(state.start), points[:2]])
    try:
        points = finite_points(run.density(state), points, rng, plain)
    except InferenceError as error:
        if not far:
            raise
        nowhere = error
    else:
        yield plain.centred(dict.fromkeys(plain.centring, 1.0)), points, ones
        if plain.centring:
            yield plain.centred(dict.fromkeys(plain.centring, 0.0)), points[:2], ones
    found = False
    for target, points, unit in _declared(state, run, rng) if far else ():
        good = points[np.isfinite(run.density(replace(state, target=target))(points)[0])]
        if len(good):
            found = True
            yield target, good[:3], unit
    if nowhere is not None and not found:
        raise nowhere


def _declared(state: State, run: Run, rng) -> Iterator[tuple[Any, np.ndarray, np.ndarray]]:
    """As `_places`, where the priors declare: draws from them where they are proper, the densest first."""
    plain = state.target
    try:
        values = prior_values(plain.program, PRIOR_DRAWS, state.seed, plain.backend)
    except (ElboroomError, ArithmeticError, ValueError, RuntimeError):
        # improper, or too far out to be drawn from
        loc, scale = plain.units
        free = plain.centred(dict.fromkeys(plain.centring, 0.0))
        yield free, loc + scale * dispersed(rng, 3, plain.dim), scale
        return
    for share in (0.0, 1.0) if plain.centring else (1.0,):
        target = plain.centred(dict.fromkeys(plain.centring, share))
        z = target.unconstrain({site.name: values[site.name] for site in plain.sites})
        z = z[np.isfinite(z).all(1)]
        if not len(z):
            continue
        unit = np.diff(np.quantile(z, [0.25, 0.75], axis=0), axis=0)[0]
        first = run.density(replace(state, target=target))(z)[0].argmax()
        yield target, np.concatenate([z[[first]], z[:2]]), np.where(unit > 0, unit, 1.0)


def _loose(density: Density, points, unit, rng, tolerance, run: Run, far: bool) -> Starts:
    """Loose fits from some points, in the given units."""

    def framed(x):
        value, grad = density(x * unit)
        return value, grad * unit

    with np.errstate(all="ignore"):
        fits = loose_fits(framed, points / unit, rng, tolerance=tolerance, callback=run.stop)
        fits = replace(fits, mean=fits.mean * unit, sd=fits.sd * unit, elbo=fits.elbo + np.log(unit).sum())
        for k in range(len(fits.mean)) if far else ():
            fits = _settled(density, fits, k, rng, tolerance, run)
    return fits


def _settled(density: Density, fits: Starts, k: int, rng, tolerance, run: Run) -> Starts:
    """Go on from where a start ended, in the units that it found, until that gains nothing."""
    means, sds, elbos, errors = (np.array(a) for a in (fits.mean, fits.sd, fits.elbo, fits.elbo_se))
    for _ in range(MOST_SETTLINGS):
        mean, sd = means[k], sds[k]

        def framed(x, mean=mean, sd=sd):
            value, grad = density(mean + x * sd)
            return value, grad * sd

        origin = np.zeros((1, len(mean)))
        again = loose_fits(framed, origin, rng, 1.0, tolerance=tolerance, callback=run.stop)
        elbo = again.elbo[0] + np.log(sd).sum()
        if not elbo > elbos[k] + 1.0:
            break
        means[k], sds[k] = mean + sd * again.mean[0], sd * again.sd[0]
        elbos[k], errors[k] = elbo, again.elbo_se[0]
    return replace(fits, mean=means, sd=sds, elbo=elbos, elbo_se=errors)


def scattered(density: Density, target, count: int, rng: np.random.Generator) -> np.ndarray:
    """Points of finite density around 0, or where the priors declare, whichever are denser, shape ``(count, dim)``."""
    loc, scale = target.units
    points = dispersed(rng, count, target.dim)
    if not _far(target):
        return finite_points(density, points, rng, target)
    near = [points, loc + scale * points]
    with np.errstate(all="ignore"):
        denser = np.argmax([np.median(density(some)[0]) for some in near])
    return near[1] if denser else finite_points(density, points, rng, target)


def finite_points(density: Density, points: np.ndarray, rng: np.random.Generator, target=None) -> np.ndarray:
    """Points at which the density is finite, near those given where it can be.

    Raises
    ------
    InferenceError
        Where there is none; it says which sites are not finite, where `target` is the whole.
    """
    for radius in RADII:
        good = np.isfinite(density(points)[0])
        if good.all():
            return points
        if good.any():
            return np.concatenate([points[good], points[good][:1].repeat((~good).sum(), 0)])
        points = dispersed(rng, 8, points.shape[1], radius)
    culprit, name = "on a batch of the rows", "the model"
    if target is not None:
        culprit, name = _culprit(target, points[0]), f"model '{target.program.name}'"
    raise InferenceError(
        explain(
            name,
            "a log density that is finite somewhere near the origin of the unconstrained space",
            f"none at 48 points tried; {culprit}",
            "check that the data lie in the support of the likelihood, or pass start=",
        )
    )


def _culprit(target, z) -> str:
    """The sites that are not finite at a point, in words."""
    values = {k: v[0] for k, v in target.constrain(z[None]).items()}
    terms = target.log_joint_terms({s.name: values[s.name] for s in target.sites})
    bad = {name: value for name, value in terms.items() if not np.isfinite(value)}
    return "; ".join(f"site '{k}' gives {v}" for k, v in bad.items()) or "its gradient is not finite"


@dataclass(frozen=True)
class BatchStart:
    """A loose fit on one batch that stands for all rows; what it does not reach starts as the others of its site."""

    name = "starts"
    words = "looking for where the posterior lies"
    always = True
    guarded = False
    kept = "starts"

    def wants(self, state: State) -> str | None:
        """See `Stage.wants`."""
        return None if state.rows.rich else "rows come in batches"

    def guide(self, state: State) -> str:
        """See `Stage.guide`."""
        return MeanField.name

    def price(self, state: State) -> float:
        """See `Stage.price`: unknown before the first gradient."""
        return np.nan

    def failed(self, state: State) -> State:
        """See `Stage.failed`."""
        return state

    def run(self, state: State, run: Run) -> tuple[State, Line]:
        """See `Stage.run`."""
        rows: Any = state.rows  # batches of them, or this stage would not be due
        rng, batches, small = run.rng(0), rows.batches, rows.batches.target
        given = batches.inputs(batches.sample(rng))
        data = {name: small.to_device(value) for name, value in given["data"].items()}
        density = marked(lambda z: small.value_and_grad(z, data=data, scale=given["scale"]))
        # elements with few rows in a batch would be fitted to the letter, and drag the others along
        origin = bool(batches.groups)
        points = np.zeros((1, small.dim)) if origin else dispersed(rng, 3, small.dim)
        if state.start is not None and not origin:
            points = np.concatenate([state.start[:, given["where"]], points[:2]])
        points = finite_points(density, points, rng)
        at, width, words = (
            points[0],
            np.full(small.dim, START_SD),
            "at the origin, or where one batch is finite",
        )
        if not origin:
            with np.errstate(all="ignore"):
                fits = loose_fits(density, points, rng, tolerance=1.0, callback=run.stop)
            if np.isfinite(fits.elbo[fits.best]):
                at, width = fits.mean[fits.best], fits.sd[fits.best]
            words = f"{len(points)} dispersed starts on one batch, {fits.num_iterations} iterations"
        mean, sd = _spread_out(state.target, given, at, width)
        if state.start is not None:
            mean = state.start[0].copy()
        state.target.counter.num_gradients += small.counter.num_gradients
        best, none = Affine(mean, np.clip(sd, 1e-8, 1e3)), np.zeros((0, state.target.dim))
        state = replace(state, best=best, ends=none).found(*rows.findings())
        return state, Line(MeanField.name, words)


def _spread_out(target, given, at, width) -> tuple[np.ndarray, np.ndarray]:
    """Means and sds of all coordinates, from those of a batch: the others of a site start as its median does."""
    mean, sd = np.zeros(target.dim), np.full(target.dim, START_SD)
    there = given["weight"] > 0
    for site in target.sites:
        own = target.offsets[site.name]
        inside = there & (given["where"] >= own.start) & (given["where"] < own.stop)
        if inside.any():
            mean[own], sd[own] = np.median(at[inside]), np.median(width[inside])
    mean[given["where"][there]], sd[given["where"][there]] = at[there], width[there]
    return mean, sd
