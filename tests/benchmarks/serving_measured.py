"""What is measured of an endpoint, and how long."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from serving_load import upload
from serving_sides import Side


@dataclass(frozen=True)
class Measured:
    """What is measured, and how long."""

    algorithm: str
    root: Path
    scratch: Path
    package: Path
    pictures: list[bytes]
    rounds: int
    seconds: float
    steady: int
    overload: float  # seconds
    processes: int

    def requests(self, side: Side, path: str = "/predict") -> list[bytes]:
        return [upload(side.address, [each], path, token=side.token) for each in self.pictures]

    def log(self, name: str) -> Path:
        return self.scratch / f"{name}.log"


def say(line: str) -> None:
    """Tell a person what goes on, beside the table."""
    print(line, file=sys.stderr, flush=True)
