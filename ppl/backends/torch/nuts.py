"""Pyro's NUTS on a density, in coordinates of an affine frame or of a flow, one chain after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pyro.infer.mcmc import NUTS
from torch.utils import _pytree as pytree

from ...turns import running
from .arrays import to_device

FIELDS = ("num_steps", "accept_prob", "diverging", "energy")


class Potential(torch.autograd.Function):
    """Minus the compiled density, whose gradient is known with its value."""

    @staticmethod
    def forward(ctx, x, density, flow, frame, data, weights):
        mean, scale, *layers = frame
        y, bent = (x, 0.0) if flow is None else (part[0] for part in flow.through.on_device(x[None], *layers))
        z = mean + (scale @ y if scale.ndim == 2 else scale * y)
        value, grad = density.value_and_grad.on_device(z[None], data, weights)
        grad = grad[0] @ scale if scale.ndim == 2 else grad[0] * scale
        if flow is not None:
            grad = flow.back.on_device(x[None], grad[None], *layers)[0]
        ctx.save_for_backward(grad)
        return -value[0] - bent

    @staticmethod
    def backward(ctx, upstream):
        (grad,) = ctx.saved_tensors
        return -upstream * grad, None, None, None, None, None


class Counter:
    """A potential that counts its calls, as each is one gradient."""

    def __init__(self, *given):
        self.given, self.calls = given, 0

    def __call__(self, params):
        self.calls += 1
        return Potential.apply(params["x"], *self.given)


class Counted(NUTS):
    """NUTS that remembers what each transition was like."""

    first_energy: Any  # of the first point of a transition
    fresh: bool  # whether the momentum has just been drawn

    def sample(self, params):
        steps, diverged = self.potential_fn.calls, len(self._divergences)
        mean, num_warmup = self._mean_accept_prob, self._warmup_steps or 0
        warm = self._t < num_warmup
        out = super().sample(params)
        n = self._t if warm else self._t - num_warmup
        self.last = {
            "num_steps": self.potential_fn.calls - steps,
            "accept_prob": mean + n * (self._mean_accept_prob - mean) if n > 1 else self._mean_accept_prob,
            "diverging": len(self._divergences) > diverged,
            "energy": float(self.first_energy),
        }
        if self._t == self._warmup_steps:
            self.end_warmup()
        return out

    def _kinetic_energy(self, r_unscaled):
        found = super()._kinetic_energy(r_unscaled)
        if self.fresh:  # the first of a transition is that of its new momentum
            self.first_energy, self.fresh = found + self._potential_energy_last, False
        return found

    def _sample_r(self, name):
        self.fresh = True
        return super()._sample_r(name)


@dataclass
class Chain:
    """One chain under way: its kernel, its place, and the state of its random numbers."""

    kernel: Counted
    x: dict
    random: torch.Tensor


class Sampler:
    """Chains of NUTS on ``z = mean + scale x``, or with the layers T of a flow on ``z = mean + scale T(x)``.

    Parameters
    ----------
    density : Density
        What the chains draw from.
    num_warmup : int
        Iterations that set the step size, and the metric where it is adapted.
    metric : {None, "diagonal", "dense"}
        The metric in x that the warm-up adapts; None leaves the identity.
    flow : Flow, optional
        Whose base coordinates the chains move in; None for those of the frame alone.
    """

    def __init__(self, density, num_warmup: int, metric: str | None, flow=None):
        self._density, self._settings, self._flow = density, (num_warmup, metric), flow
        self.dtype = density.dtype

    def begin(  # noqa: PLR0913, PLR0917  as the protocol has it
        self, seeds, x, value, grad, step_size: float, accept: float, frame, data, weights
    ):
        """State of chains that start at `x`, shape ``(C, dim)``.

        Parameters
        ----------
        seeds : sequence of int, length C
            One for each chain: it fixes all random numbers of its chain.
        x : numpy.ndarray, shape (C, dim)
            Where the chains start, in coordinates of the frame.
        value, grad : numpy.ndarray, shapes (C,) and (C, dim)
            Log density there and its gradient in x: Pyro computes them again.
        step_size : float
            The first, in units of x; the warm-up adapts it.
        accept : float
            Acceptance that the step size aims at.
        frame : tuple
            Mean and scale; of a flow its weights and order also.
        data, weights : mapping
            The traced arguments and the learnable arrays by name, on the device.
        """
        num_warmup, metric = self._settings
        frame = pytree.tree_map(lambda part: to_device(part, self.dtype), tuple(frame))
        chains = []
        for seed, start in zip(seeds, x, strict=True):
            kernel = Counted(
                potential_fn=Counter(self._density, self._flow, frame, data, weights),
                step_size=step_size,
                adapt_mass_matrix=metric is not None,
                full_mass=metric == "dense",
                target_accept_prob=accept,
                max_tree_depth=10 if metric else 8,  # in a frame that fits, longer paths only turn back
            )
            with running(), torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(seed))
                place = {"x": to_device(start, self.dtype)}
                kernel.initial_params = place
                kernel.setup(num_warmup)
                chains.append(Chain(kernel, place, torch.get_rng_state()))
        return chains

    def run(self, state, count: int):
        """The state after `count` more iterations, and what they gave.

        Returns
        -------
        tuple
            The state, and a mapping of arrays ``(C, count, …)``: ``x`` and NUTS's statistics.
        """
        out: dict[str, list] = {name: [] for name in ("x", *FIELDS)}
        for chain in state:
            rows: dict[str, list] = {name: [] for name in out}
            with running(), torch.random.fork_rng(devices=[]):
                torch.set_rng_state(chain.random)
                for _ in range(count):
                    chain.x = chain.kernel.sample(chain.x)
                    rows["x"].append(chain.x["x"].numpy().copy())
                    for name in FIELDS:
                        rows[name].append(chain.kernel.last[name])
                chain.random = torch.get_rng_state()
            for name, values in rows.items():
                out[name].append(np.array(values))
        return state, {name: np.stack(values) for name, values in out.items()}


def sampler(density, num_warmup: int, metric: str | None, flow=None) -> Sampler:
    """The no-U-turn sampler on a density, in the base coordinates of a flow where one is given."""
    return Sampler(density, num_warmup, metric, flow)
