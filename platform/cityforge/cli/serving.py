"""`cityforge bento build` and `serve`: approved versions at work."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cityforge.cli.surroundings import AlgorithmName, Json, open_project, show_json

if TYPE_CHECKING:
    from cityforge.project import Project
    from cityforge.registry.site import Site
    from cityforge.settings import Settings

bento = typer.Typer(help="Bentos of approved versions.", no_args_is_help=True)

MUST_BE = "Must be the champion, the default: roll back to another approved version first."
Chosen = Annotated[int | None, typer.Option("--version", help=MUST_BE)]


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
    from cityforge.registry.site import Site

    project.algorithm(algorithm)
    site = Site(project, settings)
    found = approved_version(site, algorithm, version)
    return build_bento(site, found), bento_tag(found, project.root)


def serve(
    context: typer.Context,
    algorithm: AlgorithmName,
    version: Annotated[
        int | None,
        typer.Option(
            "--version", help=f"{MUST_BE} With it the endpoint follows no later approval."
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535)] = 3000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    open_to_all: Annotated[
        bool | None,
        typer.Option("--open/--closed", help="Whether anyone may call without a token; closed."),
    ] = None,
    hosts: Annotated[
        str | None, typer.Option(help="Names, by commas, that callers know this machine by.")
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="Certificate (PEM): answer over TLS.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key (PEM).")] = None,
    capture: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Keep a picture of this share of the requests, made private first."
        ),
    ] = None,
    compute: Annotated[
        int | None,
        typer.Option(min=0, max=256, help="Processes that answer pictures; 0: one a core."),
    ] = None,
) -> None:
    """Serve the champion: pictures to POST /predict, clips to POST /analyze, a page at /.

    Who calls needs a token (cityforge key token new). An approval or a rollback, here or on
    another machine of the site, takes effect while it runs. What is not said here is read from
    the settings CITYFORGE_OPEN_TO_ALL, _HOSTS, _TLS_CERT, _TLS_KEY, _CAPTURE_SHARE, _COMPUTE.
    """
    project, settings = open_project(context)
    asked = Asked(
        host,
        port,
        settings.open_to_all if open_to_all is None else open_to_all,
        settings.hosts if hosts is None else hosts,
        tls_cert or _path(settings.tls_cert),
        tls_key or _path(settings.tls_key),
        settings.capture_share if capture is None else capture,
        settings.compute if compute is None else compute,
    )
    refuse_unfit(project, asked)
    folder, tag = built_bento(project, settings, algorithm, version)
    typer.echo(f"{tag} at {asked.address} (its API: {asked.address}/docs)", err=True)
    from cityforge.cli.serve_process import supervise
    from cityforge.registry.published import Publisher
    from cityforge.registry.site import Site

    site = Site(project, settings)
    publisher = Publisher(site, algorithm, version, lambda line: typer.echo(line, err=True))
    publisher.first()
    command = serve_command(folder, asked)
    code = supervise(command, serve_environment(site, algorithm, asked), publisher.look)
    raise typer.Exit(code)


@dataclass(frozen=True)
class Asked:
    """How an endpoint is to be served."""

    host: str
    port: int
    open_to_all: bool = False
    hosts: str = ""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    capture: float = 0.0
    compute: int = 0

    @property
    def address(self) -> str:
        """Where a person finds it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls_cert else 'http'}://{host}:{self.port}"


def refuse_unfit(project: Project, asked: Asked) -> None:
    """Raise when the endpoint could not start, or nobody could call it.

    Raises:
        ServiceError: the port is used.
        InputError: half a TLS, files that do not fit, or no token and not open.
    """
    from cityforge.endpoint.tls import check_tls
    from cityforge.endpoint.token_file import read_tokens
    from cityforge.errors import InputError

    refuse_used_port(asked.host, asked.port)
    if (asked.tls_cert is None) != (asked.tls_key is None):
        lacking = "--tls-key" if asked.tls_key is None else "--tls-cert"
        raise InputError("both --tls-cert and --tls-key", found=f"no {lacking}")
    if asked.tls_cert and asked.tls_key:
        check_tls(asked.tls_cert, asked.tls_key)
    if not asked.open_to_all and not read_tokens(tokens_path(project)):
        raise InputError(
            "someone who may call", found="no token", where=str(tokens_path(project)),
            do="cityforge key token new NAME, or serve with --open",
        )  # fmt: skip


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def tokens_path(project: Project) -> Path:
    """The file of those who may call the endpoints of this machine."""
    from cityforge.endpoint.token_file import PLACE

    return project.work / PLACE


def serve_command(folder: Path, asked: Asked) -> list[str]:
    """The BentoML process that serves a Bento."""
    tls = []
    if asked.tls_cert and asked.tls_key:
        cert, key = str(asked.tls_cert.resolve()), str(asked.tls_key.resolve())
        tls = ["--ssl-certfile", cert, "--ssl-keyfile", key]
    listen = ["--host", asked.host, "--port", str(asked.port)]
    return [sys.executable, "-m", "cityforge.endpoint.bento", "serve", str(folder), *listen, *tls]


def serve_environment(site: Site, algorithm: str, asked: Asked) -> dict[str, str]:
    """Its environment: this project's Bentos, what is published, who may call, its books."""
    from cityforge.endpoint.captures import write_privacy
    from cityforge.registry.bento import bento_home
    from cityforge.registry.published import pointer_path, serving_folder

    project = site.project
    card = project.dataset(project.algorithm(algorithm).dataset)
    privacy = serving_folder(site, algorithm) / "privacy.json"
    write_privacy(privacy, card.privacy, project.root / "datasets" / card.name)
    names = [asked.hosts, "" if asked.host in ("0.0.0.0", "::") else asked.host]
    return {
        **os.environ,
        "BENTOML_HOME": str(bento_home(project)),
        "CITYFORGE_PUBLISHED": str(pointer_path(site, algorithm)),
        "CITYFORGE_ANSWERS": str(project.work / "answers"),
        "CITYFORGE_TOKENS": str(tokens_path(project)),
        "CITYFORGE_OPEN_TO_ALL": str(asked.open_to_all).lower(),
        "CITYFORGE_HOSTS": ",".join(name for name in names if name),
        "CITYFORGE_CAMERAS": str(project.root / "serving" / "cameras"),
        "CITYFORGE_FEEDBACK": str(project.work / "feedback"),
        "CITYFORGE_SECRET": str(serving_folder(site, algorithm) / "request_ids.key"),
        "CITYFORGE_CAPTURE": str(project.work / "captures" / algorithm),
        "CITYFORGE_CAPTURE_SHARE": str(asked.capture),
        "CITYFORGE_PRIVACY": str(privacy),
        "CITYFORGE_COMPUTE": str(asked.compute),
    }


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
