"""A disk that is full ends no training, and what was kept before stays."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
from scenes import quick, squares, trained

from cityforge.errors import ServiceError
from cityforge.training.keeping import BEFORE, BEST, LAST, is_whole, read_own

MB = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 200 MB; its checkpoints have some 30."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", str(place)], capture_output=True
        ).returncode
    )
    if not mounted:
        pytest.skip("mounting a small disk needs root")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)  # its shard is still open


class Fill(pl.Callback):
    """Fills the disk in front of an epoch, and may free it in front of another one."""

    def __init__(self, place: Path, epoch: int, free_at: int = 99) -> None:
        self.path, self.epoch, self.free_at = place / "filler", epoch, free_at

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        if trainer.current_epoch == self.epoch:
            fill(self.path)
        if trainer.current_epoch == self.free_at:
            self.path.unlink()


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(MB))
        except OSError:
            pass


def test_the_training_goes_on_and_its_last_good_checkpoint_stays(small_disk: Path) -> None:
    lines: list[str] = []
    params = quick(epochs=3)
    outcome, _ = trained(
        small_disk, params=params, callbacks=[Fill(small_disk, 1)], say=lines.append
    )
    assert outcome.epochs == 3
    said = [each for each in lines if "checkpoint" in each]
    assert len(said) == 1, said
    assert said[0].startswith("no checkpoint could be written (No space left on device)")
    last = small_disk / "work" / LAST
    assert is_whole(last) and read_own(last)["epoch"] == 1
    # The outcome is what a file holds, not what was lost.
    assert outcome.best_epoch == 1
    assert outcome.best_score == outcome.history[0]["val_score"]
    assert is_whole(Path(outcome.best_checkpoint))
    assert not list((small_disk / "work").glob(".*"))


def test_the_best_weights_wait_until_there_is_room_again(small_disk: Path) -> None:
    params = quick(epochs=4)
    frames = squares(small_disk / "frames")
    disk = Fill(small_disk, 1, free_at=3)
    outcome, _ = trained(small_disk, params=params, frames=frames, callbacks=[disk])
    scores = [row["val_score"] for row in outcome.history]
    assert max(scores) > scores[0]
    assert outcome.best_score == max(scores)
    assert read_own(small_disk / "work" / BEST)["epoch"] == outcome.best_epoch
    assert read_own(small_disk / "work" / LAST)["epoch"] == 4
    assert read_own(small_disk / "work" / BEFORE)["epoch"] == 1


def test_when_nothing_could_be_kept_it_says_so(small_disk: Path) -> None:
    frames = squares(small_disk / "frames")
    fill(small_disk / "filler")
    with pytest.raises(ServiceError) as stopped:
        trained(small_disk, params=quick(epochs=1), frames=frames)
    assert "expected room for a checkpoint, found No space left on device" in str(stopped.value)
    (small_disk / "filler").unlink()
    outcome, _ = trained(small_disk, params=quick(epochs=1), frames=frames)
    assert outcome.best_epoch == 1
