"""What the analysis of a program says, asked for by part: the same questions for every backend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..graph import AccessTable, IndexProblem, ModelGraph
from .reach import Analysis


@dataclass(frozen=True)
class Dependencies:
    """The analysis of programs on one backend, made once for each.

    Parameters
    ----------
    backend : str
        Its name.
    analyse : callable
        ``analyse(program) -> Analysis``.
    """

    backend: str
    analyse: Callable[[Any], Analysis]

    def analysis(self, program: Any) -> Analysis:
        """The whole of it."""
        known, key = program.analyses, ("analysis", self.backend)  # emptied where the model is looked at anew
        if key not in known:
            known[key] = self.analyse(program)
        return known[key]

    def accesses(self, program: Any) -> AccessTable:
        """What reaches each part of each site, by axis."""
        return self.analysis(program).access

    def known(self, program: Any) -> dict[str, dict[str, np.ndarray]]:
        """Parameters of latent sites that depend on no other latent site, as numbers."""
        return self.analysis(program).known

    def unread(self, program: Any) -> tuple[str, ...]:
        """Operations of the model that the analysis could not follow."""
        return self.analysis(program).unread

    def index_problems(self, program: Any) -> list[IndexProblem]:
        """Index arrays among the data that reach outside the axis that they index."""
        return self.analysis(program).problems

    def code_problems(self, program: Any) -> list[tuple[str, str]]:
        """Arguments of labels that the model computes with, and the operation."""
        return self.analysis(program).codes

    def graph(self, program: Any) -> ModelGraph:
        """The program's graph."""
        found = program.trace(self.backend)
        learned = self.analysis(program).learned
        return ModelGraph.of(found.sites, self.accesses(program), learned=learned, modules=found.modules)

    def local_sites(self, program: Any) -> set[str]:
        """Latent sites with one element per member of an independent axis."""
        local = {site.name for site in program.trace(self.backend).latents if site.plates}
        return local | set(program.graph(self.backend).locals)
