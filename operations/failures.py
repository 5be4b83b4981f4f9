"""How models in use fail, and what tells of it: the finding, the metric, the alert and its runbook. One table."""

from __future__ import annotations

from dataclasses import dataclass

from .rules import RULES


@dataclass(frozen=True)
class Failure:
    """A way to fail.

    Attributes
    ----------
    id, name : str
    where : str
        Who finds it.
    finding : str
        Name of the finding.
    metric : str
        What shows it, of the table of metrics.
    alert : str
        The rule that fires; its runbook says what to do.
    advice : str
        What helps, in short.
    """

    id: str
    name: str
    where: str
    finding: str
    metric: str
    alert: str
    advice: str


FIT, NEW_ROWS, MADE_UP, DRIFT = (
    "posterior.findings",
    "er.calibration",
    "latent.quality",
    "er.drift, er.Monitor",
)
FAILURES: tuple[Failure, ...] = (
    Failure("VI 1", "collapse to a point", FIT, "constant outcome", "quantities", "Verdict", "fix the scale, or mend the column"),
    Failure("VI 2", "bound that is no number", "er.metrics", "not finite", "not_finite_total", "NotFinite", "find the rows; mend them or leave them out"),
    Failure("VI 3", "dropped modes", FIT, "symmetry", "quantities", "Verdict", "order what can be exchanged, or take the automatic guide"),
    Failure("VI 4", "overconfidence", NEW_ROWS, "calibration of predictions", "ece_excess", "Calibration", "another guide than a point, a temperature, another model"),
    Failure("VI 5", "memory", FIT, "out of memory", "resident_bytes", "Down", "rows at a time: er.Minibatch"),
    Failure("VI 6", "slow convergence", "posterior.trail", "cut short", "quantities", "Verdict", "more time (max_seconds), or a checkpoint to go on from"),
    Failure("VI 7", "weights that underflow", "posterior.summary", "k̂", "khat", "Verdict", "a richer guide, or chains: refine"),
    Failure("VI 8", "drift that nobody sees", DRIFT, "data: shape", "drifted", "Drift", "find the column's source; fit again with recent rows"),
    Failure("VAE 1", "posterior collapse", FIT, "collapse", "active_units", "Collapse", "another start, a schedule, a weaker decoder; or no latent units"),
    Failure("VAE 2", "averaged modes", MADE_UP, "made-up rows", "frechet_ratio", "MadeUp", "learn the noise; a richer prior or decoder"),
    Failure("VAE 3", "overfit", FIT, "learned by heart", "elbo", "Bound", "more rows, a smaller network, noise that is learned"),
    Failure("VAE 4", "latent drift", DRIFT, "latent: shape", "drifted", "Drift", "look at rows and at the encoder's gap; fit again"),
    Failure("VAE 5", "memory", FIT, "rows that are kept", "resident_bytes", "Down", "what is not kept is encoded when it is asked for"),
    Failure("VAE 6", "slow inference", "er.metrics", "", "request_seconds", "Latency", "fewer steps of each row's own (iterations=), larger batches"),
)  # fmt: skip
"""All failures; each has a test that provokes it."""


def documented() -> str:
    """The table as Markdown."""
    head = "| failure | who tells | finding | metric | alert, with its runbook | what helps |\n|---|---|---|---|---|---|\n"
    pages = {rule.name: rule.runbook for rule in RULES}
    return head + "".join(
        f"| {f.id}: {f.name} | `{f.where}` | {f'*{f.finding}*' if f.finding else ''} | `elboroom_{f.metric}` "
        f"| [{f.alert}](runbooks/{pages[f.alert]}) | {f.advice} |\n"
        for f in FAILURES
    )
