"""Stage snapshot: labelled frames that may be used, checked, frozen, digested."""

import os
import shutil
from datetime import UTC, datetime

from cityforge.dataset.checks import check_tables, refuse, too_many_rejected
from cityforge.dataset.history import record_snapshot
from cityforge.dataset.lineage import lineage_root, write_lineage
from cityforge.dataset.snapshot import describe, gather, write_snapshot
from cityforge.footage.ingest import FRAMES_TABLE
from cityforge.footage.redact import redactor_digest
from cityforge.footage.seals import read_with_seals
from cityforge.footage.shards import FrameStore
from cityforge.labeling.intake import read_labels, rejected_path
from cityforge.project import Project
from cityforge.settings import Settings
from cityforge.stage import run_stage, say
from cityforge.tables import FRAMES, read_table


def main(project: Project, settings: Settings, dataset: str) -> None:
    card = project.dataset(dataset)
    folder = project.dataset_folder(dataset)
    stored = read_table(FRAMES, folder / "frames" / FRAMES_TABLE)
    footage, now = read_with_seals(folder), datetime.now(UTC)
    redactor = redactor_digest(card.privacy, folder)
    found = gather(card, stored, read_labels(folder), footage, now, redactor)
    frames, labels = found.frames, found.labels
    if found.note:
        say(found.note)
    checks = folder / f".checks.{os.getpid()}"
    try:
        findings = check_tables(card, frames, labels, checks)
        shutil.rmtree(folder / "checks", ignore_errors=True)
        checks.rename(folder / "checks")
    finally:
        shutil.rmtree(checks, ignore_errors=True)
    refuse(card, findings + too_many_rejected(card, labels, rejected_path(folder)))
    about = describe(card, frames, labels, FrameStore(folder / "frames", frames))
    record_snapshot(folder, about.digest, frames.column("footage_id").to_pylist())
    write_lineage(lineage_root(project), about, frames, labels, footage)
    write_snapshot(folder / "snapshot", about, frames, labels)
    say(f"{about.frames} frames, {about.boxes} boxes, digest {about.digest[:16]}")


if __name__ == "__main__":
    run_stage(main)
