"""Missing values of observed sites: which of them have to be imputed, and the latent site that they become."""

from __future__ import annotations

import numpy as np
import torch
from pyro.distributions import constraints as C

from ...errors import UnsupportedError, explain
from .laws import Law


class Missing(Law):
    """Law of the missing elements of an observed array.

    Its log density is zero: the observed site, completed by these values, has the whole density.
    """

    def __init__(self, fn, where):
        self.fn, self.where = fn, torch.from_numpy(np.array(where))
        super().__init__((int(where.sum()),))

    @C.dependent_property(is_discrete=False, event_dim=0)
    def support(self):
        support = self.fn.support
        while isinstance(support, torch.distributions.constraints._IndependentConstraint):
            support = support.base_constraint
        if support is C.real_vector:
            return C.real
        if support.event_dim or support.is_discrete:
            raise NotImplementedError
        bounds = [getattr(support, name, None) for name in ("lower_bound", "upper_bound")]
        bounds = [b for b in bounds if b is not None]
        if not any(np.ndim(b) for b in bounds):
            return support
        return type(support)(*(torch.as_tensor(b).broadcast_to(self.where.shape)[self.where] for b in bounds))

    def log_prob(self, value):
        return torch.zeros(value.shape, dtype=value.dtype)

    def sample(self, sample_shape=()):
        shape = (*sample_shape, *self.where.shape)
        return self.fn.sample(torch.Size(sample_shape)).broadcast_to(shape)[..., self.where]


def imputed(program, run_model) -> set[str]:
    """Observed sites whose missing values something else depends on, or only part of whose event is missing.

    Parameters
    ----------
    program : Program
    run_model : callable
        ``run_model(data, stand_in) -> Record``.

    Raises
    ------
    UnsupportedError
        If such a site cannot be imputed.
    """
    stand_ins, laws, wheres = {}, {}, {}

    def note(name, made, where):
        wheres[name] = where
        stand_ins[name] = torch.zeros(where.shape, dtype=torch.float64, requires_grad=True)
        return torch.where(torch.from_numpy(np.array(where)), stand_ins[name], made)

    with torch.enable_grad():
        record = run_model(note)
        laws = {name: record.nodes[name].fn for name in wheres}
        terms = [n.value if n.role == "deterministic" else n.log_prob for n in record.nodes.values()]
        total = sum((t.double().sum() for t in terms), torch.zeros(()))
        needed = set()
        if stand_ins and total.requires_grad:
            found = torch.autograd.grad(total, list(stand_ins.values()), allow_unused=True)
            needed = {name for name, g in zip(stand_ins, found, strict=True) if g is not None}
    for name, where in wheres.items():
        events = where.reshape(-1, int(np.prod(laws[name].event_shape, dtype=int)))
        partial = bool((events.any(1) & ~events.all(1)).any())
        if name in needed or partial:
            needed.add(name)
            _check(name, laws[name], where, partial)
    return needed


def _check(name, fn, where, partial):
    discrete = bool(fn.support.is_discrete)
    try:
        ok = not discrete and Missing(fn, where).support is not None
    except NotImplementedError:
        ok = False
    if ok:
        return
    rows = sorted({int(r[0]) if len(r) else 0 for r in np.argwhere(where)})
    why = "a part of a joint value is missing" if partial else "the model uses the value elsewhere"
    raise UnsupportedError(
        explain(
            f"site '{name}'",
            "a continuous outcome with elementwise support, where missing values have to be imputed",
            f"a {'discrete' if discrete else 'constrained'} one with missing rows {rows[:8]}"
            f"{'…' if len(rows) > 8 else ''}; {why}",
            "drop those rows, or leave the outcome out of the rest of the model",
        )
    )
