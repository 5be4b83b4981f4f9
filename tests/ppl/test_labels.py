"""Labels and codes: one mapping, made once, in the order that the data state; and never numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

import elboroom as er

BACKENDS = ["jax", "torch"]


@er.model
def groups(group, y=None):
    with er.plate("group", er.levels(group)):
        theta = er.sample("theta", er.Normal(0, 10))
    with er.plate("row", len(group)):
        er.observe("y", er.Normal(theta[group], 1.0), y)


NAMES = np.array(["mid", "low", "high", "low", "mid"], dtype=object)
ORDER = ["low", "mid", "high"]
Y = np.array([2.0, 1.0, 3.0, 1.2, 2.2])
THETA = {"low": 1.1, "mid": 2.1, "high": 2.9}


def _exact(theta=THETA, names=NAMES):
    prior = stats.norm(0, 10).logpdf(list(theta.values())).sum()
    return prior + stats.norm([theta[name] for name in names], 1).logpdf(Y).sum()


def _density(program, theta=THETA, backend="jax"):
    labels = program.trace(backend).coords["group"]
    return program.target(backend).log_joint({"theta": np.array([theta[name] for name in labels])})


CATEGORY = pd.Categorical(NAMES, categories=ORDER)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "given, order",
    [
        (NAMES, sorted(ORDER)),
        (NAMES.tolist(), sorted(ORDER)),
        (pd.Series(NAMES), sorted(ORDER)),
        (pd.Series(NAMES, dtype="string"), sorted(ORDER)),
        (xr.DataArray(NAMES), sorted(ORDER)),
        (pd.Index(NAMES), sorted(ORDER)),
        (CATEGORY, ORDER),
        (pd.Categorical(NAMES, categories=ORDER, ordered=True), ORDER),
        (pd.Series(CATEGORY), ORDER),
        (pd.CategoricalIndex(CATEGORY), ORDER),
    ],
)
def test_every_container_has_its_own_order(given, order, backend):
    program = groups(given, Y)
    assert program.trace(backend).coords["group"] == tuple(order)
    assert _density(program, backend=backend) == pytest.approx(_exact(), abs=1e-10)


@pytest.mark.parametrize("make", ["polars", "pyarrow"])
def test_columns_of_other_tables(make):
    library = pytest.importorskip(make)
    if make == "polars":
        columns = [
            (library.Series(NAMES.tolist()), sorted(ORDER)),
            (library.Series(NAMES.tolist(), dtype=library.Enum(ORDER)), ORDER),
        ]
    else:
        codes = library.array([ORDER.index(name) for name in NAMES])
        columns = [
            (library.array(NAMES.tolist()), sorted(ORDER)),
            (library.DictionaryArray.from_arrays(codes, ORDER), ORDER),
        ]
    for column, order in columns:
        program = groups(column, Y)
        assert program.trace().coords["group"] == tuple(order)
        assert _density(program) == pytest.approx(_exact(), abs=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("ids", [[1, 2, 3], [1000, 3000, 2000], [-1, 5, 7]])
def test_identifiers_become_groups_where_levels_are_asked_for(ids, backend):
    names = dict(zip(ORDER, ids, strict=True))
    program = groups(np.array([names[name] for name in NAMES]), Y)
    theta = {str(names[name]): THETA[name] for name in ORDER}
    assert program.trace(backend).coords["group"] == tuple(str(i) for i in sorted(ids))
    assert _density(program, theta, backend) == pytest.approx(_exact(), abs=1e-10)


def test_zero_based_codes_stay_codes():
    program = groups(np.array([0, 3, 1]), Y[:3])
    assert program.trace()["theta"].shape == (4,) and "group" not in program.trace().coords


def test_codes_that_may_be_identifiers_are_refused():
    for wide in ([0, 1000, 3000], [0, 2**62, 1]):
        with pytest.raises(er.DataError, match=r"'group'.*3 different numbers from 0 to.*category"):
            groups(np.array(wide), Y[:3]).trace()
    groups(np.append(np.arange(200), 1500), np.ones(201)).trace()  # a tenth of them and more has rows


def test_an_index_of_booleans_is_named():
    @er.model
    def indexed(treated, y=None):
        b = er.sample("b", er.Normal(np.zeros(2), 1.0).to_event(1))
        with er.plate("row", 3):
            er.observe("y", er.Normal(b[treated], 1.0), y)

    with pytest.raises(er.DataError, match=r"index argument 'treated'.*bool.*astype"):
        indexed(np.array([True, False, True]), Y[:3]).trace()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_plate_whose_labels_are_identifiers_asks_for_them(backend):
    @er.model
    def years(year, y=None):
        with er.plate("group", 3, coords=[2001, 2002, 2003]):
            theta = er.sample("theta", er.Normal(0, 10))
        with er.plate("row", len(year)):
            er.observe("y", er.Normal(theta[year], 1.0), y)

    code = np.array([ORDER.index(name) for name in NAMES])
    values = {"theta": np.array([THETA[name] for name in ORDER])}
    for given in (code, code + 2001):
        assert years(given, Y).target(backend).log_joint(values) == pytest.approx(_exact(), abs=1e-10)


def test_labels_that_could_be_positions_too_are_refused():
    @er.model
    def wards(ward, y=None):
        with er.plate("group", 3, coords=[1, 2, 3]):
            theta = er.sample("theta", er.Normal(0, 10))
        with er.plate("row", len(ward)):
            er.observe("y", er.Normal(theta[ward], 1.0), y)

    with pytest.raises(er.DataError, match=r"'ward'.*can be both"):
        wards(np.array([1, 2, 1, 2, 1]), Y).trace()
    program = wards(np.array([1, 2, 3, 2, 1]), Y)  # 3 is no position
    program.trace()
    np.testing.assert_array_equal(program.leaves["ward"].value, [0, 1, 2, 1, 0])


def test_an_argument_names_a_plate():
    @er.model
    def rows(names, dates, y=None):
        with er.plate("row", len(dates), coords=dates):
            m = er.sample("m", er.Normal(0, 1))
            er.observe("y", er.Normal(m, 1.0), y)
        with er.plate("place", len(names), coords=names):
            er.sample("place_effect", er.Normal(0, 1))

    dates = pd.Series(pd.date_range("2020-01-01", periods=3))
    coords = rows(["b", "a"], dates, Y[:3]).trace().coords
    assert coords["place"] == ("b", "a")
    assert [str(d)[:10] for d in coords["row"]] == ["2020-01-01", "2020-01-02", "2020-01-03"]


# -- what labels are not -------------------------------------------------------------------------------


@er.model
def slope(x, y=None):
    b = er.sample("b", er.Normal(0, 10))
    with er.plate("row", len(x)):
        er.observe("y", er.Normal(b * x, 1.0), y)


@pytest.mark.parametrize("backend", BACKENDS)
def test_labels_in_arithmetic_are_refused_by_argument_and_operation(backend):
    with pytest.raises(er.DataError, match=r"argument 'x'.*multiplication.*Index"):
        slope(["low", "high", "low"], Y[:3]).trace(backend)
    with pytest.raises(er.DataError, match=r"argument 'x'.*'n/a' in rows \[2\] is no number"):
        slope(["1.5", "2", "n/a", "4"], Y[:4]).trace(backend)


def _uses(use):
    @er.model
    def model(g, y=None):
        b = er.sample("b", er.Normal(np.zeros(3), 1.0).to_event(1))
        with er.plate("row", len(g)):
            er.observe("y", er.Normal(use(b, g), 1.0), y)

    return model(NAMES, Y)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "use",
    [
        lambda b, g: b[0] + g,
        lambda b, g: b[0] - g,
        lambda b, g: b[0] / (g + 1),
        lambda b, g: b[g] + b[0] * (g - 1),
        lambda b, g: b[0] * er.math.exp(g),
        lambda b, g: b[0] * er.math.where(g > 1, 1.0, 0.0),
        lambda b, g: b[0] + er.math.mean(g * 1.0),
    ],
)
def test_computing_with_codes_is_refused(use, backend):
    with pytest.raises(er.DataError, match="argument 'g'"):
        _uses(use).trace(backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "use",
    [
        lambda b, g: b[g],
        lambda b, g: er.math.take(b, g),
        lambda b, g: b[2 - g],
        lambda b, g: b[0] * (g == 1),
        lambda b, g: er.math.where(g == 1, b[0], b[1]),
        lambda b, g: (g[:, None] == np.arange(3)) @ b if hasattr(g, "at") else b[g],
    ],
)
def test_indexing_by_codes_is_what_they_are_for(use, backend):
    _uses(use).trace(backend)


def test_strings_of_numbers_are_refused_with_both_remedies():
    with pytest.raises(er.DataError, match=r"'group'.*all numbers.*astype\(float\).*category"):
        groups(["1", "2", "3"], Y[:3])
    assert groups(pd.Categorical(["10", "9", "10"]), Y[:3]).trace().coords["group"] == ("10", "9")


@pytest.mark.parametrize("backend", BACKENDS)
def test_missing_and_broken_groups_name_their_rows(backend):
    for column in (
        np.array(["a", None, "b"], object),
        pd.Series(["a", np.nan, "b"]),
        pd.Categorical(["a", None]),
    ):
        with pytest.raises(er.DataError, match=r"'group'.*rows \[1\]"):
            groups(column, Y[: len(column)]).trace(backend)
    with pytest.raises(er.DataError, match=r"'group'.*missing ones in rows \[2\]"):
        groups(np.array([0, 1, np.nan]), Y[:3]).trace(backend)
    with pytest.raises(er.DataError, match=r"'group'.*float64.*astype\(int\)"):
        groups(np.array([0.0, 1.0]), Y[:2]).trace(backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "code, words",
    [([0, 1.0, np.nan], r"rows \[2\]"), ([0, 0.5, 1.0], r"0\.5\].*rows \[1\]"), ([0, 1.0, 2.0], "float64")],
)
def test_an_index_of_floats_names_the_argument(code, words, backend):
    @er.model
    def indexed(x, code, y=None):
        b = er.sample("b", er.Normal(np.zeros(3), 1.0).to_event(1))
        with er.plate("row", 3):
            er.observe("y", er.Normal(b[code] * x, 1.0), y)

    with pytest.raises(er.DataError, match=f"index argument 'code'.*{words}"):
        indexed(np.ones(3), np.array(code), Y[:3]).trace(backend)


# -- outcomes that are labels --------------------------------------------------------------------------


@er.model
def ordinal(y=None):
    cuts = er.sample("cuts", er.Ordered(er.Normal(np.zeros(2), 2.0)))
    with er.plate("row", 5):
        er.observe("y", er.OrderedLogistic(0.0, cuts), y)


def _ordinal_exact(cuts):
    edges = np.concatenate([[0.0], 1 / (1 + np.exp(-cuts)), [1.0]])
    return np.log(np.diff(edges))[[ORDER.index(name) for name in NAMES]].sum()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("ordered", [True, False])
def test_ordered_outcomes_have_the_order_of_their_categories(ordered, backend):
    cuts = np.array([-0.8, 0.5])
    for column in (
        pd.Categorical(NAMES, ORDER, ordered=ordered),
        pd.Series(NAMES).astype(pd.CategoricalDtype(ORDER)),
    ):
        found = ordinal(column).target(backend).log_joint({"cuts": cuts})
        codes = np.array([ORDER.index(name) for name in NAMES])
        assert found == pytest.approx(ordinal(codes).target(backend).log_joint({"cuts": cuts}), abs=1e-12)
    one, two = (ordinal(column).target(backend).log_joint({"cuts": c}) for c in (cuts, cuts + 0.1))
    assert two - one == pytest.approx(
        _ordinal_exact(cuts + 0.1)
        - _ordinal_exact(cuts)
        + stats.norm(0, 2).logpdf(cuts + 0.1).sum()
        - stats.norm(0, 2).logpdf(cuts).sum(),
        abs=1e-10,
    )


@pytest.mark.parametrize("column", [NAMES, pd.Series(NAMES), pd.Series(NAMES).astype("category")])
def test_an_ordered_outcome_without_an_order_is_refused(column):
    with pytest.raises(er.DataError, match=r"'y'.*order nobody stated.*ordered=True"):
        ordinal(column).trace()


def test_labels_of_other_outcomes():
    def outcome(law):
        @er.model
        def model(y=None):
            with er.plate("row", 4):
                er.observe("y", law, y)

        return model

    votes = ["no", "yes", "yes", "no"]
    with pytest.raises(er.DataError, match=r"'y'.*y == 'yes'"):
        outcome(er.Bernoulli(0.3))(votes).trace()
    with pytest.raises(er.DataError, match=r"'y'.*numbers for Poisson"):
        outcome(er.Poisson(2.0))(["1", "2", "n/a", "4"]).trace()
    density = outcome(er.Categorical([0.2, 0.8]))(votes).log_density({})
    assert density == pytest.approx(2 * np.log(0.2) + 2 * np.log(0.8))
