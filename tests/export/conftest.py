"""Descriptions of small packages; drawn squares and signed releases are those of other folders."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cityforge.inference.package import About

for folder in ("serving", "training", "evaluation", "registry", "export"):
    sys.path.insert(0, str(Path(__file__).parents[1] / folder))

ABOUT = {
    "task": "detection", "classes": ["汽车", "bus"], "input_width": 32, "input_height": 32,
    "score_threshold": 0.5, "score_floor": 0.01, "overlap": 0.6, "max_boxes": 10,
    "several_labels": None, "class_thresholds": None,
}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def about() -> Callable[..., About]:
    """A description for pictures of 32×32; `changes` replace keys."""
    return lambda **changes: About.model_construct(**{**ABOUT, **changes})
