"""``er.export``: a posterior as a file that runs without elboroom."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...inference.evidence.finding import Finding
from ...inference.posterior.posterior import record_of
from ...inference.posterior.record import Record
from ...ppl import files
from ...ppl.backends import load
from ...ppl.errors import InferenceError, UnsupportedError, explain, in_short
from .asked import DTYPES, QUANTIZED, Asked, names_of
from .card import as_json, as_markdown, card_of
from .encode import encode
from .formats import Format, backend_for, format_of
from .gate import gate, steady
from .graph import Graph
from .judged import judged
from .notes import noted
from .predict import predict, score
from .rounding import rounded

WHATS = {"encode": encode, "predict": predict, "score": score}
"""What a file can compute, by name."""
JSON, MARKDOWN = ".json", ".md"
"""What the names of the cards end in, after that of the file."""


@dataclass(frozen=True, eq=False)
class Export:
    """A file that runs without elboroom, see `export`.

    Attributes
    ----------
    path : pathlib.Path
        The file; its cards lie beside it.
    verdict : str
        How far its numbers can be trusted.
    card : mapping
        What the model card says.
    """

    path: Path
    verdict: str
    card: Mapping[str, Any] = field(repr=False)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was seen while it was written."""
        return tuple(Finding(**found) for found in self.card["findings"])

    def __repr__(self) -> str:
        names = ", ".join(one["name"] for one in self.card["inputs"])
        gives = ", ".join(one["name"] for one in self.card["outputs"])
        return f"{self.path.name}: {self.card['what']} for {self.card['runs']}, {self.verdict}\n  {names} → {gives}"


def export(  # noqa: PLR0913, PLR0917  each is a word of the interface
    posterior: Any,
    path: Any,
    what: str = "predict",
    draws: int | None = None,
    dtype: str = "float32",
    quantize: str | None = None,
    noise: bool = True,
    rows: str | None = None,
    new_groups: str | Sequence[str] | None = None,
) -> Export:
    """Write a posterior as a file that runs without elboroom, with a model card in JSON and Markdown beside it.

    Parameters
    ----------
    posterior : Posterior
        With its program.
    path : str or path
        The file: ``.jax`` is read by ``jax.export.deserialize``, ``.pt2`` by ``torch.export.load``, ``.onnx`` by onnxruntime.
    what : {"predict", "encode", "score"}
        Expected outcomes, deterministic sites and drawn outcomes of new rows under each draw of the posterior, of encoded rows
        their expected outcomes by weighted draws; laws of the latent quantities of rows that have an encoder, with draws and their log weights, by which k̂ is computed where the file runs; or
        log densities, of outcomes under each draw, of encoded rows by weights.
    draws : int, optional
        Draws of the posterior that it holds, 1,200 by default; with fewer it is no more than *caution*. Of encoded rows those of
        each, 2,000 by default.
    dtype : {"float32", "float64"}
        Precision in which it computes.
    quantize : {None, "float16", "int8"}
        In which its draws and learned arrays are kept, made into `dtype` again as it runs. What that costs is measured and stands
        on the card; where it is more than a quarter of what *trusted* promises, the file is *caution*.
    noise : bool
        Whether outcomes are drawn too: by standard normal numbers that are inputs, ``eps_<site>``, of shape ``(rows, draws, …)``.
    rows : str, optional
        Plate of the rows, where outcomes lie in several.
    new_groups : str or sequence of str, optional
        Plates of which rows may name elements that were not fitted: any code out of range is one, whose quantities are drawn from
        their prior given each draw, by noise that is an input.

    Returns
    -------
    Export

    Raises
    ------
    UnsupportedError, MissingBackendError
        For what cannot be exported, by name, and for libraries that are not there.
    InferenceError
        Where the file does not give the posterior's own numbers to 1e-5 in batches of 1, 7 and 33 rows: nothing is written then.

    Notes
    -----
    Rows are computed one by one, so that an answer does not depend on the others of its batch, whose size is free.

    Examples
    --------
    >>> import tempfile
    >>> import elboroom as er
    >>> @er.model
    ... def line(x, y=None):
    ...     slope = er.sample("slope", er.Normal(0, 10))
    ...     with er.plate("row", len(x)):
    ...         er.observe("y", er.Normal(slope * x, 1.0), y)
    >>> x = np.linspace(-1, 1, 20)
    >>> posterior = er.fit(line(x, 3 * x), progress=False)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = er.export(posterior, f"{folder}/line.jax")
    ...     sorted(path.name for path in made.path.parent.iterdir())
    ['line.jax', 'line.jax.json', 'line.jax.md']
    >>> made
    line.jax: predict for jax, trusted
      x, eps_y → y, y_mean
    """
    record = record_of(posterior)
    record.needs_program("export")
    place = files.place(path, "path of an export")
    kind = format_of(place.suffix, "path of an export")
    _check(what, dtype, quantize)
    backend = backend_for(kind, record.backend, record.program.model.language)
    kind.check(backend)
    target = _target(record, backend)
    asked = Asked(record, target, what, draws, np.dtype(dtype), noise, rows, names_of(new_groups))
    graph = WHATS[what](asked)
    content = _written(kind, backend, graph, dtype)
    given, want = gate(kind.read(content), graph, place.name)
    found = None
    if quantize is not None:
        graph = rounded(graph, quantize, np.dtype(dtype))
        content = _written(kind, backend, graph, dtype)
        found = steady(kind.read(content), graph, given, place.name)
    seen = judged(record, graph, want, found)
    content = noted(
        content, kind.suffix, json.dumps({"what": what, "draws": graph.num_draws, **seen}, allow_nan=False)
    )
    kind.read(content)
    settings = {
        "file": place.name,
        "what": what,
        "runs": kind.runs,
        "backend": backend,
        "dtype": dtype,
        "quantize": quantize,
    }
    card = card_of(record, graph, content, settings, seen)
    _put(place, content, card)
    return Export(place, card["verdict"], card)


def _check(what: Any, dtype: Any, quantize: Any) -> None:
    for name, value, known in (
        ("what", what, tuple(WHATS)),
        ("dtype", dtype, DTYPES),
        ("quantize", quantize, QUANTIZED),
    ):
        if value not in known:
            raise InferenceError(explain(name, f"one of {known}", repr(value)[:80], "choose one"))


def _target(record: Record, backend: str) -> Any:
    """The target of the fitted data on a backend."""
    if record.target is not None and record.target.backend == backend:
        return record.target
    made = record.program.altered().target(backend, np.float64)
    return made.at({k: v for k, v in record.weights.items() if k in made.trace.weights})


def _written(kind: Format, backend: str, graph: Graph, dtype: str) -> bytes:
    """The content of a file.

    Raises
    ------
    UnsupportedError
        Where the library that writes it cannot, in its words.
    """
    portable = load(backend).portable
    try:
        return portable.written(graph.made, graph.typed(dtype), graph.inputs, np.dtype(dtype), kind.suffix)
    except UnsupportedError:
        raise
    except Exception as error:
        want, remedy = f"a model that {backend} can write", "export to another kind of file"
        raise UnsupportedError(explain(f"export to {kind.suffix}", want, in_short(error), remedy)) from error


def _put(place: Path, content: bytes, card: Mapping[str, Any]) -> None:
    """Write the cards, then the file: where there is a file, its cards are there."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        for ending, text in ((JSON, as_json(card)), (MARKDOWN, as_markdown(card))):
            files.write(place.with_name(place.name + ending), text)
        files.write(place, content)
    except OSError as error:
        raise files.unwritable(f"export '{place}'", error) from None
