"""A real Label Studio server, started once for the whole run of the tests."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cityforge.labeling.studio.credentials import Credentials, read_credentials
from cityforge.labeling.studio.environment import ensure_environment
from cityforge.labeling.studio.running import Server, has_ended, read_server
from cityforge.labeling.studio.server import start, stop
from cityforge.settings import Settings

REPOSITORY = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class LiveStudio:
    """The server of the tests: as `cityforge label start` makes it, in a folder of its own."""

    work: Path  # its .cityforge
    settings: Settings
    port: int = field(default_factory=free_port)

    @property
    def server(self) -> Server:
        found = read_server(self.work)
        assert found is not None
        return found

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def files(self) -> Path:
        """The folder that it serves pictures of."""
        return Path(self.server.files)

    @property
    def credentials(self) -> Credentials:
        found = read_credentials(self.work)
        assert found is not None
        return found

    @property
    def token(self) -> str:
        return self.credentials.token.get_secret_value()

    @property
    def user(self) -> str:
        return self.credentials.user

    @property
    def password(self) -> str:
        return self.credentials.password.get_secret_value()

    def start(self) -> None:
        """Start it, or wait until it answers."""
        start(self.work, self.settings, self.port)

    def stop(self) -> None:
        """End it as `--stop` does."""
        stop(self.work)

    def restart(self) -> None:
        """End it and start it again, on the same port with the same data."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """End it as a power cut does."""
        os.killpg(self.server.pid, signal.SIGKILL)
        assert has_ended(self.server, 10)


@pytest.fixture
def unused_port() -> Callable[[], int]:
    """Asked for a port of this machine that nobody listens on."""
    return free_port


@pytest.fixture(scope="session")
def label_studio_env() -> Path:
    """The environment of CITYFORGE_LABEL_STUDIO_ENV, or this checkout's own, made when missing."""
    named = Settings(label_studio_env=os.environ.get("CITYFORGE_LABEL_STUDIO_ENV", ""))
    return ensure_environment(REPOSITORY / ".cityforge", named, print).folder


@pytest.fixture(scope="session")
def running_label_studio(
    label_studio_env: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveStudio]:
    settings = Settings(
        offline=True,
        label_studio_url="",
        label_studio_files="",
        label_studio_env=str(label_studio_env),
    )
    live = LiveStudio(tmp_path_factory.mktemp("label-studio") / ".cityforge", settings)
    try:
        live.start()
        yield live
    finally:
        live.stop()


@pytest.fixture
def label_studio(running_label_studio: LiveStudio) -> LiveStudio:
    """The server, running; a test that ended it leaves it to the next to start it again."""
    if not running_label_studio.server.is_alive():
        running_label_studio.start()
    return running_label_studio
