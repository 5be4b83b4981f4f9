"""Training of networks and encoders, with no rate and no number of steps to give.

Pilots pick the rate among a few by the bound of held-out rows. Once the bounds of the averaged arrays, plain and importance-weighted,
at fixed draws of held-out rows, have come to a plateau, the rate falls to nothing over a share of the steps so far; the arrays whose
bounds have the greatest sum are what is reached. A schedule of the objective ends first.

Matrices of networks shrink at each step by a share of themselves, beside Adam's own moves, as far as rows that are trained on have a
greater bound than those held out: not at all where networks know no row by heart, and where none is held out.

References
----------
Kingma & Ba (2015), Adam, ICLR. Loshchilov & Hutter (2019), Decoupled weight decay regularization, ICLR. Polyak & Juditsky (1992),
Acceleration of stochastic approximation by averaging, SIAM Journal on Control and Optimization 30.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
from scipy.special import logsumexp

from ..run.watch import Watch
from ..thresholds import (
    ACTIVE_NATS,
    DEEP_BLOCK,
    DEEP_CALL,
    DEEP_LOST,
    DEEP_PATIENCE,
    DEEP_PILOT_STEPS,
    DEEP_PILOTS,
    DEEP_RESTARTS,
    DEEP_TOLERANCE,
    DEEP_TOLERANCE_SHARE,
    HELD_ROWS,
    MOST_CALLS,
    MOST_DEEP_STEPS,
    RATE_CUT,
    RATE_FALL,
    SUNK_STEPS,
    TIGHT_DRAWS,
)
from .collapse import by_unit, num_active, silent, told
from .compiled import Compiled
from .evidence import encoded
from .objectives import Elbo
from .setup import Setup
from .starts import Starts
from .trained import STEP_LIMIT, SUNK, Trained

State = Mapping[str, Any]


class Look(NamedTuple):
    """What is seen of the rows that a training looks at: bound and divergence of a row in nats, at draws that are always the same, and
    active units, whose means have a variance above 0.01 over rows (Burda et al. 2016); and the bound of each row."""

    bound: float
    divergence: float
    active: int
    rows: np.ndarray


@dataclass(eq=False)
class Training:
    """Training under way.

    Parameters
    ----------
    setup : Setup
    compiled : Compiled
    objective : Elbo or ImportanceWeighted
    validation : float
        Share of the rows that are held out.
    seed : int
    watch : Watch
    keep : callable
        ``keep(make)``: takes what makes the arrays of a checkpoint, now and then.
    first : bool
        Whether it is no other start after a collapse: it is cut short where the laws of rows are their prior for a while.
    """

    setup: Setup
    compiled: Compiled
    objective: Any
    validation: float
    seed: int
    watch: Watch
    keep: Callable[[Callable[[], Mapping[str, np.ndarray]]], None] = lambda _make: None
    first: bool = True
    state: Any = field(init=False, default=None)

    def __post_init__(self):
        rows = self.setup.rows
        order = np.random.default_rng([self.seed, 60]).permutation(rows.total)
        count = round(self.validation * rows.total)
        self.held, self.own = np.sort(order[:count]), np.sort(order[count:])
        self.size = rows.size
        self.checked = (order[:count] if count else order)[: max(HELD_ROWS, self.size)]
        self.known = np.random.default_rng([self.seed, 66]).permutation(self.own)[: len(self.checked)]
        self._train = self.compiled.trained(self.objective)
        self._weigh = self.compiled.weighed(1, 1.0)
        self.each = max(1, len(self.own) // self.size)  # steps of an epoch

    # -- pieces -----------------------------------------------------------------------------------------

    def begun(self) -> dict[str, Any]:
        """The state before the first step."""
        rows = self.setup.rows
        to_device = rows.small.to_device
        weights = {name: to_device(value) for name, value in self.setup.begin.items()}
        guide = {}
        if rows.num_shared:
            guide = {
                "mean": to_device(np.zeros(rows.num_shared)),
                "log_sd": to_device(np.full(rows.num_shared, -3.0)),
            }
        params = {"weights": weights, "guide": guide}

        def zeros():
            return {
                g: {k: to_device(np.zeros(np.shape(v))) for k, v in part.items()}
                for g, part in params.items()
            }

        norm = {"usual": to_device(np.zeros(())), "count": to_device(np.zeros(()))}
        copy, beside = rows.small.loops.copy, {}
        if self.objective.alone:
            made = self.objective.begun(self.setup.begin)
            beside = {g: {k: to_device(v) for k, v in part.items()} for g, part in made.items()}
        return {
            "params": params,
            "first": zeros(),
            "second": zeros(),
            "mean": copy(params),
            "norm": norm,
            **beside,
        }

    def placed(self, params: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, dict[str, Any]]:
        """Learned arrays where the target computes."""
        to_device = self.setup.rows.small.to_device
        return {group: {k: to_device(v) for k, v in part.items()} for group, part in params.items()}

    def going_on(self, objective: Any, params: Mapping[str, Mapping[str, np.ndarray]]) -> Training:
        """Training on something else from where one has ended."""
        setup = replace(self.setup, begin=dict(params["weights"]))
        return replace(self, setup=setup, objective=objective, first=False, keep=lambda _make: None)

    def advance(
        self,
        state: State,
        first: int,
        rates: np.ndarray,
        stuck: bool = False,
        decay: float = 0.0,
        objective: Any = None,
    ) -> tuple[State, dict[str, np.ndarray]]:
        """Steps from number `first` at their rates, with gradients that are `stuck` to the landing or not, and matrices that shrink
        by `decay`, at the factors of the `objective` it is on by then; what they saw."""
        factors = (objective or self.objective).at
        seen: list[dict[str, np.ndarray]] = []
        for start in range(0, len(rates), self._call):
            inputs = self._inputs(first + start, rates[start : start + self._call], stuck, decay, factors)
            with self.setup.rows.small.room():
                state, found = self._train(state, inputs, self.compiled.constants)
            seen.append({name: np.asarray(value, np.float64) for name, value in found.items()})
        return state, {name: np.concatenate([one[name] for one in seen]) for name in seen[0]}

    @cached_property
    def _call(self) -> int:
        """Steps of a compiled call, of which all that is asked for is a multiple: their draws, and data where each brings its own,
        are made before."""
        rows = self.setup.rows
        numbers = self.objective.num_particles * (rows.size * rows.num_units + rows.num_shared)
        if not self.compiled.held:
            numbers += sum(leaf.value.size for leaf in rows.small.program.leaves.values() if leaf.traced)
        return max(
            n for n in range(1, DEEP_BLOCK + 1) if DEEP_BLOCK % n == 0 and n <= max(1, DEEP_CALL // numbers)
        )

    def _inputs(
        self, first: int, rates: np.ndarray, stuck: bool, decay: float, factors: Callable
    ) -> dict[str, Any]:
        """Batches and factors of steps: those of each epoch are a permutation that its number fixes."""
        count = len(rates)
        steps = np.arange(first, first + count)
        chosen = np.empty((count, self.size), np.int64)
        for epoch in np.unique(steps // self.each):
            order = np.random.default_rng([self.seed, 61, int(epoch)]).permutation(self.own)
            batches = order[: self.each * self.size].reshape(self.each, self.size)
            mine = steps // self.each == epoch
            chosen[mine] = batches[steps[mine] % self.each]
        each = [factors(step / self.each) for step in steps]
        dtype = self.setup.rows.small.dtype
        given = {
            "seed": np.random.default_rng([self.seed, 62, first]).integers(0, 2**31, count),
            "rate": rates.astype(dtype),
            "stuck": np.full(count, float(stuck), dtype),
            "decay": np.full(count, decay, dtype),
            **{name: np.array([one[name] for one in each], dtype) for name in each[0]},
        }
        return {**given, **self.compiled.batches(chosen), **self.compiled.dropped(self.seed, first, count)}

    def bounds(
        self, params: Mapping[str, Any], rows: np.ndarray, num_draws: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """Importance-weighted bounds of rows, at draws that are always the same, and their divergences, in nats."""
        size, weigh = self.size, self._weigh if num_draws == 1 else self.compiled.weighed(num_draws, 1.0)
        total, count = len(rows), -(-len(rows) // size)
        rows = np.resize(rows, count * size).reshape(count, size)
        seeds = np.random.default_rng([self.seed, 63]).integers(0, 2**31, count)
        constants = {**self.compiled.constants, "params": params}
        with self.setup.rows.small.room():
            _, found = weigh({}, {"seed": seeds, **self.compiled.batches(rows)}, constants)
        likelihood, prior, log_q = (
            np.moveaxis(np.asarray(found[name], np.float64), 1, 0).reshape(num_draws, -1)[:, :total]
            for name in ("likelihood", "prior", "log_q")
        )
        divergence = log_q - prior
        if self.objective.alone:
            z = np.asarray(found["z"], np.float64)[:, 0].reshape(-1, self.setup.rows.num_units)[:total]
            divergence = self.objective.divergence(z, divergence)
        tight = logsumexp(likelihood - divergence, axis=0) - np.log(num_draws)
        return tight, divergence.mean(0)

    def tight(self, params: Mapping[str, Any]) -> float:
        """Importance-weighted bound of the rows that are looked at."""
        return float(self.bounds(params, self.checked, TIGHT_DRAWS)[0].mean())

    def look(self, params: Mapping[str, Any]) -> Look:
        """What is seen of the rows that are looked at."""
        bounds, divergence = self.bounds(params, self.checked)
        active = num_active(encoded(self.compiled, params, self.checked))
        return Look(float(bounds.mean()), float(divergence.mean()), active, bounds)

    def excess(self, params: Mapping[str, Any], new: np.ndarray) -> tuple[float, float]:
        """By how much the bound of a row that is trained on is greater than that of one held out, of which those are `new`, in nats, and
        its standard error."""
        if not len(self.held):
            return 0.0, 0.0
        known = self.bounds(params, self.known)[0]
        noise = np.sqrt(known.var() / len(known) + new.var() / len(new))
        return float(known.mean() - new.mean()), float(noise)

    def sunk(self, seen: dict[str, np.ndarray], num_steps: int, params: Mapping[str, Any]) -> bool:
        """Whether the laws of rows have been their prior for the last steps of those that were seen, once a schedule has ended.

        The divergences of batches are estimates: the laws themselves are asked before they are believed.
        """
        mendable = self.first and isinstance(self.objective, Elbo) and self.objective.plain
        last, units = seen["kl"][-SUNK_STEPS:], self.setup.rows.num_units
        warm = (num_steps - SUNK_STEPS) / self.each >= self.objective.length
        if not mendable or not warm or len(last) < SUNK_STEPS or not last.mean() < units * ACTIVE_NATS:
            return False
        each = by_unit(encoded(self.compiled, params, self.checked))
        return silent(each.sum(), each)

    # -- the course -------------------------------------------------------------------------------------

    def run(self, saved: Mapping[str, np.ndarray] | None = None) -> Trained:
        """Train until nothing is gained, or patience ends; and again, in other ways, where the laws of rows have collapsed."""
        starts = Starts.of(saved)
        while True:
            course = Course(starts.training(self))
            if saved:
                course.restore(saved)
            else:
                course.pilots()
            saved = None
            while course.reason is None:
                course.block()
                if course.reason is None:  # else the last block is done again, to the same end
                    self.keep(partial(_joined, course, starts))
            starts = starts.after(course.trained(), self)
            if starts.over:
                return starts.ended()


def _joined(course: Course, starts: Starts) -> dict[str, np.ndarray]:
    return {**course.arrays(), **starts.arrays()}


def shrinking(excess: float, divergence: float) -> float:
    """By what share of themselves, times the rate, matrices of networks shrink: the square of the share that an excess has
    in what laws of rows that were trained on seem to tell, excess and divergence. Of the rules that were measured (half of the share, a
    third, its square) this one had the greatest weighted bounds on two sets of digits, that know their rows by heart more and less."""
    share = excess / (excess + max(divergence, ACTIVE_NATS)) if 0 < excess < np.inf else 0.0
    return float(share**2) if np.isfinite(share) else 0.0


class Course:
    """Where a training stands: its state on the device, and what it remembers between blocks of steps."""

    def __init__(self, training: Training):
        self.training = training
        self.reason: str | None = None
        self.state: Any = training.begun()
        self.rate, self.decay, self.num_steps, self.falling, self.stale = 0.0, 0.0, 0, 0, 0
        self.released = 0
        self.mark, self.tight, self.best, self.restarts = -np.inf, -np.inf, -np.inf, 0
        self.at_best: Any = None
        self.bounds: list[tuple] = []
        self.seen: list[dict[str, np.ndarray]] = []
        self.block_seen: list[dict[str, np.ndarray]] = []
        self.block_steps = DEEP_BLOCK * int(np.clip(round(training.each / DEEP_BLOCK), 1, MOST_CALLS))

    @property
    def objective(self) -> Any:
        """What is trained on by now: the bound itself, once it was at rest under what kept laws of rows apart."""
        return Elbo() if self.released else self.training.objective

    def pilots(self) -> None:
        """A few steps at each of some rates; the best by its bound goes on from where it came."""
        training = self.training
        loops = training.setup.rows.small.loops
        found: list[tuple] = []
        for rate in (training.objective.alone and training.objective.rates) or DEEP_PILOTS:
            if training.watch.stop() and found:
                break
            state, seen = training.advance(loops.copy(self.state), 0, np.full(DEEP_PILOT_STEPS, rate))
            value = float(training.bounds(state["mean"], training.checked)[0].mean())
            found.append((value if np.isfinite(value) else -np.inf, rate, state, seen))
            if len(found) > 1 and found[-1][0] < found[-2][0]:
                break  # smaller rates are slower still
        value, self.rate, self.state, seen = max(found, key=lambda one: one[0])
        self.num_steps = DEEP_PILOT_STEPS
        if not np.isfinite(value):
            self.reason = "no rate keeps the bound finite"
        self._look(seen)

    def block(self) -> None:
        """One block of steps, and what follows from the bound after it."""
        training, first, count = self.training, self.num_steps, self.block_steps
        if self.falling:
            count = min(count, self.falling + self.length - first)
        ahead = np.arange(first, first + count)
        share = (ahead - self.falling) / self.length if self.falling else np.zeros(count)
        stuck = bool(self.falling) and self.objective.sticks
        rates = self.rate * (1 - share)
        for start in range(0, count, DEEP_BLOCK):
            some = rates[start : start + DEEP_BLOCK]
            self.state, seen = training.advance(
                self.state, first + start, some, stuck, self.decay, self.objective
            )
            self.num_steps += len(some)
            self.block_seen.append(seen)
            if self._sunk():
                self.reason = SUNK
                break
        self._look(_joined_seen(self.block_seen))
        self.block_seen = []
        if self.reason is None and training.watch.stop():
            self.reason = "stopped"

    def _sunk(self) -> bool:
        """Whether the laws of rows have collapsed, see `Training.sunk`."""
        seen = _joined_seen([*self.seen[-2:], *self.block_seen])
        return self.training.sunk(seen, self.num_steps, self.state["params"])

    @property
    def length(self) -> int:
        """Steps over which the rate falls to nothing."""
        return max(DEEP_BLOCK * round(RATE_FALL * self.falling / DEEP_BLOCK), 4 * self.block_steps)

    def _look(self, seen: dict[str, np.ndarray]) -> None:
        training = self.training
        self.seen.append(seen)
        tried = ("mean", "params") if self.falling else ("mean",)  # a falling rate averages by itself
        found, params = max(
            ((training.look(self.state[name]), self.state[name]) for name in tried),
            key=lambda one: one[0].bound,
        )
        value = found.bound
        good = seen["bad"] == 0
        own = float(seen["bound"][good].mean()) if good.any() else np.nan
        excess, error = training.excess(params, found.rows)
        self.decay = shrinking(excess - error, found.divergence)  # a chance choice of rows shrinks nothing
        self.bounds.append((self.num_steps, own, value, found.divergence, found.active))
        units = training.setup.rows.num_units
        training.watch.tell(
            f"step {self.num_steps}: bound {value:.3f} nats a row, reconstruction {value + found.divergence:.3f}, "
            f"divergence {found.divergence:.3f}, {found.active} of {units} units active"
        )
        now = {"bound": value, "training_bound": own, "divergence": found.divergence, "active_units": found.active,
               "gradient_norm": float(np.median(seen["norm"])), "not_finite": float(seen["bad"].sum())}  # fmt: skip
        training.watch.saw(now, self.num_steps)
        if self.num_steps / training.each < self.objective.length or self.reason is not None:
            self._take(value, params, False)  # none is better than another before the schedule has ended
            return
        gain = max(DEEP_TOLERANCE, DEEP_TOLERANCE_SHARE * abs(value))
        stale = value < self.mark - gain if self.falling else value <= self.mark + gain
        if stale and not self.falling:  # the model's networks may gain what their encoder's losses hide
            tight = training.tight(params)
            stale = not tight > self.tight + gain
            self.tight = self.tight if stale else tight
        self.stale = self.stale + 1 if stale else 0
        self.mark = self.mark if stale else max(self.mark, value)
        # a weighted bound alone hides what an encoder gains
        worth = value + training.tight(params) if self.falling else value
        if worth > self.best or self.at_best is None:
            self._take(worth, params, True)
        self._ended(seen)

    def _ended(self, seen: dict[str, np.ndarray]) -> None:
        """The end, or that the rate falls from now on, where nothing is gained."""
        if self.num_steps >= MOST_DEEP_STEPS:
            self.reason = STEP_LIMIT
        elif self.falling and self.num_steps >= self.falling + self.length:
            self.reason = "settled"
        elif seen["bad"].mean() > DEEP_LOST:
            self._again()
        elif self.stale >= DEEP_PATIENCE:
            if self.objective.rests:
                self._release()
                return
            if self.falling:
                self.reason = "settled"
            else:  # from now on by the weighted bound too
                self.best += self.training.tight(self.at_best)
            self.falling, self.stale = self.falling or self.num_steps, 0

    def _release(self) -> None:
        """On the bound itself from now on, to which no look before counts."""
        self.released, self.stale = self.num_steps, 0
        self.mark = self.tight = self.best = -np.inf

    def _again(self) -> None:
        """From the best arrays so far, at a smaller rate; the end where that has been tried."""
        training = self.training
        self.restarts += 1
        if self.restarts > DEEP_RESTARTS or self.at_best is None:
            self.reason = "no gradient is finite"
            return
        copy, fresh = training.setup.rows.small.loops.copy, training.begun()
        self.state = {**fresh, "params": copy(self.at_best), "mean": copy(self.at_best)}
        self.rate, self.stale = self.rate / RATE_CUT, 0

    def _take(self, value: float, params: Any, ended: bool) -> None:
        self.best = value if ended else -np.inf
        self.at_best = self.training.setup.rows.small.loops.copy(params)

    def trained(self) -> Trained:
        """What was reached."""
        training = self.training
        params = self.at_best if self.at_best is not None else self.state["mean"]
        host = training.setup.rows.small.loops.to_host(params)
        joined = _joined_seen(self.seen)
        law = encoded(training.compiled, self.state["mean"], training.checked)
        return Trained(
            {g: {k: np.array(v) for k, v in part.items()} for g, part in host.items()},
            training.held,
            np.array(self.bounds, float),
            joined["bound"] * training.setup.rows.total,
            self.num_steps,
            self.num_steps / training.each,
            self.reason or "under way",
            int(joined["bad"].sum()),
            self.rate,
            *told(law, training.seed),
            *training.excess(params, training.bounds(params, training.checked)[0]),
            by_unit(law),
            num_active(law),
            self.decay,
            joined["norm"],
        )

    # -- checkpoint -------------------------------------------------------------------------------------

    def arrays(self) -> dict[str, np.ndarray]:
        """All that the next step needs, by name."""
        host = self.training.setup.rows.small.loops.to_host
        out = {f"state/{key}": value for key, value in _flat(host(self.state)).items()}
        if self.at_best is not None:
            out |= {f"best/{key}": value for key, value in _flat(host(self.at_best)).items()}
        counts = [self.num_steps, self.falling, self.stale, self.restarts, self.released]
        numbers = [self.rate, self.decay, *counts, self.best, self.mark, self.tight]
        out |= {"numbers": np.array(numbers, float), "bounds": np.array(self.bounds, float)}
        return out | {f"seen/{k}": np.concatenate([one[k] for one in self.seen]) for k in self.seen[0]}

    def restore(self, saved: Mapping[str, np.ndarray]) -> None:
        """Go on from what `arrays` gave."""
        to_device = self.training.setup.rows.small.to_device

        def under(prefix, like):
            return {
                key: under(f"{prefix}{key}/", part)
                if isinstance(part, dict)
                else to_device(saved[f"{prefix}{key}"])
                for key, part in like.items()
            }

        like = self.state
        self.state = under("state/", like)
        if any(name.startswith("best/") for name in saved):
            self.at_best = under("best/", like["mean"])
        self.rate, self.decay, *counts, self.best, self.mark, self.tight = saved["numbers"].tolist()
        self.num_steps, self.falling, self.stale, self.restarts, self.released = map(int, counts)
        self.bounds = [tuple(row) for row in saved["bounds"]]
        self.seen = [{k.removeprefix("seen/"): v for k, v in saved.items() if k.startswith("seen/")}]


def _joined_seen(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """What steps saw, of several runs of them."""
    return {name: np.concatenate([one[name] for one in parts]) for name in parts[0]}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, np.ndarray]:
    """Arrays of nested mappings, by their paths."""
    out: dict[str, np.ndarray] = {}
    for key, value in tree.items():
        out |= (
            _flat(value, f"{prefix}{key}/")
            if isinstance(value, dict)
            else {f"{prefix}{key}": np.asarray(value)}
        )
    return out
