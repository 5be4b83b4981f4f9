"""The climb: starts, a guide, evidence, and richer evidence where the first is not enough."""

from __future__ import annotations

import time
from functools import partial

import numpy as np

from ...guides import Flow, MeanField
from ...guides.low_rank import LowRankFactor
from ...guides.sparse import Factor
from ...ppl.interrupts import came, held, interruptible
from .centring import carry
from ..run.checkpoint import Checkpoint
from ..evidence.chains import short_chains, slowest
from ..evidence.estimates import estimate
from ..evidence.finding import Finding
from ..evidence.modes import Elsewhere, at_home, search
from ..evidence.pool import draw_pool
from ..evidence.stein import MarginalStein, marginal_stein, stein
from ..evidence.symmetry import Symmetry, find
from ..evidence.verdicts import KHAT_TRUSTED, MEAN, POINT_ESTIMATE, SD, monte_carlo
from .fitting import Fitting
from ..engines.flow import affordable, around, covers, fit_flow, log_evidence, reaches
from ..evidence.frame import Dense, Sparse, few_of
from ..evidence.mixture import LARGEST, Mixed, gather, missed, weigh
from ..evidence.outcome import DIVERGENT, Law, Outcome, quantity_values
from ..engines.response import linear_response
from ..run.trail import Rung
from ..run.watch import Watch

FIRST_POOL, LARGEST_POOL, LEAN_POOL, NUM_CHAINS = 8_000, 64_000, 1_000, 128
LEAST = 4  # draws of the pool for each that is kept
LEAST_ACCEPTANCE = 0.5  # of the chains; their step size aims at 0.8
FAR, COLLINEAR = 1e4, 1e-6  # an sd of a coordinate, in its unit; an eigenvalue of the correlations
DEAREST = 2**33  # numbers that a first pool reads
LARGEST_BLOCK = 2**25  # values held at once
MOST_RESPONSES = 64  # coordinates whose covariance linear response is asked for
SCOUTS = 2**21  # numbers among which places are looked for from where narrow modes are met
FEW_DIMENSIONS = 20  # up to which they can meet one
ELSEWHERE = "another mode was reached by a dispersed start"
LARGEST_SEARCH = 2**17  # numbers per gradient from which on few places are searched for other modes
CACHED = 2**17  # numbers that fit into a core's cache: larger batches are slower


