"""Finds are where the network or the cascade says, whatever the layout; a wrong file is named."""

from __future__ import annotations

import math
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from onnx import TensorProto, checker, helper

from cityforge.cards.dataset import OnnxDetector, Privacy
from cityforge.errors import CardError, CheckFailed, FootageError
from cityforge.footage.detectors import (
    CascadeFinder,
    Find,
    OnnxFinder,
    merged,
    open_detectors,
    parts_of,
    within,
)

WIDTH, HEIGHT = 64, 32  # of the networks' input
PICTURE = np.zeros((100, 200, 3), np.uint8)
REST = [[0.0] * 6] * 7  # rows under any threshold


def write_model(
    path: Path, outputs: dict[str, Any], width: int = WIDTH, kind: int = TensorProto.FLOAT
) -> str:
    """A network that gives these answers to any picture; returns the sha256 of its file."""
    constants = {name: np.array(values, np.float32) for name, values in outputs.items()}
    nodes = [
        helper.make_node(
            "Constant", [], [name],
            value=helper.make_tensor(name, TensorProto.FLOAT, each.shape, each.ravel()),
        )
        for name, each in constants.items()
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("picture", kind, [1, 3, HEIGHT, width])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, each.shape)
         for n, each in constants.items()],
    )  # fmt: skip
    return save(path, graph)


def save(path: Path, graph: Any) -> str:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return sha256(path.read_bytes()).hexdigest()


def card(digest: str, layout: str = "rows", **changes: object) -> OnnxDetector:
    content = {
        "path": "finder.onnx", "sha256": digest, "width": WIDTH, "height": HEIGHT,
        "layout": layout, "mean": 0.0, "divide_by": 255.0, "colour": "rgb", "score": 0.5,
        "tiles": 1,
    }  # fmt: skip
    return OnnxDetector.model_validate({**content, **changes})


def corners(finds: list[Find]) -> list[tuple[int, ...]]:
    return [tuple(round(each) for each in (f.x1, f.y1, f.x2, f.y2)) for f in finds]


# One thing at (16, 8, 32, 24) of the input with 0.9, which is (50, 25, 100, 75) of the picture,
# and others with too small a score.
LAYOUTS = {
    "scores and boxes": ("scores_boxes", {
        "scores": [[[0.1, 0.9]] + [[0.9, 0.1]] * 7],
        "boxes": [[[0.25, 0.25, 0.5, 0.75]] * 8],
    }),
    "boxes and scores, by their names": ("scores_boxes", {
        "boxes": [[[0.25, 0.25, 0.5, 0.75]] * 8],
        "scores": [[[0.1, 0.9]] + [[0.9, 0.1]] * 7],
    }),
    "one class without a background": ("scores_boxes", {
        "a": [[[0.9]] + [[0.1]] * 7], "b": [[[0.25, 0.25, 0.5, 0.75]] * 8],
    }),
    "yolo of one class": ("yolo", {
        "y": [[[24.0] * 8, [16.0] * 8, [16.0] * 8, [16.0] * 8, [0.9] + [0.1] * 7]],
    }),
    "yolo of two classes": ("yolo", {
        "y": [[[24.0] * 8, [16.0] * 8, [16.0] * 8, [16.0] * 8, [0.1] * 8, [0.9] + [0.1] * 7]],
    }),
    "rows of a batch": ("rows", {"r": [[[16.0, 8.0, 32.0, 24.0, 0.9, 0.0], *REST]]}),
    "rows": ("rows", {"r": [[16.0, 8.0, 32.0, 24.0, 0.9, 0.0], *REST]}),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_layout_gives_pixels_of_the_picture(tmp_path: Path, name: str) -> None:
    layout, outputs = LAYOUTS[name]
    digest = write_model(tmp_path / "finder.onnx", outputs)
    (find,) = OnnxFinder("plate", card(digest, layout), tmp_path).find(PICTURE)
    assert corners([find]) == [(50, 25, 100, 75)]
    assert (find.kind, find.found) == ("plate", "detected")
    assert find.score == pytest.approx(0.9)


# What stands in the answer, and the card's layout: none of these fit.
MISFITS = {
    "one output": ("scores_boxes", {"s": [[[0.9, 0.1]]]}, r"scores \(1, A, C\)|two outputs"),
    "as many boxes as scores": (
        "scores_boxes", {"s": np.zeros((1, 8, 2)), "b": np.zeros((1, 7, 4))}, r"boxes \(1, A, 4\)",
    ),
    "a yolo answer turned over": ("yolo", {"y": np.zeros((1, 8, 5))}, r"found y \(1, 8, 5\)"),
    "a yolo answer without classes": ("yolo", {"y": np.zeros((1, 4, 8))}, r"\(1, 4 \+ C, A\)"),
    "rows of seven": ("rows", {"r": np.zeros((8, 7))}, r"\(1, A, 6\) or \(A, 6\)"),
    "rows of two pictures": ("rows", {"r": np.zeros((2, 8, 6))}, r"found r \(2, 8, 6\)"),
    "six numbers": ("rows", {"r": np.zeros(6)}, r"found r \(6,\)"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISFITS)
def test_an_answer_of_another_layout_is_named_at_opening(tmp_path: Path, name: str) -> None:
    layout, outputs, said = MISFITS[name]
    digest = write_model(tmp_path / "finder.onnx", outputs)
    with pytest.raises(CardError, match=said) as caught:
        OnnxFinder("face", card(digest, layout), tmp_path)
    assert "finder.onnx: correct its layout" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("width", "kind"), [(WIDTH + 32, TensorProto.FLOAT), (WIDTH, TensorProto.UINT8)]
)
def test_another_input_is_named_at_opening(tmp_path: Path, width: int, kind: int) -> None:
    digest = write_model(tmp_path / "finder.onnx", LAYOUTS["rows"][1], width, kind)
    with pytest.raises(CardError, match=r"one input \(1, 3, 32, 64\) of float, found picture"):
        OnnxFinder("face", card(digest), tmp_path)


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "finder.onnx").write_text("hello")
    digest = sha256(b"hello").hexdigest()
    with pytest.raises(CardError, match=r"an ONNX model in one file, found .*finder\.onnx"):
        OnnxFinder("face", card(digest), tmp_path)


