"""A push that is killed at any moment, and pushed again: each frame is one task."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import pytest

pytestmark = pytest.mark.services

FRAMES, KILLS = 2000, 20

# Begins a push in a process of its own at each word, at once: all that it needs is loaded.
SCRIPT = """
import json, os, sys
from pathlib import Path
import pyarrow as pa
from pydantic import SecretStr
from cityforge.cards.dataset import Dataset
from cityforge.footage.shards import FrameStore
from cityforge.labeling.studio.client import Studio
from cityforge.labeling.studio.pictures import Pictures
from cityforge.labeling.studio.project import StudioProject
from cityforge.labeling.studio.push import push

said = json.loads(Path(sys.argv[1]).read_text())
rows, card = said["rows"], Dataset.model_validate_json(said["card"])
keys = ("frame_id", "shard", "offset", "bytes")
table = pa.table({key: [row[key] for row in rows] for key in keys})
pictures = Pictures(Path(said["files"]), card.name, FrameStore(Path(said["folder"]), table))
order = {row["frame_id"]: None for row in rows}

def run(largest):
    with Studio(said["url"], SecretStr(os.environ["TOKEN"])) as studio:
        project = StudioProject(said["project"], "", "")
        result = push(
            studio, project, card, rows, order, pictures, work=Path(said["work"]),
            largest=largest, progress=lambda *done: print("done", *done, flush=True),
        )
    print(json.dumps(vars(result)), flush=True)

with Studio(said["url"], SecretStr(os.environ["TOKEN"])) as studio:
    studio.get("api/version")  # all that is loaded late is loaded now
for line in sys.stdin:
    child = os.fork()
    if not child:
        run(int(line))
        os._exit(0)
    print("began", child, flush=True)
    print("ended", os.waitpid(child, 0)[1], flush=True)
"""


class Pushes:
    """Pushes of the same frames, one after the other."""

    def __init__(self, about: Path, token: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(about)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"TOKEN": token, "PATH": "", "COLLECT_ANALYTICS": "false"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def begin(self, largest: int) -> int:
        """Begin a push in requests of that many tasks at most; its process."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{largest}\n")
        self._process.stdin.flush()
        return int(self.read("began")[-1].split()[1])

    def read(self, *until: str) -> list[str]:
        """Lines up to one that begins with one of these words."""
        assert self._process.stdout is not None
        lines: list[str] = []
        for line in self._process.stdout:
            lines.append(line)
            if line.startswith(until):
                return lines
        pytest.fail(f"the pushes ended: {lines}")


def test_2000_frames_with_20_kills_are_2000_tasks(
    desk: Any, label_studio: Any, store_frames: Callable[..., Any], tmp_path: Path
) -> None:
    rows = store_frames(desk.folder, FRAMES)
    about = tmp_path / "about.json"
    about.write_text(
        json.dumps({
            "rows": rows, "card": desk.card.model_dump_json(), "files": str(desk.files),
            "folder": str(desk.folder), "url": label_studio.url, "project": desk.project.id,
            "work": str(desk.work),
        })
    )  # fmt: skip
    chance = random.Random(4)
    counts, killed = [0], 0
    with Pushes(about, label_studio.token) as pushes:
        child = pushes.begin(10)
        for _ in range(KILLS):
            waits = chance.random() < 0.5  # for a request that is done
            said = pushes.read("done", "ended") if waits else [""]
            # The moment of the kill is what is drawn here.
            time.sleep(chance.uniform(0, 0.1 if waits else 0.6))
            if not said[-1].startswith("ended"):
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
                killed += pushes.read("ended")[-1] == f"ended {int(signal.SIGKILL)}\n"
            # The next one begins at once, while the server may still have an import in hand.
            child = pushes.begin(chance.choice([5, 20, 60]))  # so that 20 kills find work
            found = desk.frame_ids()
            assert len(set(found)) == len(found), counts
            counts.append(len(found))
        pushes.read("ended")
        pushes.begin(500)
        result = json.loads(pushes.read("ended")[-2])
    found = desk.frame_ids()
    assert sorted(found) == sorted(row["frame_id"] for row in rows), counts
    assert (result["new"] + result["already"], result["doubled"]) == (FRAMES, 0)
    assert killed == KILLS, counts  # each while there was something to do
    time.sleep(3)  # an import that the server had in hand would be over now
    assert len(desk.tasks("id")) == FRAMES
