"""Boxes drawn into pictures, the places of their labels, and charts."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from cityforge.errors import InputError
from cityforge.evaluation.charts import Axis, Line, fitted_axis, line_chart, share_axis
from cityforge.evaluation.pictures import Mark, draw_boxes, marks, place_labels, small_jpeg
from cityforge.tasks import fonts
from cityforge.tasks.boxes import Boxes


def one(cls: int, xyxy: tuple[float, float, float, float], score: float = 1.0) -> Boxes:
    return Boxes(
        np.zeros(1, np.int64),
        np.array([cls]),
        np.array([xyxy], np.float64),
        np.array([score], np.float32),
    )


def pixels(jpeg: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")).astype(int)


def test_drawing_changes_pixels_where_the_boxes_are_and_nowhere_else(grey_jpeg):
    found = one(0, (100, 100, 200, 200), 0.9)
    picture = pixels(draw_boxes(grey_jpeg, Boxes.empty(), found, ["car"]))
    changed = np.abs(picture - 90).max(axis=2) > 25
    assert changed[100:200, 99:103].mean() > 0.4  # its left side
    assert changed[84:100, 100:140].mean() > 0.9  # its label
    assert not changed[:70].any()
    assert not changed[220:].any()


def test_correct_missed_and_false_alarm_look_different(grey_jpeg):
    box = (100, 100, 200, 200)
    drawn = {
        name: pixels(draw_boxes(grey_jpeg, truth, found, ["car"]))[198:202, 110:190].mean(
            axis=(0, 1)
        )
        for name, truth, found in (
            ("correct", one(0, box), one(0, box, 0.9)),
            ("missed", one(0, box), Boxes.empty()),
            ("false alarm", Boxes.empty(), one(0, box, 0.9)),
        )
    }
    assert drawn["correct"][1] > drawn["correct"][0]  # green
    assert drawn["missed"][0] > drawn["missed"][2] + 20  # yellow
    assert drawn["missed"][1] > drawn["false alarm"][1] + 10  # red has less green than yellow


def test_a_chinese_name_is_drawn_and_not_a_row_of_empty_boxes(grey_jpeg):
    font = fonts.find_font()
    if font is None or font.name == "DejaVuSans.ttf":
        pytest.skip("no font that writes Chinese on this machine")
    box = one(0, (100, 100, 300, 200), 0.9)
    drawn = [
        pixels(draw_boxes(grey_jpeg, Boxes.empty(), box, [name])) for name in ("垃圾桶", "电动车")
    ]
    assert np.abs(drawn[0] - drawn[1]).max() > 100


def test_a_large_picture_is_shrunk_with_its_boxes():
    stream = io.BytesIO()
    Image.new("RGB", (1280, 720), (90, 90, 90)).save(stream, "JPEG", quality=95)
    found = one(0, (600, 400, 800, 600), 0.9)
    picture = pixels(draw_boxes(stream.getvalue(), Boxes.empty(), found, ["car"]))
    assert picture.shape == (360, 640, 3)
    assert np.abs(picture[250, 299:303] - 90).max() > 60  # the left side, at half the place
    assert pixels(small_jpeg(stream.getvalue(), 320)).shape == (180, 320, 3)


def test_what_is_no_picture_is_refused():
    with pytest.raises(InputError, match="expected a JPEG, found 4 other bytes"):
        small_jpeg(b"text")


def test_marks_say_what_became_of_each_box():
    truth, found = one(0, (0, 0, 10, 10)), one(1, (0, 0, 10, 10), 0.75)
    assert [(m.kind, m.text) for m in marks(truth, found, ["car", "bus"])] == [
        ("missed", "car"),
        ("false_alarm", "bus 0.75"),
    ]
    assert [(m.kind, m.text) for m in marks(truth, truth, ["car", "bus"])] == [
        ("truth", ""),
        ("correct", "car 1.00"),
    ]


def test_labels_do_not_cover_each_other_and_mistakes_keep_theirs():
    shapes = [Mark("correct", (50, 50, 90, 90), f"car {i}") for i in range(12)]
    shapes.append(Mark("missed", (50, 50, 90, 90), "bus"))
    placed = place_labels(shapes, 12, (200, 200))
    assert placed[0].kind == "missed"
    assert 1 < len(placed) < len(shapes)
    for i, a in enumerate(placed):
        for b in placed[:i]:
            apart = a.xyxy[0] >= b.xyxy[2] or b.xyxy[0] >= a.xyxy[2]
            assert apart or a.xyxy[1] >= b.xyxy[3] or b.xyxy[1] >= a.xyxy[3]


@pytest.mark.parametrize("xyxy", [(0, 0, 200, 200), (190, 190, 200, 200), (0, 0, 5, 5)])
def test_labels_stay_within_the_picture(xyxy):
    (label,) = place_labels([Mark("missed", xyxy, "a long name of a class")], 12, (200, 200))
    assert min(label.xyxy) >= 0
    assert max(label.xyxy) <= 200


def test_the_font_found_first_in_the_list_wins(tmp_path, monkeypatch):
    for name in ("DejaVuSans.ttf", "wqy-zenhei.ttc"):
        (tmp_path / name).touch()
    monkeypatch.setattr(fonts, "FOLDERS", (str(tmp_path),))
    fonts.find_font.cache_clear()
    assert fonts.find_font() == tmp_path / "wqy-zenhei.ttc"
    monkeypatch.setattr(fonts, "FOLDERS", ())
    fonts.find_font.cache_clear()
    assert fonts.find_font() is None
    assert fonts.load_font(12) is not None
    fonts.find_font.cache_clear()


def test_a_line_breaks_at_a_null_and_spans_the_axes():
    line = Line("<a>", [0, 0.5, 1], [0, None, 1])
    svg = line_chart([line], share_axis("x"), share_axis("y"), title="t")
    assert 'd="M46.0 276.0h0M506.0 14.0h0"' in svg
    assert "&lt;a&gt;" in svg


@pytest.mark.parametrize(
    ("values", "low", "expected"),
    [
        ([0.4, 3.9], 0, (0, 4)),
        ([0, 39], None, (0, 40)),
        ([5, 5], None, (5, 5.2)),
        ([], 0, (0, 1)),
        ([0.0100, 0.0002], 0, (0, 0.01)),
    ],
)
def test_a_fitted_axis_holds_its_values(values, low, expected):
    axis = fitted_axis("", values, low)
    assert isinstance(axis, Axis)
    assert all(axis.low <= value <= axis.high for value in values)
    assert (axis.low, axis.high) == pytest.approx(expected)
