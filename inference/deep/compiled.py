"""Compiled functions of rows with an encoder: a training step, bounds and weights of rows, their laws.

All are loops of the backend over batches of rows, written once over `elboroom.math`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from ...guides.laws import Law, log_prob, log_prob_wider, placed
from ...ppl import math as m
from ...ppl.nn.noise import Counted, Pieces, noisy
from ..thresholds import ASCENT_DRAWS, CLIPPED, DEEP_ADAM, DEEP_TINY, EMA, NORM_MEMORY, UNIT_DRAWS
from .objectives import Elbo
from .rows import Rows, gathered, in_front

HALF_LOG = 0.5 * np.log(2 * np.pi)


@dataclass(frozen=True, eq=False)
class Compiled:
    """Functions of rows.

    Attributes
    ----------
    rows : Rows
    encoder : Encoder or Experts
    held : mapping
        All data of the rows where the target computes; empty where each call brings its own.
    dropout : mapping
        See `Amortized`.
    """

    rows: Rows
    encoder: Any
    held: Mapping[str, Any]
    dropout: Mapping[str, float] = field(default_factory=dict)

    def stepping(self, num_steps: int) -> Compiled:
        """With an encoder after which each row takes so many steps: what was compiled stays, as no function takes them."""
        made = replace(self, encoder=self.encoder.stepping(num_steps))
        made.__dict__.update({k: v for k, v in self.__dict__.items() if k not in ("rows", "encoder", "held")})
        return made

    @property
    def _loops(self) -> Any:
        return self.rows.small.loops

    @property
    def _density(self) -> Any:
        return self.rows.small.density

    @cached_property
    def constants(self) -> dict[str, Any]:
        """What every call sees."""
        to_device = self.rows.small.to_device
        inputs = {
            k: {"centre": to_device(c), "scale": to_device(s)} for k, (c, s, _) in self.encoder.inputs.items()
        }
        return {"held": dict(self.held), "fixed": self.rows.fixed(), "inputs": inputs}

    def batches(self, rows: np.ndarray, data: Mapping[str, np.ndarray] | None = None) -> dict[str, Any]:
        """Of steps the rows ``(steps, n)``, or their data where these are not held, or others are given."""
        if self.held and data is None:
            return {"rows": np.ascontiguousarray(rows)}
        each = [self.rows.taken(self.rows.data if data is None else data, one) for one in rows]
        dtype = self.rows.small.dtype
        data = {label: np.stack([one[label] for one in each]) for label in each[0]}
        return {"data": {k: v.astype(dtype) if v.dtype.kind == "f" else v for k, v in data.items()}}

    def repeated(
        self, rows: np.ndarray, calls: int, data: Mapping[str, np.ndarray] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Constants and inputs of calls that all see the same rows ``(n,)``, whose data are brought once."""
        if self.held and data is None:
            return {}, self.batches(np.broadcast_to(rows, (calls, len(rows))))
        brought = self.batches(rows[None], data)["data"]
        held = {label: self.rows.small.to_device(value[0]) for label, value in brought.items()}
        return {"held": held}, {"rows": np.tile(np.arange(len(rows)), (calls, 1))}

    def _data(self, given: Mapping[str, Any], constants: Mapping[str, Any]) -> tuple[dict, dict]:
        """The data of a batch, and what its encoder sees."""
        along = self.rows.along
        own = given["data"] if "data" in given else gathered(constants["held"], along, given["rows"])
        seen = in_front(own, along)
        for label, gone in given.get("dropped", {}).items():
            away = m.reshape(gone, (-1, *[1] * (np.ndim(seen[label]) - 1))) > 0
            seen = {**seen, label: m.where(away, np.nan, 1.0 * seen[label])}
            if label in self.rows.outcomes:
                own = {**own, label: m.moveaxis(seen[label], 0, along[label])}
        return {**constants["fixed"], **own}, seen

    def dropped(self, seed: int, first: int, count: int) -> dict[str, Any]:
        """Of steps from number `first`, which rows of theirs lack an argument that is taken away now and then, ones and zeros."""
        rng, size, dtype = np.random.default_rng([seed, 86, first]), self.rows.size, self.rows.small.dtype
        gone = {
            label: (rng.uniform(size=(count, size)) < share).astype(dtype)
            for label, share in self.dropout.items()
        }
        return {"dropped": gone} if gone else {}

    def law(self, params: Mapping[str, Any], seen: Mapping[str, Any], constants: Mapping[str, Any]) -> Law:
        """Laws of the rows of a batch."""
        return self._encoder(constants).law(params["weights"], seen)

    def made(self, params: Mapping[str, Any], seen: Mapping[str, Any], constants: Mapping[str, Any]) -> Any:
        """What the encoder's network makes of the rows of a batch."""
        return self._encoder(constants).made(params["weights"], seen)

    def _encoder(self, constants: Mapping[str, Any]) -> Any:
        inputs = {
            label: (constants["inputs"][label]["centre"], constants["inputs"][label]["scale"], codes)
            for label, (_, _, codes) in self.encoder.inputs.items()
        }
        return self.encoder.with_inputs(inputs)

    def terms(self, z: Any, shared: Any, data: Any, params: Any, noise: Any = None) -> Any:
        """`Density.by_row` at draws ``(K, n, u)`` and ``(K, g)``; with `noise` ``(K, m)`` for the model's networks, as in training."""

        def one(given):
            with noisy(Pieces(given["noise"])) if noise is not None else nullcontext():
                return self._density.by_row(given["z"], data, params["weights"], self.rows.plate)

        whole = {"z": self.rows.joined(z, shared)}
        return self._loops.mapped(one)(whole if noise is None else {**whole, "noise": noise})

    @cached_property
    def num_noise(self) -> int:
        """Numbers of noise that the model's networks ask for in one run over a batch, where they are trained."""
        if not any(getattr(net, "dropout", 0) for net in self.rows.full.trace.modules.values()):
            return 0
        rows, small, counted = self.rows, self.rows.small, Counted()

        def step(state, given, constants):
            with noisy(counted):
                terms = self._density.by_row(given["z"], constants["data"], constants["weights"], rows.plate)
            return state, {"likelihood": terms["likelihood"]}

        loop = self._loops.loop(step, small.dtype, small.density.clock, (1,))
        with small.room():
            constants = {"data": dict(small.data), "weights": dict(small.weights)}
            loop({}, {"seed": np.zeros(1, np.int64), "z": np.zeros((1, small.dim), small.dtype)}, constants)
        return counted.count

    # -- training ---------------------------------------------------------------------------------------

    def trained(self, objective: Any) -> Any:
        """``fn(state, inputs, constants) -> (state, seen)``: many steps on an objective."""
        count, rows = objective.num_particles, self.rows
        shape = (count, rows.size * rows.num_units + rows.num_shared + self.num_noise)
        step = partial(self._step, objective)
        return self._loops.loop(step, rows.small.dtype, rows.small.density.clock, shape)

    def _step(self, objective, state, given, constants):
        params = state["params"]
        data, seen = self._data(given, constants)

        value = partial(objective.value, self) if objective.alone else partial(self._objective, objective)

        def loss(live):
            worth, found = value(live, params, data, seen, given, constants)
            return -worth, found

        grads, found = self._loops.slope(loss)(params)
        flat = {(group, key): g for group, part in grads.items() for key, g in part.items()}
        norm = m.sqrt(sum(m.sum(g * g) for g in flat.values()))
        good = m.isfinite(norm)
        usual = m.where(state["norm"]["usual"] > 0, state["norm"]["usual"], norm)
        share = m.where(good, m.minimum(1.0, CLIPPED * usual / m.where(norm > 0, norm, 1.0)), 0.0)
        usual = m.where(
            good, NORM_MEMORY * usual + (1 - NORM_MEMORY) * m.minimum(norm, CLIPPED * usual), usual
        )
        first, second = DEEP_ADAM
        count = state["norm"]["count"] + 1.0
        out: dict[str, dict] = {
            name: {g: {} for g in params} for name in ("params", "first", "second", "mean")
        }
        keep = m.minimum(EMA, count / (count + 10.0))
        moved, beside = objective.moved(state, found, given) if objective.alone else ({}, {})
        for (group, key), g in flat.items():
            g = share * m.where(m.isfinite(g), g, 0.0)
            one = first * state["first"][group][key] + (1 - first) * g
            two = second * state["second"][group][key] + (1 - second) * g * g
            move = one / (1 - first**count) / (m.sqrt(two / (1 - second**count)) + DEEP_TINY)
            rate = given["rate"] * (1.0 if group == "guide" or self.encoder.owns(key) else given["lag"])
            if objective.alone:
                rate = rate * objective.pace(key)
            if group == "weights" and self._shrinks(key, g):
                move = move + given["decay"] * params[group][key]
            new = moved.get((group, key), params[group][key] - rate * move)
            out["params"][group][key], out["first"][group][key], out["second"][group][key] = new, one, two
            out["mean"][group][key] = keep * state["mean"][group][key] + (1 - keep) * new
        out |= {"norm": {"usual": usual, "count": count}, **beside}
        return out, {**found, "norm": norm, "bad": m.where(good, 0.0, 1.0)}

    def _shrinks(self, key: str, value: Any) -> bool:
        """Whether a learned array is a matrix of a network, which may shrink; numbers that a model declares by themselves may not."""
        of_model = any(key.startswith(f"{name}.") for name in self.rows.full.trace.modules)
        return np.ndim(value) > 1 and (of_model or self.encoder.owns(key))

    def _objective(self, objective, live, frozen, data, seen, given, constants):
        """What is trained on, per row, and what is shown of it."""
        rows = self.rows
        eps_own, shared, log_shared, noise = self.draws(live, given)
        law = self.law(live, seen, constants)
        still = self.law(frozen, seen, constants)
        z = placed(law, eps_own)
        doubly = objective.weighted and objective.estimator == "dreg"
        if doubly:
            z = self._tempered(z, eps_own, still, shared, data, frozen, noise)
        terms = self.terms(z, shared, data, live, noise)
        # far from the posterior the law's own score takes noise away, near it the other way round (Roeder et al. 2017)
        stuck = 1.0 if doubly else given["stuck"]
        log_q = log_prob(
            still if doubly else law.between(still, stuck), z, partial(self._exact, eps_own, stuck)
        )
        prior = sum(m.sum(value, axis=-1) for value in terms["prior"].values())
        likelihood = terms["likelihood"] + terms["other"]
        outside = m.mean(terms["outside"] - log_shared) / rows.total
        if objective.weighted:
            ratio = likelihood + prior - log_q
            top = m.max(ratio, axis=0)
            shown = m.mean(top + m.log(m.mean(m.exp(ratio - top), axis=0)))
            if objective.estimator == "dreg":
                fixed = self._weights(eps_own, still, shared, data, frozen, noise)
                value = m.sum(fixed * ratio) / rows.size
            else:
                value = shown
            return value + outside, {"bound": shown + outside, "kl": m.mean(log_q - prior)}
        kl = log_q - prior
        divergence = self._penalised(objective, kl, terms, law, z, eps_own, given)
        value = m.mean(likelihood) - divergence + outside
        shown = {"bound": m.mean(likelihood - kl) + outside, "kl": m.mean(kl)}
        return value, shown

    def apart(self, params: Any, given: Any, constants: Any) -> tuple[Any, Any]:
        """Evidence lower bound of each row of a batch, shape ``(n,)``, on average over draws, and what is of no row; for use inside the
        backend's own compiled functions."""
        data, seen = self._data(given, constants)
        eps, shared, log_shared, noise = self.draws(params, given)
        law = self.law(params, seen, constants)
        z = placed(law, eps)
        terms = self.terms(z, shared, data, params, noise)
        prior = sum(m.sum(value, axis=-1) for value in terms["prior"].values())
        log_q = log_prob(law, z, partial(self._exact, eps, 0.0))
        own = m.mean(terms["likelihood"] + terms["other"] + prior - log_q, axis=0)
        return own, m.mean(terms["outside"] - log_shared)

    def _exact(self, eps, stuck, found):
        """The draws that coordinates were made of, with the gradients of what is `found` from them where the law they are `found` under
        is stuck; else they have none, whatever rounding makes of it."""
        return eps + stuck * (found - self._loops.still(found))

    def _penalised(self, objective: Elbo, kl, terms, law, z, eps, given):
        """What the divergence of rows costs."""
        cost = m.mean(kl)
        if objective.free_bits:
            units = self._unit_kl(terms, law, z, lambda _: eps)
            held = m.sum(m.maximum(m.mean(m.mean(units, axis=0), axis=0), given["free_bits"]))
            cost = m.where(
                given["free_bits"] > 0, held, cost
            )  # a bound keeps units whose estimates are below nought
        if objective.capacity is not None:
            cost = m.abs(cost - given["capacity"])
        cost = given["beta"] * cost
        if objective.total_correlation:
            cost = cost + objective.total_correlation * self._total_correlation(law, z)
        return cost

    def _unit_kl(self, terms, law, z, known=lambda eps: eps):
        """Divergence of each coordinate at draws, shape ``(K, n, u)``; of sites whose elements are not independent, in equal
        shares."""
        own = 0.0 * z
        if law.height is not None:
            own = z * m.log_ndtr(law.height) + (1.0 - z) * m.log_ndtr(-law.height)
        elif law.choice is not None:
            own = z * m.reshape(law.choice, (-1, self.rows.num_units))
        elif not law.point:
            eps = (z - law.mean) * m.exp(-law.log_sd)
            own = -(law.log_sd + 0.5 * eps * eps + HALF_LOG)
        if not law.independent:
            own = own * 0.0 + m.expand_dims(log_prob(law, z, known) / self.rows.num_units, -1)
        parts = []
        for name, part in self.rows.parts.items():
            value, count = terms["prior"][name], part.stop - part.start
            if np.shape(value)[-1] != count:
                value = m.sum(value, axis=-1, keepdims=True) / count + 0.0 * z[..., part]
            parts.append(value)
        return own - m.concat(parts, axis=-1)

    def _total_correlation(self, law, z):
        """Total correlation of the coordinates of all rows, from one batch (Chen et al. 2018, appendix C.2)."""
        mean, log_sd = law.mean, law.log_sd
        size, total = self.rows.size, self.rows.total
        draw = z[0]
        eps = (draw[:, None] - mean[None]) * m.exp(-log_sd)[None]
        each = -(log_sd[None] + 0.5 * eps * eps + HALF_LOG)  # (draws, rows, units)
        weight = np.full((size, size), 1.0 / max(size - 1, 1))
        strat = (total - size + 1) / (total * max(size - 1, 1))
        weight[np.arange(size), np.arange(size)] = 1.0 / total
        weight[np.arange(size), (np.arange(size) + 1) % size] = strat
        log_weight = m.like(np.log(weight), each)
        joint = m.logsumexp(log_weight + m.sum(each, axis=-1), axis=1)
        apart = m.sum(m.logsumexp(log_weight[:, :, None] + each, axis=1), axis=-1)
        return m.mean(joint - apart)

    def draws(self, params, given):
        """Of a step the standard normal draws of rows ``(K, n, u)``, draws of what they share with their log density, and noise."""
        rows, eps = self.rows, given["eps"]
        own = m.reshape(eps[:, : rows.size * rows.num_units], (-1, rows.size, rows.num_units))
        stop = rows.size * rows.num_units + rows.num_shared
        shared, log_shared = self.shared(params, eps[:, rows.size * rows.num_units : stop])
        return own, shared, log_shared, eps[:, stop:] if self.num_noise else None

    def shared(self, params, eps):
        """Draws of the coordinates that all rows share, and their log density under the guide as it stands."""
        if not self.rows.num_shared:
            return eps, 0.0
        law = Law(params["guide"]["mean"], params["guide"]["log_sd"])
        shared = placed(law, eps)
        return shared, log_prob(law, shared, lambda _: eps)

    def _weights(self, eps, law, shared, data, params, noise=None):
        """Normalised weights of the draws of each row, shape ``(K, n)``."""
        z = placed(law, eps)
        terms = self.terms(z, shared, data, params, noise)
        prior = sum(m.sum(value, axis=-1) for value in terms["prior"].values())
        ratio = terms["likelihood"] + terms["other"] + prior - log_prob(law, z, lambda _: eps)
        weights = m.exp(ratio - m.max(ratio, axis=0))
        return m.like(
            weights / m.sum(weights, axis=0), eps
        )  # PyTorch has constants of a law in double precision

    def _tempered(self, z, eps, law, shared, data, params, noise):
        """Draws whose gradients are weighted by those of their rows: with the weights of the bound's own gradient beside them,
        squared, which is the doubly reparameterised one."""
        still = placed(law, eps)
        return still + (z - still) * self._weights(eps, law, shared, data, params, noise)[..., None]

    # -- what is seen of rows ---------------------------------------------------------------------------

    def weighed(self, num_draws: int, wide: float) -> Any:
        """``fn({}, inputs, constants)``: log densities of rows at draws of their laws, half of them `wide` times as far out.

        ``likelihood``, ``prior`` and ``log_q`` of the draws, shapes ``(blocks, K, n)``, and ``z``, ``(blocks, K, n, u)``;
        `constants` with the ``params``.
        """
        key = num_draws, wide
        if key not in self._weighings:
            self._weighings[key] = self._weighed(num_draws, wide)
        return self._weighings[key]

    @cached_property
    def _weighings(self) -> dict[tuple[int, float], Any]:
        """What `weighed` has made: each is compiled once."""
        return {}

    def _weighed(self, num_draws: int, wide: float) -> Any:
        rows = self.rows
        shape = (num_draws, rows.size * rows.num_units + rows.num_shared)

        def step(state, given, constants):
            params = constants["params"]
            data, seen = self._data(given, constants)
            eps = m.reshape(given["eps"][:, : rows.size * rows.num_units], (-1, rows.size, rows.num_units))
            law = self.law(params, seen, constants)
            shared, _ = self.shared(params, 0.0 * given["eps"][:, rows.size * rows.num_units :])
            half = num_draws // 2 if wide > 1 else num_draws
            far = np.where(np.arange(num_draws) < half, 1.0, wide)[:, None, None]
            far = m.like(far, eps)
            z = placed(law, eps, far)
            log_own, log_q = log_prob_wider(law, z, wide, lambda _: far * eps)
            terms = self.terms(z, shared, data, params)
            prior = sum(m.sum(value, axis=-1) for value in terms["prior"].values())
            likelihood = terms["likelihood"] + terms["other"]
            return state, {
                "likelihood": likelihood,
                "prior": prior,
                "log_q": log_q,
                "log_own": log_own,
                "z": z,
            }

        return self._loops.loop(step, rows.small.dtype, rows.small.density.clock, shape)

    @cached_property
    def ascent(self) -> Any:
        """``fn(state, inputs, constants) -> (state, seen)``: steps of the laws of rows up their bounds, each row for itself.

        The ``state`` has how far they have moved from the ``law`` of the constants, see `Law.moved`, and Adam's moments; the rows are
        the constants' ``batch``. Gradients stick to the landing (Roeder et al. 2017), so that they are without noise where a law is exact.
        """
        rows = self.rows
        shape = (ASCENT_DRAWS, rows.size * rows.num_units + rows.num_shared)
        first, second = DEEP_ADAM

        def step(state, given, constants):
            params = constants["params"]
            begin = Law(**constants["law"], arrays=self.encoder.bending(params["weights"]))
            data, _ = self._data(constants["batch"], constants)
            eps = m.reshape(given["eps"][:, : rows.size * rows.num_units], (-1, rows.size, rows.num_units))
            shared, _ = self.shared(params, 0.0 * given["eps"][:, rows.size * rows.num_units :])
            still = begin.moved(state["moved"])

            def loss(free):
                z = placed(begin.moved(free), eps)
                terms = self.terms(z, shared, data, params)
                prior = sum(m.sum(value, axis=-1) for value in terms["prior"].values())
                ratio = (
                    terms["likelihood"]
                    + terms["other"]
                    + prior
                    - log_prob(still, z, partial(self._exact, eps, 1.0))
                )
                return -m.sum(m.mean(ratio, axis=0)), {}

            grads, _ = self._loops.slope(loss)(state["moved"])
            count = state["count"] + 1.0
            out: dict[str, Any] = {"moved": {}, "first": {}, "second": {}, "count": count}
            for key, g in grads.items():
                g = m.where(m.isfinite(g), g, 0.0)
                one = first * state["first"][key] + (1 - first) * g
                two = second * state["second"][key] + (1 - second) * g * g
                move = one / (1 - first**count) / (m.sqrt(two / (1 - second**count)) + DEEP_TINY)
                out["moved"][key] = state["moved"][key] - given["rate"] * move
                out["first"][key], out["second"][key] = one, two
            return out, {}

        return self._loops.loop(step, rows.small.dtype, rows.small.density.clock, shape)

    @cached_property
    def at(self) -> Any:
        """``fn({}, inputs, constants)``: log density of rows and of their laws at given coordinates ``z``, ``(K, n, u)`` a block."""

        def step(state, given, constants):
            params = constants["params"]
            data, seen = self._data(given, constants)
            law = self.law(params, seen, constants)
            shared, _ = self.shared(params, m.zeros((np.shape(given["z"])[0], self.rows.num_shared)))
            terms = self.terms(given["z"], shared, data, params)
            prior = sum(m.sum(value, axis=-1) for value in terms["prior"].values())
            joint = terms["likelihood"] + terms["other"] + prior
            return state, {"joint": joint, "prior": prior, "log_q": log_prob(law, given["z"])}

        return self._loops.loop(step, self.rows.small.dtype, self.rows.small.density.clock, (1,))

    @cached_property
    def decoded(self) -> Any:
        """``fn({}, inputs, constants)``: means of outcomes at given coordinates ``z``, ``(K, n, u)`` a block."""
        return self._decoded(known=False)

    @cached_property
    def reconstructed(self) -> Any:
        """`decoded`, where discrete sites that are summed out have their probabilities given the rows' outcomes."""
        return self._decoded(known=True)

    def _decoded(self, known: bool) -> Any:
        def step(state, given, constants):
            params = constants["params"]
            data, _ = self._data(given, constants)
            shared, _ = self.shared(params, m.zeros((np.shape(given["z"])[0], self.rows.num_shared)))
            whole = self.rows.joined(given["z"], shared)
            means = self._loops.mapped(lambda one: self._density.means(one, data, params["weights"], known))
            return state, means(whole)

        return self._loops.loop(step, self.rows.small.dtype, self.rows.small.density.clock, (1,))

    @cached_property
    def divergences(self) -> Any:
        """``fn({}, inputs, constants)``: divergence of each coordinate of rows from its prior, ``kl`` of shape ``(n, u)`` a block."""
        rows = self.rows
        shape = (UNIT_DRAWS, rows.size * rows.num_units + rows.num_shared)

        def step(state, given, constants):
            params = constants["params"]
            data, seen = self._data(given, constants)
            law = self.law(params, seen, constants)
            eps = m.reshape(given["eps"][:, : rows.size * rows.num_units], (-1, rows.size, rows.num_units))
            shared, _ = self.shared(params, 0.0 * given["eps"][:, rows.size * rows.num_units :])
            z = placed(law, eps)
            terms = self.terms(z, shared, data, params)
            return state, {"kl": m.mean(self._unit_kl(terms, law.marginals, z), axis=0)}

        return self._loops.loop(step, rows.small.dtype, rows.small.density.clock, shape)

    @cached_property
    def encoded(self) -> Any:
        """``fn({}, inputs, constants)``: what differs between the laws of rows, see `Law.by_row`."""

        def step(state, given, constants):
            _, seen = self._data(given, constants)
            return state, self.law(constants["params"], seen, constants).by_row

        return self._loops.loop(step, self.rows.small.dtype, self.rows.small.density.clock, (1,))
