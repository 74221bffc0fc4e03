"""Classes of whole clips: folders and tables, and what their frames are given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cityforge.cards.dataset import Dataset
from cityforge.errors import LabelError
from cityforge.footage.catalogue import add_footage, read_catalogue
from cityforge.footage.ingest import ingest
from cityforge.footage.listing import list_files
from cityforge.footage.recordings import Recording
from cityforge.labeling.formats import clips, registry
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage
from cityforge.labeling.intake import Intake, read_labels, take_in
from cityforge.labeling.outgoing import give_out

CLASSES = ["打架", "no_fight"]
HEADER = "file,class\n"


def clip(path: Path, content: str = "") -> Path:
    """A file that only its name says is a clip; content tells it from others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content or path.as_posix())
    return path


def table(folder: Path, rows: str, header: str = HEADER) -> Path:
    path = folder / "clips.csv"
    path.write_text(header + rows, encoding="utf-8")
    return path


def pairs(labels: LabelFile) -> list[tuple[str, str]]:
    return [(box.image, box.cls) for box in labels.boxes]


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["打架/1.mp4", "no_fight/1.avi"],
         [("no_fight/1.avi", "no_fight"), ("打架/1.mp4", "打架")]),
        (["train/a/1.mp4", "val/a/2.MP4"], [("train/a/1.mp4", "a"), ("val/a/2.MP4", "a")]),
        (["a/north gate/1.mkv"], [("a/north gate/1.mkv", "a")]),
        (["a/1.mp4", "a/.1.mp4", "a/notes.txt"], [("a/1.mp4", "a")]),
    ],
)  # fmt: skip
def test_folders(tmp_path: Path, files: list[str], found: list[tuple[str, str]]) -> None:
    for file in files:
        clip(tmp_path / file)
    labels = clips.read(tmp_path)
    assert sorted(pairs(labels)) == sorted(found)
    assert labels.rejected == []
    assert all(image.every_frame and len(image.footage or "") == 16 for image in labels.images)
    assert {(box.task, box.x1, box.y1, box.x2, box.y2) for box in labels.boxes} == {
        ("classification", 0, 0, 0, 0)
    }


def test_a_clip_in_two_folders_is_refused_in_both(tmp_path: Path) -> None:
    clip(tmp_path / "fight" / "a.mp4", "same")
    clip(tmp_path / "no_fight" / "b.mp4", "same")
    clip(tmp_path / "no_fight" / "c.mp4")
    clip(tmp_path / "loose.mp4")
    labels = clips.read(tmp_path)
    assert pairs(labels) == [("no_fight/c.mp4", "no_fight")]
    several = "a clip in several class folders; list it in a CSV file,class"
    assert [(row.where, row.reason) for row in labels.rejected] == [
        ("loose.mp4", "a clip in no class folder"),
        ("fight/a.mp4", several),
        ("no_fight/b.mp4", several),
    ]
    assert labels.rejected[1].found == "'fight/a.mp4 and no_fight/b.mp4'"


def test_a_table_with_several_classes_and_with_none(tmp_path: Path) -> None:
    rows = 'a.mp4,smoke; 火;smoke\n\nb.mp4,\nc.mp4\n"d,1.mp4",\'=x\n'
    labels = clips.read(table(tmp_path, rows))
    assert pairs(labels) == [("a.mp4", "smoke"), ("a.mp4", "火"), ("d,1.mp4", "=x")]
    assert [image.name for image in labels.images] == ["a.mp4", "b.mp4", "c.mp4", "d,1.mp4"]
    assert labels.rejected == []


def test_rows_of_a_table_that_cannot_be_used(tmp_path: Path) -> None:
    labels = clips.read(table(tmp_path, "a.mp4,x\n,x\na.mp4,y\nb.mp4,x,y\n"))
    assert pairs(labels) == [("a.mp4", "x")]
    assert [(row.where, row.reason) for row in labels.rejected] == [
        ("clips.csv line 3", "clip is missing or no text"),
        ("clips.csv line 4", "image is there already, in clips.csv line 2"),
        ("clips.csv line 5", "more cells than file and class"),
    ]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder, "class folders with clips"),
        (lambda folder: folder / "none.csv", "found nothing"),
        (lambda folder: table(folder, "a.mp4;x\n", "file;class\n"), "columns file, class"),
    ],
)
def test_what_is_no_set_of_clips_is_refused(
    tmp_path: Path, make: Callable[[Path], Path], message: str
) -> None:
    with pytest.raises(LabelError, match=message):
        clips.read(make(tmp_path))


