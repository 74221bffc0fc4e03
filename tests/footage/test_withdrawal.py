"""A withdrawal as people walk it: the stage leaves the file out, the command lists its children."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner, Result

from cityforge.cards.dataset import Dataset
from cityforge.cli import footage_law
from cityforge.dataset.history import history_folder, read_history, record_split
from cityforge.dataset.snapshot import open_snapshot, write_json
from cityforge.errors import CheckFailed, CityforgeError, DataError
from cityforge.footage.catalogue import (
    add_footage,
    catalogue_path,
    read_catalogue,
)
from cityforge.footage.ingest import ingest
from cityforge.footage.listing import list_files
from cityforge.footage.recordings import Recording
from cityforge.footage.sealing import withdraw, withdraw_all
from cityforge.footage.seals import read_with_seals
from cityforge.footage.shards import FrameStore, read_shard
from cityforge.settings import Settings
from cityforge.tables import FOOTAGE, write_table

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
FILM = "路口 早.mp4"
OTHER = "deep/c.jpg"


@pytest.fixture(scope="module")
def snapshot_stage() -> Any:
    """`main` of pipelines/snapshot.py."""
    spec = importlib.util.spec_from_file_location("stage_snapshot", ROOT / "pipelines/snapshot.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def change_catalogue(folder: Path, name: str, **changes: object) -> None:
    rows = read_catalogue(folder).to_pylist()
    for row in rows:
        if row["name"] == name:
            row.update(changes)
    table = FOOTAGE.empty_table().from_pylist(rows, schema=FOOTAGE)
    write_table(table, FOOTAGE, catalogue_path(folder))


def held(folder: Path) -> set[str]:
    """Footage ids in the frames and labels of the snapshot that lies there."""
    _, frames, labels = open_snapshot(folder / "snapshot")
    ids = frames.column("frame_id").to_pylist() + labels.column("frame_id").to_pylist()
    return {each.partition("-")[0] for each in ids}


def test_withdrawn_and_expired_footage_leaves_the_next_snapshot(
    streets: Any, snapshot_stage: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, ids = streets.folder, streets.ids
    snapshot_stage(streets.project, Settings(), "streets")
    assert held(folder) == set(ids.values())
    assert "left out" not in capsys.readouterr().out
    first = open_snapshot(folder / "snapshot")[0].digest

    withdraw(folder, ids[FILM], "asked for", NOW, "me")
    snapshot_stage(streets.project, Settings(), "streets")
    assert held(folder) == set(ids.values()) - {ids[FILM]}

    # Withdrawn in the catalogue alone, as a kill leaves it: its frames and labels still lie there.
    change_catalogue(folder, "harbour.mp4", withdrawn_at=NOW, withdrawn_reason="x")
    change_catalogue(folder, OTHER, retain_until=datetime.now(UTC) - timedelta(seconds=1))
    capsys.readouterr()
    snapshot_stage(streets.project, Settings(), "streets")
    assert held(folder) == {ids["a.jpg"], ids["b.jpg"]}
    said = capsys.readouterr().out
    assert said.startswith("3 frames of 2 withdrawn or expired files left out\n2 frames, 4 boxes")

    history = read_history(folder)
    assert len(history) == 3
    assert history[first].footage == set(ids.values())

    for name in ("a.jpg", "b.jpg"):
        change_catalogue(folder, name, withdrawn_at=NOW, withdrawn_reason="x")
    with pytest.raises(DataError, match="none; 5 frames of 4 withdrawn or expired files left out"):
        snapshot_stage(streets.project, Settings(), "streets")
    assert held(folder) == {ids["a.jpg"], ids["b.jpg"]}, "the snapshot before stands as it was"


def test_an_older_catalogue_does_not_bring_withdrawn_footage_back(
    streets: Any, snapshot_stage: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    older = read_catalogue(streets.folder)
    stored = {
        path: path.read_bytes()
        for part in ("frames", "labels")
        for path in (streets.folder / part).rglob("*")
        if path.is_file()
    }
    withdraw(streets.folder, streets.ids[FILM], "asked for", NOW, "me")
    write_table(older, FOOTAGE, catalogue_path(streets.folder))
    for path, content in stored.items():  # as `dvc checkout` of an older commit does
        path.write_bytes(content)
    snapshot_stage(streets.project, Settings(), "streets")
    assert held(streets.folder) == set(streets.ids.values()) - {streets.ids[FILM]}
    assert "3 frames of 1 withdrawn or expired files left out" in capsys.readouterr().out


def test_frames_that_did_not_pass_the_cards_redaction_make_no_snapshot(
    streets: Any, snapshot_stage: Any
) -> None:
    card = streets.folder / "dataset.yaml"
    asked = "redact: [face], redaction: {method: fill, padding: 0.1, hold_s: 1.0}"
    card.write_text(card.read_text(encoding="utf-8").replace("redact: []", asked), encoding="utf-8")
    with pytest.raises(CheckFailed, match=r"8 of 8 labelled frames that did not"):
        snapshot_stage(streets.project, Settings(), "streets")
    assert not (streets.folder / "snapshot").exists()


def test_the_next_ingest_makes_the_shards_without_what_was_withdrawn(
    tmp_path: Path,
    make_card: Callable[..., Dataset],
    make_film: Callable[..., Path],
    make_picture: Callable[..., Path],
) -> None:
    card, folder = make_card(), tmp_path / "tiny"
    folder.mkdir()
    paths = [make_film(tmp_path / f"{n}.mp4", rate=5 + n) for n in range(2)]
    paths += [make_picture(tmp_path / f"{n}.jpg", n) for n in range(3)]
    add_footage(card, folder, list_files(paths), {}, Recording("北门"))
    out = folder / "frames"
    before = ingest(card, folder, read_with_seals(folder), out, 1).frames
    ids = {row["name"]: str(row["footage_id"]) for row in read_catalogue(folder).to_pylist()}
    gone = {ids["0.mp4"]: "x", ids["1.jpg"]: "x"}
    sealed = withdraw_all(folder, gone, NOW, "me")
    assert [each.original for each in sealed] == [True, True]
    done = ingest(card, folder, read_with_seals(folder), out, 1)
    assert set(done.barred) == set(gone)
    left = [row for row in before.to_pylist() if row["footage_id"] not in gone]
    keys = ("frame_id", "width", "height", "phash")
    assert [[row[key] for key in keys] for row in done.frames.to_pylist()] == [
        [row[key] for key in keys] for row in left
    ]
    store = FrameStore(out, done.frames)
    assert all(store.read(each)[:2] == b"\xff\xd8" for each in store_ids(done.frames))
    inside = {each.name for path in out.glob("*.tar") for each in read_shard(path)}
    assert inside == {f"{each}.jpg" for each in store_ids(done.frames)}
    assert sum(each.frames for each in sealed) + len(inside) == before.num_rows
    again = add_footage(card, folder, list_files(paths), {}, Recording("北门"))
    assert sorted(each.where for each in again.refused) == ["0.mp4", "1.jpg"]


def store_ids(frames: Any) -> list[str]:
    found: list[str] = frames.column("frame_id").to_pylist()
    return found


@pytest.fixture
def cityforge(streets: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    """Run `footage withdraw` or `footage expire` in the project."""
    monkeypatch.setenv("CITYFORGE_USER", "王芳")
    monkeypatch.delenv("CITYFORGE_TRACKING_URI", raising=False)
    app = typer.Typer()

    @app.callback()
    def options(context: typer.Context, project: Annotated[str, typer.Option()] = "") -> None:
        context.obj = streets.project.root

    app.command()(footage_law.withdraw)
    app.command()(footage_law.expire)
    yield lambda *words, typed=None: CliRunner().invoke(app, list(words), input=typed)


def test_withdraw_asks_first(streets: Any, cityforge: Callable[..., Result]) -> None:
    words = ["withdraw", "streets", FILM, "--reason", "当事人要求"]
    refused = cityforge(*words, typed="n\n")
    assert refused.exit_code == 1
    assert f"seal {FILM} ({streets.ids[FILM]})?" in refused.stderr
    assert streets.left_of(FILM)
    done = cityforge(*words, typed="y\n")
    assert done.exit_code == 0, done.output
    assert streets.left_of(FILM) == []


def test_withdraw_says_what_was_sealed_and_what_was_made_of_it(
    streets: Any, cityforge: Callable[..., Result]
) -> None:
    done = cityforge("withdraw", "streets", FILM, "--reason", "当事人要求", "--yes")
    assert done.exit_code == 0, done.output
    said = done.stdout.splitlines()
    assert said[0].startswith(f"{FILM} ({streets.ids[FILM]}) is sealed since ")
    assert said[0].endswith("by 王芳: 当事人要求")
    folder = f"datasets/streets/sealed/{streets.ids[FILM]}"
    assert said[1] == f"original, 3 frames, 1 shards and 6 labels in {folder}"
    assert said[2] == "nothing on record was made from it"
    assert any("dvc gc" in line for line in said)
    again = cityforge("withdraw", "streets", streets.ids[FILM], "--reason", "x", "--yes", "--json")
    told = json.loads(again.stdout)
    assert told["sealed"]["reason"] == "当事人要求"
    assert told["sealed"]["folder"] == folder
    assert told["made"] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["withdraw", "streets", "harbor.mp4", "--reason", "x"], "did you mean 'harbour.mp4'"),
        (["withdraw", "streets", FILM, "--reason", " ", "--yes"], "a reason that stays on record"),
        (["withdraw", "streats", FILM, "--reason", "x"], "did you mean 'streets'"),
        (["expire", "streats"], "did you mean 'streets'"),
    ],
)
def test_what_cannot_be_withdrawn_is_said(
    cityforge: Callable[..., Result], words: list[str], said: str
) -> None:
    done = cityforge(*words)
    assert isinstance(done.exception, CityforgeError)
    assert said in str(done.exception)


def test_expire_lists_and_then_seals_what_is_past_its_time(
    streets: Any, cityforge: Callable[..., Result]
) -> None:
    now = datetime.now(UTC)
    change_catalogue(streets.folder, FILM, retain_until=now - timedelta(days=1))
    change_catalogue(streets.folder, OTHER, retain_until=now + timedelta(days=5))
    change_catalogue(streets.folder, "a.jpg", retain_until=None)

    def states(*words: str) -> dict[str, str]:
        done = cityforge("expire", "streets", "--json", *words)
        assert done.exit_code == 0, done.output
        return {row["name"]: row["state"] for row in json.loads(done.stdout)}

    assert states() == {FILM: "past its time"}
    assert states("--soon", "5") == {FILM: "past its time", OTHER: "still kept"}
    assert "cityforge footage expire streets --yes" in cityforge("expire", "streets").stdout
    assert streets.left_of(FILM)
    assert states("--yes", "--soon", "5") == {FILM: "sealed", OTHER: "still kept"}
    assert streets.left_of(FILM) == []
    assert streets.left_of(OTHER)
    (seal,) = streets.folder.glob("sealed/*/reason.json")
    day = (now - timedelta(days=1)).strftime("%Y-%m-%d")
    assert json.loads(seal.read_text(encoding="utf-8"))["reason"] == f"retention ended {day}"
    assert states() == {}


def test_everything_made_from_a_file_is_listed(
    streets: Any,
    snapshot_stage: Any,
    cityforge: Callable[..., Result],
    make_package: Callable[..., Path],
) -> None:
    """A real registry with versions of the split that held the file, of others, and of unknown."""
    project, ids = streets.project, streets.ids
    snapshot_stage(project, Settings(), "streets")
    first = open_snapshot(streets.folder / "snapshot")[0].digest
    change_catalogue(streets.folder, FILM, retain_until=NOW)
    snapshot_stage(project, Settings(), "streets")
    second = open_snapshot(streets.folder / "snapshot")[0].digest
    record_split(streets.folder, "split one", "bins", first)
    write_json(
        project.build("bins") / "split" / "snapshot.json",
        {"digest": "split two", "dataset": {"dataset": "streets", "digest": second}},
    )
    versions = register_versions(
        project, make_package, ["split one", "split two", "unknown"], f"{ids[FILM]}-500"
    )
    told = json.loads(
        cityforge("withdraw", "streets", FILM, "--reason", "x", "--yes", "--json").stdout
    )
    assert [(e["kind"], e["name"], e["digest"], e["certain"]) for e in told["made"]] == [
        ("snapshot", "streets", first, True),
        ("package", "bins", "split one", True),
        ("report", "bins", "split one", True),
        ("split", "bins", "split one", True),
        ("version", "bins version 3", "unknown", False),
        ("version", "bins version 1", "split one", True),
    ]
    state = {each["name"]: each["state"] for each in told["made"]}
    assert state["bins version 1"] == f"champion, approved by 李雷, Bento {versions[0]}"
    assert state["bins version 3"] == "challenger"
    # A file that both snapshots held.
    still = json.loads(
        cityforge("withdraw", "streets", OTHER, "--reason", "x", "--yes", "--json").stdout
    )
    kinds = sorted(each["kind"] for each in still["made"])
    assert kinds == ["package", "snapshot", "snapshot", "split", "split", *["version"] * 3]
    # What was registered before a file was added cannot have held it.
    change_catalogue(streets.folder, "a.jpg", added_at=datetime.now(UTC) + timedelta(minutes=5))
    later = json.loads(
        cityforge("withdraw", "streets", "a.jpg", "--reason", "x", "--yes", "--json").stdout
    )
    assert [e["name"] for e in later["made"] if e["kind"] == "version"] == [
        "bins version 2",
        "bins version 1",
    ]


def register_versions(
    project: Any, make_package: Callable[..., Path], digests: list[str], shown: str
) -> list[str]:
    """Versions of algorithm bins from snapshots of these digests; the first is champion."""
    from cityforge.inference.package import About, write_about
    from cityforge.registry.approval import approve
    from cityforge.registry.bento import bento_home, bento_tag
    from cityforge.registry.versions import register
    from cityforge.training.tracking import experiment_id, tracking_client

    settings = Settings(tracking_uri="")
    client = tracking_client(project, settings)
    tags = []
    for number, digest in enumerate(digests):
        run = client.create_run(experiment_id(client, project, settings, "bins")).info.run_id
        folder = project.root / f"made{number}" / "package"
        if number == 0:
            folder = project.build("bins") / "package"
        package = make_package(folder, "bins", run)
        about = json.loads((package / "package.json").read_text(encoding="utf-8"))
        if number == 0:
            show_in_report(package, shown)
        write_about(package, About(**about | {"snapshot_digest": digest}))
        version = register(client, project, "bins", package, package.parent)
        tags.append(bento_tag(version))
        if number == 0:
            approve(client, project, "bins", 1, "李雷", "good")
            name, _, tag = bento_tag(version).partition(":")
            bento = bento_home(project) / "bentos" / name / tag
            bento.mkdir(parents=True)
            (bento / "bento.yaml").write_text("name: bins\n", encoding="utf-8")
    return tags


def show_in_report(package: Path, frame_id: str) -> None:
    """Name a frame among the best of the evidence, as a report shows it."""
    path = package / "evidence.json"
    evidence = json.loads(path.read_text(encoding="utf-8"))
    evidence["best_frames"] = [
        {"frame_id": frame_id, "camera": None, "captured_at": None, "missed": 0,
         "false_alarms": 0, "score": 0.0}
    ]  # fmt: skip
    path.write_text(json.dumps(evidence), encoding="utf-8")


def test_the_commands_bring_dvcs_pointers_up_to_date(
    streets: Any, cityforge: Callable[..., Result]
) -> None:
    root = streets.project.root
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet"], cwd=root, check=True)
    (root / ".gitignore").write_text("/datasets/*/footage/\n/datasets/*/labels/\n")
    add = [sys.executable, "-m", "dvc", "add", "--quiet"]
    subprocess.run([*add, "datasets/streets/footage", "datasets/streets/labels"], cwd=root)
    before = {p: (streets.folder / p).read_text() for p in ("footage.dvc", "labels.dvc")}
    done = cityforge("withdraw", "streets", FILM, "--reason", "x", "--yes")
    assert done.exit_code == 0, done.output
    status = [sys.executable, "-m", "dvc", "status"]
    assert "up to date" in subprocess.run(status, cwd=root, capture_output=True, text=True).stdout
    assert all((streets.folder / name).read_text() != text for name, text in before.items())
    assert not history_folder(streets.folder).exists()