def test_a_missing_file_and_another_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckFailed, match=r"found no file, in .*finder\.onnx: put the file there"):
        OnnxFinder("face", card("0" * 64), tmp_path)
    digest = write_model(tmp_path / "finder.onnx", LAYOUTS["rows"][1])
    with pytest.raises(CheckFailed, match=f"sha256 {'0' * 64}, found {digest}, in .*: put the"):
        OnnxFinder("face", card("0" * 64), tmp_path)


@pytest.mark.parametrize(
    ("changes", "score"),
    [
        ({"colour": "rgb"}, 20 / 255),  # the first plane, red, is the background's score
        ({"colour": "bgr"}, 200 / 255),
        ({"colour": "bgr", "mean": 100.0}, 100 / 255),
        ({"colour": "bgr", "divide_by": 400.0}, 0.5),
    ],
)
def test_the_input_is_prepared_as_the_card_says(
    tmp_path: Path, changes: dict[str, object], score: float
) -> None:
    """The network answers the means of its three planes as the scores of one box."""
    axes = helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])
    box = helper.make_tensor("box", TensorProto.FLOAT, [1, 1, 4], [0.0, 0.0, 1.0, 1.0])
    shape = helper.make_tensor("shape", TensorProto.INT64, [3], [1, 1, 3])
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["picture", "axes"], ["means"]),
            helper.make_node("Reshape", ["means", "shape"], ["scores"]),
            helper.make_node("Identity", ["box"], ["boxes"]),
        ],
        "means",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 1, 3]),
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, 1, 4]),
        ],
        [axes, box, shape],
    )
    digest = save(tmp_path / "finder.onnx", graph)
    finder = OnnxFinder("face", card(digest, "scores_boxes", score=0.01, **changes), tmp_path)
    (find,) = finder.find(np.full((50, 70, 3), (10, 20, 200), np.uint8))
    assert find.score == pytest.approx(score, abs=1e-4)


def test_tiles_are_looked_at_beside_the_whole_picture(tmp_path: Path) -> None:
    """The middle fifth of whatever the network is shown is a face."""
    outputs = {"r": [[25.6, 12.8, 38.4, 19.2, 0.9, 0.0], *REST]}
    digest = write_model(tmp_path / "finder.onnx", outputs)
    finder = OnnxFinder("face", card(digest, tiles=2), tmp_path)
    found = sorted(corners(finder.find(np.zeros((90, 180, 3), np.uint8))))
    parts = [(40, 20, 60, 30), (120, 20, 140, 30), (40, 60, 60, 70), (120, 60, 140, 70)]
    assert found == sorted([(72, 36, 108, 54), *parts])


@pytest.mark.parametrize("size", [(1920, 1080), (7, 5), (2, 2), (1, 1)])
@pytest.mark.parametrize("tiles", [2, 3, 8])
def test_tiles_cover_the_picture_and_overlap(size: tuple[int, int], tiles: int) -> None:
    seen = np.zeros(size[::-1], int)
    for x1, y1, x2, y2 in parts_of(*size, tiles):
        assert 0 <= x1 < x2 <= size[0]
        assert 0 <= y1 < y2 <= size[1]
        seen[y1:y2, x1:x2] += 1
    assert seen.min() >= 1
    if size[0] > 1000:
        first, second = parts_of(*size, tiles)[:2]
        assert (first[2] - second[0]) / (first[2] - first[0]) == pytest.approx(0.2, abs=0.01)


