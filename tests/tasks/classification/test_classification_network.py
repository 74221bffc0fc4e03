"""The classifier gives probabilities of any number of pictures, in torch as in ONNX."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from cityforge.tasks.classification.network import BLUEPRINTS, Classifier, build


def made(several_labels: bool = False) -> Classifier:
    torch.manual_seed(0)
    return build("classification/small", 3, several_labels=several_labels).eval()


def pictures(count: int, height: int = 64, width: int = 96) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, height, width, 3), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("several_labels", [False, True])
def test_scores_are_probabilities(several_labels: bool) -> None:
    network = made(several_labels)
    with torch.inference_mode():
        (scores,) = network(pictures(4))
        logits = network.raw(pictures(4))
    assert scores.shape == logits.shape == (4, 3)
    assert scores.dtype == torch.float32
    assert ((scores > 0) & (scores < 1)).all()
    sums = scores.sum(1)
    assert torch.allclose(sums, torch.ones(4)) is not several_labels
    expected = logits.sigmoid() if several_labels else logits.softmax(1)
    assert torch.allclose(scores, expected)


def test_every_name_is_of_the_task() -> None:
    assert BLUEPRINTS
    assert all(name.startswith("classification/") for name in BLUEPRINTS)


def test_the_head_is_no_part_of_the_backbone() -> None:
    network = made()
    inner = {id(each) for each in network.backbone.parameters()}
    outer = [name for name, each in network.named_parameters() if id(each) not in inner]
    assert outer == ["head.weight", "head.bias"]


@pytest.mark.parametrize("several_labels", [False, True])
def test_the_onnx_file_answers_alike_for_any_number(several_labels: bool) -> None:
    import onnxruntime

    network = made(several_labels)
    stream = io.BytesIO()
    torch.onnx.export(
        network, (pictures(2),), stream, input_names=["pictures"], output_names=["scores"],
        dynamic_axes={"pictures": {0: "n"}, "scores": {0: "n"}}, opset_version=18, dynamo=False,
    )  # fmt: skip
    session = onnxruntime.InferenceSession(stream.getvalue(), providers=["CPUExecutionProvider"])
    for count in (1, 5):
        (found,) = session.run(["scores"], {"pictures": pictures(count).numpy()})
        with torch.inference_mode():
            (expected,) = network(pictures(count))
        assert found.shape == (count, 3)
        assert np.abs(found - expected.numpy()).max() < 1e-4
