"""What density learns from: maps whose sums are counts; and the figures of a validation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from cityforge.dataset.loader import Batch
from cityforge.tasks.density.network import build
from cityforge.tasks.density.objective import DensityObjective, target_map
from cityforge.tasks.kinds import objective_of

SIZE, CELLS = (64, 96), (8, 12)
LOSS = {"spread_px": 6.0, "count_weight": 0.5}


def batch(truth: Any, classes: Any, real: Any) -> Batch:
    truth = torch.tensor(truth, dtype=torch.float32).reshape(len(real), -1, 4)
    pictures = torch.full((len(real), *SIZE, 3), 90, dtype=torch.uint8)
    return Batch(
        pictures, truth, torch.tensor(classes), torch.tensor(real), torch.arange(len(real))
    )


def points(*places: tuple[float, float]) -> list[list[float]]:
    return [[x, y, x, y] for x, y in places]


def mapped(given: Batch, class_count: int = 1, spread_px: float = 6.0) -> torch.Tensor:
    return target_map(given.truth, given.classes, given.real, class_count, SIZE, CELLS, spread_px)


@pytest.mark.parametrize("spread_px", [0.01, 2.0, 8.0, 200.0])
@pytest.mark.parametrize(
    "place",
    [(48.0, 32.0), (0.0, 0.0), (96.0, 64.0), (3.0, 61.5), (-20.0, 70.0)],  # the last lies outside
)
def test_each_object_adds_one(place: tuple[float, float], spread_px: float) -> None:
    found = mapped(batch(points(place), [[0]], [[True]]), spread_px=spread_px)
    assert found.shape == (1, 1, *CELLS)
    assert float(found.sum()) == pytest.approx(1.0, abs=1e-5)
    assert float(found.min()) >= 0


def test_the_map_is_a_gaussian_around_the_centre() -> None:
    found = mapped(batch(points((48.0, 32.0)), [[0]], [[True]]))[0, 0].numpy()
    # Cells of 8 px, deviation 6 px: the cell beside the centre holds erf(8 / 6 / sqrt 2) / 2.
    share = math.erf(8 / 6 / math.sqrt(2)) / 2
    assert found[4, 6] == pytest.approx(share**2, rel=1e-3)
    np.testing.assert_allclose(found, found[::-1, ::-1], atol=1e-6)
    y, x = np.indices(CELLS)
    assert (found * (x + 0.5)).sum() * 8 == pytest.approx(48.0, abs=1e-3)
    assert (found * (y + 0.5)).sum() * 8 == pytest.approx(32.0, abs=1e-3)


def test_a_narrow_object_lies_in_its_cell() -> None:
    found = mapped(batch(points((20.0, 44.0)), [[0]], [[True]]), spread_px=0.01)[0, 0]
    assert float(found[5, 2]) == pytest.approx(1.0)


def test_boxes_stand_at_their_centres() -> None:
    boxed = mapped(batch([[10.0, 20.0, 30.0, 60.0]], [[0]], [[True]]))
    torch.testing.assert_close(boxed, mapped(batch(points((20.0, 40.0)), [[0]], [[True]])))


def test_classes_have_maps_of_their_own_and_padding_none() -> None:
    places = points((8, 8), (40, 40), (80, 40), (48, 8), (48, 9), (0, 0))
    given = batch(places, [[1, 0, 1], [1, 1, 0]], [[True, True, True], [True, True, False]])
    counts = mapped(given, class_count=3).sum((2, 3))
    torch.testing.assert_close(counts, torch.tensor([[1.0, 2.0, 0.0], [0.0, 2.0, 0.0]]))


def test_losses_of_a_map_that_is_known() -> None:
    """Two objects wanted, a flat map of 0.05 found in 96 cells: 4.8 objects."""
    objective = objective_of("density", ["人"], LOSS)
    assert isinstance(objective, DensityObjective)
    network = build("density/small", 1)
    with torch.no_grad():
        network.density.weight.zero_()
    given = batch(points((30, 30), (60, 30)), [[0, 0]], [[True, True]])
    parts = objective.losses(network, given)
    wanted = mapped(given).double()
    squared = float(((0.05 - wanted) ** 2).sum()) / 2
    assert float(parts["map_loss"]) == pytest.approx(squared, rel=1e-4)
    assert float(parts["count_loss"]) == pytest.approx(2.8 / 2, rel=1e-4)
    assert float(parts["loss"]) == pytest.approx(squared + 0.5 * 1.4, rel=1e-4)


def test_the_loss_goes_down_also_without_any_object() -> None:
    torch.manual_seed(0)
    objective = DensityObjective(["人"], LOSS)
    network = build("density/small", 1)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    given = batch(points((0, 0), (0, 0)), [[0], [0]], [[False], [False]])
    losses = []
    for _ in range(8):
        parts = objective.losses(network, given)
        parts["loss"].backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(float(parts["loss"].detach()))
    assert losses[-1] < 0.8 * losses[0]


def test_figures_are_those_of_the_pictures_seen_since_the_last() -> None:
    objective = DensityObjective(["人"], LOSS)
    network = build("density/small", 1).eval()
    with torch.no_grad():
        network.density.weight.zero_()  # 4.8 objects in each picture
        three = points((30, 30), (60, 30), (9, 9), (1, 1), (0, 0), (0, 0))
        given = batch(three, [[0, 0, 0], [0, 0, 0]], [[True] * 3, [True, False, False]])
        objective.observe(network, given)
        objective.observe(network, given)
    found = objective.figures()
    assert found["mae"] == pytest.approx((1.8 + 3.8) / 2, rel=1e-4)
    assert found["rmse"] == pytest.approx(math.sqrt((1.8**2 + 3.8**2) / 2), rel=1e-4)
    assert found["relative_mae"] == pytest.approx(2.8 / 2, rel=1e-4)
    assert found["score"] == pytest.approx(1 / (1 + 2.8 / 2), rel=1e-4)
    assert objective.figures() == {}


def test_the_score_tells_better_from_worse_where_counts_are_off_by_more_than_the_mean() -> None:
    """One object in each picture, 96 cells of the same height: 10, 6, 3 and 1.5 are counted."""
    objective = DensityObjective(["人"], LOSS)
    given = batch(points((30, 30)), [[0]], [[True]])
    scores = []
    for counted in (10.0, 6.0, 3.0, 1.5):
        objective.observe(lambda _, n=counted: (torch.full((1, 1, *CELLS), n / 96),), given)
        scores.append(objective.figures()["score"])
    assert scores == pytest.approx([1 / 10, 1 / 6, 1 / 3, 1 / 1.5], rel=1e-4)


def test_where_nothing_is_to_count_the_score_is_zero() -> None:
    objective = DensityObjective(["人"], LOSS)
    empty = batch(points((0, 0)), [[0]], [[False]])
    objective.observe(lambda _: (torch.full((1, 1, *CELLS), 0.1),), empty)
    assert objective.figures()["score"] == 0.0


def test_the_score_of_right_counts_is_one() -> None:
    objective = DensityObjective(["人"], LOSS)

    class Oracle(torch.nn.Module):
        """Answers with the map that was wanted."""

        def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor]:
            return (mapped(given),)

    given = batch(points((30, 30), (60, 30)), [[0, 0]], [[True, True]])
    objective.observe(Oracle(), given)
    assert objective.figures()["score"] == pytest.approx(1.0, abs=1e-5)
