"""Replicated and observed outcomes of each observed site, as arrays, with what is known of their rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ...inference.posterior.groups import draws_of, predictions
from ...ppl.errors import InferenceError
from ...ppl.simulate import block_size, in_blocks, seeds
from .refits import Steps, steps
from .survival import CLOSE, Censoring, censoring

LEAST_ROWS = 5
LEAST_DRAWS, MOST_DRAWS, MOST_VALUES = 300, 3000, 2**22  # every check is valid at any number of draws
MOST_ROWS = 20_000  # of which there is power enough
LEVERS = 200  # draws for the leverage
NEGLIGIBLE = 0.25  # leverage, in standard errors of a correlation
PULLED = 0.5  # lean of residuals towards predictions, in standard errors, from which on these are no axis
SLIGHT = 0.5  # the same for outcomes that cannot be rescaled: a third of a standard error of a PIT-ECDF
SATURATED = 0.25  # leverage from which on only what overfitting cannot explain counts
MOST_COLUMNS = 20  # of a matrix of predictors
FEWEST, MOST_GROUPS = 2, 0.5  # rows that make a group, and groups as a share of the rows


@dataclass(frozen=True)
class Outcome:
    """One observed site.

    Attributes
    ----------
    name : str
    kind : {"continuous", "count", "binary", "categorical"}
    observed : numpy.ndarray, shape (N,)
    replicated : numpy.ndarray, shape (S, N)
    columns : dict of numpy.ndarray, shape (N,)
        Numeric data arguments with one value per row, matrices by column.
    groups : dict of numpy.ndarray of int, shape (N,)
        Codes of data arguments that put rows into groups.
    ordered : bool
        Whether the categories have an order.
    whole : bool
        Whether these are all rows.
    leverage : float
        How much of an outcome its own expectation has taken in.
    steps : Steps, optional
        What a fit to each replicate would have changed.
    censored : Censoring, optional
        Which rows are known from below only.
    """

    name: str
    kind: str
    observed: np.ndarray
    replicated: np.ndarray
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    groups: Mapping[str, np.ndarray] = field(default_factory=dict)
    ordered: bool = False
    whole: bool = True
    leverage: float = 0.0
    steps: Steps | None = None
    censored: Censoring | None = None

    @property
    def saturated(self) -> bool:
        """Whether the model follows the rows so closely that they cannot lie far from their predictions."""
        return self.leverage > SATURATED

    @property
    def exact(self) -> bool:
        """Whether leverage is too small to matter beside the noise of this many rows."""
        return self.leverage * np.sqrt(len(self.observed)) < NEGLIGIBLE

    def pull(self, expected: np.ndarray) -> float:
        """How far residuals lean towards predictions that they have pulled themselves, in standard errors of a trend.

        With H the smoother of a right model, the sum of residuals times predictions has the mean σ² tr H.
        """
        noise = np.sqrt(self.replicated.var(0).mean() / max(expected.var(), 1e-300))
        return float(self.leverage * np.sqrt(len(expected)) * noise)

    @property
    def near(self) -> np.ndarray | None:
        """Observations as far from their expectations as replicates are; None where no rescaling makes them so."""
        if self.exact:
            return self.observed
        if self.kind != "continuous":
            return self.observed if self.leverage * np.sqrt(len(self.observed)) < SLIGHT else None
        if self.saturated:
            return None
        centre = self.replicated.mean(0)
        return kept_apart(centre + (self.observed - centre) / self.pulled, self.observed, self.replicated)

    def refitted(self, values: np.ndarray, rows=slice(None)) -> np.ndarray:
        """Statistics ``(S, …)`` of the replicates in `rows`, as they would be had the model been fitted to each."""
        return values if self.steps is None else self.steps.taken(rows).refitted(values)

    @cached_property
    def standardised(self) -> tuple[np.ndarray, np.ndarray]:
        """See `standardised`."""
        return standardised(self)

    @cached_property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """See `places`."""
        return places(self)

    @property
    def pulled(self) -> float:
        """How much closer observations lie to their expectations than replicates do.

        With H the smoother of a Gaussian model residuals have the covariance σ² (I − H) and predictions σ² (I + H).
        """
        return float(np.sqrt(max(1 - self.leverage, 0.1) / (1 + self.leverage)))


def kept_apart(moved: np.ndarray, observed: np.ndarray, replicated: np.ndarray) -> np.ndarray:
    """Moved observations, on the side where they were of ends that draws of their row share: a limit, a hurdle's zero.

    Those at such an end stay there: among the draws that do they lie anywhere.
    """
    for end, sign in ((replicated.min(0), 1), (replicated.max(0), -1)):
        shared = (replicated == end).sum(0) > 1
        inside = end + sign * CLOSE * replicated.std()
        moved = np.where(shared, sign * np.maximum(sign * moved, sign * inside), moved)
        moved = np.where(shared & np.isclose(observed, end, rtol=CLOSE, atol=0), end, moved)
    return moved


def kind_of(site, observed: np.ndarray, replicated: np.ndarray) -> str:
    """Type of an outcome from its distribution and values.

    Counts that happen to be 0 and 1 stay counts: what the model predicts decides too.
    """
    if not site.is_discrete:
        return "continuous"
    if site.measure in ("nominal", "ordinal"):
        return "categorical"
    if site.measure == "binary" or all(np.isin(v, (0, 1)).all() for v in (observed, replicated)):
        return "binary"
    return "count"


def outcomes(posterior) -> tuple[Outcome, ...]:
    """Each observed site with at least five rows; multivariate outcomes count by element."""
    if "outcomes" not in posterior._groups:
        posterior._groups["outcomes"] = tuple(_outcomes(posterior))
    return posterior._groups["outcomes"]


def _outcomes(posterior) -> Iterator[Outcome]:
    if "observed_data" not in posterior.draws:
        return
    data = posterior.draws["observed_data"]
    for name, site in posterior.observed.items():
        if name not in data:
            continue
        observed = np.asarray(data[name].values, float)
        if (~np.isnan(observed)).sum() < LEAST_ROWS:
            continue
        replicated, rows = _replicates(posterior)
        if not replicated:  # loaded without its program and saved without predictions
            return
        if name in replicated and replicated[name][0].size == observed.size:
            yield outcome(posterior, site, name, observed, replicated, rows)


def _replicates(posterior) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Replicates ``(S, *shape)`` of the observed sites, and the draws ``(S,)`` that they come from.

    As many as the checks use, where those of all draws are not there yet.
    """
    groups = getattr(posterior, "_groups", {})
    largest = max(np.size(value) for value in posterior.draws["observed_data"].data_vars.values())
    needed = num_draws(largest)
    ready = "posterior_predictive" in getattr(posterior.draws, "children", {})
    if not ready and getattr(posterior, "_target", None) is not None and needed < len(posterior.z) / 2:
        if "replicates" not in groups:
            rows = np.unique(np.linspace(0, len(posterior.z) - 1, needed).astype(int))
            groups["replicates"] = predictions(posterior, rows)
            groups["replicates of draws"] = rows
        found = {key: groups["replicates"][key] for key in posterior.observed if key in groups["replicates"]}
        return found, groups["replicates of draws"]
    try:
        predicted = posterior.draws["posterior_predictive"]
    except InferenceError:
        return {}, np.zeros(0, int)
    found = {
        key: np.asarray(predicted[key].values).reshape(-1, *predicted[key].shape[2:])
        for key in posterior.observed
        if key in predicted
    }
    return found, draws_of(posterior)


