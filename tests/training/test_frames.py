"""Frames that are odd just work, or end the training with one line that names them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scenes import card, jpeg, labelled, quick, squares, stored, trained

from cityforge.dataset.loader import LabelledFrames
from cityforge.errors import DataError
from cityforge.training.fit import make_learner


def picture(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (width, height), 90).save(stream, "JPEG", quality=30)
    return stream.getvalue()


def with_frame(folder: Path, data: bytes) -> dict[str, object]:
    """The squares, and one frame more among those to train on."""
    names = [f"f{number:03d}" for number in range(4)]
    drawn = {name: jpeg(number) for number, name in enumerate(names)}
    drawn["odd"] = (data, (1, 1, 9, 9))
    store = stored(folder / "frames", {name: found for name, (found, _) in drawn.items()})
    return {
        "store": store,
        "train_frames": labelled([*names[:3], "odd"], drawn),
        "val_frames": labelled(names[3:], drawn),
    }


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("damage", ["zeros", "cut"])
def test_a_broken_frame_is_named_in_one_line(damage: str, workers: int, tmp_path: Path) -> None:
    whole = jpeg(9)[0]
    data = bytes(len(whole)) if damage == "zeros" else whole[:100]
    with pytest.raises(DataError) as stopped:
        trained(
            tmp_path,
            frames=with_frame(tmp_path, data),
            params=quick(epochs=1, workers=workers),
        )
    line = str(stopped.value)
    assert "frame 'odd'" in line
    assert str(tmp_path / "frames" / "a.tar") in line
    assert "ingest" in line
    assert "\n" not in line and "Traceback" not in line and "Caught" not in line


def test_a_tiny_picture_just_works(tmp_path: Path) -> None:
    frames = with_frame(tmp_path, picture(16, 16))
    assert trained(tmp_path, frames=frames, params=quick(epochs=1))[0].epochs == 1


def test_a_picture_of_12000_by_9000_is_named_in_one_line(tmp_path: Path) -> None:
    frames = with_frame(tmp_path, picture(12_000, 9_000))
    with pytest.raises(DataError) as stopped:
        trained(tmp_path, frames=frames, params=quick(epochs=1))
    line = str(stopped.value)
    assert "frame 'odd'" in line and "12000×9000" in line and "100,000,000 pixels" in line
    assert "\n" not in line


def test_one_class_is_enough_and_a_class_without_a_label_is_no_harm(tmp_path: Path) -> None:
    params = quick(epochs=4)
    for classes in (("车",), ("车", "bus")):
        learner = make_learner(card(classes), params[1])
        outcome, _ = trained(tmp_path / classes[-1], learner=learner, params=params)
        assert outcome.best_score > 0.1, classes


def test_frames_without_any_label_are_background(tmp_path: Path) -> None:
    frames = squares(tmp_path / "frames")
    none = (np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    empty = LabelledFrames(frames["train_frames"].frame_ids, [none] * 8)
    outcome, _ = trained(tmp_path, frames=frames | {"train_frames": empty}, params=quick(epochs=1))
    assert np.isfinite(outcome.history[0]["train_loss"])
