"""The Label Studio of this machine: start, stop, status; and how a server is reached."""

from __future__ import annotations

import fcntl
import ipaddress
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pydantic import SecretStr

from cityforge.errors import InputError, ServiceError
from cityforge.labeling.studio.credentials import (
    Credentials,
    ensure_credentials,
    make_credentials,
    read_credentials,
)
from cityforge.labeling.studio.database import place_database
from cityforge.labeling.studio.environment import (
    Environment,
    Say,
    ensure_environment,
    studio_folder,
)
from cityforge.labeling.studio.launch import (
    LOOPBACK,
    Place,
    ensure_port_is_free,
    launch,
    renew_access,
    server_variables,
    token_works,
    wait_until_it_answers,
)
from cityforge.labeling.studio.running import (
    Server,
    has_ended,
    keep_server,
    read_server,
    signal_session,
)
from cityforge.provenance import birth_of
from cityforge.settings import Settings

PORT = 8080
GRACE_S = 20.0  # between the request to end and the kill


@dataclass(frozen=True)
class Access:
    """How push and pull reach Label Studio."""

    url: str
    token: SecretStr


@dataclass(frozen=True)
class Status:
    """What is known of the server; the counts are None where it does not answer."""

    running: bool
    url: str
    configured: bool  # by CITYFORGE_LABEL_STUDIO_URL, so not ours to start and stop
    problem: str = ""
    pid: int | None = None
    version: str = ""
    since: str = ""
    data: str = ""
    files: str = ""
    users: int | None = None
    projects: int | None = None


def start(
    work: Path,
    settings: Settings,
    port: int | None = None,
    host: str | None = None,
    data: Path | None = None,
    *,
    reset_token: bool = False,
    say: Say = lambda _: None,
) -> tuple[Server, bool]:
    """Start the local server, or find it running; `work` is the project's .cityforge.

    Port and data folder are those of the last start where they are not named; the host never
    is, so that nothing stays open to others unasked.

    Returns:
        The server, and True when it was started now.

    Raises:
        InputError: a server is configured already, or no such address.
        ServiceError: no environment, no port, or no answer.
    """
    ensure_ours(settings)
    folder = studio_folder(work).resolve()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _one_at_a_time(folder):
        last = read_server(work)
        running = last if last and last.is_alive() else None
        place = _place(work, settings, running or last, None if running else (port, host, data))
        if running is None:
            ensure_port_is_free(place.host, place.port)
        environment = ensure_environment(work, settings, say)
        credentials = (make_credentials if reset_token else ensure_credentials)(work)
        variables = server_variables(place, credentials, os.environ, offline=settings.offline)
        if running is None:
            place_database(environment, place.data, variables, say)
        server = running or _launch(work, environment, place, variables)
        try:
            say(f"waiting for Label Studio {server.version} on {server.url}")
            wait_until_it_answers(server.url, place.log, server.is_alive)
            _ensure_account(server, environment, credentials, variables, say)
        except BaseException:  # a Ctrl-C as well
            if running is None:
                stop(work, grace_s=5)
            raise
    return server, running is None


def _launch(
    work: Path, environment: Environment, place: Place, variables: dict[str, str]
) -> Server:
    pid = launch(environment, place, variables)
    server = Server(
        url=place.url,
        host=place.host,
        port=place.port,
        pid=pid,
        birth=birth_of(pid),
        version=environment.version(),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
        data=str(place.data),
        files=str(place.files),
    )
    keep_server(work, server)
    return server


def _ensure_account(
    server: Server,
    environment: Environment,
    credentials: Credentials,
    variables: dict[str, str],
    say: Say,
) -> None:
    """Our account on the server gets what we keep, where it has another token."""
    if token_works(server.url, credentials.token):
        return
    say("setting password and token of our account")
    renew_access(environment, variables)
    if not token_works(server.url, credentials.token):
        raise ServiceError(
            "the token of access.json to work",
            found="it is refused",
            where=server.url,
            do="cityforge label start --stop, then --reset-token",
        )


