"""Log price of diamonds on polynomials of their properties: 24 strongly correlated columns."""

import elboroom as er


@er.model
def diamonds(X, Y=None):
    columns = X[:, 1:] - er.math.mean(X[:, 1:], axis=0)
    b = er.sample("b", er.Normal(0, 1).expand([columns.shape[1]]))
    intercept = er.sample("Intercept", er.StudentT(3, 8, 10))
    sigma = er.sample("sigma", er.HalfStudentT(3, 10))
    with er.plate("diamond", len(X)):
        er.observe("Y", er.Normal(intercept + columns @ b, sigma), Y)
