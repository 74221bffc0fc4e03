"""Keeps with each version which labels and frames it rests on, and fetches that again.

The lineage of a snapshot is stored once, in a run of MLflow of its own, whatever number of
versions were made from it; what is a version's own lies with the version's run.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from cityforge.dataset.lineage import (
    ABOUT_FILE,
    digest_kept,
    lineage_root,
    snapshot_folder,
    split_path,
    write_lineage,
    write_split,
)
from cityforge.dataset.lineage_lookup import Lineage
from cityforge.dataset.snapshot import open_snapshot, write_json
from cityforge.errors import DataError, RegistryError
from cityforge.footage.catalogue import read_catalogue
from cityforge.project import Project
from cityforge.registry.site import Site
from cityforge.tables import SPLIT, read_table

EXPERIMENT = "cityforge lineage"
TAG_SNAPSHOT = "cityforge.lineage_of"
TAG_DIGEST = "cityforge.lineage_digest"
PLACE = "lineage"  # of a run's artifacts
BASIS_FILE = "basis.json"


def open_lineage(project: Project, snapshot: str) -> Lineage | None:
    """The lineage of a snapshot, where it is on this machine."""
    folder = snapshot_folder(lineage_root(project), snapshot)
    return Lineage(folder) if (folder / ABOUT_FILE).is_file() else None


def lineages_here(project: Project) -> dict[str, Lineage]:
    """All lineages on this machine, by the digest of their snapshot."""
    found = sorted((lineage_root(project) / "snapshots").glob(f"[!.]*/{ABOUT_FILE}"))
    return {path.parent.name: Lineage(path.parent) for path in found}


def keep_snapshot(project: Project, dataset: str) -> Lineage | None:
    """Keep the lineage of the snapshot that lies here now, if it is not kept yet."""
    folder = project.dataset_folder(dataset)
    try:
        about, frames, labels = open_snapshot(folder / "snapshot")
    except (DataError, TypeError):  # none, or one of an older version
        return None
    root = lineage_root(project)
    return Lineage(write_lineage(root, about, frames, labels, read_catalogue(folder)))


def basis_of(project: Project, algorithm: str) -> dict[str, Any]:
    """What the version that lies in an algorithm's build folder rests on; kept here on the way.

    Returns:
        algorithm, dataset, snapshot, split and lineage (digests), and `initial`: where its
        weights began, as train.json says (null: from scratch). Empty where the snapshot is gone.
    """
    build = project.build(algorithm)
    try:
        split = json.loads((build / "split" / "snapshot.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    snapshot, dataset = str(split["dataset"]["digest"]), str(split["dataset"]["dataset"])
    kept = open_lineage(project, snapshot) or keep_snapshot(project, dataset)
    if kept is None or kept.about["snapshot"] != snapshot:
        return {}
    table = read_table(SPLIT, build / "split" / "split.parquet")
    write_split(lineage_root(project), split["digest"], snapshot, algorithm, dataset, table)
    return {
        "algorithm": algorithm,
        "dataset": dataset,
        "snapshot": snapshot,
        "split": str(split["digest"]),
        "lineage": str(kept.about["digest"]),
        "initial": _initial(build / "train" / "train.json"),
    }


def keep_lineage(client: Any, run_id: str, project: Project, algorithm: str) -> str:
    """Store what a version rests on beside its run.

    Args:
        run_id: of the version.

    Returns:
        Digest of the lineage of its snapshot; "" where that snapshot is not here any more.
    """
    basis = basis_of(project, algorithm)
    if not basis:
        return ""
    root = lineage_root(project)
    path = basis_path(project, run_id)
    write_json(path, basis)
    client.log_artifact(run_id, str(path), PLACE)
    client.log_artifact(run_id, str(split_path(root, basis["split"])), PLACE)
    if not _stored_run(client, basis["snapshot"]):
        _store(client, project, basis)
    return str(basis["lineage"])


def basis_path(project: Project, run_id: str) -> Path:
    """Where the basis of the version of this run lies on this machine, once it is known."""
    return lineage_root(project) / "runs" / run_id / BASIS_FILE


def fetch_lineage(site: Site, run_id: str) -> bool:
    """Bring what a version rests on to this machine; whether there was something to bring.

    Raises:
        RegistryError: it is stored and cannot be fetched, or is not what was stored.
    """
    import mlflow

    project, client = site.project, site.client
    try:
        names = [each.path for each in client.list_artifacts(run_id, PLACE)]
    except mlflow.exceptions.MlflowException:
        return False  # the run is gone
    if f"{PLACE}/{BASIS_FILE}" not in names:
        return False
    with_basis = _downloaded(client, run_id, PLACE, lineage_root(project))
    try:
        basis = json.loads((with_basis / BASIS_FILE).read_text(encoding="utf-8"))
        if open_lineage(project, basis["snapshot"]) is None:
            _fetch_snapshot(client, project, basis)
        split = split_path(lineage_root(project), basis["split"])
        split.parent.mkdir(parents=True, exist_ok=True)
        (with_basis / split.name).replace(split)
        write_json(basis_path(project, run_id), basis)
    finally:
        shutil.rmtree(with_basis.parent, ignore_errors=True)
    return True


def _fetch_snapshot(client: Any, project: Project, basis: dict[str, Any]) -> None:
    stored = _stored_run(client, basis["snapshot"])
    if stored is None:
        raise RegistryError(
            f"the lineage of snapshot {basis['snapshot'][:16]}", found="none",
            where=f"experiment '{EXPERIMENT}'",
        )  # fmt: skip
    folder = _downloaded(client, stored, PLACE, lineage_root(project))
    try:
        stored_of = str(Lineage(folder).about["snapshot"])
        if (digest_kept(folder), stored_of) != (basis["lineage"], basis["snapshot"]):
            raise RegistryError("the lineage that was stored", found="another",
                                where=f"run {stored}")  # fmt: skip
        target = snapshot_folder(lineage_root(project), basis["snapshot"])
        target.parent.mkdir(parents=True, exist_ok=True)
        folder.replace(target)
    finally:
        shutil.rmtree(folder.parent, ignore_errors=True)


def _store(client: Any, project: Project, basis: dict[str, Any]) -> None:
    """Upload the lineage of a snapshot; the tag that finds it comes last."""
    found = client.get_experiment_by_name(EXPERIMENT)
    location = None
    if str(client.tracking_uri).startswith("sqlite:"):  # this project's own
        location = (project.work / "artifacts").as_uri()
    experiment = (
        found.experiment_id
        if found
        else client.create_experiment(EXPERIMENT, artifact_location=location)
    )
    run_id = client.create_run(experiment, run_name=basis["snapshot"][:16]).info.run_id
    folder = snapshot_folder(lineage_root(project), basis["snapshot"])
    client.log_artifacts(run_id, str(folder), PLACE)
    client.set_tag(run_id, TAG_DIGEST, basis["lineage"])
    client.set_tag(run_id, TAG_SNAPSHOT, basis["snapshot"])
    client.set_terminated(run_id)


def _stored_run(client: Any, snapshot: str) -> str | None:
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return None
    asked = f"tags.`{TAG_SNAPSHOT}` = '{snapshot}'"
    found = client.search_runs([experiment.experiment_id], asked, max_results=1)
    return str(found[0].info.run_id) if found else None


def _downloaded(client: Any, run_id: str, place: str, root: Path) -> Path:
    import mlflow

    beside = root / f".fetch.{os.getpid()}.{run_id[:8]}"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        client.download_artifacts(run_id, place, str(beside))
    except (mlflow.exceptions.MlflowException, OSError) as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise RegistryError(
            "what a version rests on", found=str(error).splitlines()[0], where=f"run {run_id}"
        ) from error
    return beside / place


def _initial(path: Path) -> dict[str, str] | None:
    """Where the weights began that were trained; None from scratch, or where nobody says."""
    try:
        told = json.loads(path.read_text(encoding="utf-8")).get("initial") or {}
    except FileNotFoundError:
        return None
    if told.get("source") in (None, "", "scratch"):
        return None
    return {name: str(told.get(name, "")) for name in ("source", "digest", "snapshot")}
