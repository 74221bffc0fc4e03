"""Kills for memory that no process sees itself: an attempt is noted on disk while it lasts.

A note that is still there at the next start is of an attempt that was cut off. Where the
kernel has killed a process for its memory since, it was that (Linux,
admin-guide/cgroup-v2.rst: `oom_kill` in memory.events; /proc/vmstat counts all the machine's).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from cityforge.training.course import Course

NOTE = "attempt.json"
COUNT = "oom_kill"
BOOT = Path("sys/kernel/random/boot_id")


def kill_counts(
    proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")
) -> dict[str, int]:
    """How often the kernel killed for memory: in this process's cgroup, then on the machine.

    The names say of which cgroup and since which start of the machine; what the kernel does
    not tell is left out.
    """
    boot = _text(proc / BOOT).strip()
    counts: dict[str, int | None] = {}
    for line in _text(proc / "self" / "cgroup").splitlines():
        if line.startswith("0::"):  # version 2
            folder = cgroups / line.removeprefix("0::").strip().lstrip("/")
            with suppress(OSError):
                name = f"cgroup {folder} {folder.stat().st_ino} of {boot}"
                counts[name] = _count(folder / "memory.events")
    counts[f"machine {boot}"] = _count(proc / "vmstat")
    return {name: count for name, count in counts.items() if count is not None}


def have_grown(before: Mapping[str, int], now: Mapping[str, int]) -> bool:
    """Whether the kernel killed since: by the first count that both tell.

    >>> have_grown({"cgroup": 0, "machine": 3}, {"cgroup": 0, "machine": 4})
    False
    >>> have_grown({"cgroup": 5, "machine": 3}, {"another cgroup": 0, "machine": 4})
    True
    >>> have_grown({}, {"machine": 4})
    False
    """
    name = next((each for each in before if each in now), None)
    return name is not None and now[name] > before[name]


@dataclass(frozen=True)
class CutOff:
    """An attempt that nothing in its process ended, and the kernel's counts before it."""

    course: Course
    counts: dict[str, int]


def note_attempt(folder: Path, course: Course, counts: Mapping[str, int]) -> None:
    """Write down that an attempt begins; a disk that takes no note ends no training."""
    beside = folder / f".{NOTE}.part"  # where it is left behind, CheckpointFiles clears it
    with suppress(OSError):
        beside.write_text(json.dumps({"course": asdict(course), "counts": dict(counts)}))
        beside.replace(folder / NOTE)


def close_attempt(folder: Path) -> None:
    """The attempt has ended in a way that the process itself saw."""
    with suppress(OSError):
        (folder / NOTE).unlink(missing_ok=True)


def cut_off(folder: Path) -> CutOff | None:
    """The attempt in `folder` that was cut off; None where the last one was closed."""
    with suppress(ValueError, KeyError, TypeError):
        found = json.loads(_text(folder / NOTE))
        counts = {str(name): int(count) for name, count in found["counts"].items()}
        return CutOff(Course(**found["course"]), counts)
    return None


def _count(path: Path) -> int | None:
    for line in _text(path).splitlines():
        name, _, count = line.partition(" ")
        if name == COUNT:
            return int(count)
    return None


def _text(path: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8")
    return ""
