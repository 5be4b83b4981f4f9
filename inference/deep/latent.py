"""What is peculiar to posteriors with encoded rows: ``posterior.latent``.

References
----------
Burda, Grosse & Salakhutdinov (2016), Importance weighted autoencoders, ICLR, on active units. Hoffman & Johnson (2016), ELBO
surgery. Cremer, Li & Duvenaud (2018), Inference suboptimality in variational autoencoders, ICML. Grosse, Ancha & Roy (2016), Measuring the reliability of MCMC inference with bidirectional Monte Carlo, on bounds from
both sides. Vovk, Gammerman & Shafer (2005), Algorithmic learning in a random world, on ranks among held-out rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from ...guides.amortized import Amortized
from ...guides.laws import moments
from ...ppl import nn
from ...ppl.data import convert, holes
from ...ppl.errors import DataError, InferenceError, ShapeError, explain
from ...ppl.rows import shrunk
from ..evidence.estimates import Estimates
from ..thresholds import (
    ACTIVE_NATS,
    ACTIVE_VARIANCE,
    GAP_ROWS,
    KHAT_TRUSTED,
    MEAN_DRAWS,
    MOST_AT_ONCE,
    MOST_WEIGHED,
    ROW_DRAWS,
    SANDWICH,
    SANDWICHED,
)
from .compiled import Compiled
from .denoise import Denoising
from .evidence import Weighed, ascended, bound_of, laws_of, log_joint, weighed
from .judged import CAUTION, TRUSTED, others_capped, verdicts_of_rows, worse
from .noise import noise_of
from .rows import check_rows
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
        family = Amortized(
            _modules(rows["module"], record.network), rows["within"], rows["sees"], rows["iterations"]
        )
        setup = set_up(family, rows["plate"], target, rows["size"], record.seed, rows["gaps"])
        inputs = {
            label: (record.params[f"encoder/{label}/centre"], record.params[f"encoder/{label}/scale"], codes)
            for label, (_, _, codes) in setup.encoder.inputs.items()
        }
        setup = replace(setup, encoder=setup.encoder.with_inputs(inputs))
        to_device = setup.rows.small.to_device
        own = {k.removeprefix("encoder:"): v for k, v in record.params.items() if k.startswith("encoder:")}
        weights = {name: to_device(np.asarray(v)) for name, v in {**record.weights, **own}.items()}
        guide = {
            k.removeprefix("shared:"): to_device(v)
            for k, v in record.params.items()
            if k.startswith("shared:")
        }
        compiled = Compiled(setup.rows, setup.encoder, {})
        return cls(
            setup,
            compiled,
            {"weights": weights, "guide": guide},
            record.fit_record["held_out"],
            record.seed,
            record.fit_record.get("far"),
            others_capped(record.fit_record["row_elsewhere"]),
        )

    @property
    def best(self) -> str:
        """The best verdict that a row can have: by what was found elsewhere, and no better than *caution* where rows share quantities."""
        return worse(self.limit, CAUTION if self.setup.rows.num_shared else TRUSTED)

    # -- the data ---------------------------------------------------------------------------------------

    @property
    def units(self) -> list[str]:
        """Label of each coordinate of a row."""
        out: list[str] = []
        for name, part in self.setup.rows.parts.items():
            count = part.stop - part.start
            out += [name] if count == 1 else [f"{name}[{i}]" for i in range(count)]
        return out

    def _data(self, x: Any, what: str) -> tuple[dict[str, np.ndarray], int]:
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

    def _seeing(self, data: Mapping[str, np.ndarray]) -> Latent:
        """This, or one for rows that lack numbers where no fitted row did: its encoder sees what is usual in their place."""
        known = self.setup.encoder.gaps
        gaps = frozenset(k for k, v in data.items() if k not in known and holes(v) is not None)
        if not gaps:
            return self
        if gaps not in self._variants:
            rows = self.setup.rows
            leaves = rows.small.program.leaves
            some = {k: np.array(leaves[k].value, float if k in gaps else None) for k in rows.along}
            for label in gaps:
                some[label].flat[0] = np.nan
            small = shrunk(rows.full, some, {rows.plate: rows.size}, {})
            encoder = self.setup.encoder.with_gaps(known | gaps)
            setup = replace(self.setup, rows=replace(rows, small=small), encoder=encoder)
            self._variants[gaps] = replace(self, setup=setup, compiled=Compiled(setup.rows, encoder, {}))
        return self._variants[gaps]

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

        data, count = self._data(x, "latent.encode")
        own = self._seeing(data)
        units, rng = self.units, np.random.default_rng([self.seed, 66])
        coords = {"unit": units}
        if not weigh:
            mean, sd = moments(laws_of(own.compiled, self.params, np.arange(count), self.seed, data))
            return xr.Dataset({"mean": (("row", "unit"), mean), "sd": (("row", "unit"), sd)}, coords)
        columns: dict[str, list] = {name: [] for name in ("khat", "size", "verdict", "draws")}
        parts: list[Estimates] = []
        for some in own.weighed(data, count):
            found = some.estimates(some.z)
            parts.append(found)
            columns["khat"].append(some.khat)
            columns["size"].append(some.size)
            columns["verdict"].append(verdicts_of_rows(found, some.khat, self.best))
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

    # -- decode -----------------------------------------------------------------------------------------

    @property
    def _outcomes(self) -> dict[str, Any]:
        plate = self.setup.rows.plate
        return {
            s.name: s
            for s in self.setup.rows.small.trace.by_role("observed", "predicted")
            if plate in s.plates
        }

    @property
    def _given(self) -> set[str]:
        """Arguments along the rows that are no outcomes: what a decoder is given."""
        return set(self.setup.rows.along) - {s.argument for s in self._outcomes.values()}

    def _context(self, count: int, given: Mapping[str, Any] | None, what: str) -> dict[str, np.ndarray]:
        """Data of rows that are not there, but for what they are given."""
        rows, program = self.setup.rows, self.setup.rows.full.program
        given = dict(given or {})
        if set(given) != self._given:
            want = f"given={{...}} with {sorted(self._given)}" if self._given else "no given="
            raise DataError(explain(what, want, f"{sorted(given)}", "give what the rows are conditioned on"))
        out = {}
        for label, axis in rows.along.items():
            if label in given:
                out[label] = convert(given[label], label, program.labels.get(label)).value
            else:
                value = program.leaves[label].value
                first = np.take(value, [0], axis)
                if first.dtype.kind == "f":
                    first = np.nan_to_num(first)
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
            Arguments of the model that are no outcomes, a row each.

        Returns
        -------
        xarray.Dataset
            By outcome, rows first; of outcomes whose law knows its mean.

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

    def means(self, z: np.ndarray, data: Mapping[str, np.ndarray]):
        """Means of the outcomes of rows, on average over their draws ``(rows, S, u)``."""
        import xarray as xr

        size, dtype = self.setup.rows.size, self.setup.rows.small.dtype
        function = self.compiled.decoded
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
            site, value = self._outcomes.get(name), np.concatenate(values)
            if site is not None and site.dims and site.dims[0] == self.setup.rows.plate:
                out[name] = (("row", *(f"{name}_dim_{i}" for i in range(1, value.ndim))), value)
        return xr.Dataset(out)

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
        data, count = self._data(x, "latent.reconstruct")
        own = self._seeing(data)
        rng = np.random.default_rng([self.seed, 67])
        draws = np.concatenate(
            [some.resampled(num_draws, rng) for some in own.weighed(data, count, MEAN_DRAWS)]
        )
        return own.means(draws, data)

    def simulate(self, num_rows: int = 1, given: Mapping[str, Any] | None = None, seed: int = 0):
        """New rows from the fitted model.

        Parameters
        ----------
        num_rows : int
            How many.
        given : mapping, optional
            Arguments of the model that are no outcomes, a row each.
        seed : int
            Of the draws.

        Returns
        -------
        xarray.Dataset
            Latent sites and outcomes, rows first.
        """
        import xarray as xr

        found = self.simulated(self._context(num_rows, given, "latent.simulate"), num_rows, seed)
        out = {}
        for name, value in found.items():
            out[name] = (("row", *(f"{name}_dim_{i}" for i in range(1, value.ndim))), value)
        return xr.Dataset(out)

    def simulated(
        self, data: Mapping[str, np.ndarray], count: int, seed: int, values=None
    ) -> dict[str, np.ndarray]:
        """Sites of rows, drawn from the model, or from what is known of them."""
        rows = self.setup.rows
        small = rows.small.at(self._learned)
        parts: defaultdict[str, list] = defaultdict(list)
        sites = {
            s.name for s in small.trace.sites if s.dims and s.dims[0] == rows.plate and s.role != "factor"
        }
        shared = self._shared_values()
        for i, start in enumerate(range(0, count, rows.size)):
            some = np.arange(start, min(start + rows.size, count))
            padded = np.resize(some, rows.size)
            cut = {k: small.to_device(v) for k, v in rows.taken(data, padded).items()}
            placed = {**small.data, **cut}
            known = {**shared, **{k: v[:, padded] for k, v in (values or {}).items()}}
            num = len(next(iter(known.values()))) if known else 1
            seeds = np.random.default_rng([seed, 68, i]).integers(0, 2**31, num)
            known = {k: np.broadcast_to(v, (num, *v.shape[1:])).astype(small.dtype) for k, v in known.items()}
            found = small.density.predict_values(known, seeds, placed, small.weights)
            for name in sites & set(found):
                parts[name].append(np.asarray(found[name])[:, : len(some)])
        joined = {name: np.concatenate(values, 1) for name, values in parts.items()}
        return joined if values else {name: value[0] for name, value in joined.items()}

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
            ``name_q5`` and ``name_q95``; and ``verdict`` by row.
        """
        import xarray as xr

        data, count = self._data(x, "latent.impute")
        own = self._seeing(data)
        rng, draws, verdicts = np.random.default_rng([self.seed, 69]), [], []
        for some in own.weighed(data, count):
            draws.append(some.resampled(num_draws, rng))
            verdicts.append(verdicts_of_rows(some.estimates(some.z), some.khat, self.best))
        values = own.site_values(np.moveaxis(np.concatenate(draws), 1, 0), data, count)
        made = own.simulated(data, count, seed, values)
        out: dict[str, Any] = {"verdict": ("row", np.concatenate(verdicts))}
        for name, site in self._outcomes.items():
            if site.argument is None or name not in made:
                continue
            known = np.asarray(data[site.argument], np.float64)
            gaps, dims = np.isnan(known), ("row", *(f"{name}_dim_{i}" for i in range(1, known.ndim)))
            drawn = np.asarray(made[name], np.float64)
            low, high = np.quantile(drawn, [0.05, 0.95], axis=0)
            for suffix, value in (("", drawn.mean(0)), ("_q5", low), ("_q95", high)):
                out[f"{name}{suffix}"] = (dims, np.where(gaps, value, known))
            out[f"{name}_sd"] = (dims, np.where(gaps, drawn.std(0), 0.0))
        return xr.Dataset(out)

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

        data, count = self._data(x, "latent.denoise")
        own, rows = self._seeing(data), self.setup.rows
        noise = noise_of(self._outcomes, rows.plate, rows.along, data, sd, flipped)
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
        mean = np.asarray(self.params["guide"]["mean"]) if rows.num_shared else np.zeros(0)
        for start in range(0, count, rows.size):
            padded = np.resize(np.arange(start, min(start + rows.size, count)), rows.size)
            cut = {k: small.to_device(v) for k, v in rows.taken(data, padded).items()}
            whole = rows.joined(z[:, padded], np.broadcast_to(mean, (len(z), len(mean))))
            found = small.constrain(np.asarray(whole), data={**small.data, **cut})
            for name in rows.names:
                parts[name].append(found[name][:, : min(rows.size, count - start)])
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
            *trusted* where k̂ allows, a quarter of the draws says the same, and no audited row has a place that its draws do not
            know. The attribute ``sandwich`` is by how much bounds
            from below and from above are apart on such rows that the model simulates, whose coordinates are exact draws.
        """
        import xarray as xr

        data, count = self._data(x, "latent.score")
        own = self._seeing(data)
        columns: dict[str, list] = {name: [] for name in ("log_prob", "se", "bound", "khat", "verdict")}
        for some in own.weighed(data, count, num_draws):
            value, se = some.evidence
            few = some.log_weights[:, : num_draws // 4]
            fewer = logsumexp(few, axis=1) - np.log(few.shape[1])
            same = np.abs(fewer - value) < 4 * np.maximum(2 * se, 1e-3)
            fine = (some.khat < KHAT_TRUSTED) & same
            for name, seen in zip(columns, (value, se, some.bound, some.khat, np.where(fine, self.limit, "untrusted")),
                                 strict=True):  # fmt: skip
                columns[name].append(seen)
        out = xr.Dataset({name: ("row", np.concatenate(values)) for name, values in columns.items()})
        out.attrs["sandwich"] = self.sandwich
        if self.sandwich > SANDWICH:
            out["verdict"] = ("row", np.full(count, "untrusted"))
        return out

    @cached_property
    def sandwich(self) -> float:
        """Nats between upper and lower bounds of log p(x), on average over rows that the model simulates and whose k̂ is that of a
        row that is trusted."""
        rows = self.setup.rows
        if self._given:  # at what the fitted rows are given
            host = rows.host(np.resize(np.arange(rows.total), SANDWICHED))
            context = self._context(SANDWICHED, {k: host[k] for k in self._given}, "latent.score")
        else:
            context = self._context(SANDWICHED, None, "latent.score")
        made = self.simulated(context, SANDWICHED, self.seed)
        data = dict(context)
        for name, site in self._outcomes.items():
            if site.argument in data:
                data[site.argument] = np.moveaxis(made[name], 0, rows.along[site.argument])
        z = self._coordinates({name: made[name] for name in rows.names}, data)
        constants, gaps = {**self.compiled.constants, "params": self.params}, []
        for weighed_rows in self.weighed(data, SANDWICHED):
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
        for start in range(0, count, rows.size):
            padded = np.resize(np.arange(start, min(start + rows.size, count)), rows.size)
            cut = {k: small.to_device(v) for k, v in rows.taken(data, padded).items()}
            own = {k: np.asarray(v[padded], float)[None] for k, v in values.items()}
            z = small.unconstrain({**shared, **own}, data={**small.data, **cut})
            offsets, parts = small.offsets, []
            for site in rows.sites:
                shape, axis = site.unconstrained_shape, site.dims.index(rows.plate)
                parts.append(
                    np.moveaxis(z[0, offsets[site.name]].reshape(shape), axis, 0).reshape(rows.size, -1)
                )
            out.append(np.concatenate(parts, 1)[: min(rows.size, count - start)])
        return np.concatenate(out)

    def anomalies(self, x: Any, level: float = 0.05):
        """Rows that are less likely than held-out ones.

        Parameters
        ----------
        x : array or mapping
            Data of rows.
        level : float
            Share of rows like the held-out ones that are called anomalies.

        Returns
        -------
        xarray.Dataset
            By row ``score``, minus log p(x); ``p_value``, its rank among the scores of the rows that training held out; and
            ``anomaly``.

        Raises
        ------
        InferenceError
            If no rows were held out, or too few for the level.
        """
        count = len(self.held_out)
        if (count + 1) * level < 1:
            want = f"at least {int(np.ceil(1 / level)) - 1} rows that training held out, for level {level:g}"
            raise InferenceError(
                explain("latent.anomalies", want, f"{count}", "fit with validation=0.1, or raise the level")
            )
        found = self.score(x)
        own = np.sort(-self._held_scores)
        score = -found["log_prob"].to_numpy()
        p_value = (1 + count - np.searchsorted(own, score, side="left")) / (count + 1)
        found = found.drop_vars(["bound"]).assign(score=("row", score), p_value=("row", p_value))
        return found.assign(anomaly=("row", p_value <= level))

    @cached_property
    def _held_scores(self) -> np.ndarray:
        data = self.setup.rows.host(self.held_out)
        return np.concatenate([some.evidence[0] for some in self.weighed(data, len(self.held_out))])

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
        data, count = self._data(x, "latent.gap")
        own, rows = self._seeing(data), np.arange(count)
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
        data, count = self._data(None, "latent.table")
        variance = self._means_of_all.var(0)
        function, constants = self.compiled.divergences, {**self.compiled.constants, "params": self.params}
        found = []
        for some, given in self._padded(data, count):
            seeds = np.random.default_rng([self.seed, 70, int(some[0])]).integers(0, 2**31, 1)
            _, seen = function({}, {"seed": seeds, **given}, constants)
            found.append(np.asarray(seen["kl"], np.float64)[0, : len(some)])
        divergence, active = np.concatenate(found).mean(0), variance > ACTIVE_VARIANCE
        jump = np.full(len(active), np.nan)
        jump[active] = jumps(self.compiled, self.params, np.flatnonzero(active))
        return pd.DataFrame(
            {"kl": divergence, "variance": variance, "active": active, "collapsed": divergence < ACTIVE_NATS,
             "jump": jump},
            index=pd.Index(self.units, name="unit"),
        )  # fmt: skip

    def traverse(
        self, unit: int | str, values: Any = None, at: Any = None, given: Mapping[str, Any] | None = None
    ):
        """Outcomes along one unit.

        Parameters
        ----------
        unit : int or str
            Position or label, see `units`.
        values : array, optional
            Of the coordinate; seven from -3 to 3 by default.
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
        values = np.linspace(-3, 3, 7) if values is None else np.atleast_1d(np.asarray(values, float))
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
