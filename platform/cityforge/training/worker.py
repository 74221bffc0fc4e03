"""One worker process of a search: `python -m cityforge.training.worker`, its job on stdin."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1  # prctl(2)


def main() -> None:
    """Join the study that the job names; a foreseen failure is one line on stderr and exit 1."""
    job = json.loads(sys.stdin.read())
    end_with(int(job["parent"]))
    from cityforge.training.workers import failure_line

    try:
        _work(job)
    except Exception as error:
        line = None if os.environ.get("CITYFORGE_VERBOSE") else failure_line(error)
        if line is None:
            raise
        sys.stderr.write(f"{line}\n")
        sys.exit(1)


def end_with(parent: int) -> None:
    """This process is killed as soon as the one that started it has ended."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it had ended before
        sys.exit(0)


def _work(job: dict[str, Any]) -> None:
    import torch

    from cityforge.cards.algorithm import Algorithm
    from cityforge.cards.params import AlgorithmParams
    from cityforge.cards.yaml_files import check
    from cityforge.errors import DataError
    from cityforge.project import Project
    from cityforge.settings import load_settings, stay_offline
    from cityforge.training.data import open_training_data
    from cityforge.training.study import inputs_of, name_of
    from cityforge.training.tune import join

    torch.set_num_threads(int(job["threads"]))
    project = Project(Path(job["root"]))
    settings = load_settings(project.root)
    stay_offline(settings, os.environ)
    card = check(Algorithm, job["card"], Path("algorithm.yaml"))
    params = check(AlgorithmParams, job["params"], Path("params.yaml"))
    data = open_training_data(project, card)
    name = name_of(card.name, inputs_of(project, settings, card, params, data.digest))
    if name != job["study"]:
        raise DataError(
            "data and device as when the search began", found=name, where=job["study"],
            do="run the stage again",
        )  # fmt: skip
    join(project, settings, card, params, data, _say)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
