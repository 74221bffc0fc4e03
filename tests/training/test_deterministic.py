"""The same seed gives the same weights, bit for bit; another one gives others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from scenes import figures, quick, same, trained, weights

from cityforge.training.fit import Outcome


def weights_of(folder: Path, **changes: object) -> tuple[Outcome, dict[str, torch.Tensor]]:
    outcome, _ = trained(folder, params=quick(epochs=2, **changes))
    return outcome, weights(folder / "work" / "last.ckpt")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_same_seed_gives_the_same_weights(precision: str, tmp_path: Path) -> None:
    torch.rand(5)  # whatever was drawn before
    first, one = weights_of(tmp_path / "a", precision=precision)
    torch.rand(7)
    second, other = weights_of(tmp_path / "b", precision=precision, workers=1)
    assert same(one, other)
    assert figures(first) == figures(second)
    assert not torch.are_deterministic_algorithms_enabled()  # left as it was


def test_another_seed_gives_other_weights(tmp_path: Path) -> None:
    _, one = weights_of(tmp_path / "a")
    _, other = weights_of(tmp_path / "b", seed=8)
    assert not same(one, other)
