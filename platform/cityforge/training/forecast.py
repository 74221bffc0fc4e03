"""How long a training still takes, from what its steps, validations and pauses took so far."""

from __future__ import annotations

from collections import deque
from statistics import fmean, median

import numpy as np
from numpy.typing import NDArray

from cityforge.cards.params import TrainParams

# Steps that are slow because they are the first: caches, workers, kernels that are chosen.
SLOW_STEPS = 3
# Of the others, the later half of so many is where the pace of now is read.
LOOK_BACK = 1000
# Of a training step with a whole picture, before it was measured: a frame of validation
# (no backward pass; 0.3 to 0.6 on a processor), and a step whose backbone is frozen (0.3 to 0.6).
VALIDATION_SHARE = 0.4
FROZEN_SHARE = 0.5


class Forecast:
    """Time left of a training of `costs` steps, in equal epochs.

    Steps, validations and the pauses between epochs (checkpoints, tracking) are counted
    apart. Start-up is no step: nothing is forecast before the first one, and the slow first
    ones do not count as soon as there are others.

    Args:
        costs: (epochs, steps of an epoch), what each step costs relative to the others.
        validate_every: epochs; the last epoch is always validated.
        validation_cost: of one validation in steps of cost 1, until one was measured.
    """

    def __init__(
        self, costs: NDArray[np.float64], *, validate_every: int, validation_cost: float
    ) -> None:
        self.epochs, self.steps = costs.shape
        self._costs = costs.reshape(-1)
        self._spent = np.concatenate([[0.0], self._costs.cumsum()])
        epochs = np.arange(1, self.epochs + 1)
        self._validated = (epochs % validate_every == 0) | (epochs == self.epochs)
        self._validation_cost = validation_cost
        self._of_steps: deque[float] = deque(maxlen=LOOK_BACK)
        self._seen, self._sum = 0, 0.0  # of all steps but the slow ones
        self._of_validations: deque[float] = deque(maxlen=5)
        self._of_pauses: deque[float] = deque(maxlen=20)

    def stepped(self, epoch: int, step: int, seconds: float) -> None:
        """A training step took so long; epoch and step count from 0."""
        index = min(epoch * self.steps + step, len(self._costs) - 1)
        found = seconds / self._costs[index]
        self._seen += 1
        if self._seen == SLOW_STEPS + 1:
            self._of_steps.clear()
        if self._seen > SLOW_STEPS:
            self._sum += found
        self._of_steps.append(found)

    def validated(self, seconds: float) -> None:
        """A validation took so long."""
        self._of_validations.append(seconds)

    def paused(self, seconds: float) -> None:
        """So long an epoch's end took: checkpoints, tracking, until the next one starts."""
        self._of_pauses.append(seconds)

    @property
    def step_seconds(self) -> float:
        """Seconds of a step of cost 1: between the pace of now and the mean of all."""
        seen = list(self._of_steps)
        now = fmean(seen[len(seen) // 2 :])
        if self._seen <= SLOW_STEPS:
            return now
        return (now + self._sum / (self._seen - SLOW_STEPS)) / 2

    @property
    def validation_seconds(self) -> float:
        """Seconds of a validation: measured, or guessed from the steps."""
        if self._of_validations:
            return median(self._of_validations)
        return self._validation_cost * self.step_seconds

    def left(
        self, epoch: int, steps_done: int, judged: bool, minutes_left: float | None = None
    ) -> float | None:
        """Seconds from here to the end; None before the first step.

        Args:
            epoch: the one at work, from 0.
            steps_done: of this epoch.
            judged: whether its validation is over.
            minutes_left: of the budget; a last step and its validation follow them.
        """
        if not self._of_steps:
            return None
        done = min(epoch * self.steps + steps_done, len(self._costs))
        by_steps = (self._spent[-1] - self._spent[done]) * self.step_seconds
        validations = int(self._validated[epoch:].sum()) - int(judged and self._validated[epoch])
        by_steps += validations * self.validation_seconds
        pause = fmean(self._of_pauses) if self._of_pauses else 0.0
        by_steps += (self.epochs - epoch) * pause
        if minutes_left is None:
            return float(by_steps)
        by_clock = max(0.0, 60 * minutes_left) + self.validation_seconds + pause
        return float(min(by_steps, by_clock))


def step_costs(train: TrainParams, epochs: int, steps: int) -> NDArray[np.float64]:
    """What each step costs, (epochs, steps): by the area of its input, less while frozen."""
    done = np.arange(epochs * steps) / (epochs * steps)
    begun = np.repeat(np.arange(epochs) / epochs, steps)  # an epoch keeps the size it begins with
    share = np.ones_like(done) if train.grow_until == 0 else np.minimum(1, begun / train.grow_until)
    area = (train.grow_from + (1 - train.grow_from) * share) ** 2
    frozen = done * epochs < train.freeze_epochs
    costs: NDArray[np.float64] = area * np.where(frozen, FROZEN_SHARE, 1.0)
    return costs.reshape(epochs, steps)
