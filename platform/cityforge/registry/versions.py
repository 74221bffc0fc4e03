"""Model versions as the journal has them: listed, found, their packages fetched and checked."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from cityforge.errors import NameUnknown, PackageError, RegistryError, TrustError
from cityforge.inference.package import ABOUT_FILE, Package, open_package
from cityforge.inference.package_files import refuse_foreign
from cityforge.registry.beside import first_cause, folder_beside
from cityforge.registry.site import Site
from cityforge.registry.standing import ACTS, Standing, State, standing
from cityforge.trust.chain import read_chain
from cityforge.trust.signature import refuse_unsigned

CHAMPION = "champion"
CHALLENGER = "challenger"
TAG_PACKAGE = "cityforge.package_digest"
TAG_EVIDENCE = "cityforge.evidence_digest"
TAG_APPROVAL = "cityforge.approval"
# Of the body of a `register` entry: what MLflow's page shows as tags, too.
TAGGED = (
    "package_digest", "evidence_digest", "snapshot_digest", "signature_digest", "task",
    "git_commit", "git_dirty", "lock_digest", "model_digest", "gates_passed",
)  # fmt: skip


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
    state: State | None = None

    @property
    def task(self) -> str:
        """Its kind; versions of before there were several are of detection."""
        return self.tags.get("cityforge.task", "detection")

    @property
    def metrics(self) -> dict[str, float | None]:
        """Figures on the test split."""
        return dict(self.state.register.body["metrics"]) if self.state else {}


def standing_of(site: Site, algorithm: str) -> Standing:
    """How the versions of an algorithm stand now; nothing is verified."""
    return standing(site.journal.entries(acts=ACTS), algorithm)


def list_versions(site: Site, algorithm: str) -> list[Version]:
    """Versions of an algorithm, the newest first; empty when it has none."""
    return versions_in(standing_of(site, algorithm), algorithm)


def versions_in(found: Standing, algorithm: str) -> list[Version]:
    """The versions of a standing, the newest first."""
    numbers = sorted(found.versions, reverse=True)
    return [_version(found, algorithm, number) for number in numbers]


def find_version(site: Site, algorithm: str, version: int | None) -> Version:
    """One version, or the newest when `version` is None.

    Raises:
        RegistryError: the algorithm has no version at all.
        NameUnknown: it has others, not this one.
    """
    found = standing_of(site, algorithm)
    if not found.versions:
        raise RegistryError(
            f"a version of '{algorithm}'", found="none", do=f"cityforge run {algorithm}"
        )
    number = max(found.versions) if version is None else version
    if number not in found.versions:
        known = [str(each) for each in sorted(found.versions)]
        raise NameUnknown(f"a version of '{algorithm}'", str(version), known)
    return _version(found, algorithm, number)


def champion(site: Site, algorithm: str) -> Version | None:
    """The version that is approved and in use, as the journal says."""
    found = standing_of(site, algorithm)
    return None if found.champion is None else _version(found, algorithm, found.champion)


def fetch_package(site: Site, version: Version) -> tuple[Path, Package]:
    """Bring a version's package to this machine; hold it against digest and signature.

    Raises:
        PackageError: it is not the package that was registered, or not as it was signed.
        RegistryError: its files cannot be fetched.
    """
    folder = package_folder(site, version)
    if not folder.is_dir():
        _download(site, version, folder)
    try:
        return folder, check_package(site, version, folder)
    except PackageError as error:
        raise PackageError(
            error.expected,
            found=error.found,
            where=error.where,
            do=f"remove {folder}; it is fetched again",
        ) from error


def package_folder(site: Site, version: Version) -> Path:
    """Where a version's package lies on this machine, once it is fetched."""
    signature = version.tags.get("cityforge.signature_digest", "")[:16]
    name = "-".join(filter(None, (version.tags[TAG_PACKAGE], signature)))
    return site.project.work / "packages" / name


