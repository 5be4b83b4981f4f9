"""Collapse of an autoregressive decoder: caught early, made good, and never seen where there is none.

python benchmarks/collapse.py [answers|memory|strong|healthy] [seeds]

``answers``: sequences of questions and answers, of which three styles say whether answers agree, by a decoder that sees the number before and
eight coordinates: it collapses, and with the styles it need not. ``memory``: each number is that before it or its opposite, as one of four
styles of its quarter says, by a recurrent decoder that learns them from what came before: it collapses, and rightly. ``strong``: scikit-learn's digits as 64 binary pixels, each given those before it by a masked network and eight coordinates, a decoder that
can do without them. ``healthy``: the same digits by dense layers, which cannot.
"""

from __future__ import annotations

import re
import sys
import time

import numpy as np

import elboroom as er

ROWS, UNITS = 1000, 8


def digits() -> np.ndarray:
    """Binary pixels, rows in a fixed order."""
    from sklearn.datasets import load_digits

    return (load_digits().data[:ROWS] > 7).astype(int)


@er.model
def strong(x):
    decode = er.module("decode", er.nn.Masked(64, [128], num_context=UNITS))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([UNITS]).to_event(1))
        er.observe("x", er.Bernoulli(logits=decode(x, z)).to_event(1), x)


@er.model
def healthy(x):
    decode = er.module("decode", er.nn.MLP(UNITS, [64], 64))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([UNITS]).to_event(1))
        er.observe("x", er.Bernoulli(logits=decode(z)).to_event(1), x)


PLACES = np.concatenate([np.tile([[0.0], [1.0]], (12, 1)), np.eye(3).repeat(8, 0)], 1)


def questions(seed: int) -> np.ndarray:
    """Twelve questions, each with its answer."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 2, (ROWS, 24))
    x[:, 1::2] = x[:, ::2] ^ rng.integers(0, 2, (ROWS, 3)).repeat(4, 1) ^ (rng.random((ROWS, 12)) < 0.12)
    return x


def walks(seed: int) -> np.ndarray:
    """Sixteen numbers, each that before it or its opposite."""
    rng = np.random.default_rng(seed)
    turns = rng.integers(0, 2, (2 * ROWS, 4)).repeat(4, 1) ^ (rng.random((2 * ROWS, 16)) < 0.25)
    return np.cumsum(turns, 1) % 2


@er.model
def answers(x):
    decode = er.module("decode", er.nn.MLP(UNITS + 5, [16], 1))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([UNITS]).to_event(1))
        before = er.math.concat([0 * x[:, :1], 2.0 * x[:, :-1] - 1.0], -1)[..., None]
        style = er.math.broadcast_to(z[:, None], (len(x), 24, UNITS))
        given = er.math.concat([before, style, er.math.broadcast_to(PLACES, (len(x), 24, 4))], -1)
        er.observe("x", er.Bernoulli(logits=decode(given)[..., 0]).to_event(1), x)


@er.model
def memory(x):
    decode = er.module("decode", er.nn.Causal(1, 8, 1, num_context=UNITS))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([UNITS]).to_event(1))
        er.observe("x", er.Bernoulli(logits=decode(2.0 * x[..., None] - 1.0, z)[..., 0]).to_event(1), x)


def data(which: str, seed: int) -> np.ndarray:
    """Rows of a model."""
    return {"answers": questions, "memory": walks}.get(which, lambda _: digits())(seed)


def main(which: str, seeds: int) -> None:
    model = {"answers": answers, "memory": memory, "strong": strong, "healthy": healthy}[which]
    for seed in range(seeds):
        begin = time.perf_counter()
        posterior = er.fit(
            model(data(which, seed)),
            guide=er.Amortized(),
            seed=seed,
            progress=False,
            objective=er.objectives.Elbo(),
        )
        lines = [rung.reason for rung in posterior.trail if rung.name == "training"]
        cut = re.match(r"cut short after (\d+) steps", lines[0])
        active = int(posterior.latent.table()["active"].sum())
        bound = posterior.draws["fit"]["bounds"].to_numpy()[:, 2].max()
        print(f"{which} seed {seed}: cut {cut.group(1) if cut else 'no'}, {len(lines) - 1} lines of starts, {active} of {UNITS} "
              f"active, bound {bound:.2f}, {time.perf_counter() - begin:.0f} s", flush=True)  # fmt: skip
        for line in lines[:-1]:
            print("   ", line, flush=True)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "answers", int(sys.argv[2]) if len(sys.argv) > 2 else 3)
