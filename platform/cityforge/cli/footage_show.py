"""What a dataset's cameras have given, as a table and as a page with pictures."""

from __future__ import annotations

from dataclasses import asdict
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
    project, _ = open_project(context)
    from cityforge.footage.catalogue import read_catalogue
    from cityforge.footage.ingest import FRAMES_TABLE
    from cityforge.footage.shards import FrameStore
    from cityforge.footage.sheet import write_sheet
    from cityforge.footage.summary import summarise
    from cityforge.tables import FRAMES, read_table

    card = project.dataset(dataset)
    folder = project.dataset_folder(dataset)
    footage = read_catalogue(folder)
    table = folder / "frames" / FRAMES_TABLE
    frames = read_table(FRAMES, table) if table.is_file() else FRAMES.empty_table()
    cameras = summarise(footage, frames)
    page: Path | None = None
    if frames.num_rows or sheet:
        page = sheet or project.work / "sheets" / f"{dataset}.html"
        write_sheet(page, card, footage, frames, FrameStore(table.parent, frames))
    if as_json:
        named = str(page) if page else None
        show_json(
            {"dataset": dataset, "cameras": [asdict(each) for each in cameras], "sheet": named}
        )
        return
    show([_line(each) for each in cameras], False, f"no footage yet: {_add(dataset)}")
    if cameras and not frames.num_rows:
        typer.echo("no frames are stored yet, so this is what the catalogue says")
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
