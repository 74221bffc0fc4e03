"""The time left: its arithmetic, what is said of it, and how right it is in real trainings."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes
import torch

from cityforge.settings import TERMINAL
from cityforge.training.forecast import Forecast, step_costs
from cityforge.training.progress import Progress, open_bar

HERE = Path(__file__).parent
LINE = re.compile(r"(\d+) %, epoch (\d+) of (\d+), step (\d+) of (\d+), (\d+) s left$")


def forecast(epochs: int = 4, steps: int = 10, every: int = 1, guess: float = 5.0) -> Forecast:
    costs = np.ones((epochs, steps))
    return Forecast(costs, validate_every=every, validation_cost=guess)


def test_nothing_is_forecast_before_a_step() -> None:
    assert forecast().left(0, 0, judged=False) is None


def test_steps_validations_and_pauses_are_counted_apart() -> None:
    found = forecast()
    for step in range(10):
        found.stepped(0, step, 2.0)
    assert found.left(0, 10, judged=False) == pytest.approx(30 * 2 + 4 * 5 * 2)  # guessed
    found.validated(3.0)
    found.paused(1.0)
    assert found.left(0, 10, judged=True) == pytest.approx(30 * 2 + 3 * 3 + 4 * 1)
    assert found.left(3, 9, judged=False) == pytest.approx(2 + 3 + 1)
    assert found.left(3, 10, judged=True) == 1


@pytest.mark.parametrize(("every", "epoch", "left"), [(3, 0, 2), (3, 3, 1), (4, 0, 1), (9, 0, 1)])
def test_the_last_epoch_is_always_validated(every: int, epoch: int, left: int) -> None:
    found = forecast(every=every)
    found.stepped(0, 0, 0.0)
    found.validated(1.0)
    assert found.left(epoch, 10, judged=False) == pytest.approx(left)


def test_slow_first_steps_leave_the_mean() -> None:
    found = forecast(epochs=1, steps=100)
    for step in range(10):
        found.stepped(0, step, 10.0 if step < 3 else 0.5)
    assert found.step_seconds == 0.5


def test_a_machine_that_becomes_slow_is_followed() -> None:
    found = forecast(epochs=1, steps=5000)
    for step in range(4000):
        found.stepped(0, step, 1.0 if step < 2000 else 3.0)
    assert found.step_seconds == pytest.approx((3 + 2) / 2, abs=0.01)  # now, and in all


@pytest.mark.parametrize(
    ("minutes", "judged", "left"),
    [(60.0, False, 20 + 15), (0.25, False, 15 + 5), (0.25, True, 15 + 5), (-1.0, False, 5)],
)
def test_minutes_end_a_training_before_its_epochs(
    minutes: float, judged: bool, left: float
) -> None:
    found = forecast(epochs=4, steps=10)
    found.stepped(0, 0, 1.0)
    found.validated(5.0)
    assert found.left(1, 10, judged=judged, minutes_left=minutes) == pytest.approx(left)


def test_larger_inputs_later_cost_more() -> None:
    _, train = scenes.quick(grow_from=0.5, grow_until=0.5)
    costs = step_costs(train, 4, 10)
    assert costs[0, 0] == pytest.approx(0.25)
    assert costs[1, 0] == pytest.approx(0.75**2)
    assert (costs[2:] == 1).all()
    _, train = scenes.quick(freeze_epochs=1.0)
    assert (step_costs(train, 4, 10)[0] < 1).all()
    assert (step_costs(train, 4, 10)[1:] == 1).all()


def test_a_pipe_gets_a_line_now_and_then(tmp_path: Path) -> None:
    params = scenes.quick(epochs=3)
    for every, counts in ((60.0, (0, 0)), (0.0, (6, 12))):
        said: list[str] = []
        bar = Progress(params[1], said.append, "seed 7: ", every=every)
        scenes.trained(tmp_path, kept=False, params=params, callbacks=[bar])
        assert counts[0] <= len(said) <= counts[1], said
        for line in said:
            assert line.startswith("seed 7: ")
            found = LINE.search(line)
            assert found, line
            assert 0 <= int(found[1]) <= 100
            assert (found[3], found[5]) == ("3", "2")
    epochs: list[str] = []
    scenes.trained(tmp_path, kept=False, params=params, say=epochs.append, callbacks=[bar])
    assert [line[:9] for line in epochs] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert all(line.endswith(" s left") for line in epochs)


class Recorded(Progress):
    """Notes (time, seconds left) with every step and validation."""

    def __init__(self, train: Any, clock: Any) -> None:
        super().__init__(train, lambda _: None, clock=clock)
        self.marks: list[tuple[float, float]] = []
        self.began = self.ended = 0.0

    def on_train_start(self, trainer: Any, module: Any) -> None:
        super().on_train_start(trainer, module)
        self.began = self.clock()

    def on_train_end(self, trainer: Any, module: Any) -> None:
        super().on_train_end(trainer, module)
        self.ended = self.clock()

    def _estimate(self, module: Any) -> None:
        super()._estimate(module)
        left = self.seconds_left()
        assert left is not None
        self.marks.append((self.clock(), left))

    def tenths(self) -> dict[int, tuple[float, float]]:
        """At each tenth of the time that it took: seconds left by the forecast, and really."""
        whole = self.ended - self.began
        found = {}
        for tenth in range(1, 10):
            at, left = next(m for m in self.marks if m[0] - self.began >= whole * tenth / 10)
            found[tenth] = (left, self.ended - at)
        return found


# Other work on the machine makes a training slower in ways that nobody can foresee: where
# steps end it, time is counted in what this process really got of the processor.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "clock"),
    [
        ({"epochs": 10}, time.process_time),
        ({"epochs": 10, "validate_every": 4, "workers": 1}, time.process_time),
        ({"epochs": 1000, "minutes": 0.4, "deterministic": False}, time.monotonic),
    ],
    ids=["epochs", "rare validations and a worker", "minutes"],
)
@pytest.mark.alone
def test_the_time_left_is_right_within_a_quarter_after_the_first_tenth(
    tmp_path: Path, changes: dict[str, Any], clock: Any
) -> None:
    """Trainings of about twenty seconds; held at every tenth of the time it took.

    A neighbour who comes or goes in the middle changes the pace, which nobody can foresee:
    one training of three that goes undisturbed is enough.
    """
    furthest = [furthest_off(tmp_path / "0", changes, clock)]
    while min(furthest) >= 0 and len(furthest) < 3:
        furthest.append(furthest_off(tmp_path / str(len(furthest)), changes, clock))
    assert min(furthest) < 0, furthest


def furthest_off(folder: Path, changes: dict[str, Any], clock: Any) -> float:
    """Seconds of the worst forecast of a training over what is allowed; under 0 is good."""
    data, train = scenes.quick(batch=8, **changes)
    data = data.model_copy(update={"input_width": 96, "input_height": 96})
    bar = Recorded(train, clock)
    frames = scenes.squares(folder / "frames", 240)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two that wait for each other use more of the processor
    try:
        scenes.trained(folder, frames=frames, params=(data, train), callbacks=[bar])
    finally:
        torch.set_num_threads(threads)
    found = bar.tenths()
    print({k: f"{left:.1f} of {real:.1f} s" for k, (left, real) in found.items()})  # noqa: T201
    assert len(found) == 9
    assert bar.ended - bar.began > 5
    # A second is what one validation here may be off.
    return max(abs(left - real) - max(1.0, real / 4) for left, real in found.values())


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
import scenes
from cityforge.stage import say
from cityforge.training.progress import Progress
params = scenes.quick(epochs=6)
bar = Progress(params[1], say)
frames = scenes.squares(Path({folder!r}), 48)
scenes.trained(Path({folder!r}), frames=frames, kept=False, params=params, say=say, callbacks=[bar])
"""


