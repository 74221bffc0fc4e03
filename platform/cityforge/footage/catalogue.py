"""The footage catalogue of a dataset: which films and photographs it holds."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from cityforge.cards.dataset import Dataset
from cityforge.errors import FootageError, InputError, NameUnknown, ServiceError
from cityforge.footage.probe import Probe, content_id, probe
from cityforge.tables import FOOTAGE, from_rows, read_table, write_table

# Endings of files that come beside footage and are passed over in a folder.
NOT_FOOTAGE = {".txt", ".json", ".yaml", ".yml", ".xml", ".csv", ".md", ".dvc", ".zip", ".onnx"}
SPARE_DISK_BYTES = 512 << 20


@dataclass(frozen=True)
class Recording:
    """What a person knows about a file that the file itself may not say."""

    camera: str = ""
    started_at: datetime | None = None
    lighting: str | None = None
    weather: str | None = None


@dataclass
class Added:
    """What one `footage add` did."""

    added: list[dict[str, Any]] = field(default_factory=list)
    known: list[str] = field(default_factory=list)  # same content as something stored
    refused: list[FootageError] = field(default_factory=list)


def catalogue_path(folder: Path) -> Path:
    """Where the catalogue of the dataset in `folder` lies."""
    return folder / "footage" / "footage.parquet"


def read_catalogue(folder: Path) -> pa.Table:
    """Table FOOTAGE of a dataset; empty when nothing was added yet."""
    path = catalogue_path(folder)
    return read_table(FOOTAGE, path) if path.exists() else FOOTAGE.empty_table()


def list_files(paths: Iterable[Path]) -> list[tuple[Path, str]]:
    """Files under `paths`, each with the name it will be known by: relative to its folder.

    Raises:
        InputError: a path that is not there, or nothing found.
    """
    found: list[tuple[Path, str]] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(each for each in path.rglob("*") if each.is_file())
            found += [
                (each, each.relative_to(path).as_posix())
                for each in inside
                if each.suffix.lower() not in NOT_FOOTAGE and not each.name.startswith(".")
            ]
        elif path.is_file():
            found.append((path, path.name))
        else:
            raise InputError("a film, a photograph or a folder", found="no file", where=str(path))
    if not found:
        raise InputError("films or photographs", found="none", where=", ".join(map(str, paths)))
    return found


def read_recordings(path: Path) -> dict[str, Recording]:
    """Read a CSV with the columns file, camera, started_at, lighting, weather (the last 3 free).

    Raises:
        InputError: no UTF-8, a missing column, or a time that is none, with its line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except UnicodeDecodeError as error:
        raise InputError(
            "UTF-8 text",
            found=f"byte {error.start} that is none",
            where=str(path),
            do="save it as CSV UTF-8",
        ) from error
    found: dict[str, Recording] = {}
    for line, row in enumerate(rows, start=2):
        if not row.get("file") or not row.get("camera"):
            raise InputError("the columns file and camera", where=f"{path} line {line}")
        found[row["file"]] = Recording(
            row["camera"],
            parse_time(row.get("started_at") or "", f"{path} line {line}"),
            row.get("lighting") or None,
            row.get("weather") or None,
        )
    return found


def parse_time(text: str, where: str) -> datetime | None:
    """An ISO 8601 time, UTC when it names no zone; nothing gives None."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            "a time such as 2026-03-02T09:00:00Z", found=f"'{text}'", where=where
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def add_footage(
    card: Dataset,
    folder: Path,
    files: list[tuple[Path, str]],
    recordings: dict[str, Recording],
    common: Recording,
    progress: Callable[[int, int], None] | None = None,
) -> Added:
    """Copy originals into the dataset and enter them in its catalogue.

    A file that cannot be used is listed in `refused`; the others are added.
    Content that is stored already is not stored again.

    Raises:
        InputError: a file whose camera is not known; nothing was added.
        NameUnknown: a camera that the card does not name; nothing was added.
        ServiceError: not enough disk; nothing was added.
    """
    _enough_disk(folder, files)
    known = [_about(card, name, recordings, common) for _, name in files]
    rows = {str(row["footage_id"]): row for row in read_catalogue(folder).to_pylist()}
    result = Added()
    for done, ((path, name), about) in enumerate(zip(files, known, strict=True), start=1):
        try:
            _add_one(card, folder, path, name, about, rows, result)
        except FootageError as error:
            result.refused.append(error)
        if progress:
            progress(done, len(files))
    if result.added:
        ordered = [rows[key] for key in sorted(rows)]
        write_table(from_rows(ordered, FOOTAGE), FOOTAGE, catalogue_path(folder))
    return result


def _add_one(
    card: Dataset,
    folder: Path,
    path: Path,
    name: str,
    about: Recording,
    rows: dict[str, dict[str, Any]],
    result: Added,
) -> None:
    if path.is_file() and (known := content_id(path)) in rows:
        result.known.append(f"{name} = {rows[known]['name']}")
        return
    seen = probe(path)
    stored = Path("footage") / f"{seen.footage_id}{path.suffix.lower()}"
    _store(path, folder / stored)
    row = _row(card, seen, stored.as_posix(), name, about)
    rows[seen.footage_id] = row
    result.added.append(row)


def _row(card: Dataset, seen: Probe, stored: str, name: str, about: Recording) -> dict[str, Any]:
    started = about.started_at or seen.started_at
    site = next(each.site for each in card.cameras if each.name == about.camera)
    keep_from = started or datetime.now(UTC)
    return {
        "footage_id": seen.footage_id,
        "path": stored,
        "name": name,
        "camera": about.camera,
        "site": site,
        "started_at": started,
        "duration_s": seen.duration_s,
        "fps": seen.fps,
        "width": seen.width,
        "height": seen.height,
        "codec": seen.codec,
        "frames": seen.frames,
        "errors": seen.errors,
        "lighting": about.lighting,
        "weather": about.weather,
        "lawful_basis": card.privacy.lawful_basis,
        "retain_until": keep_from + timedelta(days=card.privacy.retention_days),
    }


def _about(
    card: Dataset, name: str, recordings: dict[str, Recording], common: Recording
) -> Recording:
    about = recordings.get(name, common)
    known = [camera.name for camera in card.cameras]
    camera = about.camera or next((part for part in Path(name).parts if part in known), "")
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
