"""Enters files in the footage catalogue: each content once, copied whole."""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

from cityforge.cards.dataset import Dataset
from cityforge.compute import WorkerDied
from cityforge.errors import CityforgeError, FootageError
from cityforge.footage.catalogue import (
    Added,
    alone_with,
    cannot_be_read,
    catalogue_path,
    hold,
    read_catalogue,
)
from cityforge.footage.probe import ID_LENGTH, Probe, content_id
from cityforge.footage.recordings import Recording
from cityforge.footage.seals import read_marks
from cityforge.tables import FOOTAGE, from_rows, write_table

# What was added is written down this often, so that a kill loses no more than this; writing a
# large catalogue takes seconds, and is to take no more than this share of the time.
CHECKPOINT_S, CHECKPOINT_SHARE = 5.0, 0.1
LONGEST_ENDING = 16
READ_AT_ONCE = 1 << 20


class Book:
    """The catalogue while files are entered in it."""

    def __init__(self, card: Dataset, folder: Path, result: Added) -> None:
        self._card = card
        self._folder = folder
        self.result = result
        self.rows = {str(row["footage_id"]): row for row in read_catalogue(folder).to_pylist()}
        self._marks = read_marks(folder)  # the catalogue does not know of all that is withdrawn
        self._again: list[tuple[str, str]] = []
        self._new: dict[str, dict[str, Any]] = {}  # rows that are not written yet
        self._named: dict[str, set[str]] = {}  # other names that are not written yet
        self._due = time.monotonic() + CHECKPOINT_S

    def unknown(self, files: list[tuple[Path, str]]) -> list[tuple[Path, str, str]]:
        """Of all files, the first of each content that is not stored, with its footage id."""
        with ThreadPoolExecutor() as pool:  # hashing leaves Python's lock alone
            ids = list(pool.map(_id_of, [path for path, _ in files]))
        new: dict[str, tuple[Path, str, str]] = {}
        for (path, name), footage_id in zip(files, ids, strict=True):
            if isinstance(footage_id, FootageError):
                self.result.refused.append(footage_id)
            elif footage_id in self.rows or footage_id in self._marks:
                self._meet_again(footage_id, name)
            elif footage_id in new:
                self._again.append((footage_id, name))
            else:
                new[footage_id] = (path, name, footage_id)
        return list(new.values())

    def enter(
        self,
        path: Path,
        name: str,
        footage_id: str,
        about: Recording,
        look: Probe | CityforgeError | WorkerDied,
    ) -> None:
        """Store one file, or say why not."""
        if isinstance(look, WorkerDied):
            look = FootageError(
                "a picture or a film", found="one that its decoder crashes on", where=str(path)
            )
        stored = Path("footage") / f"{footage_id}{_ending(path)}"
        if isinstance(look, Probe):
            refusal = _store(path, self._folder / stored, footage_id)
            look = refusal or look
        if isinstance(look, FootageError):
            self.result.refused.append(look)
            return
        if isinstance(look, CityforgeError):
            raise look
        row = _row(self._card, look, stored.as_posix(), name, about)
        self.rows[footage_id] = row
        self._new[footage_id] = row
        self.result.added.append(row)
        if time.monotonic() > self._due:
            self.write()

    def _meet_again(self, footage_id: str, name: str) -> None:
        row = self.rows.get(footage_id, {})
        mark = self._marks.get(footage_id, {})
        withdrawn = row.get("withdrawn_at") or mark.get("withdrawn_at")
        if withdrawn:
            reason = row.get("withdrawn_reason") or mark.get("reason")
            self.result.refused.append(
                FootageError(
                    "footage that may be used",
                    found=f"one withdrawn on {withdrawn:%Y-%m-%d} ({reason})",
                    where=name,
                )
            )
            return
        self.result.known.append(f"{name} = {row['name']}")
        if name not in (row["name"], *(row["other_names"] or ())):
            self._named.setdefault(footage_id, set()).add(name)

    def write(self) -> None:
        """Write the catalogue where something has changed."""
        begun = time.monotonic()
        for footage_id, name in self._again:
            if footage_id in self.rows:
                self._meet_again(footage_id, name)
        self._again = [each for each in self._again if each[0] not in self.rows]
        if self._new or self._named:
            with alone_with(self._folder):
                self._merge()
        ended = time.monotonic()
        self._due = ended + max(CHECKPOINT_S, (ended - begun) * (1 / CHECKPOINT_SHARE - 1))

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


def _id_of(path: Path) -> str | FootageError:
    try:
        return content_id(path)
    except OSError as error:
        return cannot_be_read(path, error)


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
        "error_times": list(seen.error_times),
        "notes": list(seen.notes),
        "lighting": about.lighting,
        "weather": about.weather,
        "lawful_basis": about.lawful_basis or card.privacy.lawful_basis,
        "retain_until": kept_until,
        "withdrawn_at": None,
        "withdrawn_reason": None,
    }


def _ending(path: Path) -> str:
    """The ending that a stored file keeps; none where it does not print or is no ending."""
    ending = path.suffix.lower()
    return ending if ending.isprintable() and len(ending) <= LONGEST_ENDING else ""


def _store(source: Path, target: Path, footage_id: str) -> FootageError | None:
    """Copy a file whole, or say why it cannot be; its content must still be that of its id."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    whole = False
    with os.fdopen(hold(beside), "wb") as stream:  # held until closed: see clear_leftovers
        try:
            stream.truncate()
            refusal = _copy(source, stream, footage_id)
            stream.flush()
            if refusal is None:
                beside.replace(target)
                whole = True
        finally:
            if not whole:
                beside.unlink(missing_ok=True)
    return refusal


def _copy(source: Path, target: BinaryIO, footage_id: str) -> FootageError | None:
    digest = hashlib.sha256()
    try:
        stream = source.open("rb")
    except OSError as error:
        return cannot_be_read(source, error)
    with stream:
        while True:
            try:
                part = stream.read(READ_AT_ONCE)
            except OSError as error:
                return cannot_be_read(source, error)
            if not part:
                break
            digest.update(part)
            target.write(part)
    if digest.hexdigest()[:ID_LENGTH] == footage_id:
        return None
    return FootageError(
        "a file that stays as it is",
        found="one that changed while it was read",
        where=str(source),
        do="add it again when its recording has ended",
    )


def clear_leftovers(place: Path) -> None:
    """Remove what an adding that was killed left half written.

    Files that another adding writes, on this machine or another, are held by it and stay; for
    the catalogue itself the caller is `alone_with` it.
    """
    for path in place.glob(".*.*"):
        if path.suffix[1:].isdecimal():
            _remove_if_free(path)


def _remove_if_free(path: Path) -> None:
    try:
        held = os.open(path, os.O_RDWR)
    except (FileNotFoundError, PermissionError):  # it is gone, or another person's
        return
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        pass
    finally:
        os.close(held)
