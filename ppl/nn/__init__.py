"""``er.nn``: networks that are declared once and run on either backend.

A network is a frozen declaration: ``arrays(rng)`` makes its initial weights, in NumPy, so that they are the same on both
backends, and ``apply(arrays, *inputs)`` computes with them, over `elboroom.math`. Leading axes of inputs are rows, all
treated alike; `elboroom.module` takes these networks, and those of equinox, flax and PyTorch.

Examples
--------
>>> import numpy as np
>>> import elboroom as er
>>> net = er.nn.MLP(2, [16], 1, activation="tanh")
>>> net
MLP(num_in=2, hidden=(16,), num_out=1, activation='tanh')
>>> weights = net.arrays(np.random.default_rng(0))
>>> net.apply(weights, np.zeros((3, 2))).tolist()
[[0.0], [0.0], [0.0]]
"""

from __future__ import annotations

from .causal import Causal
from .convolution import Conv, Deconv
from .dense import MLP
from .layers import ACTIVATIONS, Arrays
from .masked import Masked
from .recurrent import GRU
from .smoother import Smoother

__all__ = ["ACTIVATIONS", "GRU", "MLP", "Arrays", "Causal", "Conv", "Deconv", "Masked", "Smoother"]
