"""Files that functions are written to, by suffix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ...ppl.backends import load
from ...ppl.errors import UnsupportedError, explain
from ..extras import library, require

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes
    ----------
    suffix : str
    backends : tuple of str
        Those that write it.
    runs : str
        What runs it.
    needs : mapping of tuple
        By backend the libraries that writing and reading it takes, each with the extra that installs it.
    """

    suffix: str
    backends: tuple[str, ...]
    runs: str
    needs: Mapping[str, tuple[tuple[str, str], ...]]

    def check(self, backend: str) -> None:
        """Refuse a backend that does not write it, and libraries that are not there.

        Raises
        ------
        UnsupportedError, MissingBackendError
        """
        for module, extra in self.needs.get(backend, ()):
            require(module, extra, f"export to {self.suffix}")

    def read(self, content: bytes) -> Callable[[Arrays], dict[str, np.ndarray]]:
        """The content of a file as what runs it would run it."""
        if self.suffix == ONNX.suffix:
            return _session(content)
        return load(self.backends[0]).portable.read(content)


def _session(content: bytes) -> Callable[[Arrays], dict[str, np.ndarray]]:
    runtime = library("onnxruntime", "onnx", "export to .onnx")
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors: it tells of constants that it leaves out
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def call(given: Arrays) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, dict(given)), strict=True))

    return call


ONNX = Format(".onnx", ("jax", "torch"), "onnxruntime", {
    "jax": (("jax2onnx", "onnx"), ("onnxruntime", "onnx")), "torch": (("onnxscript", "onnx"), ("onnxruntime", "onnx")),
})  # fmt: skip
FORMATS = (
    Format(".jax", ("jax",), "jax", {}),
    Format(".pt2", ("torch",), "torch", {}),
    ONNX,
)
"""Kinds of files, by suffix."""


def format_of(suffix: str, what: str) -> Format:
    """The kind of file of a suffix.

    Raises
    ------
    UnsupportedError
    """
    for one in FORMATS:
        if one.suffix == suffix:
            return one
    known = ", ".join(f"{one.suffix} ({one.runs})" for one in FORMATS)
    raise UnsupportedError(
        explain(what, f"a file that ends in one of {known}", suffix or "no suffix", "name it so")
    )


def backend_for(kind: Format, own: str, language: str) -> str:
    """The backend that writes a file: the fit's own where it can.

    Raises
    ------
    UnsupportedError
        Where the model speaks the language of a library that does not write it.
    """
    if own in kind.backends:
        return own
    if language != "elboroom":
        from_words = "from_numpyro" if own == "jax" else "from_pyro"
        remedy = f"write {' or '.join(one.suffix for one in FORMATS if own in one.backends)}"
        got = f"one of er.{from_words}, which runs on {own} alone"
        raise UnsupportedError(
            explain(f"export to {kind.suffix}", "a model in elboroom's own words", got, remedy)
        )
    return kind.backends[0]
