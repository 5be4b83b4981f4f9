"""What tells one model from another: its traced program where there are data, its code where there are none."""

from __future__ import annotations

import hashlib
import platform
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from .errors import ModelError, explain
from .thresholds import FINGERPRINT_DIGITS, KEPT_DENSITIES

LIBRARIES = ("elboroom", "numpy", "jax", "jaxlib", "numpyro", "torch", "pyro-ppl")


def libraries() -> dict[str, str]:
    """Versions of Python and of every library that has a part in a traced program."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def array_bytes(value) -> bytes:
    """Type, shape and content of an array."""
    array = np.asarray(value)
    if array.dtype == object:
        return repr(array.tolist()).encode()
    return f"{array.dtype.str}{array.shape}".encode() + np.ascontiguousarray(array).tobytes()


def shared(cache: dict, key: tuple, made, program):
    """The compiled functions of an earlier program that was traced to the same, or these.

    Parameters
    ----------
    cache : dict
        Of the model: what has been compiled, by what decides it.
    key : tuple
        What else than the traced program decides it.
    made : Density
        Functions of this program, none compiled yet.
    program : Program
        What the functions belong to from now on.

    Returns
    -------
    Density
    """
    if made.fingerprint is None:
        return made
    key = (*key, made.fingerprint)
    if key in cache:
        found = cache[key] = cache.pop(key)  # the last to be let go
        found.rebind(program)
        return found
    while len(cache) >= KEPT_DENSITIES:
        cache.pop(next(iter(cache)))
    cache[key] = made
    return made


_looked_at: ContextVar[set | None] = ContextVar("elboroom_looked_at", default=None)


@contextmanager
def looked_at_once():
    """Each model is looked at once for changes within the block: while one call runs, nothing changes it.

    Notes
    -----
    Also a decorator of a function. Within another such block it does nothing.
    """
    token = _looked_at.set(set()) if _looked_at.get() is None else None
    try:
        yield
    finally:
        if token is not None:
            _looked_at.reset(token)


def verify(density, name: str) -> None:
    """Look at a model again, unless that was done in this call.

    Parameters
    ----------
    density : Density
        With the fingerprint of the model as it was traced; None where there is none.
    name : str
        Of the model.

    Raises
    ------
    ModelError
        Where it has changed since its density was traced.
    """
    done = _looked_at.get()
    if density.fingerprint is None or (done is not None and density in done):
        return
    refuse_changed(name, density.fingerprint, density.identity())
    if done is not None:
        done.add(density)


def refuse_changed(name: str, before: str | None, now: str | None) -> None:
    """Refuse to trace more of a model that reads something else than when it was fitted.

    Parameters
    ----------
    name : str
        Of the model.
    before, now : str or None
        Fingerprints of the traced program; None where there was none.

    Raises
    ------
    ModelError
        If they differ.
    """
    if before is not None and now != before:
        raise ModelError(
            explain(
                f"model '{name}'",
                "the model as it was when its density was traced",
                "another one: a global, a closure, a helper or an argument that it reads has changed since, or it draws random "
                "numbers of its own",
                "fit again, or put it back; what is to vary belongs among the model's arguments, and what is random is an "
                "er.sample",
            )
        )


def structure_key(program, trace, dtype) -> tuple:
    """What two programs must share, besides their traced program, to share compiled functions.

    Parameters
    ----------
    program : Program
        A model with its data.
    trace : ModelTrace
        Its sites.
    dtype : dtype
        Of its density.
    """

    def freeze(value):
        if isinstance(value, np.ndarray):
            return array_bytes(value)
        plain = isinstance(value, (bool, int, float, str, type(None)))
        return type(value).__name__, repr(
            value
        ) if plain else ""  # what else it holds is in the traced program

    def shape(leaf):
        gaps = leaf.holes is not None and (leaf.holes.tobytes() if program.imputed else True)
        return leaf.value.dtype.str, leaf.value.shape, gaps

    leaves = tuple(
        (label, leaf.traced, shape(leaf) if leaf.traced else freeze(leaf.value))
        for label, leaf in sorted(program.leaves.items())
    )
    sites = tuple((s.name, s.role, s.shape, s.plates, s.distribution) for s in trace.sites)
    fixed = tuple((k, freeze(np.asarray(v))) for k, v in sorted(program.fixed.items()))
    intervened = tuple((k, freeze(np.asarray(v))) for k, v in sorted(program.intervened.items()))
    kept = () if program.masks is None else tuple((k, v.tobytes()) for k, v in program.masks.kept.items())
    return leaves, sites, tuple(trace.missing.items()), kept, fixed, intervened, np.dtype(dtype).str


# -- code ------------------------------------------------------------------------------------------------

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(...))
_INSTALLED = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))

_SITE = "site-packages"


def code_hash(fn: Callable) -> str:
    """Hash of a function's code with that of its helpers, and with the plain values that they read.

    Installed packages count by name. What is reached through arguments, or through attributes that are made while it
    runs, is not seen: a traced program tells more.

    Parameters
    ----------
    fn : callable
        A declaration.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for part in _Walk().parts(fn, frozenset()):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:FINGERPRINT_DIGITS]