def stop(work: Path, grace_s: float = GRACE_S) -> Server | None:
    """End the server that we launched, and its children: asked first, killed after `grace_s`.

    Returns:
        What was ended; None when nothing of ours ran.
    """
    server = read_server(work)
    if server is None or not server.is_alive():
        return None
    for way, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 10.0)):
        signal_session(server, way)
        if has_ended(server, patience_s):
            break
    keep_server(work, replace(server, birth=""))
    return server


def status(work: Path, settings: Settings) -> Status:
    """Look at the configured server, or at the one of this machine."""
    if settings.label_studio_url:
        found = Status(running=False, url=settings.label_studio_url.rstrip("/"), configured=True)
        return _asked(found, work, settings)
    server = read_server(work)
    if server is None or not server.is_alive():
        return Status(running=False, url="", configured=False)
    found = Status(
        running=True, url=server.url, configured=False, pid=server.pid, version=server.version,
        since=server.since, data=server.data, files=server.files,
    )  # fmt: skip
    return _asked(found, work, settings)


def _asked(found: Status, work: Path, settings: Settings) -> Status:
    from cityforge.labeling.studio.client import Studio

    try:
        reached = access(work, settings)
        with Studio(reached.url, reached.token, patience_s=2) as studio:
            version = studio.get("api/version")["release"]
            projects = studio.get("api/projects", page_size=1)["count"]
            users = len(studio.get("api/users"))
    except ServiceError as error:
        return replace(found, problem=str(error))
    return replace(found, running=True, version=version, projects=projects, users=users)


def access(work: Path, settings: Settings) -> Access:
    """How to reach Label Studio: the settings first, else the server of this machine.

    Raises:
        InputError: an address without a token, or no http address.
        ServiceError: none is configured and none runs.
    """
    if settings.label_studio_url:
        return _configured(settings)
    server, credentials = read_server(work), read_credentials(work)
    if server is None or credentials is None or not server.is_alive():
        raise ServiceError(
            "a Label Studio server",
            found="none running on this machine",
            do="cityforge label start, or set CITYFORGE_LABEL_STUDIO_URL and "
            "CITYFORGE_LABEL_STUDIO_TOKEN",
        )
    return Access(server.url, credentials.token)


def _configured(settings: Settings) -> Access:
    url = settings.label_studio_url.rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise InputError(
            "an address that begins with http:// or https://",
            found=f"'{url}'",
            where="CITYFORGE_LABEL_STUDIO_URL",
        )
    if not settings.label_studio_token.get_secret_value():
        raise InputError(
            "a token for the server of CITYFORGE_LABEL_STUDIO_URL",
            found="none",
            where="CITYFORGE_LABEL_STUDIO_TOKEN",
            do="copy one from 'Account & Settings' of that server",
        )
    return Access(url, settings.label_studio_token)


def files_folder(work: Path, settings: Settings) -> Path:
    """Folder of pictures that the local server serves."""
    if settings.label_studio_files:
        return (work.parent / Path(settings.label_studio_files).expanduser()).resolve()
    return studio_folder(work).resolve() / "files"


def ensure_ours(settings: Settings) -> None:
    """Raise where the settings name a server: that one is not ours to start and stop.

    Raises:
        InputError: CITYFORGE_LABEL_STUDIO_URL is set.
    """
    if settings.label_studio_url:
        raise InputError(
            "no other Label Studio, to start or stop one on this machine",
            found=settings.label_studio_url,
            where="CITYFORGE_LABEL_STUDIO_URL",
            do="push and pull use that one; unset it to have one here",
        )


def _place(
    work: Path,
    settings: Settings,
    last: Server | None,
    asked: tuple[int | None, str | None, Path | None] | None,
) -> Place:
    port, host, data = asked or (None, None, None)
    folder = studio_folder(work).resolve()
    address = last.host if last and asked is None else host or LOOPBACK
    try:
        ipaddress.IPv4Address(address)
    except ValueError as error:
        raise InputError(
            "an IPv4 address of this machine", found=f"'{address}'", where="--host",
            do="127.0.0.1 for this machine alone, 0.0.0.0 for all its networks",
        ) from error  # fmt: skip
    return Place(
        host=address,
        port=port or (last.port if last else PORT),
        data=data.expanduser().resolve() if data else Path(last.data) if last else folder / "data",
        files=Path(last.files) if last and asked is None else files_folder(work, settings),
        log=folder / "log.txt",
    )


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
