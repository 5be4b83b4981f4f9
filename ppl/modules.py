"""Learned arrays and networks in a model: ``param`` and ``module``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from zlib import crc32

import numpy as np

from . import math
from .errors import DataError, ModelError, ShapeError, explain, in_short
from .names import check_name
from .primitives import interpreter_of, sample
from .thresholds import QUOTED

_UNFIT = (TypeError, ValueError, RuntimeError)
_UNFIT_WORDS = "contracting dimensions|cannot be multiplied|size of tensor|[Ii]ncompatible shapes|to have [0-9]+ channels"
"""What PyTorch and JAX say where arrays do not fit a layer."""


class Network(Protocol):
    """A pure function of named arrays, as the language takes one: those of `elboroom.nn`, or a library's, adapted."""

    def arrays(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Initial weights, by name; a network that comes with weights gives those."""
        ...

    def apply(self, arrays: Mapping[str, Any], *inputs: Any) -> Any:
        """What comes out for inputs of a backend, rows on their leading axes."""
        ...


@dataclass(frozen=True, eq=False)
class Module:
    """A network in a running model: call it on arrays of the model.

    Attributes
    ----------
    name : str
    network : Network
    values : mapping
        Its weights in this run.
    through : callable
        ``through(name, fn, values, inputs)``: what runs the model computes ``fn(values, *inputs)``.
    """

    name: str
    network: Network
    values: Mapping[str, Any]
    through: Callable[..., Any]

    def __call__(self, *inputs: Any) -> Any:
        """What comes out; an error of the network says whose it is.

        Raises
        ------
        ShapeError
            Where a library's layers say that inputs do not fit.
        """
        with fitting(f"er.module '{self.name}'", *inputs):
            return self.through(self.name, self.network.apply, self.values, inputs)


@contextmanager
def fitting(what: str, *inputs: Any) -> Iterator[None]:
    """Within, what a library's layers say of inputs that do not fit them is said of a network.

    Parameters
    ----------
    what : str
        The network, for messages.
    *inputs : array
        What goes into it.

    Raises
    ------
    ShapeError
    """
    try:
        yield
    except Exception as error:
        shapes = ", ".join(str(tuple(np.shape(x))) for x in inputs)
        if isinstance(error, _UNFIT) and re.search(_UNFIT_WORDS, str(error)):
            got = f"arrays of shape {shapes}: '{in_short(error)}'"
            remedy = "declare the network with what comes in"
            raise ShapeError(explain(what, "inputs that its layers fit", got, remedy)) from error
        error.add_note(f"in {what}, called on arrays of shape {shapes}")
        raise


def param(name: str, init: Any) -> Any:
    """Declare an array that is fitted: a point, with no prior and no verdict.

    It is chosen to make the evidence lower bound as large as it will be, together with the guide. Verdicts of all other
    quantities are then given its value. A scale is written as ``er.math.exp(er.param("log_scale", 0.0))``.

    Parameters
    ----------
    name : str
        Unique among the learned arrays of the model, and without dots.
    init : array
        Where it begins; its shape is that of the array.

    Returns
    -------
    array
        Its value.

    Raises
    ------
    ModelError
        If the name is none, or in a step of `elboroom.scan`.
    DataError
        If it is no array of finite numbers.
    DuplicateSiteError
        If the name is taken.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def shifted(y):
    ...     shift = er.param("shift", 0.0)
    ...     with er.plate("row", len(y)):
    ...         z = er.sample("z", er.Normal(shift, 1.0))
    ...         er.observe("y", er.Normal(z, 1.0), y)
    >>> {name: value.shape for name, value in shifted([0.5, 1.0]).trace().weights.items()}
    {'shift': ()}
    """
    _check_own_name("param", name)
    declare = interpreter_of("param").param
    return declare(name, _initial(f"er.param '{name}'", init))


def module(name: str, net: Any, prior: Any = None) -> Any:
    """Declare a network in a model.

    Parameters
    ----------
    name : str
        Unique among the networks of the model, and without dots.
    net : network
        One of `elboroom.nn`; on JAX an equinox or flax ``nnx`` module, on PyTorch a ``torch.nn.Module``. An equinox module is
        mapped over all axes of its inputs but the last, as its own layers see one row. A library's module is made outside of
        the model's function, since its weights begin as they are there. Of a library's module those arrays are
        weights that it trains: not PyTorch's buffers and frozen parameters, nor what flax keeps beside ``nnx.Param``.
    prior : Distribution or mapping of str to Distribution, optional
        Law of each weight: they are latent sites then, ``"name.weight"``, with verdicts of their own. Without, they are
        fitted: points that verdicts are given. A mapping gives some of them laws, by the names of weights or of what they belong
        to, and leaves the others fitted: ``{"layers.1": er.Normal(0, 1)}`` for the last of two layers.

    Returns
    -------
    Module
        To be called on arrays of the model; leading axes are rows.

    Raises
    ------
    ModelError
        If `net` is no network, if `prior` is no law of one number, names no weights or stands inside a plate, or in a step
        of `elboroom.scan`.
    UnsupportedError
        If it keeps a state, draws at random, or lets rows see each other, as batch normalisation does.
    DataError
        If its weights are not finite.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def curve(x, y):
    ...     f = er.module("f", er.nn.MLP(1, [8], 1, activation="tanh"))
    ...     s = er.sample("s", er.HalfNormal(1))
    ...     with er.plate("row", len(y)):
    ...         er.observe("y", er.Normal(f(x)[:, 0], s), y)
    >>> sorted(curve(np.zeros((3, 1)), np.zeros(3)).trace().weights)
    ['f.layers.0.bias', 'f.layers.0.weight', 'f.layers.1.bias', 'f.layers.1.weight']
    """
    _check_own_name("module", name)
    interpreter = interpreter_of("module")
    given = interpreter.given(name)
    if isinstance(net, type) or net is None:
        got = "None" if net is None else f"the class {net.__name__}"
        remedy = "make one, such as er.nn.MLP(8, [64], 1)"
        raise ModelError(explain(f"er.module '{name}'", "a network", got, remedy))
    network = net if _is_network(net) else interpreter.network(name, net)
    if given is None or isinstance(
        prior, Mapping
    ):  # those with a law are not among the values of a run's weights
        initial = dict(network.arrays(own_rng(name, 0)))
        _check_weights(name, initial)
        given = {**initial, **(given or {})}
    interpreter.declare(name, network)
    laws = _laws(name, prior, given)
    if laws and interpreter.plates:
        _refuse_plates(name, interpreter.plates)
    values = {
        key: _latent(f"{name}.{key}", laws[key], np.shape(value))
        if key in laws
        else interpreter.param(f"{name}.{key}", value)
        for key, value in given.items()
    }
    return Module(name, network, values, interpreter.through)


def own_rng(name: str, seed: int) -> np.random.Generator:
    """Random numbers of a network's initial weights."""
    return np.random.default_rng([seed, crc32(name.encode())])


def _is_network(net: Any) -> bool:
    return callable(getattr(net, "arrays", None)) and callable(getattr(net, "apply", None))


def _latent(name: str, prior: Any, shape: tuple[int, ...]) -> Any:
    return sample(name, prior.expand(shape).to_event(len(shape)) if shape else prior)


def _check_own_name(word: str, name: Any) -> None:
    """Refuse a name with a dot, which stands between a module and its weights.

    Raises
    ------
    ModelError
    """
    check_name(word, name)
    if "." in name:
        want = "a name without dots, which stand between a module and its weights"
        remedy = f"call it '{name.replace('.', '_')}'"
        raise ModelError(explain(f"the name of an er.{word}", want, f"'{name}'"[:QUOTED], remedy))


def _laws(name: str, prior: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Laws of the weights that have one, by name; of several that a mapping has for a weight the one that says most of it.

    Raises
    ------
    ModelError
    """
    what = f"prior of er.module '{name}'"
    if prior is None:
        return {}
    if not isinstance(prior, Mapping):
        _check_law(what, prior)
        return dict.fromkeys(given, prior)
    found: dict[str, Any] = {}
    for part in sorted(prior, key=lambda part: len(str(part))):
        own = [key for key in given if f"{key}.".startswith(f"{part}.")]
        if not own:
            remedy = "correct the name"
            raise ModelError(explain(what, f"names among {_parts(given)}", repr(part)[:QUOTED], remedy))
        _check_law(f"{what}, '{part}'", prior[part])
        found |= dict.fromkeys(own, prior[part])
    return found


def _parts(given: Mapping[str, Any]) -> list[str]:
    """Names of weights, and of what they belong to."""
    return sorted({key.rsplit(".", up)[0] for key in given for up in range(key.count(".") + 1)})


def _refuse_plates(name: str, plates: Any) -> None:
    """Refuse plates around weights that have a law.

    Raises
    ------
    ModelError
    """
    what = f"prior of er.module '{name}'"
    open_ = ", ".join(f"'{plate}'" for plate, _ in plates)
    remedy = "declare the module before the plate"
    raise ModelError(explain(what, "no plate around the module", f"plate {open_}", remedy))


def _check_law(what: str, prior: Any) -> None:
    """Refuse what is no law of one number.

    Raises
    ------
    ModelError
    """
    if isinstance(prior, type) or not hasattr(prior, "to_event"):
        got = f"the class {prior.__name__}" if isinstance(prior, type) else type(prior).__name__
    elif getattr(prior, "is_discrete", False):
        got = f"the law of whole numbers {prior!r}"[:QUOTED]
    else:
        sizes = [np.shape(value) for value in getattr(prior, "params", {}).values()]
        if not any(sizes) and not getattr(prior, "event_dim", 0) and not getattr(prior, "batch_shape", ()):
            return
        got = f"one of arrays, {prior!r}"[:QUOTED]
    remedy = "write prior=er.Normal(0, 1), say: each weight gets a law of its own"
    raise ModelError(explain(what, "a law of one real number", got, remedy))


def _initial(what: str, init: Any) -> Any:
    """An initial value as floating-point numbers; what the model computed is looked at where its numbers are.

    Raises
    ------
    DataError
    """
    if hasattr(init, "aval") or hasattr(init, "requires_grad"):
        return math.like(init, init)
    try:
        if init is None:
            raise TypeError
        value = np.asarray(init, np.float64)
    except (TypeError, ValueError):
        got = "None" if init is None else type(init).__name__
        remedy = "pass the numbers it begins with"
        raise DataError(explain(what, "an initial value: a number or an array", got, remedy)) from None
    lost = int((~np.isfinite(value)).sum())
    if lost:
        remedy = "correct the initial value"
        raise DataError(explain(what, "finite numbers", f"{lost} that are not", remedy))
    return value


def _check_weights(name: str, initial: Mapping[str, np.ndarray]) -> None:
    """Refuse a network whose weights are not finite.

    Raises
    ------
    DataError
    """
    for key, value in initial.items():
        lost = int((~np.isfinite(value)).sum())
        if lost:
            raise DataError(explain(f"er.module '{name}'", "finite weights", f"{lost} of '{key}' that are not",
                                    "load or make the network anew"))  # fmt: skip
