"""Two people's annotations through the API, pulled while everything is killed: none is lost."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from people import annotate, random_regions, sign_up, studio_of
from pull_project import project_of, task_ids

from cityforge.labeling.history import read_state, states
from cityforge.labeling.stored import annotations_path
from cityforge.labeling.studio.annotation_rows import canonical
from cityforge.labeling.studio.pull import pull
from cityforge.tables import ANNOTATIONS, read_table

pytestmark = [pytest.mark.services, pytest.mark.slow]

TASKS, EACH, KILLS = 2000, 250, 20

# A pull in a process of its own; all that is loaded late is loaded before it says "go".
SCRIPT = """
import os, sys
from pathlib import Path
from pydantic import SecretStr
from cityforge.labeling.studio.client import Studio
from cityforge.labeling.studio.pull import pull

with Studio(sys.argv[1], SecretStr(os.environ["TOKEN"])) as studio:
    studio.get("api/version")
    print("go", flush=True)
    print(pull(studio, int(sys.argv[2]), Path(sys.argv[3]), full=len(sys.argv) > 4), flush=True)
"""


def begin(url: str, token: str, *words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, url, *map(str, words)]
    environment = {**os.environ, "TOKEN": token}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "go\n"
    return process


def person_at_work(
    url: str, token: str, tasks: Sequence[int], seed: int, made: dict[str, tuple[Any, ...]]
) -> None:
    chance = random.Random(seed)
    with studio_of(url, token) as studio:
        for task in tasks:
            result = random_regions(chance)
            number = str(annotate(studio, task, result)["id"])
            made[number] = (task, seed, canonical(result))


def test_500_annotations_with_20_kills_and_a_restart_are_500(
    label_studio: Any, tmp_path: Path
) -> None:
    people = [sign_up(label_studio.url, label_studio.token, name) for name in ("anna", "bo")]
    moments, made = random.Random(8), dict[str, tuple[Any, ...]]()
    with (
        studio_of(label_studio.url, label_studio.token) as studio,
        project_of(studio, TASKS) as project,
    ):
        tasks = task_ids(studio, project)
        assert len(tasks) == TASKS
        workers = [
            threading.Thread(
                target=person_at_work,
                args=(label_studio.url, who.token, moments.sample(tasks, EACH), seed, made),
            )
            for seed, who in enumerate(people)
        ]
        for each in workers:
            each.start()
        say = (label_studio.url, label_studio.token, project, tmp_path)
        killed, seen = 0, []
        while killed < KILLS:
            how = ("full",) if len(seen) % 3 == 2 else ()
            takes = seconds_of(begin(*say, *how), 300)
            seen.append(annotations_now(tmp_path))
            for _ in range(3):
                process = begin(*say, *how)
                seconds_of(process, moments.uniform(0, 1.2 * takes))
                killed += process.returncode == -signal.SIGKILL
                seen.append(annotations_now(tmp_path))
            assert len(seen) < 10 * KILLS, seen
        for each in workers:
            each.join()
        process = begin(*say, "full")
        time.sleep(0.2)  # its export is under way
        label_studio.restart()
        said, _ = process.communicate(timeout=300)
        assert said.startswith("Pulled("), said
        assert seen == sorted(seen) and len(set(seen)) > 3, seen  # what was stored only grows
        last = pull(studio, project, tmp_path)
    rows = read_table(ANNOTATIONS, annotations_path(tmp_path)).to_pylist()
    found = {
        row["annotation_id"]: (row["task_id"], row["annotator"], row["result"]) for row in rows
    }
    wanted = {
        number: (task, people[seed].email, result) for number, (task, seed, result) in made.items()
    }
    assert len(rows) == len(made) == 2 * EACH == last.annotations
    assert found == wanted
    boxes = sum(len(json.loads(row["result"])) for row in rows)
    assert boxes == sum(len(json.loads(result)) for _, _, result in made.values()) > EACH
    for state in states(tmp_path):  # whatever a kill left behind is whole
        assert read_state(tmp_path, "annotations", state.digest).num_rows == state.rows
    left = [path.name for path in (tmp_path / "labels").rglob(".*")]
    assert left == []


def seconds_of(process: subprocess.Popen[str], patience_s: float) -> float:
    """How long a pull takes; one that takes `patience_s` is killed then."""
    start = time.monotonic()
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return time.monotonic() - start


def annotations_now(folder: Path) -> int:
    path = annotations_path(folder)
    return read_table(ANNOTATIONS, path).num_rows if path.exists() else -1
