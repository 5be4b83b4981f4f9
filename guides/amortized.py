"""Encoders: a network from the data of a row to the law of its latent quantities.

References
----------
Kingma & Welling (2014), Auto-encoding variational Bayes, ICLR. Rezende, Mohamed & Wierstra (2014), Stochastic
backpropagation and approximate inference in deep generative models, ICML. Kim, Wiseman, Miller, Sontag & Rush (2018),
Semi-amortized variational autoencoders, ICML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any

import numpy as np

from ..ppl import math as m
from ..ppl.codebook import VECTORS
from ..ppl.errors import GuideError, ShapeError, explain
from ..ppl.modules import fitting
from ..ppl.nn import MLP
from .laws import CLASSES, HEADS, Law
from .thresholds import ENCODER_UNITS, FARTHEST, LEAST_ENCODER, MOST_ENCODER


@dataclass(frozen=True)
class Amortized:
    """A family for the latent quantities of rows: an encoder gives the law of each from its data.

    Parameters
    ----------
    module : str, network or mapping, optional
        Name of an `elboroom.module` of the model, or a network: of `elboroom.nn`, or a module of equinox, flax ``nnx`` or
        PyTorch (which a file cannot describe: a loaded posterior has no `latent` unless the model names it); sized from the model
        where it is left out. Of a row's data, flattened and one after the other, it makes twice as many numbers as the row has
        unconstrained coordinates: means, then log sds; with ``within="full-rank"`` the entries below the diagonal of a Cholesky
        factor follow, in units of its rows' sds; with ``within="chain"`` eight weights of each coordinate follow, by which it leans on as many
        before it; with ``within="flow"`` dense ones and two for each coordinate more, which say how the row's law is bent.

        Of several views of a row a mapping, from an argument or a tuple of them to one of these, None for one that is sized:
        each makes such numbers, the means in units of its sds, and the law of a row is their product with that of a row
        of which nothing is seen, which is learned (Wu & Goodman 2018). A view of which a row has nothing has no say.
    within : {"mean-field", "full-rank", "chain", "flow"}
        Law of the coordinates of a row; of several views one of the first two. A chain is for states that follow one another, of which there
        are too many for a dense law. See `Quantized` for the entries of a codebook.
    sees : sequence of str, optional
        Arguments of the model that run along the plate and that the encoder sees; by default all of them. Views name theirs.
    iterations : int, default 0
        Steps that the law of each row takes after training, from the encoder's answer up its own bound (Kim et al. 2018): some
        hundreds make it the best law of its kind for that row.
    dropout : mapping of str to float, optional
        Share of the rows of a step for which an argument that the encoder sees is taken away, drawn anew each time, so that it knows rows
        that lack it: ``{"c": 0.1}``. An outcome that is taken away is taken out of the density too, so that these rows have the posterior
        that is theirs without it. What is no outcome the model is given all the same: without it only
        ``latent.encode(x, weigh=False)`` answers, unjudged, by the average of what it says over that.

    Raises
    ------
    GuideError
        For another law, a number of steps that is none, views that are no views, or shares that are none.

    Examples
    --------
    >>> Amortized(within="full-rank").within
    'full-rank'
    """

    module: Any = None
    within: str = "mean-field"
    sees: Sequence[str] | None = None
    iterations: int = 0
    dropout: Mapping[str, float] = field(default_factory=dict)

    name = "amortized"
    encodes = True
    point = coded = False

    def __post_init__(self):
        kinds = [
            name for name, head in HEADS.items() if head.family == self.name
        ]  # of bits where all units are
        if self.within not in kinds:
            what = f"within of er.{type(self).__name__}"
            raise GuideError(explain(what, f"one of {kinds}", f"{self.within!r}"[:80], "choose one"))
        if self.sees is not None:
            if isinstance(self.sees, str) or not all(isinstance(label, str) for label in self.sees):
                raise GuideError(explain("sees of er.Amortized", "a list of names of arguments",
                                         f"{self.sees!r}"[:80], "write sees=['x']"))  # fmt: skip
            object.__setattr__(self, "sees", tuple(self.sees))
        self._check_views()
        whole = isinstance(self.iterations, (int, np.integer)) and not isinstance(self.iterations, bool)
        if not whole or self.iterations < 0:
            raise GuideError(explain("iterations of er.Amortized", "a number of steps, 0 or more",
                                     f"{self.iterations!r}"[:80], "write iterations=300, say"))  # fmt: skip
        if self.point and self.iterations:
            got = f"iterations={self.iterations}"
            raise GuideError(
                explain(f"er.{type(self).__name__}", "no steps of each row", got, "leave them out")
            )
        self._check_dropout()

    def _check_dropout(self) -> None:
        shares = self.dropout.values() if isinstance(self.dropout, Mapping) else ()
        numbers = all(isinstance(v, Real) and not isinstance(v, bool) and 0 < v < 1 for v in shares)
        if not isinstance(self.dropout, Mapping) or not numbers:
            words = "a mapping from arguments of the model to shares of rows, above 0 and below 1"
            raise GuideError(explain("dropout of er.Amortized", words, f"{self.dropout!r}"[:80],
                                     "write dropout={'c': 0.1}, say"))  # fmt: skip

    @property
    def views(self) -> dict[tuple[str, ...], Any]:
        """Arguments of each view to its module; empty of an encoder that sees a row as a whole."""
        if not isinstance(self.module, Mapping):
            return {}
        return {(key,) if isinstance(key, str) else tuple(key): net for key, net in self.module.items()}

    def _check_views(self) -> None:
        if not isinstance(self.module, Mapping):
            return
        keys = [label for view in self.views for label in view]
        words = "a mapping from arguments of the model to modules, each argument in one of them"
        if not keys or not all(isinstance(key, str) for key in keys) or len(set(keys)) < len(keys):
            raise GuideError(explain("module of er.Amortized", words, f"{self.module!r}"[:80],
                                     "write {'x': None, 'y': None}, say"))  # fmt: skip
        if self.sees is not None:
            raise GuideError(explain("sees of er.Amortized", "none beside views, which name what they see",
                                     f"{list(self.sees)}"[:80], "leave it out"))  # fmt: skip
        if not HEADS[self.within].multiplies:
            kinds = [name for name, head in HEADS.items() if head.multiplies]
            raise GuideError(explain("within of er.Amortized", f"one of {kinds} for views, whose laws are multiplied",
                                     repr(self.within), "choose one"))  # fmt: skip

    def bind(self, target) -> Any:
        """Refused: rows are needed, which `elboroom.fit` finds."""
        raise GuideError(
            explain("er.Amortized", "the guide of er.fit, or of a site in its mapping", "a family on its own",
                    "pass guide=er.Amortized(...) to er.fit")
        )  # fmt: skip


@dataclass(frozen=True)
class Quantized(Amortized):
    """A family for rows whose latent vectors are entries of a `elboroom.Codebook`: the nearest to what an encoder makes.

    Parameters
    ----------
    module, sees
        See `Amortized`; the module makes as many numbers as a row has units, and has no views.
    within : {"quantized"}
    iterations : {0}
    decay : float, default 0.99
        Share of what the codes were that stays at each step; the rest is the mean of what comes nearest to them in a batch, so that 0
        makes a step of Lloyd's algorithm.
    commitment : float, default 0.25
        Nats that it costs the encoder to be at a squared distance of 1 from its code.

    Raises
    ------
    GuideError
        For a decay or commitment that is none, views, or another law.

    Notes
    -----
    Codes of which hardly a row comes nearest begin anew at what the encoder makes of other rows. All rows are at one place: no
    posterior is approximated, and none of it is trusted. The bound is that of the model in which codes have the probabilities of the
    codebook's prior.

    References
    ----------
    van den Oord, Vinyals & Kavukcuoglu (2017), Neural discrete representation learning, NeurIPS, with codes by moving averages
    (appendix A.1). Williams et al. (2020), Hierarchical quantized autoencoders, NeurIPS, on codes that begin anew.

    Examples
    --------
    >>> Quantized().decay
    0.99
    """

    within: str = "quantized"
    decay: float = 0.99
    commitment: float = 0.25

    name = "quantized"
    point = coded = True

    def __post_init__(self):
        super().__post_init__()
        what = "er.Quantized"
        numbers = all(isinstance(v, Real) and not isinstance(v, bool) for v in (self.decay, self.commitment))
        if not numbers or not 0 <= self.decay < 1 or not 0 <= self.commitment < np.inf:
            raise GuideError(explain(what, "a decay from 0 to below 1 and a commitment of 0 or more",
                                     f"decay={self.decay!r}, commitment={self.commitment!r}"[:80], "correct them"))  # fmt: skip


@dataclass(frozen=True)
class Adversarial(Amortized):
    """A family for rows that are each at one place, all of them together where the prior is: an adversarial autoencoder.

    Beside the decoder and the encoder a critic is trained to tell places of rows from draws of the prior, and the encoder to deceive it.

    Parameters
    ----------
    module, sees
        See `Amortized`; the module makes as many numbers as a row has units, and has no views.
    within : {"point"}
    iterations : {0}
    critic : network, optional
        Of `elboroom.nn`: from the coordinates of a row to one number, the log odds that it was drawn from the prior; sized where it is
        left out.

    Raises
    ------
    GuideError
        For views, steps, another law, or a critic that is no network.

    Notes
    -----
    A step goes up E log p(x | z(x)) + log sigmoid(D(z(x))) in the arrays of model and encoder, and up E log sigmoid(D(z)) + log
    sigmoid(-D(z(x))), z drawn from the prior, in those of the critic, at twice the rate. The divergence of all rows together from the
    prior takes the place of that of each: no posterior is approximated, and none of it is trusted. The prior may depend on nothing that is
    learned, nor on data.

    References
    ----------
    Makhzani, Shlens, Jaitly, Goodfellow & Frey (2016), Adversarial autoencoders, ICLR workshop. Heusel et al. (2017), GANs trained by a
    two time-scale update rule, NeurIPS.

    Examples
    --------
    >>> Adversarial().within
    'point'
    """

    within: str = "point"
    critic: Any = None

    name = "adversarial"
    point = True

    def __post_init__(self):
        super().__post_init__()
        own = all(callable(getattr(self.critic, word, None)) for word in ("arrays", "apply"))
        if self.critic is not None and not own:
            got = f"{self.critic!r}"[:80]
            raise GuideError(
                explain(
                    "critic of er.Adversarial", "a network of er.nn", got, "write er.nn.MLP(8, [128], 1), say"
                )
            )


@dataclass(frozen=True)
class Sized:
    """A network sized from the model: a linear map, and beside it layers with an activation between them.

    Where a linear encoder is right, as it is for linear models, nothing has to be unlearned.
    """

    num_in: int
    num_out: int
    num_units: int

    @property
    def deep(self) -> MLP:
        """The layers."""
        return MLP(self.num_in, [self.width, self.width], self.num_out)

    @property
    def width(self) -> int:
        """Units of a layer: a power of two by the larger of its ends."""
        wanted = max(self.num_in, ENCODER_UNITS * self.num_units)
        return int(np.clip(2 ** np.ceil(np.log2(wanted)), LEAST_ENCODER, MOST_ENCODER))

    def arrays(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Initial weights; the layers begin at nothing."""
        out = {f"deep.{key}": value for key, value in self.deep.arrays(rng).items()}
        last = max(key for key in out if key.endswith("weight"))
        out[last] = 0.1 * out[last]
        edge = np.sqrt(6.0 / (self.num_in + self.num_out))
        linear = rng.uniform(-edge, edge, (self.num_out, self.num_in))
        linear[self.num_units :] *= 0.1  # sds of all rows begin alike
        return {**out, "linear": linear}

    def apply(self, arrays: Mapping[str, Any], x: Any) -> Any:
        """Rows ``(..., num_in)`` to ``(..., num_out)``."""
        inner = {key.removeprefix("deep."): value for key, value in arrays.items() if key != "linear"}
        return self.deep.apply(inner, x) + m.matmul(x, m.matrix_transpose(arrays["linear"]))


