"""What a backend must give. `jax` and `torch` are packages of these names, and of no others.

`implementations` holds the two to it where types are checked, and a contract test where tests run. Arrays cross the
line as NumPy arrays; what is on a device is handed back to the same backend only, and is typed ``Any`` here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ..graph import AccessTable, IndexProblem, ModelGraph
from ..sites import ModelTrace, Site
from .portable import Input, Made

Arrays = Mapping[str, Any]
"""Arrays by name, on the host or on a device."""


class Function(Protocol):
    """A function of arrays, compiled once per shapes of its arguments.

    Attributes
    ----------
    clock : dict
        ``"compile"``, seconds spent on compilation by all functions of a density, and ``"count"``, their number.
    """

    clock: dict[str, float]

    def __call__(self, *args: Any) -> Any:
        """The result, as NumPy arrays, or as what NumPy reads as such.

        Raises
        ------
        UnsupportedError
            In a process that was forked after a backend had run.
        """
        ...

    def prepare(self, *args: Any) -> Any:
        """Compile for arguments of these shapes, in a thread where the library can."""
        ...


class Density(Protocol):
    """The functions of one program's structure, compiled once per shape and shared by programs of equal shapes.

    Each takes ``data`` and ``weights`` last, the traced arguments and the learnable arrays by name: see `device`. All are
    batched over the leading axis of their first argument, ``z`` of shape ``(B, dim)`` unless stated otherwise.

    Attributes
    ----------
    dtype : numpy.dtype
    clock : dict
        See `Function`.
    ascents : dict
        Loops and samplers compiled for this density, by what else they depend on.
    fingerprint : str or None
        Digest of the traced program; None where something in it cannot be identified.
    captured : int
        Numbers that the model holds itself, beside its data.
    large_batch : float
        Number of rows from which they are taken so many at a time; infinite where one batch size is all that is compiled.
    largest_drawn : int
        Draws of one call that draws from the prior or predicts, at most.
    value : Function
        Log density, shape (B,).
    value_and_grad : Function
        Log density and gradient, shapes (B,) and (B, dim).
    scaled_value_and_grad : Function
        The same with a further last argument ``scale``: plate to a factor on the densities in it, one or one per element.
    parts : Function
        With ``scale``: ``log_prior``, ``log_likelihood``, ``log_factors`` and ``log_jacobian`` by name, shapes (B,).
    terms : Function
        The terms that the log density is a sum of, one number per element, by site, and the log Jacobian of each site.
    site_priors : Function
        Log density of each latent site whose term stands alone, by name, shapes (B,).
    per_row : Function
        Log likelihood of each observed row, by site, shapes (B, *batch).
    expected : Function
        Means of the outcomes whose laws know theirs, by site, shapes (B, *shape).
    constrain, unconstrain : Function
        Values of latent and deterministic sites by name, shapes (B, *shape); and coordinates of such values, (B, dim).
    observed : Function
        Values of observed sites that the model computes from its data, by name.
    predict : Function
        ``predict(z, seeds, data, weights)``: outcomes and deterministic sites by name; integer seeds, shape (B,).
    predict_values : Function
        The same given constrained values by site, or pairs of a value and which of its elements are known; sites without
        are drawn from their prior.
    predict_each, expected_each, per_row_each : Function
        Of a program of one row: ``predict_each(values, seeds, rows, data, weights)``, ``expected_each(z, rows, data, weights)`` and
        ``per_row_each(z, rows, data, weights)`` are the above for each of the rows, whose data have them on a new first axis: shapes
        (B, rows, …). What a row gets does not depend on the others.
    complete : Function
        ``complete(z, seeds, data, weights)``: outcomes and values of discrete sites, drawn given all that is known.
    simulate : Function
        ``simulate(values, seeds, data, weights)``: all sites from the model, but for what has a value, as `predict_values` takes
        them; what depends on an outcome sees the drawn one.
    prior : Function
        ``prior(seeds, data, weights)``: draws of all sites from the prior.
    responsibilities : Function
        Posterior probability of each value of each discrete site, by name, shapes (B, count, *shape).
    moved : Function
        ``moved(z, own, data, weights)``: gradients in the coordinates of some sites, by name, at several values of these beside
        each row, shapes (B, M, n).
    hessian_vector : Function
        ``hessian_vector(z, v, data, weights)``: Hessian of the log density at each row times the same row of ``v``.
    score : Function
        ``score(values, z, data, weights)``: gradient at one point ``z`` with other values of some data, batched over these.
    """

    dtype: np.dtype
    clock: dict[str, float]
    ascents: dict[Any, Any]
    fingerprint: str | None
    captured: int
    large_batch: float
    largest_drawn: int
    value: Any
    value_and_grad: Any
    scaled_value_and_grad: Any
    parts: Any
    terms: Any
    site_priors: Any
    per_row: Any
    expected: Any
    constrain: Any
    unconstrain: Any
    observed: Any
    predict: Any
    predict_values: Any
    predict_each: Any
    expected_each: Any
    per_row_each: Any
    complete: Any
    simulate: Any
    prior: Any
    responsibilities: Any
    moved: Any
    hessian_vector: Any
    score: Any

    @property
    def looped(self) -> bool:
        """Whether some function runs draw by draw, since the library could not map it over a batch."""
        ...

    def joint(self, values: Arrays, data: Arrays, weights: Arrays) -> Arrays:
        """Log density of each site at constrained values, of sites together where a discrete one is summed out."""
        ...

    def scaled_total(self, z: Any, data: Arrays, weights: Arrays, scale: Arrays) -> Any:
        """Log density of one draw, for use inside the backend's own compiled functions."""
        ...

    def total_without(self, z: Any, data: Arrays, weights: Arrays, names: tuple[str, ...]) -> Any:
        """Log density at one point without the priors of some latent sites, to be used inside a compiled function."""
        ...

    def by_row(self, z: Any, data: Arrays, weights: Arrays, plate: str) -> dict[str, Any]:
        """Log density of one draw by the elements of a plate, for use inside the backend's own compiled functions."""
        ...

    def means(self, z: Any, data: Arrays, weights: Arrays, known: bool = False) -> dict[str, Any]:
        """Means of outcomes at one draw, on average over discrete sites that are summed out, given the outcomes where these are
        `known`; for use inside the backend's own compiled functions."""
        ...

    def variances(self, z: Any, data: Arrays, weights: Arrays) -> dict[str, Any]:
        """Variances of outcomes at one draw, element by element, for use inside the backend's own compiled functions."""
        ...

    def carried(
        self, values: Arrays, noise: Arrays, data: Arrays, weights: Arrays, wanted: Iterable[str]
    ) -> dict[str, dict[str, Any]]:
        """What one draw makes of data with no random numbers but those that are given, see `functions.Functions.carried`; for use
        inside the backend's own compiled functions."""
        ...

    def device(self, program: Any) -> dict[str, Any]:
        """The traced arguments of a program as arrays of their own where the density computes."""
        ...

    def views(self, program: Any) -> dict[str, Any]:
        """The traced arguments of a program as they lie: for functions that read few of them."""
        ...

    def rebind(self, program: Any) -> None:
        """Take what is not traced from a program with the same trace."""
        ...

    def verify(self) -> None:
        """Look at the model again.

        Raises
        ------
        ModelError
            Where it has changed since its density was traced.
        """
        ...


