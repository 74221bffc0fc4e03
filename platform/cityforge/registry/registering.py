"""Registers a package: signs it, stores it with all it came from, and puts the act on record.

Killed or refused anywhere, nothing is registered, and the next call finishes: the version that
MLflow may have by then is found by the digest of its package.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cityforge.dataset.digests import digest_of_file
from cityforge.errors import DataError, RegistryError
from cityforge.evaluation.evidence import Evidence, read_evidence
from cityforge.inference.package import EVIDENCE_FILE, Package, open_package
from cityforge.project import Project
from cityforge.registry.adoption import enter_older
from cityforge.registry.mlflow_store import answering, ensure_model, mlflow_versions, signed_copy
from cityforge.registry.projection import project_standing
from cityforge.registry.site import Site, acting
from cityforge.registry.standing import ACTS, Standing, State, standing
from cityforge.registry.versions import (
    TAG_PACKAGE,
    Version,
    find_version,
    list_versions,
    tags_of,
)
from cityforge.registry.withdrawn_before import withdrawn_at
from cityforge.training.registered import keep_weights
from cityforge.trust.chain import TrustedKey
from cityforge.trust.entries import Entry
from cityforge.trust.journal import remember, signer_of
from cityforge.trust.keys import Signer

REPORT = "report.html"
OLD_REPORTS = "report"  # folder of a run, where entries without `report_digest` have theirs
RESULTS = (REPORT, "predictions.parquet")


@dataclass(frozen=True)
class _Stored:
    """A signed package that lies in MLflow's store."""

    package: Package
    evidence: Evidence
    signature: str  # sha256 of model.sig
    source: str  # address of its folder
    kept: dict[str, str]  # tags that find the weights and the labels again
    report: str  # sha256 of report.html; "" without one


def register(
    site: Site,
    algorithm: str,
    package: Path,
    results: Path,
    trained: Path | None = None,
    who: str = "",
) -> Version:
    """Sign a package, store it with its report, and register it as a version, a challenger.

    A package that is registered already keeps its version, unless the key that registered it
    was compromised since: then it is another version, by another key.

    Args:
        package: folder of the package; nothing is written into it.
        results: folder of the report and the predictions.
        trained: folder of the train stage, whose weights later trainings may begin from.
        who: whose key signs; by default the user of the settings, or the login.

    Raises:
        DataError: the evidence is of another snapshot, model or algorithm.
        TrustError: that person's key may not register.
        RegistryError, ServiceError: MLflow or the journal does not take it; nothing is registered.
    """
    opened, evidence = open_evaluated(package, algorithm)
    known = _registered(site, algorithm, opened.digest)
    if known is None:
        signer = signer_of(site.journal, site.settings, who or acting(site))
        with answering("the registry"):
            stored = _store(site, algorithm, package, opened, evidence, results, trained, signer)
            entry = _enter(site, algorithm, stored, signer)
        remember(site.settings, signer, entry, site.journal)
        known = int(entry.body["version"])
    for line in project_standing(site, algorithm):
        site.say(line)
    return find_version(site, algorithm, known)


def open_evaluated(package: Path, algorithm: str) -> tuple[Package, Evidence]:
    """A package with its evidence, which must be of this very package.

    Raises:
        DataError: it is not.
    """
    opened = open_package(package)
    evidence = read_evidence(package / EVIDENCE_FILE)
    about, source = opened.about, evidence.created_from
    for what, expected, found in (
        ("algorithm", algorithm, about.algorithm),
        ("algorithm", algorithm, evidence.algorithm),
        ("snapshot", about.snapshot_digest, source.snapshot_digest),
        ("model", about.model_digest, source.model_digest),
    ):
        if expected != found:
            raise DataError(
                f"evidence of {what} {expected[:12]}, as the package", found=found[:12],
                where=str(package), do=f"cityforge run {algorithm} evaluates it anew",
            )  # fmt: skip
    return opened, evidence


def _registered(site: Site, algorithm: str, digest: str) -> int | None:
    """Number of the signed version that has this package."""
    keys = site.journal.chain().keys
    for each in list_versions(site, algorithm):
        if each.state and _stands(each.state, digest, keys):
            return each.version
    return None


def _stands(state: State, digest: str, keys: Mapping[str, TrustedKey]) -> bool:
    """Whether a version is the signed one of a package, by a key that was not compromised."""
    register = state.register
    key = keys.get(register.key)
    same = register.body["package_digest"] == digest and state.is_signed
    return same and not (key and key.compromised)


def _store(
    site: Site, algorithm: str, package: Path, opened: Package, evidence: Evidence,
    results: Path, trained: Path | None, signer: Signer,
) -> _Stored:  # fmt: skip
    """Sign a copy of the package and upload it with all that belongs to it."""
    client, run_id = site.client, str(evidence.created_from.mlflow_run_id)
    with signed_copy(site, package, opened.digest, signer) as (folder, signature):
        place = f"package/{opened.digest}/{signature[:16]}"
        client.log_artifacts(run_id, str(folder), place)
    for name in RESULTS:
        if (results / name).is_file():
            client.log_artifact(run_id, str(results / name), report_place(opened.digest))
    for name, value in evidence.metrics.items():
        if value is not None:
            client.log_metric(run_id, f"test_{name}", value)
    kept = keep_weights(client, run_id, trained) if trained else {}
    kept |= _kept_lineage(client, run_id, site.project, algorithm)
    source = f"{client.get_run(run_id).info.artifact_uri}/{place}"
    report = results / REPORT
    digest = digest_of_file(report) if report.is_file() else ""
    return _Stored(opened, evidence, signature, source, kept, digest)


