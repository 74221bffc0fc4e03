"""Clips: once, each second or each frame, by task; and what is no clip."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cityforge.errors import FootageError
from cityforge.inference.clips import answer_clip, is_picture
from cityforge.inference.package import open_package
from cityforge.inference.runtime import Model

Make = Callable[..., Path]
TASKS = ("detection", "classification", "density")
# Three seconds at ten frames a second, each half second brighter than the last.
GREYS = [40 + 30 * (number // 5) for number in range(30)]


@pytest.fixture
def opened(make_package: Make, tmp_path: Path) -> Callable[[str], Model]:
    return lambda task: Model(
        open_package(make_package(tmp_path / "made" / "p", "tiny", None, task=task))
    )


def test_detection_answers_every_frame(
    opened: Callable[[str], Model], make_film: Make, tmp_path: Path
) -> None:
    shown = list(answer_clip(opened("detection"), make_film(tmp_path / "a.mp4", GREYS)))
    assert [each.at_s for each in shown] == pytest.approx([number / 10 for number in range(30)])
    assert {len(each.answer.score) for each in shown} == {1}


def test_density_answers_every_second(
    opened: Callable[[str], Model], make_film: Make, tmp_path: Path
) -> None:
    shown = list(answer_clip(opened("density"), make_film(tmp_path / "a.mp4", GREYS)))
    assert [each.at_s for each in shown] == [0, 1, 2]
    counts = [float(each.answer.counts[0]) for each in shown]  # type: ignore[index]
    assert counts == pytest.approx([48 * GREYS[at] / 255 for at in (0, 10, 20)], abs=0.6)


def test_classification_answers_once_with_the_mean_of_two_frames_a_second(
    opened: Callable[[str], Model], make_film: Make, tmp_path: Path
) -> None:
    (shown,) = answer_clip(opened("classification"), make_film(tmp_path / "a.mp4", GREYS), 0.0)
    assert (shown.at_s, shown.frames) == (None, 6)
    bright = sum(GREYS[::5]) / 6 / 255
    found = dict(zip(shown.answer.cls.tolist(), shown.answer.score.tolist(), strict=True))
    assert found == pytest.approx({0: bright, 1: 1 - bright}, abs=0.02)


def test_a_clip_longer_than_a_batch_is_answered_whole(
    opened: Callable[[str], Model], make_film: Make, tmp_path: Path
) -> None:
    greys = [30] * 90 + [230] * 10  # the last tenth is bright
    film = make_film(tmp_path / "a.mp4", greys)
    (shown,) = answer_clip(opened("classification"), film, 0.0)
    assert shown.frames == 20
    found = dict(zip(shown.answer.cls.tolist(), shown.answer.score.tolist(), strict=True))
    assert found[0] == pytest.approx((18 * 30 + 2 * 230) / 20 / 255, abs=0.02)


@pytest.mark.parametrize("task", TASKS)
def test_what_is_no_clip_is_one_line(
    opened: Callable[[str], Model], make_film: Make, tmp_path: Path, task: str
) -> None:
    model = opened(task)
    whole = make_film(tmp_path / "a.mp4").read_bytes()
    for name, content in (
        ("words.txt", b"words"),
        ("empty.mp4", b""),
        ("cut.mp4", whole[: len(whole) // 2]),  # its index stood at the end
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FootageError, match=name) as caught:
            list(answer_clip(model, tmp_path / name))
        assert len(str(caught.value).splitlines()) == 1


def test_pictures_are_known_by_how_they_begin(
    make_picture: Make, make_film: Make, tmp_path: Path
) -> None:
    whole = make_picture(tmp_path / "a.mp4").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[:200])
    assert is_picture(tmp_path / "a.mp4")
    assert is_picture(tmp_path / "cut.jpg")
    assert not is_picture(make_film(tmp_path / "film.jpg.mp4"))
    (tmp_path / "empty.jpg").touch()
    assert not is_picture(tmp_path / "empty.jpg")
