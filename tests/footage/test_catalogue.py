"""Footage comes into a dataset whole, once, under its camera, or is refused with a reason."""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
import time
from collections import namedtuple
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from cityforge.cards.dataset import Dataset
from cityforge.errors import InputError, NameUnknown, ServiceError
from cityforge.footage import adding
from cityforge.footage.adding import Book
from cityforge.footage.catalogue import (
    SPARE_DISK_BYTES,
    Added,
    add_footage,
    alone_with,
    catalogue_path,
    hold,
    read_catalogue,
)
from cityforge.footage.listing import list_files
from cityforge.footage.probe import content_id, probe
from cityforge.footage.recordings import Recording, read_recordings
from cityforge.footage.sealing import withdraw
from cityforge.tables import write_table

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


def test_files_that_go_or_change_meanwhile_cost_themselves_only(
    tmp_path: Path, folder: Path, make_card: Card, make_picture: Make
) -> None:
    for number, name in enumerate(("a.jpg", "gone.jpg", "grows.jpg", "z.jpg")):
        make_picture(tmp_path / "in" / name, number)
    listed = list_files([tmp_path / "in"])
    (tmp_path / "in" / "gone.jpg").unlink()

    def record_on(done: int, _: int) -> None:
        if done == 1:  # all are hashed, none is copied
            with (tmp_path / "in" / "grows.jpg").open("ab") as stream:
                stream.write(b"more")

    result = add_footage(make_card(), folder, listed, {}, NORTH, record_on)
    assert [row["name"] for row in result.added] == ["a.jpg", "z.jpg"]
    lines = [str(error) for error in result.refused]
    assert len(lines) == 2
    assert "a file to read, found No such file" in lines[0] and "gone.jpg" in lines[0]
    assert "a file that stays as it is" in lines[1] and "grows.jpg" in lines[1]
    assert len(stored_files(folder)) == 3
    for row in read_catalogue(folder).to_pylist():
        assert content_id(folder / row["path"]) == row["footage_id"]


def test_a_disk_that_fills_up_stops_and_leaves_nothing_half_done(
    tmp_path: Path, folder: Path, make_card: Card, make_picture: Make
) -> None:
    picture = make_picture(tmp_path / "a.png", 1, (320, 240), "PNG")
    book, seen = Book(make_card(), folder, Added()), probe(picture)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            book.enter(picture, "a.png", seen.footage_id, NORTH, seen)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (book.result.added, book.result.refused, stored_files(folder)) == ([], [], set())
    book.enter(picture, "a.png", seen.footage_id, NORTH, seen)
    picture.unlink()
    book.enter(picture, "a.png", "0" * 16, NORTH, seen)  # one that cannot be read costs itself
    assert (len(book.result.added), len(book.result.refused)) == (1, 1)


def test_only_what_is_new_needs_disk(
    tmp_path: Path, folder: Path, make_card: Card, make_picture: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    old = make_picture(tmp_path / "in" / "a.png", 1, (640, 480), "PNG")
    add(make_card(), folder, old)
    new = make_picture(tmp_path / "in" / "b.jpg", 2)
    usage = namedtuple("usage", "total used free")
    free = SPARE_DISK_BYTES + new.stat().st_size
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 10**12 - free, free))
    result = add(make_card(), folder, tmp_path / "in")
    assert ([row["name"] for row in result.added], len(result.known)) == (["b.jpg"], 1)


def test_what_is_sealed_stays_out_where_the_catalogue_is_older(
    tmp_path: Path, folder: Path, make_card: Card, make_picture: Make
) -> None:
    picture = make_picture(tmp_path / "a.jpg", 1)
    add(make_card(), folder, picture)
    footage_id = read_catalogue(folder)["footage_id"].to_pylist()[0]
    withdraw(folder, footage_id, "asked for", datetime(2026, 3, 4, tzinfo=UTC), "me")
    catalogue_path(folder).unlink()  # as a checkout from before it was added leaves it
    result = add(make_card(), folder, picture)
    assert (result.added, result.known) == ([], [])
    assert "withdrawn on 2026-03-04 (asked for)" in str(result.refused[0])
    assert not list((folder / "footage").glob("*.jpg"))


