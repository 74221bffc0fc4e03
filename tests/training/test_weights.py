"""Warm starts: what is taken from a file or another network, and which classes are kept."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from safetensors.torch import save_file
from warm_starts import (
    AFTER,
    BEFORE,
    LOSS,
    NETWORKS,
    OFFLINE,
    card_of,
    copied,
    metadata,
    network_of,
    started,
)

from cityforge.dataset.loader import Batch
from cityforge.errors import InputError
from cityforge.project import Project
from cityforge.tasks.detection.objective import DetectionObjective
from cityforge.tasks.learner import Learner
from cityforge.training.weights import warm_start, weights_digest


@pytest.mark.parametrize("task", list(NETWORKS))
def test_rows_of_shared_classes_are_kept(tmp_path: Path, task: str) -> None:
    source = card_of(task, BEFORE)
    state = copied(network_of(source, seed=2))
    save_file(state, tmp_path / "old.safetensors", metadata=metadata(source))
    network, before, origin = started(tmp_path, card_of(task, AFTER), "old.safetensors")
    after = network.state_dict()
    changed = [name for name in after if state[name].shape != after[name].shape]
    assert changed
    for name in changed:
        new = after[name]
        assert new.shape[0] == len(AFTER)
        assert torch.equal(new[[0, 2]], state[name][[2, 0]]), name  # bus, 卡车
        assert torch.equal(new[[1, 3]], before[name][[1, 3]]), name  # bicycle, van
    same = [name for name in after if name not in changed]
    assert len(same) > 50
    assert all(torch.equal(after[name], state[name]) for name in same)
    assert origin.kept_classes == ("bus", "卡车")
    assert origin.new_classes == ("bicycle", "van")
    assert set(origin.reinitialised) == set(changed)
    assert (origin.matched, origin.tensors) == (len(after), len(after))
    assert origin.snapshot == "abc"
    assert len(origin.digest) == 64


def test_as_many_classes_in_another_order_are_told_apart(tmp_path: Path) -> None:
    source = card_of("detection", BEFORE)
    state = copied(network_of(source, seed=2))
    save_file(state, tmp_path / "old.safetensors", metadata=metadata(source))
    other = card_of("detection", ["car", "van", "卡车"])
    network, before, origin = started(tmp_path, other, "old.safetensors")
    heads = [name for name in state if name.endswith("score.bias")]
    assert heads
    for name in heads:
        now = network.state_dict()[name]
        assert torch.equal(now, torch.stack([state[name][1], before[name][1], state[name][0]]))
    assert origin.new_classes == ("van",)


def test_the_same_classes_take_everything(tmp_path: Path) -> None:
    card = card_of("detection", BEFORE)
    state = copied(network_of(card, seed=2))
    save_file(state, tmp_path / "old.safetensors", metadata=metadata(card))
    network, _, origin = started(tmp_path, card, "old.safetensors")
    assert all(torch.equal(each, state[name]) for name, each in network.state_dict().items())
    assert origin.reinitialised == ()
    assert origin.line().endswith("kept classes: 卡车, car, bus")


def test_classes_stand_in_train_json_beside_the_weights_too(tmp_path: Path) -> None:
    card = card_of("detection", BEFORE)
    save_file(copied(network_of(card, seed=2)), tmp_path / "model.safetensors")
    assert started(tmp_path, card, "model.safetensors")[2].kept_classes == ()
    about = {"task": "detection", "classes": BEFORE, "network": card.network}
    (tmp_path / "train.json").write_text(json.dumps(about), encoding="utf-8")
    path = str(tmp_path / "model.safetensors")  # an absolute path
    assert started(tmp_path, card, path)[2].kept_classes == tuple(BEFORE)


def lightning(state: dict[str, Any]) -> dict[str, Any]:
    inner = {f"network.{name}": each for name, each in state.items()}
    return {"state_dict": inner, "hyper_parameters": {"classes": BEFORE, "task": "detection"}}


@pytest.mark.parametrize(
    ("file", "wrap", "kept"),
    [
        ("best.ckpt", lightning, BEFORE),
        ("plain.pt", lambda state: state, []),
        ("detr.pth", lambda state: {"model": state, "args": Namespace(lr=0.1)}, []),
        ("wrapped.pt", lambda state: {f"module.{name}": v for name, v in state.items()}, []),
        ("half.pt", lambda state: {name: v.half() if v.is_floating_point() else v
                                   for name, v in state.items()}, []),
    ],
)  # fmt: skip
def test_checkpoints_are_read(
    tmp_path: Path, file: str, wrap: Callable[[Any], Any], kept: list[str]
) -> None:
    card = card_of("detection", BEFORE)
    state = copied(network_of(card, seed=2))
    torch.save(wrap(state), tmp_path / file)
    network, _, origin = started(tmp_path, card, file)
    name = next(each for each in state if each.startswith("backbone."))
    assert torch.allclose(network.state_dict()[name], state[name], atol=1e-3)
    assert list(origin.kept_classes) == kept
    assert network.state_dict()[name].dtype == torch.float32


def test_a_checkpoint_of_a_training_is_read(tmp_path: Path) -> None:
    card = card_of("detection", BEFORE)
    learner = Learner(
        network=network_of(card, seed=2), objective=DetectionObjective(BEFORE, LOSS["detection"]),
        learning_rate=1e-3, weight_decay=0.05, warmup_epochs=0.0, epochs=1, minutes=1.0,
    )  # fmt: skip
    pictures = torch.randint(0, 255, (2, 64, 64, 3), dtype=torch.uint8)
    boxes, real = torch.tensor([[[8.0, 8.0, 40.0, 40.0]]] * 2), torch.ones(2, 1, dtype=torch.bool)
    batch = Batch(pictures, boxes, torch.zeros(2, 1, dtype=torch.long), real, torch.arange(2))
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(learner, torch.utils.data.DataLoader([batch], batch_size=None))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    state = copied(learner.network)
    network, _, origin = started(tmp_path, card, "last.ckpt")
    assert all(torch.equal(each, state[name]) for name, each in network.state_dict().items())
    assert origin.kept_classes == tuple(BEFORE)


def test_a_file_of_timm_fills_the_backbone(tmp_path: Path) -> None:
    import timm

    card = card_of("detection", BEFORE)
    name = network_of(card, 1).backbone.pretrained_cfg["architecture"]
    torch.manual_seed(5)
    state = timm.create_model(name, pretrained=False).state_dict()
    save_file(state, tmp_path / "downloaded.safetensors")
    network, _, origin = started(tmp_path, card, "downloaded.safetensors")
    own = network.backbone.state_dict()
    assert all(torch.equal(own[each], state[each]) for each in own)
    assert origin.matched == len(own)
    assert origin.new_classes == tuple(BEFORE)


def test_from_scratch_nothing_changes(tmp_path: Path) -> None:
    network, before, origin = started(tmp_path, card_of("detection", BEFORE), "scratch")
    assert all(torch.equal(each, before[name]) for name, each in network.state_dict().items())
    assert origin.line() == "weights from scratch"


def test_a_warm_start_leaves_the_random_state(tmp_path: Path) -> None:
    card = card_of("detection", BEFORE)
    save_file(copied(network_of(card, 2)), tmp_path / "old.safetensors", metadata=metadata(card))
    network = network_of(card, seed=1)
    wanted = torch.get_rng_state()
    warm_start(
        network, "old.safetensors", card=card, loss=LOSS["detection"], project=Project(tmp_path),
        settings=OFFLINE,
    )  # fmt: skip
    assert torch.equal(torch.get_rng_state(), wanted)


def test_the_digest_follows_the_content(tmp_path: Path) -> None:
    project = Project(tmp_path)
    (tmp_path / "a.pt").write_bytes(b"one")
    first = weights_digest("a.pt", project, OFFLINE)
    (tmp_path / "a.pt").write_bytes(b"two")
    assert weights_digest("a.pt", project, OFFLINE) != first
    assert weights_digest("scratch", project, OFFLINE) == "scratch"
    with pytest.raises(InputError, match="a file of weights, found none"):
        weights_digest("b.pt", project, OFFLINE)


def test_the_same_weights_are_the_same_file() -> None:
    from safetensors.torch import save

    state = {name: torch.zeros(2) for name in ("a", "b", "c")}
    files = {save(state, metadata(card_of("detection", BEFORE))) for _ in range(8)}
    assert len(files) == 1
