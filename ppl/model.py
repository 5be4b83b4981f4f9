"""``@er.model`` and ``Program``: a declaration, and a declaration bound to data."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from . import simulate
from .backends import load
from .binding import check_order
from .data import Argument, as_static, check_values, fingerprint, flatten
from .enumeration import dependents
from .errors import DataError, ModelError, explain
from .fingerprints import code_hash, structure_key
from .graph import AccessTable, ModelGraph
from .masks import Masks
from .sites import ModelTrace, check_latents
from .target import Target
from .thresholds import PRIOR_DRAWS, QUOTED
from .tracing import traced

if TYPE_CHECKING:
    import xarray

__all__ = ["CARRIED", "Model", "Program", "model", "structure_key"]

CARRIED = "carried"
"""The argument, and the site, of what earlier rows have said, where that stands beside the prior."""


class Model:
    """A declared model: call it with data to get a `Program`. Made by `model`, `from_numpyro` and `from_pyro`.

    Parameters
    ----------
    fn : callable
        The declaration.
    language : {"elboroom", "numpyro", "pyro"}
        Whose words `fn` speaks.
    dims, coords : mapping, optional
        Names of the axes of a site, and labels of an axis, for models without plates.

    Attributes
    ----------
    name : str
        That of `fn`.
    signature : inspect.Signature
        What it is called with.
    compiled : dict
        Compiled densities of its programs, by what decides them.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def coin(flips=None):
    ...     p = er.sample("p", er.Beta(1, 1))
    ...     with er.plate("flip", 4):
    ...         er.observe("flips", er.Bernoulli(probs=p), flips)
    >>> coin
    <elboroom model coin(flips=None)>
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        language: str = "elboroom",
        dims: Mapping[str, Any] | None = None,
        coords: Mapping[str, Any] | None = None,
    ):
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
        self.compiled: dict[Any, Any] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Program:
        """Bind data.

        Parameters
        ----------
        *args, **kwargs
            The arguments of the declaration.

        Returns
        -------
        Program

        Raises
        ------
        ModelError
            If arguments are missing or unknown.
        DataError, ShapeError
            If they are no data that a model can be bound to, with the rows.
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
        """Positional and keyword arguments of `fn` from the flat mapping.

        Parameters
        ----------
        arguments : mapping
            As a `Program` has them; those of ``*args`` are called ``args.0``, ``args.1`` and so on.

        Returns
        -------
        tuple
            Positional arguments, and a dict of keyword arguments.
        """
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


def model(fn: Callable[..., Any]) -> Model:
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

    Raises
    ------
    ModelError
        If it is no function.

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
        raise ModelError(explain("er.model", want, f"{fn!r}"[:QUOTED], "decorate a function: @er.model"))
    return Model(fn)


class Program:
    """A model bound to data. Made by calling a `Model`.

    Attributes
    ----------
    model : Model
        The declaration.
    arguments : dict
        The arguments as given.
    fixed, intervened : dict of numpy.ndarray
        Values of the sites that `condition` and `do` have set.
    dims, coords : dict
        Names of the axes of a site, and labels of an axis, for models without plates.
    leaves : dict of str to Argument
        Labelled leaves of the arguments.
    level_counts : dict of str to int
        Numbers of groups that arguments have at least, whatever their values.
    sizes : dict of str to int
        Plates that have another size than the model states.
    imputed : set of str or None
        Observed sites whose missing values are latent; None before the first trace.
    masks : Masks or None
        What the masks of a NumPyro or Pyro model take out of its density.
    precision : numpy.dtype
        Float64, or float32 where the model runs with 64 bits switched off only.
    analyses : dict
        What has been found out about the model by tracing it, by backend and kind.
    checked : bool
        Whether the data are checked.
    resized : bool
        Whether its axes may have other sizes than those that the model states labels for: they go unnamed then.
    carried : object or None
        What earlier rows have said, where that stands beside the prior; its ``limit`` is the best verdict that a posterior may
        have, and why.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def level(y=None):
    ...     mu = er.sample("mu", er.Normal(0, 1))
    ...     with er.plate("row", 2):
    ...         er.observe("y", er.Normal(mu, 1.0), y)
    >>> program = level([0.5, 1.5])
    >>> round(program.log_density({"mu": 1.0}), 3)
    -3.507
    >>> program.condition(mu=1.0)
    <elboroom program level: 0 latents (0 dimensions), 1 observed>
    >>> program.simulate(seed=0)["y"].shape
    (2,)
    """

    def __init__(
        self,
        model: Model,
        arguments: Mapping[str, Any],
        fixed: Mapping[str, np.ndarray] | None = None,
        intervened: Mapping[str, np.ndarray] | None = None,
        labels: Mapping[str, tuple] | None = None,
        level_counts: Mapping[str, int] | None = None,
        check: bool = True,
        resized: bool = False,
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
        self.analyses: dict[Any, Any] = {}
        self.checked, self.resized = check, resized
        self.carried: Any = None
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
    def data_leaves(self) -> dict[str, Argument]:
        """Labelled leaves of the user's own arguments: without what earlier rows have said."""
        return {k: leaf for k, leaf in self.leaves.items() if self.carried is None or k != CARRIED}

    @property
    def data_fingerprint(self) -> str:
        """Short hash of the data."""
        return fingerprint(self.leaves)

    def make_static(self, labels: Iterable[str]) -> None:
        """Hand these leaves to the model as concrete arrays."""
        for label in labels:
            self.leaves[label] = as_static(self.leaves[label])

    def make_traced(self, labels: Iterable[str]) -> None:
        """Hand these leaves to the model as arguments of compiled functions again."""
        for label in labels:
            self.leaves[label] = replace(self.leaves[label], traced=True)

    def trace(self, backend: str | None = None) -> ModelTrace:
        """Sites, shapes and supports, found abstractly; index arrays are checked on the host.

        Parameters
        ----------
        backend : {"jax", "torch"}, optional
            Where the model is traced; by default `backend`.

        Returns
        -------
        ModelTrace

        Raises
        ------
        ModelError
            If the declaration or the data are at fault: the kinds and messages say how.
        UnsupportedError
            If the model does what the backend, or this library, cannot.
        """
        backend = backend or self.backend
        if backend not in self.analyses:
            self.analyses[backend] = traced(self, backend)
        return self.analyses[backend]

    def renew(self) -> None:
        """Forget what an earlier look at the model found: what it reads may have changed since."""
        for found in [found for found in self.analyses.values() if isinstance(found, ModelTrace)]:
            self.make_traced(found.demoted)
        self.analyses, self.imputed, self.masks = {}, None, None
        self.precision = np.dtype(np.float64)

    def target(self, backend: str | None = None, dtype: Any = None, device: str = "auto") -> Target:
        """The unconstrained log density of the model as it is now.

        Parameters
        ----------
        backend : {"jax", "torch"}, optional
            Where it computes; by default `backend`.
        dtype : dtype, optional
            Float64 or float32; by default what the device is good at.
        device : str
            ``"auto"``, ``"cpu"``, ``"gpu"`` or a name that the backend knows.

        Returns
        -------
        Target

        Raises
        ------
        ModelError, BackendError
            See `trace`; also for a backend, a dtype or a device that is not there.
        """
        self.renew()
        return Target.of(self, backend or self.backend, dtype, device)

    def graph(self, backend: str | None = None) -> ModelGraph:
        """The model's graph.

        Parameters
        ----------
        backend : {"jax", "torch"}, optional
            Where the model is traced; by default `backend`.

        Returns
        -------
        ModelGraph
            Over a networkx ``DiGraph``; draws itself in Jupyter.

        Raises
        ------
        ModelError, UnsupportedError
            See `trace`.
        """
        backend = backend or self.backend
        key = ("graph", backend)
        if key not in self.analyses:
            self.trace(backend)
            self.analyses[key] = load(backend, self.model.language).graph(self)
        return self.analyses[key]

    def accesses(self, backend: str | None = None) -> AccessTable:
        """What reaches each part of each site, by axis (`Access`)."""
        backend = backend or self.backend
        self.trace(backend)
        return load(backend, self.model.language).accesses(self)

    def links(self, backend: str | None = None) -> dict[str, frozenset[str]]:
        """Which discrete sites each density depends on."""
        backend = backend or self.backend
        if ("links", backend) not in self.analyses:
            self.analyses["links", backend] = dependents(self.trace(backend), self.accesses(backend))
        return self.analyses["links", backend]

    def altered(self, **changes: Any) -> Program:
        """The same model with some of the settings of a `Program` replaced; nothing of it has been traced yet."""
        settings = dict(
            arguments=self.arguments,
            fixed=self.fixed,
            intervened=self.intervened,
            labels=self.labels,
            level_counts=self.level_counts,
        )
        program = Program(self.model, **{**settings, **changes})
        program.dims, program.coords, program.carried = self.dims, self.coords, self.carried
        return program

    def bind(self, **data: Any) -> Program:
        """The same model with some arguments replaced; labels keep the codes they had.

        Parameters
        ----------
        **data
            Argument to its new value.

        Returns
        -------
        Program

        Raises
        ------
        DataError
            If an argument is unknown, or what it is given is no data.
        """
        return self.rebound(data)

    def rebound(self, data: Mapping[str, Any], check: bool = True) -> Program:
        """The same model with some arguments replaced, see `bind`.

        Parameters
        ----------
        data : mapping
            Argument to its new value.
        check : bool
            Whether the data are checked: not where more arguments are still to be replaced.
        """
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
        return self.altered(arguments={**self.arguments, **data}, check=check)

    def condition(self, **values: Any) -> Program:
        """Fix latent sites at values; their prior density stays in the joint density.

        Parameters
        ----------
        **values : array
            Site name to value, of the site's shape, in its support.

        Returns
        -------
        Program

        Raises
        ------
        ModelError
            If a site is unknown, or a value has another shape or lies outside the support.
        """
        return self.altered(fixed={**self.fixed, **check_latents(self.trace(), values)})

    def do(self, **values: Any) -> Program:
        """Intervene: replace sites by values, cutting them from their parents.

        Parameters
        ----------
        **values : array
            Site name to value, of the site's shape, in its support.

        Returns
        -------
        Program

        Raises
        ------
        ModelError
            If a site is unknown, or a value has another shape or lies outside the support.

        References
        ----------
        Pearl (2009), Causality.
        """
        return self.altered(intervened={**self.intervened, **check_latents(self.trace(), values)})

    def log_density(self, values: Mapping[str, Any]) -> float:
        """Log joint density at constrained values, without Jacobian terms.

        Parameters
        ----------
        values : mapping
            Every latent site's value, of its shape.

        Returns
        -------
        float
            In nats.

        Raises
        ------
        ModelError
            If a site has no value, or one of another shape or outside its support.
        """
        trace = self.trace()
        missing = [site.name for site in trace.latents if site.name not in values]
        if missing:
            raise ModelError(
                explain("log_density", "a value for every latent site", f"none for {missing}", "add them")
            )
        given = check_latents(trace, {site.name: values[site.name] for site in trace.latents})
        return self.target().log_joint(given)

    def prior_predictive(self, num_draws: int = PRIOR_DRAWS, seed: int = 0) -> xarray.DataTree:
        """Draws from the prior and of the data that it implies.

        Parameters
        ----------
        num_draws : int
            Number of draws, 1 or more.
        seed : int
            Same seed, same draws.

        Returns
        -------
        xarray.DataTree
            Groups ``prior`` and ``prior_predictive``, dims ``chain, draw, …``.

        Raises
        ------
        UnsupportedError
            If a prior is improper.
        InferenceError
            If `num_draws` is not a positive number.

        References
        ----------
        Gabry et al. (2019), Visualization in Bayesian workflow, JRSS A 182.
        """
        return simulate.prior_predictive(self, num_draws, seed)

    def simulate(self, seed: int = 0) -> dict[str, np.ndarray]:
        """One fake data set with the values behind it.

        Parameters
        ----------
        seed : int
            Same seed, same data.

        Returns
        -------
        dict of numpy.ndarray
            Site name to value: latents, deterministics and outcomes.

        Raises
        ------
        UnsupportedError
            If a prior is improper.
        """
        return simulate.simulate(self, seed)

    def __repr__(self) -> str:
        trace = self.trace()
        dim, latent, observed = trace.dim, len(trace.latents), len(trace.by_role("observed"))
        return (
            f"<elboroom program {self.name}: {latent} latent{'s' if latent != 1 else ''} "
            f"({dim} dimension{'s' if dim != 1 else ''}), {observed} observed>"
        )

    def _repr_html_(self) -> str:
        return self.graph().svg()
