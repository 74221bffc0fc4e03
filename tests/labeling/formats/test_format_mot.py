"""MOTChallenge: frames and pixels from 1, classes, what stands beside gt.txt, and real data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cityforge.errors import LabelError
from cityforge.labeling.formats import cvat_video, mot
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage

ROW = "1,7,1,11,40.5,60,1,3,0.5"
INFO = """[Sequence]
name=MOT16-02
imDir=img1
frameRate=25
seqLength=3
imWidth=64
imHeight=48
imExt=.png
"""


def read(folder: Path, *rows: str, info: str = "", classes: str = "") -> LabelFile:
    gt = folder / "gt"
    gt.mkdir(exist_ok=True)
    (gt / "gt.txt").write_text("\n".join(rows), encoding="utf-8")
    if info:
        (folder / "seqinfo.ini").write_text(info, encoding="utf-8")
    if classes:
        (gt / "labels.txt").write_text(classes, encoding="utf-8")
    return mot.read(folder)


def test_first_pixel_and_first_frame_are_one(tmp_path: Path) -> None:
    labels = read(tmp_path, ROW, info=INFO)
    (box,) = labels.boxes
    assert (box.x1, box.y1, box.x2, box.y2) == (0, 10, 40.5, 70)
    assert (box.cls, box.track_id, box.where) == ("car", "7", "gt/gt.txt line 1")
    first = labels.images[0]
    assert (box.image, first.name) == ("img1/000001.png", "img1/000001.png")
    assert [image.pts_s for image in labels.images] == [0, 0.04, 0.08]
    assert (first.footage, first.width, first.height) == ("MOT16-02", 64, 48)


def test_cvat_counts_pixels_from_zero(tmp_path: Path) -> None:
    read(tmp_path, ROW)
    (box,) = mot.read(tmp_path, first_pixel=0).boxes
    assert (box.x1, box.y1, box.x2, box.y2) == (1, 11, 41.5, 71)


def test_without_a_rate_the_name_carries_the_number_from_zero(tmp_path: Path) -> None:
    labels = read(tmp_path, ROW.replace("1,7", "13,7", 1))
    (image,) = labels.images
    assert (image.name, image.footage, image.pts_s) == ("frame_000012.jpg", tmp_path.name, None)


@pytest.mark.parametrize(
    ("row", "classes", "cls", "track"),
    [
        ("1, 3, 794.27, 247.59, 71.245, 174.88, -1, -1, -1, -1", "", "pedestrian", "3"),
        ("1,2,181,95,75.8,227,1,4.4091,4.4283,0", "", "pedestrian", "2"),  # MOT15: world
        ("1,-1,181,95,75.8,227,0.93", "", "pedestrian", None),  # det.txt
        ("1,0,181,95,75.8,227", "", "pedestrian", "0"),
        ("1,2,181,95,75.8,227,1,12,0", "", "reflection", "2"),
        ("1,2,181,95,75.8,227,1,2,0", "汽车\na,b\n", "a,b", "2"),
        ("1,2,181,95,75.8,227,1,2,0,-1", "汽车\r\nbus\r\n", "bus", "2"),
        ("1,2,181,95,75.8,227,1,-1,-1", "汽车", "汽车", "2"),
        ("1,2,181,95,0,0,1,1.0,1", "汽车", "汽车", "2"),
    ],
)
def test_row_of_every_dialect(
    tmp_path: Path, row: str, classes: str, cls: str, track: str | None
) -> None:
    labels = read(tmp_path, row, classes=classes)
    assert [(box.cls, box.track_id) for box in labels.boxes] == [(cls, track)]
    assert labels.rejected == []


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("2,7,1,11,40.5", "not 6 to 10 columns"),
        ("2,7,1,11,40.5,60,1,3,1,1,1", "not 6 to 10 columns"),
        ("0,7,1,11,40.5,60,1,3,1", "frame is not from 1"),
        ("1.5,7,1,11,40.5,60,1,3,1", "frame is no whole number"),
        ("9999999,7,1,11,40.5,60,1,3,1", "frame is not from 1"),
        ("2,7,nan,11,40.5,60,1,3,1", "left is no number"),
        ("2,7,1e999,11,40.5,60,1,3,1", "left is not finite"),
        ("2,7,1e308,11,1e308,60,1,3,1", "right edge is not finite"),
        ("2,x,1,11,40.5,60,1,3,1", "id is no number"),
        ("2,7,1,11,40.5,60,0,3,1", "ignored"),
        ("2,7,1,11,40.5,60,1,14,1", "class 14 of 13"),
        ("2,7,1,11,40.5,60,1,0,1", "class 0 of 13"),
        ("2,7,1,11,40.5,60,1,1.5,1", "class is no whole number"),
        ("1,7,1,11,40.5,60,1,3,1", "twice in this frame"),
        ("2 7 1 11 40.5 60", "not 6 to 10 columns"),
    ],
)
def test_unusable_row_is_rejected(tmp_path: Path, row: str, reason: str) -> None:
    labels = read(tmp_path, ROW, "", row, "3,8,1,1,1,1")
    (rejected,) = labels.rejected
    assert (len(labels.boxes), rejected.where) == (2, "gt/gt.txt line 3")
    assert reason in rejected.reason
    if row.startswith("2,"):
        assert rejected.image == "frame_000001.jpg" or "columns" in reason


@pytest.mark.parametrize("classes", ["汽车\nbus", "汽车\n\nbus"])
def test_class_outside_labels_txt_is_rejected(tmp_path: Path, classes: str) -> None:
    row = "1,2,1,1,9,9,1,{},1"
    labels = read(tmp_path, row.format(-1), row.format(2), row.format(4), classes=classes)
    assert [box.cls for box in labels.boxes] == (["bus"] if classes == "汽车\nbus" else [])
    assert labels.classes == ["汽车", "bus"]
    assert len(labels.boxes) + len(labels.rejected) == 3


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("seqinfo.ini", "name=x", "seqinfo.ini"),
        ("seqinfo.ini", "[Other]\nname=x", "seqinfo.ini"),
        ("seqinfo.ini", INFO.replace("25", "fast"), "frameRate is no number"),
        ("seqinfo.ini", INFO.replace("25", "0"), "seqLength"),
        ("seqinfo.ini", INFO.replace("=3", "=99999999"), "seqLength"),
        ("cityforge.json", '{"frames": 7}', "no list"),
        ("cityforge.json", '{"frames": [{"frame": 0, "name": "a"}]}', "below 1"),
        ("cityforge.json", '{"frames": [], "tracks": {"x": "a"}}', "track number"),
    ],
)
def test_broken_file_beside_it_is_refused(
    tmp_path: Path, file: str, content: str, words: str
) -> None:
    (tmp_path / file).write_text(content)
    with pytest.raises(LabelError, match=words):
        read(tmp_path, ROW)


def test_no_file_none_in_the_folder_and_another_encoding(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="found nothing"):
        mot.read(tmp_path / "gt.txt")
    with pytest.raises(LabelError, match=r"gt\.txt or det\.txt"):
        mot.read(tmp_path)
    read(tmp_path, ROW)
    (tmp_path / "gt" / "labels.txt").write_bytes("汽车".encode("gb18030"))
    with pytest.raises(LabelError, match="UTF-8"):
        mot.read(tmp_path)


@pytest.mark.parametrize(
    ("content", "is_mot"),
    [
        (ROW, True),
        ("1, 3, 794.27, 247.59, 71.245, 174.88, -1, -1, -1, -1\n", True),
        ("\n1,-1,1,1,1,1\r\n1,-1,1,1,1,1", True),
        ("1,2,3\n", False),
        ("0 0.5 0.5 0.1 0.1", False),
        ("frame,id,x,y,w,h,conf", False),
        ("", False),
    ],
)
def test_file_is_known_by_its_first_row(tmp_path: Path, content: str, is_mot: bool) -> None:
    assert not mot.looks_like_mot(tmp_path)
    file = tmp_path / "gt.txt"
    file.write_text(content)
    assert mot.looks_like_mot(file) is is_mot
    assert mot.looks_like_mot(tmp_path)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("plain_tracks", [True, False])
@pytest.mark.parametrize("step", [0.04, 0.37123])
def test_labels_survive_writing_and_reading(
    tmp_path: Path, film_labels: Callable[..., LabelFile],
    assert_same: Callable[[LabelFile, LabelFile], None], seed: int, plain_tracks: bool, step: float,
) -> None:  # fmt: skip
    labels = film_labels(seed, plain_tracks, step)
    target = tmp_path / "out"
    files = mot.write(labels, target)
    assert len(files) == 3 * 4
    assert all(file.resolve().is_relative_to(target) for file in files)
    assert_same(mot.read(target), labels)
    assert mot.read(target).classes == labels.classes


def test_frames_on_a_grid_are_numbered_by_it(tmp_path: Path) -> None:
    frames = [replace(one().images[0], name=str(n), pts_s=n / 25) for n in (3, 4, 10)]
    labels = replace(one(), images=frames, boxes=[replace(one().boxes[0], image="10")])
    mot.write(labels, tmp_path)
    assert "frameRate=25\nseqLength=11\n" in (tmp_path / "a.mp4" / "seqinfo.ini").read_text()
    assert (tmp_path / "a.mp4" / "gt" / "gt.txt").read_text() == "11,5,1.0,1.0,9.0,9.0,1,1,1\n"
    (tmp_path / "a.mp4" / "cityforge.json").unlink()
    back = mot.read(tmp_path)
    assert (back.boxes[0].image, back.images[10].pts_s) == ("img1/000011.jpg", 0.4)


def one(**changes: object) -> LabelFile:
    image = LabelledImage(name="a.jpg", footage="a.mp4", pts_s=1.0, width=64, height=48)
    plain = LabelledBox(image="a.jpg", cls="car", x1=0, y1=0, x2=9, y2=9, where="", track_id="5")
    return LabelFile(source="x", images=[image], boxes=[replace(plain, **changes)])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (one(track_id=None), "without track id"),
        (one(task="density", x2=0, y2=0), "1 of density"),
        (one(task="classification", x2=0, y2=0), "1 of classification"),
        (one(y2=float("inf")), "finite"),
        (one(cls="a\nb"), "one line"),
        (one(cls=" a"), "one line"),
        (replace(one(), boxes=one().boxes * 2), "twice"),
        (replace(one(), images=[replace(one().images[0], footage=None)]), "still"),
    ],
)
def test_what_mot_cannot_hold_is_refused(tmp_path: Path, labels: LabelFile, words: str) -> None:
    with pytest.raises(LabelError, match=words):
        mot.write(labels, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_labels_of_an_earlier_write_are_not_mixed_in(tmp_path: Path) -> None:
    mot.write(one(), tmp_path)
    mot.write(one(cls="bus"), tmp_path)
    other = replace(one(), images=[replace(one().images[0], footage="b.mp4")])
    with pytest.raises(LabelError, match="empty folder"):
        mot.write(other, tmp_path)


@pytest.mark.real
@pytest.mark.parametrize(("film", "boxes"), [("TUD-Campus", 359), ("TUD-Stadtmitte", 1156)])
def test_real_ground_truth(
    tmp_path: Path, real_data: Callable[[str], Path], film: str, boxes: int,
    assert_same: Callable[[LabelFile, LabelFile], None],
) -> None:  # fmt: skip
    folder = real_data("mot") / film
    rows = [line.split(b",") for line in (folder / "gt.txt").read_bytes().splitlines()]
    labels = mot.read(folder)
    assert (len(rows), len(labels.boxes), labels.rejected) == (boxes, boxes, [])
    assert len(labels.images) == len({row[0] for row in rows})
    assert {box.track_id for box in labels.boxes} == {row[1].decode() for row in rows}
    area = sum(float(row[4]) * float(row[5]) for row in rows)
    found = sum((box.x2 - box.x1) * (box.y2 - box.y1) for box in labels.boxes)
    assert found == pytest.approx(area)
    for count, part in enumerate((mot, cvat_video)):
        part.write(labels, tmp_path / str(count))
        assert_same(part.read(tmp_path / str(count)), labels)


@pytest.mark.real
def test_real_folder_of_sequences(real_data: Callable[[str], Path]) -> None:
    labels = mot.read(real_data("mot"))
    assert {image.footage for image in labels.images} == {"TUD-Campus", "TUD-Stadtmitte"}
    assert (len(labels.boxes), labels.rejected) == (359 + 1156, [])
