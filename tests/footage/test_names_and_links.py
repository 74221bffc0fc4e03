"""Names, links, doubles and cameras: what `footage add` makes of a folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cityforge.cards.dataset import Dataset, Sampling
from cityforge.errors import CityforgeError, NameUnknown
from cityforge.footage.catalogue import add_footage, read_catalogue
from cityforge.footage.listing import list_files
from cityforge.footage.probe import probe
from cityforge.footage.recordings import Recording
from cityforge.footage.sample import sample_film

Make = Callable[..., Path]
EVERY = Sampling(policy="every", seconds=0)
HARBOUR = Recording(camera="harbour")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    path = tmp_path / "dataset"
    path.mkdir()
    return path


NAMES = (
    "早高峰 北门 (1).mp4", "-rf.mp4", "--help.mp4", "08:00:00.mp4", "pipe:0.mp4", "http:..a.mp4",
    "a'b\"c.mp4", "$(touch x).mp4", "a|b.mp4", "%d.mp4", "[1].mp4", "e\u0301.mp4", "-", "MP4",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_only_a_name(
    make_card: Callable[..., Dataset], tmp_path: Path, dataset: Path, make_film: Make,
    monkeypatch: pytest.MonkeyPatch, name: str,
) -> None:  # fmt: skip
    (tmp_path / "in").mkdir()
    make_film(tmp_path / "made.mp4").rename(tmp_path / "in" / name)
    monkeypatch.chdir(tmp_path / "in")
    assert probe(Path(name)).frames == 20
    assert len(list(sample_film(Path(name), EVERY))) == 20
    result = add_footage(make_card(), dataset, list_files([Path(name)]), {}, HARBOUR)
    assert (len(result.added), result.refused) == (1, [])
    row = read_catalogue(dataset).to_pylist()[0]
    assert row["name"] == name
    assert list(sample_film(dataset / row["path"], EVERY))


def test_a_line_break_in_a_name_breaks_no_line(
    make_card: Callable[..., Dataset], tmp_path: Path, dataset: Path, make_film: Make
) -> None:
    good, bad = tmp_path / "in" / "a\nb.mp4", tmp_path / "in" / "c\nd.mp4"
    good.parent.mkdir()
    make_film(tmp_path / "made.mp4").rename(good)
    bad.write_text("none")
    result = add_footage(make_card(), dataset, list_files([good.parent]), {}, HARBOUR)
    assert not [line for line in map(str, result.refused) if "\n" in line]
    assert not [row["name"] for row in result.added if "\n" in row["name"]]
    assert len(result.added) + len(result.refused) == 2


def links_out(inside: Path, outside: Path) -> None:
    (inside / "a.mp4").symlink_to(outside / "secret.mp4")


def links_out_by_a_folder(inside: Path, outside: Path) -> None:
    (inside / "a").symlink_to(outside)


def links_out_in_two_steps(inside: Path, outside: Path) -> None:
    (inside / "b.mp4").symlink_to(outside / "secret.mp4")
    (inside / "a.mp4").symlink_to(inside / "b.mp4")


@pytest.mark.parametrize("link", [links_out, links_out_by_a_folder, links_out_in_two_steps])
def test_a_link_out_of_the_folder_is_not_followed(
    make_card: Callable[..., Dataset], tmp_path: Path, dataset: Path, make_film: Make,
    link: Callable[[Path, Path], None],
) -> None:  # fmt: skip
    secret = make_film(tmp_path / "outside" / "secret.mp4", range(200, 20, -10))
    own = make_film(tmp_path / "in" / "own.mp4")
    link(tmp_path / "in", tmp_path / "outside")
    refusals: list[CityforgeError] = []
    try:
        result = add_footage(make_card(), dataset, list_files([own.parent]), {}, HARBOUR)
        refusals += result.refused
    except CityforgeError as error:
        refusals.append(error)
    stored = [path.read_bytes() for path in dataset.rglob("*.mp4")]
    assert secret.read_bytes() not in stored
    assert any("link" in str(error) for error in refusals), refusals


def test_a_link_within_the_folder_is_a_second_name(
    make_card: Callable[..., Dataset], tmp_path: Path, dataset: Path, make_film: Make
) -> None:
    own = make_film(tmp_path / "in" / "own.mp4")
    (own.parent / "again.mp4").symlink_to("own.mp4")
    result = add_footage(make_card(), dataset, list_files([own.parent]), {}, HARBOUR)
    assert (len(result.added), result.refused) == (1, [])
    assert names_of(dataset) == [{"own.mp4", "again.mp4"}]


def test_a_linked_folder_is_walked_under_the_name_of_its_link(
    make_card: Callable[..., Dataset], tmp_path: Path, dataset: Path, make_film: Make
) -> None:
    own = make_film(tmp_path / "in" / "cam01" / "own.mp4")
    (tmp_path / "in" / "harbour").symlink_to("cam01")
    found = list_files([tmp_path / "in"])
    add_footage(make_card(), dataset, found, {}, HARBOUR)
    assert names_of(dataset) == [{"cam01/own.mp4", "harbour/own.mp4"}]
    (tmp_path / "in").rename(tmp_path / "elsewhere")
    (tmp_path / "in").symlink_to("elsewhere")  # the folder that is named may be a link itself
    assert [path.name for path, _ in list_files([tmp_path / "in"]).files] == [own.name] * 2


def test_links_that_lead_back_or_nowhere_end(tmp_path: Path, make_picture: Make) -> None:
    for name in ("a", "b"):
        make_picture(tmp_path / "in" / name / "1.jpg")
    (tmp_path / "in" / "a" / "up").symlink_to("..")
    (tmp_path / "in" / "a" / "to b").symlink_to("../b")
    (tmp_path / "in" / "b" / "to a").symlink_to("../a")
    (tmp_path / "in" / "round").symlink_to("round")
    (tmp_path / "in" / "lost.jpg").symlink_to("none.jpg")
    found = list_files([tmp_path / "in"])
    names = ["a/1.jpg", "a/to b/1.jpg", "b/1.jpg", "b/to a/1.jpg"]
    assert [name for _, name in found.files] == names
    assert found.passed_over == ["a/to b/to a", "a/up", "b/to a/to b", "b/to a/up"]
    assert [Path(error.where).name for error in found.refused] == ["lost.jpg", "round"]


def test_what_systems_keep_for_themselves_is_passed_over(
    tmp_path: Path, make_picture: Make
) -> None:
    for name in (
        "1.jpg", ".thumbnails/2.jpg", "a/.cache/b/3.jpg", "a/@eaDir/4.jpg/SYNO_THUMB.jpg",
        "#recycle/5.jpg", "a/6.jpg", ".7.jpg", "a@eaDir.jpg",
    ):  # fmt: skip
        make_picture(tmp_path / "in" / name)
    found = list_files([tmp_path / "in"])
    assert [name for _, name in found.files] == ["1.jpg", "a/6.jpg", "a@eaDir.jpg"]
    assert (found.passed_over, found.refused) == ([], [])


@pytest.mark.parametrize("name", ["早高峰.mp4", "a.视频", "北门/a.mp4"])
def test_a_name_in_bytes_that_are_no_utf8_is_spelt_out(
    make_card: Callable[..., Dataset], tmp_path: Path, dataset: Path, make_film: Make, name: str
) -> None:
    path = tmp_path / "in" / os.fsdecode(name.encode("gbk"))
    path.parent.mkdir(parents=True)
    make_film(tmp_path / "made.mp4").rename(path)
    for paths in ([tmp_path / "in"], [path]):
        result = add_footage(make_card(), dataset, list_files(paths), {}, HARBOUR)
        assert not result.refused
        assert "".join(result.known).isprintable()
    spelt = name.encode("gbk").decode("utf-8", "backslashreplace")
    assert names_of(dataset) == [{spelt, spelt.rpartition("/")[2]}]
    assert list(sample_film(dataset / read_catalogue(dataset)["path"][0].as_py(), EVERY))


def test_a_broken_file_of_such_a_name_is_refused_in_letters_that_print(
    make_card: Callable[..., Dataset], tmp_path: Path, dataset: Path
) -> None:
    path = tmp_path / os.fsdecode("坏.mp4".encode("gbk"))
    path.write_bytes(b"no film")
    result = add_footage(make_card(), dataset, list_files([path]), {}, HARBOUR)
    assert str(result.refused[0]).isprintable()


def names_of(dataset: Path) -> list[set[str]]:
    rows = read_catalogue(dataset).to_pylist()
    return [{row["name"], *(row["other_names"] or ())} for row in rows]


@pytest.mark.parametrize("at_once", [True, False])
def test_one_content_under_two_names_is_one_footage(
    make_card: Callable[..., Dataset], tmp_path: Path, dataset: Path, make_film: Make, at_once: bool
) -> None:
    first = make_film(tmp_path / "in" / "a.mp4")
    second = tmp_path / "in" / "乙.mp4"
    shutil.copyfile(first, second)
    calls = [[first, second]] if at_once else [[first], [second], [second]]
    for paths in calls:
        add_footage(make_card(), dataset, list_files(paths), {}, HARBOUR)
    assert names_of(dataset) == [{"a.mp4", "乙.mp4"}]
    assert read_catalogue(dataset)["other_names"].to_pylist() == [["乙.mp4"]]
    assert len(list(dataset.rglob("*.mp4"))) == 1


@pytest.mark.parametrize("at_once", [True, False])
def test_one_name_with_two_contents_is_two_footages(
    make_card: Callable[..., Dataset], tmp_path: Path, dataset: Path, make_film: Make, at_once: bool
) -> None:
    folders = [
        make_film(tmp_path / "in" / "harbour" / "a.mp4").parent,
        make_film(tmp_path / "in" / "北门" / "a.mp4", range(200, 20, -10)).parent,
    ]
    calls = [folders] if at_once else [[each] for each in folders]
    for paths in calls:
        add_footage(make_card(), dataset, list_files(paths), {}, HARBOUR)
    rows = read_catalogue(dataset).to_pylist()
    assert [row["name"] for row in rows] == ["a.mp4", "a.mp4"]
    assert len({row["footage_id"] for row in rows}) == len(list(dataset.rglob("*.mp4"))) == 2


def test_a_camera_that_the_card_does_not_know_adds_nothing(
    make_card: Callable[..., Dataset], tmp_path: Path, dataset: Path, make_film: Make
) -> None:
    path = make_film(tmp_path / "a.mp4")
    with pytest.raises(NameUnknown, match="did you mean 'harbour'"):
        add_footage(make_card(), dataset, list_files([path]), {}, Recording(camera="harbor"))
    assert not list(dataset.rglob("*.mp4"))
