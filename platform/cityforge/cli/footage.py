"""`cityforge footage`: films and photographs of a dataset."""

from __future__ import annotations

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
    from cityforge.footage.catalogue import Added
    from cityforge.project import Project
    from cityforge.settings import Settings

app = typer.Typer(help="Films and photographs of a dataset.", no_args_is_help=True)


@app.command()
def add(
    context: typer.Context,
    dataset: DatasetName,
    paths: Annotated[list[Path], typer.Argument(help="Films, photographs, or folders of them.")],
    camera: Annotated[str, typer.Option(help="The camera, as the card names it.")] = "",
    started_at: Annotated[str, typer.Option(help="Start of the recording, ISO 8601.")] = "",
    lighting: Annotated[str, typer.Option(help="day, dusk, night or infrared.")] = "",
    weather: Annotated[str, typer.Option(help="clear, rain, snow or fog.")] = "",
    lawful_basis: Annotated[
        str, typer.Option(help="Law or contract these files stand on; by default the card's.")
    ] = "",
    retain_until: Annotated[
        str, typer.Option(help="Until when they may be kept; by default the card's days.")
    ] = "",
    table: Annotated[
        Path | None,
        typer.Option(
            help="CSV with file, camera, and, where known, started_at, lighting, weather, "
            "lawful_basis, retain_until for each file."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Copy originals into a dataset and enter them in its catalogue."""
    project, settings = open_project(context)
    result = add_to_dataset(
        project,
        settings,
        dataset,
        paths,
        table,
        camera=camera,
        started_at=started_at,
        lighting=lighting,
        weather=weather,
        lawful_basis=lawful_basis,
        retain_until=retain_until,
    )
    if as_json:
        show_json(
            {
                "added": result.added,
                "known": result.known,
                "passed_over": result.passed_over,
                "refused": [str(each) for each in result.refused],
            }
        )
    else:
        _say_added(result)
    if result.refused and not result.added and not result.known:
        raise typer.Exit(1)


def _say_added(result: Added) -> None:
    """The verdict on every file that is not simply fine."""
    from cityforge.footage.probe import verdict

    over = f", {len(result.passed_over)} passed over" if result.passed_over else ""
    typer.echo(
        f"{len(result.added)} added, {len(result.known)} known already, "
        f"{len(result.refused)} refused{over}"
    )
    for row in result.added:
        said = [verdict(row["errors"], row["error_times"])] if row["errors"] else []
        for line in [*said, *row["notes"]]:
            typer.echo(f"{row['name']}: {line}", err=True)
    for refusal in result.refused:
        typer.echo(str(refusal), err=True)


def add_to_dataset(
    project: Project,
    settings: Settings,
    dataset: str,
    paths: list[Path],
    table: Path | None,
    *,
    camera: str = "",
    started_at: str = "",
    lighting: str = "",
    weather: str = "",
    lawful_basis: str = "",
    retain_until: str = "",
    versioned: bool = True,
) -> Added:
    """Add footage, and bring DVC's pointer to it up to date where it is `versioned`."""
    from cityforge.footage.catalogue import add_footage, list_files
    from cityforge.footage.recordings import Recording, hold_against, parse_time, read_recordings
    from cityforge.project import activate_dataset

    card = project.dataset(dataset)
    folder = project.dataset_folder(dataset)
    moment = parse_time(started_at, "--started-at")
    common = Recording(
        camera,
        moment,
        lighting or None,
        weather or None,
        lawful_basis or None,
        parse_time(retain_until, "--retain-until"),
    )
    recordings = read_recordings(table) if table else {}
    listed = list_files(paths)
    if table:
        hold_against(recordings, [name for _, name in listed.files], table)
    with progress("footage", "files") as advance:
        result = add_footage(
            card, folder, listed, recordings, common, advance, settings.worker_count()
        )
    if result.added or result.known:
        activate_dataset(project, dataset)
        if versioned:
            dvc(project, "add", f"datasets/{dataset}/footage", quietly=True)
    return result


@app.command("list")
def list_(context: typer.Context, dataset: DatasetName, as_json: Json = False) -> None:
    """List the footage of a dataset."""
    project, _ = open_project(context)
    from cityforge.footage.catalogue import read_catalogue

    project.dataset(dataset)
    rows = read_catalogue(project.dataset_folder(dataset)).to_pylist()
    if as_json:
        show_json(rows)
        return
    shown = [
        {
            "footage_id": row["footage_id"],
            "name": row["name"],
            "camera": row["camera"],
            "started_at": row["started_at"] and row["started_at"].isoformat(timespec="seconds"),
            "seconds": row["duration_s"],
            "size": f"{row['width']}×{row['height']}",
            "codec": row["codec"],
            "frames": row["frames"],
            "errors": row["errors"],
        }
        for row in rows
    ]
    show(shown, False, f"no footage yet: cityforge footage add {dataset} PATH")


@app.command("show")
def show_one(
    context: typer.Context,
    dataset: DatasetName,
    footage: Annotated[str, typer.Argument(help="Footage id, or the name it came with.")],
    as_json: Json = False,
) -> None:
    """Show all that is known of one film or photograph."""
    project, _ = open_project(context)
    from cityforge.errors import NameUnknown
    from cityforge.footage.catalogue import read_catalogue

    project.dataset(dataset)
    rows = read_catalogue(project.dataset_folder(dataset)).to_pylist()
    found = [row for row in rows if footage in (row["footage_id"], row["name"])]
    if not found:
        raise NameUnknown("footage", footage, [str(row["name"]) for row in rows], where=dataset)
    if as_json:
        show_json(found[0])
        return
    show_facts(found[0])


def show_facts(facts: dict[str, Any]) -> None:
    """Print one thing's facts, a line each."""
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        typer.echo(f"{name.replace('_', ' '):{width}}  {'–' if value is None else value}")
