"""The stage states its leak, keeps its subsets, refuses what proves nothing, and is shown."""

from __future__ import annotations

import json
import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest
from crossings import Town, jpeg, moment, ordinary_town

from cityforge.cards.yaml_files import read_yaml
from cityforge.cli.main import app
from cityforge.dataset.snapshot import Snapshot, write_snapshot
from cityforge.errors import CheckFailed, DataError
from cityforge.footage.catalogue import catalogue_path
from cityforge.footage.shards import read_shard, write_shard
from cityforge.project import Project
from cityforge.settings import load_settings
from cityforge.tables import FOOTAGE, LABELS, SPLIT, from_rows, read_table, write_table

ROOT = Path(__file__).parents[2]
NAME = "demo_crossing"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The demo's cards, in a project of its own; shares for few films, one class."""
    from ruamel.yaml import YAML

    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "params.yaml").write_text("algorithms: {}\ndatasets: []\n", encoding="utf-8")
    for kind in ("algorithms", "datasets"):
        shutil.copytree(
            ROOT / kind / NAME,
            tmp_path / kind / NAME,
            ignore=lambda _, names: [each for each in names if not each.endswith(".yaml")],
        )
    folder = tmp_path / "algorithms" / NAME
    params, card = (read_yaml(folder / f"{each}.yaml") for each in ("params", "algorithm"))
    part = {"share": 0.25, "pick": "latest"}
    params["split"] |= {"group": "footage", "test": part, "val": part}
    card["classes"] = ["car"]
    card["events"] = []  # they name other classes
    for name, content in (("params", params), ("algorithm", card)):
        YAML().dump(content, folder / f"{name}.yaml")
    return Project(tmp_path)


def store(project: Project, town: Town, without: str = "") -> None:
    """Write a town's catalogue, frames and snapshot; a car on each frame but one film's."""
    folder = project.dataset_folder(NAME)
    shard = folder / "frames" / "a.tar"
    write_shard(shard, sorted((f"{name}.jpg", data) for name, data in town.stored.items()))
    at = {each.name[:-4]: each for each in read_shard(shard)}
    for row in town.frames:
        row |= {"shard": "a.tar", "offset": at[row["frame_id"]].offset}
    frames, footage = town.tables()
    write_table(footage, FOOTAGE, catalogue_path(folder))
    labels: list[dict[str, object]] = [
        {
            "label_id": name, "frame_id": name, "task": "detection", "class": "car", "x1": 1.0,
            "y1": 1.0, "x2": 9.0, "y2": 9.0, "source": "drawn", "origin": "human",
        }
        for name in town.stored if not (without and name.startswith(without))
    ]  # fmt: skip
    about = Snapshot(NAME, f"d{len(at)}", len(at), len(labels), 0, {"car": len(labels)}, {})
    write_snapshot(folder / "snapshot", about, frames, from_rows(labels, LABELS))


def run(project: Project) -> dict[str, Any]:
    """Run the stage; returns what it states."""
    main = runpy.run_path(str(ROOT / "pipelines" / "split.py"), run_name="stage")["main"]
    main(project, load_settings(project.root), NAME)
    stated = project.build(NAME) / "split" / "snapshot.json"
    return dict(json.loads(stated.read_text(encoding="utf-8")))


def subsets(project: Project) -> dict[str, str]:
    rows = read_table(SPLIT, project.build(NAME) / "split" / "split.parquet").to_pylist()
    return {row["frame_id"]: row["subset"] for row in rows}


def test_the_stage_keeps_subsets_and_states_its_leak(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    town = ordinary_town(8)
    store(project, town)
    first = run(project)
    assert first["frames"] == {"train": 12, "val": 6, "test": 6, "unseen": 0}
    assert first["leak"]["share"] == 0.0
    assert 0 < first["leak"]["nearest"] < 0.95
    assert (first["left_out"], first["leak"]["left_out"]) == ([], 0)
    before = subsets(project)
    copied, other = (min(n for n, kind in before.items() if kind == k) for k in ("test", "train"))
    town.film("h00", "东门", 90, [town.stored[copied], jpeg(moment(7, 1)), town.stored[other]])
    store(project, town)
    second = run(project)
    after = subsets(project)
    assert {name: after[name] for name in before} == before
    assert len(second["left_out"]) == second["leak"]["left_out"] == 1
    assert second["left_out"][0]["frame"].startswith("h00")
    assert sum(second["frames"].values()) == len(after) == 26
    assert second["digest"] != first["digest"]
    assert "left out 1 (near frames of another subset); leak 0.0%" in capsys.readouterr().out
    kept = project.algorithm_folder(NAME) / "subsets.json"
    assert len(json.loads(kept.read_text(encoding="utf-8"))["rounds"]) == 2
    assert run(project) == second


def test_a_test_part_without_a_box_of_a_class_is_refused_and_nothing_is_kept(
    project: Project,
) -> None:
    town = ordinary_town(4)
    store(project, town, without="f03")  # the latest
    with pytest.raises(CheckFailed, match="none of class 'car' in test, in algorithm 'demo_cro"):
        run(project)
    assert not (project.algorithm_folder(NAME) / "subsets.json").exists()
    assert not (project.build(NAME) / "split").exists()


def test_the_split_is_shown_as_it_stands(project: Project) -> None:
    from typer.testing import CliRunner

    words = ["--project", str(project.root), "dataset", "split", NAME]
    store(project, ordinary_town(8))
    early = CliRunner().invoke(app, words)
    assert isinstance(early.exception, DataError)
    assert "cityforge run demo_crossing --stage split" in str(early.exception)
    stated = run(project)
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0, shown.output
    assert "leak 0.0% of val and test" in shown.output
    found = json.loads(CliRunner().invoke(app, [*words, "--json"]).output)
    assert found["digest"] == stated["digest"]
    assert found["leak"] == stated["leak"]
    counts = {
        row["subset"]: (row["frames"], row["groups"], row["boxes"]) for row in found["subsets"]
    }
    assert counts == {
        "train": (12, 4, {"car": 12}), "val": (6, 2, {"car": 6}), "test": (6, 2, {"car": 6}),
    }  # fmt: skip
