"""Several fits at once give what they give one by one, and leave nothing of theirs behind."""

import logging
import subprocess
import sys

import pytest

MODEL = """
import elboroom as er


@er.model
def level(y):
    mu = er.sample("mu", er.Normal(0, 10))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(mu, 1.0), y)
"""

BODY = """
import sys, threading, warnings
from concurrent.futures import ThreadPoolExecutor
import numpy as np

BACKEND, COUNT = {backend!r}, 4


def data(i):
    return np.random.default_rng(i).normal(i, 1, 30)


def of_its_own(i):
    if BACKEND == "jax":
        import numpyro as library, numpyro.distributions as dist
        y, begin = data(i), er.from_numpyro
    else:
        import pyro as library, pyro.distributions as dist, torch
        y, begin = torch.tensor(data(i)), er.from_pyro

    def model(y):
        mu = library.sample(f"mu{{i}}", dist.Normal(0.0, 10.0))
        with library.plate("row", len(y)):
            library.sample("y", dist.Normal(mu, 1.0), obs=y)

    return begin(model)(y)


def job(i):
    posterior = er.fit(level(data(i)) if i % 2 else of_its_own(i), backend=BACKEND, progress=False, num_draws=400)
    checks = [(f.name, f.verdict) for f in posterior.check()] if i < 2 else []
    return posterior.values, checks


def foreign():
    import arviz_stats

    return arviz_stats.summary is not None


before = sys.stdout, sys.stderr, list(warnings.filters)
with ThreadPoolExecutor(COUNT + 1) as pool:  # cold: all trace at once
    other = pool.submit(foreign)
    together = list(pool.map(job, range(COUNT)))
assert other.result()
assert (sys.stdout, sys.stderr) == before[:2]
extra = [f for f in warnings.filters if f not in before[2] and f[2].__module__ == "elboroom"]
assert not extra
assert not [n for n, m in sys.modules.items() if n.startswith("arviz_stats") and m.__spec__ is None]
for i, (values, checks) in enumerate(together):
    alone, again = job(i)
    assert checks == again, (i, checks, again)
    for name, value in alone.items():
        assert np.array_equal(values[name], value), (i, name)
print("alike")
"""


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_fits_in_threads_are_those_of_one_by_one(backend, tmp_path):
    file = tmp_path / "work.py"
    file.write_text(MODEL + BODY.format(backend=backend))
    done = subprocess.run([sys.executable, file], capture_output=True, text=True, timeout=600)
    assert done.stdout.strip().endswith("alike"), done.stderr[-2000:]


def test_what_a_thread_does_not_log_others_may(caplog):
    import threading

    from elboroom.diagnostics.checks.priors import _unlogged

    logger = logging.getLogger("arviz_stats")
    with caplog.at_level(logging.WARNING, logger="arviz_stats"), _unlogged("arviz_stats"):
        logger.warning("ours")
        other = threading.Thread(target=logger.warning, args=("theirs",))
        other.start()
        other.join()
    logger.warning("later")
    assert [record.message for record in caplog.records] == ["theirs", "later"]


FORKED = """
import multiprocessing


def job(queue):
    try:
        found = er.fit(level([1.0, 2.0]), backend="{backend}", progress=False)
        queue.put(found.verdict)
    except er.ElboroomError as error:
        queue.put(str(error))


if __name__ == "__main__":
    if {first}:
        er.fit(level([1.0, 2.0]), backend="{backend}", progress=False)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=job, args=(queue,))
    process.start()
    print(queue.get(timeout=120))
    process.join()
"""


@pytest.mark.parametrize("backend", ["jax", "torch"])
@pytest.mark.parametrize(("first", "words"), [(True, "forked after a fit"), (False, "trusted")])
def test_a_fork_after_a_fit_is_refused_in_words(backend, first, words, tmp_path):
    """It waited for ever for threads that were not copied."""
    file = tmp_path / "work.py"
    file.write_text(MODEL + FORKED.format(backend=backend, first=first))
    done = subprocess.run([sys.executable, file], capture_output=True, text=True, timeout=300)
    assert words in done.stdout, done.stderr[-2000:]


ELSEWHERE = """
import asyncio, sys
import numpy as np


def job(i):
    y = np.random.default_rng(i).normal(i, 1, 30)
    return repr(float(er.fit(level(y), progress=False, num_draws=400).summary().loc["mu", "mean"]))


async def together():
    return await asyncio.gather(*(asyncio.to_thread(job, i) for i in range(12)))


if __name__ == "__main__":
    print(asyncio.run(together()) if "gather" in sys.argv else [job(i) for i in range(12)])
"""


def test_coroutines_and_processes_with_one_cache(tmp_path):
    """As `asyncio.gather` runs fits, and two kernels, or joblib's workers, that begin with one empty cache."""
    import os

    file = tmp_path / "work.py"
    file.write_text(MODEL + ELSEWHERE)
    environment = {**os.environ, "ELBOROOM_CACHE": str(tmp_path / "cache")}
    runs = [
        subprocess.Popen([sys.executable, file, how], stdout=subprocess.PIPE, text=True, env=environment)
        for how in ("gather", "one by one", "gather")
    ]
    found = [run.communicate(timeout=600)[0] for run in runs]
    assert found[0].startswith("[") and found == [found[1]] * 3
    assert all(".draft" not in name for name in os.listdir(next((tmp_path / "cache").iterdir())))
