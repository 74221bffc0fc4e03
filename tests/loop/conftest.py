"""A scratch project with a small dataset of drawn street scenes, run once for all tests here."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from scratch import cityforge, copy_project, git, trust_approver

CLASSES = ["垃圾桶", "car"]
FRAMES = 48
# Small enough for seconds; what is measured here is the loop, not the model.
QUICK = {
    "data.input_width": 96,
    "data.input_height": 96,
    "data.workers": 0,
    "split.test": "{share: 0.25, pick: random}",
    "split.val": "{share: 0.25, pick: random}",
    "tune.trials": 2,
    "tune.epochs": 1,
    "train.epochs": 4,
    "train.batch": 8,
    "train.augment.mosaic": 0.0,
    "export.parity_frames": 4,
}


def draw_stills(folder: Path, count: int) -> Path:
    """Photographs with one green bin and one red car each, and a COCO file of their boxes."""
    rng = np.random.default_rng(5)
    folder.mkdir(parents=True)
    images, boxes = [], []
    for number in range(count):
        picture = rng.integers(90, 130, (120, 160, 3), np.uint8)
        name = f"街道 {number:03d}.jpg"
        images.append({"id": number, "file_name": name, "width": 160, "height": 120})
        for category, colour in ((1, (40, 160, 40)), (2, (40, 40, 200))):
            width, height = int(rng.integers(30, 60)), int(rng.integers(30, 60))
            x = int(rng.integers(0, 80 - width // 2)) + (80 if category == 2 else 0)
            x, y = min(x, 159 - width), int(rng.integers(0, 119 - height))
            cv2.rectangle(picture, (x, y), (x + width, y + height), colour, -1)
            boxes.append(
                {
                    "id": len(boxes),
                    "image_id": number,
                    "category_id": category,
                    "bbox": [x, y, width, height],
                    "iscrowd": 0,
                }
            )
        (folder / name).write_bytes(cv2.imencode(".jpg", picture)[1].tobytes())
    categories = [{"id": 1, "name": CLASSES[0]}, {"id": 2, "name": CLASSES[1]}]
    content = {"images": images, "annotations": boxes, "categories": categories}
    (folder / "标注.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return folder


def prepare(root: Path, stills: Path) -> Path:
    """A project with dataset 街道 (named streets) and algorithm bins, ready to run."""
    copy_project(root)
    (root / "params.yaml").write_text("algorithms: {}\ndatasets: []\n", encoding="utf-8")
    steps = [
        ["dataset", "new", "streets", "--title", "街道", "--camera", "东门 1 号", *classes()],
        [
            "footage",
            "add",
            "streets",
            str(stills),
            "--started-at",
            "2026-03-02T09:00:00Z",
            "--retain-until",
            "2099-01-01T00:00:00Z",
        ],
        ["label", "import", "streets", str(stills / "标注.json")],
        [
            "algorithm",
            "new",
            "bins",
            "--dataset",
            "streets",
            "--space",
            "street_environment",
            "--title",
            "垃圾桶识别",
        ],
    ]
    for words in steps:
        done = cityforge(root, *words)
        assert done.returncode == 0, f"{words}: {done.stderr}"
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "bins")
    return root


def classes() -> list[str]:
    return [word for name in CLASSES for word in ("--class", name)]


def settings(values: dict[str, object]) -> list[str]:
    """Command line words that set parameters."""
    return [word for key, value in values.items() for word in ("--set", f"{key}={value}")]


@pytest.fixture(scope="session")
def stills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_stills(tmp_path_factory.mktemp("source") / "stills", FRAMES)


@pytest.fixture(scope="session")
def loop(tmp_path_factory: pytest.TempPathFactory, stills: Path) -> Path:
    """The project after one whole run and an approval of what it registered."""
    root = prepare(tmp_path_factory.mktemp("loop") / "project", stills)
    ran = cityforge(root, "run", "bins", *settings(QUICK))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    trust_approver(root, "王芳")
    reason = ["--override", "--reason", "a test of the loop"]
    approved = cityforge(root, "model", "approve", "bins", "--by", "王芳", *reason)
    assert approved.returncode == 0, approved.stderr
    return root
