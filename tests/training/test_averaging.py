"""The average of the weights follows its formula."""

from __future__ import annotations

import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from cityforge.training.averaging import Average


@pytest.mark.parametrize("decay", [0.5, 0.99])
def test_the_decay_grows_with_the_steps(decay: float) -> None:
    network = torch.nn.BatchNorm1d(1)
    average = AveragedModel(network, use_buffers=True, **Average(decay)._kwargs)
    expected = 0.0
    for step in range(30):
        with torch.no_grad():
            network.weight.fill_(float(step))
            network.num_batches_tracked.fill_(step)
        average.update_parameters(network)
        kept = min(decay, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * step if step else 0.0
        assert float(average.module.weight) == pytest.approx(expected, abs=1e-4)
    assert int(average.module.num_batches_tracked) == 29
