"""The record of a launched server, and whether its very process still runs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from cityforge.labeling.studio.credentials import write_private
from cityforge.labeling.studio.environment import studio_folder
from cityforge.provenance import birth_of


@dataclass(frozen=True)
class Server:
    """A server that we launched; `birth` tells its process from a later one of the same number."""

    url: str
    host: str
    port: int
    pid: int
    birth: str
    version: str
    since: str  # UTC, ISO 8601
    data: str
    files: str

    def is_alive(self) -> bool:
        """Its very process runs."""
        return self.birth != "" and birth_of(self.pid) == self.birth


def read_server(work: Path) -> Server | None:
    """The record of the last launch; None without one, or with one that cannot be read."""
    try:
        return Server(**json.loads(_record(work).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def keep_server(work: Path, server: Server) -> None:
    """Write the record of a launch."""
    write_private(_record(work), json.dumps(asdict(server), ensure_ascii=False, indent=1))


def signal_session(server: Server, way: signal.Signals) -> None:
    """Signal the session that was made for a server, if the process is still that very one."""
    if server.is_alive():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, way)


def has_ended(server: Server, patience_s: float) -> bool:
    """Wait for a server's process to end, at most `patience_s`."""
    end = time.monotonic() + patience_s
    while server.is_alive():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)  # another session's process: it cannot be waited for, only asked
    with contextlib.suppress(ChildProcessError):  # collected, where this process is its parent
        os.waitpid(server.pid, os.WNOHANG)
    return True


def _record(work: Path) -> Path:
    return studio_folder(work) / "server.json"
