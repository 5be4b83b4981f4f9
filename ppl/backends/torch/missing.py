"""Missing values of observed sites: which of them have to be imputed, and the latent site that they become."""

from __future__ import annotations

import numpy as np
import torch
from pyro.distributions import constraints as C

from ...running import sites_to_impute
from ..wrappers import elements
from .codes import Codes
from .laws import Law
from .provenance import Walk


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
        while isinstance(support, C.independent):
            support = support.base_constraint
        if support is C.real_vector:
            return C.real
        if support.event_dim or support.is_discrete:
            raise NotImplementedError
        ends = (getattr(support, name, None) for name in ("lower_bound", "upper_bound"))
        bounds = [b for b in ends if b is not None]
        if not any(np.ndim(b) for b in bounds):
            return support
        return type(support)(*(torch.as_tensor(b).broadcast_to(self.where.shape)[self.where] for b in bounds))

    def log_prob(self, value):
        return torch.zeros(value.shape, dtype=value.dtype)

    def sample(self, sample_shape=()):
        shape = (*sample_shape, *self.where.shape)
        return self.fn.sample(torch.Size(sample_shape)).broadcast_to(shape)[..., self.where]


def filled(value, where: np.ndarray, part):
    """`value` with `part` where it is missing; no data-dependent shapes."""
    place = np.zeros(where.shape, np.int64)
    place[where] = np.arange(int(where.sum()))
    return torch.where(torch.from_numpy(np.array(where)), part[torch.from_numpy(place)], value)


def imputed(run_model) -> set[str]:
    """Observed sites whose missing values something else depends on, or only part of whose event is missing.

    Parameters
    ----------
    run_model : callable
        ``run_model(data, stand_in) -> Record``.

    Raises
    ------
    UnsupportedError
        If such a site cannot be imputed.
    """
    stand_ins, wheres = {}, {}

    def note(name, made, where):
        wheres[name] = where
        if not made.dtype.is_floating_point:
            return made
        stand_ins[name] = torch.zeros(where.shape, dtype=torch.float64, requires_grad=True)
        return torch.where(torch.from_numpy(np.array(where)), stand_ins[name], made)

    with torch.enable_grad():
        nodes = run_model(note).nodes
        terms = _terms(nodes)
        total = sum((t.double().sum() for t in terms), torch.zeros(()))
        reached = set()
        if stand_ins and total.requires_grad:
            found = torch.autograd.grad(total, list(stand_ins.values()), allow_unused=True)
            reached = {name for name, g in zip(stand_ins, found, strict=True) if g is not None}
    reached |= _reached(run_model, wheres.keys() - stand_ins.keys())
    return sites_to_impute(wheres, {name: nodes[name].fn for name in wheres}, reached, Missing, elements)


def _terms(nodes) -> list:
    return [n.value if n.role == "deterministic" else n.log_prob for n in nodes.values()]


def _reached(run_model, names) -> set[str]:
    """Sites of whole numbers, which have no derivative, whose missing values something else depends on."""
    if not names:
        return set()

    def note(name, made, where):
        if name not in names:
            return made
        return torch.where(torch.from_numpy(np.array(where)), walk.source(("missing", name), made), made)

    with torch.no_grad(), Walk(Codes({})) as walk:
        states = [walk.state(term) for term in _terms(run_model(note).nodes)]
    return {name for state in states for kind, name in state if kind == "missing"}