def num_draws(num_rows: int) -> int:
    """Replicates that the checks use of an outcome of so many rows."""
    return min(MOST_DRAWS, max(LEAST_DRAWS, MOST_VALUES // min(num_rows, MOST_ROWS)))


def outcome(posterior, site, name: str, observed: np.ndarray, together: dict, rows: np.ndarray) -> Outcome:
    """An outcome from its values, of any shape, and all replicates ``(S, *shape)``; rows without a value are left out."""
    replicated = together[name].reshape(len(together[name]), -1)
    shape, observed = observed.shape, observed.ravel()
    there = np.flatnonzero(~np.isnan(observed))
    whole = len(there) <= MOST_ROWS
    if not whole:
        there = np.sort(np.random.default_rng(0).choice(there, MOST_ROWS, replace=False))
    count = len(replicated)
    keep = min(count, num_draws(len(there)))
    draws = np.unique(np.linspace(0, count - 1, keep).astype(int))
    observed, replicated = observed[there], replicated[draws[:, None], there].astype(float)
    columns, groups = _rows(posterior, shape, there, observed)
    lost = censoring(observed, replicated) if site.censored and not site.is_discrete else None
    shared = leverage(posterior, name, replicated, rows[draws], there)
    if lost is not None:
        replicated = np.minimum(replicated, lost.limit)
    if lost is not None:
        columns, groups = (
            {k: v for k, v in some.items() if not _says_the_end(v, observed, lost)}
            for some in (columns, groups)
        )
    return Outcome(
        name,
        kind_of(site, observed, replicated),
        observed,
        replicated,
        columns,
        groups,
        site.measure == "ordinal",
        whole,
        shared,
        steps(posterior, {key: values[draws] for key, values in together.items()}),
        lost,
    )


def _says_the_end(column, observed, censored) -> bool:
    """Whether a column is the outcome itself, or says which rows were seen to their end."""
    if np.allclose(column, observed):
        return True
    two = np.unique(column)
    return len(two) == 2 and bool(abs(np.corrcoef(column, censored.seen)[0, 1]) > 0.9)


def leverage(posterior, name: str, replicated: np.ndarray, draws: np.ndarray, there: np.ndarray) -> float:
    """Variance of the expectation over the noise's, from what two replicates with the same parameters share."""
    target = getattr(posterior, "_target", None)
    if target is None:
        return 0.0
    some = np.unique(np.linspace(0, len(draws) - 1, LEVERS).astype(int))
    z, key = posterior.z[draws[some]].astype(target.dtype), seeds(posterior.seed, len(some), 43)

    def draw(block):
        found = target.density.predict(*block, target.data, target.weights)
        return {name: found[name]}

    other = in_blocks(draw, (z, key), len(some), block_size(target.trace))[name]
    one, two = replicated[some], other.reshape(len(some), -1)[:, there].astype(float)
    one, two = one - one.mean(0), two - two.mean(0)
    shared, whole = (one * two).mean(), 0.5 * ((one**2).mean() + (two**2).mean())
    share = np.clip(shared / whole if whole > 0 else 0.0, 0.0, 0.9)
    return float(share / (1 - share))


def _rows(posterior, shape, there, observed) -> tuple[dict, dict]:
    """What data arguments, other than the outcome itself, say of the rows `there`: numbers, and groups."""
    columns: dict[str, np.ndarray] = {}
    groups: dict[str, np.ndarray] = {}
    num_rows, rest = shape[0], int(np.prod(shape[1:], dtype=int))
    for name, value in getattr(posterior, "constant_data", {}).items():
        value = np.asarray(value)
        if value.shape[:1] != (num_rows,) or value.ndim > 2:
            continue
        parts = value.reshape(num_rows, -1).T[:MOST_COLUMNS]
        for i, part in enumerate(parts):
            label = name if len(parts) == 1 else f"{name}[{i}]"
            part = np.repeat(part, rest)[there]
            if part.dtype.kind in "fiub" and (np.isnan(part).any() or np.allclose(part, observed)):
                continue
            if value.dtype.kind in "iuOUSb":
                _, codes = np.unique(part, return_inverse=True)
                sizes = np.bincount(codes)
                if 2 <= len(sizes) <= MOST_GROUPS * len(part) and np.median(sizes) >= FEWEST:
                    groups[label] = codes
                    if value.dtype.kind in "iu" and part.min() == 0 and part.max() == len(sizes) - 1:
                        continue  # codes, whose order says nothing
            if value.dtype.kind in "fiu" and np.ptp(part) > 0:
                columns[label] = part.astype(float)
    return columns, groups


def pit(outcome: Outcome, rng: np.random.Generator) -> np.ndarray:
    """Probability integral transform of each row, randomised over ties; exactly uniform where the model fits.

    The observation counts as one more draw: without it the values lump at the ends, which many rows reveal.
    """
    below = (outcome.replicated < outcome.observed).sum(0)
    equal = (outcome.replicated == outcome.observed).sum(0)
    return (below + rng.uniform(size=below.shape) * (equal + 1)) / (len(outcome.replicated) + 1)


def places(outcome: Outcome) -> tuple[np.ndarray, np.ndarray]:
    """Probability integral transforms, observed ``(N,)`` and of each replicate among the others ``(S, N)``.

    The observation counts as one more draw, so that both are measured alike.
    """
    rng = np.random.default_rng(len(outcome.observed))
    near = outcome.observed if outcome.near is None else outcome.near
    together = np.concatenate([outcome.replicated, near[None]]).T
    noise = rng.uniform(size=together.shape)
    ties = together + noise * (1e-9 * together.std() if outcome.kind == "continuous" else 0.5)
    values = np.empty(together.shape)
    np.put_along_axis(values, ties.argsort(axis=1), np.arange(together.shape[1]) + noise, axis=1)
    values /= together.shape[1]
    return values[:, -1], values[:, :-1].T


def standardised(outcome: Outcome) -> tuple[np.ndarray, np.ndarray]:
    """Observed ``(N,)`` and replicated ``(S, N)`` outcomes in predictive standard deviations from their mean.

    A replicate is measured against the others, as the observation is: measured against a mean and a
    variance that contain it, replicates lie closer than new data do, which many rows reveal.
    """
    count = len(outcome.replicated)
    centre, variance = outcome.replicated.mean(0), outcome.replicated.var(0)
    residual = outcome.replicated - centre
    others = (count * variance - residual**2 * count / (count - 1)) / (count - 1)
    # discrete or censored outcomes: a row whose draws are all equal would have no scale
    lumped = outcome.kind != "continuous" or outcome.censored is not None
    pooled = variance.mean() if lumped else 0.0

    def scale(variance, count):
        return np.sqrt(np.maximum((count * variance + pooled) / (count + 1), 1e-24))

    return (
        (outcome.observed - centre) / scale(variance, count) / outcome.pulled,
        residual * (count / (count - 1)) / scale(others, count - 1),
    )


def sorting(replicated: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Expected values ``(N,)`` to sort rows by, and which draws ``(S,)`` they come from.

    Rows sorted by the noise of draws would differ between bins in those draws, and in nothing else: compare with the
    others.
    """
    first = np.arange(len(replicated)) % 4 == 0
    return replicated[first].mean(0), first


def group_means(codes: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of ``z`` ``(…, N)`` in groups, ``(…, G)``, and the groups' sizes."""
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes)
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return np.add.reduceat(z[..., order], first, axis=-1) / sizes, sizes


def waves(by: np.ndarray, degree: int = 4) -> np.ndarray:
    """Hermite polynomials of the normal scores of `by`, each with mean square one: ``(degree, N)``."""
    from scipy.special import eval_hermitenorm, ndtri
    from scipy.stats import rankdata

    score = ndtri((rankdata(by) - 0.5) / len(by))
    found = np.stack([eval_hermitenorm(k, score) for k in range(1, degree + 1)])
    return found / np.sqrt((found**2).mean(1, keepdims=True))


def binned(by: np.ndarray, most: int = 10) -> np.ndarray:
    """Codes of bins of about equal count along `by`; equal values share a bin."""
    count = min(most, max(2, len(by) // 10))
    edges = np.unique(np.quantile(by, np.linspace(0, 1, count + 1)[1:-1]))
    codes = np.searchsorted(edges, by, side="left")
    return np.unique(codes, return_inverse=True)[1]
