"""Fight or no fight: from clips in class folders to an answer for each clip never learnt from."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "loop"))

from scratch import cityforge, copy_project, git

from cityforge.project import Project
from cityforge.tasks.classification.decode import clip_scores, decode_classes
from cityforge.training.data import open_training_data

CLASSES = ["打架", "no_fight"]
CLIPS = 120  # of each class
WIDTH, HEIGHT, RATE, FRAMES = 128, 96, 10, 20
PEOPLE = 5


def film(path: Path, rng: np.random.Generator, fights: bool) -> None:
    """Five people on a square: walking apart from each other, or in a scuffle."""
    import av

    ground = rng.integers(60, 170, 3) + rng.integers(-20, 20, (HEIGHT, WIDTH, 1))
    middle = rng.uniform((30, 30), (WIDTH - 30, HEIGHT - 30))
    columns = (np.arange(PEOPLE) + 0.5) * WIDTH / PEOPLE
    rows = rng.uniform(25, HEIGHT - 25, PEOPLE)
    apart = np.stack([columns + rng.uniform(-6, 6, PEOPLE), rows], 1)
    pace = rng.uniform(-1, 1, (PEOPLE, 2))
    coats = rng.integers(0, 255, (PEOPLE, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"g": "10", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = Fraction(1, RATE)
        for number in range(FRAMES):
            canvas = ground.clip(0, 255).astype(np.uint8)
            for who in range(PEOPLE):
                at, lean = apart[who] + pace[who] * number, 0.0
                if fights:
                    at, lean = middle + rng.normal(0, 9, 2), rng.uniform(-80, 80)
                person(canvas, at, lean, coats[who].tolist())
            frame = av.VideoFrame.from_ndarray(canvas, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def person(canvas: Any, at: Any, lean: float, coat: list[int]) -> None:
    x, y = round(float(at[0])), round(float(at[1]))
    cv2.ellipse(canvas, (x, y), (5, 12), lean, 0, 360, coat, -1)
    angle = np.deg2rad(lean)
    head = (round(x + 14 * float(np.sin(angle))), round(y - 14 * float(np.cos(angle))))
    cv2.circle(canvas, head, 4, (225, 180, 150), -1)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "clips"
    rng = np.random.default_rng(4)
    for number in range(CLIPS):
        film(folder / CLASSES[0] / f"{number:03d}.mp4", rng, fights=True)
        film(folder / CLASSES[1] / f"{number:03d}.mp4", rng, fights=False)
    return folder


def run(root: Path, *words: str) -> str:
    done = cityforge(root, *words)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_fights_are_told_from_clips_to_answers(
    tmp_path: Path, clips: Path, make_asked: Callable[..., Any], train_on: Callable[..., Any]
) -> None:
    root = copy_project(tmp_path / "project")
    (root / "params.yaml").write_text("algorithms: {}\ndatasets: []\n", encoding="utf-8")
    named = [word for name in CLASSES for word in ("--class", name)]
    run(root, "dataset", "new", "square", "--title", "广场", "--camera", "东门", *named)
    when = ["--started-at", "2026-03-02T09:00:00Z", "--retain-until", "2099-01-01T00:00:00Z"]
    run(root, "footage", "add", "square", str(clips), *when)
    said = run(root, "label", "import", "square", str(clips), "--format", "clips", "--json")
    taken = json.loads(said)
    assert taken["rejected"] == []
    assert taken["boxes"] == taken["images"] == 2 * CLIPS * FRAMES // RATE
    run(root, "algorithm", "new", "fights", "--dataset", "square", "--title", "打架识别",
        "--space", "living_and_crowds", "--task", "classification")  # fmt: skip
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "fights")
    run(root, "run", "fights", "--stage", "split",
        "--set", "split.test={share: 0.25, pick: random}")  # fmt: skip

    asked = make_asked(CLASSES, size=(128, 96), epochs=20, patience=20, ema_decay=0.95)
    project = Project(root)
    data = open_training_data(project, project.algorithm("fights"))
    learnt = train_on(
        asked, tmp_path / "kept", data.store, data.subset("train"), data.subset("val")
    )
    answers = by_clip(learnt, data)
    right = sum(said == true for said, true in answers.values())
    seen = {
        "clips": len(answers), "right": right, "seconds": learnt.history[-1]["seconds"],
        "val_score": [row["val_score"] for row in learnt.history],
    }  # fmt: skip
    (tmp_path / "seen.json").write_text(json.dumps(seen))
    assert len(answers) >= 50
    assert right / len(answers) >= 0.95, seen


def by_clip(learnt: Any, data: Any) -> dict[str, tuple[str, str]]:
    """The answer and the truth of each clip of the test subset."""
    frames = data.subset("test")
    of_clip: dict[str, list[int]] = {}
    for row, frame_id in enumerate(frames.frame_ids):
        of_clip.setdefault(frame_id.partition("-")[0], []).append(row)
    scores = learnt.scores(frames, data.store)
    found = {}
    for clip, rows in of_clip.items():
        cls, _ = decode_classes(clip_scores(scores[rows]), score_floor=0.01, several_labels=False)
        truth = {int(frames.boxes[row][1][0]) for row in rows}
        assert len(truth) == 1
        found[clip] = (CLASSES[cls[0]], CLASSES[truth.pop()])
    return found
