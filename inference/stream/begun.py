"""A posterior that knows what its rows have said, so that it can be updated without them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...ppl.errors import UnsupportedError
from ..posterior.posterior import Posterior, record_of
from .prior import stream_of
from .rows import along_rows, hashed


def begun(posterior: Posterior, keys: Any = None) -> Posterior:
    """The same posterior, with the beginning of a stream beside it where its likelihood is carried on.

    Parameters
    ----------
    posterior : Posterior
        With its program and data.
    keys : array_like, optional
        What names each row.
    """
    record = record_of(posterior)
    try:
        stream = stream_of(record)
    except UnsupportedError:
        return posterior
    if keys is not None:
        _, count = along_rows(record.program, record.backend)
        stream = replace(stream, seen=replace(stream.seen, keys=hashed(keys, count or None)))
    return Posterior(replace(record, stream=stream))
