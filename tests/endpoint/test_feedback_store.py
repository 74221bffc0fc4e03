"""The store of feedback: one row of each answer, through races, kills and a full disk."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cityforge.endpoint.feedback import FILE, FeedbackRow, FeedbackStore, FeedbackTwice
from cityforge.errors import ServiceError


def row(number: int = 0, **more: Any) -> FeedbackRow:
    known: dict[str, Any] = {
        "request_id": f"{number:049d}", "picture": 0, "right": True, "boxes": None, "note": "",
        "caller": "", "at": "2026-03-01T08:00:00.000+00:00", "algorithm": "tiny", "version": 3,
    }  # fmt: skip
    return FeedbackRow(**{**known, **more})


FULL = """
import pathlib, sys
from cityforge.endpoint.feedback import FeedbackRow, FeedbackStore
from cityforge.errors import ServiceError
folder = pathlib.Path(sys.argv[1])
store = FeedbackStore(folder / "feedback")
def row(n): return FeedbackRow(f"{n}", 0, True, None, "x" * 2000, "", "t", "tiny", 1)
stored = 0
try:
    while stored < 2000:
        store.add(row(stored))
        stored += 1
except ServiceError as error:
    print(error)
(folder / "ballast").unlink()
store.add(row(5000))
print(len(store.rows("tiny")) - stored)
"""


def test_a_full_disk_is_said_and_feedback_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """On a disk of its own: a tmpfs of 1 MiB in a mount namespace."""
    shell = (
        "mount -t tmpfs -o size=1m none $1 && head -c 500000 /dev/zero > $1/ballast"
        ' && exec "$2" -c "$3" $1'
    )
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", shell, "sh", str(tmp_path)]
    said = subprocess.run(
        [*command, sys.executable, FULL], capture_output=True, text=True, timeout=120
    )
    if "Operation not permitted" in said.stderr or "permission denied" in said.stderr.lower():
        pytest.skip("a disk of its own needs the right to mount")
    assert said.returncode == 0, said.stderr
    first, more = said.stdout.splitlines()
    assert first.startswith("expected feedback to be stored, found database or disk is full")
    assert more == "1"


def test_processes_and_threads_that_race_store_one(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\nfrom cityforge.endpoint.feedback import *\n"
        "store = FeedbackStore(pathlib.Path(sys.argv[1]))\nsys.stdin.readline()\nwon = 0\n"
        "for n in range(40):\n"
        "    try:\n"
        "        store.add(FeedbackRow(str(n), 0, True, None, '', sys.argv[2], 't', 'tiny', 1))\n"
        "        won += 1\n"
        "    except FeedbackTwice:\n"
        "        pass\n"
        "print(won)"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), str(each)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True,
        )
        for each in range(3)
    ]  # fmt: skip
    with ThreadPoolExecutor(3) as pool:
        won = list(pool.map(lambda each: int(each.communicate("\n")[0]), racers))
    rows = FeedbackStore(tmp_path).rows("tiny")
    assert sum(won) == len(rows) == 40
    assert [sum(each.caller == str(n) for each in rows) for n in range(3)] == won


def test_stored_feedback_outlives_a_killed_process(tmp_path: Path) -> None:
    code = (
        "import sys, os, pathlib\nfrom cityforge.endpoint.feedback import *\n"
        "store = FeedbackStore(pathlib.Path(sys.argv[1]))\n"
        "store.add(FeedbackRow('a', 0, True, None, '', '', 't', 'tiny', 1))\n"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)])
    assert [each.request_id for each in FeedbackStore(tmp_path).rows("tiny")] == ["a"]
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_a_database_that_was_taken_away_is_made_anew(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path)
    store.add(row(0))
    for path in tmp_path.iterdir():
        path.unlink()
    store.add(row(0))
    with pytest.raises(FeedbackTwice):
        store.add(row(0))
    assert len(FeedbackStore(tmp_path).rows("tiny")) == 1


def test_who_would_wait_long_is_sent_away(tmp_path: Path) -> None:
    async def crowd() -> tuple[list[Any], float]:
        store = FeedbackStore(tmp_path)
        store.add(row(999))
        with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            begun = time.monotonic()
            jobs = [store.add_soon(row(number)) for number in range(100)]
            found = await asyncio.gather(*jobs, return_exceptions=True)
            other.execute("ROLLBACK")
        return found, time.monotonic() - begun

    found, took = asyncio.run(crowd())
    assert all(isinstance(each, ServiceError) for each in found)
    assert sum("room for feedback" in str(each) for each in found) == 36
    assert took < 10


def test_the_command_counts_each_version(tmp_path: Path) -> None:
    from cityforge.cli.feedback import by_version

    rows = [
        row(1, at="1"), row(2, right=False, at="4"), row(3, right=False, boxes=[], at="2"),
        row(4, version=2, at="3"), row(5, version=0, request_id="a" * 49, at="5"),
        row(6, version=0, request_id="b" * 49, right=False, at="6"),
    ]  # fmt: skip
    assert by_version(rows, {"a" * 16: 2}) == [
        {"version": 3, "right": 1, "wrong": 2, "corrected": 1, "newest": "4"},
        {"version": 2, "right": 2, "wrong": 0, "corrected": 0, "newest": "5"},
        {"version": "unknown", "right": 0, "wrong": 1, "corrected": 0, "newest": "6"},
    ]
