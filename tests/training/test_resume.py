"""A training that is cut short ends as an undisturbed one: the same figures, the same weights."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytorch_lightning as pl
import torch
from scenes import card, figures, quick, same, trained, weights

from cityforge.training.fit import Outcome, make_learner
from cityforge.training.keeping import BEFORE, BEST, LAST, is_whole

# Eight frames, two a step: four steps an epoch. What could differ after a cut is all on.
PARAMS = quick(epochs=4, batch=2, validate_every=2, freeze_epochs=2, grow_from=0.5, grow_until=0.6)


class Steps(pl.Callback):
    """Notes the steps that begin, epoch and batch from 0, and may fail at one."""

    def __init__(self, stop_at: tuple[int, int] | None = None) -> None:
        self.taken: list[tuple[int, int]] = []
        self.drawn: dict[tuple[int, int], float] = {}  # a random number of each
        self.stop_at = stop_at

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        self.taken.append((trainer.current_epoch, batch_idx))
        self.drawn[self.taken[-1]] = float(torch.rand(()))
        if self.taken[-1] == self.stop_at:
            raise KeyError


SCRIPT = """
import sys
from pathlib import Path
import pytorch_lightning as pl
import torch
sys.path.insert(0, {here!r})
from scenes import trained
from test_resume import PARAMS
from cityforge.training import keeper

class Say(pl.Callback):
    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        print("step", trainer.current_epoch, batch_idx, flush=True)

torch.set_num_threads(1)
keeper.SAVE_EVERY_S = {save_every}
trained(Path({folder!r}), params=PARAMS, callbacks=[Say()])
print("ended", flush=True)
"""


class Whole(NamedTuple):
    """An undisturbed training."""

    outcome: Outcome
    work: Path
    steps: Steps


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder, steps = tmp_path_factory.mktemp("whole"), Steps()
    outcome, _ = trained(folder, params=PARAMS, callbacks=[steps])
    return Whole(outcome, folder / "work", steps)


def killed_at(folder: Path, line: str, save_every: float) -> list[str]:
    """Train in a process of its own, and end that with SIGKILL once it said `line`."""
    script = SCRIPT.format(
        here=str(Path(__file__).parent), folder=str(folder), save_every=save_every
    )
    said = []
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        for each in process.stdout or ():
            said.append(each.strip())
            if said[-1] == line:
                os.killpg(process.pid, signal.SIGKILL)
    return said


@pytest.mark.parametrize(
    ("line", "save_every", "first_step"),
    [
        ("step 1 2", 0.0, (1, 2)),  # in the middle of the second epoch: from there
        ("step 2 1", 3600.0, (2, 0)),  # no checkpoint within epochs: from the second one's end
    ],
)
def test_a_killed_training_ends_as_an_undisturbed_one(
    line: str,
    save_every: float,
    first_step: tuple[int, int],
    whole: Whole,
    tmp_path: Path,
) -> None:
    said = killed_at(tmp_path, line, save_every)
    assert said[-1] == line
    assert is_whole(tmp_path / "work" / LAST)
    steps = Steps()
    outcome, _ = trained(tmp_path, params=PARAMS, callbacks=[steps])
    assert steps.taken[0] == first_step  # no frame is trained on twice
    assert steps.drawn == {each: whole.steps.drawn[each] for each in steps.taken}
    assert figures(outcome) == figures(whole.outcome)
    assert outcome.best_epoch == whole.outcome.best_epoch
    for name in (LAST, BEST):
        assert same(weights(tmp_path / "work" / name), weights(whole.work / name)), name


def test_a_torn_checkpoint_is_passed_over(whole: Whole, tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        trained(tmp_path, params=PARAMS, callbacks=[Steps(stop_at=(2, 1))])
    last = tmp_path / "work" / LAST
    data = bytearray(last.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4096] = bytes(4096)  # a block that never got there
    last.write_bytes(data)
    assert is_whole(tmp_path / "work" / BEFORE)
    lines: list[str] = []
    outcome, _ = trained(tmp_path, params=PARAMS, say=lines.append)
    assert lines[0].startswith("last.ckpt is torn")
    assert lines[1].startswith("epoch 2/4")
    assert figures(outcome) == figures(whole.outcome)
    assert same(weights(last), weights(whole.work / LAST))


@pytest.mark.parametrize("content", [b"", b"no zip at all"])
def test_a_file_that_is_no_checkpoint_means_the_start(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / LAST).write_bytes(content)
    lines: list[str] = []
    outcome, _ = trained(tmp_path, params=quick(epochs=1), say=lines.append)
    assert "torn" in lines[0]
    assert outcome.epochs == 1


def test_a_checkpoint_of_another_network_means_the_start(tmp_path: Path) -> None:
    """As after an update of cityforge, whose network of that name is another one."""
    params = quick(epochs=1)
    trained(tmp_path, params=params)
    lines: list[str] = []
    learner = make_learner(card(("车", "bus")), params[1])
    outcome, _ = trained(tmp_path, params=params, learner=learner, say=lines.append)
    assert any("last.ckpt is of another network" in each for each in lines)
    assert outcome.epochs == 1
    state = torch.load(outcome.best_checkpoint, weights_only=True)["state_dict"]
    assert {name: each.shape for name, each in state.items()} == {
        name: each.shape for name, each in learner.state_dict().items()
    }


def test_a_training_that_had_ended_ends_at_once(tmp_path: Path) -> None:
    params = quick(epochs=4, learning_rate=1e-9, patience=1)  # no epoch is better: it stops
    first, _ = trained(tmp_path, params=params)
    assert first.epochs == 2
    lines: list[str] = []
    second, _ = trained(tmp_path, params=params, say=lines.append)
    assert not lines
    assert figures(second) == figures(first)
    assert second.best_checkpoint == first.best_checkpoint
