"""Model versions in MLflow: registered with all they came from, listed, fetched."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cityforge.errors import NameUnknown, PackageError, RegistryError
from cityforge.evaluation.evidence import Evidence, read_evidence
from cityforge.inference.package import ABOUT_FILE, EVIDENCE_FILE, Package, open_package
from cityforge.project import Project

CHAMPION = "champion"
CHALLENGER = "challenger"
TAG_PACKAGE = "cityforge.package_digest"
TAG_EVIDENCE = "cityforge.evidence_digest"
TAG_APPROVAL = "cityforge.approval"


@dataclass(frozen=True)
class Version:
    """One model version, as lists and people see it."""

    algorithm: str
    version: int
    created_at: datetime
    run_id: str
    aliases: tuple[str, ...]
    approval: dict[str, Any] | None
    tags: dict[str, str]

    @property
    def metrics(self) -> dict[str, float]:
        """Figures on the test split."""
        found: dict[str, float] = json.loads(self.tags.get("cityforge.metrics", "{}"))
        return found


def register(
    client: Any, project: Project, algorithm: str, package: Path, results: Path
) -> Version:
    """Log a package and its report, and register it as a version, a challenger.

    A package that is registered already keeps its version.

    Args:
        package: folder of the package.
        results: folder of the report and the predictions.
    """
    opened = open_package(package)
    for known in list_versions(client, algorithm):
        if known.tags.get(TAG_PACKAGE) == opened.digest:
            return known
    evidence = read_evidence(package / EVIDENCE_FILE)
    run_id = str(evidence.created_from.mlflow_run_id)
    client.log_artifacts(run_id, str(package), f"package/{opened.digest}")
    client.log_artifact(run_id, str(results / "report.html"), "report")
    for name, value in evidence.metrics.items():
        if value is not None:
            client.log_metric(run_id, f"test_{name}", value)
    _ensure_model(client, algorithm)
    source = f"{client.get_run(run_id).info.artifact_uri}/package/{opened.digest}"
    made = client.create_model_version(
        algorithm, source=source, run_id=run_id, tags=_tags(opened, evidence)
    )
    client.set_registered_model_alias(algorithm, CHALLENGER, made.version)
    return find_version(client, algorithm, int(made.version))


def list_versions(client: Any, algorithm: str) -> list[Version]:
    """Versions of an algorithm, the newest first; empty when it has none.

    Raises:
        RegistryError: the registry does not say.
    """
    import mlflow

    try:
        model = client.get_registered_model(algorithm)
    except mlflow.exceptions.MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return []
        raise RegistryError(
            f"the versions of '{algorithm}'", found=str(error).splitlines()[0]
        ) from error
    aliases: dict[int, list[str]] = {}
    for alias, version in model.aliases.items():
        aliases.setdefault(int(version), []).append(alias)
    found: list[Version] = []
    page = None
    while True:
        batch = client.search_model_versions(
            f"name = '{algorithm}'", max_results=1000, page_token=page
        )
        found += [_version(each, aliases.get(int(each.version), [])) for each in batch]
        page = batch.token
        if not page:
            return sorted(found, key=lambda each: -each.version)


def find_version(client: Any, algorithm: str, version: int | None) -> Version:
    """One version, or the newest when `version` is None.

    Raises:
        RegistryError: the algorithm has no version at all.
        NameUnknown: it has others, not this one.
    """
    versions = list_versions(client, algorithm)
    if not versions:
        raise RegistryError(
            f"a version of '{algorithm}'", found="none", do=f"cityforge run {algorithm}"
        )
    if version is None:
        return versions[0]
    for each in versions:
        if each.version == version:
            return each
    known = [str(each.version) for each in versions]
    raise NameUnknown(f"a version of '{algorithm}'", str(version), known)


def champion(client: Any, algorithm: str) -> Version | None:
    """The version that is approved and in use."""
    for each in list_versions(client, algorithm):
        if CHAMPION in each.aliases:
            return each
    return None


def fetch_package(client: Any, project: Project, version: Version) -> tuple[Path, Package]:
    """Bring a version's package to this machine and hold it against its digest.

    Raises:
        PackageError: it is not the package that was registered.
    """
    digest = version.tags[TAG_PACKAGE]
    folder = project.work / "packages" / digest
    if not folder.is_dir():
        _download(client, version, folder, digest)
    try:
        return folder, open_package(folder, expected_digest=digest)
    except PackageError as error:
        raise PackageError(
            error.expected,
            found=error.found,
            where=error.where,
            do=f"remove {folder}; it is fetched again",
        ) from error


def _download(client: Any, version: Version, folder: Path, digest: str) -> None:
    """Fetch a package beside `folder`, and put it there only when it is the one registered."""
    import mlflow

    beside = folder.with_name(f".{digest}.{os.getpid()}")
    source = client.get_model_version(version.algorithm, str(version.version)).source
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        mlflow.artifacts.download_artifacts(
            artifact_uri=source, dst_path=str(beside), tracking_uri=client.tracking_uri
        )
        inner = next((path.parent for path in beside.rglob(ABOUT_FILE)), beside)
        open_package(inner, expected_digest=digest)
        inner.replace(folder)
    except (mlflow.exceptions.MlflowException, OSError) as error:
        raise RegistryError(
            "the package's files", found=str(error).splitlines()[0], where=str(source)
        ) from error
    except PackageError as error:
        raise PackageError(
            error.expected,
            found=error.found,
            where=str(source),
            do="it is not what was registered: do not use this version",
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _tags(package: Package, evidence: Evidence) -> dict[str, str]:
    about = package.about
    return {
        TAG_PACKAGE: package.digest,
        TAG_EVIDENCE: about.evidence_digest,
        "cityforge.snapshot_digest": about.snapshot_digest,
        "cityforge.git_commit": about.git_commit,
        "cityforge.git_dirty": str(about.git_dirty).lower(),
        "cityforge.lock_digest": about.lock_digest,
        "cityforge.model_digest": about.model_digest,
        "cityforge.metrics": json.dumps(dict(evidence.metrics)),
        "cityforge.gates_passed": str(evidence.passed).lower(),
    }


def _ensure_model(client: Any, algorithm: str) -> None:
    import mlflow

    try:
        client.get_registered_model(algorithm)
    except mlflow.exceptions.MlflowException:
        client.create_registered_model(algorithm)


def _version(found: Any, aliases: list[str]) -> Version:
    tags = dict(found.tags)
    approval = tags.get(TAG_APPROVAL)
    return Version(
        algorithm=found.name,
        version=int(found.version),
        created_at=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
        run_id=str(found.run_id),
        aliases=tuple(sorted(aliases)),
        approval=json.loads(approval) if approval else None,
        tags=tags,
    )
