"""Footage comes into a dataset whole, once, under its camera, or is refused with a reason."""

from __future__ import annotations

import shutil
from collections import namedtuple
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cityforge.cards.dataset import Dataset
from cityforge.errors import InputError, NameUnknown, ServiceError
from cityforge.footage.catalogue import (
    Added,
    add_footage,
    catalogue_path,
    read_catalogue,
)
from cityforge.footage.listing import list_files
from cityforge.footage.recordings import Recording, parse_time, read_recordings

Make = Callable[..., Path]
Card = Callable[..., Dataset]
NORTH = Recording(camera="北门")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "dataset").mkdir()
    return tmp_path / "dataset"


def add(card: Dataset, folder: Path, *paths: Path, common: Recording = NORTH) -> Added:
    return add_footage(card, folder, list_files(paths), {}, common)


def stored_files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_film_and_a_still_are_stored_and_catalogued(
    tmp_path: Path, folder: Path, make_card: Card, make_picture: Make, make_film: Make
) -> None:
    film = make_film(tmp_path / "in" / "早高峰" / "街口.MP4".lower())
    still = make_picture(tmp_path / "in" / "照片.JPG")
    common = Recording("北门", datetime(2026, 3, 2, 9, tzinfo=UTC), "day", "rain")
    result = add(make_card(), folder, tmp_path / "in", common=common)
    assert (len(result.added), result.known, result.refused) == (2, [], [])
    rows = {row["name"]: row for row in read_catalogue(folder).to_pylist()}
    assert rows.keys() == {"早高峰/街口.mp4", "照片.JPG"}
    for original, name in ((film, "早高峰/街口.mp4"), (still, "照片.JPG")):
        stored = folder / rows[name]["path"]
        assert stored.read_bytes() == original.read_bytes()
        assert stored.name == rows[name]["footage_id"] + original.suffix.lower()
    row = rows["早高峰/街口.mp4"]
    assert (row["camera"], row["site"], row["codec"], row["frames"]) == (
        "北门", "North gate", "h264", 20,
    )  # fmt: skip
    assert (row["lighting"], row["weather"], row["lawful_basis"]) == ("day", "rain", "made here")
    assert row["started_at"] == datetime(2026, 3, 2, 9, tzinfo=UTC)
    assert row["retain_until"] - row["started_at"] == timedelta(days=30)


def test_adding_again_adds_nothing(
    tmp_path: Path, folder: Path, make_card: Card, make_picture: Make
) -> None:
    for seed in range(3):
        make_picture(tmp_path / "in" / f"{seed}.jpg", seed)
    add(make_card(), folder, tmp_path / "in")
    before = {name: (folder / name).stat().st_mtime_ns for name in stored_files(folder)}
    result = add(make_card(), folder, tmp_path / "in")
    assert (result.added, len(result.known), result.refused) == ([], 3, [])
    assert {n: (folder / n).stat().st_mtime_ns for n in stored_files(folder)} == before
    assert len(before) == 4


def test_one_content_under_two_names_is_stored_once(
    tmp_path: Path, folder: Path, make_card: Card, make_picture: Make
) -> None:
    first = make_picture(tmp_path / "in" / "a.jpg")
    shutil.copyfile(first, tmp_path / "in" / "b.jpg")
    result = add(make_card(), folder, tmp_path / "in")
    assert [row["name"] for row in result.added] == ["a.jpg"]
    assert result.known == ["b.jpg = a.jpg"]
    assert read_catalogue(folder).num_rows == 1
    assert len(list((folder / "footage").glob("*.jpg"))) == 1


@pytest.mark.parametrize(
    ("name", "common", "expected"),
    [
        ("北门/a.jpg", Recording(), "北门"),
        ("2026/harbour/03/a.jpg", Recording(), "harbour"),
        ("harbour/a.jpg", Recording(camera="北门"), "北门"),  # what a person says comes first
        ("a.jpg", Recording(camera="harbour"), "harbour"),
    ],
)
def test_camera_is_the_one_named_or_a_folder(
    tmp_path: Path, folder: Path, make_card: Card, make_picture: Make,
    name: str, common: Recording, expected: str,
) -> None:  # fmt: skip
    make_picture(tmp_path / "in" / name)
    add(make_card(), folder, tmp_path / "in", common=common)
    assert read_catalogue(folder).column("camera").to_pylist() == [expected]


def test_the_only_camera_of_a_card_needs_no_name(
    tmp_path: Path, folder: Path, make_card: Card, make_picture: Make
) -> None:
    card = make_card(cameras=[{"name": "only", "site": "here"}])
    add(card, folder, make_picture(tmp_path / "a.jpg"), common=Recording())
    assert read_catalogue(folder).column("camera").to_pylist() == ["only"]


def test_footage_without_a_camera_is_asked_for_one(
    tmp_path: Path, folder: Path, make_card: Card, make_picture: Make
) -> None:
    with pytest.raises(InputError, match=r"--camera \(北门, harbour\)"):
        add(make_card(), folder, make_picture(tmp_path / "a.jpg"), common=Recording())


def test_an_unknown_camera_gets_a_suggestion_and_nothing_is_stored(
    tmp_path: Path, folder: Path, make_card: Card, make_picture: Make
) -> None:
    make_picture(tmp_path / "in" / "a.jpg")
    with pytest.raises(NameUnknown, match="did you mean 'harbour'"):
        add(make_card(), folder, tmp_path / "in", common=Recording(camera="harbuor"))
    assert stored_files(folder) == set()


