"""Counts and heat maps out of raw maps."""

from __future__ import annotations

import numpy as np
import pytest

from cityforge.tasks.density.decode import decode_counts, density_on
from cityforge.tasks.picture import fit


@pytest.mark.parametrize(
    ("floor", "counts"),
    [
        (0.0, [1.86, 3.0]),
        (0.05, [1.8, 3.0]),
        (0.5, [1.5, 3.0]),
        (0.6, [1.5, 3.0]),  # a cell of exactly the floor counts
        (0.61, [0.9, 3.0]),
        (9.0, [0.0, 0.0]),
    ],
)
def test_cells_under_the_floor_do_not_count(floor: float, counts: list[float]) -> None:
    cells = np.array([[[0.9, 0.6, 0.3], [0.03, 0.03, 0.0]], [[3.0, 0, 0], [0, 0, 0]]])
    np.testing.assert_allclose(decode_counts(cells, score_floor=floor), counts)


def test_half_precision_maps_are_summed_whole() -> None:
    cells = np.full((1, 100, 100), 0.1, np.float16)
    assert decode_counts(cells, score_floor=0.0)[0] == pytest.approx(1000, rel=1e-3)


@pytest.mark.parametrize(
    ("picture", "cells"),
    [
        ((640, 360), (18, 32)),  # 256×144 of 256×192: the lower quarter is margin
        ((200, 400), (24, 12)),  # 96×192
        ((256, 192), (24, 32)),
        ((256, 140), (18, 32)),  # a row of cells that the picture covers by half
        ((4000, 3), (1, 32)),
    ],
)
def test_the_heat_map_ends_where_the_picture_does(
    picture: tuple[int, int], cells: tuple[int, int]
) -> None:
    width, height = picture
    fitted = fit(np.zeros((height, width, 3), np.uint8), 256, 192)
    density = np.arange(2 * 24 * 32, dtype=np.float32).reshape(2, 24, 32)
    heat = density_on(density, fitted.scale, fitted.width, fitted.height)
    assert heat.shape == (2, *cells)
    np.testing.assert_array_equal(heat, density[:, : cells[0], : cells[1]])
    black = (fitted.canvas == 0).all(-1)  # where the picture is
    rows, columns = np.nonzero(black)
    assert heat.shape[1:] == (rows.max() // 8 + 1, columns.max() // 8 + 1)
