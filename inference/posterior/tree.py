"""ArviZ groups: from arrays to an ``xarray.DataTree`` with named dimensions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def dataset(values: Mapping[str, np.ndarray], dims: Mapping[str, tuple], coords, sample=("chain", "draw")):
    """An ``xarray.Dataset`` of arrays whose leading axes are `sample` and whose others are named by `dims`."""
    import xarray as xr

    variables, used = {}, {}
    for name, value in values.items():
        value = np.asarray(value)
        own = list(dims.get(name, ()))
        rest = value.shape[len(sample) :]
        own = [own[i] if i < len(own) else f"{name}_dim_{i}" for i in range(len(rest))]
        for i, size in enumerate(rest):
            if used.setdefault(own[i], size) != size:
                own[i] = f"{name}_dim_{i}"
                used[own[i]] = size
        variables[name] = ((*sample, *own), value)
    labels = {
        dim: (list(coords[dim]) if len(coords.get(dim, ())) == size else np.arange(size))
        for dim, size in used.items()
        if dim not in sample
    }
    for axis, name in enumerate(sample):
        if values:
            labels[name] = np.arange(np.shape(next(iter(values.values())))[axis])
    return xr.Dataset(variables, coords=labels)


def tree(groups: Mapping[str, object], attrs: Mapping[str, object]):
    """A ``DataTree`` of the groups, with `attrs` on the root and on each group."""
    import xarray as xr

    out = xr.DataTree.from_dict({f"/{name}": group for name, group in groups.items()})
    out.attrs.update(attrs)
    return out
