"""``@er.model`` and ``Program``: a declaration, and a declaration bound to data."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .backends import load
from .binding import check_codes, check_order, groups_by_coords, mixes_precisions, translated
from .data import Argument, as_groups, as_static, check_values, fingerprint, flatten, holes
from .enumeration import dependents
from .errors import DataError, ElboroomError, ModelError, explain
from .fingerprints import array_bytes, code_hash
from .masks import Masks
from .running import GroupsFound
from .sites import ModelTrace


class Model:
    """A declared model: call it with data to get a `Program`.

    Parameters
    ----------
    fn : callable
        The declaration.
    language : {"elboroom", "numpyro", "pyro"}
        Whose words `fn` speaks.
    dims, coords : mapping, optional
        Names of the axes of a site, and labels of an axis, for models without plates.
    """

    def __init__(self, fn: Callable, language: str = "elboroom", dims=None, coords=None):
        self.fn = fn
        self.language = language
        self.dims = {k: tuple([v] if isinstance(v, str) else v) for k, v in (dims or {}).items()}
        self.coords = {k: tuple(np.asarray(v).tolist()) for k, v in (coords or {}).items()}
        self.signature = inspect.signature(fn)
        self.name = getattr(fn, "__name__", type(fn).__name__)
        self.__doc__ = getattr(fn, "__doc__", None)
        self.__name__ = self.name
        self.__module__ = getattr(fn, "__module__", __name__)
        self.__wrapped__ = fn
        self.compiled: dict = {}

    def __call__(self, *args, **kwargs) -> Program:
        """Bind data.

        Raises
        ------
        ModelError
            If arguments are missing or unknown.
        """
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise ModelError(
                explain(
                    f"model '{self.name}'", f"arguments {self.signature}", str(error), "pass the missing data"
                )
            ) from None
        bound.apply_defaults()
        return Program(self, self._flat(bound.arguments))

    def _flat(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        flat: dict[str, Any] = {}
        for name, value in arguments.items():
            kind = self.signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_POSITIONAL:
                flat.update({f"{name}.{i}": item for i, item in enumerate(value)})
            elif kind is inspect.Parameter.VAR_KEYWORD:
                flat.update(value)
            else:
                flat[name] = value
        return flat

    def call_arguments(self, arguments: Mapping[str, Any]) -> tuple[tuple, dict]:
        """Positional and keyword arguments of `fn` from the flat mapping."""
        positional: list = []
        keywords: dict = {}
        rest = dict(arguments)
        for name, parameter in self.signature.parameters.items():
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                count = sum(key.startswith(f"{name}.") for key in rest)
                positional.extend(rest.pop(f"{name}.{i}") for i in range(count))
            elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
                continue
            elif name in rest:
                value = rest.pop(name)
                if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
                    keywords[name] = value
                else:
                    positional.append(value)
        keywords.update(rest)
        return tuple(positional), keywords

    @property
    def code_hash(self) -> str:
        """Hash of the loaded code of the declaration and of its helpers: what can be told without data."""
        return code_hash(self.fn)

    def __repr__(self) -> str:
        return f"<elboroom model {self.name}{self.signature}>"


def model(fn: Callable) -> Model:
    """Declare a generative model.

    The function states priors with `sample` and likelihoods with `observe`; calling the result with data
    gives a `Program`.

    Parameters
    ----------
    fn : callable
        Arrays among its arguments are data; ``int``, ``bool``, ``str`` and ``None`` are settings.

    Returns
    -------
    Model

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def coin(flips=None):
    ...     p = er.sample("p", er.Beta(1, 1))
    ...     with er.plate("flip", 4):
    ...         er.observe("flips", er.Bernoulli(probs=p), flips)
    >>> coin(flips=[1, 0, 1, 1])
    <elboroom program coin: 1 latent (1 dimension), 1 observed>
    """
    if not callable(fn):
        want = "a function that declares a model"
        raise ModelError(explain("er.model", want, f"{fn!r}"[:60], "decorate a function: @er.model"))
    return Model(fn)


class Program:
    """A model bound to data. Made by calling a `Model`.

    Attributes
    ----------
    model : Model
    name : str
    arguments : dict
        The arguments as given.
    leaves : dict of str to Argument
        Labelled leaves of the arguments.
    precision : numpy.dtype
        Float64, or float32 where the model runs with 64 bits switched off only.
    resized : bool
        Whether its axes may have other sizes than those that the model states labels for: they go unnamed then.
    """

    def __init__(
        self,
        model: Model,
        arguments: Mapping[str, Any],
        fixed=None,
        intervened=None,
        labels=None,
        level_counts=None,
        check=True,
        resized=False,
    ):
        self.model = model
        self.arguments = dict(arguments)
        self.fixed = dict(fixed or {})
        self.intervened = dict(intervened or {})
        self.dims, self.coords = model.dims, model.coords
        self.level_counts = dict(level_counts or {})
        self.leaves: dict[str, Argument] = flatten(self.arguments, labels)
        self.sizes: dict[str, int] = {}
        self.imputed: set[str] | None = None
        self.masks: Masks | None = None
        self._traces: dict = {}
        self._check, self.resized = check, resized
        self.precision: np.dtype = np.dtype(np.float64)
        if check:
            check_order(self.leaves)
            for label, leaf in self.leaves.items():
                if isinstance(leaf.value, np.ndarray):
                    check_values(label, leaf.value, missing=True)

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.model.name

    @property
    def backend(self) -> str:
        """Where the model runs unless another backend is asked for."""
        return "torch" if self.model.language == "pyro" else "jax"

    @property
    def labels(self) -> dict[str, tuple]:
        """Labels of every argument that came as strings or categories."""
        return {label: leaf.labels for label, leaf in self.leaves.items() if leaf.labels is not None}

    @property
    def data_fingerprint(self) -> str:
        """Short hash of the data."""
        return fingerprint(self.leaves)

    def make_static(self, labels) -> None:
        """Hand these leaves to the model as concrete arrays."""
        for label in labels:
            self.leaves[label] = as_static(self.leaves[label])

    def make_traced(self, labels) -> None:
        """Hand these leaves to the model as arguments of compiled functions again."""
        from dataclasses import replace

        for label in labels:
            self.leaves[label] = replace(self.leaves[label], traced=True)

    def trace(self, backend: str | None = None) -> ModelTrace:
        """Sites, shapes and supports, found abstractly; index arrays are checked on the host."""
        backend = backend or self.backend
        if backend not in self._traces:
            engine = load(backend, self.model.language)
            found = self._found(engine, backend)
            if self._check:
                _check_names(self, found)
                known = {s.argument for s in found.by_role("observed") if s.name in found.missing}
                for label, leaf in self.leaves.items():
                    if holes(leaf.value) is not None and label not in known:
                        _check_gaps(self, label, leaf.value)
                if groups := groups_by_coords(self, found, engine.accesses(self)):
                    self.leaves.update(groups)
                    self._traces.clear()
                    return self.trace(backend)
                _check_indices(engine.index_problems(self))
                check_codes(self, engine.code_problems(self))
                if found.counts:
                    dependents(found, engine.accesses(self))
            self._traces[backend] = found
        return self._traces[backend]

    def _found(self, engine, backend) -> ModelTrace:
        """The trace, once the whole numbers that are identifiers of groups have become codes."""
        while True:
            try:
                return engine.trace(self)
            except GroupsFound as ids:
                self.leaves[ids.label] = as_groups(self.leaves[ids.label], ids.label)
            except ElboroomError:
                raise
            except (TypeError, RuntimeError, IndexError, AttributeError, ValueError) as error:
                found = self._in_single_precision(engine, error)
                if found is not None:
                    return found
                named = translated(self, backend, engine, error)
                if named is None:
                    raise
                raise named from error

    def _in_single_precision(self, engine, error) -> ModelTrace | None:
        """The trace of a model whose carry has a type that only single precision keeps."""
        if not mixes_precisions(error) or self.precision != np.float64:
            return None
        self.precision = np.dtype(np.float32)
        try:
            return engine.trace(self)
        except Exception:  # noqa: BLE001  the first error says what is wrong
            self.precision = np.dtype(np.float64)
            return None

    def renew(self) -> None:
        """Forget what an earlier look at the model found: what it reads may have changed since."""
        for found in [found for found in self._traces.values() if isinstance(found, ModelTrace)]:
            self.make_traced(found.demoted)
        self._traces, self.imputed, self.masks = {}, None, None
        self.precision = np.dtype(np.float64)

    def target(self, backend: str | None = None, dtype=None, device: str = "auto"):
        """The unconstrained log density (`Target`) of the model as it is now."""
        from .target import Target

        self.renew()
        return Target.of(self, backend or self.backend, dtype, device)

    def graph(self, backend: str | None = None):
        """The model's graph.

        Returns
        -------
        ModelGraph
            Over a networkx ``DiGraph``; draws itself in Jupyter.
        """
        backend = backend or self.backend
        key = ("graph", backend)
        if key not in self._traces:
            self.trace(backend)
            self._traces[key] = load(backend, self.model.language).graph(self)
        return self._traces[key]

    def accesses(self, backend: str | None = None):
        """What reaches each part of each site, by axis (`Access`)."""
        backend = backend or self.backend
        self.trace(backend)
        return load(backend, self.model.language).accesses(self)

    def links(self, backend: str | None = None) -> dict[str, frozenset[str]]:
        """Which discrete sites each density depends on."""
        backend = backend or self.backend
        if ("links", backend) not in self._traces:
            self._traces["links", backend] = dependents(self.trace(backend), self.accesses(backend))
        return self._traces["links", backend]

    def _copy(self, **changes) -> Program:
        settings = dict(
            arguments=self.arguments,
            fixed=self.fixed,
            intervened=self.intervened,
            labels=self.labels,
            level_counts=self.level_counts,
        )
        settings.update(changes)
        program = Program(self.model, **settings)
        program.dims, program.coords = self.dims, self.coords
        return program

    def bind(self, **data) -> Program:
        """The same model with some arguments replaced; labels keep the codes they had."""
        return self.rebound(data)

    def rebound(self, data: Mapping[str, Any], check: bool = True) -> Program:
        """See `bind`; without a check where more arguments are still to be replaced."""
        unknown = set(data) - set(self.arguments)
        if unknown:
            raise DataError(
                explain(
                    f"model '{self.name}'",
                    f"arguments among {sorted(self.arguments)}",
                    f"{sorted(unknown)}",
                    "check the names",
                )
            )
        return self._copy(arguments={**self.arguments, **data}, check=check)

    def condition(self, **values) -> Program:
        """Fix latent sites at values; their prior density stays in the joint density.

        Parameters
        ----------
        **values : array
            Site name to value, of the site's shape.
        """
        return self._copy(fixed={**self.fixed, **self._sites(values)})

    def do(self, **values) -> Program:
        """Intervene: replace sites by values, cutting them from their parents (Pearl 2009)."""
        return self._copy(intervened={**self.intervened, **self._sites(values)})

    def _sites(self, values: Mapping[str, Any]) -> dict[str, np.ndarray]:
        from .errors import ShapeError, SupportError

        trace = self.trace()
        known = {site.name: site for site in trace.latents}
        out = {}
        for name, value in values.items():
            if name not in known:
                raise ModelError(
                    explain(f"site '{name}'", f"one of {sorted(known)}", "an unknown name", "check it")
                )
            site = known[name]
            try:
                value = np.asarray(value, dtype=float)
            except (TypeError, ValueError):
                got = f"{value!r}"[:60]
                raise DataError(explain(f"site '{name}'", "numbers", got, "pass its value")) from None
            try:
                value = np.broadcast_to(value, site.shape)
            except ValueError:
                raise ShapeError(
                    explain(f"site '{name}'", f"shape {site.shape}", f"{value.shape}", "reshape it")
                ) from None
            check = getattr(site.constraint, "check", None)
            if check is not None and not np.all(check(value)):
                raise SupportError(
                    explain(
                        f"site '{name}'", f"a value in its support ({site.support})", f"{value}", "correct it"
                    )
                )
            out[name] = np.array(value)
        return out

    def log_density(self, values: Mapping[str, Any]) -> float:
        """Log joint density at constrained values, without Jacobian terms.

        Parameters
        ----------
        values : mapping
            Every latent site's value, of its shape.

        Returns
        -------
        float
        """
        return self.target().log_joint(self._complete(values))

    def _complete(self, values):
        missing = [s.name for s in self.trace().latents if s.name not in values]
        if missing:
            raise ModelError(
                explain("log_density", "a value for every latent site", f"none for {missing}", "add them")
            )
        return self._sites({s.name: values[s.name] for s in self.trace().latents})

    def prior_predictive(self, num_draws: int = 1000, seed: int = 0):
        """Draws from the prior and of the data that it implies.

        Returns
        -------
        xarray.DataTree
            Groups ``prior`` and ``prior_predictive``, dims ``chain, draw, …``.

        Raises
        ------
        UnsupportedError
            If a prior is improper.
        """
        from .simulate import prior_predictive

        return prior_predictive(self, num_draws, seed)

    def simulate(self, seed: int = 0) -> dict[str, np.ndarray]:
        """One fake data set with the values behind it: site name to array."""
        from .simulate import simulate

        return simulate(self, seed)

    def __repr__(self) -> str:
        trace = self.trace()
        dim, latent, observed = trace.dim, len(trace.latents), len(trace.by_role("observed"))
        return (
            f"<elboroom program {self.name}: {latent} latent{'s' if latent != 1 else ''} "
            f"({dim} dimension{'s' if dim != 1 else ''}), {observed} observed>"
        )

    def _repr_html_(self) -> str:
        return self.graph()._repr_html_()


def from_numpyro(fn: Callable, dims: Mapping[str, Sequence[str]] | None = None, coords=None) -> Model:
    """Take a NumPyro model as it is.

    Parameters
    ----------
    fn : callable
        The NumPyro model function.
    dims : mapping, optional
        Site name to the names of its axes.
    coords : mapping, optional
        Axis name to labels.

    Returns
    -------
    Model
        Call it with the model's arguments to get a `Program`.
    """
    return _foreign(fn, "numpyro", dims, coords)


def from_pyro(fn: Callable, dims: Mapping[str, Sequence[str]] | None = None, coords=None) -> Model:
    """Take a Pyro model as it is; it runs on the torch backend.

    Parameters
    ----------
    fn : callable
        The Pyro model function. Plates see all of their elements, whatever their subsample size.
    dims : mapping, optional
        Site name to the names of its axes.
    coords : mapping, optional
        Axis name to labels.

    Returns
    -------
    Model
        Call it with the model's arguments to get a `Program`.
    """
    return _foreign(fn, "pyro", dims, coords)


def _foreign(fn, language, dims, coords):
    if isinstance(fn, Model):
        raise ModelError(
            explain(
                f"from_{language}",
                f"a function of {'Pyro' if language == 'pyro' else 'NumPyro'}",
                "an elboroom model",
                "call the model itself with data",
            )
        )
    if dims or coords:
        return Model(fn, language, dims, coords)
    try:
        known = fn.__dict__.get("__elboroom_model__")
        if known is None or known.language != language:
            known = fn.__elboroom_model__ = Model(fn, language)
        return known
    except (AttributeError, TypeError):
        return Model(fn, language)


def _check_names(program: Program, trace: ModelTrace) -> None:
    names = {site.name for site in trace.sites}
    for given in program.dims:
        if given not in names:
            raise ModelError(
                explain("dims", f"names of sites ({sorted(names)})", f"'{given}'", "correct the name")
            )


def _check_gaps(program: Program, label: str, values: np.ndarray) -> None:
    """Refuse missing values that the model does not deal with."""
    if program.masks is None:
        check_values(label, values)
    elif not program.masks.sound:
        rows = sorted({int(where[0]) for where in np.argwhere(np.isnan(values))})
        raise DataError(
            explain(
                f"argument '{label}'",
                "a log density that is finite with its derivatives",
                f"missing values in rows {rows[:8]}{'…' if len(rows) > 8 else ''}, which make it NaN",
                "drop those rows, or take them out of the density with handlers.mask or obs_mask",
            )
        )


def _check_indices(problems) -> None:
    for problem in problems:
        hint = (
            "the codes look one-based: subtract 1"
            if problem.one_based
            else "use zero-based codes below the size of the axis"
        )
        raise DataError(
            explain(
                f"index argument '{problem.label}'",
                f"codes from 0 to {problem.size - 1}",
                f"{list(problem.values)[:5]} in rows {list(problem.rows)[:5]}",
                hint,
            )
        )


def structure_key(program, trace, dtype) -> tuple:
    """What two programs must share, besides their traced program, to share compiled functions."""

    def freeze(value):
        if isinstance(value, np.ndarray):
            return array_bytes(value)
        plain = isinstance(value, (bool, int, float, str, type(None)))
        return type(value).__name__, repr(
            value
        ) if plain else ""  # what else it holds is in the traced program

    def shape(value):
        missing = holes(value)
        gaps = missing is not None and (missing.tobytes() if program.imputed else True)
        return value.dtype.str, value.shape, gaps

    leaves = tuple(
        (label, leaf.traced, shape(leaf.value) if leaf.traced else freeze(leaf.value))
        for label, leaf in sorted(program.leaves.items())
    )
    sites = tuple((s.name, s.role, s.shape, s.plates, s.distribution) for s in trace.sites)
    fixed = tuple((k, freeze(np.asarray(v))) for k, v in sorted(program.fixed.items()))
    intervened = tuple((k, freeze(np.asarray(v))) for k, v in sorted(program.intervened.items()))
    kept = () if program.masks is None else tuple((k, v.tobytes()) for k, v in program.masks.kept.items())
    return leaves, sites, tuple(trace.missing.items()), kept, fixed, intervened, np.dtype(dtype).str
