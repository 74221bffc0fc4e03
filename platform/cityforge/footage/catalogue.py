"""The footage catalogue of a dataset: which films and photographs it holds."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from cityforge.cards.dataset import Dataset
from cityforge.compute import WorkerDied, attempt_in_processes
from cityforge.errors import CityforgeError, FootageError, InputError, NameUnknown, ServiceError
from cityforge.footage.listing import Found
from cityforge.footage.probe import Probe, content_id, probe
from cityforge.footage.recordings import Recording
from cityforge.tables import FOOTAGE, from_rows, read_table, write_table

SPARE_DISK_BYTES = 512 << 20
# What was added is written down this often, so that a kill loses no more than this.
CHECKPOINT_S = 5.0


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
    """Hold off others who would change the catalogue of the dataset in `folder`."""
    place = folder / "footage"
    place.mkdir(parents=True, exist_ok=True)
    held = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


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

    Raises:
        InputError: a file whose camera is not known; nothing was added.
        NameUnknown: a camera that the card does not name; nothing was added.
        ServiceError: not enough disk; nothing was added.
    """
    _enough_disk(folder, found.files)
    about = {name: _about(card, path, name, recordings, common) for path, name in found.files}
    book = _Book(card, folder, Added(passed_over=found.passed_over, refused=list(found.refused)))
    _clear_leftovers(folder / "footage")
    new = book.unknown(found.files)
    if progress:
        progress(len(found.files) - len(new), len(found.files))
    try:
        looks = attempt_in_processes(_examine, [(path, key) for path, _, key in new], workers)
        for left, look in enumerate(looks, start=1):
            path, name, _ = new[left - 1]
            book.enter(path, name, about[name], look)
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


class _Book:
    """The catalogue while files are entered in it."""

    def __init__(self, card: Dataset, folder: Path, result: Added) -> None:
        self._card = card
        self._folder = folder
        self.result = result
        self.rows = {str(row["footage_id"]): row for row in read_catalogue(folder).to_pylist()}
        self._again: list[tuple[str, str]] = []
        self._new: dict[str, dict[str, Any]] = {}  # rows that are not written yet
        self._named: dict[str, set[str]] = {}  # other names that are not written yet
        self._written = time.monotonic()

    def unknown(self, files: list[tuple[Path, str]]) -> list[tuple[Path, str, str]]:
        """Of all files, the first of each content that is not stored, with its footage id."""
        with ThreadPoolExecutor() as pool:  # hashing leaves Python's lock alone
            ids = list(pool.map(content_id, [path for path, _ in files]))
        new: dict[str, tuple[Path, str, str]] = {}
        for (path, name), footage_id in zip(files, ids, strict=True):
            if footage_id in self.rows:
                self._meet_again(footage_id, name)
            elif footage_id in new:
                self._again.append((footage_id, name))
            else:
                new[footage_id] = (path, name, footage_id)
        return list(new.values())

    def enter(
        self, path: Path, name: str, about: Recording, look: Probe | CityforgeError | WorkerDied
    ) -> None:
        """Store one file, or say why not."""
        if isinstance(look, WorkerDied):
            look = FootageError(
                "a picture or a film", found="one that its decoder crashes on", where=str(path)
            )
        if isinstance(look, FootageError):
            self.result.refused.append(look)
            return
        if isinstance(look, CityforgeError):
            raise look
        stored = Path("footage") / f"{look.footage_id}{path.suffix.lower()}"
        _store(path, self._folder / stored)
        row = _row(self._card, look, stored.as_posix(), name, about)
        self.rows[look.footage_id] = row
        self._new[look.footage_id] = row
        self.result.added.append(row)
        if time.monotonic() - self._written > CHECKPOINT_S:
            self.write()

    def _meet_again(self, footage_id: str, name: str) -> None:
        row = self.rows[footage_id]
        if row["withdrawn_at"]:
            self.result.refused.append(
                FootageError(
                    "footage that may be used",
                    found=f"one withdrawn on {row['withdrawn_at']:%Y-%m-%d} "
                    f"({row['withdrawn_reason']})",
                    where=name,
                )
            )
            return
        self.result.known.append(f"{name} = {row['name']}")
        if name not in (row["name"], *(row["other_names"] or ())):
            self._named.setdefault(footage_id, set()).add(name)

    def write(self) -> None:
        """Write the catalogue where something has changed."""
        for footage_id, name in self._again:
            if footage_id in self.rows:
                self._meet_again(footage_id, name)
        self._again = [each for each in self._again if each[0] not in self.rows]
        if self._new or self._named:
            with alone_with(self._folder):
                self._merge()
        self._written = time.monotonic()

    def _merge(self) -> None:
        """Enter what is new in the catalogue as it is by now; others may have changed it."""
        stored = {str(row["footage_id"]): row for row in read_catalogue(self._folder).to_pylist()}
        self.rows = {**self._new, **stored}
        for footage_id, names in self._named.items():
            row = self.rows[footage_id]
            row["other_names"] = sorted({*(row["other_names"] or ()), *names})
        ordered = [self.rows[key] for key in sorted(self.rows)]
        write_table(from_rows(ordered, FOOTAGE), FOOTAGE, catalogue_path(self._folder))
        self._new, self._named = {}, {}


def _row(card: Dataset, seen: Probe, stored: str, name: str, about: Recording) -> dict[str, Any]:
    started = about.started_at or seen.started_at
    site = next(each.site for each in card.cameras if each.name == about.camera)
    now = datetime.now(UTC)
    kept_until = about.retain_until or (started or now) + timedelta(card.privacy.retention_days)
    return {
        "footage_id": seen.footage_id,
        "path": stored,
        "name": name,
        "other_names": [],
        "added_at": now,
        "camera": about.camera,
        "site": site,
        "started_at": started,
        "duration_s": seen.duration_s,
        "fps": seen.fps,
        "width": seen.width,
        "height": seen.height,
        "container": seen.container,
        "codec": seen.codec,
        "pixel_format": seen.pixel_format,
        "rotation": seen.rotation,
        "variable_rate": seen.variable_rate,
        "divisible": seen.divisible,
        "frames": seen.frames,
        "errors": seen.errors,
        "partial": seen.partial,
        "error_times": list(seen.error_times),
        "notes": list(seen.notes),
        "lighting": about.lighting,
        "weather": about.weather,
        "lawful_basis": about.lawful_basis or card.privacy.lawful_basis,
        "retain_until": kept_until,
        "withdrawn_at": None,
        "withdrawn_reason": None,
    }


def _about(
    card: Dataset, path: Path, name: str, recordings: dict[str, Recording], common: Recording
) -> Recording:
    about = recordings.get(name, common)
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


def _store(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        shutil.copyfile(source, beside)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def _clear_leftovers(place: Path) -> None:
    """Remove what an adding that was killed left half written; those that still run keep theirs."""
    import psutil

    for path in place.glob(".*.*"):
        writer = path.suffix[1:]
        if writer.isdecimal() and not psutil.pid_exists(int(writer)):
            path.unlink(missing_ok=True)


def _enough_disk(folder: Path, files: list[tuple[Path, str]]) -> None:
    need = sum(path.stat().st_size for path, _ in files) + SPARE_DISK_BYTES
    free = shutil.disk_usage(folder).free
    if free < need:
        raise ServiceError(
            f"{need / 1e9:.1f} GB of free disk",
            found=f"{free / 1e9:.1f} GB",
            where=str(folder),
            do="free some, then run the same command again; nothing was added",
        )
