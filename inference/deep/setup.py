"""From a user's guide to rows and their encoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...guides.amortized import HEAD, Amortized, Encoder, Sized
from ...guides.experts import Experts
from ...guides.laws import HEADS
from ...ppl.backends import load
from ...ppl.codebook import VECTORS, Codes
from ...ppl.distributions.bits import Bits
from ...ppl.distributions.one_hot import OneHots
from ...ppl.errors import GuideError, explain
from ...ppl.modules import own_rng
from ...ppl.priors import PSEUDO
from ..thresholds import CONSTANT, DEEP_CALL, FAR_SEEN, LARGEST_BIT_SD, PSEUDO_APART, SCALED_BY
from .rows import Rows, aligned, in_front

BITS = {Bits.__name__: "bits", OneHots.__name__: "one-hot"}
"""Laws of latent quantities without gradients, and those of their encoders."""
ENCODER = "encoder"
"""Name of an encoder that is no module of the model."""


@dataclass(frozen=True, eq=False)
class Setup:
    """Rows with an encoder, and the learned arrays where they begin.

    Attributes
    ----------
    rows : Rows
    encoder : Encoder or Experts
    begin : dict of numpy.ndarray
        Learned arrays of the model, and the encoder's.
    words : str
        What was chosen, for the trail.
    unsettled : bool
        Whether training was cut short, so that learned arrays are not where they would end.
    """

    rows: Rows
    encoder: Encoder | Experts
    begin: dict[str, np.ndarray]
    words: str
    unsettled: bool = False


def family_of(guide: Any, target: Any) -> tuple[Amortized, str] | None:
    """The encoder that a guide asks for, and the plate of the sites that it is for; None where it asks for none.

    Raises
    ------
    GuideError
        For a site that is not in a plate, sites of several plates, or latent quantities of a plate without a law.
    """
    if getattr(guide, "encodes", False):
        plates = {s.plates[-1] for s in target.sites if s.plates}
        if len(plates) != 1:
            got = f"plates {sorted(plates)}" if plates else "no latent site in a plate"
            raise GuideError(
                explain("er.Amortized", "latent sites in one plate", got, "declare the rows in a plate")
            )
        return guide, plates.pop()
    if not isinstance(guide, Mapping):
        return None
    encoded = {name: family for name, family in guide.items() if getattr(family, "encodes", False)}
    return _of_sites(guide, encoded, target) if encoded else None


def _of_sites(guide: Mapping[str, Any], encoded: Mapping[str, Any], target: Any) -> tuple[Amortized, str]:
    """The encoder of a mapping from sites, and their plate."""
    known = {s.name: s for s in target.sites}
    for name in guide:
        if name not in known:
            words = f"latent sites among {sorted(known)}"
            raise GuideError(explain("guide", words, repr(name), "correct the name"))
    for name in encoded:
        if not known[name].plates:
            words = "a site in a plate, whose rows are encoded"
            raise GuideError(
                explain(f"guide of '{name}'", words, "one in none", "declare it in a plate, or leave it out")
            )
    plate = known[next(iter(encoded))].plates[-1]
    local = [s.name for s in target.sites if plate in s.plates]
    left = sorted(set(local) - set(encoded))
    first = next(iter(encoded.values()))
    if left or any(family != first for family in encoded.values()):
        got = f"none for {left}" if left else "several"
        words = f"one encoder for all latent sites of plate '{plate}' ({', '.join(local)})"
        raise GuideError(explain("guide", words, got, "give each the same er.Amortized"))
    others = [name for name in guide if name not in encoded]
    if others:
        words = f"latent sites of plate '{plate}' alone; the others have independent normals"
        raise GuideError(explain("guide beside er.Amortized", words, f"{others}", "leave them out"))
    return first, plate


def set_up(
    family: Amortized, plate: str, target: Any, size: int, seed: int, known_gaps: Sequence[str] | None = None
) -> Setup:
    """Rows and their encoder; `known_gaps` says which inputs lacked numbers when it was fitted.

    Raises
    ------
    GuideError
        See `Rows.of`; for a module that the model does not have, or arguments that do not run along the plate.
    """
    rows = _lacking(Rows.of(target, plate, size), family, known_gaps)
    family = of_rows(family, rows)
    begin = begun(target.trace, seed)
    made = [
        _made(family, view, module, rows, seed, known_gaps) for view, module in _views(family, rows).items()
    ]
    encoders, words = tuple(one for one, _, _ in made), [line for _, _, line in made]
    for _, arrays, _ in made:
        begin = {**begin, **arrays}
    encoder: Encoder | Experts = encoders[0]
    if family.views:
        encoder = Experts(encoders, ENCODER)
        begin = {**begin, **encoder.arrays()}
    for one in encoders:
        if f"{one.prefix}{PSEUDO}" in begin:
            begin[f"{one.prefix}{PSEUDO}"] = _pseudo(one, rows, begin, seed)
    _check_encoder(encoder, rows, begin)
    kind = f"{' and '.join(words)} to {rows.num_units} coordinates, {family.within}"
    steps = f", and {family.iterations} steps of each row" if family.iterations else ""
    return Setup(rows, encoder, begin, f"encoder of '{plate}': {kind}{steps}")


def _lacking(rows: Rows, family: Amortized, known_gaps: Sequence[str] | None) -> Rows:
    """Rows of which outcomes that training takes away may be missing.

    Raises
    ------
    GuideError
        For what the encoder does not see, labels, whole numbers with a law of their own, or outcomes that other parts of the model see.
    """
    leaves = rows.full.program.leaves
    views = [label for view in _views(family, rows) for label in view]
    what = "dropout of er.Amortized"
    for label in family.dropout:
        if label not in views or leaves[label].labels:
            raise GuideError(explain(what, f"arguments of numbers that the encoder sees, among {sorted(views)}", repr(label),
                                     "correct the name, or pass labels as columns of zeros and ones"))  # fmt: skip
        if label in rows.outcomes and leaves[label].value.dtype.kind != "f":
            raise GuideError(
                explain(
                    what,
                    "outcomes of real numbers",
                    f"'{label}' of whole ones",
                    "pass it as floats, or leave it out",
                )
            )
    gaps = family.dropout if known_gaps is None else known_gaps
    gone = {label for label in gaps if label in rows.outcomes and leaves[label].holes is None}
    lacking = rows.lacking(gone)
    trace = lacking.small.trace
    seen = [name for name, how in trace.missing.items() if how != "masked" and trace[name].argument in gone]
    if seen:
        got = f"'{seen[0]}', which other parts of the model see"
        raise GuideError(explain(what, "outcomes that nothing else depends on", got, "leave it out"))
    return lacking


def _views(family: Amortized, rows: Rows) -> dict[tuple[str, ...], Any]:
    """What each encoder sees, and its module.

    Raises
    ------
    GuideError
        For what does not run along the rows, or nothing.
    """
    what = "module of er.Amortized" if family.views else "sees of er.Amortized"
    sees = tuple(rows.along) if family.sees is None else family.sees
    views = family.views or {tuple(sees): family.module}
    strange = [label for view in views for label in view if label not in rows.along]
    if strange:
        raise GuideError(explain(what, f"arguments that run along '{rows.plate}': {sorted(rows.along)}",
                                 f"{strange}", "correct the names"))  # fmt: skip
    if not all(views):
        raise GuideError(explain(what, "an argument at least", "none", "name one, or leave it out"))
    return views


def encoder_of(view: Sequence[str]) -> str:
    """Name of the encoder of a view that is no module of the model."""
    return f"{ENCODER}.{'.'.join(view)}"


def _made(
    family: Amortized,
    view: tuple[str, ...],
    module: Any,
    rows: Rows,
    seed: int,
    known_gaps: Sequence[str] | None,
) -> tuple[Encoder, dict[str, np.ndarray], str]:
    """The encoder of a view, its arrays that are not the model's where they begin, and what it is in words."""
    target = rows.full
    name, network = _network(module, target, encoder_of(view) if family.views else ENCODER)
    own = network is None
    inputs, gaps = {}, set()
    for label in view:
        inputs[label], lost = _input(target, rows, label, scaled=own)
        if (lost or label in family.dropout) if known_gaps is None else label in known_gaps:
            gaps.add(label)
    width = {label: codes or _width(rows, label) for label, (_, _, codes) in inputs.items()}
    num_in, num_gaps = sum(width.values()), sum(width[label] for label in gaps)
    masks, head = bool(gaps), HEADS[family.within]
    if own:
        network = Sized(num_in + num_gaps, head.num_outputs(rows.num_units), rows.num_units)
    elif gaps:  # a network of one's own is asked how much it takes
        masks = getattr(network, "num_in", None) == num_in + num_gaps
    rng, arrays = own_rng(name, seed), {}
    if name not in target.trace.modules:
        arrays = {f"{name}.{key}": value for key, value in network.arrays(rng).items()}
    known = arrays or target.trace.weights
    keys = tuple(key.removeprefix(f"{name}.") for key in known if key.startswith(f"{name}."))
    more = {f"{name}{HEAD}{key}": value for key, value in head.arrays(rows.num_units, rng).items()}
    encoder = Encoder(
        network,
        name,
        keys,
        inputs,
        rows.num_units,
        family.within,
        masks,
        frozenset(gaps),
        own,
        family.iterations,
        codebook_of(rows, family.coded),
        classes_of(rows),
    )
    units = f" by {network.width} units" if own else ""
    return encoder, {**arrays, **more}, f"{num_in} numbers of a row{units}"


