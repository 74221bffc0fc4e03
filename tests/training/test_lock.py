"""One training of an algorithm at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cityforge.errors import ServiceError
from cityforge.training.lock import training_lock

HOLD = """
import os, sys, time
from pathlib import Path
from cityforge.training.lock import training_lock
with training_lock(Path(sys.argv[1]), "bins"):
    if os.fork() == 0:  # as the loader's processes, which may outlive a killed training
        time.sleep(30)
        os._exit(0)
    print("held", flush=True)
    time.sleep(60)  # holds it until it is killed
"""


def test_a_second_training_is_told_who_holds_the_first(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    ) as holder:  # fmt: skip
        assert holder.stdout and holder.stdout.readline() == "held\n"
        with pytest.raises(ServiceError) as refused, training_lock(tmp_path, "bins"):
            pass
        line = str(refused.value)
        assert f"process {holder.pid} on " in line
        assert f"since {time.strftime('%Y-%m-%d')}" in line
        assert "\n" not in line
        with training_lock(tmp_path, "helmets"):  # another algorithm may go on
            pass
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        with training_lock(tmp_path, "bins"):  # its loaders still live
            pass
        os.killpg(holder.pid, signal.SIGKILL)


def test_it_is_free_again_behind_the_block(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(KeyError), training_lock(tmp_path, "bins"):
            raise KeyError
