"""Classes of whole clips: a folder of clips for each class, or a CSV `file,class`.

Folders: `[train/]<class>/<clip>`, as sets of clips of fights, falls or smoke are given out;
folders named train, val, valid, validation or test, and no others beside them, are parts. A clip
is known by its content, so it may have been added to the dataset from anywhere. One that lies in
two class folders is refused, because a copy there is a slip more often than a second class.

CSV: a clip a row, by the name of its footage or the end of it; several classes are separated by
`;`, and a clip without one was looked at and has none.

Each label is a class of a whole image, and each image stands for every stored frame of its clip.
No kept library reads either: torchvision's readers take the folders and decode them at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cityforge.errors import LabelError
from cityforge.labeling.formats.csv_cells import plain, read_rows, write_rows
from cityforge.labeling.formats.gather import Gather, by_image, hold_only
from cityforge.labeling.formats.imagenet import PARTS
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage
from cityforge.labeling.formats.values import UnusableError, name

COLUMNS = ("file", "class")
BETWEEN = ";"
SUFFIXES = frozenset(
    {".mp4", ".avi", ".mkv", ".mov", ".m4v", ".webm", ".mpg", ".mpeg", ".ts", ".flv", ".wmv"}
)


def read(path: Path) -> LabelFile:
    """Read a folder of class folders, or a CSV.

    Raises:
        LabelError: missing, no class folder with a clip, or other columns than file and class.
    """
    return _read_folder(path) if path.is_dir() else _read_table(path)


def looks_like_clips(path: Path) -> bool:
    """Whether a folder holds class folders with clips, or a file begins with `file,class`."""
    if path.is_dir():
        folders = list(_class_folders(path))
        return bool(folders) and all(any(map(_is_clip, each.iterdir())) for each in folders)
    return next((_is_header(cells) for _, cells in read_rows(path, "a table of clips")), False)


def write(labels: LabelFile, path: Path) -> list[Path]:
    """Write a CSV; the frames of a clip have to agree.

    Raises:
        LabelError: labels that are no classes, a class with `;` in it, or a clip whose frames
            have different classes.
        ServiceError: the disk refuses.
    """
    hold_only(labels, "a table of clips", "classification")
    found: dict[str, set[str]] = {}
    for image, marks in by_image(labels):
        clip, classes = image.footage or image.name, {mark.cls for mark in marks}
        if found.setdefault(clip, classes) != classes:
            raise LabelError(
                "the same classes on all frames of a clip",
                found=f"{_shown(found[clip])} and {_shown(classes)}",
                where=clip,
                do="write studio or open_images, which hold classes frame by frame",
            )
    for cls in {cls for classes in found.values() for cls in classes if BETWEEN in cls}:
        raise LabelError(f"classes without '{BETWEEN}'", found=repr(cls), do="write studio")
    rows = [(clip, BETWEEN.join(sorted(classes))) for clip, classes in found.items()]
    return [write_rows(path, COLUMNS, rows)]


def _read_folder(root: Path) -> LabelFile:
    clips = [(folder.name, clip) for folder in _class_folders(root) for clip in _clips_in(folder)]
    if not clips:
        do = "put the clips of each class into a folder of its name"
        raise LabelError("class folders with clips", found="none", where=str(root), do=do)
    gather = Gather(root)
    for loose in sorted(filter(_is_clip, root.iterdir())):
        gather.reject(loose.name, "a clip in no class folder", loose.name)
    classes_of: dict[str, dict[str, str]] = {}  # content: class: the first file that says so
    for cls, clip in clips:
        classes_of.setdefault(_content(clip), {}).setdefault(cls, _named(clip, root))
    for content, files in classes_of.items():
        for cls, file in files.items():
            with gather.row(file):
                if len(files) > 1:
                    reason = "a clip in several class folders; list it in a CSV file,class"
                    raise UnusableError(reason, " and ".join(files.values()))
                _take(gather, file, [cls], where=file, content=content)
    return gather.file(sorted({cls for cls, _ in clips}))


def _read_table(path: Path) -> LabelFile:
    rows = read_rows(path, "a table of clips")
    _, header = next(rows, (0, []))
    if not _is_header(header):
        expected, found = f"the columns {', '.join(COLUMNS)}", ", ".join(header) or "none"
        raise LabelError(expected, found=found, where=str(path))
    gather = Gather(path)
    for line, cells in rows:
        where = f"{path.name} line {line}"
        with gather.row(where):
            if len(cells) > len(COLUMNS):
                raise UnusableError("more cells than file and class", ",".join(cells))
            file, said = (plain(cell).strip() for cell in [*cells, ""][: len(COLUMNS)])
            classes = [each.strip() for each in said.split(BETWEEN) if each.strip()]
            _take(gather, file, list(dict.fromkeys(classes)), where=where)
    return gather.file()


def _take(
    gather: Gather, file: str, classes: list[str], *, where: str, content: str | None = None
) -> None:
    clip = name(file, "clip")
    gather.image(LabelledImage(name=clip, footage=content, where=where, every_frame=True))
    for cls in classes:
        gather.box(
            LabelledBox(
                image=clip, cls=name(cls, "class"), x1=0, y1=0, x2=0, y2=0, where=where,
                task="classification",
            )
        )  # fmt: skip


def _class_folders(root: Path) -> Iterator[Path]:
    folders = _folders(root)
    if folders and all(folder.name.lower() in PARTS for folder in folders):
        for part in folders:
            yield from _folders(part)
    else:
        yield from folders


def _folders(root: Path) -> list[Path]:
    return sorted(each for each in root.iterdir() if each.is_dir() and each.name[0] != ".")


def _clips_in(folder: Path) -> list[Path]:
    return sorted(filter(_is_clip, folder.rglob("*")))


def _is_clip(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.name[0] != "." and path.is_file()


def _is_header(cells: list[str]) -> bool:
    return tuple(cell.strip().lower() for cell in cells) == COLUMNS


def _content(clip: Path) -> str:
    from cityforge.footage.probe import content_id  # its module looks at films, too

    try:
        return content_id(clip)
    except OSError as error:
        raise LabelError("a clip", found=error.strerror or str(error), where=str(clip)) from None


def _named(clip: Path, root: Path) -> str:
    return clip.relative_to(root).as_posix()


def _shown(classes: set[str]) -> str:
    return BETWEEN.join(sorted(classes)) or "no class"
