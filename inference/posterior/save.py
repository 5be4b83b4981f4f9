"""``Posterior.save`` and ``load``: one folder in open formats, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...guides import FAMILIES, Mixture
from ...ppl import constraints
from ...ppl.distributions import is_censored, measure_of
from ...ppl.errors import ElboroomError, InferenceError, explain
from ...ppl.sites import Site
from ...ppl.target import LARGEST_WORK
from ...ppl.tree import variable_name
from ..evidence.finding import Finding, Findings
from ..files import as_open_as_others
from ..outcome import quantity_values
from ..trail import Rung, Trail
from .groups import ON_REQUEST, lazy_tree, version
from .posterior import COLUMNS, Posterior, split
from .predict import fitted_labels

FORMAT, NUMBER = "elboroom-posterior", 1
RECORD, DRAWS, GUIDE = "posterior.json", "posterior.nc", "guide.safetensors"
KEPT = ("posterior", "observed_data", "constant_data", "sample_stats", "fit", *ON_REQUEST)
ENGINE = "h5netcdf"
PROBES = 4  # draws whose log density is kept to tell the model by
RESOLVED = 1e-4  # of a standard deviation: far below the Monte Carlo error of any number of draws


def save(posterior: Posterior, path, dtype=None, groups=None, sites=None) -> Path:
    """Write a posterior to a folder.

    Parameters
    ----------
    posterior : Posterior
    path : str or path
        A folder: absent, empty, or holding a saved posterior, which is replaced.
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
    path, names = Path(path).expanduser(), _chosen(dtype, groups)
    sites = _chosen_sites(posterior, sites)
    if path.exists() and not _replaceable(path):
        raise InferenceError(
            explain(
                f"save to '{path}'",
                "a new or empty folder, or one with a saved posterior",
                "a file" if path.is_file() else "a folder with other files",
                "choose another path",
            )
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        as_open_as_others(draft)
        _write(posterior, draft, dtype, names, sites)
        _move(draft, path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return path


def _chosen(dtype, groups) -> tuple[str, ...]:
    """Names of the groups to write."""
    if dtype not in (None, "float64", "float32"):
        raise InferenceError(explain("dtype", "'float64' or 'float32'", repr(dtype), "choose one of them"))
    unknown = [] if groups is None else [name for name in groups if name not in ON_REQUEST]
    if unknown or isinstance(groups, str):
        got = repr(groups) if isinstance(groups, str) else f"{unknown}"
        raise InferenceError(explain("groups", f"names among {ON_REQUEST}", got, "correct the names"))
    return tuple(name for name in KEPT if name not in ON_REQUEST or groups is None or name in groups)


def _chosen_sites(posterior, sites) -> list[str]:
    """Names of the sites whose draws to write."""
    known = list(posterior.values)
    unknown = [] if sites is None else [name for name in sites if name not in known]
    if unknown or isinstance(sites, str):
        got = repr(sites) if isinstance(sites, str) else f"{unknown}"
        raise InferenceError(explain("sites", f"names among {known}", got, "correct the names"))
    return [name for name in known if sites is None or name in sites]


def _unwritable(path, error) -> InferenceError:
    words = error.strerror or str(error)
    return InferenceError(
        explain(f"save to '{path}'", "a folder that can be written", words, "choose another path")
    )


def _replaceable(path: Path) -> bool:
    return path.is_dir() and (not any(path.iterdir()) or (path / RECORD).is_file())


def _move(draft: Path, path: Path) -> None:
    if not path.exists():
        os.replace(draft, path)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    old = aside / "old"
    os.replace(path, old)
    try:
        os.replace(draft, path)
    except OSError:
        os.replace(old, path)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


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
        coarse = np.abs(variable).max(axes) * np.finfo(np.float32).eps > RESOLVED * variable.std(axes)
    return not bool(coarse.any())


def _write(posterior: Posterior, folder: Path, dtype, names, sites) -> None:
    import xarray as xr
    from safetensors.numpy import save as to_bytes

    draws = lazy_tree(posterior)
    groups = {name: draws.children[name].to_dataset() for name in names if name in draws.children}
    groups["posterior"] = _only(groups["posterior"], [variable_name(name) for name in sites])
    whole = xr.DataTree.from_dict({f"/{name}": group for name, group in groups.items()})
    whole.attrs.update(draws.attrs)
    encoding = {
        f"/{name}": {k: _encoding(v, dtype == "float32") for k, v in group.data_vars.items()}
        for name, group in groups.items()
    }
    whole.to_netcdf(folder / DRAWS, engine=ENGINE, encoding=encoding)
    tensors = {f"params/{k}": v for k, v in posterior.params.items()}
    tensors |= {f"weights/{k}": v for k, v in posterior.weights.items()}
    tensors |= {f"centring/{k}": v for k, v in posterior.centring.items()}
    tensors |= {f"layout/{k}": v for k, v in getattr(posterior.guide, "layout", {}).items()}
    tensors["z"] = posterior.z
    (folder / GUIDE).write_bytes(to_bytes({k: np.asarray(v, order="C") for k, v in tensors.items()}))
    record = _record(posterior, sites)
    record["files"] = {name: _digest(folder / name) for name in (DRAWS, GUIDE)}
    text = json.dumps(_plain(record), indent=1, allow_nan=False, ensure_ascii=False)
    (folder / RECORD).write_text(text, encoding="utf-8")


def _only(group, names):
    """The variables of these names, with the coords that they have."""
    rest = group.drop_vars([name for name in group.data_vars if name not in names])
    used = {dim for name in names for dim in rest[name].dims} | {"chain", "draw"}
    return rest.drop_vars([name for name, coord in rest.coords.items() if not set(coord.dims) <= used])


def _record(posterior: Posterior, sites: list[str]) -> dict[str, Any]:
    return {
        "format": f"{FORMAT}/{NUMBER}",
        "elboroom": version(),
        "name": posterior.name,
        "question": posterior.question,
        "law": posterior.law,
        "khat": posterior.khat,
        "family": posterior.guide.family.name,
        "family_settings": getattr(posterior.guide.family, "settings", {}),
        "dim": posterior.guide.dim,
        "sites": [_site_record(s) for s in posterior.sites],
        "values": sites,
        "shapes": {name: list(shape) for name, shape in posterior._shapes.items()},
        "observed_data": list(posterior.observed_data),
        "constant_data": list(posterior.constant_data),
        "coords": {k: list(v) for k, v in posterior.coords.items()},
        "labels": {k: list(v) for k, v in fitted_labels(posterior).items()}
        if posterior.program is not None or "labels" in posterior._groups
        else {},
        "table": {k: list(posterior.table[k]) for k in ("label", *COLUMNS)},
        "trail": [asdict(r) for r in posterior.trail],
        "findings": [f.as_dict() for f in posterior.findings],
        "cost": asdict(posterior.cost),
        "settings": posterior.settings,
        "blame": posterior._groups.get("blame"),
        "data_fingerprint": posterior.data_fingerprint,
        "model": {**posterior.model_record, "probe": probe(posterior)},
    }


def _site_record(site: Site) -> dict:
    out = {f.name: getattr(site, f.name) for f in fields(Site)}
    describe = getattr(site.constraint, "as_dict", None)
    out["constraint"] = None if site.constraint is None or describe is None else describe()
    return out


def _plain(value: Any) -> Any:
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


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# -- reading ---------------------------------------------------------------------------------------------


def load(path, program=None) -> Posterior:
    """Read what `Posterior.save` wrote; the model's data are not needed.

    Parameters
    ----------
    path : str or path
    program : Program, optional
        The program that was fitted: with it `Posterior.predict` and the groups of draws that need the model
        work again. One whose source or data differ is noted in ``posterior.findings``.

    Returns
    -------
    Posterior
        Same draws, same summary.

    Raises
    ------
    InferenceError
        If the folder is absent, not a posterior, damaged, or of a newer format.
    """
    path = Path(path).expanduser()
    record = _read_record(path)
    try:
        for name, digest in record["files"].items():
            if not (path / name).is_file():
                raise _damaged(path, f"no file {name}")
            if _digest(path / name) != digest:
                raise _damaged(path, f"a changed or cut {name}")
        posterior = _rebuild(path, record)
    except ElboroomError:
        raise
    except Exception as error:  # any reader's own error means the same here
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    if program is not None:
        _reunite(posterior, program)
    return posterior


def _damaged(path, what) -> InferenceError:
    return InferenceError(
        explain(f"posterior at '{path}'", "the files as they were saved", what, "save the posterior again")
    )


def _read_record(path: Path) -> dict:
    if not path.exists():
        raise InferenceError(explain(f"load '{path}'", "a folder", "nothing there", "correct the path"))
    file = path / RECORD
    if not file.is_file():
        raise InferenceError(
            explain(f"load '{path}'", f"a saved posterior ({RECORD})", "something else", "correct the path")
        )
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path, f"{RECORD} that cannot be read ({error})") from None
    stamp = record.get("format") if isinstance(record, dict) else None
    kind, _, number = str(stamp).partition("/")
    if kind != FORMAT or not number.isdigit():
        raise InferenceError(
            explain(f"load '{path}'", f"the format {FORMAT}/{NUMBER}", repr(stamp), "correct the path")
        )
    if int(number) > NUMBER:
        raise InferenceError(
            explain(
                f"load '{path}'",
                f"the format {FORMAT}/{NUMBER} or older",
                f"{stamp}, written by elboroom {record.get('elboroom')}",
                "upgrade elboroom",
            )
        )
    return record


def _rebuild(path: Path, record: dict) -> Posterior:
    from safetensors.numpy import load_file

    from ..conclude import Cost

    tensors = load_file(path / GUIDE)
    groups = _read_groups(path / DRAWS, tensors["z"].dtype)
    families = {cls.name: cls for cls in (*FAMILIES, Mixture)}
    if record["family"] not in families:
        raise InferenceError(
            explain(
                f"load '{path}'",
                f"a guide among {sorted(families)}",
                repr(record["family"]),
                "load it with the version of elboroom that saved it",
            )
        )
    fit = groups["fit"]
    fit_record = {k: fit[k].values for k in fit.data_vars}
    for name, value in groups.get("sample_stats", {}).items():
        fit_record["lp" if name == "lp" else f"stats/{name}"] = value.values.ravel()
    table = record["table"]
    numbers = {k: np.array([_number(v) for v in table[k]], float) for k in COLUMNS[:5]}
    posterior = Posterior(
        name=record["name"],
        question=record["question"],
        sites=tuple(_site(s) for s in record["sites"]),
        coords={k: tuple(v) for k, v in record["coords"].items()},
        guide=families[record["family"]](**record.get("family_settings", {})).bind(
            SimpleNamespace(
                dim=record["dim"],
                layout=_under(tensors, "layout/"),
                backend=record["settings"]["backend"],
            )
        ),
        params=_under(tensors, "params/"),
        law=record["law"],
        khat=_number(record["khat"]),
        values=_variables(groups, "posterior", record["values"], chains=True),
        z=tensors["z"],
        table={**table, **numbers},
        trail=Trail(_filled(Rung, r) for r in record["trail"]),
        findings=Findings(Finding(**f) for f in record["findings"]),
        cost=_filled(Cost, record["cost"]),
        settings=record["settings"],
        fit_record=fit_record,
        observed_data=_variables(groups, "observed_data", record["observed_data"]),
        constant_data=_variables(groups, "constant_data", record["constant_data"]),
        data_fingerprint=record["data_fingerprint"],
        weights=_under(tensors, "weights/"),
        centring=_under(tensors, "centring/"),
        model_record=record["model"],
    )
    posterior._groups["labels"] = {k: tuple(v) for k, v in record["labels"].items()}
    posterior._groups["shapes"] = {k: tuple(v) for k, v in record.get("shapes", {}).items()}
    if record.get("blame"):
        posterior._groups["blame"] = record["blame"]
    posterior._groups["saved"] = {k: v for k, v in groups.items() if k in ON_REQUEST}
    return posterior


def _read_groups(file: Path, precision) -> dict:
    import xarray as xr

    with xr.open_datatree(file, engine=ENGINE) as tree:
        groups = {name: node.to_dataset().load() for name, node in tree.children.items()}
    return {
        name: group.assign({k: v.astype(precision) for k, v in group.items() if v.dtype == np.float32})
        for name, group in groups.items()
    }


def _variables(groups, group: str, names, chains=False) -> dict[str, np.ndarray]:
    found = {name: groups[group][variable_name(name)].values for name in names}
    return {k: v.reshape(-1, *v.shape[2:]) for k, v in found.items()} if chains else found


def _under(tensors, prefix: str) -> dict[str, np.ndarray]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _number(value) -> float:
    return np.nan if value is None else float(value)


def _filled(cls, record: dict):
    """A record whose float fields get their NaN and infinities back."""
    floats = {f.name for f in fields(cls) if f.type in ("float", float)}
    return cls(**{k: _number(v) if k in floats else v for k, v in record.items()})


def _site(record: dict) -> Site:
    kept = {k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}
    declared = record["constraint"]
    kept.setdefault("joint", record["event_dim"])
    kept.setdefault("measure", measure_of(record["distribution"], record["is_discrete"]))
    kept.setdefault("censored", is_censored(record["distribution"]))
    kept["constraint"] = None if declared is None else constraints.from_dict(_infinite(declared))
    return Site(**kept)


def _infinite(value):
    if isinstance(value, dict):
        return {k: _infinite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_infinite(v) for v in value]
    return float(value) if value in ("Infinity", "-Infinity") else value


# -- with the program again ------------------------------------------------------------------------------


def _reunite(posterior: Posterior, program) -> None:
    """Give a loaded posterior its program, or say why it is not the one that was fitted."""

    def note(what: str, advice: str, verdict: str = "caution"):
        posterior.findings += (Finding(what, "program", None, None, verdict, advice),)

    def layout(sites):
        return {s.name: s.shape for s in sites if s.role == "latent"}

    ours = layout(posterior.sites)
    same_data = program.data_fingerprint == posterior.data_fingerprint
    target = program.target(posterior.backend, posterior.model_record.get("dtype"))
    theirs = layout(target.trace.sites)
    if set(ours) - set(theirs) or (same_data and ours != theirs):
        note(
            "foreign program",
            f"The program's latent sites {theirs} are not those that were fitted {ours}: it was left aside. "
            "Load with the program that was fitted.",
            "untrusted",
        )
        return
    target = target.centred(posterior.centring)
    if same_data and (words := _another_density(posterior, target)) is not None:
        note(
            "foreign program",
            f"The program is not the one that was fitted: {words}. It was left aside. Load with the program that was "
            "fitted, or fit this one.",
            "untrusted",
        )
        return
    if not same_data and program.model.code_hash != posterior.model_record.get("code"):
        note(
            "changed model",
            f"The code of '{program.name}' or of a helper is not the one that was fitted, or it runs on another "
            "Python. Summaries and draws are those of the fitted model; predictions follow the new one.",
        )
    posterior.program = program
    if same_data:
        posterior._target = target
        if set(posterior._shapes) - set(posterior.values):
            values, layout = quantity_values(target, posterior.z)
            made = split(values, layout)
            posterior.values = {name: posterior.values.get(name, made[name]) for name in posterior._shapes}
    else:
        note(
            "other data",
            "The program is bound to other data than the fit's: it serves predict, but not the groups of "
            "draws that need the fitted data.",
            "ok",
        )


def probe(posterior: Posterior) -> dict | None:
    """Log densities at a few draws, by which another model is told from the same one written otherwise."""
    target, known = posterior._target, posterior.model_record.get("probe")
    if target is None or target.work > LARGEST_WORK or not len(posterior.z):
        return known
    rows = np.linspace(0, len(posterior.z) - 1, min(PROBES, len(posterior.z))).astype(int)
    try:
        return {"rows": rows.tolist(), "log_density": target.value_and_grad(posterior.z[rows])[0].tolist()}
    except ElboroomError:  # the model has changed since
        return known


def _another_density(posterior: Posterior, target) -> str | None:
    """In what a program on the same data differs from the one that was fitted, or None."""
    record = posterior.model_record
    if target.density.fingerprint is not None and target.density.fingerprint == record.get("fingerprint"):
        return None
    found = record.get("probe")
    if found is None:
        same = target.program.model.code_hash == record.get("code")
        return None if same else "its traced program and its code are others"
    z = posterior.z[found["rows"]]
    if z.shape[1] != target.dim:
        return f"it has {target.dim} unconstrained coordinates, and had {z.shape[1]}"
    before, now = np.array(found["log_density"], float), target.value_and_grad(z)[0]
    if not np.allclose(now, before, rtol=1e-6 if target.dtype == np.float64 else 1e-3, atol=1e-3):
        return f"at draw {found['rows'][0]} its log density is {now[0]:.6g}, and was {before[0]:.6g}"
    values = target.constrain(z)
    for name, value in posterior.values.items():
        if name in values and not np.allclose(values[name], value[found["rows"]], rtol=1e-4, atol=1e-6):
            return f"it computes '{name}' otherwise"
    return None