def check_package(site: Site, version: Version, folder: Path) -> Package:
    """Open a package that is held against what the version's `register` entry says.

    Raises:
        PackageError: it is another, or not as it was signed.
        TrustError: nobody trusts the key that signed it.
    """
    package = open_package(folder, expected_digest=version.tags[TAG_PACKAGE])
    if version.state is None or not version.state.is_signed:
        return package
    found = refuse_unsigned(folder, _public(site, version.state), package.files)
    expected = version.tags["cityforge.signature_digest"]
    if found != expected:
        raise PackageError(
            f"the signature {expected[:16]}… that was registered", found=f"{found[:16]}…",
            where=str(folder),
        )  # fmt: skip
    return package


def _public(site: Site, state: State) -> str:
    key = state.register.key
    chain = read_chain(site.journal.entries(acts=("key.trust", "key.revoke")))
    if key not in chain.keys:
        raise TrustError("the key that signed a version", found=f"key {key}, which nobody trusts",
                         where=site.journal.where)  # fmt: skip
    return chain.keys[key].public


def _download(site: Site, version: Version, folder: Path) -> None:
    """Fetch a package beside `folder`, and put it there only when it is the one registered."""
    source = version.state.register.body["source"] if version.state else ""
    try:
        with folder_beside(folder) as scratch:
            inner = _fetched(site, source, scratch / "package")
            check_package(site, version, inner)
            _put(inner, folder)
    except OSError as error:
        raise RegistryError(
            "the package's files", found=first_cause(error), where=source
        ) from error
    except PackageError as error:
        raise PackageError(
            error.expected,
            found=error.found,
            where=source,
            do="it is not what was registered: do not use this version",
        ) from error


def _fetched(site: Site, source: str, beside: Path) -> Path:
    """Folder with the package's files, below `beside`; MLflow is asked for what is not a file."""
    address = urlparse(source)
    if address.scheme in ("", "file"):
        stored = Path(unquote(address.path))
        refuse_foreign([path.name for path in stored.iterdir()], source)
        shutil.copytree(stored, beside)
        return beside
    import mlflow

    uri = site.client.tracking_uri
    try:
        listed = mlflow.artifacts.list_artifacts(artifact_uri=source, tracking_uri=uri)
        refuse_foreign([each.path.rpartition("/")[2] for each in listed], source)
        mlflow.artifacts.download_artifacts(
            artifact_uri=source, dst_path=str(beside), tracking_uri=uri
        )
    except mlflow.exceptions.MlflowException as error:
        raise RegistryError(
            "the package's files", found=str(error).splitlines()[0], where=source
        ) from error
    return next((path.parent for path in beside.rglob(ABOUT_FILE)), beside)


def _put(inner: Path, folder: Path) -> None:
    try:
        inner.replace(folder)
    except OSError:
        if not folder.is_dir():  # another process was first
            raise


def _version(found: Standing, algorithm: str, number: int) -> Version:
    state = found.versions[number]
    body = state.register.body
    aliases = {CHAMPION: found.champion, CHALLENGER: found.challenger}
    return Version(
        algorithm=algorithm,
        version=number,
        created_at=datetime.fromisoformat(body["created_at"]),
        run_id=str(body["run_id"]),
        aliases=tuple(name for name, each in aliases.items() if each == number),
        approval=_approval(state) if state.holds else None,
        tags=tags_of(body),
        state=state,
    )


def tags_of(body: dict[str, Any]) -> dict[str, str]:
    """Tags of a version from the body of its `register` entry."""
    return {f"cityforge.{name}": _text(body[name]) for name in TAGGED if body.get(name) is not None}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _approval(state: State) -> dict[str, Any] | None:
    return approval_record(state.approval) if state.approval else None


def approval_record(entry: Any) -> dict[str, Any]:
    """What lists and endpoints say of an approval."""
    body = entry.body
    return {
        "approver": entry.by, "at": entry.at, "reason": body["reason"],
        "package_digest": body["package_digest"], "evidence_digest": body["evidence_digest"],
        "override": body["override"], "one_person": body["one_person"],
        "withdrawn_reason": body["withdrawn_reason"], "entry": entry.number, "key": entry.key,
    }  # fmt: skip
