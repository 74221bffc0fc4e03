"""Each image of a label file finds its stored frame, or the reason why there is none."""

from __future__ import annotations

import re

import pytest

from cityforge.labeling.formats.rows import LabelledImage, Rejected
from cityforge.labeling.matching import FrameFinder, FramesOfFilm, StoredFrame
from cityforge.tables import FOOTAGE, FRAMES, from_rows

# footage_id: (name, moments in milliseconds)
STORED = {
    "s1": ("train/images/a.jpg", [0]),
    "s2": ("valid/images/a.jpg", [0]),
    "s3": ("train/images/街 1.jpg", [0]),
    "s4": ("b.jpg", [0]),
    "s5": ("deep/b.jpg", [0]),
    "f1": ("北门/早.mp4", [0, 500, 1000, 1500]),
    "f2": ("new.mp4", []),
}


def finder(film: FramesOfFilm | None = None) -> FrameFinder:
    footage = [
        {
            "footage_id": key, "path": key, "name": name, "camera": "c", "duration_s": 0.0,
            "width": 64, "height": 48, "codec": "x", "frames": 1, "errors": 0, "lawful_basis": "x",
        }
        for key, (name, _) in STORED.items()
    ]  # fmt: skip
    frames = [
        {
            "frame_id": f"{key}-{moment}", "footage_id": key, "pts_s": moment / 1000, "shard": "s",
            "offset": 0, "bytes": 1, "width": 64, "height": 48, "phash": "0", "sharpness": 0.0,
            "brightness": 0.0, "contrast": 1.0, "lighting": "day", "faults": [], "redactions": [],
        }
        for key, (_, moments) in STORED.items()
        for moment in moments
    ]  # fmt: skip
    return FrameFinder(from_rows(footage, FOOTAGE), from_rows(frames, FRAMES), film)


def image(name: str, footage: str | None = None, pts_s: float | None = None) -> LabelledImage:
    return LabelledImage(name=name, footage=footage, pts_s=pts_s, where="row 7")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train/images/a.jpg", "s1-0"),
        ("valid/images/a.jpg", "s2-0"),
        ("my_export/valid/images/a.jpg", "s2-0"),  # the file's own folders above
        ("/mnt/data/train/images/街 1.jpg", "s3-0"),
        ("街 1.jpg", "s3-0"),  # only its base name
        ("images/街 1.jpg", "s3-0"),
        ("deep/b.jpg", "s5-0"),
        ("b.jpg", "s4-0"),  # its whole name, though another one ends with it
        ("f1-500.jpg", "f1-500"),  # a frame id
        ("some/folder/f1-1500.png", "f1-1500"),
    ],
)
def test_a_still_is_found_by_its_name_or_a_shorter_ending(name: str, expected: str) -> None:
    assert finder().find(image(name)) == StoredFrame(expected, 64, 48)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a.jpg", "2 files of that name; give its folder too"),
        ("images/a.jpg", "2 files of that name; give its folder too"),
        ("c.jpg", "no footage of that name"),
        ("new.mp4", "no frame stored of it"),
    ],
)
def test_an_image_without_its_frame_says_why(name: str, reason: str) -> None:
    found = finder().find(image(name))
    assert found == Rejected(where="row 7", reason=reason, found=name)


@pytest.mark.parametrize(
    ("footage", "pts_s", "expected"),
    [
        ("北门/早.mp4", 0.5, "f1-500"),
        ("早.mp4", 1.5, "f1-1500"),
        ("北门/早.mp4", 1.0149, "f1-1000"),  # nearer than two hundredths of a second
        ("北门/早.mp4", -0.01, "f1-0"),
    ],
)
def test_a_moment_of_a_film_is_found(footage: str, pts_s: float, expected: str) -> None:
    found = finder().find(image("whatever", footage, pts_s))
    assert found == StoredFrame(expected, 64, 48)


def test_a_moment_that_was_not_sampled_names_the_nearest() -> None:
    found = finder().find(image("whatever", "北门/早.mp4", 0.75 - 0.05))
    assert isinstance(found, Rejected)
    assert found.reason == "no stored frame at 0.700 s; the nearest is at 0.500 s"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("frame_0000_jpg.rf.9.jpg", "f1-0"),
        ("train/frame_0005_jpg.rf.1.jpg", "f1-500"),
        ("frame_0015.png", "f1-1500"),
    ],
)
def test_pictures_cut_from_a_film_are_found_by_their_number(name: str, expected: str) -> None:
    film = FramesOfFilm("早.mp4", re.compile(r"frame_(\d+)"), per_second=10)
    assert finder(film).find(image(name)) == StoredFrame(expected, 64, 48)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("picture_5.jpg", r"no number where the pattern frame_(\d+) looks for it"),
        ("frame_0006.jpg", "no stored frame at 0.600 s; the nearest is at 0.500 s"),
    ],
)
def test_pictures_cut_from_a_film_without_a_frame_say_why(name: str, reason: str) -> None:
    film = FramesOfFilm("早.mp4", re.compile(r"frame_(\d+)"), per_second=10)
    found = finder(film).find(image(name))
    assert isinstance(found, Rejected)
    assert (found.reason, found.found, found.where) == (reason, name, "row 7")
