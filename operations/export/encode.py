"""``what="encode"``, ``what="predict"`` and ``what="score"`` of posteriors whose rows have an encoder."""

from __future__ import annotations

from dataclasses import replace

from ...inference.deep.distances import NOMINAL
from ...inference.posterior.posterior import Posterior
from ...ppl.errors import UnsupportedError, explain
from .asked import Asked
from .encoding import EPS, MEAN, Encoding
from .graph import Graph

WEIGHED = (
    "log p(x, z) − log q(z | x) of each draw, rows × draws: normalised, they weigh the draws; their k̂ below 0.5 and an effective number of "
    "draws of 1,143 are what a trusted row has"
)
WORDS = {
    "mean": "means of the coordinates of rows under the encoder's law, rows × units",
    "sd": "standard deviations of the same",
    "z": "draws of the encoder's law, rows × draws × units",
    "log_weights": WEIGHED,
    "log_density": "log density of rows: the log of the mean weight, which falls short on average",
}


def encode(asked: Asked) -> Graph:
    """The graph of an encoder.

    Raises
    ------
    UnsupportedError
        For posteriors without one, or whose rows take steps of their own.
    """
    return _graph(asked, scores=False)


def score(asked: Asked) -> Graph:
    """The graph of log densities of rows, by importance weights."""
    return _graph(asked, scores=True)


def predict(asked: Asked) -> Graph:
    """The graph of expected outcomes of rows under the law of each: what `Latent.reconstruct` gives, by weighted draws.

    Raises
    ------
    UnsupportedError
        Besides, for outcomes of classes, which have no mean.
    """
    known = [f"{name}{MEAN}" for name, site in asked.record.observed.items() if site.measure != NOMINAL]
    if not known:
        what, remedy = f"what='{asked.what}'", "export what='encode'"
        raise UnsupportedError(explain(what, "outcomes with means", "classes alone", remedy))
    return _graph(asked, scores=False, predicts=True)


def _graph(asked: Asked, scores: bool, predicts: bool = False) -> Graph:
    what = f"what='{asked.what}'"
    if not asked.record.settings.get("encoder"):
        remedy = "fit with guide=er.Amortized(...), or export what='predict'"
        raise UnsupportedError(explain(what, "a posterior whose rows have an encoder", "one without", remedy))
    settings = {**asked.record.settings, "backend": asked.target.backend}
    latent = Posterior(replace(asked.record, target=asked.target, settings=settings)).latent
    encoder = latent.setup.encoder
    if encoder.iterations:
        got, remedy = f"{encoder.iterations} steps of each row after it", "fit with iterations=0"
        raise UnsupportedError(explain(what, "an encoder alone", got, remedy))
    if (scores or predicts) and encoder.point:
        got = "one that puts each row at one place"
        raise UnsupportedError(
            explain(what, "an encoder with a law of each row", got, "export what='encode'")
        )
    num = asked.num_draws if asked.noise or scores or predicts else 0
    made = Encoding(latent, asked.target, 0 if encoder.point else num, asked.dtype, scores, predicts)
    labels = asked.target.program.labels
    words = {
        k: f"argument '{k}' of the model" + (", NaN where it is missing" if k in encoder.gaps else "")
        for k in made.fitted
    }
    words |= {k: f"codes of '{k}' from 0 to {n - 1}" for k, n in made.sizes.items()}
    units = ", ".join(latent.units)
    return Graph(
        made.made,
        made.constants,
        made.inputs,
        {
            **words,
            **_means(latent),
            EPS: f"standard normal numbers, of which draws are made: {units}",
            **WORDS,
        },
        made.source,
        made.examples,
        made.fitted,
        {k: v for k, v in labels.items() if k in made.fitted},
        frozenset(("z", "log_weights", "log_density", *_means(latent)) if encoder.bits else ()),
        0,
        latent.setup.rows.total,
        _limits(latent, made),
        latent.best,
    )


def _means(latent) -> dict[str, str]:
    """What expected outcomes are."""
    return {
        f"{name}{MEAN}": f"expected '{name}' of rows given what is known of each, by weighted draws"
        for name in latent.outcomes
    }


def _limits(latent, made: Encoding) -> tuple[str, ...]:
    rest = sorted(latent.setup.encoder.gaps)
    gaps = f"numbers may be missing in {', '.join(rest)} alone" if rest else "none may be missing"
    out = [
        f"Rows with numbers that are infinite or, but where the encoder was told of them, missing are answered by NaN: {gaps}."
    ]
    if made.num_draws:
        out.append(f"The verdict of a row is what its weights say, and no better than {latent.best}.")
    else:
        out.append("Without draws and their weights the law of a row is not judged.")
    if latent.setup.rows.num_shared:
        out.append("What rows share stands at its mean.")
    return (*out, "All is given the fitted networks.")
