"""A pull of many annotated tasks: as fast as Label Studio's own export, in flat memory."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
from people import random_regions, region, studio_of
from pull_project import add_tasks, project_of

from cityforge.labeling.stored import annotations_path

pytestmark = [pytest.mark.services, pytest.mark.slow, pytest.mark.timeout(3600)]

# 20,000 by `make bench-labelling`, where the machine does nothing else and times are held.
MANY = int(os.environ.get("CITYFORGE_LARGE", "4000"))
FEW = MANY // 10
HEAVY = 170 if MANY >= 20_000 else 20  # annotations of 1.25 MB

# A pull in a process of its own, which says how long it took and the most memory it held.
SCRIPT = """
import json, os, resource, sys, time
from pathlib import Path
from pydantic import SecretStr
from cityforge.labeling.studio.client import Studio
from cityforge.labeling.studio.pull import pull

with Studio(sys.argv[1], SecretStr(os.environ["TOKEN"])) as studio:
    start = time.monotonic()
    pulled = pull(studio, int(sys.argv[2]), Path(sys.argv[3]), full=len(sys.argv) > 4)
    seconds = time.monotonic() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({**vars(pulled), "seconds": seconds, "peak_mib": peak}))
"""


def pull_alone(live: Any, project: int, folder: Path, *words: str) -> dict[str, Any]:
    command = [sys.executable, "-c", SCRIPT, live.url, str(project), str(folder), *words]
    environment = {**os.environ, "TOKEN": live.token}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def own_export(live: Any, project: int, path: Path) -> float:
    """Seconds that Label Studio's export call takes, its answer written to a file."""
    start = time.monotonic()
    address = f"{live.url}/api/projects/{project}/export?exportType=JSON"
    who = {"Authorization": f"Token {live.token}"}
    with httpx.stream("GET", address, headers=who, timeout=3600) as answer, path.open("wb") as out:
        for piece in answer.iter_bytes():
            out.write(piece)
    return time.monotonic() - start


@pytest.fixture(scope="module")
def annotated(running_label_studio: Any) -> Iterator[dict[int, int]]:
    """Projects of FEW and of MANY tasks, an annotation of up to eight boxes on each."""
    chance = random.Random(2)
    with (
        studio_of(running_label_studio.url, running_label_studio.token, 120) as studio,
        project_of(studio) as few,
        project_of(studio) as many,
    ):
        for project, count in ((few, FEW), (many, MANY)):
            for start in range(0, count, 400):
                result = random_regions(chance, 8)
                numbers = range(start, start + 400)
                add_tasks(studio, project, numbers, annotations=[{"result": result}])
        yield {FEW: few, MANY: many}


def test_a_large_pull_is_fast_and_flat(
    running_label_studio: Any,
    annotated: dict[int, int],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    live = running_label_studio
    few = pull_alone(live, annotated[FEW], tmp_path / "few")
    few_again = pull_alone(live, annotated[FEW], tmp_path / "few", "full")
    own = own_export(live, annotated[MANY], tmp_path / "warm.json")  # the first is slower
    own = own_export(live, annotated[MANY], tmp_path / "own.json")
    many = pull_alone(live, annotated[MANY], tmp_path / "many")
    again = own_export(live, annotated[MANY], tmp_path / "own.json")
    unchanged = pull_alone(live, annotated[MANY], tmp_path / "many")
    full = pull_alone(live, annotated[MANY], tmp_path / "many", "full")
    record_property("own_export_s", round((own + again) / 2, 1))
    for name, said in (("first", many), ("unchanged", unchanged), ("full", full)):
        record_property(f"{name}_s", round(said["seconds"], 2))
    for name, said in (("few", few), ("few_full", few_again), ("many", many), ("many_full", full)):
        record_property(f"{name}_mib", round(said["peak_mib"]))
    assert (few["new"], many["new"], unchanged["unchanged"]) == (FEW, MANY, MANY)
    print(f"pull of {MANY}: {many['seconds']:.1f} s, own export {own:.1f} and {again:.1f} s")
    print(f"unchanged {unchanged['seconds']:.2f} s, full again {full['seconds']:.1f} s")
    print(f"memory {few['peak_mib']:.0f} MiB of {FEW}, {many['peak_mib']:.0f} of {MANY}")
    assert unchanged["full_because"] == ""
    if MANY >= 20_000:
        assert unchanged["seconds"] <= 5
        assert many["seconds"] <= 1.3 * (own + again) / 2
    assert many["peak_mib"] <= 1.3 * few["peak_mib"]
    assert full["peak_mib"] <= 1.3 * few_again["peak_mib"]


def test_a_heavy_export_is_pulled(running_label_studio: Any, tmp_path: Path) -> None:
    live = running_label_studio
    large = [region(1, 2, 3, 4) for _ in range(5_500)]  # 1.25 MB an annotation
    with (
        studio_of(live.url, live.token, 120) as studio,
        project_of(studio) as small,
        project_of(studio) as project,
    ):
        add_tasks(studio, small, range(10), annotations=[{"result": large}])
        for number in range(0, HEAVY, 10):
            add_tasks(studio, project, range(number, number + 10), annotations=[{"result": large}])
        own_export(live, project, tmp_path / "own.json")
        assert (tmp_path / "own.json").stat().st_size > 1.2e6 * HEAVY
        few = pull_alone(live, small, tmp_path / "small")
        pulled = pull_alone(live, project, tmp_path)
    assert (pulled["new"], pulled["annotations"]) == (HEAVY, HEAVY)
    assert pulled["peak_mib"] <= 1.3 * few["peak_mib"]
    assert pq.read_metadata(annotations_path(tmp_path)).num_rows == HEAVY
