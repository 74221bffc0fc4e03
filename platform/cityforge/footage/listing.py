"""Which files a person means who names files and folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cityforge.errors import FootageError, InputError, on_one_line

# Endings of files that come beside footage and are passed over in a folder.
NOT_FOOTAGE = {".txt", ".json", ".yaml", ".yml", ".xml", ".csv", ".md", ".dvc", ".zip", ".onnx"}


@dataclass
class Found:
    """Files that were named, or lie in folders that were."""

    files: list[tuple[Path, str]] = field(default_factory=list)  # with the name each is known by
    passed_over: list[str] = field(default_factory=list)  # by its ending it is no footage
    refused: list[FootageError] = field(default_factory=list)


def list_files(paths: Sequence[Path]) -> Found:
    """Files under `paths`, each with the name it will be known by.

    A file in a folder is known by its path from that folder. A link that leads out of the
    folder is refused.

    Raises:
        InputError: a path that is not there, or nothing found.
    """
    found = Found()
    for path in paths:
        if path.is_dir():
            _list_folder(path, found)
        elif path.is_file():
            found.files.append((path, on_one_line(path.name)))
        else:
            raise InputError("a film, a photograph or a folder", found="no file", where=str(path))
    if not found.files and not found.refused:
        raise InputError("films or photographs", found="none", where=", ".join(map(str, paths)))
    return found


def _list_folder(folder: Path, found: Found) -> None:
    inside = folder.resolve()
    for path in sorted(each for each in folder.rglob("*") if not each.is_dir()):
        name = on_one_line(path.relative_to(folder).as_posix())
        if path.name.startswith("."):
            continue
        if path.suffix.lower() in NOT_FOOTAGE:
            found.passed_over.append(name)
        elif not path.resolve().is_relative_to(inside):
            found.refused.append(
                FootageError(
                    "files of this folder",
                    found=f"a link to {path.resolve()}",
                    where=str(path),
                    do="name that file itself if it is meant",
                )
            )
        elif path.is_file():
            found.files.append((path, name))
        else:
            found.refused.append(
                FootageError("a file", found="something else, or a broken link", where=str(path))
            )
