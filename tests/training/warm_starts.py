"""Small networks that begin from weights in a file, for the tests of warm starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from cityforge.cards.algorithm import Algorithm
from cityforge.cards.yaml_files import check
from cityforge.errors import CityforgeError
from cityforge.project import Project
from cityforge.settings import Settings
from cityforge.tasks.kinds import build_network
from cityforge.training.stored import describing
from cityforge.training.weights import Origin, warm_start

OFFLINE = Settings(offline=True, tracking_uri="")
LOSS = {
    "detection": {"box_weight": 2.0},
    "classification": {"several_labels": False, "label_smoothing": 0.0},
    "density": {"spread_px": 4.0, "count_weight": 0.1},
}
NETWORKS = {
    "detection": "detection/nano",
    "classification": "classification/small",
    "density": "density/small",
}
METRIC = {"detection": "map50", "classification": "accuracy", "density": "mae"}
BEFORE = ["卡车", "car", "bus"]
AFTER = ["bus", "bicycle", "卡车", "van"]


def card_of(task: str, classes: list[str], network: str = "") -> Algorithm:
    content: dict[str, Any] = {
        "name": "bins", "title": "Bins", "space": "street_environment", "task": task,
        "dataset": "streets", "classes": classes, "network": network or NETWORKS[task],
        "choice": {"prefer": "best"}, "events": [],
        "envelope": {
            "camera_height_m": [3, 8], "pitch_deg": [10, 40], "illumination": ["day"],
            "smallest_object_px": 12,
        },
        "gates": [{"metric": METRIC[task], "floor": 0.1}], "target_devices": ["cpu"],
        "owner": "city",
    }  # fmt: skip
    return check(Algorithm, content, Path("algorithm.yaml"))


def network_of(card: Algorithm, seed: int) -> Any:
    torch.manual_seed(seed)
    network = build_network(card.task, card.network, len(card.classes), loss=LOSS[card.task])
    with torch.no_grad():  # heads begin alike; these are told apart
        for each in network.parameters():
            each.add_(torch.randn_like(each) * 0.01)
    return network


def started(
    root: Path, card: Algorithm, weights: str, settings: Settings = OFFLINE
) -> tuple[Any, dict[str, torch.Tensor], Origin]:
    """A network after its warm start, its state before, and where it began."""
    network = network_of(card, seed=1)
    before = copied(network)
    origin = warm_start(
        network, weights, card=card, loss=LOSS[card.task], project=Project(root), settings=settings
    )
    return network, before, origin


def copied(network: Any) -> dict[str, torch.Tensor]:
    return {name: each.clone() for name, each in network.state_dict().items()}


def metadata(card: Algorithm) -> dict[str, str]:
    return describing(
        task=card.task, network=card.network, classes=list(card.classes), snapshot_digest="abc"
    )


def refusal(root: Path, weights: str, task: str = "detection", **options: Any) -> str:
    """The one line that a person reads."""
    with pytest.raises(CityforgeError) as caught:
        started(root, card_of(task, BEFORE), weights, **options)
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    assert line.startswith("expected ")
    assert "found " in line
    return line