def bits(target: Any) -> list[str]:
    """Latent sites whose values are arrays of bits, or one-hot vectors."""
    return [site.name for site in target.sites if site.distribution in BITS]


def classes_of(rows: Rows) -> int:
    """Classes of the one-hot vectors of rows; 0 where they have none.

    Raises
    ------
    GuideError
        For several numbers of classes, or bits beside.
    """
    found = {
        s.shape[-1] if BITS[s.distribution] == "one-hot" else 0 for s in rows.sites if s.distribution in BITS
    }
    if len(found) > 1:
        got = f"{sorted(found)} classes, of which 0 are bits"
        raise GuideError(explain(f"encoder of the rows of '{rows.plate}'", "one-hot vectors of one number of classes, or bits", got,
                                 "write bits as one-hot vectors too, or give the others as many classes"))  # fmt: skip
    return found.pop() if found else 0


def of_rows(family: Amortized, rows: Rows) -> Amortized:
    """The family with the law that rows can have: independent bits of bits.

    Raises
    ------
    GuideError
        For other laws of bits, several views of them, or bits beside other quantities.
    """
    found, head = bits(rows.full), HEADS[family.within]
    if not found and not head.bits:
        return family
    others = [site.name for site in rows.full.sites if site.name not in found]
    if not found or others:
        got = f"{others} beside {found}" if found else f"{others}"
        raise GuideError(explain(f"encoder of the rows of '{rows.plate}'", "bits, or quantities that are none, but not both", got,
                                 "sum the discrete ones out, as laws of one value each, or leave some out"))  # fmt: skip
    if family.views or family.point or not (head.bits or head.independent):
        raise GuideError(explain("er.Amortized for bits", "independent bits, seen as a whole",
                                 "several views" if family.views else f"within={family.within!r}", "leave it out"))  # fmt: skip
    if family.iterations:
        got = f"iterations={family.iterations}"
        raise GuideError(
            explain(
                "er.Amortized for bits",
                "no steps of each row, as bits have no gradients",
                got,
                "leave them out",
            )
        )
    return replace(family, within="one-hot" if classes_of(rows) else "bits")


