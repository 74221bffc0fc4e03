"""Which files a person means who names files and folders."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cityforge.errors import FootageError, InputError, on_one_line

# Endings of files that come beside footage and are passed over in a folder.
NOT_FOOTAGE = {".txt", ".json", ".yaml", ".yml", ".xml", ".csv", ".md", ".dvc", ".zip", ".onnx"}
# How names begin of what systems keep for themselves: thumbnails, and what was thrown away.
OF_SYSTEMS = (".", "@eaDir", "@Recycle", "#recycle")


@dataclass
class Found:
    """Files that were named, or lie in folders that were."""

    files: list[tuple[Path, str]] = field(default_factory=list)  # with the name each is known by
    passed_over: list[str] = field(default_factory=list)  # by its ending it is no footage
    refused: list[FootageError] = field(default_factory=list)


def list_files(paths: Sequence[Path]) -> Found:
    """Files under `paths`, each with the name it will be known by.

    A file in a folder is known by its path from that folder; bytes in it that are no UTF-8 are
    spelt out. A link that leads out of the folder is refused. What systems keep for themselves
    in a folder is passed over.

    Raises:
        InputError: a path that is not there, or nothing found.
    """
    found = Found()
    for path in paths:
        if path.is_dir():
            _list_folder(path, found)
        elif path.is_file():
            found.files.append((path, known_name(Path(path.name))))
        else:
            raise InputError("a film, a photograph or a folder", found="no file", where=str(path))
    if not found.files and not found.refused:
        raise InputError("films or photographs", found="none", where=", ".join(map(str, paths)))
    return found


def known_name(path: Path) -> str:
    r"""A path as text that prints on one line.

    >>> known_name(Path("北门") / os.fsdecode(b"\xd6\xd0.mp4"))
    '北门/\\xd6\\xd0.mp4'
    """
    return on_one_line(os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace"))


def _list_folder(folder: Path, found: Found) -> None:
    for path in _walk(folder, folder.resolve(), found):
        name = known_name(path.relative_to(folder))
        if path.suffix.lower() in NOT_FOOTAGE:
            found.passed_over.append(name)
        elif path.is_file():
            found.files.append((path, name))
        else:
            found.refused.append(
                FootageError("a file", found="something else, or a broken link", where=str(path))
            )


def _walk(folder: Path, inside: Path, found: Found, linked: bool = False) -> Iterator[Path]:
    """Files under a folder in the order of their names; what cannot be listed is refused.

    Args:
        inside: the folder that was named, its links resolved; no link leads out of it.
        linked: whether `folder` was reached by a link; a second one is not followed.
    """
    try:
        for path in sorted(folder.iterdir()):
            if path.name.startswith(OF_SYSTEMS):
                continue
            if path.is_symlink():
                yield from _follow(path, inside, found, linked)
            elif path.is_dir():
                yield from _walk(path, inside, found, linked)
            else:
                yield path
    except OSError as error:
        where = error.filename or folder
        found.refused.append(
            FootageError("a folder that can be read", found=str(error.strerror), where=str(where))
        )


def _follow(link: Path, inside: Path, found: Found, linked: bool) -> Iterator[Path]:
    try:
        target = link.resolve()
    except (OSError, RuntimeError):  # it leads to itself
        target = link
    if link.suffix.lower() in NOT_FOOTAGE and not target.is_dir():
        yield link
    elif not target.is_relative_to(inside):
        found.refused.append(
            FootageError(
                "files of this folder",
                found=f"a link to {target}",
                where=str(link),
                do="name that file or folder itself if it is meant",
            )
        )
    elif not target.is_dir():
        yield link
    elif linked or link.parent.resolve().is_relative_to(target):
        found.passed_over.append(known_name(link))  # its files are listed by their own names
    else:
        yield from _walk(link, inside, found, linked=True)
