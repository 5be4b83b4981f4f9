"""A climb that fits on some rows at a time: evidence, verdicts and predictions are those of all rows."""

from __future__ import annotations

import time

import numpy as np

from ..guides import FullRank, MeanField, Structured
from ..guides.choose import FULL_RANK_LIMIT, Plan
from ..ppl.errors import GuideError, explain
from .anchored import anchored, stages
from .ascent import Ascent
from .blocks import Blocks, whole
from .centring import carry
from .evidence.finding import Finding
from .fitting import marked
from .frame import LARGEST_DENSE, Dense, independent
from .ladder import Climb
from .minibatch import Batches
from .natural import natural_gradient
from .starts import dispersed, loose_fits
from .stochastic import ascend

MOST_BATCHES, SHARE = 8, 16  # batches between anchors, and how many times over they must fit into all rows


def subsampled(guide, batches: Batches) -> Plan:
    """The plan of a fit on minibatches.

    Raises
    ------
    GuideError
        For a guide that batches cannot reach.
    """
    name = str(getattr(guide, "name", guide)).lower().replace("_", "").replace("-", "")
    dim, all_in_each = batches.full.dim, whole(batches)
    words = f"batches of {batches.size} rows of '{batches.rows}'"
    if name == "auto" and all_in_each and dim <= FULL_RANK_LIMIT:
        return Plan(FullRank(), f"{words}, all {dim} coordinates in each: a dense covariance is affordable")
    if name == "auto" and all_in_each:  # a structured guide where the links allow it
        dense = dim <= LARGEST_DENSE
        why = "a dense covariance is dear" if dense else "too many for a dense covariance"
        return Plan(FullRank() if dense else MeanField(), f"{words}, {dim} coordinates: {why}", auto=True)
    if name == "auto":
        return Plan(MeanField(), f"{words}, each with some of {dim} coordinates")
    if name == "meanfield":
        return Plan(MeanField(), words)
    if name == "structured" and all_in_each:
        return Plan(Structured(), words)
    if name == "fullrank" and all_in_each and dim <= LARGEST_DENSE:
        return Plan(FullRank(), words)
    raise GuideError(
        explain(
            "guide",
            "'mean-field' with minibatches, or where each holds all coordinates 'structured', or up to "
            f"{LARGEST_DENSE} of them 'full-rank'",
            repr(guide),
            "use larger batches, fit on all rows for a richer guide, or leave it at its default",
        )
    )


