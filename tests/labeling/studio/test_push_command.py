"""`cityforge label push` as a person runs it: footage, champion, queue and server at work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr
from ruamel.yaml import YAML

from cityforge.cards.dataset import Dataset
from cityforge.labeling.studio.client import Studio
from cityforge.labeling.studio.project import find_project
from cityforge.tables import FRAMES, QUEUE, from_rows, read_table, write_table

pytestmark = pytest.mark.services

ROOT = Path(__file__).parents[3]
EVIL = "<script>alert(1)</script>"


@dataclass
class City:
    """A small project with eight photographs of one camera."""

    root: Path
    name: str
    environment: dict[str, str]
    studio: Studio

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(Path(sys.executable).parent / "cityforge"), *words],
            cwd=self.root,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=300,
        )

    def push(self, *words: str, **environment: str) -> dict[str, Any]:
        """What a push says as JSON."""
        done = self.run("label", "push", self.name, "--json", *words, **environment)
        assert done.returncode == 0, done.stderr
        said: dict[str, Any] = json.loads(done.stdout)
        return said

    def tasks(self, project: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.studio.get(
            "api/tasks", project=project, page_size=100, fields="all", resolve_uri="false"
        )["tasks"]
        return found


@pytest.fixture
def city(
    label_studio: Any,
    tmp_path: Path,
    make_card: Callable[..., Dataset],
    make_picture: Callable[..., Path],
) -> Iterator[City]:
    root = tmp_path / "city"
    name = f"t{uuid4().hex[:12]}"
    card = make_card(name=name, cameras=[{"name": EVIL, "site": '"North" & gate'}])
    (root / "datasets" / name).mkdir(parents=True)
    with (root / "datasets" / name / "dataset.yaml").open("w") as stream:
        YAML().dump(card.model_dump(mode="json", exclude_unset=True), stream)
    (root / "params.yaml").write_text("algorithms: {}\ndatasets: []\n")
    shutil.copy(ROOT / "dvc.yaml", root)
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    for part in ("pipelines", "platform"):  # DVC follows what the stages depend on
        (root / part).symlink_to(ROOT / part)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("CITYFORGE_")}
    environment = kept | {
        "CITYFORGE_LABEL_STUDIO_URL": label_studio.url,
        "CITYFORGE_LABEL_STUDIO_TOKEN": label_studio.token,
        "CITYFORGE_LABEL_STUDIO_FILES": str(label_studio.files),
        "CITYFORGE_KEYS": os.environ["CITYFORGE_KEYS"],
        "CITYFORGE_USER": "me",
    }
    for number in range(8):
        make_picture(tmp_path / "in" / f"<b>{number}.jpg", seed=number)
    with Studio(label_studio.url, SecretStr(label_studio.token), patience_s=10) as studio:
        made = City(root, name, environment, studio)
        done = made.run("footage", "add", name, str(tmp_path / "in"), "--camera", EVIL)
        assert done.returncode == 0, done.stderr
        yield made
        project = find_project(studio, card)
        if project:
            studio.remove(f"api/projects/{project.id}")


def test_footage_becomes_tasks_in_the_order_of_the_queue(city: City) -> None:
    first = city.push("--limit", "3")
    assert (first["new"], first["waiting"], first["pictures_written"]) == (3, 5, 3)
    frames = read_table(FRAMES, city.root / "datasets" / city.name / "frames" / "frames.parquet")
    ids = sorted(frames["frame_id"].to_pylist())
    pushed = {task["data"]["frame_id"] for task in city.tasks(first["project"])}
    asked = [each for each in reversed(ids) if each not in pushed][:2]
    rows: list[dict[str, object]] = [
        {"frame_id": each, "rank": rank, "purpose": "teach", "reason": EVIL}
        for rank, each in enumerate(asked)
    ]
    queue = city.root / ".cityforge" / "labeling" / city.name / "queue.parquet"
    write_table(from_rows(rows, QUEUE), QUEUE, queue)
    done = city.run("label", "push", city.name)
    assert done.stdout.startswith("2 tasks made, 0 there already, in http"), done.stderr
    assert "unlabelled frames are not in the queue" in done.stderr
    rest = city.push("--all")
    assert (rest["new"], rest["already"], rest["waiting"]) == (3, 5, 0)
    data = [task["data"] for task in city.tasks(first["project"])]
    assert [each["frame_id"] for each in data[3:5]] == asked
    assert {each["reason"] for each in data[3:5]} == {EVIL}
    assert {(each["camera"], each["site"]) for each in data} == {(EVIL, '"North" & gate')}
    assert all(each["footage"].startswith("<b>") for each in data)
    city.push()  # shows nobody anything new
    taken = retrievals(city)
    assert [(e.by, e.body["why"], e.body["count"]) for e in taken] == [
        ("me", "label push", count) for count in (3, 2, 3)
    ]
    assert {each["frame_id"].partition("-")[0] for each in data} == {
        footage_id for entry in taken for footage_id in entry.body["ids"]
    }


def retrievals(city: City) -> list[Any]:
    """What the journal says of pictures that left the dataset."""
    from cityforge.project import Project
    from cityforge.settings import Settings
    from cityforge.trust.journal import open_journal

    journal = open_journal(Project(city.root), Settings())
    return journal.entries(f"dataset:{city.name}", ("retrieve",))


def test_a_token_that_is_refused_is_one_line_that_does_not_show_it(city: City) -> None:
    secret = "feedfacefeedfacefeedfacefeedfacefeedface"
    done = city.run("label", "push", city.name, CITYFORGE_LABEL_STUDIO_TOKEN=secret)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("expected a token that Label Studio accepts")
    assert secret not in done.stdout + done.stderr


def test_withdrawn_footage_leaves_the_server(city: City, label_studio: Any) -> None:
    first = city.push()
    gone = city.tasks(first["project"])[0]["data"]
    done = city.run(
        "footage", "withdraw", city.name, gone["footage_id"], "--reason", "asked", "--yes"
    )
    assert done.returncode == 0, done.stderr
    result = city.push()
    assert (result["new"], result["already"], result["removed"]) == (0, 7, 1)
    folder = label_studio.files / city.name
    assert sorted(path.stem for path in folder.rglob("*.jpg")) == sorted(
        task["data"]["frame_id"] for task in city.tasks(first["project"])
    )


def test_the_champion_fills_in_boxes(city: City, make_package: Callable[..., Path]) -> None:
    algorithm = city.root / "algorithms" / "tiny_cars"
    shutil.copytree(ROOT / "algorithms" / "demo_crossing", algorithm,
                    ignore=shutil.ignore_patterns("build"))  # fmt: skip
    yaml = YAML()
    card = yaml.load(algorithm / "algorithm.yaml")
    card |= {"name": "tiny_cars", "dataset": city.name, "classes": ["汽车", "bus"]}
    card["events"] = []  # they name other classes
    with (algorithm / "algorithm.yaml").open("w") as stream:
        yaml.dump(card, stream)
    assert "no champion yet" in city.run("label", "push", city.name, "--limit", "1").stderr
    crown(city, make_package)
    result = city.push()
    assert (result["new"], result["prefilled"], result["model"]) == (7, 7, "tiny_cars v1")
    tasks = city.tasks(result["project"])
    assert [len(task["predictions"]) for task in tasks] == [0] + [1] * 7
    (said,) = tasks[1]["predictions"]
    assert said["model_version"] == "tiny_cars v1"
    assert said["score"] == pytest.approx(0.9, abs=1e-4)
    value = said["result"][0]["value"]
    shares = [value[key] for key in ("x", "y", "width", "height")]
    assert shares == pytest.approx([12.5, 12.5, 50, 50])
    assert value["rectanglelabels"] == ["汽车"]


def crown(city: City, make_package: Callable[..., Path]) -> None:
    """Register and approve a model of the algorithm, as `run` and `model approve` do."""
    from cityforge.project import Project
    from cityforge.registry.approval import approve
    from cityforge.registry.registering import register
    from cityforge.registry.site import Site
    from cityforge.settings import Settings
    from cityforge.training.tracking import experiment_id

    site = Site(Project(city.root), Settings(tracking_uri="", one_person=True))
    experiment = experiment_id(site.client, site.project, site.settings, "tiny_cars")
    run_id = site.client.create_run(experiment).info.run_id
    package = make_package(city.root.parent / "made" / "package", "tiny_cars", run_id)
    register(site, "tiny_cars", package, package.parent, who="me")
    approve(site, "tiny_cars", None, "me", "")
