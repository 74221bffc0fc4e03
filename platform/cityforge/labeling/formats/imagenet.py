"""ImageNet-style folders, as torchvision's ImageFolder reads them: `[train/]<class>/<image>`.

Each label is a class of a whole image. Folders named train, val, valid, validation or test, and
no others beside them, are parts; the folders in them are classes, and so is any folder below a
class folder part of it. An image is named by its path, because two classes may each hold a 1.jpg.

The writer copies the pictures it is given into one folder for each class, and adds two tables
that ImageFolder passes over: `classes.csv` (class, folder) and `labels.csv` (file, image, class).
With them names that no folder can have, several classes of one image, images without a class,
and classes without an image come back. Parts are not written: a dataset's split is its own.

No kept library is exact: ImageFolder reads no other names than the folders' and writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from cityforge.errors import LabelError, ServiceError
from cityforge.labeling.formats.csv_cells import plain, read_rows, write_rows
from cityforge.labeling.formats.files import folder_name, place, refuse_strays
from cityforge.labeling.formats.gather import Gather, by_image, class_names, hold_only
from cityforge.labeling.formats.pictures import header_size, is_picture
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage
from cityforge.labeling.formats.values import UnusableError, name

PARTS = frozenset({"train", "val", "valid", "validation", "test"})
CLASSES_FILE, LABELS_FILE = "classes.csv", "labels.csv"
CLASS_COLUMNS = ("class", "folder")
LABEL_COLUMNS = ("file", "image", "class")
# Folders of other formats that hold pictures and are no classes.
_NO_CLASSES = frozenset({"images", "labels", "annotations", "jpegimages", "masks"})


def read(path: Path) -> LabelFile:
    """Read a folder of class folders; files that its tables name are read as they say.

    Raises:
        LabelError: no folder, no class folder in it, or a broken table.
    """
    folders = dict(_class_folders(path))
    listed = path / LABELS_FILE
    if not folders and not listed.is_file():
        do = "put the images of each class into a folder of its name"
        raise LabelError("a folder of class folders", found="none", where=str(path), do=do)
    gather = Gather(path)
    names = _folder_classes(gather, path / CLASSES_FILE)
    seen = set(_read_listed(gather, path)) if listed.is_file() else set()
    classes = list(names.values())
    for folder, said in folders.items():
        cls = names.get(folder.as_posix(), said)
        classes.append(cls)
        for file in sorted((path / folder).rglob("*")):
            relative = file.relative_to(path).as_posix()
            if relative not in seen and file.is_file():
                with gather.row(relative):
                    _read_picture(gather, path, relative, cls)
    for loose in _loose_files(path, folders):
        gather.reject(loose, "an image in no class folder", loose)
    return gather.file(classes)


def looks_like_imagenet(folder: Path) -> bool:
    """Whether a folder holds our tables, or class folders with an image directly in each."""
    if all((folder / file).is_file() for file in (CLASSES_FILE, LABELS_FILE)):
        return True
    folders = [part for part, _ in _class_folders(folder)]
    return bool(folders) and all(
        part.name.lower() not in _NO_CLASSES and any(map(is_picture, (folder / part).iterdir()))
        for part in folders
    )


def write(
    labels: LabelFile, path: Path, *, images: Callable[[str], bytes] | None = None
) -> list[Path]:
    """Write class folders with the pictures that `images` gives for an image's name.

    Raises:
        LabelError: no pictures are given, labels that are no classes, or other files there.
        ServiceError: the disk refuses.
    """
    hold_only(labels, "ImageNet folders", "classification")
    pairs = by_image(labels)
    if images is None:
        raise LabelError(
            "the pictures to put into the class folders",
            found="labels alone",
            where=str(path),
            do="write open_images or studio, which hold classes without pictures",
        )
    folders = {cls: folder_name(cls) for cls in class_names(labels)}
    rows = [row for image, marks in pairs for row in _rows(path, folders, image.name, marks)]
    planned = _planned(path, rows)
    refuse_strays(path, "*/**/*", planned)
    for file, image, _ in rows:
        if file:
            _write_picture(path / file, images(image))
    return [
        *sorted(planned),
        write_rows(path / CLASSES_FILE, CLASS_COLUMNS, folders.items()),
        write_rows(path / LABELS_FILE, LABEL_COLUMNS, rows),
    ]


def _class_folders(root: Path) -> Iterator[tuple[PurePosixPath, str]]:
    """Each class folder below the root and its class."""
    folders = _folders(root)
    if folders and all(folder.lower() in PARTS for folder in folders):
        for part in folders:
            yield from ((PurePosixPath(part, cls), cls) for cls in _folders(root / part))
    else:
        yield from ((PurePosixPath(cls), cls) for cls in folders)


def _folders(root: Path) -> list[str]:
    try:
        return sorted(f.name for f in root.iterdir() if f.is_dir() and f.name[0] != ".")
    except OSError as error:
        found = error.strerror or str(error)
        raise LabelError("a folder of class folders", found=found, where=str(root)) from None


def _loose_files(root: Path, folders: dict[PurePosixPath, str]) -> list[str]:
    above = {root / folder.parent for folder in folders} | {root}
    return sorted(
        file.relative_to(root).as_posix()
        for folder in above
        for file in folder.iterdir()
        if file.is_file() and is_picture(file)
    )


def _folder_classes(gather: Gather, table: Path) -> dict[str, str]:
    """Class by folder as the writer's table states it."""
    classes: dict[str, str] = {}
    for where, (cls, folder) in _table(table, CLASS_COLUMNS) if table.is_file() else ():
        with gather.row(where):
            classes[name(folder, "folder")] = name(cls, "class")
    return classes


