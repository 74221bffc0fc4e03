"""The pages of classification and density."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image
from small_tasks import DAY, FOG, classified, counted, label, labelled_several, predictions
from small_tasks import SEVERAL as SCORES

from cityforge.cards.algorithm import Gate
from cityforge.evaluation.headline import headline
from cityforge.evaluation.report import render, write_report
from cityforge.evaluation.shots import shot
from cityforge.evaluation.words import summary
from cityforge.inference.runtime import Answer
from cityforge.tables import LABELS, PREDICTIONS, from_rows
from cityforge.tasks.picture import decode


def text_of(page: str) -> str:
    return " ".join(
        re.sub(r"<[^>]*>", " ", re.sub(r"<style>.*?</style>", "", page, flags=re.S)).split()
    )


def test_the_page_of_classes_says_what_is_mistaken(tmp_path, grey_jpeg):
    path = write_report(
        tmp_path / "report.html", classified(), labels=LABELS.empty_table(),
        predictions=predictions(SCORES, "score"), read_frame=lambda _: grey_jpeg,
    )  # fmt: skip
    page = path.read_text(encoding="utf-8")
    text = text_of(page)
    for said in (
        "Of 100 pictures, it names the class of 67 rightly.", "1 of 2 gates not passed",
        "said fog · it is 白天", "What is mistaken for what", "Accuracy on validation pictures",
        "6 pictures that people looked at from 2 cameras", "白天, rightly", "too few",
    ):  # fmt: skip
        assert said in text, said
    # worst 2, best 3 of 4
    assert page.count('<svg class="shot"') == page.count("data:image/jpeg;base64,") == 5
    assert not re.search(r"https?://|url\(", re.sub(r"base64,[\w+/=]+", "", page))


def test_the_page_of_several_labels_shows_thresholds_and_no_matrix():
    evidence = classified(
        labels=labelled_several(), predictions=predictions(SCORES, "score"),
        class_thresholds={DAY: 0.5, FOG: 0.3}, gates=[],
    )  # fmt: skip
    text = text_of(render(evidence))
    assert "0.300" in text
    assert "F1 and score threshold" in text
    assert "What is mistaken for what" not in text


def test_the_page_of_counts_lays_the_map_over_the_frame(tmp_path, grey_jpeg):
    seen = []

    def answer(jpeg: bytes) -> Answer:
        seen.append(jpeg)
        height, width = decode(jpeg).shape[:2]
        density = np.zeros((2, 4, 5))
        density[0, 1, 1] = 2.0
        none = np.zeros((0, 4), np.float32)
        zero = np.zeros(0)
        return Answer(width, height, none, zero, zero, np.zeros(2), density, 80.0)

    points = [label("f1-0", DAY, "density", 100.0, 50.0), label("f1-0", DAY, "density", 9.0, 9.0)]
    page = write_report(
        tmp_path / "report.html", counted(), labels=from_rows(points, LABELS),
        predictions=predictions(SCORES, "value"), read_frame=lambda _: grey_jpeg, answer=answer,
    ).read_text(encoding="utf-8")  # fmt: skip
    text = text_of(page)
    for said in (
        "A picture holds 1.8 objects on average; the count is off by 0.5.", "at most 0.100",
        "10.0 estimated · 6 marked", "On the line the count is right", "1 of 2 gates not passed",
        "Mostly it counts too many.", "6 pictures with 21 objects marked by people",
    ):  # fmt: skip
        assert said in text, said
    assert len(seen) == page.count('<svg class="shot"') == 3 + 2
    assert page.count('<circle class="point" cx="100.0" cy="50.0"') == 1
    assert page.count('r="3.6"') == 2 * 12  # both charts, two classes
    assert not re.search(r"https?://|url\(", re.sub(r"base64,[\w+/=]+", "", page))


def test_a_large_frame_is_shrunk_with_its_map_and_points():
    stream = io.BytesIO()
    Image.new("RGB", (1280, 1024), (90, 90, 90)).save(stream, "JPEG")
    points = from_rows([label("f0-0", DAY, "density", 300.0, 500.0)], LABELS)
    density = np.zeros((1, 4, 5))
    density[0, 1, 1] = 3.0
    none, zero = np.zeros((0, 4), np.float32), np.zeros(0)
    answer = Answer(1280, 1024, none, zero, zero, np.array([3.0]), density, 256.0)
    drawn = shot(
        counted(), "f0-0", stream.getvalue(), points, PREDICTIONS.empty_table(), lambda _: answer
    )
    assert '<circle class="point" cx="150.0" cy="250.0"' in drawn
    (source,) = re.findall(r"base64,([\w+/=]+)", drawn)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(source)))).astype(int)
    assert picture.shape == (512, 640, 3)
    redder = picture[:, :, 0] - picture[:, :, 2]
    assert redder[192, 192] > 60  # the middle of the cell
    assert abs(redder[:60]).max() < 15
    assert abs(redder[:, 400:]).max() < 15


@pytest.mark.parametrize(
    ("gates", "said"),
    [
        ([Gate(metric="mae", ceiling=0.5)], ["at most 0.500"]),
        ([Gate(metric="mae", floor=0.5)], ["at least 0.500"]),
        (
            [Gate(metric="mae", floor=0.1), Gate(metric="rmse", ceiling=2.0)],
            ["at least 0.100", "at most 2.000"],
        ),
    ],
)
def test_gates_say_on_which_side_they_hold(gates, said):
    text = text_of(render(counted(gates=gates)))
    assert all(each in text for each in said)


def test_a_version_is_spoken_of_by_its_tasks_figures():
    assert headline("classification", {"accuracy": 0.9, "f1": 0.8, "map": None}) == (
        "Accuracy 0.900, F1 0.800, mAP –"
    )
    with pytest.raises(KeyError):
        headline("tracking", {})


def test_nothing_to_count_is_said():
    empty = from_rows([label("f0-0", None, "density")], LABELS)
    assert summary(counted(labels=empty, gates=[])).startswith("A picture holds 0.0 objects")
