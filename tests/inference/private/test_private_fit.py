"""`er.fit(private=)` without an encoder: what it reaches, what it says of that, and that nothing it leaves behind knows a row."""

import struct
from types import SimpleNamespace

import numpy as np
import pytest

import elboroom as er

N, FIRST, SECOND = 3000, 123.456789, 987.654321
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, 2))
K = np.array(["oslo", "bergen"])[RNG.integers(0, 2, N)]
Y = X @ [1.0, -0.5] + (K == "oslo") + RNG.standard_normal(N)
X[7, 0], Y[9] = FIRST, SECOND


@er.model
def towns(x, y, k):
    """What is asked?"""
    b = er.sample("b", er.Normal(0, 2).expand([2]).to_event(1))
    with er.plate("town", er.levels(k)):
        town = er.sample("town", er.Normal(0, 1))
    with er.plate("row", len(y)):
        eta = er.deterministic("eta", er.math.sum(x * b, axis=-1) + town[k])
        er.observe("y", er.Normal(eta, 1), y)


def fitted(program=None, **given):
    private = er.Private(**{"epsilon": 3.0, "delta": 1e-5, "clip": 6.0, "steps": 600, "seed": 1, **given})
    return er.fit(towns(X, Y, K) if program is None else program, private=private, progress=False)


@pytest.fixture(scope="module")
def posterior():
    return fitted()


def test_it_is_near_the_posterior_of_rows_that_are_clipped(posterior):
    """Two rows that are no such rows pull by their clip alone: the others have the posterior that is known."""
    usual = np.delete(np.arange(N), [7, 9])
    design = np.column_stack([X, K == "bergen", K == "oslo"])[usual].astype(float)
    precision = design.T @ design + np.diag([0.25, 0.25, 1, 1])
    exact, sd = np.linalg.solve(precision, design.T @ Y[usual]), np.sqrt(np.diag(np.linalg.inv(precision)))
    frame = posterior.summary()
    assert list(frame.index) == ["b[0]", "b[1]", "town[bergen]", "town[oslo]"]
    noise = {f.name: f.value for f in posterior.findings}["noise of privacy"]
    assert 0.1 < noise < 2 and (np.abs(frame["mean"] - exact) < (1.5 * noise + 0.5) * sd).all()
    assert (np.abs(np.log(frame["sd"] / sd)) < 0.7).all()


def test_the_budget_is_told_everywhere(posterior, tmp_path):
    spent = posterior.privacy
    assert (spent["epsilon"], spent["delta"], spent["steps"], spent["num_units"]) == (3.0, 1e-5, 600, N)
    assert spent["unit"] == "rows of 'row'" and spent["seeded"] and "the levels of k" in spent["public"]
    assert "differential privacy" in posterior.trail[-1].reason
    assert er.load(posterior.save(tmp_path / "saved")).privacy == spent
    page = posterior.report(tmp_path / "report.html").read_text()
    assert "(3, 1e-05)-differential privacy" in page


def test_nothing_is_trusted(posterior):
    assert set(posterior.summary()["verdict"]) <= {"caution", "untrusted"}
    assert [f.verdict for f in posterior.findings if f.name == "no public rows"] == ["caution"]
    assert {f.verdict for f in posterior.check()} == {"not assessable"}


def test_no_file_holds_a_row(tmp_path, posterior):
    told = []
    tracker = SimpleNamespace(
        begun=lambda kind, name, settings: told.append(settings) or tracker,
        step=lambda *given: told.append(given),
        line=told.append,
        rested=tuple,
        ended=lambda record: told.append(record.findings) or (),
        failed=lambda error: None,
    )
    private = er.Private(epsilon=3.0, delta=1e-5, clip=6.0, steps=50)
    er.fit(towns(X, Y, K), private=private, progress=False, track=tracker)
    assert told[0]["data_fingerprint"] == ""
    posterior.save(tmp_path / "saved")
    posterior.report(tmp_path / "report.html")
    er.Registry(tmp_path / "registry").add(posterior, "towns")
    texts = [
        repr(posterior),
        posterior._repr_html_(),
        repr(told),
        repr(posterior.draws),
        repr(posterior.check()),
    ]
    (tmp_path / "told").write_text("\n".join(texts))
    numbers = [struct.pack(f"{end}{kind}", v) for end in "<>" for kind in "fd" for v in (FIRST, SECOND)]
    numbers += [b"123.45", b"987.65", er.model and towns(X, Y, K).data_fingerprint.encode()]
    names = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(names) > 10
    assert [path for path in names if any(number in path.read_bytes() for number in numbers)] == []
    assert posterior.program is None and "observed_data" not in posterior.draws.children


