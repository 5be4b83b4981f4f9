"""Radon in Minnesota homes: fit, read the verdicts, ask a question of your own, write the report.

Run it with ``python examples/radon.py [FOLDER]``.
"""

from __future__ import annotations

import sys

import numpy as np

import elboroom as er
from elboroom.demo import load_data, radon


def main(folder: str = "radon-report") -> er.Posterior:
    """Fit the survey and answer two questions with it."""
    homes = load_data()
    posterior = er.fit(radon(**dict(homes.items())))
    print(posterior.verdict)
    print(posterior.summary(["mu_alpha", "sigma_alpha", "b_floor", "b_uranium", "sigma_y"]))

    # How much less radon is there on the ground floor than in the basement?
    print(posterior.derive(lambda draws: {"ratio": np.exp(draws["b_floor"])}))

    # Which findings are there about the model?
    for finding in posterior.check():
        print(finding)

    print(posterior.report(folder))
    return posterior


if __name__ == "__main__":
    main(*sys.argv[1:])
