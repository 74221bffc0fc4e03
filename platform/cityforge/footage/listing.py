"""Which files a person means who names files and folders."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
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
    for path in _Walk(folder, folder.resolve(), found).files(folder):
        name = known_name(path.relative_to(folder))
        if path.suffix.lower() in NOT_FOOTAGE:
            found.passed_over.append(name)
        elif _is(path.is_file):
            found.files.append((path, name))
        else:
            found.refused.append(
                FootageError("a file", found="something else, or a broken link", where=str(path))
            )


@dataclass
class _Walk:
    """One way through a folder that was named."""

    folder: Path
    inside: Path  # the same, its links resolved; no link leads out of it
    found: Found

    def files(self, under: Path, linked: bool = False) -> Iterator[Path]:
        """Files in the order of their names; a folder that cannot be read is refused.

        Args:
            linked: whether `under` was reached by a link; a second one is not followed.
        """
        try:
            inner = sorted(under.iterdir())
        except OSError as error:
            self.found.refused.append(
                FootageError("a folder to read", found=str(error.strerror), where=str(under))
            )
            return
        for path in inner:
            if path.name.startswith(OF_SYSTEMS):
                continue
            if _is(path.is_symlink):
                yield from self._follow(path, linked)
            elif _is(path.is_dir):
                yield from self.files(path, linked)
            else:
                yield path

    def _follow(self, link: Path, linked: bool) -> Iterator[Path]:
        """What a link leads to, known by the link's name."""
        try:
            target = link.resolve()
        except (OSError, RuntimeError):  # it leads to itself
            target = link
        out = not target.is_relative_to(self.inside) and target != link
        to_folder = _is(target.is_dir)
        if not to_folder and (not out or link.suffix.lower() in NOT_FOOTAGE):
            yield link
        elif out:
            self.found.refused.append(
                FootageError(
                    "files of this folder",
                    found=f"a link to {target}",
                    where=str(link),
                    do="name what it leads to if that is meant",
                )
            )
        elif linked or link.parent.resolve().is_relative_to(target):
            # its files are listed by their own names
            self.found.passed_over.append(known_name(link.relative_to(self.folder)))
        else:
            yield from self.files(link, linked=True)


def _is(question: Callable[[], bool]) -> bool:
    """The system's answer; False where it gives none."""
    try:
        return question()
    except OSError:
        return False
