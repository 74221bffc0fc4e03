"""`cityforge label push`: frames to the annotators in Label Studio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cityforge.cli.expiry import leave_expired
from cityforge.cli.surroundings import (
    DatasetName,
    Json,
    algorithm_names,
    dvc,
    open_project,
    progress,
    show_json,
)

if TYPE_CHECKING:
    from cityforge.cards.dataset import Dataset
    from cityforge.footage.shards import FrameStore
    from cityforge.footage.stored import LawfulFrames
    from cityforge.labeling.studio.project import StudioProject
    from cityforge.labeling.studio.push import Before, Prefills, Pushed
    from cityforge.labeling.studio.tasks import Prefill
    from cityforge.project import Project
    from cityforge.registry.prefill import Champion
    from cityforge.settings import Settings


def push(
    context: typer.Context,
    dataset: DatasetName,
    limit: Annotated[int | None, typer.Option(help="Make that many tasks at most.", min=1)] = None,
    every: Annotated[
        bool,
        typer.Option("--all", help="Also frames that have labels, or that the queue leaves out."),
    ] = False,
    algorithm: Annotated[
        str,
        typer.Option(
            help="Whose champion fills in boxes; by default the only one of this dataset.",
            autocompletion=algorithm_names,
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """Make a task of each frame that people are to label; each frame is one task, always."""
    project, settings = open_project(context)
    from cityforge.labeling.studio.client import Studio
    from cityforge.labeling.studio.project import sync_project
    from cityforge.labeling.studio.server import access, files_folder

    card = project.dataset(dataset)
    _refuse_video(card)
    refuse_without_footage(project, card)
    if algorithm:
        project.algorithm(algorithm)
    reached, files = access(project.work, settings), files_folder(project.work, settings)
    with Studio(reached.url, reached.token) as studio:
        target = sync_project(studio, card, files, _pulled_from(project, card, studio.url))
        stored = frames_up_to_date(project, card)
        order = _order(project, card, stored, every)
        model = _champion(project, settings, card, algorithm)
        record = _record(project, settings, dataset)
        result = _push(project, card, stored, order, studio, target, files, model, limit, record)
        marked = 0 if result.stopped else _mark_doubtful(project, card, studio, target)
    _say(result, target, model, marked, as_json)
    if result.stopped:
        raise typer.Exit(1)


def _refuse_video(card: Dataset) -> None:
    from cityforge.errors import InputError

    if card.labeling.kind == "video":
        raise InputError(
            "a dataset whose frames are labelled one by one",
            found="labeling.kind 'video'",
            where=f"card of dataset '{card.name}'",
            do="films are pushed as clips, which this command does not do yet",
        )


def refuse_without_footage(project: Project, card: Dataset) -> None:
    """Raise InputError where nothing was ever added to the dataset."""
    from cityforge.errors import InputError
    from cityforge.footage.catalogue import catalogue_path

    if not catalogue_path(project.dataset_folder(card.name)).is_file():
        raise InputError(
            "footage to label",
            found="none",
            where=f"dataset '{card.name}'",
            do=f"cityforge footage add {card.name} PATH",
        )


def frames_up_to_date(project: Project, card: Dataset) -> LawfulFrames:
    """The frames that may be used, of all footage that was added."""
    from cityforge.footage.stored import lawful_frames
    from cityforge.project import activate_dataset

    activate_dataset(project, card.name)
    leave_expired(project, card.name, last="ingest", quietly=True)
    dvc(project, "repro", "--single-item", f"ingest@{card.name}", quietly=True)
    stored = lawful_frames(card, project.dataset_folder(card.name), datetime.now(UTC))
    if stored.note:
        typer.echo(stored.note, err=True)
    return stored


def _order(
    project: Project, card: Dataset, stored: LawfulFrames, every: bool
) -> dict[str, str | None]:
    """Frames to ask, each with the reason: the queue's, or camera by camera as time went."""
    from cityforge.labeling.intake import read_labels
    from cityforge.labeling.studio.asked import in_time, queued
    from cityforge.tables import QUEUE, read_table

    labelled = set(read_labels(project.dataset_folder(card.name))["frame_id"].to_pylist())
    others = in_time(stored.frames, stored.footage)
    path = _state(project, card) / "queue.parquet"
    order: dict[str, str | None] = {}
    if path.is_file():
        order = queued(read_table(QUEUE, path), labelled, every)
        rest = [each for each in others if each not in order and each not in labelled]
        if rest and not every:
            typer.echo(
                f"{len(rest)} unlabelled frames are not in the queue: "
                f"cityforge label queue {card.name}, or --all",
                err=True,
            )
            others = []
    for each in others:
        if every or each not in labelled:
            order.setdefault(each, None)
    return order


def _push(
    project: Project,
    card: Dataset,
    stored: LawfulFrames,
    order: Mapping[str, str | None],
    studio: Any,
    target: StudioProject,
    files: Path,
    model: Champion | None,
    limit: int | None,
    record: Before,
) -> Pushed:
    from cityforge.footage.shards import FrameStore
    from cityforge.labeling.studio.asked import with_footage
    from cityforge.labeling.studio.pictures import Pictures
    from cityforge.labeling.studio.push import push as push_frames

    state = _state(project, card)
    store = FrameStore(project.dataset_folder(card.name) / "frames", stored.frames)
    with progress("pushing", "frames") as bar:
        return push_frames(
            studio, target, card, with_footage(card, stored.frames, stored.footage), order,
            Pictures(files, card.name, store), work=state, limit=limit, progress=bar,
            prefills=_prefills(model, store, state) if model else None, before=record,
        )  # fmt: skip


