"""An endpoint that was started as a process, with all the processes that it started."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

import httpx
import psutil


@dataclass(frozen=True)
class Family:
    """An endpoint that answers at `address`; `process` started the others."""

    address: str
    process: subprocess.Popen[bytes]

    def headers(self) -> dict[str, str]:
        """Sent with what is asked of it here."""
        return {}

    def family(self) -> list[psutil.Process]:
        """Its processes, the first one included."""
        top = psutil.Process(self.process.pid)
        return [top, *top.children(recursive=True)]

    def compute(self) -> list[psutil.Process]:
        """The processes that answer pictures and clips."""
        return [each for each in self.family() if "cityforge.endpoint.worker" in _words(each)]

    def front(self) -> psutil.Process:
        """The process that has the port: the parent of the compute processes."""
        found = self.compute()[0].parent()
        assert found is not None
        return found

    def rss(self) -> int:
        """Bytes in memory of all its processes."""
        return sum(_rss(each) for each in self.family())

    def counted(self) -> dict[int, int]:
        """How many answers /predict gave by status, as its own metrics say."""
        page = httpx.get(f"{self.address}/metrics", headers=self.headers(), timeout=60).text
        found: dict[int, int] = {}
        for line in page.splitlines():
            if line.startswith("cityforge_requests_total{") and 'route="/predict"' in line:
                labels, _, value = line.rpartition(" ")
                status = int(labels.partition('status="')[2].partition('"')[0])
                found[status] = found.get(status, 0) + int(float(value))
        return found


def _words(process: psutil.Process) -> list[str]:
    """What it was started with; nothing where it ended meanwhile."""
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
