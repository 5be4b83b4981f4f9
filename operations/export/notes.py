"""Words within a file: its verdict and what rounding costs, where its kind has a place for them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from types import MappingProxyType

NAME = "elboroom"
"""Under which they lie: of ``custom_metadata_map``, and of the extra files of PyTorch."""
_METADATA, _KEY, _VALUE = b"\x72", b"\x0a", b"\x12"
"""Tags of protobuf: ``metadata_props``, the fourteenth field of an ONNX model, with its first and second."""


def _with_length(content: bytes) -> bytes:
    """Bytes behind their number, as protobuf writes it."""
    out, left = bytearray(), len(content)
    while left >> 7:  # seven bits of it in each byte
        out.append((left & 0x7F) | 0x80)
        left >>= 7
    out.append(left)
    return bytes(out) + content


def in_onnx(content: bytes, text: str) -> bytes:
    """An ONNX model with one more entry of its metadata: a field that is repeated may stand anywhere."""
    entry = _KEY + _with_length(NAME.encode()) + _VALUE + _with_length(text.encode())
    return content + _METADATA + _with_length(entry)


def in_archive(content: bytes, text: str) -> bytes:
    """A file of ``torch.export`` with an extra file."""
    file = io.BytesIO(content)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_STORED) as archive:
        root = archive.namelist()[0].partition("/")[0]
        archive.writestr(f"{root}/extra/{NAME}", text)
    return file.getvalue()


PLACES: Mapping[str, Callable[[bytes, str], bytes]] = MappingProxyType({".onnx": in_onnx, ".pt2": in_archive})
"""By suffix."""


def noted(content: bytes, suffix: str, text: str) -> bytes:
    """The content of a file with words in it, where it has a place for them."""
    place = PLACES.get(suffix)
    return content if place is None else place(content, text)