def test_the_format_is_found_by_looking(tmp_path: Path) -> None:
    clip(tmp_path / "set" / "fight" / "a.mp4")
    clip(tmp_path / "set" / "no_fight" / "b.mp4")
    assert registry.detect(tmp_path / "set") == "clips"
    assert registry.detect(table(tmp_path, "a.mp4,x\n")) == "clips"
    (tmp_path / "set" / "empty").mkdir()
    with pytest.raises(LabelError, match="no label file"):
        registry.detect(tmp_path / "set")


def of_film(film: str, frame: int, *classes: str) -> tuple[LabelledImage, list[LabelledBox]]:
    name = f"{film}-{frame}.jpg"
    image = LabelledImage(name=name, footage=film, pts_s=frame / 10)
    return image, [
        LabelledBox(
            image=name, cls=each, x1=0, y1=0, x2=0, y2=0, where="", task="classification"
        )
        for each in classes
    ]  # fmt: skip


def label_file(*frames: tuple[LabelledImage, list[LabelledBox]]) -> LabelFile:
    return LabelFile(
        source="x",
        images=[image for image, _ in frames],
        boxes=[box for _, boxes in frames for box in boxes],
    )


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    labels = label_file(
        of_film("北门/=a.mp4", 0, "打架", "no_fight"),
        of_film("北门/=a.mp4", 5, "no_fight", "打架"),
        of_film("b.mp4", 0), of_film("c.mp4", 0, "-1"),
    )  # fmt: skip
    (path,) = clips.write(labels, tmp_path / "deep" / "clips.csv")
    back = clips.read(path)
    assert back.rejected == []
    assert [image.name for image in back.images] == ["北门/=a.mp4", "b.mp4", "c.mp4"]
    assert sorted(pairs(back)) == [
        ("c.mp4", "-1"), ("北门/=a.mp4", "no_fight"), ("北门/=a.mp4", "打架")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (label_file(of_film("a.mp4", 0, "x"), of_film("a.mp4", 1)), "the same classes"),
        (label_file(of_film("a.mp4", 0, "x;y")), "classes without ';'"),
    ],
)
def test_what_a_table_cannot_hold_is_refused(
    tmp_path: Path, labels: LabelFile, message: str
) -> None:
    with pytest.raises(LabelError, match=message):
        clips.write(labels, tmp_path / "clips.csv")


class Site:
    """A dataset of three films, four frames each, and a still."""

    def __init__(self, card: Dataset, folder: Path, footage: Path) -> None:
        self.card, self.folder = card, folder
        folder.mkdir()
        add_footage(card, folder, list_files([footage]), {}, Recording(camera="北门"))
        self.footage = read_catalogue(folder)
        self.frames = ingest(card, folder, self.footage, folder / "frames", workers=1).frames
        names = {row["footage_id"]: row["name"] for row in self.footage.to_pylist()}
        self.film_of = {
            row["frame_id"]: names[row["footage_id"]] for row in self.frames.to_pylist()
        }

    def take(self, path: Path) -> Intake:
        labels = registry.read(path, "clips")
        return take_in(self.card, self.folder, labels, self.footage, self.frames)

    def stored(self) -> dict[str, list[str | None]]:
        """Classes of each film's frames, in any order."""
        found: dict[str, list[str | None]] = {}
        for row in read_labels(self.folder).to_pylist():
            assert row["task"] == "classification"
            assert (row["x1"], row["y2"]) == (None, None)
            found.setdefault(self.film_of[row["frame_id"]], []).append(row["class"])
        return {film: sorted(classes, key=str) for film, classes in found.items()}


@pytest.fixture
def site(
    tmp_path: Path, make_card: Callable[..., Dataset], make_film: Callable[..., Path],
    make_picture: Callable[..., Path],
) -> Site:  # fmt: skip
    source = tmp_path / "set"
    make_film(source / "打架" / "a.mp4", range(20, 220, 10))
    make_film(source / "no_fight" / "a.mp4", range(220, 20, -10))
    make_film(source / "no_fight" / "b.mp4", [40] * 10 + [150] * 10)
    make_picture(source / "still.jpg")
    card = make_card(classes=[{"name": each, "definition": each} for each in CLASSES])
    return Site(card, tmp_path / "dataset", source)


