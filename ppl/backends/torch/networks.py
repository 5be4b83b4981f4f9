"""PyTorch modules as networks of the language."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.fx.experimental.proxy_tensor import get_proxy_mode
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from ...errors import ModelError, explain
from ..networks import ALLOWED_WHEN_STILL, impure, unknown
from .namespace import asarray


@dataclass(frozen=True, eq=False)
class Torch:
    """A module as a function of its weights; its layers take rows on leading axes.

    Parameters
    ----------
    name : str
        The module's in the model.
    net : torch.nn.Module
        It is run as it is: in training or evaluation, with its buffers and frozen parameters as constants.
    """

    name: str
    net: torch.nn.Module

    def arrays(self, _rng):
        """Those that the module came with."""
        named = self.net.named_parameters()
        return {key: value.detach().cpu().numpy().copy() for key, value in named if value.requires_grad}

    def apply(self, arrays, *inputs):
        """See `elboroom.ppl.modules.Network.apply`.

        Raises
        ------
        UnsupportedError
            If the module draws at random or writes to its buffers.
        """
        moved = [asarray(x) for x in inputs]
        like = next(iter(arrays.values()), None)
        like = next((x for x in moved if x.is_floating_point()), None) if like is None else like
        if like is not None:
            moved = [_as(x, like) for x in moved]
        held = {key: _as(value.detach().clone(), like) for key, value in self._constants()}
        written, drawn = {key: _version(value) for key, value in held.items()}, _random_state()
        out = torch.func.functional_call(self.net, {**arrays, **held}, tuple(moved))
        if drawn != _random_state():
            raise impure(self.name, "one that draws at random", ALLOWED_WHEN_STILL)
        changed = [key for key, value in held.items() if _version(value) != written[key]]
        if changed:
            raise impure(
                self.name,
                f"one that writes to its buffer '{changed[0]}'",
                "call .eval() on it, or take the layer out",
            )
        return out

    def _constants(self):
        yield from self.net.named_buffers()
        yield from ((key, value) for key, value in self.net.named_parameters() if not value.requires_grad)


def network(name: str, net: Any) -> Torch:
    """A module as a network of the language.

    Parameters
    ----------
    name : str
        The module's in the model.
    net : torch.nn.Module
        The module.

    Raises
    ------
    ModelError
        If it is no PyTorch module, or has no numbers.
    UnsupportedError
        If it draws at random, or lets rows see each other.
    """
    if not isinstance(net, torch.nn.Module):
        jax = "fit with backend='jax', or write the network with er.nn, which both backends take"
        other = "give one, or an object with arrays(rng) and apply(arrays, x)"
        want = "a network of er.nn or a torch.nn.Module"
        raise unknown(name, net, want, {"equinox": jax, "flax": jax, "": other})
    empty = [key for key, value in net.named_parameters() if value.is_meta]
    if empty:
        got = f"'{empty[0]}' on the meta device, which has none"
        remedy = "load its weights, or make them with net.to_empty(device='cpu') and initial values"
        raise ModelError(explain(f"er.module '{name}'", "weights with numbers", got, remedy))
    for part in net.modules():
        kind = type(part).__name__
        if isinstance(part, _NormBase) and (part.track_running_stats or "BatchNorm" in kind):
            raise impure(name, f"{kind}, through which rows see each other")
        if isinstance(part, _DropoutNd) and part.p > 0 and part.training:
            raise impure(name, f"{kind}, which draws at random", ALLOWED_WHEN_STILL)
    return Torch(name, net)


def _as(x: torch.Tensor, like: torch.Tensor | None) -> torch.Tensor:
    """A tensor with the device of another, and with its precision unless it holds whole numbers."""
    if like is None:
        return x
    return x.to(like.device, like.dtype) if x.is_floating_point() else x.to(like.device)


def _random_state() -> bytes:
    if (
        get_proxy_mode() is not None
    ):  # while a step is recorded nothing is drawn: what it does was seen before
        return b""
    return torch.get_rng_state().numpy().tobytes()


def _version(tensor: torch.Tensor) -> int:
    return tensor._version  # noqa: SLF001  PyTorch has no public name for how often a tensor was written to
