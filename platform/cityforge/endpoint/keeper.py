"""Makes a picture private and writes it onto the disk, in a process behind everything else."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cityforge.errors import InputError, ServiceError
from cityforge.inference.answers import now

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cityforge.footage.redact import Redactor

LEAST_FREE = 1 << 30  # bytes that are left to others
MOST_PIXELS = 40_000_000  # of a picture that is kept; redaction holds it several times
INDEX = "index.jsonl"


class Keeper:
    """Makes pictures private and writes them: `<day>/<request id>-<number>.jpg`, and an index.

    Args:
        redactor: None: nothing has to be removed.
        least_free: bytes of the disk that are never used.
    """

    def __init__(
        self, folder: Path, redactor: Redactor | None, least_free: int = LEAST_FREE
    ) -> None:
        self._folder, self._redactor, self._least_free = folder, redactor, least_free

    def keep(self, picture: bytes, request_id: str, number: int, why: str) -> None:
        """Keep a picture of a request, upright, without what its file says beside.

        Raises:
            InputError: it does not decode, or is too large.
            FootageError: it cannot be made private.
            ServiceError: too little disk is free.
        """
        if not set(request_id) <= set("0123456789abcdef-"):
            raise InputError("the id of a request", found=f"'{request_id}'")
        day = self._folder / now()[:10]
        day.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._refuse_full_disk()
        jpeg, regions = self._private(_decoded(picture))
        name = f"{request_id}-{number}.jpg"
        write_private(day / name, jpeg)
        line = {
            "file": name, "at": now(), "request_id": request_id, "picture": number, "why": why,
            "redactor": self._redactor.digest if self._redactor else "", "regions": regions,
        }  # fmt: skip
        _append(day / INDEX, json.dumps(line) + "\n")

    def _private(self, bgr: NDArray[Any]) -> tuple[bytes, int]:
        from cityforge.footage.stills import encode_jpeg

        if self._redactor is None:
            return encode_jpeg(bgr), 0
        found = self._redactor.redact(bgr)
        return found.jpeg, len(found.finds)

    def _refuse_full_disk(self) -> None:
        free = shutil.disk_usage(self._folder).free
        if free < self._least_free:
            raise ServiceError(
                f"{self._least_free / (1 << 30):g} GiB of free disk",
                found=f"{free / (1 << 30):.2f} GiB", where=str(self._folder),
            )  # fmt: skip


def _decoded(picture: bytes) -> NDArray[Any]:
    """(H, W, 3) uint8 BGR, upright."""
    import cv2

    from cityforge.tasks.picture import decode, picture_size

    width, height = picture_size(picture)
    if width * height > MOST_PIXELS:
        raise InputError(f"at most {MOST_PIXELS:,} pixels", found=f"{width}×{height}")
    bgr: NDArray[Any] = cv2.cvtColor(decode(picture), cv2.COLOR_RGB2BGR)
    return bgr


def write_private(path: Path, data: bytes) -> None:
    """Write beside, then rename; readable by its owner alone."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def _append(path: Path, line: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(handle, "wb", buffering=0) as stream:
        stream.write(line.encode())
