"""Does taking units apart find the factors that sprites were drawn by? beta-TC beside the plain bound, over seeds.

python benchmarks/disentangle.py [seeds]

Sprites of known shape, size and place (tests/inference/test_factors.py draws the same); the mutual information gap of each fit, and
whether units are those of the first seed.
"""

from __future__ import annotations

import sys
import time
from itertools import product

import numpy as np

import elboroom as er

SIDE, UNITS = 10, 6
FACTORS = np.array(list(product(range(3), range(2), range(5), range(5))))
COPIES, FLIPPED = 8, 0.02
OBJECTIVES = {
    "plain": er.objectives.Elbo(),
    "beta 4": er.objectives.Elbo(beta=4.0),
    "beta-TC 3": er.objectives.Elbo(total_correlation=3.0),
    "beta-TC 6": er.objectives.Elbo(total_correlation=6.0),
}


def sprite(shape, size, x, y):
    """A square, a disc or a cross, of two sizes, at one of 25 places."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    down, right, reach = rows - 2 - 1.25 * y, columns - 2 - 1.25 * x, 1.2 + 0.8 * size
    if shape == 0:
        return np.maximum(np.abs(down), np.abs(right)) <= reach
    if shape == 1:
        return down**2 + right**2 <= reach**2
    return (np.minimum(np.abs(down), np.abs(right)) < 0.6) & (
        np.maximum(np.abs(down), np.abs(right)) <= reach
    )


def sprites() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Binary pixels, a few of them flipped, and the factors."""
    some = np.tile(FACTORS, (COPIES, 1))
    x = np.stack([sprite(*one) for one in some]).reshape(len(some), -1)
    flips = np.random.default_rng(0).random(x.shape) < FLIPPED
    return (x ^ flips).astype(int), dict(zip(("shape", "size", "x", "y"), some.T, strict=True))


@er.model
def drawn(x):
    decode = er.module("decode", er.nn.MLP(UNITS, [96], SIDE * SIDE))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([UNITS]).to_event(1))
        er.observe("x", er.Bernoulli(logits=decode(z)).to_event(1), x)


def main(seeds: int) -> None:
    x, values = sprites()
    for name, objective in OBJECTIVES.items():
        first, scores = None, []
        for seed in range(seeds):
            begin = time.perf_counter()
            posterior = er.fit(drawn(x), guide=er.Amortized(), objective=objective, seed=seed, progress=False)
            table = posterior.latent.factors(values)
            scores.append(
                table.loc["all", ["mig", "sap", "disentanglement", "informativeness"]].to_numpy(float)
            )
            same = (
                ""
                if first is None
                else f", units as of seed 0 {first.latent.agreement(posterior).attrs['mcc']:.2f}"
            )
            first = first or posterior
            print(f"{name} seed {seed}: MIG {scores[-1][0]:.3f} ± {table.loc['all', 'mig_se']:.3f}, SAP {scores[-1][1]:.3f}, "
                  f"D {scores[-1][2]:.3f}, I {scores[-1][3]:.3f}{same}; {time.perf_counter() - begin:.0f} s", flush=True)  # fmt: skip
            print(table["mig"].round(3).to_dict(), flush=True)
        print(f"{name}: MIG {np.mean([one[0] for one in scores]):.3f} over {seeds} seeds", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
