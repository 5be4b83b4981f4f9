"""Encoded rows: what their codes are, and what the encoder makes of them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
from scipy.stats import chi2

from ...inference.deep.evidence import log_joint
from ...inference.thresholds import ACTIVE_VARIANCE, KHAT_TRUSTED
from ..thresholds import ENCODED_TIMES, GAP_MEASURED, MOST_UNITS, NORM_TAIL, UNIT_QUANTILES
from .of_predictions import standard_error
from .watched import Watched


def _dense(watched: Watched) -> bool:
    """Whether rows have an encoder and laws with densities."""
    if not watched.encodes:
        return False
    encoder = watched.posterior.latent.setup.encoder
    return encoder.codebook or not encoder.point


def of_scores(watched: Watched) -> Iterator[tuple]:
    """Log densities of rows by importance weights, bounds, and how many weights do not hold."""
    if not _dense(watched):
        return
    found = watched.posterior.latent.score(watched.rows)
    log_prob, bound, khat = (found[name].to_numpy() for name in ("log_prob", "bound", "khat"))
    yield "rows_total", len(log_prob)
    yield "nll", -log_prob.mean()
    yield from standard_error("nll_se", log_prob)
    if watched.data is not None:
        yield "elbo", bound.mean()
        yield from standard_error("elbo_se", bound)
        yield "khat_share", np.mean(khat >= KHAT_TRUSTED)
    if watched.posterior.latent.setup.encoder.smooth:
        divergence = watched.posterior.latent.divergences(watched.rows).sum(1).mean()
        yield "kl", divergence
        yield "reconstruction", bound.mean() + divergence


def of_codes(watched: Watched) -> Iterator[tuple]:
    """Means, spreads and divergences of latent units, and codes that are far out."""
    if not watched.encodes or not watched.posterior.latent.setup.encoder.smooth:
        return
    latent = watched.posterior.latent
    own = latent.encode(watched.rows, weigh=False)
    mean, sd = own["mean"].to_numpy(), own["sd"].to_numpy()
    yield "active_units", (mean.var(0) > ACTIVE_VARIANCE).sum()
    columns = {"unit_mean": mean.mean(0), "unit_sd": np.sqrt(mean.var(0) + (sd**2).mean(0))}
    if not latent.setup.encoder.point:
        columns["unit_kl"] = latent.divergences(watched.rows).mean(0)
    for name, values in columns.items():
        for label, value in _by_unit(latent.units, values):
            yield name, value, {"unit": label}
    if _standard(latent, watched):
        limit = chi2.isf(NORM_TAIL, mean.shape[1])
        yield "norm_exceed_total", ((mean**2).sum(1) > limit).sum()


def _by_unit(units: list[str], values: np.ndarray) -> Iterator[tuple[str, float]]:
    """Each unit's value; quantiles of many."""
    if len(units) <= MOST_UNITS:
        yield from zip(units, values, strict=True)
        return
    for share in UNIT_QUANTILES:
        yield f"quantile {share:g}", float(np.quantile(values, share))


def _standard(latent, watched: Watched) -> bool:
    """Whether the prior of a row's coordinates is standard normal, by its density at some places."""
    z = np.random.default_rng(0).normal(size=(3, min(len(watched.chosen), 2), len(latent.units)))
    constants = {**latent.compiled.constants, "params": latent.params}
    found = log_joint(latent.compiled, constants, np.arange(z.shape[1]), z, watched.rows, "prior")
    exact = -0.5 * (z**2 + np.log(2 * np.pi)).sum(-1)
    return bool(np.allclose(found - found[:1], exact - exact[:1], rtol=1e-3, atol=1e-3))


def of_encoder(watched: Watched) -> Iterator[tuple]:
    """What the encoder loses to laws of each row's own, and how long it takes."""
    if not _dense(watched) or not watched.posterior.latent.setup.encoder.smooth:
        return
    latent, one = watched.posterior.latent, watched.some(1)
    latent.encode(one, weigh=False)  # compiled, and so ready
    seconds = []
    for _ in range(ENCODED_TIMES):
        begin = time.perf_counter()
        latent.encode(one, weigh=False)
        seconds.append(time.perf_counter() - begin)
    yield "encode_seconds", np.median(seconds)
    yield "encoder_gap", float(latent.gap(watched.some(GAP_MEASURED))["amortization"].mean())


def of_made_up(watched: Watched) -> Iterator[tuple]:
    """How various made-up rows are, and how near to real ones, beside rows that training held out."""
    if not watched.encodes or watched.data is not None:
        return
    found = watched.posterior.latent.quality()
    yield "sample_diversity", found.diversity / found.diversity_real
    yield "frechet", found.frechet
    yield "frechet_ratio", found.frechet / found.frechet_real


def of_anomalies(watched: Watched) -> Iterator[tuple]:
    """How many rows are unlike those held out, and how many of these are known to be anomalies."""
    if not _dense(watched) or watched.data is None:
        return
    flagged = watched.posterior.latent.anomalies(watched.rows)["anomaly"].to_numpy()
    yield "anomaly_share", flagged.mean()
    if watched.anomalous is not None and flagged.any():
        yield "anomaly_precision", watched.anomalous[watched.chosen][flagged].mean()
