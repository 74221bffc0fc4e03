"""What answers, and what was answered: endpoints, Bentos and the log of answers of this machine."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from cityforge.project import Project

PACKAGE = re.compile(rb'"package_digest": ?"([0-9a-f]{64})"')
PREFIX = 16  # signs of the package's digest in a request's id; see inference.answers


class Answers:
    """The log of answers: `answers/<day>.jsonl`, a line each."""

    def __init__(self, project: Project) -> None:
        self._folder = project.work / "answers"

    def find(self, request_id: str) -> dict[str, Any]:
        """What is on record of an answer; empty when nothing is."""
        wanted = f'"request_id": "{request_id}"'.encode()
        for data in self._days():
            at = data.find(wanted)
            if at >= 0:
                begin, end = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at)
                return _row(data[begin : end if end >= 0 else None])
        return {}

    @cached_property
    def counts(self) -> Counter[str]:
        """Answers on record of each package, by its digest."""
        found: Counter[str] = Counter()
        for data in self._days():
            found.update(each.decode() for each in PACKAGE.findall(data))
        return found

    def ids(self, package: str) -> list[str]:
        """Ids of the requests that a package answered, in order."""
        found = []
        for data in self._days():
            for line in data.splitlines():
                if package.encode() in line:
                    found += [str(row["request_id"]) for row in [_row(line)] if "request_id" in row]
        return found

    def _days(self) -> Iterator[bytes]:
        """The newest day first."""
        for path in sorted(self._folder.glob("[!.]*.jsonl"), reverse=True):
            yield path.read_bytes()


def _row(line: bytes) -> dict[str, Any]:
    """One answer; nothing of a line that a full disk cut short."""
    try:
        found: dict[str, Any] = json.loads(line)
    except ValueError:
        return {}
    return found


def bentos_here(project: Project) -> list[str]:
    """Tags of the Bentos that were built on this machine, such as `tiny:v3-0123456789ab`."""
    found = sorted((project.work / "bentoml" / "bentos").glob("*/*/bento.yaml"))
    return [f"{path.parts[-3]}:{path.parts[-2]}" for path in found]


def is_bento_of(tag: str, algorithm: str, version: int, package: str) -> bool:
    """Whether a Bento was built of this version."""
    return f"{tag}-".startswith(f"{algorithm}:v{version}-{package[:12]}-")


def served_here(project: Project) -> dict[str, tuple[int, str]]:
    """What each algorithm's endpoint on this machine was last told to answer with.

    Returns:
        algorithm to version, and why it may not answer ("" when it may).
    """
    found: dict[str, tuple[int, str]] = {}
    for path in sorted((project.work / "serving").glob("*/current.json")):
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            release = Path(told["folder"]) / "release.json"
            entry = json.loads(release.read_text(encoding="utf-8"))["register"]
            found[entry["about"]] = (int(entry["body"]["version"]), str(told.get("barred", "")))
        except (OSError, ValueError, KeyError):  # it is being exchanged, or was removed
            continue
    return found
