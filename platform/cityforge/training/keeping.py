"""The checkpoint files of a training: whole or not there, whatever happens to the disk."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.checkpoint_io import CheckpointIO

from cityforge.errors import ServiceError

LAST, BEFORE, BEST = "last.ckpt", "before.ckpt", "best.ckpt"
# Our own entry in a checkpoint of Lightning's.
OWN = "cityforge_kept"


@dataclass(frozen=True)
class Best:
    """The epoch whose weights are kept as the best, from 1, and its score."""

    score: float
    epoch: int


class CheckpointFiles(CheckpointIO):
    """Writes `last.ckpt`, the one before it and the best one; the Trainer saves through it.

    A file is written beside its place and renamed, so that a kill at any instant leaves a
    whole one. A disk that takes no more ends no training: it is said once, the files that
    are there stay, and the best weights wait in memory for the next try.
    """

    def __init__(self, folder: Path, say: Callable[[str], None] | None = None) -> None:
        self.folder = folder
        self.say = say
        self._like: dict[str, torch.Size] = {}
        self.refused = ""  # why the disk took none
        self.best: Best | None = None  # in the file, or waiting
        self._waiting: tuple[Best, bytes] | None = None
        self._written: Best | None = None

    def open(self, like: Mapping[str, torch.Tensor]) -> None:
        """Make the folder, clear what a kill left there, and read which epoch is the best.

        Args:
            like: the learner's state; a checkpoint of another network is none of its own.
        """
        self._like = {name: value.shape for name, value in like.items()}
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.glob(".*.part"):
            path.unlink()
        self._written = self.best = None
        if self._is_usable(self.folder / BEST):
            own = read_own(self.folder / BEST)
            self._written = self.best = Best(own["score"], own["epoch"])

    def newest(self) -> Path | None:
        """The checkpoint to go on from; one that is torn is passed over."""
        for name in (LAST, BEFORE):
            if self._is_usable(self.folder / name):
                return self.folder / name
        return None

    def _is_usable(self, path: Path) -> bool:
        if not path.is_file():
            return False
        fault = "is torn"
        if is_whole(path):
            kept = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            if {name: each.shape for name, each in kept["state_dict"].items()} == self._like:
                return True
            fault = "is of another network"
        if self.say:
            self.say(f"{path.name} {fault}: going on from an earlier one, or the start")
        return False

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write the checkpoint as the last one, and as the best one where it is."""
        own = checkpoint[OWN]
        stream = io.BytesIO()  # torch's own writer may end the process where the disk is full
        torch.save(checkpoint, stream)
        data = stream.getbuffer()
        if own["is_best"]:
            self.best = Best(own["score"], own["epoch"])
            self._waiting = (self.best, stream.getvalue())
        self._try(self._write_waiting)
        self._try(lambda: self._write_last(data))

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """The checkpoint of a file of ours; whatever else a file holds is refused."""
        found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return found

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a file."""
        Path(path).unlink(missing_ok=True)

    def finish(self) -> Best:
        """The best epoch that a file holds at the end.

        Raises:
            ServiceError: the disk took none.
        """
        self._try(self._write_waiting)
        if self._written is None:
            raise ServiceError(
                "room for a checkpoint", found=self.refused or "none written",
                where=str(self.folder), do="free some and run it again",
            )  # fmt: skip
        return self._written

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            if not self.refused and self.say:
                self.say(
                    f"no checkpoint could be written ({error.strerror}): "
                    "the training goes on, and what was kept before stays"
                )
            self.refused = error.strerror or str(error)

    def _write_waiting(self) -> None:
        if self._waiting:
            best, data = self._waiting
            self._write_beside(self.folder / BEST, data)
            self._written, self._waiting = best, None

    def _write_last(self, data: memoryview) -> None:
        last = self.folder / LAST
        beside = self._write_beside(last, data, rename=False)
        if last.is_file():
            last.replace(self.folder / BEFORE)
        beside.replace(last)

    def _write_beside(self, path: Path, data: Any, rename: bool = True) -> Path:
        beside = path.with_name(f".{path.name}.part")
        try:
            with beside.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError:
            beside.unlink(missing_ok=True)
            raise
        return beside.replace(path) if rename else beside


def is_whole(path: Path) -> bool:
    """Whether every byte of a checkpoint is as it was written, by its checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None and OWN.encode() in _pickled(archive)
    except (zipfile.BadZipFile, OSError, ValueError, EOFError):
        return False


def _pickled(archive: zipfile.ZipFile) -> bytes:
    name = next((each for each in archive.namelist() if each.endswith("/data.pkl")), "")
    return archive.read(name) if name else b""


def read_own(path: Path) -> dict[str, Any]:
    """What cityforge itself noted in a checkpoint."""
    found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)[OWN]
    return found
