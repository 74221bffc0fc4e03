"""The network of a checkpoint becomes a file of weights; nothing in a checkpoint is run."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cityforge.training.one_seed import save_weights


class Runs:
    """Makes a folder where it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_a_checkpoints_network_is_saved_and_nothing_in_it_runs(tmp_path: Path) -> None:
    state = {"network.a": torch.ones(2), "loss.b": torch.ones(1)}
    torch.save({"state_dict": state}, tmp_path / "best.ckpt")
    save_weights(tmp_path / "best.ckpt", tmp_path / "w.safetensors", {})
    assert [*load_file(tmp_path / "w.safetensors")] == ["a"]
    torch.save({"state_dict": state, "more": Runs(tmp_path / "ran")}, tmp_path / "other.ckpt")
    with pytest.raises(pickle.UnpicklingError):
        save_weights(tmp_path / "other.ckpt", tmp_path / "other.safetensors", {})
    assert not (tmp_path / "ran").exists()
