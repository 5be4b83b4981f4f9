"""Solutions of ordinary differential equations, their derivatives along with them.

Libraries of solvers for PyTorch look at the numbers of a tensor to choose a step, which `torch.func` refuses; here a
solution is one operation with derivatives and a batch of its own, inside of which plain tensors are looked at.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import torch
from torch.fx.experimental.proxy_tensor import get_proxy_mode, make_fx
from torch.utils._python_dispatch import _get_current_dispatch_mode
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from ...errors import ModelError, explain
from ...fingerprints import array_bytes
from ...recursion import scan_in_python
from ...steps import attempt, explicit, first_step, follow, implicit, map_arrays, pushed, reached
from ...thresholds import KEPT_DENSITIES
from .arrays import Looping, recorded


def odeint(field, y0, times, args, each, tolerance, stiff):
    """Solutions of shape (*systems, T, n), see `elboroom.odeint`."""
    arrays = (y0, times, *args)
    if get_proxy_mode() is not None:
        raise Looping("an equation takes as many steps as its numbers ask for")
    if _get_current_dispatch_mode() is not None:  # a look at what depends on what

        def look(y0, times, *args):
            slopes = torch.func.vmap(lambda t: field(t, y0, *args))(torch.sort(times)[0])
            return reached(slopes, y0, tolerance, stiff)

        return (
            torch.func.vmap(look, tuple(0 if own else None for own in each))(*arrays)
            if any(each)
            else look(*arrays)
        )
    count = len(y0) if each[0] else 1
    rows = [a if own else a.expand(count, *a.shape) for a, own in zip(arrays, each, strict=True)]
    with torch.enable_grad():
        free = field(times.flatten()[0].detach(), rows[0][0].detach(), *(a[0].detach() for a in rows[2:]))
    if free.requires_grad:
        raise ModelError(explain(*_CLOSED))
    paths = torch.cat([rows[0].unsqueeze(1), *_Paths.apply(_Equation(field, tolerance, stiff), *rows)], 1)
    return paths if any(each) else paths[0]


_CLOSED = (
    "er.odeint, 'field'",
    "every latent quantity that it uses among its arguments",
    "one from around it, which PyTorch does not follow there",
    "er.odeint(field, y0, times, rate), and field(t, y, rate)",
)


class _Equation:
    """A method on arrays with a first axis of paths, whose arrays may carry tangents along.

    Parameters
    ----------
    along : tuple
        Which of the arrays ``y0, *args`` the tangents are of, for each time that they were asked for: all directions of
        these, or, where further arrays follow these, one that they give.
    """

    def __init__(self, field, tolerance, stiff, along=()):
        self.settings, self.along = (field, tolerance, stiff), along
        self.tolerance = tolerance

        def one(t, y, args):
            return field(t, y, *args)

        def slopes(t, y, args):
            return (
                torch.func.vmap(torch.func.jacfwd(one, 1))(t, y, args),
                torch.func.jvp(lambda t: self.field(t, y, args), (t,), (torch.ones_like(t),))[1],
            )

        self.field = torch.func.vmap(one)
        self.plain = implicit(self.field, slopes, tolerance) if stiff else explicit(self.field, tolerance)

    def with_tangents(self, moved, given):
        """The same with tangents of some of the arrays."""
        return _Equation(*self.settings, (*self.along, (moved, given)))

    def method(self, y0, times, *rest):
        """The method, and what it takes as arguments."""
        size = len(rest) - sum(len(moved) for moved, directed in self.along if directed)
        arrays, directions = (y0, *rest[:size]), iter(rest[size:])
        method, given, taken = self.plain, tuple(arrays[1:]), lambda arrays: tuple(arrays[1:])
        for moved, directed in self.along:
            moving = tuple(arrays[i] for i in moved)
            basis = tuple(next(directions).unsqueeze(1) for _ in moved) if directed else _directions(moving)

            def bound(moving, moved=moved, taken=taken):
                own = list(arrays)
                for i, array in zip(moved, moving, strict=True):
                    own[i] = array
                return own[0], taken(own)

            method, given, taken = pushed(method, _push, bound, basis), moving, partial(_those, moved)
        return method, given

    def begin(self, y0, times, *rest):
        """Size of the first step, and the state before it."""
        method, given = self.method(y0, times, *rest)
        size = len(rest) - sum(len(moved) for moved, directed in self.along if directed)
        guess = first_step(self.field, self.tolerance, self.plain.order, times[:, 0], y0, tuple(rest[:size]))
        return guess, method.start(times[:, 0], y0, given)

    def attempt(self, live, now, *arrays):
        """One step of those paths that are `live`."""
        method, given = self.method(*arrays)
        later = attempt(method, arrays[1][:, -1], self.tolerance.max_steps, given, now)
        return map_arrays(partial(_where, live), later, now)

    def solve(self, *arrays):
        """Paths after the first time, and how they change, each time first."""
        times = arrays[1]
        code = _code(_form(self, arrays))
        size, state = code(self.begin, *arrays)
        if times.shape[1] == 1:
            return map_arrays(lambda y: y.new_zeros(0, *y.shape), state[0])
        method, given = self.method(*arrays)

        def until(going, _step, now):
            while (live := going(now)).any():
                now = code(self.attempt, live, now, *arrays)
            return now

        return follow(
            method, size, state, times.movedim(1, 0), given, self.tolerance.max_steps, scan_in_python, until
        )

    def speed(self, times, y0, path, args):
        """The field where paths begin, and at each time after."""
        args = tuple(args)
        later = torch.func.vmap(self.field, (1, 1, None), 1)
        return self.field(times[:, 0], y0, args), later(times[:, 1:], path, args)


def _those(moved, arrays):
    return tuple(arrays[i] for i in moved)


def _directions(arrays):
    """One direction for each element of the arrays of a path, on a second axis."""
    sizes = [array[0].numel() for array in arrays]
    unit = torch.eye(sum(sizes), dtype=arrays[0].dtype, device=arrays[0].device)
    parts = zip(unit.split(sizes, 1), arrays, strict=True)
    return tuple(
        part.reshape(-1, *a.shape[1:]).to(a.dtype).expand(len(a), -1, *a.shape[1:]).contiguous()
        for part, a in parts
    )


_OUT: Any = (None, 0)  # values are those of all tangents


def _push(fn, given, tangents):
    """Values of a function, and its derivatives along several tangents on a new second axis."""

    def one(tangents: Any) -> Any:
        return torch.func.jvp(fn, given, tangents)

    values, changes = torch.func.vmap(one, in_dims=1, out_dims=_OUT)(tangents)
    return values, map_arrays(lambda change: change.movedim(0, 1), changes)


def _where(live, new, old):
    return torch.where(live.reshape(-1, *[1] * (new.ndim - 1)), new, old)


def _form(equation, arrays):
    """What the operations of an equation are made of, to be compared: its code, its constants and the shapes of its arrays."""
    y0, times, *rest = arrays
    size = len(rest) - sum(len(moved) for moved, directed in equation.along if directed)
    traced = make_fx(equation.field)(times[:, 0], y0, tuple(rest[:size]))
    constants = [getattr(traced, node.target) for node in traced.graph.nodes if node.op == "get_attr"]
    if any(torch._C._functorch.is_functorch_wrapped_tensor(c) for c in constants):  # noqa: SLF001  no public name
        raise ModelError(explain(*_CLOSED))
    shapes = tuple((tuple(a.shape), a.dtype) for a in arrays)
    content = tuple(array_bytes(c.detach().numpy()) for c in constants)
    return traced.code, content, shapes, equation.along, *equation.settings[1:]


@lru_cache(maxsize=KEPT_DENSITIES)
def _code(_form):
    """``code(fn, *args)``: functions of an equation of this form, recorded when they are first called."""
    ready = {}

    def code(fn, *args):
        flat, tree = tree_flatten(args)
        flat = [t.contiguous() for t in flat]  # what is recorded depends on how its arguments lie
        if fn.__name__ not in ready:
            kept: list[Any] = []

            def call(*flat):
                out, shape = tree_flatten(fn(*tree_unflatten(list(flat), tree)))
                kept[:] = [shape]
                return tuple(out)

            ready[fn.__name__] = recorded(call, [t.clone() for t in flat]), kept  # one tensor may come twice
        call, kept = ready[fn.__name__]
        return tree_unflatten(list(call(*flat)), kept[0])

    return code


class _Paths(torch.autograd.Function):
    """Paths after the first time, shape (paths, T - 1, n), and what an equation's tangents add, as one operation."""

    @staticmethod
    def forward(equation, *arrays):
        found = tree_leaves(equation.solve(*arrays))
        if any(torch._C._functorch.is_functorch_wrapped_tensor(out) for out in found):  # noqa: SLF001  no public name
            raise ModelError(explain(*_CLOSED))
        return tuple(out.movedim(1, 0).contiguous() for out in found)

    @staticmethod
    def setup_context(ctx, inputs, output):
        equation, *arrays = inputs
        ctx.equation = equation
        ctx.save_for_backward(*arrays, *output[:1])
        ctx.save_for_forward(*arrays, *output[:1])

    @staticmethod
    def backward(ctx, *slopes):
        y0, times, *rest, path = ctx.saved_tensors
        needed = ctx.needs_input_grad[1:]
        moved = tuple(i for i, need in enumerate((needed[0] or needed[1], *needed[2:])) if need)
        changes = _Paths.apply(ctx.equation.with_tangents(moved, False), y0, times, *rest)[len(slopes) :]
        parts = [(c * s.unsqueeze(2)).sum(1).flatten(2).sum(2) for c, s in zip(changes, slopes, strict=True)]
        arrays = [(y0, *rest)[i] for i in moved]
        whole = sum(parts[1:], parts[0]).split([a[0].numel() for a in arrays], 1)
        out = dict(
            zip(moved, (part.reshape(a.shape) for part, a in zip(whole, arrays, strict=True)), strict=True)
        )
        when = None
        if needed[1]:  # a later start is another first value
            first, later = ctx.equation.speed(times, y0, path, rest)
            when = torch.cat([-(out[0] * first).sum(-1, keepdim=True), (slopes[0] * later).sum(-1)], 1)
        return None, out.get(0), when, *(out.get(i + 1) for i in range(len(rest)))

    @staticmethod
    def jvp(ctx, _, *tangents):
        y0, times, *rest, path = ctx.saved_tensors
        first = tangents[0]
        if tangents[1] is not None:
            speed, later = ctx.equation.speed(times, y0, path, rest)
            moved_start = -speed * tangents[1][:, :1]
            first = moved_start if first is None else first + moved_start
        along = (first, *tangents[2:])
        moved = tuple(i for i, t in enumerate(along) if t is not None)
        given = [along[i].contiguous() for i in moved]
        found = _Paths.apply(ctx.equation.with_tangents(moved, True), y0, times, *rest, *given)
        changes = [change.squeeze(2) for change in found[len(found) // 2 :]]
        if tangents[1] is not None:
            changes[0] = changes[0] + later * tangents[1][:, 1:, None]
        return tuple(changes)

    @staticmethod
    def vmap(info, in_dims, equation, *arrays):
        def merged(array, dim):
            array = array.expand(info.batch_size, *array.shape) if dim is None else array.movedim(dim, 0)
            return array.reshape(-1, *array.shape[2:]).contiguous()

        found = _Paths.apply(equation, *(merged(a, dim) for a, dim in zip(arrays, in_dims[1:], strict=True)))
        return tuple(out.unflatten(0, (info.batch_size, -1)) for out in found), (0,) * len(found)