class Subsampled(Climb):
    """State of one fit on minibatches; `run` gives the outcome."""

    def __init__(self, target, plan, seed, watch, start, named, num_draws, batches: Batches):
        self.rich = plan.auto or plan.family.name != "mean-field"
        if self.rich:
            target = target.centred({s.name: 1.0 for s in target.sites if s.location_scale})
        super().__init__(target, plan, seed, watch, start, named, num_draws)
        self.batches = batches
        self.stages = stages(batches.total, batches.size) if self.rich else []
        self.all = Blocks.of(batches) if whole(batches) else None
        self.rows, self.num_batches = self.all, 0
        if self.rich:
            return
        idle = {name: int((chance == 0).sum()) for name, (_, _, chance) in batches.groups.items()}
        for name, count in idle.items():
            if count:
                self.findings.append(
                    Finding(
                        "no rows",
                        name,
                        float(count),
                        0.0,
                        "untrusted",
                        f"{count} elements of plate '{name}' have no rows: batches never reach them, and they stay "
                        "where they started. Leave them out of the levels, or fit on all rows.",
                    )
                )

    def evaluate(self, z, batch=None):
        """Log density and gradient on the rows at hand, block by block."""
        if self.rows is None and (self.batches.tight or self.batches.mapped):
            return self._apart(z)
        if self.rows is None:
            return super().evaluate(z, batch)
        return self._counted(self.rows, z)

    def _apart(self, z):
        """All rows, a batch at a time."""
        self.target.counter.num_gradients += len(z)
        self.target.counter.num_densities += len(z)
        return self.batches.value_and_grad(z)

    def _counted(self, rows, z):
        self.target.counter.num_gradients += -(-len(z) * rows.num_rows // self.batches.total)
        return rows(z, self.target.weights)

    def _few(self, size, rng) -> Blocks:
        """Some rows, one from each of as many stretches of equal length."""
        ends = np.arange(size + 1) * self.batches.total // size
        return Blocks(self.batches, rng.integers(ends[:-1], ends[1:]))

    def _starts(self):
        if not self.rich:
            return self._starts_on_a_batch()
        if self.stages:
            self.rows = self._few(self.stages[0], self.rng(11))
        try:
            super()._starts()
        finally:
            self.rows = self.all

    def _full_rank(self, rng) -> str:
        for size in self.stages:
            self.rows = self._few(size, rng)
            try:
                found = natural_gradient(
                    self.density,
                    *self._dense(),
                    rng,
                    max_steps=12,
                    callback=self.watch.stop,
                    gradient_tol=0.5,
                    hessian_tol=0.5,
                )
                if np.isfinite(found.elbo):
                    self.best = Dense(found.mean, found.scale_tril)
                    self._recentre()
            finally:
                self.rows = self.all
        words = super()._full_rank(rng)
        passes = f"{len(self.elbo_trace)} passes over all rows, {self.num_batches} batches between them"
        if self.stages:
            passes += f", before them posteriors of {', '.join(map(str, self.stages))} rows"
        return f"{passes}; {words}"

    def _natural(self, rng, keep):
        count = min(self.batches.total // (SHARE * self.batches.size), MOST_BATCHES)

        def draw():
            self.num_batches += 1
            rows = Blocks(
                self.batches,
                self.batches.sample(rng)[: self.batches.size],
                self.batches.total / self.batches.size,
            )
            return lambda z: self._counted(rows, z)

        stop = self.watch.stop
        return anchored(self.density, draw, count, *self._dense(), rng, callback=stop, keep=keep)

    def _starts_on_a_batch(self):
        """A loose fit on one batch that stands for all rows; what it does not reach starts as the others of its site."""
        before, begin = self.target.counter.num_gradients, time.perf_counter()
        rng, batches, small = self.rng(0), self.batches, self.batches.target
        given = batches.inputs(batches.sample(rng))
        data = {name: small.to_device(value) for name, value in given["data"].items()}

        def density(z):
            with np.errstate(all="ignore"):
                return marked(*small.value_and_grad(z, data=data, scale=given["scale"]))[:2]

        # elements with few rows in a batch would be fitted to the letter, and drag the others along
        origin = bool(batches.groups)
        points = np.zeros((1, small.dim)) if origin else dispersed(rng, 3, small.dim)
        if self.start is not None and not origin:
            points = np.concatenate([self.start[:, given["where"]], points[:2]])
        points = self._finite_points(points, rng, density)
        at, width, words = points[0], np.full(small.dim, 0.1), "at the origin, or where one batch is finite"
        if not origin:
            with np.errstate(all="ignore"):
                fits = loose_fits(density, points, rng, tolerance=1.0, callback=self.watch.stop)
            if np.isfinite(fits.elbo[fits.best]):
                at, width = fits.mean[fits.best], fits.sd[fits.best]
            words = f"{len(points)} dispersed starts on one batch, {fits.num_iterations} iterations"
        mean, sd = np.zeros(self.target.dim), np.full(self.target.dim, 0.1)
        there = given["weight"] > 0
        for site in self.target.sites:
            own = self.target.offsets[site.name]
            inside = there & (given["where"] >= own.start) & (given["where"] < own.stop)
            if inside.any():
                mean[own], sd[own] = np.median(at[inside]), np.median(width[inside])
        mean[given["where"][there]], sd[given["where"][there]] = at[there], width[there]
        if self.start is not None:
            mean = self.start[0].copy()
        self.best = independent(mean, np.clip(sd, 1e-8, 1e3))
        self.target.counter.num_gradients += small.counter.num_gradients
        self.rung("starts", "mean-field", before, begin, reason=words)

    def _mean_field(self, rng) -> str:
        mean, sd = self.best.mean, 1 / np.sqrt(self.best.precision)
        if self.target.centring:  # batches order the elements in their own way: the same centring for all
            plain = self.target.centred(dict.fromkeys(self.target.centring, 1.0))
            mean, end = carry(self.target, plain, np.stack([mean, mean + sd]))
            sd = np.clip(np.abs(end - mean), 1e-8, 1e3)
            self._enter(plain)
        ascent = Ascent(self.target, self.batches, (mean, sd), seed=int(rng.integers(2**31)))
        kept = self.checkpoint
        found = ascend(ascent, self.watch.stop, kept.under_way, kept.keep)
        self.best = independent(found.mean, np.exp(found.log_sd))
        self._followed(found.thinned("elbo").tolist())
        self.steps = {name: found.thinned(name) for name in ("gradient_norm", "not_finite")}
        passes = found.num_steps * self.batches.size / self.batches.total
        self.target.counter.num_gradients += int(np.ceil(passes))
        if found.num_bad:
            self.findings.append(
                Finding(
                    "not finite",
                    "fit",
                    float(found.num_bad),
                    0.0,
                    "caution",
                    f"The bound was not finite at {found.num_bad} of {found.num_steps} steps"
                    + (f": {found.culprit}." if found.culprit else "."),
                )
            )
        return f"{found.num_steps} stochastic steps, {passes:.1f} times over the data: {found.reason}"
