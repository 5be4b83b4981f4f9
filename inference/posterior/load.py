"""`load`: a posterior as `Posterior.save` wrote it, or an error that says what is wrong with its files."""

from __future__ import annotations

import hashlib
import io
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...guides import catalogue
from ...ppl import constraints, files
from ...ppl.distributions import is_censored, measure_of
from ...ppl.errors import ElboroomError, InferenceError, explain, in_short
from ...ppl.model import Program
from ...ppl.rows import sizes_of
from ...ppl.sites import Site
from ...ppl.tree import variable_name
from ..batches.minibatch import available
from ..deep.kept import KEPT, of_rows
from ..evidence.finding import Finding, Findings
from ..evidence.quantities import quantity_values
from ..evidence.verdicts import ORDER
from ..run.trail import Rung, Trail
from ..stream.stored import carried_by, restored
from ..thresholds import DENSEST, LARGEST_RECORD
from .groups import ON_REQUEST
from .posterior import Posterior
from .record import COLUMNS, Cost, Record, split
from .save import DRAWS, ENGINE, FORMAT, GUIDE, NUMBER, RECORD

FILTERS = {1, 2, 3}  # deflate, shuffle and the checksum of Fletcher: HDF5's own, which load no plugin


def load(path, program=None, trust=None) -> Posterior:
    """Read what `Posterior.save` wrote; the model's data are not needed.

    Parameters
    ----------
    path : str or path
        The folder that was saved.
    program : Program, optional
        The program that was fitted: with it `Posterior.predict` and the groups of draws that need the model
        work again. One whose source or data differ is noted in ``posterior.findings``.
    trust : Trust, optional
        An `elboroom.Trust`: the folder, or the version of a registry that holds it, is read only if one of its keys has signed
        it and no file has changed since.

    Returns
    -------
    Posterior
        Same draws, same summary.

    Raises
    ------
    InferenceError
        If the folder is absent, not a posterior, damaged, or of a newer format.
    SignatureError
        If it must be trusted and is not.

    Examples
    --------
    >>> import tempfile
    >>> import elboroom as er
    >>> @er.model
    ... def level(y):
    ...     er.observe("y", er.Normal(er.sample("mu", er.Normal(0, 10)), 1), y)
    >>> posterior = er.fit(level(2.0), progress=False)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     again = er.load(posterior.save(folder))
    >>> again.summary().equals(posterior.summary())
    True
    """
    path = files.place(path, "load")
    if trust is not None:
        if not hasattr(trust, "opened"):
            got, remedy = type(trust).__name__, "pass er.Trust('trust.json')"
            raise InferenceError(explain("trust", "an er.Trust, or None", got, remedy))
        with trust.opened(path) as checked:
            inner = checked / "posterior"
            return load(inner if inner.is_dir() else checked, program)
    if program is not None and not isinstance(program, Program):
        got, remedy = type(program).__name__, "call the model with its data"
        raise InferenceError(explain("program", "a model bound to data", got, remedy))
    if not path.exists():
        files.tidy(path)  # a save that was killed may have taken it away
    record, sealed, contents = _read(path)
    try:
        made = _rebuild(path, record, contents)
    except ElboroomError:
        raise
    except Exception as error:  # any reader's own error means the same here
        raise _damaged(path, in_short(error)) from error
    if not sealed:
        words = "The folder is of version 0.1, which kept no checksum of its record: that it is as it was saved is not "
        words += "known. Save it again."
        made = _told(made, Finding("no checksum", RECORD, None, None, "caution", words))
    return Posterior(made if program is None else _going_on(_reunited(made, program)))


def _going_on(record: Record) -> Record:
    """With the stream that it is the last posterior of, which its program carries on."""
    if record.program is None or record.stream is None:
        return record
    return replace(record, stream=carried_by(record.stream, record.program.model))


def _told(record: Record, finding: Finding) -> Record:
    """With one more finding."""
    return replace(record, findings=Findings([*record.findings, finding]))


def _damaged(path, what) -> InferenceError:
    return InferenceError(
        explain(f"posterior at '{path}'", "the files as they were saved", what, "save the posterior again")
    )


def _read(path: Path) -> tuple[dict, bool, dict[str, bytes]]:
    """The record, whether it has a digest, and the files that it names; again where it was replaced meanwhile."""
    before = None
    while True:
        record, sealed, text = _read_record(path)
        try:
            return record, sealed, {name: _checked(path / name, record) for name in (DRAWS, GUIDE)}
        except (OSError, ValueError) as error:
            if text == before:
                what = f"no file {error}" if isinstance(error, FileNotFoundError) else str(error)
                raise _damaged(path, what) from None
            before = text


