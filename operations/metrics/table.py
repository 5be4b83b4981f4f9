"""The one table of metrics, from which exposition, dashboards, alert rules and documentation are made."""

from __future__ import annotations

from dataclasses import dataclass

from ..thresholds import REQUEST_BUCKETS

PREFIX = "elboroom_"
COMMON = ("model", "version")
"""Labels that every metric has."""
GAUGE, COUNTER, HISTOGRAM = "gauge", "counter", "histogram"
EXECUTIVE, ON_CALL, DEBUG = "executive", "on-call", "debug"


@dataclass(frozen=True)
class Metric:
    """A row of the table.

    Attributes
    ----------
    name : str
        Without its prefix; counters end in ``_total``.
    kind : {"gauge", "counter", "histogram"}
    unit : str
        Empty for numbers and shares.
    help : str
        What it is.
    labels : tuple of str
        Beside `COMMON`.
    boards : tuple of str
        Dashboards that show it.
    buckets : tuple of float
        Upper ends, of a histogram.
    """

    name: str
    kind: str
    unit: str
    help: str
    labels: tuple[str, ...] = ()
    boards: tuple[str, ...] = (DEBUG,)
    buckets: tuple[float, ...] = ()

    @property
    def full(self) -> str:
        """Its name in the exposition."""
        return PREFIX + self.name

    @property
    def all_labels(self) -> tuple[str, ...]:
        """Names of all its labels."""
        return (*COMMON, *self.labels)


