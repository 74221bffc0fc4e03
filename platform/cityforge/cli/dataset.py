"""`cityforge dataset`: make, check and show datasets."""

from __future__ import annotations

from typing import Annotated

import typer

from cityforge.cli.dataset_split import split
from cityforge.cli.footage import show_facts
from cityforge.cli.surroundings import DatasetName, Json, open_project, show, show_json

app = typer.Typer(help="Make, check and show datasets.", no_args_is_help=True)


@app.command()
def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Small letters, digits and _.")],
    classes: Annotated[
        list[str], typer.Option("--class", help="A class of the ontology; once for each.")
    ],
    camera: Annotated[list[str], typer.Option(help="A camera; once for each.")],
    title: Annotated[str, typer.Option(help="What people call it.")] = "",
) -> None:
    """Make a dataset's folder with its card."""
    project, _ = open_project(context)
    from cityforge.starters import new_dataset

    path = new_dataset(project, name, title or name, classes, camera)
    typer.echo(
        f"{path.relative_to(project.root)} made: say in it what each class is, then\n"
        f"cityforge footage add {name} PATH"
    )


@app.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """List the datasets of this project."""
    project, _ = open_project(context)
    from cityforge.footage.catalogue import read_catalogue

    rows = []
    for name in project.dataset_names():
        card = project.dataset(name)
        footage = read_catalogue(project.dataset_folder(name))
        rows.append(
            {
                "name": name,
                "title": card.title,
                "classes": card.class_names,
                "footage": footage.num_rows,
            }
        )
    show(rows, as_json, "no dataset yet: cityforge dataset new NAME --class C --camera K")


@app.command()
def check(context: typer.Context, dataset: DatasetName, as_json: Json = False) -> None:
    """Hold a dataset's frames and labels against the checks of its card."""
    project, _ = open_project(context)
    from datetime import UTC, datetime
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from cityforge.dataset.checks import check_tables, too_many_rejected
    from cityforge.dataset.snapshot import gather
    from cityforge.footage.ingest import FRAMES_TABLE
    from cityforge.footage.redact import redactor_digest
    from cityforge.footage.seals import read_with_seals
    from cityforge.labeling.intake import read_labels, rejected_path
    from cityforge.tables import FRAMES, REJECTED, read_table

    card = project.dataset(dataset)
    folder = project.dataset_folder(dataset)
    stored = read_table(FRAMES, folder / "frames" / FRAMES_TABLE)
    footage, now = read_with_seals(folder), datetime.now(UTC)
    redactor = redactor_digest(card.privacy, folder)
    found = gather(card, stored, read_labels(folder), footage, now, redactor)
    frames, labels = found.frames, found.labels
    if found.note:
        typer.echo(found.note, err=True)
    with TemporaryDirectory() as out:
        findings = check_tables(card, frames, labels, Path(out))
    findings += too_many_rejected(card, labels, rejected_path(folder))
    aside = read_table(REJECTED, rejected_path(folder)).to_pylist()
    if as_json:
        show_json({"findings": [vars(each) for each in findings], "rejected": aside})
    else:
        show([vars(each) for each in findings], False, "every check is met")
        typer.echo(f"{len(aside)} rows of imports were refused")
        show(aside[:20], False, "")
    if findings:
        raise typer.Exit(1)


@app.command("show")
def show_one(context: typer.Context, dataset: DatasetName, as_json: Json = False) -> None:
    """Show what a dataset holds."""
    project, _ = open_project(context)
    from cityforge.dataset.snapshot import ABOUT_FILE, open_snapshot
    from cityforge.footage.catalogue import read_catalogue
    from cityforge.labeling.intake import read_labels

    card = project.dataset(dataset)
    folder = project.dataset_folder(dataset)
    labels = read_labels(folder)
    names = labels.column("class").to_pylist()
    facts = {
        "name": card.name,
        "title": card.title,
        "cameras": ", ".join(each.name for each in card.cameras),
        "footage": read_catalogue(folder).num_rows,
        "labelled_frames": len(set(labels.column("frame_id").to_pylist())),
        "boxes": sum(name is not None for name in names),
        "privacy": card.privacy.grade,
        "lawful_basis": card.privacy.lawful_basis,
        "licence": card.licence,
        "snapshot": None,
    }
    if (folder / "snapshot" / ABOUT_FILE).is_file():
        facts["snapshot"] = open_snapshot(folder / "snapshot")[0].digest
    per_class = [
        {"class": each.name, "boxes": names.count(each.name), "definition": each.definition}
        for each in card.classes
    ]
    if as_json:
        show_json({**facts, "classes": per_class})
        return
    show_facts(facts)
    show(per_class, False)


app.command("split")(split)
