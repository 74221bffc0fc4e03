"""The footage catalogue of a dataset: which films and photographs it holds."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from cityforge.cards.dataset import Dataset
from cityforge.compute import attempt_in_processes
from cityforge.errors import CityforgeError, FootageError, InputError, NameUnknown, ServiceError
from cityforge.footage.listing import Found
from cityforge.footage.probe import Probe, probe
from cityforge.footage.recordings import Recording, completed
from cityforge.tables import FOOTAGE, read_table

SPARE_DISK_BYTES = 512 << 20


@dataclass
class Added:
    """What one `footage add` did."""

    added: list[dict[str, Any]] = field(default_factory=list)
    known: list[str] = field(default_factory=list)  # same content as something stored
    passed_over: list[str] = field(default_factory=list)
    refused: list[FootageError] = field(default_factory=list)


def catalogue_path(folder: Path) -> Path:
    """Where the catalogue of the dataset in `folder` lies."""
    return folder / "footage" / "footage.parquet"


def read_catalogue(folder: Path) -> pa.Table:
    """Table FOOTAGE of a dataset; empty when nothing was added yet."""
    path = catalogue_path(folder)
    return read_table(FOOTAGE, path) if path.exists() else FOOTAGE.empty_table()


@contextmanager
def alone_with(folder: Path) -> Iterator[None]:
    """Hold off others who would change the catalogue of the dataset in `folder`.

    The file that is held lies beside the folder that DVC tracks, and goes when it is let go.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".footage.lock"
    held = hold(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(held)


def hold(path: Path) -> int:
    """Open a file to write it, alone; others of this function wait until it is closed.

    Whoever holds a file may remove or rename it.
    """
    while True:
        held = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)  # NFS locks only what may be written
        fcntl.flock(held, fcntl.LOCK_EX)
        if _leads_to(path, held):
            return held
        os.close(held)  # it was removed or renamed while this waited


def _leads_to(path: Path, held: int) -> bool:
    try:
        again = os.open(path, os.O_RDONLY)  # asks the server of a shared folder, as stat may not
    except FileNotFoundError:
        return False
    try:
        return os.path.samestat(os.fstat(again), os.fstat(held))
    finally:
        os.close(again)


def add_footage(
    card: Dataset,
    folder: Path,
    found: Found,
    recordings: dict[str, Recording],
    common: Recording,
    progress: Callable[[int, int], None] | None = None,
    workers: int = 1,
) -> Added:
    """Copy originals into the dataset and enter them in its catalogue.

    A file that cannot be used is listed in `refused`; the others are added.
    Content that is stored already is not stored again; its other name is noted.

    Args:
        recordings: what is known of a file by its name; `common` says what it leaves open.

    Raises:
        InputError: a file whose camera is not known; nothing was added.
        NameUnknown: a camera that the card does not name; nothing was added.
        ServiceError: not enough disk; nothing was added.
        OSError: the disk is full, or the dataset cannot be written; what was added stays.
    """
    from cityforge.footage.adding import Book, clear_leftovers  # it reads the catalogue, too

    about = {name: _about(card, path, name, recordings, common) for path, name in found.files}
    book = Book(card, folder, Added(passed_over=found.passed_over, refused=list(found.refused)))
    with alone_with(folder):
        clear_leftovers(folder / "footage")
    new = book.unknown(found.files)
    _enough_disk(folder, [path for path, _, _ in new])
    if progress:
        progress(len(found.files) - len(new), len(found.files))
    try:
        looks = attempt_in_processes(_examine, [(path, key) for path, _, key in new], workers)
        for left, look in enumerate(looks, start=1):
            path, name, footage_id = new[left - 1]
            book.enter(path, name, footage_id, about[name], look)
            if progress:
                progress(len(found.files) - len(new) + left, len(found.files))
    finally:
        book.write()
    return book.result


def _examine(file: tuple[Path, str]) -> Probe | CityforgeError:
    path, footage_id = file
    try:
        return probe(path, footage_id)
    except CityforgeError as error:
        return error
    except OSError as error:
        return cannot_be_read(path, error)


def cannot_be_read(path: Path, error: OSError) -> FootageError:
    """What a person reads of a file that the system does not let us read."""
    return FootageError("a file to read", found=error.strerror or str(error), where=str(path))


def _about(
    card: Dataset, path: Path, name: str, recordings: dict[str, Recording], common: Recording
) -> Recording:
    about = completed(recordings.get(name, common), common)
    known = [camera.name for camera in card.cameras]
    named = path.parents[len(Path(name).parts) - 1]  # the folder it was found in
    parts = (*Path(name).parts, named.resolve().name)
    camera = about.camera or next((part for part in parts if part in known), "")
    if not camera and len(known) == 1:
        camera = known[0]
    if not camera:
        raise InputError(
            "the camera of each file",
            found="none",
            where=name,
            do=f"name it with --camera ({', '.join(known)})",
        )
    if camera not in known:
        raise NameUnknown(f"a camera of dataset '{card.name}'", camera, known, where=name)
    return replace(about, camera=camera)


def _enough_disk(folder: Path, new: list[Path]) -> None:
    need = sum(map(_size, new)) + SPARE_DISK_BYTES
    free = shutil.disk_usage(folder).free
    if new and free < need:
        raise ServiceError(
            f"{need / 1e9:.1f} GB of free disk",
            found=f"{free / 1e9:.1f} GB",
            where=str(folder),
            do="free some, then run the same command again; nothing was added",
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # it went since it was listed, and is refused when its turn comes
        return 0
