"""`cityforge label pull` and `label history`: people's work out of Label Studio, and its past."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cityforge.cli.surroundings import (
    DatasetName,
    Json,
    dvc,
    open_project,
    progress,
    show,
    show_json,
)

if TYPE_CHECKING:
    from cityforge.cards.dataset import Dataset
    from cityforge.footage.stored import LawfulFrames
    from cityforge.labeling.studio.pull import Pulled
    from cityforge.project import Project
    from cityforge.settings import Settings

SHOWN_REJECTS = 10
LABELS = "labels/*"


def pull(
    context: typer.Context,
    dataset: DatasetName,
    full: Annotated[
        bool, typer.Option("--full", help="Read everything again, also what seems unchanged.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Bring people's annotations from Label Studio, and make them the labels of the dataset."""
    project, settings = open_project(context)
    from cityforge.footage.stored import lawful_frames

    card, folder = project.dataset(dataset), project.dataset_folder(dataset)
    pulled = _pull(project, settings, card, full)
    stored = lawful_frames(card, folder, datetime.now(UTC))
    if stored.note:
        typer.echo(stored.note, err=True)
    settled = _settle(project, card, stored, pulled.digest, full)
    if not _is_tracked(folder):
        dvc(project, "add", f"datasets/{dataset}/labels", quietly=True)
    if as_json:
        show_json({**vars(pulled), "settled": settled})
        return
    _say(pulled, settled, (folder / "labels" / "rejected.parquet").relative_to(project.root))


def history(context: typer.Context, dataset: DatasetName, as_json: Json = False) -> None:
    """List every earlier state of annotations and labels, each of which can be read again."""
    project, _ = open_project(context)
    from cityforge.labeling.history import states

    project.dataset(dataset)
    found = states(project.dataset_folder(dataset))
    rows = [
        {
            "table": each.kind,
            "digest": each.digest,
            "changed_at": each.changed_at.isoformat(timespec="seconds"),
            "rows": each.rows,
            "current": each.current,
        }
        for each in found
    ]
    show(rows, as_json, empty="no labels yet")


def _pull(project: Project, settings: Settings, card: Dataset, full: bool) -> Pulled:
    from cityforge.errors import LabelError
    from cityforge.labeling.studio.client import Studio
    from cityforge.labeling.studio.project import find_project
    from cityforge.labeling.studio.pull import pull as pull_annotations
    from cityforge.labeling.studio.server import access

    reached = access(project.work, settings)
    with Studio(reached.url, reached.token) as studio:
        target = find_project(studio, card)
        if target is None:
            raise LabelError(
                f"the project of dataset '{card.name}'",
                found="none: it was never made, or was deleted",
                where=studio.url,
                do=f"cityforge label push {card.name} makes it; nothing stored was changed",
            )
        folder = project.dataset_folder(card.name)
        with progress("pulling", "annotations") as bar:
            return pull_annotations(studio, target.id, folder, full=full, progress=bar)


def _settle(
    project: Project, card: Dataset, stored: LawfulFrames, digest: str, again: bool
) -> dict[str, Any]:
    """What the annotations came to; said again without the work where nothing is different."""
    from cityforge.labeling.settle import settle
    from cityforge.labeling.withdrawn import read_withdrawn

    folder = project.dataset_folder(card.name)
    note = project.work / "labeling" / card.name / "settled.json"
    inputs = [
        version("cityforge"), card.model_dump_json(), digest, _stamps(folder / "footage"),
        stored.frames["frame_id"].to_pylist(), sorted(read_withdrawn(folder).ids),
    ]  # fmt: skip
    made_from = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()
    try:
        before = json.loads(note.read_text(encoding="utf-8"))
        if not again and (before["from"], before["files"]) == (made_from, _stamps(folder, LABELS)):
            return dict(before["settled"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        pass
    result = settle(card, folder, stored.footage, stored.frames)
    said = asdict(result) | {
        "rejected_rows": len(result.rejected),
        "rejected": [asdict(each) for each in result.rejected[:SHOWN_REJECTS]],
    }
    note.parent.mkdir(parents=True, exist_ok=True)
    beside = note.with_name(f".{note.name}.new")
    content = {"from": made_from, "files": _stamps(folder, LABELS), "settled": said}
    beside.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
    beside.replace(note)
    return said


def _stamps(folder: Path, pattern: str = "*") -> list[list[Any]]:
    """Name, size and time of the files of a folder: as long as they stay, so does the content."""
    files = sorted(each for each in folder.glob(pattern) if each.is_file())
    return [[each.name, each.stat().st_size, each.stat().st_mtime_ns] for each in files]


def _is_tracked(folder: Path) -> bool:
    """DVC has seen the labels since they were last changed."""
    pointer = folder / "labels.dvc"
    newest = max((stamp[2] for stamp in _stamps(folder, "labels/**/*")), default=0)
    return pointer.exists() and pointer.stat().st_mtime_ns >= newest


def _say(pulled: Pulled, settled: dict[str, Any], aside: Path) -> None:
    for line in summary(vars(pulled), settled):
        typer.echo(line)
    for each in settled["rejected"]:
        typer.echo(
            f"refused: {each['reason']}, found {each['found']}, in {each['where']}", err=True
        )
    if settled["rejected_rows"] > SHOWN_REJECTS:
        more = settled["rejected_rows"] - SHOWN_REJECTS
        typer.echo(f"… and {more} more, all in {aside}", err=True)


def summary(pulled: dict[str, Any], settled: dict[str, Any]) -> list[str]:
    """What a pull came to, and the labels that it left."""
    lines = [
        f"{pulled['new']} new annotations, {pulled['changed']} changed, {pulled['removed']} "
        f"removed; {pulled['annotations']} on {pulled['tasks']} tasks now, "
        f"{pulled['skipped']} of them skipped"
    ]
    if pulled["full_because"]:
        lines[0] += f" (all were read: {pulled['full_because']})"
    if pulled["kept"]:
        lines.append(f"the annotations as they were before are kept as {pulled['kept']}")
    if pulled["foreign"]:
        lines.append(f"{pulled['foreign']} annotations are on tasks that cityforge did not push")
    waiting = f", {settled['incomplete_frames']} wait for more annotators"
    lines.append(
        f"{settled['boxes']} boxes on {settled['frames']} frames stand "
        f"({settled['empty_frames']} hold nothing"
        f"{waiting if settled['incomplete_frames'] else ''}); "
        f"{settled['rejected_rows']} rows refused; {settled['stored_boxes']} boxes stored"
    )
    return lines
