"""The exception tree.

::

    ElboroomError
    ├── ModelError            the declaration, or the data bound to it
    │   ├── DuplicateSiteError    (a name declared twice)
    │   ├── ShapeError            (sizes that do not agree)
    │   ├── SupportError          (a value outside its support or constraint)
    │   └── DataError             (missing, empty, non-finite or out-of-range data)
    ├── GuideError            a guide that does not exist or cannot represent the model
    ├── BackendError
    │   ├── MissingBackendError   (an extra is not installed)
    │   ├── OutOfMemoryError      (the device has no room for a computation)
    │   └── UnsupportedError      (the backend lacks an operation)
    ├── InferenceError        a request that inference cannot carry out
    └── RegistryError         a version, an alias or a log that cannot be read, written or promoted
        └── SignatureError        (unsigned, changed since, or by a key that is not trusted)

Every message says where (site or argument), what was expected, what came, and what to do.
"""

from __future__ import annotations

from .thresholds import MESSAGE_QUOTED


class ElboroomError(Exception):
    """Root of every error that elboroom raises on purpose.

    Examples
    --------
    >>> import elboroom as er
    >>> try:
    ...     er.sample("mu", er.Normal(0, 1))
    ... except er.ElboroomError as error:
    ...     print(error)
    'sample': expected to be called while a model runs, got a call outside of one. Put it in a function decorated with @er.model, and call fit or prior_predictive on it.
    """


class ModelError(ElboroomError):
    """The model's declaration, or the data bound to it, is at fault.

    Examples
    --------
    >>> import elboroom as er
    >>> er.model("no function")
    Traceback (most recent call last):
    ...
    elboroom.ppl.errors.ModelError: er.model: expected a function that declares a model, got 'no function'. Decorate a function: @er.model.
    """


class DuplicateSiteError(ModelError):
    """A site name is declared twice.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def twice():
    ...     er.sample("mu", er.Normal(0, 1))
    ...     er.sample("mu", er.Normal(0, 1))
    >>> try:
    ...     twice().trace()
    ... except er.DuplicateSiteError as error:
    ...     print(error)
    site 'mu': expected a name used once, got a second site of the same name. Rename one of the two.
    """


class ShapeError(ModelError):
    """Sizes or shapes do not agree.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def level(x):
    ...     return er.sample("mu", er.Normal(0, 1))
    >>> level([[1, 2], [3]])
    Traceback (most recent call last):
    ...
    elboroom.ppl.errors.ShapeError: argument 'x': expected rows of equal length, got a ragged list. Pad or split it.
    """


class SupportError(ModelError):
    """A value lies outside its support, or a parameter outside its constraint.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def scale():
    ...     return er.sample("s", er.HalfNormal(1))
    >>> scale().condition(s=-1.0)
    Traceback (most recent call last):
    ...
    elboroom.ppl.errors.SupportError: site 's': expected a value in its support (positive), got -1.0. Correct it.
    """


class DataError(ModelError):
    """Data are missing, empty, not finite or out of range.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def level(y):
    ...     return er.sample("mu", er.Normal(0, 1))
    >>> level([1.0, float("inf")])
    Traceback (most recent call last):
    ...
    elboroom.ppl.errors.DataError: argument 'y': expected finite numbers, got [inf] in rows [1] (1 values in all). Drop or fill those rows, or declare what they are with er.observe: what is missing there is imputed or predicted.
    """


class GuideError(ElboroomError):
    """The guide does not exist or cannot represent the model.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def level(y):
    ...     mu = er.sample("mu", er.Normal(0, 1))
    ...     er.observe("y", er.Normal(mu, 1.0), y)
    >>> try:
    ...     er.fit(level(0.5), guide="none of these", progress=False)
    ... except er.GuideError:
    ...     print("no such guide")
    no such guide
    """


class BackendError(ElboroomError):
    """A backend is at fault.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def level():
    ...     return er.sample("mu", er.Normal(0, 1))
    >>> level().target("abacus")
    Traceback (most recent call last):
    ...
    elboroom.ppl.errors.BackendError: backend: expected 'jax' or 'torch', got 'abacus'. Choose one of the two.
    """


class MissingBackendError(BackendError):
    """The backend's extra is not installed.

    Examples
    --------
    >>> issubclass(MissingBackendError, BackendError)
    True
    >>> print(explain("backend 'torch'", "PyTorch and Pyro", "none", "pip install 'elboroom[torch]'"))
    backend 'torch': expected PyTorch and Pyro, got none. Pip install 'elboroom[torch]'.
    """


class OutOfMemoryError(BackendError):
    """The device has no room for a computation.

    Examples
    --------
    >>> issubclass(OutOfMemoryError, BackendError)
    True
    >>> in_short(MemoryError("4 GB were asked for"))
    'MemoryError: 4 GB were asked for'
    """


class UnsupportedError(BackendError):
    """The backend lacks an operation that the model uses.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def level():
    ...     return er.sample("mu", er.Normal(0, 1))
    >>> level().target(dtype="float16")
    Traceback (most recent call last):
    ...
    elboroom.ppl.errors.UnsupportedError: dtype: expected float64 or float32, got 'float16'. Choose one of them.
    """


class InferenceError(ElboroomError):
    """A request that inference cannot carry out.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def level():
    ...     return er.sample("mu", er.Normal(0, 1))
    >>> level().prior_predictive(num_draws=0)
    Traceback (most recent call last):
    ...
    elboroom.ppl.errors.InferenceError: num_draws: expected an integer of at least 1, got 0. Correct the argument.
    """


class RegistryError(ElboroomError):
    """A version, an alias or a log that cannot be read, written or promoted.

    Examples
    --------
    >>> import tempfile
    >>> import elboroom as er
    >>> er.Registry(tempfile.mkdtemp()).get("risk", 7)
    Traceback (most recent call last):
    ...
    elboroom.ppl.errors.RegistryError: model 'risk': expected one of this registry's, got a name that is none of them. Add a version of it first: it has no models yet.
    """


class SignatureError(RegistryError):
    """Files that are unsigned, were changed since, or are signed by a key that is not trusted.

    Examples
    --------
    >>> issubclass(SignatureError, RegistryError)
    True
    """


def explain(where: str, expected: str, got: str, remedy: str) -> str:
    """Message of four parts.

    Parameters
    ----------
    where : str
        Site or argument.
    expected, got : str
        What was expected there, and what came.
    remedy : str
        What to do, without a capital and without a full stop.

    Returns
    -------
    str

    Examples
    --------
    >>> explain("site 'y'", "a count", "-1 in row 3", "remove or correct the row")
    "site 'y': expected a count, got -1 in row 3. Remove or correct the row."
    """
    return f"{where}: expected {expected}, got {got}. {remedy[:1].upper()}{remedy[1:]}."


def in_short(error: BaseException) -> str:
    """Kind and first line of another library's error.

    Examples
    --------
    >>> in_short(MemoryError("no room"))
    'MemoryError: no room'
    """
    words = (str(error).splitlines() or [""])[0][:MESSAGE_QUOTED].rstrip(". ")
    return type(error).__name__ + (f": {words}" if words else "")