def _record(project: Project, settings: Settings, dataset: str) -> Before:
    """Puts on record who brings pictures of which footage to Label Studio, before they go."""
    from cityforge.cli.retrieval import record_retrieval

    def record(frame_ids: Sequence[str]) -> None:
        ids = {each.partition("-")[0] for each in frame_ids}
        record_retrieval(project, settings, dataset, "pictures", ids, "label push")

    return record


def _prefills(model: Champion, store: FrameStore, state: Path) -> Prefills:
    from cityforge.registry.prefill import prefills

    def fill(frame_ids: Sequence[str]) -> Mapping[str, Prefill]:
        typer.echo(f"{model.name} looks at the frames that it has not seen", err=True)
        return prefills(model, store, frame_ids, state / "predictions.parquet")

    return fill


def _champion(
    project: Project, settings: Settings, card: Dataset, algorithm: str
) -> Champion | None:
    """The model that fills in boxes; None where there is none, or it is not clear which."""
    if card.labeling.kind != "boxes":
        return None
    every = project.algorithm_names()
    names = [algorithm] if algorithm else [
        each for each in every if project.algorithm(each).dataset == card.name
    ]  # fmt: skip
    names = [each for each in names if project.algorithm(each).task == "detection"]
    if len(names) != 1:
        if names:
            typer.echo(f"no pre-filled boxes: {len(names)} algorithms use this dataset, "
                       "name one with --algorithm", err=True)  # fmt: skip
        return None
    from cityforge.registry.prefill import find_champion
    from cityforge.registry.site import Site

    model = find_champion(Site(project, settings), names[0])
    if model is None:
        typer.echo(f"no pre-filled boxes: '{names[0]}' has no champion yet", err=True)
    return model


def _state(project: Project, card: Dataset) -> Path:
    return project.work / "labeling" / card.name


def _pulled_from(project: Project, card: Dataset, url: str) -> StudioProject | None:
    """The project of this server that annotations were pulled from before."""
    from cityforge.labeling.stored import STUDIO, annotations_path
    from cityforge.labeling.studio.merge import read_states
    from cityforge.labeling.studio.project import StudioProject

    states = read_states(annotations_path(project.dataset_folder(card.name)))
    here = {source: state for source, state in states.items() if state.url == url}
    if not here:
        return None
    newest = max(here, key=lambda source: here[source].pulled_at)
    return StudioProject(int(newest.removeprefix(STUDIO)), card.title, url)


def _mark_doubtful(project: Project, card: Dataset, studio: Any, target: StudioProject) -> int:
    """Say in the tasks of frames that the queue wants reviewed why it does."""
    from cityforge.labeling.studio.listing import Listing
    from cityforge.labeling.studio.review import mark_for_review
    from cityforge.tables import QUEUE, read_table

    state = _state(project, card)
    if not (state / "queue.parquet").is_file():
        return 0
    rows = read_table(QUEUE, state / "queue.parquet").to_pylist()
    reasons = {row["frame_id"]: row["reason"] for row in rows if row["purpose"] == "review"}
    if not reasons:
        return 0
    tasks = Listing.load(studio, target.id, state / "tasks.json").by_frame()
    return mark_for_review(studio, tasks, reasons)


def _say(
    result: Pushed, target: StudioProject, model: Champion | None, marked: int, as_json: bool
) -> None:
    if as_json:
        show_json({
            **vars(result), "marked_for_review": marked, "project": target.id, "url": target.url,
            "changed": list(target.changed), "model": model.name if model else None,
        })  # fmt: skip
    else:
        for line in target.changed:
            typer.echo(line, err=True)
        doubtful = f", {marked} marked for review" if marked else ""
        typer.echo(f"{summary(result, model.name if model else '')}{doubtful}, in {target.url}")
    for line in warnings(result):
        typer.echo(line, err=True)


def summary(result: Pushed, model: str) -> str:
    """One line on what a push came to."""
    filled = f" ({result.prefilled} with boxes of {model})" if model else ""
    parts = [f"{result.new} tasks made{filled}", f"{result.already} there already"]
    if result.waiting:
        parts.append(f"{result.waiting} left for the next push")
    if result.doubled:
        parts.append(f"{result.doubled} doubled tasks removed")
    if result.removed:
        parts.append(f"{result.removed} tasks of frames that may no longer be used removed")
    if result.pictures_removed:
        parts.append(f"{result.pictures_removed} pictures removed")
    return ", ".join(parts)


def warnings(result: Pushed) -> list[str]:
    """What a person should know of a push beside its summary, one line each."""
    lines = [
        f"{count} boxes of the model left out: {reason}"
        for reason, count in sorted(result.boxes_left_out.items())
    ]
    lines += [
        f"frame {each} may no longer be used, but people have worked on its task: it stays, "
        "without its picture"
        for each in result.barred_kept
    ]
    lines += [
        f"frame {each} is labelled in several tasks: all stay" for each in result.doubled_kept
    ]
    return lines + ([result.stopped] if result.stopped else [])
