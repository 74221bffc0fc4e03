"""Clips through a real package: a network that finds the bright block of each half of a picture."""

from __future__ import annotations

import base64
import io
import json
import threading
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cityforge.cards.camera import CameraCard, Scene
from cityforge.errors import FootageError, InputError
from cityforge.inference.analysis import Asked, analyse
from cityforge.inference.package import open_package
from cityforge.inference.runtime import Model
from cityforge.inference.stream import Limits, Stream, looked_at
from cityforge.tasks.picture import fit

Make = Callable[..., Any]
WIDTH, HEIGHT = 64, 48
SCENE = {
    "width": WIDTH,
    "height": HEIGHT,
    "zones": {"below": [(0, 24), (64, 24), (64, 48), (0, 48)], "上": [(0, 0), (64, 0), (64, 23)]},
    "lines": {"line": [(32, 48), (32, 0)]},
}
RULES: list[dict[str, Any]] = [
    {"kind": "line_count", "name": "过线", "line": "line"},
    {"kind": "dwell", "name": "waits", "zone": "below", "seconds": 2.0},
    {"kind": "stopped", "name": "stands", "seconds": 2.0},
    {"kind": "absence", "name": "nobody", "zone": "below", "seconds": 0.8},
    {"kind": "speed", "name": "fast", "over_kmh": 10},
    {"kind": "dwell", "name": "elsewhere", "zone": "yard", "seconds": 1.0},
]


# Four seconds: above a block goes from the left to the right, below one stands from 1.0 s on.
DRIVE = [(n, 10 if n >= 10 else None) for n in range(40)]


def asked(**changes: Any) -> Asked:
    return Asked(scene=Scene.model_validate(SCENE), **changes)


@pytest.mark.parametrize("scale", [1, 4])
def test_a_clip_is_answered_with_tracks_events_and_totals(
    make_model: Make, make_clip: Make, scale: int
) -> None:
    found = analyse(make_model(RULES), make_clip(DRIVE, scale=scale), "路口.mp4", asked())
    assert found["clip"] == {
        "name": "路口.mp4", "width": 64 * scale, "height": 48 * scale, "seconds": 3.8,
        "frames": 20, "damaged": 0, "cut": "",
    }  # fmt: skip
    by_rule = {each["rule"]: each for each in found["events"]}
    assert set(by_rule) == {"过线", "waits", "stands", "nobody"}
    # Its middle is at the line when its left edge is at 26, at 2.6 s; it is clear of it at 2.8 s.
    crossing = by_rule["过线"]
    assert crossing["direction"] == "forward" and crossing["start_s"] in (2.4, 2.6)
    assert crossing["end_s"] == pytest.approx(crossing["start_s"] + 0.2)
    assert found["totals"] == [
        {"rule": "过线", "line": "line", "class_name": "汽车", "forward": 1, "backward": 0}
    ]
    stays = by_rule["waits"]
    assert (stays["start_s"], stays["end_s"], stays["going_on"]) == (1.0, 3.8, True)
    assert (by_rule["stands"]["start_s"], by_rule["stands"]["going_on"]) == (1.0, True)
    assert by_rule["stands"]["tracks"] == stays["tracks"] != crossing["tracks"]
    gone = by_rule["nobody"]
    assert (gone["start_s"], gone["end_s"], gone["confidence"]) == (0.0, 0.8, 1.0)
    tracks = {each["id"]: each for each in found["tracks"]}
    assert sorted(tracks) == [1, 2]
    assert tracks[1] == {
        "id": 1, "class_name": "汽车", "score": 1.0, "first_s": 0.0, "last_s": 3.8, "frames": 20,
        "kmh": None,
    }  # fmt: skip
    json.dumps(found, allow_nan=False)


def test_boxes_are_those_of_the_same_pictures(make_model: Make, make_clip: Make) -> None:
    import av
    import cv2

    model, clip = make_model(RULES), make_clip(DRIVE, scale=3)
    found = analyse(model, clip, "a.mp4", asked(fps=10.0))
    with av.open(str(clip)) as container:
        frames = [each.to_ndarray(format="bgr24") for each in container.decode(video=0)]
    assert len(frames) == len(found["frames"]) == 40
    for frame, shown in zip(frames, found["frames"], strict=True):
        (answer,) = model.answer([cv2.imencode(".png", frame)[1].tobytes()])
        boxes = [[each[edge] for edge in ("x1", "y1", "x2", "y2")] for each in shown["boxes"]]
        assert np.allclose(sorted(boxes), sorted(answer.xyxy.tolist()), atol=1e-3)