def codebook(target: Any) -> str | None:
    """Name of the first codebook of a model; None where it has none."""
    named = (name.removesuffix(VECTORS) for name in target.trace.weights if name.endswith(VECTORS))
    return next(named, None)


def codebook_of(rows: Rows, coded: bool) -> str:
    """Name of the codebook whose entries rows are at; empty where these have laws.

    Raises
    ------
    GuideError
        For a codebook with laws, rows at codes without a codebook, or beside other latent quantities.
    """
    found = codebook(rows.full)
    if not coded and found is None:
        return ""
    if not coded:
        raise GuideError(explain("guide", f"er.Quantized for the codebook '{found}', whose entries are no matter of density",
                                 "another", "pass guide=er.Quantized(), or leave it out"))  # fmt: skip
    if found is None:
        raise GuideError(explain("er.Quantized", "a model whose rows have entries of an er.Codebook", "one without",
                                 "declare er.sample('z', er.Codebook('codes', 512, 64))"))  # fmt: skip
    if len(rows.sites) > 1 or rows.sites[0].distribution != Codes.__name__:
        raise GuideError(explain("er.Quantized", "a codebook as the only latent quantity of rows",
                                 f"{[site.name for site in rows.sites]}", "leave the others out"))  # fmt: skip
    return found


def _check_encoder(encoder: Encoder | Experts, rows: Rows, begin: Mapping[str, np.ndarray]) -> None:
    """Run an encoder once, so that what is wrong with it is said before anything is compiled.

    Raises
    ------
    ShapeError, UnsupportedError
        See `Encoder.law`; for a network that is not pure.
    """
    to_device = rows.small.to_device
    own = {
        name: to_device(value)
        for name, value in begin.items()
        if encoder.owns(name) or name.endswith(VECTORS)
    }
    data = {label: to_device(value) for label, value in rows.host(np.arange(rows.size)).items()}
    with rows.small.room():
        encoder.law(own, in_front(data, rows.along))


