"""Numbers of rows that calls are compiled for: powers of two."""

from __future__ import annotations

import math
from collections.abc import Iterator


def size_of(count: int) -> int:
    """The next power of two."""
    return 1 << max(count - 1, 0).bit_length()


def sizes(most: int) -> Iterator[int]:
    """1, 2, 4 … up to the first that holds `most`."""
    yield from (2**power for power in range(int(math.log2(size_of(most))) + 1))