TABLE: tuple[Metric, ...] = (
    # of a fit
    Metric("elbo", GAUGE, "nats", "Evidence lower bound, a row", ("data",), (EXECUTIVE, DEBUG)),
    Metric("elbo_se", GAUGE, "nats", "Standard error of the bound, a row", ("data",)),
    Metric("khat", GAUGE, "", "Pareto shape of the importance weights; above 0.7 they do not hold"),
    Metric("khat_share", GAUGE, "", "Share of rows whose importance weights do not hold", ("data",), (ON_CALL, DEBUG)),
    Metric("quantities", GAUGE, "", "Quantities of the posterior by verdict", ("verdict",), (EXECUTIVE, DEBUG)),
    Metric("findings", GAUGE, "", "Findings of the posterior by verdict", ("verdict",), (DEBUG,)),
    Metric("gradient_norm", GAUGE, "", "Norm of the gradient at the last steps of the fit, the median"),
    Metric("fit_seconds", GAUGE, "seconds", "What the fit took, compilation included"),
    Metric("fit_gradients", GAUGE, "", "Passes over all rows that the fit took"),
    Metric("resident_bytes", GAUGE, "bytes", "The most memory that the process had so far"),
    # of predictions
    Metric("nll", GAUGE, "nats", "Minus the mean log predictive density of a row", ("data",), (EXECUTIVE, DEBUG)),
    Metric("nll_se", GAUGE, "nats", "Standard error of it over rows", ("data",)),
    Metric("ece", GAUGE, "", "Expected calibration error, of 15 bins", ("data",), (EXECUTIVE, DEBUG)),
    Metric("ece_excess", GAUGE, "", "That error less the 95% point of what right probabilities have", ("data",), (ON_CALL, DEBUG)),
    Metric("accuracy", GAUGE, "", "Share of rows whose likeliest class came", ("data",), (EXECUTIVE,)),
    Metric("place_distance", GAUGE, "", "Distance from uniform of the places of outcomes among their predictions (PIT)", ("data",)),
    Metric("place_excess", GAUGE, "", "That distance less the 95% point of what right predictions have", ("data",), (ON_CALL, DEBUG)),
    Metric("coverage", GAUGE, "", "Share of outcomes within the central interval of a level of their predictions", ("data", "level")),
    # of encoded rows
    Metric("reconstruction", GAUGE, "nats", "Expected log density of a row given its code", ("data",)),
    Metric("kl", GAUGE, "nats", "Divergence of a row's law from its prior", ("data",)),
    Metric("unit_mean", GAUGE, "", "Mean over rows of a latent unit; quantiles over units where these are many", ("data", "unit")),
    Metric("unit_sd", GAUGE, "", "Standard deviation over rows and their laws of a latent unit, as above", ("data", "unit")),
    Metric("unit_kl", GAUGE, "nats", "Divergence of a row's law from its prior in a latent unit, as above", ("data", "unit")),
    Metric("active_units", GAUGE, "", "Latent units whose means have a variance above 0.01 over rows", ("data",), (ON_CALL, DEBUG)),
    Metric("encoder_gap", GAUGE, "nats", "What the encoder loses, a row, to the best law of its kind", ("data",)),
    Metric("sample_diversity", GAUGE, "", "Distances among made-up rows over those among rows held out", (), (DEBUG,)),
    Metric("frechet", GAUGE, "", "Fréchet distance of made-up rows from rows held out, in their columns", (), (DEBUG,)),
    Metric("frechet_ratio", GAUGE, "", "That distance over the one of as many rows trained on", (), (ON_CALL, DEBUG)),
    Metric("anomaly_share", GAUGE, "", "Share of rows that are called anomalies at 5%", ("data",), (ON_CALL, DEBUG)),
    Metric("anomaly_precision", GAUGE, "", "Share of rows called anomalies that are some, where that is known", ("data",)),
    Metric("encode_seconds", GAUGE, "seconds", "What encoding one row takes, the median of some", (), (DEBUG,)),
    # counted
    Metric("not_finite_total", COUNTER, "", "Gradients, bounds and metrics that were no finite numbers", ("what",), (ON_CALL, DEBUG)),
    Metric("rows_total", COUNTER, "", "Rows that were looked at", ("data",), (EXECUTIVE,)),
    Metric("norm_exceed_total", COUNTER, "", "Rows whose code is further out than all but a thousandth of the prior", ("data",), (DEBUG,)),
    Metric("verdict_total", COUNTER, "", "Answers by verdict", ("verdict",), (EXECUTIVE, ON_CALL)),
    # of serving
    Metric("request_seconds", HISTOGRAM, "seconds", "What an answer took", ("route",), (ON_CALL,), REQUEST_BUCKETS),
    Metric("requests_total", COUNTER, "", "Answers by route and status", ("route", "code"), (EXECUTIVE, ON_CALL)),
    Metric("queue_rows", GAUGE, "", "Rows that wait", (), (ON_CALL,)),
    Metric("cold_starts_total", COUNTER, "", "Answers that waited for a compilation", (), (ON_CALL,)),
    Metric("degraded", GAUGE, "", "1 where answers come without their evidence", (), (ON_CALL,)),
    Metric("degraded_rows_total", COUNTER, "", "Rows that were answered with less evidence than usual", (), (ON_CALL,)),
    # of operations
    Metric("drift_p", GAUGE, "", "p-value of a drift, corrected for the number of looks", ("kind", "what")),
    Metric("drift_effect", GAUGE, "", "Size of a drift, as er.drift gives it", ("kind", "what"), (ON_CALL, DEBUG)),
    Metric("drifted", GAUGE, "", "1 where a kind of drift is both sure and large enough", ("kind",), (EXECUTIVE, ON_CALL)),
    Metric("canary_ratio", GAUGE, "", "Loss of a candidate over that of what is live", (), (ON_CALL,)),
    Metric("retraining", GAUGE, "", "1 within a window in which the model is fitted again", (), (ON_CALL,)),
    Metric("retrain_failed_total", COUNTER, "", "Fits by schedule that came to nothing", (), (ON_CALL,)),
    Metric("compute_seconds_total", COUNTER, "seconds", "Seconds of computing that were spent", (), (EXECUTIVE,)),
)  # fmt: skip
"""All metrics. A new one is a line here; nothing else names it but what measures it."""

BY_NAME = {metric.name: metric for metric in TABLE}


def documented() -> str:
    """The table as Markdown."""
    head = "| metric | kind | unit | labels | what it is |\n|---|---|---|---|---|\n"
    return head + "".join(
        f"| `{m.full}` | {m.kind} | {m.unit or '-'} | {', '.join(m.all_labels)} | {m.help} |\n" for m in TABLE
    )
