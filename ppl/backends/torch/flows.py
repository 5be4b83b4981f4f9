"""Normalising flows on zuko, and the ascent of their bound."""

from __future__ import annotations

import time
from functools import cache, partial

import numpy as np
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from ...errors import MissingBackendError, explain
from ...thresholds import AVERAGED, CLIPPED, SPLINE_BOUND, SPLINE_SLOPE
from ...turns import running
from ..flows import STEEPEST, Layers
from .arrays import DTYPES, Function, randomness, to_device, to_host

__all__ = ["flow"]


@cache
def flow(kind: str, dim: int, num_layers: int, width: int, knots: int, dtype: str, rest: int = 0) -> Flow:
    """The flow of these settings."""
    return Flow(kind, dim, num_layers, width, knots, dtype, rest)


class Flow(Layers):
    """Equal layers, one after the other; their weights, and the order of coordinates before each, are arguments."""

    last = "hyper.4"

    def __init__(self, kind, dim, num_layers, width, knots, dtype, rest=0):
        super().__init__(kind, dim, num_layers, width, knots, dtype, rest)
        with randomness(0):  # weights that are replaced
            self._layer = _Applied(_layer(kind, dim, width, knots))
        self._names = {
            name.removeprefix("layer."): tuple(p.shape) for name, p in self._layer.named_parameters()
        }
        gradient = torch.func.grad(self._weighed)
        self.forward = partial(self._on_host, self.pushed)
        self.inverse = partial(self._on_host, self.pulled)
        self.pullback = partial(self._on_host, gradient)
        clock = {"compile": 0.0, "count": 0}

        def one(x, params, order):
            return tuple(a[0] for a in self.pushed(x[None], params, order))

        def back(x, grad, params, order):
            return gradient(x[None], params, order, grad[None])[0]

        self.through = Function(one, (0, None, None), self.dtype, clock)
        self.back = Function(back, (0, 0, None, None), self.dtype, clock)

    def layer_shapes(self):
        return self._names

    def _on_host(self, fn, x, params, *rest):
        place = partial(to_device, dtype=self.dtype)
        with torch.no_grad():
            return to_host(fn(place(x), {k: place(v) for k, v in params.items()}, *map(place, rest)))

    def _through(self, x, params, which, back):
        own = {f"layer.{name}": params[name][which] for name in self._names}
        return torch.func.functional_call(self._layer, own, (x, back))

    def bent(self, x, params, order):
        log_det = 0.0
        for i in range(self.num_layers):
            x, change = self._through(x[:, order[i]], params, i, False)
            log_det = log_det + change
        return x, log_det

    def straight(self, x, params, order):
        log_det = 0.0
        for i in reversed(range(self.num_layers)):
            x, change = self._through(x, params, i, True)
            x, log_det = x[:, torch.argsort(order[i])], log_det + change
        return x, log_det

    def begin(self, params):
        """State of an ascent."""
        own = {name: to_device(value, self.dtype) for name, value in params.items()}
        return {"params": own, "average": {k: v.clone() for k, v in own.items()}, "adam": None}

    def ascent(self, density, num_draws: int):
        """``fn(state, inputs, constants) -> (state, bounds)``: many steps of Adam.

        Parameters
        ----------
        density : Density
            Whose bound it is; its data and weights come with the constants.
        num_draws : int
            Draws per step, half of them the negatives of the others.
        """
        return _Steps(self, density, num_draws)


