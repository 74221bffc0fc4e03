"""`cityforge bento build`, `serve` and `predict`: approved versions at work."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cityforge.cli.surroundings import AlgorithmName, Json, open_project, show, show_json

if TYPE_CHECKING:
    from cityforge.inference.package import Package
    from cityforge.inference.runtime import Answer
    from cityforge.project import Project
    from cityforge.settings import Settings

bento = typer.Typer(help="Bentos of approved versions.", no_args_is_help=True)

Chosen = Annotated[
    int | None, typer.Option("--version", help="An approved version; by default the champion.")
]


@bento.command()
def build(
    context: typer.Context, algorithm: AlgorithmName, version: Chosen = None, as_json: Json = False
) -> None:
    """Package an approved version as a Bento."""
    project, settings = open_project(context)
    folder, tag = built_bento(project, settings, algorithm, version)
    if as_json:
        show_json({"tag": tag, "path": str(folder)})
        return
    typer.echo(f"{tag}\n{folder}")


def built_bento(
    project: Project, settings: Settings, algorithm: str, version: int | None
) -> tuple[Path, str]:
    """The Bento of an approved version, built when it is not there yet: its folder and tag."""
    from cityforge.registry.approval import approved_version
    from cityforge.registry.bento import bento_tag, build_bento
    from cityforge.training.tracking import tracking_client

    project.algorithm(algorithm)
    client = tracking_client(project, settings)
    found = approved_version(client, algorithm, version)
    return build_bento(client, project, found), bento_tag(found)


def serve(
    context: typer.Context,
    algorithm: AlgorithmName,
    version: Chosen = None,
    port: Annotated[int, typer.Option(min=1, max=65535)] = 3000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Serve an approved version: POST /predict with pictures in the field images."""
    project, settings = open_project(context)
    refuse_used_port(host, port)
    folder, tag = built_bento(project, settings, algorithm, version)
    typer.echo(f"{tag} at http://{host}:{port} (its API: http://{host}:{port}/#/)", err=True)
    sys.stderr.flush()
    command = serve_command(folder, host, port)
    os.execve(command[0], command, serve_environment(project))  # signals reach BentoML itself


def serve_command(folder: Path, host: str, port: int) -> list[str]:
    """The BentoML process that serves a Bento."""
    return [
        sys.executable,
        "-m",
        "bentoml",
        "serve",
        str(folder),
        "--host",
        host,
        "--port",
        str(port),
    ]


def serve_environment(project: Project) -> dict[str, str]:
    """Its environment: this project's Bentos, and no telemetry."""
    from cityforge.registry.bento import bento_home

    return {**os.environ, "BENTOML_HOME": str(bento_home(project))}


def refuse_used_port(host: str, port: int) -> None:
    """Raise when something listens on the port already."""
    import socket

    from cityforge.errors import ServiceError

    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ServiceError(
                f"port {port} of {host} free",
                found=error.strerror or "in use",
                do="end what uses it, or choose another with --port",
            ) from error


def predict(
    context: typer.Context,
    algorithm: AlgorithmName,
    paths: Annotated[list[Path], typer.Argument(help="Pictures, or folders of them.")],
    version: Annotated[
        int | None,
        typer.Option("--version", help="Any version; by default the champion, or the newest."),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Least score; by default the package's own.", min=0, max=1)
    ] = None,
    draw: Annotated[
        Path | None, typer.Option(help="Folder for the pictures with their boxes drawn.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Answer pictures on this machine, without a server."""
    project, settings = open_project(context)
    from cityforge.footage.listing import list_files
    from cityforge.inference.runtime import Model

    package, number = _package(project, settings, algorithm, version)
    model = Model(package)
    found: list[dict[str, Any]] = []
    listed = list_files(paths)
    if listed.refused:
        raise listed.refused[0]
    for path, name in listed.files:
        data = path.read_bytes()
        answer = _answer(model, path, data, threshold)
        found.append({"image": name, "boxes": boxes_of(answer, package)})
        if draw:
            _draw(draw, name, data, answer, package)
    if as_json:
        show_json(
            {"algorithm": algorithm, "version": number, "digest": package.digest, "answers": found}
        )
        return
    rows = [{"image": each["image"], **box} for each in found for box in each["boxes"]]
    show(rows, False, "nothing found")


def _package(
    project: Project, settings: Settings, algorithm: str, version: int | None
) -> tuple[Package, int]:
    from cityforge.registry.versions import champion, fetch_package, find_version
    from cityforge.training.tracking import tracking_client

    project.algorithm(algorithm)
    client = tracking_client(project, settings)
    chosen = champion(client, algorithm) if version is None else None
    chosen = chosen or find_version(client, algorithm, version)
    return fetch_package(client, project, chosen)[1], chosen.version


def _answer(model: Any, path: Path, data: bytes, threshold: float | None) -> Answer:
    from cityforge.errors import InputError

    try:
        answers: list[Answer] = model.answer([data], threshold)
    except InputError as error:
        raise InputError(error.expected, found=error.found, where=str(path)) from error
    return answers[0]


def boxes_of(answer: Answer, package: Package) -> list[dict[str, Any]]:
    """The boxes of an answer as people and programs read them."""
    return [
        {
            "class": package.about.classes[answer.cls[row]],
            "score": round(float(answer.score[row]), 4),
            **dict(zip(("x1", "y1", "x2", "y2"), map(_tenth, answer.xyxy[row]), strict=True)),
        }
        for row in range(len(answer.score))
    ]


def _tenth(value: float) -> float:
    return round(float(value), 2)


def _draw(folder: Path, name: str, data: bytes, answer: Answer, package: Package) -> None:
    import numpy as np

    from cityforge.evaluation.pictures import draw_boxes
    from cityforge.tasks.boxes import Boxes

    target = folder / Path(name).with_suffix(".jpg").name
    folder.mkdir(parents=True, exist_ok=True)
    found = Boxes(
        np.zeros(len(answer.score), np.int64),
        answer.cls.astype(np.int64),
        answer.xyxy,
        answer.score,
    )
    longest = max(answer.width, answer.height)
    drawn = draw_boxes(data, Boxes.empty(), found, package.about.classes, longest=longest)
    target.write_bytes(drawn)