@pytest.mark.parametrize("size", [(640, 360), (48, 64), (3000, 1000)])
def test_a_frame_is_fitted_as_a_picture_is(size: tuple[int, int]) -> None:
    bgr = np.random.default_rng(2).integers(0, 255, (size[1], size[0], 3), np.uint8)
    looked = looked_at(1.0, bgr, size, (64, 48))
    expected = fit(np.ascontiguousarray(bgr[:, :, ::-1]), 64, 48)
    assert (looked.fitted.canvas == expected.canvas).all()
    assert looked.fitted.scale == expected.scale
    assert (looked.fitted.width, looked.fitted.height) == size
    assert max(looked.bgr.shape[:2]) == (960 if size[0] == 3000 else max(size))


def test_a_rule_without_its_zone_is_told_and_no_rule_is_lost(
    make_model: Make, make_clip: Make
) -> None:
    found = analyse(make_model(RULES), make_clip(DRIVE[:12]), "a.mp4", asked())
    assert found["skipped"] == [
        {"rule": "fast", "why": "expected ground points for a speed, found none in the request or "
         "the camera"},
        {"rule": "elsewhere",
         "why": "expected a zone 'yard', found 'below', '上' in the request or the camera"},
    ]  # fmt: skip
    bare = analyse(make_model(RULES), make_clip(DRIVE[:12]), "a.mp4", Asked())
    assert [each["rule"] for each in bare["skipped"]] == [
        "过线", "waits", "nobody", "fast", "elsewhere"
    ]  # fmt: skip
    assert bare["skipped"][0]["why"].startswith("expected a line 'line', found none")


def test_speed_is_told_from_the_ground_of_a_camera(make_model: Make, make_clip: Make) -> None:
    """One pixel is half a metre: the upper block drives a pixel in 0.1 s, 18 km/h."""
    camera = CameraCard.model_validate(
        {
            **SCENE, "name": "东门", "site": "gate",
            "ground": [{"pixel": [x, y], "metres": [x / 2, y / 2]}
                       for x, y in ((0, 0), (64, 0), (64, 48), (0, 48))],
        }
    )  # fmt: skip
    found = analyse(make_model(RULES), make_clip(DRIVE), "a.mp4", Asked(camera=camera))
    assert [each["kmh"] for each in found["tracks"]] == [
        pytest.approx(18, abs=0.2), pytest.approx(0, abs=0.2)
    ]  # fmt: skip
    (event,) = [each for each in found["events"] if each["kind"] == "speed"]
    assert (event["tracks"], event["value"]) == ([1], pytest.approx(18, abs=0.5))
    slow = analyse(make_model(RULES), make_clip(DRIVE), "a.mp4", Asked(camera=camera, fps=1.0))
    assert "at least 2 frames a second" in slow["skipped"][0]["why"]


@pytest.mark.parametrize(
    ("fps", "moments", "at_s"),
    [
        (5.0, None, [0, 0.2, 0.4, 0.6, 0.8]),
        (10.0, None, [n / 10 for n in range(10)]),
        (30.0, None, [n / 10 for n in range(10)]),  # none is repeated
        (4.0, None, [0, 0.3, 0.5, 0.8]),  # the first at or behind each step
        (1.0, None, [0]),
        (5.0, [0, 1, 2, 50, 51, 52, 53, 100, 101, 36000], [0, 0.2, 5.0, 5.2, 10.0, 3600.0]),
    ],
)
def test_frames_are_taken_by_their_time_stamps(
    make_model: Make, make_clip: Make, fps: float, moments: list[int] | None, at_s: list[float]
) -> None:
    found = analyse(make_model([]), make_clip(DRIVE[:10], moments=moments), "a.mp4", asked(fps=fps))
    assert [each["at_s"] for each in found["frames"]] == pytest.approx(at_s)


def test_the_end_that_is_not_looked_at_is_told(make_model: Make, make_clip: Make) -> None:
    clip = make_clip(DRIVE)
    found = analyse(make_model(RULES), clip, "a.mp4", asked(most_s=2.0))["clip"]
    assert (found["seconds"], found["frames"]) == (2.0, 11) and "first 2 s" in found["cut"]
    found = analyse(make_model(RULES), clip, "a.mp4", asked(most_frames=7))["clip"]
    assert found["frames"] == 7 and "7 frames" in found["cut"]
    whole = analyse(make_model(RULES), clip, "a.mp4", asked(most_frames=20, most_s=3.8))["clip"]
    assert whole["cut"] == ""


