"""Elboroom: declare a model; get a posterior with the evidence that it can be trusted."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_DISTRIBUTIONS = ()
_HOME = {
    "model": "ppl.model",
    "Model": "ppl.model",
    "Program": "ppl.model",
    "from_numpyro": "ppl.model",
    "sample": "ppl.primitives",
    "observe": "ppl.primitives",
    "deterministic": "ppl.primitives",
    "factor": "ppl.primitives",
    "plate": "ppl.primitives",
    "levels": "ppl.primitives",
    "Target": "ppl.target",
    "ModelGraph": "ppl.graph",
    "fit": "inference.fit",
    "load": "inference.posterior.save",
    "Posterior": "inference.posterior",
    "Finding": "inference.evidence.finding",
}


def __getattr__(name: str) -> Any:
    if name == "math":
        return importlib.import_module("elboroom.ppl.math")
    home = _HOME.get(name)
    if home is not None:
        value = getattr(importlib.import_module(f"elboroom.{home}"), name)
    else:
        errors = importlib.import_module("elboroom.ppl.errors")
        distributions = importlib.import_module("elboroom.ppl.distributions")
        if name in getattr(distributions, "__all__", ()):
            value = getattr(distributions, name)
        elif hasattr(errors, name) and name.endswith("Error"):
            value = getattr(errors, name)
        else:
            raise AttributeError(f"module 'elboroom' has no attribute {name!r}")
    globals()[name] = value
    return value
