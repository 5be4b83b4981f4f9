"""Declarations to the distributions of a backend's library: what does not depend on the library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import constraints, distributions
from ..distributions.base import Expanded, Independent, Masked
from ..distributions.formula import Formula, finite_values, flatten, rebuild, whole_numbers
from ..errors import ShapeError, UnsupportedError, explain
from .supports import Supports


@dataclass(frozen=True)
class Lowering:
    """The way from declarations to one library.

    Parameters
    ----------
    where, library : str
        The backend and its library in words, for messages.
    kind : type
        Base class of the library's distributions, which are taken as they are.
    laws : module
        The backend's classes ``Ordered``, ``ImproperUniform``, ``Custom``, ``Written`` and ``Backed``; ``mixture(mixing,
        component)``; ``boolean(mask)``, a mask as an array; and ``has_own_bounds(support)``, whether a support cannot be
        that of a mixture, since it depends on the component.
    rows : mapping
        Class of a declaration to what makes the library's distribution of it; a new one that is no formula is a row here.
    supports : Supports
        Translations of constraints, in both directions.
    asarray : callable
        ``asarray(value)``: a parameter as it was given, as an array that the library computes with.
    leaf : callable
        ``leaf(value, whole)``: a parameter of a formula as an array of the library, floating-point unless `whole`.
    trouble : tuple of type
        What the library raises where shapes do not broadcast.
    words : tuple of str
        What it says then.
    """

    where: str
    library: str
    kind: type
    laws: Any
    rows: Mapping[type, Callable[[Any], Any]]
    supports: Supports
    asarray: Callable[[Any], Any]
    leaf: Callable[[Any, bool], Any]
    trouble: tuple[type[Exception], ...]
    words: tuple[str, ...]

    def lower(self, declared: Any) -> Any:
        """The library's distribution of a declaration; one of the library is returned as it is.

        Raises
        ------
        UnsupportedError
            If no row knows the class, or a mixture's components cannot be mixed.
        ShapeError
            If parameters do not broadcast.
        """
        if isinstance(declared, self.kind):
            return declared
        if isinstance(declared, Formula):
            declared = declared.reduced
        make = self._written if isinstance(declared, Formula) else self.table.get(type(declared))
        if make is None:
            raise UnsupportedError(
                explain(
                    self.where,
                    f"a distribution of elboroom or of {self.library}",
                    f"an object of class {type(declared).__module__}.{type(declared).__qualname__}",
                    "use one of elboroom.ppl.distributions, or CustomDist for a density of your own",
                )
            )
        try:
            return make(declared)
        except self.trouble as error:
            shapes = {name: np.shape(value) for name, value in declared.params.items() if np.ndim(value)}
            if len(shapes) < 1 or not any(word in str(error) for word in self.words):
                raise
            got = ", ".join(f"{name} of shape {tuple(shape)}" for name, shape in shapes.items())
            raise ShapeError(
                explain(
                    type(declared).__name__,
                    "parameters whose shapes broadcast",
                    got,
                    "check the lengths, or insert an axis with er.math.expand_dims",
                )
            ) from error

    @property
    def table(self) -> dict[type, Callable[[Any], Any]]:
        """What every class of declaration becomes that is no formula."""
        return {
            **self.rows,
            distributions.CustomDist: self._custom,
            distributions.ImproperUniform: self._improper,
            distributions.MixtureSameFamily: self._mixture,
            distributions.Ordered: self._ordered,
            Expanded: lambda declared: self.lower(declared.base).expand(declared.shape),
            Independent: lambda declared: self.lower(declared.base).to_event(declared.num_axes),
            Masked: self._masked,
        }

    def _written(self, declared):
        structure, leaves = flatten(declared)
        whole = whole_numbers(structure)
        leaves = {
            path: value if isinstance(value, self.kind) else self.leaf(value, path in whole)
            for path, value in leaves.items()
        }
        support = self.supports.running(rebuild(structure, leaves))
        return self.laws.Written(structure, leaves, support, self._backed, finite_values(declared))

    def _backed(self, declared):
        """A law inside a formula, in the words of `formula.Law`."""
        law = self.lower(declared)
        given = law is declared
        return self.laws.Backed(law, self.supports.ours(law.support) if given else declared.support)

    def _mixture(self, declared):
        mixing = self.lower(declared.mixing_distribution)
        component = self.lower(declared.component_distribution)
        count = np.shape(next(v for k, v in vars(mixing).items() if k in {"probs", "logits"}))[-1]
        if tuple(component.batch_shape[-1:]) != (count,):
            raise ShapeError(
                explain(
                    "MixtureSameFamily",
                    f"a component law whose last batch axis has length {count}",
                    f"batch shape {tuple(component.batch_shape)}",
                    "give as many components as weights",
                )
            )
        if self.laws.has_own_bounds(component.support):
            raise UnsupportedError(
                explain(
                    "MixtureSameFamily",
                    "components whose support is free of parameters",
                    f"{declared.component_distribution!r} on {declared.support.words}",
                    "write the mixture as a CustomDist with er.math.logsumexp",
                )
            )
        return self.laws.mixture(mixing, component)

    def _ordered(self, declared):
        positive = declared.support == constraints.positive_ordered_vector
        return self.laws.Ordered(self.lower(declared.base), self._exchangeable(declared.base), positive)

    def _exchangeable(self, base) -> bool:
        """Whether the elements along the last batch axis share their parameters."""
        if isinstance(base, Expanded):
            inner = tuple(self.lower(base.base).batch_shape)
            return not inner or (inner[-1] == 1 and base.shape[-1] > 1) or self._exchangeable(base.base)
        if type(base).__name__ == "ExpandedDistribution":
            return tuple(base.base_dist.batch_shape[-1:]) in ((), (1,))
        return tuple(self.lower(base).batch_shape[-1:]) == (1,)

    def _improper(self, declared):
        support = self.supports.theirs(declared.support)
        return self.laws.ImproperUniform(support, declared.batch_shape, declared.event_shape)

    def _custom(self, declared):
        cut = len(declared.shape) - declared.event_dim
        return self.laws.Custom(
            declared.log_prob,
            declared.sample,
            self.supports.theirs(declared.support),
            tuple(self.asarray(p) for p in declared.params),
            declared.shape[:cut],
            declared.shape[cut:],
        )

    def _masked(self, declared):
        mask = declared.mask_values
        return self.lower(declared.base).mask(mask if isinstance(mask, bool) else self.laws.boolean(mask))
