"""ArviZ groups: from arrays to an ``xarray.DataTree`` with named dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def variable_name(site: str) -> str:
    """Name of a site's variable: xarray takes a slash for a path, so it becomes a dot.

    Examples
    --------
    >>> variable_name("net/weight")
    'net.weight'
    """
    return site.replace("/", ".")


def dataset(
    values: Mapping[str, np.ndarray],
    dims: Mapping[str, Sequence[str]],
    coords: Mapping[str, Sequence],
    sample: Sequence[str] = ("chain", "draw"),
):
    """An ``xarray.Dataset`` of arrays whose leading axes are `sample` and whose others are named by `dims`.

    Parameters
    ----------
    values : mapping
        Site name to array of shape ``(*sample, *shape)``.
    dims : mapping
        Site name to the names of the axes of ``shape``; axes without a name become ``name_dim_i``.
    coords : mapping
        Axis name to labels; axes without labels are numbered.
    sample : sequence of str
        Names of the leading axes.

    Returns
    -------
    xarray.Dataset

    Examples
    --------
    >>> dataset({"x": np.zeros((1, 2, 3))}, {"x": ("row",)}, {}).sizes["row"]
    3
    """
    import xarray as xr

    variables: dict[str, tuple] = {}
    used: dict[str, int] = {}
    taken = {variable_name(name) for name in values} | set(sample)
    for site, value in values.items():
        name, value = variable_name(site), np.asarray(value)
        given = [variable_name(str(d)) for d in dims.get(site, ())]
        own: list[str] = []
        for i, size in enumerate(value.shape[len(sample) :]):
            dim = given[i] if i < len(given) else f"{name}_dim_{i}"
            if dim in taken or dim in own or used.get(dim, size) != size:
                dim = f"{name}_dim_{i}"
            used[dim] = size
            own.append(dim)
        variables[name] = ((*sample, *own), value)
    labels = {dim: _labels(coords.get(dim, ()), size) for dim, size in used.items()}
    if variables:
        first = next(iter(variables.values()))[1]
        labels.update({name: np.arange(first.shape[axis]) for axis, name in enumerate(sample)})
    return xr.Dataset(variables, coords=labels)


def _labels(given: Sequence, size: int) -> np.ndarray:
    if len(given) != size:
        return np.arange(size)
    labels = np.asarray(list(given))
    if labels.dtype.kind in "biufM" and labels.ndim == 1:
        return labels
    return np.array([str(v) for v in given])


def tree(groups: Mapping[str, Any], attrs: Mapping[str, Any]):
    """A ``DataTree`` of groups.

    Parameters
    ----------
    groups : mapping of str to xarray.Dataset
        By name.
    attrs : mapping
        Attributes of the root.

    Returns
    -------
    xarray.DataTree
    """
    import xarray as xr

    out = xr.DataTree.from_dict({f"/{name}": group for name, group in groups.items()})
    out.attrs.update(attrs)
    return out
