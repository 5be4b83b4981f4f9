"""Series as JSON has them, and back: arrays in full precision, packed."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np

from .series import Seen, Series, seen_of


def packed(array: np.ndarray) -> dict[str, Any]:
    """An array of numbers, booleans, or labels with None.

    Examples
    --------
    >>> unpacked(packed(np.array(["b", None, "a"], dtype=object)))
    array(['b', None, 'a'], dtype=object)
    """
    if array.dtype.kind == "O":
        names = sorted({str(label) for label in array if label is not None})
        place = {name: i for i, name in enumerate(names)}
        codes = np.array([-1 if label is None else place[str(label)] for label in array], np.int64)
        return {"names": names, **packed(codes)}
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    data = base64.b64encode(zlib.compress(array.tobytes())).decode()
    return {"dtype": array.dtype.str, "shape": list(array.shape), "data": data}


def unpacked(record: dict[str, Any]) -> np.ndarray:
    """What `packed` was given."""
    data = zlib.decompress(base64.b64decode(record["data"]))
    array = np.frombuffer(data, np.dtype(record["dtype"])).reshape(record["shape"]).copy()
    if "names" not in record:
        return array
    return np.array([*record["names"], None], dtype=object)[array]


def recorded(seen: Seen) -> list[dict[str, Any]]:
    """Series as records."""
    return [
        {
            "stream": one.stream,
            "name": one.name,
            "kind": one.kind,
            "values": packed(one.values),
            "groups": {k: packed(v) for k, v in one.groups.items()},
            "seen": None if one.seen is None else packed(one.seen),
            "limit": one.limit,
        }
        for one in seen.values()
    ]


def restored(records: list[dict[str, Any]]) -> Seen:
    """What `recorded` was given."""
    return seen_of(
        Series(
            r["stream"],
            r["name"],
            r["kind"],
            unpacked(r["values"]),
            {k: unpacked(v) for k, v in r["groups"].items()},
            None if r["seen"] is None else unpacked(r["seen"]),
            r["limit"],
        )
        for r in records
    )
