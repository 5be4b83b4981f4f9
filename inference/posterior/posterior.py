"""The result of a fit, however it was obtained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...guides.family import Guide, draw, log_density
from ...ppl.backends import load
from ...ppl.errors import InferenceError, explain
from ...ppl.fingerprints import looked_at_once
from ...ppl.tree import dataset
from ..deep.latent import Latent
from ..evidence.finding import Finding
from ..evidence.law import Law
from ..evidence.pool import draw_pool
from ..mcmc.refine import refine
from ..run.trail import Trail
from ..thresholds import DRAWS_PER_KEPT, RESPONSIBILITY_BLOCK
from .by_row import predict_by_row
from .classes import MEASURES
from .derive import derived
from .groups import lazy_tree
from .predict import predict
from .record import SE, Cost, Record, framed
from .render import html, text
from .save import save

SHOWN_BEFORE = {
    **{
        name: name
        for name in (
            "question", "sites", "coords", "values", "z", "table", "settings", "fit_record", "observed_data",
            "constant_data", "data_fingerprint", "centring", "seed", "backend", "observed",
        )
    },
    "model_record": "model",
}  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False)
class Posterior:
    """A posterior with the evidence that it can be trusted. Made by `elboroom.fit` and `elboroom.load`; never changed.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def level(y):
    ...     mu = er.sample("mu", er.Normal(0, 10))
    ...     with er.plate("row", len(y)):
    ...         er.observe("y", er.Normal(mu, 1), y)
    >>> posterior = er.fit(level([1.0, 2.0, 3.0]), progress=False)
    >>> posterior.verdict
    'trusted'
    >>> posterior.summary().columns.tolist()
    ['mean', 'sd', 'q5', 'median', 'q95', 'verdict', 'reason']
    """

    _record: Record
    _requested: dict[str, Any] = field(init=False, default_factory=dict)

    # -- what was found ----------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Name of the model."""
        return self._record.name

    @property
    def program(self) -> Any:
        """The model with its data; None after `elboroom.load` without a program."""
        return self._record.program

    @property
    def guide(self) -> Guide:
        """The fitted guide; its parameters are `params`."""
        return self._record.guide

    @property
    def params(self) -> Mapping[str, np.ndarray]:
        """Parameters of the guide, by name."""
        return self._record.params

    @property
    def weights(self) -> Mapping[str, np.ndarray]:
        """Learned arrays of the model, by name."""
        return self._record.weights

    @property
    def learned(self) -> Mapping[str, np.ndarray]:
        """Fitted arrays of the model, those of its networks among them, by name: points without a verdict."""
        return self._record.weights

    @property
    def learned_se(self) -> Mapping[str, np.ndarray]:
        """Standard errors of the fitted arrays, by the curvature of the log marginal likelihood; NaN where there is none.

        Empty where they were trained with an encoder.
        """
        return {k.removeprefix(SE): v for k, v in self._record.params.items() if k.startswith(SE)}

    @property
    def latent(self) -> Any:
        """Encoder and decoder of rows, and what they are for, see `elboroom.inference.deep.latent.Latent`.

        Raises
        ------
        InferenceError
            Where the rows have no encoder, or the posterior was loaded without a program.
        """
        if "latent" not in self._requested:
            self._requested["latent"] = Latent.of(self._record)
        return self._requested["latent"]

    @property
    def law(self) -> str:
        """Where `draws` come from: ``"guide"`` itself, ``"psis"``, importance-corrected draws of it, or ``"mcmc"``."""
        return self._record.law

    @property
    def khat(self) -> float:
        """k̂ of the importance weights of the guide's draws; NaN where there are none."""
        return self._record.khat

    @property
    def trail(self) -> Trail:
        """What the fit tried, in order."""
        return self._record.trail

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was seen of the data and of the fit."""
        return self._record.findings

    @property
    def privacy(self) -> Mapping[str, Any] | None:
        """What a private fit has spent, see `elboroom.Private`: ``epsilon``, ``delta``, ``clip``, ``noise_multiplier``, ``steps``,
        ``sampling_rate``, ``unit``, ``accountant``, what is ``public`` and others; None of a fit that was not private."""
        return self._record.settings.get("privacy")

    @property
    def cost(self) -> Cost:
        """What the fit cost."""
        return self._record.cost

    # -- summaries ---------------------------------------------------------------------------------

    @property
    def verdict(self) -> str:
        """The worst verdict over the judged quantities: ``"trusted"``, ``"caution"`` or ``"untrusted"``.

        At most *caution* where more than 5% of all quantities are untrusted, unless ``quantities=`` named some.
        """
        return self._record.verdict

    @property
    def judgement(self) -> str:
        """The worst verdict over the judged quantities alone."""
        return self._record.judgement

    @property
    def counts(self) -> dict[str, int]:
        """How many scalar quantities have which verdict, and how many are constant."""
        return self._record.counts

    @property
    def doubts(self) -> str | None:
        """How many of all quantities are untrusted, and the main reason, where that is more than 5%.

        None where it is not, or where the user has named the quantities that matter.
        """
        return self._record.doubts

    def summary(self, var_names: str | Sequence[str] | None = None):
        """One row per scalar quantity.

        Parameters
        ----------
        var_names : str or sequence of str, optional
            Sites to show; all by default.

        Returns
        -------
        pandas.DataFrame
            Columns ``mean, sd, q5, median, q95, verdict, reason``; constants have no verdict.

        Raises
        ------
        InferenceError
            For names of no quantity.
        """
        frame = framed(self._record.table)
        if var_names is None:
            return frame
        names = [var_names] if isinstance(var_names, str) else list(var_names)
        self._record.known("var_names", names)
        return frame[[label in names or label.split("[")[0] in names for label in frame.index]]

    # -- draws -------------------------------------------------------------------------------------

    @property
    def draws(self):
        """Draws as an ``xarray.DataTree`` with ArviZ groups.

        ``posterior``, ``observed_data``, ``constant_data``, ``sample_stats`` and ``fit`` are there at once (without ``lp`` where outcomes times
        draws are more than 2³⁰);
        ``posterior_predictive``, ``mixed_predictive`` (latent quantities of a row alone drawn anew from their prior),
        ``log_likelihood``, ``log_prior``, ``prior`` and ``prior_predictive`` are computed when asked for. ``attrs["law"]``
        says where the draws come from.
        """
        if "tree" not in self._requested:
            self._requested["tree"] = lazy_tree(self._record)
        return self._requested["tree"]

    def derive(self, fn: Callable[[Mapping[str, np.ndarray]], Any]):
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

        Raises
        ------
        InferenceError
            Where what it returns has no draws on its first axis.
        """
        return derived(self._record, fn)

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
        record = self._record
        record.needs_program("discrete")
        names = [] if record.target is None else list(record.target.trace.counts)
        if not names:
            raise InferenceError(
                explain(
                    "discrete",
                    "a model with discrete latent sites, and the data that were fitted",
                    "none",
                    "call it on the posterior of such a model",
                )
            )
        starts = range(0, len(record.z), RESPONSIBILITY_BLOCK)
        blocks = [record.target.responsibilities(record.z[i : i + RESPONSIBILITY_BLOCK]) for i in starts]
        totals = {name: np.sum([block[name].sum(0) for block in blocks], axis=0) for name in names}
        means = {name: np.moveaxis(total, 0, -1) / len(record.z) for name, total in totals.items()}
        trace = record.target.trace
        dims = {name: (*trace[name].dims, f"{name}_value") for name in names}
        return dataset(means, dims, trace.coords, ())

    def sample(self, num_draws: int = 1000, seed: int = 0) -> dict[str, np.ndarray]:
        """Fresh draws of the law that ``draws`` has.

        Importance-corrected where they are; chains, draws beside which groups were summed out or that have sds of linear
        response, and those of posteriors loaded without their program, are resampled.

        Parameters
        ----------
        num_draws : int
            How many.
        seed : int
            Same seed, same draws.

        Returns
        -------
        dict of numpy.ndarray
            Site name to shape ``(num_draws, *shape)``.
        """
        record, rng = self._record, np.random.default_rng([seed, 21])
        if record.target is None or record.law == "mcmc" or record.settings.get("resampled"):
            count = len(record.z)
            chosen = rng.choice(count, num_draws, replace=num_draws > count)
            return {k: v[chosen] for k, v in record.values.items()}
        fitted = record.guide.at(record.params)
        if record.law == "guide":
            return record.target.constrain(draw(fitted, num_draws, rng))
        pool = draw_pool(record.target.value_and_grad, fitted, DRAWS_PER_KEPT * num_draws, rng)
        law = Law("psis", pool.z, pool.weights)
        return record.target.constrain(pool.z[law.resample(num_draws, rng)])

    def log_prob(self, values: Mapping[str, Any]) -> np.ndarray:
        """Log density of the guide at constrained values of the latent sites.

        Parameters
        ----------
        values : mapping
            Site name to array of shape ``(B, *shape)``, or ``shape`` for one point.

        Returns
        -------
        numpy.ndarray, shape (B,)

        Raises
        ------
        InferenceError
            Where a site has no value.
        """
        record = self._record
        latents = record.latents
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
        z, log_jacobian = _unconstrained(record, batch)
        out = log_density(record.guide.at(record.params), z) - log_jacobian
        return out[0] if single else out

    # -- beyond ------------------------------------------------------------------------------------

    @looked_at_once()
    def predict(
        self,
        new_groups=None,
        var_names=None,
        num_draws=None,
        do=None,
        seed: int = 0,
        gate=None,
        by_row: bool = False,
        **new_data,
    ):
        """Posterior predictive draws for new rows and new groups.

        Parameters
        ----------
        new_groups : str, sequence of str or True, optional
            Axes (plates) whose elements are new where their number differs: their latents come from the
            prior given the globals.
        var_names : sequence of str, optional
            Sites to predict; by default outcomes and deterministics.
        num_draws : int, optional
            Draws to predict for; by default as many as are kept.
        do : mapping, optional
            Sites to replace by values.
        seed : int
            Same seed, same predictions.
        gate : object with a method ``refuse``, optional
            Is given the new data first, and raises for rows that are not such as were fitted: `elboroom.schema` makes one.
        by_row : bool
            Whether each row is predicted as if it came alone, with the same random numbers: a file gives what its rows give
            one by one, bit for bit, in any order. Draws of different rows are then no draws of a set of rows.
        **new_data
            Arguments of the model to replace. Outcomes are predicted, never handed back.

        Returns
        -------
        xarray.DataTree
            Group ``posterior_predictive``: outcomes and deterministics.
        """
        self._record.needs_program("predict")
        if gate is not None:
            gate.refuse(new_data)
        run = predict_by_row if by_row else predict
        return run(self._record, new_groups, var_names, num_draws, do, seed, new_data)

    @property
    def maps(self) -> Mapping[str, Mapping[str, Any]]:
        """What mends predicted probabilities, by outcome, see `calibrated`."""
        return self._record.maps

    def calibrated(self, *maps: Any) -> Posterior:
        """This posterior with maps that mend its predicted probabilities, which `save` keeps and `elboroom.calibration` applies.

        Parameters
        ----------
        *maps
            From ``er.calibration(posterior, rows)``: its ``.temperature()``, ``.isotonic()`` or ``.levels()``.

        Returns
        -------
        Posterior
            Same draws, same verdicts: what is mended are predictions, not quantities.

        Raises
        ------
        InferenceError
            For anything else.
        """
        for one in maps:
            site = self._record.observed.get(getattr(one, "name", ""))
            if (
                site is None
                or not hasattr(one, "as_dict")
                or (one.kind == "levels") == (site.measure in MEASURES)
            ):
                got, remedy = repr(one)[:80], "make one with er.calibration(posterior, rows).temperature()"
                raise InferenceError(explain("calibrated", "maps of this model's outcomes", got, remedy))
        kept = {**self._record.maps, **{one.name: one.as_dict() for one in maps}}
        return Posterior(replace(self._record, maps=kept))

    @looked_at_once()
    def refine(
        self,
        num_chains: int | None = None,
        num_draws: int | None = None,
        max_seconds: float | None = None,
        kernel: str = "auto",
        seed: int | None = None,
        checkpoint=None,
        progress: bool = True,
        *,
        track=None,
    ) -> Posterior:
        """Chains that start at draws of this posterior, and the posterior that they give.

        They run until effective sizes of bulk and tails pass 400, R̂ is below 1.01 and the Monte Carlo error of every
        judged quantity is a quarter of what *trusted* promises; nothing waits for a quantity whose tails are too heavy
        for an sd, and such a one is not trusted. Where the evidence speaks for the fit, its covariance
        is the metric and a short warm-up sets the step size; otherwise only the starting points are used.

        Parameters
        ----------
        num_chains : int, optional
            Up to 31, of which one alone is never trusted; or many short ones, a multiple of 16: these begin at 16 points
            and are judged by nested R̂. By default 4 of NUTS, 64 of HMC. On JAX several devices share out those of NUTS.
        num_draws : int, optional
            Draws of each chain, four or more, in place of the rule above.
        max_seconds : float, optional
            Chains end there; the draws so far are returned.
        kernel : {"auto", "nuts", "hmc"}
            NUTS of the backend's library; or Hamiltonian Monte Carlo whose chains take their steps together, as many at a
            time as one call of the density takes (ChEES). By itself the latter, which needs nothing compiled for it.
        seed : int, optional
            That of the fit by default.
        checkpoint : str or path, optional
            A folder in whose ``posterior`` the draws so far are written every minute, for `elboroom.load`.
        progress : bool
            Show a line on a terminal or in Jupyter.
        track : Tracker, optional
            Who is told of the chains, see `elboroom.Tracker`.

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
        Hoffman & Gelman (2014), The No-U-Turn Sampler, JMLR 15. Hoffman, Radul & Sountsov (2021), An adaptive-MCMC
        scheme for setting trajectory lengths in Hamiltonian Monte Carlo, AISTATS. Vehtari et al. (2021), Bayesian Analysis
        16. Margossian et al. (2024), Nested R̂, Bayesian Analysis.
        """
        given = num_chains, num_draws, max_seconds, seed, progress, checkpoint, kernel
        return Posterior(replace(refine(self._record, *given, track=track), stream=self._record.stream))

    def as_prior(self, forget: float = 1.0):
        """What the rows so far have said, for rows that come next.

        Parameters
        ----------
        forget : float
            What each row so far counts for, above 0 and up to 1.

        Returns
        -------
        Prior
            ``prior.onto(model(rows))`` is a program whose posterior is that of these rows and all before.

        Raises
        ------
        InferenceError
            For a posterior without its program and data.
        UnsupportedError
            For models whose likelihood is not carried on: with learned arrays, say.

        Notes
        -----
        The declared prior stays, and beside it stands the log likelihood of the rows so far, replaced by the nearest quadratic
        function of the unconstrained parameters on the posterior's own draws: to first order no mean and no
        covariance moves. Where it is quadratic, or of a one-parameter family such as Bernoulli or Poisson, it is carried
        exactly.

        References
        ----------
        Opper & Winther (1999), A Bayesian approach to on-line learning. Broderick et al. (2013), Streaming variational
        Bayes, NeurIPS. Ibrahim & Chen (2000), Power prior distributions, Statistical Science 15.
        """
        from ..stream.prior import prior_of

        return prior_of(self._record, forget)

    def update(self, program, forget: float = 1.0, keys=None, when=None, keep: int | None = None, **options):
        """The posterior of all rows so far and those of a program.

        Parameters
        ----------
        program : Program
            The same model with rows that have not been counted: a batch that has come before as a whole is refused.
        forget : float
            What each row so far counts for, above 0 and up to 1; with `when` for each unit of time that has passed.
        keys : array_like, optional
            What names each row: rows that have been counted are refused, see `Prior.seen`.
        when : float, optional
            Time of the rows. Where rows are forgotten, older ones than the last are refused; else their order does not matter.
        keep : int, optional
            Rows that are kept, to be fitted together every tenth update and where the chain of updates may have moved a
            mean by 0.15 sd; 10,000 by default, 0 for none.
        **options
            Of `elboroom.fit`: ``seed``, ``num_draws``, ``guide`` and others.

        Returns
        -------
        Posterior
            None of its quantities has a better verdict than the chain of updates allows: a finding called *stream* says
            what that may have cost.

        Raises
        ------
        DataError
            For rows that have been counted, or older rows where rows are forgotten.
        InferenceError, UnsupportedError
            See `as_prior`; also for another model.

        Examples
        --------
        >>> import elboroom as er
        >>> @er.model
        ... def level(y):
        ...     mu = er.sample("mu", er.Normal(0, 10))
        ...     with er.plate("row", len(y)):
        ...         er.observe("y", er.Normal(mu, 1), y)
        >>> posterior = er.fit(level([1.0, 2.0, 3.0]), progress=False)
        >>> posterior = posterior.update(level([4.0, 5.0]))
        >>> bool(abs(posterior.summary().loc["mu", "mean"] - 15 / 5.01) < 0.02), posterior.verdict
        (True, 'trusted')
        """
        from ..stream.update import updated

        return updated(self._record, program, forget, keys, when, keep, options)

    @property
    def guide_errors(self):
        """How far the guide's own mean and sd had been off, once chains have shown it; None before.

        Returns
        -------
        pandas.DataFrame or None
            Per quantity ``mean``, the guide's less the chains' in their sds, and ``sd``, the guide's over theirs.
        """
        import pandas as pd

        record = self._record.fit_record
        if "guide_mean" not in record:
            return None
        own = {"mean": record["guide_mean"], "sd": record["guide_sd"]}
        return pd.DataFrame(own, index=pd.Index(self._record.table["label"]))

    @looked_at_once()
    def check(self, statistics=None) -> tuple[Finding, ...]:
        """Findings about the model: does it fit the data?

        Parameters
        ----------
        statistics : mapping of str to callable, optional
            Test statistics of your own, by name: each takes the rows of an outcome, shape ``(N,)``, and returns a
            number, which is compared with that of replicated data. These draw latent quantities that belong to one row alone
            anew from their prior.

        Returns
        -------
        tuple of Finding
            *misfit* where a check stands out among all (1%), *caution* where only among its own (2%).
        """
        from ...diagnostics import check

        return check(self, statistics)

    @looked_at_once()
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
        return save(self._record, self._requested, path, dtype, groups, sites)

    def __getattr__(self, name: str) -> Any:
        """Parts of the record that version 0.1 showed as attributes; `draws` has them under the names of ArviZ."""
        if name in SHOWN_BEFORE:
            return getattr(self._record, SHOWN_BEFORE[name])
        raise AttributeError(f"'Posterior' object has no attribute '{name}'")

    def __repr__(self) -> str:
        return text(self._record)

    def _repr_html_(self) -> str:
        return html(self._record)


def record_of(posterior: Posterior) -> Record:
    """What a posterior is made of, for the rooms that read it.

    Raises
    ------
    InferenceError
        For what is none.
    """
    if not isinstance(posterior, Posterior):
        want, remedy = "what er.fit or er.load gives", "pass it"
        raise InferenceError(explain("posterior", want, type(posterior).__name__, remedy))
    return posterior._record  # noqa: SLF001  this is the door


def requested(posterior: Posterior) -> dict[str, Any]:
    """What has been computed of a posterior on request, by name: a cache beside it, empty in every new one."""
    return posterior._requested  # noqa: SLF001  this is the door


def _unconstrained(record: Record, batch: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Unconstrained coordinates of values, and the log Jacobian there."""
    if record.target is not None:
        z = record.target.unconstrain(batch)
        return z, record.target.log_density(z)["log_jacobian"]
    if record.centring:
        record.needs_program("log_prob")
    return load(record.backend).unconstrain_sites(record.latents, batch)
