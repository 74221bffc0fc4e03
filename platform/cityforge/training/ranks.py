"""Several processes on one training: this one is the first, the others are started here.

Each of the others runs `python -m cityforge.training.ranks FOLDER`, where FOLDER holds the
job; what such a process fails with comes back as its error here.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from cityforge.errors import CityforgeError, ServiceError
from cityforge.training.attempt import attempt
from cityforge.training.course import Course, is_out_of_memory
from cityforge.training.job import Job, Listeners
from cityforge.training.keeping import CheckpointFiles

JOB = "job.pickle"
# So long the others may take to import torch and to open the job.
START_S = 300.0
# So long an error of another process may take to be written down.
END_S = 15.0
PR_SET_PDEATHSIG = 1  # prctl.h: a signal for this process when its parent dies


@contextmanager
def other_ranks(job: Job, learner: Any, course: Course, resume: Path | None) -> Iterator[None]:
    """Start the other processes of a job, and end them with the block."""
    import cloudpickle

    ranks = range(1, job.hardware.devices)
    if not ranks:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="cityforge-ranks-") as name, _as_rank(0, job) as env:
        folder = Path(name)
        (folder / JOB).write_bytes(cloudpickle.dumps((job, learner, course, resume)))
        others = [_start(folder, rank, env) for rank in ranks]
        try:
            _wait_until_ready(folder, others)
            yield
            for each in others:
                with suppress(subprocess.TimeoutExpired):
                    each.wait(END_S)
        except Exception as error:
            cause = _cause(folder, error)
            if cause is error:
                raise
            raise cause from error
        finally:
            for each in others:
                each.kill()
                each.wait()
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()


@contextmanager
def _as_rank(rank: int, job: Job) -> Iterator[dict[str, str]]:
    """What Lightning and torch read of a process's place among the others."""
    from lightning_fabric.plugins.environments.lightning import find_free_network_port

    place = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(find_free_network_port()),
        "WORLD_SIZE": str(job.hardware.devices),
        "NODE_RANK": "0",
        "LOCAL_RANK": str(rank),
    }
    if not job.hardware.is_gpu:
        place["GLOO_SOCKET_IFNAME"] = "lo"
    before = {name: os.environ.get(name) for name in place}
    os.environ.update(place)
    try:
        yield dict(os.environ)
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _start(folder: Path, rank: int, env: dict[str, str]) -> subprocess.Popen[bytes]:
    path = os.pathsep.join(filter(None, sys.path))
    with (folder / f"{rank}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "cityforge.training.ranks", str(folder)],
            env={**env, "LOCAL_RANK": str(rank), "PYTHONPATH": path},
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip


def _wait_until_ready(folder: Path, others: list[subprocess.Popen[bytes]]) -> None:
    due = time.monotonic() + START_S
    for rank, each in enumerate(others, start=1):
        while not (folder / f"{rank}.ready").is_file():
            if each.poll() is not None or time.monotonic() > due:
                lines = (folder / f"{rank}.log").read_text(errors="replace").strip().splitlines()
                raise ServiceError(
                    f"process {rank + 1} of {len(others) + 1} of the training",
                    found=lines[-1] if lines else "none", do="train with train.devices: 1",
                )  # fmt: skip
            time.sleep(0.05)  # it says so by a file, and may end instead: both are asked


def _cause(folder: Path, error: Exception) -> Exception:
    """The error behind this process's own, which may only say that another one is gone."""
    found = [error]
    if _is_plain(error):
        due = time.monotonic() + END_S
        while time.monotonic() < due and len(found) == 1:
            found += [pickle.loads(each.read_bytes()) for each in folder.glob("*.error")]
            time.sleep(0.1)  # the other process is still writing its error down
    return next((each for each in reversed(found) if not _is_plain(each)), error)


def _is_plain(error: Exception) -> bool:
    known = (CityforgeError, FloatingPointError)
    return not isinstance(error, known) and not is_out_of_memory(error)


def main(folder: Path) -> None:
    """One of the other processes."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    rank = int(os.environ["LOCAL_RANK"])
    job, learner, course, resume = pickle.loads((folder / JOB).read_bytes())
    (folder / f"{rank}.ready").touch()
    files = CheckpointFiles(job.checkpoints) if job.checkpoints else None
    try:
        attempt(job, learner, course, resume, files=files, listeners=Listeners(), rank=rank)
    except Exception as error:
        beside = folder / f".{rank}"
        beside.write_bytes(pickle.dumps(_sendable(error)))
        beside.replace(folder / f"{rank}.error")
        raise


def _sendable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - whatever a library's error holds
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


if __name__ == "__main__":
    main(Path(sys.argv[1]))
