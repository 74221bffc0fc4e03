"""Shapes, the way from distances to boxes, and the same answer each time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cityforge.tasks.detection.network import BLUEPRINTS, PRIOR, Detector, boxes_of

NANO = BLUEPRINTS["detection/nano"]


@pytest.fixture(scope="module")
def network() -> Detector:
    torch.manual_seed(0)
    return Detector(NANO, class_count=3).eval()


def noise(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, height, width, 3), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 160), (256, 416)])
def test_there_is_an_answer_for_every_cell(network: Detector, height: int, width: int) -> None:
    with torch.no_grad():
        scores, boxes = network(noise(2, height, width))
        _, distances, points = network.raw(noise(2, height, width))
    cells = sum((height // stride) * (width // stride) for stride in (8, 16, 32))
    assert scores.shape == (2, cells, 3)
    assert boxes.shape == (2, cells, 4)
    assert points.shape == (cells, 3)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert (distances >= 0).all()
    assert (boxes[..., 2:] >= boxes[..., :2]).all()


def test_cells_lie_level_by_level_and_row_by_row(network: Detector) -> None:
    with torch.no_grad():
        _, _, points = network.raw(noise(1, 64, 96))
    assert points[0].tolist() == [4, 4, 8]
    assert points[1].tolist() == [12, 4, 8]
    assert points[12].tolist() == [4, 12, 8]
    assert points[96].tolist() == [8, 8, 16]
    assert points[-1].tolist() == [80, 48, 32]


def test_distances_become_boxes_around_their_point() -> None:
    points = torch.tensor([[20.0, 30, 8], [100, 50, 16]])
    distances = torch.tensor([[[1.0, 2, 3, 4], [0, 0, 10, 20]]])
    assert boxes_of(points, distances).tolist() == [[[19, 28, 23, 34], [100, 50, 110, 70]]]


def test_an_answer_moves_with_its_picture(network: Detector) -> None:
    """What stands 32 pixels further right is answered in the cell 32 pixels further right."""
    picture = torch.full((1, 192, 320, 3), 114, dtype=torch.uint8)
    moved = picture.clone()
    picture[:, 64:128, 96:160] = noise(1, 64, 64)
    moved[:, 64:128, 128:192] = noise(1, 64, 64)
    with torch.no_grad():
        first, second = (
            network.raw(each)[0][0, : 24 * 40].reshape(24, 40, 3) for each in (picture, moved)
        )
    there, not_there = second[8:16, 16:24], second[8:16, 12:20]
    error = (first[8:16, 12:20] - there).abs().mean()
    assert error < 0.5 * (first[8:16, 12:20] - not_there).abs().mean()


def test_a_fresh_network_expects_little(network: Detector) -> None:
    with torch.no_grad():
        scores, _ = network(noise(2, 128, 128))
    assert float(scores.mean()) == pytest.approx(PRIOR, rel=0.5)


def test_the_same_picture_has_the_same_answer_alone_and_in_a_batch(network: Detector) -> None:
    pictures = noise(3, 96, 96)
    with torch.no_grad():
        first, again = network(pictures), network(pictures)
        alone = network(pictures[1:2])
    for one, other, single in zip(first, again, alone, strict=True):
        assert torch.equal(one, other)
        torch.testing.assert_close(one[1:2], single, atol=1e-3, rtol=1e-4)


def test_pixels_are_taken_as_bytes_or_as_numbers(network: Detector) -> None:
    pictures = noise(1, 64, 64)
    with torch.no_grad():
        for one, other in zip(network(pictures), network(pictures.float()), strict=True):
            assert torch.equal(one, other)
        dark, light = network(pictures // 4)[0], network(pictures)[0]
    assert not torch.allclose(dark, light)


@pytest.mark.parametrize("name", sorted(BLUEPRINTS))
@pytest.mark.parametrize("classes", [1, 7])
def test_every_blueprint_answers_for_its_classes(name: str, classes: int) -> None:
    network = Detector(BLUEPRINTS[name], classes).eval()
    with torch.no_grad():
        scores, boxes = network(noise(1, 64, 64))
    assert (scores.shape[-1], boxes.shape[-1]) == (classes, 4)


def test_the_way_from_bytes_to_numbers_is_no_weight(network: Detector) -> None:
    assert not {"mean", "deviation"} & set(network.state_dict())
