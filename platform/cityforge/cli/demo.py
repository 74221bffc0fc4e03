"""`cityforge demo`: the whole loop on synthetic footage, to a served answer."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cityforge.cli.surroundings import Json, open_project, progress

if TYPE_CHECKING:
    from cityforge.project import Project
    from cityforge.settings import Settings

NAME = "demo_crossing"
# What makes the demo's footage: thirteen days, three cameras, day, rain and night.
SEED, SESSIONS, SECONDS, FPS = 20261122, 13, 10.0, 2.0
READY_S = 90.0


def demo(
    context: typer.Context,
    port: Annotated[int, typer.Option(help="Port of the endpoint; 0 takes a free one.")] = 0,
    as_json: Json = False,
) -> None:
    """Make footage of a crossing, train on it, approve, serve, and ask the endpoint."""
    project, settings = open_project(context)
    begun = time.monotonic()
    _heading(1, "footage of a crossing: three cameras, day, rain and night")
    labels = make_footage(project, settings)
    _heading(2, "footage and labels into the dataset")
    take_in(project, settings, labels)
    _heading(3, "from a snapshot to a registered model")
    from cityforge.cli.run import run_algorithm

    run_algorithm(project, NAME)
    _heading(4, "approval and Bento")
    folder, tag, version = _approved_bento(project, settings)
    _heading(5, f"the endpoint: {tag}")
    answer, frame = _ask(project, settings, folder, port)
    _close(project, answer, frame, version, time.monotonic() - begun, as_json)


def make_footage(project: Project, settings: Settings) -> Path:
    """Synthetic clips with their labels, in the project's work folder; made once."""
    from cityforge.synthetic.footage import FootagePlan, generate

    plan = FootagePlan(seed=SEED, sessions=SESSIONS, seconds=SECONDS, fps=FPS, label_every_s=0.5)
    with progress("clips", "clips") as advance:
        return generate(
            project.work / "demo_footage", plan, workers=settings.worker_count(), progress=advance
        )


def take_in(project: Project, settings: Settings, labels: Path) -> None:
    """Add the demo's clips and labels to its dataset."""
    from cityforge.cli.footage import add_to_dataset
    from cityforge.cli.label import import_into_dataset

    clips = sorted(path for path in labels.parent.iterdir() if path.name.startswith("crossing_"))
    files = [each for folder in clips for each in sorted(folder.glob("*.mp4"))]
    # Made from a seed on each machine: there is nothing to version.
    added = add_to_dataset(project, settings, NAME, files, _table(labels.parent), versioned=False)
    typer.echo(f"{len(added.added)} clips added, {len(added.known)} known already")
    taken = import_into_dataset(project, settings, NAME, labels, "studio", versioned=False)
    typer.echo(f"{taken.boxes} boxes on {taken.images} frames, {len(taken.rejected)} refused")


def _table(folder: Path) -> Path:
    """The list of clips, with the names that `footage add` knows them by."""
    import csv

    with (folder / "footage.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    target = folder / "footage_by_name.csv"
    with target.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows({**row, "file": Path(row["file"]).name} for row in rows)
    return target


def _approved_bento(project: Project, settings: Settings) -> tuple[Path, str, int]:
    from cityforge.registry.approval import approve
    from cityforge.registry.bento import bento_tag, build_bento
    from cityforge.registry.site import Site, acting
    from cityforge.registry.versions import find_version

    alone = settings.model_copy(update={"one_person": True})  # which the record says
    site = Site(project, alone, lambda line: typer.echo(line, err=True))
    registered = json.loads(
        (project.build(NAME) / "register" / "version.json").read_text(encoding="utf-8")
    )
    version = find_version(site, NAME, int(registered["version"]))
    if not version.approval:
        version, record = approve(site, NAME, version.version, acting(site), "the demo")
        typer.echo(f"version {version.version} approved by {record.approver} at {record.at}")
    folder = build_bento(site, version)
    return folder, bento_tag(version, project.root), version.version


def _ask(
    project: Project, settings: Settings, folder: Path, port: int
) -> tuple[dict[str, Any], str]:
    """Start the endpoint, send it a frame of the test split, end it."""
    from cityforge.cli.serving import Asked, refuse_used_port, serve_command, serve_environment
    from cityforge.registry.published import Publisher
    from cityforge.registry.site import Site
    from cityforge.training.data import open_training_data

    data = open_training_data(project, project.algorithm(NAME))
    test = data.subset("test")
    busiest = max(range(len(test.frame_ids)), key=lambda row: len(test.boxes[row][1]))
    frame = test.frame_ids[busiest]
    port = port or free_port()
    refuse_used_port("127.0.0.1", port)
    site = Site(project, settings.model_copy(update={"one_person": True}))  # as it was approved
    Publisher(site, NAME, None, typer.echo).first()
    asked = Asked("127.0.0.1", port, open_to_all=True)  # for one question, of this machine
    log = project.work / "demo_endpoint.log"
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            serve_command(folder, asked),
            env=serve_environment(site, NAME, asked),
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
        try:
            answer = ask_when_ready(process, port, frame, data.store.read(frame), log)
        finally:
            process.terminate()
            process.wait(timeout=30)
    return answer, frame


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask_when_ready(
    process: subprocess.Popen[bytes], port: int, name: str, jpeg: bytes, log: Path
) -> dict[str, Any]:
    """Wait until the endpoint is ready, then send it one picture.

    Raises:
        ServiceError: it ended, or was not ready in time.
    """
    import httpx

    from cityforge.errors import ServiceError

    address = f"http://127.0.0.1:{port}"
    due = time.monotonic() + READY_S
    while time.monotonic() < due and process.poll() is None:
        try:
            if httpx.get(f"{address}/readyz", timeout=2).status_code == 200:
                files = {"images": (f"{name}.jpg", jpeg, "image/jpeg")}
                answer = httpx.post(f"{address}/predict", files=files, timeout=30)
                answer.raise_for_status()
                found: dict[str, Any] = answer.json()
                return found
        except httpx.TransportError:
            time.sleep(0.2)  # nothing tells when a port is open: asked again, at most READY_S
    tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
    raise ServiceError(
        "an endpoint that answers", found=tail[0] if tail else "silence", where=str(log)
    )


def _heading(number: int, text: str) -> None:
    typer.echo(f"\n[{number}/5] {text}", err=False)


def _close(
    project: Project,
    answer: dict[str, Any],
    frame: str,
    version: int,
    seconds: float,
    as_json: bool,
) -> None:
    from cityforge.cli.surroundings import show, show_json

    report = (project.build(NAME) / "evaluate" / "report.html").relative_to(project.root)
    if as_json:
        show_json({"answer": answer, "frame": frame, "report": str(report), "seconds": seconds})
        return
    picture = answer["pictures"][0]
    typer.echo(
        f"POST /predict with frame {frame} (never trained on) answered "
        f"{len(picture['boxes'])} boxes, request {answer['request_id']}:"
    )
    show(picture["boxes"][:6], False)
    figures = json.loads(
        (project.build(NAME) / "evaluate" / "metrics.json").read_text(encoding="utf-8")
    )
    typer.echo(
        f"{NAME} version {version}: mAP50 {figures['map50']:.3f} on the test split, "
        f"{seconds:.0f} s in all\n\n"
        f"the report   {report}\n\n"
        "next\n"
        "  cityforge key token new me --scope predict      who may call the endpoint\n"
        f"  cityforge serve {NAME}                     the endpoint, to keep\n"
        f"  cityforge run {NAME} --set train.epochs=4  another version of it\n"
        f"  cityforge model compare {NAME} 2           held against the first"
    )
