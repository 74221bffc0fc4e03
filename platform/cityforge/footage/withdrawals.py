"""What the journal says was withdrawn of a dataset, on machines too that did not withdraw it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from cityforge.project import Project
from cityforge.settings import load_settings
from cityforge.trust.entries import Entry
from cityforge.trust.journal import Journal, open_journal

WITHDRAW = "withdraw"


def about(dataset: str) -> str:
    """What an entry on footage or labels of a dataset is about."""
    return f"dataset:{dataset}"


def withdrawals(folder: Path, kind: str) -> list[Entry]:
    """Entries that withdrew footage or labels of the dataset in `folder`, in order.

    Args:
        kind: footage or label.

    Raises:
        ServiceError: the journal does not answer: nobody knows what may be used.
    """
    journal = journal_of(folder)
    if journal is None:
        return []
    entries = journal.entries(about(folder.resolve().name), (WITHDRAW,))
    return [each for each in entries if each.body.get("kind") == kind]


def withdrawn_footage(folder: Path) -> dict[str, Mapping[str, Any]]:
    """Footage of the dataset in `folder` that was withdrawn: withdrawn_at, reason, by."""
    found: dict[str, Mapping[str, Any]] = {}
    for entry in withdrawals(folder, "footage"):
        mark = {"withdrawn_at": datetime.fromisoformat(entry.at), "reason": entry.body["reason"],
                "by": entry.by}  # fmt: skip
        for footage_id in entry.body["ids"]:
            found.setdefault(str(footage_id), mark)
    return found


def journal_of(folder: Path) -> Journal | None:
    """The journal of the project that a dataset's folder is in; None where it is in none."""
    root = folder.resolve().parents[1]
    inside = (root / "dvc.yaml").is_file() and (root / "params.yaml").is_file()
    settings = load_settings(root if inside else None)
    return open_journal(Project(root), settings) if inside or settings.journal else None
