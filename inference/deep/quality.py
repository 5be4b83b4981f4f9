"""How good made-up rows are: of the law of those held out, as various among themselves, and not those that were trained on.

References
----------
Heusel et al. (2017), GANs trained by a two time-scale update rule, NeurIPS, on the distance between Gaussians of features. Bińkowski et al. (2018),
Demystifying MMD GANs, ICLR, on its bias of few rows: here that of real rows of the same number stands beside it. Phipson & Smyth (2010),
Permutation p-values should never be zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ppl.errors import ShapeError, explain
from ..evidence.finding import Finding, Findings
from ..thresholds import FEWEST_MATCHED, NO_MATCH, PERMUTATIONS, TOLD_AXES
from .distances import blocks
from .samples import Samples

WHERE = "features of latent.quality"


@dataclass(frozen=True)
class Quality:
    """Of made-up rows beside as many that were held out.

    Attributes
    ----------
    frechet, frechet_real : float
        Squared Fréchet distance between Gaussians with the moments of the features, of made-up rows from held-out ones, and of rows
        trained on from held-out ones: what as many real rows have.
    frechet_p_value : float
        That a distance is as great where both are of one law, by permutations of all these rows; of more than 64 features along the 64 axes
        in which they vary most.
    diversity, diversity_real : float
        Mean distance between two made-up rows, and between two held-out ones, in features.
    diversity_p_value : float
        That made-up rows are as much less various, where both are of one law.
    nearest, nearest_real : float
        Median distance of made-up rows, and of held-out ones, to the nearest row trained on, in the outcomes themselves.
    num_rows : int
        Made-up rows, and held-out ones.
    features : str
        What the features are.
    """

    frechet: float
    frechet_real: float
    frechet_p_value: float
    diversity: float
    diversity_real: float
    diversity_p_value: float
    nearest: float
    nearest_real: float
    num_rows: int
    features: str

    @property
    def findings(self) -> Findings:
        """What the tests say: *misfit* where made-up rows are told from real ones."""
        told, poor = self.frechet_p_value < NO_MATCH, self.diversity_p_value < NO_MATCH
        fine = "ok" if self.num_rows >= FEWEST_MATCHED else "not assessable"
        words = (
            f"Of {self.num_rows} made-up rows as many held-out ones are {self.frechet:.3g} away ({self.features}; real rows {self.frechet_real:.3g}): "
            + ("the model makes up other rows than there are; give it more latent numbers or a larger decoder." if told
               else "by these features they are not told from real ones.")
        )  # fmt: skip
        various = (
            f"Two made-up rows are {self.diversity / self.diversity_real:.0%} as far apart as two real ones"
            + (": some kinds of rows are hardly made up." if poor else ".")
        )
        return Findings([
            Finding("made-up rows", "fit", self.frechet_p_value, NO_MATCH, "misfit" if told else fine, words),
            Finding("diversity", "fit", self.diversity_p_value, NO_MATCH, "misfit" if poor else fine, various),
        ])  # fmt: skip

    def __str__(self) -> str:
        return "\n".join(map(str, self.findings))


def quality(samples: Samples, features: Callable[[Any], Any] | None, seed: int) -> Quality:
    """Compare made-up rows with held-out ones, see `Latent.quality`."""
    rng = np.random.default_rng([seed, 85])
    made, trained, held = samples.tables
    num = min(len(made), len(held))
    some = [rng.choice(len(one), min(num, len(one)), replace=False) for one in (made, trained, held)]
    parts = [samples.made, samples.trained, samples.held]
    seen = [
        one[rows] if features is None else _featured(features, part, rows)
        for one, part, rows in zip((made, trained, held), parts, some, strict=True)
    ]
    if np.isnan(np.concatenate(seen)).any():
        raise ShapeError(
            explain(WHERE, "numbers for all rows", "some missing", "give features that know no gaps")
        )
    whole = np.concatenate([seen[0], seen[2]])
    labels = np.arange(2 * num) < num
    orders = np.stack([labels, *(rng.permutation(labels) for _ in range(PERMUTATIONS))])
    main = _axes(whole)
    apart = np.array([_between(_moments(main[one]), _moments(main[~one])) for one in orders])
    first, second = _within(whole, np.stack([orders, ~orders]))
    near = [np.concatenate([np.sqrt(square.min(1)) for _, square in blocks(one[rows], trained)])
            for one, rows in ((made, some[0]), (held, some[2]))]  # fmt: skip
    return Quality(
        frechet(seen[0], seen[2]),
        frechet(seen[1], seen[2]),
        _p_value(apart),
        float(first[0]),
        float(second[0]),
        _p_value(second - first),
        float(np.median(near[0])),
        float(np.median(near[1])),
        num,
        "columns in their sds" if features is None else "features by the function given",
    )


def _featured(features: Callable, values: Mapping[str, np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Features of some rows: of their one outcome, or of outcomes by name."""
    cut = {name: value[rows] for name, value in values.items()}
    found = np.asarray(features(next(iter(cut.values())) if len(cut) == 1 else cut), np.float64)
    if found.ndim != 2 or len(found) != len(rows):
        raise ShapeError(
            explain(
                WHERE, f"shape ({len(rows)}, features)", f"{found.shape}", "return a row of features for each"
            )
        )
    return found


def frechet(one: np.ndarray, other: np.ndarray) -> float:
    """Squared Fréchet distance between Gaussians with the moments of two sets of rows."""
    return _between((one.mean(0), _root(one)), (other.mean(0), _root(other)))


def _between(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> float:
    """Squared Fréchet distance between Gaussians by their means and roots of their covariances, axes last."""
    (mean, a), (far, b) = one, other
    # the trace of the root of the product of covariances is the sum of the singular values of the product of their roots
    common = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return float(((mean - far) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2 * common)


def _root(rows: np.ndarray) -> np.ndarray:
    """A square root of their covariance, as short as may be."""
    _, size, axes = np.linalg.svd((rows - rows.mean(0)) / np.sqrt(len(rows)), full_matrices=False)
    return size[:, None] * axes


def _moments(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and a square root of the covariance, by the covariance itself: to eight digits, many times as fast."""
    centred = rows - (mean := rows.mean(0))
    size, axes = np.linalg.eigh(centred.T @ centred / len(rows))
    return mean, np.sqrt(np.maximum(size, 0.0))[:, None] * axes.T


def _axes(rows: np.ndarray) -> np.ndarray:
    """Rows along the axes in which all of them together vary most, `TOLD_AXES` at most: what is permuted does not decide which."""
    if rows.shape[1] <= TOLD_AXES:
        return rows
    centred = rows - rows.mean(0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    return centred @ axes[:, -TOLD_AXES:]


def _within(whole: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Mean distance between two of the chosen rows ``(..., choices, rows)``, shape ``(..., choices)``."""
    apart = np.empty((len(whole), len(whole)))
    for some, square in blocks(whole, whole):
        np.sqrt(square, out=apart[some[0] : some[-1] + 1])
    own = chosen.astype(np.float64)
    count = own.sum(-1)
    return ((own @ apart) * own).sum(-1) / (count * (count - 1))


def _p_value(found: np.ndarray) -> float:
    return float((found >= found[0] - 1e-12).mean())
