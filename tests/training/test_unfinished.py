"""A changed value begins a training anew: what changed is said, and how far the other one was."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from drawn_project import Drawn, Killed, StopsAfter, drawn_project


def cut(drawn: Drawn, start: str, **changes: Any) -> list[str]:
    said = StopsAfter(start)
    with pytest.raises(Killed):
        drawn.train(said, **changes)
    return said


def test_what_changed_since_an_unfinished_training_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = drawn_project(tmp_path, epochs=3, seed=7)
    cut(drawn, "epoch 2/3")
    assert capsys.readouterr().err == ""
    first = next((drawn.project.work / "training").glob("squares-*"))
    changed = {"learning_rate": 1e-3, "batch": 2}
    cut(drawn, "epoch 2/3", **changed)
    assert capsys.readouterr().err == (
        f"'squares' begins anew: train.batch, train.learning_rate changed since {first.name}, "
        "which had come to epoch 1 of 3; with the former values it goes on there\n"
    )
    again = cut(drawn, "epoch 2/3", **changed)
    assert again[0].startswith("going on from ")
    assert capsys.readouterr().err == ""  # it has a checkpoint of its own
    time.sleep(0.01)
    cut(drawn, "epoch 1/3", **changed, patience=5)
    said = capsys.readouterr().err
    assert "anew: train.patience changed since squares-" in said  # the newest of the two
    assert first.name not in said
    assert cut(drawn, "epoch 2/3")[0].startswith("going on from ")
