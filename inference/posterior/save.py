"""``Posterior.save`` and ``load``: one folder in open formats, written whole or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, cast

import numpy as np

from ...ppl import files
from ...ppl.errors import ElboroomError, InferenceError, explain
from ...ppl.sites import Site
from ...ppl.thresholds import LARGEST_WORK
from ...ppl.tree import variable_name
from ..stream.stored import stored
from ..thresholds import PROBE_DRAWS, RESOLVED_SD
from .groups import ON_REQUEST, lazy_tree, version
from .predict import fitted_labels
from .record import COLUMNS, Record

FORMAT, NUMBER = "elboroom-posterior", 2  # 1 had no digest of the record
RECORD, DRAWS, GUIDE = "posterior.json", "posterior.nc", "guide.safetensors"
KEPT = ("posterior", "observed_data", "constant_data", "sample_stats", "fit", *ON_REQUEST)
ENGINE = "h5netcdf"


def save(record: Record, computed: dict[str, Any], path, dtype=None, groups=None, sites=None) -> Path:
    """Write a posterior to a folder.

    Parameters
    ----------
    record : Record
        Of the posterior.
    computed : mapping
        What has been computed of the posterior on request.
    path : str or path
        A folder: absent, empty, or holding a saved record, which is replaced.
    dtype : {None, "float64", "float32"}
        Precision of draws in the file, by default their own. Single precision, compressed, is used where it resolves
        a ten-thousandth of the standard deviation.
    groups : sequence of str, optional
        Which of the computed groups to keep; by default all that were asked for so far.
    sites : sequence of str, optional
        Latent and deterministic sites whose draws to keep; by default all.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    InferenceError
        If the folder holds something else or cannot be written, or for an unknown precision, group or site.

    Notes
    -----
    ``posterior.nc`` holds the groups of the draws, ``guide.safetensors`` the guide's parameters, and
    ``posterior.json`` the rest.
    """
    path, names = files.place(path, "save"), _chosen(dtype, groups)
    sites = _chosen_sites(record, sites)
    what = f"save to '{path}'"
    try:
        if path.exists() and not _replaceable(path):
            got = "a file" if path.is_file() else "a folder with other files"
            expected = "a new or empty folder, or one with a saved posterior"
            raise InferenceError(explain(what, expected, got, "choose another path"))
        with files.folder(path) as draft:
            for name, content in _contents(record, computed, dtype, names, sites):
                files.write(draft / name, content)
    except OSError as error:
        raise files.unwritable(what, error) from error
    return path


def _chosen(dtype, groups) -> tuple[str, ...]:
    """Names of the groups to write."""
    if dtype not in (None, "float64", "float32"):
        raise InferenceError(explain("dtype", "'float64' or 'float32'", repr(dtype), "choose one of them"))
    _check_among("groups", groups, ON_REQUEST)
    return tuple(name for name in KEPT if name not in ON_REQUEST or groups is None or name in groups)


def _chosen_sites(record, sites) -> list[str]:
    """Names of the sites whose draws to write."""
    known = list(record.values)
    _check_among("sites", sites, known)
    return [name for name in known if sites is None or name in sites]


def _check_among(what: str, names, known) -> None:
    if names is None:
        return
    listed = isinstance(names, Iterable) and not isinstance(names, (str, bytes))
    unknown = [name for name in names if name not in known] if listed else names
    if not listed or unknown:
        raise InferenceError(explain(what, f"names among {known}", repr(unknown)[:80], "correct the names"))


def _replaceable(path: Path) -> bool:
    return path.is_dir() and (not any(path.iterdir()) or (path / RECORD).is_file())


# -- writing ---------------------------------------------------------------------------------------------


def _encoding(variable, single: bool) -> dict[str, Any]:
    """How a variable lies in the file: whole numbers and single precision compressed; doubles gain too little."""
    packed = {"zlib": True, "complevel": 1, "shuffle": True}
    if variable.dtype.kind in "iu" and variable.ndim:
        return packed
    return {**packed, "dtype": "float32"} if single and _single_will_do(variable) else {}


def _single_will_do(variable) -> bool:
    """Whether single precision resolves the spread of the draws of each element."""
    if variable.dtype != np.float64 or "draw" not in variable.dims:
        return False
    axes = ("chain", "draw")
    with np.errstate(invalid="ignore"):
        coarse = np.abs(variable).max(axes) * np.finfo(np.float32).eps > RESOLVED_SD * variable.std(axes)
    return not bool(coarse.any())


def _contents(record: Record, computed: dict[str, Any], dtype, names, sites) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of the files, made in memory: HDF5 ends the process where its own writing fails."""
    import xarray as xr

    draws = computed.get("tree") or lazy_tree(record)
    groups = {name: draws.children[name].to_dataset() for name in names if name in draws.children}
    groups["posterior"] = _only(groups["posterior"], [variable_name(name) for name in sites])
    whole = xr.DataTree.from_dict({f"/{name}": group for name, group in groups.items()})
    whole.attrs.update(draws.attrs)
    encoding: Any = {
        f"/{name}": {k: _encoding(v, dtype == "float32") for k, v in group.data_vars.items()}
        for name, group in groups.items()
    }
    digests, in_memory = {}, cast(Any, whole.to_netcdf)  # whose types know of files alone
    for name, make in (
        (DRAWS, lambda: bytes(in_memory(engine=ENGINE, encoding=encoding))),
        (GUIDE, lambda: _guide(record)),
    ):
        content = make()
        digests[name] = hashlib.sha256(content).hexdigest()
        yield name, content
    yield RECORD, files.sealed_json(_plain({**_record(record, computed, sites), "files": digests}))


