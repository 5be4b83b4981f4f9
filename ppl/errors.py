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
    └── InferenceError        a request that inference cannot carry out

Every message says where (site or argument), what was expected, what came, and what to do.
"""

from __future__ import annotations


class ElboroomError(Exception):
    """Root of every error that elboroom raises on purpose."""


class ModelError(ElboroomError):
    """The model's declaration, or the data bound to it, is at fault."""


class DuplicateSiteError(ModelError):
    """A site name is declared twice."""


class ShapeError(ModelError):
    """Sizes or shapes do not agree."""


class SupportError(ModelError):
    """A value lies outside its support, or a parameter outside its constraint."""


class DataError(ModelError):
    """Data are missing, empty, not finite or out of range."""


class GuideError(ElboroomError):
    """The guide does not exist or cannot represent the model."""


class BackendError(ElboroomError):
    """A backend is at fault."""


class MissingBackendError(BackendError):
    """The backend's extra is not installed."""


class OutOfMemoryError(BackendError):
    """The device has no room for a computation."""


class UnsupportedError(BackendError):
    """The backend lacks an operation that the model uses."""


class InferenceError(ElboroomError):
    """A request that inference cannot carry out."""


def explain(where: str, expected: str, got: str, remedy: str) -> str:
    """Message of four parts: where, what was expected, what came, what to do.

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
    words = (str(error).splitlines() or [""])[0][:200].rstrip(". ")
    return type(error).__name__ + (f": {words}" if words else "")
