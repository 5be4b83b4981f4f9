"""The fits of a climb: dispersed starts, and the guide that the plan names."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import asdict, replace

import numpy as np

from ...guides import FAMILIES, MeanField
from ...guides.sparse import NotPositiveDefinite
from ...guides.structure import UnreadLinks
from ...ppl.errors import ElboroomError, GuideError, InferenceError, explain
from ...ppl.interrupts import held
from ...ppl.simulate import prior_values
from .centring import carry, shares
from ..engines.designs import antithetic, whitened
from ..evidence.finding import Finding
from ..engines.flow import Flown, fit_flow
from ..evidence.frame import Dense, Sparse, independent, rooted, sparse
from ..engines.lbfgs import minimise
from ..engines.low_rank import low_rank
from ..engines.natural import natural_gradient, polish
from ..engines.sparse_newton import sparse_newton
from ..engines.starts import Starts, dispersed, loose_fits
from ..run.trail import Rung
from ..run.watch import Watch

LOOSE = 2.0  # nats at which a start stops: the guide's own fit goes on from there
RECENTRED = 0.2  # a smaller change of a centring is not worth another fit
PRIOR_DRAWS, SETTLED = 64, 10  # draws among which starts are chosen; most fits in units of the one before
FAILURES = (MemoryError, ArithmeticError, np.linalg.LinAlgError, NotPositiveDefinite, RuntimeError)


def marked(value, grad):
    """Values and gradients with what is not finite as −inf and 0, and where that is."""
    bad = ~np.isfinite(value) | ~np.isfinite(grad).all(1)
    if bad.any():
        value, grad = np.where(bad, -np.inf, value), np.where(bad[:, None], 0.0, grad)
    return value, grad, bad


def unread_links(why: str) -> Finding:
    """What is said where the analysis of a model's links failed."""
    advice = (
        f"Which quantities are linked could not be read from the model ({why}), so that the guide may not follow its "
        "groups: slower, and poorer where there are many. Please report it with the model."
    )
    return Finding("links", "fit", None, None, "ok", advice)


