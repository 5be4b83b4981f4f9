"""Groups of ``posterior.draws``: some there at once, others computed when first asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from types import MappingProxyType

import numpy as np

from ...ppl.errors import ElboroomError, InferenceError, explain
from ...ppl.simulate import OUTCOME, in_blocks, prior_groups, seeds
from ...ppl.thresholds import LARGEST_BLOCK
from ...ppl.tree import dataset
from ..thresholds import GROUP_BLOCK, LARGEST_GROUP, LEAST_GROUP_DRAWS, MOST_DENSITIES, NUM_PRIOR_DRAWS
from .mixed import Homes, own_sites, replicates
from .record import ROWS, Record

ON_REQUEST = (
    "posterior_predictive",
    "mixed_predictive",
    "log_likelihood",
    "log_prior",
    "prior",
    "prior_predictive",
)
STEPS = ("elbo", "gradient_norm", "not_finite", "restart")
FIT = (*STEPS, "khat", "log_weights", "guide_mean", "guide_sd", "rhat")
_kinds: list = []


def version() -> str:
    """Installed version of elboroom."""
    try:
        return metadata.version("elboroom")
    except metadata.PackageNotFoundError:
        return "unknown"


def lazy_tree(record: Record):
    """The ``DataTree`` of a posterior."""
    made = _tree_class()()
    made.attrs.update(
        law=record.law,
        seed=int(record.seed),
        backend=record.backend,
        inference_library="elboroom",
        inference_library_version=version(),
    )
    for name, group in (*_at_once(record).items(), *record.saved.items()):
        _attach(made, name, group)
    made._record = record  # noqa: SLF001  a slot of ours on a class of xarray's
    return made


def _attach(tree, name, group):
    import xarray as xr

    group.attrs.setdefault("law", tree.attrs["law"])
    xr.DataTree.__setitem__(tree, name, xr.DataTree(group))


def _tree_class():  # noqa: C901  a class that is made late
    # xarray is slow to import, so the class is made when first needed
    if _kinds:
        return _kinds[0]
    import xarray as xr

    class Draws(xr.DataTree):
        """A ``DataTree`` that computes some groups of a posterior when they are first asked for."""

        __slots__ = ("_record",)

        def _compute(self, name):
            record = getattr(self, "_record", None)
            if name in ON_REQUEST and record is not None and name not in self.children:
                for key, group in compute(record, name).items():
                    _attach(self, key, group)

        def __getitem__(self, key):
            if isinstance(key, str):
                self._compute(key.strip("/").split("/")[0])
            return super().__getitem__(key)

        def __getattr__(self, name):
            if name in ON_REQUEST:
                try:
                    self._compute(name)
                except ElboroomError as error:
                    raise AttributeError(str(error)) from error
            if name == "_record":
                raise AttributeError(name)
            return super().__getattr__(name)

    _kinds.append(Draws)
    return Draws


def _at_once(record: Record) -> dict:
    dims = {s.name: s.dims for s in record.sites}
    coords = record.coords
    values = {k: chained(record, np.asarray(v)) for k, v in record.values.items()}
    groups = {"posterior": dataset(values, dims, coords)}
    if record.observed_data:
        groups["observed_data"] = dataset(record.observed_data, dims, coords, ())
    if record.constant_data:
        groups["constant_data"] = dataset(record.constant_data, {}, {}, ())
    density, found = log_density(record), record.fit_record
    stats = {k.removeprefix("stats/"): v for k, v in found.items() if k.startswith("stats/")}
    stats |= {} if density is None else {"lp": density}
    if stats:
        groups["sample_stats"] = dataset({k: chained(record, v) for k, v in stats.items()}, {}, {})
    groups["fit"] = dataset(
        {k: np.asarray(found[k]) for k in (*FIT, *ROWS) if k in found},
        {
            **dict.fromkeys(STEPS, ("step",)),
            **{name: ("encoded_row",) for name in ROWS if name.startswith("row_")},
            "bounds": ("look", "seen"),
            "held_out": ("held",),
            "far": ("row_unit",),
            "log_weights": ("pool",),
            "guide_mean": ("quantity",),
            "guide_sd": ("quantity",),
            "rhat": ("quantity",),
        },
        {},
        (),
    )
    return groups


def log_density(record: Record) -> np.ndarray | None:
    """Log density of the draws on the unconstrained scale, shape ``(num_draws,)``; None without a program, or where it were of more than
    `MOST_DENSITIES` outcomes."""
    if record.target is None:
        return record.fit_record.get("lp")
    target, size = record.target, max(_size(record.target.trace), 1)
    if size * len(record.z) > MOST_DENSITIES:
        return None

    def density(z):
        return {"lp": target.density.value(z, target.data, target.weights)}

    block = int(np.clip(LARGEST_BLOCK // size, 1, GROUP_BLOCK))
    return in_blocks(density, record.z.astype(target.dtype), len(record.z), block)["lp"].astype(float)


def compute(record: Record, name: str) -> dict:
    """The group `name` as ``xarray.Dataset``, with those that come with it."""
    record.needs_program(f"the group '{name}'")
    if name in {"prior", "prior_predictive"}:
        return prior_groups(record.program, NUM_PRIOR_DRAWS, record.seed, record.backend)
    if record.target is None:
        raise InferenceError(
            explain(
                f"the group '{name}'",
                "the program with the data that were fitted",
                "one bound to other data",
                "load the posterior with the fitted data, or use predict",
            )
        )
    make = {
        "posterior_predictive": _posterior_predictive,
        "mixed_predictive": _mixed_predictive,
        "log_likelihood": _log_likelihood,
        "log_prior": _log_prior,
    }
    return {name: make[name](record)}


def chained(record: Record, values: np.ndarray) -> np.ndarray:
    """Values of draws, chain by chain: ``(chain, draw, …)``."""
    return values.reshape(record.num_chains, -1, *values.shape[1:])


def kept(record: Record, size: int) -> np.ndarray:
    """Draws that a group of `size` numbers per draw is computed for: all, or evenly spaced ones."""
    chains = record.num_chains
    count = len(record.z) // chains
    keep = int(np.clip(LARGEST_GROUP // max(size * chains, 1), min(LEAST_GROUP_DRAWS, count), count))
    rows = np.unique(np.linspace(0, count - 1, keep).astype(int))
    return (np.arange(chains)[:, None] * count + rows).ravel()


def _dataset(record: Record, values, rows):
    trace = record.target.trace
    dims = {s.name: s.dims for s in trace.sites}
    out = dataset({k: chained(record, v) for k, v in values.items()}, dims, trace.coords)
    return out.assign_coords(draw=rows[: out.sizes["draw"]]) if values else out


def _size(trace) -> int:
    return sum(int(np.prod(s.shape, dtype=int)) for s in trace.by_role(*OUTCOME))


def predictions(
    record: Record,
    rows: np.ndarray,
    anew: Homes = MappingProxyType({}),
    some: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Outcomes of replicated data from the draws in `rows`, each ``(len(rows), *shape)``; see `replicates`."""
    key = seeds(record.seed, max(len(record.z), len(rows)), 41)
    return replicates(record, rows, key[rows] if len(rows) <= len(record.z) else key, anew, some)


def draws_of(record: Record) -> np.ndarray:
    """Which draws the group of predictions is of; all of them for one that was loaded or given."""
    target = record.target
    return (
        np.arange(LARGEST_GROUP // LEAST_GROUP_DRAWS) if target is None else kept(record, _size(target.trace))
    )


def _posterior_predictive(record: Record):
    rows = draws_of(record)
    return _dataset(record, predictions(record, rows), rows)


def _mixed_predictive(record: Record):
    rows = draws_of(record)
    return _dataset(record, predictions(record, rows, own_sites(record)), rows)


def _log_likelihood(record: Record):
    target = record.target
    rows = kept(record, _size(target.trace))
    return _dataset(record, target.per_row(record.z[rows]), rows)


def _log_prior(record: Record):
    """Log prior of each latent site; those that meet a discrete site in a density have none of their own."""
    target = record.target

    def terms(z):
        return target.density.site_priors(z, target.data, target.weights)

    z = record.z.astype(target.dtype)
    found = in_blocks(terms, z, len(z), GROUP_BLOCK)
    return dataset({name: chained(record, value).astype(float) for name, value in found.items()}, {}, {})
