"""A push that is killed at any moment, and pushed again: each frame is one task."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.services, pytest.mark.slow]

FRAMES, KILLS = 2000, 20

# A push in a process of its own, in requests so small that kills fall between and into many.
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
with Studio(said["url"], SecretStr(os.environ["TOKEN"])) as studio:
    project = StudioProject(said["project"], "", "")
    studio.get("api/version")  # all that is loaded late is loaded now
    print("ready", flush=True)
    largest = int(sys.stdin.readline())
    result = push(
        studio, project, card, rows, order, pictures, work=Path(said["work"]), largest=largest,
        progress=lambda *done: print(done, flush=True),
    )
    print(json.dumps(vars(result)), flush=True)
"""


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
    counts: list[int] = []
    killed = 0
    pushing, next_one = begin(about, label_studio.token), begin(about, label_studio.token)
    go(pushing, largest=50)
    for _ in range(KILLS):
        for _ in range(chance.randrange(2)):
            pushing.stdout.readline()  # of a chunk that is done
        time.sleep(chance.uniform(0, 0.6))
        pushing.kill()
        killed += pushing.wait() == -signal.SIGKILL
        # The next one begins at once, while the server may still have an import in hand.
        go(next_one, largest=chance.choice([20, 50, 200]))
        pushing, next_one = next_one, begin(about, label_studio.token)
        found = desk.frame_ids()
        assert len(set(found)) == len(found), counts
        counts.append(len(found))
    next_one.kill()
    next_one.wait()
    pushing.communicate(timeout=300)
    last = begin(about, label_studio.token)
    go(last, largest=500)
    said, _ = last.communicate(timeout=300)
    result = json.loads(said.splitlines()[-1])
    found = desk.frame_ids()
    print(killed, counts)
    assert sorted(found) == sorted(row["frame_id"] for row in rows), counts
    assert (result["new"] + result["already"], result["doubled"]) == (FRAMES, 0)
    assert killed > KILLS / 2, counts
    time.sleep(3)  # an import that the server had in hand would be over now
    assert len(desk.tasks("id")) == FRAMES


def begin(about: Path, token: str) -> Any:
    """A push that has loaded all it needs and waits for its word."""
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(about)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"TOKEN": token, "PATH": "", "COLLECT_ANALYTICS": "false"},
    )


def go(process: Any, largest: int) -> None:
    """Let a push begin."""
    assert process.stdout.readline() == "ready\n"
    process.stdin.write(f"{largest}\n")
    process.stdin.flush()