def family_with(within: str, *settings: Any) -> Amortized:
    """The family whose laws are called so, with a module, what it sees and its steps."""
    module, sees, iterations = settings
    families = {family.name: family for family in (Amortized, Quantized, Adversarial)}
    return families[HEADS[within].family](module, within, sees, iterations)


RICHER = ("flow",)
"""Laws of rows that are tried where the weights of dense ones fail."""
HEAD = ":law."
"""What stands between the name of an encoder and those of arrays of its laws."""


@dataclass(frozen=True, eq=False)
class Encoder:
    """An encoder with its layout fixed: from rows of data to the law of their coordinates.

    Attributes
    ----------
    network : Network
    prefix : str
        What the names of its weights begin with among the learned arrays.
    keys : tuple of str
        Of its weights.
    inputs : mapping
        Argument to ``(centre, scale, codes)``: what its numbers are taken from and divided by, and how many values it has
        where it holds codes, 0 elsewhere.
    num_units : int
        Coordinates of a row.
    within : str
        See `Amortized`.
    masks : bool
        Whether it sees which numbers are missing, beside zeros in their place.
    gaps : frozenset of str
        Arguments in which numbers may be missing.
    scaled : bool
        Whether inputs are scaled, and no farther out than the network was made for.
    iterations : int
        See `Amortized`.
    codebook : str
        Name of the codebook whose entries its laws are at; empty of others.
    classes : int
        Of one-hot vectors; 0 of others.
    """

    network: Any
    prefix: str
    keys: tuple[str, ...]
    inputs: Mapping[str, tuple[Any, Any, int]]
    num_units: int
    within: str = "mean-field"
    masks: bool = False
    gaps: frozenset[str] = field(default_factory=frozenset)
    scaled: bool = False
    iterations: int = 0
    codebook: str = ""
    classes: int = 0

    @property
    def point(self) -> bool:
        """Whether each row is at one place."""
        return HEADS[self.within].point

    @property
    def objection(self) -> str:
        """Why nothing of the rows' laws is trusted; empty where they can be."""
        return HEADS[self.within].objection

    @property
    def bits(self) -> bool:
        """Whether the units of rows are bits, independent ones or those of one-hot vectors."""
        return HEADS[self.within].bits

    @property
    def num_states(self) -> int:
        """That a row of bits can have."""
        return self.classes ** (self.num_units // self.classes) if self.classes else 2**self.num_units

    def states(self) -> np.ndarray:
        """All of them, shape ``(num_states, num_units)``."""
        base, places = max(self.classes, 2), self.num_units // max(self.classes, 1)
        codes = np.arange(self.num_states)[:, None] // base ** np.arange(places) % base
        return np.eye(base)[codes].reshape(len(codes), -1) if self.classes else codes.astype(float)

    @property
    def smooth(self) -> bool:
        """Whether the units of rows have densities."""
        return not (self.point or self.bits)

    def owns(self, name: str) -> bool:
        """Whether a learned array is the encoder's."""
        return name.startswith((f"{self.prefix}.", f"{self.prefix}{HEAD}"))

    def bending(self, weights: Mapping[str, Any]) -> dict[str, Any] | None:
        """Arrays of the laws themselves, which are those of all rows."""
        if self.classes:
            return {CLASSES: np.ones(self.classes)}
        if self.codebook:
            return {VECTORS: weights[f"{self.codebook}{VECTORS}"]}
        start = f"{self.prefix}{HEAD}"
        return {k.removeprefix(start): v for k, v in weights.items() if k.startswith(start)} or None

    def with_inputs(self, inputs: Mapping[str, tuple[Any, Any, int]]) -> Encoder:
        """With other numbers that its inputs are taken from and divided by."""
        return replace(self, inputs={label: inputs[label] for label in self.inputs})

    def with_gaps(self, gaps: frozenset[str]) -> Encoder:
        """With more arguments in which numbers may be missing."""
        return replace(self, gaps=self.gaps | (gaps & set(self.inputs)))

    def stepping(self, iterations: int) -> Encoder:
        """With steps of each row."""
        return replace(self, iterations=iterations)

    def law(self, weights: Mapping[str, Any], data: Mapping[str, Any]) -> Law:
        """Laws of rows.

        Raises
        ------
        ShapeError
            If the network makes another number of numbers.
        """
        return HEADS[self.within].law(self.made(weights, data), self.num_units, self.bending(weights) or {})

    def made(self, weights: Mapping[str, Any], data: Mapping[str, Any]) -> Any:
        """What the network makes of rows, from which their laws follow.

        Raises
        ------
        ShapeError
            If that is another number of numbers.
        """
        own = {key: weights[f"{self.prefix}.{key}"] for key in self.keys}
        inputs, head = self.seen(data), HEADS[self.within]
        with fitting(f"encoder '{self.prefix}'", inputs):
            found = self.network.apply(own, inputs)
        wanted = head.num_outputs(self.num_units)
        if tuple(np.shape(found)) != (np.shape(inputs)[0], wanted):
            words = f"{wanted} numbers for each row: {head.words(self.num_units)}"
            raise ShapeError(explain(f"encoder '{self.prefix}'", words, f"shape {tuple(np.shape(found))}",
                                     f"let its last layer make {wanted}"))  # fmt: skip
        return found

    def present(self, data: Mapping[str, Any]) -> Any:
        """Of which rows something is seen, ones and zeros of shape ``(n,)``; None where of all."""
        if set(self.inputs) - self.gaps:
            return None
        flat = [m.reshape(data[label], (np.shape(data[label])[0], -1)) for label in self.inputs]
        known = m.concat([m.like(m.where(m.isnan(x), 0.0, 1.0), x) for x in flat], axis=1)
        return m.max(known, axis=1)

    def seen(self, data: Mapping[str, Any]) -> Any:
        """What goes into the network, shape ``(n, num_inputs)``."""
        parts, absent = [], []
        scaled = self.scaled  # of a network of one's own nothing is changed
        for label, (centre, scale, codes) in self.inputs.items():
            x = data[label]
            if codes:
                parts.append(m.like(x[:, None] == np.arange(codes), centre))
                continue
            flat = m.reshape(x, (np.shape(x)[0], -1))
            lost = m.isnan(flat) if label in self.gaps else None
            flat = (
                m.clip((m.like(flat, centre) - centre) / scale, -FARTHEST, FARTHEST)
                if scaled
                else m.like(flat, centre)
            )
            if lost is not None:
                flat = m.where(lost, 0.0, flat)
                absent.append(m.like(m.where(lost, 1.0, 0.0), flat))
            parts.append(flat)
        return m.concat([*parts, *(absent if self.masks else [])], axis=1)
