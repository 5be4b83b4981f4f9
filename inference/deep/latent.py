"""What is peculiar to posteriors with encoded rows: ``posterior.latent``.

References
----------
Burda, Grosse & Salakhutdinov (2016), Importance weighted autoencoders, ICLR, on active units. Hoffman & Johnson (2016), ELBO
surgery. Cremer, Li & Duvenaud (2018), Inference suboptimality in variational autoencoders, ICML. Grosse, Ancha & Roy (2016), Measuring the reliability of MCMC inference with bidirectional Monte Carlo, on bounds from
both sides. Vovk, Gammerman & Shafer (2005), Algorithmic learning in a random world, on ranks among held-out rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from ...guides.amortized import Amortized, family_with
from ...guides.laws import moments
from ...ppl import nn
from ...ppl.codebook import VECTORS
from ...ppl.data import convert, holes
from ...ppl.errors import DataError, InferenceError, ShapeError, UnsupportedError, explain
from ...ppl.simulate import block_size, in_blocks
from ..evidence.estimates import Estimates
from ..thresholds import (
    ACTIVE_NATS,
    ACTIVE_VARIANCE,
    DRAWN_MEANS,
    GAP_ROWS,
    KHAT_TRUSTED,
    LEAST_ROW_SIZE,
    MEAN_DRAWS,
    MOST_AT_ONCE,
    MOST_WEIGHED,
    ROW_DRAWS,
    SANDWICH,
    SANDWICHED,
    WEIGHED_NUMBERS,
)
from .anomalies import anomalies, judges, statistics
from .bits import bits
from .compiled import Compiled
from .denoise import Denoising
from .distances import NOMINAL
from .evidence import Weighed, ascended, bound_of, laws_of, log_joint, weighed
from .factors import factor_table, factors_of, identified, matched
from .imputed import imputed
from .judged import CAUTION, TRUSTED, UNTRUSTED, doubt_of, others_capped, verdicts_of_rows, worse
from .kept import KEPT
from .leak import Leak, leak
from .noise import noise_of
from .quality import Quality, quality
from .quantized import codes_of, perplexity
from .rows import check_rows
from .samples import beside
from .setup import Setup, encoder_of, set_up
from .smoothness import jumps


@dataclass(frozen=True, eq=False)
class Latent:
    """Encoder and decoder of a posterior: made by `Posterior.latent`.

    Everything is given the fitted arrays. Data are those of a model's arguments that run along the rows: a mapping from
    argument to array, or the array where there is one; the rows that were fitted where they are left out.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def line(x):
    ...     slope = er.param("slope", np.ones(3))
    ...     with er.plate("row", len(x)):
    ...         z = er.sample("z", er.Normal(0, 1))
    ...         er.observe("x", er.Normal(z[:, None] * slope, 0.5).to_event(1), x)
    >>> x = np.random.default_rng(0).normal(size=(64, 1)) * np.array([1.0, -1.0, 2.0])
    >>> posterior = er.fit(line(x), guide=er.Amortized(), progress=False)
    >>> posterior.latent.encode(x[:5])["mean"].shape
    (5, 1)
    """

    setup: Setup
    compiled: Compiled
    params: Mapping[str, Any]
    held_out: np.ndarray
    seed: int
    far: np.ndarray | None = None
    limit: str = TRUSTED
    kept: np.ndarray | None = None
    _variants: dict = field(init=False, default_factory=dict)

    @classmethod
    def of(cls, record: Any) -> Latent:
        """Of a posterior's record.

        Raises
        ------
        InferenceError
            If its rows have no encoder, it was loaded without a program, or its encoder was no part of the model and came from
            no file.
        """
        rows = record.settings.get("encoder")
        if not rows:
            raise InferenceError(
                explain("posterior.latent", "a posterior with an encoder for its rows", "one without",
                        "fit with guide=er.Amortized(...)")
            )  # fmt: skip
        record.needs_program("posterior.latent")
        target = record.target
        if target is None:
            target = record.program.target(record.backend, record.model["dtype"]).at(record.weights)
        module = _modules(rows["module"], record.network)
        family = family_with(rows["within"], module, rows["sees"], rows["iterations"])
        setup = set_up(family, rows["plate"], target, rows["size"], record.seed, rows["gaps"])
        inputs = {
            label: (record.params[f"encoder/{label}/centre"], record.params[f"encoder/{label}/scale"], codes)
            for label, (_, _, codes) in setup.encoder.inputs.items()
        }
        setup = replace(
            setup, encoder=setup.encoder.with_inputs(inputs), unsettled=rows.get("unsettled", False)
        )
        to_device = setup.rows.small.to_device
        own = {k.removeprefix("encoder:"): v for k, v in record.params.items() if k.startswith("encoder:")}
        weights = {name: to_device(np.asarray(v)) for name, v in {**record.weights, **own}.items()}
        guide = {
            k.removeprefix("shared:"): to_device(v)
            for k, v in record.params.items()
            if k.startswith("shared:")
        }
        compiled = Compiled(setup.rows, setup.encoder, {})
        elsewhere = others_capped(record.fit_record["row_elsewhere"])
        return cls(
            setup,
            compiled,
            {"weights": weights, "guide": guide},
            record.fit_record["held_out"],
            record.seed,
            record.fit_record.get("far"),
            UNTRUSTED
            if setup.encoder.objection
            else worse(elsewhere, CAUTION if setup.unsettled else TRUSTED),
            record.fit_record.get(KEPT),
        )

    @property
    def best(self) -> str:
        """The best verdict that a row can have: by what was found elsewhere, and no better than *caution* where rows share quantities."""
        return worse(self.limit, CAUTION if doubt_of(self.setup) else TRUSTED)

    # -- the data ---------------------------------------------------------------------------------------

    @property
    def positions(self) -> np.ndarray:
        """Which of the rows that were fitted these are: all, unless they were more than a posterior can hold."""
        return np.arange(self.setup.rows.total) if self.kept is None else np.asarray(self.kept, int)

    @property
    def units(self) -> list[str]:
        """Label of each coordinate of a row."""
        out: list[str] = []
        for name, part in self.setup.rows.parts.items():
            count = part.stop - part.start
            out += [name] if count == 1 else [f"{name}[{i}]" for i in range(count)]
        return out

    def data_of(self, x: Any, what: str) -> tuple[dict[str, np.ndarray], int]:
        """Data of rows by argument, and their number."""
        rows, program = self.setup.rows, self.setup.rows.full.program
        if x is None:
            return rows.data, rows.total
        if not isinstance(x, Mapping):
            if len(rows.along) > 1:
                got = f"one array for {sorted(rows.along)}"
                raise DataError(explain(what, "a mapping from argument to array", got, "name each of them"))
            x = {next(iter(rows.along)): x}
        new = {label: convert(value, label, program.labels.get(label)).value for label, value in x.items()}
        return new, check_rows(program, rows.along, new, what)

    def seeing(self, data: Mapping[str, np.ndarray], judged: bool = True) -> Latent:
        """This, or one for rows that lack numbers where no fitted row did: its encoder sees what is usual in their place. Where they are to
        be judged by their density, they must not lack what has none."""
        known = self.setup.encoder.gaps
        gaps = frozenset(k for k, v in data.items() if k not in known and holes(v) is not None)
        if judged:
            self._check_given(data)
        if not gaps:
            return self
        if gaps not in self._variants:
            rows = self.setup.rows.lacking(gaps)
            self._check_gaps(gaps, rows.small)
            encoder = self.setup.encoder.with_gaps(known | gaps)
            setup = replace(self.setup, rows=rows, encoder=encoder)
            self._variants[gaps] = replace(self, setup=setup, compiled=Compiled(setup.rows, encoder, {}))
        return self._variants[gaps]

    def _check_given(self, data: Mapping[str, np.ndarray]) -> None:
        """Refuse rows that lack what the model has no law of."""
        known = self.setup.encoder.gaps - self.setup.rows.outcomes
        lost = sorted(k for k in known & set(data) if holes(data[k]) is not None)
        if lost:
            remedy = "ask the encoder alone, latent.encode(x, weigh=False), or give it a law by er.observe"
            raise DataError(
                explain(
                    f"argument '{lost[0]}'",
                    "all numbers, as the model has no law of it",
                    "missing ones",
                    remedy,
                )
            )

    def _check_gaps(self, gaps: frozenset[str], small: Any) -> None:
        """Refuse numbers that are missing where other elements' laws depend on them, of a batch with such gaps."""
        seen = sorted(gaps & {self.outcomes[name].argument for name in self.setup.rows.in_order})
        imputed = [name for name, how in small.trace.missing.items() if how == "imputed"]
        if seen or imputed:
            got = (
                f"some of '{seen[0]}', whose elements depend on those before them"
                if seen
                else (f"some of '{imputed[0]}', on which other outcomes depend")
            )
            raise UnsupportedError(
                explain("posterior.latent", "missing numbers that nothing else depends on", got, "leave these rows out")
            )  # fmt: skip

    def _padded(self, data: Mapping[str, np.ndarray], count: int) -> Iterator[tuple[np.ndarray, dict]]:
        """Rows in batches, the last one filled up, and what a compiled function takes of each."""
        size = self.setup.rows.size
        for start in range(0, count, size):
            some = np.arange(start, min(start + size, count))
            yield some, self.compiled.batches(np.resize(some, size)[None], data)

    # -- encode -----------------------------------------------------------------------------------------

    def weighed(
        self, data: Mapping[str, np.ndarray], count: int, num_draws: int = ROW_DRAWS
    ) -> Iterator[Weighed]:
        """Weighted draws of rows, some rows at a time."""
        return weighed(self.compiled, self.params, np.arange(count), self.seed + 1, num_draws, data, self.far)

    def moments(self, data: Mapping[str, np.ndarray], count: int) -> tuple[np.ndarray, np.ndarray]:
        """Means and sds of the laws of rows, some rows at a time."""
        each, parts = max(1, WEIGHED_NUMBERS // len(self.units) ** 2), []
        for start in range(0, count, each):
            rows = np.arange(start, min(start + each, count))
            parts.append(moments(laws_of(self.compiled, self.params, rows, self.seed, data)))
        mean, sd = (np.concatenate(both) for both in zip(*parts, strict=True))
        return mean, sd

    def encode(self, x: Any = None, num_draws: int = 0, weigh: bool = True):
        """Laws of the unconstrained coordinates of rows.

        Parameters
        ----------
        x : array or mapping, optional
            Data of rows.
        num_draws : int
            Draws of equal weight to return.
        weigh : bool
            Correct the encoder by importance weights of each row; without, its own law is returned, unjudged.

        Returns
        -------
        xarray.Dataset
            ``mean``, ``sd``, ``q5``, ``median``, ``q95`` by ``row`` and ``unit``; ``khat``, ``effective_draws`` and ``verdict`` by
            ``row``; ``draws`` where asked for.

        Raises
        ------
        DataError, ShapeError
            For data other than those that the encoder sees.
        """
        import xarray as xr

        data, count = self.data_of(x, "latent.encode")
        own = self.seeing(data, weigh)
        units, rng = self.units, np.random.default_rng([self.seed, 66])
        coords = {"unit": units}
        if not weigh:
            mean, sd = own.moments(data, count)
            return xr.Dataset({"mean": (("row", "unit"), mean), "sd": (("row", "unit"), sd)}, coords)
        columns: dict[str, list] = {name: [] for name in ("khat", "size", "verdict", "draws")}
        parts: list[Estimates] = []
        for some in own.weighed(data, count):
            found = some.estimates(some.z)
            parts.append(found)
            columns["khat"].append(some.khat)
            columns["size"].append(some.size)
            columns["verdict"].append(verdicts_of_rows(found, some.khat, self.best, self.setup.encoder.bits))
            if num_draws:
                columns["draws"].append(some.resampled(num_draws, rng))
        whole = {f.name: np.concatenate([getattr(p, f.name) for p in parts], -1) for f in fields(Estimates)}
        shape = (count, len(units))
        by_unit = {"mean": whole["mean"], "sd": whole["sd"]} | dict(
            zip(("q5", "median", "q95"), whole["quantiles"], strict=True)
        )
        out: dict[str, Any] = {
            name: (("row", "unit"), value.reshape(shape)) for name, value in by_unit.items()
        }
        out |= {
            "khat": ("row", np.concatenate(columns["khat"])),
            "effective_draws": ("row", np.concatenate(columns["size"])),
        }
        out["verdict"] = ("row", np.concatenate(columns["verdict"]))
        if num_draws:
            out["draws"] = (("row", "draw", "unit"), np.concatenate(columns["draws"]))
        return xr.Dataset(out, coords)

    def embed(self, x: Any = None) -> np.ndarray:
        """The encoder's means of rows, shape ``(rows, units)``: the same for the same row, always."""
        return self.encode(x, weigh=False)["mean"].to_numpy()

    def codes(self, x: Any = None) -> np.ndarray:
        """Which entries of the codebook rows are at, shape ``(rows, places)``.

        Parameters
        ----------
        x : array or mapping, optional
            Data of rows.

        Raises
        ------
        InferenceError
            Of a model without a codebook.
        """
        name = self._codebook("latent.codes")
        return codes_of(np.asarray(self.params["weights"][f"{name}{VECTORS}"], np.float64), self.embed(x))

    def perplexity(self) -> float:
        """As how many codes, used alike, those of all fitted rows are.

        Raises
        ------
        InferenceError
            Of a model without a codebook.
        """
        return perplexity(self.codes())

    def _codebook(self, what: str) -> str:
        """Name of the codebook.

        Raises
        ------
        InferenceError
        """
        if not self.setup.encoder.codebook:
            remedy = "declare er.Codebook in the model"
            raise InferenceError(explain(what, "rows at the entries of a codebook", "rows with laws", remedy))
        return self.setup.encoder.codebook

    # -- decode -----------------------------------------------------------------------------------------

    @property
    def outcomes(self) -> dict[str, Any]:
        """The rows' outcomes, observed or predicted, by name."""
        plate = self.setup.rows.plate
        return {
            s.name: s
            for s in self.setup.rows.small.trace.by_role("observed", "predicted")
            if plate in s.plates
        }

    @property
    def given(self) -> set[str]:
        """Arguments along the rows that are no outcomes, or on which other outcomes depend: what a decoder is given."""
        rows = self.setup.rows
        return (set(rows.along) - {s.argument for s in self.outcomes.values()}) | rows.conditions

    @property
    def labels(self) -> set[str]:
        """Arguments whose missing values are summed out."""
        rows = self.setup.rows
        return {
            s.argument for s in self.outcomes.values() if rows.small.trace.missing.get(s.name) == "summed"
        }

    def _context(
        self, count: int, given: Mapping[str, Any] | None, what: str, free: Set[str] = frozenset()
    ) -> dict[str, np.ndarray]:
        """Data of rows that are not there, but for what they are given; of what is `free` they need not be given anything."""
        rows, program = self.setup.rows, self.setup.rows.full.program
        given, labels = dict(given or {}), self.labels
        if not self.given - labels - free <= set(given) <= self.given:
            want = f"given={{...}} with {sorted(self.given)}" if self.given else "no given="
            raise DataError(explain(what, want, f"{sorted(given)}", "give what the rows are conditioned on"))
        out = {}
        for label, axis in rows.along.items():
            if label in given:
                out[label] = convert(given[label], label, program.labels.get(label)).value
            else:
                value = program.leaves[label].value
                first = np.take(value, [0], axis)
                if first.dtype.kind == "f":
                    first = np.full(first.shape, np.nan) if label in labels else np.nan_to_num(first)
                out[label] = np.repeat(first, count, axis)
        if check_rows(program, rows.along, out, what) != count:
            raise ShapeError(
                explain(what, f"{count} rows", "others", "give as many rows of what they are given")
            )
        return out

    def decode(self, z: Any, given: Mapping[str, Any] | None = None):
        """Means of the outcomes at coordinates of rows.

        Parameters
        ----------
        z : array, shape (rows, units)
            Unconstrained coordinates.
        given : mapping, optional
            Arguments of the model that are no outcomes, a row each, and outcomes on which others depend; without labels that some fitted
            rows lack means are on average over these.

        Returns
        -------
        xarray.Dataset
            By outcome, rows first; of outcomes whose law knows its mean, which classes have none of.

        Raises
        ------
        ShapeError
            For coordinates of another shape.
        """
        z = np.asarray(z, np.float64)
        units = self.setup.rows.num_units
        if z.ndim != 2 or z.shape[1] != units:
            raise ShapeError(
                explain("z of latent.decode", f"shape (rows, {units})", f"{z.shape}", "reshape it")
            )
        return self.means(z[:, None], self._context(len(z), given, "latent.decode"))

    def means(self, z: np.ndarray, data: Mapping[str, np.ndarray], known: bool = False):
        """Means of the outcomes of rows, on average over their draws ``(rows, S, u)``; given their outcomes where they are `known`, and of
        outcomes that are given to a network of their own law on average over rows that are drawn."""
        import xarray as xr

        size, dtype = self.setup.rows.size, self.setup.rows.small.dtype
        function = self.compiled.reconstructed if known else self.compiled.decoded
        parts: defaultdict[str, list] = defaultdict(list)
        constants = {**self.compiled.constants, "params": self.params}
        for some, given in self._padded(data, len(z)):
            own = np.moveaxis(np.resize(z[some], (size, *z.shape[1:])) if len(some) < size else z[some], 0, 1)
            _, found = function(
                {}, {"seed": np.zeros(1, np.int64), "z": own[None].astype(dtype), **given}, constants
            )
            for name, value in found.items():
                parts[name].append(np.asarray(value, np.float64)[0].mean(0)[: len(some)])
        out = {}
        for name, values in parts.items():
            site, value = self.outcomes.get(name), np.concatenate(values)
            if site is not None and site.measure == NOMINAL:  # classes have no mean
                continue
            value = self._drawn_mean(name, z, data, known) if name in self.setup.rows.in_order else value
            if site is not None and site.dims and site.dims[0] == self.setup.rows.plate:
                out[name] = (("row", *(f"{name}_dim_{i}" for i in range(1, value.ndim))), value)
        return xr.Dataset(out)

    def _drawn_mean(
        self, name: str, z: np.ndarray, data: Mapping[str, np.ndarray], known: bool
    ) -> np.ndarray:
        """Mean of an outcome of rows over what is drawn at their draws ``(rows, S, u)``, each as often as makes a few hundred."""
        rows, out = self.setup.rows, []
        draws = np.moveaxis(np.tile(z, (1, -(-DRAWN_MEANS // z.shape[1]), 1)), 1, 0)
        for start in range(0, len(z), rows.size):
            some = np.arange(start, min(start + rows.size, len(z)))
            cut, own = rows.taken(data, some), draws[:, some]
            if known:
                made = self.completed(own, cut, len(some), self.seed + start)
            else:
                made = self.simulated(
                    cut, len(some), self.seed + start, self.site_values(own, cut, len(some))
                )
            out.append(made[name].mean(0))
        return np.concatenate(out)

    def reconstruct(self, x: Any = None, num_draws: int = 64):
        """Means of the outcomes of rows under the posterior of each: what the model takes for their signal.

        Parameters
        ----------
        x : array or mapping, optional
            Data of rows.
        num_draws : int
            Draws of each row that are averaged over.

        Returns
        -------
        xarray.Dataset
            By outcome, rows first.
        """
        data, count = self.data_of(x, "latent.reconstruct")
        own = self.seeing(data)
        rng = np.random.default_rng([self.seed, 67])
        draws = np.concatenate(
            [some.resampled(num_draws, rng) for some in own.weighed(data, count, MEAN_DRAWS)]
        )
        return own.means(draws, data, known=True)

    def simulate(self, num_rows: int = 1, given: Mapping[str, Any] | None = None, seed: int = 0):
        """New rows from the fitted model.

        Parameters
        ----------
        num_rows : int
            How many.
        given : mapping, optional
            Arguments of the model that are no outcomes, a row each. Outcomes on which others depend may be given too, with NaN where a
            row's is not; what is not given is drawn first.
        seed : int
            Of the draws.

        Returns
        -------
        xarray.Dataset
            Latent sites and outcomes, rows first, but for those that were given.
        """
        import xarray as xr

        rows = self.setup.rows
        data = self._context(num_rows, given, "latent.simulate", rows.conditions)
        known = {s.name: s.argument for s in self.outcomes.values() if s.argument in (given or {})}
        found = self.simulated(data, num_rows, seed, known=known)
        out = {}
        for name, value in found.items():
            if name not in known or np.isnan(data[known[name]]).any():
                out[name] = (("row", *(f"{name}_dim_{i}" for i in range(1, value.ndim))), value)
        return xr.Dataset(out)

    def simulated(
        self, data: Mapping[str, np.ndarray], count: int, seed: int, values=None, known=None
    ) -> dict[str, np.ndarray]:
        """Sites of rows, drawn from the model, or from what is known of them: constrained `values` at draws ``(S, rows, …)``, or, for
        rows that are not there, outcomes that are `known`, by the arguments that hold them, NaN where they are not."""
        rows = self.setup.rows
        small = rows.small.at(self._learned)
        draw = small.density.predict_values if known is None else small.density.simulate
        parts: defaultdict[str, list] = defaultdict(list)
        sites = {
            s.name for s in small.trace.sites if s.dims and s.dims[0] == rows.plate and s.role != "factor"
        }
        shared = self._shared_values()
        for i, (some, padded, placed) in enumerate(self._placed(data, count, small)):
            own = {**shared, **{k: v[:, padded] for k, v in (values or {}).items()}}
            num = len(next(iter(own.values()))) if own else 1
            seeds = np.random.default_rng([seed, 68, i]).integers(0, 2**31, num)
            own = {k: np.broadcast_to(v, (num, *v.shape[1:])).astype(small.dtype) for k, v in own.items()}
            host = rows.taken(data, padded) if known else {}
            for name, label in (known or {}).items():
                value = np.broadcast_to(host[label], (num, *host[label].shape))
                own[name] = np.nan_to_num(value), ~np.isnan(value)
            found = draw(own, seeds, placed, small.weights)
            for name in sites & set(found):
                parts[name].append(np.asarray(found[name])[:, : len(some)])
        joined = {name: np.concatenate(values, 1) for name, values in parts.items()}
        return joined if values else {name: value[0] for name, value in joined.items()}

    def _placed(
        self, data: Mapping[str, np.ndarray], count: int, small: Any
    ) -> Iterator[tuple[np.ndarray, np.ndarray, dict[str, Any]]]:
        """Rows in batches, the same filled up, and the data of these where the target computes."""
        rows = self.setup.rows
        for start in range(0, count, rows.size):
            some = np.arange(start, min(start + rows.size, count))
            padded = np.resize(some, rows.size)
            cut = {k: small.to_device(v) for k, v in rows.taken(data, padded).items()}
            yield some, padded, {**small.data, **cut}

    @property
    def _learned(self) -> dict[str, Any]:
        return {k: v for k, v in self.params["weights"].items() if k in self.setup.rows.full.trace.weights}

    def _shared_values(self) -> dict[str, np.ndarray]:
        """Constrained values of what rows share, at its mean, with an axis of draws."""
        rows = self.setup.rows
        if not rows.num_shared:
            return {}
        z = rows.joined(
            np.zeros((1, rows.size, rows.num_units)), np.asarray(self.params["guide"]["mean"])[None]
        )
        values = rows.small.at(self._learned).constrain(np.asarray(z))
        return {s.name: values[s.name] for s in rows.small.sites if s.name not in rows.names}

    def impute(self, x: Any, num_draws: int = 400, seed: int = 0):
        """Missing entries of rows, from the posterior predictive of each.

        Parameters
        ----------
        x : array or mapping
            Data of rows; NaN where an outcome is missing.
        num_draws : int
            Draws of each row.
        seed : int
            Of the draws.

        Returns
        -------
        xarray.Dataset
            By outcome, rows first: ``name`` with means where entries are missing and the data elsewhere, ``name_sd``,
            ``name_q5`` and ``name_q95``; of classes in place of means the most probable one, and ``name_probs``, the probability of
            each on a last axis; and ``verdict`` by row.

        Notes
        -----
        Draws are given the fitted arrays, which are points: of models of few rows, whose networks know these by heart, 90% intervals of
        other rows cover less (83% with 125 and 398 fitted rows, `benchmarks/uses.py`). Weights with a prior widen them.
        """
        import xarray as xr

        data, count = self.data_of(x, "latent.impute")
        own = self.seeing(data)
        rng, draws, verdicts = np.random.default_rng([self.seed, 69]), [], []
        for some in own.weighed(data, count):
            draws.append(some.resampled(num_draws, rng))
            found = some.estimates(some.z)
            verdicts.append(verdicts_of_rows(found, some.khat, self.best, self.setup.encoder.bits))
        made = own.completed(np.moveaxis(np.concatenate(draws), 1, 0), data, count, seed)
        out: dict[str, Any] = {"verdict": ("row", np.concatenate(verdicts))}
        for name, site in self.outcomes.items():
            if site.argument is not None and name in made:
                out |= imputed(site, np.asarray(data[site.argument], np.float64), made[name])
        return xr.Dataset(out)

    def completed(
        self, draws: np.ndarray, data: Mapping[str, np.ndarray], count: int, seed: int
    ) -> dict[str, np.ndarray]:
        """Outcomes of rows at their coordinates ``(S, rows, u)``, drawn given all that is known of each row."""
        rows, parts = self.setup.rows, defaultdict(list)
        small = rows.small.at(self._learned)
        block = block_size(small)
        shared = np.broadcast_to(rows.shared_mean(self.params), (len(draws), rows.num_shared))
        for i, (some, padded, placed) in enumerate(self._placed(data, count, small)):
            z = rows.joined(draws[:, padded], shared).astype(small.dtype)
            seeds = np.random.default_rng([seed, 72, i]).integers(0, 2**31, len(z))
            found = in_blocks(partial(_completed, small, placed), (z, seeds), len(z), block)
            for name, site in self.outcomes.items():
                if name in found and site.dims and site.dims[0] == rows.plate:
                    parts[name].append(np.asarray(found[name])[:, : len(some)])
        return {name: np.concatenate(values, 1) for name, values in parts.items()}

    def denoise(self, x: Any, sd: Any = None, flipped: Any = None, num_draws: int = 400):
        """What the entries of rows were before noise of a known kind came over them.

        Parameters
        ----------
        x : array or mapping
            Data of the noisy rows; NaN where an entry of an outcome is lost.
        sd : float, array or mapping, optional
            Standard deviation of normal noise that was added to the entries of a normal outcome, each for itself: a number, an array
            that broadcasts against the outcome, or a mapping from outcome to one where there are several.
        flipped : float, array or mapping, optional
            Probability with which an entry of a binary outcome was flipped, below one half.
        num_draws : int
            Draws of each row.

        Returns
        -------
        xarray.Dataset
            By outcome, rows first: ``name``, the mean of the entry before the noise given the noisy row (of a binary one its
            probability to be 1), and ``name_sd``; of a normal one also ``name_q5`` and ``name_q95``; and ``verdict`` by row.

        Raises
        ------
        InferenceError
            If both kinds of noise are given or neither, or outcomes are not named.
        UnsupportedError
            For an outcome of another kind, or whose entries depend on each other given the coordinates.
        DataError, ShapeError
            For noise that is none, or of another shape, and see `encode`.

        Notes
        -----
        Weights are those of the coordinates given the noisy row, p(z) prod_j E[noise(noisy_j | x_j) | z], in closed form: a normal
        law's variance grows by that of the noise, a probability p becomes p (1 - e) + (1 - p) e. An outcome that is not named has no
        noise.
        """
        import xarray as xr

        if self.setup.rows.small.trace.counts:
            got = f"{sorted(self.setup.rows.small.trace.counts)}"
            raise UnsupportedError(explain("latent.denoise", "no discrete quantities that are summed out", got,
                                           "use latent.reconstruct"))  # fmt: skip
        self._check_density("latent.denoise")
        data, count = self.data_of(x, "latent.denoise")
        own, rows = self.seeing(data), self.setup.rows
        if rows.in_order:
            got = f"'{rows.in_order[0]}', whose elements its own network is given"
            raise UnsupportedError(
                explain("latent.denoise", "outcomes whose entries are independent given the coordinates", got,
                        "use latent.reconstruct")
            )  # fmt: skip
        noise = noise_of(self.outcomes, rows.plate, rows.along, data, sd, flipped)
        verdict, found = Denoising(own.compiled, self.params, data, noise, self.seed, self.best).cleaned(
            count, num_draws
        )
        out: dict[str, Any] = {"verdict": ("row", verdict)}
        for (name, suffix), value in found.items():
            dims = ("row", *(f"{name}_dim_{i}" for i in range(1, value.ndim)))
            out[f"{name}{suffix}"] = (dims, value)
        return xr.Dataset(out)

    def site_values(self, z: np.ndarray, data: Mapping[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
        """Constrained values of the rows' sites at coordinates ``(S, rows, u)``."""
        rows = self.setup.rows
        small = rows.small.at(self._learned)
        parts: defaultdict[str, list] = defaultdict(list)
        shared = np.broadcast_to(rows.shared_mean(self.params), (len(z), rows.num_shared))
        for some, padded, placed in self._placed(data, count, small):
            found = small.constrain(np.asarray(rows.joined(z[:, padded], shared)), data=placed)
            for name in rows.names:
                parts[name].append(found[name][:, : len(some)])
        return {name: np.concatenate(values, 1) for name, values in parts.items()}

    # -- scores -----------------------------------------------------------------------------------------

    def score(self, x: Any = None, num_draws: int = ROW_DRAWS):
        """Log p(x) of rows, by importance weights.

        Parameters
        ----------
        x : array or mapping, optional
            Data of rows.
        num_draws : int
            Draws of each row.

        Returns
        -------
        xarray.Dataset
            By row ``log_prob`` with its standard error ``se``, ``bound``, the evidence lower bound, ``khat`` and ``verdict``:
            *trusted* where k̂ allows, a quarter of the draws says the same, no audited row has a place that its draws do not
            know, and as many of the draws are effective as the mean of a row takes (*caution* where fewer are). The attribute
            ``sandwich`` is by how much bounds from below and from above are apart on such rows that the model simulates, whose
            coordinates are exact draws.
        """
        import xarray as xr

        self._check_density("latent.score")
        data, count = self.data_of(x, "latent.score")
        own = self.seeing(data)
        parts = [self.scored(some) for some in own.weighed(data, count, num_draws)]
        names = ("log_prob", "se", "bound", "khat", "verdict")
        out = xr.Dataset({name: ("row", np.concatenate([part[name] for part in parts])) for name in names})
        out.attrs["sandwich"] = self.sandwich
        return out

    def _check_density(self, what: str) -> None:
        """Refuse rows that are at one place each of a continuum, which has no probability."""
        encoder = self.setup.encoder
        if encoder.point and not encoder.codebook:
            got, remedy = (
                "rows at one place each",
                "look at latent.quality and latent.reconstruct, or fit with er.Amortized",
            )
            raise InferenceError(explain(what, "rows whose laws have densities", got, remedy))

    def scored(self, some: Weighed) -> dict[str, np.ndarray]:
        """Log p(x) of weighed rows, with what speaks for it, by name."""
        value, se = some.evidence
        few = some.log_weights[:, : max(1, some.log_weights.shape[1] // 4)]
        fewer = logsumexp(few, axis=1) - np.log(few.shape[1])
        same = some.exact | (np.abs(fewer - value) < 4 * np.maximum(2 * se, 1e-3))
        fine = (some.khat < KHAT_TRUSTED) & same & (self.sandwich <= SANDWICH)
        count = some.log_weights.shape[1]
        many = some.exact | (some.size >= LEAST_ROW_SIZE * min(1.0, count / ROW_DRAWS))
        verdict = np.where(fine, np.where(many, self.limit, worse(self.limit, CAUTION)), UNTRUSTED)
        return {"log_prob": value, "se": se, "bound": some.bound, "khat": some.khat, "verdict": verdict}

    @cached_property
    def sandwich(self) -> float:
        """Nats between upper and lower bounds of log p(x), on average over rows that the model simulates and whose k̂ is that of a
        row that is trusted."""
        rows = self.setup.rows
        if self.given:  # at what the fitted rows are given
            host = rows.host(np.resize(np.arange(rows.total), SANDWICHED))
            context = self._context(SANDWICHED, {k: host[k] for k in self.given}, "latent.score")
        else:
            context = self._context(SANDWICHED, None, "latent.score")
        made = self.simulated(context, SANDWICHED, self.seed)
        data = dict(context)
        for name, site in self.outcomes.items():
            if site.argument in data and site.argument not in rows.conditions:
                data[site.argument] = np.moveaxis(made[name], 0, rows.along[site.argument])
        z = self._coordinates({name: made[name] for name in rows.names}, data)
        constants, gaps = {**self.compiled.constants, "params": self.params}, []
        for weighed_rows in self.weighed(data, SANDWICHED):
            if weighed_rows.exact:  # all states are known
                gaps.append(np.zeros(len(weighed_rows.rows)))
                continue
            some = weighed_rows.rows
            exact = log_joint(self.compiled, constants, some, z[some][None], data)[0]
            exact = exact - weighed_rows.proposals.log_prob(z[some][:, None], np.arange(len(some)))[:, 0]
            ratio = weighed_rows.log_weights
            low = logsumexp(ratio, axis=1) - np.log(ratio.shape[1])
            # an exact draw stands for one of either law, as half of the draws are of each
            others = np.where(some[:, None] % 2, ratio[:, 1:], ratio[:, :-1])
            high = logsumexp(np.column_stack([others, exact]), axis=1) - np.log(ratio.shape[1])
            gaps.append((high - low)[weighed_rows.khat < KHAT_TRUSTED])
        known = np.concatenate(gaps)
        return float(known.mean()) if len(known) else np.inf

    def _coordinates(self, values: Mapping[str, np.ndarray], data: Mapping[str, np.ndarray]) -> np.ndarray:
        """Coordinates ``(rows, u)`` of constrained values of rows."""
        rows = self.setup.rows
        small, shared, out = rows.small.at(self._learned), self._shared_values(), []
        count = len(next(iter(values.values())))
        for some, padded, placed in self._placed(data, count, small):
            own = {k: np.asarray(v[padded], float)[None] for k, v in values.items()}
            out.append(rows.apart(small.unconstrain({**shared, **own}, data=placed))[0, : len(some)])
        return np.concatenate(out)

    def bits(self, x: Any = None, step: Any = None):
        """What rows cost to send to somebody who has the same model, in bits.

        Parameters
        ----------
        x : array or mapping, optional
            Data of rows.
        step : float or mapping, optional
            To which the numbers of a continuous outcome are rounded, or of each of several: numbers without an end cost endlessly many bits.

        Returns
        -------
        xarray.Dataset
            By row ``bits``, minus log2 p(x), which no code that knows the model undercuts on rows of its law; its standard error ``se``;
            ``bits_back``, by the encoder's bound, which bits-back coding reaches with the encoder as it is; both over the numbers of the row,
            ``per_number`` and ``bits_back_per_number``; and the ``verdict`` of `score`.

        Raises
        ------
        DataError
            If the step of a continuous outcome is not given, or that of a discrete one is.

        Notes
        -----
        Numbers that are rounded are spread evenly over their step, at random: on average that is no less than what the probability of the
        step costs, so that a step that is wide beside the noise of the model costs too much, never too little.

        References
        ----------
        Townsend, Bird & Barber (2019), Practical lossless compression with latent variables using bits back coding, ICLR. Theis, van den Oord &
        Bethge (2016), A note on the evaluation of generative models, ICLR.
        """
        return bits(self, x, step)

    def anomalies(self, x: Any, level: float = 0.05, score: str = "both"):
        """Rows that are unlike held-out ones.

        Parameters
        ----------
        x : array or mapping
            Data of rows.
        level : float
            Share of rows like the held-out ones that are called anomalies.
        score : {"both", "typicality", "log_prob"}
            What they are ranked by. By typicality: how far log p(x), the prior density of their coordinates and, of outcomes with 64 columns
            or more, their bits as zlib packs them are from those of held-out rows, too great or too small. By log p(x): minus that alone, to
            which a blank page is no anomaly where it is likely. By both: whichever is more, each in units of what is usual.

        Returns
        -------
        xarray.Dataset
            By row ``score``; ``p_value``, its rank among the rows that training held out, which is as rare as it says whatever the model
            is worth; ``anomaly``; and ``log_prob``, ``log_prior`` and ``complexity`` with what `score` says of the first.

        Raises
        ------
        InferenceError
            If no rows were held out, or too few for the level; for another score.
        DataError
            For rows with many different gaps, where no fitted row has any: each asks for the held-out rows with the same gaps.

        Notes
        -----
        The score by typicality is the squared Mahalanobis distance of the statistics from those of held-out rows. By both it is the greater
        of two: that distance and minus log p(x), each from its median and in units of what lies between that and its quantile at 95%. Their
        p-values are full conformal ones. Rows are ranked among a thousand of those held out at the most.

        References
        ----------
        Nalisnick et al. (2019), Detecting out-of-distribution inputs to deep generative models using typicality. Serrà et al. (2020), Input
        complexity and out-of-distribution detection with likelihood-based generative models, ICLR.
        """
        self._check_density("latent.anomalies")
        return anomalies(self, x, level, score)

    @cached_property
    def held_statistics(self) -> np.ndarray:
        """What the rows that training held out are by which anomalies are told, shape ``(rows, statistics)``."""
        return statistics(self, self.setup.rows.host(judges(self)))

    def leak(self, synthetic: Any = None, holdout: Any = None, seed: int = 0) -> Leak:
        """Whether made-up rows give away those that were trained on: are they nearer to these than to rows held out?

        Parameters
        ----------
        synthetic : xarray.Dataset, mapping, array or int, optional
            Made-up rows, as `simulate` gives them or as data of the outcomes' arguments are, by this model or any other generator that
            saw the same rows; or how many the model is to make up, as many as it was trained on by default. What they are given must be
            drawn from rows trained on and held out alike.
        holdout : mapping or array, optional
            Data of rows of the same law that the generator has not seen; those that training held out by default.
        seed : int
            Of the rows that are made up, and of ties.

        Returns
        -------
        Leak
            ``share`` of made-up rows whose nearest real one was trained on, beside what is ``expected``, and its ``p_value``; ``auc`` of
            telling who was trained on, and its p-value; the ``verdict``, and the ``finding`` in words.

        Raises
        ------
        InferenceError
            If no rows were held out, or no outcome is an argument.
        DataError, ShapeError
            For rows of other outcomes.

        Notes
        -----
        Distances are over all columns of the outcomes, each in its sds; categories count as different or not. At most 10,000 rows of a
        kind are compared. The tests are exact: which real rows were trained on is a coin thrown independently of what an innocent
        generator makes. A binomial test of the share would not be, as made-up rows share their nearest ones.
        """
        made, trained, held = beside(self, synthetic, holdout, "latent.leak", seed).tables
        return leak(made, trained, held, seed)

    def quality(
        self, features: Any = None, synthetic: Any = None, holdout: Any = None, seed: int = 0
    ) -> Quality:
        """How good made-up rows are: whether they are told from held-out ones, how various they are, and how near to rows trained on.

        Parameters
        ----------
        features : callable, optional
            From values of the outcome, rows first (a mapping of them by name where there are several), to features, shape
            ``(rows, features)``: of a classifier of one's own, say, in whose distances rows of a kind are near. The outcomes' own columns, in
            their sds, by default.
        synthetic, holdout, seed
            See `leak`.

        Returns
        -------
        Quality
            ``frechet``, the distance that is called Fréchet Inception where the features are those of that network, beside
            ``frechet_real``, what as many rows trained on have, and its p-value; ``diversity``; ``nearest``; and the ``findings``.

        Raises
        ------
        InferenceError, DataError
            See `leak`.
        ShapeError
            For features of another shape.

        Notes
        -----
        The distance of few rows is greater than that of many, and depends on the features: it is only compared with that of real rows, by
        the same features, of the same number.
        """
        return quality(beside(self, synthetic, holdout, "latent.quality", seed), features, seed)

    def gap(self, x: Any = None, num_rows: int = GAP_ROWS):
        """What the laws of rows lose, and to what (Cremer, Li & Duvenaud 2018).

        Parameters
        ----------
        x : array or mapping, optional
            Data of rows.
        num_rows : int
            Of the fitted rows, evenly among them, where none are given: each takes steps of its own.

        Returns
        -------
        xarray.Dataset
            By row, in nats: ``amortization``, what the encoder loses to the best law of its kind for that row, as its own ascent finds
            it; ``approximation``, what that one loses to the posterior, log p(x) by importance weights; ``gap``, both; and the standard
            error of each.

        Raises
        ------
        DataError, ShapeError
            See `encode`.
        """
        import xarray as xr

        if x is None:
            total = self.setup.rows.total
            x = self.setup.rows.host(np.unique(np.linspace(0, total - 1, min(num_rows, total)).astype(int)))
        self._check_density("latent.gap")
        if not self.setup.encoder.smooth:
            got = "bits" if self.setup.encoder.bits else "rows at the entries of a codebook"
            remedy = "compare latent.score with that of other models"
            raise InferenceError(explain("latent.gap", "rows with densities", got, remedy))
        data, count = self.data_of(x, "latent.gap")
        own, rows = self.seeing(data), np.arange(count)
        begun = laws_of(own.compiled, self.params, rows, self.seed, data)
        best = ascended(own.compiled, self.params, rows, self.seed, data=data)
        (bound, se), (tight, tight_se) = (
            bound_of(own.compiled, self.params, rows, law, self.seed, data) for law in (begun, best)
        )
        parts = [some.evidence for some in own.weighed(data, count)]
        evidence, error = (np.concatenate([part[i] for part in parts]) for i in range(2))
        found = {
            "amortization": (tight - bound, np.hypot(se, tight_se)),
            "approximation": (evidence - tight, np.hypot(error, tight_se)),
            "gap": (evidence - bound, np.hypot(error, se)),
        }
        columns = {name: ("row", value) for name, (value, _) in found.items()}
        return xr.Dataset(columns | {f"{name}_se": ("row", value) for name, (_, value) in found.items()})

    # -- the space --------------------------------------------------------------------------------------

    def table(self) -> pd.DataFrame:
        """Each unit: divergence from its prior, variance of its means over all rows, whether it is active, and how evenly it acts.

        Returns
        -------
        pandas.DataFrame
            ``kl`` in nats a row, on average over rows, by the encoder's own law; ``variance`` of the means; ``active`` where that
            is above 0.01 (Burda et al. 2016), ``collapsed`` where the divergence is below 0.01. And ``jump``, of active units: the
            largest step of the outcomes' means over the median one, at 61 values of the unit from -3 to 3, the others at zero. It is
            1 where they move evenly, as of a linear model, 1.3 to 2.2 of handwritten digits; above 20 a traversal or interpolation
            passes through places that the decoder was never trained at (two patterns with nothing between them: 150 and more).
        """
        variance = self._means_of_all.var(0)
        divergence, active = self.divergences().mean(0), variance > ACTIVE_VARIANCE
        jump = np.full(len(active), np.nan)
        if self.setup.encoder.smooth:
            jump[active] = jumps(self.compiled, self.params, np.flatnonzero(active))
        return pd.DataFrame(
            {"kl": divergence, "variance": variance, "active": active, "collapsed": divergence < ACTIVE_NATS,
             "jump": jump},
            index=pd.Index(self.units, name="unit"),
        )  # fmt: skip

    def divergences(self, x: Any = None) -> np.ndarray:
        """Divergence of each unit of rows from its prior by the encoder's own law, in nats, shape ``(rows, units)``.

        Parameters
        ----------
        x : array or mapping, optional
            Data of rows.
        """
        data, count = self.data_of(x, "latent.divergences")
        own = self.seeing(data, judged=False)
        function, constants = own.compiled.divergences, {**own.compiled.constants, "params": self.params}
        found = []
        for some, given in own._padded(data, count):  # noqa: SLF001  this, for other rows
            seeds = np.random.default_rng([self.seed, 70, int(some[0])]).integers(0, 2**31, 1)
            _, seen = function({}, {"seed": seeds, **given}, constants)
            found.append(np.asarray(seen["kl"], np.float64)[0, : len(some)])
        return np.concatenate(found)

    def factors(self, values: Any, x: Any = None) -> pd.DataFrame:
        """How far units stand for what is known of rows: scores that the field compares, and no verdict.

        Parameters
        ----------
        values : mapping or table
            Name of a factor to its value for each row: labels, or numbers of a few different values.
        x : array or mapping, optional
            Data of these rows; the fitted ones by default.

        Returns
        -------
        pandas.DataFrame
            By factor, and ``"all"``: the ``unit`` that tells most of it, its mutual ``information`` and the factor's ``entropy`` in nats;
            ``mig``, the gap to the next unit over the entropy (1 where one unit alone is the factor), with ``mig_se`` and an interval of
            95% from ``mig_low`` to ``mig_high``; ``sap``, the gap in explained variance of held-out rows; ``completeness`` and, of all,
            ``disentanglement`` by importances in ridge regressions on all units; ``informativeness``, the variance of held-out rows that
            they explain. The attribute ``bins`` says into how many of equal width each unit's means were put.

        Raises
        ------
        DataError, ShapeError
            For factors that are none, and see `encode`.
        """
        means = self._means_of_all if x is None else self.embed(x)
        return factor_table(means, factors_of(values, len(means)), self.units)

    def agreement(self, *others: Any, x: Any = None) -> pd.DataFrame:
        """Whether other starts of the same model have the same units.

        Parameters
        ----------
        *others : Posterior
            Fits with other seeds.
        x : array or mapping, optional
            Data of the rows that they are compared at; the fitted ones of this one by default.

        Returns
        -------
        pandas.DataFrame
            By active unit and start: absolute correlation of its means with those of the unit that it is matched to. The attribute
            ``mcc`` is their mean, ``finding`` what it says: *not identified*, or that units are the same. It is never a verdict.

        Raises
        ------
        InferenceError
            Without another posterior with an encoder.
        """
        if not others or not all(hasattr(other, "latent") for other in others):
            got = "none" if not others else f"{type(others[0]).__name__}"
            raise InferenceError(
                explain("latent.agreement", "other posteriors of the same model", got, "fit with seed=1, say")
            )
        rows = self.setup.rows
        data = {label: np.asarray(value) for label, value in rows.data.items()} if x is None else x
        means = [latent.embed(data) for latent in (self, *(other.latent for other in others))]
        table = matched(means[0], means[1:], self.units)
        finding = identified(table, rows.plate)
        table.attrs |= {"mcc": finding.value, "finding": finding}
        return table

    def traverse(
        self, unit: int | str, values: Any = None, at: Any = None, given: Mapping[str, Any] | None = None
    ):
        """Outcomes along one unit.

        Parameters
        ----------
        unit : int or str
            Position or label, see `units`.
        values : array, optional
            Of the coordinate; seven from -3 to 3 by default, of bits 0 and 1.
        at : array, shape (units,), optional
            The other coordinates; zeros by default.
        given : mapping, optional
            See `decode`.

        Returns
        -------
        xarray.Dataset
            See `decode`, a row for each value.

        Raises
        ------
        InferenceError
            For a unit that there is not.
        """
        units = self.units
        place = units.index(unit) if unit in units else unit
        if isinstance(place, bool) or not isinstance(place, (int, np.integer)) or not 0 <= place < len(units):
            raise InferenceError(
                explain("unit of latent.traverse", f"one of {units[:8]}", repr(unit), "choose one")
            )
        if values is None:
            values = [0.0, 1.0] if self.setup.encoder.bits else np.linspace(-3, 3, 7)
        values = np.atleast_1d(np.asarray(values, float))
        z = np.tile(np.zeros(len(units)) if at is None else np.asarray(at, float), (len(values), 1))
        z[:, place] = values
        return self.decode(z, given)

    def interpolate(self, first: Any, second: Any, num: int = 8, given: Mapping[str, Any] | None = None):
        """Outcomes on the line between two rows' means.

        Parameters
        ----------
        first, second : array or mapping
            Data of one row each, with the axis of rows.
        num : int
            Places, both ends included.
        given : mapping, optional
            See `decode`.

        Returns
        -------
        xarray.Dataset
            See `decode`.
        """
        ends = [self.embed(x) for x in (first, second)]
        if any(len(end) != 1 for end in ends):
            got = f"{len(ends[0])} and {len(ends[1])}"
            raise ShapeError(
                explain("latent.interpolate", "one row at each end", got, "pass x[:1] and x[1:2]")
            )
        share = np.linspace(0, 1, num)[:, None]
        return self.decode((1 - share) * ends[0] + share * ends[1], given)

    def neighbours(self, x: Any, num: int = 5) -> tuple[np.ndarray, np.ndarray]:
        """The fitted rows whose means are nearest to those of other rows.

        Parameters
        ----------
        x : array or mapping
            Data of rows.
        num : int
            Of neighbours of each.

        Returns
        -------
        tuple of numpy.ndarray
            Positions among the fitted rows, nearest first, and distances, shapes ``(rows, num)``.
        """
        own, others = self.embed(x), self._means_of_all
        index, distance = [], []
        for start in range(0, len(own), MOST_AT_ONCE):
            apart = np.sqrt(((own[start : start + MOST_AT_ONCE, None] - others[None]) ** 2).sum(-1))
            order = np.argsort(apart, axis=1, kind="stable")[:, :num]
            index.append(order)
            distance.append(np.take_along_axis(apart, order, 1))
        return np.concatenate(index), np.concatenate(distance)

    @cached_property
    def _means_of_all(self) -> np.ndarray:
        return self.embed()


def _completed(small: Any, placed: Mapping[str, Any], drawn: tuple[np.ndarray, np.ndarray]) -> Any:
    """Outcomes of a batch at some draws ``(z, seeds)``."""
    return small.density.complete(*drawn, placed, small.weights)


def recorded(setup: Setup, family: Amortized) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What `Latent.of` needs of a fit again: JSON-ready settings, and arrays by name."""
    settings = {
        "plate": setup.rows.plate,
        "module": [[list(view), _described(net)] for view, net in family.views.items()]
        or _described(family.module),
        "within": family.within,
        "iterations": int(setup.encoder.iterations),
        "sees": None if family.views else list(setup.encoder.inputs),
        "size": min(setup.rows.size, MOST_WEIGHED),
        "gaps": sorted(setup.encoder.gaps),
        "unsettled": setup.unsettled,
    }
    arrays: dict[str, np.ndarray] = {}
    for label, (centre, scale, _) in setup.encoder.inputs.items():
        arrays |= {f"encoder/{label}/centre": np.asarray(centre), f"encoder/{label}/scale": np.asarray(scale)}
    return settings, arrays


def _described(module: Any) -> Any:
    """A module as JSON has it: its name, the sizes of a declared network, or nothing."""
    if module is None or isinstance(module, str):
        return module
    if type(module).__module__.startswith(nn.__name__):
        own = {f.name: getattr(module, f.name) for f in fields(module)}
        return {
            "network": type(module).__name__,
            **{k: list(v) if isinstance(v, tuple) else v for k, v in own.items()},
        }
    return {"network": None}


def _modules(described: Any, in_memory: Any) -> Any:
    """A module, or those of views, see `_module`."""
    if not isinstance(described, list):
        return _module(described, in_memory)
    return {tuple(view): _module(one, (in_memory or {}).get(encoder_of(view))) for view, one in described}


def _module(described: Any, in_memory: Any) -> Any:
    """A module by what `_described` made of it, or the one that is in memory still."""
    if not isinstance(described, Mapping):
        return described
    if described["network"] is None:
        if in_memory is not None:
            return in_memory
        raise InferenceError(
            explain("posterior.latent of a file", "an encoder that a file can describe", "a network of one's own",
                    "declare it in the model by er.module and name it in er.Amortized")
        )  # fmt: skip
    own = {k: v for k, v in described.items() if k != "network"}
    return getattr(nn, described["network"])(**own)
