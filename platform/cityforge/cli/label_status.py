"""`cityforge label status`: how far people are, how fast, and how well they agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cityforge.cli.surroundings import DatasetName, Json, open_project, show, show_json

if TYPE_CHECKING:
    from cityforge.labeling.progress import Progress

CONFUSIONS = 10  # shown on the screen


def status(
    context: typer.Context,
    dataset: DatasetName,
    html: Annotated[
        Path | None, typer.Option(help="Also write it as a page to this HTML file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say how far the labelling is: progress, speed, agreement, known answers, what is left."""
    project, _ = open_project(context)
    from dataclasses import asdict
    from datetime import UTC, datetime

    from cityforge.footage.stored import lawful_frames
    from cityforge.labeling.progress import progress

    card, folder = project.dataset(dataset), project.dataset_folder(dataset)
    now = datetime.now(UTC)
    stored = lawful_frames(card, folder, now)
    if stored.note:
        typer.echo(stored.note, err=True)
    found = progress(card, folder, stored.footage, stored.frames)
    if html:
        from cityforge.labeling.status_sheet import render_status

        html.write_text(render_status(found, now), encoding="utf-8")
    if as_json:
        show_json(asdict(found))
        return
    _show(found)
    if html:
        typer.echo(f"written to {html}")


def _show(found: Progress) -> None:
    typer.echo(summary(found))
    agreed = found.agreement
    pairs, classes = list(map(vars, agreed.pairs)), list(map(vars, agreed.classes))
    confusions = list(map(vars, agreed.confusions[:CONFUSIONS]))
    terms = {**found.boxes, **found.boxes_in_old_terms}
    for title, rows in (
        ("annotators", list(map(vars, found.annotators))),
        (f"agreement of pairs, at IoU {found.match_iou:g}", pairs),
        ("agreement by class", classes),
        ("classes that people confuse", confusions),
        ("frames of known answer", list(map(vars, found.gold))),
        ("labels stored", [{"class": name, "labels": count} for name, count in terms.items()]),
        ("kept aside", [{"reason": why, "rows": rows} for why, rows in found.rejected.items()]),
    ):
        if rows:
            typer.echo(f"\n{title}")
            show(_shown(rows), as_json=False)


def summary(found: Progress) -> str:
    """A few lines of progress."""
    from cityforge.labeling.progress import in_words

    frames = found.frames
    pushed = "" if frames.pushed is None else f", {frames.pushed:,} pushed"
    lines = [
        f"{frames.stored:,} frames stored{pushed}: {frames.complete:,} complete, "
        f"{frames.started:,} started, {frames.skipped:,} skipped, {frames.imported:,} imported, "
        f"{frames.open:,} open",
        f"{found.annotations:,} annotations ({found.superseded:,} made anew); "
        f"{frames.empty:,} frames hold nothing; {frames.disputed:,} are disputed "
        f"(rule {found.consensus}, {found.annotators_a_frame} a frame)",
    ]
    if found.hours_left is not None:
        lines.append(f"about {in_words(found.hours_left)} of one person's work are left")
    if found.aside:
        lines.append(f"{found.aside:,} imported labels wait behind people's")
    return "\n".join(lines)


def _shown(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows without columns that nobody has a value in; what would steer a terminal is spelt out."""
    from cityforge.errors import on_one_line

    kept = [key for key in rows[0] if any(row[key] is not None for row in rows)]
    return [
        {
            "class" if key == "cls" else key: (
                on_one_line(row[key]) if isinstance(row[key], str) else row[key]
            )
            for key in kept
        }
        for row in rows
    ]
