"""The result of a fit, however it was obtained."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...guides import log_prob as guide_log_prob
from ...guides import sample as guide_sample
from ...ppl.errors import InferenceError, UnsupportedError, explain
from ...ppl.masks import hide
from ...ppl.sites import Site, element_labels
from ..evidence.estimates import Estimates, estimate
from ..evidence.finding import Finding
from ..evidence.judging import verdicts_of
from ..evidence.law import Law
from ..evidence.quantities import quantity_values
from ..evidence.verdicts import ORDER, worst
from ..run.trail import Trail
from ..thresholds import MOST_UNTRUSTED

COLUMNS = ("mean", "sd", "q5", "median", "q95", "verdict", "reason")


@dataclass
class Posterior:
    """A posterior with the evidence that it can be trusted. Made by `elboroom.fit` and `elboroom.load`.

    Attributes
    ----------
    program : Program or None
        None after `elboroom.load` without a program.
    guide : Guide
        The fitted guide; its parameters are ``params``.
    trail : Trail
        The rungs tried, in order.
    findings : tuple of Finding
    cost : Cost
    law : {"guide", "psis", "mcmc"}
        Where ``draws`` come from: the guide itself, importance-corrected guide draws, or chains.
    """

    name: str
    question: str
    sites: tuple[Site, ...]
    coords: dict
    guide: Any
    params: dict
    law: str
    khat: float
    values: dict[str, np.ndarray]
    z: np.ndarray
    table: Any
    trail: Trail
    findings: tuple[Finding, ...]
    cost: Any
    settings: dict
    fit_record: dict
    observed_data: dict
    constant_data: dict
    data_fingerprint: str
    weights: dict = field(default_factory=dict)
    centring: dict = field(default_factory=dict)
    program: Any = None
    model_record: dict = field(default_factory=dict)
    _target: Any = None
    _outcome: Any = None
    _groups: dict = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        program,
        target,
        outcome,
        estimates,
        verdicts,
        values,
        layout,
        z,
        trail,
        findings,
        cost,
        settings,
        rhat=None,
    ) -> Posterior:
        """Gather what a fit found."""
        trace = target.trace
        by_site = split(values, layout)
        table = {
            "label": [
                label
                for name, shape in layout
                for label in element_labels(name, shape, trace[name].dims, trace.coords)
            ],
            **columns(estimates, verdicts),
        }
        pool = outcome.pool
        record = {
            "elbo": np.asarray(outcome.elbo_trace, float),
            "khat": np.asarray(outcome.khat, float),
            "log_weights": np.zeros(0) if pool is None else pool.log_weights,
        }
        record |= outcome.steps
        if outcome.guide_errors is not None:
            record["guide_mean"], record["guide_sd"] = outcome.guide_errors
        if rhat is not None:
            record["rhat"] = rhat
        if outcome.law.stats is not None:
            record |= _thinned(outcome.law, len(z))
        observed = {
            s.name: np.asarray(program.leaves[s.argument].value)
            for s in trace.by_role("observed")
            if s.argument is not None
        }
        observed |= _computed(target, z)
        observed = {name: hide(value, trace.hidden.get(name)) for name, value in observed.items()}
        used = {s.argument for s in trace.by_role("observed")}
        constant = {
            label: np.asarray(leaf.value)
            for label, leaf in program.leaves.items()
            if isinstance(leaf.value, np.ndarray) and label not in used
        }
        doc = (program.model.__doc__ or "").strip().split("\n\n")[0]
        made = cls(
            program.name,
            " ".join(doc.split()) or program.name,
            trace.sites,
            dict(trace.coords),
            outcome.guide,
            outcome.fitted.to_arrays(),
            outcome.law.kind,
            float(outcome.khat),
            by_site,
            z,
            table,
            trail,
            findings,
            cost,
            settings,
            record,
            observed,
            constant,
            program.data_fingerprint,
            {k: np.asarray(v) for k, v in trace.weights.items()},
            dict(target.centring),
            program,
            {
                "module": program.model.__module__,
                "name": program.model.name,
                "fingerprint": target.density.fingerprint,
                "code": program.model.code_hash,
                "dtype": str(target.dtype),
                "static": {k: repr(leaf.value) for k, leaf in program.leaves.items() if not leaf.traced},
            },
            target,
            outcome,
        )
        made._check_quantities()
        verdict = made.verdict
        last = max((i for i, r in enumerate(trail) if r.guide), default=None)
        if last is not None:
            from dataclasses import replace

            rungs = list(trail)
            rungs[last] = replace(rungs[last], verdict=verdict)
            made.trail = Trail(rungs)
        return made

    # -- summaries ---------------------------------------------------------------------------------

    @property
    def seed(self) -> int:
        """Seed of the fit."""
        return self.settings["seed"]

    @property
    def backend(self) -> str:
        """Backend of the fit."""
        return self.settings["backend"]

    @property
    def observed(self) -> dict[str, Site]:
        """Observed sites by name."""
        return {s.name: s for s in self.sites if s.role == "observed"}

    @property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each quantity, in the table's order, whether or not its draws were kept."""
        kept = self._groups.get("shapes", {})
        return kept or {name: value.shape[1:] for name, value in self.values.items()}

    def _site(self, name: str) -> Site:
        return next(s for s in self.sites if s.name == name)

    def _check_quantities(self):
        asked = self.settings.get("quantities")
        for name in asked or ():
            if name not in self._shapes and name not in self.table["label"]:
                raise InferenceError(
                    explain(
                        "quantities", f"names among {sorted(self._shapes)}", f"'{name}'", "correct the name"
                    )
                )

    def _judged(self) -> list[int]:
        asked = self.settings.get("quantities")
        local = set(self.settings.get("local", ()))
        owner = [name for name, shape in self._shapes.items() for _ in range(int(np.prod(shape, dtype=int)))]
        out = []
        for i, (label, name) in enumerate(zip(self.table["label"], owner, strict=True)):
            keep = (label in asked or name in asked) if asked is not None else name not in local
            if keep:
                out.append(i)
        return out or list(range(len(owner)))

    @property
    def judgement(self) -> str:
        """The worst verdict over the judged quantities alone."""
        return worst([self.table["verdict"][i] for i in self._judged()])

    @property
    def counts(self) -> dict[str, int]:
        """How many scalar quantities have which verdict, and how many are constant."""
        verdicts = list(self.table["verdict"])
        return {**{v: verdicts.count(v) for v in ORDER}, "constant": verdicts.count(None)}

    @property
    def doubts(self) -> str | None:
        """How many of all quantities are untrusted, and the main reason, where that is more than 5%.

        None where it is not, or where the user has named the quantities that matter.
        """
        counts = self.counts
        total = sum(counts.values()) - counts["constant"]
        if self.settings.get("quantities") is not None or counts["untrusted"] <= MOST_UNTRUSTED * total:
            return None
        reasons = Counter(
            re.sub(r"\d+(\.\d+)?", "…", reason)
            for verdict, reason in zip(self.table["verdict"], self.table["reason"], strict=True)
            if verdict == "untrusted"
        )
        reason, often = reasons.most_common(1)[0]
        share = "" if often == counts["untrusted"] else f" {often} of them"
        return f"{counts['untrusted']} of {total} quantities are untrusted;{share or ' all'}: {reason}."

    @property
    def verdict(self) -> str:
        """The worst verdict over the judged quantities: ``"trusted"``, ``"caution"`` or ``"untrusted"``.

        At most *caution* where more than 5% of all quantities are untrusted, unless ``quantities=`` named some.
        """
        return worst([self.judgement, "caution" if self.doubts else "trusted"])

    def summary(self, var_names=None):
        """One row per scalar quantity.

        Parameters
        ----------
        var_names : str or sequence of str, optional
            Sites to show; all by default.

        Returns
        -------
        pandas.DataFrame
            Columns ``mean, sd, q5, median, q95, verdict, reason``; constants have no verdict.
        """
        import pandas as pd

        frame = pd.DataFrame({c: self.table[c] for c in COLUMNS}, index=pd.Index(self.table["label"]))
        if var_names is None:
            return frame
        names = [var_names] if isinstance(var_names, str) else list(var_names)
        unknown = [n for n in names if n not in self._shapes and n not in self.table["label"]]
        if unknown:
            raise InferenceError(
                explain("var_names", f"names among {sorted(self._shapes)}", f"{unknown}", "correct the names")
            )
        keep = [label in names or label.split("[")[0] in names for label in self.table["label"]]
        return frame[keep]

    # -- draws -------------------------------------------------------------------------------------

    @property
    def _dims(self) -> dict[str, tuple]:
        return {s.name: s.dims for s in self.sites}

    @property
    def draws(self):
        """Draws as an ``xarray.DataTree`` with ArviZ groups.

        ``posterior``, ``observed_data``, ``constant_data``, ``sample_stats`` and ``fit`` are there at once;
        ``posterior_predictive``, ``log_likelihood``, ``log_prior``, ``prior`` and ``prior_predictive`` are
        computed when asked for. ``attrs["law"]`` says where the draws come from.
        """
        from .groups import lazy_tree

        return lazy_tree(self)

    def derive(self, fn: Callable):
        """New quantities computed from the draws, with verdicts of their own.

        Parameters
        ----------
        fn : callable
            Takes a mapping of site name to array of shape ``(num_draws, *shape)`` and returns a mapping of
            new names to arrays of shape ``(num_draws, …)``, or one such array.

        Returns
        -------
        pandas.DataFrame
            As `summary`.
        """
        import pandas as pd

        live = self._outcome is not None
        if live:
            law = self._outcome.law
            values, layout = quantity_values(self._target, law.z)
            inputs = split(values, layout)
        else:
            inputs = self.values
        labels, values = _derived(fn, inputs)
        rng = np.random.default_rng([self.seed, 11])
        if live:
            mirrored = self._outcome.mirrored(
                lambda z: _derived(fn, split(*quantity_values(self._target, z)))[1], values
            )
            estimates, verdicts = verdicts_of(self._outcome, values, rng, mirrored=mirrored)
        else:
            estimates, verdicts = _from_draws(self, values)
        return pd.DataFrame(columns(estimates, verdicts), index=pd.Index(labels))

    def discrete(self):
        """Posterior probabilities of the discrete sites, which the fit summed out.

        Returns
        -------
        xarray.Dataset
            One variable per site, dims those of the site and ``<name>_value``; averaged over the draws.

        Raises
        ------
        InferenceError
            If the model has no discrete latent site, or the posterior was loaded without its program.
        """
        from ...ppl.tree import dataset

        self._need_program("discrete")
        names = list(self._target.trace.counts) if self._target is not None else []
        if not names:
            raise InferenceError(
                explain(
                    "discrete",
                    "a model with discrete latent sites, and the data that were fitted",
                    "none",
                    "call it on the posterior of such a model",
                )
            )
        totals = {name: 0.0 for name in names}
        for start in range(0, len(self.z), 512):
            block = self._target.responsibilities(self.z[start : start + 512])
            totals = {name: totals[name] + block[name].sum(0) for name in names}
        means = {name: np.moveaxis(total, 0, -1) / len(self.z) for name, total in totals.items()}
        dims = {name: (*self._target.trace[name].dims, f"{name}_value") for name in names}
        return dataset(means, dims, self._target.trace.coords, ())

    def sample(self, num_draws: int = 1000, seed: int = 0) -> dict[str, np.ndarray]:
        """Fresh draws of the law that ``draws`` has.

        Importance-corrected where they are; chains, and posteriors loaded without their program, are
        resampled.

        Returns
        -------
        dict of numpy.ndarray
            Site name to shape ``(num_draws, *shape)``.
        """
        rng = np.random.default_rng([seed, 21])
        if self._target is None or self.law == "mcmc":
            chosen = rng.choice(len(self.z), num_draws, replace=num_draws > len(self.z))
            return {k: v[chosen] for k, v in self.values.items()}
        from ..evidence.pool import draw_pool

        if self.law == "guide":
            z = guide_sample(self.guide, self.params, num_draws, rng)
        else:
            law = self.guide.at(self.params)
            pool = draw_pool(self._target.value_and_grad, law, 4 * num_draws, rng)
            law = Law("psis", pool.z, pool.weights)
            z = pool.z[law.resample(num_draws, rng)]
        return self._target.constrain(z)

    def log_prob(self, values) -> np.ndarray:
        """Log density of the guide at constrained values of the latent sites.

        Parameters
        ----------
        values : mapping
            Site name to array of shape ``(B, *shape)``, or ``shape`` for one point.

        Returns
        -------
        numpy.ndarray, shape (B,)
        """
        latents = [s for s in self.sites if s.role == "latent"]
        missing = [s.name for s in latents if s.name not in values]
        if missing:
            raise InferenceError(
                explain("log_prob", "a value for every latent site", f"none for {missing}", "add them")
            )
        single = np.ndim(values[latents[0].name]) == len(latents[0].shape)
        batch = {
            s.name: np.asarray(values[s.name], float).reshape((1, *s.shape) if single else (-1, *s.shape))
            for s in latents
        }
        z, log_jacobian = self._unconstrain(batch)
        out = guide_log_prob(self.guide, self.params, z) - log_jacobian
        return out[0] if single else out

    def _unconstrain(self, batch):
        if self._target is not None:
            z = self._target.unconstrain(batch)
            return z, self._target.log_density(z)["log_jacobian"]
        if self.centring:
            self._need_program("log_prob")
        from ...ppl.backends import load

        return load(self.backend).unconstrain_sites([s for s in self.sites if s.role == "latent"], batch)

    # -- beyond ------------------------------------------------------------------------------------

    def _need_program(self, what: str):
        if self.program is None:
            raise InferenceError(
                explain(
                    what,
                    "the program that was fitted",
                    "a posterior loaded without it",
                    "load it with er.load(path, program=model(data))",
                )
            )

    def predict(self, new_groups=None, var_names=None, num_draws=None, do=None, seed: int = 0, **new_data):
        """Posterior predictive draws for new rows and new groups.

        Parameters
        ----------
        new_groups : str, sequence of str or True, optional
            Axes (plates) whose elements are new where their number differs: their latents come from the
            prior given the globals.
        var_names : sequence of str, optional
        num_draws : int, optional
        do : mapping, optional
            Sites to replace by values.
        **new_data
            Arguments of the model to replace. Outcomes are predicted, never handed back.

        Returns
        -------
        xarray.DataTree
            Group ``posterior_predictive``: outcomes and deterministics.
        """
        self._need_program("predict")
        from .predict import predict

        return predict(self, new_groups, var_names, num_draws, do, seed, new_data)

    def refine(
        self,
        num_chains: int = 4,
        num_draws: int | None = None,
        max_seconds: float | None = None,
        kernel: str = "nuts",
        seed: int | None = None,
        checkpoint=None,
        progress: bool = True,
    ) -> Posterior:
        """Chains of NUTS that start at draws of this posterior, and the posterior that they give.

        They run until effective sizes of bulk and tails pass 400, R̂ is below 1.01 and the Monte Carlo error of every
        judged quantity is a quarter of what *trusted* promises; nothing waits for a quantity whose tails are too heavy
        for an sd, and such a one is not trusted. Where the evidence speaks for the fit, its covariance
        is the metric and a short warm-up sets the step size; otherwise only the starting points are used.

        Parameters
        ----------
        num_chains : int
            Up to 31, of which one alone is never trusted; or many short ones on JAX, a multiple of 16: these begin at
            16 points and are judged by nested R̂. Several devices share them out.
        num_draws : int, optional
            Draws of each chain, four or more, in place of the rule above.
        max_seconds : float, optional
        kernel : {"nuts"}
        seed : int, optional
            That of the fit by default.
        checkpoint : str or path, optional
            A folder in whose ``posterior`` the draws so far are written every minute, for `elboroom.load`.
        progress : bool

        Returns
        -------
        Posterior
            A new one, whose `guide_errors` say how far the guide had been off. An interrupt keeps the draws so far.

        Raises
        ------
        InferenceError
            For a posterior without its program, or arguments out of range.

        References
        ----------
        Hoffman & Gelman (2014), The No-U-Turn Sampler, JMLR 15. Vehtari et al. (2021), Bayesian Analysis 16.
        Margossian et al. (2024), Nested R̂, Bayesian Analysis.
        """
        from ..mcmc.refine import refine

        if kernel != "nuts":
            raise UnsupportedError(explain("kernel", "'nuts'", repr(kernel), "leave it at its default"))
        return refine(self, num_chains, num_draws, max_seconds, seed, progress, checkpoint)

    @property
    def guide_errors(self):
        """How far the guide's own mean and sd had been off, once chains have shown it; None before.

        Returns
        -------
        pandas.DataFrame or None
            Per quantity ``mean``, the guide's less the chains' in their sds, and ``sd``, the guide's over theirs.
        """
        import pandas as pd

        if "guide_mean" not in self.fit_record:
            return None
        columns = {"mean": self.fit_record["guide_mean"], "sd": self.fit_record["guide_sd"]}
        return pd.DataFrame(columns, index=pd.Index(self.table["label"]))

    def check(self, statistics=None) -> tuple[Finding, ...]:
        """Findings about the model: does it fit the data?

        Parameters
        ----------
        statistics : mapping of str to callable, optional
            Test statistics of your own, by name: each takes the rows of an outcome, shape ``(N,)``, and returns a
            number, which is compared with that of replicated data.

        Returns
        -------
        tuple of Finding
            *misfit* where a check stands out among all (1%), *caution* where only among its own (2%).
        """
        from ...diagnostics import check

        return check(self, statistics)

    def report(self, path):
        """Write the report: one self-contained HTML file, and the same as JSON beside it.

        Returns
        -------
        pathlib.Path
        """
        from ...diagnostics import report

        return report(self, path)

    def save(self, path, dtype=None, groups=None, sites=None):
        """Write a folder in open formats (netCDF, JSON, safetensors), whole or not at all.

        Parameters
        ----------
        path : str or path
            A folder: absent, empty, or holding a saved posterior, which is replaced.
        dtype : {None, "float64", "float32"}
            Precision of draws in the file, by default their own. Single precision, compressed, is used where it
            resolves a ten-thousandth of the standard deviation.
        groups : sequence of str, optional
            Which of the computed groups (``"posterior_predictive"``, ``"log_likelihood"``, …) to keep; by default all
            that were asked for so far.
        sites : sequence of str, optional
            Latent and deterministic sites whose draws to keep; by default all. The summary has all of them, and
            ``load(path, program)`` makes the others' draws again, where the program has the fitted data.

        Returns
        -------
        pathlib.Path

        Raises
        ------
        InferenceError
            If the folder holds something else or cannot be written, or for an unknown precision, group or site.
        """
        from .save import save

        return save(self, path, dtype, groups, sites)

    def __repr__(self) -> str:
        from .render import text

        return text(self)

    def _repr_html_(self) -> str:
        from .render import html

        return html(self)