class Climb(Fitting):
    """State of one fit; `run` gives the outcome."""

    def __init__(self, target, plan, seed: int, watch: Watch, start=None, named=False, num_draws=4000):
        super().__init__(target, plan, seed, watch, start)
        self.checkpoint = Checkpoint(None, {})
        self.plain = True  # flows and mixtures are worth their while
        self.lean = False  # chains follow anyway: only what they start from is asked of the evidence
        self.named, self.least = named, min(LEAST * num_draws, LARGEST_POOL)
        self.response: tuple[np.ndarray, np.ndarray] | None = None

    @held(answered=True)
    def run(self) -> Outcome:
        """Climb, and keep what was reached when time or patience ends."""
        try:
            with interruptible():
                self._stage("starts", "looking for where the posterior lies", self._starts)
                self._stage("fit", "fitting the guide", self._fit)
        except KeyboardInterrupt:
            if self.best is None:
                raise
            self._interrupted()
        with self.watch.showing("measuring how wrong it may be"):
            return self._evidence()

    def _interrupted(self) -> None:
        self.watch.interrupted = True
        if not any(rung.name == "interrupt" for rung in self.rungs):
            self.rungs.append(Rung("interrupt", "", reason="interrupted: the best state so far is returned"))

    def _stage(self, name: str, words: str, run) -> None:
        """Run a stage, or take what it led to before the fit was broken off."""
        kept = self.checkpoint
        if kept.ended(name):
            if kept.stage == name:
                self.restore(*kept.state)
            return
        with self.watch.showing(words):
            run()
        plain = self.factor is None and self.flown is None  # others are made again
        if plain and not self.watch.stop():
            kept.finish(name, *self.snapshot())

    def _evidence(self) -> Outcome:
        family, frame = self.family, self.best
        factored = family.name in {"structured", "low-rank"}
        if factored and self.factor is None:  # interrupted before its first step
            family, factored = MeanField(), False
        bound = family.name == "structured" or self.flown is not None
        guide = self.guide if bound else family.bind(self.target)
        if family.name == "delta":
            params = guide.init({"mean": frame.mean})
            law = Law("guide", np.repeat(frame.mean[None], 2, 0))
            return self._outcome(guide, params, law, np.nan, (-np.inf, np.nan), None, None, POINT_ESTIMATE)
        start = frame.start | ({"factor": self.factor} if factored else {})
        params = dict(guide.init(start) if self.flown is None else self.flown.params)
        before, begin = self.target.counter.num_gradients, time.perf_counter()
        rng = self.rng(2)
        size = LEAN_POOL if self.lean else FIRST_POOL if not self.watch.stop() else 2_000
        size = int(np.clip(2 * (LARGEST_BLOCK // (2 * len(frame.mean))), 200, size))
        size = int(np.clip(2 * (DEAREST // (2 * self.target.work)), min(size, 1_000), size))
        pool = None
        try:
            with interruptible(), self.attempt("evidence", f"{family.name} + psis"):
                pool = draw_pool(self.density, guide, params, size, rng)
        except KeyboardInterrupt:
            self.watch.interrupted = True
        if pool is None:
            pool = draw_pool(self.density, guide, params, min(size, 1_000), rng)
        if family.name == "flow":
            frame = self.best = around(pool)
        law, residual, condemned = self._weigh(pool, guide, params, frame)
        symmetries: list[Symmetry] = []
        found: list[Elsewhere] = []
        khat: float | None = None
        try:
            with interruptible():
                enlarged = condemned is None and not self.lean and pool.khat < 0.7
                if enlarged and (
                    family.name == "flow" or not self._short(law, pool, residual)
                ):  # no chains follow it
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
                chains = condemned is None and not self.named and not self.lean
                if chains and self._short(law, pool, residual):
                    with (
                        self.watch.showing("short chains from the guide"),
                        self.attempt("short chains", "hmc"),
                    ):
                        law = self._chains(pool, frame, rng) or law
                self._directions(law, frame)
                before, begin = self.target.counter.num_gradients, time.perf_counter()
                searched = False
                with self.attempt("other modes", "mean-field"):
                    symmetries = self._symmetries(law.z[law.resample(3, self.rng(5))])
                    if condemned is None:
                        found = self._other_modes(
                            law, pool, frame, symmetries, rng, hasattr(guide, "pullback")
                        )
                    words = f"{len(found)} starts ended elsewhere" if found else "nothing elsewhere"
                    if symmetries:
                        words += f"; symmetric under {symmetries[0].words}"
                    self.rung("other modes", "mean-field", before, begin, reason=words)
                    searched = True
                if not searched and condemned is None:
                    condemned = "the search for other modes failed"
                bends = chains and self.plain and isinstance(frame, Dense) and not self.watch.stop()
                bends = bends and affordable(self.target, Flow()) > 0
                flown = None
                if bends and self._wild(law) and not (found or condemned):
                    flown = self._bend(law, frame, found, symmetries, rng)
                if flown is not None:
                    guide, params, pool, law, residual, self.best = flown
                if condemned is None and (found or self._stuck(law)):
                    mixed: Mixed | str = "the fit of the modes failed"
                    condemned = ELSEWHERE if found else None  # until all of them are weighed
                    with self.attempt("modes", "mixture"):
                        mixed, away = self._modes(law, found, frame, symmetries)
                        found += away
                    if isinstance(mixed, Mixed):
                        guide, params, pool, residual = mixed.guide, mixed.params, mixed.pool, mixed.stein
                        law, khat, self.best = Law("psis", pool.z, pool.weights), mixed.khat, mixed.frame
                        symmetries, condemned = self._symmetries(mixed.scattered(self.rng(5))), None
                    elif found:
                        flown = self._bend(law, frame, found, symmetries, rng) if bends else None
                        if flown is not None:
                            guide, params, pool, law, residual, self.best = flown
                            condemned = None
                        else:
                            condemned = ELSEWHERE
                            self._tell(found, mixed)
                if law.kind == "guide" and isinstance(frame, Sparse) and isinstance(residual, MarginalStein):
                    with self.attempt("linear response", family.name):
                        law = self._respond(law, frame)
        except KeyboardInterrupt:
            self._interrupted()
        if came():
            self._interrupted()
        khat = pool.khat if khat is None else khat
        outcome = self._outcome(guide, params, law, khat, pool.elbo, residual, pool, condemned)
        rows = law.resample(min(4000, len(law.z)), self.rng(6))
        outcome.symmetries, outcome.response = symmetries, self.response
        outcome.twins = (rows, [symmetry.apply(law.z[rows])[0] for symmetry in symmetries])
        return outcome

    def _wild(self, law) -> bool:
        """Whether chains leave open what longer ones would not settle either."""
        most = DIVERGENT if self.target.dim <= FEW_DIMENSIONS else 5 * DIVERGENT
        return law.kind == "guide" or law.held <= 0 or law.divergent > most

    def _bend(self, law, frame, found, symmetries, rng):
        """A flow whose weighted draws stand for the posterior in place of `law`, or None.

        It has to cover the draws of the chains and the places `found` elsewhere, and no other may be found.
        """
        before, begin, stop = self.target.counter.num_gradients, time.perf_counter(), self.watch.stop
        findings = list(self.findings)
        with self.watch.showing("fitting a flow"), self.attempt("flow", "flow"):
            guide = Flow().bind(self.target)
            start = guide.init(frame.start)
            most = affordable(self.target, guide.family)
            flown = fit_flow(self.density, self.target, guide, start, rng, most, stop)
            pool = draw_pool(self.density, guide, flown.params, FIRST_POOL, rng)
            frame, words = around(pool), flown.words
            weighed, residual, _ = self._weigh(pool, guide, flown.params, frame)
            if pool.khat < 0.7:
                pool, weighed, residual = self._enlarge(pool, guide, flown.params, frame, rng)
            location, scale = residual.worst
            sound = pool.khat < 0.7 and location < MEAN and scale < 2 * SD
            z = law.z[law.resample(4000, rng)]
            if sound and not covers(guide, flown.params, pool, z, self.density(z)[0]):
                sound, words = False, f"{words}; chains were where it has no mass"
            elif sound and found:
                away = [f for f in found if not reaches(guide, flown.params, pool, f.z)]
                away += self._other_modes(weighed, pool, frame, symmetries, rng, True)
                if away:
                    sound, words = False, f"{words}; {len(away)} starts ended outside of it"
            measured = {"elbo": pool.elbo[0], "elbo_se": pool.elbo[1], "khat": pool.khat}
            self.rung("flow", "flow + psis", before, begin, reason=words, **measured)
            if sound:
                self.findings = [f for f in self.findings if f.name not in {"short chains", "divergences"}]
                return guide, flown.params, pool, weighed, residual, frame
        self.findings = findings  # what was found of a flow that is not taken says nothing of the posterior
        return None

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
        far = law.z.std(0) / (self._reach / FAR)
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

    @property
    def _reach(self) -> np.ndarray:
        """Sds of each coordinate from which on nothing seems to hold it, in the units that its prior declares."""
        scale = self.target.units[1]
        return FAR * np.maximum(np.where(scale == 1, scale.max(), scale), 1.0)

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
        bent = hasattr(guide, "pullback")
        x = pool.eps if bent else frame.coordinates(pool.z)
        grad = guide.pullback(params, x, pool.grad) if bent else frame.gradients(pool.grad)
        residual = stein(x, grad, pool.weights)
        condemned = None
        eig, vec = residual.curvature
        if eig[0] < 0.05 and frame.widest > self._reach.max():
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
        far = (pool.weights == 0)[:, None]  # where quantities may have no finite value
        law = Law(kind, np.where(far, pool.z[pool.weights.argmax()], pool.z), weights)
        if kind == "guide":
            own = pool.from_guide
            law = Law("guide", pool.z[own])
        if bent:
            residual.x = x[own] if kind == "guide" else x
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

    def _other_modes(self, law, pool, frame, symmetries, rng, bent=False) -> list[Elsewhere]:
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

        stop, mass, evidence = self.watch.stop, mass if scouts else None, None
        if bent and pool.khat < 0.7:
            evidence = log_evidence(pool) - np.log(np.diag(frame.scale)).sum()
        found = search(self.density, frame, radius, widest, rng, leads, count, scouts, mass, stop, evidence)
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

    def _modes(self, law, found, frame, symmetries) -> tuple[Mixed | str, list[Elsewhere]]:
        """Gaussians at all modes, weighed; or why that does not establish their masses, and what the law misses."""
        if self.named or not self.plain or not isinstance(frame, Dense) or len(frame.mean) > LARGEST:
            words = (
                "beside a guide named by the user, in many dimensions, or for outcomes that tell too little"
            )
            return f"no mixture is fitted {words}", []
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
        refused = isinstance(mixed, str) and isinstance(parts, list) and law.kind == "mcmc"
        return mixed, missed(parts, law.z) if refused else []

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
                frame = Dense(flat.mean(0), np.linalg.cholesky(np.cov(flat.T) + np.diag(1e-12 * flat.var(0))))
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
            steps=self.steps | ({"restart": np.asarray(self.restarts)} if self.restarts else {}),
        )