def test_an_answer_does_not_grow_without_end(
    make_model: Make, make_clip: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cityforge.inference.analysis.MOST_FOUND", 10)
    found = analyse(make_model(RULES), make_clip(DRIVE), "a.mp4", asked())
    assert found["clip"]["frames"] == 8 and "8 frames" in found["clip"]["cut"]


def test_events_beyond_the_most_are_counted_and_told(make_model: Make, make_clip: Make) -> None:
    there_and_back = [(n if n < 40 else 80 - n, None) for n in range(80)]
    rules = [RULES[0]]
    found = analyse(make_model(rules), make_clip(there_and_back), "a.mp4", asked(most_events=1))
    assert len(found["events"]) == 1
    assert found["totals"][0]["forward"] == found["totals"][0]["backward"] == 1
    assert found["skipped"] == [
        {"rule": "过线", "why": "expected at most 1 events of a clip, found 1 more of this"}
    ]


@pytest.mark.parametrize("evidence", [0, 1, 2, 3])
def test_evidence_is_drawn(make_model: Make, make_clip: Make, evidence: int) -> None:
    from PIL import Image

    found = analyse(
        make_model(RULES), make_clip(DRIVE, scale=20), "a.mp4", asked(evidence=evidence)
    )
    by_rule = {each["rule"]: each["evidence"] for each in found["events"]}
    assert {len(each) for each in by_rule.values()} <= set(range(evidence + 1))
    # The stay begins at 1.0 s, is one at 3.0 s and is looked at again a second later at the most.
    expected = {0: [], 1: [3.0], 2: [3.0], 3: [1.0, 3.0]}[evidence]
    assert [each["at_s"] for each in by_rule["stands"]] in (expected, [1.2, 3.0])
    for shots in by_rule.values():
        for shot in shots:
            picture = Image.open(io.BytesIO(base64.b64decode(shot["jpeg"])))
            assert (picture.format, picture.size) == ("JPEG", (960, 720))
            red, green, blue = (np.asarray(picture.convert("RGB"), int)[..., c] for c in range(3))
            # Zone, line, boxes and paths are the only colour in a grey clip.
            assert (np.maximum(red, green) - blue > 90).sum() > 300


def test_evidence_beyond_the_most_is_not_drawn_and_told(
    make_model: Make, make_clip: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cityforge.inference.analysis.MOST_DRAWN", 2)
    found = analyse(make_model(RULES), make_clip(DRIVE), "a.mp4", asked())
    drawn = [len(each["evidence"]) for each in found["events"]]
    assert sum(drawn) == 2 and len(drawn) == 4
    assert any("expected at most 2 drawn frames" in each["why"] for each in found["skipped"])


def test_what_is_no_clip_is_one_line_with_the_callers_name(
    make_model: Make, make_clip: Make, tmp_path: Path
) -> None:
    whole = make_clip(DRIVE).read_bytes()
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16000))
    sound_only = (tmp_path / "sound.wav").read_bytes()
    model, before = make_model(RULES), threading.active_count()
    contents = {"words": b"words", "empty": b"", "cut": whole[: len(whole) // 2], "s": sound_only}
    for name, content in contents.items():
        (tmp_path / "secret_place").write_bytes(content)
        with pytest.raises(FootageError, match=f"in {name}") as caught:
            analyse(model, tmp_path / "secret_place", name, asked())
        assert len(str(caught.value).splitlines()) == 1
        assert "secret_place" not in str(caught.value)
    assert threading.active_count() == before


def test_zones_of_another_shape_are_refused_before_more_is_read(
    make_model: Make, make_clip: Make
) -> None:
    before = threading.active_count()
    other = Asked(scene=Scene.model_validate({**SCENE, "height": 64}))
    with pytest.raises(InputError, match="64×64"):
        analyse(make_model(RULES), make_clip(DRIVE), "a.mp4", other)
    assert threading.active_count() == before


def test_a_damaged_clip_is_answered_and_says_so(
    make_model: Make, make_clip: Make, tmp_path: Path
) -> None:
    data = bytearray(make_clip(DRIVE, scale=4).read_bytes())
    start = data.index(b"mdat") + 4
    middle = start + (data.index(b"moov") - start) // 2
    data[middle : middle + 200] = bytes(200)
    (tmp_path / "b.mp4").write_bytes(data)
    found = analyse(make_model(RULES), tmp_path / "b.mp4", "b.mp4", asked(fps=10.0))
    assert found["clip"]["damaged"] > 0
    assert 10 < found["clip"]["frames"] < 40


def test_a_reader_that_leaves_ends_the_decoding(make_clip: Make) -> None:
    before = threading.active_count()
    with Stream(make_clip(DRIVE * 5), (WIDTH, HEIGHT), Limits(10, 3600, 10_000)) as stream:
        assert next(iter(stream)).at_s == 0
    assert threading.active_count() == before


def test_a_model_that_fails_ends_the_decoding(make_model: Make, make_clip: Make) -> None:
    model, before = make_model(RULES), threading.active_count()
    model._outputs = ["no such output"]
    with pytest.raises(Exception, match="no such output"):
        analyse(model, make_clip(DRIVE * 5), "a.mp4", asked())
    assert threading.active_count() == before


def test_weak_boxes_are_no_answer(make_package: Make, make_clip: Make, tmp_path: Path) -> None:
    rules = [{"kind": "presence", "name": "any", "seconds": 0.1, "gap_s": 0}]
    folder = make_package(tmp_path / "weak" / "package", "tiny", None, score=0.3, events=rules)
    found = analyse(Model(open_package(folder)), make_clip(DRIVE), "a.mp4", Asked())
    assert {len(each["boxes"]) for each in found["frames"]} == {0}
    assert (found["tracks"], found["events"]) == ([], [])


def test_classes_and_counts_of_whole_pictures(
    make_model: Make, make_film: Make, tmp_path: Path
) -> None:
    film = make_film(tmp_path / "a.mp4", [40] * 10 + [220] * 30)
    rule: dict[str, Any] = {
        "kind": "presence", "name": "bright", "classes": ["汽车"], "seconds": 2.0, "gap_s": 0.5,
    }  # fmt: skip
    found = analyse(make_model([rule], task="classification"), film, "a.mp4", Asked())
    (event,) = found["events"]
    assert (event["start_s"], event["end_s"], event["class_name"]) == (1.0, 3.8, "汽车")
    assert (event["going_on"], event["tracks"]) == (True, [])
    assert event["confidence"] == pytest.approx(220 / 255, abs=0.02)
    assert found["frames"][0]["classes"][0]["name"] == "bus" and len(event["evidence"]) == 1
    rule = {"kind": "crowding", "name": "full", "most": 30, "seconds": 2.0}
    found = analyse(make_model([rule], task="density"), film, "a.mp4", Asked())
    (event,) = found["events"]
    assert (event["start_s"], event["value"]) == (1.0, pytest.approx(48 * 220 / 255, abs=0.6))
    assert found["frames"][0]["counts"][0]["count"] == pytest.approx(48 * 40 / 255, abs=0.6)


def test_a_class_under_the_threshold_is_shown_and_no_event(
    make_model: Make, make_film: Make, tmp_path: Path
) -> None:
    """The network tells how bright a frame is; 0.55 is the likeliest class, and none is sure."""
    film = make_film(tmp_path / "a.mp4", [140] * 40)
    rule: dict[str, Any] = {
        "kind": "presence", "name": "bright", "classes": ["汽车"], "seconds": 1.0, "gap_s": 0.5,
    }  # fmt: skip
    for threshold, events in ((0.5, 1), (0.6, 0)):
        model = make_model([rule], task="classification", score_threshold=threshold)
        found = analyse(model, film, "a.mp4", Asked())
        assert found["frames"][0]["classes"][0]["name"] == "汽车"
        assert len(found["events"]) == events


@pytest.mark.parametrize(("dark", "marked"), [(40, True), (4, True), (2, False), (0, False)])
def test_marks_of_a_tenth_of_the_frames_are_of_the_clip(
    make_model: Make, make_film: Make, tmp_path: Path, dark: int, marked: bool
) -> None:
    """Of 40 frames, 10 a second, so many are dark; every second one is looked at."""
    film = make_film(tmp_path / "a.mp4", [10] * dark + [200] * (40 - dark))
    envelope = {"illumination": ["day", "infrared"]}
    model = make_model([], task="classification", envelope=envelope)
    found = analyse(model, film, "a.mp4", Asked())
    assert [each["what"] for each in found["outside"]] == ["too_dark"] * marked


def test_progress_is_told(make_model: Make, make_clip: Make) -> None:
    told: list[tuple[int, int]] = []
    analyse(make_model(RULES), make_clip(DRIVE), "a.mp4", asked(), lambda *at: told.append(at))
    assert [done for done, _ in told] == [8, 16, 20]
    assert {whole for _, whole in told} == {20}
