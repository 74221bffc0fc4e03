"""Workers on one study: the loop of each, and processes of this machine that share its cores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cityforge.cards.params import TuneParams
from cityforge.errors import DataError, ServiceError, line_of
from cityforge.training.storage import GRACE_S, translated
from cityforge.training.study import (
    ENDED,
    FAULT,
    OWNER,
    SURPLUS,
    DeadTrials,
    Standing,
    claims_before,
    sampler_of,
    standing,
    this_process,
)

POLL_S = 1.0  # of a worker that has nothing to begin, as others end their trials
OUTAGE_S = 120.0  # so long a storage may be away in the middle of a search
WORKER = [sys.executable, "-P", "-m", "cityforge.training.worker"]
RESTARTS = 3  # of workers that ended before the study did
LAST_LINES = 5  # of a worker that failed


class _Surplus(Exception):
    """As many trials as were asked for are under way already."""


@dataclass(frozen=True)
class Loop:
    """What one worker needs: the study, how to judge a trial, and the budget all share."""

    study: Any
    judge: Callable[[Any], Any]
    tune: TuneParams
    url: str
    say: Callable[[str], None]
    grace_s: float = GRACE_S


def work_on(loop: Loop) -> None:
    """Run trials until the budget of the study is spent and none is under way any more.

    Raises:
        ServiceError: the storage was away for longer than two minutes.
    """
    dead = DeadTrials(loop.study, loop.grace_s)
    away_since = 0.0
    while True:
        try:
            with translated(loop.url):
                if _step(loop, dead):
                    return
            away_since = 0.0
        except ServiceError as error:
            away_since = away_since or time.monotonic()
            if time.monotonic() - away_since > OUTAGE_S:
                raise
            loop.say(f"the storage is away, waiting for it: {error.found}")
            time.sleep(5 * POLL_S)  # nothing tells when a storage is back: asked again


def _step(loop: Loop, dead: DeadTrials) -> bool:
    """Run a trial, or wait for the others; True when there is nothing left to do."""
    dead.requeue(loop.say)
    now = standing(loop.study)
    if now.finished >= loop.tune.trials:
        return True
    spent = now.finished > 0 and now.used_s > 60 * loop.tune.minutes
    if spent and not now.running:
        loop.say(f"{loop.tune.minutes:g} minutes are used up")
        return True
    claimed = now.finished + now.running + now.waiting
    if spent or (not now.waiting and claimed >= loop.tune.trials):
        time.sleep(POLL_S)  # trials of other workers, perhaps on other machines, are under way
        return False
    _run_one(loop)
    return False


def _run_one(loop: Loop) -> None:
    taken: list[int] = []
    judged: list[int] = []

    def objective(trial: Any) -> Any:
        import optuna

        taken.append(trial.number)
        trial.set_user_attr(OWNER, this_process())
        if claims_before(loop.study, trial.number) >= loop.tune.trials:
            trial.set_user_attr(SURPLUS, True)
            raise _Surplus
        loop.study.sampler = sampler_of(loop.tune, trial.number)
        try:
            values = loop.judge(trial)
        except optuna.TrialPruned:
            judged.append(trial.number)
            trial.set_user_attr(ENDED, time.time())
            raise
        judged.append(trial.number)
        trial.set_user_attr(ENDED, time.time())
        return values

    try:
        loop.study.optimize(
            objective, n_trials=1, catch=(_Surplus,), callbacks=[lambda _, t: _report(loop, t)]
        )
    except Exception as error:
        _raise_outage(error)
        if not taken or not _was_taken_away(loop.study, taken[0], error, bool(judged)):
            raise
        loop.say(f"trial {taken[0]} gave no sign of life for too long: it is another worker's now")


def _raise_outage(error: Exception) -> None:
    """Raise what Optuna 5.0 hides: a storage that goes away while a result is told to it."""
    import optuna

    hidden = error.__context__
    if isinstance(error, UnboundLocalError) and isinstance(
        hidden, optuna.exceptions.StorageInternalError
    ):
        raise hidden from None


def _was_taken_away(study: Any, number: int, error: Exception, was_judged: bool) -> bool:
    """Another worker took this trial for dead, so that its result has no place any more.

    Optuna says so by a ValueError where it is told the result; one of the trial itself is
    another matter.
    """
    import optuna

    refused = isinstance(error, ValueError) and was_judged
    if not (refused or isinstance(error, optuna.exceptions.UpdateFinishedTrialError)):
        return False
    trials = study.get_trials(deepcopy=False)
    return any(each.number == number and each.state.name == "FAIL" for each in trials)


def _report(loop: Loop, trial: Any) -> None:
    if SURPLUS in trial.user_attrs:
        return
    now = standing(loop.study)
    if FAULT in trial.user_attrs:
        result = f"no score ({trial.user_attrs[FAULT]})"
    elif trial.state.name == "PRUNED":
        result = f"ended early at {trial.value:.3f}"
    else:
        units = (("score {:.3f}"), ("{:.2f} ms"))
        result = ", ".join(u.format(v) for u, v in zip(units, trial.values, strict=False))
    loop.say(
        f"trial {trial.number}: {result} with {shown_values(trial.params)}; "
        f"{now.finished} of {loop.tune.trials} done{_time_left(loop, now)}"
    )


def shown_values(values: dict[str, Any]) -> str:
    """Parameters of a trial in words."""
    return ", ".join(
        f"{name} {value:.2g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in values.items()
    )


def _time_left(loop: Loop, now: Standing) -> str:
    """By the pace of all workers so far, and never more than the minutes that are left."""
    open_trials = loop.tune.trials - now.finished
    if open_trials <= 0 or not now.finished:
        return ""
    by_pace = now.used_s / now.finished * open_trials
    left = max(0.0, min(by_pace, 60 * loop.tune.minutes - now.used_s))
    return f", about {left / 60:.0f} min left" if left >= 90 else f", about {left:.0f} s left"


def share_of_cores(workers: int) -> int:
    """Threads that each of so many workers may use."""
    return max(1, len(os.sched_getaffinity(0)) // workers)


def run_workers(
    command: list[str], job: dict[str, Any], root: Path, workers: int,
    environment: dict[str, str], say: Callable[[str], None],
) -> None:  # fmt: skip
    """Run workers as processes of their own until each has ended well.

    One that is killed is started again. All of them end with this process.

    Args:
        command: a program that reads the job from stdin as JSON, and ends with its `parent`.
        root: the folder they run in.

    Raises:
        DataError: a worker failed; what it said last.
        ServiceError: workers were killed again and again.
    """
    say = _one_by_one(say)
    threads = str(share_of_cores(workers))
    variables = {**environment, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    team = {i: _Worker(i, command, job, root, variables, say) for i in range(1, workers + 1)}
    restarts = 0
    try:
        while team:
            time.sleep(0.1)  # between two looks at all of them; any may end first
            for i, worker in list(team.items()):
                code = worker.code()
                if code is None:
                    continue
                del team[i]
                if code > 0:
                    raise DataError(f"worker {i} to end well", found=worker.last_lines())
                if code < 0:
                    restarts += 1
                    if restarts > RESTARTS * workers:
                        raise ServiceError(
                            "workers that live", found=f"signal {-code}, {restarts} times",
                            where="tune", do="look for what kills them: often a lack of memory",
                        )  # fmt: skip
                    say(f"worker {i} ended by signal {-code}; another one takes its place")
                    team[i] = _Worker(i, command, job, root, variables, say)
    finally:
        for worker in team.values():
            worker.end()


def _one_by_one(say: Callable[[str], None]) -> Callable[[str], None]:
    """Workers speak from threads of their own; their lines come one by one."""
    lock = threading.Lock()

    def speak(line: str) -> None:
        with lock:
            say(line)

    return speak


class _Worker:
    """One process, what it says passed on."""

    def __init__(
        self, number: int, command: list[str], job: dict[str, Any], root: Path,
        environment: dict[str, str], say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._process = subprocess.Popen(
            command, cwd=root, env=environment, text=True, encoding="utf-8", errors="replace",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stdin is not None
        with suppress(BrokenPipeError), self._process.stdin as stdin:
            stdin.write(json.dumps({**job, "parent": os.getpid()}))
        self._threads = [
            threading.Thread(target=self._pass_on, args=(number, say), daemon=True),
            threading.Thread(target=self._keep, daemon=True),
        ]
        for each in self._threads:
            each.start()

    def code(self) -> int | None:
        """Exit code, negative for a signal; None while it runs."""
        code = self._process.poll()
        if code is not None:
            for each in self._threads:
                each.join(timeout=5)
        return code

    def last_lines(self) -> str:
        """What it said of its failure."""
        return self._last[-1] if self._last else f"exit {self._process.returncode}"

    def end(self) -> None:
        """End it; its trial is run again by whoever goes on."""
        self._process.kill()
        self._process.wait()

    def _pass_on(self, number: int, say: Callable[[str], None]) -> None:
        for line in self._process.stdout or ():
            say(f"worker {number}  {line.rstrip()}")

    def _keep(self) -> None:
        for line in self._process.stderr or ():
            if line.strip():
                self._last.append(line.rstrip())


def failure_line(error: Exception) -> str | None:
    """As `line_of`, in one line."""
    line = line_of(error)
    return line.replace("\n", "; ") if line else None