def _pseudo(encoder: Encoder, rows: Rows, begin: Mapping[str, np.ndarray], seed: int) -> np.ndarray:
    """Pseudo-inputs of a prior where they begin: rows as the encoder sees them, apart by a little where one comes twice."""
    name = f"{encoder.prefix}{PSEUDO}"
    shape, rng = begin[name].shape, own_rng(name, seed)
    chosen = rng.choice(np.arange(rows.total), shape[0], replace=shape[0] > rows.total)
    data = {label: rows.small.to_device(value) for label, value in rows.host(chosen).items()}
    with rows.small.room():
        found = np.asarray(
            rows.small.loops.to_host({"seen": encoder.seen(in_front(data, rows.along))})["seen"], float
        )
    return found + PSEUDO_APART * found.std() * rng.normal(size=shape)


def begun(trace: Any, seed: int) -> dict[str, np.ndarray]:
    """Learned arrays of a model where they begin: of declared networks by the seed, of a library's as they came."""
    begin = {name: np.asarray(value, np.float64) for name, value in trace.weights.items()}
    for name, network in trace.modules.items():
        for key, value in network.arrays(own_rng(name, seed)).items():
            if f"{name}.{key}" in begin:
                begin[f"{name}.{key}"] = np.asarray(value, np.float64)
    return begin


def _network(module: Any, target: Any, name: str) -> tuple[str, Any]:
    """Name and network of an encoder that is called so where the model has none; None for one that is to be sized."""
    modules = target.trace.modules
    if module is None:
        return name, None
    if not isinstance(module, str):
        own = callable(getattr(module, "arrays", None)) and callable(getattr(module, "apply", None))
        return name, module if own else load(target.backend).network(name, module)
    if module not in modules:
        raise GuideError(explain("module of er.Amortized", f"a module of the model among {sorted(modules)}",
                                 repr(module), "declare it by er.module, or correct the name"))  # fmt: skip
    return module, modules[module]


def _width(rows: Rows, label: str) -> int:
    value, axis = rows.full.program.leaves[label].value, rows.along[label]
    return int(np.prod(value.shape, dtype=int)) // value.shape[axis]


def _input(target: Any, rows: Rows, label: str, scaled: bool) -> tuple[tuple[Any, Any, int], bool]:
    """What an argument is taken from and divided by, or how many codes it has; and whether numbers are missing."""
    leaf, axis = target.program.leaves[label], rows.along[label]
    value = leaf.value
    few = min(value.shape[axis], SCALED_BY, max(1, DEEP_CALL // _width(rows, label)))
    some = np.linspace(0, value.shape[axis] - 1, few).astype(int)
    flat = np.moveaxis(np.take(value, some, axis), axis, 0).reshape(len(some), -1)
    dtype = target.dtype
    if scaled and value.ndim == 1 and value.dtype.kind in "iu" and leaf.labels:
        return (np.zeros((), dtype), np.ones((), dtype), len(leaf.labels)), False
    flat = flat.astype(np.float64)
    lost = np.isnan(flat)
    gaps = leaf.holes is not None
    if not scaled:
        return (np.zeros(flat.shape[1], dtype), np.ones(flat.shape[1], dtype), 0), gaps
    known = np.maximum((~lost).sum(0), 1)
    centre = np.where(lost, 0.0, flat).sum(0) / known
    apart = np.where(lost, 0.0, np.abs(flat - centre))
    # what is rare in these rows, or never there, is no outlier where it is
    scale = np.maximum(np.sqrt((apart**2).sum(0) / known), apart.max(0) / FAR_SEEN)
    if np.isin(flat[~lost], (0.0, 1.0)).all():
        scale = np.full_like(scale, LARGEST_BIT_SD)
    usual = np.median(scale[scale > 0]) if (scale > 0).any() else 1.0
    scale = np.where(scale > CONSTANT * usual, scale, usual)
    return (centre.astype(dtype), scale.astype(dtype), 0), gaps


def default_plate(target: Any) -> str | None:
    """The plate whose rows are encoded where no guide is named; None where none asks for it.

    Its latent sites stand behind a module.
    """
    if not target.trace.modules:
        return None
    plates = {s.plates[-1] for s in target.sites if s.plates}
    if len(plates) != 1:
        return None
    plate = plates.pop()
    return plate if aligned(target, plate) else None
