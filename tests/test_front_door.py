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