def _checked(file: Path, record: dict) -> bytes:
    if not file.is_file():
        raise FileNotFoundError(file.name)
    if file.stat().st_size > available():
        raise ValueError(f"{file.name}, which has more bytes than the memory of this machine")
    content = file.read_bytes()
    if not isinstance(record.get("files"), dict) or file.name not in record["files"]:
        raise ValueError(f"{RECORD} without a digest of {file.name}")
    if hashlib.sha256(content).hexdigest() != record["files"][file.name]:
        raise ValueError(f"a changed or cut {file.name}")
    return content


def _read_record(path: Path) -> tuple[dict, bool, bytes]:
    what, file = f"load '{path}'", path / RECORD
    if not path.exists():
        raise InferenceError(explain(what, "a folder", "nothing there", "correct the path"))
    if not file.is_file():
        got = f"a folder without {RECORD}" if path.is_dir() else "a file"
        raise InferenceError(explain(what, "the folder of a saved posterior", got, "correct the path"))
    try:
        if file.stat().st_size > LARGEST_RECORD:
            raise ValueError(f"more than {LARGEST_RECORD} bytes")
        text = file.read_bytes()
        record, sealed = files.unsealed_json(text)
    except (OSError, ValueError) as error:
        raise _damaged(path, f"{RECORD} that cannot be read ({error})") from None
    kind, _, number = str(record.get("format")).partition("/")
    if kind != FORMAT or not number.isdecimal() or len(number) > 4:
        expected = f"the format {FORMAT}/{NUMBER}"
        raise InferenceError(explain(what, expected, repr(record.get("format"))[:80], "correct the path"))
    if int(number) > NUMBER:
        got = f"{kind}/{number}, written by elboroom {str(record.get('elboroom'))[:80]}"
        raise InferenceError(explain(what, f"the format {FORMAT}/{NUMBER} or older", got, "upgrade elboroom"))
    if not sealed and number != "1":
        raise _damaged(path, f"{RECORD} without its digest")
    return record, sealed, text


def _rebuild(path: Path, record: dict, contents: dict[str, bytes]) -> Record:
    from safetensors.numpy import load as from_bytes

    tensors = from_bytes(contents[GUIDE])
    groups = _read_groups(contents[DRAWS], tensors["z"].dtype)
    families = catalogue.known()
    if record["family"] not in families:
        raise InferenceError(
            explain(
                f"load '{path}'",
                f"a guide among {sorted(families)}",
                repr(record["family"]),
                "load it with the version of elboroom that saved it",
            )
        )
    if set(record["table"]["verdict"]) - {*ORDER, None}:
        raise ValueError("a verdict that is none of ours")
    fit = groups["fit"]
    fit_record = {k: fit[k].values for k in fit.data_vars}
    for name, value in groups.get("sample_stats", {}).items():
        fit_record["lp" if name == "lp" else f"stats/{name}"] = value.values.ravel()
    table = record["table"]
    numbers = {k: np.array([_number(v) for v in table[k]], float) for k in COLUMNS[:5]}
    return Record(
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
        findings=_findings(record["findings"]),
        cost=_filled(Cost, record["cost"]),
        settings=record["settings"],
        fit_record=fit_record,
        observed_data=_variables(groups, "observed_data", record["observed_data"]),
        constant_data=_variables(groups, "constant_data", record["constant_data"]),
        data_fingerprint=record["data_fingerprint"],
        weights=_under(tensors, "weights/"),
        centring=_under(tensors, "centring/"),
        model=record["model"],
        labels={k: tuple(v) for k, v in record["labels"].items()},
        all_shapes={k: tuple(v) for k, v in record.get("shapes", {}).items()},
        saved={k: v for k, v in groups.items() if k in ON_REQUEST},
        blame=record.get("blame"),
        reported={k: _findings(v) if k == "checks" else v for k, v in record.get("reported", {}).items()},
        maps=record.get("maps", {}),
        stream=restored(record["stream"], _under(tensors, "stream/")) if record.get("stream") else None,
    )


def _read_groups(content: bytes, precision) -> dict:
    import h5py
    import xarray as xr

    with h5py.File(io.BytesIO(content), "r") as file:
        _refuse_foreign(file, len(content))
    with xr.open_datatree(io.BytesIO(content), engine=ENGINE) as tree:
        groups = {name: node.to_dataset().load() for name, node in tree.children.items()}
    return {
        name: group.assign({k: v.astype(precision) for k, v in group.items() if v.dtype == np.float32})
        for name, group in groups.items()
    }


