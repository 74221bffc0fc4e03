"""The density network: shapes, units, and the ONNX file that answers alike."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import pytest
import torch

from cityforge.cards.params import AlgorithmParams
from cityforge.cards.yaml_files import read_yaml
from cityforge.export.onnx import export_onnx
from cityforge.export.parity import parity
from cityforge.tasks.density.network import BLUEPRINTS, PRIOR, build
from cityforge.tasks.kinds import network_names

NAME = "density/small"


def pictures(count: int = 2, height: int = 64, width: int = 96) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, height, width, 3), generator=generator, dtype=torch.uint8)


def test_the_names_a_card_may_use() -> None:
    assert network_names("density") == sorted(BLUEPRINTS) == [NAME]


@pytest.mark.parametrize(("classes", "height", "width"), [(1, 64, 96), (3, 96, 64)])
def test_a_map_of_objects_a_cell_at_stride_8(classes: int, height: int, width: int) -> None:
    network = build(NAME, classes).eval()
    with torch.inference_mode():
        answer = network(pictures(2, height, width))
        raw = network.raw(pictures(2, height, width))
    assert isinstance(answer, tuple) and len(answer) == 1
    assert answer[0].shape == raw.shape == (2, classes, height // 8, width // 8)
    assert answer[0].dtype == torch.float32
    assert (answer[0] >= 0).all()
    torch.testing.assert_close(answer[0], torch.log1p(raw.exp()))


def test_first_counts_are_of_the_right_order() -> None:
    network = build(NAME, 1).eval()
    with torch.no_grad():
        network.density.weight.zero_()
        found = network(pictures())[0]
    torch.testing.assert_close(found, torch.full_like(found, PRIOR))


def test_a_cell_may_hold_more_than_one_object() -> None:
    network = build(NAME, 1).eval()
    with torch.no_grad():
        network.density.bias.fill_(5.0)
        network.density.weight.zero_()
        assert float(network(pictures())[0].min()) == pytest.approx(5.0067, abs=1e-3)


def test_the_onnx_file_answers_like_torch_for_any_number_of_pictures(tmp_path: Path) -> None:
    with as_file(files("cityforge.cards") / "starter_files" / "params.yaml") as path:
        data = AlgorithmParams.model_validate(read_yaml(path)).data
    data = data.model_copy(update={"input_width": 96, "input_height": 64})
    network = build(NAME, 2).train()
    with torch.no_grad():
        network(pictures(4))  # running means other than those of a new network
    network.eval()
    export_onnx(network, data, 18, tmp_path / "model.onnx", task="density")
    for count in (1, 3):
        shown = pictures(count).numpy()
        found = parity(network, tmp_path / "model.onnx", shown, 0.0, task="density")
        assert set(found.difference) == {"density"}
        assert found.difference["density"] < 1e-4
    broken = build(NAME, 2).eval()
    found = parity(broken, tmp_path / "model.onnx", np.asarray(pictures()), 0.0, task="density")
    assert found.difference["density"] > 1e-3
