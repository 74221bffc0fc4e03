"""Card and parameters of a classification, and a training of one with its answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from ruamel.yaml import YAML

from cityforge.cards.algorithm import Algorithm
from cityforge.cards.params import DataParams, TrainParams
from cityforge.cards.yaml_files import check
from cityforge.dataset.loader import LabelledFrames, plain_batches
from cityforge.footage.shards import FrameStore
from cityforge.starters import starter_params


@dataclass(frozen=True)
class Asked:
    """What a training is asked for."""

    card: Algorithm
    data: DataParams
    train: TrainParams


@dataclass(frozen=True)
class Learnt:
    """What came of it: figures by epoch, and the network with its averaged weights."""

    history: list[dict[str, float]]
    network: Any
    data: DataParams

    def scores(self, frames: LabelledFrames, store: FrameStore) -> NDArray[np.float32]:
        """(N, C) probabilities of frames in their order."""
        import torch

        self.network.eval()
        with torch.inference_mode():
            batches = plain_batches(frames, store, self.data, 16)
            found = [self.network(batch.pictures)[0].float().numpy() for batch in batches]
        return np.concatenate(found)


@pytest.fixture(scope="session")
def make_asked() -> Callable[..., Asked]:
    """Card and parameters as a new classification has them, smaller and in float32."""

    def make(
        classes: Sequence[str],
        *,
        size: tuple[int, int] = (96, 64),
        several_labels: bool = False,
        **changes: Any,
    ) -> Asked:
        content = YAML(typ="safe").load(starter_params("classification", several_labels))
        content["data"] |= {"input_width": size[0], "input_height": size[1], "workers": 0}
        content["train"] |= {"learning_rate": 2e-3, "precision": "float32", "batch": 8, **changes}
        content["train"]["loss"]["label_smoothing"] = 0.0
        card = {
            "name": "scene", "title": "天气", "space": "road_traffic", "task": "classification",
            "dataset": "streets", "classes": list(classes), "network": "classification/small",
            "choice": {"prefer": "best"}, "events": [],
            "envelope": {
                "camera_height_m": [3, 20], "pitch_deg": [0, 60], "illumination": ["day"],
                "smallest_object_px": 1,
            },
            "gates": [{"metric": "accuracy", "floor": 0.9}], "target_devices": ["2 cores"],
            "owner": "test",
        }  # fmt: skip
        return Asked(
            check(Algorithm, card, Path("algorithm.yaml")),
            check(DataParams, content["data"], Path("params.yaml")),
            check(TrainParams, content["train"], Path("params.yaml")),
        )

    return make


@pytest.fixture(scope="session")
def train_on() -> Callable[..., Learnt]:
    """Train as the stage does; the best epoch's weights come back."""

    def trained(
        asked: Asked,
        folder: Path,
        store: FrameStore,
        train_frames: LabelledFrames,
        val_frames: LabelledFrames,
    ) -> Learnt:
        import torch

        from cityforge.training.fit import fit, make_learner

        learner = make_learner(asked.card, asked.train)
        outcome = fit(
            learner,
            train_frames=train_frames,
            val_frames=val_frames,
            store=store,
            data=asked.data,
            train=asked.train,
            checkpoints=folder,
        )
        kept = torch.load(outcome.best_checkpoint, weights_only=False)["state_dict"]
        learner.load_state_dict(kept)
        return Learnt(outcome.history, learner.network, asked.data)

    return trained
