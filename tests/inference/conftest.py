"""A package whose network finds the bright block of each half of a picture, and clips of blocks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cityforge.inference.package import MODEL_FILE, open_package
from cityforge.inference.runtime import Model

sys.path.insert(0, str(Path(__file__).parent))  # counting.py, for tests that count traffic

Make = Callable[..., Any]
WIDTH, HEIGHT, RATE = 64, 48, 10
BLOCK = 12  # pixels, width and height


def blocks_model() -> bytes:
    """`scores` (N, 2, 2) and `boxes` (N, 2, 4): the bright pixels of the upper and lower half."""
    from onnx import TensorProto, helper

    values = {"white": [255.0], "half": [0.5], "none": [0.0], "one": [1.0]}
    constants = [
        helper.make_tensor(name, TensorProto.FLOAT, [], value) for name, value in values.items()
    ]
    whole = {"axis3": [3], "axis1": [1], "axis2": [2], "last": [2],
             "upper": [0], "middle": [24], "under": [48], "rows": [1]}  # fmt: skip
    constants += [
        helper.make_tensor(name, TensorProto.INT64, [1], value) for name, value in whole.items()
    ]
    node = helper.make_node
    nodes = [
        node("Cast", ["pictures"], ["float"], to=TensorProto.FLOAT),
        node("ReduceMean", ["float", "axis3"], ["grey255"], keepdims=0),  # (N, 48, 64)
        node("Div", ["grey255", "white"], ["grey"]),
    ]
    for half, first, end in (("a", "upper", "middle"), ("b", "middle", "under")):
        nodes += [
            node("Slice", ["grey", first, end, "rows"], [f"{half}_grey"]),  # (N, 24, 64)
            node("Greater", [f"{half}_grey", "half"], [f"{half}_bool"]),
            node("Cast", [f"{half}_bool"], [f"{half}_on"], to=TensorProto.FLOAT),
            node("ReduceMax", [f"{half}_on", "axis1"], [f"{half}_columns"], keepdims=0),
            node("ReduceMax", [f"{half}_on", "axis2"], [f"{half}_lines"], keepdims=0),
            node("ReduceMax", [f"{half}_columns", "axis1"], [f"{half}_found"]),  # (N, 1)
            node("Mul", [f"{half}_found", "none"], [f"{half}_zero"]),
            node("Concat", [f"{half}_found", f"{half}_zero"], [f"{half}_score"], axis=1),
            node("Unsqueeze", [f"{half}_score", "axis1"], [f"{half}_scores"]),
        ]
        edges = []
        for part, source, last in (("x1", "columns", 0), ("y1", "lines", 0),
                                   ("x2", "columns", 1), ("y2", "lines", 1)):  # fmt: skip
            name = f"{half}_{part}"
            nodes += [
                node(
                    "ArgMax", [f"{half}_{source}"], [f"{name}_at"], axis=1, select_last_index=last
                ),
                node("Cast", [f"{name}_at"], [f"{name}_float"], to=TensorProto.FLOAT),
                node("Add", [f"{name}_float", "one" if last else "none"], [name]),
            ]
            edges.append(name)
        nodes.append(node("Concat", edges, [f"{half}_flat"], axis=1))
        nodes.append(node("Unsqueeze", [f"{half}_flat", "axis1"], [f"{half}_box"]))
    constants.append(helper.make_tensor("down", TensorProto.FLOAT, [4], [0.0, 24.0, 0.0, 24.0]))
    nodes += [
        node("Add", ["b_box", "down"], ["b_moved"]),
        node("Concat", ["a_scores", "b_scores"], ["scores"], axis=1),
        node("Concat", ["a_box", "b_moved"], ["boxes"], axis=1),
    ]
    graph = helper.make_graph(
        nodes, "blocks",
        [helper.make_tensor_value_info("pictures", TensorProto.UINT8, ["n", HEIGHT, WIDTH, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 2, 2]),
         helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["n", 2, 4])],
        constants,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


@pytest.fixture
def make_model(make_package: Make, tmp_path: Path) -> Callable[..., Model]:
    def make(rules: Sequence[dict[str, Any]], **changes: Any) -> Model:
        found = changes.pop("task", "detection")
        folder = tmp_path / f"{found}{len(list(tmp_path.iterdir()))}" / "package"
        if found == "detection":
            onnx = blocks_model()
            changes["model_digest"] = sha256(onnx).hexdigest()
        made = make_package(folder, "tiny", None, task=found, events=list(rules), **changes)
        if found == "detection":
            (made / MODEL_FILE).write_bytes(onnx)
        return Model(open_package(made), threads=1)

    return make


@pytest.fixture
def make_clip(tmp_path: Path) -> Callable[..., Path]:
    """Write a clip: of each frame the left edge of the upper and the lower block, or None."""

    def make(
        blocks: Sequence[tuple[int | None, int | None]],
        name: str = "路口.mp4",
        moments: Sequence[int] | None = None,
        scale: int = 1,
    ) -> Path:
        import av

        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=RATE, options={"crf": "5", "g": "10"})
            stream.width, stream.height, stream.pix_fmt = WIDTH * scale, HEIGHT * scale, "yuv420p"
            stream.codec_context.time_base = Fraction(1, RATE)
            for number, lefts in enumerate(blocks):
                pixels = np.full((HEIGHT, WIDTH, 3), 20, np.uint8)
                for left, top in zip(lefts, (6, 30), strict=True):
                    if left is not None:
                        pixels[top : top + BLOCK, max(0, left) : left + BLOCK] = 240
                big = pixels.repeat(scale, 0).repeat(scale, 1)
                frame = av.VideoFrame.from_ndarray(big, format="rgb24")
                frame.pts = moments[number] if moments else number
                frame.time_base = Fraction(1, RATE)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return make
