"""CVAT for video: tracks filled in as CVAT does it, frames and moments, and bad input."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from cityforge.errors import LabelError
from cityforge.labeling.formats import cvat_video
from cityforge.labeling.formats.cvat import kind_of
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage
from cityforge.labeling.matching import FrameFinder, FramesOfFilm


def box(frame: object, x: float, *, outside: int = 0, keyframe: int = 1, more: str = "") -> str:
    edges = f'xtl="{x}" ytl="{2 * x}" xbr="{x + 10}" ybr="{2 * x + 20}"'
    state = f'keyframe="{keyframe}" outside="{outside}" occluded="0"'
    return f'<box frame="{frame}" {state} {edges} {more}/>'


TASK = "<size>10</size>"
CAR = 'label="car"'


def video_file(folder: Path, *rows: str, task: str = TASK, label: str = CAR) -> Path:
    path = folder / "annotations.xml"
    path.write_text(
        f"<annotations><version>1.1</version><meta><task><id>4</id><mode>interpolation</mode>{task}"
        "<original_size><width>64</width><height>48</height></original_size>"
        "<source>北门.mp4</source></task></meta>"
        f'<track id="7" {label} source="manual">{"".join(rows)}</track></annotations>',
        encoding="utf-8",
    )
    return path


def left_edges(labels: LabelFile) -> dict[int, float]:
    numbers = [int(box.image[len("frame_") : -len(".jpg")]) for box in labels.boxes]
    assert len(set(numbers)) == len(numbers)
    return dict(zip(numbers, [box.x1 for box in labels.boxes], strict=True))


def test_boxes_between_keyframes_lie_on_the_line(tmp_path: Path) -> None:
    keys = {0: 0.0, 4: 10.0, 9: -5.5}
    labels = cvat_video.read(video_file(tmp_path, *(box(n, x) for n, x in keys.items())))
    expected = np.interp(np.arange(10), list(keys), list(keys.values()))
    assert left_edges(labels) == pytest.approx(dict(enumerate(expected)))
    for found in labels.boxes:
        sides = (found.y1, found.x2, found.y2)
        assert sides == pytest.approx((2 * found.x1, found.x1 + 10, 2 * found.x1 + 20))
    assert {(b.cls, b.track_id, b.origin) for b in labels.boxes} == {("car", "7", "human")}
    assert len(labels.images) == 10


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # outside ends the track; the line runs towards the outside box, as in CVAT
        ((box(0, 0), box(4, 8, outside=1)), {0: 0, 1: 2, 2: 4, 3: 6}),
        ((box(0, 0), box(2, 0, outside=1), box(8, 5)), {0: 0, 1: 0, 8: 5, 9: 5}),
        ((box(3, 1), box(4, 1, outside=1)), {3: 1}),
        # never outside: to the end of the task
        ((box(7, 3),), {7: 3, 8: 3, 9: 3}),
        # stated between keyframes, off the line: as it stands
        ((box(0, 0), box(1, 9, keyframe=0), box(2, 4), box(3, 4, outside=1)), {0: 0, 1: 9, 2: 4}),
        # rows in any order
        ((box(2, 4, outside=1), box(0, 0)), {0: 0, 1: 2}),
    ],
)
def test_track_is_filled_in_as_cvat_does(
    tmp_path: Path, rows: tuple[str, ...], expected: dict[int, float]
) -> None:
    labels = cvat_video.read(video_file(tmp_path, *rows))
    assert left_edges(labels) == pytest.approx(expected)
    assert (len(labels.images), labels.rejected) == (10, [])


@pytest.mark.parametrize(
    ("task", "numbers"),
    [
        ("<size>3</size>", [0, 1, 2]),
        ("<start_frame>4</start_frame><stop_frame>6</stop_frame>", [4, 5, 6]),
        (
            "<size>3</size><start_frame>4</start_frame><stop_frame>10</stop_frame>"
            "<frame_filter>step=3</frame_filter>",
            [4, 7, 10],
        ),
        ("", [4, 5, 6, 7]),
    ],
)
def test_only_frames_of_the_task_are_filled_in(
    tmp_path: Path, task: str, numbers: list[int]
) -> None:
    ends = (numbers[0], numbers[-1])
    labels = cvat_video.read(video_file(tmp_path, *(box(n, n) for n in ends), task=task))
    assert left_edges(labels) == pytest.approx({n: n for n in numbers})
    assert [image.name for image in labels.images] == [f"frame_{n:06d}.jpg" for n in numbers]


def test_film_and_number_pattern_find_the_moment(tmp_path: Path) -> None:
    labels = cvat_video.read(video_file(tmp_path, box(3, 1)))
    image = labels.images[3]
    assert (image.footage, image.pts_s, image.width, image.height) == ("北门.mp4", None, 64, 48)
    film = FramesOfFilm("北门.mp4", re.compile(r"(\d+)"), 25)
    footage = pa.table({"footage_id": ["f"], "name": ["北门.mp4"]})
    frames = pa.table(
        {
            "frame_id": ["a", "b"], "footage_id": ["f", "f"], "pts_s": [0.12, 0.16],
            "width": [64, 64], "height": [48, 48],
        }
    )  # fmt: skip
    found = FrameFinder(footage, frames, film).find(image)
    assert found.frame_id == "a"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("rows", "label", "usable", "refused"),
    [
        # a row that cannot be used breaks the line: frames beside it are listed, not guessed
        ((box(0, 0), box(2, 1, more='rotation="5"'), box(4, 4), box(5, 4, outside=1)),
         CAR, {0, 4}, {1, 2, 3}),
        ((box(0, 0), box("x", 1), box(2, 4), box(3, 4, outside=1)), CAR, {0, 2}, {1, None}),
        ((box(0, 0), box(-1, 1, outside=1)), CAR, {0}, {None, *range(1, 10)}),
        ((box(0, 0), box(10**9, 1), box(1, 1, outside=1)), CAR, {0}, {None}),
        ((box(0, 0), box(0, 5), box(1, 1, outside=1)), CAR, {0}, {0}),
        ((box(8, 0),), "", set(), {8, 9}),
        ((), CAR, set(), {None}),
        (('<polygon frame="0" points="0,0;9,9;0,9"/>', box(1, 1, outside=1)), CAR, set(), {0}),
        (('<points frame="0" points="0,0;9,9"/>', box(1, 1, outside=1)), CAR, set(), {0}),
    ],
)  # fmt: skip
def test_unusable_row_of_a_track_is_rejected(
    tmp_path: Path,
    rows: tuple[str, ...],
    label: str,
    usable: set[int],
    refused: set[int | None],
) -> None:
    labels = cvat_video.read(video_file(tmp_path, *rows, label=label))
    assert left_edges(labels).keys() == usable
    names = {None if n is None else f"frame_{n:06d}.jpg" for n in refused}
    assert {rejected.image for rejected in labels.rejected} == names


def test_polygon_track_is_boxed_where_it_is_stated(tmp_path: Path) -> None:
    shape = '<polygon frame="{}" outside="{}" points="1,5;9,2;4,8"/>'
    path = video_file(tmp_path, shape.format(0, 0), shape.format(2, 0), shape.format(3, 1))
    labels = cvat_video.read(path, polygons="box")
    assert left_edges(labels) == {0: 1, 2: 1}
    assert [rejected.image for rejected in labels.rejected] == ["frame_000001.jpg"]


def test_tracks_of_a_project_stand_in_their_own_film(tmp_path: Path) -> None:
    task = "<task><id>{}</id><size>1</size><source>{}</source></task>"
    tracks = [f'<track id="{k}" label="car" task_id="{k}">{box(0, k)}</track>' for k in (1, 2, 3)]
    path = tmp_path / "a.xml"
    path.write_text(
        f"<annotations><meta><project><tasks>{task.format(1, 'a.mp4')}{task.format(2, 'b.mp4')}"
        f"</tasks></project></meta>{''.join(tracks)}</annotations>"
    )
    labels = cvat_video.read(path)
    assert [(b.image, b.x1) for b in labels.boxes] == [
        ("a.mp4/frame_000000.jpg", 1),
        ("b.mp4/frame_000000.jpg", 2),
    ]
    assert [rejected.found for rejected in labels.rejected] == ["3"]


@pytest.mark.parametrize(
    "task",
    ["<size>x</size>", "<size>99999999999</size>", "<start_frame>-1</start_frame><size>1</size>"],
)
def test_frames_beyond_measure_are_refused(tmp_path: Path, task: str) -> None:
    with pytest.raises(LabelError, match="frame numbers and sizes"):
        cvat_video.read(video_file(tmp_path, box(0, 0), task=task))


def test_boxes_between_keyframes_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cvat_video, "MAX_FILLED", 8)
    with pytest.raises(LabelError, match="at most 8 boxes"):
        cvat_video.read(video_file(tmp_path, box(0, 0)))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("plain_tracks", [True, False])
@pytest.mark.parametrize("step", [0.04, 0.37123])
def test_films_survive_writing_and_reading(
    tmp_path: Path, film_labels: Callable[..., LabelFile],
    assert_same: Callable[[LabelFile, LabelFile], None], seed: int, plain_tracks: bool, step: float,
) -> None:  # fmt: skip
    labels = film_labels(seed, plain_tracks, step)
    target = tmp_path / "out"
    files = cvat_video.write(labels, target)
    assert len(files) == 3
    assert all(file.resolve().is_relative_to(target) for file in files)
    assert {kind_of(file) for file in files} == {"cvat_video"}
    assert_same(cvat_video.read(target), labels)


def one(**changes: object) -> LabelFile:
    image = LabelledImage(name="a.jpg", footage="a.mp4", pts_s=1.0, width=64, height=48)
    plain = LabelledBox(image="a.jpg", cls="car", x1=0, y1=0, x2=9, y2=9, where="", track_id="1")
    return LabelFile(source="x", images=[image], boxes=[replace(plain, **changes)])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (one(track_id=None), "without track id"),
        (one(track_id=""), "without track id"),
        (one(task="classification", x2=0, y2=0), "1 of classification"),
        (one(x1=float("nan")), "finite"),
        (one(cls="a\x00"), "XML keeps"),
        (replace(one(), boxes=one().boxes * 2), "twice"),
        (replace(one(), images=[replace(one().images[0], footage=None)]), "still"),
        (replace(one(), images=[*one().images, replace(one().images[0], name="b", width=9)]),
         "frames of one size"),
    ],
)  # fmt: skip
def test_what_video_cannot_hold_is_refused(tmp_path: Path, labels: LabelFile, words: str) -> None:
    with pytest.raises(LabelError, match=words):
        cvat_video.write(labels, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_one_file_holds_one_film(tmp_path: Path) -> None:
    assert cvat_video.write(one(), tmp_path / "a.xml") == [tmp_path / "a.xml"]
    other = replace(one().images[0], name="b.jpg", footage="b.mp4")
    two = replace(one(), images=[*one().images, other])
    with pytest.raises(LabelError, match="2 films"):
        cvat_video.write(two, tmp_path / "b.xml")
    with pytest.raises(LabelError, match="without other files"):
        cvat_video.write(two, tmp_path)


def test_given_frame_rate_numbers_the_frames(tmp_path: Path) -> None:
    (file,) = cvat_video.write(one(), tmp_path, frames_per_second=25)
    assert '<box frame="25"' in file.read_text()
    for rate in (0, float("inf"), 1e9):
        with pytest.raises(LabelError, match="second"):
            cvat_video.write(one(), tmp_path, frames_per_second=rate)
