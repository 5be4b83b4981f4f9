"""The public names, and what importing them costs."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import elboroom as er


def test_import_loads_nothing_heavy():
    code = (
        "import sys, elboroom; "
        "heavy = {'jax', 'numpy', 'pandas', 'xarray', 'numpyro', 'scipy', 'matplotlib'} & set(sys.modules); "
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


FIT = """
import sys
import elboroom as er

@er.model
def level(y):
    mu = er.sample("mu", er.Normal(0, 10))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(mu, 1), y)

assert er.fit(level([1.0, 2.0, 3.0]), progress=False).verdict == "trusted"
slow = {"scipy.stats", "scipy.signal", "scipy.optimize", "scipy.interpolate", "networkx", "xarray", "matplotlib", "arviz_stats"}
print(sorted(slow & set(sys.modules)))

from elboroom.inference.evidence.psis import array_stats
import numpy as np

draws = np.random.default_rng(0).normal(size=(4, 200)).cumsum(1)
apart = [float(getattr(array_stats(), name)(draws)) for name in ("ess", "rhat")]
from arviz_stats.base import array_stats
assert apart == [float(getattr(array_stats, name)(draws)) for name in ("ess", "rhat")]
"""


def test_a_fit_imports_nothing_that_it_does_not_need(tmp_path):
    (tmp_path / "work.py").write_text(FIT)
    done = subprocess.run([sys.executable, tmp_path / "work.py"], capture_output=True, text=True)
    assert done.stdout == "[]\n" and done.returncode == 0, done.stdout + done.stderr


def test_names_are_sorted_and_unique():
    assert er.__all__ == sorted(set(er.__all__))


@pytest.mark.parametrize("name", er.__all__)
def test_every_name_resolves(name):
    assert getattr(er, name) is not None
    assert name in dir(er)


def test_every_distribution_and_error_is_public():
    from elboroom.ppl import distributions, errors

    tree = {n for n, v in vars(errors).items() if inspect.isclass(v) and issubclass(v, er.ElboroomError)}
    assert set(distributions.__all__) | tree <= set(er.__all__)


def test_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = er.nothing
    assert not hasattr(er, "nothing")