def on_terminal(folder: Path, piped: bool) -> tuple[str, str]:
    """What a training shows on a terminal, and what it writes into a pipe to it."""
    here, there = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "OMP_NUM_THREADS": "1"}
    if piped:
        environment[TERMINAL] = os.ttyname(there)
    code = SCRIPT.format(here=str(HERE), folder=str(folder))
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdin=there,
        stdout=subprocess.PIPE if piped else there, stderr=subprocess.STDOUT if piped else there,
    )  # fmt: skip
    os.close(there)
    shown = b""
    while True:
        try:
            part = os.read(here, 65536)
        except OSError:  # the other end is closed (EIO)
            break
        if not part:
            break
        shown += part
    lines = process.stdout.read().decode() if process.stdout else ""
    assert process.wait(60) == 0, shown.decode() + lines
    os.close(here)
    return shown.decode(), lines


@pytest.mark.slow
@pytest.mark.parametrize("piped", [False, True], ids=["its own", "of the command above it"])
def test_a_terminal_gets_a_bar_and_the_lines_above_it(tmp_path: Path, piped: bool) -> None:
    shown, lines = on_terminal(tmp_path, piped)
    assert "epoch 2 of 6" in shown or "epoch 4 of 6" in shown
    assert "%" in shown and "━" in shown
    assert shown.count("epoch 6/6") + lines.count("epoch 6/6") == 1
    assert "%" not in lines


def test_without_a_terminal_there_is_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TERMINAL, raising=False)
    assert open_bar() is None
    monkeypatch.setenv(TERMINAL, "/nowhere/tty")
    assert open_bar() is None
