"""Where memory is too short, a step's frames are taken in parts; the step stays as it is."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from scenes import card, figures, quick, same, trained, weights
from torch.utils.data import DataLoader, Dataset

from cityforge.errors import DataError
from cityforge.training import keeper
from cityforge.training.course import is_out_of_memory
from cityforge.training.fit import make_learner
from cityforge.training.keeping import LAST

HUGE = 1 << 60


class Ends(Dataset[int]):
    """Its loader's process is ended by a signal, or ends itself."""

    def __init__(self, by: signal.Signals | None) -> None:
        self.by = by

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        if self.by:
            os.kill(os.getpid(), self.by)
        os._exit(3)


def failure(work: Any) -> BaseException:
    with pytest.raises((RuntimeError, MemoryError)) as failed:
        work()
    return failed.value


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (failure(lambda: torch.empty(HUGE, dtype=torch.uint8)), True),
        (failure(lambda: np.empty(HUGE, np.uint8)), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (failure(lambda: list(DataLoader(Ends(signal.SIGKILL), num_workers=1))), True),
        (failure(lambda: list(DataLoader(Ends(signal.SIGSEGV), num_workers=1))), False),
        (failure(lambda: list(DataLoader(Ends(None), num_workers=1))), False),
        (failure(lambda: torch.zeros(2, 3) @ torch.zeros(2, 3)), False),
    ],
)
def test_what_is_taken_for_short_memory(error: BaseException, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


class Greedy(torch.nn.Module):
    """A network that takes `frame_bytes` for each frame at once, on top of its own."""

    def __init__(self, network: Any, frame_bytes: int) -> None:
        super().__init__()
        self.network, self.frame_bytes = network, frame_bytes
        self.backbone = network.backbone
        self.sizes: list[int] = []

    def raw(self, pictures: torch.Tensor) -> Any:
        self.sizes.append(len(pictures))
        taken = torch.empty(len(pictures) * self.frame_bytes, dtype=torch.uint8)
        found = self.network.raw(pictures)
        del taken
        return found

    def forward(self, pictures: torch.Tensor) -> Any:
        return self.network(pictures)


def greedy(params: Any, frame_bytes: int) -> Any:
    learner = make_learner(card(), params[1])
    learner.network = Greedy(learner.network, frame_bytes)
    return learner


# The address space ends 3.5 GB behind what is taken so far: too little for four times 1 GB.
LIMITED = """
import json, resource, sys
from pathlib import Path
sys.path.insert(0, {here!r})
import torch
torch.set_num_threads(1)
from scenes import quick, trained
from test_memory import greedy
params = quick(epochs=1)
learner = greedy(params, 1 << 30)
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + (7 << 29), taken + (7 << 29)))
lines = []
outcome, learner = trained(Path({folder!r}), learner=learner, params=params, say=lines.append)
print(json.dumps([lines, outcome.notes, learner.network.sizes, learner.trainer.global_step]))
"""


def test_a_real_limit_of_memory_halves_what_is_taken_at_once(tmp_path: Path) -> None:
    script = LIMITED.format(here=str(Path(__file__).parent), folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines, notes, sizes, steps = json.loads(done.stdout.splitlines()[-1])
    line = "memory was too short for 4 frames at once: taken 2 at a time, 4 a step as before"
    assert notes == [line]
    assert lines.count(line) == 1
    assert sizes == [4, 2, 2, 2, 2]
    assert steps == 2  # eight frames, four a step


class ShortFrom(pl.Callback):
    """From a step on, memory is too short for more than so many frames."""

    def __init__(self, step: int, most: int) -> None:
        self.step, self.most = step, most
        self.frames: list[list[int]] = []

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step >= self.step and len(batch.pictures) > self.most:
            torch.empty(HUGE, dtype=torch.uint8)
        self.frames.append(batch.frame.tolist())


def test_parts_taken_in_the_middle_of_an_epoch_are_of_the_frames_that_were_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "SAVE_EVERY_S", 0.0)
    params = quick(epochs=2, batch=2)
    plain, short = ShortFrom(99, 9), ShortFrom(6, 1)  # from the third step of the second epoch
    trained(tmp_path / "plain", params=params, callbacks=[plain])
    outcome, learner = trained(tmp_path / "short", params=params, callbacks=[short])
    assert len(outcome.notes) == 1
    flat = [each for batch in short.frames for each in batch]
    assert flat == [each for batch in plain.frames for each in batch]
    assert [len(each) for each in short.frames] == [2] * 6 + [1] * 4
    assert learner.trainer.global_step == 8
    assert [row["epoch"] for row in outcome.history] == [1, 2]


def test_parts_are_remembered_by_a_resume(tmp_path: Path) -> None:
    params = quick(epochs=2)

    class Cut(pl.Callback):
        def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
            if trainer.current_epoch == 1:
                raise KeyError

    with pytest.raises(KeyError):
        trained(tmp_path / "cut", params=params, callbacks=[ShortFrom(0, 2), Cut()])
    again = ShortFrom(99, 9)
    outcome, _ = trained(tmp_path / "cut", params=params, callbacks=[again])
    assert [len(each) for each in again.frames] == [2, 2, 2, 2]
    assert len(outcome.notes) == 1
    whole, _ = trained(tmp_path / "whole", params=params, callbacks=[ShortFrom(0, 2)])
    assert figures(outcome) == figures(whole)
    assert same(weights(tmp_path / "cut/work" / LAST), weights(tmp_path / "whole/work" / LAST))


class KillsLoaders(pl.Callback):
    """As the kernel does where memory is short: no loader lives that brings more than so many."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.sizes: list[int] = []
        self.others = multiprocessing.active_children()

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        self.sizes.append(len(batch.pictures))
        if self.sizes[-1] > self.most:
            for each in multiprocessing.active_children():
                if each not in self.others:
                    each.kill()


def test_a_killed_loader_means_smaller_parts(tmp_path: Path) -> None:
    loaders = KillsLoaders(2)
    params = quick(epochs=2, workers=1)
    outcome, _ = trained(tmp_path, params=params, callbacks=[loaders])
    assert outcome.notes == [
        "memory was too short for 4 frames at once: taken 2 at a time, 4 a step as before"
    ]
    assert loaders.sizes[0] == 4
    assert loaders.sizes[-8:] == [2] * 8


def test_too_little_for_one_frame_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    lines: list[str] = []
    with pytest.raises(DataError) as stopped:
        trained(tmp_path, callbacks=[ShortFrom(0, 0)], say=lines.append)
    assert [each.split(":")[1] for each in lines] == [
        " taken 2 at a time, 4 a step as before",
        " taken 1 at a time, 4 a step as before",
    ]
    assert "too little for 64x64 pixels" in str(stopped.value)
    assert "lower data.input_width" in str(stopped.value)
