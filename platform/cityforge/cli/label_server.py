"""`cityforge label start`: the Label Studio of this machine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cityforge.cli.surroundings import Json, open_project, show_json

if TYPE_CHECKING:
    from cityforge.labeling.studio.server import Status
    from cityforge.project import Project
    from cityforge.settings import Settings


def start(
    context: typer.Context,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port; by default that of the last start, or 8080."),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(help="IPv4 address to listen on; by default this machine alone, 127.0.0.1."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of its database; by default that of the last start."),
    ] = None,
    reset_token: Annotated[
        bool, typer.Option("--reset-token", help="Give our account a new password and token.")
    ] = False,
    show_password: Annotated[
        bool, typer.Option("--show-password", help="Print the password of our account.")
    ] = False,
    stop: Annotated[bool, typer.Option("--stop", help="End the server.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Say whether it runs.")] = False,
    as_json: Json = False,
) -> None:
    """Start Label Studio on this machine, in an environment of its own; --stop ends it."""
    project, settings = open_project(context)
    if stop and status:
        raise typer.BadParameter("--stop and --status exclude each other")
    if stop:
        _stop(project, settings, as_json)
    elif status:
        _status(project, settings, as_json)
    else:
        _start(project, settings, port, host, data, reset_token, show_password, as_json)


def _start(
    project: Project,
    settings: Settings,
    port: int | None,
    host: str | None,
    data: Path | None,
    reset_token: bool,
    show_password: bool,
    as_json: bool,
) -> None:
    from cityforge.labeling.studio.credentials import credentials_path, ensure_credentials
    from cityforge.labeling.studio.server import start as start_server

    with _saying() as say:
        server, is_new = start_server(
            project.work, settings, port, host, data, reset_token=reset_token, say=say
        )
    credentials = ensure_credentials(project.work)
    kept = credentials_path(project.work)
    password = credentials.password.get_secret_value() if show_password else ""
    if as_json:
        secret = {"password": password} if show_password else {}
        about = {"user": credentials.user, "access": str(kept)}
        show_json({"started": is_new, **asdict(server), **about, **secret})
        return
    runs = "runs" if is_new else "runs already"
    where = _short(kept, project)
    shown = (
        f"{password} (kept in {where})" if password else f"in {where} (--show-password shows it)"
    )
    typer.echo(f"Label Studio {server.version} {runs}: {server.url}")
    typer.echo(f"log in as {credentials.user}, password {shown}")
    typer.echo(f"pictures it serves: {_short(Path(server.files), project)}")
    if not server.host.startswith("127."):
        typer.echo(
            f"it listens on {server.host} without encryption: other machines reach it, so keep "
            "it inside your network or behind a proxy with TLS",
            err=True,
        )


def _stop(project: Project, settings: Settings, as_json: bool) -> None:
    from cityforge.labeling.studio.server import ensure_ours, stop

    ensure_ours(settings)
    ended = stop(project.work)
    if as_json:
        show_json({"stopped": ended is not None})
        return
    typer.echo(f"ended: {ended.url}" if ended else "no Label Studio of this project runs here")


def _status(project: Project, settings: Settings, as_json: bool) -> None:
    from cityforge.labeling.studio.server import status

    found = status(project.work, settings)
    if as_json:
        show_json(asdict(found))
    else:
        for line in _status_lines(found):
            typer.echo(line)


def _status_lines(found: Status) -> Iterator[str]:
    whose = "configured" if found.configured else "of this machine"
    if not found.running:
        yield f"Label Studio {whose}: does not run" + (f" ({found.problem})" if found.url else "")
        return
    if found.problem:
        yield f"Label Studio {whose}: {found.url} runs but does not work ({found.problem})"
    else:
        yield (
            f"Label Studio {found.version} {whose}: {found.url}, "
            f"{found.projects} projects, {found.users} users"
        )
    if found.pid:
        yield f"process {found.pid} since {found.since}, data in {found.data}"


def _short(path: Path, project: Project) -> Path:
    root = project.root.resolve()
    return path.resolve().relative_to(root) if path.resolve().is_relative_to(root) else path


@contextmanager
def _saying() -> Iterator[Callable[[str], None]]:
    """Each step on stderr: one line with the seconds so far, or on a pipe plain lines."""
    if not sys.stderr.isatty():
        yield lambda step: typer.echo(step, err=True)
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        line = shown.add_task("looking for Label Studio", total=None)
        yield lambda step: shown.update(line, description=step)