def report_place(package_digest: str) -> str:
    """Folder of a run that holds the report of a package: several versions may share a run."""
    return f"{OLD_REPORTS}/{package_digest[:16]}"


def _kept_lineage(client: Any, run_id: str, project: Project, algorithm: str) -> dict[str, str]:
    """Store which labels and frames the version rests on."""
    if not (project.build(algorithm) / "split" / "split.parquet").is_file():
        return {}  # a package that was brought along, without its data
    from cityforge.registry.lineage import keep_lineage

    return {"cityforge.lineage_digest": str(keep_lineage(client, run_id, project, algorithm))}


def _rests_on(project: Project, algorithm: str, stored: _Stored) -> dict[str, Any]:
    """The data and the weights that a version began with, where they lie here."""
    from cityforge.registry.lineage import basis_of

    found = basis_of(project, algorithm)
    same = found.get("split") == stored.package.about.snapshot_digest
    return {"lineage": found} if same else {}


def _enter(site: Site, algorithm: str, stored: _Stored, signer: Signer) -> Entry:
    """Make MLflow's version and the journal's entry, while nobody else registers."""
    with site.journal.turn() as turn:
        chain = turn.chain()
        why = chain.bar(signer.key_id, "register") if chain.last else ""
        if why:
            raise RegistryError("a key that may register", found=why, where=str(signer.path),
                                do="an admin trusts a key with cityforge key trust")  # fmt: skip
        entries = turn.entries(acts=ACTS)
        found = standing(entries, algorithm)
        for state in found.versions.values():
            if _stands(state, stored.package.digest, chain.keys):
                return state.register  # another process was first
        enter_older(turn, site, algorithm, found, signer, but=stored.package.digest)
        number = _mlflow_version(site, algorithm, stored, found)
        body = _body(number, stored) | _rests_on(site.project, algorithm, stored)
        body["withdrawn"] = withdrawn_at(site, algorithm, entries, body)
        return turn.append(signer, "register", algorithm, body)


def _mlflow_version(site: Site, algorithm: str, stored: _Stored, found: Standing) -> int:
    """Number of MLflow's version of this package, made when there is none yet.

    One that the journal has as a signed version is another's, see `_stands`.

    Raises:
        RegistryError: MLflow would give a number that the journal has used.
    """
    client, digest = site.client, stored.package.digest
    last = max(found.versions, default=0)
    used = {number for number, state in found.versions.items() if state.is_signed}
    ensure_model(client, algorithm)
    made = mlflow_versions(client, algorithm)
    for each in made:
        if each.tags.get(TAG_PACKAGE) == digest and int(each.version) not in used:
            return int(each.version)
    newest = max((int(each.version) for each in made), default=0)
    if newest < last:
        raise RegistryError(
            f"version {last} of '{algorithm}', which the journal has, in MLflow",
            found=f"{newest or 'none'} as the newest", where=str(client.tracking_uri),
            do="name the store that belongs to this journal by CITYFORGE_TRACKING_URI",
        )  # fmt: skip
    tags = tags_of(_body(0, stored)) | stored.kept
    version = client.create_model_version(
        algorithm,
        source=stored.source,
        run_id=str(stored.evidence.created_from.mlflow_run_id),
        tags=tags,
        description=card_of(stored.package, stored.evidence, site, algorithm),
    )
    return int(version.version)


def _body(number: int, stored: _Stored) -> dict[str, Any]:
    about, evidence = stored.package.about, stored.evidence
    return {
        "version": number,
        "package_digest": stored.package.digest,
        "evidence_digest": about.evidence_digest,
        "snapshot_digest": about.snapshot_digest,
        "signature_digest": stored.signature,
        "task": about.task,
        "metrics": dict(evidence.metrics),
        "gates_passed": evidence.passed,
        "gates": [each.model_dump(mode="json") for each in evidence.gates],
        "run_id": str(evidence.created_from.mlflow_run_id),
        "source": stored.source,
        "report_digest": stored.report,
        "git_commit": about.git_commit,
        "git_dirty": about.git_dirty,
        "lock_digest": about.lock_digest,
        "model_digest": about.model_digest,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def card_of(package: Package, evidence: Evidence, site: Site, algorithm: str) -> str:
    """The model card, which MLflow's page shows."""
    from cityforge.evaluation.card import model_card

    owner, licence = "", ""
    if algorithm in site.project.algorithm_names():
        card = site.project.algorithm(algorithm)
        owner, licence = card.owner, site.project.dataset(card.dataset).licence
    return model_card(evidence, package.about.envelope, owner, licence)
