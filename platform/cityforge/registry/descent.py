"""What was made from a film or photograph: snapshots, splits, packages, reports, versions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cityforge.dataset.history import Held, read_history, record_snapshot, record_split
from cityforge.dataset.snapshot import ABOUT_FILE, open_snapshot
from cityforge.errors import DataError
from cityforge.evaluation.evidence import read_evidence
from cityforge.inference.package import ABOUT_FILE as PACKAGE_FILE
from cityforge.inference.package import EVIDENCE_FILE
from cityforge.project import Project
from cityforge.registry.affected import Affected
from cityforge.registry.lineage import keep_snapshot


@dataclass(frozen=True)
class Made:
    """One thing that was made from a file, or may have been."""

    kind: str  # snapshot, split, package, report, version
    name: str
    digest: str  # of the snapshot, or of the split of one, that it came from
    state: str
    certain: bool  # False: nobody here knows what was behind that digest
    why: str = ""  # it is not certain


def keep_history(project: Project, dataset: str) -> None:
    """Put the snapshot and the splits that lie here now on record, if they are not yet.

    A snapshot of an older version of cityforge is left out: it cannot be read.
    """
    folder = project.dataset_folder(dataset)
    try:
        about, frames, _ = open_snapshot(folder / "snapshot")
    except DataError:
        return
    record_snapshot(folder, about.digest, frames.column("footage_id").to_pylist())
    keep_snapshot(project, dataset)
    for algorithm, split in _builds(project, "split/snapshot.json"):
        if split["dataset"]["dataset"] == dataset:
            record_split(folder, split["digest"], algorithm, split["dataset"]["digest"])


def made_here(project: Project, dataset: str, footage_id: str) -> list[Made]:
    """Snapshots and splits on record, and the packages and reports that lie in this project."""
    folder = project.dataset_folder(dataset)
    now = _current(project, dataset)
    held = _holding(read_history(folder), footage_id)
    found = [
        Made(
            "split" if each.algorithm else "snapshot",
            each.algorithm or dataset,
            each.digest,
            "current" if each.digest in now else "earlier",
            True,
        )
        for each in held.values()
    ]
    for algorithm, package in _builds(project, f"package/{PACKAGE_FILE}"):
        digest = str(package["snapshot_digest"])
        if digest in held:
            found.append(Made("package", algorithm, digest, "in its build folder", True))
        shown = _shown(project.build(algorithm) / "package" / EVIDENCE_FILE, footage_id)
        if shown:
            state = f"shows {shown} of its frames: {_report(project, algorithm)}"
            found.append(Made("report", algorithm, digest, state, True))
    return sorted(found, key=lambda each: (each.kind != "snapshot", each.kind, each.name))


def made_versions(affected: Affected) -> list[Made]:
    """The versions that rest on something, as lines of the same list."""
    found = []
    for each in affected.versions:
        began = f"began from {each.began_from}" if each.began_from else ""
        state = ", ".join(filter(None, [each.standing, began, *each.answering]))
        name = f"{each.algorithm} version {each.version}"
        found.append(Made("version", name, each.split, state, each.certain, each.why))
    return found


def _holding(history: dict[str, Held], footage_id: str) -> dict[str, Held]:
    return {digest: held for digest, held in history.items() if footage_id in held.footage}


def _current(project: Project, dataset: str) -> set[str]:
    """Digests of the snapshot and the splits that lie here now."""
    found = {str(split["digest"]) for _, split in _builds(project, "split/snapshot.json")}
    path = project.dataset_folder(dataset) / "snapshot" / ABOUT_FILE
    if path.is_file():
        found.add(str(_read_json(path)["digest"]))
    return found


def _builds(project: Project, inside: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Algorithm and content of a JSON file in each build folder that has it."""
    for path in sorted(project.root.glob(f"algorithms/*/build/{inside}")):
        yield path.relative_to(project.root / "algorithms").parts[0], _read_json(path)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError("JSON", found=str(error), where=str(path), do="cityforge run") from error
    return found


def _shown(path: Path, footage_id: str) -> int:
    """How many frames of a file the pictures of a report show."""
    evidence = read_evidence(path)
    shown = {each.frame_id for each in [*evidence.best_frames, *evidence.worst_frames]}
    return sum(each.partition("-")[0] == footage_id for each in shown)


def _report(project: Project, algorithm: str) -> str:
    path = project.build(algorithm) / "evaluate" / "report.html"
    return path.relative_to(project.root).as_posix()
