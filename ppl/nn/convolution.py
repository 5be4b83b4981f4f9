"""Convolutions of images, and the other way.

A convolution is written as one matrix product of all pixels under the kernel, from slices of the padded image; a
transposed one as several, one per place between two pixels of the small image, so that no zero is multiplied.

References
----------
Dumoulin & Visin (2016), A guide to convolution arithmetic for deep learning, arXiv:1603.07285.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from math import prod
from typing import Any

import numpy as np

from .. import math as m
from ..errors import ModelError, ShapeError, explain
from .dense import MLP
from .layers import (
    ACTIVATIONS,
    Arrays,
    check_activation,
    check_last,
    glorot,
    prefixed,
    size_of,
    sizes_of,
    within,
)


@dataclass(frozen=True)
class Conv:
    """Strided convolutions of an image, then dense layers.

    Parameters
    ----------
    shape : sequence of int
        Of an image: ``(height, width)`` or ``(height, width, channels)``.
    channels : sequence of int
        Of what each convolution gives.
    num_out : int
        Numbers of a row that comes out.
    kernel : int, default 3
        Pixels of a kernel along each side.
    stride : int, default 2
        Each convolution keeps one pixel of so many along each side, rounded up.
    hidden : sequence of int
        Units of dense layers before the last.
    activation : str, default "silu"
        After each layer but the last, see `MLP`.

    Raises
    ------
    ModelError
        For sizes that are no positive whole numbers, or another activation.

    Notes
    -----
    Images are padded with zeros to ``stride`` times what comes out; where their number is odd, the larger half comes
    last. Weights have the axes of PyTorch's: ``(out, in, height, width)``.

    Examples
    --------
    >>> import numpy as np
    >>> net = Conv((28, 28), [8, 16], 4)
    >>> weights = net.arrays(np.random.default_rng(0))
    >>> weights["convolutions.1.weight"].shape, weights["head.layers.0.weight"].shape
    ((16, 8, 3, 3), (4, 784))
    >>> net.apply(weights, np.zeros((5, 784))).shape, net.apply(weights, np.zeros((5, 28, 28))).shape
    ((5, 4), (5, 4))
    """

    shape: Sequence[int]
    channels: Sequence[int]
    num_out: int
    kernel: int = 3
    stride: int = 2
    hidden: Sequence[int] = ()
    activation: str = "silu"

    def __post_init__(self):
        what = "er.nn.Conv"
        _check(self, what)
        object.__setattr__(self, "num_out", size_of(what, "num_out", self.num_out))

    @property
    def _head(self) -> MLP:
        last = _sides(self.shape, self.stride, len(self.channels))[-1]
        return MLP(prod(last) * self.channels[-1], self.hidden, self.num_out, self.activation)

    def arrays(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Initial weights: Glorot's uniform law, and no biases."""
        out = {}
        for i, (few, many) in enumerate(pairwise((_depth(self.shape), *self.channels))):
            area = self.kernel**2
            weight = glorot(rng, (many, few, self.kernel, self.kernel), few * area, many * area)
            out[f"convolutions.{i}.weight"] = weight
            out[f"convolutions.{i}.bias"] = np.zeros(many)
        return out | prefixed("head", self._head.arrays(rng))

    def apply(self, arrays: Arrays, x: Any) -> Any:
        """Images ``(..., height, width[, channels])``, or the numbers of each in a row, to ``(..., num_out)``.

        Raises
        ------
        ShapeError
            For images of another shape.
        """
        x = _image("er.nn.Conv", x, self.shape)
        for i in range(len(self.channels)):
            weight = arrays[f"convolutions.{i}.weight"]
            x = _convolved(m.like(x, weight), weight, self.stride) + arrays[f"convolutions.{i}.bias"]
            x = ACTIVATIONS[self.activation](x)
        flat = m.reshape(x, (*np.shape(x)[:-3], self._head.num_in))
        return self._head.apply(within("head", arrays), flat)


