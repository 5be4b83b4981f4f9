"""A climb that fits on some rows at a time: evidence, verdicts and predictions are those of all rows."""

from __future__ import annotations

import time

import numpy as np

from ..guides import MeanField
from ..guides.choose import Plan
from ..ppl.errors import GuideError, explain
from .ascent import Ascent
from .evidence.finding import Finding
from .frame import independent
from .ladder import Climb
from .minibatch import Batches, Minibatch
from .starts import dispersed, loose_fits
from .stochastic import ascend


def subsampled(guide, minibatch: Minibatch) -> Plan:
    """The plan of a fit on minibatches.

    Raises
    ------
    GuideError
        For any guide but the mean field.
    """
    name = str(getattr(guide, "name", guide)).lower().replace("_", "-")
    if name not in {"auto", "mean-field", "meanfield"}:
        raise GuideError(
            explain(
                "guide",
                "'mean-field' with minibatches",
                repr(guide),
                "fit on all rows for a richer guide, or leave it at its default",
            )
        )
    return Plan(MeanField(), f"batches of {minibatch.size} rows of '{minibatch.plate}'")


class Subsampled(Climb):
    """State of one fit on minibatches; `run` gives the outcome."""

    def __init__(self, target, plan, seed, watch, start, named, num_draws, minibatch: Minibatch):
        super().__init__(target, plan, seed, watch, start, named, num_draws)
        self.batches = Batches.of(target, minibatch)
        idle = {name: int((chance == 0).sum()) for name, (_, _, chance) in self.batches.groups.items()}
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

    def _starts(self):
        """Loose fits on one batch that stands for all rows; what it does not reach starts as the others of its site."""
        before, begin = self.target.counter.num_gradients, time.perf_counter()
        rng, batches, small = self.rng(0), self.batches, self.batches.target
        given = batches.inputs(batches.sample(rng))
        data = {name: small.to_device(value) for name, value in given["data"].items()}

        def density(z):
            with np.errstate(all="ignore"):
                value, grad = small.value_and_grad(z, data=data, scale=given["scale"])
            bad = ~np.isfinite(value) | ~np.isfinite(grad).all(1)
            return np.where(bad, -np.inf, value), np.where(bad[:, None], 0.0, grad)

        points = dispersed(rng, 3, small.dim)
        if self.start is not None:
            points = np.concatenate([self.start[:, given["where"]], points[:2]])
        with np.errstate(all="ignore"):
            fits = loose_fits(density, points, rng, tolerance=1.0, callback=self.watch.stop)
        k = fits.best
        mean, sd = np.zeros(self.target.dim), np.full(self.target.dim, 0.1)
        there = given["weight"] > 0
        for site in self.target.sites:
            own = self.target.offsets[site.name]
            inside = there & (given["where"] >= own.start) & (given["where"] < own.stop)
            if inside.any():
                mean[own], sd[own] = np.median(fits.mean[k][inside]), np.median(fits.sd[k][inside])
        mean[given["where"][there]], sd[given["where"][there]] = fits.mean[k][there], fits.sd[k][there]
        if self.start is not None:
            mean = self.start[0].copy()
        self.best = independent(mean, np.clip(sd, 1e-8, 1e3))
        self.target.counter.num_gradients += small.counter.num_gradients
        words = f"{len(points)} dispersed starts on one batch, {fits.num_iterations} iterations"
        self.rung("starts", "mean-field", before, begin, reason=words)

    def _fit(self):
        before, begin = self.target.counter.num_gradients, time.perf_counter()
        mean, sd = self.best.mean, 1 / np.sqrt(self.best.precision)
        ascent = Ascent(self.target, self.batches, (mean, sd), seed=int(self.rng(1).integers(2**31)))
        kept = self.checkpoint
        found = ascend(ascent, self.watch.stop, kept.under_way, kept.keep)
        self.best = independent(found.mean, np.exp(found.log_sd))
        self.elbo_trace += found.trace[:: max(1, len(found.trace) // 1000)].tolist()
        rows = found.num_steps * self.batches.size
        self.target.counter.num_gradients += int(np.ceil(rows / self.batches.total))
        if found.num_bad:
            self.findings.append(
                Finding(
                    "not finite",
                    "fit",
                    float(found.num_bad),
                    0.0,
                    "caution",
                    f"The bound was not finite at {found.num_bad} of {found.num_steps} steps.",
                )
            )
        self.rung(
            "fit",
            "mean-field",
            before,
            begin,
            reason=f"{self.plan.reason}. {found.num_steps} stochastic steps, {rows / self.batches.total:.1f} times over "
            f"the data: {found.reason}",
        )
