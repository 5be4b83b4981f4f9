"""A model without its data: the declared prior of what its rows share, and rows made up in place of those that stay away."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import update_wrapper
from typing import Any

import numpy as np

from ...ppl.data import replaced
from ...ppl.errors import ElboroomError, UnsupportedError, explain
from ...ppl.interpreter import interpreting
from ...ppl.model import Model, Program
from ...ppl.primitives import interpreter_of
from ..stream.coordinates import carried
from ..stream.rows import along_rows
from ..stream.told import Carried, Told, placed
from ..thresholds import PRIOR_PROBES

WHAT = "er.federate"


class Hushing:
    """An interpreter to which nothing is said of data."""

    def __init__(self, inner: Any, left_out: frozenset[str]):
        self._inner, self._left_out = inner, left_out

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def observe(self, _name: str, _distribution: Any, value: Any) -> Any:
        """The value alone."""
        return 0.0 if value is None else value

    def factor(self, name: str, value: Any, rows: str | None) -> None:
        """A term, where it reads no data."""
        if name not in self._left_out:
            self._inner.factor(name, value, rows)

    def deterministic(self, name: str, value: Any) -> Any:
        """The value, recorded where it reads no data."""
        return value if name in self._left_out else self._inner.deterministic(name, value)


class Hushed:
    """The declaration of a model without what it says of data.

    Attributes
    ----------
    model : Model
        The user's own.
    left_out : frozenset of str
        Sites that read data.
    """

    def __init__(self, model: Model, left_out: frozenset[str]):
        update_wrapper(self, model.fn)
        self.model, self.left_out = model, left_out
        self.__signature__ = inspect.Signature(list(model.signature.parameters.values()))

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        with interpreting(Hushing(interpreter_of("sample"), self.left_out)):
            self.model.fn(*args, **kwargs)


def hushed(program: Program, backend: str, known: dict | None = None) -> Program:
    """The same program without what it says of its data.

    Parameters
    ----------
    program : Program
        With its data.
    backend : str
        Where it is traced.
    known : dict, optional
        Models that were made before: one is compiled once.

    Raises
    ------
    UnsupportedError
        For models in the words of NumPyro or Pyro, and where data are observed within a recursion.
    """
    model = program.model
    if model.language != "elboroom":
        want, got = "a model in the words of elboroom", f"one of {model.language}"
        raise UnsupportedError(explain(f"model '{model.name}'", want, got, "declare it with @er.model"))
    left_out, known = _reading(program, backend), {} if known is None else known
    if (model, left_out) not in known:
        known[model, left_out] = Model(Hushed(model, left_out), dims=model.dims, coords=model.coords)
    made = Program(
        known[model, left_out],
        program.arguments,
        program.fixed,
        program.intervened,
        program.labels,
        program.level_counts,
    )
    seen = [site.name for site in made.trace(backend).by_role("observed", "predicted")]
    if seen:
        want, remedy = "outcomes outside of er.scan", "write the recursion over given inputs"
        raise UnsupportedError(explain(WHAT, want, f"{seen}", remedy))
    return made


def _reading(program: Program, backend: str) -> frozenset[str]:
    """Factors and deterministic sites that read data."""
    names = [site.name for site in program.trace(backend).by_role("factor", "deterministic")]
    table = program.accesses(backend)
    return frozenset(
        name
        for name in names
        if any(how.kind == "data" for part in table.get(name, {}).values() for how in part.values())
    )


def shared(program: Program, backend: str) -> tuple[Carried, ...]:
    """What all rows of all sites share, by name.

    Raises
    ------
    UnsupportedError
        Where something belongs to single rows, or the model has what no message tells.
    """
    trace = program.trace(backend)
    hurdles = (
        (sorted(trace.weights), "a model without learned arrays", "give them priors"),
        (sorted(trace.missing), "outcomes without missing values", "drop those rows"),
        (sorted(_of_rows(program, backend)), "parameters that rows share", "sum those of single rows out"),
        (
            [s.name for s in trace.latents if s.constraint is None or not carried(s.constraint)],
            "supports with fixed bounds, and no whole matrices",
            "declare it otherwise",
        ),
    )
    for names, want, remedy in hurdles:
        if names:
            raise UnsupportedError(explain(WHAT, want, f"{names}", remedy))
    return tuple(Carried(s.name, s.constraint) for s in by_name(trace.latents))


def by_name(sites: Any) -> list[Any]:
    """In the order of their names."""
    return sorted(sites, key=lambda site: site.name)


def nothing(sites: tuple[Carried, ...], values: Mapping[str, np.ndarray]) -> Told:
    """Nothing said yet, of as many coordinates as values of the sites have."""
    line, own = placed(sites, values, 1)
    dim = line.shape[1]
    count = 0 if own is None else own.shape[1]
    return Told(sites, np.zeros(dim), np.ones(dim), np.zeros(dim), np.zeros((dim, dim)), np.zeros(count))


def _of_rows(program: Program, backend: str) -> set[str]:
    """Latent sites that are in a plate of rows, or have another shape where there is one row more."""
    trace = program.trace(backend)
    plates = {plate for s in trace.by_role("observed") for plate in s.plates[:1]}
    found = {s.name for s in trace.latents if plates & set(s.plates)}
    if not along_rows(program, backend)[0]:
        return found
    shapes = [
        {s.name: s.shape for s in made_up(program, backend, count).trace(backend).latents} for count in (1, 2)
    ]
    return found | {name for name in shapes[0] if shapes[0][name] != shapes[1].get(name)}


def made_up(program: Program, backend: str, count: int = 1) -> Program:
    """The same model with rows of zeros in place of its own, and the labels and numbers of groups that it has.

    Raises
    ------
    UnsupportedError
        Where it cannot be told which arguments have an element for each row.
    """
    labels, rows = along_rows(program, backend)
    if not labels:
        want, got = "outcomes in one plate of rows", "a model whose rows cannot be told"
        remedy = "put all outcomes into one er.plate, or pass program=, the model with rows that are made up"
        raise UnsupportedError(explain(WHAT, want, got, remedy))
    arguments, counts = dict(program.arguments), {**program.level_counts, **counted(program, backend)}
    for label in labels:
        leaf = program.leaves[label]
        value = np.asarray(leaf.value)
        zeros = np.zeros((count, *value.shape[1:]), value.dtype)
        known = zeros if leaf.labels is None else np.asarray(leaf.labels, object)[zeros.astype(int)]
        arguments = replaced(arguments, label, known)
    for label, leaf in program.leaves.items():
        whole = isinstance(leaf.value, (int, np.integer)) and not isinstance(leaf.value, bool)
        if not leaf.traced and whole and leaf.value == rows:
            arguments = replaced(arguments, label, count)
    return program.altered(arguments=arguments, level_counts=counts)


def counted(program: Program, backend: str) -> dict[str, int]:
    """Numbers of groups of arguments that have codes without labels."""
    reads = [part for parts in program.accesses(backend).values() for part in parts.values()]
    gathered = {
        str(a.label) for part in reads for how in part.values() for a in how.axes if a.how == "gathered"
    }
    found = {}
    for label in gathered & set(program.leaves):
        leaf = program.leaves[label]
        value = np.asarray(leaf.value)
        if leaf.labels is None and value.dtype.kind in "iu" and value.size and value.min() >= 0:
            found[label] = int(value.max()) + 1
    return found


def unlabelled(program: Program, backend: str) -> Program:
    """With its outcomes to be predicted, where the model can be called without them."""
    trace = program.trace(backend)
    arguments = dict(program.arguments)
    for site in trace.by_role("observed"):
        if site.argument is not None:
            arguments = replaced(arguments, site.argument, None)
    try:
        made = program.altered(arguments=arguments)
        made.trace(backend)
    except (ElboroomError, TypeError):
        return program
    return made


@dataclass(frozen=True, eq=False)
class Declared:
    """The prior of what is shared, as two parties compare it.

    Attributes
    ----------
    sites : tuple of (str, str, tuple of int)
        Name, support and shape of each.
    probe : numpy.ndarray, shape (PRIOR_PROBES,)
        Its log density at fixed places.
    nothing : Told
        What is carried on of it where nothing has been said yet.
    """

    sites: tuple[tuple[str, str, tuple[int, ...]], ...]
    probe: np.ndarray
    nothing: Told

    @classmethod
    def of(cls, program: Program, backend: str, known: dict | None = None) -> Declared:
        """That of a program, whatever its data; see `hushed`."""
        target = hushed(program, backend, known).target(backend)
        sites = tuple((s.name, s.support, s.shape) for s in target.trace.latents)
        z = np.random.default_rng(0).standard_normal((PRIOR_PROBES, target.dim))
        values = {k: np.asarray(v, float) for k, v in target.constrain(z).items()}
        carried_on = tuple(Carried(s.name, s.constraint) for s in by_name(target.trace.latents))
        none = nothing(carried_on, values)
        return cls(tuple(sorted(sites)), np.asarray(target.value_and_grad(z)[0], float), none)

    def differs(self, sites: Any, probe: np.ndarray) -> str | None:
        """In what a site's own differs, or None."""
        theirs = tuple((str(n), str(s), tuple(map(int, shape))) for n, s, shape in sites)
        if theirs != self.sites:
            other = sorted({n for n, *_ in {*theirs} ^ {*self.sites}})
            return f"other names, shapes or supports of {other}"
        if probe.shape != self.probe.shape or not np.allclose(probe, self.probe, rtol=1e-4, atol=1e-4):
            return "another prior, or one that depends on its data"
        return None
