"""Label files come into a dataset judged row by row; nothing stored is lost, nothing is silent."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from cityforge.cards.dataset import Dataset
from cityforge.errors import LabelError
from cityforge.footage.catalogue import add_footage, read_catalogue
from cityforge.footage.ingest import ingest
from cityforge.footage.listing import list_files
from cityforge.footage.recordings import Recording
from cityforge.labeling.formats import registry
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage, Rejected
from cityforge.labeling.intake import (
    Intake,
    labels_path,
    read_labels,
    rejected_path,
    take_in,
)
from cityforge.labeling.outgoing import give_out
from cityforge.tables import FOOTAGE, FRAMES, REJECTED, from_rows, read_table

XYXY = tuple[float, float, float, float]
A_CAR: XYXY = (10, 10, 30, 20)
SIZE = (64, 48)


def tables(*names: str) -> tuple[pa.Table, pa.Table]:
    """Catalogue and frames of stills called `names`; the frame of `a.jpg` is `a-0`."""
    footage = [
        {
            "footage_id": name[:-4], "path": name, "name": name, "camera": "c", "duration_s": 0.0,
            "width": 64, "height": 48, "codec": "x", "frames": 1, "errors": 0, "lawful_basis": "x",
        }
        for name in names
    ]  # fmt: skip
    frames = [
        {
            "frame_id": f"{name[:-4]}-0", "footage_id": name[:-4], "pts_s": 0.0, "shard": "s",
            "offset": 0, "bytes": 1, "width": 64, "height": 48, "phash": "0", "sharpness": 0.0,
            "brightness": 0.0, "contrast": 1.0, "lighting": "day", "faults": [], "redactions": [],
        }
        for name in names
    ]  # fmt: skip
    return from_rows(footage, FOOTAGE), from_rows(frames, FRAMES)


def file(
    boxes: dict[str, list[tuple[str, XYXY]]], source: str = "one.json", **image: int
) -> LabelFile:
    """A label file: for each image its boxes as (class, xyxy)."""
    return LabelFile(
        source=source,
        images=[LabelledImage(name=name, where=f"image {name}", **image) for name in boxes],
        boxes=[
            LabelledBox(
                image=name, cls=cls, x1=x1, y1=y1, x2=x2, y2=y2, where=f"{name} box {number}"
            )
            for name, rows in boxes.items()
            for number, (cls, (x1, y1, x2, y2)) in enumerate(rows)
        ],
    )


class Site:
    """A dataset with three stills, into which label files are taken."""

    def __init__(self, card: Dataset, folder: Path) -> None:
        self.card = card
        self.folder = folder
        self.footage, self.frames = tables("a.jpg", "b.jpg", "c.jpg")

    def take(self, labels: LabelFile) -> Intake:
        return take_in(self.card, self.folder, labels, self.footage, self.frames)

    def stored(self) -> list[tuple[str, str | None, XYXY | tuple[None, ...]]]:
        rows = read_labels(self.folder).to_pylist()
        return sorted(
            (row["frame_id"], row["class"], tuple(row[key] for key in ("x1", "y1", "x2", "y2")))
            for row in rows
        )  # type: ignore[type-var]


@pytest.fixture
def site(tmp_path: Path, make_card: Callable[..., Dataset]) -> Site:
    return Site(make_card(), tmp_path / "dataset")


def test_boxes_are_stored_with_where_they_came_from(site: Site) -> None:
    labels = file({"a.jpg": [("汽车", A_CAR), ("bus", (0, 0, 64, 48))], "b.jpg": []})
    labels.boxes[0] = replace(labels.boxes[0], annotator="王", track_id="7", origin="human")
    result = site.take(labels)
    assert vars(result) == {
        "images": 2, "boxes": 2, "empty_images": 1, "cut_boxes": 0, "rejected": [],
        "stored_boxes": 2, "withdrawn": 0,
    }  # fmt: skip
    assert site.stored() == [
        ("a-0", "bus", (0, 0, 64, 48)),
        ("a-0", "汽车", A_CAR),
        ("b-0", None, (None,) * 4),
    ]
    row = next(r for r in read_labels(site.folder).to_pylist() if r["class"] == "汽车")
    assert (row["annotator"], row["track_id"], row["origin"]) == ("王", "7", "human")
    assert (row["source"], row["task"]) == ("one.json", "detection")


def test_boxes_of_another_size_are_scaled_to_the_stored_frame(site: Site) -> None:
    site.take(file({"a.jpg": [("bus", (20, 30, 60, 90))]}, width=128, height=144))
    assert site.stored() == [("a-0", "bus", (10, 10, 30, 30))]


@pytest.mark.parametrize(
    ("cls", "xyxy", "reason", "found"),
    [
        ("汽车车", A_CAR, "a class that the card does not name (did you mean '汽车'?)", "汽车车"),
        ("tram", A_CAR, "a class that the card does not name (known: bus, 汽车)", "tram"),
        ("bus", (10, 10, 10, 20), "a box of no size", "10.000,10.000,10.000,20.000"),
        ("bus", (30, 10, 10, 20), "a box of no size", "30.000,10.000,10.000,20.000"),
        ("bus", (70, 10, 90, 20), "a box outside its image of 64×48",
         "70.000,10.000,90.000,20.000"),
        ("bus", (-20, 10, 0, 20), "a box outside its image of 64×48",
         "-20.000,10.000,0.000,20.000"),
        ("bus", (float("nan"), 1, 2, 3), "a box of no size", "nan,1.000,2.000,3.000"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_used_is_kept_aside_with_its_reason(
    site: Site, cls: str, xyxy: XYXY, reason: str, found: str
) -> None:
    result = site.take(file({"a.jpg": [("汽车", A_CAR), (cls, xyxy)]}))
    assert result.boxes == 1
    assert result.rejected == [
        Rejected(where="a.jpg box 1", reason=reason, found=found, image="a.jpg")
    ]
    aside = read_table(REJECTED, rejected_path(site.folder)).to_pylist()
    assert aside == [
        {"source": "one.json", "where": "a.jpg box 1", "reason": reason, "found": found}
    ]


@pytest.mark.parametrize(
    ("xyxy", "stored", "cut"),
    [
        ((-20, -5, 30, 20), (0, 0, 30, 20), 1),
        ((40, 30, 100, 100), (40, 30, 64, 48), 1),
        ((-0.5, 0, 64.5, 48), (0, 0, 64, 48), 0),  # rounding, not counted
    ],
)
def test_a_box_partly_outside_is_cut_and_counted(
    site: Site, xyxy: XYXY, stored: XYXY, cut: int
) -> None:
    result = site.take(file({"a.jpg": [("bus", xyxy)]}))
    assert (result.cut_boxes, result.boxes, result.rejected) == (cut, 1, [])
    assert site.stored() == [("a-0", "bus", stored)]


def test_a_doubled_box_is_stored_once_and_said(site: Site) -> None:
    result = site.take(file({"a.jpg": [("bus", A_CAR), ("bus", A_CAR), ("汽车", A_CAR)]}))
    assert [each.reason for each in result.rejected] == ["the same box stands twice"]
    assert site.stored() == [("a-0", "bus", A_CAR), ("a-0", "汽车", A_CAR)]


def test_labels_of_a_frame_that_is_not_there_are_refused_row_by_row(site: Site) -> None:
    result = site.take(file({"a.jpg": [("bus", A_CAR)], "gone.jpg": [("bus", A_CAR)]}))
    assert [(each.reason, each.found) for each in result.rejected] == [
        ("no footage of that name", "gone.jpg"),
        ("its image has no stored frame", "gone.jpg"),
    ]
    assert (result.images, result.boxes) == (1, 1)


def test_an_image_whose_only_box_was_refused_is_not_taken_for_empty(site: Site) -> None:
    labels = file({"a.jpg": [("tram", A_CAR)], "b.jpg": [], "c.jpg": []})
    labels.rejected.append(Rejected(where="c 1", reason="no number", found="x", image="c.jpg"))
    result = site.take(labels)
    assert (result.empty_images, result.boxes) == (1, 0)
    assert site.stored() == [("b-0", None, (None,) * 4)]


def test_a_second_import_replaces_only_the_frames_it_speaks_of(site: Site) -> None:
    site.take(file({"a.jpg": [("bus", A_CAR)], "b.jpg": [("bus", A_CAR)]}))
    site.take(file({"b.jpg": [("汽车", (1, 1, 9, 9))], "c.jpg": [("bus", A_CAR)]}))
    assert site.stored() == [
        ("a-0", "bus", A_CAR),
        ("b-0", "汽车", (1, 1, 9, 9)),
        ("c-0", "bus", A_CAR),
    ]


def test_another_source_leaves_earlier_labels_alone(site: Site) -> None:
    site.take(file({"a.jpg": [("bus", A_CAR)]}, source="one.json"))
    result = site.take(file({"a.jpg": [("bus", (1, 1, 9, 9))]}, source="two.json"))
    assert result.stored_boxes == 2
    assert site.stored() == [("a-0", "bus", (1, 1, 9, 9)), ("a-0", "bus", A_CAR)]


def test_a_box_that_stands_from_another_source_is_not_doubled(site: Site) -> None:
    site.take(file({"a.jpg": [("bus", A_CAR)]}, source="one.json"))
    boxes = {"a.jpg": [("bus", A_CAR), ("bus", (1, 1, 9, 9))]}
    result = site.take(file(boxes, source="two.json"))
    assert [each.reason for each in result.rejected] == [
        "the same box stands already, from one.json"
    ]
    assert result.stored_boxes == 2


def test_the_table_before_each_import_is_kept(site: Site) -> None:
    site.take(file({"a.jpg": [("bus", A_CAR)]}))
    first = labels_path(site.folder).read_bytes()
    site.take(file({"a.jpg": [("汽车", A_CAR)]}))
    second = labels_path(site.folder).read_bytes()
    site.take(file({"a.jpg": [("bus", A_CAR)]}))
    kept = [path.read_bytes() for path in (site.folder / "labels" / "history").iterdir()]
    assert sorted(kept) == sorted([first, second])


def test_the_same_import_gives_the_same_ids_and_bytes(site: Site) -> None:
    labels = file({"b.jpg": [("bus", A_CAR)], "a.jpg": [("汽车", A_CAR), ("bus", A_CAR)]})
    site.take(labels)
    first = labels_path(site.folder).read_bytes()
    labels.boxes.reverse()
    labels.images.reverse()
    site.take(labels)
    assert labels_path(site.folder).read_bytes() == first
    assert len(set(read_labels(site.folder).column("label_id").to_pylist())) == 3


def test_a_file_without_one_usable_row_changes_no_label_and_is_listed(site: Site) -> None:
    site.take(file({"a.jpg": [("bus", A_CAR)]}))
    before = labels_path(site.folder).read_bytes()
    with pytest.raises(LabelError, match=r"none in 1 images, 1 rows refused; .*\(tram\)"):
        site.take(file({"a.jpg": [("tram", A_CAR)]}))
    assert labels_path(site.folder).read_bytes() == before
    assert read_table(REJECTED, rejected_path(site.folder)).column("found").to_pylist() == ["tram"]


def test_rows_refused_from_one_source_stay_listed_after_another(site: Site) -> None:
    site.take(file({"a.jpg": [("bus", A_CAR), ("tram", A_CAR)]}, source="one.json"))
    site.take(file({"b.jpg": [("bus", A_CAR), ("ship", A_CAR)]}, source="two.json"))
    site.take(file({"b.jpg": [("bus", A_CAR), ("boat", A_CAR)]}, source="two.json"))
    listed = read_table(REJECTED, rejected_path(site.folder)).column("found").to_pylist()
    assert listed == ["tram", "boat"]


def test_nothing_imported_yet_is_an_empty_table(site: Site) -> None:
    assert read_labels(site.folder).num_rows == 0


@pytest.mark.parametrize("format_name", ["studio", "coco", "voc", "yolo"])
def test_labels_given_out_come_back_the_same(
    tmp_path: Path, make_card: Callable[..., Dataset], make_picture: Callable[..., Path],
    make_film: Callable[..., Path], format_name: str,
) -> None:  # fmt: skip
    card, folder = make_card(), tmp_path / "dataset"
    folder.mkdir()
    make_film(tmp_path / "in" / "街口.mp4")
    make_picture(tmp_path / "in" / "照片 1.jpg", 1)
    make_picture(tmp_path / "in" / "deep" / "照片 1.jpg", 2)
    recording = Recording(camera="北门")
    add_footage(card, folder, list_files([tmp_path / "in"]), {}, recording)
    footage = read_catalogue(folder)
    frames = ingest(card, folder, footage, folder / "frames", workers=1).frames
    first = LabelFile(source="first", images=[], boxes=[])
    for number, frame_id in enumerate(frames.column("frame_id").to_pylist()):
        first.images.append(LabelledImage(name=f"{frame_id}.jpg"))
        for shift in range(number % 3):  # every third frame is empty
            first.boxes.append(
                LabelledBox(
                    image=f"{frame_id}.jpg", cls=("汽车", "bus")[shift], where="",
                    x1=1 / 3 + shift, y1=0, x2=40.123456 + number, y2=48,
                )
            )  # fmt: skip
    take_in(card, folder, first, footage, frames)
    stored = read_labels(folder)

    target = tmp_path / "out" / ("labels.json" if format_name in ("studio", "coco") else "")
    target.parent.mkdir(exist_ok=True)
    given = give_out("tiny", card.class_names, footage, frames, stored)
    if format_name == "yolo":  # which holds no sizes: they are read from the images
        for shard in (folder / "frames").glob("*.tar"):
            with tarfile.open(shard) as tar:
                tar.extractall(target / "images", filter="data")
        shutil.copytree(tmp_path / "in", target / "images", dirs_exist_ok=True)
        for stray in (target / "images").rglob("*"):
            if stray.is_file() and stray.relative_to(target / "images").as_posix() not in {
                image.name for image in given.images
            }:
                stray.unlink()
    registry.write(given, target, format_name)
    other = tmp_path / "other"
    back = take_in(card, other, registry.read(target, format_name), footage, frames)

    assert back.rejected == []
    columns = ["frame_id", "class", "x1", "y1", "x2", "y2"]
    order = [("frame_id", "ascending"), ("class", "ascending")]
    expected = stored.sort_by(order).select(columns).to_pylist()
    found = read_labels(other).sort_by(order).select(columns).to_pylist()
    assert len(found) == len(expected) == 8
    for row, row_found in zip(expected, found, strict=True):
        assert row_found == {
            key: pytest.approx(value, abs=1e-3, rel=0) if isinstance(value, float) else value
            for key, value in row.items()
        }
