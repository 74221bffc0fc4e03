"""What a dataset's cameras have given, as a table and as a page with pictures."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cityforge.cli.surroundings import open_project, show, show_json

if TYPE_CHECKING:
    from cityforge.footage.summary import CameraSummary


def show_dataset(context: typer.Context, dataset: str, as_json: bool, sheet: Path | None) -> None:
    """Show what each camera of a dataset has given, and write the contact sheet.

    Without stored frames, the catalogue alone is shown.
    """
    project, settings = open_project(context)
    from cityforge.cli.retrieval import record_retrieval
    from cityforge.footage.ingest import FRAMES_TABLE
    from cityforge.footage.seals import read_with_seals
    from cityforge.footage.shards import FrameStore
    from cityforge.footage.sheet import write_sheet
    from cityforge.footage.stored import lawful_frames, part
    from cityforge.footage.summary import summarise
    from cityforge.tables import FRAMES

    card = project.dataset(dataset)
    folder = project.dataset_folder(dataset)
    now, place = datetime.now(UTC), folder / "frames"
    if (place / FRAMES_TABLE).is_file():
        stored = lawful_frames(card, folder, now)
    else:
        stored = part(card, read_with_seals(folder), FRAMES.empty_table(), now, None)
    if stored.note:
        typer.echo(stored.note, err=True)
    cameras = summarise(stored.footage, stored.frames)
    page: Path | None = None
    if stored.frames.num_rows or sheet:
        page = sheet or project.work / "sheets" / f"{dataset}.html"
        if stored.frames.num_rows:
            ids = stored.frames.column("footage_id").unique().to_pylist()
            record_retrieval(project, settings, dataset, "contact sheet", ids, "footage show")
        write_sheet(page, card, stored, FrameStore(place, stored.frames))
    if as_json:
        named = str(page) if page else None
        show_json(
            {"dataset": dataset, "cameras": [asdict(each) for each in cameras], "sheet": named}
        )
        return
    show([_line(each) for each in cameras], False, f"no footage yet: {_add(dataset)}")
    if cameras and not stored.frames.num_rows:
        none = "no frame may be shown" if stored.note else "no frames are stored yet"
        typer.echo(f"{none}, so this is what the catalogue says")
    if page:
        typer.echo(f"contact sheet: {page}")


def _add(dataset: str) -> str:
    return f"cityforge footage add {dataset} PATH"


def _line(camera: CameraSummary) -> dict[str, Any]:
    from cityforge.footage.summary import length

    lighting = {name: f"{share:.0%}" for name, share in camera.lighting.items()}
    return {
        "camera": camera.camera,
        "files": camera.films + camera.stills,
        "film": length(camera.hours),
        "frames": camera.frames,
        "errors": camera.errors,
        "first": camera.first and f"{camera.first:%Y-%m-%d %H:%M}",
        "last": camera.last and f"{camera.last:%Y-%m-%d %H:%M}",
        "lighting": _named(lighting),
        "faults": _named(camera.faults),
        "bright": _rounded(camera.brightness),
        "sharp": _rounded(camera.sharpness),
        "contrast": _rounded(camera.contrast),
        "redactions": camera.redactions,
    }


def _named(counts: dict[str, Any]) -> str | None:
    return ", ".join(f"{name.replace('_', ' ')} {each}" for name, each in counts.items()) or None


def _rounded(value: float | None) -> int | None:
    return None if value is None else round(value)