def _refuse_foreign(file, size: int) -> None:
    """Refuse what `save` does not write: links and storage outside the file, foreign filters, and more data than it holds.

    Raises
    ------
    ValueError
    """
    import h5py

    declared = 0
    groups = [(file, "", 0)]
    while groups:
        group, place, depth = groups.pop()
        for name in group:
            where = f"{DRAWS}:{place}/{name}"
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"a link at {where}")
            item = group[name]
            if isinstance(item, h5py.Group):
                if depth:
                    raise ValueError(f"a group within a group at {where}")
                groups.append((item, f"/{name}", depth + 1))
                continue
            declared += _declared(item, where)
    if declared > min(DENSEST * size, available()):
        raise ValueError(f"{declared} bytes of data in {size} bytes of {DRAWS}")


def _declared(item, where: str) -> int:
    """Bytes of data that a data set says it has, of those that `save` writes."""
    import h5py

    if not isinstance(item, h5py.Dataset) or item.external or item.is_virtual:
        raise ValueError(f"data kept elsewhere at {where}")
    steps = item.id.get_create_plist()
    if {steps.get_filter(i)[0] for i in range(steps.get_nfilters())} - FILTERS:
        raise ValueError(f"a foreign filter at {where}")
    if item.dtype.hasobject and h5py.check_string_dtype(item.dtype) is None:
        raise ValueError(f"neither numbers nor text at {where}")
    return item.size * item.dtype.itemsize if item.id.get_storage_size() else 0  # a dimension alone has none


def _variables(groups, group: str, names, chains=False) -> dict[str, np.ndarray]:
    found = {name: groups[group][variable_name(name)].values for name in names}
    return {k: v.reshape(-1, *v.shape[2:]) for k, v in found.items()} if chains else found


def _under(tensors, prefix: str) -> dict[str, np.ndarray]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _number(value) -> float:
    return np.nan if value is None else float(value)


def _findings(records: list[dict]) -> Findings:
    """Findings whose numbers get their infinities back."""

    def number(value):
        return None if value is None else float(value)

    return Findings(
        Finding(**{**f, "value": number(f["value"]), "threshold": number(f["threshold"])}) for f in records
    )


def _filled(cls, record: dict):
    """A record whose float fields get their NaN and infinities back."""
    floats = {f.name for f in fields(cls) if f.type in ("float", float)}
    return cls(**{k: _number(v) if k in floats else v for k, v in record.items()})


def _site(record: dict) -> Site:
    kept: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}
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


def _reunited(record: Record, program) -> Record:
    """A loaded posterior with its program, or with a finding why that is not the one that was fitted."""

    def noted(record: Record, what: str, advice: str, verdict: str = "caution") -> Record:
        return _told(record, Finding(what, "program", None, None, verdict, advice))

    def layout(sites):
        return {s.name: s.shape for s in sites if s.role == "latent"}

    ours = layout(record.sites)
    target = _of_kept(record, program.target(record.backend, record.model.get("dtype")))
    program = target.program
    same_data = program.data_fingerprint == record.data_fingerprint
    theirs = layout(target.trace.sites)
    if set(ours) - set(theirs) or (same_data and ours != theirs):
        return noted(
            record,
            "foreign program",
            f"The program's latent sites {theirs} are not those that were fitted {ours}: it was left aside. "
            "Load with the program that was fitted.",
            "untrusted",
        )
    target = (
        target.centred(record.centring) if same_data else target
    )  # which another number of groups has not
    known = {k: v for k, v in record.weights.items() if np.shape(v) == np.shape(target.weights.get(k))}
    target = target.at(known) if known else target
    if same_data and (words := _another_density(record, target)) is not None:
        return noted(
            record,
            "foreign program",
            f"The program is not the one that was fitted: {words}. It was left aside. Load with the program that was "
            "fitted, or fit this one.",
            "untrusted",
        )
    if not same_data and program.model.code_hash != record.model.get("code"):
        record = noted(
            record,
            "changed model",
            f"The code of '{program.name}' or of a helper is not the one that was fitted, or it runs on another "
            "Python. Summaries and draws are those of the fitted model; predictions follow the new one.",
        )
    if not same_data:
        record = noted(
            record,
            "other data",
            "The program is bound to other data than the fit's: it serves predict, but not the groups of "
            "draws that need the fitted data.",
            "ok",
        )
        return replace(record, program=program)
    values = dict(record.values)
    if set(record.shapes) - set(values):
        made = split(*quantity_values(target, record.z))
        values = {name: values.get(name, made[name]) for name in record.shapes}
    return replace(record, program=program, target=target, values=values)


def _of_kept(record: Record, target) -> Any:
    """The target of the rows that a posterior holds, where it holds some of those that the target has."""
    encoder = record.settings.get("encoder") or {}
    if "total" not in encoder or sizes_of(target.trace).get(encoder["plate"]) != encoder["total"]:
        return target
    return of_rows(target, encoder["plate"], record.fit_record[KEPT].astype(int))


def _another_density(posterior: Record, target) -> str | None:
    """In what a program on the same data differs from the one that was fitted, or None."""
    record = posterior.model
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
