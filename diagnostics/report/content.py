"""What a report says, as plain values: the content of ``report.json``."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ...inference.posterior.posterior import record_of
from ..blame import blame
from ..model_checks import check
from .digits import plain
from .latent_values import latent_values

SCHEMA = "elboroom-report/1"
COLUMNS = ("mean", "sd", "q5", "median", "q95", "verdict", "reason")


def as_json(posterior) -> dict[str, Any]:
    """Content of ``report.json``; its schema is ``schema.json`` beside this file.

    Parameters
    ----------
    posterior : Posterior
        The fit, or draws made elsewhere.

    Returns
    -------
    dict
        Of plain values that JSON takes: no NaN, no arrays.
    """
    record = record_of(posterior)
    table = posterior.summary()
    findings = [*posterior.findings, *check(posterior)]
    found, rows = blame(posterior), latent_values(posterior)
    return plain(
        {
            "schema": SCHEMA,
            "elboroom": installed_version(),
            "name": posterior.name,
            "question": record.question,
            "verdict": posterior.verdict,
            "judgement": posterior.judgement,
            "counts": posterior.counts,
            "doubts": posterior.doubts,
            "fits_data": found.fits_data,
            "blame": {"verdict": found.verdict, "sentence": found.sentence, "misfits": found.misfits},
            "quantities": [
                {"name": name, **{column: row[column] for column in COLUMNS}}
                for name, row in zip(table.index, table.to_dict("records"), strict=True)
            ],
            "findings": [finding.as_dict() for finding in findings],
            "trail": [asdict(rung) for rung in posterior.trail],
            "cost": asdict(posterior.cost),
            "seed": record.seed,
            "backend": record.backend,
            "data_fingerprint": record.data_fingerprint,
            **({} if rows is None else {"latent": rows}),
        }
    )


def installed_version() -> str:
    """Version of elboroom, or ``"unknown"`` where it is not installed."""
    try:
        return version("elboroom")
    except PackageNotFoundError:
        return "unknown"