class _Steps:
    """Steps of Adam; the gradient is recorded once."""

    def __init__(self, flow, density, num_draws):
        self._flow, self._density, self._num_draws = flow, density, num_draws
        self._recorded = None

    def _loss(self, params, eps, order, scale, h, bound):
        """The bound's gradient, as that of a number whose value means nothing."""
        flow = self._flow
        x, log_det = flow.pushed(eps, params, order)
        good = torch.isfinite(bound)
        path = (x * (h @ scale)).sum(1)
        if flow.kind == "iaf":  # its inverse takes as many passes as there are coordinates
            path = path + log_det
        else:
            back, change = flow.pulled(x, {k: v.detach() for k, v in params.items()}, order)
            path = path + 0.5 * (back * back).sum(1) - change
        return -torch.where(good, path, 0.0).sum() / good.sum().clamp(min=1)

    def _gradient(self, params, *rest):
        if self._recorded is None:
            begin = time.perf_counter()
            names = list(params)

            def flat(*values):
                own = dict(zip(names, values[: len(names)], strict=True))
                return list(torch.func.grad(self._loss)(own, *values[len(names) :]).values())

            with running():
                self._recorded = make_fx(flat)(*params.values(), *rest)
            self._density.clock["compile"] += time.perf_counter() - begin
        return self._recorded(*params.values(), *rest)

    def _density_at(self, z, constants):
        """Values, −inf where something is not finite, and gradients, zero there."""
        function = self._density.scaled_value_and_grad
        value, grad = function.on_device(z, constants["data"], constants["weights"], {})
        good = torch.isfinite(value) & torch.isfinite(grad).all(1)
        return torch.where(good, value, -torch.inf), torch.where(good[:, None], grad, 0.0)

    def __call__(self, state, inputs, constants):
        flow, kind = self._flow, DTYPES[self._flow.dtype]
        order, scale, mean = (constants[k] for k in ("order", "scale_tril", "mean"))
        params = {k: v.clone().requires_grad_() for k, v in state["params"].items()}
        average = {k: v.clone() for k, v in state["average"].items()}
        adam = torch.optim.Adam(params.values())
        if state["adam"] is not None:
            adam.load_state_dict(state["adam"])
        bounds, shares = [], []
        for seed, rate in zip(inputs["seed"], inputs["rate"], strict=True):
            generator = torch.Generator().manual_seed(int(seed))
            half = torch.randn(self._num_draws // 2, flow.dim + flow.rest, generator=generator, dtype=kind)
            eps = torch.cat([half, -half])
            own = {k: v.detach() for k, v in params.items()}
            with torch.no_grad():
                x, log_det = flow.pushed(eps, own, order)
                value, grad = self._density_at(mean + x @ scale.T, constants)
                bound = value + log_det + 0.5 * (eps * eps).sum(1)
                found = self._gradient(own, eps, order, scale, grad, bound)
            good = torch.isfinite(bound)
            bounds.append(float(bound[good].mean()) if good.any() else np.nan)
            shares.append(float(good.double().mean()))
            sound = all(bool(torch.isfinite(g).all()) for g in found)
            for p, g in zip(params.values(), found, strict=True):
                p.grad = g if sound else torch.zeros_like(g)
            torch.nn.utils.clip_grad_norm_(params.values(), CLIPPED)
            adam.param_groups[0]["lr"] = float(rate)
            adam.step()
            for k, p in params.items():
                average[k].mul_(AVERAGED).add_(p.detach(), alpha=1 - AVERAGED)
        after = {k: p.detach() for k, p in params.items()}
        state = {"params": after, "average": average, "adam": adam.state_dict()}
        return state, (np.array(bounds), np.array(shares))


class _Applied(torch.nn.Module):
    """A lazy transform of zuko as a function of points."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x, back: bool):
        transform = self.layer()
        return (transform.inv if back else transform).call_and_ladj(x)


def _layer(kind, dim, width, knots):
    """One layer with weights of its own."""
    try:
        from zuko.flows.autoregressive import MaskedAutoregressiveTransform
        from zuko.flows.coupling import GeneralCouplingTransform
        from zuko.transforms import ComposedTransform, MonotonicAffineTransform, MonotonicRQSTransform
    except ModuleNotFoundError as error:
        raise MissingBackendError(
            explain(
                "guide 'flow' on torch",
                "zuko to be installed",
                f"no module named {error.name!r}",
                'install it with: pip install "elboroom[torch]"',
            )
        ) from error
    affine = partial(MonotonicAffineTransform, slope=float(np.exp(-STEEPEST)))
    settings = {"univariate": affine, "shapes": [(), ()]}
    if kind == "spline":

        def univariate(shift, scale, *spline):
            return ComposedTransform(
                MonotonicRQSTransform(*spline, bound=SPLINE_BOUND, slope=SPLINE_SLOPE), affine(shift, scale)
            )

        settings = {"univariate": univariate, "shapes": [(), (), (knots,), (knots,), (knots - 1,)]}
    settings |= {"hidden_features": (width, width), "activation": torch.nn.SiLU}
    if kind == "iaf":
        return MaskedAutoregressiveTransform(dim, **settings)
    return GeneralCouplingTransform(dim, mask=torch.arange(dim) < dim // 2, **settings)