def _guide(record: Record) -> bytes:
    from safetensors.numpy import save as to_bytes

    tensors = {f"params/{k}": v for k, v in record.params.items()}
    tensors |= {f"weights/{k}": v for k, v in record.weights.items()}
    tensors |= {f"centring/{k}": v for k, v in record.centring.items()}
    tensors |= {f"layout/{k}": v for k, v in getattr(record.guide, "layout", {}).items()}
    tensors["z"] = record.z
    if record.stream is not None:
        tensors |= {f"stream/{k}": v for k, v in stored(record.stream)[1].items()}
    return to_bytes({k: np.asarray(v, order="C") for k, v in tensors.items()})


def _only(group, names):
    """The variables of these names, with the coords that they have."""
    rest = group.drop_vars([name for name in group.data_vars if name not in names])
    used = {dim for name in names for dim in rest[name].dims} | {"chain", "draw"}
    return rest.drop_vars([name for name, coord in rest.coords.items() if not set(coord.dims) <= used])


def _record(record: Record, computed: dict[str, Any], sites: list[str]) -> dict[str, Any]:
    return {
        "format": f"{FORMAT}/{NUMBER}",
        "elboroom": version(),
        "name": record.name,
        "question": record.question,
        "law": record.law,
        "khat": record.khat,
        "family": record.guide.family.name,
        "family_settings": getattr(record.guide.family, "settings", {}),
        "dim": record.guide.dim,
        "sites": [_site_record(s) for s in record.sites],
        "values": sites,
        "shapes": {name: list(shape) for name, shape in record.shapes.items()},
        "observed_data": list(record.observed_data),
        "constant_data": list(record.constant_data),
        "coords": {k: list(v) for k, v in record.coords.items()},
        "labels": {k: list(v) for k, v in fitted_labels(record).items()}
        if record.program is not None or record.labels is not None
        else {},
        "table": {k: list(record.table[k]) for k in ("label", *COLUMNS)},
        "trail": [asdict(r) for r in record.trail],
        "findings": [f.as_dict() for f in record.findings],
        "cost": asdict(record.cost),
        "settings": record.settings,
        "blame": computed.get("blame", record.blame),
        "reported": _reported(record, computed),
        "maps": record.maps,
        "stream": None if record.stream is None else stored(record.stream)[0],
        "data_fingerprint": record.data_fingerprint,
        "model": {**record.model, "probe": probe(record)},
    }


def _reported(record: Record, computed: dict[str, Any]) -> dict[str, Any]:
    """What a report has found with the program and the data, or had found before."""
    made = {"checks": computed.get("model checks"), "latent": computed.get("latent report")}
    found = {k: v for k, v in (record.reported if record.target is None else made).items() if v is not None}
    return {k: [f.as_dict() for f in v] if k == "checks" else v for k, v in found.items()}


def _site_record(site: Site) -> dict:
    out = {f.name: getattr(site, f.name) for f in fields(Site)}
    describe = getattr(site.constraint, "as_dict", None)
    out["constraint"] = None if site.constraint is None or describe is None else describe()
    return out


def _plain(value: Any) -> Any:  # noqa: PLR0911  a line for each kind
    """JSON-ready: NaN becomes null, infinities become words, other objects their text."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        if np.isnan(value):
            return None
        return value if np.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return str(value)


def probe(record: Record) -> dict | None:
    """Log densities at a few draws, by which another model is told from the same one written otherwise."""
    target, known = record.target, record.model.get("probe")
    if target is None or target.work > LARGEST_WORK or not len(record.z):
        return known
    rows = np.linspace(0, len(record.z) - 1, min(PROBE_DRAWS, len(record.z))).astype(int)
    try:
        return {"rows": rows.tolist(), "log_density": target.value_and_grad(record.z[rows])[0].tolist()}
    except ElboroomError:  # the model has changed since
        return known
