"""Distributions that Pyro lacks, or whose tails it loses to rounding, in Pyro's own protocol."""

from __future__ import annotations

import numpy as np
import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution

from ... import math
from ...distributions.formula import parameter_constraints, rebuild
from ..refusals import check_shape, check_vector, improper, not_exchangeable, without_sampler
from .constraints import positive_ordered_vector
from .namespace import asarray


class Law(TorchDistribution):
    """Base: shapes from the parameters, expansion by broadcasting."""

    arg_constraints: dict = {}  # noqa: RUF012  a dict in every law of PyTorch; nothing writes to this one
    has_rsample = False
    has_enumerate_support = False

    def __init__(self, batch_shape=(), event_shape=()):
        super().__init__(torch.Size(batch_shape), torch.Size(event_shape), validate_args=False)

    def expand(self, batch_shape, _instance=None):
        return dist.ExpandedDistribution(self, torch.Size(batch_shape))

    def rsample(self, sample_shape=()):
        return self.sample(sample_shape)


class LKJCholesky(dist.LKJCholesky):
    """Pyro's, with draws that have its density: PyTorch's own do not from three rows on."""

    def sample(self, sample_shape=()):
        shape = self._extended_shape(torch.Size(sample_shape))
        row = torch.arange(self.dim, dtype=self.concentration.dtype)
        others = self.concentration[..., None] + (self.dim - 1 - row) / 2
        length = dist.Beta((row / 2).clamp_min(0.5), others, validate_args=False)
        square = length.expand(shape[:-1]).sample() * (row > 0)
        direction = torch.randn(shape, dtype=row.dtype).tril(-1)
        direction = direction / direction.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(row.dtype).tiny)
        return direction * square.sqrt()[..., None] + torch.diag_embed(torch.sqrt(1 - square))


class MixtureSameFamily(dist.MixtureSameFamily):
    """Pyro's, on the support of its components."""

    @constraints.dependent_property
    def support(self):
        return self.component_distribution.support


def mixture(mixing, component):
    """A mixture with the component summed out."""
    return MixtureSameFamily(mixing, component, validate_args=False)


def has_own_bounds(support) -> bool:
    """Whether a support has a bound for each element."""
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    return any(np.ndim(getattr(support, name, 0)) for name in ("lower_bound", "upper_bound"))


def boolean(mask):
    """A mask as a tensor."""
    return asarray(mask).bool()


class Ordered(Law):
    """Independent draws, sorted; or, where elements differ, their density on ordered vectors."""

    def __init__(self, base, exchangeable, positive):
        check_vector(base)
        self.base, self.exchangeable, self.positive = base, exchangeable, positive
        super().__init__(base.batch_shape[:-1], base.batch_shape[-1:])

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self):
        return positive_ordered_vector if self.positive else constraints.ordered_vector

    def log_prob(self, value):
        count = self.event_shape[0]
        constant = float(np.log(np.arange(1, count + 1)).sum()) if self.exchangeable else 0.0
        return self.base.log_prob(value).sum(-1) + constant

    def sample(self, sample_shape=()):
        if not self.exchangeable:
            raise not_exchangeable()
        return torch.sort(self.base.sample(torch.Size(sample_shape)), dim=-1).values


class ImproperUniform(Law):
    """Density one on a set."""

    def __init__(self, support, batch_shape, event_shape):
        self.own_support = support
        super().__init__(batch_shape, event_shape)

    @constraints.dependent_property
    def support(self):
        return self.own_support

    def log_prob(self, value):
        shape = value.shape[: value.ndim - len(self.event_shape)]
        return torch.zeros(shape, dtype=value.dtype)

    def sample(self, sample_shape=()):
        raise improper()


class Unit(Law):
    """A term of the log density without a value."""

    support = constraints.real

    def __init__(self, log_factor):
        self.log_factor = log_factor
        super().__init__(log_factor.shape, (0,))

    def log_prob(self, value=None):
        return self.log_factor


class Custom(Law):
    """A user's own density and sampler."""

    def __init__(self, density, draw, own_support, params, batch_shape, event_shape):
        self.density, self.draw, self.own_support, self.params = density, draw, own_support, params
        super().__init__(batch_shape, event_shape)

    @constraints.dependent_property
    def support(self):
        return self.own_support

    def log_prob(self, value):
        log_prob = self.density(value, *self.params)
        batch = value.shape[: value.ndim - len(self.event_shape)]
        check_shape("log_prob", torch.broadcast_shapes(batch, self.batch_shape), np.shape(log_prob))
        if self.event_shape:
            return log_prob
        return torch.where(self.own_support.check(value), log_prob, -np.inf)

    def sample(self, sample_shape=()):
        if self.draw is None:
            raise without_sampler()
        shape = tuple(sample_shape) + tuple(self.batch_shape) + tuple(self.event_shape)
        return self.draw(Random(torch.float64), *self.params, shape)


