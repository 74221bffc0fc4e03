"""`cityforge footage`: films and photographs of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cityforge.cli.footage_audit import audit
from cityforge.cli.footage_law import expire, withdraw
from cityforge.cli.footage_record import record
from cityforge.cli.footage_show import show_dataset
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
    from datetime import UTC, datetime

    from cityforge.footage.lawful import retention_ended
    from cityforge.footage.probe import verdict

    over = f", {len(result.passed_over)} passed over" if result.passed_over else ""
    typer.echo(
        f"{len(result.added)} added, {len(result.known)} known already, "
        f"{len(result.refused)} refused{over}"
    )
    now = datetime.now(UTC)
    for row in result.added:
        said = [verdict(row["errors"], row["error_times"])] if row["errors"] else []
        if row["retain_until"] <= now:
            said.append(f"{retention_ended(row['retain_until'])}: no frame of it will be used")
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
    from cityforge.footage.catalogue import add_footage
    from cityforge.footage.listing import list_files
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
            "withdrawn": row["withdrawn_at"] and f"{row['withdrawn_at']:%Y-%m-%d}",
        }
        for row in rows
    ]
    show(shown, False, f"no footage yet: cityforge footage add {dataset} PATH")


@app.command("show")
def show_one(
    context: typer.Context,
    dataset: DatasetName,
    footage: Annotated[
        str, typer.Argument(help="Footage id, or the name it came with; all cameras without it.")
    ] = "",
    sheet: Annotated[
        Path | None, typer.Option(help="Where to write the contact sheet of all cameras (HTML).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show each camera with a sheet of its pictures, or all that is known of one file."""
    if not footage:
        show_dataset(context, dataset, as_json, sheet)
        return
    project, _ = open_project(context)
    from cityforge.footage.catalogue import read_catalogue
    from cityforge.footage.sealing import find_footage

    project.dataset(dataset)
    row = find_footage(read_catalogue(project.dataset_folder(dataset)), footage, dataset)
    if as_json:
        show_json(row)
        return
    show_facts(row)


@app.command("ingest")
def ingest_stage(context: typer.Context, dataset: DatasetName, as_json: Json = False) -> None:
    """Take frames out of the footage by the card's policy, and make them private if it asks."""
    project, _ = open_project(context)
    from cityforge.cli.expiry import leave_expired
    from cityforge.project import activate_dataset

    project.dataset(dataset)
    activate_dataset(project, dataset)
    leave_expired(project, dataset, quietly=as_json)
    dvc(project, "repro", "--single-item", f"ingest@{dataset}", quietly=as_json)
    if as_json:
        show_json(_stored(project, dataset))


def _stored(project: Project, dataset: str) -> dict[str, object]:
    """What lies in the frames of a dataset."""
    from cityforge.footage.ingest import FRAMES_TABLE, REFUSED_TABLE
    from cityforge.tables import FRAMES, REJECTED, read_table

    place = project.dataset_folder(dataset) / "frames"
    frames = read_table(FRAMES, place / FRAMES_TABLE)
    return {
        "dataset": dataset,
        "frames": frames.num_rows,
        "files": len(frames["footage_id"].unique()),
        "shards": len(frames["shard"].unique()),
        "bytes": sum(frames["bytes"].to_pylist()),
        "refused": read_table(REJECTED, place / REFUSED_TABLE).num_rows,
    }


app.command("record")(record)
app.command("audit")(audit)
app.command("withdraw")(withdraw)
app.command("expire")(expire)


def show_facts(facts: dict[str, Any]) -> None:
    """Print one thing's facts, a line each."""
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        typer.echo(f"{name.replace('_', ' '):{width}}  {'–' if shown in (None, '') else shown}")
