"""Log price of diamonds on polynomials of their properties: 24 strongly correlated columns."""

import numpy as np

import elboroom as er


@er.model
def diamonds(X, Y=None):
    b = er.sample("b", er.Normal(0, 1).expand([X.shape[1]]))
    intercept = er.sample("Intercept", er.StudentT(3, 8, 10))
    sigma = er.sample("sigma", er.HalfStudentT(3, 10))
    with er.plate("diamond", len(X)):
        er.observe("Y", er.Normal(intercept + X @ b, sigma), Y)


def prepare(reference):
    """Columns less their means, without that of ones."""
    X = np.asarray(reference["X"])[:, 1:]
    return {"X": X - X.mean(0), "Y": np.asarray(reference["Y"])}
