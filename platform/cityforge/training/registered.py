"""Torch weights of registered versions: kept with a version, fetched for a warm start."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cityforge.dataset.digests import digest_of_file
from cityforge.errors import InputError, NameUnknown, PackageError, RegistryError
from cityforge.project import Project
from cityforge.trust.journal import Journal

SCHEME = "models:/"
ADDRESS = re.compile(r"models:/(?P<name>[^/@]+)[/@](?P<version>[^/@]+)")
TAG_WEIGHTS = "cityforge.weights_digest"
WEIGHTS_FILE = "model.safetensors"
ABOUT_FILE = "train.json"


def keep_weights(client: Any, run_id: str, trained: Path) -> dict[str, str]:
    """Store the train stage's weights with its run; returns the tags that find them again.

    Args:
        trained: folder of the train stage.

    Raises:
        RegistryError: the weights there are of another run.
    """
    about = json.loads((trained / ABOUT_FILE).read_text(encoding="utf-8"))
    if about["mlflow_run_id"] != run_id:
        raise RegistryError(
            "the weights that the package was made from",
            found=f"those of run {about['mlflow_run_id']}, not of {run_id}",
            where=str(trained),
            do=f"cityforge run {about['algorithm']}",
        )
    digest = digest_of_file(trained / WEIGHTS_FILE)
    for name in (WEIGHTS_FILE, ABOUT_FILE):
        client.log_artifact(run_id, str(trained / name), _place(digest))
    return {TAG_WEIGHTS: digest}


@dataclass(frozen=True)
class KeptWeights:
    """Where a version's weights are, and their sha256."""

    name: str  # models:/ALGORITHM/NUMBER
    run_id: str
    digest: str


def find_weights(client: Any, address: str) -> KeptWeights:
    """The weights of a version.

    Args:
        address: models:/ALGORITHM/VERSION, or an alias in the version's place.

    Raises:
        InputError: not such an address.
        NameUnknown: no such algorithm, version or alias.
        RegistryError: the version keeps no weights.
    """
    asked = ADDRESS.fullmatch(address)
    if asked is None:
        raise InputError(
            "models:/ALGORITHM/VERSION", found=f"'{address}'", where="train.weights",
            do="a number, or an alias such as champion",
        )  # fmt: skip
    version = _find(client, asked["name"], asked["version"])
    name = f"{SCHEME}{version.name}/{version.version}"
    digest = dict(version.tags).get(TAG_WEIGHTS)
    if not digest:
        raise RegistryError(
            "weights beside the package", found="none", where=name,
            do="take a version that was registered later, or a file",
        )  # fmt: skip
    return KeptWeights(name, str(version.run_id), digest)


def fetch_weights(client: Any, project: Project, address: str) -> tuple[Path, str]:
    """Bring a version's weights to this machine: their file, and `models:/NAME/NUMBER`.

    Raises:
        RegistryError: they cannot be fetched; and as `find_weights`.
        PackageError: they are not what was registered.
    """
    found = find_weights(client, address)
    folder = project.work / "weights" / found.digest
    if not (folder / WEIGHTS_FILE).is_file():
        _download(client, found, folder)
    if digest_of_file(folder / WEIGHTS_FILE) != found.digest:
        raise PackageError(
            "the weights that were registered", found="others", where=str(folder),
            do="remove that folder; they are fetched again",
        )  # fmt: skip
    return folder / WEIGHTS_FILE, found.name


def refuse_fallen(journal: Journal, name: str) -> None:
    """Refuse to begin a training from a version that was rejected, or whose data was withdrawn.

    Args:
        name: models:/ALGORITHM/NUMBER.

    Raises:
        RegistryError: it was, and no later approval has answered a withdrawal.
        ServiceError: the journal does not answer: nobody knows how it stands.
    """
    asked = ADDRESS.fullmatch(name)
    if asked is None or not asked["version"].isdecimal():
        raise InputError("models:/ALGORITHM/NUMBER", found=f"'{name}'", where="train.weights")
    algorithm, number = asked["name"], int(asked["version"])
    rejected, withdrawn = "", ""
    for entry in journal.entries(acts=("approve", "reject", "withdraw")):
        if entry.act == "withdraw":
            touched = {(e["algorithm"], int(e["version"])) for e in entry.body.get("versions", [])}
            if (algorithm, number) in touched:
                withdrawn = f"its data was withdrawn by {entry.by}: {entry.body['reason']}"
        elif entry.about == algorithm and int(entry.body["version"]) == number:
            if entry.act == "reject":
                rejected = f"rejected by {entry.by}: {entry.body['reason']}"
            else:
                withdrawn = ""  # approved in spite of it, with a reason on record
    if rejected or withdrawn:
        raise RegistryError(
            "weights of a version that may be used", found=rejected or withdrawn, where=name,
            do=f"--set train.weights=models:/{algorithm}/NUMBER of another version, or scratch",
        )  # fmt: skip


def _place(digest: str) -> str:
    return f"train/{digest}"


def _find(client: Any, name: str, asked: str) -> Any:
    import mlflow

    known = client.search_model_versions(f"name = '{name.replace(chr(39), '')}'", max_results=1000)
    if not known:
        models = [each.name for each in client.search_registered_models(max_results=1000)]
        raise NameUnknown("an algorithm with versions", name, models, where="train.weights")
    if asked.isdecimal():
        for each in known:
            if int(each.version) == int(asked):
                return each
    else:
        try:
            return client.get_model_version_by_alias(name, asked)
        except mlflow.exceptions.MlflowException:
            pass
    aliases = client.get_registered_model(name).aliases
    names = sorted([*(str(each.version) for each in known), *aliases])
    raise NameUnknown(f"a version of '{name}'", asked, names, where="train.weights")


def _download(client: Any, kept: KeptWeights, folder: Path) -> None:
    """Fetch beside `folder`, and put it there only when it is what was registered."""
    import mlflow

    beside = folder.with_name(f".{kept.digest}.{os.getpid()}")
    source = f"{client.get_run(kept.run_id).info.artifact_uri}/{_place(kept.digest)}"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        mlflow.artifacts.download_artifacts(
            artifact_uri=source, dst_path=str(beside), tracking_uri=client.tracking_uri
        )
        found = next(beside.rglob(WEIGHTS_FILE), None)
        if found is None or digest_of_file(found) != kept.digest:
            raise PackageError(
                "the weights that were registered", found="others", where=source,
                do=f"do not use {kept.name}",
            )  # fmt: skip
        shutil.rmtree(folder, ignore_errors=True)
        found.parent.replace(folder)
    except (mlflow.exceptions.MlflowException, OSError) as error:
        raise RegistryError(
            "the files of a version's weights", found=str(error).splitlines()[0], where=source
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
