"""A dataset of drawn stills: six scenes on grey, each with a red car and every other a blue bus."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))  # crossings.py, for tests that split

from cityforge.cards.dataset import Dataset
from cityforge.cards.params import AlgorithmParams, DataParams, TrainParams
from cityforge.cards.yaml_files import read_yaml
from cityforge.dataset.weather import WEATHER
from cityforge.footage.shards import FrameStore, read_shard, write_shard
from cityforge.tables import FRAMES, LABELS, from_rows

SIZE = (160, 120)
RED, BLUE = (220, 20, 20), (20, 20, 220)


@dataclass(frozen=True)
class Scenes:
    """Frames and labels as ingest and intake leave them."""

    frames: pa.Table
    labels: pa.Table
    store: FrameStore


def xyxy_of(number: int, cls: str) -> tuple[int, int, int, int]:
    x, y = (10 + 8 * number, 20) if cls == "汽车" else (90, 70)
    return x, y, x + 36, y + 30


@pytest.fixture
def scenes(tmp_path: Path) -> Scenes:
    members, labels = [], []
    for number in range(6):
        canvas = np.full((SIZE[1], SIZE[0], 3), 120, np.uint8)
        for cls, colour in (("汽车", RED), ("bus", BLUE))[: 1 + number % 2]:
            x1, y1, x2, y2 = xyxy_of(number, cls)
            canvas[y1:y2, x1:x2] = colour
            labels.append(
                {
                    "label_id": f"{number}{cls}", "frame_id": f"f{number}-0", "class": cls,
                    "task": "detection", "x1": x1, "y1": y1, "x2": x2, "y2": y2,
                    "source": "drawn", "origin": "human",
                }
            )  # fmt: skip
        stream = io.BytesIO()
        Image.fromarray(canvas).save(stream, "JPEG", quality=98, subsampling=0)
        members.append((f"f{number}-0.jpg", stream.getvalue()))
    write_shard(tmp_path / "shards" / "a.tar", members)
    rows = [
        {
            "frame_id": each.name[:-4], "footage_id": each.name[:-6], "pts_s": 0.0,
            "shard": "a.tar", "offset": each.offset, "bytes": len(each.data), "width": SIZE[0],
            "height": SIZE[1], "phash": "0" * 16, "sharpness": 1.0, "brightness": 120.0,
            "contrast": 1.0, "lighting": "day", "faults": [], "redactions": [],
        }
        for each in read_shard(tmp_path / "shards" / "a.tar")
    ]  # fmt: skip
    frames = from_rows(rows, FRAMES)
    return Scenes(frames, from_rows(labels, LABELS), FrameStore(tmp_path / "shards", frames))


@pytest.fixture
def card(make_card: Callable[..., Dataset]) -> Dataset:
    return make_card()


@pytest.fixture
def starter() -> AlgorithmParams:
    """The parameters that a new algorithm starts with."""
    with as_file(files("cityforge.cards") / "starter_files" / "params.yaml") as path:
        return AlgorithmParams.model_validate(read_yaml(path))


@pytest.fixture
def data(starter: AlgorithmParams) -> DataParams:
    return starter.data.model_copy(update={"input_width": 128, "input_height": 96, "workers": 0})


@pytest.fixture
def train(starter: AlgorithmParams) -> TrainParams:
    changes = {"mosaic": 0.5, "flip": 0.5, "colour": 0.5, "scale": (0.6, 1.5)}
    augment = starter.train.augment.model_copy(update=dict.fromkeys(WEATHER, 0.0) | changes)
    full = {"grow_from": 1.0, "grow_until": 0.0}
    return starter.train.model_copy(update={"batch": 3, "augment": augment, **full})
