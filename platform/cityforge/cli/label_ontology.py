"""`cityforge label migrate`: labels brought into the terms of the card's ontology changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cityforge.cli.surroundings import DatasetName, Json, dvc, open_project, show, show_json

if TYPE_CHECKING:
    from cityforge.labeling.ontology_store import Brought


def migrate(
    context: typer.Context,
    dataset: DatasetName,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say it, and store nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Rename, merge and split the classes of stored labels as the card's ontology_changes say."""
    project, _ = open_project(context)
    from datetime import UTC, datetime

    from cityforge.footage.seals import read_with_seals
    from cityforge.footage.stored import lawful_frames
    from cityforge.labeling.ontology_store import bring_up
    from cityforge.labeling.settle import settle
    from cityforge.labeling.stored import annotations_path

    card, folder = project.dataset(dataset), project.dataset_folder(dataset)
    footage = read_with_seals(folder).select(["footage_id", "camera"]).to_pydict()
    cameras = dict(zip(footage["footage_id"], footage["camera"], strict=True))
    brought = bring_up(card, folder, cameras, store=not dry_run)
    if not dry_run:
        if annotations_path(folder).is_file():
            stored = lawful_frames(card, folder, datetime.now(UTC))
            settle(card, folder, stored.footage, stored.frames)
        if brought.moved:
            dvc(project, "add", f"datasets/{dataset}/labels", quietly=True)
    _say(brought, dataset, dry_run, as_json)


def _say(brought: Brought, dataset: str, dry_run: bool, as_json: bool) -> None:
    rows = [vars(each) for each in brought.moved]
    if as_json:
        about = {"undecided_labels": brought.undecided_labels, "frames": brought.undecided_frames}
        show_json({"moved": rows, **about, "stored": not dry_run})
        return
    shown = [{**row, "new": row["new"] or "people decide"} for row in rows]
    show(shown, False, "every imported label is in the card's terms")
    if brought.undecided_frames:
        typer.echo(
            f"{len(brought.undecided_frames)} frames with {brought.undecided_labels} labels wait "
            f"for people: cityforge label queue {dataset}"
        )
    if dry_run and rows:
        typer.echo(f"nothing was stored: cityforge label migrate {dataset}")
