"""Acts of people on model versions: approve, and roll back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cityforge.errors import NotApproved, RegistryError
from cityforge.project import Project
from cityforge.registry.versions import (
    CHALLENGER,
    CHAMPION,
    TAG_APPROVAL,
    TAG_EVIDENCE,
    TAG_PACKAGE,
    Version,
    champion,
    fetch_package,
    find_version,
    list_versions,
)

# Of the registered model: every version that became champion, in order.
TAG_CHAMPIONS = "cityforge.champions"


@dataclass(frozen=True)
class Approval:
    """Who approved what, when, on which evidence."""

    approver: str
    at: str  # ISO 8601, UTC
    reason: str
    package_digest: str
    evidence_digest: str
    override: bool  # approved under a gate


def approve(
    client: Any,
    project: Project,
    algorithm: str,
    version: int | None,
    approver: str,
    reason: str,
    override: bool = False,
) -> tuple[Version, Approval]:
    """Approve a version (the newest when None) and make it champion.

    Raises:
        RegistryError: it is approved already, a gate was not passed, or no approver named.
        PackageError: its package is not what was registered.
    """
    found = find_version(client, algorithm, version)
    if not approver.strip():
        raise RegistryError(
            "an approver", found="no name", do="name one with --by, or set CITYFORGE_USER"
        )
    if found.approval and found.version not in _champions(client, algorithm):
        # An approval that was cut short before the version became champion is finished.
        kept = Approval(**found.approval)
        _crown(client, algorithm, found.version, kept.approver, kept.reason or "approved")
        return find_version(client, algorithm, found.version), kept
    if found.approval:
        raise RegistryError(
            f"a version of '{algorithm}' that is not approved yet",
            found=f"version {found.version}, approved by {found.approval['approver']} "
            f"at {found.approval['at']}",
            do=f"cityforge model list {algorithm} shows the others",
        )
    if found.tags.get("cityforge.gates_passed") != "true":
        _refuse_under_gate(found, override, reason)
    fetch_package(client, project, found)
    record = Approval(
        approver=approver,
        at=_now(),
        reason=reason,
        package_digest=found.tags[TAG_PACKAGE],
        evidence_digest=found.tags[TAG_EVIDENCE],
        override=override,
    )
    text = json.dumps(vars(record), sort_keys=True, ensure_ascii=False)
    client.set_model_version_tag(algorithm, str(found.version), TAG_APPROVAL, text)
    _crown(client, algorithm, found.version, approver, reason or "approved")
    return find_version(client, algorithm, found.version), record


def rollback(
    client: Any, algorithm: str, version: int | None, who: str, reason: str
) -> tuple[Version, Version]:
    """Make an earlier approved version champion again; by default the one before this one.

    Returns:
        The version that was champion, and the one that is now.

    Raises:
        RegistryError: there is no champion, or none before it.
        NotApproved: the version named was never approved.
    """
    current = champion(client, algorithm)
    if current is None:
        raise RegistryError(f"a champion of '{algorithm}'", found="none", do="approve a version")
    if version is None:
        past = _champions(client, algorithm)
        # Before its first time: a second rollback goes further back, not to what was left.
        earlier = past[: past.index(current.version)] if current.version in past else past
        if not earlier:
            raise RegistryError(
                f"a champion of '{algorithm}' before version {current.version}", found="none"
            )
        version = earlier[-1]
    target = find_version(client, algorithm, version)
    if not target.approval:
        raise NotApproved(
            "an approved version",
            found=f"version {version}, never approved",
            do=f"cityforge model approve {algorithm} {version}",
        )
    if target.version == current.version:
        raise RegistryError("another version than the champion", found=f"version {version}")
    _crown(client, algorithm, target.version, who, reason or "rolled back")
    return current, find_version(client, algorithm, target.version)


def approved_version(client: Any, algorithm: str, version: int | None) -> Version:
    """The champion, or the version named, if it is approved.

    Raises:
        NotApproved: it is not.
    """
    if version is None:
        found = champion(client, algorithm)
        if found is None:
            newest = find_version(client, algorithm, None)
            raise NotApproved(
                f"an approved version of '{algorithm}'",
                found=f"{len(list_versions(client, algorithm))} versions, none approved",
                do=f"cityforge model approve {algorithm} {newest.version}",
            )
        return found
    found = find_version(client, algorithm, version)
    if not found.approval:
        raise NotApproved(
            "an approved version",
            found=f"version {version}, not approved",
            do=f"cityforge model approve {algorithm} {version}",
        )
    if found.approval["package_digest"] != found.tags.get(TAG_PACKAGE):
        raise NotApproved(
            "an approval of this package",
            found="an approval of another one",
            where=f"version {version} of '{algorithm}'",
            do="approve it anew",
        )
    return found


def _refuse_under_gate(found: Version, override: bool, reason: str) -> None:
    if override and reason.strip():
        return
    figures = ", ".join(
        f"{name} {value:.3f}"
        for name, value in found.metrics.items()
        if name in ("map50", "map50_95") and value is not None
    )
    raise RegistryError(
        "every gate of the card passed",
        found=f"version {found.version} under a gate ({figures})",
        do="train a better one; or --override with --reason, which stays on record",
    )


def _crown(client: Any, algorithm: str, version: int, who: str, why: str) -> None:
    past = _history(client, algorithm)
    past.append({"version": version, "at": _now(), "by": who, "why": why})
    client.set_registered_model_tag(algorithm, TAG_CHAMPIONS, json.dumps(past, ensure_ascii=False))
    client.set_registered_model_alias(algorithm, CHAMPION, str(version))
    model = client.get_registered_model(algorithm)
    if str(model.aliases.get(CHALLENGER)) == str(version):
        client.delete_registered_model_alias(algorithm, CHALLENGER)


def _champions(client: Any, algorithm: str) -> list[int]:
    return [int(each["version"]) for each in _history(client, algorithm)]


def _history(client: Any, algorithm: str) -> list[dict[str, Any]]:
    tags = client.get_registered_model(algorithm).tags
    found: list[dict[str, Any]] = json.loads(tags.get(TAG_CHAMPIONS, "[]"))
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
