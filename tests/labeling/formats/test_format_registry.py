"""Formats by name and by looking, and paths that never leave their folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cityforge.errors import LabelError, NameUnknown, ServiceError
from cityforge.labeling.formats import registry
from cityforge.labeling.formats.files import place
from cityforge.labeling.formats.rows import LabelFile, LabelledImage


def test_formats_are_known() -> None:
    assert list(registry.FORMATS) == [
        "studio", "studio_min", "coco", "voc", "yolo", "cvat_image", "cvat_video", "labelme",
        "open_images", "imagenet", "mot", "clips",
    ]  # fmt: skip
    assert all(name == known.name for name, known in registry.FORMATS.items())
    assert all(known.description for known in registry.FORMATS.values())


def test_unknown_format_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(NameUnknown, match="did you mean 'coco'"):
        registry.read(tmp_path, "cocoa")
    with pytest.raises(NameUnknown, match="did you mean 'coco'"):
        registry.write(LabelFile(source="x"), tmp_path, "cocoa")


@pytest.mark.parametrize(
    ("file", "content", "known"),
    [
        ("a.json", '{"images": [], "annotations": [], "categories": []}', "coco"),
        ("a.txt", '\n [{"id": 1, "data": {"image": "a.jpg"}}]', "studio"),
        ("a.json", "[]", "studio"),
        ("a.xml", "<annotation/>", "voc"),
        ("data.yaml", "names: [a]", "yolo"),
    ],
)
def test_file_is_recognised_by_its_content(
    tmp_path: Path, file: str, content: str, known: str
) -> None:
    (tmp_path / file).write_text(content)
    assert registry.detect(tmp_path / file) == known


@pytest.mark.parametrize(
    ("file", "known"),
    [
        ("sub/a.xml", "voc"),
        ("data.yaml", "yolo"),
        ("classes.txt", None),
        ("readme.md", None),
    ],
)
def test_folder_is_recognised_by_its_files(tmp_path: Path, file: str, known: str | None) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("<annotation/>" if path.suffix == ".xml" else "x")
    if known is None:
        with pytest.raises(LabelError, match=r"studio.*coco.*voc.*yolo"):
            registry.detect(tmp_path)
    else:
        assert registry.detect(tmp_path) == known


def test_folder_with_images_and_labels_is_yolo(tmp_path: Path) -> None:
    (tmp_path / "train" / "images").mkdir(parents=True)
    (tmp_path / "train" / "labels").mkdir()
    assert registry.detect(tmp_path) == "yolo"


@pytest.mark.parametrize("content", ["", "0 0.5 0.5 1 1", '{"a": 1}', "[1]", "<View/>"])
def test_unknown_content_lists_the_formats(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.dat").write_text(content)
    with pytest.raises(LabelError, match=r"studio.*coco.*voc.*yolo"):
        registry.detect(tmp_path / "a.dat")


@pytest.mark.parametrize("file", ["none.json", "none.yaml", "none"])
def test_missing_path_is_refused(tmp_path: Path, file: str) -> None:
    with pytest.raises(LabelError, match="found nothing"):
        registry.read(tmp_path / file)


@pytest.mark.parametrize(
    "format_name",
    [each for each in registry.FORMATS if each != "imagenet"],  # it needs pictures
)
def test_disk_that_refuses_is_a_service_error(tmp_path: Path, format_name: str) -> None:
    (tmp_path / "file").write_text("")
    image = LabelledImage(name="a-0.jpg", footage="a.mp4", pts_s=0.0, width=64, height=48)
    labels = LabelFile(source="x", images=[image])
    with pytest.raises(ServiceError, match="a place to write"):
        registry.write(labels, tmp_path / "file" / "sub", format_name)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("a/b.jpg", True),
        ("街/<script>'\".jpg", True),
        ("../a.jpg", False),
        ("/a.jpg", False),
        ("a//b.jpg", False),
        ("C:\\a.jpg", False),
        ("a\x00\n.jpg", False),
        ("", False),
        (".", False),
        ("..", False),
        ("../..", False),
        ("\ud800.jpg", False),
        ("帧" * 300 + ".jpg", False),
    ],
)
def test_placed_name_stays_inside(tmp_path: Path, name: str, kept: bool) -> None:
    path = place(tmp_path, name)
    assert path.resolve().is_relative_to(tmp_path.resolve())
    assert path != tmp_path
    assert (path == tmp_path / name) is kept if "\x00" not in name else not kept
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")


def test_names_that_look_alike_stay_apart(tmp_path: Path) -> None:
    names = ["a.jpg", "/a.jpg", "./a.jpg", "../a.jpg", "_/a.jpg", "帧" * 300, "帧" * 301]
    assert len({place(tmp_path, name) for name in names}) == len(names)


def test_import_loads_no_heavy_library() -> None:
    code = (
        "import sys, cityforge.labeling.formats.registry\n"
        "heavy = {'PIL', 'numpy', 'pandas', 'ruamel', 'defusedxml', 'label_studio_sdk'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