class Fitting:
    """State of the fits: what is the best Gaussian so far, and what was tried."""

    def __init__(self, target, plan, seed: int, watch: Watch, start=None):
        self.target, self.plan, self.seed, self.watch = target, plan, seed, watch
        self.start = start
        self.rungs: list[Rung] = []
        self.findings: list[Finding] = []
        self.elbo_trace: list = []
        self.restarts: list[int] = []  # of each step, which fit it belongs to
        self.steps: dict[str, np.ndarray] = {}  # what else stochastic steps saw
        self.best: Dense | Sparse | None = None
        self.last_bad: np.ndarray | None = None
        self.ends = np.zeros((0, target.dim))
        self.family, self.guide, self.factor, self.settled = plan.family, None, None, True
        self.flown: Flown | None = None

    def rng(self, stage: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, stage])

    def evaluate(self, z, batch=None):
        """Log density and gradient as the target gives them."""
        return self.target.value_and_grad(z, batch=batch)

    def density(self, z, batch=None):
        """Log density and gradient with what is not finite marked as −inf."""
        with np.errstate(all="ignore"):
            value, grad, bad = marked(*self.evaluate(z, batch))
        if bad.any():
            self.last_bad = z[bad][:1]
        return value, grad

    def rung(self, name, guide, before, begin, **values):
        count = self.target.counter.num_gradients - before
        self.rungs.append(
            Rung(name, guide, num_gradients=count, seconds=time.perf_counter() - begin, **values)
        )

    @contextmanager
    def attempt(self, name: str, guide: str):
        """A rung that may fail: then it is a line in the trail, and the climb goes on with what it has."""
        before, begin = self.target.counter.num_gradients, time.perf_counter()
        try:
            yield
        except FAILURES as error:
            words = (str(error).splitlines() or [""])[0][:200]
            self.rung(name, guide, before, begin, reason=f"failed: {type(error).__name__}: {words}")

    def _starts(self):
        before, begin = self.target.counter.num_gradients, time.perf_counter()
        rng, plain, found = self.rng(0), self.target, []
        loose = self.plan.family.name in {"full-rank", "structured", "flow"} and not plain.centring
        tolerance = LOOSE if loose else 0.1
        for target, points, unit in self._places(rng):
            self._enter(target)
            if not found:
                self.best = independent(points[0], 0.1 * unit)
            found.append((target, self._loose(points, unit, rng, tolerance)))
        target, best = max(found, key=lambda one: one[1].elbo[one[1].best])
        self._enter(target)
        k = best.best
        places = [
            carry(
                one,
                target,
                fits.mean[np.isfinite(fits.elbo) & ((fits is not best) | (np.arange(len(fits.elbo)) != k))],
            )
            for one, fits in found
        ]
        self.ends = np.concatenate(places)
        if np.isfinite(best.elbo[k]):
            self.best = independent(best.mean[k], best.sd[k])
            self._recentre()
        self.rung(
            "starts",
            "mean-field",
            before,
            begin,
            elbo=float(best.elbo[k]),
            elbo_se=float(best.elbo_se[k]),
            reason=f"{sum(len(f.elbo) for _, f in found)} dispersed starts, {best.num_iterations} iterations",
        )

    def _places(self, rng):
        """Coordinates, points to begin at, and a unit of each coordinate there: centred, then non-centred, around 0 and,
        where the priors are far from there, also where they declare."""
        plain, ones, nowhere, far = self.target, np.ones(self.target.dim), None, self._far
        points = dispersed(rng, 3, plain.dim)
        if self.start is not None:
            points = np.concatenate([np.atleast_2d(self.start), points[:2]])
        try:
            points = self._finite_points(points, rng)
        except InferenceError as error:
            if not far:
                raise
            nowhere = error
        else:
            yield plain.centred(dict.fromkeys(plain.centring, 1.0)), points, ones
            if plain.centring:
                yield plain.centred(dict.fromkeys(plain.centring, 0.0)), points[:2], ones
        if not far:
            return
        found = False
        for target, points, unit in self._declared(rng):
            good = points[np.isfinite(self._in(target, points)[0])]
            if len(good):
                found = True
                yield target, good[:3], unit
        if nowhere is not None and not found:
            raise nowhere

    @property
    def _far(self) -> bool:
        """Whether priors declare other units than one around 0."""
        loc, scale = self.target.units
        return bool((loc != 0).any() or (scale != 1).any())

    def _in(self, target, points):
        self._enter(target)
        return self.density(points)

    def _declared(self, rng):
        """As `_places`, where the priors declare: draws from them where they are proper, the densest first."""
        plain = self.target
        try:
            values = prior_values(plain.program, PRIOR_DRAWS, self.seed, plain.backend)
        except (
            ElboroomError,
            ArithmeticError,
            ValueError,
            RuntimeError,
        ):  # improper, or too far out to be drawn from
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
            first = self._in(target, z)[0].argmax()
            yield target, np.concatenate([z[[first]], z[:2]]), np.where(unit > 0, unit, 1.0)

    def _loose(self, points, unit, rng, tolerance) -> Starts:
        """Loose fits from some points, in the given units."""

        def framed(x):
            value, grad = self.density(x * unit)
            return value, grad * unit

        with np.errstate(all="ignore"):
            fits = loose_fits(framed, points / unit, rng, tolerance=tolerance, callback=self.watch.stop)
            fits = replace(
                fits, mean=fits.mean * unit, sd=fits.sd * unit, elbo=fits.elbo + np.log(unit).sum()
            )
            for k in range(len(fits.mean)) if self._far else ():
                self._settle(fits, k, rng, tolerance)
        return fits

    def _settle(self, fits: Starts, k: int, rng, tolerance) -> None:
        """Go on from where a start ended, in the units that it found, until that gains nothing."""
        for _ in range(SETTLED):
            mean, sd = fits.mean[k], fits.sd[k]

            def framed(x, mean=mean, sd=sd):
                value, grad = self.density(mean + x * sd)
                return value, grad * sd

            origin = np.zeros((1, len(mean)))
            again = loose_fits(framed, origin, rng, 1.0, tolerance=tolerance, callback=self.watch.stop)
            elbo = again.elbo[0] + np.log(sd).sum()
            if not elbo > fits.elbo[k] + 1.0:
                return
            fits.mean[k], fits.sd[k] = mean + sd * again.mean[0], sd * again.sd[0]
            fits.elbo[k], fits.elbo_se[k] = elbo, again.elbo_se[0]

    def snapshot(self) -> tuple[dict, dict]:
        """What a stage has led to: JSON-ready values, and arrays."""
        frame, counter = self.best, self.target.counter
        dense = isinstance(frame, Dense)
        values = {
            "family": self.family.name,
            "settled": self.settled,
            "rungs": [asdict(rung) for rung in self.rungs],
            "findings": [finding.as_dict() for finding in self.findings],
            "counter": [counter.num_gradients, counter.num_densities],
        }
        arrays = {
            "mean": frame.mean,
            "scale": frame.scale if dense else np.sqrt(frame.precision),
            "ends": self.ends,
            "elbo_trace": self.elbo_trace,
            "restarts": self.restarts,
            **{f"centring/{name}": share for name, share in self.target.centring.items()},
        }
        return values, arrays

    def restore(self, values: dict, arrays: dict) -> None:
        """Go on from what `snapshot` gave."""
        families = {family.name: family for family in FAMILIES}
        if values["family"] != self.family.name:
            self.family = families[values["family"]]()
        self.settled = values["settled"]
        self.rungs = [Rung(**rung) for rung in values["rungs"]]
        self.findings = [Finding(**finding) for finding in values["findings"]]
        centring = {k.removeprefix("centring/"): v for k, v in arrays.items() if k.startswith("centring/")}
        self.target = self.target.centred(centring)
        self.target.counter.num_gradients, self.target.counter.num_densities = values["counter"]
        mean, scale = arrays["mean"], arrays["scale"]
        self.best = Dense(mean, scale) if scale.ndim == 2 else rooted(mean, scale)
        self.ends, self.elbo_trace = arrays["ends"], arrays["elbo_trace"].tolist()
        self.restarts = arrays["restarts"].astype(int).tolist()

    def _enter(self, target):
        """Go on in the coordinates of `target`."""
        self.ends = carry(self.target, target, self.ends)
        self.target = target

    def _recentre(self) -> bool:
        """Take the coordinates that suit the best Gaussian, and carry it there; whether they are others."""
        if not self.target.centring:
            return False
        before, frame = self.target, self.best
        mean, precision = frame.mean, frame.precision
        eps = antithetic(self.rng(8), 16, len(mean), unit=True)
        found, units = shares(before, frame.points(eps), precision)
        change = max(np.abs(found[name] - before.centring[name]).max() for name in found)
        dense = isinstance(frame, Dense) and np.tril(frame.scale, -1).any()
        points = mean[None]
        if dense:
            draws = whitened(self.rng(7), max(64, 4 * len(mean)), len(mean))
            points = np.concatenate([points, frame.points(draws)])
        after = before.centred(found)
        moved = carry(before, after, points)
        good = np.isfinite(moved).all(1)
        if change < RECENTRED or not good[0] or good.mean() < 0.9:
            return False
        with held():  # coordinates and the Gaussian in them change together
            self._enter(after)
            if dense:
                moved = moved[1:][good[1:]]
                self.best = Dense(moved.mean(0), np.linalg.cholesky(np.cov(moved.T).reshape(len(mean), -1)))
            else:
                self.best = independent(moved[0], np.exp(units) / np.sqrt(precision))
        return True

    def scattered(self, count: int, rng) -> np.ndarray:
        """Points of finite density around 0, or where the priors declare, whichever are denser."""
        loc, scale = self.target.units
        points = dispersed(rng, count, self.target.dim)
        if not self._far:
            return self._finite_points(points, rng)
        near = [points, loc + scale * points]
        with np.errstate(all="ignore"):
            denser = np.argmax([np.median(self.density(some)[0]) for some in near])
        return near[1] if denser else self._finite_points(points, rng)

    def _finite_points(self, points, rng, density=None, unit=(0.0, 1.0)):
        """Points at which the density is finite, in the given unit, near those given where it can be."""
        loc, scale = unit
        for radius in (2.0, 1.0, 0.3, 0.05, 5.0, 10.0):
            value, _ = (density or self.density)(loc + scale * points)
            good = np.isfinite(value)
            if good.all():
                return points
            if good.any():
                return np.concatenate([points[good], points[good][:1].repeat((~good).sum(), 0)])
            points = dispersed(rng, 8, points.shape[1], radius)
        culprit = self._culprit(points[0]) if density is None else "on a batch of the rows"
        raise InferenceError(
            explain(
                f"model '{self.target.program.name}'",
                "a log density that is finite somewhere near the origin of the unconstrained space",
                f"none at 48 points tried; {culprit}",
                "check that the data lie in the support of the likelihood, or pass start=",
            )
        )

    def _culprit(self, z) -> str:
        values = {k: v[0] for k, v in self.target.constrain(z[None]).items()}
        values = {s.name: values[s.name] for s in self.target.sites}
        terms = self.target.log_joint_terms(values)
        bad = {name: value for name, value in terms.items() if not np.isfinite(value)}
        return "; ".join(f"site '{k}' gives {v}" for k, v in bad.items()) or "its gradient is not finite"

    def _fit(self):
        before, begin = self.target.counter.num_gradients, time.perf_counter()
        plan = self.plan.refined(self.target, self.best.mean, 1 / np.sqrt(self.best.precision))
        self.family, self.guide, lower = plan.family, plan.guide, self.rungs[-1].elbo
        if plan.unread:
            self.findings.append(unread_links(plan.unread))
        fits = {
            "mean-field": self._mean_field,
            "laplace": self._mode,
            "delta": self._mode,
            "full-rank": self._full_rank,
            "structured": self._structured,
            "low-rank": self._low_rank,
            "flow": self._flow,
        }
        if self.family.name not in fits:
            self._foreign()
        self.settled = False
        with self.attempt("fit", self.family.name):
            words = fits[self.family.name](self.rng(1))
            self.rung("fit", self.family.name, before, begin, reason=f"{plan.reason}. {words}")
            self.settled = self.settled or self.family.name != "structured"
        if self.settled or self.watch.stop():
            return
        poorer = plan.next if plan.next is not None else MeanField()
        better = poorer.name == "mean-field" and self.elbo_trace and self.elbo_trace[-1] > lower
        if self.factor is not None and (plan.next is None or better):
            return  # not at rest, but better than what comes next
        before, begin = self.target.counter.num_gradients, time.perf_counter()
        self.family = poorer
        with self.attempt("fit", self.family.name):
            words = fits[self.family.name](self.rng(1))
            reason = f"the fit before it found no rest. {words}"
            self.rung("fit", self.family.name, before, begin, reason=reason)

    def _followed(self, trace) -> None:
        """Keep the bounds of the steps of a fit."""
        self.restarts += [self.restarts[-1] + 1 if self.restarts else 0] * len(trace)
        self.elbo_trace += trace

    def _scaled(self):
        """The density in units of the best sds, where quasi-Newton steps are well scaled."""
        mean, sd = self.best.mean, 1 / np.sqrt(self.best.precision)

        def framed(x):
            value, grad = self.density(mean + x * sd)
            return value, grad * sd

        return framed, mean, sd

    def _mean_field(self, rng) -> str:
        framed, mean, sd = self._scaled()
        origin = np.zeros((1, len(mean)))
        found = loose_fits(framed, origin, rng, 1.0, 32, 300, 1e-4, callback=self.watch.stop)
        self.best = independent(mean + sd * found.mean[0], sd * found.sd[0])
        return f"{found.num_iterations} quasi-Newton steps on 32 fixed draws"

    def _mode(self, rng) -> str:
        framed, mean, sd = self._scaled()
        origin = np.zeros((1, len(mean)))
        down = lambda x, which: tuple(-v for v in framed(x))  # noqa: E731
        found = minimise(down, origin, 300, 1e-9, callback=self.watch.stop)
        mode = mean + sd * found.x[0]
        if self.family.name == "laplace":
            self.best = Dense(mode, self._curvature(mode))
        else:
            self.best = independent(mode, sd)
        return "at the mode of the unconstrained density"

    def _full_rank(self, rng) -> str:
        stop = self.watch.stop

        def keep(mean, scale):
            self.best = Dense(mean, scale)

        for last in (False, False, True):
            found = self._natural(rng, keep)
            self._followed(found.trace)
            self.best = Dense(found.mean, found.scale_tril)
            if last or stop() or not np.isfinite(found.elbo) or not self._recentre():
                break
        words = f"natural gradient: {found.reason} after {len(found.trace)} steps"
        if not found.converged and found.reason not in {"flat direction", "stopped"}:
            better = polish(self.density, *self._dense(), rng, callback=stop)
            if np.isfinite(better.elbo) and better.elbo > found.elbo - 0.5:
                self._followed(better.trace)
                self.best = Dense(better.mean, better.scale_tril)
                words += "; polished on fixed draws"
        return words

    def _natural(self, rng, keep):
        """The dense Gaussian, from the best so far."""
        return natural_gradient(self.density, *self._dense(), rng, callback=self.watch.stop, keep=keep)

    def _flow(self, rng) -> str:
        """A flow in the frame of the best dense Gaussian."""
        self.guide = self.family.bind(self.target)
        words = self._full_rank(rng)
        params = self.guide.init(self.best.start)
        stop = self.watch.stop
        self.flown = fit_flow(self.density, self.target, self.guide, params, rng, callback=stop)
        self._followed(self.flown.trace)
        return f"{words}; {self.flown.words}"

    def _dense(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and lower-triangular scale of the best Gaussian."""
        frame = self.best
        scale = frame.scale if isinstance(frame, Dense) else np.diag(1 / np.sqrt(frame.precision))
        return frame.mean, scale

    def _structured(self, rng) -> str:
        """Fit the sparse Gaussian, and again where other coordinates of hierarchical sites suit it better."""
        stop = self.watch.stop
        for last in (False, False, True):
            mean, sd = self.best.mean, 1 / np.sqrt(self.best.precision)
            try:
                guide = self.guide or self.family.bind(self.target, mean, sd)
            except UnreadLinks as error:
                self.findings.append(unread_links(str(error)))
                raise

            def keep(mean, factor):
                self.best, self.factor = sparse(mean, factor), factor

            self.guide = guide
            found = sparse_newton(self.density, guide, mean, sd, rng, callback=stop, keep=keep)
            self._followed(found.trace)
            self.best, self.factor = sparse(found.mean, found.factor), found.factor
            self.settled = found.converged or stop()
            if last or stop() or not np.isfinite(found.elbo) or not self._recentre():
                break
        return (
            f"{guide.num_parameters} numbers, {guide.structure.num_colours} directions; natural gradient: "
            f"{found.reason} after {len(found.trace)} steps"
        )

    def _low_rank(self, rng) -> str:
        def keep(mean, factor):
            self.best, self.factor = sparse(mean, factor), factor

        mean, sd = self.best.mean, 1 / np.sqrt(self.best.precision)
        found = low_rank(self.density, mean, sd, rng, self.family.rank, callback=self.watch.stop, keep=keep)
        self._followed(found.trace)
        keep(found.mean, found.factor)
        words = "" if found.complete else "; other directions are left out, the sds may be too small"
        return f"{len(found.factor.width)} directions; {found.reason} after {len(found.trace)} steps{words}"

    def _foreign(self):
        raise GuideError(
            explain(
                "guide",
                "a family that fit can optimise: structured, full-rank, low-rank, mean-field, flow, laplace or delta",
                repr(self.family),
                "choose one of them",
            )
        )

    def _curvature(self, mode):
        dim = len(mode)
        hessian = -self.target.hessian_vector(np.broadcast_to(mode, (dim, dim)), np.eye(dim))
        eig, vec = np.linalg.eigh(0.5 * (hessian + hessian.T))
        covariance = (vec / np.maximum(eig, 1e-8)) @ vec.T
        return np.linalg.cholesky(0.5 * (covariance + covariance.T) + 1e-14 * np.eye(dim))