class _Walk:
    """From a function to all that its code names."""

    def __init__(self):
        self._seen: dict[int, Any] = {}  # held, so that no other object takes an address

    def parts(self, value: Any, names: frozenset[str]) -> Iterator[str]:
        """Words for a value; of a module, a class or an object the attributes that `names` has."""
        if isinstance(value, _PLAIN):
            yield repr(value)
        elif isinstance(value, (np.ndarray, np.generic)):
            yield hashlib.sha256(array_bytes(value)).hexdigest()
        elif id(value) not in self._seen:
            self._seen[id(value)] = value
            yield from self._compound(value, names)

    def _compound(self, value, names) -> Iterator[str]:
        items = _items(value)
        if items is not None:
            yield from self._each(items, names)
        elif isinstance(value, types.CodeType):
            yield value.co_code.hex() + repr(value.co_names)
            yield from self._each(value.co_consts, names)
        elif isinstance(value, (set, frozenset)):
            yield repr(sorted(map(repr, value)))
        elif isinstance(value, dict):
            yield from self._named(value, names)
        elif _installed(value):
            yield f"{value!r}".split(" at 0x")[0] if isinstance(value, types.ModuleType) else _name(value)
        elif isinstance(value, types.FunctionType):
            yield from self._function(value)
        elif hasattr(value, "__wrapped__"):
            yield from self.parts(value.__wrapped__, names)
        elif isinstance(value, (types.ModuleType, type)):
            yield from self._named({k: v for k, v in vars(value).items() if k in names}, names)
        else:
            yield from self.parts(type(value), names | {"__call__"})
            yield from self.parts(getattr(value, "__dict__", None), names)

    def _each(self, values, names) -> Iterator[str]:
        for value in values:
            yield from self.parts(value, names)

    def _named(self, values, names) -> Iterator[str]:
        for name, value in values.items():
            yield str(name)
            yield from self.parts(value, names)

    def _function(self, fn: types.FunctionType) -> Iterator[str]:
        names = _names(fn.__code__)
        yield from self._each((fn.__code__, fn.__defaults__, fn.__kwdefaults__), names)
        for cell in fn.__closure__ or ():
            try:
                yield from self.parts(cell.cell_contents, names)
            except ValueError:  # a name that is not bound yet
                continue
        yield from self._named({k: fn.__globals__[k] for k in sorted(names & set(fn.__globals__))}, names)


def _items(value: Any) -> Sequence[Any] | None:
    """What a sequence, a partial function or a bound method consists of; None for another value."""
    if isinstance(value, (list, tuple)):
        return value
    if isinstance(value, partial):
        return value.func, value.args, value.keywords
    return (value.__func__, value.__self__) if isinstance(value, types.MethodType) else None


def _name(value) -> str:
    kind = value if isinstance(value, (type, types.FunctionType)) else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def _installed(value) -> bool:
    """Whether a value belongs to a package, whose version tells it."""
    name = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
    if not isinstance(name, str):
        return False
    file = getattr(sys.modules.get(name), "__file__", None)
    ours = name.split(".")[0] == __name__.split(".")[0]
    return ours or name == "builtins" or (file is not None and (file.startswith(_INSTALLED) or _SITE in file))


def _names(code: types.CodeType) -> frozenset[str]:
    """Names that a function's code, or that of a function within it, looks up."""
    inner = (_names(part) for part in code.co_consts if isinstance(part, types.CodeType))
    return frozenset(code.co_names).union(*inner)
