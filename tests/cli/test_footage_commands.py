"""`footage ingest` and `footage show` as a person runs them, from stills to a page of pictures."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from cityforge.cli.expiry import footage_in, shut_in
from cityforge.footage.catalogue import add_footage, catalogue_path, read_catalogue
from cityforge.footage.ingest import FRAMES_TABLE, ingest
from cityforge.footage.listing import list_files
from cityforge.footage.recordings import Recording
from cityforge.project import Project
from cityforge.tables import FOOTAGE, FRAMES, VERSION_KEY, from_rows, read_table, write_table

Run = Callable[..., Any]
ROOT = Path(__file__).parents[2]
NAME = "demo_crossing"


@pytest.fixture
def folder(root: Path, make_picture: Callable[..., Path]) -> Path:
    """Folder of a dataset of three stills `0.jpg`, `1.jpg`, `2.jpg`, not ingested yet."""
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    for part in ("footage", "dataset"):  # code that the stages depend on
        ignored = shutil.ignore_patterns("__pycache__")
        place = f"platform/cityforge/{part}"
        shutil.copytree(ROOT / place, root / place, ignore=ignored)
    project = Project(root)
    card, place = project.dataset(NAME), project.dataset_folder(NAME)
    paths = [make_picture(root / f"{number}.jpg", number) for number in range(3)]
    add_footage(card, place, list_files(paths), {}, Recording(card.cameras[0].name))
    return place


def expire(folder: Path, name: str) -> str:
    """Let the retention of a file end a second ago; its id."""
    rows = read_catalogue(folder).to_pylist()
    (row,) = [each for each in rows if each["name"] == name]
    row["retain_until"] = datetime.now(UTC) - timedelta(seconds=1)
    write_table(from_rows(rows, FOOTAGE), FOOTAGE, catalogue_path(folder))
    return str(row["footage_id"])


def stored(folder: Path) -> Any:
    return read_table(FRAMES, folder / "frames" / FRAMES_TABLE)


def labels_for(names: list[str], path: Path) -> Path:
    """A COCO file of one box on each image."""
    images = [
        {"id": n, "file_name": name, "width": 64, "height": 48} for n, name in enumerate(names)
    ]
    boxes = [
        {"id": n, "image_id": n, "category_id": 1, "bbox": [4, 4, 20, 20], "iscrowd": 0}
        for n in range(len(names))
    ]
    kinds = [{"id": 1, "name": "car"}]
    content = {"images": images, "annotations": boxes, "categories": kinds}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def record(root: Path) -> None:
    """Let DVC take the frames as they are for those of the catalogue as it is."""
    dvc(root, "commit", "--force", f"ingest@{NAME}")


def dvc(root: Path, *words: str) -> None:
    path = str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"]
    command = [sys.executable, "-m", "dvc", *words, "--quiet"]
    subprocess.run(command, cwd=root, check=True, env={**os.environ, "PATH": path})


def test_ingest_stores_frames_and_lets_go_what_has_expired_since(
    cityforge: Run, root: Path, folder: Path
) -> None:
    said = cityforge("footage", "ingest", NAME)
    assert said.code == 0, said.err
    assert "3 frames of 3 files" in said.out
    assert stored(folder).num_rows == 3
    gone = expire(folder, "1.jpg")
    record(root)
    said = cityforge("footage", "ingest", NAME)
    assert said.code == 0, said.err
    assert "ingest: made anew without 1 expired or withdrawn files" in said.out
    assert stored(folder).num_rows == 2
    assert gone not in stored(folder)["footage_id"].to_pylist()
    told = json.loads(cityforge("footage", "ingest", NAME, "--json").out)
    assert [told[key] for key in ("frames", "files", "shards", "refused")] == [2, 2, 1, 0]


def test_labels_of_expired_footage_go_neither_in_nor_out(
    cityforge: Run, root: Path, folder: Path
) -> None:
    names = ["0.jpg", "1.jpg", "2.jpg"]
    labels = labels_for(names, root / "labels.json")
    first = cityforge("label", "import", NAME, str(labels), "--json")
    assert json.loads(first.out)["boxes"] == 3, first.err
    expire(folder, "1.jpg")
    record(root)
    out = root / "out.json"
    said = cityforge("label", "export", NAME, str(out), "--format", "coco")
    assert said.err.splitlines() == [
        "1 frames of 1 withdrawn, expired or unknown files left out",
        "1 boxes of frames that may not be used left out",
    ]
    images = json.loads(out.read_text(encoding="utf-8"))["images"]
    assert sorted(each["file_name"] for each in images) == ["0.jpg", "2.jpg"]
    again = cityforge("label", "import", NAME, str(labels), "--json")
    told = json.loads(again.out)
    assert (told["boxes"], len(told["rejected"])) == (2, 2)
    assert stored(folder).num_rows == 2


@pytest.mark.slow
def test_ingest_lets_it_leave_the_snapshot_too(cityforge: Run, root: Path, folder: Path) -> None:
    card = folder / "dataset.yaml"
    content = yaml.safe_load(card.read_text(encoding="utf-8"))
    content |= {"classes": content["classes"][:1], "sampling": {"policy": "every", "seconds": 1}}
    content["checks"] |= {"min_frames": 1, "min_boxes_per_class": 1}
    card.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    labels = labels_for(["0.jpg", "1.jpg"], root / "labels.json")
    assert cityforge("label", "import", NAME, str(labels)).code == 0
    dvc(root, "repro", "--single-item", f"snapshot@{NAME}")
    snapshot = folder / "snapshot" / FRAMES_TABLE
    gone = expire(folder, "1.jpg")
    assert gone in footage_in(snapshot)
    record(root)
    said = cityforge("footage", "ingest", NAME)
    assert said.code == 0, said.err
    assert "snapshot: made anew without 1 expired or withdrawn files" in said.out
    assert footage_in(snapshot) == set(stored(folder)["footage_id"].to_pylist()) - {
        row["footage_id"] for row in read_catalogue(folder).to_pylist() if row["name"] == "2.jpg"
    }


def test_show_writes_a_page_with_the_pictures_that_may_be_seen(
    cityforge: Run, root: Path, folder: Path
) -> None:
    card = Project(root).dataset(NAME)
    ingest(card, folder, read_catalogue(folder), folder / "frames", workers=1)
    page = root / ".cityforge" / "sheets" / f"{NAME}.html"
    said = cityforge("footage", "show", NAME)
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[-1] == f"contact sheet: {page}"
    assert page.read_text(encoding="utf-8").count("<img") == 3
    expire(folder, "1.jpg")
    said = cityforge("footage", "show", NAME, "--json")
    assert said.err == "1 frames of 1 withdrawn, expired or unknown files left out\n"
    told = json.loads(said.out)
    assert [(each["camera"], each["frames"]) for each in told["cameras"]] == [("crossing_north", 2)]
    assert page.read_text(encoding="utf-8").count("<img") == 2


def write_older(path: Path, footage_id: str) -> None:
    """A table of frames as an older version wrote it."""
    older = FRAMES.empty_table().from_pylist([{"footage_id": footage_id}])
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(older.replace_schema_metadata({VERSION_KEY: b"frames/1"}), path)


def test_tables_of_before_do_not_bar_the_way(cityforge: Run, root: Path, folder: Path) -> None:
    write_older(folder / "frames" / FRAMES_TABLE, expire(folder, "1.jpg"))
    (folder / "labels").mkdir()
    labels_for(["0.jpg"], folder / "labels" / "labels.parquet")  # it must be there, no more
    said = cityforge("run", NAME, "--stage", "ingest")
    assert said.code == 0, said.err
    assert stored(folder).num_rows == 2


@pytest.mark.parametrize("content", ["older", "broken", "other columns", "none"])
def test_any_table_says_which_footage_it_names(folder: Path, content: str) -> None:
    path = folder / "snapshot" / FRAMES_TABLE
    path.parent.mkdir()
    gone = expire(folder, "1.jpg")
    if content == "older":
        write_older(path, gone)
    elif content == "broken":
        path.write_bytes(b"PAR1 and no more")
    elif content == "other columns":
        pq.write_table(FOOTAGE.empty_table().select(["name"]), path)
    expected = {gone} if content == "older" else set()
    assert footage_in(path) == shut_in(folder, "snapshot") == expected
