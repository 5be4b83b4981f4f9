"""What ``elboroom demo`` fits: radon in Minnesota homes, by county.

References
----------
Gelman, A. & Hill, J. (2007). *Data Analysis Using Regression and Multilevel/Hierarchical Models*, chapter 12.
"""

from __future__ import annotations

from importlib.resources import as_file, files

import elboroom as er


@er.model
def radon(county, floor, log_uranium, log_radon=None):
    """How does radon in Minnesota homes differ between counties, given the floor and the soil's uranium?

    Parameters
    ----------
    county : array of str, shape (rows,)
        Name of the county.
    floor : array, shape (rows,)
        0 where the home was measured in its basement, 1 on the ground floor.
    log_uranium : array, shape (rows,)
        Log uranium of the county's soil.
    log_radon : array, shape (rows,), optional
        Log radon of the home; predicted where it is left out.
    """
    mu_alpha = er.sample("mu_alpha", er.Normal(0, 10))
    sigma_alpha = er.sample("sigma_alpha", er.HalfNormal(1))
    sigma_y = er.sample("sigma_y", er.HalfNormal(1))
    b_floor = er.sample("b_floor", er.Normal(0, 10))
    b_uranium = er.sample("b_uranium", er.Normal(0, 10))
    with er.plate("county", er.levels(county)):
        alpha = er.sample("alpha", er.Normal(mu_alpha, sigma_alpha))
    with er.plate("home", len(floor)):
        mean = alpha[county] + b_floor * floor + b_uranium * log_uranium
        er.observe("log_radon", er.Normal(mean, sigma_y), log_radon)


def load_data():
    """The survey: 919 homes in 85 counties.

    Returns
    -------
    pandas.DataFrame
        Columns ``county, floor, log_uranium, log_radon``.
    """
    import pandas as pd

    with as_file(files("elboroom") / "data" / "radon.csv") as path:
        return pd.read_csv(path)


def fit_radon() -> er.Posterior:
    """Fit the survey with nothing tuned.

    Returns
    -------
    Posterior
    """
    return er.fit(radon(**dict(load_data().items())))
