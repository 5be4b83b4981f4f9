"""A stream as plain values and arrays, for the files of a posterior, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np

from ...ppl.constraints import from_dict
from .carrying import carrying
from .grouped import Grouped, Local, Plate
from .rows import Kept, Seen
from .state import Stream
from .told import Carried, Frame, Told

FRAME = ("mean", "across")
PLAIN = ("num_updates", "since", "drift", "fitted", "agreed", "faded", "when", "worst")


def stored(stream: Stream) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Plain values, and arrays by name."""
    told = stream.told
    plain: dict[str, Any] = {name: getattr(stream, name) for name in PLAIN}
    plain |= {"limit": stream.kept.limit, "count": stream.kept.count, "batches": list(stream.seen.batches)}
    arrays = {"seen/keys": stream.seen.keys, "seen/rows": stream.seen.rows}
    arrays |= {
        f"told/{f.name}": value
        for f in fields(told)
        if isinstance(value := getattr(told, f.name), np.ndarray)
    }
    if isinstance(told, Grouped):
        plain["plate"] = {"name": told.plate.name, "argument": told.plate.argument, "own": told.own}
        plain["plate"] |= {
            "sites": [{**_plain(s), "axis": s.axis} for s in told.plate.sites],
            "reading": [_plain(s) for s in told.plate.reading],
        }
    else:
        plain["sites"] = [_plain(s) for s in told.sites]
    arrays |= {
        f"places/{name}/{part}": getattr(frame, part) for name, frame in _frames(told) for part in FRAME
    }
    words = {}
    for name, value in stream.kept.columns.items():
        if value.dtype == object:
            words[name] = [str(v) for v in value]
        else:
            arrays[f"kept/{name}"] = value
    return {**plain, "kept": words}, arrays


def restored(plain: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Stream:
    """The stream, which no model carries yet."""
    own: dict[str, Any] = {k.removeprefix("told/"): v for k, v in arrays.items() if k.startswith("told/")}
    own["places"] = _places(arrays, "plate" in plain)
    told: Told | Grouped
    if "plate" in plain:
        of = plain["plate"]
        sites = tuple(Local(s["name"], from_dict(s["constraint"]), s["axis"]) for s in of["sites"])
        plate = Plate(of["name"], of["argument"], sites, tuple(map(_site, of["reading"])))
        told = Grouped(plate=plate, own=of["own"], **own)
    else:
        told = Told(sites=tuple(map(_site, plain["sites"])), **own)
    columns = {k.removeprefix("kept/"): v for k, v in arrays.items() if k.startswith("kept/")}
    columns |= {k: np.array(v, dtype=object) for k, v in plain["kept"].items()}
    return Stream(
        told,
        None,
        Kept(plain["limit"], plain["count"], columns),
        Seen(tuple(plain["batches"]), arrays["seen/keys"], arrays["seen/rows"]),
        **{name: plain[name] for name in PLAIN},
    )


def _frames(told: Told | Grouped) -> Iterator[tuple[str, Frame]]:
    """Frames of the places, with the number of the batch, and of the group."""
    if isinstance(told, Grouped):
        for i, place in enumerate(told.places):
            yield from ((f"{i}/{group}", frame) for group, frame in place.items())
    else:
        yield from ((str(i), frame) for i, frame in enumerate(told.places))


def _places(arrays: Mapping[str, np.ndarray], grouped: bool) -> tuple:
    names = [k.split("/")[1:-1] for k in arrays if k.startswith("places/") and k.endswith("/mean")]
    frames = {
        tuple(map(int, n)): Frame(*(arrays["/".join(["places", *n, part])] for part in FRAME)) for n in names
    }
    count = 1 + max((n[0] for n in frames), default=-1)
    if grouped:
        return tuple({n[1]: f for n, f in sorted(frames.items()) if n[0] == i} for i in range(count))
    return tuple(frames[(i,)] for i in range(count))


def carried_by(stream: Stream | None, model: Any) -> Stream | None:
    """A stream that goes on with a model."""
    if stream is None or stream.model is not None:
        return stream
    return replace(stream, model=carrying(model, stream.told.form()))


def _plain(site: Carried | Local) -> dict[str, Any]:
    return {"name": site.name, "constraint": site.constraint.as_dict()}


def _site(record: Mapping[str, Any]) -> Carried:
    return Carried(record["name"], from_dict(record["constraint"]))
