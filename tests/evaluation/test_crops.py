"""Which misses and false alarms are shown, and what is said of them."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pyarrow as pa
import pytest
from detected import label, make_case, prediction
from PIL import Image

from cityforge.evaluation.crops import find_crops, worst_crops
from cityforge.evaluation.pictures import Mark, svg_crop
from cityforge.tables import FRAMES, LABELS, PREDICTIONS, from_rows
from cityforge.tasks.boxes import Boxes

CLASSES = ["car", "bus"]
A, B = (0.0, 0, 100, 100), (200.0, 0, 300, 100)
BESIDE = (40.0, 0, 140, 100)  # IoU with A: 60 / 140


def boxes(*rows: tuple[int, int, tuple[float, float, float, float], float]) -> Boxes:
    """Rows of frame, class, xyxy, score."""
    if not rows:
        return Boxes.empty()
    frame, cls, xyxy, score = zip(*rows, strict=True)
    return Boxes(np.array(frame), np.array(cls), np.array(xyxy, float), np.array(score, np.float32))


TRUTH = boxes((0, 0, A, 1.0))
CASES = [
    (TRUTH, boxes(), [("missed", "nothing was found there")]),
    (TRUTH, boxes((0, 0, A, 0.3)), [("missed", "only car 0.30, under the threshold")]),
    (TRUTH, boxes((0, 0, B, 0.3)), [("missed", "nothing was found there")]),
    (TRUTH, boxes((0, 0, A, 0.8)), []),
    (
        TRUTH,
        boxes((0, 1, A, 0.8)),
        [("missed", "taken for bus 0.80"), ("false_alarm", "marked as car")],
    ),
    (
        TRUTH,
        boxes((0, 0, BESIDE, 0.8)),
        [
            ("missed", "a box beside it: 43 of 100 overlap"),
            ("false_alarm", "box off the mark: 43 of 100 overlap"),
        ],
    ),
    (
        TRUTH,
        boxes((0, 0, A, 0.9), (0, 0, A, 0.8)),
        [("false_alarm", "second box of one object")],
    ),
    (
        boxes((0, 0, A, 1.0), (0, 0, A, 1.0)),
        boxes((0, 0, A, 0.9)),
        [("missed", "one box for two objects")],
    ),
    # Only a neighbour of another class overlaps a little: it is about nothing here.
    (
        TRUTH,
        boxes((0, 1, BESIDE, 0.8)),
        [("missed", "nothing was found there"), ("false_alarm", "nothing is marked there")],
    ),
    (boxes(), boxes((0, 0, A, 0.7)), [("false_alarm", "nothing is marked there")]),
]


@pytest.mark.parametrize(("truth", "found", "said"), CASES)
def test_what_became_of_a_mistake_is_said(truth, found, said):
    crops = find_crops(truth, found, ["f-0"], CLASSES, 0.5)
    assert [(c.kind, c.said) for c in crops] == said


def test_the_largest_misses_and_the_surest_alarms_come_first():
    def side(n: float) -> tuple[float, float, float, float]:
        return (0.0, 0.0, n, n)

    truth = boxes((0, 0, side(10), 1.0), (1, 0, side(90), 1.0), (2, 1, side(50), 1.0))
    far = (500.0, 500, 600, 600)
    found = boxes((0, 0, far, 0.6), (1, 0, far, 0.9), (2, 1, far, 0.7))
    crops = find_crops(truth, found, ["a-0", "b-0", "c-0"], CLASSES, 0.5)
    assert [(c.kind, c.frame) for c in crops] == [
        ("missed", 1), ("missed", 2), ("missed", 0),
        ("false_alarm", 1), ("false_alarm", 2), ("false_alarm", 0),
    ]  # fmt: skip


def test_one_of_each_film_and_class_comes_before_a_second():
    far = (500.0, 500, 600, 600)
    rows = [(i, 0, far, 0.9 - i / 100) for i in range(7)] + [(7, 0, far, 0.51), (6, 1, far, 0.5)]
    ids = [f"film-{i}" for i in range(7)] + ["other-0"]
    crops = find_crops(boxes(), boxes(*rows), ids, CLASSES, 0.5)
    assert [c.frame for c in crops] == [0, 7, 6, 1, 2, 3]


def test_a_crop_holds_the_box_and_shows_it_in_its_surroundings():
    picture = Image.new("RGB", (1920, 1080), (90, 90, 90))
    picture.paste((250, 0, 0), (1000, 500, 1100, 600))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=95)
    box = (1000.0, 500, 1100, 600)
    svg = svg_crop(stream.getvalue(), box, [Mark("missed", box, "car")])
    (source,) = re.findall(r"base64,([\w+/=]+)", svg)
    cut = np.asarray(Image.open(io.BytesIO(base64.b64decode(source)))).astype(int)
    assert cut.shape == (240, 320, 3)
    red = (cut[:, :, 0] - cut[:, :, 1]) > 100
    rows, columns = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
    found = re.search(r'<rect class="missed" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)"', svg)
    assert found is not None
    x, y, width = map(float, found.groups())
    assert columns[0] == pytest.approx(x, abs=3)
    assert rows[0] == pytest.approx(y, abs=3)
    assert columns[-1] - columns[0] == pytest.approx(width, abs=4)
    assert 0.02 < red.mean() < 0.5


@pytest.mark.parametrize(
    ("size", "xyxy"),
    [
        ((64, 48), (0.0, 0, 64, 48)),
        ((64, 200), (10.0, 150, 60, 200)),
        ((400, 100), (0.0, 90, 5, 100)),
        ((96, 96), (-20.0, -20, 400, 400)),
    ],
)
def test_a_crop_stays_within_its_picture(size, xyxy):
    stream = io.BytesIO()
    Image.new("RGB", size, (90, 90, 90)).save(stream, "JPEG")
    svg = svg_crop(stream.getvalue(), xyxy, [Mark("missed", xyxy, "a very long name of a class")])
    (source,) = re.findall(r"base64,([\w+/=]+)", svg)
    cut = np.asarray(Image.open(io.BytesIO(base64.b64decode(source)))).astype(int)
    assert cut.min() > 60  # black would be outside


def test_only_frames_that_people_looked_at_are_judged(grey_jpeg):
    case = make_case("car", "bus", "tram")
    nobody = prediction("f0-9", "car", 0.99, A)
    predictions = pa.concat_tables([case.predictions, from_rows([nobody], PREDICTIONS)])
    elsewhere = from_rows([label("f9-0", "car", A)], LABELS)  # of train: no answer, no miss
    labels = pa.concat_tables([case.labels, elsewhere])
    given = (case.evaluate(), labels, predictions, lambda _: grey_jpeg)
    stray = {**case.frames.to_pylist()[0], "frame_id": "f0-9"}
    frames = pa.concat_tables([case.frames, from_rows([stray], FRAMES)])
    for known in (None, frames):
        shown = worst_crops(*given, known, case.footage)
        assert {kind: len(crops) for kind, crops in shown.items()} == {
            "missed": 2, "false_alarm": 2,
        }  # fmt: skip
        assert ("北门", "2026-03-01 08:01") in [crop.where for crop in shown["missed"]]


def test_a_frame_without_any_answer_still_counts_as_missed(grey_jpeg):
    case = make_case("car", "bus", "tram")
    none = case.predictions.slice(0, 0)
    shown = worst_crops(
        case.evaluate(predictions=none), case.labels, none, lambda _: grey_jpeg, case.frames
    )
    assert len(shown["missed"]) == 4