def _read_listed(gather: Gather, root: Path) -> Iterator[str]:
    """Read what the writer's table lists; gives the files of it."""
    for where, (file, image, cls) in _table(root / LABELS_FILE, LABEL_COLUMNS):
        with gather.row(where):
            said = name(image, "image")
            if file:
                yield file
                width, height = header_size(place(root, file))
                picture = LabelledImage(name=said, width=width, height=height, where=where)
            else:
                picture = LabelledImage(name=said, where=where)
            if not gather.has_image(said):
                gather.image(picture)
            if cls:
                gather.box(_label(said, cls, where))


def _table(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
    rows = read_rows(path, "a table of ImageNet folders")
    _, header = next(rows, (0, []))
    if tuple(header) != columns:
        found = ", ".join(header)
        raise LabelError(f"the columns {', '.join(columns)}", found=found, where=str(path))
    for line, cells in rows:
        yield f"{path.name} line {line}", [plain(cell) for cell in [*cells, "", ""]][: len(columns)]


def _read_picture(gather: Gather, root: Path, file: str, cls: str) -> None:
    if not is_picture(PurePosixPath(file)):
        raise UnusableError("no image", file)
    said = name(file, "image name")
    width, height = header_size(root / file)
    gather.image(LabelledImage(name=said, width=width, height=height, where=said))
    gather.box(_label(said, name(cls, "class"), said))


def _label(image: str, cls: str, where: str) -> LabelledBox:
    return LabelledBox(
        image=image, cls=cls, x1=0, y1=0, x2=0, y2=0, where=where, task="classification"
    )


def _rows(
    path: Path, folders: dict[str, str], image: str, marks: list[LabelledBox]
) -> list[tuple[str, str, str]]:
    """File, image and class of each label; an image without one has a row without a file."""
    if not marks:
        return [("", image, "")]
    rows = []
    for mark in marks:
        file = place(path / folders[mark.cls], image)
        suffix = "" if is_picture(file) else ".jpg"
        rows.append((file.relative_to(path).as_posix() + suffix, image, mark.cls))
    return rows


def _planned(path: Path, rows: list[tuple[str, str, str]]) -> set[Path]:
    first: dict[str, str] = {}
    for file, image, _ in rows:
        if file and first.setdefault(file, image) != image:
            raise LabelError(
                "one file for each image",
                found=f"{first[file]!r} and {image!r}",
                where=file,
                do="rename one of the images",
            )
    return {path / file for file in first}


def _write_picture(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        found = error.strerror or str(error)
        raise ServiceError("a place to write images", found=found, where=str(path)) from None
