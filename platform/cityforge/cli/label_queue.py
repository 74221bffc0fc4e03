"""`cityforge label queue`: which frames people are asked to label next, and why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cityforge.cli.surroundings import (
    DatasetName,
    Json,
    algorithm_names,
    open_project,
    progress,
    show,
    show_json,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from cityforge.cards.dataset import Dataset
    from cityforge.inference.package import Package
    from cityforge.labeling.queue import Order
    from cityforge.project import Project
    from cityforge.registry.looks import Looks
    from cityforge.settings import Settings

SHOWN = 12
# Finds under it are noise; the same floor as the evaluation's usual one.
FLOOR = 0.05


@dataclass(frozen=True)
class Sight:
    """What the current model sees, and which one it is."""

    package: Package
    version: int
    looks: Looks
    row_of: dict[str, int]


def queue(
    context: typer.Context,
    dataset: DatasetName,
    limit: Annotated[int, typer.Option(help="Frames to ask.", min=1)] = 500,
    algorithm: Annotated[
        str,
        typer.Option(
            help="Whose model looks at the frames; by default the only one of this dataset.",
            autocompletion=algorithm_names,
        ),
    ] = "",
    review: Annotated[
        bool,
        typer.Option("--review", help="Frames whose labels the model contradicts, instead."),
    ] = False,
    floor: Annotated[
        float, typer.Option(help="Least contradiction for a review.", min=0, max=1)
    ] = 0.5,
    as_json: Json = False,
) -> None:
    """Order unlabelled frames by what they would teach; `label push` follows this order.

    Without a model the order goes by how unlike the frames are. The same input gives the same
    order. Nearly the same picture is never asked twice.
    """
    project, settings = open_project(context)
    from cityforge.cli.label_push import frames_up_to_date, refuse_without_footage

    card = project.dataset(dataset)
    refuse_without_footage(project, card)
    folder = project.dataset_folder(dataset)
    stored = frames_up_to_date(project, card)
    frames = stored.frames.sort_by("frame_id")
    model = _model(project, settings, dataset, algorithm)
    sight = _look(model, folder, frames) if model else None
    if review:
        rows = _review(card, folder, frames, sight, floor, limit)
        alike = 0
    else:
        found = _teach(card, folder, stored.footage, frames, sight, limit)
        rows, alike = _rows(card, folder, frames, found), len(found.alike)
    target = write_queue(project, dataset, rows, sight)
    _say(rows, alike, sight, target.relative_to(project.root), as_json, dataset)


def write_queue(
    project: Project, dataset: str, rows: list[dict[str, Any]], sight: Sight | None
) -> Path:
    """Keep the queue and what the model found where `label push` reads them."""
    from cityforge.tables import PREDICTIONS, QUEUE, from_rows, write_table

    target = project.work / "labeling" / dataset / "queue.parquet"
    if sight:
        path = target.with_name("predictions.parquet")
        write_table(sight.looks.predictions, PREDICTIONS, path)
    write_table(from_rows(rows, QUEUE), QUEUE, target)
    return target


def _model(
    project: Project, settings: Settings, dataset: str, algorithm: str
) -> tuple[Package, int] | None:
    """The champion, or the newest version, of the algorithm that is meant; None: there is none."""
    from cityforge.errors import InputError
    from cityforge.registry.site import Site
    from cityforge.registry.versions import champion, fetch_package, list_versions

    if algorithm:
        project.algorithm(algorithm)
        names = [algorithm]
    else:
        every = project.algorithm_names()
        cards = [project.algorithm(each) for each in every]
        # What counts does not say how sure it is; see registry/looks.py.
        names = [e.name for e in cards if e.dataset == dataset and e.task != "density"]
    if len(names) > 1:
        raise InputError(
            "one algorithm whose model looks",
            found=f"{len(names)} of dataset '{dataset}': {', '.join(names)}",
            do="name it with --algorithm",
        )
    site = Site(project, settings)
    for name in names:
        versions = list_versions(site, name)
        chosen = champion(site, name) or (versions[0] if versions else None)
        if chosen:
            return fetch_package(site, chosen)[1], chosen.version
    typer.echo("no model yet: the order goes by how unlike the frames are", err=True)
    return None


def _look(model: tuple[Package, int], folder: Path, frames: pa.Table) -> Sight:
    from cityforge.footage.shards import FrameStore
    from cityforge.registry.looks import look_at

    package, version = model
    ids = frames["frame_id"].to_pylist()
    with progress("looking", "frames") as bar:
        looks = look_at(package, FrameStore(folder / "frames", frames), ids, FLOOR, bar)
    return Sight(package, version, looks, {each: row for row, each in enumerate(ids)})


def _teach(
    card: Dataset,
    folder: Path,
    footage: pa.Table,
    frames: pa.Table,
    sight: Sight | None,
    limit: int,
) -> Order:
    import numpy as np

    from cityforge.labeling.queue import NEAR_BITS, Frames, bits_of, embedding_of_bits, order
    from cityforge.labeling.stored import read_labels

    labels = read_labels(folder)
    labelled = set(labels["frame_id"].to_pylist())
    cameras = dict(
        zip(footage["footage_id"].to_pylist(), footage["camera"].to_pylist(), strict=True)
    )
    ids = frames["frame_id"].to_pylist()
    bits = bits_of(frames["phash"].to_pylist())
    embedding = sight.looks.embedding if sight else embedding_of_bits(bits)
    films, lighting = frames["footage_id"].to_pylist(), frames["lighting"].to_pylist()

    def part(rows: list[int]) -> Frames:
        at = np.array(rows, int)
        return Frames(
            frame_ids=[ids[row] for row in rows],
            cameras=[cameras[films[row]] for row in rows],
            lighting=[lighting[row] for row in rows],
            phash=bits[at],
            embedding=embedding[at],
            uncertainty=sight.looks.uncertainty[at] if sight else None,
            expected=sight.looks.expected[at] if sight else None,
        )

    classes = sight.package.about.classes if sight else card.class_names
    counts = dict.fromkeys(classes, 0)
    for name in labels["class"].to_pylist():
        if name in counts:
            counts[name] += 1
    near = card.sampling.near_duplicates
    return order(
        part([row for row, each in enumerate(ids) if each not in labelled]),
        part([row for row, each in enumerate(ids) if each in labelled]),
        np.array([counts[name] for name in classes], float),
        classes,
        limit=limit,
        near_bits=NEAR_BITS if near is None else near,
    )


def _rows(card: Dataset, folder: Path, frames: pa.Table, found: Order) -> list[dict[str, Any]]:
    """The queue with what a split left open, and with gold among it."""
    from cityforge.labeling.ontology_store import read_undecided
    from cityforge.labeling.queue_table import queue_rows, remember_gold
    from cityforge.labeling.stored import read_imported

    stored = set(frames["frame_id"].to_pylist())
    rows = queue_rows(
        found.asked,
        open_classes=stored & set(read_undecided(folder)["frame_id"].to_pylist()),
        trusted=stored & set(read_imported(folder)["frame_id"].to_pylist()),
        gold_share=card.labeling.gold_share,
    )
    remember_gold(folder, rows)
    return rows


def _review(
    card: Dataset, folder: Path, frames: pa.Table, sight: Sight | None, floor: float, limit: int
) -> list[dict[str, Any]]:
    from cityforge.errors import InputError
    from cityforge.labeling.mistakes import likely_mistakes
    from cityforge.labeling.stored import read_labels

    if sight is None or sight.package.about.task != "detection":
        raise InputError(
            "a model that finds boxes and was trained on these labels",
            found=f"one of {sight.package.about.task}" if sight else "none",
            where=f"dataset '{card.name}'",
            do="cityforge run ALGORITHM",
        )
    classes = sight.package.about.classes
    labels = _by_frame(read_labels(folder), classes, scored=False)
    finds = _by_frame(sight.looks.predictions, classes, scored=True)
    nothing = _by_frame(sight.looks.predictions.slice(0, 0), classes, scored=True)
    pairs = (
        (each, labels[each], finds.get(each) or nothing[""])
        for each in frames["frame_id"].to_pylist()
        if each in labels
    )
    found = likely_mistakes(pairs, classes, floor=floor)[:limit]
    return [
        {"frame_id": e.frame_id, "rank": rank, "purpose": "review", "reason": e.reason,
         "uncertainty": e.weight}
        for rank, e in enumerate(found)
    ]  # fmt: skip


def _by_frame(table: pa.Table, classes: list[str], *, scored: bool) -> dict[str, Any]:
    """Boxes of each frame that has a row, and an entry "" without any; other classes left out."""
    import numpy as np

    from cityforge.labeling.mistakes import Boxes

    numbers = {name: number for number, name in enumerate(classes)}
    rows: dict[str, list[tuple[float, ...]]] = {"": []}
    columns = ["frame_id", "class", "x1", "y1", "x2", "y2", *(["score"] if scored else [])]
    for frame_id, name, *edges in zip(*table.select(columns).to_pydict().values(), strict=True):
        boxes = rows.setdefault(frame_id, [])
        if name in numbers and edges[0] is not None:
            boxes.append((*edges[:4], numbers[name], edges[4] if scored else 1.0))
    found = {}
    for frame_id, boxes in rows.items():
        array = np.array(boxes, float).reshape(-1, 6)
        found[frame_id] = Boxes(xyxy=array[:, :4], cls=array[:, 4].astype(int), score=array[:, 5])
    return found


def _say(
    rows: list[dict[str, Any]], alike: int, sight: Sight | None, target: Path, as_json: bool,
    dataset: str,
) -> None:  # fmt: skip
    if as_json:
        show_json({"queue": rows, "alike": alike, "model": sight.version if sight else None})
        return
    shown = ("rank", "frame_id", "uncertainty", "reason")
    show([{key: row.get(key) for key in shown} for row in rows[:SHOWN]], False, "nothing to ask")
    if len(rows) > SHOWN:
        typer.echo(f"… and {len(rows) - SHOWN} more")
    by = f"version {sight.version}" if sight else "likeness alone"
    left = f"; {alike} nearly the same left out" if alike else ""
    typer.echo(f"{len(rows)} frames in the queue by {by}{left}, in {target}")
    if rows:
        typer.echo(f"next: cityforge label push {dataset}")