def _computed(target, z) -> dict[str, np.ndarray]:
    """Values of observed sites that the model computes from its data; not of those in which latent values take part."""
    if all(site.argument is not None for site in target.trace.by_role("observed")):
        return {}
    ends = z[[0, -1]].astype(target.dtype)
    found = target.density.observed(ends, target.data, target.weights)
    values = {name: np.asarray(value) for name, value in found.items()}
    return {name: value[0] for name, value in values.items() if np.array_equal(*value, equal_nan=True)}


def _thinned(law: Law, count: int) -> dict[str, np.ndarray]:
    """NUTS's statistics of the draws that are kept, chain by chain."""
    rows = law.resample(count, None)
    return {f"stats/{name}": value.ravel()[rows] for name, value in law.stats.items()}


def _derived(fn, inputs) -> tuple[list[str], np.ndarray]:
    """Labels and values ``(S, Q)`` of what `fn` makes of the draws."""
    result = fn(inputs)
    result = result if isinstance(result, dict) else {getattr(fn, "__name__", "derived"): result}
    labels, columns = [], []
    count = len(next(iter(inputs.values())))
    for name, value in result.items():
        value = np.asarray(value, float)
        if value.shape[:1] != (count,):
            raise InferenceError(
                explain(
                    f"derived quantity '{name}'",
                    f"an array with {count} draws on its first axis",
                    f"shape {value.shape}",
                    "compute draw by draw and keep the first axis",
                )
            )
        labels += element_labels(name, value.shape[1:])
        columns.append(value.reshape(count, -1))
    return labels, np.concatenate(columns, 1)


def split(values: np.ndarray, layout) -> dict[str, np.ndarray]:
    """Columns of quantities ``(S, Q)`` as arrays by site, in the order of `layout`."""
    out, start = {}, 0
    for name, shape in layout:
        size = int(np.prod(shape, dtype=int))
        out[name] = values[:, start : start + size].reshape(len(values), *shape)
        start += size
    return out


def columns(estimates: Estimates, verdicts) -> dict[str, Any]:
    return {
        "mean": estimates.mean,
        "sd": estimates.sd,
        "q5": estimates.quantiles[0],
        "median": estimates.quantiles[1],
        "q95": estimates.quantiles[2],
        "verdict": list(verdicts.verdict),
        "reason": list(verdicts.reason),
    }


def _from_draws(posterior: Posterior, values: np.ndarray):
    """Verdicts where only the stored draws are left: never better than the posterior's own."""
    from ..evidence.verdicts import Verdicts

    found = estimate(values)
    verdict = posterior.verdict
    words = f"as the posterior: {verdict}"
    constant = found.sd <= 1e-12 * np.abs(found.mean)
    return found, Verdicts(
        [None if c else verdict for c in constant], ["constant" if c else words for c in constant]
    )
