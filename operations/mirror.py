"""MLflow as a mirror of a registry: its versions, tags, files and aliases. Never a ``pyfunc``: nothing that runs code when it is read."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from ..inference.evidence.finding import Finding
from ..ppl.errors import RegistryError, explain, in_short
from .extras import require
from .naming import bare
from .thresholds import MIRROR_SECONDS
from .trackers.mlflow import probe
from .version import Version, Versions

SCHEME = "mlflow:"
NUMBER = "elboroom.version"


class Mirror:
    """A server, or a database, that is told what the registry holds.

    Parameters
    ----------
    place : str
        ``"mlflow:URL"``.

    Raises
    ------
    RegistryError
        For another kind of place.
    MissingBackendError
        Where MLflow is not installed.

    Notes
    -----
    Whatever was missed while it was down is made up for at the next change, or by `Registry.mirrored`. The runs of what is withdrawn are
    deleted there; MLflow keeps their files until ``mlflow gc``.
    """

    def __init__(self, place: str):
        if not isinstance(place, str) or not place.startswith(SCHEME) or place == SCHEME:
            raise RegistryError(explain("mirror", "'mlflow:URL'", repr(place)[:80], "name an MLflow server"))
        require("mlflow", "mlflow", "mirror")
        self.uri, self._alone = place.removeprefix(SCHEME), threading.Lock()

    def told(self, name: str, versions: Versions) -> tuple[Finding, ...]:
        """Bring the mirror to the state of a model; what went wrong, if anything: it costs no more than that.

        Parameters
        ----------
        name : str
            Of the model.
        versions : Versions
            All that there are, with their aliases.
        """
        trouble: list[str] = []

        def work() -> None:
            try:
                with self._alone:  # an earlier one may be late
                    self._bring(name, versions, trouble)
            except Exception as error:  # of whatever library: it must not reach the registry
                trouble.append(bare(in_short(error)))

        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        worker.join(MIRROR_SECONDS)
        if worker.is_alive():
            trouble.append(f"no answer within {MIRROR_SECONDS:.0f} seconds")
        words = "The mirror lags: the registry itself has the change. Call registry.mirrored() when the server is back"
        return tuple(
            Finding("mirror", name, None, None, "caution", f"{words} ({one}).") for one in trouble[:1]
        )

    def _bring(self, name: str, versions: Versions, trouble: list[str]) -> None:
        if self.uri.startswith(("http:", "https:")):  # its client would try for minutes
            probe(self.uri)
        from mlflow.tracking import MlflowClient

        client = MlflowClient(self.uri, self.uri)
        if not client.search_registered_models(f"name='{name}'"):
            client.create_registered_model(name, tags={"elboroom": "a mirror"})
        ours, theirs = {str(version.number): version for version in versions}, {}
        for one in _all(client, name):
            number = one.tags.get(NUMBER)
            if number in ours and number not in theirs:
                theirs[number] = one
            elif number is not None:  # withdrawn, or sent by two at once
                client.delete_model_version(name, one.version)
                client.delete_run(one.run_id)
        for number, version in ours.items():
            try:
                theirs[number] = _sent(client, version, theirs.get(number))
            except RegistryError as error:  # nothing goes there that is not as it was
                trouble.append(str(error).rstrip("."))
        sent = [(version, theirs[number].version) for number, version in ours.items() if number in theirs]
        _aliased(client, name, {alias: number for version, number in sent for alias in version.aliases})


def _all(client: Any, name: str) -> list[Any]:
    found, token = [], None
    while True:
        page = client.search_model_versions(f"name='{name}'", page_token=token)
        found += page
        if not (token := page.token):
            return found


def _sent(client: Any, version: Version, there: Any) -> Any:
    """Send the files of a version in a run of its own, unless they are there, and its tags; what the server has of it."""
    notes = {"verdict": version.verdict, "fits_data": version.fits_data, "manifest": version.manifest}
    tags = {
        NUMBER: str(version.number),
        **{f"elboroom.{k}": str(v) for k, v in notes.items()},
        **version.tags,
    }
    if there is None:
        version.check()
        experiment = client.get_experiment_by_name(version.model)
        own = client.create_experiment(version.model) if experiment is None else experiment.experiment_id
        run = client.create_run(own, run_name=f"{version.model}-{version.number}").info.run_id
        client.log_artifacts(run, str(version.folder), "version")
        client.set_terminated(run, "FINISHED")
        source, words = f"runs:/{run}/version", version.because
        return client.create_model_version(version.model, source, run, tags=tags, description=words)
    for tag in there.tags.keys() - tags.keys():
        client.delete_model_version_tag(version.model, there.version, tag)
    for tag, value in tags.items() - there.tags.items():
        client.set_model_version_tag(version.model, there.version, tag, value)
    return there


def _aliased(client: Any, name: str, ours: Mapping[str, str]) -> None:
    theirs = client.get_registered_model(name).aliases
    for alias in set(theirs) - set(ours):
        client.delete_registered_model_alias(name, alias)
    for alias, number in ours.items():
        if str(theirs.get(alias)) != str(number):
            client.set_registered_model_alias(name, alias, number)
