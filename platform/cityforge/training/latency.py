"""How long one picture takes in the exported network, on this machine."""

from __future__ import annotations

import contextlib
import fcntl
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cityforge.cards.params import DataParams
from cityforge.export.onnx import export_onnx
from cityforge.inference.runtime import open_session

# One core: steady while other trials train beside it, and comparable between machines.
THREADS = 1
WARM_UP = 5  # runs that do not count
ROUNDS = 7
ROUND_RUNS = 15
ROUND_S = 0.5  # a slow network is run less often
MEANING = "median of one picture on one core, in the quietest of seven rounds"


def measured_ms(network: Any, data: DataParams, opset: int, task: str) -> float:
    """Milliseconds from a fitted picture to raw outputs in onnxruntime: batch 1, one thread.

    A neighbour at work makes a round slower and never quicker, so the least of the rounds'
    medians is taken. Others are not paused for it.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export_onnx(network.eval(), data, opset, path, task)
        session = open_session(path.read_bytes(), THREADS)
    shape = (1, data.input_height, data.input_width, 3)
    pictures = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    for _ in range(WARM_UP):
        session.run(None, {"pictures": pictures})
    return min(_median_ms(session, pictures) for _ in range(ROUNDS))


def _median_ms(session: Any, pictures: Any) -> float:
    spent: list[float] = []
    end = time.perf_counter() + ROUND_S
    while len(spent) < ROUND_RUNS and (len(spent) < 3 or time.perf_counter() < end):
        begun = time.perf_counter()
        session.run(None, {"pictures": pictures})
        spent.append((time.perf_counter() - begun) * 1000)
    return float(np.median(spent))


@contextlib.contextmanager
def one_at_a_time(work: Path) -> Iterator[None]:
    """No other trial of this project on this machine is measured meanwhile.

    The lock ends with the process that holds it, however that ends.
    """
    work.mkdir(parents=True, exist_ok=True)
    with (work / "latency.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
