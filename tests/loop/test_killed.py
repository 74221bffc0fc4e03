"""A training that is killed goes on where it was; nothing is left half written."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from scratch import cityforge, dvc

pytestmark = pytest.mark.slow

EPOCHS = 6


def run_until_killed(root: Path, line: str) -> list[str]:
    """Start the run in a process group of its own; SIGKILL all of it once `line` was said."""
    command = [str(Path(sys.executable).parent / "cityforge"), "run", "bins"]
    said: list[str] = []
    with subprocess.Popen(
        command,
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        for each in process.stdout or ():
            said.append(each)
            if each.startswith(line):
                os.killpg(process.pid, signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL, "".join(said)
    return said


def test_a_training_killed_in_its_third_epoch_goes_on_from_the_second(
    loop: Path, tmp_path: Path
) -> None:
    root = tmp_path / "project"
    shutil.copytree(loop, root, symlinks=True)
    params = root / "algorithms" / "bins" / "params.yaml"
    # A fresh training of six epochs; the pictures are large so that an epoch takes a while.
    text = (
        params.read_text()
        .replace("epochs: 4", f"epochs: {EPOCHS}")
        .replace("trials: 2", "trials: 0")
    )
    # Validated too late for a best one to be there: the last checkpoint must do.
    text = text.replace("validate_every: 1", "validate_every: 4")
    params.write_text(text.replace("input_width: 96", "input_width: 256"))
    before = json.loads((root / "algorithms/bins/build/train/train.json").read_text())
    assert "validate_every: 4" in params.read_text()
    run_until_killed(root, f"epoch 2/{EPOCHS}")
    build = root / "algorithms" / "bins" / "build"
    left = {path.name for path in build.iterdir()}
    assert not [name for name in left if name.startswith(".")], left
    if (build / "train").exists():  # whole as it was, or gone: never in between
        assert json.loads((build / "train/train.json").read_text()) == before
    again = cityforge(root, "run", "bins")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "going on from" in again.stdout
    assert f"epoch 1/{EPOCHS}" not in again.stdout
    assert f"epoch 3/{EPOCHS}" in again.stdout
    trained = json.loads((build / "train/train.json").read_text())
    assert [row["epoch"] for row in trained["history"]] == [1, 2, 3, 4, 5, 6]
    assert trained["mlflow_run_id"] != before["mlflow_run_id"]
    assert not list((root / ".cityforge" / "training").glob("bins-*")), "checkpoints are cleared"
    assert "Running stage" not in dvc(root, "repro")
