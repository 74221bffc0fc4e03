"""Confirmed failures: what is asked of a picture, what counts as right, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import small_project
from small_project import BUS, CAR, DATASET, NAME

from cityforge.cards.dataset import Dataset
from cityforge.errors import CityforgeError, DataError, FootageError, InputError, NameUnknown
from cityforge.evaluation.confirmed import (
    Taken,
    add_failure,
    expected_of,
    remove_failure,
    taken_frame,
    taken_moment,
    taken_picture,
)
from cityforge.evaluation.failures import Expected, Failure, read_failures, repeat_failures
from cityforge.evaluation.proof import FailureResult
from cityforge.footage.catalogue import read_catalogue
from cityforge.footage.detectors import open_detectors
from cityforge.footage.lawful import barred
from cityforge.footage.redact import decode_jpeg
from cityforge.footage.seals import read_with_seals, with_marks
from cityforge.footage.shards import FrameStore
from cityforge.footage.stills import encode_jpeg, still_bgr
from cityforge.inference.package import open_package
from cityforge.inference.runtime import Model
from cityforge.project import Project
from cityforge.tables import FOOTAGE, FRAMES, read_table, write_table

NOW = datetime(2026, 3, 9, 8, tzinfo=UTC)
HERE = [8, 6, 40, 30]  # where the model of detection finds its car in any picture
NEAR = [10, 6, 42, 30]  # IoU 0.88
FAR = [30, 20, 62, 44]  # IoU 0.08


def box(cls: str | None, xyxy: list[int] | None) -> dict[str, Any]:
    return {"class": cls, "xyxy": xyxy}


def counted(cls: str, count: float, tolerance: float) -> dict[str, Any]:
    return {"class": cls, "count": count, "tolerance": tolerance}


@pytest.fixture
def suite(tmp_path: Path, make_package: Callable[..., Path]) -> Callable[..., FailureResult]:
    """Add a failure on a grey picture to a suite and ask a model of `task` for it."""

    def ask(task: str, grey: int, **expected: Any) -> FailureResult:
        folder = tmp_path / "failures"
        taken = Taken(small_project.jpeg(grey), None, None, "gate.jpg")
        wanted = Expected.model_validate(expected)
        add_failure(folder, taken, wanted, "missed at dusk", "王芳", NOW)
        package = make_package(tmp_path / "made" / "package", NAME, None, 0.9, task=task)
        results = repeat_failures(
            read_failures(folder), folder, Model(open_package(package)), lambda _: b"", {}, print
        )
        assert len(results) == 1
        return results[0]

    return ask


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ({"boxes": [box(CAR, HERE)]}, ""),
        ({"boxes": [box(CAR, NEAR)]}, ""),
        ({"boxes": [box(CAR, FAR)]}, "no 汽车 at 30 20 62 44"),
        ({"boxes": [box(BUS, HERE)]}, "no bus at 8 6 40 30"),
        # One box answers one: the second car is missed.
        ({"boxes": [box(CAR, HERE), box(CAR, NEAR)]}, "no 汽车 at 10 6 42 30"),
        ({"absent": [box(BUS, None)]}, ""),
        ({"absent": [box(CAR, None)]}, "reported 汽车 0.90 at 8 6 40 30"),
        ({"absent": [box(None, None)]}, "reported 汽车 0.90 at 8 6 40 30"),
        ({"absent": [box(CAR, [20, 10, 30, 20])]}, "reported 汽车 0.90 at 8 6 40 30"),
        ({"absent": [box(CAR, [40, 30, 60, 44])]}, ""),
        (
            {"boxes": [box(CAR, FAR)], "absent": [box(CAR, None)]},
            "no 汽车 at 30 20 62 44; reported 汽车 0.90 at 8 6 40 30",
        ),
        ({"boxes": [box("tram", HERE)]}, "does not know tram"),
    ],
)
def test_boxes(suite: Callable[..., FailureResult], expected: dict[str, Any], found: str) -> None:
    result = suite("detection", 90, **expected)
    assert (result.passed, result.found) == (not found, found or "as it should be")
    assert result.said == "missed at dusk"


@pytest.mark.parametrize(
    ("grey", "expected", "found"),
    [  # as bright as the picture is, so likely is the first class
        (200, {"classes": [CAR]}, ""),
        (50, {"classes": [CAR]}, "no 汽车, found bus"),
        (50, {"classes": [BUS]}, ""),
        (150, {"classes": [BUS]}, "no bus, found 汽车"),  # which is over its threshold, too
        (50, {"absent": [box(CAR, None)]}, ""),
        (200, {"absent": [box(CAR, None)]}, "reported 汽车"),
    ],
)
def test_classes(
    suite: Callable[..., FailureResult], grey: int, expected: dict[str, Any], found: str
) -> None:
    result = suite("classification", grey, **expected)
    assert (result.passed, result.found) == (not found, found or "as it should be")


@pytest.mark.parametrize(
    ("count", "tolerance", "found"),
    [  # 48 cells, each as full as the picture is bright: 127.5 / 255 of each
        (24, 1.0, ""),
        (23, 1.0, ""),
        (20, 2.0, "counted 23.9 汽车, not 20 ± 2"),
        (0, 0.5, "counted 23.9 汽车, not 0 ± 0.5"),
    ],
)
def test_counts(
    suite: Callable[..., FailureResult], count: float, tolerance: float, found: str
) -> None:
    result = suite("density", 127, counts=[counted(CAR, count, tolerance)])
    assert (result.passed, result.found) == (not found, found or "as it should be")


@pytest.mark.parametrize(
    ("content", "task", "said"),
    [
        ({}, "detection", "boxes, absent, classes or counts"),
        ({"boxs": []}, "detection", "Extra inputs are not permitted, in boxs"),
        ({"boxes": [box(CAR, [8, 6, 8, 30])]}, "detection", "x1 < x2"),
        ({"boxes": [box("buss", HERE)]}, "detection", "did you mean 'bus'?"),
        ({"classes": [CAR]}, "detection", "expected boxes or absent (task detection)"),
        ({"boxes": [box(CAR, HERE)]}, "density", "expected counts (task density)"),
        ({"classes": [CAR, BUS]}, "classification", "expected one class of the picture"),
    ],
)
def test_what_was_right_is_held_against_the_algorithm(
    tmp_path: Path, content: dict[str, Any], task: str, said: str
) -> None:
    card = small_project.make_project(tmp_path / "city", task).algorithm(NAME)
    with pytest.raises(CityforgeError) as refused:
        expected_of(content, card, several_labels=False)
    assert said in str(refused.value)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return small_project.make_project(tmp_path / "city")


def added(project: Project, taken: Taken, reason: str = "missed", **expected: Any) -> Failure:
    folder = project.algorithm_folder(NAME) / "failures"
    wanted = Expected.model_validate(expected or {"boxes": [box(CAR, HERE)]})
    return add_failure(folder, taken, wanted, reason, "王芳", NOW)


def dataset(project: Project) -> tuple[Dataset, Path]:
    return project.dataset(DATASET), project.dataset_folder(DATASET)


def test_a_stored_frame_is_kept_by_its_id_alone(project: Project) -> None:
    frame = f"{6:016x}-0"
    found = added(project, taken_frame(*dataset(project), frame, NOW))
    folder = project.algorithm_folder(NAME) / "failures"
    assert (found.frame_id, found.picture, found.footage_id) == (frame, None, f"{6:016x}")
    assert {path.name for path in folder.iterdir()} == {"README.md", f"{found.failure_id}.json"}
    assert read_failures(folder) == [found]
    with pytest.raises(InputError, match="not recorded yet"):
        added(project, taken_frame(*dataset(project), frame, NOW))
    assert remove_failure(folder, found.failure_id) == found
    assert read_failures(folder) == []
    with pytest.raises(NameUnknown):
        remove_failure(folder, found.failure_id)


def test_a_frame_that_is_not_stored_or_not_lawful_is_refused(project: Project) -> None:
    with pytest.raises(NameUnknown, match="expected a stored frame or a picture file"):
        taken_frame(*dataset(project), "0000000000000077-0", NOW)
    withdraw(project, f"{6:016x}")
    with pytest.raises(NameUnknown, match="expected a stored frame that may be used"):
        taken_frame(*dataset(project), f"{6:016x}-0", NOW)


def withdraw(project: Project, footage_id: str) -> None:
    folder = project.dataset_folder(DATASET)
    mark = {"withdrawn_at": datetime(2026, 3, 8, tzinfo=UTC), "reason": "a privacy request"}
    table = with_marks(read_catalogue(folder), {footage_id: mark})
    write_table(table, FOOTAGE, folder / "footage" / "footage.parquet")


def test_failures_of_withdrawn_footage_are_left_out_and_said(
    project: Project, make_package: Callable[..., Path], tmp_path: Path
) -> None:
    card, folder = dataset(project)
    kept = added(project, taken_frame(card, folder, f"{5:016x}-0", NOW))
    gone = added(project, taken_frame(card, folder, f"{6:016x}-0", NOW))
    withdraw(project, f"{6:016x}")
    package = open_package(make_package(tmp_path / "made" / "package", NAME, None, 0.9))
    said: list[str] = []
    results = repeat_failures(
        read_failures(project.algorithm_folder(NAME) / "failures"), Path(), Model(package),
        FrameStore(folder / "frames", read_table(FRAMES, folder / "frames/frames.parquet")).read,
        barred(read_with_seals(folder), NOW), said.append,
    )  # fmt: skip
    assert [(each.failure_id, each.passed) for each in results] == [(kept.failure_id, True)]
    assert said == [
        f"failure {gone.failure_id} is left out: its footage is withdrawn 2026-03-08: "
        "a privacy request"
    ]


def test_a_picture_is_kept_beside_and_must_stay_as_it_was(
    project: Project, make_picture: Callable[..., Path], make_package: Callable[..., Path],
    tmp_path: Path,
) -> None:  # fmt: skip
    path = make_picture(tmp_path / "路口.png", format_name="PNG")
    found = added(project, taken_picture(*dataset(project), path))
    folder = project.algorithm_folder(NAME) / "failures"
    picture = folder / f"{found.failure_id}.jpg"
    assert (found.source, found.picture) == ("路口.png", picture.name)
    assert picture.read_bytes()[:2] == b"\xff\xd8"
    model = Model(open_package(make_package(tmp_path / "made" / "package", NAME, None, 0.9)))

    def ask() -> list[FailureResult]:
        return repeat_failures(read_failures(folder), folder, model, lambda _: b"", {}, print)

    assert [each.passed for each in ask()] == [True]
    content = picture.read_bytes()
    picture.write_bytes(content[:-1] + b"\x00")
    with pytest.raises(DataError, match="expected the picture that was confirmed"):
        ask()
    picture.unlink()
    with pytest.raises(DataError, match="found no file"):
        ask()


def test_a_clip_gives_the_frame_of_its_second(
    project: Project, make_film: Callable[..., Path], tmp_path: Path
) -> None:
    """Frame i of ten a second has the grey 20 + 10 · i."""
    film = make_film(tmp_path / "夜.mp4")
    taken = taken_moment(*dataset(project), film, 1.2)
    assert taken.source == "夜.mp4 at 1.2 s"
    assert decode_jpeg(taken.jpeg).mean() == pytest.approx(140, abs=4)
    with pytest.raises(FootageError, match="a frame at 77 s, found none: it ends before"):
        taken_moment(*dataset(project), film, 77)
    with pytest.raises(FootageError, match="say --clip FILE --at SECONDS"):
        taken_picture(*dataset(project), film)


@pytest.mark.real
def test_a_picture_from_outside_is_made_private_as_the_card_asks(
    make_card: Callable[..., Dataset], real_data: Callable[[str], Path], tmp_path: Path
) -> None:
    """Faces that the cascades find in the photo are not found in what is kept."""
    privacy = {
        "grade": "personal", "lawful_basis": "law", "redact": ["face"], "retention_days": 9,
        "redaction": {"method": "fill", "padding": 0.1, "hold_s": 0.2},
    }  # fmt: skip
    card, path = make_card(privacy=privacy), tmp_path / "photo.jpg"
    photo = still_bgr(real_data("face_detector") / "1.jpg")
    path.write_bytes(encode_jpeg(photo[:: photo.shape[0] // 400, :: photo.shape[0] // 400]))
    (detector,) = open_detectors(card.privacy, tmp_path)
    assert len(detector.find(still_bgr(path))) >= 1
    assert taken_picture(make_card(), tmp_path, path).jpeg == path.read_bytes()
    assert detector.find(decode_jpeg(taken_picture(card, tmp_path, path).jpeg)) == []


@pytest.mark.parametrize(
    ("reason", "xyxy", "said"),
    [
        ("", HERE, "expected a reason"),
        ("missed", [8, 6, 65, 30], "expected a place within the picture (64×48), found 8,6,65,30"),
    ],
)
def test_what_cannot_be_added(project: Project, reason: str, xyxy: list[int], said: str) -> None:
    taken = Taken(small_project.jpeg(90), None, None, "gate.jpg")
    with pytest.raises(InputError) as refused:
        added(project, taken, reason, boxes=[box(CAR, xyxy)])
    assert said in str(refused.value)


def test_a_file_that_is_no_failure_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps({"version": 1}), encoding="utf-8")
    with pytest.raises(DataError, match=r"found Field required at 'failure_id', in .*x.json"):
        read_failures(tmp_path)
    assert read_failures(tmp_path / "nowhere") == []
