"""What a snapshot held is kept, found again quickly, and fetched where it is not."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from kept import digest, film_id, footage_table, frame_id, frames_table, keep, label_id, part

from cityforge.dataset import lineage as store
from cityforge.dataset.lineage import digest_kept, key_of, lineage_root, split_path
from cityforge.dataset.lineage_lookup import Lineage, Subsets
from cityforge.dataset.snapshot import Snapshot, write_json, write_snapshot
from cityforge.errors import RegistryError
from cityforge.footage.catalogue import catalogue_path
from cityforge.project import Project
from cityforge.registry import lineage as kept_by_registry
from cityforge.registry.lineage import fetch_lineage, keep_lineage, lineages_here, open_lineage
from cityforge.registry.site import Site
from cityforge.settings import Settings
from cityforge.tables import FOOTAGE, LABELS, SPLIT, from_rows, write_table
from cityforge.training.tracking import experiment_id

PEOPLE = ("li@city", "wang@city", "li@city+zhao@city", None)
FILMS = range(6)


@pytest.fixture(scope="module")
def frames() -> pa.Table:
    return frames_table(FILMS, 5)


@pytest.fixture(scope="module")
def labels(frames: pa.Table) -> pa.Table:
    """Two labels a frame; annotation ids of several are joined, one frame holds nothing."""
    rows: list[dict[str, Any]] = []
    for at, frame in enumerate(frames["frame_id"].to_pylist()):
        for number in range(2):
            rows.append(
                {
                    "label_id": label_id(frame, number), "frame_id": frame, "task": "detection",
                    "class": None if at == 3 else "bus", "annotator": PEOPLE[at % 4],
                    "annotation_id": f"{at}+{at + 500}" if at % 4 == 2 else str(at),
                    "source": "label-studio:1", "origin": "human",
                }
            )  # fmt: skip
    return from_rows(rows, LABELS)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture(params=[8192, 4], ids=["one group", "groups of four rows"])
def lineage(
    project: Project, frames: pa.Table, labels: pa.Table, request: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Lineage:  # fmt: skip
    monkeypatch.setattr(store, "ROWS", request.param)
    found = open_lineage(project, keep(project, "one", FILMS, frames, labels))
    assert found is not None
    return found


def reference(labels: pa.Table, keeps: Any) -> set[str]:
    """Label ids by a loop over the rows."""
    return {row["label_id"] for row in labels.to_pylist() if keeps(row)}


def test_each_label_is_found_by_its_id_with_frame_film_and_second(
    lineage: Lineage, labels: pa.Table
) -> None:
    rows = labels.to_pylist()
    for row in rows:
        (found,) = lineage.labels_with(row["label_id"]).to_pylist()
        footage_id, _, milliseconds = row["frame_id"].partition("-")
        assert (found["frame_id"], found["footage_id"]) == (row["frame_id"], footage_id)
        assert found["pts_s"] == int(milliseconds) / 1000
        for name in ("class", "annotator", "annotation_id", "source"):
            assert found[name] == row[name]
    assert len(rows) == 60
    assert lineage.labels_with("0123456789abcdef").num_rows == 0


@pytest.mark.parametrize("annotation", ["0", "2", "502", "3", "529"])
def test_labels_of_an_annotation_alone_or_with_others(
    lineage: Lineage, labels: pa.Table, annotation: str
) -> None:
    found = set(lineage.labels_with(annotation)["label_id"].to_pylist())
    assert found == reference(labels, lambda r: annotation in r["annotation_id"].split("+"))


@pytest.mark.parametrize("who", ["li@city", "wang@city", "zhao@city", "", "nobody@city"])
def test_labels_of_an_annotator(lineage: Lineage, labels: pa.Table, who: str) -> None:
    def drew(row: dict[str, Any]) -> bool:
        return who in row["annotator"].split("+") if row["annotator"] else not who

    found = lineage.labels_of(who)
    assert set(found["label_id"].to_pylist()) == reference(labels, drew)
    on = sorted(np.asarray(found["frame"]).tolist())
    assert sorted(lineage.frames_by(who).tolist()) == on
    told = {each["annotator"]: each for each in lineage.about["annotators"]}
    frames, films = set(found["frame_id"].to_pylist()), set(found["footage_id"].to_pylist())
    expected = {"annotator": who, "labels": found.num_rows, "frames": len(frames),
                "films": len(films)}  # fmt: skip
    assert told.get(who) == (expected if found.num_rows else None)


def test_frames_and_labels_of_films_and_frames(
    lineage: Lineage, frames: pa.Table, labels: pa.Table
) -> None:
    for film in FILMS:
        rows = lineage.frames_of(film_id(film))
        assert rows["frame_id"].to_pylist() == sorted(frame_id(film, each) for each in range(5))
        on = lineage.labels_on(rows["row"].to_numpy())
        assert set(on["label_id"].to_pylist()) == reference(
            labels, lambda r, film=film: r["frame_id"].startswith(film_id(film))
        )
    rows = lineage.frames_of(frame_id(2, 3))
    assert lineage.labels_on(rows["row"].to_numpy()).num_rows == 2
    assert lineage.frames_of("0" * 16).num_rows == lineage.frames_of(f"{'0' * 16}-5").num_rows == 0
    assert lineage.film(film_id(1)) == {
        "footage_id": film_id(1), "name": "路口 1.mp4", "camera": "harbour", "site": None,
        "started_at": None, "frames": 5, "labels": 10, "first_s": 0.0, "last_s": 2.0,
    }  # fmt: skip


def test_ids_that_share_a_key_are_told_apart(
    project: Project, frames: pa.Table, labels: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert key_of("plumless") == key_of("buckeroo")  # a known collision of CRC-32
    rows = labels.slice(0, 2).to_pylist()
    rows[0]["label_id"], rows[1]["label_id"] = "plumless", "buckeroo"
    of = keep(project, "collision", FILMS, frames, from_rows(rows, LABELS))
    found = open_lineage(project, of)
    assert found is not None
    assert found.labels_with("plumless")["label_id"].to_pylist() == ["plumless"]


def test_subsets_of_frames_and_frames_that_a_split_leaves_out(
    project: Project, lineage: Lineage, frames: pa.Table
) -> None:
    snapshot = lineage.about["snapshot"]
    some = frames.slice(0, 25)
    split = part(project, "split", snapshot, some)
    subsets = Subsets(split_path(lineage_root(project), split))
    assert subsets.about == {
        "digest": split, "snapshot": snapshot, "algorithm": "tiny", "dataset": "streets",
    }  # fmt: skip
    rows = lineage.frames_of(film_id(5))["row"].to_numpy()
    assert subsets.of(rows) == [""] * 5
    of_film = {subset for f in range(5) for subset in
               subsets.of(lineage.frames_of(film_id(f))["row"].to_numpy())}  # fmt: skip
    assert of_film == {"train", "val", "test"} & of_film != set()


def test_the_digest_is_of_the_content_whatever_the_groups(
    lineage: Lineage, frames: pa.Table, labels: pa.Table, tmp_path: Path
) -> None:
    assert lineage.about["digest"] == digest_kept(lineage.folder)
    other = Project(tmp_path / "other")
    again = keep(other, "one", FILMS, frames.take(np.arange(30)[::-1]), labels)
    found = open_lineage(other, again)
    assert found is not None
    assert found.about["digest"] == lineage.about["digest"]
    changed = labels.to_pylist()
    changed[7]["annotator"] = "somebody else"
    third = Project(tmp_path / "third")
    of = keep(third, "one", FILMS, frames, from_rows(changed, LABELS))
    assert open_lineage(third, of).about["digest"] != found.about["digest"]  # type: ignore[union-attr]


def test_a_label_takes_less_than_40_bytes(project: Project, tmp_path: Path) -> None:
    many = frames_table(range(40), 100)
    rows = [
        {"label_id": label_id(frame, n), "frame_id": frame, "task": "detection", "class": "bus",
         "annotator": f"person{at % 7}", "annotation_id": str(at), "source": "label-studio:1",
         "origin": "human"}
        for at, frame in enumerate(many["frame_id"].to_pylist())
        for n in range(5)
    ]  # fmt: skip
    keep(project, "many", range(40), many, from_rows(rows, LABELS))
    size = sum(path.stat().st_size for path in lineage_root(project).rglob("*.parquet"))
    assert size / 20_000 < 40


def build(project: Project, frames: pa.Table, labels: pa.Table, name: str = "built") -> str:
    """What the stages leave of algorithm tiny; digest of the split."""
    folder, of = project.dataset_folder("streets"), digest(name)
    about = Snapshot("streets", of, frames.num_rows, labels.num_rows, 0, {}, {})
    write_snapshot(folder / "snapshot", about, frames, labels)
    write_table(footage_table(FILMS), FOOTAGE, catalogue_path(folder))
    build = project.build("tiny")
    rows = [{"frame_id": each, "subset": "train", "group": "g"}
            for each in frames["frame_id"].to_pylist()]  # fmt: skip
    write_table(from_rows(rows, SPLIT), SPLIT, build / "split" / "split.parquet")
    split = {"digest": digest(f"{name} split"), "dataset": {"dataset": "streets", "digest": of}}
    write_json(build / "split" / "snapshot.json", split)
    initial = {"source": "models:/tiny/1", "digest": "d", "snapshot": "s", "matched": 3}
    write_json(build / "train" / "train.json", {"initial": initial})
    return str(split["digest"])


def new_run(site: Site) -> str:
    client = site.client
    run = client.create_run(experiment_id(client, site.project, site.settings, "tiny"))
    return str(run.info.run_id)


def test_lineage_is_stored_once_and_fetched_by_another_machine(
    tmp_path: Path, frames: pa.Table, labels: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(Project(tmp_path / "here"), Settings(tracking_uri=""))
    site.project.root.mkdir()
    split = build(site.project, frames, labels)
    runs = [new_run(site) for _ in range(2)]
    client = site.client
    kept = {keep_lineage(client, run, site.project, "tiny") for run in runs}
    assert kept == {open_lineage(site.project, digest("built")).about["digest"]}  # type: ignore[union-attr]
    experiment = client.get_experiment_by_name(kept_by_registry.EXPERIMENT)
    assert len(client.search_runs([experiment.experiment_id])) == 1
    there = Site(
        Project(tmp_path / "there"),
        Settings(tracking_uri=f"sqlite:///{site.project.work / 'mlflow.db'}"),
    )
    there.project.root.mkdir()
    assert fetch_lineage(there, runs[1])
    here, far = lineages_here(site.project), lineages_here(there.project)
    assert list(far) == list(here) == [digest("built")]
    label = labels["label_id"][5].as_py()
    assert far[digest("built")].labels_with(label).equals(here[digest("built")].labels_with(label))
    assert Subsets(split_path(lineage_root(there.project), split)).names == ["train"]
    assert not fetch_lineage(there, new_run(site))
    # A lineage that was changed where it is stored is refused.
    shutil.rmtree(lineage_root(there.project))
    (stored,) = site.project.work.glob("artifacts/*/artifacts/lineage/labels.parquet")
    table = from_rows([{**row, "annotator": "another"} for row in labels.to_pylist()], LABELS)
    changed = Project(tmp_path / "changed")
    of = keep(changed, "built", FILMS, frames, table)
    shutil.copy(open_lineage(changed, of).folder / "labels.parquet", stored)  # type: ignore[union-attr]
    with pytest.raises(RegistryError, match="the lineage that was stored"):
        fetch_lineage(there, runs[0])
    assert lineages_here(there.project) == {}


def test_a_snapshot_that_is_gone_has_no_lineage(
    project: Project, frames: pa.Table, labels: pa.Table
) -> None:
    build(project, frames, labels)
    shutil.rmtree(project.dataset_folder("streets") / "snapshot")
    assert kept_by_registry.basis_of(project, "tiny") == {}
    assert kept_by_registry.basis_of(project, "other") == {}
    build(project, frames, labels)
    told = kept_by_registry.basis_of(project, "tiny")
    assert told["initial"] == {"source": "models:/tiny/1", "digest": "d", "snapshot": "s"}
    assert (told["dataset"], told["snapshot"]) == ("streets", digest("built"))
