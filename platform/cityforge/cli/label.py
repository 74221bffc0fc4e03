"""`cityforge label`: people's labels, from files and from Label Studio, in and out of a dataset."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cityforge.cli.expiry import leave_expired
from cityforge.cli.label_ontology import migrate
from cityforge.cli.label_pull import history, pull
from cityforge.cli.label_push import push
from cityforge.cli.label_queue import queue
from cityforge.cli.label_server import start
from cityforge.cli.label_status import status
from cityforge.cli.label_withdraw import withdraw
from cityforge.cli.surroundings import DatasetName, Json, dvc, open_project, show_json

if TYPE_CHECKING:
    from cityforge.cards.dataset import Dataset
    from cityforge.footage.stored import LawfulFrames
    from cityforge.labeling.formats.rows import LabelFile
    from cityforge.labeling.intake import Intake
    from cityforge.labeling.matching import FramesOfFilm
    from cityforge.project import Project
    from cityforge.settings import Settings

app = typer.Typer(help="Labels in and out of a dataset.", no_args_is_help=True)

SHOWN_REJECTS = 10
FORMATS = (
    "studio, studio_min, coco, voc, yolo, cvat_image, cvat_video, labelme, open_images, "
    "imagenet, mot or clips"
)


@app.command("import")
def import_(
    context: typer.Context,
    dataset: DatasetName,
    path: Annotated[Path, typer.Argument(help="A label file, or a folder of them.")],
    format_name: Annotated[
        str,
        typer.Option("--format", help=f"{FORMATS}; by default found by looking."),
    ] = "",
    film: Annotated[
        str, typer.Option(help="Name of the film that the labelled pictures were cut from.")
    ] = "",
    number: Annotated[
        str, typer.Option(help="Regular expression that finds a picture's number in its name.")
    ] = r"(\d+)",
    per_second: Annotated[
        float, typer.Option(help="Pictures cut from each second of the film.", min=0.0001)
    ] = 1.0,
    as_json: Json = False,
) -> None:
    """Take labels into a dataset; rows that cannot be used are kept aside with the reason."""
    project, settings = open_project(context)
    of_film = _of_film(film, number, per_second) if film else None
    result = import_into_dataset(project, settings, dataset, path, format_name, of_film)
    aside = project.dataset_folder(dataset) / "labels" / "rejected.parquet"
    if as_json:
        show_json({**vars(result), "rejected": [vars(each) for each in result.rejected]})
        return
    typer.echo(
        f"{result.boxes} boxes on {result.images} images taken in "
        f"({result.empty_images} images hold nothing, {result.cut_boxes} boxes cut at the edge); "
        f"{len(result.rejected)} rows refused; {result.stored_boxes} boxes stored"
    )
    if result.withdrawn:
        typer.echo(f"{result.withdrawn} labels were withdrawn and stay out", err=True)
    for each in result.rejected[:SHOWN_REJECTS]:
        typer.echo(f"refused: {each.reason}, found {each.found}, in {each.where}", err=True)
    if len(result.rejected) > SHOWN_REJECTS:
        more = len(result.rejected) - SHOWN_REJECTS
        typer.echo(f"… and {more} more, all in {aside.relative_to(project.root)}", err=True)


def import_into_dataset(
    project: Project,
    settings: Settings,
    dataset: str,
    path: Path,
    format_name: str = "",
    film: FramesOfFilm | None = None,
    *,
    versioned: bool = True,
) -> Intake:
    """Import labels; the frames they speak of are brought up to date before."""
    from cityforge.errors import LabelError
    from cityforge.footage.catalogue import catalogue_path
    from cityforge.labeling.formats.registry import read
    from cityforge.labeling.intake import take_in
    from cityforge.project import activate_dataset

    card = project.dataset(dataset)
    folder = project.dataset_folder(dataset)
    labels = read(path.resolve(), format_name or None, polygons=card.labeling.polygons)
    if not catalogue_path(folder).is_file():
        raise LabelError(
            "footage that the labels speak of",
            found="none",
            where=f"dataset '{dataset}'",
            do=f"cityforge footage add {dataset} PATH",
        )
    activate_dataset(project, dataset)
    leave_expired(project, dataset, last="ingest", quietly=True)
    dvc(project, "repro", "--single-item", f"ingest@{dataset}", quietly=True)
    stored = _lawful(card, folder)
    result = take_in(card, folder, labels, stored.footage, stored.frames, film)
    if versioned:
        dvc(project, "add", f"datasets/{dataset}/labels", quietly=True)
    return result


def _lawful(card: Dataset, folder: Path) -> LawfulFrames:
    """The frames that labels may speak of; how many are left out is said."""
    from datetime import UTC, datetime

    from cityforge.footage.stored import lawful_frames

    stored = lawful_frames(card, folder, datetime.now(UTC))
    if stored.note:
        typer.echo(stored.note, err=True)
    return stored


def _of_film(film: str, number: str, per_second: float) -> FramesOfFilm:
    from cityforge.errors import InputError
    from cityforge.labeling.matching import FramesOfFilm

    try:
        pattern = re.compile(number)
    except re.error as error:
        raise InputError("a regular expression", found=f"'{number}'", where="--number") from error
    if pattern.groups != 1:
        raise InputError(
            "a regular expression with one group",
            found=f"'{number}'",
            where="--number",
            do=r"such as 'frame_(\d+)'",
        )
    return FramesOfFilm(film, pattern, per_second)


@app.command("export")
def export(
    context: typer.Context,
    dataset: DatasetName,
    path: Annotated[Path, typer.Argument(help="File or folder, as the format asks.")],
    format_name: Annotated[str, typer.Option("--format", help=f"{FORMATS}.")] = "studio",
    at: Annotated[
        str, typer.Option(help="Digest of an earlier state; see `cityforge label history`.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Write the labels of a dataset, as they are or as they were, in another format."""
    project, settings = open_project(context)
    from cityforge.errors import LabelError
    from cityforge.labeling.formats.registry import find
    from cityforge.labeling.history import read_state
    from cityforge.labeling.outgoing import give_out
    from cityforge.labeling.stored import labels_path, read_labels

    find(format_name)
    card = project.dataset(dataset)
    folder = project.dataset_folder(dataset)
    if not labels_path(folder).is_file():
        raise LabelError(
            "labels",
            found="none",
            where=f"dataset '{dataset}'",
            do=f"cityforge label import {dataset} FILE",
        )
    stored = _lawful(card, folder)
    known = read_state(folder, "labels", at) if at else read_labels(folder)
    labels = give_out(dataset, card.class_names, stored.footage, stored.frames, known)
    kept_back = known.num_rows - known.column("class").null_count - len(labels.boxes)
    if kept_back:
        typer.echo(f"{kept_back} boxes of frames that may not be used left out", err=True)
    if format_name == "imagenet":  # the one that holds the pictures themselves
        from cityforge.cli.retrieval import record_retrieval

        ids = [image.where.partition("-")[0] for image in labels.images]
        record_retrieval(project, settings, dataset, "pictures", ids, "label export")
    files = _write(labels, path, format_name, stored, folder)
    if as_json:
        show_json({"boxes": len(labels.boxes), "images": len(labels.images), "files": files})
        return
    typer.echo(
        f"{len(labels.boxes)} boxes on {len(labels.images)} images written to {path} "
        f"({len(files)} files)"
    )


def _write(
    labels: LabelFile, path: Path, format_name: str, stored: LawfulFrames, folder: Path
) -> list[Path]:
    from cityforge.footage.shards import FrameStore
    from cityforge.labeling.formats.registry import write

    if format_name != "imagenet":
        return write(labels, path, format_name)
    from cityforge.labeling.formats.imagenet import write as write_pictures

    store = FrameStore(folder / "frames", stored.frames)
    frame_of = {image.name: image.where for image in labels.images}
    return write_pictures(labels, path, images=lambda name: store.read(frame_of[name]))


app.command("start")(start)
app.command("queue")(queue)
app.command("push")(push)
app.command("pull")(pull)
app.command("status")(status)
app.command("history")(history)
app.command("migrate")(migrate)
app.command("withdraw")(withdraw)