class Random:
    """`distributions.formula.Random` from PyTorch's stream."""

    def __init__(self, dtype):
        self.dtype = dtype

    def parts(self, count):
        """The one stream, as often."""
        return (self,) * count

    def categorical(self, logits, shape):
        law = torch.distributions.Categorical(logits=logits, validate_args=False)
        lead = len(shape) - len(law.batch_shape)
        law = law.expand(shape[lead:])
        return law.sample(torch.Size(shape[:lead])).to(self.dtype)

    def uniform(self, shape):
        return torch.rand(tuple(shape), dtype=self.dtype).clamp_min(torch.finfo(self.dtype).tiny)

    def normal(self, shape):
        return torch.randn(tuple(shape), dtype=self.dtype)

    def exponential(self, shape):
        return -torch.log(self.uniform(shape))

    def gamma(self, concentration, shape):
        concentration = math.like(concentration, self.normal(()))
        concentration = concentration.broadcast_to(tuple(shape)).contiguous()
        return torch._standard_gamma(concentration)  # noqa: SLF001  PyTorch's Gamma law would clamp what it draws

    def poisson(self, rate, shape):
        return torch.poisson(math.like(rate, self.normal(())).broadcast_to(tuple(shape)).contiguous())

    def binomial(self, total_count, probs, shape):
        like = self.normal(())
        total = math.like(total_count, like).broadcast_to(tuple(shape)).contiguous()
        return torch.binomial(total, math.like(probs, like).broadcast_to(tuple(shape)).contiguous())


class Backed:
    """A Pyro law in the words of `distributions.formula.Law`."""

    def __init__(self, law, support):
        self.law, self.support = law, support
        self.batch_shape, self.event_shape = tuple(law.batch_shape), tuple(law.event_shape)
        self.is_discrete, self.event_dim = support.is_discrete, len(self.event_shape)

    def log_density(self, value):
        support = self.law.support
        if self.event_dim:
            return self.law.log_prob(value)
        inside = support.check(value)
        safe = torch.where(inside, value, feasible(support, value))
        return torch.where(inside, self.law.log_prob(safe), -np.inf)

    def draw(self, random, shape):
        return self.law.expand(torch.Size(shape)).sample()


def feasible(support, like):
    """A value inside a scalar support, of the shape of `like`."""
    low, high = getattr(support, "lower_bound", None), getattr(support, "upper_bound", None)
    if low is not None and high is not None:
        inside = low if getattr(support, "is_discrete", False) else (low + high) / 2
    elif low is not None:
        inside = low + 1
    else:
        inside = 0.0 if high is None else high - 1
    return torch.zeros_like(like) + inside


class Written(Law):
    """Any law whose density is written in ``er.math``, see `distributions.formula.Formula`."""

    def __init__(self, structure, leaves, own_support, wrap, values):
        self.structure, self.leaves, self.own_support = structure, leaves, own_support
        self.values, self.has_enumerate_support = values, values is not None
        self.arg_constraints = parameter_constraints(structure)
        self.declared = rebuild(structure, leaves, wrap)
        super().__init__(self.declared.batch_shape, self.declared.event_shape)

    @property
    def declared_name(self):
        return self.structure[0].__name__

    @constraints.dependent_property
    def support(self):
        return self.own_support

    def enumerate_support(self, expand=True):
        values = torch.arange(self.values.start, self.values.stop).reshape(-1, *[1] * len(self.batch_shape))
        return values.expand(len(values), *self.batch_shape) if expand else values

    def log_prob(self, value):
        return self.declared.log_density(value if value.dtype.is_floating_point else value.to(torch.float64))

    @property
    def mean(self):
        return torch.broadcast_to(
            self.declared.mean, self.batch_shape + self.event_shape
        )  # AttributeError of a law that does not know it

    def sample(self, sample_shape=()):
        value = self.declared.draw(Random(torch.float64), tuple(sample_shape) + tuple(self.batch_shape))
        return value.long() if self.support.is_discrete else value


class HalfNormal(dist.HalfNormal):
    """Pyro's, on the open half line, as on the other backend."""

    support = constraints.positive


class HalfCauchy(dist.HalfCauchy):
    """Pyro's, on the open half line."""

    support = constraints.positive


class Exponential(dist.Exponential):
    """Pyro's, on the open half line."""

    support = constraints.positive


class Gamma(dist.Gamma):
    """Pyro's, on the open half line."""

    support = constraints.positive  # type: ignore[assignment]  # any set: PyTorch's stub names the class of its own


class Bernoulli(dist.Bernoulli):
    """Pyro's, for values of any type, and in one pass over the rows."""

    def log_prob(self, value):
        sign = 2 * value.to(self.logits.dtype) - 1
        return torch.nn.functional.logsigmoid(sign * self.logits)


class Binomial(dist.Binomial):
    """Pyro's, for values of any type."""

    def log_prob(self, value):
        return super().log_prob(value.to(self.logits.dtype))


class Poisson(dist.Poisson):
    """Pyro's, for values of any type."""

    def log_prob(self, value):
        return super().log_prob(value.to(self.rate.dtype))


class StudentT(dist.StudentT):
    """Pyro's, whose own chi-square law checks its parameter whatever it is told, which no recording survives."""

    def __init__(self, df, loc, scale, validate_args=None):
        self.df, self.loc, self.scale = torch.broadcast_tensors(df, loc, scale)
        self._chi2 = dist.Chi2(self.df, validate_args=False)
        torch.distributions.Distribution.__init__(self, self.df.shape, validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        df, loc, scale = (part.expand(batch_shape) for part in (self.df, self.loc, self.scale))
        return StudentT(df, loc, scale, validate_args=False)
