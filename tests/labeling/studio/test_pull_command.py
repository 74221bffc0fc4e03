"""`cityforge label pull` and `label history` as a person runs them, against a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from people import annotate, region, studio_of
from pull_project import add_tasks, task_data, task_ids
from ruamel.yaml import YAML

from cityforge.cards.dataset import Dataset
from cityforge.footage.catalogue import catalogue_path
from cityforge.labeling.intake import read_labels
from cityforge.labeling.studio.client import Studio
from cityforge.labeling.studio.project import find_project, sync_project
from cityforge.tables import FOOTAGE, FRAMES, from_rows, write_table

pytestmark = pytest.mark.services

FRAMES_HERE = 6


@dataclass
class City:
    """A dataset of a few frames, each of which is a task of its project."""

    root: Path
    card: Dataset
    environment: dict[str, str]
    studio: Studio
    project: int

    @property
    def folder(self) -> Path:
        return self.root / "datasets" / self.card.name

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).parent / "cityforge"), "label", words[0]]
        return subprocess.run(
            [*command, self.card.name, *words[1:]],
            cwd=self.root,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=300,
        )

    def said(self, *words: str) -> Any:
        done = self.run(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def tracked(self) -> str:
        return (self.folder / "labels.dvc").read_text(encoding="utf-8")


@pytest.fixture
def city(label_studio: Any, tmp_path: Path, make_card: Callable[..., Dataset]) -> Iterator[City]:
    root = tmp_path / "city"
    card = make_card(name=f"t{uuid4().hex[:12]}")
    folder = root / "datasets" / card.name
    folder.mkdir(parents=True)
    with (folder / "dataset.yaml").open("w", encoding="utf-8") as stream:
        YAML().dump(card.model_dump(mode="json", exclude_unset=True), stream)
    (root / "params.yaml").write_text("algorithms: {}\ndatasets: []\n")
    (root / "dvc.yaml").write_text("stages: {}\n")
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    store_frames(folder)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("CITYFORGE_")}
    environment = kept | {
        "CITYFORGE_LABEL_STUDIO_URL": label_studio.url,
        "CITYFORGE_LABEL_STUDIO_TOKEN": label_studio.token,
    }
    with studio_of(label_studio.url, label_studio.token) as studio:
        project = sync_project(studio, card, label_studio.files).id
        add_tasks(studio, project, range(FRAMES_HERE))
        yield City(root, card, environment, studio, project)
        if find_project(studio, card):
            studio.remove(f"api/projects/{project}")


def store_frames(folder: Path) -> None:
    """The tables of one still for each task; no picture is needed."""
    frames, footage = [], []
    for number in range(FRAMES_HERE):
        data = task_data(number)
        about = {"footage_id": data["footage_id"], "width": 1920, "height": 1080}
        frames.append(about | {
            "frame_id": data["frame_id"], "pts_s": data["pts_s"], "shard": "a.tar", "offset": 0,
            "bytes": 1, "phash": "0" * 16, "sharpness": 1.0, "brightness": 1.0, "contrast": 1.0,
            "lighting": "day", "faults": [], "redactions": [],
        })  # fmt: skip
        footage.append(about | {
            "path": f"{number}.jpg", "name": f"{number}.jpg", "camera": "北门", "duration_s": 0.0,
            "codec": "mjpeg", "frames": 1, "errors": 0, "lawful_basis": "made here",
            "added_at": datetime.now(UTC), "started_at": datetime.now(UTC),
        })  # fmt: skip
    write_table(from_rows(frames, FRAMES), FRAMES, folder / "frames" / "frames.parquet")
    write_table(from_rows(footage, FOOTAGE), FOOTAGE, catalogue_path(folder))


def test_annotations_become_labels_and_their_past_stays(city: City) -> None:
    tasks = task_ids(city.studio, city.project)
    annotate(city.studio, tasks[0], [region(10, 20, 30, 40), region(50, 50, 10, 10, name="汽车")])
    annotate(city.studio, tasks[1], [])
    annotate(city.studio, tasks[2], [region(1, 1, 5, 5, name="tram")])
    first = city.run("pull")
    assert first.returncode == 0, first.stderr
    assert "3 new annotations, 0 changed, 0 removed; 3 on 3 tasks now" in first.stdout
    assert "1 rows refused; 2 boxes stored" in first.stdout
    assert "refused: a class that" in first.stderr and "tram" in first.stderr
    boxes = {
        row["class"]: [row[key] for key in ("x1", "y1", "x2", "y2")]
        for row in read_labels(city.folder).to_pylist()
        if row["class"]
    }
    assert boxes["bus"] == pytest.approx([192, 216, 768, 648], abs=1e-3)
    assert boxes["汽车"] == pytest.approx([960, 540, 1152, 648], abs=1e-3)
    tracked, stamps = city.tracked(), {
        path: (path.stat().st_mtime_ns, path.read_bytes())
        for path in city.folder.rglob("*") if path.is_file()
    }  # fmt: skip
    again = city.said("pull")
    assert (again["new"], again["unchanged"], again["settled"]["boxes"]) == (0, 3, 2)
    assert again["settled"]["rejected_rows"] == len(again["settled"]["rejected"]) == 1
    assert all((path.stat().st_mtime_ns, path.read_bytes()) == was for path, was in stamps.items())
    annotate(city.studio, tasks[3], [region(1, 1, 5, 5)])
    third = city.said("pull")
    assert (third["new"], third["full_because"]) == (1, "") and city.tracked() != tracked
    states = city.said("history")
    listed = [(each["table"], each["rows"], each["current"]) for each in states]
    assert set(listed[:2]) == {("labels", 4, True), ("annotations", 4, True)}
    assert set(listed[2:]) == {("labels", 3, False), ("annotations", 3, False)}
    kept = {each["table"]: each["digest"] for each in states if not each["current"]}
    assert third["kept"] == kept["annotations"]


def test_labels_that_were_lost_after_a_pull_come_back(city: City) -> None:
    annotate(city.studio, task_ids(city.studio, city.project)[0], [region(10, 20, 30, 40)])
    city.said("pull")
    # as after a kill between the annotations and the labels
    (city.folder / "labels" / "labels.parquet").unlink()
    (city.folder / "labels.dvc").unlink()
    said = city.said("pull")
    assert (said["new"], said["settled"]["boxes"]) == (0, 1)
    assert read_labels(city.folder).num_rows == 1 and city.tracked()


def test_each_refusal_is_one_line_and_changes_nothing(city: City) -> None:
    annotate(city.studio, task_ids(city.studio, city.project)[0], [region(10, 20, 30, 40)])
    city.said("pull")
    before = (city.folder / "labels" / "annotations.parquet").read_bytes()
    wrong = "f" * 40
    refused = city.run("pull", CITYFORGE_LABEL_STUDIO_TOKEN=wrong)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1), refused.stderr
    assert "expected a token that Label Studio accepts" in refused.stderr
    assert wrong not in refused.stderr + refused.stdout
    city.studio.remove(f"api/projects/{city.project}")
    gone = city.run("pull")
    assert (gone.returncode, len(gone.stderr.splitlines())) == (1, 1), gone.stderr
    assert "was deleted" in gone.stderr and "cityforge label push" in gone.stderr
    assert (city.folder / "labels" / "annotations.parquet").read_bytes() == before