class Sampler(Protocol):
    """Chains of the no-U-turn sampler on ``z = mean + scale x``, or ``z = mean + scale T(x)`` with a flow T.

    References
    ----------
    Hoffman and Gelman (2014), The no-U-turn sampler, JMLR 15.
    """

    def begin(  # noqa: PLR0913, PLR0917  a place with what is known there, settings, and what the density takes
        self,
        seeds: Sequence[int],
        x: np.ndarray,
        value: np.ndarray,
        grad: np.ndarray,
        step_size: float,
        accept: float,
        frame: tuple,
        data: Arrays,
        weights: Arrays,
    ) -> Any:
        """State of chains that start at `x`.

        Parameters
        ----------
        seeds : sequence of int, length C
            One for each chain: it fixes all random numbers of its chain.
        x : numpy.ndarray, shape (C, dim)
            Where the chains start, in coordinates of the frame.
        value, grad : numpy.ndarray, shapes (C,) and (C, dim)
            Log density there and its gradient in x.
        step_size : float
            The first, in units of x; the warm-up adapts it.
        accept : float
            Acceptance probability that the step size aims at.
        frame : tuple
            Mean and scale; with a flow its weights and order also.
        data, weights : mapping
            The traced arguments and the learnable arrays by name, on the device.
        """
        ...

    def run(self, state: Any, count: int) -> tuple[Any, dict[str, np.ndarray]]:
        """The state after `count` more iterations, and what they gave.

        Returns
        -------
        tuple
            The state; and arrays of shape ``(C, count, …)``: ``x``, ``num_steps``, ``accept_prob``, ``diverging`` and
            ``energy``.
        """
        ...


class Loop(Protocol):
    """Many steps in one call."""

    def __call__(self, state: Arrays, inputs: Arrays, constants: Arrays) -> tuple[Any, Any]:
        """The state after all steps, and the outputs of each, stacked; the given state is written over."""
        ...


