"""PyTorch modules as networks of the language."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from ...errors import ModelError, UnsupportedError, explain


@dataclass(frozen=True, eq=False)
class Torch:
    """A module as a function of its weights; its layers take rows on leading axes."""

    net: torch.nn.Module
    buffers: dict[str, torch.Tensor]

    def arrays(self, _rng):
        """Those that the module came with."""
        return {key: value.detach().cpu().numpy().copy() for key, value in self.net.named_parameters()}

    def apply(self, arrays, *inputs):
        """See `elboroom.ppl.modules.Network.apply`."""
        like = next(iter(arrays.values()))
        moved = [x.to(like.dtype) if x.is_floating_point() else x for x in inputs]
        held = {key: x.to(like.dtype) if x.is_floating_point() else x for key, x in self.buffers.items()}
        return torch.func.functional_call(self.net, {**arrays, **held}, tuple(moved))


def network(name: str, net: Any) -> Torch:
    """A module as a network of the language.

    Raises
    ------
    ModelError
        If it is no PyTorch module.
    UnsupportedError
        If it draws at random, or lets rows see each other.
    """
    if not isinstance(net, torch.nn.Module):
        raise ModelError(
            explain(
                f"er.module '{name}'",
                "a network of er.nn or a torch.nn.Module",
                f"{type(net).__module__}.{type(net).__qualname__}",
                "give one, or fit on the backend that it belongs to",
            )
        )
    for part in net.modules():
        got = ""
        if isinstance(part, _NormBase) and (part.track_running_stats or "BatchNorm" in type(part).__name__):
            got = f"{type(part).__name__}, through which rows see each other"
        elif isinstance(part, _DropoutNd) and part.p > 0:
            got = f"{type(part).__name__}, which draws at random"
        if got:
            remedy = "take the layer out; LayerNorm and GroupNorm normalise within a row"
            want = "a pure function of one row and its weights"
            raise UnsupportedError(explain(f"er.module '{name}'", want, got, remedy))
    return Torch(net, {key: value.detach().clone() for key, value in net.named_buffers()})
