"""The kernel kills a training for its memory: the next start takes smaller parts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
from scenes import quick, trained

from cityforge.errors import DataError
from cityforge.training.course import Course
from cityforge.training.kills import NOTE, cut_off, have_grown, kill_counts, note_attempt

SMALLER = (
    "memory was too short for 4 frames at once (the system killed the training): "
    "taken 2 at a time, 4 a step as before"
)
SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
import torch
from scenes import quick, trained
from test_kills import Sizes, told
torch.set_num_threads(1)
trained(Path({folder!r}), params=quick(epochs=1), callbacks=[Sizes()], kills=told({folder!r}))
"""


class Sizes(pl.Callback):
    """Notes how many frames are taken at once, and says it."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        self.sizes.append(len(batch.pictures))
        print("step", flush=True)  # noqa: T201


def told(folder: Path | str) -> Callable[[], dict[str, int]]:
    """The kernel's count, from a file in its place."""
    return lambda: {"cgroup": int((Path(folder) / "count").read_text())}


def killed(folder: Path) -> None:
    """A training in a process of its own, ended with SIGKILL in its first step."""
    (folder / "count").write_text("3")
    script = SCRIPT.format(here=str(Path(__file__).parent), folder=str(folder))
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "step\n"
        os.killpg(process.pid, signal.SIGKILL)


def begun(folder: Path, **options: Any) -> tuple[list[int], list[str], list[str]]:
    """Frames at once, what was said of memory, and the notes of a training."""
    sizes, said = Sizes(), list[str]()
    outcome, _ = trained(
        folder, params=quick(epochs=1), callbacks=[sizes], say=said.append, kills=told(folder),
        **options,
    )  # fmt: skip
    return sizes.sizes, [line for line in said if "memory" in line], outcome.notes


def test_after_a_kill_for_memory_smaller_parts_are_taken(tmp_path: Path) -> None:
    killed(tmp_path)
    (tmp_path / "count").write_text("4")
    assert begun(tmp_path) == ([2, 2, 2, 2], [SMALLER], [SMALLER])
    assert not (tmp_path / "work" / NOTE).exists()


@pytest.mark.parametrize(("count", "parts"), [("3", 1), ("2", 1), ("4", 2)])
def test_a_kill_for_another_reason_changes_nothing(tmp_path: Path, count: str, parts: int) -> None:
    (tmp_path / "work").mkdir()
    note_attempt(tmp_path / "work", Course(), {"cgroup": 3})
    (tmp_path / "count").write_text(count)
    sizes, said, notes = begun(tmp_path)
    assert sizes == [4 // parts] * 2 * parts
    assert said == notes == [SMALLER] * (parts - 1)


def test_parts_from_before_a_kill_are_taken_on(tmp_path: Path) -> None:
    """Cut off before its first checkpoint, by a power cut."""
    (tmp_path / "work").mkdir()
    note_attempt(tmp_path / "work", Course(2, notes=["why"]), {"cgroup": 3})
    (tmp_path / "count").write_text("3")
    assert begun(tmp_path) == ([2, 2, 2, 2], [], ["why"])


def test_killed_with_one_frame_at_once_is_an_error_once(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    note_attempt(tmp_path / "work", Course(4), {"cgroup": 3})
    (tmp_path / "count").write_text("4")
    with pytest.raises(DataError, match="too little for 64x64 pixels"):
        begun(tmp_path)
    assert begun(tmp_path)[0] == [1] * 8  # with more memory now, say


def test_an_attempt_is_open_as_long_as_it_lasts(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("7")
    found: list[Any] = []

    class Look(pl.Callback):
        def on_train_batch_start(self, *_: Any) -> None:
            found.append(cut_off(tmp_path / "work"))
            raise KeyError

    with pytest.raises(KeyError):
        trained(tmp_path, callbacks=[Look()], kills=told(tmp_path))
    assert (found[0].course, found[0].counts) == (Course(), {"cgroup": 7})
    assert cut_off(tmp_path / "work") is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", json.dumps({"course": 1, "counts": {}})])
def test_a_torn_note_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / NOTE).write_text(text)
    assert cut_off(tmp_path) is None


def kernel(root: Path, kills: int | None, machine: int | None, boot: str = "one") -> dict[str, int]:
    """The counts of a kernel whose files lie in `root`."""
    files = {
        "proc/self/cgroup": "4:memory:/old\n0::/jobs/training\n",
        "proc/sys/kernel/random/boot_id": f"{boot}\n",
        "proc/vmstat": "pgfault 5\n" + ("" if machine is None else f"oom_kill {machine}\n"),
        "cgroups/jobs/training/cgroup.procs": "",
    }
    if kills is not None:
        events = f"low 0\noom 9\noom_kill {kills}\noom_group_kill 0\n"
        files["cgroups/jobs/training/memory.events"] = events
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return kill_counts(root / "proc", root / "cgroups")


def test_the_cgroups_count_is_taken_before_the_machines(tmp_path: Path) -> None:
    before = kernel(tmp_path, 2, 5)
    assert list(before.values()) == [2, 5]
    assert not have_grown(before, kernel(tmp_path, 2, 9))  # that was another cgroup's
    assert have_grown(before, kernel(tmp_path, 3, 5))


def test_without_a_count_of_the_cgroup_the_machines_is_taken(tmp_path: Path) -> None:
    before = kernel(tmp_path, None, 5)
    assert list(before.values()) == [5]
    assert have_grown(before, kernel(tmp_path, None, 6))
    assert not have_grown(before, kernel(tmp_path, None, 6, boot="two"))  # it counts anew
    assert kernel(tmp_path, None, None) == {}
    assert kill_counts(tmp_path / "nowhere", tmp_path / "nowhere") == {}


def test_this_machines_counts_are_numbers() -> None:
    assert all(count >= 0 for count in kill_counts().values())