def test_every_frame_of_a_clip_has_its_class(site: Site, tmp_path: Path) -> None:
    result = site.take(tmp_path / "set")
    assert result.rejected == []
    assert (result.images, result.boxes, result.empty_images) == (12, 12, 0)
    assert site.stored() == {
        "打架/a.mp4": ["打架"] * 4,
        "no_fight/a.mp4": ["no_fight"] * 4,
        "no_fight/b.mp4": ["no_fight"] * 4,
    }


def test_a_clip_that_moved_is_known_by_its_content(site: Site, tmp_path: Path) -> None:
    moved = tmp_path / "sorted again" / "打架" / "x.mp4"
    moved.parent.mkdir(parents=True)
    (tmp_path / "set" / "no_fight" / "a.mp4").rename(moved)
    site.take(moved.parent.parent)
    assert site.stored() == {"no_fight/a.mp4": ["打架"] * 4}


def test_a_table_names_clips_and_stills(site: Site, tmp_path: Path) -> None:
    rows = "打架/a.mp4,打架;no_fight\nb.mp4,\nset/no_fight/a.mp4,no_fight\nstill.jpg,打架\n"
    result = site.take(table(tmp_path, rows))
    assert (result.rejected, result.images, result.empty_images) == ([], 13, 4)
    assert site.stored() == {
        "打架/a.mp4": ["no_fight"] * 4 + ["打架"] * 4,
        "no_fight/a.mp4": ["no_fight"] * 4,
        "no_fight/b.mp4": [None] * 4,
        "still.jpg": ["打架"],
    }


def test_clips_that_were_looked_at_and_have_no_class(site: Site, tmp_path: Path) -> None:
    assert site.take(table(tmp_path, "b.mp4,\n")).empty_images == 4
    assert site.stored() == {"no_fight/b.mp4": [None] * 4}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("a.mp4,打架", "2 files of that name; give its folder too"),
        ("zebra.avi,打架", "no footage of that name (known: "),
        ("nofight/b.mp4,打架", "no footage of that name (did you mean 'no_fight/b.mp4'?)"),
        ("打架/b.mp4,打架", "no footage of that name (did you mean '打架/a.mp4'?)"),
        ("b.mp4,no_figth", "a class that the card does not name (did you mean 'no_fight'?)"),
        ("set/打架/a.mp4,打架", "the same clip as 打架/a.mp4"),
    ],
)
def test_a_row_of_a_clip_is_refused_once(site: Site, tmp_path: Path, row: str, reason: str) -> None:
    result = site.take(table(tmp_path, f"打架/a.mp4,打架\n{row}\n"))
    assert len(result.rejected) == 1
    assert result.rejected[0].reason.startswith(reason)
    assert result.rejected[0].where == "clips.csv line 3"
    assert site.stored() == {"打架/a.mp4": ["打架"] * 4}


def test_a_clip_keeps_the_classes_that_are_known(site: Site, tmp_path: Path) -> None:
    result = site.take(table(tmp_path, "b.mp4,no_fight;smoke\n"))
    assert [each.found for each in result.rejected] == ["smoke"]
    assert site.stored() == {"no_fight/b.mp4": ["no_fight"] * 4}


def test_a_clip_the_dataset_does_not_hold(
    site: Site, tmp_path: Path, make_film: Callable[..., Path]
) -> None:
    make_film(tmp_path / "set" / "打架" / "new.mp4", range(30, 230, 10))
    result = site.take(tmp_path / "set")
    assert [(each.found, each.reason) for each in result.rejected] == [
        ("打架/new.mp4", "a clip that the dataset does not hold; "
         "add it with cityforge footage add"),
    ]  # fmt: skip
    assert result.images == 12


def test_labels_given_out_come_back_the_same(site: Site, tmp_path: Path) -> None:
    site.take(table(tmp_path, "打架/a.mp4,打架;no_fight\nb.mp4,\n"))
    before = site.stored()
    given = give_out("tiny", CLASSES, site.footage, site.frames, read_labels(site.folder))
    (path,) = registry.write(given, tmp_path / "out" / "clips.csv", "clips")
    again = Site.__new__(Site)
    again.__dict__.update(site.__dict__, folder=tmp_path / "again")
    again.folder.mkdir()
    assert again.take(path).rejected == []
    assert again.stored() == before
