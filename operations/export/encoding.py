"""``what="encode"`` and ``what="score"`` of encoded rows: laws of their latent quantities, draws, and the weights that judge these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ...guides.laws import log_prob, placed
from ...inference.deep.compiled import Compiled
from ...inference.deep.rows import in_front
from ...ppl import math as m
from ...ppl.backends.portable import Input
from ...ppl.rows import shrunk
from .graph import NOISE, Arrays
from .predicting import type_of

MEAN = "_mean"
"""What the names of expected outcomes end in."""
EPS = f"{NOISE}z"
"""Name of the noise of the coordinates of rows."""


@dataclass(frozen=True, eq=False)
class Encoding:
    """Rows under an encoder.

    Attributes
    ----------
    latent : Latent
        Of the posterior.
    target : Target
        Of the fitted data, on the backend that writes.
    num_draws : int
        Draws of each row; 0 where its law alone is asked for.
    dtype : numpy.dtype
        Precision of the file.
    scores : bool
        Whether the log density of rows is asked for, and nothing else of their laws.
    predicts : bool
        Whether expected outcomes are, by the weights.
    """

    latent: Any
    target: Any
    num_draws: int
    dtype: np.dtype
    scores: bool
    predicts: bool = False

    def __post_init__(self):
        self.small.rows.fixed()  # what is looked at within a trace would be no numbers

    @property
    def encoder(self) -> Any:
        """The encoder."""
        return self.latent.setup.encoder

    @cached_property
    def small(self) -> Compiled:
        """Functions of one row."""
        return self._compiled({k: v[:1] for k, v in self.fitted.items()}, self.dtype)

    def _compiled(self, data: Arrays, dtype: Any) -> Compiled:
        """Functions of so many rows, of which numbers may be missing where the encoder knows of it."""
        rows = self.latent.setup.rows
        laid = {}
        for label, value in data.items():
            laid[label] = np.array(np.moveaxis(value, 0, rows.along[label]))
            if label in self.encoder.gaps:
                laid[label] = laid[label].astype(float)
                laid[label].flat[0] = np.nan
        count = len(next(iter(data.values())))
        small = shrunk(self.target, laid, {rows.plate: count}, {}, dtype=dtype)
        return Compiled(replace(rows, full=self.target, small=small, size=count), self.encoder, {})

    # -- inputs and constants ------------------------------------------------------------------------------

    @cached_property
    def fitted(self) -> dict[str, np.ndarray]:
        """Rows that were fitted, as an encoder sees them; where draws are weighed, what the density sees too."""
        rows = self.latent.setup.rows
        wanted = rows.along if self.num_draws else self.encoder.inputs
        return {k: np.moveaxis(np.asarray(rows.data[k]), rows.along[k], 0) for k in rows.along if k in wanted}

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Number of labels of each argument of codes."""
        known = {k: len(v) for k, v in self.target.program.labels.items()}
        seen = {k: codes for k, (_, _, codes) in self.encoder.inputs.items() if codes}
        return {k: n for k, n in {**known, **seen}.items() if k in self.fitted}

    @property
    def inputs(self) -> tuple[Input, ...]:
        """Arguments of the model, then noise."""
        units = self.latent.setup.rows.num_units
        noise = [Input(EPS, (self.num_draws, units), self.dtype.name)] if self._noisy else []
        return (*(Input(k, v.shape[1:], self._type(k, v)) for k, v in self.fitted.items()), *noise)

    def _type(self, label: str, value: np.ndarray) -> str:
        gaps = label in self.encoder.gaps
        return self.dtype.name if gaps else type_of(value, self.dtype)

    @property
    def _noisy(self) -> bool:
        return self.num_draws > 0 and not self.encoder.point

    @cached_property
    def constants(self) -> dict[str, np.ndarray]:
        """Learned arrays, laws of what rows share, and what inputs are scaled by."""
        params = self.latent.params
        found = {f"{kind}:{k}": np.asarray(v) for kind, part in params.items() for k, v in part.items()}
        if not self.num_draws:
            found = {k: v for k, v in found.items() if self.encoder.owns(k.partition(":")[2])}
        for label, (centre, scale, _) in self.encoder.inputs.items():
            found |= {
                f"centre:{label}": np.asarray(centre, float),
                f"scale:{label}": np.asarray(scale, float),
            }
        return found

    # -- what the file computes ----------------------------------------------------------------------------

    def made(self, constants: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs of rows; those of rows that cannot be answered are no numbers."""
        bad, unjudged, held = self._looked_at(inputs)
        parts: dict[str, dict[str, Any]] = {kind: {} for kind in ("weights", "guide", "centre", "scale")}
        for key, value in constants.items():
            kind, _, name = key.partition(":")
            parts[kind][name] = value
        each = {**held, **({EPS: inputs[EPS]} if self._noisy else {})}
        found = self.small.rows.small.loops.mapped(lambda one: self._row(one, parts))(each)
        return {
            name: m.where(_beside(bad if name in ("mean", "sd") else unjudged, value), np.nan, value)
            for name, value in found.items()
        }

    def _looked_at(self, inputs: Mapping[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
        """Which rows cannot be answered, of which draws cannot be weighed, and inputs that all are in range."""
        bad: Any = False
        lost: Any = False
        held, outcomes = {}, self.latent.setup.rows.outcomes
        for label, known in self.fitted.items():
            value = held[label] = inputs[label]
            if label in self.sizes:
                out = (value < 0) | (value >= self.sizes[label])
                held[label] = m.where(out, 0, value)
            elif known.dtype.kind == "f" or label in self.encoder.gaps:
                gone = m.isnan(value)
                out = ~m.isfinite(value) & ~gone if label in self.encoder.gaps else ~m.isfinite(value)
                if label in self.encoder.gaps and label not in outcomes:
                    lost = lost | _any(gone)
            else:
                continue
            bad = bad | _any(out)
        return bad, bad | lost, held

    def _row(self, one: Mapping[str, Any], parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Outputs of one row."""
        along = self.small.rows.along
        own = {k: m.expand_dims(v, along[k]) for k, v in one.items() if k != EPS}
        constants = {
            "inputs": {
                k: {"centre": parts["centre"][k], "scale": parts["scale"][k]} for k in self.encoder.inputs
            }
        }
        params = {kind: parts[kind] for kind in ("weights", "guide")}
        noise = m.expand_dims(one[EPS], 1) if self._noisy else None
        found = self.answers(self.small, own, params, constants, noise)
        return {k: m.squeeze(v, axis=_axis(k)) for k, v in found.items()}

    def answers(
        self, compiled: Compiled, own: Mapping[str, Any], params: Any, constants: Any, noise: Any
    ) -> dict[str, Any]:
        """Outputs of the rows that compiled functions are of; noise ``(K, n, u)``."""
        law = compiled.law(
            params,
            in_front({k: v for k, v in own.items() if k in self.encoder.inputs}, compiled.rows.along),
            constants,
        )
        out = {} if self.scores or self.predicts else _moments(law)
        if noise is None:
            return out
        z = placed(law, noise)
        data = {**compiled.rows.fixed(), **own}
        shared, _ = compiled.shared(params, m.like(np.zeros((self.num_draws, compiled.rows.num_shared)), z))
        terms = compiled.terms(z, shared, data, params)
        prior = sum(m.sum(value, axis=-1) for value in terms["prior"].values())
        ratio = terms["likelihood"] + terms["other"] + prior - log_prob(law, z)
        out["log_weights"] = ratio
        if self.predicts:
            share = m.exp(ratio - m.logsumexp(ratio, axis=0))
            means = self._means(compiled, z, shared, data, params)
            out |= {
                k: m.sum(m.reshape(share, (*np.shape(share), *[1] * (np.ndim(v) - 2))) * v, axis=0)
                for k, v in means.items()
            }
        elif self.scores:
            out["log_density"] = m.logsumexp(ratio, axis=0) - float(np.log(self.num_draws))
        else:
            out["z"] = z
        return out

    def _means(self, compiled: Compiled, z: Any, shared: Any, data: Any, params: Any) -> dict[str, Any]:
        """Expected outcomes of rows at each draw, ``(K, n, …)``, of those whose laws know theirs."""
        small, plate = compiled.rows.small, compiled.rows.plate
        whole = compiled.rows.joined(z, shared)
        found = small.loops.mapped(lambda one: small.density.means(one, data, params["weights"], True))(whole)
        axes = {
            name: 1 + small.trace[name].dims.index(plate) for name in found if name in self.latent.outcomes
        }
        return {f"{name}{MEAN}": m.moveaxis(found[name], axis, 1) for name, axis in axes.items()}

    # -- what it has to agree with ---------------------------------------------------------------------------

    def examples(self, count: int) -> dict[str, np.ndarray]:
        """Rows that were fitted, numbers missing in every fourth of them where they may be, with noise that is always the same."""
        which = np.arange(count) % len(next(iter(self.fitted.values())))
        rng, out = np.random.default_rng(7), {}
        for one in self.inputs:
            if one.name == EPS:
                out[EPS] = rng.standard_normal((count, *one.shape))
                continue
            value = self.fitted[one.name][which]
            if one.name in self.encoder.gaps:
                value = value.astype(float)
                value[2::4] = np.nan
            out[one.name] = value
        return out

    def source(self, given: Sequence[Arrays]) -> list[dict[str, np.ndarray]]:
        """Outputs of the posterior's own functions in double precision, all rows at once."""
        data = {k: np.asarray(given[0][k]) for k in self.fitted}
        whole = {k: v[np.arange(len(next(iter(data.values()))))] for k, v in data.items()}
        rest = {
            k: np.moveaxis(np.asarray(v), self.latent.setup.rows.along[k], 0)
            for k, v in self.latent.setup.rows.data.items()
        }
        filled = {
            k: np.resize(v[:1], (len(next(iter(data.values()))), *v.shape[1:]))
            for k, v in rest.items()
            if k not in data
        }
        compiled = self._compiled({**filled, **whole}, np.float64)
        small = compiled.rows.small
        params = {
            kind: {k: small.to_device(np.asarray(v)) for k, v in part.items()}
            for kind, part in self.latent.params.items()
        }
        laid = {k: small.to_device(np.moveaxis(v, 0, compiled.rows.along[k])) for k, v in data.items()}

        def step(state, one, held):
            noise = one.get("noise")
            return state, self.answers(compiled, held["own"], held["params"], held["constants"], noise)

        inputs: dict[str, Any] = {"seed": np.zeros(len(given), np.int64)}
        if self._noisy:
            inputs["noise"] = np.stack([np.moveaxis(one[EPS], 0, 1) for one in given])
        held = {"own": laid, "params": params, "constants": {"inputs": compiled.constants["inputs"]}}
        _, found = small.loops.loop(step, small.dtype, small.density.clock, (1,))({}, inputs, held)
        bad, unjudged, _ = self._looked_at(data)
        out = {k: np.moveaxis(np.array(v, np.float64), 1 + _axis(k), 1) for k, v in found.items()}
        for name, value in out.items():
            value[:, np.broadcast_to(bad if name in ("mean", "sd") else unjudged, value.shape[1])] = np.nan
        return [{k: v[i] for k, v in out.items()} for i in range(len(given))]


DRAWN = frozenset(("z", "log_weights"))
"""What `Encoding.answers` gives with draws in front of rows."""


def _axis(name: str) -> int:
    """Axis of rows of what `Encoding.answers` gives."""
    return int(name in DRAWN)


def _moments(law: Any) -> dict[str, Any]:
    """Means and sds of rows; of laws that are bent none."""
    if law.height is not None or law.choice is not None:
        return {"mean": law.mean, "sd": m.sqrt(law.mean * (1.0 - law.mean))}
    if law.point:
        return {"mean": law.mean}
    return {} if law.bend is not None else {"mean": law.mean, "sd": m.exp(law.marginals.log_sd)}


def _any(lost: Any) -> Any:
    """By row, whether any is."""
    return (
        lost if np.ndim(lost) == 1 else m.any(m.reshape(lost, (-1, int(np.prod(np.shape(lost)[1:])))), axis=1)
    )


def _beside(bad: Any, value: Any) -> Any:
    """A word about rows beside a value of theirs."""
    return bad if isinstance(bad, bool) else m.reshape(bad, (-1, *[1] * (np.ndim(value) - 1)))
