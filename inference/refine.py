"""Refinement: chains of NUTS that start where the fit ended, until every judged quantity is known well enough.

Where the evidence speaks for the fit, its covariance becomes the metric and the warm-up only sets the step size, or
chains run in the base coordinates of its flow; an unsettled fit gives starting points and nothing else, since a wrong
metric that is kept costs more than none.

References
----------
Hoffman & Gelman (2014), The No-U-Turn Sampler, JMLR 15. Hoffman et al. (2019), NeuTra-lizing bad geometry in
Hamiltonian Monte Carlo using neural transport. Zhang et al. (2022), Pathfinder, JMLR 23. Vehtari et al.
(2021), Rank-normalization, folding, and localization: an improved R̂, Bayesian Analysis 16.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import numpy as np

from ..guides import MeanField
from ..ppl.errors import InferenceError, UnsupportedError, explain
from .checkpoint import Checkpoint
from .conclude import Cost, conclude
from .evidence.chains import slowest
from .evidence.estimates import estimate
from .evidence.finding import Finding, Findings
from .evidence.mixing import BFMI, ENOUGH, RHAT, energy_information
from .evidence.verdicts import MEAN, MOVED, ORDER, POINT_ESTIMATE, SD, monte_carlo
from .fitting import Fitting
from .frame import Dense, independent
from .mixture import LocalStein
from .outcome import DIVERGENT, FEW, Law, Outcome, quantity_values
from .posterior import Posterior
from .precondition import Affine, Bent
from .starts import dispersed
from .trail import Rung, Trail
from .watch import Watch

CHUNK, SHORT_CHUNK = 50, 10  # iterations of a compiled call: of few cheap chains, and of others
WARMUP, LONG_WARMUP = 50, 800  # with a metric that is known, and without
FIRST, FIRST_OF_MANY = 200, 20  # draws of each chain before they are first judged
SUPERCHAINS, MOST_CHAINS = 16, 8192  # groups of many short chains that begin at one point; chains
STEPS, FREE_STEPS = (
    7,
    15,
)  # gradients that a draw takes at the least to count on, in a known metric and in none
MOST = 20_000  # draws of each chain
LARGEST_DENSE, FREE_DENSE = (
    300,
    50,
)  # dimensions up to which a metric is dense: the fit's, and one that is found
PILOT = 10.0  # seconds up to which nothing is projected before the first draws
ACCEPT = (0.8, 0.95, 0.99)  # that the step size aims at, and where transitions diverge
AFFORDABLE, TIMES = 60.0, 10.0  # seconds, or times the fit's, that refinement may take by itself
HELD = 2**27  # values held at once
NOT_RUN = "no chain was run"
FORGOTTEN = (
    "its posterior is symmetric, and what is loaded cannot tell which quantities that moves: fit it again"
)
SHORT_CHAINS = {"divergences", "short chains", "symmetry", "fewer draws", "energy", "chains disagree"}


@dataclass
class Chains:
    """Chains under way: draws ``(C, T, dim)`` of the target's coordinates and what NUTS says of each."""

    target: object
    place: Affine | Bent
    gated: bool
    accept: float = ACCEPT[0]
    chunk: int = CHUNK
    superchains: int = 0
    state: object = None
    z: list = field(default_factory=list)
    stats: list = field(default_factory=list)
    num_warmup: int = 0

    @property
    def sampler(self):
        """The backend's, in this metric."""
        if self.gated:
            return self.target.sampler(WARMUP, None, self.place.flow)
        metric = "dense" if self.target.dim <= FREE_DENSE else "diagonal"
        return self.target.sampler(LONG_WARMUP, metric)

    @property
    def to_warm(self) -> int:
        """Iterations of a warm-up."""
        return WARMUP if self.gated else LONG_WARMUP

    def warmed(self, start: np.ndarray, rng, stop) -> None:
        """Begin at `start`, shape ``(C, dim)``, and adapt."""
        x = self.place.coordinates(start)
        step = 0.5 / self.target.dim**0.25 if self.gated else 0.1
        value, grad = self.place.pulled(x, *self.target.value_and_grad(start))
        seeds, own = rng.integers(0, 2**31, len(start)), self.target
        given = self.place.arrays, own.data, own.weights
        self.state = self.sampler.begin(seeds, x, value, grad, step, self.accept, *given)
        for _ in range(self.to_warm // self.chunk):
            if stop():
                return
            self._chunk()
            self.num_warmup += self.chunk

    def _chunk(self):
        self.state, found = self.sampler.run(self.state, self.chunk)
        count = int(found["num_steps"].sum())
        self.target.counter.num_gradients += count
        self.target.counter.num_densities += count
        return found

    def extended(self, count: int, stop) -> None:
        """Draw `count` more of each chain, in whole chunks, unless the time is up."""
        for _ in range(-(-count // self.chunk)):
            if stop():
                return
            found = self._chunk()
            x = found.pop("x")
            self.z.append(self.place.points(x.reshape(-1, x.shape[2])).reshape(x.shape))
            self.stats.append(found)

    def law(self) -> Law:
        """What the draws are."""
        z = np.concatenate(self.z, 1)
        stats = self.joined
        flat = z.reshape(-1, z.shape[2])
        diverging = stats["diverging"].ravel().astype(bool)
        sd = flat.std(0)
        held = slowest((z - flat.mean(0)) / np.where(sd > 0, sd, 1.0))
        return Law(
            "mcmc",
            flat,
            None,
            len(z),
            float(diverging.mean()),
            flat[diverging],
            held,
            stats,
            self.superchains,
        )

    @property
    def first(self) -> int:
        """Draws of each chain before they are first judged."""
        return FIRST_OF_MANY if self.superchains else FIRST

    @property
    def joined(self) -> dict[str, np.ndarray]:
        """NUTS's statistics, ``(C, T)`` each."""
        return {name: np.concatenate([s[name] for s in self.stats], 1) for name in self.stats[0]}


def refine(
    posterior: Posterior,
    num_chains: int = 4,
    num_draws: int | None = None,
    max_seconds: float | None = None,
    seed: int | None = None,
    progress: bool = True,
    checkpoint=None,
    affordable: float | None = None,
) -> Posterior:
    """Chains of NUTS from where a fit ended, see `Posterior.refine`.

    Parameters
    ----------
    affordable : float, optional
        Seconds beyond which nothing is begun: the posterior comes back as it was, with a line in its trail.
    """
    _check(posterior, num_chains, num_draws, max_seconds)
    begin, target = time.perf_counter(), posterior._target
    watch = Watch(max_seconds, progress)
    outcome = posterior._outcome or _remembered(posterior)
    rng = np.random.default_rng([posterior.seed if seed is None else seed, 31])
    before = target.counter.num_gradients, target.counter.num_densities, target.density.clock["compile"]
    judged = posterior._judged()
    chains, why = _metric(target, outcome)
    chains.superchains = SUPERCHAINS if num_chains >= FEW else 0
    start = _starts(target, outcome, chains.superchains or num_chains, rng)
    if start is None:
        return _without_start(posterior, seconds=time.perf_counter() - begin)
    if chains.superchains:
        start = np.repeat(start, num_chains // SUPERCHAINS, axis=0)
    if not isinstance(checkpoint, Checkpoint):
        checkpoint = Checkpoint(checkpoint, {})  # a fit's own may lie beside the draws
    seconds = lambda: time.perf_counter() - begin  # noqa: E731

    def drawn(words):
        return _drawn(posterior, outcome, chains, before, seconds(), f"{why}: {words}", rng)

    checkpoint.posterior(lambda: posterior, now=affordable is None)
    try:
        with watch.showing("refining with NUTS"):
            keep = lambda: checkpoint.posterior(lambda: drawn("under way"))  # noqa: E731
            least = _least_seconds(chains, start)
            limit = min(np.inf if one is None else one for one in (affordable, max_seconds))
            if least > max(2 * limit, PILOT):  # twice, since chains in lockstep may be that much faster
                words = f"not affordable: a pilot projects {least:.0f} s or more, {limit:.0f} s are allowed"
            else:
                words = _run(chains, start, num_draws, judged, rng, watch, affordable, keep)
    except KeyboardInterrupt:
        watch.interrupted, words = True, "interrupted: the draws so far"
    finally:
        watch.close()
    if not chains.z or words.startswith("not affordable"):
        reason = words if chains.z or words.startswith("not") else "ended before the first draws"
        count = target.counter.num_gradients - before[0]
        rung = Rung("refine", "nuts", num_gradients=count, seconds=seconds(), reason=reason)
        return replace(posterior, trail=Trail([*posterior.trail, rung]), _groups={})
    found = drawn(words)
    found.findings += tuple(checkpoint.findings)
    checkpoint.posterior(lambda: found, now=True)
    return found


def _drawn(posterior, outcome, chains, before, seconds, words, rng) -> Posterior:
    """The posterior of the draws so far."""
    target, law = chains.target, chains.law()
    count = target.counter.num_gradients - before[0]
    values, _ = quantity_values(target, law.z)
    errors = _guide_errors(target, outcome, values, posterior)
    off = "" if errors is None else f"; {errors[2]}"
    reason = f"{law.num_chains} chains × {len(law.z) // law.num_chains} draws after {chains.num_warmup}, {words}{off}"
    rung = Rung("refine", "nuts", num_gradients=count, seconds=seconds, reason=reason)
    moved = replace(
        outcome,
        law=law,
        rungs=[*posterior.trail, rung],
        findings=[
            *(f for f in posterior.findings if f.name not in SHORT_CHAINS),
            *_findings(law, values, posterior),
        ],
        twins=_twins(outcome, law, rng),
        guide_errors=None if errors is None else errors[:2],
        condemned=None if outcome.condemned == POINT_ESTIMATE else outcome.condemned,
    )
    if outcome.without:
        sd = np.maximum(law.z.std(0), 1e-300)
        moved.params = dict(outcome.guide.init({"mean": law.z.mean(0), "sd": sd}))
    cost = Cost(
        posterior.cost.num_densities + target.counter.num_densities - before[1],
        posterior.cost.num_gradients + count,
        posterior.cost.compile_seconds + target.density.clock["compile"] - before[2],
        posterior.cost.run_seconds + seconds,
    )
    return conclude(posterior.program, target, moved, (), cost, posterior.settings)


def sampled(program, target, seed: int, settings: dict, findings=(), start_z=None, **options) -> Posterior:
    """The posterior by chains of NUTS alone, from dispersed points.

    Parameters
    ----------
    findings : iterable of Finding
        About the data.
    start_z : numpy.ndarray, shape (1, dim), optional
        Where all chains begin.
    **options
        As `refine` takes them.
    """
    begin, guide = time.perf_counter(), MeanField().bind(target)
    seek = Fitting(target, SimpleNamespace(family=guide.family), seed, Watch())
    rng = seek.rng(0)
    points = start_z if start_z is not None else seek._finite_points(dispersed(rng, 16, target.dim), rng)
    frame = independent(np.zeros(target.dim), np.ones(target.dim))
    outcome = Outcome(
        guide, guide.init({"mean": frame.mean, "sd": np.ones(target.dim)}), Law("guide", points), np.nan,
        (np.nan, np.nan), None, frame, None, NOT_RUN, [], without=True,
    )  # fmt: skip
    cost = Cost(target.counter.num_densities, target.counter.num_gradients, 0.0, time.perf_counter() - begin)
    none = conclude(program, target, outcome, findings, cost, settings)
    none._outcome.condemned = None
    return refine(none, **options)


def refine_where_it_pays(
    posterior: Posterior, progress: bool = True, max_seconds: float | None = None, checkpoint=None
) -> Posterior:
    """Refine where a judged quantity is short of *trusted*, chains could mend that, and a pilot projects an
    affordable cost."""
    if posterior.verdict == "trusted":
        return posterior
    hopeless = _hopeless(posterior)
    if hopeless:
        return replace(posterior, trail=Trail([*posterior.trail, Rung("refine", "nuts", reason=hopeless)]))
    limit = max(AFFORDABLE, TIMES * posterior.cost.run_seconds)
    seconds = 2 * limit if max_seconds is None else min(2 * limit, max_seconds)
    refined = refine(
        posterior, progress=progress, max_seconds=seconds, checkpoint=checkpoint, affordable=limit
    )
    if refined.law == "mcmc" and _trust(refined) < _trust(posterior):
        last = replace(refined.trail[-1], reason=f"{refined.trail[-1].reason}; no better, left aside")
        table = _disputed(posterior, refined)
        trail = Trail([*posterior.trail, last])
        return replace(posterior, table=table, trail=trail, cost=refined.cost, _groups={})
    return refined


def _disputed(posterior, refined) -> dict:
    """The posterior's table, where chains that are left aside still tell against a quantity that was trusted."""
    law = refined._outcome.law
    values, _ = quantity_values(refined._target, law.z)
    found = estimate(values, None, law.inflation(values))
    with np.errstate(all="ignore"):
        apart = (np.abs(posterior.table["mean"] - found.mean) - 4 * found.mean_se) / found.sd
        spread = np.abs(posterior.table["sd"] / found.sd - 1) - 4 * found.sd_se / found.sd
    table = posterior.table | {
        "verdict": list(posterior.table["verdict"]),
        "reason": list(posterior.table["reason"]),
    }
    for i in np.flatnonzero((apart > MEAN) | (spread > SD)):
        if table["verdict"][i] == "trusted":
            table["verdict"][i] = "caution"
            table["reason"][i] = "chains of NUTS, themselves not established, say otherwise"
    return table


def _hopeless(posterior) -> str | None:
    """Why chains that start at the fit could not mend what is short of trusted; None where they could."""
    outcome, table = posterior._outcome, posterior.table
    if outcome.condemned is not None:
        return f"not run: {outcome.condemned}"
    if isinstance(outcome.stein, LocalStein) and outcome.law.kind == "psis":
        return "not run: chains would stay in the mode where they start"
    short = [table["reason"][i] for i in posterior._judged() if table["verdict"][i] in ORDER[1:]]
    if all(reason.startswith("symmetric under") for reason in short):
        return "not run: chains would show one of the equal modes"
    return None


def _trust(posterior) -> tuple:
    verdicts = [posterior.table["verdict"][i] for i in posterior._judged()]
    return -ORDER.index(posterior.verdict), sum(v == "trusted" for v in verdicts)


def _check(posterior, num_chains, num_draws, max_seconds):
    posterior._need_program("refine")
    if posterior._target is None:
        raise InferenceError(
            explain(
                "refine", "the program bound to the data that were fitted", "other data", "fit these data"
            )
        )
    for name, value, least in (("num_chains", num_chains, 1), ("num_draws", num_draws, 1)):
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if value is not None and (not whole or value < least):
            raise InferenceError(explain(name, f"an integer of at least {least}", repr(value), "correct it"))
    if num_chains >= FEW and (num_chains % SUPERCHAINS or num_chains > MOST_CHAINS):
        few = f"fewer than {FEW}, or a multiple of {SUPERCHAINS} up to {MOST_CHAINS}"
        raise InferenceError(explain("num_chains", few, repr(num_chains), "choose another number"))
    if num_chains >= FEW and not posterior._target.lockstep:
        raise UnsupportedError(
            explain(
                "num_chains",
                f"fewer than {FEW} on this backend, whose chains run one after the other",
                repr(num_chains),
                "use fewer chains, or fit with backend='jax'",
            )
        )
    if max_seconds is not None and not max_seconds >= 0:
        raise InferenceError(explain("max_seconds", "a number of seconds", repr(max_seconds), "correct it"))


def _metric(target, outcome: Outcome) -> tuple[Chains, str]:
    """Chains in the frame that the evidence allows, and the reason in words."""
    law, dim = outcome.law, target.dim
    free = Chains(target, Affine(np.zeros(dim), np.ones(dim)), False)
    if law.kind == "mcmc":
        if law.held < 3:
            return free, "a metric of their own, as the short chains had hardly moved"
    elif outcome.without:
        return free, "from dispersed points"
    elif not outcome.khat < 0.7:
        return free, "a metric of their own, as the fit's weights are heavy-tailed"
    elif outcome.stein is not None and hasattr(outcome.stein, "worst"):
        location, scale = outcome.stein.worst
        if location > 0.5 or scale > 1.0:
            return free, "a metric of their own, as the fit's residuals are large"
    if hasattr(outcome.guide, "pullback") and outcome.khat < 0.7:
        return Chains(target, Bent(outcome.guide, outcome.params), True), "in the flow's base coordinates"
    weights = law.weights if law.weights is not None else np.full(len(law.z), 1 / len(law.z))
    mean = weights @ law.z
    centred = law.z - mean
    if dim > LARGEST_DENSE or 1 / np.sum(weights**2) < 5 * dim:
        sd = np.sqrt(weights @ centred**2)
        if not (np.isfinite(sd).all() and (sd > 0).all()):
            return free, "a metric of their own, as the fit has no spread"
        return Chains(target, Affine(mean, sd), True), "in the fit's sds"
    try:
        scale = np.linalg.cholesky((centred * weights[:, None]).T @ centred)
    except np.linalg.LinAlgError:
        return free, "a metric of their own, as the fit's covariance is singular"
    return Chains(target, Affine(mean, scale), True), "in the fit's metric"


def _starts(target, outcome, num_chains, rng) -> np.ndarray | None:
    """Draws of the law at which the density and its gradient are finite; None where there are none."""
    law = outcome.law
    points = law.z[law.resample(16 * num_chains, rng)]
    with np.errstate(all="ignore"):
        value, grad = target.value_and_grad(points)
    good = np.isfinite(value) & np.isfinite(grad).all(1)
    if not good.any():
        return None
    return points[good][np.arange(num_chains) % good.sum()]


def _without_start(posterior, seconds) -> Posterior:
    """The posterior as it was, with what stood in the way."""
    reason = "no draw of the fit has a finite density"
    finding = Finding(
        "no start", "fit", None, None, "untrusted", f"Not refined: {reason}. Fit again with another seed."
    )
    trail = Trail([*posterior.trail, Rung("refine", "nuts", seconds=seconds, reason=f"not run: {reason}")])
    return replace(posterior, trail=trail, findings=Findings([*posterior.findings, finding]), _groups={})


def _least_seconds(chains: Chains, start) -> float:
    """What warm-up and the first draws will take at the least, from the time of a gradient; sets the chunks."""
    points = np.resize(start, (max(len(start), chains.target.batch), start.shape[1]))  # as rows are padded to
    chains.target.value_and_grad(points[: len(start)])  # compiled
    begin = time.perf_counter()
    chains.target.value_and_grad(points)
    share = len(start) / len(points)
    each = share * (time.perf_counter() - begin) * (STEPS if chains.gated else FREE_STEPS)
    if chains.superchains or each * CHUNK > PILOT:
        chains.chunk = SHORT_CHUNK
    return each * (chains.to_warm + chains.first)


def _run(chains: Chains, start, num_draws, judged, rng, watch, affordable, keep) -> str:
    """Warm up and draw until it is enough; why it ended. `keep` is called now and then."""
    begin, compiled = time.perf_counter(), chains.target.density.clock["compile"]

    def spent():
        return time.perf_counter() - begin - (chains.target.density.clock["compile"] - compiled)

    def dear():
        """What the first draws will have cost at this pace, where that is too much."""
        least = spent() * (chains.to_warm + chains.first) / max(chains.num_warmup, 1)
        return (
            least
            if affordable is not None and chains.num_warmup and not chains.z and least > affordable
            else 0.0
        )

    def stop():
        if len(chains.z):
            keep()
        return watch.stop() or dear() > 0

    chains.warmed(start, rng, stop)
    if dear():
        return f"not affordable: a pilot projects {dear():.0f} s or more, {affordable:.0f} s are allowed"
    first = chains.first if num_draws is None else min(num_draws, chains.first)
    chains.extended(first, stop)
    for accept in ACCEPT[1:]:
        if not chains.z or stop() or np.mean(chains.joined["diverging"]) < DIVERGENT / 2:
            break
        last = chains.z[-1][:, -1]
        chains.accept, chains.z, chains.stats = accept, [], []
        chains.warmed(last, rng, stop)
        chains.extended(first, stop)
    while not stop():
        drawn = sum(z.shape[1] for z in chains.z)
        if num_draws is not None:
            if drawn >= num_draws:
                return "as many as were asked for"
            chains.extended(num_draws - drawn, stop)
            continue
        needed, values = _needed(chains, judged)
        if needed <= 1:
            return "enough"
        if affordable is not None and needed * spent() > affordable:
            return (
                f"not affordable: a pilot projects {needed * spent():.0f} s, {affordable:.0f} s are allowed"
            )
        if drawn >= MOST or values * 2 > HELD:
            return "the most that is kept"
        chains.extended(int(min(drawn * np.clip(1.1 * needed, 1.25, 4.0) - drawn, MOST - drawn)), stop)
    return "the time was up"


def _needed(chains: Chains, judged) -> tuple[float, int]:
    """How many times as many draws the judged quantities need, and how many values are held."""
    law = chains.law()
    values, _ = quantity_values(chains.target, law.z)
    held, values = values.size, values[:, judged]
    moving = values.std(0) > 1e-12 * np.abs(values.mean(0))
    if not moving.any():
        return 0.0, held
    values = values[:, moving]
    size = len(values) / law.inflation(values)
    noise = monte_carlo(estimate(values, None, len(values) / size)).max()
    apart = 2.0 if law.rhat(values).max() > RHAT else 0.0
    moved = 0.0 if law.long else MOVED * law.num_chains / size.min()
    return max(float((noise / 0.95) ** 2), ENOUGH / size.min(), apart, moved), held


def _twins(outcome, law, rng):
    rows = law.resample(min(4000, len(law.z)), rng)
    return rows, [symmetry.apply(law.z[rows])[0] for symmetry in outcome.symmetries]


def _guide_errors(target, outcome, exact, posterior):
    """How far the guide's own mean and sd were off, per quantity: in sds and as a factor; and the worst in words."""
    if outcome.pool is None:
        return None
    own = outcome.pool.z[outcome.pool.from_guide]
    guess, _ = quantity_values(target, own)
    sd = exact.std(0)
    moving = sd > 1e-12 * np.abs(exact.mean(0))
    with np.errstate(all="ignore"):
        shift = np.where(moving, (guess.mean(0) - exact.mean(0)) / sd, 0.0)
        ratio = np.where(moving, guess.std(0) / sd, 1.0)
    labels = posterior.table["label"]
    k, j = int(np.abs(shift).argmax()), int(np.abs(np.log(np.maximum(ratio, 1e-300))).argmax())
    words = (
        f"the guide's means were off by up to {abs(shift[k]):.2f} sd ({labels[k]}), its sds by a factor of up to "
        f"{ratio[j]:.2f} ({labels[j]})"
    )
    return shift, ratio, words


def _findings(law: Law, values, posterior):
    stats = law.stats
    if law.divergent > DIVERGENT:
        yield Finding(
            "divergences",
            "fit",
            law.divergent,
            DIVERGENT,
            "caution",
            f"{law.divergent:.1%} of NUTS's transitions diverged: a region of high curvature is not explored. A "
            "non-centred parametrisation often mends it.",
        )
    known = energy_information(stats["energy"])
    if known < BFMI:
        yield Finding(
            "energy",
            "fit",
            known,
            BFMI,
            "caution",
            f"E-BFMI is {known:.2f}: the chains move slowly between levels of energy. Heavy tails or a hierarchy's "
            "scale are the usual causes: reparametrise.",
        )
    judged = posterior._judged()
    apart = law.rhat(values[:, judged])
    worst = int(apart.argmax())
    if apart[worst] > RHAT:
        label = posterior.table["label"][judged[worst]]
        yield Finding(
            "chains disagree",
            label,
            float(apart[worst]),
            RHAT,
            "caution" if apart[worst] < 1.05 else "untrusted",
            f"R̂ of {label} is {apart[worst]:.3f}: the chains have not come together. Give them more time, or look for "
            "several modes.",
        )


def _remembered(posterior) -> Outcome:
    """What a posterior that was loaded still knows of its fit."""
    law = Law("psis" if posterior.law == "psis" else posterior.law, posterior.z)
    if posterior.law == "mcmc":
        law.held = np.inf if posterior.verdict != "untrusted" else 0.0
    frame = Dense(posterior.z.mean(0), np.diag(np.maximum(posterior.z.std(0), 1e-12)))
    condemned = posterior.settings.get("condemned")
    if condemned is None and any(f.name == "symmetry" for f in posterior.findings):
        condemned = FORGOTTEN
    return Outcome(
        posterior.guide,
        posterior.params,
        law,
        posterior.khat,
        (np.nan, np.nan),
        None,
        frame,
        None,
        condemned,
        list(posterior.fit_record.get("elbo", [])),
    )
