"""Dependencies of a program: its model, run once at a point inside the supports."""

from __future__ import annotations

from dataclasses import replace

import torch

from ...binding import labelled
from ...running import Record
from ..reach import Analysis
from ..wrappers import parts_of
from .arrays import randomness, unvalidated
from .execute import Run, execute, probe
from .indices import Held
from .namespace import asarray
from .provenance import analyse, named
from .trace import leaves_of


class Single(Run):
    """A run in which a discrete site takes one value, given like a latent one: plain shapes."""

    def enumerate(self, name, fn):
        return self.latent(name, fn)

    def through(self, name, fn, values, inputs):
        return named(name, fn(values, *inputs))


def analyse_program(program) -> Analysis:
    """What reaches each part of each site, and index arrays that reach outside their axis."""
    leaves = leaves_of(program)
    data = {k: v for k, v in leaves.items() if program.leaves[k].traced}
    settings = (program.fixed, program.intervened)
    with torch.no_grad(), randomness(0), unvalidated():
        values: dict = {}

        def note(name, fn):
            values[name] = probe(fn).detach()
            return values[name]

        def run(latent, data, weights=None):
            return execute(program, {**leaves, **data}, Single(latent, Record(), *settings, weights))

        def parts(values, data, weights=None):
            record = run(lambda name, _fn: values[name], data, weights)
            for name, node in record.nodes.items():
                if node.role == "discrete":  # a code; Pyro's Bernoulli takes real numbers only
                    record.nodes[name] = replace(node, value=node.value.to(torch.float64))
            return parts_of(record, asarray)

        with Held():
            record = run(note, data)
        sources = [node.source for node in record.nodes.values()]
        outcomes = {label for label, leaf in leaves.items() if any(leaf is source for source in sources)}
        weights = {name: asarray(value).detach() for name, value in record.weights.items()}
        return analyse(parts, values, data, labelled(program, outcomes), weights)
