"""Versions that a cityforge without a journal registered: put on record as they are, then signed.

On record they keep their number and their place in lists. Nobody has signed them, so they cannot
be approved before their trainer signs them (`cityforge model adopt`); what was approved then is
approved anew.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from cityforge.errors import RegistryError
from cityforge.registry.mlflow_store import answering, mlflow_versions, signed_copy
from cityforge.registry.projection import project_standing
from cityforge.registry.site import Site
from cityforge.registry.standing import ACTS, Standing, standing
from cityforge.registry.versions import TAG_PACKAGE, Version, fetch_package, find_version
from cityforge.trust.journal import Turn, remember, signer_of
from cityforge.trust.keys import Signer


def sign_adopted(site: Site, algorithm: str, version: int | None, who: str) -> Version:
    """Sign a version of an older cityforge (the newest when None) as it lies in MLflow's store.

    Raises:
        RegistryError: it is signed.
        PackageError: it is not what was registered.
        TrustError: that person's key may not register.
    """
    signer = signer_of(site.journal, site.settings, who)
    with answering("the registry"):
        with site.journal.turn() as turn:
            found = standing(turn.entries(acts=ACTS), algorithm)
            enter_older(turn, site, algorithm, found, signer)
        older = find_version(site, algorithm, version)
        if older.state is None or older.state.is_signed:
            raise RegistryError("a version that is not signed",
                                found=f"version {older.version}, signed")  # fmt: skip
        body = older.state.register.body | _signed(site, older, signer)
    with site.journal.turn() as turn:
        state = standing(turn.entries(acts=ACTS), algorithm).versions[older.version]
        entry = state.register
        if not state.is_signed:  # else another process was first
            entry = turn.append(signer, "register", algorithm, body)
    remember(site.settings, signer, entry, site.journal)
    for line in project_standing(site, algorithm):
        site.say(line)
    return find_version(site, algorithm, older.version)


def enter_older(
    turn: Turn, site: Site, algorithm: str, found: Standing, signer: Signer, but: str = ""
) -> None:
    """Put on record what MLflow has and the journal has not.

    Args:
        found: how the algorithm's versions stand.
        but: digest of a package that is being registered just now.
    """
    if site.client.search_registered_models(f"name = '{algorithm}'"):
        for each in sorted(mlflow_versions(site.client, algorithm), key=lambda e: int(e.version)):
            digest = each.tags.get(TAG_PACKAGE)
            if digest and digest != but and int(each.version) not in found.versions:
                turn.append(signer, "register", algorithm, _older(each))


def _older(made: Any) -> dict[str, Any]:
    """The body of its entry, from what its tags say."""
    tags = {name.removeprefix("cityforge."): value for name, value in made.tags.items()}
    names = ("package_digest", "evidence_digest", "snapshot_digest", "git_commit", "lock_digest",
             "model_digest")  # fmt: skip
    return {
        "version": int(made.version),
        **{name: tags.get(name, "") for name in names},
        "task": tags.get("task", "detection"),
        "metrics": json.loads(tags.get("metrics", "{}")),
        "gates_passed": tags.get("gates_passed") == "true",
        "gates": [],
        "run_id": str(made.run_id),
        "source": str(made.source),
        "git_dirty": tags.get("git_dirty") == "true",
        "created_at": datetime.fromtimestamp(made.creation_timestamp / 1000, UTC).isoformat(),
        "adopted": True,
    }


def _signed(site: Site, older: Version, signer: Signer) -> dict[str, str]:
    """Upload a signed copy: what changes in the body of its entry."""
    folder, package = fetch_package(site, older)
    with signed_copy(site, folder, package.digest, signer) as (copy, signature):
        place = f"package/{package.digest}/{signature[:16]}"
        site.client.log_artifacts(older.run_id, str(copy), place)
    root = site.client.get_run(older.run_id).info.artifact_uri
    return {"signature_digest": signature, "source": f"{root}/{place}"}
