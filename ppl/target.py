"""``Target``: the unconstrained log density of a program, with its layout."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from functools import wraps
from types import MappingProxyType
from typing import Any

import numpy as np

from .backends import load
from .centring import KEY
from .errors import OutOfMemoryError, UnsupportedError, explain, in_short
from .rows import subset
from .sites import ModelTrace, Site, element_labels
from .thresholds import BATCH, CONSTRAINED, LARGEST_CONSTRAINED, READ_AT_ONCE
from .units import units


@dataclass
class Counter:
    """Rows of batched calls made so far, padding not included.

    Attributes
    ----------
    num_densities : int
        Of the log density.
    num_gradients : int
        Of its gradient; a product with the Hessian counts as two.
    """

    num_densities: int = 0
    num_gradients: int = 0


def _precision(dtype) -> np.dtype:
    """A dtype of densities.

    Raises
    ------
    UnsupportedError
    """
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    if found is None or found.type not in (np.float64, np.float32):
        raise UnsupportedError(explain("dtype", "float64 or float32", repr(dtype), "choose one of them"))
    return found


def _within_memory(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of a target within its `Target.room`."""

    @wraps(method)
    def within(self, *args, **kwargs):
        with self.room():
            return method(self, *args, **kwargs)

    return within


class Target:
    """Unconstrained log density with its layout. Made by `Program.target`.

    Every call is batched over the leading axis of ``z``, of shape ``(B, dim)``; results are NumPy arrays.
    Calls are padded to one batch shape, so that one compiled function serves any number of rows.

    Attributes
    ----------
    sites : tuple of Site
        Latent sites in program order: names, unconstrained shapes, plates and supports.
    dim : int
    dtype : numpy.dtype
    device : str
    work : int
        Numbers that one gradient reads.
    counter : Counter
    batch : int
        Rows per compiled call: fewer where one gradient reads much.
    centring : dict
        Location–scale sites in other coordinates than their values, see `centred`.
    program : Program
        The model with its data.
    backend : str
        ``"jax"`` or ``"torch"``.
    trace : ModelTrace
        All sites of the model.
    density : object
        The backend's compiled functions, shared by targets of the same traced program.
    weights : dict
        Learnable arrays of the model where the target computes.
    fitted : bool
        Whether these are fitted, and not as they begin.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def scale(y):
    ...     s = er.sample("s", er.HalfNormal(1))
    ...     with er.plate("row", len(y)):
    ...         er.observe("y", er.Normal(0.0, s), y)
    >>> target = scale([0.5, -1.0]).target()
    >>> target.dim, target.labels
    (1, ['s'])
    >>> z = np.array([[0.0], [1.0]])
    >>> value, gradient = target.value_and_grad(z)
    >>> value.shape, gradient.shape
    ((2,), (2, 1))
    >>> target.constrain(z)["s"].round(3)
    array([1.   , 2.718])
    """

    def __init__(self, program, backend: str, trace: ModelTrace, density, dtype, device: str):
        self.program, self.backend, self.trace = program, backend, trace
        self.dtype, self.device = np.dtype(dtype), device
        self.sites: tuple[Site, ...] = trace.latents
        self.dim = trace.dim
        self.counter = Counter()
        self.density = density
        self._engine = load(backend, program.model.language)
        self._placed: dict = {}
        self._views: dict = {}
        self.weights = {k: self._engine.to_device(v, dtype) for k, v in trace.weights.items()}
        self.centring: dict[str, np.ndarray] = {}
        self.fitted = False
        read = sum(leaf.value.size for leaf in program.leaves.values() if leaf.traced)
        self.work = self.dim + read + density.captured
        self.batch = 1 << int(np.clip(READ_AT_ONCE // self.work, 1, BATCH)).bit_length() - 1

    @classmethod
    def of(cls, program, backend: str = "jax", dtype=None, device: str = "auto") -> Target:
        """The target of a program on a backend; the parameters are those of `Program.target`.

        Raises
        ------
        UnsupportedError
            If the dtype is none of densities, or the model's loops hold in single precision only.
        """
        engine = load(backend, program.model.language)
        device = engine.resolve_device(device)
        asked = None if dtype is None else _precision(dtype)
        trace = program.trace(backend)
        dtype = min(engine.default_dtype(device), program.precision) if asked is None else asked
        if dtype != program.precision == np.float32:
            raise UnsupportedError(
                explain(
                    f"model '{program.name}'",
                    "a model that runs in double precision",
                    "loops whose types hold in single precision only",
                    "leave dtype out, or give the first carry the types of 64 bits",
                )
            )
        return cls(program, backend, trace, engine.density_of(program, trace, dtype), dtype, device)

    def centred(self, shares: Mapping[str, np.ndarray]) -> Target:
        """The same density in other coordinates of some location–scale sites.

        Parameters
        ----------
        shares : mapping
            Site name to λ in [0, 1], one per element or one for all: 1 is centred, 0 non-centred; see
            `elboroom.ppl.centring`. Sites not named are centred.

        Returns
        -------
        Target
            It shares compiled functions and counter with this one.
        """
        other = copy(self)
        other.centring = {
            site.name: np.array(np.broadcast_to(np.asarray(shares[site.name], float), site.shape))
            for site in self.sites
            if site.name in shares
        }
        placed = {k: self._engine.to_device(v, self.dtype) for k, v in other.centring.items()}
        other.weights = {k: v for k, v in self.weights.items() if k != KEY} | (
            {KEY: placed} if placed else {}
        )
        return other

    def at(self, weights: Mapping[str, np.ndarray]) -> Target:
        """The same density at fitted values of its learnable arrays.

        Parameters
        ----------
        weights : mapping
            Name to array; those not named stay as they are.

        Returns
        -------
        Target
            It shares compiled functions and counter with this one.
        """
        other = copy(self)
        other.weights = {**self.weights, **{name: self.to_device(value) for name, value in weights.items()}}
        other.fitted = True
        return other

    @property
    def data(self) -> dict[str, Any]:
        """The program's arrays where the target computes: copies, made when they are first asked for."""
        if not self._placed:
            with self.room():
                self._placed.update(self.density.device(self.program))
        return self._placed

    @property
    def views(self) -> dict[str, Any]:
        """The program's arrays as they lie, for functions that read few of them and copy what they read."""
        if not self._placed and not self._views:
            self._views.update(self.density.views(self.program))
        return self._placed or self._views or self.data

    def release(self) -> None:
        """Let go of the program's arrays where the target computes; they are made again when they are asked for."""
        self._placed.clear()

    def to_device(self, value):
        """An array where the target computes, in its precision."""
        with self.room():
            return self._engine.to_device(value, self.dtype)

    @contextmanager
    def room(self) -> Iterator[None]:
        """Where the device has no memory left within, an `OutOfMemoryError` says so."""
        try:
            yield
        except Exception as error:
            if isinstance(error, OutOfMemoryError) or not self._engine.out_of_memory(error):
                raise
            raise OutOfMemoryError(
                explain(
                    f"model '{self.program.name}'",
                    f"room for its computations on the {self.device}",
                    in_short(error),
                    "take some rows at a time, with minibatch=er.Minibatch('plate', size=...), or fewer draws",
                )
            ) from error

    @property
    def memory(self) -> float | None:
        """Bytes that the device lets a program have; None where it is the machine's own memory."""
        return self._engine.memory(self.device)

    @property
    def units(self) -> tuple[np.ndarray, np.ndarray]:
        """Location and scale ``(dim,)`` of each coordinate as its law declares them, see `elboroom.ppl.units`."""
        return units(self.sites, self._engine.known(self.program))

    @property
    def loops(self):
        """The backend's loops over many steps."""
        return self._engine.loops

    def sampler(self, num_warmup: int, metric: str | None, flow=None):
        """The backend's NUTS on this density, compiled once for the same settings.

        Parameters
        ----------
        num_warmup : int
            Steps of warm-up.
        metric : {"diag", "dense"} or None
            Mass matrix that is adapted; None for the one that is given.
        flow : object, optional
            A transport in whose coordinates chains run.

        Returns
        -------
        object
            See the backends' ``nuts``.

        References
        ----------
        Hoffman & Gelman (2014), The No-U-Turn sampler, JMLR 15.
        """
        made, key = self.density.ascents, ("nuts", num_warmup, metric, flow)
        if key not in made:
            made[key] = self._engine.sampler(self.density, num_warmup, metric, flow)
        return made[key]

    @property
    def lockstep(self) -> bool:
        """Whether chains of `sampler` advance together."""
        return self._engine.LOCKSTEP

    @property
    def labels(self) -> list[str]:
        """Label of each unconstrained coordinate."""
        return [label for site in self.sites for label in element_labels(site.name, site.unconstrained_shape)]

    @property
    def offsets(self) -> dict[str, slice]:
        """Where each site lies in ``z``."""
        out, start = {}, 0
        for site in self.sites:
            out[site.name] = slice(start, start + site.size)
            start += site.size
        return out

    def prepare(self, *names: str) -> None:
        """Start compiling the named functions of `density` in threads of their own."""
        z = np.zeros((self.batch, self.dim), self.dtype)
        for name in names:
            getattr(self.density, name).prepare(z, self.data, self.weights)

    def _batched(self, fn, z, *rest, batch=None):
        z = np.asarray(z, self.dtype)
        total, batch = len(z), batch or self.batch
        batch = self.density.large_batch if total >= self.density.large_batch else batch
        pieces = []
        for start in range(0, total, batch):
            block = z[start : start + batch]
            if len(block) < batch:
                block = np.concatenate(
                    [block, np.broadcast_to(block[:1], (batch - len(block), *block.shape[1:]))]
                )
            pieces.append(fn(block, *rest))
        return pieces, total

    @_within_memory
    def value_and_grad(
        self, z, data=None, weights=None, batch: int | None = None, scale: Mapping | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Log density and gradient.

        Parameters
        ----------
        z : numpy.ndarray, shape (B, dim)
            Unconstrained coordinates.
        data, weights : mapping, optional
            Other arrays of the same shapes; by default those of the program.
        batch : int, optional
            Rows per call: each size is compiled once.
        scale : mapping, optional
            Plate name to what its densities are multiplied by, a number or one per element.

        Returns
        -------
        tuple of numpy.ndarray
            Shapes ``(B,)`` and ``(B, dim)``, float64.
        """
        data, weights = self._inputs(data, weights)
        if scale is None:
            pieces, total = self._batched(self.density.value_and_grad, z, data, weights, batch=batch)
        else:
            scale = {name: self.to_device(value) for name, value in scale.items()}
            function = self.density.scaled_value_and_grad
            pieces, total = self._batched(function, z, data, weights, scale, batch=batch)
        self.counter.num_gradients += total
        self.counter.num_densities += total
        value = np.concatenate([np.asarray(p[0], np.float64) for p in pieces])[:total]
        grad = np.concatenate([np.asarray(p[1], np.float64) for p in pieces])[:total]
        return value, grad

    def _inputs(self, data, weights):
        return (self.data if data is None else data), (self.weights if weights is None else weights)

    @_within_memory
    def log_density(
        self,
        z,
        data=None,
        weights=None,
        rows: Mapping[str, np.ndarray] = MappingProxyType({}),
        scale: Mapping[str, Any] = MappingProxyType({}),
    ) -> dict[str, np.ndarray]:
        """Log density and its parts.

        Parameters
        ----------
        z : numpy.ndarray, shape (B, dim)
            Unconstrained coordinates.
        data, weights : mapping, optional
            Other arrays of the same shapes; by default those of the program.
        rows : mapping, optional
            Axis name to the indices of the rows to use; ``z`` then holds the globals and those rows' locals.
        scale : mapping, optional
            Axis name to one over the inclusion probability, a number or one per row.

        Returns
        -------
        dict of numpy.ndarray, shape (B,)
            ``log_density`` and its parts ``log_prior``, ``log_likelihood``, ``log_factors``,
            ``log_jacobian``.
        """
        data, weights = self._inputs(data, weights)
        if rows:
            small = subset(self, {k: np.asarray(v) for k, v in rows.items()})
            self.counter.num_densities += len(z)
            return small.log_density(z, weights=weights, scale=scale)
        scale = {k: np.asarray(v, self.dtype) for k, v in scale.items()}
        pieces, total = self._batched(self.density.parts, z, data, weights, scale)
        self.counter.num_densities += total
        out = {k: np.concatenate([np.asarray(p[k], np.float64) for p in pieces])[:total] for k in pieces[0]}
        out["log_density"] = np.sum(list(out.values()), axis=0)
        return out

    @_within_memory
    def terms(self, z, sums: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]:
        """The terms that the log density is a sum of, as small as they come.

        Parameters
        ----------
        z : numpy.ndarray, shape (B, dim)
            Unconstrained coordinates.
        sums : mapping of scipy.sparse.csr_array, shapes (m, n), optional
            Which terms are added up, by site; all results in one array of the name ``""`` then.

        Returns
        -------
        dict of numpy.ndarray, shape (B, n) or (B, m)
            By site, and for the log Jacobian of its transformation: one number per element of the batch.
        """

        def call(*args):
            found = {k: np.asarray(v).reshape(len(v), -1) for k, v in self.density.terms(*args).items()}
            # added up while they are in the cache
            return found if sums is None else {"": sum(sums[k] @ v.T for k, v in found.items()).T}

        pieces, total = self._batched(call, z, self.data, self.weights)
        self.counter.num_densities += total
        return {
            k: np.concatenate([p[k] for p in pieces])[:total].astype(np.float64, copy=False)
            for k in pieces[0]
        }

    @_within_memory
    def per_row(self, z, data=None, weights=None, reduce: str | None = None) -> dict[str, np.ndarray]:
        """Log likelihood per observed row.

        Parameters
        ----------
        z : numpy.ndarray, shape (B, dim)
            Unconstrained coordinates.
        data, weights : mapping, optional
            Other arrays of the same shapes; by default those of the program.
        reduce : str, optional
            Name of a plate to sum over.

        Returns
        -------
        dict of numpy.ndarray
            Site name to shape ``(B, *batch_shape)``.
        """
        data, weights = self._inputs(data, weights)
        pieces, total = self._batched(self.density.per_row, z, data, weights)
        self.counter.num_densities += total
        out = {}
        for name in pieces[0]:
            value = np.concatenate([np.asarray(p[name], np.float64) for p in pieces])[:total]
            dims = self.trace[name].dims
            if reduce is not None and reduce in dims:
                value = value.sum(axis=1 + dims.index(reduce))
            out[name] = value
        return out

    @_within_memory
    def expected(self, z, data=None, weights=None) -> dict[str, np.ndarray]:
        """Means of outcomes given everything else, of the laws that know theirs.

        Parameters
        ----------
        z : numpy.ndarray, shape (B, dim)
            Unconstrained coordinates.
        data, weights : mapping, optional
            Other arrays of the same shapes; by default those of the program.

        Returns
        -------
        dict of numpy.ndarray
            Site name to shape ``(B, *shape)``.
        """
        data, weights = self._inputs(data, weights)
        pieces, total = self._batched(self.density.expected, z, data, weights)
        return {k: np.concatenate([np.asarray(p[k], np.float64) for p in pieces])[:total] for k in pieces[0]}

    @_within_memory
    def moved_gradients(self, z, names: Sequence[str], u) -> np.ndarray:
        """Gradients in the coordinates of some sites, at several values of these beside the same others.

        Parameters
        ----------
        z : numpy.ndarray, shape (B, dim)
            Unconstrained coordinates.
        names : sequence of str
            Sites that are moved.
        u : numpy.ndarray, shape (B, M, n)
            Their coordinates, in the order of `names`.

        Returns
        -------
        numpy.ndarray, shape (B, M, n)
            Float64.
        """
        z, u = np.asarray(z, self.dtype), np.asarray(u, self.dtype)
        stops = np.cumsum([self.offsets[name].stop - self.offsets[name].start for name in names])[:-1]
        batch, out = max(1, self.batch // u.shape[1]), []
        for start in range(0, len(z), batch):
            at = np.minimum(np.arange(start, start + batch), len(z) - 1)
            own = dict(zip(names, np.split(u[at], stops, 2), strict=True))
            found = self.density.moved(z[at], own, self.data, self.weights)
            found = np.concatenate([np.asarray(found[name], np.float64) for name in names], 2)
            out.append(found[: len(z) - start])
        self.counter.num_gradients += u.shape[0] * u.shape[1]
        return np.concatenate(out)

    @_within_memory
    def hessian_vector(self, z, v) -> np.ndarray:
        """Products of Hessians of the log density with vectors.

        Parameters
        ----------
        z, v : numpy.ndarray, shape (B, dim)
            Points, and a vector for each.

        Returns
        -------
        numpy.ndarray, shape (B, dim)
            Float64.
        """
        z, v = np.asarray(z, self.dtype), np.asarray(v, self.dtype)
        out = []
        for start in range(0, len(z), self.batch):
            a, b = z[start : start + self.batch], v[start : start + self.batch]
            pad = self.batch - len(a)
            a, b = np.pad(a, ((0, pad), (0, 0)), mode="edge"), np.pad(b, ((0, pad), (0, 0)))
            out.append(
                np.asarray(self.density.hessian_vector(a, b, self.data, self.weights))[: self.batch - pad]
            )
        self.counter.num_gradients += 2 * len(z)
        return np.concatenate(out).astype(np.float64)

    @_within_memory
    def constrain(self, z, data=None, weights=None) -> dict[str, np.ndarray]:
        """Values of latent and deterministic sites.

        Parameters
        ----------
        z : numpy.ndarray, shape (B, dim)
            Unconstrained coordinates.
        data, weights : mapping, optional
            Other arrays of the same shapes; by default those of the program.

        Returns
        -------
        dict of numpy.ndarray
            Site name to shape ``(B, *shape)``.
        """
        data, weights = self._inputs(data or self.views, weights)
        pieces, total = self._batched(self.density.constrain, z, data, weights, batch=self.constrain_batch)
        return {k: np.concatenate([np.asarray(p[k]) for p in pieces])[:total] for k in pieces[0]}

    @property
    def constrain_batch(self) -> int:
        """Rows per call of `constrain`: few calls, within `CONSTRAINED` numbers of output."""
        size = sum(int(np.prod(s.shape, dtype=int)) for s in self.trace.by_role("latent", "deterministic"))
        return int(np.clip(CONSTRAINED // max(size, 1), self.batch, LARGEST_CONSTRAINED))

    @_within_memory
    def responsibilities(self, z, data=None, weights=None) -> dict[str, np.ndarray]:
        """Posterior probability of each value of each discrete site that has been summed out.

        Parameters
        ----------
        z : numpy.ndarray, shape (B, dim)
            Unconstrained coordinates.
        data, weights : mapping, optional
            Other arrays of the same shapes; by default those of the program.

        Returns
        -------
        dict of numpy.ndarray
            Site name to shape ``(B, count, *shape)``; sums to one over the second axis.
        """
        data, weights = self._inputs(data, weights)
        pieces, total = self._batched(self.density.responsibilities, z, data, weights)
        self.counter.num_gradients += total
        return {k: np.concatenate([np.asarray(p[k], np.float64) for p in pieces])[:total] for k in pieces[0]}

    @_within_memory
    def unconstrain(self, values: Mapping[str, np.ndarray], data=None, weights=None) -> np.ndarray:
        """Unconstrained coordinates of constrained values.

        Parameters
        ----------
        values : mapping
            Latent site to its values, shape ``(B, *shape)``, in its support.
        data, weights : mapping, optional
            Other arrays of the same shapes; by default those of the program.

        Returns
        -------
        numpy.ndarray, shape (B, dim)
            Float64; not finite where values lie outside of their support.
        """
        data, weights = self._inputs(data or self.views, weights)
        values = {s.name: np.asarray(values[s.name], self.dtype) for s in self.sites}
        total = len(values[self.sites[0].name])
        batch = self.batch if total <= self.batch else self.constrain_batch
        out = []
        for start in range(0, total, batch):
            block = {k: v[start : start + batch] for k, v in values.items()}
            lacking = batch - len(block[self.sites[0].name])
            block = {k: np.pad(v, [(0, lacking)] + [(0, 0)] * (v.ndim - 1), "edge") for k, v in block.items()}
            out.append(
                np.asarray(self.density.unconstrain(block, data, weights), np.float64)[: batch - lacking]
            )
        return np.concatenate(out)

    def log_joint(self, values: Mapping[str, np.ndarray]) -> float:
        """Log joint density at constrained values, in nats, without Jacobian terms.

        Parameters
        ----------
        values : mapping
            Latent site to its value, of its shape.
        """
        values = {k: np.asarray(v, self.dtype) for k, v in values.items()}
        return float(sum(float(v) for v in self.log_joint_terms(values).values()))

    @_within_memory
    def log_joint_terms(self, values: Mapping[str, np.ndarray], data=None) -> dict[str, float]:
        """Log density of each site at constrained values, in nats.

        Parameters
        ----------
        values : mapping
            Latent site to its value, of its shape.
        data : mapping, optional
            Other arrays of the same shapes; by default those of the program.
        """
        terms = self.density.joint(dict(values), *self._inputs(data, None))
        return {name: float(value) for name, value in terms.items()}
