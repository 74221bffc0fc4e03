"""`cityforge model compare` and `model failure`, run as a person runs them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import small_project
from small_project import CAR, NAME
from small_tasks import classified, counted

from cityforge.cli.model_compare import slice_rows
from cityforge.cli.model_failure import corners
from cityforge.errors import InputError
from cityforge.evaluation.evidence import Evidence
from cityforge.project import Project
from cityforge.registry.field_failures import failures_in_force
from cityforge.registry.registering import register
from cityforge.registry.site import Site
from cityforge.settings import Settings
from cityforge.training.tracking import experiment_id
from cityforge.trust.journal import open_journal


@dataclass(frozen=True)
class Said:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def project(tmp_path: Path) -> Project:
    found = small_project.make_project(tmp_path / "city")
    (found.root / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    return found


@pytest.fixture
def at(
    monkeypatch: pytest.MonkeyPatch, run_here: Callable[..., tuple[int, str, str]]
) -> Callable[..., Said]:
    """Run a command in a project, in this process."""

    def run(project: Project, *words: str) -> Said:
        os.environ["CITYFORGE_USER"] = "王芳"
        monkeypatch.chdir(project.root)
        return Said(*run_here(*words))

    return run


@pytest.fixture
def cityforge(at: Callable[..., Said], project: Project) -> Callable[..., Said]:
    """Run a command in the project that has no version."""
    return lambda *words: at(project, *words)


@pytest.fixture(scope="module")
def versions(
    make_package: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """Version 1 finds the car in every picture, version 2 finds nothing at all."""
    folder = tmp_path_factory.mktemp("versions")
    project = small_project.make_project(folder / "city")
    (project.root / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    site = Site(project, Settings(tracking_uri=""))
    experiment = experiment_id(site.client, project, site.settings, NAME)
    run_id = site.client.create_run(experiment).info.run_id
    for score, digest in ((0.9, small_project.DIGEST), (0.001, "77" * 32)):
        changes = {"passed": score > 0.5, "snapshot_digest": digest}
        made = make_package(folder / str(score) / "package", NAME, run_id, score, **changes)
        register(site, NAME, made, made.parent, who="王芳")
    return project


def test_compare_answers_the_same_frames_with_both(
    versions: Project, at: Callable[..., Said]
) -> None:
    said = at(versions, "model", "compare", NAME, "1", "2", "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert set(found) == {"same_snapshot", "metrics", "gates", "slices", "here", "not_run"}
    assert found["same_snapshot"] is False
    assert "the stored figures do not compare" in said.err
    recall = found["here"]["changes"]["recall"]
    assert (found["here"]["frames"], recall["this"], recall["champion"]) == (4, 1.0, 0.0)
    stored = {row["metric"]: (row["v1"], row["v2"]) for row in found["metrics"]}
    assert stored["map50"] == (0.9, 0.001)
    (gate,) = found["gates"]
    assert (gate["gate"], gate["v1"]["passed"], gate["v2"]["passed"]) == ("map50", True, False)
    # The table says the same.
    shown = at(versions, "model", "compare", NAME, "1", "2").out
    for text in ("on the same 4 frames", "0.900 passed", "0.001 NOT passed", "better"):
        assert text in shown


def test_compare_can_do_without_running(versions: Project, at: Callable[..., Said]) -> None:
    quick = at(versions, "model", "compare", NAME, "1", "2", "--quick", "--json")
    assert json.loads(quick.out)["here"] is None
    path = versions.build(NAME) / "split" / "snapshot.json"
    path.rename(path.with_suffix(".away"))
    said = at(versions, "model", "compare", NAME, "1", "2", "--json")
    path.with_suffix(".away").rename(path)
    assert (said.code, json.loads(said.out)["here"]) == (0, None)
    assert "not compared on the same frames: expected a split, found none" in said.err


@pytest.mark.parametrize(
    ("words", "said"), [(["1"], "name a second version"), (["1", "9"], "found '9'")]
)
def test_what_cannot_be_compared_is_one_line(
    versions: Project, at: Callable[..., Said], words: list[str], said: str
) -> None:
    refused = at(versions, "model", "compare", NAME, *words)
    assert (refused.code, len(refused.err.splitlines())) == (1, 1)
    assert said in refused.err


def test_slices_stand_side_by_side(case: Any) -> None:
    """A version that was measured on other cameras has a dash there."""
    one, few = case.evaluate(few=2), case.evaluate(few=1)
    rows = {row["slice"]: row for row in slice_rows("v1", one, "v2", few)}
    assert (rows["camera 北门"]["of"], rows["camera 北门"]["v1"][:5]) == ("map50", "1.000")
    assert rows["camera Old Harbour"]["v1"].endswith(", too few")
    assert not rows["camera Old Harbour"]["v2"].endswith(", too few")
    alone = slice_rows("v1", one, "v2", one.model_copy(update={"slices": []}))
    assert {row["v2"] for row in alone} == {None}


@pytest.mark.parametrize(("made", "main"), [(classified, "accuracy"), (counted, "mae")])
def test_slices_of_the_other_tasks(made: Callable[[], Evidence], main: str) -> None:
    rows = slice_rows("v1", made(), "v2", made())
    assert {row["of"] for row in rows} == {main}
    assert {row["slice"] for row in rows} >= {"camera 北门", "camera Old Harbour"}
    assert all(row["v1"] == row["v2"] for row in rows)


def test_a_failure_is_added_listed_and_removed(
    project: Project, cityforge: Callable[..., Said], make_picture: Callable[..., Path]
) -> None:
    make_picture(project.root / "路口.jpg")
    words = ["路口.jpg", "--class", CAR, "--box", "8,6,40,30", "--reason", "missed at dusk"]
    said = cityforge("model", "failure", "add", NAME, *words)
    assert (said.code, said.err) == (0, "")
    assert "from now on it is a gate" in said.out
    (row,) = json.loads(cityforge("model", "failure", "list", NAME, "--json").out)
    assert (row["of"], row["reason"], row["found"]) == (
        "路口.jpg",
        "missed at dusk",
        "not asked yet",
    )
    kept = project.algorithm_folder(NAME) / "failures" / f"{row['failure']}.json"
    content = json.loads(kept.read_text(encoding="utf-8"))
    assert content["expected"]["boxes"] == [{"class": CAR, "xyxy": [8.0, 6.0, 40.0, 30.0]}]
    (entry,) = open_journal(project, Settings()).entries(acts=("failure",))
    footage = content["footage_id"]
    assert entry.body == {
        "failure_id": row["failure"], "reason": "missed at dusk", "footage_id": footage,
    }  # fmt: skip
    assert (entry.by, entry.about) == ("王芳", NAME)
    again = cityforge("model", "failure", "add", NAME, *words)
    assert (again.code, "not recorded yet" in again.err) == (1, True)
    remove = ["model", "failure", "remove", NAME, row["failure"], "--reason"]
    assert cityforge(*remove[:-1]).code == 2
    assert "a reason, which stays on record" in cityforge(*remove, " ").err
    assert kept.exists()
    assert cityforge(*remove, "a drawing").code == 0
    (entry,) = open_journal(project, Settings()).entries(acts=("failure.remove",))
    assert (entry.by, entry.body) == (
        "王芳", {"failure_id": row["failure"], "reason": "a drawing"},
    )  # fmt: skip
    assert json.loads(cityforge("model", "failure", "list", NAME, "--json").out) == []
    assert not kept.exists()


def test_a_failure_whose_file_is_gone_is_on_record_until_it_is_removed(
    project: Project, cityforge: Callable[..., Said]
) -> None:
    frame = f"{4:016x}-0"
    said = cityforge("model", "failure", "add", NAME, frame, "--expect-none", "--reason", "x")
    assert said.code == 0, said.err
    (path,) = (project.algorithm_folder(NAME) / "failures").glob("*.json")
    path.unlink()
    entries = open_journal(project, Settings()).entries()
    assert [*failures_in_force(entries, NAME)] == [path.stem]
    words = ["model", "failure", "remove", NAME, path.stem, "--reason", "it was none"]
    assert cityforge(*words).code == 0
    assert failures_in_force(open_journal(project, Settings()).entries(), NAME) == {}
    assert "a confirmed failure" in cityforge(*words).err


def test_what_was_right_can_be_a_file_or_nothing(
    project: Project, cityforge: Callable[..., Said], make_film: Callable[..., Path]
) -> None:
    make_film(project.root / "夜.mp4")
    (project.root / "right.json").write_text(
        json.dumps({"absent": [{"class": CAR, "xyxy": [0, 0, 32, 48]}]}), encoding="utf-8"
    )
    frame = f"{4:016x}-0"
    for words, expected in (
        ([frame, "--expect", "right.json"], {"class": CAR, "xyxy": [0.0, 0.0, 32.0, 48.0]}),
        (["--clip", "夜.mp4", "--at", "0.5", "--expect-none"], {"class": None, "xyxy": None}),
    ):
        said = cityforge("model", "failure", "add", NAME, *words, "--reason", "x", "--json")
        assert said.code == 0, said.err
        assert json.loads(said.out)["expected"]["absent"] == [expected]
    rows = json.loads(cityforge("model", "failure", "list", NAME, "--json").out)
    assert {row["of"] for row in rows} == {frame, "夜.mp4 at 0.5 s"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["a.jpg", "--reason", "x"],
            "expected one of --expect, --expect-none and --class, found 0",
        ),
        (["a.jpg", "--reason", "x", "--expect-none", "--class", CAR], "found 2"),
        (["a.jpg", "--reason", "x", "--class", CAR], "a --box for each --class"),
        (["a.jpg", "--reason", "x", "--class", CAR, "--box", "1,2,3"], "found '1,2,3', in --box"),
        (["a.jpg", "--reason", "x", "--expect", "nope.json"], "found no file, in nope.json"),
        (["--reason", "x", "--expect-none"], "--clip FILE --at SECONDS, found none"),
        (["a.jpg", "--reason", "x", "--expect-none"], "found no file, in a.jpg"),
        (["77-0", "--reason", "x", "--expect-none"], "a stored frame or a picture file"),
        ([f"{4:016x}-0", "--expect-none"], "expected a reason"),
    ],
)
def test_what_is_refused_is_one_line(
    cityforge: Callable[..., Said], words: list[str], said: str
) -> None:
    refused = cityforge("model", "failure", "add", NAME, *words)
    assert (refused.code, len(refused.err.splitlines())) == (1, 1)
    assert said in refused.err


@pytest.mark.parametrize("text", ["", "1,2,3", "a,b,c,d", "1 2 3 4"])
def test_corners_are_four_numbers(text: str) -> None:
    with pytest.raises(InputError):
        corners(text)