def test_what_few_steps_do_not_reach_is_untrusted():
    found = fitted(steps=30, epsilon=20.0)
    assert {f.name: f.verdict for f in found.findings}["rest of a private ascent"] == "untrusted"
    assert set(found.summary()["verdict"]) == {"untrusted"}


def test_a_clip_that_pulls_at_what_is_fitted_is_untrusted():
    found = fitted(clip=1.0)
    clipped = next(f for f in found.findings if f.name == "clipped gradients")
    assert clipped.verdict == "untrusted" and 0.2 < clipped.value < 0.9
    assert set(found.summary()["verdict"]) == {"untrusted"}


def test_public_rows_serve_predictions():
    rows = {"x": np.eye(2), "y": np.zeros(2), "k": np.array(["bergen", "oslo"])}
    found = fitted(public=rows)
    made = found.predict(x=np.ones((4, 2)), y=np.zeros(4), k=np.array(["oslo"] * 4)).posterior_predictive
    assert abs(float(made.y.mean()) - 1.5) < 0.2
    assert "public" not in repr(found.privacy["epsilon"]) and "no public rows" not in {
        f.name for f in found.findings
    }
    with pytest.raises(er.DataError, match="none for"):
        fitted(public={"x": np.eye(2)})


@pytest.mark.parametrize(
    "given, words",
    [
        ({"refine": "always"}, "refine"),
        ({"max_seconds": 10.0}, "max_seconds"),
        ({"checkpoint": "somewhere"}, "checkpoint"),
        ({"validation": 0.1}, "validation"),
        ({"guide": "full-rank"}, "guide of a private fit"),
        ({"minibatch": er.Minibatch("towns", 10)}, "private"),
    ],
)
def test_what_reads_or_keeps_rows_is_refused(given, words):
    private = er.Private(epsilon=3.0, delta=1e-5)
    with pytest.raises(er.ElboroomError, match=words):
        er.fit(towns(X, Y, K), private=private, progress=False, **given)


@er.model
def pair(x, y):
    b = er.sample("b", er.Normal(0, 2).expand([2]).to_event(1))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(er.math.sum(x * b, axis=-1), 1), y)


@pytest.mark.parametrize("shared, verdict", [(0.0, "caution"), (3.0, "untrusted")])
def test_public_rows_tell_whether_a_guide_of_independent_coordinates_will_do(shared, verdict):
    rng = np.random.default_rng(4)
    x = rng.standard_normal((5500, 2)) + shared * rng.standard_normal((5500, 1))
    y = x @ [0.5, -0.5] + rng.standard_normal(5500)
    given = {"epsilon": 20.0, "delta": 1e-5, "clip": 6.0, "steps": 800, "seed": 1}
    private = er.Private(**given, public={"x": x[5000:], "y": y[5000:]})
    found = er.fit(pair(x[:5000], y[:5000]), private=private, progress=False)
    assert set(found.summary()["verdict"]) == {verdict}
    off = next(f.value for f in found.findings if f.name == "sds of a private guide")
    correlation = np.corrcoef(x.T)[0, 1]
    known = 1 - np.sqrt(1 - correlation**2)  # of the best guide of independent coordinates
    assert abs(off - known) < 0.25
    precision = x[:5000].T @ x[:5000] + np.eye(2) / 4
    exact, sd = np.linalg.solve(precision, x[:5000].T @ y[:5000]), np.sqrt(np.diag(np.linalg.inv(precision)))
    if verdict == "caution":
        assert (np.abs(found.summary()["mean"] - exact) < 0.5 * sd).all()
