"""The answers of a report in words: can it be trusted, does the model fit, what next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TRUST = {
    "trusted": (
        "Yes.",
        "The evidence says that every judged mean is within 0.15 posterior standard deviations and every "
        "interval end within 0.25 of the exact answer to this model.",
    ),
    "caution": (
        "With caution.",
        "At least one judged quantity is established only roughly (within half a standard deviation). The "
        "table names it and says why.",
    ),
    "untrusted": (
        "No.",
        "For at least one judged quantity nothing reliable is established. The table names it and says why.",
    ),
}
DOUBTED = (
    "With caution.",
    "The evidence holds for the judged quantities, and for too few of the others. The table names them and says why.",
)
ROWS = {
    "trusted": (
        "The evidence says that of the rows of '{plate}', but for one in a hundred at most, and of all else that is judged, "
        "every mean is within 0.15 posterior standard deviations and every interval end within 0.25 of the exact answer to "
        "this model at its fitted arrays."
    ),
    "caution": "{reason}. The table of every quantity names them and says why.",
    "untrusted": "{reason}. The table of every quantity names them and says why.",
}
"""The same of encoded rows."""
USE = {
    ("caution", False): (
        "Use the trusted rows; treat the others as rough. More data or another parametrisation may help."
    ),
    ("caution", True): "Use the rows that are trusted, given the fitted arrays; treat the others as rough.",
    ("trusted", False): (
        "Use the results. Trust is conditional on there being no mode beyond the reach of dispersed starts."
    ),
    (
        "trusted",
        True,
    ): "Use the results: they are given the fitted arrays, which are points without a verdict.",
}
"""What to do now, by the verdict and whether rows are encoded."""
LAWS = {
    "guide": "draws of the fitted guide",
    "psis": "importance-corrected draws of the fitted guide",
    "mcmc": "short Markov chains started at the fitted guide",
    "long": "a few long Markov chains",
}
"""What draws are, by their law; ``"long"`` for chains from a refinement."""
FIT = {True: "Yes, as far as the checks see.", False: "No.", None: "Not known."}


def trust(content: Mapping[str, Any]) -> tuple[str, str]:
    """Whether the answer can be trusted, and why; from the content of ``report.json``."""
    answer, why = DOUBTED if content["judgement"] != content["verdict"] else TRUST[content["verdict"]]
    rows = content.get("latent")
    if rows and rows["verdict"] == content["judgement"]:
        reason = f"{rows['reason'][0].upper()}{rows['reason'][1:]}"
        why = ROWS[rows["verdict"]].format(plate=rows["plate"], reason=reason)
    return answer, f"{why} {content['doubts']}" if content["doubts"] else why


def next_step(content: Mapping[str, Any]) -> str:
    """What to do now."""
    if content["verdict"] == "untrusted":
        return "Do not use the numbers marked untrusted. Follow the advice in the findings, then fit again."
    if content["fits_data"] is False:
        what = "the model or its training" if content["blame"]["verdict"] == "arrays" else "the model"
        return (
            f"Change {what} before relying on it: the numbers answer the question that this model asks, "
            "and the data disagree with the model."
        )
    unsettled = content["fits_data"] is None and content["blame"]["verdict"] != "not assessable"
    if content["verdict"] == "trusted" and unsettled:
        return (
            "Get draws that can be trusted first (posterior.refine()); then ask again whether the model fits."
        )
    return USE[content["verdict"], "latent" in content]


def which(content: Mapping[str, Any]) -> str:
    """The checks that see a misfit, in words."""
    names = dict.fromkeys(f["name"] for f in content["findings"] if f["verdict"] == "misfit")
    return f" What stands out: {', '.join(names)}." if names else ""
