"""`SVI`: the pieces of stochastic variational inference, for those who write their own loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..guides import Affine, MeanField
from ..guides.transport import standard_normal
from ..ppl.errors import InferenceError, explain
from .arguments import check_densities
from .batches.minibatch import Batches, Minibatch
from .engines.ascent import OBJECTIVES, Ascent
from .evidence.finding import Findings
from .private.ascent import begun, compiled, constants_of, drawn_for
from .private.asked import check_private
from .private.clipped import COUNTED
from .run.track import told_of
from .run.watch import Bar


class SVI(Ascent):
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
    objective : {"elbo", "importance"}
        What is climbed: the evidence lower bound, or the importance-weighted one of `num_particles` draws. The second
        is for all rows only, and makes the guide wider rather than a better approximation.
    optimiser : object, optional
        In place of Adam, on all rows: an optax ``GradientTransformation`` on JAX; on PyTorch a ``torch.optim`` class,
        or a ``functools.partial`` of one. It has a rate of its own.
    sd : float, default 0.1
        Standard deviations at the start, unconstrained.
    backend : {"jax", "torch"}, optional
    seed : int
        Same seed, same steps.
    start : tuple of numpy.ndarray, optional
        Mean and standard deviation of every unconstrained coordinate; by default zero and `sd`.
    track : Tracker, optional
        Who is told of the course of the bound, see `elboroom.Tracker`.
    private : Private, optional
        Differential privacy of the rows of a plate: see `elboroom.Private`. A batch then has so many rows on average as `minibatch`
        says, each is in it by chance, and no bound is told, of which the rows would be seen.

    Raises
    ------
    InferenceError
        For arguments that cannot be meant, and a model with learned arrays, which would stay where they begin.

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

    def __init__(  # noqa: PLR0913, PLR0917  one argument for each thing that may be asked
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
        objective: str = "elbo",
        optimiser: Any = None,
        track: Any = None,
        private: Any = None,
    ):
        _check(num_particles, rate, sd, objective, optimiser, minibatch)
        if private is not None:
            check_private(private)
            _check_alone(objective, optimiser)
        target = program.target(backend or program.backend, dtype)
        check_densities("SVI", target)
        if target.trace.weights:
            names, remedy = (
                ", ".join(target.trace.weights)[:80],
                "use er.fit, which learns them, or give them priors",
            )
            raise InferenceError(explain("SVI", "a model without learned arrays", f"'{names}'", remedy))
        self._private = None if private is None else drawn_for(private, target, minibatch)
        batches: Any = self._private
        if batches is None and minibatch is not None:
            batches = Batches.of(target, minibatch)
        if optimiser is not None:
            if not target.loops.is_optimiser(optimiser):
                raise InferenceError(
                    explain("optimiser", target.loops.OPTIMISER, repr(optimiser), "pass one, or leave it out")
                )
            optimiser = target.loops.optimiser(optimiser, target.dtype)
        origin = np.zeros(target.dim)
        begin = start or (origin, origin + sd)
        super().__init__(target, batches, begin, num_particles, rate, seed, objective, optimiser)
        if self._private is not None:
            self.along(compiled(self._private.units, num_particles), constants_of(self._private))
            self.state = {**self.state, **begun(self._private)}
        settings = {"num_particles": num_particles, "rate": rate, "sd": sd, "seed": seed, "objective": objective,
                    "minibatch": minibatch, "optimiser": optimiser}  # fmt: skip
        self.findings = Findings()
        self._clipped: np.ndarray | None = None
        what = program if private is None else program.model  # no digest of private rows
        self._told = told_of(track, "svi", what, settings)

    def run(self, num_steps: int, progress: bool = True) -> np.ndarray:
        """Many steps; the bound's estimates, shape ``(num_steps,)``.

        Parameters
        ----------
        num_steps : int
            How many.
        progress : bool
            Show a bar on a terminal or in Jupyter.
        """
        if self._private is not None:
            self._private.allow(num_steps)
        bar = Bar(num_steps, progress)

        def report(done: int, seen: Mapping[str, np.ndarray]) -> None:
            bar.tell(done, f"ELBO {seen['elbo'][-1]:.6g}" if "elbo" in seen else "")
            if self._told is not None:
                self._told.step("ascent", self.num_steps, _summed(seen))

        try:
            seen = self.advance(num_steps, report)
            self._clipped = seen.get(COUNTED)
            return seen.get("elbo", np.full(num_steps, np.nan))
        finally:
            bar.close()
            if self._told is not None:
                self.findings = Findings(self._told.rested())

    @property
    def privacy(self) -> Any:
        """What a private ascent may spend, see `elboroom.Private`; None of one that is not private."""
        return None if self._private is None else self._private.budget

    @property
    def clipped(self) -> float:
        """Share of rows whose gradients were clipped in the last `run` of a private ascent, an estimate with noise of its own: where
        it is large the ascent is one of another bound. NaN before, and of others."""
        if self._private is None or self._clipped is None:
            return float("nan")
        return float(self._clipped.mean() / self._private.budget.num_units)

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
        self._shows("elbo")
        ratio = self._log_ratios(num_draws, seed)
        return float(ratio.mean()), float(ratio.std() / np.sqrt(num_draws))

    def importance_bound(self, num_draws: int = 1000, seed: int = 0) -> float:
        """The importance-weighted bound over all rows: above `elbo`, and below the log evidence on average.

        References
        ----------
        Burda, Grosse & Salakhutdinov (2016), Importance weighted autoencoders, ICLR.
        """
        self._shows("importance_bound")
        ratio = self._log_ratios(num_draws, seed)
        return float(np.logaddexp.reduce(ratio) - np.log(num_draws))

    def culprit(self, at=None, num_draws: int = 64) -> str:
        """See `Ascent.culprit`; not of private rows."""
        self._shows("culprit")
        return super().culprit(at, num_draws)

    def restore(self, saved: Mapping[str, np.ndarray]) -> None:
        """See `Ascent.restore`; not of a private ascent, whose steps are counted."""
        self._shows("restore")
        super().restore(saved)

    def _shows(self, name: str) -> None:
        """Refuse what would show private rows.

        Raises
        ------
        InferenceError
        """
        if self._private is not None:
            got = "one of private rows, which would be seen in it"
            raise InferenceError(explain(f"SVI.{name}", "an ascent that is not private", got, "leave it out"))

    def _log_ratios(self, num_draws, seed):
        place = Affine.from_arrays(self.params)
        eps = np.random.default_rng([seed, 1]).standard_normal((num_draws, place.dim))
        z, log_jacobian = place.forward(eps)
        return self.target.value_and_grad(z)[0] + log_jacobian - standard_normal(eps)


def _check(num_particles, rate, sd, objective, optimiser, minibatch) -> None:
    """Refuse what cannot be meant.

    Raises
    ------
    InferenceError
    """
    if objective not in OBJECTIVES:
        raise InferenceError(
            explain("objective", f"one of {sorted(OBJECTIVES)}", repr(objective), "choose one")
        )
    for name, given in (
        ("objective='importance'", objective != "elbo"),
        ("optimiser=", optimiser is not None),
    ):
        if given and minibatch is not None:
            raise InferenceError(
                explain(name, "all rows at every step", f"{minibatch}", "leave one of the two out")
            )
    if objective == "importance" and num_particles < 2:
        raise InferenceError(
            explain("num_particles", "two or more draws to weigh", f"{num_particles}", "use ten or so")
        )
    for name, value in (("rate", rate), ("sd", sd), ("num_particles", num_particles)):
        if not value > 0:
            raise InferenceError(explain(name, "a positive number", repr(value), "correct it"))


def _check_alone(objective, optimiser) -> None:
    """Refuse what a private ascent has no use for.

    Raises
    ------
    InferenceError
    """
    for name, given in (
        ("objective='importance'", objective != "elbo"),
        ("optimiser=", optimiser is not None),
    ):
        if given:
            raise InferenceError(
                explain(name, "an ascent that is not private", "private=", "leave one of the two out")
            )


def _summed(seen: Mapping[str, np.ndarray]) -> dict[str, float]:
    """What some steps saw, as a number each."""
    norm = {"gradient_norm": float(np.median(seen["gradient_norm"]))}
    if "elbo" not in seen:  # of private rows
        return norm
    return {"bound": float(seen["elbo"].mean()), **norm, "not_finite": float(seen["not_finite"].sum())}
