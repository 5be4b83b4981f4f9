"""A stream as plain values and arrays, for the files of a posterior, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np

from ...ppl.constraints import from_dict
from .carrying import carrying
from .grouped import Grouped, Local, Plate
from .rows import Kept, Seen
from .state import Stream
from .told import Carried, Told

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
    words = {}
    for name, value in stream.kept.columns.items():
        if value.dtype == object:
            words[name] = [str(v) for v in value]
        else:
            arrays[f"kept/{name}"] = value
    return {**plain, "kept": words}, arrays


def restored(plain: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Stream:
    """The stream, which no model carries yet."""
    own = {k.removeprefix("told/"): v for k, v in arrays.items() if k.startswith("told/")}
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


def carried_by(stream: Stream | None, model: Any) -> Stream | None:
    """A stream that goes on with a model."""
    if stream is None or stream.model is not None:
        return stream
    return replace(stream, model=carrying(model, stream.told.form()))


def _plain(site: Carried | Local) -> dict[str, Any]:
    return {"name": site.name, "constraint": site.constraint.as_dict()}


def _site(record: Mapping[str, Any]) -> Carried:
    return Carried(record["name"], from_dict(record["constraint"]))
