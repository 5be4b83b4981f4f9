"""Days absent from school, by form: what the pipeline beside this file fits every night."""

import elboroom as er


@er.model
def absence(form, days=None):
    """How many days a year is a child absent, by form?"""
    concentration = er.sample("concentration", er.Gamma(2, 1))
    with er.plate("form", er.levels(form)):
        rate = er.sample("rate", er.LogNormal(2.5, 1))
    with er.plate("child", len(form)):
        er.observe("days", er.NegativeBinomial(rate[form], concentration), days)
