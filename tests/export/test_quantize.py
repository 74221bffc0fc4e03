"""The INT8 model: which layers it leaves in float, and that its answers stay near."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scenes

from cityforge.cards.params import DataParams, Int8Params
from cityforge.errors import DataError
from cityforge.export.found import Int8, Parity, Side
from cityforge.export.onnx import export_onnx
from cityforge.export.quantize import Method, float_nodes, quantised
from cityforge.export.sides import Way, onnx_way, torch_way
from cityforge.export.stage import decided
from cityforge.tasks.kinds import build_network
from cityforge.tasks.picture import decode


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Way]:
    """A network from scratch as ONNX, and as torch runs it."""
    import torch

    torch.manual_seed(3)
    network = build_network("detection", "detection/nano", 2, loss={}).eval()
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export_onnx(network, DataParams(input_width=64, input_height=64, workers=0), 18, path)
    return path.read_bytes(), torch_way(network)


def canvases(count: int) -> list[Any]:
    return [decode(scenes.jpeg(number)[0]) for number in range(count)]


def test_the_int8_model_is_one_file_that_answers_about_the_same(small: tuple[bytes, Way]) -> None:
    import onnx

    model, torch = small
    made = quantised(model, canvases(6))
    assert len(made) < 0.5 * len(model)
    graph = onnx.load_from_string(made).graph
    assert all(not each.external_data for each in graph.initializer)
    kinds = [node.op_type for node in graph.node]
    assert kinds.count("DequantizeLinear") > 50
    shown = np.stack(canvases(8)[6:])
    scores, boxes = onnx_way(made, "detection")(shown)
    exact_scores, exact_boxes = torch(shown)
    assert scores.shape == exact_scores.shape
    assert 0 < float(np.abs(scores - exact_scores).max()) < 0.02
    assert float(np.abs(boxes - exact_boxes).mean()) < 1.0


def test_scores_and_edges_come_from_layers_in_float(small: tuple[bytes, Way]) -> None:
    import onnx

    graph = onnx.load_from_string(quantised(small[0], canvases(2))).graph
    made_by = {name: node for node in graph.node for name in node.output}
    last = [node for node in graph.node if node.name.endswith(("/score/Conv", "/side/Conv"))]
    assert len(last) == 6  # two a level
    for node in last:
        assert not any(user.op_type == "QuantizeLinear" for user in users(graph, node.output[0]))
        weights = made_by.get(node.input[1])
        assert weights is None or weights.op_type != "DequantizeLinear"


def users(graph: Any, tensor: str) -> list[Any]:
    return [node for node in graph.node if tensor in node.input]


def test_the_first_layer_the_last_ones_and_all_behind_them_are_named() -> None:
    from onnx import helper

    def node(kind: str, name: str, inward: list[str], out: str) -> Any:
        return helper.make_node(kind, inward, [out], name=name)

    nodes = [
        node("Conv", "first", ["x", "w1"], "a"),
        node("Relu", "relu", ["a"], "b"),
        node("Conv", "score", ["b", "w2"], "c"),
        node("Sigmoid", "probability", ["c"], "scores"),
        node("Conv", "middle", ["b", "w3"], "d"),
        node("Conv", "side", ["d", "w4"], "e"),
        node("Add", "edges", ["e", "points"], "boxes"),
    ]
    assert float_nodes(nodes) == ["first", "score", "probability", "side", "edges"]
    assert float_nodes(nodes, tail=False) == ["first"]


def test_what_is_no_network_is_refused_in_a_line() -> None:
    with pytest.raises(DataError, match=r"a network that can be quantised.*set export.int8.offer"):
        quantised(b"no model", [np.zeros((64, 64, 3), np.uint8)])


ROUNDS = {"onnx": [np.full(3, 10.0)], "int8": [np.full(3, 5.0)]}


@pytest.mark.parametrize(
    ("torch", "int8", "task", "ms", "offered", "why"),
    [
        (0.60, 0.595, "detection", 5.0, True, "drop 0.0050, 2.00 times"),
        (0.60, 0.61, "detection", 5.0, True, "drop -0.0100"),  # better is no drop
        (0.60, 0.58, "detection", 5.0, False, "the drop is over 0.01"),
        (0.60, 0.60, "detection", 9.9, False, "that is not quicker"),
        (0.60, 0.60, "detection", 12.0, False, "0.83 times as quick"),
        (2.00, 2.01, "density", 5.0, True, "drop 0.0050"),  # a share of the error
        (2.00, 1.90, "density", 5.0, True, "drop -0.0500"),
        (2.00, 2.10, "density", 5.0, False, "the drop is over 0.01"),
        (None, None, "detection", 5.0, False, "nothing to find"),
    ],
)
def test_it_is_offered_when_it_is_quicker_and_about_as_good(
    torch: float | None, int8: float | None, task: str, ms: float, offered: bool, why: str
) -> None:
    asked = Int8Params(offer=True, frames=8, most_drop=0.01)
    rounds: Any = ROUNDS | {"int8": [np.full(3, ms)]}
    compared = Parity(4, [Side("torch", torch), Side("onnx", torch), Side("int8", int8)])
    found = decided(asked, "", compared, rounds, task)
    assert (found.offered, why in found.why) == (offered, True), found.why


def test_where_it_was_not_made_the_reason_stands() -> None:
    asked = Int8Params(offer=False, frames=8, most_drop=0.01)
    found = decided(
        asked, "export.int8.offer is false", Parity(4, [Side("torch", 1.0)]), {}, "density"
    )
    assert found == Int8(False, "export.int8.offer is false")


@pytest.mark.parametrize("method", ["entropy", "percentile"])
def test_the_other_methods_can_be_asked_for(small: tuple[bytes, Way], method: Method) -> None:
    assert 1000 < len(quantised(small[0], canvases(1), method)) < len(small[0])
