"""What a training shows while it runs: a bar on a terminal, now and then a line on a pipe."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from cityforge.cards.params import TrainParams
from cityforge.settings import TERMINAL
from cityforge.training.forecast import VALIDATION_SHARE, Forecast, step_costs

SAY_EVERY_S = 10.0


class Progress(pl.Callback):
    """Says how far a training is and how long it still takes.

    Args:
        say: told the lines, where there is no terminal.
        title: in front of each line, such as the seed where there are several.
        every: seconds between two lines.
        clock: in seconds; of what it counts, the time left is forecast.
    """

    def __init__(
        self,
        train: TrainParams,
        say: Callable[[str], None],
        title: str = "",
        every: float = SAY_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.train = train
        self.say = say
        self.title = title
        self.every = every
        self.clock = clock
        self.forecast: Forecast | None = None
        self._bar: Any = None
        self._since = self._said = self._estimated_at = 0.0
        self._spent = 0.0  # seconds of training at the last estimate, those before a resume, too
        self._epoch = self._steps_done = 0
        self._judged = self._resting = False
        self._left: float | None = None

    def seconds_left(self) -> float | None:
        """To the end of the training, were it to use all its epochs; None before a step."""
        if self._left is None:
            return None
        return max(0.0, self._left - (self.clock() - self._estimated_at))

    def share_done(self) -> float:
        """Of the time that the training takes in all, 0 to 1."""
        left = self.seconds_left()
        if left is None:
            return 0.0
        spent = self._spent + self.clock() - self._estimated_at
        return spent / max(spent + left, 1e-9)

    def on_train_start(self, trainer: Any, module: Any) -> None:
        epochs, steps = self.train.epochs, max(1, int(trainer.num_training_batches))
        frames = sum(len(each.dataset) for each in _validation_loaders(trainer))
        size = max(1, getattr(trainer.train_dataloader, "batch_size", None) or self.train.batch)
        self.forecast = Forecast(
            step_costs(self.train, epochs, steps),
            validate_every=self.train.validate_every,
            validation_cost=VALIDATION_SHARE * frames / size,
        )
        self._since = self._said = self.clock()
        # Taken up within an epoch, Lightning says no start of it.
        self._epoch, self._steps_done = trainer.current_epoch, 0
        self._left, self._judged, self._resting = None, False, False
        if trainer.is_global_zero:
            self._bar = open_bar(self.title)

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        self._epoch, self._steps_done, self._judged = trainer.current_epoch, 0, False
        if self._resting and self.forecast:
            self.forecast.paused(self._lap())
        self._resting = False
        self._since = self.clock()

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.forecast:
            self.forecast.stepped(trainer.current_epoch, batch_idx, self._lap())
        self._steps_done = batch_idx + 1
        self._estimate(module)
        self._show(trainer)

    def on_validation_start(self, trainer: Any, module: Any) -> None:
        self._since = self.clock()

    def on_validation_batch_end(self, trainer: Any, *_: Any) -> None:
        self._show(trainer)

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        if self.forecast and not trainer.sanity_checking:
            self.forecast.validated(self._lap())
            self._judged = True
            self._estimate(module)

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        self._resting = True
        self._show(trainer)

    def on_train_end(self, trainer: Any, module: Any) -> None:
        self._close()

    def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
        self._close()

    def _lap(self) -> float:
        now = self.clock()
        seconds, self._since = now - self._since, now
        return seconds

    def _estimate(self, module: Any) -> None:
        minutes = None
        if not self.train.deterministic:
            minutes = self.train.minutes - module.seconds / 60
        if self.forecast:
            self._left = self.forecast.left(self._epoch, self._steps_done, self._judged, minutes)
        self._spent, self._estimated_at = module.seconds, self.clock()

    def _show(self, trainer: Any) -> None:
        left = self.seconds_left()
        if not trainer.is_global_zero or left is None or self.forecast is None:
            return
        at = f"epoch {self._epoch + 1} of {self.forecast.epochs}"
        if self._bar is not None:
            self._bar.move(at, self.share_done(), left)
        elif self.clock() - self._said >= self.every:
            self._said = self.clock()
            step = f"step {self._steps_done} of {self.forecast.steps}"
            done = f"{self.title}{100 * self.share_done():.0f} %"
            self.say(f"{done}, {at}, {step}, {spoken(left)} left")

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class Bar:
    """One line at the foot of a terminal; what is printed meanwhile appears above it."""

    def __init__(self, title: str, console: Any) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
            refresh_per_second=2,
        )
        self._title = title
        self._line = self._progress.add_task(f"{title}starting", total=1.0, left="")
        self._progress.start()

    def move(self, at: str, share: float, left: float) -> None:
        """Show the share of the work that is done, and the seconds left."""
        self._progress.update(
            self._line,
            description=f"{self._title}{at}",
            completed=share,
            left=f"{spoken(left)} left",
        )

    def close(self) -> None:
        """Take the line away."""
        self._progress.stop()
        stream = self._progress.console.file
        if stream is not sys.stdout:
            stream.close()


def open_bar(title: str = "") -> Bar | None:
    """A bar on the terminal of this process or of the command that started it, if there is one."""
    from rich.console import Console

    if sys.stdout.isatty():
        console = Console(highlight=False)
    elif os.environ.get(TERMINAL):
        try:
            stream = Path(os.environ[TERMINAL]).open("w", encoding="utf-8")  # noqa: SIM115
        except OSError:
            return None
        console = Console(file=stream, highlight=False)
    else:
        return None
    return None if console.is_dumb_terminal else Bar(title, console)


def seconds_left(trainer: Any) -> float | None:
    """What the trainer's `Progress` forecasts; None without one, or before the first step."""
    for each in trainer.callbacks:
        if isinstance(each, Progress):
            return each.seconds_left()
    return None


def spoken(seconds: float) -> str:
    """A time as people say it.

    >>> spoken(45.2), spoken(89), spoken(100), spoken(4000)
    ('45 s', '89 s', '2 min', '1 h 07 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _validation_loaders(trainer: Any) -> list[Any]:
    loaders = trainer.val_dataloaders
    return [] if loaders is None else loaders if isinstance(loaders, list) else [loaders]