def test_finds_are_clipped_and_what_lies_outside_goes() -> None:
    inside, outside, across = (
        Find("face", *box, 0.9, "detected")
        for box in ((1.0, 2.0, 3.0, 4.0), (-9.0, 0.0, 0.0, 5.0), (-1.0, -1.0, 99.0, 4.0))
    )
    assert corners(within([inside, outside, across], 10, 5)) == [(1, 2, 3, 4), (0, 0, 10, 4)]


def test_the_best_of_two_that_are_one_thing_stays() -> None:
    boxes = {(0, 0, 10, 10): 0.6, (1, 0, 11, 10): 0.8, (30, 0, 40, 10): 0.7}
    finds = [Find("face", *map(float, box), score, "detected") for box, score in boxes.items()]
    assert corners(merged(finds)) == [(1, 0, 11, 10), (30, 0, 40, 10)]
    assert merged(finds) == merged(finds[::-1])
    assert merged([]) == []


def test_a_network_that_answers_no_numbers_has_not_found_nothing(tmp_path: Path) -> None:
    outputs = {"r": [[16.0, 8.0, 32.0, 24.0, math.nan, 0.0], *REST]}
    digest = write_model(tmp_path / "finder.onnx", outputs)
    with pytest.raises(FootageError, match="found no numbers"):
        OnnxFinder("face", card(digest), tmp_path).find(PICTURE)


def test_each_kind_gets_its_own_detector(tmp_path: Path) -> None:
    digest = write_model(tmp_path / "finder.onnx", LAYOUTS["rows"][1])
    privacy = Privacy.model_validate(
        {
            "grade": "personal", "lawful_basis": "a test", "redact": ["plate", "face"],
            "retention_days": 1,
            "redaction": {
                "method": "blur", "padding": 0.1, "hold_s": 0,
                "detectors": {"plate": card(digest).model_dump()},
            },
        }
    )  # fmt: skip
    found = [(each.kind, type(each)) for each in open_detectors(privacy, tmp_path)]
    assert found == [("plate", OnnxFinder), ("face", CascadeFinder)]


@pytest.mark.parametrize("kind", ["face", "plate"])
@pytest.mark.parametrize("size", [(1, 1), (5, 300), (300, 5), (19, 19), (200, 200)])
def test_cascades_find_nothing_where_nothing_is(kind: str, size: tuple[int, int]) -> None:
    assert CascadeFinder(kind).find(np.full((*size, 3), 90, np.uint8)) == []


@pytest.mark.real
def test_cascades_find_a_face_in_its_place_also_in_a_large_picture(
    real_data: Callable[[str], Path],
) -> None:
    photo = cv2.imread(str(real_data("face_detector") / "22.jpg"))[100:900, 150:950]
    finder = CascadeFinder("face")
    best = finder.find(photo)[0]
    assert 0.5 < best.score < 1
    large = np.full((1600, 2560, 3), 90, np.uint8)  # looked at in half its size
    large[600:1400, 900:1700] = photo
    moved = max(finder.find(large), key=lambda each: each.score)
    shift = np.subtract([moved.x1, moved.y1, moved.x2, moved.y2], [900, 600, 900, 600])
    np.testing.assert_allclose(shift, [best.x1, best.y1, best.x2, best.y2], atol=60)
    assert finder.find(large) == finder.find(large)


@pytest.mark.real
def test_both_profiles_are_found_alike(
    real_data: Callable[[str], Path],
) -> None:
    """The cascade knows one side; a mirrored picture must give mirrored finds."""
    photo = cv2.resize(cv2.imread(str(real_data("face_detector") / "10.jpg")), (512, 358))
    finder = CascadeFinder("face")
    finder._cascades = finder._cascades[1:]
    found = corners(finder.find(photo))
    turned = finder.find(np.ascontiguousarray(photo[:, ::-1]))
    assert len(found) >= 3
    assert sorted((512 - x2, y1, 512 - x1, y2) for x1, y1, x2, y2 in corners(turned)) == sorted(
        found
    )


@pytest.mark.real
def test_the_face_network_finds_the_people_of_three_photographs(
    real_data: Callable[[str], Path],
) -> None:
    """By eye: a crowd of about fifty, 19 people, and 2."""
    folder = real_data("face_detector")
    path = folder / "version-RFB-320.onnx"
    about = card(
        sha256(path.read_bytes()).hexdigest(), "scores_boxes", path=path.name, width=320,
        height=240, mean=127.0, divide_by=128.0,
    )  # fmt: skip
    finder = OnnxFinder("face", about, folder)
    photos = [cv2.imread(str(folder / f"{name}.jpg")) for name in (1, 10, 22)]
    counts = [len(finder.find(each)) for each in photos]
    assert counts == pytest.approx([49, 19, 2], abs=1)
    assert finder.find(photos[0]) == finder.find(photos[0])
