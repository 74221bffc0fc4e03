"""`cityforge footage audit`: what a second detector still finds in stored frames."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cityforge.cli.surroundings import DatasetName, Json, open_project, progress, show_json

if TYPE_CHECKING:
    from cityforge.cards.dataset import OnnxDetector, Privacy
    from cityforge.footage.audit import AuditResult
    from cityforge.footage.detectors import Detector


class Kind(StrEnum):
    """What redaction removes."""

    face = "face"
    plate = "plate"


class Layout(StrEnum):
    """How an ONNX detector answers; see the dataset's card."""

    scores_boxes = "scores_boxes"
    yolo = "yolo"
    rows = "rows"


class Colour(StrEnum):
    """Order of the colours that an ONNX detector takes."""

    rgb = "rgb"
    bgr = "bgr"


def audit(
    context: typer.Context,
    dataset: DatasetName,
    frames: Annotated[int, typer.Option(min=1, help="How many stored frames to look at.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Another seed takes other frames.")] = 0,
    kind: Annotated[
        list[Kind] | None,
        typer.Option(help="Look for these only; else for what the card redacts, or faces."),
    ] = None,
    detector: Annotated[
        Path | None,
        typer.Option(help="A second detector as ONNX; else OpenCV's cascades.", dir_okay=False),
    ] = None,
    width: Annotated[int, typer.Option(min=32, max=4096, help="Of its input, pixels.")] = 320,
    height: Annotated[int, typer.Option(min=32, max=4096, help="Of its input, pixels.")] = 240,
    layout: Annotated[Layout, typer.Option(help="Of its answer.")] = Layout.scores_boxes,
    mean: Annotated[float, typer.Option(help="Its input is (pixel - mean) / divide-by.")] = 127.0,
    divide_by: Annotated[float, typer.Option(help="See --mean.")] = 128.0,
    colour: Annotated[Colour, typer.Option(help="Order of the colours it takes.")] = Colour.rgb,
    score: Annotated[float, typer.Option(help="From here on a find counts, 0 to 1.")] = 0.5,
    tiles: Annotated[
        int, typer.Option(min=1, max=8, help="It also looks at tiles × tiles parts.")
    ] = 2,
    sheet: Annotated[
        Path | None, typer.Option(help="Write a page with every find to this HTML file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Look at stored frames with a second detector, and say what it still finds."""
    project, settings = open_project(context)
    from datetime import UTC, datetime

    from cityforge.cli.retrieval import record_retrieval
    from cityforge.footage.audit import audit as look_again
    from cityforge.footage.shards import FrameStore
    from cityforge.footage.stored import lawful_frames

    card = project.dataset(dataset)
    folder = project.dataset_folder(dataset)
    given = None
    if detector:
        given = describe_detector(
            detector,
            width=width,
            height=height,
            layout=layout.value,
            mean=mean,
            divide_by=divide_by,
            colour=colour.value,
            score=score,
            tiles=tiles,
        )
    kinds = [each.value for each in kind or []] or list(card.privacy.redact) or ["face"]
    detectors = second_detectors(card.privacy, kinds, given)
    stored = lawful_frames(card, folder, datetime.now(UTC))
    if stored.note:
        typer.echo(stored.note, err=True)
    table = stored.frames
    store = FrameStore(folder / "frames", table)
    with progress("audit", "frames") as advance:
        result = look_again(table, store, detectors, frames, seed, advance)
    by = [detector.name] if detector else ["OpenCV's cascades"]
    if sheet:
        from cityforge.footage.audit_sheet import render_sheet

        ids = table.column("footage_id").unique().to_pylist()
        record_retrieval(project, settings, dataset, "sheet of finds", ids, "footage audit")
        page = render_sheet(card.title, by, result, table, store.read)
        sheet.write_text(page, encoding="utf-8")
    if as_json:
        show_json(as_facts(result, seed, by))
        return
    typer.echo(summary(result, by))
    if sheet:
        typer.echo(f"{sheet}: it may show what redaction missed; keep it where the originals are")


def describe_detector(path: Path, **described: object) -> OnnxDetector:
    """What the options say of an ONNX file, as a card would.

    Raises:
        InputError: there is no such file.
        CardError: an option that no detector can have.
    """
    import hashlib

    from cityforge.cards.dataset import OnnxDetector
    from cityforge.cards.yaml_files import check
    from cityforge.errors import InputError

    if not path.is_file():
        raise InputError("an ONNX file", found="no file", where=f"{path}, option --detector")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    content = {"path": str(path.absolute()), "sha256": digest, **described}
    return check(OnnxDetector, content, Path("the options of --detector"))


def second_detectors(
    privacy: Privacy, kinds: list[str], given: OnnxDetector | None
) -> list[Detector]:
    """Detectors of `kinds`, each another one than that which redacted.

    Raises:
        InputError: there is none, or one for several kinds.
    """
    from cityforge.errors import InputError
    from cityforge.footage.detectors import CascadeFinder, OnnxFinder

    used = dict((privacy.redaction.detectors if privacy.redaction else None) or {})
    if given is None:
        by_cascades = [each for each in kinds if each in privacy.redact and each not in used]
        if by_cascades:
            raise InputError(
                "a second detector",
                found=f"OpenCV's cascades, which redacted every {by_cascades[0]}",
                do=f"--kind {by_cascades[0]} --detector FILE.onnx",
            )
        return [CascadeFinder(each) for each in dict.fromkeys(kinds)]
    if len(set(kinds)) > 1:
        raise InputError(
            "one kind with --detector", found=" and ".join(kinds), do=f"--kind {kinds[0]}"
        )
    if any(given.sha256 == each.sha256 for each in used.values()):
        raise InputError(
            "a second detector",
            found="the one that redacted",
            where=given.path,
            do="give another file, or none for OpenCV's cascades",
        )
    return [OnnxFinder(kinds[0], given, Path())]


def as_facts(result: AuditResult, seed: int, by: list[str]) -> dict[str, object]:
    """For JSON."""
    return {
        "frames": result.frames,
        "stored": result.stored,
        "seed": seed,
        "by": by,
        "frames_with_a_find": result.frames_with_a_find,
        "finds": result.counts(),
        "in_the_open": result.counts(in_the_open=True),
        "found": [each.to_row() for each in result.remainders],
    }


def summary(result: AuditResult, by: list[str]) -> str:
    """One line."""
    in_the_open = result.counts(in_the_open=True)
    finds = ", ".join(
        f"{kind} {count} ({in_the_open[kind]} in the open)"
        for kind, count in result.counts().items()
    )
    return (
        f"{result.frames:,} of {result.stored:,} stored frames looked at by {', '.join(by)}: "
        f"{finds}, in {result.frames_with_a_find:,} of them"
    )
