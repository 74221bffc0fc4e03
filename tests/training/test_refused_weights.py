"""What is no model, or one of something else, is refused in a line; nothing is executed."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from scenes import quick, trained
from torch import nn
from warm_starts import (
    BEFORE,
    LOSS,
    OFFLINE,
    card_of,
    copied,
    metadata,
    network_of,
    refusal,
    started,
)

from cityforge.dataset.digests import digest_of_file
from cityforge.errors import InputError
from cityforge.project import Project
from cityforge.training.keeping import LAST
from cityforge.training.weights import warm_start


def test_weights_of_another_network_are_refused_with_the_numbers(tmp_path: Path) -> None:
    small = card_of("detection", BEFORE, "detection/small")
    save_file(copied(network_of(small, 2)), tmp_path / "s.safetensors", metadata=metadata(small))
    line = refusal(tmp_path, "s.safetensors")
    assert "at least 50% of the backbone" in line
    assert "of network detection/small" in line
    network, before, _ = started(tmp_path, small, "s.safetensors")
    assert not torch.equal(network.heads[0].score.weight, before["heads.0.score.weight"])


class Opens:
    """A pickle that would run code: it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.path}'",)


@pytest.mark.parametrize("form", ["torch", "pickle", "inside"])
def test_a_pickle_that_holds_code_is_never_executed(tmp_path: Path, form: str) -> None:
    touched = tmp_path / "touched"
    content = {"state_dict": {"a": torch.zeros(1)}, "hook": Opens(touched)}
    path = tmp_path / "model.pt"
    if form == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content if form == "inside" else Opens(touched), path)
    line = refusal(tmp_path, "model.pt")
    assert not touched.exists()
    assert "never executed" in line
    assert form == "pickle" or "system" in line
    pickle.loads(pickle.dumps(Opens(touched)))  # the trap works
    assert touched.exists()


def test_a_whole_module_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "module.pt")
    assert "code or objects in it" in refusal(tmp_path, "module.pt")


def broken_files(root: Path) -> None:
    card = card_of("detection", BEFORE)
    state = copied(network_of(card, 2))
    save_file(state, root / "whole.safetensors", metadata=metadata(card))
    whole = (root / "whole.safetensors").read_bytes()
    (root / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    (root / "empty.safetensors").write_bytes(b"")
    (root / "picture.safetensors").write_bytes(b"\xff\xd8\xff\xe0" * 50)
    torch.save(state, root / "cut.ckpt")
    kept = (root / "cut.ckpt").read_bytes()
    (root / "cut.ckpt").write_bytes(kept[: len(kept) // 2])
    (root / "text.pt").write_text("no model\n")
    (root / "empty.pt").write_bytes(b"")
    torch.save([1, 2], root / "list.pt")
    torch.save({"epoch": 3, "loss": 0.1}, root / "numbers.pt")
    torch.save({}, root / "nothing.pt")
    torch.save({"a.weight": torch.zeros(3)}, root / "stranger.pt")
    name = next(iter(state))
    save_file(state | {name: torch.full_like(state[name], float("nan"))}, root / "nan.safetensors")
    (root / "folder.pt").mkdir()
    (root / "model.onnx").write_bytes(b"\x08\x08")


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("broken")
    broken_files(root)
    return root


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ("cut.safetensors", "a whole safetensors file"),
        ("empty.safetensors", "a whole safetensors file"),
        ("picture.safetensors", "a whole safetensors file"),
        ("cut.ckpt", "a file that does not read as one"),
        ("text.pt", "a file that does not read as one"),
        ("empty.pt", "a file that does not read as one"),
        ("list.pt", "found list"),
        ("numbers.pt", "found the keys epoch, loss"),
        ("nothing.pt", "found no tensor"),
        ("stranger.pt", "0% that fit (0 of 1 tensors"),
        ("nan.safetensors", "found nan or infinity in "),
        ("folder.pt", "found a folder"),
        ("gone.safetensors", "a file of weights, found none"),
        ("model.onnx", "found 'model.onnx', in train.weights"),
        ("imagenet", "known: scratch, timm"),
        ("scrach", "did you mean 'scratch'?"),
        ("timm", "found CITYFORGE_OFFLINE on"),
        ("models:/bins", "models:/ALGORITHM/VERSION, found 'models:/bins'"),
    ],
)
def test_what_is_no_model_is_refused_in_a_line(broken: Path, weights: str, said: str) -> None:
    assert said in refusal(broken, weights)


def test_weights_of_another_task_are_refused(broken: Path) -> None:
    line = refusal(broken, "whole.safetensors", task="classification")
    assert "expected weights of task classification, found task detection" in line


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`last.ckpt` of a training of ours, of detection/nano."""
    root = tmp_path_factory.mktemp("trained")
    trained(root, params=quick(epochs=1))
    return root / "work" / LAST


def test_a_checkpoint_of_another_task_or_network_is_refused(checkpoint: Path) -> None:
    line = refusal(checkpoint.parent, LAST, task="density")
    assert "expected weights of task density, found task detection" in line
    with pytest.raises(InputError, match="of network detection/nano"):
        started(checkpoint.parent, card_of("detection", BEFORE, "detection/small"), LAST)


def test_an_older_checkpoint_that_says_no_task_is_taken(checkpoint: Path, tmp_path: Path) -> None:
    kept = torch.load(checkpoint, weights_only=True)
    for name in ("task", "network"):
        del kept[f"cityforge_{name}"]
    torch.save(kept, tmp_path / LAST)
    card = card_of("detection", ["车"])
    assert started(tmp_path, card, LAST)[2] == replace(
        started(checkpoint.parent, card, LAST)[2], digest=digest_of_file(tmp_path / LAST)
    )


def test_a_refused_warm_start_leaves_the_network(broken: Path) -> None:
    card = card_of("detection", BEFORE)
    network = network_of(card, 1)
    before = copied(network)
    for weights in ("nan.safetensors", "stranger.pt"):
        with pytest.raises(InputError):
            warm_start(
                network, weights, card=card, loss=LOSS["detection"], project=Project(broken),
                settings=OFFLINE,
            )  # fmt: skip
    assert all(torch.equal(each, before[name]) for name, each in network.state_dict().items())
