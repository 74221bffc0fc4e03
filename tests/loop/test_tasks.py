"""Classes of frames and counts of objects: footage in, a registered version that answers out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scratch import cityforge, copy_project, git, trust_approver

from cityforge.evaluation.evidence import read_evidence
from cityforge.evaluation.report import AUGMENTED_SHOWN, BEST_SHOWN
from cityforge.inference.package import EVIDENCE_FILE, open_package

pytestmark = pytest.mark.slow

FRAMES = 40
SIZE = (96, 72)  # width, height
MOST_DOTS = 9
QUICK = {
    "data.input_width": 96,
    "data.input_height": 96,
    "data.workers": 0,
    "split.test": "{share: 0.25, pick: random}",
    "split.val": "{share: 0.25, pick: random}",
    "tune.trials": 0,
    "train.batch": 8,
    "train.ema_decay": 0.0,
    "train.augment.scale": "[1.0, 1.0]",
    "export.parity_frames": 4,
}


@dataclass(frozen=True)
class Made:
    """A task's project after its run, and a picture of what it learnt."""

    root: Path
    algorithm: str
    said: str
    pictures: Path

    @property
    def build(self) -> Path:
        return self.root / "algorithms" / self.algorithm / "build"

    def json(self, *words: str) -> Any:
        done = cityforge(self.root, *words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = copy_project(tmp_path_factory.mktemp("tasks") / "project")
    (root / "params.yaml").write_text("algorithms: {}\ndatasets: []\n", encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def classified(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Day and night, labelled by folder."""
    pictures = tmp_path_factory.mktemp("classes") / "frames"
    rng = np.random.default_rng(5)
    for number in range(FRAMES):
        name, light = (("白天", 190), ("night", 40))[number % 2]
        picture = rng.integers(light - 30, light + 30, (SIZE[1], SIZE[0], 3), np.uint8)
        write(pictures / name / f"{number:03d}.jpg", picture)
    made = Made(root, "daylight", "", pictures)
    labels = [str(pictures), "--format", "imagenet"]
    epochs = {"train.epochs": 12, "train.augment.colour": 0.0}
    return run(made, "weather", ["白天", "night"], "classification", labels, epochs)


@pytest.fixture(scope="module")
def counted(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """White dots on grey, each marked by a point."""
    pictures = tmp_path_factory.mktemp("counts") / "frames"
    rng = np.random.default_rng(6)
    images = []
    for number in range(FRAMES):
        picture = rng.integers(70, 110, (SIZE[1], SIZE[0], 3), np.uint8)
        dots = rng.uniform((8, 8), (SIZE[0] - 8, SIZE[1] - 8), (1 + number % MOST_DOTS, 2))
        for x, y in dots.round().astype(int).tolist():
            cv2.circle(picture, (x, y), 4, (250, 250, 250), -1)
        name = f"{number:03d}.jpg"
        write(pictures / name, picture)
        places = ";".join(f"{x:.1f},{y:.1f}" for x, y in dots)
        images.append(
            f'<image id="{number}" name="{name}" width="{SIZE[0]}" height="{SIZE[1]}">'
            f'<points label="人" occluded="0" points="{places}"/></image>'
        )
    labels = pictures.parent / "points.xml"
    text = "".join(images)
    labels.write_text(f"<annotations><version>1.1</version>{text}</annotations>", encoding="utf-8")
    made = Made(root, "crowd", "", pictures)
    epochs = {"train.epochs": 25, "train.learning_rate": 3e-3}
    return run(made, "plaza", ["人"], "density", [str(labels), "--format", "cvat_image"], epochs)


def write(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".jpg", picture)[1].tobytes())


def run(
    made: Made,
    dataset: str,
    classes: list[str],
    task: str,
    labels: list[str],
    params: dict[str, object],
) -> Made:
    """Walk the commands from the dataset's card to an approved version."""
    named = [word for name in classes for word in ("--class", name)]
    changes = [w for k, v in {**QUICK, **params}.items() for w in ("--set", f"{k}={v}")]
    reason = ["--override", "--reason", "a test of the loop"]
    said = ""
    for words in (
        ["dataset", "new", dataset, "--camera", "东门 1 号", *named],
        ["footage", "add", dataset, str(made.pictures), "--retain-until", "2099-01-01T00:00:00Z"],
        ["label", "import", dataset, *labels],
        ["algorithm", "new", made.algorithm, "--dataset", dataset, "--task", task,
         "--space", "living_and_crowds", "--title", f"{dataset} · 识别"],
        ["run", made.algorithm, *changes],
        ["model", "approve", made.algorithm, "--by", "王芳", *reason],
    ):  # fmt: skip
        if words[0] == "run":
            git(made.root, "add", "--all")
            git(made.root, "commit", "--quiet", "--message", made.algorithm)
        if words[1] == "approve":
            trust_approver(made.root, "王芳")
        done = cityforge(made.root, *words)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        said += done.stdout
    return Made(made.root, made.algorithm, said, made.pictures)


@pytest.fixture(params=["classified", "counted"])
def made(request: pytest.FixtureRequest) -> Iterator[Made]:
    yield request.getfixturevalue(request.param)


def test_a_run_registers_what_it_measured(made: Made) -> None:
    task, names = {
        "daylight": (
            "classification",
            {"accuracy", "f1", "f1_micro", "hamming_loss", "map", "precision", "recall"},
        ),
        "crowd": ("density", {"mae", "rmse", "relative_mae", "bias", "mean_count", "r2"}),
    }[made.algorithm]
    metrics = json.loads((made.build / "evaluate/metrics.json").read_text(encoding="utf-8"))
    assert set(metrics) == names
    evidence = read_evidence(made.build / "package" / EVIDENCE_FILE)
    package = open_package(made.build / "package")
    assert evidence.task == package.about.task == task
    assert package.about.evidence_digest == evidence.digest()
    assert dict(evidence.metrics) == metrics
    assert evidence.frame_count == FRAMES // 4
    assert evidence.notes == []
    shown = made.json("model", "show", made.algorithm)
    assert shown["approval"]["approver"] == "王芳"
    assert {name: shown[name] for name in names} == metrics
    assert f"{made.algorithm} version 1: " in made.said


def test_a_list_says_the_figures_of_each_task(classified: Made, counted: Made) -> None:
    listed = cityforge(classified.root, "model", "list").stdout
    assert "Accuracy " in listed
    assert "MAE " in listed
    assert "mAP50" not in listed


def test_the_report_shows_the_task_and_its_frames(made: Made) -> None:
    page = (made.build / "evaluate/report.html").read_text(encoding="utf-8")
    said = {
        "daylight": ("share of pictures named rightly", "白天", "What is mistaken for what"),
        "crowd": ("objects too many or too few a picture", "人", "Estimated and marked"),
    }[made.algorithm]
    for text in (*said, "东门 1 号", "Pictures as the network saw them", "May be approved"):
        assert text in page, text
    assert page.count("data:image/jpeg;base64,") >= BEST_SHOWN + AUGMENTED_SHOWN


def test_classes_are_answered_with_their_scores(classified: Made) -> None:
    about = open_package(classified.build / "package").about
    assert (about.several_labels, about.overlap, about.max_boxes) == (False, None, None)
    assert about.score_threshold == about.score_floor == 0.05
    evidence = read_evidence(classified.build / "package" / EVIDENCE_FILE)
    found = evidence.classification
    assert found is not None
    assert found.confusion is not None
    assert np.sum(found.confusion.matrix) == evidence.frame_count
    assert evidence.metrics["accuracy"] == 1.0  # bright and dark
    paths = [str(classified.pictures / name) for name in ("白天/000.jpg", "night/001.jpg")]
    answers = classified.json("predict", "daylight", *paths)["answers"]
    assert [each["classes"][0]["class"] for each in answers] == ["白天", "night"]
    assert all(0.5 < each["classes"][0]["score"] <= 1 for each in answers)


def test_counts_are_answered_for_each_class(counted: Made) -> None:
    about = open_package(counted.build / "package").about
    assert (about.several_labels, about.overlap, about.score_threshold) == (None, None, 0.0)
    evidence = read_evidence(counted.build / "package" / EVIDENCE_FILE)
    assert evidence.density is not None
    (pairs,) = evidence.density.pairs
    assert len(pairs.truth) == evidence.frame_count
    assert (evidence.gates[0].ceiling, evidence.passed) == (0.2, True)
    few, many = (str(counted.pictures / name) for name in ("000.jpg", f"{MOST_DOTS - 1:03d}.jpg"))
    answers = counted.json("predict", "crowd", few, many)["answers"]
    counts = [each["counts"][0]["count"] for each in answers]
    assert [each["counts"][0]["class"] for each in answers] == ["人", "人"]
    assert counts == pytest.approx([1, MOST_DOTS], abs=2)


def test_several_labels_get_a_threshold_each(classified: Made) -> None:
    changes = [w for k, v in QUICK.items() for w in ("--set", f"{k}={v}")]
    new = ["algorithm", "new", "scenes", "--dataset", "weather", "--space", "road_traffic",
           "--task", "classification", "--several-labels"]  # fmt: skip
    for words in (new, ["run", "scenes", *changes, "--set", "train.epochs=8"]):
        done = cityforge(classified.root, *words)
        assert done.returncode == 0, done.stdout + done.stderr
    package = classified.root / "algorithms/scenes/build/package"
    about, found = open_package(package).about, read_evidence(package / EVIDENCE_FILE)
    assert about.several_labels
    assert set(about.class_thresholds or {}) == {"白天", "night"}
    assert found.classification is not None
    assert found.classification.thresholds == pytest.approx(about.class_thresholds, abs=1e-6)
    assert found.classification.confusion is None
    assert found.gates[0].name == "map"
    picture = str(classified.pictures / "night/001.jpg")
    done = cityforge(classified.root, "predict", "scenes", picture, "--json")
    (answer,) = json.loads(done.stdout)["answers"]
    least = about.class_thresholds or {}
    assert all(each["score"] >= least[each["class"]] - 1e-4 for each in answer["classes"])
