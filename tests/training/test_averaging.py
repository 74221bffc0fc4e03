"""The average of the weights follows its formula, and Lightning's own average."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging

from cityforge.training.averaging import Average, follow, pairs_of


@pytest.mark.parametrize("decay", [0.5, 0.99])
def test_the_decay_grows_with_the_steps(decay: float) -> None:
    network = torch.nn.BatchNorm1d(1)
    average = deepcopy(network)
    pairs, expected = pairs_of(average, network), 0.0
    for step in range(30):
        with torch.no_grad():
            network.weight.fill_(float(step))
            network.num_batches_tracked.fill_(step)
        follow(pairs, step, decay)
        kept = min(decay, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * step if step else 0.0
        assert float(average.weight) == pytest.approx(expected, abs=1e-4)
    assert int(average.num_batches_tracked) == 29


class Network(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return (self.layers(batch) ** 2).sum()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Lightnings(WeightAveraging):
    """The same formula by Lightning's own steps."""

    def __init__(self, decay: float) -> None:
        def one(kept: Any, current: Any, steps: Any) -> Any:
            if not kept.is_floating_point():
                return current
            return torch.lerp(kept, current, 1 - min(decay, (1 + steps) / (10 + steps)))

        super().__init__(use_buffers=True, avg_fn=lambda k, c, n: one(k, c, float(n)))

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        return step_idx is not None


def test_what_is_kept_is_what_lightnings_own_average_keeps() -> None:
    kept = []
    for callback in (Average(0.9), Lightnings(0.9)):
        torch.manual_seed(1)
        network = Network()
        trainer = pl.Trainer(
            max_epochs=2, accelerator="cpu", callbacks=[callback], logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        batches = [torch.randn(5, 3) for _ in range(6)]
        trainer.fit(network, torch.utils.data.DataLoader(batches, batch_size=None))
        kept.append(callback._average_model.state_dict())
    ours, theirs = kept
    assert set(ours) == set(theirs) and int(ours["n_averaged"]) == 12
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value)
