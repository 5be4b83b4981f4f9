"""`SVI`: the pieces of stochastic variational inference, for those who write their own loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..guides import MeanField
from ..ppl.errors import InferenceError, explain
from . import ascent
from .minibatch import Batches, Minibatch


class SVI:
    """Stochastic ascent of the evidence lower bound of a mean-field guide, on all rows or on batches of them.

    Many steps run in one compiled call on the device. `fit` needs none of this: it has no rate and no number of steps.

    Parameters
    ----------
    program : Program
        A model bound to data.
    minibatch : Minibatch, optional
        Rows of a plate at a time. Densities are scaled, so that the bound stays unbiased, and the parameters of
        elements that no row of a batch reaches stay as they are.
    num_particles : int, default 1
        Draws per step.
    rate : float, default 0.05
        Adam's learning rate, in units of ``sd``.
    sd : float, default 0.1
        Standard deviations at the start, unconstrained.
    backend : {"jax", "torch"}, optional
    seed : int
        Same seed, same steps.
    start : tuple of numpy.ndarray, optional
        Mean and standard deviation of every unconstrained coordinate; by default zero and `sd`.

    Examples
    --------
    >>> import numpy as np, elboroom as er
    >>> @er.model
    ... def mean(y):
    ...     mu = er.sample("mu", er.Normal(0, 10))
    ...     with er.plate("row", len(y)):
    ...         er.observe("y", er.Normal(mu, 1), y)
    >>> svi = er.SVI(mean(np.full(100, 3.0)), minibatch=er.Minibatch("row", 10))
    >>> elbos = svi.run(2000)
    >>> elbos.shape
    (2000,)
    >>> abs(svi.mean["mu"] - 3.0) < 0.1
    np.True_

    References
    ----------
    Hoffman, Blei, Wang & Paisley (2013), Stochastic variational inference, JMLR 14. Kucukelbir et al. (2017),
    Automatic differentiation variational inference, JMLR 18. Roeder, Wu & Duvenaud (2017), Sticking the landing.
    """

    chunk = 200  # steps per compiled call

    def __init__(
        self,
        program,
        minibatch: Minibatch | None = None,
        num_particles: int = 1,
        rate: float = 0.05,
        sd: float = 0.1,
        backend: str | None = None,
        dtype: Any = None,
        seed: int = 0,
        start: tuple[np.ndarray, np.ndarray] | None = None,
    ):
        for name, value in (("rate", rate), ("sd", sd), ("num_particles", num_particles)):
            if not value > 0:
                raise InferenceError(explain(name, "a positive number", repr(value), "correct it"))
        self.target = program.target(backend or program.backend, dtype)
        self.batches = None if minibatch is None else Batches.of(self.target, minibatch)
        self.rate, self.num_steps = float(rate), 0
        small = self.target if self.batches is None else self.batches.target
        origin = np.zeros(self.target.dim)
        self._start = (origin, origin + sd) if start is None else start
        self._run = ascent.compiled(small, num_particles)
        self._constants = {
            "data": {} if self.batches else self.target.data,
            "weights": self.target.weights,
            "mean": self.target.to_device(self._start[0]),
            "sd": self.target.to_device(self._start[1]),
        }
        self.state: Mapping[str, Any] = {
            k: self.target.to_device(v) for k, v in ascent.start(*self._start).items()
        }
        self._rng = np.random.default_rng(seed)

    def step(self) -> float:
        """One step; the bound's estimate."""
        return float(self.run(1)[0])

    def run(self, num_steps: int) -> np.ndarray:
        """Many steps; the bound's estimates, shape ``(num_steps,)``."""
        elbos = [np.zeros(0)]
        while num_steps > 0:
            count = min(self.chunk, num_steps)
            self.state, elbo = self._run(self.state, self._inputs(count), self._constants)
            elbos.append(np.asarray(elbo, np.float64))
            num_steps -= count
            self.num_steps += count
        return np.concatenate(elbos)

    def copied(self, state) -> dict[str, Any]:
        """The state in arrays of its own: steps may write into those that they are given."""
        return {name: self.target.to_device(np.array(value)) for name, value in state.items()}

    def _inputs(self, count):
        given = {
            "seed": self._rng.integers(0, 2**31, count),
            "rate": np.full(count, self.rate, self.target.dtype),
        }
        if self.batches is not None:
            each = [self.batches.inputs(self.batches.sample(self._rng)) for _ in range(count)]
            given |= {key: _stacked([one[key] for one in each], self.target.dtype) for key in each[0]}
            if not self.batches.groups:  # every coordinate is in every batch
                del given["where"], given["weight"]
        return given

    @property
    def params(self) -> dict[str, np.ndarray]:
        """The guide's: ``mean`` and ``log_sd``, unconstrained, in the order of ``target.sites``."""
        moved = np.asarray(self.state["params"], np.float64)
        mean, sd = self._start
        return {"mean": mean + sd * moved[0], "log_sd": np.log(sd) + moved[1]}

    @property
    def guide(self):
        """The guide that `params` belong to."""
        return MeanField().bind(self.target)

    @property
    def mean(self) -> dict[str, np.ndarray]:
        """Each site at the guide's unconstrained mean, constrained."""
        found = self.target.constrain(self.params["mean"][None])
        return {site.name: found[site.name][0] for site in self.target.sites}

    def elbo(self, num_draws: int = 100, seed: int = 0) -> tuple[float, float]:
        """The bound over all rows and its standard error."""
        ratio = self._log_ratios(num_draws, seed)
        return float(ratio.mean()), float(ratio.std() / np.sqrt(num_draws))

    def importance_bound(self, num_draws: int = 1000, seed: int = 0) -> float:
        """The importance-weighted bound over all rows: above `elbo`, and below the log evidence on average.

        References
        ----------
        Burda, Grosse & Salakhutdinov (2016), Importance weighted autoencoders, ICLR.
        """
        ratio = self._log_ratios(num_draws, seed)
        return float(np.logaddexp.reduce(ratio) - np.log(num_draws))

    def _log_ratios(self, num_draws, seed):
        guide = self.guide
        eps = np.random.default_rng([seed, 1]).standard_normal((num_draws, guide.dim))
        z, log_jacobian = guide.forward(
            guide.init({"mean": self.params["mean"], "sd": np.exp(self.params["log_sd"])}), eps
        )
        return self.target.value_and_grad(z)[0] + log_jacobian - guide.base(eps)


def _stacked(values, dtype):
    """Arrays, or mappings of them, along a new first axis; floats in the target's precision."""
    if isinstance(values[0], dict):
        return {key: _stacked([value[key] for value in values], dtype) for key in values[0]}
    made = np.stack(values)
    return made.astype(dtype) if made.dtype.kind == "f" else made
