"""A withdrawal as people walk it: the commands ask, list what was made of a film, and seal it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from pyarrow.parquet import read_table
from typer.testing import CliRunner, Result

from cityforge.cards.dataset import Dataset
from cityforge.cli import expiry, footage_law
from cityforge.cli.expiry import leave_expired, shut_in
from cityforge.dataset.history import history_folder, record_split
from cityforge.dataset.snapshot import open_snapshot, write_json
from cityforge.errors import CityforgeError
from cityforge.footage.catalogue import (
    add_footage,
)
from cityforge.footage.lawful import barred
from cityforge.footage.listing import list_files
from cityforge.footage.recordings import Recording
from cityforge.footage.sealing import withdraw_all
from cityforge.footage.seals import read_seals, read_with_seals
from cityforge.project import Project
from cityforge.registry.bento import bento_home, bento_tag
from cityforge.registry.site import Site
from cityforge.registry.standing import ACTS, standing
from cityforge.registry.versions import find_version
from cityforge.settings import Settings
from cityforge.trust.journal import act, signer_of

sys.path.insert(0, str(Path(__file__).parents[1] / "registry"))
from kept import approved, registered
from withdrawals import FILM, NOW, OTHER, WHO, change_catalogue


@pytest.fixture
def cityforge(streets: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    """Run `footage withdraw` or `footage expire` in the project."""
    monkeypatch.setenv("CITYFORGE_USER", WHO)
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
    tag = register_versions(
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
        ("version", "bins version 1", "split one", True),
        ("version", "bins version 3", "unknown", False),
    ]
    state = {each["name"]: each["state"] for each in told["made"]}
    # How they stood when it was withdrawn.
    assert state["bins version 1"] == f"champion, approved by {WHO}, Bento {tag}"
    assert state["bins version 3"] == "registered"
    now = standing(Site(project, Settings()).journal.entries(acts=ACTS), "bins")
    assert now.champion is None
    assert [len(now.versions[each].open_withdrawals) for each in (1, 2, 3)] == [1, 0, 0]
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
) -> str:
    """Versions of algorithm bins from snapshots of these digests; the first is champion.

    Its package lies in the build folder, and its Bento is built; the Bento's tag.
    """
    site = Site(project, Settings(tracking_uri="", one_person=True))
    signer = signer_of(site.journal, site.settings, WHO)
    entries = [
        act(site.journal, site.settings, signer, "register", "bins",
            registered(number, digest, "bins", created_at=datetime.now(UTC).isoformat()))
        for number, digest in enumerate(digests, start=1)
    ]  # fmt: skip
    act(site.journal, site.settings, signer, "approve", "bins", approved(entries[0]))
    package = make_package(project.build("bins") / "package", "bins", "run1")
    show_in_report(package, shown)
    about = json.loads((package / "package.json").read_text(encoding="utf-8"))
    write_json(package / "package.json", about | {"snapshot_digest": digests[0]})
    tag = bento_tag(find_version(site, "bins", 1), project.root)
    name, _, version = tag.partition(":")
    bento = bento_home(project) / "bentos" / name / version
    bento.mkdir(parents=True)
    (bento / "bento.yaml").write_text("name: bins\n", encoding="utf-8")
    return tag


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


@pytest.fixture
def colleague(
    streets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Project, Path]:
    """Another checkout with all the data on its disk, which shares the journal of the first."""
    root = tmp_path / "colleague"
    shutil.copytree(streets.project.root, root)
    monkeypatch.setenv("CITYFORGE_JOURNAL", f"sqlite:///{tmp_path / 'journal.db'}")
    return Project(root), root / "datasets" / "streets"


def test_a_withdrawn_film_on_a_colleagues_disk_is_left_out(
    streets: Any,
    colleague: tuple[Project, Path],
    snapshot_stage: Any,
    cityforge: Callable[..., Result],
    make_card: Callable[..., Dataset],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    theirs, folder = colleague
    snapshot_stage(theirs, Settings(), "streets")
    assert shut_in(folder, "snapshot") == set()
    done = cityforge("withdraw", "streets", FILM, "--reason", "当事人要求", "--yes")
    assert done.exit_code == 0, done.output
    # Nothing on the colleague's disk says so: the journal does.
    gone = streets.ids[FILM]
    assert read_seals(folder) == {}
    assert dict(barred(read_with_seals(folder), datetime.now(UTC)))[gone].endswith(": 当事人要求")
    assert shut_in(folder, "snapshot") == shut_in(folder, "frames") == {gone}  # `run` makes it anew
    run: list[tuple[str, ...]] = []
    monkeypatch.setattr(expiry, "dvc", lambda _, *words, **__: run.append(words))
    leave_expired(theirs, "streets")
    assert [words[-1] for words in run] == ["ingest@streets", "snapshot@streets"]
    assert all("--force" in words for words in run)
    assert f"{gone} was withdrawn and still lies on this disk" in capsys.readouterr().err
    snapshot_stage(theirs, Settings(), "streets")
    frames = open_snapshot(folder / "snapshot")[1]["frame_id"].to_pylist()
    left = {each.partition("-")[0] for each in frames}
    assert left == set(streets.ids.values()) - {gone}
    # The same content again, where the catalogue never knew it.
    (original,) = folder.glob(f"footage/{gone}*")
    kept = shutil.copy(original, theirs.root / "again.mp4")
    shutil.rmtree(folder / "footage")
    again = add_footage(make_card(), folder, list_files([kept]), {}, Recording("北门"))
    assert [each.found.partition(" on ")[0] for each in again.refused] == ["one withdrawn"]
    assert again.added == []


def test_a_colleague_seals_with_the_time_and_reason_on_record(
    streets: Any,
    colleague: tuple[Project, Path],
    cityforge: Callable[..., Result],
) -> None:
    theirs, folder = colleague
    done = cityforge("withdraw", "streets", FILM, "--reason", "当事人要求", "--yes")
    assert done.exit_code == 0, done.output
    (sealed,) = withdraw_all(folder, {streets.ids[FILM]: "mine"}, datetime.now(UTC), "somebody")
    (first,) = read_seals(streets.folder).values()
    assert (sealed.reason, sealed.by, sealed.withdrawn_at) == (
        "当事人要求", WHO, first["withdrawn_at"]
    )  # fmt: skip
    assert len(Site(theirs, Settings()).journal.entries("dataset:streets")) == 1


def test_a_withdrawal_that_was_cut_short_after_it_was_on_record_is_finished(
    streets: Any, cityforge: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["withdraw", "streets", FILM, "--reason", "first", "--yes"]
    with monkeypatch.context() as patched:
        patched.setattr(footage_law, "seal", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert cityforge(*words).exit_code != 0
    assert streets.left_of(FILM)  # not sealed, and barred all the same
    assert streets.ids[FILM] in barred(read_with_seals(streets.folder), datetime.now(UTC))
    done = cityforge(*words[:-2], "second", "--yes", "--json")
    assert json.loads(done.stdout)["sealed"]["reason"] == "first"
    assert streets.left_of(FILM) == []
    entries = Site(streets.project, Settings()).journal.entries("dataset:streets")
    assert [each.body["reason"] for each in entries] == ["first"]


def test_the_plan_says_what_is_left_and_what_to_run(
    streets: Any, cityforge: Callable[..., Result]
) -> None:
    done = cityforge("withdraw", "streets", FILM, "--reason", "x", "--yes", "--json")
    plan = json.loads(done.stdout)["plan"]
    labels = read_table(streets.folder / "labels" / "labels.parquet")["class"].to_pylist()
    assert plan["frames"] == len(labels) / 2 == 5
    assert plan["labels"] == {name: labels.count(name) for name in ("汽车", "bus")}
    assert plan["short"] == []
    assert plan["commands"][-1].startswith("dvc gc")