class Optimiser(Protocol):
    """An optimiser of the backend's library as steps up a gradient."""

    def init(self, params: Any) -> Any:
        """State before the first step."""
        ...

    def update(self, params: Any, gradient: Any, state: Any) -> tuple[Any, Any]:
        """Parameters and state after one step."""
        ...


class Loops(Protocol):
    """Loops that stay on the device, and the few things that they need.

    Attributes
    ----------
    OPTIMISER : str
        What `optimiser` takes, in words.
    """

    @property
    def OPTIMISER(self) -> str: ...

    def loop(
        self,
        step: Callable[..., tuple[Any, Any]],
        dtype: Any,
        clock: dict[str, float],
        shape: tuple[int, ...],
    ) -> Loop:
        """``step(state, input, constants) -> (state, output)`` over the first axis of the inputs.

        Parameters
        ----------
        step : callable
            Of mappings of arrays.
        dtype : numpy.dtype
            Precision of all floating-point arrays.
        clock : dict
            See `Function`.
        shape : tuple of int
            Of the standard normal draws ``eps`` among the inputs of each step, which its ``seed`` fixes.
        """
        ...

    def normal(self, seed: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        """Standard normal draws that an integer seed fixes."""
        ...

    def put(self, array: Any, index: Any, values: Any) -> Any:
        """`array` with `values` at the places `index` of its last axis; it may be written over."""
        ...

    def optimiser(self, made: Any, dtype: Any) -> Optimiser:
        """An optimiser of the backend's library, see `is_optimiser`."""
        ...

    def is_optimiser(self, made: Any) -> bool:
        """Whether `made` is an optimiser of the backend's library."""
        ...

    def mapped_gradient(self, density: Any) -> Callable[..., tuple[Any, Any]]:
        """``fn(z, data, weights, scale) -> (values, gradients)`` over rows of `z`, to be used inside a loop."""
        ...

    def slope(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """``(gradient in the first argument, rest)`` of a function that gives a number and what else it has seen."""
        ...

    def mapped(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """A function of one tree of arrays over their leading axis, to be used inside a loop."""
        ...

    def still(self, x: Any) -> Any:
        """An array that has no gradient, to be used inside a loop."""
        ...

    def copy(self, tree: Any) -> Any:
        """The same arrays again, in memory of their own."""
        ...

    def to_host(self, tree: Any) -> Any:
        """NumPy arrays of a tree of device arrays."""
        ...


class Flow(Protocol):
    """Equal layers one after the other; their weights, and the order of coordinates before each, are arguments.

    Attributes
    ----------
    dtype : numpy.dtype
    last : str
        The layer of weights whose zeros make a layer the identity.
    forward, inverse : callable
        ``forward(eps, params, order)``: points and log Jacobians, shapes (B, dim) and (B,); and back.
    pullback : callable
        ``pullback(eps, params, order, grad)``: gradients in eps of a log density with these gradients at the points.
    """

    dtype: np.dtype
    last: str
    forward: Any
    inverse: Any
    pullback: Any

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each array of weights, the layers along its first axis."""
        ...

    def begin(self, params: Arrays) -> dict[str, Any]:
        """State before the first step of `ascent`."""
        ...

    def ascent(self, density: Any, num_draws: int) -> Callable[..., tuple[Any, Any]]:
        """``fn(state, inputs, constants) -> (state, bounds)``: steps of Adam on the evidence lower bound.

        Parameters
        ----------
        density : Density
            Whose bound it is; its data and weights come with the constants.
        num_draws : int
            Draws per step, half of them the negatives of the others.
        """
        ...


class Flows(Protocol):
    """Normalising flows of the backend's library."""

    def flow(
        self, kind: str, dim: int, num_layers: int, width: int, knots: int, dtype: str, rest: int = 0
    ) -> Flow:
        """The flow of these settings, made once.

        Parameters
        ----------
        kind : {"spline", "affine", "iaf"}
            What a layer does: to half of the coordinates, given the other half, a rational quadratic spline and an affine
            map, or an affine map alone; or to each coordinate an affine map, given those before it.
        dim : int
            Coordinates that the layers bend.
        num_layers, width, knots : int
            Number of layers, hidden units of each one's network, and knots of a spline.
        dtype : str
            Precision of weights and points.
        rest : int
            More coordinates, Gaussian given the first.
        """
        ...


class Portable(Protocol):
    """Functions written to files that run without elboroom.

    Attributes
    ----------
    SUFFIXES : tuple of str
        Of the files that it writes.
    """

    @property
    def SUFFIXES(self) -> tuple[str, ...]: ...

    def written(self, fn: Made, constants: Arrays, inputs: Sequence[Input], dtype: Any, suffix: str) -> bytes:
        """A function with its constants as the content of a file.

        Parameters
        ----------
        fn : callable
            See `portable.Made`.
        constants : mapping of numpy.ndarray
            Which the file holds, in the types in which it does.
        inputs : sequence of Input
            Each with an axis of rows in front, as many as there are when it runs.
        dtype : numpy.dtype
            Precision in which it computes.
        suffix : str
            What kind of file.
        """
        ...

    def read(self, content: bytes) -> Callable[[Arrays], dict[str, np.ndarray]]:
        """A file of the backend's own kind, the first of the suffixes, as a function of arrays by name."""
        ...


class Backend(Protocol):
    """A backend: the package ``elboroom.ppl.backends.jax``, say.

    Attributes
    ----------
    LOCKSTEP : bool
        Whether chains of `sampler` advance together, in one compiled call.
    flows : Flows
    loops : Loops
    portable : Portable
    """

    @property
    def LOCKSTEP(self) -> bool: ...

    @property
    def flows(self) -> Flows: ...

    @property
    def loops(self) -> Loops: ...

    @property
    def portable(self) -> Portable: ...

    def resolve_device(self, device: str) -> str:
        """``"cpu"`` or ``"gpu"``, as ``"auto"``, ``"cpu"`` or ``"gpu"`` mean here.

        Raises
        ------
        BackendError
            For another word, or a GPU that there is not.
        """
        ...

    def default_dtype(self, device: str) -> np.dtype:
        """Precision of densities on a device."""
        ...

    def memory(self, device: str) -> float | None:
        """Bytes that the device lets a program have; None where it is the machine's own memory."""
        ...

    def out_of_memory(self, error: BaseException) -> bool:
        """Whether an error says that the device, or the machine, has no memory left."""
        ...

    def to_device(self, value: Any, dtype: Any) -> Any:
        """A NumPy array as a private array where the backend computes; floats take the precision `dtype`."""
        ...

    def network(self, name: str, net: Any) -> Any:
        """A module of the backend's libraries as a `elboroom.ppl.modules.Network`, called by a name in errors.

        Raises
        ------
        ModelError, UnsupportedError
            If it is of no library that the backend knows; if it keeps a state, draws at random or lets rows see each other.
        """
        ...

    def trace(self, program: Any) -> ModelTrace:
        """Sites, shapes and supports of a program, found without its numbers where the library can.

        Raises
        ------
        ModelError
            Where the model is at fault; errors of the library pass through.
        """
        ...

    def density_of(self, program: Any, trace: ModelTrace, dtype: Any) -> Density:
        """The compiled functions of a program, shared with programs that are traced to the same."""
        ...

    def sampler(self, density: Any, num_warmup: int, metric: str | None, flow: Any = None) -> Sampler:
        """The no-U-turn sampler on a density, in the base coordinates of a flow where one is given.

        Parameters
        ----------
        density : Density
            What the chains draw from.
        num_warmup : int
            Iterations that set the step size, and the metric where it is adapted.
        metric : {None, "diagonal", "dense"}
            What the warm-up adapts; None leaves the identity.
        flow : Flow, optional
            Whose base coordinates the chains move in; None for those of the frame alone.
        """
        ...

    def unconstrain_sites(
        self, sites: Iterable[Site], batch: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Unconstrained coordinates of constrained values by stored supports alone, in float64.

        Parameters
        ----------
        sites : iterable of Site
            Latent sites in program order, with constraints whose bounds are known.
        batch : mapping
            Site name to array of shape ``(B, *shape)``.

        Returns
        -------
        tuple of numpy.ndarray
            ``z`` of shape ``(B, dim)``, and of shape ``(B,)`` the log absolute determinant of the Jacobian of the map from
            ``z`` to the values.

        Raises
        ------
        UnsupportedError
            Where a support depends on other values, so that only the model knows it.
        """
        ...

    def accesses(self, program: Any) -> AccessTable:
        """What reaches each part of each site, by axis."""
        ...

    def known(self, program: Any) -> dict[str, dict[str, np.ndarray]]:
        """Parameters of latent sites that depend on no other latent site, as numbers."""
        ...

    def unread(self, program: Any) -> tuple[str, ...]:
        """Operations of the model that the analysis could not follow."""
        ...

    def index_problems(self, program: Any) -> list[IndexProblem]:
        """Index arrays among the data that reach outside the axis that they index."""
        ...

    def code_problems(self, program: Any) -> list[tuple[str, str]]:
        """Arguments of labels that the model computes with, and the operation."""
        ...

    def graph(self, program: Any) -> ModelGraph:
        """The program's graph."""
        ...

    def local_sites(self, program: Any) -> set[str]:
        """Latent sites with one element per member of an independent axis."""
        ...
