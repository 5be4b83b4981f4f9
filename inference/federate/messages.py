"""What goes between a server and its sites: plain values and arrays of numbers as bytes, and no code."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from ...ppl.errors import DataError, explain
from ..stream.told import Carried, Told
from ..thresholds import LARGEST_MESSAGE

HEADER = "header"
PARTS = ("centre", "scale", "linear", "quadratic", "natural")


@dataclass(frozen=True, eq=False)
class Task:
    """What a site is asked.

    Attributes
    ----------
    number : int
        Of the task; the reply repeats it. 0 asks a site to introduce itself, see `Met`.
    labels, counts : mapping
        Labels and numbers of groups over all sites.
    others : mapping of numpy.ndarray
        What all other sites have said, see `Told`; empty before any has.
    start : mapping of numpy.ndarray
        Values of what is shared, near the middle.
    options : mapping
        Of `elboroom.fit`.
    """

    number: int
    labels: Mapping[str, tuple] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    others: Mapping[str, np.ndarray] = field(default_factory=dict)
    start: Mapping[str, np.ndarray] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Met:
    """A site's introduction.

    Attributes
    ----------
    site : str
    rows : int
    labels, counts : mapping
        Labels and numbers of groups in its rows.
    """

    site: str
    rows: int
    labels: Mapping[str, list] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Evidence:
    """How well a site's factor stands for its rows, where the posterior is: by its own draws.

    Attributes
    ----------
    exact : bool
        Whether nothing is left over.
    left : float
        Sd of what is left over, in nats: no mean moves by more sds, to first order.
    moved : float
        How far the mean of a shared coordinate moves, in sds, or its log sd, where the factor takes the place of the rows.
    khat : float
        Of the weights that put the one in the place of the other.
    verdict : str
        Of the fit to its own rows and all that others said.
    modes : bool
        Whether that fit met more than one mode.
    """

    exact: bool
    left: float
    moved: float
    khat: float
    verdict: str
    modes: bool


@dataclass(frozen=True, eq=False)
class Reply:
    """A site's factor of the posterior: what its rows say of what is shared.

    Attributes
    ----------
    site : str
    number : int
        Of the task.
    rows : int
    sites : list
        Name, support and shape of what it takes for shared.
    probe : numpy.ndarray
        Its prior's log density at fixed places.
    factor : mapping of numpy.ndarray
        See `Told`.
    evidence : Evidence
    """

    site: str
    number: int
    rows: int
    sites: list
    probe: np.ndarray
    factor: Mapping[str, np.ndarray]
    evidence: Evidence


@dataclass(frozen=True)
class Lost:
    """A site that gives no reply.

    Attributes
    ----------
    why : str
    """

    why: str


def parts_of(told: Told) -> dict[str, np.ndarray]:
    """The numbers of a carried log likelihood, by name."""
    return {name: getattr(told, name) for name in PARTS}


def told_of(sites: tuple[Carried, ...], parts: Mapping[str, np.ndarray]) -> Told:
    """A carried log likelihood from its numbers."""
    own: Any = {name: np.asarray(parts[name], float) for name in PARTS}
    return Told(sites, **own)


def to_bytes(message: Task | Met | Reply) -> bytes:
    """A message as bytes.

    Examples
    --------
    >>> read(to_bytes(Met("oslo", 12)), Met)
    Met(site='oslo', rows=12, labels={}, counts={})
    """
    plain, arrays = {}, {}
    for name, value in vars(message).items():
        if isinstance(value, np.ndarray):
            arrays[name] = value
        elif isinstance(value, Mapping) and value and all(isinstance(v, np.ndarray) for v in value.values()):
            arrays |= {f"{name}/{key}": v for key, v in value.items()}
        else:
            plain[name] = asdict(value) if isinstance(value, Evidence) else value
    text = np.frombuffer(json.dumps(plain, default=_plain).encode(), np.uint8)
    file = io.BytesIO()
    named: dict[str, Any] = {HEADER: text, **arrays}
    np.savez(file, **named)
    return file.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} in a message")


def read(content: bytes, kind: type) -> Any:
    """A message from its bytes.

    Raises
    ------
    DataError
        For bytes that are no such message.
    """
    try:
        if len(content) > LARGEST_MESSAGE:
            raise ValueError(f"{len(content)} bytes")
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            if sum(entry.file_size for entry in file.infolist()) > LARGEST_MESSAGE:
                raise ValueError("more bytes than it may have")
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        found = json.loads(arrays.pop(HEADER).tobytes())
        for name, value in arrays.items():
            head, _, rest = name.partition("/")
            if rest:
                found.setdefault(head, {})[rest] = value
            else:
                found[head] = value
        made = kind(**found)
        if isinstance(made, Reply):
            made = replace(made, evidence=Evidence(**_mapping(made.evidence)))
    except Exception as error:  # whatever a stranger's bytes lead to
        want, got = f"a message of kind {kind.__name__}", f"bytes that are none ({type(error).__name__})"
        raise DataError(explain("message", want, got, "ask that site's keeper")) from None
    return made


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
