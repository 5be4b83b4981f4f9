"""Groups of ``posterior.draws``: some there at once, others computed when first asked for."""

from __future__ import annotations

from importlib import metadata

import numpy as np

from ...ppl.errors import ElboroomError, InferenceError, explain
from ...ppl.simulate import OUTCOME, block_size, in_blocks, prior_groups, seeds
from ...ppl.tree import dataset
from ..thresholds import GROUP_BLOCK, LARGEST_GROUP, LEAST_GROUP_DRAWS, NUM_PRIOR_DRAWS

ON_REQUEST = ("posterior_predictive", "log_likelihood", "log_prior", "prior", "prior_predictive")
STEPS = ("elbo", "gradient_norm", "not_finite", "restart")
FIT = (*STEPS, "khat", "log_weights", "guide_mean", "guide_sd", "rhat")
_kinds: list = []


def version() -> str:
    """Installed version of elboroom."""
    try:
        return metadata.version("elboroom")
    except metadata.PackageNotFoundError:
        return "unknown"


def lazy_tree(posterior):
    """The ``DataTree`` of a posterior; the same object on every call."""
    if "tree" not in posterior._groups:
        made = _tree_class()()
        made.attrs.update(
            law=posterior.law,
            seed=int(posterior.seed),
            backend=posterior.backend,
            inference_library="elboroom",
            inference_library_version=version(),
        )
        for name, group in _at_once(posterior).items():
            _attach(made, name, group)
        for name, group in posterior._groups.get("saved", {}).items():
            _attach(made, name, group)
        made._posterior = posterior
        posterior._groups["tree"] = made
    return posterior._groups["tree"]


def _attach(tree, name, group):
    import xarray as xr

    group.attrs.setdefault("law", tree.attrs["law"])
    xr.DataTree.__setitem__(tree, name, xr.DataTree(group))


def _tree_class():
    # xarray is slow to import, so the class is made when first needed
    if _kinds:
        return _kinds[0]
    import xarray as xr

    class Draws(xr.DataTree):
        """A ``DataTree`` that computes some groups of a posterior when they are first asked for."""

        __slots__ = ("_posterior",)

        def _compute(self, name):
            posterior = getattr(self, "_posterior", None)
            if name in ON_REQUEST and posterior is not None and name not in self.children:
                for key, group in compute(posterior, name).items():
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
            if name == "_posterior":
                raise AttributeError(name)
            return super().__getattr__(name)

    _kinds.append(Draws)
    return Draws


def _at_once(posterior) -> dict:
    dims = {s.name: s.dims for s in posterior.sites}
    coords = posterior.coords
    values = {k: chained(posterior, np.asarray(v)) for k, v in posterior.values.items()}
    groups = {"posterior": dataset(values, dims, coords)}
    if posterior.observed_data:
        groups["observed_data"] = dataset(posterior.observed_data, dims, coords, ())
    if posterior.constant_data:
        groups["constant_data"] = dataset(posterior.constant_data, {}, {}, ())
    density, record = log_density(posterior), posterior.fit_record
    stats = {k.removeprefix("stats/"): v for k, v in record.items() if k.startswith("stats/")}
    stats |= {} if density is None else {"lp": density}
    if stats:
        groups["sample_stats"] = dataset({k: chained(posterior, v) for k, v in stats.items()}, {}, {})
    groups["fit"] = dataset(
        {k: np.asarray(record[k]) for k in FIT if k in record},
        {
            **dict.fromkeys(STEPS, ("step",)),
            "log_weights": ("pool",),
            "guide_mean": ("quantity",),
            "guide_sd": ("quantity",),
            "rhat": ("quantity",),
        },
        {},
        (),
    )
    return groups


def log_density(posterior) -> np.ndarray | None:
    """Log density of the draws on the unconstrained scale, shape ``(num_draws,)``; None without a program."""
    if posterior._target is None:
        return posterior.fit_record.get("lp")
    target = posterior._target

    def density(z):
        return {"lp": target.density.value(z, target.data, target.weights)}

    return in_blocks(density, posterior.z.astype(target.dtype), len(posterior.z), GROUP_BLOCK)["lp"].astype(
        float
    )


def compute(posterior, name: str) -> dict:
    """The group `name` as ``xarray.Dataset``, with those that come with it."""
    posterior._need_program(f"the group '{name}'")
    if name in {"prior", "prior_predictive"}:
        return prior_groups(posterior.program, NUM_PRIOR_DRAWS, posterior.seed, posterior.backend)
    if posterior._target is None:
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
        "log_likelihood": _log_likelihood,
        "log_prior": _log_prior,
    }
    return {name: make[name](posterior)}


def num_chains(posterior) -> int:
    """Chains that the draws are shown as: those of NUTS, superchains of short ones, one where draws are independent."""
    return posterior.settings.get("num_chains", 1)


def chained(posterior, values: np.ndarray) -> np.ndarray:
    """Values of draws, chain by chain: ``(chain, draw, …)``."""
    return values.reshape(num_chains(posterior), -1, *values.shape[1:])


def kept(posterior, size: int) -> np.ndarray:
    """Draws that a group of `size` numbers per draw is computed for: all, or evenly spaced ones."""
    chains = num_chains(posterior)
    count = len(posterior.z) // chains
    keep = int(np.clip(LARGEST_GROUP // max(size * chains, 1), min(LEAST_GROUP_DRAWS, count), count))
    rows = np.unique(np.linspace(0, count - 1, keep).astype(int))
    return (np.arange(chains)[:, None] * count + rows).ravel()


def _dataset(posterior, values, rows):
    trace = posterior._target.trace
    dims = {s.name: s.dims for s in trace.sites}
    out = dataset({k: chained(posterior, v) for k, v in values.items()}, dims, trace.coords)
    return out.assign_coords(draw=rows[: out.sizes["draw"]]) if values else out


def _size(trace) -> int:
    return sum(int(np.prod(s.shape, dtype=int)) for s in trace.by_role(*OUTCOME))


def predictions(posterior, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Outcomes of replicated data from the draws in `rows`, each ``(len(rows), *shape)``."""
    target = posterior._target
    outcomes = {s.name for s in target.trace.by_role(*OUTCOME)}
    key = seeds(posterior.seed, len(posterior.z), 41)[rows]

    def draw(block):
        found = target.density.predict(*block, target.data, target.weights)
        return {k: v for k, v in found.items() if k in outcomes}

    z = posterior.z[rows].astype(target.dtype)
    return in_blocks(draw, (z, key), len(rows), block_size(target.trace))


def draws_of(posterior) -> np.ndarray:
    """Which draws the group of predictions is of; all of them for one that was loaded or given."""
    target = getattr(posterior, "_target", None)
    return (
        np.arange(LARGEST_GROUP // LEAST_GROUP_DRAWS)
        if target is None
        else kept(posterior, _size(target.trace))
    )


def _posterior_predictive(posterior):
    rows = draws_of(posterior)
    return _dataset(posterior, predictions(posterior, rows), rows)


def _log_likelihood(posterior):
    target = posterior._target
    rows = kept(posterior, _size(target.trace))
    return _dataset(posterior, target.per_row(posterior.z[rows]), rows)


def _log_prior(posterior):
    """Log prior of each latent site; those that meet a discrete site in a density have none of their own."""
    target = posterior._target

    def terms(z):
        return target.density.site_priors(z, target.data, target.weights)

    z = posterior.z.astype(target.dtype)
    found = in_blocks(terms, z, len(z), GROUP_BLOCK)
    return dataset({name: chained(posterior, value).astype(float) for name, value in found.items()}, {}, {})
