"""Every kind of id is traced both ways, and the sums agree with the tables they came from."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from kept import (
    approved,
    digest,
    film_id,
    frame_id,
    frames_table,
    keep,
    label_id,
    labels_table,
    part,
    registered,
    subset_of,
)  # fmt: skip
from typer.testing import CliRunner

from cityforge.cli import main
from cityforge.dataset.history import record_snapshot, record_split
from cityforge.dataset.snapshot import write_json
from cityforge.errors import InputError, NameUnknown
from cityforge.inference.answers import AnswerLog, AnswerRow, request_id
from cityforge.project import Project
from cityforge.registry.lineage import basis_path
from cityforge.registry.records import Records
from cityforge.registry.site import Site
from cityforge.registry.standing import ACTS
from cityforge.registry.trace import trace
from cityforge.settings import Settings
from cityforge.trust.journal import signer_of

sys.path.insert(0, str(Path(__file__).parents[1] / "loop"))
from check_trace import check_requests

PEOPLE = ("li@city", "wang@city", None)
FILMS = range(8)
FRAMES = 4


@dataclass
class Town:
    """Two snapshots of dataset streets, and versions of tiny, heir, old and unknown."""

    project: Project
    frames: pa.Table
    labels: pa.Table
    asked: dict[str, list[str]]  # ids of answers by version

    @property
    def records(self) -> Records:
        site = Site(self.project, Settings(tracking_uri=""))
        return Records(self.project, site.journal.entries(acts=ACTS))

    def trace(self, text: str, **words: Any) -> dict[str, Any]:
        return trace(self.records, text, full=True, **words).as_dict()

    def rows(self, films: range = FILMS) -> list[dict[str, Any]]:
        ids = {film_id(each) for each in films}
        return [r for r in self.labels.to_pylist() if r["frame_id"].partition("-")[0] in ids]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    root = tmp_path_factory.mktemp("town")
    for name in ("dvc.yaml", "params.yaml"):
        (root / name).write_text("{}\n", encoding="utf-8")
    project = Project(root)
    frames = frames_table(FILMS, FRAMES)
    labels = labels_table(frames, 2, PEOPLE)
    some = frames.slice(0, 5 * FRAMES)
    theirs = labels.filter(pa.array([r in some["frame_id"].to_pylist()
                                     for r in labels["frame_id"].to_pylist()]))  # fmt: skip
    small = keep(project, "small", range(5), some, theirs)
    large = keep(project, "large", FILMS, frames, labels)
    splits = [
        part(project, "split small", small, some), part(project, "split large", large, frames),
        part(project, "split heir", large, frames, "heir"),
    ]  # fmt: skip
    record_snapshot(project.dataset_folder("streets"), digest("gone"), [film_id(1), film_id(90)])
    record_split(project.dataset_folder("streets"), digest("split gone"), "old", digest("gone"))
    _register(project, splits)
    basis = {
        "algorithm": "heir", "dataset": "streets", "snapshot": large, "split": splits[2],
        "lineage": "", "initial": {"source": "models:/tiny/1", "snapshot": splits[0]},
    }  # fmt: skip
    write_json(basis_path(project, "run of heir"), basis)
    return Town(project, frames, labels, _answer(project))


def _register(project: Project, splits: list[str]) -> None:
    site = Site(project, Settings(tracking_uri=""))
    signer = signer_of(site.journal, site.settings, "trainer")
    with site.journal.turn() as turn:
        for version, name, split, run in (
            (1, "tiny", splits[0], "a"), (2, "tiny", splits[1], "b"),
            (1, "heir", splits[2], "run of heir"), (1, "old", digest("split gone"), "c"),
            (1, "unknown", digest("nobody knows"), "d"),
        ):  # fmt: skip
            body = registered(version, split, name, run_id=run)
            entry = turn.append(signer, "register", name, body)
            if (name, version) == ("tiny", 2):
                turn.append(signer, "approve", name, approved(entry))


def _answer(project: Project) -> dict[str, list[str]]:
    """Five hundred answers of each version of tiny, as the endpoint logs them."""
    log = AnswerLog(project.work / "answers")
    found: dict[str, list[str]] = {}
    for version in (1, 2):
        package = digest(f"tiny {version} package")
        for number in range(500):
            row = AnswerRow(request_id(package), f"2026-03-0{1 + number % 3}T08:00:00.000+00:00",
                            "tiny", version, package, 1, 12.5)  # fmt: skip
            log.write(row)
            found.setdefault(f"tiny@{version}", []).append(row.request_id)
    return found


def versions_in(node: dict[str, Any]) -> dict[str, set[str]]:
    """Versions below each snapshot, forward."""
    return {
        each["id"]: {one["id"] for one in each.get("forward", ())}
        for each in node.get("forward", ())
        if each["kind"] == "snapshot"
    }


def test_a_thousand_answers_lead_to_labels_and_films_and_back(town: Town) -> None:
    asked = [each for ids in town.asked.values() for each in ids]
    assert len(set(asked)) == 1000
    seen = check_requests(town.records, asked)
    assert seen.requests == 1000
    assert seen.versions == {"tiny@1", "tiny@2"}
    learnt = [r for r in town.rows() if subset_of(r["frame_id"].partition("-")[0]) == "train"]
    assert seen.labels == {row["label_id"] for row in learnt}


def test_a_version_rests_on_every_label_of_its_split(town: Town) -> None:
    node = town.trace("tiny@2")
    assert (node["kind"], node["champion"], node["version"]) == ("version", True, 2)
    (snapshot,) = node["back"]
    held = snapshot["held"]
    found = {
        label: (frame, person, subset)
        for label, frame, person, subset in zip(
            held["label_id"], held["frame_id"], held["annotator"], held["subset"], strict=True
        )
    }
    assert found == {
        row["label_id"]: (
            row["frame_id"], row["annotator"], subset_of(row["frame_id"].partition("-")[0])
        )
        for row in town.rows()
    }  # fmt: skip
    parts = {each["id"]: each for each in snapshot["back"] if each["kind"] == "subset"}
    for name, each in parts.items():
        inside = [r for r in town.rows() if subset_of(r["frame_id"].partition("-")[0]) == name]
        assert each["labels"] == len(inside)
        assert each["frames"] == len({row["frame_id"] for row in inside})
        drawn = Counter(row["annotator"] or "" for row in inside)
        assert {one["id"]: one["labels"] for one in each["back"]} == drawn
    assert set(parts) == {"train", "val", "test"}
    films = [each for each in snapshot["back"] if each["kind"] == "film"]
    assert {each["id"]: each["subsets"] for each in films} == {
        film_id(each): {subset_of(film_id(each)): FRAMES} for each in FILMS
    }
    assert {(each["first_s"], each["last_s"]) for each in films} == {(0.0, 1.5)}


@pytest.mark.parametrize("text", ["tiny@1", "label", "li@city", "film", "frame", "1003"])
def test_forward_from_data_names_each_snapshot_and_version(town: Town, text: str) -> None:
    """Film 2 lies in both snapshots, film 7 in the large one alone."""
    both, large_only = {digest("small"): {"tiny@1", "heir@1"},
                        digest("large"): {"tiny@2", "heir@1"}}, {digest("large"):
                        {"tiny@2", "heir@1"}}  # fmt: skip
    if text == "tiny@1":
        node = town.trace(text)
        heirs = [each["id"] for each in node["forward"] if each["kind"] == "version"]
        assert heirs == ["heir@1"]
        return
    asked = {
        "label": (label_id(frame_id(2, 1), 0), label_id(frame_id(7, 1), 1)),
        "film": (film_id(2), film_id(7)), "frame": (frame_id(2, 1), frame_id(7, 3)),
        "li@city": ("li@city", None), "1003": ("1003", "1031"),
    }[text]  # fmt: skip
    assert versions_in(town.trace(asked[0])) == both
    if asked[1]:
        assert versions_in(town.trace(asked[1])) == large_only


def test_a_label_leads_to_its_annotator_and_the_second_of_its_film(town: Town) -> None:
    row = next(r for r in town.rows() if r["frame_id"] == frame_id(2, 3))
    node = town.trace(row["label_id"])
    assert (node["annotator"], node["annotation_id"]) == (row["annotator"], row["annotation_id"])
    (frame,) = node["back"]
    assert (frame["id"], frame["pts_s"]) == (frame_id(2, 3), 1.5)
    (film,) = frame["back"]
    assert (film["id"], film["name"], film["camera"]) == (film_id(2), "路口 2.mp4", "北门")
    assert town.trace("路口 2.mp4")["id"] == film_id(2)


def test_subsets_are_told_forward(town: Town) -> None:
    film, subset = next(
        (each, subset_of(film_id(each))) for each in range(5) if subset_of(film_id(each)) != "train"
    )
    node = town.trace(film_id(film))
    small = next(each for each in node["forward"] if each["id"] == digest("small"))
    told = {each["id"]: each.get("frames_by_subset") for each in small["forward"]}
    assert told == {"tiny@1": {subset: FRAMES}, "heir@1": None}


def test_a_warm_start_is_followed_to_its_snapshot(town: Town) -> None:
    own, parent = town.trace("heir@1")["back"]
    assert own["snapshot"] == digest("large")
    assert parent["id"] == "tiny@1"
    assert parent["back"][0]["snapshot"] == digest("small")


def test_where_labels_are_not_on_record_films_are(town: Town) -> None:
    (snapshot,) = town.trace("old@1")["back"]
    assert snapshot["dataset"] == "streets"
    assert {each["id"] for each in snapshot["back"]} == {film_id(1), film_id(90)}
    assert versions_in(town.trace(film_id(90))) == {digest("gone"): {"old@1"}}
    assert digest("gone") in versions_in(town.trace(film_id(1)))
    (nothing,) = town.trace("unknown@1")["back"]
    assert "back" not in nothing


@pytest.mark.parametrize(
    ("text", "kind", "of"),
    [
        (digest("tiny 2 package")[:8], "version", "tiny@2"),
        (digest("tiny 1 evidence"), "version", "tiny@1"),
        (digest("split large")[:16], "snapshot", digest("split large")),
        (digest("small")[:12], "snapshot", digest("small")),
        ("tiny", "endpoint", "tiny"),
        (f"tiny:v2-{digest('tiny 2 package')[:12]}", "bento",
         f"tiny:v2-{digest('tiny 2 package')[:12]}"),
        (f"digest:{digest('tiny 2 package')[:8]}", "version", "tiny@2"),
    ],
)  # fmt: skip
def test_digests_endpoints_and_bentos(town: Town, text: str, kind: str, of: str) -> None:
    node = town.trace(text)
    assert (node["kind"], node["id"]) == (kind, of)
    if kind in ("endpoint", "bento"):
        assert [each["id"] for each in node["back"]] == ["tiny@2"]


def test_older_requests_are_found_in_the_log_alone(town: Town, tmp_path: Path) -> None:
    package, old = digest("tiny 1 package"), "0" * 31 + "7"
    AnswerLog(town.project.work / "answers").write(
        AnswerRow(old, "2026-02-01T08:00:00.000+00:00", "tiny", 1, package, 1, 9.0)
    )
    assert [each["id"] for each in town.trace(old)["back"]] == ["tiny@1"]
    node = town.trace(f"{package[:16]}-{'f' * 32}")
    assert (node["answer"], node["back"][0]["id"]) == (None, "tiny@1")
    with pytest.raises(InputError, match="nothing on record"):
        town.trace("e" * 32)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nothing at all", "the id of a request, version, package"),
        ("tiny@9", "did you mean 'tiny@"),
        (frame_id(70, 1), "nothing on record"),
        ("film:" + label_id(frame_id(2, 1), 0), "nothing on record"),
    ],
)
def test_what_nothing_has_is_said_in_a_line(town: Town, text: str, said: str) -> None:
    with pytest.raises((InputError, NameUnknown), match="expected") as caught:
        town.trace(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_dataset_is_looked_at_when_it_is_asked(town: Town) -> None:
    assert town.trace(film_id(2), dataset="streets")["id"] == film_id(2)
    with pytest.raises(InputError):
        town.trace(film_id(2), dataset="lanes")


def test_the_command_draws_a_tree_and_says_how_much_more_there_is(town: Town) -> None:
    words = ["--project", str(town.project.root), "trace"]
    done = CliRunner().invoke(main.app, [*words, "tiny", "2"])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("tiny version 2: champion, approved by trainer")
    assert "… and 3 more of kind film: --all shows them" in done.stdout
    assert "500 answers on record" in done.stdout
    whole = CliRunner().invoke(main.app, [*words, "tiny@2", "--all"]).stdout
    assert "more of kind" not in whole
    assert sum(f"({film_id(each)})" in whole for each in FILMS) == len(FILMS)
    told = json.loads(CliRunner().invoke(main.app, [*words, "tiny@2", "--json"]).stdout)
    assert len(told["back"][0]["held"]["label_id"]) == len(town.rows())


def test_nothing_heavy_is_imported(town: Town) -> None:
    code = (
        "import sys\nfrom cityforge.cli.main import app\n"
        f"app(['--project', {str(town.project.root)!r}, 'trace', 'tiny@2'], "
        "standalone_mode=False)\n"
        "print([n for n in ('torch', 'mlflow', 'great_expectations', 'cv2', 'onnxruntime', "
        "'optuna', 'bentoml') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