@pytest.mark.parametrize("year", [1000, 1969, 2101, 9999])
def test_a_date_that_cannot_be_is_left_out_with_a_note(
    tmp_path: Path, folder: Path, make_card: Card, make_picture: Make, make_film: Make, year: int
) -> None:
    make_picture(tmp_path / "in" / "a.jpg", taken=f"{year}:12:31 23:59:59")
    make_picture(tmp_path / "in" / "b.jpg", 1, taken="2026:03:02 09:00:00")
    make_picture(tmp_path / "in" / "c.jpg", 2, taken="2000:01:01 00:00:00")
    make_film(tmp_path / "in" / "d.nut", metadata={"creation_time": f"{year}-12-31T23:59:59"})
    assert len(add(make_card(), folder, tmp_path / "in").added) == 4
    rows = {row["name"]: row for row in read_catalogue(folder).to_pylist()}
    note = [f"it says that it is of the year {year}; its time is taken as unknown"]
    for name in ("a.jpg", "d.nut"):
        assert (rows[name]["started_at"], rows[name]["notes"]) == (None, note)
    assert (rows["b.jpg"]["started_at"].year, rows["b.jpg"]["notes"]) == (2026, [])
    assert (rows["c.jpg"]["started_at"].year, rows["c.jpg"]["notes"]) == (2000, [])


def test_the_catalogue_is_changed_by_one_at_a_time(folder: Path) -> None:
    def count_up() -> None:
        for _ in range(20):
            with alone_with(folder):
                number = int((folder / "number").read_text())
                time.sleep(0.001)  # room for another to come between, were it not kept out
                (folder / "number").write_text(str(number + 1))

    (folder / "number").write_text("0")
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(count_up) for _ in range(8)]:
            done.result()
    assert (folder / "number").read_text() == "160"
    assert stored_files(folder) == {"number"}


def test_the_lock_lies_outside_what_is_versioned_and_is_open_for_writing(folder: Path) -> None:
    with alone_with(folder):
        assert stored_files(folder) == {".footage.lock"}
        held = os.open(folder / ".footage.lock", os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(held)
    held = hold(folder / "a")
    assert fcntl.fcntl(held, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
    os.close(held)


def test_what_another_machine_is_copying_stays(
    tmp_path: Path, folder: Path, make_card: Card, make_picture: Make
) -> None:
    half = folder / "footage" / ".0123456789abcdef.mp4.4194305"  # no such process runs here
    half.parent.mkdir()
    held = hold(half)
    add(make_card(), folder, make_picture(tmp_path / "a.jpg"))
    assert half.exists()
    os.close(held)  # as its end closes it
    add(make_card(), folder, tmp_path / "a.jpg")
    assert not half.exists()


def test_a_slow_catalogue_is_written_down_less_often(
    tmp_path: Path, folder: Path, make_card: Card, make_picture: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for number in range(24):
        make_picture(tmp_path / "in" / f"{number}.jpg", number)
    written: list[int] = []

    def write_slowly(table: pa.Table, *words: object) -> None:
        time.sleep(0.1)  # a slow disk
        written.append(table.num_rows)
        write_table(table, *words)

    monkeypatch.setattr(adding, "write_table", write_slowly)
    monkeypatch.setattr(adding, "CHECKPOINT_S", 0.0)
    assert len(add(make_card(), folder, tmp_path / "in").added) == 24
    assert written[-1] == 24
    assert len(written) <= 6  # 24 when each file is written down


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
    common = Recording(lighting="dusk", lawful_basis="contract 7")  # where the table says nothing
    add_footage(make_card(), folder, files, recordings, common)
    rows = {row["name"]: row for row in read_catalogue(folder).to_pylist()}
    assert (rows["a.jpg"]["camera"], rows["夜/b.jpg"]["camera"]) == ("harbour", "北门")
    assert rows["a.jpg"]["started_at"] == datetime(2026, 3, 2, 9, tzinfo=UTC)
    assert (rows["a.jpg"]["lighting"], rows["a.jpg"]["weather"]) == ("night", "fog")
    assert rows["夜/b.jpg"]["started_at"] is None
    assert (rows["夜/b.jpg"]["lighting"], rows["夜/b.jpg"]["weather"]) == ("dusk", None)
    assert {row["lawful_basis"] for row in rows.values()} == {"contract 7"}


def test_an_empty_dataset_has_an_empty_catalogue(folder: Path) -> None:
    assert read_catalogue(folder).num_rows == 0
    assert not catalogue_path(folder).exists()
