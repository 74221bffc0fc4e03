"""`cityforge analyze`: tracks and events of a clip, without a server."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cityforge.cli.predict import chosen_package
from cityforge.cli.surroundings import AlgorithmName, Json, open_project, progress, show, show_json

if TYPE_CHECKING:
    from cityforge.inference.analysis import Asked
    from cityforge.project import Project

UNFIT = str.maketrans(dict.fromkeys('/\\:*?"<>|', "_"))  # of a file's name


def analyze(
    context: typer.Context,
    algorithm: AlgorithmName,
    clip: Annotated[Path, typer.Argument(help="A clip.", exists=True, dir_okay=False)],
    camera: Annotated[
        str | None, typer.Option(help="Camera whose card gives zones, lines and ground.")
    ] = None,
    scene: Annotated[
        Path | None,
        typer.Option(help="YAML or JSON file with zones, lines and ground.", exists=True),
    ] = None,
    fps: Annotated[
        float, typer.Option(help="Frames looked at a second of film.", min=1, max=30)
    ] = 5.0,
    version: Annotated[
        int | None,
        typer.Option("--version", help="Any version; by default the champion, or the newest."),
    ] = None,
    evidence: Annotated[
        int, typer.Option(help="Drawn frames an event, with --out.", min=0, max=3)
    ] = 1,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the frames that show each event.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Follow what a clip shows, and tell the events that the algorithm's rules ask for."""
    project, settings = open_project(context)
    from cityforge.inference.analysis import analyse
    from cityforge.inference.runtime import Model

    asked = _asked(project, camera, scene, fps, evidence if out else 0)
    package, number = chosen_package(project, settings, algorithm, version)
    with progress("analysis", "frames") as advance:
        found = analyse(Model(package), clip, clip.name, asked, advance)
    written = _write(out, found["events"]) if out else 0
    if as_json:
        named = {"model": algorithm, "version": number, "digest": package.digest}
        show_json({**named, **found})
        return
    _show(found)
    if out:
        typer.echo(f"{written} frames in {out}", err=True)


def _asked(
    project: Project, camera: str | None, scene: Path | None, fps: float, evidence: int
) -> Asked:
    from cityforge.cards.camera import Scene
    from cityforge.cards.yaml_files import read_card
    from cityforge.endpoint.cameras import Cameras
    from cityforge.inference.analysis import Asked

    card = Cameras(project.root / "serving" / "cameras").find(camera) if camera else None
    drawn = read_card(Scene, scene) if scene else None
    return Asked(scene=drawn, camera=card, fps=fps, evidence=evidence)


def _write(folder: Path, events: list[dict[str, Any]]) -> int:
    """Write the frames of every event, and put their files' names where they stood."""
    folder.mkdir(parents=True, exist_ok=True)
    written = 0
    for number, event in enumerate(events, 1):
        for shot in event["evidence"]:
            stem = f"{number:04d} {event['rule']}".translate(UNFIT)[:80]
            shot["file"] = f"{stem} {shot['at_s']:07.3f}s.jpg"
            (folder / shot["file"]).write_bytes(base64.b64decode(shot.pop("jpeg")))
            written += 1
    return written


def _show(found: dict[str, Any]) -> None:
    clip = found["clip"]
    show([_row(each) for each in found["events"]], False, "no events")
    if found["totals"]:
        show(found["totals"], False)
    for each in found["skipped"]:
        typer.echo(f"'{each['rule']}' is skipped: {each['why']}", err=True)
    for each in found["outside"]:
        what = each["what"].replace("_", " ")
        typer.echo(f"not proven here: {what}, {each['found']} (proven: {each['proven']})", err=True)
    damaged = f", {clip['damaged']} damaged" if clip["damaged"] else ""
    cut = f"; {clip['cut']}" if clip["cut"] else ""
    looked = f"{clip['frames']} frames of {clip['seconds']:g} s looked at{damaged}"
    typer.echo(f"{looked}; tracks: {len(found['tracks'])}{cut}", err=True)


def _row(event: dict[str, Any]) -> dict[str, Any]:
    """An event as a line of the table."""
    tracks = event["tracks"]
    more = [f"and {len(tracks) - 6} more"] if len(tracks) > 6 else []
    return {
        "rule": event["rule"],
        "kind": event["kind"],
        "from_s": f"{event['start_s']:.1f}",
        "to_s": f"{event['end_s']:.1f}{' …' if event['going_on'] else ''}",
        "tracks": [*tracks[:6], *more],
        "class": event["class_name"],
        "where": event["zone"],
        "direction": event["direction"],
        "value": None if event["value"] is None else f"{event['value']:g}",
        "confidence": f"{event['confidence']:.2f}",
    }