@dataclass(frozen=True)
class Deconv:
    """Dense layers, then transposed convolutions to an image: `Conv` the other way.

    Parameters
    ----------
    num_in : int
        Numbers of a row that comes in, on the last axis.
    shape : sequence of int
        Of an image: ``(height, width)`` or ``(height, width, channels)``.
    channels : sequence of int
        Of what each transposed convolution takes, the smallest image first.
    kernel : int, default 3
        Pixels of a kernel along each side, at least `stride`.
    stride : int, default 2
        Each transposed convolution makes so many pixels of one along each side; what is too many is cut off at the end.
    hidden : sequence of int
        Units of dense layers before the smallest image.
    activation : str, default "silu"
        After each layer but the last, see `MLP`.

    Raises
    ------
    ModelError
        For sizes that are no positive whole numbers, a kernel that would leave pixels out, or another activation.

    Notes
    -----
    Weights have the axes of PyTorch's: ``(in, out, height, width)``.

    Examples
    --------
    >>> import numpy as np
    >>> net = Deconv(4, (28, 28), [16, 8])
    >>> weights = net.arrays(np.random.default_rng(0))
    >>> weights["head.layers.0.weight"].shape, weights["convolutions.1.weight"].shape
    ((784, 4), (8, 1, 3, 3))
    >>> net.apply(weights, np.zeros((5, 4))).shape
    (5, 28, 28)
    """

    num_in: int
    shape: Sequence[int]
    channels: Sequence[int]
    kernel: int = 3
    stride: int = 2
    hidden: Sequence[int] = ()
    activation: str = "silu"

    def __post_init__(self):
        what = "er.nn.Deconv"
        object.__setattr__(self, "num_in", size_of(what, "num_in", self.num_in))
        _check(self, what)
        if self.kernel < self.stride:
            raise ModelError(explain(f"kernel of {what}", f"at least the stride, {self.stride}", f"{self.kernel}",
                                     "enlarge it: between its places would be pixels that nothing reaches"))  # fmt: skip

    @property
    def _sides(self) -> list[tuple[int, int]]:
        return _sides(self.shape, self.stride, len(self.channels))[::-1]

    @property
    def _head(self) -> MLP:
        return MLP(self.num_in, self.hidden, prod(self._sides[0]) * self.channels[0], self.activation)

    def arrays(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Initial weights: Glorot's uniform law, and no biases."""
        out = prefixed("head", self._head.arrays(rng))
        for i, (many, few) in enumerate(pairwise((*self.channels, _depth(self.shape)))):
            reach = (self.kernel / self.stride) ** 2  # of the pixels that go into one
            weight = glorot(rng, (many, few, self.kernel, self.kernel), many * reach, few * reach)
            out[f"convolutions.{i}.weight"] = weight
            out[f"convolutions.{i}.bias"] = np.zeros(few)
        return out

    def apply(self, arrays: Arrays, x: Any) -> Any:
        """Rows ``(..., num_in)`` to images ``(..., *shape)``.

        Raises
        ------
        ShapeError
            For rows of another length.
        """
        check_last("er.nn.Deconv", x, self.num_in)
        lead, sides = tuple(np.shape(x))[:-1], self._sides
        x = self._head.apply(within("head", arrays), x)
        x = m.reshape(x, (*lead, *sides[0], self.channels[0]))
        for i, (height, width) in enumerate(sides[1:]):
            x = ACTIVATIONS[self.activation](x)
            x = _spread(x, arrays[f"convolutions.{i}.weight"], self.stride)[..., :height, :width, :]
            x = x + arrays[f"convolutions.{i}.bias"]
        return m.reshape(x, (*lead, *self.shape))


def _check(net: Conv | Deconv, what: str) -> None:
    """Refuse sizes that are none; those that are become ints."""
    shape = sizes_of(what, "shape", net.shape, 2)
    if len(shape) > 3:
        raise ModelError(explain(f"shape of {what}", "(height, width) or (height, width, channels)",
                                 f"{shape}", "give that of one image, without the rows"))  # fmt: skip
    object.__setattr__(net, "shape", shape)
    object.__setattr__(net, "channels", sizes_of(what, "channels", net.channels, 1))
    object.__setattr__(net, "hidden", sizes_of(what, "hidden", net.hidden))
    object.__setattr__(net, "kernel", size_of(what, "kernel", net.kernel))
    object.__setattr__(net, "stride", size_of(what, "stride", net.stride))
    check_activation(what, net.activation)


def _depth(shape: Sequence[int]) -> int:
    """Channels of an image."""
    return shape[2] if len(shape) == 3 else 1


def _sides(shape: Sequence[int], stride: int, num_layers: int) -> list[tuple[int, int]]:
    """Height and width of an image, and after each convolution."""
    sides = [(shape[0], shape[1])]
    for _ in range(num_layers):
        sides.append((-(-sides[-1][0] // stride), -(-sides[-1][1] // stride)))
    return sides


def _image(what: str, x: Any, shape: Sequence[int]) -> Any:
    """Images with an axis of channels, from images or from the numbers of each in a row.

    Raises
    ------
    ShapeError
    """
    given, full = tuple(np.shape(x)), (*shape[:2], _depth(shape))
    for form in (tuple(shape), full, (prod(shape),)):
        if given[len(given) - len(form) :] == form and len(given) >= len(form):
            return m.reshape(x, (*given[: len(given) - len(form)], *full))
    want = f"images on the last axes, {tuple(shape)} or {prod(shape)} numbers in a row"
    raise ShapeError(
        explain(what, want, f"shape {given}", "reshape them, or declare the network with their shape")
    )


def _padded(x: Any, before: Sequence[int], after: Sequence[int]) -> Any:
    """Zeros around images ``(..., height, width, channels)``, along height and width."""
    for axis, low, high in zip((-3, -2), before, after, strict=True):
        shape = list(np.shape(x))
        parts = []
        for size in (low, high):
            shape[axis] = size
            parts.append(m.like(np.zeros(shape), x))
        if low or high:
            x = m.concat([parts[0], x, parts[1]], axis=axis)
    return x


def _convolved(x: Any, weight: Any, stride: int) -> Any:
    """Images ``(..., height, width, in)`` by a kernel ``(out, in, k, k)``."""
    many, few, kernel, _ = np.shape(weight)
    sides = tuple(np.shape(x))[-3:-1]
    out = [-(-n // stride) for n in sides]
    extra = [max((o - 1) * stride + kernel - n, 0) for o, n in zip(out, sides, strict=True)]
    x = _padded(x, [e // 2 for e in extra], [e - e // 2 for e in extra])
    ends = [(o - 1) * stride + 1 for o in out]
    seen = [
        x[..., i : i + ends[0] : stride, j : j + ends[1] : stride, :]
        for i, j in product(range(kernel), repeat=2)
    ]
    matrix = m.reshape(m.permute_dims(weight, (2, 3, 1, 0)), (kernel * kernel * few, many))
    return m.matmul(m.concat(seen, axis=-1), matrix)


def _spread(x: Any, weight: Any, stride: int) -> Any:
    """Images ``(..., height, width, in)`` by a kernel ``(in, out, k, k)`` to ``stride`` times their height and width."""
    kernel = np.shape(weight)[-1]
    *lead, height, width, _ = np.shape(x)
    taps = [_taps(phase, kernel, stride) for phase in range(stride)]
    shifts = [shift for each in taps for shift, _ in each]
    before, after = max(-min(shifts), 0), max(*shifts, 0)
    x = _padded(x, (before, before), (after, after))
    rows = []
    for vertical in taps:
        row = []
        for horizontal in taps:
            seen, kernels = [], []
            for (i, a), (j, b) in product(vertical, horizontal):
                top, left = before + i, before + j
                seen.append(x[..., top : top + height, left : left + width, :])
                kernels.append(weight[:, :, a, b])
            row.append(m.matmul(m.concat(seen, axis=-1), m.concat(kernels, axis=0)))
        num_out = np.shape(row[0])[-1]
        rows.append(m.reshape(m.stack(row, axis=-2), (*lead, height, width * stride, num_out)))
    return m.reshape(m.stack(rows, axis=-3), (*lead, height * stride, width * stride, num_out))


def _taps(phase: int, kernel: int, stride: int) -> list[tuple[int, int]]:
    """Pixels, counted from its own, that reach place `phase` of those made of one, each with its place in the kernel."""
    low = (kernel - 1) // 2
    places = [(phase + b - low, kernel - 1 - b) for b in range(kernel)]
    return [(place // stride, a) for place, a in places if place % stride == 0]