def test_a_late_file_without_a_camera_leaves_nothing_half_done(
    tmp_path: Path, folder: Path, make_card: Card, make_picture: Make
) -> None:
    make_picture(tmp_path / "in" / "harbour" / "a.jpg", 1)
    make_picture(tmp_path / "in" / "z.jpg", 2)
    with pytest.raises(InputError, match=r"z\.jpg"):
        add(make_card(), folder, tmp_path / "in", common=Recording())
    assert stored_files(folder) == set()


def test_a_broken_file_is_refused_and_the_others_are_added(
    tmp_path: Path, folder: Path, make_card: Card, make_picture: Make
) -> None:
    make_picture(tmp_path / "in" / "a.jpg", 1)
    (tmp_path / "in" / "b.mp4").write_bytes(b"this is no film" * 100)
    make_picture(tmp_path / "in" / "c.jpg", 2)
    result = add(make_card(), folder, tmp_path / "in")
    assert [row["name"] for row in result.added] == ["a.jpg", "c.jpg"]
    assert [Path(error.where).name for error in result.refused] == ["b.mp4"]
    assert read_catalogue(folder).num_rows == 2
    assert len(stored_files(folder)) == 3


def test_a_full_disk_adds_nothing_and_keeps_what_is_stored(
    tmp_path: Path, folder: Path, make_card: Card, make_picture: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    add(make_card(), folder, make_picture(tmp_path / "a.jpg", 1))
    before = {name: (folder / name).read_bytes() for name in stored_files(folder)}
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 1000, 1000))
    with pytest.raises(ServiceError, match="nothing was added"):
        add(make_card(), folder, make_picture(tmp_path / "b.jpg", 2))
    assert {name: (folder / name).read_bytes() for name in stored_files(folder)} == before


def test_an_add_that_breaks_off_loses_nothing_stored(
    tmp_path: Path, folder: Path, make_card: Card, make_picture: Make
) -> None:
    add(make_card(), folder, make_picture(tmp_path / "a.jpg", 1))
    files = list_files([make_picture(tmp_path / "b.jpg", 2), make_picture(tmp_path / "c.jpg", 3)])

    def stop(done: int, _: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        add_footage(make_card(), folder, files, {}, NORTH, stop)
    assert sorted(read_catalogue(folder).column("name").to_pylist()) == ["a.jpg", "b.jpg", "c.jpg"]
    again = add_footage(make_card(), folder, files, {}, NORTH)
    assert (again.added, len(again.known)) == ([], 2)
    rows = read_catalogue(folder).to_pylist()
    assert sum((folder / row["path"]).is_file() for row in rows) == 3


def test_papers_beside_footage_are_passed_over(tmp_path: Path, make_picture: Make) -> None:
    make_picture(tmp_path / "in" / "b" / "a.jpg")
    for name in ("labels.json", "classes.TXT", "data.yaml", ".DS_Store", "b/a.xml"):
        (tmp_path / "in" / name).write_text("x")
    assert [name for _, name in list_files([tmp_path / "in"]).files] == ["b/a.jpg"]
    assert list_files([tmp_path / "in"]).passed_over == [
        "b/a.xml", "classes.TXT", "data.yaml", "labels.json",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_nothing_to_add_is_said(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"found (none|no file)"):
        list_files([tmp_path / name])


def test_a_table_of_recordings_says_what_files_do_not(
    tmp_path: Path, folder: Path, make_card: Card, make_picture: Make
) -> None:
    table = tmp_path / "录像.csv"
    table.write_text(
        "file,camera,started_at,lighting,weather\n"
        "a.jpg,harbour,2026-03-02T17:00:00+08:00,night,fog\n"
        "夜/b.jpg,北门,,,\n",
        encoding="utf-8-sig",  # as Excel writes it
    )
    make_picture(tmp_path / "in" / "a.jpg", 1)
    make_picture(tmp_path / "in" / "夜" / "b.jpg", 2)
    files, recordings = list_files([tmp_path / "in"]), read_recordings(table)
    add_footage(make_card(), folder, files, recordings, Recording())
    rows = {row["name"]: row for row in read_catalogue(folder).to_pylist()}
    assert (rows["a.jpg"]["camera"], rows["夜/b.jpg"]["camera"]) == ("harbour", "北门")
    assert rows["a.jpg"]["started_at"] == datetime(2026, 3, 2, 9, tzinfo=UTC)
    assert (rows["a.jpg"]["lighting"], rows["a.jpg"]["weather"]) == ("night", "fog")
    assert rows["夜/b.jpg"]["started_at"] is None


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"file\na.jpg\n", "line 2"),
        (b"file,camera\na.jpg,x\n,y\n", "line 3"),
        (b"file,camera,started_at\na.jpg,x,soon\n", "'soon'.*line 2"),
        ("file,camera\n照片.jpg,北门\n".encode("gbk"), "UTF-8"),
    ],
)
def test_a_table_of_recordings_with_a_fault_is_refused(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(InputError, match=expected):
        read_recordings(tmp_path / "table.csv")


@pytest.mark.parametrize(
    "text", ["2026-03-02T09:00:00Z", "2026-03-02T09:00:00", "2026-03-02 17:00+08:00"]
)
def test_a_time_without_a_zone_is_utc(text: str) -> None:
    found = parse_time(text, "here")
    assert found == datetime(2026, 3, 2, 9, tzinfo=UTC)


def test_an_empty_dataset_has_an_empty_catalogue(folder: Path) -> None:
    assert read_catalogue(folder).num_rows == 0
    assert not catalogue_path(folder).exists()
