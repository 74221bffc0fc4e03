"""A worker whose trials take no training: its job as JSON on stdin, as a worker's is."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from cityforge.cards.params import TuneParams
from cityforge.training.storage import open_storage
from cityforge.training.study import open_study
from cityforge.training.worker import end_with
from cityforge.training.workers import Loop, work_on

SEARCH = {"learning_rate": {"low": 1e-4, "high": 1.0, "log": True}}


def params_of(trials: int, minutes: float = 10.0, seed: int = 3) -> TuneParams:
    """Parameters of a search for one number."""
    return TuneParams.model_validate(
        {
            "trials": trials, "minutes": minutes, "workers": 2, "epochs": 1, "train_share": 1.0,
            "objectives": ["score", "latency"], "search": SEARCH, "seed": seed,
        }
    )  # fmt: skip


def inputs(seed: int = 3) -> dict[str, Any]:
    """What names the study."""
    return {"tune.objectives": ["score", "latency"], "tune": {"seed": seed}, "train": {"batch": 8}}


def judge(trial: Any, seconds: float) -> tuple[float, float]:
    """The further from 0.01, the worse and the quicker."""
    rate = trial.suggest_float("learning_rate", 1e-4, 1.0, log=True)
    time.sleep(seconds)
    return 1.0 - min(1.0, abs(rate - 0.01)), 10.0 - 9.0 * rate


def main() -> None:
    job = json.loads(sys.stdin.read())
    if job["parent"]:
        end_with(job["parent"])
    storage = open_storage(job["url"], beat_s=1, grace_s=job["grace_s"])
    study = open_study(storage, job["url"], "bins", inputs())

    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    say("ready")
    params = params_of(job["trials"], job["minutes"])
    work_on(
        Loop(study, lambda t: judge(t, job["seconds"]), params, job["url"], say, job["grace_s"])
    )


if __name__ == "__main__":
    main()
