"""Networks by the name in the card: ours, an algorithm's own, and the large one of an extra."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cityforge.cards.params import DataParams
from cityforge.dataset.loader import Batch
from cityforge.errors import CardError, NameUnknown
from cityforge.export.onnx import export_onnx
from cityforge.export.parity import parity
from cityforge.tasks.detection.objective import DetectionObjective
from cityforge.tasks.kinds import LARGE, TASKS, build_network, network_names, own_digest
from cityforge.tasks.learner import Learner

LOSS = {"box_weight": 2.0}
SIZE = DataParams(input_width=96, input_height=64, workers=0)
# One level of stride 8; a dataclass, so that the module must be one that Python knows.
OWN = '''
"""A detector of a few lines."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class Widths:
    inner: int = 16


class Own(nn.Module):
    def __init__(self, class_count):
        super().__init__()
        width, before = Widths().inner, 3
        layers = []
        for _ in range(3):
            layers += [nn.Conv2d(before, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU()]
            before = width
        self.backbone = nn.Sequential(*layers)
        self.score = nn.Conv2d(width, class_count, 1)
        self.side = nn.Conv2d(width, 4, 1)

    def raw(self, pictures):
        found = self.backbone(pictures.permute(0, 3, 1, 2).float() / 255)
        y, x = torch.meshgrid(
            torch.arange(found.shape[2]), torch.arange(found.shape[3]), indexing="ij"
        )
        points = torch.stack((x * 8 + 4, y * 8 + 4, torch.full_like(x, 8)), -1).reshape(-1, 3)
        scores = self.score(found).flatten(2).transpose(1, 2)
        sides = nn.functional.softplus(self.side(found)).flatten(2).transpose(1, 2) * 8
        return scores, sides, points.float().to(found.device)

    def forward(self, pictures):
        scores, sides, points = self.raw(pictures)
        centre = points[None, :, :2]
        boxes = torch.cat((centre - sides[..., :2], centre + sides[..., 2:]), -1)
        return scores.sigmoid(), boxes


def network(class_count):
    return Own(class_count)
'''


def write(folder: Path, content: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "network.py").write_text(content, encoding="utf-8")
    return folder


def batches() -> list[Batch]:
    """A bright square on dark noise, whose box it is."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for number in range(4):
        pictures = torch.randint(0, 60, (2, 64, 96, 3), generator=generator, dtype=torch.uint8)
        left = 8 * number
        pictures[:, 16:48, left : left + 32] = 250
        truth = torch.tensor([[[left, 16.0, left + 32.0, 48.0]]]).repeat(2, 1, 1)
        real = torch.ones(2, 1, dtype=torch.bool)
        found.append(Batch(pictures, truth, torch.ones(2, 1).long(), real, torch.arange(2)))
    return found


def trained(network: Any, epochs: int) -> list[float]:
    """The losses of a short training by the one learner."""
    import pytorch_lightning as pl

    losses: list[float] = []

    class Watch(pl.Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, *_: Any) -> None:
            losses.append(float(outputs["loss"]))

    learner = Learner(
        network=network, objective=DetectionObjective(["a", "b"], LOSS), learning_rate=3e-3,
        weight_decay=0.01, warmup_epochs=0.0, epochs=epochs, minutes=5.0,
    )  # fmt: skip
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        callbacks=[Watch()],
    )  # fmt: skip
    loader = torch.utils.data.DataLoader(batches(), batch_size=None)
    trainer.fit(learner, loader, loader)
    assert "val_score" in trainer.callback_metrics
    return losses


def exported(network: Any, path: Path) -> None:
    """Export, and hold the file against torch."""
    export_onnx(network.eval(), SIZE, 18, path, "detection")
    pictures = np.random.default_rng(0).integers(0, 255, (3, 64, 96, 3), np.uint8)
    found = parity(network, path, pictures, 0.01, "detection")
    assert found.frames == 3
    assert all(value < 1e-2 for value in found.difference.values())


def test_an_own_network_trains_and_exports(tmp_path: Path) -> None:
    folder = write(tmp_path / "bins", OWN)
    torch.manual_seed(0)
    network = build_network("detection", "own", 2, loss=LOSS, folder=folder)
    losses = trained(network, 6)
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])
    exported(network, tmp_path / "own.onnx")
    assert copy.deepcopy(network).score.out_channels == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("x = 1\n", "expected a function network(class_count), found none"),
        ("def network(class_count:\n", "expected a Python file that runs, found SyntaxError"),
        ("import nothing_of_this_name\n", "found ModuleNotFoundError: No module named"),
        ("def network(class_count):\n    return 3\n", "torch.nn.Module, found int"),
        (
            "from torch import nn\ndef network(class_count):\n    return nn.Module()\n",
            "found Module without backbone (a module), raw(pictures), forward(pictures)",
        ),
        (
            "from torch import nn\ndef network(class_count):\n"
            "    made = nn.Sequential()\n    made.backbone = nn.Identity()\n    return made\n",
            "found Sequential without raw(pictures)",
        ),
    ],
)
def test_an_own_network_that_lacks_something_is_a_line(
    tmp_path: Path, content: str, said: str
) -> None:
    folder = write(tmp_path / "bins", content)
    with pytest.raises(CardError) as caught:
        build_network("detection", "own", 2, loss=LOSS, folder=folder)
    line = str(caught.value)
    assert said in line
    assert len(line.splitlines()) == 1
    assert str(folder / "network.py") in line


def test_an_own_network_that_is_not_there_is_a_line(tmp_path: Path) -> None:
    with pytest.raises(CardError, match=r"network of the algorithm's own, found no file.*bins"):
        build_network("detection", "own", 2, loss=LOSS, folder=tmp_path / "bins")


def test_the_digest_of_an_own_network_follows_its_file(tmp_path: Path) -> None:
    folder = write(tmp_path / "bins", OWN)
    first = own_digest("own", folder)
    assert len(first) == 64
    write(folder, OWN + "\n")
    assert own_digest("own", folder) != first
    assert own_digest("detection/nano", folder) == ""


def test_an_edit_of_an_own_network_is_seen(tmp_path: Path) -> None:
    folder = write(tmp_path / "bins", OWN)
    build_network("detection", "own", 2, loss=LOSS, folder=folder)
    write(folder, OWN.replace("inner: int = 16", "inner: int = 8"))
    assert build_network("detection", "own", 2, loss=LOSS, folder=folder).score.in_channels == 8


def test_an_own_network_goes_to_another_process(tmp_path: Path) -> None:
    """As trainings on several devices send it."""
    import cloudpickle

    network = build_network("detection", "own", 2, loss=LOSS, folder=write(tmp_path / "bins", OWN))
    (tmp_path / "network.pickle").write_bytes(cloudpickle.dumps(network))
    code = f"""
import pickle, torch
from pathlib import Path
network = pickle.loads(Path({str(tmp_path / "network.pickle")!r}).read_bytes())
print(*network(torch.zeros(1, 64, 96, 3, dtype=torch.uint8))[0].shape)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "96", "2"]


def test_each_task_has_networks_and_suggests_them() -> None:
    known = {task: network_names(task) for task in TASKS}
    assert LARGE in known["detection"]
    assert all(name.startswith(f"{task}/") for task in known for name in known[task])
    assert all(known.values())
    with pytest.raises(NameUnknown, match="did you mean 'detection/nano'"):
        build_network("detection", "detection/nanoo", 2, loss=LOSS)


def test_the_large_detector_without_its_library_is_a_line() -> None:
    code = """
import sys
sys.modules["rfdetr"] = None  # as where it is not installed
from cityforge.errors import ServiceError
from cityforge.tasks.kinds import build_network
try:
    build_network("detection", "detection/large", 2, loss={"box_weight": 1.0})
except ServiceError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (line,) = done.stdout.splitlines()
    assert line.startswith("expected the library rfdetr for detection/large, found ")
    assert "cityforge[large]" in line


@pytest.fixture(scope="module")
def large() -> Any:
    pytest.importorskip("rfdetr", reason="the extra `large` is not installed")
    torch.manual_seed(0)
    return build_network("detection", LARGE, 2, loss=LOSS)


@pytest.mark.slow
def test_the_large_detector_answers_learns_and_exports(large: Any, tmp_path: Path) -> None:
    scores, boxes = large.eval()(batches()[0].pictures)
    assert scores.shape[::2] == (2, 2)
    assert boxes.shape == (*scores.shape[:2], 4)
    assert 0 <= float(scores.min()) <= float(scores.max()) <= 1
    assert bool((boxes[..., 2:] >= boxes[..., :2]).all())
    assert sum(each.numel() for each in large.backbone.parameters()) > 20e6
    exported(large, tmp_path / "large.onnx")
    losses = trained(large.train(), 1)
    assert len(losses) == 4
    assert all(np.isfinite(losses))
    exported(large, tmp_path / "large.onnx")


@pytest.mark.slow
def test_the_large_detectors_loss_is_least_for_the_truth(large: Any) -> None:
    """Answers that are the truth cost less than answers beside it, whichever way they miss."""
    batch = batches()[0]

    def loss_of(shift: float, cls: int) -> dict[str, float]:
        x1, y1, x2, y2 = (batch.truth[0, 0] + torch.tensor([shift, 0.0, shift, 0.0])).tolist()
        box = [(x1 + x2) / 2 / 96, (y1 + y2) / 2 / 64, (x2 - x1) / 96, (y2 - y1) / 64]
        logits = torch.full((2, 1, 2), -4.0)
        logits[..., cls] = 4.0
        answer = {"pred_logits": logits, "pred_boxes": torch.tensor([[box]] * 2)}
        found = {**answer, "aux_outputs": [answer] * 3, "enc_outputs": answer}
        held = copy.copy(large.eval())
        held.raw = lambda pictures: found
        return {name: float(each) for name, each in held.losses(batch, 1.0).items()}

    right, beside, other = loss_of(0.0, 1), loss_of(16.0, 1), loss_of(0.0, 0)
    assert right["box_loss"] == pytest.approx(0.0, abs=1e-4)
    assert beside["box_loss"] > 1
    assert other["score_loss"] > right["score_loss"] + 1
