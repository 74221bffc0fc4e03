"""Read label files with errors that name the spot, and write them inside their folder."""

from __future__ import annotations

import codecs
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from cityforge.errors import LabelError, ServiceError
from cityforge.labeling.formats.encodings import (
    EncodingError,
    decode,
    decode_xml,
    marked_encoding,
)

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
_UNSAFE = re.compile("[\x00-\x1f\x7f\\\\:\ud800-\udfff]")
_START_BYTES = 1 << 16
_LONGEST_PART = 180  # bytes; file systems hold 255 a part


def read_text(path: Path, kind: str) -> str:
    """Read a whole text file in UTF-8, or as its byte order mark says; the mark is dropped.

    Raises:
        LabelError: it is missing, cannot be opened, or is in another encoding.
    """
    return _read(path, kind, decode)


def read_xml_text(path: Path, kind: str) -> str:
    """Read a whole XML file, also in the encoding that its first line declares.

    Raises:
        LabelError: as `read_text`, or the bytes contradict the declaration.
    """
    return _read(path, kind, decode_xml)


def _read(path: Path, kind: str, decoded: Callable[[bytes], str]) -> str:
    try:
        return decoded(path.read_bytes())
    except FileNotFoundError:
        raise LabelError(kind, found="nothing", where=str(path), do="check the path") from None
    except EncodingError as error:
        raise LabelError(
            f"{kind} in {error.expected}",
            found=error.found,
            where=f"{path} byte {error.byte}",
            do=error.do,
        ) from None
    except OSError as error:
        raise LabelError(kind, found=error.strerror or str(error), where=str(path)) from None


def first_sign(path: Path, kind: str) -> str:
    """The first sign of a text file that is no space, without reading all of the file.

    Raises:
        LabelError: as `read_text`.
    """
    try:
        with path.open("rb") as file:
            start = file.read(_START_BYTES)
        decoder = codecs.getincrementaldecoder(marked_encoding(start[:4]))()
        return decoder.decode(start).lstrip()[:1]
    except (ValueError, OSError):
        return read_text(path, kind).lstrip()[:1]


def read_json(path: Path) -> object:
    """Read a JSON file.

    Raises:
        LabelError: as `read_text`, or it is no JSON, or breaks off.
    """
    text = read_text(path, "a JSON file")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"{path} line {error.lineno} column {error.colno}"
        found = error.msg if error.pos < len(text) else f"the end of the file ({error.msg})"
        do = "export it again; the file may be cut off"
        raise LabelError("valid JSON", found=found, where=place, do=do) from None
    except (ValueError, RecursionError) as error:
        found = str(error).split(";")[0]
        raise LabelError("valid JSON", found=found, where=str(path), do="export it again") from None


def only_json(path: Path) -> Path:
    """The file itself, or the only JSON file of a folder.

    Raises:
        LabelError: the folder has none or several.
    """
    if not path.is_dir():
        return path
    found = sorted(path.glob("*.json"))
    if len(found) != 1:
        listed = ", ".join(file.name for file in found[:5]) or "none"
        do = "name the file itself"
        raise LabelError("a folder with one JSON file", found=listed, where=str(path), do=do)
    return found[0]


def place(folder: Path, name: str) -> Path:
    """The path of `name` under `folder`, never outside it.

    A name that cannot stand as a relative path (`..`, absolute, control characters, too
    long) is rewritten and carries a hash of the original, so that two such stay apart.

    Raises:
        LabelError: a link inside the folder leads out of it.
    """
    target = folder / _inside(name)
    if not target.resolve().is_relative_to(folder.resolve()):
        do = "remove the link that leads out of it"
        raise LabelError(f"a path inside {folder}", found=str(target.resolve()), do=do)
    return target


def folder_name(name: str) -> str:
    """The name as that of one folder; one that cannot be is rewritten and carries a hash.

    >>> folder_name("bus"), folder_name("a/b")
    ('bus', 'a_b-c14cddc033')
    """
    clean = _clean(name.replace("/", "_"))
    if clean == name and name and not name.startswith("."):
        return name
    return f"{clean.strip('.') or '_'}-{_mark(name)}"


def label_paths(folder: Path, names: list[str], suffix: str) -> list[Path]:
    """A label file for each image name: its image suffix replaced.

    Raises:
        LabelError: two images would share one label file.
    """
    first: dict[Path, str] = {}
    for name in names:
        path = place(folder, without_image_suffix(name) + suffix)
        if path in first:
            raise LabelError(
                "one label file for each image",
                found=f"{first[path]!r} and {name!r}",
                where=str(path),
                do="rename one of the images",
            )
        first[path] = name
    return list(first)


def without_image_suffix(name: str) -> str:
    """Cut off the suffix of an image, and nothing else.

    >>> without_image_suffix("a/b.c.JPG"), without_image_suffix("v1.2")
    ('a/b.c', 'v1.2')
    """
    suffix = PurePosixPath(name).suffix
    return name[: -len(suffix)] if suffix.lower() in IMAGE_SUFFIXES else name


def write_text(path: Path, text: str) -> Path:
    """Write a text file as UTF-8 with its parent folders.

    Raises:
        LabelError: the text holds half a character (a lone surrogate).
        ServiceError: the disk refuses.
    """
    try:
        content = text.encode("utf-8")
    except UnicodeEncodeError as error:
        spot = text[max(0, error.start - 20) : error.start]
        do = "rename the class or image"
        raise LabelError(
            "text that UTF-8 can hold", found=f"half a character after {spot!r}", do=do
        ) from None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        found = error.strerror or str(error)
        raise ServiceError("a place to write labels", found=found, where=str(path)) from None
    return path


def write_json(path: Path, content: object) -> Path:
    """Write JSON with its text as it is, not escaped."""
    return write_text(path, json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1))


def refuse_strays(folder: Path, pattern: str, planned: set[Path]) -> None:
    """Refuse a folder with label files of an earlier write that would mix with these.

    Raises:
        LabelError: there is such a file.
    """
    found = (path for path in sorted(folder.glob(pattern)) if path.is_file())
    strays = [path for path in found if path not in planned]
    if strays:
        raise LabelError(
            f"a folder without other files {pattern}",
            found=f"{len(strays)}, the first {strays[0].name}",
            where=str(folder),
            do="write to an empty folder",
        )


def _inside(name: str) -> PurePosixPath:
    parts = [_clean(part) for part in name.split("/") if part not in ("", ".")]
    path = PurePosixPath(*(parts or ["_"]))
    if str(path) == name:
        return path
    return path.with_name(f"{path.stem}-{_mark(name)}{path.suffix}")


def _mark(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:10]


def _clean(part: str) -> str:
    if part == "..":
        return "_"
    clean = _UNSAFE.sub("_", part)
    if len(clean.encode()) <= _LONGEST_PART:
        return clean
    suffix = PurePosixPath(clean).suffix
    suffix = suffix if suffix.lower() in IMAGE_SUFFIXES or suffix in (".txt", ".xml") else ""
    kept = clean.encode()[: _LONGEST_PART - len(suffix)]
    return kept.decode("utf-8", "ignore") + suffix
