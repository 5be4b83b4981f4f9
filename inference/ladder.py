"""The climb: starts, a guide, evidence, and richer evidence where the first is not enough."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from ..guides import MeanField
from ..guides.low_rank import LowRankFactor
from ..guides.sparse import Factor, NotPositiveDefinite
from .centring import carry, shares
from .designs import antithetic, whitened
from .evidence.chains import inefficiency, short_chains, slowest
from .evidence.estimates import estimate
from .evidence.finding import Finding
from .evidence.modes import Elsewhere, at_home, search
from .evidence.pool import Pool, draw_pool
from .evidence.stein import MarginalStein, Stein, directions, marginal_stein, stein
from .evidence.symmetry import Symmetry, find
from .evidence.verdicts import KHAT_TRUSTED, POINT_ESTIMATE, Evidence, judge, monte_carlo, tail_shapes
from .frame import Dense, Sparse, few_of, independent, sparse
from .lbfgs import minimise
from .low_rank import low_rank
from .mixture import LARGEST, LocalStein, Mixed, gather, weigh
from .natural import natural_gradient, polish
from .response import linear_response
from .sparse_newton import sparse_newton
from .starts import dispersed, loose_fits
from .trail import Rung
from .watch import Watch

FIRST_POOL, LARGEST_POOL, NUM_CHAINS = 8_000, 64_000, 128
LEAST = 4  # draws of the pool for each that is kept
LOOSE = 2.0  # nats at which a start stops: the guide's own fit goes on from there
RECENTRED = 0.2  # a smaller change of a centring is not worth another fit
LEAST_ACCEPTANCE = 0.5  # of the chains; their step size aims at 0.8
FAR, COLLINEAR = 1e4, 1e-6  # an sd of an unconstrained coordinate; an eigenvalue of the correlations
DIVERGENT = 0.002  # share of transitions from which on the chains are not trusted
DEAREST = 2**33  # numbers that a first pool reads
LARGEST_BLOCK = 2**25  # values held at once
MOST_RESPONSES = 64  # coordinates whose covariance linear response is asked for
SCOUTS = 2**21  # numbers among which places are looked for from where narrow modes are met
FEW_DIMENSIONS = 20  # up to which they can meet one
SEARCHED = 5  # dimensions up to which, where there are several modes, none much narrower is missed
ELSEWHERE = "another mode was reached by a dispersed start"
LARGEST_SEARCH = 2**17  # numbers per gradient from which on few places are searched for other modes
FAILURES = (MemoryError, ArithmeticError, np.linalg.LinAlgError, NotPositiveDefinite, RuntimeError)
CACHED = 2**17  # numbers that fit into a core's cache: larger batches are slower


@dataclass
class Law:
    """Where draws come from: weighted independent draws, or chains.

    Attributes
    ----------
    kind : {"guide", "psis", "mcmc"}
    z : numpy.ndarray, shape (S, dim)
    weights : numpy.ndarray or None
    num_chains : int
        Chains in `z`, chain-major; 0 for independent draws.
    held : float
        Autocorrelation times that the chains have moved along the direction that holds them most.
    """

    kind: str
    z: np.ndarray
    weights: np.ndarray | None = None
    num_chains: int = 0
    divergent: float = 0.0
    divergent_z: np.ndarray | None = None
    held: float = np.inf

    def inflation(self, values: np.ndarray):
        """Draws per effective draw of each column."""
        if not self.num_chains:
            return 1.0
        return inefficiency(values.reshape(self.num_chains, -1, values.shape[1]))

    def drift(self, values: np.ndarray, inflation) -> np.ndarray:
        """Change of mean, spread and 5% tails between the halves of the chains, beyond its noise, in sds."""
        if not self.num_chains:
            return np.zeros(values.shape[1])
        half = len(values) // self.num_chains // 2
        chains = values.reshape(self.num_chains, -1, values.shape[1])
        sd = np.where(values.std(0) > 0, values.std(0), 1.0)
        first, second = (
            chains[:, part].reshape(-1, values.shape[1]) for part in (slice(half), slice(half, None))
        )
        noise = 4.0 * np.sqrt(inflation / len(values))  # two standard errors of a difference
        shift = np.abs(first.mean(0) - second.mean(0)) / sd - noise
        spread = 0.5 * np.abs(first.std(0) - second.std(0)) / sd - noise
        edges = np.quantile(first, [0.05, 0.95], axis=0) - np.quantile(second, [0.05, 0.95], axis=0)
        tails = 0.6 * np.abs(edges).max(0) / sd - 2.0 * noise
        return np.maximum.reduce([shift, spread, tails, np.zeros_like(shift)])

    def resample(self, num_draws: int, rng) -> np.ndarray:
        """Indices of draws that have this law, each of equal weight, in random order."""
        count = len(self.z)
        if self.weights is None:
            if num_draws <= count:
                return rng.permutation(np.linspace(0, count - 1, num_draws).astype(int))
            return rng.choice(count, num_draws)
        order = rng.permutation(count)
        position = (rng.uniform() + np.arange(num_draws)) / num_draws
        chosen = order[np.minimum(np.searchsorted(np.cumsum(self.weights[order]), position), count - 1)]
        return rng.permutation(chosen)


@dataclass
class Outcome:
    """What the climb found."""

    guide: object
    params: dict
    law: Law
    khat: float
    elbo: tuple[float, float]
    stein: Stein | MarginalStein | LocalStein | None
    frame: Dense | Sparse
    pool: Pool | None
    condemned: str | None
    elbo_trace: list
    rungs: list[Rung] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    symmetries: list[Symmetry] = field(default_factory=list)
    twins: tuple[np.ndarray, list[np.ndarray]] = (np.zeros(0, int), [])
    response: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def sd(self) -> np.ndarray:
        """Sd of each coordinate: the guide's, or linear response's where it was asked for."""
        out = np.sqrt(self.frame.factor.variances())
        if self.response is not None:
            out[self.response[0]] = self.response[1]
        return out

    def mirrored(self, quantities: Callable[[np.ndarray], np.ndarray], values: np.ndarray) -> np.ndarray:
        """How far each quantity's law moves under the symmetries, beyond its noise: ``(symmetry, quantity)``.

        Parameters
        ----------
        quantities : callable
            ``quantities(z) -> values`` of shapes ``(S, dim)`` and ``(S, Q)``.
        values : numpy.ndarray
            ``quantities(law.z)``.
        """
        rows, images = self.twins
        if not images:
            return np.zeros((0, 1))
        inflation = self.law.inflation(values)
        return np.stack([moved(values[rows], quantities(image), inflation) for image in images])


def moved(before: np.ndarray, after: np.ndarray, inflation) -> np.ndarray:
    """Change of mean, spread and 5% tails of each column, beyond its noise, in sds."""
    sd = before.std(0)
    sd = np.where(sd > 0, sd, 1.0)
    noise = 5.0 * np.sqrt(np.asarray(inflation) / len(before))
    shift = np.abs(after.mean(0) - before.mean(0)) / sd - noise
    spread = np.abs(after.std(0) - before.std(0)) / sd - noise
    edges = np.quantile(before, [0.05, 0.95], axis=0) - np.quantile(after, [0.05, 0.95], axis=0)
    return np.maximum(0.0, np.maximum.reduce([shift, spread, 0.6 * np.abs(edges).max(0) / sd - 2 * noise]))


class Climb:
    """State of one fit; `run` gives the outcome."""

    def __init__(self, target, plan, seed: int, watch: Watch, start=None, named=False, num_draws=4000):
        self.target, self.plan, self.seed, self.watch = target, plan, seed, watch
        self.start, self.named, self.least = start, named, min(LEAST * num_draws, LARGEST_POOL)
        self.rungs: list[Rung] = []
        self.findings: list[Finding] = []
        self.elbo_trace: list = []
        self.best: Dense | Sparse | None = None
        self.last_bad: np.ndarray | None = None
        self.ends = np.zeros((0, target.dim))
        self.family, self.guide, self.factor, self.settled = plan.family, None, None, True
        self.response: tuple[np.ndarray, np.ndarray] | None = None

    def rng(self, stage: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, stage])

    def density(self, z, batch=None):
        """Log density and gradient with what is not finite marked as −inf."""
        with np.errstate(all="ignore"):
            value, grad = self.target.value_and_grad(z, batch=batch)
        bad = ~np.isfinite(value) | ~np.isfinite(grad).all(1)
        if bad.any():
            value, grad = np.where(bad, -np.inf, value), np.where(bad[:, None], 0.0, grad)
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

    def run(self) -> Outcome:
        """Climb, and keep what was reached when time or patience ends."""
        try:
            with self.watch.showing("looking for where the posterior lies"):
                self._starts()
            with self.watch.showing("fitting the guide"):
                self._fit()
        except KeyboardInterrupt:
            self.watch.interrupted = True
            self.rungs.append(Rung("interrupt", "", reason="interrupted: the best state so far is returned"))
        with self.watch.showing("measuring how wrong it may be"):
            return self._evidence()

    # -- starts ------------------------------------------------------------------------------------

    def _starts(self):
        before, begin = self.target.counter.num_gradients, time.perf_counter()
        rng, dim = self.rng(0), self.target.dim
        points = dispersed(rng, 3, dim)
        if self.start is not None:
            points = np.concatenate([np.atleast_2d(self.start), points[:2]])
        points = self._finite_points(points, rng)
        self.best = independent(points[0], np.full(dim, 0.1))
        centred, found = self.target, []
        loose = self.plan.family.name in {"full-rank", "structured"} and not centred.centring
        tolerance = LOOSE if loose else 0.1
        ends = (1.0, 0.0) if centred.centring else (1.0,)
        for share in ends:  # centred, then non-centred
            self._enter(centred.centred(dict.fromkeys(centred.centring, share)))
            with np.errstate(all="ignore"):
                fits = loose_fits(self.density, points, rng, tolerance=tolerance, callback=self.watch.stop)
            found.append((self.target, fits))
            points = points[:2]
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
        self._enter(after)
        if dense:
            moved = moved[1:][good[1:]]
            self.best = Dense(moved.mean(0), np.linalg.cholesky(np.cov(moved.T).reshape(len(mean), -1)))
        else:
            self.best = independent(moved[0], np.exp(units) / np.sqrt(precision))
        return True

    def _finite_points(self, points, rng):
        from ..ppl.errors import InferenceError, explain

        for radius in (2.0, 1.0, 0.3, 0.05, 5.0, 10.0):
            value, _ = self.density(points)
            good = np.isfinite(value)
            if good.all():
                return points
            if good.any():
                return np.concatenate([points[good], points[good][:1].repeat((~good).sum(), 0)])
            points = dispersed(rng, 8, self.target.dim, radius)
        raise InferenceError(
            explain(
                f"model '{self.target.program.name}'",
                "a log density that is finite somewhere near the origin of the unconstrained space",
                f"none at 48 points tried; {self._culprit(points[0])}",
                "check that the data lie in the support of the likelihood, or pass start=",
            )
        )

    def _culprit(self, z) -> str:
        values = {k: v[0] for k, v in self.target.constrain(z[None]).items()}
        values = {s.name: values[s.name] for s in self.target.sites}
        terms = self.target.log_joint_terms(values)
        bad = {name: value for name, value in terms.items() if not np.isfinite(value)}
        return "; ".join(f"site '{k}' gives {v}" for k, v in bad.items()) or "its gradient is not finite"

    # -- fit ---------------------------------------------------------------------------------------

    def _fit(self):
        before, begin = self.target.counter.num_gradients, time.perf_counter()
        plan = self.plan.refined(self.target, self.best.mean, 1 / np.sqrt(self.best.precision))
        self.family, self.guide, lower = plan.family, plan.guide, self.rungs[-1].elbo
        fits = {
            "mean-field": self._mean_field,
            "laplace": self._mode,
            "delta": self._mode,
            "full-rank": self._full_rank,
            "structured": self._structured,
            "low-rank": self._low_rank,
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
        if self.factor is not None and (
            plan.next is None or (poorer.name == "mean-field" and self.elbo_trace[-1] > lower)
        ):
            return  # not at rest, but better than what comes next
        before, begin = self.target.counter.num_gradients, time.perf_counter()
        self.family = poorer
        with self.attempt("fit", self.family.name):
            words = fits[self.family.name](self.rng(1))
            reason = f"the fit before it found no rest. {words}"
            self.rung("fit", self.family.name, before, begin, reason=reason)

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
            found = natural_gradient(self.density, *self._dense(), rng, callback=stop, keep=keep)
            self.elbo_trace += found.trace
            self.best = Dense(found.mean, found.scale_tril)
            if last or stop() or not np.isfinite(found.elbo) or not self._recentre():
                break
        words = f"natural gradient: {found.reason} after {len(found.trace)} steps"
        if not found.converged and found.reason not in {"flat direction", "stopped"}:
            better = polish(self.density, *self._dense(), rng, callback=stop)
            if np.isfinite(better.elbo) and better.elbo > found.elbo - 0.5:
                self.elbo_trace += better.trace
                self.best = Dense(better.mean, better.scale_tril)
                words += "; polished on fixed draws"
        return words

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
            guide = self.guide or self.family.bind(self.target, mean, sd)

            def keep(mean, factor):
                self.best, self.factor = sparse(mean, factor), factor

            self.guide = guide
            found = sparse_newton(self.density, guide, mean, sd, rng, callback=stop, keep=keep)
            self.elbo_trace += found.trace
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
        self.elbo_trace += found.trace
        keep(found.mean, found.factor)
        words = "" if found.complete else "; other directions are left out, the sds may be too small"
        return f"{len(found.factor.width)} directions; {found.reason} after {len(found.trace)} steps{words}"

    def _foreign(self):
        from ..ppl.errors import GuideError, explain

        raise GuideError(
            explain(
                "guide",
                "a family that fit can optimise: structured, full-rank, low-rank, mean-field, laplace or delta",
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

    # -- evidence ----------------------------------------------------------------------------------

    def _evidence(self) -> Outcome:
        family, frame = self.family, self.best
        factored = family.name in {"structured", "low-rank"}
        if factored and self.factor is None:  # interrupted before its first step
            family, factored = MeanField(), False
        guide = self.guide if family.name == "structured" else family.bind(self.target)
        if family.name == "delta":
            params = guide.init({"mean": frame.mean})
            law = Law("guide", np.repeat(frame.mean[None], 2, 0))
            return self._outcome(guide, params, law, np.nan, (-np.inf, np.nan), None, None, POINT_ESTIMATE)
        start = frame.start | ({"factor": self.factor} if factored else {})
        params = dict(guide.init(start))
        before, begin = self.target.counter.num_gradients, time.perf_counter()
        rng = self.rng(2)
        size = FIRST_POOL if not self.watch.stop() else 2_000
        size = int(np.clip(2 * (LARGEST_BLOCK // (2 * len(frame.mean))), 200, size))
        size = int(np.clip(2 * (DEAREST // (2 * self.target.work)), min(size, 1_000), size))
        pool = None
        try:
            with self.attempt("evidence", f"{family.name} + psis"):
                pool = draw_pool(self.density, guide, params, size, rng)
        except KeyboardInterrupt:
            self.watch.interrupted = True
        if pool is None:
            pool = draw_pool(self.density, guide, params, min(size, 1_000), rng)
        law, residual, condemned = self._weigh(pool, guide, params, frame)
        symmetries: list[Symmetry] = []
        found: list[Elsewhere] = []
        khat: float | None = None
        try:
            if condemned is None and not self._short(law, pool, residual) and pool.khat < 0.7:
                with self.attempt("evidence", f"{family.name} + psis"):
                    pool, law, residual = self._enlarge(pool, guide, params, frame, rng)
            self.rung(
                "evidence",
                f"{family.name} + psis",
                before,
                begin,
                elbo=pool.elbo[0],
                elbo_se=pool.elbo[1],
                khat=pool.khat,
                reason=f"{len(pool.z)} fresh draws, effective {pool.size:.0f}",
            )
            if condemned is None and self._short(law, pool, residual) and not self.named:
                with self.watch.showing("short chains from the guide"), self.attempt("short chains", "hmc"):
                    law = self._chains(pool, frame, rng) or law
            self._directions(law, frame)
            before, begin = self.target.counter.num_gradients, time.perf_counter()
            searched = False
            with self.attempt("other modes", "mean-field"):
                symmetries = self._symmetries(law.z[law.resample(3, self.rng(5))])
                if condemned is None:
                    found = self._other_modes(law, pool, frame, symmetries, rng)
                words = f"{len(found)} starts ended elsewhere" if found else "nothing elsewhere"
                if symmetries:
                    words += f"; symmetric under {symmetries[0].words}"
                self.rung("other modes", "mean-field", before, begin, reason=words)
                searched = True
            if not searched and condemned is None:
                condemned = "the search for other modes failed"
            if condemned is None and (found or self._stuck(law)):
                mixed: Mixed | str = "the fit of the modes failed"
                condemned = ELSEWHERE if found else None  # until all of them are weighed
                with self.attempt("modes", "mixture"):
                    mixed = self._modes(law, found, frame, symmetries)
                if isinstance(mixed, Mixed):
                    guide, params, pool, residual = mixed.guide, mixed.params, mixed.pool, mixed.stein
                    law, khat, self.best = Law("psis", pool.z, pool.weights), mixed.khat, mixed.frame
                    symmetries, condemned = self._symmetries(mixed.scattered(self.rng(5))), None
                elif found:
                    self._tell(found, mixed)
            if law.kind == "guide" and isinstance(frame, Sparse) and isinstance(residual, MarginalStein):
                with self.attempt("linear response", family.name):
                    law = self._respond(law, frame)
        except KeyboardInterrupt:
            self.watch.interrupted = True
            self.rungs.append(Rung("interrupt", "", reason="interrupted: the best state so far is returned"))
        khat = pool.khat if khat is None else khat
        outcome = self._outcome(guide, params, law, khat, pool.elbo, residual, pool, condemned)
        rows = law.resample(min(4000, len(law.z)), self.rng(6))
        outcome.symmetries, outcome.response = symmetries, self.response
        outcome.twins = (rows, [symmetry.apply(law.z[rows])[0] for symmetry in symmetries])
        return outcome

    def _respond(self, law, frame) -> Law:
        """The guide's draws, the covariance of the sites with few elements corrected by linear response."""
        before, begin = self.target.counter.num_gradients, time.perf_counter()
        few = few_of(self.target)
        if self.family.name == "structured" or not 0 < len(few) <= MOST_RESPONSES:
            return law
        factor = frame.factor
        if isinstance(factor, Factor):
            factor = LowRankFactor.diagonal(1 / np.sqrt(factor.precision_diagonal))
        stop = self.watch.stop
        found = linear_response(self.density, frame.mean, factor, few, self.rng(10), callback=stop)
        sd = np.sqrt(factor.variances()[few])
        known = np.isfinite(found.error).all() and found.converged.all()
        ratio = found.sd / sd
        words = (
            f"sds of {len(few)} quantities times {ratio.min():.2f} to {ratio.max():.2f}"
            if known
            else "no answer: the mean curvature is not positive, or too many steps"
        )
        self.rung("linear response", self.family.name, before, begin, reason=words)
        if not known:
            return law
        x = law.z[:, few] - frame.mean[few]
        own = np.linalg.cholesky(np.cov(x.T).reshape(len(few), -1))
        z = law.z.copy()
        z[:, few] = frame.mean[few] + np.linalg.solve(own, x.T).T @ np.linalg.cholesky(found.covariance).T
        self.response = few, found.sd
        return Law("guide", z)

    def _directions(self, law, frame) -> None:
        """Findings on what the data do not hold apart, or do not hold at all."""
        far = law.z.std(0)
        known = any(f.name == "flat direction" for f in self.findings)
        if law.held < 3 and far.max() > FAR and not known:
            names = [self.target.labels[i] for i in np.argsort(-far)[:3] if far[i] > FAR]
            self.findings.append(
                Finding(
                    "flat direction",
                    names[0],
                    float(far.max()),
                    FAR,
                    "untrusted",
                    f"The posterior may be improper: {', '.join(names)} can grow without bound. Where a predictor "
                    "separates the outcomes, or a site has no proper prior, give it one.",
                )
            )
        if not isinstance(frame, Dense) or len(frame.mean) < 2:
            return
        covariance = frame.scale @ frame.scale.T
        unit = 1 / np.sqrt(np.diag(covariance))
        eig, vec = np.linalg.eigh(covariance * unit[:, None] * unit)
        if eig[0] < COLLINEAR:
            order = np.argsort(-np.abs(vec[:, 0]))
            names = [self.target.labels[i] for i in order[:4] if abs(vec[i, 0]) > 0.1]
            self.findings.append(
                Finding(
                    "collinear",
                    names[0],
                    float(eig[0]),
                    COLLINEAR,
                    "ok",
                    f"The data hardly tell {', '.join(names)} apart: a combination of them is known a thousand "
                    "times better than each. Look for predictors that are sums or copies of others.",
                )
            )

    def _symmetries(self, z) -> list[Symmetry]:
        """Symmetries at some points; they are looked for where every site is centred."""
        own = self.target
        plain = own.centred(dict.fromkeys(own.centring, 1.0))
        try:
            self.target = plain
            found = find(plain, self.density, carry(own, plain, z))
        finally:
            self.target = own
        if not own.centring:
            return found

        def across(apply):
            return lambda z: (carry(plain, own, apply(carry(own, plain, z))[0]), np.zeros(len(z)))

        return [Symmetry(symmetry.words, across(symmetry.apply)) for symmetry in found]

    def _weigh(self, pool, guide, params, frame):
        if isinstance(frame, Sparse):
            law = (
                Law("psis", pool.z, pool.weights)
                if pool.khat < 0.7
                else Law("guide", pool.z[pool.from_guide])
            )
            return law, marginal_stein(frame, pool, law.weights is not None), None
        residual = stein(frame.coordinates(pool.z), frame.gradients(pool.grad), pool.weights)
        condemned = None
        eig, vec = residual.curvature
        if eig[0] < 0.05 and frame.widest > 1e4:
            worst = frame.points(vec[:, :1].T)[0] - frame.mean
            names = [self.target.labels[i] for i in np.argsort(-np.abs(worst))[:3]]
            condemned = f"flat direction: nothing in model or data holds {', '.join(names)}"
            self.findings.append(
                Finding(
                    "flat direction",
                    names[0],
                    float(eig[0]),
                    0.05,
                    "untrusted",
                    f"The posterior may be improper: {', '.join(names)} can grow without bound. "
                    "Give these sites proper priors or remove redundant terms.",
                )
            )
        kind = "psis" if pool.khat < 0.7 else "guide"
        if kind == "guide" and not self.named:
            kind = "psis" if pool.khat < 1.0 else "guide"
        weights = pool.weights if kind == "psis" else None
        law = Law(kind, pool.z, weights)
        if kind == "guide":
            own = pool.from_guide
            law = Law("guide", pool.z[own])
        return law, residual, condemned

    def values(self, law: Law, limit: int | None = None) -> tuple[np.ndarray, list]:
        """Values of every scalar quantity, shape ``(S, Q)``, and what the columns are."""
        return quantity_values(self.target, law.z)

    def _short(self, law, pool, residual) -> bool:
        """Whether the weighted draws leave something to establish that chains could."""
        wide = isinstance(residual, MarginalStein)
        if law.kind != "psis" or pool.khat >= 0.4 or (pool.size < 0.15 * len(pool.z) and not wide):
            return True
        location, scale = residual.typical(few_of(self.target)) if wide else residual.worst
        return bool(location > 0.15 or scale > 0.3)

    def _enlarge(self, pool, guide, params, frame, rng):
        law, residual, _ = self._weigh(pool, guide, params, frame)
        least = min(self.least, DEAREST // self.target.work)
        while len(pool.z) < LARGEST_POOL and not self.watch.stop():
            values, _ = self.values(law)
            noise = monte_carlo(estimate(values, law.weights))
            held = values.shape[1] * len(pool.z)
            moving = values.std(0) > 1e-12 * np.abs(values.mean(0))
            if len(pool.z) >= least and (not moving.any() or noise[moving].max() < 0.9):
                break
            if held > LARGEST_BLOCK:
                break
            pool = pool.joined(draw_pool(self.density, guide, params, len(pool.z), rng))
            law, residual, _ = self._weigh(pool, guide, params, frame)
            if law.kind != "psis":
                break
        return pool, law, residual

    def _other_modes(self, law, pool, frame, symmetries, rng) -> list[Elsewhere]:
        """Places away from the draws, or narrow ones among them, that hold comparable mass."""
        if self.watch.stop():
            return []
        x = frame.coordinates(law.z)

        def within(size):
            if law.weights is None:
                return float(np.quantile(size, 0.999))
            order = np.argsort(size)
            mass = np.cumsum(law.weights[order])
            return float(size[order][np.searchsorted(mass, 0.999 * mass[-1])])

        radius, widest = within(np.linalg.norm(x, axis=1)), within(np.abs(x).max(1))
        outside = np.linalg.norm(frame.coordinates(pool.z), axis=1) > radius + 1
        leads = pool.z[outside][np.argsort(-pool.log_weights[outside])[:4]]
        leads = np.concatenate([leads, self.ends])
        count = 2 * int(np.clip(LARGEST_SEARCH // self.target.work, 4, 16))
        if self.target.work > LARGEST_SEARCH:
            leads, count = self.ends[:1], 2
        scouts = self._scouts if self.target.dim <= FEW_DIMENSIONS else 0

        def mass(inside):
            return inside(x).mean() if law.weights is None else law.weights[inside(x)].sum()

        stop, mass = self.watch.stop, mass if scouts else None
        found = search(self.density, frame, radius, widest, rng, leads, count, scouts, mass, stop)
        return [f for f in found if f.among or not at_home(f.z, frame, radius, widest, symmetries)]

    @property
    def _scouts(self) -> int:
        return int(np.clip(SCOUTS // self.target.work, 256, 2048))

    def _stuck(self, law) -> bool:
        """Whether chains leave something open that several modes would explain."""
        if law.kind != "mcmc":
            return False
        values, _ = self.values(law)
        live = values.std(0) > 1e-12 * np.abs(values.mean(0))
        if not live.any():
            return False
        inflation = law.inflation(values)
        moved = len(law.z) / law.num_chains / np.broadcast_to(inflation, live.shape)
        return bool(law.held < 3 or moved[live].min() < 12 or law.drift(values, inflation)[live].max() > 0.1)

    def _modes(self, law, found, frame, symmetries) -> Mixed | str:
        """Gaussians at all modes, weighed; or why that does not establish their masses."""
        if self.named or not isinstance(frame, Dense) or len(frame.mean) > LARGEST:
            return "no mixture is fitted beside a guide named by the user, or in many dimensions"
        before, begin = self.target.counter.num_gradients, time.perf_counter()
        rng, stop = self.rng(10), self.watch.stop
        leads = np.stack([f.z for f in found]) if found else law.z[law.resample(16, rng)]
        mixed: Mixed | str
        with self.watch.showing("fitting the other modes"):
            parts = gather(self.density, frame, leads, rng, symmetries, self._scouts, stop)
            if isinstance(parts, str):
                mixed = parts
            elif len(parts) == 1:
                mixed = "fits from there did not end at another mode"
            else:
                mixed = weigh(self.density, parts, FIRST_POOL, rng)
                while mixed.khat < 0.7 and len(mixed.pool.z) < LARGEST_POOL and not stop():
                    values, _ = quantity_values(self.target, mixed.pool.z)
                    noise = monte_carlo(estimate(values, mixed.pool.weights))
                    moving = values.std(0) > 1e-12 * np.abs(values.mean(0))
                    enough = len(mixed.pool.z) >= self.least and noise[moving].max(initial=0.0) < 0.9
                    if enough or values.size > LARGEST_BLOCK:
                        break
                    mixed = mixed.enlarged(self.density, rng)
        words, measured = mixed, {}
        if isinstance(mixed, Mixed):
            masses = ", ".join(f"{mass:.2g}" for mass in mixed.masses)
            words = f"{len(mixed.masses)} Gaussians with masses {masses}"
            measured = {"elbo": mixed.pool.elbo[0], "elbo_se": mixed.pool.elbo[1], "khat": mixed.khat}
            if mixed.khat >= (0.7 if found else KHAT_TRUSTED):
                words = mixed = f"the weights of {words} are heavy-tailed (k̂ {mixed.khat:.2f})"
        self.rung("modes", "mixture", before, begin, reason=words, **measured)
        if isinstance(mixed, Mixed) and mixed.apart > 3:
            self.findings.append(
                Finding(
                    "several modes",
                    "fit",
                    float(len(mixed.masses)),
                    None,
                    "ok",
                    f"The posterior has {len(mixed.masses)} modes, with masses {masses}; the nearest lie "
                    f"{mixed.apart:.0f} sds apart. They are fitted and weighed together. Means and sds describe "
                    "no single mode: look at the draws. A much narrower mode, in many dimensions above all, may be "
                    "met by no start.",
                )
            )
        return mixed

    def _tell(self, found, why) -> None:
        best = max(found, key=lambda f: f.elbo_gap)
        self.findings.append(
            Finding(
                "several modes",
                "fit",
                best.elbo_gap,
                -7.0,
                "untrusted",
                f"A start ended {best.distance:.0f} sds away with an ELBO {best.elbo_gap:+.1f} nats from "
                f"the fit's: the posterior seems to have another mode, and its mass is not known: {why}. "
                "Check for symmetries (labels, signs) and order or anchor the parameters.",
            )
        )

    def _chains(self, pool, frame, rng):
        before, begin = self.target.counter.num_gradients, time.perf_counter()
        wide, work = isinstance(frame, Sparse), self.target.work
        count = NUM_CHAINS if self.target.dim <= 100 or wide else 2 * NUM_CHAINS
        # seconds on any machine, and the same gradients on all: same seed, same result
        budget, accept = int(np.clip(1e9 / work, 5e5, 1e6)), 0.8
        if wide or work > LARGEST_SEARCH:
            budget = int(min((4e9 if wide else 4e10) / work, 5e5))
            count = min(count, 4 * LARGEST_BLOCK // (80 * self.target.dim), budget // 800)
            if count < 32:
                return None
        # weights that fail say little of where the mass is: then from where the guide has it
        chance = np.minimum(pool.weights, 4.0 / count) if pool.khat < 0.7 else 1.0 * pool.from_guide
        start = pool.z[rng.choice(len(pool.z), count, p=chance / chance.sum())]
        batch = NUM_CHAINS if NUM_CHAINS * self.target.work < CACHED else None
        length, chains, result, held = 80, None, None, False
        while True:
            with np.errstate(all="ignore"):
                more = short_chains(
                    partial(self.density, batch=batch),
                    start,
                    frame,
                    rng,
                    num_warmup=0 if held else 40,
                    num_draws=length,
                    callback=self.watch.stop,
                    target=accept,
                    step_size=chains.step_size if held else None,
                    renew=chains is None and not wide,
                )
            if not held and more.z.shape[1] < 40:
                break
            chains = chains.joined(more) if held else more
            flat = chains.z.reshape(-1, self.target.dim)
            held_by = slowest(frame.coordinates(flat).reshape(count, -1, self.target.dim))
            law = Law("mcmc", flat, None, count, chains.divergent, chains.divergent_z, held_by)
            values, _ = self.values(law)
            inflation = law.inflation(values)
            noise = monte_carlo(estimate(values, None, inflation))
            moving = values.std(0) > 1e-12 * np.abs(values.mean(0))
            drawn = chains.z.shape[1]
            noise = noise[moving].max(initial=0.0)
            moved = (drawn / np.broadcast_to(inflation, moving.shape))[moving].min(initial=np.inf)
            wild = chains.divergent > DIVERGENT / 2
            first, result = result is None, (law, chains)
            spent = self.target.counter.num_gradients - before
            ahead = more.num_gradients * drawn / more.z.shape[1]
            growth = max((noise / 0.9) ** 2, 13 / moved)  # of the chains until all is settled
            worthwhile = drawn < 320 or growth * spent < budget / 2 or 1.5 < moved < 3
            if (
                (growth < 1 and not wild)
                or not worthwhile
                or self.watch.stop()
                or spent + ahead > budget
                or 2 * values.size > 4 * LARGEST_BLOCK
                or drawn >= 1280
            ):
                break
            start = chains.z[:, -1]
            held = not first and not (wild and accept == 0.8)
            if wild:
                accept = 0.95
            length = drawn if held else 160
            if not held and not wide:
                frame = Dense(
                    flat.mean(0), np.linalg.cholesky(np.cov(flat.T) + 1e-12 * np.eye(flat.shape[1]))
                )
        if result is None:
            return None
        law, chains = result
        if chains.accept < LEAST_ACCEPTANCE:
            law.held = 0.0
            self.findings.append(
                Finding(
                    "short chains",
                    "fit",
                    chains.accept,
                    LEAST_ACCEPTANCE,
                    "untrusted",
                    f"The chains accept {chains.accept:.0%} of their steps: no step size suits the whole of this "
                    "posterior. Its tails may be very heavy, or its scales far apart.",
                )
            )
        if chains.divergent > DIVERGENT:
            self.findings.append(
                Finding(
                    "divergences",
                    "fit",
                    chains.divergent,
                    DIVERGENT,
                    "caution",
                    f"{chains.divergent:.1%} of the chains' transitions diverged: a region of high curvature is "
                    "not explored. A non-centred parametrisation often mends it.",
                )
            )
        self.rung(
            "short chains",
            "hmc",
            before,
            begin,
            reason=f"{count} chains × {chains.z.shape[1]} draws, acceptance {chains.accept:.2f}",
        )
        return law

    def _outcome(self, guide, params, law, khat, elbo, residual, pool, condemned) -> Outcome:
        return Outcome(
            guide,
            params,
            law,
            khat,
            elbo,
            residual,
            self.best,
            pool,
            condemned,
            self.elbo_trace or [r.elbo for r in self.rungs if np.isfinite(r.elbo)],
            self.rungs,
            self.findings,
        )


def quantity_values(target, z) -> tuple[np.ndarray, list]:
    """Values of every scalar quantity at unconstrained draws.

    Returns
    -------
    tuple
        Array ``(S, Q)`` and a list of ``(site name, shape)`` in column order.
    """
    constrained = target.constrain(z)
    layout, columns = [], []
    for site in target.trace.by_role("latent", "deterministic"):
        value = constrained[site.name]
        if value.dtype.kind not in "fiub":
            continue
        layout.append((site.name, value.shape[1:]))
        columns.append(value.reshape(len(z), -1).astype(np.float64))
    return np.concatenate(columns, 1) if columns else np.zeros((len(z), 0)), layout


def verdicts_of(
    outcome: Outcome, values: np.ndarray, rng, at_divergences=None, at_pool=None, mirrored=None, known=None
):
    """Estimates and verdicts of quantities given their values at the law's draws.

    Parameters
    ----------
    outcome : Outcome
    values : numpy.ndarray, shape (S, Q)
    at_divergences : numpy.ndarray, shape (K, Q), optional
        Their values where transitions diverged: a quantity that is extreme there is not established.
    at_pool : numpy.ndarray, shape (S', Q), optional
        Their values at the importance pool: where its weights are usable, chains must agree with them.
    mirrored : numpy.ndarray, shape (symmetries, Q), optional
        How far their laws move under the posterior's symmetries, see `Outcome.mirrored`.
    known : Coordinates, optional
        Which quantities are coordinates of the guide; what a guide of many dimensions is judged by.

    Returns
    -------
    tuple of Estimates and Verdicts
    """
    law = outcome.law
    inflation = law.inflation(values)
    found = estimate(values, law.weights, inflation)
    count = values.shape[1]
    zero = np.zeros(count)
    location, scale, moved, missed, alone = zero, zero, np.full(count, np.inf), zero, zero
    obstacle: dict[str, str] = {}
    khat = outcome.khat if law.kind != "mcmc" else None
    if law.num_chains:
        moved = len(law.z) / law.num_chains / np.broadcast_to(inflation, (count,))
        live = found.sd > 1e-12 * np.abs(found.mean)
        if law.held < 3 or (
            live.any() and moved[live].min() < 3
        ):  # one direction that hardly moves may hold the others
            moved = np.minimum(moved, 9.0)
        if law.held <= 0:
            moved = np.zeros(count)
        if law.divergent > DIVERGENT:
            missed = np.ones(count)
            if at_divergences is not None and law.divergent < 10 * DIVERGENT:
                missed = np.abs(at_divergences.mean(0) - found.mean) / np.where(found.sd > 0, found.sd, 1.0)
    elif isinstance(outcome.stein, LocalStein):
        location, scale = outcome.stein.of(values)
        if outcome.guide.dim > SEARCHED:
            alone, obstacle = (
                np.ones(count),
                {"words": "several modes were found, and others may have been missed"},
            )
    elif isinstance(outcome.stein, MarginalStein):
        location, scale = outcome.stein.of(known, count)
        if law.weights is None:
            khat, alone = None, np.ones(count)
            found = found if known is None else known.exactly(found)
    elif outcome.stein is not None:
        x = outcome.frame.coordinates(law.z)
        weights = law.weights if law.weights is not None else np.full(len(x), 1 / len(x))
        location, scale = outcome.stein.along(directions(x, values, weights))
    with np.errstate(all="ignore"):
        shape = tail_shapes(values, law.weights, rng)
    condemned = outcome.condemned
    if outcome.guide.family.name == "delta":
        condemned = POINT_ESTIMATE
    drift = law.drift(values, inflation)
    if at_pool is not None and law.num_chains and outcome.khat < KHAT_TRUSTED:
        weighed = estimate(at_pool, outcome.pool.weights)
        error = np.hypot(weighed.mean_se, found.mean_se)
        with np.errstate(divide="ignore", invalid="ignore"):
            gap = (np.abs(weighed.mean - found.mean) - 4 * error) / found.sd
            noise = np.hypot(weighed.sd_se, found.sd_se)
            spread = 0.5 * (np.abs(weighed.sd - found.sd) - 4 * noise) / found.sd
        drift = np.maximum(drift, np.nan_to_num(np.maximum(gap, spread), nan=0.0))
    unequal, words = zero, [""] * count
    if mirrored is not None and len(mirrored):
        unequal = mirrored.max(0)
        words = [outcome.symmetries[k].words for k in mirrored.argmax(0)]
    evidence = Evidence(
        khat, location, scale, drift, moved, missed, alone, shape, condemned, unequal, words, **obstacle
    )
    return found, judge(found, evidence)
